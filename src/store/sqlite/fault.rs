//! SQLite's errors as the store's, and the small conversions that every table needs.

use rusqlite::ErrorCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::store::error::StoreError;

/// What a database error means.
pub fn fault(error: rusqlite::Error) -> StoreError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full(format!("{text}; free space on its disk")),
        Some(
            ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::SystemIoFailure
            | ErrorCode::AuthorizationForStatementDenied,
        ) => StoreError::ReadOnly(text),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy(text),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged(text),
        _ => StoreError::Other(text),
    }
}

/// A value as JSON text.
pub fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Value(error.to_string()))
}

/// A value from JSON text.
pub fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Value(error.to_string()))
}

/// An instant as nanoseconds since 1970, clamped to 64 bits.
pub fn nanoseconds(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos()).unwrap_or(i64::MAX)
}

/// An instant from nanoseconds since 1970.
pub fn instant(nanoseconds: i64) -> Result<OffsetDateTime, StoreError> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanoseconds))
        .map_err(|error| StoreError::Value(error.to_string()))
}

/// An instant as RFC 3339 text.
pub fn rfc3339(at: OffsetDateTime) -> Result<String, StoreError> {
    at.format(&Rfc3339).map_err(|error| StoreError::Value(error.to_string()))
}

/// A count or number that a column holds as a signed integer.
pub fn signed(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Value(format!("{value} is too large")))
}

/// The number that a column holds; a negative one is damage.
pub fn unsigned(value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Damaged(format!("{value} where a count should be")))
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn meaning(code: i32) -> StoreError {
        fault(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
    }

    #[test]
    fn what_cannot_be_recorded_closes_gates_and_what_passes_does_not() {
        assert!(matches!(meaning(ffi::SQLITE_FULL), StoreError::Full(_)));
        for code in [ffi::SQLITE_READONLY, ffi::SQLITE_IOERR, ffi::SQLITE_CANTOPEN, ffi::SQLITE_PERM] {
            assert!(matches!(meaning(code), StoreError::ReadOnly(_)), "{code}");
        }
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB] {
            assert!(matches!(meaning(code), StoreError::Damaged(_)), "{code}");
        }
        assert!(meaning(ffi::SQLITE_FULL).closes_gates() && meaning(ffi::SQLITE_READONLY).closes_gates());
        for code in [ffi::SQLITE_BUSY, ffi::SQLITE_LOCKED] {
            let error = meaning(code);
            assert!(
                matches!(error, StoreError::Busy(_)) && error.may_retry() && !error.closes_gates(),
                "{code}"
            );
        }
    }
}
