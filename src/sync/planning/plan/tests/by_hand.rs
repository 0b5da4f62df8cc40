//! What somebody does to the national directory behind our back, and what a directory stops showing.

use super::people::{actions, run, somebody, verdict, with};
use super::*;
use crate::sync::people::guards::Kind;

pub(super) fn at(bench: &mut Bench, number: usize) -> &mut TargetEntry {
    let anchor = Anchor { member: bench.member.clone(), guid: guid(number) };
    bench.view.entries.iter_mut().find(|entry| entry.anchor().as_ref() == Some(&anchor)).unwrap()
}

pub(super) fn set(entry: &mut TargetEntry, name: &str, value: &str) {
    entry.attributes.insert(name.to_owned(), vec![value.to_owned()]);
}

pub(super) fn everybody() -> Vec<Person> {
    (0..PEOPLE).map(somebody).collect()
}

pub(super) fn held(plan: &Plan) -> Vec<(&str, Guid)> {
    plan.quarantine.iter().map(|one| (one.code.as_str(), one.guid)).collect()
}

pub(super) fn tripped(bench: &Bench, plan: &Plan) -> Vec<Kind> {
    verdict(bench, plan, |_| {}).trips.iter().map(|trip| trip.guard).collect()
}

#[test]
fn mails_that_go_round_in_a_circle_are_mails_that_change() {
    let mut bench = Bench::new();
    run(&mut bench, &objects(&everybody()));
    let round: Vec<Person> =
        (0..PEOPLE).map(|name| Person { mail: Some((name + 1) % PEOPLE), ..somebody(name) }).collect();
    let plan = bench.plan(objects(&round), true, start());
    assert_eq!(plan.steps.len(), 2 * PEOPLE);
    bench.scope.guards.mails = Guard { count: PEOPLE as u64 - 1, share: 10_000 };
    let judged = verdict(&bench, &plan, |_| {});
    assert_eq!(
        judged.trips.iter().map(|trip| (trip.guard, trip.found)).collect::<Vec<_>>(),
        [(Kind::Mails, 7)]
    );
    assert_eq!((judged.go.steps.len(), judged.held.steps.len()), (0, 2 * PEOPLE));
    // each person counts once, whatever the steps, and whoever comes back is one of those who are published
    bench.scope.guards.mails = Guard { count: PEOPLE as u64, share: 10_000 };
    bench.scope.guards.changes = Guard { count: PEOPLE as u64, share: 10_000 };
    assert_eq!(tripped(&bench, &plan), []);
}

#[test]
fn whoever_comes_back_is_one_of_those_of_whom_a_share_may_change() {
    let mut bench = Bench::new();
    run(&mut bench, &objects(&everybody()));
    let gone: Vec<Person> =
        everybody().into_iter().map(|person| Person { disabled: true, ..person }).collect();
    run(&mut bench, &objects(&gone));
    let plan = bench.plan(objects(&everybody()), true, start());
    assert_eq!(plan.counts(), BTreeMap::from([(Action::Modify, PEOPLE as u64)]));
    let trips = verdict(&bench, &plan, |around| around.published = 0).trips;
    assert_eq!(trips, []);
}

#[test]
fn an_anchor_that_two_entries_carry_keeps_nobody_listed() {
    let mut bench = Bench::new();
    let people = everybody();
    run(&mut bench, &objects(&people));
    let twin = TargetEntry {
        dn: naming::dn("twin", &bench.base),
        entry_uuid: "twin".into(),
        ..at(&mut bench, 0).clone()
    };
    bench.view.entries.push(twin);
    // the twin would break the bench's own rule that a mail is one entry's
    bench.view.entries.last_mut().unwrap().attributes.remove("mail");
    let plan = bench.plan(objects(&people), true, start());
    assert_eq!((plan.steps.len(), held(&plan)), (0, vec![("anchor_twice", guid(0))]));
    // a leaver's entries are marked one after the other
    let mut left = people.clone();
    left[0].disabled = true;
    for _ in 0..2 {
        let plan = bench.plan(objects(&left), true, start());
        assert_eq!(
            (actions(&plan), held(&plan)),
            (vec![(Action::Mark, "disabled")], vec![("anchor_twice", guid(0))])
        );
        bench.execute(&plan, start());
    }
    assert_eq!(bench.plan(objects(&left), true, start()).steps, []);
    // and a wish not to be listed takes both at once
    super::memory::asking(&mut bench);
    let objects = with(objects(&left), "employeetype", &[(0, "not-listed")]);
    let plan = bench.plan(objects.clone(), true, start());
    assert_eq!(actions(&plan), [(Action::Delete, "not_published"); 2]);
    bench.execute(&plan, start());
    assert_eq!(bench.view.entries.len(), PEOPLE - 1);
    assert_eq!(bench.plan(objects, true, start()).steps, []);
}

