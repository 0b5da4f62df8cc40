//! [`Store`] on SQLite.

use std::fmt;
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use time::OffsetDateTime;

use crate::policy::terms::{Grant, OdsCode};
use crate::store::audit::{AuditRecord, AuditReport, NewAudit};
use crate::store::error::StoreError;
use crate::store::member::{Member, Transition};
use crate::store::organisation::Organisation;
use crate::store::packed::Packed;
use crate::store::port::{CheckReport, Everywhere, Store, Thinned};
use crate::store::record::{
    Approval, AssessmentRecord, EvidenceRecord, ExceptionRecord, GateRecord, JournalEntry, Lease,
    NewJournalEntry, PlanRecord, PolicyChange, StagedObject, StagedPage,
};
use crate::store::settings::{Retention, Settings};
use crate::store::sqlite::documents::{AssessmentRow, EvidenceRow};
use crate::store::sqlite::fault::{fault, unsigned};
use crate::store::sqlite::{audit, documents, leases, members, organisations, policies, schema, sync, thin};

/// How many staged objects are read at once while visiting all.
const VISIT_BATCH: u32 = 1_000;
/// What a probe writes: more than one page, so that a store at its limit is noticed.
const PROBE_BYTES: u32 = 16_384;

/// The store in the file `<data_dir>/portcullis.sqlite`.
pub struct SqliteStore {
    path: PathBuf,
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    watcher: Mutex<Watcher>,
    /// The setting, for what is said when it is reached; 0: no limit.
    max_size_mib: u32,
}

/// Sees the commits of every other connection, ours and other processes'.
struct Watcher {
    connection: Connection,
    /// `PRAGMA data_version` when the generation was last read, and the generation.
    seen: Option<(i64, u64)>,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The name of its file in the data folder.
const FILE: &str = "portcullis.sqlite";

impl SqliteStore {
    /// Whether there is a store in `data_dir`; nothing is made.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn is_there(data_dir: &Path) -> std::io::Result<bool> {
        data_dir.join(FILE).try_exists()
    }

    /// Opens the store in `data_dir`, making both if they are not there (readable by their owner only), and brings its schema
    /// forward.
    pub fn open(data_dir: &Path, settings: &Settings) -> Result<Self, StoreError> {
        let path = data_dir.join(FILE);
        let open =
            |reason: std::io::Error| StoreError::Open { path: path.clone(), reason: reason.to_string() };
        DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(open)?;
        let made = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        // closed before SQLite opens it: closing it later would end SQLite's locks on it
        let new = made.and_then(|file| file.metadata()).map_err(open)?.len() == 0;
        let mut writer = connect(&path, settings, new)?;
        schema::migrate(&mut writer)?;
        let reader = connect(&path, settings, false)?;
        let watcher = Watcher { connection: connect(&path, settings, false)?, seen: None };
        let (writer, reader, watcher) = (Mutex::new(writer), Mutex::new(reader), Mutex::new(watcher));
        Ok(SqliteStore { path, writer, reader, watcher, max_size_mib: settings.max_size_mib })
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        // a panic of another thread cannot have left a transaction open: it rolls back when dropped
        let connection = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        read(&connection)
    }

    fn write<T>(
        &self,
        write: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        transact(&mut connection, write).map_err(|error| self.full(&connection, error))
    }

    /// A store that is full by our own limit says so: the disk may have room enough.
    fn full(&self, connection: &Connection, error: StoreError) -> StoreError {
        if self.max_size_mib == 0 || !matches!(error, StoreError::Full(_)) {
            return error;
        }
        let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let (Ok(pages), Ok(size)) = (number("page_count"), number("page_size")) else { return error };
        StoreError::Full(format!(
            "it has {} KiB of the {} MiB that `store.max_size_mib` allows; raise that setting, or free space on its \
             disk if there is none",
            pages.saturating_mul(size) / 1024,
            self.max_size_mib
        ))
    }

    /// A write that gates may depend on, with its audit record.
    fn decide<T>(
        &self,
        record: &NewAudit,
        write: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.write(|transaction| {
            let value = write(transaction)?;
            audit::append(transaction, record)?;
            transaction
                .execute("UPDATE marks SET number = number + 1 WHERE name = 'generation'", [])
                .map_err(fault)?;
            Ok(value)
        })
    }
}

