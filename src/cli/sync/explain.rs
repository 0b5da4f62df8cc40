//! `portcullis sync explain`: why a person is there, missing or different in the national directory.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use time::OffsetDateTime;

use crate::ambient::text::printable;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::sync::explain::by_table::{Row, meant, reworded};
use crate::cli::sync::hands::runtime;
use crate::cli::sync::pause::holds;
use crate::cli::sync::publisher::Publisher;
use crate::cli::table::moment;
use crate::policy::set::PolicySet;
use crate::policy::terms::{Grant, OdsCode};
use crate::store::port::Store;
use crate::sync::hand::explain::{Findings, Owned, Person, Unowned, Who, explain, filter, fits};
use crate::sync::hand::look::{self, Look};
use crate::sync::people::books::DONE;
use crate::sync::planning::input::Beside;
use crate::sync::running::ledger::mends;
use crate::sync::terms::step::Step;
use crate::sync::writing::pause::{Pause, Pauses};

mod by_table;

/// Writes of one person that are told.
const WRITES: usize = 10;
const JOURNAL_PAGE: u32 = 1_000;
/// Organisations without a directory that are told one by one; `--json` has all.
const TABLES_TOLD: usize = 10;

/// What is answered.
#[derive(Debug, Serialize)]
struct Explained {
    who: String,
    /// What it was taken for.
    form: &'static str,
    looked: Vec<Looked>,
    people: Vec<Told>,
    unowned: Vec<Unowned>,
}

/// Where it was looked, and how old what is there is.
#[derive(Debug, Serialize)]
struct Looked {
    member: OdsCode,
    /// Its people come from tables.
    registers: bool,
    objects: usize,
    #[serde(with = "time::serde::rfc3339::option")]
    read_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    complete_at: Option<OffsetDateTime>,
    /// Why its national entries could not be seen; none when they were.
    national: Option<String>,
    /// Why it has no scope.
    scope: Option<String>,
}

/// A person with what is around.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    person: Person,
    /// The row, where the person comes from a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    registered: Option<Row>,
    gate: Option<String>,
    paused: Option<Pause>,
    /// How the last run ended, and when.
    last_run: Option<String>,
    writes: Vec<Write>,
}

/// One write from the journal, newest first.
#[derive(Debug, Serialize)]
struct Write {
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    plan: String,
    action: &'static str,
    dn: String,
    attributes: Vec<String>,
    /// What came of it.
    phase: String,
    reason: String,
}

/// Explains.
pub fn go(context: &Context, who: &str, member: Option<&OdsCode>) -> Result<Answer, Failure> {
    let asked = Who::of(who);
    let only = match (&asked, member) {
        (Who::Anchor(anchor), None) => Some(anchor.member.clone()),
        (_, member) => member.cloned(),
    };
    let publishers = match &only {
        Some(ods) => vec![Publisher::of(context, ods)?],
        None => Publisher::all(context)?,
    };
    let set = context.policies()?;
    let mut answer = Explained {
        who: who.to_owned(),
        form: asked.as_str(),
        looked: Vec::new(),
        people: Vec::new(),
        unowned: Vec::new(),
    };
    let store = context.store()?;
    // thousands of organisations register: those alone are asked for a GUID that have it
    let may = |one: &&Publisher| match &asked {
        Who::Guid(guid) if one.registers() => store.staged(one.ods(), &guid.0).is_ok_and(|one| one.is_some()),
        _ => true,
    };
    let codes: Vec<OdsCode> = publishers.iter().filter(may).map(|one| one.ods().clone()).collect();
    let national = context.config()?.national.for_sync();
    let units = match (&asked, filter(&asked, &codes)) {
        (_, Some(filter)) => {
            runtime()?.block_on(look::units(&national, filter)).map_err(|error| error.to_string())
        }
        (Who::Dn(dn), None) => Ok(look::unit(dn, &national.people_base).into_iter().collect()),
        (_, None) => Ok(BTreeSet::new()),
    };
    for publisher in &publishers {
        ask(context, &set, publisher, &asked, &units, &mut answer)?;
    }
    let found = !answer.people.is_empty() || !answer.unowned.is_empty();
    context.print(&answer, text)?;
    Ok(if found { Answer::Yes } else { Answer::No })
}

