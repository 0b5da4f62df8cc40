//! `portcullis sync`: what a member publishes.

use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;
use time::OffsetDateTime;

use crate::ambient::chance;
use crate::assess::judge::baseline_id;
use crate::cli::context::Context;
use crate::cli::drift;
use crate::cli::failure::{Answer, Failure};
use crate::cli::live::Live;
use crate::cli::member::answer::standing;
use crate::cli::table::{moment, table};
use crate::policy::signature::hex;
use crate::policy::terms::{Grant, OdsCode};
use crate::store::port::Store;
use crate::store::record::{Approval, GateRecord, JournalEntry, PlanRecord};
use crate::sync::error::SyncError;
use crate::sync::member::Syncer;
use crate::sync::report::{Outcome, Report};
use crate::sync::run::{Hands, LAST_REPORT, Mode};
use crate::sync::step::Plan;

/// How long a command waits for another run of the same member: longer than a lease that nobody prolongs any more.
const WAIT_FOR_OTHER_RUN: Duration = Duration::from_secs(180);
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Publishing a member's people into the national directory.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read, plan and show; nothing is written to the national directory.
    Plan {
        member: OdsCode,
        /// Read everything, not only what changed.
        #[arg(long)]
        complete: bool,
    },
    /// Run once. Exit code 0 when all is as it should be, 1 when something waits for an approval or was not done.
    Run {
        member: OdsCode,
        /// Do everything but write: the same as `plan`.
        #[arg(long)]
        dry_run: bool,
        /// Read everything, not only what changed.
        #[arg(long)]
        complete: bool,
    },
    /// Show how the last run went and which plans there are.
    Status { member: OdsCode },
    /// Show a plan's steps, or approve the steps that wait, by the exact hash of their plan.
    Approve {
        /// The hash that `run` or `status` shows.
        plan: String,
        /// Why it is right; without it the plan is only shown.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Show what others did to published entries: edited, deleted, renamed, or put beside them. Nothing is written. Exit code 0
    /// when there is nothing, 1 when there is. The next run mends it through a plan.
    Drift(drift::Arguments),
    /// Show what was written, before and after, oldest first.
    Journal {
        member: OdsCode,
        /// Only after this number.
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// How many lines.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
}

/// Runs the command.
pub fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Plan { member, complete } => go(context, &member, Mode { dry_run: true, complete }),
        Command::Run { member, dry_run, complete } => go(context, &member, Mode { dry_run, complete }),
        Command::Status { member } => status(context, &member),
        Command::Approve { plan, reason } => approve(context, &plan, reason.as_deref()),
        Command::Drift(arguments) => drift::run(&arguments, context, &syncer(context)?),
        Command::Journal { member, after, limit } => journal(context, &member, after, limit),
    }
}

fn failure(error: SyncError) -> Failure {
    match error {
        SyncError::GateClosed(_) | SyncError::Busy(_) => Failure::refused(error),
        _ => Failure::could_not(error),
    }
}

fn go(context: &Context, member: &OdsCode, mode: Mode) -> Result<Answer, Failure> {
    standing(context, member)?;
    // planning writes nothing to the national directory and needs no gateway
    if let Some(trouble) = live(context, mode)? {
        return Err(Failure::refused(trouble));
    }
    let syncer = syncer(context)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::could_not)?;
    let report = runtime.block_on(in_turn(context, &syncer, member, mode)).map_err(failure)?;
    context.print(&report, told)?;
    Ok(match report.outcome {
        Outcome::Done | Outcome::Planned => Answer::Yes,
        Outcome::Held | Outcome::Partial | Outcome::GateClosed => Answer::No,
    })
}

/// Why nothing may be written now, when anything is to be.
fn live(context: &Context, mode: Mode) -> Result<Option<String>, Failure> {
    let address = context.config()?.listen.metrics;
    Ok(if mode.dry_run { None } else { Live::ask(address).trouble() })
}

/// Runs once; when another run of this member is under way (the gateway's own, mostly), waits for it to end.
async fn in_turn(
    context: &Context,
    syncer: &Syncer,
    member: &OdsCode,
    mode: Mode,
) -> Result<Report, SyncError> {
    let mut waited = Duration::ZERO;
    loop {
        match syncer.sync(member, mode).await {
            Err(SyncError::Busy(_)) if waited < WAIT_FOR_OTHER_RUN => {
                if waited.is_zero() {
                    context.note(format!("another run of {member} is under way: waiting for it to end"));
                }
                tokio::time::sleep(LOOK_AGAIN).await;
                waited += LOOK_AGAIN;
            }
            ended => return ended,
        }
    }
}

