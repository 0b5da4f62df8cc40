//! Decisions by hand about who is who: this account's national entry is that one. Kept with the member's sync state, and
//! heard by planning where its own rules see several.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::port::Store;
use crate::sync::terms::guid::Guid;

/// `join/<guid>`, JSON.
pub const JOIN: &str = "join/";

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The national entry's name.
    pub dn: String,
    /// The officer who decided.
    pub by: String,
    pub reason: String,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// The key of an account's decision.
pub fn key(guid: &Guid) -> String {
    format!("{JOIN}{guid}")
}

/// A member's decisions by account.
///
/// # Errors
/// Also one that cannot be understood: planning without it would decide otherwise.
pub fn decisions(store: &dyn Store, ods: &OdsCode) -> Result<BTreeMap<Guid, Decision>, StoreError> {
    let kept = store.sync_values(ods, JOIN)?;
    let fail = |key: &str| StoreError::Value(format!("a decision of sync: {key}"));
    kept.into_iter()
        .map(|(key, value)| {
            let guid = key.strip_prefix(JOIN).and_then(|guid| guid.parse().ok()).ok_or_else(|| fail(&key))?;
            Ok((guid, serde_json::from_slice(&value).map_err(|_| fail(&key))?))
        })
        .collect()
}

/// Only what planning hears: the entry's name.
pub fn names(decisions: &BTreeMap<Guid, Decision>) -> BTreeMap<Guid, String> {
    decisions.iter().map(|(guid, decision)| (*guid, decision.dn.clone())).collect()
}
