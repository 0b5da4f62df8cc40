//! Watching the national directory (RFC 4533): what is not as the journal says.

pub mod content;
pub mod drifting;
pub mod observer;
pub mod observing;
pub mod watched;
