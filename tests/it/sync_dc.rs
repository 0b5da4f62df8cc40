//! Scripted domain controllers: what sync asks of an Active Directory, with what goes wrong in one. Each has its own copy, its own
//! numbers and its own faults; a test changes them while the program runs. Anything but a bind, a search and a farewell ends the test.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use portcullis::ldap::codec;
use portcullis::ldap::control::Control;
use portcullis::ldap::entry::{Attribute, Entry};
use portcullis::ldap::filter::Filter;
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{BindOutcome, Message, Operation, Outcome, ResultCode, Scope, Search};
use portcullis::ldap::truth::{Truth, evaluate};
use portcullis::ldap::typed_control::{DirSync, DirSyncAnswer, NOTIFICATION, PagedResults, SHOW_DELETED};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::sync_source::Object;

pub const BASE: &str = "DC=rxs,DC=test";
pub const CANARY: &str = "CN=Canary,DC=rxs,DC=test";
const SERVICE: &str = "CN=NTDS Settings,DC=rxs,DC=test";
const DIRECTORY_SERVICE: &str =
    "CN=Directory Service,CN=Windows NT,CN=Services,CN=Configuration,DC=rxs,DC=test";
const DELETED_OBJECTS: [u8; 16] = [0xde; 16];
/// What is told of deletions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletions {
    Told,
    /// Told, with nothing but the GUID: the account may not read them.
    Nameless,
    Hidden,
}

/// What befalls the next search that is no base search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// So many entries come, then this result.
    Code(usize, ResultCode),
    /// So many entries come, then the connection breaks.
    Break(usize),
}

#[derive(Debug)]
pub struct Dc {
    pub objects: BTreeMap<[u8; 16], Object>,
    /// highestCommittedUSN.
    pub usn: u64,
    pub host: String,
    pub invocation: [u8; 16],
    pub synchronized: bool,
    pub read_only: bool,
    pub deletions: Deletions,
    pub recycle_bin: bool,
    /// How DirSync is refused; only with a cookie, or always.
    pub refuse_cookie: bool,
    pub refuse_dirsync: Option<ResultCode>,
    /// How the wish to be told of changes is refused.
    pub refuse_notify: Option<ResultCode>,
    /// Those who are told of changes now.
    pub watchers: usize,
    /// Another value breaks the connections of those who are told of changes.
    pub cut: u32,
    /// How long it thinks before each answer.
    pub delay: Duration,
    /// Up to which number it has everything of whom.
    pub vector: Vec<([u8; 16], u64)>,
    /// Entries of a DirSync answer.
    pub page: usize,
    /// Values of one attribute that come at once.
    pub values: usize,
    /// Objects that our account cannot see.
    pub hidden: BTreeSet<[u8; 16]>,
    pub canary: bool,
    pub tombstone_days: u32,
    pub fault: Option<Fault>,
    /// What was asked: `dirsync`, `dirsync cookie`, `search FILTER`, `base DN`, `notify`.
    pub asked: Vec<String>,
}

impl Dc {
    pub fn new(host: &str, invocation: u8) -> Dc {
        Dc {
            objects: BTreeMap::new(),
            usn: 1_000,
            host: host.to_owned(),
            invocation: [invocation; 16],
            synchronized: true,
            read_only: false,
            deletions: Deletions::Told,
            recycle_bin: true,
            refuse_cookie: false,
            refuse_dirsync: None,
            refuse_notify: None,
            watchers: 0,
            cut: 0,
            delay: Duration::ZERO,
            vector: Vec::new(),
            page: 40,
            values: 1_500,
            hidden: BTreeSet::new(),
            canary: true,
            tombstone_days: 180,
            fault: None,
            asked: Vec::new(),
        }
    }

    /// Puts or changes an object.
    pub fn put(&mut self, guid: [u8; 16], mut object: Object) {
        self.usn += 1;
        object.version = self.usn;
        self.objects.insert(guid, object);
    }

    /// Changes an object in place.
    pub fn change(&mut self, guid: [u8; 16], change: impl FnOnce(&mut Object)) {
        let mut object = self.objects[&guid].clone();
        change(&mut object);
        self.put(guid, object);
    }

