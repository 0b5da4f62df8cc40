//! Every question is counted once, under what became of it.

use super::directories::{Directories, OPEN, WHOLE, page_control, staff};
use super::*;
use crate::ldap::typed_control::{Sort, SortKey};

/// What was counted for `member`: done, limited, unavailable, busy, refused, abandoned.
fn counts(rig: &Rig, member: &str) -> [u64; 6] {
    let m = rig.engine.metrics.member(member);
    [&m.done, &m.limited, &m.unavailable, &m.busy, &m.refused, &m.abandoned].map(|counter| counter.get())
}

fn one(settings: Settings) -> (Rig, usize) {
    let mut rig = Rig::with_servers(settings, &[0], &["RXA"]);
    let client = rig.client();
    (rig, client)
}

fn ask(rig: &mut Rig, client: usize, search: Search<'static>) {
    rig.say(client, 2, Wire::SearchRequest(search));
}

#[test]
fn a_limit_that_cuts_an_answer_is_counted_whoever_set_it() {
    // of size, by the client
    let (mut rig, client) = one(Settings::default());
    ask(&mut rig, client, Search { size_limit: 1, ..search("(cn=*)") });
    let upstream = rig.connect();
    let id = rig.questions(upstream)[0];
    for name in ["ann", "bob"] {
        rig.tell(upstream, id, Wire::SearchEntry(person(name).as_wire()));
    }
    assert_eq!(rig.heard(client).last().unwrap(), "2 done sizeLimitExceeded (4)");
    assert_eq!(counts(&rig, "RXA"), [0, 1, 0, 0, 0, 0]);
    // of time, by the client
    ask(&mut rig, client, Search { time_limit: 1, ..search("(cn=*)") });
    rig.pass(1_100_000, 20_000);
    assert_eq!(rig.heard(client), ["2 done timeLimitExceeded (3)"]);
    assert_eq!(counts(&rig, "RXA"), [0, 2, 0, 0, 0, 0]);
    // by the directory, on another connection: the first has said nothing for a while
    ask(&mut rig, client, search("(cn=*)"));
    let upstream = rig.connect();
    let id = rig.questions(upstream)[0];
    let code = crate::ldap::message::ResultCode::SIZE_LIMIT_EXCEEDED;
    rig.tell(upstream, id, Wire::SearchDone(Outcome::new(code, "")));
    assert_eq!(rig.heard(client), ["2 done sizeLimitExceeded (4)"]);
    assert_eq!(counts(&rig, "RXA"), [0, 3, 0, 0, 0, 0]);
    ask(&mut rig, client, search("(cn=*)"));
    assert_eq!(rig.answer(upstream), 1);
    assert_eq!(counts(&rig, "RXA"), [1, 3, 0, 0, 0, 0]);
}

#[test]
fn whatever_else_ends_a_question_is_counted_once() {
    let settings = Settings { mount_in_flight: 1, operation_milliseconds: 1_000, ..Settings::default() };
    let (mut rig, client) = one(settings);
    ask(&mut rig, client, search("(cn=*)"));
    rig.connect();
    rig.say(client, 3, Wire::SearchRequest(search("(cn=*)")));
    assert_eq!(rig.heard(client), ["3 done busy (51)"]);
    assert_eq!(counts(&rig, "RXA"), [0, 0, 0, 1, 0, 0]);
    assert_eq!(rig.engine.metrics.busy.with_label_values(&["directory"]).get(), 1);
    rig.say(client, 4, Wire::AbandonRequest(2));
    assert_eq!(counts(&rig, "RXA"), [0, 0, 0, 1, 0, 1]);
    // our own limit of time: the directory hangs
    ask(&mut rig, client, search("(cn=*)"));
    rig.pass(1_100_000, 20_000);
    assert_eq!(rig.heard(client), ["2 done unavailable (52)"]);
    assert_eq!(counts(&rig, "RXA"), [0, 0, 1, 1, 0, 1]);
    ask(&mut rig, client, search("(cn=*)"));
    rig.gates.set(&rxa(), gate(GateState::Closed));
    rig.turn(10);
    assert_eq!(rig.heard(client), ["2 done noSuchObject (32)"]);
    assert_eq!(counts(&rig, "RXA"), [0, 0, 1, 1, 1, 1]);
    // refused before it is asked
    ask(&mut rig, client, search("(cn=*)"));
    assert_eq!(counts(&rig, "RXA"), [0, 0, 1, 1, 2, 1]);
    rig.gates.set(&rxa(), gate(GateState::Open));
    rig.turn(10);
    ask(&mut rig, client, search("(cn=*)"));
    rig.dialled.clone().into_iter().for_each(|upstream| rig.end(upstream));
    assert_eq!(counts(&rig, "RXA"), [0, 0, 2, 1, 2, 1], "lost");
    ask(&mut rig, client, search("(cn=*)"));
    assert_eq!(counts(&rig, "RXA"), [0, 0, 3, 1, 2, 1], "nobody can be asked");
    // a name that nobody mounted makes no label
    let base = "ou=RXZ,o=federation".into();
    ask(&mut rig, client, Search { base, ..search("(cn=*)") });
    assert_eq!(counts(&rig, "RXZ"), [0; 6]);
}

