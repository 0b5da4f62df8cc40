//! The one door to what is kept.
//!
//! Methods block (a few microseconds to the busy time-out): callers on tokio use `spawn_blocking`. Each method is one
//! transaction: on an error nothing of it is kept. Methods that take a [`NewAudit`] record it in the same transaction, so
//! that there is no change without its record.

use std::fmt::Debug;
use std::time::Duration;

use time::OffsetDateTime;

use crate::policy::terms::{Grant, OdsCode};
use crate::store::audit::{AuditRecord, AuditReport, NewAudit};
use crate::store::error::StoreError;
use crate::store::member::{Member, Transition};
use crate::store::organisation::Organisation;
use crate::store::packed::Packed;
use crate::store::record::{
    Approval, AssessmentRecord, EvidenceRecord, ExceptionRecord, GateRecord, JournalEntry, Lease,
    NewJournalEntry, PlanRecord, PolicyChange, StagedObject, StagedPage,
};
use crate::store::settings::Retention;

/// What a check of the store found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CheckReport {
    /// The schema's version.
    pub schema: i64,
    /// What the database's own integrity check says; none means sound.
    pub faults: Vec<String>,
    /// Rows per table.
    pub rows: Vec<(String, u64)>,
    /// The audit chain.
    pub audit: AuditReport,
}

/// What a thinning removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Thinned {
    /// Assessments that were removed.
    pub assessments: u64,
    /// Evidence documents that were removed.
    pub evidence: u64,
    /// There is more that can go: ask again.
    pub more: bool,
}

/// One value of every member's sync state, and of what holds for every member, which has no code.
pub type Everywhere = Vec<(Option<OdsCode>, Vec<u8>)>;

/// Keeps everything that must outlive the process.
pub trait Store: Send + Sync + Debug {
    // ---- members and their life

    /// Every member, by code.
    fn members(&self) -> Result<Vec<Member>, StoreError>;

    /// One member.
    fn member(&self, ods: &OdsCode) -> Result<Option<Member>, StoreError>;

    /// Saves a member, with the transition that led to its state if there was one, and returns it with its new revision. A
    /// member whose `revision` is not the kept one (0: must not exist) is a conflict.
    fn save_member(
        &self,
        member: &Member,
        transition: Option<&Transition>,
        audit: &NewAudit,
    ) -> Result<Member, StoreError>;

    /// A member's transitions, oldest first.
    fn transitions(&self, ods: &OdsCode) -> Result<Vec<Transition>, StoreError>;

    // ---- organisations of the programme

    /// Every organisation, by code.
    fn organisations(&self) -> Result<Vec<Organisation>, StoreError>;

    /// One organisation.
    fn organisation(&self, ods: &OdsCode) -> Result<Option<Organisation>, StoreError>;

    /// Keeps these organisations, in place of those with the same codes; all or none. Others stay as they are.
    fn put_organisations(&self, organisations: &[Organisation], audit: &NewAudit) -> Result<(), StoreError>;

    // ---- evidence, assessments, exceptions, gates

    /// Keeps an evidence document. Its `previous` must be the hash of the member's latest, or it is a conflict. The one that
    /// it names may be removed later ([`Store::thin`]); its name stays, in the document and in the record.
    fn put_evidence(&self, evidence: &EvidenceRecord) -> Result<(), StoreError>;

    /// An evidence document by its hash.
    fn evidence(&self, hash: &str) -> Result<Option<EvidenceRecord>, StoreError>;

    /// The member's latest evidence.
    fn latest_evidence(&self, ods: &OdsCode) -> Result<Option<EvidenceRecord>, StoreError>;

    /// Keeps an assessment; the audit record comes with it. One with an id that is kept already is the same and changes nothing.
    fn put_assessment(&self, assessment: &AssessmentRecord, audit: &NewAudit) -> Result<(), StoreError>;

    /// An assessment by its id.
    fn assessment(&self, id: &str) -> Result<Option<AssessmentRecord>, StoreError>;

