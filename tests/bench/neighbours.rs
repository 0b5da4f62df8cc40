//! What one bad member costs the other nine: their throughput while it is slow, stalled or vanishing, beside that of the
//! phase in which all ten are well, in turns in one run. The front door runs in a process of its own (the library's proxy,
//! with gates, permits, projection and audit, and TLS on both sides); the ten scripted controllers and the load share this one.
//!
//! `cargo bench --bench neighbours -- --help` says how to run it.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    clippy::indexing_slicing,
    reason = "a program for developers that talks to a terminal, over helpers of the tests"
)]
#![allow(dead_code, reason = "it needs a part of the tests' helpers")]

#[path = "../it/app_stage.rs"]
mod app_stage;
#[path = "../it/front_controller.rs"]
mod front_controller;
#[path = "../it/front_gateway.rs"]
mod front_gateway;
#[path = "../it/front_stage.rs"]
mod front_stage;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis::ldap::message::{ResultCode, Scope};

use crate::front_controller::{Controller, Script, done, entry, ldap};
use crate::front_gateway::{Gateway, Member, serve_if_asked};

const HELP: &str = "\
usage: cargo bench --bench neighbours -- [--seconds S] [--rounds R] [--connections N]

  --seconds S      how long each phase lasts in each round (default 3)
  --rounds R       how often each phase has its turn; the median is shown (default 5)
  --connections N  connections to each of the nine, with one request in flight each (default 2)";

const NINE: usize = 9;
const BAD: &str = "BAD";
const PHASES: [&str; 4] = ["all are well", "one is slow", "one is stalled", "one vanishes"];
/// Requests that are made to the bad one at a time.
const AT_THE_BAD_ONE: usize = 8;

struct Arguments {
    seconds: u64,
    rounds: usize,
    connections: usize,
}

fn arguments() -> Result<Arguments, String> {
    let mut given = Arguments { seconds: 3, rounds: 5, connections: 2 };
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let value = words.next().and_then(|value| value.parse::<u32>().ok()).filter(|value| *value > 0);
        let value = value.ok_or_else(|| HELP.to_owned())?;
        match word.as_str() {
            "--seconds" => given.seconds = u64::from(value),
            "--rounds" => given.rounds = value as usize,
            "--connections" => given.connections = value as usize,
            _ => return Err(HELP.to_owned()),
        }
    }
    Ok(given)
}

/// All rounds of one phase.
#[derive(Default)]
struct Row {
    per_second: Vec<f64>,
    relative: Vec<f64>,
    /// Milliseconds of a search over the whole tree.
    whole: Vec<f64>,
    incomplete: usize,
}

fn main() {
    serve_if_asked();
    match arguments() {
        Ok(arguments) => run(&arguments),
        Err(help) => println!("{help}"),
    }
}

fn code(n: usize) -> String {
    format!("GOOD{n}")
}

fn one(n: i32) -> Vec<u8> {
    [entry(n, 1), done(n, ResultCode::SUCCESS)].concat()
}

/// The bad one does what the phase says.
fn bad(phase: Arc<AtomicUsize>) -> Arc<Script> {
    Arc::new(move |wire, request| match phase.load(Ordering::Relaxed) {
        0 => wire.send(&one(request.id)),
        1 => {
            std::thread::sleep(Duration::from_secs(1));
            wire.send(&one(request.id))
        }
        2 => true,
        _ => {
            let bytes = one(request.id);
            wire.send(&bytes[..bytes.len() / 2]);
            let _ = socket2::SockRef::from(&wire.stream.sock).set_linger(Some(Duration::ZERO));
            false
        }
    })
}

