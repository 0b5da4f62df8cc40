//! `portcullis member`: the life of a membership, by command.

pub mod answer;
pub mod approval;
pub mod command;
pub mod key;
pub mod request;
pub mod show;
pub mod spelling;
