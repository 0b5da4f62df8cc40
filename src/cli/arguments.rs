//! The command line as a whole.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::ambient::clock::Clock;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};

/// A directory federation gateway: lets a member's Active Directory federate only while it meets the national security baseline.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, arg_required_else_help = true)]
pub struct Arguments {
    /// The configuration file.
    #[arg(long, global = true, env = "PORTCULLIS_CONFIG", default_value = "/etc/portcullis/portcullis.yaml")]
    pub config: PathBuf,
    /// Print the answer as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Who is asking, for the audit.
    #[arg(long, global = true, env = "PORTCULLIS_ACTOR")]
    pub actor: Option<String>,
    #[command(subcommand)]
    pub command: Command,
}

/// The command groups.
#[derive(Debug, Subcommand)]
pub enum Command {}

/// Does what the arguments say.
pub fn run(arguments: Arguments) -> Result<Answer, Failure> {
    let actor =
        arguments.actor.or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "unknown".to_owned());
    let context = Context::new(arguments.config, arguments.json, actor, Clock::system());
    dispatch(arguments.command, &context)
}

fn dispatch(command: Command, _context: &Context) -> Result<Answer, Failure> {
    match command {}
}
