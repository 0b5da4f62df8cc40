//! Sending questions behind: connections are made, bound, used and closed.

use std::sync::Arc;

use crate::ldap::ber;
use crate::ldap::codec;
use crate::ldap::control::Control;
use crate::ldap::message::{Authentication, Bind, Message, Operation, ResultCode};
use crate::policy::terms::Target;
use crate::proxy::engine::balance::{Places, SERVERS};
use crate::proxy::engine::choose::Choice;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::operation::{At, Leg};
use crate::proxy::engine::turns::Pace;
use crate::proxy::engine::upstream::{Favourite, Stage, Upstream, Waiting};
use crate::proxy::engine::wish::Wish;

/// The id of our own bind; those of questions start above it.
pub const BIND_ID: i32 = 1;
/// The reason when the account was refused: the fault of no one server.
pub const BIND_REFUSED: &str = "bind_refused";
/// Paged results (RFC 2696).
pub const PAGED: &str = "1.2.840.113556.1.4.319";

impl Engine {
    /// Sends `leg`'s question, or has it wait for a connection. The error is what the client is told: `busy` when the
    /// mount has as much to do as it may, `unavailable` when no server can be asked now. `avoid` is the place of a server
    /// that must not be asked.
    pub(super) fn launch(
        &mut self,
        target: &Target,
        mut leg: Leg,
        request: &[u8],
        avoid: Option<usize>,
    ) -> Result<At, ResultCode> {
        let Some(mut barred) = self.barred_for(target, &mut leg) else {
            return self.in_line(target, leg, request);
        };
        let busy = barred != Places::NONE;
        avoid.into_iter().for_each(|place| barred.add(place));
        match self.choose(target, barred, leg.paces) {
            Choice::Send(upstream) => {
                self.take_turn(upstream, &mut leg);
                self.send(upstream, leg, request, &[]).ok_or(ResultCode::UNAVAILABLE)
            }
            Choice::Wait => {
                self.wait_for_connection(target, leg, request)?;
                Ok(At::Waiting)
            }
            Choice::Full => Err(ResultCode::BUSY),
            // The server that could be asked has as many questions of this requester as it may.
            Choice::Nowhere if busy => self.in_line(target, leg, request),
            Choice::Nowhere => Err(ResultCode::UNAVAILABLE),
        }
    }

    /// Has a question wait for a connection.
    pub(super) fn wait_for_connection(
        &mut self,
        target: &Target,
        leg: Leg,
        request: &[u8],
    ) -> Result<(), ResultCode> {
        let (most, share) = (self.settings.waiting, self.settings.waiting_per_requester);
        let Some(mount) = self.mounts.get_mut(target) else { return Err(ResultCode::UNAVAILABLE) };
        let requester = |leg: &Leg| self.operations.get(leg.operation).map(|operation| &operation.requester);
        let own = requester(&leg);
        let full = mount.waiting.len() >= share
            && mount.waiting.iter().filter(|waiting| requester(&waiting.leg) == own).count() >= share;
        if full || mount.waiting.len() >= most {
            mount.metrics.fault("waiting");
            return Err(ResultCode::BUSY);
        }
        let mut kept = Vec::new();
        self.pool.equip(&mut kept);
        kept.extend_from_slice(request);
        mount.waiting.push_back(Waiting { leg, request: kept, pinned: None });
        Ok(())
    }

    /// Has the driver connect to the server at `place` of the mount's endpoint.
    pub(super) fn dial(&mut self, target: &Target, place: usize) {
        let Some(endpoint) = self.snapshot.mounts.get(target).map(|m| Arc::clone(&m.endpoint)) else {
            return;
        };
        let over = self.now + (self.settings.dial_milliseconds + self.settings.probe_milliseconds) * 1_000;
        let mut upstream = Upstream::new(target.clone(), Arc::clone(&endpoint), place, self.now);
        let Some(mount) = self.mounts.get_mut(target) else { return };
        let Some(server) = mount.servers.get_mut(place) else { return };
        upstream.latency = server.latency;
        server.begin(over);
        let key = self.upstreams.insert(upstream);
        mount.upstreams.push(key);
        self.scan_soon();
        self.wishes.push(Wish::Dial { upstream: key, endpoint, server: place });
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
        upstream.heard = now;
        let (target, place, retired) = (upstream.mount.clone(), upstream.place, upstream.retired);
        if self.is_witness(key) {
            self.probe(key);
        }
        let Some(mount) = self.mounts.get_mut(&target) else { return };
        mount.metrics.connections.inc();
        mount.metrics.dials_done.inc();
        if retired {
            return self.tend_waiting(&target);
        }
        let alone = mount.servers.len() == 1;
        let needed = alone || !mount.waiting.is_empty();
        let Some(server) = mount.servers.get_mut(place) else { return };
        if server.breaker().is_closed() || needed {
            server.close();
            return self.send_waiting(&target, key);
        }
        // A server that comes back while others do the work proves itself first.
        self.probe(key);
    }

