//! One baseline applied to one evidence document.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::baseline::assessment::{
    Assessment, Denial, ExceptionNote, Finding, GrantVerdict, Offender, Reason, Verdict,
};
use crate::baseline::compile::{Compiled, CompiledControl};
use crate::baseline::facts::{Evidence, Facts, hex};
use crate::baseline::judge::{Judgement, Naming, judge};
use crate::baseline::predicate::Miss;
use crate::baseline::stated;
use crate::baseline::truth::Truth;
use crate::policy::documents::{Exception, Exceptions, GrantRule, OnUnknown};
use crate::policy::read::attest::UNTIL;
use crate::policy::terms::{Severity, Stage};

/// Offenders that an assessment names of one finding: where all people of a domain offend against many controls it would otherwise
/// be larger than the evidence.
pub const NAMED: usize = 1_000;

/// Judges `evidence`. Exceptions of other members and those not in force at `now` are ignored. Of each finding the first [`NAMED`]
/// offenders are named.
pub fn evaluate(
    baseline: &Compiled,
    evidence: &Evidence,
    exceptions: &[Exception],
    now: OffsetDateTime,
) -> Assessment {
    evaluate_naming(baseline, evidence, exceptions, now, NAMED)
}

/// As [`evaluate`], naming the first `most` offenders of each finding.
pub fn evaluate_naming(
    baseline: &Compiled,
    evidence: &Evidence,
    exceptions: &[Exception],
    now: OffsetDateTime,
    most: usize,
) -> Assessment {
    evaluate_knowing(baseline, evidence, exceptions, now, most, &|_| None)
}

/// As [`evaluate_naming`]; what `known` has found of a control already, from the same evidence and exceptions at the same time, is not
/// judged again.
pub fn evaluate_knowing(
    baseline: &Compiled,
    evidence: &Evidence,
    exceptions: &[Exception],
    now: OffsetDateTime,
    most: usize,
    known: &dyn Fn(&CompiledControl) -> Option<Finding>,
) -> Assessment {
    let in_force: Vec<&Exception> =
        exceptions.iter().filter(|e| e.member == evidence.member && e.from <= now && now < e.until).collect();
    let facts = stated::in_force(baseline, evidence, now);
    let judged = Judged { evidence, facts: &facts };
    let findings: Vec<Finding> = baseline
        .controls
        .iter()
        .filter(|control| stage_at(control, baseline.stage, now) != Stage::Draft)
        .map(|control| {
            known(control).unwrap_or_else(|| finding(baseline, control, judged, &in_force, now, most))
        })
        .collect();
    let grants =
        baseline.grants.iter().map(|(grant, rule)| (*grant, grant_verdict(rule, &findings))).collect();
    let levels: BTreeMap<&str, u8> = baseline.controls.iter().map(|c| (c.id.as_str(), c.level)).collect();
    let mut assessment = Assessment {
        id: String::new(),
        member: evidence.member.clone(),
        baseline: baseline.id.clone(),
        revision: baseline.revision.clone(),
        profile: baseline.profile.clone(),
        policy_hash: baseline.policy_hash.clone(),
        evidence_hash: evidence.hash.clone(),
        collected_at: evidence.collected_at,
        assessed_at: now,
        maturity: maturity(&findings, &levels),
        score: score(&findings),
        attestations: stated::list(baseline, evidence, &facts),
        findings,
        grants,
    };
    let digest = hex(&Sha256::digest(assessment.to_json()));
    assessment.id = digest.chars().take(32).collect();
    assessment
}

/// What findings are made of.
#[derive(Clone, Copy)]
struct Judged<'a> {
    evidence: &'a Evidence,
    /// Those of the evidence, with what does not hold any more taken out.
    facts: &'a Facts,
}

/// A control that is announced becomes enforced on its day; it never goes beyond the stage of the baseline.
fn stage_at(control: &CompiledControl, ceiling: Stage, now: OffsetDateTime) -> Stage {
    match (control.stage, control.enforce_from) {
        (Stage::Warn, Some(from)) if from <= now => ceiling,
        (stage, _) => stage,
    }
}

