use proptest::prelude::*;
use time::macros::datetime;

use super::*;
use crate::baseline::document::SCHEMA;
use crate::baseline::facts::{Collection, Fact, Facts, Record};
use crate::policy::fault::Place;
use crate::policy::set::PolicySet;
use crate::policy::source::Source;
use crate::policy::terms::{Grant, OdsCode};

const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

const POLICY: &str = r#"
kind: Baseline
id: x
title: X
owner: o
revision: 1
stage: enforce
include: [x.yaml]
grants:
  lookup: { deny_on: critical }
  sync: { deny_on: [critical, high], grace: { high: 14d } }
evidence_valid_for: 24h
---
kind: Facts
facts:
  - name: users
    read: { base: "{domain}", scope: subtree }
    attributes:
      card: { from: userAccountControl, type: flag, flag: 0x40000 }
      enabled: { from: userAccountControl, type: no_flag, flag: 0x2 }
---
kind: Controls
controls:
  - { id: chain, title: T, severity: critical, require: { tls.chain_valid: true }, why: w, fix: f }
  - { id: cards, title: T, severity: high, for_each: users, where: { enabled: true }, require: { card: true },
      tolerate: { at_most: 1 }, why: w, fix: f }
  - { id: share, title: T, severity: low, for_each: users, where: { enabled: true }, require: { card: true },
      tolerate: { at_most: 50% }, why: w, fix: f }
  - { id: few, title: T, severity: low, for_each: users, where: { enabled: true }, count: { at_most: 2 }, why: w, fix: f }
  - { id: later, title: T, severity: critical, stage: warn, enforce_from: 2026-12-01, require: { tls.chain_valid: true },
      why: w, fix: f }
  - { id: borne, title: T, severity: critical, enforce_unknown_from: 2026-12-01, require: { tls.chain_valid: true },
      why: w, fix: f }
"#;

fn compiled() -> Compiled {
    let (set, faults) = PolicySet::from_sources(&[Source::inline("x.yaml", POLICY)]);
    assert_eq!(faults, []);
    Compiled::compile(&set, "x", None).unwrap()
}

fn member() -> OdsCode {
    "RXA".parse().unwrap()
}

fn user(name: &str, card: Fact, enabled: Fact) -> Record {
    Record::from([
        ("name".to_owned(), Fact::text(name)),
        ("dn".to_owned(), Fact::text(format!("CN={name}"))),
        ("card".to_owned(), card),
        ("enabled".to_owned(), enabled),
    ])
}

fn evidence(chain: Fact, users: Vec<Record>, complete: Fact) -> Evidence {
    let mut facts = Facts::default();
    facts.set("tls.chain_valid", chain);
    facts.collections.insert("users".to_owned(), Collection { records: users.into(), complete });
    sealed(facts)
}

fn sealed(facts: Facts) -> Evidence {
    let evidence = Evidence {
        schema: SCHEMA,
        member: member(),
        collected_at: NOW,
        collector: "test".into(),
        controllers: Vec::new(),
        facts,
        provenance: Vec::new(),
        attestations: Vec::new(),
        previous: None,
        hash: String::new(),
        signature: String::new(),
    };
    evidence.sealed()
}

fn exception(control: &str, objects: &[&str]) -> Exception {
    Exception {
        at: Place::nowhere(),
        control: control.into(),
        member: member(),
        objects: objects.iter().map(|o| (*o).to_owned()).collect(),
        owner: "o".into(),
        reason: "r".into(),
        compensating_control: "c".into(),
        approver: "p".into(),
        from: datetime!(2026-11-01 00:00 UTC),
        until: datetime!(2026-12-01 00:00 UTC),
    }
}

fn verdict(assessment: &Assessment, control: &str) -> Verdict {
    assessment.finding(control).unwrap().verdict
}

fn yes() -> Fact {
    Fact::boolean(true)
}

fn no() -> Fact {
    Fact::boolean(false)
}

