//! Sending questions behind: which connection, when a new one, who waits, who is told that it cannot be.

use std::sync::Arc;

use crate::ldap::ber;
use crate::ldap::codec;
use crate::ldap::control::Control;
use crate::ldap::message::{Authentication, Bind, Message, Operation};
use crate::policy::terms::Target;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::key::SLOTS;
use crate::proxy::engine::operation::{At, Leg};
use crate::proxy::engine::upstream::{Stage, Upstream, Waiting};
use crate::proxy::engine::wish::Wish;

/// The id of our own bind; those of questions start above it.
pub const BIND_ID: i32 = 1;
/// Paged results (RFC 2696).
pub const PAGED: &str = "1.2.840.113556.1.4.319";

enum Choice {
    Send(usize),
    Wait,
    /// No connection, and none may be tried now.
    Nowhere,
}

impl Engine {
    /// Sends `leg`'s question, or has it wait for a connection; None when the directory cannot be asked now.
    pub(super) fn launch(&mut self, target: &Target, leg: Leg, request: &[u8]) -> Option<At> {
        match self.choose(target) {
            Choice::Send(upstream) => self.send(upstream, leg, request, &[]),
            Choice::Wait => {
                let limit = self.settings.waiting;
                let mut kept = Vec::new();
                self.pool.equip(&mut kept);
                kept.extend_from_slice(request);
                let mount = self.mounts.get_mut(target)?;
                if mount.waiting.len() >= limit {
                    mount.metrics.fault("waiting");
                    return None;
                }
                mount.waiting.push_back(Waiting { leg, request: kept });
                Some(At::Waiting)
            }
            Choice::Nowhere => None,
        }
    }

    /// Few busy connections beat many half-idle ones: fill one up to a depth, then the next.
    fn choose(&mut self, target: &Target) -> Choice {
        let depth = self.settings.upstream_depth;
        let (most, now) = (self.settings.upstreams, self.now);
        let Some(endpoint) = self.snapshot.mounts.get(target).map(|m| Arc::clone(&m.endpoint)) else {
            return Choice::Nowhere;
        };
        if self.mount(target).is_none() {
            return Choice::Nowhere;
        }
        let Some(mount) = self.mounts.get(target) else { return Choice::Nowhere };
        let mut fullest: Option<(usize, u32)> = None;
        let (mut count, mut coming) = (0, false);
        for key in &mount.upstreams {
            let Some(upstream) = self.upstreams.get(*key) else { continue };
            if upstream.retired || upstream.stage == Stage::Lost {
                continue;
            }
            count += 1;
            if upstream.stage != Stage::Ready {
                coming = true;
                continue;
            }
            if upstream.live() < depth && !upstream.bulk && upstream.paused.is_none() {
                return Choice::Send(*key);
            }
            let free = (upstream.live() as usize) < SLOTS && upstream.paused.is_none();
            if free && fullest.is_none_or(|(_, live)| upstream.live() < live) {
                fullest = Some((*key, upstream.live()));
            }
        }
        let may_dial = count < most && now >= mount.retry_at;
        if may_dial && !coming {
            self.dial(target, endpoint);
            coming = true;
        }
        match (fullest, coming) {
            (Some((key, _)), _) => Choice::Send(key),
            (None, true) => Choice::Wait,
            (None, false) => Choice::Nowhere,
        }
    }

    pub(super) fn dial(&mut self, target: &Target, endpoint: Arc<crate::proxy::snapshot::Endpoint>) {
        let key = self.upstreams.insert(Upstream::new(target.clone(), Arc::clone(&endpoint), self.now));
        self.scan_soon();
        let attempt = match self.mounts.get_mut(target) {
            Some(mount) => {
                mount.upstreams.push(key);
                mount.failures as usize
            }
            None => 0,
        };
        let server = attempt % endpoint.servers.len().max(1);
        self.wishes.push(Wish::Dial { upstream: key, endpoint, server });
    }

    /// Whether this connection is still wanted, by this endpoint.
    pub fn is_dialling(&self, key: usize, endpoint: &Arc<crate::proxy::snapshot::Endpoint>) -> bool {
        self.upstreams
            .get(key)
            .is_some_and(|u| u.stage == Stage::Dialling && Arc::ptr_eq(&u.endpoint, endpoint))
    }

