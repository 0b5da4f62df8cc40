//! `portcullis sync journal`.

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::member::answer::standing;
use crate::cli::table::{moment, table};
use crate::policy::terms::OdsCode;
use crate::store::record::JournalEntry;

/// A line of the journal.
#[derive(Debug, Serialize)]
struct Line {
    seq: u64,
    plan: String,
    step: u64,
    phase: String,
    #[serde(with = "time::serde::rfc3339")]
    at: time::OffsetDateTime,
    detail: serde_json::Value,
}

/// Shows a member's journal.
pub fn journal(context: &Context, member: &OdsCode, after: u64, limit: u32) -> Result<Answer, Failure> {
    standing(context, member)?;
    let lines = context.store()?.journal(member, after, limit).map_err(Failure::could_not)?;
    let lines: Vec<Line> = lines
        .into_iter()
        .map(|JournalEntry { seq, entry }| Line {
            seq,
            plan: entry.plan,
            step: entry.step,
            phase: entry.phase,
            at: entry.at,
            detail: serde_json::from_slice(&entry.document).unwrap_or_default(),
        })
        .collect();
    context.print(&lines, |lines| {
        let rows: Vec<[String; 6]> = lines
            .iter()
            .map(|line| {
                let word = |name: &str| {
                    line.detail.get(name).and_then(|v| v.as_str()).unwrap_or_default().to_owned()
                };
                let plan: String = line.plan.chars().take(12).collect();
                [line.seq.to_string(), moment(line.at), plan, line.phase.clone(), word("action"), word("dn")]
            })
            .collect();
        table(["number", "at", "plan", "phase", "action", "entry"], &rows)
    })?;
    Ok(Answer::Yes)
}
