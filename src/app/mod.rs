//! Builds everything once, reloads, drains, stops.
