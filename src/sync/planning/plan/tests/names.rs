//! Entries that somebody has named by other attributes than account names.

use super::by_hand::{at, everybody, held, planned, set, tripped};
use super::people::{actions, foreign, of_persons, run, with};
use super::*;
use crate::sync::people::guards::Kind;

#[test]
fn an_entry_that_is_named_by_something_else_is_renamed_before_anything_is_done_with_it() {
    let mut bench = Bench::new();
    super::memory::asking(&mut bench);
    let mut people = everybody();
    run(&mut bench, &objects(&people));
    let unit = bench.base.to_string();
    for (number, name) in [(0, "uid=n0+title=Nurse"), (1, "cn=One"), (2, "mail=m2"), (3, "cn=Three")] {
        at(&mut bench, number).dn = format!("{name},{unit}");
    }
    set(at(&mut bench, 3), ANCHOR, &format!("RXB/{}", guid(3)));
    people[0].disabled = true;
    people[3].title = 1 - people[3].title;
    // somebody is to have the mail of the first, and waits for it; a wish needs no name
    people[0].mail = None;
    people[4].mail = Some(0);
    let wish = with(objects(&people), "employeetype", &[(2, "not-listed")]);
    // an entry is renamed first only where its name is in the way
    let plan = planned(&bench, &wish);
    let first = [
        (Action::Modify, "drift"),
        (Action::Rename, "rename_first"),
        (Action::Rename, "rename"),
        (Action::Rename, "rename"),
        (Action::Delete, "not_published"),
    ];
    assert_eq!((actions(&plan), held(&plan)), (first.to_vec(), vec![]));
    bench.scope.guards.renames = Guard { count: 0, share: 0 };
    assert_eq!(tripped(&bench, &plan), [Kind::Renames]);
    bench.scope.guards = guards(1000);
    bench.execute(&plan, start());
    let plan = planned(&bench, &wish);
    assert_eq!(
        (actions(&plan), held(&plan)),
        (vec![(Action::Mark, "disabled"), (Action::Modify, "change")], vec![])
    );
    bench.execute(&plan, start());
    assert_eq!(planned(&bench, &wish).steps, []);
    let own = naming::dn("n1", &bench.base);
    assert_eq!(at(&mut bench, 1).dn, own);
}

#[test]
fn two_entries_of_a_leaver_that_are_named_by_something_else_are_both_marked() {
    let mut bench = Bench::new();
    let mut people = everybody();
    run(&mut bench, &objects(&people));
    let unit = bench.base.to_string();
    at(&mut bench, 0).dn = format!("title=One,{unit}");
    let mut copy = at(&mut bench, 0).clone();
    (copy.dn, copy.entry_uuid) = (format!("title=Two,{unit}"), "copy".to_owned());
    copy.attributes.remove("mail");
    bench.owners.insert("copy".to_owned(), guid(0));
    bench.view.entries.push(copy);
    people[0].disabled = true;
    for _ in 0..4 {
        let plan = planned(&bench, &objects(&people));
        bench.execute(&plan, start());
    }
    assert_eq!(planned(&bench, &objects(&people)).steps, []);
    assert_eq!(bench.view.entries.iter().filter(|entry| entry.has_left()).count(), 2);
}

/// Names an entry by these attributes as well, as somebody does who keeps its old name: by another's account name, and by a mail
/// that no other entry has.
fn name(bench: &mut Bench, number: usize, by: &[&str], own: bool) {
    let unit = bench.base.to_string();
    let next = (number + 1) % bench.view.entries.len();
    let another = bench.view.entries[next].first(NAMING).map(str::to_owned);
    let entry = &mut bench.view.entries[number];
    let identity = entry.entry_uuid.clone();
    let mut parts = Vec::new();
    for attribute in by {
        let new = match *attribute {
            "mail" => format!("{identity}@rxa.nhs.test"),
            NAMING => another.clone().unwrap_or_default(),
            _ => identity.clone(),
        };
        let values = entry.attributes.entry((*attribute).to_owned()).or_default();
        let value = values.first().cloned().filter(|_| own).unwrap_or(new);
        if !values.contains(&value) {
            values.push(value.clone());
        }
        parts.push(format!("{attribute}={value}"));
    }
    let dn = format!("{},{unit}", parts.join("+"));
    if bench.find(&dn).is_none() {
        bench.view.entries[number].dn = dn;
    }
}

/// Which entry, by which attributes, and whether by values that it has already.
fn names() -> impl Strategy<Value = Vec<(usize, Vec<&'static str>, bool)>> {
    let attributes = ["uid", "mail", "title", "displayname", "carlicense", LEFT_AT];
    let by = prop::sample::subsequence(attributes.to_vec(), 1..3);
    prop::collection::vec((0..PEOPLE, by, prop::bool::ANY), 0..PEOPLE)
}

