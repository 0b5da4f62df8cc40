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
use portcullis::baseline::facts::{Evidence, Fact, Facts};
use portcullis::enrol::lifecycle::Step;
use portcullis::enrol::run::{self, By};
use portcullis::policy::terms::{Grant, Membership, OdsCode};
use portcullis::store::member::Member;
use portcullis::store::packed::Packed;
use portcullis::store::port::Store;
use portcullis::store::record::{AssessmentRecord, EvidenceRecord, Lease, StagedObject, StagedPage};
use portcullis::store::sqlite::store::SqliteStore;
use time::{Duration, OffsetDateTime};

use crate::app_stage::{BASELINE, Stage};
use crate::store_conformance::{NOW, audit, member, ods};

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
        let previous = store.latest_evidence(&ods("RXA")).unwrap().map(|record| record.hash);
        let mut facts = Facts::default();
        facts.set("tls.versions", Fact::set(versions.iter().copied()));
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
        let assessment = judge(&set, None, &evidence, &[], self.clock.now()).unwrap();
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
fn an_exception_is_felt_at_once() {
    let mut house = House::new("");
    house.measure(BAD);
    house.watch.look(&house.core);
    assert!(!house.is_open());
    let exception = portcullis::store::record::ExceptionRecord {
        id: "x1".into(),
        member: ods("RXA"),
        control: "tls-versions".into(),
        owner: "o".into(),
        reason: "r".into(),
        compensating_control: "c".into(),
        approver: "a".into(),
        granted_at: house.clock.now() - Duration::SECOND,
        ends_at: house.clock.now() + Duration::minutes(10),
        withdrawn_at: None,
    };
    house.elsewhere().put_exception(&exception, &audit("exception.add")).unwrap();
    house.watch.look(&house.core);
    assert!(house.is_open(), "{:?}", house.history());
    house.pass(Duration::minutes(11));
    assert!(!house.is_open(), "it ends by itself");
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
