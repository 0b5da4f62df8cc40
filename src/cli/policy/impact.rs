//! `portcullis policy impact`: what a policy set would change for every member, before it is in force.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::{Args, ValueEnum};
use time::{Date, OffsetDateTime, Time};

use crate::app::gates::denied_since;
use crate::assess::collect::collect;
use crate::assess::impact::{
    Announced, ControlImpact, Fix, GrantImpact, IdleMember, Impact, MemberImpact, Touched,
};
use crate::assess::judge::{Baselines, compile};
use crate::assess::report::trend::Pair;
use crate::assess::run::sign;
use crate::assess::standing::{Idle, Known, about};
use crate::assess::target::Target;
use crate::assess::trial::{Candidate, Trial};
use crate::baseline::facts::Evidence;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::policy::{look, sound};
use crate::cli::progress::told;
use crate::cli::table::{date, day, table};
use crate::gate::decide::GateState;
use crate::policy::set::PolicySet;
use crate::policy::terms::{Grant, OdsCode};
use crate::secret::signing::Signer;
use crate::store::member::Member;
use crate::store::port::Store;

/// Packed documents up to this many bytes are unpacked whole, which is read twice as fast; larger ones would take too much memory.
const WHOLE_MAX: usize = 1 << 20;
/// Rows that the text shows of each table; JSON has all.
const ROWS: usize = 20;

/// Hold a new policy set and the one in force against the evidence of every member: who would newly fail or pass what, who would lose
/// or gain which grant, how many people that touches, and which single control keeps most gates shut. Nothing is changed.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder, file or bundle with the new set.
    new: PathBuf,
    /// What the new set is compared with; the set that counts for the gateway when left out.
    #[arg(long, value_name = "PATH")]
    old: Option<PathBuf>,
    /// `recorded`: the latest evidence of every member, nothing is asked of any directory. `live`: ask them now, for everything that
    /// the new set needs; what is found is judged and not kept.
    #[arg(long, value_enum, default_value_t = Against::Recorded)]
    against: Against,
    /// Only these members.
    #[arg(long = "member", value_name = "ODS")]
    members: Vec<OdsCode>,
    /// Judge the new set as on this day (YYYY-MM-DD): controls are enforced from a day, exceptions end.
    #[arg(long, value_name = "DAY", value_parser = date)]
    at: Option<Date>,
}

/// Which evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Against {
    Recorded,
    Live,
}

/// Runs the command. The answer is no when some member would lose a grant, now or when a grace ends, and could not tell when some could not
/// be judged.
pub fn run(arguments: &Arguments, context: &Context) -> Result<Answer, Failure> {
    let new = match sound(look(Some(arguments.new.clone()), context)?, context)? {
        Ok(taken) => taken.set,
        Err(answer) => return Ok(answer),
    };
    let old = look(arguments.old.clone(), context)?;
    if !old.faults.is_empty() {
        return Err(Failure::could_not(format!(
            "{} has {} faults, so that there is nothing to compare with: run `portcullis policy check {0}`, or name another set with --old",
            old.origin,
            old.faults.len()
        )));
    }
    let old = old.set;
    let now = context.clock.now();
    let trial = Trial {
        before: Baselines::of(&old).map_err(Failure::could_not)?,
        after: Baselines::of(&new).map_err(Failure::could_not)?,
        at: Pair { before: now, now: moment(arguments.at, now)? },
    };
    let candidates = candidates(&arguments.members, context)?;
    let store = context.store()?.as_ref();
    let live = match arguments.against {
        Against::Recorded => None,
        Against::Live => Some(ask(&candidates, &new, context)?),
    };
    let recorded = |ods: &OdsCode| match &live {
        Some(found) => Ok(found.iter().find(|evidence| evidence.member == *ods).cloned()),
        None => latest(store, ods),
    };
    let progress = Progress::of(candidates.len(), context);
    let impact = trial.run(&candidates, &recorded, &|done| progress.tell(done));
    context.print(&impact, text)?;
    Ok(answer(&impact))
}

