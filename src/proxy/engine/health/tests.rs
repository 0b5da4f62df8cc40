//! Servers that hang, in virtual time.

use crate::ldap::codec;
use crate::ldap::message::{BindOutcome, Message, Operation as Wire, Outcome, ResultCode};
use crate::proxy::engine::core::tests::{Rig, done, id_of, person};
use crate::proxy::engine::key::PROBE_ID;
use crate::proxy::engine::launch::BIND_ID;
use crate::proxy::settings::Settings;

const SCAN: u64 = 20_000;

/// Answers what was asked on a connection, probes as well.
fn serve(rig: &mut Rig, upstream: usize) -> usize {
    let mut questions = 0;
    for message in rig.asked(upstream) {
        let id = id_of(&message);
        questions += usize::from(id != PROBE_ID);
        rig.tell(upstream, id, done());
    }
    questions
}

/// One of two controllers hangs: every question gets its answer through the other one, new ones at once.
#[test]
fn a_hung_server_of_two_is_found_and_passed_over() {
    let mut rig = Rig::with_servers(Settings::default(), &[0, 0], &["RXA"]);
    let clients: Vec<usize> = (0..100).map(|_| rig.client()).collect();
    let mut good = None;
    let mut bound = Vec::new();
    let (mut heard, mut asked, mut late) = (0, 0, 0);
    for round in 0..400 {
        rig.turn(SCAN);
        for upstream in rig.dialled.clone() {
            if !bound.contains(&upstream) {
                // The first server takes connections and binds, and then says nothing.
                rig.bind(upstream);
                bound.push(upstream);
                if rig.server_of(upstream) == 1 {
                    good = Some(upstream);
                }
            }
        }
        bound.retain(|upstream| rig.dialled.contains(upstream));
        for (n, client) in clients.iter().enumerate() {
            if n % 10 == round % 10 {
                rig.ask(*client, 2 + round as i32, "RXA");
                asked += 1;
            }
        }
        good.map(|upstream| serve(&mut rig, upstream));
        for client in &clients {
            for line in rig.heard(*client) {
                assert!(line.ends_with("done success (0)"), "{line} in round {round}");
                heard += 1;
                // 4 seconds to find out, and a moment.
                late += usize::from(round > 210 && !line.starts_with(&format!("{} ", round + 2)));
            }
        }
    }
    assert_eq!(heard, asked);
    assert_eq!(late, 0, "once it is known, nobody waits for the one that hangs");
    assert_eq!(rig.engine.counts().1, 0);
}

/// T59: with nobody else to ask, every request has its answer by its deadline.
#[test]
fn a_hung_server_alone_ends_in_unavailable_in_time() {
    let mut rig = Rig::with_servers(Settings::default(), &[0], &["RXA"]);
    let clients: Vec<usize> = (0..100).map(|_| rig.client()).collect();
    clients.iter().for_each(|client| rig.ask(*client, 2, "RXA"));
    let upstream = rig.connect();
    assert_eq!(rig.questions(upstream).len(), 4, "the others wait for their turn");
    rig.pass(3_900_000, SCAN);
    assert!(rig.dialled.contains(&upstream));
    rig.pass(200_000, SCAN);
    assert!(!rig.dialled.contains(&upstream), "the connection that hangs is closed");
    for client in clients {
        assert_eq!(rig.heard(client), ["2 done unavailable (52)"]);
    }
}

/// A server that works on one connection's questions one after the other says nothing there, and answers on another.
#[test]
fn a_server_that_is_at_work_on_one_connection_is_not_closed() {
    let mut rig = Rig::with_servers(Settings::default(), &[0], &["RXA"]);
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    let at_work = rig.connect();
    let question = rig.questions(at_work)[0];
    let mut other = None;
    for _ in 0..600 {
        rig.turn(SCAN);
        assert!(rig.dialled.contains(&at_work));
        match other {
            None if rig.dialled.len() > 1 => {
                let beside = rig.connect();
                other = Some(beside);
            }
            None => {}
            Some(beside) => {
                rig.ask(client, 3, "RXA");
                serve(&mut rig, beside);
                assert_eq!(rig.heard(client), ["3 done success (0)"], "and takes other questions");
            }
        }
    }
    assert!(other.is_some());
    rig.tell(at_work, question, done());
    assert_eq!(rig.heard(client), ["2 done success (0)"]);
    // Nothing more from anywhere: now it hangs.
    rig.ask(client, 4, "RXA");
    rig.pass(16_000_000, SCAN);
    assert_eq!(rig.heard(client), ["4 done unavailable (52)"]);
}

