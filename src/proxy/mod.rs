//! The front door: an I/O-free shard engine and the thin loop that drives it.
