//! Gates as the running gateway moves them: opened by assessments, closed by drift, by officers, by broken evidence, by age,
//! and by a store that cannot be written; nothing of it lost.

use std::sync::Arc;

use portcullis::ambient::clock::Clock;
use portcullis::app::core::Core;
use portcullis::app::watch::Watch;
use portcullis::app::{gates, policies};
use portcullis::assess::judge::judge;
use portcullis::assess::run::sign;
use portcullis::baseline::document::SCHEMA;
use portcullis::baseline::facts::{Collection, Evidence, Fact, Facts, Record};
use portcullis::enrol::lifecycle::Step;
use portcullis::enrol::run::{self, By};
use portcullis::policy::terms::{Grant, Membership, OdsCode};
use portcullis::store::member::Member;
use portcullis::store::packed::Packed;
use portcullis::store::port::Store;
use portcullis::store::record::{
    AssessmentRecord, EvidenceRecord, ExceptionRecord, Lease, StagedObject, StagedPage,
};
use portcullis::store::sqlite::store::SqliteStore;
use time::{Duration, OffsetDateTime};

use crate::app_stage::{BASELINE, Stage};
use crate::store_conformance::{NOW, audit, exception, member, ods};

struct House {
    stage: Stage,
    core: Core,
    clock: Clock,
    watch: Watch,
}

impl House {
    /// A gateway with RXA federated and never measured.
    fn new(extra: &str) -> House {
        let stage = Stage::new(extra);
        let clock = Clock::fixed(NOW);
        let core = Core::build(Arc::new(stage.config()), clock.clone()).unwrap();
        policies::reload(&core);
        let by = By { actor: "officer", reason: "because", now: NOW };
        run::request(core.store.as_ref(), Member { profile: None, ..member("RXA") }, &by).unwrap();
        run::measured(core.store.as_ref(), &ods("RXA"), &by).unwrap();
        run::advance(core.store.as_ref(), &ods("RXA"), Membership::Federated, &by).unwrap();
        gates::decide_all(&core).unwrap();
        let watch = Watch::new(&core).unwrap();
        House { stage, core, clock, watch }
    }

    /// Measures RXA: its controllers accept these versions of TLS.
    fn measure(&self, versions: &[&str]) {
        let store = self.core.store.as_ref();
        self.keep(store, versions);
        gates::decide_one(&self.core, &ods("RXA")).unwrap();
    }

    fn keep(&self, store: &dyn Store, versions: &[&str]) {
        let mut facts = Facts::default();
        facts.set("tls.versions", Fact::set(versions.iter().copied()));
        self.keep_facts(store, facts);
    }

    fn keep_facts(&self, store: &dyn Store, facts: Facts) {
        let previous = store.latest_evidence(&ods("RXA")).unwrap().map(|record| record.hash);
        let evidence = Evidence {
            schema: SCHEMA,
            member: ods("RXA"),
            collected_at: self.clock.now(),
            collector: "test".into(),
            controllers: Vec::new(),
            facts,
            provenance: Vec::new(),
            attestations: Vec::new(),
            previous,
            hash: String::new(),
            signature: String::new(),
        };
        let evidence = sign(evidence, &self.core.signer);
        let record = EvidenceRecord {
            member: ods("RXA"),
            hash: evidence.hash.clone(),
            previous: evidence.previous.clone(),
            collected_at: evidence.collected_at,
            document: Packed::by(|out| evidence.write(out)).unwrap(),
        };
        store.put_evidence(&record).unwrap();
        let set = self.core.policy.load_full().unwrap().set.clone();
        let granted = store.exceptions(Some(&ods("RXA"))).unwrap();
        let assessment = judge(&set, None, &evidence, &granted, self.clock.now()).unwrap();
        let record = AssessmentRecord {
            id: assessment.id.clone(),
            member: ods("RXA"),
            assessed_at: assessment.assessed_at,
            policy_hash: assessment.policy_hash.clone(),
            evidence_hash: assessment.evidence_hash.clone(),
            document: assessment.to_json(),
        };
        store.put_assessment(&record, &audit("assessment.made")).unwrap();
    }

    fn is_open(&self) -> bool {
        let snapshot = self.core.gates.snapshot();
        let open = |grant| snapshot.is_open(&ods("RXA"), grant, self.clock.now());
        assert_eq!(open(Grant::Lookup), open(Grant::Sync));
        open(Grant::Lookup)
    }

    fn pass(&self, time: Duration) {
        self.clock.set(self.clock.now() + time);
    }

