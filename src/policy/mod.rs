#![doc = include_str!("README.md")]

pub mod documents;
pub mod fault;
pub mod fields;
pub mod read;
pub mod scalar;
pub mod set;
pub mod signature;
pub mod source;
pub mod terms;
