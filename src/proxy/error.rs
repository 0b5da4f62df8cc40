//! What can go wrong with the front door as a whole. Faults of single clients and directories are answered and
//! counted, never raised.

use std::io;
use std::net::SocketAddr;

/// The front door cannot start. Always ours; trying again helps when the address was still in use.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error(
        "cannot listen on {address}: {cause}; choose another address in listen.ldaps or end what holds it"
    )]
    Listen { address: SocketAddr, cause: io::Error },
    #[error("cannot start a shard: {0}")]
    Shard(io::Error),
    #[error("the operating system gave no random bytes to seed the back-off and seal cookies")]
    Chance,
}
