//! Runs the tests that policies bring along.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use time::OffsetDateTime;
use time::macros::datetime;

use crate::baseline::assessment::{Assessment, Finding, Verdict};
use crate::baseline::attestation::Attestation;
use crate::baseline::catalogue::Catalogue;
use crate::baseline::compile::Compiled;
use crate::baseline::document::SCHEMA;
use crate::baseline::evaluate::evaluate;
use crate::baseline::facts::{Collection, Evidence, Fact, Facts, Record};
use crate::baseline::literal;
use crate::baseline::records::{RecordRef, Records};
use crate::baseline::value::Type;
use crate::policy::documents::{Exception, PolicyTest};
use crate::policy::fault::{Fault, Place, Placed};
use crate::policy::set::PolicySet;
use crate::policy::source::{Content, Node};
use crate::policy::terms::OdsCode;

/// The time at which inline facts are collected and judged unless a test says otherwise.
pub const COLLECTED: OffsetDateTime = datetime!(2026-11-01 00:00 UTC);
/// The key of a record that is like one of the test before.
const LIKE: &str = "like";
/// How deep tests may build on one another.
const LIKE_MAX: usize = 8;

/// What one test gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    pub name: String,
    pub place: Place,
    /// What came out otherwise than expected; empty when the test holds.
    pub failures: Vec<String>,
    /// Why it was not run: what it starts from is not at hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// In how many tests a control of some baseline is expected to do what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cases {
    pub control: String,
    pub pass: usize,
    pub fail: usize,
    pub unknown: usize,
}

/// What all tests gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trial {
    pub outcomes: Vec<Outcome>,
    /// Controls of some baseline that no test expects to pass.
    pub without_pass: Vec<String>,
    /// Controls of some baseline that no test expects to fail.
    pub without_fail: Vec<String>,
    /// Every control of some baseline.
    pub coverage: Vec<Cases>,
}

/// Gives the evidence that was recorded in a file of the policy folder.
pub type Recorded<'a> = &'a dyn Fn(&str) -> Result<Evidence, String>;

impl Trial {
    /// Whether every test holds.
    pub fn holds(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.failures.is_empty())
    }
}

/// Runs every test of a set that needs nothing but the set.
///
/// # Errors
/// All faults of the tests themselves and of the baselines that they use.
pub fn run(set: &PolicySet) -> Result<Trial, Vec<Fault>> {
    run_with(set, None)
}

/// Runs every test of a set, those with recorded evidence, too.
///
/// # Errors
/// As [`run`], and evidence that cannot be read.
pub fn run_with(set: &PolicySet, recorded: Option<Recorded<'_>>) -> Result<Trial, Vec<Fault>> {
    let catalogue = Catalogue::of(set);
    let mut compiled: BTreeMap<(String, Option<String>), Compiled> = BTreeMap::new();
    let (mut faults, mut outcomes) = (Vec::new(), Vec::new());
    let mut cases: BTreeMap<&str, Cases> =
        set.baselines.values().flat_map(|b| &b.controls).map(|id| (id.as_str(), Cases::of(id))).collect();
    for test in &set.tests {
        let Some(key) = baseline_of(set, test) else { continue };
        if !compiled.contains_key(&key) {
            match Compiled::compile(set, &key.0, key.1.as_deref()) {
                Ok(baseline) => {
                    compiled.insert(key.clone(), baseline);
                }
                Err(more) => {
                    faults.extend(more);
                    continue;
                }
            }
        }
        let start = match (&test.recorded, recorded) {
            (None, _) => None,
            (Some(path), None) => {
                outcomes.push(skipped(test, &path.value));
                continue;
            }
            (Some(path), Some(read)) => match read(&beside(&path.at, &path.value)) {
                Ok(evidence) => Some(evidence),
                Err(reason) => {
                    faults.push(Fault::new(&path.at, format!("`{}` cannot be used: {reason}", path.value)));
                    continue;
                }
            },
        };
        let facts = start.as_ref().map(|evidence| evidence.facts.clone()).unwrap_or_default();
        let facts = match given(set, &catalogue, test, facts, LIKE_MAX) {
            Ok(facts) => facts,
            Err(more) => {
                faults.extend(more);
                continue;
            }
        };
        count(&mut cases, test);
        if let Some(baseline) = compiled.get(&key) {
            outcomes.push(outcome(baseline, test, start, facts));
        }
    }
    if !faults.is_empty() {
        return Err(set.illustrated(faults));
    }
    let coverage: Vec<Cases> = cases.into_values().collect();
    let lacking = |of: fn(&Cases) -> usize| {
        coverage.iter().filter(|cases| of(cases) == 0).map(|cases| cases.control.clone()).collect()
    };
    let (without_pass, without_fail) = (lacking(|cases| cases.pass), lacking(|cases| cases.fail));
    Ok(Trial { outcomes, without_pass, without_fail, coverage })
}