fn run(arguments: &Arguments) {
    let phase = Arc::new(AtomicUsize::new(0));
    let member = |code: String, script: Arc<Script>| Member {
        code,
        servers: vec![Controller::new(ldap(script)).address],
        page_size: None,
    };
    let good: Arc<Script> = Arc::new(|wire, request| wire.send(&one(request.id)));
    let mut members: Vec<Member> = (0..NINE).map(|n| member(code(n), Arc::clone(&good))).collect();
    members.push(member(BAD.to_owned(), bad(Arc::clone(&phase))));
    let settings = serde_json::json!({ "shards": 1, "operation_milliseconds": 5_000 });
    let gateway = Gateway::start(settings, &members);
    measure(&gateway, arguments, Duration::from_secs(1));
    let mut rows: [Row; PHASES.len()] = Default::default();
    for round in 0..arguments.rounds {
        let mut healthy = 0.0;
        for (number, row) in rows.iter_mut().enumerate() {
            phase.store(number, Ordering::Relaxed);
            let (per_second, whole) = measure(&gateway, arguments, Duration::from_secs(arguments.seconds));
            if number == 0 {
                healthy = per_second;
            }
            row.per_second.push(per_second);
            row.relative.push(per_second / healthy);
            row.incomplete += whole.iter().filter(|(_, complete)| !complete).count();
            row.whole.extend(whole.iter().map(|(took, _)| took.as_secs_f64() * 1e3));
        }
        println!("round {} of {} done", round + 1, arguments.rounds);
    }
    println!(
        "\n{:<16} {:>12} {:>12} {:>17}   {:>18} {:>12}",
        "phase", "nine: op/s", "x all well", "(least to most)", "whole tree: p50 ms", "incomplete"
    );
    for (name, row) in PHASES.iter().zip(&mut rows) {
        let searches = row.whole.len();
        let (middle, least, most) = spread(&mut row.relative);
        println!(
            "{name:<16} {:>12.0} {middle:>12.3} {:>17}   {:>18.1} {:>12}",
            spread(&mut row.per_second).0,
            format!("({least:.3} to {most:.3})"),
            spread(&mut row.whole).0,
            format!("{} of {searches}", row.incomplete),
        );
    }
}

/// The median, the least and the most.
fn spread(values: &mut [f64]) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
    (at(values.len() / 2), at(0), at(values.len().saturating_sub(1)))
}

/// Loads all ten for a while: answers of the nine per second, and how each search over the whole tree went.
fn measure(gateway: &Gateway, arguments: &Arguments, time: Duration) -> (f64, Vec<(Duration, bool)>) {
    let over = AtomicBool::new(false);
    let (answers, whole) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let mut per_second = 0.0;
    std::thread::scope(|scope| {
        for n in 0..NINE * arguments.connections {
            let (over, answers) = (&over, &answers);
            scope.spawn(move || {
                let mut client = gateway.client();
                let base = format!("ou=people,ou={},o=federation", code(n % NINE));
                while !over.load(Ordering::Relaxed) {
                    let answer = client.search(&base, Scope::Subtree, "(sn=person)");
                    assert_eq!((answer.code, answer.entries.len()), (ResultCode::SUCCESS, 1));
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..AT_THE_BAD_ONE {
            scope.spawn(|| {
                let mut client = gateway.client();
                while !over.load(Ordering::Relaxed) {
                    client.search(&format!("ou=people,ou={BAD},o=federation"), Scope::Subtree, "(sn=person)");
                    // As often in every phase, however fast the answer: the nine are measured.
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        scope.spawn(|| {
            let mut client = gateway.client();
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                let answer = client.search("o=federation", Scope::Subtree, "(sn=person)");
                let persons = answer.entries.iter().filter(|entry| entry.dn.starts_with("uid=")).count();
                assert!(persons >= NINE, "{:?} {}", answer.code, answer.text);
                whole.lock().unwrap().push((began.elapsed(), answer.code == ResultCode::SUCCESS));
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        std::thread::sleep(Duration::from_millis(300));
        let (before, began) = (answers.load(Ordering::Relaxed), Instant::now());
        std::thread::sleep(time);
        let count = answers.load(Ordering::Relaxed) - before;
        per_second = count as f64 / began.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
    });
    (per_second, whole.into_inner().unwrap())
}
