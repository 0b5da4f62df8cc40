//! Evidence as JSON, written and read as a stream: a document of a large domain is a hundred times what is held of it.
//!
//! Schema 2 writes a collection as a table: the names of its facts once, then a row for each record. A fact is `true` or `false`, `null`
//! (absent), `"hidden"`, `{"failed": reason}`, `{"not_collected": reason}`, or its value under the word for its type (`{"duration": 86400}`);
//! `"missing"` stands in a row whose record does not hold the fact. Schema 1 named every fact in every record; its documents are read
//! and written as they were, so that their hashes stay true.

use std::fmt;
use std::io::{BufWriter, Read, Write};

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;

use crate::baseline::digest::{CHUNK, Hashing, Seen};
use crate::baseline::fact::Fact;
use crate::baseline::facts::{Collection, Evidence, EvidenceError, Facts};
use crate::baseline::records::{RecordRef, Records};
use crate::baseline::strict::{Object, Unique};
use crate::baseline::value::Value;

/// The version of the evidence document that this program writes.
pub const SCHEMA: u32 = 2;
/// The version that names every fact in every record.
const NAMING: u32 = 1;
/// A cell of a record that does not hold the fact.
const MISSING: &str = "missing";
/// Facts that the records of one collection may have: each costs room in every block of them.
const NAMES_MAX: usize = 1_000;

impl Evidence {
    /// SHA-256 over the canonical JSON of everything but `hash` and `signature`, lower-case hex.
    pub fn content_hash(&self) -> String {
        let mut out = BufWriter::with_capacity(CHUNK, Hashing::default());
        // nothing that is hashed can fail to be written
        let _ = serde_json::to_writer(&mut out, &Written { evidence: self, bare: true });
        out.into_inner().map(Hashing::end).unwrap_or_default()
    }

    /// Canonical JSON: keys in a fixed order, no white space. The same evidence gives the same bytes.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write(&self, out: impl Write) -> std::io::Result<()> {
        let mut out = BufWriter::with_capacity(CHUNK, out);
        serde_json::to_writer(&mut out, self)?;
        out.flush()
    }

    /// [`Evidence::write`] into memory; for small documents.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a document and checks its schema and its hash (not its signature).
    ///
    /// # Errors
    /// Not JSON of this shape; another schema; a hash that does not fit.
    pub fn read(from: impl Read) -> Result<Evidence, EvidenceError> {
        let mut from = Seen::new(from);
        let read = serde_json::from_reader(std::io::BufReader::with_capacity(CHUNK, &mut from));
        checked(read, |evidence| from.is_over(evidence))
    }

    /// As [`Evidence::read`], from memory.
    ///
    /// # Errors
    /// As there.
    pub fn from_json(bytes: &[u8]) -> Result<Evidence, EvidenceError> {
        checked(serde_json::from_slice(bytes), |evidence| {
            let mut seen = Seen::new(bytes);
            std::io::copy(&mut seen, &mut std::io::sink()).is_ok() && seen.is_over(evidence)
        })
    }
}

/// A document whose bytes are those that its hash is over need not be written again to find that out.
fn checked(
    read: serde_json::Result<Object<Evidence>>,
    is_over: impl FnOnce(&Evidence) -> bool,
) -> Result<Evidence, EvidenceError> {
    let Object(evidence) = read.map_err(|error| EvidenceError::Unreadable(error.to_string()))?;
    if !(NAMING..=SCHEMA).contains(&evidence.schema) {
        return Err(EvidenceError::Schema(evidence.schema));
    }
    if !is_over(&evidence) && evidence.hash != evidence.content_hash() {
        return Err(EvidenceError::Hash);
    }
    Ok(evidence)
}

/// A document, or what its hash is over.
struct Written<'a> {
    evidence: &'a Evidence,
    bare: bool,
}