impl Cases {
    fn of(control: &str) -> Cases {
        Cases { control: control.to_owned(), ..Cases::default() }
    }
}

fn count(cases: &mut BTreeMap<&str, Cases>, test: &PolicyTest) {
    for (name, expected) in &test.verdicts {
        let Some(cases) = cases.get_mut(name.value.as_str()) else { continue };
        match expected.verdict.as_str() {
            "pass" => cases.pass += 1,
            "fail" => cases.fail += 1,
            "unknown" => cases.unknown += 1,
            _ => {}
        }
    }
}

fn skipped(test: &PolicyTest, path: &str) -> Outcome {
    let why = format!("the recorded evidence `{path}` is not part of a set");
    Outcome { name: test.name.clone(), place: test.at.clone(), failures: Vec::new(), skipped: Some(why) }
}

/// A file beside the one in which `at` is, below the policy folder.
fn beside(at: &Place, path: &str) -> String {
    match at.file.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{path}"),
        None => path.to_owned(),
    }
}

/// Faults of the tests' facts, for `policy check`.
pub fn check(set: &PolicySet) -> Vec<Fault> {
    let catalogue = Catalogue::of(set);
    let faults =
        set.tests.iter().filter_map(|test| given(set, &catalogue, test, Facts::default(), LIKE_MAX).err());
    set.illustrated(faults.flatten().collect())
}

fn baseline_of(set: &PolicySet, test: &PolicyTest) -> Option<(String, Option<String>)> {
    let profile = test.profile.as_ref().map(|p| p.value.clone());
    let named = test.baseline.as_ref().map(|b| b.value.clone());
    let extended = profile.as_ref().and_then(|id| set.profiles.get(id)).map(|p| p.extends.value.clone());
    let only = || set.baselines.keys().next().cloned();
    named.or(extended).or_else(only).map(|baseline| (baseline, profile))
}

/// The facts that a test gives, over those that it starts from; those of the test that it is like come first.
fn given(
    set: &PolicySet,
    catalogue: &Catalogue,
    test: &PolicyTest,
    mut facts: Facts,
    depth: usize,
) -> Result<Facts, Vec<Fault>> {
    if let Some(like) = &test.like {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(vec![Fault::new(&like.at, "tests are like one another in a circle")]);
        };
        if let Some(other) = set.tests.iter().find(|t| t.name == like.value) {
            if other.recorded.is_some() {
                let fault = Fault::new(&like.at, format!("`{}` starts from recorded evidence", like.value));
                return Err(vec![fault.hint("start from the same `evidence` in place of `like`")]);
            }
            facts = given(set, catalogue, other, Facts::default(), depth)?;
        }
    }
    let mut faults = Vec::new();
    for (name, node) in &test.given {
        if let Err(mut more) = give(catalogue, name, node, &mut facts) {
            faults.append(&mut more);
        }
    }
    if faults.is_empty() { Ok(facts) } else { Err(faults) }
}

