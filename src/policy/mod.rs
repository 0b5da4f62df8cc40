#![doc = include_str!("README.md")]

pub mod bundle;
pub mod diff;
pub mod documents;
pub mod fault;
pub mod fields;
pub mod folder;
pub mod people;
pub mod read;
pub mod render;
pub mod scalar;
pub mod schema;
pub mod set;
pub mod signature;
pub mod source;
pub mod terms;
pub mod yaml;