    /// Sends what waited for a connection.
    pub(super) fn send_waiting(&mut self, target: &Target, key: usize) {
        let Some(mount) = self.mounts.get_mut(target) else { return };
        for waiting in std::mem::take(&mut mount.waiting) {
            let (operation, serial, part) = (waiting.leg.operation, waiting.leg.serial, waiting.leg.part);
            if self.operations.get(operation).is_none_or(|o| o.serial != serial) {
                self.pool.give(waiting.request);
                continue;
            }
            let Waiting { mut leg, request, .. } = waiting;
            if leg.page.is_some() && !self.takes_walk(key) {
                self.look_again(target, leg, request);
                continue;
            }
            let is_slow = |upstream: &Upstream| leg.paces.at(upstream.place) == Pace::Slow;
            let upstream = self.upstreams.get(key).filter(|_| leg.page.is_none());
            let taken = upstream.is_some_and(|upstream| upstream.live() > 0 && is_slow(upstream));
            if taken || !self.take_turn(key, &mut leg) {
                self.look_again(target, leg, request);
                continue;
            }
            let sent = self.send(key, leg, &request, &[]);
            self.pool.give(request);
            match sent {
                Some(at) => self.move_part(operation, part, at),
                None => self.part_failed(operation, serial, part),
            }
        }
    }

    /// The connection that a question waited for is not for it: it looks for another, or waits for its turn.
    pub(super) fn look_again(&mut self, target: &Target, leg: Leg, request: Vec<u8>) {
        let (operation, serial, part) = (leg.operation, leg.serial, leg.part);
        if leg.page.is_some() {
            let placed = self.launch_walk(target, leg, &request);
            self.placed(operation, serial, part, placed);
        } else {
            match self.launch(target, leg, &request, None) {
                Ok(at) => self.move_part(operation, part, at),
                Err(code) => self.settle(operation, serial, part, At::Failed, code),
            }
        }
        self.pool.give(request);
    }

    /// Writes a question under a new message id.
    pub(super) fn send(&mut self, key: usize, mut leg: Leg, request: &[u8], cookie: &[u8]) -> Option<At> {
        let now = self.now;
        let upstream = self.upstreams.get_mut(key)?;
        self.pool.equip(&mut upstream.out);
        leg.sent = now;
        // The rest of one entry is no page of what is walked through on the same connection.
        let page = leg.page.or(upstream.endpoint.page_size).filter(|_| !leg.ranges.are_read());
        let keep = page.is_some() || upstream.endpoint.servers.len() > 1;
        if keep && leg.request.is_empty() {
            self.pool.equip(&mut leg.request);
            leg.request.extend_from_slice(request);
        }
        let id = upstream.occupy(leg).ok()?;
        upstream.active = now;
        upstream.silent_since.get_or_insert(now);
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
        let quiet = |upstream: &Upstream| upstream.live() == 0 && upstream.probed.is_none();
        if reason == "closed" && self.upstreams.get(key).is_some_and(quiet) {
            return self.close_upstream(key);
        }
        self.lose_upstream(key, reason);
    }

