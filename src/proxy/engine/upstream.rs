//! One connection to a directory behind, and what the shard knows of each mount.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::namespace::mapping::Mapping;
use crate::namespace::projection::Projection;
use crate::policy::terms::Target;
use crate::proxy::engine::balance::Latency;
use crate::proxy::engine::key::{SLOTS, UpstreamId};
use crate::proxy::engine::operation::Leg;
use crate::proxy::engine::recent::Recent;
use crate::proxy::engine::server::Servers;
use crate::proxy::engine::turns::{Pace, Turns};
use crate::proxy::metrics::MemberMetrics;
use crate::proxy::snapshot::Endpoint;
use crate::release::view::View;

/// A result is long from this many entries on: its connection gets no new questions while others have room.
pub const LONG: u32 = 64;

/// How far an upstream connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// TCP and TLS.
    Dialling,
    /// Our own bind was sent.
    Binding,
    Ready,
    /// Closed or about to be; it takes nothing any more.
    Lost,
}

/// A question on the connection, or the memory of one.
#[derive(Debug)]
struct Slot {
    generation: u32,
    leg: Option<Leg>,
}

/// A connection to a directory behind.
#[derive(Debug)]
pub struct Upstream {
    pub mount: Target,
    pub endpoint: Arc<Endpoint>,
    /// The server's place in `endpoint`.
    pub server: usize,
    /// The server's place in the mount's list as it is now; of no meaning for a retired connection.
    pub place: usize,
    pub stage: Stage,
    /// Takes no new questions: its server is no longer the mount's.
    pub retired: bool,
    /// The beginning of a message that has not arrived whole.
    pub inbound: Vec<u8>,
    /// When `inbound` began to wait for the rest.
    pub tail_since: u64,
    /// Bytes of answers to questions that are over, since one was last given up.
    pub unasked: usize,
    pub out: Vec<u8>,
    pub dirty: bool,
    pub blocked: bool,
    /// A long result streams in.
    long: bool,
    /// Reading is paused since then, because this client does not take its output.
    pub paused: Option<Paused>,
    /// The last question or answer, or when it was dialled.
    pub active: u64,
    /// The last byte from it.
    pub heard: u64,
    /// The last result, of a question or a probe: there are servers that bind and then hang.
    pub answered: u64,
    /// The first question since the last byte from it.
    pub silent_since: Option<u64>,
    /// When our own question was sent that has no answer yet.
    pub probed: Option<u64>,
    /// The probe is to tell whether the server is done with what was given up, no more.
    pub sounding: bool,
    /// When a question was last given up that the server may be working on.
    pub given_up: Option<u64>,
    /// It was silent for too long while questions were open.
    pub suspect: bool,
    /// It has answered a question.
    pub proven: bool,
    /// Questions in a row that it answered with `busy` or `unavailable`.
    pub strikes: u32,
    pub latency: Latency,
    /// Live questions of requesters who are not known to ask quick ones.
    slow: u32,
    slots: Vec<Slot>,
    free: Vec<u16>,
    live: u32,
}

/// See [`Upstream::paused`].
#[derive(Debug, Clone, Copy)]
pub struct Paused {
    pub client: usize,
    pub serial: u64,
    pub since: u64,
}

impl Upstream {
    /// A connection that is being made to the server at `place` of `endpoint`.
    pub fn new(mount: Target, endpoint: Arc<Endpoint>, place: usize, now: u64) -> Self {
        Upstream {
            mount,
            endpoint,
            server: place,
            place,
            stage: Stage::Dialling,
            retired: false,
            inbound: Vec::new(),
            tail_since: now,
            unasked: 0,
            out: Vec::new(),
            dirty: false,
            blocked: false,
            long: false,
            paused: None,
            active: now,
            heard: now,
            answered: 0,
            silent_since: None,
            probed: None,
            sounding: false,
            given_up: None,
            suspect: false,
            proven: false,
            strikes: 0,
            latency: Latency::default(),
            slow: 0,
            slots: Vec::new(),
            free: Vec::new(),
            live: 0,
        }
    }

    /// Questions without a final answer.
    pub fn live(&self) -> u32 {
        self.live
    }

