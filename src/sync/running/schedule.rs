//! When each member is synchronised: every interval while its gate is open, and at once when somebody asks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::sync::keeping::job::Mode;
use crate::sync::running::member::Syncer;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::progress::{PROGRESS, Progress};
use crate::sync::writing::pause::Pauses;

/// How often the list of members is looked through.
const TICK: Duration = Duration::from_secs(1);
/// Demands that may wait.
const DEMANDS: usize = 4096;

/// Asks for a run out of turn.
#[derive(Debug, Clone)]
pub struct Handle(mpsc::Sender<(OdsCode, Asked)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Now,
    /// Not when the last run ended early: what comes again and again must not repeat what fails.
    Hinted,
}

impl Handle {
    /// Synchronise `member` as soon as there is room. False when too many wait already: it will have its turn anyway.
    pub fn now(&self, member: OdsCode) -> bool {
        self.0.try_send((member, Asked::Now)).is_ok()
    }

    /// The same, for whoever asks often: after a run that ended early the member waits for its turn.
    pub fn hint(&self, member: OdsCode) -> bool {
        self.0.try_send((member, Asked::Hinted)).is_ok()
    }
}

/// The schedule; [`Schedule::run`] it on a task of its own.
#[derive(Debug)]
pub struct Schedule {
    syncer: Syncer,
    interval: Duration,
    demands: mpsc::Receiver<(OdsCode, Asked)>,
    due: HashMap<OdsCode, Instant>,
    running: HashSet<OdsCode>,
    /// Those whose last run ended early.
    failed: HashSet<OdsCode>,
    /// Those whose progress is shown.
    under_way: HashSet<OdsCode>,
    paused: Pauses,
}

impl Schedule {
    /// Every member whose gate is open, `interval` after its last run began.
    pub fn new(syncer: Syncer, interval: Duration) -> (Self, Handle) {
        let (sender, demands) = mpsc::channel(DEMANDS);
        let schedule = Schedule {
            syncer,
            interval: interval.max(TICK),
            demands,
            due: HashMap::new(),
            running: HashSet::new(),
            failed: HashSet::new(),
            under_way: HashSet::new(),
            paused: Pauses::default(),
        };
        (schedule, Handle(sender))
    }

    /// Runs until `stop` is true or its sender is gone, and until the runs that are under way then have ended with their batch. Whoever does
    /// not wait for that drops them: the next ones resume, when the lease is over.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let room = Arc::new(Semaphore::new(self.syncer.hands.settings.parallel.max(1)));
        let mut runs = JoinSet::new();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = stop.changed() => {
                    if changed.is_err() || *stop.borrow() {
                        break;
                    }
                }
                Some((member, asked)) = self.demands.recv() => self.demanded(&member, asked),
                Some(done) = runs.join_next(), if !runs.is_empty() => match done {
                    Ok((member, failed)) => self.ended(member, failed),
                    // a run that panicked has no name; a second one of the same member finds the lease taken
                    Err(_) => self.running.clear(),
                },
                _ = tick.tick() => self.look().await,
            }
            for member in self.ready() {
                let (syncer, room) = (self.syncer.clone(), Arc::clone(&room));
                runs.spawn(async move {
                    // the semaphore is never closed; a gate that closed while it waited is seen by the run
                    let mut failed = false;
                    if let Ok(_permit) = room.acquire_owned().await {
                        failed = syncer
                            .sync(&member, Mode::default())
                            .await
                            .is_err_and(|error| !is_nobodys(&error));
                    }
                    (member, failed)
                });
            }
        }
        self.syncer.hands.interruption.ask();
        while runs.join_next().await.is_some() {}
    }

    fn demanded(&mut self, member: &OdsCode, asked: Asked) {
        if asked == Asked::Hinted && self.failed.contains(member) {
            return;
        }
        if let Some(due) = self.due.get_mut(member) {
            *due = Instant::now();
        }
    }

    fn ended(&mut self, member: OdsCode, failed: bool) {
        self.running.remove(&member);
        if failed {
            self.failed.insert(member);
        } else {
            self.failed.remove(&member);
        }
    }

    async fn look(&mut self) {
        let store = Arc::clone(&self.syncer.hands.store);
        let all = move || {
            Ok::<_, StoreError>((
                store.members()?,
                Pauses::read(store.as_ref())?,
                store.sync_everywhere(PROGRESS)?,
            ))
        };
        let Ok(Ok((members, paused, progress))) = tokio::task::spawn_blocking(all).await else { return };
        let members: HashSet<OdsCode> = members
            .into_iter()
            .filter(|member| member.state.may_federate())
            .map(|member| member.ods)
            .collect();
        self.due.retain(|member, _| members.contains(member));
        self.failed.retain(|member| members.contains(member));
        self.pauses(&members, paused);
        self.progress(progress);
        for member in members {
            self.due.entry(member).or_insert_with(Instant::now);
        }
    }

    /// Shows how far runs are, those of other processes as well.
    fn progress(&mut self, all: Vec<(Option<OdsCode>, Vec<u8>)>) {
        let Some(metrics) = &self.syncer.metrics else { return };
        let read = |value: &[u8]| serde_json::from_slice::<Progress>(value).ok();
        let now: HashMap<OdsCode, Progress> =
            all.into_iter().filter_map(|(member, value)| Some((member?, read(&value)?))).collect();
        for member in self.under_way.iter().filter(|member| !now.contains_key(*member)) {
            metrics.progress(member, None);
        }
        now.iter().for_each(|(member, progress)| metrics.progress(member, Some(progress)));
        self.under_way = now.into_keys().collect();
    }

    fn pauses(&mut self, members: &HashSet<OdsCode>, paused: Pauses) {
        self.paused = paused;
        let Some(metrics) = &self.syncer.metrics else { return };
        for member in members {
            metrics.paused(member, self.paused.of(member).is_some());
        }
    }

    fn ready(&mut self) -> Vec<OdsCode> {
        let now = Instant::now();
        let due = self.due.iter().filter(|(_, due)| **due <= now).map(|(member, _)| member.clone());
        // a closed gate stays due, and so does a pause, so that the run comes as soon as it may
        let may = |member: &OdsCode| self.paused.of(member).is_none() && (self.syncer.gates)(member);
        let ready: Vec<OdsCode> =
            due.filter(|member| !self.running.contains(member) && may(member)).collect();
        for member in &ready {
            self.running.insert(member.clone());
            self.due.insert(member.clone(), now + self.interval);
        }
        ready
    }
}