fn give(
    catalogue: &Catalogue,
    name: &Placed<String>,
    node: &Node,
    facts: &mut Facts,
) -> Result<(), Vec<Fault>> {
    if let Some(known) = catalogue.collections.get(&name.value) {
        let kinds: BTreeMap<&str, &Type> = known.iter().map(|(k, v)| (k.as_str(), &v.kind)).collect();
        let none = Records::default();
        let known = facts.collections.get(&name.value).map_or(&none, |c| &c.records);
        let collection = collection(&name.value, &kinds, node, known)?;
        facts.collections.insert(name.value.clone(), collection);
        return Ok(());
    }
    match catalogue.records.get(&name.value) {
        Some(known) => {
            facts.set(&name.value, fact(node, &known.kind).map_err(|fault| vec![fault])?);
            Ok(())
        }
        None => {
            let names = catalogue.records.keys().chain(catalogue.collections.keys()).map(String::as_str);
            let fault = Fault::absent(&name.at, format!("there is no fact `{}`", name.value));
            Err(vec![fault.nearest(&name.value, names)])
        }
    }
}

/// A list of records, or `{ records: [...], complete: false }`. `known` are the records of the test that this one is like.
fn collection(
    name: &str,
    kinds: &BTreeMap<&str, &Type>,
    node: &Node,
    known: &Records,
) -> Result<Collection, Vec<Fault>> {
    let (mut list, mut complete) = (Some(node), Fact::boolean(true));
    if let Content::Map(entries) = &node.content {
        list = None;
        for (key, value) in entries {
            match key.value.as_str() {
                "records" => list = Some(value),
                "complete" => complete = fact(value, &Type::Boolean).map_err(|fault| vec![fault])?,
                other => {
                    let fault = Fault::new(&key.at, format!("a collection has no key `{other}`"));
                    return Err(vec![fault.nearest(other, ["records", "complete"])]);
                }
            }
        }
    }
    let Some(Node { content: Content::List(items), .. }) = list else {
        let message = format!("`{name}` is a collection: give it a list of records");
        return Err(vec![Fault::new(&node.at, message)]);
    };
    let mut faults = Vec::new();
    let records = items.iter().map(|item| record(name, kinds, item, known, &mut faults)).collect();
    if faults.is_empty() { Ok(Collection { records, complete }) } else { Err(faults) }
}

/// A map of facts. `like: NAME` starts from the known record of that name.
fn record(
    name: &str,
    kinds: &BTreeMap<&str, &Type>,
    node: &Node,
    known: &Records,
    faults: &mut Vec<Fault>,
) -> Record {
    let Content::Map(entries) = &node.content else {
        faults.push(Fault::new(&node.at, "a record is a map of facts"));
        return Record::new();
    };
    let mut record = Record::new();
    if let Some((_, like)) = entries.iter().find(|(key, _)| key.value == LIKE) {
        let wanted = like.scalar().unwrap_or_default();
        let name_of = |r: RecordRef<'_>| r.fact("name").known().map(ToString::to_string);
        let names = || known.iter().filter_map(name_of);
        match known.iter().find(|found| name_of(*found).as_deref() == Some(wanted)) {
            Some(found) => record = found.to_record(),
            None => {
                let fault = Fault::new(&like.at, format!("`{name}` has no record `{wanted}` to be like"));
                let names: Vec<String> = names().collect();
                faults.push(fault.nearest(wanted, names.iter().map(String::as_str)));
            }
        }
    }
    for (key, value) in entries.iter().filter(|(key, _)| key.value != LIKE) {
        match kinds.get(key.value.as_str()).map(|kind| fact(value, kind)) {
            Some(Ok(fact)) => {
                record.insert(key.value.clone(), fact);
            }
            Some(Err(fault)) => faults.push(fault),
            None => {
                let fault = Fault::new(&key.at, format!("records of `{name}` have no fact `{}`", key.value));
                faults.push(fault.nearest(&key.value, kinds.keys().copied().chain([LIKE])));
            }
        }
    }
    record
}

