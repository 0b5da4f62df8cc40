//! The same question, asked while it is on its way, is asked once.

use super::*;
use crate::ldap::message::ResultCode;

fn two(settings: Settings) -> (Rig, [usize; 2], usize) {
    let mut rig = Rig::with(&["RXA"], None, &wide(), settings);
    let clients = [rig.client(), rig.client_as("aa")];
    rig.search(clients[0], 2, "(cn=none)");
    let upstream = rig.connect();
    rig.answer(upstream);
    rig.heard(clients[0]);
    (rig, clients, upstream)
}

fn entry(name: &str) -> Wire<'static> {
    let entry = person(name);
    Wire::SearchEntry(crate::ldap::entry::WireEntry {
        dn: entry.dn.into(),
        attributes: entry
            .attributes
            .into_iter()
            .map(|a| crate::ldap::entry::WireAttribute {
                description: a.description.into(),
                values: a.values.into_iter().map(Into::into).collect(),
            })
            .collect(),
    })
}

#[test]
fn the_same_question_is_asked_once() {
    let (mut rig, [one, other], upstream) = two(Settings::default());
    rig.search(one, 3, "(uid=ann)");
    rig.search(other, 4, "(UID=ann)");
    rig.search(other, 5, "(uid=bob)");
    let asked = rig.questions(upstream);
    assert_eq!(asked.len(), 2, "two of three are the same in the directory's words");
    rig.tell(upstream, asked[0], entry("ann"));
    // Its answer has begun: whoever comes now asks for itself.
    rig.search(one, 6, "(uid=ann)");
    let late = rig.questions(upstream);
    assert_eq!(late.len(), 1);
    rig.tell(upstream, asked[0], done());
    rig.tell(upstream, asked[1], done());
    rig.tell(upstream, late[0], done());
    let dn = "CN=ann,OU=Staff,ou=RXA,o=federation";
    assert_eq!(
        rig.heard(one),
        [format!("3 entry {dn}"), "3 done success (0)".into(), "6 done success (0)".into()]
    );
    assert_eq!(
        rig.heard(other),
        [format!("4 entry {dn}"), "4 done success (0)".into(), "5 done success (0)".into()]
    );
    assert_eq!(rig.engine.counts(), (2, 0, 1));
}

/// The limits and the attributes of a question are part of it.
#[test]
fn another_question_is_another() {
    let (mut rig, [one, other], upstream) = two(Settings::default());
    rig.say(one, 3, Wire::SearchRequest(search("(uid=ann)")));
    rig.say(other, 4, Wire::SearchRequest(Search { attributes: vec!["cn".into()], ..search("(uid=ann)") }));
    rig.say(other, 5, Wire::SearchRequest(Search { scope: Scope::One, ..search("(uid=ann)") }));
    rig.say(other, 6, Wire::SearchRequest(Search { time_limit: 3, ..search("(uid=ann)") }));
    // What was asked for is the same; what is shown of it is decided here.
    rig.say(other, 7, Wire::SearchRequest(Search { types_only: true, ..search("(uid=ann)") }));
    assert_eq!(rig.questions(upstream).len(), 4);
}

/// What happens to one client, or to the connection.
type Act<'a> = &'a dyn Fn(&mut Rig, usize, usize);

/// Whoever waits for the answer to a question that is given up, or lost, asks for itself.
#[test]
fn nobody_depends_on_another() {
    let abandon = |rig: &mut Rig, client, _| rig.say(client, 9, Wire::AbandonRequest(3));
    let leave = |rig: &mut Rig, client, _| {
        rig.engine.client_ended(client);
        rig.wishes();
    };
    let lose = |rig: &mut Rig, _, upstream| rig.end(upstream);
    let acts: [Act<'_>; 3] = [&abandon, &leave, &lose];
    for (at, act) in acts.into_iter().enumerate() {
        let (mut rig, [one, other], upstream) = two(Settings::default());
        rig.search(one, 3, "(uid=ann)");
        rig.search(other, 4, "(uid=ann)");
        assert_eq!(rig.questions(upstream).len(), 1);
        act(&mut rig, one, upstream);
        rig.engine.due_upstreams(&mut Vec::new());
        rig.wishes();
        if at == 2 {
            // The one server is asked once more; then it is left alone after its fault.
            let again = *rig.dialled.last().unwrap();
            assert_eq!((rig.heard(one).len(), rig.heard(other).len()), (0, 0));
            rig.end(again);
            assert_eq!(rig.heard(one), ["3 done unavailable (52)"]);
            assert_eq!(rig.heard(other), ["4 done unavailable (52)"]);
            continue;
        }
        let again = rig.questions(upstream);
        assert_eq!(again.len(), 1, "{at}");
        rig.tell(upstream, again[0], entry("ann"));
        rig.tell(upstream, again[0], done());
        assert_eq!(rig.heard(other).len(), 2, "{at}");
    }
}

/// A follower that goes away takes nothing from the others, and gets nothing.
#[test]
fn a_follower_may_go() {
    let (mut rig, [one, other], upstream) = two(Settings::default());
    rig.search(one, 3, "(uid=ann)");
    rig.search(other, 4, "(uid=ann)");
    rig.say(other, 5, Wire::AbandonRequest(4));
    let asked = rig.questions(upstream);
    rig.tell(upstream, asked[0], entry("ann"));
    rig.tell(upstream, asked[0], done());
    assert_eq!(rig.heard(one).len(), 2);
    assert_eq!(rig.heard(other), Vec::<String>::new());
    assert_eq!(rig.engine.counts(), (2, 0, 1));
}

#[test]
fn what_is_too_much_to_keep_is_asked_for_each() {
    for (settings, questions) in [
        (Settings { shared_bytes: 10, ..Settings::default() }, 1),
        (Settings { shared_questions: 0, ..Settings::default() }, 2),
        (Settings { shared_questions: 1, ..Settings::default() }, 2),
    ] {
        let (mut rig, [one, other], upstream) = two(settings.clone());
        rig.search(one, 3, "(uid=ann)");
        rig.search(other, 4, "(uid=ann)");
        if settings.shared_questions == 1 {
            rig.search(other, 5, "(uid=ann)");
        }
        let asked = rig.questions(upstream);
        assert_eq!(asked.len(), questions, "{settings:?}");
        for id in asked {
            rig.tell(upstream, id, entry("ann"));
            rig.tell(upstream, id, done());
        }
        rig.engine.due_upstreams(&mut Vec::new());
        for id in rig.questions(upstream) {
            rig.tell(upstream, id, entry("ann"));
            rig.tell(upstream, id, done());
        }
        assert_eq!(rig.heard(one).len(), 2);
        assert_eq!(rig.heard(other).iter().filter(|m| m.starts_with("4 ")).count(), 2);
    }
}

/// The directory's own refusal is everybody's; its trouble is asked about again.
#[test]
fn codes_are_shared_as_they_are_translated() {
    for (code, heard) in [
        (ResultCode::TIME_LIMIT_EXCEEDED, "done timeLimitExceeded (3)"),
        (ResultCode::SIZE_LIMIT_EXCEEDED, "done sizeLimitExceeded (4)"),
    ] {
        let (mut rig, [one, other], upstream) = two(Settings::default());
        rig.search(one, 3, "(uid=ann)");
        rig.search(other, 4, "(uid=ann)");
        let asked = rig.questions(upstream);
        rig.tell(upstream, asked[0], Wire::SearchDone(Outcome::new(code, "")));
        assert_eq!(rig.heard(one), [format!("3 {heard}")]);
        assert_eq!(rig.heard(other), [format!("4 {heard}")]);
    }
}
