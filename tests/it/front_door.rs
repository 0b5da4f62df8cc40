//! What clients get at the front door: over real sockets and TLS, with a scripted directory behind.

use std::time::{Duration, Instant};

use portcullis::gate::decide::GateState;
use portcullis::ldap::control::Control;
use portcullis::ldap::entry::{WireAttribute, WireEntry};
use portcullis::ldap::filter::Assertion;
use portcullis::ldap::message::{
    Authentication, Bind, Compare, Extended, Message, Modify, ModifyDn, Operation, ResultCode, Scope, Search,
};

use crate::front_stage::{NATIONAL, Reply, Stage, gate, person, persons, rxa, search, silence};

const PEOPLE: &str = "ou=people,ou=national,o=federation";

fn extended(name: &'static str) -> Operation<'static> {
    Operation::ExtendedRequest(Extended { name: name.into(), value: None })
}

#[test]
fn a_bound_application_searches_and_gets_what_is_released() {
    let stage = Stage::new(persons(1));
    let mut client = stage.client();
    let answer = client.search(PEOPLE, Scope::Subtree, "(uid=n1)");
    assert_eq!(answer.code, ResultCode::SUCCESS, "{answer:?}");
    assert_eq!(answer.text, "", "texts of the directory must not come out");
    let entry = answer.entries.first().unwrap();
    assert_eq!(entry.dn, format!("uid=n1,{PEOPLE}"));
    assert_eq!(entry.text("mail"), Some("n1@national.test"));
    assert!(!entry.has("employeeNumber") && !entry.has("manager"), "{entry:?}");
    let heard = stage.directory.heard();
    assert_eq!(heard.len(), 1);
    assert!(heard[0].contains("ou=people,dc=national,dc=test"), "{heard:?}");
    assert!(!heard[0].contains("employeeNumber") && !heard[0].contains('*'), "{heard:?}");
    let records = stage.records(Duration::from_millis(300));
    let record = records.iter().find(|record| record["operation"] == "search").unwrap();
    assert_eq!(record["requester"], "application:test");
    assert_eq!(record["agreement"], "test");
    assert_eq!(record["filter"], "(uid=?)");
    assert_eq!((&record["code"], &record["entries"]), (&0.into(), &1.into()));
}

#[test]
fn hidden_attributes_do_not_exist() {
    let stage = Stage::new(persons(1));
    let mut client = stage.client();
    for filter in
        ["(employeeNumber=hidden-4711)", "(!(employeeNumber=x))", "(employeeNumber=*)", "(nonsense=1)"]
    {
        let answer = client.search(PEOPLE, Scope::Subtree, filter);
        assert_eq!((answer.code, answer.entries.len()), (ResultCode::SUCCESS, 0), "{filter}");
    }
    assert!(
        stage.directory.heard().is_empty(),
        "the directory must not be asked: {:?}",
        stage.directory.heard()
    );
    let compare = |attribute: &'static str, value: &'static str| {
        Operation::CompareRequest(Compare {
            dn: format!("uid=n1,{PEOPLE}").into(),
            assertion: Assertion::new(attribute, value.as_bytes()),
        })
    };
    for (attribute, value, code) in [
        ("cn", "person 1", ResultCode::COMPARE_TRUE),
        ("cn", "person 2", ResultCode::COMPARE_FALSE),
        ("employeeNumber", "hidden-4711", ResultCode::NO_SUCH_ATTRIBUTE),
        ("employeeNumber", "other", ResultCode::NO_SUCH_ATTRIBUTE),
        ("title", "absent", ResultCode::NO_SUCH_ATTRIBUTE),
    ] {
        assert_eq!(client.ask(compare(attribute, value)).code, code, "{attribute}={value}");
    }
    assert!(
        stage.directory.heard().iter().all(|heard| !heard.contains("Compare")),
        "compares are never sent on"
    );
}

#[test]
fn the_root_and_the_tree() {
    let stage = Stage::new(persons(2));
    let mut anonymous = stage.anonymous();
    let root = Search { attributes: vec!["+".into()], ..search("", Scope::Base, "(objectClass=*)") };
    let root = anonymous.ask(Operation::SearchRequest(root));
    assert_eq!(root.entries[0].text("namingContexts"), Some("o=federation"));
    assert_eq!(root.entries[0].text("supportedSASLMechanisms"), Some("EXTERNAL"));
    for (base, scope) in
        [("", Scope::Subtree), ("", Scope::One), ("cn=config", Scope::Base), ("o=federation", Scope::Base)]
    {
        let answer = anonymous.search(base, scope, "(objectClass=*)");
        assert_eq!((answer.code, answer.entries.len()), (ResultCode::STRONGER_AUTH_REQUIRED, 0), "{base}");
    }
    let mut client = stage.client();
    assert_eq!(client.search("cn=subschema", Scope::Base, "(objectClass=*)").entries.len(), 1);
    assert_eq!(client.search("o=federation", Scope::Base, "(objectClass=*)").entries.len(), 1);
    let units = client.search("O=Federation", Scope::One, "(objectClass=*)");
    let names: Vec<&str> = units.entries.iter().map(|entry| entry.dn.as_str()).collect();
    assert_eq!(names, ["ou=national,o=federation", "ou=RXA,o=federation"]);
    let whole = client.search("o=federation", Scope::Subtree, "(objectClass=*)");
    assert_eq!((whole.code, whole.entries.len()), (ResultCode::SUCCESS, 3 + 4));
    let mount = client.search(NATIONAL, Scope::Subtree, "(objectClass=*)");
    assert_eq!((mount.code, mount.entries.len()), (ResultCode::SUCCESS, 1 + 2));
    for base in ["dc=national,dc=test", "ou=RXZ,o=federation", "<GUID=1>", "ou=nothing here,o=federation"] {
        let answer = client.search(base, Scope::Subtree, "(objectClass=*)");
        assert!(
            matches!(answer.code, ResultCode::NO_SUCH_OBJECT | ResultCode::INVALID_DN_SYNTAX),
            "{base}: {answer:?}"
        );
    }
}

#[test]
fn who_may_bind() {
    let stage = Stage::new(persons(1));
    let mut client = stage.unbound();
    for (name, password, code) in [
        ("", "", ResultCode::SUCCESS),
        ("cn=a", "", ResultCode::UNWILLING_TO_PERFORM),
        ("cn=a", "secret", ResultCode::AUTH_METHOD_NOT_SUPPORTED),
    ] {
        assert_eq!(client.bind_simple(name, password).code, code, "{name}");
    }
    assert_eq!(client.search(PEOPLE, Scope::Base, "(cn=*)").code, ResultCode::STRONGER_AUTH_REQUIRED);
    let external = |authorization: Option<&'static str>| {
        Operation::BindRequest(Bind {
            version: 3,
            name: "".into(),
            authentication: Authentication::Sasl {
                mechanism: "EXTERNAL".into(),
                credentials: authorization.map(|name| name.as_bytes().into()),
            },
        })
    };
    assert_eq!(client.ask(external(Some("u:somebody-else"))).code, ResultCode::INVALID_CREDENTIALS);
    assert_eq!(client.ask(external(Some("dn:cn=application"))).code, ResultCode::SUCCESS);
    let id = client.send(extended("1.3.6.1.4.1.4203.1.11.3"));
    let (of, who) = client.receive().unwrap();
    assert_eq!(of, id);
    let Reply::Extended { code: ResultCode::SUCCESS, value: Some(value), .. } = who else {
        panic!("{who:?}")
    };
    assert_eq!(value, b"dn:cn=application");
    // A failed rebind leaves nobody bound.
    assert_eq!(client.bind_simple("cn=a", "wrong").code, ResultCode::AUTH_METHOD_NOT_SUPPORTED);
    assert_eq!(client.search(PEOPLE, Scope::Base, "(cn=*)").code, ResultCode::STRONGER_AUTH_REQUIRED);
    assert_eq!(stage.anonymous().bind_external().code, ResultCode::INAPPROPRIATE_AUTHENTICATION);
    assert_eq!(stage.stranger().bind_external().code, ResultCode::INVALID_CREDENTIALS);
}

