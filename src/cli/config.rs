//! `portcullis config`: the configuration file.

use clap::Subcommand;
use serde_json::Value;

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::table::table;
use crate::config::describe::{self, Setting};
use crate::config::file;

/// The configuration file.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Report every fault of the file and of the files that it names, each with file, line, column and what to do. Exit code 0
    /// without a fault (warnings are printed), 1 with one.
    Check,
    /// Print every setting that has a default: the default, its unit, what it may be and what it means; with --json the whole
    /// meaning. What has no default (listen, tls, national, applications) is not among them.
    Settings,
}

/// Runs the command.
pub fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Check => check(context),
        Command::Settings => {
            context.print(&describe::settings(), |all| text(all))?;
            Ok(Answer::Yes)
        }
    }
}

fn text(all: &[Setting]) -> String {
    let rows: Vec<[String; 5]> = all
        .iter()
        .map(|setting| {
            let default = match &setting.default {
                Value::Null => "none".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let unit = setting.unit.unwrap_or_default().to_owned();
            let range = match (setting.least, setting.most) {
                (Some(least), Some(most)) => format!("{least} to {most}"),
                _ => setting.words.join(" or "),
            };
            [setting.key.clone(), default, unit, range, setting.brief()]
        })
        .collect();
    table(["setting", "default", "unit", "may be", "meaning"], &rows)
}

fn check(context: &Context) -> Result<Answer, Failure> {
    let (faults, answer) = match file::check(context.config_path(), context.clock.now()) {
        Ok((_, warnings)) => (warnings, Answer::Yes),
        Err(faults) => (faults, Answer::No),
    };
    context.print(&faults, |faults| match faults.faults.len() {
        0 => format!("{}: no fault", faults.file.display()),
        _ if answer == Answer::Yes => {
            format!("{faults}\n{}: no fault, see the warnings", faults.file.display())
        }
        _ => faults.to_string(),
    })?;
    Ok(answer)
}