#[test]
fn a_denial_says_what_was_found_and_where_it_is_required() {
    let assessment = evaluate(&compiled(), &evidence(no(), vec![], yes()), &[], NOW);
    let finding = assessment.finding("chain").unwrap();
    let reason = &finding.explanation[0];
    assert_eq!(
        (reason.fact.as_str(), reason.found.as_str(), reason.required.as_str()),
        ("tls.chain_valid", "false", "true")
    );
    assert!(reason.place.line > 1 && &*reason.place.file == "x.yaml");
    assert!(!assessment.grants[&Grant::Lookup].would_open);
    assert_eq!(finding.severity, Severity::Critical);
    assert_eq!(assessment.finding("later").unwrap().stage, Stage::Warn);
    let after = evaluate(&compiled(), &evidence(no(), vec![], yes()), &[], datetime!(2026-12-02 00:00 UTC));
    assert_eq!(after.finding("later").unwrap().stage, Stage::Enforce);
}

#[test]
fn what_could_not_be_told_may_be_borne_for_a_while_and_what_fails_is_not() {
    let judged = |fact: Fact, now: OffsetDateTime| {
        let assessment = evaluate(&compiled(), &evidence(fact, vec![], yes()), &[], now);
        let finding = assessment.finding("borne").unwrap();
        let denied = assessment.grants[&Grant::Lookup].denials.iter().any(|denial| denial.control == "borne");
        (finding.verdict, finding.stage, finding.enforce_from.is_some(), denied)
    };
    let (later, failed) = (datetime!(2026-12-01 00:00 UTC), Fact::Failed("x".into()));
    assert_eq!(judged(failed.clone(), NOW), (Verdict::Unknown, Stage::Warn, true, false));
    assert_eq!(judged(failed, later), (Verdict::Unknown, Stage::Enforce, false, true));
    assert_eq!(judged(no(), NOW), (Verdict::Fail, Stage::Enforce, false, true));
    assert_eq!(judged(yes(), NOW), (Verdict::Pass, Stage::Enforce, false, false));
}

#[test]
fn offenders_tolerance_and_exceptions() {
    let users = || {
        vec![user("a", no(), yes()), user("b", no(), yes()), user("c", yes(), yes()), user("d", no(), no())]
    };
    let assessment = evaluate(&compiled(), &evidence(yes(), users(), yes()), &[], NOW);
    let finding = assessment.finding("cards").unwrap();
    let names: Vec<&str> = finding.offenders.iter().map(|o| o.name.as_str()).collect();
    assert_eq!((finding.verdict, finding.judged, names), (Verdict::Fail, 3, vec!["a", "b"]));
    assert_eq!(verdict(&assessment, "share"), Verdict::Fail);
    assert_eq!(verdict(&assessment, "few"), Verdict::Fail);
    assert_eq!(assessment.grants[&Grant::Sync].denials[0].grace, 14 * 86_400);
    assert!(assessment.grants[&Grant::Lookup].would_open);

    let one = evaluate(&compiled(), &evidence(yes(), users(), yes()), &[exception("cards", &["cn=A"])], NOW);
    assert_eq!(verdict(&one, "cards"), Verdict::Excepted);
    let whole = evaluate(&compiled(), &evidence(yes(), users(), yes()), &[exception("cards", &[])], NOW);
    assert_eq!(verdict(&whole, "cards"), Verdict::Excepted);
    assert!(whole.grants[&Grant::Sync].would_open);
    let late = datetime!(2026-12-01 00:00 UTC);
    let over = evaluate(&compiled(), &evidence(yes(), users(), yes()), &[exception("cards", &[])], late);
    assert_eq!(verdict(&over, "cards"), Verdict::Fail);
    // granted before the policy forbade it
    let mut strict = compiled();
    strict.controls.iter_mut().for_each(|control| control.exceptions = Exceptions::Forbidden);
    for objects in [&[][..], &["cn=A", "cn=B"]] {
        let exceptions = [exception("cards", objects)];
        let judged = evaluate(&strict, &evidence(yes(), users(), yes()), &exceptions, NOW);
        assert_eq!(verdict(&judged, "cards"), Verdict::Fail);
    }
}

