//! One HTML file without any other, fit for printing.

use maud::{DOCTYPE, Markup, html};

use crate::ambient::text::{printable, printable_lines};
use crate::assess::report::count::failing;
use crate::assess::report::history::moment;
use crate::assess::report::page::Page;
use crate::assess::report::text::ordered;
use crate::assess::report::trend::{Movement, Trend};
use crate::assess::report::words;
use crate::baseline::assessment::{Assessment, Finding, Verdict};
use crate::policy::terms::Stage;

/// Offenders shown of each finding; the rest is counted, and the CSV has all.
const OFFENDERS: usize = 50;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#111}\
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:0}section{border:1px solid #bbb;border-left-width:6px;padding:.8rem 1rem;\
margin:1rem 0;break-inside:avoid}.fail{border-left-color:#b00020}.unknown{border-left-color:#9a6700}\
.excepted{border-left-color:#0550ae}table{border-collapse:collapse;width:100%}td,th{border:1px solid #ccc;\
padding:.2rem .5rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}pre{white-space:pre-wrap;background:#f4f4f4;\
padding:.5rem}.yes{color:#116329;font-weight:600}.no{color:#b00020;font-weight:600}\
@media print{body{margin:0;max-width:none;font-size:11px}a{color:inherit}}";

/// The whole document.
pub fn render(page: &Page<'_>) -> String {
    let assessment = page.assessment;
    let title = format!("{}: security baseline {}", assessment.member, assessment.baseline);
    let whole = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                (summary(page))
                @if !page.first.is_empty() { (steps(page)) }
                @if let Some(trend) = &page.trend { (moved(trend, &assessment.revision)) }
                @if !assessment.attestations.is_empty() { (attested(assessment)) }
                @for finding in ordered(assessment) { (section(finding, page)) }
                (passed(assessment))
            }
        }
    };
    whole.into_string()
}

fn summary(page: &Page<'_>) -> Markup {
    let assessment = page.assessment;
    html! {
        @if let Some(obstacle) = &page.obstacle {
            p.no { (words::OBSTACLE) ": " (printable(obstacle)) "." }
            p { (words::OBSTACLE_BELOW) "." }
        }
        p {
            "Assessed " (moment(assessment.assessed_at)) " from evidence of " (moment(assessment.collected_at))
            ". Revision " (assessment.revision) ", maturity " (assessment.maturity) " of 5, score "
            (assessment.score) " of 1000."
        }
        p { "Evidence: " (words::source(&page.source)) "." }
        @if !page.unregistered.is_empty() { p { "Measured " (words::unregistered(&page.unregistered)) "." } }
        table {
            tr { th { "Grant" } th { "Would open" } th { "What denies it" } }
            @for (grant, verdict) in &assessment.grants {
                tr {
                    td { (grant) }
                    @if verdict.would_open { td.yes { "yes" } } @else { td.no { "no" } }
                    td {
                        @for denial in &verdict.denials {
                            div {
                                (printable(&denial.title)) " (" (denial.severity) ", " (denial.verdict)
                                (words::borne(page, *grant, denial)) ")"
                            }
                        }
                    }
                }
            }
        }
        p { small { "Assessment " (assessment.id) ", evidence " (assessment.evidence_hash) ", policy " (assessment.policy_hash) } }
    }
}

/// What to do first, so that the gates open.
fn steps(page: &Page<'_>) -> Markup {
    html! {
        h2 { "Do first" }
        ol {
            @for step in &page.first {
                li {
                    (printable(&words::step(step))) "."
                    @if !step.opens.is_empty() { " " b { (words::opens(&step.opens)) "." } }
                }
            }
        }
    }
}

/// What became different since the assessment before.
fn moved(trend: &Trend, revision: &str) -> Markup {
    let of = |movement| trend.changes.iter().filter(move |c| c.movement == movement);
    html! {
        h2 { "What changed" }
        @for line in words::compared(trend, revision) { p { (line) "." } }
        table {
            @for movement in Movement::ALL {
                @if of(movement).next().is_some() {
                    tr {
                        th { (movement.as_str()) }
                        td { @for change in of(movement) { div { (words::change(change)) } } }
                    }
                }
            }
        }
    }
}

/// What the member stated.
fn attested(assessment: &Assessment) -> Markup {
    html! {
        h2 { "Attestations: " (words::STATED) }
        table {
            tr { th { "Fact" } th { "Statement" } th { "Attested" } }
            @for stated in &assessment.attestations {
                tr {
                    td { code { (stated.subject) } }
                    td {
                        (printable(&stated.statement))
                        @if let Some(note) = &stated.note { div { small { "Note: " (printable(note)) } } }
                    }
                    td class=[stated.problem.as_ref().map(|_| "no")] { (printable(&words::stated(stated, assessment.assessed_at))) }
                }
            }
        }
    }
}

fn section(finding: &Finding, page: &Page<'_>) -> Markup {
    let shown = u64::try_from(finding.offenders.len().min(OFFENDERS)).unwrap_or(u64::MAX);
    html! {
        section class=(finding.verdict.as_str()) id=(finding.control) {
            h2 { (printable(&finding.title)) }
            p { (finding.verdict) ", " (finding.severity) ", control " code { (finding.control) }
                @if let Some(since) = page.since.get(&finding.control) { ", since " (moment(*since)) } }
            @for line in words::rests(finding, page.assessment) { p { i { (line) "." } } }
            @if finding.stage < Stage::Enforce {
                p { "Does not decide yet" @if let Some(from) = finding.enforce_from { "; enforced from " (moment(from)) } "." }
            }
            @for (closing, at) in page.dated(&finding.control) { p { b { (words::closing(closing, at)) "." } } }
            @if !finding.why.is_empty() { p { (printable_lines(&finding.why)) } }
            @if !finding.explanation.is_empty() {
                table {
                    tr { th { "Fact" } th { "Found" } th { "Required" } th { "From" } }
                    @for reason in finding.explanation.iter().take(OFFENDERS) {
                        tr { td { (reason.fact) } td { (printable(&reason.found)) } td { (printable(&reason.required)) } td { (printable(&reason.provenance)) } }
                    }
                }
            }
            @if let Some(note) = &finding.exception {
                p { "Set aside " (printable(&words::set_aside(note, page.assessment.assessed_at))) }
            }
            @if !finding.offenders.is_empty() {
                p { (failing(finding)) " of " (finding.judged) " offend." }
                table {
                    tr { th { "Name" } th { "DN" } th { "Found" } }
                    @for offender in finding.offenders.iter().take(OFFENDERS) {
                        tr { td { (printable(&offender.name)) } td { (printable(&offender.dn)) } td { (printable(&offender.found)) } }
                    }
                }
                @if failing(finding) > shown { p { "And " (failing(finding) - shown) " more." } }
            }
            @if !finding.fix.is_empty() { p { "Fix:" } pre { (printable_lines(finding.fix.trim())) } }
        }
    }
}

fn passed(assessment: &Assessment) -> Markup {
    html! {
        h2 { "Everything else" }
        table {
            @for finding in assessment.findings.iter().filter(|f| matches!(f.verdict, Verdict::Pass | Verdict::NotApplicable)) {
                tr {
                    td { (printable(&finding.title)) }
                    td {
                        (finding.verdict)
                        @if finding.verdict == Verdict::Pass { @if let Some(judged) = words::judged(finding) { ", " (judged) } }
                        @if !finding.stated.is_empty() { ", " (words::STATED) }
                    }
                }
            }
        }
    }
}