    /// Receives everything that another controller has.
    pub fn replicate(&mut self, from: &Dc) {
        for (guid, object) in &from.objects {
            let same = |mine: &Object| {
                (mine.parent, &mine.rdn, mine.deleted, &mine.attributes)
                    == (object.parent, &object.rdn, object.deleted, &object.attributes)
            };
            if !self.objects.get(guid).is_some_and(same) {
                self.put(*guid, object.clone());
            }
        }
        self.vector.retain(|(invocation, _)| *invocation != from.invocation);
        self.vector.push((from.invocation, from.usn));
    }

    fn dn(&self, guid: &[u8; 16]) -> String {
        let Some(object) = self.objects.get(guid) else { return BASE.to_owned() };
        match object.parent {
            _ if object.deleted => {
                format!(
                    "{}\\0ADEL:{},CN=Deleted Objects,{BASE}",
                    object.rdn,
                    uuid::Uuid::from_bytes_le(*guid)
                )
            }
            Some(parent) => format!("{},{}", object.rdn, self.dn(&parent)),
            None => BASE.to_owned(),
        }
    }

    /// Everything that the object has.
    fn full(&self, guid: &[u8; 16]) -> BTreeMap<String, Vec<Vec<u8>>> {
        let object = &self.objects[guid];
        let mut all: BTreeMap<String, Vec<Vec<u8>>> = object
            .attributes
            .iter()
            // a tombstone keeps its class and loses its category (MS-ADTS 3.1.1.5.5.1.1)
            .filter(|(name, _)| {
                !object.deleted || (self.recycle_bin && *name != "objectcategory") || *name == "objectclass"
            })
            .map(|(name, values)| (name.clone(), values.iter().map(|v| v.clone().into_bytes()).collect()))
            .collect();
        let name = object.rdn.split_once('=').unwrap().1.replace("\\0A", "\n");
        all.insert("name".into(), vec![name.into_bytes()]);
        all.insert("objectguid".into(), vec![guid.to_vec()]);
        all.insert("usnchanged".into(), vec![object.version.to_string().into_bytes()]);
        let parent = if object.deleted { Some(DELETED_OBJECTS) } else { object.parent };
        all.extend(parent.map(|parent| ("parentguid".to_owned(), vec![parent.to_vec()])));
        if object.deleted {
            all.insert("isdeleted".into(), vec![b"TRUE".to_vec()]);
            let lay = object.parent.unwrap();
            let named = format!("<GUID={}>;{}", uuid::Uuid::from_bytes_le(lay), self.dn(&lay));
            all.insert("lastknownparent".into(), vec![named.into_bytes()]);
        }
        all
    }

    fn whole(&self, guid: &[u8; 16]) -> Entry {
        let attributes = self.full(guid).into_iter();
        let attributes = attributes.map(|(description, values)| Attribute { description, values }).collect();
        Entry { dn: self.dn(guid), attributes }
    }

