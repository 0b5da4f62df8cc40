//! Names of directories to addresses, in a thread of its own: the system's resolver blocks.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use mio::Waker;

use crate::proxy::snapshot::Endpoint;

const QUEUE: usize = 256;

/// An answered question; no address when the name does not resolve.
pub struct Resolved {
    pub upstream: usize,
    pub endpoint: Arc<Endpoint>,
    pub server: usize,
    pub address: Option<SocketAddr>,
}

struct Question {
    upstream: usize,
    endpoint: Arc<Endpoint>,
    server: usize,
}

/// Asks; the answers come through the receiver that [`start`] returned, and the waker tells of them.
pub struct Resolver(SyncSender<Question>);

impl Resolver {
    /// False when too many questions wait already.
    pub fn ask(&self, upstream: usize, endpoint: Arc<Endpoint>, server: usize) -> bool {
        self.0.try_send(Question { upstream, endpoint, server }).is_ok()
    }
}

/// A resolver for one shard; its thread ends with the shard.
pub fn start(shard: usize, waker: Arc<Waker>) -> std::io::Result<(Resolver, Receiver<Resolved>)> {
    let (questions, asked) = sync_channel::<Question>(QUEUE);
    let (answers, answered) = sync_channel::<Resolved>(QUEUE);
    std::thread::Builder::new().name(format!("front-names-{shard}")).spawn(move || {
        while let Ok(Question { upstream, endpoint, server }) = asked.recv() {
            let address = endpoint
                .servers
                .get(server)
                .and_then(|server| server.address.to_socket_addrs().ok())
                .and_then(|mut addresses| addresses.next());
            if answers.send(Resolved { upstream, endpoint, server, address }).is_err() {
                return;
            }
            if waker.wake().is_err() {
                return;
            }
        }
    })?;
    Ok((Resolver(questions), answered))
}
