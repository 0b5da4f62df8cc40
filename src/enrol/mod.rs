//! The life of a membership.
