//! The only place that moves a gate.
//!
//! A gate that closes does so in the live table first and is recorded after; a gate that opens is recorded first. While
//! anything cannot be recorded every gate is closed, and what could not be recorded is kept and recorded as soon as it can.

use std::collections::BTreeMap;

use serde_json::json;
use time::OffsetDateTime;

use crate::app::core::{Core, Deciding, Policy};
use crate::assess::judge::baseline_id;
use crate::baseline::assessment::{Assessment, Stated, Verdict};
use crate::baseline::attestation::SOON;
use crate::gate::decide::{
    Assessed, GateDecision, GateInput, GateOutcome, GateReason, GateSettings, GateState, decide,
};
use crate::gate::table::Snapshot;
use crate::policy::terms::{Grant, Membership, OdsCode};
use crate::store::audit::NewAudit;
use crate::store::error::StoreError;
use crate::store::member::Member;
use crate::store::port::Store;
use crate::store::record::GateRecord;
use crate::store::settings::KEEP_LATEST_MIN;

/// The name of the note that keeps from when on each control denies.
const DENIED_SINCE: &str = "gate.denied_since";
/// Who moves gates, in the audit.
pub const ACTOR: &str = "gateway";
/// Assessments that are read for each clean one that the baseline asks for: evidence may have been judged several times.
const ASSESSMENTS_EACH: u32 = 4;
/// Assessments that are read at most, whatever the baseline asks for: no more than the store surely keeps.
const ASSESSMENTS_MAX: u32 = KEEP_LATEST_MIN;

/// The gates of one member.
pub type Decisions = BTreeMap<Grant, GateDecision>;

/// Decides the gates of every member anew.
pub fn decide_all(core: &Core) -> Result<(), StoreError> {
    for member in core.store.members()? {
        decide_member(core, &mut core.deciding(), &member)?;
    }
    Ok(())
}

/// Decides the gates of one member anew; a member that is not there has none.
pub fn decide_one(core: &Core, ods: &OdsCode) -> Result<(), StoreError> {
    match core.store.member(ods)? {
        Some(member) => decide_member(core, &mut core.deciding(), &member),
        None => Ok(()),
    }
}

/// What was decided about a member, before any of it is recorded or in the live table.
struct Decided {
    decisions: Decisions,
    changes: Vec<GateRecord>,
    denied_since: BTreeMap<String, OffsetDateTime>,
}

/// Decides the gates of a member anew, by whoever holds the right to decide.
pub fn decide_member(core: &Core, deciding: &mut Deciding, member: &Member) -> Result<(), StoreError> {
    flush(core, deciding)?;
    let policy = core.policy.load_full();
    let Decided { decisions, mut changes, denied_since } =
        work_out(core, deciding, member, policy.as_deref())?;
    // closing needs nobody's leave
    let closing = decisions.values().any(|decision| !decision.state.passes());
    let live = core.gates.snapshot();
    let mut first = decisions.clone();
    for (grant, decision) in &mut first {
        if decision.state.passes() {
            // one that opens stays as it is until that is recorded
            let now = live.decision(&member.ods, *grant).cloned();
            *decision = now.unwrap_or_else(|| refusal("opening", "it is about to open"));
        }
    }
    if closing {
        core.gates.set(&member.ods, first);
    }
    if let Err(error) = write_down(core, deciding, member, &mut changes, &denied_since) {
        deciding.remember(changes);
        return Err(error);
    }
    core.gates.set(&member.ods, decisions);
    measure(core, member);
    Ok(())
}

/// Decides the gates of all these members by a set that is not in force yet, records what changes, and lets `switch` put the set and the
/// gates in force together. On an error nothing is in force that was not before.
pub fn decide_by(
    core: &Core,
    deciding: &mut Deciding,
    members: &[Member],
    policy: &Policy,
    switch: impl FnOnce(Vec<(OdsCode, Decisions)>),
) -> Result<(), StoreError> {
    flush(core, deciding)?;
    let mut all = Vec::new();
    for member in members {
        let decided = work_out(core, deciding, member, Some(policy))?;
        all.push((member, decided));
    }
    for (member, decided) in &mut all {
        write_down(core, deciding, member, &mut decided.changes, &decided.denied_since)?;
    }
    switch(all.into_iter().map(|(member, decided)| (member.ods.clone(), decided.decisions)).collect());
    members.iter().for_each(|member| measure(core, member));
    Ok(())
}

