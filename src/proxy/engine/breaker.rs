//! Whether one server may be dialled: closed while it works, open for a while after a fault, half-open for one trial.

/// How far a server is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Closed,
    /// Left alone until then.
    Open { until: u64 },
    /// One trial runs. A trial of which nothing is heard is over then, and another may begin.
    HalfOpen { until: u64 },
}

/// The breaker of one server in one shard. Times are microseconds of the shard.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    state: State,
    /// Faults since the last answer.
    failures: u32,
    /// The last trial failed.
    in_vain: bool,
}

impl Breaker {
    /// Whether the server is asked without a second thought.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether a connection may be made now. Only one trial at a time: see [`Breaker::begin`].
    pub fn may_dial(&self, now: u64) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { until } | State::HalfOpen { until } => now >= until,
        }
    }

    /// Whether the time to leave the server alone is over and nobody tries it yet.
    pub fn is_due(&self, now: u64) -> bool {
        !self.is_closed() && self.may_dial(now)
    }

    /// A connection is being made, or a probe was sent: after a fault this is the one trial, until `over` at most.
    pub fn begin(&mut self, over: u64) {
        if !self.is_closed() {
            self.state = State::HalfOpen { until: over };
        }
    }

    /// The server takes questions again. Its faults are remembered until it has answered one, so that a server which
    /// takes connections and drops them is left alone for longer and longer.
    pub fn close(&mut self) {
        self.state = State::Closed;
        self.in_vain = false;
    }

    /// The server answered: what was is forgotten.
    pub fn prove(&mut self) {
        self.failures = 0;
    }

    /// A fault: the server is left alone for `pause` from `now` on.
    pub fn open(&mut self, now: u64, pause: u64) {
        self.failures = self.failures.saturating_add(1);
        self.in_vain |= matches!(self.state, State::HalfOpen { .. });
        self.state = State::Open { until: now.saturating_add(pause) };
    }

    /// The world changed: whoever was left alone may be tried at once.
    pub fn hurry(&mut self) {
        if let State::Open { until } = &mut self.state {
            *until = 0;
        }
    }

    /// Whether the last trial failed, so that another one is not to be waited for with much hope.
    pub fn was_tried_in_vain(&self) -> bool {
        self.in_vain
    }

    /// Faults in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// The upper bound of the pause after `failures` faults in a row: it doubles from `first` up to `most`.
pub fn longest_pause(failures: u32, first: u64, most: u64) -> u64 {
    first.saturating_mul(1 << failures.min(16)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_trial_at_a_time() {
        let mut breaker = Breaker::default();
        assert!(breaker.is_closed() && breaker.may_dial(0) && !breaker.is_due(0));
        breaker.open(100, 50);
        assert!(!breaker.may_dial(149) && breaker.is_due(150));
        breaker.begin(1_000);
        assert!(!breaker.may_dial(151) && !breaker.is_closed(), "the trial runs");
        assert!(breaker.is_due(1_000), "a trial that was forgotten does not keep a server out for ever");
        assert!(!breaker.was_tried_in_vain());
        breaker.open(1_000, 50);
        assert!(breaker.was_tried_in_vain());
        breaker.close();
        assert!(breaker.is_closed() && breaker.failures() == 2 && !breaker.was_tried_in_vain());
        breaker.prove();
        assert_eq!(breaker.failures(), 0);
    }

    #[test]
    fn a_server_that_works_needs_no_trial() {
        let mut breaker = Breaker::default();
        breaker.begin(1_000);
        assert!(breaker.is_closed() && breaker.may_dial(1));
    }

    #[test]
    fn pauses_double_and_end() {
        let pauses: Vec<u64> = (0..5).map(|failures| longest_pause(failures, 200, 1_000)).collect();
        assert_eq!(pauses, [200, 400, 800, 1_000, 1_000]);
        assert_eq!(longest_pause(u32::MAX, u64::MAX, 7), 7);
    }
}
