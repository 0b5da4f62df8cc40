use std::collections::BTreeSet;

use proptest::prelude::*;
use time::{Duration, OffsetDateTime};

use super::*;
use crate::ldap::dn::Dn;
use crate::ldap::filter::Filter;
use crate::policy::scope::{Guard, Guards};
use crate::store::record::NewJournalEntry;
use crate::sync::planning::input::{Beside, Input};
use crate::sync::planning::plan::plan;
use crate::sync::terms::settings::{Origin, Scope};
use crate::sync::terms::staged::{Object, Staged};
use crate::sync::terms::target::{Anchor, to_generalized_time};

const PEOPLE: usize = 6;
const START: OffsetDateTime = time::macros::datetime!(2026-11-24 12:00 UTC);

/// There, disabled, name, mail, title.
type Person = (bool, bool, usize, usize, usize);

/// Names and mails are all different, as a directory makes sure of: chains and circles of both come out.
fn world() -> impl Strategy<Value = Vec<Person>> {
    let numbers = || Just((0..PEOPLE).collect::<Vec<_>>()).prop_shuffle();
    let flags =
        prop::collection::vec((prop::bool::weighted(0.8), prop::bool::weighted(0.2), 0..3usize), PEOPLE);
    (flags, numbers(), numbers()).prop_map(|(flags, names, mails)| {
        let people = flags.into_iter().zip(names).zip(mails);
        people.map(|(((there, disabled, title), name), mail)| (there, disabled, name, mail, title)).collect()
    })
}

fn guid(number: usize) -> Guid {
    Guid([u8::try_from(number + 10).unwrap(); 16])
}

fn staged(people: &[Person]) -> Staged {
    Staged::of(people.iter().enumerate().filter(|(_, person)| person.0).map(|(number, person)| {
        let (_, disabled, name, mail, title) = *person;
        let attributes = [
            ("objectclass", "user".to_owned()),
            ("samaccountname", format!("n{name}")),
            ("sn", "Surname".to_owned()),
            ("displayname", format!("Person {number}")),
            ("mail", format!("m{mail}@rxa.nhs.test")),
            ("title", format!("Title {title}")),
            ("useraccountcontrol", if disabled { "514" } else { "512" }.to_owned()),
        ];
        Object {
            guid: guid(number),
            parent: None,
            moved_from: None,
            rdn: format!("CN=Person {number}"),
            deleted: false,
            unseen: false,
            partial: false,
            attributes: attributes.into_iter().map(|(name, value)| (name.to_owned(), vec![value])).collect(),
            references: BTreeMap::new(),
        }
    }))
}

struct Bench {
    member: OdsCode,
    base: Dn,
    scope: Scope,
    view: TargetView,
    now: OffsetDateTime,
    writes: u64,
}

impl Bench {
    fn new() -> Bench {
        let local = |name: &str| (name.to_owned(), Origin::Local(name.to_owned()));
        let guard = Guard { count: 1_000, share: 10_000 };
        Bench {
            member: "RXA".parse().unwrap(),
            base: Dn::parse("ou=RXA,ou=people,dc=national,dc=test").unwrap(),
            scope: Scope {
                bases: Vec::new(),
                filter: Filter::present("objectClass"),
                attributes: ["sn", "mail", "title"].into_iter().map(local).collect(),
                mail_domains: BTreeSet::new(),
                shared: BTreeMap::new(),
                person: None,
                levels: None,
                keep: Duration::DAY * 30,
                guards: Guards {
                    deletes: guard,
                    renames: guard,
                    mails: guard,
                    changes: guard,
                    ..Guards::default()
                },
            },
            view: TargetView::default(),
            now: START,
            writes: 0,
        }
    }

    fn plan(&self, people: &[Person]) -> Plan {
        plan(&Input {
            member: &self.member,
            base: &self.base,
            staged: &staged(people),
            whole: true,
            told: false,
            scope: &self.scope,
            bases: None,
            target: &self.view,
            national: &BTreeSet::new(),
            beside: &Beside::default(),
            now: self.now,
        })
    }

    /// Does what the national directory would, in order, and writes the journal.
    fn execute(&mut self, plan: &Plan) -> Vec<JournalEntry> {
        let mut journal: Vec<JournalEntry> = Vec::new();
        for (number, step) in plan.steps.iter().enumerate() {
            assert!(step.needs.iter().all(|need| *need < number), "{step:?}");
            let step = step.clone().at(&to_generalized_time(self.now));
            let record = self.write(&step);
            for (phase, document) in
                [("intended", serde_json::to_vec(&step)), ("done", serde_json::to_vec(&record))]
            {
                let entry = NewJournalEntry {
                    plan: plan.hash.clone(),
                    step: number as u64,
                    phase: phase.to_owned(),
                    at: self.now,
                    document: document.unwrap(),
                };
                journal.push(JournalEntry { seq: journal.len() as u64 + 1, entry });
            }
        }
        journal
    }