fn work_out(
    core: &Core,
    deciding: &mut Deciding,
    member: &Member,
    policy: Option<&Policy>,
) -> Result<Decided, StoreError> {
    let before = recorded(core, member)?;
    let (outcome, latest) = outcome(core, deciding, member, &before, policy)?;
    show(core, member, latest.as_ref());
    let decisions = match deciding.blocked.values().next() {
        Some(reason) => closed("store", reason),
        None => outcome.grants,
    };
    let changes = changes(core, member, &before, &core.gates.snapshot(), &decisions);
    Ok(Decided { decisions, changes, denied_since: outcome.denied_since })
}

/// Records changes, or keeps them while nothing can be recorded. On an error those that were not recorded are left.
fn write_down(
    core: &Core,
    deciding: &mut Deciding,
    member: &Member,
    changes: &mut Vec<GateRecord>,
    denied_since: &BTreeMap<String, OffsetDateTime>,
) -> Result<(), StoreError> {
    if !deciding.blocked.is_empty() {
        deciding.remember(std::mem::take(changes));
        return Ok(());
    }
    record(core, changes)?;
    keep_denials(core, member, denied_since)
}

/// The newest record of each of the member's gates, those that wait to be recorded included.
fn recorded(core: &Core, member: &Member) -> Result<BTreeMap<Grant, GateRecord>, StoreError> {
    let mut newest = BTreeMap::new();
    for grant in Grant::ALL {
        if let Some(record) = core.store.gate_history(&member.ods, Some(grant), 1)?.into_iter().next() {
            newest.insert(grant, record);
        }
    }
    Ok(newest)
}

fn outcome(
    core: &Core,
    deciding: &mut Deciding,
    member: &Member,
    before: &BTreeMap<Grant, GateRecord>,
    policy: Option<&Policy>,
) -> Result<(GateOutcome, Option<Assessment>), StoreError> {
    let baseline = policy.and_then(|p| p.set.baselines.get(baseline_id(&p.set)?));
    let settings =
        baseline.map_or(GateSettings { reopen_after: 1, evidence_valid_for: 0 }, |baseline| GateSettings {
            reopen_after: baseline.reopen_after.max(1),
            evidence_valid_for: baseline.evidence_valid_for.whole_seconds(),
        });
    let count = settings.reopen_after.saturating_mul(ASSESSMENTS_EACH).min(ASSESSMENTS_MAX);
    let mut read: Vec<(Assessment, bool)> = Vec::new();
    for record in core.store.recent_assessments(&member.ods, count)? {
        match serde_json::from_slice::<Assessment>(&record.document) {
            Ok(assessment) => {
                let valid = deciding.verified.holds(
                    core.store.as_ref(),
                    core.signer.public_key(),
                    &assessment.evidence_hash,
                )?;
                read.push((assessment, valid));
            }
            Err(error) => {
                tracing::error!(member = %member.ods, assessment = record.id, %error, "an assessment cannot be read");
                break;
            }
        }
    }
    let assessments: Vec<Assessed<'_>> = read
        .iter()
        .map(|(assessment, evidence_valid)| Assessed { assessment, evidence_valid: *evidence_valid })
        .collect();
    let live = core.gates.snapshot();
    let previous = Grant::ALL
        .into_iter()
        .filter_map(|grant| {
            let live = live.decision(&member.ods, grant).map(|decision| decision.state);
            Some((grant, live.or_else(|| state(before.get(&grant)?))?))
        })
        .collect();
    let input = GateInput {
        member: &member.ods,
        membership: member.state,
        policy_hash: policy.map(|policy| policy.set.hash()),
        assessments: &assessments,
        settings,
        previous: &previous,
        denied_since: &denied_since(core.store.as_ref(), &member.ods)?,
        now: core.clock.now(),
    };
    let outcome = decide(&input);
    Ok((outcome, read.into_iter().next().map(|(assessment, _)| assessment)))
}

/// The state that a record wrote down.
fn state(record: &GateRecord) -> Option<GateState> {
    match (record.state.as_str(), record.until) {
        ("open", _) => Some(GateState::Open),
        ("held", Some(until)) => Some(GateState::Held { until }),
        ("closed", _) => Some(GateState::Closed),
        _ => None,
    }
}

