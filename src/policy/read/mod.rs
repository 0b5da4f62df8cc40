//! From YAML nodes to documents, one file per group of kinds.

pub mod agreement;
pub mod attest;
pub mod baseline;
pub mod clause;
pub mod document;
pub mod facts;
pub mod scope;
pub mod test;
