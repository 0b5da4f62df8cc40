//! What the YAML parser says, in words for the person who wrote the file. Configuration and policies share it.

use serde_yaml::Error;
use serde_yaml::budget::BudgetBreach;

/// What is wrong and what to do, when the parser's own words are about the parser.
pub fn plain(error: &Error) -> Option<(String, String)> {
    match error {
        Error::AliasError { error, .. } | Error::WithSnippet { error, .. } => plain(error),
        Error::Budget { breach, .. } => Some(too_much(breach)),
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_ref().map_or_else(|| "a key".to_owned(), |key| format!("the key `{key}`"));
            Some((format!("{key} stands twice in one map"), "keep one of them".to_owned()))
        }
        _ => None,
    }
}

fn too_much(breach: &BudgetBreach) -> (String, String) {
    const SPLIT: &str = "make it smaller, or split it";
    const SPELL: &str = "write values out instead of referring to them with `*` and `<<`";
    const FLATTEN: &str = "nest less: no document needs this many levels";
    let (what, hint) = match breach {
        BudgetBreach::Depth { depth } => (format!("it nests {depth} levels deep"), FLATTEN),
        BudgetBreach::Nodes { nodes } => (format!("it has {nodes} values and more"), SPLIT),
        BudgetBreach::Events { .. } => ("it has too many parts".to_owned(), SPLIT),
        BudgetBreach::Documents { documents } => (format!("it has {documents} documents and more"), SPLIT),
        BudgetBreach::ScalarBytes { .. } | BudgetBreach::InputBytes { .. } => {
            ("its texts are too long".to_owned(), SPLIT)
        }
        BudgetBreach::Aliases { aliases } | BudgetBreach::AliasAnchorRatio { aliases, .. } => {
            (format!("it refers {aliases} times and more to values with `*`"), SPELL)
        }
        BudgetBreach::Anchors { anchors } => (format!("it names {anchors} values and more with `&`"), SPELL),
        BudgetBreach::MergeKeys { merge_keys } => {
            (format!("it merges {merge_keys} maps and more with `<<`"), SPELL)
        }
        BudgetBreach::RecordedAnchorEvents { .. } | BudgetBreach::RecordedAnchorBytes { .. } => {
            ("what it names with `&` becomes too large".to_owned(), SPELL)
        }
        BudgetBreach::SequenceUnbalanced => {
            ("it closes more than it opens".to_owned(), "look at the brackets on this line and before")
        }
        _ => ("it is more than is read".to_owned(), SPLIT),
    };
    (format!("this is too much for one file: {what}"), hint.to_owned())
}
