//! How many entries were removed today, of all members together: what goes wrong everywhere at once is seen by no member's own guard.

use crate::sync::error::SyncError;
use crate::sync::shelf::Shelf;
use crate::sync::step::Plan;

/// `removed/2026-11-29` in a member's sync state: entries marked as left or deleted on that day (UTC).
fn key(shelf: &Shelf) -> String {
    format!("removed/{}", shelf.now().to_offset(time::UtcOffset::UTC).date())
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Removals of today so far.
pub async fn today(shelf: &Shelf) -> Result<u64, SyncError> {
    let key = key(shelf);
    let all = shelf.store(move |store, _| store.sync_everywhere(&key)).await?;
    Ok(all.iter().map(|(_, value)| number(value)).sum())
}

/// Counts what a plan is about to remove. Before it does: of two members at the same time each sees the other's.
pub async fn reserve(shelf: &Shelf, plan: &Plan) -> Result<(), SyncError> {
    let removals = plan.steps.iter().filter(|step| step.action.removes()).count() as u64;
    if removals == 0 {
        return Ok(());
    }
    let (name, asked) = (key(shelf), key(shelf));
    let before = shelf.store(move |store, ods| store.sync_value(ods, &asked)).await?;
    let sum = before.as_deref().map_or(0, number) + removals;
    shelf.set(vec![(name, Some(sum.to_string().into_bytes()))]).await
}
