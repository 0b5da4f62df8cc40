//! `portcullis release explain` as an officer uses it: who would see what, by which agreement, and why not.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use portcullis::ambient::clock::Clock;
use portcullis::policy::terms::Grant;
use portcullis::store::audit::NewAudit;
use portcullis::store::port::Store;
use portcullis::store::record::GateRecord;
use portcullis::store::sqlite::store::SqliteStore;

use crate::app_stage::{Stage, argument};
use crate::store_conformance::{audit, member};

const AGREEMENTS: &str = "\
kind: Release
id: cards
title: People with cards
purpose: Find colleagues.
audience: { category: person, authenticated_by: smartcard, members: all }
targets: { members: all, national: true }
attributes: [uid, cn, sn, mail, mobile]
entries: (objectClass=inetOrgPerson)
listing:
  attribute: employeeType
  not_findable: [not-listed]
  by_address_only: [by-address]
  without_contact: [no-contact]
  contact: [mobile]
filters: { shortest: 3, leading_wildcard: false, inequality: false }
limits: { size: 321, time: 9s, rate: 20/s, in_flight: 8 }
until: 2099-12-31
---
kind: Release
id: mail
title: The mail application
purpose: Resolve recipients.
audience: { category: application, names: [mail] }
targets: { members: none, national: true }
attributes: [cn, mail]
until: 2099-12-31
";

fn stage() -> Stage {
    let stage = Stage::new("");
    stage.write("policies/releases.yaml", AGREEMENTS);
    let config = stage.config();
    let store = SqliteStore::open(&config.data_dir, &config.store).unwrap();
    let now = Clock::system().now();
    for code in ["RXB", "RXC", "RXA"] {
        store.save_member(&member(code), None, &audit("member.request")).unwrap();
    }
    for (member, state, reason) in
        [("RXA", "open", "every control is met"), ("RXB", "closed", "krbtgt is too old")]
    {
        let gate = GateRecord {
            member: member.parse().unwrap(),
            grant: Grant::Lookup,
            at: now,
            state: state.to_owned(),
            until: None,
            reasons: vec![reason.to_owned()],
            assessment: Some(format!("as-{member}")),
        };
        let audit = NewAudit {
            at: now,
            actor: "tester".to_owned(),
            action: "gate.changed".to_owned(),
            member: Some(gate.member.clone()),
            detail: serde_json::json!({}),
        };
        store.record_gate(&gate, &audit).unwrap();
    }
    stage
}

fn explain(stage: &Stage, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(["release", "explain"]).args(arguments);
    command.args(["--config", argument(&stage.path("portcullis.yaml"))]);
    command.env_remove("PORTCULLIS_CONFIG").env("PORTCULLIS_ACTOR", "tester").output().unwrap()
}

fn json(stage: &Stage, arguments: &[&str]) -> (i32, serde_json::Value) {
    let done = explain(stage, &[arguments, &["--json"]].concat());
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let value = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{arguments:?}: {text}{}", String::from_utf8_lossy(&done.stderr)));
    (done.status.code().unwrap(), value)
}

/// What an officer reads, and the exit code.
fn told(stage: &Stage, arguments: &[&str]) -> (i32, String) {
    let done = explain(stage, arguments);
    let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (done.status.code().unwrap(), text)
}

