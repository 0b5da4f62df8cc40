#![doc = include_str!("README.md")]

pub mod assessment;
pub mod catalogue;
pub mod certificate;
pub mod collections;
pub mod compile;
pub mod decode;
pub mod distinct;
pub mod evaluate;
pub mod facts;
pub mod judge;
pub mod literal;
pub mod predicate;
pub mod trial;
pub mod truth;
pub mod typing;
pub mod value;
