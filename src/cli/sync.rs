//! `portcullis sync`: what a member publishes.

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::policy::terms::OdsCode;
use crate::sync::run::Mode;

mod approve;
mod hands;
mod journal;
mod pause;
mod run;
mod status;
mod undo;

/// Publishing a member's people into the national directory.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read, plan and show; nothing is written to the national directory.
    Plan {
        member: OdsCode,
        /// Read everything, not only what changed.
        #[arg(long)]
        complete: bool,
    },
    /// Run once. Exit code 0 when all is as it should be, 1 when something waits for an approval or was not done.
    Run {
        member: OdsCode,
        /// Do everything but write: the same as `plan`.
        #[arg(long)]
        dry_run: bool,
        /// Read everything, not only what changed.
        #[arg(long)]
        complete: bool,
    },
    /// Show how the last run went and which plans there are.
    Status { member: OdsCode },
    /// Show a plan's steps, or approve the steps that wait, by the exact hash of their plan.
    Approve {
        /// The hash that `run` or `status` shows.
        plan: String,
        /// Why it is right; without it the plan is only shown.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Show what was written, before and after, oldest first.
    Journal {
        member: OdsCode,
        /// Only after this number.
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// How many lines.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Let nothing be written for a member, or for any: neither by the gateway, nor by `run`; a run under way stops before its next
    /// batch. It holds until `resume`, also after a restart. Planning stays allowed.
    Pause {
        #[command(flatten)]
        whose: pause::Whose,
        /// Why; whoever is stopped by it reads this.
        #[arg(long)]
        reason: String,
    },
    /// End a pause. Exit code 3: the member's own pause is over, but one for every member still holds.
    Resume {
        #[command(flatten)]
        whose: pause::Whose,
        /// Why it may go on.
        #[arg(long)]
        reason: String,
    },
    /// Take back what a plan wrote, as far as nobody has changed it since.
    ///
    /// The inverse plan is made from the journal, has a hash of its own and passes the guards: what they hold is approved by that hash
    /// (`approve`), then this is run again. Each write asserts that the entry still is as the plan left it. What cannot be undone is
    /// listed; --dry-run shows all of it before. The member is paused with it, because its next run would do the same again: mend the
    /// member directory, then `resume`. An undoing can be undone by its own hash.
    ///
    /// Exit code 0: all undone (or planned, with --dry-run); 1: something was not, or waits for an approval.
    Undo {
        /// The hash of the plan that was written: `run`, `status` and `journal` show it.
        plan: String,
        /// Why.
        #[arg(long)]
        reason: String,
        /// Show what it would be; nothing is written and nothing paused.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Runs the command.
pub fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Plan { member, complete } => run::go(context, &member, Mode { dry_run: true, complete }),
        Command::Run { member, dry_run, complete } => run::go(context, &member, Mode { dry_run, complete }),
        Command::Status { member } => status::status(context, &member),
        Command::Approve { plan, reason } => approve::approve(context, &plan, reason.as_deref()),
        Command::Journal { member, after, limit } => journal::journal(context, &member, after, limit),
        Command::Pause { whose, reason } => pause::pause(context, &whose, &reason),
        Command::Resume { whose, reason } => pause::resume(context, &whose, &reason),
        Command::Undo { plan, reason, dry_run } => undo::go(context, &plan, &reason, dry_run),
    }
}
