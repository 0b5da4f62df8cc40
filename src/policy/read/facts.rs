//! `Facts`.

use std::collections::BTreeMap;

use crate::policy::documents::{AttributeFact, Decode, FactsDeclaration, SearchScope, Shape};
use crate::policy::fault::{Fault, Place, Placed};
use crate::policy::fields::{Fields, Reader, integer};
use crate::policy::read::attest::{check_name, statements};
use crate::policy::source::Node;
use crate::secret::attributes::is_secret;

/// The keys of one declaration.
pub const FACTS_KEYS: &[&str] = &["name", "title", "read", "attributes", "attest"];
/// The keys of `read`.
pub const READ_KEYS: &[&str] = &["base", "scope", "filter", "collection", "may_hide"];
/// The keys of one attribute.
pub const ATTRIBUTE_KEYS: &[&str] =
    &["from", "type", "flag", "flags", "values", "position", "attribute", "default", "mandatory", "title"];
/// The words for `type`.
pub const TYPES: &[&str] = &[
    "integer",
    "string",
    "boolean",
    "flag",
    "no_flag",
    "flags",
    "enum",
    "filetime",
    "age",
    "interval",
    "generalized_time",
    "sid",
    "guid",
    "dn",
    "count",
    "present",
    "strings",
    "oids",
    "dns",
    "sids",
    "key_fingerprints",
    "certificate_faults",
    "zone_update",
    "binary_interval",
    "change_age",
    "change_count",
    "character",
    "functional_level",
];
const BASES: &[&str] = &["domain", "domain_sid", "configuration", "schema", "root", "rootdse"];

/// The declarations of a `Facts` document.
pub fn facts(reader: &mut Reader, node: &Node) -> Vec<FactsDeclaration> {
    let fields = reader.fields(node, "a `Facts` document", &["kind", "facts"]);
    let Some(list) = reader.required(&fields, "facts") else { return Vec::new() };
    reader.items(list).into_iter().map(|item| declaration(reader, item)).collect()
}

fn declaration(reader: &mut Reader, node: &Node) -> FactsDeclaration {
    let fields = reader.fields(node, "a declaration of facts", FACTS_KEYS);
    let name = fact_name(reader, reader_name(&fields));
    let at = fields.get("name").map_or_else(|| node.at.clone(), |n| n.at.clone());
    if fields.get("attest").is_some() {
        return attested(reader, &fields, at, name.unwrap_or_default());
    }
    let (mut base, mut scope, mut filter, mut shape, mut may_hide) = (String::new(), None, None, None, None);
    if let Some(read) = reader.required(&fields, "read") {
        let read = reader.fields(read, "`read`", READ_KEYS);
        if let Some(node) = reader.required(&read, "base") {
            base = reader.text(node).unwrap_or_default();
            check_base(reader, node, &base);
        }
        let words =
            [("base", SearchScope::Base), ("one", SearchScope::OneLevel), ("subtree", SearchScope::Subtree)];
        scope = reader.required(&read, "scope").and_then(|n| reader.word(n, &words, "scope"));
        filter = read.get("filter").and_then(|n| reader.placed(n));
        shape = read.get("collection").and_then(|n| reader.boolean(n));
        may_hide = read.get("may_hide").and_then(|n| reader.boolean(n));
    }
    let scope = scope.unwrap_or(SearchScope::Base);
    let many = shape.unwrap_or(scope != SearchScope::Base);
    let mut attributes = BTreeMap::new();
    if let Some(node) = reader.required(&fields, "attributes") {
        for (key, value) in reader.map(node, "`attributes`") {
            let short = fact_name(reader, Some(key)).unwrap_or_else(|| key.value.clone());
            if let Some(attribute) = attribute(reader, key, value) {
                attributes.insert(short, attribute);
            }
        }
    }
    let shape = if many { Shape::Collection } else { Shape::Record };
    let name = name.unwrap_or_default();
    let may_hide = may_hide.unwrap_or(false);
    let statements = BTreeMap::new();
    FactsDeclaration { at, name, shape, base, scope, filter, may_hide, attributes, statements }
}

