//! `portcullis audit`: the chain of what was done.

use clap::Subcommand;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::table::{moment, table};
use crate::store::audit::AuditRecord;

/// The audit chain.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read the whole chain; exit code 1 when a record was changed, is missing, or the end is cut off.
    Verify,
    /// List the newest records.
    List {
        /// How many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
}

/// Runs the command.
pub fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Verify => verify(context),
        Command::List { limit } => list(context, limit),
    }
}

fn verify(context: &Context) -> Result<Answer, Failure> {
    let report = context.store()?.verify_audit().map_err(Failure::could_not)?;
    let answer = json!({ "whole": report.is_whole(), "report": report });
    context.print(&answer, |_| {
        let mut text = format!("{} records, last hash {}\n", report.records, report.head);
        for fault in &report.faults {
            text.push_str(&format!("{fault}\n"));
        }
        text + if report.is_whole() { "the chain is whole" } else { "the chain is broken" }
    })?;
    Ok(if report.is_whole() { Answer::Yes } else { Answer::No })
}

fn list(context: &Context, limit: u32) -> Result<Answer, Failure> {
    let store = context.store()?;
    let last = store.verify_audit().map_err(Failure::could_not)?.records;
    let records = store.audit(last.saturating_sub(u64::from(limit)), limit).map_err(Failure::could_not)?;
    context.print(&records, |records| {
        let rows: Vec<[String; 5]> = records.iter().map(row).collect();
        table(["when", "by", "what", "member", "detail"], &rows)
    })?;
    Ok(Answer::Yes)
}

fn row(record: &AuditRecord) -> [String; 5] {
    let audit = &record.audit;
    [
        moment(audit.at),
        audit.actor.clone(),
        audit.action.clone(),
        audit.member.as_ref().map(ToString::to_string).unwrap_or_default(),
        audit.detail.to_string(),
    ]
}
