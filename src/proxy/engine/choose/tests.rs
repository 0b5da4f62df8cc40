//! Several servers behind one mount, and many mounts beside one that is ill, in virtual time.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ldap::message::{BindOutcome, Operation as Wire, Outcome, ResultCode};
use crate::policy::terms::Target;
use crate::proxy::engine::core::tests::{AGREEMENT, Rig, done, endpoint, person, rxa};
use crate::proxy::engine::key::PROBE_ID;
use crate::proxy::engine::launch::BIND_ID;
use crate::proxy::settings::Settings;
use crate::proxy::snapshot::{Endpoint, Mounted, Snapshot};
use crate::secret::text::Secret;

const UNAVAILABLE: &str = "done unavailable (52)";
const SUCCESS: &str = "done success (0)";

fn two() -> Rig {
    Rig::with_servers(Settings::default(), &[0, 0], &["RXA"])
}

/// Both servers connected; their connections, in the order of the servers.
fn both(rig: &mut Rig, client: usize) -> [usize; 2] {
    for id in 1_000.. {
        rig.turn(1_000);
        rig.ask(client, id, "RXA");
        for upstream in rig.dialled.clone() {
            if rig.engine.upstream_output(upstream).is_some_and(|out| out.is_empty())
                && rig.engine.is_dialling(upstream, &rig.snapshot.mounts[&Target::Member(rxa())].endpoint)
            {
                rig.bind(upstream);
            }
            rig.answer(upstream);
        }
        if rig.dialled.len() == 2 {
            break;
        }
        assert!(id < 1_100, "the second server is never dialled");
    }
    rig.heard(client);
    let mut both = [rig.dialled[0], rig.dialled[1]];
    both.sort_by_key(|upstream| rig.server_of(*upstream));
    assert_eq!(both.map(|upstream| rig.server_of(upstream)), [0, 1]);
    both
}

/// Which of the connections got a question when one was asked.
fn asked(rig: &mut Rig, client: usize, id: i32, among: &[usize]) -> Option<(usize, i32)> {
    rig.turn(1_000);
    rig.ask(client, id, "RXA");
    among.iter().find_map(|upstream| rig.questions(*upstream).first().map(|id| (*upstream, *id)))
}

#[test]
fn equal_servers_share_the_questions() {
    let mut rig = two();
    let client = rig.client();
    let servers = both(&mut rig, client);
    let mut counts = HashMap::new();
    for id in 2..402 {
        let (upstream, question) = asked(&mut rig, client, id, &servers).unwrap();
        rig.turn(500);
        rig.tell(upstream, question, done());
        *counts.entry(upstream).or_insert(0) += 1;
    }
    assert!(counts.values().all(|count| (100..300).contains(count)), "{counts:?}");
}

#[test]
fn the_slower_server_gets_fewer_questions() {
    let mut rig = two();
    let client = rig.client();
    let servers = both(&mut rig, client);
    let mut counts = [0; 2];
    for id in 2..202 {
        let (upstream, question) = asked(&mut rig, client, id, &servers).unwrap();
        let slow = upstream == servers[1];
        rig.turn(if slow { 50_000 } else { 500 });
        rig.tell(upstream, question, done());
        counts[usize::from(slow)] += 1;
    }
    assert!(counts[1] < 20 && counts[1] > 0, "{counts:?}");
}

/// One write per connection and turn: what comes in one turn goes to one server, up to the depth.
#[test]
fn the_questions_of_a_turn_go_one_way() {
    let mut rig = two();
    let client = rig.client();
    let servers = both(&mut rig, client);
    rig.turn(1_000);
    for id in 2..6 {
        rig.ask(client, id, "RXA");
    }
    let counts = servers.map(|upstream| rig.questions(upstream).len());
    assert!(counts == [4, 0] || counts == [0, 4], "{counts:?}");
}

#[test]
fn a_server_in_back_off_keeps_no_other_from_being_dialled() {
    let mut rig = two();
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    let first = rig.dials[0];
    rig.end(first.0);
    assert_eq!(rig.heard(client), Vec::<String>::new(), "the question waits for the other server");
    let second = rig.dials[1];
    assert_ne!(first.1, second.1);
    rig.bind(second.0);
    assert_eq!(rig.answer(second.0), 1);
    assert_eq!(rig.heard(client), [format!("2 {SUCCESS}")]);
}

