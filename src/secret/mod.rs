//! Passwords and keys that cannot be printed and are wiped when dropped.

pub mod text;