/// From when on each control denies, as the decision before kept it: graces are counted from there.
pub fn denied_since(
    store: &dyn Store,
    ods: &OdsCode,
) -> Result<BTreeMap<String, time::OffsetDateTime>, StoreError> {
    let Some(bytes) = store.note(ods, DENIED_SINCE)? else { return Ok(BTreeMap::new()) };
    let seconds: BTreeMap<String, i64> =
        serde_json::from_slice(&bytes).map_err(|error| StoreError::Value(error.to_string()))?;
    seconds
        .into_iter()
        .map(|(control, at)| {
            let at = time::OffsetDateTime::from_unix_timestamp(at)
                .map_err(|error| StoreError::Value(error.to_string()))?;
            Ok((control, at))
        })
        .collect()
}

fn keep_denials(
    core: &Core,
    member: &Member,
    since: &BTreeMap<String, time::OffsetDateTime>,
) -> Result<(), StoreError> {
    // whole seconds, so that keeping and reading gives the same
    let seconds: BTreeMap<&String, i64> =
        since.iter().map(|(control, at)| (control, at.unix_timestamp())).collect();
    let bytes = serde_json::to_vec(&seconds).map_err(|error| StoreError::Value(error.to_string()))?;
    let kept = core.store.note(&member.ods, DENIED_SINCE)?;
    if kept.as_deref() == Some(&bytes) || (kept.is_none() && since.is_empty()) {
        return Ok(());
    }
    core.store.set_note(&member.ods, DENIED_SINCE, &bytes)
}

/// What differs from the newest records: another state, or other reasons for the same. `live` is the table as it was before
/// `decisions`.
fn changes(
    core: &Core,
    member: &Member,
    before: &BTreeMap<Grant, GateRecord>,
    live: &Snapshot,
    decisions: &Decisions,
) -> Vec<GateRecord> {
    let at = core.clock.now();
    decisions
        .iter()
        .filter_map(|(grant, decision)| {
            let known = live.decision(&member.ods, *grant);
            let same_state = before.get(grant).is_some_and(|record| record.state == decision.state.as_str());
            let keys = |reasons: &[GateReason]| {
                reasons.iter().map(|r| (r.code.clone(), r.control.clone())).collect::<Vec<_>>()
            };
            let texts = || decision.reasons.iter().map(|r| r.text.clone()).collect::<Vec<_>>();
            let same_reasons = match (known, before.get(grant)) {
                (Some(known), Some(_)) if keys(&known.reasons) == keys(&decision.reasons) => true,
                (_, Some(record)) => record.reasons == texts(),
                _ => false,
            };
            if same_state && same_reasons {
                return None;
            }
            let until = if let GateState::Held { until } = decision.state { Some(until) } else { None };
            Some(GateRecord {
                member: member.ods.clone(),
                grant: *grant,
                at,
                state: decision.state.as_str().to_owned(),
                until,
                reasons: texts(),
                assessment: decision.assessment.clone(),
            })
        })
        .collect()
}

/// Records changes, oldest first; those that were recorded are no longer in the list.
fn record(core: &Core, changes: &mut Vec<GateRecord>) -> Result<(), StoreError> {
    while let Some(change) = changes.first() {
        let audit = NewAudit {
            at: change.at,
            actor: ACTOR.to_owned(),
            action: format!("gate.{}", change.state),
            member: Some(change.member.clone()),
            detail: json!({
                "grant": change.grant,
                "assessment": change.assessment,
                "reasons": change.reasons,
            }),
        };
        core.store.record_gate(change, &audit)?;
        let change = changes.remove(0);
        let labels = [change.member.as_str(), change.grant.as_str(), change.state.as_str()];
        core.metrics.gate_transitions.with_label_values(&labels).inc();
        tracing::warn!(
            member = %change.member,
            grant = %change.grant,
            gate = change.state,
            assessment = change.assessment,
            reasons = change.reasons.join("; "),
            "gate is {}", change.state
        );
    }
    Ok(())
}

/// Records what could not be recorded before.
fn flush(core: &Core, deciding: &mut Deciding) -> Result<(), StoreError> {
    if !deciding.blocked.is_empty() || deciding.unrecorded.is_empty() {
        return Ok(());
    }
    record(core, &mut deciding.unrecorded)
}

