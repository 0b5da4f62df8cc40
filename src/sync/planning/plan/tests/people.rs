//! People who are more than an account: not listed, of two organisations, with values of several owners.

use super::*;
use crate::policy::scope::Ownership;
use crate::sync::people::guards::{Kind, Unit};
use crate::sync::terms::settings::Levels;

pub(super) fn somebody(name: usize) -> Person {
    Person { there: true, deleted: false, disabled: false, inside: true, name, mail: Some(name), title: 0 }
}

pub(super) fn actions(plan: &Plan) -> Vec<(Action, &str)> {
    plan.steps.iter().map(|step| (step.action, step.rule.as_str())).collect()
}

/// Gives people one more attribute.
pub(super) fn with(mut objects: Vec<Object>, name: &str, values: &[(usize, &str)]) -> Vec<Object> {
    for object in &mut objects {
        for (number, value) in values {
            if object.guid == guid(*number) {
                object.attributes.insert(name.to_owned(), vec![(*value).to_owned()]);
            }
        }
    }
    objects
}

pub(super) fn run(bench: &mut Bench, objects: &[Object]) -> Plan {
    let plan = bench.plan(objects.to_vec(), true, start());
    assert_eq!(plan, bench.surveyed(objects.to_vec(), true, start(), usize::MAX).0);
    bench.execute(&plan, start());
    assert_eq!(bench.plan(objects.to_vec(), true, start()).steps, []);
    plan
}

#[test]
fn the_four_levels_of_not_being_listed() {
    let mut bench = Bench::new();
    let set = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<BTreeSet<String>>();
    bench.scope.filter = Filter::parse("(objectClass=user)").unwrap().into_owned();
    bench.scope.attributes.insert("mobile".into(), Origin::Local("mobile".into()));
    bench.scope.attributes.insert("manager".into(), Origin::Local("manager".into()));
    bench.scope.levels = Some(Levels {
        attribute: "employeetype".into(),
        not_published: set(&["secret"]),
        not_findable: set(&["hidden"]),
        without_contact: set(&["no-contact"]),
        contact: set(&["mobile"]),
    });
    let mobile = [(0, "1"), (1, "2"), (2, "3"), (3, "4")];
    let mut objects = with(objects(&[somebody(0), somebody(1), somebody(2), somebody(3)]), "mobile", &mobile);
    for object in &mut objects {
        if object.guid == guid(0) {
            object.references.insert("manager".into(), vec![guid(1), guid(2)]);
            object.attributes.insert("manager".into(), vec!["CN=1".into(), "CN=2".into()]);
        }
    }
    run(&mut bench, &objects);
    let entry = |bench: &Bench, number: usize| {
        let anchor = Anchor { member: bench.member.clone(), guid: guid(number) };
        bench.view.entries.iter().find(|entry| entry.anchor().as_ref() == Some(&anchor)).cloned()
    };
    assert_eq!(entry(&bench, 0).unwrap().values("manager").len(), 2);
    let listed = with(objects, "employeetype", &[(1, "Hidden"), (2, "no-contact"), (3, "secret")]);
    let plan = run(&mut bench, &listed);
    assert_eq!(
        actions(&plan),
        [(Action::Modify, "change"), (Action::Modify, "change"), (Action::Delete, "not_published")]
    );
    // a person whom nobody may find is named by nobody
    let manager = naming::dn("n2", &bench.base);
    assert_eq!(entry(&bench, 0).unwrap().values("manager"), [manager]);
    assert_eq!(entry(&bench, 1).unwrap().values("mobile"), ["2"]);
    assert_eq!(entry(&bench, 2).unwrap().values("mobile"), &[] as &[String]);
    assert_eq!(entry(&bench, 3), None);
    // one that had left is taken away as well
    let mut left = listed.clone();
    left.iter_mut().find(|object| object.guid == guid(2)).unwrap().parent = Some(OTHER);
    run(&mut bench, &left);
    assert!(entry(&bench, 2).unwrap().has_left());
    left.iter_mut().find(|object| object.guid == guid(2)).unwrap().parent = Some(STAFF);
    let gone = with(left, "employeetype", &[(2, "secret")]);
    run(&mut bench, &gone);
    assert_eq!(entry(&bench, 2), None);
}