    fn write(&mut self, step: &Step) -> Record {
        self.writes += 1;
        let csn = format!("csn{}", self.writes);
        let find = |view: &TargetView, dn: &str| {
            view.entries.iter().position(|entry| naming::key(&entry.dn) == naming::key(dn))
        };
        let mut record = Record { csn: Some(csn.clone()), ..Record::default() };
        match step.action {
            Action::Prepare => self.view.base_exists = true,
            Action::Create => {
                assert!(find(&self.view, &step.dn).is_none(), "{} is taken", step.dn);
                let attributes =
                    step.changes.iter().map(|c| (c.attribute.clone(), c.after.clone())).collect();
                let (dn, entry_uuid) = (step.dn.clone(), format!("uuid{}", self.writes));
                self.view.entries.push(TargetEntry {
                    dn,
                    entry_uuid,
                    entry_csn: csn,
                    attributes,
                    written_for: None,
                });
            }
            _ => {
                let at = find(&self.view, &step.dn).unwrap_or_else(|| panic!("no {}: {step:?}", step.dn));
                let found = &self.view.entries[at];
                match &step.entry_uuid {
                    Some(uuid) => assert_eq!(&found.entry_uuid, uuid, "{step:?}"),
                    // made again by this very plan
                    None => assert_eq!(found.anchor(), step.anchor, "{step:?}"),
                }
                if step.action == Action::Delete {
                    record =
                        Record { before: Some(self.view.entries.remove(at).attributes), ..Record::default() };
                    return record;
                }
                if let Some(to) = &step.to {
                    assert!(find(&self.view, to).is_none(), "{to} is taken: {step:?}");
                    let name = Dn::parse(to).unwrap().rdn().unwrap().text().unwrap().to_owned();
                    self.view.entries[at].attributes.insert("uid".to_owned(), vec![name]);
                    self.view.entries[at].dn.clone_from(to);
                }
                let entry = &mut self.view.entries[at];
                entry.entry_csn = csn;
                for change in &step.changes {
                    let mut before = entry.values(&change.attribute).to_vec();
                    before.sort();
                    let mut told = change.before.clone();
                    told.sort();
                    assert_eq!(before, told, "{step:?}");
                    match change.after.is_empty() {
                        true => entry.attributes.remove(&change.attribute),
                        false => entry.attributes.insert(change.attribute.clone(), change.after.clone()),
                    };
                }
            }
        }
        let mut mails = BTreeSet::new();
        for mail in self.view.entries.iter().flat_map(|entry| entry.values("mail")) {
            assert!(mails.insert(mail.to_lowercase()), "{mail} is there twice after {step:?}");
        }
        record
    }

    /// Everything that there is, without what the directory itself gives.
    fn content(&self) -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
        let sorted = |values: &Vec<String>| {
            let mut values = values.clone();
            values.sort();
            values
        };
        self.view
            .entries
            .iter()
            .map(|entry| {
                let values = entry.attributes.iter().map(|(name, values)| (name.clone(), sorted(values)));
                (naming::key(&entry.dn), values.collect())
            })
            .collect()
    }

    fn inverse(&self, plan: &Plan, journal: Vec<JournalEntry>) -> Inverse {
        inverse(&self.member, &plan.hash, &written(journal), &self.view, &Standing::default())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn undoing_brings_back_what_was_and_can_be_undone(
        first in world(), second in world(), days in prop_oneof![Just(1), Just(40)],
    ) {
        let mut bench = Bench::new();
        let plan = bench.plan(&first);
        bench.execute(&plan);
        // leavers of the first world are deleted by the second plan when they are old enough
        let plan = bench.plan(&second.iter().map(|p| (p.0, true, p.2, p.3, p.4)).collect::<Vec<_>>());
        bench.execute(&plan);
        bench.now += Duration::days(days);
        let before = bench.content();
        let plan = bench.plan(&second);
        let journal = bench.execute(&plan);
        let after = bench.content();
        let back = bench.inverse(&plan, journal);
        prop_assert!(!back.kept.iter().any(|one| one.stands), "{:?}", back.kept);
        prop_assert!(back.plan.is_sound());
        let journal = bench.execute(&back.plan);
        prop_assert_eq!(bench.content(), before);
        let forth = bench.inverse(&back.plan, journal);
        prop_assert!(!forth.kept.iter().any(|one| one.stands), "{:?}", forth.kept);
        bench.execute(&forth.plan);
        prop_assert_eq!(bench.content(), after);
    }

    #[test]
    fn what_somebody_changed_since_is_left_alone(
        first in world(), second in world(), touched in prop::collection::vec(any::<bool>(), PEOPLE),
    ) {
        let mut bench = Bench::new();
        let plan = bench.plan(&first);
        bench.execute(&plan);
        let plan = bench.plan(&second);
        let journal = bench.execute(&plan);
        for entry in &mut bench.view.entries {
            let number = usize::from(entry.anchor().unwrap().guid.0[0]) - 10;
            if touched[number] {
                entry.attributes.insert("roomnumber".to_owned(), vec!["1".to_owned()]);
                entry.entry_csn = format!("theirs{number}");
            }
        }
        let theirs: Vec<TargetEntry> =
            bench.view.entries.iter().filter(|entry| entry.entry_csn.starts_with("theirs")).cloned().collect();
        let steps = written(journal.clone()).len();
        let back = bench.inverse(&plan, journal);
        prop_assert_eq!(back.plan.steps.len() + back.kept.len(), steps);
        // the bench refuses what a directory would: names and mails that are still somebody's
        bench.execute(&back.plan);
        for entry in theirs {
            prop_assert!(bench.view.entries.contains(&entry), "{entry:?} was touched");
        }
    }
}

