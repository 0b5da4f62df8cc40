//! Which connection a question goes to, when a new one is made, who waits, who is told that it cannot be.

use crate::ldap::message::ResultCode;
use crate::policy::terms::Target;
use crate::proxy::engine::answer::Answer;
use crate::proxy::engine::balance::{self, Load};
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::key::SLOTS;
use crate::proxy::engine::output::SLOW;
use crate::proxy::engine::upstream::{Favourite, Mount, Stage};
use crate::proxy::engine::wish::Wish;

/// What is to be done with a question.
pub enum Choice {
    Send(usize),
    Wait,
    /// The mount has as many questions as it may.
    Full,
    /// No connection, and none may be tried now.
    Nowhere,
}

/// The connections to one server, or to all of a mount.
#[derive(Default)]
struct Lane {
    /// One with room, and how much.
    room: Option<(usize, u32)>,
    /// The one with the fewest questions of those without room.
    fullest: Option<(usize, u32)>,
    /// The same of those that are left to long results.
    beside: Option<(usize, u32)>,
    /// Those that are not left to long results.
    count: usize,
    streaming: usize,
    coming: bool,
}

impl Engine {
    /// Where the next question to `target` goes. `avoid` is the place of a server that must not be asked.
    pub(super) fn choose(&mut self, target: &Target, avoid: Option<usize>) -> Choice {
        let (now, limit) = (self.now, self.settings.mount_in_flight);
        if !self.snapshot.mounts.contains_key(target) {
            return Choice::Nowhere;
        }
        match self.mount(target) {
            Some(mount) => mount.asked = now,
            None => return Choice::Nowhere,
        }
        let Some(mount) = self.mounts.get(target) else { return Choice::Nowhere };
        let in_flight = |key: &usize| self.upstreams.get(*key).map_or(0, |upstream| upstream.live());
        if mount.upstreams.iter().map(in_flight).sum::<u32>() >= limit {
            mount.metrics.fault("in_flight");
            return Choice::Full;
        }
        match (mount.servers.len(), avoid) {
            (0, _) | (1, Some(_)) => Choice::Nowhere,
            (1, None) => {
                let lane = self.lane(mount, None);
                self.choose_alone(target, &lane)
            }
            _ => self.choose_among(target, avoid),
        }
    }

    /// Few busy connections beat many half-idle ones: fill one up to a depth, then the next.
    fn choose_alone(&mut self, target: &Target, lane: &Lane) -> Choice {
        if let Some((key, _)) = lane.room {
            return Choice::Send(key);
        }
        let dialled = self.dial_into(target, 0, lane);
        let patience = self.settings.dial_hedge_milliseconds * 1_000;
        let servers = self.mounts.get(target).map(|mount| &mount.servers);
        let in_vain =
            servers.and_then(|s| s.get(0)).is_some_and(|server| server.breaker().was_tried_in_vain());
        let hope = if in_vain { patience } else { u64::MAX };
        match (lane.fullest, lane.beside) {
            (Some((key, _)), _) => Choice::Send(key),
            // What waits behind a long result waits for longer than a connection takes.
            (None, Some(_)) if dialled || self.is_coming(target, None, patience) => Choice::Wait,
            (None, Some((key, _))) => Choice::Send(key),
            (None, None) if dialled || self.is_coming(target, None, hope) => Choice::Wait,
            (None, None) => self.take_over(target, None),
        }
    }

    /// The lighter of two servers that chance names; while it is being connected to, whoever is ready.
    fn choose_among(&mut self, target: &Target, avoid: Option<usize>) -> Choice {
        if avoid.is_none()
            && let Some(key) = self.favourite(target)
        {
            return Choice::Send(key);
        }
        let patience = self.settings.dial_hedge_milliseconds * 1_000;
        if let Some(place) = self.pick(target, avoid) {
            let Some(mount) = self.mounts.get(target) else { return Choice::Nowhere };
            let lane = self.lane(mount, Some(place));
            if let Some((key, left)) = lane.room {
                let favourite = Favourite { at: self.now, place, left };
                if let Some(mount) = self.mounts.get_mut(target) {
                    mount.favourite = favourite;
                }
                return Choice::Send(key);
            }
            // Who waits already waits for one connection, not for one to each server.
            if self.anyone(target, avoid).is_some() || !self.is_coming(target, avoid, patience) {
                self.dial_into(target, place, &lane);
            }
        }
        if let Some((key, streaming)) = self.anyone(target, avoid)
            && !(streaming && self.is_coming(target, avoid, patience))
        {
            return Choice::Send(key);
        }
        if self.is_coming(target, avoid, patience)
            || self.dial_another(target, avoid)
            || self.is_coming(target, avoid, u64::MAX)
        {
            return Choice::Wait;
        }
        self.take_over(target, avoid)
    }

