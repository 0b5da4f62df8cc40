//! What changes while the gateway runs: policy documents, certificates, members.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use crate::app::core::Core;
use crate::app::error::AppError;
use crate::app::front::Front;
use crate::app::policies;
use crate::app::stop::Stop;

/// An editor writes several times: what comes within this belongs together.
const SETTLE: Duration = Duration::from_millis(100);
/// How often documents are read even if nobody says that they changed: a watch can be lost.
const ANYWAY: Duration = Duration::from_secs(10);
/// How often it is looked whether to end.
const TURN: Duration = Duration::from_millis(100);

/// What is to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changed {
    Documents,
    Members,
    Everything,
}

/// Reads again what changed, in a thread of its own.
pub struct Reloader {
    sender: SyncSender<Changed>,
    thread: JoinHandle<()>,
}

/// Tells the reloader. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Teller(SyncSender<Changed>);

impl Teller {
    /// Members were added or changed.
    pub fn members(&self) {
        // a full channel means that it will be read again anyway
        let _ = self.0.try_send(Changed::Members);
    }

    /// Another policy set may count.
    pub fn policies(&self) {
        // a full channel means that it will be read again anyway
        let _ = self.0.try_send(Changed::Documents);
    }
}

impl Reloader {
    /// Starts the thread and watches the policy folder.
    pub fn start(core: &Arc<Core>, front: &Arc<Front>, stop: &Stop) -> Result<Self, AppError> {
        let (sender, receiver) = sync_channel(16);
        let watcher = watch(core, sender.clone());
        let (core, front, stop) = (Arc::clone(core), Arc::clone(front), stop.clone());
        let thread = std::thread::Builder::new()
            .name("reload".to_owned())
            .spawn(move || {
                let _watcher = watcher;
                turn(&core, &front, &stop, &receiver);
            })
            .map_err(|cause| AppError::Start { what: "the reloader", cause })?;
        Ok(Reloader { sender, thread })
    }

    /// Reads everything again.
    pub fn now(&self) {
        // a full channel means that it will be read again anyway
        let _ = self.sender.try_send(Changed::Everything);
    }

    /// A hand to tell it with.
    pub fn teller(&self) -> Teller {
        Teller(self.sender.clone())
    }

    /// Its thread, to see whether it runs.
    pub fn thread(&self) -> &JoinHandle<()> {
        &self.thread
    }

    /// Its thread, to wait for.
    pub fn into_thread(self) -> JoinHandle<()> {
        self.thread
    }
}

/// Watches the folder, not the files: they are often swapped by renaming. Without a watch documents are read every now and then.
fn watch(core: &Core, sender: SyncSender<Changed>) -> Option<RecommendedWatcher> {
    let on_event = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // a full channel means that it will be read again anyway
            let _ = sender.try_send(Changed::Documents);
        }
    };
    let started = notify::recommended_watcher(on_event).and_then(|mut watcher| {
        watcher.watch(&core.config.policies, RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    started
        .inspect_err(
            |error| tracing::warn!(%error, "policy documents cannot be watched; they are read every 10 s"),
        )
        .ok()
}

fn turn(core: &Core, front: &Front, stop: &Stop, receiver: &Receiver<Changed>) {
    let mut quiet = Duration::ZERO;
    // what was written between the first reading and the watch is told by nobody
    act(core, front, &[Changed::Documents]);
    while !stop.is_set() {
        match receiver.recv_timeout(TURN) {
            Ok(first) => {
                std::thread::sleep(SETTLE);
                let mut all = vec![first];
                all.extend(receiver.try_iter());
                act(core, front, &all);
            }
            Err(RecvTimeoutError::Timeout) => {
                quiet = quiet.saturating_add(TURN);
                if quiet >= ANYWAY {
                    quiet = Duration::ZERO;
                    act(core, front, &[Changed::Documents]);
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn act(core: &Core, front: &Front, changed: &[Changed]) {
    let any = |what: Changed| changed.iter().any(|c| *c == what || *c == Changed::Everything);
    if any(Changed::Documents) {
        policies::reload_with(core, Some(front));
    }
    if any(Changed::Members) {
        front.reload(core);
    }
    front.reload_tls(core);
}
