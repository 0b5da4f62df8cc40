//! One assessment from end to end: measure, sign, keep, judge, keep, tell.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::ambient::clock::Clock;
use crate::assess::collect::collect;
use crate::assess::error::AssessError;
use crate::assess::judge::{compile, judge};
use crate::assess::metrics::Metrics;
use crate::assess::settings::Settings;
use crate::assess::target::Target;
use crate::baseline::assessment::{Assessment, Verdict};
use crate::baseline::facts::{Evidence, Fact, Facts};
use crate::policy::set::PolicySet;
use crate::policy::terms::OdsCode;
use crate::secret::signing::Signer;
use crate::store::audit::NewAudit;
use crate::store::error::StoreError;
use crate::store::member::Member;
use crate::store::packed::Packed;
use crate::store::port::Store;
use crate::store::record::{AssessmentRecord, EvidenceRecord, ExceptionRecord};

/// Gives the policy set that is in force now, when one is.
pub type Policies = Arc<dyn Fn() -> Option<Arc<PolicySet>> + Send + Sync>;
/// Told of every assessment after it was kept: whoever decides the gates. It runs on a thread that may block.
pub type OnAssessed = Arc<dyn Fn(&Member, &Assessed) + Send + Sync>;

/// What came of it.
#[derive(Debug, Clone)]
pub struct Assessed {
    pub evidence: Evidence,
    pub assessment: Assessment,
}

/// Everything that an assessment needs. Cheap to clone.
#[derive(Clone)]
pub struct Assessor {
    pub store: Arc<dyn Store>,
    pub policies: Policies,
    pub signer: Arc<Signer>,
    pub settings: Settings,
    pub clock: Clock,
    /// Who does it, for the audit: `gateway`, or a person at the command line.
    pub actor: String,
    pub metrics: Option<Metrics>,
    pub on_assessed: Option<OnAssessed>,
}

impl fmt::Debug for Assessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assessor").field("actor", &self.actor).finish_non_exhaustive()
    }
}

impl Assessor {
    /// Assesses one member now.
    pub async fn assess(&self, ods: &OdsCode) -> Result<Assessed, AssessError> {
        self.assess_within(ods, self.settings.pass_timeout()).await
    }

    /// Assesses one member now. What is not found out within `allotted` is not known.
    pub async fn assess_within(&self, ods: &OdsCode, allotted: Duration) -> Result<Assessed, AssessError> {
        let began = Instant::now();
        if let Some(metrics) = &self.metrics {
            metrics.running.inc();
        }
        let outcome = self.run(ods, allotted).await;
        if let Some(metrics) = &self.metrics {
            metrics.running.dec();
            let word = if outcome.is_ok() { "done" } else { "error" };
            metrics.assessments.with_label_values(&[word]).inc();
            metrics.seconds.with_label_values(&[word]).observe(began.elapsed().as_secs_f64());
            if let Ok(assessed) = &outcome {
                count_missing(metrics, &assessed.evidence.facts);
            }
        }
        match &outcome {
            Ok(assessed) => tracing::info!(
                member = %ods,
                assessment = assessed.assessment.id,
                failed = assessed.assessment.count(Verdict::Fail),
                unknown = assessed.assessment.count(Verdict::Unknown),
                milliseconds = began.elapsed().as_millis(),
                "member assessed"
            ),
            Err(AssessError::Stopping) => {
                tracing::info!(member = %ods, "an assessment was given up: the gateway stops")
            }
            Err(error) => {
                tracing::error!(member = %ods, party = %error.party(), %error, "member not assessed")
            }
        }
        outcome
    }

