//! What the journal says is published: a fold over its lines. Every write of ours is in there before it is done.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::store::record::JournalEntry;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::step::{Action, Step};
use crate::sync::terms::target::{LEFT_AT, STAMP};

/// Phases of a line whose step was done, whoever found that out.
pub const DONE: [&str; 2] = ["done", "found_done"];
/// The phase of a line whose document is the step.
pub const INTENDED: &str = "intended";

/// An account's entry, as our last write left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub dn: String,
    /// Of its content; none when no write named one.
    pub stamp: Option<String>,
    /// It is marked as left: another organisation may take it over, and nothing here would bring it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
}

/// A step that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub guid: Guid,
    pub action: Action,
    /// When it was intended, which is just before it was sent.
    pub at: OffsetDateTime,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Open {
    step: Step,
    at: OffsetDateTime,
    seq: u64,
}

/// A member's books.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Books {
    /// By account.
    entries: BTreeMap<Guid, Published>,
    /// Steps that may have been done or not.
    open: BTreeMap<(String, u64), Open>,
    /// The last line that was read.
    seq: u64,
}

impl Books {
    /// Books that were kept, see [`Books::kept_at`].
    pub fn kept(entries: BTreeMap<Guid, Published>, seq: u64) -> Books {
        Books { entries, open: BTreeMap::new(), seq }
    }

    /// Reads one more line; tells the step that it says was done.
    pub fn read(&mut self, line: &JournalEntry) -> Option<Written> {
        self.seq = self.seq.max(line.seq);
        let key = (line.entry.plan.clone(), line.entry.step);
        if line.entry.phase == INTENDED {
            if let Ok(step) = serde_json::from_slice(&line.entry.document) {
                self.open.insert(key, Open { step, at: line.entry.at, seq: line.seq });
            }
            return None;
        }
        let Open { step, at, .. } = self.open.remove(&key)?;
        if DONE.contains(&line.entry.phase.as_str()) { self.done(&step, at) } else { None }
    }

    fn done(&mut self, step: &Step, at: OffsetDateTime) -> Option<Written> {
        let guid = step.anchor.as_ref()?.guid;
        if step.action == Action::Delete {
            self.entries.remove(&guid);
        } else {
            let stamp = step.after().get(STAMP).and_then(|values| values.first()).cloned();
            let was = self.entries.remove(&guid);
            let dn = step.to.clone().unwrap_or_else(|| step.dn.clone());
            let marked = step.after().get(LEFT_AT).map(|values| !values.is_empty());
            let left = marked.unwrap_or(was.as_ref().is_some_and(|was| was.left));
            let stamp = stamp.or_else(|| was.and_then(|was| was.stamp));
            self.entries.insert(guid, Published { dn, stamp, left });
        }
        Some(Written { guid, action: step.action, at })
    }

    /// The last line that was read.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// After which line reading must begin again when only the entries are kept: what is open is read once more. Lines that are
    /// read twice, in their order, change nothing.
    pub fn kept_at(&self) -> u64 {
        self.open.values().map(|open| open.seq.saturating_sub(1)).min().unwrap_or(self.seq)
    }

    /// Every account with an entry.
    pub fn entries(&self) -> &BTreeMap<Guid, Published> {
        &self.entries
    }

    /// Accounts whose entries may be one way or the other.
    pub fn unsettled(&self) -> BTreeSet<Guid> {
        self.open.values().filter_map(|open| open.step.anchor.as_ref()).map(|anchor| anchor.guid).collect()
    }
}
