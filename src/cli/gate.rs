//! `portcullis gate`: what the gates are and how they came to be so.

use clap::Subcommand;

use crate::ambient::text::printable;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::live::{Gates, Live};
use crate::cli::member::answer::standing;
use crate::cli::table::{moment, table};
use crate::policy::terms::{Grant, OdsCode};
use crate::store::record::GateRecord;

/// Gates.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the gates of every member, and whether a gateway keeps them now.
    List,
    /// Show one member's gates with their reasons; exit code 0 when all are open, 1 when one is not, or nothing passes now
    /// because the gateway is not ready or none runs.
    Show { member: OdsCode },
    /// Show how a member's gates changed, newest first.
    History {
        member: OdsCode,
        /// Only this grant: lookup or sync.
        #[arg(long, value_parser = grant)]
        grant: Option<Grant>,
        /// How many changes.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
}

fn grant(text: &str) -> Result<Grant, String> {
    Grant::ALL
        .into_iter()
        .find(|grant| grant.as_str() == text)
        .ok_or_else(|| "a grant is lookup or sync".to_owned())
}

/// Runs the command.
pub fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    let store = context.store()?;
    match command {
        Command::List => {
            let gates = store.gates().map_err(Failure::could_not)?;
            let gates = Gates { live: Live::ask(context.config()?.listen.metrics), gates };
            context.print(&gates, |gates| {
                gates.text(|gates| records(gates, "no gate was decided yet: every gate is closed"))
            })?;
            Ok(Answer::Yes)
        }
        Command::Show { member } => {
            standing(context, &member)?;
            let mut gates = store.gates().map_err(Failure::could_not)?;
            gates.retain(|gate| gate.member == member);
            let open = gates.iter().filter(|gate| gate.state != "closed").count();
            let gates = Gates { live: Live::ask(context.config()?.listen.metrics), gates };
            context.print(&gates, |gates| gates.text(explained))?;
            let pass = gates.live.is_ready() && open == Grant::ALL.len();
            Ok(if pass { Answer::Yes } else { Answer::No })
        }
        Command::History { member, grant, limit } => {
            standing(context, &member)?;
            let history = store.gate_history(&member, grant, limit).map_err(Failure::could_not)?;
            context.print(&history, |history| records(history, "its gates never changed"))?;
            Ok(Answer::Yes)
        }
    }
}

fn records(gates: &[GateRecord], none: &str) -> String {
    if gates.is_empty() {
        return none.to_owned();
    }
    let rows: Vec<[String; 6]> = gates
        .iter()
        .map(|gate| {
            [
                gate.member.to_string(),
                gate.grant.to_string(),
                state(gate),
                moment(gate.at),
                gate.assessment.clone().unwrap_or_default(),
                first_reason(gate),
            ]
        })
        .collect();
    table(["member", "grant", "gate", "since", "assessment", "why"], &rows)
}

/// Each gate with every reason on a line of its own.
fn explained(gates: &[GateRecord]) -> String {
    if gates.is_empty() {
        return "no gate was decided yet: both are closed".to_owned();
    }
    let mut text = String::new();
    for gate in gates {
        let (member, grant, state, since) = (&gate.member, gate.grant, state(gate), moment(gate.at));
        text.push_str(&format!("{member} {grant}: {state} since {since}"));
        if let Some(assessment) = &gate.assessment {
            text.push_str(&format!(" (assessment {assessment})"));
        }
        text.push('\n');
        for reason in &gate.reasons {
            text.push_str(&format!("  {}\n", printable(reason)));
        }
    }
    if let Some(gate) = gates.iter().find(|gate| gate.state != "open") {
        text.push_str(&format!("the fixes: portcullis assess {}\n", gate.member));
    }
    text
}

fn state(gate: &GateRecord) -> String {
    gate.until.map_or_else(|| gate.state.clone(), |until| format!("{} until {}", gate.state, moment(until)))
}

fn first_reason(gate: &GateRecord) -> String {
    let more = gate.reasons.len().saturating_sub(1);
    let first = gate.reasons.first().cloned().unwrap_or_default();
    if more == 0 { first } else { format!("{first} (and {more} more: portcullis gate show {})", gate.member) }
}
