//! Which connection a question goes to, when a new one is made, who waits, who is told that it cannot be.

use crate::ldap::message::ResultCode;
use crate::policy::terms::Target;
use crate::proxy::engine::answer::Answer;
use crate::proxy::engine::balance::{self, Load, Places};
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::key::SLOTS;
use crate::proxy::engine::output::SLOW;
use crate::proxy::engine::turns::{Pace, Paces};
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
    /// What is to be expected of the question.
    paces: Paces,
    /// One with room, and how much.
    room: Option<(usize, u32)>,
    /// The one with the fewest questions of those without room.
    fullest: Option<(usize, Rank)>,
    /// The same of those on which a question is held up.
    beside: Option<(usize, Rank)>,
    /// Those on which nothing is held up.
    count: usize,
    held_up: usize,
    coming: bool,
}

/// What is slow rather waits where others do already; then few questions are better than many.
type Rank = (bool, u32);

impl Engine {
    /// Where the next question to `target` goes. The servers that are `barred` must not be asked.
    /// One that is not known to be `Quick` rather gets a connection that nothing else waits for; a `Slow` one waits until
    /// there is one.
    pub(super) fn choose(&mut self, target: &Target, barred: Places, paces: Paces) -> Choice {
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
        match mount.servers.len() {
            servers if barred.is_all(servers) => Choice::Nowhere,
            1 => {
                let lane = self.lane(mount, None, paces);
                self.choose_alone(target, &lane)
            }
            _ => self.choose_among(target, barred, paces),
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
            (None, Some(_)) if dialled || self.is_coming(target, Places::NONE, patience) => Choice::Wait,
            (None, Some((key, _))) => Choice::Send(key),
            (None, None) if dialled || self.is_coming(target, Places::NONE, hope) => Choice::Wait,
            (None, None) => self.take_over(target, Places::NONE),
        }
    }

    /// The lighter of two servers that chance names; while it is being connected to, whoever is ready.
    fn choose_among(&mut self, target: &Target, barred: Places, paces: Paces) -> Choice {
        if let Some(key) = self.favourite(target, barred, paces) {
            return Choice::Send(key);
        }
        let patience = self.settings.dial_hedge_milliseconds * 1_000;
        if let Some(place) = self.pick(target, barred) {
            let Some(mount) = self.mounts.get(target) else { return Choice::Nowhere };
            let lane = self.lane(mount, Some(place), paces);
            if let Some((key, left)) = lane.room {
                let favourite = Favourite { at: self.now, place, left };
                if let Some(mount) = self.mounts.get_mut(target).filter(|_| paces.at(place) == Pace::Quick) {
                    mount.favourite = favourite;
                }
                return Choice::Send(key);
            }
            // Who waits already waits for one connection, not for one to each server.
            if self.anyone(target, barred, paces).is_some() || !self.is_coming(target, barred, patience) {
                self.dial_into(target, place, &lane);
            }
        }
        if let Some((key, held_up)) = self.anyone(target, barred, paces)
            && !(held_up && self.is_coming(target, barred, patience))
        {
            return Choice::Send(key);
        }
        if self.is_coming(target, barred, patience)
            || self.dial_another(target, barred, paces)
            || self.is_coming(target, barred, u64::MAX)
        {
            return Choice::Wait;
        }
        self.take_over(target, barred)
    }

    /// All questions of a turn go one way, as far as it has room, so that they leave in one write.
    fn favourite(&mut self, target: &Target, barred: Places, paces: Paces) -> Option<usize> {
        let mount = self.mounts.get(target)?;
        let favourite = mount.favourite;
        let quick = paces.at(favourite.place) == Pace::Quick && !barred.has(favourite.place);
        if favourite.at != self.now || favourite.left <= 1 || !quick {
            return None;
        }
        let (key, _) = self.lane(mount, Some(favourite.place), Paces::QUICK).room?;
        let mount = self.mounts.get_mut(target)?;
        mount.favourite.left -= 1;
        Some(key)
    }

    fn pick(&mut self, target: &Target, barred: Places) -> Option<usize> {
        let mut loads = std::mem::take(&mut self.loads);
        self.weigh(target, &mut loads);
        let picked = balance::pick(&loads, barred, |bound| self.jitter(bound));
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

    /// What the connections to the server at `server`, or to all, can take of questions of these `paces`.
    fn lane(&self, mount: &Mount, server: Option<usize>, paces: Paces) -> Lane {
        let depth = self.settings.upstream_depth;
        let bounds = self.turn_bounds();
        let mut lane = Lane { paces, ..Lane::default() };
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
            let slow_after = mount.turns.slow_after(upstream.place, &bounds, self.now);
            let held_up = upstream.is_held_up(slow_after, self.now);
            let (live, pace) = (upstream.live(), paces.at(upstream.place));
            let room = if pace == Pace::Quick { depth.saturating_sub(live) } else { u32::from(live == 0) };
            if room > 0 && !held_up {
                lane.room = Some((*key, room));
                return lane;
            }
            lane.count += usize::from(!held_up);
            lane.held_up += usize::from(held_up);
            let free = (live as usize) < SLOTS && upstream.paused.is_none();
            let best = if held_up || pace == Pace::Slow { &mut lane.beside } else { &mut lane.fullest };
            let rank = (pace == Pace::Slow && !held_up, live);
            if free && best.is_none_or(|(_, least)| rank < least) {
                *best = Some((*key, rank));
            }
        }
        lane
    }

