//! Starts and ends it all.