/// Nothing can be recorded, because of `part`: every gate closes now and stays closed.
pub fn block(core: &Core, part: &'static str, reason: &str) {
    let mut deciding = core.deciding();
    core.health.fail(part, reason);
    core.metrics.recording.with_label_values(&[part]).set(0);
    if deciding.blocked.insert(part, reason.to_owned()).is_some() {
        return;
    }
    tracing::error!(part, reason, "nothing can be recorded: every gate is closed");
    let at = core.clock.now();
    let snapshot = core.gates.snapshot();
    let text = format!("the gateway cannot record what happens: {reason}");
    let (mut all, mut lost) = (Vec::new(), Vec::new());
    for (member, decisions) in snapshot.members() {
        for (grant, decision) in decisions.iter().filter(|(_, decision)| decision.state.passes()) {
            lost.push(GateRecord {
                member: member.clone(),
                grant: *grant,
                at,
                state: "closed".to_owned(),
                until: None,
                reasons: vec![text.clone()],
                assessment: decision.assessment.clone(),
            });
        }
        all.push((member.clone(), closed("store", &text)));
    }
    deciding.remember(lost);
    core.gates.set_all(all);
    for (member, _) in snapshot.members() {
        for grant in Grant::ALL {
            core.metrics.gate_open.with_label_values(&[member.as_str(), grant.as_str()]).set(0);
        }
    }
}

/// The part can record again. When nothing else stands in the way every gate is decided anew.
pub fn unblock(core: &Core, part: &'static str) -> Result<(), StoreError> {
    core.health.clear(part);
    core.metrics.recording.with_label_values(&[part]).set(1);
    let free = {
        let mut deciding = core.deciding();
        deciding.blocked.remove(part).is_some() && deciding.blocked.is_empty()
    };
    if !free {
        return Ok(());
    }
    tracing::warn!(part, "recording works again: every gate is decided anew");
    decide_all(core)
}

fn closed(code: &str, text: &str) -> Decisions {
    Grant::ALL.into_iter().map(|grant| (grant, refusal(code, text))).collect()
}

fn refusal(code: &str, text: &str) -> GateDecision {
    GateDecision {
        state: GateState::Closed,
        reasons: vec![GateReason { code: code.to_owned(), control: None, text: text.to_owned() }],
        assessment: None,
        valid_until: None,
    }
}

/// Shows the member's gates as they are in the live table.
fn measure(core: &Core, member: &Member) {
    let (snapshot, now) = (core.gates.snapshot(), core.clock.now());
    for grant in Grant::ALL {
        let open = snapshot.is_open(&member.ods, grant, now);
        let labels = [member.ods.as_str(), grant.as_str()];
        core.metrics.gate_open.with_label_values(&labels).set(i64::from(open));
    }
    for state in Membership::ALL {
        let labels = [member.ods.as_str(), state.as_str()];
        core.metrics.membership.with_label_values(&labels).set(i64::from(state == member.state));
    }
}

/// Shows the member's latest assessment.
fn show(core: &Core, member: &Member, latest: Option<&Assessment>) {
    let Some(latest) = latest else { return };
    for verdict in Verdict::ALL {
        let count = i64::try_from(latest.count(verdict)).unwrap_or(i64::MAX);
        let labels = [member.ods.as_str(), verdict.as_str()];
        core.metrics.findings.with_label_values(&labels).set(count);
    }
    let counts = standings(&latest.attestations, core.clock.now());
    for (standing, count) in ["in_force", "ending", "not_holding"].into_iter().zip(counts) {
        core.metrics.attestations.with_label_values(&[member.ods.as_str(), standing]).set(count);
    }
    core.measured(&member.ods, latest.collected_at);
}

/// How many attestations are in force, end soon, and do not hold.
fn standings(attestations: &[Stated], now: OffsetDateTime) -> [i64; 3] {
    attestations.iter().fold([0; 3], |[in_force, ending, not], one| {
        if one.problem.is_some() || one.until <= now {
            [in_force, ending, not + 1]
        } else if one.until - now <= SOON {
            [in_force, ending + 1, not]
        } else {
            [in_force + 1, ending, not]
        }
    })
}

#[cfg(test)]
mod tests;
