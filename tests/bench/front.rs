//! What operations cost a proxy: CPU seconds of the proxy's process per 10,000 operations, for Portcullis beside HAProxy
//! and OpenLDAP's own proxies, all up together and measured in turns in one run.
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
mod slow;
mod wire;

use std::process::ExitCode;
use std::time::Duration;

use crate::lab::{Lab, Peer};
use crate::load::{Outcome, Shape, Work};

const HELP: &str = "\
usage: cargo bench --bench front -- [--seconds S] [--rounds R] [--entries N] [--only CELL,...] [--proxies NAME,...]

  --seconds S      how long each proxy is loaded in each round (default 2)
  --rounds R       how often each proxy has its turn; the median is shown (default 3)
  --entries N      entries in the directory behind (default 10000)
  --only CELLS     single, base, list, deep, session, one, slow (default: all of them)
  --proxies NAMES  direct, portcullis, haproxy-tcp, haproxy-tls, back-ldap, back-meta (default: all of them; HAProxy
                   is always there, for the ratios)

Needs slapd (with back-ldap and back-meta) and haproxy: `deploy/lab/install --also haproxy`.";

/// One kind of load, and what the ratio to HAProxy with the same cryptography is to be at most.
struct Cell {
    name: &'static str,
    what: &'static str,
    work: Work,
    connections: usize,
    depth: usize,
    claim: Option<f64>,
}

const CELLS: [Cell; 6] = [
    cell("single", "single-entry search, 16 connections", Work::Single, 16, 1, Some(1.0)),
    cell("base", "base read, 16 connections", Work::Base, 16, 1, Some(1.0)),
    cell("list", "list of 100 entries, 16 connections", Work::List, 16, 1, Some(0.7)),
    cell("deep", "single-entry search, 16 connections, 8 in flight on each", Work::Single, 16, 8, Some(1.1)),
    cell("session", "connect, TLS, bind, search, unbind, 16 at once", Work::Session, 16, 1, Some(0.6)),
    cell("one", "single-entry search, one client", Work::Single, 1, 1, None),
];

const fn cell(
    name: &'static str,
    what: &'static str,
    work: Work,
    connections: usize,
    depth: usize,
    claim: Option<f64>,
) -> Cell {
    Cell { name, what, work, connections, depth, claim }
}

struct Arguments {
    seconds: f64,
    rounds: usize,
    entries: usize,
    only: Vec<String>,
    proxies: Vec<String>,
}

impl Arguments {
    fn wants(&self, cell: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == cell)
    }

    fn measures(&self, peer: &Peer) -> bool {
        self.proxies.is_empty()
            || peer.name.starts_with("haproxy")
            || self.proxies.iter().any(|name| name == peer.name)
    }
}

fn arguments() -> Result<Option<Arguments>, String> {
    let mut given =
        Arguments { seconds: 2.0, rounds: 3, entries: 10_000, only: Vec::new(), proxies: Vec::new() };
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
        let list = || value.split(',').map(str::to_owned).collect();
        match word.as_str() {
            "--seconds" => {
                given.seconds = value.parse().map_err(|e: std::num::ParseFloatError| e.to_string())?
            }
            "--rounds" => given.rounds = value.parse().map_err(bad)?,
            "--entries" => given.entries = value.parse().map_err(bad)?,
            "--only" => given.only = list(),
            "--proxies" => given.proxies = list(),
            other => return Err(format!("unknown option {other}\n\n{HELP}")),
        }
    }
    let known = |name: &String| name == "slow" || CELLS.iter().any(|cell| cell.name == name);
    match given.only.iter().find(|name| !known(name)) {
        Some(unknown) => Err(format!("no cell is called {unknown}\n\n{HELP}")),
        None if given.rounds == 0 => Err("--rounds must be at least 1".to_owned()),
        None => Ok(Some(given)),
    }
}

/// All rounds of one proxy.
#[derive(Default)]
struct Row {
    cpu_per_10k: Vec<f64>,
    per_second: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
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
    let mut lab = Lab::up(arguments.entries)?;
    let peers = std::mem::take(&mut lab.peers);
    let peers: Vec<Peer> = peers.into_iter().filter(|peer| arguments.measures(peer)).collect();
    let mut summary = Vec::new();
    for cell in CELLS.iter().filter(|cell| arguments.wants(cell.name)) {
        let rows = measure(&lab, &peers, cell, arguments)?;
        println!("\n{}", cell.what);
        print(&peers, &rows);
        summary.extend(claim(&peers, &rows, cell));
        if cell.name == "one" {
            print_added(&peers, &rows);
        }
    }
    if !summary.is_empty() {
        println!(
            "\nPortcullis to HAProxy in TCP mode with the same TLS on both sides: median of the rounds' ratios"
        );
        summary.iter().for_each(|line| println!("{line}"));
    }
    if arguments.wants("slow") {
        println!("\n20 clients that ask for everything and read nothing; 4 others search");
        slow::run(&lab, &peers, Duration::from_secs_f64(arguments.seconds), arguments.entries)?;
    }
    Ok(())
}

