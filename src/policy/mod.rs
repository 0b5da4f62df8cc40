//! Reads policy documents into checked values; every fault has a file, a line, a column and a hint.

pub mod terms;
