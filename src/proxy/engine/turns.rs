//! Whose question goes next to one directory. Every requester has a share of what each of its servers is asked at once,
//! and the share of one whose questions take long there is small: whoever asks for much does not keep the directory from
//! those that ask for little. What is more than a share waits in a line of its own, and takes nobody else's place.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use slab::Slab;

use crate::proxy::engine::balance::Places;
use crate::proxy::engine::key::UpstreamId;

/// A question is slow that takes so many times as long as the quickest.
const TIMES_THE_QUICKEST: u64 = 4;
/// What was the quickest counts twice as much after this time: directories move.
const QUICKEST_DOUBLES_MICROSECONDS: u64 = 600_000_000;
/// Whoever asked nothing slow for so long is trusted as at the beginning.
const CALM_MICROSECONDS: u64 = 60_000_000;
/// A question that was given up holds its place for so long, when nothing shows that the server is done with it.
const GIVEN_UP_MICROSECONDS: u64 = 2_000_000;
/// The same at a directory that is known to go on with such questions; for so long their late answers are recognised.
const GOES_ON_MICROSECONDS: u64 = 15_000_000;
/// Whoever asked something slow counts as slow for so long.
const SLOW_FOR_MICROSECONDS: u64 = 5_000_000;

/// What a share may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Questions at once of one requester to one server.
    pub most: u32,
    /// The same while its questions are slow.
    pub slow: u32,
    /// Questions of one requester that may wait for their turn.
    pub waiting: usize,
    /// What takes longer is slow, unless the directory is never quicker.
    pub slow_microseconds: u64,
}

/// What is to be expected of a requester's next question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// It has asked quick ones lately, and no slow one.
    Quick,
    /// It has asked nothing lately.
    #[default]
    Unknown,
    /// It has asked slow ones lately, or does now.
    Slow,
}

/// The pace of a requester at each server of a directory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Paces {
    quick: Places,
    slow: Places,
}

impl Paces {
    /// Quick at every server.
    pub const QUICK: Paces = Paces { quick: Places::ALL, slow: Places::NONE };

    pub fn at(self, server: usize) -> Pace {
        match (self.slow.has(server), self.quick.has(server)) {
            (true, _) => Pace::Slow,
            (false, true) => Pace::Quick,
            (false, false) => Pace::Unknown,
        }
    }
}

/// The right to have one question at a server. It ends where it is dropped.
#[derive(Debug)]
pub struct Turn {
    place: usize,
    server: usize,
    _held: Arc<()>,
}

/// What is known of one requester at one server.
#[derive(Debug)]
struct Window {
    /// One more than there are turns.
    held: Arc<()>,
    /// Turns that there may be.
    size: u32,
    slow_at: Option<u64>,
    quick_at: Option<u64>,
    shrunk: u64,
    grows: u64,
}

impl Window {
    fn new(bounds: &Bounds) -> Window {
        Window {
            held: Arc::new(()),
            // Of whom nothing is known, that may ask slow questions.
            size: bounds.slow.min(bounds.most),
            slow_at: None,
            quick_at: None,
            shrunk: 0,
            grows: 0,
        }
    }

    fn turns(&self) -> u32 {
        u32::try_from(Arc::strong_count(&self.held)).unwrap_or(u32::MAX).saturating_sub(1)
    }

    fn has_room(&self) -> bool {
        self.turns() < self.size
    }

    fn was_slow(&self, now: u64, within: u64) -> bool {
        self.slow_at.is_some_and(|at| now.saturating_sub(at) < within)
    }

    fn pace(&self, now: u64) -> Pace {
        let lately = |at: Option<u64>| at.is_some_and(|at| now.saturating_sub(at) < CALM_MICROSECONDS);
        match (self.was_slow(now, SLOW_FOR_MICROSECONDS), lately(self.quick_at)) {
            (true, _) => Pace::Slow,
            (false, true) => Pace::Quick,
            (false, false) => Pace::Unknown,
        }
    }

    fn slow(&mut self, microseconds: u64, least: u32, now: u64) {
        // Questions that were on their way together are slow together: that counts once.
        if now.saturating_sub(microseconds) >= self.shrunk {
            self.size = (self.size / 2).max(least);
            self.shrunk = now;
        }
        self.slow_at = Some(now);
        self.grows = now.saturating_add(microseconds);
    }

