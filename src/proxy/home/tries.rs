//! How often passwords were tried in vain: so that nobody can lock accounts out through the gateway, or guess.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Names and addresses that are counted at once. When there are more, and none is old enough to be forgotten, new ones
/// are refused.
const COUNTED_MAX: usize = 65_536;

/// Failed tries within one window of time, by name and by address.
#[derive(Debug)]
pub struct Tries {
    per_name: u32,
    per_address: u32,
    window: Duration,
    names: HashMap<String, Count>,
    addresses: HashMap<IpAddr, Count>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    failed: u32,
    /// The window begins with the first try.
    since: Instant,
}

impl Tries {
    pub fn new(per_name: u32, per_address: u32, window: Duration) -> Self {
        Tries { per_name, per_address, window, names: HashMap::new(), addresses: HashMap::new() }
    }

    /// Counts a try as failed, until [`Tries::succeeded`]; false when it must not be made. Counting first means that tries
    /// at the same moment cannot slip through together.
    pub fn begin(&mut self, name: &str, address: IpAddr, now: Instant) -> bool {
        forget(&mut self.names, self.window, now);
        forget(&mut self.addresses, self.window, now);
        let named = self.names.get(name).map_or(0, |count| count.within(self.window, now));
        let here = self.addresses.get(&address).map_or(0, |count| count.within(self.window, now));
        let full = |length: usize, known: bool| length >= COUNTED_MAX && !known;
        if named >= self.per_name
            || here >= self.per_address
            || full(self.names.len(), self.names.contains_key(name))
            || full(self.addresses.len(), self.addresses.contains_key(&address))
        {
            return false;
        }
        let fresh = Count { failed: 0, since: now };
        for count in [
            self.names.entry(name.to_owned()).or_insert(fresh),
            self.addresses.entry(address).or_insert(fresh),
        ] {
            if count.within(self.window, now) == 0 {
                *count = fresh;
            }
            count.failed += 1;
        }
        true
    }

    /// The try was good: the name starts anew, and the address did nothing wrong.
    pub fn succeeded(&mut self, name: &str, address: IpAddr) {
        self.names.remove(name);
        self.undone(None, address);
    }

    /// The try reached nobody: it does not count.
    pub fn unmade(&mut self, name: &str, address: IpAddr) {
        self.undone(Some(name), address);
    }

    fn undone(&mut self, name: Option<&str>, address: IpAddr) {
        let named = name.and_then(|name| self.names.get_mut(name));
        for count in named.into_iter().chain(self.addresses.get_mut(&address)) {
            count.failed = count.failed.saturating_sub(1);
        }
    }
}

impl Count {
    fn within(self, window: Duration, now: Instant) -> u32 {
        if now.saturating_duration_since(self.since) < window { self.failed } else { 0 }
    }
}

fn forget<K>(counts: &mut HashMap<K, Count>, window: Duration, now: Instant) {
    if counts.len() >= COUNTED_MAX {
        counts.retain(|_, count| count.within(window, now) > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    #[test]
    fn names_and_addresses_have_their_tries() {
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let start = Instant::now();
        let mut tries = Tries::new(2, 3, WINDOW);
        assert!(tries.begin("ann", here, start) && tries.begin("ann", here, start));
        assert!(!tries.begin("ann", here, start) && !tries.begin("ann", there, start), "by name");
        assert!(tries.begin("bob", here, start));
        assert!(!tries.begin("cat", here, start), "by address");
        assert!(tries.begin("cat", there, start));
        tries.succeeded("cat", there);
        // Whoever knows the password does not use up tries; nor does a directory that is away.
        for _ in 0..10 {
            assert!(tries.begin("cat", there, start));
            tries.succeeded("cat", there);
            assert!(tries.begin("dan", there, start));
            tries.unmade("dan", there);
        }
        assert!(tries.begin("ann", here, start + WINDOW), "the window ends");
    }
}
