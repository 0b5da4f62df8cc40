//! `portcullis sync`: what a member publishes.

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::drift;
use crate::cli::failure::{Answer, Failure};
use crate::policy::terms::OdsCode;
use crate::sync::keeping::job::Mode;
use crate::sync::terms::guid::Guid;

mod approve;
mod explain;
pub mod hands;
mod history;
mod join;
mod journal;
pub mod officers;
mod pause;
mod plans;
pub mod publisher;
mod quarantine;
mod resync;
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
        /// Keep the plan in this file too, for `show` and `diff`; only its owner may read it, because it names people.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show a plan: counts first, then its steps by kind, before -> after.
    Show {
        /// The hash of a plan, or a file of `plan --out`.
        plan: String,
        #[command(flatten)]
        filter: plans::Filter,
    },
    /// Say which steps two plans of a member do not share: added (+), dropped (-) or changed (~). Exit code 0: the same writes, 1: others.
    Diff {
        /// The hash of a plan, or a file of `plan --out`.
        first: String,
        second: String,
    },
    /// Run once. Exit code 0 when all is as it should be, 1 when something waits for an approval or was not done.
    ///
    /// Ctrl-C or SIGTERM lets the writes under way end, tells what was done, and the same command goes on from there (exit code 130 or 143);
    /// a second one ends it at once, and the next run may have to wait a minute for its lease.
    Run {
        member: OdsCode,
        /// Do everything but write: the same as `plan`.
        #[arg(long)]
        dry_run: bool,
        /// Read everything, not only what changed.
        #[arg(long)]
        complete: bool,
    },
    /// Show how a member's last run went and which plans there are; without MEMBER one line for each member: gate, pause, last run, how
    /// old what was read is, what waits and what is held back.
    Status { member: Option<OdsCode> },
    /// Show how a member's last 50 runs ended, newest first, those that ended early too.
    History { member: OdsCode },
    /// Show a plan's steps, or approve the steps that wait, by the exact hash of their plan.
    ///
    /// Where two officers are needed the answer says so, and who has approved already does not count twice. What a guard holds because
    /// it cannot see (`blind`) is refused: no approval helps there.
    ///
    /// An officer is who `--actor` names: nothing checks who that is, and one person can name two. What protects approvals is who may run
    /// this command with this configuration.
    Approve {
        /// The hash that `run` or `status` shows.
        plan: String,
        /// Why it is right; without it the plan is only shown.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Show what others did to published entries: edited, deleted, renamed, or put beside them. Nothing is written. Exit code 0
    /// when there is nothing, 1 when there is. The next run mends it through a plan.
    Drift(drift::Arguments),
    /// Show what was written, before and after, oldest first.
    Journal {
        member: OdsCode,
        /// Only after this number.
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// How many lines.
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Show all of it, and go on with what is written, as it is written, until interrupted; with `--json` one object a line.
        #[arg(long, conflicts_with = "limit")]
        follow: bool,
    },
    /// Say why a person is there, missing or different in the national directory.
    ///
    /// WHO is a mail, an account name, an anchor (`RXA/GUID`), a GUID, or a name (DN) in the member or the national directory. It reads
    /// what was read last of the member directories and what the national directory holds now, and writes nothing: the conditions of the
    /// scope one by one with the part of the filter that fails, what is held back and whose it is to mend, who else has the name or the
    /// mail, each attribute's owner with what is and what should be, the last writes, the next run's. Exit code 1: nobody fits; then it
    /// says where it looked and how old that is.
    Explain {
        /// A mail, account name, anchor, GUID or DN.
        who: String,
        /// Look in this member only, or in this organisation whose people are registered by table: there a local id is a name as well.
        #[arg(long)]
        member: Option<OdsCode>,
    },
    /// List everything that is held back: why, whose it is to mend, what to do, since when. What is mended goes by itself with the next
    /// run. Exit code 0: nothing is held back, 1: something is.
    Quarantine {
        /// One member, or organisation whose people are registered by table; all when left out.
        member: Option<OdsCode>,
        /// Only this reason: `no_surname`, `duplicate`, `ambiguous` and so on.
        #[arg(long, value_name = "CODE")]
        reason: Option<String>,
        /// One line each, for a spreadsheet.
        #[arg(long)]
        csv: bool,
    },
    /// Decide which national entry is an account's, where more than one fits (`ambiguous`): the next run joins them. The entry must be
    /// there and nobody's.
    Join {
        member: OdsCode,
        /// The account, as `quarantine` and `explain` show it.
        guid: Guid,
        /// The entry's name; `explain` of the account shows the candidates.
        #[arg(required_unless_present = "forget", conflicts_with = "forget")]
        dn: Option<String>,
        /// Take the decision back. What was joined stays joined.
        #[arg(long)]
        forget: bool,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Have the next run read everything, not only what changed; without a reason show what that would change (`plan --complete`). Nothing
    /// staged is lost, and nobody counts as gone before the complete pass has ended.
    Resync {
        member: OdsCode,
        /// Why; without it nothing is forgotten.
        #[arg(long)]
        reason: Option<String>,
        /// Look the bases of the scope up by name anew as well; they follow their units otherwise, whatever those are called.
        #[arg(long, requires = "reason")]
        bases: bool,
    },
    /// Let nothing be written for a member, or for any: neither by the gateway, nor by `run`; a run under way stops before its next
    /// batch. Of an organisation whose people are registered by table it stops `register --apply`. `--all` stops `undo` as well; the pause of one member does not, since undoing pauses the member itself. It holds until `resume`, also after a restart. Planning stays allowed.
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
    /// member directory, then `resume`. A pause of the member does not stop an undoing; one for every member (`pause --all`) does, also on
    /// its way. An undoing can be undone by its own hash. Of people registered by table what is registered stays as it is: apply a mended table
    /// after `resume`.
    ///
    /// Nobody is listed by it who is not published now by what was last read of the member directory, nor is a contact attribute given
    /// back of who is published without: mend the member directory or the scope and have it read (`plan`) before.
    ///
    /// Exit code 0: all undone (or planned, with --dry-run); 1: something was not, or waits for an approval; 130 or 143: interrupted, as
    /// with `run`.
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
        Command::Plan { member, complete, out } => run::plan(context, &member, complete, out.as_deref()),
        Command::Show { plan, filter } => plans::show(context, &plan, &filter),
        Command::Diff { first, second } => plans::diff(context, &first, &second),
        Command::Run { member, dry_run, complete } => run::go(context, &member, Mode { dry_run, complete }),
        Command::Status { member: Some(member) } => status::status(context, &member),
        Command::Status { member: None } => status::all(context),
        Command::History { member } => history::go(context, &member),
        Command::Drift(arguments) => drift::run(&arguments, context, &hands::syncer(context)?),
        Command::Approve { plan, reason } => approve::approve(context, &plan, reason.as_deref()),
        Command::Journal { member, after, limit: _, follow: true } => {
            journal::follow(context, &member, after)
        }
        Command::Journal { member, after, limit, follow: false } => {
            journal::journal(context, &member, after, limit)
        }
        Command::Explain { who, member } => explain::go(context, &who, member.as_ref()),
        Command::Quarantine { member, reason, csv } => {
            quarantine::go(context, member.as_ref(), reason.as_deref(), csv)
        }
        Command::Join { member, guid, dn, forget: _, reason } => {
            join::go(context, &member, guid, dn.as_deref(), &reason)
        }
        Command::Resync { member, reason, bases } => resync::go(context, &member, reason.as_deref(), bases),
        Command::Pause { whose, reason } => pause::pause(context, &whose, &reason),
        Command::Resume { whose, reason } => pause::resume(context, &whose, &reason),
        Command::Undo { plan, reason, dry_run } => undo::go(context, &plan, &reason, dry_run),
    }
}
