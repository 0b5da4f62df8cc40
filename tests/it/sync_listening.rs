//! Controllers that tell of changes: what changed is published before its turn, and nothing suffers where nobody tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use portcullis::ldap::message::ResultCode;
use portcullis::policy::terms::Membership;
use portcullis::store::audit::NewAudit;
use portcullis::store::port::Store;
use portcullis::sync::running::listening::Listening;
use portcullis::sync::running::member::Syncer;
use portcullis::sync::running::metrics::{Metrics, OfListening};
use portcullis::sync::running::schedule::Schedule;
use portcullis::sync::writing::pause::{PAUSED, Pause, kept};
use prometheus::Registry;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::app_stage::{metric, soon};
use crate::sync_controllers::Bench;
use crate::sync_crash::{SCOPE, guid, published};
use crate::sync_observer::syncer;

const LISTENING: &str = "portcullis_sync_listening{member=\"RXS\"}";
const WAKES: &str = "portcullis_sync_wakes_total{member=\"RXS\"}";
const RUNS: &str = "portcullis_sync_runs_total{member=\"RXS\",outcome=\"done\"}";
const HOUR: Duration = Duration::from_secs(3_600);

/// The schedule and the listeners of a gateway, as it runs them.
pub struct Running {
    registry: Registry,
    pub gate: Arc<AtomicBool>,
    stop: watch::Sender<bool>,
    runtime: Runtime,
}

impl Running {
    pub fn start(mut syncer: Syncer, interval: Duration, wake_seconds: u32) -> Running {
        let (registry, gate) = (Registry::new(), Arc::new(AtomicBool::new(true)));
        let open = Arc::clone(&gate);
        syncer.gates = Arc::new(move |_| open.load(Ordering::Relaxed));
        syncer.hands.settings.wake_seconds = wake_seconds;
        syncer.metrics = Some(Metrics::register(&registry).unwrap());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (stop, stopped) = watch::channel(false);
        let (schedule, handle) = Schedule::new(syncer.clone(), interval);
        runtime.spawn(schedule.run(stopped.clone()));
        let listening = Listening::new(syncer, handle, OfListening::register(&registry).unwrap());
        runtime.spawn(listening.run(stopped));
        Running { registry, gate, stop, runtime }
    }

    pub fn value(&self, name: &str) -> Option<f64> {
        metric(&prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap(), name)
    }

    pub fn listens(&self, member: &str) -> bool {
        self.value(&format!("portcullis_sync_listening{{member=\"{member}\"}}")) == Some(1.0)
    }

    /// Waits until the run that comes with listening is over, and nothing more is asked for.
    pub fn settled(&self, member: &str) {
        let wakes = format!("portcullis_sync_wakes_total{{member=\"{member}\"}}");
        let runs = format!("portcullis_sync_runs_total{{member=\"{member}\",outcome=\"done\"}}");
        soon("it is listened to", 60, || self.listens(member) && self.value(&wakes) >= Some(1.0));
        soon("the first runs are over", 60, || self.value(&runs) >= Some(2.0));
    }

    pub fn end(self) {
        self.stop.send(true).unwrap();
        self.runtime.shutdown_timeout(Duration::from_secs(10));
    }
}

fn title(bench: &Bench, number: u64, title: &str) {
    bench.dc().change(guid(number), |object| {
        object.attributes.insert("title".into(), vec![title.to_owned()]);
    });
}

fn has(bench: &Bench, text: &str) -> bool {
    published(&bench.slapd).values().any(|entry| entry["title"] == text)
}

fn asked(bench: &Bench) -> usize {
    bench.dc().asked.iter().filter(|one| *one == "notify").count()
}

fn audit(bench: &Bench) -> NewAudit {
    NewAudit {
        at: portcullis::ambient::clock::Clock::system().now(),
        actor: "test".into(),
        action: "test.listening".into(),
        member: Some(bench.stage.ods.clone()),
        detail: serde_json::Value::Null,
    }
}