/// Who asks for what.
fn asks() -> impl Strategy<Value = Vec<(usize, &'static str)>> {
    prop::collection::vec((0..PEOPLE, prop::sample::select(vec!["not-listed", "no-contact"])), 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_entries_are_named_by_everything_is_done(
        first in orderly(), second in orderly(), names in names(), asks in asks(), lazily: bool,
    ) {
        let mut bench = Bench::new();
        super::memory::asking(&mut bench);
        run(&mut bench, &objects(&first));
        for (entry, by, own) in &names {
            if *entry < bench.view.entries.len() {
                name(&mut bench, *entry, by, *own);
            }
        }
        let cars = |bench: &Bench| -> usize { bench.view.entries.iter().map(|entry| entry.values("carlicense").len()).sum() };
        let cars_before = cars(&bench);
        let objects = with(objects(&second), "employeetype", &asks);
        let mut deleted = 0;
        for _ in 0..4 {
            let plan = planned(&bench, &objects);
            deleted += plan.steps.iter().filter(|step| step.action == Action::Delete).count();
            if lazily { bench.execute_lazily(&plan, start()) } else { bench.execute(&plan, start()) }
        }
        let plan = planned(&bench, &objects);
        prop_assert_eq!(&plan.steps, &Vec::new());
        prop_assert_eq!(&plan.later, &BTreeSet::new());
        prop_assert!(!held(&plan).iter().any(|(code, _)| *code == "name_taken"), "{:?}", plan.quarantine);
        // what is nobody's of ours is lost with entries that are deleted alone
        prop_assert!(cars(&bench) + deleted >= cars_before);
    }
}

#[test]
fn names_that_wait_for_one_another_are_freed() {
    let mut bench = Bench::new();
    let mut people = everybody();
    run(&mut bench, &objects(&people));
    let unit = bench.base.to_string();
    at(&mut bench, 0).dn = format!("mail=m0@rxa.nhs.test,{unit}");
    // the two change places, mails and all
    people[0] = Person { name: 1, mail: Some(1), ..people[0].clone() };
    people[1] = Person { name: 0, mail: Some(0), ..people[1].clone() };
    for _ in 0..3 {
        let plan = planned(&bench, &objects(&people));
        bench.execute(&plan, start());
    }
    assert_eq!(planned(&bench, &objects(&people)).steps, []);
    let own = naming::dn("n1", &bench.base);
    assert_eq!(at(&mut bench, 0).dn, own);
    assert_eq!(at(&mut bench, 1).values("mail"), ["m0@rxa.nhs.test"]);
}

#[test]
fn a_wish_is_followed_though_the_own_name_is_taken_by_a_stranger() {
    let mut bench = Bench::new();
    super::memory::asking(&mut bench);
    run(&mut bench, &objects(&everybody()));
    let unit = bench.base.to_string();
    let mut stray = at(&mut bench, 1).clone();
    at(&mut bench, 0).dn = format!("uid=n0+mail=m0@rxa.nhs.test,{unit}");
    (stray.dn, stray.entry_uuid) = (naming::dn("n0", &bench.base), "stray".to_owned());
    stray.attributes.retain(|name, _| ["cn", "sn", "objectclass"].contains(&name.as_str()));
    bench.view.entries.push(stray);
    let objects = with(objects(&everybody()), "employeetype", &[(0, "no-contact")]);
    for _ in 0..2 {
        let plan = planned(&bench, &objects);
        assert_eq!(held(&plan), [("name_taken", guid(0))]);
        bench.execute(&plan, start());
    }
    assert_eq!(planned(&bench, &objects).steps, []);
    assert_eq!(at(&mut bench, 0).values("mail"), [] as [&str; 0]);
    bench.view.entries.retain(|entry| entry.entry_uuid != "stray");
    assert_eq!(actions(&planned(&bench, &objects)), [(Action::Rename, "rename")]);
}

#[test]
fn an_entry_that_is_named_by_its_anchor_is_taken_over_when_it_has_another_name() {
    let mut bench = Bench::new();
    let objects = of_persons(&mut bench);
    let mut theirs = foreign(&bench, "RXB", "555012345678", "", true);
    let before = theirs.dn.clone();
    theirs.dn = format!("{ANCHOR}={},ou=RXB,ou=people,dc=national,dc=test", theirs.first(ANCHOR).unwrap());
    bench.beside.elsewhere = vec![theirs];
    let plan = bench.plan(objects.clone(), true, start());
    assert_eq!((actions(&plan), held(&plan)), (vec![], vec![("name_taken", guid(0))]));
    bench.beside.elsewhere[0].dn = before;
    assert!(actions(&bench.plan(objects, true, start())).contains(&(Action::Claim, "claim")));
}
