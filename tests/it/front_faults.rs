//! Faults on either side of the front door: clients that send rubbish or do not read, directories that hang, die, lie.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::ldap::codec;
use portcullis::ldap::message::{Message, Operation, Outcome, ResultCode, Scope};
use portcullis::proxy::settings::Settings;

use crate::front_stage::{Client, Script, Stage, done, person, persons, say, search, silence};

const PEOPLE: &str = "ou=people,ou=national,o=federation";

fn settings() -> Settings {
    Settings { shards: 1, ..Settings::default() }
}

fn people(client: &mut Client) -> ResultCode {
    client.search(PEOPLE, Scope::Subtree, "(sn=person)").code
}

#[test]
fn malformed_bytes_close_that_connection_only() {
    let stage = Stage::new(persons(1));
    let mut good = stage.client();
    let nested = [vec![0x30, 0x82, 0x20, 0x00, 2, 1, 1, 0x63, 0x82, 0x1f, 0xf9], vec![0xa0; 0x1ff9]].concat();
    let corpus: Vec<(&str, Vec<u8>)> = vec![
        ("http", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("indefinite length", vec![0x30, 0x80, 2, 1, 1, 0x42, 0, 0, 0]),
        ("two gigabytes to come", vec![0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]),
        ("five length bytes", vec![0x30, 0x85, 0, 0, 0, 0, 5, 2, 1, 1]),
        ("message id 0", vec![0x30, 5, 2, 1, 0, 0x42, 0]),
        ("message id -1", vec![0x30, 5, 2, 1, 0xff, 0x42, 0]),
        ("unknown operation", vec![0x30, 5, 2, 1, 1, 0x5f, 0]),
        ("an answer", vec![0x30, 0x0c, 2, 1, 1, 0x65, 7, 0x0a, 1, 0, 4, 0, 4, 0]),
        ("trailing bytes", vec![0x30, 7, 2, 1, 1, 0x42, 0, 0, 0]),
        ("empty", vec![0x30, 0]),
        ("nested", nested),
    ];
    for (name, bytes) in corpus {
        let mut client = stage.client();
        client.raw(&bytes);
        assert_eq!(client.notice(), Some(ResultCode::PROTOCOL_ERROR), "{name}");
        assert_eq!(people(&mut good), ResultCode::SUCCESS, "after {name}");
    }
    assert!(stage.counter("portcullis_front_connections_closed_total", "malformed") > 0.0);
    assert_eq!(stage.counter("portcullis_front_connections_closed_total", "oversized"), 1.0);
}

/// A request whose envelope can be read is answered, whatever it says; the session goes on.
#[test]
fn a_request_that_means_nothing_is_answered_and_the_session_goes_on() {
    let stage = Stage::new(persons(1));
    let mut client = stage.client();
    let good =
        codec::to_bytes(&Message::new(90, Operation::SearchRequest(search("", Scope::Base, "(cn=*)"))));
    let at = good.windows(2).rposition(|pair| pair == b"cn").unwrap();
    let scope = good.windows(3).position(|three| three == [0x0a, 1, 0]).unwrap() + 2;
    for (place, byte, says) in [(at, b')', "name"), (at - 2, 0xaf, "kind of filter"), (scope, 7, "scope")] {
        let mut bytes = good.clone();
        bytes[place] = byte;
        client.raw(&bytes);
        let answer = client.answer(90);
        assert_eq!(answer.code, ResultCode::PROTOCOL_ERROR, "{answer:?}");
        assert!(answer.text.contains(says), "{answer:?}");
        assert_eq!(people(&mut client), ResultCode::SUCCESS);
    }
    assert_eq!(stage.counter("portcullis_front_connections_closed_total", "malformed"), 0.0);
}

#[test]
fn before_a_bind_less_is_taken() {
    let stage = Stage::new(persons(1));
    let long = format!("(cn={})", "x".repeat(20_000));
    let request =
        codec::to_bytes(&Message::new(1, Operation::SearchRequest(search(PEOPLE, Scope::Subtree, &long))));
    let mut unbound = stage.unbound();
    unbound.raw(&request);
    assert_eq!(unbound.notice(), Some(ResultCode::PROTOCOL_ERROR));
    assert_eq!(stage.client().search(PEOPLE, Scope::Subtree, &long).code, ResultCode::SUCCESS);
}

#[test]
fn plain_text_and_silence_are_cut_off() {
    let stage = Stage::with(
        persons(1),
        Settings {
            handshake_milliseconds: 300,
            message_milliseconds: 300,
            idle_milliseconds: 600,
            ..settings()
        },
    );
    let ends = |mut stream: TcpStream| {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut sink = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut sink);
    };
    let mut plain = TcpStream::connect(stage.handle.local_address()).unwrap();
    plain.write_all(&codec::to_bytes(&Message::new(1, Operation::UnbindRequest))).unwrap();
    ends(plain);
    let began = Instant::now();
    ends(TcpStream::connect(stage.handle.local_address()).unwrap());
    assert!(began.elapsed() < Duration::from_secs(3), "the handshake has a limit of time");
    let mut silent = stage.unbound();
    silent.raw(&[]);
    assert_eq!(silent.notice(), Some(ResultCode::UNAVAILABLE));
    let mut half = stage.client();
    half.raw(&[0x30, 0x20, 2]);
    assert_eq!(half.notice(), Some(ResultCode::UNAVAILABLE));
    let mut idle = stage.client();
    assert_eq!(idle.notice(), Some(ResultCode::UNAVAILABLE));
}