#[test]
fn an_entry_of_nobody_takes_no_mail_away() {
    let mut bench = Bench::new();
    let mut people = everybody();
    people[1].mail = None;
    run(&mut bench, &objects(&people));
    let mut stray = at(&mut bench, 0).clone();
    stray.dn = naming::dn("stray", &bench.base);
    stray.entry_uuid = "stray".into();
    [ANCHOR, MEMBER, STAMP, "employeenumber"].iter().for_each(|name| _ = stray.attributes.remove(*name));
    set(&mut stray, "mail", "m0@rxa.nhs.test");
    bench.view.entries.push(stray);
    people[0].title = 1;
    let plan = bench.plan(objects(&people), true, start());
    assert_eq!((actions(&plan), held(&plan)), (vec![(Action::Modify, "change")], vec![]));
    assert!(!plan.steps[0].changes.iter().any(|change| change.attribute == "mail"));
    // whoever has not got it yet waits, and it is said whose it is to mend
    set(bench.view.entries.last_mut().unwrap(), "mail", "m1@rxa.nhs.test");
    people[0].title = 0;
    people[1].mail = Some(1);
    let plan = bench.plan(objects(&people), true, start());
    assert_eq!((plan.steps.len(), held(&plan)), (0, vec![("mail_of_nobody", guid(1))]));
}

#[test]
fn the_time_to_keep_a_leaver_is_what_we_wrote() {
    let mut bench = Bench::new();
    run(&mut bench, &objects(&everybody()));
    let mut left = everybody();
    left[0].disabled = true;
    let objects = objects(&left);
    run(&mut bench, &objects);
    let forged = to_generalized_time(start() - DAY * 3_000);
    let wrote = at(&mut bench, 0).first(LEFT_AT).unwrap().to_owned();
    for (name, value) in [(LEFT_AT, forged.as_str()), ("telephonenumber", "+44 999")] {
        set(at(&mut bench, 0), name, value);
        let later = start() + DAY * 29;
        let plan = bench.plan(objects.clone(), true, later);
        assert_eq!(plan, bench.surveyed(objects.clone(), true, later, usize::MAX).0);
        assert_eq!(actions(&plan), [(Action::Modify, "drift")]);
        bench.execute(&plan, later);
        // kept for its time anew
        let until = later + DAY * 30;
        assert_eq!(bench.plan(objects.clone(), true, until - Duration::SECOND).steps, []);
        assert_eq!(actions(&bench.plan(objects.clone(), true, until)), [(Action::Delete, "leaver_over")]);
    }
    assert_ne!(at(&mut bench, 0).first(LEFT_AT).unwrap(), wrote);
    assert!(at(&mut bench, 0).values("telephonenumber").is_empty());
}

#[test]
fn an_anchor_that_somebody_changed_is_put_back() {
    let mut bench = Bench::new();
    super::memory::asking(&mut bench);
    let people = everybody();
    let listed = objects(&people);
    run(&mut bench, &listed);
    let anchor = |number: usize| format!("RXA/{}", guid(number));
    let identities: Vec<String> = (0..3).map(|number| at(&mut bench, number).entry_uuid.clone()).collect();
    let give = |bench: &mut Bench, number: usize, anchor: &str| {
        let entry = bench.view.entries.iter_mut().find(|entry| entry.entry_uuid == identities[number]);
        set(entry.unwrap(), ANCHOR, anchor);
    };
    let theirs = format!("RXB/{}", guid(6));
    // exchanged, given to another as well, and another organisation's
    let changes = [vec![(0, anchor(1)), (1, anchor(0))], vec![(0, anchor(1))], vec![(2, theirs)]];
    for changes in changes {
        changes.iter().for_each(|(number, anchor)| give(&mut bench, *number, anchor));
        let plan = bench.plan(listed.clone(), true, start());
        assert_eq!(plan, bench.surveyed(listed.clone(), true, start(), usize::MAX).0, "{changes:?}");
        assert_eq!(
            (actions(&plan), held(&plan)),
            (vec![(Action::Modify, "drift"); changes.len()], vec![]),
            "{changes:?}"
        );
        bench.execute(&plan, start());
        for (number, identity) in identities.iter().enumerate() {
            assert_eq!(at(&mut bench, number).entry_uuid, *identity, "{changes:?}");
        }
    }
}