/// The turn is an hour away; a change is there within seconds. Nobody listens while the gate is closed, during a pause, and when the member
/// has left.
#[test]
fn a_change_is_published_long_before_its_turn() {
    let test = "a_change_is_published_long_before_its_turn";
    let Some(bench) = Bench::new(test, 5, SCOPE, "") else { return };
    let running = Running::start(syncer(&bench.stage, &bench.slapd), HOUR, 1);
    running.settled("RXS");
    assert_eq!((asked(&bench), bench.dc().watchers), (1, 1), "one search on one connection");
    let began = Instant::now();
    title(&bench, 1, "Matron");
    soon("the change is published", 20, || has(&bench, "Matron"));
    eprintln!("published after {} ms", began.elapsed().as_millis());

    let given_up = |why: &str| {
        soon(why, 20, || bench.dc().watchers == 0 && running.value(LISTENING) == Some(0.0));
    };
    let again = |why: &str| soon(why, 20, || bench.dc().watchers == 1 && running.listens("RXS"));
    running.gate.store(false, Ordering::Relaxed);
    given_up("the gate is closed");
    title(&bench, 1, "Midwife");
    running.gate.store(true, Ordering::Relaxed);
    again("the gate is open again");
    soon("what changed meanwhile is published", 20, || has(&bench, "Midwife"));

    let pause = Pause {
        by: "officer".into(),
        reason: "why".into(),
        since: portcullis::ambient::clock::Clock::system().now(),
        everybody: false,
    };
    let store = &bench.stage.store;
    store.change_sync(Some(&bench.stage.ods), &[kept(&pause).unwrap()], &audit(&bench)).unwrap();
    given_up("it is paused");
    store.change_sync(Some(&bench.stage.ods), &[(PAUSED.to_owned(), None)], &audit(&bench)).unwrap();
    again("it is resumed");

    let mut member = store.member(&bench.stage.ods).unwrap().unwrap();
    member.state = Membership::Left;
    store.save_member(&member, None, &audit(&bench)).unwrap();
    soon("it has left", 20, || bench.dc().watchers == 0 && running.value(LISTENING).is_none());
    running.end();
}

/// Asked once, told once; the member is synchronised in its turn all the same.
#[test]
fn a_directory_that_will_not_tell_is_read_in_turn_and_not_asked_again() {
    let test = "a_directory_that_will_not_tell_is_read_in_turn_and_not_asked_again";
    for code in [ResultCode(12), ResultCode(53), ResultCode(11), ResultCode(0)] {
        let Some(bench) = Bench::new(test, 5, SCOPE, "") else { return };
        bench.dc().refuse_notify = Some(code);
        let running = Running::start(syncer(&bench.stage, &bench.slapd), Duration::from_secs(2), 1);
        soon("it is asked", 20, || asked(&bench) == 1);
        title(&bench, 1, "Matron");
        soon("the change is published in its turn", 20, || has(&bench, "Matron"));
        // a record that changed, as it does when an officer gives another controller, is worth a question
        std::thread::sleep(Duration::from_secs(4));
        assert_eq!((asked(&bench), running.value(LISTENING), running.value(WAKES)), (1, Some(0.0), None));
        bench.dc().refuse_notify = None;
        let member = bench.stage.store.member(&bench.stage.ods).unwrap().unwrap();
        bench.stage.store.save_member(&member, None, &audit(&bench)).unwrap();
        soon("it is asked again", 20, || running.listens("RXS"));
        running.end();
    }
}

/// What changed while the connection was away is read when it is there again.
#[test]
fn a_connection_that_is_lost_is_made_again_and_nothing_is_missed() {
    let test = "a_connection_that_is_lost_is_made_again_and_nothing_is_missed";
    let Some(bench) = Bench::new(test, 5, SCOPE, "") else { return };
    let running = Running::start(syncer(&bench.stage, &bench.slapd), HOUR, 1);
    running.settled("RXS");
    for round in 1..=2 {
        let text = format!("Matron {round}");
        {
            let mut dc = bench.dc();
            dc.cut += 1;
            dc.change(guid(1), |object| drop(object.attributes.insert("title".into(), vec![text.clone()])));
        }
        soon("what was not told is published", 30, || has(&bench, &text));
        soon("it is listened to again", 30, || running.listens("RXS") && bench.dc().watchers == 1);
        assert_eq!(asked(&bench), 1 + round);
    }
    running.end();
}

