//! `portcullis release`: who would see what, and why not.

use std::collections::BTreeMap;

use clap::{Args, Subcommand, ValueEnum};
use time::{Duration, OffsetDateTime};

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::table::moment;
use crate::config::settings::Application;
use crate::gate::decide::{GateDecision, GateReason, GateState};
use crate::gate::table::Snapshot;
use crate::policy::terms::{Grant, OdsCode, Target};
use crate::release::agreement::Agreements;
use crate::release::explain::{Explanation, Outcome, Permitted, explain};
use crate::release::requester::{Authentication, Category, Requester};
use crate::store::record::GateRecord;

/// Release agreements.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what a requester would see of a directory, by which agreement, or why it is refused; exit code 1 when refused.
    Explain(Explain),
}

/// Who asks what.
#[derive(Debug, Args)]
pub struct Explain {
    /// The directory: a member's ODS code, or `national`.
    #[arg(value_parser = target)]
    pub target: Target,
    /// The kind of requester.
    #[arg(long, value_enum)]
    pub requester: Kind,
    /// The member that the person or connector belongs to. Not for an application: whose it is, the configuration says.
    #[arg(long)]
    pub member: Option<OdsCode>,
    /// The application's name in the configuration. For an application only.
    #[arg(long)]
    pub name: Option<String>,
    /// How the requester proved who it is; by default a person by smartcard, the others by certificate.
    #[arg(long, value_enum)]
    pub authentication: Option<Proof>,
}

/// See [`Authentication`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Proof {
    Smartcard,
    Certificate,
    Password,
}

/// See [`Category`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Person,
    Connector,
    Application,
}

fn target(text: &str) -> Result<Target, String> {
    // as below `o=federation`, where names are the same in capitals and small letters
    if text.eq_ignore_ascii_case(Target::National.unit()) {
        return Ok(Target::National);
    }
    text.parse().map(Target::Member).map_err(|error| format!("{error}, nor `national`"))
}

/// Runs the command.
pub fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    let Command::Explain(asked) = command;
    fitting(&asked)?;
    let faults = |faults: Vec<crate::policy::fault::Fault>| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Failure::could_not(format_args!("the policy does not check:\n{}", lines.join("\n")))
    };
    let set = context.policies()?;
    let agreements = Agreements::compile(set.releases.values()).map_err(faults)?;
    let now = context.clock.now();
    known(&asked, context)?;
    let gates = gates(context.store()?.gates().map_err(Failure::could_not)?, now);
    let requester = requester(&asked, &context.config()?.applications, now);
    let explanation = explain(&requester, &asked.target, &gates, &agreements, now);
    context.print(&explanation, text)?;
    Ok(match explanation.outcome {
        Outcome::Permitted(_) => Answer::Yes,
        Outcome::Refused { .. } => Answer::No,
    })
}

/// Whether what is said of the requester fits its kind: nothing that was typed is passed over.
fn fitting(asked: &Explain) -> Result<(), Failure> {
    let refusal = match (asked.requester, &asked.member, &asked.name) {
        (Kind::Application, Some(_), _) => {
            "--member goes with a person or a connector; the member of an application stands in the configuration: name the \
             application with --name"
        }
        (Kind::Application, None, None) => "an application has a name: say which with --name",
        (Kind::Person | Kind::Connector, _, Some(_)) => {
            "--name goes with an application; a person or connector belongs to a member: say which with --member"
        }
        (Kind::Person | Kind::Connector, None, None) => {
            "a person or connector belongs to a member: say which with --member"
        }
        _ => return Ok(()),
    };
    Err(Failure::refused(refusal))
}

/// Whether the members that are named are there.
fn known(asked: &Explain, context: &Context) -> Result<(), Failure> {
    let target = match &asked.target {
        Target::Member(member) => Some(member),
        Target::National => None,
    };
    let members = context.store()?.members().map_err(Failure::could_not)?;
    let stranger = target
        .into_iter()
        .chain(&asked.member)
        .find(|code| !members.iter().any(|member| member.ods == **code));
    let Some(stranger) = stranger else { return Ok(()) };
    let mut codes: Vec<&str> = members.iter().map(|member| member.ods.as_str()).collect();
    codes.sort_unstable();
    let codes = if codes.is_empty() { "none".to_owned() } else { codes.join(", ") };
    Err(Failure::refused(format_args!("there is no member {stranger}; known are: {codes}")))
}