/// Whether it ended because it was not its time, and not because something is wrong.
fn is_nobodys(error: &SyncError) -> bool {
    let waits = matches!(error, SyncError::Busy(_) | SyncError::Paused(_) | SyncError::GateClosed(_));
    waits || matches!(error, SyncError::Stopping | SyncError::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::clock::Clock;
    use crate::secret::reference::SecretReference;
    use crate::store::audit::NewAudit;
    use crate::store::port::Store;
    use crate::store::settings::Settings as StoreSettings;
    use crate::store::sqlite::store::SqliteStore;
    use crate::sync::keeping::job::Hands;
    use crate::sync::running::member::National;
    use crate::sync::running::metrics::Metrics;
    use crate::sync::terms::settings::Settings;
    use crate::sync::writing::pause::{PAUSED, Pause, kept};

    fn audit() -> NewAudit {
        NewAudit {
            at: Clock::system().now(),
            actor: "officer".into(),
            action: "sync.pause".into(),
            member: None,
            detail: serde_json::Value::Null,
        }
    }

    fn schedule(store: Arc<dyn Store>, registry: &prometheus::Registry) -> (Schedule, Handle) {
        let syncer = Syncer {
            hands: Hands {
                store,
                clock: Clock::system(),
                settings: Settings::default(),
                holder: "test".into(),
                interruption: Default::default(),
            },
            policies: Arc::new(|| None),
            gates: Arc::new(|_| true),
            national: National {
                host: "127.0.0.1".into(),
                port: 1,
                tls_name: "none".into(),
                anchors: "none".into(),
                bind_dn: "cn=none".into(),
                password: SecretReference::File("none".into()),
                people_base: "ou=people".into(),
            },
            metrics: Some(Metrics::register(registry).unwrap()),
        };
        Schedule::new(syncer, Duration::from_secs(60))
    }

    #[tokio::test]
    async fn who_failed_is_not_run_again_for_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path(), &StoreSettings::default()).unwrap());
        let (mut schedule, handle) = schedule(store, &prometheus::Registry::new());
        let ods: OdsCode = "RXA".parse().unwrap();
        let mut asks = |failed: bool, ask: fn(&Handle, OdsCode) -> bool| {
            schedule.due.insert(ods.clone(), Instant::now() + Duration::from_secs(60));
            schedule.ended(ods.clone(), failed);
            assert!(ask(&handle, ods.clone()));
            let (member, asked) = schedule.demands.try_recv().unwrap();
            schedule.demanded(&member, asked);
            !schedule.ready().is_empty()
        };
        assert!(asks(false, Handle::hint));
        assert!(!asks(true, Handle::hint));
        assert!(asks(true, Handle::now));
        assert!(asks(false, Handle::hint), "one that was done counts again");
    }

    #[tokio::test]
    async fn a_paused_member_has_no_turn_until_it_is_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path(), &StoreSettings::default()).unwrap());
        let ods: OdsCode = "RXA".parse().unwrap();
        let registry = prometheus::Registry::new();
        let (mut schedule, _handle) = schedule(store.clone(), &registry);
        schedule.due.insert(ods.clone(), Instant::now());
        let pause = |everybody| Pause {
            by: "officer".into(),
            reason: "why".into(),
            since: Clock::system().now(),
            everybody,
        };
        let gauge = || {
            let all = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
            all.lines().find(|line| line.starts_with("portcullis_sync_paused{")).map(str::to_owned)
        };
        for whose in [Some(&ods), None] {
            store.change_sync(whose, &[kept(&pause(whose.is_none())).unwrap()], &audit()).unwrap();
            schedule.pauses(&HashSet::from([ods.clone()]), Pauses::read(store.as_ref()).unwrap());
            assert!(schedule.ready().is_empty(), "{whose:?}");
            assert_eq!(gauge().as_deref(), Some("portcullis_sync_paused{member=\"RXA\"} 1"));
            store.change_sync(whose, &[(PAUSED.to_owned(), None)], &audit()).unwrap();
        }
        // what cannot be understood is no leave to go on
        store.change_sync(None, &[(PAUSED.to_owned(), Some(b"?".to_vec()))], &audit()).unwrap();
        assert!(Pauses::read(store.as_ref()).is_err());
        store.change_sync(None, &[(PAUSED.to_owned(), None)], &audit()).unwrap();
        schedule.pauses(&HashSet::from([ods.clone()]), Pauses::read(store.as_ref()).unwrap());
        assert_eq!(schedule.ready(), [ods]);
        assert_eq!(gauge().as_deref(), Some("portcullis_sync_paused{member=\"RXA\"} 0"));
    }
}