#[test]
fn offenders_beyond_the_first_are_counted() {
    let users: Vec<Record> = (0..NAMED + 50).map(|n| user(&format!("u{n}"), no(), yes())).collect();
    let evidence = evidence(yes(), users, yes());
    let excepted = [exception("cards", &["u3", &format!("u{}", NAMED + 2)])];
    let assessment = evaluate(&compiled(), &evidence, &excepted, NOW);
    let finding = assessment.finding("cards").unwrap();
    assert_eq!((finding.offenders.len(), finding.failing, finding.excepted), (NAMED, 1_050, 2));
    assert_eq!(finding.verdict, Verdict::Fail);
    let reason = &assessment.grants[&Grant::Sync].denials[0].reason;
    // logs and the audit have it: no name of anybody, and nothing of what was found
    assert_eq!(reason, "cards (high) 1048 of 1050 fail: users.card, required is true");
    let all = evaluate_naming(&compiled(), &evidence, &excepted, NOW, usize::MAX);
    assert_eq!(all.finding("cards").unwrap().offenders.len(), 1_050);
    assert_eq!((all.score, &all.grants), (assessment.score, &assessment.grants));
    let few = assessment.finding("share").unwrap();
    assert_eq!((few.failing, few.excepted), (1_050, 0));
}

#[test]
fn a_read_that_was_cut_off_fails_but_never_passes() {
    let cut = || Fact::Failed("cut off".into());
    let few = evaluate(&compiled(), &evidence(yes(), vec![user("a", yes(), yes())], cut()), &[], NOW);
    for control in ["cards", "share", "few"] {
        assert_eq!(verdict(&few, control), Verdict::Unknown, "{control}");
    }
    let bad: Vec<Record> = (0..3).map(|n| user(&n.to_string(), no(), yes())).collect();
    let bad = evaluate(&compiled(), &evidence(yes(), bad, cut()), &[], NOW);
    assert_eq!(verdict(&bad, "cards"), Verdict::Fail);
    assert_eq!(verdict(&bad, "few"), Verdict::Fail);
    assert_eq!(verdict(&bad, "share"), Verdict::Unknown, "the rest could be good");
}

#[test]
fn evidence_that_was_touched_is_told() {
    let good = evidence(yes(), vec![], yes());
    assert_eq!(Evidence::from_json(&good.to_json()).unwrap(), good);
    let text = String::from_utf8(good.to_json()).unwrap();
    let touched = text.replacen("\"chain_valid\":true", "\"chain_valid\":false", 1);
    assert_ne!(text, touched);
    assert!(Evidence::from_json(touched.as_bytes()).is_err());
    assert!(good.verify(&[0; 32], None).is_err(), "not signed");
}

fn any_fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        3 => Just(yes()),
        3 => Just(no()),
        1 => Just(Fact::Absent),
        1 => Just(Fact::Hidden),
        1 => Just(Fact::Failed("x".into())),
        1 => Just(Fact::NotCollected("x".into())),
        1 => Just(Fact::integer(1)),
    ]
}

/// Every way in which what is not known may turn out.
fn settle(fact: &Fact, with: bool) -> Fact {
    match fact {
        Fact::Known(crate::baseline::value::Value::Boolean(_)) | Fact::Absent => fact.clone(),
        _ => Fact::boolean(with),
    }
}

proptest! {
    /// What is said of incomplete knowledge stays true whatever the unknown turns out to be.
    #[test]
    fn verdicts_are_sound(
        chain in any_fact(),
        people in prop::collection::vec((any_fact(), any_fact()), 0..6),
        how in prop::collection::vec(any::<bool>(), 13),
    ) {
        let users = |settled: bool| -> Vec<Record> {
            people.iter().enumerate().map(|(n, (card, enabled))| {
                let (card, enabled) = if settled {
                    (settle(card, how[2 * n + 1]), settle(enabled, how[2 * n + 2]))
                } else {
                    (card.clone(), enabled.clone())
                };
                user(&n.to_string(), card, enabled)
            }).collect()
        };
        let policy = compiled();
        let first = evaluate(&policy, &evidence(chain.clone(), users(false), yes()), &[], NOW);
        let settled = evaluate(&policy, &evidence(settle(&chain, how[0]), users(true), yes()), &[], NOW);
        for (before, after) in first.findings.iter().zip(&settled.findings) {
            prop_assert_ne!(after.verdict, Verdict::Unknown);
            if before.verdict != Verdict::Unknown {
                prop_assert_eq!(before.verdict, after.verdict, "{}", before.control);
            }
        }
        let again = evaluate(&policy, &evidence(chain, users(false), yes()), &[], NOW);
        prop_assert_eq!(first.to_json(), again.to_json());
    }
}

