//! Cookies of paged results: whom they lead on, what voids them, what ends behind with them (T29, T31, T32).

use super::directories::{Directories, OPEN, Page, page_control, staff};
use super::walks::{SEVEN, names, one};
use super::*;
use crate::ldap::message::ResultCode;

pub(super) fn refused(page: &Page) {
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
    let changes: [(&str, Change); 8] = [
        ("a directory that is asked in another way", |rig, _| {
            let mut other = snapshot(&["RXA"], Some(1_000), OPEN);
            let mounts = &mut Arc::get_mut(&mut other).unwrap().mounts;
            mounts.values_mut().for_each(|mounted| mounted.endpoint = endpoint(Some(500), &[0]));
            rig.snapshot = other;
            rig.turn(1);
        }),
        ("a directory that is gone", |rig, _| {
            rig.snapshot = snapshot(&["RXB"], Some(1_000), OPEN);
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
            rig.end(upstream);
            rig.turn(20_000_000);
            rig.heard(0);
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

/// A new snapshot comes with every sync of any member: walks go on in it as long as nothing of theirs is another.
#[test]
fn a_walk_survives_a_snapshot_that_is_the_same_for_it() {
    let (mut rig, mut directories, client) = one(SEVEN);
    let request = search("(cn=*)");
    let mut page = rig.page(&mut directories, client, &request, vec![page_control(2, b"")]);
    for _ in 0..3 {
        let cookie = page.cookie();
        rig.snapshot = snapshot(&["RXA", "RXB"], Some(1_000), OPEN);
        rig.turn(1);
        assert_eq!(rig.parked(), 1);
        page = rig.page(&mut directories, client, &request, vec![page_control(2, &cookie)]);
        assert_eq!(page.code, ResultCode::SUCCESS);
    }
    assert_eq!((page.names.len(), page.cookie()), (1, Vec::new()));
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
