//! The shard engine: clients, upstream connections and operations of one shard. Bytes, events and time in, bytes and
//! wishes out; no socket, no clock, no lock.
//!
//! A turn: [`Engine::begin`], then any of `client_*` and `upstream_*`, then [`Engine::finish_turn`], then the driver
//! writes what [`Engine::dirty_clients`] and [`Engine::dirty_upstreams`] name and fulfils the wishes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use slab::Slab;
use time::OffsetDateTime;

use crate::gate::table;
use crate::ldap::limits::Limits;
use crate::namespace::projection;
use crate::policy::terms::Target;
use crate::proxy::engine::answer::{self, Answer};
use crate::proxy::engine::audit;
use crate::proxy::engine::balance::Load;
use crate::proxy::engine::client::{Client, Phase};
use crate::proxy::engine::operation::{Leg, Operation};
use crate::proxy::engine::parked::Walks;
use crate::proxy::engine::pool::Pool;
use crate::proxy::engine::proof::Proof;
use crate::proxy::engine::tree::Places;
use crate::proxy::engine::upstream::{Mount, Upstream};
use crate::proxy::engine::usage::Usage;
use crate::proxy::engine::wish::Wish;
use crate::proxy::metrics::{Metrics, Share};
use crate::proxy::settings::Settings;
use crate::proxy::snapshot::Snapshot;
use crate::tls::smartcard::Verifier;

/// The time of a turn, read once.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Since the shard started; never runs backwards.
    pub microseconds: u64,
    pub wall: OffsetDateTime,
}

/// One shard without its sockets.
pub struct Engine {
    pub(super) settings: Arc<Settings>,
    pub(super) before_bind: Limits,
    pub(super) bound: Limits,
    pub(super) behind: Limits,
    pub(super) shard: usize,
    pub(super) metrics: Metrics,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) gates: Arc<table::Snapshot>,
    pub(super) now: u64,
    pub(super) wall: OffsetDateTime,
    /// None until the first [`Engine::trust`].
    pub(super) verifier: Option<Arc<Verifier>>,
    /// Clients whose certificates are to be checked again.
    pub(super) unchecked: Vec<usize>,
    pub(super) clients: Slab<Client>,
    pub(super) operations: Slab<Operation>,
    pub(super) walks: Walks,
    pub(super) walks_waiting: Share,
    pub(super) sorts_held: Share,
    pub(super) upstreams: Slab<Upstream>,
    pub(super) mounts: HashMap<Target, Mount>,
    /// Questions that waited for the answer to somebody else's, which is not coming.
    pub(super) orphans: Vec<(Target, Leg)>,
    /// Directories at which questions wait for their turn.
    pub(super) lined: Vec<Target>,
    pub(super) places: Places,
    pub(super) usage: Usage,
    pub(super) wishes: Vec<Wish>,
    pub(super) dirty_clients: Vec<usize>,
    pub(super) dirty_upstreams: Vec<usize>,
    pub(super) pool: Pool,
    pub(super) scratch: Vec<u8>,
    pub(super) loads: Vec<Load>,
    pub(super) entry_scratch: projection::Scratch,
    pub(super) whole_entry: Vec<u8>,
    pub(super) audit: Vec<u8>,
    pub(super) audit_since: u64,
    pub(super) serial: u64,
    pub(super) chance: u64,
    pub(super) draining: bool,
    pub(super) streaming: bool,
    pub(super) held: bool,
    /// A password came in with the bytes that were read last.
    pub(super) wipe: bool,
    pub(super) next_review: u64,
    pub(super) next_scan: u64,
    addresses: HashMap<IpAddr, u32>,
}

/// What an engine is made of.
pub struct Parts {
    pub settings: Arc<Settings>,
    pub shard: usize,
    pub metrics: Metrics,
    pub snapshot: Arc<Snapshot>,
    pub gates: Arc<table::Snapshot>,
    /// Any unguessable number: it spreads the reconnects of gateways that lost the same directory.
    pub chance: u64,
    /// Unguessable bytes for this shard alone: they seal the cookies of paged results.
    pub cookie_secret: [u8; 32],
    pub wall: OffsetDateTime,
}

