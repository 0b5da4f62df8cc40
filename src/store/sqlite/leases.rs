//! Leases in their table. A lease that ended keeps its row, so that its epoch never comes again.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use time::OffsetDateTime;

use crate::store::error::StoreError;
use crate::store::record::Lease;
use crate::store::sqlite::fault::{fault, nanoseconds, signed, unsigned};

type Held = (Option<String>, i64, i64);

fn held(connection: &Connection, name: &str) -> Result<Option<Held>, StoreError> {
    connection
        .query_row("SELECT holder, epoch, ends_at FROM leases WHERE name = ?1", [name], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()
        .map_err(fault)
}

/// Takes or prolongs.
pub fn acquire(
    transaction: &Transaction<'_>,
    name: &str,
    holder: &str,
    now: OffsetDateTime,
    lasts: Duration,
) -> Result<Option<Lease>, StoreError> {
    let (kept, epoch, ends_at) = held(transaction, name)?.unwrap_or((None, 0, 0));
    let alive = kept.is_some() && ends_at > nanoseconds(now);
    let ours = alive && kept.as_deref() == Some(holder);
    if alive && !ours {
        return Ok(None);
    }
    let epoch = unsigned(epoch)?.saturating_add(u64::from(!ours));
    let lease = Lease { name: name.to_owned(), holder: holder.to_owned(), epoch, ends_at: now + lasts };
    write(transaction, &lease)?;
    Ok(Some(lease))
}

/// Prolongs if still held.
pub fn renew(
    transaction: &Transaction<'_>,
    lease: &Lease,
    now: OffsetDateTime,
    lasts: Duration,
) -> Result<Lease, StoreError> {
    require(transaction, lease, now)?;
    // of two that prolong it the later end holds, whichever came first
    let kept = held(transaction, &lease.name)?.map_or(0, |(.., ends_at)| ends_at);
    let ends_at = match OffsetDateTime::from_unix_timestamp_nanos(kept.into()) {
        Ok(kept) => kept.max(now + lasts),
        Err(_) => now + lasts,
    };
    let renewed = Lease { ends_at, ..lease.clone() };
    write(transaction, &renewed)?;
    Ok(renewed)
}

/// Gives back if still held.
pub fn release(transaction: &Transaction<'_>, lease: &Lease) -> Result<(), StoreError> {
    transaction
        .execute(
            "UPDATE leases SET holder = NULL, ends_at = 0 WHERE name = ?1 AND holder = ?2 AND epoch = ?3",
            params![lease.name, lease.holder, signed(lease.epoch)?],
        )
        .map_err(fault)?;
    Ok(())
}

/// Refuses whoever does not hold the lease at `now`.
pub fn require(connection: &Connection, lease: &Lease, now: OffsetDateTime) -> Result<(), StoreError> {
    let kept = held(connection, &lease.name)?;
    let good = kept.is_some_and(|(holder, epoch, ends_at)| {
        holder.as_deref() == Some(&lease.holder)
            && u64::try_from(epoch) == Ok(lease.epoch)
            && ends_at > nanoseconds(now)
    });
    if good { Ok(()) } else { Err(StoreError::Fenced { name: lease.name.clone(), epoch: lease.epoch }) }
}

fn write(transaction: &Transaction<'_>, lease: &Lease) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT OR REPLACE INTO leases VALUES (?1, ?2, ?3, ?4)",
            params![lease.name, lease.holder, signed(lease.epoch)?, nanoseconds(lease.ends_at)],
        )
        .map_err(fault)?;
    Ok(())
}
