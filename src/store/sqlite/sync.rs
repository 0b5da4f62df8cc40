//! Staged objects, key-values, plans, approvals and the journal in their tables.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::port::Everywhere;
use crate::store::record::{Approval, JournalEntry, NewJournalEntry, PlanRecord, StagedObject, StagedPage};
use crate::store::sqlite::documents::code;
use crate::store::sqlite::fault::{fault, from_json, instant, nanoseconds, signed, to_json, unsigned};

type StagedRow = (Vec<u8>, Option<Vec<u8>>, i64, Vec<u8>);

fn staged_row(row: &Row<'_>) -> rusqlite::Result<StagedRow> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn staged_of((guid, parent, pass, document): StagedRow) -> Result<StagedObject, StoreError> {
    let guid_of = |bytes: Vec<u8>| {
        <[u8; 16]>::try_from(bytes).map_err(|_| StoreError::Damaged("a GUID that is not 16 bytes".to_owned()))
    };
    Ok(StagedObject {
        guid: guid_of(guid)?,
        parent: parent.map(guid_of).transpose()?,
        pass: unsigned(pass)?,
        document,
    })
}

/// One staged object.
pub fn staged(
    connection: &Connection,
    ods: &OdsCode,
    guid: &[u8; 16],
) -> Result<Option<StagedObject>, StoreError> {
    connection
        .prepare_cached("SELECT guid, parent, pass, document FROM staged WHERE ods = ?1 AND guid = ?2")
        .and_then(|mut statement| {
            statement.query_row(params![ods.as_str(), guid.as_slice()], staged_row).optional()
        })
        .map_err(fault)?
        .map(staged_of)
        .transpose()
}

/// Up to `limit` staged objects after `after` (from the first when it is none), by GUID.
pub fn staged_after(
    connection: &Connection,
    ods: &OdsCode,
    after: Option<&[u8; 16]>,
    limit: u32,
) -> Result<Vec<StagedObject>, StoreError> {
    // an empty blob sorts before every GUID
    let after: &[u8] = after.map_or(&[], |guid| guid.as_slice());
    let mut statement = connection
        .prepare_cached(
            "SELECT guid, parent, pass, document FROM staged WHERE ods = ?1 AND guid > ?2 ORDER BY guid LIMIT ?3",
        )
        .map_err(fault)?;
    let rows = statement.query_map(params![ods.as_str(), after, limit], staged_row).map_err(fault)?;
    rows.map(|row| staged_of(row.map_err(fault)?)).collect()
}

/// Applies a page's effects.
pub fn apply_page(transaction: &Transaction<'_>, ods: &OdsCode, page: &StagedPage) -> Result<(), StoreError> {
    // in key order, because random keys cost most of the time otherwise
    let mut put: Vec<&StagedObject> = page.put.iter().collect();
    put.sort_by_key(|object| object.guid);
    let mut statement = transaction
        .prepare_cached("INSERT OR REPLACE INTO staged VALUES (?1, ?2, ?3, ?4, ?5)")
        .map_err(fault)?;
    for object in put {
        let parent = object.parent.as_ref().map(|guid| guid.as_slice());
        statement
            .execute(params![
                ods.as_str(),
                object.guid.as_slice(),
                parent,
                signed(object.pass)?,
                object.document
            ])
            .map_err(fault)?;
    }
    let mut statement =
        transaction.prepare_cached("DELETE FROM staged WHERE ods = ?1 AND guid = ?2").map_err(fault)?;
    for guid in &page.forget {
        statement.execute(params![ods.as_str(), guid.as_slice()]).map_err(fault)?;
    }
    set_values(transaction, Some(ods.as_str()), &page.values)
}

/// The code under which values are kept that hold for every member: no organisation has it.
const EVERYBODY: &str = "";

/// Sets or removes key-values of one member, or of what holds for every member.
pub fn set_values(
    transaction: &Transaction<'_>,
    ods: Option<&str>,
    values: &[(String, Option<Vec<u8>>)],
) -> Result<(), StoreError> {
    let ods = ods.unwrap_or(EVERYBODY);
    for (key, value) in values {
        match value {
            Some(value) => transaction
                .execute("INSERT OR REPLACE INTO sync_values VALUES (?1, ?2, ?3)", params![ods, key, value]),
            None => {
                transaction.execute("DELETE FROM sync_values WHERE ods = ?1 AND key = ?2", params![ods, key])
            }
        }
        .map_err(fault)?;
    }
    Ok(())
}

/// What is kept under one key, by code; what holds for every member first, without a code.
pub fn everywhere(connection: &Connection, key: &str) -> Result<Everywhere, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT ods, value FROM sync_values WHERE key = ?1 ORDER BY ods")
        .map_err(fault)?;
    let rows =
        statement.query_map([key], |row| Ok((row.get::<_, String>(0)?, row.get(1)?))).map_err(fault)?;
    rows.map(|row| {
        let (ods, value) = row.map_err(fault)?;
        Ok((if ods == EVERYBODY { None } else { Some(code(&ods)?) }, value))
    })
    .collect()
}

/// One key-value.
pub fn value(connection: &Connection, ods: &OdsCode, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    connection
        .query_row(
            "SELECT value FROM sync_values WHERE ods = ?1 AND key = ?2",
            params![ods.as_str(), key],
            |row| row.get(0),
        )
        .optional()
        .map_err(fault)
}

/// Key-values whose key starts with `prefix`, by key.
pub fn values(
    connection: &Connection,
    ods: &OdsCode,
    prefix: &str,
) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT key, value FROM sync_values WHERE ods = ?1 AND substr(key, 1, length(?2)) = ?2 ORDER BY key",
        )
        .map_err(fault)?;
    let rows = statement
        .query_map(params![ods.as_str(), prefix], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(fault)?;
    rows.map(|row| row.map_err(fault)).collect()
}