    /// The states of the lookup gate, newest first, with their first reason.
    fn history(&self) -> Vec<(String, String)> {
        let history = self.core.store.gate_history(&ods("RXA"), Some(Grant::Lookup), 100).unwrap();
        history.into_iter().map(|record| (record.state, record.reasons.first().cloned().unwrap())).collect()
    }

    /// An approved exception for RXA, kept by another process, that ends in so long.
    fn except(&self, change: impl FnOnce(&mut ExceptionRecord), lasts: Duration) -> ExceptionRecord {
        let now = self.clock.now();
        let mut record = exception("x1", now, now + lasts);
        change(&mut record);
        self.elsewhere().put_exception(&record, None, &audit("exception.approve")).unwrap();
        record
    }

    /// A look after decisions are due to be looked at for their end.
    fn later(&mut self) {
        std::thread::sleep(std::time::Duration::from_millis(600));
        self.watch.look(&self.core);
    }

    /// Another process, as a person at the command line would be.
    fn elsewhere(&self) -> SqliteStore {
        SqliteStore::open(&self.core.config.data_dir, &self.core.config.store).unwrap()
    }
}

const GOOD: &[&str] = &["tls1.2", "tls1.3"];
const BAD: &[&str] = &["tls1.0", "tls1.2"];

#[test]
fn a_gate_opens_drops_and_opens_again() {
    let house = House::new("");
    assert!(!house.is_open(), "never measured");
    house.measure(GOOD);
    assert!(house.is_open());
    house.pass(Duration::MINUTE);
    house.measure(BAD);
    assert!(!house.is_open());
    let (state, reason) = house.history().remove(0);
    assert_eq!(state, "closed");
    assert!(
        reason.contains("tls-versions (critical) fails") && !reason.contains("tls1.0"),
        "it says why: {reason}"
    );
    house.pass(Duration::MINUTE);
    house.measure(GOOD);
    assert!(house.is_open());
    let states: Vec<_> = house.history().into_iter().map(|(state, _)| state).collect();
    assert_eq!(states, ["open", "closed", "open", "closed"]);
    // measuring again changes nothing, and records nothing
    house.pass(Duration::MINUTE);
    house.measure(GOOD);
    assert_eq!(house.history().len(), 4);
    assert!(house.core.store.verify_audit().unwrap().is_whole());
}

#[test]
fn what_another_process_does_is_acted_upon() {
    let mut house = House::new("");
    house.measure(GOOD);
    house.watch.look(&house.core);
    assert!(house.is_open());
    let by = By { actor: "officer", reason: "an incident", now: house.clock.now() };
    let seen = {
        run::take(&house.elsewhere(), &ods("RXA"), Step::Suspend, &by).unwrap();
        house.watch.look(&house.core)
    };
    assert!(seen.members);
    assert!(!house.is_open(), "suspended by command");
    run::take(&house.elsewhere(), &ods("RXA"), Step::Resume, &by).unwrap();
    house.watch.look(&house.core);
    assert!(house.is_open());
    // an assessment made by command
    house.pass(Duration::MINUTE);
    house.keep(&house.elsewhere(), BAD);
    house.watch.look(&house.core);
    assert!(!house.is_open());
}

#[test]
fn old_evidence_closes_by_itself() {
    let mut house = House::new("");
    house.measure(GOOD);
    house.pass(Duration::minutes(59));
    assert!(house.is_open());
    house.pass(Duration::minutes(2));
    assert!(!house.is_open(), "the table itself is closed the moment the time is over");
    std::thread::sleep(std::time::Duration::from_millis(600));
    house.watch.look(&house.core);
    let (state, reason) = house.history().remove(0);
    assert_eq!(state, "closed");
    assert!(reason.contains("old"), "{reason}");
}

