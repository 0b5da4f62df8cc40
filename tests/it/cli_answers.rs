//! What commands answer when the gateway does not run or is not ready, and what they refuse.

use std::net::TcpListener;
use std::process::{Command, Output};

use portcullis::policy::terms::Grant;
use portcullis::store::port::Store;
use portcullis::store::record::GateRecord;
use portcullis::store::sqlite::store::SqliteStore;

use crate::app_stage::{READY, Stage, answering, argument, secret};
use crate::store_conformance::{audit, gate_by, member};

fn command(stage: &Stage, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(arguments).args(["--config", argument(&stage.path("portcullis.yaml"))]);
    command.env_remove("PORTCULLIS_CONFIG").env("PORTCULLIS_ACTOR", "tester");
    command
}

fn run(stage: &Stage, arguments: &[&str]) -> Output {
    command(stage, arguments).output().unwrap()
}

fn said(done: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

/// RXA, with both gates recorded as open.
fn open_gates() -> Stage {
    let stage = Stage::new("");
    let config = stage.config();
    let store = SqliteStore::open(&config.data_dir, &config.store).unwrap();
    store.save_member(&member("RXA"), None, &audit("member.request")).unwrap();
    for grant in Grant::ALL {
        let gate = GateRecord { grant, state: "open".into(), until: None, assessment: None, ..gate_by("") };
        store.record_gate(&gate, &audit("gate.open")).unwrap();
    }
    stage
}

/// Where its gateway would listen.
fn at(stage: &Stage) -> TcpListener {
    TcpListener::bind(stage.config().listen.metrics).unwrap()
}

#[test]
fn without_a_gateway_recorded_gates_are_not_called_open() {
    let stage = open_gates();
    for arguments in [&["gate", "list"][..], &["gate", "show", "RXA"]] {
        let done = run(&stage, arguments);
        let told = said(&done);
        assert!(told.starts_with("NOTHING PASSES NOW: no gateway answers on 127.0.0.1:"), "{told}");
        assert!(told.contains("what follows was recorded last:\n"), "{told}");
        assert_eq!(done.status.code(), Some(i32::from(arguments[1] == "show")), "{told}");
    }
    let json = run(&stage, &["gate", "show", "RXA", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["live"]["gateway"], "absent");
    assert_eq!(json["gates"].as_array().unwrap().len(), 2);
    let done = run(&stage, &["sync", "run", "RXA"]);
    assert_eq!(done.status.code(), Some(1), "{}", said(&done));
    assert!(said(&done).contains("start the gateway"), "{}", said(&done));
}

#[test]
fn a_gateway_that_cannot_record_has_no_open_gate() {
    let stage = open_gates();
    answering(at(&stage), "HTTP/1.1 503 Service Unavailable\r\n\r\nstore: the store is full\n");
    let done = run(&stage, &["gate", "show", "RXA"]);
    assert_eq!(done.status.code(), Some(1));
    let told = said(&done);
    assert!(
        told.starts_with("EVERY GATE IS CLOSED NOW: ") && told.contains("store: the store is full"),
        "{told}"
    );
    let done = run(&stage, &["sync", "run", "RXA"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(said(&done).contains("store: the store is full"), "{}", said(&done));
}

#[test]
fn a_gateway_that_is_ready_is_believed() {
    let stage = open_gates();
    answering(at(&stage), READY);
    let done = run(&stage, &["gate", "show", "RXA"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(said(&done).starts_with("RXA "), "{}", said(&done));
}

#[test]
fn nobody_else_is_the_gateway() {
    let stage = Stage::new("");
    let list = ["gate", "list"];
    let mut ways = [command(&stage, &list), command(&stage, &list), command(&stage, &list)];
    ways[0].args(["--actor", "gateway"]);
    ways[1].env("PORTCULLIS_ACTOR", "gateway");
    ways[2].env_remove("PORTCULLIS_ACTOR").env("USER", "gateway");
    for mut way in ways {
        let done = way.output().unwrap();
        assert_eq!(done.status.code(), Some(1), "{}", said(&done));
        assert!(said(&done).contains("is the gateway itself: say who you are"), "{}", said(&done));
    }
}

#[test]
fn commands_name_a_member_that_is_not_there() {
    let stage = open_gates();
    for command in ["journal", "status", "plan", "run"] {
        let done = run(&stage, &["sync", command, "NOPE"]);
        assert_eq!(done.status.code(), Some(1), "{command}: {}", said(&done));
        assert!(said(&done).contains("there is no member NOPE"), "{command}: {}", said(&done));
    }
}

#[test]
fn facts_are_listed_without_a_configuration() {
    let stage = Stage::new("");
    std::fs::remove_file(stage.path("portcullis.yaml")).unwrap();
    let done = run(&stage, &["policy", "facts"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(said(&done).contains("tls.versions"), "{}", said(&done));
}

#[test]
fn a_request_that_cannot_be_right_is_refused_and_paths_are_kept_whole() {
    let stage = Stage::new("");
    secret(&stage.path("card.key"), "key");
    let request = |more: &[&str]| {
        let mut arguments = vec!["member", "request", "RXA", "--name", "A", "--controller", "127.0.0.1:9"];
        arguments.extend(["--base-dn", "DC=rxa,DC=test", "--bind-dn", "svc@rxa.test"]);
        arguments.extend(["--password-file", "national.password", "--anchors", "ca.pem"]);
        arguments.extend(more);
        command(&stage, &arguments).current_dir(stage.directory.path()).output().unwrap()
    };
    for wrong in [
        ["--mail-domain", "@rxa.test"],
        ["--upn-suffix", "rxa test"],
        ["--kdc", "dc1:kerberos"],
        ["--canary", "not a name"],
        ["--canary", "CN=x,DC=other,DC=test"],
    ] {
        let done = request(&wrong);
        assert!(!done.status.success(), "{wrong:?}: {}", said(&done));
        assert!(said(&done).contains(wrong[1]), "{wrong:?}: {}", said(&done));
    }
    let done =
        request(&["--card-principal", "m@RXA.TEST", "--card-identity", "FILE:card.pem,card.key", "--json"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let whole = format!("FILE:{0}/card.pem,{0}/card.key", stage.directory.path().display());
    let config = stage.config();
    let store = SqliteStore::open(&config.data_dir, &config.store).unwrap();
    let member = store.member(&"RXA".parse().unwrap()).unwrap().unwrap();
    assert_eq!(member.connection.card.unwrap().identity, whole);
}
