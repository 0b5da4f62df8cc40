//! `portcullis member`: the life of a membership, by command.

pub mod answer;
pub mod command;
pub mod request;
pub mod show;
