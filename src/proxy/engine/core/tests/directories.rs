//! Directories that page by themselves and forget what they are told to forget, and clients that ask for pages.

use super::*;
use crate::ldap::message::ResultCode;
use crate::ldap::typed_control::PagedResults;

pub(super) const WHOLE: &str = "o=federation";
pub(super) const OPEN: &str = "\
kind: Release
id: test
title: The agreement of these tests
purpose: To test.
audience: { category: application, members: all }
targets: { members: all, national: false }
attributes: [uid, cn, sn, mail, description]
limits: { size: 100, time: 30s, rate: 5000/s, in_flight: 500 }
until: 2099-12-31
";

/// Members' directories. A cookie is good once, on its connection, with the request that it was given for.
#[derive(Default)]
pub(super) struct Directories {
    entries: HashMap<String, Vec<Entry>>,
    pub(super) live: HashMap<Vec<u8>, (usize, Vec<u8>, usize)>,
    given: usize,
    /// Sizes of the pages that were asked for, 0 for a result that was given up.
    pub(super) asked: Vec<u32>,
    /// Entries that are sent beyond the page's size.
    pub(super) excess: usize,
    ready: Vec<usize>,
}

impl Directories {
    pub(super) fn with(mut self, member: &str, entries: Vec<Entry>) -> Self {
        self.entries.insert(member.to_owned(), entries);
        self
    }

    /// Makes connections that were asked for and answers everything, until nothing is asked any more.
    pub(super) fn serve(&mut self, rig: &mut Rig) {
        loop {
            let mut busy = false;
            self.ready.retain(|upstream| rig.dialled.contains(upstream));
            for upstream in rig.dialled.clone() {
                if !self.ready.contains(&upstream) {
                    rig.engine.upstream_opened(upstream);
                    rig.asked(upstream);
                    rig.tell(upstream, BIND_ID, Wire::BindResponse(BindOutcome::default()));
                    self.ready.push(upstream);
                }
                for question in rig.asked(upstream) {
                    busy = true;
                    self.answer(rig, upstream, &question);
                }
            }
            if !busy {
                return;
            }
        }
    }

    pub(super) fn answer(&mut self, rig: &mut Rig, upstream: usize, question: &[u8]) {
        let message = codec::decode(question, &Limits::from_directory()).unwrap();
        let (id, Wire::SearchRequest(search)) = (message.id, &message.operation) else { return };
        if search.base.is_empty() {
            // whether it is still there
            return rig.tell(upstream, id, done());
        }
        let member = rig.servers[&upstream].clone();
        let suffix = format!(",{}", local(&member));
        assert!(format!(",{}", search.base).ends_with(&suffix), "{} was asked for {}", member, search.base);
        let entries = self.entries.get(&member).cloned().unwrap_or_default();
        let request = format!("{search:?}").into_bytes();
        let Some(control) = message.controls.iter().find(|control| control.oid == PAGED) else {
            for entry in &entries {
                rig.tell(upstream, id, Wire::SearchEntry(entry.as_wire()));
            }
            return rig.tell(upstream, id, done());
        };
        let page = PagedResults::read(control.value.as_deref().unwrap()).unwrap();
        self.asked.push(page.size);
        let from = match page.cookie.is_empty() {
            true => 0,
            false => {
                let (on, of, from) = self.live.remove(&page.cookie).expect("a cookie that was not given");
                assert_eq!((on, &of), (upstream, &request), "the cookie is not good here");
                from
            }
        };
        let mut end = from;
        if page.size > 0 {
            end = (from + page.size as usize + self.excess).min(entries.len());
            for entry in &entries[from..end] {
                rig.tell(upstream, id, Wire::SearchEntry(entry.as_wire()));
            }
        }
        let mut cookie = Vec::new();
        if page.size > 0 && end < entries.len() {
            self.given += 1;
            cookie = format!("cookie {}", self.given).into_bytes();
            self.live.insert(cookie.clone(), (upstream, request, end));
        }
        let answer = PagedResults { size: entries.len() as u32, cookie }.control(false);
        let more = Message { id, operation: done(), controls: vec![answer] };
        rig.engine.upstream_bytes(upstream, &codec::to_bytes(&more));
        rig.wishes();
    }
}

