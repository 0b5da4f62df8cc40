//! Every offender of every failing control, one a line (RFC 4180); a control that fails or cannot be told without naming anybody has a line
//! of its own, with what was found first.

use crate::ambient::text::printable;
use crate::baseline::assessment::{Assessment, Verdict};

/// With a header line; lines end with CRLF.
pub fn render(assessment: &Assessment) -> String {
    let mut out = String::from("member,control,severity,verdict,name,dn,found,excepted\r\n");
    for finding in &assessment.findings {
        let mut line = |name: &str, dn: &str, found: &str, excepted: bool| {
            let fields = [
                assessment.member.as_str(),
                &finding.control,
                finding.severity.as_str(),
                finding.verdict.as_str(),
                name,
                dn,
                found,
                if excepted { "yes" } else { "no" },
            ];
            out.push_str(&fields.map(field).join(","));
            out.push_str("\r\n");
        };
        for offender in &finding.offenders {
            line(&offender.name, &offender.dn, &offender.found, offender.excepted);
        }
        let told = matches!(finding.verdict, Verdict::Fail | Verdict::Unknown | Verdict::Excepted);
        if told && finding.offenders.is_empty() {
            let found = finding.explanation.first().map(|first| format!("{} {}", first.fact, first.found));
            line("", "", &found.unwrap_or_default(), finding.verdict == Verdict::Excepted);
        }
    }
    out
}

/// Quoted, and harmless to a spreadsheet that takes a leading sign for a formula.
pub fn field(value: &str) -> String {
    let formula = value.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if formula { "'" } else { "" };
    format!("\"{guard}{}\"", printable(value).replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_harmless() {
        assert_eq!(field("CN=a,DC=b"), "\"CN=a,DC=b\"");
        assert_eq!(field("say \"hi\""), "\"say \"\"hi\"\"\"");
        assert_eq!(field("=cmd()"), "\"'=cmd()\"");
        assert_eq!(field("a\u{1b}[2J\u{202e}b"), "\"a\u{fffd}[2J\u{fffd}b\"");
    }
}
