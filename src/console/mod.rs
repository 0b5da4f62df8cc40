//! Metrics and health pages.
