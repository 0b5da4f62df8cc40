//! Our own questions to a directory, over the crate `ldap3` behind the [`crate::directory::guard`].

use std::collections::HashSet;
use std::future::Future;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ldap3::asn1::{PL, StructureTag};
use ldap3::controls::RawControl as WireControl;
use ldap3::{
    Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, Mod, SearchEntry, SearchResult, StdStream,
};
use rustls::ClientConfig;
use tokio::net::UnixStream;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::directory::contain::contain;
use crate::directory::dial::{Peer, dial};
use crate::directory::endpoint::Endpoint;
use crate::directory::error::DirectoryError;
use crate::directory::guard::{Batch, Guard, Piece, relay};
use crate::directory::paging::{next_cookie, paged_control};
use crate::directory::request::{Change, Credential, Outcome, RawControl, Scope, Search, SearchDone};
use crate::directory::settings::Settings;
use crate::directory::sink::{Each, Sink};
use crate::ldap::entry::{Attribute, Entry};
use crate::ldap::filter::Filter;
use crate::secret::attributes::is_secret;

/// A bound connection. One question at a time; open several for parallel work. Dropping it closes it.
#[derive(Debug)]
pub struct Directory {
    ldap: Ldap,
    guard: Guard,
    driver: JoinHandle<()>,
    peer: Option<Peer>,
    settings: Settings,
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Bytes of the entries that a search keeps, all pages together; what a domain has in groups and places is a tenth of it.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// About what an entry takes.
fn size(entry: &Entry) -> usize {
    let values = |attribute: &Attribute| attribute.values.iter().map(|value| value.len() + 32).sum::<usize>();
    let attributes = entry.attributes.iter().map(|a| a.description.len() + values(a) + 64).sum::<usize>();
    entry.dn.len() + attributes + 64
}

impl Directory {
    /// Dials, speaks TLS as the endpoint says, and binds.
    pub async fn connect(
        endpoint: &Endpoint,
        tls: Arc<ClientConfig>,
        credential: &Credential,
        settings: &Settings,
    ) -> Result<Self, DirectoryError> {
        let mut directory = Self::open(endpoint, tls, settings).await?;
        directory.bind(credential).await?;
        Ok(directory)
    }

    /// Dials and speaks TLS as the endpoint says, without a bind.
    pub async fn open(
        endpoint: &Endpoint,
        tls: Arc<ClientConfig>,
        settings: &Settings,
    ) -> Result<Self, DirectoryError> {
        let dialled = dial(endpoint, tls, settings).await?;
        let ours = |error: std::io::Error| DirectoryError::Request(error.to_string());
        let (inside, outside) = StdUnixStream::pair().map_err(ours)?;
        outside.set_nonblocking(true).map_err(ours)?;
        let outside = UnixStream::from_std(outside).map_err(ours)?;
        let guard = relay(dialled.stream, outside, settings);
        let options = LdapConnSettings::new().set_std_stream(StdStream::Unix(inside));
        let (connection, ldap) = LdapConnAsync::with_settings(options, "ldapi://guard")
            .await
            .map_err(|error| DirectoryError::Request(error.to_string()))?;
        let driver = tokio::spawn(async move {
            // how it ended is told by the guard, and by the questions that get no answer
            let _ = contain(connection.drive()).await;
        });
        Ok(Directory { ldap, guard, driver, peer: dialled.peer, settings: settings.clone() })
    }

    /// A simple bind whose outcome is the answer: for probes, with an empty password or a made-up name.
    pub async fn try_bind(&mut self, name: &str, password: &str) -> Result<Outcome, DirectoryError> {
        let mut ldap = self.ldap.clone();
        self.answer("the bind", ldap.simple_bind(name, password)).await.map(outcome)
    }

    /// What the other side showed of itself during the TLS handshake.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// The settings it was opened with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    async fn bind(&mut self, credential: &Credential) -> Result<(), DirectoryError> {
        let mut ldap = self.ldap.clone();
        let result = match credential {
            Credential::Anonymous => return Ok(()),
            Credential::Simple { password, .. } if password.is_empty() => {
                return Err(DirectoryError::Request("an empty password binds as nobody".to_owned()));
            }
            Credential::Simple { name, password } => {
                self.answer("the bind", ldap.simple_bind(name, password.expose())).await?
            }
            Credential::External => self.answer("the bind", ldap.sasl_external_bind()).await?,
        };
        match result.rc {
            0 => Ok(()),
            code => Err(DirectoryError::BindRefused { code, text: result.text }),
        }
    }

