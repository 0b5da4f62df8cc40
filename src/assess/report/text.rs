//! For a terminal.

use std::fmt::Write as _;

use crate::ambient::text::printable;
use crate::assess::report::count::failing;
use crate::assess::report::history::moment;
use crate::assess::report::page::Page;
use crate::assess::report::trend::{Movement, Trend};
use crate::assess::report::words;
use crate::baseline::assessment::{Assessment, Finding, Verdict};
use crate::policy::terms::{Severity, Stage};

/// Offenders shown of each finding; the rest is counted.
const OFFENDERS: usize = 10;
/// Denials shown of each grant, steps of what to do first, and controls of each movement; JSON and HTML have all.
const LINES: usize = 10;

/// The whole report. `colour` is for terminals only.
pub fn render(page: &Page<'_>, colour: bool) -> String {
    let mut out = String::new();
    // writing to a String cannot fail
    let _ = head(&mut out, page, colour);
    let _ = steps(&mut out, page);
    if let Some(trend) = &page.trend {
        let _ = moved(&mut out, trend, &page.assessment.revision);
    }
    let _ = attested(&mut out, page.assessment);
    for finding in ordered(page.assessment) {
        let _ = body(&mut out, finding, page, colour);
    }
    out
}

/// What does not pass, heaviest first.
pub fn ordered(assessment: &Assessment) -> Vec<&Finding> {
    let mut findings: Vec<&Finding> = assessment
        .findings
        .iter()
        .filter(|f| matches!(f.verdict, Verdict::Fail | Verdict::Unknown | Verdict::Excepted))
        .collect();
    let rank = |verdict: Verdict| match verdict {
        Verdict::Fail => 0,
        Verdict::Unknown => 1,
        _ => 2,
    };
    findings.sort_by_key(|f| (std::cmp::Reverse(f.severity), rank(f.verdict)));
    findings
}

fn head(out: &mut String, page: &Page<'_>, colour: bool) -> std::fmt::Result {
    let assessment = page.assessment;
    if let Some(obstacle) = &page.obstacle {
        let said = format!("{}: {}", words::OBSTACLE, printable(obstacle));
        writeln!(out, "{}\n{}\n", paint(&said, RED, colour), words::OBSTACLE_BELOW)?;
    }
    writeln!(
        out,
        "{} against {} {} at {}",
        assessment.member,
        assessment.baseline,
        assessment.revision,
        moment(assessment.assessed_at)
    )?;
    writeln!(
        out,
        "assessment {}, evidence {} of {}",
        assessment.id,
        assessment.evidence_hash.get(..12).unwrap_or(&assessment.evidence_hash),
        moment(assessment.collected_at)
    )?;
    writeln!(out, "{}", words::source(&page.source))?;
    if !page.unregistered.is_empty() {
        writeln!(out, "{}", words::unregistered(&page.unregistered))?;
    }
    for (grant, verdict) in &assessment.grants {
        let (word, code) = if verdict.would_open { ("would open", GREEN) } else { ("would not open", RED) };
        writeln!(out, "  {:<7} {}", grant.as_str(), paint(word, code, colour))?;
        for denial in verdict.denials.iter().take(LINES) {
            let borne = words::borne(page, *grant, denial);
            writeln!(out, "          {} {} ({}{borne})", denial.control, denial.verdict, denial.severity)?;
        }
        if verdict.denials.len() > LINES {
            writeln!(out, "          and {} more", verdict.denials.len() - LINES)?;
        }
    }
    writeln!(
        out,
        "maturity {} of 5, score {} of 1000: {} pass, {} fail, {} unknown, {} excepted, {} not applicable",
        assessment.maturity,
        assessment.score,
        assessment.count(Verdict::Pass),
        assessment.count(Verdict::Fail),
        assessment.count(Verdict::Unknown),
        assessment.count(Verdict::Excepted),
        assessment.count(Verdict::NotApplicable)
    )?;
    let idle: Vec<&Finding> =
        assessment.findings.iter().filter(|f| f.verdict == Verdict::Pass && f.judged == 0).collect();
    let critical = idle.iter().filter(|f| f.severity == Severity::Critical).count();
    match idle.len() {
        0 => Ok(()),
        idle => writeln!(
            out,
            "{idle} of the passes ({critical} of them critical) found nothing to judge; the HTML report and --json say which"
        ),
    }
}

/// What to do first, so that the gates open.
fn steps(out: &mut String, page: &Page<'_>) -> std::fmt::Result {
    if page.first.is_empty() {
        return Ok(());
    }
    writeln!(out, "\ndo first:")?;
    for (number, step) in page.first.iter().enumerate().take(LINES) {
        writeln!(out, "  {:>2}. {}", number + 1, printable(&words::step(step)))?;
        if !step.opens.is_empty() {
            writeln!(out, "      {}", words::opens(&step.opens))?;
        }
    }
    let rest = page.first.get(LINES..).unwrap_or_default();
    if !rest.is_empty() {
        writeln!(out, "      and {} more", rest.len())?;
        for step in rest.iter().filter(|step| !step.opens.is_empty()) {
            writeln!(out, "      {}", words::opens(&step.opens))?;
        }
    }
    Ok(())
}

