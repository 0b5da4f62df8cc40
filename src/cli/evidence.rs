//! Evidence documents that are given as files: how much of one is read, and who is believed to have made it.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::assess::report::page::Source;
use crate::baseline::attestation::public_key;
use crate::baseline::facts::Evidence;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::input::{self, Bounded};
use crate::cli::table::moment;
use crate::gate::decide::AHEAD_MAX;
use crate::policy::signature::hex;
use crate::secret::signing::Signer;

const MIB: u64 = 1 << 20;
/// Of a domain with 175,000 objects a document has about 100 MiB. What a hostile one makes of the memory is some ten times what is read.
const EVIDENCE_MIB: u64 = 512;
/// A key is 32 bytes, in hexadecimal or PKCS#8.
const KEY_BYTES_MAX: u64 = 4 * 1024;

/// How evidence is read.
#[derive(Debug, Args)]
pub struct Reading {
    /// The public key that the evidence must be signed with, as 64 hex digits or a file: one that holds them, or the gateway's own
    /// signing key. A gateway's is printed by its `portcullis audit verify`. What another key signed is refused, exit code 2.
    #[arg(long, value_name = "KEY|FILE", requires = "evidence")]
    verify: Option<String>,
    /// The most MiB of an evidence document that are read.
    #[arg(long, value_name = "MIB", requires = "evidence", default_value_t = EVIDENCE_MIB,
        value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    evidence_mib_max: u64,
}

impl Default for Reading {
    fn default() -> Self {
        Reading { verify: None, evidence_mib_max: EVIDENCE_MIB }
    }
}

impl Reading {
    /// The document in a file, and what is known of who made it. One whose signature does not fit is refused, and so is one from a time
    /// that lies ahead, as by the gates.
    pub fn document(&self, path: &Path, context: &Context) -> Result<(Evidence, Source), Failure> {
        let key = self.verify.as_deref().map(key).transpose()?;
        let evidence = self.read(path)?;
        let (path, now) = (path.display(), context.clock.now());
        if evidence.collected_at > now.checked_add(AHEAD_MAX).unwrap_or(now) {
            return Err(Failure::could_not(format!(
                "{path} says that it was collected at {}, and it is {} here: evidence from a time that lies ahead is not relied on; set \
                 the clock of the machine that is wrong",
                moment(evidence.collected_at),
                moment(now)
            )));
        }
        let source = match key {
            None => Source::Unchecked,
            Some(key) if evidence.is_signed_by(&key) => Source::Verified { key: hex(&key) },
            Some(key) => {
                return Err(Failure::could_not(format!(
                    "{path} was not signed with the key {}: do not rely on it; ask whoever gave it for the gateway's own document, or \
                     for the key that signed this one",
                    hex(&key)
                )));
            }
        };
        Ok((evidence, source))
    }

    fn read(&self, path: &Path) -> Result<Evidence, Failure> {
        let most = self.evidence_mib_max.saturating_mul(MIB);
        let mut bounded = Bounded::new(input::open(path)?, most);
        let read = Evidence::read(&mut bounded);
        let path = path.display();
        if bounded.over {
            let mib = self.evidence_mib_max;
            return Err(Failure::could_not(format!(
                "{path} has more than {mib} MiB: if it is evidence all the same, read more with --evidence-mib-max"
            )));
        }
        read.map_err(|error| Failure::could_not(format!("{path}: {error}")))
    }
}

/// The public key that is meant.
fn key(text: &str) -> Result<Vec<u8>, Failure> {
    if let Some(key) = public_key(text) {
        return Ok(key);
    }
    let path = PathBuf::from(text);
    let wrong = || {
        let what = "give 64 hex digits in lower case, or a file that holds them or the gateway's signing key";
        Failure::could_not(format!("--verify {text} is no public key that can be relied on: {what}"))
    };
    if text.len() == 64 && !path.exists() {
        return Err(wrong());
    }
    let bytes = input::read(&path, KEY_BYTES_MAX)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => public_key(text.trim()).ok_or_else(wrong),
        Err(_) => Ok(Signer::load(&path).map_err(Failure::could_not)?.public_key().to_vec()),
    }
}
