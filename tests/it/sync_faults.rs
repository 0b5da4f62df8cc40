//! Seeded fault schedules for sync: crashes at any moment, answers that are lost, late, doubled or out of order, domain controllers that
//! change, lag and go back, a national directory that restarts, a store that fails, clocks that jump, gates that close, runners that stand
//! still while another takes over. The code is the real one from end to end, store included; the directories are scripted.
//!
//! `PORTCULLIS_SEED=N cargo test --test it sync_faults::one_schedule -- --nocapture` runs one again and tells what happened in it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::sync_faults::schedule::{LONGEST, Told, run};

mod chance;
mod check;
mod differential;

mod member;
mod national;
mod process;
mod schedule;
mod store;
mod tree;
mod wire;
mod world;

const ORDINARY: u64 = 300;
const MANY: u64 = 10_000;
/// More than there are cores: much of the time is waiting for deadlines.
const THREADS: usize = 6;

fn guarded(seed: u64) -> Told {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::spawn(move || sender.send(run(seed)));
    match receiver.recv_timeout(LONGEST) {
        Ok(told) => told,
        Err(_) if thread.is_finished() => {
            Told { seed, wrong: vec!["it panicked".to_owned()], ..Told::default() }
        }
        Err(_) => Told { seed, wrong: vec!["it does not end".to_owned()], ..Told::default() },
    }
}

fn schedules(seeds: std::ops::Range<u64>) {
    let began = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let failed: Mutex<BTreeMap<u64, Told>> = Mutex::default();
    let sum: Mutex<Told> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds.end {
                        return;
                    }
                    let told = guarded(seed);
                    let number = seed - seeds.start + 1;
                    if number.is_multiple_of(1_000) {
                        eprintln!("{number} schedules begun, {:?}", began.elapsed());
                    }
                    let mut sum = sum.lock().unwrap();
                    sum.runs += told.runs;
                    sum.writes += told.writes;
                    sum.crashed += told.crashed;
                    sum.failed += told.failed;
                    sum.people += told.people;
                    if !told.wrong.is_empty() {
                        // at once: whoever waits for ten thousand wants to know before
                        eprintln!("seed {seed}: {}", told.wrong[0]);
                        failed.lock().unwrap().insert(seed, told);
                    }
                }
            });
        }
    });
    let (failed, sum) = (failed.into_inner().unwrap(), sum.into_inner().unwrap());
    eprintln!(
        "{} schedules in {:?}: {} runs, of them {} crashed and {} failed, {} writes, {} people published at the end",
        seeds.end - seeds.start,
        began.elapsed(),
        sum.runs,
        sum.crashed,
        sum.failed,
        sum.writes,
        sum.people
    );
    assert!(
        failed.is_empty(),
        "{} of the seeds fail; to run one again: PORTCULLIS_SEED={} cargo test --test it sync_faults::one_schedule -- --nocapture",
        failed.len(),
        failed.keys().next().unwrap()
    );
}

/// Seeds that fail without what they once made us mend. A change of the schedules gives the seeds other stories: then seeds that tell these
/// are looked for anew, by undoing what mended them.
///
/// - 71, 115, 134: the mail of somebody whose entry is deleted at once was given away before it was free.
/// - 13, 34, 55, 89: a page that was read while rights were gone moved the cookie on: what was hidden never came.
/// - 67, 245, 280: a complete pass that was begun anew, on another controller for example, and ended early left the cookie of the one
///   before; the next run read on from there, and took whom that one had seen for gone.
/// - 1000923, 1001469, 1001634: a restored account was staged, and the run ended before it was read in full; the next one took it for whole.
/// - 1001182: the right to see deletions went and came back between two complete passes; the deletion between was told to nobody.
/// - 1001016: an entry that was to be read once more came with a size limit's result code, and counted as not there: its mail was given away.
/// - 1006627: the check itself: who was moved and deleted without our being told goes with the unit that we know them in.
/// - 1000163: the check again: whoever a complete pass did not bring does not come back with a unit.
/// - 1000621: a run that stood still went on with its batch after another had taken over and found its steps not done.
#[test]
fn seeds_that_failed() {
    let more = [1_000_163, 1_000_621, 1_000_923, 1_001_016, 1_001_182, 1_001_469, 1_001_634, 1_006_627];
    for seed in [13, 34, 55, 67, 71, 89, 115, 134, 245, 280].into_iter().chain(more) {
        let told = guarded(seed);
        assert!(told.wrong.is_empty(), "seed {seed}: {:#?}", told.wrong);
    }
}

/// The one of `PORTCULLIS_SEED`, with everything that happened in it.
#[test]
fn one_schedule() {
    let seed = std::env::var("PORTCULLIS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let told = guarded(seed);
    eprintln!("seed {seed}");
    told.trace.iter().for_each(|line| eprintln!("{line}"));
    assert!(told.wrong.is_empty(), "seed {seed}: {:#?}", told.wrong);
}

#[test]
fn some_schedules() {
    schedules(0..ORDINARY);
}

#[test]
#[ignore = "takes minutes"]
fn ten_thousand_schedules() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = number("PORTCULLIS_SEED").unwrap_or(1_000_000);
    schedules(first..first + number("PORTCULLIS_SCHEDULES").unwrap_or(MANY));
}
