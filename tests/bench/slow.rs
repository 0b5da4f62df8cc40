//! Clients that ask for everything and read nothing, beside others that only want to work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::lab::{Lab, Peer};
use crate::load::{self, Shape, Work};
use crate::meter;

const NEVER_READ: usize = 20;
const OTHERS: usize = 4;
/// Until the answers to those that do not read have filled every buffer on their way.
const SETTLE: Duration = Duration::from_millis(1_500);

/// Prints, for each proxy, the throughput of the others beside those that do not read, as a share of their own without
/// them, and how much the proxy's resident memory grew.
pub fn run(lab: &Lab, peers: &[Peer], duration: Duration, entries: usize) -> Result<(), String> {
    println!(
        "{:<14} {:>12} {:>12} {:>8} {:>18}",
        "proxy", "op/s alone", "op/s beside", "share", "KiB per such client"
    );
    let shape = Shape { work: Work::Single, connections: OTHERS, depth: 1, duration, entries };
    // The directory itself last: it may not recover.
    let (direct, proxies): (Vec<&Peer>, Vec<&Peer>) = peers.iter().partition(|peer| peer.name == "direct");
    for peer in proxies.into_iter().chain(direct) {
        let seconds = duration.as_secs_f64();
        let throughput = || load::run(lab, peer, &shape).map(|outcome| outcome.operations as f64 / seconds);
        let alone = throughput().map_err(|e| format!("{}: {e}", peer.name))?;
        let before = meter::resident_kib(peer.pid);
        let stop = AtomicBool::new(false);
        let (beside, after) = std::thread::scope(|scope| {
            let never = scope.spawn(|| load::ask_and_never_read(lab, peer, NEVER_READ, &stop));
            std::thread::sleep(SETTLE);
            // Where nothing is answered at all, that is the result.
            let beside = throughput().unwrap_or(0.0);
            let after = meter::resident_kib(peer.pid);
            stop.store(true, Ordering::Relaxed);
            let ended = never.join().map_err(|_| "a thread died".to_owned()).and_then(|ended| ended);
            if let Err(error) = ended {
                println!("{}: those that do not read: {error}", peer.name);
            }
            (beside, after)
        });
        let grown = (after - before).max(0.0) / NEVER_READ as f64;
        println!(
            "{:<14} {alone:>12.0} {beside:>12.0} {:>7.0}% {grown:>18.0}",
            peer.name,
            beside / alone * 100.0
        );
    }
    Ok(())
}
