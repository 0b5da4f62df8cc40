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
            gates.insert(member.clone(), decisions);
        })
    }

    /// Sets the decisions of many members in one step (at start, when the policy changes).
    pub fn set_all(
        &self,
        decisions: impl IntoIterator<Item = (OdsCode, BTreeMap<Grant, GateDecision>)>,
    ) -> Vec<Transition> {
        self.set_all_with(decisions, |_| ())
    }

    /// As [`GateTable::set_all`]. Before the watchers, `with` is given the new table, while nothing else can change it: what must
    /// change together with these decisions is changed there.
    pub fn set_all_with(
        &self,
        decisions: impl IntoIterator<Item = (OdsCode, BTreeMap<Grant, GateDecision>)>,
        with: impl FnOnce(&Arc<Snapshot>),
    ) -> Vec<Transition> {
        let decisions: Vec<_> = decisions.into_iter().collect();
        self.change_with(|gates| gates.extend(decisions), with)
    }

    fn change(
        &self,
        apply: impl FnOnce(&mut HashMap<OdsCode, BTreeMap<Grant, GateDecision>>),
    ) -> Vec<Transition> {
        self.change_with(apply, |_| ())
    }

    fn change_with(
        &self,
        apply: impl FnOnce(&mut HashMap<OdsCode, BTreeMap<Grant, GateDecision>>),
        with: impl FnOnce(&Arc<Snapshot>),
    ) -> Vec<Transition> {
        // one writer at a time; readers never take this lock
        let watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current.load_full();
        let mut gates = before.gates.clone();
        apply(&mut gates);
        let after = Arc::new(Snapshot { generation: before.generation + 1, gates });
        self.current.store(after.clone());
        self.generation.store(after.generation, Ordering::Release);
        with(&after);
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

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::gate::decide::{GateReason, GateState};

    const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

    fn decision(state: GateState, valid_until: Option<OffsetDateTime>) -> GateDecision {
        let reason = GateReason { code: "clean".into(), control: None, text: String::new() };
        GateDecision { state, reasons: vec![reason], assessment: None, valid_until }
    }

    #[test]
    fn what_is_not_there_or_out_of_time_is_closed() {
        let member: OdsCode = "RXA".parse().unwrap();
        let table = GateTable::new();
        assert!(!table.snapshot().is_open(&member, Grant::Lookup, NOW));
        let until = NOW + time::Duration::MINUTE;
        table.set(&member, BTreeMap::from([(Grant::Lookup, decision(GateState::Open, Some(until)))]));
        let snapshot = table.snapshot();
        assert!(snapshot.is_open(&member, Grant::Lookup, NOW));
        assert!(!snapshot.is_open(&member, Grant::Sync, NOW));
        assert!(!snapshot.is_open(&member, Grant::Lookup, until));
        table.set(&member, BTreeMap::from([(Grant::Lookup, decision(GateState::Open, None))]));
        assert!(!table.snapshot().is_open(&member, Grant::Lookup, NOW), "open without an end is not open");
    }

    #[test]
    fn watchers_see_the_new_table_and_only_what_changed() {
        let member: OdsCode = "RXA".parse().unwrap();
        let table = Arc::new(GateTable::new());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (to, of) = (seen.clone(), table.clone());
        table.watch(Box::new(move |snapshot, transitions| {
            assert_eq!(of.generation(), snapshot.generation());
            to.lock().unwrap().push(transitions.len());
        }));
        let until = Some(NOW + time::Duration::MINUTE);
        let open = BTreeMap::from([(Grant::Lookup, decision(GateState::Open, until))]);
        assert_eq!(table.set(&member, open.clone()).len(), 1);
        assert_eq!(table.set(&member, open).len(), 0);
        let closed = BTreeMap::from([(Grant::Lookup, decision(GateState::Closed, None))]);
        let changes = table.set(&member, closed);
        assert_eq!(changes[0].before.as_ref().map(|d| d.state), Some(GateState::Open));
        assert_eq!(*seen.lock().unwrap(), [1, 0, 1]);
        assert_eq!(table.generation(), 3);
    }
}