/// A slow question is not a hung connection: as long as the server answers our own, it is left in peace.
#[test]
fn a_server_that_works_on_a_slow_question_is_not_closed() {
    let mut rig = Rig::with_servers(Settings::default(), &[0], &["RXA"]);
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    let upstream = rig.connect();
    let question = rig.questions(upstream)[0];
    for _ in 0..600 {
        rig.turn(SCAN);
        for message in rig.asked(upstream) {
            assert_eq!(id_of(&message), PROBE_ID);
            rig.tell(upstream, PROBE_ID, done());
        }
    }
    rig.tell(upstream, question, Wire::SearchEntry(person("ann").as_wire()));
    rig.tell(upstream, question, done());
    assert_eq!(rig.heard(client).last().unwrap(), "2 done success (0)");
}

/// Questions that were given up do not hide that nothing ever came.
#[test]
fn abandoned_questions_do_not_hide_a_hung_connection() {
    let mut rig = Rig::with_servers(Settings::default(), &[0], &["RXA"]);
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    let upstream = rig.connect();
    for id in 2..220 {
        rig.turn(SCAN);
        rig.say(client, 10_000 + id, Wire::AbandonRequest(id));
        rig.ask(client, id + 1, "RXA");
    }
    assert_eq!((rig.dials[0].0, rig.dials.len()), (upstream, 3), "closed, one tried beside it, one after it");
}

/// T30, T57: an answer to a probe that was never sent is a fault, one to a probe ends it.
#[test]
fn only_probes_that_were_sent_have_answers() {
    let mut rig = Rig::with_servers(Settings::default(), &[0], &["RXA"]);
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    let upstream = rig.connect();
    rig.tell(upstream, PROBE_ID, done());
    assert_eq!(rig.heard(client), ["2 done unavailable (52)"]);
    assert!(!rig.dialled.contains(&upstream));
}

/// A connection that nobody uses is looked at, so that no question has to find out that it is dead; looking at it
/// does not keep it open for ever.
#[test]
fn idle_connections_are_probed() {
    let mut rig = Rig::with_servers(Settings::default(), &[0], &["RXA"]);
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    let upstream = rig.connect();
    serve(&mut rig, upstream);
    let mut probes = 0;
    for _ in 0..250 {
        rig.turn(1_000_000);
        for message in rig.asked(upstream) {
            assert_eq!(id_of(&message), PROBE_ID);
            probes += 1;
            rig.tell(upstream, PROBE_ID, done());
        }
    }
    assert!((7..=9).contains(&probes), "{probes}");
    rig.pass(60_000_000, 1_000_000);
    assert!(rig.dialled.is_empty(), "idle for too long");
    // One that is dead is found without a question.
    rig.ask(client, 3, "RXA");
    let upstream = rig.connect();
    serve(&mut rig, upstream);
    let made = rig.dials.len();
    rig.pass(33_000_000, 250_000);
    assert!(rig.dials.len() > made, "it is closed, and another one is made");
    assert_eq!(rig.heard(client).len(), 2);
}

/// A trial that is answered with `busy` is no success.
#[test]
fn a_server_that_declines_its_trial_stays_alone() {
    let mut rig = Rig::with_servers(Settings::default(), &[0, 0], &["RXA"]);
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    let sick = rig.dials[0];
    rig.end(sick.0);
    let good = rig.connect();
    serve(&mut rig, good);
    let busy = Wire::SearchDone(Outcome::new(ResultCode::BUSY, ""));
    let (mut trial, mut id) = (None, 3);
    for _ in 0..50 {
        rig.turn(SCAN);
        if trial.is_none() && rig.dials.len() == 3 {
            let (upstream, server) = rig.dials[2];
            assert_eq!(server, sick.1);
            rig.bind(upstream);
            rig.tell(upstream, PROBE_ID, busy.clone());
            trial = Some(upstream);
        }
        rig.ask(client, id, "RXA");
        id += 1;
        assert_eq!(serve(&mut rig, good), 1);
    }
    assert!(trial.is_some());
}