/// A declaration of what members state: it is never read.
fn attested(reader: &mut Reader, fields: &Fields<'_>, at: Place, name: String) -> FactsDeclaration {
    for key in ["read", "attributes"] {
        if let Some(node) = fields.get(key) {
            let message = format!("what is attested is not read: `{key}` does not go with `attest`");
            let hint = "declare what is read under another name";
            reader.fault(Fault::new(&node.at, message).hint(hint));
        }
    }
    FactsDeclaration {
        at,
        name,
        shape: Shape::Record,
        base: String::new(),
        scope: SearchScope::Base,
        filter: None,
        may_hide: false,
        attributes: BTreeMap::new(),
        statements: statements(reader, fields),
    }
}

fn reader_name<'n>(fields: &Fields<'n>) -> Option<&'n Node> {
    fields.get("name")
}

/// Anything with a text and a place that must be a fact's name.
trait Named {
    fn name(&self) -> Option<Placed<String>>;
}

impl Named for &Node {
    fn name(&self) -> Option<Placed<String>> {
        self.scalar().map(|text| Placed::new(text.to_owned(), self.at.clone()))
    }
}

impl Named for &Placed<String> {
    fn name(&self) -> Option<Placed<String>> {
        Some((*self).clone())
    }
}

fn fact_name(reader: &mut Reader, named: Option<impl Named>) -> Option<String> {
    let name = named.and_then(|n| n.name())?;
    check_name(reader, &name);
    Some(name.value)
}

fn check_base(reader: &mut Reader, node: &Node, base: &str) {
    let mut rest = base;
    while let Some((_, after)) = rest.split_once('{') {
        let Some((name, tail)) = after.split_once('}') else {
            reader.fault(Fault::new(&node.at, "`{` without `}` in the base"));
            return;
        };
        if !BASES.contains(&name) {
            let fault = Fault::new(&node.at, format!("`{{{name}}}` is no place in a directory"));
            reader.fault(fault.nearest(name, BASES.iter().copied()));
        }
        rest = tail;
    }
}

/// Whether it is a name (RFC 4512 section 1.4, descr), in lower case.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

fn attribute(reader: &mut Reader, key: &Placed<String>, node: &Node) -> Option<AttributeFact> {
    let fields = reader.fields(node, "the fact of an attribute", ATTRIBUTE_KEYS);
    let from_node = reader.required(&fields, "from");
    let from = from_node.and_then(|n| reader.text(n)).unwrap_or_default();
    let base_name = from.split(';').next().unwrap_or("").to_ascii_lowercase();
    if let Some(node) = from_node {
        if !is_name(&base_name) {
            let fault = Fault::new(&node.at, format!("`{from}` is not the name of an attribute"));
            reader.fault(
                fault.hint("write its lDAPDisplayName: a number or `*` may stand for one that holds secrets"),
            );
        } else if is_secret(&base_name) {
            let fault = Fault::new(&node.at, format!("`{from}` holds secrets and is never read"));
            reader.fault(fault.hint("judge it without the value, or leave it to an attestation"));
        }
    }
    let decode = decode(reader, &fields)?;
    Some(AttributeFact {
        at: key.at.clone(),
        from,
        decode,
        default: fields.get("default").cloned(),
        mandatory: fields.get("mandatory").and_then(|n| reader.boolean(n)).unwrap_or(false),
        title: reader.optional_text(&fields, "title"),
    })
}