fn words(value: &serde_json::Value) -> BTreeSet<String> {
    value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_seen_and_what_is_not() {
    let stage = stage();
    let (code, said) = json(&stage, &["RXA", "--requester", "person", "--member", "RXA"]);
    assert_eq!(code, 0, "{said}");
    let outcome = &said["outcome"];
    assert_eq!(
        (outcome["answer"].as_str(), outcome["agreement"].as_str()),
        (Some("permitted"), Some("cards"))
    );
    let (shown, hidden) = (words(&outcome["attributes"]), words(&outcome["hidden"]));
    assert!(shown.contains("mobile") && shown.contains("objectClass") && shown.is_disjoint(&hidden));
    assert!(hidden.contains("telephoneNumber") && hidden.contains("employeeType"));
    assert_eq!(
        outcome["entries"],
        "(&(objectClass=inetOrgPerson)(!(employeeType=not-listed))(!(employeeType=by-address)))"
    );
    assert_eq!(outcome["entries_by_address"], "(&(objectClass=inetOrgPerson)(!(employeeType=not-listed)))");
    assert_eq!(outcome["without_contact"]["hidden"], serde_json::json!(["mobile"]));
    assert_eq!(outcome["refused_filters"].as_array().unwrap().len(), 3);
    assert_eq!((outcome["size_limit"].as_u64(), outcome["in_flight"].as_u64()), (Some(321), Some(8)));
    assert_eq!(
        (said["gates"][0]["member"].as_str(), said["gates"][0]["open"].as_bool()),
        (Some("RXA"), Some(true))
    );
    assert_eq!(said["agreements"][0]["why_not"], serde_json::Value::Null);
    assert!(said["agreements"][1]["why_not"].as_str().unwrap().contains("application"));

    let text = explain(&stage, &["RXA", "--requester", "person", "--member", "RXA"]);
    let text = String::from_utf8(text.stdout).unwrap();
    for line in [
        "permitted by `cards`",
        "shown ",
        "hidden ",
        "by address ",
        "without     mobile",
        "RXA is open",
        "321 entries",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn why_not() {
    let stage = stage();
    // a closed gate, with its reasons
    let (code, said) = json(&stage, &["RXB", "--requester", "person", "--member", "RXA"]);
    assert_eq!((code, said["outcome"]["kind"].as_str()), (1, Some("target_gate_closed")));
    assert_eq!(said["outcome"]["code"], 32);
    let gate = &said["gates"][1];
    assert_eq!(
        (gate["member"].as_str(), gate["open"].as_bool(), gate["assessment"].as_str()),
        (Some("RXB"), Some(false), Some("as-RXB"))
    );
    assert!(gate["reasons"].to_string().contains("krbtgt is too old"));
    // a member without any decision
    let (_, said) = json(&stage, &["RXC", "--requester", "person", "--member", "RXA"]);
    assert_eq!(said["gates"][1]["state"], "none");
    // the wrong way to authenticate
    let (code, said) =
        json(&stage, &["RXA", "--requester", "person", "--member", "RXA", "--authentication", "password"]);
    assert_eq!((code, said["outcome"]["kind"].as_str()), (1, Some("no_agreement")));
    assert!(said["agreements"][0]["why_not"].as_str().unwrap().contains("smartcard"));
    // an application by its name, and not by another
    let (code, said) = json(&stage, &["national", "--requester", "application", "--name", "mail"]);
    assert_eq!((code, said["outcome"]["agreement"].as_str()), (0, Some("mail")));
    let (code, _) = json(&stage, &["national", "--requester", "application", "--name", "other"]);
    assert_eq!(code, 1);
    // what cannot be asked
    let (code, text) = told(&stage, &["RXA", "--requester", "person"]);
    assert_eq!((code, text.contains("say which with --member")), (1, true), "{text}");
    assert_eq!(explain(&stage, &["much too long", "--requester", "person"]).status.code(), Some(2));
}

#[test]
fn a_member_that_is_not_there_is_told_beside_those_that_are() {
    let stage = stage();
    for arguments in [
        ["RXZ", "--requester", "person", "--member", "RXA"],
        ["RXA", "--requester", "person", "--member", "RXZ"],
        ["national", "--requester", "connector", "--member", "rxz"],
    ] {
        let (code, text) = told(&stage, &arguments);
        assert_eq!(code, 1, "{arguments:?}: {text}");
        assert!(text.contains("there is no member RXZ; known are: RXA, RXB, RXC"), "{arguments:?}: {text}");
    }
}

#[test]
fn the_national_directory_has_its_name_in_any_letters() {
    let stage = stage();
    for name in ["national", "NATIONAL", "National"] {
        let (code, said) = json(&stage, &[name, "--requester", "person", "--member", "RXA"]);
        assert_eq!((code, &said["target"]), (0, &serde_json::json!("national")), "{name}: {said}");
        assert_eq!(said["gates"].as_array().unwrap().len(), 1, "{name}: {said}");
    }
    // and no member can have it
    let member = member("NATIONAL");
    let store = SqliteStore::open(&stage.config().data_dir, &stage.config().store).unwrap();
    let by = portcullis::enrol::run::By { actor: "tester", reason: "r", now: Clock::system().now() };
    let refused = portcullis::enrol::run::request(&store, member, &by).unwrap_err().to_string();
    assert!(refused.contains("NATIONAL is the name of the national directory"), "{refused}");
}

#[test]
fn what_does_not_go_with_the_kind_of_requester_is_refused() {
    let stage = stage();
    for (arguments, expected) in [
        (
            &["RXA", "--requester", "person", "--member", "RXA", "--name", "mail"][..],
            "--name goes with an application",
        ),
        (
            &["RXA", "--requester", "connector", "--member", "RXA", "--name", "mail"],
            "--name goes with an application",
        ),
        (&["RXA", "--requester", "person", "--name", "mail"], "say which with --member"),
        (
            &["national", "--requester", "application", "--name", "mail", "--member", "RXA"],
            "--member goes with a person or a connector",
        ),
        (&["national", "--requester", "application"], "say which with --name"),
    ] {
        let (code, text) = told(&stage, arguments);
        assert_eq!(code, 1, "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
}

#[test]
fn an_application_belongs_to_the_member_that_the_configuration_says() {
    let stage = stage();
    let config = std::fs::read_to_string(stage.path("portcullis.yaml")).unwrap();
    let application =
        format!("applications: [{{ name: mail, sha256: '{}', member: RXB }}]\n", "ab".repeat(32));
    stage.write("portcullis.yaml", &(config + &application));
    // its own member's gate counts
    let (code, said) = json(&stage, &["national", "--requester", "application", "--name", "mail"]);
    assert_eq!((code, said["outcome"]["kind"].as_str()), (1, Some("own_gate_closed")), "{said}");
    assert_eq!(said["gates"][0]["member"], "RXB");
}

#[test]
fn what_the_requester_is_told_is_quoted_when_there_is_something() {
    let stage = stage();
    let (_, text) = told(&stage, &["RXB", "--requester", "person", "--member", "RXA"]);
    assert!(text.contains("refused (target_gate_closed): the requester is told 32\n"), "{text}");
    let (_, text) = told(&stage, &["national", "--requester", "application", "--name", "other"]);
    assert!(text.contains("is told 50, `no release agreement covers this request`\n"), "{text}");
}
