//! A directory that is held as data and asked over LDAPS, and the ways in which it misbehaves when it is told to.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis::assess::probes::descriptor::sid as sid_text;
use portcullis::ldap::message::{ResultCode, Search};

use super::served::{Served, Values};

pub const BASE: &str = "DC=scripted,DC=test";
/// Who may log on, and with what.
pub const ACCOUNT: &str = "svc-portcullis@scripted.test";
pub const PASSWORD: &str = "scripted-only";

/// An object: attributes by name in lower case.
#[derive(Debug, Clone)]
pub struct Entry {
    pub dn: String,
    attributes: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Entry {
    pub fn new(dn: &str) -> Entry {
        Entry { dn: dn.to_owned(), attributes: BTreeMap::new() }
    }

    pub fn with(mut self, name: &str, value: impl Into<Vec<u8>>) -> Entry {
        self.set(name, value);
        self
    }

    pub fn with_all(mut self, name: &str, values: &[&str]) -> Entry {
        self.set_all(name, values);
        self
    }

    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.attributes.insert(name.to_lowercase(), vec![value.into()]);
    }

    pub fn set_all(&mut self, name: &str, values: &[&str]) {
        self.attributes.insert(name.to_lowercase(), values.iter().map(|v| v.as_bytes().to_vec()).collect());
    }

    pub fn add(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.attributes.entry(name.to_lowercase()).or_default().push(value.into());
    }

    /// It has none of these any more, or our account may not read them: a directory answers both alike.
    pub fn hide(&mut self, names: &[&str]) {
        self.attributes.retain(|name, _| !names.iter().any(|gone| gone.eq_ignore_ascii_case(name)));
    }

    fn values(&self, name: &str) -> Values {
        self.attributes.get(name).into_iter().flatten().map(|value| Cow::Owned(value.clone())).collect()
    }
}

/// How a search goes wrong.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// So many entries come, then this result code.
    Ends(usize, u32),
    /// Every page takes so long.
    Slow(Duration),
}

/// Which searches go wrong, and how.
#[derive(Debug, Clone, Copy)]
pub struct Trouble {
    /// A part of base, a space, and filter.
    pub search: &'static str,
    /// Only from the second page on.
    pub later: bool,
    pub fault: Fault,
}

/// Objects that come to stand elsewhere in the middle of a pass.
#[derive(Debug, Clone, Default)]
pub struct Moves {
    /// From the first search on whose base, a space, and filter hold this.
    pub at: &'static str,
    /// From where to where, whole DNs.
    pub all: Vec<(String, String)>,
    done: Arc<AtomicBool>,
}

impl Moves {
    /// They begin with this search.
    pub fn at(search: &'static str, all: &[(&str, &str)]) -> Moves {
        let below = |(from, to): &(&str, &str)| (format!("{from},{BASE}"), format!("{to},{BASE}"));
        Moves { at: search, all: all.iter().map(below).collect(), done: Arc::default() }
    }
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Directory {
    pub entries: Vec<Entry>,
    pub root: Entry,
    pub takes_empty_passwords: bool,
    pub troubles: Vec<Trouble>,
    /// Values of `member` that come at once ([MS-ADTS] section 3.1.1.3.1.3.3).
    pub range: usize,
    /// Values that are left out between one range and the next.
    pub gap: usize,
    pub moves: Moves,
}

impl Directory {
    /// The one entry whose DN begins with these whole parts.
    pub fn at(&mut self, start: &str) -> &mut Entry {
        let (whole, part) = (start.to_lowercase(), format!("{},", start.to_lowercase()));
        let is_it = |entry: &&mut Entry| {
            let dn = entry.dn.to_lowercase();
            dn == whole || dn.starts_with(&part)
        };
        self.entries.iter_mut().find(is_it).unwrap_or_else(|| panic!("no entry {start}"))
    }