    /// The driver connected, with TLS where asked: our own bind is the first exchange.
    pub fn upstream_opened(&mut self, key: usize) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        if upstream.stage != Stage::Dialling {
            return;
        }
        if upstream.endpoint.bind_name.is_empty() {
            return self.upstream_ready(key);
        }
        upstream.stage = Stage::Binding;
        let endpoint = Arc::clone(&upstream.endpoint);
        let bind = Bind {
            version: 3,
            name: endpoint.bind_name.as_str().into(),
            authentication: Authentication::Simple(endpoint.password.expose().as_bytes().into()),
        };
        // Not from the pool: the password must not lie around in a buffer that others get.
        codec::encode(&Message::new(BIND_ID, Operation::BindRequest(bind)), &mut upstream.out);
        self.mark_upstream(key);
    }

    /// The connection takes questions: those that waited go first.
    pub(super) fn upstream_ready(&mut self, key: usize) {
        let now = self.now;
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        upstream.stage = Stage::Ready;
        upstream.active = now;
        let target = upstream.mount.clone();
        let Some(mount) = self.mounts.get_mut(&target) else { return };
        mount.failures = 0;
        mount.retry_at = 0;
        mount.metrics.connections.inc();
        mount.metrics.dials_done.inc();
        for waiting in std::mem::take(&mut mount.waiting) {
            let (operation, serial, part) = (waiting.leg.operation, waiting.leg.serial, waiting.leg.part);
            if self.operations.get(operation).is_none_or(|o| o.serial != serial) {
                self.pool.give(waiting.request);
                continue;
            }
            if waiting.leg.page.is_some() && !self.takes_walk(key) {
                self.ask_walk_again(&target, waiting);
                continue;
            }
            let sent = self.send(key, waiting.leg, &waiting.request, &[]);
            self.pool.give(waiting.request);
            match sent {
                Some(at) => self.move_part(operation, part, at),
                None => self.part_failed(operation, serial, part),
            }
        }
    }

    /// Writes a question under a new message id.
    pub(super) fn send(&mut self, key: usize, mut leg: Leg, request: &[u8], cookie: &[u8]) -> Option<At> {
        let now = self.now;
        let upstream = self.upstreams.get_mut(key)?;
        self.pool.equip(&mut upstream.out);
        leg.sent = now;
        let page = leg.page.or(upstream.endpoint.page_size);
        if page.is_some() && leg.request.is_empty() {
            self.pool.equip(&mut leg.request);
            leg.request.extend_from_slice(request);
        }
        let id = upstream.occupy(leg).ok()?;
        upstream.active = now;
        let number = id.message_id();
        let mut controls = Vec::new();
        if let Some(size) = page {
            let value = page_value(size, cookie);
            let control = Control { oid: PAGED.into(), critical: true, value: Some(value.into()) };
            Control::write_list(std::slice::from_ref(&control), &mut controls);
        }
        let contents = ber::int_size(number) + request.len() + controls.len();
        ber::put_header(&mut upstream.out, ber::SEQUENCE, contents);
        ber::put_int(&mut upstream.out, ber::INTEGER, number);
        upstream.out.extend_from_slice(request);
        upstream.out.extend_from_slice(&controls);
        self.mark_upstream(key);
        Some(At::Sent { upstream: key, slot: id.slot })
    }

    /// The connection ended: the peer closed it, the socket or TLS failed, or it could not be made.
    pub fn upstream_ended(&mut self, key: usize) {
        let reason = match self.upstreams.get(key).map(|upstream| upstream.stage) {
            Some(Stage::Dialling) => "dial",
            Some(Stage::Binding) => "closed_in_bind",
            Some(Stage::Ready) => "closed",
            _ => return,
        };
        // A directory that closes a connection on which nothing was asked commits no fault.
        if reason == "closed" && self.upstreams.get(key).is_some_and(|upstream| upstream.live() == 0) {
            return self.close_upstream(key);
        }
        self.lose_upstream(key, reason);
    }

    /// Closes a connection through a fault of its directory. Only questions on it suffer.
    pub(super) fn lose_upstream(&mut self, key: usize, reason: &'static str) {
        let pause = self.back_off(key);
        let Some(upstream) = self.upstreams.get(key) else { return };
        let target = upstream.mount.clone();
        let was_ready = upstream.stage == Stage::Ready;
        tracing::warn!(directory = %target, reason, "a connection to a directory behind was lost");
        if let Some(mount) = self.mounts.get_mut(&target) {
            mount.metrics.fault(reason);
            if !was_ready {
                mount.metrics.dials_failed.inc();
            }
            mount.failures = mount.failures.saturating_add(1);
            mount.retry_at = self.now + pause;
        }
        self.close_upstream(key);
        let hopeless = self.mounts.get(&target).is_some_and(|mount| {
            mount.upstreams.iter().all(|at| self.upstreams.get(*at).is_none_or(|u| u.stage == Stage::Lost))
        });
        if hopeless && let Some(mount) = self.mounts.get_mut(&target) {
            for waiting in std::mem::take(&mut mount.waiting) {
                self.part_failed(waiting.leg.operation, waiting.leg.serial, waiting.leg.part);
                self.pool.give(waiting.request);
            }
        }
    }

    /// Doubles with every loss in a row, with jitter over its upper half.
    fn back_off(&mut self, key: usize) -> u64 {
        let failures = self
            .upstreams
            .get(key)
            .and_then(|upstream| self.mounts.get(&upstream.mount))
            .map_or(0, |mount| mount.failures.min(16));
        let most = self.settings.back_off_max_milliseconds * 1_000;
        let base = (self.settings.back_off_milliseconds * 1_000) << failures;
        let base = base.min(most);
        base / 2 + self.jitter(base / 2 + 1)
    }

    /// Closes a connection; questions that were still on it are answered as unavailable.
    pub(super) fn close_upstream(&mut self, key: usize) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        if upstream.stage == Stage::Lost {
            return;
        }
        let was_ready = upstream.stage == Stage::Ready;
        upstream.stage = Stage::Lost;
        upstream.inbound = Vec::new();
        upstream.out = Vec::new();
        let legs = upstream.release_all();
        let target = upstream.mount.clone();
        if let Some(mount) = self.mounts.get_mut(&target) {
            mount.upstreams.retain(|at| *at != key);
            if was_ready {
                mount.metrics.connections.dec();
            }
        }
        self.wishes.push(Wish::CloseUpstream { upstream: key });
        self.lose_walks(key);
        for leg in legs {
            self.part_failed(leg.operation, leg.serial, leg.part);
        }
    }

    /// The driver closed the socket: the key may be given out again.
    pub fn forget_upstream(&mut self, key: usize) {
        if self.upstreams.get(key).is_some_and(|upstream| upstream.stage == Stage::Lost) {
            self.upstreams.remove(key);
        }
    }

    /// After a new snapshot: connections whose endpoint is no longer the mount's take no new questions.
    pub(super) fn retire_upstreams(&mut self) {
        for (_, upstream) in &mut self.upstreams {
            let current = self.snapshot.mounts.get(&upstream.mount);
            upstream.retired = !current.is_some_and(|mounted| *mounted.endpoint == *upstream.endpoint);
        }
        for mount in self.mounts.values_mut() {
            mount.retry_at = 0;
            mount.projections.clear();
        }
        self.next_scan = self.now;
    }

    /// Forgets waiting legs whose operation has ended meanwhile.
    pub(super) fn drop_stale_waiting(&mut self) {
        for mount in self.mounts.values_mut() {
            let operations = &self.operations;
            mount
                .waiting
                .retain(|w| operations.get(w.leg.operation).is_some_and(|o| o.serial == w.leg.serial));
        }
    }
}

/// `realSearchControlValue ::= SEQUENCE { size, cookie }` (RFC 2696 section 2).
fn page_value(size: u32, cookie: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(cookie.len() + 16);
    let start = ber::open(&mut value, ber::SEQUENCE);
    ber::put_int(&mut value, ber::INTEGER, i32::try_from(size).unwrap_or(i32::MAX));
    ber::put_octets(&mut value, ber::OCTET_STRING, cookie);
    ber::close(&mut value, start);
    value
}
