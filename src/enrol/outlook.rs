//! What a member's latest assessment means for its gates, for the officer who decides about it. Only the gateway itself opens
//! a gate; what is closed here stays closed there.

use serde::Serialize;
use time::OffsetDateTime;

use crate::baseline::assessment::{Assessment, Denial};
use crate::enrol::error::EnrolError;
use crate::policy::terms::{Grant, OdsCode};
use crate::store::error::StoreError;
use crate::store::port::Store;

/// What can be told of a member's gates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// The latest assessment; none: it was never assessed, and every gate is closed.
    pub assessment: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub assessed_at: Option<OffsetDateTime>,
    /// The gates that the assessment keeps closed.
    pub stays_closed: Vec<Closed>,
}

/// A gate that stays closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Closed {
    pub grant: Grant,
    /// What denies it, most severe first; empty when nothing was ever assessed.
    pub denials: Vec<Denial>,
}

impl Outlook {
    /// Whether nothing that was assessed keeps a gate closed.
    pub fn is_clear(&self) -> bool {
        self.stays_closed.is_empty()
    }
}

/// What the member's latest assessment says.
pub fn outlook(store: &dyn Store, ods: &OdsCode) -> Result<Outlook, EnrolError> {
    let Some(record) = store.recent_assessments(ods, 1)?.into_iter().next() else {
        let stays_closed =
            Grant::ALL.into_iter().map(|grant| Closed { grant, denials: Vec::new() }).collect();
        return Ok(Outlook { stays_closed, ..Outlook::default() });
    };
    let assessment: Assessment =
        serde_json::from_slice(&record.document).map_err(|error| StoreError::Value(error.to_string()))?;
    let closed = |grant: Grant| match assessment.grants.get(&grant) {
        Some(verdict) if verdict.would_open => None,
        Some(verdict) => Some(Closed { grant, denials: verdict.denials.clone() }),
        None => Some(Closed { grant, denials: Vec::new() }),
    };
    Ok(Outlook {
        assessment: Some(record.id),
        assessed_at: Some(record.assessed_at),
        stays_closed: Grant::ALL.into_iter().filter_map(closed).collect(),
    })
}
