//! Large results and clients that do not read them, with every byte counted.

use crate::ldap::codec;
use crate::ldap::limits::Limits;
use crate::ldap::message::{Message, Operation as Wire};
use crate::proxy::engine::core::tests::{Rig, done, person, wide};
use crate::proxy::settings::Settings;

const READ_BYTES: usize = 64 * 1024;
const PER_CLIENT: usize = 256 * 1024;
const GIGABYTE: usize = 1 << 30;

/// Sends entries as long as the connection is read, up to `most` bytes; how many went.
fn stream(rig: &mut Rig, upstream: usize, question: i32, most: usize) -> usize {
    let one = codec::to_bytes(&Message::new(question, Wire::SearchEntry(person("ann").as_wire())));
    let chunk = one.repeat(READ_BYTES / one.len());
    let mut sent = 0;
    while sent < most && rig.dialled.contains(&upstream) && !rig.engine.upstream_paused(upstream) {
        rig.engine.upstream_bytes(upstream, &chunk);
        sent += chunk.len();
    }
    rig.wishes();
    sent
}

fn kept(rig: &mut Rig, client: usize) -> usize {
    rig.engine.client_output(client).map_or(0, |out| out.capacity())
}

/// Where the driver cuts: a result has a TLS record of its own, for clients that take one message each time the socket can
/// be read.
#[test]
fn a_result_is_cut_from_the_entries_before_it() {
    let mut rig = Rig::with_servers(Settings::default(), &[0], &["RXA"]);
    let client = rig.client();
    for id in 2..4 {
        rig.ask(client, id, "RXA");
        let upstream = if id == 2 { rig.connect() } else { *rig.dialled.last().unwrap() };
        let question = rig.questions(upstream)[0];
        rig.tell(upstream, question, Wire::SearchEntry(person("ann").as_wire()));
        rig.tell(upstream, question, done());
        let at = rig.engine.client_result_at(client);
        let out = rig.engine.client_output(client).unwrap();
        assert!(at > 0, "the entry comes first");
        let result = codec::decode(&out[at..], &Limits::default()).unwrap();
        assert!(matches!(result.operation, Wire::SearchDone(_)));
        // The socket takes a part; the place moves along.
        out.drain(..10);
        rig.engine.client_written(client, 10, true);
        assert_eq!(rig.engine.client_result_at(client), at - 10);
        let rest = rig.engine.client_output(client).map(std::mem::take).unwrap().len();
        rig.engine.client_written(client, rest, false);
        assert_eq!(rig.engine.client_result_at(client), 0);
    }
}

/// T55: one client asks for a gigabyte and reads nothing. What it costs is bounded, the directory is no longer read, and
/// others go on over another connection.
#[test]
fn a_client_that_asks_for_everything_and_reads_nothing() {
    let mut rig = Rig::with_servers(Settings::default(), &[0], &["RXA"]);
    let (greedy, quick) = (rig.client(), rig.client());
    rig.ask(greedy, 2, "RXA");
    let upstream = rig.connect();
    let question = rig.questions(upstream)[0];
    let sent = stream(&mut rig, upstream, question, GIGABYTE);
    assert!(sent < PER_CLIENT, "{sent} bytes were read");
    let memory = kept(&mut rig, greedy);
    assert!(memory < PER_CLIENT, "{memory} bytes are kept");
    for id in 2..50 {
        rig.turn(1_000);
        rig.ask(quick, id, "RXA");
        if id == 2 {
            let own = rig.connect();
            assert_ne!(own, upstream, "others have a connection of their own");
        }
        let own = *rig.dialled.last().unwrap();
        assert_eq!(rig.answer(own), 1);
        assert_eq!(rig.heard(quick), [format!("{id} done success (0)")]);
    }
    assert!(rig.engine.upstream_paused(upstream));
    // Once it reads, the rest comes.
    let before = rig.resumed;
    assert!(rig.heard(greedy).len() > 100);
    rig.wishes();
    assert_eq!(rig.resumed, before + 1);
    assert!(!rig.engine.upstream_paused(upstream));
    rig.tell(upstream, question, done());
    assert_eq!(rig.heard(greedy), ["2 done success (0)"]);
}

