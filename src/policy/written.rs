//! Documents as they are written: parts by name, and any part in one line of YAML.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::source::{Content, Node, Source};

/// A part of a map.
pub fn entry<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    match &node.content {
        Content::Map(entries) => entries.iter().find(|(k, _)| k.value == key).map(|(_, value)| value),
        _ => None,
    }
}

/// The control with this id, as it stands in its file.
pub fn control(sources: &[Source], id: &str) -> Option<Node> {
    let documents = sources.iter().flat_map(|source| source.documents().0);
    documents.filter(|node| entry(node, "kind").and_then(Node::scalar) == Some("Controls")).find_map(|node| {
        let Some(Content::List(list)) = entry(&node, "controls").map(|list| &list.content) else {
            return None;
        };
        list.iter().find(|one| entry(one, "id").and_then(Node::scalar) == Some(id)).cloned()
    })
}

/// YAML in one line; the order of a map's keys does not count. Two parts have the same line only when they say the same: a text that
/// would not be seen for what it is stands in quotes, with what cannot be seen in it written as a number.
pub fn flow(node: &Node) -> String {
    match &node.content {
        Content::Null => "null".to_owned(),
        Content::Scalar { text, .. } => shown(text),
        Content::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Content::Map(entries) if entries.is_empty() => "{}".to_owned(),
        Content::Map(entries) => {
            let sorted: BTreeMap<&str, String> =
                entries.iter().map(|(key, value)| (key.value.as_str(), flow(value))).collect();
            let parts: Vec<String> =
                sorted.iter().map(|(key, value)| format!("{}: {value}", shown(key))).collect();
            format!("{{ {} }}", parts.join(", "))
        }
    }
}

/// A text as it stands, or in quotes where it would be taken for something else.
pub fn shown(text: &str) -> String {
    let plain = !text.is_empty()
        && !matches!(text, "null" | "~")
        && !text.starts_with([' ', '#', '\'', '&', '*', '!', '|', '>', '%', '@', '`'])
        && !text.ends_with([' ', ':'])
        && ["  ", ": ", " #"].iter().all(|part| !text.contains(part))
        && !text.chars().any(|c| matches!(c, '"' | ',' | '[' | ']' | '{' | '}') || is_unseen(c));
    if plain { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if is_unseen(c) => out.push_str(&format!("\\U{:08x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Control and format characters, marks that join the character before, and every blank but the common one.
fn is_unseen(c: char) -> bool {
    !matches!(c, '\\' | '\'' | '"') && c.escape_debug().len() > 1
}

/// The parameters that a part uses, without their `$`.
pub fn parameters(node: &Node) -> BTreeSet<&str> {
    match &node.content {
        Content::Null => BTreeSet::new(),
        Content::Scalar { text, .. } => text.strip_prefix('$').into_iter().collect(),
        Content::List(items) => items.iter().flat_map(parameters).collect(),
        Content::Map(entries) => entries.iter().flat_map(|(_, value)| parameters(value)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        flow(&Source::inline("a.yaml", text).documents().0[0])
    }

    #[test]
    fn one_line_says_all_that_the_part_says() {
        let same = [
            ("[A, B]", "[A, B]"),
            ("['A, B']", "[\"A, B\"]"),
            ("[Domain Admins]", "[Domain Admins]"),
            ("['Domain  Admins']", "[\"Domain  Admins\"]"),
            ("[' a', 'a ', '']", "[\" a\", \"a \", \"\"]"),
            ("[~, 'null', '~']", "[null, \"null\", \"~\"]"),
            ("{ b: 1, a: { c: {} , d: [] } }", "{ a: { c: {}, d: [] }, b: 1 }"),
            ("{ 'a: b': 'c: d' }", "{ \"a: b\": \"c: d\" }"),
            ("'^\\d+\\.(a|b)$'", "^\\d+\\.(a|b)$"),
            ("(&(cn=a  b)(!(x=*)))", "\"(&(cn=a  b)(!(x=*)))\""),
            ("\"a\\u00a0b\\u200bc\\td\\ne\"", "\"a\\U000000a0b\\U0000200bc\\td\\ne\""),
            ("'say \"x\"'", "\"say \\\"x\\\"\""),
            ("Überfluß", "Überfluß"),
        ];
        for (written, wanted) in same {
            assert_eq!(line(written), wanted, "{written}");
            assert_eq!(line(wanted), wanted, "it is YAML that says the same");
        }
    }

    #[test]
    fn parameters_are_found_wherever_they_stand() {
        let node = &Source::inline("a.yaml", "{ a: { at_most: $x }, b: [$y, z], c: '$x' }").documents().0[0];
        assert_eq!(parameters(node), BTreeSet::from(["x", "y"]));
    }
}
