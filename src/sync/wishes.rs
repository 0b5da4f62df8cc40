//! Who asked not to be listed as others are, remembered from run to run: a wish that is not read any more may have been withdrawn, and may as well
//! have become unreadable for our account. Of the one nobody is told apart from the other, so that a guard asks.

use std::collections::BTreeSet;

use crate::sync::error::SyncError;
use crate::sync::guid::Guid;
use crate::sync::shelf::Shelf;
use crate::sync::step::Plan;
use crate::sync::survey::Others;

/// Key in a member's sync state: GUIDs, JSON.
const KEY: &str = "wishes";

/// Who asked, as far as it was read.
///
/// # Errors
/// Also one that cannot be understood: nobody's wish is forgotten for it.
pub async fn known(shelf: &Shelf) -> Result<BTreeSet<Guid>, SyncError> {
    match shelf.value(KEY).await? {
        Some(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| SyncError::Internal(format!("`{KEY}` cannot be read: {error}"))),
        None => Ok(BTreeSet::new()),
    }
}

/// Who is to be remembered once `go` is written: whoever asks, and who asked and is not listed otherwise by it.
pub fn after(others: &Others, go: &Plan) -> BTreeSet<Guid> {
    let listed: BTreeSet<Guid> =
        go.steps.iter().filter_map(|step| Some(step.anchor.as_ref()?.guid)).collect();
    others.asking.iter().chain(others.withdrawn.difference(&listed)).copied().collect()
}

/// Remembers them.
pub async fn keep(shelf: &Shelf, asking: &BTreeSet<Guid>) -> Result<(), SyncError> {
    if known(shelf).await? == *asking {
        return Ok(());
    }
    let value = serde_json::to_vec(asking).map_err(|error| SyncError::Internal(error.to_string()))?;
    shelf.set(vec![(KEY.to_owned(), Some(value))]).await
}
