//! The front door: an I/O-free shard engine and the thin loop that drives it.
//!
//! Start it with [`shard::handle::start`]. It serves LDAPS to clients, asks the mounted directories, and lets nothing
//! through without a permit of `release::decide`.

pub mod engine;
pub mod error;
pub mod home;
pub mod listener;
pub mod metrics;
pub mod requesters;
pub mod settings;
pub mod shard;
pub mod snapshot;
