//! Evidence, assessments, exceptions and gate changes in their tables.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::policy::terms::{Grant, OdsCode};
use crate::store::error::StoreError;
use crate::store::record::{AssessmentRecord, EvidenceRecord, ExceptionRecord, GateRecord};
use crate::store::sqlite::fault::{fault, from_json, instant, nanoseconds, to_json};

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
    transaction
        .execute(
            "INSERT INTO evidence (hash, ods, previous, collected_at, document) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                evidence.hash,
                evidence.member.as_str(),
                evidence.previous,
                nanoseconds(evidence.collected_at),
                evidence.document
            ],
        )
        .map_err(fault)?;
    Ok(())
}

type EvidenceRow = (String, String, Option<String>, i64, Vec<u8>);

fn evidence_of((ods, hash, previous, at, document): EvidenceRow) -> Result<EvidenceRecord, StoreError> {
    Ok(EvidenceRecord { member: code(&ods)?, hash, previous, collected_at: instant(at)?, document })
}

fn evidence_row(row: &Row<'_>) -> rusqlite::Result<EvidenceRow> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

/// Evidence by its hash.
pub fn evidence(connection: &Connection, hash: &str) -> Result<Option<EvidenceRecord>, StoreError> {
    connection
        .query_row(
            "SELECT ods, hash, previous, collected_at, document FROM evidence WHERE hash = ?1",
            [hash],
            evidence_row,
        )
        .optional()
        .map_err(fault)?
        .map(evidence_of)
        .transpose()
}

/// The member's latest evidence.
pub fn latest_evidence(connection: &Connection, ods: &OdsCode) -> Result<Option<EvidenceRecord>, StoreError> {
    connection
        .query_row(
            "SELECT ods, hash, previous, collected_at, document FROM evidence WHERE ods = ?1 ORDER BY seq DESC LIMIT 1",
            [ods.as_str()],
            evidence_row,
        )
        .optional()
        .map_err(fault)?
        .map(evidence_of)
        .transpose()
}

/// Keeps an assessment.
pub fn put_assessment(
    transaction: &Transaction<'_>,
    assessment: &AssessmentRecord,
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
                assessment.document
            ],
        )
        .map_err(fault)?;
    Ok(())
}

type AssessmentRow = (String, String, i64, String, String, Vec<u8>);

fn assessment_row(row: &Row<'_>) -> rusqlite::Result<AssessmentRow> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
}

fn assessment_of(row: AssessmentRow) -> Result<AssessmentRecord, StoreError> {
    let (id, ods, at, policy_hash, evidence_hash, document) = row;
    let (member, assessed_at) = (code(&ods)?, instant(at)?);
    Ok(AssessmentRecord { id, member, assessed_at, policy_hash, evidence_hash, document })
}

const SELECT_ASSESSMENT: &str =
    "SELECT id, ods, assessed_at, policy_hash, evidence_hash, document FROM assessments";

/// An assessment by its id.
pub fn assessment(connection: &Connection, id: &str) -> Result<Option<AssessmentRecord>, StoreError> {
    connection
        .query_row(&format!("{SELECT_ASSESSMENT} WHERE id = ?1"), [id], assessment_row)
        .optional()
        .map_err(fault)?
        .map(assessment_of)
        .transpose()
}

/// The member's latest assessments, newest first.
pub fn recent_assessments(
    connection: &Connection,
    ods: &OdsCode,
    limit: u32,
) -> Result<Vec<AssessmentRecord>, StoreError> {
    let mut statement = connection
        .prepare_cached(&format!("{SELECT_ASSESSMENT} WHERE ods = ?1 ORDER BY seq DESC LIMIT ?2"))
        .map_err(fault)?;
    let rows = statement.query_map(params![ods.as_str(), limit], assessment_row).map_err(fault)?;
    rows.map(|row| assessment_of(row.map_err(fault)?)).collect()
}

/// Keeps an exception, new or changed.
pub fn put_exception(transaction: &Transaction<'_>, exception: &ExceptionRecord) -> Result<(), StoreError> {
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
            "INSERT INTO gates (ods, grant_name, document) VALUES (?1, ?2, ?3)",
            params![gate.member.as_str(), gate.grant.as_str(), to_json(gate)?],
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