fn answer(impact: &Impact) -> Answer {
    if impact.grants.iter().any(|grant| grant.lost.members + grant.lost_later.members > 0) {
        return Answer::No;
    }
    // of old evidence nobody can say what it would do to gates, and where nobody else is, nothing is said of any
    let nobody = impact.idle.len() >= usize::try_from(impact.judged.members).unwrap_or(usize::MAX);
    let is_stale = |idle: &IdleMember| matches!(reason(idle), Some(Idle::Stale { .. }));
    let blind = nobody && (impact.idle.is_empty() || impact.idle.iter().any(is_stale));
    match impact.not_judged.is_empty() && !blind {
        true => Answer::Yes,
        false => Answer::Unknown,
    }
}

/// The start of the day; a day that has begun is now.
fn moment(day: Option<Date>, now: OffsetDateTime) -> Result<OffsetDateTime, Failure> {
    let Some(day) = day else { return Ok(now) };
    let at = day.with_time(Time::MIDNIGHT).assume_utc();
    match day < now.date() {
        true => Err(Failure::refused(format!("{day} is over: --at looks ahead"))),
        false => Ok(at.max(now)),
    }
}

fn candidates(wanted: &[OdsCode], context: &Context) -> Result<Vec<Candidate>, Failure> {
    let store = context.store()?;
    let mut all: Vec<Member> = store.members().map_err(Failure::could_not)?;
    all.retain(|member| member.state.is_measured());
    if let Some(unknown) = wanted.iter().find(|ods| !all.iter().any(|member| member.ods == **ods)) {
        return Err(Failure::refused(format!("there is no member {unknown} that is measured")));
    }
    if !wanted.is_empty() {
        all.retain(|member| wanted.contains(&member.ods));
    }
    let granted = store.exceptions(None).map_err(Failure::could_not)?;
    let of = |member: &Member| granted.iter().filter(|e| e.member == member.ods).cloned().collect();
    let mut states: BTreeMap<OdsCode, BTreeMap<Grant, GateState>> = BTreeMap::new();
    for gate in store.gates().map_err(Failure::could_not)? {
        // until when one is held is counted from since when its control denies
        let state = if gate.state == "closed" { GateState::Closed } else { GateState::Open };
        states.entry(gate.member).or_default().insert(gate.grant, state);
    }
    let candidate = |member: Member| {
        let since = denied_since(store.as_ref(), &member.ods).map_err(Failure::could_not)?;
        let known = Known { states: states.remove(&member.ods).unwrap_or_default(), denied_since: since };
        Ok(Candidate { granted: of(&member), gates: known, member })
    };
    all.into_iter().map(candidate).collect()
}

fn latest(store: &dyn Store, ods: &OdsCode) -> Result<Option<Evidence>, String> {
    let record = store.latest_evidence(ods).map_err(|error| error.to_string())?;
    let Some(record) = record else { return Ok(None) };
    let read = match record.document.bytes().len() <= WHOLE_MAX {
        true => {
            let document = record.document.unpack(ods.as_str()).map_err(|error| error.to_string())?;
            Evidence::from_json(&document)
        }
        false => Evidence::read(record.document.open()),
    };
    read.map(Some).map_err(|error| error.to_string())
}

/// Asks the members' directories, one after the other, for what the new set needs. What cannot be found out is unknown in it.
fn ask(candidates: &[Candidate], set: &PolicySet, context: &Context) -> Result<Vec<Evidence>, Failure> {
    let settings = context.config()?.assess.clone();
    let signer = Signer::ephemeral().map_err(Failure::could_not)?;
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::could_not)?;
    runtime.block_on(async {
        let mut found = Vec::new();
        for Candidate { member, .. } in candidates {
            let target = Target::of(member).map_err(Failure::could_not)?;
            let compiled =
                compile(set, member.profile.as_deref(), &member.ods).map_err(Failure::could_not)?;
            let work =
                collect(&target, compiled.requirements(), &settings, &context.clock, settings.pass_timeout());
            let evidence = told(context, &format!("asking {}", member.ods), work).await;
            found.push(sign(evidence, &signer));
        }
        Ok(found)
    })
}

