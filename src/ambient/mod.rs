//! Clock and chance: the only place that asks the system for wall time or randomness. And what settings may be, and how texts of others
//! are shown, and how tables of others are read.
//!
//! Everything above takes the time as an argument or holds a [`clock::Clock`], so that a decision can be repeated
//! later with the time it was made at. A lint forbids the system clock elsewhere.

pub mod bounds;
pub mod chance;
pub mod clock;
pub mod sheet;
pub mod text;
