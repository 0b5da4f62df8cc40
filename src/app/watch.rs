//! Notices what other processes write to the store, when it cannot be written, and when a decision's time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::app::core::Core;
use crate::app::exceptions::Reminders;
use crate::app::gates::{self, ACTOR};
use crate::app::policies;
use crate::app::thinning::Thinning;
use crate::baseline::assessment::Assessment;
use crate::gate::decide::EXCEPTION_ENDED;
use crate::policy::terms::OdsCode;
use crate::store::audit::AuditRecord;
use crate::store::checkpoint;
use crate::store::error::StoreError;

/// How often the store is asked whether anything changed.
pub const EVERY: Duration = Duration::from_millis(50);
/// How often it is tried whether the store can be written.
const PROBE: Duration = Duration::from_secs(2);
/// How often decisions are looked at for their end.
const EXPIRE: Duration = Duration::from_millis(500);
/// Audit records that are read at once.
const BATCH: u32 = 1_000;
/// How often the end of the audit chain is signed, when it grew.
const CHECKPOINT: Duration = Duration::from_secs(60);
/// How long nothing is judged again of a member whose evidence could not be judged after an exception ended.
const JUDGE_AGAIN: Duration = Duration::from_secs(30);
/// How often exceptions are read although nobody seems to have changed one.
const EXCEPTIONS: Duration = Duration::from_secs(60);
const PART: &str = "store";

/// What was seen last.
#[derive(Debug)]
pub struct Watch {
    generation: Option<u64>,
    /// The audit record up to which changes were acted upon.
    seen: u64,
    probed: Option<Instant>,
    expired: Instant,
    checkpointed: Instant,
    /// The last record that was signed.
    signed: u64,
    thinning: Thinning,
    /// When exceptions were read; none: they must be.
    exceptions: Option<Instant>,
    reminders: Reminders,
    /// When members were judged again because an exception ended.
    judged_again: BTreeMap<OdsCode, Instant>,
}

/// What a look found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Members were added or changed: the front door must hear of it.
    pub members: bool,
    /// Officers changed which policy set counts.
    pub policies: bool,
}

impl Watch {
    /// Changes from now on.
    pub fn new(core: &Core) -> Result<Self, StoreError> {
        let (seen, _) = core.store.audit_end()?;
        let generation = Some(core.store.generation()?);
        core.exceptions.load(core.store.as_ref(), core.clock.now())?;
        Ok(Watch {
            generation,
            seen,
            probed: None,
            expired: Instant::now(),
            checkpointed: Instant::now(),
            signed: 0,
            thinning: Thinning::new(core),
            exceptions: Some(Instant::now()),
            reminders: Reminders::default(),
            judged_again: BTreeMap::new(),
        })
    }

    /// Signs the end of the audit chain if it grew since it was signed last.
    pub fn checkpoint(&mut self, core: &Core) {
        self.checkpointed = Instant::now();
        let file = core.config.checkpoints();
        match checkpoint::write(&file, core.store.as_ref(), &core.signer, core.clock.now(), self.signed) {
            Ok(signed) => self.signed = signed,
            Err(error) => tracing::error!(%error, "the audit chain could not be signed"),
        }
    }

    /// One look. A store that fails closes every gate until it works again.
    pub fn look(&mut self, core: &Core) -> Seen {
        // a full store is thinned all the same: that makes room
        let (seen, thins) = match self.try_look(core) {
            Ok(seen) => (seen, true),
            Err(error) => {
                if error.closes_gates() {
                    gates::block(core, PART, &error.to_string());
                } else {
                    tracing::warn!(%error, "the store could not be read; trying again");
                }
                // whatever was missed is acted upon when it works again
                self.generation = None;
                (Seen::default(), matches!(error, StoreError::Full(_)))
            }
        };
        if thins && let Err(error) = self.thinning.look(core) {
            gates::block(core, PART, &error.to_string());
        }
        seen
    }

    fn try_look(&mut self, core: &Core) -> Result<Seen, StoreError> {
        if self.probed.is_none_or(|at| at.elapsed() >= PROBE) {
            self.probed = Some(Instant::now());
            core.store.probe_writable()?;
            // a probe that works says nothing about what thinning stumbled over
            if !self.thinning.is_stuck() {
                gates::unblock(core, PART)?;
            }
        }
        let mut seen = Seen::default();
        let generation = core.store.generation()?;
        if self.generation != Some(generation) {
            self.follow(core, &mut seen)?;
            self.generation = Some(generation);
        }
        if self.checkpointed.elapsed() >= CHECKPOINT {
            self.checkpoint(core);
        }
        if self.exceptions.is_none_or(|at| at.elapsed() >= EXCEPTIONS) {
            core.exceptions.load(core.store.as_ref(), core.clock.now())?;
            self.exceptions = Some(Instant::now());
        }
        if self.expired.elapsed() >= EXPIRE {
            self.expired = Instant::now();
            self.remind(core);
            self.expire(core)?;
        }
        Ok(seen)
    }