#[test]
fn an_anchor_is_put_back_before_a_mail_is_released() {
    let mut bench = Bench::new();
    let mut people = everybody();
    run(&mut bench, &objects(&people));
    let identities = [0, 1].map(|number| at(&mut bench, number).entry_uuid.clone());
    for (identity, other) in identities.iter().zip([1, 0]) {
        let entry = bench.view.entries.iter_mut().find(|entry| entry.entry_uuid == *identity).unwrap();
        set(entry, ANCHOR, &format!("RXA/{}", guid(other)));
    }
    (people[0].mail, people[1].mail) = (Some(1), Some(0));
    run(&mut bench, &objects(&people));
    assert_eq!([0, 1].map(|number| at(&mut bench, number).entry_uuid.clone()), identities);
    // one who asks not to be listed, while somebody else is to have the mail
    set(at(&mut bench, 0), ANCHOR, &format!("RXA/{}", guid(1)));
    super::memory::asking(&mut bench);
    people[0].mail = Some(6);
    people[6].mail = None;
    people[2].mail = Some(1);
    let wish = with(objects(&people), "employeetype", &[(0, "not-listed")]);
    let plan = planned(&bench, &wish);
    let deleted = plan.steps.iter().find(|step| step.action == Action::Delete).unwrap();
    assert_eq!(deleted.entry_uuid.as_ref(), Some(&identities[0]));
    // whoever is to have the mail waits for it
    assert!(actions(&plan).contains(&(Action::Release, "not_published")), "{plan:?}");
    bench.execute(&plan, start());
    assert_eq!(at(&mut bench, 2).first("mail"), Some("m1@rxa.nhs.test"));
}

#[test]
fn a_wish_is_done_though_its_entry_stands_behind_more_changes_than_a_plan_has() {
    let mut bench = Bench::new();
    super::memory::asking(&mut bench);
    let mut people = everybody();
    run(&mut bench, &objects(&people));
    let identity = at(&mut bench, 6).entry_uuid.clone();
    set(at(&mut bench, 6), ANCHOR, &format!("RXA/{}", guid(3)));
    // it comes before the one that it pretends to be
    bench.view.entries.sort_by_key(|entry| (entry.entry_uuid != identity, entry.dn.clone()));
    bench.view.entries.swap(0, 1);
    people.iter_mut().for_each(|person| person.title = 1 - person.title);
    let wish = with(objects(&people), "employeetype", &[(6, "not-listed")]);
    let (plan, others) = bench.surveyed(wish, true, start(), 1);
    assert!(others.deferred > 0);
    let deleted: Vec<_> = plan.steps.iter().filter(|step| step.action == Action::Delete).collect();
    assert_eq!(deleted.iter().map(|step| step.entry_uuid.as_ref()).collect::<Vec<_>>(), [Some(&identity)]);
    assert_eq!(held(&plan), []);
}

/// Two people, of whom the first is to be joined with an entry of this name that has the second one's mail.
fn joined_by_hand(name: &str) -> (Bench, Vec<Object>) {
    let mut bench = Bench::new();
    let mut people = everybody();
    people.truncate(2);
    bench.scope.attributes.insert("employeenumber".into(), Origin::Local("employeenumber".into()));
    let numbers = [(0, "555012345678"), (1, "555087654321")];
    run(&mut bench, &with(objects(&[somebody(5)]), "employeenumber", &[(5, "1")]));
    bench.view.entries.clear();
    let mut early = TargetEntry {
        dn: format!("{name},{}", bench.base),
        entry_uuid: "early".into(),
        entry_csn: "c".into(),
        attributes: BTreeMap::new(),
        written_for: None,
    };
    for (name, value) in
        [("objectclass", "inetOrgPerson"), ("cn", "E"), ("sn", "E"), ("mail", "m1@rxa.nhs.test")]
    {
        set(&mut early, name, value);
    }
    set(&mut early, "employeenumber", numbers[0].1);
    bench.beside.decided = BTreeMap::from([(guid(0), early.dn.clone())]);
    bench.view.entries.push(early);
    (bench, with(objects(&people), "employeenumber", &numbers))
}