    /// Takes a leg in; gives it back when all slots are taken.
    pub fn occupy(&mut self, leg: Leg) -> Result<UpstreamId, Box<Leg>> {
        let Some(slot) = self.vacant() else { return Err(Box::new(leg)) };
        let Some(place) = self.slots.get_mut(usize::from(slot)) else { return Err(Box::new(leg)) };
        let id = UpstreamId { slot, generation: place.generation }.next();
        place.generation = id.generation;
        self.long |= leg.entries >= LONG;
        let mut leg = leg;
        leg.is_slow = leg.paces.at(self.place) != Pace::Quick;
        self.slow += u32::from(leg.is_slow);
        place.leg = Some(leg);
        self.live += 1;
        Ok(id)
    }

    /// Takes a slot that holds nothing; None when all are taken.
    fn vacant(&mut self) -> Option<u16> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        let slot = u16::try_from(self.slots.len()).ok().filter(|_| self.slots.len() < SLOTS)?;
        self.slots.push(Slot { generation: 0, leg: None });
        Some(slot)
    }

    /// An id for a request whose answer nobody waits for: when it comes, it is a late one.
    pub fn spare_id(&mut self) -> Option<UpstreamId> {
        let slot = self.vacant()?;
        self.free.push(slot);
        let place = self.slots.get_mut(usize::from(slot))?;
        let id = UpstreamId { slot, generation: place.generation }.next();
        place.generation = id.generation;
        Some(id)
    }

    /// The leg that `id` asks for; None for a late answer or an id that was never given out.
    pub fn leg(&mut self, id: UpstreamId) -> Option<&mut Leg> {
        let slot = self.slots.get_mut(usize::from(id.slot))?;
        (slot.generation == id.generation).then_some(())?;
        slot.leg.as_mut()
    }

    /// Whether `id` was ever given out: a late answer to an abandoned question is no fault, an unknown id is one.
    pub fn gave_out(&self, id: UpstreamId) -> bool {
        self.slots.get(usize::from(id.slot)).is_some_and(|slot| {
            let behind = slot.generation.wrapping_sub(id.generation);
            slot.generation > 0 && behind < 1 << 16
        })
    }

    /// Takes the leg out and frees its slot.
    pub fn release(&mut self, slot: u16) -> Option<(UpstreamId, Leg)> {
        let place = self.slots.get_mut(usize::from(slot))?;
        let leg = place.leg.take()?;
        let id = UpstreamId { slot, generation: place.generation };
        self.live = self.live.saturating_sub(1);
        self.slow = self.slow.saturating_sub(u32::from(leg.is_slow));
        self.free.push(slot);
        if leg.entries >= LONG {
            let long = self.legs().any(|leg| leg.entries >= LONG);
            self.long = long;
        }
        Some((id, leg))
    }

    /// Questions without a final answer.
    pub fn legs(&self) -> impl Iterator<Item = &Leg> {
        self.slots.iter().filter_map(|slot| slot.leg.as_ref())
    }

    /// One of the results that stream in has become long.
    pub fn note_long(&mut self) {
        self.long = true;
    }

    /// Whether it is better left to what streams in on it already.
    pub fn is_streaming(&self) -> bool {
        self.long || self.paused.is_some()
    }

    /// Whether a question would wait there behind what takes long: a long result, a question of a requester who is
    /// not known to ask quick ones, what was given up, or anything that the directory has been silent about for `slow_after` microseconds.
    pub fn is_held_up(&self, slow_after: u64, now: u64) -> bool {
        let silent = |since: u64| now.saturating_sub(since) > slow_after;
        self.is_streaming()
            || self.slow > 0
            || self.given_up.is_some()
            || self.silent_since.is_some_and(silent)
    }

    /// Gives back the turns of questions that wait for `of` to read: the directory has done its work for them.
    pub fn end_turns(&mut self, of: impl Fn(&Leg) -> bool) {
        let legs = self.slots.iter_mut().filter_map(|slot| slot.leg.as_mut());
        legs.filter(|leg| of(leg)).for_each(|leg| leg.turn = None);
    }

    /// Reading goes on: that nothing came meanwhile was our doing.
    pub fn resume(&mut self, now: u64) {
        self.paused = None;
        self.heard = now;
        self.tail_since = now;
        self.silent_since = self.silent_since.map(|_| now);
        self.probed = self.probed.map(|_| now);
    }

    /// The id of the question in a slot.
    pub fn id_of(&self, slot: u16) -> Option<UpstreamId> {
        let place = self.slots.get(usize::from(slot)).filter(|place| place.leg.is_some())?;
        Some(UpstreamId { slot, generation: place.generation })
    }

    /// Nobody looked at any connection for so long: that is no silence of the other side.
    pub fn excuse(&mut self, microseconds: u64) {
        let later = |since: u64| since.saturating_add(microseconds);
        self.silent_since = self.silent_since.map(later);
        self.probed = self.probed.map(later);
    }

    /// Whether a question of the operation `serial` is in this slot.
    pub fn holds(&self, slot: u16, serial: u64) -> bool {
        let leg = self.slots.get(usize::from(slot)).and_then(|slot| slot.leg.as_ref());
        leg.is_some_and(|leg| leg.serial == serial)
    }

    /// The slot's next id was used for an abandon: no question gets it.
    pub fn skip(&mut self, slot: u16) {
        if let Some(place) = self.slots.get_mut(usize::from(slot)) {
            place.generation = UpstreamId { slot, generation: place.generation }.next().generation;
        }
    }

    /// Takes every leg out, in no order.
    pub fn release_all(&mut self) -> Vec<Leg> {
        self.live = 0;
        self.slow = 0;
        self.free.clear();
        let mut legs = Vec::new();
        for slot in self.slots.drain(..) {
            legs.extend(slot.leg);
        }
        legs
    }

    /// Whether all live questions belong to operations of one client, as `of` tells.
    pub fn serves_only(&self, of: impl FnMut(&Leg) -> bool) -> bool {
        self.legs().all(of)
    }

    /// The slots of live questions that `of` chooses.
    pub fn slots_of(&self, mut of: impl FnMut(&Leg) -> bool) -> Vec<u16> {
        let chosen = self.slots.iter().enumerate().filter(|(_, slot)| slot.leg.as_ref().is_some_and(&mut of));
        chosen.filter_map(|(slot, _)| u16::try_from(slot).ok()).collect()
    }
}

