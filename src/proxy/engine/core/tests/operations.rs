//! What becomes of operations: answered, abandoned, closed, out of time.

use super::*;

#[test]
fn a_search_waits_for_the_connection_and_comes_back_as_released() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    rig.search(client, 2, "(uid=ann)");
    assert_eq!(rig.heard(client), Vec::<String>::new());
    let upstream = rig.connect();
    let asked = rig.asked(upstream);
    assert_eq!(asked.len(), 1);
    let id = id_of(&asked[0]);
    assert_eq!(short(&asked[0]), format!("{id} search ou=Staff,{LOCAL} (sAMAccountName=ann)"));
    let entry = codec::to_bytes(&Message::new(id, Wire::SearchEntry(person("ann").as_wire())));
    rig.engine.upstream_bytes(upstream, &entry);
    rig.tell(upstream, id, done());
    let out = rig.engine.client_output(client).unwrap().clone();
    let text = String::from_utf8_lossy(&out).into_owned();
    assert!(
        !text.contains("hidden") && !text.contains("DC=rxa") && !text.contains("sAMAccountName"),
        "{text}"
    );
    assert_eq!(
        rig.heard(client),
        ["2 entry CN=ann,OU=Staff,ou=RXA,o=federation".to_owned(), "2 done success (0)".into()]
    );
    let audit = String::from_utf8(rig.engine.take_audit(true).unwrap()).unwrap();
    assert!(audit.contains("\"filter\":\"(uid=?)\"") && !audit.contains("ann"), "{audit}");
}

/// However the bytes of either side are cut, the outcome is the same.
#[test]
fn every_split_of_the_bytes_is_the_same() {
    let request = codec::to_bytes(&Message::new(2, Wire::SearchRequest(search("(cn=ann)"))));
    for cut in 1..request.len() {
        let mut rig = Rig::new(None);
        let client = rig.client();
        rig.engine.client_bytes(client, &request[..cut]);
        rig.engine.client_bytes(client, &request[cut..]);
        rig.wishes();
        let upstream = rig.connect();
        let id = id_of(&rig.asked(upstream)[0]);
        let mut answer = codec::to_bytes(&Message::new(id, Wire::SearchEntry(person("ann").as_wire())));
        answer.extend(codec::to_bytes(&Message::new(id, done())));
        let cut = cut % answer.len();
        for piece in [&answer[..cut], &answer[cut..]] {
            rig.engine.upstream_bytes(upstream, piece);
        }
        assert_eq!(rig.heard(client).len(), 2, "cut at {cut}");
    }
}

#[test]
fn an_abandoned_question_is_abandoned_behind_and_its_late_answer_is_nobodys() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    rig.search(client, 2, "(uid=ann)");
    let upstream = rig.connect();
    let old = id_of(&rig.asked(upstream)[0]);
    rig.say(client, 3, Wire::AbandonRequest(2));
    let abandoned = rig.asked(upstream);
    assert!(short(&abandoned[0]).ends_with(&format!("abandon {old}")));
    rig.search(client, 4, "(uid=bob)");
    let new = id_of(&rig.asked(upstream)[0]);
    assert!(new != old && new != id_of(&abandoned[0]), "no id is used twice");
    rig.tell(upstream, old, Wire::SearchEntry(person("ann").as_wire()));
    rig.tell(upstream, old, done());
    assert_eq!(rig.heard(client), Vec::<String>::new());
    rig.tell(upstream, new, done());
    assert_eq!(rig.heard(client), ["4 done success (0)"]);
    assert_eq!(rig.engine.counts(), (1, 0, 1));
}

#[test]
fn a_gate_that_closes_ends_the_operation_in_that_turn() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    rig.search(client, 2, "(uid=ann)");
    let upstream = rig.connect();
    rig.asked(upstream);
    rig.gates.set(&rxa(), gate(GateState::Closed));
    rig.turn(10);
    assert_eq!(rig.heard(client), ["2 done noSuchObject (32)"]);
    assert!(short(&rig.asked(upstream)[0]).contains("abandon"));
    // A decision whose time is over is a closed gate as well.
    rig.gates.set(&rxa(), gate(GateState::Open));
    rig.search(client, 3, "(uid=ann)");
    rig.turn(3_600_000_000);
    assert_eq!(rig.heard(client), ["3 done noSuchObject (32)"]);
}

