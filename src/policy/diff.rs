//! What two policy sets say differently: document by document and value by value, however they are laid out in files and lines.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::policy::fault::Place;
use crate::policy::source::{Content, Node, Source};

/// Values that are shown whole: what a condition asks only makes sense in one piece.
const WHOLE: &[&str] = &["require", "where", "when", "count", "given", "expect", "values", "flags"];

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The kind of document, or `Control`, `Fact`.
    pub kind: &'static str,
    /// What it is called.
    pub id: String,
    pub change: Change,
    /// Where it stands, in the new set when it is there.
    pub place: String,
    /// Its title, when it has one.
    pub title: Option<String>,
    /// Every value that differs; for what came or went, none.
    pub values: Vec<Changed>,
}

/// Whether it came, went or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Added,
    Removed,
    Changed,
}

/// One value before and after, as YAML in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// The way to it, `parameters.krbtgt_max_age`.
    pub key: String,
    /// None: it was not written.
    pub before: Option<String>,
    /// None: it is not written any more.
    pub after: Option<String>,
    /// Controls that use the parameter, when it is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<String>,
}

/// One document, or one of several in it.
struct Item {
    at: Place,
    title: Option<String>,
    values: BTreeMap<String, String>,
}

/// Kind and name.
type Key = (&'static str, String);

/// What differs, in the order of kinds and names. Both sets are sound.
pub fn difference(before: &[Source], after: &[Source]) -> Vec<Difference> {
    let (was, is) = (items(before), items(after));
    let gone = was.iter().filter(|(key, _)| !is.contains_key(*key));
    let gone = gone.map(|(key, item)| told(key, item, Change::Removed, Vec::new()));
    let here = is.iter().filter_map(|(key, item)| match was.get(key) {
        None => Some(told(key, item, Change::Added, Vec::new())),
        Some(old) if old.values == item.values => None,
        Some(old) => Some(told(key, item, Change::Changed, changed(&old.values, &item.values, &is))),
    });
    let mut all: Vec<Difference> = here.chain(gone).collect();
    all.sort_by(|a, b| (rank(a.kind), &a.id).cmp(&(rank(b.kind), &b.id)));
    all
}

const KINDS: [(&str, &str); 8] = [
    ("Baseline", "Baseline"),
    ("Profile", "Profile"),
    ("Controls", "Control"),
    ("Facts", "Fact"),
    ("Exception", "Exception"),
    ("Release", "Release"),
    ("SyncScope", "SyncScope"),
    ("PolicyTest", "PolicyTest"),
];

fn rank(kind: &str) -> usize {
    KINDS.iter().position(|(_, one)| *one == kind).unwrap_or(KINDS.len())
}

fn told((kind, id): &Key, item: &Item, change: Change, values: Vec<Changed>) -> Difference {
    let (place, title) = (item.at.to_string(), item.title.clone());
    Difference { kind, id: id.clone(), change, place, title, values }
}

fn changed(
    was: &BTreeMap<String, String>,
    is: &BTreeMap<String, String>,
    all: &BTreeMap<Key, Item>,
) -> Vec<Changed> {
    let keys = was.keys().chain(is.keys().filter(|key| !was.contains_key(*key)));
    let mut differing: Vec<Changed> = keys
        .filter(|key| was.get(*key) != is.get(*key))
        .map(|key| Changed {
            key: key.clone(),
            before: was.get(key).cloned(),
            after: is.get(key).cloned(),
            used_by: key.strip_prefix("parameters.").map(|name| users(name, all)).unwrap_or_default(),
        })
        .collect();
    differing.sort_by(|a, b| a.key.cmp(&b.key));
    differing
}

/// Controls that use a parameter.
fn users(parameter: &str, all: &BTreeMap<Key, Item>) -> Vec<String> {
    let wanted = format!("${parameter}");
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let uses = |text: &String| {
        text.match_indices(&wanted)
            .any(|(at, _)| !text.get(at + wanted.len()..).unwrap_or("").starts_with(is_word))
    };
    let controls = all.iter().filter(|((kind, _), _)| *kind == "Control");
    controls.filter(|(_, item)| item.values.values().any(uses)).map(|((_, id), _)| id.clone()).collect()
}

fn items(sources: &[Source]) -> BTreeMap<Key, Item> {
    let mut all = BTreeMap::new();
    for node in sources.iter().flat_map(|source| source.documents().0) {
        let Some(kind) = entry(&node, "kind").and_then(Node::scalar) else { continue };
        let Some((_, kind)) = KINDS.into_iter().find(|(written, _)| *written == kind) else { continue };
        let several = match kind {
            "Control" => entry(&node, "controls"),
            "Fact" => entry(&node, "facts"),
            _ => None,
        };
        match several.map(|node| &node.content) {
            Some(Content::List(list)) => list.iter().for_each(|one| add(&mut all, kind, one)),
            _ => add(&mut all, kind, &node),
        }
    }
    all
}

fn add(all: &mut BTreeMap<Key, Item>, kind: &'static str, node: &Node) {
    let text = |key: &str| entry(node, key).and_then(Node::scalar).map(str::to_owned);
    let id = match kind {
        // one of the same control and member that begins on another day is another
        "Exception" => ["control", "member", "from"].map(|key| text(key).unwrap_or_default()).join(" "),
        "Fact" | "PolicyTest" => text("name").unwrap_or_default(),
        _ => text("id").unwrap_or_default(),
    };
    let mut values = BTreeMap::new();
    flatten("", node, &mut values);
    for key in ["kind", "id", "name"] {
        values.remove(key);
    }
    all.insert((kind, id), Item { at: node.at.clone(), title: text("title"), values });
}

fn entry<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    match &node.content {
        Content::Map(entries) => entries.iter().find(|(k, _)| k.value == key).map(|(_, value)| value),
        _ => None,
    }
}

