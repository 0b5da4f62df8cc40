//! Paged searches as the directories behind see them. A directory's cookie is good on one connection only, and a
//! directory keeps few of them at once: walks are spread over connections, and bounded on each.

use std::sync::Arc;

use crate::ldap::ber;
use crate::ldap::control::Control;
use crate::ldap::message::ResultCode;
use crate::ldap::typed_control::PagedResults;
use crate::policy::terms::Target;
use crate::proxy::engine::answer::Answer;
use crate::proxy::engine::ask::Prepared;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::extras::{Pin, Walk};
use crate::proxy::engine::key::SLOTS;
use crate::proxy::engine::operation::{At, Leg, Operation, Part};
use crate::proxy::engine::parked::Parked;
use crate::proxy::engine::upstream::{Pinned, Stage};

const TOO_MANY: &str = "too many paged searches on that directory at once; try again later";

/// What came of finding a connection for a walk.
pub(super) enum Placed {
    At(At),
    /// Every connection carries as many as it may.
    Busy,
    /// The directory cannot be asked now.
    Nowhere,
}

impl Engine {
    /// Asks the directory of a walk's part: for its first page, or on.
    pub(super) fn ask_walk(&mut self, key: usize, part: usize) {
        let Some(operation) = self.operations.get_mut(key) else { return };
        let serial = operation.serial;
        let room = operation.size_limit.saturating_sub(operation.entries);
        let Some(extras) = operation.extras.as_deref_mut() else { return };
        let pin = extras.walk.as_mut().and_then(|walk| walk.pin.take());
        let (Some(search), Some(to)) = (extras.search.clone(), extras.legs.get(part).cloned()) else {
            return self.part_failed(key, serial, part);
        };
        let mut leg = match self.prepare(&search, None, key, part, &to) {
            Prepared::Ask(leg) => *leg,
            other => {
                pin.into_iter().for_each(|pin| self.release_pin(pin));
                return match other {
                    Prepared::Nothing => self.settle(key, serial, part, At::Done, ResultCode::SUCCESS),
                    _ => self.part_failed(key, serial, part),
                };
            }
        };
        leg.page = Some(self.page_behind(&to.target, room));
        let asked = self.scratch.len();
        if let Some(walk) = self.walk_of(key) {
            walk.asked = walk.asked.max(asked);
        }
        let placed = match pin {
            Some(pin) => self.go_on_at(&to.target, leg, pin),
            None => {
                let request = std::mem::take(&mut self.scratch);
                let placed = self.launch_walk(&to.target, leg, &request);
                self.scratch = request;
                placed
            }
        };
        self.placed(key, serial, part, placed);
    }

    pub(super) fn placed(&mut self, key: usize, serial: u64, part: usize, placed: Placed) {
        match placed {
            Placed::At(at) => self.move_part(key, part, at),
            Placed::Busy => {
                // It was to be asked now, and is counted as such.
                self.move_part(key, part, At::Waiting);
                self.end_operation(key, &Answer::new(ResultCode::BUSY, TOO_MANY));
            }
            Placed::Nowhere => self.part_failed(key, serial, part),
        }
    }

    /// Asks for the next page where the last one came from.
    fn go_on_at(&mut self, target: &Target, mut leg: Leg, pin: Pin) -> Placed {
        leg.released = pin.released;
        if self.take_turn(pin.upstream, &mut leg) {
            let sent = self.send(pin.upstream, leg, &pin.request, &pin.cookie);
            return sent.map_or(Placed::Nowhere, Placed::At);
        }
        let Pin { upstream, cookie, request, .. } = pin;
        match self.line_up(target, leg, &request, Some(Pinned { upstream, cookie })) {
            Ok(()) => Placed::At(At::Queued),
            Err(waiting) => {
                self.leave_line(*waiting);
                Placed::Busy
            }
        }
    }

    /// Entries to ask a directory for when `room` fit the client's page: one more tells whether there is more.
    fn page_behind(&self, target: &Target, room: u32) -> u32 {
        let most = self.snapshot.mounts.get(target).and_then(|mounted| mounted.endpoint.page_size);
        room.saturating_add(1).min(most.unwrap_or(u32::MAX))
    }

    fn walk_of(&mut self, key: usize) -> Option<&mut Walk> {
        self.operations.get_mut(key)?.extras.as_deref_mut()?.walk.as_mut()
    }

