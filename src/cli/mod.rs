//! The commands, as a person types them: one file per group, each with its `Command` and its `run`.
//!
//! Text and JSON show the same value. Exit codes: 0 yes or done, 1 no or refused, 2 could not tell or could not run,
//! 3 done but without the effect that was probably wanted (`member approve`: its gates stay closed).
//!
//! Must never: hold logic of its own.

pub mod arguments;
pub mod assess;
pub mod attestation;
pub mod audit;
pub mod config;
pub mod context;
pub mod drift;
pub mod evidence;
pub mod exception;
pub mod failure;
pub mod gate;
pub mod input;
pub mod interrupt;
pub mod lists;
pub mod live;
pub mod member;
pub mod output;
pub mod policy;
pub mod programme;
pub mod progress;
pub mod register;
pub mod registered;
pub mod release;
pub mod report;
pub mod serve;
pub mod store;
pub mod sync;
pub mod table;
