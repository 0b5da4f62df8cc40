//! One requester asks for much, another for little, in virtual time.

use std::collections::{HashMap, VecDeque};

use crate::ldap::message::Operation as Wire;
use crate::proxy::engine::core::tests::{Rig, done, id_of, short, wide};
use crate::proxy::engine::key::PROBE_ID;
use crate::proxy::settings::Settings;
use crate::proxy::snapshot::Snapshot;

const STEP: u64 = 5_000;
/// What the directory needs for a list, and for anything else.
const LIST: u64 = 150_000;
const LOOKUP: u64 = 1_000;

/// An Active Directory of the kind that answers the questions of one connection one after the other.
#[derive(Default)]
struct Serial {
    /// By connection: what is asked and how long it takes, and how far the first is.
    connections: HashMap<usize, (VecDeque<(i32, u64)>, u64)>,
}

impl Serial {
    fn work(&mut self, rig: &mut Rig) {
        for upstream in rig.dialled.clone() {
            let (queue, spent) = self.connections.entry(upstream).or_insert_with(|| {
                rig.bind(upstream);
                Default::default()
            });
            let asked = rig.asked(upstream);
            for message in asked.iter().filter(|message| short(message).contains(" search ")) {
                let takes = if short(message).contains("(cn=") { LIST } else { LOOKUP };
                queue.push_back((id_of(message), takes));
            }
            *spent = if queue.is_empty() { 0 } else { *spent + STEP };
            let mut answers = Vec::new();
            while let Some((id, takes)) = queue.front().copied().filter(|(_, takes)| takes <= spent) {
                *spent -= takes;
                queue.pop_front();
                answers.push(id);
            }
            for id in answers {
                rig.tell(upstream, id, done());
            }
        }
    }
}

/// How long the lookups of one requester take at the worst, while another keeps 80 lists in flight, or asks for them and
/// takes that back at once.
fn worst_lookup(settings: Settings, abandons: bool) -> u64 {
    let mut rig = Rig::with(&["RXA"], None, &wide(), Settings { shared_questions: 0, ..settings });
    let greedy: Vec<usize> = (0..20).map(|_| rig.client_as("bb")).collect();
    let modest = rig.client();
    let mut directory = Serial::default();
    let mut lists: HashMap<usize, u32> = HashMap::new();
    let (mut id, mut since, mut worst, mut answered) = (1, None, 0, 0);
    for step in 0..4_000 {
        rig.turn(STEP);
        directory.work(&mut rig);
        for client in &greedy {
            let open = lists.entry(*client).or_default();
            *open -= rig.heard(*client).len() as u32;
            while *open < 4 {
                id += 1;
                rig.search(*client, id, &format!("(cn={id}*)"));
                match abandons {
                    true => {
                        rig.say(*client, id + 1_000_000, Wire::AbandonRequest(id));
                        break;
                    }
                    false => *open += 1,
                }
            }
        }
        // The first moments, in which nothing is known of anybody, are not what this is about.
        if let Some((asked, at)) = since
            && !rig.heard(modest).is_empty()
        {
            worst = if asked > 400 { worst.max(rig.now - at) } else { worst };
            answered += 1;
            since = None;
        }
        if since.is_none() && step % 40 == 0 {
            id += 1;
            rig.search(modest, id, "(uid=ann)");
            since = Some((step, rig.now));
        }
    }
    assert!(answered > 40 || worst > 3 * LIST, "{answered} lookups, {worst} microseconds");
    worst
}

#[test]
fn lists_of_one_requester_do_not_hold_up_lookups_of_another() {
    let worst = worst_lookup(Settings::default(), false);
    assert!(worst <= LIST, "{worst} microseconds");
    let shared =
        Settings { questions_per_requester: 1_000, slow_milliseconds: 60_000, ..Settings::default() };
    let worst = worst_lookup(shared, false);
    assert!(worst > 3 * LIST, "without shares they do: {worst} microseconds");
}

#[test]
fn to_abandon_questions_buys_no_room() {
    let worst = worst_lookup(Settings::default(), true);
    assert!(worst <= LIST, "{worst} microseconds");
}

