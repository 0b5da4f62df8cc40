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
    assert_eq!(explain(&stage, &["RXA", "--requester", "person"]).status.code(), Some(1));
    assert_eq!(explain(&stage, &["much too long", "--requester", "person"]).status.code(), Some(2));
}