#[test]
fn tampered_evidence_closes() {
    let house = House::new("");
    house.measure(GOOD);
    house.pass(Duration::MINUTE);
    // somebody with the database makes the bad evidence good, but has no key
    house.keep(house.core.store.as_ref(), BAD);
    let raw = rusqlite::Connection::open(house.stage.path("data").join("portcullis.sqlite")).unwrap();
    let bad = house.core.store.latest_evidence(&ods("RXA")).unwrap().unwrap();
    let mut forged = Evidence::read(bad.document.open()).unwrap();
    forged.facts.set("tls.versions", Fact::set(GOOD.iter().copied()));
    let forged = forged.sealed().signed(&[0; 64]);
    raw.execute(
        "UPDATE evidence SET document = ?1, hash = ?2 WHERE hash = ?3",
        rusqlite::params![forged.to_json(), forged.hash, bad.hash],
    )
    .unwrap();
    let set = house.core.policy.load_full().unwrap().set.clone();
    let assessment = judge(&set, None, &forged, &[], house.clock.now()).unwrap();
    let record = AssessmentRecord {
        id: assessment.id.clone(),
        member: ods("RXA"),
        assessed_at: house.clock.now(),
        policy_hash: assessment.policy_hash.clone(),
        evidence_hash: forged.hash.clone(),
        document: assessment.to_json(),
    };
    house.core.store.put_assessment(&record, &audit("assessment.made")).unwrap();
    gates::decide_one(&house.core, &ods("RXA")).unwrap();
    assert!(!house.is_open());
    assert!(house.history()[0].1.contains("signature"), "{:?}", house.history());
}

#[test]
fn a_changed_policy_is_applied_to_what_is_known() {
    let house = House::new("");
    house.measure(GOOD);
    assert!(house.is_open());
    house.stage.write("policies/baseline.yaml", &BASELINE.replace("revision: 1.0.0", "revision: 1.0.1"));
    assert_eq!(policies::reload(&house.core), policies::Reload::Changed);
    assert!(house.is_open(), "the same evidence meets the new set: {:?}", house.history());
    assert_eq!(house.history().len(), 2, "no gate moved for the change alone: {:?}", house.history());
    let controls = std::fs::read_to_string(house.stage.path("policies/controls.yaml")).unwrap();
    house.stage.write("policies/controls.yaml", &controls.replace("at_least: tls1.2", "at_least: tls1.3"));
    assert_eq!(policies::reload(&house.core), policies::Reload::Changed);
    assert!(!house.is_open(), "the same evidence does not meet this one");
    house.stage.write("policies/controls.yaml", "kind: Nonsense\n");
    assert_eq!(policies::reload(&house.core), policies::Reload::Refused);
    assert!(!house.is_open());
}

#[test]
fn a_pass_that_began_under_the_set_before_closes_no_gate() {
    let mut house = House::new("");
    house.measure(GOOD);
    house.watch.look(&house.core);
    let old = house.core.policy.load_full();
    house.stage.write("policies/baseline.yaml", &BASELINE.replace("revision: 1.0.0", "revision: 1.0.1"));
    assert_eq!(policies::reload(&house.core), policies::Reload::Changed);
    let new = house.core.policy.swap(old);
    house.pass(Duration::MINUTE);
    house.keep(&house.elsewhere(), GOOD);
    house.core.policy.store(new.clone());
    house.watch.look(&house.core);
    assert!(house.is_open(), "{:?}", house.history());
    let latest = house.core.store.recent_assessments(&ods("RXA"), 1).unwrap().remove(0);
    assert_eq!(
        latest.policy_hash,
        new.unwrap().set.hash(),
        "what it found was held against the set in force"
    );
    // what it found counts
    house.pass(Duration::MINUTE);
    house.keep(&house.elsewhere(), BAD);
    house.watch.look(&house.core);
    assert!(!house.is_open());
}

/// Somebody else fills the store, with these objects.
fn fill(house: &House) -> (SqliteStore, Lease, Vec<[u8; 16]>) {
    let filler = house.elsewhere();
    let lease = filler
        .acquire_lease("sync/ZZZ", "filler", OffsetDateTime::UNIX_EPOCH, std::time::Duration::from_secs(60))
        .unwrap()
        .unwrap();
    let mut kept = Vec::new();
    for size in [100_000, 10_000, 1_000] {
        loop {
            let number = u16::try_from(kept.len()).unwrap();
            let mut guid = [0; 16];
            guid[..2].copy_from_slice(&number.to_le_bytes());
            let object = StagedObject { guid, parent: None, pass: 0, document: vec![0; size] };
            let page = StagedPage { put: vec![object], ..StagedPage::default() };
            if filler.apply_page(&ods("ZZZ"), &lease, OffsetDateTime::UNIX_EPOCH, &page).is_err() {
                break;
            }
            kept.push(guid);
        }
    }
    (filler, lease, kept)
}

