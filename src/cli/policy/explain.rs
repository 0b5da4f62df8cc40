//! `portcullis policy explain`: one verdict about one member, taken apart.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use time::OffsetDateTime;

use crate::ambient::text::printable;
use crate::assess::judge::{compile, judge};
use crate::assess::report::closings::{Because, Gates, Rules, closings};
use crate::baseline::assessment::{Assessment, ExceptionNote, Finding, Offender, Reason, Verdict};
use crate::baseline::compile::{CompiledControl, CompiledRequirement};
use crate::baseline::facts::{Evidence, Provenance};
use crate::baseline::stated;
use crate::baseline::trace::{Step, Trace, Which, trace};
use crate::baseline::truth::Truth;
use crate::baseline::value::duration_text;
use crate::cli::assess::gates;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::policy::{control, indent, look, sound};
use crate::cli::table::{day, moment};
use crate::policy::documents::Tolerance;
use crate::policy::fault::Place;
use crate::policy::terms::{Grant, OdsCode, Stage};

/// Offenders that the text names; JSON has all that the assessment names.
const NAMED: usize = 10;

/// Take the verdict of one control about one member apart: each test, what was found and what is required, where the policy says so,
/// and which search or probe found it, from which controller, when. The latest recorded evidence is judged anew; nothing is asked of
/// the member and nothing is kept.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The member.
    #[arg(long, value_name = "ODS")]
    member: OdsCode,
    /// The control's id.
    control: String,
    /// Take this record apart, by its name or DN; the most telling one when left out.
    #[arg(long, value_name = "NAME")]
    object: Option<String>,
    /// Judge by this policy folder or bundle; the set that counts for the gateway when left out.
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
}

#[derive(Serialize)]
struct Explained<'a> {
    member: &'a OdsCode,
    control: &'a str,
    title: &'a str,
    severity: &'a str,
    stage: Stage,
    #[serde(with = "time::serde::rfc3339::option")]
    enforce_from: Option<OffsetDateTime>,
    verdict: Verdict,
    /// Grants that it denies, at once or when a grace ends.
    denies: Vec<Grant>,
    /// Those of them that a grace bears it for first, where the gate is open.
    graces: Vec<Grace>,
    place: String,
    policy_hash: &'a str,
    evidence_hash: &'a str,
    #[serde(with = "time::serde::rfc3339")]
    collected_at: OffsetDateTime,
    for_each: Option<&'a str>,
    judged: u64,
    failing: u64,
    excepted: u64,
    /// Records of which it cannot be told whether they fail.
    untold: u64,
    tolerated: String,
    /// Whether records are counted, and none has to hold anything.
    counts: bool,
    trace: &'a Trace,
    explanation: &'a [Reason],
    sources: Vec<&'a Provenance>,
    offenders: &'a [Offender],
    exception: &'a Option<ExceptionNote>,
    stated: &'a [String],
    why: &'a str,
    fix: &'a str,
}

/// How long a gate that is open bears the control.
#[derive(Serialize)]
struct Grace {
    grant: Grant,
    seconds: i64,
    /// When it ends; none: the gate is not open, and no grace opens it.
    #[serde(with = "time::serde::rfc3339::option")]
    until: Option<OffsetDateTime>,
}

/// Runs the command. The answer is no when the control fails, and could not tell when it is unknown.
pub fn run(arguments: Arguments, context: &Context) -> Result<Answer, Failure> {
    let set = match sound(look(arguments.policy, context)?, context)? {
        Ok(taken) => taken.set,
        Err(answer) => return Ok(answer),
    };
    let written = control(&set, &arguments.control)?;
    let ods = &arguments.member;
    let store = context.store()?;
    let member = store.member(ods).map_err(Failure::could_not)?;
    let member = member.ok_or_else(|| Failure::refused(format!("there is no member {ods}")))?;
    let record = store.latest_evidence(ods).map_err(Failure::could_not)?.ok_or_else(|| {
        Failure::could_not(format!("{ods} has no evidence yet: run `portcullis assess {ods}`"))
    })?;
    let evidence = Evidence::read(record.document.open()).map_err(Failure::could_not)?;
    let granted = store.exceptions(Some(ods)).map_err(Failure::could_not)?;
    let (profile, now) = (member.profile.as_deref(), context.clock.now());
    let compiled = compile(&set, profile, ods).map_err(Failure::could_not)?;
    let assessment = judge(&set, profile, &evidence, &granted, now).map_err(Failure::could_not)?;
    let judged = compiled.controls.iter().find(|c| c.id == written.id);
    let (Some(judged), Some(finding)) = (judged, assessment.finding(&written.id)) else {
        return Err(Failure::refused(format!(
            "the baseline {} does not judge `{}`: it is a draft, or no file of `include` has it",
            compiled.id, written.id
        )));
    };
    let facts = stated::in_force(&compiled, &evidence, now);
    let which = arguments.object.as_deref().map_or(Which::Telling, Which::Called);
    let trace = trace(judged, &facts, now, which).ok_or_else(|| {
        let collection = judged.for_each.as_deref().unwrap_or_default();
        let name = arguments.object.as_deref().unwrap_or_default();
        Failure::refused(format!("no record of `{collection}` has the name or DN `{name}`"))
    })?;
    let gates = gates(store.as_ref(), ods).map_err(Failure::could_not)?;
    let graces = graces(&assessment, finding, &Rules::of(&compiled), &gates);
    let explained = explained(&assessment, finding, (judged, &written.at), &evidence, (&trace, graces));
    context.print(&explained, text)?;
    Ok(answer(finding))
}