/// Says now and then how many members are judged.
struct Progress<'a> {
    all: usize,
    context: &'a Context,
    began: Instant,
    /// Seconds after the beginning when it spoke last.
    spoke: AtomicU64,
}

impl<'a> Progress<'a> {
    fn of(all: usize, context: &'a Context) -> Self {
        Progress { all, context, began: Instant::now(), spoke: AtomicU64::new(0) }
    }

    fn tell(&self, done: usize) {
        const EVERY_SECONDS: u64 = 2;
        let passed = self.began.elapsed().as_secs();
        let spoke = self.spoke.load(Ordering::Relaxed);
        let due = self.context.is_watched() && passed >= spoke + EVERY_SECONDS;
        if due && self.spoke.compare_exchange(spoke, passed, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.context.note(format_args!("... {done} of {} members judged", self.all));
        }
    }
}

fn text(impact: &Impact) -> String {
    let mut out = format!(
        "{} members with {} people judged by both sets\n  in force  {} {} ({})\n  new       {} {} ({})\n",
        impact.judged.members,
        impact.judged.people,
        impact.sets.before.baseline,
        impact.sets.before.revision,
        short(&impact.sets.before.hash),
        impact.sets.now.baseline,
        impact.sets.now.revision,
        short(&impact.sets.now.hash),
    );
    for (what, members) in [
        ("no evidence yet", impact.not_recorded.iter().map(ToString::to_string).collect::<Vec<_>>()),
        (
            "could not be judged",
            impact.not_judged.iter().map(|n| format!("{} ({})", n.member, n.reason)).collect(),
        ),
    ] {
        if !members.is_empty() {
            out.push_str(&format!("{what}: {}\n", members.join(", ")));
        }
    }
    out.push_str(&idle_text(&impact.idle));
    let rows: Vec<[String; 6]> = impact.grants.iter().map(grant_row).collect();
    out.push_str(&format!("\n{}", table(GRANT_COLUMNS, &rows)));
    section(&mut out, "control by control", &impact.controls, control_row, CONTROL_COLUMNS);
    section(&mut out, "member by member", &impact.members, member_row, MEMBER_COLUMNS);
    section(&mut out, "what alone keeps a gate shut, by the new set", &impact.fixes, fix_row, FIX_COLUMNS);
    let announced = "what is announced decides later: by the evidence of today it would then";
    section(&mut out, announced, &impact.announced, announced_row, ANNOUNCED_COLUMNS);
    let blind: u64 = impact.controls.iter().map(|control| control.not_collected).sum();
    if blind > 0 {
        out.push_str(
            "\nRecorded evidence does not hold facts that nobody asked for yet: `--against live` asks the members now.\n",
        );
    }
    if impact.controls.is_empty() && impact.members.is_empty() {
        out.push_str("\nnothing changes for anybody\n");
    }
    out
}

const GRANT_COLUMNS: [&str; 6] =
    ["grant", "open", "then", "lost (people)", "lost after a grace (people)", "gained (people)"];
const CONTROL_COLUMNS: [&str; 7] =
    ["control", "severity", "newly fail (people)", "newly unknown", "newly deny", "no longer", "title"];
const MEMBER_COLUMNS: [&str; 7] =
    ["member", "people", "loses", "gains", "newly fails", "newly denied by", "score"];
const FIX_COLUMNS: [&str; 4] = ["control", "grant", "opens (people)", "title"];
const ANNOUNCED_COLUMNS: [&str; 6] =
    ["control", "severity", "from", "fail (people)", "be unknown (people)", "title"];