#[test]
fn writes_and_unknown_things_are_refused() {
    let stage = Stage::new(persons(1));
    let mut client = stage.client();
    let dn = format!("uid=n1,{PEOPLE}");
    let attribute = WireAttribute { description: "cn".into(), values: vec![b"x"[..].into()] };
    for write in [
        Operation::AddRequest(WireEntry { dn: dn.as_str().into(), attributes: vec![attribute] }),
        Operation::DeleteRequest(dn.as_str().into()),
        Operation::ModifyRequest(Modify { dn: dn.as_str().into(), changes: vec![] }),
        Operation::ModifyDnRequest(ModifyDn {
            dn: dn.as_str().into(),
            new_rdn: "uid=n2".into(),
            delete_old_rdn: true,
            new_superior: None,
        }),
    ] {
        assert_eq!(client.ask(write).code, ResultCode::UNWILLING_TO_PERFORM);
    }
    assert_eq!(client.ask(extended("1.3.6.1.4.1.1466.20037")).code, ResultCode::OPERATIONS_ERROR);
    assert_eq!(client.ask(extended("1.2.840.113556.1.4.1781")).code, ResultCode::PROTOCOL_ERROR);
    // DirSync and anything else critical; not critical, it is passed over; ManageDsaIT is obeyed.
    for (oid, critical, code) in [
        ("1.2.840.113556.1.4.841", true, ResultCode::UNAVAILABLE_CRITICAL_EXTENSION),
        ("1.2.840.113556.1.4.841", false, ResultCode::SUCCESS),
        ("2.16.840.1.113730.3.4.2", true, ResultCode::SUCCESS),
    ] {
        let request = search(PEOPLE, Scope::Subtree, "(uid=n1)");
        let mut message = Message::new(900, Operation::SearchRequest(request));
        message.controls.push(Control { oid: oid.into(), critical, value: None });
        client.send_message(&message);
        assert_eq!(client.answer(900).code, code, "{oid} {critical}");
    }
    assert!(stage.directory.heard().iter().all(|heard| heard.starts_with("SearchRequest")));
}