    /// A question was quick; only whoever uses what it has gets more.
    fn quick(&mut self, pressed: bool, bounds: &Bounds, pause: u64, now: u64) {
        self.quick_at = Some(now);
        if (pressed || !self.has_room()) && now >= self.grows {
            self.size = (self.size + 1).min(bounds.most);
            if self.was_slow(now, CALM_MICROSECONDS) {
                self.grows = now.saturating_add(pause);
            }
        }
    }
}

/// One requester.
#[derive(Debug)]
struct Share<W> {
    requester: Box<str>,
    /// By the place of the server.
    windows: Vec<Window>,
    used: u64,
    line: VecDeque<W>,
}

impl<W> Share<W> {
    fn has_room(&self, server: usize) -> bool {
        self.windows.get(server).is_none_or(Window::has_room)
    }
}

/// The turn of a question that was given up: the server may work on it all the same.
#[derive(Debug)]
struct Kept {
    /// None once the place is free.
    turn: Option<Turn>,
    upstream: usize,
    id: UpstreamId,
    sent: u64,
    given_up: u64,
}

/// The shares of one directory.
#[derive(Debug)]
pub struct Turns<W> {
    shares: Slab<Share<W>>,
    by_requester: HashMap<Box<str>, usize>,
    /// Places of those with a line, the next one first.
    lined: VecDeque<usize>,
    kept: Vec<Kept>,
    /// An answer has come to a question that was given up.
    goes_on: bool,
    /// The quickest answer of each server, and when it was.
    quickest: Vec<Option<(u64, u64)>>,
}

impl<W> Default for Turns<W> {
    fn default() -> Self {
        Turns {
            shares: Slab::new(),
            by_requester: HashMap::new(),
            lined: VecDeque::new(),
            kept: Vec::new(),
            goes_on: false,
            quickest: Vec::new(),
        }
    }
}

impl<W> Turns<W> {
    /// The servers, of so many, that have as many questions of `requester` as they may.
    pub fn barred(&mut self, requester: &str, servers: usize, now: u64) -> Places {
        if !self.kept.is_empty() {
            self.let_go(now);
        }
        let mut barred = Places::NONE;
        if let Some(share) = self.share(requester) {
            (0..servers).filter(|server| !share.has_room(*server)).for_each(|server| barred.add(server));
        }
        barred
    }

    /// Whether questions of `requester` wait: nobody overtakes its own.
    pub fn waits(&self, requester: &str) -> bool {
        !self.lined.is_empty() && self.share(requester).is_some_and(|share| !share.line.is_empty())
    }

    /// A turn at a server; None when it has as many questions of `requester` as it may.
    pub fn take(&mut self, requester: &str, server: usize, bounds: &Bounds, now: u64) -> Option<Turn> {
        let place = self.place(requester);
        let share = self.shares.get_mut(place)?;
        share.used = now;
        while share.windows.len() <= server {
            share.windows.push(Window::new(bounds));
        }
        let window = share.windows.get(server).filter(|window| window.has_room())?;
        Some(Turn { place, server, _held: Arc::clone(&window.held) })
    }

    /// Has a question wait for its turn; gives it back when too many wait.
    pub fn line_up(&mut self, requester: &str, question: W, bounds: &Bounds) -> Result<(), W> {
        let place = self.place(requester);
        let Some(share) = self.shares.get_mut(place).filter(|share| share.line.len() < bounds.waiting) else {
            return Err(question);
        };
        if share.line.is_empty() {
            self.lined.push_back(place);
        }
        share.line.push_back(question);
        Ok(())
    }

    /// The next question whose turn has come at one of so many servers that are not `barred`, or at the one that `only`
    /// names: one of each requester, round and round.
    pub fn next(
        &mut self,
        (servers, barred): (usize, Places),
        now: u64,
        only: impl Fn(&W) -> Option<usize>,
    ) -> Option<W> {
        self.let_go(now);
        for _ in 0..self.lined.len() {
            let place = self.lined.pop_front()?;
            let Some(share) = self.shares.get_mut(place) else { continue };
            let may = match share.line.front().map(&only) {
                None => false,
                Some(Some(server)) => share.has_room(server),
                Some(None) => (0..servers).any(|server| !barred.has(server) && share.has_room(server)),
            };
            let question = if may { share.line.pop_front() } else { None };
            if !share.line.is_empty() {
                self.lined.push_back(place);
            }
            if question.is_some() {
                return question;
            }
        }
        None
    }

