//! Paged results: how full pages are, what bounds them, what directories behind are asked.

use super::cookies::refused;
use super::directories::{Directories, OPEN, Page, WHOLE, page_control, staff};
use super::*;
use crate::ldap::message::ResultCode;
use crate::proxy::engine::completeness;

pub(super) fn names(pages: &[Page]) -> Vec<Vec<&str>> {
    pages.iter().map(|page| page.names.iter().map(String::as_str).collect()).collect()
}

pub(super) fn one(entries: &[&str]) -> (Rig, Directories, usize) {
    one_with(entries, Settings::default())
}

pub(super) fn one_with(entries: &[&str], settings: Settings) -> (Rig, Directories, usize) {
    let mut rig = Rig::with(&["RXA"], Some(1_000), OPEN, settings);
    let client = rig.client();
    (rig, Directories::default().with("RXA", staff("RXA", entries)), client)
}

pub(super) const SEVEN: &[&str] = &["a", "b", "c", "d", "e", "f", "g"];

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

/// Whether the directory knows of more that is withheld does not show in the list of who answered: its turn lasts until its
/// last released entry went out.
#[test]
fn t07_the_list_of_who_answered_counts_nothing_withheld() {
    let list = || Control { oid: completeness::REQUEST.into(), critical: true, value: None };
    let told = |world: &[&str], limit: u32| {
        let (mut rig, mut directories, client) = one(world);
        let request = Search { size_limit: limit, ..search("(description=*)") };
        let (mut told, mut cookie) = (Vec::new(), Vec::new());
        loop {
            let controls = vec![list(), page_control(1, &cookie)];
            let page = rig.page(&mut directories, client, &request, controls);
            cookie = page.cookie();
            told.push((page.names, page.code, page.controls[1].clone()));
            if cookie.is_empty() {
                return told;
            }
        }
    };
    for limit in 0..4 {
        let expected = told(&["a", "b", "c"], limit);
        assert_eq!(expected.len(), if limit == 0 { 3 } else { limit as usize });
        for world in [&["a", "b", "-1", "c", "-2"][..], &["-1", "a", "-2", "-3", "b", "c", "-4", "-5", "-6"]]
        {
            assert_eq!(told(world, limit), expected, "{world:?} within {limit}");
        }
    }
}

/// Two worlds, of which one has more that is withheld: the directory goes on there, and is done in the other.
const ENDS: [&[&str]; 2] = [&["a", "b"], &["a", "b", "-1", "-2", "-3"]];

/// What a walk holds, and where it has its place, does not tell whether the directory goes on.
#[test]
fn t07_the_room_of_a_walk_counts_nothing_withheld() {
    for walk_bytes in (150..500).step_by(7) {
        let told = ENDS.map(|world| {
            let settings = Settings { walk_bytes, ..Settings::default() };
            let (mut rig, mut directories, client) = one_with(world, settings);
            rig.page(&mut directories, client, &search("(description=*)"), vec![page_control(1, b"")]).code
        });
        assert_eq!(told[0], told[1], "{walk_bytes}");
    }
    let told = ENDS.map(|world| {
        let settings =
            Settings { walks_per_upstream: 1, upstreams: 1, walk_upstreams: 0, ..Settings::default() };
        let (mut rig, mut directories, client) = one_with(world, settings);
        let mut begin =
            || rig.page(&mut directories, client, &search("(description=*)"), vec![page_control(1, b"")]);
        [begin().code, begin().code]
    });
    assert_eq!(told, [[ResultCode::SUCCESS, ResultCode::BUSY]; 2]);
}

/// Nor what becomes of it when the connection behind is lost.
#[test]
fn t07_a_lost_connection_counts_nothing_withheld() {
    for world in ENDS {
        let (mut rig, mut directories, client) = one(world);
        let request = search("(description=*)");
        let cookie = rig.page(&mut directories, client, &request, vec![page_control(1, b"")]).cookie();
        rig.end(rig.dialled[0]);
        refused(&rig.page(&mut directories, client, &request, vec![page_control(1, &cookie)]));
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
