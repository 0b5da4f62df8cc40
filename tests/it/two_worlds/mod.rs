//! Two worlds that differ only in what a requester must not see are the same world to it.
//!
//! `engine` speaks one stream of generated requests to two real engines whose directories hold such worlds, and compares
//! everything that comes out, byte for byte. `pipeline` re-assembles the steps of one search from their parts, so that each
//! of them can be left out: it shows that every one is needed.

mod chance;
mod directory;
mod engine;
mod pipeline;
mod requests;
mod rig;
mod script;
mod worlds;

/// Requests of a run: `usual`, or what `PORTCULLIS_TWO_WORLDS` says; `tests/run --all` says a million.
fn requests_of(usual: usize) -> usize {
    let asked = std::env::var("PORTCULLIS_TWO_WORLDS").ok();
    asked.map_or(usual, |text| text.parse().expect("PORTCULLIS_TWO_WORLDS is a number"))
}
