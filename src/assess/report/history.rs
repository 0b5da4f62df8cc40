//! Since when a control fails.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::baseline::assessment::{Assessment, Verdict};

/// For every control of `now` that fails or is unknown: the time of the oldest assessment since which it never passed.
/// `before` are the assessments before it, newest first.
pub fn since(now: &Assessment, before: &[Assessment]) -> BTreeMap<String, OffsetDateTime> {
    let bad = |verdict: Verdict| matches!(verdict, Verdict::Fail | Verdict::Unknown);
    now.findings
        .iter()
        .filter(|finding| bad(finding.verdict))
        .map(|finding| {
            let first = before
                .iter()
                .take_while(|older| older.finding(&finding.control).is_some_and(|f| bad(f.verdict)))
                .last()
                .map_or(now.assessed_at, |oldest| oldest.assessed_at);
            (finding.control.clone(), first)
        })
        .collect()
}

/// A moment for people: `2026-11-24 16:40 UTC`.
pub fn moment(at: OffsetDateTime) -> String {
    let (date, time) = (at.date(), at.time());
    format!("{date} {:02}:{:02} UTC", time.hour(), time.minute())
}
