//! The real store, which fails when a schedule says so, and tells what its journals were told.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::policy::terms::{Grant, OdsCode};
use portcullis::store::audit::{AuditRecord, AuditReport, NewAudit};
use portcullis::store::error::StoreError;
use portcullis::store::member::{Member, Transition};
use portcullis::store::organisation::Organisation;
use portcullis::store::packed::Packed;
use portcullis::store::port::{CheckReport, Everywhere, Store, Thinned};
use portcullis::store::record::{
    Approval, AssessmentRecord, EvidenceRecord, ExceptionRecord, GateRecord, JournalEntry, Lease,
    NewJournalEntry, PlanRecord, PolicyChange, StagedObject, StagedPage,
};
use portcullis::store::settings::Retention;
use portcullis::store::sqlite::store::SqliteStore;
use time::OffsetDateTime;

use crate::sync_faults::national::National;
use crate::sync_faults::process::{Fault, Process};

/// The store as one process has it.
#[derive(Debug)]
pub struct Faulty {
    pub inner: Arc<SqliteStore>,
    pub process: Arc<Process>,
    pub national: Arc<Mutex<National>>,
}

impl Faulty {
    fn at<T>(&self, what: &str, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let process = &self.process;
        process.calls.fetch_add(1, Ordering::SeqCst);
        let result = self.struck(what, work);
        process.calls.fetch_sub(1, Ordering::SeqCst);
        result
    }

    fn struck<T>(&self, what: &str, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let process = &self.process;
        let gone = || StoreError::Other("the process has ended".to_owned());
        if process.is_dead() {
            return Err(gone());
        }
        let mut chance = process.chance(what);
        match process.strikes(&mut chance, &[Fault::Store, Fault::Crash]) {
            Some(Fault::Store) => {
                process.say(&format!("cannot {what}"));
                Err(match chance.below(3) {
                    0 => StoreError::Full("the disk is full".to_owned()),
                    1 => StoreError::Busy("somebody else writes".to_owned()),
                    _ => StoreError::Other("the disk failed".to_owned()),
                })
            }
            Some(_) => {
                let after = chance.one_in(2);
                let result = if after { work() } else { Err(gone()) };
                process.crash(&format!("{} {what}", if after { "after" } else { "before" }));
                result
            }
            None => work(),
        }
    }
}

impl Store for Faulty {
    fn append_journal(
        &self,
        ods: &OdsCode,
        lease: &Lease,
        now: OffsetDateTime,
        entries: &[NewJournalEntry],
    ) -> Result<u64, StoreError> {
        self.at("append_journal", || {
            // known before anybody can act on it
            let mut national = self.national.lock().unwrap();
            let last = self.inner.append_journal(ods, lease, now, entries)?;
            if entries.is_empty() {
                return Ok(last);
            }
            let lines = self.inner.journal(ods, last - entries.len() as u64, u32::MAX)?;
            for line in lines.iter().filter(|line| line.entry.phase == "intended") {
                let step = serde_json::from_slice(&line.entry.document).unwrap();
                national.intend(ods.as_str(), line.seq, step);
            }
            Ok(last)
        })
    }

    fn members(&self) -> Result<Vec<Member>, StoreError> {
        self.inner.members()
    }

    fn member(&self, ods: &OdsCode) -> Result<Option<Member>, StoreError> {
        self.inner.member(ods)
    }

    fn save_member(
        &self,
        member: &Member,
        transition: Option<&Transition>,
        audit: &NewAudit,
    ) -> Result<Member, StoreError> {
        self.inner.save_member(member, transition, audit)
    }

    fn transitions(&self, ods: &OdsCode) -> Result<Vec<Transition>, StoreError> {
        self.inner.transitions(ods)
    }

    fn organisations(&self) -> Result<Vec<Organisation>, StoreError> {
        self.at("organisations", || self.inner.organisations())
    }

    fn organisation(&self, ods: &OdsCode) -> Result<Option<Organisation>, StoreError> {
        self.inner.organisation(ods)
    }

    fn put_organisations(&self, organisations: &[Organisation], audit: &NewAudit) -> Result<(), StoreError> {
        self.inner.put_organisations(organisations, audit)
    }

    fn put_evidence(&self, evidence: &EvidenceRecord) -> Result<(), StoreError> {
        self.inner.put_evidence(evidence)
    }

    fn evidence(&self, hash: &str) -> Result<Option<EvidenceRecord>, StoreError> {
        self.inner.evidence(hash)
    }

    fn latest_evidence(&self, ods: &OdsCode) -> Result<Option<EvidenceRecord>, StoreError> {
        self.inner.latest_evidence(ods)
    }

    fn put_assessment(&self, assessment: &AssessmentRecord, audit: &NewAudit) -> Result<(), StoreError> {
        self.inner.put_assessment(assessment, audit)
    }

    fn assessment(&self, id: &str) -> Result<Option<AssessmentRecord>, StoreError> {
        self.inner.assessment(id)
    }

    fn recent_assessments(&self, ods: &OdsCode, limit: u32) -> Result<Vec<AssessmentRecord>, StoreError> {
        self.inner.recent_assessments(ods, limit)
    }

    fn put_exception(
        &self,
        exception: &ExceptionRecord,
        before: Option<&ExceptionRecord>,
        audit: &NewAudit,
    ) -> Result<(), StoreError> {
        self.inner.put_exception(exception, before, audit)
    }

    fn exceptions(&self, ods: Option<&OdsCode>) -> Result<Vec<ExceptionRecord>, StoreError> {
        self.inner.exceptions(ods)
    }

    fn record_gate(&self, gate: &GateRecord, audit: &NewAudit) -> Result<(), StoreError> {
        self.inner.record_gate(gate, audit)
    }

