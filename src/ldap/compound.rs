//! Values that hold a distinguished name and something beside it: DN-with-binary and DN-with-string of Active Directory
//! (MS-ADTS 3.1.1.2.2.2: `B:count:hex:dn`, `S:count:text:dn`), and name-and-optional-UID (RFC 4517 section 3.3.21:
//! `dn#'0101'B`).

/// A value taken apart; put together again it is the same text. `dn` need not be a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compound<'a> {
    /// `B:8:0a0b0c0d:` or `S:5:hello:`, else empty.
    pub head: &'a str,
    pub dn: &'a str,
    /// `#'0101'B`, else empty.
    pub tail: &'a str,
}

impl<'a> Compound<'a> {
    /// Takes a value apart. A plain name comes back with nothing beside it.
    pub fn split(value: &'a str) -> Compound<'a> {
        let head = head_length(value).unwrap_or(0);
        let (head, rest) = value.split_at_checked(head).unwrap_or(("", value));
        let tail = tail_length(rest).unwrap_or(0);
        let (dn, tail) = rest.split_at_checked(rest.len() - tail).unwrap_or((rest, ""));
        Compound { head, dn, tail }
    }

    /// Nothing stands beside the name.
    pub fn is_plain(&self) -> bool {
        self.head.is_empty() && self.tail.is_empty()
    }
}

/// Bytes up to and with the colon before the name.
fn head_length(value: &str) -> Option<usize> {
    let kind = value.get(..2).filter(|kind| matches!(*kind, "B:" | "b:" | "S:" | "s:"))?;
    let (count, rest) = value.get(2..)?.split_once(':')?;
    if count.is_empty() || count.len() > 9 || !count.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let characters: usize = count.parse().ok()?;
    let bytes = rest.char_indices().nth(characters)?.0;
    let content = rest.get(..bytes)?;
    let is_hex = characters.is_multiple_of(2) && content.bytes().all(|b| b.is_ascii_hexdigit());
    if kind.eq_ignore_ascii_case("B:") && !is_hex {
        return None;
    }
    rest.get(bytes..)?.starts_with(':').then_some(2 + count.len() + 1 + bytes + 1)
}

/// Bytes of the bit string at the end.
fn tail_length(value: &str) -> Option<usize> {
    let bits = value.strip_suffix("'B")?;
    let (_, digits) = bits.rsplit_once("#'")?;
    digits.bytes().all(|b| matches!(b, b'0' | b'1')).then_some(digits.len() + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_apart_and_nothing_is_lost() {
        for (value, head, dn, tail) in [
            ("CN=a,DC=b", "", "CN=a,DC=b", ""),
            ("B:8:0a0B0c0d:CN=a,DC=b", "B:8:0a0B0c0d:", "CN=a,DC=b", ""),
            ("B:0::CN=a", "B:0::", "CN=a", ""),
            ("S:5:a:b,c:CN=a", "S:5:a:b,c:", "CN=a", ""),
            ("S:2:\u{e9}\u{e9}:CN=a", "S:2:\u{e9}\u{e9}:", "CN=a", ""),
            ("cn=a,dc=b#'0101'B", "", "cn=a,dc=b", "#'0101'B"),
            ("cn=a#''B", "", "cn=a", "#''B"),
        ] {
            assert_eq!(Compound::split(value), Compound { head, dn, tail }, "{value}");
        }
        for plain in [
            "",
            "B:",
            "B:8:0a:CN=a",
            "B:3:0a0:CN=a",
            "B:2:zz:CN=a",
            "B:2:0aCN=a",
            "S:99:a:CN=a",
            "S:x:a:CN=a",
            "B:99999999999999999999:0a:CN=a",
            "cn=a#'012'B",
            "<GUID=1>;CN=a",
        ] {
            let split = Compound::split(plain);
            assert!(split.is_plain() && split.dn == plain, "{plain}");
        }
    }
}
