//! Hostile domain controllers, over real sockets and TLS, the gateway in a process of its own. Whatever one does: its own
//! requester has an honest answer in time, the fault is counted with its member, the neighbour is answered as ever, the
//! gateway's memory stays below a bound, and no thread of it ends (T46, T55, T57 to T59, T64).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portcullis::ldap::codec;
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{BindOutcome, Operation, Outcome, ResultCode, Scope};
use serde_json::json;

use crate::front_controller::{Asked, Controller, Wire, bytes, done, entry, good, ldap, persons};
use crate::front_gateway::{Gateway, Member};
use crate::front_hostile_cases::{Case, Counted, endless, identities, messages, pages};
use crate::front_hostile_links::transport;
use crate::front_stage::{Answer, Client, search};

/// What the gateway may have resident beyond what it had when it began to work. One member's controller has four
/// connections of messages of 8 MiB, each in a buffer that grew by doubling, and clients have their output.
const MEMORY_BYTES: u64 = 64 << 20;
const OPERATION_MILLISECONDS: u64 = 4_000;
/// An answer that is later than its time is not: the machine may have other things to do.
const LATE: Duration = Duration::from_secs(3);
const NEIGHBOUR: &str = "GOOD";
const NEIGHBOUR_PERSONS: usize = 3;

fn settings() -> serde_json::Value {
    json!({
        "shards": 1,
        "operation_milliseconds": OPERATION_MILLISECONDS,
        "dial_milliseconds": 2_000,
        "silence_milliseconds": 1_000,
        "probe_milliseconds": 1_000,
        "back_off_milliseconds": 10,
        "back_off_max_milliseconds": 20,
    })
}

fn base(code: &str) -> String {
    format!("ou=people,ou={code},o=federation")
}

fn member(code: &str, controller: &Controller, page_size: Option<u32>) -> Member {
    Member { code: code.to_owned(), servers: vec![controller.address], page_size }
}

/// One gateway at a time, so that none is slow through the load of another.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A gateway over hostile members and a good one, whose people are asked for all the time.
struct Suite {
    gateway: Arc<Gateway>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    neighbours: Vec<JoinHandle<()>>,
    began_with: u64,
}

/// A suite that failed keeps nobody busy.
impl Drop for Suite {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Suite {
    fn new(mut members: Vec<Member>) -> Suite {
        members.push(member(NEIGHBOUR, &Controller::new(persons(NEIGHBOUR_PERSONS)), None));
        let gateway = Arc::new(Gateway::start(settings(), &members));
        let mut suite = Suite {
            gateway,
            stop: Arc::default(),
            answered: Arc::default(),
            neighbours: Vec::new(),
            began_with: 0,
        };
        for _ in 0..2 {
            let (gateway, stop) = (Arc::clone(&suite.gateway), Arc::clone(&suite.stop));
            let answered = Arc::clone(&suite.answered);
            suite.neighbours.push(std::thread::spawn(move || neighbour(&gateway, &stop, &answered)));
        }
        suite.until_the_neighbour_has(20);
        suite.began_with = suite.gateway.resident_peak();
        suite
    }