#[test]
fn when_no_server_can_be_reached_the_answer_comes_at_once() {
    let mut rig = two();
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    rig.end(rig.dials[0].0);
    rig.end(rig.dials[1].0);
    assert_eq!(rig.heard(client), [format!("2 {UNAVAILABLE}")]);
    rig.ask(client, 3, "RXA");
    assert_eq!((rig.heard(client), rig.dials.len()), (vec![format!("3 {UNAVAILABLE}")], 2));
}

#[test]
fn a_dial_that_hangs_does_not_keep_the_other_server_back() {
    let mut rig = two();
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    rig.pass(280_000, 20_000);
    assert_eq!(rig.dials.len(), 1);
    rig.pass(60_000, 20_000);
    assert_eq!(rig.dials.len(), 2);
    let second = rig.dials[1].0;
    rig.bind(second);
    assert_eq!(rig.answer(second), 1);
    assert_eq!(rig.heard(client), [format!("2 {SUCCESS}")]);
}

/// T58: a Notice of Disconnection, or just the end, moves what was asked to the other server.
#[test]
fn what_a_lost_connection_did_not_answer_the_other_server_does() {
    for notice in [true, false] {
        let mut rig = two();
        let client = rig.client();
        let servers = both(&mut rig, client);
        let (lost, _) = asked(&mut rig, client, 2, &servers).unwrap();
        let other = servers[usize::from(lost == servers[0])];
        match notice {
            true => rig.tell(lost, 0, Wire::ExtendedResponse(Default::default())),
            false => rig.end(lost),
        }
        assert_eq!(rig.heard(client), Vec::<String>::new());
        let question = rig.questions(other)[0];
        rig.tell(other, question, Wire::SearchEntry(person("ann").as_wire()));
        rig.tell(other, question, done());
        let heard = rig.heard(client);
        assert_eq!(heard, ["2 entry CN=ann,OU=Staff,ou=RXA,o=federation".to_owned(), format!("2 {SUCCESS}")]);
    }
}

#[test]
fn an_answer_that_has_begun_is_not_asked_for_again() {
    let mut rig = two();
    let client = rig.client();
    let servers = both(&mut rig, client);
    let (lost, question) = asked(&mut rig, client, 2, &servers).unwrap();
    let other = servers[usize::from(lost == servers[0])];
    rig.tell(lost, question, Wire::SearchEntry(person("ann").as_wire()));
    rig.end(lost);
    assert_eq!(rig.heard(client).last().unwrap(), &format!("2 {UNAVAILABLE}"));
    assert_eq!(rig.questions(other).len(), 0);
}

#[test]
fn a_busy_server_is_passed_over_and_left_alone_when_it_stays_busy() {
    let mut rig = two();
    let client = rig.client();
    let servers = both(&mut rig, client);
    let busy = || Wire::SearchDone(Outcome::new(ResultCode::BUSY, ""));
    let mut refusals = 0;
    for id in 2..40 {
        let Some((upstream, question)) = asked(&mut rig, client, id, &servers) else {
            panic!("nobody asked")
        };
        if upstream == servers[0] {
            refusals += 1;
            rig.tell(upstream, question, busy());
            assert_eq!(rig.answer(servers[1]), 1, "asked of the other at once");
        } else {
            rig.tell(upstream, question, done());
        }
        assert_eq!(rig.heard(client), [format!("{id} {SUCCESS}")]);
    }
    assert_eq!(refusals, 3, "after three refusals in a row it is left alone");
    // When the other one is busy too, that is said; nobody is asked a third time.
    let (upstream, question) = asked(&mut rig, client, 50, &servers).unwrap();
    rig.tell(upstream, question, busy());
    let question = rig.questions(servers[0])[0];
    rig.tell(servers[0], question, busy());
    assert_eq!(rig.heard(client), [format!("50 {UNAVAILABLE}")]);
    assert_eq!(rig.questions(servers[1]).len(), 0);
}

#[test]
fn a_question_is_asked_again_a_limited_number_of_times() {
    let mut rig = Rig::with_servers(Settings::default(), &[0; 6], &["RXA"]);
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    let mut asked = 0;
    while rig.heard(client).is_empty() {
        let upstream = *rig.dialled.last().unwrap();
        rig.bind(upstream);
        asked += rig.questions(upstream).len();
        rig.end(upstream);
    }
    assert_eq!(asked, 3, "once, and two more times");
}

