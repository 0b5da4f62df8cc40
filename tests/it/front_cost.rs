//! What an operation and an idle connection cost, counted: system calls of the one shard by strace, memory of a process by
//! what it has resident. Slow and sensitive to nothing but the counts: `tests/run --all` runs them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use portcullis::ldap::message::{Operation, ResultCode, Scope};
use portcullis::proxy::settings::Settings;

use crate::front_stage::{AGREEMENTS, Stage, persons, search};

const PEOPLE: &str = "ou=people,ou=national,o=federation";
const CLIENTS: usize = 16;

/// One at a time: the shard's thread is found by being new.
static ALONE: Mutex<()> = Mutex::new(());

/// Threads of this process that serve a front door.
fn shards() -> BTreeSet<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| {
            let path = task.ok()?.path();
            let comm = std::fs::read_to_string(path.join("comm")).ok()?;
            (comm.trim() == "front-0").then(|| path.file_name()?.to_str()?.parse().ok()).flatten()
        })
        .collect()
}

/// Runs `CLIENTS` clients with one search in flight each while strace counts; calls per search by name.
fn calls_per_search(entries: usize, searches: usize) -> BTreeMap<String, f64> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = shards();
    // the same question is asked all the time, and each is to be counted
    let settings = Settings { shards: 1, shared_questions: 0, ..Settings::default() };
    let stage = Stage::with(persons(entries), settings);
    let end = Instant::now() + Duration::from_secs(5);
    // a thread names itself a moment after it was made
    let shard = loop {
        match shards().difference(&before).next() {
            Some(shard) => break *shard,
            None => assert!(Instant::now() < end, "the shard's thread"),
        }
    };
    stage.reload(&AGREEMENTS.replace("size: 500", "size: 1000"));
    let (go, left) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(searches)));
    let workers: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = stage.client();
            assert_eq!(client.search(PEOPLE, Scope::Subtree, "(uid=n1)").code, ResultCode::SUCCESS);
            let (go, left) = (Arc::clone(&go), Arc::clone(&left));
            std::thread::spawn(move || {
                while !go.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                while left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1)).is_ok() {
                    let answer = client.search(PEOPLE, Scope::Subtree, "(uid=n1)");
                    assert_eq!((answer.code, answer.entries.len()), (ResultCode::SUCCESS, entries));
                }
            })
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("calls");
    let mut strace = Command::new("strace")
        .args(["-c", "-U", "calls,name", "-p", &shard.to_string(), "-o"])
        .arg(&report)
        .stderr(Stdio::null())
        .spawn()
        .expect("strace (Debian package strace)");
    // the tracer is attached once the thread says so
    let status = format!("/proc/self/task/{shard}/status");
    let end = Instant::now() + Duration::from_secs(5);
    while std::fs::read_to_string(&status).unwrap().contains("TracerPid:\t0\n") {
        assert!(Instant::now() < end, "strace did not attach");
        std::thread::sleep(Duration::from_millis(5));
    }
    go.store(true, Ordering::Release);
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let interrupted = Command::new("kill").args(["-INT", &strace.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    strace.wait().unwrap();
    let text = std::fs::read_to_string(&report).unwrap();
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let count: f64 = words.next()?.parse().ok()?;
        Some((words.next()?.to_owned(), count / searches as f64))
    });
    lines.filter(|(name, _)| name != "total").collect()
}

/// The fewest calls of some runs: foreign load wakes the shard for less at a time and only ever adds.
fn at_most(most: f64, entries: usize, searches: usize) {
    let mut fewest = f64::MAX;
    for _ in 0..4 {
        let calls = calls_per_search(entries, searches);
        let total: f64 = calls.values().sum();
        println!("system calls per search of {entries}: {total:.2} {calls:.2?}");
        assert!(total > 0.1, "nothing was counted");
        fewest = fewest.min(total);
        if fewest <= most {
            return;
        }
    }
    panic!("{fewest:.2} system calls, more than {most}");
}

#[test]
#[ignore = "slow: runs with tests/run --all"]
fn a_single_search_takes_at_most_three_system_calls() {
    at_most(3.0, 1, 8_000);
}

#[test]
#[ignore = "slow: runs with tests/run --all"]
fn a_list_of_a_hundred_takes_at_most_twelve_system_calls() {
    at_most(12.0, 100, 1_500);
}

/// Set in the process that measures itself.
const MEASURE: &str = "PORTCULLIS_TEST_MEASURE_IDLE";

#[test]
#[ignore = "slow: runs with tests/run --all"]
fn an_idle_connection_takes_a_kilobyte_plain_and_ten_with_tls() {
    if std::env::var_os(MEASURE).is_none() {
        // a process of its own: another test's memory must not count
        let this = std::env::current_exe().unwrap();
        let name = "front_cost::an_idle_connection_takes_a_kilobyte_plain_and_ten_with_tls";
        let mut child = Command::new(this);
        child.args(["--exact", name, "--ignored", "--nocapture"]).env(MEASURE, "1");
        assert!(child.status().unwrap().success());
        return;
    }
    let (plain, tls) = idle_bytes();
    println!("resident bytes per idle connection: {plain} plain, {tls} TLS");
    assert!(plain <= 1024, "{plain}");
    assert!(tls <= 10 * 1024, "{tls}");
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

fn idle_bytes() -> (u64, u64) {
    const PLAIN: usize = 2_000;
    const TLS: usize = 500;
    let settings = Settings {
        shards: 1,
        connections_per_address: 10_000,
        message_milliseconds: 600_000,
        ..Settings::default()
    };
    let stage = Stage::with(persons(1), settings);
    let mut warm = stage.client();
    let person = Operation::SearchRequest(search(PEOPLE, Scope::Subtree, "(uid=n1)"));
    assert_eq!(warm.ask(person).code, ResultCode::SUCCESS);
    // the other ends are another process's
    let mut clients = Clients::new();
    clients.open(stage.handle.local_plain_address().unwrap(), "plain", 100);
    clients.open(stage.handle.local_address(), "tls", 100);
    let before = resident();
    clients.open(stage.handle.local_plain_address().unwrap(), "plain", PLAIN);
    let with_plain = resident();
    clients.open(stage.handle.local_address(), "tls", TLS);
    let with_tls = resident();
    let each = |after: u64, before: u64, count: usize| after.saturating_sub(before) / count as u64;
    (each(with_plain, before, PLAIN), each(with_tls, with_plain, TLS))
}

/// A Python that opens connections and keeps them.
struct Clients(std::process::Child);

impl Clients {
    fn new() -> Clients {
        const OPEN: &str = "
import socket, ssl, sys
tls = ssl.create_default_context()
tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
kept = []
for line in sys.stdin:
    kind, host, port, count = line.split()
    for _ in range(int(count)):
        one = socket.create_connection((host, int(port)))
        kept.append(tls.wrap_socket(one) if kind == 'tls' else one)
    print('done', flush=True)
";
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-c", OPEN]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Clients(python.spawn().unwrap())
    }

    fn open(&mut self, at: SocketAddr, kind: &str, count: usize) {
        let stdin = self.0.stdin.as_mut().unwrap();
        writeln!(stdin, "{kind} {} {} {count}", at.ip(), at.port()).unwrap();
        let mut done = [0; 5];
        self.0.stdout.as_mut().unwrap().read_exact(&mut done).unwrap();
        // the shard takes connections in on its own time
        std::thread::sleep(Duration::from_millis(500));
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