fn transact<T>(
    connection: &mut Connection,
    write: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
    let value = write(&transaction)?;
    transaction.commit().map_err(fault)?;
    Ok(value)
}

fn connect(path: &Path, settings: &Settings, new: bool) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)
        .map_err(|error| StoreError::Open { path: path.to_owned(), reason: error.to_string() })?;
    connection.busy_timeout(Duration::from_millis(u64::from(settings.busy_timeout_ms))).map_err(fault)?;
    if new {
        // lets the file become smaller again; it can be said only before anything is written
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(fault)?;
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(fault)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(fault)?;
    connection.pragma_update(None, "cache_size", -16_384).map_err(fault)?;
    connection.pragma_update(None, "trusted_schema", false).map_err(fault)?;
    if settings.max_size_mib > 0 {
        let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(fault)?;
        let pages = i64::from(settings.max_size_mib).saturating_mul(1 << 20) / page.max(512);
        connection.pragma_update(None, "max_page_count", pages).map_err(fault)?;
    }
    Ok(connection)
}

impl Store for SqliteStore {
    fn members(&self) -> Result<Vec<Member>, StoreError> {
        self.read(members::all)
    }

    fn member(&self, ods: &OdsCode) -> Result<Option<Member>, StoreError> {
        self.read(|connection| members::one(connection, ods))
    }

    fn save_member(
        &self,
        member: &Member,
        transition: Option<&Transition>,
        audit: &NewAudit,
    ) -> Result<Member, StoreError> {
        self.decide(audit, |transaction| members::save(transaction, member, transition))
    }

    fn transitions(&self, ods: &OdsCode) -> Result<Vec<Transition>, StoreError> {
        self.read(|connection| members::transitions(connection, ods))
    }

    fn organisations(&self) -> Result<Vec<Organisation>, StoreError> {
        self.read(organisations::all)
    }

    fn organisation(&self, ods: &OdsCode) -> Result<Option<Organisation>, StoreError> {
        self.read(|connection| organisations::one(connection, ods))
    }

    fn put_organisations(&self, all: &[Organisation], record: &NewAudit) -> Result<(), StoreError> {
        // no gate depends on them
        self.write(|transaction| {
            organisations::put(transaction, all)?;
            audit::append(transaction, record).map(|_| ())
        })
    }

    fn put_evidence(&self, evidence: &EvidenceRecord) -> Result<(), StoreError> {
        self.write(|transaction| documents::put_evidence(transaction, evidence))
    }

    fn evidence(&self, hash: &str) -> Result<Option<EvidenceRecord>, StoreError> {
        let row = self.read(|connection| documents::evidence(connection, hash))?;
        row.map(EvidenceRow::open).transpose()
    }

    fn latest_evidence(&self, ods: &OdsCode) -> Result<Option<EvidenceRecord>, StoreError> {
        let row = self.read(|connection| documents::latest_evidence(connection, ods))?;
        row.map(EvidenceRow::open).transpose()
    }

    fn put_assessment(&self, assessment: &AssessmentRecord, audit: &NewAudit) -> Result<(), StoreError> {
        let packed = Packed::of(&assessment.document)?;
        self.decide(audit, |transaction| documents::put_assessment(transaction, assessment, &packed))
    }

    fn assessment(&self, id: &str) -> Result<Option<AssessmentRecord>, StoreError> {
        let row = self.read(|connection| documents::assessment(connection, id))?;
        row.map(AssessmentRow::open).transpose()
    }

    fn recent_assessments(&self, ods: &OdsCode, limit: u32) -> Result<Vec<AssessmentRecord>, StoreError> {
        let rows = self.read(|connection| documents::recent_assessments(connection, ods, limit))?;
        rows.into_iter().map(AssessmentRow::open).collect()
    }

    fn put_exception(
        &self,
        exception: &ExceptionRecord,
        before: Option<&ExceptionRecord>,
        audit: &NewAudit,
    ) -> Result<(), StoreError> {
        self.decide(audit, |transaction| documents::put_exception(transaction, exception, before))
    }

