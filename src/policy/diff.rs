//! What two policy sets say differently: document by document and value by value, however they are laid out in files and lines, and which
//! controls each baseline judges.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::policy::fault::Place;
use crate::policy::set::PolicySet;
use crate::policy::source::{Content, Node, Source};
use crate::policy::written::{entry, flow, shown};

/// Values that are shown whole: what a condition asks only makes sense in one piece.
const WHOLE: &[&str] = &["require", "where", "when", "count", "given", "expect", "values", "flags"];

/// Texts for people alone: white space at the ends of their lines says nothing.
const PROSE: &[&str] = &["why", "fix"];

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
    /// Of a baseline that was there before: controls that it judges now, because a file of its `include` has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub joins: Vec<String>,
    /// Controls that it does not judge any more, whether or not they are still written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leaves: Vec<String>,
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
    /// What a baseline judges.
    controls: BTreeSet<String>,
}

/// Kind and name.
type Key = (&'static str, String);

/// What differs, in the order of kinds and names. Both sets are sound.
pub fn difference(before: &[Source], after: &[Source]) -> Vec<Difference> {
    let (was, is) = (items(before), items(after));
    let gone = was.iter().filter(|(key, _)| !is.contains_key(*key));
    let gone = gone.map(|(key, item)| told(key, item, Change::Removed));
    let here = is.iter().filter_map(|(key, item)| match was.get(key) {
        None => Some(told(key, item, Change::Added)),
        Some(old) if old.values == item.values && old.controls == item.controls => None,
        Some(old) => Some(Difference {
            values: changed(&old.values, &item.values, &is),
            joins: item.controls.difference(&old.controls).cloned().collect(),
            leaves: old.controls.difference(&item.controls).cloned().collect(),
            ..told(key, item, Change::Changed)
        }),
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

fn told((kind, id): &Key, item: &Item, change: Change) -> Difference {
    let (place, title) = (item.at.to_string(), item.title.clone());
    let (values, joins, leaves) = Default::default();
    Difference { kind, id: id.clone(), change, place, title, values, joins, leaves }
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
    // which files a baseline includes shows only when all are read
    for baseline in PolicySet::from_sources(sources).0.baselines.into_values() {
        if let Some(item) = all.get_mut(&("Baseline", baseline.id)) {
            item.controls.extend(baseline.controls);
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
    let id = match values.get("objects").filter(|_| kind == "Exception") {
        // two may differ in the objects alone
        Some(objects) => format!("{id} {objects}"),
        None => id,
    };
    all.insert(
        (kind, id),
        Item { at: node.at.clone(), title: text("title"), values, controls: BTreeSet::new() },
    );
}

fn flatten(way: &str, node: &Node, out: &mut BTreeMap<String, String>) {
    let last = way.rsplit('.').next().unwrap_or(way);
    match &node.content {
        Content::Map(entries) if !WHOLE.contains(&last) && !entries.is_empty() => {
            for (key, value) in entries {
                // a dot of a key is none of the way
                let key = match key.value.contains('.') {
                    true => format!("\"{}\"", key.value),
                    false => shown(&key.value),
                };
                let way = if way.is_empty() { key } else { format!("{way}.{key}") };
                flatten(&way, value, out);
            }
        }
        Content::Scalar { text, .. } if PROSE.contains(&way) => {
            let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
            out.insert(way.to_owned(), shown(&lines.join("\n")));
        }
        _ => {
            out.insert(way.to_owned(), flow(node));
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

    /// What changed of one value, when it is `before` and `after` in a control's text.
    fn of_control(before: &str, after: &str) -> Vec<(String, Option<String>, Option<String>)> {
        let text = |part: &str| format!("kind: Controls\ncontrols:\n  - id: a\n{part}");
        let found = difference(&sources(&[&text(before)]), &sources(&[&text(after)]));
        found.into_iter().flat_map(|d| d.values).map(|v| (v.key, v.before, v.after)).collect()
    }

    #[test]
    fn values_are_compared_to_the_last_blank() {
        let some = |text: &str| Some(text.to_owned());
        for (before, after) in [
            ("{ x: { none_of: [Domain Admins] } }", "{ x: { none_of: [\"Domain  Admins\"] } }"),
            ("{ x: { matches: \"^a b$\" } }", "{ x: { matches: \"^a  b$\" } }"),
            ("{ x: { one_of: [A, B] } }", "{ x: { one_of: [\"A, B\"] } }"),
            ("{ x: \"A\\U000000a0B\" }", "{ x: A B }"),
        ] {
            let written = |text: &str| format!("    require: {text}\n");
            let shown = |text: &str| {
                let text = text.replace("\"^a b$\"", "^a b$");
                some(&text)
            };
            let expected = vec![("require".to_owned(), shown(before), shown(after))];
            assert_eq!(of_control(&written(before), &written(after)), expected);
        }
    }

    #[test]
    fn prose_may_end_its_lines_as_it_likes() {
        let folded = "    why: >\n      one\n      two\n    fix: |\n      x\n";
        assert_eq!(of_control(folded, "    why: one two\n    fix: x\n"), []);
        let found = of_control("    fix: |\n      a -b\n      c\n", "    fix: |\n      a  -b\n      c\n");
        let (before, after) = (Some("\"a -b\\nc\"".to_owned()), Some("\"a  -b\\nc\"".to_owned()));
        assert_eq!(found, [("fix".to_owned(), before, after)]);
    }

    #[test]
    fn a_control_that_its_baseline_does_not_include_any_more_is_told() {
        let baseline = "\
kind: Baseline
id: n
title: N
owner: o
revision: 1
stage: enforce
include: [on/*.yaml]
grants: { lookup: { deny_on: critical }, sync: { deny_on: critical } }
evidence_valid_for: 24h
";
        let control = |id: &str| {
            format!(
                "kind: Controls\ncontrols:\n  - {{ id: {id}, title: T, severity: low, require: {{ tls.chain_valid: true }}, why: w, fix: f }}\n"
            )
        };
        let set = |folder: &str| {
            vec![
                Source::inline("b.yaml", baseline),
                Source::inline("on/a.yaml", &control("a")),
                Source::inline(&format!("{folder}/b.yaml"), &control("b")),
            ]
        };
        let found = difference(&set("on"), &set("off"));
        let told: Vec<_> = found.iter().map(|d| (d.kind, d.id.as_str(), d.change)).collect();
        assert_eq!(told, [("Baseline", "n", Change::Changed)]);
        assert_eq!((found[0].leaves.as_slice(), found[0].joins.as_slice()), (&["b".to_owned()][..], &[][..]));
        assert_eq!(difference(&set("off"), &set("on"))[0].joins, ["b"]);
    }

    #[test]
    fn exceptions_of_the_same_day_are_several() {
        let one = |objects: &str, until: &str| {
            format!(
                "kind: Exception\ncontrol: c\nmember: RXA\nfrom: 2026-01-01\nobjects: [{objects}]\nuntil: {until}\n---\n"
            )
        };
        let before = one("a", "2026-02-01") + &one("b", "2026-02-01");
        let after = one("a", "2026-02-01") + &one("b", "2026-12-01");
        let found = difference(&sources(&[&before]), &sources(&[&after]));
        let told: Vec<_> = found.iter().map(|d| (d.id.as_str(), d.values.len())).collect();
        assert_eq!(told, [("c RXA 2026-01-01 [b]", 1)]);
        let turned = one("b", "2026-02-01") + &one("a", "2026-02-01");
        assert_eq!(difference(&sources(&[&before]), &sources(&[&turned])), []);
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
