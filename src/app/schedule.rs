//! What happens again and again: assessments and sync runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::ambient::chance;
use crate::app::core::Core;
use crate::app::discover;
use crate::app::error::AppError;
use crate::app::gates::{self, ACTOR};
use crate::app::mounts::is_mounted;
use crate::app::policies;
use crate::app::stop::Stop;
use crate::app::upkeep::Upkeep;
use crate::assess::metrics::Metrics;
use crate::assess::run::{Assessor, OnAssessed};
use crate::assess::schedule::Schedule;
use crate::enrol::run::{self, By};
use crate::policy::terms::Grant;
use crate::store::member::Member;
use crate::sync;
use crate::sync::keeping::job::Hands;
use crate::sync::running::listening::Listening;
use crate::sync::running::member::Syncer;
use crate::sync::running::metrics::{OfListening, OfObserver};
use crate::sync::terms::interruption::Interruption;
use crate::sync::watching::observer::Observer;

/// The tasks that run.
#[derive(Debug)]
pub struct Schedules(Vec<JoinHandle<()>>);

impl Schedules {
    /// Whether every one of them runs.
    pub fn are_running(&self) -> bool {
        !self.0.iter().any(JoinHandle::is_finished)
    }

    /// Takes one more in.
    pub fn add(&mut self, task: JoinHandle<()>) {
        self.0.push(task);
    }

    /// Waits until they ended, at most `limit`.
    pub async fn ended(self, limit: Duration) {
        let all = async {
            for task in self.0 {
                // one that panicked was told when it did
                let _ = task.await;
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!("assessments or sync runs were given up");
        }
    }
}

/// Looks up the controllers of members that are enrolled without a list of them; `changed` is told of each change.
pub fn discover(
    runtime: &Runtime,
    core: &Arc<Core>,
    stop: &Stop,
    changed: Arc<dyn Fn() + Send + Sync>,
) -> JoinHandle<()> {
    let (reader, clock) = (Arc::clone(core), core.clock.clone());
    let hands = discover::Hands {
        settings: core.config.discovery.clone(),
        members: Arc::new(move || {
            let mut members = reader.store.members().ok()?;
            members.retain(|member| is_mounted(member.state));
            Some(members)
        }),
        now: Arc::new(move || clock.now()),
        changed,
    };
    runtime.spawn(discover::run(Arc::clone(&core.discovered), hands, stop.watch()))
}

/// Starts the schedules.
pub fn start(runtime: &Runtime, core: &Arc<Core>, stop: &Stop) -> Result<Schedules, AppError> {
    let metrics = Metrics::register(&core.registry)?;
    let shared = Arc::clone(core);
    let assessor = Assessor {
        store: Arc::clone(&core.store),
        policies: Arc::new(move || shared.policy.load().as_ref().map(|policy| Arc::clone(&policy.set))),
        signer: Arc::clone(&core.signer),
        settings: core.config.assess.clone(),
        clock: core.clock.clone(),
        actor: ACTOR.to_owned(),
        metrics: Some(metrics),
        on_assessed: Some(on_assessed(core)),
    };
    let interval = Duration::from_secs(u64::from(core.config.intervals.assess_seconds));
    let (schedule, _demand) = Schedule::new(assessor, interval);
    let assessing = runtime.spawn(schedule.run(stop.watch()));
    let interval = Duration::from_secs(u64::from(core.config.intervals.sync_seconds));
    let syncer = syncer(core)?;
    let (schedule, demand) = sync::running::schedule::Schedule::new(syncer.clone(), interval);
    let mut tasks = vec![assessing, runtime.spawn(schedule.run(stop.watch()))];
    if core.config.sync.wake_seconds > 0 {
        let metrics = OfListening::register(&core.registry)?;
        let listening = Listening::new(syncer.clone(), demand.clone(), metrics);
        tasks.push(runtime.spawn(listening.run(stop.watch())));
    }
    if core.config.sync.registered_seconds > 0 {
        let hands = Hands { interruption: Interruption::default(), ..syncer.hands.clone() };
        tasks.push(runtime.spawn(Upkeep::new(core, hands)?.run(stop.watch())));
    }
    if core.config.observer.enabled {
        let demand = Arc::new(move |member| {
            // one that finds no room has its turn at its time
            demand.now(member);
        });
        let metrics = OfObserver::register(&core.registry)?;
        let observer = Observer::new(syncer, core.config.observer.clone(), metrics, demand);
        tasks.push(runtime.spawn(observer.run(stop.watch())));
    }
    Ok(Schedules(tasks))
}

/// Synchronises members while the live table says that their `sync` gate is open.
fn syncer(core: &Arc<Core>) -> Result<Syncer, AppError> {
    let (policies, gates) = (Arc::clone(core), Arc::clone(core));
    let mark: [u8; 8] = chance::bytes()?;
    Ok(Syncer {
        hands: Hands {
            store: Arc::clone(&core.store),
            clock: core.clock.clone(),
            settings: core.config.sync.clone(),
            holder: format!("{ACTOR}/{}/{:x}", std::process::id(), u64::from_le_bytes(mark)),
            interruption: Interruption::default(),
        },
        policies: Arc::new(move || policies.policy.load().as_ref().map(|policy| Arc::clone(&policy.set))),
        gates: Arc::new(move |member| gates.gates.snapshot().is_open(member, Grant::Sync, gates.clock.now())),
        national: core.config.national.for_sync(),
        metrics: Some(sync::running::metrics::Metrics::register(&core.registry)?),
    })
}

/// After each assessment: the membership goes on if it waited for it, and the gates are decided.
fn on_assessed(core: &Arc<Core>) -> OnAssessed {
    let core = Arc::clone(core);
    Arc::new(move |member: &Member, _| {
        let by = By { actor: ACTOR, reason: "its directory was measured", now: core.clock.now() };
        if let Err(error) = run::measured(core.store.as_ref(), &member.ods, &by) {
            tracing::error!(member = %member.ods, %error, "that it was measured could not be recorded");
        }
        if let Err(error) = policies::decide_measured(&core, &member.ods)
            && error.closes_gates()
        {
            gates::block(&core, "store", &error.to_string());
        }
    })
}