#[test]
fn large_results_are_read_page_by_page() {
    let mut rig = Rig::new(Some(2));
    let client = rig.client();
    rig.search(client, 2, "(cn=*)");
    let upstream = rig.connect();
    let first = rig.asked(upstream);
    let page = |cookie: &[u8]| {
        let mut value = Vec::new();
        let start = ber::open(&mut value, ber::SEQUENCE);
        ber::put_int(&mut value, ber::INTEGER, 0);
        ber::put_octets(&mut value, ber::OCTET_STRING, cookie);
        ber::close(&mut value, start);
        vec![Control { oid: PAGED.into(), critical: false, value: Some(value.into()) }]
    };
    let id = id_of(&first[0]);
    rig.tell(upstream, id, Wire::SearchEntry(person("ann").as_wire()));
    let more = Message { id, operation: done(), controls: page(b"cookie") };
    rig.engine.upstream_bytes(upstream, &codec::to_bytes(&more));
    assert_eq!(rig.heard(client).len(), 1, "the search goes on");
    let second = rig.asked(upstream);
    assert!(second[0].windows(6).any(|bytes| bytes == b"cookie"));
    let id = id_of(&second[0]);
    rig.tell(upstream, id, Wire::SearchEntry(person("bob").as_wire()));
    let last = Message { id, operation: done(), controls: page(b"") };
    rig.engine.upstream_bytes(upstream, &codec::to_bytes(&last));
    assert_eq!(rig.heard(client).last().unwrap(), "2 done success (0)");
}

/// Whoever cannot say whether there is more has not answered, and its question ends with its connection.
#[test]
fn a_page_control_that_is_none_ends_the_question_at_once() {
    let mut rig = Rig::new(Some(1));
    let client = rig.client();
    rig.search(client, 2, "(cn=*)");
    let upstream = rig.connect();
    let id = rig.questions(upstream)[0];
    let control = Control { oid: PAGED.into(), critical: false, value: Some(vec![0x30, 0x80, 1].into()) };
    let end = Message { id, operation: done(), controls: vec![control] };
    rig.engine.upstream_bytes(upstream, &codec::to_bytes(&end));
    rig.wishes();
    assert_eq!(rig.heard(client), ["2 done unavailable (52)"]);
    assert!(!rig.dialled.contains(&upstream));
}

#[test]
fn a_lost_directory_is_left_alone_for_a_while() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    rig.search(client, 2, "(uid=ann)");
    let upstream = rig.dialled[0];
    rig.engine.upstream_ended(upstream);
    rig.wishes();
    assert_eq!(rig.heard(client), ["2 done unavailable (52)"]);
    rig.search(client, 3, "(uid=ann)");
    assert_eq!((rig.heard(client), rig.dialled.len()), (vec!["3 done unavailable (52)".to_owned()], 0));
    rig.turn(400_000);
    rig.search(client, 4, "(uid=ann)");
    assert_eq!(rig.dialled.len(), 1, "tried again");
}

#[test]
fn time_runs_out() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    rig.search(client, 2, "(uid=ann)");
    let upstream = rig.connect();
    rig.asked(upstream);
    rig.turn(14_900_000);
    assert_eq!(rig.heard(client), Vec::<String>::new());
    rig.turn(200_000);
    assert_eq!(rig.heard(client), ["2 done unavailable (52)"]);
}

#[test]
fn the_agreements_rate_holds() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    rig.search(client, 2, "(uid=ann)");
    let upstream = rig.connect();
    for id in 3..60 {
        for asked in rig.asked(upstream) {
            rig.tell(upstream, id_of(&asked), done());
        }
        rig.search(client, id, "(uid=ann)");
    }
    let busy = rig.heard(client).iter().filter(|line| line.contains("busy")).count();
    assert_eq!(busy, 58 - 50);
}

#[test]
fn a_rebind_abandons_what_was_asked_before() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    rig.search(client, 2, "(uid=ann)");
    let upstream = rig.connect();
    let id = id_of(&rig.asked(upstream)[0]);
    let anonymous = Authentication::Simple(b""[..].into());
    rig.say(client, 3, Wire::BindRequest(Bind { version: 3, name: "".into(), authentication: anonymous }));
    rig.tell(upstream, id, Wire::SearchEntry(person("ann").as_wire()));
    rig.tell(upstream, id, done());
    assert_eq!(rig.heard(client), ["3 bind success (0)"]);
    rig.search(client, 4, "(uid=ann)");
    assert_eq!(rig.heard(client), ["4 done strongerAuthRequired (8)"]);
}

/// Random bytes from either side: no panic, nothing kept that grows.
#[test]
fn rubbish_from_either_side() {
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        chance
    };
    let seeds = [
        codec::to_bytes(&Message::new(2, Wire::SearchRequest(search("(&(cn=ann)(!(mail=*a*b)))")))),
        codec::to_bytes(&Message::new(4097, Wire::SearchEntry(person("ann").as_wire()))),
        codec::to_bytes(&Message::new(4097, done())),
    ];
    for _ in 0..2_000 {
        let mut rig = Rig::new(None);
        let client = rig.client();
        rig.search(client, 2, "(cn=*)");
        let upstream = rig.connect();
        let mut bytes = seeds[(next() % 3) as usize].clone();
        for _ in 0..next() % 4 {
            let at = (next() as usize) % bytes.len();
            bytes[at] = next() as u8;
        }
        rig.engine.client_bytes(client, &bytes);
        rig.engine.upstream_bytes(upstream, &bytes);
        rig.turn(1_000);
    }
}

