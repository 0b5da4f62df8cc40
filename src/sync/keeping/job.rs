//! One member's work, what it is done with, and the lease without which none of it is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ambient::clock::Clock;
use crate::directory;
use crate::directory::client::Directory;
use crate::directory::endpoint::Endpoint;
use crate::directory::request::Credential;
use crate::ldap::dn::Dn;
use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::port::Store;
use crate::sync::keeping::shelf::{Keeper, Shelf};
use crate::sync::terms::error::SyncError;
use crate::sync::terms::interruption::Interruption;
use crate::sync::terms::progress::{Meter, PROGRESS};
use crate::sync::terms::settings::{Scope, Settings};

/// The most connections to write over, and the fewest steps for which one more is opened.
const CONNECTIONS_MAX: usize = 16;
const STEPS_EACH: usize = 20;

/// A directory and how to reach it.
#[derive(Debug, Clone)]
pub struct Reach {
    /// In order of preference; the first that answers is used.
    pub endpoints: Vec<Endpoint>,
    pub tls: Arc<rustls::ClientConfig>,
    pub credential: Credential,
    pub settings: directory::settings::Settings,
}

impl Reach {
    /// The first endpoint that answers.
    pub async fn connect(
        &self,
        wrap: fn(directory::error::DirectoryError) -> SyncError,
    ) -> Result<Directory, SyncError> {
        let mut last = SyncError::Internal("no endpoint to connect to".to_owned());
        for endpoint in &self.endpoints {
            match Directory::connect(endpoint, self.tls.clone(), &self.credential, &self.settings).await {
                Ok(directory) => return Ok(directory),
                Err(error) => last = wrap(error),
            }
        }
        Err(last)
    }

    /// Connections to write so many steps over.
    pub async fn several(&self, steps: usize, settings: &Settings) -> Result<Vec<Directory>, SyncError> {
        let many = settings.connections.clamp(1, CONNECTIONS_MAX).min(steps.div_ceil(STEPS_EACH));
        let mut connections = Vec::with_capacity(many);
        for _ in 0..many {
            connections.push(self.connect(SyncError::Target).await?);
        }
        Ok(connections)
    }
}

/// One member's work.
#[derive(Debug, Clone)]
pub struct Job {
    pub member: OdsCode,
    /// None: the member has no directory of its own, and its people are registered by file.
    pub source: Option<Reach>,
    /// The naming context that is published.
    pub source_base: String,
    /// A DN of the member directory that must be readable; none means the base.
    pub canary: Option<String>,
    pub target: Reach,
    /// Where people are published, for example `ou=people,dc=national,dc=test`.
    pub people_base: String,
    pub scope: Scope,
}

/// What a run works with.
#[derive(Debug, Clone)]
pub struct Hands {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub settings: Settings,
    /// Who runs, unlike any other process: holder of the lease.
    pub holder: String,
    /// Whether all of it is to end.
    pub interruption: Interruption,
}

/// How far a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mode {
    /// Reads and plans exactly like a run, and writes nothing to the national directory.
    pub dry_run: bool,
    /// Reads everything whatever the cookie says.
    pub complete: bool,
}

/// The name of a member's lease.
pub fn lease_name(member: &OdsCode) -> String {
    format!("sync/{member}")
}

/// Takes the member's lease, or is [`SyncError::Busy`].
pub async fn begin(member: &OdsCode, hands: &Hands) -> Result<Shelf, SyncError> {
    if hands.interruption.is_asked() {
        return Err(SyncError::Interrupted);
    }
    // two runs of one process are two holders: a holder is given its own lease again
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let holder = format!("{}/{}", hands.holder, RUNS.fetch_add(1, Ordering::Relaxed));
    let (store, name) = (hands.store.clone(), lease_name(member));
    let (now, lasts, ods) = (hands.clock.now(), hands.settings.lease(), member.clone());
    let taken = tokio::task::spawn_blocking(move || {
        let lease = store.acquire_lease(&name, &holder, now, lasts)?;
        // only who has the lease knows that nobody else counts there
        let left = lease.is_some() && store.sync_value(&ods, PROGRESS)?.is_some();
        Ok::<_, StoreError>(lease.map(|lease| (lease, left)))
    });
    let (lease, left) = taken.await??.ok_or_else(|| SyncError::Busy(member.clone()))?;
    let (store, clock, ods) = (hands.store.clone(), hands.clock.clone(), member.clone());
    let keeper = Arc::new(Keeper::of(&store, &clock, &lease, lasts));
    Ok(Shelf { store, clock, ods, lease, lasts, meter: Meter::new(now, left), keeper })
}

/// Gives the lease back; one that cannot be given back ends by itself.
pub async fn end(shelf: &Shelf) {
    if shelf.meter.is_kept() {
        // what stays of it goes with the next run
        let _ = shelf.set(vec![(PROGRESS.to_owned(), None)]).await;
    }
    let lease = shelf.lease.clone();
    let _ = shelf.store(move |store, _| store.release_lease(&lease)).await;
}

/// The member's organisational unit: `ou=RXA` below the people.
pub fn member_base(job: &Job) -> Result<Dn, SyncError> {
    let people = Dn::parse(&job.people_base)
        .map_err(|_| SyncError::Unusable(format!("`{}` is not a name", job.people_base)))?;
    people
        .child("ou", job.member.as_str())
        .map_err(|_| SyncError::Internal("a member without a code".to_owned()))
}
