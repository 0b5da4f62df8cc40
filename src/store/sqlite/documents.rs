//! Evidence, assessments, exceptions and gate changes in their tables.

use rusqlite::blob::ZeroBlob;
use rusqlite::{Connection, MAIN_DB, OptionalExtension, Row, Transaction, params};

use crate::policy::terms::{Grant, OdsCode};
use crate::store::error::StoreError;
use crate::store::packed::{DOCUMENT_MAX, Packed};
use crate::store::record::{AssessmentRecord, EvidenceRecord, ExceptionRecord, GateRecord};
use crate::store::sqlite::fault::{fault, from_json, instant, nanoseconds, to_json};

/// The document of a row that is small enough to be read. SQLite tells the length without reading the row.
fn bounded_document() -> String {
    format!("CASE WHEN length(document) <= {DOCUMENT_MAX} THEN document END")
}

/// Keeps evidence that follows the member's latest.
pub fn put_evidence(transaction: &Transaction<'_>, evidence: &EvidenceRecord) -> Result<(), StoreError> {
    let latest: Option<String> = transaction
        .query_row(
            "SELECT hash FROM evidence WHERE ods = ?1 ORDER BY seq DESC LIMIT 1",
            [evidence.member.as_str()],
            |row| row.get(0),
        )
        .optional()
        .map_err(fault)?;
    if latest != evidence.previous {
        return Err(StoreError::Conflict(format!("the evidence of {}", evidence.member)));
    }
    let bytes = evidence.document.bytes();
    transaction
        .execute(
            "INSERT INTO evidence (hash, ods, previous, collected_at, document) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                evidence.hash,
                evidence.member.as_str(),
                evidence.previous,
                nanoseconds(evidence.collected_at),
                ZeroBlob(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            ],
        )
        .map_err(fault)?;
    // bound as a value it would be held three times over while it is written
    let row = transaction.last_insert_rowid();
    let mut blob = transaction.blob_open(MAIN_DB, "evidence", "document", row, false).map_err(fault)?;
    blob.write_at(bytes, 0).map_err(fault)
}

/// Evidence as it lies in its row; it is opened when nobody waits for the connection any more.
pub struct EvidenceRow {
    ods: String,
    hash: String,
    previous: Option<String>,
    at: i64,
    document: Option<Vec<u8>>,
}

impl EvidenceRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(EvidenceRow {
            ods: row.get(0)?,
            hash: row.get(1)?,
            previous: row.get(2)?,
            at: row.get(3)?,
            document: row.get(4)?,
        })
    }

    /// The record, its document read through.
    pub fn open(self) -> Result<EvidenceRecord, StoreError> {
        let document = Packed::from_row(self.document, &format!("evidence {}", self.hash))?;
        let (member, collected_at) = (code(&self.ods)?, instant(self.at)?);
        Ok(EvidenceRecord { member, hash: self.hash, previous: self.previous, collected_at, document })
    }
}

fn select_evidence() -> String {
    format!("SELECT ods, hash, previous, collected_at, {} FROM evidence", bounded_document())
}

/// Evidence by its hash.
pub fn evidence(connection: &Connection, hash: &str) -> Result<Option<EvidenceRow>, StoreError> {
    connection
        .query_row(&format!("{} WHERE hash = ?1", select_evidence()), [hash], EvidenceRow::read)
        .optional()
        .map_err(fault)
}

/// The member's latest evidence.
pub fn latest_evidence(connection: &Connection, ods: &OdsCode) -> Result<Option<EvidenceRow>, StoreError> {
    let newest = format!("{} WHERE ods = ?1 ORDER BY seq DESC LIMIT 1", select_evidence());
    connection.query_row(&newest, [ods.as_str()], EvidenceRow::read).optional().map_err(fault)
}

/// Keeps an assessment, its document packed.
pub fn put_assessment(
    transaction: &Transaction<'_>,
    assessment: &AssessmentRecord,
    packed: &Packed,
) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO assessments (id, ods, assessed_at, policy_hash, evidence_hash, document)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO NOTHING",
            params![
                assessment.id,
                assessment.member.as_str(),
                nanoseconds(assessment.assessed_at),
                assessment.policy_hash,
                assessment.evidence_hash,
                packed.bytes()
            ],
        )
        .map_err(fault)?;
    Ok(())
}

/// An assessment as it lies in its row; it is opened when nobody waits for the connection any more.
pub struct AssessmentRow {
    id: String,
    ods: String,
    at: i64,
    policy_hash: String,
    evidence_hash: String,
    document: Option<Vec<u8>>,
}

impl AssessmentRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(AssessmentRow {
            id: row.get(0)?,
            ods: row.get(1)?,
            at: row.get(2)?,
            policy_hash: row.get(3)?,
            evidence_hash: row.get(4)?,
            document: row.get(5)?,
        })
    }

    /// The record, its document unpacked.
    pub fn open(self) -> Result<AssessmentRecord, StoreError> {
        let what = format!("assessment {}", self.id);
        let document = Packed::from_row(self.document, &what)?.unpack(&what)?;
        let (member, assessed_at) = (code(&self.ods)?, instant(self.at)?);
        let AssessmentRow { id, policy_hash, evidence_hash, .. } = self;
        Ok(AssessmentRecord { id, member, assessed_at, policy_hash, evidence_hash, document })
    }
}

