//! Policy files and the YAML in them, every part with its place.
//!
//! The text is parsed into nodes first and read into documents afterwards, so that one wrong key does not hide the rest.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde_yaml::{DuplicateKeyPolicy, Location, Spanned};
use sha2::{Digest, Sha256};

use crate::policy::fault::{Fault, Place, Placed};
use crate::policy::signature::hex;
use crate::policy::yaml;

/// No policy file is larger.
pub const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Of a file that is no YAML, so many documents are read one by one.
const PARTS_MAX: usize = 64;
/// No document nests deeper.
const DEPTH_MAX: usize = 48;

/// A part of a document as written.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub at: Place,
    pub content: Content,
}

/// What a part holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Null,
    /// A scalar as written; `plain` means without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Placed<String>, Node)>),
}

impl Node {
    /// What the node is, for messages.
    pub fn kind(&self) -> &'static str {
        match self.content {
            Content::Null => "nothing",
            Content::Scalar { .. } => "a single value",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }

    /// The text of a scalar.
    pub fn scalar(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// A scalar made by the program.
    pub fn made(text: &str) -> Node {
        Node { at: Place::nowhere(), content: Content::Scalar { text: text.to_owned(), plain: true } }
    }
}

/// One policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The path below the policy folder, with `/`.
    pub name: Arc<str>,
    pub text: String,
}

impl Source {
    /// A source that is in no file, for tests and for text that came another way.
    pub fn inline(name: &str, text: &str) -> Source {
        Source { name: Arc::from(name), text: text.to_owned() }
    }

    /// Line `number` (from 1), without its end.
    pub fn line(&self, number: u32) -> &str {
        let index = usize::try_from(number).unwrap_or(0).saturating_sub(1);
        self.text.lines().nth(index).unwrap_or("")
    }

    /// The documents of the file, and what is wrong with it: text that is no YAML, and keys that stand twice in one map. Empty documents
    /// are left out. A document that is no YAML hides none of the others; what came with a fault must not be used for anything but to
    /// find more faults.
    pub fn documents(&self) -> (Vec<Node>, Vec<Fault>) {
        if let Some(fault) = self.too_deep() {
            return (Vec::new(), vec![fault]);
        }
        let mut faults = Vec::new();
        let raw = match self.parse(&self.text) {
            Ok(raw) => raw,
            Err(fault) => {
                let mut raw = Vec::new();
                for part in self.parts() {
                    match self.parse(&part) {
                        Ok(more) => raw.extend(more),
                        Err(fault) => faults.push(fault),
                    }
                }
                // one document, or what only shows in the whole, such as too many of them
                if faults.is_empty() {
                    faults.push(fault);
                }
                raw
            }
        };
        let nodes = raw.into_iter().map(|raw| self.node(raw, &mut faults)).collect();
        (nodes, faults)
    }

    fn parse(&self, text: &str) -> Result<Vec<Raw>, Fault> {
        let options = serde_yaml::options! {
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            strict_booleans: true,
            with_snippet: false,
            budget: serde_yaml::budget! { max_depth: DEPTH_MAX },
        };
        serde_yaml::from_multiple_with_options(text, options).map_err(|error| self.syntax_fault(&error))
    }

    /// The whole text once for each document, with everything blank that is another's, so that places stay what they are.
    fn parts(&self) -> Vec<String> {
        let mut starts = vec![0];
        let mut at = 0;
        for line in self.text.split_inclusive('\n') {
            let marker = line
                .strip_prefix("---")
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
            if marker && at > 0 {
                starts.push(at);
            }
            at += line.len();
        }
        if starts.len() == 1 {
            return Vec::new();
        }
        starts.push(self.text.len());
        let ends = starts.iter().skip(1);
        let blank =
            |text: &str| text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect::<String>();
        let whole = |from: usize, to: usize| {
            let (before, rest) = self.text.split_at(from);
            let (mine, after) = rest.split_at(to - from);
            [&blank(before), mine, &blank(after)].concat()
        };
        starts.iter().zip(ends).take(PARTS_MAX).map(|(from, to)| whole(*from, *to)).collect()
    }

