//! Making a plan from what is staged and what is published.

pub mod input;
pub mod plan;
pub mod propose;
pub mod state;