/// Keeps a plan or changes its state.
pub fn put_plan(transaction: &Transaction<'_>, plan: &PlanRecord) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO plans (hash, ods, made_at, state, document) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (hash) DO UPDATE SET state = excluded.state",
            params![plan.hash, plan.member.as_str(), nanoseconds(plan.made_at), plan.state, plan.document],
        )
        .map_err(fault)?;
    Ok(())
}

/// Changes the state of one plan.
pub fn set_plan_state(transaction: &Transaction<'_>, hash: &str, state: &str) -> Result<(), StoreError> {
    transaction
        .execute("UPDATE plans SET state = ?2 WHERE hash = ?1", params![hash, state])
        .map(|_| ())
        .map_err(fault)
}

/// Changes the state of all plans of a member that are in another one.
pub fn move_plans(
    transaction: &Transaction<'_>,
    ods: &OdsCode,
    from: &str,
    to: &str,
    but: Option<&str>,
) -> Result<(), StoreError> {
    transaction
        .execute(
            "UPDATE plans SET state = ?3 WHERE ods = ?1 AND state = ?2 AND hash IS NOT ?4",
            params![ods.as_str(), from, to, but],
        )
        .map(|_| ())
        .map_err(fault)
}

type PlanRow = (String, String, i64, String, Vec<u8>);

fn plan_row(row: &Row<'_>) -> rusqlite::Result<PlanRow> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

fn plan_of((hash, ods, made_at, state, document): PlanRow) -> Result<PlanRecord, StoreError> {
    Ok(PlanRecord { hash, member: code(&ods)?, made_at: instant(made_at)?, state, document })
}

/// A plan by its hash.
pub fn plan(connection: &Connection, hash: &str) -> Result<Option<PlanRecord>, StoreError> {
    connection
        .query_row("SELECT hash, ods, made_at, state, document FROM plans WHERE hash = ?1", [hash], plan_row)
        .optional()
        .map_err(fault)?
        .map(plan_of)
        .transpose()
}

/// A member's plans, newest first.
pub fn plans(connection: &Connection, ods: &OdsCode, limit: u32) -> Result<Vec<PlanRecord>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT hash, ods, made_at, state, document FROM plans WHERE ods = ?1 ORDER BY seq DESC LIMIT ?2",
        )
        .map_err(fault)?;
    let rows = statement.query_map(params![ods.as_str(), limit], plan_row).map_err(fault)?;
    rows.map(|row| plan_of(row.map_err(fault)?)).collect()
}

/// Keeps an approval.
pub fn put_approval(transaction: &Transaction<'_>, approval: &Approval) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO approvals (plan, document) VALUES (?1, ?2)",
            params![approval.plan, to_json(approval)?],
        )
        .map_err(fault)?;
    Ok(())
}

/// The approvals of a plan, oldest first.
pub fn approvals(connection: &Connection, plan: &str) -> Result<Vec<Approval>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT document FROM approvals WHERE plan = ?1 ORDER BY seq")
        .map_err(fault)?;
    let rows = statement.query_map([plan], |row| row.get::<_, String>(0)).map_err(fault)?;
    rows.map(|row| from_json(&row.map_err(fault)?)).collect()
}

/// Appends to the journal; returns the last number given, 0 when nothing was appended.
pub fn append_journal(
    transaction: &Transaction<'_>,
    ods: &OdsCode,
    entries: &[NewJournalEntry],
) -> Result<u64, StoreError> {
    let mut statement = transaction
        .prepare_cached(
            "INSERT INTO journal (ods, plan, step, phase, at, document) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .map_err(fault)?;
    let mut last = 0;
    for entry in entries {
        last = statement
            .insert(params![
                ods.as_str(),
                entry.plan,
                signed(entry.step)?,
                entry.phase,
                nanoseconds(entry.at),
                entry.document
            ])
            .map_err(fault)?;
    }
    unsigned(last)
}

type JournalRow = (i64, String, i64, String, i64, Vec<u8>);

fn journal_row(row: &Row<'_>) -> rusqlite::Result<JournalRow> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
}

fn journal_of((seq, plan, step, phase, at, document): JournalRow) -> Result<JournalEntry, StoreError> {
    let (step, at) = (unsigned(step)?, instant(at)?);
    Ok(JournalEntry { seq: unsigned(seq)?, entry: NewJournalEntry { plan, step, phase, at, document } })
}

/// A member's journal after `after`, oldest first.
pub fn journal(
    connection: &Connection,
    ods: &OdsCode,
    after: u64,
    limit: u32,
) -> Result<Vec<JournalEntry>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT seq, plan, step, phase, at, document FROM journal WHERE ods = ?1 AND seq > ?2
             ORDER BY seq LIMIT ?3",
        )
        .map_err(fault)?;
    let rows =
        statement.query_map(params![ods.as_str(), signed(after)?, limit], journal_row).map_err(fault)?;
    rows.map(|row| journal_of(row.map_err(fault)?)).collect()
}

/// The lines of one plan in a member's journal, oldest first.
pub fn journal_of_plan(
    connection: &Connection,
    ods: &OdsCode,
    plan: &str,
) -> Result<Vec<JournalEntry>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT seq, plan, step, phase, at, document FROM journal WHERE ods = ?1 AND plan = ?2 ORDER BY seq",
        )
        .map_err(fault)?;
    let rows = statement.query_map(params![ods.as_str(), plan], journal_row).map_err(fault)?;
    rows.map(|row| journal_of(row.map_err(fault)?)).collect()
}
