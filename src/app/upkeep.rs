//! People registered by table, when no table comes: leavers whose time is over are deleted, what officers approved is done, and what others
//! changed is mended. For each organisation every `sync.registered_seconds`, by whichever gateway comes first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounterVec, Opts};
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::app::core::Core;
use crate::app::error::AppError;
use crate::app::gates::ACTOR;
use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::sync::hand::register::organisation::Organisations;
use crate::sync::hand::register::run::{REGISTERED, Registrar};
use crate::sync::keeping::job::Hands;
use crate::sync::keeping::shelf::json;
use crate::sync::running::report::Report;
use crate::sync::running::run::LAST_REPORT;
use crate::sync::writing::pause::Pauses;

/// How often it is looked whose turn it is, at most and at least.
const LOOKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// After a run that ended early, and after a pause: what was undone is to be mended before it is done again.
const TRIED_AGAIN: Duration = Duration::from_secs(600);

/// The turns of all organisations.
#[derive(Debug)]
pub struct Upkeep {
    core: Arc<Core>,
    hands: Hands,
    every: Duration,
    /// Not before this.
    due: HashMap<OdsCode, OffsetDateTime>,
    runs: IntCounterVec,
}

impl Upkeep {
    /// Works as `hands`.
    pub fn new(core: &Arc<Core>, hands: Hands) -> Result<Upkeep, AppError> {
        let runs = IntCounterVec::new(
            Opts::new(
                "portcullis_registered_runs_total",
                "Runs by the gateway of its own for organisations whose people are registered by table, by how they ended.",
            ),
            &["member", "outcome"],
        )?;
        core.registry.register(Box::new(runs.clone()))?;
        let every = Duration::from_secs(u64::from(hands.settings.registered_seconds));
        Ok(Upkeep { core: Arc::clone(core), hands, every, due: HashMap::new(), runs })
    }

    /// Runs until `stop` is true or its sender is gone; a batch that is under way then ends first.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let (mut told, interruption) = (stop.clone(), self.hands.interruption.clone());
        tokio::spawn(async move {
            // a sender that is gone has stopped as well
            let _ = told.wait_for(|stop| *stop).await;
            interruption.ask();
        });
        let mut tick = tokio::time::interval(self.every.clamp(LOOKS.0, LOOKS.1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = stop.changed() => {
                    if changed.is_err() || *stop.borrow() {
                        return;
                    }
                }
                _ = tick.tick() => self.look().await,
            }
        }
    }

    async fn look(&mut self) {
        let now = self.core.clock.now();
        let policy = self.core.policy.load_full().filter(|_| self.core.health.reasons().is_empty());
        let Some(policy) = policy else { return };
        let (store, every, mut due) =
            (Arc::clone(&self.core.store), self.every, std::mem::take(&mut self.due));
        let found = tokio::task::spawn_blocking(move || {
            let organisations = Organisations::read(store.as_ref(), Arc::clone(&policy.set))?;
            let mut turns = Vec::new();
            let pauses = Pauses::read(store.as_ref())?;
            for (ods, _) in store.sync_everywhere(REGISTERED)? {
                // one that has a directory by now is no table's any more
                let Some(ods) = ods.filter(|ods| organisations.refusal(ods, || true).is_none()) else {
                    continue;
                };
                if pauses.of(&ods).is_some() {
                    due.insert(ods, now + TRIED_AGAIN.min(every));
                    continue;
                }
                if due.get(&ods).is_some_and(|due| now < *due) {
                    continue;
                }
                // somebody else, at another gateway or by hand, may have been here
                let last: Option<Report> = json(store.as_ref(), &ods, LAST_REPORT)?;
                let next = last.map_or(now, |last| last.ended_at + every);
                if next <= now {
                    turns.push(ods);
                } else {
                    due.insert(ods, next);
                }
            }
            Ok::<_, StoreError>((organisations, turns, due))
        });
        match found.await {
            Ok(Ok((organisations, turns, due))) => {
                self.due = due;
                if !turns.is_empty() {
                    self.turns(organisations, turns).await;
                }
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "organisations with people registered by table are not looked after")
            }
            // the process ends
            Err(_) => {}
        }
    }

    async fn turns(&mut self, organisations: Organisations, turns: Vec<OdsCode>) {
        let health = self.core.health.clone();
        let registrar = Registrar {
            hands: self.hands.clone(),
            national: self.core.config.national.for_sync(),
            organisations: Arc::new(organisations),
            alive: Arc::new(move || health.reasons().is_empty()),
            waits: Arc::new(
                |ods| tracing::info!(member = %ods, "another run is under way and is waited for"),
            ),
            actor: ACTOR.to_owned(),
            table: String::new(),
        };
        let (runs, mut ended) = (self.runs.clone(), Vec::new());
        let _ = Box::pin(registrar.run(turns, 0, true, |_| Vec::new(), &mut |one| {
            runs.with_label_values(&[one.organisation.as_str(), one.outcome]).inc();
            ended.push((one.organisation.clone(), one.error.is_some()));
        }))
        .await;
        let now = self.core.clock.now();
        for (ods, failed) in ended {
            self.due.insert(ods, now + if failed { TRIED_AGAIN.min(self.every) } else { self.every });
        }
    }
}