#[test]
fn many_in_flight_come_back_under_their_own_ids() {
    let stage = Stage::new(persons(3));
    let mut client = stage.client();
    let mut open: Vec<i32> = (0..60)
        .map(|_| client.send(Operation::SearchRequest(search(PEOPLE, Scope::Subtree, "(sn=person)"))))
        .collect();
    let mut entries = 0;
    while !open.is_empty() {
        match client.receive().unwrap() {
            (id, Reply::Entry(_)) => {
                assert!(open.contains(&id));
                entries += 1;
            }
            (id, Reply::Result { code, .. }) => {
                assert_eq!(code, ResultCode::SUCCESS);
                open.retain(|at| *at != id);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(entries, 180);
}

#[test]
fn too_many_in_flight_are_busy_and_a_used_id_ends_the_connection() {
    let stage = Stage::new(silence());
    let mut client = stage.client();
    let request = || Operation::SearchRequest(search(PEOPLE, Scope::Subtree, "(uid=n1)"));
    for _ in 0..64 {
        client.send(request());
    }
    assert_eq!(client.ask(request()).code, ResultCode::BUSY);
    client.send_message(&Message::new(5, request()));
    assert_eq!(client.notice(), Some(ResultCode::PROTOCOL_ERROR));
}

#[test]
fn an_abandoned_search_is_not_answered() {
    let stage = Stage::new(silence());
    let mut client = stage.client();
    let id = client.send(Operation::SearchRequest(search(PEOPLE, Scope::Subtree, "(uid=n1)")));
    let end = Instant::now() + Duration::from_secs(2);
    while stage.directory.heard().is_empty() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(5));
    }
    client.send(Operation::AbandonRequest(id));
    let who = client.send(extended("1.3.6.1.4.1.4203.1.11.3"));
    assert_eq!(client.receive().unwrap().0, who);
    let end = Instant::now() + Duration::from_secs(2);
    while !stage.directory.heard().iter().any(|heard| heard.starts_with("Abandon")) {
        assert!(Instant::now() < end, "the directory was not told: {:?}", stage.directory.heard());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn size_limits_are_exact_and_ours() {
    let stage = Stage::new(persons(5));
    let mut client = stage.client();
    for (limit, code, count) in
        [(4, ResultCode::SIZE_LIMIT_EXCEEDED, 4), (5, ResultCode::SUCCESS, 5), (6, ResultCode::SUCCESS, 5)]
    {
        let mut request = search(PEOPLE, Scope::Subtree, "(sn=person)");
        request.size_limit = limit;
        let answer = client.ask(Operation::SearchRequest(request));
        assert_eq!((answer.code, answer.entries.len()), (code, count), "limit {limit}");
    }
}

#[test]
fn only_asked_attributes_come() {
    let stage = Stage::new(persons(1));
    let mut client = stage.client();
    for (asked, expected) in [
        (vec!["mail", "employeeNumber"], vec!["mail"]),
        (vec!["1.1"], vec![]),
        (vec!["0.9.2342.19200300.100.1.3"], vec!["mail"]),
    ] {
        let mut request = search(PEOPLE, Scope::Subtree, "(uid=n1)");
        request.attributes = asked.iter().map(|name| (*name).into()).collect();
        let answer = client.ask(Operation::SearchRequest(request));
        let got: Vec<&str> = answer.entries[0].attributes.iter().map(|a| a.description.as_str()).collect();
        assert_eq!(got, expected, "{asked:?}");
    }
}

#[test]
fn a_closing_gate_ends_what_is_in_flight_within_100_milliseconds() {
    let stage = Stage::new(silence());
    let mut client = stage.client();
    let base = "ou=people,ou=RXA,o=federation";
    let id = client.send(Operation::SearchRequest(search(base, Scope::Subtree, "(uid=n1)")));
    let end = Instant::now() + Duration::from_secs(2);
    while stage.directory.heard().is_empty() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(5));
    }
    let closed = Instant::now();
    stage.gates.set(&rxa(), gate(GateState::Closed));
    let answer = client.answer(id);
    let took = closed.elapsed();
    assert_eq!((answer.code, answer.text.as_str()), (ResultCode::NO_SUCH_OBJECT, ""));
    assert!(took < Duration::from_millis(100), "{took:?}");
    // From now on the member is as if it were not there, and nobody learns more from its mount point.
    for (base, scope) in [(base, Scope::Subtree), ("ou=RXA,o=federation", Scope::Base)] {
        let answer = client.search(base, scope, "(objectClass=*)");
        assert_eq!((answer.code, answer.entries.len()), (ResultCode::NO_SUCH_OBJECT, 0));
    }
    let units = client.search("o=federation", Scope::One, "(objectClass=*)");
    assert_eq!(units.entries.len(), 1);
    stage.gates.set(&rxa(), gate(GateState::Open));
    stage.directory.play(persons(1));
    assert_eq!(client.search(base, Scope::Subtree, "(uid=n1)").code, ResultCode::SUCCESS);
}

#[test]
fn a_drain_says_goodbye() {
    let stage = Stage::new(persons(1));
    let mut client = stage.client();
    assert_eq!(client.search(PEOPLE, Scope::Subtree, "(uid=n1)").entries, vec![person_released()]);
    std::thread::scope(|scope| {
        let drained = scope.spawn(|| stage.handle.drain(Duration::from_secs(5)));
        assert_eq!(client.notice(), Some(ResultCode::UNAVAILABLE));
        assert!(drained.join().unwrap());
    });
    assert!(std::net::TcpStream::connect(stage.handle.local_address()).is_err());
}

fn person_released() -> portcullis::ldap::entry::Entry {
    let mut entry = person(1);
    entry.dn = format!("uid=n1,{PEOPLE}");
    entry.attributes.retain(|a| a.description != "employeeNumber" && a.description != "manager");
    entry
}
