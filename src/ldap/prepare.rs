//! Text prepared for comparison: a useful part of RFC 4518. Case is folded, runs of spaces become one, spaces at the
//! ends go, other kinds of space become a space, characters that show nothing go. Normalisation forms are not applied.

/// Characters that show nothing (RFC 4518 section 2.2, "mapped to nothing").
pub fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{06dd}' | '\u{070f}' | '\u{1806}' | '\u{180b}'..='\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
        || (c.is_control() && !c.is_whitespace())
}

/// Folds spaces, and case when `fold_case`.
pub fn prepare(text: &str, fold_case: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut space = false;
    for c in text.chars() {
        if is_ignorable(c) {
            continue;
        }
        if c.is_whitespace() {
            space = !out.is_empty();
            continue;
        }
        if space {
            out.push(' ');
            space = false;
        }
        if !fold_case {
            out.push(c);
        } else if c.is_ascii() {
            out.push(c.to_ascii_lowercase());
        } else {
            out.extend(c.to_lowercase());
        }
    }
    out
}

/// Like [`prepare`] for a part of a value: spaces at the ends are folded to one and kept, for they stand inside the value.
pub fn prepare_part(text: &str, fold_case: bool) -> String {
    let starts = text.chars().find(|c| !is_ignorable(*c)).is_some_and(char::is_whitespace);
    let ends = text.chars().rev().find(|c| !is_ignorable(*c)).is_some_and(char::is_whitespace);
    let inner = prepare(text, fold_case);
    match (starts, ends) {
        _ if inner.is_empty() => {
            if starts {
                " ".to_owned()
            } else {
                inner
            }
        }
        (true, true) => format!(" {inner} "),
        (true, false) => format!(" {inner}"),
        (false, true) => format!("{inner} "),
        (false, false) => inner,
    }
}

/// A telephone number: digits and the rest without spaces and hyphens (RFC 4517 section 4.2.29).
pub fn prepare_telephone(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && !is_ignorable(*c))
        .filter(|c| {
            !matches!(c, '-' | '\u{058a}' | '\u{2010}' | '\u{2011}' | '\u{2212}' | '\u{fe63}' | '\u{ff0d}')
        })
        .flat_map(char::to_lowercase)
        .collect()
}
