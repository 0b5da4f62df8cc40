//! One bad member among ten, and a controller that hangs: in counts, not in times. The other nine are answered as ever, have
//! all the room that they may have, and every request to a hung controller has one answer, at its deadline (T59).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis::ldap::message::{Operation, ResultCode, Scope, Search};
use serde_json::json;

use crate::front_controller::{Controller, done, entry, ldap, probe};
use crate::front_gateway::{Gateway, Member};
use crate::front_stage::{Client, Reply, search};

const NINE: usize = 9;
const BAD: &str = "BAD";
const PERSONS: usize = 3;
/// Questions that one member may have open.
const ROOM: usize = 8;

fn code(n: usize) -> String {
    format!("GOOD{n}")
}

fn base(code: &str) -> String {
    format!("ou=people,ou={code},o=federation")
}

fn answer(id: i32) -> Vec<u8> {
    let mut all: Vec<u8> = (1..=PERSONS).flat_map(|n| entry(id, n)).collect();
    all.extend(done(id, ResultCode::SUCCESS));
    all
}

/// A good controller. Questions for `together` are answered when as many are open as may be.
fn good() -> Controller {
    let open: Mutex<Vec<i32>> = Mutex::default();
    Controller::new(ldap(Arc::new(move |wire, request| {
        if !request.asks_for("together") {
            return wire.send(&answer(request.id));
        }
        let mut open = open.lock().unwrap();
        open.push(request.id);
        open.len() < ROOM || open.drain(..).all(|id| wire.send(&answer(id)))
    })))
}

/// How the bad one is, by number.
const STATES: [&str; 4] = ["well", "slow", "stalled", "vanishing"];

fn bad(state: &Arc<AtomicUsize>) -> Controller {
    let state = Arc::clone(state);
    Controller::new(ldap(Arc::new(move |wire, request| match STATES[state.load(Ordering::Relaxed)] {
        "well" => wire.send(&answer(request.id)),
        "slow" => {
            std::thread::sleep(Duration::from_secs(1));
            wire.send(&answer(request.id))
        }
        "stalled" => true,
        _ => {
            let bytes = answer(request.id);
            wire.send(&bytes[..bytes.len() / 2]);
            let _ = socket2::SockRef::from(&wire.stream.sock).set_linger(Some(Duration::ZERO));
            false
        }
    })))
}

#[test]
fn one_bad_member_of_ten_takes_nothing_from_the_others() {
    let state = Arc::new(AtomicUsize::new(0));
    let member = |code: &str, controller: &Controller| Member {
        code: code.to_owned(),
        servers: vec![controller.address],
        page_size: None,
    };
    let mut members: Vec<Member> = (0..NINE).map(|n| member(&code(n), &good())).collect();
    members.push(member(BAD, &bad(&state)));
    let settings = json!({
        "shards": 1,
        // what is counted here are questions, and many are the same
        "shared_questions": 0,
        "operation_milliseconds": 5_000,
        "mount_in_flight": ROOM,
        // a requester may have more there than there is room for
        "slow_questions_per_requester": 2 * ROOM,
        "back_off_milliseconds": 10,
        "back_off_max_milliseconds": 20,
    });
    let gateway = Gateway::start(settings, &members);
    for (number, name) in STATES.iter().enumerate() {
        state.store(number, Ordering::Relaxed);
        let (others, told) = phase(&gateway);
        println!("{name}: the bad one answered {others} times as ever; otherwise {told:?}");
        match *name {
            "well" => assert!(told.is_empty(), "{told:?}"),
            "stalled" | "vanishing" => assert!(!told.is_empty()),
            _ => {}
        }
        whole_tree(&gateway, name);
    }
    let faults =
        |member: &str| gateway.counts().of("portcullis_front_upstream_faults_total", &[("member", member)]);
    assert!((0..NINE).all(|n| faults(&code(n)) == 0.0));
    assert!(faults(BAD) > 0.0);
    assert_eq!(gateway.shards(), 1);
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

/// Asks all nine while the bad one is asked for more than it may have; what the bad one's requesters were told.
fn phase(gateway: &Gateway) -> (usize, Vec<ResultCode>) {
    const EACH: usize = 60;
    let over = AtomicBool::new(false);
    let (well, told) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..ROOM + 2 {
            scope.spawn(|| {
                let mut client = gateway.client();
                while !over.load(Ordering::Relaxed) {
                    let answer = client.search(&base(BAD), Scope::Subtree, "(sn=person)");
                    match answer.code {
                        ResultCode::SUCCESS => drop(well.fetch_add(1, Ordering::Relaxed)),
                        // Full: others wait for it already.
                        ResultCode::BUSY => std::thread::sleep(Duration::from_millis(20)),
                        code => told.lock().unwrap().push(code),
                    }
                    assert!(answer.code != ResultCode::SUCCESS || answer.entries.len() == PERSONS);
                }
            });
        }
        // The questions to the bad one are under way.
        std::thread::sleep(Duration::from_millis(200));
        std::thread::scope(|scope| {
            for n in 0..NINE {
                scope.spawn(move || {
                    let mut client = gateway.client();
                    for _ in 0..EACH {
                        let answer = client.search(&base(&code(n)), Scope::Subtree, "(sn=person)");
                        assert_eq!((answer.code, answer.entries.len()), (ResultCode::SUCCESS, PERSONS));
                    }
                    all_the_room(&mut client, &code(n));
                });
            }
        });
        over.store(true, Ordering::Relaxed);
    });
    (well.into_inner(), told.into_inner().unwrap())
}

