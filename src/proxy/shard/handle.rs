//! Starting, steering and stopping the shards.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mio::{Poll, Waker};

use crate::ambient::chance;
use crate::ambient::clock::Clock;
use crate::gate::decide::GateDecision;
use crate::gate::table::GateTable;
use crate::policy::terms::{Grant, OdsCode};
use crate::proxy::engine::core::{Engine, Parts};
use crate::proxy::error::ProxyError;
use crate::proxy::home::question::Answered;
use crate::proxy::home::service as home;
use crate::proxy::listener;
use crate::proxy::metrics::Metrics;
use crate::proxy::settings::Settings;
use crate::proxy::shard::driver::{self, Driver, WAKE};
use crate::proxy::shard::resolve;
use crate::proxy::shard::shared::{Phase, Shared, World};
use crate::proxy::snapshot::Snapshot;
use crate::tls::server::FrontTls;

/// What the front door is started with.
pub struct Start {
    pub settings: Settings,
    /// Where LDAPS is served. Port 0 chooses a free one.
    pub address: SocketAddr,
    /// Where LDAP with StartTLS is served, when it is.
    pub plain: Option<SocketAddr>,
    pub tls: Arc<FrontTls>,
    pub snapshot: Arc<Snapshot>,
    /// The live gates; the shards watch them by themselves.
    pub gates: Arc<GateTable>,
    pub clock: Clock,
    pub metrics: Metrics,
    /// Takes access audit records: each message is one or more whole lines of JSON. While it is full the shards stand
    /// still; when its receiver is gone they end.
    pub audit: SyncSender<Vec<u8>>,
}

/// The running front door. Dropping it stops the shards without a word to the clients; see [`Handle::drain`].
pub struct Handle {
    shared: Arc<Shared>,
    wakers: Arc<Vec<Arc<Waker>>>,
    address: SocketAddr,
    plain: Option<SocketAddr>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Opens the sockets and starts the shards, each in a thread of its own.
///
/// # Errors
///
/// When the address cannot be listened on or a thread not started; nothing runs then.
pub fn start(start: Start) -> Result<Handle, ProxyError> {
    let count = shard_count(start.settings.shards);
    let listeners = listener::listen(start.address, count)?;
    let address = listeners.first().and_then(|l| l.local_addr().ok()).unwrap_or(start.address);
    let mut plain_listeners = match start.plain {
        Some(address) => listener::listen(address, count)?,
        None => Vec::new(),
    };
    let plain = plain_listeners.first().and_then(|l| l.local_addr().ok());
    let shared = Arc::new(Shared {
        settings: Arc::new(start.settings),
        world: Arc::new(ArcSwap::from_pointee(World {
            snapshot: start.snapshot,
            gates: start.gates.snapshot(),
        })),
        gates: start.gates,
        tls: ArcSwap::new(start.tls),
        clock: start.clock,
        metrics: start.metrics,
        phase: AtomicU8::new(Phase::Serving.number()),
        running: AtomicUsize::new(0),
    });
    let service =
        home::start(Arc::clone(&shared.settings), shared.clock.clone()).map_err(ProxyError::Shard)?;
    let mut prepared = Vec::new();
    let mut wakers = Vec::new();
    for (shard, listener) in listeners.into_iter().enumerate() {
        let poll = Poll::new().map_err(ProxyError::Shard)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE).map_err(ProxyError::Shard)?);
        let (resolver, resolved) = resolve::start(shard, Arc::clone(&waker)).map_err(ProxyError::Shard)?;
        let (reply, answered) = way_back(&shared.settings, Arc::clone(&waker));
        wakers.push(waker);
        let engine = engine(&shared, shard)?;
        let shared = Arc::clone(&shared);
        let audit = start.audit.clone();
        let plain = plain_listeners.pop();
        let parts = driver::Parts {
            poll,
            engine,
            shared,
            listener,
            plain,
            resolver,
            resolved,
            home: service.clone(),
            reply,
            answered,
            audit,
        };
        prepared.push(Driver::new(parts).map_err(ProxyError::Shard)?);
    }
    let threads = Mutex::new(Vec::new());
    let handle = Handle { shared, wakers: Arc::new(wakers), address, plain, threads };
    handle.watch_gates();
    for (shard, driver) in prepared.into_iter().enumerate() {
        handle.shared.running.fetch_add(1, Ordering::AcqRel);
        let thread = std::thread::Builder::new()
            .name(format!("front-{shard}"))
            .spawn(move || driver.run())
            .map_err(ProxyError::Shard)?;
        handle.threads().push(thread);
    }
    Ok(handle)
}