fn ask(
    context: &Context,
    set: &PolicySet,
    publisher: &Publisher,
    asked: &Who,
    units: &Result<BTreeSet<String>, String>,
    answer: &mut Explained,
) -> Result<(), Failure> {
    let (config, store, ods) = (context.config()?, context.store()?, publisher.ods());
    let national = config.national.for_sync();
    let look = look::look(store.as_ref(), publisher.subject(), set, &national).map_err(Failure::could_not)?;
    let asked = &if publisher.registers() { meant(asked, &look) } else { asked.clone() };
    // all of a member's entries are read only where somebody may be
    let code = ods.as_str().to_lowercase();
    let there = units.as_ref().is_ok_and(|units| units.contains(&code))
        || look.staged.objects().any(|object| fits(asked, &look, object));
    let (seen, trouble) = match units {
        Err(why) => (None, Some(why.clone())),
        Ok(_) if !there => (None, None),
        Ok(_) => match runtime()?.block_on(look::national(
            store.as_ref(),
            &look,
            &national,
            &config.sync.national_attributes,
            |object| fits(asked, &look, object),
        )) {
            Ok(seen) => (Some(seen), None),
            Err(error) => (None, Some(error.to_string())),
        },
    };
    let now = context.clock.now();
    let beside = Beside::of(store.as_ref(), ods, now).map_err(Failure::could_not)?;
    let Findings { mut people, unowned } =
        explain(asked, &look, seen, beside, &config.sync.national_attributes, now);
    answer.looked.push(Looked {
        member: ods.clone(),
        registers: publisher.registers(),
        objects: look.staged.objects().count(),
        read_at: look.read_at,
        complete_at: look.complete_at,
        national: trouble,
        scope: look.scope.as_ref().err().cloned(),
    });
    answer.unowned.extend(unowned);
    if people.is_empty() {
        return Ok(());
    }
    let pauses = Pauses::read(store.as_ref()).map_err(Failure::could_not)?;
    let gate = gate(store.as_ref(), ods)?;
    let mut writes = writes(store.as_ref(), ods, &people)?;
    if publisher.registers() {
        people.iter_mut().for_each(reworded);
    }
    answer.people.extend(people.into_iter().map(|person| {
        let Writes { first, last } = writes.remove(&person.anchor.to_string()).unwrap_or_default();
        Told {
            registered: Row::of(publisher, store, &person, first),
            gate: gate.clone(),
            paused: pauses.of(ods).cloned(),
            last_run: last_run(&look),
            writes: last,
            person,
        }
    }));
    Ok(())
}

fn last_run(look: &Look) -> Option<String> {
    let last = look.last.as_ref()?;
    Some(format!("{} at {}", last.outcome.as_str(), moment(last.ended_at)))
}

fn gate(store: &dyn Store, ods: &OdsCode) -> Result<Option<String>, Failure> {
    let gates = store.gates().map_err(Failure::could_not)?;
    let mine = gates.into_iter().find(|gate| gate.member == *ods && gate.grant == Grant::Sync);
    Ok(mine.map(|gate| match gate.reasons.first() {
        Some(why) if gate.state != "open" => format!("{}: {why}", gate.state),
        _ => gate.state,
    }))
}

/// The writes of one person.
#[derive(Default)]
struct Writes {
    /// When the first one was done.
    first: Option<OffsetDateTime>,
    /// The last ones.
    last: Vec<Write>,
}

/// The writes of these people, by anchor.
fn writes(store: &dyn Store, ods: &OdsCode, people: &[Person]) -> Result<BTreeMap<String, Writes>, Failure> {
    let anchors: Vec<String> = people.iter().map(|person| person.anchor.to_string()).collect();
    let mut found: BTreeMap<String, Writes> = BTreeMap::new();
    // whose step is which, to find what came of it
    let mut open: BTreeMap<(String, u64), String> = BTreeMap::new();
    let mut after = 0;
    loop {
        let part = store.journal(ods, after, JOURNAL_PAGE).map_err(Failure::could_not)?;
        let Some(last) = part.last().map(|line| line.seq) else { break };
        for line in part {
            let key = (line.entry.plan.clone(), line.entry.step);
            if line.entry.phase != "intended" {
                let Some(writes) = open.remove(&key).and_then(|anchor| found.get_mut(&anchor)) else {
                    continue;
                };
                if DONE.contains(&line.entry.phase.as_str()) {
                    writes.first.get_or_insert(line.entry.at);
                }
                let mut writes = writes.last.iter_mut().rev();
                if let Some(write) = writes.find(|write| write.plan == key.0) {
                    write.phase.clone_from(&line.entry.phase);
                }
                continue;
            }
            let Ok(step) = serde_json::from_slice::<Step>(&line.entry.document) else { continue };
            let Some(anchor) = step.anchor.as_ref().map(ToString::to_string) else { continue };
            if !anchors.contains(&anchor) {
                continue;
            }
            let writes = &mut found.entry(anchor.clone()).or_default().last;
            writes.push(Write {
                at: line.entry.at,
                plan: line.entry.plan,
                action: step.action.as_str(),
                dn: step.to.unwrap_or(step.dn),
                attributes: step.changes.into_iter().map(|change| change.attribute).collect(),
                phase: "intended".to_owned(),
                reason: step.reason,
            });
            if writes.len() > WRITES {
                writes.remove(0);
            }
            open.insert(key, anchor);
        }
        after = last;
    }
    found.values_mut().for_each(|writes| writes.last.reverse());
    Ok(found)
}

fn text(answer: &Explained) -> String {
    let mut out = String::new();
    for told in &answer.people {
        out.push_str(&person(told));
        out.push('\n');
    }
    for one in &answer.unowned {
        out.push_str(&format!("national entry {} {}\n", printable(&one.dn), one.text));
    }
    if answer.people.is_empty() && answer.unowned.is_empty() {
        out.push_str(&format!("nobody fits this {}\n", answer.form));
    }
    out.push_str(&looked(&answer.looked));
    out
}

