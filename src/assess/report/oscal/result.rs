//! One assessment as one result.

use crate::assess::report::closings::Closing;
use crate::assess::report::count::failing;
use crate::assess::report::oscal::identity::{NAMESPACE, line, markup, moment, objective, token, uuid};
use crate::assess::report::oscal::model::{
    Actor, Assets, Characterization, Component, Definitions, Facet, Finding, Mitigation, Observation,
    Observed, Origin, Outcome, Platform, Property, Related, Relevant, Remediation, Reviewed, Risk, Selected,
    Selection, State, Status, Subject, Target, Uses,
};
use crate::assess::report::oscal::told::{Audience, NAMED, decided, details, fix, follows, other, seen};
use crate::baseline::assessment::{self, Assessment, Verdict};
use crate::policy::terms::{Grant, OdsCode};

/// An assessment, and for whom it is written.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    pub assessment: &'a Assessment,
    /// When its findings close gates.
    pub closings: &'a [Closing],
    pub audience: Audience<'a>,
}

impl Told<'_> {
    /// Of something of this assessment, in documents for these readers.
    pub fn uuid(&self, kind: &str, control: &str) -> String {
        uuid(&[self.audience.as_str(), "assessment", &self.assessment.id, kind, control])
    }

    fn denied(&self, control: &str) -> Vec<Grant> {
        let grants = self.assessment.grants.iter();
        let denied = grants.filter(|(_, v)| v.denials.iter().any(|d| d.control == control));
        denied.map(|(grant, _)| *grant).collect()
    }
}

/// A property of ours.
pub fn property(name: &'static str, value: &str) -> Property {
    Property { name, ns: NAMESPACE, value: line(value), class: None }
}

/// The member, in every document.
pub fn party(member: &OdsCode) -> String {
    uuid(&["member", member.as_str()])
}

/// The evidence document, in every document.
pub fn evidence(assessment: &Assessment) -> String {
    uuid(&["evidence", &assessment.evidence_hash])
}

/// The whole result.
pub fn outcome(told: &Told<'_>) -> Outcome {
    let it = told.assessment;
    let counts = Verdict::ALL.map(|verdict| format!("{} {verdict}", it.count(verdict))).join(", ");
    let applies = |f: &&assessment::Finding| f.verdict != Verdict::NotApplicable;
    let fails =
        |f: &&assessment::Finding| matches!(f.verdict, Verdict::Fail | Verdict::Unknown | Verdict::Excepted);
    Outcome {
        uuid: told.uuid("result", ""),
        title: markup(&format!("{} against {} {}", it.member, it.baseline, it.revision)),
        description: format!("{} controls: {counts}.", it.findings.len()),
        start: moment(it.collected_at),
        end: moment(it.assessed_at),
        props: props(it),
        local_definitions: definitions(&it.member),
        reviewed_controls: reviewed(it),
        observations: it
            .findings
            .iter()
            .filter(|f| observed(told, f))
            .map(|f| observation(told, f))
            .collect(),
        risks: it.findings.iter().filter(fails).map(|f| risk(told, f)).collect(),
        findings: it.findings.iter().filter(applies).map(|f| finding(told, f)).collect(),
    }
}

fn props(it: &Assessment) -> Vec<Property> {
    let mut out = vec![
        property("member", it.member.as_str()),
        property("baseline", &it.baseline),
        property("revision", &it.revision),
        property("assessment-id", &it.id),
        property("evidence-hash", &it.evidence_hash),
        property("policy-hash", &it.policy_hash),
        property("maturity", &it.maturity.to_string()),
        property("score", &it.score.to_string()),
    ];
    out.extend(it.profile.as_ref().map(|profile| property("profile", profile)));
    let of = |name, value: String, class: &str| Property {
        class: Some(class.to_owned()),
        ..property(name, &value)
    };
    out.extend(Verdict::ALL.map(|verdict| of("count", it.count(verdict).to_string(), verdict.as_str())));
    let grants = it.grants.iter();
    out.extend(
        grants.map(|(grant, verdict)| of("would-open", verdict.would_open.to_string(), grant.as_str())),
    );
    out
}

fn program() -> String {
    uuid(&["program"])
}

fn definitions(member: &OdsCode) -> Definitions {
    let component = |uuid, kind, title, description| Component {
        uuid,
        kind,
        title,
        description,
        status: State { state: "operational" },
    };
    let directory = component(
        uuid(&["directory", member.as_str()]),
        "service",
        format!("Active Directory of {member}"),
        "The directory that was measured, all of its domain controllers together.",
    );
    let tool = component(
        program(),
        "software",
        "Portcullis".to_owned(),
        "The directory federation gateway: it collects evidence read-only and judges it by the policy set.",
    );
    Definitions {
        components: vec![directory],
        assessment_assets: Assets {
            components: vec![tool],
            assessment_platforms: vec![Platform {
                uuid: uuid(&["platform"]),
                title: "Portcullis",
                uses_components: vec![Uses { component_uuid: program() }],
            }],
        },
    }
}

fn origin() -> Origin {
    Origin { actors: vec![Actor { kind: "tool", actor_uuid: program() }] }
}

fn reviewed(it: &Assessment) -> Reviewed {
    let those = |applies: bool| {
        let mine = it.findings.iter().filter(move |f| (f.verdict != Verdict::NotApplicable) == applies);
        mine.map(|f| Selected { control_id: token(&f.control) }).collect()
    };
    let selection = Selection {
        description: "Included are the controls that apply; excluded are those that were looked at and do not apply.",
        include_controls: those(true),
        exclude_controls: those(false),
    };
    Reviewed { control_selections: vec![selection] }
}