fn select_assessment() -> String {
    format!(
        "SELECT id, ods, assessed_at, policy_hash, evidence_hash, {} FROM assessments",
        bounded_document()
    )
}

/// An assessment by its id.
pub fn assessment(connection: &Connection, id: &str) -> Result<Option<AssessmentRow>, StoreError> {
    connection
        .query_row(&format!("{} WHERE id = ?1", select_assessment()), [id], AssessmentRow::read)
        .optional()
        .map_err(fault)
}

/// The member's latest assessments, newest first.
pub fn recent_assessments(
    connection: &Connection,
    ods: &OdsCode,
    limit: u32,
) -> Result<Vec<AssessmentRow>, StoreError> {
    let mut statement = connection
        .prepare_cached(&format!("{} WHERE ods = ?1 ORDER BY seq DESC LIMIT ?2", select_assessment()))
        .map_err(fault)?;
    let rows = statement.query_map(params![ods.as_str(), limit], AssessmentRow::read).map_err(fault)?;
    rows.map(|row| row.map_err(fault)).collect()
}

/// Keeps an exception in place of the one that was read before; of two officers who change it at once, one is told.
pub fn put_exception(
    transaction: &Transaction<'_>,
    exception: &ExceptionRecord,
    before: Option<&ExceptionRecord>,
) -> Result<(), StoreError> {
    let kept: Option<String> = transaction
        .query_row("SELECT document FROM exceptions WHERE id = ?1", [&exception.id], |row| row.get(0))
        .optional()
        .map_err(fault)?;
    let kept: Option<ExceptionRecord> = kept.map(|kept| from_json(&kept)).transpose()?;
    if kept.as_ref() != before {
        return Err(StoreError::Conflict(format!("exception {}", exception.id)));
    }
    transaction
        .execute(
            "INSERT OR REPLACE INTO exceptions VALUES (?1, ?2, ?3)",
            params![exception.id, exception.member.as_str(), to_json(exception)?],
        )
        .map_err(fault)?;
    Ok(())
}

/// Exceptions of one member, or of all, by id.
pub fn exceptions(
    connection: &Connection,
    ods: Option<&OdsCode>,
) -> Result<Vec<ExceptionRecord>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT document FROM exceptions WHERE ?1 IS NULL OR ods = ?1 ORDER BY id")
        .map_err(fault)?;
    let rows =
        statement.query_map([ods.map(OdsCode::as_str)], |row| row.get::<_, String>(0)).map_err(fault)?;
    rows.map(|row| from_json(&row.map_err(fault)?)).collect()
}

/// Appends a gate's change.
pub fn record_gate(transaction: &Transaction<'_>, gate: &GateRecord) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO gates (ods, grant_name, document, assessment) VALUES (?1, ?2, ?3, ?4)",
            params![gate.member.as_str(), gate.grant.as_str(), to_json(gate)?, gate.assessment],
        )
        .map_err(fault)?;
    Ok(())
}

/// The newest change of every gate, by member and grant.
pub fn gates(connection: &Connection) -> Result<Vec<GateRecord>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT document FROM gates WHERE seq IN (SELECT max(seq) FROM gates GROUP BY ods, grant_name)
             ORDER BY ods, grant_name",
        )
        .map_err(fault)?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(fault)?;
    rows.map(|row| from_json(&row.map_err(fault)?)).collect()
}

/// A member's gate changes, newest first.
pub fn gate_history(
    connection: &Connection,
    ods: &OdsCode,
    grant: Option<Grant>,
    limit: u32,
) -> Result<Vec<GateRecord>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT document FROM gates WHERE ods = ?1 AND (?2 IS NULL OR grant_name = ?2)
             ORDER BY seq DESC LIMIT ?3",
        )
        .map_err(fault)?;
    let rows = statement
        .query_map(params![ods.as_str(), grant.map(Grant::as_str), limit], |row| row.get::<_, String>(0))
        .map_err(fault)?;
    rows.map(|row| from_json(&row.map_err(fault)?)).collect()
}

/// A member's note.
pub fn note(connection: &Connection, ods: &OdsCode, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    connection
        .query_row(
            "SELECT value FROM notes WHERE ods = ?1 AND name = ?2",
            params![ods.as_str(), name],
            |row| row.get(0),
        )
        .optional()
        .map_err(fault)
}

/// Keeps a member's note.
pub fn set_note(
    transaction: &Transaction<'_>,
    ods: &OdsCode,
    name: &str,
    value: &[u8],
) -> Result<(), StoreError> {
    transaction
        .execute("INSERT OR REPLACE INTO notes VALUES (?1, ?2, ?3)", params![ods.as_str(), name, value])
        .map_err(fault)?;
    Ok(())
}

/// The code that a column holds.
pub fn code(text: &str) -> Result<OdsCode, StoreError> {
    text.parse().map_err(|error: crate::policy::terms::NotAnOdsCode| StoreError::Damaged(error.to_string()))
}