/// A value, or `{ state: absent | hidden | failed | not-collected }`.
fn fact(node: &Node, kind: &Type) -> Result<Fact, Fault> {
    let Content::Map(entries) = &node.content else { return literal::value(node, kind).map(Fact::Known) };
    let states = ["absent", "hidden", "failed", "not-collected"];
    match entries.as_slice() {
        [(key, value)] if key.value == "state" => match value.scalar() {
            Some("absent") => Ok(Fact::Absent),
            Some("hidden") => Ok(Fact::Hidden),
            Some("failed") => Ok(Fact::Failed("the test says so".into())),
            Some("not-collected") => Ok(Fact::NotCollected("the test says so".into())),
            other => {
                let other = other.unwrap_or_default();
                Err(Fault::new(&value.at, format!("`{other}` is no state of a fact")).nearest(other, states))
            }
        },
        _ => Err(Fault::new(&node.at, "a value or `{ state: ... }` is expected here")),
    }
}

fn outcome(baseline: &Compiled, test: &PolicyTest, start: Option<Evidence>, facts: Facts) -> Outcome {
    let collected = start.as_ref().map_or(COLLECTED, |evidence| evidence.collected_at);
    let now = test.now.unwrap_or(collected);
    let mut failures = Vec::new();
    let evidence = match start {
        Some(evidence) => Some(Evidence { facts, ..evidence }.sealed()),
        None => trial_evidence(facts, baseline),
    };
    match evidence {
        Some(evidence) => {
            let exceptions: Vec<Exception> =
                test.excepted.iter().map(|control| excepted(&control.value, &evidence.member, now)).collect();
            compare(&evaluate(baseline, &evidence, &exceptions, now), test, &mut failures);
        }
        None => failures.push("the evidence could not be made".to_owned()),
    }
    Outcome { name: test.name.clone(), place: test.at.clone(), failures, skipped: None }
}

fn trial_evidence(facts: Facts, compiled: &Compiled) -> Option<Evidence> {
    let member: OdsCode = "TEST0".parse().ok()?;
    // what a test gives as stated was stated then
    let statements = &compiled.requirements().statements;
    let given = statements.iter().filter(|(subject, _)| facts.get(subject) == Fact::boolean(true));
    let stated = given.map(|(subject, statement)| Attestation {
        member: member.clone(),
        subject: subject.clone(),
        statement: statement.text.clone(),
        by: "policy test".to_owned(),
        note: None,
        signed_at: COLLECTED,
        until: COLLECTED + statement.at_most,
        key: String::new(),
        signature: String::new(),
        unregistered: false,
    });
    let attestations = stated.collect();
    let evidence = Evidence {
        schema: SCHEMA,
        member,
        collected_at: COLLECTED,
        collector: "policy test".into(),
        controllers: Vec::new(),
        facts,
        provenance: Vec::new(),
        attestations,
        previous: None,
        hash: String::new(),
        signature: String::new(),
    };
    Some(evidence.sealed())
}

fn excepted(control: &str, member: &OdsCode, now: OffsetDateTime) -> Exception {
    Exception {
        at: Place::nowhere(),
        control: control.to_owned(),
        member: member.clone(),
        objects: Vec::new(),
        owner: "test".into(),
        reason: "test".into(),
        compensating_control: "test".into(),
        approver: "test".into(),
        from: now,
        until: now.checked_add(time::Duration::DAY).unwrap_or(now),
    }
}

