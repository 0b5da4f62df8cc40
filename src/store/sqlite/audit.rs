//! The audit chain in its table.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::store::audit::{AuditFault, AuditRecord, AuditReport, BEFORE_FIRST, NewAudit, record_hash};
use crate::store::error::StoreError;
use crate::store::sqlite::fault::{fault, rfc3339, signed, to_json, unsigned};

/// Appends one record; returns its number.
pub fn append(transaction: &Transaction<'_>, new: &NewAudit) -> Result<u64, StoreError> {
    let (last, previous): (i64, String) = head(transaction)?;
    let seq = unsigned(last)?.saturating_add(1);
    let at = rfc3339(new.at)?;
    let detail = to_json(&new.detail)?;
    let hash = record_hash(&previous, seq, new, &at, &detail);
    transaction
        .prepare_cached("INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")
        .and_then(|mut statement| {
            statement.execute(params![
                signed(seq).unwrap_or(i64::MAX),
                at,
                new.actor,
                new.action,
                new.member.as_ref().map(|ods| ods.as_str()),
                detail,
                previous,
                hash
            ])
        })
        .map_err(fault)?;
    transaction
        .prepare_cached("UPDATE marks SET number = ?1, text = ?2 WHERE name = 'audit'")
        .and_then(|mut statement| statement.execute(params![signed(seq).unwrap_or(i64::MAX), hash]))
        .map_err(fault)?;
    Ok(seq)
}

/// The last number and hash that were written.
fn head(connection: &Connection) -> Result<(i64, String), StoreError> {
    connection
        .prepare_cached("SELECT number, text FROM marks WHERE name = 'audit'")
        .and_then(|mut statement| statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .map_err(fault)?
        .ok_or_else(|| StoreError::Damaged("the mark of the audit chain's end is missing".to_owned()))
}

/// The number and hash of the last record.
pub fn end(connection: &Connection) -> Result<(u64, String), StoreError> {
    let (number, hash) = head(connection)?;
    Ok((unsigned(number)?, hash))
}

/// A row as it lies in the table, before it is believed.
struct Row {
    seq: u64,
    at: String,
    actor: String,
    action: String,
    member: Option<String>,
    detail: String,
    previous: String,
    hash: String,
}

impl Row {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Row {
            seq: u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0),
            at: row.get(1)?,
            actor: row.get(2)?,
            action: row.get(3)?,
            member: row.get(4)?,
            detail: row.get(5)?,
            previous: row.get(6)?,
            hash: row.get(7)?,
        })
    }

    fn audit(&self) -> Result<NewAudit, String> {
        Ok(NewAudit {
            at: OffsetDateTime::parse(&self.at, &Rfc3339).map_err(|error| error.to_string())?,
            actor: self.actor.clone(),
            action: self.action.clone(),
            member: self
                .member
                .as_deref()
                .map(|code| code.parse())
                .transpose()
                .map_err(|error: crate::policy::terms::NotAnOdsCode| error.to_string())?,
            detail: serde_json::from_str(&self.detail).map_err(|error| error.to_string())?,
        })
    }
}

const SELECT: &str = "SELECT seq, at, actor, action, member, detail, previous, hash FROM audit";

/// Records after `after`, oldest first.
pub fn read(connection: &Connection, after: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
    let mut statement = connection
        .prepare_cached(&format!("{SELECT} WHERE seq > ?1 ORDER BY seq LIMIT ?2"))
        .map_err(fault)?;
    let rows = statement.query_map(params![signed(after)?, limit], Row::read).map_err(fault)?;
    rows.map(|row| {
        let row = row.map_err(fault)?;
        let audit = row.audit().map_err(|reason| {
            StoreError::Damaged(format!("audit record {} cannot be read: {reason}", row.seq))
        })?;
        Ok(AuditRecord { seq: row.seq, audit, previous: row.previous, hash: row.hash })
    })
    .collect()
}

/// Reads the whole chain, in one snapshot of the file.
pub fn verify(connection: &mut Connection) -> Result<AuditReport, StoreError> {
    let transaction = connection.transaction().map_err(fault)?;
    let (expected, head_hash) = head(&transaction)?;
    let expected = unsigned(expected)?;
    let mut report = AuditReport { records: 0, head: BEFORE_FIRST.to_owned(), faults: Vec::new() };
    let mut last = 0;
    {
        let mut statement = transaction.prepare(&format!("{SELECT} ORDER BY seq")).map_err(fault)?;
        let rows = statement.query_map([], Row::read).map_err(fault)?;
        for row in rows {
            let row = row.map_err(fault)?;
            follow(&mut report, last, &row);
            last = row.seq;
        }
    }
    if last < expected {
        report.faults.push(AuditFault::Truncated { found: last, expected });
    } else if last > expected || report.head != head_hash {
        report.faults.push(AuditFault::Unchained { seq: last });
    }
    Ok(report)
}

/// Holds one row against what came before it.
fn follow(report: &mut AuditReport, last: u64, row: &Row) {
    report.records = report.records.saturating_add(1);
    let next = last.saturating_add(1);
    if row.seq > next {
        report.faults.push(AuditFault::Gap { from: next, to: row.seq.saturating_sub(1) });
    } else if row.previous != report.head {
        report.faults.push(AuditFault::Unchained { seq: row.seq });
    }
    match row.audit() {
        Ok(audit) => {
            if record_hash(&row.previous, row.seq, &audit, &row.at, &row.detail) != row.hash {
                report.faults.push(AuditFault::Changed { seq: row.seq });
            }
        }
        Err(reason) => report.faults.push(AuditFault::Unreadable { seq: row.seq, reason }),
    }
    report.head.clone_from(&row.hash);
}