    /// All questions of a turn go one way, as far as it has room, so that they leave in one write.
    fn favourite(&mut self, target: &Target) -> Option<usize> {
        let mount = self.mounts.get(target)?;
        let favourite = mount.favourite;
        if favourite.at != self.now || favourite.left <= 1 {
            return None;
        }
        let (key, _) = self.lane(mount, Some(favourite.place)).room?;
        let mount = self.mounts.get_mut(target)?;
        mount.favourite.left -= 1;
        Some(key)
    }

    fn pick(&mut self, target: &Target, avoid: Option<usize>) -> Option<usize> {
        let mut loads = std::mem::take(&mut self.loads);
        self.weigh(target, &mut loads);
        let picked = balance::pick(&loads, avoid, |bound| self.jitter(bound));
        self.loads = loads;
        picked
    }

    /// Every server of the mount as it is chosen by.
    fn weigh(&self, target: &Target, loads: &mut Vec<Load>) {
        loads.clear();
        let Some(mount) = self.mounts.get(target) else { return };
        let Some(endpoint) = mount.servers.endpoint() else { return };
        loads.extend(mount.servers.iter().zip(&endpoint.servers).map(|(server, address)| Load {
            rank: address.preference.rank,
            weight: address.preference.weight,
            healthy: server.breaker().is_closed(),
            in_flight: 0,
            latency: server.latency.now(self.now),
        }));
        for upstream in mount.upstreams.iter().filter_map(|key| self.upstreams.get(*key)) {
            if upstream.retired {
                continue;
            }
            let Some(load) = loads.get_mut(upstream.place) else { continue };
            load.in_flight += upstream.live();
            load.latency = load.latency.max(upstream.latency.now(self.now));
            load.healthy &= !upstream.suspect;
        }
    }

    /// What the connections to the server at `server`, or to all, can take.
    fn lane(&self, mount: &Mount, server: Option<usize>) -> Lane {
        let depth = self.settings.upstream_depth;
        let mut lane = Lane::default();
        for key in &mount.upstreams {
            let Some(upstream) = self.upstreams.get(*key) else { continue };
            let other = server.is_some_and(|place| place != upstream.place);
            if other || upstream.retired || upstream.stage == Stage::Lost {
                continue;
            }
            if upstream.stage != Stage::Ready {
                lane.count += 1;
                lane.coming = true;
                continue;
            }
            let (live, streaming) = (upstream.live(), upstream.is_streaming());
            if !streaming && live < depth {
                lane.room = Some((*key, depth - live));
                return lane;
            }
            lane.count += usize::from(!streaming);
            lane.streaming += usize::from(streaming);
            let free = (live as usize) < SLOTS && upstream.paused.is_none();
            let best = if streaming { &mut lane.beside } else { &mut lane.fullest };
            if free && best.is_none_or(|(_, least)| live < least) {
                *best = Some((*key, live));
            }
        }
        lane
    }

    /// Makes one more connection to a server when it may have one and none is being made; whether it does.
    fn dial_into(&mut self, target: &Target, place: usize, lane: &Lane) -> bool {
        let most = self.settings.upstreams;
        let all = most + self.settings.upstreams_for_long_results;
        let server = self.mounts.get(target).and_then(|mount| mount.servers.get(place));
        let may = lane.count < most
            && lane.count + lane.streaming < all
            && !lane.coming
            && server.is_some_and(|server| server.breaker().may_dial(self.now));
        if may {
            self.dial(target, place);
        }
        may
    }