    fn exceptions(&self, ods: Option<&OdsCode>) -> Result<Vec<ExceptionRecord>, StoreError> {
        self.read(|connection| documents::exceptions(connection, ods))
    }

    fn record_gate(&self, gate: &GateRecord, audit: &NewAudit) -> Result<(), StoreError> {
        self.decide(audit, |transaction| documents::record_gate(transaction, gate))
    }

    fn gates(&self) -> Result<Vec<GateRecord>, StoreError> {
        self.read(documents::gates)
    }

    fn gate_history(
        &self,
        ods: &OdsCode,
        grant: Option<Grant>,
        limit: u32,
    ) -> Result<Vec<GateRecord>, StoreError> {
        self.read(|connection| documents::gate_history(connection, ods, grant, limit))
    }

    fn note(&self, ods: &OdsCode, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|connection| documents::note(connection, ods, name))
    }

    fn set_note(&self, ods: &OdsCode, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.write(|transaction| documents::set_note(transaction, ods, name, value))
    }

    fn thin(
        &self,
        ods: &OdsCode,
        keep: &Retention,
        named: &[String],
        now: OffsetDateTime,
    ) -> Result<Thinned, StoreError> {
        self.write(|transaction| thin::thin(transaction, ods, keep, named, now))
    }

    fn change_policy(
        &self,
        after: u64,
        change: &PolicyChange,
        set: Option<&Packed>,
        audit: &NewAudit,
    ) -> Result<(), StoreError> {
        self.decide(audit, |transaction| policies::change(transaction, after, change, set))
    }

    fn policy_changes(&self) -> Result<Vec<PolicyChange>, StoreError> {
        self.read(policies::changes)
    }

    fn latest_policy_change(&self) -> Result<Option<PolicyChange>, StoreError> {
        self.read(policies::latest)
    }

    fn policy_set(&self, hash: &str) -> Result<Option<Packed>, StoreError> {
        let row = self.read(|connection| policies::set(connection, hash))?;
        row.map(|row| Packed::from_row(row, &format!("policy set {hash}"))).transpose()
    }

    fn staged(&self, ods: &OdsCode, guid: &[u8; 16]) -> Result<Option<StagedObject>, StoreError> {
        self.read(|connection| sync::staged(connection, ods, guid))
    }

    fn visit_staged(
        &self,
        ods: &OdsCode,
        visit: &mut dyn FnMut(StagedObject) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut after: Option<[u8; 16]> = None;
        loop {
            // in batches, so that the visitor may use the store itself
            let batch =
                self.read(|connection| sync::staged_after(connection, ods, after.as_ref(), VISIT_BATCH))?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some(last.guid);
            for object in batch {
                visit(object)?;
            }
        }
    }

    fn apply_page(
        &self,
        ods: &OdsCode,
        lease: &Lease,
        now: OffsetDateTime,
        page: &StagedPage,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            leases::require(transaction, lease, now)?;
            sync::apply_page(transaction, ods, page)
        })
    }

    fn sync_value(&self, ods: &OdsCode, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|connection| sync::value(connection, ods, key))
    }

    fn sync_values(&self, ods: &OdsCode, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.read(|connection| sync::values(connection, ods, prefix))
    }

    fn change_sync(
        &self,
        ods: Option<&OdsCode>,
        values: &[(String, Option<Vec<u8>>)],
        audit: &NewAudit,
    ) -> Result<(), StoreError> {
        self.decide(audit, |transaction| sync::set_values(transaction, ods.map(OdsCode::as_str), values))
    }

    fn sync_everywhere(&self, key: &str) -> Result<Everywhere, StoreError> {
        self.read(|connection| sync::everywhere(connection, key))
    }

    fn put_plan(&self, plan: &PlanRecord) -> Result<(), StoreError> {
        self.write(|transaction| sync::put_plan(transaction, plan))
    }

    fn set_plan_state(&self, hash: &str, state: &str) -> Result<(), StoreError> {
        self.write(|transaction| sync::set_plan_state(transaction, hash, state))
    }

    fn move_plans(&self, ods: &OdsCode, from: &str, to: &str, but: Option<&str>) -> Result<(), StoreError> {
        self.write(|transaction| sync::move_plans(transaction, ods, from, to, but))
    }

    fn plan(&self, hash: &str) -> Result<Option<PlanRecord>, StoreError> {
        self.read(|connection| sync::plan(connection, hash))
    }

    fn plans(&self, ods: &OdsCode, limit: u32) -> Result<Vec<PlanRecord>, StoreError> {
        self.read(|connection| sync::plans(connection, ods, limit))
    }

    fn put_approval(&self, approval: &Approval, audit: &NewAudit) -> Result<(), StoreError> {
        self.decide(audit, |transaction| sync::put_approval(transaction, approval))
    }

    fn approvals(&self, plan: &str) -> Result<Vec<Approval>, StoreError> {
        self.read(|connection| sync::approvals(connection, plan))
    }

    fn append_journal(
        &self,
        ods: &OdsCode,
        lease: &Lease,
        now: OffsetDateTime,
        entries: &[NewJournalEntry],
    ) -> Result<u64, StoreError> {
        self.write(|transaction| {
            leases::require(transaction, lease, now)?;
            sync::append_journal(transaction, ods, entries)
        })
    }

    fn journal(&self, ods: &OdsCode, after: u64, limit: u32) -> Result<Vec<JournalEntry>, StoreError> {
        self.read(|connection| sync::journal(connection, ods, after, limit))
    }

    fn journal_of(&self, ods: &OdsCode, plan: &str) -> Result<Vec<JournalEntry>, StoreError> {
        self.read(|connection| sync::journal_of_plan(connection, ods, plan))
    }

    fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        now: OffsetDateTime,
        lasts: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        self.write(|transaction| leases::acquire(transaction, name, holder, now, lasts))
    }

    fn renew_lease(&self, lease: &Lease, now: OffsetDateTime, lasts: Duration) -> Result<Lease, StoreError> {
        self.write(|transaction| leases::renew(transaction, lease, now, lasts))
    }

    fn release_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        self.write(|transaction| leases::release(transaction, lease))
    }

    fn append_audit(&self, records: &[NewAudit]) -> Result<u64, StoreError> {
        self.write(|transaction| {
            let mut last = 0;
            for record in records {
                last = audit::append(transaction, record)?;
            }
            Ok(last)
        })
    }

    fn audit(&self, after: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.read(|connection| audit::read(connection, after, limit))
    }

    fn audit_end(&self) -> Result<(u64, String), StoreError> {
        self.read(audit::end)
    }

    fn verify_audit(&self) -> Result<AuditReport, StoreError> {
        let mut connection = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        audit::verify(&mut connection)
    }

    fn generation(&self) -> Result<u64, StoreError> {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let version: i64 =
            watcher.connection.pragma_query_value(None, "data_version", |row| row.get(0)).map_err(fault)?;
        match watcher.seen {
            Some((seen, generation)) if seen == version => Ok(generation),
            _ => {
                let generation = watcher
                    .connection
                    .query_row("SELECT number FROM marks WHERE name = 'generation'", [], |row| row.get(0))
                    .map_err(fault)?;
                let generation = unsigned(generation)?;
                watcher.seen = Some((version, generation));
                Ok(generation)
            }
        }
    }

    fn probe_writable(&self) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.execute("INSERT INTO probe VALUES (zeroblob(?1))", [PROBE_BYTES]).map_err(fault)
        })?;
        self.write(|transaction| transaction.execute("DELETE FROM probe", []).map_err(fault))?;
        Ok(())
    }

    fn check(&self) -> Result<CheckReport, StoreError> {
        let audit = self.verify_audit()?;
        self.read(|connection| {
            let mut statement = connection.prepare("PRAGMA integrity_check").map_err(fault)?;
            let lines: Vec<String> = statement
                .query_map([], |row| row.get(0))
                .map_err(fault)?
                .collect::<Result<_, _>>()
                .map_err(fault)?;
            let faults = lines.into_iter().filter(|line| line != "ok").collect();
            let mut rows = Vec::new();
            for table in schema::TABLES {
                let count = connection
                    .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
                    .map_err(fault)?;
                rows.push(((*table).to_owned(), unsigned(count)?));
            }
            Ok(CheckReport { schema: schema::version(connection)?, faults, rows, audit })
        })
    }
}
