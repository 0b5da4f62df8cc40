//! `portcullis sync status`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::live::Live;
use crate::cli::sync::hands::{known, read};
use crate::cli::sync::officers::Officers;
use crate::cli::sync::pause::holds;
use crate::cli::sync::run::told;
use crate::cli::table::{moment, table};
use crate::policy::terms::{Grant, Membership, OdsCode};
use crate::store::port::Store;
use crate::store::record::GateRecord;
use crate::sync::hand::look::seconds;
use crate::sync::keeping::shelf;
use crate::sync::keeping::shelf::json;
use crate::sync::reading::controller::Controller;
use crate::sync::running::ledger::{Aged, HISTORY, QUARANTINE, Ran};
use crate::sync::running::report::Report;
use crate::sync::running::run::LAST_REPORT;
use crate::sync::terms::progress::{PROGRESS, Progress};
use crate::sync::writing::pause::{Pause, Pauses};

/// What `status` answers.
#[derive(Debug, Serialize)]
struct Status {
    paused: Option<Pause>,
    /// How far the run under way is; none when there is none that takes its time.
    under_way: Option<Progress>,
    last: Option<Report>,
    /// How far the approval of what waits is; none when nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    officers: Option<Officers>,
    plans: Vec<Summary>,
}

/// A plan in a list.
#[derive(Debug, Serialize)]
struct Summary {
    plan: String,
    #[serde(with = "time::serde::rfc3339")]
    made_at: time::OffsetDateTime,
    state: String,
    steps: usize,
}

/// Shows how a member's last run went, and its plans.
pub fn status(context: &Context, member: &OdsCode) -> Result<Answer, Failure> {
    known(context, member)?;
    let store = context.store()?;
    let last = store.sync_value(member, LAST_REPORT).map_err(Failure::could_not)?;
    let last: Option<Report> = last.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let officers = match &last {
        Some(last) => Officers::waiting(context, last.held.as_ref(), &last.trips)?,
        None => None,
    };
    let mut plans = Vec::new();
    for record in store.plans(member, 20).map_err(Failure::could_not)? {
        let steps = read(&record)?.steps.len();
        plans.push(Summary { plan: record.hash, made_at: record.made_at, state: record.state, steps });
    }
    let paused = Pauses::read(store.as_ref()).map_err(Failure::could_not)?.of(member).cloned();
    let under_way = json(store.as_ref(), member, PROGRESS).map_err(Failure::could_not)?;
    context.print(&Status { paused, under_way, last, officers, plans }, |status| {
        let rows: Vec<[String; 4]> = status
            .plans
            .iter()
            .map(|plan| [moment(plan.made_at), plan.state.clone(), plan.steps.to_string(), plan.plan.clone()])
            .collect();
        let last = status.last.as_ref();
        let last = last.map_or_else(|| "never ran\n".to_owned(), |last| told(last, status.officers.as_ref()));
        let paused = status.paused.as_ref().map(|pause| pause_line(pause, member)).unwrap_or_default();
        let under_way = status.under_way.as_ref().map(progress_line).unwrap_or_default();
        format!("{paused}{under_way}{last}\n{}", table(["made", "state", "steps", "plan"], &rows))
    })?;
    Ok(Answer::Yes)
}

fn progress_line(progress: &Progress) -> String {
    let Progress { since, at, objects, pages, written, steps } = progress;
    format!(
        "under way since {}: {objects} objects in {pages} pages read, {written} of {steps} steps written, as of {}\n",
        moment(*since),
        moment(*at)
    )
}

/// How one member stands.
#[derive(Debug, Serialize)]
struct Standing {
    member: OdsCode,
    /// The membership's state.
    state: Membership,
    /// The sync gate as recorded; none: never decided, so closed.
    gate: Option<String>,
    paused: Option<Pause>,
    /// How the last run ended that was to write; none: none did yet.
    last: Option<Ran>,
    /// How old, in seconds, what was last read completely or by change is.
    read_seconds: Option<i64>,
    #[serde(with = "time::serde::rfc3339::option")]
    complete_at: Option<OffsetDateTime>,
    /// Steps that wait for an approval or for sight, and those that were not done.
    held: u64,
    undone: u64,
    quarantine: u64,
    /// The domain controller that was read last.
    controller: Option<String>,
}