#[test]
fn each_attribute_has_an_owner() {
    let mut bench = Bench::new();
    for name in ["mobile", "pager"] {
        bench.scope.attributes.insert(name.into(), Origin::Local(name.into()));
    }
    bench.scope.shared = BTreeMap::from([
        ("mobile".to_owned(), Ownership::MemberWhenThere),
        ("pager".to_owned(), Ownership::National),
    ]);
    let objects = objects(&[somebody(0)]);
    let full = with(with(objects.clone(), "mobile", &[(0, "1")]), "pager", &[(0, "2")]);
    run(&mut bench, &full);
    let entry = |bench: &Bench| bench.view.entries[0].clone();
    assert_eq!(
        (entry(&bench).values("mobile"), entry(&bench).values("pager")),
        (&["1".into()][..], &["2".into()][..])
    );
    // no local value is no opinion; and a national one is the national side's
    assert_eq!(run(&mut bench, &objects).steps, []);
    let other = with(with(objects.clone(), "mobile", &[(0, "3")]), "pager", &[(0, "4")]);
    run(&mut bench, &other);
    assert_eq!(
        (entry(&bench).values("mobile"), entry(&bench).values("pager")),
        (&["3".into()][..], &["2".into()][..])
    );
    // what the national side changes of its own is no drift
    bench.view.entries[0].attributes.insert("pager".into(), vec!["9".into()]);
    assert_eq!(run(&mut bench, &other).steps, []);
    // and what is the member's alone goes with it
    let untitled: Vec<Object> = other
        .into_iter()
        .map(|mut object| {
            object.attributes.remove("title");
            object
        })
        .collect();
    run(&mut bench, &untitled);
    assert_eq!(entry(&bench).values("title"), &[] as &[String]);
}

/// An entry of another organisation, of the person with this number.
pub(super) fn foreign(bench: &Bench, member: &str, person: &str, mail: &str, left: bool) -> TargetEntry {
    let attributes = [
        ("objectclass", "inetOrgPerson"),
        ("cn", "P"),
        ("sn", "S"),
        ("employeenumber", person),
        ("mail", mail),
        ("portcullismember", member),
        ("portcullisanchor", &format!("{member}/{}", guid(6))),
    ];
    let mut attributes: BTreeMap<String, Vec<String>> =
        attributes.iter().map(|(n, v)| ((*n).to_owned(), vec![(*v).to_owned()])).collect();
    if left {
        attributes.insert(LEFT_AT.into(), vec![to_generalized_time(start() - DAY)]);
        attributes.remove("mail");
    }
    let dn = naming::dn("old", &bench.base.parent().unwrap().child("ou", member).unwrap());
    TargetEntry { dn, entry_uuid: "theirs".into(), entry_csn: "c".into(), attributes, written_for: None }
}

pub(super) fn of_persons(bench: &mut Bench) -> Vec<Object> {
    bench.scope.attributes.insert("employeenumber".into(), Origin::Local("employeenumber".into()));
    bench.scope.person = Some("employeenumber".into());
    bench.view.base_exists = true;
    with(objects(&[somebody(0)]), "employeenumber", &[(0, "555012345678")])
}

#[test]
fn a_mover_keeps_the_entry_that_the_organisation_before_has_released() {
    let mut bench = Bench::new();
    let objects = of_persons(&mut bench);
    bench.beside.elsewhere = vec![foreign(&bench, "RXB", "555012345678", "", true)];
    let plan = bench.plan(objects.clone(), true, start());
    assert_eq!(actions(&plan), [(Action::Claim, "claim"), (Action::Rename, "rename")]);
    assert_eq!(plan.steps[0].anchor_before().unwrap(), format!("RXB/{}", guid(6)));
    assert_eq!(plan.steps[1].anchor_before().unwrap(), format!("RXA/{}", guid(0)));
    // the entry is the same one afterwards, and has everything of the new organisation
    let entries = std::mem::take(&mut bench.beside.elsewhere);
    bench.view.entries.extend(entries);
    bench.execute(&plan, start());
    assert_eq!((bench.view.entries.len(), bench.view.entries[0].entry_uuid.as_str()), (1, "theirs"));
    assert!(!bench.view.entries[0].has_left());
    assert_eq!(bench.plan(objects, true, start()).steps, []);
}

