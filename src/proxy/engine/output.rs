//! What goes out with this turn, and how clients that do not read are held back.

use zeroize::Zeroize;

use crate::ldap::message::ResultCode;
use crate::proxy::engine::answer::Answer;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::operation::Leg;
use crate::proxy::engine::upstream::{Stage, Upstream};
use crate::proxy::engine::wish::Wish;

/// Entries without their final result wait for it at most this long.
const HOLD_MICROSECONDS: u64 = 1_000;

impl Engine {
    /// Upstream connections with something to write. Write these first: the directories begin to work.
    pub fn due_upstreams(&mut self, due: &mut Vec<usize>) {
        self.ask_orphans();
        self.serve_lines();
        due.clear();
        due.append(&mut self.dirty_upstreams);
        for key in due.iter() {
            if let Some(upstream) = self.upstreams.get_mut(*key) {
                upstream.dirty = false;
            }
        }
    }

    /// Clients with something to write now. Entries whose final result is not there yet are held for a moment, unless
    /// nothing happened in this turn (`idle`).
    pub fn due_clients(&mut self, idle: bool, due: &mut Vec<usize>) {
        due.clear();
        self.held = false;
        let mut dirty = std::mem::take(&mut self.dirty_clients);
        dirty.retain(|key| {
            let Some(client) = self.clients.get_mut(*key) else { return false };
            let fresh = client.held_since == 0 || self.now < client.held_since + HOLD_MICROSECONDS;
            let hold = !idle
                && !client.complete
                && client.is_open()
                && !client.out.is_empty()
                && client.out.len() < self.settings.hold_bytes
                && fresh;
            if hold {
                if client.held_since == 0 {
                    client.held_since = self.now.max(1);
                }
                self.held = true;
                return true;
            }
            client.dirty = false;
            client.complete = false;
            client.held_since = 0;
            due.push(*key);
            false
        });
        self.dirty_clients.append(&mut dirty);
    }

    /// The output of a client, for the driver to take from.
    pub fn client_output(&mut self, key: usize) -> Option<&mut Vec<u8>> {
        self.clients.get_mut(key).map(|client| &mut client.out)
    }

    /// Where the last result in the output of a client begins.
    pub fn client_result_at(&self, key: usize) -> usize {
        self.clients.get(key).map_or(0, |client| client.result_at)
    }

    /// The output of an upstream connection, for the driver to take from.
    pub fn upstream_output(&mut self, key: usize) -> Option<&mut Vec<u8>> {
        self.upstreams.get_mut(key).map(|upstream| &mut upstream.out)
    }