fn looked(all: &[Looked]) -> String {
    let often = |at: Option<OffsetDateTime>| at.map_or("never".to_owned(), moment);
    let mut out = String::new();
    // what could not be seen is told of each
    let brief = |one: &&Looked| one.registers && one.national.is_none() && one.scope.is_none();
    let many = all.iter().filter(brief).count();
    let sums_up = many > TABLES_TOLD;
    if sums_up {
        let people: usize = all.iter().filter(brief).map(|one| one.objects).sum();
        out.push_str(&format!("looked in {many} organisations: {people} people registered by table\n"));
    }
    for one in all.iter().filter(|one| !sums_up || !brief(one)) {
        let (read, complete) = (often(one.read_at), often(one.complete_at));
        let (member, objects) = (&one.member, one.objects);
        out.push_str(&match one.registers {
            true => format!("looked in {member}: {objects} people registered by table"),
            false => format!("looked in {member}: {objects} objects, read {read}, everything {complete}"),
        });
        match &one.national {
            None => out.push_str("; its national entries as they are now\n"),
            Some(why) => out.push_str(&format!("; its national entries were NOT SEEN: {}\n", printable(why))),
        }
        if let Some(why) = &one.scope {
            out.push_str(&format!("  {member} has no scope: {}\n", printable(why)));
        }
    }
    out
}

fn person(told: &Told) -> String {
    let it = &told.person;
    let mut out = format!("{}: {}: {}\n", it.anchor, it.verdict.replace('_', " "), printable(&it.because));
    let mut line = |text: String| {
        out.push_str("  ");
        out.push_str(&printable(&text));
        out.push('\n');
    };
    line(origin(told));
    for (name, values) in &it.source {
        line(format!("  {name}: {}", values.join(" | ")));
    }
    if let Some(scope) = &it.scope {
        line(format!("scope {scope}:"));
    }
    for check in &it.path {
        line(format!("  {} {}: {}", if check.passed { "yes" } else { "NO " }, check.rule, check.text));
    }
    for one in &it.quarantine {
        let what = one.held.attribute.as_deref().unwrap_or("the person");
        let whose = mends(&one.held.code).map_or("somebody", |party| party.as_str());
        let since = moment(one.since);
        line(format!(
            "held back: {what} ({}) since {since}, {whose} to mend: {}",
            one.held.code, one.held.text
        ));
    }
    for one in &it.conflicts {
        line(format!(
            "{} {} is also that of {} ({} directory)",
            one.attribute, one.value, one.holder, one.place
        ));
    }
    match &it.entry {
        Some(entry) => line(format!("national entry {}", entry.dn)),
        None => line("no national entry".to_owned()),
    }
    if let Some(at) = it.left_at {
        let until = it.deleted_at.map_or("an unknown day".to_owned(), moment);
        line(format!("marked as a leaver {}, deleted from {until} on", moment(at)));
    }
    // of somebody who is not published and has no entry there is nothing to say of attributes
    for one in it.attributes.iter().filter(|one| !(one.wanted.is_empty() && one.is.is_empty())) {
        line(attribute(one, it.entry.is_some()));
    }
    for step in &it.steps {
        let names: Vec<&str> = step.changes.iter().map(|change| change.attribute.as_str()).collect();
        let what = step.to.clone().unwrap_or_else(|| names.join(" "));
        let run = if told.registered.is_some() { "the next `register --apply`" } else { "the next run" };
        line(format!("{run} would {}: {what}: {}", step.action, step.reason));
    }
    for write in &told.writes {
        let what = write.attributes.join(" ");
        line(format!("{} {} {}: {what} ({})", moment(write.at), write.action, write.phase, write.reason));
    }
    if told.registered.is_none() {
        line(format!("gate {}", told.gate.as_deref().unwrap_or("closed: never decided")));
    }
    if let Some(pause) = &told.paused {
        line(holds(pause));
    }
    line(format!("last run {}", told.last_run.as_deref().unwrap_or("never")));
    out
}

/// Where the person comes from.
fn origin(told: &Told) -> String {
    match (&told.registered, &told.person.local_dn) {
        (Some(row), _) => row.told(),
        (None, Some(dn)) => format!("in the member directory: {dn}"),
        (None, None) => "not in the member directory, as it was read last".to_owned(),
    }
}

fn attribute(one: &Owned, has_entry: bool) -> String {
    let (wanted, is) = (one.wanted.join(" | "), one.is.join(" | "));
    let mut sorted = (one.wanted.clone(), one.is.clone());
    sorted.0.sort();
    sorted.1.sort();
    let value = match (has_entry, sorted.0 == sorted.1 || one.wanted.is_empty()) {
        (true, true) => is,
        (true, false) => format!("is {is}, to be {wanted}"),
        (false, _) => format!("to be {wanted}"),
    };
    format!("  {}: {value} [{}]", one.attribute, one.owner)
}
