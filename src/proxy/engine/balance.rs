//! Which of several servers gets a question: the lighter of two that chance names, among the healthy ones of the
//! nearest site; servers further away only when no near one is healthy.

/// A mount's servers are cut off here: more would cost more to choose among than they bring.
pub const SERVERS: usize = 32;
/// What was learnt of a server's speed counts half after this time.
const HALF_LIFE_MICROSECONDS: u64 = 10_000_000;

/// How fast answers come: an average in which each new answer counts one eighth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// Microseconds; 0 means nothing is known.
    average: u64,
    at: u64,
}

impl Latency {
    /// An answer came after so many microseconds.
    pub fn answered(&mut self, microseconds: u64, now: u64) {
        let taken = microseconds.max(1);
        self.average = if self.average == 0 { taken } else { (self.average * 7 + taken).div_ceil(8) };
        self.at = now;
    }

    /// A question was given up after so long: an answer would have taken longer.
    pub fn given_up(&mut self, microseconds: u64, now: u64) {
        if microseconds > self.average {
            self.answered(microseconds, now);
        }
    }

    /// What is believed now. A server that nobody asks seems faster with time, so that it is tried again one day.
    pub fn now(self, now: u64) -> u64 {
        let halvings = now.saturating_sub(self.at) / HALF_LIFE_MICROSECONDS;
        let halvings = u32::try_from(halvings).unwrap_or(u32::MAX).min(63);
        if self.average == 0 { 0 } else { (self.average >> halvings).max(1) }
    }
}

/// Some of a mount's servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Places(u32);

impl Places {
    pub const NONE: Places = Places(0);
    pub const ALL: Places = Places(u32::MAX);

    pub fn add(&mut self, place: usize) {
        if place < SERVERS {
            self.0 |= 1 << place;
        }
    }

    pub fn has(self, place: usize) -> bool {
        place < SERVERS && self.0 & 1 << place != 0
    }

    /// Whether none of so many servers is left.
    pub fn is_all(self, servers: usize) -> bool {
        (0..servers).all(|place| self.has(place))
    }
}

/// One server as it is chosen by.
#[derive(Debug, Clone, Copy, Default)]
pub struct Load {
    /// Sites nearer than others have lower ranks.
    pub rank: u16,
    /// Of two equal servers the one with twice the weight is to get twice the questions.
    pub weight: u16,
    pub healthy: bool,
    /// Questions without a final answer.
    pub in_flight: u32,
    /// Microseconds of an answer; 0 means nothing is known.
    pub latency: u64,
}

impl Load {
    /// Whether a question would wait less here, as far as is known. Of two servers of which one is unknown, only what
    /// is in flight tells.
    fn is_lighter_than(&self, other: &Load) -> bool {
        let known = self.latency > 0 && other.latency > 0;
        let cost = |load: &Load| (u64::from(load.in_flight) + 1) * if known { load.latency } else { 1 };
        let weight = |load: &Load| u64::from(load.weight.max(1));
        let (own, others) = (cost(self), cost(other));
        own.saturating_mul(weight(other)) < others.saturating_mul(weight(self))
    }
}

/// The place of the server that gets the next question: none that is `barred`, None when no other is healthy. `chance` gives
/// a number below its argument.
pub fn pick(loads: &[Load], barred: Places, mut chance: impl FnMut(u64) -> u64) -> Option<usize> {
    let may = |place: usize, load: &Load| load.healthy && !barred.has(place);
    let nearest = loads.iter().enumerate().filter(|(place, l)| may(*place, l)).map(|(_, l)| l.rank).min()?;
    let near = || loads.iter().enumerate().filter(|(place, l)| may(*place, l) && l.rank == nearest);
    let count = near().count();
    if count == 1 {
        return near().next().map(|(place, _)| place);
    }
    let first = chance(count as u64) as usize;
    let second = (first + 1 + chance(count as u64 - 1) as usize) % count;
    let ((a, first), (b, second)) = (near().nth(first)?, near().nth(second)?);
    Some(if second.is_lighter_than(first) { b } else { a })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(rank: u16, healthy: bool, in_flight: u32, latency: u64) -> Load {
        Load { rank, weight: 1, healthy, in_flight, latency }
    }

    fn chance() -> impl FnMut(u64) -> u64 {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        move |bound| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        }
    }

    fn shares(loads: &[Load], avoid: Option<usize>) -> Vec<usize> {
        let mut barred = Places::NONE;
        avoid.into_iter().for_each(|place| barred.add(place));
        let mut chance = chance();
        let mut counts = vec![0; loads.len()];
        for _ in 0..10_000 {
            if let Some(place) = pick(loads, barred, &mut chance) {
                counts[place] += 1;
            }
        }
        counts
    }

    #[test]
    fn equal_servers_share() {
        let counts = shares(&[load(0, true, 3, 500); 4], None);
        assert!(counts.iter().all(|count| (2_000..3_000).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_slow_and_the_loaded_get_less() {
        let counts = shares(&[load(0, true, 0, 500), load(0, true, 0, 50_000), load(0, true, 0, 500)], None);
        assert_eq!(counts[1], 0, "of two the slower one never wins: {counts:?}");
        assert_eq!(shares(&[load(0, true, 10, 500), load(0, true, 0, 500)], None), [0, 10_000]);
        assert_eq!(
            shares(&[load(0, true, 10, 0), load(0, true, 0, 9_000)], None),
            [0, 10_000],
            "unknown speed"
        );
    }

    #[test]
    fn near_before_far_and_sick_never() {
        let mut loads = [load(0, true, 900, 90_000), load(1, true, 0, 1), load(0, false, 0, 1)];
        assert_eq!(shares(&loads, None), [10_000, 0, 0]);
        assert_eq!(shares(&loads, Some(0)), [0, 10_000, 0], "the one that failed is not asked again");
        loads[0].healthy = false;
        assert_eq!(shares(&loads, None), [0, 10_000, 0]);
        loads[1].healthy = false;
        assert_eq!(pick(&loads, Places::NONE, chance()), None);
        assert_eq!(pick(&[], Places::NONE, chance()), None);
    }

    #[test]
    fn weight_carries_load() {
        let heavy = Load { weight: 300, ..load(0, true, 2, 500) };
        let light = Load { weight: 100, ..load(0, true, 1, 500) };
        assert_eq!(
            shares(&[heavy, light], None),
            [10_000, 0],
            "3 questions on weight 3 are less than 2 on 1"
        );
    }

    #[test]
    fn what_was_learnt_fades() {
        let mut latency = Latency::default();
        assert_eq!(latency.now(5), 0);
        for at in 0..100 {
            latency.answered(8_000, at);
        }
        assert_eq!(latency.now(100), 8_000);
        latency.answered(16_000, 100);
        assert_eq!(latency.now(100), 9_000);
        latency.given_up(10, 100);
        assert_eq!(latency.now(100), 9_000);
        latency.given_up(1_000_000, 100);
        assert!(latency.now(100) > 100_000);
        assert_eq!(latency.now(100 + 3 * HALF_LIFE_MICROSECONDS), latency.now(100) / 8);
        assert_eq!(latency.now(u64::MAX), 1);
    }
}