    /// Makes one more connection to a server when it may have one and none is being made; whether it does.
    fn dial_into(&mut self, target: &Target, place: usize, lane: &Lane) -> bool {
        let most = self.settings.upstreams;
        let all = most + self.settings.upstreams_for_long_results;
        let server = self.mounts.get(target).and_then(|mount| mount.servers.get(place));
        let may = (lane.paces.at(place) == Pace::Slow || lane.count < most)
            && lane.count + lane.held_up < all
            && !lane.coming
            && server.is_some_and(|server| server.breaker().may_dial(self.now));
        if may {
            self.dial(target, place);
        }
        may
    }

    /// Dials the nearest other server that may be dialled; chance decides between equals.
    fn dial_another(&mut self, target: &Target, barred: Places, paces: Paces) -> bool {
        let count = self.mounts.get(target).map_or(0, |mount| mount.servers.len());
        let start = self.jitter(count as u64) as usize;
        let rank = |engine: &Engine, place: usize| {
            let endpoint = engine.mounts.get(target).and_then(|mount| mount.servers.endpoint());
            let server = endpoint.and_then(|endpoint| endpoint.servers.get(place));
            server.map_or(u16::MAX, |server| server.preference.rank)
        };
        let mut places: Vec<usize> = (0..count).map(|n| (start + n) % count).collect();
        places.retain(|place| !barred.has(*place));
        places.sort_by_key(|place| rank(self, *place));
        places.into_iter().any(|place| {
            let lane = self.mounts.get(target).map(|mount| self.lane(mount, Some(place), paces));
            lane.is_some_and(|lane| self.dial_into(target, place, &lane))
        })
    }

    /// Makes a connection beside those for questions, to the lighter of two servers or to any that may be dialled; whether it
    /// does.
    pub(super) fn dial_beside(&mut self, target: &Target) -> bool {
        let count = self.mounts.get(target).map_or(0, |mount| mount.servers.len());
        let picked = self.pick(target, Places::NONE);
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
    fn is_coming(&self, target: &Target, barred: Places, patience: u64) -> bool {
        let Some(mount) = self.mounts.get(target) else { return false };
        mount.upstreams.iter().filter_map(|key| self.upstreams.get(*key)).any(|upstream| {
            matches!(upstream.stage, Stage::Dialling | Stage::Binding)
                && !upstream.retired
                && !barred.has(upstream.place)
                && self.now.saturating_sub(upstream.active) < patience
        })
    }

    /// The best connection that takes anything: of a healthy server rather than of one that is not, then one on which
    /// nothing is held up, or for a question that is not `Quick` nothing is at all, then near, then with few questions. With whether the
    /// question would be held up there.
    fn anyone(&self, target: &Target, barred: Places, paces: Paces) -> Option<(usize, bool)> {
        let mount = self.mounts.get(target)?;
        let endpoint = mount.servers.endpoint()?;
        let bounds = self.turn_bounds();
        let order = |key: &usize| {
            let upstream = self.upstreams.get(*key)?;
            let usable = upstream.stage == Stage::Ready
                && !upstream.retired
                && upstream.paused.is_none()
                && !barred.has(upstream.place)
                && (upstream.live() as usize) < SLOTS;
            let server = mount.servers.get(upstream.place).filter(|_| usable)?;
            let sick = upstream.suspect || !server.breaker().is_closed();
            let rank = endpoint.servers.get(upstream.place)?.preference.rank;
            let slow_after = mount.turns.slow_after(upstream.place, &bounds, self.now);
            let held_up = upstream.is_held_up(slow_after, self.now);
            let pace = paces.at(upstream.place);
            let waits = if pace == Pace::Slow { upstream.live() > 0 } else { held_up };
            Some((sick, waits, pace == Pace::Slow && !held_up, rank, upstream.live(), *key))
        };
        mount.upstreams.iter().filter_map(order).min().map(|(_, waits, .., key)| (key, waits))
    }

    /// Every connection is held by a reader that does not read: the one that did so for longest ends, when it had its
    /// time.
    fn take_over(&mut self, target: &Target, barred: Places) -> Choice {
        let Some(mount) = self.mounts.get(target) else { return Choice::Nowhere };
        let held = mount.upstreams.iter().filter_map(|key| {
            let upstream = self.upstreams.get(*key)?;
            let usable = upstream.stage == Stage::Ready && !upstream.retired && !barred.has(upstream.place);
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
