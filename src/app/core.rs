//! What everything that runs shares.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use arc_swap::ArcSwapOption;
use prometheus::Registry;
use time::OffsetDateTime;

use crate::ambient::clock::Clock;
use crate::app::discover::Discovered;
use crate::app::error::AppError;
use crate::app::evidence::Verified;
use crate::app::exceptions::Exceptions;
use crate::app::indexes::Indexes;
use crate::app::metrics::Metrics;
use crate::config::settings::Config;
use crate::console::health::Health;
use crate::gate::table::GateTable;
use crate::policy::set::PolicySet;
use crate::policy::terms::OdsCode;
use crate::release::agreement::Agreements;
use crate::secret::signing::Signer;
use crate::store::port::Store;
use crate::store::record::GateRecord;
use crate::store::sqlite::store::SqliteStore;

/// A policy set that checks, with everything compiled from it.
#[derive(Debug)]
pub struct Policy {
    pub set: Arc<PolicySet>,
    pub agreements: Arc<Agreements>,
    /// An officer activated it: the folder is not read.
    pub activated: bool,
}

/// The shared parts.
pub struct Core {
    pub config: Arc<Config>,
    pub clock: Clock,
    pub store: Arc<dyn Store>,
    pub signer: Arc<Signer>,
    pub gates: Arc<GateTable>,
    /// The set in force; none until one checks.
    pub policy: ArcSwapOption<Policy>,
    /// Controllers of members that are enrolled without a list of them.
    pub discovered: Arc<Discovered>,
    /// What members possibly hold.
    pub indexes: Indexes,
    /// What is set aside, as last read.
    pub exceptions: Exceptions,
    pub health: Health,
    pub registry: Registry,
    pub metrics: Metrics,
    /// What gates are decided with, one decision at a time.
    deciding: Mutex<Deciding>,
    /// The faults that were told last, so that the same ones are not told again and again.
    pub refused: Mutex<Option<String>>,
    /// When the evidence of each member's latest assessment was collected.
    collected: Mutex<BTreeMap<OdsCode, OffsetDateTime>>,
}

/// What only the one who decides may touch.
#[derive(Debug, Default)]
pub struct Deciding {
    /// Why nothing can be recorded, by part; every gate is closed while there is a reason.
    pub blocked: BTreeMap<&'static str, String>,
    /// Changes that could not be recorded when they happened, oldest first.
    pub unrecorded: Vec<GateRecord>,
    /// Evidence whose hash, signature and chain were checked.
    pub verified: Verified,
}

impl Deciding {
    /// Keeps closings that could not be recorded. What did not open because it could not be recorded did not happen.
    pub fn remember(&mut self, changes: Vec<GateRecord>) {
        for change in changes.into_iter().filter(|change| change.state == "closed") {
            let known = |kept: &GateRecord| kept.member == change.member && kept.grant == change.grant;
            if !self.unrecorded.iter().any(known) {
                self.unrecorded.push(change);
            }
        }
    }
}

impl Core {
    /// Opens the store and makes everything that does not run.
    pub fn build(config: Arc<Config>, clock: Clock) -> Result<Self, AppError> {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&config.data_dir, &config.store)?);
        let signer = Arc::new(Signer::load_or_create(&config.signing_key())?);
        let registry = Registry::new();
        let metrics = Metrics::register(&registry)?;
        Ok(Core {
            config,
            clock,
            store,
            signer,
            gates: Arc::new(GateTable::new()),
            policy: ArcSwapOption::empty(),
            discovered: Arc::default(),
            indexes: Indexes::default(),
            exceptions: Exceptions::default(),
            health: Health::default(),
            registry,
            metrics,
            deciding: Mutex::default(),
            refused: Mutex::default(),
            collected: Mutex::default(),
        })
    }

    /// Remembers when the evidence of the member's latest assessment was collected.
    pub fn measured(&self, member: &OdsCode, at: OffsetDateTime) {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner).insert(member.clone(), at);
    }

    /// Brings ages up to date, before they are read.
    pub fn refresh_metrics(&self) {
        let now = self.clock.now();
        let policy = self.policy.load();
        self.exceptions.show(&self.metrics.exceptions, policy.as_ref().map(|policy| &*policy.set), now);
        for (member, at) in self.collected.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let age = (now - *at).as_seconds_f64().max(0.0);
            self.metrics.assessment_age.with_label_values(&[member.as_str()]).set(age);
        }
    }

    /// Takes the right to decide.
    pub fn deciding(&self) -> std::sync::MutexGuard<'_, Deciding> {
        // what a panicked decision left behind is at worst an unrecorded change that is still in the list
        self.deciding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The assessments that changes name which could not be recorded yet; none when somebody decides right now.
    pub fn unrecorded_assessments(&self) -> Option<Vec<(OdsCode, String)>> {
        let deciding = match self.deciding.try_lock() {
            Ok(deciding) => deciding,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let named = |change: &GateRecord| Some((change.member.clone(), change.assessment.clone()?));
        Some(deciding.unrecorded.iter().filter_map(named).collect())
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("store", &self.store).finish_non_exhaustive()
    }
}
