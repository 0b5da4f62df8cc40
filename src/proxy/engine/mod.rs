//! The I/O-free shard engine: clients, upstream connections, operations. Bytes, events and time in; bytes and wishes
//! out. It knows no socket and no clock, so it is tested without either.

pub mod answer;
pub mod ask;
pub mod audit;
pub mod bind;
pub mod check;
pub mod client;
pub mod core;
pub mod entry;
pub mod finish;
pub mod home;
pub mod input;
pub mod key;
pub mod launch;
pub mod made;
pub mod operation;
pub mod output;
pub mod pool;
pub mod proof;
pub mod request;
pub mod root;
pub mod search;
pub mod timers;
pub mod tree;
pub mod upstream;
pub mod upstream_input;
pub mod usage;
pub mod wish;
