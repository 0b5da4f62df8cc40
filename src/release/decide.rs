//! The one function that decides.

use time::OffsetDateTime;

use crate::gate::table::Snapshot;
use crate::policy::terms::{Grant, OdsCode, Target};
use crate::release::agreement::Agreements;
use crate::release::permit::Permit;
use crate::release::refusal::{Kind, Refusal};
use crate::release::requester::{Operation, Requester};

/// Says yes, with everything that the yes is bound to, or no, with reasons.
///
/// Yes requires, in this order: the requester's proof has not ended; the `lookup` gate of the requester's own member is
/// open, when it belongs to one; the `lookup` gate of the member asked about is open; a release agreement in force
/// matches. Of several the first in document order counts, alone: attributes of different agreements are never added
/// up, because each was agreed for its own purpose.
///
/// Cheap enough for every operation: no allocation on yes but the target's code.
///
/// # Errors
///
/// A [`Refusal`] that carries what may be told and, apart, what may not.
pub fn decide(
    requester: &Requester,
    operation: Operation,
    target: &Target,
    gate: &Snapshot,
    agreements: &Agreements,
    now: OffsetDateTime,
) -> Result<Permit, Refusal> {
    let own = requester.member.as_ref();
    let refuse = |kind, reference: Option<&str>, reasons| Err(Refusal::new(kind, own, reference, reasons));
    if now >= requester.not_after {
        let reason = format!("the proof of {} ended at {}", requester.id, requester.not_after);
        return refuse(Kind::Expired, None, vec![reason]);
    }
    let mut until = requester.not_after;
    let other = match target {
        Target::Member(member) if own != Some(member) => Some(member),
        _ => None,
    };
    for member in own.into_iter().chain(other) {
        if !gate.is_open(member, Grant::Lookup, now) {
            let kind = if own == Some(member) {
                Kind::OwnGateClosed(member.clone())
            } else {
                Kind::TargetGateClosed(member.clone())
            };
            let (assessment, reasons) = closed(gate, member);
            return refuse(kind, assessment, reasons);
        }
        if let Some(end) = gate.decision(member, Grant::Lookup).and_then(|d| d.valid_until) {
            until = until.min(end);
        }
    }
    match agreements.iter().find(|a| a.mismatch(requester, operation, target, now).is_none()) {
        Some(agreement) => Ok(Permit::new(agreement, target, until)),
        None => {
            let why = agreements.iter().filter_map(|a| {
                let why = a.mismatch(requester, operation, target, now)?;
                Some(format!("{}: {why}", a.id()))
            });
            refuse(Kind::NoAgreement(target.clone()), None, why.collect())
        }
    }
}

/// The assessment and the reasons that keep a member's gate closed.
fn closed<'g>(gate: &'g Snapshot, member: &OdsCode) -> (Option<&'g str>, Vec<String>) {
    match gate.decision(member, Grant::Lookup) {
        None => (None, vec![format!("{member} has no gate yet")]),
        Some(decision) if decision.state.passes() => {
            (decision.assessment.as_deref(), vec![format!("the gate decision for {member} is out of date")])
        }
        Some(decision) => (
            decision.assessment.as_deref(),
            decision.reasons.iter().map(|r| format!("{}: {}", r.code, r.text)).collect(),
        ),
    }
}

#[cfg(test)]
mod tests;