    /// Dials the nearest other server that may be dialled; chance decides between equals.
    fn dial_another(&mut self, target: &Target, avoid: Option<usize>) -> bool {
        let count = self.mounts.get(target).map_or(0, |mount| mount.servers.len());
        let start = self.jitter(count as u64) as usize;
        let rank = |engine: &Engine, place: usize| {
            let endpoint = engine.mounts.get(target).and_then(|mount| mount.servers.endpoint());
            let server = endpoint.and_then(|endpoint| endpoint.servers.get(place));
            server.map_or(u16::MAX, |server| server.preference.rank)
        };
        let mut places: Vec<usize> = (0..count).map(|n| (start + n) % count).collect();
        places.retain(|place| avoid != Some(*place));
        places.sort_by_key(|place| rank(self, *place));
        places.into_iter().any(|place| {
            let lane = self.mounts.get(target).map(|mount| self.lane(mount, Some(place)));
            lane.is_some_and(|lane| self.dial_into(target, place, &lane))
        })
    }

    /// Makes a connection beside those for questions, to the lighter of two servers or to any that may be dialled; whether it
    /// does.
    pub(super) fn dial_beside(&mut self, target: &Target) -> bool {
        let count = self.mounts.get(target).map_or(0, |mount| mount.servers.len());
        let picked = self.pick(target, None);
        let may = |engine: &Engine, place: &usize| {
            let server = engine.mounts.get(target).and_then(|mount| mount.servers.get(*place));
            server.is_some_and(|server| server.breaker().may_dial(engine.now))
        };
        let Some(place) = picked.into_iter().chain(0..count).find(|place| may(self, place)) else {
            return false;
        };
        self.dial(target, place);
        true
    }

    /// Whether a connection is being made, for less than `patience` microseconds yet.
    fn is_coming(&self, target: &Target, avoid: Option<usize>, patience: u64) -> bool {
        let Some(mount) = self.mounts.get(target) else { return false };
        mount.upstreams.iter().filter_map(|key| self.upstreams.get(*key)).any(|upstream| {
            matches!(upstream.stage, Stage::Dialling | Stage::Binding)
                && !upstream.retired
                && avoid != Some(upstream.place)
                && self.now.saturating_sub(upstream.active) < patience
        })
    }

    /// The best connection that takes anything: of a healthy server rather than of one that is not, then without a long
    /// result, then near, then with few questions. With whether a long result streams in on it.
    fn anyone(&self, target: &Target, avoid: Option<usize>) -> Option<(usize, bool)> {
        let mount = self.mounts.get(target)?;
        let endpoint = mount.servers.endpoint()?;
        let order = |key: &usize| {
            let upstream = self.upstreams.get(*key)?;
            let usable = upstream.stage == Stage::Ready
                && !upstream.retired
                && upstream.paused.is_none()
                && avoid != Some(upstream.place)
                && (upstream.live() as usize) < SLOTS;
            let server = mount.servers.get(upstream.place).filter(|_| usable)?;
            let sick = upstream.suspect || !server.breaker().is_closed();
            let rank = endpoint.servers.get(upstream.place)?.preference.rank;
            Some((sick, upstream.is_streaming(), rank, upstream.live(), *key))
        };
        mount.upstreams.iter().filter_map(order).min().map(|(_, streaming, .., key)| (key, streaming))
    }

    /// Every connection is held by a reader that does not read: the one that did so for longest ends, when it had its
    /// time.
    fn take_over(&mut self, target: &Target, avoid: Option<usize>) -> Choice {
        let Some(mount) = self.mounts.get(target) else { return Choice::Nowhere };
        let held = mount.upstreams.iter().filter_map(|key| {
            let upstream = self.upstreams.get(*key)?;
            let usable = upstream.stage == Stage::Ready && !upstream.retired && avoid != Some(upstream.place);
            let paused = upstream.paused.filter(|_| usable)?;
            Some((paused.since, *key))
        });
        let Some((since, key)) = held.min() else { return Choice::Nowhere };
        if self.now.saturating_sub(since) < self.settings.hold_up_milliseconds * 1_000 {
            return Choice::Wait;
        }
        self.end_slow_reader(key);
        Choice::Send(key)
    }

    /// Ends what the client asks on a connection whose answers it does not read, and reads on.
    pub(super) fn end_slow_reader(&mut self, key: usize) {
        let Some(paused) = self.upstreams.get(key).and_then(|upstream| upstream.paused) else { return };
        for operation in self.operations_on(key, paused.client) {
            self.end_operation(operation, &Answer::new(ResultCode::ADMIN_LIMIT_EXCEEDED, SLOW));
        }
        let now = self.now;
        if let Some(upstream) = self.upstreams.get_mut(key) {
            upstream.resume(now);
            self.wishes.push(Wish::ReadUpstream { upstream: key });
        }
    }
}

#[cfg(test)]
mod tests;