/// A question that was given up may be answered for a moment yet; whoever never stops loses the connection.
#[test]
fn answers_that_nobody_waits_for_do_not_go_on_for_ever() {
    let settings = Settings { upstream_message_bytes: 64 * 1024, ..Settings::default() };
    let mut rig = Rig::with_servers(settings, &[0], &["RXA"]);
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    let upstream = rig.connect();
    let question = rig.questions(upstream)[0];
    rig.say(client, 3, Wire::AbandonRequest(2));
    let entry = codec::to_bytes(&Message::new(question, Wire::SearchEntry(person("ann").as_wire())));
    let most = 2 * 64 * 1024 / entry.len();
    for _ in 0..most {
        rig.tell(upstream, question, Wire::SearchEntry(person("ann").as_wire()));
    }
    assert!(rig.dialled.contains(&upstream), "it may not have heard yet");
    // One more that is given up has as much on its way.
    rig.ask(client, 4, "RXA");
    rig.say(client, 5, Wire::AbandonRequest(4));
    for _ in 0..most {
        rig.tell(upstream, question, Wire::SearchEntry(person("ann").as_wire()));
    }
    assert!(rig.dialled.contains(&upstream));
    rig.tell(upstream, question, Wire::SearchEntry(person("ann").as_wire()));
    assert!(!rig.dialled.contains(&upstream));
}

/// The same for the answer to our own question, which is one entry.
#[test]
fn a_probe_is_not_answered_for_ever() {
    let settings = Settings { upstream_message_bytes: 64 * 1024, ..Settings::default() };
    let mut rig = Rig::with_servers(settings, &[0], &["RXA"]);
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    let upstream = rig.connect();
    rig.pass(2_100_000, SCAN);
    assert!(rig.asked(upstream).iter().any(|message| id_of(message) == PROBE_ID));
    let mut told = 0;
    while rig.dialled.contains(&upstream) {
        rig.tell(upstream, PROBE_ID, Wire::SearchEntry(person("ann").as_wire()));
        told += 1;
        assert!(told < 10_000, "it went on and on");
    }
    assert_eq!(rig.heard(client), ["2 done unavailable (52)"]);
}

/// A message that comes byte by byte keeps no connection: others would wait behind it.
#[test]
fn a_message_has_as_long_as_the_longest_question() {
    let settings = Settings { operation_milliseconds: 1_000, ..Settings::default() };
    let mut rig = Rig::with_servers(settings, &[0], &["RXA"]);
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    let upstream = rig.connect();
    let question = rig.questions(upstream)[0];
    let entry = codec::to_bytes(&Message::new(question, Wire::SearchEntry(person("ann").as_wire())));
    // A whole one begins the time anew.
    for _ in 0..3 {
        rig.engine.upstream_bytes(upstream, &entry[..10]);
        rig.pass(600_000, SCAN);
        rig.engine.upstream_bytes(upstream, &entry[10..]);
    }
    assert!(rig.dialled.contains(&upstream));
    for byte in entry.iter().take(49) {
        rig.engine.upstream_bytes(upstream, &[*byte]);
        rig.turn(SCAN);
    }
    assert!(rig.dialled.contains(&upstream));
    rig.pass(3 * SCAN, SCAN);
    assert!(!rig.dialled.contains(&upstream));
}

/// The machine stood still while a probe was under way: its answer may lie in the socket.
#[test]
fn time_in_which_nobody_looked_is_no_silence() {
    let mut rig = Rig::with_servers(Settings::default(), &[0], &["RXA"]);
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    let upstream = rig.connect();
    let question = rig.questions(upstream)[0];
    rig.pass(2_100_000, SCAN);
    assert!(rig.asked(upstream).iter().any(|message| id_of(message) == PROBE_ID));
    rig.turn(5_000_000);
    rig.tell(upstream, PROBE_ID, done());
    rig.tell(upstream, question, done());
    assert_eq!(rig.heard(client), ["2 done success (0)"]);
    // It is held against them when it goes on.
    rig.ask(client, 3, "RXA");
    rig.pass(4_200_000, SCAN);
    assert!(!rig.dialled.contains(&upstream));
}

