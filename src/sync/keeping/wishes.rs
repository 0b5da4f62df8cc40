//! Who asked not to be listed as others are, remembered from run to run: a wish that is not read any more may have been withdrawn, and may as well
//! have become unreadable for our account. Nobody can tell the one from the other, so that a guard asks. A wish is forgotten when what lists the
//! person otherwise was written, not before.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::port::Store;
use crate::sync::keeping::shelf::Shelf;
use crate::sync::people::guards::listed;
use crate::sync::people::survey::Others;
use crate::sync::terms::error::{SyncError, damaged};
use crate::sync::terms::guid::Guid;
use crate::sync::terms::step::Plan;

/// Key in a member's sync state: GUIDs, and whether nobody else's entry may name the person; JSON.
const KEY: &str = "wishes";

/// Who asked, and whether for not being named by others' entries.
pub type Wishes = BTreeMap<Guid, bool>;

/// Who asked, as far as it was read.
///
/// # Errors
/// Also one that cannot be understood: nobody's wish is forgotten for it.
pub async fn known(shelf: &Shelf) -> Result<Wishes, SyncError> {
    match shelf.value(KEY).await? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| damaged(KEY, &error)),
        None => Ok(Wishes::new()),
    }
}

/// The same of any member, without its lease.
pub fn of(store: &dyn Store, ods: &OdsCode) -> Result<Wishes, StoreError> {
    match store.sync_value(ods, KEY)? {
        Some(bytes) => {
            serde_json::from_slice(&bytes).map_err(|error| StoreError::Value(format!("{KEY}: {error}")))
        }
        None => Ok(Wishes::new()),
    }
}

/// Whose wish is over before anything is written: nothing of the person is to be changed, so that it was done before.
pub fn over(others: &Others, plan: &Plan) -> BTreeSet<Guid> {
    let waits: BTreeSet<Guid> = plan
        .steps
        .iter()
        .filter_map(|step| Some(step.anchor.as_ref()?.guid))
        .chain(plan.quarantine.iter().map(|one| one.guid))
        .chain(plan.later.iter().copied())
        .collect();
    // of whoever is left for the next plan it is not known
    let all = others.withdrawn.iter().filter(|_| others.deferred == 0);
    all.filter(|guid| !waits.contains(guid)).copied().collect()
}

/// Whom these steps of a plan list.
pub fn listed_by(plan: &Plan, steps: &BTreeSet<usize>) -> BTreeSet<Guid> {
    steps.iter().filter_map(|number| plan.steps.get(*number)).filter_map(listed).collect()
}

/// Remembers who asks, and forgets those of `over` who do not.
pub async fn keep(shelf: &Shelf, asking: &Wishes, over: &BTreeSet<Guid>) -> Result<(), SyncError> {
    let before = known(shelf).await?;
    let mut now = before.clone();
    now.retain(|guid, _| !over.contains(guid));
    now.extend(asking.iter().map(|(guid, unnamed)| (*guid, *unnamed)));
    if now == before {
        return Ok(());
    }
    let value = serde_json::to_vec(&now).map_err(|error| SyncError::Internal(error.to_string()))?;
    shelf.set(vec![(KEY.to_owned(), Some(value))]).await
}
