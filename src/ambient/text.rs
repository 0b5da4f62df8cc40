//! Texts of others, made fit to be shown: nothing that a directory, a member or a file says may steer a terminal or turn a line around.

use std::io::{self, Write};

use serde_json::ser::Formatter;

/// Control characters, and those that say which way text runs, take no room, or only annotate.
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// One line: every character that steers is shown as what it is not, a line end too.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// As [`printable`], of a text that we set in lines.
pub fn printable_lines(text: &str) -> String {
    text.chars().map(|c| if steers(c) && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

/// JSON of the same value in which every character that steers is written as `\uXXXX`: outside of its strings JSON has none but line
/// ends.
pub fn harmless_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if steers(c) && !matches!(c, '\n' | '\t' | '\r') {
            out.push_str(&escaped(c));
        } else {
            out.push(c);
        }
    }
    out
}

fn escaped(c: char) -> String {
    let mut units = [0; 2];
    c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// Writes compact JSON as [`harmless_json`] has it, as a stream.
#[derive(Debug, Clone, Copy, Default)]
pub struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.is_ascii() && !fragment.contains('\u{7f}') {
            return writer.write_all(fragment.as_bytes());
        }
        writer.write_all(harmless_json(fragment).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    /// Escape, C1, delete, bidi override and mark, zero width, tag.
    const HOSTILE: &str =
        "a\u{1b}[2Jb\u{9b}31mc\u{7f}\u{202e}d\u{61c}\u{200b}e\u{feff}\u{e0041}\u{2028}é\u{1f600}\n";

    #[test]
    fn nothing_steers() {
        let line = printable(HOSTILE);
        assert!(!line.chars().any(steers), "{line:?}");
        assert!(line.contains("é\u{1f600}") && line.ends_with('\u{fffd}'));
        assert_eq!(printable_lines("a\n\tb\r\u{202e}"), "a\n\tb\u{fffd}\u{fffd}");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({ HOSTILE: [HOSTILE, 1, null], "plain": "text" });
        let pretty = harmless_json(&serde_json::to_string_pretty(&value).unwrap());
        let mut compact = Vec::new();
        value.serialize(&mut serde_json::Serializer::with_formatter(&mut compact, Harmless)).unwrap();
        let compact = String::from_utf8(compact).unwrap();
        for text in [&pretty, &compact] {
            assert!(!text.chars().any(|c| steers(c) && c != '\n'), "{text:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(text).unwrap(), value);
        }
        assert!(!compact.contains('\n') && compact.contains("\\u202e") && compact.contains("\\udb40\\udc41"));
    }
}
