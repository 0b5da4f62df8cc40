//! Listening sockets: one per shard on the same address, so that the kernel spreads the connections.

use std::net::SocketAddr;

use mio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};

use crate::proxy::error::ProxyError;

const BACKLOG: i32 = 1024;

/// `count` sockets listening on `address`. With port 0 the first chooses, the others follow it.
pub fn listen(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, ProxyError> {
    let mut at = address;
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count.max(1) {
        let listener = one(at).map_err(|cause| ProxyError::Listen { address, cause })?;
        at = listener.local_addr().map_err(|cause| ProxyError::Listen { address, cause })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn one(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}