#[test]
fn two_employments_at_once_are_two_entries() {
    let mut bench = Bench::new();
    let objects = of_persons(&mut bench);
    bench.beside.elsewhere = vec![foreign(&bench, "RXB", "555012345678", "m0@rxa.nhs.test", false)];
    let plan = bench.plan(objects, true, start());
    assert_eq!(actions(&plan), [(Action::Create, "create")]);
    // a mail is one entry's: the person is published, the mail waits
    let held: Vec<(&str, Option<&str>)> =
        plan.quarantine.iter().map(|q| (q.code.as_str(), q.attribute.as_deref())).collect();
    assert_eq!(held, [("mail_elsewhere", Some("mail"))]);
    assert!(!plan.steps[0].changes.iter().any(|change| change.attribute == "mail"));
}

#[test]
fn two_released_entries_of_a_person_are_decided_by_hand() {
    let mut bench = Bench::new();
    let objects = of_persons(&mut bench);
    let (one, mut two) =
        (foreign(&bench, "RXB", "555012345678", "", true), foreign(&bench, "RXC", "555012345678", "", true));
    two.entry_uuid = "other".into();
    bench.beside.elsewhere = vec![one, two];
    let plan = bench.plan(objects, true, start());
    assert_eq!((plan.steps.len(), plan.quarantine[0].code.as_str()), (0, "ambiguous"));
}

pub(super) fn verdict(
    bench: &Bench,
    plan: &Plan,
    change: impl FnOnce(&mut Circumstances),
) -> crate::sync::people::guards::Verdict {
    let mut around = Circumstances { published: 1_000, people: plan.people, ..Circumstances::default() };
    change(&mut around);
    judge(plan, &around, &bench.scope.guards, 5, start(), |_| Vec::new())
}

#[test]
fn a_successor_takes_over_what_is_published_and_two_officers_approve() {
    let mut bench = Bench::new();
    let objects = of_persons(&mut bench);
    bench.beside.elsewhere = vec![foreign(&bench, "RXB", "555012345678", "m0@rxa.nhs.test", false)];
    bench.beside.succeeds = BTreeSet::from(["RXB".parse().unwrap()]);
    let plan = bench.plan(objects, true, start());
    assert_eq!(actions(&plan), [(Action::Claim, "succession"), (Action::Rename, "rename")]);
    assert!(plan.quarantine.is_empty());
    let verdict = verdict(&bench, &plan, |_| {});
    assert_eq!(
        verdict.trips.iter().map(|trip| (trip.guard, trip.officers)).collect::<Vec<_>>(),
        [(Kind::Succession, Some(2))]
    );
    assert_eq!((verdict.go.steps.len(), verdict.held.steps.len()), (0, 2));
}

