//! Starts tracing and owns the metrics registry.
//!
//! Must never: know a metric by name.

pub mod colour;
pub mod logging;
pub mod registry;
