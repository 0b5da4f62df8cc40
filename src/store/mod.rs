//! Keeps members, evidence, assessments, exceptions, gate history, sync state, the journal and the audit chain.
//!
//! [`port::Store`] is the one door; [`sqlite::store::SqliteStore`] stands behind it. The store knows assessments, plans
//! and staged objects as documents (JSON bytes) with a few key fields beside them: it never judges one.
//!
//! Must never: know what a sync or a control is, hold a secret in clear, or lose an audit record silently.

pub mod access;
pub mod audit;
pub mod checkpoint;
pub mod error;
pub mod lock;
pub mod member;
pub mod organisation;
pub mod packed;
pub mod port;
pub mod record;
pub mod settings;
pub mod sqlite;