/// T55: twenty of them, and others are still answered, at once while there are connections and after a moment when
/// there are none.
#[test]
fn twenty_clients_that_read_nothing() {
    let mut rig = Rig::with_servers(Settings::default(), &[0], &["RXA"]);
    let greedy: Vec<usize> = (0..20).map(|_| rig.client()).collect();
    let quick = rig.client();
    for client in &greedy {
        rig.turn(1_000);
        let before = rig.dialled.len();
        rig.ask(*client, 2, "RXA");
        if rig.dialled.len() > before {
            let upstream = rig.connect();
            let question = rig.questions(upstream)[0];
            let sent = stream(&mut rig, upstream, question, GIGABYTE);
            assert!(sent < PER_CLIENT, "{sent}");
        }
    }
    assert_eq!(rig.engine.counts().2, 20, "each has a connection of its own");
    for client in &greedy {
        let memory = kept(&mut rig, *client);
        assert!(memory < PER_CLIENT, "{memory}");
    }
    // All connections are held. The next question takes over the one that was held for longest.
    rig.turn(1_000);
    rig.ask(quick, 2, "RXA");
    rig.pass(300_000, 20_000);
    let held = rig.dialled.clone();
    let answered: usize = held.iter().map(|upstream| rig.answer(*upstream)).sum();
    assert_eq!(answered, 1);
    assert_eq!(rig.heard(quick), ["2 done success (0)"]);
    let ended = greedy.iter().filter(|client| {
        rig.heard(**client).last().is_some_and(|line| line.ends_with("done adminLimitExceeded (11)"))
    });
    assert_eq!(ended.count(), 1);
}

/// A reader that stops while others wait on the same connection: their questions move to another one where they can.
#[test]
fn whoever_shares_a_connection_with_a_slow_reader_moves() {
    let settings = Settings { shared_questions: 0, ..Settings::default() };
    let mut rig = Rig::build(&wide(), Some(1_000), settings, &[0], &["RXA"]);
    let (greedy, other) = (rig.client(), rig.client());
    rig.turn(1_000);
    rig.ask(other, 9, "RXA");
    let first = rig.connect();
    rig.answer(first);
    rig.heard(other);
    rig.ask(greedy, 2, "RXA");
    let question = rig.questions(first)[0];
    rig.ask(other, 2, "RXA");
    assert_eq!(rig.questions(first).len(), 1, "both are on one connection");
    stream(&mut rig, first, question, GIGABYTE);
    rig.pass(200_000, 20_000);
    assert_eq!(rig.dials.len(), 1);
    rig.pass(100_000, 20_000);
    assert_eq!(rig.dials.len(), 2, "moved");
    let second = rig.connect();
    assert_eq!(rig.answer(second), 1);
    assert_eq!(rig.heard(other), ["2 done success (0)"]);
    assert!(rig.engine.upstream_paused(first), "the slow reader keeps its own");
    assert!(rig.heard(greedy).iter().all(|line| line.contains("entry")));
}

/// A reader that keeps up is never held back for good: all of a long result comes through.
#[test]
fn a_good_reader_gets_everything() {
    let mut rig = Rig::with_servers(Settings { size_limit: u32::MAX, ..Settings::default() }, &[0], &["RXA"]);
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    let upstream = rig.connect();
    let question = rig.questions(upstream)[0];
    let (mut sent, mut read) = (0, 0);
    while sent < 4 << 20 {
        let bytes = stream(&mut rig, upstream, question, READ_BYTES);
        assert!(bytes > 0, "nothing is read although the client reads");
        sent += bytes;
        read += rig.heard(client).len();
        rig.turn(100);
    }
    let one = codec::to_bytes(&Message::new(question, Wire::SearchEntry(person("ann").as_wire()))).len();
    assert_eq!(read, sent / one);
}

/// Beside a long result that streams in nobody is put: a question rather waits for a connection to be made, but not for
/// one that is never made.
#[test]
fn a_long_result_has_its_connection_for_itself() {
    let mut rig = Rig::with_servers(Settings::default(), &[0], &["RXA"]);
    let (reader, other) = (rig.client(), rig.client());
    rig.ask(reader, 2, "RXA");
    let first = rig.connect();
    let question = rig.questions(first)[0];
    stream(&mut rig, first, question, READ_BYTES);
    assert!(rig.heard(reader).len() > 64);
    rig.ask(other, 2, "RXA");
    assert_eq!(rig.questions(first).len(), 0);
    let second = rig.connect();
    assert_eq!(rig.answer(second), 1);
    assert_eq!(rig.heard(other), ["2 done success (0)"]);
    rig.end(second);
    stream(&mut rig, first, question, READ_BYTES);
    rig.heard(reader);
    rig.turn(1_000);
    rig.ask(other, 3, "RXA");
    assert_eq!(rig.questions(first).len(), 0, "a third connection is being made");
    rig.pass(320_000, 20_000);
    assert_eq!(rig.answer(first), 1, "it takes too long");
    assert_eq!(rig.heard(other), ["3 done success (0)"]);
}
