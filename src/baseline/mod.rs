#![doc = include_str!("README.md")]

pub mod assessment;
pub mod compile;
pub mod decode;
pub mod evaluate;
pub mod facts;
pub mod value;
