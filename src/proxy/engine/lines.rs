//! Questions and their turns: see [`crate::proxy::engine::turns`].

use crate::ldap::message::ResultCode;
use crate::policy::terms::Target;
use crate::proxy::engine::balance::Places;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::operation::{At, Leg};
use crate::proxy::engine::turns::Bounds;
use crate::proxy::engine::upstream::{Pinned, Waiting};
use crate::proxy::engine::walk_behind::Placed;

impl Engine {
    pub(super) fn turn_bounds(&self) -> Bounds {
        let settings = &self.settings;
        Bounds {
            most: settings.questions_per_requester,
            slow: settings.slow_questions_per_requester,
            waiting: settings.waiting_per_requester,
            slow_microseconds: settings.slow_milliseconds * 1_000,
        }
    }

    /// The servers of a directory that are not to be asked a question, because they have as many of its requester as they
    /// may; None when it has to wait for its turn.
    pub(super) fn barred_for(&mut self, target: &Target, leg: &mut Leg) -> Option<Places> {
        leg.turn = None;
        let now = self.now;
        let Some(operation) = self.operations.get(leg.operation) else { return Some(Places::NONE) };
        let requester = &operation.requester.id;
        // A directory that is not mounted is not asked: whoever chooses will see that.
        let Some(mount) = self.mounts.get_mut(target) else { return Some(Places::NONE) };
        let servers = mount.servers.len();
        let barred = mount.turns.barred(requester, servers, now);
        leg.paces = mount.turns.paces(requester, now);
        let waits = !leg.called && mount.turns.waits(requester);
        (servers == 0 || !(waits || barred.is_all(servers))).then_some(barred)
    }

    /// Gives a question its turn at the server of a connection; false when that has as many of its requester as it may.
    pub(super) fn take_turn(&mut self, upstream: usize, leg: &mut Leg) -> bool {
        let (bounds, now) = (self.turn_bounds(), self.now);
        let Some(operation) = self.operations.get(leg.operation) else { return true };
        let Some(upstream) = self.upstreams.get(upstream) else { return true };
        // A server that is no more of the list only ends what it has begun.
        let Some(mount) = self.mounts.get_mut(&upstream.mount).filter(|_| !upstream.retired) else {
            return true;
        };
        leg.turn = mount.turns.take(&operation.requester.id, upstream.place, &bounds, now);
        leg.called = false;
        leg.turn.is_some()
    }

    /// Has a question wait until its requester has fewer at that directory; gives it back when too many wait.
    pub(super) fn line_up(
        &mut self,
        target: &Target,
        leg: Leg,
        request: &[u8],
        pinned: Option<Pinned>,
    ) -> Result<(), Box<Waiting>> {
        let bounds = self.turn_bounds();
        let mut kept = Vec::new();
        self.pool.equip(&mut kept);
        kept.extend_from_slice(request);
        let operation = leg.operation;
        let waiting = Waiting { leg, request: kept, pinned };
        let Some(operation) = self.operations.get(operation) else { return Err(Box::new(waiting)) };
        let Some(mount) = self.mounts.get_mut(target) else { return Err(Box::new(waiting)) };
        let first = !mount.turns.has_line();
        mount.turns.line_up(&operation.requester.id, waiting, &bounds).map_err(|waiting| {
            mount.metrics.fault("waiting_per_requester");
            Box::new(waiting)
        })?;
        if first {
            self.lined.push(target.clone());
        }
        Ok(())
    }

    /// Sends questions whose turn has come.
    pub(super) fn serve_lines(&mut self) {
        for target in std::mem::take(&mut self.lined) {
            let count = self.mounts.get(&target).map_or(0, |mount| mount.turns.in_line());
            for _ in 0..count {
                let Some(waiting) = self.next_in_line(&target) else { break };
                self.go_ahead(&target, waiting);
            }
            let waits = self.mounts.get(&target).is_some_and(|mount| mount.turns.has_line());
            if waits && !self.lined.contains(&target) {
                self.lined.push(target);
            }
        }
    }