#[test]
fn an_entry_that_is_joined_by_hand_lets_go_of_a_mail_before() {
    let (mut bench, objects) = joined_by_hand("uid=early");
    let plan = run(&mut bench, &objects);
    assert!(actions(&plan).contains(&(Action::Release, "release")), "{plan:?}");
    assert_eq!(at(&mut bench, 0).entry_uuid, "early");
}

#[test]
fn an_entry_that_is_named_by_the_mail_that_it_lets_go_of_is_joined_before() {
    let (mut bench, objects) = joined_by_hand("mail=m1@rxa.nhs.test");
    let plan = planned(&bench, &objects);
    assert_eq!(actions(&plan), [(Action::Join, "join"), (Action::Rename, "rename")]);
    assert_eq!(plan.later, BTreeSet::from([guid(0), guid(1)]), "who waits is not forgotten");
    bench.execute(&plan, start());
    let plan = planned(&bench, &objects);
    assert!(actions(&plan).contains(&(Action::Create, "create")), "{plan:?}");
    bench.execute(&plan, start());
    assert_eq!(planned(&bench, &objects).steps, []);
    assert_eq!(at(&mut bench, 0).entry_uuid, "early");
}

/// A plan for these, which is the same with a survey before it.
pub(super) fn planned(bench: &Bench, objects: &[Object]) -> Plan {
    let plan = bench.plan(objects.to_vec(), true, start());
    assert_eq!(plan, bench.surveyed(objects.to_vec(), true, start(), usize::MAX).0);
    plan
}

/// What somebody does to an entry, in words and as a deed.
type Tampering<'a> = (&'a str, &'a dyn Fn(&mut TargetEntry));

#[test]
fn whoever_leaves_or_asks_is_found_by_the_journal_whatever_became_of_the_entry() {
    let strip = |entry: &mut TargetEntry| {
        [ANCHOR, MEMBER, STAMP, "objectclass"].iter().for_each(|name| _ = entry.attributes.remove(*name));
        set(entry, "objectclass", "inetOrgPerson");
    };
    let changes: [Tampering<'_>; 5] = [
        ("another's anchor", &|entry| set(entry, ANCHOR, &format!("RXA/{}", guid(3)))),
        ("nobody's anchor", &|entry| set(entry, ANCHOR, &format!("RXA/{}", Guid([0xee; 16])))),
        ("another organisation's anchor, and edited", &|entry| {
            set(entry, ANCHOR, &format!("RXB/{}", guid(0)));
            set(entry, "title", "theirs");
        }),
        ("another name as well", &|entry| {
            set(entry, ANCHOR, &format!("RXB/{}", guid(0)));
            entry.dn = "uid=elsewhere,ou=RXA,ou=people,dc=national,dc=test".into();
        }),
        ("everything of ours taken away", &strip),
    ];
    for (what, change) in changes {
        let mut bench = Bench::new();
        super::memory::asking(&mut bench);
        let people = everybody();
        run(&mut bench, &objects(&people));
        let identity = at(&mut bench, 0).entry_uuid.clone();
        let entry = bench.view.entries.iter_mut().find(|entry| entry.entry_uuid == identity).unwrap();
        change(entry);
        // in any order
        bench.view.entries.reverse();
        for flag in ["disabled", "deleted", "asks"] {
            let mut bench = Bench {
                member: bench.member.clone(),
                base: bench.base.clone(),
                scope: bench.scope.clone(),
                bases: bench.bases.clone(),
                national: bench.national.clone(),
                view: bench.view.clone(),
                beside: bench.beside.clone(),
                asked: bench.asked.clone(),
                writes: 1_000,
                owners: bench.owners.clone(),
            };
            let mut left = people.clone();
            left[0].disabled = flag == "disabled";
            left[0].deleted = flag == "deleted";
            let wish = if flag == "asks" { "not-listed" } else { "" };
            let objects = with(objects(&left), "employeetype", &[(0, wish)]);
            let plan = planned(&bench, &objects);
            let action = if flag == "asks" { Action::Delete } else { Action::Mark };
            let own: Vec<(Action, Option<&String>)> =
                plan.steps.iter().map(|step| (step.action, step.entry_uuid.as_ref())).collect();
            assert_eq!((own, held(&plan)), (vec![(action, Some(&identity))], vec![]), "{what}, {flag}");
            bench.execute(&plan, start());
            assert_eq!(planned(&bench, &objects).steps, [], "{what}, {flag}");
            // nobody else's entry has suffered, and the person's own comes back
            let plan = planned(&bench, &super::objects(&people));
            bench.execute(&plan, start());
            let back = at(&mut bench, 0).entry_uuid.clone();
            assert_eq!(back == identity, flag != "asks", "{what}, {flag}");
            assert_eq!(bench.view.published(), PEOPLE as u64, "{what}, {flag}");
        }
    }
}

