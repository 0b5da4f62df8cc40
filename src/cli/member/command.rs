//! The commands of the group.

use clap::Subcommand;

use crate::cli::assess;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::member::answer::{answer, by, standing};
use crate::cli::member::{approval, key, request, show, spelling};
use crate::enrol::lifecycle::Step;
use crate::enrol::run;
use crate::policy::terms::{Membership, OdsCode};

/// Members and their life.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask to federate, for an organisation.
    Request(Box<request::Request>),
    /// List every member with its state and gates.
    List,
    /// Show one member: connection, state, gates, history.
    Show {
        /// Its ODS code.
        member: OdsCode,
    },
    /// Measure the member's directory now; exit code 0 when it would be admitted, 1 when not, 2 when that cannot be told.
    Check { member: OdsCode },
    /// Approve a checked member: it pilots, then federates; or promote a piloting one. Exit code 0 when its latest assessment lets
    /// every gate open, 3 when it was approved but a gate stays closed (each is printed with what denies it), 1 when refused.
    Approve {
        member: OdsCode,
        /// Stop at the pilot.
        #[arg(long)]
        pilot: bool,
        /// Why, for the audit.
        #[arg(long, default_value = "approved by command")]
        reason: String,
    },
    /// Close every gate of a member at once, whatever its assessments say.
    Suspend {
        member: OdsCode,
        /// Why, for the member and the audit.
        #[arg(long)]
        reason: String,
    },
    /// Let a suspended member go on where it stood.
    Resume {
        member: OdsCode,
        /// Why, for the audit.
        #[arg(long, default_value = "resumed by command")]
        reason: String,
    },
    /// Register the public key that the member signs its attestations with, in place of the one before.
    ///
    /// Make sure that it is the member's: ask a person whom you know there to read you its fingerprint, which is printed here and there. What was signed with the key before
    /// does not hold any more, from the next assessment on: have it signed and added anew.
    AttestationKey {
        member: OdsCode,
        /// 64 hex digits, as `portcullis attestation key` prints them at the member's.
        #[arg(value_parser = spelling::attestation_key)]
        key: String,
        /// Why, for the audit.
        #[arg(long, default_value = "registered by command")]
        reason: String,
    },
    /// Begin to leave, or finish leaving.
    Leave {
        member: OdsCode,
        /// Nothing of it is published any more: it has left.
        #[arg(long)]
        finish: bool,
        /// Why, for the audit.
        #[arg(long)]
        reason: String,
    },
}

/// Runs the command.
pub fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Request(request) => request::run(*request, context),
        Command::List => show::list(context),
        Command::Show { member } => show::show(&member, context),
        Command::Check { member } => assess::assess_member(member, context),
        Command::Approve { member, pilot, reason } => {
            let goal = if pilot { Membership::Piloting } else { Membership::Federated };
            let store = context.store()?;
            if standing(context, &member)?.state == goal {
                return Err(Failure::refused(format_args!("{member} is {goal} already")));
            }
            let done = run::advance(store.as_ref(), &member, goal, &by(context, &reason));
            approval::answer(context, done)
        }
        Command::Suspend { member, reason } => take(context, &member, Step::Suspend, &reason),
        Command::Resume { member, reason } => take(context, &member, Step::Resume, &reason),
        Command::AttestationKey { member, key, reason } => key::register(&member, &key, &reason, context),
        Command::Leave { member, finish, reason } => {
            take(context, &member, if finish { Step::Finish } else { Step::Leave }, &reason)
        }
    }
}

fn take(context: &Context, member: &OdsCode, step: Step, reason: &str) -> Result<Answer, Failure> {
    let store = context.store()?;
    answer(context, run::take(store.as_ref(), member, step, &by(context, reason)))
}