const RIGHTS: &str = r#"
kind: Baseline
id: x
title: X
owner: o
revision: 1
stage: enforce
include: [x.yaml]
grants: { lookup: { deny_on: critical }, sync: { deny_on: [critical, high] } }
evidence_valid_for: 24h
---
kind: Controls
controls:
  - { id: rights, title: T, severity: critical, for_each: access_rights, where: { area: domain, principal_privileged: false },
      require: { rights: { contains_none: [replicate-changes-all] } }, why: w, fix: f }
  - { id: owners, title: T, severity: high, for_each: owners, require: { owner_privileged: true }, why: w, fix: f }
"#;

fn of_rights(rights: Fact, privileged: Fact, complete: Fact) -> Facts {
    let word = |text: &str| Fact::Known(crate::baseline::value::Value::Word(text.to_owned()));
    let record = Record::from([
        ("dn".to_owned(), Fact::Known(crate::baseline::value::Value::Dn("DC=x".to_owned()))),
        ("name".to_owned(), Fact::text("help on x")),
        ("area".to_owned(), word("domain")),
        ("principal_privileged".to_owned(), privileged),
        ("rights".to_owned(), rights),
    ]);
    let mut facts = Facts::default();
    facts
        .collections
        .insert("access_rights".to_owned(), Collection { records: vec![record].into(), complete });
    facts
}

fn rights_verdict(facts: Facts) -> (Verdict, String) {
    let (set, faults) = PolicySet::from_sources(&[Source::inline("x.yaml", RIGHTS)]);
    assert_eq!(faults, []);
    let compiled = Compiled::compile(&set, "x", None).unwrap();
    let evidence = sealed(facts);
    let first = evaluate(&compiled, &evidence, &[], NOW);
    let again = Evidence::from_json(&evidence.to_json()).unwrap();
    assert_eq!(again.to_json(), evidence.to_json());
    assert_eq!(evaluate(&compiled, &again, &[], NOW).to_json(), first.to_json());
    // owners were never collected, whatever became of the rights
    assert_eq!(first.finding("owners").unwrap().verdict, Verdict::Unknown);
    let finding = first.finding("rights").unwrap();
    (finding.verdict, finding.explanation.first().map_or_else(String::new, |reason| reason.found.clone()))
}

#[test]
fn recorded_rights_give_the_same_bytes_and_never_pass_unread() {
    let yes = || Fact::boolean(true);
    let no = || Fact::boolean(false);
    let of = |rights, privileged, complete| rights_verdict(of_rights(rights, privileged, complete));
    let bad = || Fact::set(["replicate-changes-all"]);
    let good = || Fact::set(["replicate-changes"]);
    assert_eq!(of(good(), no(), yes()).0, Verdict::Pass);
    assert_eq!(of(bad(), no(), yes()).0, Verdict::Fail);
    assert_eq!(of(bad(), yes(), yes()).0, Verdict::Pass);
    assert_eq!(of(Fact::Hidden, Fact::Hidden, yes()).0, Verdict::Unknown);
    let failed = Fact::Failed("the security descriptor is malformed".to_owned());
    assert_eq!(of(failed.clone(), failed, yes()).0, Verdict::Unknown);
    let cut = Fact::Failed("stopped at 20000".to_owned());
    assert_eq!(of(good(), no(), cut.clone()), (Verdict::Unknown, "stopped at 20000".to_owned()));
    // what was seen fails it, however much was not
    assert_eq!(of(bad(), no(), cut).0, Verdict::Fail);
}
