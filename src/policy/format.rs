//! The shape of policy files, as editors with the YAML extension write it: two spaces, comments and quotes kept where they stand.

use pretty_yaml::config::{FormatOptions, LanguageOptions, LayoutOptions};
use pretty_yaml::format_text;

use crate::policy::fault::{Fault, Place};
use crate::policy::source::{Content, Node, Source};

/// Longer lists and maps go onto lines of their own.
const WIDTH: usize = 160;

/// The file in its shape: the same documents, with every comment.
///
/// # Errors
/// What is no YAML, and what could not be brought into shape without changing what it says.
pub fn tidy(source: &Source) -> Result<String, Vec<Fault>> {
    let (before, faults) = source.documents();
    if !faults.is_empty() {
        return Err(faults);
    }
    let stays = |why: &str| {
        let start = Place { file: source.name.clone(), line: 1, column: 1, length: 1 };
        vec![Fault::new(&start, format!("this file stays as it is: {why}"))]
    };
    let options = FormatOptions {
        layout: LayoutOptions { print_width: WIDTH, ..LayoutOptions::default() },
        language: LanguageOptions {
            trailing_comma: false,
            trim_trailing_whitespaces: false,
            ..LanguageOptions::default()
        },
    };
    let text = format_text(&source.text, &options).map_err(|error| stays(&error.to_string()))?;
    let (after, faults) = Source { name: source.name.clone(), text: text.clone() }.documents();
    let same = faults.is_empty() && before.len() == after.len() && before.iter().zip(&after).all(alike);
    // within values they are alike already, so that the rest are comments
    let comments = |text: &str| text.matches('#').count();
    match same && comments(&source.text) == comments(&text) {
        true => Ok(text),
        false => Err(stays("in its shape it would not say the same any more")),
    }
}

/// Whether two parts say the same, wherever they stand.
fn alike((one, other): (&Node, &Node)) -> bool {
    match (&one.content, &other.content) {
        (Content::List(one), Content::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(alike)
        }
        (Content::Map(one), Content::Map(other)) => {
            let pairs = one.iter().zip(other);
            let mut same =
                pairs.map(|((key, value), (name, other))| key.value == name.value && alike((value, other)));
            one.len() == other.len() && same.all(|same| same)
        }
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(text: &str) -> Result<String, String> {
        tidy(&Source::inline("x.yaml", text)).map_err(|faults| faults[0].message.clone())
    }

    #[test]
    fn shape_is_mended_and_comments_stay() {
        let text = "# head\nkind:   Control\nrequire:\n    a.b:    [ 'x',\"y\" ]   # why\n\n\n\n# tail";
        let once = shaped(text).unwrap();
        assert_eq!(once, "# head\nkind: Control\nrequire:\n  a.b: [\"x\", \"y\"] # why\n\n# tail\n");
        assert_eq!(shaped(&once).unwrap(), once, "what is in shape stays");
    }

    #[test]
    fn what_it_says_stays() {
        for text in [
            "a: |\n  one  \n    two\n\n  three\n",
            "a: \"admin\\ \n  x\"\n",
            "a: |-\n  ^admin \n",
            "a: 1   \nb: [ 1,   \n 2 ]   # x   \n",
            "a: >-\n  one\n  two\n\n  three\n",
            "a: '\\d+ # no comment'\nb: \"tab\\there\"\n",
            "---\na: 1\n---\nb: yes\n...\n",
            "a: {b: {c: [1, 2,\n 3]}}\n",
        ] {
            let after = shaped(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
            println!("{text:?} {after:?}");
            assert_eq!(shaped(&after).as_ref(), Ok(&after), "{text}");
        }
        // whose blank lines at the end are part of the value, and would be lost
        let kept = shaped("a: |+\n  x\n\n\nb: 1\n");
        assert!(kept.is_err_and(|fault| fault.contains("would not say the same")));
        assert!(shaped("a: [1\n").is_err());
        assert!(shaped("a: 1\na: 2\n").is_err());
    }
}
