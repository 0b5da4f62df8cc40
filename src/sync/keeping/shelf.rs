//! The store as a run uses it: on a blocking thread, for one member, under one lease.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinHandle;

use crate::ambient::clock::Clock;
use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::port::Store;
use crate::store::record::{Lease, NewJournalEntry, StagedObject, StagedPage};
use crate::sync::people::survey::Survey;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::progress::Meter;
use crate::sync::terms::staged::Object;

/// Keys of a member's sync state.
pub const COOKIE: &str = "cookie";
pub const PASS: &str = "pass";
/// Whether deletions were told to us at every page since the last complete pass began: `yes` or `no`.
pub const TOLD: &str = "told";
/// Whether deletions were told to us at every page since the last complete pass ended: `yes` or `no`.
pub const TOLD_ALWAYS: &str = "told_always";
/// There while a complete pass is under way.
pub const COMPLETING: &str = "completing";
/// When the last complete pass ended, seconds since 1970. Not there: not everything was seen yet.
pub const COMPLETE_AT: &str = "complete_at";
/// When the last reading that came to its end was begun, seconds since 1970.
pub const READ_AT: &str = "read_at";
/// Another value whenever a reading brought an object.
pub const CHANGED: &str = "changed";
pub const CONTROLLER: &str = "controller";
/// The address of that controller.
pub const ENDPOINT: &str = "endpoint";
/// How changes were asked for at the last complete pass, JSON.
pub const METHOD: &str = "method";
/// There since a controller was found set back to an earlier state, until everything is read anew by hand; seconds since 1970.
pub const SUSPECT: &str = "suspect";
/// What is asked for; when it changes, everything is read anew.
pub const ASKED: &str = "asked";
/// People in scope at the last run that no guard stopped.
pub const PEOPLE: &str = "people";
/// `pin/<base>`: the GUID of a scope's base, so that it is followed when it is renamed.
pub const PIN: &str = "pin/";
/// The last journal number whose outcome is known.
pub const JOURNAL: &str = "journal";

/// One member's part of the store.
#[derive(Debug, Clone)]
pub struct Shelf {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub ods: OdsCode,
    pub lease: Lease,
    /// How long the lease lasts.
    pub lasts: Duration,
    /// How far the run is.
    pub meter: Meter,
    /// Prolongs the lease in the store as long as anybody has this shelf.
    pub keeper: Arc<Keeper>,
}

/// Prolongs a lease while its run does what takes long and writes nothing: planning for very many people, a directory that is slow. What is
/// written is held to the time that the run itself knows.
#[derive(Debug)]
pub struct Keeper(JoinHandle<()>);

impl Keeper {
    /// Four times in each lease's time, until it is dropped, or the lease is not ours any more.
    pub fn of(store: &Arc<dyn Store>, clock: &Clock, lease: &Lease, lasts: Duration) -> Keeper {
        let (store, clock, lease) = (Arc::clone(store), clock.clone(), lease.clone());
        Keeper(tokio::spawn(async move {
            loop {
                tokio::time::sleep(lasts / 4).await;
                let (store, lease, now) = (Arc::clone(&store), lease.clone(), clock.now());
                let renewed =
                    tokio::task::spawn_blocking(move || store.renew_lease(&lease, now, lasts)).await;
                // a store that fails may work again in time
                if matches!(renewed, Err(_) | Ok(Err(StoreError::Fenced { .. }))) {
                    return;
                }
            }
        }))
    }
}

