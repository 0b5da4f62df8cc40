//! Guards that remember: many small runs are one large one, and a wish that is not read any more is asked about.

use super::people::{actions, run, somebody, verdict, with};
use super::*;
use crate::sync::guards::{Circumstances, Kind, Recent, Unit};
use crate::sync::settings::Levels;

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn asking(bench: &mut Bench) {
    bench.scope.levels = Some(Levels {
        attribute: "employeetype".into(),
        not_published: set(&["not-listed"]),
        not_findable: set(&["by-address"]),
        ..Levels::default()
    });
    bench.scope.attributes.insert("employeetype".into(), Origin::Local("employeetype".into()));
    bench.scope.filter = Filter::parse("(objectClass=user)").unwrap().into_owned();
}

#[test]
fn a_unit_that_is_emptied_one_by_one_stops_as_one_that_is_emptied_at_once() {
    let mut bench = Bench::new();
    let people: Vec<Person> = (0..PEOPLE).map(somebody).collect();
    run(&mut bench, &objects(&people));
    bench.scope.guards.unit = Guard { count: 3, share: 5_000 };
    let mut recent = Recent::default();
    let mut stopped = None;
    for gone in 1..=PEOPLE {
        let mut left = people.clone();
        left.iter_mut().take(gone).for_each(|person| person.deleted = true);
        let plan = bench.plan(objects(&left), true, start());
        assert_eq!(plan.steps.len(), 1, "each run sees one");
        let judged = verdict(&bench, &plan, |around| {
            around.units_of = (0..PEOPLE).map(|number| (guid(number), vec![STAFF])).collect();
            let staying = (PEOPLE - gone) as u64;
            around.units = BTreeMap::from([(STAFF, Unit { name: "OU=Staff".into(), staying })]);
            around.recent = recent.clone();
        });
        recent = recent.and(&judged.recent);
        if let Some(trip) = judged.trips.first() {
            stopped = Some((gone, trip.guard, trip.text.clone()));
            break;
        }
        bench.execute(&judged.go, start());
    }
    let (gone, guard, text) = stopped.expect("nothing stopped it");
    assert_eq!(guard, Kind::Unit);
    assert!(gone <= PEOPLE / 2 + 1 && gone > 3, "{gone}");
    assert!(
        text.contains(&format!("{gone} of {PEOPLE} leave OU=Staff ({} of them before", gone - 1)),
        "{text}"
    );
}

#[test]
fn the_last_ones_do_not_leave_unasked() {
    let mut bench = Bench::new();
    let people: Vec<Person> = (0..3).map(somebody).collect();
    run(&mut bench, &objects(&people));
    bench.scope.guards.day = Guard { count: 200, share: 1_000 };
    let mut left = people.clone();
    left[2].deleted = true;
    let plan = bench.plan(objects(&left), true, start());
    let judged = |published: u64, gone: u64| {
        verdict(&bench, &plan, |around| {
            around.published = published;
            around.recent.gone = gone;
        })
    };
    assert_eq!(judged(3, 0).trips, []);
    assert_eq!(judged(2, 1).trips, []);
    let last = judged(1, 2);
    assert_eq!(last.trips.iter().map(|trip| trip.guard).collect::<Vec<_>>(), [Kind::Day]);
    assert!(last.trips[0].text.starts_with("nobody of 3 is left"), "{}", last.trips[0].text);
    assert_eq!(judged(1, 0).trips, [], "one person is everybody");
}

#[test]
fn a_wish_that_is_not_read_any_more_lists_nobody_unasked() {
    let mut bench = Bench::new();
    asking(&mut bench);
    let people: Vec<Person> = (0..PEOPLE).map(somebody).collect();
    let wish = with(objects(&people), "employeetype", &[(0, "not-listed"), (1, "by-address")]);
    let (plan, others) = bench.surveyed(wish, true, start(), 1000);
    bench.execute(&plan, start());
    assert_eq!(others.asking, BTreeSet::from([guid(0), guid(1)]));
    bench.asked = others.asking;
    // the attribute is not given to our account any more
    let (plan, others) = bench.surveyed(objects(&people), true, start(), 1000);
    assert_eq!(others.withdrawn, BTreeSet::from([guid(0), guid(1)]));
    assert_eq!(actions(&plan), [(Action::Modify, "change"), (Action::Create, "create")]);
    let judged = |bench: &Bench, count: u64| {
        let mut guards = bench.scope.guards;
        guards.wishes = Guard { count: 5, share: 1_000 };
        let around = Circumstances {
            published: 1_000,
            people: plan.people,
            withdrawn: others.withdrawn.clone(),
            wishes: count,
            ..Circumstances::default()
        };
        crate::sync::guards::judge(&plan, &around, &guards, 5, start(), |_| Vec::new())
    };
    let held = judged(&bench, 2);
    assert_eq!(held.trips.iter().map(|trip| trip.guard).collect::<Vec<_>>(), [Kind::Wishes]);
    assert_eq!((held.go.steps.len(), held.held.steps.len()), (0, 2));
    assert_eq!(crate::sync::wishes::after(&others, &held.go), others.withdrawn, "they are remembered");
    // two of fifty is what happens
    let few = judged(&bench, 50);
    assert_eq!((few.trips.len(), few.recent.wishes), (0, 2));
    assert!(crate::sync::wishes::after(&others, &few.go).is_empty());
}

#[test]
fn a_wish_counts_however_it_is_spelled() {
    let mut bench = Bench::new();
    asking(&mut bench);
    let people: Vec<Person> = (0..PEOPLE).map(somebody).collect();
    let spelled =
        [(0, "Not Listed"), (1, "not_listed"), (2, "NOT\u{2011}LISTED"), (3, "By Address"), (4, "staff")];
    let plan = bench.plan(with(objects(&people), "employeetype", &spelled), true, start());
    let created: BTreeMap<Guid, &Step> =
        plan.steps.iter().filter_map(|step| Some((step.anchor.as_ref()?.guid, step))).collect();
    assert!((0..3).all(|number| !created.contains_key(&guid(number))));
    let level = |number: usize| created[&guid(number)].after()["employeetype"].to_vec();
    assert_eq!((level(3), level(4)), (vec!["by-address".to_owned()], vec!["staff".to_owned()]));
}