fn explained<'a>(
    assessment: &'a Assessment,
    finding: &'a Finding,
    (control, at): (&'a CompiledControl, &Place),
    evidence: &'a Evidence,
    (trace, graces): (&'a Trace, Vec<Grace>),
) -> Explained<'a> {
    let denies =
        assessment.grants.iter().filter(|(_, v)| v.denials.iter().any(|d| d.control == finding.control));
    Explained {
        member: &assessment.member,
        control: &finding.control,
        title: &finding.title,
        severity: finding.severity.as_str(),
        stage: finding.stage,
        enforce_from: finding.enforce_from,
        verdict: finding.verdict,
        denies: denies.map(|(grant, _)| *grant).collect(),
        graces,
        place: at.to_string(),
        policy_hash: &assessment.policy_hash,
        evidence_hash: &evidence.hash,
        collected_at: evidence.collected_at,
        for_each: control.for_each.as_deref(),
        judged: finding.judged,
        failing: finding.failing,
        excepted: finding.excepted,
        untold: trace.untold,
        tolerated: tolerated(control),
        counts: matches!(control.require, CompiledRequirement::Count(_)),
        trace,
        explanation: &finding.explanation,
        sources: sources(evidence, control, trace),
        offenders: &finding.offenders,
        exception: &finding.exception,
        stated: &finding.stated,
        why: &finding.why,
        fix: &finding.fix,
    }
}

/// Where a grace bears the control first, as the gate counts it.
fn graces(assessment: &Assessment, finding: &Finding, rules: &Rules, gates: &Gates) -> Vec<Grace> {
    let closings = closings(assessment, rules, Some(gates));
    let mine = assessment.grants.iter().filter_map(|(grant, verdict)| {
        let denial = verdict.denials.iter().find(|d| d.control == finding.control && d.grace > 0)?;
        let closing = closings.iter().find(|c| c.control == finding.control && c.grant == *grant)?;
        let passes = gates.passes.get(grant).copied().unwrap_or(false);
        // one that is over bears nothing any more
        let until = closing.at.filter(|_| closing.because == Because::GraceEnds);
        (until.is_some() || !passes).then_some(Grace { grant: *grant, seconds: denial.grace, until })
    });
    mine.collect()
}

fn answer(finding: &Finding) -> Answer {
    match finding.verdict {
        Verdict::Fail => Answer::No,
        Verdict::Unknown => Answer::Unknown,
        Verdict::Pass | Verdict::NotApplicable | Verdict::Excepted => Answer::Yes,
    }
}

fn tolerated(control: &CompiledControl) -> String {
    match control.tolerate {
        Tolerance::Count(count) => count.to_string(),
        Tolerance::Share(hundredths) => format!("{}%", f64::from(hundredths) / 100.0),
    }
}

/// The searches and probes that gave what is shown.
fn sources<'e>(evidence: &'e Evidence, control: &CompiledControl, trace: &Trace) -> Vec<&'e Provenance> {
    let steps = trace.when.iter().chain(&trace.filter).chain(&trace.require);
    let facts: BTreeSet<&str> =
        steps.map(|step| step.what.as_str()).chain(control.for_each.as_deref()).collect();
    let gave = |given: &str| {
        let of = |fact: &&str| **fact == *given || fact.split('.').next() == Some(given);
        facts.iter().any(of)
    };
    evidence.provenance.iter().filter(|provenance| gave(&provenance.facts)).collect()
}

