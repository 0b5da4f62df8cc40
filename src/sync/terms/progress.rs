//! How far a run under way is, for whoever waits: kept now and then while it reads and writes, so that every process can show that it
//! moves. A run that is over within a moment keeps nothing.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

/// Key in the member's sync state, JSON; there while a run is under way that takes its time.
pub const PROGRESS: &str = "progress";

/// Between two keepings.
const KEEP_EVERY: Duration = Duration::seconds(2);
/// Between two lines in the log.
const LOG_EVERY: Duration = Duration::seconds(30);

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// When the run began, and when it was so far.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What the directory brought so far.
    pub objects: u64,
    pub pages: u64,
    /// Steps that are through, and the steps of the plans that are written.
    pub written: u64,
    pub steps: u64,
}

/// Counts; every copy counts the same.
#[derive(Debug, Clone)]
pub struct Meter(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    progress: Progress,
    kept: OffsetDateTime,
    logged: OffsetDateTime,
    /// Whether the store holds it.
    is_kept: bool,
}

impl Meter {
    /// Of a run that begins now. `left`: the store holds what a run before has left, which was killed.
    pub fn new(now: OffsetDateTime, left: bool) -> Meter {
        let progress = Progress { since: now, at: now, objects: 0, pages: 0, written: 0, steps: 0 };
        Meter(Arc::new(Mutex::new(State { progress, kept: now, logged: now, is_kept: left })))
    }

    /// Whether the store holds something that must go with the end of the run.
    pub fn is_kept(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_kept
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).progress.clone()
    }

    /// So many more pages came to their end.
    pub fn pages(&self, more: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).progress.pages += more;
    }

    /// One more plan with so many steps is written; what to keep before the first of them, so that a run that is killed leaves a trace.
    pub fn plan(&self, steps: usize, now: OffsetDateTime) -> (String, Option<Vec<u8>>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.progress.steps += steps as u64;
        state.progress.at = now;
        (state.kept, state.is_kept) = (now, true);
        (PROGRESS.to_owned(), serde_json::to_vec(&state.progress).ok())
    }

    /// So many more objects came; the value to keep when it is time.
    pub fn objects(&self, member: &str, more: u64, now: OffsetDateTime) -> Option<(String, Option<Vec<u8>>)> {
        self.count(member, now, |progress| progress.objects += more)
    }

    /// So many more steps are through; the value to keep when it is time.
    pub fn written(
        &self,
        member: &str,
        more: usize,
        now: OffsetDateTime,
    ) -> Option<(String, Option<Vec<u8>>)> {
        self.count(member, now, |progress| progress.written += more as u64)
    }

    fn count(
        &self,
        member: &str,
        now: OffsetDateTime,
        count: impl FnOnce(&mut Progress),
    ) -> Option<(String, Option<Vec<u8>>)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        count(&mut state.progress);
        state.progress.at = now;
        if now - state.logged >= LOG_EVERY {
            state.logged = now;
            let Progress { objects, pages, written, steps, .. } = state.progress;
            tracing::info!(member, objects, pages, written, steps, "a sync run is under way");
        }
        if now - state.kept < KEEP_EVERY {
            return None;
        }
        (state.kept, state.is_kept) = (now, true);
        Some((PROGRESS.to_owned(), serde_json::to_vec(&state.progress).ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_a_moment_keeps_nothing_and_what_takes_its_time_is_kept_now_and_then() {
        let began = OffsetDateTime::UNIX_EPOCH;
        let at = |seconds: i64| began + Duration::seconds(seconds);
        let meter = Meter::new(began, false);
        assert_eq!(meter.objects("RXA", 500, at(1)), None);
        assert!(!meter.is_kept());
        meter.pages(1);
        let (key, value) = meter.clone().objects("RXA", 500, at(2)).unwrap();
        let progress: Progress = serde_json::from_slice(&value.unwrap()).unwrap();
        assert_eq!(
            (key.as_str(), progress.objects, progress.pages, progress.at),
            (PROGRESS, 1_000, 1, at(2))
        );
        assert!(meter.is_kept());
        assert!(meter.plan(700, at(2)).1.is_some());
        assert_eq!(meter.written("RXA", 250, at(3)), None);
        let (_, value) = meter.written("RXA", 250, at(5)).unwrap();
        let progress: Progress = serde_json::from_slice(&value.unwrap()).unwrap();
        assert_eq!((progress.written, progress.steps), (500, 700));
        assert!(Meter::new(began, true).is_kept(), "what a killed run left goes as well");
    }
}