    /// The member's latest assessments, newest first.
    fn recent_assessments(&self, ods: &OdsCode, limit: u32) -> Result<Vec<AssessmentRecord>, StoreError>;

    /// Keeps an exception: a new one, or in place of `before`, as it was read. Where another is kept than that, it is a conflict.
    fn put_exception(
        &self,
        exception: &ExceptionRecord,
        before: Option<&ExceptionRecord>,
        audit: &NewAudit,
    ) -> Result<(), StoreError>;

    /// Exceptions of one member, or of all, ended and withdrawn ones too, by id.
    fn exceptions(&self, ods: Option<&OdsCode>) -> Result<Vec<ExceptionRecord>, StoreError>;

    /// Appends a gate's change, with its audit record.
    fn record_gate(&self, gate: &GateRecord, audit: &NewAudit) -> Result<(), StoreError>;

    /// What every gate is now: the newest record of each member and grant.
    fn gates(&self) -> Result<Vec<GateRecord>, StoreError>;

    /// A member's gate changes, newest first.
    fn gate_history(
        &self,
        ods: &OdsCode,
        grant: Option<Grant>,
        limit: u32,
    ) -> Result<Vec<GateRecord>, StoreError>;

    /// A small value that the gateway keeps about a member between two decisions, by name.
    fn note(&self, ods: &OdsCode, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Keeps such a value in place of the one before.
    fn set_note(&self, ods: &OdsCode, name: &str, value: &[u8]) -> Result<(), StoreError>;

    /// Removes what a member no longer needs of its evidence and assessments, oldest first, and tells how much that was.
    ///
    /// Kept are: the newest `keep_latest` evidence documents and as many assessments; the first of each UTC day of the last
    /// `keep_days` days, by `collected_at` and `assessed_at`, today (of `now`) being the first of them; every assessment that
    /// a gate record or `named` names; and every evidence document that a kept assessment names. "Newest" and "first" are
    /// meant in the order in which they were kept.
    ///
    /// One transaction, and a short one: it removes some tens of documents at most, and says so when there is `more`. What
    /// gates depend on does not change, so that there is no audit record and the generation stays.
    fn thin(
        &self,
        ods: &OdsCode,
        keep: &Retention,
        named: &[String],
        now: OffsetDateTime,
    ) -> Result<Thinned, StoreError>;

    // ---- policy sets

    /// Keeps a change of the set in force, with its audit record; `set` is the bundle of the set that it names, kept by that hash in
    /// place of one that was there. A conflict when there are not exactly `after` changes yet, or when it names a set that is not kept.
    fn change_policy(
        &self,
        after: u64,
        change: &PolicyChange,
        set: Option<&Packed>,
        audit: &NewAudit,
    ) -> Result<(), StoreError>;

    /// Every change of the set in force, oldest first.
    fn policy_changes(&self) -> Result<Vec<PolicyChange>, StoreError>;

    /// The newest of them.
    fn latest_policy_change(&self) -> Result<Option<PolicyChange>, StoreError>;

    /// The bundle of a set by its hash.
    fn policy_set(&self, hash: &str) -> Result<Option<Packed>, StoreError>;

    // ---- sync

    /// One staged object.
    fn staged(&self, ods: &OdsCode, guid: &[u8; 16]) -> Result<Option<StagedObject>, StoreError>;

    /// Every staged object of a member, by GUID, one at a time. An error of `visit` ends it and is given back.
    fn visit_staged(
        &self,
        ods: &OdsCode,
        visit: &mut dyn FnMut(StagedObject) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// Applies one page's effects and its cookie, all or nothing, if `lease` is still held.
    fn apply_page(
        &self,
        ods: &OdsCode,
        lease: &Lease,
        now: OffsetDateTime,
        page: &StagedPage,
    ) -> Result<(), StoreError>;

    /// A key-value of a member's sync state, for example its cookie.
    fn sync_value(&self, ods: &OdsCode, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Every key-value of a member's sync state whose key starts with `prefix`, by key.
    fn sync_values(&self, ods: &OdsCode, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Sets or removes values of a member's sync state by hand (without `ods`: of what holds for every member), with the audit record.
    fn change_sync(
        &self,
        ods: Option<&OdsCode>,
        values: &[(String, Option<Vec<u8>>)],
        audit: &NewAudit,
    ) -> Result<(), StoreError>;

    /// What is kept under `key` of every member's sync state, by code; what holds for every member comes first and has none.
    fn sync_everywhere(&self, key: &str) -> Result<Everywhere, StoreError>;

    /// Keeps a plan or changes its state.
    fn put_plan(&self, plan: &PlanRecord) -> Result<(), StoreError>;

    /// Says what became of a plan, if it is there.
    fn set_plan_state(&self, hash: &str, state: &str) -> Result<(), StoreError>;

    /// Gives every plan of a member in state `from`, except the one with the hash `but`, the state `to`.
    fn move_plans(&self, ods: &OdsCode, from: &str, to: &str, but: Option<&str>) -> Result<(), StoreError>;

    /// A plan by its hash.
    fn plan(&self, hash: &str) -> Result<Option<PlanRecord>, StoreError>;

    /// A member's plans, newest first.
    fn plans(&self, ods: &OdsCode, limit: u32) -> Result<Vec<PlanRecord>, StoreError>;

    /// Keeps an approval, with its audit record.
    fn put_approval(&self, approval: &Approval, audit: &NewAudit) -> Result<(), StoreError>;

    /// The approvals of a plan, oldest first.
    fn approvals(&self, plan: &str) -> Result<Vec<Approval>, StoreError>;

    /// Appends to a member's journal if `lease` is still held; returns the last number given.
    fn append_journal(
        &self,
        ods: &OdsCode,
        lease: &Lease,
        now: OffsetDateTime,
        entries: &[NewJournalEntry],
    ) -> Result<u64, StoreError>;

    /// A member's journal after number `after`, oldest first.
    fn journal(&self, ods: &OdsCode, after: u64, limit: u32) -> Result<Vec<JournalEntry>, StoreError>;

    /// The lines of one plan in a member's journal, oldest first.
    fn journal_of(&self, ods: &OdsCode, plan: &str) -> Result<Vec<JournalEntry>, StoreError>;

    // ---- leases

    /// Takes the lease if nobody else holds it at `now`; a holder that asks again prolongs it and keeps its epoch.
    fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        now: OffsetDateTime,
        lasts: Duration,
    ) -> Result<Option<Lease>, StoreError>;

    /// Prolongs a lease that is still held; [`StoreError::Fenced`] when it is not.
    fn renew_lease(&self, lease: &Lease, now: OffsetDateTime, lasts: Duration) -> Result<Lease, StoreError>;

    /// Gives a lease back; nothing happens when it is no longer held.
    fn release_lease(&self, lease: &Lease) -> Result<(), StoreError>;

    // ---- audit

    /// Appends to the chain, in order, durably; returns the last record's number.
    fn append_audit(&self, records: &[NewAudit]) -> Result<u64, StoreError>;

    /// The chain after number `after`, oldest first.
    fn audit(&self, after: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError>;

    /// The number and hash of the last record; 0 and 64 zeros when there is none.
    fn audit_end(&self) -> Result<(u64, String), StoreError>;

    /// Reads the whole chain and reports every change, gap and truncation.
    fn verify_audit(&self) -> Result<AuditReport, StoreError>;

    // ---- itself

    /// A number that rises whenever members, assessments, exceptions, gates or the set in force were written, by this process or another.
    /// Cheap enough to ask 20 times a second.
    fn generation(&self) -> Result<u64, StoreError>;

    /// Writes and reads back a mark, so that a full or read-only store is noticed before something is lost.
    fn probe_writable(&self) -> Result<(), StoreError>;

    /// Checks its own soundness.
    fn check(&self) -> Result<CheckReport, StoreError>;
}
