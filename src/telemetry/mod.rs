//! Starts tracing and owns the metrics registry; knows no metric by name.