fn syncer(context: &Context) -> Result<Syncer, Failure> {
    let config = context.config()?;
    let store = Arc::clone(context.store()?);
    let set = Arc::new(context.policies()?);
    let baseline = baseline_id(&set).and_then(|id| set.baselines.get(id));
    let valid_for = baseline.map_or(time::Duration::ZERO, |baseline| baseline.evidence_valid_for);
    let (gate_store, clock) = (Arc::clone(&store), context.clock.clone());
    let gateway = config.listen.metrics;
    let mark = chance::bytes::<4>().map_err(Failure::could_not)?;
    Ok(Syncer {
        hands: Hands {
            store,
            clock: context.clock.clone(),
            settings: config.sync.clone(),
            holder: format!("{}/{}/{}", context.actor, std::process::id(), hex(&mark)),
        },
        policies: Arc::new(move || Some(Arc::clone(&set))),
        // the gates as recorded, which the gateway decides; they count while it can record
        gates: Arc::new(move |member| {
            is_open(gate_store.as_ref(), member, valid_for, clock.now()) && Live::ask(gateway).is_ready()
        }),
        national: config.national.for_sync(),
        metrics: None,
    })
}

/// Whether the recorded `sync` gate is open and rests on evidence that still counts; closed when the store cannot tell.
fn is_open(store: &dyn Store, member: &OdsCode, valid_for: time::Duration, now: OffsetDateTime) -> bool {
    let fresh = store
        .latest_evidence(member)
        .is_ok_and(|evidence| evidence.is_some_and(|evidence| now < evidence.collected_at + valid_for));
    let passes = |gate: &GateRecord| match gate.state.as_str() {
        "open" => true,
        "held" => gate.until.is_some_and(|until| now < until),
        _ => false,
    };
    let mine = |gate: &GateRecord| gate.member == *member && gate.grant == Grant::Sync;
    fresh && store.gates().is_ok_and(|gates| gates.iter().any(|gate| mine(gate) && passes(gate)))
}