    /// Searches, page by page, and gives each entry to `on_entry` as it comes. A result code other than success is no
    /// error: see [`SearchDone::is_complete`]. Attributes that hold secrets are dropped should they come unasked.
    pub async fn search(
        &mut self,
        search: &Search,
        on_entry: impl FnMut(Entry) + Send,
    ) -> Result<SearchDone, DirectoryError> {
        self.search_into(search, &mut Each(on_entry)).await
    }

    /// The same, for whoever needs time for what comes: the directory waits meanwhile, so that nothing piles up.
    pub async fn search_into<S: Sink>(
        &mut self,
        search: &Search,
        sink: &mut S,
    ) -> Result<SearchDone, S::Error> {
        search.check()?;
        let filter = search.filter.to_string();
        let most = search.entries.unwrap_or(u64::MAX).min(self.settings.entries);
        let mut done = nothing_yet();
        let mut cookie = Vec::new();
        loop {
            let mut controls = search.controls.clone();
            if let Some(size) = search.page_size {
                controls.push(paged_control(size.max(1), &cookie));
            }
            let before = done.entries;
            self.page(search, &filter, controls, most, &mut done, sink).await?;
            done.pages += 1;
            let paged = search.page_size.is_some() && done.code == 0 && !done.stopped;
            match if paged { next_cookie(&done.controls)? } else { None } {
                // a directory that never moves on would keep us for ever (Samba keeps the cookie, but brings entries)
                Some(next) if next == cookie && done.entries == before => {
                    return Err(
                        DirectoryError::Malformed("an empty page that leads to itself".to_owned()).into()
                    );
                }
                Some(next) => cookie = next,
                None => return Ok(done),
            }
        }
    }

    async fn page<S: Sink>(
        &mut self,
        search: &Search,
        filter: &str,
        controls: Vec<RawControl>,
        most: u64,
        done: &mut SearchDone,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        const WHAT: &str = "a search";
        let scope = wire_scope(search.scope);
        let mut ldap = self.ldap.clone();
        ldap.with_controls(controls.into_iter().map(to_wire).collect::<Vec<_>>());
        // entries come past `ldap3`, everything else through it
        let mut tap = self.guard.watch.tap();
        let started = ldap.streaming_search(&search.base, scope, filter, search.attributes.clone());
        let mut stream = self.answer(WHAT, started).await?;
        let id = stream.ldap_handle().last_id();
        loop {
            let taking = Taking { id, most, done, sink };
            match self.arrival(WHAT, &mut tap, stream.next(), taking).await? {
                Arrival::Item(item) if item.is_intermediate() => {}
                Arrival::Item(item) if item.is_ref() => done.referrals.extend(texts(item.0)),
                Arrival::Item(_) => {
                    return Err(DirectoryError::Malformed("an entry that nobody asked for".to_owned()).into());
                }
                Arrival::End => break,
                Arrival::Enough => {
                    done.stopped = true;
                    let mut ldap = self.ldap.clone();
                    self.answer("an abandon", ldap.abandon(id)).await?;
                    return Ok(());
                }
            }
        }
        let result = stream.finish().await;
        done.code = result.rc;
        done.text = result.text;
        done.controls = result.ctrls.into_iter().map(|control| from_wire(control.1)).collect();
        Ok(())
    }

    /// Searches and keeps every entry; for small answers. Beyond [`KEPT_BYTES_MAX`] nothing more is kept and the search counts as stopped:
    /// each page has bounds of its own, and there may be any number of them.
    pub async fn read(&mut self, search: &Search) -> Result<(Vec<Entry>, SearchDone), DirectoryError> {
        let (mut entries, mut left) = (Vec::new(), Some(KEPT_BYTES_MAX));
        let mut done = self
            .search(search, |entry| {
                left = left.and_then(|left| left.checked_sub(size(&entry)));
                if left.is_some() {
                    entries.push(entry);
                }
            })
            .await?;
        done.stopped |= left.is_none();
        Ok((entries, done))
    }

    /// The root DSE (RFC 4512 section 5.1) with these attributes.
    pub async fn read_root_dse(&mut self, attributes: &[&str]) -> Result<Entry, DirectoryError> {
        let everything = Filter::Present("objectClass".into());
        let (mut entries, done) = self.read(&Search::new("", Scope::Base, everything, attributes)).await?;
        entries
            .pop()
            .ok_or_else(|| DirectoryError::Malformed(format!("no root DSE, result code {}", done.code)))
    }

