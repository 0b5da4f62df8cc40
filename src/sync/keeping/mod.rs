//! What the store keeps of a member, under the lease of a run.

pub mod bases;
pub mod job;
pub mod removals;
pub mod rewritten;
pub mod shelf;
pub mod wishes;
