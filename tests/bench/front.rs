//! What one single-entry search costs a proxy: CPU seconds of the proxy's process per 10,000 operations, for Portcullis
//! beside HAProxy and OpenLDAP's own proxies, all up together and measured in turns in one run.
//!
//! `cargo bench --bench front -- --help` says how to run it; `tests/bench/README.md` how to read it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a program for developers that talks to a terminal"
)]

mod gateway;
mod lab;
mod load;
mod meter;

use std::process::ExitCode;
use std::time::Duration;

use crate::lab::{Lab, Peer};
use crate::load::{Outcome, Shape};

const HELP: &str = "\
usage: cargo bench --bench front -- [--seconds S] [--rounds R] [--connections N] [--entries N]

  --seconds S      how long each proxy is loaded in each round (default 2)
  --rounds R       how often each proxy has its turn; the median is shown (default 3)
  --connections N  connections with one request in flight each (default 16)
  --entries N      entries in the directory behind (default 10000)

Needs slapd (with back-ldap and back-meta) and haproxy; a proxy that is not installed is left out by name.";

struct Arguments {
    seconds: f64,
    rounds: usize,
    connections: usize,
    entries: usize,
}

fn arguments() -> Result<Option<Arguments>, String> {
    let mut given = Arguments { seconds: 2.0, rounds: 3, connections: 16, entries: 10_000 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--bench" {
            continue; // cargo adds it
        }
        if word == "--help" {
            return Ok(None);
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value\n\n{HELP}"))?;
        let bad = |_| format!("{word}: `{value}` is not a number");
        match word.as_str() {
            "--seconds" => {
                given.seconds = value.parse().map_err(|e: std::num::ParseFloatError| e.to_string())?
            }
            "--rounds" => given.rounds = value.parse().map_err(bad)?,
            "--connections" => given.connections = value.parse().map_err(bad)?,
            "--entries" => given.entries = value.parse().map_err(bad)?,
            other => return Err(format!("unknown option {other}\n\n{HELP}")),
        }
    }
    Ok(Some(given))
}

/// All rounds of one proxy.
#[derive(Default)]
struct Row {
    cpu_per_10k: Vec<f64>,
    per_second: Vec<f64>,
    p50_us: Vec<f64>,
}

fn main() -> ExitCode {
    match arguments().and_then(|a| a.map_or(Ok(false), |a| run(&a).map(|()| true))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    eprintln!("bringing up the directory ({} entries) and the proxies ...", arguments.entries);
    let lab = Lab::up(arguments.entries)?;
    let mut rows: Vec<Row> = lab.peers.iter().map(|_| Row::default()).collect();
    for round in 0..arguments.rounds {
        // The order turns with each round, so that no proxy always runs beside the same foreign load.
        for turn in 0..lab.peers.len() {
            let at = (turn + round) % lab.peers.len();
            let (Some(peer), Some(row)) = (lab.peers.get(at), rows.get_mut(at)) else { continue };
            let outcome = measure(&lab, peer, arguments)?;
            row.cpu_per_10k.push(outcome.1 * 10_000.0 / outcome.0.operations as f64);
            row.per_second.push(outcome.0.operations as f64 / arguments.seconds);
            row.p50_us.push(outcome.0.percentile_us(50));
        }
        eprintln!("round {} of {} done", round + 1, arguments.rounds);
    }
    print(&lab.peers, &rows);
    Ok(())
}

fn measure(lab: &Lab, peer: &Peer, arguments: &Arguments) -> Result<(Outcome, f64), String> {
    let shape = Shape {
        connections: arguments.connections,
        duration: Duration::from_secs_f64(arguments.seconds),
        entries: arguments.entries,
    };
    let before = meter::cpu_seconds(peer.pid);
    let outcome = load::run(lab, peer, &shape).map_err(|e| format!("{}: {e}", peer.name))?;
    let used = meter::cpu_seconds(peer.pid) - before;
    if outcome.operations == 0 {
        return Err(format!("{}: not one search was answered", peer.name));
    }
    Ok((outcome, used))
}

fn print(peers: &[Peer], rows: &[Row]) {
    let reference =
        peers.iter().zip(rows).find(|(p, _)| p.name == "haproxy-tcp").map(|(_, r)| median(&r.cpu_per_10k));
    println!("{:<22} {:>12} {:>12} {:>10} {:>9}", "proxy", "CPU s/10k", "x haproxy", "op/s", "p50 us");
    for (peer, row) in peers.iter().zip(rows) {
        let cpu = median(&row.cpu_per_10k);
        let ratio = reference.map_or("-".to_owned(), |r| format!("{:.2}", cpu / r));
        println!(
            "{:<22} {:>12.3} {:>12} {:>10.0} {:>9.0}",
            peer.name,
            cpu,
            ratio,
            median(&row.per_second),
            median(&row.p50_us)
        );
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