/// A moment as documents write it.
#[derive(Serialize)]
struct Moment(#[serde(with = "time::serde::rfc3339")] OffsetDateTime);

impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written { evidence: self, bare: false }.serialize(serializer)
    }
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let it = self.evidence;
        let unless_bare = |text| if self.bare { "" } else { text };
        let mut out = serializer.serialize_struct("Evidence", 11)?;
        out.serialize_field("schema", &it.schema)?;
        out.serialize_field("member", &it.member)?;
        out.serialize_field("collected_at", &Moment(it.collected_at))?;
        out.serialize_field("collector", &it.collector)?;
        out.serialize_field("controllers", &it.controllers)?;
        match it.schema {
            NAMING => out.serialize_field("facts", &it.facts)?,
            _ => out.serialize_field("facts", &Table(&it.facts))?,
        }
        out.serialize_field("provenance", &it.provenance)?;
        out.serialize_field("attestations", &it.attestations)?;
        out.serialize_field("previous", &it.previous)?;
        out.serialize_field("hash", unless_bare(&it.hash))?;
        out.serialize_field("signature", unless_bare(&it.signature))?;
        out.end()
    }
}

/// Something as schema 2 writes it.
struct Table<T>(T);

impl Serialize for Table<&Facts> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Facts", 2)?;
        out.serialize_field("records", &Table(&self.0.records))?;
        out.serialize_field("collections", &Table(&self.0.collections))?;
        out.end()
    }
}

impl<T> Serialize for Table<&std::collections::BTreeMap<String, T>>
where
    for<'a> Table<&'a T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, Table(value))))
    }
}

impl Serialize for Table<&Collection> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names: Vec<&str> = self.0.records.names().collect();
        let mut out = serializer.serialize_struct("Collection", 3)?;
        out.serialize_field("complete", &Table(&self.0.complete))?;
        out.serialize_field("facts", &names)?;
        out.serialize_field("rows", &Rows { records: &self.0.records, names: &names })?;
        out.end()
    }
}

impl Serialize for Table<&Fact> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Fact::Known(Value::Boolean(value)) => serializer.serialize_bool(*value),
            Fact::Known(value) => value.serialize(serializer),
            Fact::Absent => serializer.serialize_unit(),
            // as schema 1 has them
            fact => fact.serialize(serializer),
        }
    }
}

struct Rows<'a> {
    records: &'a Records,
    names: &'a [&'a str],
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_seq(Some(self.records.len()))?;
        for record in self.records.iter() {
            out.serialize_element(&Row { record, names: self.names })?;
        }
        out.end()
    }
}

struct Row<'a> {
    record: RecordRef<'a>,
    names: &'a [&'a str],
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_seq(Some(self.names.len()))?;
        for name in self.names {
            match self.record.get(name) {
                Some(fact) => out.serialize_element(&Table(&*fact))?,
                None => out.serialize_element(MISSING)?,
            }
        }
        out.end()
    }
}

/// As schema 1 writes them: every record with the names of its facts.
impl Serialize for Records {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl Serialize for RecordRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        for (name, fact) in self.facts() {
            out.serialize_entry(name, &*fact)?;
        }
        out.end()
    }
}

impl<'de> Deserialize<'de> for Records {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Records;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of records")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Records, A::Error> {
                let mut records = Records::default();
                while let Some(Unique(record)) = list.next_element::<Unique<Fact>>()? {
                    records.push(record);
                    if records.names().len() > NAMES_MAX {
                        return Err(A::Error::custom(format!("records with more than {NAMES_MAX} facts")));
                    }
                }
                records.shrink();
                Ok(records)
            }
        }
        deserializer.deserialize_seq(Each)
    }
}

impl<'de> Deserialize<'de> for Collection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(CollectionVisitor)
    }
}

struct CollectionVisitor;