#[test]
fn an_emptied_unit_stops_and_the_hidden_never_wait_for_it() {
    let mut bench = Bench::new();
    let everybody: Vec<Person> = (0..PEOPLE).map(somebody).collect();
    run(&mut bench, &objects(&everybody));
    let mut gone = everybody.clone();
    gone.iter_mut().take(4).for_each(|person| person.deleted = true);
    let hidden = with(objects(&gone), "employeetype", &[(6, "not-listed")]);
    let plan = bench.plan(hidden, true, start());
    assert_eq!(plan.steps.len(), 5);
    bench.scope.guards.unit = Guard { count: 3, share: 5_000 };
    let units_of: BTreeMap<Guid, Vec<Guid>> = (0..PEOPLE).map(|number| (guid(number), vec![STAFF])).collect();
    let unit = |staying: u64| BTreeMap::from([(STAFF, Unit { name: "OU=Staff".into(), staying })]);
    let judged = |staying: u64| {
        verdict(&bench, &plan, |around| {
            around.units_of = units_of.clone();
            around.units = unit(staying);
        })
    };
    let stopped = judged(2);
    assert_eq!(stopped.trips.iter().map(|trip| trip.guard).collect::<Vec<_>>(), [Kind::Unit]);
    assert!(stopped.trips[0].text.contains("OU=Staff"), "{}", stopped.trips[0].text);
    assert_eq!(actions(&stopped.go), [(Action::Mark, "hidden")]);
    // five of a hundred are no emptied unit
    assert!(judged(95).trips.is_empty());
    // what all members lose in a day has a limit too
    let national = verdict(&bench, &plan, |around| around.national = Some((1_998, 2_000)));
    assert_eq!(
        national.trips.iter().map(|trip| (trip.guard, trip.officers)).collect::<Vec<_>>(),
        [(Kind::National, Some(2))]
    );
    assert_eq!(actions(&national.go), [(Action::Mark, "hidden")]);
}

#[test]
fn a_value_that_somebody_else_insists_on_is_left_alone_after_three_times() {
    let mut bench = Bench::new();
    let objects = objects(&[somebody(0)]);
    run(&mut bench, &objects);
    let mut known = crate::sync::keeping::rewritten::Rewritten::default();
    for time in 0..4 {
        bench.view.entries[0].attributes.insert("title".into(), vec!["THEIRS".into()]);
        bench.beside.rewritten = known.left_alone();
        let plan = bench.plan(objects.clone(), true, start());
        assert_eq!(plan.steps.len(), usize::from(time < 3), "{time}");
        assert_eq!(plan.quarantine.iter().any(|one| one.code == "rewritten"), time == 3);
        bench.execute(&plan, start());
        known.after(&plan);
    }
    // another value of the member's own is written, and counted anew
    let changed = with(objects, "title", &[(0, "Matron")]);
    let plan = bench.plan(changed, true, start());
    assert_eq!(actions(&plan), [(Action::Modify, "change")]);
    known.after(&plan);
    assert!(known.left_alone().is_empty());
}

#[test]
fn whose_name_is_taken_keeps_the_one_there_is_and_everything_else_goes_on() {
    let mut bench = Bench::new();
    let before = objects(&[somebody(0), somebody(1)]);
    run(&mut bench, &before);
    // both are called alike now: who has the name keeps it, and the other one too keeps a name
    let mut people = [somebody(0), somebody(1)];
    people[1].name = 0;
    people[1].title = 5;
    let plan = bench.plan(objects(&people), true, start());
    assert_eq!(actions(&plan), [(Action::Modify, "change")]);
    let held: Vec<_> =
        plan.quarantine.iter().map(|one| (one.attribute.as_deref(), one.code.as_str())).collect();
    assert_eq!(held, [(Some("uid"), "duplicate")]);
    run(&mut bench, &objects(&people));
    assert!(bench.find("uid=n1,ou=RXA,ou=people,dc=national,dc=test").is_some());
    // somebody new with a name that is had waits as a whole
    people[1] = somebody(1);
    let mut third = somebody(2);
    third.name = 0;
    let plan = bench.plan(objects(&[people[0].clone(), people[1].clone(), third]), true, start());
    let held: Vec<_> =
        plan.quarantine.iter().map(|one| (one.attribute.as_deref(), one.code.as_str())).collect();
    assert_eq!(held, [(None, "duplicate")]);
}

