//! Keeps the store from growing without end: now and then it is thinned, a few members at a look, so that nobody waits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::app::core::Core;
use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::port::Thinned;
use crate::store::settings::Retention;

/// From the end of one round over all members to the beginning of the next.
const EVERY: Duration = Duration::from_secs(600);
/// Members that are thinned at one look, at most.
const MEMBERS: usize = 4;
/// A look begins with no other member after this.
const LOOK: Duration = Duration::from_millis(10);
/// How long nothing is tried after it failed.
const PAUSE: Duration = Duration::from_secs(2);

/// A round over all members, and when the next is due.
#[derive(Debug)]
pub struct Thinning {
    retention: Retention,
    /// Who is still to come in this round.
    left: VecDeque<OdsCode>,
    /// Nothing happens before this.
    due: Instant,
    /// What this round removed so far.
    assessments: u64,
    evidence: u64,
    /// The store cannot be thinned, and so not be trusted to be written.
    stuck: bool,
}

impl Thinning {
    /// The first round begins at the first look.
    pub fn new(core: &Core) -> Self {
        Thinning {
            retention: core.config.store.retention(),
            left: VecDeque::new(),
            due: Instant::now(),
            assessments: 0,
            evidence: 0,
            stuck: false,
        }
    }

    /// Whether it failed in a way that closes gates, and did not succeed since.
    pub fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Thins a few members when that is due. Only what closes gates comes back as an error; it is tried again soon. After
    /// anything else the member has its turn in the next round.
    pub fn look(&mut self, core: &Core) -> Result<(), StoreError> {
        let began = Instant::now();
        if began < self.due {
            return Ok(());
        }
        // what could not be recorded yet is named by a gate record soon
        let Some(waits) = core.unrecorded_assessments() else { return Ok(()) };
        if self.left.is_empty() {
            // the live table knows every member
            self.left = core.gates.snapshot().members().map(|(member, _)| member.clone()).collect();
        }
        for _ in 0..MEMBERS {
            let Some(member) = self.left.pop_front() else { break };
            match self.thin(core, &member, &waits) {
                Ok(thinned) => {
                    self.stuck = false;
                    if thinned.more {
                        self.left.push_back(member);
                    }
                }
                Err(error) => return self.failed(member, error),
            }
            if began.elapsed() >= LOOK {
                break;
            }
        }
        if self.left.is_empty() {
            self.finish();
        }
        Ok(())
    }

    fn thin(
        &mut self,
        core: &Core,
        member: &OdsCode,
        waits: &[(OdsCode, String)],
    ) -> Result<Thinned, StoreError> {
        let named: Vec<String> =
            waits.iter().filter(|(of, _)| of == member).map(|(_, assessment)| assessment.clone()).collect();
        let thinned = core.store.thin(member, &self.retention, &named, core.clock.now())?;
        self.assessments = self.assessments.saturating_add(thinned.assessments);
        self.evidence = self.evidence.saturating_add(thinned.evidence);
        Ok(thinned)
    }

    fn failed(&mut self, member: OdsCode, error: StoreError) -> Result<(), StoreError> {
        self.due = Instant::now() + PAUSE;
        if error.closes_gates() {
            self.stuck = true;
            self.left.push_front(member);
            return Err(error);
        }
        tracing::warn!(%member, %error, "old evidence could not be removed");
        Ok(())
    }

    fn finish(&mut self) {
        self.due = Instant::now() + EVERY;
        let (assessments, evidence) =
            (std::mem::take(&mut self.assessments), std::mem::take(&mut self.evidence));
        if assessments > 0 || evidence > 0 {
            tracing::info!(assessments, evidence, "old evidence removed");
        }
    }
}
