//! `portcullis store`: the soundness of what is kept.

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::table::table;
use crate::store::port::CheckReport;

/// The store.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the file, count its rows, verify the audit chain and try a write; exit code 1 when something is wrong.
    Check,
}

/// Runs the command.
pub fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    let Command::Check = command;
    let store = context.store()?;
    let mut report = store.check().map_err(Failure::could_not)?;
    if let Err(error) = store.probe_writable() {
        report.faults.push(error.to_string());
    }
    context.print(&report, text)?;
    let sound = report.faults.is_empty() && report.audit.is_whole();
    Ok(if sound { Answer::Yes } else { Answer::No })
}

fn text(report: &CheckReport) -> String {
    let rows: Vec<[String; 2]> =
        report.rows.iter().map(|(name, count)| [name.clone(), count.to_string()]).collect();
    let mut text = format!("schema {}\n{}", report.schema, table(["table", "rows"], &rows));
    for fault in &report.faults {
        text.push_str(&format!("fault: {fault}\n"));
    }
    for fault in &report.audit.faults {
        text.push_str(&format!("audit: {fault}\n"));
    }
    let sound = report.faults.is_empty() && report.audit.is_whole();
    text + if sound { "the store is sound" } else { "the store is not sound" }
}