    /// Runs a search that has no pages and may never end, a synchronisation (RFC 4533), and gives what comes to `to`, in its order;
    /// whoever is slow there makes the directory wait. Ends with the search. While nothing comes the directory is asked for a
    /// sign of life every `beat`.
    pub async fn follow(
        &mut self,
        search: &Search,
        to: &Sender<Piece>,
        beat: Duration,
    ) -> Result<SearchDone, DirectoryError> {
        const WHAT: &str = "a synchronisation";
        search.check()?;
        let mut ldap = self.ldap.clone();
        ldap.with_controls(search.controls.iter().cloned().map(to_wire).collect::<Vec<_>>());
        let mut tap = self.guard.watch.tap_everything();
        let filter = search.filter.to_string();
        let started =
            ldap.streaming_search(&search.base, wire_scope(search.scope), &filter, search.attributes.clone());
        let mut stream = self.answer(WHAT, started).await?;
        let id = stream.ldap_handle().last_id();
        let mut done = nothing_yet();
        let end = {
            let mut next = pin!(contain(stream.next()));
            loop {
                let arrived = async {
                    tokio::select! {
                        // what is left is looked at when the end is known
                        biased;
                        Some(batch) = tap.recv() => Ok(batch),
                        item = &mut next => Err(item),
                    }
                };
                match timeout(beat, arrived).await {
                    Ok(Ok(batch)) => {
                        // one operation, of any length: what counts is what comes at once
                        self.guard.watch.begin_operation();
                        if !hand_on(batch, id, &mut done, to).await {
                            let mut ldap = self.ldap.clone();
                            self.answer("an abandon", ldap.abandon(id)).await?;
                            done.stopped = true;
                            return Ok(done);
                        }
                    }
                    Ok(Err(item)) => break item,
                    Err(_) => self.is_alive().await?,
                }
            }
        };
        match end {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(_))) => {
                return Err(DirectoryError::Malformed("a reference where entries were due".to_owned()));
            }
            Ok(Err(error)) => return Err(self.explain(error).await),
            Err(_) => return Err(DirectoryError::Malformed("an answer that cannot be read".to_owned())),
        }
        while let Ok(batch) = tap.try_recv() {
            if !hand_on(batch, id, &mut done, to).await {
                done.stopped = true;
            }
        }
        let result = stream.finish().await;
        done.code = result.rc;
        done.text = result.text;
        done.controls = result.ctrls.into_iter().map(|control| from_wire(control.1)).collect();
        Ok(done)
    }

    /// Whether there is an answer to the smallest question.
    async fn is_alive(&self) -> Result<(), DirectoryError> {
        let mut ldap = self.ldap.clone();
        let asked = ldap.search("", ldap3::Scope::Base, "(objectClass=*)", vec!["1.1"]);
        self.answer("a sign of life", asked).await.map(|_| ())
    }

    /// Reads one small entry; none when the result code is another than success. Other requests may be under way meanwhile.
    pub async fn read_entry(
        &self,
        dn: &str,
        attributes: &[&str],
    ) -> Result<(Option<Entry>, Outcome), DirectoryError> {
        let mut ldap = self.ldap.clone();
        let asked = ldap.search(dn, ldap3::Scope::Base, "(objectClass=*)", attributes);
        let SearchResult(entries, result) = self.answer("a read", asked).await?;
        let entry = entries.into_iter().next().filter(|_| result.rc == 0).map(|entry| {
            let SearchEntry { dn, attrs, bin_attrs } = SearchEntry::construct(entry);
            let texts = attrs
                .into_iter()
                .map(|(name, texts)| (name, texts.into_iter().map(String::into_bytes).collect::<Vec<_>>()));
            let attributes = texts
                .chain(bin_attrs)
                .filter(|(name, _)| !is_secret(name))
                .map(|(description, values)| Attribute { description, values });
            Entry { dn, attributes: attributes.collect() }
        });
        Ok((entry, outcome(result)))
    }

    /// Adds an entry. Of this and the other writes several may be under way at the same time.
    pub async fn add(
        &self,
        dn: &str,
        attributes: &[Attribute],
        controls: Vec<RawControl>,
    ) -> Result<Outcome, DirectoryError> {
        let attributes = attributes
            .iter()
            .map(|a| (a.description.clone().into_bytes(), a.values.iter().cloned().collect::<HashSet<_>>()))
            .collect();
        let mut ldap = self.ldap.clone();
        ldap.with_controls(controls.into_iter().map(to_wire).collect::<Vec<_>>());
        self.answer("an add", ldap.add(dn, attributes)).await.map(outcome)
    }

    /// Changes an entry, all changes or none.
    pub async fn modify(
        &self,
        dn: &str,
        changes: &[Change],
        controls: Vec<RawControl>,
    ) -> Result<Outcome, DirectoryError> {
        let set = |values: &[Vec<u8>]| values.iter().cloned().collect::<HashSet<_>>();
        let changes = changes
            .iter()
            .map(|change| match change {
                Change::Add { attribute, values } => Mod::Add(attribute.clone().into_bytes(), set(values)),
                Change::Delete { attribute, values } => {
                    Mod::Delete(attribute.clone().into_bytes(), set(values))
                }
                Change::Replace { attribute, values } => {
                    Mod::Replace(attribute.clone().into_bytes(), set(values))
                }
            })
            .collect();
        let mut ldap = self.ldap.clone();
        ldap.with_controls(controls.into_iter().map(to_wire).collect::<Vec<_>>());
        self.answer("a modify", ldap.modify(dn, changes)).await.map(outcome)
    }

    /// Renames an entry, and moves it when `superior` is given.
    pub async fn rename(
        &self,
        dn: &str,
        rdn: &str,
        delete_old: bool,
        superior: Option<&str>,
        controls: Vec<RawControl>,
    ) -> Result<Outcome, DirectoryError> {
        let mut ldap = self.ldap.clone();
        ldap.with_controls(controls.into_iter().map(to_wire).collect::<Vec<_>>());
        self.answer("a rename", ldap.modifydn(dn, rdn, delete_old, superior)).await.map(outcome)
    }

    /// Deletes an entry.
    pub async fn delete(&self, dn: &str, controls: Vec<RawControl>) -> Result<Outcome, DirectoryError> {
        let mut ldap = self.ldap.clone();
        ldap.with_controls(controls.into_iter().map(to_wire).collect::<Vec<_>>());
        self.answer("a delete", ldap.delete(dn)).await.map(outcome)
    }

    /// Says goodbye and closes.
    pub async fn unbind(mut self) {
        let _ = timeout(Duration::from_secs(1), contain(self.ldap.unbind())).await;
    }

    async fn answer<T>(
        &self,
        what: &'static str,
        question: impl Future<Output = Result<T, LdapError>>,
    ) -> Result<T, DirectoryError> {
        self.guard.watch.begin_operation();
        let after = self.settings.answer_timeout();
        match timeout(after, contain(question)).await {
            Err(_) => Err(DirectoryError::TimedOut { what, after }),
            Ok(Err(_)) => Err(DirectoryError::Malformed("an answer that cannot be read".to_owned())),
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(error))) => Err(self.explain(error).await),
        }
    }

    /// What `ldap3` has for us next. Entries that come before it are given to `taking`, which says when it has enough. Each of them, and
    /// the item, has the whole time for one answer.
    async fn arrival<T, S: Sink>(
        &self,
        what: &'static str,
        tap: &mut Receiver<Batch>,
        next: impl Future<Output = Result<Option<T>, LdapError>>,
        mut taking: Taking<'_, S>,
    ) -> Result<Arrival<T>, S::Error> {
        let after = self.settings.answer_timeout();
        let mut next = pin!(contain(next));
        loop {
            let either = async {
                tokio::select! {
                    // what is left of the entries is looked at when the end is known
                    biased;
                    Some(batch) = tap.recv() => Ok(batch),
                    item = &mut next => Err(item),
                }
            };
            match timeout(after, either).await {
                Err(_) => return Err(DirectoryError::TimedOut { what, after }.into()),
                Ok(Ok(batch)) => {
                    if !taking.batch(batch).await? {
                        return Ok(Arrival::Enough);
                    }
                }
                Ok(Err(Ok(Ok(Some(item))))) => return Ok(Arrival::Item(item)),
                Ok(Err(Ok(Ok(None)))) => break,
                Ok(Err(Ok(Err(error)))) => return Err(self.explain(error).await.into()),
                Ok(Err(Err(_))) => {
                    return Err(DirectoryError::Malformed("an answer that cannot be read".to_owned()).into());
                }
            }
        }
        while let Ok(batch) = tap.try_recv() {
            if !taking.batch(batch).await? {
                return Ok(Arrival::Enough);
            }
        }
        Ok(Arrival::End)
    }

    /// An error of `ldap3` says little when the connection ended; the guard knows why.
    async fn explain(&self, error: LdapError) -> DirectoryError {
        match error {
            LdapError::FilterParsing | LdapError::AddNoValues => DirectoryError::Request(error.to_string()),
            error => {
                // the relay writes its reason just after it lets go of the connection
                for _ in 0..20 {
                    if let Some(fault) = self.guard.watch.fault() {
                        return if fault.is_protocol {
                            DirectoryError::Malformed(fault.text)
                        } else {
                            DirectoryError::closed(&fault.text)
                        };
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                DirectoryError::Closed(error.to_string())
            }
        }
    }
}

fn nothing_yet() -> SearchDone {
    SearchDone {
        code: 0,
        text: String::new(),
        controls: Vec::new(),
        pages: 0,
        entries: 0,
        referrals: Vec::new(),
        stopped: false,
    }
}

fn wire_scope(scope: Scope) -> ldap3::Scope {
    match scope {
        Scope::Base => ldap3::Scope::Base,
        Scope::One => ldap3::Scope::OneLevel,
        Scope::Subtree => ldap3::Scope::Subtree,
    }
}

/// Gives the parts of the answer `id` on, without what holds a secret; false when nobody takes them any more.
async fn hand_on(batch: Batch, id: i32, done: &mut SearchDone, to: &Sender<Piece>) -> bool {
    for (_, mut piece) in batch.into_iter().filter(|(of, _)| *of == id) {
        if let Piece::Entry(entry) | Piece::Controlled(entry, _) = &mut piece {
            done.entries += 1;
            entry.attributes.retain(|attribute| !is_secret(&attribute.description));
        }
        if to.send(piece).await.is_err() {
            return false;
        }
    }
    true
}

fn to_wire(control: RawControl) -> WireControl {
    WireControl { ctype: control.oid, crit: control.critical, val: control.value }
}

fn from_wire(control: WireControl) -> RawControl {
    RawControl { oid: control.ctype, critical: control.crit, value: control.val }
}

fn outcome(result: LdapResult) -> Outcome {
    let controls = result.ctrls.into_iter().map(|control| from_wire(control.1)).collect();
    Outcome { code: result.rc, text: result.text, controls }
}

/// What came of waiting for a search.
enum Arrival<T> {
    /// Something that is no entry.
    Item(T),
    /// Every entry was given.
    End,
    /// More entries came than are wanted.
    Enough,
}

/// What a search brings, on its way to whom it is for.
struct Taking<'a, S> {
    id: i32,
    most: u64,
    done: &'a mut SearchDone,
    sink: &'a mut S,
}

