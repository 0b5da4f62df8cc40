//! Reading a member directory: which controller, what changed, what is gone.

pub mod arrival;
pub mod controller;
pub mod polling;
pub mod read;
pub mod reason;
pub mod source;
pub mod staging;
pub mod vector;
pub mod window;
