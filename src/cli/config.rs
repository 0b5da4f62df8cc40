//! `portcullis config`: the configuration file.

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::config::file;

/// The configuration file.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Report every fault of the file and of the files that it names, each with file, line, column and what to do. Exit code 0
    /// without a fault (warnings are printed), 1 with one.
    Check,
}

/// Runs the command.
pub fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    let Command::Check = command;
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