/// Members none of whose gates is open, and why.
fn idle_text(idle: &[IdleMember]) -> String {
    const GROUPS: [&str; 3] = [
        "not counted below, because their state opens no gate",
        "not counted below, because their evidence is too old: assess them first",
        "closed because by the new set their evidence is too old",
    ];
    let group = |one: &IdleMember| match (reason(one), one.before) {
        (Some(Idle::State(_)), _) => 0,
        (_, Some(_)) => 1,
        (_, None) => 2,
    };
    let mut out = String::new();
    for (number, what) in GROUPS.into_iter().enumerate() {
        let mine: Vec<&IdleMember> = idle.iter().filter(|one| group(one) == number).collect();
        if mine.is_empty() {
            continue;
        }
        let named = mine
            .iter()
            .take(ROWS)
            .filter_map(|one| Some(format!("{} ({})", one.member, reason(one)?.text())));
        let named = named.collect::<Vec<_>>().join(", ");
        let more = match mine.len().saturating_sub(ROWS) {
            0 => String::new(),
            more => format!(" and {more} more: --json"),
        };
        out.push_str(&format!("{what} ({}): {named}{more}\n", mine.len()));
    }
    out
}

fn reason(idle: &IdleMember) -> Option<Idle> {
    idle.now.or(idle.before)
}

fn grant_row(grant: &GrantImpact) -> [String; 6] {
    [
        grant.grant.to_string(),
        grant.open.before.to_string(),
        grant.open.now.to_string(),
        touched(grant.lost),
        touched(grant.lost_later),
        touched(grant.gained),
    ]
}

fn section<T, const N: usize>(
    out: &mut String,
    what: &str,
    all: &[T],
    row: impl Fn(&T) -> [String; N],
    columns: [&str; N],
) {
    if all.is_empty() {
        return;
    }
    let rows: Vec<[String; N]> = all.iter().take(ROWS).map(row).collect();
    out.push_str(&format!("\n{what}\n{}", table(columns, &rows)));
    if all.len() > ROWS {
        out.push_str(&format!("and {} more: --json\n", all.len() - ROWS));
    }
}

fn touched(touched: Touched) -> String {
    match touched.members {
        0 => "-".to_owned(),
        members => format!("{members} ({})", touched.people),
    }
}

fn control_row(control: &ControlImpact) -> [String; 7] {
    let mut severity = match (control.severity.before, control.severity.now) {
        (Some(before), Some(now)) if before != now => format!("{before} -> {now}"),
        (None, Some(now)) => format!("{now}, new"),
        (Some(before), None) => format!("{before}, gone"),
        (_, now) => now.map(|now| now.to_string()).unwrap_or_default(),
    };
    if let (Some(before), Some(now)) = (control.stage.before, control.stage.now)
        && before != now
    {
        severity.push_str(&format!(", {before} -> {now}"));
    }
    [
        control.control.clone(),
        severity,
        touched(control.newly_failing),
        touched(control.newly_unknown),
        touched(control.newly_denying),
        // what denies no longer may fail as it did
        touched(control.no_longer.max(control.denies_no_longer)),
        control.title.clone(),
    ]
}

fn member_row(member: &MemberImpact) -> [String; 7] {
    let grants = |grants: &[Grant]| match grants {
        [] => "-".to_owned(),
        grants => grants.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let named = |controls: &[String]| match controls {
        [] => "-".to_owned(),
        [first] => first.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    };
    let later = member.loses_later.iter().map(|l| format!("{} after {}", l.grant, about(l.seconds)));
    let loses: Vec<String> = member.loses.iter().map(ToString::to_string).chain(later).collect();
    [
        member.member.to_string(),
        member.people.to_string(),
        if loses.is_empty() { "-".to_owned() } else { loses.join(", ") },
        grants(&member.gains),
        named(&member.newly_failing),
        named(&member.newly_denying),
        format!("{} -> {}", member.score.before, member.score.now),
    ]
}

fn fix_row(fix: &Fix) -> [String; 4] {
    [fix.control.clone(), fix.grant.to_string(), touched(fix.opens), fix.title.clone()]
}

fn announced_row(announced: &Announced) -> [String; 6] {
    [
        announced.control.clone(),
        announced.severity.to_string(),
        day(announced.enforce_from),
        touched(announced.failing),
        touched(announced.unknown),
        announced.title.clone(),
    ]
}

/// A hash as people tell sets apart.
fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
