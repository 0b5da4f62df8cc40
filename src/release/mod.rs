#![doc = include_str!("README.md")]

pub mod agreement;
pub mod decide;
pub mod explain;
pub mod hide;
pub mod listing;
pub mod permit;
pub mod rate;
pub mod refusal;
pub mod requester;
pub mod shape;
pub mod spelling;
pub mod view;