    /// A page of a directory ended on this connection, whether there is more or not.
    pub(super) fn seat_walk(&mut self, upstream: usize, leg: &Leg) {
        if self.operations.get(leg.operation).is_some_and(|operation| operation.serial == leg.serial)
            && let Some(walk) = self.walk_of(leg.operation)
        {
            walk.seat = Some(upstream);
        }
    }

    /// The directory's page ended, and it has more.
    pub(super) fn walk_on(&mut self, upstream: usize, mut leg: Leg, cookie: &[u8]) {
        let (key, serial, part) = (leg.operation, leg.serial, leg.part);
        let pin = Pin {
            upstream,
            cookie: cookie.to_vec(),
            request: std::mem::take(&mut leg.request),
            released: leg.released,
        };
        if self.operations.get(key).is_none_or(|operation| operation.serial != serial) {
            return self.release_pin(pin);
        }
        if leg.broken || pin.cookie.len() > self.settings.walk_bytes {
            // An entry did not check: what follows would hide that one is missing. Or the cookie is more than may be held.
            self.release_pin(pin);
            return self.part_failed(key, serial, part);
        }
        self.count_page(&leg);
        let Some(operation) = self.operations.get_mut(key) else { return };
        let room = operation.size_limit.saturating_sub(operation.entries);
        let Some(walk) = operation.extras.as_deref_mut().and_then(|extras| extras.walk.as_mut()) else {
            return self.release_pin(pin);
        };
        if walk.ready.is_empty() {
            let target = operation.parts.get(part).map(|part| part.permit.target().clone());
            leg.page = target.map(|target| self.page_behind(&target, room));
            let placed = match self.send(upstream, leg, &pin.request, &pin.cookie) {
                Some(at) => Placed::At(at),
                None => Placed::Nowhere,
            };
            return self.placed(key, serial, part, placed);
        }
        walk.pin = Some(pin);
        self.move_part(key, part, At::Later);
        self.walk_go_on(key);
    }