/// Fail-back: one trial, not a stampede, and no question before it has shown that it answers.
#[test]
fn a_server_that_comes_back_is_tried_once_and_then_asked() {
    let mut rig = two();
    let client = rig.client();
    let servers = both(&mut rig, client);
    let (lost, _) = asked(&mut rig, client, 2, &servers).unwrap();
    let other = servers[usize::from(lost == servers[0])];
    let place = rig.server_of(lost);
    rig.end(lost);
    rig.answer(other);
    let dials = rig.dials.len();
    for id in 3..103 {
        rig.turn(20_000);
        rig.ask(client, id, "RXA");
        rig.answer(other);
    }
    assert_eq!(rig.dials.len(), dials + 1, "one trial in two seconds, however many ask");
    let (trial, server) = rig.dials[dials];
    assert_eq!(server, place);
    rig.bind(trial);
    for id in 103..153 {
        rig.turn(1_000);
        rig.ask(client, id, "RXA");
        assert_eq!(rig.answer(other), 1, "the trial is not over");
    }
    rig.tell(trial, PROBE_ID, done());
    let mut came_back = 0;
    for id in 153..253 {
        rig.turn(1_000);
        rig.ask(client, id, "RXA");
        came_back += rig.answer(trial);
        rig.answer(other);
    }
    assert!(came_back > 10, "{came_back}");
    assert!(rig.heard(client).iter().all(|line| line.ends_with(SUCCESS)));
}

#[test]
fn trials_of_a_server_that_stays_away_grow_rare() {
    let mut rig = two();
    let client = rig.client();
    let servers = both(&mut rig, client);
    rig.end(servers[0]);
    rig.ask(client, 2, "RXA");
    let mut dials = 0;
    for id in 3..3_003 {
        rig.turn(20_000);
        rig.ask(client, id, "RXA");
        for upstream in rig.dialled.clone() {
            if rig.server_of(upstream) == 0 && upstream != servers[1] {
                dials += 1;
                rig.end(upstream);
            }
        }
        rig.answer(servers[1]);
    }
    assert!((5..15).contains(&dials), "{dials} trials in a minute");
    assert!(rig.heard(client).iter().all(|line| line.ends_with(SUCCESS)));
}

#[test]
fn the_far_site_is_asked_only_while_the_near_one_is_away() {
    let mut rig = Rig::with_servers(Settings::default(), &[1, 0], &["RXA"]);
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    let (near, server) = rig.dials[0];
    assert_eq!(server, 1);
    rig.bind(near);
    rig.answer(near);
    for id in 3..103 {
        rig.turn(1_000);
        rig.ask(client, id, "RXA");
        rig.answer(near);
    }
    assert_eq!(rig.dials.len(), 1, "nobody went far");
    rig.ask(client, 103, "RXA");
    rig.end(near);
    let (far, server) = rig.dials[1];
    assert_eq!(server, 0);
    rig.bind(far);
    assert_eq!(rig.answer(far), 1);
    rig.pass(400_000, 20_000);
    let (trial, server) = rig.dials[2];
    assert_eq!(server, 1);
    rig.bind(trial);
    rig.tell(trial, PROBE_ID, done());
    rig.ask(client, 104, "RXA");
    assert_eq!((rig.answer(trial), rig.answer(far)), (1, 0), "back home");
    assert!(rig.heard(client).iter().all(|line| line.ends_with(SUCCESS)));
}

/// A wrong password must not be tried at every server: the account could be locked.
#[test]
fn a_refused_account_is_refused_everywhere() {
    let mut rig = Rig::with_servers(Settings::default(), &[0, 0, 0], &["RXA"]);
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    let upstream = rig.dialled[0];
    rig.engine.upstream_opened(upstream);
    let outcome = Outcome::new(ResultCode::INVALID_CREDENTIALS, "data 52e");
    rig.tell(upstream, BIND_ID, Wire::BindResponse(BindOutcome { outcome, credentials: None }));
    assert_eq!(rig.heard(client), [format!("2 {UNAVAILABLE}")]);
    rig.turn(10_000);
    rig.ask(client, 3, "RXA");
    assert_eq!((rig.heard(client), rig.dials.len()), (vec![format!("3 {UNAVAILABLE}")], 1));
    // One that cannot bind anybody now is another matter.
    let mut rig = two();
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    let upstream = rig.dialled[0];
    rig.engine.upstream_opened(upstream);
    let outcome = Outcome::new(ResultCode::BUSY, "");
    rig.tell(upstream, BIND_ID, Wire::BindResponse(BindOutcome { outcome, credentials: None }));
    assert_eq!(rig.dials.len(), 2);
}

fn remount(rig: &mut Rig, endpoint: Arc<Endpoint>) {
    let target = Target::Member(rxa());
    let mapping = rig.snapshot.mounts[&target].mapping.clone();
    rig.snapshot = Arc::new(Snapshot {
        agreements: rig.snapshot.agreements.clone(),
        routes: rig.snapshot.routes.clone(),
        mounts: HashMap::from([(target, Mounted { mapping, endpoint })]),
        requesters: rig.snapshot.requesters.clone(),
    });
    rig.turn(1_000);
}

