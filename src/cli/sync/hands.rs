//! What the commands of the group share: the syncer of this process, its turn, plans as they are kept.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use crate::ambient::chance;
use crate::assess::judge::baseline_id;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::live::Live;
use crate::cli::sync::publisher::Publisher;
use crate::policy::signature::hex;
use crate::policy::terms::{Grant, OdsCode};
use crate::store::port::Store;
use crate::store::record::{GateRecord, PlanRecord};
use crate::sync::keeping::job::Hands;
use crate::sync::running::member::Syncer;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::interruption::Interruption;
use crate::sync::terms::step::Plan;

const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How a run that ended early ends the command.
pub fn failure(error: SyncError) -> Failure {
    match error {
        SyncError::GateClosed(_) | SyncError::Busy(_) | SyncError::Paused(_) | SyncError::NotWritten(_) => {
            Failure::refused(error)
        }
        SyncError::Source(_) | SyncError::Target(_) if error.may_retry() => Failure::could_not(format!(
            "{error}; what was done before is kept (portcullis sync history): see that it answers, then give the same command again"
        )),
        _ => Failure::could_not(error),
    }
}

/// Refuses a code that is neither a member's nor that of an organisation whose people come from a table.
pub fn known(context: &Context, ods: &OdsCode) -> Result<(), Failure> {
    Publisher::of(context, ods).map(|_| ())
}

/// Refuses a code that is no member's. For an organisation without a directory it says what there is instead.
pub fn with_directory(context: &Context, ods: &OdsCode) -> Result<(), Failure> {
    if Publisher::of(context, ods)?.registers() {
        return Err(Failure::refused(SyncError::NoDirectory(ods.clone())));
    }
    Ok(())
}

/// Where futures run.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::could_not)
}

/// Why nothing may be written now, when anything is to be.
pub fn trouble(context: &Context, writes: bool) -> Result<Option<String>, Failure> {
    let address = context.config()?.listen.metrics;
    Ok(if writes { Live::ask(address).trouble() } else { None })
}

/// Does `work` once; when another run of this member is under way (the gateway's own, mostly), waits for it to end.
pub async fn in_turn<T>(
    context: &Context,
    member: &OdsCode,
    work: impl AsyncFn() -> Result<T, SyncError>,
) -> Result<T, SyncError> {
    let mut waited = Duration::ZERO;
    // who got here has read the configuration
    let longest = context.config().map_or(Duration::ZERO, |config| config.sync.wait_for_other_run());
    loop {
        match work().await {
            Err(SyncError::Busy(_)) if waited < longest => {
                if waited.is_zero() {
                    context.note(waiting(member));
                }
                tokio::time::sleep(LOOK_AGAIN).await;
                waited += LOOK_AGAIN;
            }
            ended => return ended,
        }
    }
}

/// What is said to whoever waits for another run.
pub fn waiting(ods: &OdsCode) -> String {
    format!("another run of {ods} is under way: waiting for it to end")
}

/// Synchronises as this process.
pub fn syncer(context: &Context) -> Result<Syncer, Failure> {
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
            interruption: Interruption::default(),
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

/// A plan as it is kept, when it still is what its hash says.
pub fn read(record: &PlanRecord) -> Result<Plan, Failure> {
    let plan: Plan = serde_json::from_slice(&record.document).map_err(Failure::could_not)?;
    if plan.is_sound() && plan.hash == record.hash {
        Ok(plan)
    } else {
        Err(Failure::could_not(format!("the kept plan {} is not what its hash says", record.hash)))
    }
}
