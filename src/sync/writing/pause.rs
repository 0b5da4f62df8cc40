//! Sync paused by hand, for one member or for all: kept in the store, so that it outlives every process. What cannot be read
//! of it counts as paused: a run fails rather than writes.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::port::Store;
use crate::sync::terms::interruption::Interruption;
use crate::sync::writing::execute::Gate;

/// Key in the sync state of the member, or of what holds for every member.
pub const PAUSED: &str = "paused";

/// One pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The officer who paused it.
    pub by: String,
    pub reason: String,
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Whether it holds for every member.
    pub everybody: bool,
}

impl Pause {
    /// How it is ended.
    pub fn ended_by(&self, member: &OdsCode) -> String {
        let whom = if self.everybody { "--all".to_owned() } else { member.to_string() };
        format!("portcullis sync resume {whom} --reason TEXT")
    }
}

/// Every pause that holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pauses {
    /// The one for everybody.
    pub all: Option<Pause>,
    pub members: BTreeMap<OdsCode, Pause>,
}

impl Pauses {
    /// What the store holds.
    ///
    /// # Errors
    /// Also one that cannot be understood: whoever asks must not go on.
    pub fn read(store: &dyn Store) -> Result<Pauses, StoreError> {
        let mut pauses = Pauses::default();
        for (member, value) in store.sync_everywhere(PAUSED)? {
            let pause = pause_of(&value)?;
            match member {
                Some(member) => {
                    pauses.members.insert(member, pause);
                }
                None => pauses.all = Some(pause),
            }
        }
        Ok(pauses)
    }

    /// Why this member is paused: its own pause before the one for everybody.
    pub fn of(&self, member: &OdsCode) -> Option<&Pause> {
        self.members.get(member).or(self.all.as_ref())
    }
}

fn pause_of(value: &[u8]) -> Result<Pause, StoreError> {
    serde_json::from_slice(value).map_err(|error| StoreError::Value(format!("a pause of sync: {error}")))
}

/// The value that keeps a pause.
pub fn kept(pause: &Pause) -> Result<(String, Option<Vec<u8>>), StoreError> {
    let value = serde_json::to_vec(pause).map_err(|error| StoreError::Value(error.to_string()))?;
    Ok((PAUSED.to_owned(), Some(value)))
}

/// What stopped a run between two batches, though its gate was open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    Paused(Pause),
    Interrupted,
}

/// What stopped a run on its way, once it was stopped.
#[derive(Debug, Clone, Default)]
pub struct Stopped(Arc<OnceLock<Stop>>);

impl Stopped {
    /// The pause that stopped it.
    pub fn pause(&self) -> Option<&Pause> {
        match self.0.get()? {
            Stop::Paused(pause) => Some(pause),
            Stop::Interrupted => None,
        }
    }

    /// Whether it was interrupted.
    pub fn is_interrupted(&self) -> bool {
        self.0.get() == Some(&Stop::Interrupted)
    }
}

/// `gate`, and neither a pause nor an interruption: asked before each batch. It closes when the store cannot tell.
pub fn also(
    gate: &Gate,
    store: &Arc<dyn Store>,
    interruption: &Interruption,
    member: &OdsCode,
) -> (Gate, Stopped) {
    let member = member.clone();
    closing(gate, store, interruption, move |pauses| pauses.of(&member).cloned())
}

/// As [`also`] with a pause for everybody alone: for what goes on although the member is paused by itself.
pub fn also_everybody(gate: &Gate, store: &Arc<dyn Store>, interruption: &Interruption) -> (Gate, Stopped) {
    closing(gate, store, interruption, |pauses| pauses.all.clone())
}

fn closing(
    gate: &Gate,
    store: &Arc<dyn Store>,
    interruption: &Interruption,
    which: impl Fn(&Pauses) -> Option<Pause> + Send + Sync + 'static,
) -> (Gate, Stopped) {
    let (gate, store, interruption) = (gate.clone(), store.clone(), interruption.clone());
    let stopped = Stopped::default();
    let told = stopped.clone();
    // what stopped it first is enough to say why
    let stop = move |why: Stop| {
        let _ = told.0.set(why);
        false
    };
    let all: Gate = Arc::new(move || match Pauses::read(store.as_ref()).map(|pauses| which(&pauses)) {
        _ if interruption.is_asked() => stop(Stop::Interrupted),
        Ok(Some(pause)) => stop(Stop::Paused(pause)),
        Ok(None) => gate(),
        Err(_) => false,
    });
    (all, stopped)
}
