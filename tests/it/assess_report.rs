//! What a report says beyond its findings: what to do first, when a gate closes, what changed, all from recorded evidence.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use portcullis::ambient::clock::Clock;
use portcullis::assess::judge::judge;
use portcullis::assess::run::sign;
use portcullis::baseline::document::SCHEMA;
use portcullis::baseline::facts::{Collection, Evidence, Fact, Facts, Record};
use portcullis::enrol::run::{self, By};
use portcullis::policy::set::PolicySet;
use portcullis::policy::terms::{Grant, Membership};
use portcullis::secret::reference::SecretReference;
use portcullis::secret::signing::Signer;
use portcullis::store::member::Member;
use portcullis::store::packed::Packed;
use portcullis::store::port::Store;
use portcullis::store::record::{AssessmentRecord, EvidenceRecord, GateRecord};
use portcullis::store::sqlite::store::SqliteStore;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::app_stage::{Stage, argument, secret};
use crate::store_conformance::{audit, gate_by, member, ods};

const THEN: OffsetDateTime = datetime!(2025-11-20 08:00 UTC);
pub const NOW: OffsetDateTime = datetime!(2025-11-24 12:00 UTC);

const BASELINE: &str = "\
kind: Baseline
id: national
title: A baseline with five controls
owner: tests@national.example
revision: 1.0.0
stage: enforce
parameters: {}
include: [controls.yaml]
grants:
  lookup: { deny_on: critical, unknown: deny }
  sync: { deny_on: [critical, high], grace: { high: 14d }, unknown: deny }
reopen_after: 1
evidence_valid_for: 1h
---
kind: Facts
facts:
  - name: users
    read: { base: '{domain}', scope: subtree, filter: '(objectCategory=person)' }
    attributes:
      card: { from: userAccountControl, type: flag, flag: 0x40000 }
";

pub const CONTROLS: &str = "\
kind: Controls
controls:
  - { id: tls-versions, title: TLS 1.2 and later only, severity: critical, why: Older ones can be broken.,
      fix: Switch them off., require: { tls.versions: { at_least: tls1.2 } } }
  - { id: cards, title: Everybody has a card, severity: high, for_each: users, require: { card: true }, why: w, fix: f }
  - { id: names, title: The certificate bears its name, severity: high, require: { tls.name_matches: true }, why: w, fix: f }
  - { id: later, title: The chain will count, severity: critical, stage: warn, enforce_from: 2027-04-01,
      require: { tls.chain_valid: true }, why: w, fix: f }
  - { id: 2nd-chance, title: Only where names differ, severity: low, when: { tls.name_matches: false },
      require: { tls.chain_valid: true }, why: w, fix: f }
";

/// A stage with these policies; `more` documents are added to them.
pub fn stage(more: &str) -> Stage {
    let stage = Stage::new("");
    stage.write("policies/baseline.yaml", &format!("{BASELINE}{more}"));
    stage.write("policies/controls.yaml", CONTROLS);
    stage
}

/// What was found of RXA: versions of TLS, whether the name matches, who has no card.
pub struct Found<'a> {
    pub versions: &'a [&'a str],
    pub name: Fact,
    pub without: &'a [&'a str],
}

/// Evidence of `code` at a time.
pub fn evidence(code: &str, at: OffsetDateTime, found: &Found<'_>) -> Evidence {
    let mut facts = Facts::default();
    facts.set("tls.versions", Fact::set(found.versions.iter().copied()));
    facts.set("tls.name_matches", found.name.clone());
    facts.set("tls.chain_valid", Fact::boolean(false));
    let record = |name: &str, card| {
        Record::from([
            ("name".to_owned(), Fact::text(name)),
            ("dn".to_owned(), Fact::text(format!("CN={name},OU=Staff,DC=rxa"))),
            ("card".to_owned(), Fact::boolean(card)),
        ])
    };
    let records = found.without.iter().map(|name| record(name, false)).chain([record("with.card", true)]);
    let users = Collection { records: records.collect(), complete: Fact::boolean(true) };
    facts.collections.insert("users".to_owned(), users);
    Evidence {
        schema: SCHEMA,
        member: ods(code),
        collected_at: at,
        collector: "test".into(),
        controllers: Vec::new(),
        facts,
        provenance: Vec::new(),
        attestations: Vec::new(),
        previous: None,
        hash: String::new(),
        signature: String::new(),
    }
}

pub const WEAK: Found<'_> =
    Found { versions: &["tls1.0"], name: Fact::Hidden, without: &["mabel.okoro", "ines.duarte"] };

pub fn file(stage: &Stage, name: &str, evidence: &Evidence) -> PathBuf {
    let evidence = sign(evidence.clone(), &Signer::ephemeral().unwrap());
    std::fs::write(stage.path(name), evidence.to_json()).unwrap();
    stage.path(name)
}

