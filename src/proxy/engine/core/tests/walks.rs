//! Paged results over directories that page by themselves, and forget what they are told to forget.

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
    live: HashMap<Vec<u8>, (usize, Vec<u8>, usize)>,
    given: usize,
    /// Sizes of the pages that were asked for, 0 for a result that was given up.
    pub(super) asked: Vec<u32>,
    /// Entries that are sent beyond the page's size.
    excess: usize,
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

    fn answer(&mut self, rig: &mut Rig, upstream: usize, question: &[u8]) {
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
    fn walk(
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

    fn parked(&self) -> usize {
        self.engine.walks.parked.len()
    }
}

fn names(pages: &[Page]) -> Vec<Vec<&str>> {
    pages.iter().map(|page| page.names.iter().map(String::as_str).collect()).collect()
}

fn one(entries: &[&str]) -> (Rig, Directories, usize) {
    one_with(entries, Settings::default())
}

fn one_with(entries: &[&str], settings: Settings) -> (Rig, Directories, usize) {
    let mut rig = Rig::with(&["RXA"], Some(1_000), OPEN, settings);
    let client = rig.client();
    (rig, Directories::default().with("RXA", staff("RXA", entries)), client)
}

const SEVEN: &[&str] = &["a", "b", "c", "d", "e", "f", "g"];

#[test]
fn pages_are_full_and_the_last_is_known_to_be() {
    for (count, size, expected) in [
        (7, 3, vec![3, 3, 1]),
        (6, 3, vec![3, 3]),
        (3, 3, vec![3]),
        (2, 3, vec![2]),
        (0, 3, vec![0]),
        (3, 1, vec![1, 1, 1]),
    ] {
        for page_size in [Some(1_000), Some(2), None] {
            let mut rig = Rig::with(&["RXA"], page_size, OPEN, Settings::default());
            let client = rig.client();
            let mut directories = Directories::default().with("RXA", staff("RXA", &SEVEN[..count]));
            let pages = rig.walk(&mut directories, client, &search("(cn=*)"), size);
            let lengths: Vec<usize> = pages.iter().map(|page| page.names.len()).collect();
            assert_eq!(lengths, expected, "{count} in pages of {size}");
            assert!(pages.iter().all(|page| page.code == ResultCode::SUCCESS), "{pages:?}");
            assert_eq!(names(&pages).concat(), &SEVEN[..count]);
            assert_eq!((rig.parked(), rig.engine.counts().1), (0, 0));
        }
    }
}

#[test]
fn several_directories_are_walked_one_after_the_other() {
    let mut rig = Rig::with(&["RXA", "RXB", "RXC"], Some(1_000), OPEN, Settings::default());
    let client = rig.client();
    let mut directories = Directories::default()
        .with("RXA", staff("RXA", &["a", "b", "c"]))
        .with("RXB", Vec::new())
        .with("RXC", staff("RXC", &["d", "e"]));
    let everything = Search { base: WHOLE.into(), ..search("(objectClass=*)") };
    let pages = rig.walk(&mut directories, client, &everything, 4);
    let expected: [&[&str]; 3] =
        [&["o=federation", "ou=RXA", "ou=RXB", "ou=RXC"], &["a", "b", "c", "d"], &["e"]];
    assert_eq!(names(&pages), expected);
    assert_eq!(pages.last().unwrap().code, ResultCode::SUCCESS);
}

#[test]
fn a_directory_that_does_not_answer_is_told_of_at_the_end() {
    let mut rig = Rig::with(&["RXA", "RXB"], Some(1_000), OPEN, Settings::default());
    let client = rig.client();
    let mut directories = Directories::default().with("RXB", staff("RXB", &["d", "e"]));
    let everything = Search { base: WHOLE.into(), ..search("(cn=*)") };
    rig.say_with(client, &everything, vec![page_control(1, b"")]);
    let upstream = rig.dialled[0];
    assert_eq!(rig.servers[&upstream], "RXA");
    rig.engine.upstream_ended(upstream);
    rig.wishes();
    directories.serve(&mut rig);
    let first = rig.result(client);
    assert_eq!((names(&[first]), 1), (vec![vec!["d"]], rig.parked()));
}

/// Two worlds that differ in entries that the re-check withholds, in the middle and at the end.
#[test]
fn t07_withheld_entries_fill_no_page_and_make_none() {
    let worlds: [&[&str]; 4] = [
        &["a", "b", "c", "d"],
        &["a", "-1", "b", "-2", "-3", "c", "d"],
        &["a", "b", "c", "d", "-1", "-2", "-3", "-4"],
        &["-1", "-2", "-3", "-4", "-5", "a", "b", "c", "d", "-6"],
    ];
    let told = |world: &[&str], size: u32| {
        let (mut rig, mut directories, client) = one(world);
        let pages = rig.walk(&mut directories, client, &search("(description=*)"), size);
        let told: Vec<_> = pages
            .iter()
            .map(|page| (page.names.clone(), page.code, page.text.clone(), page.cookie().len()))
            .collect();
        told
    };
    for size in 1..6 {
        let expected = told(worlds[0], size);
        for world in worlds {
            assert_eq!(told(world, size), expected, "{world:?} in pages of {size}");
        }
    }
}

/// The agreement bounds a page, the client's own limit and a setting bound the whole.
#[test]
fn t07_limits_count_what_is_released() {
    let hundred: Vec<String> = (0..150).map(|n| format!("p{n:03}")).collect();
    let hundred: Vec<&str> = hundred.iter().map(String::as_str).collect();
    let (mut rig, mut directories, client) = one(&hundred);
    let pages = rig.walk(&mut directories, client, &search("(cn=*)"), 1_000);
    let lengths: Vec<usize> = pages.iter().map(|page| page.names.len()).collect();
    assert_eq!(lengths, [100, 50]);
    for (limit, expected, code) in [
        (4, vec![3, 1], ResultCode::SIZE_LIMIT_EXCEEDED),
        (3, vec![3], ResultCode::SIZE_LIMIT_EXCEEDED),
        (7, vec![3, 3, 1], ResultCode::SUCCESS),
        (8, vec![3, 3, 1], ResultCode::SUCCESS),
    ] {
        let (mut rig, mut directories, client) = one(SEVEN);
        let limited = Search { size_limit: limit, ..search("(cn=*)") };
        let pages = rig.walk(&mut directories, client, &limited, 3);
        let lengths: Vec<usize> = pages.iter().map(|page| page.names.len()).collect();
        assert_eq!((lengths, pages.last().unwrap().code), (expected, code), "limit {limit}");
        assert!(directories.live.is_empty(), "the directory keeps a result that nobody will ask for");
    }
    let (mut rig, mut directories, client) =
        one_with(SEVEN, Settings { walk_entries: 5, ..Settings::default() });
    let pages = rig.walk(&mut directories, client, &search("(cn=*)"), 3);
    assert_eq!(names(&pages).concat().len(), 5);
    assert_eq!(pages.last().unwrap().code, ResultCode::ADMIN_LIMIT_EXCEEDED);
}

fn refused(page: &Page) {
    assert_eq!(page.code, ResultCode::UNWILLING_TO_PERFORM, "{page:?}");
    assert_eq!(page.text, "the paging cookie is not valid here; begin again");
    assert!(page.names.is_empty() && page.controls.is_empty(), "{page:?}");
}

#[test]
fn t31_a_cookie_is_good_once_here_and_for_this() {
    let (mut rig, mut directories, client) = one(SEVEN);
    let request = search("(cn=*)");
    let cookie = rig.page(&mut directories, client, &request, vec![page_control(2, b"")]).cookie();
    let other_connection = rig.client();
    let somebody_else = rig.client_as("bb");
    let variants = [
        search("(cn=a*)"),
        Search { base: "ou=RXA,o=federation".into(), ..search("(cn=*)") },
        Search { scope: Scope::One, ..search("(cn=*)") },
        Search { size_limit: 5, ..search("(cn=*)") },
        Search { time_limit: 5, ..search("(cn=*)") },
        Search { types_only: true, ..search("(cn=*)") },
        Search { attributes: vec!["cn".into()], ..search("(cn=*)") },
        Search { dereference: Dereference::Always, ..search("(cn=*)") },
        Search { base: "".into(), scope: Scope::Base, ..search("(cn=*)") },
    ];
    for variant in &variants {
        refused(&rig.page(&mut directories, client, variant, vec![page_control(2, &cookie)]));
    }
    for who in [other_connection, somebody_else] {
        refused(&rig.page(&mut directories, who, &request, vec![page_control(2, &cookie)]));
    }
    for bit in 0..cookie.len() * 8 {
        let mut altered = cookie.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        for size in [2, 0] {
            refused(&rig.page(&mut directories, client, &request, vec![page_control(size, &altered)]));
        }
    }
    for foreign in [&b"cookie 1"[..], b"x", &[0; 44], &[0; 4_000]] {
        refused(&rig.page(&mut directories, client, &request, vec![page_control(2, foreign)]));
    }
    // Nothing of that spent it.
    let second = rig.page(&mut directories, client, &request, vec![page_control(3, &cookie)]);
    assert_eq!(names(&[second]), [["c", "d", "e"]]);
    refused(&rig.page(&mut directories, client, &request, vec![page_control(3, &cookie)]));
}

/// The same cookie twice in one segment: one page comes of it.
#[test]
fn t31_two_at_once_with_one_cookie() {
    let (mut rig, mut directories, client) = one(SEVEN);
    let request = search("(cn=*)");
    let cookie = rig.page(&mut directories, client, &request, vec![page_control(2, b"")]).cookie();
    let again = |id| {
        let operation = Wire::SearchRequest(request.clone());
        codec::to_bytes(&Message { id, operation, controls: vec![page_control(2, &cookie)] })
    };
    rig.engine.client_bytes(client, &[again(20), again(21)].concat());
    directories.serve(&mut rig);
    let heard = rig.heard(client);
    assert!(heard.contains(&"21 done unwillingToPerform (53)".to_owned()), "{heard:?}");
    assert!(heard.contains(&"20 done success (0)".to_owned()), "{heard:?}");
    assert_eq!(heard.iter().filter(|line| line.contains(" entry ")).count(), 2);
}

#[test]
fn t31_whatever_a_walk_rests_on_voids_it() {
    type Change = fn(&mut Rig, &mut Directories);
    let changes: [(&str, Change); 7] = [
        ("a new snapshot", |rig, _| {
            rig.snapshot = snapshot(&["RXA"], Some(1_000), OPEN);
            rig.turn(1);
        }),
        ("a narrower agreement", |rig, _| {
            rig.snapshot = snapshot(&["RXA"], Some(1_000), &OPEN.replace(", description", ""));
            rig.turn(1);
        }),
        ("a closed gate", |rig, _| {
            rig.gates.set(&rxa(), gate(GateState::Closed));
            rig.turn(1);
            rig.gates.set(&rxa(), gate(GateState::Open));
            rig.turn(1);
        }),
        ("a decision that ended", |rig, _| rig.turn(40_000_000)),
        ("a lost connection", |rig, _| {
            let upstream = rig.dialled[0];
            rig.search(0, 5, "(cn=*)");
            rig.engine.upstream_ended(upstream);
            rig.wishes();
            rig.heard(0);
            rig.turn(20_000_000);
        }),
        ("time", |rig, _| rig.turn(120_000_000)),
        ("a rebind", |rig, _| {
            let authentication = Authentication::Sasl { mechanism: "EXTERNAL".into(), credentials: None };
            rig.say(0, 5, Wire::BindRequest(Bind { version: 3, name: "".into(), authentication }));
            rig.heard(0);
        }),
    ];
    for (what, change) in changes {
        let (mut rig, mut directories, client) = one(SEVEN);
        assert_eq!(client, 0);
        if what == "a decision that ended" {
            let mut short = gate(GateState::Open);
            let until = Some(START + time::Duration::seconds(30));
            short.values_mut().for_each(|decision| decision.valid_until = until);
            rig.gates.set(&rxa(), short);
            rig.turn(1);
        }
        let request = search("(cn=*)");
        let cookie = rig.page(&mut directories, client, &request, vec![page_control(2, b"")]).cookie();
        assert_eq!(rig.parked(), 1);
        change(&mut rig, &mut directories);
        assert_eq!(rig.parked(), 0, "{what}");
        let page = rig.page(&mut directories, client, &request, vec![page_control(2, &cookie)]);
        refused(&page);
    }
}

/// Nothing changed but the gates' table: the walk goes on.
#[test]
fn a_walk_survives_what_does_not_concern_it() {
    let (mut rig, mut directories, client) = one(SEVEN);
    let request = search("(cn=*)");
    let cookie = rig.page(&mut directories, client, &request, vec![page_control(6, b"")]).cookie();
    rig.gates.set(&"RXZ".parse().unwrap(), gate(GateState::Closed));
    rig.turn(60_000_000);
    let last = rig.page(&mut directories, client, &request, vec![page_control(6, &cookie)]);
    assert_eq!((last.code, last.names.len()), (ResultCode::SUCCESS, 1));
}

/// RFC 2696 section 3: a size of 0 with the cookie ends the walk, behind as well.
#[test]
fn t29_a_walk_that_is_given_up_is_given_up_behind() {
    type End = fn(&mut Rig, &mut Directories, usize, &[u8]);
    let ends: [(&str, End); 5] = [
        ("size 0", |rig, directories, client, cookie| {
            let end = vec![page_control(0, cookie)];
            let page = rig.page(directories, client, &search("(cn=*)"), end);
            assert_eq!((page.code, page.names.len(), page.cookie()), (ResultCode::SUCCESS, 0, Vec::new()));
        }),
        ("unbind", |rig, _, client, _| rig.say(client, 30, Wire::UnbindRequest)),
        ("a closed connection", |rig, _, client, _| rig.engine.client_ended(client)),
        ("time", |rig, _, _, _| rig.turn(120_000_000)),
        ("a closed gate", |rig, _, _, _| {
            rig.gates.set(&rxa(), gate(GateState::Closed));
            rig.turn(1);
        }),
    ];
    for (what, end) in ends {
        let (mut rig, mut directories, client) = one(SEVEN);
        let cookie =
            rig.page(&mut directories, client, &search("(cn=*)"), vec![page_control(2, b"")]).cookie();
        assert_eq!(directories.live.len(), 1);
        end(&mut rig, &mut directories, client, &cookie);
        directories.serve(&mut rig);
        assert_eq!((directories.live.len(), rig.parked()), (0, 0), "{what}");
        assert_eq!(directories.asked.last(), Some(&0), "{what}");
        assert_eq!(rig.engine.counts().1, 0, "{what}");
    }
}

/// Abandoned in the middle of a page: no answer, the question is abandoned behind, nothing is kept.
#[test]
fn t29_a_page_that_is_abandoned() {
    let (mut rig, mut directories, client) = one(SEVEN);
    let request = search("(cn=*)");
    let cookie = rig.page(&mut directories, client, &request, vec![page_control(2, b"")]).cookie();
    rig.say_with(client, &request, vec![page_control(2, &cookie)]);
    let upstream = rig.dialled[0];
    let question = rig.asked(upstream);
    assert_eq!(question.len(), 1);
    let at_once = rig.heard(client);
    assert_eq!(at_once, ["9 entry CN=c,OU=Staff,ou=RXA,o=federation"], "it was known already");
    rig.say(client, 10, Wire::AbandonRequest(9));
    assert!(short(&rig.asked(upstream)[0]).contains("abandon"));
    directories.answer(&mut rig, upstream, &question[0]);
    assert_eq!(rig.heard(client), Vec::<String>::new());
    assert_eq!((rig.parked(), rig.engine.counts().1), (0, 0));
    refused(&rig.page(&mut directories, client, &request, vec![page_control(2, &cookie)]));
}

#[test]
fn walks_are_bounded_per_client_and_shard() {
    let settings = Settings { walks_per_connection: 2, ..Settings::default() };
    let (mut rig, mut directories, client) = one_with(SEVEN, settings);
    let request = search("(cn=*)");
    let mut begin = |rig: &mut Rig, client| {
        rig.page(&mut directories, client, &request, vec![page_control(2, b"")]).cookie()
    };
    let cookies: Vec<Vec<u8>> = (0..3).map(|_| begin(&mut rig, client)).collect();
    assert_eq!(rig.parked(), 2);
    refused(&rig.page(&mut directories, client, &request, vec![page_control(2, &cookies[0])]));
    let newest = rig.page(&mut directories, client, &request, vec![page_control(2, &cookies[2])]);
    assert_eq!(newest.code, ResultCode::SUCCESS);

    let settings = Settings { walks: 1, ..Settings::default() };
    let (mut rig, mut directories, client) = one_with(SEVEN, settings);
    rig.page(&mut directories, client, &request, vec![page_control(2, b"")]);
    let page = rig.page(&mut directories, client, &request, vec![page_control(2, b"")]);
    assert_eq!((page.code, page.names.len()), (ResultCode::BUSY, 0));
}

/// A directory keeps few results per connection: further walks get connections of their own, up to a limit.
#[test]
fn walks_are_spread_over_connections() {
    for (page_size, per, expected) in [(Some(1_000), 2, 4), (None, 2, 2)] {
        let settings = Settings {
            walks_per_upstream: per,
            upstreams: 1,
            walk_upstreams: 1,
            walks_per_connection: 100,
            ..Settings::default()
        };
        let mut rig = Rig::with(&["RXA"], page_size, OPEN, settings);
        let client = rig.client();
        let mut directories = Directories::default().with("RXA", staff("RXA", SEVEN));
        let request = search("(cn=*)");
        let mut cookies = Vec::new();
        for _ in 0..expected {
            let page = rig.page(&mut directories, client, &request, vec![page_control(2, b"")]);
            assert_eq!(page.code, ResultCode::SUCCESS);
            cookies.push(page.cookie());
        }
        assert_eq!(rig.dialled.len(), 2);
        let page = rig.page(&mut directories, client, &request, vec![page_control(2, b"")]);
        assert_eq!((page.code, page.names.len()), (ResultCode::BUSY, 0));
        // An ordinary search has room still, and one walk that ends makes room for another.
        assert_eq!(rig.page(&mut directories, client, &request, Vec::new()).names.len(), 7);
        let page = rig.page(&mut directories, client, &request, vec![page_control(9, &cookies[0])]);
        assert_eq!((page.code, page.names.len()), (ResultCode::SUCCESS, 5));
        let page = rig.page(&mut directories, client, &request, vec![page_control(2, b"")]);
        assert_eq!(page.code, ResultCode::SUCCESS);
    }
}

/// Many walks at once before the first connection stands.
#[test]
fn walks_that_begin_together_share_what_comes() {
    let settings = Settings { upstreams: 1, walk_upstreams: 2, walks_per_upstream: 1, ..Settings::default() };
    let (mut rig, mut directories, _) = one_with(SEVEN, settings);
    let clients: Vec<usize> = (0..4).map(|_| rig.client()).collect();
    for client in &clients {
        rig.say_with(*client, &search("(cn=*)"), vec![page_control(2, b"")]);
    }
    directories.serve(&mut rig);
    let codes: Vec<ResultCode> = clients.iter().map(|client| rig.result(*client).code).collect();
    let count = |code| codes.iter().filter(|found| **found == code).count();
    assert_eq!((count(ResultCode::SUCCESS), count(ResultCode::BUSY)), (3, 1), "{codes:?}");
}

/// The connection that a walk waits for cannot be made, and the only other one is full.
#[test]
fn a_walk_does_not_wait_for_a_connection_that_will_not_come() {
    let settings = Settings { walks_per_upstream: 1, ..Settings::default() };
    let (mut rig, mut directories, client) = one_with(SEVEN, settings);
    let request = search("(cn=*)");
    rig.page(&mut directories, client, &request, vec![page_control(2, b"")]);
    rig.say_with(client, &request, vec![page_control(2, b"")]);
    let second = *rig.dialled.last().unwrap();
    assert_eq!(rig.dialled.len(), 2);
    rig.engine.upstream_ended(second);
    rig.wishes();
    rig.turn(30_000);
    assert_eq!(rig.result(client).code, ResultCode::BUSY);
}

#[test]
fn a_directory_that_sends_more_than_was_asked_for_is_not_believed() {
    let (mut rig, mut directories, client) = one(SEVEN);
    directories.excess = 2;
    let page = rig.page(&mut directories, client, &search("(cn=*)"), vec![page_control(2, b"")]);
    assert_eq!(page.names, ["a", "b"]);
    // The one entry beyond the page is known; the walk goes on to say that the directory is not complete.
    let last = rig.page(&mut directories, client, &search("(cn=*)"), vec![page_control(2, &page.cookie())]);
    assert_eq!((last.names, last.code), (vec!["c".to_owned()], ResultCode::UNAVAILABLE));
    assert!(directories.live.is_empty());
}

#[test]
fn what_a_walk_holds_is_bounded() {
    let (mut rig, mut directories, client) =
        one_with(SEVEN, Settings { walk_bytes: 200, ..Settings::default() });
    let page = rig.page(&mut directories, client, &search("(cn=*)"), vec![page_control(2, b"")]);
    assert_eq!((page.names.len(), page.code), (2, ResultCode::ADMIN_LIMIT_EXCEEDED));
    assert!(page.cookie().is_empty() && rig.parked() == 0);
    directories.serve(&mut rig);
    assert!(directories.live.is_empty());
}

#[test]
fn a_first_page_without_room_is_refused() {
    let (mut rig, mut directories, client) = one(SEVEN);
    let page = rig.page(&mut directories, client, &search("(cn=*)"), vec![page_control(0, b"")]);
    assert_eq!((page.code, page.names.len()), (ResultCode::PROTOCOL_ERROR, 0));
    assert!(directories.asked.is_empty());
}

/// The rate is the agreement's on every page, and a page that comes too soon may be asked for again.
#[test]
fn pages_count_against_the_rate() {
    let mut rig = Rig::with(&["RXA"], None, &OPEN.replace("5000/s", "2/s"), Settings::default());
    let client = rig.client();
    let mut directories = Directories::default().with("RXA", staff("RXA", SEVEN));
    let request = search("(cn=*)");
    let first = rig.page(&mut directories, client, &request, vec![page_control(2, b"")]).cookie();
    let second = rig.page(&mut directories, client, &request, vec![page_control(2, &first)]).cookie();
    let third = rig.page(&mut directories, client, &request, vec![page_control(2, &second)]);
    assert_eq!(third.code, ResultCode::BUSY);
    rig.turn(1_000_000);
    let third = rig.page(&mut directories, client, &request, vec![page_control(2, &second)]);
    assert_eq!((third.code, third.names.len()), (ResultCode::SUCCESS, 2));
}

/// T32: nothing of one requester's pages is ever used for another's, and cookies of one place differ.
#[test]
fn t32_two_requesters_share_nothing() {
    let mut rig = Rig::with(&["RXA"], Some(1_000), OPEN, Settings::default());
    let (one, two) = (rig.client(), rig.client_as("bb"));
    let mut directories = Directories::default().with("RXA", staff("RXA", SEVEN));
    let request = search("(cn=*)");
    let a = rig.page(&mut directories, one, &request, vec![page_control(2, b"")]).cookie();
    let b = rig.page(&mut directories, two, &request, vec![page_control(2, b"")]).cookie();
    assert_eq!(directories.asked.len(), 2, "each asked for itself");
    assert_ne!(a, b);
    refused(&rig.page(&mut directories, one, &request, vec![page_control(2, &b)]));
    refused(&rig.page(&mut directories, two, &request, vec![page_control(2, &a)]));
    assert_eq!(rig.page(&mut directories, two, &request, vec![page_control(9, &b)]).names.len(), 5);
    assert_eq!(rig.page(&mut directories, one, &request, vec![page_control(9, &a)]).names.len(), 5);
}