    /// The asked attributes. `removed`: those that it does not have come without values, as DirSync does it.
    fn entry(&self, guid: &[u8; 16], asked: &[std::borrow::Cow<'_, str>], removed: bool) -> Entry {
        let mut full = self.full(guid);
        let mut attributes = Vec::new();
        for asked in asked.iter().map(|name| name.to_lowercase()) {
            let (name, from) = match asked.split_once(";range=") {
                Some((name, range)) => (name.to_owned(), range.split_once('-').unwrap().0.parse().unwrap()),
                None => (asked.clone(), 0),
            };
            let Some(values) = full.remove(&name) else {
                if removed {
                    attributes.push(Attribute { description: name, values: Vec::new() });
                }
                continue;
            };
            if values.len() <= self.values && from == 0 {
                attributes.push(Attribute { description: name, values });
                continue;
            }
            let part: Vec<Vec<u8>> = values.iter().skip(from).take(self.values).cloned().collect();
            let last = from + part.len() >= values.len();
            let high = if last { "*".to_owned() } else { (from + part.len() - 1).to_string() };
            attributes.push(Attribute { description: name.clone(), values: Vec::new() });
            attributes.push(Attribute { description: format!("{name};range={from}-{high}"), values: part });
        }
        Entry { dn: self.dn(guid), attributes }
    }

    fn sees(&self, guid: &[u8; 16]) -> bool {
        !self.hidden.contains(guid) && (!self.objects[guid].deleted || self.deletions != Deletions::Hidden)
    }

    fn matching(&self, filter: &Filter<'_>) -> Vec<[u8; 16]> {
        let fits = |guid: &&[u8; 16]| self.sees(guid) && evaluate(filter, &self.whole(guid)) == Truth::True;
        self.objects.keys().filter(fits).copied().collect()
    }

    fn vector(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [2, 0, u32::try_from(self.vector.len()).unwrap(), 0] {
            out.extend(number.to_le_bytes());
        }
        for (invocation, usn) in &self.vector {
            out.extend(invocation);
            out.extend(usn.to_le_bytes());
            out.extend([0; 8]);
        }
        out
    }
}

/// What a search comes to: entries, the result, its controls, and whether the connection breaks before the result.
#[derive(Default)]
struct Answer {
    entries: Vec<Entry>,
    code: Option<ResultCode>,
    controls: Vec<Control<'static>>,
    breaks: bool,
}

impl Dc {
    fn answer(&mut self, search: &Search<'_>, controls: &[Control<'_>]) -> Answer {
        let mut answer = if let Some(control) = controls.iter().find(|control| control.oid == DirSync::OID) {
            self.dirsync(search, &DirSync::read(control.value.as_deref().unwrap()).unwrap())
        } else if let Some(control) = controls.iter().find(|control| control.oid == PagedResults::OID) {
            let deleted = controls.iter().any(|control| control.oid == SHOW_DELETED);
            self.paged(search, &PagedResults::read(control.value.as_deref().unwrap()).unwrap(), deleted)
        } else {
            self.asked.push(format!("base {}", search.base));
            return Answer { entries: self.base(search).into_iter().collect(), ..Answer::default() };
        };
        match self.fault {
            Some(Fault::Code(entries, code)) if answer.entries.len() >= entries => {
                answer.entries.truncate(entries);
                (answer.code, answer.controls, self.fault) = (Some(code), Vec::new(), None);
            }
            Some(Fault::Break(entries)) if answer.entries.len() >= entries => {
                answer.entries.truncate(entries);
                (answer.breaks, self.fault) = (true, None);
            }
            _ => {}
        }
        answer
    }

    fn dirsync(&mut self, search: &Search<'_>, asked: &DirSync) -> Answer {
        self.asked.push(if asked.cookie.is_empty() { "dirsync" } else { "dirsync cookie" }.to_owned());
        let refused = self
            .refuse_dirsync
            .or_else(|| (self.refuse_cookie && !asked.cookie.is_empty()).then_some(ResultCode(12)));
        if refused.is_some() {
            return Answer { code: refused, ..Answer::default() };
        }
        // a cookie of another controller means nothing here: everything is told again
        let from = match asked.cookie.split_at_checked(16) {
            Some((invocation, usn)) if invocation == self.invocation => {
                u64::from_be_bytes(usn.try_into().unwrap())
            }
            _ => 0,
        };
        let mut changed: Vec<([u8; 16], u64)> = self
            .matching(&search.filter)
            .into_iter()
            .map(|guid| (guid, self.objects[&guid].version))
            .filter(|(_, version)| *version > from)
            .collect();
        changed.sort_by_key(|(_, version)| *version);
        let more = changed.len() > self.page;
        changed.truncate(self.page);
        let to = if more { changed.last().unwrap().1 } else { self.usn };
        let cookie = [&self.invocation[..], &to.to_be_bytes()].concat();
        let entries = changed.iter().map(|(guid, _)| {
            if self.objects[guid].deleted && self.deletions == Deletions::Nameless {
                let description = "objectGUID".to_owned();
                let attributes = vec![Attribute { description, values: vec![guid.to_vec()] }];
                return Entry { dn: String::new(), attributes };
            }
            self.entry(guid, &search.attributes, true)
        });
        let entries = entries.collect();
        Answer { entries, controls: vec![DirSyncAnswer { more, cookie }.control()], ..Answer::default() }
    }