/// The persons `names` of `member`; a name with a `-` is one whose description must not come out.
pub(super) fn staff(member: &str, names: &[&str]) -> Vec<Entry> {
    let attribute = |description: &str, value: String| Attribute {
        description: description.to_owned(),
        values: vec![value.into_bytes()],
    };
    let one = |name: &&str| Entry {
        dn: format!("CN={name},OU=Staff,{}", local(member)),
        attributes: vec![
            attribute("objectClass", "user".to_owned()),
            attribute("cn", (*name).to_owned()),
            attribute("sAMAccountName", name.to_lowercase()),
            attribute(
                "description",
                match name.starts_with('-') {
                    true => format!("see CN=x,{}", local(member)),
                    false => "note".to_owned(),
                },
            ),
            attribute("employeeNumber", format!("hidden {name}")),
        ],
    };
    names.iter().map(one).collect()
}

/// What came of one page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) names: Vec<String>,
    pub(super) code: ResultCode,
    pub(super) text: String,
    pub(super) controls: Vec<Control<'static>>,
    pub(super) entries: Vec<Entry>,
}

impl Page {
    pub(super) fn cookie(&self) -> Vec<u8> {
        let control = self.controls.iter().find(|control| control.oid == PAGED).expect("no paging control");
        let paged = PagedResults::read(control.value.as_deref().unwrap()).unwrap();
        assert_eq!(paged.size, 0, "T07: an estimate counts what is hidden");
        paged.cookie
    }
}

pub(super) fn page_control(size: u32, cookie: &[u8]) -> Control<'static> {
    PagedResults { size, cookie: cookie.to_vec() }.control(true)
}

impl Rig {
    pub(super) fn say_with(
        &mut self,
        client: usize,
        search: &Search<'static>,
        controls: Vec<Control<'static>>,
    ) {
        let operation = Wire::SearchRequest(search.clone());
        let bytes = codec::to_bytes(&Message { id: 9, operation, controls });
        self.engine.client_bytes(client, &bytes);
        self.wishes();
    }

    /// Asks, has the directories answer, and takes the result.
    pub(super) fn page(
        &mut self,
        directories: &mut Directories,
        client: usize,
        search: &Search<'static>,
        controls: Vec<Control<'static>>,
    ) -> Page {
        self.say_with(client, search, controls);
        directories.serve(self);
        self.result(client)
    }

    pub(super) fn result(&mut self, client: usize) -> Page {
        let bytes = self.engine.client_output(client).map(std::mem::take).unwrap_or_default();
        self.engine.client_written(client, bytes.len(), false);
        let (mut names, mut entries) = (Vec::new(), Vec::new());
        for message in messages(&bytes) {
            let message = codec::decode(&message, &Limits::from_directory()).unwrap();
            match message.operation {
                Wire::SearchEntry(entry) => {
                    let name = entry.dn.split(',').next().unwrap().trim_start_matches("CN=").to_owned();
                    names.push(name);
                    entries.push(entry.to_entry());
                }
                Wire::SearchDone(outcome) => {
                    let controls = message.controls.into_iter().map(Control::into_owned).collect();
                    let text = outcome.diagnostic.into_owned();
                    return Page { names, code: outcome.code, text, controls, entries };
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("no result; entries: {names:?}");
    }

    /// All pages of a search.
    pub(super) fn walk(
        &mut self,
        directories: &mut Directories,
        client: usize,
        search: &Search<'static>,
        size: u32,
    ) -> Vec<Page> {
        let mut pages = vec![self.page(directories, client, search, vec![page_control(size, b"")])];
        loop {
            let cookie = pages.last().unwrap().cookie();
            if cookie.is_empty() {
                return pages;
            }
            assert!(pages.len() < 100, "a walk without end");
            pages.push(self.page(directories, client, search, vec![page_control(size, &cookie)]));
        }
    }

    pub(super) fn parked(&self) -> usize {
        self.engine.walks.parked.len()
    }
}
