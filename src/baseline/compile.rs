//! From documents to a baseline that can be evaluated: facts looked up, operands typed, parameters filled in.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::documents::{AttributeFact, SearchScope, Shape};
use crate::policy::fault::Fault;
use crate::policy::set::PolicySet;

/// A checked baseline for one kind of member, ready to evaluate and immutable.
#[derive(Debug, Clone)]
pub struct Compiled {
    requirements: Requirements,
}

/// What must be collected so that every control can be judged.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Requirements {
    /// Declared directory reads that some control uses, by name.
    pub reads: Vec<Read>,
    /// Full names of the probe facts that some control uses (`tls.versions`, `smartcard.card_logon_works`).
    pub probes: BTreeSet<String>,
}

/// One declared read and what is needed of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// `domain`, `users`.
    pub name: String,
    pub shape: Shape,
    /// May use `{domain}`, `{configuration}`, `{schema}`, `{root}`, or be `{rootdse}`.
    pub base: String,
    pub scope: SearchScope,
    /// RFC 4515 text.
    pub filter: Option<String>,
    /// Short fact name to attribute: only those that some control uses (decode them with `baseline::decode`).
    pub attributes: BTreeMap<String, AttributeFact>,
    /// Short names of facts that the collector works out itself (`users.privileged`).
    pub computed: BTreeSet<String>,
}

impl Compiled {
    /// Checks and compiles a baseline of a set, with a profile's tailoring.
    ///
    /// # Errors
    /// All faults: unknown facts, operands of the wrong type, missing units, parameters that do not exist.
    pub fn compile(set: &PolicySet, baseline: &str, profile: Option<&str>) -> Result<Compiled, Vec<Fault>> {
        let _ = (set, baseline, profile);
        Err(Vec::new())
    }

    /// What must be collected.
    pub fn requirements(&self) -> &Requirements {
        &self.requirements
    }
}
