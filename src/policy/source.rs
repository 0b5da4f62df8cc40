//! Policy files and the YAML in them, every part with its place.
//!
//! The text is parsed into nodes first and read into documents afterwards, so that one wrong key does not hide the rest.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde_yaml::{DuplicateKeyPolicy, Location, Spanned};

use crate::policy::fault::{Fault, Place, Placed};

/// No policy file is larger.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// No document nests deeper.
const DEPTH_MAX: usize = 48;
/// No folder below a policy folder lies deeper.
const FOLDERS_MAX: usize = 16;

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
#[derive(Debug, Clone)]
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

    /// The documents of the file; empty documents are left out.
    ///
    /// # Errors
    /// Text that is no YAML, and keys that stand twice in one map.
    pub fn documents(&self) -> Result<Vec<Node>, Vec<Fault>> {
        if let Some(fault) = self.too_deep() {
            return Err(vec![fault]);
        }
        let options = serde_yaml::options! {
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            strict_booleans: true,
            with_snippet: false,
            budget: serde_yaml::budget! { max_depth: DEPTH_MAX },
        };
        let raw: Vec<Raw> = serde_yaml::from_multiple_with_options(&self.text, options)
            .map_err(|error| vec![self.syntax_fault(&error)])?;
        let mut faults = Vec::new();
        let nodes = raw.into_iter().map(|raw| self.node(raw, &mut faults)).collect();
        if faults.is_empty() { Ok(nodes) } else { Err(faults) }
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

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Reads every `*.yaml` and `*.yml` below `root` (or `root` itself when it is a file), sorted by name.
///
/// # Errors
/// One fault for each file or folder that cannot be read, is too large or is not UTF-8.
pub fn read_folder(root: &Path) -> Result<Vec<Source>, Vec<Fault>> {
    let mut paths = Vec::new();
    let mut faults = Vec::new();
    if root.is_file() {
        paths.push(root.to_owned());
    } else {
        walk(root, root, FOLDERS_MAX, &mut paths, &mut faults);
    }
    paths.sort();
    let mut sources = Vec::new();
    for path in paths {
        match read_file(&path, &name_below(root, &path)) {
            Ok(source) => sources.push(source),
            Err(fault) => faults.push(fault),
        }
    }
    if sources.is_empty() && faults.is_empty() {
        let place = Place::start_of(&root.to_string_lossy());
        faults
            .push(Fault::new(&place, "there is no policy file (*.yaml) here").hint("name the policy folder"));
    }
    if faults.is_empty() { Ok(sources) } else { Err(faults) }
}

fn walk(root: &Path, folder: &Path, depth: usize, out: &mut Vec<PathBuf>, faults: &mut Vec<Fault>) {
    let place = Place::start_of(&name_below(root, folder));
    if depth == 0 {
        faults.push(Fault::new(&place, "folders nest too deep"));
        return;
    }
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            faults.push(Fault::new(&place, format!("the folder cannot be read: {error}")));
            return;
        }
    };
    for entry in entries {
        match entry {
            Ok(entry) => {
                let path = entry.path();
                let hidden = entry.file_name().to_string_lossy().starts_with('.');
                if path.is_dir() && !hidden {
                    walk(root, &path, depth - 1, out, faults);
                } else if !hidden && path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
                    out.push(path);
                }
            }
            Err(error) => {
                faults.push(Fault::new(&place, format!("the folder cannot be read: {error}")));
            }
        }
    }
}

fn name_below(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).ok().filter(|p| !p.as_os_str().is_empty());
    below.unwrap_or(path).to_string_lossy().replace('\\', "/")
}

fn read_file(path: &Path, name: &str) -> Result<Source, Fault> {
    let place = Place::start_of(name);
    let cannot = |error: std::io::Error| Fault::new(&place, format!("the file cannot be read: {error}"));
    let length = std::fs::metadata(path).map_err(cannot)?.len();
    if length > FILE_BYTES_MAX {
        let message = format!("the file has {length} bytes; a policy file has at most {FILE_BYTES_MAX}");
        return Err(Fault::new(&place, message).hint("split it by theme"));
    }
    let bytes = std::fs::read(path).map_err(cannot)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Fault::new(&place, "the file is not UTF-8").hint("save it as UTF-8"))?;
    Ok(Source { name: Arc::from(name), text })
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
        Source::inline("a.yaml", text).documents().unwrap().remove(0)
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
        let faults = Source::inline("a.yaml", "a: 1\na: 2\nb: {c: 1, c: 2}\n").documents().unwrap_err();
        let places: Vec<_> = faults.iter().map(|f| (f.place.line, f.place.column)).collect();
        assert_eq!(places, [(2, 1), (3, 11)]);
    }

    #[test]
    fn broken_yaml_is_a_fault_with_a_place() {
        for text in ["a: [1, 2\n", "a: 'x\n", "a: b: c\n", "a: *x\n"] {
            let faults = Source::inline("a.yaml", text).documents().unwrap_err();
            assert!(faults[0].place.line >= 1, "{faults:?}");
            println!("{text:?} -> {}", faults[0]);
        }
        let deep = "[".repeat(100_000);
        assert!(Source::inline("a.yaml", &deep).documents().is_err());
        assert_eq!(Source::inline("a.yaml", "---\n---\n# nothing\n").documents().unwrap(), []);
    }
}
