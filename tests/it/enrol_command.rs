//! Enrolment as an officer types it: what is refused, and what is said when an approval opens nothing.

use std::process::{Command, Output};

use portcullis::ambient::clock::Clock;
use portcullis::assess::judge::judge;
use portcullis::baseline::document::SCHEMA;
use portcullis::baseline::facts::{Evidence, Fact, Facts};
use portcullis::enrol::run::{self, By};
use portcullis::policy::set::PolicySet;
use portcullis::store::member::Member;
use portcullis::store::port::Store;
use portcullis::store::record::AssessmentRecord;
use portcullis::store::sqlite::store::SqliteStore;

use crate::app_stage::{Stage, argument, secret};
use crate::store_conformance::{audit, member, ods};

fn portcullis(stage: &Stage, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(arguments)
        .args(["--config", argument(&stage.path("portcullis.yaml")), "--actor", "officer"])
        .env_remove("PORTCULLIS_CONFIG")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// RXA, checked; its controllers accept these versions of TLS (none: it was never assessed).
fn checked(versions: Option<&[&str]>) -> Stage {
    let stage = Stage::new("");
    let config = stage.config();
    let store = SqliteStore::open(&config.data_dir, &config.store).unwrap();
    let now = Clock::system().now();
    let by = By { actor: "officer", reason: "because", now };
    run::request(&store, Member { profile: None, ..member("RXA") }, &by).unwrap();
    run::measured(&store, &ods("RXA"), &by).unwrap();
    let Some(versions) = versions else { return stage };
    let mut facts = Facts::default();
    facts.set("tls.versions", Fact::set(versions.iter().copied()));
    let evidence = Evidence {
        schema: SCHEMA,
        member: ods("RXA"),
        collected_at: now,
        collector: "test".into(),
        controllers: Vec::new(),
        facts,
        provenance: Vec::new(),
        attestations: Vec::new(),
        previous: None,
        hash: String::new(),
        signature: String::new(),
    };
    let set = PolicySet::load(&config.policies).unwrap();
    let assessment = judge(&set, None, &evidence.sealed(), &[], now).unwrap();
    let record = AssessmentRecord {
        id: assessment.id.clone(),
        member: ods("RXA"),
        assessed_at: now,
        policy_hash: assessment.policy_hash.clone(),
        evidence_hash: assessment.evidence_hash.clone(),
        document: assessment.to_json(),
    };
    store.put_assessment(&record, &audit("assessment.made")).unwrap();
    stage
}

#[test]
fn an_approval_that_opens_nothing_says_so_loudly() {
    let stage = checked(Some(&["tls1.0", "tls1.2"]));
    let done = portcullis(&stage, &["member", "approve", "RXA", "--pilot"]);
    let said = text(&done.stdout);
    assert_eq!(done.status.code(), Some(3), "{said}{}", text(&done.stderr));
    assert!(
        said.contains("is piloting\nBUT IT DOES NOT PASS: lookup and sync stay closed, by assessment "),
        "{said}"
    );
    assert!(
        said.contains(
            "\n  lookup and sync: tls-versions (critical) fails: tls.versions, required is at least tls1.2\n"
        ),
        "{said}"
    );
    assert!(said.contains("portcullis assess RXA"), "{said}");

    let done = portcullis(&stage, &["member", "approve", "RXA", "--json"]);
    assert_eq!(done.status.code(), Some(3));
    let answer: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(answer["state"], "federated");
    assert_eq!(answer["outlook"]["stays_closed"][0]["grant"], "lookup");
    let denial = &answer["outlook"]["stays_closed"][0]["denials"][0];
    assert_eq!((&denial["control"], &denial["severity"]), (&"tls-versions".into(), &"critical".into()));
    assert!(denial["reason"].as_str().unwrap().contains("required is at least tls1.2"), "{answer:#}");
    assert!(answer["outlook"]["assessment"].is_string() && answer["outlook"]["assessed_at"].is_string());

    // once more is refused, not done in vain
    assert_eq!(portcullis(&stage, &["member", "approve", "RXA"]).status.code(), Some(1));
}

#[test]
fn an_approval_of_a_member_that_passes_is_simply_done() {
    let stage = checked(Some(&["tls1.2", "tls1.3"]));
    let done = portcullis(&stage, &["member", "approve", "RXA"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert_eq!(text(&done.stdout).lines().count(), 1, "{}", text(&done.stdout));

    let stage = checked(Some(&["tls1.2"]));
    let done = portcullis(&stage, &["member", "approve", "RXA", "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((done.status.code(), &answer["outlook"]["stays_closed"]), (Some(0), &serde_json::json!([])));
}

#[test]
fn an_approval_without_any_assessment_says_that_everything_stays_closed() {
    let stage = checked(None);
    let done = portcullis(&stage, &["member", "approve", "RXA"]);
    let said = text(&done.stdout);
    assert_eq!(done.status.code(), Some(3), "{said}");
    assert!(said.contains("BUT IT WAS NEVER ASSESSED: lookup and sync stay closed until it is"), "{said}");
}

#[test]
fn a_request_is_refused_with_every_secret_that_cannot_be_read() {
    let stage = Stage::new("");
    secret(&stage.path("good"), "secret");
    stage.write("open", "secret");
    let path = |name: &str| argument(&stage.path(name)).to_owned();
    let (good, open, absent, anchors) = (path("good"), path("open"), path("absent"), path("ca.pem"));
    let identity = format!("FILE:{anchors},{open}");
    let request = [
        "member",
        "request",
        "RXA",
        "--name",
        "Trust A",
        "--controller",
        "127.0.0.1:9",
        "--base-dn",
        "DC=rxa,DC=test",
        "--bind-dn",
        "svc@rxa.test",
        "--anchors",
        &anchors,
        "--card-principal",
        "monitor@RXA.TEST",
        "--card-identity",
        &identity,
        "--password-file",
        &good,
        "--card-pin-file",
        &open,
        "--card-password-file",
        &absent,
    ];
    let done = portcullis(&stage, &request);
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert_eq!(said.matches(&format!("run: chmod 600 {open}")).count(), 2, "PIN and key: {said}");
    assert!(said.contains(&format!("cannot read {absent}")), "{said}");
    assert_eq!(said.lines().count(), 3, "{said}");
}
