#![doc = include_str!("README.md")]

pub mod demand;
pub mod entries;
pub mod error;
pub mod index;
pub mod mapping;
pub mod merge;
pub mod names;
pub mod projection;
pub mod questions;
pub mod recheck;
pub mod routes;
pub mod values;
