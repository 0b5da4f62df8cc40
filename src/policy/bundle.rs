//! A whole policy set in one file, with the signatures of officers: what is given from hand to hand, and what the store keeps.
//!
//! Reading is bounded and strict: a bundle that another program made, or that was changed on its way, is refused or says the same.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ambient::text::harmless_json;
use crate::policy::signature::{Signature, unhex};
use crate::policy::source::{FILE_BYTES_MAX, Source, content_hash, is_policy};

/// The version of the format.
const SCHEMA: u32 = 1;
/// Bytes of a bundle; the national baseline has a third of a megabyte.
pub const BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Files of a set.
const FILES_MAX: usize = 2_000;
/// Bytes of a file's name with its folders.
const NAME_BYTES_MAX: usize = 512;
/// Signatures of a set.
const SIGNATURES_MAX: usize = 64;
/// Bytes of a file of signatures.
pub const SIGNATURES_BYTES_MAX: u64 = 256 * 1024;
/// Characters of an officer's name.
const OFFICER_CHARS_MAX: usize = 100;

/// A policy set in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Sorted by name, each name once.
    pub files: Vec<Source>,
    /// One for each officer at most. Whether they hold is for [`verified`] to say.
    ///
    /// [`verified`]: crate::policy::signature::verified
    pub signatures: Vec<Signature>,
    hash: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    schema: u32,
    hash: String,
    files: Vec<WireFile>,
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFile {
    name: String,
    text: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignatures {
    schema: u32,
    signatures: Vec<Signature>,
}

impl Bundle {
    /// The set with these files, sorted by name.
    ///
    /// # Errors
    /// Files that no bundle may have; one sentence.
    pub fn of(files: Vec<Source>, signatures: Vec<Signature>) -> Result<Bundle, String> {
        if files.is_empty() {
            return Err("there is no policy file in it".to_owned());
        }
        if files.len() > FILES_MAX {
            return Err(format!("it has {} files; a set has at most {FILES_MAX}", files.len()));
        }
        for file in &files {
            check_name(&file.name)?;
            if u64::try_from(file.text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
                return Err(format!("`{}` is larger than {FILE_BYTES_MAX} bytes", file.name));
            }
        }
        let pairs = files.iter().zip(files.iter().skip(1));
        if let Some((_, second)) = pairs.clone().find(|(first, second)| first.name >= second.name) {
            return Err(format!("`{}` is there twice, or not in its place by name", second.name));
        }
        check_signatures(&signatures)?;
        let hash = content_hash(&files);
        Ok(Bundle { files, signatures, hash })
    }

    /// Reads a bundle.
    ///
    /// # Errors
    /// Why it is none; one sentence.
    pub fn decode(bytes: &[u8]) -> Result<Bundle, String> {
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > BYTES_MAX {
            return Err(format!("it has more than {BYTES_MAX} bytes: that is no bundle"));
        }
        let wire: Wire =
            serde_json::from_slice(bytes).map_err(|error| format!("this is no bundle: {error}"))?;
        check_schema(wire.schema)?;
        let file = |file: WireFile| Source { name: Arc::from(file.name), text: file.text };
        let bundle = Bundle::of(wire.files.into_iter().map(file).collect(), wire.signatures)?;
        if bundle.hash != wire.hash {
            return Err(format!(
                "its files have the hash {}, not {} as it says: something of it was changed",
                bundle.hash,
                if is_hex(&wire.hash, 32) { &wire.hash } else { "any" }
            ));
        }
        Ok(bundle)
    }

    /// The bundle as a file.
    ///
    /// # Errors
    /// More than a bundle may have; one sentence.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        let file = |file: &Source| WireFile { name: file.name.to_string(), text: file.text.clone() };
        let wire = Wire {
            schema: SCHEMA,
            hash: self.hash.clone(),
            files: self.files.iter().map(file).collect(),
            signatures: self.signatures.clone(),
        };
        let bytes = pretty(&wire)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > BYTES_MAX {
            return Err(format!("the set has more than {BYTES_MAX} bytes as a bundle: make it smaller"));
        }
        Ok(bytes)
    }

    /// The hash of the set, as [`PolicySet::hash`] has it.
    ///
    /// [`PolicySet::hash`]: crate::policy::set::PolicySet::hash
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

/// Reads the signatures that lie beside the files of a folder.
///
/// # Errors
/// Why they are none; one sentence.
pub fn decode_signatures(bytes: &[u8]) -> Result<Vec<Signature>, String> {
    let wire: WireSignatures =
        serde_json::from_slice(bytes).map_err(|error| format!("these are no signatures: {error}"))?;
    check_schema(wire.schema)?;
    check_signatures(&wire.signatures)?;
    Ok(wire.signatures)
}

/// Signatures as the file that lies in a folder.
///
/// # Errors
/// More than a set may have; one sentence.
pub fn encode_signatures(signatures: &[Signature]) -> Result<Vec<u8>, String> {
    check_signatures(signatures)?;
    pretty(&WireSignatures { schema: SCHEMA, signatures: signatures.to_vec() })
}

/// Adds a signature, in place of the officer's that was there.
pub fn add(signatures: &mut Vec<Signature>, signature: Signature) {
    signatures.retain(|other| other.officer != signature.officer);
    signatures.push(signature);
    signatures.sort_by(|a, b| a.officer.cmp(&b.officer));
}

/// Whether an officer can have this name: one short line.
pub fn check_officer(name: &str) -> Result<(), String> {
    let is_short = (1..=OFFICER_CHARS_MAX).contains(&name.chars().count());
    if is_short && name.trim() == name && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!(
        "an officer's name has 1 to {OFFICER_CHARS_MAX} characters in one line, without blanks around it"
    ))
}

