//! Builds everything once, decides gates, reloads, drains, stops.
//!
//! One value, [`core::Core`], is shared by everything that runs. [`gates`] is the only place that moves a gate: it closes
//! first and records after, and opens only what is recorded. [`watch`] notices what other processes write and a store that
//! cannot be written; [`policies`] keeps the last good policy set; [`upkeep`] looks after people registered by table; [`run`]
//! starts and ends it all.

pub mod access;
pub mod core;
pub mod discover;
pub mod error;
pub mod evidence;
pub mod exceptions;
pub mod front;
pub mod gates;
pub mod in_force;
pub mod indexes;
pub mod indexing;
pub mod metrics;
pub mod mounts;
pub mod policies;
pub mod reload;
pub mod run;
pub mod schedule;
pub mod stop;
pub mod thinning;
pub mod upkeep;
pub mod watch;
