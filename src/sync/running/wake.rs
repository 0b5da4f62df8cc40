//! When what a directory tells of its changes is worth a run: once for what comes together, and seldom where there is never any quiet.

use std::time::{Duration, Instant};

/// How long it is waited for what belongs to a change: an account that is made is written several times.
const GATHER: Duration = Duration::from_secs(1);
/// A directory that never is quiet leads to a run after this many times the least distance, and not more often.
const RESTLESS: u32 = 12;

/// The wake-ups of one member.
#[derive(Debug)]
pub struct Wake {
    least: Duration,
    /// From the last wake-up to the next.
    distance: Duration,
    last: Option<Instant>,
    due: Option<Instant>,
    /// Whether what is due came before the last wake-up was far enough away.
    early: bool,
}

impl Wake {
    /// Wake-ups that are at least so far apart.
    pub fn new(least: Duration) -> Wake {
        Wake { least, distance: least, last: None, due: None, early: false }
    }

    /// Something changed.
    pub fn arrived(&mut self, now: Instant) {
        if self.due.is_some() {
            return;
        }
        let gathered = now + GATHER;
        let apart = self.last.map(|last| last + self.distance);
        self.early = apart.is_some_and(|apart| apart > now);
        self.due = Some(apart.map_or(gathered, |apart| apart.max(gathered)));
    }

    /// When a run is to be asked for; none: nothing changed since the last time.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A run was asked for: what comes from now on is for the next one.
    pub fn asked(&mut self, now: Instant) {
        let longer = (self.distance * 2).min(self.least * RESTLESS);
        self.distance = if self.early { longer } else { self.least };
        (self.last, self.due, self.early) = (Some(now), None, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_secs(5);

    /// Seconds after which a run is asked for, when something changes at each of these.
    fn asked(changes: impl IntoIterator<Item = u64>, until: u64) -> Vec<u64> {
        asked_by(LEAST, changes, until)
    }

    fn asked_by(least: Duration, changes: impl IntoIterator<Item = u64>, until: u64) -> Vec<u64> {
        let began = Instant::now();
        let changes: Vec<u64> = changes.into_iter().collect();
        let (mut wake, mut asked) = (Wake::new(least), Vec::new());
        for second in 0..until {
            let now = began + Duration::from_secs(second);
            if wake.due().is_some_and(|due| due <= now) {
                wake.asked(now);
                asked.push(second);
            }
            if changes.contains(&second) {
                wake.arrived(now);
            }
        }
        asked
    }

    #[test]
    fn what_comes_together_is_one_wake_up_and_what_comes_later_waits_its_time() {
        assert!(asked([], 100).is_empty());
        assert_eq!(asked([0], 100), [1]);
        assert_eq!(asked([0, 0, 0], 100), [1]);
        // what comes after a run was asked for is not lost
        assert_eq!(asked([0, 2], 100), [1, 6]);
        assert_eq!(asked([0, 50], 100), [1, 51]);
    }

    #[test]
    fn who_is_never_quiet_wakes_less_and_less_often_until_there_is_quiet() {
        assert_eq!(asked(0..400, 400), [1, 6, 16, 36, 76, 136, 196, 256, 316, 376]);
        assert_eq!(asked_by(Duration::from_secs(1), 0..40, 40), [1, 2, 4, 8, 16, 28]);
        assert_eq!(asked((0..100).chain([300, 302]), 400), [1, 6, 16, 36, 76, 136, 301, 306]);
    }
}
