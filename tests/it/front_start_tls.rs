//! StartTLS (RFC 4511 section 4.14): what goes before it, how it begins, and bytes that were put behind it.

use std::io::{Read, Write};
use std::net::TcpStream;

use portcullis::ldap::codec;
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{
    Authentication, Bind, Extended, Message, Operation, ResultCode, START_TLS, Scope, WHO_AM_I,
};

use crate::front_stage::{Stage, persons, search};

const PEOPLE: &str = "ou=people,ou=national,o=federation";

fn extended(id: i32, name: &str) -> Vec<u8> {
    let operation = Operation::ExtendedRequest(Extended { name: name.to_owned().into(), value: None });
    codec::to_bytes(&Message::new(id, operation))
}

/// The next message as (id, code, response name), None at the end of the connection.
fn next(tcp: &mut TcpStream) -> Option<(i32, ResultCode, Option<String>)> {
    let limits = Limits::from_directory();
    let mut bytes = Vec::new();
    loop {
        if let Some(length) = codec::frame(&bytes, &limits).unwrap() {
            assert_eq!(length, bytes.len(), "one message at a time");
            let message = codec::decode(&bytes, &limits).unwrap();
            return Some(match message.operation {
                Operation::ExtendedResponse(answer) => {
                    (message.id, answer.outcome.code, answer.name.map(|name| name.into_owned()))
                }
                Operation::BindResponse(answer) => (message.id, answer.outcome.code, None),
                Operation::SearchDone(answer) => (message.id, answer.code, None),
                other => panic!("{other:?}"),
            });
        }
        let mut byte = [0; 1];
        match tcp.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            Ok(_) => return None,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nothing came in time"),
            Err(_) => return None,
        }
    }
}

fn rest_is_nothing(tcp: &mut TcpStream) {
    let mut rest = Vec::new();
    // a reset is as good an end as any
    let _ = tcp.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{rest:02x?}");
}

#[test]
fn a_session_after_start_tls_is_like_any_other() {
    let stage = Stage::new(persons(3));
    let mut tcp = stage.plain();
    tcp.write_all(&extended(1, START_TLS)).unwrap();
    assert_eq!(next(&mut tcp), Some((1, ResultCode::SUCCESS, Some(START_TLS.to_owned()))));
    let mut client = stage.over(tcp);
    assert_eq!(client.bind_external().code, ResultCode::SUCCESS);
    assert_eq!(client.search(PEOPLE, Scope::Subtree, "(sn=person)").entries.len(), 3);
    let again = Operation::ExtendedRequest(Extended { name: START_TLS.into(), value: None });
    assert_eq!(client.ask(again).code, ResultCode::OPERATIONS_ERROR, "TLS is there already");
    let root = client.search("", Scope::Base, "(objectClass=*)").entries.remove(0);
    assert!(root.texts("supportedExtension").all(|oid| oid != START_TLS), "not offered twice");
}