#[test]
fn thinning_makes_room_in_a_full_store() {
    let mut house = House::new("store: { max_size_mib: 1 }\n");
    for _ in 0..150 {
        house.keep(house.core.store.as_ref(), GOOD);
        house.pass(Duration::SECOND);
    }
    house.measure(GOOD);
    assert!(house.is_open());
    fill(&house);
    house.watch.look(&house.core);
    assert!(!house.is_open(), "it is full");
    crate::app_stage::soon("the gate opens again", 10, || {
        house.watch.look(&house.core);
        house.is_open()
    });
    assert_eq!(rows(&house), (65, 65));
    assert!(house.core.health.reasons().is_empty());
    assert!(house.core.store.verify_audit().unwrap().is_whole());
}

#[test]
fn a_full_store_closes_every_gate_and_loses_nothing() {
    let mut house = House::new("store: { max_size_mib: 1 }\n");
    house.measure(GOOD);
    house.watch.look(&house.core);
    assert!(house.is_open());
    let (filler, lease, kept) = fill(&house);
    // the next probe finds out
    crate::app_stage::soon("the gate closes", 5, || {
        house.watch.look(&house.core);
        !house.is_open()
    });
    let reasons = house.core.health.reasons();
    assert!(reasons["store"].contains("full"), "{reasons:?}");
    let decision = house.core.gates.snapshot().decision(&ods("RXA"), Grant::Lookup).cloned().unwrap();
    assert!(decision.reasons[0].text.contains("cannot record"), "{decision:?}");
    assert_eq!(house.history().len(), 2, "nothing could be recorded yet");
    // space again
    let page = StagedPage { forget: kept, ..StagedPage::default() };
    filler.apply_page(&ods("ZZZ"), &lease, OffsetDateTime::UNIX_EPOCH, &page).unwrap();
    crate::app_stage::soon("the gate opens again", 5, || {
        house.watch.look(&house.core);
        house.is_open()
    });
    assert!(house.core.health.reasons().is_empty());
    let history = house.history();
    assert_eq!(history[0].0, "open");
    assert_eq!(history[1].0, "closed");
    assert!(history[1].1.contains("cannot record"), "the closing was recorded afterwards: {history:?}");
    assert!(house.core.store.verify_audit().unwrap().is_whole());
}

/// How many evidence documents and assessments there are.
fn rows(house: &House) -> (u64, u64) {
    let rows = house.core.store.check().unwrap().rows;
    let count = |table| rows.iter().find(|(name, _)| name == table).unwrap().1;
    (count("evidence"), count("assessments"))
}

#[test]
fn old_evidence_goes_and_no_gate_moves() {
    let mut house = House::new("");
    // the third pass closes the gate, the fourth opens it again; the gate's history names both
    for n in 0..70 {
        house.measure(if n == 2 { BAD } else { GOOD });
        house.pass(Duration::SECOND);
    }
    assert_eq!(rows(&house), (70, 70));
    let (history, records) = (house.history(), house.core.store.audit_end().unwrap());
    house.watch.look(&house.core);
    // the newest 64, the first of the day (which opened the gate), and two that moved it
    assert_eq!(rows(&house), (67, 67));
    for change in house.core.store.gate_history(&ods("RXA"), None, 100).unwrap() {
        let Some(id) = change.assessment else { continue };
        let assessment = house.core.store.assessment(&id).unwrap().expect("a gate's history names it");
        assert!(house.core.store.evidence(&assessment.evidence_hash).unwrap().is_some());
    }
    assert_eq!(house.core.store.audit_end().unwrap(), records);
    gates::decide_all(&house.core).unwrap();
    assert!(house.is_open());
    assert_eq!(house.history(), history, "no gate moved");
    // evidence whose predecessor is gone still holds, and the chain goes on
    let newest = house.core.store.recent_assessments(&ods("RXA"), 64).unwrap();
    for record in &newest {
        let evidence = house.core.store.evidence(&record.evidence_hash).unwrap().unwrap();
        let document = Evidence::read(evidence.document.open()).unwrap();
        document.verify(house.core.signer.public_key(), evidence.previous.as_deref()).unwrap();
    }
    let oldest = house.core.store.evidence(&newest.last().unwrap().evidence_hash).unwrap().unwrap();
    assert!(house.core.store.evidence(&oldest.previous.unwrap()).unwrap().is_none(), "its predecessor went");
    house.measure(GOOD);
    assert!(house.is_open());
    assert!(house.core.store.check().unwrap().faults.is_empty());
}

