use time::macros::datetime;

use super::*;
use crate::assess::report::page::fixture::{
    NOW, POLICY, assess, compiled, evidence, exception, no, people, yes,
};
use crate::baseline::facts::Fact;

fn all(
    assessment: &Assessment,
    gates: Option<&Gates>,
) -> Vec<(String, Grant, Because, Option<OffsetDateTime>)> {
    let closings = closings(assessment, &Rules::of(&compiled(POLICY)), gates);
    closings.into_iter().map(|c| (c.control, c.grant, c.because, c.at)).collect()
}

fn gates(passes: bool, since: Option<OffsetDateTime>) -> Gates {
    let since = since.map(|since| ("cards".to_owned(), since));
    Gates { passes: BTreeMap::from([(Grant::Sync, passes)]), denied_since: since.into_iter().collect() }
}

#[test]
fn a_grace_is_counted_from_the_first_denial_and_holds_open_gates_only() {
    let cards = assess(&people(&[("a", false)]), &[]);
    let borne = |at| vec![("cards".to_owned(), Grant::Sync, Because::GraceEnds, Some(at))];
    let now = vec![("cards".to_owned(), Grant::Sync, Because::Denies, None)];
    let begins = NOW + Duration::days(14);
    assert_eq!(all(&cards, None), borne(begins));
    assert_eq!(all(&cards, Some(&gates(true, None))), borne(begins));
    let first = datetime!(2026-11-20 00:00 UTC);
    assert_eq!(all(&cards, Some(&gates(true, Some(first)))), borne(datetime!(2026-12-04 00:00 UTC)));
    assert_eq!(all(&cards, Some(&gates(true, Some(datetime!(2026-11-01 00:00 UTC))))), now, "it is over");
    assert_eq!(all(&cards, Some(&gates(false, None))), now, "a grace opens nothing");
    assert_eq!(all(&cards, Some(&Gates::default())), now, "a gate that was never decided is closed");
}

#[test]
fn what_is_announced_and_what_is_set_aside_has_its_day() {
    let chain = assess(&evidence(no(), yes(), &[], yes()), &[]);
    let day = Some(datetime!(2026-12-01 00:00 UTC));
    let found = all(&chain, None);
    assert!(found.contains(&("chain".to_owned(), Grant::Lookup, Because::Denies, None)), "{found:?}");
    assert!(found.contains(&("later".to_owned(), Grant::Lookup, Because::Enforced, day)), "{found:?}");
    assert!(found.contains(&("later".to_owned(), Grant::Sync, Because::Enforced, day)), "{found:?}");
    let aside = assess(&people(&[("a", false)]), &[exception("cards")]);
    let ends = Some(datetime!(2026-12-24 00:00 UTC));
    assert_eq!(all(&aside, None), [("cards".to_owned(), Grant::Sync, Because::ExceptionEnds, ends)]);
}

#[test]
fn an_unknown_has_no_grace_where_the_policy_gives_none() {
    let unknown = assess(&evidence(yes(), yes(), &[], Fact::Hidden), &[]);
    assert_eq!(all(&unknown, None), [("cards".to_owned(), Grant::Sync, Because::Denies, None)]);
}