/// What became different since the assessment before.
fn moved(out: &mut String, trend: &Trend, revision: &str) -> std::fmt::Result {
    writeln!(out)?;
    for line in words::compared(trend, revision) {
        writeln!(out, "{line}")?;
    }
    for movement in Movement::ALL {
        let mine: Vec<_> = trend.changes.iter().filter(|c| c.movement == movement).collect();
        // what stays as it was is shown below, once
        let shown: Vec<_> = mine.iter().filter(|c| !c.is_quiet()).collect();
        if mine.is_empty() {
            continue;
        }
        let quiet = match mine.len() - shown.len() {
            0 => String::new(),
            quiet => format!(", {quiet} of them as before"),
        };
        writeln!(out, "  {}: {}{quiet}", movement.as_str(), mine.len())?;
        for change in shown.iter().take(LINES) {
            writeln!(out, "    {}", words::change(change))?;
        }
        if shown.len() > LINES {
            writeln!(out, "    and {} more", shown.len() - LINES)?;
        }
    }
    Ok(())
}

/// What the member stated, and what passes by that alone.
fn attested(out: &mut String, assessment: &Assessment) -> std::fmt::Result {
    if assessment.attestations.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}:", words::STATED)?;
    for stated in &assessment.attestations {
        writeln!(out, "  {}: {}", stated.subject, printable(&stated.statement))?;
        writeln!(out, "    {}", printable(&words::stated(stated, assessment.assessed_at)))?;
        if let Some(note) = &stated.note {
            writeln!(out, "    note: {}", printable(note))?;
        }
    }
    let passes = assessment.findings.iter().filter(|f| f.verdict == Verdict::Pass && !f.stated.is_empty());
    let passes: Vec<&str> = passes.map(|finding| finding.control.as_str()).collect();
    if passes.is_empty() { Ok(()) } else { writeln!(out, "  pass by it: {}", passes.join(", ")) }
}

fn body(out: &mut String, finding: &Finding, page: &Page<'_>, colour: bool) -> std::fmt::Result {
    let (word, code) = match finding.verdict {
        Verdict::Fail => ("FAIL", RED),
        Verdict::Unknown => ("UNKNOWN", YELLOW),
        _ => ("EXCEPTED", CYAN),
    };
    writeln!(
        out,
        "\n{} {} [{}] {}",
        paint(word, code, colour),
        finding.control,
        finding.severity,
        printable(&finding.title)
    )?;
    for line in words::rests(finding, page.assessment) {
        writeln!(out, "  {line}")?;
    }
    if finding.stage < Stage::Enforce {
        match finding.enforce_from {
            Some(from) => writeln!(out, "  does not decide yet; enforced from {}", moment(from))?,
            None => writeln!(out, "  does not decide yet")?,
        }
    }
    for (closing, at) in page.dated(&finding.control) {
        writeln!(out, "  {}", words::closing(closing, at))?;
    }
    if let Some(since) = page.since.get(&finding.control) {
        writeln!(out, "  since {}", moment(*since))?;
    }
    for reason in finding.explanation.iter().take(OFFENDERS) {
        let (found, required) = (printable(&reason.found), printable(&reason.required));
        writeln!(out, "  {}: found {found}, required {required}", reason.fact)?;
    }
    if let Some(note) = &finding.exception {
        let note = words::set_aside(note, page.assessment.assessed_at);
        writeln!(out, "  set aside {}", printable(&note))?;
    }
    if !finding.offenders.is_empty() {
        writeln!(out, "  {} of {} offend:", failing(finding), finding.judged)?;
        for offender in finding.offenders.iter().take(OFFENDERS) {
            let place = if offender.dn.is_empty() { &offender.name } else { &offender.dn };
            // a right is somebody's over the object: the name says whose
            let name = match place.contains(offender.name.as_str()) {
                true => String::new(),
                false => format!(": {}", printable(&offender.name)),
            };
            writeln!(out, "    {}{name} ({})", printable(place), printable(&offender.found))?;
        }
        let shown = u64::try_from(finding.offenders.len().min(OFFENDERS)).unwrap_or(u64::MAX);
        if failing(finding) > shown {
            writeln!(out, "    and {} more", failing(finding) - shown)?;
        }
    }
    for line in finding.fix.trim().lines() {
        writeln!(out, "  fix: {}", printable(line))?;
    }
    Ok(())
}

const RED: &str = "31;1";
const GREEN: &str = "32;1";
const YELLOW: &str = "33;1";
const CYAN: &str = "36";

fn paint(text: &str, code: &str, colour: bool) -> String {
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}