/// Every member at once, and whether the gateway keeps what is recorded.
#[derive(Debug, Serialize)]
struct Everybody {
    live: Live,
    /// The pause for every member.
    paused: Option<Pause>,
    members: Vec<Standing>,
}

/// Everything kept under one key, by member.
fn by_member<T>(
    store: &dyn Store,
    key: &str,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Result<BTreeMap<OdsCode, T>, Failure> {
    let all = store.sync_everywhere(key).map_err(Failure::could_not)?;
    Ok(all.into_iter().filter_map(|(member, value)| Some((member?, read(&value)?))).collect())
}

fn parsed<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}

/// Shows one line for each member.
pub fn all(context: &Context) -> Result<Answer, Failure> {
    let store = context.store()?.as_ref();
    let now = context.clock.now();
    let pauses = Pauses::read(store).map_err(Failure::could_not)?;
    let mut gates: BTreeMap<OdsCode, GateRecord> = store
        .gates()
        .map_err(Failure::could_not)?
        .into_iter()
        .filter(|gate| gate.grant == Grant::Sync)
        .map(|gate| (gate.member.clone(), gate))
        .collect();
    let mut past: BTreeMap<OdsCode, Vec<Ran>> = by_member(store, HISTORY, parsed)?;
    let held: BTreeMap<OdsCode, Vec<Aged>> = by_member(store, QUARANTINE, parsed)?;
    let read_at = by_member(store, shelf::READ_AT, seconds)?;
    let complete_at = by_member(store, shelf::COMPLETE_AT, seconds)?;
    let mut controllers: BTreeMap<OdsCode, Controller> = by_member(store, shelf::CONTROLLER, parsed)?;
    let members = store.members().map_err(Failure::could_not)?;
    let members = members
        .into_iter()
        .map(|member| {
            let ods = member.ods;
            let last = past.remove(&ods).and_then(|past| past.into_iter().next());
            Standing {
                state: member.state,
                gate: gates.remove(&ods).map(|gate| gate.state),
                paused: pauses.of(&ods).cloned(),
                read_seconds: read_at.get(&ods).map(|at| (now - *at).whole_seconds()),
                complete_at: complete_at.get(&ods).copied(),
                held: last.as_ref().map_or(0, |last| last.held),
                undone: last.as_ref().map_or(0, |last| last.undone),
                quarantine: held.get(&ods).map_or(0, |held| held.len() as u64),
                controller: controllers.remove(&ods).map(|controller| controller.host),
                last,
                member: ods,
            }
        })
        .collect();
    let live = Live::ask(context.config()?.listen.metrics);
    context.print(&Everybody { live, paused: pauses.all, members }, everybody)?;
    Ok(Answer::Yes)
}

fn everybody(all: &Everybody) -> String {
    let mut out = all.live.trouble().map(|trouble| format!("{trouble}\n")).unwrap_or_default();
    if let Some(pause) = &all.paused {
        out.push_str(&format!("{}; end it: portcullis sync resume --all --reason TEXT\n", holds(pause)));
    }
    let rows: Vec<[String; 10]> = all.members.iter().map(row).collect();
    let heading = [
        "member",
        "gate",
        "paused",
        "last run",
        "outcome",
        "read",
        "everything",
        "waits",
        "held back",
        "controller",
    ];
    out.push_str(&table(heading, &rows));
    out
}

fn row(one: &Standing) -> [String; 10] {
    let gate = one.gate.clone().unwrap_or_else(|| "closed".to_owned());
    let waits = match one.undone {
        0 => one.held.to_string(),
        undone => format!("{} (and {undone} not done)", one.held),
    };
    [
        one.member.to_string(),
        if one.state.may_federate() { gate } else { format!("{gate} ({})", one.state) },
        one.paused.as_ref().map_or(String::new(), |pause| format!("by {}", pause.by)),
        one.last.as_ref().map_or("never".to_owned(), |last| moment(last.ended_at)),
        one.last.as_ref().map_or(String::new(), |last| last.outcome.clone()),
        one.read_seconds.map_or("never".to_owned(), |seconds| format!("{seconds} s ago")),
        one.complete_at.map_or("never".to_owned(), moment),
        waits,
        one.quarantine.to_string(),
        one.controller.clone().unwrap_or_default(),
    ]
}

/// A pause as people read it, with how it ends.
fn pause_line(pause: &Pause, member: &OdsCode) -> String {
    format!("{}; end it: {}\n", holds(pause), pause.ended_by(member))
}
