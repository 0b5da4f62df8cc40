//! `portcullis report`: reports over all members.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::ambient::text::Harmless;
use crate::assess::judge::baseline_id;
use crate::assess::report::nation::{Control, Summary};
use crate::assess::report::oscal::document as oscal;
use crate::assess::report::oscal::pseudonym::{Pseudonyms, SALT};
use crate::baseline::assessment::Assessment;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::output::replace;
use crate::cli::table::table;
use crate::policy::terms::Grant;
use crate::secret::signing::Signer;
use crate::store::port::Store;
use crate::store::record::AssessmentRecord;

/// Controls that the text shows; JSON has all.
const CONTROLS: usize = 20;

/// Reports.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Count every member's latest kept assessment by one baseline. Nothing is measured; members that are leaving or have left do
    /// not count.
    National(National),
}

/// What of it.
#[derive(Debug, Args)]
pub struct National {
    /// The baseline's id; the one that decides when it is left out.
    #[arg(long)]
    pub baseline: Option<String>,
    /// Write OSCAL assessment results (NIST, 1.1.3, JSON) with one result per member to this file. They have counts and keyed hashes
    /// of offenders, never their names.
    #[arg(long, value_name = "FILE")]
    pub oscal: Option<PathBuf>,
}

/// Runs the command.
pub fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    let Command::National(national) = command;
    let baseline = match national.baseline {
        Some(baseline) => baseline,
        None => deciding(context)?,
    };
    let store = context.store()?;
    let mut summary = Summary::of(&baseline);
    let mut document = oscal::National::default();
    for member in store.members().map_err(Failure::could_not)? {
        if !member.state.is_measured() {
            continue;
        }
        let latest = store.recent_assessments(&member.ods, 1).map_err(Failure::could_not)?;
        match latest.first().map(read).transpose().map_err(Failure::could_not)? {
            None => summary.not_assessed.push(member.ods),
            Some(assessment) if assessment.baseline != baseline => summary.other_baseline.push(member.ods),
            Some(assessment) => {
                summary.add(&assessment);
                document.add(&assessment);
            }
        }
    }
    if let Some(path) = &national.oscal {
        if document.results() == 0 {
            return Err(Failure::could_not(format!(
                "no member has an assessment by the baseline `{baseline}`"
            )));
        }
        document.not_assessed.clone_from(&summary.not_assessed);
        document.other_baseline.clone_from(&summary.other_baseline);
        let config = context.config()?;
        let signer = Signer::load_or_create(&config.signing_key()).map_err(Failure::could_not)?;
        let load = |id: &str| again(store.as_ref(), id);
        write(path, &document.document(&load, &Pseudonyms::new(&signer.sign(SALT))))?;
    }
    context.print(&summary, text)?;
    Ok(Answer::Yes)
}

fn deciding(context: &Context) -> Result<String, Failure> {
    let set = context.policies()?;
    let id = baseline_id(&set).ok_or_else(|| Failure::could_not("no baseline is past its draft"))?;
    Ok(id.to_owned())
}

fn read(record: &AssessmentRecord) -> Result<Assessment, String> {
    serde_json::from_slice(&record.document)
        .map_err(|error| format!("assessment {} of {} cannot be read: {error}", record.id, record.member))
}

fn again(store: &dyn Store, id: &str) -> Result<Assessment, String> {
    let record = store.assessment(id).map_err(|error| error.to_string())?;
    read(&record.ok_or_else(|| format!("assessment {id} is no longer kept; run the report again"))?)
}

fn write(path: &Path, document: &impl Serialize) -> Result<(), Failure> {
    replace(path, |out| {
        document.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, Harmless))?;
        out.write_all(b"\n")
    })
}

fn text(summary: &Summary) -> String {
    let mut out = format!("{}: {} members assessed\n", summary.baseline, summary.members);
    for grant in Grant::ALL {
        let count = summary.would_open.get(&grant).copied().unwrap_or(0);
        out.push_str(&format!("  {grant}: nothing denies it at {count}\n"));
    }
    if summary.policy_sets.len() > 1 {
        out.push_str(&format!("judged by {} different policy sets\n", summary.policy_sets.len()));
    }
    for (what, members) in
        [("never assessed", &summary.not_assessed), ("by another baseline", &summary.other_baseline)]
    {
        if !members.is_empty() {
            let codes: Vec<String> = members.iter().map(ToString::to_string).collect();
            out.push_str(&format!("{what}: {}\n", codes.join(" ")));
        }
    }
    let rows: Vec<[String; 6]> = summary.controls.iter().take(CONTROLS).map(row).collect();
    if !rows.is_empty() {
        out.push_str(&format!(
            "\n{}",
            table(["control", "fail", "unknown", "excepted", "stated", "title"], &rows)
        ));
    }
    if summary.controls.len() > CONTROLS {
        out.push_str(&format!("and {} more controls: --json\n", summary.controls.len() - CONTROLS));
    }
    out
}

fn row(control: &Control) -> [String; 6] {
    let (fail, unknown, excepted) = (control.fail, control.unknown, control.excepted);
    [
        control.control.clone(),
        fail.to_string(),
        unknown.to_string(),
        excepted.to_string(),
        control.stated.to_string(),
        control.title.clone(),
    ]
}
