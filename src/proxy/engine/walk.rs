//! Paged results (RFC 2696) over one directory or several: a walk from one to the next.
//!
//! A page is full unless it is the last, and there is another page exactly when there is another released entry: the
//! directories are read until one entry is known beyond the page. What is withheld counts nowhere. Between two pages the
//! walk is parked in the shard; the cookie that leads to it is sealed, is good once, and only for the connection, the
//! requester and the request that it was given to.

use std::collections::VecDeque;
use std::sync::Arc;

use ring::digest;

use crate::ldap::message::ResultCode;
use crate::ldap::typed_control::PagedResults;
use crate::proxy::engine::answer::{self, Answer, Asked};
use crate::proxy::engine::beyond::controls_of;
use crate::proxy::engine::cookie::Bookmark;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::extras::{self, Walk};
use crate::proxy::engine::made::Requested;
use crate::proxy::engine::operation::{At, Part};
use crate::proxy::engine::parked::Parked;
use crate::proxy::engine::search::Asking;
use crate::release::requester::{Operation as Kind, Requester};

/// One constant for every cookie that does not lead on, whatever is the matter with it.
const NOT_VALID: &str = "the paging cookie is not valid here; begin again";
const CHANGED: &str = "what is released changed during the paged search; begin again";
const HOLDS_TOO_MUCH: &str =
    "the paged search would hold too much between its pages; ask for smaller entries";

/// What a walk does next.
enum Step {
    /// An answer is awaited.
    Wait,
    /// The directory of this part is asked.
    Ask(usize),
    Park,
    End(Answer),
}

impl Engine {
    /// A walk that has not begun.
    pub(super) fn new_walk(&mut self, asking: &Asking<'_>) -> Result<Walk, Answer> {
        self.admit_walk(&asking.requester)?;
        let most = self.settings.walk_entries;
        // The client's limit is one of the whole result (RFC 2696 section 3).
        let (limit, over_limit) = match asking.search.size_limit {
            theirs if theirs > 0 && theirs <= most => (theirs, ResultCode::SIZE_LIMIT_EXCEEDED),
            _ => (most, ResultCode::ADMIN_LIMIT_EXCEEDED),
        };
        let asked = Requested { search: asking.search, controls: asking.controls };
        Ok(Walk {
            snapshot: Arc::clone(&self.snapshot),
            binding: self.binding(asking.client, &asking.requester, &asked),
            before: 0,
            limit,
            over_limit,
            ready: VecDeque::new(),
            pin: None,
            seat: None,
            asked: 0,
        })
    }

