//! The thread that writes the access audit. When it cannot, every gate closes; what could not be written is kept in memory
//! and written when it can be, and the front door stands still once the bounded channel is full.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::app::core::Core;
use crate::app::error::AppError;
use crate::app::gates;
use crate::store::access::AccessAudit;

/// Chunks that may wait; each is at most some tens of kilobytes.
const WAITING: usize = 1_024;
/// How often what was written is brought to the disk.
const SYNC: Duration = Duration::from_millis(500);
/// How long to wait before trying again after a failure.
const RETRY: Duration = Duration::from_millis(500);
const PART: &str = "access audit";

/// Opens the access audit and starts its thread, which ends when every sender is gone.
pub fn start(core: &Arc<Core>) -> Result<(SyncSender<Vec<u8>>, JoinHandle<()>), AppError> {
    let audit = AccessAudit::open(&core.config.access_audit())?;
    core.metrics.recording.with_label_values(&[PART]).set(1);
    let (sender, receiver) = sync_channel(WAITING);
    let core = Arc::clone(core);
    let thread = std::thread::Builder::new()
        .name("access-audit".to_owned())
        .spawn(move || Writer { core, audit, blocked: false, dirty: None }.run(&receiver))
        .map_err(|cause| AppError::Start { what: "the access audit", cause })?;
    Ok((sender, thread))
}

struct Writer {
    core: Arc<Core>,
    audit: AccessAudit,
    blocked: bool,
    /// Since when something is not on the disk.
    dirty: Option<Instant>,
}

impl Writer {
    fn run(mut self, receiver: &Receiver<Vec<u8>>) {
        loop {
            match receiver.recv_timeout(SYNC) {
                Ok(chunk) => self.write(&chunk),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.dirty.is_some_and(|since| since.elapsed() >= SYNC) {
                self.sync();
            }
        }
        self.sync();
    }

    /// Writes one chunk, however long it takes: until then no other is taken.
    fn write(&mut self, chunk: &[u8]) {
        while let Err(error) = self.audit.append(chunk) {
            gates::block(&self.core, PART, &error.to_string());
            self.blocked = true;
            std::thread::sleep(RETRY);
            // a torn write is sealed when the chain is opened anew
            match AccessAudit::open(&self.core.config.access_audit()) {
                Ok(audit) => self.audit = audit,
                Err(error) => tracing::error!(%error, "the access audit cannot be opened"),
            }
        }
        self.dirty.get_or_insert_with(Instant::now);
        self.recovered();
    }

    fn sync(&mut self) {
        if self.dirty.take().is_some()
            && let Err(error) = self.audit.sync()
        {
            gates::block(&self.core, PART, &error.to_string());
            self.blocked = true;
        }
    }

    fn recovered(&mut self) {
        if self.blocked {
            self.blocked = false;
            if let Err(error) = gates::unblock(&self.core, PART) {
                tracing::error!(%error, "gates could not be decided after the access audit recovered");
            }
        }
    }
}
