use proptest::prelude::*;
use time::macros::datetime;

use super::*;
use crate::baseline::assessment::{Denial, ExceptionNote, Finding, GrantVerdict, Verdict};
use crate::policy::terms::{Severity, Stage};

const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);
const DAY: i64 = 86_400;

fn assessment(age: i64, evidence: &str, denials: &[(&str, i64)]) -> Assessment {
    let denials: Vec<Denial> = denials
        .iter()
        .map(|(control, grace)| Denial {
            control: (*control).to_owned(),
            title: String::new(),
            severity: Severity::High,
            verdict: Verdict::Fail,
            grace: *grace,
            reason: format!("{control} fails"),
        })
        .collect();
    let verdict = GrantVerdict { would_open: denials.is_empty(), denials };
    let at = NOW - Duration::seconds(age);
    Assessment {
        id: format!("a-{evidence}"),
        member: "RXA".parse().unwrap(),
        baseline: "national".into(),
        revision: "1".into(),
        profile: None,
        policy_hash: "p".into(),
        evidence_hash: evidence.to_owned(),
        collected_at: at,
        assessed_at: at,
        attestations: Vec::new(),
        findings: Vec::new(),
        grants: Grant::ALL.into_iter().map(|grant| (grant, verdict.clone())).collect(),
        maturity: 5,
        score: 1_000,
    }
}

struct Case {
    membership: Membership,
    policy: Option<&'static str>,
    assessments: Vec<(Assessment, bool)>,
    previous: BTreeMap<Grant, GateState>,
    denied_since: BTreeMap<String, OffsetDateTime>,
    now: OffsetDateTime,
}

impl Case {
    fn of(assessments: Vec<Assessment>, previous: GateState) -> Case {
        Case {
            membership: Membership::Federated,
            policy: Some("p"),
            assessments: assessments.into_iter().map(|a| (a, true)).collect(),
            previous: Grant::ALL.into_iter().map(|g| (g, previous)).collect(),
            denied_since: BTreeMap::new(),
            now: NOW,
        }
    }

    fn decide(&self) -> GateOutcome {
        let member: OdsCode = "RXA".parse().unwrap();
        let assessed: Vec<Assessed<'_>> = self
            .assessments
            .iter()
            .map(|(assessment, evidence_valid)| Assessed { assessment, evidence_valid: *evidence_valid })
            .collect();
        decide(&GateInput {
            member: &member,
            membership: self.membership,
            policy_hash: self.policy,
            assessments: &assessed,
            settings: GateSettings { reopen_after: 2, evidence_valid_for: DAY },
            previous: &self.previous,
            denied_since: &self.denied_since,
            now: self.now,
        })
    }

    fn state(&self) -> (GateState, String) {
        let outcome = self.decide();
        let decision = &outcome.grants[&Grant::Lookup];
        (decision.state, decision.reasons[0].code.clone())
    }
}

#[test]
fn closing_is_immediate_and_opening_is_not() {
    let open = Case::of(vec![assessment(0, "2", &[("x", 0)]), assessment(60, "1", &[])], GateState::Open);
    assert_eq!(open.state(), (GateState::Closed, "control".into()));
    let once = Case::of(vec![assessment(0, "3", &[]), assessment(60, "2", &[("x", 0)])], GateState::Closed);
    assert_eq!(once.state(), (GateState::Closed, "reopening".into()));
    let twice = Case::of(vec![assessment(0, "4", &[]), assessment(60, "3", &[])], GateState::Closed);
    assert_eq!(twice.state(), (GateState::Open, "clean".into()));
    let same = Case::of(vec![assessment(0, "4", &[]), assessment(0, "4", &[])], GateState::Closed);
    assert_eq!(same.state(), (GateState::Closed, "reopening".into()), "the same evidence counts once");
}

#[test]
fn a_grace_holds_a_passing_gate_until_it_ends_and_opens_none() {
    let mut case = Case::of(vec![assessment(0, "1", &[("x", DAY)])], GateState::Open);
    let until = NOW + Duration::DAY;
    assert_eq!(case.state(), (GateState::Held { until }, "grace".into()));
    case.denied_since = BTreeMap::from([("x".to_owned(), NOW - Duration::DAY)]);
    assert_eq!(case.state(), (GateState::Closed, "control".into()));
    case.denied_since.clear();
    case.previous.clear();
    assert_eq!(case.state(), (GateState::Closed, "control".into()));
}

#[test]
fn a_grace_runs_on_while_nothing_can_be_told() {
    let mut case = Case::of(vec![assessment(2 * DAY, "1", &[("x", DAY)])], GateState::Open);
    case.denied_since = BTreeMap::from([("x".to_owned(), NOW - Duration::HOUR)]);
    let outcome = case.decide();
    assert_eq!(outcome.grants[&Grant::Sync].reasons[0].code, "stale_evidence");
    assert_eq!(outcome.denied_since, case.denied_since);
}