    /// A fault when brackets nest deeper than any document needs: the parser is spared them.
    fn too_deep(&self) -> Option<Fault> {
        let mut depth: usize = 0;
        for (number, line) in (1u32..).zip(self.text.lines()) {
            for (column, c) in (1u32..).zip(line.chars()) {
                match c {
                    '[' | '{' => depth += 1,
                    ']' | '}' => depth = depth.saturating_sub(1),
                    '#' => break,
                    _ => {}
                }
                if depth > DEPTH_MAX * 4 {
                    let at = Place { file: self.name.clone(), line: number, column, length: 1 };
                    return Some(Fault::new(&at, "brackets nest too deep"));
                }
            }
        }
        None
    }

    fn syntax_fault(&self, error: &serde_yaml::Error) -> Fault {
        let at = error.location().map_or_else(
            || Place::start_of(&self.name),
            |location| Place {
                file: self.name.clone(),
                line: narrow(location.line()).max(1),
                column: narrow(location.column()).max(1),
                length: 1,
            },
        );
        if let Some((message, hint)) = yaml::plain(error) {
            return Fault::new(&at, message).hint(hint);
        }
        let text = error.without_snippet().to_string();
        let text = text.lines().next().unwrap_or("");
        let text = text.split(" at line ").next().unwrap_or(text);
        let text = text.split_once(": line ").map_or(text, |(head, _)| head);
        Fault::new(&at, format!("this is not valid YAML: {}", text.trim_start_matches("error: ")))
            .hint("look at the indentation, the colons and the quotes on this line and the one before")
    }

    fn node(&self, raw: Raw, faults: &mut Vec<Fault>) -> Node {
        let at = self.place(&raw.0.referenced);
        let defined = raw.0.defined;
        let content = match raw.0.value {
            RawContent::Null => Content::Null,
            RawContent::Text(text) => Content::Scalar { text, plain: !self.quoted(&defined) },
            RawContent::Inferred(text) => {
                let written = self.slice(&defined).map_or(text, |s| s.trim().to_owned());
                Content::Scalar { text: written, plain: true }
            }
            RawContent::List(items) => {
                Content::List(items.into_iter().map(|item| self.node(item, faults)).collect())
            }
            RawContent::Map(entries) => {
                let mut out: Vec<(Placed<String>, Node)> = Vec::new();
                for (key, value) in entries {
                    let key = Placed::new(key.value, self.place(&key.referenced));
                    if let Some((first, _)) = out.iter().find(|(k, _)| k.value == key.value) {
                        let message = format!("the key `{}` stands twice in one map", key.value);
                        let hint = format!("it stands first on line {}; keep one of them", first.at.line);
                        faults.push(Fault::new(&key.at, message).hint(hint));
                    }
                    out.push((key, self.node(value, faults)));
                }
                Content::Map(out)
            }
        };
        Node { at, content }
    }

    fn place(&self, location: &Location) -> Place {
        let line = narrow(location.line()).max(1);
        let column = narrow(location.column()).max(1);
        let rest = self.line(line).chars().count().saturating_sub(usize::try_from(column).unwrap_or(1) - 1);
        let length = usize::try_from(location.span().len()).unwrap_or(1).min(rest).max(1);
        Place { file: self.name.clone(), line, column, length: u32::try_from(length).unwrap_or(1) }
    }

    fn slice(&self, location: &Location) -> Option<&str> {
        let span = location.span();
        let from = usize::try_from(span.byte_offset()?).ok()?;
        let to = from + usize::try_from(span.byte_len()?).ok()?;
        self.text.get(from..to)
    }

    fn quoted(&self, location: &Location) -> bool {
        self.slice(location).is_some_and(|text| text.starts_with(['"', '\'', '|', '>']))
    }
}

/// Whether a file of this name holds policy documents.
pub fn is_policy(name: &str) -> bool {
    let ends = |word: &str| Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case(word));
    ends("yaml") || ends("yml")
}

/// SHA-256 over the names and bytes of all files, lower-case hex.
pub fn content_hash(sources: &[Source]) -> String {
    let mut hasher = Sha256::new();
    for source in sources {
        for part in [source.name.as_bytes(), source.text.as_bytes()] {
            // lengths first, so that no two sets of files give the same stream of bytes
            hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hasher.update(part);
        }
    }
    hex(&hasher.finalize())
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A node as the parser gives it.
struct Raw(Spanned<RawContent>);

enum RawContent {
    Null,
    /// A text as YAML understands it (quotes and escapes resolved).
    Text(String),
    /// A plain scalar that YAML takes for a number or a truth value; the document wants it as written.
    Inferred(String),
    List(Vec<Raw>),
    Map(Vec<(Spanned<String>, Raw)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::<RawContent>::deserialize(deserializer).map(Raw)
    }
}

impl<'de> Deserialize<'de> for RawContent {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyContent)
    }
}

