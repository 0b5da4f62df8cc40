//! Watches the national directory (RFC 4533): what of our writes has arrived, and what others did to entries of ours.
//!
//! It reads, and asks for a run of the member whose entries drifted; that run reads for itself, plans, and is held by the guards like
//! every other. So a message that is lost or comes twice costs a run that finds nothing to do, and no more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::directory::client::Directory;
use crate::directory::guard::Piece;
use crate::directory::request::{RawControl, Scope as Depth, Search, SearchDone};
use crate::ldap::content_sync::{
    REFRESH_REQUIRED, SYNC_INFO, SyncInfo, SyncMode, SyncRequest, SyncState, SyncUuid,
};
use crate::ldap::dn::Dn;
use crate::ldap::filter::Filter;
use crate::ldap::limits::Limits;
use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::sync::people::desired::NAMING;
use crate::sync::people::drift;
use crate::sync::running::member::{Syncer, scope_of};
use crate::sync::running::metrics::OfObserver;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::settings::Scope;
use crate::sync::terms::step::Action;
use crate::sync::terms::target::{ANCHOR, LEFT_AT, MEMBER, STAMP};
use crate::sync::watching::content::{Content, Event, Lost};
use crate::sync::watching::drifting::{is_closed, read_on};
use crate::sync::watching::observing::{Settings, seconds};
use crate::sync::watching::watched::{self, Item, Kept, Member, Part, Place, Stamped};

/// Parts of answers that wait.
const PIECES: usize = 1_024;
/// How often it is looked who has been quiet long enough.
const TICK: Duration = Duration::from_millis(500);
/// A member whose entries never are quiet is judged all the same after this many times the quiet that is waited for.
const RESTLESS: u32 = 12;

/// Asks for a run of a member out of turn.
pub type Demand = Arc<dyn Fn(OdsCode) + Send + Sync>;

/// Watches; [`Observer::run`] it on a task of its own.
pub struct Observer {
    syncer: Syncer,
    settings: Settings,
    metrics: OfObserver,
    demand: Demand,
    content: Content<Item>,
    members: BTreeMap<OdsCode, Member>,
    stamped: Stamped,
    place: u64,
    refreshed_at: Option<OffsetDateTime>,
    loaded: bool,
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("members", &self.members.len()).finish_non_exhaustive()
    }
}

/// How a session ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Begin the next without the cookie.
    Anew,
    /// The directory ended it.
    Closed,
    Stopped,
}

impl Observer {
    /// An observer of the national directory that `syncer` writes to.
    pub fn new(syncer: Syncer, settings: Settings, metrics: OfObserver, demand: Demand) -> Observer {
        Observer {
            syncer,
            settings,
            metrics,
            demand,
            content: Content::kept(HashMap::new(), None),
            members: BTreeMap::new(),
            stamped: Stamped::new(),
            place: 0,
            refreshed_at: None,
            loaded: false,
        }
    }