    /// The driver wrote: `taken` bytes left the output; `blocked` says that the socket takes no more now.
    pub fn client_written(&mut self, key: usize, taken: usize, blocked: bool) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if taken > 0 || client.out.is_empty() || !client.blocked {
            client.last_written = self.now;
        }
        client.blocked = blocked;
        client.result_at = client.result_at.saturating_sub(taken);
        self.pool.retire(&mut client.out);
        if client.out.len() > self.settings.output_pause_bytes / 2 {
            return;
        }
        if std::mem::take(&mut client.paused) {
            self.wishes.push(Wish::ReadClient { client: key });
        }
        let (serial, now) = (client.serial, self.now);
        for (upstream_key, upstream) in &mut self.upstreams {
            if upstream.paused.is_some_and(|paused| paused.client == key && paused.serial == serial) {
                upstream.resume(now);
                self.wishes.push(Wish::ReadUpstream { upstream: upstream_key });
            }
        }
    }

    /// The driver wrote to an upstream connection.
    pub fn upstream_written(&mut self, key: usize, blocked: bool) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        upstream.blocked = blocked;
        if upstream.stage == Stage::Binding {
            if upstream.out.is_empty() {
                // It held our password; this wipes what `clear` left.
                upstream.out.zeroize();
                upstream.out = Vec::new();
            }
            return;
        }
        self.pool.retire(&mut upstream.out);
    }

    /// Whether the driver must not read from this client now; a wish will say when it may.
    pub fn client_paused(&mut self, key: usize) -> bool {
        let Some(client) = self.clients.get_mut(key) else { return true };
        client.paused = client.out.len() > self.settings.output_pause_bytes;
        // Behind a bind nothing is read until it is answered.
        client.paused || client.binding.is_some() || !client.is_open()
    }

    /// Whether the driver must not read from this upstream connection now; a wish will say when it may.
    pub fn upstream_paused(&self, key: usize) -> bool {
        self.upstreams
            .get(key)
            .is_none_or(|upstream| upstream.paused.is_some() || upstream.stage == Stage::Lost)
    }

    /// Microseconds until the engine wants a turn even if nothing happens; None when it can sleep.
    pub fn next_wake(&self) -> Option<u64> {
        if self.has_unchecked() {
            return Some(0);
        }
        if self.held {
            return Some(HOLD_MICROSECONDS);
        }
        let busy = !self.operations.is_empty() || self.upstreams.iter().any(|(_, u)| u.stage != Stage::Ready);
        let held = !self.walks_waiting.is_nothing() || !self.sorts_held.is_nothing();
        let present = busy || held || !self.clients.is_empty() || !self.upstreams.is_empty();
        let scan = present.then(|| self.next_scan.saturating_sub(self.now).max(1_000));
        let audit = (!self.audit.is_empty()).then_some(50_000);
        match (scan, audit) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Holds back what feeds a client that has too much waiting; true when its operation had to end.
    pub(super) fn restrain(&mut self, client_key: usize, upstream_key: usize, operation: usize) -> bool {
        let Some(client) = self.clients.get(client_key) else { return false };
        let (length, serial) = (client.out.len(), client.serial);
        if length <= self.settings.output_pause_bytes {
            return false;
        }
        if length > self.settings.output_bytes {
            self.end_operation(operation, &Answer::new(ResultCode::ADMIN_LIMIT_EXCEEDED, SLOW));
            return true;
        }
        let since = self.now;
        if let Some(upstream) = self.upstreams.get_mut(upstream_key)
            && upstream.paused.is_none()
        {
            upstream.paused = Some(super::upstream::Paused { client: client_key, serial, since });
            let operations = &self.operations;
            upstream.end_turns(|leg| operations.get(leg.operation).is_some_and(|o| o.client == client_key));
        }
        false
    }

    /// A slow reader held others up on the same upstream connection for long enough: they move to another one where
    /// their questions can be asked again; where they cannot, the reader's operations end.
    pub(super) fn release_held_up(&mut self) {
        let limit = self.settings.hold_up_milliseconds * 1_000;
        let mut over = Vec::new();
        for (key, upstream) in &self.upstreams {
            if let Some(paused) = upstream.paused
                && self.now.saturating_sub(paused.since) >= limit
                && !upstream.serves_only(|leg| self.is_of(leg, paused.client))
            {
                over.push((key, paused.client));
            }
        }
        for (key, client) in over {
            self.move_others(key, client);
            let alone = |upstream: &Upstream| upstream.serves_only(|leg| self.is_of(leg, client));
            if !self.upstreams.get(key).is_some_and(alone) {
                self.end_slow_reader(key);
            }
        }
    }

    fn is_of(&self, leg: &Leg, client: usize) -> bool {
        self.operations.get(leg.operation).is_some_and(|operation| operation.client == client)
    }

    /// Asks the questions of all but `client` again over other connections, when none of them has had an answer yet.
    fn move_others(&mut self, key: usize, client: usize) {
        let Some(upstream) = self.upstreams.get(key) else { return };
        let target = upstream.mount.clone();
        let others = |leg: &Leg| !self.is_of(leg, client);
        let movable = |leg: &Leg| self.can_be_asked_again(leg);
        if upstream.legs().any(|leg| others(leg) && !movable(leg)) {
            return;
        }
        for slot in upstream.slots_of(others) {
            if let Some(leg) = self.abandon_slot(key, slot) {
                let attempts = leg.attempts;
                self.ask_again(&target, leg, attempts, None);
            }
        }
    }
}

pub(super) const SLOW: &str = "the answer was not read in time; ask for less at once or read faster";

#[cfg(test)]
mod tests;