fn text(it: &Explained<'_>) -> String {
    let mut out = format!("{}: {} ({})\n{}\n", it.member, it.control, it.severity, it.title);
    verdict(&mut out, it);
    steps(&mut out, "applies when", &it.trace.when);
    if it.counts {
        steps(&mut out, "of their number is required", &it.trace.require);
    }
    if let Some((name, dn)) = &it.trace.object {
        out.push_str(&format!("\nthe record {name} ({dn})\n"));
    }
    steps(&mut out, "is judged where", &it.trace.filter);
    if !it.counts {
        steps(&mut out, "is required", &it.trace.require);
    }
    let seen = |fact: &str| it.trace.require.iter().any(|step| step.what == fact);
    for reason in it.explanation.iter().filter(|reason| !seen(&reason.fact)) {
        out.push_str(&format!("\n  {}: {}; asked: {}\n", reason.fact, reason.found, reason.required));
    }
    offenders(&mut out, it);
    out.push_str("\nfound by\n");
    for source in &it.sources {
        let on =
            if source.controller.is_empty() { String::new() } else { format!(" on {}", source.controller) };
        out.push_str(&format!("  {}: {}{on} at {}\n", source.facts, source.by, moment(source.at)));
    }
    out.push_str(&format!(
        "\nwritten at {}, set {}\nevidence {} of {}\n\nWhy: {}\n\nFix:\n{}",
        it.place,
        it.policy_hash,
        it.evidence_hash,
        moment(it.collected_at),
        it.why.trim_end(),
        indent(it.fix)
    ));
    out
}

/// Which grants it denies: at once, when a grace ends, or where the gate is not open.
fn denies(it: &Explained<'_>) -> String {
    let borne = |grant: &&Grant| it.graces.iter().any(|grace| grace.grant == **grant);
    let at_once: Vec<String> = it.denies.iter().filter(|g| !borne(g)).map(ToString::to_string).collect();
    let at_once = (!at_once.is_empty()).then(|| format!("it denies {}", at_once.join(" and "))).into_iter();
    let later = it.graces.iter().map(|Grace { grant, seconds, until }| {
        let grace = duration_text(*seconds);
        match until {
            Some(until) => format!("it denies {grant} from {}, when its grace of {grace} ends", day(*until)),
            None => {
                format!("it denies {grant} after a grace of {grace} where the gate is open, else at once")
            }
        }
    });
    let all: Vec<String> = at_once.chain(later).collect();
    if all.is_empty() { "it denies nothing".to_owned() } else { all.join("; ") }
}

fn verdict(out: &mut String, it: &Explained<'_>) {
    let from = it.enforce_from.map(|from| format!(", enforced from {}", day(from))).unwrap_or_default();
    out.push_str(&format!("\nverdict  {}; {}\nstage    {}{from}\n", it.verdict, denies(it), it.stage));
    if let Some(collection) = it.for_each {
        let some = |count: u64, what: &str| match count {
            0 => String::new(),
            count => format!(", {count} {what}"),
        };
        let (untold, set_aside) = (some(it.untold, "could not be told"), some(it.excepted, "set aside"));
        out.push_str(&match it.counts {
            true => {
                format!("records  {} of {collection} counted{untold}\n", it.judged.saturating_sub(it.untold))
            }
            false => format!(
                "records  {} of {collection} judged, {} fail{untold}{set_aside}, {} borne\n",
                it.judged, it.failing, it.tolerated
            ),
        });
    }
    if let Some(exception) = it.exception {
        out.push_str(&format!(
            "set aside until {} by {}: {}\n",
            day(exception.until - time::Duration::seconds(1)),
            printable(&exception.approver),
            printable(&exception.reason)
        ));
    }
    if !it.stated.is_empty() {
        out.push_str(&format!("stated by the member, not measured: {}\n", it.stated.join(", ")));
    }
}

fn offenders(out: &mut String, it: &Explained<'_>) {
    let named: Vec<&Offender> = it.offenders.iter().take(NAMED).collect();
    if named.is_empty() {
        return;
    }
    out.push_str("\nwhat fails\n");
    for offender in &named {
        let aside = if offender.excepted { " (set aside)" } else { "" };
        let (name, found) = (printable(&offender.name), printable(&offender.found));
        out.push_str(&format!("  {name}  {found}{aside}\n"));
    }
    let more = it.failing.saturating_sub(u64::try_from(named.len()).unwrap_or(0));
    if more > 0 {
        out.push_str(&format!("  and {more} more\n"));
    }
}

fn steps(out: &mut String, what: &str, steps: &[Step]) {
    if steps.is_empty() {
        return;
    }
    out.push_str(&format!("\n{what}\n"));
    for step in steps {
        let truth = match step.truth {
            Truth::True => "yes",
            Truth::False => "no ",
            Truth::Unknown => "?  ",
        };
        let pad = "  ".repeat(step.depth);
        let test = match (&step.found, &step.required) {
            (Some(found), Some(required)) => printable(&format!(": {found}; asked: {required}")),
            _ => String::new(),
        };
        let place = step.place.as_ref().map(|place| format!("  [{place}]")).unwrap_or_default();
        out.push_str(&format!("  {truth} {pad}{}{test}{place}\n", step.what));
    }
}
