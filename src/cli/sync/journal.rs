//! `portcullis sync journal`.

use std::time::Duration;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::sync::hands::known;
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

/// Lines that are read at once.
const PART: u32 = 1_000;
/// How often it is looked whether more is there.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Shows a journal.
pub fn journal(context: &Context, member: &OdsCode, after: u64, limit: u32) -> Result<Answer, Failure> {
    known(context, member)?;
    let lines = read(context, member, after, limit)?;
    context.print(&lines, |lines| {
        let rows: Vec<[String; 6]> = lines.iter().map(row).collect();
        table(["number", "at", "plan", "phase", "action", "entry"], &rows)
    })?;
    Ok(Answer::Yes)
}

/// Shows a journal and what comes after, until nobody reads it any more.
pub fn follow(context: &Context, member: &OdsCode, after: u64) -> Result<Answer, Failure> {
    known(context, member)?;
    let mut after = after;
    loop {
        let lines = read(context, member, after, PART)?;
        for line in &lines {
            if !context.goes_on(line, |line| row(line).join("  "))? {
                return Ok(Answer::Yes);
            }
            after = line.seq;
        }
        if lines.is_empty() {
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

fn read(context: &Context, member: &OdsCode, after: u64, limit: u32) -> Result<Vec<Line>, Failure> {
    let lines = context.store()?.journal(member, after, limit).map_err(Failure::could_not)?;
    let line = |JournalEntry { seq, entry }: JournalEntry| Line {
        seq,
        plan: entry.plan,
        step: entry.step,
        phase: entry.phase,
        at: entry.at,
        detail: serde_json::from_slice(&entry.document).unwrap_or_default(),
    };
    Ok(lines.into_iter().map(line).collect())
}

fn row(line: &Line) -> [String; 6] {
    let word = |name: &str| line.detail.get(name).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    let plan: String = line.plan.chars().take(12).collect();
    [line.seq.to_string(), moment(line.at), plan, line.phase.clone(), word("action"), word("dn")]
}
