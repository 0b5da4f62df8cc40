//! `portcullis member list` and `portcullis member show`.

use serde::Serialize;

use crate::ambient::text::printable;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::member::answer::standing;
use crate::cli::table::{day, moment, table};
use crate::policy::people::Passwords;
use crate::policy::terms::{Grant, OdsCode};
use crate::store::member::{Member, Transition};
use crate::store::record::GateRecord;

/// A member with its gates.
#[derive(Debug, Serialize)]
struct Line {
    member: Member,
    gates: Vec<GateRecord>,
}

/// One member in full.
#[derive(Debug, Serialize)]
struct Page {
    member: Member,
    gates: Vec<GateRecord>,
    transitions: Vec<Transition>,
    /// When it was last assessed and by which assessment.
    assessment: Option<Assessed>,
}

#[derive(Debug, Serialize)]
struct Assessed {
    id: String,
    #[serde(with = "time::serde::rfc3339")]
    at: time::OffsetDateTime,
}

/// Lists every member.
pub fn list(context: &Context) -> Result<Answer, Failure> {
    let store = context.store()?;
    let gates = store.gates().map_err(Failure::could_not)?;
    let members = store.members().map_err(Failure::could_not)?;
    let lines: Vec<Line> = members
        .into_iter()
        .map(|member| {
            let gates = gates.iter().filter(|gate| gate.member == member.ods).cloned().collect();
            Line { member, gates }
        })
        .collect();
    context.print(&lines, |lines| {
        if lines.is_empty() {
            return "no members; the first comes with `portcullis member request`".to_owned();
        }
        let rows: Vec<[String; 6]> = lines.iter().map(row).collect();
        table(["member", "name", "state", "since", "lookup", "sync"], &rows)
    })?;
    Ok(Answer::Yes)
}

fn row(line: &Line) -> [String; 6] {
    let member = &line.member;
    [
        member.ods.to_string(),
        member.name.clone(),
        member.state.to_string(),
        moment(member.state_since),
        gate(&line.gates, Grant::Lookup),
        gate(&line.gates, Grant::Sync),
    ]
}

fn gate(gates: &[GateRecord], grant: Grant) -> String {
    // a gate that was never decided is closed
    gates.iter().find(|gate| gate.grant == grant).map_or("closed", |gate| &gate.state).to_owned()
}

/// Shows one member.
pub fn show(ods: &OdsCode, context: &Context) -> Result<Answer, Failure> {
    let member = standing(context, ods)?;
    let store = context.store()?;
    let gates = store.gates().map_err(Failure::could_not)?;
    let transitions = store.transitions(ods).map_err(Failure::could_not)?;
    let latest = store.recent_assessments(ods, 1).map_err(Failure::could_not)?;
    let assessment = latest.first().map(|a| Assessed { id: a.id.clone(), at: a.assessed_at });
    let gates = gates.into_iter().filter(|gate| gate.member == *ods).collect();
    context.print(&Page { member, gates, transitions, assessment }, text)?;
    Ok(Answer::Yes)
}

fn text(page: &Page) -> String {
    let (member, connection) = (&page.member, &page.member.connection);
    let mut lines = vec![
        format!("{}  {}", member.ods, member.name),
        format!(
            "state        {} since {}: {}",
            member.state,
            moment(member.state_since),
            member.state_reason
        ),
    ];
    for grant in Grant::ALL {
        let record = page.gates.iter().find(|gate| gate.grant == grant);
        let why = record.map_or_else(
            || "never decided".to_owned(),
            |gate| format!("since {}: {}", moment(gate.at), gate.reasons.join("; ")),
        );
        lines.push(format!("{:12} {} {why}", grant.as_str(), gate(&page.gates, grant)));
    }
    let assessed = page.assessment.as_ref();
    lines.push(assessed.map_or_else(
        || format!("assessed     never; `portcullis assess {}` does it now", member.ods),
        |a| format!("assessed     {} ({})", moment(a.at), a.id),
    ));
    for controller in &connection.controllers {
        lines.push(format!(
            "controller   {}:{} as {}",
            controller.host,
            controller.port,
            controller.certificate_name()
        ));
    }
    lines.push(format!("base         {}", connection.base_dn));
    lines.push(format!("bind         {} with the password in {}", connection.bind_dn, connection.password));
    for connector in &member.connectors {
        let (subject, sha256) = (&connector.subject, &connector.sha256);
        lines.push(format!("connector    {subject} until {} ({sha256})", day(connector.not_after)));
    }
    for (what, names) in [("mail", &member.mail_domains), ("upn", &member.upn_suffixes)] {
        if !names.is_empty() {
            lines.push(format!("{what:12} {}", names.iter().cloned().collect::<Vec<_>>().join(" ")));
        }
    }
    for mapping in &member.people.card_mapping {
        lines.push(format!("card by      {mapping}"));
    }
    for issuer in &member.people.card_issuers {
        lines.push(format!("card issuer  {} (key {})", issuer.subject, issuer.key_sha256));
    }
    if member.people.passwords == Passwords::Forward {
        lines.push("passwords    proven at its directory, where a release agreement names them".to_owned());
    }
    if let Some(key) = &member.attested.key {
        let kept = member.attested.held().attestations.len();
        lines.push(format!(
            "attests with {key}: {kept} attestations, see `portcullis attestation list {}`",
            member.ods
        ));
    }
    // each is one line, whatever names and reasons hold
    let mut lines: Vec<String> = lines.iter().map(|line| printable(line)).collect();
    lines.push(String::new());
    let rows: Vec<[String; 4]> = page.transitions.iter().map(step).collect();
    lines.push(table(["when", "to", "by", "why"], &rows));
    lines.join("\n")
}

fn step(step: &Transition) -> [String; 4] {
    [moment(step.at), step.to.to_string(), step.actor.clone(), step.reason.clone()]
}
