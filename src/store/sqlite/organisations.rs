//! Organisations of the programme in their table.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::organisation::Organisation;
use crate::store::sqlite::fault::{fault, from_json, to_json};

/// Every organisation, by code.
pub fn all(connection: &Connection) -> Result<Vec<Organisation>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT document FROM organisations ORDER BY ods").map_err(fault)?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(fault)?;
    rows.map(|row| from_json(&row.map_err(fault)?)).collect()
}

/// One organisation.
pub fn one(connection: &Connection, ods: &OdsCode) -> Result<Option<Organisation>, StoreError> {
    connection
        .prepare_cached("SELECT document FROM organisations WHERE ods = ?1")
        .and_then(|mut statement| {
            statement.query_row([ods.as_str()], |row| row.get::<_, String>(0)).optional()
        })
        .map_err(fault)?
        .map(|text| from_json(&text))
        .transpose()
}

/// Inserts or replaces.
pub fn put(transaction: &Transaction<'_>, organisations: &[Organisation]) -> Result<(), StoreError> {
    let mut statement =
        transaction.prepare_cached("INSERT OR REPLACE INTO organisations VALUES (?1, ?2)").map_err(fault)?;
    for one in organisations {
        statement.execute(params![one.ods.as_str(), to_json(one)?]).map_err(fault)?;
    }
    Ok(())
}
