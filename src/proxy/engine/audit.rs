//! One JSON line per operation: who asked what of whom, what was decided, how it ended. No value ever: of a filter
//! only its shape, of a name only the mount it lies in.

use time::OffsetDateTime;

use crate::ldap::filter::Filter;
use crate::policy::terms::Target;
use crate::release::requester::Requester;

/// A filter's shape is cut at this many bytes; attribute names are the client's and may be long.
const SHAPE_BYTES: usize = 512;

/// What the first half of a record says.
pub struct Head<'a> {
    /// Correlation id: shard, then a number that never comes again in this process.
    pub shard: usize,
    pub serial: u64,
    pub connection: u64,
    pub at: OffsetDateTime,
    pub requester: Option<&'a Requester>,
    pub operation: &'static str,
    pub target: Option<&'a Target>,
}

/// Writes the first half, to be kept with the operation.
pub fn head(out: &mut Vec<u8>, head: &Head<'_>) {
    out.extend_from_slice(b"{\"at_us\":");
    let seconds = u64::try_from(head.at.unix_timestamp()).unwrap_or(0);
    number(out, seconds * 1_000_000 + u64::from(head.at.microsecond()));
    out.extend_from_slice(b",\"operation_id\":\"");
    number(out, head.shard as u64);
    out.push(b'-');
    number(out, head.serial);
    out.extend_from_slice(b"\",\"connection\":");
    number(out, head.connection);
    out.extend_from_slice(b",\"requester\":");
    match head.requester {
        Some(requester) => {
            text(out, requester.id.as_bytes());
            field(out, "category", requester.category.as_str());
            field(out, "authentication", requester.authentication.as_str());
            if let Some(member) = &requester.member {
                field(out, "requester_member", member.as_str());
            }
        }
        None => out.extend_from_slice(b"\"anonymous\""),
    }
    field(out, "operation", head.operation);
    if let Some(target) = head.target {
        field(out, "target", label(target));
    }
}

/// How `target` is called in records and metrics.
pub fn label(target: &Target) -> &str {
    match target {
        Target::National => "national",
        Target::Member(member) => member.as_str(),
    }
}

/// Adds the decision: `permit` or the kind of refusal.
pub fn decision(out: &mut Vec<u8>, decision: &str, agreement: Option<&str>) {
    field(out, "decision", decision);
    if let Some(agreement) = agreement {
        field(out, "agreement", agreement);
    }
}

/// Adds the shape of a filter: names and structure, a `?` for each value.
pub fn shape(out: &mut Vec<u8>, filter: &Filter<'_>) {
    out.extend_from_slice(b",\"filter\":\"");
    let end = out.len() + SHAPE_BYTES;
    write_shape(out, filter, end);
    out.push(b'"');
}

/// How an operation ended.
pub struct End {
    pub code: u32,
    pub entries: u32,
    pub dropped: u32,
    /// Directories that did not answer.
    pub missing: u32,
    pub microseconds: u64,
}

/// Writes the second half.
pub fn end(out: &mut Vec<u8>, end: &End) {
    let parts: [(&[u8], u64); 4] = [
        (b",\"code\":", u64::from(end.code)),
        (b",\"entries\":", u64::from(end.entries)),
        (b",\"dropped\":", u64::from(end.dropped)),
        (b",\"us\":", end.microseconds),
    ];
    for (name, value) in parts {
        out.extend_from_slice(name);
        number(out, value);
    }
    if end.missing > 0 {
        out.extend_from_slice(b",\"missing\":");
        number(out, u64::from(end.missing));
    }
    out.extend_from_slice(b"}\n");
}

fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    text(out, value.as_bytes());
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    plain(out, bytes);
    out.push(b'"');
}

/// Anything but plain ASCII is escaped, so that a record is one line whatever a client sends.
fn plain(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        if (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\' {
            out.push(byte);
        } else {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let digit = |n: u8| HEX.get(usize::from(n & 15)).copied().unwrap_or(b'0');
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[digit(byte >> 4), digit(byte)]);
        }
    }
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut count = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        count += 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - count..).unwrap_or_default());
}

fn write_shape(out: &mut Vec<u8>, filter: &Filter<'_>, end: usize) {
    if out.len() > end {
        out.push(b'~');
        return;
    }
    let mut leaf = |name: &str, rest: &[u8]| {
        out.push(b'(');
        // Only names can stand here; the codec has checked their characters.
        plain(out, name.as_bytes());
        out.extend_from_slice(rest);
        out.push(b')');
    };
    match filter {
        Filter::And(all) | Filter::Or(all) => {
            out.push(b'(');
            out.push(if matches!(filter, Filter::And(_)) { b'&' } else { b'|' });
            for inner in all {
                write_shape(out, inner, end);
            }
            out.push(b')');
        }
        Filter::Not(inner) => {
            out.extend_from_slice(b"(!");
            write_shape(out, inner, end);
            out.push(b')');
        }
        Filter::Equality(a) => leaf(&a.attribute, b"=?"),
        Filter::GreaterOrEqual(a) => leaf(&a.attribute, b">=?"),
        Filter::LessOrEqual(a) => leaf(&a.attribute, b"<=?"),
        Filter::Approximate(a) => leaf(&a.attribute, b"~=?"),
        Filter::Substrings(s) => leaf(&s.attribute, b"=?*"),
        Filter::Present(name) => leaf(name, b"=*"),
        Filter::Extensible(e) => leaf(e.attribute.as_deref().unwrap_or_default(), b":=?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_of_json_without_values() {
        let mut line = Vec::new();
        head(
            &mut line,
            &Head {
                shard: 0,
                serial: 7,
                connection: 3,
                at: OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(5),
                requester: None,
                operation: "search",
                target: Some(&Target::National),
            },
        );
        let filter = Filter::And(vec![
            Filter::equal("mail", b"secret@value\"\n".to_vec()),
            Filter::present("cn").negate(),
        ]);
        shape(&mut line, &filter);
        decision(&mut line, "permit", Some("line\nbreak"));
        end(&mut line, &End { code: 0, entries: 1, dropped: 0, missing: 0, microseconds: 1_234 });
        let text = String::from_utf8(line).unwrap();
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["filter"], "(&(mail=?)(!(cn=*)))");
        assert_eq!(value["us"], 1_234);
        assert_eq!(value["at_us"], 5_000_000);
        assert_eq!(value["operation_id"], "0-7");
        assert!(!text.contains("secret"));
    }

    #[test]
    fn a_long_shape_is_cut() {
        let many = Filter::Or((0..1_000).map(|_| Filter::present("telephoneNumber")).collect());
        let mut line = Vec::new();
        shape(&mut line, &many);
        assert!(line.len() < 2_000, "{}", line.len());
    }
}