impl<'de> Visitor<'de> for CollectionVisitor {
    type Value = Collection;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a collection: `complete`, `facts` and `rows`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Collection, A::Error> {
        let (mut complete, mut names, mut records) = (None, None::<Vec<String>>, None);
        while let Some(key) = map.next_key::<String>()? {
            match (key.as_str(), &names) {
                ("complete", _) if complete.is_none() => complete = Some(map.next_value()?),
                ("facts", None) if records.is_none() => names = Some(different(map.next_value()?)?),
                ("rows", Some(names)) if records.is_none() => {
                    records = Some(map.next_value_seed(RowsSeed(names))?);
                }
                ("records", None) if records.is_none() => records = Some(map.next_value()?),
                _ => return Err(A::Error::custom(format!("`{key}` does not belong here"))),
            }
        }
        match (complete, records) {
            (Some(complete), Some(records)) => Ok(Collection { records, complete }),
            (None, _) => Err(A::Error::missing_field("complete")),
            (_, None) => Err(A::Error::missing_field("rows")),
        }
    }
}

/// The names of a table's facts: each once, and not more than a table may have.
fn different<E: serde::de::Error>(names: Vec<String>) -> Result<Vec<String>, E> {
    if names.len() > NAMES_MAX {
        return Err(E::custom(format!("records with more than {NAMES_MAX} facts")));
    }
    let mut seen = std::collections::BTreeSet::new();
    match names.iter().find(|name| !seen.insert(*name)) {
        Some(name) => Err(E::custom(format!("the fact `{name}` stands twice"))),
        None => Ok(names),
    }
}

struct RowsSeed<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for RowsSeed<'_> {
    type Value = Records;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Records, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for RowsSeed<'_> {
    type Value = Records;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rows of {} facts", self.0.len())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Records, A::Error> {
        let mut records = Records::default();
        while let Some(cells) = rows.next_element::<Vec<Cell>>()? {
            if cells.len() != self.0.len() {
                return Err(A::Error::invalid_length(cells.len(), &self));
            }
            let named = self.0.iter().zip(cells);
            records.push(named.filter_map(|(name, cell)| Some((name.clone(), cell.0?))).collect());
        }
        records.shrink();
        Ok(records)
    }
}

/// A fact, or none where a record does not hold it.
struct Cell(Option<Fact>);

