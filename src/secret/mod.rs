//! Passwords and keys that cannot be printed and are wiped when dropped.

pub mod attributes;
pub mod file;
pub mod reference;
pub mod signing;
pub mod text;
