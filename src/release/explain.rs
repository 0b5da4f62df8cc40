//! Who would see what, and why not: the value behind `portcullis release explain`.

use serde::Serialize;
use time::OffsetDateTime;

use crate::gate::table::Snapshot;
use crate::policy::terms::Target;
use crate::release::agreement::Agreements;
use crate::release::decide::decide;
use crate::release::requester::{Operation, Requester};

/// What one requester may see of one directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub target: Target,
    pub outcome: Outcome,
    /// Every agreement in document order, with why it does not match; the first without one decides.
    pub agreements: Vec<Considered>,
}

/// One agreement held against the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Considered {
    pub id: String,
    /// `None`: it matches.
    pub why_not: Option<String>,
}

/// What would come of a search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Outcome {
    Permitted {
        agreement: String,
        purpose: String,
        attributes: Vec<String>,
        /// RFC 4515 text; entries that do not match are as if they were not there.
        entries: Option<String>,
        size_limit: u32,
        time_limit_seconds: i64,
        rate: u32,
        in_flight: u32,
        #[serde(with = "time::serde::rfc3339")]
        until: OffsetDateTime,
    },
    Refused {
        kind: &'static str,
        /// What the requester is told.
        code: u32,
        text: String,
        /// What is true. For officers only.
        reasons: Vec<String>,
    },
}

/// Explains what `requester` would see of `target` at `now`.
pub fn explain(
    requester: &Requester,
    target: &Target,
    gate: &Snapshot,
    agreements: &Agreements,
    now: OffsetDateTime,
) -> Explanation {
    let outcome = match decide(requester, Operation::Search, target, gate, agreements, now) {
        Ok(permit) => Outcome::Permitted {
            agreement: permit.agreement().to_owned(),
            purpose: permit.purpose().to_owned(),
            attributes: permit.view().names().map(str::to_owned).collect(),
            entries: permit.entry_filter().map(ToString::to_string),
            size_limit: permit.size_limit(),
            time_limit_seconds: permit.time_limit().whole_seconds(),
            rate: permit.rate(),
            in_flight: permit.in_flight(),
            until: permit.until(),
        },
        Err(refusal) => Outcome::Refused {
            kind: refusal.kind.as_str(),
            code: refusal.code,
            text: refusal.text,
            reasons: refusal.reasons,
        },
    };
    let agreements = agreements
        .iter()
        .map(|a| Considered {
            id: a.id().to_owned(),
            why_not: a.mismatch(requester, Operation::Search, target, now),
        })
        .collect();
    Explanation { target: target.clone(), outcome, agreements }
}