#[test]
fn who_is_taken_out_of_the_directory_is_disconnected() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    rig.search(client, 2, "(uid=ann)");
    let before = &rig.snapshot;
    rig.snapshot = Arc::new(Snapshot {
        agreements: before.agreements.clone(),
        routes: before.routes.clone(),
        mounts: before.mounts.clone(),
        requesters: Arc::new(Requesters::new(b"key")),
    });
    let elapsed = time::Duration::microseconds(i64::try_from(rig.now).unwrap());
    let moment = Moment { microseconds: rig.now, wall: START + elapsed };
    rig.engine.begin(moment, &rig.snapshot, &rig.gates.snapshot());
    assert_eq!(rig.heard(client), ["0 extended strongerAuthRequired (8)"]);
    rig.wishes();
    assert_eq!(rig.engine.counts().0, 0);
}

/// The scope below the base without it: the directory is asked for the subtree, and its base entry is passed over.
#[test]
fn children_come_without_their_parent() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    let request = Search { scope: Scope::Children, ..search("(cn=*)") };
    rig.say(client, 2, Wire::SearchRequest(request));
    let upstream = rig.connect();
    let id = id_of(&rig.asked(upstream)[0]);
    let mut parent = person("Staff");
    parent.dn = format!("OU=Staff,{LOCAL}");
    rig.tell(upstream, id, Wire::SearchEntry(parent.as_wire()));
    rig.tell(upstream, id, Wire::SearchEntry(person("ann").as_wire()));
    rig.tell(upstream, id, done());
    assert_eq!(rig.heard(client), ["2 entry CN=ann,OU=Staff,ou=RXA,o=federation", "2 done success (0)"]);
}

/// Whoever is missing when time is over is counted as whoever could not be asked is.
#[test]
fn a_search_over_the_whole_tree_that_runs_out_of_time_says_how_many_are_missing() {
    let mut rig = Rig::with(&["RXA", "RXB", "RXC"], None, &wide(), Settings::default());
    let client = rig.client();
    rig.say(client, 2, Wire::SearchRequest(Search { base: "o=federation".into(), ..search("(cn=*)") }));
    for upstream in rig.dialled.clone() {
        rig.bind(upstream);
        let id = rig.questions(upstream)[0];
        if rig.servers[&upstream] == "RXB" {
            rig.tell(upstream, id, done());
        }
    }
    // Their servers live: the root entry answers.
    for _ in 0..800 {
        rig.turn(20_000);
        for upstream in rig.dialled.clone() {
            for message in rig.asked(upstream) {
                if id_of(&message) == PROBE_ID {
                    rig.tell(upstream, PROBE_ID, done());
                }
            }
        }
    }
    let bytes = rig.engine.client_output(client).map(std::mem::take).unwrap();
    let last = messages(&bytes).pop().unwrap();
    let message = codec::decode(&last, &Limits::default()).unwrap();
    let Wire::SearchDone(outcome) = message.operation else { panic!("{message:?}") };
    assert_eq!(outcome.code, crate::ldap::message::ResultCode::UNAVAILABLE);
    assert!(outcome.diagnostic.starts_with("2 of 3 directories did not answer"), "{}", outcome.diagnostic);
}

/// T61: the limit for idle connections neither ends a search that takes longer nor counts its time.
#[test]
fn a_long_search_is_not_idle_time() {
    let settings = Settings { idle_milliseconds: 1_000, ..Settings::default() };
    let mut rig = Rig::with_servers(settings, &[0], &["RXA"]);
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    let upstream = rig.connect();
    let question = rig.questions(upstream)[0];
    rig.pass(1_500_000, 20_000);
    rig.tell(upstream, question, done());
    assert_eq!(rig.heard(client), ["2 done success (0)"]);
    rig.pass(900_000, 20_000);
    assert_eq!(rig.heard(client), [""; 0]);
    rig.pass(400_000, 20_000);
    assert_eq!(rig.engine.counts().0, 0);
}

/// T10: a name that our own account may not read and one that is not there are the same.
#[test]
fn what_our_account_may_not_read_is_not_there() {
    let mut answers = Vec::new();
    for code in [ResultCode::NO_SUCH_OBJECT, ResultCode::INSUFFICIENT_ACCESS_RIGHTS] {
        let mut rig = Rig::new(None);
        let client = rig.client();
        for (id, scope) in [(2, Scope::Base), (3, Scope::Subtree)] {
            let base = "cn=ann,ou=Staff,ou=RXA,o=federation".into();
            rig.say(client, id, Wire::SearchRequest(Search { base, scope, ..search("(cn=*)") }));
        }
        let mount = Search { base: "ou=RXA,o=federation".into(), ..search("(cn=*)") };
        rig.say(client, 4, Wire::SearchRequest(mount));
        rig.connect();
        rig.pass(400_000, 20_000);
        for upstream in rig.dialled.clone() {
            for id in rig.questions(upstream) {
                rig.tell(upstream, id, Wire::SearchDone(Outcome::new(code, "no access")));
            }
        }
        answers.push(rig.heard(client));
    }
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].iter().any(|line| line == "2 done noSuchObject (32)"), "{answers:?}");
    assert!(answers[0].iter().any(|line| line == "4 done unavailable (52)"), "{answers:?}");
}
