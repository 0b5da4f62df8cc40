//! The commands, one file per group; text and JSON of the same value.
