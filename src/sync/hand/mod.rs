//! What people do by hand: look, explain, undo, read anew, register a table.

pub mod explain;
pub mod look;
pub mod register;
pub mod resync;
pub mod standing;
pub mod undo;
pub mod undoing;
