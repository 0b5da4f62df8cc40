//! What is held back and since when, and how past runs ended: kept with the member's sync state, bounded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::policy::terms::Party;
use crate::sync::keeping::shelf::Shelf;
use crate::sync::running::report::{Outcome, Report};
use crate::sync::terms::error::SyncError;
use crate::sync::terms::progress::{PROGRESS, Progress};
use crate::sync::terms::step::{Action, Quarantine};

/// Key of what is held back, JSON.
pub const QUARANTINE: &str = "quarantine";
/// Key of the past runs, JSON, newest first.
pub const HISTORY: &str = "history";
/// Past runs that are kept.
const RUNS_KEPT: usize = 50;

/// One that is held back, and since which run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aged {
    #[serde(flatten)]
    pub held: Quarantine,
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// What is held now, with the moment from before where it was held for the same reason. What is not held any more is healed.
pub fn age(before: &[Aged], held: &[Quarantine], at: OffsetDateTime) -> Vec<Aged> {
    let key = |one: &Quarantine| (one.guid, one.attribute.clone(), one.code.clone());
    let since: BTreeMap<_, OffsetDateTime> = before.iter().map(|one| (key(&one.held), one.since)).collect();
    held.iter()
        .map(|one| Aged { held: one.clone(), since: since.get(&key(one)).copied().unwrap_or(at) })
        .collect()
}

/// Every reason for which somebody is held back, and whose it is to mend; none: that depends.
pub const REASONS: [(&str, Option<Party>); 18] = [
    ("no_name", Some(Party::Member)),
    ("no_surname", Some(Party::Member)),
    ("conflict", Some(Party::Member)),
    ("mail_domain", Some(Party::Member)),
    ("duplicate", Some(Party::Member)),
    ("not_text", Some(Party::Member)),
    ("unfit", Some(Party::Member)),
    ("refused", Some(Party::Member)),
    ("partial", Some(Party::Member)),
    ("ambiguous", Some(Party::National)),
    ("name_taken", Some(Party::National)),
    ("anchor_twice", Some(Party::National)),
    ("mail_of_nobody", Some(Party::National)),
    ("has_below", Some(Party::National)),
    ("closed", Some(Party::National)),
    ("owner_paused", Some(Party::National)),
    ("mail_elsewhere", None),
    ("rewritten", None),
];

/// Whose it is to mend; none for a reason that this program does not know.
pub fn mends(code: &str) -> Option<Party> {
    REASONS.iter().find(|(known, _)| *known == code).and_then(|(_, party)| *party)
}

/// One past run, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    #[serde(with = "time::serde::rfc3339")]
    pub ended_at: OffsetDateTime,
    /// How it ended: a word of [`Outcome`], or the code of what ended it early.
    pub outcome: String,
    /// Why it ended early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whose fault that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub party: Option<Party>,
    /// Why everything was read, when it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<String>,
    pub objects: u64,
    /// Of one that ended early: steps that were through by then, whatever came of them; the journal has each.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub through: u64,
    #[serde(default)]
    pub done: BTreeMap<Action, u64>,
    pub undone: u64,
    /// Steps that wait for an approval or for sight.
    pub held: u64,
    pub quarantine: u64,
    /// Hash of the plan that was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Hashes of the plans that were written after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<String>,
}

impl Ran {
    /// From its report.
    pub fn of(report: &Report) -> Ran {
        Ran {
            ended_at: report.ended_at,
            outcome: report.outcome.as_str().to_owned(),
            error: None,
            party: None,
            complete: report.pass.because.clone(),
            objects: report.pass.objects,
            through: 0,
            done: report.executed.done.clone(),
            undone: report.executed.undone.len() as u64,
            held: report.held_steps,
            quarantine: report.quarantine.len() as u64,
            plan: report.written.clone(),
            later: report.later.clone(),
        }
    }

    /// Of one that ended early after so much.
    pub fn failed(error: &SyncError, at: OffsetDateTime, after: &Progress) -> Ran {
        let said = (error.code(), error.to_string(), error.party());
        Ran::early(said, at, after)
    }

    /// Of one that was ended without being able to say so; known since the next one.
    fn killed(left: &Progress) -> Ran {
        let text = format!(
            "it was ended at once, by a signal or with its machine, with {} steps to do: the journal has what was done, and the next run went on",
            left.steps
        );
        Ran::early(("killed", text, Party::Us), left.at, left)
    }

    fn early((code, text, party): (&str, String, Party), at: OffsetDateTime, after: &Progress) -> Ran {
        Ran {
            ended_at: at,
            outcome: code.to_owned(),
            error: Some(text),
            party: Some(party),
            complete: None,
            objects: after.objects,
            through: after.written,
            done: BTreeMap::new(),
            undone: 0,
            held: 0,
            quarantine: 0,
            plan: None,
            later: Vec::new(),
        }
    }
}

/// The values that a report changes: what is held back, and the past runs when it wrote.
pub async fn values(shelf: &Shelf, report: &Report) -> Result<Vec<(String, Option<Vec<u8>>)>, SyncError> {
    let before: Vec<Aged> = shelf.json(QUARANTINE).await?.unwrap_or_default();
    let aged = age(&before, &report.quarantine, report.ended_at);
    let mut values = vec![(QUARANTINE.to_owned(), serde_json::to_vec(&aged).ok())];
    if report.outcome != Outcome::Planned {
        values.push(with(shelf, Ran::of(report)).await?);
    }
    Ok(values)
}

/// Writes down a run that ended early.
pub async fn failed(shelf: &Shelf, error: &SyncError) -> Result<(), SyncError> {
    let value = with(shelf, Ran::failed(error, shelf.now(), &shelf.meter.progress())).await?;
    shelf.set(vec![value]).await
}

/// Writes down a run before this one that was killed; one that took no more than a moment has left nothing.
pub async fn left(shelf: &Shelf) -> Result<(), SyncError> {
    if !shelf.meter.is_kept() {
        return Ok(());
    }
    let Some(left) = shelf.json::<Progress>(PROGRESS).await? else { return Ok(()) };
    let value = with(shelf, Ran::killed(&left)).await?;
    shelf.set(vec![value, (PROGRESS.to_owned(), None)]).await
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

async fn with(shelf: &Shelf, ran: Ran) -> Result<(String, Option<Vec<u8>>), SyncError> {
    let mut past: Vec<Ran> = shelf.json(HISTORY).await?.unwrap_or_default();
    past.insert(0, ran);
    past.truncate(RUNS_KEPT);
    Ok((HISTORY.to_owned(), serde_json::to_vec(&past).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::terms::guid::Guid;

    #[test]
    fn what_stays_held_keeps_its_moment_and_what_is_mended_is_gone() {
        let held = |number: u8, code: &str| Quarantine {
            guid: Guid([number; 16]),
            attribute: None,
            code: code.to_owned(),
            text: String::new(),
        };
        let (first, later) = (OffsetDateTime::UNIX_EPOCH, OffsetDateTime::UNIX_EPOCH + time::Duration::DAY);
        let before = age(&[], &[held(1, "no_surname"), held(2, "no_surname")], first);
        let after = age(&before, &[held(1, "no_surname"), held(2, "duplicate"), held(3, "partial")], later);
        assert_eq!(after.iter().map(|one| one.since).collect::<Vec<_>>(), [first, later, later]);
        let healed = age(&after, &[], later);
        assert_eq!(age(&healed, &[held(1, "no_surname")], later)[0].since, later, "held anew, not still");
    }
}
