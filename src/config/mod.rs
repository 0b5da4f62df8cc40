//! One versioned YAML file -> every module's own settings, or all its faults with file, line and column.
//!
//! Members are not in it: they come from the store, by enrolment. Secrets are references.

pub mod describe;
pub mod fault;
pub mod field;
pub mod file;
pub mod read;
pub mod references;
pub mod settings;
pub mod source;
pub mod typed;
