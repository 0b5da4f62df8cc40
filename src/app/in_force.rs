//! The one place that says which policy set counts: the one that officers activated, else the folder of the configuration.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use crate::app::core::Policy;
use crate::assess::judge::baseline_id;
use crate::baseline::compile;
use crate::config::settings::Config;
use crate::policy::bundle::{BYTES_MAX, Bundle};
use crate::policy::fault::{Fault, Place};
use crate::policy::folder;
use crate::policy::set::PolicySet;
use crate::policy::signature::{Required, Signature, Verified, verified};
use crate::policy::source::Source;
use crate::release::agreement::Agreements;
use crate::store::port::Store;
use crate::store::record::PolicyChange;

/// Where a set comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "from", rename_all = "lowercase")]
pub enum Origin {
    /// A folder, a file or a bundle.
    Path { path: PathBuf },
    /// The store, where an officer activated it.
    Activated { change: PolicyChange },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Path { path } => write!(f, "{}", path.display()),
            Origin::Activated { change } => {
                write!(f, "the activated policy set {}", change.hash.as_deref().unwrap_or_default())
            }
        }
    }
}

/// A set with everything that it was read from.
#[derive(Debug)]
pub struct Taken {
    pub origin: Origin,
    pub sources: Vec<Source>,
    pub signatures: Vec<Signature>,
    /// Why the signatures that lie there cannot be read; there are none then.
    pub broken: Option<Fault>,
    pub set: PolicySet,
    /// What the signatures come to, whether or not they are asked for.
    pub verified: Verified,
    /// Everything that keeps it from being in force.
    pub faults: Vec<Fault>,
    /// Those of them that lie with the signatures alone.
    pub unsigned: Vec<Fault>,
}

impl Taken {
    /// Why the set would do nothing: as a part of one it has no fault, and in force it would hold nobody against anything.
    pub fn idle(&self) -> Option<Fault> {
        let start = Place::start_of(&self.origin.to_string());
        let fault =
            || Fault::new(&start, "no baseline is past its draft: nobody would be held against anything");
        let hint = "set `stage: audit`, `warn` or `enforce` in the baseline";
        baseline_id(&self.set).is_none().then(|| fault().hint(hint))
    }

    /// The set, ready to be in force.
    ///
    /// # Errors
    /// All its faults; never an empty list.
    pub fn policy(self) -> Result<Policy, Vec<Fault>> {
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        if let Some(idle) = self.idle() {
            return Err(vec![idle]);
        }
        let agreements = Agreements::compile(self.set.releases.values())?;
        Ok(Policy {
            set: Arc::new(self.set),
            agreements: Arc::new(agreements),
            activated: matches!(self.origin, Origin::Activated { .. }),
        })
    }
}

/// The set that counts, with its faults if it has any. Without a store nothing can have been activated.
pub fn take(config: &Config, store: Option<&dyn Store>) -> Taken {
    let required = config.policy_signatures.as_ref();
    let latest = store.map_or(Ok(None), |store| store.latest_policy_change());
    match (latest, store) {
        (Ok(Some(change)), Some(store)) if change.hash.is_some() => activated(change, store, required),
        (Ok(_), _) => at(config.policies.clone(), required),
        (Err(error), _) => {
            let place = Place::start_of("the store");
            let fault =
                Fault::new(&place, format!("it cannot be told whether a policy set is activated: {error}"));
            let path = Origin::Path { path: config.policies.clone() };
            let fault = fault.hint("run `portcullis store check`");
            taken(path, Vec::new(), Ok(Vec::new()), vec![fault], required)
        }
    }
}

/// The set at a path.
pub fn at(path: PathBuf, required: Option<&Required>) -> Taken {
    let found = folder::read(&path);
    taken(Origin::Path { path }, found.sources, found.signatures, found.faults, required)
}

/// A set that is in the store, as a change of what is in force names it.
pub fn activated(change: PolicyChange, store: &dyn Store, required: Option<&Required>) -> Taken {
    let hash = change.hash.clone().unwrap_or_default();
    let origin = Origin::Activated { change };
    match bundle(store, &hash) {
        Ok(bundle) => taken(origin, bundle.files, Ok(bundle.signatures), Vec::new(), required),
        Err(problem) => {
            let fault = Fault::new(&Place::start_of(&origin.to_string()), problem)
                .hint("activate the set again from its bundle, or `portcullis policy rollback`");
            taken(origin, Vec::new(), Ok(Vec::new()), vec![fault], required)
        }
    }
}

/// The bundle that the store keeps under a hash.
pub fn bundle(store: &dyn Store, hash: &str) -> Result<Bundle, String> {
    let what = format!("policy set {hash}");
    let kept = store.policy_set(hash).map_err(|error| error.to_string())?;
    let kept = kept.ok_or_else(|| format!("the store has no {what}"))?;
    let mut bytes = Vec::new();
    // one byte more than any bundle has, and not all that a damaged row could become
    let read = kept.open().take(BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("{what} cannot be read: {error}"))?;
    let bundle = Bundle::decode(&bytes)?;
    match bundle.hash() == hash {
        true => Ok(bundle),
        false => Err(format!("what the store keeps as {what} is another one: {}", bundle.hash())),
    }
}

fn taken(
    origin: Origin,
    sources: Vec<Source>,
    signatures: Result<Vec<Signature>, Fault>,
    faults: Vec<Fault>,
    required: Option<&Required>,
) -> Taken {
    let unread = sources.is_empty() && !faults.is_empty();
    let (set, mut faults) = match unread {
        true => (PolicySet::default(), faults),
        false => PolicySet::of(&sources, faults),
    };
    if !unread {
        faults.extend(compile::check(&set));
        faults.extend(Agreements::compile(set.releases.values()).err().unwrap_or_default());
    }
    let mut faults = set.illustrated(faults);
    let (signatures, broken) = match signatures {
        Ok(signatures) => (signatures, None),
        Err(fault) => (Vec::new(), Some(fault)),
    };
    let verified = verified(set.hash(), &signatures, required);
    let mut unsigned = Vec::new();
    // nobody could have signed what cannot be read: that is told alone
    if !unread && !verified.is_enough() {
        unsigned.extend(broken.clone());
        unsigned.push(too_few(&origin, &verified));
        faults.extend(unsigned.clone());
    }
    Taken { origin, sources, signatures, broken, set, verified, faults, unsigned }
}

fn too_few(origin: &Origin, verified: &Verified) -> Fault {
    let required = verified.required.unwrap_or_default();
    let mut message = format!("{} of {required} required signatures hold", verified.hold);
    for standing in &verified.signatures {
        if let Some(why) = &standing.why {
            message.push_str(&format!("; {} {why}", standing.officer));
        }
    }
    let hint = "have officers sign it: portcullis policy sign PATH --key KEYFILE --officer NAME";
    Fault::new(&Place::start_of(&origin.to_string()), message).hint(hint)
}
