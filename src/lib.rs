//! Portcullis: a directory federation gateway.
//!
//! It stands between the Active Directories of many organisations and one national directory, measures each of them
//! against a declarative security baseline, and lets federated lookups and synchronisation through only while the
//! baseline is met.
//!
//! # What it refuses to do
//!
//! - It never writes to a member directory.
//! - It never lets a request through without a permit made by the one function that decides.
//! - It never treats "could not tell" as "pass", nor "not seen" as "deleted".
//! - It never asks for a password hash, and fails a member whose grant to us would let us.
//! - It never forwards bytes from a client: every request is decoded strictly and encoded anew.
//! - It never answers an incomplete search as if it were complete.
//! - It never prints or logs a secret, nor personal data in metrics.
//!
//! # The house
//!
//! Imports only go down (a module sees the floors below its own), and no two files import each other. `tests/it/floors.rs` reads this table and every
//! `use crate::` line and fails when they disagree.
//!
//! ```text
//! 10  main                                            arguments in, exit code out
//! 9   cli                                             the commands, as a person types them
//! 8   app                                             builds everything once, reloads, drains, stops
//! 7   config                                          one versioned file -> every module's own settings, or all its faults
//! 6   console                                         metrics and health pages over the verbs' reports and handles
//! 5   proxy        assess      sync        enrol      the verbs; they never see one another
//! 4   directory    store       release     namespace  hands, and what shapes a request
//! 3   gate                                            assessments, exceptions, enrolment and time in; grants out
//! 2   baseline                                        evidence in, assessment out
//! 1   ldap         tls         policy                 languages: LDAP, certificates, policy documents
//! 0   ambient      secret      telemetry              ground: clock and chance, secrets, logging and metrics set-up
//! ```

pub mod ambient;
pub mod app;
pub mod assess;
pub mod baseline;
pub mod cli;
pub mod config;
pub mod console;
pub mod directory;
pub mod enrol;
pub mod gate;
pub mod ldap;
pub mod namespace;
pub mod policy;
pub mod proxy;
pub mod release;
pub mod secret;
pub mod store;
pub mod sync;
pub mod telemetry;
pub mod tls;