    /// What a cookie is bound to: the connection, the requester, and all of the request but the page's size.
    fn binding(&self, client: usize, requester: &Requester, asked: &Requested<'_>) -> [u8; 32] {
        let mut bytes = Vec::new();
        extras::encode_search(asked.search.clone(), &mut bytes);
        asked.controls.write_lasting(&mut bytes);
        let connection = self.clients.get(client).map_or(0, |client| client.serial);
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&connection.to_be_bytes());
        context.update(&(requester.id.len() as u64).to_be_bytes());
        context.update(requester.id.as_bytes());
        context.update(&bytes);
        let mut binding = [0; 32];
        binding.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        binding
    }

    /// Brings a walk as far as it can be brought now.
    pub(super) fn walk_go_on(&mut self, key: usize) {
        if !self.show_ready(key) {
            return;
        }
        match self.step(key) {
            None | Some(Step::Wait) => {}
            Some(Step::Ask(part)) => self.ask_walk(key, part),
            Some(Step::Park) => self.park(key),
            Some(Step::End(answer)) => self.end_operation(key, &answer),
        }
    }

    fn step(&self, key: usize) -> Option<Step> {
        let operation = self.operations.get(key)?;
        let walk = operation.extras.as_deref()?.walk.as_ref()?;
        if operation.parts.iter().any(|part| part.is_open()) {
            return Some(Step::Wait);
        }
        if !walk.ready.is_empty() {
            let over = walk.before.saturating_add(operation.entries) >= walk.limit;
            return Some(if over { Step::End(Answer::plain(walk.over_limit)) } else { Step::Park });
        }
        match operation.parts.iter().position(|part| part.at == At::Later) {
            Some(part) => Some(Step::Ask(part)),
            None => Some(Step::End(operation.result())),
        }
    }

    /// The page is full and more follows: it is answered, and the walk waits for the client.
    fn park(&mut self, key: usize) {
        let Some(extras) = self.operations.get(key).and_then(|o| o.extras.as_deref()) else { return };
        let Some(walk) = &extras.walk else { return };
        let most = if extras.is_sorted() { self.settings.sort_bytes } else { self.settings.walk_bytes };
        if extras.held_bytes() > most {
            let answer = Answer::new(ResultCode::ADMIN_LIMIT_EXCEEDED, HOLDS_TOO_MUCH);
            return self.end_operation(key, &answer);
        }
        if self.operations.get(key).is_none_or(|operation| !self.is_same_world(walk, &operation.parts)) {
            return self.end_operation(key, &Answer::new(ResultCode::UNAVAILABLE, CHANGED));
        }
        let binding = walk.binding;
        let serial = self.next_serial();
        let bookmark = Bookmark { place: self.walks.parked.vacant_key() as u64, serial };
        let Some(cookie) = self.walks.seal.seal(bookmark, &binding) else {
            return self.end_operation(key, &Answer::plain(ResultCode::OTHER));
        };
        let Some(mut operation) = self.take_out(key) else { return };
        let Some(mut extras) = operation.extras.take() else { return };
        let (client, id) = (operation.client, operation.message_id);
        let controls = controls_of(&extras, &operation.parts, ResultCode::SUCCESS, cookie);
        // The client sends its request again with every page: nothing of it is kept.
        extras.search = None;
        extras.values = Vec::new();
        extras.walk.iter_mut().for_each(|walk| {
            walk.before = walk.before.saturating_add(operation.entries);
            walk.snapshot = Arc::clone(&self.snapshot);
        });
        let mut parts = operation.parts.clone();
        parts.iter_mut().for_each(|part| part.charged = false);
        self.walks.parked.insert(Parked {
            serial,
            client,
            requester: Arc::clone(&operation.requester),
            ends: parts.iter().map(|part| part.permit.until()).min().unwrap_or(self.wall),
            parts,
            whole_tree: operation.whole_tree,
            missing: operation.missing,
            code: operation.code,
            extras,
            gates: Arc::clone(&self.gates),
            until: self.now.saturating_add(self.settings.walk_idle_milliseconds.saturating_mul(1_000)),
        });
        let answer = Answer::plain(ResultCode::SUCCESS);
        self.pool_out(client, |out| answer::put_with(out, id, Asked::Search, &answer, controls));
        self.conclude(operation, ResultCode::SUCCESS);
        self.forget_oldest_walks(client);
        self.drain_client(client);
    }

    /// The next page of a walk, or with a size of 0 its end (RFC 2696 section 3).
    pub(super) fn resume_walk(
        &mut self,
        client: usize,
        id: i32,
        requester: Arc<Requester>,
        asked: &Requested<'_>,
        size: u32,
    ) {
        let Some(place) = self.waiting_walk(client, &requester, asked) else {
            let answer = Answer::new(ResultCode::UNWILLING_TO_PERFORM, NOT_VALID);
            return self.respond(client, id, Asked::Search, &answer);
        };
        if size == 0 {
            self.forget_walk(place);
            let controls = vec![PagedResults::default().control(false)];
            return self.respond_with(client, id, &Answer::plain(ResultCode::SUCCESS), controls);
        }
        let (search, controls) = (asked.search, asked.controls);
        let asking = Asking { client, id, asked: Asked::Search, requester, search, controls, compare: None };
        let Some(mut parts) = self.walks.parked.get(place).map(|parked| parked.parts.clone()) else { return };
        // Whoever asks too fast may come again with the same cookie.
        if !self.charge(&asking, &mut parts) {
            return;
        }
        let Some(mut parked) = self.walks.parked.try_remove(place) else { return };
        parked.extras.search = Some(Arc::new(extras::owned(search)));
        parked.extras.values = controls.values.iter().map(|item| item.clone().into_owned()).collect();
        let single = match parts.as_slice() {
            [part] => Some(part.permit.target().clone()),
            _ => None,
        };
        let key = self.enter(&asking, parts, single.as_ref(), parked.whole_tree, Some(parked.extras));
        if let Some(operation) = self.operations.get_mut(key) {
            operation.missing = parked.missing;
            operation.code = parked.code;
        }
        self.walk_go_on(key);
    }

    /// The walk that a cookie leads to, when it may go on now.
    fn waiting_walk(&self, client: usize, requester: &Requester, asked: &Requested<'_>) -> Option<usize> {
        let cookie = &asked.controls.paging.as_ref()?.cookie;
        let bookmark = self.walks.seal.open(cookie, &self.binding(client, requester, asked))?;
        let place = self.walks.find(bookmark, client)?;
        let parked = self.walks.parked.get(place)?;
        let same = *parked.requester == *requester && self.now < parked.until;
        (same && self.may_go_on(parked)).then_some(place)
    }

    /// Whether nothing that a parked walk rests on has changed.
    fn may_go_on(&self, parked: &Parked) -> bool {
        let walk = parked.extras.walk.as_ref();
        walk.is_some_and(|walk| self.is_same_world(walk, &parked.parts))
            && parked
                .parts
                .iter()
                .all(|part| self.reviewed(&parked.requester, Kind::Search, parked.whole_tree, part).is_none())
    }

    /// Whether the directories of a walk are still those that it began with: a new world comes with every sync of any
    /// member, and most of it is as it was. What may be seen of them is for [`Engine::reviewed`].
    fn is_same_world(&self, walk: &Walk, parts: &[Part]) -> bool {
        Arc::ptr_eq(&walk.snapshot, &self.snapshot)
            || parts.iter().all(|part| {
                let target = part.permit.target();
                match (walk.snapshot.mounts.get(target), self.snapshot.mounts.get(target)) {
                    (Some(was), Some(is)) => {
                        was.mapping == is.mapping && is.endpoint.has_account_of(&was.endpoint)
                    }
                    _ => false,
                }
            })
    }

    /// Holds parked walks against gates, agreements and time as they are now.
    pub(super) fn review_walks(&mut self) {
        if self.walks.parked.is_empty() {
            return;
        }
        let mut over = Vec::new();
        for (place, parked) in &self.walks.parked {
            let unchanged = Arc::ptr_eq(&parked.gates, &self.gates)
                && parked.extras.walk.as_ref().is_some_and(|w| Arc::ptr_eq(&w.snapshot, &self.snapshot))
                && self.wall < parked.ends;
            if !unchanged && !self.may_go_on(parked) {
                over.push(place);
            }
        }
        for place in over {
            self.forget_walk(place);
        }
        for (_, parked) in &mut self.walks.parked {
            if !Arc::ptr_eq(&parked.gates, &self.gates) {
                parked.gates = Arc::clone(&self.gates);
            }
            if let Some(walk) = &mut parked.extras.walk
                && !Arc::ptr_eq(&walk.snapshot, &self.snapshot)
            {
                walk.snapshot = Arc::clone(&self.snapshot);
            }
        }
    }

    /// Ends walks whose client did not come back in time.
    pub(super) fn scan_walks(&mut self) {
        self.ask_stuck_walks();
        let now = self.now;
        let over: Vec<usize> =
            self.walks.parked.iter().filter(|(_, parked)| parked.until <= now).map(|(at, _)| at).collect();
        for place in over {
            self.forget_walk(place);
        }
    }

    /// The connection ended or was bound anew.
    pub(super) fn forget_walks_of(&mut self, client: usize) {
        if self.walks.parked.is_empty() {
            return;
        }
        for place in self.walks.of_client(client) {
            self.forget_walk(place);
        }
    }

    /// A client that begins walk after walk and ends none keeps the newest.
    fn forget_oldest_walks(&mut self, client: usize) {
        let places = self.walks.of_client(client);
        let over = places.len().saturating_sub(self.settings.walks_per_connection);
        for place in places.into_iter().take(over) {
            self.forget_walk(place);
        }
    }

    /// Ends a parked walk, behind as well.
    pub(super) fn forget_walk(&mut self, place: usize) {
        let Some(parked) = self.walks.parked.try_remove(place) else { return };
        if let Some(pin) = parked.extras.walk.and_then(|walk| walk.pin) {
            self.release_pin(pin);
        }
    }
}
