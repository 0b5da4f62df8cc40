//! For a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use time::OffsetDateTime;

use crate::assess::report::history::moment;
use crate::baseline::assessment::{Assessment, Finding, Verdict};
use crate::policy::terms::Stage;

/// Offenders shown of each finding; the rest is counted.
const OFFENDERS: usize = 10;

/// The whole report. `colour` is for terminals only.
pub fn render(assessment: &Assessment, since: &BTreeMap<String, OffsetDateTime>, colour: bool) -> String {
    let mut out = String::new();
    // writing to a String cannot fail
    let _ = head(&mut out, assessment, colour);
    for finding in ordered(assessment) {
        let _ = body(&mut out, finding, since.get(&finding.control).copied(), colour);
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

fn head(out: &mut String, assessment: &Assessment, colour: bool) -> std::fmt::Result {
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
    for (grant, verdict) in &assessment.grants {
        let (word, code) = if verdict.would_open { ("would open", GREEN) } else { ("would not open", RED) };
        writeln!(out, "  {:<7} {}", grant.as_str(), paint(word, code, colour))?;
        for denial in &verdict.denials {
            let grace = match denial.grace {
                0 => String::new(),
                seconds => format!(", borne for {} days", seconds / 86_400),
            };
            writeln!(out, "          {} {} ({}{grace})", denial.control, denial.verdict, denial.severity)?;
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
    )
}

fn body(
    out: &mut String,
    finding: &Finding,
    since: Option<OffsetDateTime>,
    colour: bool,
) -> std::fmt::Result {
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
        finding.title
    )?;
    if finding.stage < Stage::Enforce {
        match finding.enforce_from {
            Some(from) => writeln!(out, "  does not decide yet; enforced from {}", moment(from))?,
            None => writeln!(out, "  does not decide yet")?,
        }
    }
    if let Some(since) = since {
        writeln!(out, "  since {}", moment(since))?;
    }
    for reason in finding.explanation.iter().take(OFFENDERS) {
        writeln!(out, "  {}: found {}, required {}", reason.fact, reason.found, reason.required)?;
    }
    if let Some(note) = &finding.exception {
        writeln!(out, "  set aside until {} by {}: {}", moment(note.until), note.approver, note.reason)?;
    }
    if !finding.offenders.is_empty() {
        writeln!(out, "  {} of {} offend:", finding.offenders.len(), finding.judged)?;
        for offender in finding.offenders.iter().take(OFFENDERS) {
            let place = if offender.dn.is_empty() { &offender.name } else { &offender.dn };
            // a right is somebody's over the object: the name says whose
            let name = match place.contains(offender.name.as_str()) {
                true => String::new(),
                false => format!(": {}", printable(&offender.name)),
            };
            writeln!(out, "    {}{name} ({})", printable(place), printable(&offender.found))?;
        }
        if finding.offenders.len() > OFFENDERS {
            writeln!(out, "    and {} more", finding.offenders.len() - OFFENDERS)?;
        }
    }
    for line in finding.fix.trim().lines() {
        writeln!(out, "  fix: {line}")?;
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

/// What a directory sent must not steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
