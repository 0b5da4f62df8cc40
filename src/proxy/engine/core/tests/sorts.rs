//! Sorted results, matched values and the list of who answered, alone and in pages.

use super::directories::{Directories, OPEN, Page, WHOLE, page_control, staff};
use super::*;
use crate::ldap::ber::Reader;
use crate::ldap::message::ResultCode;
use crate::ldap::typed_control::{MATCHED_VALUES, Sort, SortAnswer, SortKey};
use crate::proxy::engine::completeness;

fn sort(attribute: &str, reverse: bool, critical: bool) -> Control<'static> {
    Sort(vec![SortKey { attribute: attribute.to_owned(), rule: None, reverse }]).control(critical)
}

fn sort_answer(page: &Page) -> SortAnswer {
    let control =
        page.controls.iter().find(|control| control.oid == SortAnswer::OID).expect("no sort answer");
    SortAnswer::read(control.value.as_deref().unwrap(), &Limits::default()).unwrap()
}

fn rig(settings: Settings) -> (Rig, Directories, usize) {
    let mut rig = Rig::with(&["RXA", "RXB"], Some(1_000), OPEN, settings);
    let client = rig.client();
    let directories = Directories::default()
        .with("RXA", staff("RXA", &["delta", "Alpha", "echo"]))
        .with("RXB", staff("RXB", &["Charlie", "bravo", "foxtrot"]));
    (rig, directories, client)
}

fn everybody() -> Search<'static> {
    Search { base: WHOLE.into(), attributes: vec!["uid".into()], ..search("(uid=*)") }
}

#[test]
fn several_directories_are_sorted_as_one() {
    let (mut rig, mut directories, client) = rig(Settings::default());
    let page = rig.page(&mut directories, client, &everybody(), vec![sort("cn", false, true)]);
    assert_eq!(page.names, ["Alpha", "bravo", "Charlie", "delta", "echo", "foxtrot"]);
    assert_eq!((page.code, sort_answer(&page).code), (ResultCode::SUCCESS, ResultCode::SUCCESS));
    // The key was read and not sent: it was not asked for.
    assert!(page.entries.iter().all(|entry| !entry.has("cn") && entry.has("uid")));
    let page = rig.page(&mut directories, client, &everybody(), vec![sort("2.5.4.3", true, false)]);
    assert_eq!(page.names.first().map(String::as_str), Some("foxtrot"));
    assert_eq!(rig.engine.counts().1, 0);
}

#[test]
fn sorted_pages_come_from_what_was_gathered() {
    let (mut rig, mut directories, client) = rig(Settings::default());
    let mut names = Vec::new();
    let mut cookie = Vec::new();
    for expected in [4, 2] {
        let controls = vec![sort("cn", false, true), page_control(4, &cookie)];
        let page = rig.page(&mut directories, client, &everybody(), controls);
        assert_eq!((page.code, page.names.len()), (ResultCode::SUCCESS, expected));
        assert_eq!(sort_answer(&page).code, ResultCode::SUCCESS);
        names.extend(page.names.clone());
        cookie = page.cookie();
    }
    assert_eq!(names, ["Alpha", "bravo", "Charlie", "delta", "echo", "foxtrot"]);
    assert!(cookie.is_empty());
    // The sort is part of what a cookie is bound to.
    let controls = vec![sort("cn", false, true), page_control(4, b"")];
    let cookie = rig.page(&mut directories, client, &everybody(), controls).cookie();
    for other in [vec![], vec![sort("cn", true, true)], vec![sort("uid", false, true)]] {
        let controls = other.into_iter().chain([page_control(4, &cookie)]).collect();
        let page = rig.page(&mut directories, client, &everybody(), controls);
        assert_eq!(page.code, ResultCode::UNWILLING_TO_PERFORM);
    }
}