    fn paged(&mut self, search: &Search<'_>, page: &PagedResults, deleted: bool) -> Answer {
        self.asked.push(format!("search {}", search.filter));
        let all: Vec<[u8; 16]> = self
            .matching(&search.filter)
            .into_iter()
            .filter(|guid| self.objects[guid].deleted == deleted)
            .collect();
        let from: usize = String::from_utf8(page.cookie.clone()).unwrap().parse().unwrap_or(0);
        let part: Vec<[u8; 16]> = all.iter().skip(from).take(page.size as usize).copied().collect();
        let next = from + part.len();
        let cookie = if next < all.len() { next.to_string().into_bytes() } else { Vec::new() };
        let entries = part.iter().map(|guid| self.entry(guid, &search.attributes, false)).collect();
        Answer {
            entries,
            controls: vec![PagedResults { size: 0, cookie }.control(false)],
            ..Answer::default()
        }
    }

    fn base(&self, search: &Search<'_>) -> Option<Entry> {
        let entry = |attributes: &[(&str, Vec<u8>)]| {
            let attributes = attributes.iter().map(|(name, value)| Attribute {
                description: (*name).to_owned(),
                values: vec![value.clone()],
            });
            Some(Entry { dn: search.base.to_string(), attributes: attributes.collect() })
        };
        let dn = search.base.as_ref();
        if let Some(guid) = dn.strip_prefix("<GUID=").and_then(|rest| rest.strip_suffix('>')) {
            let guid = uuid::Uuid::parse_str(guid).unwrap().to_bytes_le();
            let there = self.objects.get(&guid).is_some_and(|object| !object.deleted) && self.sees(&guid);
            return there.then(|| self.entry(&guid, &search.attributes, false));
        }
        match dn {
            "" => entry(&[
                ("dsServiceName", SERVICE.into()),
                ("highestCommittedUSN", self.usn.to_string().into_bytes()),
                ("isSynchronized", if self.synchronized { "TRUE" } else { "FALSE" }.into()),
                ("dnsHostName", self.host.clone().into_bytes()),
                ("configurationNamingContext", b"CN=Configuration,DC=rxs,DC=test".to_vec()),
            ]),
            SERVICE => entry(&[
                ("invocationId", self.invocation.to_vec()),
                ("msDS-isRODC", if self.read_only { "TRUE" } else { "FALSE" }.into()),
            ]),
            DIRECTORY_SERVICE => {
                entry(&[("tombstoneLifetime", self.tombstone_days.to_string().into_bytes())])
            }
            BASE => entry(&[("objectClass", b"top".to_vec()), ("replUpToDateVector", self.vector())]),
            CANARY if !self.canary => None,
            _ if dn.starts_with("<WKGUID=") && self.deletions == Deletions::Hidden => None,
            _ => entry(&[("objectClass", b"top".to_vec())]),
        }
    }
}

/// Starts it on a port of its own; it serves until the test ends.
pub fn serve(dc: Arc<Mutex<Dc>>, tls: Arc<ServerConfig>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (dc, tls) = (dc.clone(), tls.clone());
            std::thread::spawn(move || {
                // a client that is killed breaks its connection: that ends the thread, nothing else
                let _ = session(stream, &dc, tls);
            });
        }
    });
    port
}

/// A search that never ends (MS-ADTS 3.1.1.3.4.1.9).
struct Watch {
    id: i32,
    /// Up to where it has told.
    seen: u64,
    cut: u32,
}

type Watching = Option<Watch>;

fn session(stream: TcpStream, dc: &Mutex<Dc>, tls: Arc<ServerConfig>) -> std::io::Result<()> {
    let mut watching: Watching = None;
    let ended = talk(stream, dc, tls, &mut watching);
    dc.lock().unwrap().watchers -= usize::from(watching.is_some());
    ended
}

