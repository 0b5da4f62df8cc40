//! What operators are shown and told of exceptions: how many hold, which end soon. Members and controls are named, never people.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use time::{Date, OffsetDateTime};

use crate::app::metrics::OfExceptions;
use crate::assess::exceptions::{self, Listed, Standing};
use crate::baseline::attestation::SOON;
use crate::policy::set::PolicySet;
use crate::store::error::StoreError;
use crate::store::port::Store;
use crate::store::record::ExceptionRecord;

/// The exceptions asked for by command, as last read, and what the metrics show.
#[derive(Debug, Default)]
pub struct Exceptions {
    records: Mutex<Vec<ExceptionRecord>>,
    shown: Mutex<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    members: BTreeSet<String>,
    ends: BTreeSet<(String, String)>,
}

impl Exceptions {
    /// Reads them anew; what is over is not kept.
    pub fn load(&self, store: &dyn Store, now: OffsetDateTime) -> Result<(), StoreError> {
        let mut records = store.exceptions(None)?;
        records.retain(|record| !exceptions::of_record(record, None, now).standing.is_over());
        *self.records.lock().unwrap_or_else(PoisonError::into_inner) = records;
        Ok(())
    }

    /// Every one as it stands now, those of the policy files included.
    pub fn all(&self, set: Option<&PolicySet>, now: OffsetDateTime) -> Vec<Listed> {
        exceptions::all(set, &self.records.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    /// Brings the metrics up to date.
    pub fn show(&self, metrics: &OfExceptions, set: Option<&PolicySet>, now: OffsetDateTime) {
        let mut counts: BTreeMap<String, [i64; 3]> = BTreeMap::new();
        let mut ends: BTreeMap<(String, String), f64> = BTreeMap::new();
        let all = self.all(set, now);
        for one in &all {
            let [in_force, ending, requested] = counts.entry(one.member.to_string()).or_default();
            *in_force += i64::from(one.standing.holds());
            *ending += i64::from(ends_soon(one, &all, now));
            *requested += i64::from(one.standing == Standing::Requested);
            if one.standing.holds() {
                let left = (exceptions::lasts(one, &all) - now).as_seconds_f64();
                let next = ends.entry((one.member.to_string(), one.control.clone())).or_insert(left);
                *next = next.min(left);
            }
        }
        // one scrape at a time, so that none sees half of it
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in std::mem::take(&mut shown.members) {
            counts.entry(gone).or_default();
        }
        for (member, [in_force, ending, requested]) in &counts {
            metrics.in_force.with_label_values(&[member]).set(*in_force);
            metrics.ending.with_label_values(&[member]).set(*ending);
            metrics.requested.with_label_values(&[member]).set(*requested);
        }
        for (member, control) in shown.ends.iter().filter(|end| !ends.contains_key(end)) {
            // it was there, or somebody else took it away
            let _ = metrics.ends.remove_label_values(&[member, control]);
        }
        for ((member, control), left) in &ends {
            metrics.ends.with_label_values(&[member, control]).set(*left);
        }
        *shown = Shown { members: counts.into_keys().collect(), ends: ends.into_keys().collect() };
    }
}

/// Whether what it sets aside decides again within 30 days: nothing that was approved follows it.
fn ends_soon(one: &Listed, all: &[Listed], now: OffsetDateTime) -> bool {
    one.standing == Standing::EndsSoon && exceptions::lasts(one, all) - now <= SOON
}

/// What was told in the log.
#[derive(Debug, Default)]
pub struct Reminders {
    /// The day of the last warning, by exception.
    warned: BTreeMap<String, Date>,
    /// Those that held at the last look.
    held: BTreeSet<String>,
}

impl Reminders {
    /// Warns once a day of each that ends within 30 days, and when one ended.
    pub fn look(&mut self, all: &[Listed], now: OffsetDateTime) {
        for one in all {
            if ends_soon(one, all, now) && self.warned.get(&one.id) != Some(&now.date()) {
                self.warned.insert(one.id.clone(), now.date());
                tracing::warn!(
                    member = %one.member, control = one.control, exception = one.id, last_day = one.last_day,
                    "an exception {}: what it sets aside closes the gate then, unless it is mended",
                    exceptions::ends_in(one.until - now)
                );
            }
            if one.standing == Standing::Ended && self.held.contains(&one.id) {
                tracing::warn!(
                    member = %one.member, control = one.control, exception = one.id,
                    "an exception ended: the control decides again"
                );
            }
        }
        self.held = all.iter().filter(|one| one.standing.holds()).map(|one| one.id.clone()).collect();
        self.warned.retain(|id, _| self.held.contains(id));
    }
}

#[cfg(test)]
mod tests;