/// Hidden and unknown keys are one: the same bytes, whatever the directory holds.
#[test]
fn t06_a_hidden_key_orders_nothing() {
    let told = |attribute: &str, critical| {
        let (mut rig, mut directories, client) = rig(Settings::default());
        let mut page =
            rig.page(&mut directories, client, &everybody(), vec![sort(attribute, false, critical)]);
        assert_eq!(sort_answer(&page).code, ResultCode::NO_SUCH_ATTRIBUTE);
        assert_eq!(sort_answer(&page).attribute.as_deref(), Some(attribute));
        page.controls.clear();
        page
    };
    for critical in [true, false] {
        let hidden = told("employeeNumber", critical);
        assert_eq!(hidden, told("nonsense", critical));
        if critical {
            assert_eq!(hidden.code, ResultCode::UNAVAILABLE_CRITICAL_EXTENSION);
            assert!(hidden.names.is_empty());
        } else {
            assert_eq!(hidden.code, ResultCode::SUCCESS);
            assert_eq!(hidden.names, ["delta", "Alpha", "echo", "Charlie", "bravo", "foxtrot"]);
        }
    }
}

#[test]
fn more_than_can_be_sorted() {
    for settings in [
        Settings { sort_entries: 4, ..Settings::default() },
        Settings { sort_bytes: 600, ..Settings::default() },
    ] {
        let (mut rig, mut directories, client) = rig(settings.clone());
        let page = rig.page(&mut directories, client, &everybody(), vec![sort("cn", false, true)]);
        assert_eq!(page.code, ResultCode::UNAVAILABLE_CRITICAL_EXTENSION);
        assert_eq!(sort_answer(&page).code, ResultCode::ADMIN_LIMIT_EXCEEDED);
        assert!(page.names.is_empty(), "RFC 2891 section 2: no entry is sent");
        let page = rig.page(&mut directories, client, &everybody(), vec![sort("cn", false, false)]);
        assert_eq!((page.code, page.names.len()), (ResultCode::SUCCESS, 6));
        assert_eq!(sort_answer(&page).code, ResultCode::ADMIN_LIMIT_EXCEEDED);
        // In pages: nothing was sent yet, so the walk begins again in the order in which entries come.
        let (mut cookie, mut names) = (Vec::new(), Vec::new());
        loop {
            let controls = vec![sort("cn", false, false), page_control(4, &cookie)];
            let page = rig.page(&mut directories, client, &everybody(), controls);
            assert_eq!(page.code, ResultCode::SUCCESS);
            assert_eq!(sort_answer(&page).code, ResultCode::ADMIN_LIMIT_EXCEEDED);
            names.extend(page.names.clone());
            cookie = page.cookie();
            if cookie.is_empty() {
                break;
            }
        }
        assert_eq!(names, ["delta", "Alpha", "echo", "Charlie", "bravo", "foxtrot"]);
        assert_eq!((rig.engine.counts().1, rig.engine.walks.parked.len()), (0, 0));
    }
}

/// The entries of the tree's own are too many already.
#[test]
fn more_of_our_own_than_can_be_sorted() {
    let whole = Search { base: WHOLE.into(), ..search("(objectClass=*)") };
    for (critical, paged, code, count) in [
        (true, false, ResultCode::UNAVAILABLE_CRITICAL_EXTENSION, 0),
        (false, false, ResultCode::SUCCESS, 9),
        (false, true, ResultCode::SUCCESS, 4),
    ] {
        let (mut rig, mut directories, client) = rig(Settings { sort_entries: 2, ..Settings::default() });
        let mut controls = vec![sort("cn", false, critical)];
        controls.extend(paged.then(|| page_control(4, b"")));
        let page = rig.page(&mut directories, client, &whole, controls);
        assert_eq!((page.code, page.names.len()), (code, count));
        assert_eq!(sort_answer(&page).code, ResultCode::ADMIN_LIMIT_EXCEEDED);
        assert_eq!(rig.engine.counts().1, 0);
    }
}