/// A client asks ten times a second while `there` says nothing of the only server, for so long.
fn away(rig: &mut Rig, client: usize, microseconds: u64, mut there: impl FnMut(&mut Rig)) {
    for round in 0..microseconds / SCAN {
        rig.turn(SCAN);
        there(rig);
        if round % 5 == 0 {
            rig.ask(client, 1_000 + round as i32, "RXA");
        }
    }
    rig.heard(client);
}

/// However long the only server was away, it is found again within a second and a moment, and not by a question.
#[test]
fn the_only_server_is_found_soon_after_it_is_back() {
    for extra in 0..20 {
        let mut rig = Rig::with_servers(Settings::default(), &[0], &["RXA"]);
        let client = rig.client();
        // Whoever connects is turned away at once.
        let refuse = |rig: &mut Rig| rig.dialled.clone().into_iter().for_each(|upstream| rig.end(upstream));
        away(&mut rig, client, 60_000_000 + extra * 77_000, refuse);
        assert!((60..150).contains(&rig.dials.len()), "{}", rig.dials.len());
        let back = rig.now;
        while rig.dialled.is_empty() {
            rig.turn(SCAN);
            assert!(rig.now - back <= 1_300_000, "it is not tried");
        }
        let upstream = rig.connect();
        rig.ask(client, 2, "RXA");
        assert_eq!(serve(&mut rig, upstream), 1);
        assert_eq!(rig.heard(client), ["2 done success (0)"]);
    }
}

/// A server that takes connections and says nothing: once it was tried in vain nobody waits for it for long, and a
/// connection that was being made when it is back counts at once.
#[test]
fn the_only_server_is_not_waited_for_again_and_again() {
    let mut rig = Rig::with_servers(Settings::default(), &[0], &["RXA"]);
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    rig.pass(4_800_000, SCAN);
    assert_eq!(rig.heard(client), [""; 0], "the first time it is waited for");
    rig.pass(300_000, SCAN);
    assert_eq!(rig.heard(client), ["2 done unavailable (52)"]);
    away(&mut rig, client, 30_000_000, |_| {});
    for id in 3..100 {
        rig.turn(SCAN);
        rig.ask(client, id, "RXA");
        rig.pass(340_000, SCAN);
        assert_eq!(rig.heard(client), [format!("{id} done unavailable (52)")]);
    }
    while rig.dialled.is_empty() {
        rig.turn(SCAN);
    }
    rig.pass(2_000_000, SCAN);
    let upstream = rig.connect();
    rig.ask(client, 100, "RXA");
    assert_eq!(serve(&mut rig, upstream), 1);
    assert_eq!(rig.heard(client), ["100 done success (0)"]);
    // it is trusted again: a slow connection is waited for
    rig.end(upstream);
    rig.ask(client, 101, "RXA");
    rig.pass(4_000_000, SCAN);
    let upstream = rig.connect();
    assert_eq!(serve(&mut rig, upstream), 1);
    assert_eq!(rig.heard(client), ["101 done success (0)"]);
}

/// Each try counts against the account, which the directory may lock.
#[test]
fn an_account_that_is_refused_is_tried_seldom_and_only_for_a_question() {
    let mut rig = Rig::with_servers(Settings::default(), &[0], &["RXA"]);
    let client = rig.client();
    let refuse = |rig: &mut Rig| {
        for upstream in rig.dialled.clone() {
            rig.engine.upstream_opened(upstream);
            rig.asked(upstream);
            let outcome = Outcome::new(ResultCode::INVALID_CREDENTIALS, "");
            rig.tell(upstream, BIND_ID, Wire::BindResponse(BindOutcome { outcome, credentials: None }));
        }
    };
    away(&mut rig, client, 120_000_000, refuse);
    let tries = rig.dials.len();
    assert!((10..22).contains(&tries), "{tries}");
    rig.pass(60_000_000, SCAN);
    assert_eq!(rig.dials.len(), tries, "nobody asked");
}
