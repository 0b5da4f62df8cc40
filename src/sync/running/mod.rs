//! A member's run from its lease to its report, and what makes runs come.

pub mod ledger;
pub mod listener;
pub mod listening;
pub mod member;
pub mod metrics;
pub mod report;
pub mod run;
pub mod schedule;
pub mod source_metrics;
pub mod wake;
