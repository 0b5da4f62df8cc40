//! `attest` in `Facts`: what members state because nobody can read it from afar.

use std::collections::BTreeMap;

use crate::policy::documents::Statement;
use crate::policy::fault::{Fault, Placed};
use crate::policy::fields::{Fields, Reader};
use crate::policy::source::Node;

/// The keys of one statement.
pub const STATEMENT_KEYS: &[&str] = &["statement", "at_most"];
/// The end of the name of the fact that holds when an attestation ends.
pub const UNTIL: &str = "_until";
/// How long an attestation may last: somebody looks again at least once a year.
const AT_MOST: (&str, &str) = ("1d", "366d");
/// The longest statement, in bytes: one that nobody reads to its end states nothing.
const STATEMENT_BYTES_MAX: usize = 1_000;

/// The statements of a declaration, by short name.
pub fn statements(reader: &mut Reader, fields: &Fields<'_>) -> BTreeMap<String, Statement> {
    let mut out: BTreeMap<String, Statement> = BTreeMap::new();
    let Some(node) = fields.get("attest") else { return out };
    let entries = reader.map(node, "`attest`");
    if entries.is_empty() {
        let fault = Fault::new(&node.at, "`attest` names nothing that is stated");
        reader.fault(fault.hint("add a name with `statement:` and `at_most:`"));
    }
    for (key, value) in entries {
        check_name(reader, key);
        if let Some(name) = key.value.strip_suffix(UNTIL) {
            let message = format!("`{}` is the fact of when `{name}` ends", key.value);
            reader.fault(Fault::new(&key.at, message).hint("choose a name without `_until`"));
        }
        let Some(statement) = statement(reader, value) else { continue };
        if let Some((other, _)) = out.iter().find(|(_, known)| known.text == statement.text) {
            let message = format!("`{}` states the same as `{other}`", key.value);
            reader.fault(Fault::new(&value.at, message).hint("keep one of them"));
        }
        out.insert(key.value.clone(), statement);
    }
    out
}

fn statement(reader: &mut Reader, node: &Node) -> Option<Statement> {
    let fields = reader.fields(node, "a statement", STATEMENT_KEYS);
    let text = reader.required_text(&fields, "statement");
    // how a file breaks its lines must not decide whether a signature holds
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(long) = fields.get("statement").filter(|_| text.len() > STATEMENT_BYTES_MAX) {
        let message = format!("a statement has up to {STATEMENT_BYTES_MAX} bytes, this has {}", text.len());
        reader.fault(Fault::new(&long.at, message).hint("make several statements of it"));
    }
    let longest = reader.required(&fields, "at_most")?;
    let at_most = reader.duration_within(longest, "at_most", AT_MOST.0, AT_MOST.1)?;
    (!text.is_empty()).then(|| Statement { at: node.at.clone(), text, at_most })
}

/// Lower-case letters, digits and underscores, beginning with a letter.
pub fn check_name(reader: &mut Reader, name: &Placed<String>) {
    let text = &name.value;
    let good = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !good {
        let fault = Fault::new(&name.at, format!("`{text}` is no name for a fact"));
        reader.fault(fault.hint("use lower-case letters, digits and underscores"));
    }
}
