//! The command line as a whole.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::ambient::clock::Clock;
use crate::app::gates::ACTOR;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::member::command as member;
use crate::cli::{
    assess, attestation, audit, config, exception, gate, policy, programme, register, release, report, serve,
    store, sync,
};

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
pub enum Command {
    /// Run the gateway until a signal ends it.
    Serve,
    /// Members and their life.
    #[command(subcommand)]
    Member(member::Command),
    /// Gates: what they are and how they came to be so.
    #[command(subcommand)]
    Gate(gate::Command),
    /// Controls set aside for one member, by two persons and always with an end.
    #[command(subcommand)]
    Exception(exception::Command),
    /// What members state because nobody can read it from afar: signed with their own key, always with an end.
    #[command(subcommand, long_about = attestation::WAY)]
    Attestation(attestation::Command),
    /// Measure a member's directory now and judge it, or judge recorded evidence again.
    ///
    /// The report begins with what each grant needs and what to do first: what opens a gate soonest, heaviest and smallest first. What
    /// could not be told is to be made readable, and may fail then. Then what changed since the assessment before, and whether the
    /// policies changed in between; then each finding with its fix and the day on which it closes a gate.
    ///
    /// --json is the assessment with `source` (whether the evidence's signature was verified, and by which key), `obstacle` (why the
    /// directory could not be read at all; else null), `first` (the steps), `closings` (finding, grant, why and when), `trend` (null
    /// without an assessment before) and `since` (since when a control fails or is unknown).
    ///
    /// Exit code 0: every grant would open; 1: one would not; 2: that cannot be told, or the directory could not be read at all: then
    /// the report begins with why, and what to do about it.
    Assess(assess::Assess),
    /// Measure a directory without a store or a gateway: would it be admitted?
    ///
    /// Nothing leaves this machine. The report and the exit code are those of `assess`; keep the evidence with --evidence, and give it
    /// as --before next time to see what changed.
    Check(Box<assess::Check>),
    /// Reports over all members: counts, never who offends.
    #[command(subcommand)]
    Report(report::Command),
    /// Release agreements: who sees what.
    #[command(subcommand)]
    Release(release::Command),
    /// Policies: check, test, sign and activate them, and look at them.
    #[command(subcommand, long_about = policy::WAY)]
    Policy(policy::Command),
    /// Publishing members' people into the national directory.
    #[command(subcommand)]
    Sync(sync::Command),
    /// Register the people of organisations that have no directory of their own, from a table.
    #[command(long_about = register::WAY, override_usage = register::USAGE)]
    Register(register::Register),
    /// Where every organisation stands on its way to federation, by wave; `import` brings the organisations.
    Programme(programme::Programme),
    /// The audit chain.
    #[command(subcommand)]
    Audit(audit::Command),
    /// The configuration file.
    ///
    /// It is read once, when the gateway starts: what is changed in it counts after a restart (`config check` first). `config
    /// settings` says what can be set, with defaults, units and bounds; the limits and times of the front door are below `front`.
    ///
    /// SIGHUP does not read it again. It reads at once what the gateway otherwise notices by itself: policy documents, members,
    /// and the files of the front door's certificate, key, anchors and revocation lists when their content changed. It is needed
    /// after a directory's password or the national directory's anchors were exchanged, for the front door to use the new ones.
    #[command(subcommand)]
    Config(config::Command),
    /// The store.
    #[command(subcommand)]
    Store(store::Command),
}

/// Does what the arguments say.
pub fn run(arguments: Arguments) -> Result<Answer, Failure> {
    let actor = actor(arguments.actor, &arguments.command)?;
    let context = Context::new(arguments.config, arguments.json, actor, Clock::system());
    match arguments.command {
        Command::Serve => serve::run(&context),
        Command::Member(command) => member::run(command, &context),
        Command::Gate(command) => gate::run(command, &context),
        Command::Exception(command) => exception::run(command, &context),
        Command::Attestation(command) => attestation::run(command, &context),
        Command::Assess(command) => assess::assess(command, &context),
        Command::Check(command) => assess::check(*command, &context),
        Command::Report(command) => report::run(command, &context),
        Command::Release(command) => release::run(command, &context),
        Command::Policy(command) => policy::run(command, &context),
        Command::Sync(command) => sync::run(command, &context),
        Command::Register(command) => register::run(&command, &context),
        Command::Programme(command) => programme::run(&command, &context),
        Command::Audit(command) => audit::run(command, &context),
        Command::Config(command) => config::run(command, &context),
        Command::Store(command) => store::run(command, &context),
    }
}

/// The longest name of an actor.
const ACTOR_CHARS_MAX: usize = 200;

/// Who is asking. The gateway's own name is nobody else's: what is recorded under it, a running gateway takes for its own doing.
fn actor(given: Option<String>, command: &Command) -> Result<String, Failure> {
    let actor = given.or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "unknown".to_owned());
    let plain = |c: char| c.is_alphanumeric() || c == ' ' || c.is_ascii_graphic();
    if actor.chars().count() > ACTOR_CHARS_MAX || !actor.chars().all(plain) {
        return Err(Failure::could_not(format!(
            "an actor is a name of letters, digits and signs that can be seen, {ACTOR_CHARS_MAX} at most: correct --actor or PORTCULLIS_ACTOR"
        )));
    }
    // the gateway itself may run as a user of any name
    if !matches!(command, Command::Serve) && actor.trim().eq_ignore_ascii_case(ACTOR) {
        return Err(Failure::refused(format!(
            "the actor `{ACTOR}` is the gateway itself: say who you are with --actor or PORTCULLIS_ACTOR"
        )));
    }
    Ok(actor)
}
