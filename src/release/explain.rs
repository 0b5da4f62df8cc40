//! Who would see what, and why not: the value behind `portcullis release explain`.

use serde::Serialize;
use time::OffsetDateTime;

use crate::gate::decide::GateState;
use crate::gate::table::Snapshot;
use crate::policy::documents::FilterRules;
use crate::policy::terms::{Grant, OdsCode, Target};
use crate::release::agreement::Agreements;
use crate::release::decide::decide;
use crate::release::permit::Permit;
use crate::release::requester::{Operation, Requester};
use crate::release::spelling;

/// What one requester may see of one directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub target: Target,
    pub outcome: Outcome,
    /// The `lookup` gates that count: the requester's own member first.
    pub gates: Vec<GateSeen>,
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

/// One gate as it counts now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GateSeen {
    pub member: OdsCode,
    /// Whether it lets requests through now.
    pub open: bool,
    /// `open`, `held`, `closed`, or `none` when it was never decided.
    pub state: &'static str,
    pub reasons: Vec<String>,
    /// The assessment that says so.
    pub assessment: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub valid_until: Option<OffsetDateTime>,
}

/// What would come of a search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Outcome {
    Permitted(Box<Permitted>),
    Refused {
        kind: &'static str,
        /// What the requester is told.
        code: u32,
        text: String,
        /// What is true. For officers only.
        reasons: Vec<String>,
    },
}

/// What a search may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Permitted {
    pub agreement: String,
    pub purpose: String,
    /// What exists for the requester.
    pub attributes: Vec<String>,
    /// What of the federated schema does not.
    pub hidden: Vec<String>,
    /// RFC 4515 text; entries that do not match are as if they were not there.
    pub entries: Option<String>,
    /// The same for a search that names an exact mail address, when that makes a difference.
    pub entries_by_address: Option<String>,
    /// Values of an attribute whose people are seen without some attributes.
    pub without_contact: Option<WithoutContact>,
    /// Shapes of filter that are not taken, in words.
    pub refused_filters: Vec<String>,
    pub size_limit: u32,
    pub time_limit_seconds: i64,
    pub rate: u32,
    pub in_flight: u32,
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
}

/// People who are listed without contact details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WithoutContact {
    pub attribute: String,
    pub values: Vec<String>,
    /// What they do not have for the requester.
    pub hidden: Vec<String>,
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
        Ok(permit) => Outcome::Permitted(Box::new(permitted(&permit))),
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
    let own = requester.member.as_ref();
    let other = match target {
        Target::Member(member) if own != Some(member) => Some(member),
        _ => None,
    };
    let gates = own.into_iter().chain(other).map(|member| seen(member, gate, now)).collect();
    Explanation { target: target.clone(), outcome, gates, agreements }
}

fn permitted(permit: &Permit) -> Permitted {
    let view = permit.view();
    let known = spelling::KNOWN.iter().map(|known| known.name);
    let by_address = permit.entry_filter_by_address();
    Permitted {
        agreement: permit.agreement().to_owned(),
        purpose: permit.purpose().to_owned(),
        attributes: view.names().map(str::to_owned).collect(),
        hidden: known.filter(|name| !view.visible(name)).map(str::to_owned).collect(),
        entries: permit.entry_filter().map(ToString::to_string),
        entries_by_address: by_address.map(|filter| filter.map_or("(&)".to_owned(), ToString::to_string)),
        without_contact: permit.reserve().map(|reserve| WithoutContact {
            attribute: reserve.attribute.clone(),
            values: reserve.values.clone(),
            hidden: reserve.contact.clone(),
        }),
        refused_filters: refused(permit.filters()),
        size_limit: permit.size_limit(),
        time_limit_seconds: permit.time_limit().whole_seconds(),
        rate: permit.rate(),
        in_flight: permit.in_flight(),
        until: permit.until(),
    }
}

fn refused(rules: &FilterRules) -> Vec<String> {
    let mut words = Vec::new();
    if rules.shortest > 0 {
        words.push(format!("`*` with fewer than {} characters beside it", rules.shortest));
    }
    if !rules.leading_wildcard {
        words.push("`*` at the beginning".to_owned());
    }
    if !rules.inequality {
        words.push("`>=` and `<=`".to_owned());
    }
    words
}

fn seen(member: &OdsCode, gate: &Snapshot, now: OffsetDateTime) -> GateSeen {
    let open = gate.is_open(member, Grant::Lookup, now);
    let Some(decision) = gate.decision(member, Grant::Lookup) else {
        let (member, reasons) = (member.clone(), vec!["it was never decided".to_owned()]);
        return GateSeen { member, open, state: "none", reasons, assessment: None, valid_until: None };
    };
    let mut reasons: Vec<String> =
        decision.reasons.iter().map(|r| format!("{}: {}", r.code, r.text)).collect();
    if !open && decision.state.passes() {
        reasons.push("the decision is out of date".to_owned());
    }
    GateSeen {
        member: member.clone(),
        open,
        state: match decision.state {
            GateState::Open => "open",
            GateState::Held { .. } => "held",
            GateState::Closed => "closed",
        },
        reasons,
        assessment: decision.assessment.clone(),
        valid_until: decision.valid_until,
    }
}
