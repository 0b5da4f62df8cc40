//! Measures member directories: runs the probes, writes evidence, has it judged, and tells whoever moves the gates.
//!
//! Must never: judge inside a probe.

pub mod address;
pub mod attested;
pub mod collect;
pub mod error;
pub mod exceptions;
pub mod gathered;
pub mod impact;
pub mod judge;
pub mod metrics;
pub mod origin;
pub mod plan;
pub mod probes;
pub mod report;
pub mod run;
pub mod schedule;
pub mod settings;
pub mod standing;
pub mod target;
pub mod trial;