/// Random bytes in place of what either side says of pages and orders: no panic, nothing kept that grows.
#[test]
fn rubbish_about_pages_and_orders() {
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        chance
    };
    for _ in 0..300 {
        let (mut rig, mut directories, client) = rig(Settings::default());
        let all = [sort("cn", true, false), page_control(2, b""), matched(&["(cn=a*)"]), list()];
        let controls = all.into_iter().filter(|_| next() % 2 == 0).collect();
        let operation = Wire::SearchRequest(everybody());
        let mut bytes = codec::to_bytes(&Message { id: 9, operation, controls });
        for _ in 0..next() % 3 {
            let at = (next() as usize) % bytes.len();
            bytes[at] = next() as u8;
        }
        rig.engine.client_bytes(client, &bytes);
        rig.wishes();
        if next() % 2 == 0 {
            directories.serve(&mut rig);
        }
        for upstream in rig.dialled.clone() {
            rig.engine.upstream_bytes(upstream, &bytes);
            rig.wishes();
        }
        rig.turn(200_000_000);
        assert_eq!((rig.engine.counts().1, rig.engine.walks.parked.len()), (0, 0));
    }
}

#[test]
fn sorts_at_once_are_bounded() {
    let (mut rig, mut directories, client) = rig(Settings { sorts: 1, ..Settings::default() });
    let controls = vec![sort("cn", false, true), page_control(4, b"")];
    let first = rig.page(&mut directories, client, &everybody(), controls);
    assert_eq!(first.names.len(), 4);
    let page = rig.page(&mut directories, client, &everybody(), vec![sort("cn", false, true)]);
    assert_eq!(page.code, ResultCode::UNAVAILABLE_CRITICAL_EXTENSION);
    assert_eq!(sort_answer(&page).code, ResultCode::BUSY);
    let page = rig.page(&mut directories, client, &everybody(), vec![sort("cn", false, false)]);
    assert_eq!((page.code, sort_answer(&page).code), (ResultCode::SUCCESS, ResultCode::BUSY));
}

