use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use time::{Duration, OffsetDateTime};

use super::*;
use crate::ldap::dn::Dn;
use crate::ldap::filter::Filter;
use crate::policy::scope::{Guard, Guards};
use crate::store::record::Approval;
use crate::sync::people::difference::sorted;
use crate::sync::people::guards::{Circumstances, judge};
use crate::sync::people::survey::{Frame, Others, Sight, Survey};
use crate::sync::planning::input::Beside;
use crate::sync::terms::settings::{Origin, Scope};
use crate::sync::terms::staged::{Object, Staged};
use crate::sync::terms::target::{TargetView, to_generalized_time};

mod by_hand;
mod memory;
mod names;
mod people;
mod size;

const DAY: Duration = Duration::DAY;
const PEOPLE: usize = 7;

#[derive(Debug, Clone)]
struct Person {
    there: bool,
    deleted: bool,
    disabled: bool,
    inside: bool,
    name: usize,
    mail: Option<usize>,
    title: usize,
}

fn person() -> impl Strategy<Value = Person> {
    let flags = (prop::bool::weighted(0.85), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    (flags, prop::bool::weighted(0.85), 0..PEOPLE, prop::option::of(0..PEOPLE), 0..2usize).prop_map(
        |((there, deleted, disabled), inside, name, mail, title)| Person {
            there,
            deleted,
            disabled,
            inside,
            name,
            mail,
            title,
        },
    )
}

fn world() -> impl Strategy<Value = Vec<Person>> {
    prop::collection::vec(person(), PEOPLE)
}

/// People whose account names are all different, as a directory makes sure of: chains, swaps and circles of names.
fn orderly() -> impl Strategy<Value = Vec<Person>> {
    (world(), Just((0..PEOPLE).collect::<Vec<_>>()).prop_shuffle()).prop_map(|(mut people, names)| {
        for (person, name) in people.iter_mut().zip(names) {
            person.name = name;
        }
        people
    })
}

fn guid(number: usize) -> Guid {
    Guid([u8::try_from(number + 10).unwrap(); 16])
}

const HEAD: Guid = Guid([1; 16]);
const STAFF: Guid = Guid([2; 16]);
const OTHER: Guid = Guid([3; 16]);

fn object(guid: Guid, parent: Option<Guid>, rdn: &str, attributes: &[(&str, &str)]) -> Object {
    let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in attributes {
        map.entry((*name).to_owned()).or_default().push((*value).to_owned());
    }
    Object {
        guid,
        parent,
        moved_from: None,
        rdn: rdn.to_owned(),
        deleted: false,
        unseen: false,
        partial: false,
        attributes: map,
        references: BTreeMap::new(),
    }
}

fn tree() -> Vec<Object> {
    vec![
        object(HEAD, None, "DC=rxa", &[("objectclass", "domainDNS")]),
        object(STAFF, Some(HEAD), "OU=Staff", &[("objectclass", "organizationalUnit")]),
        object(OTHER, Some(HEAD), "OU=Other", &[("objectclass", "organizationalUnit")]),
    ]
}

fn objects(people: &[Person]) -> Vec<Object> {
    let mut all = tree();
    for (number, person) in people.iter().enumerate().filter(|(_, person)| person.there) {
        let mail = person.mail.map(|mail| format!("m{mail}@rxa.nhs.test"));
        let mut attributes = vec![("objectclass", "user".to_owned()), ("sn", "Surname".to_owned())];
        attributes.push(("samaccountname", format!("N{}", person.name)));
        attributes.push(("displayname", format!("Person {number}")));
        attributes.push(("useraccountcontrol", if person.disabled { "514" } else { "512" }.to_owned()));
        attributes.push(("title", format!("Title {}", person.title)));
        attributes.extend(mail.map(|mail| ("mail", mail)));
        let attributes: Vec<(&str, &str)> = attributes.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let parent = if person.inside { STAFF } else { OTHER };
        let mut one = object(guid(number), Some(parent), &format!("CN=Person {number}"), &attributes);
        one.deleted = person.deleted;
        all.push(one);
    }
    all
}

fn guards(count: u64) -> Guards {
    let guard = Guard { count, share: 10_000 };
    Guards {
        deletes: guard,
        disables: guard,
        hides: guard,
        unit: guard,
        renames: guard,
        joins: guard,
        mails: guard,
        changes: guard,
        shrink: guard,
        day: Guard { count: u64::from(u32::MAX), share: 10_000 },
        wishes: guard,
    }
}

fn scope() -> Scope {
    let local = |name: &str| (name.to_owned(), Origin::Local(name.to_owned()));
    let mut attributes: BTreeMap<String, Origin> = ["sn", "mail", "title"].into_iter().map(local).collect();
    attributes.insert("displayname".to_owned(), Origin::Local("displayname".to_owned()));
    attributes.insert("o".to_owned(), Origin::Constant("RXA Trust".to_owned()));
    Scope {
        bases: vec!["OU=Staff".to_owned()],
        filter: Filter::parse("(&(objectClass=user)(!(employeeType=not-listed)))").unwrap().into_owned(),
        attributes,
        mail_domains: BTreeSet::from(["rxa.nhs.test".to_owned()]),
        shared: BTreeMap::new(),
        person: None,
        levels: None,
        keep: DAY * 30,
        guards: guards(1000),
    }
}

fn start() -> OffsetDateTime {
    time::macros::datetime!(2026-11-24 12:00 UTC)
}

struct Bench {
    member: OdsCode,
    base: Dn,
    scope: Scope,
    bases: BTreeSet<Guid>,
    national: BTreeSet<String>,
    view: TargetView,
    beside: Beside,
    /// Who asked before not to be listed as others are.
    asked: BTreeMap<Guid, bool>,
    writes: u64,
    /// For whom each entry was written, as the journal knows it.
    owners: BTreeMap<String, Guid>,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            member: "RXA".parse().unwrap(),
            base: Dn::parse("ou=RXA,ou=people,dc=national,dc=test").unwrap(),
            scope: scope(),
            bases: BTreeSet::from([STAFF]),
            national: BTreeSet::new(),
            view: TargetView::default(),
            beside: Beside::default(),
            asked: BTreeMap::new(),
            writes: 0,
            owners: BTreeMap::new(),
        }
    }

    fn plan(&self, objects: Vec<Object>, whole: bool, now: OffsetDateTime) -> Plan {
        let staged = Staged::of(objects);
        let mut view = self.view.clone();
        for entry in &mut view.entries {
            let owner = self.owners.get(&entry.entry_uuid);
            entry.written_for = owner.map(|guid| Anchor { member: self.member.clone(), guid: *guid });
        }
        plan(&Input {
            member: &self.member,
            base: &self.base,
            staged: &staged,
            whole,
            told: false,
            scope: &self.scope,
            bases: Some(&self.bases),
            target: &view,
            national: &self.national,
            beside: &self.beside,
            now,
        })
    }

    /// The same with a survey before it, as a run does it.
    fn surveyed(
        &self,
        objects: Vec<Object>,
        whole: bool,
        now: OffsetDateTime,
        most: usize,
    ) -> (Plan, Others) {
        let by_guid: BTreeMap<Guid, Object> = objects.iter().map(|one| (one.guid, one.clone())).collect();
        let mut survey = Survey::new(Frame {
            member: self.member.clone(),
            base: self.base.clone(),
            scope: self.scope.clone(),
            national: self.national.clone(),
            now,
            most,
            asked: self.asked.clone(),
        });
        objects.into_iter().for_each(|object| survey.staged(object));
        survey.place(Some(&self.bases));
        if self.view.base_exists {
            survey.base_exists();
        }
        for entry in &self.view.entries {
            let object = survey.needs(entry).map(|guid| by_guid[&guid].clone());
            survey.compare(entry.clone(), object);
        }
        let anchor = |guid: &Guid| Anchor { member: self.member.clone(), guid: *guid };
        survey.written_for(
            &self.owners.iter().map(|(identity, guid)| (identity.clone(), anchor(guid))).collect(),
        );
        loop {
            let recalls = survey.recall();
            if recalls.is_empty() {
                break;
            }
            for recall in recalls {
                let entry = recall.dn.map(|dn| self.view.entries[self.find(&dn).unwrap()].clone());
                survey.look_at(by_guid[&recall.guid].clone(), entry);
            }
        }
        let Sight { staged, view, others } = survey.finish();
        let plan = plan(&Input {
            member: &self.member,
            base: &self.base,
            staged: &staged,
            whole,
            told: false,
            scope: &self.scope,
            bases: Some(&self.bases),
            target: &view,
            national: &self.national,
            beside: &Beside { others: others.clone(), ..self.beside.clone() },
            now,
        });
        (plan, others)
    }

    /// Does what the national directory would do, and refuses what it would refuse.
    fn apply(&mut self, step: &Step, now: OffsetDateTime) {
        self.writes += 1;
        let step = &step.clone().at(&to_generalized_time(now));
        let identity = step.entry_uuid.clone().unwrap_or_else(|| format!("uuid{}", self.writes));
        match (&step.anchor, step.action) {
            (_, Action::Delete) => drop(self.owners.remove(&identity)),
            (Some(anchor), _) => drop(self.owners.insert(identity, anchor.guid)),
            (None, _) => {}
        }
        let version = format!("csn{}", self.writes);
        if step.action == Action::Prepare {
            self.view.base_exists = true;
            return;
        }
        if step.action == Action::Create {
            assert!(self.view.base_exists);
            assert!(self.find(&step.dn).is_none(), "{} is taken", step.dn);
            let attributes = step.changes.iter().map(|c| (c.attribute.clone(), c.after.clone())).collect();
            let entry_uuid = format!("uuid{}", self.writes);
            self.view.entries.push(TargetEntry {
                dn: step.dn.clone(),
                entry_uuid,
                entry_csn: version,
                attributes,
                written_for: None,
            });
            return self.check();
        }
        let at = self.find(&step.dn).unwrap_or_else(|| panic!("no {}: {step:?}", step.dn));
        if let Some(to) = &step.to {
            assert!(self.find(to).is_none(), "{to} is taken: {step:?}");
        }
        let entry = &mut self.view.entries[at];
        assert_eq!(Some(&entry.entry_uuid), step.entry_uuid.as_ref());
        assert_eq!(step.anchor_before().as_deref(), entry.first(ANCHOR), "{step:?}");
        if step.action == Action::Delete {
            let over = || entry.left_at().unwrap() + DAY * 30 <= now;
            assert!(step.rule == "not_published" || over(), "deleted before its time");
            self.view.entries.remove(at);
            return;
        }
        for change in &step.changes {
            let named = naming::is_named_by(&entry.dn, &change.attribute, &change.after);
            assert!(!named, "a directory refuses it: {step:?}");
            assert_eq!(sorted(entry.values(&change.attribute)), sorted(&change.before), "{step:?}");
            let after = change.after.clone();
            if after.is_empty() {
                entry.attributes.remove(&change.attribute);
            } else {
                entry.attributes.insert(change.attribute.clone(), after);
            }
        }
        if let Some(to) = &step.to {
            let value = |dn: &str| Dn::parse(dn).unwrap().rdn().unwrap().text().unwrap().to_owned();
            let old = naming::is_plain(&entry.dn).then(|| value(&entry.dn));
            let names = entry.attributes.entry(NAMING.to_owned()).or_default();
            names.retain(|name| Some(name) != old.as_ref() && *name != value(to));
            names.push(value(to));
            entry.dn.clone_from(to);
        }
        entry.entry_csn = version;
        self.check();
    }

    fn find(&self, dn: &str) -> Option<usize> {
        self.view.entries.iter().position(|entry| naming::key(&entry.dn) == naming::key(dn))
    }

    /// At no moment do two entries have the same mail.
    fn check(&self) {
        let mut seen = BTreeSet::new();
        for mail in self.view.entries.iter().flat_map(|entry| entry.values("mail")) {
            assert!(seen.insert(mail.to_lowercase()), "{mail} twice");
        }
    }

    fn execute(&mut self, plan: &Plan, now: OffsetDateTime) {
        for (number, step) in plan.steps.iter().enumerate() {
            assert!(step.needs.iter().all(|need| *need < number));
            self.apply(step, now);
        }
    }

    /// Any order that needs allow: the last possible step first.
    fn execute_lazily(&mut self, plan: &Plan, now: OffsetDateTime) {
        let mut done = BTreeSet::new();
        while done.len() < plan.steps.len() {
            let ready = |n: &usize| {
                let step = &plan.steps[*n];
                let early = step.action != Action::Delete
                    || plan
                        .steps
                        .iter()
                        .enumerate()
                        .all(|(m, s)| s.action == Action::Delete || done.contains(&m));
                !done.contains(n) && early && step.needs.iter().all(|need| done.contains(need))
            };
            let next = (0..plan.steps.len()).rev().find(ready).expect("a step that can run");
            self.apply(&plan.steps[next], now);
            done.insert(next);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_plan_that_was_executed_leaves_nothing_to_plan(
        worlds in prop::collection::vec(prop_oneof![world(), orderly()], 1..5), lazily: bool,
    ) {
        let mut bench = Bench::new();
        let mut now = start();
        for people in worlds {
            now += DAY * 11;
            let plan = bench.plan(objects(&people), true, now);
            prop_assert!(plan.is_sound());
            if lazily { bench.execute_lazily(&plan, now) } else { bench.execute(&plan, now) }
            let again = bench.plan(objects(&people), true, now);
            prop_assert_eq!(&again.steps, &Vec::new());
        }
    }

    #[test]
    fn a_survey_changes_no_plan(worlds in prop::collection::vec(prop_oneof![world(), orderly()], 1..5), stop in 0usize..30) {
        let mut bench = Bench::new();
        let mut now = start();
        for people in worlds {
            now += DAY * 11;
            let whole = bench.plan(objects(&people), true, now);
            let (plan, _) = bench.surveyed(objects(&people), true, now, usize::MAX);
            prop_assert_eq!(&whole, &plan);
            for step in plan.steps.iter().take(stop) {
                bench.apply(step, now);
            }
            prop_assert_eq!(bench.plan(objects(&people), true, now), bench.surveyed(objects(&people), true, now, usize::MAX).0);
        }
    }

    #[test]
    fn plans_of_a_few_people_each_come_to_the_same(first in orderly(), second in orderly(), most in 1usize..3) {
        let mut bench = Bench::new();
        for people in [&first, &second] {
            for _ in 0..40 {
                // more at a time when those who were looked at all have to wait
                let of = |most| bench.surveyed(objects(people), true, start(), most);
                let (plan, others) = (0..9).map(|power| of(most << power)).find(|(plan, others)| others.deferred == 0 || !plan.steps.is_empty()).unwrap();
                bench.execute(&plan, start());
                if plan.steps.is_empty() {
                    prop_assert_eq!(others.deferred, 0);
                    break;
                }
            }
            prop_assert_eq!(&bench.plan(objects(people), true, start()).steps, &Vec::new());
        }
    }

    #[test]
    fn orderly_people_get_exactly_their_names(worlds in prop::collection::vec(orderly(), 1..5)) {
        let mut bench = Bench::new();
        for people in &worlds {
            let plan = bench.plan(objects(people), true, start());
            bench.execute(&plan, start());
            for (number, person) in people.iter().enumerate() {
                let wanted = person.there && !person.deleted && !person.disabled && person.inside;
                let anchor = Anchor { member: bench.member.clone(), guid: guid(number) };
                let entry = bench.view.entries.iter().find(|e| e.anchor().as_ref() == Some(&anchor) && !e.has_left());
                prop_assert_eq!(entry.is_some(), wanted);
                if let Some(entry) = entry {
                    prop_assert_eq!(naming::key(&entry.dn), naming::key(&naming::dn(&format!("n{}", person.name), &bench.base)));
                }
            }
        }
    }

    #[test]
    fn a_crash_between_any_two_steps_is_made_good(first in orderly(), second in orderly(), stop in 0usize..40) {
        let mut bench = Bench::new();
        let plan = bench.plan(objects(&first), true, start());
        bench.execute(&plan, start());
        let plan = bench.plan(objects(&second), true, start());
        for step in plan.steps.iter().take(stop) {
            bench.apply(step, start());
        }
        let rest = bench.plan(objects(&second), true, start());
        bench.execute(&rest, start());
        let (mut straight, got) = (Bench::new(), bench);
        for people in [&first, &second] {
            let plan = straight.plan(objects(people), true, start());
            straight.execute(&plan, start());
        }
        let published = |bench: &Bench| -> BTreeMap<String, (String, BTreeMap<String, Vec<String>>)> {
            bench.view.entries.iter().filter(|e| !e.has_left())
                .map(|e| (e.anchor().unwrap().to_string(), (naming::key(&e.dn), e.attributes.iter()
                    .map(|(n, v)| (n.clone(), sorted(v))).filter(|(n, _)| n != NAMING).collect()))).collect()
        };
        prop_assert_eq!(published(&got), published(&straight));
    }

    #[test]
    fn the_hash_does_not_depend_on_the_order_of_the_input(
        first in world(), second in world(), seed in any::<prop::sample::Index>(),
    ) {
        let mut bench = Bench::new();
        let plan = bench.plan(objects(&first), true, start());
        bench.execute(&plan, start());
        let one = bench.plan(objects(&second), true, start());
        let mut turned = objects(&second);
        let by = seed.index(turned.len());
        turned.rotate_left(by);
        bench.view.entries.reverse();
        prop_assert_eq!(&one, &bench.plan(turned, true, start()));
        // nor on the time, while nobody's time runs out
        prop_assert_eq!(&one, &bench.plan(objects(&second), true, start() + DAY));
    }

    #[test]
    fn no_guard_is_passed_without_approval(
        first in world(), second in world(), limit in 0u64..4, blind: bool, approved: bool,
    ) {
        let mut bench = Bench::new();
        let plan = bench.plan(objects(&first), true, start());
        bench.execute(&plan, start());
        let plan = bench.plan(objects(&second), true, start());
        let around = Circumstances {
            published: bench.view.published(),
            people: plan.people,
            people_before: Some(PEOPLE as u64),
            blind: blind.then(|| "cannot see".to_owned()),
            ..Circumstances::default()
        };
        let approval = |hash: &str, ends: OffsetDateTime| Approval {
            plan: hash.to_owned(), member: plan.member.clone(), officer: "o".into(), reason: "r".into(),
            at: start() - DAY, ends_at: ends,
        };
        let asked = std::cell::RefCell::new(String::new());
        let verdict = judge(&plan, &around, &guards(limit), 1000, start(), |hash| {
            hash.clone_into(&mut asked.borrow_mut());
            let ends = if approved { start() + DAY } else { start() };
            vec![approval(hash, ends), approval("another", start() + DAY)]
        });
        let count = |plan: &Plan, wanted: &[Action]| plan.steps.iter().filter(|s| wanted.contains(&s.action)).count() as u64;
        let removals = [Action::Mark, Action::Delete];
        if !verdict.approved {
            let most = limit.min(around.published.max(1));
            let removable = if blind { 0 } else { most };
            // disabled accounts have a guard of their own
            let disabled = verdict.go.steps.iter().filter(|s| s.rule == "disabled").count() as u64;
            prop_assert!(disabled <= removable);
            prop_assert!(count(&verdict.go, &removals) - disabled <= removable);
            // two steps of one person, to open a circle of names, are one rename
            let renamed = verdict.go.steps.iter().filter(|s| s.action == Action::Rename).filter_map(|s| s.anchor.as_ref());
            prop_assert!(renamed.collect::<BTreeSet<_>>().len() as u64 <= most);
            prop_assert_eq!(verdict.go.steps.len() + verdict.held.steps.len(), plan.steps.len());
        } else {
            prop_assert!(approved && !(blind && count(&plan, &removals) > 0));
            prop_assert_eq!(&*asked.borrow(), &verdict.held.hash);
        }
        // and what may go on goes on
        bench.execute(&verdict.go, start());
    }

    #[test]
    fn absence_in_an_incomplete_pass_removes_nobody(first in world(), missing in prop::collection::vec(any::<bool>(), PEOPLE)) {
        let mut bench = Bench::new();
        let plan = bench.plan(objects(&first), true, start());
        bench.execute(&plan, start());
        let mut second = first;
        for (person, gone) in second.iter_mut().zip(missing) {
            person.there &= !gone;
        }
        let plan = bench.plan(objects(&second), false, start());
        let unseen = |step: &Step| step.anchor.as_ref().is_some_and(|a| !second.iter().enumerate().any(|(n, p)| p.there && guid(n) == a.guid));
        prop_assert!(plan.steps.iter().all(|step| !unseen(step)));
    }
}

#[test]
fn a_leaver_is_marked_kept_and_deleted_after_thirty_days() {
    let mut bench = Bench::new();
    let mut people = vec![Person {
        there: true,
        deleted: false,
        disabled: false,
        inside: true,
        name: 0,
        mail: Some(0),
        title: 0,
    }];
    let plan = bench.plan(objects(&people), true, start());
    bench.execute(&plan, start());
    people[0].inside = false;
    let plan = bench.plan(objects(&people), true, start());
    assert_eq!(plan.steps.iter().map(|s| s.action).collect::<Vec<_>>(), [Action::Mark]);
    bench.execute(&plan, start());
    assert_eq!(bench.view.entries[0].values("mail"), &[] as &[String]);
    assert_eq!(bench.plan(objects(&people), true, start() + DAY * 30 - Duration::SECOND).steps, []);
    let plan = bench.plan(objects(&people), true, start() + DAY * 30);
    assert_eq!(plan.steps.iter().map(|s| s.action).collect::<Vec<_>>(), [Action::Delete]);
    // back in time: the same entry, not a new person
    people[0].inside = true;
    let plan = bench.plan(objects(&people), true, start() + DAY * 29);
    assert_eq!(plan.steps[0].rule, "return");
    bench.execute(&plan, start());
    assert!(!bench.view.entries[0].has_left());
}

#[test]
fn a_renamed_unit_keeps_its_people() {
    let mut bench = Bench::new();
    let people = vec![Person {
        there: true,
        deleted: false,
        disabled: false,
        inside: true,
        name: 0,
        mail: None,
        title: 0,
    }];
    let plan = bench.plan(objects(&people), true, start());
    bench.execute(&plan, start());
    let mut all = objects(&people);
    all[1].rdn = "OU=Colleagues".to_owned();
    assert_eq!(bench.plan(all.clone(), true, start()).steps, []);
    // moved below another unit that is in scope no longer
    all[1].parent = Some(OTHER);
    bench.bases = BTreeSet::from([OTHER]);
    assert_eq!(bench.plan(all, true, start()).steps, []);
}
