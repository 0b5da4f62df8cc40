//! How much each requester uses of what its agreements allow, in this shard.

use std::collections::HashMap;

use crate::release::permit::Permit;
use crate::release::rate::Bucket;

/// Requesters remembered before those at rest are forgotten.
const REMEMBERED: usize = 4_096;

#[derive(Debug)]
struct Entry {
    agreement: Box<str>,
    bucket: Bucket,
    in_flight: u32,
}

/// Rates and operations in flight by requester and agreement.
#[derive(Debug, Default)]
pub struct Usage {
    by_requester: HashMap<Box<str>, Vec<Entry>>,
}

impl Usage {
    /// Takes one operation out of what `permit` allows `requester`; false when it has had enough for now.
    pub fn take(&mut self, requester: &str, permit: &Permit, now: u64) -> bool {
        if self.by_requester.len() >= REMEMBERED && !self.by_requester.contains_key(requester) {
            self.by_requester.retain(|_, entries| entries.iter().any(|entry| entry.in_flight > 0));
        }
        if !self.by_requester.contains_key(requester) {
            self.by_requester.insert(requester.into(), Vec::new());
        }
        let Some(entries) = self.by_requester.get_mut(requester) else { return false };
        let at = entries.iter().position(|entry| *entry.agreement == *permit.agreement());
        let at = at.unwrap_or_else(|| {
            let bucket = Bucket::new(permit.rate(), now);
            entries.push(Entry { agreement: permit.agreement().into(), bucket, in_flight: 0 });
            entries.len() - 1
        });
        let Some(entry) = entries.get_mut(at) else { return false };
        if entry.bucket.rate() != permit.rate() {
            entry.bucket = Bucket::new(permit.rate(), now);
        }
        if entry.in_flight >= permit.in_flight() || !entry.bucket.take(now) {
            return false;
        }
        entry.in_flight += 1;
        true
    }

    /// An operation that was taken has ended.
    pub fn give_back(&mut self, requester: &str, agreement: &str) {
        if let Some(entries) = self.by_requester.get_mut(requester)
            && let Some(entry) = entries.iter_mut().find(|entry| *entry.agreement == *agreement)
        {
            entry.in_flight = entry.in_flight.saturating_sub(1);
        }
    }
}
