//! Members and their transitions in their tables.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::member::{Member, Transition};
use crate::store::sqlite::fault::{fault, from_json, signed, to_json, unsigned};

/// Every member, by code.
pub fn all(connection: &Connection) -> Result<Vec<Member>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT document FROM members ORDER BY ods").map_err(fault)?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(fault)?;
    rows.map(|row| from_json(&row.map_err(fault)?)).collect()
}

/// One member.
pub fn one(connection: &Connection, ods: &OdsCode) -> Result<Option<Member>, StoreError> {
    connection
        .prepare_cached("SELECT document FROM members WHERE ods = ?1")
        .and_then(|mut statement| {
            statement.query_row([ods.as_str()], |row| row.get::<_, String>(0)).optional()
        })
        .map_err(fault)?
        .map(|text| from_json(&text))
        .transpose()
}

/// Saves a member under the next revision.
pub fn save(
    transaction: &Transaction<'_>,
    member: &Member,
    step: Option<&Transition>,
) -> Result<Member, StoreError> {
    let kept: Option<i64> = transaction
        .query_row("SELECT revision FROM members WHERE ods = ?1", [member.ods.as_str()], |row| row.get(0))
        .optional()
        .map_err(fault)?;
    if unsigned(kept.unwrap_or(0))? != member.revision {
        return Err(StoreError::Conflict(format!("member {}", member.ods)));
    }
    let saved = Member { revision: member.revision.saturating_add(1), ..member.clone() };
    transaction
        .execute(
            "INSERT OR REPLACE INTO members VALUES (?1, ?2, ?3, ?4)",
            params![saved.ods.as_str(), saved.state.as_str(), signed(saved.revision)?, to_json(&saved)?],
        )
        .map_err(fault)?;
    if let Some(step) = step {
        transaction
            .execute(
                "INSERT INTO transitions (ods, document) VALUES (?1, ?2)",
                params![step.member.as_str(), to_json(step)?],
            )
            .map_err(fault)?;
    }
    Ok(saved)
}

/// A member's transitions, oldest first.
pub fn transitions(connection: &Connection, ods: &OdsCode) -> Result<Vec<Transition>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT document FROM transitions WHERE ods = ?1 ORDER BY seq")
        .map_err(fault)?;
    let rows = statement.query_map([ods.as_str()], |row| row.get::<_, String>(0)).map_err(fault)?;
    rows.map(|row| from_json(&row.map_err(fault)?)).collect()
}
