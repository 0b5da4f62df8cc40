//! What must hold when a schedule has ended.

use std::collections::BTreeMap;

use portcullis::store::port::Store;

use crate::sync_faults::national::PEOPLE;
use crate::sync_faults::schedule::Schedule;
use crate::sync_faults::tree::Entry;
use crate::sync_faults::world::{People, expected};

const CONTENT: [&str; 8] =
    ["uid", "cn", "sn", "mail", "title", "telephonenumber", "employeenumber", "manager"];
/// What tells where somebody is, and must not be there for one who has left.
const LISTED: [&str; 4] = ["mail", "title", "telephonenumber", "manager"];

fn published(schedule: &Schedule) -> People {
    let mut people = People::new();
    let national = schedule.national.lock().unwrap();
    let accounts = national.tree.entries.values().filter(|entry| !entry.values("uid").is_empty());
    for entry in accounts {
        let Some(anchor) = entry.first("portcullisanchor") else {
            schedule.trace.wrong(format!("{} is nobody's", entry.dn));
            continue;
        };
        if !entry.values("portcullisleftat").is_empty() {
            leaver(schedule, entry);
            continue;
        }
        let values = CONTENT.iter().filter_map(|name| {
            let values = entry.values(name);
            if values.len() > 1 {
                schedule.trace.wrong(format!("{name} of {anchor} has several values"));
            }
            values.first().map(|value| ((*name).to_owned(), value.clone()))
        });
        if people.insert(anchor.to_owned(), values.collect()).is_some() {
            schedule.trace.wrong(format!("{anchor} is there twice"));
        }
    }
    people
}

fn leaver(schedule: &Schedule, entry: &Entry) {
    for name in LISTED {
        if !entry.values(name).is_empty() {
            schedule.trace.wrong(format!("{} has left and still has {name}", entry.dn));
        }
    }
}

/// How many people are published.
pub fn people(schedule: &Schedule) -> u64 {
    published(schedule).len() as u64
}

pub fn everything(schedule: &Schedule) {
    let mut wanted = People::new();
    for member in schedule.members.values() {
        wanted.extend(expected(&member.lock().unwrap().truth, PEOPLE));
    }
    let found = published(schedule);
    for (anchor, entry) in &wanted {
        match found.get(anchor) {
            None => schedule.trace.wrong(format!("{anchor} is not published: {entry:?}")),
            Some(other) if other != entry => {
                schedule.trace.wrong(format!("{anchor} is {other:?} and should be {entry:?}"));
            }
            Some(_) => {}
        }
    }
    for anchor in found.keys().filter(|anchor| !wanted.contains_key(*anchor)) {
        schedule.trace.wrong(format!("{anchor} is published and should not be"));
    }
    for code in schedule.members.keys() {
        journal(schedule, code);
    }
}

/// Each intention has one outcome, and the outcome is what happened.
fn journal(schedule: &Schedule, code: &str) {
    let lines = schedule.store.journal(&code.parse().unwrap(), 0, u32::MAX).unwrap();
    let national = schedule.national.lock().unwrap();
    let applied: BTreeMap<u64, bool> = national
        .intents
        .iter()
        .filter(|intent| intent.member == code)
        .map(|intent| (intent.seq, intent.applied))
        .collect();
    let mut open: BTreeMap<(String, u64), u64> = BTreeMap::new();
    for line in &lines {
        let key = (line.entry.plan.clone(), line.entry.step);
        let phase = line.entry.phase.as_str();
        if phase == "intended" {
            if open.insert(key, line.seq).is_some() {
                schedule.trace.wrong(format!("{code}: line {} intends what is intended already", line.seq));
            }
            continue;
        }
        let Some(seq) = open.remove(&key) else {
            schedule.trace.wrong(format!("{code}: line {} is {phase} of what nobody intended", line.seq));
            continue;
        };
        let prepares =
            national.intents.iter().any(|one| one.seq == seq && one.step.action.as_str() == "prepare");
        let done = matches!(phase, "done" | "found_done");
        let late = national.came_late(code, seq);
        if done != applied[&seq] && !(prepares && done) && !late {
            let what = national.intents.iter().find(|one| one.seq == seq).map(|one| &one.step);
            schedule.trace.wrong(format!(
                "{code}: line {} says {phase} of line {seq}, and it was applied: {}: {what:?}",
                line.seq, applied[&seq]
            ));
        }
    }
    if !open.is_empty() {
        schedule.trace.wrong(format!("{code}: nobody knows what became of {open:?}"));
    }
}