    fn next_in_line(&mut self, target: &Target) -> Option<Waiting> {
        let upstreams = &self.upstreams;
        let mount = self.mounts.get_mut(target)?;
        let only = |waiting: &Waiting| {
            let pinned = waiting.pinned.as_ref()?;
            upstreams.get(pinned.upstream).map(|upstream| upstream.place)
        };
        // Where a server is ill, the others are waited for; where all are, nobody waits.
        let servers = mount.servers.len();
        let mut ill = Places::NONE;
        let broken = mount.servers.iter().enumerate().filter(|(_, server)| !server.breaker().is_closed());
        broken.for_each(|(place, _)| ill.add(place));
        let ill = if ill.is_all(servers) { Places::NONE } else { ill };
        mount.turns.next((servers, ill), self.now, only)
    }

    fn go_ahead(&mut self, target: &Target, mut waiting: Waiting) {
        let (key, serial, part) = (waiting.leg.operation, waiting.leg.serial, waiting.leg.part);
        if self.operations.get(key).is_none_or(|operation| operation.serial != serial) {
            return self.leave_line(waiting);
        }
        waiting.leg.called = true;
        let Waiting { mut leg, request, pinned } = waiting;
        if let Some(Pinned { upstream, cookie }) = pinned {
            self.take_turn(upstream, &mut leg);
            let sent = self.send(upstream, leg, &request, &cookie);
            self.placed(key, serial, part, sent.map_or(Placed::Nowhere, Placed::At));
            self.pool.give(request);
        } else {
            self.look_again(target, leg, request);
        }
    }

    /// A waiting question that nobody wants answered any more.
    pub(super) fn leave_line(&mut self, waiting: Waiting) {
        let Waiting { request, pinned, leg } = waiting;
        if let Some(Pinned { upstream, cookie }) = pinned {
            self.release_cookie(upstream, cookie, &request);
        }
        self.pool.give(request);
        self.pool.give(leg.request);
    }

    /// Notes which questions are slow before they are answered.
    pub(super) fn note_late(&mut self) {
        let (bounds, now) = (self.turn_bounds(), self.now);
        for (_, upstream) in self.upstreams.iter().filter(|(_, upstream)| upstream.live() > 0) {
            let Some(mount) = self.mounts.get_mut(&upstream.mount) else { continue };
            for leg in upstream.legs() {
                // What streams in already is at work for us, however long it is.
                if let Some(turn) = leg.turn.as_ref().filter(|_| leg.entries == 0) {
                    mount.turns.is_late(turn, now.saturating_sub(leg.sent), &bounds, now);
                }
            }
        }
    }

    /// Takes questions out of the lines whose operation has ended, and forgets requesters who ask no more.
    pub(super) fn tidy_lines(&mut self) {
        let (operations, now) = (&self.operations, self.now);
        let stale = |waiting: &Waiting| {
            operations.get(waiting.leg.operation).is_none_or(|o| o.serial != waiting.leg.serial)
        };
        let mut gone = Vec::new();
        for mount in self.mounts.values_mut() {
            if mount.turns.has_line() {
                gone.extend(mount.turns.take_out(stale));
            }
            mount.turns.tidy(now);
        }
        gone.into_iter().for_each(|waiting| self.leave_line(waiting));
    }

    /// A connection was lost: pages that wait to go on there cannot.
    pub(super) fn lose_pinned(&mut self, target: &Target, upstream: usize) {
        let Some(mount) = self.mounts.get_mut(target).filter(|mount| mount.turns.has_line()) else { return };
        let on =
            |waiting: &Waiting| waiting.pinned.as_ref().is_some_and(|pinned| pinned.upstream == upstream);
        for waiting in mount.turns.take_out(on) {
            let leg = &waiting.leg;
            self.part_failed(leg.operation, leg.serial, leg.part);
            self.pool.give(waiting.request);
        }
    }

    /// What a question that has to wait came to.
    pub(super) fn in_line(&mut self, target: &Target, leg: Leg, request: &[u8]) -> Result<At, ResultCode> {
        match self.line_up(target, leg, request, None) {
            Ok(()) => Ok(At::Queued),
            Err(waiting) => {
                self.pool.give(waiting.request);
                Err(ResultCode::BUSY)
            }
        }
    }
}

#[cfg(test)]
mod tests;