pub fn portcullis(stage: &Stage, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(arguments)
        .args(["--config", argument(&stage.path("portcullis.yaml")), "--actor", "officer"])
        .env_remove("PORTCULLIS_CONFIG")
        .output()
        .unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Keeps evidence of a member and its assessment, as a pass does.
pub fn keep(stage: &Stage, evidence: Evidence) -> String {
    let config = stage.config();
    let store = SqliteStore::open(&config.data_dir, &config.store).unwrap();
    let (code, at) = (evidence.member.clone(), evidence.collected_at);
    if store.member(&code).unwrap().is_none() {
        enrol(stage, &store, code.as_str());
    }
    let signer = Signer::load_or_create(&config.signing_key()).unwrap();
    let evidence = sign(
        Evidence { previous: store.latest_evidence(&code).unwrap().map(|e| e.hash), ..evidence },
        &signer,
    );
    let record = EvidenceRecord {
        member: code.clone(),
        hash: evidence.hash.clone(),
        previous: evidence.previous.clone(),
        collected_at: at,
        document: Packed::by(|out| evidence.write(out)).unwrap(),
    };
    store.put_evidence(&record).unwrap();
    let set = PolicySet::load(&config.policies).unwrap();
    let assessment = judge(&set, None, &evidence, &[], at).unwrap();
    let record = AssessmentRecord {
        id: assessment.id.clone(),
        member: code,
        assessed_at: at,
        policy_hash: assessment.policy_hash.clone(),
        evidence_hash: assessment.evidence_hash.clone(),
        document: assessment.to_json(),
    };
    store.put_assessment(&record, &audit("assessment.made")).unwrap();
    assessment.id
}

/// A member whose directory does not answer.
pub fn enrol(stage: &Stage, store: &dyn Store, code: &str) {
    secret(&stage.path("member.password"), "secret");
    let mut member = Member { profile: None, mail_domains: Default::default(), ..member(code) };
    member.connection.password = SecretReference::File(stage.path("member.password"));
    member.connection.anchors = std::fs::read_to_string(stage.path("ca.pem")).unwrap();
    member.connection.controllers[0].port = 9;
    let by = By { actor: "officer", reason: "because", now: Clock::system().now() };
    run::request(store, member, &by).unwrap();
    run::measured(store, &ods(code), &by).unwrap();
}

/// Lets a member that was measured federate.
pub fn federate(store: &dyn Store, code: &str) {
    let by = By { actor: "officer", reason: "because", now: Clock::system().now() };
    run::advance(store, &ods(code), Membership::Federated, &by).unwrap();
}

fn against(stage: &Stage, evidence: &Path, more: &[&str]) -> Output {
    let policy = stage.path("policies");
    let mut arguments = vec!["assess", "--evidence", argument(evidence), "--policy", argument(&policy)];
    arguments.extend(more);
    portcullis(stage, &arguments)
}

#[test]
fn a_report_begins_with_what_to_do_first_and_says_when_a_gate_closes() {
    let stage = stage("");
    let file = file(&stage, "evidence.json", &evidence("RXA", NOW, &WEAK));
    let done = against(&stage, &file, &["--html", argument(&stage.path("report.html"))]);
    let (said, html) = (text(&done.stdout), std::fs::read_to_string(stage.path("report.html")).unwrap());
    assert_eq!(done.status.code(), Some(1), "{said}");
    for line in [
        "fix tls-versions (critical): TLS 1.2 and later only; touches 1 object, denies lookup and sync",
        "then nothing denies lookup",
        "fix cards (high): Everybody has a card; touches 2 objects, denies sync",
        "make readable tls.name_matches (high): ",
        "then nothing denies sync, if what is read then holds",
        "closes sync on 2025-12-08 12:00 UTC, when its grace ends, unless it is mended",
        "closes lookup on 2027-04-01 00:00 UTC, when it is enforced, unless it is mended",
    ] {
        assert!(said.contains(line), "{line}: {said}");
        assert!(html.contains(line), "{line}: {html}");
    }
    let (first, findings) = (said.find("do first:").unwrap(), said.find("\nFAIL ").unwrap());
    assert!(first < findings, "{said}");
    assert!(html.find("Do first").unwrap() < html.find("<section").unwrap());

    let json: serde_json::Value =
        serde_json::from_slice(&against(&stage, &file, &["--json"]).stdout).unwrap();
    assert_eq!(json["member"], "RXA", "the assessment is still there");
    assert_eq!(json["first"][0]["controls"], serde_json::json!(["tls-versions"]));
    assert_eq!(json["first"][0]["opens"], serde_json::json!([{ "grant": "lookup", "certain": true }]));
    assert_eq!(json["first"][2]["todo"], "make-readable");
    assert_eq!(json["since"]["cards"], "2025-11-24T12:00:00Z");
    let grace = json["closings"].as_array().unwrap().iter().find(|c| c["because"] == "grace-ends").unwrap();
    assert_eq!((&grace["control"], &grace["at"]), (&"cards".into(), &"2025-12-08T12:00:00Z".into()));
    assert_eq!(json["trend"], serde_json::Value::Null);
}

#[test]
fn evidence_is_compared_with_older_evidence_under_one_policy() {
    let stage = stage("");
    let old = file(&stage, "old.json", &evidence("RXA", THEN, &WEAK));
    let mended = Found {
        versions: &["tls1.3"],
        name: Fact::boolean(false),
        without: &["ines.duarte", "sam.lee", "a.b"],
    };
    let new = file(&stage, "new.json", &evidence("RXA", NOW, &mended));
    let before = ["--before", argument(&old)];
    let said = text(&against(&stage, &new, &before).stdout);
    for line in [
        "of 2025-11-20 08:00 UTC: score ",
        "not denied any more: lookup",
        "newly failing: 2\n    names (unknown before)",
        "mended: 1\n    tls-versions (fail before)",
        "still failing: 2, 1 of them as before\n    cards (more offenders: 2 to 3)",
        "since 2025-11-20 08:00 UTC",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!said.contains("the policies changed"), "{said}");
    let json = against(&stage, &new, &["--json", before[0], before[1]]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["trend"]["policy_changed"], false);
    let cards =
        json["trend"]["changes"].as_array().unwrap().iter().find(|c| c["control"] == "cards").unwrap();
    assert_eq!((&cards["offenders_appeared"], &cards["offenders_gone"]), (&2.into(), &1.into()));

    let wrong = against(&stage, &old, &["--before", argument(&new)]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("is newer than"), "{}", text(&wrong.stderr));
    let other = file(&stage, "other.json", &evidence("RXB", THEN, &WEAK));
    let wrong = against(&stage, &new, &["--before", argument(&other)]);
    assert!(text(&wrong.stderr).contains("is evidence of RXB, not of RXA"), "{}", text(&wrong.stderr));
}

#[test]
fn a_member_is_compared_with_its_latest_kept_assessment() {
    let stage = stage("");
    let good = Found { versions: &["tls1.3"], name: Fact::boolean(true), without: &[] };
    let now = Clock::system().now();
    keep(&stage, evidence("RXA", now - Duration::days(2), &WEAK));
    let id = keep(&stage, evidence("RXA", now - Duration::days(1), &good));
    let config = stage.config();
    let store = SqliteStore::open(&config.data_dir, &config.store).unwrap();
    for grant in Grant::ALL {
        let gate = GateRecord { grant, state: "open".into(), until: None, assessment: None, ..gate_by("") };
        store.record_gate(&gate, &audit("gate.open")).unwrap();
    }
    stage.write("policies/baseline.yaml", &BASELINE.replace("revision: 1.0.0", "revision: 1.1.0"));
    let done = portcullis(&stage, &["assess", "RXA"]);
    let said = text(&done.stdout);
    assert_eq!(done.status.code(), Some(2), "{said}{}", text(&done.stderr));
    for line in [
        format!("since assessment {id} of "),
        "the policies changed from revision 1.0.0 to 1.1.0: a difference may be theirs".to_owned(),
        "denied now: lookup and sync".to_owned(),
        "newly unknown: ".to_owned(),
        "make readable tls".to_owned(),
    ] {
        assert!(said.contains(&line), "{line}: {said}");
    }
}

#[test]
fn a_check_is_compared_with_the_evidence_of_the_one_before() {
    let stage = stage("");
    secret(&stage.path("password"), "secret");
    let path = |name: &str| argument(&stage.path(name)).to_owned();
    let (password, policies, anchors) = (path("password"), path("policies"), path("ca.pem"));
    let check = |more: &[&str]| {
        let mut arguments = vec!["check", "127.0.0.1:9", "--bind-dn", "svc@rxa.test"];
        arguments.extend(["--password-file", &password, "--policy", &policies, "--anchors", &anchors]);
        arguments.extend(more);
        text(&portcullis(&stage, &arguments).stdout)
    };
    let first = check(&["--evidence", &path("first.json")]);
    assert!(first.contains("do first:") && !first.contains("since assessment"), "{first}");
    let second = check(&["--before", &path("first.json")]);
    assert!(second.contains("since assessment ") && second.contains("still unknown: "), "{second}");
    assert!(second.contains("of them as before") && !second.contains("newly"), "{second}");
}