#[test]
fn a_busy_store_is_thinned_later() {
    let mut house = House::new("store: { busy_timeout_ms: 10 }\n");
    for _ in 0..264 {
        house.keep(house.core.store.as_ref(), GOOD);
        house.pass(Duration::SECOND);
    }
    house.measure(GOOD);
    house.watch.look(&house.core);
    let left = rows(&house);
    assert!(left.0 > 65 && left.1 < 265, "one look does some of it: {left:?}");
    let blocker = rusqlite::Connection::open(house.stage.path("data").join("portcullis.sqlite")).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    house.watch.look(&house.core);
    assert!(house.is_open() && house.core.health.reasons().is_empty(), "nobody else minds");
    assert_eq!(rows(&house), left);
    blocker.execute_batch("ROLLBACK").unwrap();
    crate::app_stage::soon("the rest goes", 10, || {
        house.watch.look(&house.core);
        rows(&house) == (65, 65)
    });
    assert!(house.is_open());
}

#[test]
fn what_cannot_be_thinned_closes_gates_until_it_can() {
    let mut house = House::new("");
    for _ in 0..70 {
        house.measure(GOOD);
        house.pass(Duration::SECOND);
    }
    let raw = rusqlite::Connection::open(house.stage.path("data").join("portcullis.sqlite")).unwrap();
    raw.execute_batch(
        "CREATE TRIGGER broken BEFORE DELETE ON evidence BEGIN SELECT RAISE(ABORT, 'broken'); END",
    )
    .unwrap();
    assert!(house.is_open());
    house.watch.look(&house.core);
    assert!(!house.is_open());
    assert!(house.core.health.reasons()["store"].contains("broken"), "{:?}", house.core.health.reasons());
    // probes work meanwhile; the gate does not move with each of them
    for _ in 0..25 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        house.watch.look(&house.core);
        assert!(!house.is_open());
    }
    assert_eq!(rows(&house), (70, 70), "nothing of it was kept");
    raw.execute_batch("DROP TRIGGER broken").unwrap();
    crate::app_stage::soon("the gate opens again", 10, || {
        house.watch.look(&house.core);
        house.is_open()
    });
    assert_eq!(rows(&house), (65, 65));
    let states: Vec<_> = house.history().into_iter().map(|(state, _)| state).collect();
    assert_eq!(states, ["open", "closed", "open", "closed"]);
    assert!(house.core.health.reasons().is_empty());
}

#[test]
fn an_exception_is_felt_at_once_and_its_end_closes_the_gate() {
    let mut house = House::new("");
    house.measure(BAD);
    house.watch.look(&house.core);
    assert!(!house.is_open());
    house.except(|_| (), Duration::minutes(10));
    house.watch.look(&house.core);
    assert!(house.is_open(), "{:?}", house.history());
    house.pass(Duration::minutes(10));
    assert!(!house.is_open(), "the table itself is closed the moment that it ends");
    house.later();
    let (state, reason) = house.history().remove(0);
    assert_eq!(state, "closed");
    assert!(reason.contains("tls-versions (critical) fails"), "judged again without it: {reason}");
    let count = rows(&house);
    house.later();
    assert_eq!(rows(&house), count, "once");
    // the next pass finds the same
    house.measure(BAD);
    assert!(!house.is_open());
}

#[test]
fn an_exception_that_is_expired_by_command_closes_the_gate_at_once() {
    let mut house = House::new("");
    house.measure(BAD);
    let exception = house.except(|_| (), Duration::days(90));
    house.watch.look(&house.core);
    assert!(house.is_open());
    house.pass(Duration::SECOND);
    let ended = ExceptionRecord { withdrawn_at: Some(house.clock.now()), ..exception.clone() };
    house.elsewhere().put_exception(&ended, Some(&exception), &audit("exception.expire")).unwrap();
    house.watch.look(&house.core);
    assert!(!house.is_open());
}

#[test]
fn without_two_persons_no_gate_moves() {
    let mut house = House::new("");
    house.measure(BAD);
    house.except(|record| record.approver = "Asker".into(), Duration::days(90));
    house.except(|r| (r.id, r.approver) = ("x2".into(), String::new()), Duration::days(90));
    house.watch.look(&house.core);
    assert!(!house.is_open(), "{:?}", house.history());
}

const PEOPLE: &str = "\
kind: Facts
facts:
  - name: users
    read: { base: '{domain}', scope: subtree, filter: '(objectCategory=person)' }
    attributes:
      card: { from: userAccountControl, type: flag, flag: 0x40000 }
";

