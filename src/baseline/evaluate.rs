//! One baseline applied to one evidence document.

use time::OffsetDateTime;

use crate::baseline::assessment::Assessment;
use crate::baseline::compile::Compiled;
use crate::baseline::facts::Evidence;
use crate::policy::documents::Exception;

/// Judges `evidence`. Exceptions of other members and those not in force at `now` are ignored.
pub fn evaluate(
    baseline: &Compiled,
    evidence: &Evidence,
    exceptions: &[Exception],
    now: OffsetDateTime,
) -> Assessment {
    let _ = (baseline, exceptions);
    Assessment {
        id: String::new(),
        member: evidence.member.clone(),
        baseline: String::new(),
        revision: String::new(),
        profile: None,
        policy_hash: String::new(),
        evidence_hash: evidence.hash.clone(),
        collected_at: evidence.collected_at,
        assessed_at: now,
        findings: Vec::new(),
        grants: std::collections::BTreeMap::new(),
        maturity: 1,
        score: 0,
    }
}