    fn gates(&self) -> Result<Vec<GateRecord>, StoreError> {
        self.inner.gates()
    }

    fn gate_history(
        &self,
        ods: &OdsCode,
        grant: Option<Grant>,
        limit: u32,
    ) -> Result<Vec<GateRecord>, StoreError> {
        self.inner.gate_history(ods, grant, limit)
    }

    fn note(&self, ods: &OdsCode, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.note(ods, name)
    }

    fn set_note(&self, ods: &OdsCode, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.inner.set_note(ods, name, value)
    }

    fn thin(
        &self,
        ods: &OdsCode,
        keep: &Retention,
        named: &[String],
        now: OffsetDateTime,
    ) -> Result<Thinned, StoreError> {
        self.inner.thin(ods, keep, named, now)
    }

    fn change_policy(
        &self,
        after: u64,
        change: &PolicyChange,
        set: Option<&Packed>,
        audit: &NewAudit,
    ) -> Result<(), StoreError> {
        self.inner.change_policy(after, change, set, audit)
    }

    fn policy_changes(&self) -> Result<Vec<PolicyChange>, StoreError> {
        self.inner.policy_changes()
    }

    fn latest_policy_change(&self) -> Result<Option<PolicyChange>, StoreError> {
        self.inner.latest_policy_change()
    }

    fn policy_set(&self, hash: &str) -> Result<Option<Packed>, StoreError> {
        self.inner.policy_set(hash)
    }

    fn visit_staged(
        &self,
        ods: &OdsCode,
        visit: &mut dyn FnMut(StagedObject) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.at("visit_staged", || self.inner.visit_staged(ods, visit))
    }

    fn apply_page(
        &self,
        ods: &OdsCode,
        lease: &Lease,
        now: OffsetDateTime,
        page: &StagedPage,
    ) -> Result<(), StoreError> {
        self.at("apply_page", || self.inner.apply_page(ods, lease, now, page))
    }

    fn sync_value(&self, ods: &OdsCode, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.at("sync_value", || self.inner.sync_value(ods, key))
    }

    fn sync_values(&self, ods: &OdsCode, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.at("sync_values", || self.inner.sync_values(ods, prefix))
    }

    fn change_sync(
        &self,
        ods: Option<&OdsCode>,
        values: &[(String, Option<Vec<u8>>)],
        audit: &NewAudit,
    ) -> Result<(), StoreError> {
        self.inner.change_sync(ods, values, audit)
    }

    fn sync_everywhere(&self, key: &str) -> Result<Everywhere, StoreError> {
        self.at("sync_everywhere", || self.inner.sync_everywhere(key))
    }

    fn put_plan(&self, plan: &PlanRecord) -> Result<(), StoreError> {
        self.at("put_plan", || self.inner.put_plan(plan))
    }

    fn set_plan_state(&self, hash: &str, state: &str) -> Result<(), StoreError> {
        self.at("set_plan_state", || self.inner.set_plan_state(hash, state))
    }

    fn move_plans(&self, ods: &OdsCode, from: &str, to: &str, but: Option<&str>) -> Result<(), StoreError> {
        self.at("move_plans", || self.inner.move_plans(ods, from, to, but))
    }

    fn plan(&self, hash: &str) -> Result<Option<PlanRecord>, StoreError> {
        self.at("plan", || self.inner.plan(hash))
    }

    fn plans(&self, ods: &OdsCode, limit: u32) -> Result<Vec<PlanRecord>, StoreError> {
        self.at("plans", || self.inner.plans(ods, limit))
    }

    fn put_approval(&self, approval: &Approval, audit: &NewAudit) -> Result<(), StoreError> {
        self.inner.put_approval(approval, audit)
    }

    fn approvals(&self, plan: &str) -> Result<Vec<Approval>, StoreError> {
        self.at("approvals", || self.inner.approvals(plan))
    }

    fn journal(&self, ods: &OdsCode, after: u64, limit: u32) -> Result<Vec<JournalEntry>, StoreError> {
        self.at("journal", || self.inner.journal(ods, after, limit))
    }

    fn journal_of(&self, ods: &OdsCode, plan: &str) -> Result<Vec<JournalEntry>, StoreError> {
        self.inner.journal_of(ods, plan)
    }

    fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        now: OffsetDateTime,
        lasts: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        self.at("acquire_lease", || self.inner.acquire_lease(name, holder, now, lasts))
    }

    fn renew_lease(&self, lease: &Lease, now: OffsetDateTime, lasts: Duration) -> Result<Lease, StoreError> {
        self.at("renew_lease", || self.inner.renew_lease(lease, now, lasts))
    }

    fn release_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        self.at("release_lease", || self.inner.release_lease(lease))
    }

    fn append_audit(&self, records: &[NewAudit]) -> Result<u64, StoreError> {
        self.inner.append_audit(records)
    }

    fn audit(&self, after: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.inner.audit(after, limit)
    }

    fn audit_end(&self) -> Result<(u64, String), StoreError> {
        self.inner.audit_end()
    }

    fn verify_audit(&self) -> Result<AuditReport, StoreError> {
        self.inner.verify_audit()
    }

    fn generation(&self) -> Result<u64, StoreError> {
        self.inner.generation()
    }

    fn probe_writable(&self) -> Result<(), StoreError> {
        self.inner.probe_writable()
    }

    fn check(&self) -> Result<CheckReport, StoreError> {
        self.inner.check()
    }

    fn staged(&self, ods: &OdsCode, guid: &[u8; 16]) -> Result<Option<StagedObject>, StoreError> {
        self.at("staged", || self.inner.staged(ods, guid))
    }
}