/// A house whose gates close after 14 days on people without a card; these have none.
fn without_card(names: &[&str]) -> (House, Facts) {
    let house = House::new("");
    let graces = BASELINE
        .replace("deny_on: critical,", "deny_on: critical, grace: { critical: 14d },")
        .replace("deny_on: [critical, high],", "deny_on: [critical, high], grace: { critical: 14d },");
    house.stage.write("policies/baseline.yaml", &format!("{graces}---\n{PEOPLE}"));
    let controls = "kind: Controls\ncontrols:\n  - { id: cards, title: Cards, severity: critical, for_each: users,\n      \
                    require: { card: true }, why: w, fix: f }\n";
    house.stage.write("policies/controls.yaml", controls);
    assert_eq!(policies::reload(&house.core), policies::Reload::Changed);
    let record = |name: &&str| {
        Record::from([
            ("name".to_owned(), Fact::text(*name)),
            ("dn".to_owned(), Fact::text(format!("CN={name},OU=Staff,DC=rxa"))),
            ("card".to_owned(), Fact::boolean(false)),
        ])
    };
    let users = Collection { records: names.iter().map(record).collect(), complete: Fact::boolean(true) };
    let mut facts = Facts::default();
    facts.collections.insert("users".to_owned(), users);
    (house, facts)
}

#[test]
fn the_end_of_an_exception_for_some_objects_closes_without_a_grace() {
    let (mut house, facts) = without_card(&["mabel.okoro", "ines.duarte"]);
    house.keep_facts(house.core.store.as_ref(), facts.clone());
    gates::decide_one(&house.core, &ods("RXA")).unwrap();
    assert!(!house.is_open());
    let people = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let cards = |record: &mut ExceptionRecord| record.control = "cards".into();
    house.except(|r| (cards(r), r.objects = people(&["Mabel.Okoro"])).0, Duration::minutes(20));
    house.watch.look(&house.core);
    assert!(!house.is_open(), "one is not covered");
    let other = |r: &mut ExceptionRecord| {
        cards(r);
        (r.id, r.objects) = ("x2".into(), people(&["cn=ines.duarte,ou=staff,dc=rxa"]));
    };
    house.except(other, Duration::minutes(10));
    house.watch.look(&house.core);
    assert!(house.is_open(), "{:?}", house.history());
    house.pass(Duration::minutes(10));
    assert!(!house.is_open());
    house.later();
    let (state, reason) = house.history().remove(0);
    assert_eq!(state, "closed", "not held, whatever the grace: {reason}");
    assert!(reason.contains("cards (critical) 1 of 2 fail"), "{reason}");
    // mended
    house.pass(Duration::SECOND);
    let mut mended = facts;
    mended.collections.insert(
        "users".to_owned(),
        Collection { records: Default::default(), complete: Fact::boolean(true) },
    );
    house.keep_facts(house.core.store.as_ref(), mended);
    gates::decide_one(&house.core, &ods("RXA")).unwrap();
    assert!(house.is_open(), "{:?}", house.history());
}

#[test]
fn an_exception_that_ends_while_nothing_runs_keeps_the_gate_closed() {
    let house = House::new("");
    house.measure(BAD);
    house.except(|_| (), Duration::minutes(10));
    let House { stage, core, clock, mut watch } = house;
    watch.look(&core);
    assert!(core.gates.snapshot().is_open(&ods("RXA"), Grant::Lookup, clock.now()));
    drop(core);
    clock.set(clock.now() + Duration::minutes(11));
    let core = Core::build(Arc::new(stage.config()), clock.clone()).unwrap();
    policies::reload(&core);
    gates::decide_all(&core).unwrap();
    let watch = Watch::new(&core).unwrap();
    let mut house = House { stage, core, clock, watch };
    assert!(!house.is_open());
    assert!(house.history()[0].1.contains("the exception for tls-versions ended"), "{:?}", house.history());
    house.later();
    assert!(house.history()[0].1.contains("tls-versions (critical) fails"), "{:?}", house.history());
    assert!(!house.is_open());
}

#[test]
fn a_restart_keeps_an_open_gate_open_and_a_left_member_out() {
    let house = House::new("");
    house.measure(GOOD);
    let again = Core::build(Arc::new(house.stage.config()), house.clock.clone()).unwrap();
    policies::reload(&again);
    gates::decide_all(&again).unwrap();
    let rxa: OdsCode = ods("RXA");
    assert!(again.gates.snapshot().is_open(&rxa, Grant::Lookup, house.clock.now()));
    assert_eq!(house.history().len(), 2, "nothing new is recorded at a restart");
}
