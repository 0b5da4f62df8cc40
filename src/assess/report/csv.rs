//! Every offender of every failing control, one a line (RFC 4180).

use crate::ambient::text::printable;
use crate::baseline::assessment::Assessment;

/// With a header line; lines end with CRLF.
pub fn render(assessment: &Assessment) -> String {
    let mut out = String::from("member,control,severity,verdict,name,dn,found,excepted\r\n");
    for finding in &assessment.findings {
        for offender in &finding.offenders {
            let fields = [
                assessment.member.as_str(),
                &finding.control,
                finding.severity.as_str(),
                finding.verdict.as_str(),
                &offender.name,
                &offender.dn,
                &offender.found,
                if offender.excepted { "yes" } else { "no" },
            ];
            out.push_str(&fields.map(field).join(","));
            out.push_str("\r\n");
        }
    }
    out
}

/// Quoted, and harmless to a spreadsheet that takes a leading sign for a formula.
fn field(value: &str) -> String {
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
