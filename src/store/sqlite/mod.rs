//! The embedded store: one SQLite file in WAL mode, one writing connection, one reading connection and one that only
//! watches for changes of other processes. Every commit is synchronous (`synchronous = FULL`): what was promised survives a
//! power cut.

pub mod audit;
pub mod documents;
pub mod fault;
pub mod leases;
pub mod members;
pub mod organisations;
pub mod policies;
pub mod schema;
pub mod store;
pub mod sync;
pub mod thin;