#[test]
fn connections_of_one_address_are_counted() {
    let stage = Stage::with(persons(1), Settings { connections_per_address: 3, ..settings() });
    let mut kept: Vec<Client> = (0..3).map(|_| stage.client()).collect();
    let mut refused = TcpStream::connect(stage.handle.local_address()).unwrap();
    refused.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut sink = [0; 16];
    assert!(matches!(std::io::Read::read(&mut refused, &mut sink), Ok(0) | Err(_)));
    kept.pop();
    let end = Instant::now() + Duration::from_secs(2);
    while stage.counter("portcullis_front_connections_closed_total", "connections_per_address") < 1.0 {
        assert!(Instant::now() < end);
    }
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(people(&mut stage.client()), ResultCode::SUCCESS);
    assert_eq!(people(&mut kept[0]), ResultCode::SUCCESS);
}

#[test]
fn a_hung_directory_ends_in_unavailable() {
    let stage = Stage::with(silence(), Settings { operation_milliseconds: 300, ..settings() });
    let mut client = stage.client();
    let began = Instant::now();
    let answer = client.search(PEOPLE, Scope::Subtree, "(uid=n1)");
    assert_eq!(answer.code, ResultCode::UNAVAILABLE);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(stage.counter("portcullis_front_upstream_faults_total", "no_answer"), 1.0);
    // The whole tree says that it is not complete, and how much is missing.
    let whole = client.search("o=federation", Scope::Subtree, "(uid=n1)");
    assert_eq!(whole.code, ResultCode::UNAVAILABLE);
    stage.directory.play(persons(1));
    assert_eq!(people(&mut client), ResultCode::SUCCESS);
}

#[test]
fn the_clients_own_time_limit_is_reported_as_such() {
    let stage = Stage::new(silence());
    let mut client = stage.client();
    let mut request = search(PEOPLE, Scope::Subtree, "(uid=n1)");
    request.time_limit = 1;
    assert_eq!(client.ask(Operation::SearchRequest(request)).code, ResultCode::TIME_LIMIT_EXCEEDED);
}