/// Another controller tells of a change before the one that is read has it.
#[test]
fn the_controller_that_is_read_is_listened_to() {
    let test = "the_controller_that_is_read_is_listened_to";
    let Some(mut bench) = Bench::new(test, 5, SCOPE, "") else { return };
    bench.run(&[]);
    bench.with_second();
    bench.controllers(|controllers| controllers.reverse());
    let running = Running::start(syncer(&bench.stage, &bench.slapd), HOUR, 1);
    running.settled("RXS");
    assert_eq!((bench.dc().watchers, bench.second().watchers), (1, 0));
    running.end();
}

/// However much is told: few runs, and the last of them has the last state.
#[test]
fn a_flood_of_changes_leads_to_few_runs() {
    let test = "a_flood_of_changes_leads_to_few_runs";
    let Some(bench) = Bench::new(test, 5, SCOPE, "") else { return };
    let running = Running::start(syncer(&bench.stage, &bench.slapd), HOUR, 1);
    running.settled("RXS");
    let (wakes, runs) = (running.value(WAKES).unwrap(), running.value(RUNS).unwrap());
    let (began, mut changes) = (Instant::now(), 0_u32);
    while began.elapsed() < Duration::from_secs(15) {
        for number in 0..5 {
            title(&bench, number, &format!("Nurse {changes}"));
            changes += 1;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let last = format!("Nurse {}", changes - 1);
    soon("the last change is published", 30, || has(&bench, &last));
    let (wakes, runs) = (running.value(WAKES).unwrap() - wakes, running.value(RUNS).unwrap() - runs);
    eprintln!("{changes} changes, {wakes} wake-ups, {runs} runs");
    assert!(changes > 1_000 && wakes <= 7.0 && runs <= wakes, "{changes} changes: {wakes}, {runs}");
    assert_eq!(asked(&bench), 1, "on one connection");
    running.end();
}

/// A change is no reason to try again and again what fails; members beyond the limit, and all with 0, are synchronised in turn.
#[test]
fn what_fails_is_not_repeated_and_the_number_of_listeners_is_bounded() {
    let test = "what_fails_is_not_repeated_and_the_number_of_listeners_is_bounded";
    let Some(bench) = Bench::new(test, 5, SCOPE, "") else { return };
    let running = Running::start(syncer(&bench.stage, &bench.slapd), HOUR, 1);
    running.settled("RXS");
    bench.slapd.signal("KILL");
    let failed =
        || running.value("portcullis_sync_runs_total{member=\"RXS\",outcome=\"target\"}").unwrap_or(0.0);
    title(&bench, 1, "Matron");
    soon("a run fails", 30, || failed() == 1.0);
    let wakes = running.value(WAKES).unwrap();
    for number in 0..4 {
        title(&bench, 2, &format!("Nurse {number}"));
        std::thread::sleep(Duration::from_secs(3));
    }
    assert!(running.value(WAKES).unwrap() > wakes);
    assert_eq!(failed(), 1.0);
    running.end();

    let mut two = syncer(&bench.stage, &bench.slapd);
    two.hands.settings.wake_members = 1;
    let mut other = bench.stage.store.member(&bench.stage.ods).unwrap().unwrap();
    (other.ods, other.revision) = ("RXT".parse().unwrap(), 0);
    let audit = NewAudit { member: Some(other.ods.clone()), ..audit(&bench) };
    bench.stage.store.save_member(&other, None, &audit).unwrap();
    let running = Running::start(two, HOUR, 1);
    soon("the first member has the room", 30, || running.listens("RXS"));
    assert_eq!(running.value("portcullis_sync_listening{member=\"RXT\"}"), Some(0.0));
    assert_eq!(bench.dc().watchers, 1);
    running.end();
}