/// The stage of a verdict, and the day that it rises. What could not be told may be borne longer than what fails.
fn stage_of(
    control: &CompiledControl,
    ceiling: Stage,
    verdict: Verdict,
    now: OffsetDateTime,
) -> (Stage, Option<OffsetDateTime>) {
    let (stage, from) = (stage_at(control, ceiling, now), control.enforce_from.filter(|from| now < *from));
    match control.enforce_unknown_from.filter(|until| now < *until && verdict == Verdict::Unknown) {
        Some(until) => (stage.min(Stage::Warn), from.max(Some(until))),
        None => (stage, from),
    }
}

fn finding(
    baseline: &Compiled,
    control: &CompiledControl,
    judged: Judged<'_>,
    exceptions: &[&Exception],
    now: OffsetDateTime,
    most: usize,
) -> Finding {
    // one that was granted before the policy forbade it no longer counts
    let allowed = control.exceptions == Exceptions::Allowed;
    let mine: Vec<&Exception> =
        exceptions.iter().copied().filter(|e| allowed && e.control == control.id).collect();
    let whole = mine.iter().find(|e| e.objects.is_empty());
    let covers = |name: &str, dn: &str| {
        let same = |object: &String| {
            let object = object.to_lowercase();
            (!name.is_empty() && object == name.to_lowercase())
                || (!dn.is_empty() && object == dn.to_lowercase())
        };
        mine.iter().any(|e| e.objects.iter().any(same))
    };
    let judgement = judge(control, judged.facts, now, &Naming { set_aside: &covers, most });
    let plain = match judgement.truth {
        None => Verdict::NotApplicable,
        Some(Truth::True) if judgement.set_aside > 0 => Verdict::Excepted,
        Some(Truth::True) => Verdict::Pass,
        Some(Truth::False) => Verdict::Fail,
        Some(Truth::Unknown) => Verdict::Unknown,
    };
    let verdict = match (plain, whole) {
        (Verdict::Fail | Verdict::Unknown, Some(_)) => Verdict::Excepted,
        _ => plain,
    };
    let note = match verdict {
        Verdict::Excepted => whole.or_else(|| mine.iter().min_by_key(|e| e.until)),
        _ if judgement.set_aside > 0 => mine.iter().min_by_key(|e| e.until),
        _ => None,
    };
    let (stage, enforce_from) = stage_of(control, baseline.stage, plain, now);
    let named = matches!(plain, Verdict::Fail | Verdict::Excepted | Verdict::Unknown);
    let failing = if named { judgement.failing } else { 0 };
    Finding {
        control: control.id.clone(),
        title: control.title.clone(),
        theme: control.theme.clone(),
        severity: judgement.severity,
        stage,
        enforce_from,
        verdict,
        explanation: explanation(control, &judgement, plain, judged),
        offenders: if named { offenders(&judgement, whole.is_some()) } else { Vec::new() },
        failing,
        excepted: if whole.is_some() { failing } else { failing.min(judgement.set_aside) },
        judged: judgement.judged,
        exception: note.map(|e| ExceptionNote {
            owner: e.owner.clone(),
            reason: e.reason.clone(),
            compensating_control: e.compensating_control.clone(),
            approver: e.approver.clone(),
            until: e.until,
        }),
        stated: control.stated.iter().cloned().collect(),
        why: control.why.clone(),
        fix: control.fix.clone(),
        references: control.references.clone(),
    }
}

/// Offenders are named for a failure and for what an exception covers, not for what is borne.
fn offenders(judgement: &Judgement, whole: bool) -> Vec<Offender> {
    let named = judgement.offenders.iter().map(|o| Offender {
        name: o.name.clone(),
        dn: o.dn.clone(),
        found: o.found.clone(),
        excepted: whole || o.set_aside,
    });
    named.collect()
}

fn explanation(
    control: &CompiledControl,
    judgement: &Judgement,
    verdict: Verdict,
    judged: Judged<'_>,
) -> Vec<Reason> {
    if matches!(verdict, Verdict::Pass | Verdict::NotApplicable) {
        return Vec::new();
    }
    let failing = judgement.misses.iter().filter(|m| m.truth == Truth::False);
    let unknown =
        judgement.misses.iter().filter(|m| m.truth == Truth::Unknown && verdict == Verdict::Unknown);
    failing.chain(unknown).map(|miss| reason(control, miss, judged)).collect()
}