#[test]
fn before_tls_there_is_only_the_root_entry_and_start_tls() {
    let stage = Stage::new(persons(1));
    let mut tcp = stage.plain();
    let simple = |name: &str, password: &str| {
        Operation::BindRequest(Bind {
            version: 3,
            name: name.to_owned().into(),
            authentication: Authentication::Simple(password.as_bytes().to_vec().into()),
        })
    };
    let people = Operation::SearchRequest(search(PEOPLE, Scope::Base, "(objectClass=*)"));
    // T18: an empty base, but not the root entry alone
    let widened = Operation::SearchRequest(search("", Scope::Subtree, "(objectClass=*)"));
    let subschema = Operation::SearchRequest(search("cn=subschema", Scope::Base, "(objectClass=*)"));
    tcp.write_all(&codec::to_bytes(&Message::new(19, simple("", "")))).unwrap();
    assert_eq!(next(&mut tcp), Some((19, ResultCode::SUCCESS, None)), "nobody stays nobody");
    let cases = [
        simple("cn=jo,ou=RXA,o=federation", ""),
        simple("cn=jo,ou=RXA,o=federation", "secret"),
        people,
        widened,
        subschema,
    ];
    for (at, operation) in cases.into_iter().enumerate() {
        let id = i32::try_from(at).unwrap() + 1;
        tcp.write_all(&codec::to_bytes(&Message::new(id, operation))).unwrap();
        assert_eq!(next(&mut tcp), Some((id, ResultCode::CONFIDENTIALITY_REQUIRED, None)), "{at}");
    }
    tcp.write_all(&extended(20, WHO_AM_I)).unwrap();
    assert_eq!(next(&mut tcp), Some((20, ResultCode::CONFIDENTIALITY_REQUIRED, None)));
    let mut root = search("", Scope::Base, "(supportedExtension=1.3.6.1.4.1.1466.20037)");
    root.attributes = vec!["1.1".into()];
    tcp.write_all(&codec::to_bytes(&Message::new(21, Operation::SearchRequest(root)))).unwrap();
    let mut bytes = [0; 64];
    let count = tcp.read(&mut bytes).unwrap();
    assert_eq!(bytes[..7], *b"\x30\x09\x02\x01\x15\x64\x04", "an entry without attributes: {count}");
    assert!(stage.directory.heard.lock().unwrap().is_empty(), "nothing was asked behind");
}

/// T33: a request behind StartTLS in the same segment, whole or in part, or in the next one.
#[test]
fn bytes_behind_start_tls_end_the_connection_unread() {
    let stage = Stage::new(persons(1));
    let injected =
        codec::to_bytes(&Message::new(2, Operation::SearchRequest(search("", Scope::Base, "(cn=*)"))));
    for behind in [injected.clone(), injected[..9].to_vec(), vec![0x30], vec![0x16, 3, 1]] {
        let mut tcp = stage.plain();
        tcp.write_all(&[extended(1, START_TLS), behind].concat()).unwrap();
        if let Some(answer) = next(&mut tcp) {
            assert_eq!(answer, (1, ResultCode::SUCCESS, Some(START_TLS.to_owned())));
        }
        rest_is_nothing(&mut tcp);
    }
    assert!(stage.counter("portcullis_front_connections_closed_total", "bytes_before_tls") >= 4.0);
    // after the answer they are no handshake
    let mut tcp = stage.plain();
    tcp.write_all(&extended(1, START_TLS)).unwrap();
    assert!(next(&mut tcp).is_some());
    tcp.write_all(&injected).unwrap();
    let mut answer = Vec::new();
    let _ = tcp.read_to_end(&mut answer);
    assert!(answer.first().is_none_or(|byte| *byte == 0x15), "at most a TLS alert: {answer:02x?}");
}

#[test]
fn start_tls_with_a_value_or_an_unknown_critical_control_changes_nothing() {
    use portcullis::ldap::control::Control;
    let stage = Stage::new(persons(1));
    let mut tcp = stage.plain();
    let with_value =
        Operation::ExtendedRequest(Extended { name: START_TLS.into(), value: Some(b"x"[..].into()) });
    tcp.write_all(&codec::to_bytes(&Message::new(1, with_value))).unwrap();
    assert_eq!(next(&mut tcp), Some((1, ResultCode::PROTOCOL_ERROR, None)));
    let plain = Operation::ExtendedRequest(Extended { name: START_TLS.into(), value: None });
    let mut message = Message::new(2, plain);
    message.controls.push(Control { oid: "1.2.3".into(), critical: true, value: None });
    tcp.write_all(&codec::to_bytes(&message)).unwrap();
    assert_eq!(next(&mut tcp), Some((2, ResultCode::UNAVAILABLE_CRITICAL_EXTENSION, None)));
    tcp.write_all(&extended(3, START_TLS)).unwrap();
    assert_eq!(next(&mut tcp), Some((3, ResultCode::SUCCESS, Some(START_TLS.to_owned()))));
    assert_eq!(stage.over(tcp).bind_external().code, ResultCode::SUCCESS);
}
