//! Reading everything anew: the cookie is forgotten under the member's lease, so that no run puts it back.

use crate::policy::terms::OdsCode;
use crate::store::audit::NewAudit;
use crate::sync::error::SyncError;
use crate::sync::job::{Hands, begin, end};
use crate::sync::rewritten;
use crate::sync::shelf::{COMPLETING, COOKIE, SUSPECT};

/// Makes the member's next run a complete pass. What is staged stays, and who is absent counts as gone when that pass has ended,
/// not before.
pub async fn forget(member: &OdsCode, hands: &Hands, audit: NewAudit) -> Result<(), SyncError> {
    let shelf = begin(member, hands).await?;
    let values = [COOKIE, COMPLETING, SUSPECT, rewritten::KEY].map(|key| (key.to_owned(), None));
    let done = shelf.store(move |store, ods| store.change_sync(Some(ods), &values, &audit)).await;
    end(&shelf).await;
    done
}
