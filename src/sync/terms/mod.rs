//! The words that every part of sync uses: people and their identities, steps of a plan, settings, errors.

pub mod decision;
pub mod error;
pub mod guid;
pub mod interruption;
pub mod pass;
pub mod progress;
pub mod settings;
pub mod staged;
pub mod step;
pub mod succession;
pub mod target;