fn requester(asked: &Explain, applications: &[Application], now: OffsetDateTime) -> Requester {
    let (category, usual) = match asked.requester {
        Kind::Person => (Category::Person, Authentication::Smartcard),
        Kind::Connector => (Category::Connector, Authentication::Certificate),
        Kind::Application => (Category::Application, Authentication::Certificate),
    };
    let authentication = asked.authentication.map_or(usual, |proof| match proof {
        Proof::Smartcard => Authentication::Smartcard,
        Proof::Certificate => Authentication::Certificate,
        Proof::Password => Authentication::Password,
    });
    // an application counts as one of the member that the configuration gives it to
    let listed = applications.iter().find(|application| Some(&application.name) == asked.name.as_ref());
    let member = asked.member.clone().or_else(|| listed.and_then(|application| application.member.clone()));
    Requester {
        category,
        member,
        name: asked.name.clone(),
        id: "explain".to_owned(),
        authentication,
        not_after: now + Duration::DAY,
    }
}

/// The gates as they were last recorded.
fn gates(records: Vec<GateRecord>, now: OffsetDateTime) -> Snapshot {
    let mut gates: BTreeMap<OdsCode, BTreeMap<Grant, GateDecision>> = BTreeMap::new();
    for record in records {
        let state = match (record.state.as_str(), record.until) {
            ("open", _) => GateState::Open,
            ("held", Some(until)) => GateState::Held { until },
            _ => GateState::Closed,
        };
        let reason = |text| GateReason { code: "recorded".to_owned(), control: None, text };
        let decision = GateDecision {
            state,
            reasons: record.reasons.into_iter().map(reason).collect(),
            assessment: record.assessment,
            valid_until: record.until.or(Some(now + Duration::HOUR)),
        };
        gates.entry(record.member).or_default().insert(record.grant, decision);
    }
    Snapshot::of(gates)
}

/// What a permitted requester sees.
fn seen(permitted: &Permitted) -> Vec<String> {
    let mut lines = vec![
        format!("permitted by `{}`: {}", permitted.agreement, permitted.purpose),
        format!("shown       {}", permitted.attributes.join(" ")),
        format!("hidden      {}", permitted.hidden.join(" ")),
        format!("entries     {}", permitted.entries.as_deref().unwrap_or("all")),
    ];
    lines.extend(permitted.entries_by_address.iter().map(|filter| format!("by address  {filter}")));
    lines.extend(permitted.without_contact.iter().map(|level| {
        let (values, hidden) = (level.values.join(" or "), level.hidden.join(" "));
        format!("without     {hidden} where {} is {values}", level.attribute)
    }));
    lines.extend(permitted.refused_filters.iter().map(|words| format!("not taken   filters with {words}")));
    let (size, seconds) = (permitted.size_limit, permitted.time_limit_seconds);
    lines.push(format!("at most     {size} entries and {seconds} s for one search"));
    lines.push(format!("rate        {} a second, {} at once", permitted.rate, permitted.in_flight));
    lines.push(format!("until       {}", moment(permitted.until)));
    lines
}

fn text(explanation: &Explanation) -> String {
    let mut lines = Vec::new();
    match &explanation.outcome {
        Outcome::Permitted(permitted) => lines.extend(seen(permitted)),
        Outcome::Refused { kind, code, text, reasons } => {
            let text = if text.is_empty() { String::new() } else { format!(", `{text}`") };
            lines.push(format!("refused ({kind}): the requester is told {code}{text}"));
            lines.extend(reasons.iter().map(|reason| format!("because     {reason}")));
        }
    }
    for gate in &explanation.gates {
        let (open, state) = (if gate.open { "open" } else { "closed" }, gate.state);
        let reasons = gate.reasons.join("; ");
        let line = format!("gate        {} is {open} (decided {state}) {reasons}", gate.member);
        lines.push(line.trim_end().to_owned());
    }
    for agreement in &explanation.agreements {
        let why = agreement.why_not.as_deref().unwrap_or("matches");
        lines.push(format!("agreement   {} {why}", agreement.id));
    }
    lines.join("\n")
}