fn pretty(value: &impl Serialize) -> Result<Vec<u8>, String> {
    let json = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
    Ok(format!("{}\n", harmless_json(&json)).into_bytes())
}

fn check_schema(schema: u32) -> Result<(), String> {
    if schema == SCHEMA {
        return Ok(());
    }
    Err(format!("it has schema {schema}, this program knows {SCHEMA}: use the program that wrote it"))
}

/// A name that leads nowhere but below the folder, and that [`folder`] could have read.
///
/// [`folder`]: crate::policy::folder
fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.');
    let is_good = name.len() <= NAME_BYTES_MAX
        && name.split('/').all(is_plain)
        && !name.chars().any(|c| c.is_control() || c == '\\')
        && is_policy(name);
    if is_good {
        return Ok(());
    }
    Err(format!(
        "a set has no file `{}`: names are of YAML files below one folder, with `/`, at most {NAME_BYTES_MAX} bytes, and no part \
         begins with a dot",
        name.chars().take(80).collect::<String>()
    ))
}

fn check_signatures(signatures: &[Signature]) -> Result<(), String> {
    if signatures.len() > SIGNATURES_MAX {
        return Err(format!("it has {} signatures; a set has at most {SIGNATURES_MAX}", signatures.len()));
    }
    for (n, signature) in signatures.iter().enumerate() {
        check_officer(&signature.officer)?;
        if signatures.iter().take(n).any(|other| other.officer == signature.officer) {
            return Err(format!("it has two signatures of {}", signature.officer));
        }
        if !is_hex(&signature.hash, 32) || !is_hex(&signature.signature, 64) {
            return Err(format!("what {} signed is no signature over a hash", signature.officer));
        }
    }
    Ok(())
}

