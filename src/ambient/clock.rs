//! Wall time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use time::OffsetDateTime;

/// Tells the time in UTC. Two kinds exist: the system's, and a hand that only moves when told (for tests and for
/// evaluating old evidence).
#[derive(Clone)]
pub struct Clock(Kind);

#[derive(Clone)]
enum Kind {
    System,
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Clock(Kind::System)
    }

    /// A clock that stands at `at` until [`Clock::set`] moves it.
    pub fn fixed(at: OffsetDateTime) -> Self {
        Clock(Kind::Fixed(Arc::new(AtomicI64::new(nanoseconds(at)))))
    }

    /// The time now, in UTC.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system for the time")]
    pub fn now(&self) -> OffsetDateTime {
        match &self.0 {
            Kind::System => OffsetDateTime::now_utc(),
            Kind::Fixed(at) => {
                OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.load(Ordering::SeqCst)))
                    .unwrap_or(OffsetDateTime::UNIX_EPOCH)
            }
        }
    }

    /// Moves a fixed clock; the system's clock ignores it.
    pub fn set(&self, to: OffsetDateTime) {
        if let Kind::Fixed(at) = &self.0 {
            at.store(nanoseconds(to), Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::System => "Clock::System",
            Kind::Fixed(_) => "Clock::Fixed",
        })
    }
}

/// Nanoseconds since 1970, clamped to what 64 bits hold (the years 1677 to 2262).
fn nanoseconds(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos()).unwrap_or(i64::MAX)
}
