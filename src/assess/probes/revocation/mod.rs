//! Whether certificates that matter can be revoked and have been: the lists (RFC 5280 section 5) that they name.

pub mod chain;
pub mod fetch;
pub mod list;
pub mod probe;
pub mod verdict;
