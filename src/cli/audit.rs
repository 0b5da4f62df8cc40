//! `portcullis audit`: the chain of what was done.

use clap::Subcommand;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::table::{moment, table};
use crate::secret::signing::Signer;
use crate::store::audit::{AuditRecord, hex};
use crate::store::{access, checkpoint};

/// The audit chain.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read the whole chain, and that of the access records; exit code 1 when a record was changed, is missing, or the end is cut off.
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
    let config = context.config()?;
    let store = context.store()?;
    let mut report = store.verify_audit().map_err(Failure::could_not)?;
    let signer = Signer::load_or_create(&config.signing_key()).map_err(Failure::could_not)?;
    let broken = checkpoint::verify(&config.checkpoints(), store.as_ref(), signer.public_key());
    report.faults.extend(broken.map_err(Failure::could_not)?);
    let access = access::verify(&config.access_audit()).map_err(Failure::could_not)?;
    let whole = report.is_whole() && access.faults.is_empty();
    let key = hex(signer.public_key());
    let answer = json!({ "whole": whole, "audit": report, "access": access, "signing_key": key });
    context.print(&answer, |_| {
        let mut text = format!("audit: {} records, last hash {}\n", report.records, report.head);
        text += &format!("access: {} records in {} chunks\n", access.records, access.chunks);
        for fault in &report.faults {
            text += &format!("audit: {fault}\n");
        }
        for fault in &access.faults {
            text += &format!("access: {fault}\n");
        }
        text +=
            &format!("signed with key {key}: `portcullis assess --evidence FILE --verify KEY` takes it\n");
        text + if whole { "the chains are whole" } else { "a chain is broken" }
    })?;
    Ok(if whole { Answer::Yes } else { Answer::No })
}

fn list(context: &Context, limit: u32) -> Result<Answer, Failure> {
    let store = context.store()?;
    let (last, _) = store.audit_end().map_err(Failure::could_not)?;
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