    /// Closes a connection through a fault of its server, which is left alone for a while. Only questions on it suffer.
    pub(super) fn lose_upstream(&mut self, key: usize, reason: &'static str) {
        let Some(upstream) = self.upstreams.get(key) else { return };
        let (target, place, retired) = (upstream.mount.clone(), upstream.place, upstream.retired);
        let was_ready = upstream.stage == Stage::Ready;
        let worked = was_ready && upstream.proven && reason == "closed";
        self.log_lost(&target, place, reason);
        if let Some(mount) = self.mounts.get(&target) {
            mount.metrics.fault(reason);
            if !was_ready {
                mount.metrics.dials_failed.inc();
            }
        }
        if retired {
            // What it says about a server says nothing about those that are asked now.
        } else if reason == BIND_REFUSED {
            // The account is one: more attempts elsewhere could lock it.
            let count = self.mounts.get(&target).map_or(0, |mount| mount.servers.len());
            for place in 0..count {
                let server = self.mounts.get_mut(&target).and_then(|mount| mount.servers.get_mut(place));
                server.into_iter().for_each(|server| server.refused = true);
                self.leave_alone(&target, place);
            }
        } else if !(worked && self.is_alone(&target)) {
            self.leave_alone(&target, place);
        }
        self.close_upstream(key);
        self.tend_waiting(&target);
    }

    /// Whether the directory has one server, and nothing speaks against it.
    fn is_alone(&self, target: &Target) -> bool {
        let Some(mount) = self.mounts.get(target) else { return false };
        mount.servers.len() == 1 && mount.servers.iter().all(|server| server.breaker().is_closed())
    }

    /// A server that is away for long is tried again and again: not every try is news.
    fn log_lost(&self, target: &Target, place: usize, reason: &'static str) {
        const LOST: &str = "a connection to a directory behind was lost";
        let server = self.mounts.get(target).and_then(|mount| mount.servers.get(place));
        let failures = server.map_or(0, |server| server.breaker().failures());
        match failures == 0 || failures.is_power_of_two() {
            true => tracing::warn!(directory = %target, server = place, reason, failures, "{LOST}"),
            false => tracing::debug!(directory = %target, server = place, reason, failures, "{LOST}"),
        }
    }

    /// Closes a connection; questions that were still on it are asked elsewhere, or answered as unavailable.
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
        let place = (!upstream.retired).then_some(upstream.place);
        let latency = upstream.latency;
        if let Some(mount) = self.mounts.get_mut(&target) {
            mount.upstreams.retain(|at| *at != key);
            if was_ready {
                mount.metrics.connections.dec();
            }
            if let Some(server) = place.and_then(|place| mount.servers.get_mut(place)) {
                server.latency = latency;
            }
        }
        self.wishes.push(Wish::CloseUpstream { upstream: key });
        // The only server ended a connection that worked, as servers do: it is asked once more before anybody is told.
        let again = was_ready && self.settings.retries > 0 && self.is_alone(&target);
        self.lose_walks(key);
        self.lose_pinned(&target, key);
        self.mounts.get_mut(&target).into_iter().for_each(|mount| mount.turns.lost(key));
        for mut leg in legs {
            if let Some(shared) = leg.shared.take() {
                self.share(&target, *shared, ResultCode::UNAVAILABLE, false);
            }
            let leg = match again && leg.attempts == 0 && self.can_be_asked_again(&leg) {
                true => {
                    self.ask_again(&target, leg, 1, None);
                    None
                }
                false => self.ask_elsewhere(&target, leg, place),
            };
            if let Some(leg) = leg {
                self.part_failed(leg.operation, leg.serial, leg.part);
                self.pool.give(leg.request);
            }
        }
    }

    /// The driver closed the socket: the key may be given out again.
    pub fn forget_upstream(&mut self, key: usize) {
        if self.upstreams.get(key).is_some_and(|upstream| upstream.stage == Stage::Lost) {
            self.upstreams.remove(key);
        }
    }

    /// After a new snapshot: connections to servers that are no longer the mount's take no new questions.
    pub(super) fn retire_upstreams(&mut self) {
        let mounted = |target: &Target| self.snapshot.mounts.get(target).map(|mounted| &mounted.endpoint);
        for (_, upstream) in &mut self.upstreams {
            let place = mounted(&upstream.mount)
                .and_then(|endpoint| endpoint.place_of(&upstream.endpoint, upstream.server))
                .filter(|place| *place < SERVERS);
            upstream.retired = place.is_none();
            upstream.place = place.unwrap_or(upstream.place);
        }
        for (target, mount) in &mut self.mounts {
            if !mount.servers.follow(mounted(target), &mount.metrics) {
                mount.turns.other_servers();
            }
            mount.favourite = Favourite::default();
            mount.projections.clear();
        }
        self.next_scan = self.now;
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
