//! Ctrl-C and SIGTERM while a command holds a lease. The first one asks for an end: the writes under way end, are written down and the lease is
//! given back, so that the same command goes on at once. A second one ends the process where it is.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::failure::{Answer, Failure};
use crate::cli::sync::hands::failure;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::interruption::Interruption;

const INTERRUPT: u8 = 2;
const TERMINATE: u8 = 15;
/// What shells add to the number of the signal that ended a process.
const BY_SIGNAL: u8 = 128;

/// While it is there, signals are heeded.
#[derive(Debug)]
pub struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// The first signal; 0: none came.
    first: AtomicU8,
    /// There is nothing to be ended any more.
    over: AtomicBool,
}

impl Interrupt {
    /// From now on the first signal asks for an end. A thread of its own hears them: it does not wait for whatever the command does.
    pub fn heed(interruption: &Interruption) -> Result<Interrupt, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::could_not)?;
        let (mut interrupted, mut terminated) = {
            let _here = runtime.enter();
            let heard = |kind| signal(kind).map_err(Failure::could_not);
            (heard(SignalKind::interrupt())?, heard(SignalKind::terminate())?)
        };
        let (state, interruption) = (Arc::new(State::default()), interruption.clone());
        let shared = Arc::clone(&state);
        let hear = async move {
            loop {
                let number = tokio::select! {
                    _ = interrupted.recv() => INTERRUPT,
                    _ = terminated.recv() => TERMINATE,
                };
                let is_second = shared.first.swap(number, Ordering::AcqRel) != 0;
                if is_second || shared.over.load(Ordering::Acquire) {
                    std::process::exit(i32::from(BY_SIGNAL + number));
                }
                interruption.ask();
                let told = "interrupted: what is under way ends first; a second signal ends it at once";
                // nowhere to report that standard error is closed
                let _ = writeln!(std::io::stderr().lock(), "{told}");
            }
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(hear))
            .map_err(Failure::could_not)?;
        Ok(Interrupt(state))
    }

    /// The answer of a command that a signal ended early.
    pub fn answer(&self) -> Answer {
        match self.0.first.load(Ordering::Acquire) {
            0 => Answer::Unknown,
            number => Answer::Interrupted(BY_SIGNAL + number),
        }
    }

    /// How what ended early ends the command.
    pub fn failure(&self, error: SyncError) -> Failure {
        match error {
            SyncError::Interrupted => Failure { answer: self.answer(), message: error.to_string() },
            other => failure(other),
        }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}
