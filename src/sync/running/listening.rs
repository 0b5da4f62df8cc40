//! Which members' controllers are listened to: those whose sync gate is open and that are not paused, as far as there is room.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::member::Member;
use crate::sync::running::listener::Listener;
use crate::sync::running::member::Syncer;
use crate::sync::running::metrics::OfListening;
use crate::sync::running::schedule::Handle;
use crate::sync::writing::pause::Pauses;

/// How often it is looked whose gate is open.
const TICK: Duration = Duration::from_secs(1);
/// Members that are connected to at the same time.
const CONNECTING: usize = 16;
/// A directory that refused to tell of changes is asked again after this time: it may have been replaced.
const REFUSED: Duration = Duration::from_secs(86_400);

/// Files that a connection takes: the socket, and a pair between `directory::guard` and `ldap3`.
const FILES: usize = 3;
/// The part of the files that this process may have open that listening may take; the front door needs them more.
const PART_OF_FILES: usize = 4;

/// A listener that runs; it ends with this.
struct Task {
    revision: u64,
    listens: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where the kernel tells what this process may have.
const LIMITS: &str = "/proc/self/limits";

/// How many connections the limit of open files leaves room for; no bound where it is not told.
fn room(limits: &str) -> usize {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let files = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    files.map_or(usize::MAX, |files| (files / PART_OF_FILES / FILES).max(1))
}

/// Listens; [`Listening::run`] it on a task of its own.
pub struct Listening {
    syncer: Syncer,
    handle: Handle,
    metrics: OfListening,
    connecting: Arc<Semaphore>,
    tasks: BTreeMap<OdsCode, Task>,
    /// Who refused, in which revision of its record, and when.
    refused: BTreeMap<OdsCode, (u64, Instant)>,
    /// Those whose gauge is shown.
    shown: BTreeSet<OdsCode>,
    /// How many there may be.
    most: usize,
    /// Members without room, as it was told last.
    without: usize,
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl Listening {
    /// Listens to the controllers of the members that `syncer` reads, and asks `handle` for their runs.
    pub fn new(syncer: Syncer, handle: Handle, metrics: OfListening) -> Listening {
        let most = syncer
            .hands
            .settings
            .wake_members
            .min(room(&std::fs::read_to_string(LIMITS).unwrap_or_default()));
        Listening {
            syncer,
            handle,
            metrics,
            connecting: Arc::new(Semaphore::new(CONNECTING)),
            tasks: BTreeMap::new(),
            refused: BTreeMap::new(),
            shown: BTreeSet::new(),
            most,
            without: 0,
        }
    }

    /// Runs until `stop` is true or its sender is gone.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(TICK);
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
        let store = Arc::clone(&self.syncer.hands.store);
        let both = move || Ok::<_, StoreError>((store.members()?, Pauses::read(store.as_ref())?));
        // whoever cannot tell changes nothing: a run looks for itself
        let Ok(Ok((mut members, pauses))) = tokio::task::spawn_blocking(both).await else { return };
        members.retain(|member| member.state.may_federate() && !member.connection.controllers.is_empty());
        let may = |member: &&Member| pauses.of(&member.ods).is_none() && (self.syncer.gates)(&member.ods);
        let wanted: BTreeMap<OdsCode, u64> =
            members.iter().filter(may).map(|member| (member.ods.clone(), member.revision)).collect();
        self.end(&wanted);
        let known: BTreeMap<&OdsCode, u64> =
            members.iter().map(|member| (&member.ods, member.revision)).collect();
        self.refused
            .retain(|member, (revision, at)| known.get(member) == Some(&*revision) && at.elapsed() < REFUSED);
        self.begin(wanted);
        self.show(known.into_keys().cloned().collect());
    }

    /// Ends what is not wanted any more, or was begun with another record of the member; takes in what ended by itself.
    fn end(&mut self, wanted: &BTreeMap<OdsCode, u64>) {
        let refused = &mut self.refused;
        self.tasks.retain(|member, task| {
            if task.task.is_finished() {
                // one that panicked as well: the same directory would make it panic again
                refused.insert(member.clone(), (task.revision, Instant::now()));
                return false;
            }
            wanted.get(member) == Some(&task.revision)
        });
    }

    fn begin(&mut self, wanted: BTreeMap<OdsCode, u64>) {
        let most = self.most;
        let mut without = 0;
        for (member, revision) in wanted {
            if self.tasks.contains_key(&member) || self.refused.contains_key(&member) {
                continue;
            }
            if self.tasks.len() >= most {
                without += 1;
                continue;
            }
            let listens = Arc::new(AtomicBool::new(false));
            let listener = Listener {
                member: member.clone(),
                syncer: self.syncer.clone(),
                handle: self.handle.clone(),
                metrics: self.metrics.clone(),
                connecting: Arc::clone(&self.connecting),
                listens: Arc::clone(&listens),
            };
            let task = tokio::spawn(listener.run());
            self.tasks.insert(member, Task { revision, listens, task });
        }
        if without > 0 && without != self.without {
            tracing::warn!(
                members = without,
                most,
                "more members than `sync.wake_members` or the limit of open files allow: changes of the others are found in turn"
            );
        }
        self.without = without;
    }

    fn show(&mut self, members: BTreeSet<OdsCode>) {
        for gone in self.shown.difference(&members) {
            self.metrics.forget(gone);
        }
        for member in &members {
            let listens = self.tasks.get(member).is_some_and(|task| task.listens.load(Ordering::Relaxed));
            self.metrics.listens(member, listens);
        }
        self.shown = members;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_bounds_it() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max processes             63706                63706                processes\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(room(limits), 85);
        assert_eq!(room(&limits.replace("1024 ", "unlimited ")), usize::MAX);
        assert_eq!(room(""), usize::MAX);
        assert!(room(&std::fs::read_to_string(LIMITS).unwrap()) > 1);
    }
}
