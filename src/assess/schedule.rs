//! When each member is assessed: every interval, and at once when somebody asks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::ambient::chance;
use crate::assess::run::Assessor;
use crate::policy::terms::OdsCode;

/// How often the list of members is looked through.
const TICK: Duration = Duration::from_secs(1);
/// Demands that may wait.
const DEMANDS: usize = 4096;

/// Asks for an assessment out of turn.
#[derive(Debug, Clone)]
pub struct Demand(mpsc::Sender<OdsCode>);

impl Demand {
    /// Assess `member` as soon as there is room. False when too many wait already: it will have its turn anyway.
    pub fn now(&self, member: OdsCode) -> bool {
        self.0.try_send(member).is_ok()
    }
}

/// The schedule; [`Schedule::run`] it on a task of its own.
#[derive(Debug)]
pub struct Schedule {
    assessor: Assessor,
    interval: Duration,
    demands: mpsc::Receiver<OdsCode>,
    due: HashMap<OdsCode, Instant>,
    running: HashSet<OdsCode>,
    demanded: HashSet<OdsCode>,
}

impl Schedule {
    /// Every measured member within every `interval`. A pass begins five to six tenths sooner, so that they do not all come
    /// together, and has half of it to end: what drifts right after it was looked at, and a controller that hangs, is known
    /// within the interval, and a slow look at a good directory has time.
    pub fn new(assessor: Assessor, interval: Duration) -> (Self, Demand) {
        let (sender, demands) = mpsc::channel(DEMANDS);
        let schedule = Schedule {
            assessor,
            interval: interval.max(TICK),
            demands,
            due: HashMap::new(),
            running: HashSet::new(),
            demanded: HashSet::new(),
        };
        (schedule, Demand(sender))
    }

    /// Runs until `stop` is true or its sender is gone; passes that run then are given up.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let room = Arc::new(Semaphore::new(self.assessor.settings.parallel.max(1)));
        let mut passes = JoinSet::new();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = stop.changed() => {
                    if changed.is_err() || *stop.borrow() {
                        return;
                    }
                }
                Some(member) = self.demands.recv() => {
                    self.demanded.insert(member);
                }
                Some(done) = passes.join_next(), if !passes.is_empty() => {
                    // a pass that panicked has no name: its turn comes when the set is rebuilt below
                    match done {
                        Ok(member) => { self.running.remove(&member); }
                        Err(_) => self.running.clear(),
                    }
                }
                _ = tick.tick() => self.look().await,
            }
            for member in self.ready() {
                let (assessor, room) = (self.assessor.clone(), Arc::clone(&room));
                let allotted = (self.interval / 2).min(assessor.settings.pass_timeout());
                passes.spawn(async move {
                    // the semaphore is never closed; without a permit there is no room and nothing is done
                    if let Ok(_permit) = room.acquire_owned().await {
                        let _ = assessor.assess_within(&member, allotted).await;
                    }
                    member
                });
            }
        }
    }

    /// Reads the members: new ones are due soon, those that are no longer measured are forgotten.
    async fn look(&mut self) {
        let store = Arc::clone(&self.assessor.store);
        let Ok(Ok(members)) = tokio::task::spawn_blocking(move || store.members()).await else { return };
        let measured: HashSet<OdsCode> =
            members.into_iter().filter(|m| m.state.is_measured()).map(|m| m.ods).collect();
        self.due.retain(|member, _| measured.contains(member));
        for member in measured {
            // the first pass of all members is spread over a twentieth of the interval
            let first = Instant::now() + fraction(self.interval / 20);
            self.due.entry(member).or_insert(first);
        }
    }

    /// Members whose time has come and that are not being assessed, with their next time set.
    fn ready(&mut self) -> Vec<OdsCode> {
        let now = Instant::now();
        let ready: Vec<OdsCode> = self
            .due
            .iter()
            .filter(|(member, due)| **due <= now || self.demanded.contains(*member))
            .map(|(member, _)| member.clone())
            .filter(|member| !self.running.contains(member))
            .collect();
        for member in &ready {
            self.demanded.remove(member);
            self.running.insert(member.clone());
            // at the latest after half of it, so that the pass itself still ends within the interval
            let next = now + self.interval * 4 / 10 + fraction(self.interval / 10);
            self.due.insert(member.clone(), next);
        }
        // a demand for somebody who is no member must not wait for ever
        self.demanded.retain(|member| self.due.contains_key(member));
        ready
    }
}

/// A random part of `whole`; none of it when there is no randomness.
fn fraction(whole: Duration) -> Duration {
    let milliseconds = u64::try_from(whole.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(chance::below(milliseconds).unwrap_or(0))
}
