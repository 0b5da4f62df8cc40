//! Policy sets and the changes of which one is in force.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::store::error::StoreError;
use crate::store::packed::{DOCUMENT_MAX, Packed};
use crate::store::record::PolicyChange;
use crate::store::sqlite::fault::{fault, from_json, to_json, unsigned};

/// Appends a change after exactly `after` others, with the set that it names.
pub fn change(
    transaction: &Transaction<'_>,
    after: u64,
    change: &PolicyChange,
    set: Option<&Packed>,
) -> Result<(), StoreError> {
    let count = transaction.query_row("SELECT count(*) FROM policy_changes", [], |row| row.get(0));
    if unsigned(count.map_err(fault)?)? != after {
        return Err(StoreError::Conflict("the policy set in force".to_owned()));
    }
    if let (Some(hash), Some(set)) = (&change.hash, set) {
        transaction
            .execute("INSERT OR REPLACE INTO policy_sets VALUES (?1, ?2)", params![hash, set.bytes()])
            .map_err(fault)?;
    }
    if let Some(hash) = &change.hash {
        let kept = transaction
            .query_row("SELECT 1 FROM policy_sets WHERE hash = ?1", [hash], |_| Ok(()))
            .optional()
            .map_err(fault)?;
        kept.ok_or_else(|| StoreError::Conflict(format!("the policy set {hash}")))?;
    }
    transaction
        .execute(
            "INSERT INTO policy_changes (hash, document) VALUES (?1, ?2)",
            params![change.hash, to_json(change)?],
        )
        .map_err(fault)?;
    Ok(())
}

/// Every change, oldest first.
pub fn changes(connection: &Connection) -> Result<Vec<PolicyChange>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT document FROM policy_changes ORDER BY seq").map_err(fault)?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(fault)?;
    rows.map(|row| from_json(&row.map_err(fault)?)).collect()
}

/// The newest change.
pub fn latest(connection: &Connection) -> Result<Option<PolicyChange>, StoreError> {
    let newest = "SELECT document FROM policy_changes ORDER BY seq DESC LIMIT 1";
    let row = connection.query_row(newest, [], |row| row.get::<_, String>(0)).optional().map_err(fault)?;
    row.map(|document| from_json(&document)).transpose()
}

/// The bundle of a set as it lies in its row: none of it when it is too large to be one.
pub fn set(connection: &Connection, hash: &str) -> Result<Option<Option<Vec<u8>>>, StoreError> {
    // SQLite tells the length without reading the row
    let bounded = format!(
        "SELECT CASE WHEN length(document) <= {DOCUMENT_MAX} THEN document END FROM policy_sets WHERE hash = ?1"
    );
    connection.query_row(&bounded, [hash], |row| row.get(0)).optional().map_err(fault)
}