fn talk(
    stream: TcpStream,
    dc: &Mutex<Dc>,
    tls: Arc<ServerConfig>,
    watching: &mut Watching,
) -> std::io::Result<()> {
    let mut connection = ServerConnection::new(tls).unwrap();
    let mut stream = stream;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    // from now on it looks now and then whether there is something to tell
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut stream = StreamOwned::new(connection, stream);
    let (limits, mut bytes, mut part) = (Limits::default(), Vec::new(), [0; 16 * 1024]);
    loop {
        while let Some(length) = codec::frame(&bytes, &limits).unwrap() {
            let rest = bytes.split_off(length);
            let mut out = Vec::new();
            let delay = dc.lock().unwrap().delay;
            std::thread::sleep(delay);
            let goes_on = answer(&bytes, &mut dc.lock().unwrap(), watching, &mut out);
            stream.write_all(&out)?;
            stream.flush()?;
            if !goes_on {
                return stream.sock.shutdown(std::net::Shutdown::Both);
            }
            bytes = rest;
        }
        let mut out = Vec::new();
        if !tell(&dc.lock().unwrap(), watching, &mut out) {
            return stream.sock.shutdown(std::net::Shutdown::Both);
        }
        stream.write_all(&out)?;
        stream.flush()?;
        match stream.read(&mut part) {
            Ok(0) => return Ok(()),
            Ok(read) => bytes.extend_from_slice(&part[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
}

fn put(id: i32, operation: Operation<'_>, controls: Vec<Control<'_>>, out: &mut Vec<u8>) {
    codec::encode(&Message { id, operation, controls }, out);
}

/// Answers one message; false ends the connection.
fn answer(bytes: &[u8], dc: &mut MutexGuard<'_, Dc>, watching: &mut Watching, out: &mut Vec<u8>) -> bool {
    let message = codec::decode(bytes, &Limits::default()).unwrap();
    let id = message.id;
    match &message.operation {
        Operation::BindRequest(_) => {
            let outcome = BindOutcome { outcome: Outcome::new(ResultCode::SUCCESS, ""), credentials: None };
            put(id, Operation::BindResponse(outcome), Vec::new(), out);
        }
        Operation::SearchRequest(search) if message.controls.iter().any(|c| c.oid == NOTIFICATION) => {
            dc.asked.push("notify".to_owned());
            let control = message.controls.iter().find(|c| c.oid == NOTIFICATION).unwrap();
            assert!(control.critical && control.value.is_none() && message.controls.len() == 1);
            // Samba tells nobody of less than everything, and nothing of a person is to come unasked
            let asked =
                (search.base.as_ref(), search.scope, search.filter.to_string(), &search.attributes[..]);
            let everything = (BASE, Scope::Subtree, "(objectClass=*)".to_owned(), &["objectGUID".into()][..]);
            assert_eq!(asked, everything);
            if let Some(code) = dc.refuse_notify {
                put(id, Operation::SearchDone(Outcome::new(code, "no")), Vec::new(), out);
                return true;
            }
            dc.watchers += usize::from(watching.is_none());
            *watching = Some(Watch { id, seen: dc.usn, cut: dc.cut });
        }
        Operation::SearchRequest(search) => {
            let answer = dc.answer(search, &message.controls);
            for entry in &answer.entries {
                put(id, Operation::SearchEntry(entry.as_wire()), Vec::new(), out);
            }
            if answer.breaks {
                return false;
            }
            let outcome = Outcome::new(answer.code.unwrap_or(ResultCode::SUCCESS), "");
            put(id, Operation::SearchDone(outcome), answer.controls, out);
        }
        Operation::AbandonRequest(_) => dc.watchers -= usize::from(watching.take().is_some()),
        Operation::UnbindRequest => return false,
        other => {
            dc.asked.push("WRITE".to_owned());
            panic!("sync must only read a member directory, and sent {other:?}");
        }
    }
    true
}

/// Tells of what changed; false ends the connection.
fn tell(dc: &Dc, watching: &mut Watching, out: &mut Vec<u8>) -> bool {
    let Some(watch) = watching else { return true };
    if watch.cut != dc.cut {
        return false;
    }
    let new = dc.objects.iter().filter(|(_, object)| object.version > watch.seen);
    for (guid, _) in new {
        let entry = dc.entry(guid, &["objectGUID".into()], false);
        put(watch.id, Operation::SearchEntry(entry.as_wire()), Vec::new(), out);
    }
    watch.seen = dc.usn;
    true
}