impl<'de> Deserialize<'de> for Fact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cell::deserialize(deserializer)?.0.ok_or_else(|| D::Error::custom("a fact cannot be missing here"))
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fact")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Cell, E> {
        Ok(Cell(Some(Fact::boolean(value))))
    }

    fn visit_unit<E>(self) -> Result<Cell, E> {
        Ok(Cell(Some(Fact::Absent)))
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Cell, E> {
        match word {
            "absent" => Ok(Cell(Some(Fact::Absent))),
            "hidden" => Ok(Cell(Some(Fact::Hidden))),
            MISSING => Ok(Cell(None)),
            _ => Err(E::unknown_variant(word, &["absent", "hidden", MISSING])),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Cell, A::Error> {
        Form::deserialize(MapAccessDeserializer::new(map)).map(|form| Cell(Some(form.into())))
    }
}

/// A fact under a word: of schema 2, or `known` of schema 1.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    Known(Value),
    Failed(String),
    NotCollected(String),
    Integer(i64),
    Duration(i64),
    Percent(i64),
    Instant(#[serde(with = "time::serde::rfc3339")] OffsetDateTime),
    Version(String),
    Word(String),
    Text(String),
    Sid(String),
    Guid(String),
    Dn(String),
    Flags(std::collections::BTreeSet<String>),
    Set(std::collections::BTreeSet<String>),
}

impl From<Form> for Fact {
    fn from(form: Form) -> Fact {
        Fact::Known(match form {
            Form::Known(value) => value,
            Form::Failed(reason) => return Fact::Failed(reason),
            Form::NotCollected(reason) => return Fact::NotCollected(reason),
            Form::Integer(value) => Value::Integer(value),
            Form::Duration(value) => Value::Duration(value),
            Form::Percent(value) => Value::Percent(value),
            Form::Instant(value) => Value::Instant(value),
            Form::Version(value) => Value::Version(value),
            Form::Word(value) => Value::Word(value),
            Form::Text(value) => Value::Text(value),
            Form::Sid(value) => Value::Sid(value),
            Form::Guid(value) => Value::Guid(value),
            Form::Dn(value) => Value::Dn(value),
            Form::Flags(value) => Value::Flags(value),
            Form::Set(value) => Value::Set(value),
        })
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::baseline::facts::hex;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-11-24 12:00 UTC);

    /// Schema 1, as it was written: `{hash}` stands for its own hash.
    const OLD: &str = r#"{"schema":1,"member":"RXA","collected_at":"2026-11-24T12:00:00Z","collector":"portcullis 0.1.0","controllers":["dc1:636"],"facts":{"records":{"domain":{"machine_account_quota":{"known":{"integer":10}},"name":"hidden"}},"collections":{"users":{"records":[{"dn":{"known":{"dn":"CN=a,DC=x"}},"enabled":{"known":{"boolean":true}}},{"dn":{"known":{"dn":"CN=b,DC=x"}},"mail":"absent","since":{"known":{"instant":"2026-01-02T03:04:05.0000007Z"}},"why":{"failed":"x"}}],"complete":{"known":{"boolean":true}}}}},"provenance":[],"attestations":[],"previous":null,"hash":"{hash}","signature":""}"#;

    fn old() -> String {
        let bare = OLD.replace("{hash}", "");
        OLD.replace("{hash}", &hex(&Sha256::digest(bare)))
    }

    #[test]
    fn a_document_of_schema_1_stays_what_it_was() {
        let text = old();
        let evidence = Evidence::from_json(text.as_bytes()).unwrap();
        assert_eq!(evidence.facts.get("domain.machine_account_quota"), Fact::integer(10));
        let users = &evidence.facts.collections["users"];
        assert_eq!(users.records.len(), 2);
        assert_eq!(*users.records.get(1).unwrap().fact("why"), Fact::Failed("x".into()));
        assert_eq!(String::from_utf8(evidence.to_json()).unwrap(), text);
        let mut now = Vec::new();
        evidence.write(&mut now).unwrap();
        assert_eq!(now, text.as_bytes());
        let touched = text.replace("\"integer\":10", "\"integer\":0");
        assert_eq!(Evidence::from_json(touched.as_bytes()), Err(EvidenceError::Hash));
    }

    #[test]
    fn schema_2_says_the_same_in_a_table() {
        let mut evidence = Evidence::from_json(old().as_bytes()).unwrap();
        evidence.schema = SCHEMA;
        let evidence = evidence.sealed();
        let text = String::from_utf8(evidence.to_json()).unwrap();
        let table = r#""users":{"complete":true,"facts":["dn","enabled","mail","since","why"],"rows":[[{"dn":"CN=a,DC=x"},true,"missing","missing","missing"],[{"dn":"CN=b,DC=x"},"missing",null,{"instant":"2026-01-02T03:04:05.0000007Z"},{"failed":"x"}]]}"#;
        assert!(text.contains(table), "{text}");
        assert!(
            text.contains(r#""domain":{"machine_account_quota":{"integer":10},"name":"hidden"}"#),
            "{text}"
        );
        assert_eq!(Evidence::read(text.as_bytes()).unwrap(), evidence);
        assert_eq!(evidence.collected_at, NOW);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let refused = |collection: &str| {
            let read = serde_json::from_str::<Collection>(collection);
            read.map(|_| ()).unwrap_err().to_string()
        };
        for (collection, said) in [
            (r#"{"complete":true,"facts":["a"],"rows":[[true,true]]}"#, "rows of 1 facts"),
            (r#"{"complete":true,"facts":["a","b"],"rows":[[true]]}"#, "rows of 2 facts"),
            (r#"{"complete":true,"rows":[],"facts":[]}"#, "`rows` does not belong here"),
            (r#"{"complete":true,"facts":[],"rows":[],"records":[]}"#, "`records` does not belong here"),
            (r#"{"facts":[],"rows":[]}"#, "missing field `complete`"),
            (r#"{"complete":true}"#, "missing field `rows`"),
            (r#"{"complete":"missing","facts":[],"rows":[]}"#, "cannot be missing"),
            (r#"{"complete":true,"facts":["a"],"rows":[["yes"]]}"#, "unknown variant `yes`"),
            (r#"{"complete":true,"facts":["a"],"rows":[[{"integer":1,"text":"x"}]]}"#, "trailing comma"),
            (r#"{"complete":true,"facts":["a"],"rows":[[{"colour":1}]]}"#, "unknown variant `colour`"),
            (r#"{"complete":true,"facts":["a"],"rows":[[7]]}"#, "expected a fact"),
        ] {
            let error = refused(collection);
            assert!(error.contains(said), "{collection}: {error}");
        }
    }

    #[test]
    fn a_name_that_stands_twice_and_a_list_for_an_object_are_refused_with_their_place() {
        let mut evidence = Evidence::from_json(old().as_bytes()).unwrap();
        evidence.schema = SCHEMA;
        let now = String::from_utf8(evidence.sealed().to_json()).unwrap();
        for (from, to, said) in [
            (r#""name":"hidden""#, r#""name":"hidden","name":"hidden""#, "`name` stands twice"),
            (r#""domain":{"#, r#""domain":{},"domain":{"#, "`domain` stands twice"),
            (
                r#""users":{"#,
                r#""users":{"complete":true,"facts":[],"rows":[]},"users":{"#,
                "`users` stands twice",
            ),
            (r#""schema":2"#, r#""schema":2,"schema":2"#, "duplicate field `schema`"),
            (r#""facts":["dn","enabled""#, r#""facts":["dn","dn""#, "`dn` stands twice"),
            (
                r#""provenance":[]"#,
                r#""provenance":[["f","b","c","2026-11-24T12:00:00Z",1,1,1,1,false]]"#,
                "expected an object",
            ),
            (r#""attestations":[]"#, r#""attestations":[["RXA"]]"#, "expected an object"),
            (r#""domain":{"#, r#""domain":[],"d":{"#, "expected an object"),
        ] {
            let text = now.replacen(from, to, 1);
            assert_ne!(text, now, "{from}");
            let refused = Evidence::from_json(text.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains(said) && refused.contains("at line 1 column "), "{refused}");
        }
        let twice = old().replace(r#""mail":"absent""#, r#""mail":"absent","mail":"hidden""#);
        let refused = Evidence::from_json(twice.as_bytes()).unwrap_err().to_string();
        assert!(refused.contains("`mail` stands twice at line 1 column "), "{refused}");
        let list = Evidence::from_json(br#"[2,"RXA","2026-11-24T12:00:00Z"]"#).unwrap_err().to_string();
        assert!(list.contains("expected an object at line 1 column "), "{list}");
        let facts = now.replace(r#""facts":{"records":{"#, r#""facts":[{"records":{"#);
        let refused = Evidence::from_json(facts.as_bytes()).unwrap_err().to_string();
        assert!(refused.contains("expected an object at line 1 column "), "{refused}");
    }

    #[test]
    fn records_have_so_many_facts_and_no_more() {
        let names: Vec<String> = (0..=NAMES_MAX).map(|n| format!("\"f{n}\"")).collect();
        let table = format!(r#"{{"complete":true,"facts":[{}],"rows":[]}}"#, names.join(","));
        let named: Vec<String> = names.iter().map(|name| format!("{{{name}:\"absent\"}}")).collect();
        let records = format!(r#"{{"records":[{}],"complete":true}}"#, named.join(","));
        for text in [table, records] {
            let refused = serde_json::from_str::<Collection>(&text).unwrap_err().to_string();
            assert!(refused.contains("more than 1000 facts"), "{refused}");
        }
    }

    #[test]
    fn another_schema_is_named() {
        let text = old().replace("\"schema\":1", "\"schema\":3");
        assert_eq!(Evidence::from_json(text.as_bytes()), Err(EvidenceError::Schema(3)));
    }
}
