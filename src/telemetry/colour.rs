//! Whether a terminal is to be given colour.

use std::ffi::OsStr;

/// Whether whoever runs the program lets terminals have colour: `NO_COLOR` forbids it when it is not empty (<https://no-color.org>), and
/// a terminal that calls itself `dumb` has none.
pub fn is_wanted() -> bool {
    wanted(std::env::var_os("NO_COLOR").as_deref(), std::env::var_os("TERM").as_deref())
}

fn wanted(no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    no_color.is_none_or(OsStr::is_empty) && term.is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_for_no_colour_is_honoured() {
        let wanted = |no_color: Option<&str>, term: Option<&str>| {
            wanted(no_color.map(OsStr::new), term.map(OsStr::new))
        };
        assert!(wanted(None, None) && wanted(None, Some("xterm")) && wanted(Some(""), Some("xterm")));
        for no_color in ["1", "0", "false"] {
            assert!(!wanted(Some(no_color), Some("xterm")), "{no_color}");
        }
        assert!(!wanted(None, Some("dumb")));
    }
}
