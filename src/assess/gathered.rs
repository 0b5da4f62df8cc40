//! What one probe brings home.

use std::time::Instant;

use time::OffsetDateTime;

use crate::ambient::clock::Clock;
use crate::assess::probes::unseen::Unseen;
use crate::baseline::facts::{Fact, Facts, Provenance};

/// Facts of one probe, with where they came from.
#[derive(Debug, Clone, Default)]
pub struct Gathered {
    pub facts: Facts,
    pub provenance: Vec<Provenance>,
    /// What our account may not look at, so that what was read of the domain is not everything.
    pub unseen: Vec<Unseen>,
}

impl Gathered {
    /// Sets a fact by its full name.
    pub fn set(&mut self, name: &str, fact: Fact) {
        self.facts.set(name, fact);
    }

    /// Sets the same fact under several full names.
    pub fn set_all(&mut self, names: &[&str], fact: &Fact) {
        for name in names {
            self.set(name, fact.clone());
        }
    }

    /// Takes over what another probe found. Records of the same name grow together, the newcomer's facts winning.
    pub fn absorb(&mut self, other: Gathered) {
        for (name, record) in other.facts.records {
            self.facts.records.entry(name).or_default().extend(record);
        }
        self.facts.collections.extend(other.facts.collections);
        self.provenance.extend(other.provenance);
        self.unseen.extend(other.unseen);
    }
}

/// Measures one question for its [`Provenance`].
#[derive(Debug, Clone)]
pub struct Stopwatch {
    at: OffsetDateTime,
    began: Instant,
}

impl Stopwatch {
    pub fn start(clock: &Clock) -> Self {
        Stopwatch { at: clock.now(), began: Instant::now() }
    }

    /// The provenance of a probe's facts.
    pub fn provenance(&self, facts: &str, by: &str, controller: &str) -> Provenance {
        Provenance {
            facts: facts.to_owned(),
            by: by.to_owned(),
            controller: controller.to_owned(),
            at: self.at,
            took_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            pages: 0,
            entries: 0,
            result: None,
            truncated: false,
        }
    }
}
