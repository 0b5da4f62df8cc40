//! Identifiers, and texts as OSCAL takes them.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use uuid::{Builder, Uuid};

/// Properties and risk facets of ours.
pub const NAMESPACE: &str = "https://portcullis.example/ns/oscal";

/// A UUID of version 5 (RFC 9562) for what `parts` name: the same parts give the same one. The SHA-1 in it is no protection.
pub fn uuid(parts: &[&str]) -> String {
    let name = format!("{NAMESPACE}/{}", parts.join("/"));
    let bytes = [Uuid::NAMESPACE_URL.as_bytes().as_slice(), name.as_bytes()].concat();
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &bytes);
    let mut first = [0; 16];
    for (to, from) in first.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    Builder::from_sha1_bytes(first).into_uuid().to_string()
}

/// A control's name as a token, which cannot begin with a digit.
pub fn token(control: &str) -> String {
    let first = control.chars().next();
    if first.is_some_and(|c| c.is_alphabetic() || c == '_') {
        control.to_owned()
    } else {
        format!("_{control}")
    }
}

/// The name of a control's objective.
pub fn objective(control: &str) -> String {
    format!("{}_obj", token(control))
}

/// A moment, in UTC.
pub fn moment(at: OffsetDateTime) -> String {
    at.to_offset(UtcOffset::UTC).format(&Rfc3339).unwrap_or_default()
}

/// One line without white space at its ends, for values; `-` when nothing is left.
pub fn line(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() { "-".to_owned() } else { line }
}

/// A text in OSCAL's markup that reads as `text`.
pub fn markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim().chars() {
        if matches!(c, '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '~' | '^' | '{' | '}' | '"') {
            out.push('\\');
        }
        out.push(if c.is_control() && c != '\n' { ' ' } else { c });
    }
    out
}

/// Lines that are to stay as they are: commands.
pub fn code(text: &str) -> String {
    let mut fence = "```".to_owned();
    while text.contains(&fence) {
        fence.push('`');
    }
    format!("{fence}\n{}\n{fence}", text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_of_version_5_and_always_the_same() {
        let (one, two) = (uuid(&["finding", "a"]), uuid(&["finding", "b"]));
        assert_eq!(one, uuid(&["finding", "a"]));
        assert_ne!(one, two);
        let parsed: Uuid = one.parse().unwrap();
        assert_eq!(parsed.get_version_num(), 5);
        assert_eq!(parsed.get_variant(), uuid::Variant::RFC4122);
        // RFC 9562, appendix A.4: the name `www.example.com` in the namespace of domain names
        let bytes = [Uuid::NAMESPACE_DNS.as_bytes().as_slice(), b"www.example.com"].concat();
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &bytes);
        let first: [u8; 16] = hash.as_ref()[..16].try_into().unwrap();
        let known = Builder::from_sha1_bytes(first).into_uuid();
        assert_eq!(known.to_string(), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    }

    #[test]
    fn tokens_begin_with_a_letter() {
        assert_eq!(token("tls-versions"), "tls-versions");
        assert_eq!(token("2nd-chance"), "_2nd-chance");
        assert_eq!(objective("-x"), "_-x_obj");
    }

    #[test]
    fn texts_of_directories_are_harmless() {
        assert_eq!(line(" a\u{1b}[1m\n b\t"), "a [1m b");
        assert_eq!(line("\n"), "-");
        assert_eq!(markup("CN=<b>*\\,"), "CN=\\<b\\>\\*\\\\,");
        assert_eq!(code("x ``` y"), "````\nx ``` y\n````");
    }
}