fn measure(lab: &Lab, peers: &[Peer], cell: &Cell, arguments: &Arguments) -> Result<Vec<Row>, String> {
    let shape = Shape {
        work: cell.work,
        connections: cell.connections,
        depth: cell.depth,
        duration: Duration::from_secs_f64(arguments.seconds),
        entries: arguments.entries,
    };
    let mut rows: Vec<Row> = peers.iter().map(|_| Row::default()).collect();
    for round in 0..arguments.rounds {
        // The order turns with each round, so that no proxy always runs beside the same foreign load.
        for turn in 0..peers.len() {
            let at = (turn + round) % peers.len();
            let (peer, row) = (&peers[at], &mut rows[at]);
            let (outcome, used) = loaded(lab, peer, &shape)?;
            row.cpu_per_10k.push(used * 10_000.0 / outcome.operations as f64);
            row.per_second.push(outcome.operations as f64 / arguments.seconds);
            row.p50_us.push(outcome.percentile_us(50));
            row.p99_us.push(outcome.percentile_us(99));
        }
        eprintln!("{}: round {} of {} done", cell.name, round + 1, arguments.rounds);
    }
    Ok(rows)
}

/// One turn, with the CPU seconds that the proxy used.
fn loaded(lab: &Lab, peer: &Peer, shape: &Shape) -> Result<(Outcome, f64), String> {
    let before = meter::cpu_seconds(peer.pid);
    let outcome = load::run(lab, peer, shape).map_err(|e| format!("{}: {e}", peer.name))?;
    let used = meter::cpu_seconds(peer.pid) - before;
    if outcome.operations == 0 {
        return Err(format!("{}: not one operation was answered", peer.name));
    }
    Ok((outcome, used))
}

fn row_of<'r>(peers: &[Peer], rows: &'r [Row], name: &str) -> Option<&'r Row> {
    peers.iter().zip(rows).find(|(peer, _)| peer.name == name).map(|(_, row)| row)
}

fn print(peers: &[Peer], rows: &[Row]) {
    println!(
        "{:<14} {:>10} {:>14} {:>14} {:>8} {:>8} {:>8}",
        "proxy", "CPU s/10k", "x haproxy-tcp", "x haproxy-tls", "op/s", "p50 us", "p99 us"
    );
    for (peer, row) in peers.iter().zip(rows) {
        let against = |name: &str| match row_of(peers, rows, name) {
            Some(other) => format!("{:.2}", median(&ratios(row, other))),
            None => "-".to_owned(),
        };
        println!(
            "{:<14} {:>10.3} {:>14} {:>14} {:>8.0} {:>8.0} {:>8.0}",
            peer.name,
            median(&row.cpu_per_10k),
            against("haproxy-tcp"),
            against("haproxy-tls"),
            median(&row.per_second),
            median(&row.p50_us),
            median(&row.p99_us)
        );
    }
}

/// Round by round: what else ran on the machine was the same for both.
fn ratios(row: &Row, other: &Row) -> Vec<f64> {
    row.cpu_per_10k.iter().zip(&other.cpu_per_10k).map(|(a, b)| a / b).collect()
}

fn claim(peers: &[Peer], rows: &[Row], cell: &Cell) -> Option<String> {
    let ratios = ratios(row_of(peers, rows, "portcullis")?, row_of(peers, rows, "haproxy-tls")?);
    let (least, most) = ratios.iter().fold((f64::MAX, f64::MIN), |(a, b), r| (a.min(*r), b.max(*r)));
    let at_most = cell.claim?;
    let met = if median(&ratios) <= at_most { "met" } else { "NOT MET" };
    let (name, ratio) = (cell.name, median(&ratios));
    Some(format!("{name:<8} {ratio:.2} ({least:.2} to {most:.2})   at most {at_most:.1}: {met}"))
}

/// What a proxy adds to the time of one request.
fn print_added(peers: &[Peer], rows: &[Row]) {
    let Some(direct) = row_of(peers, rows, "direct") else { return };
    for (peer, row) in peers.iter().zip(rows).filter(|(peer, _)| peer.name != "direct") {
        let added = median(&row.p50_us) - median(&direct.p50_us);
        println!("{:<14} adds {added:.0} us to the p50 of a single search", peer.name);
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