fn compare(assessment: &Assessment, test: &PolicyTest, failures: &mut Vec<String>) {
    for (name, expected) in &test.verdicts {
        let Some(finding) = assessment.finding(&name.value) else {
            failures.push(format!("the baseline does not judge `{}`", name.value));
            continue;
        };
        if finding.verdict.as_str() != expected.verdict {
            let why = finding.explanation.first();
            let why = why
                .map_or(String::new(), |r| format!(": {} is {}, required {}", r.fact, r.found, r.required));
            failures
                .push(format!("{} is {}, expected {}{why}", name.value, finding.verdict, expected.verdict));
        }
        if let Some(severity) = expected.severity.filter(|severity| *severity != finding.severity) {
            failures.push(format!("{} is {}, expected {severity}", name.value, finding.severity));
        }
        if let Some(wanted) = &expected.offenders {
            let wanted: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
            let found: BTreeSet<&str> = finding.offenders.iter().map(|o| o.name.as_str()).collect();
            if wanted != found {
                failures.push(format!("{} names {found:?}, expected {wanted:?}", name.value));
            }
        }
    }
    for (grant, open) in &test.grants {
        let verdict = assessment.grants.get(grant);
        if verdict.is_some_and(|v| v.would_open) != open.value {
            let why = match verdict {
                None => format!("the baseline does not say what `{grant}` requires"),
                Some(_) if !open.value => undenied(assessment),
                Some(verdict) => {
                    verdict.denials.iter().map(|d| d.reason.as_str()).collect::<Vec<_>>().join("; ")
                }
            };
            let word = if open.value { "open" } else { "closed" };
            failures.push(format!("`{grant}` is not {word}: {why}"));
        }
    }
}

/// Why nothing denies a grant: no control fails, or those that do not pass do not decide.
fn undenied(assessment: &Assessment) -> String {
    const TOLD: usize = 5;
    let bad = |f: &&Finding| matches!(f.verdict, Verdict::Fail | Verdict::Unknown | Verdict::Excepted);
    let told: Vec<String> = assessment
        .findings
        .iter()
        .filter(bad)
        .map(|f| {
            let from = f.enforce_from.map(|from| format!(" until {}", from.date())).unwrap_or_default();
            format!("{} is {} ({}, stage {}{from})", f.control, f.verdict, f.severity, f.stage)
        })
        .collect();
    let more = match told.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    match told.len() {
        0 => "nothing denies it, every control passes or does not apply".to_owned(),
        _ => {
            format!("nothing denies it; {}{more}", told.into_iter().take(TOLD).collect::<Vec<_>>().join("; "))
        }
    }
}

/// How many findings have each verdict, for a line of text.
pub fn counts(assessment: &Assessment) -> Vec<(Verdict, usize)> {
    Verdict::ALL.into_iter().map(|verdict| (verdict, assessment.count(verdict))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::source::Source;

    const POLICY: &str = r#"
kind: Baseline
id: x
title: X
owner: o
revision: 1
stage: enforce
include: [x.yaml]
grants: { lookup: { deny_on: critical }, sync: { deny_on: critical } }
evidence_valid_for: 24h
---
kind: Controls
controls:
  - { id: chain, title: T, severity: critical, stage: warn, enforce_from: 2027-01-01, require: { tls.chain_valid: true },
      why: w, fix: f }
---
kind: PolicyTest
name: t
given: { tls.chain_valid: false }
expect: { chain: fail, grants: { lookup: closed } }
---
kind: PolicyTest
name: u
given: { tls.chain_valid: true }
expect: { grants: { sync: closed } }
"#;

    #[test]
    fn a_grant_that_stays_open_says_why() {
        let (set, faults) = PolicySet::from_sources(&[Source::inline("x.yaml", POLICY)]);
        assert_eq!(faults, []);
        let trial = run(&set).unwrap();
        let said: Vec<&str> = trial.outcomes.iter().map(|outcome| outcome.failures[0].as_str()).collect();
        let expected = [
            "`lookup` is not closed: nothing denies it; chain is fail (critical, stage warn until 2027-01-01)",
            "`sync` is not closed: nothing denies it, every control passes or does not apply",
        ];
        assert_eq!(said, expected);
    }
}
