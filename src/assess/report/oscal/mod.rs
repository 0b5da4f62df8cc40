#![doc = include_str!("README.md")]

pub mod document;
pub mod identity;
pub mod model;
pub mod pseudonym;
pub mod result;
pub mod told;
