//! Reads maps key by key and gathers every fault on the way.

use std::collections::{BTreeMap, BTreeSet};

use time::{Duration, OffsetDateTime};

use crate::policy::fault::{Fault, Place, Placed};
use crate::policy::scalar;
use crate::policy::source::{Content, Node};
use crate::policy::terms::{OdsCode, Severity, Stage};

/// Gathers faults while documents are read. What is faulty becomes `None` or a default: the set is refused anyway.
#[derive(Debug, Default)]
pub struct Reader {
    pub faults: Vec<Fault>,
}

/// The keys of one map, all of them known.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'n> {
    pub node: &'n Node,
    entries: &'n [(Placed<String>, Node)],
    /// What the map is, for messages: `a control`.
    what: &'static str,
}

impl<'n> Fields<'n> {
    /// The value of a key; a key without a value counts as absent.
    pub fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries
            .iter()
            .find(|(k, _)| k.value == key)
            .map(|(_, v)| v)
            .filter(|v| v.content != Content::Null)
    }
}

impl Reader {
    /// Notes a fault.
    pub fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Notes the message of an `Err` at a place, with a hint.
    pub fn keep<T>(&mut self, at: &Place, result: Result<T, String>, hint: &str) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(message) => {
                let fault = Fault::new(at, message);
                self.fault(if hint.is_empty() { fault } else { fault.hint(hint) });
                None
            }
        }
    }

    /// The entries of a map.
    pub fn map<'n>(&mut self, node: &'n Node, what: &str) -> &'n [(Placed<String>, Node)] {
        match &node.content {
            Content::Map(entries) => entries,
            _ => {
                self.fault(Fault::new(&node.at, format!("{what} must be a map, this is {}", node.kind())));
                &[]
            }
        }
    }

    /// A map that may have the keys of `allowed` and no others.
    pub fn fields<'n>(&mut self, node: &'n Node, what: &'static str, allowed: &[&str]) -> Fields<'n> {
        let entries = self.map(node, what);
        for (key, value) in entries {
            if !allowed.contains(&key.value.as_str()) {
                let fault = Fault::new(&key.at, format!("{what} has no key `{}`", key.value));
                self.fault(fault.nearest(&key.value, allowed.iter().copied()));
            } else if value.content == Content::Null {
                // whoever comments the last line of a list out did not mean to remove the key
                let fault = Fault::new(&key.at, format!("`{}` has no value", key.value));
                self.fault(fault.hint("write one, or remove the key"));
            }
        }
        Fields { node, entries, what }
    }

    /// The value of a key that must be there.
    pub fn required<'n>(&mut self, fields: &Fields<'n>, key: &str) -> Option<&'n Node> {
        let found = fields.get(key);
        // that it is no map at all, or has no value, was told already
        let is_there = fields.entries.iter().any(|(k, _)| k.value == key);
        if found.is_none() && !is_there && matches!(fields.node.content, Content::Map(_)) {
            let message = format!("{} needs the key `{key}`", fields.what);
            self.fault(Fault::new(&fields.node.at, message).hint(format!("add `{key}:`")));
        }
        found
    }

    /// A scalar as text.
    pub fn text(&mut self, node: &Node) -> Option<String> {
        let found = node.scalar().map(str::to_owned);
        if found.is_none() {
            self.fault(Fault::new(&node.at, format!("a single value is expected here, not {}", node.kind())));
        }
        found
    }

    /// A text that must be there and not be blank; empty after a fault.
    pub fn required_text(&mut self, fields: &Fields<'_>, key: &str) -> String {
        let Some(node) = self.required(fields, key) else { return String::new() };
        let text = self.text(node).unwrap_or_default();
        if node.scalar().is_some() && text.trim().is_empty() {
            self.fault(Fault::new(&node.at, format!("`{key}` must not be empty")));
        }
        text
    }

    /// A text that may be absent.
    pub fn optional_text(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        fields.get(key).and_then(|node| self.text(node))
    }

    /// An identifier: lower-case letters, digits and hyphens, up to 80.
    pub fn identifier(&mut self, fields: &Fields<'_>, key: &str) -> String {
        let Some(node) = self.required(fields, key) else { return String::new() };
        let text = self.text(node).unwrap_or_default();
        let good = (1..=80).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if node.scalar().is_some() && !good {
            let fault = Fault::new(&node.at, format!("`{text}` is not an identifier"));
            self.fault(fault.hint("use lower-case letters, digits and hyphens, for example `tls-versions`"));
        }
        text
    }

    /// A text with its place.
    pub fn placed(&mut self, node: &Node) -> Option<Placed<String>> {
        self.text(node).map(|text| Placed::new(text, node.at.clone()))
    }

    /// The items of a list; a single value counts as a list of one.
    pub fn items<'n>(&mut self, node: &'n Node) -> Vec<&'n Node> {
        match &node.content {
            Content::List(items) => items.iter().collect(),
            Content::Null => Vec::new(),
            Content::Scalar { .. } => vec![node],
            Content::Map(_) => {
                self.fault(Fault::new(&node.at, "a list is expected here, not a map"));
                Vec::new()
            }
        }
    }

    /// A list of texts with their places; empty when the key is absent.
    pub fn texts(&mut self, fields: &Fields<'_>, key: &str) -> Vec<Placed<String>> {
        let Some(node) = fields.get(key) else { return Vec::new() };
        let items = self.items(node);
        items.into_iter().filter_map(|item| self.placed(item)).collect()
    }

    /// An integer.
    pub fn integer(&mut self, node: &Node) -> Option<i64> {
        let text = self.text(node)?;
        self.keep(&node.at, integer(&text).ok_or(format!("`{text}` is not an integer")), "")
    }

    /// A count from `low` to `high`, or a default when the key is absent.
    pub fn count(&mut self, fields: &Fields<'_>, key: &str, low: u32, high: u32, default: u32) -> u32 {
        let Some(node) = fields.get(key) else { return default };
        let Some(number) = self.integer(node) else { return default };
        match u32::try_from(number) {
            Ok(number) if (low..=high).contains(&number) => number,
            _ => {
                self.fault(Fault::new(&node.at, format!("`{key}` is from {low} to {high}, not {number}")));
                default
            }
        }
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, node: &Node) -> Option<bool> {
        let text = self.text(node)?;
        match text.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                let fault = Fault::new(&node.at, format!("`{text}` is neither true nor false"));
                self.fault(fault.hint("write `true` or `false`"));
                None
            }
        }
    }

    /// A duration with its unit.
    pub fn duration(&mut self, node: &Node) -> Option<Duration> {
        let text = self.text(node)?;
        self.keep(&node.at, scalar::duration(&text), scalar::DURATION_HINT).map(Duration::seconds)
    }

    /// A duration from `low` to `high`, both as a document writes them.
    pub fn duration_within(&mut self, node: &Node, what: &str, low: &str, high: &str) -> Option<Duration> {
        let found = self.duration(node)?;
        let bound = |text: &str| scalar::duration(text).map_or(found, Duration::seconds);
        if (bound(low)..=bound(high)).contains(&found) {
            return Some(found);
        }
        let text = node.scalar().unwrap_or_default();
        self.fault(Fault::new(&node.at, format!("`{what}` is from {low} to {high}, not {text}")));
        None
    }

    /// A share from one hundredth of a percent to `high` hundredths.
    pub fn share(&mut self, node: &Node, what: &str, high: u32) -> Option<u32> {
        let text = self.text(node)?;
        let found = self.keep(&node.at, scalar::percent(&text), "write a share such as `5%`")?;
        if (1..=high).contains(&found) {
            return Some(found);
        }
        let high = format!("{}.{:02}", high / 100, high % 100);
        let high = high.trim_end_matches('0').trim_end_matches('.');
        self.fault(Fault::new(&node.at, format!("`{what}` is from 0.01% to {high}%, not {text}")));
        None
    }

    /// Notes a value that stands twice among others.
    pub fn twice(&mut self, node: &Node, what: &str) {
        let text = node.scalar().unwrap_or_default();
        self.fault(
            Fault::new(&node.at, format!("`{text}` stands twice in `{what}`")).hint("keep one of them"),
        );
    }

    /// One of the given words.
    pub fn word<T: Copy>(&mut self, node: &Node, words: &[(&str, T)], what: &str) -> Option<T> {
        let text = self.text(node)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let fault = Fault::new(&node.at, format!("`{text}` is no {what}"));
            self.fault(fault.nearest(&text, words.iter().map(|(word, _)| *word)));
        }
        found
    }

    /// A severity.
    pub fn severity(&mut self, node: &Node) -> Option<Severity> {
        let words = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
        self.word(node, &words.map(|s| (s.as_str(), s)), "severity")
    }

    /// A stage.
    pub fn stage(&mut self, node: &Node) -> Option<Stage> {
        let words = [
            ("draft", Stage::Draft),
            ("audit", Stage::Audit),
            ("warn", Stage::Warn),
            ("enforce", Stage::Enforce),
        ];
        self.word(node, &words, "stage")
    }

    /// The start of a day.
    pub fn date(&mut self, node: &Node) -> Option<OffsetDateTime> {
        let text = self.text(node)?;
        self.keep(&node.at, scalar::date(&text), "write year-month-day")
    }

    /// The end of a day, exclusive.
    pub fn end_of_day(&mut self, node: &Node) -> Option<OffsetDateTime> {
        let text = self.text(node)?;
        self.keep(&node.at, scalar::end_of_day(&text), "write year-month-day")
    }

    /// An ODS code.
    pub fn member(&mut self, node: &Node) -> Option<OdsCode> {
        let text = self.text(node)?;
        self.keep(&node.at, text.parse().map_err(|error| format!("{error}")), "")
    }

    /// Named values; what they are is known only where they are used.
    pub fn parameters(&mut self, fields: &Fields<'_>, key: &str) -> BTreeMap<String, Node> {
        let Some(node) = fields.get(key) else { return BTreeMap::new() };
        self.map(node, "`parameters`").iter().map(|(k, v)| (k.value.clone(), v.clone())).collect()
    }

    /// Framework names to identifiers.
    pub fn references(&mut self, fields: &Fields<'_>) -> BTreeMap<String, Vec<String>> {
        let Some(node) = fields.get("references") else { return BTreeMap::new() };
        let entries = self.map(node, "`references`");
        entries
            .iter()
            .map(|(key, value)| {
                let items = self.items(value);
                (key.value.clone(), items.into_iter().filter_map(|item| self.text(item)).collect())
            })
            .collect()
    }

    /// A set of words.
    pub fn words<T: Copy + Ord>(&mut self, node: &Node, words: &[(&str, T)], what: &str) -> BTreeSet<T> {
        let items = self.items(node);
        items.into_iter().filter_map(|item| self.word(item, words, what)).collect()
    }
}

/// An integer in decimal or, after `0x`, in hexadecimal. `010` is ten to some and eight to others (YAML 1.1), and none here.
pub fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None if digits.len() > 1 && digits.starts_with('0') => None,
        None => text.parse().ok(),
    }
}