/// A member has as many questions open as it may, whatever another one has: these are answered only together.
fn all_the_room(client: &mut Client, code: &str) {
    let request = || search(&base(code), Scope::Subtree, "(cn=together)");
    let asked: Vec<i32> = (0..ROOM).map(|_| client.send(Operation::SearchRequest(request()))).collect();
    let mut results = Vec::new();
    while results.len() < ROOM {
        if let (id, Reply::Result { code, text, .. }) = client.receive().unwrap() {
            assert_eq!(code, ResultCode::SUCCESS, "{text}");
            results.push(id);
        }
    }
    results.sort_unstable();
    assert_eq!(results, asked);
}

/// A search over the whole tree has the entries of the nine, and says when one is missing.
fn whole_tree(gateway: &Gateway, name: &str) {
    let answer = gateway.client().search("o=federation", Scope::Subtree, "(sn=person)");
    let persons = answer.entries.iter().filter(|entry| entry.dn.starts_with("uid="));
    let good = persons.filter(|entry| !entry.dn.contains("ou=BAD,")).count();
    assert_eq!(good, NINE * PERSONS, "{name}: {:?} {}", answer.code, answer.text);
    match name {
        "well" | "slow" => assert!(matches!(answer.code, ResultCode::SUCCESS | ResultCode::UNAVAILABLE)),
        _ => {
            assert_eq!(answer.code, ResultCode::UNAVAILABLE, "{name}");
            assert!(answer.text.starts_with("1 of 10 directories did not answer"), "{name}: {}", answer.text);
        }
    }
}

/// A controller whose root entry answers and whose searches never end: 240 requests with four different deadlines. Each
/// has one answer, not before its deadline, and as many come out as went in.
#[test]
fn t59_a_hung_controller_leaves_every_request_its_deadline() {
    const CLIENTS: usize = 20;
    const EACH: usize = 12;
    const OURS: u64 = 4;
    let hung = Controller::new(probe(|wire, id| wire.send(&done(id, ResultCode::SUCCESS))));
    let members = [Member { code: BAD.to_owned(), servers: vec![hung.address], page_size: None }];
    let settings = json!({
        "shards": 1,
        // what is counted here are questions, and many are the same
        "shared_questions": 0,
        // nor is it about turns
        "questions_per_requester": CLIENTS * EACH,
        "slow_questions_per_requester": CLIENTS * EACH,
        "operation_milliseconds": OURS * 1_000,
        "silence_milliseconds": 1_000,
        "probe_milliseconds": 3_000,
    });
    let gateway = Gateway::start(settings, &members);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| deadlines(&gateway, EACH, OURS));
        }
    });
    let counts = gateway.counts();
    let faults =
        |reason| counts.of("portcullis_front_upstream_faults_total", &[("member", BAD), ("reason", reason)]);
    assert_eq!(faults("no_answer"), (CLIENTS * EACH / 4) as f64);
    assert_eq!(faults("hung"), 0.0);
    assert_eq!(counts.of("portcullis_front_operation_seconds_count", &[]), (CLIENTS * EACH) as f64);
    assert!(counts.of("portcullis_front_upstream_probes_total", &[("outcome", "answered")]) >= 1.0);
}

/// One client's part of it: time limits of 1, 2, 3 and no seconds.
fn deadlines(gateway: &Gateway, each: usize, ours: u64) {
    /// The clock of the gateway's turns is not ours.
    const EARLY: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(3);
    let mut client = gateway.client();
    let mut open = Vec::new();
    for n in 0..each {
        let limit = (n % 4) as u32;
        let request = Search { time_limit: limit, ..search(&base(BAD), Scope::Subtree, "(sn=person)") };
        open.push((client.send(Operation::SearchRequest(request)), limit, Instant::now()));
    }
    while !open.is_empty() {
        let (id, reply) = client.receive().expect("the connection stays");
        let at = open.iter().position(|(asked, ..)| *asked == id).expect("each is answered once");
        let (_, limit, began) = open.remove(at);
        let Reply::Result { code, .. } = reply else { panic!("{reply:?}") };
        let (deadline, expected) = match limit {
            0 => (ours, ResultCode::UNAVAILABLE),
            theirs => (u64::from(theirs), ResultCode::TIME_LIMIT_EXCEEDED),
        };
        let took = began.elapsed();
        assert_eq!(code, expected);
        assert!(took + EARLY >= Duration::from_secs(deadline), "{took:?} of {deadline} s");
        assert!(took < Duration::from_secs(deadline) + LATE, "{took:?} of {deadline} s");
    }
    // Nothing comes behind: the next message is the next answer.
    assert_eq!(client.search("", Scope::Base, "(objectClass=*)").code, ResultCode::SUCCESS);
}
