//! Thinning: what a member no longer needs of its evidence and assessments goes, in steps that nobody has to wait for.

use std::collections::BTreeSet;

use rusqlite::{Connection, Transaction, params};
use time::OffsetDateTime;

use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::port::Thinned;
use crate::store::settings::Retention;
use crate::store::sqlite::fault::{fault, nanoseconds};

/// Rows of a table that one transaction removes at most. Freeing a document of some megabytes reads all of its pages.
const AT_ONCE: usize = 64;
const DAY_NANOSECONDS: i64 = 86_400_000_000_000;
/// One page in this many may be free before the file is made smaller: what is removed makes room for what comes next.
const FREE_SHARE: i64 = 4;
/// Fewer free pages than this (4 MiB) are never given back.
const FREE_PAGES: i64 = 1_024;
/// Pages that one transaction gives back at most (1 MiB).
const GIVEN_PAGES: i64 = 256;

/// Where documents lie, and how those that thinning may remove are found.
struct Place {
    /// Those older than the newest `?2` + 1, oldest first: number, key, instant.
    old: &'static str,
    /// Whether something that stays names this key.
    named: &'static str,
    remove: &'static str,
}

const ASSESSMENTS: Place = Place {
    old: "SELECT seq, id, assessed_at FROM assessments WHERE ods = ?1 AND seq <
          (SELECT seq FROM assessments WHERE ods = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2) ORDER BY seq",
    named: "SELECT EXISTS (SELECT 1 FROM gates WHERE assessment = ?1)",
    remove: "DELETE FROM assessments WHERE seq = ?1",
};

const EVIDENCE: Place = Place {
    old: "SELECT seq, hash, collected_at FROM evidence WHERE ods = ?1 AND seq <
          (SELECT seq FROM evidence WHERE ods = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2) ORDER BY seq",
    named: "SELECT EXISTS (SELECT 1 FROM assessments WHERE evidence_hash = ?1)",
    remove: "DELETE FROM evidence WHERE seq = ?1",
};

/// Removes what the member no longer needs, or some of it.
pub fn thin(
    transaction: &Transaction<'_>,
    ods: &OdsCode,
    keep: &Retention,
    named: &[String],
    now: OffsetDateTime,
) -> Result<Thinned, StoreError> {
    let assessments = remove(transaction, &ASSESSMENTS, ods, keep, named, now)?;
    let mut thinned = Thinned { assessments: count(assessments), evidence: 0, more: assessments >= AT_ONCE };
    // only when all assessments that can go are gone is it known what evidence they still name
    if !thinned.more {
        let evidence = remove(transaction, &EVIDENCE, ods, keep, &[], now)?;
        thinned.evidence = count(evidence);
        thinned.more = evidence >= AT_ONCE;
    }
    give_back(transaction)?;
    Ok(thinned)
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

/// Removes up to [`AT_ONCE`] rows of one place. It looks at these and at the old ones that stay before them, never at all.
fn remove(
    transaction: &Transaction<'_>,
    place: &Place,
    ods: &OdsCode,
    keep: &Retention,
    named: &[String],
    now: OffsetDateTime,
) -> Result<usize, StoreError> {
    let over = day(nanoseconds(now)).saturating_sub(i64::from(keep.keep_days));
    let mut is_named = transaction.prepare_cached(place.named).map_err(fault)?;
    let mut old = transaction.prepare_cached(place.old).map_err(fault)?;
    // the newest stays, whatever is asked for: the next evidence must follow it
    let newer = i64::from(keep.keep_latest.max(1)).saturating_sub(1);
    let mut rows = old.query(params![ods.as_str(), newer]).map_err(fault)?;
    let (mut days, mut gone) = (BTreeSet::new(), Vec::new());
    while let Some(row) = rows.next().map_err(fault)? {
        let read = || Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?));
        let (number, key, at) = read().map_err(fault)?;
        let day = day(at);
        if (day > over && days.insert(day)) || named.contains(&key) {
            continue;
        }
        if is_named.query_row([&key], |row| row.get(0)).map_err(fault)? {
            continue;
        }
        gone.push(number);
        if gone.len() >= AT_ONCE {
            break;
        }
    }
    drop(rows);
    let mut statement = transaction.prepare_cached(place.remove).map_err(fault)?;
    for number in &gone {
        statement.execute([number]).map_err(fault)?;
    }
    Ok(gone.len())
}

/// The UTC day of an instant, counted from 1970.
const fn day(nanoseconds: i64) -> i64 {
    nanoseconds.div_euclid(DAY_NANOSECONDS)
}

/// Makes the file a little smaller when much of it is free. In a file of schema 1 nothing happens: its pages are only used again.
fn give_back(connection: &Connection) -> Result<(), StoreError> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(fault);
    let (pages, free) = (number("page_count")?, number("freelist_count")?);
    if free < FREE_PAGES || free < pages / FREE_SHARE {
        return Ok(());
    }
    // it steps once for each page
    let mut statement =
        connection.prepare(&format!("PRAGMA incremental_vacuum({GIVEN_PAGES})")).map_err(fault)?;
    let mut steps = statement.query([]).map_err(fault)?;
    while steps.next().map_err(fault)?.is_some() {}
    Ok(())
}
