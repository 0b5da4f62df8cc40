//! The thin loop that drives an engine: one thread per shard, edge-triggered, one write per connection and turn.

pub mod driver;
pub mod handle;
pub mod resolve;
pub mod shared;
pub mod stream;
