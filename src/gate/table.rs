//! The live table: what the data path reads, without locks.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use time::OffsetDateTime;

use crate::gate::decide::GateDecision;
use crate::policy::terms::{Grant, OdsCode};

/// Every gate at one moment; immutable. A member that is not in it is closed.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    generation: u64,
    gates: HashMap<OdsCode, BTreeMap<Grant, GateDecision>>,
}

impl Snapshot {
    /// A table with these gates, for tests and for evaluating without a live table.
    pub fn of(gates: impl IntoIterator<Item = (OdsCode, BTreeMap<Grant, GateDecision>)>) -> Snapshot {
        Snapshot { generation: 1, gates: gates.into_iter().collect() }
    }

    /// Rises with every change of the table.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether requests may pass at `now`. A decision whose time is over counts as closed.
    pub fn is_open(&self, member: &OdsCode, grant: Grant, now: OffsetDateTime) -> bool {
        self.decision(member, grant).is_some_and(|decision| {
            decision.state.passes() && decision.valid_until.is_some_and(|until| now < until)
        })
    }

    /// The decision, when there is one.
    pub fn decision(&self, member: &OdsCode, grant: Grant) -> Option<&GateDecision> {
        self.gates.get(member)?.get(&grant)
    }

    /// Every member with its decisions, in no order.
    pub fn members(&self) -> impl Iterator<Item = (&OdsCode, &BTreeMap<Grant, GateDecision>)> {
        self.gates.iter()
    }
}

/// One gate that changed between passing and closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub member: OdsCode,
    pub grant: Grant,
    pub before: Option<GateDecision>,
    pub after: GateDecision,
}

/// Told of every change, in the thread that made it, after the new table is visible; must not block.
pub type Watcher = Box<dyn Fn(&Arc<Snapshot>, &[Transition]) + Send + Sync>;

/// The live table of all gates.
#[derive(Default)]
pub struct GateTable {
    current: ArcSwap<Snapshot>,
    generation: AtomicU64,
    watchers: Mutex<Vec<Watcher>>,
}

impl GateTable {
    /// A table in which every gate is closed.
    pub fn new() -> GateTable {
        GateTable::default()
    }

    /// The table now. Take it once per turn.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The generation of the current table, cheaper than a snapshot.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Calls `watcher` at every change from now on.
    pub fn watch(&self, watcher: Watcher) {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).push(watcher);
    }

    /// Sets the decisions of one member and tells the watchers. Returns the gates whose state changed.
    pub fn set(&self, member: &OdsCode, decisions: BTreeMap<Grant, GateDecision>) -> Vec<Transition> {
        self.change(|gates| {
            gates.insert(member.clone(), decisions.clone());
        })
    }

    /// Sets the decisions of many members in one step (at start, when the policy changes).
    pub fn set_all(
        &self,
        decisions: impl IntoIterator<Item = (OdsCode, BTreeMap<Grant, GateDecision>)>,
    ) -> Vec<Transition> {
        let decisions: Vec<_> = decisions.into_iter().collect();
        self.change(|gates| gates.extend(decisions.iter().cloned()))
    }

    fn change(
        &self,
        apply: impl Fn(&mut HashMap<OdsCode, BTreeMap<Grant, GateDecision>>),
    ) -> Vec<Transition> {
        // one writer at a time; readers never take this lock
        let watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current.load_full();
        let mut gates = before.gates.clone();
        apply(&mut gates);
        let after = Arc::new(Snapshot { generation: before.generation + 1, gates });
        self.current.store(after.clone());
        self.generation.store(after.generation, Ordering::Release);
        let transitions = transitions(&before, &after);
        for watcher in watchers.iter() {
            watcher(&after, &transitions);
        }
        transitions
    }
}

fn transitions(before: &Snapshot, after: &Snapshot) -> Vec<Transition> {
    let mut out = Vec::new();
    for (member, decisions) in &after.gates {
        for (grant, decision) in decisions {
            let old = before.decision(member, *grant);
            if old.map(|d| d.state) != Some(decision.state) {
                out.push(Transition {
                    member: member.clone(),
                    grant: *grant,
                    before: old.cloned(),
                    after: decision.clone(),
                });
            }
        }
    }
    out.sort_by(|a, b| (&a.member, a.grant).cmp(&(&b.member, b.grant)));
    out
}

impl fmt::Debug for GateTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateTable").field("generation", &self.generation()).finish_non_exhaustive()
    }
}