    /// A question was answered to the end after so long.
    pub fn answered(&mut self, turn: &Turn, microseconds: u64, bounds: &Bounds, now: u64) {
        if self.quickest(turn.server, now).is_none_or(|quickest| microseconds <= quickest) {
            if self.quickest.len() <= turn.server {
                self.quickest.resize(turn.server + 1, None);
            }
            if let Some(quickest) = self.quickest.get_mut(turn.server) {
                *quickest = Some((microseconds, now));
            }
        }
        let slow_after = self.slow_after(turn.server, bounds, now);
        let Some(share) = self.shares.get_mut(turn.place) else { return };
        let pressed = !share.line.is_empty();
        let Some(window) = share.windows.get_mut(turn.server) else { return };
        match microseconds > slow_after {
            true => window.slow(microseconds, bounds.slow, now),
            false => window.quick(pressed, bounds, slow_after, now),
        }
    }

    /// The question `id` on a connection was given up. Not every server stops to work on it then.
    pub fn keep(&mut self, turn: Turn, upstream: usize, id: UpstreamId, sent: u64, now: u64) {
        self.kept.push(Kept { turn: Some(turn), upstream, id, sent, given_up: now });
    }

    /// The answer to a question that was given up has come to its end all the same.
    pub fn came_late(&mut self, upstream: usize, id: UpstreamId, bounds: &Bounds, now: u64) {
        let of = |kept: &Kept| kept.upstream == upstream && kept.id == id;
        if let Some(at) = self.kept.iter().position(of) {
            let kept = self.kept.swap_remove(at);
            // What crossed with its abandonment on the way says nothing.
            self.goes_on |= now.saturating_sub(kept.given_up) > bounds.slow_microseconds;
            if let Some(turn) = &kept.turn {
                self.answered(turn, now.saturating_sub(kept.sent), bounds, now);
            }
        }
    }

    /// A question was answered that was sent at that time: on the same connection, what was sent earlier and given up is
    /// done with.
    pub fn overtook(&mut self, upstream: usize, sent: u64) {
        if !self.kept.is_empty() {
            self.kept.retain(|kept| kept.upstream != upstream || kept.sent >= sent);
        }
    }

    /// Whether the directory is known to work on questions that were given up.
    pub fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// A connection ended, and with it what was given up there.
    pub fn lost(&mut self, upstream: usize) {
        self.kept.retain(|kept| kept.upstream != upstream);
    }

    /// What is to be expected of the next question of `requester`.
    pub fn paces(&self, requester: &str, now: u64) -> Paces {
        let mut paces = Paces::default();
        for (server, window) in
            self.share(requester).iter().flat_map(|share| share.windows.iter().enumerate())
        {
            match window.pace(now) {
                Pace::Quick => paces.quick.add(server),
                Pace::Slow => paces.slow.add(server),
                Pace::Unknown => {}
            }
        }
        paces
    }

    /// A question has no answer after so long: it is slow already.
    pub fn is_late(&mut self, turn: &Turn, microseconds: u64, bounds: &Bounds, now: u64) {
        let slow = microseconds > self.slow_after(turn.server, bounds, now);
        let share = self.shares.get_mut(turn.place).filter(|_| slow);
        if let Some(window) = share.and_then(|share| share.windows.get_mut(turn.server)) {
            window.slow(microseconds, bounds.slow, now);
        }
    }

    /// What takes longer than this is slow at a server.
    pub fn slow_after(&self, server: usize, bounds: &Bounds, now: u64) -> u64 {
        let quickest = self.quickest(server, now).unwrap_or(0).saturating_mul(TIMES_THE_QUICKEST);
        bounds.slow_microseconds.max(quickest)
    }

    /// Whether any question waits for its turn.
    pub fn has_line(&self) -> bool {
        !self.lined.is_empty()
    }

    /// Questions that wait for their turn.
    pub fn in_line(&self) -> usize {
        self.lined.iter().filter_map(|place| self.shares.get(*place)).map(|share| share.line.len()).sum()
    }

    /// Takes the waiting questions out that `of` chooses.
    pub fn take_out(&mut self, mut of: impl FnMut(&W) -> bool) -> Vec<W> {
        let mut out = Vec::new();
        for place in &self.lined {
            let Some(share) = self.shares.get_mut(*place) else { continue };
            let (chosen, stay): (Vec<W>, Vec<W>) =
                std::mem::take(&mut share.line).into_iter().partition(&mut of);
            out.extend(chosen);
            share.line = stay.into();
        }
        let shares = &self.shares;
        self.lined.retain(|place| shares.get(*place).is_some_and(|share| !share.line.is_empty()));
        out
    }