#[test]
fn what_lies_below_an_entry_keeps_nobody_listed() {
    let mut bench = Bench::new();
    super::memory::asking(&mut bench);
    let people = everybody();
    run(&mut bench, &objects(&people));
    let parent = at(&mut bench, 0).dn.clone();
    let device = TargetEntry {
        dn: format!("cn=device,{parent}"),
        entry_uuid: "device".into(),
        entry_csn: "c".into(),
        attributes: BTreeMap::from([("objectclass".to_owned(), vec!["device".to_owned()])]),
        written_for: None,
    };
    bench.view.entries.push(device);
    // a leaver of ours as well
    let mut left = people.clone();
    left[1].disabled = true;
    run(&mut bench, &objects(&left));
    at(&mut bench, 1).dn = format!("uid=n1,{parent}");
    let wish = with(objects(&left), "employeetype", &[(0, "not-listed")]);
    let plan = planned(&bench, &wish);
    assert_eq!(
        (actions(&plan), held(&plan)),
        (vec![(Action::Mark, "not_published"), (Action::Rename, "rename")], vec![("has_below", guid(0))])
    );
    bench.execute(&plan, start());
    let plan = planned(&bench, &wish);
    assert_eq!((plan.steps.len(), held(&plan)), (0, vec![("has_below", guid(0))]));
    bench.view.entries.retain(|entry| entry.entry_uuid != "device");
    let plan = planned(&bench, &wish);
    assert_eq!((actions(&plan), held(&plan)), (vec![(Action::Delete, "not_published")], vec![]));
}

#[test]
fn a_time_of_leaving_that_somebody_wrote_hides_no_removal_from_the_guards() {
    let mut bench = Bench::new();
    let mut people = everybody();
    run(&mut bench, &objects(&people));
    set(at(&mut bench, 0), LEFT_AT, &to_generalized_time(start() - DAY));
    people[0].disabled = true;
    let plan = planned(&bench, &objects(&people));
    assert_eq!(actions(&plan), [(Action::Mark, "disabled")]);
}

#[test]
fn what_somebody_insists_on_keeps_a_leaver_no_longer() {
    let mut bench = Bench::new();
    run(&mut bench, &objects(&everybody()));
    let mut left = everybody();
    left[0].disabled = true;
    let objects = objects(&left);
    run(&mut bench, &objects);
    set(at(&mut bench, 0), "telephonenumber", "+44 999");
    let plan = planned(&bench, &objects);
    assert_eq!(actions(&plan), [(Action::Modify, "drift")]);
    bench.execute(&plan, start());
    set(at(&mut bench, 0), "telephonenumber", "+44 999");
    bench.beside.rewritten = BTreeSet::from([(guid(0), "telephonenumber".to_owned())]);
    assert_eq!(planned(&bench, &objects).steps, []);
    // another one is still taken away, and the time of keeping ends
    set(at(&mut bench, 0), "mail", "back@rxa.nhs.test");
    let plan = planned(&bench, &objects);
    assert_eq!(actions(&plan), [(Action::Modify, "drift")]);
    assert!(!plan.steps[0].changes.iter().any(|change| change.attribute == "telephonenumber"));
    bench.execute(&plan, start());
    assert_eq!(actions(&bench.plan(objects, true, start() + DAY * 30)), [(Action::Delete, "leaver_over")]);
}

