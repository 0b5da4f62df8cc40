//! `portcullis config`: the configuration file.

use clap::Subcommand;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::config::file;

/// The configuration file.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Report every fault of the file, with file, line and column, and of the files that it names.
    Check,
}

/// Runs the command.
pub fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    let Command::Check = command;
    match file::check(context.config_path()) {
        Ok(_) => {
            let path = context.config_path();
            let answer = json!({ "file": path, "faults": [] });
            context.print(&answer, |_| format!("{}: no fault", path.display()))?;
            Ok(Answer::Yes)
        }
        Err(faults) => {
            context.print(&faults, ToString::to_string)?;
            Ok(Answer::No)
        }
    }
}