    /// The servers are others now: what was learnt of them is forgotten, and turns that are out count no more.
    pub fn other_servers(&mut self) {
        self.quickest.clear();
        self.kept.clear();
        self.goes_on = false;
        self.shares.iter_mut().for_each(|(_, share)| share.windows.clear());
    }

    /// Forgets requesters that have asked nothing for a while.
    pub fn tidy(&mut self, now: u64) {
        self.let_go(now);
        let by_requester = &mut self.by_requester;
        self.shares.retain(|_, share| {
            let idle = share.line.is_empty() && share.windows.iter().all(|window| window.turns() == 0);
            let forget = idle && now.saturating_sub(share.used) >= CALM_MICROSECONDS;
            if forget {
                by_requester.remove(&share.requester);
            }
            !forget
        });
    }

    fn let_go(&mut self, now: u64) {
        self.kept.retain(|kept| now.saturating_sub(kept.given_up) < GOES_ON_MICROSECONDS);
        if !self.goes_on {
            let over = |kept: &&mut Kept| now.saturating_sub(kept.given_up) >= GIVEN_UP_MICROSECONDS;
            self.kept.iter_mut().filter(over).for_each(|kept| kept.turn = None);
        }
    }

    fn quickest(&self, server: usize, now: u64) -> Option<u64> {
        let (microseconds, at) = (*self.quickest.get(server)?)?;
        let doublings = now.saturating_sub(at) / QUICKEST_DOUBLES_MICROSECONDS;
        Some(microseconds.saturating_mul(1 << doublings.min(20)))
    }

    fn share(&self, requester: &str) -> Option<&Share<W>> {
        self.shares.get(*self.by_requester.get(requester)?)
    }

