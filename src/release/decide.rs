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
    weigh(requester, operation, target, gate, agreements, now).map_err(|kind| {
        refusal(kind, requester, gate, || {
            let why = agreements.iter().filter_map(|a| {
                let why = a.mismatch(requester, operation, target, now)?;
                Some(format!("{}: {why}", a.id()))
            });
            why.collect()
        })
    })
}

/// What [`decide`] says to this requester whatever it asks about, when that lies with itself alone: its proof has ended,
/// or its own member's gate is closed. It tells nothing of any directory, so it may be told where none is named.
pub fn barred(requester: &Requester, gate: &Snapshot, now: OffsetDateTime) -> Option<Refusal> {
    let kind = own_side(requester, gate, now).err()?;
    Some(refusal(kind, requester, gate, Vec::new))
}

fn refusal(
    kind: Kind,
    requester: &Requester,
    gate: &Snapshot,
    mismatches: impl FnOnce() -> Vec<String>,
) -> Refusal {
    let (reference, reasons) = match &kind {
        Kind::Expired => {
            (None, vec![format!("the proof of {} ended at {}", requester.id, requester.not_after)])
        }
        Kind::OwnGateClosed(member) | Kind::TargetGateClosed(member) => closed(gate, member),
        Kind::NoAgreement(_) => (None, mismatches()),
    };
    Refusal::new(kind, requester.member.as_ref(), reference, reasons)
}

/// [`decide`] for whoever does not tell why not: of many directories, which may be asked.
pub fn permitted(
    requester: &Requester,
    operation: Operation,
    target: &Target,
    gate: &Snapshot,
    agreements: &Agreements,
    now: OffsetDateTime,
) -> Option<Permit> {
    weigh(requester, operation, target, gate, agreements, now).ok()
}

fn weigh(
    requester: &Requester,
    operation: Operation,
    target: &Target,
    gate: &Snapshot,
    agreements: &Agreements,
    now: OffsetDateTime,
) -> Result<Permit, Kind> {
    own_side(requester, gate, now)?;
    let own = requester.member.as_ref();
    let mut until = requester.not_after;
    let other = match target {
        Target::Member(member) if own != Some(member) => Some(member),
        _ => None,
    };
    if let Some(member) = other.filter(|member| !gate.is_open(member, Grant::Lookup, now)) {
        return Err(Kind::TargetGateClosed(member.clone()));
    }
    for member in own.into_iter().chain(other) {
        if let Some(end) = gate.decision(member, Grant::Lookup).and_then(|d| d.valid_until) {
            until = until.min(end);
        }
    }
    let agreement = agreements.iter().find(|a| a.matches(requester, operation, target, now));
    match agreement {
        Some(agreement) => Ok(Permit::new(agreement, target, until)),
        None => Err(Kind::NoAgreement(target.clone())),
    }
}

/// What concerns the requester alone, whomever it asks about.
fn own_side(requester: &Requester, gate: &Snapshot, now: OffsetDateTime) -> Result<(), Kind> {
    if now >= requester.not_after {
        return Err(Kind::Expired);
    }
    match &requester.member {
        Some(own) if !gate.is_open(own, Grant::Lookup, now) => Err(Kind::OwnGateClosed(own.clone())),
        _ => Ok(()),
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
