use time::macros::{date, datetime};

use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

fn import(text: &str, kept: &[Organisation]) -> Result<Import, Vec<Fault>> {
    let kept = kept.iter().map(|one| (one.ods.clone(), one.clone())).collect();
    read(text.as_bytes(), &Settings::default(), &kept, &[], NOW)
}

#[test]
fn the_same_table_again_changes_nothing() {
    let text = "ods,name,kind,wave,planned,mail_domains,status,successor\n\
                a81001,Surgery,practice,2,2026-12-01,B.test a.test,,\n\
                A81002,Old,practice,,,,closed,A81001\n";
    let first = import(text, &[]).unwrap();
    assert_eq!((first.new, first.same, first.changed.len()), (2, 0, 2));
    let surgery = &first.changed[0];
    assert_eq!(
        (surgery.ods.as_str(), surgery.wave, surgery.planned),
        ("A81001", Some(2), Some(date!(2026 - 12 - 01)))
    );
    assert_eq!(surgery.mail_domains, BTreeSet::from(["a.test".to_owned(), "b.test".to_owned()]));
    let again = import(text, &first.changed).unwrap();
    assert_eq!((again.new, again.same, again.changed.len()), (0, 2, 0));
    // a column that is not there leaves what is kept, an empty cell empties it
    let fewer = import("ods,name,kind,wave\nA81001,Surgery,practice,\n", &first.changed).unwrap();
    assert_eq!((fewer.changed[0].wave, fewer.changed[0].planned), (None, Some(date!(2026 - 12 - 01))));
    assert_eq!(fewer.changed[0].since, NOW);
}

#[test]
fn every_fault_is_told_with_its_line() {
    let text = "ods,name,kind,wave,planned,mail_domains,status,successor\n\
                A81001,,gp,zero,soon,nowhere,shut,x\n\
                A81002,B,practice,,,,open,A81003\n\
                A81003,C,practice,,,,closed,A81009\n\
                A81003,C,practice,,,,,\n\
                national,D,large,,,,,\n";
    let faults = import(text, &[]).unwrap_err();
    let told: Vec<(u64, String)> =
        faults.into_iter().map(|f| (f.line, f.column.unwrap_or_default())).collect();
    for wanted in [
        (2, "name"),
        (2, "kind"),
        (2, "wave"),
        (2, "planned"),
        (2, "mail_domains"),
        (2, "status"),
        (2, "successor"),
        (3, "successor"),
        (4, "successor"),
        (5, "ods"),
        (6, "ods"),
    ] {
        assert!(told.contains(&(wanted.0, wanted.1.to_owned())), "{wanted:?}: {told:?}");
    }
}

#[test]
fn who_should_be_there_and_is_not_is_late() {
    let kept = import("ods,name,kind,wave,planned\nA81001,S,practice,1,2026-11-01\n", &[]).unwrap().changed;
    let facts = Facts { organisation: kept.first(), ..Facts::default() };
    let place_of = |facts: Facts<'_>, today| place(&facts, today).unwrap();
    let waiting = place_of(facts, date!(2026 - 11 - 24));
    assert_eq!((waiting.standing, waiting.late, waiting.since), (Standing::NotBegun, true, Some(NOW)));
    assert!(!place_of(facts, date!(2026 - 11 - 01)).late);
    let there =
        place_of(Facts { registered: Some((7, NOW)), published: Some(6), ..facts }, date!(2026 - 11 - 24));
    assert_eq!((there.standing, there.late, there.registered), (Standing::Registered, false, Some(7)));
    assert_eq!(
        place_of(Facts { registered: Some((0, NOW)), ..facts }, date!(2026 - 11 - 24)).standing,
        Standing::NotBegun
    );
    let waves = waves(&[waiting, there]);
    assert_eq!(waves.len(), 1);
    assert_eq!((waves[0].organisations, waves[0].there, waves[0].late, waves[0].published), (2, 1, 1, 6));
    assert_eq!(place(&Facts::default(), date!(2026 - 11 - 24)), None);
}