struct AnyContent;

impl<'de> Visitor<'de> for AnyContent {
    type Value = RawContent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a map")
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawContent, E> {
        Ok(RawContent::Inferred(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<RawContent, E> {
        Ok(RawContent::Inferred(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<RawContent, E> {
        Ok(RawContent::Inferred(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<RawContent, E> {
        Ok(RawContent::Inferred(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<RawContent, E> {
        Ok(RawContent::Inferred(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<RawContent, E> {
        Ok(RawContent::Inferred(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<RawContent, E> {
        Ok(RawContent::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<RawContent, E> {
        Ok(RawContent::Text(value))
    }

    fn visit_unit<E>(self) -> Result<RawContent, E> {
        Ok(RawContent::Null)
    }

    fn visit_none<E>(self) -> Result<RawContent, E> {
        Ok(RawContent::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawContent, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(RawContent::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawContent, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(RawContent::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Node {
        let (mut nodes, faults) = Source::inline("a.yaml", text).documents();
        assert_eq!(faults, []);
        nodes.remove(0)
    }

    #[test]
    fn every_part_has_its_place_and_its_spelling() {
        let node =
            one("kind: Baseline\nrevision: 1.10\nlist: [0x10, 'true', true, no]\nnested:\n  deep: ü$x\n");
        let Content::Map(entries) = &node.content else { panic!() };
        let texts: Vec<_> =
            entries.iter().map(|(k, v)| (k.value.as_str(), k.at.line, k.at.column, v.at.column)).collect();
        assert_eq!(
            texts,
            [("kind", 1, 1, 7), ("revision", 2, 1, 11), ("list", 3, 1, 7), ("nested", 4, 1, 3)]
        );
        assert_eq!(entries[1].1.scalar(), Some("1.10"));
        let Content::List(items) = &entries[2].1.content else { panic!() };
        let items: Vec<_> = items.iter().map(|i| i.content.clone()).collect();
        let plain = |t: &str| Content::Scalar { text: t.into(), plain: true };
        let quoted = Content::Scalar { text: "true".into(), plain: false };
        assert_eq!(items, [plain("0x10"), quoted, plain("true"), plain("no")]);
    }

    #[test]
    fn duplicate_keys_are_all_found() {
        let faults = Source::inline("a.yaml", "a: 1\na: 2\nb: {c: 1, c: 2}\n").documents().1;
        let places: Vec<_> = faults.iter().map(|f| (f.place.line, f.place.column)).collect();
        assert_eq!(places, [(2, 1), (3, 11)]);
    }

    #[test]
    fn broken_yaml_is_a_fault_with_a_place() {
        for text in ["a: [1, 2\n", "a: 'x\n", "a: b: c\n", "a: *x\n"] {
            let faults = Source::inline("a.yaml", text).documents().1;
            assert!(faults[0].place.line >= 1, "{faults:?}");
            println!("{text:?} -> {}", faults[0]);
        }
        let nested =
            Source::inline("a.yaml", &format!("a: {}{}\n", "[".repeat(60), "]".repeat(60))).documents().1;
        assert!(nested[0].message.starts_with("this is too much for one file: it nests"), "{}", nested[0]);
        let many = format!("a: [{}]\n", "0,".repeat(300_000));
        let many = Source::inline("a.yaml", &many).documents().1;
        assert!(many[0].message.contains(" values and more") && many[0].hint.is_some(), "{}", many[0]);
        let deep = "[".repeat(100_000);
        assert!(!Source::inline("a.yaml", &deep).documents().1.is_empty());
        assert_eq!(Source::inline("a.yaml", "---\n---\n# nothing\n").documents(), (vec![], vec![]));
    }

    #[test]
    fn a_broken_document_hides_no_other() {
        let text = "a: ü\na: 2\n---\nb: 'x\nc: 1\n---\nd: {e: 1, e: 2}\n--- # the last\nf: [1\n";
        let (nodes, faults) = Source::inline("a.yaml", text).documents();
        assert_eq!(nodes.len(), 2);
        assert_eq!(nodes[1].at.line, 7);
        let lines: Vec<u32> = faults.iter().map(|fault| fault.place.line).collect();
        assert_eq!(lines.len(), 4, "{faults:?}");
        assert!(lines.contains(&2) && lines.contains(&7), "{faults:?}");
    }
}
