//! How every part is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Tells every part to stop.
#[derive(Debug, Clone)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    tasks: Arc<watch::Sender<bool>>,
}

impl Default for Stop {
    fn default() -> Self {
        Stop { flag: Arc::default(), tasks: Arc::new(watch::channel(false).0) }
    }
}

impl Stop {
    /// Stops everything.
    pub fn stop(&self) {
        self.flag.store(true, Ordering::Release);
        self.tasks.send_replace(true);
    }

    /// Whether a thread is to end.
    pub fn is_set(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    /// For a task: becomes true when it is to end.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.tasks.subscribe()
    }
}