    async fn run(&self, ods: &OdsCode, allotted: Duration) -> Result<Assessed, AssessError> {
        let member = self.member(ods).await?;
        let target = Target::of(&member)?;
        let set = (self.policies)().ok_or(AssessError::NoPolicy)?;
        let compiled = compile(&set, member.profile.as_deref(), ods)?;
        let evidence = collect(&target, compiled.requirements(), &self.settings, &self.clock, allotted).await;
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.keep(&member, &set, evidence)).await?
    }

    async fn member(&self, ods: &OdsCode) -> Result<Member, AssessError> {
        let (store, key) = (Arc::clone(&self.store), ods.clone());
        let member = tokio::task::spawn_blocking(move || store.member(&key))
            .await??
            .ok_or_else(|| AssessError::NoMember(ods.clone()))?;
        if member.state.is_measured() { Ok(member) } else { Err(AssessError::NotMeasured(ods.clone())) }
    }

    /// Chains, signs and keeps the evidence, judges it, keeps the assessment, and tells.
    fn keep(&self, member: &Member, set: &PolicySet, evidence: Evidence) -> Result<Assessed, AssessError> {
        let mut granted = self.store.exceptions(Some(&member.ods))?;
        let mut assessed = self.judge_and_keep(member, set, evidence, &granted)?;
        loop {
            self.put(member, &assessed.assessment)?;
            // one that was withdrawn while this was judged must not come back with it
            let since = self.store.exceptions(Some(&member.ods))?;
            if since == granted {
                break;
            }
            let (profile, now) = (member.profile.as_deref(), self.clock.now());
            assessed.assessment = judge(set, profile, &assessed.evidence, &since, now)?;
            granted = since;
        }
        if let Some(tell) = &self.on_assessed {
            tell(member, &assessed);
        }
        Ok(assessed)
    }

    fn put(&self, member: &Member, assessment: &Assessment) -> Result<(), AssessError> {
        let record = AssessmentRecord {
            id: assessment.id.clone(),
            member: member.ods.clone(),
            assessed_at: assessment.assessed_at,
            policy_hash: assessment.policy_hash.clone(),
            evidence_hash: assessment.evidence_hash.clone(),
            document: assessment.to_json(),
        };
        Ok(self.store.put_assessment(&record, &self.audit(assessment))?)
    }

    /// The evidence is packed while it is judged. The command line may assess the same member at the same time: then the chain moved on,
    /// and we join its end.
    fn judge_and_keep(
        &self,
        member: &Member,
        set: &PolicySet,
        mut evidence: Evidence,
        granted: &[ExceptionRecord],
    ) -> Result<Assessed, AssessError> {
        const TRIES: u32 = 5;
        let mut tried = 0;
        loop {
            evidence.previous = self.store.latest_evidence(&evidence.member)?.map(|record| record.hash);
            evidence = sign(evidence, &self.signer);
            let now = self.clock.now();
            let (document, assessment) = both(
                || Packed::by(|out| evidence.write(out)),
                || judge(set, member.profile.as_deref(), &evidence, granted, now),
            );
            let record = EvidenceRecord {
                member: evidence.member.clone(),
                hash: evidence.hash.clone(),
                previous: evidence.previous.clone(),
                collected_at: evidence.collected_at,
                document: document?,
            };
            match self.store.put_evidence(&record) {
                Ok(()) => return Ok(Assessed { assessment: assessment?, evidence }),
                Err(StoreError::Conflict(_)) if tried < TRIES => tried += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn audit(&self, assessment: &Assessment) -> NewAudit {
        NewAudit {
            at: assessment.assessed_at,
            actor: self.actor.clone(),
            action: "assessment.made".to_owned(),
            member: Some(assessment.member.clone()),
            detail: json!({
                "assessment": assessment.id,
                "evidence": assessment.evidence_hash,
                "policy": assessment.policy_hash,
                "pass": assessment.count(Verdict::Pass),
                "fail": assessment.count(Verdict::Fail),
                "unknown": assessment.count(Verdict::Unknown),
                "excepted": assessment.count(Verdict::Excepted),
            }),
        }
    }
}

/// Does both at the same time, each on a thread.
fn both<A: Send, B>(one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        match one.join() {
            Ok(one) => (one, other),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// The document sealed and signed with the gateway's key.
pub fn sign(evidence: Evidence, signer: &Signer) -> Evidence {
    let evidence = evidence.sealed();
    let signature = signer.sign(evidence.signed_bytes());
    evidence.signed(&signature)
}

fn count_missing(metrics: &Metrics, facts: &Facts) {
    for (name, record) in &facts.records {
        let missing =
            record.values().filter(|f| matches!(f, Fact::Failed(_) | Fact::NotCollected(_))).count();
        metrics.missing.with_label_values(&[name]).inc_by(u64::try_from(missing).unwrap_or(u64::MAX));
    }
    for (name, collection) in &facts.collections {
        let incomplete = collection.complete != Fact::boolean(true);
        metrics.missing.with_label_values(&[name]).inc_by(u64::from(incomplete));
    }
}