#[test]
fn an_entry_that_was_moved_out_of_the_unit_is_still_the_persons() {
    let mut bench = Bench::new();
    let people = everybody();
    run(&mut bench, &objects(&people));
    let elsewhere = bench.base.parent().unwrap().child("ou", "RXB").unwrap();
    let mut moved = at(&mut bench, 0).clone();
    bench.view.entries.retain(|entry| entry.entry_uuid != moved.entry_uuid);
    moved.dn = naming::dn("n0", &elsewhere);
    bench.beside.elsewhere = vec![moved.clone()];
    let plan = bench.plan(objects(&people), true, start());
    assert_eq!((actions(&plan), held(&plan)), (vec![(Action::Rename, "rename")], vec![]));
    assert_eq!(plan.steps[0].entry_uuid.as_deref(), Some(moved.entry_uuid.as_str()));
    // whoever leaves is marked there, and the entry comes back
    let mut left = people.clone();
    left[0].disabled = true;
    let plan = bench.plan(objects(&left), true, start());
    assert_eq!(actions(&plan), [(Action::Mark, "disabled"), (Action::Rename, "rename")]);
    // a wish finds it there
    super::memory::asking(&mut bench);
    let objects = with(objects(&people), "employeetype", &[(0, "not-listed")]);
    let plan = bench.plan(objects, true, start());
    assert_eq!(actions(&plan), [(Action::Delete, "not_published")]);
    assert_eq!(plan.steps[0].dn, moved.dn);
}

#[test]
fn whom_a_complete_pass_did_not_bring_though_deletions_are_told_an_officer_looks_at() {
    let mut bench = Bench::new();
    let people = everybody();
    run(&mut bench, &objects(&people));
    let mut unseen = objects(&people);
    for object in unseen.iter_mut().filter(|object| object.guid == guid(0) || object.guid == guid(1)) {
        object.deleted = true;
        object.unseen = object.guid == guid(0);
    }
    let plan = bench.plan(unseen.clone(), true, start());
    assert_eq!(actions(&plan), [(Action::Mark, "unseen"), (Action::Mark, "leaver")]);
    let judged = verdict(&bench, &plan, |_| {});
    assert_eq!(
        judged.trips.iter().map(|trip| (trip.guard, trip.found, trip.officers)).collect::<Vec<_>>(),
        [(Kind::Unseen, 1, Some(1))]
    );
    assert_eq!(actions(&judged.go), [(Action::Mark, "leaver")]);
    // it comes into sight again, or its deletion is told after all
    let back = Object::after(
        Some(unseen.iter().find(|object| object.guid == guid(0)).unwrap().clone()),
        guid(0),
        crate::sync::terms::staged::Delta { deleted: Some(true), ..Default::default() },
    );
    assert!(back.deleted && !back.unseen);
}

#[test]
fn an_entry_that_was_there_before_is_joined_not_doubled() {
    let mut bench = Bench::new();
    let people = vec![Person {
        there: true,
        deleted: false,
        disabled: false,
        inside: true,
        name: 0,
        mail: Some(0),
        title: 0,
    }];
    bench.view.base_exists = true;
    let attributes =
        [("cn", "P"), ("sn", "S"), ("objectclass", "inetOrgPerson"), ("mail", "M0@rxa.nhs.test")];
    bench.view.entries.push(TargetEntry {
        dn: "cn=P,ou=RXA,ou=people,dc=national,dc=test".into(),
        entry_uuid: "u".into(),
        entry_csn: "c".into(),
        attributes: attributes.iter().map(|(n, v)| ((*n).to_owned(), vec![(*v).to_owned()])).collect(),
        written_for: None,
    });
    let plan = bench.plan(objects(&people), true, start());
    assert_eq!(plan.steps.iter().map(|s| s.action).collect::<Vec<_>>(), [Action::Join, Action::Rename]);
    bench.execute(&plan, start());
    // what it was named by could not change before
    let plan = bench.plan(objects(&people), true, start());
    assert_eq!(plan.steps[0].changes.iter().map(|c| c.attribute.as_str()).collect::<Vec<_>>(), ["cn"]);
    bench.execute(&plan, start());
    assert_eq!(bench.plan(objects(&people), true, start()).steps, []);
    // a mail outside of the member's domains joins nothing
    bench.scope.mail_domains = BTreeSet::from(["other.test".to_owned()]);
    bench.view.entries.clear();
    let plan = bench.plan(objects(&people), true, start());
    assert_eq!(plan.steps.iter().map(|s| s.action).collect::<Vec<_>>(), [Action::Create]);
    assert!(plan.steps[0].changes.iter().all(|change| change.attribute != "mail"));
    assert_eq!((plan.quarantine.len(), plan.quarantine[0].code.as_str()), (1, "mail_domain"));
}