    /// Runs until `stop` is true or its sender is gone.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let most = seconds(self.settings.retry_seconds);
        let mut wait = Duration::from_secs(1);
        let mut told = String::new();
        loop {
            let began = Instant::now();
            let ended = self.session(&mut stop).await;
            self.metrics.connected.set(0);
            match ended {
                Ok(End::Stopped) => {
                    if let Err(error) = self.keep().await {
                        tracing::warn!(%error, "what the observer knows was not kept");
                    }
                    return;
                }
                Ok(End::Anew) => {
                    self.content.forget_cookie();
                    self.refreshed_at = None;
                }
                Ok(End::Closed) => tracing::info!("the national directory ended the observation"),
                Err(error) => {
                    // the same trouble again and again is told once
                    let text = error.to_string();
                    if text != told {
                        tracing::warn!(party = %error.party(), %error, "the national directory is not observed");
                        told = text;
                    }
                }
            }
            // one that lasted was a good one
            wait = if began.elapsed() > most { Duration::from_secs(1) } else { (wait * 2).min(most) };
            if pause(wait, &mut stop).await {
                return;
            }
        }
    }

    /// One connection, from the refresh to its end.
    async fn session(&mut self, stop: &mut watch::Receiver<bool>) -> Result<End, SyncError> {
        self.stamped = self.attributes().await?;
        let stamped = &self.stamped;
        let metrics = &self.metrics;
        self.members.retain(|code, _| {
            let stays = stamped.contains_key(code);
            if !stays {
                metrics.forget(code);
            }
            stays
        });
        let people = self.syncer.national.people_base.clone();
        let base =
            Dn::parse(&people).map_err(|_| SyncError::Unusable(format!("`{people}` is not a name")))?;
        let mut search = self.search(&people);
        let asked = watched::asked(&self.syncer.national.host, &search);
        if !self.loaded {
            self.load(&asked).await?;
        }
        let national = self.syncer.national.clone();
        let reach = tokio::task::spawn_blocking(move || national.reach()).await??;
        let mut directory = reach.connect(SyncError::Target).await?;
        offered(&mut directory).await?;
        let request = self.content.begin(SyncMode::RefreshAndPersist);
        self.metrics
            .refreshes
            .with_label_values(&[if request.cookie.is_some() { "resumed" } else { "full" }])
            .inc();
        let control = request.control(true);
        search = search.control(RawControl {
            oid: control.oid.into_owned(),
            critical: control.critical,
            value: control.value.map(std::borrow::Cow::into_owned),
        });
        tracing::info!(full = request.cookie.is_none(), "the national directory is observed");
        let (to, pieces) = mpsc::channel(PIECES);
        let beat = seconds(self.settings.beat_seconds);
        let follow = directory.follow(&search, &to, beat);
        self.attend(follow, pieces, &base, &asked, stop).await
    }

    async fn attend(
        &mut self,
        follow: impl Future<Output = Result<SearchDone, crate::directory::error::DirectoryError>>,
        mut pieces: mpsc::Receiver<Piece>,
        people: &Dn,
        asked: &str,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<End, SyncError> {
        let mut follow = Box::pin(follow);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut looked, mut kept) = (Instant::now(), Instant::now());
        loop {
            tokio::select! {
                changed = stop.changed() => {
                    if changed.is_err() || *stop.borrow() {
                        self.remember(asked).await?;
                        return Ok(End::Stopped);
                    }
                }
                Some(piece) = pieces.recv() => {
                    if let Err(lost) = self.take(piece, people) {
                        return Ok(self.lost(lost));
                    }
                }
                done = &mut follow => {
                    while let Ok(piece) = pieces.try_recv() {
                        if let Err(lost) = self.take(piece, people) {
                            return Ok(self.lost(lost));
                        }
                    }
                    return self.ended(&done.map_err(SyncError::Target)?);
                }
                _ = tick.tick() => {
                    if looked.elapsed() >= seconds(self.settings.look_seconds) {
                        looked = Instant::now();
                        if self.attributes().await? != self.stamped || self.is_due() {
                            return Ok(End::Anew);
                        }
                        self.look().await?;
                    }
                    self.judge_quiet().await?;
                    if kept.elapsed() >= seconds(self.settings.keep_seconds) {
                        kept = Instant::now();
                        self.remember(asked).await?;
                    }
                }
            }
        }
    }

    fn lost(&self, lost: Lost) -> End {
        self.metrics.resets.inc();
        tracing::warn!(%lost, "the observation begins anew");
        End::Anew
    }

    fn ended(&mut self, done: &SearchDone) -> Result<End, SyncError> {
        if done.code == REFRESH_REQUIRED {
            self.metrics.resets.inc();
            tracing::info!("the national directory wants the observation to begin anew");
            return Ok(End::Anew);
        }
        if done.code == 0 {
            return Ok(End::Closed);
        }
        let text = "the observation ended with result code";
        Err(SyncError::Unusable(format!("{text} {}: {}", done.code, done.text)))
    }

    /// Whether everything is to be read anew by now.
    fn is_due(&self) -> bool {
        let lasts = time::Duration::seconds(i64::from(self.settings.refresh_seconds));
        self.refreshed_at.is_some_and(|at| self.syncer.hands.clock.now() >= at + lasts)
    }

    /// Which attributes each federated member's stamps are made over; those without a scope publish nothing.
    async fn attributes(&self) -> Result<Stamped, SyncError> {
        let syncer = self.syncer.clone();
        let all = tokio::task::spawn_blocking(move || {
            let mut all = Stamped::new();
            let Some(set) = (syncer.policies)() else { return Ok::<_, SyncError>(all) };
            for member in syncer.hands.store.members()?.into_iter().filter(|m| m.state.may_federate()) {
                let scope = scope_of(&set, &member.ods).and_then(|one| Scope::of(one, &member.mail_domains));
                let Ok(scope) = scope else { continue };
                let national = &syncer.hands.settings.national_attributes;
                all.insert(member.ods, drift::stamped(&scope, national));
            }
            Ok(all)
        });
        all.await?
    }

    fn search(&self, people: &str) -> Search {
        let mut names: BTreeSet<&str> = self.stamped.values().flatten().map(String::as_str).collect();
        names.extend([NAMING, ANCHOR, MEMBER, STAMP, LEFT_AT]);
        let names: Vec<&str> = names.into_iter().collect();
        Search::new(people, Depth::Subtree, Filter::present("objectClass"), &names)
    }

    /// Takes over what was kept, when it is of use.
    async fn load(&mut self, asked: &str) -> Result<(), SyncError> {
        let store = Arc::clone(&self.syncer.hands.store);
        let members: Vec<OdsCode> = self.stamped.keys().cloned().collect();
        let kept = tokio::task::spawn_blocking(move || watched::kept(&store, &members)).await??;
        self.loaded = true;
        let Some(Kept { items, books, place }) = kept else { return Ok(()) };
        self.place = place.number;
        let good = self.syncer.hands.clock.now() - place.at
            < time::Duration::seconds(i64::from(self.settings.resume_seconds));
        if place.asked != asked || !good {
            return Ok(());
        }
        for (member, books) in books {
            self.members.entry(member).or_default().books = books;
        }
        let now = self.syncer.hands.clock.now();
        for (uuid, item) in &items {
            let Some(code) = item.member.clone() else { continue };
            let member = self.members.entry(code).or_default();
            member.entries.insert(*uuid);
            member.touch(None, now);
        }
        self.refreshed_at = Some(place.refreshed_at);
        self.content = Content::kept(items, Some(place.cookie));
        Ok(())
    }

    fn take(&mut self, piece: Piece, people: &Dn) -> Result<(), Lost> {
        let (now, mut gone) = (self.syncer.hands.clock.now(), Vec::new());
        let events = match piece {
            Piece::Between { name, value } if name.as_deref() == Some(SYNC_INFO) => {
                let info = SyncInfo::read(&value, &Limits::from_directory()).map_err(|_| Lost::Phase)?;
                self.content.info(info, &mut |uuid, was| gone.push((uuid, was)))?
            }
            Piece::Between { .. } => Vec::new(),
            Piece::Controlled(entry, controls) => {
                let control = controls.iter().find(|control| control.oid == SyncState::OID);
                let state = control.and_then(|control| SyncState::read(control.value.as_deref()?).ok());
                let state = state.ok_or(Lost::Phase)?;
                // the unit itself, and what lies elsewhere, is part of the content, but of no member
                let item = watched::item(&entry, people, &self.stamped).unwrap_or_else(Item::outside);
                self.content
                    .entry(state, item, &mut |uuid, was| gone.push((uuid, was)))?
                    .into_iter()
                    .collect()
            }
            Piece::Entry(_) => return Err(Lost::Phase),
        };
        for (uuid, was) in gone {
            let Some(member) = was.member.and_then(|code| self.members.get_mut(&code)) else { continue };
            member.entries.remove(&uuid);
            member.touch(was.guid, now);
        }
        for event in events {
            match event {
                Event::Put(uuid) => {
                    let Some(item) = self.content.get(&uuid) else { continue };
                    let Some(code) = item.member.clone() else { continue };
                    let member = self.members.entry(code).or_default();
                    member.entries.insert(uuid);
                    member.touch(item.guid, now);
                }
                Event::Gone(_) => {}
                Event::Refreshed => {
                    self.metrics.connected.set(1);
                    // one that went on from a cookie is no complete reading
                    self.refreshed_at = self.refreshed_at.or(Some(now));
                }
            }
        }
        Ok(())
    }

    /// Reads the journals on; a member whose run wrote something is judged.
    async fn look(&mut self) -> Result<(), SyncError> {
        let store = Arc::clone(&self.syncer.hands.store);
        let read = |code: &OdsCode| self.members.get(code).map_or(0, |member| member.books.seq());
        let places: Vec<(OdsCode, u64)> =
            self.stamped.keys().map(|code| (code.clone(), read(code))).collect();
        let ahead = tokio::task::spawn_blocking(move || {
            let mut ahead = Vec::new();
            for (code, seq) in places {
                if !store.journal(&code, seq, 1)?.is_empty() {
                    ahead.push(code);
                }
            }
            Ok::<_, StoreError>(ahead)
        });
        let now = self.syncer.hands.clock.now();
        for code in ahead.await?? {
            let member = self.members.entry(code).or_default();
            // one that waits to be judged is not kept waiting by what it waits for
            if member.changed.is_none() {
                member.touch(None, now);
            }
        }
        Ok(())
    }

    /// Judges every member that has been quiet for long enough. Nobody is judged before everything is known.
    async fn judge_quiet(&mut self) -> Result<(), SyncError> {
        if !self.content.is_refreshed() {
            return Ok(());
        }
        let quiet = seconds(self.settings.settle_seconds);
        let ready: Vec<OdsCode> = self
            .members
            .iter()
            .filter(|(_, member)| {
                member.changed.is_some_and(|(last, first)| {
                    last.elapsed() >= quiet || first.elapsed() >= quiet * RESTLESS
                })
            })
            .map(|(code, _)| code.clone())
            .collect();
        for code in ready {
            self.judge(&code).await?;
        }
        Ok(())
    }

    async fn judge(&mut self, code: &OdsCode) -> Result<(), SyncError> {
        let closed = is_closed(&self.syncer.hands.store, code).await?;
        let Some(member) = self.members.get_mut(code) else { return Ok(()) };
        member.changed = None;
        let known = member.books.seq() > 0;
        let written = read_on(&self.syncer.hands.store, code, &mut member.books).await?;
        let busy = member.books.unsettled();
        let seen = member.entries.iter().filter_map(|uuid| self.content.get(uuid)).map(Item::seen);
        let found = drift::find(&member.books, seen, &busy, closed);
        for (kind, count) in drift::counts(&found) {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.metrics.drift.with_label_values(&[code.as_str(), kind.as_str()]).set(count);
        }
        let wrong: BTreeSet<_> = found.iter().filter_map(|one| one.guid).collect();
        let arrived = std::mem::take(&mut member.arrived);
        // what was written before anybody watched is not counted
        for step in written.into_iter().filter(|step| known && !wrong.contains(&step.guid)) {
            let here = member.books.entries().contains_key(&step.guid);
            if here == (step.action == Action::Delete) {
                continue;
            }
            self.metrics.confirmed.with_label_values(&[code.as_str()]).inc();
            if let Some(at) = arrived.get(&step.guid) {
                self.metrics.confirmation.observe((*at - step.at).as_seconds_f64().max(0.0));
            }
        }
        let new = found.iter().filter(|one| one.kind.is_mended() && !member.found.contains(one)).count();
        member.found = found;
        member.is_new = true;
        if new > 0 {
            tracing::warn!(member = %code, entries = new, "published entries were changed by somebody else");
            (self.demand)(code.clone());
        }
        Ok(())
    }

    /// Keeps what is known, with the place to go on from.
    async fn remember(&mut self, asked: &str) -> Result<(), SyncError> {
        let (Some(cookie), true, Some(refreshed_at)) =
            (self.content.cookie(), self.content.is_refreshed(), self.refreshed_at)
        else {
            return Ok(());
        };
        self.place += 1;
        let at = self.syncer.hands.clock.now();
        let (number, cookie, asked) = (self.place, cookie.to_vec(), asked.to_owned());
        let place = Place { number, cookie, asked, at, refreshed_at };
        self.keep_at(Some(place)).await
    }

    async fn keep(&mut self) -> Result<(), SyncError> {
        self.keep_at(None).await
    }

    async fn keep_at(&mut self, place: Option<Place>) -> Result<(), SyncError> {
        let content = &self.content;
        let parts: Vec<_> = self
            .members
            .iter()
            .filter(|(_, member)| member.is_new)
            .map(|(code, member)| {
                let item = |uuid: &SyncUuid| Some((Uuid::from_bytes(uuid.0), content.get(uuid)?.clone()));
                let items = member.entries.iter().filter_map(item).collect();
                let published = member.books.entries().iter().map(|(guid, one)| (*guid, one.clone()));
                let part = Part { items, published: published.collect(), journal: member.books.kept_at() };
                (code.clone(), part)
            })
            .collect();
        let (store, first) = (Arc::clone(&self.syncer.hands.store), self.stamped.keys().next().cloned());
        let kept = tokio::task::spawn_blocking(move || {
            watched::keep(&store, &parts, first.as_ref().zip(place.as_ref()))
        });
        kept.await??;
        // only now: a part that was not kept must not stay behind a later cookie
        self.members.values_mut().for_each(|member| member.is_new = false);
        Ok(())
    }
}

/// Waits; true when it is time to stop.
async fn pause(wait: Duration, stop: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = tokio::time::sleep(wait) => false,
        changed = stop.changed() => changed.is_err() || *stop.borrow(),
    }
}

/// Whether the directory offers what is needed.
async fn offered(directory: &mut Directory) -> Result<(), SyncError> {
    let root = directory.read_root_dse(&["supportedControl"]).await.map_err(SyncError::Target)?;
    if root.texts("supportedControl").any(|one| one == SyncRequest::OID) {
        return Ok(());
    }
    Err(SyncError::Unusable(
        "it does not offer content synchronisation (RFC 4533), so that drift is found by each run alone: on OpenLDAP add \
         `overlay syncprov`, on 389 Directory Server switch on the Content Synchronization and Retro Changelog plug-ins; or set \
         `observer.enabled: false`"
            .to_owned(),
    ))
}
