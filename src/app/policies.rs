//! Loads policy documents and keeps the last good set.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use crate::app::core::{Core, Policy};
use crate::app::gates;
use crate::assess::judge::judge;
use crate::baseline::compile;
use crate::baseline::facts::Evidence;
use crate::policy::fault::Fault;
use crate::policy::set::PolicySet;
use crate::release::agreement::Agreements;
use crate::store::audit::NewAudit;
use crate::store::error::StoreError;
use crate::store::member::Member;
use crate::store::record::AssessmentRecord;

/// Why there is no good set, for `/readyz`.
const PART: &str = "policy";
/// More faults than this are not logged one by one.
const FAULTS_TOLD: usize = 20;

/// Reads and checks every document below `folder`, or gives all faults.
pub fn read(folder: &Path) -> Result<Policy, Vec<Fault>> {
    let set = PolicySet::load(folder)?;
    let mut faults = compile::check(&set);
    let agreements = Agreements::compile(set.releases.values());
    match agreements {
        Ok(agreements) if faults.is_empty() => {
            Ok(Policy { set: Arc::new(set), agreements: Arc::new(agreements) })
        }
        Ok(_) => Err(faults),
        Err(more) => {
            faults.extend(more);
            Err(faults)
        }
    }
}

/// What came of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The documents say what they said before.
    Unchanged,
    /// A new set is in force.
    Changed,
    /// The documents have faults; the last good set stays, or none.
    Refused,
}

/// Reads the documents again. A set that does not check changes nothing and is told loudly.
pub fn reload(core: &Core) -> Reload {
    match read(&core.config.policies) {
        Ok(policy) => {
            core.metrics.policy_good.set(1);
            core.health.clear(PART);
            *core.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let before = core.policy.load();
            if before.as_ref().is_some_and(|before| before.set.hash() == policy.set.hash()) {
                return Reload::Unchanged;
            }
            core.metrics.policy_loads.with_label_values(&["done"]).inc();
            tracing::info!(
                hash = policy.set.hash(),
                controls = policy.set.controls.len(),
                "policy set in force"
            );
            if let Err(error) = enforce(core, policy) {
                gates::block(core, "store", &error.to_string());
            }
            Reload::Changed
        }
        Err(faults) => {
            refuse(core, &faults);
            Reload::Refused
        }
    }
}

/// Tells the faults, once for as long as they stay the same.
fn refuse(core: &Core, faults: &[Fault]) {
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
    if core.policy.load().is_some() {
        tracing::error!(faults = count, "the policy documents have faults: the last good set stays in force");
    } else {
        core.health.fail(PART, format!("{count} faults in the policy documents and no good set loaded"));
        tracing::error!(faults = count, "the policy documents have faults: every gate is closed");
    }
    *told = Some(text);
}

/// Puts a new set in force: every member's latest evidence is held against it and its gates are decided, with nobody deciding
/// in between, so that no gate moves for the change of the set alone.
fn enforce(core: &Core, policy: Policy) -> Result<(), StoreError> {
    let mut deciding = core.deciding();
    core.policy.store(Some(Arc::new(policy)));
    for member in core.store.members()? {
        if member.state.is_measured() && !is_judged(core, &member)? {
            judge_one(core, &member)?;
        }
        gates::decide_member(core, &mut deciding, &member)?;
    }
    Ok(())
}

/// Whether the member's latest assessment is of its latest evidence and the set in force.
fn is_judged(core: &Core, member: &Member) -> Result<bool, StoreError> {
    let Some(policy) = core.policy.load_full() else { return Ok(false) };
    let evidence = core.store.latest_evidence(&member.ods)?;
    let latest = core.store.recent_assessments(&member.ods, 1)?;
    Ok(match (evidence, latest.first()) {
        (Some(evidence), Some(latest)) => {
            latest.policy_hash == policy.set.hash() && latest.evidence_hash == evidence.hash
        }
        _ => false,
    })
}

/// Holds the member's latest evidence against the set in force, when it has any: after an exception or the set changed.
pub fn judge_one(core: &Core, member: &Member) -> Result<(), StoreError> {
    let Some(policy) = core.policy.load_full() else { return Ok(()) };
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