impl Engine {
    pub fn new(parts: Parts) -> Self {
        let settings = parts.settings;
        let before_bind =
            Limits { message_bytes: settings.message_bytes_before_bind, ..Limits::before_bind() };
        let bound = Limits { message_bytes: settings.message_bytes, ..Limits::default() };
        let behind = Limits { message_bytes: settings.upstream_message_bytes, ..Limits::from_directory() };
        let walks_waiting = Share::of(&parts.metrics.walks_waiting);
        let sorts_held = Share::of(&parts.metrics.sorts_held);
        Engine {
            settings,
            before_bind,
            bound,
            behind,
            shard: parts.shard,
            metrics: parts.metrics,
            snapshot: parts.snapshot,
            gates: parts.gates,
            now: 0,
            wall: parts.wall,
            verifier: None,
            unchecked: Vec::new(),
            clients: Slab::new(),
            operations: Slab::new(),
            walks: Walks::new(&parts.cookie_secret),
            walks_waiting,
            sorts_held,
            upstreams: Slab::new(),
            mounts: HashMap::new(),
            orphans: Vec::new(),
            lined: Vec::new(),
            places: Places::default(),
            usage: Usage::default(),
            wishes: Vec::new(),
            dirty_clients: Vec::new(),
            dirty_upstreams: Vec::new(),
            pool: Pool::default(),
            scratch: Vec::new(),
            loads: Vec::new(),
            entry_scratch: projection::Scratch::default(),
            whole_entry: Vec::new(),
            audit: Vec::new(),
            audit_since: 0,
            serial: 0,
            chance: parts.chance | 1,
            draining: false,
            streaming: false,
            held: false,
            wipe: false,
            next_review: 0,
            next_scan: 0,
            addresses: HashMap::new(),
        }
    }

    /// Begins a turn: takes the time and the world as they are now. Operations in flight that would no longer be
    /// permitted end here.
    pub fn begin(&mut self, moment: Moment, snapshot: &Arc<Snapshot>, gates: &Arc<table::Snapshot>) {
        self.excuse_upstreams(moment.microseconds.saturating_sub(self.now));
        self.now = moment.microseconds;
        self.wall = moment.wall;
        let swapped = !Arc::ptr_eq(&self.snapshot, snapshot);
        let moved = !Arc::ptr_eq(&self.gates, gates);
        if swapped {
            self.snapshot = Arc::clone(snapshot);
        }
        if moved {
            self.gates = Arc::clone(gates);
        }
        if swapped {
            self.retire_upstreams();
            self.identify_again();
        }
        if swapped || moved || self.now >= self.next_review {
            self.review();
        }
        if self.now >= self.next_scan {
            self.scan();
        }
    }

    /// A client connected, `first` to a handshake or to a plain connection that waits for StartTLS; None when it is one too
    /// many and must be closed at once.
    pub fn client_opened(&mut self, address: IpAddr, first: Phase) -> Option<usize> {
        self.metrics.accepted.inc();
        let count = self.addresses.get(&address).copied().unwrap_or(0);
        let reason = if self.draining {
            "draining"
        } else if self.clients.len() >= self.settings.connections {
            "connections"
        } else if count >= self.settings.connections_per_address {
            "connections_per_address"
        } else {
            self.addresses.insert(address, count + 1);
            self.metrics.connections.inc();
            let serial = self.next_serial();
            return Some(self.clients.insert(Client::new(serial, address, first, self.now)));
        };
        self.metrics.closed.with_label_values(&[reason]).inc();
        None
    }

    /// The TLS handshake of a client ended well, with or without a certificate that the verifier took.
    pub fn client_secured(&mut self, key: usize, proof: Option<Proof>) {
        if let Some(client) = self.clients.get_mut(key)
            && client.phase == Phase::Handshake
        {
            client.phase = Phase::Open;
            client.proof = proof.map(Box::new);
            client.last_active = self.now;
        }
    }

    /// Whether the driver is to begin a handshake on this connection; see [`Wish::Secure`].
    pub fn is_securing(&self, key: usize) -> bool {
        self.clients.get(key).is_some_and(|client| client.phase == Phase::Handshake && client.out.is_empty())
    }

    /// The client's connection ended, by its wish or by a fault of the socket.
    pub fn client_ended(&mut self, key: usize) {
        self.close_client(key, None);
    }

    /// The driver does not go on with the client's connection, for this reason.
    pub fn client_refused(&mut self, key: usize, reason: &'static str) {
        self.close_client(key, Some(reason));
    }