    /// Sends a walk's first question to a directory on a connection that has room for a walk, or has it wait for one.
    pub(super) fn launch_walk(&mut self, target: &Target, mut leg: Leg, request: &[u8]) -> Placed {
        let most = self.settings.upstreams.saturating_add(self.settings.walk_upstreams);
        if self.mount(target).is_none() {
            return Placed::Nowhere;
        }
        if !self.snapshot.mounts.contains_key(target) {
            return Placed::Nowhere;
        }
        let Some(barred) = self.barred_for(target, &mut leg) else {
            return match self.in_line(target, leg, request) {
                Ok(at) => Placed::At(at),
                Err(_) => Placed::Busy,
            };
        };
        let Some(mount) = self.mounts.get(target) else { return Placed::Nowhere };
        let (mut count, mut coming) = (0, false);
        let mut best: Option<(usize, usize)> = None;
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
            let free =
                (upstream.live() as usize) < SLOTS && upstream.paused.is_none() && !upstream.is_streaming();
            let walks = self.walks_on(*key);
            let free = free && !barred.has(upstream.place);
            if free && walks < self.walks_most(*key) && best.is_none_or(|(_, fewest)| walks < fewest) {
                best = Some((*key, walks));
            }
        }
        if let Some((key, _)) = best {
            self.take_turn(key, &mut leg);
            return self.send(key, leg, request, &[]).map_or(Placed::Nowhere, Placed::At);
        }
        if !coming && count < most {
            coming = self.dial_beside(target);
        }
        if !coming {
            if count > 0 && self.free_a_seat(target, &leg) {
                return self.launch_walk(target, leg, request);
            }
            return if count == 0 { Placed::Nowhere } else { Placed::Busy };
        }
        if self.wait_for_connection(target, leg, request).is_err() {
            return Placed::Busy;
        }
        Placed::At(At::Waiting)
    }

    /// Takes a place at a directory from whoever has the most there; whether it did.
    fn free_a_seat(&mut self, target: &Target, leg: &Leg) -> bool {
        let Some(operation) = self.operations.get(leg.operation) else { return false };
        let requester = Arc::clone(&operation.requester);
        let takes = |key: &usize| {
            self.upstreams
                .get(*key)
                .is_some_and(|u| u.stage == Stage::Ready && !u.retired && u.paused.is_none())
        };
        let Some(mount) = self.mounts.get(target) else { return false };
        let seats: Vec<usize> = mount.upstreams.iter().copied().filter(takes).collect();
        let seated = |parked: &Parked| seats.iter().any(|seat| parked.is_on(*seat));
        let parked = self.walks.parked.iter().filter(|(_, parked)| parked.requester.id == requester.id);
        let own = parked.filter(|(_, parked)| seated(parked)).count();
        let here = |operation: &Operation| {
            operation.walks() && operation.parts.iter().any(|part| part.permit.target() == target)
        };
        // the one that wants the place is one of those that run
        let running = self.running(&requester, here).saturating_sub(1);
        self.make_room(&requester, own + running, seated)
    }

    /// Walks that wait while no connection is being made: the one they waited for was lost.
    pub(super) fn ask_stuck_walks(&mut self) {
        let mut stuck = Vec::new();
        for (target, mount) in &mut self.mounts {
            let upstreams = &self.upstreams;
            let comes = |key: &usize| {
                upstreams.get(*key).is_some_and(|u| matches!(u.stage, Stage::Dialling | Stage::Binding))
            };
            if mount.waiting.iter().all(|waiting| waiting.leg.page.is_none())
                || mount.upstreams.iter().any(comes)
            {
                continue;
            }
            for waiting in std::mem::take(&mut mount.waiting) {
                match waiting.leg.page {
                    Some(_) => stuck.push((target.clone(), waiting)),
                    None => mount.waiting.push_back(waiting),
                }
            }
        }
        for (target, waiting) in stuck {
            let leg = &waiting.leg;
            if self.operations.get(leg.operation).is_some_and(|o| o.serial == leg.serial) {
                self.look_again(&target, waiting.leg, waiting.request);
            }
        }
    }

    /// Whether another walk may begin on this connection.
    pub(super) fn takes_walk(&self, upstream: usize) -> bool {
        self.walks_on(upstream) < self.walks_most(upstream)
    }

    /// Walks that one connection carries at most. A directory that we page by ourselves is an Active Directory.
    fn walks_most(&self, upstream: usize) -> usize {
        let paged = self.upstreams.get(upstream).is_some_and(|u| u.endpoint.page_size.is_some());
        if paged { self.settings.walks_per_upstream } else { 1 }
    }

    /// Walks that are asked for, or wait, on this connection.
    fn walks_on(&self, upstream: usize) -> usize {
        let parked = self.walks.parked.iter().filter(|(_, parked)| parked.is_on(upstream)).count();
        let asked = self.operations.iter().filter(|(_, operation)| {
            let walk = operation.extras.as_deref().and_then(|extras| extras.walk.as_ref());
            let seated = walk.is_some_and(|walk| walk.seat == Some(upstream));
            let is_on = |part: &Part| match part.at {
                At::Sent { upstream: at, .. } => at == upstream,
                At::Queued => seated,
                _ => false,
            };
            operation.walks() && operation.parts.iter().any(is_on)
        });
        parked + asked.count()
    }

    /// Tells a directory that its paged result is not wanted any more (RFC 2696 section 3). Its answer is nobody's.
    pub(super) fn release_pin(&mut self, pin: Pin) {
        self.release_cookie(pin.upstream, pin.cookie, &pin.request);
    }

    pub(super) fn release_cookie(&mut self, upstream_key: usize, cookie: Vec<u8>, request: &[u8]) {
        let Some(upstream) = self.upstreams.get_mut(upstream_key).filter(|u| u.stage == Stage::Ready) else {
            return;
        };
        let Some(id) = upstream.spare_id() else { return };
        let number = id.message_id();
        let mut controls = Vec::new();
        let end = PagedResults { size: 0, cookie }.control(true);
        Control::write_list(std::slice::from_ref(&end), &mut controls);
        self.pool.equip(&mut upstream.out);
        let contents = ber::int_size(number) + request.len() + controls.len();
        ber::put_header(&mut upstream.out, ber::SEQUENCE, contents);
        ber::put_int(&mut upstream.out, ber::INTEGER, number);
        upstream.out.extend_from_slice(request);
        upstream.out.extend_from_slice(&controls);
        self.mark_upstream(upstream_key);
    }

    /// A connection was lost, and with it the directory's cookies.
    pub(super) fn lose_walks(&mut self, upstream: usize) {
        self.walks.parked.retain(|_, parked| !parked.is_on(upstream));
    }
}
