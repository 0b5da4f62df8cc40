//! Paged searches between two pages: bounded in number and in bytes, each bound to its client's connection and
//! requester, none for longer than it may idle.

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;
use time::OffsetDateTime;

use crate::gate::table;
use crate::ldap::message::ResultCode;
use crate::proxy::engine::cookie::{Bookmark, Seal};
use crate::proxy::engine::extras::Extras;
use crate::proxy::engine::operation::Part;
use crate::release::requester::Requester;

/// A paged search that waits for its client.
pub struct Parked {
    /// Different for every page.
    pub serial: u64,
    pub client: usize,
    pub requester: Arc<Requester>,
    pub parts: Vec<Part>,
    /// When the first of the permits ends, as they were given.
    pub ends: OffsetDateTime,
    /// The gates that it was last held against.
    pub gates: Arc<table::Snapshot>,
    pub whole_tree: bool,
    pub missing: u32,
    pub code: ResultCode,
    pub extras: Box<Extras>,
    /// Microseconds; from then on it is forgotten.
    pub until: u64,
}

impl Parked {
    /// Whether it has its place on this upstream connection.
    pub fn is_on(&self, upstream: usize) -> bool {
        self.extras.walk.as_ref().is_some_and(|walk| walk.seat == Some(upstream))
    }
}

/// All of one shard.
pub struct Walks {
    pub parked: Slab<Parked>,
    pub seal: Seal,
}

impl Walks {
    /// `secret`: see [`Seal::new`].
    pub fn new(secret: &[u8; 32]) -> Walks {
        Walks { parked: Slab::new(), seal: Seal::new(secret) }
    }

    /// The search that a cookie leads to, when it is that of this client and waits there.
    pub fn find(&self, bookmark: Bookmark, client: usize) -> Option<usize> {
        let key = usize::try_from(bookmark.place).ok()?;
        let parked = self.parked.get(key)?;
        (parked.serial == bookmark.serial && parked.client == client).then_some(key)
    }

    /// Of the searches that `of` chooses: how many those of the requester are who has the most, `but` one, and where the
    /// oldest of them is.
    pub fn greediest(&self, but: &str, of: impl Fn(&Parked) -> bool) -> Option<(usize, usize)> {
        let mut held: HashMap<&str, (usize, u64, usize)> = HashMap::new();
        for (place, parked) in self.parked.iter().filter(|(_, parked)| of(parked)) {
            let first = (0, parked.serial, place);
            let (count, serial, oldest) = held.entry(&parked.requester.id).or_insert(first);
            *count += 1;
            if parked.serial < *serial {
                (*serial, *oldest) = (parked.serial, place);
            }
        }
        held.remove(but);
        let most = held.into_values().max_by_key(|(count, serial, _)| (*count, std::cmp::Reverse(*serial)));
        most.map(|(count, _, place)| (count, place))
    }

    /// The searches of a client, oldest first.
    pub fn of_client(&self, client: usize) -> Vec<usize> {
        let mut keys: Vec<(u64, usize)> = self
            .parked
            .iter()
            .filter(|(_, parked)| parked.client == client)
            .map(|(key, parked)| (parked.serial, key))
            .collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, key)| key).collect()
    }
}