fn decode(reader: &mut Reader, fields: &Fields<'_>) -> Option<Decode> {
    let node = reader.required(fields, "type")?;
    let kinds: Vec<(&str, usize)> = TYPES.iter().enumerate().map(|(i, name)| (*name, i)).collect();
    let kind = reader.word(node, &kinds, "type of an attribute").and_then(|i| TYPES.get(i).copied())?;
    for (key, owner) in [
        ("flag", "flag"),
        ("flags", "flags"),
        ("values", "enum"),
        ("position", "character"),
        ("attribute", "change_age"),
    ] {
        if let Some(extra) = fields.get(key)
            && kind != owner
            && (owner, kind) != ("flag", "no_flag")
            && (owner, kind) != ("change_age", "change_count")
        {
            let message = format!("`{key}` belongs to `type: {owner}`, not to `type: {kind}`");
            reader.fault(Fault::new(&extra.at, message));
        }
    }
    Some(match kind {
        "integer" => Decode::Integer,
        "string" => Decode::String,
        "boolean" => Decode::Boolean,
        "flag" => Decode::Flag(mask(reader, fields)?),
        "no_flag" => Decode::NoFlag(mask(reader, fields)?),
        "flags" => Decode::Flags(named_bits(reader, fields)?),
        "enum" => Decode::Enum(named_values(reader, fields)?),
        "filetime" => Decode::Filetime,
        "age" => Decode::Age,
        "interval" => Decode::Interval,
        "generalized_time" => Decode::GeneralizedTime,
        "sid" => Decode::Sid,
        "guid" => Decode::Guid,
        "dn" => Decode::Dn,
        "count" => Decode::Count,
        "present" => Decode::Present,
        "strings" => Decode::Strings,
        "oids" => Decode::Oids,
        "dns" => Decode::Dns,
        "sids" => Decode::Sids,
        "key_fingerprints" => Decode::KeyFingerprints,
        "certificate_faults" => Decode::CertificateFaults,
        "zone_update" => Decode::ZoneUpdate,
        "binary_interval" => Decode::BinaryInterval,
        "change_age" => Decode::ChangeAge(attribute_id(reader, fields)?),
        "change_count" => Decode::ChangeCount(attribute_id(reader, fields)?),
        "character" => {
            reader.required(fields, "position")?;
            Decode::Character(reader.count(fields, "position", 1, 64, 1))
        }
        _ => Decode::FunctionalLevel,
    })
}

/// The identifier that replication knows an attribute by (ATTRTYP, [MS-DRSR] section 5.14).
fn attribute_id(reader: &mut Reader, fields: &Fields<'_>) -> Option<u32> {
    let node = reader.required(fields, "attribute")?;
    let text = reader.text(node)?;
    reader.keep(
        &node.at,
        integer(&text).and_then(|n| u32::try_from(n).ok()).ok_or(format!("`{text}` identifies no attribute")),
        "write it in hexadecimal, for example 0x9005a for unicodePwd",
    )
}

fn mask(reader: &mut Reader, fields: &Fields<'_>) -> Option<u32> {
    let node = reader.required(fields, "flag")?;
    bits(reader, node)
}

fn bits(reader: &mut Reader, node: &Node) -> Option<u32> {
    let text = reader.text(node)?;
    let found = integer(&text).and_then(|n| u32::try_from(n).ok()).filter(|n| *n != 0);
    reader.keep(
        &node.at,
        found.ok_or(format!("`{text}` is no mask of bits")),
        "write it in hexadecimal, for example 0x40000",
    )
}

fn named_bits(reader: &mut Reader, fields: &Fields<'_>) -> Option<BTreeMap<String, u32>> {
    let node = reader.required(fields, "flags")?;
    let mut out = BTreeMap::new();
    for (key, value) in reader.map(node, "`flags`") {
        if let Some(mask) = bits(reader, value) {
            if let Some((other, _)) = out.iter().find(|(_, known)| **known == mask) {
                let message = format!("`{}` is the same flag as `{other}`", key.value);
                reader.fault(Fault::new(&value.at, message).hint("keep one of them"));
            }
            out.insert(key.value.clone(), mask);
        }
    }
    if out.is_empty() {
        let fault = Fault::new(&node.at, "`flags` names no flag");
        reader.fault(fault.hint("name each bit that counts, for example `{ disabled: 0x2 }`"));
    }
    Some(out)
}

fn named_values(reader: &mut Reader, fields: &Fields<'_>) -> Option<BTreeMap<i64, String>> {
    let node = reader.required(fields, "values")?;
    let mut out = BTreeMap::new();
    for (key, value) in reader.map(node, "`values`") {
        let number =
            reader.keep(&key.at, integer(&key.value).ok_or(format!("`{}` is not an integer", key.value)), "");
        if let (Some(number), Some(name)) = (number, reader.text(value))
            && let Some(other) = out.insert(number, name)
        {
            let message = format!("`{}` is a value that `{other}` has already", key.value);
            reader.fault(Fault::new(&key.at, message).hint("keep one of them"));
        }
    }
    Some(out)
}