    fn place(&mut self, requester: &str) -> usize {
        if let Some(place) = self.by_requester.get(requester) {
            return *place;
        }
        let share =
            Share { requester: requester.into(), windows: Vec::new(), used: 0, line: VecDeque::new() };
        let place = self.shares.insert(share);
        self.by_requester.insert(requester.into(), place);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { most: 64, slow: 4, waiting: 100, slow_microseconds: 50_000 };
    const ONE: (usize, Places) = (1, Places::NONE);
    const TWO: (usize, Places) = (2, Places::NONE);
    const LIST: u64 = 200_000;
    const LOOKUP: u64 = 500;

    fn all(turns: &mut Turns<u32>, requester: &str, now: u64) -> Vec<Turn> {
        std::iter::from_fn(|| turns.take(requester, 0, &BOUNDS, now)).collect()
    }

    /// Answers that many questions of `requester` in a row, each after `microseconds`.
    fn answer(turns: &mut Turns<u32>, requester: &str, many: usize, microseconds: u64, now: &mut u64) {
        for _ in 0..many {
            let held = all(turns, requester, *now);
            *now += microseconds;
            for turn in &held {
                turns.answered(turn, microseconds, &BOUNDS, *now);
            }
        }
    }

    #[test]
    fn the_share_of_who_asks_slow_questions_shrinks_and_comes_back() {
        let (mut turns, mut now) = (Turns::default(), 0);
        answer(&mut turns, "quick", 60, LOOKUP, &mut now);
        assert_eq!(all(&mut turns, "quick", now).len(), 64);
        answer(&mut turns, "slow", 5, LIST, &mut now);
        let held = all(&mut turns, "slow", now);
        assert_eq!(held.len(), 4);
        let pace = |requester: &str| turns.paces(requester, now).at(0);
        assert_eq!((pace("slow"), pace("quick"), pace("nobody")), (Pace::Slow, Pace::Quick, Pace::Unknown));
        assert!(turns.barred("slow", 2, now).has(0) && !turns.barred("slow", 2, now).has(1));
        assert_eq!(all(&mut turns, "quick", now).len(), 64, "others are not held against it");
        drop(held);
        answer(&mut turns, "slow", 100, LOOKUP, &mut now);
        assert!(all(&mut turns, "slow", now).len() < 8, "it is believed again step by step");
        answer(&mut turns, "slow", 10_000, LOOKUP, &mut now);
        assert_eq!(all(&mut turns, "slow", now).len(), 64);
    }

    #[test]
    fn quick_questions_do_not_buy_room_for_slow_ones() {
        let (mut turns, mut now) = (Turns::default(), 0);
        for _ in 0..50 {
            answer(&mut turns, "both", 1, LIST, &mut now);
            answer(&mut turns, "both", 100, LOOKUP, &mut now);
        }
        assert!(all(&mut turns, "both", now).len() <= 5);
    }

    #[test]
    fn far_away_is_not_slow() {
        let (mut turns, mut now) = (Turns::default(), 0);
        answer(&mut turns, "far", 100, 60_000, &mut now);
        assert_eq!(all(&mut turns, "far", now).len(), 64);
    }

    #[test]
    fn lines_go_round_and_round_and_are_bounded() {
        let (mut turns, mut now) = (Turns::default(), 0);
        answer(&mut turns, "c", 1, LOOKUP, &mut now);
        answer(&mut turns, "a", 5, LIST, &mut now);
        answer(&mut turns, "b", 5, LIST, &mut now);
        let (a, b) = (all(&mut turns, "a", now), all(&mut turns, "b", now));
        for question in 0..100 {
            assert_eq!(turns.line_up("a", question, &BOUNDS), Ok(()));
        }
        assert_eq!(turns.line_up("a", 100, &BOUNDS), Err(100));
        assert_eq!(turns.line_up("b", 200, &BOUNDS), Ok(()), "a full line is nobody else's");
        assert!(turns.next(ONE, now, |_| None).is_none());
        assert_eq!(turns.next(TWO, now, |_| None), Some(0), "the other server has room");
        turns.line_up("a", 100, &BOUNDS).unwrap();
        drop((a, b));
        assert!(turns.waits("a") && !turns.waits("c"));
        let mut held = Vec::new();
        let mut next = Vec::new();
        while let Some(question) = turns.next(ONE, now, |_| Some(0)) {
            next.push(question);
            held.push(turns.take(if question == 200 { "b" } else { "a" }, 0, &BOUNDS, now).unwrap());
        }
        assert_eq!(next, [200, 1, 2, 3, 4]);
        assert_eq!(turns.take_out(|question| *question < 50).len(), 45);
        drop(held);
        assert_eq!(turns.next(ONE, now, |_| None), Some(50));
        turns.take_out(|_| true);
        assert!(!turns.has_line());
    }

    #[test]
    fn what_is_given_up_keeps_its_place_until_the_server_is_done_with_it() {
        let id = |slot| UpstreamId { slot, generation: 1 };
        let begin = || {
            let (mut turns, mut now) = (Turns::<u32>::default(), 0);
            answer(&mut turns, "a", 13, LOOKUP, &mut now);
            for (slot, turn) in all(&mut turns, "a", now).into_iter().enumerate() {
                turns.keep(turn, 7, id(slot as u16), now + slot as u64, now);
            }
            assert!(turns.barred("a", 1, now + LIST).has(0));
            (turns, now)
        };
        let (mut turns, now) = begin();
        turns.overtook(8, now + 10);
        assert!(turns.barred("a", 1, now).has(0));
        turns.overtook(7, now + 10);
        assert_eq!(all(&mut turns, "a", now).len(), 10);
        let (mut turns, now) = begin();
        turns.lost(7);
        assert_eq!(turns.barred("a", 1, now), Places::NONE);
        let (mut turns, now) = begin();
        assert_eq!(turns.barred("a", 1, now + GIVEN_UP_MICROSECONDS), Places::NONE);
        let (mut turns, now) = begin();
        for slot in 0..17 {
            turns.came_late(7, id(slot), &BOUNDS, now + u64::from(slot + 1) * LIST);
        }
        assert_eq!(
            all(&mut turns, "a", now + 20 * LIST).len(),
            17 / 2,
            "what comes late is slow all the same"
        );
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let (mut turns, mut now) = (Turns::<u32>::default(), 0);
        answer(&mut turns, "a", 1, LOOKUP, &mut now);
        let held = turns.take("b", 0, &BOUNDS, now).unwrap();
        turns.tidy(now + CALM_MICROSECONDS + 1);
        assert_eq!(turns.shares.len(), 1, "a turn is out");
        turns.answered(&held, LOOKUP, &BOUNDS, now);
        drop(held);
        turns.tidy(now + CALM_MICROSECONDS + 1);
        assert!(turns.shares.is_empty() && turns.by_requester.is_empty());
    }
}