#[test]
fn who_waits_for_its_turn_hears_so_at_its_deadline() {
    let mut rig = Rig::with(&["RXA"], None, &wide(), Settings { shared_questions: 0, ..Settings::default() });
    let client = rig.client();
    (2..40).for_each(|id| rig.search(client, id, "(cn=*)"));
    let upstream = rig.connect();
    for _ in 0..800 {
        rig.turn(20_000);
        if rig.asked(upstream).iter().any(|message| id_of(message) == PROBE_ID) {
            rig.tell(upstream, PROBE_ID, done());
        }
    }
    let heard = rig.heard(client);
    let busy = heard.iter().filter(|line| line.ends_with("busy (51)")).count();
    let unavailable = heard.iter().filter(|line| line.ends_with("unavailable (52)")).count();
    assert_eq!((busy, unavailable), (38 - 4, 4), "{heard:?}");
    assert_eq!(rig.engine.counts().1, 0);
}

#[test]
fn a_line_is_bounded_and_moves_on() {
    let settings = Settings { shared_questions: 0, waiting_per_requester: 10, ..Settings::default() };
    let mut rig = Rig::with(&["RXA"], None, &wide(), settings);
    let client = rig.client();
    rig.search(client, 2, "(uid=ann)");
    let upstream = rig.connect();
    rig.answer(upstream);
    rig.heard(client);
    (3..33).for_each(|id| rig.search(client, id, "(uid=ann)"));
    let refused = rig.heard(client);
    assert_eq!(refused.len(), 16, "4 are asked and 10 wait: {refused:?}");
    assert!(refused.iter().all(|line| line.ends_with("busy (51)")));
    assert_eq!(rig.answer(upstream), 4);
    let mut due = Vec::new();
    rig.engine.due_upstreams(&mut due);
    assert_eq!(rig.answer(upstream), 8, "in the same turn, and more than before");
    rig.engine.due_upstreams(&mut due);
    assert_eq!(rig.answer(upstream), 2);
    assert_eq!(rig.heard(client).len(), 14);
}

/// A new snapshot comes with every sync of any member.
#[test]
fn shares_outlive_a_new_snapshot_of_the_same_servers() {
    let mut rig = Rig::with(&["RXA"], None, &wide(), Settings { shared_questions: 0, ..Settings::default() });
    let client = rig.client();
    (2..10).for_each(|id| rig.search(client, id, "(cn=*)"));
    let upstream = rig.connect();
    assert_eq!(rig.questions(upstream).len(), 4);
    rig.snapshot = std::sync::Arc::new(Snapshot {
        agreements: rig.snapshot.agreements.clone(),
        routes: rig.snapshot.routes.clone(),
        mounts: rig
            .snapshot
            .mounts
            .iter()
            .map(|(target, mounted)| (target.clone(), mounted.clone()))
            .collect(),
        requesters: rig.snapshot.requesters.clone(),
    });
    rig.turn(1_000);
    rig.search(client, 20, "(cn=*)");
    rig.turn(20_000);
    assert_eq!(rig.questions(upstream).len(), 0, "four are at work");
    assert_eq!(rig.dials.len(), 1);
}

#[test]
fn an_answer_frees_what_was_given_up_before() {
    let mut rig = Rig::with(&["RXA"], None, &wide(), Settings { shared_questions: 0, ..Settings::default() });
    let client = rig.client();
    rig.search(client, 50, "(cn=*)");
    let upstream = rig.connect();
    rig.answer(upstream);
    (2..5).for_each(|id| rig.search(client, id, "(cn=*)"));
    assert_eq!(rig.questions(upstream).len(), 3);
    rig.turn(1_000);
    rig.search(client, 5, "(cn=*)");
    let asked = rig.questions(upstream);
    (2..5).for_each(|id| rig.say(client, 10 + id, Wire::AbandonRequest(id)));
    (20..30).for_each(|id| rig.search(client, id, "(cn=*)"));
    rig.turn(1_000);
    assert_eq!(rig.questions(upstream).len(), 0, "the server may work on them all the same");
    rig.tell(upstream, asked[0], done());
    rig.engine.due_upstreams(&mut Vec::new());
    assert!(rig.questions(upstream).len() >= 4);
}