/// What `status` answers.
#[derive(Debug, Serialize)]
struct Status {
    last: Option<Report>,
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

fn read(record: &PlanRecord) -> Result<Plan, Failure> {
    let plan: Plan = serde_json::from_slice(&record.document).map_err(Failure::could_not)?;
    if plan.is_sound() && plan.hash == record.hash {
        Ok(plan)
    } else {
        Err(Failure::could_not(format!("the kept plan {} is not what its hash says", record.hash)))
    }
}

fn status(context: &Context, member: &OdsCode) -> Result<Answer, Failure> {
    standing(context, member)?;
    let store = context.store()?;
    let last = store.sync_value(member, LAST_REPORT).map_err(Failure::could_not)?;
    let last: Option<Report> = last.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let mut plans = Vec::new();
    for record in store.plans(member, 20).map_err(Failure::could_not)? {
        let steps = read(&record)?.steps.len();
        plans.push(Summary { plan: record.hash, made_at: record.made_at, state: record.state, steps });
    }
    context.print(&Status { last, plans }, |status| {
        let rows: Vec<[String; 4]> = status
            .plans
            .iter()
            .map(|plan| [moment(plan.made_at), plan.state.clone(), plan.steps.to_string(), plan.plan.clone()])
            .collect();
        let last = status.last.as_ref().map_or_else(|| "never ran\n".to_owned(), told);
        format!("{last}\n{}", table(["made", "state", "steps", "plan"], &rows))
    })?;
    Ok(Answer::Yes)
}

fn approve(context: &Context, hash: &str, reason: Option<&str>) -> Result<Answer, Failure> {
    let store = context.store()?;
    let Some(record) = store.plan(hash).map_err(Failure::could_not)? else {
        return Err(Failure::refused("there is no plan with this hash: `portcullis sync status` shows them"));
    };
    let plan = read(&record)?;
    let Some(reason) = reason.map(str::trim).filter(|reason| !reason.is_empty()) else {
        context.print(&plan, steps)?;
        return Ok(Answer::Yes);
    };
    if record.state != "held" {
        return Err(Failure::refused(format!(
            "the plan does not wait for an approval: it is {}",
            record.state
        )));
    }
    let at = context.clock.now();
    let lasts = time::Duration::seconds(i64::from(context.config()?.sync.approval_seconds));
    let approval = Approval {
        plan: hash.to_owned(),
        member: record.member.clone(),
        officer: context.actor.clone(),
        reason: reason.to_owned(),
        at,
        ends_at: at + lasts,
    };
    let detail = json!({"plan": hash, "steps": plan.steps.len(), "reason": reason});
    let audit = context.audit("sync.approve", Some(&record.member), detail);
    store.put_approval(&approval, &audit).map_err(Failure::could_not)?;
    context.print(&approval, |approval| {
        format!("{} approved {} until {}", approval.officer, approval.plan, moment(approval.ends_at))
    })?;
    Ok(Answer::Yes)
}

/// A line of the journal.
#[derive(Debug, Serialize)]
struct Line {
    seq: u64,
    plan: String,
    step: u64,
    phase: String,
    #[serde(with = "time::serde::rfc3339")]
    at: time::OffsetDateTime,
    detail: serde_json::Value,
}

fn journal(context: &Context, member: &OdsCode, after: u64, limit: u32) -> Result<Answer, Failure> {
    standing(context, member)?;
    let lines = context.store()?.journal(member, after, limit).map_err(Failure::could_not)?;
    let lines: Vec<Line> = lines
        .into_iter()
        .map(|JournalEntry { seq, entry }| Line {
            seq,
            plan: entry.plan,
            step: entry.step,
            phase: entry.phase,
            at: entry.at,
            detail: serde_json::from_slice(&entry.document).unwrap_or_default(),
        })
        .collect();
    context.print(&lines, |lines| {
        let rows: Vec<[String; 6]> = lines
            .iter()
            .map(|line| {
                let word = |name: &str| {
                    line.detail.get(name).and_then(|v| v.as_str()).unwrap_or_default().to_owned()
                };
                let plan: String = line.plan.chars().take(12).collect();
                [line.seq.to_string(), moment(line.at), plan, line.phase.clone(), word("action"), word("dn")]
            })
            .collect();
        table(["number", "at", "plan", "phase", "action", "entry"], &rows)
    })?;
    Ok(Answer::Yes)
}

fn steps(plan: &Plan) -> String {
    let rows: Vec<[String; 4]> = plan
        .steps
        .iter()
        .map(|step| {
            let changed: Vec<&str> = step.changes.iter().map(|change| change.attribute.as_str()).collect();
            let what = step.to.clone().unwrap_or_else(|| changed.join(" "));
            [step.action.as_str().to_owned(), step.dn.clone(), what, step.reason.clone()]
        })
        .collect();
    format!("plan {}\n{}", plan.hash, table(["action", "entry", "what", "why"], &rows))
}

fn told(report: &Report) -> String {
    let counts = |counts: &std::collections::BTreeMap<crate::sync::step::Action, u64>| {
        let words: Vec<String> =
            counts.iter().map(|(action, count)| format!("{count} {}", action.as_str())).collect();
        if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
    };
    let pass = &report.pass;
    let kind = pass.because.as_deref().map_or("what changed".to_owned(), |why| format!("everything ({why})"));
    let mut text = format!(
        "{} {} at {}\nread {kind} from {}: {} objects, {} deleted\nplanned {}\ndone {}\npublished {}\n",
        report.member,
        report.outcome.as_str(),
        moment(report.ended_at),
        pass.controller,
        pass.objects,
        pass.deleted,
        counts(&report.planned),
        counts(&report.executed.done),
        report.published,
    );
    for trip in &report.trips {
        text.push_str(&format!("guard {}: {}\n", trip.guard.as_str(), trip.text));
    }
    if let Some(held) = &report.held {
        text.push_str(&format!("{} steps wait in plan {held}\n", report.held_steps));
    }
    for undone in report.executed.undone.iter().take(20) {
        text.push_str(&format!(
            "not done: {} {}: {}\n",
            undone.action.as_str(),
            undone.guid.as_deref().unwrap_or("-"),
            undone.text
        ));
    }
    for (reason, count) in report.quarantine_counts() {
        text.push_str(&format!("held back: {count} for {reason}\n"));
    }
    text
}
