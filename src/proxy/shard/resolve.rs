//! Names of directories to addresses, in threads of their own: the system's resolver blocks.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use mio::Waker;

use crate::proxy::snapshot::Endpoint;

const QUEUE: usize = 256;
const THREADS: usize = 4;

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

/// A resolver for one shard; its threads end with the shard. There are several, so that a member whose names do not
/// resolve does not keep the names of others waiting.
pub fn start(shard: usize, waker: Arc<Waker>) -> std::io::Result<(Resolver, Receiver<Resolved>)> {
    let (questions, asked) = sync_channel::<Question>(QUEUE);
    let (answers, answered) = sync_channel::<Resolved>(QUEUE);
    let asked = Arc::new(Mutex::new(asked));
    for number in 0..THREADS {
        let (asked, answers, waker) = (Arc::clone(&asked), answers.clone(), Arc::clone(&waker));
        let name = format!("front-names-{shard}-{number}");
        std::thread::Builder::new().name(name).spawn(move || resolve(&asked, &answers, &waker))?;
    }
    Ok((Resolver(questions), answered))
}

fn resolve(asked: &Mutex<Receiver<Question>>, answers: &SyncSender<Resolved>, waker: &Waker) {
    loop {
        // Whoever holds the lock waits for the next question; the others wait for the lock.
        let question = asked.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Question { upstream, endpoint, server }) = question else { return };
        let address = endpoint
            .servers
            .get(server)
            .and_then(|server| server.address.to_socket_addrs().ok())
            .and_then(|mut addresses| addresses.next());
        if answers.send(Resolved { upstream, endpoint, server, address }).is_err() || waker.wake().is_err() {
            return;
        }
    }
}
