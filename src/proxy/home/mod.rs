//! The account at home: whether the directory that a person comes from still lets that person in.
//!
//! A shard never waits. It asks [`service`] by message, which runs in a thread of its own and asks the member's directory
//! with the gateway's account (or, for a password, on a connection that serves nobody else), and hears the answer by
//! message. What it does not hear in time counts as a directory that does not answer: nobody is let in on a guess.

pub mod account;
pub mod question;
pub mod service;
pub mod tries;