    pub fn put(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    pub fn remove(&mut self, start: &str) {
        let dn = self.at(start).dn.clone();
        self.entries.retain(|entry| entry.dn != dn);
    }

    /// Makes an entry a member of a group, on both sides.
    pub fn join(&mut self, member: &str, group: &str) {
        let (member_dn, group_dn) = (self.at(member).dn.clone(), self.at(group).dn.clone());
        self.at(member).add("memberOf", group_dn);
        self.at(group).add("member", member_dn);
    }

    /// A range of the members of a group.
    fn members(&self, at: usize, name: &str) -> (String, Values) {
        let from = name.strip_prefix("member;range=").and_then(|range| range.split('-').next());
        let from: usize = from.and_then(|from| from.parse().ok()).unwrap_or(0);
        let all = self.entries[at].values("member");
        if all.is_empty() || from >= all.len() {
            return ("member".to_owned(), Vec::new());
        }
        if from == 0 && all.len() <= self.range {
            return ("member".to_owned(), all);
        }
        let from = if from == 0 { 0 } else { from + self.gap };
        let some: Values = all.iter().skip(from).take(self.range).cloned().collect();
        let last = from + some.len();
        let end = if last >= all.len() { "*".to_owned() } else { (last - 1).to_string() };
        (format!("member;range={from}-{end}"), some)
    }
}

impl Served for Directory {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn dn(&self, at: usize) -> String {
        let dn = &self.entries[at].dn;
        let moved = || self.moves.all.iter().find(|(from, _)| from == dn).map(|(_, to)| to);
        match self.moves.done.load(Ordering::SeqCst) {
            true => moved().unwrap_or(dn).clone(),
            false => dn.clone(),
        }
    }

    fn values(&self, at: usize, name: &str) -> Values {
        self.entries[at].values(name)
    }

    fn contexts(&self) -> Vec<String> {
        let domain = BASE.to_lowercase();
        let below =
            ["cn=configuration", "cn=schema,cn=configuration", "dc=domaindnszones", "dc=forestdnszones"];
        below.iter().map(|name| format!("{name},{domain}")).chain([domain.clone()]).collect()
    }

    fn root(&self) -> Vec<(String, Values)> {
        self.root.attributes.keys().map(|name| (name.clone(), self.root.values(name))).collect()
    }

    fn bind(&self, name: &str, password: &[u8]) -> ResultCode {
        match password {
            [] if self.takes_empty_passwords => ResultCode::SUCCESS,
            _ if name == ACCOUNT && password == PASSWORD.as_bytes() => ResultCode::SUCCESS,
            _ => ResultCode::INVALID_CREDENTIALS,
        }
    }

    fn answers_anybody(&self) -> bool {
        false
    }

    fn attribute<'w>(&self, at: usize, wanted: &'w str, name: &str) -> (Cow<'w, str>, Values) {
        match name == "member" || name.starts_with("member;range=") {
            true => {
                let (shown, values) = self.members(at, name);
                (shown.into(), values)
            }
            false => (wanted.into(), self.values(at, name)),
        }
    }

    fn extended(&self, values: Values) -> Values {
        let known = |dn: &[u8]| {
            let entry = self.entries.iter().find(|entry| entry.dn.as_bytes().eq_ignore_ascii_case(dn))?;
            Some(entry.values("objectsid").first().and_then(|sid| sid_text(sid)).map(|(sid, _)| sid))
        };
        let told = |dn: Cow<'static, [u8]>| match known(&dn) {
            Some(Some(sid)) => [format!("<GUID=1-2>;<SID={sid}>;").as_bytes(), &dn].concat().into(),
            Some(None) => [b"<GUID=1-2>;", &dn[..]].concat().into(),
            None => dn,
        };
        values.into_iter().map(told).collect()
    }

    fn trouble(&self, search: &Search<'_>, from: usize) -> Option<(usize, ResultCode)> {
        let text = format!("{} {}", search.base, search.filter);
        if !self.moves.all.is_empty() && text.contains(self.moves.at) {
            self.moves.done.store(true, Ordering::SeqCst);
        }
        let applies = |trouble: &&Trouble| text.contains(trouble.search) && (from > 0 || !trouble.later);
        match self.troubles.iter().find(applies)?.fault {
            Fault::Ends(entries, code) => Some((entries, ResultCode(code))),
            Fault::Slow(pause) => {
                std::thread::sleep(pause);
                None
            }
        }
    }
}
