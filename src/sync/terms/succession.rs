//! Organisations that ended, and who takes over from them, as the programme says.

use std::collections::BTreeSet;

use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::organisation::Status;
use crate::store::port::Store;

/// Closed organisations that this one succeeds.
pub fn succeeds(store: &dyn Store, ods: &OdsCode) -> Result<BTreeSet<OdsCode>, StoreError> {
    let all = store.organisations()?.into_iter();
    let closed = all.filter(|one| one.status == Status::Closed && one.successor.as_ref() == Some(ods));
    Ok(closed.map(|one| one.ods).collect())
}

/// Whether this organisation is closed and another succeeds it: then nobody new is published for it.
pub fn closed(store: &dyn Store, ods: &OdsCode) -> Result<bool, StoreError> {
    let known = store.organisation(ods)?;
    Ok(known.is_some_and(|one| one.status == Status::Closed && one.successor.is_some()))
}