#[test]
fn officers_policies_and_exceptions() {
    let mut case = Case::of(vec![assessment(0, "2", &[]), assessment(60, "1", &[])], GateState::Open);
    case.membership = Membership::Suspended;
    assert_eq!(case.state(), (GateState::Closed, "suspended".into()));
    case.membership = Membership::Approved;
    assert_eq!(case.state(), (GateState::Closed, "membership".into()));
    case.membership = Membership::Piloting;
    assert_eq!(case.state().0, GateState::Open);
    case.policy = None;
    assert_eq!(case.state(), (GateState::Closed, "policy".into()));
    case.policy = Some("other");
    assert_eq!(case.state(), (GateState::Closed, "policy".into()));
    case.policy = Some("p");
    case.assessments[0].1 = false;
    assert_eq!(case.state(), (GateState::Closed, "broken_evidence".into()));
    case.assessments.clear();
    assert_eq!(case.state(), (GateState::Closed, "no_evidence".into()));
}

/// With a control set aside until a time.
fn excepted(assessment: Assessment, until: OffsetDateTime) -> Assessment {
    let finding = Finding {
        control: "x".into(),
        title: String::new(),
        theme: String::new(),
        severity: Severity::High,
        stage: Stage::Enforce,
        enforce_from: None,
        verdict: Verdict::Excepted,
        explanation: Vec::new(),
        offenders: Vec::new(),
        failing: 0,
        excepted: 0,
        judged: 1,
        exception: Some(ExceptionNote {
            owner: String::new(),
            reason: String::new(),
            compensating_control: String::new(),
            approver: String::new(),
            until,
        }),
        stated: Vec::new(),
        why: String::new(),
        fix: String::new(),
        references: BTreeMap::new(),
    };
    Assessment { findings: vec![finding], ..assessment }
}

#[test]
fn an_exception_that_ended_closes_and_leaves_no_grace() {
    let until = NOW + Duration::HOUR;
    let clean = excepted(assessment(0, "2", &[]), until);
    let mut case = Case::of(vec![clean], GateState::Open);
    let open = case.decide();
    assert_eq!(open.grants[&Grant::Sync].state, GateState::Open);
    assert_eq!(open.grants[&Grant::Sync].valid_until, Some(until));
    // nobody judged again yet
    case.now = until;
    assert_eq!(case.state(), (GateState::Closed, EXCEPTION_ENDED.into()));
    // somebody did: what it covered had its time
    case.assessments = vec![(assessment(-3_600, "2", &[("x", 14 * DAY)]), true)];
    case.denied_since = open.denied_since;
    assert_eq!(case.state(), (GateState::Closed, "control".into()));
    // mended and failing anew, it has a grace again
    case.denied_since.clear();
    assert!(matches!(case.state().0, GateState::Held { .. }));
}

fn any_assessment() -> impl Strategy<Value = (Assessment, bool)> {
    let denial = prop_oneof![Just(("x", 0)), Just(("y", DAY)), Just(("z", 10 * DAY))];
    (-DAY..3 * DAY, "[1-4]", prop::collection::vec(denial, 0..3), prop::bool::weighted(0.8))
        .prop_map(|(age, evidence, denials, valid)| (assessment(age, &evidence, &denials), valid))
}

fn any_state() -> impl Strategy<Value = GateState> {
    prop_oneof![
        Just(GateState::Open),
        Just(GateState::Closed),
        Just(GateState::Held { until: NOW + Duration::HOUR })
    ]
}

proptest! {
    #[test]
    fn never_open_without_cause(
        assessments in prop::collection::vec(any_assessment(), 0..4),
        membership in prop::sample::select(Membership::ALL.to_vec()),
        policy in prop::sample::select(vec![None, Some("p"), Some("q")]),
        previous in any_state(),
        since in -20 * DAY..DAY,
    ) {
        let mut case = Case::of(Vec::new(), previous);
        case.assessments = assessments;
        case.membership = membership;
        case.policy = policy;
        case.denied_since = BTreeMap::from([("y".to_owned(), NOW + Duration::seconds(since))]);
        let outcome = case.decide();
        for grant in Grant::ALL {
            let decision = &outcome.grants[&grant];
            prop_assert!(!decision.reasons.is_empty());
            if !decision.state.passes() {
                prop_assert!(decision.valid_until.is_none());
                continue;
            }
            prop_assert!(membership.may_federate());
            prop_assert_eq!(policy, Some("p"));
            let (newest, valid) = &case.assessments[0];
            prop_assert!(*valid);
            let age = (NOW - newest.collected_at).whole_seconds();
            prop_assert!((-300..DAY).contains(&age));
            let denials = &newest.grants[&grant].denials;
            prop_assert!(denials.iter().all(|d| d.grace > 0), "a denial without grace closes");
            prop_assert!(denials.is_empty() || previous.passes(), "a grace opens nothing");
            prop_assert!(decision.valid_until.is_some_and(|until| until > NOW));
            if let GateState::Held { until } = decision.state {
                prop_assert!(until > NOW && until <= NOW + Duration::days(10));
            }
        }
    }
}