    /// Waits for so many more answers to the neighbour.
    fn until_the_neighbour_has(&self, more: usize) {
        let (wanted, end) =
            (self.answered.load(Ordering::Relaxed) + more, Instant::now() + Duration::from_secs(30));
        while self.answered.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < end, "the neighbour is not answered any more");
            assert!(
                self.neighbours.iter().all(|thread| !thread.is_finished()),
                "the neighbour was disturbed"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// After each behaviour: everybody else is well.
    fn all_is_well(&self, after: &str) {
        self.until_the_neighbour_has(4);
        let grown = self.gateway.resident_peak().saturating_sub(self.began_with);
        assert!(grown < MEMORY_BYTES, "after {after}: the gateway took {grown} bytes more");
        assert_eq!(self.gateway.shards(), 1, "after {after}");
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in std::mem::take(&mut self.neighbours) {
            thread.join().unwrap();
        }
        let counts = self.gateway.counts();
        let of_neighbour = |name, label| counts.of(name, &[("member", NEIGHBOUR), label]);
        assert_eq!(counts.of("portcullis_front_upstream_faults_total", &[("member", NEIGHBOUR)]), 0.0);
        assert_eq!(of_neighbour("portcullis_front_operations_total", ("outcome", "unavailable")), 0.0);
        let answered = of_neighbour("portcullis_front_operations_total", ("outcome", "done"));
        assert!(answered >= self.answered.load(Ordering::Relaxed) as f64);
        let log = self.gateway.log();
        assert!(!log.contains("panicked"), "{log}");
        let grown = self.gateway.resident_peak().saturating_sub(self.began_with);
        println!("the neighbour had {answered} answers; {} KiB of memory at most", grown >> 10);
    }
}

/// Asks for the people of the good member, one request after the other. Each must be answered rightly, and in the time that
/// an operation has, or the gateway itself says that it was not.
fn neighbour(gateway: &Gateway, stop: &AtomicBool, answered: &AtomicUsize) {
    let mut client = gateway.client();
    while !stop.load(Ordering::Relaxed) {
        let answer = client.search(&base(NEIGHBOUR), Scope::Subtree, "(sn=person)");
        assert_eq!(answer.code, ResultCode::SUCCESS, "{answer:?}");
        let uids: Vec<&str> = answer.entries.iter().filter_map(|entry| entry.text("uid")).collect();
        assert_eq!(uids, ["n1", "n2", "n3"]);
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// Plays every case against a member of its own, `at_once` at a time, and then all of them at once.
fn play(cases: &[Case], at_once: usize) {
    let _alone = alone();
    let code = |at: usize| format!("H{at:02}");
    let mut members = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        members.push(member(&code(at), &Controller::new(Arc::clone(&case.play)), case.pages));
    }
    let suite = Suite::new(members);
    for (n, some) in cases.chunks(at_once).enumerate() {
        std::thread::scope(|scope| {
            for (at, case) in some.iter().enumerate() {
                let code = code(n * at_once + at);
                let suite = &suite;
                scope.spawn(move || ask(suite, case, &code));
            }
        });
        let names: Vec<&str> = some.iter().map(|case| case.name).collect();
        suite.all_is_well(&names.join(", "));
    }
    everything_at_once(&suite);
    suite.end();
}

/// Asks the member of one case, and looks at the answer and at what is counted.
fn ask(suite: &Suite, case: &Case, code: &str) {
    let mut client = suite.gateway.client();
    let began = Instant::now();
    let request = Operation::SearchRequest(search(&base(code), case.scope, "(sn=person)"));
    let answer = client.ask_with(request, case.controls.clone());
    let took = began.elapsed();
    println!("{}: {:?} with {} entries after {took:?}", case.name, answer.code, answer.entries.len());
    assert!(took < Duration::from_millis(OPERATION_MILLISECONDS) + LATE, "{}: {took:?}", case.name);
    assert!(case.told.contains(&answer.code), "{}: {:?} {}", case.name, answer.code, answer.text);
    assert!(case.entries.contains(&answer.entries.len()), "{}: {}", case.name, answer.entries.len());
    honest(case.name, code, &answer);
    if let Some(look) = case.look {
        look(&answer, &client);
    }
    counted(suite, case, code);
}

/// Nothing in an answer that the member's controller cannot have meant, or that is nobody's business.
fn honest(name: &str, code: &str, answer: &Answer) {
    assert!(!answer.text.contains("DSID") && !answer.text.contains("internal"), "{name}: {answer:?}");
    let below = format!(",{}", base(code));
    for entry in &answer.entries {
        assert!(entry.dn.ends_with(&below), "{name}: {}", entry.dn);
        for attribute in &entry.attributes {
            let released = ["objectClass", "uid", "cn", "sn", "mail", "manager"];
            assert!(released.contains(&attribute.description.as_str()), "{name}: {attribute:?}");
        }
    }
}

fn counted(suite: &Suite, case: &Case, code: &str) {
    let (name, label) = match case.counted {
        Counted::Nothing => return,
        Counted::Fault(reason) => ("portcullis_front_upstream_faults_total", Some(("reason", reason))),
        Counted::Dropped => ("portcullis_front_entries_dropped_total", None),
        Counted::Unavailable => ("portcullis_front_operations_total", Some(("outcome", "unavailable"))),
    };
    let labels: Vec<(&str, &str)> = [("member", code)].into_iter().chain(label).collect();
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let counts = suite.gateway.counts();
        if counts.of(name, &labels) >= 1.0 {
            return;
        }
        assert!(
            Instant::now() < end,
            "{}: {:?} is not counted: {:#?}",
            case.name,
            labels,
            counts.about(code)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A search over the whole tree asks all of them at the same time: it has the neighbour's people, and says that it is not
/// complete.
fn everything_at_once(suite: &Suite) {
    let mut client = suite.gateway.client();
    let answer = client.search("o=federation", Scope::Subtree, "(sn=person)");
    let incomplete = [ResultCode::UNAVAILABLE, ResultCode::SIZE_LIMIT_EXCEEDED];
    assert!(incomplete.contains(&answer.code), "{:?} {}", answer.code, answer.text);
    let below = format!(",{}", base(NEIGHBOUR));
    let neighbours = answer.entries.iter().filter(|entry| entry.dn.ends_with(&below)).count();
    if answer.code == ResultCode::UNAVAILABLE {
        assert_eq!(neighbours, NEIGHBOUR_PERSONS);
        assert!(answer.text.contains("directories did not answer"), "{}", answer.text);
    }
    suite.all_is_well("everything at once");
}

#[test]
fn t46_t48_messages_that_are_none() {
    play(&messages(), 5);
}

#[test]
fn t57_t58_answers_that_were_not_asked_for() {
    play(&identities(), 5);
}

#[test]
fn t59_t64_connections_that_lead_nowhere() {
    play(&transport(), 5);
}

#[test]
fn t55_t57_answers_without_end() {
    play(&endless(), 2);
}

#[test]
fn pages_and_controls_that_lie() {
    play(&pages(), 5);
}

/// Only resultCode 0 binds: every other code that there is, some that are not, one connection each (T22).
#[test]
fn no_other_code_binds() {
    let _alone = alone();
    let tried = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&tried);
    let controller = Controller::new(Arc::new(move |tcp| {
        let Some(mut wire) = Wire::accept(tcp, good()) else { return };
        while let Some(request) = wire.request() {
            if !matches!(request.asked, Asked::Bind) {
                // It was bound by a code that does not bind: this is what must not happen.
                wire.send(&[entry(request.id, 1), done(request.id, ResultCode::SUCCESS)].concat());
                continue;
            }
            let number = counter.fetch_add(1, Ordering::Relaxed) + 1;
            let code = [123, 4_096, 65_536, i32::MAX as u32].get(number.wrapping_sub(124)).copied();
            let code = ResultCode(code.unwrap_or(number as u32));
            let outcome = Outcome::new(code, "DSID-1234 secret.internal.test");
            wire.say(request.id, Operation::BindResponse(BindOutcome { outcome, credentials: None }));
        }
    }));
    let suite = Suite::new(vec![member("BIND", &controller, None)]);
    let mut client = suite.gateway.client();
    let end = Instant::now() + Duration::from_secs(60);
    while tried.load(Ordering::Relaxed) < 128 {
        let answer = client.search(&base("BIND"), Scope::Subtree, "(sn=person)");
        assert_eq!((answer.code, answer.entries.len()), (ResultCode::UNAVAILABLE, 0), "{answer:?}");
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(5));
    }
    let faults = |reason| {
        let labels = [("member", "BIND"), ("reason", reason)];
        suite.gateway.counts().of("portcullis_front_upstream_faults_total", &labels)
    };
    assert_eq!(faults("bind_declined"), 2.0, "busy and unavailable say nothing of the account");
    assert!(faults("bind_refused") >= 125.0, "{}", faults("bind_refused"));
    suite.all_is_well("all codes");
    suite.end();
}

/// Hundreds of requests to a controller that resets every connection: each is answered, and the controller is dialled as
/// often as the back-off allows, not as often as it is asked for.
#[test]
fn hundreds_of_connections_are_reset() {
    let _alone = alone();
    let controller = Controller::new(Arc::new(|tcp| {
        socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
    }));
    let accepted = Arc::clone(&controller.accepted);
    let suite = Suite::new(vec![member("RESET", &controller, None)]);
    let mut client = suite.gateway.client();
    let began = Instant::now();
    for _ in 0..500 {
        let answer = client.search(&base("RESET"), Scope::Subtree, "(sn=person)");
        assert_eq!(answer.code, ResultCode::UNAVAILABLE);
    }
    // After the first fault 5 to 10 milliseconds, then 10 to 20.
    let most = began.elapsed().as_millis() as usize / 5 + 2;
    let dialled = accepted.load(Ordering::Relaxed);
    assert!((1..=most).contains(&dialled), "{dialled} connections in {:?}", began.elapsed());
    suite.all_is_well("resets");
    suite.end();
}

/// Pseudo-random numbers that are the same in every run (xorshift64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

/// One to four changes somewhere in a stream of answers.
fn mutated(mut stream: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(stream.len());
        match dice.roll(8) {
            0 => stream[at] ^= 1 << dice.roll(8),
            1 => stream[at] = dice.roll(256) as u8,
            2 => stream[at] = [0x00, 0x7f, 0x80, 0x84, 0xff, 0x30][dice.roll(6)],
            3 => drop(stream.remove(at)),
            4 => stream.insert(at, dice.roll(256) as u8),
            5 => stream.truncate(at.max(1)),
            6 => {
                let piece = stream[at..(at + dice.roll(64)).min(stream.len())].to_vec();
                let to = dice.roll(stream.len());
                stream.splice(to..to, piece);
            }
            _ => {
                let end = (at + dice.roll(16)).min(stream.len());
                stream.drain(at..end);
                if stream.is_empty() {
                    stream.push(0x30);
                }
            }
        }
    }
    stream
}

/// Whether the stream has the request's result, as the gateway must see it.
fn has_result(mut stream: &[u8], id: i32) -> bool {
    let limits = Limits::from_directory();
    while let Ok(Some(length)) = codec::frame(stream, &limits) {
        let (whole, rest) = stream.split_at(length);
        match codec::decode(whole, &limits) {
            Ok(message) if message.id == id && matches!(message.operation, Operation::SearchDone(_)) => {
                return true;
            }
            Ok(message) if message.id == id => stream = rest,
            _ => return false,
        }
    }
    false
}

/// Answers with changed bytes, seeded: 2,000 of them, by eight controllers at once.
#[test]
fn t64_two_thousand_mutations_disturb_nobody() {
    let _alone = alone();
    const CONTROLLERS: usize = 8;
    const EACH: usize = 250;
    let code = |n: usize| format!("FUZZ{n}");
    let (mut members, mut played) = (Vec::new(), Vec::new());
    for n in 0..CONTROLLERS {
        let dice = std::sync::Mutex::new(Dice(0x9e37_79b9_7f4a_7c15 ^ (n as u64 + 1)));
        let count = Arc::new(AtomicUsize::new(0));
        played.push(Arc::clone(&count));
        let controller = Controller::new(ldap(Arc::new(move |wire, request| {
            let id = request.id;
            let reference = Operation::SearchReference(vec!["ldap://dc1.internal.test/".into()]);
            let stream = [entry(id, 1), bytes(id, reference), entry(id, 2), done(id, ResultCode::SUCCESS)];
            let stream = mutated(stream.concat(), &mut dice.lock().unwrap());
            count.fetch_add(1, Ordering::Relaxed);
            // Without a result the end of the connection is the answer.
            wire.send(&stream) && has_result(&stream, id)
        })));
        members.push(member(&code(n), &controller, None));
    }
    let suite = Suite::new(members);
    let fuzzers: Vec<_> = played
        .into_iter()
        .enumerate()
        .map(|(n, played)| {
            let (gateway, code) = (Arc::clone(&suite.gateway), code(n));
            std::thread::spawn(move || fuzz(&gateway, &code, &played, EACH))
        })
        .collect();
    let unavailable: usize = fuzzers.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert!((CONTROLLERS * EACH / 10..CONTROLLERS * EACH).contains(&unavailable), "{unavailable}");
    suite.all_is_well("mutations");
    suite.end();
}

/// Asks until the controller has `played` so often; how many of those answers were that there is none.
fn fuzz(gateway: &Gateway, code: &str, played: &AtomicUsize, most: usize) -> usize {
    let mut client: Client = gateway.client();
    let mut unavailable = 0;
    loop {
        let before = played.load(Ordering::Relaxed);
        if before >= most {
            return unavailable;
        }
        let answer = client.search(&base(code), Scope::Subtree, "(sn=person)");
        let fine = [ResultCode::SUCCESS, ResultCode::UNAVAILABLE, ResultCode::TIME_LIMIT_EXCEEDED];
        let limits = [ResultCode::SIZE_LIMIT_EXCEEDED, ResultCode::ADMIN_LIMIT_EXCEEDED];
        assert!(fine.contains(&answer.code) || limits.contains(&answer.code), "{answer:?}");
        honest("a mutation", code, &answer);
        match played.load(Ordering::Relaxed) == before {
            // It is left alone for a moment.
            true => std::thread::sleep(Duration::from_millis(1)),
            false => unavailable += usize::from(answer.code == ResultCode::UNAVAILABLE),
        }
    }
}