/// Directories that break the protocol: each loses its connection, and the next search gets a new one.
#[test]
fn a_lying_directory_hurts_only_its_own_answers() {
    let lies: Vec<(&str, Arc<Script>)> = vec![
        ("dies", Arc::new(|_, _| false)),
        (
            "dies in the middle of an entry",
            Arc::new(|message, stream| {
                let entry = person(1);
                let bytes =
                    codec::to_bytes(&Message::new(message.id, Operation::SearchEntry(entry.as_wire())));
                let _ = stream.write_all(&bytes[..bytes.len() - 3]);
                false
            }),
        ),
        ("garbage", Arc::new(|_, stream| stream.write_all(b"\xff\xfe garbage").is_ok())),
        (
            "unknown id",
            Arc::new(|message, stream| {
                say(stream, message.id + 77, done(ResultCode::SUCCESS));
                true
            }),
        ),
        ("oversize", Arc::new(|_, stream| stream.write_all(&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]).is_ok())),
        (
            "wrong operation",
            Arc::new(|message, stream| {
                say(stream, message.id, Operation::DeleteResponse(Outcome::new(ResultCode::SUCCESS, "")));
                true
            }),
        ),
        (
            "disconnects",
            Arc::new(|_, stream| {
                say(stream, 0, Operation::ExtendedResponse(Default::default()));
                true
            }),
        ),
        (
            "refers",
            Arc::new(|message, stream| {
                let referral = vec!["ldap://dc1.internal.test/".into()];
                let outcome = Outcome { code: ResultCode::REFERRAL, referral, ..Outcome::default() };
                say(stream, message.id, Operation::SearchDone(outcome));
                true
            }),
        ),
        (
            "entry outside the base",
            Arc::new(|message, stream| {
                let mut entry = person(1);
                entry.dn = "cn=evil,dc=elsewhere,dc=test".to_owned();
                say(stream, message.id, Operation::SearchEntry(entry.as_wire()));
                say(stream, message.id, done(ResultCode::SUCCESS));
                true
            }),
        ),
    ];
    let fast = Settings { back_off_milliseconds: 10, back_off_max_milliseconds: 20, ..settings() };
    let stage = Stage::with(persons(1), fast);
    let mut client = stage.client();
    for (name, script) in lies {
        stage.directory.play(script);
        let answer = client.search(PEOPLE, Scope::Subtree, "(sn=person)");
        assert_eq!((answer.code, answer.entries.len()), (ResultCode::UNAVAILABLE, 0), "{name}");
        assert!(!answer.text.contains("internal") && !answer.text.contains("DSID"), "{name}: {answer:?}");
        stage.directory.play(persons(1));
        let end = Instant::now() + Duration::from_secs(5);
        while people(&mut client) != ResultCode::SUCCESS {
            assert!(Instant::now() < end, "no recovery after: {name}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn continuations_and_late_answers_are_dropped() {
    let stage = Stage::new(Arc::new(|message, stream| {
        say(stream, message.id, Operation::SearchReference(vec!["ldap://dc1.internal.test/".into()]));
        say(stream, message.id, done(ResultCode::SUCCESS));
        // Once more, when the question is over.
        say(stream, message.id, done(ResultCode::SUCCESS));
        true
    }));
    let mut client = stage.client();
    for _ in 0..20 {
        let answer = client.search(PEOPLE, Scope::Subtree, "(sn=person)");
        assert_eq!((answer.code, answer.entries.len()), (ResultCode::SUCCESS, 0));
    }
    assert_eq!(*stage.directory.connections.lock().unwrap(), 1, "a late answer is no fault");
}

#[test]
fn a_client_that_does_not_read_holds_nobody_up() {
    let big: Arc<Script> = Arc::new(|message, stream| {
        if let Operation::SearchRequest(search) = &message.operation {
            let count = if format!("{}", search.filter).contains("big") { 40_000 } else { 1 };
            let entry = person(1);
            let entry = codec::to_bytes(&Message::new(message.id, Operation::SearchEntry(entry.as_wire())));
            let chunk = entry.repeat(100);
            for _ in 0..count / 100 {
                if stream.write_all(&chunk).is_err() {
                    return false;
                }
            }
            if count == 1 {
                let _ = stream.write_all(&entry);
            }
            say(stream, message.id, done(ResultCode::SUCCESS));
        }
        true
    });
    let stage = Stage::with(
        big,
        Settings {
            output_pause_bytes: 64 * 1024,
            output_bytes: 256 * 1024,
            write_stall_milliseconds: 1_000,
            size_limit: 1_000_000,
            ..settings()
        },
    );
    stage.reload(&crate::front_stage::AGREEMENTS.replace("size: 500", "size: 100000"));
    let mut slow = stage.client();
    slow.send(Operation::SearchRequest(search(PEOPLE, Scope::Subtree, "(cn=big)")));
    std::thread::sleep(Duration::from_millis(300));
    let mut quick = stage.client();
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(quick.search(PEOPLE, Scope::Subtree, "(cn=small)").code, ResultCode::SUCCESS);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
    // In the end the reader that takes nothing is closed.
    let end = Instant::now() + Duration::from_secs(10);
    while stage.counter("portcullis_front_connections_closed_total", "write_stall") < 1.0 {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(20));
    }
    // One that does read gets all of it.
    let mut reader = stage.client();
    let answer = reader.search(PEOPLE, Scope::Subtree, "(cn=big)");
    assert_eq!((answer.code, answer.entries.len()), (ResultCode::SUCCESS, 40_000));
}

#[test]
fn an_agreement_that_ends_ends_what_is_in_flight() {
    let stage = Stage::new(silence());
    let mut client = stage.client();
    let id = client.send(Operation::SearchRequest(search(PEOPLE, Scope::Subtree, "(uid=n1)")));
    std::thread::sleep(Duration::from_millis(100));
    stage.reload(&crate::front_stage::AGREEMENTS.replace("national: true", "national: false"));
    let answer = client.answer(id);
    assert_eq!(answer.code, ResultCode::INSUFFICIENT_ACCESS_RIGHTS);
    assert_eq!(people(&mut client), ResultCode::INSUFFICIENT_ACCESS_RIGHTS);
}

/// T61: the limit for idle connections does not end a search that takes longer, and counts from its end.
#[test]
fn t61_a_search_may_take_longer_than_a_connection_may_idle() {
    let slow: Arc<Script> = Arc::new(|message, stream| {
        std::thread::sleep(Duration::from_millis(1_500));
        say(stream, message.id, Operation::SearchEntry(person(1).as_wire()));
        say(stream, message.id, done(ResultCode::SUCCESS));
        true
    });
    let stage = Stage::with(slow, Settings { idle_milliseconds: 500, ..settings() });
    let mut client = stage.client();
    let answer = client.search(PEOPLE, Scope::Subtree, "(sn=person)");
    let ended = Instant::now();
    assert_eq!((answer.code, answer.entries.len()), (ResultCode::SUCCESS, 1));
    assert_eq!(client.notice(), Some(ResultCode::UNAVAILABLE));
    assert!(ended.elapsed() > Duration::from_millis(400), "{:?}", ended.elapsed());
    assert_eq!(stage.counter("portcullis_front_connections_closed_total", "idle"), 1.0);
}