fn verdicts(finding: &assessment::Finding) -> Vec<Property> {
    let stage = finding.stage.to_string();
    let mut out = vec![
        property("verdict", finding.verdict.as_str()),
        property("severity", finding.severity.as_str()),
        property("stage", &stage),
    ];
    out.extend(finding.stated.iter().map(|subject| property("stated", subject)));
    out
}

/// What passes everywhere would make a document over all members as large again, and says no more than its finding.
fn observed(told: &Told<'_>, finding: &assessment::Finding) -> bool {
    told.audience.is_member() || finding.verdict != Verdict::Pass
}

fn observation(told: &Told<'_>, finding: &assessment::Finding) -> Observation {
    let it = told.assessment;
    let mut props = verdicts(finding);
    props.push(property("judged", &finding.judged.to_string()));
    props.push(property("offenders", &failing(finding).to_string()));
    if finding.excepted > 0 {
        props.push(property("offenders-excepted", &finding.excepted.to_string()));
    }
    let mut relevant = vec![Relevant {
        href: Some(format!("#{}", evidence(it))),
        description: "The evidence document, by its hash.".to_owned(),
        props: vec![property("evidence-hash", &it.evidence_hash)],
        remarks: None,
    }];
    match told.audience {
        Audience::Member => relevant.extend(details(finding)),
        Audience::Nation(keyed) if !finding.offenders.is_empty() => {
            props.push(property("offenders-hash", &keyed.of_all(&it.member, &finding.offenders)));
            let each = finding.offenders.iter().take(NAMED);
            props.extend(each.map(|offender| property("offender-hash", &keyed.of(&it.member, offender))));
        }
        Audience::Nation(_) => {}
    }
    let satisfied = matches!(finding.verdict, Verdict::Pass | Verdict::NotApplicable);
    Observation {
        uuid: told.uuid("observation", &finding.control),
        title: markup(&finding.title),
        description: seen(finding),
        props,
        // what was stated was looked at, not tried
        methods: if finding.stated.is_empty() { vec!["TEST"] } else { vec!["EXAMINE"] },
        types: if satisfied { vec!["control-objective"] } else { vec!["control-objective", "finding"] },
        origins: vec![origin()],
        subjects: vec![Subject { subject_uuid: uuid(&["directory", it.member.as_str()]), kind: "component" }],
        relevant_evidence: relevant,
        collected: moment(it.collected_at),
    }
}

fn risk(told: &Told<'_>, finding: &assessment::Finding) -> Risk {
    let control = &finding.control;
    let note = finding.exception.as_ref();
    let excepted = finding.verdict == Verdict::Excepted;
    let dated = told.closings.iter().filter(|c| c.control == *control).filter_map(|c| c.at).min();
    let deadline = dated.or_else(|| note.filter(|_| excepted).map(|note| note.until));
    let instead = note.filter(|_| told.audience.is_member()).map(|note| Mitigation {
        uuid: told.uuid("mitigation", control),
        description: markup(&note.compensating_control),
    });
    // the policies say it once for everybody
    let remediation = fix(finding).filter(|_| told.audience.is_member()).map(|fix| Remediation {
        uuid: told.uuid("remediation", control),
        lifecycle: "recommendation",
        title: "Fix".to_owned(),
        description: fix,
    });
    let facet = Facet { name: "severity", system: NAMESPACE, value: finding.severity.as_str() };
    Risk {
        uuid: told.uuid("risk", control),
        title: markup(&finding.title),
        description: markup(&finding.why),
        statement: follows(finding, &told.denied(control), told.audience),
        props: verdicts(finding),
        status: if excepted { "deviation-approved" } else { "open" },
        origins: vec![origin()],
        characterizations: vec![Characterization { origin: origin(), facets: vec![facet] }],
        mitigating_factors: instead.into_iter().collect(),
        deadline: deadline.map(moment),
        remediations: remediation.into_iter().collect(),
        related_observations: vec![Observed { observation_uuid: told.uuid("observation", control) }],
    }
}

fn finding(told: &Told<'_>, finding: &assessment::Finding) -> Finding {
    let control = &finding.control;
    let (state, reason) = match finding.verdict {
        Verdict::Pass => ("satisfied", "pass"),
        Verdict::Fail => ("not-satisfied", "fail"),
        Verdict::Unknown | Verdict::Excepted | Verdict::NotApplicable => ("not-satisfied", "other"),
    };
    let mut props = verdicts(finding);
    props.extend(finding.enforce_from.map(|from| property("enforce-from", &moment(from))));
    props.extend(told.denied(control).iter().map(|grant| property("denies", grant.as_str())));
    let risk = (state != "satisfied").then(|| Related { risk_uuid: told.uuid("risk", control) });
    let seen =
        observed(told, finding).then(|| Observed { observation_uuid: told.uuid("observation", control) });
    Finding {
        uuid: told.uuid("finding", control),
        title: markup(&finding.title),
        description: decided(finding, told.audience),
        props,
        origins: vec![origin()],
        target: Target {
            kind: "objective-id",
            target_id: objective(control),
            status: Status { state, reason, remarks: other(finding, told.audience) },
        },
        related_observations: seen.into_iter().collect(),
        related_risks: risk.into_iter().collect(),
    }
}