#[test]
fn each_directory_of_a_search_over_the_whole_tree_is_counted() {
    let mut rig = Rig::with(&["RXA", "RXB", "RXC"], None, &wide(), Settings::default());
    let client = rig.client();
    ask(&mut rig, client, Search { base: WHOLE.into(), size_limit: 1, ..search("(cn=*)") });
    for upstream in rig.dialled.clone() {
        rig.bind(upstream);
        let id = rig.questions(upstream)[0];
        match rig.servers[&upstream].as_str() {
            "RXA" => rig.tell(upstream, id, done()),
            "RXB" => rig.end(upstream),
            _ => {
                for name in ["ann", "bob"] {
                    let mut entry = person(name);
                    entry.dn = format!("CN={name},OU=Staff,DC=rxc,DC=test");
                    rig.tell(upstream, id, Wire::SearchEntry(entry.as_wire()));
                }
            }
        }
    }
    assert_eq!(rig.heard(client).last().unwrap(), "2 done sizeLimitExceeded (4)");
    let all = ["RXA", "RXB", "RXC"].map(|member| counts(&rig, member));
    assert_eq!(all, [[1, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0]]);
}

/// Who waits for the answer to somebody else's question is counted as whoever asked.
#[test]
fn questions_that_are_shared_are_counted_for_each() {
    let mut rig = Rig::with(&["RXA"], None, &wide(), Settings::default());
    let clients = [rig.client(), rig.client(), rig.client()];
    ask(&mut rig, clients[0], search("(cn=*)"));
    let upstream = rig.connect();
    rig.answer(upstream);
    for client in clients {
        ask(&mut rig, client, search("(cn=*)"));
    }
    rig.say(clients[2], 3, Wire::AbandonRequest(2));
    assert_eq!(rig.answer(upstream), 1);
    assert_eq!(counts(&rig, "RXA"), [3, 0, 0, 0, 0, 1]);
}

#[test]
fn each_page_is_counted_and_what_waits_is_shown() {
    let mut rig = Rig::with(&["RXA"], Some(1_000), OPEN, Settings { walk_entries: 5, ..Settings::default() });
    let client = rig.client();
    let waiting = |rig: &Rig| (rig.engine.metrics.walks_waiting.get(), rig.engine.metrics.sorts_held.get());
    let everybody = ["a", "b", "c", "d", "e", "f", "g"];
    let mut directories = Directories::default().with("RXA", staff("RXA", &everybody));
    let first = rig.page(&mut directories, client, &search("(cn=*)"), vec![page_control(2, b"")]);
    rig.turn(250_000);
    assert_eq!((counts(&rig, "RXA"), waiting(&rig)), ([1, 0, 0, 0, 0, 0], (1, 0)));
    let controls = vec![page_control(2, &first.cookie())];
    let second = rig.page(&mut directories, client, &search("(cn=*)"), controls);
    assert_eq!(counts(&rig, "RXA"), [2, 0, 0, 0, 0, 0]);
    // the fifth entry is the last that a paged search may have
    let controls = vec![page_control(2, &second.cookie())];
    let third = rig.page(&mut directories, client, &search("(cn=*)"), controls);
    assert_eq!(third.code, crate::ldap::message::ResultCode::ADMIN_LIMIT_EXCEEDED);
    assert_eq!(directories.asked.iter().filter(|size| **size > 0).count(), 3);
    assert_eq!(counts(&rig, "RXA"), [2, 1, 0, 0, 0, 0]);
    let name = SortKey { attribute: "cn".to_owned(), rule: None, reverse: false };
    let controls = vec![page_control(2, b""), Sort(vec![name]).control(true)];
    rig.page(&mut directories, client, &search("(cn=*)"), controls);
    rig.turn(250_000);
    assert_eq!((counts(&rig, "RXA"), waiting(&rig)), ([3, 1, 0, 0, 0, 0], (1, 1)));
    rig.engine.client_ended(client);
    rig.turn(250_000);
    assert_eq!(waiting(&rig), (0, 0));
}

/// A question that asks no directory is one that is answered here.
#[test]
fn what_is_answered_here_is_counted_as_such() {
    let mut rig = Rig::with(&["RXA"], None, &wide(), Settings::default());
    let client = rig.client();
    ask(&mut rig, client, Search { base: WHOLE.into(), scope: Scope::Base, ..search("(objectClass=*)") });
    assert!(rig.heard(client).last().unwrap().ends_with("done success (0)"));
    assert_eq!(rig.engine.metrics.answered_here.with_label_values(&["search", "done"]).get(), 1);
    assert_eq!(rig.engine.metrics.seconds.get_sample_count(), 0);
}
