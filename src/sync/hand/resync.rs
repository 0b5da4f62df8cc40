//! Reading everything anew: the cookie is forgotten under the member's lease, so that no run puts it back.

use crate::policy::terms::OdsCode;
use crate::store::audit::NewAudit;
use crate::sync::keeping::job::{Hands, begin, end};
use crate::sync::keeping::rewritten;
use crate::sync::keeping::shelf::{COMPLETING, COOKIE, SUSPECT, Shelf, TOLD_ALWAYS};
use crate::sync::terms::error::SyncError;
use crate::sync::writing::refused;

/// Makes the member's next run a complete pass. What is staged stays, and who is absent counts as gone when that pass has ended,
/// not before, and waits for an approval where deletions are told. `bases`: those of the scope are looked up by name anew as well.
pub async fn forget(member: &OdsCode, hands: &Hands, bases: bool, audit: NewAudit) -> Result<(), SyncError> {
    let shelf = begin(member, hands).await?;
    let done = forgotten(&shelf, bases, audit).await;
    end(&shelf).await;
    done
}

async fn forgotten(shelf: &Shelf, bases: bool, audit: NewAudit) -> Result<(), SyncError> {
    let pins = if bases { shelf.pins().await? } else { Vec::new() };
    let keys = [COOKIE, COMPLETING, SUSPECT, rewritten::KEY, refused::KEY].map(str::to_owned);
    let keys = keys.into_iter().chain(pins.into_iter().map(|(key, _)| key));
    let mut values: Vec<(String, Option<Vec<u8>>)> = keys.map(|key| (key, None)).collect();
    if shelf.value(SUSPECT).await?.is_some() {
        // whoever came after the state that it was set back to is missing, and no deletion tells of them: that was looked at
        values.push((TOLD_ALWAYS.to_owned(), Some(b"no".to_vec())));
    }
    shelf.store(move |store, ods| store.change_sync(Some(ods), &values, &audit)).await
}
