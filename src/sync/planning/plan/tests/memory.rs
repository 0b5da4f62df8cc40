//! Guards that remember: many small runs are one large one, and a wish that is not read any more is asked about.

use super::people::{actions, run, somebody, verdict, with};
use super::*;
use crate::sync::people::guards::{Circumstances, Kind, Recent, Unit};
use crate::sync::terms::settings::Levels;

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub(super) fn asking(bench: &mut Bench) {
    bench.scope.levels = Some(Levels {
        attribute: "employeetype".into(),
        not_published: set(&["not-listed"]),
        not_findable: set(&["by-address"]),
        without_contact: set(&["no-contact"]),
        contact: set(&["mail"]),
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
    assert_eq!(others.asking, BTreeMap::from([(guid(0), true), (guid(1), true)]));
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
        crate::sync::people::guards::judge(&plan, &around, &guards, 5, start(), |_| Vec::new())
    };
    let held = judged(&bench, 2);
    assert_eq!(held.trips.iter().map(|trip| trip.guard).collect::<Vec<_>>(), [Kind::Wishes]);
    assert_eq!((held.go.steps.len(), held.held.steps.len()), (0, 2));
    let listed = |go: &Plan| crate::sync::keeping::wishes::listed_by(go, &(0..go.steps.len()).collect());
    assert!(
        listed(&held.go).is_empty() && crate::sync::keeping::wishes::over(&others, &plan).is_empty(),
        "they are remembered"
    );
    // two of fifty is what happens
    let few = judged(&bench, 50);
    assert_eq!((few.trips.len(), few.recent.wishes), (0, 2));
    assert_eq!(listed(&few.go), others.withdrawn);
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

/// What a server refused of a change, held against the plan of it.
fn refused(
    plan: &Plan,
    attribute: &str,
    code: u32,
    text: &str,
) -> (crate::sync::writing::refused::Refused, bool) {
    let step = plan.steps.iter().position(|step| step.changes.iter().any(|one| one.attribute == attribute));
    let undone = crate::sync::writing::execute::Undone {
        step: step.unwrap(),
        action: Action::Create,
        guid: None,
        code: Some(code),
        text: text.to_owned(),
    };
    let mut executed = crate::sync::writing::execute::Executed { undone: vec![undone], ..Default::default() };
    let mut refused = crate::sync::writing::refused::Refused::default();
    let new = refused.take_in(plan, &mut executed, start());
    (refused, new)
}

#[test]
fn who_asked_is_not_published_without_the_word_that_says_so() {
    let mut bench = Bench::new();
    asking(&mut bench);
    let wish = with(objects(&[somebody(0)]), "employeetype", &[(0, "by-address")]);
    let plan = bench.plan(wish.clone(), true, start());
    let (known, new) = refused(&plan, "employeetype", 19, "employeeType: value #0 breaks a constraint");
    assert!(new);
    bench.beside.refused = known;
    let plan = bench.plan(wish, true, start());
    assert!(plan.steps.iter().all(|step| step.action != Action::Create), "an entry without it is listed");
    let held: Vec<_> =
        plan.quarantine.iter().map(|one| (one.attribute.as_deref(), one.code.as_str())).collect();
    assert_eq!(held, [(None, "refused")]);
}

#[test]
fn the_own_trouble_of_a_server_is_nobodys_value() {
    let mut bench = Bench::new();
    let all = objects(&[somebody(0)]);
    run(&mut bench, &all);
    let plan = bench.plan(with(all, "title", &[(0, "Matron")]), true, start());
    for (code, text, new) in [
        (80, "internal error", false),
        (80, "title: no equality matching rule", true),
        (65, "attribute 'title' not allowed", true),
        (19, "add breaks constraint on title", true),
        (21, "invalid", true),
        (51, "title: busy", false),
    ] {
        assert_eq!(refused(&plan, "title", code, text).1, new, "{code} {text}");
    }
}

#[test]
fn nobody_names_a_person_whose_wish_for_that_is_not_read_any_more() {
    let mut bench = Bench::new();
    asking(&mut bench);
    bench.scope.attributes.insert("manager".into(), Origin::Local("manager".into()));
    let people = [somebody(0), somebody(1)];
    let named = |all: Vec<Object>| -> Vec<Object> {
        let refer = |mut object: Object| {
            if object.guid == guid(1) {
                object.references.insert("manager".into(), vec![guid(0)]);
            }
            object
        };
        all.into_iter().map(refer).collect()
    };
    let wish = named(with(objects(&people), "employeetype", &[(0, "by-address")]));
    let (plan, others) = bench.surveyed(wish, true, start(), 1000);
    bench.execute(&plan, start());
    bench.asked = others.asking;
    let (plan, _) = bench.surveyed(named(objects(&people)), true, start(), 1000);
    let of_other = |step: &&Step| step.anchor.as_ref().is_some_and(|anchor| anchor.guid == guid(1));
    assert_eq!(plan.steps.iter().filter(of_other).count(), 0, "{:?}", plan.steps);
    // it was withdrawn indeed
    bench.asked.clear();
    let (plan, _) = bench.surveyed(named(objects(&people)), true, start(), 1000);
    assert_eq!(plan.steps.iter().filter(of_other).count(), 1);
}
