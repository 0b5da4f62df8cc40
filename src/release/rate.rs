//! A token bucket as a pure value of time.

/// Thousandths of a token, so that slow rates fill evenly.
const TOKEN: u64 = 1_000_000;

/// Holds back whoever asks faster than `rate` operations per second on average; a burst of one second's worth is free.
/// Time is microseconds since any fixed moment and never runs backwards here: an earlier time counts as no time passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    rate: u32,
    level: u64,
    at: u64,
}

impl Bucket {
    /// A full bucket. A `rate` of 0 never lets anything through.
    pub fn new(rate: u32, now_us: u64) -> Bucket {
        Bucket { rate, level: u64::from(rate) * TOKEN, at: now_us }
    }

    /// Operations per second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Takes one token when there is one.
    pub fn take(&mut self, now_us: u64) -> bool {
        let passed = now_us.saturating_sub(self.at);
        self.at = self.at.max(now_us);
        let full = u64::from(self.rate) * TOKEN;
        // Microseconds times operations per second are millionths of an operation.
        self.level = self.level.saturating_add(passed.saturating_mul(u64::from(self.rate))).min(full);
        match self.level.checked_sub(TOKEN) {
            Some(rest) => {
                self.level = rest;
                true
            }
            None => false,
        }
    }

    /// Microseconds until the next token, 0 when there is one; `None` when there will never be one.
    pub fn wait(&self, now_us: u64) -> Option<u64> {
        let passed = now_us.saturating_sub(self.at);
        let level = self.level.saturating_add(passed.saturating_mul(u64::from(self.rate)));
        (self.rate > 0).then(|| TOKEN.saturating_sub(level).div_ceil(u64::from(self.rate)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_one_second_then_the_rate() {
        let mut bucket = Bucket::new(20, 1_000);
        assert_eq!((0..30).filter(|_| bucket.take(1_000)).count(), 20);
        assert_eq!(bucket.wait(1_000), Some(50_000));
        assert!(!bucket.take(50_999));
        assert!(bucket.take(51_000));
        assert!(!bucket.take(51_000));
    }

    #[test]
    fn over_a_long_time_no_more_than_the_rate() {
        let mut bucket = Bucket::new(7, 0);
        let taken = (0..10_000_000u64).step_by(1_000).filter(|now| bucket.take(*now)).count();
        assert!((70..=77).contains(&taken), "{taken}");
    }

    #[test]
    fn time_running_backwards_gives_nothing() {
        let mut bucket = Bucket::new(1, 5_000_000);
        assert!(bucket.take(5_000_000));
        assert!(!bucket.take(1));
        assert!(!bucket.take(5_000_001));
        assert!(bucket.take(6_000_000));
    }

    #[test]
    fn a_rate_of_zero_is_never() {
        let mut bucket = Bucket::new(0, 0);
        assert!(!bucket.take(u64::MAX));
        assert_eq!(bucket.wait(u64::MAX), None);
    }
}
