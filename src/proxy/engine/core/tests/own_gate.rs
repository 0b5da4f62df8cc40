//! A requester whose own member's gate is closed is told so wherever it asks, and nothing else.

use super::*;
use crate::ldap::filter::Assertion;
use crate::ldap::message::{Compare, ResultCode};

const WHOLE: &str = "o=federation";
const CLOSED: &str = "the gate of RXA is closed; its IT team sees why in its assessment";

fn rig() -> Rig {
    Rig::with(&["RXA", "RXB"], None, &wide(), Settings::default())
}

/// What the last result that was written to a client says; takes it.
fn result(rig: &mut Rig, client: usize) -> (ResultCode, String) {
    let bytes = rig.engine.client_output(client).map(std::mem::take).unwrap();
    let last = messages(&bytes).pop().unwrap();
    let message = codec::decode(&last, &Limits::default()).unwrap();
    let (Wire::SearchDone(outcome) | Wire::CompareResponse(outcome)) = message.operation else {
        panic!("{message:?}")
    };
    (outcome.code, outcome.diagnostic.into_owned())
}

fn ask(rig: &mut Rig, client: usize, base: &'static str, scope: Scope) -> (ResultCode, String) {
    rig.say(client, 2, Wire::SearchRequest(Search { base: base.into(), scope, ..search("(cn=*)") }));
    result(rig, client)
}

#[test]
fn the_whole_tree_says_what_a_mount_says() {
    let mut rig = rig();
    let ours = rig.client_as("cc");
    rig.gates.set(&rxa(), gate(GateState::Closed));
    rig.turn(10);
    rig.engine.take_audit(true);
    let told = (ResultCode::INSUFFICIENT_ACCESS_RIGHTS, CLOSED.to_owned());
    for scope in [Scope::Base, Scope::One, Scope::Subtree, Scope::Children] {
        assert_eq!(ask(&mut rig, ours, WHOLE, scope), told, "{scope:?}");
    }
    // the same whether a directory is there, is closed, or is none
    for base in ["ou=RXA,o=federation", "ou=RXB,o=federation", "ou=RXZ,o=federation"] {
        assert_eq!(ask(&mut rig, ours, base, Scope::Subtree), told, "{base}");
    }
    let compare = Compare { dn: WHOLE.into(), assertion: Assertion::new("o", b"federation".as_slice()) };
    rig.say(ours, 2, Wire::CompareRequest(compare));
    assert_eq!(result(&mut rig, ours), told);
    assert!(rig.dialled.is_empty(), "nobody is asked");
    let audit = String::from_utf8(rig.engine.take_audit(true).unwrap()).unwrap();
    let refused = audit.lines().filter(|line| line.contains("\"decision\":\"own_gate_closed\"")).count();
    assert_eq!(refused, 8, "{audit}");
    let here = |operation| rig.engine.metrics.answered_here.with_label_values(&[operation, "refused"]).get();
    // four at the root, one at a mount that is none
    assert_eq!((here("search"), here("compare")), (5, 1));
}

/// The gates of others are nothing that anybody is told.
#[test]
fn closed_gates_of_others_stay_silent() {
    let mut rig = rig();
    let (ours, stranger) = (rig.client_as("cc"), rig.client());
    rig.gates.set(&"RXB".parse().unwrap(), gate(GateState::Closed));
    rig.turn(10);
    rig.say(ours, 3, Wire::SearchRequest(Search { base: WHOLE.into(), ..search("(cn=*)") }));
    let upstream = rig.connect();
    assert_eq!(rig.server_names(), ["RXA"]);
    assert_eq!(rig.answer(upstream), 1);
    assert_eq!(rig.heard(ours), ["3 done success (0)"]);
    rig.gates.set(&rxa(), gate(GateState::Closed));
    rig.turn(10);
    assert_eq!(ask(&mut rig, stranger, WHOLE, Scope::Subtree), (ResultCode::SUCCESS, String::new()));
}

#[test]
fn a_gate_that_closes_meanwhile_is_told_to_its_own_people() {
    let mut rig = rig();
    let clients = [rig.client_as("cc"), rig.client()];
    for client in clients {
        rig.say(client, 3, Wire::SearchRequest(Search { base: WHOLE.into(), ..search("(cn=*)") }));
    }
    rig.gates.set(&rxa(), gate(GateState::Closed));
    rig.turn(10);
    let told = (ResultCode::INSUFFICIENT_ACCESS_RIGHTS, CLOSED.to_owned());
    assert_eq!(result(&mut rig, clients[0]), told);
    let away = "a directory went away during the search".to_owned();
    assert_eq!(result(&mut rig, clients[1]), (ResultCode::UNAVAILABLE, away));
}