/// The first of the order, as many as may be sent.
#[test]
fn t07_a_sorted_result_is_cut_after_it_was_sorted() {
    let (mut rig, mut directories, client) = rig(Settings::default());
    let expected = ["Alpha", "bravo", "Charlie", "delta", "echo", "foxtrot"];
    for (limit, code) in
        [(5, ResultCode::SIZE_LIMIT_EXCEEDED), (6, ResultCode::SUCCESS), (7, ResultCode::SUCCESS)]
    {
        let limited = Search { size_limit: limit, ..everybody() };
        let page = rig.page(&mut directories, client, &limited, vec![sort("cn", false, true)]);
        assert_eq!(
            (page.code, page.names.as_slice()),
            (code, &names(&expected[..6.min(limit as usize)])[..])
        );
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// An entry that the re-check withholds is in no order.
#[test]
fn t06_withheld_entries_are_not_sorted() {
    let mut rig = Rig::with(&["RXA"], None, OPEN, Settings::default());
    let client = rig.client();
    let mut directories = Directories::default().with("RXA", staff("RXA", &["b", "-x", "a"]));
    let page = rig.page(&mut directories, client, &search("(description=*)"), vec![sort("cn", false, true)]);
    assert_eq!(page.names, ["a", "b"]);
}

#[test]
fn time_runs_out_while_entries_are_gathered() {
    let (mut rig, _, client) = rig(Settings::default());
    let limited = Search { time_limit: 1, ..everybody() };
    rig.say_with(client, &limited, vec![sort("cn", false, false)]);
    rig.turn(1_100_000);
    let page = rig.result(client);
    assert_eq!(
        (page.code, sort_answer(&page).code),
        (ResultCode::TIME_LIMIT_EXCEEDED, ResultCode::TIME_LIMIT_EXCEEDED)
    );
}

fn matched(items: &[&str]) -> Control<'static> {
    let mut value = Vec::new();
    let list = ber::open(&mut value, ber::SEQUENCE);
    items.iter().for_each(|item| crate::ldap::filter_wire::write(&Filter::parse(item).unwrap(), &mut value));
    ber::close(&mut value, list);
    Control { oid: MATCHED_VALUES.into(), critical: true, value: Some(value.into()) }
}

#[test]
fn values_that_match_are_returned() {
    let (mut rig, mut directories, client) = rig(Settings::default());
    let ask = |types_only| Search { base: "ou=RXA,o=federation".into(), types_only, ..search("(uid=*)") };
    let page = rig.page(&mut directories, client, &ask(false), vec![matched(&["(cn=alpha)"])]);
    let with: Vec<&Entry> = page.entries.iter().filter(|entry| entry.has("cn")).collect();
    assert_eq!(
        (page.entries.len(), with.len()),
        (3, 1),
        "entries without a value that matches come all the same"
    );
    assert!(page.entries.iter().all(|entry| !entry.has("uid") && !entry.has("objectClass")));
    let page = rig.page(&mut directories, client, &ask(true), vec![matched(&["(cn=alpha)"])]);
    let with: Vec<&Entry> = page.entries.iter().filter(|entry| entry.has("cn")).collect();
    assert_eq!((with.len(), with[0].values("cn").count()), (1, 0));
    // Hidden attributes never help, and the entries of the tree's own are treated alike.
    let whole = Search { base: WHOLE.into(), ..search("(objectClass=*)") };
    let page = rig.page(&mut directories, client, &whole, vec![matched(&["(employeeNumber=*)", "(ou=rxa)"])]);
    let all: Vec<_> = page.entries.iter().flat_map(|entry| &entry.attributes).collect();
    assert_eq!((page.entries.len(), all.len()), (9, 0));
    // In pages, and bound to the cookie.
    let controls = vec![matched(&["(cn=*)"]), page_control(2, b"")];
    let first = rig.page(&mut directories, client, &ask(false), controls);
    assert!(first.entries.iter().all(|entry| entry.attributes.len() == 1));
    let other = vec![matched(&["(uid=*)"]), page_control(2, &first.cookie())];
    let page = rig.page(&mut directories, client, &ask(false), other);
    assert_eq!(page.code, ResultCode::UNWILLING_TO_PERFORM);
    let same = vec![matched(&["(cn=*)"]), page_control(2, &first.cookie())];
    let last = rig.page(&mut directories, client, &ask(false), same);
    assert_eq!((last.entries.len(), last.entries[0].attributes.len()), (1, 1));
}

#[test]
fn t51_values_of_controls_are_read_strictly() {
    let (mut rig, mut directories, client) = rig(Settings::default());
    let cases: [(&str, Option<&[u8]>); 14] = [
        (PAGED, None),
        (PAGED, Some(b"")),
        (PAGED, Some(b"\x30\x05\x02\x01\x05\x04\x00\x00")),
        (PAGED, Some(b"\x30\x05\x02\x01\xff\x04\x00")),
        (PAGED, Some(b"\x30\x03\x02\x01\x05")),
        (Sort::OID, None),
        (Sort::OID, Some(b"\x30\x00")),
        (Sort::OID, Some(b"\x30\x04\x30\x02\x04\x00")),
        (Sort::OID, Some(b"\x30\x0a\x30\x08\x04\x02cn\x81\x02\xff\xff")),
        (MATCHED_VALUES, None),
        (MATCHED_VALUES, Some(b"\x30\x00")),
        (MATCHED_VALUES, Some(b"\x30\x08\xa0\x06\x87\x04mail")),
        (MATCHED_VALUES, Some(b"\x30\x06\x87\x04mail\x00")),
        (completeness::REQUEST, Some(b"")),
    ];
    for (oid, value) in cases {
        for critical in [true, false] {
            let control = Control { oid: oid.into(), critical, value: value.map(Into::into) };
            let page = rig.page(&mut directories, client, &everybody(), vec![control]);
            assert_eq!((page.code, page.names.len()), (ResultCode::PROTOCOL_ERROR, 0), "{oid} {value:?}");
        }
    }
    let twice = vec![page_control(1, b""), page_control(1, b"")];
    assert_eq!(rig.page(&mut directories, client, &everybody(), twice).code, ResultCode::PROTOCOL_ERROR);
    assert!(directories.asked.is_empty());
}

/// (mount, state, reason) of each directory.
fn told(page: &Page) -> Vec<(String, i32, Option<String>)> {
    let control = page.controls.iter().find(|control| control.oid == completeness::ANSWER).expect("no list");
    let mut list = Reader::new(control.value.as_deref().unwrap()).nested(ber::SEQUENCE).unwrap();
    let mut all = Vec::new();
    while !list.is_empty() {
        let mut one = list.nested(ber::SEQUENCE).unwrap();
        let mount = one.text().unwrap().to_owned();
        let state = one.integer(ber::ENUMERATED).unwrap();
        let reason = one.optional(0x80).unwrap().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        one.end().unwrap();
        all.push((mount, state, reason));
    }
    all
}

fn list() -> Control<'static> {
    Control { oid: completeness::REQUEST.into(), critical: true, value: None }
}

