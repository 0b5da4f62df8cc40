use super::*;
use crate::assess::report::page::fixture::{
    NOW, POLICY, assess, compiled, evidence, exception, no, people, yes,
};
use crate::baseline::evaluate::evaluate;
use crate::baseline::facts::Fact;

fn of<'a>(trend: &'a Trend, control: &str) -> &'a Change {
    trend.changes.iter().find(|change| change.control == control).unwrap()
}

#[test]
fn what_moved_is_told_by_where_it_went() {
    let before = assess(&evidence(no(), yes(), &[("a", false), ("b", true)], yes()), &[]);
    let now = assess(&evidence(yes(), no(), &[("a", false), ("b", false)], yes()), &[]);
    let trend = trend(&before, &now);
    assert_eq!(of(&trend, "chain").movement, Movement::Mended);
    assert_eq!(of(&trend, "names").movement, Movement::NewlyFailing);
    let cards = of(&trend, "cards");
    assert_eq!((cards.movement, cards.offenders_before, cards.offenders), (Movement::StillFailing, 1, 2));
    assert_eq!((cards.offenders_appeared, cards.offenders_gone), (1, 0));
    assert!(trend.changes.iter().all(|change| change.control != "young"), "what passes is no news");
    assert_eq!(
        (trend.newly_denied.as_slice(), trend.no_longer_denied.as_slice()),
        (&[][..], &[Grant::Lookup][..])
    );
    assert_eq!(trend.score, Pair { before: before.score, now: now.score });
    assert!(!trend.policy_changed && !trend.same_evidence);
}

#[test]
fn far_fewer_objects_are_told() {
    let many: Vec<String> = (0..20).map(|n| format!("p{n}")).collect();
    let of = |count: usize| {
        let some: Vec<(&str, bool)> = many.iter().take(count).map(|name| (name.as_str(), true)).collect();
        assess(&people(&some), &[])
    };
    let found = trend(&of(20), &of(9)).shrunk;
    let judged = Pair { before: 20, now: 9 };
    let controls = vec!["cards".to_owned(), "young".to_owned()];
    assert_eq!(found, [Shrunk { judged, controls }]);
    assert_eq!(trend(&of(20), &of(10)).shrunk, []);
    assert_eq!(trend(&of(9), &of(0)).shrunk, [], "few may go");
    assert_eq!(trend(&of(9), &of(20)).shrunk, []);
}

#[test]
fn as_many_others_are_not_the_same() {
    let before = assess(&people(&[("a", false), ("b", true)]), &[]);
    let now = assess(&people(&[("a", true), ("b", false)]), &[]);
    let trend = trend(&before, &now);
    let cards = of(&trend, "cards");
    assert_eq!((cards.offenders_before, cards.offenders), (1, 1));
    assert_eq!((cards.offenders_appeared, cards.offenders_gone), (1, 1));
    assert!(!cards.is_quiet());
}

#[test]
fn unknown_and_set_aside_are_not_mended() {
    let failing = assess(&people(&[("a", false)]), &[]);
    let unknown = assess(&evidence(yes(), yes(), &[], Fact::Hidden), &[]);
    let excepted = assess(&people(&[("a", false)]), &[exception("cards")]);
    assert_eq!(of(&trend(&failing, &unknown), "cards").movement, Movement::NewlyUnknown);
    assert_eq!(of(&trend(&unknown, &failing), "cards").movement, Movement::NewlyFailing);
    let aside = trend(&failing, &excepted);
    assert_eq!(of(&aside, "cards").movement, Movement::SetAside);
    assert_eq!(of(&aside, "cards").offenders, 0, "an exception covers them");
    assert!(aside.same_evidence);
    let not_for_it = trend(
        &assess(&evidence(no(), no(), &[], yes()), &[]),
        &assess(&evidence(no(), yes(), &[], yes()), &[]),
    );
    assert_eq!(of(&not_for_it, "rarely").movement, Movement::NotApplicable);
}

#[test]
fn a_difference_of_the_policies_is_told_as_such() {
    let evidence = evidence(no(), yes(), &[("a", false)], yes());
    let before = assess(&evidence, &[]);
    let heavier = POLICY
        .replace("revision: 1", "revision: 2")
        .replace(
            "id: cards, title: Everybody has a card, severity: high",
            "id: cards, title: T, severity: critical",
        )
        .replace("id: chain,", "id: chained,")
        .replace("stage: warn, enforce_from: 2026-12-01,", "");
    let now = evaluate(&compiled(&heavier), &evidence, &[], NOW);
    let trend = trend(&before, &now);
    assert!(trend.policy_changed && trend.same_evidence);
    let cards = of(&trend, "cards");
    assert!(cards.severity_changed());
    assert_eq!((cards.severity_before, cards.severity), (Some(Severity::High), Some(Severity::Critical)));
    assert_eq!(of(&trend, "chain").movement, Movement::NotAsked);
    let chained = of(&trend, "chained");
    assert_eq!((chained.movement, chained.verdict_before), (Movement::NewlyFailing, None));
    assert_eq!(trend.newly_enforced, ["chained", "later"]);
}

#[test]
fn the_same_again_is_quiet() {
    let assessment = assess(&people(&[("a", false)]), &[]);
    let trend = trend(&assessment, &assessment);
    assert!(trend.changes.iter().all(Change::is_quiet));
    assert!(
        trend.newly_denied.is_empty() && trend.no_longer_denied.is_empty() && trend.newly_enforced.is_empty()
    );
}
