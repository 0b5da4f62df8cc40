//! Publishing a member's people into the national directory: reads changes, plans (pure), guards, executes, confirms.
//!
//! One run: lease, read (DirSync; effects and cookie in one transaction), plan from everything staged and the live
//! target, guards, execute with assertions and a journal around every batch, read back. A run that was killed anywhere
//! is resumed by running again: the plan is made anew from what is staged and what is really there.
//!
//! Must never: apply a write that no plan holds; write to a member; take "not seen" for "deleted".

pub mod arrival;
pub mod bases;
pub mod books;
pub mod compare;
pub mod content;
pub mod controller;
pub mod decision;
pub mod desired;
pub mod difference;
pub mod drift;
pub mod drifting;
pub mod error;
pub mod execute;
pub mod explain;
pub mod guards;
pub mod guid;
pub mod input;
pub mod interruption;
pub mod job;
pub mod ledger;
pub mod listener;
pub mod listening;
pub mod look;
pub mod member;
pub mod metrics;
pub mod naming;
pub mod national;
pub mod observe;
pub mod observer;
pub mod observing;
pub mod pass;
pub mod pause;
pub mod plan;
pub mod polling;
pub mod progress;
pub mod propose;
pub mod read;
pub mod reason;
pub mod record;
pub mod refused;
pub mod register;
pub mod removals;
pub mod report;
pub mod resync;
pub mod rewritten;
pub mod run;
pub mod schedule;
pub mod settings;
pub mod shelf;
pub mod sight;
pub mod source;
pub mod source_metrics;
pub mod staged;
pub mod staging;
pub mod standing;
pub mod state;
pub mod step;
pub mod succession;
pub mod survey;
pub mod target;
pub mod undo;
pub mod undoing;
pub mod vector;
pub mod wake;
pub mod watched;
pub mod window;
pub mod wishes;