/// Does what takes long and waits for nothing, while others, keepers of leases among them, go on.
pub fn at_length<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Shelf {
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shelf) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, SyncError> {
        let shelf = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&shelf)).await;
        Ok(done??)
    }

    /// The time now.
    pub fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// A value of the member's sync state.
    pub async fn value(&self, key: &'static str) -> Result<Option<Vec<u8>>, SyncError> {
        self.with(move |shelf| shelf.store.sync_value(&shelf.ods, key)).await
    }

    /// A value as a number.
    pub async fn number(&self, key: &'static str) -> Result<Option<u64>, SyncError> {
        let value = self.value(key).await?;
        Ok(value.and_then(|bytes| String::from_utf8(bytes).ok()).and_then(|text| text.parse().ok()))
    }

    /// A value as JSON; one that cannot be read is none.
    pub async fn json<T: DeserializeOwned + Send + 'static>(
        &self,
        key: &'static str,
    ) -> Result<Option<T>, SyncError> {
        self.with(move |shelf| json(shelf.store.as_ref(), &shelf.ods, key)).await
    }

    /// The pins of the scope's bases.
    pub async fn pins(&self) -> Result<Vec<(String, Vec<u8>)>, SyncError> {
        self.with(|shelf| shelf.store.sync_values(&shelf.ods, PIN)).await
    }

    /// Sets or removes values.
    pub async fn set(&self, values: Vec<(String, Option<Vec<u8>>)>) -> Result<(), SyncError> {
        self.apply(StagedPage { values, ..StagedPage::default() }).await
    }

    /// Applies a page, all or nothing, and prolongs the lease in time: a directory may have very many pages.
    pub async fn apply(&self, page: StagedPage) -> Result<(), SyncError> {
        self.with(move |shelf| {
            shelf.store.apply_page(&shelf.ods, &shelf.lease, shelf.now(), &page)?;
            if shelf.is_due() {
                shelf.store.renew_lease(&shelf.lease, shelf.now(), shelf.lasts)?;
            }
            Ok(())
        })
        .await
    }

    /// Half of the lease's time is over, as far as we know.
    fn is_due(&self) -> bool {
        self.now() + self.lasts / 2 >= self.lease.ends_at
    }

    /// The staged objects with these GUIDs, in their order.
    pub async fn objects(&self, guids: Vec<Guid>) -> Result<Vec<Option<Object>>, SyncError> {
        self.with(move |shelf| {
            guids.iter().map(|guid| shelf.store.staged(&shelf.ods, &guid.0)?.map(read).transpose()).collect()
        })
        .await
    }

    /// Shows a survey everything staged, apart from these.
    pub async fn survey(&self, mut survey: Survey, aside: BTreeSet<Guid>) -> Result<Survey, SyncError> {
        self.with(move |shelf| {
            shelf.store.visit_staged(&shelf.ods, &mut |object| {
                if !aside.contains(&Guid(object.guid)) {
                    survey.staged(read(object)?);
                }
                Ok(())
            })?;
            Ok(survey)
        })
        .await
    }

    /// Up to `limit` living objects that no pass since `number` has seen, by GUID.
    pub async fn unseen(&self, number: u64, limit: usize) -> Result<Vec<(Object, u64)>, SyncError> {
        self.with(move |shelf| {
            let mut found = Vec::new();
            shelf.store.visit_staged(&shelf.ods, &mut |object| {
                let pass = object.pass;
                if pass < number && found.len() < limit {
                    let object = read(object)?;
                    if !object.deleted {
                        found.push((object, pass));
                    }
                }
                Ok(())
            })?;
            Ok(found)
        })
        .await
    }

    /// Appends to the journal.
    pub async fn journal(&self, entries: Vec<NewJournalEntry>) -> Result<u64, SyncError> {
        self.with(move |shelf| shelf.store.append_journal(&shelf.ods, &shelf.lease, shelf.now(), &entries))
            .await
    }

    /// Prolongs the lease when half of its time is over; until then what is written is held to it all the same.
    pub async fn renew_when_due(&mut self) -> Result<(), SyncError> {
        if self.is_due() {
            self.lease =
                self.with(|shelf| shelf.store.renew_lease(&shelf.lease, shelf.now(), shelf.lasts)).await?;
        }
        Ok(())
    }

    /// Runs a read or write of the store that has no method here.
    pub async fn store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Store, &OdsCode) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, SyncError> {
        self.with(move |shelf| work(shelf.store.as_ref(), &shelf.ods)).await
    }
}

/// A value of a member's sync state as JSON; one that cannot be read is none.
pub fn json<T: DeserializeOwned>(
    store: &dyn Store,
    ods: &OdsCode,
    key: &str,
) -> Result<Option<T>, StoreError> {
    Ok(store.sync_value(ods, key)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

fn read(object: StagedObject) -> Result<Object, StoreError> {
    serde_json::from_slice(&object.document)
        .map_err(|error| StoreError::Value(format!("a staged object: {error}")))
}

/// A staged object as the store keeps it.
pub fn kept(object: &Object, pass: u64) -> Result<StagedObject, SyncError> {
    let document = serde_json::to_vec(object).map_err(|error| SyncError::Internal(error.to_string()))?;
    Ok(StagedObject { guid: object.guid.0, parent: object.parent.map(|guid| guid.0), pass, document })
}