    /// Acts upon every audit record since the last look: each change of a member, its exceptions or its assessments has one.
    fn follow(&mut self, core: &Core, seen: &mut Seen) -> Result<(), StoreError> {
        let mut todo = Todo::default();
        let mut last = self.seen;
        loop {
            let records = core.store.audit(last, BATCH)?;
            let Some(end) = records.last() else { break };
            last = end.seq;
            for record in &records {
                todo.note(record, seen);
                if record.audit.action.starts_with("exception.") {
                    self.exceptions = None;
                }
            }
        }
        for ods in &todo.judge {
            if let Some(member) = core.store.member(ods)? {
                policies::judge_one(core, &member)?;
            }
        }
        for ods in &todo.measured {
            policies::decide_measured(core, ods)?;
        }
        for ods in todo.decide.union(&todo.judge) {
            judge_outlived(core, ods)?;
            gates::decide_one(core, ods)?;
        }
        self.seen = last;
        Ok(())
    }

    fn remind(&mut self, core: &Core) {
        let (policy, now) = (core.policy.load(), core.clock.now());
        let all = core.exceptions.all(policy.as_ref().map(|policy| &*policy.set), now);
        self.reminders.look(&all, now);
    }

    /// Decides anew where a decision's time is over, or where it waits for what an exception left behind to be judged.
    fn expire(&mut self, core: &Core) -> Result<(), StoreError> {
        let (snapshot, now) = (core.gates.snapshot(), core.clock.now());
        self.judged_again.retain(|_, at| at.elapsed() < JUDGE_AGAIN);
        for (member, decisions) in snapshot.members() {
            let over = decisions
                .values()
                .any(|d| d.state.passes() && d.valid_until.is_none_or(|until| until <= now));
            let waits = decisions.values().any(|d| d.reasons.iter().any(|r| r.code == EXCEPTION_ENDED));
            let again = waits && !self.judged_again.contains_key(member);
            if over || again {
                if judge_outlived(core, member)? {
                    self.judged_again.insert(member.clone(), Instant::now());
                }
                gates::decide_one(core, member)?;
            }
        }
        Ok(())
    }
}

/// What is to be done about members, by what happened to them.
#[derive(Default)]
struct Todo {
    decide: BTreeSet<OdsCode>,
    judge: BTreeSet<OdsCode>,
    measured: BTreeSet<OdsCode>,
}

impl Todo {
    fn note(&mut self, record: &AuditRecord, seen: &mut Seen) {
        let action = record.audit.action.as_str();
        let Some(member) = &record.audit.member else {
            seen.policies |= action.starts_with("policy.");
            return;
        };
        if record.audit.actor == ACTOR && (action.starts_with("gate.") || action.starts_with("assessment.")) {
            // our own, decided when it was made
            return;
        }
        if action.starts_with("member.") {
            seen.members = true;
            self.decide.insert(member.clone());
        } else if matches!(action, "exception.request" | "exception.refuse") {
            // nothing is set aside by it
        } else if action.starts_with("exception.") {
            self.judge.insert(member.clone());
        } else if action.starts_with("assessment.") {
            self.measured.insert(member.clone());
        } else {
            self.decide.insert(member.clone());
        }
    }
}

/// Judges the member's evidence again when its latest assessment rests on an exception that has ended since, and says whether it
/// was tried: until then its gates are closed for that alone, whatever the evidence says.
fn judge_outlived(core: &Core, ods: &OdsCode) -> Result<bool, StoreError> {
    let Some(latest) = core.store.recent_assessments(ods, 1)?.into_iter().next() else { return Ok(false) };
    // one that cannot be read is told where gates are decided
    let Ok(latest) = serde_json::from_slice::<Assessment>(&latest.document) else { return Ok(false) };
    let Some(member) = core.store.member(ods)?.filter(|_| latest.outlived(core.clock.now()).is_some()) else {
        return Ok(false);
    };
    policies::judge_one(core, &member)?;
    Ok(true)
}
