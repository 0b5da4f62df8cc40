//! What a shard knows of each server of a mount, kept from one snapshot to the next.

use std::sync::Arc;

use prometheus::IntGauge;

use crate::proxy::engine::balance::{Latency, SERVERS};
use crate::proxy::engine::breaker::Breaker;
use crate::proxy::metrics::MemberMetrics;
use crate::proxy::snapshot::Endpoint;

/// One server of a mount.
#[derive(Debug)]
pub struct Server {
    breaker: Breaker,
    /// As its last connection left it.
    pub latency: Latency,
    /// It does not take our account: it is tried only when a question needs it, and as seldom as any.
    pub refused: bool,
    /// Counts this shard while it leaves the server alone.
    left_alone: IntGauge,
}

impl Server {
    fn new(left_alone: IntGauge) -> Self {
        Server { breaker: Breaker::default(), latency: Latency::default(), refused: false, left_alone }
    }

    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// See [`Breaker::begin`].
    pub fn begin(&mut self, over: u64) {
        self.breaker.begin(over);
    }

    /// See [`Breaker::open`].
    pub fn open(&mut self, now: u64, pause: u64) {
        if self.breaker.is_closed() {
            self.left_alone.inc();
        }
        self.breaker.open(now, pause);
    }

    /// See [`Breaker::close`].
    pub fn close(&mut self) {
        if !self.breaker.is_closed() {
            self.left_alone.dec();
        }
        self.refused = false;
        self.breaker.close();
    }

    /// See [`Breaker::prove`].
    pub fn prove(&mut self) {
        self.breaker.prove();
    }

    fn hurry(&mut self) {
        self.breaker.hurry();
    }

    /// Its place in the list changed.
    fn count_in(&mut self, left_alone: IntGauge) {
        if !self.breaker.is_closed() {
            self.left_alone.dec();
            left_alone.inc();
        }
        self.left_alone = left_alone;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.breaker.is_closed() {
            self.left_alone.dec();
        }
    }
}

/// The servers of a mount, in the order of its endpoint.
#[derive(Debug, Default)]
pub struct Servers {
    endpoint: Option<Arc<Endpoint>>,
    all: Vec<Server>,
}

impl Servers {
    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn get(&self, place: usize) -> Option<&Server> {
        self.all.get(place)
    }

    pub fn get_mut(&mut self, place: usize) -> Option<&mut Server> {
        self.all.get_mut(place)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Server> {
        self.all.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Server> {
        self.all.iter_mut()
    }

    /// The endpoint whose servers these are.
    pub fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        self.endpoint.as_ref()
    }

    /// Takes the servers of `endpoint`; what is known of those that were there already is kept, and whoever was left
    /// alone may be tried at once. Whether each has the place that it had.
    pub fn follow(&mut self, endpoint: Option<&Arc<Endpoint>>, metrics: &MemberMetrics) -> bool {
        let mut known: Vec<Option<Server>> = std::mem::take(&mut self.all).into_iter().map(Some).collect();
        let old = std::mem::replace(&mut self.endpoint, endpoint.cloned());
        let Some(new) = endpoint else { return known.is_empty() };
        let mut same = known.len() == new.servers.len().min(SERVERS);
        for (place, server) in new.servers.iter().enumerate().take(SERVERS) {
            let gauge = metrics.left_alone(place);
            let was = old
                .as_ref()
                .filter(|old| new.has_account_of(old))
                .and_then(|old| old.servers.iter().position(|was| server.is(was)));
            same &= was == Some(place);
            let kept = was.and_then(|place| known.get_mut(place)).and_then(Option::take);
            self.all.push(match kept {
                Some(mut kept) => {
                    kept.count_in(gauge);
                    kept.hurry();
                    kept
                }
                None => Server::new(gauge),
            });
        }
        same
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::metrics::Metrics;
    use crate::proxy::snapshot::{Preference, Server as Address};
    use crate::secret::text::Secret;

    fn endpoint(addresses: &[&str], password: &str) -> Arc<Endpoint> {
        let server = |address: &&str| Address {
            address: (*address).to_owned(),
            tls: None,
            preference: Preference::default(),
        };
        Arc::new(Endpoint {
            servers: addresses.iter().map(server).collect(),
            bind_name: "gateway".to_owned(),
            password: Secret::new(password.to_owned()),
            page_size: None,
        })
    }

    #[test]
    fn what_is_known_follows_a_server_to_its_new_place() {
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap().member("RXA");
        let gauge = |place| metrics.left_alone(place).get();
        let mut servers = Servers::default();
        assert!(!servers.follow(Some(&endpoint(&["a", "b"], "one")), &metrics));
        servers.get_mut(1).unwrap().open(0, 1_000);
        assert!(servers.follow(Some(&endpoint(&["a", "b"], "one")), &metrics), "nothing moved");
        assert_eq!((gauge(0), gauge(1)), (0, 1));
        assert!(!servers.follow(Some(&endpoint(&["b", "c"], "one")), &metrics));
        assert_eq!((gauge(0), gauge(1)), (1, 0));
        assert!(servers.get(0).unwrap().breaker().is_due(0), "it may be tried at once");
        assert_eq!(servers.get(0).unwrap().breaker().failures(), 1);
        assert!(servers.get(1).unwrap().breaker().is_closed());
        // Another account: nothing that was learnt holds.
        assert!(!servers.follow(Some(&endpoint(&["b", "c"], "two")), &metrics));
        assert_eq!((gauge(0), gauge(1), servers.len()), (0, 0, 2));
        servers.get_mut(0).unwrap().open(0, 1_000);
        servers.follow(None, &metrics);
        assert_eq!((gauge(0), servers.is_empty()), (0, true));
    }

    #[test]
    fn no_more_servers_than_can_be_chosen_among() {
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap().member("RXA");
        let names: Vec<String> = (0..100).map(|n| format!("dc{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut servers = Servers::default();
        servers.follow(Some(&endpoint(&names, "one")), &metrics);
        assert_eq!(servers.len(), SERVERS);
    }
}