fn reason(control: &CompiledControl, miss: &Miss, judged: Judged<'_>) -> Reason {
    let record = miss.fact.split('.').next().unwrap_or_default();
    // a probe that gives single facts of a record says so
    let given = |facts: &str| judged.evidence.provenance.iter().find(|p| p.facts == facts);
    let subject = control.stated.iter().find(|subject| {
        miss.fact.strip_prefix(subject.as_str()).is_some_and(|rest| rest.is_empty() || rest == UNTIL)
    });
    let from = match subject {
        Some(subject) => given(subject),
        None => given(&miss.fact).or_else(|| given(record)),
    };
    let provenance = from.map_or_else(String::new, |p| {
        let at = p.at.format(&Rfc3339).unwrap_or_default();
        match p.controller.as_str() {
            "" => format!("{}; checked at {at}", p.by),
            controller => format!("{} on {controller} at {at}", p.by),
        }
    });
    let found = subject.and_then(|_| stated::found(&judged.facts.get(&miss.fact)));
    Reason {
        fact: miss.fact.clone(),
        found: found.unwrap_or_else(|| miss.found.clone()),
        required: miss.required.clone(),
        place: miss.place.clone(),
        provenance,
    }
}

fn grant_verdict(rule: &GrantRule, findings: &[Finding]) -> GrantVerdict {
    let mut denials: Vec<Denial> = findings
        .iter()
        .filter(|f| f.stage == Stage::Enforce && rule.deny_on.contains(&f.severity))
        .filter_map(|f| {
            let grace = rule.grace.get(&f.severity).map_or(0, |g| g.whole_seconds());
            let grace = match (f.verdict, rule.unknown) {
                (Verdict::Fail, _) | (Verdict::Unknown, OnUnknown::Fail) => grace,
                (Verdict::Unknown, OnUnknown::Deny) => 0,
                _ => return None,
            };
            Some(Denial {
                control: f.control.clone(),
                title: f.title.clone(),
                severity: f.severity,
                verdict: f.verdict,
                grace,
                reason: denial_text(f),
            })
        })
        .collect();
    denials.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.control.cmp(&b.control)));
    GrantVerdict { would_open: denials.is_empty(), denials }
}

/// What a gate says of a finding, in logs and in the audit: names of the policy and counts. What was found is the member's alone, because
/// it names people.
fn denial_text(finding: &Finding) -> String {
    let what = match (finding.verdict, finding.failing.saturating_sub(finding.excepted)) {
        (Verdict::Unknown, _) => "could not be told".to_owned(),
        (_, 0) => "fails".to_owned(),
        (_, n) => format!("{n} of {} fail", finding.judged),
    };
    let fact =
        finding.explanation.first().map(|first| format!(": {}, required is {}", first.fact, first.required));
    format!("{} ({}) {what}{}", finding.control, finding.severity, fact.unwrap_or_default())
}

/// The lowest rung with a control that fails or is unknown; 5 when there is none.
fn maturity(findings: &[Finding], levels: &BTreeMap<&str, u8>) -> u8 {
    findings
        .iter()
        .filter(|f| matches!(f.verdict, Verdict::Fail | Verdict::Unknown))
        .filter_map(|f| levels.get(f.control.as_str()).copied())
        .min()
        .unwrap_or(5)
        .clamp(1, 5)
}

/// The weight of what passes in the weight of what applies, in thousandths. A failing control that ranges over records
/// earns up to half its weight by the share that holds, so that every fix moves the score.
fn score(findings: &[Finding]) -> u16 {
    let weight = |severity| match severity {
        Severity::Low => 1u64,
        Severity::Medium => 3,
        Severity::High => 10,
        Severity::Critical => 30,
    };
    let (mut earned, mut possible) = (0u64, 0u64);
    for finding in findings.iter().filter(|f| f.verdict != Verdict::NotApplicable) {
        let whole = weight(finding.severity) * 1_000;
        possible += whole;
        earned += match finding.verdict {
            Verdict::Pass => whole,
            Verdict::Fail if finding.judged > 0 && finding.failing > 0 => {
                whole * finding.judged.saturating_sub(finding.failing) / finding.judged / 2
            }
            _ => 0,
        };
    }
    let thousandths = (earned * 1_000).checked_div(possible).unwrap_or(0);
    u16::try_from(thousandths.min(1_000)).unwrap_or(1_000)
}

#[cfg(test)]
mod tests;