fn flatten(way: &str, node: &Node, out: &mut BTreeMap<String, String>) {
    let last = way.rsplit('.').next().unwrap_or(way);
    match &node.content {
        Content::Map(entries) if !WHOLE.contains(&last) => {
            for (key, value) in entries {
                let way = if way.is_empty() { key.value.clone() } else { format!("{way}.{}", key.value) };
                flatten(&way, value, out);
            }
        }
        _ => {
            out.insert(way.to_owned(), flow(node));
        }
    }
}

/// YAML in one line; the order of a map's keys does not count.
fn flow(node: &Node) -> String {
    match &node.content {
        Content::Null => "null".to_owned(),
        Content::Scalar { text, .. } => text.split_whitespace().collect::<Vec<_>>().join(" "),
        Content::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Content::Map(entries) => {
            let sorted: BTreeMap<&str, String> =
                entries.iter().map(|(key, value)| (key.value.as_str(), flow(value))).collect();
            let parts: Vec<String> = sorted.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            format!("{{ {} }}", parts.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "\
kind: Baseline
id: n
parameters: { age: 180d, other: 1 }
---
kind: Controls
controls:
  - id: a
    title: Ages
    severity: high
    require: { x.age: { at_most: $age } }
  - { id: b, title: Gone, severity: low, require: { x.y: true, x.z: 1 } }
";

    fn sources(texts: &[&str]) -> Vec<Source> {
        texts.iter().enumerate().map(|(n, text)| Source::inline(&format!("{n}.yaml"), text)).collect()
    }

    #[test]
    fn layout_makes_no_difference() {
        let moved = "\
# a remark
kind: Controls
controls:
  - id: b
    severity: low
    title:   'Gone'
    require:
      x.z: 1
      x.y: true
---
kind: Controls
controls: [ { severity: high, id: a, title: Ages, require: { x.age: { at_most: $age } } } ]
";
        let baseline = "id: n\nkind: Baseline\nparameters:\n  other: 1\n  age: 180d\n";
        assert_eq!(difference(&sources(&[ONE]), &sources(&[moved, baseline])), []);
    }

    #[test]
    fn values_that_differ_are_told_with_who_uses_them() {
        let new = ONE.replace("180d", "90d").replace("severity: high", "severity: critical");
        let new = new.lines().filter(|line| !line.contains("Gone")).collect::<Vec<_>>().join("\n");
        let found = difference(&sources(&[ONE]), &sources(&[&new]));
        let told: Vec<_> = found.iter().map(|d| (d.kind, d.id.as_str(), d.change)).collect();
        let expected = [
            ("Baseline", "n", Change::Changed),
            ("Control", "a", Change::Changed),
            ("Control", "b", Change::Removed),
        ];
        assert_eq!(told, expected);
        let age = &found[0].values[0];
        assert_eq!(
            (age.key.as_str(), age.before.as_deref(), age.after.as_deref()),
            ("parameters.age", Some("180d"), Some("90d"))
        );
        assert_eq!(age.used_by, ["a"]);
        assert_eq!(found[1].values.iter().map(|v| v.key.as_str()).collect::<Vec<_>>(), ["severity"]);
        let back = difference(&sources(&[&new]), &sources(&[ONE]));
        assert_eq!(back[2].change, Change::Added);
    }
}
