//! How much each requester uses of what its agreements allow, in this shard.

use std::collections::HashMap;

use crate::policy::terms::Target;
use crate::release::permit::Permit;
use crate::release::rate::Bucket;

/// Requesters remembered before those at rest are forgotten.
const REMEMBERED: usize = 4_096;

/// Directories whose count is kept before those without anything in flight are forgotten.
const COUNTED: usize = 64;

#[derive(Debug)]
struct Entry {
    agreement: Box<str>,
    bucket: Bucket,
    /// By directory: a slow one must not take what others could answer.
    in_flight: Vec<(Target, u32)>,
}

impl Entry {
    fn in_flight(&mut self, target: &Target) -> Option<&mut u32> {
        if !self.in_flight.iter().any(|(known, _)| known == target) {
            if self.in_flight.len() >= COUNTED {
                self.in_flight.retain(|(_, count)| *count > 0);
            }
            self.in_flight.push((target.clone(), 0));
        }
        self.in_flight.iter_mut().find(|(known, _)| known == target).map(|(_, count)| count)
    }
}

/// Rates by requester and agreement, operations in flight by directory as well.
#[derive(Debug, Default)]
pub struct Usage {
    by_requester: HashMap<Box<str>, Vec<Entry>>,
}

impl Usage {
    /// Takes one operation out of what `permit` allows `requester`; false when it has had enough for now.
    pub fn take(&mut self, requester: &str, permit: &Permit, now: u64) -> bool {
        if self.by_requester.len() >= REMEMBERED && !self.by_requester.contains_key(requester) {
            self.by_requester.retain(|_, entries| {
                entries.iter().any(|entry| entry.in_flight.iter().any(|(_, count)| *count > 0))
            });
        }
        if !self.by_requester.contains_key(requester) {
            self.by_requester.insert(requester.into(), Vec::new());
        }
        let Some(entries) = self.by_requester.get_mut(requester) else { return false };
        let at = entries.iter().position(|entry| *entry.agreement == *permit.agreement());
        let at = at.unwrap_or_else(|| {
            let bucket = Bucket::new(permit.rate(), now);
            entries.push(Entry { agreement: permit.agreement().into(), bucket, in_flight: Vec::new() });
            entries.len() - 1
        });
        let Some(entry) = entries.get_mut(at) else { return false };
        if entry.bucket.rate() != permit.rate() {
            entry.bucket = Bucket::new(permit.rate(), now);
        }
        let full = entry.in_flight(permit.target()).is_none_or(|count| *count >= permit.in_flight());
        if full || !entry.bucket.take(now) {
            return false;
        }
        if let Some(count) = entry.in_flight(permit.target()) {
            *count += 1;
        }
        true
    }

    /// An operation that was taken has ended.
    pub fn give_back(&mut self, requester: &str, permit: &Permit) {
        if let Some(entries) = self.by_requester.get_mut(requester)
            && let Some(entry) = entries.iter_mut().find(|entry| *entry.agreement == *permit.agreement())
            && let Some(count) = entry.in_flight(permit.target())
        {
            *count = count.saturating_sub(1);
        }
    }
}