/// Two anchors were exchanged by hand, and a plan puts them right, with a title that is new.
#[test]
fn whose_an_entry_is_stays_put_right() {
    let mut bench = Bench::new();
    let mut people: Vec<Person> = (0..3).map(|number| (true, false, number, number, 0)).collect();
    let plan = bench.plan(&people);
    bench.execute(&plan);
    let anchor = |number: usize| Anchor { member: bench.member.clone(), guid: guid(number) };
    let anchors = [anchor(1), anchor(0), anchor(2)];
    let exchanged = |bench: &mut Bench, by_journal: bool| {
        for entry in &mut bench.view.entries {
            let number = (0..3).find(|number| entry.dn.starts_with(&format!("uid=n{number},"))).unwrap();
            entry.written_for = by_journal.then(|| Anchor { guid: guid(number), ..anchors[number].clone() });
            if by_journal {
                entry.attributes.insert(ANCHOR.to_owned(), vec![anchors[number].to_string()]);
            }
        }
    };
    exchanged(&mut bench, true);
    people[0].4 = 1;
    people[1].0 = false;
    let plan = bench.plan(&people);
    let journal = bench.execute(&plan);
    exchanged(&mut bench, false);
    let whose = |bench: &Bench| -> Vec<(String, Option<Anchor>)> {
        bench.view.entries.iter().map(|entry| (entry.dn.clone(), entry.anchor())).collect()
    };
    let after = whose(&bench);
    let back = bench.inverse(&plan, journal);
    assert!(!back.kept.iter().any(|one| one.stands), "{:?}", back.kept);
    let journal = bench.execute(&back.plan);
    assert_eq!(whose(&bench), after, "nobody is given another's anchor");
    let first = bench.view.entries.iter().find(|entry| entry.anchor().is_some_and(|a| a.guid == guid(0)));
    assert_eq!(first.unwrap().values("title"), ["Title 0"], "all else comes back");
    let forth = bench.inverse(&back.plan, journal);
    bench.execute(&forth.plan);
    assert_eq!(whose(&bench), after);
}

#[test]
fn a_step_whose_outcome_nobody_knows_is_not_undone_and_a_later_run_counts() {
    let step = |dn: &str| Step {
        action: Action::Modify,
        anchor: None,
        dn: dn.to_owned(),
        to: None,
        entry_uuid: None,
        entry_csn: None,
        changes: Vec::new(),
        reason: String::new(),
        rule: String::new(),
        needs: Vec::new(),
    };
    let line = |number: u64, phase: &str, document: Vec<u8>| JournalEntry {
        seq: 0,
        entry: NewJournalEntry { plan: "p".into(), step: number, phase: phase.into(), at: START, document },
    };
    let intended = |number: u64, dn: &str| line(number, "intended", serde_json::to_vec(&step(dn)).unwrap());
    let done = |number: u64, phase: &str| line(number, phase, b"{}".to_vec());
    let lines = vec![
        intended(0, "first"),
        done(0, "done"),
        intended(1, "open"),
        intended(2, "looked"),
        done(2, "found_done"),
        intended(3, "refused"),
        done(3, "failed"),
        intended(4, "looked"),
        done(4, "found_not_done"),
        intended(0, "again"),
        done(0, "done"),
    ];
    let names: Vec<(usize, String)> =
        written(lines).into_iter().map(|one| (one.number, one.step.dn)).collect();
    assert_eq!(names, [(0, "again".to_owned()), (2, "looked".to_owned())]);
}
