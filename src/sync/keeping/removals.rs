//! How many entries were removed today, of all members together: what goes wrong everywhere at once is seen by no member's own guard.

use time::{Duration, OffsetDateTime};

use crate::sync::keeping::shelf::Shelf;
use crate::sync::people::guards::Recent;
use crate::sync::terms::error::{SyncError, damaged};
use crate::sync::terms::step::Plan;

/// `removed/2026-11-29` in a member's sync state: entries marked as left or deleted on that day (UTC).
fn key(shelf: &Shelf) -> String {
    format!("removed/{}", shelf.now().to_offset(time::UtcOffset::UTC).date())
}

/// One that cannot be read is no leave to begin the count anew.
fn number(value: &[u8]) -> Result<u64, SyncError> {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| damaged("removed", &"no number"))
}

/// Removals of today so far.
pub async fn today(shelf: &Shelf) -> Result<u64, SyncError> {
    let key = key(shelf);
    let all = shelf.store(move |store, _| store.sync_everywhere(&key)).await?;
    all.iter().map(|(_, value)| number(value)).sum()
}

/// Counts what a plan is about to remove. Before it does: of two members at the same time each sees the other's.
pub async fn reserve(shelf: &Shelf, plan: &Plan) -> Result<(), SyncError> {
    let removals = plan.steps.iter().filter(|step| step.action.removes()).count() as u64;
    if removals == 0 {
        return Ok(());
    }
    let (name, asked) = (key(shelf), key(shelf));
    let before = shelf.store(move |store, ods| store.sync_value(ods, &asked)).await?;
    let sum = before.as_deref().map_or(Ok(0), number)?.saturating_add(removals);
    shelf.set(vec![(name, Some(sum.to_string().into_bytes()))]).await
}

/// What was done without an approval, JSON: when, and how much of what.
const RECENT: &str = "recent_removals";
/// How long it is remembered.
const WINDOW: Duration = Duration::hours(24);

async fn remembered(shelf: &Shelf) -> Result<Vec<(i64, Recent)>, SyncError> {
    let oldest: OffsetDateTime = shelf.now() - WINDOW;
    let mut all: Vec<(i64, Recent)> = match shelf.value(RECENT).await? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| damaged(RECENT, &error))?,
        None => Vec::new(),
    };
    all.retain(|(at, _)| *at > oldest.unix_timestamp());
    Ok(all)
}

/// What was done for this member in the last 24 hours without an approval.
pub async fn recent(shelf: &Shelf) -> Result<Recent, SyncError> {
    let all = remembered(shelf).await?;
    Ok(all.iter().fold(Recent::default(), |sum, (_, one)| sum.and(one)))
}

/// Remembers what is about to be done; what an officer approved is no surprise and does not count.
pub async fn note(shelf: &Shelf, more: &Recent) -> Result<(), SyncError> {
    if *more == Recent::default() {
        return Ok(());
    }
    let mut all = remembered(shelf).await?;
    let hour = hour(shelf);
    match all.last_mut().filter(|(at, _)| *at == hour) {
        Some((_, last)) => *last = std::mem::take(last).and(more),
        None => all.push((hour, more.clone())),
    }
    keep(shelf, &all).await
}

/// Takes back what was not done after all: what is refused in every run is no mass, and neither is what was stopped on the way.
pub async fn take_back(shelf: &Shelf, less: &Recent) -> Result<(), SyncError> {
    if *less == Recent::default() {
        return Ok(());
    }
    let mut all = remembered(shelf).await?;
    if let Some((_, last)) = all.last_mut() {
        *last = std::mem::take(last).without(less);
    }
    keep(shelf, &all).await
}

fn hour(shelf: &Shelf) -> i64 {
    shelf.now().unix_timestamp() / 3_600 * 3_600
}

async fn keep(shelf: &Shelf, all: &[(i64, Recent)]) -> Result<(), SyncError> {
    let value = serde_json::to_vec(all).map_err(|error| SyncError::Internal(error.to_string()))?;
    shelf.set(vec![(RECENT.to_owned(), Some(value))]).await
}