impl<S: Sink> Taking<'_, S> {
    /// Gives entries of this search on, without what holds a secret; false when there are more than wanted.
    async fn batch(&mut self, batch: Batch) -> Result<bool, S::Error> {
        let mut entries = Vec::with_capacity(batch.len());
        let mut enough = false;
        for (of, piece) in batch {
            // an answer to another question, one that was given up, is nothing to this one
            let Piece::Entry(mut entry) = piece else { continue };
            if of != self.id {
                continue;
            }
            if self.done.entries >= self.most {
                enough = true;
                break;
            }
            self.done.entries += 1;
            entry.attributes.retain(|attribute| !is_secret(&attribute.description));
            entries.push(entry);
        }
        self.sink.take(entries).await?;
        Ok(!enough)
    }
}

fn texts(tag: StructureTag) -> Vec<String> {
    children(tag).unwrap_or_default().into_iter().filter_map(text).collect()
}

fn children(tag: StructureTag) -> Option<Vec<StructureTag>> {
    match tag.payload {
        PL::C(children) => Some(children),
        PL::P(_) => None,
    }
}

fn bytes(tag: StructureTag) -> Option<Vec<u8>> {
    match tag.payload {
        PL::P(bytes) => Some(bytes),
        PL::C(_) => None,
    }
}

fn text(tag: StructureTag) -> Option<String> {
    bytes(tag).and_then(|bytes| String::from_utf8(bytes).ok())
}