/// So many bytes in lower-case hex.
fn is_hex(text: &str, bytes: usize) -> bool {
    unhex(text).is_some_and(|found| found.len() == bytes) && !text.bytes().any(|b| b.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::signature::hex;

    fn signature(officer: &str) -> Signature {
        Signature { officer: officer.to_owned(), hash: hex(&[1; 32]), signature: hex(&[2; 64]) }
    }

    fn bundle() -> Bundle {
        let files =
            vec![Source::inline("a/one.yaml", "kind: X\n# ü\u{202e}\n"), Source::inline("b.yml", "y: 1\n")];
        Bundle::of(files, vec![signature("ada"), signature("ben")]).unwrap()
    }

    #[test]
    fn what_leads_elsewhere_or_is_there_twice_is_refused() {
        let text = String::from_utf8(bundle().encode().unwrap()).unwrap();
        assert!(!text.contains('\u{202e}'), "nothing of it steers a terminal");
        let with = |from: &str, to: &str| Bundle::decode(text.replace(from, to).as_bytes()).unwrap_err();
        for name in [
            "../a.yaml",
            "/etc/a.yaml",
            "a//b.yaml",
            "./a.yaml",
            "a/.b.yaml",
            "a\\\\b.yaml",
            "a.json",
            ".yaml",
            "",
        ] {
            assert!(with("a/one.yaml", name).contains("a set has no file"), "{name}");
        }
        assert!(with("a/one.yaml", "b.yml").contains("twice"));
        assert!(with("a/one.yaml", "c.yaml").contains("in its place"));
        assert!(with("y: 1", "y: 2").contains("was changed"));
        assert!(with("\"schema\": 1", "\"schema\": 2").contains("schema 2"));
        assert!(with("\"schema\": 1", "\"schema\": 1, \"schema\": 1").contains("duplicate field"));
        assert!(with("\"schema\": 1", "\"schema\": 1, \"more\": 1").contains("unknown field"));
        assert!(with("\"ben\"", "\"ada\"").contains("two signatures of ada"));
        assert!(with("\"ben\"", "\"\"").contains("an officer's name"));
        assert!(with("0101", "01").contains("no signature"));
        assert!(Bundle::decode(format!("{text}{{}}").as_bytes()).is_err());
        assert!(Bundle::of(Vec::new(), Vec::new()).is_err());
        let large = Source::inline("a.yaml", &"x".repeat(usize::try_from(FILE_BYTES_MAX).unwrap() + 1));
        assert!(Bundle::of(vec![large], Vec::new()).unwrap_err().contains("larger"));
        let many: Vec<Source> =
            (0..=FILES_MAX).map(|n| Source::inline(&format!("{n:05}.yaml"), "x")).collect();
        assert!(Bundle::of(many, Vec::new()).unwrap_err().contains("files"));
        let most = usize::try_from(BYTES_MAX).unwrap();
        assert!(Bundle::decode(&vec![b' '; most + 1]).unwrap_err().contains("more than"));
        let much = |n| Source::inline(&format!("{n:05}.yaml"), &"x".repeat(4_000_000));
        let much = Bundle::of((0..9).map(much).collect(), Vec::new()).unwrap();
        assert!(much.encode().unwrap_err().contains("make it smaller"), "what is written is read back");
    }

    #[test]
    fn an_officer_signs_once() {
        let mut all = vec![signature("ben")];
        add(&mut all, signature("ada"));
        add(&mut all, Signature { hash: hex(&[3; 32]), ..signature("ben") });
        let names: Vec<(&str, bool)> =
            all.iter().map(|s| (s.officer.as_str(), s.hash.starts_with("03"))).collect();
        assert_eq!(names, [("ada", false), ("ben", true)]);
        let written = encode_signatures(&all).unwrap();
        assert_eq!(decode_signatures(&written).unwrap(), all);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            texts in proptest::collection::btree_map("[a-z]{1,8}(/[a-z ü]{1,8}){0,2}", any::<String>(), 1..6),
            officers in proptest::collection::btree_set("[a-zA-Z]{1,20}", 0..5),
        ) {
            let mut files: Vec<Source> =
                texts.iter().map(|(name, text)| Source::inline(&format!("{name}.yaml"), text)).collect();
            files.sort_by(|a, b| a.name.cmp(&b.name));
            let made = Bundle::of(files, officers.iter().map(|o| signature(o)).collect()).unwrap();
            prop_assert_eq!(&Bundle::decode(&made.encode().unwrap()).unwrap(), &made);
        }

        #[test]
        fn nothing_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (Bundle::decode(&bytes), decode_signatures(&bytes));
        }

        #[test]
        fn a_cut_or_changed_bundle_is_refused_or_the_same_set(
            at in any::<proptest::sample::Index>(),
            flip in 1..=255u8,
        ) {
            let made = bundle();
            let bytes = made.encode().unwrap();
            let at = at.index(bytes.len());
            // only the line end may go
            prop_assert!(at + 1 == bytes.len() || Bundle::decode(&bytes[..at]).is_err(), "cut at {at}");
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            if let Ok(read) = Bundle::decode(&changed) {
                prop_assert_eq!(read.hash(), made.hash());
                prop_assert_eq!(read.files, made.files);
            }
        }
    }
}
