//! Takes the policy set that counts, whole or not at all, and keeps the last good one.

use std::sync::{Arc, PoisonError};

use crate::app::core::{Core, Policy};
use crate::app::front::Front;
use crate::app::gates;
use crate::app::in_force::{self, Origin};
use crate::assess::judge::judge;
use crate::baseline::facts::Evidence;
use crate::policy::fault::Fault;
use crate::policy::terms::OdsCode;
use crate::store::audit::NewAudit;
use crate::store::error::StoreError;
use crate::store::member::Member;
use crate::store::record::AssessmentRecord;

/// Why there is no good set, for `/readyz`.
const PART: &str = "policy";
/// More faults than this are not logged one by one.
const FAULTS_TOLD: usize = 20;

/// What came of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The documents say what they said before.
    Unchanged,
    /// A new set is in force.
    Changed,
    /// The set has faults, or could not be put in force; the last good set stays, or none.
    Refused,
}

/// Reads the set that counts again, before there is a front door.
pub fn reload(core: &Core) -> Reload {
    reload_with(core, None)
}

/// Reads the set that counts again. One that does not check, or that too few officers signed, changes nothing and is told loudly.
pub fn reload_with(core: &Core, front: Option<&Front>) -> Reload {
    let taken = in_force::take(&core.config, Some(core.store.as_ref()));
    let origin = taken.origin.clone();
    let policy = match taken.policy() {
        Ok(policy) => policy,
        Err(faults) => {
            refuse(core, &origin, &faults);
            return Reload::Refused;
        }
    };
    let before = core.policy.load_full();
    let same = |before: &Policy| before.set.hash() == policy.set.hash();
    if before.as_deref().is_some_and(same) {
        good(core, &policy);
        return Reload::Unchanged;
    }
    let policy = Arc::new(policy);
    if let Err(error) = enforce(core, front, &policy) {
        // some of it may be recorded already: nothing passes until it can be told what holds
        gates::block(core, "store", &error.to_string());
        return Reload::Refused;
    }
    core.metrics.policy_loads.with_label_values(&["done"]).inc();
    tracing::info!(
        hash = policy.set.hash(),
        controls = policy.set.controls.len(),
        from = %origin,
        "policy set in force"
    );
    good(core, &policy);
    Reload::Changed
}

/// The set that counts is the one in force.
fn good(core: &Core, policy: &Policy) {
    core.metrics.policy_good.set(1);
    core.metrics.policy_activated.set(i64::from(policy.activated));
    core.health.clear(PART);
    *core.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Tells the faults, once for as long as they stay the same.
fn refuse(core: &Core, origin: &Origin, faults: &[Fault]) {
    let text: String = faults.iter().map(|fault| format!("{fault}\n")).collect();
    let mut told = core.refused.lock().unwrap_or_else(PoisonError::into_inner);
    if told.as_deref() == Some(&text) {
        return;
    }
    core.metrics.policy_loads.with_label_values(&["refused"]).inc();
    core.metrics.policy_good.set(0);
    for fault in faults.iter().take(FAULTS_TOLD) {
        tracing::error!(place = %fault.place, "{}", fault.message);
    }
    let count = faults.len();
    if let Some(policy) = core.policy.load_full() {
        tracing::error!(
            faults = count, of = %origin, hash = policy.set.hash(),
            "the policy set is refused: the last good set stays in force"
        );
    } else {
        core.health.fail(PART, format!("{count} faults in {origin} and no good set loaded"));
        tracing::error!(faults = count, of = %origin, "the policy set is refused: every gate is closed");
    }
    *told = Some(text);
}

/// Puts a new set in force: every member's latest evidence is held against it and its gates are decided, with nobody deciding
/// in between, so that no gate moves for the change of the set alone. Until then all of the old set holds, and then all of the new
/// one: gates and agreements change in one step.
fn enforce(core: &Core, front: Option<&Front>, policy: &Arc<Policy>) -> Result<(), StoreError> {
    let mut deciding = core.deciding();
    let members = core.store.members()?;
    for member in &members {
        if member.state.is_measured() && !is_judged(core, member, policy)? {
            judge_by(core, member, policy)?;
        }
    }
    let agreements = Arc::clone(&policy.agreements);
    let prepared = front.map(|front| Ok((front, front.prepare(core, agreements)?))).transpose()?;
    gates::decide_by(core, &mut deciding, &members, policy, |decisions| {
        core.policy.store(Some(Arc::clone(policy)));
        match prepared {
            Some((front, prepared)) => front.switch(prepared, decisions),
            None => {
                core.gates.set_all(decisions);
            }
        }
    })
}

/// Whether the member's latest assessment is of its latest evidence and this set.
fn is_judged(core: &Core, member: &Member, policy: &Policy) -> Result<bool, StoreError> {
    let evidence = core.store.latest_evidence(&member.ods)?;
    let latest = core.store.recent_assessments(&member.ods, 1)?;
    Ok(match (evidence, latest.first()) {
        (Some(evidence), Some(latest)) => {
            latest.policy_hash == policy.set.hash() && latest.evidence_hash == evidence.hash
        }
        _ => false,
    })
}

/// Decides the member's gates after its directory was measured. A pass may have begun under the set before, or elsewhere with another:
/// what it found is held against the set in force then, so that no gate closes for that alone.
pub fn decide_measured(core: &Core, ods: &OdsCode) -> Result<(), StoreError> {
    let latest = core.store.recent_assessments(ods, 1)?;
    let policy = core.policy.load_full();
    let other = |policy: &Arc<Policy>| latest.first().is_some_and(|l| l.policy_hash != policy.set.hash());
    if policy.as_ref().is_some_and(other)
        && let Some(member) = core.store.member(ods)?
    {
        judge_one(core, &member)?;
    }
    gates::decide_one(core, ods)
}

/// Holds the member's latest evidence against the set in force, when it has any: after an exception or the set changed.
pub fn judge_one(core: &Core, member: &Member) -> Result<(), StoreError> {
    match core.policy.load_full() {
        Some(policy) => judge_by(core, member, &policy),
        None => Ok(()),
    }
}

fn judge_by(core: &Core, member: &Member, policy: &Policy) -> Result<(), StoreError> {
    let Some(record) = core.store.latest_evidence(&member.ods)? else { return Ok(()) };
    let evidence = match Evidence::read(record.document.open()) {
        Ok(evidence) => evidence,
        Err(error) => {
            tracing::error!(member = %member.ods, %error, "the latest evidence cannot be read");
            return Ok(());
        }
    };
    let granted = core.store.exceptions(Some(&member.ods))?;
    let now = core.clock.now();
    let assessment = match judge(&policy.set, member.profile.as_deref(), &evidence, &granted, now) {
        Ok(assessment) => assessment,
        Err(error) => {
            tracing::error!(member = %member.ods, %error, "the latest evidence cannot be judged");
            return Ok(());
        }
    };
    let record = AssessmentRecord {
        id: assessment.id.clone(),
        member: member.ods.clone(),
        assessed_at: assessment.assessed_at,
        policy_hash: assessment.policy_hash.clone(),
        evidence_hash: assessment.evidence_hash.clone(),
        document: assessment.to_json(),
    };
    let audit = NewAudit {
        at: now,
        actor: "gateway".to_owned(),
        action: "assessment.judged_again".to_owned(),
        member: Some(member.ods.clone()),
        detail: serde_json::json!({ "assessment": record.id, "policy": record.policy_hash }),
    };
    core.store.put_assessment(&record, &audit)
}
