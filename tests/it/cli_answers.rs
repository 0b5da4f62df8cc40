//! What commands answer when the gateway does not run or is not ready, and what they refuse.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};

use portcullis::policy::terms::Grant;
use portcullis::store::port::Store;
use portcullis::store::record::GateRecord;
use portcullis::store::sqlite::store::SqliteStore;

use crate::app_stage::{Stage, argument};
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

/// Something on `listen.metrics` that answers everything with `answer`, until the test ends.
fn answering(stage: &Stage, answer: &'static str) {
    let listener = TcpListener::bind(stage.config().listen.metrics).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
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
    answering(&stage, "HTTP/1.1 503 Service Unavailable\r\n\r\nstore: the store is full\n");
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
    answering(&stage, "HTTP/1.1 200 OK\r\n\r\nready\n");
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