    /// The driver closed the socket: the key may be given out again.
    pub fn forget_client(&mut self, key: usize) {
        let Some(client) = self.clients.try_remove(key) else { return };
        self.metrics.connections.dec();
        match self.addresses.get_mut(&client.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.addresses.remove(&client.address);
            }
        }
        self.pool.give(client.inbound);
        self.pool.give(client.out);
    }

    /// Ends a connection: its operations are abandoned, nothing more is read; with a reason it is our decision.
    pub(super) fn close_client(&mut self, key: usize, reason: Option<&'static str>) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if client.phase == Phase::Closing {
            return;
        }
        client.phase = Phase::Closing;
        client.inbound = Vec::new();
        if let Some(reason) = reason {
            self.metrics.closed.with_label_values(&[reason]).inc();
        }
        self.abandon_all(key);
        self.wishes.push(Wish::CloseClient { client: key });
    }

    /// Says why (RFC 4511 section 4.4.1) and closes.
    pub(super) fn disconnect(&mut self, key: usize, why: &Answer, reason: &'static str) {
        if let Some(client) = self.clients.get_mut(key)
            && client.is_open()
        {
            self.pool.equip(&mut client.out);
            answer::put_notice(&mut client.out, why);
        }
        self.close_client(key, Some(reason));
    }

    /// No new connections and requests; every client is told and closed once nothing of its own is in flight.
    pub fn drain(&mut self) {
        self.draining = true;
        let keys: Vec<usize> = self.clients.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.drain_client(key);
        }
    }

    /// Whether a drain has come to its end.
    pub fn is_drained(&self) -> bool {
        self.draining && self.clients.iter().all(|(_, client)| client.phase == Phase::Closing)
    }

    pub(super) fn drain_client(&mut self, key: usize) {
        if self.draining
            && self
                .clients
                .get(key)
                .is_some_and(|client| client.in_flight.is_empty() && client.binding.is_none())
        {
            let why = Answer::new(
                crate::ldap::message::ResultCode::UNAVAILABLE,
                "the gateway is going down; connect again",
            );
            self.disconnect(key, &why, "draining");
        }
    }

    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// An even spread over `0..bound`, good enough for jitter (xorshift64).
    pub(super) fn jitter(&mut self, bound: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance % bound.max(1)
    }

    pub(super) fn mark_client(&mut self, key: usize, complete: bool) {
        if let Some(client) = self.clients.get_mut(key) {
            client.complete |= complete;
            if !client.dirty {
                client.dirty = true;
                self.dirty_clients.push(key);
            }
        }
    }

    pub(super) fn mark_upstream(&mut self, key: usize) {
        if let Some(upstream) = self.upstreams.get_mut(key)
            && !upstream.dirty
        {
            upstream.dirty = true;
            self.dirty_upstreams.push(key);
        }
    }

    /// What the driver is to do; it takes them all.
    pub fn take_wishes(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.wishes)
    }

    /// Whether the bytes that were handed over last held a password, so that the driver must wipe them. Asking forgets it.
    pub fn take_wipe(&mut self) -> bool {
        std::mem::take(&mut self.wipe)
    }

    /// Whether a long result streams in: the driver may pause before it polls. Asking forgets it.
    pub fn take_streaming(&mut self) -> bool {
        std::mem::take(&mut self.streaming)
    }

    /// Audit records, when there are enough of them or they waited for long enough, or at once with `force`.
    pub fn take_audit(&mut self, force: bool) -> Option<Vec<u8>> {
        const WAIT_MICROSECONDS: u64 = 50_000;
        let due = self.audit.len() >= self.settings.audit_chunk_bytes
            || self.now.saturating_sub(self.audit_since) >= WAIT_MICROSECONDS;
        if self.audit.is_empty() || !(due || force) {
            return None;
        }
        let room = self.audit.capacity();
        Some(std::mem::replace(&mut self.audit, Vec::with_capacity(room)))
    }

    /// Appends a whole record made of `head` and `end`.
    pub(super) fn record(&mut self, head: &[u8], end: &audit::End) {
        if self.audit.is_empty() {
            self.audit_since = self.now;
        }
        self.audit.extend_from_slice(head);
        audit::end(&mut self.audit, end);
    }

    /// The mount's state in this shard, made at the first need.
    pub(super) fn mount(&mut self, target: &Target) -> Option<&mut Mount> {
        if !self.mounts.contains_key(target) {
            let metrics = self.metrics.member(audit::label(target));
            let mut mount = Mount::new(metrics);
            let endpoint = self.snapshot.mounts.get(target).map(|mounted| &mounted.endpoint);
            mount.servers.follow(endpoint, &mount.metrics);
            self.mounts.insert(target.clone(), mount);
        }
        self.mounts.get_mut(target)
    }

    /// Counts for tests and metrics: clients, operations in flight, upstream connections.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.clients.len(), self.operations.len(), self.upstreams.len())
    }
}

#[cfg(test)]
pub mod tests;
