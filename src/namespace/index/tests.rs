use proptest::prelude::*;

use super::*;
use crate::ldap::prepare::prepare;

fn index_of<'a>(values: impl IntoIterator<Item = &'a str>) -> Index {
    let mut builder = Builder::new();
    builder.cover(Indexed::Cn);
    values.into_iter().for_each(|value| builder.add(Indexed::Cn, value));
    builder.build(7)
}

/// Foldings of real directories: accents, ligatures, widths, ignorable characters, the Danish and German ways.
fn folds(c: char) -> &'static [&'static str] {
    match c {
        'é' | 'É' => &["e", "é"],
        'ö' => &["o", "oe", "ö"],
        'å' => &["a", "aa", "å"],
        'ß' => &["ss", "ß"],
        'æ' => &["ae", "æ"],
        'ł' => &["l", "ł"],
        'Ａ' => &["a", "Ａ"],
        '\u{301}' | '\u{ad}' | '\u{200b}' => &["", "\u{301}"],
        '’' => &["'", "", "’"],
        '\u{a0}' => &[" ", ""],
        _ => &[],
    }
}

/// One of the texts that some directory takes for the same.
fn spelled(value: &str, choice: u64) -> String {
    let mut choice = choice;
    let mut out = String::new();
    for c in value.chars() {
        let folds = folds(c);
        if folds.is_empty() {
            // case and the kind of space never count
            let upper = choice & 1 == 1;
            choice = choice.rotate_right(1);
            match c {
                ' ' => out.push_str(if upper { "  " } else { " " }),
                c if upper => out.extend(c.to_uppercase()),
                c => out.push(c),
            }
        } else {
            out.push_str(folds[(choice % folds.len() as u64) as usize]);
            choice = choice.rotate_right(3);
        }
    }
    out
}

fn any_value() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "b", "Smith", "O'Brien", " ", "-", "é", "É", "ö", "å", "ß", "æ", "ł", "Ａ", "\u{301}", "\u{ad}",
        "’", "\u{a0}", "1", "jo.smith", "@", "rxa.test", "\u{200b}", "李",
    ]);
    prop::collection::vec(piece, 1..7).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6_000))]

    /// Whatever of the known foldings a directory does, a value that is there is never "surely not".
    #[test]
    fn never_a_false_negative(
        values in prop::collection::vec(any_value(), 1..30),
        at: usize,
        choice: u64,
        cut in 1usize..12,
    ) {
        let index = index_of(values.iter().map(String::as_str));
        let asked = spelled(&values[at % values.len()], choice);
        if let Some(probe) = Probe::equal(Indexed::Cn, asked.as_bytes()) {
            prop_assert!(index.may_hold(&probe), "{asked:?} of {values:?}");
        }
        let beginning: String = asked.chars().take(cut).collect();
        if let Some(probe) = Probe::begins(Indexed::Cn, beginning.as_bytes()) {
            prop_assert!(index.may_hold(&probe), "{beginning:?}* of {values:?}");
        }
    }

    /// The same for equality as we compare ourselves.
    #[test]
    fn never_a_false_negative_of_our_own(one in any_value(), other in any_value()) {
        if prepare(&one, true) == prepare(&other, true)
            && let Some(probe) = Probe::equal(Indexed::Cn, other.as_bytes())
        {
            prop_assert!(index_of([one.as_str()]).may_hold(&probe));
        }
    }
}

#[test]
fn what_is_not_there_is_mostly_told() {
    let names: Vec<String> = (0..20_000).map(|n| format!("Person Number{n}x")).collect();
    let index = index_of(names.iter().map(String::as_str));
    let probe = |text: &str| Probe::equal(Indexed::Cn, text.as_bytes()).unwrap();
    let wrong = (0..20_000).filter(|n| index.may_hold(&probe(&format!("Nobody {n}")))).count();
    assert!(wrong < 600, "{wrong} of 20000 are a false perhaps");
    assert!(!index.may_hold(&Probe::begins(Indexed::Cn, b"zeb").unwrap()));
    assert!(index.may_hold(&Probe::begins(Indexed::Cn, b"PERSON n").unwrap()));
    assert!(index.bytes() < 20_000 * 7 * BITS_PER_ENTRY / 8 + 64);
    assert_eq!(index.read_at(), 7);
}

#[test]
fn what_an_index_cannot_tell_is_perhaps() {
    let index = index_of(["Smith"]);
    for value in ["", "---", "Sm\u{ef}th", "\u{ff}"] {
        assert_eq!(Probe::equal(Indexed::Cn, value.as_bytes()), None, "{value:?}");
        assert_eq!(Probe::begins(Indexed::Cn, value.as_bytes()), None, "{value:?}");
    }
    assert_eq!(Probe::equal(Indexed::Cn, &[0xff]), None);
    // of an attribute that was not gathered nothing is known
    assert!(index.may_hold(&Probe::equal(Indexed::Sn, b"Nobody").unwrap()));
    assert!(!index.may_hold(&Probe::equal(Indexed::Cn, b"Nobody").unwrap()));
    assert!(Builder::new().build(0).may_hold(&Probe::equal(Indexed::Cn, b"x").unwrap()));
}

#[test]
fn attributes_do_not_answer_for_each_other() {
    let mut builder = Builder::new();
    builder.cover(Indexed::Cn);
    builder.cover(Indexed::Sn);
    builder.add(Indexed::Cn, "Smith");
    let index = builder.build(0);
    assert!(index.may_hold(&Probe::equal(Indexed::Cn, b"smith").unwrap()));
    assert!(!index.may_hold(&Probe::equal(Indexed::Sn, b"smith").unwrap()));
}