/// A leg that waits for a connection, with its encoded request operation.
#[derive(Debug)]
pub struct Waiting {
    pub leg: Leg,
    pub request: Vec<u8>,
    /// The next page of what one connection has begun.
    pub pinned: Option<Pinned>,
}

/// See [`Waiting::pinned`].
#[derive(Debug)]
pub struct Pinned {
    pub upstream: usize,
    /// The directory's cookie.
    pub cookie: Vec<u8>,
}

/// What the shard knows of one mount.
pub struct Mount {
    pub upstreams: Vec<usize>,
    pub waiting: VecDeque<Waiting>,
    pub turns: Turns<Waiting>,
    pub servers: Servers,
    /// The server that this turn's questions go to.
    pub favourite: Favourite,
    /// The last question.
    pub asked: u64,
    pub metrics: MemberMetrics,
    /// The mapping seen through each view that was needed: compiled once, kept until the next snapshot.
    pub projections: Vec<Compiled>,
    pub recent: Recent,
}

/// See [`Mount::favourite`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Favourite {
    /// The turn's time.
    pub at: u64,
    pub place: usize,
    /// Questions that it may get yet.
    pub left: u32,
}

/// See [`Mount::projections`].
pub struct Compiled {
    pub mapping: Arc<Mapping>,
    pub view: Arc<View>,
    pub projection: Arc<Projection>,
}

impl Mount {
    pub fn new(metrics: MemberMetrics) -> Self {
        Mount {
            upstreams: Vec::new(),
            waiting: VecDeque::new(),
            turns: Turns::default(),
            servers: Servers::default(),
            favourite: Favourite::default(),
            asked: 0,
            metrics,
            projections: Vec::new(),
            recent: Recent::default(),
        }
    }
}