#[test]
fn who_answered_is_told_on_request() {
    let (mut rig, mut directories, client) = rig(Settings::default());
    let (a, b) = ("ou=RXA,o=federation".to_owned(), "ou=RXB,o=federation".to_owned());
    let page = rig.page(&mut directories, client, &everybody(), vec![list()]);
    assert_eq!(
        (page.code, told(&page)),
        (ResultCode::SUCCESS, vec![(a.clone(), 0, None), (b.clone(), 0, None)])
    );
    // One is lost while it is asked.
    rig.say_with(client, &everybody(), vec![list()]);
    let lost = *rig.dialled.iter().find(|key| rig.servers[*key] == "RXB").unwrap();
    rig.end(lost);
    let again = *rig.dialled.last().unwrap();
    assert_eq!(rig.servers[&again], "RXB", "it is asked once more");
    rig.end(again);
    directories.serve(&mut rig);
    let page = rig.result(client);
    assert_eq!((page.code, page.names.len()), (ResultCode::UNAVAILABLE, 3));
    let missing = Some("unavailable".to_owned());
    assert_eq!(told(&page), [(a.clone(), 0, None), (b.clone(), 1, missing)]);
    // Without the control there are counts only.
    let page = rig.page(&mut directories, client, &everybody(), vec![]);
    assert!(page.controls.is_empty() && page.text.contains("1 of 2"), "{page:?}");
    // Whom the requester may not ask is not in the list.
    rig.gates.set(&"RXB".parse().unwrap(), gate(GateState::Closed));
    rig.turn(1);
    let page = rig.page(&mut directories, client, &everybody(), vec![list()]);
    assert_eq!((page.code, told(&page)), (ResultCode::SUCCESS, vec![(a, 0, None)]));
}

#[test]
fn pages_tell_whose_turn_comes() {
    let (mut rig, mut directories, client) = rig(Settings::default());
    let states = |page: &Page| told(page).into_iter().map(|(_, state, _)| state).collect::<Vec<_>>();
    let first = rig.page(&mut directories, client, &everybody(), vec![list(), page_control(1, b"")]);
    assert_eq!(states(&first), [2, 2]);
    let second =
        rig.page(&mut directories, client, &everybody(), vec![list(), page_control(3, &first.cookie())]);
    assert_eq!(states(&second), [0, 2]);
    let last =
        rig.page(&mut directories, client, &everybody(), vec![list(), page_control(3, &second.cookie())]);
    assert_eq!((states(&last), last.cookie()), (vec![0, 0], Vec::new()));
}