#[test]
fn nobody_without_a_surname_gets_an_entry_or_loses_one() {
    let mut bench = Bench::new();
    let all = objects(&[somebody(0)]);
    run(&mut bench, &all);
    let strip = |mut all: Vec<Object>| {
        all.iter_mut().for_each(|object| drop(object.attributes.remove("sn")));
        all
    };
    let plan = bench.plan(with(strip(all), "title", &[(0, "Matron")]), true, start());
    assert_eq!(actions(&plan), [(Action::Modify, "change")]);
    assert!(plan.steps[0].changes.iter().all(|change| change.attribute != "sn"));
    let plan = bench.plan(strip(objects(&[somebody(0), somebody(1)])), true, start());
    let held: Vec<_> =
        plan.quarantine.iter().map(|one| (one.attribute.as_deref(), one.code.as_str())).collect();
    assert_eq!(held, [(Some("sn"), "no_surname"), (None, "no_surname")]);
    assert!(plan.steps.iter().all(|step| step.action != Action::Create));
}

#[test]
fn a_wish_not_to_be_listed_waits_for_nothing() {
    let mut bench = Bench::new();
    bench.scope.levels = Some(Levels {
        attribute: "employeetype".into(),
        not_published: BTreeSet::from(["secret".to_owned()]),
        ..Levels::default()
    });
    run(&mut bench, &objects(&[somebody(0), somebody(1), somebody(2)]));
    let mut all = with(
        objects(&[somebody(0), somebody(1), somebody(2)]),
        "employeetype",
        &[(0, "secret"), (1, "secret")],
    );
    for object in &mut all {
        if object.guid == guid(0) {
            object.parent = Some(OTHER);
        }
        object.partial |= object.guid == guid(1);
        if object.guid == guid(2) {
            object.attributes.remove("useraccountcontrol");
        }
    }
    let (plan, _) = bench.surveyed(all.clone(), true, start(), 1000);
    assert_eq!(plan.hash, bench.plan(all, true, start()).hash);
    assert_eq!(actions(&plan), [(Action::Delete, "not_published"), (Action::Delete, "not_published")]);
    let held: Vec<_> = plan.quarantine.iter().map(|one| (one.guid, one.code.as_str())).collect();
    assert_eq!(held, [(guid(2), "partial")], "whether an account is enabled must be known");
}

#[test]
fn what_the_national_directory_refused_is_held_back_until_it_changes() {
    let mut bench = Bench::new();
    let all = objects(&[somebody(0)]);
    run(&mut bench, &all);
    let changed = with(with(all, "title", &[(0, "\u{1f600}")]), "displayname", &[(0, "New")]);
    let plan = bench.plan(changed.clone(), true, start());
    let undone = |text: &str| crate::sync::writing::execute::Undone {
        step: 0,
        action: Action::Modify,
        guid: None,
        code: Some(21),
        text: text.to_owned(),
    };
    let refused = |text: &str| {
        let mut executed =
            crate::sync::writing::execute::Executed { undone: vec![undone(text)], ..Default::default() };
        let mut refused = crate::sync::writing::refused::Refused::default();
        let new = refused.take_in(&plan, &mut executed, start());
        (refused, new, executed.undone.len())
    };
    assert!(!refused("no attribute is named").1, "which of two it was is not guessed");
    assert!(!refused("title: and displayname: are").1);
    let (refused, new, undone) =
        refused("the national directory refused: title: value #0 invalid per syntax");
    assert_eq!((new, undone), (true, 0));
    bench.beside.refused = refused.clone();
    let plan = bench.plan(changed.clone(), true, start());
    let attributes: Vec<&str> =
        plan.steps[0].changes.iter().map(|change| change.attribute.as_str()).collect();
    assert!(attributes.contains(&"displayname") && !attributes.contains(&"title"), "{attributes:?}");
    assert_eq!(plan.quarantine[0].code, "refused");
    bench.execute(&plan, start());
    assert_eq!(bench.plan(changed.clone(), true, start()).steps, [], "nothing is tried again in every run");
    // another value, or the next day
    let other = with(changed.clone(), "title", &[(0, "Matron")]);
    assert_eq!(actions(&bench.plan(other, true, start())), [(Action::Modify, "change")]);
    bench.beside.refused = refused.still(start() + DAY);
    assert_eq!(actions(&bench.plan(changed, true, start())), [(Action::Modify, "change")]);
}
