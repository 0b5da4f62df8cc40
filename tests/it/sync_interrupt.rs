//! SIGINT and SIGTERM while the real program reads from and writes to real directories: nothing that was begun is left in the dark, and the same
//! command goes on at once.

use std::collections::BTreeSet;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use portcullis::ambient::clock::Clock;
use portcullis::policy::terms::OdsCode;
use portcullis::store::port::Store;
use portcullis::sync::running::schedule::Schedule;
use serde_json::Value;
use tokio::sync::watch;

use crate::sync_observer::syncer;
use crate::sync_register::{HEADING, Rig, row};
use crate::sync_stage::Stage;
use crate::sync_verbs_stage::{Trust, scope, words};

/// Small batches, one write at a time.
const SLOW: &str = "sync: { batch: 5, connections: 1, in_flight: 1 }\n";
const PATIENCE: Duration = Duration::from_secs(30);

fn send(child: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn sync(stage: &Stage, arguments: &[&str]) -> Child {
    spawn(stage.portcullis(&[&["sync"], arguments].concat()))
}

fn lines(stage: &Stage, ods: &str) -> usize {
    stage.store.journal(&ods.parse().unwrap(), 0, 100_000).unwrap().len()
}

/// Whether somebody else could begin now.
fn is_free(stage: &Stage, ods: &str) -> bool {
    let (now, lasts) = (Clock::system().now(), Duration::from_secs(60));
    let lease = stage.store.acquire_lease(&format!("sync/{ods}"), "test", now, lasts).unwrap();
    lease.map(|lease| stage.store.release_lease(&lease).unwrap()).is_some()
}

/// Steps that were begun and of which nothing is known.
fn in_the_dark(stage: &Stage, ods: &str) -> usize {
    let mut open = BTreeSet::new();
    for line in stage.store.journal(&ods.parse().unwrap(), 0, 100_000).unwrap() {
        let key = (line.entry.plan, line.entry.step);
        if line.entry.phase == "intended" {
            open.insert(key)
        } else {
            open.remove(&key)
        };
    }
    open.len()
}

/// Waits for its end; it must have ended with this code.
fn ended(child: Child, code: i32) -> Output {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", words(&output));
    output
}

fn said(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", words(output)))
}

#[test]
fn a_run_ends_after_the_writes_under_way_and_goes_on_at_once() {
    let test = "a_run_ends_after_the_writes_under_way_and_goes_on_at_once";
    let Some(trust) = Trust::new(test, 300, &scope("30d", 1000, 1000), SLOW) else { return };
    let stage = &trust.stage;
    let child = sync(stage, &["run", "RXS"]);
    until("the run writes nothing", || lines(stage, "RXS") > 10);
    trust.slapd.signal("STOP");
    // what was sent may still be carried out: nobody else may have the lease meanwhile
    send(&child, "INT");
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(!is_free(stage, "RXS"));
    trust.slapd.signal("CONT");
    let output = ended(child, 130);
    assert!(is_free(stage, "RXS"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("what is under way ends first"));
    let report = said(&output);
    assert_eq!(
        (&report["outcome"], &report["executed"]["gate_closed"]),
        (&"interrupted".into(), &false.into()),
        "{report:#}"
    );
    assert_eq!(in_the_dark(stage, "RXS"), 0);
    let done: u64 = report["executed"]["done"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    let written = trust.entries().len() - 1;
    assert_eq!(u64::try_from(written).unwrap(), done, "what was done is told, and nothing else was");
    assert!((5..290).contains(&written), "{written}");
    assert_eq!(report["remaining"].as_u64().unwrap() + done, 301);
    assert_eq!(report["pending"]["create"], report["remaining"]);
    // as it is told to a person, and kept
    let status = trust.text(0, &["status", "RXS"]);
    assert!(status.contains("interrupted: ") && status.contains("the same command goes on"), "{status}");
    let history = trust.json(0, &["history", "RXS"]);
    assert_eq!(history[0]["outcome"], "interrupted");
    let began = Instant::now();
    let output = ended(sync(stage, &["run", "RXS"]), 0);
    assert!(!words(&output).contains("another run") && began.elapsed() < Duration::from_secs(20));
    assert_eq!(trust.entries().len(), 302);
}

#[test]
fn what_only_reads_ends_where_it_is() {
    let test = "what_only_reads_ends_where_it_is";
    let Some(trust) = Trust::new(test, 20, &scope("30d", 1000, 1000), SLOW) else { return };
    let stage = &trust.stage;
    trust.slapd.signal("STOP");
    for verb in ["run", "plan"] {
        let child = sync(stage, &[verb, "RXS"]);
        until("it never begins", || !is_free(stage, "RXS"));
        std::thread::sleep(Duration::from_millis(500));
        send(&child, "TERM");
        let began = Instant::now();
        let output = ended(child, 143);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert!(words(&output).contains("the same command goes on from there"), "{}", words(&output));
        assert!(is_free(stage, "RXS"));
    }
    // one that waits for another run has nothing to end
    let (now, lasts) = (Clock::system().now(), Duration::from_secs(60));
    let lease = stage.store.acquire_lease("sync/RXS", "test", now, lasts).unwrap().unwrap();
    let child = sync(stage, &["run", "RXS"]);
    std::thread::sleep(Duration::from_secs(1));
    send(&child, "INT");
    ended(child, 130);
    stage.store.release_lease(&lease).unwrap();
    trust.slapd.signal("CONT");
    assert_eq!(trust.json(0, &["run", "RXS"])["executed"]["done"]["create"], 20);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let test = "a_second_signal_ends_it_at_once";
    let Some(trust) = Trust::new(test, 100, &scope("30d", 1000, 1000), SLOW) else { return };
    let mut child = sync(&trust.stage, &["run", "RXS"]);
    until("the run writes nothing", || lines(&trust.stage, "RXS") > 10);
    trust.slapd.signal("STOP");
    send(&child, "INT");
    std::thread::sleep(Duration::from_secs(1));
    assert!(child.try_wait().unwrap().is_none());
    send(&child, "TERM");
    let began = Instant::now();
    ended(child, 143);
    assert!(began.elapsed() < Duration::from_secs(2));
    trust.slapd.signal("CONT");
    trust.stage.end_lease();
    trust.json(0, &["run", "RXS"]);
    assert_eq!((trust.entries().len(), in_the_dark(&trust.stage, "RXS")), (102, 0));
}

#[test]
fn an_undoing_goes_on_where_it_was_interrupted() {
    let test = "an_undoing_goes_on_where_it_was_interrupted";
    let Some(trust) = Trust::new(test, 300, &scope("30d", 1000, 1000), SLOW) else { return };
    let stage = &trust.stage;
    let plan = trust.json(0, &["run", "RXS"])["written"].as_str().unwrap().to_owned();
    let before = lines(stage, "RXS");
    let child = sync(stage, &["undo", &plan, "--reason", "wrong people"]);
    until("the undoing writes nothing", || lines(stage, "RXS") > before + 10);
    send(&child, "TERM");
    let account = said(&ended(child, 143));
    assert_eq!(
        (&account["outcome"], &account["executed"]["gate_closed"], &account["paused"]["by"]),
        (&"interrupted".into(), &false.into(), &"officer".into()),
        "{account:#}"
    );
    assert!(is_free(stage, "RXS") && in_the_dark(stage, "RXS") == 0);
    assert!((20..300).contains(&trust.entries().len()));
    let account = trust.json(0, &["undo", &plan, "--reason", "wrong people"]);
    assert_eq!(account["outcome"], "undone", "{account:#}");
    assert_eq!(trust.entries().len(), 2, "the unit stays");
}

#[test]
fn a_registration_tells_what_it_did_and_goes_on_with_the_same_file() {
    let test = "a_registration_tells_what_it_did_and_goes_on_with_the_same_file";
    let slow = "sync: { batch: 5, connections: 1, in_flight: 1, parallel: 1 }\n";
    let Some(rig) = Rig::start(test, slow) else { return };
    let rows = |ods: &'static str, domain: &'static str| (0..200).map(move |number| row(ods, domain, number));
    let both = rows("A81001", "one").chain(rows("A81002", "two")).collect::<String>();
    let file = rig.table("people.csv", &format!("{HEADING}{both}"));
    let child = spawn(rig.stage.portcullis(&["register", &file, "--apply"]));
    until("it writes nothing", || lines(&rig.stage, "A81001") > 10);
    send(&child, "INT");
    let page = said(&ended(child, 130));
    assert_eq!(page["error"], "interrupted", "{page:#}");
    let first = &page["organisations"][0];
    assert_eq!((&first["organisation"], &first["outcome"]), (&"A81001".into(), &"interrupted".into()));
    assert_eq!(page["organisations"].as_array().unwrap().len(), 1, "the second is not begun");
    // every row has its answer
    let written = rig.people().len();
    let results = &page["results"];
    assert!((1..200).contains(&written), "{written}");
    assert_eq!(results["not_done"].as_u64().unwrap(), 400, "{results}");
    assert!(is_free(&rig.stage, "A81001") && in_the_dark(&rig.stage, "A81001") == 0);
    let (code, said) = rig.apply(&file);
    assert_eq!((code, &said["error"]), (0, &Value::Null), "{said}");
    assert_eq!(rig.people().len(), 400);
    // before anything is begun, too
    rig.slapd.signal("STOP");
    let child = spawn(rig.stage.portcullis(&["register", "--all", "--apply"]));
    until("it never begins", || !is_free(&rig.stage, "A81001"));
    send(&child, "TERM");
    ended(child, 143);
    assert!(is_free(&rig.stage, "A81001"));
    rig.slapd.signal("CONT");
}

/// What the gateway does when it is told to stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_that_stops_lets_the_writes_under_way_end() {
    let test = "a_schedule_that_stops_lets_the_writes_under_way_end";
    let Some(trust) = Trust::new(test, 300, &scope("30d", 1000, 1000), "") else { return };
    let mut syncer = syncer(&trust.stage, &trust.slapd);
    let settings = &mut syncer.hands.settings;
    (settings.batch, settings.connections, settings.in_flight) = (5, 1, 1);
    let (schedule, _handle) = Schedule::new(syncer, Duration::from_secs(600));
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(schedule.run(stopped));
    tokio::task::block_in_place(|| until("the run writes nothing", || lines(&trust.stage, "RXS") > 10));
    trust.slapd.signal("STOP");
    // by then it waits for an answer, and not between two batches
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    stop.send(true).unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!task.is_finished() && !is_free(&trust.stage, "RXS"));
    trust.slapd.signal("CONT");
    tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
    assert!(is_free(&trust.stage, "RXS") && in_the_dark(&trust.stage, "RXS") == 0);
    let ods: OdsCode = "RXS".parse().unwrap();
    let plans = trust.stage.store.plans(&ods, 10).unwrap();
    assert_eq!(plans[0].state, "interrupted");
}