fn engine(shared: &Shared, shard: usize) -> Result<Engine, ProxyError> {
    let world = shared.world.load_full();
    Ok(Engine::new(Parts {
        settings: Arc::clone(&shared.settings),
        shard,
        metrics: shared.metrics.clone(),
        snapshot: Arc::clone(&world.snapshot),
        gates: Arc::clone(&world.gates),
        chance: u64::from_le_bytes(chance::bytes().map_err(|_| ProxyError::Chance)?),
        cookie_secret: chance::bytes().map_err(|_| ProxyError::Chance)?,
        wall: shared.clock.now(),
    }))
}

impl Handle {
    /// Where LDAPS is served.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Where LDAP with StartTLS is served.
    pub fn local_plain_address(&self) -> Option<SocketAddr> {
        self.plain
    }

    /// Swaps everything but gates and server TLS, from the next turn of each shard on. Operations in flight that would
    /// no longer be permitted end within a turn.
    pub fn reload(&self, snapshot: Arc<Snapshot>) {
        self.reload_with(snapshot, []);
    }

    /// As [`Handle::reload`], together with these gates: each turn sees both or neither.
    pub fn reload_with(
        &self,
        snapshot: Arc<Snapshot>,
        decisions: impl IntoIterator<Item = (OdsCode, BTreeMap<Grant, GateDecision>)>,
    ) {
        // the watcher of the gates wakes the shards
        self.shared.gates.set_all_with(decisions, |gates| {
            self.shared.world.store(Arc::new(World { snapshot, gates: Arc::clone(gates) }));
        });
    }

    /// Swaps the server's TLS settings for new connections. The certificates of open ones are checked again against the
    /// new anchors and lists, those first that a list names; whose certificate is no longer good is disconnected.
    pub fn reload_tls(&self, tls: Arc<FrontTls>) {
        self.shared.tls.store(tls);
        self.wake();
    }

    /// Takes no new connections, lets operations in flight end, tells every client with a Notice of Disconnection, and
    /// returns when all are gone or after `limit`. Blocks: call it from a thread that may.
    pub fn drain(&self, limit: Duration) -> bool {
        self.shared.phase.store(Phase::Draining.number(), Ordering::Release);
        self.wake();
        let end = Instant::now() + limit;
        while self.is_running() {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Ends the shards now; audit records that were made are handed over first. Blocks until they are gone.
    pub fn stop(&self) {
        self.shared.phase.store(Phase::Stopping.number(), Ordering::Release);
        self.wake();
        for thread in std::mem::take(&mut *self.threads()) {
            if thread.join().is_err() {
                tracing::error!("a shard ended by a panic");
            }
        }
    }

    /// Whether any shard still runs. All of them end when the audit receiver is gone.
    pub fn is_running(&self) -> bool {
        self.shared.running.load(Ordering::Acquire) > 0
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        wake(&self.wakers);
    }

    fn watch_gates(&self) {
        let (wakers, world) = (Arc::clone(&self.wakers), Arc::clone(&self.shared.world));
        self.shared.gates.watch(Box::new(move |gates, _| {
            let snapshot = Arc::clone(&world.load().snapshot);
            world.store(Arc::new(World { snapshot, gates: Arc::clone(gates) }));
            wake(&wakers);
        }));
        // a gate that moved before anybody watched
        self.shared.gates.set_all_with([], |_| ());
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}

fn wake(wakers: &[Arc<Waker>]) {
    for waker in wakers {
        // A shard that cannot be woken still has a turn at least every quarter of a second while it has clients.
        if let Err(error) = waker.wake() {
            tracing::warn!(%error, "a shard could not be woken");
        }
    }
}

/// The way of answers from home to a shard. It has room for every question that can wait or run; a shard that stands still
/// for longer than that hears nothing, which it takes for a directory that does not answer.
fn way_back(settings: &Settings, waker: Arc<Waker>) -> (home::Reply, Receiver<Answered>) {
    let (answers, answered) = sync_channel(settings.connections.max(settings.account_checks).max(1));
    let reply: home::Reply = Arc::new(move |answer| {
        if answers.try_send(answer).is_ok()
            && let Err(error) = waker.wake()
        {
            tracing::warn!(%error, "a shard could not be woken");
        }
    });
    (reply, answered)
}

/// One shard batches best; more than half the cores leaves none for the rest.
fn shard_count(wanted: usize) -> usize {
    match wanted {
        0 => (std::thread::available_parallelism().map_or(1, |n| n.get()) / 2).max(1),
        n => n,
    }
}
