//! The content of a synchronisation (RFC 4533), kept from what the messages say: a pure state machine.
//!
//! Entries are known by their UUID, whatever their names. What is not mentioned is gone only when a present phase has ended; one
//! that was cut off says nothing about it. A cookie counts once everything that it stands for has come: one that arrives during a
//! refresh waits for its end (389 Directory Server sends the last one first).
//!
//! A cookie is given only to searches that persist: at the end of another one 389 Directory Server says that it was a present
//! phase though it told of changes alone, and whoever believes that takes everybody else for gone.

use std::collections::{HashMap, HashSet};

use crate::ldap::content_sync::{EntryState, SyncDone, SyncInfo, SyncMode, SyncRequest, SyncState, SyncUuid};

/// Something that cannot follow from what was told before: begin anew, without the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    #[error("an entry is said to be unchanged that is not known")]
    Unknown,
    #[error("a phase of the refresh ends though none is under way")]
    Phase,
    #[error("the refresh ended without saying so")]
    NotEnded,
}

/// What happened to an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Put(SyncUuid),
    Gone(SyncUuid),
    /// The content is complete and up to date.
    Refreshed,
}

/// The content: what `T` says of each entry.
#[derive(Debug, Clone)]
pub struct Content<T> {
    held: HashMap<SyncUuid, T>,
    cookie: Option<Vec<u8>>,
    /// The refresh under way; none: it ended.
    refresh: Option<Refresh>,
}

#[derive(Debug, Clone, Default)]
struct Refresh {
    /// It began without a cookie: what is not mentioned is gone, whatever its end is called.
    fresh: bool,
    mentioned: HashSet<SyncUuid>,
    /// A cookie that counts when it has ended.
    cookie: Option<Vec<u8>>,
}

impl<T> Content<T> {
    /// What was kept earlier. Whoever has no cookie is brought up to date from the beginning.
    pub fn kept(held: HashMap<SyncUuid, T>, cookie: Option<Vec<u8>>) -> Content<T> {
        Content { held, cookie, refresh: None }
    }

    /// Begins a search; what a search before left unfinished is dropped.
    pub fn begin(&mut self, mode: SyncMode) -> SyncRequest {
        let cookie = self.cookie.clone().filter(|_| mode == SyncMode::RefreshAndPersist);
        self.refresh = Some(Refresh { fresh: cookie.is_none(), ..Refresh::default() });
        SyncRequest { mode, cookie, reload_hint: false }
    }

    /// The cookie is of no use any more.
    pub fn forget_cookie(&mut self) {
        self.cookie = None;
    }

    /// Where the next search may go on.
    pub fn cookie(&self) -> Option<&[u8]> {
        self.cookie.as_deref()
    }

    /// Whether everything is known.
    pub fn is_refreshed(&self) -> bool {
        self.refresh.is_none()
    }

    /// What is said of an entry.
    pub fn get(&self, uuid: &SyncUuid) -> Option<&T> {
        self.held.get(uuid)
    }

    /// Everything.
    pub fn iter(&self) -> impl Iterator<Item = (&SyncUuid, &T)> {
        self.held.iter()
    }

    /// An entry came with this state; `item` is what it says, of use when it is added or changed. `gone` gets what was held
    /// of it before.
    pub fn entry(
        &mut self,
        state: SyncState,
        item: T,
        gone: &mut impl FnMut(SyncUuid, T),
    ) -> Result<Option<Event>, Lost> {
        let uuid = state.uuid;
        let event = match state.state {
            EntryState::Present if !self.held.contains_key(&uuid) => return Err(Lost::Unknown),
            EntryState::Present => None,
            EntryState::Add | EntryState::Modify => {
                if let Some(was) = self.held.insert(uuid, item) {
                    gone(uuid, was);
                }
                Some(Event::Put(uuid))
            }
            EntryState::Delete => self.held.remove(&uuid).map(|was| {
                gone(uuid, was);
                Event::Gone(uuid)
            }),
        };
        if let Some(refresh) = self.refresh.as_mut().filter(|_| state.state != EntryState::Delete) {
            refresh.mentioned.insert(uuid);
        }
        self.learn(state.cookie);
        Ok(event)
    }

    /// A message between entries came.
    pub fn info(&mut self, info: SyncInfo, gone: &mut impl FnMut(SyncUuid, T)) -> Result<Vec<Event>, Lost> {
        let mut events = Vec::new();
        match info {
            SyncInfo::NewCookie(cookie) => self.learn(Some(cookie)),
            SyncInfo::IdSet { cookie, refresh_deletes: true, uuids } => {
                for uuid in uuids {
                    if let Some(was) = self.held.remove(&uuid) {
                        gone(uuid, was);
                        events.push(Event::Gone(uuid));
                    }
                }
                self.learn(cookie);
            }
            SyncInfo::IdSet { cookie, refresh_deletes: false, uuids } => {
                if !uuids.iter().all(|uuid| self.held.contains_key(uuid)) {
                    return Err(Lost::Unknown);
                }
                if let Some(refresh) = &mut self.refresh {
                    refresh.mentioned.extend(uuids);
                }
                self.learn(cookie);
            }
            SyncInfo::RefreshPresent { cookie, done } => {
                self.learn(cookie);
                self.phase(true, done, &mut events, gone)?;
            }
            SyncInfo::RefreshDelete { cookie, done } => {
                self.learn(cookie);
                self.phase(false, done, &mut events, gone)?;
            }
        }
        Ok(events)
    }

    /// The search ended with success.
    pub fn done(
        &mut self,
        done: Option<SyncDone>,
        gone: &mut impl FnMut(SyncUuid, T),
    ) -> Result<Vec<Event>, Lost> {
        let mut events = Vec::new();
        match done {
            Some(done) if self.refresh.is_some() => {
                self.learn(done.cookie);
                self.phase(!done.refresh_deletes, true, &mut events, gone)?;
            }
            Some(done) => self.learn(done.cookie),
            None if self.refresh.is_some() => return Err(Lost::NotEnded),
            None => {}
        }
        Ok(events)
    }

    fn learn(&mut self, cookie: Option<Vec<u8>>) {
        let Some(cookie) = cookie else { return };
        match &mut self.refresh {
            Some(refresh) => refresh.cookie = Some(cookie),
            None => self.cookie = Some(cookie),
        }
    }

    /// A phase ended; with `last` the refresh ended with it.
    fn phase(
        &mut self,
        present: bool,
        last: bool,
        events: &mut Vec<Event>,
        gone: &mut impl FnMut(SyncUuid, T),
    ) -> Result<(), Lost> {
        let refresh = self.refresh.as_ref().ok_or(Lost::Phase)?;
        if present || (last && refresh.fresh) {
            let missing: Vec<SyncUuid> =
                self.held.keys().filter(|uuid| !refresh.mentioned.contains(uuid)).copied().collect();
            for uuid in missing {
                if let Some(was) = self.held.remove(&uuid) {
                    gone(uuid, was);
                }
                events.push(Event::Gone(uuid));
            }
        }
        if last && let Some(refresh) = self.refresh.take() {
            // a directory that gives none must be asked for everything the next time
            self.cookie = refresh.cookie.or_else(|| self.cookie.take().filter(|_| !refresh.fresh));
            events.push(Event::Refreshed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