#[test]
fn a_new_list_of_servers_keeps_the_connections_that_it_has() {
    let mut rig = two();
    let client = rig.client();
    let [first, second] = both(&mut rig, client);
    let mut list = endpoint(None, &[0, 0, 0]);
    // The second server is now the first, the first is gone, and there is a new one.
    let servers = &mut Arc::get_mut(&mut list).unwrap().servers;
    servers.swap(0, 1);
    servers.remove(1);
    let (in_flight, question) = asked(&mut rig, client, 2, &[first, second]).unwrap();
    remount(&mut rig, list);
    rig.tell(in_flight, question, done());
    assert_eq!(rig.heard(client), [format!("2 {SUCCESS}")], "what is in flight ends well");
    rig.turn(1_000);
    assert_eq!(rig.dialled, [second], "the connection to the server that is gone closes");
    rig.ask(client, 3, "RXA");
    assert_eq!(rig.answer(second), 1);
    let mut other = endpoint(None, &[0, 0]);
    Arc::get_mut(&mut other).unwrap().password = Secret::new("another".to_owned());
    remount(&mut rig, other);
    rig.turn(250_000);
    assert!(!rig.dialled.contains(&second), "another account has connections of its own");
}

#[test]
fn without_any_server_nobody_waits() {
    let mut rig = Rig::with_servers(Settings::default(), &[], &["RXA"]);
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    assert_eq!(rig.heard(client), [format!("2 {UNAVAILABLE}")]);
}

/// Ten members; one never answers, one cannot be connected to, one comes and goes. The others answer in the turn in
/// which they are told, and the ill ones keep no more than they may.
#[test]
fn ill_members_take_nothing_of_the_others() {
    let members: Vec<String> = (0..10).map(|n| format!("RX{n}")).collect();
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    let settings = Settings { waiting_per_requester: 8, waiting: 8, ..Settings::default() };
    let mut rig = Rig::with_servers(settings, &[0], &members);
    let clients: Vec<usize> = (0..10).map(|_| rig.client()).collect();
    let (slow, stalled, vanishing) = (0, 1, 2);
    let mut upstreams: HashMap<usize, usize> = HashMap::new();
    let mut busy = [0; 10];
    let mut id = 1;
    for round in 0..60 {
        id += 1;
        let made = rig.dials.len();
        rig.turn(20_000);
        // the one that comes and goes is tried without a question, too
        for at in made..rig.dials.len() {
            rig.end(rig.dials[at].0);
        }
        for (n, member) in members.iter().enumerate() {
            let before = rig.dials.len();
            rig.ask(clients[n], id, member);
            if let Some((upstream, _)) = rig.dials.get(before).copied() {
                upstreams.insert(n, upstream);
                match n {
                    _ if n == stalled => {}
                    _ if n == vanishing && round % 2 == 0 => rig.end(upstream),
                    _ => rig.bind(upstream),
                }
            }
            if n == vanishing
                && let Some(upstream) = upstreams.remove(&n)
            {
                rig.end(upstream);
            }
            if n > vanishing {
                assert_eq!(rig.answer(upstreams[&n]), 1);
                assert_eq!(rig.heard(clients[n]), [format!("{id} {SUCCESS}")]);
            } else {
                busy[n] += rig.heard(clients[n]).iter().filter(|line| line.ends_with("busy (51)")).count();
            }
        }
    }
    let open = rig.engine.counts().1;
    assert_eq!(open, 4 + 8 + 8, "at the slow one, in line for it, and what waits for the stalled one");
    assert_eq!((busy[slow], busy[stalled], busy[vanishing]), (60 - 4 - 8, 60 - 8, 0));
}

/// What an agreement allows at once is counted for each directory: one that hangs takes nothing from the others.
#[test]
fn a_hung_member_takes_no_permits_of_the_others() {
    let agreement = AGREEMENT;
    let mut rig = Rig::build(agreement, None, Settings::default(), &[0], &["RXA", "RXB"]);
    let client = rig.client();
    for id in 2..13 {
        rig.ask(client, id, "RXA");
    }
    assert_eq!(rig.heard(client), ["12 done busy (51)"], "ten at once");
    rig.ask(client, 20, "RXB");
    let upstream = rig.connect();
    assert_eq!(rig.answer(upstream), 1);
    assert_eq!(rig.heard(client), [format!("20 {SUCCESS}")]);
}
