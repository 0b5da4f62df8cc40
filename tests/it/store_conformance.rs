//! What every store must do, written against the trait: a second implementation runs the same list.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use portcullis::policy::terms::{Grant, Membership, OdsCode};
use portcullis::secret::reference::SecretReference;
use portcullis::store::audit::NewAudit;
use portcullis::store::error::StoreError;
use portcullis::store::member::{Connection, Controller, Member, Transition};
use portcullis::store::organisation::{Kind, Organisation, Status};
use portcullis::store::packed::Packed;
use portcullis::store::port::{Store, Thinned};
use portcullis::store::record::{
    Approval, AssessmentRecord, EvidenceRecord, ExceptionRecord, GateRecord, Lease, NewJournalEntry,
    PlanRecord, PolicyChange, PolicyStep, StagedObject, StagedPage,
};
use portcullis::store::settings::{Retention, Settings};
use portcullis::store::sqlite::store::SqliteStore;
use time::OffsetDateTime;
use time::macros::datetime;

pub const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

pub fn ods(code: &str) -> OdsCode {
    code.parse().unwrap()
}

pub fn member(code: &str) -> Member {
    Member {
        ods: ods(code),
        name: format!("Trust {code}"),
        state: Membership::Requested,
        profile: Some("trust".to_owned()),
        connection: Connection {
            controllers: vec![Controller { host: "127.0.0.1".into(), port: 636, tls_name: None }],
            base_dn: "DC=a,DC=test".into(),
            bind_dn: "svc@a.test".into(),
            password: SecretReference::File("/nowhere/password".into()),
            anchors: "-----BEGIN CERTIFICATE-----".into(),
            kdcs: Vec::new(),
            site: None,
            realm: None,
            card: None,
            canary: None,
        },
        connectors: Vec::new(),
        mail_domains: BTreeSet::from(["a.test".to_owned()]),
        upn_suffixes: BTreeSet::new(),
        people: Default::default(),
        attested: Default::default(),
        requested_at: NOW,
        state_since: NOW,
        state_reason: "asked".into(),
        revision: 0,
    }
}

pub fn audit(action: &str) -> NewAudit {
    NewAudit {
        at: NOW,
        actor: "officer".into(),
        action: action.into(),
        member: Some(ods("RXA")),
        detail: serde_json::json!({ "reason": "because", "count": 3 }),
    }
}

fn open(directory: &std::path::Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(directory, &Settings::default()).unwrap())
}

/// Runs the list on a fresh store of each kind.
#[test]
fn every_store_conforms() {
    for (name, check) in LIST {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        eprintln!("{name}");
        check(store.as_ref());
        let report = store.check().unwrap();
        assert!(report.faults.is_empty() && report.audit.is_whole(), "{name}: {report:?}");
    }
}

type Check = fn(&dyn Store);

const LIST: &[(&str, Check)] = &[
    ("members are kept under revisions", members),
    ("organisations are kept all or none, with their record", organisations),
    ("evidence is a chain without gaps", evidence),
    ("assessments come newest first", assessments),
    ("documents come back byte for byte", documents),
    ("thinning keeps what it promises", thinning),
    ("the chain goes on over what was thinned", chain_after_thinning),
    ("thinning goes in steps", steps),
    ("exceptions and gates", exceptions_and_gates),
    ("a page and its cookie are one", pages),
    ("plans, approvals and the journal", plans),
    ("what is changed by hand", by_hand),
    ("a lease fences", leases),
    ("the audit chain grows with every decision", chain),
    ("the generation rises with what gates depend on", generation),
    ("notes are kept and replaced", notes),
    ("policy sets are kept and one is in force", policy_sets),
];

fn policy_sets(store: &dyn Store) {
    let change = |step, hash: Option<&str>| PolicyChange {
        signed_by: vec!["Ada".to_owned()],
        step,
        hash: hash.map(str::to_owned),
        at: NOW,
        actor: "officer".into(),
        reason: "because".into(),
    };
    let bundle = |text: &str| Packed::of(text.as_bytes()).unwrap();
    assert_eq!((store.latest_policy_change().unwrap(), store.policy_changes().unwrap()), (None, vec![]));
    let (first, before) = (change(PolicyStep::Activate, Some("a")), store.generation().unwrap());
    store.change_policy(0, &first, Some(&bundle("one")), &audit("policy.activate")).unwrap();
    assert!(store.generation().unwrap() > before, "a running gateway notices");
    assert_eq!(store.latest_policy_change().unwrap(), Some(first.clone()));
    assert_eq!(store.policy_set("a").unwrap().unwrap().unpack("a").unwrap(), b"one");
    assert_eq!(store.policy_set("b").unwrap(), None);
    // somebody changed it in between; and a set that is not kept
    for (after, wrong) in [(0, &first), (1, &change(PolicyStep::Rollback, Some("b")))] {
        let done = store.change_policy(after, wrong, None, &audit("policy.rollback"));
        assert!(matches!(done, Err(StoreError::Conflict(_))), "{done:?}");
    }
    assert_eq!(store.audit(0, 10).unwrap().len(), 1, "what is refused leaves no record");
    let back = change(PolicyStep::Deactivate, None);
    store.change_policy(1, &back, None, &audit("policy.deactivate")).unwrap();
    store.change_policy(2, &first, Some(&bundle("signed")), &audit("policy.activate")).unwrap();
    assert_eq!(
        store.policy_set("a").unwrap().unwrap().unpack("a").unwrap(),
        b"signed",
        "the newest of one hash"
    );
    assert_eq!(store.policy_changes().unwrap(), [first.clone(), back, first]);
    assert_eq!(store.audit(0, 10).unwrap().len(), 3);
}

fn members(store: &dyn Store) {
    let step = Transition {
        member: ods("RXA"),
        from: None,
        to: Membership::Requested,
        at: NOW,
        actor: "officer".into(),
        reason: "asked".into(),
    };
    let first = store.save_member(&member("RXA"), Some(&step), &audit("member.request")).unwrap();
    assert_eq!(first.revision, 1);
    assert_eq!(store.member(&ods("RXA")).unwrap(), Some(first.clone()));
    assert_eq!(store.transitions(&ods("RXA")).unwrap(), [step]);
    // somebody saved in between
    let second = store.save_member(&Member { name: "b".into(), ..first.clone() }, None, &audit("x")).unwrap();
    assert_eq!(second.revision, 2);
    let stale = store.save_member(&first, None, &audit("x"));
    assert!(matches!(stale, Err(StoreError::Conflict(_))), "{stale:?}");
    assert!(matches!(store.save_member(&member("RXA"), None, &audit("x")), Err(StoreError::Conflict(_))));
    assert_eq!(store.audit(0, 10).unwrap().len(), 2, "a refused save leaves no record");
    store.save_member(&member("RBB"), None, &audit("x")).unwrap();
    let codes: Vec<_> = store.members().unwrap().into_iter().map(|m| m.ods.to_string()).collect();
    assert_eq!(codes, ["RBB", "RXA"]);
    assert_eq!(store.member(&ods("ZZZ")).unwrap(), None);
}

fn organisations(store: &dyn Store) {
    let one = |code: &str, name: &str| Organisation {
        ods: ods(code),
        name: name.to_owned(),
        kind: Kind::Practice,
        wave: Some(2),
        planned: Some(time::macros::date!(2026 - 12 - 01)),
        mail_domains: BTreeSet::from(["a.test".to_owned()]),
        status: Status::Open,
        successor: None,
        since: NOW,
    };
    assert!(
        store.organisations().unwrap().is_empty() && store.organisation(&ods("A81001")).unwrap().is_none()
    );
    let (first, second) = (one("A81001", "First"), one("A81002", "Second"));
    store.put_organisations(&[second.clone(), first.clone()], &audit("programme.import")).unwrap();
    assert_eq!(store.organisations().unwrap(), [first, second.clone()]);
    let closed =
        Organisation { status: Status::Closed, successor: Some(ods("A81002")), ..one("A81001", "Renamed") };
    store.put_organisations(std::slice::from_ref(&closed), &audit("programme.import")).unwrap();
    assert_eq!(store.organisation(&ods("A81001")).unwrap(), Some(closed.clone()));
    assert_eq!(store.organisations().unwrap(), [closed, second]);
    assert_eq!(store.audit(0, 10).unwrap().len(), 2);
}

fn evidence(store: &dyn Store) {
    let record = |hash: &str, previous: Option<&str>| EvidenceRecord {
        member: ods("RXA"),
        hash: hash.into(),
        previous: previous.map(Into::into),
        collected_at: NOW,
        document: Packed::of(br#"{"a":1}"#).unwrap(),
    };
    assert_eq!(store.latest_evidence(&ods("RXA")).unwrap(), None);
    assert!(matches!(store.put_evidence(&record("b", Some("a"))), Err(StoreError::Conflict(_))));
    store.put_evidence(&record("a", None)).unwrap();
    store.put_evidence(&record("b", Some("a"))).unwrap();
    assert!(matches!(store.put_evidence(&record("c", Some("a"))), Err(StoreError::Conflict(_))));
    assert_eq!(store.latest_evidence(&ods("RXA")).unwrap(), Some(record("b", Some("a"))));
    assert_eq!(store.evidence("a").unwrap(), Some(record("a", None)));
    assert_eq!(store.evidence("c").unwrap(), None);
}

fn assessments(store: &dyn Store) {
    for n in 0..3 {
        let record = AssessmentRecord {
            id: format!("id{n}"),
            member: ods("RXA"),
            assessed_at: NOW + Duration::from_secs(n),
            policy_hash: "p".into(),
            evidence_hash: "e".into(),
            document: b"{}".to_vec(),
        };
        store.put_assessment(&record, &audit("assess")).unwrap();
        store.put_assessment(&record, &audit("assess")).unwrap();
    }
    let recent = store.recent_assessments(&ods("RXA"), 2).unwrap();
    assert_eq!(recent.iter().map(|a| a.id.as_str()).collect::<Vec<_>>(), ["id2", "id1"]);
    assert_eq!(store.assessment("id0").unwrap().unwrap().assessed_at, NOW);
    assert_eq!(store.recent_assessments(&ods("RXB"), 2).unwrap(), []);
}

fn documents(store: &dyn Store) {
    let long = (0..20_000).map(|n| format!(r#"{{"number":{n},"name":"Jack {}"}}"#, n * 7_919 % 10_007));
    let long = format!("[{}]", long.collect::<Vec<_>>().join(","));
    let all_bytes = (0..=255).cycle().take(100_000).collect();
    let documents =
        [b"{}".to_vec(), Vec::new(), long.into_bytes(), all_bytes, br#"{"a":"\u00e9 \n"}"#.to_vec()];
    let mut previous = None;
    for (n, document) in documents.into_iter().enumerate() {
        let hash = format!("e{n}");
        let packed = Packed::of(&document).unwrap();
        let evidence = EvidenceRecord { document: packed, ..an_evidence(&hash, previous, NOW) };
        store.put_evidence(&evidence).unwrap();
        assert_eq!(store.evidence(&hash).unwrap().as_ref(), Some(&evidence));
        assert_eq!(store.latest_evidence(&ods("RXA")).unwrap(), Some(evidence));
        let assessment = AssessmentRecord { document, ..an_assessment(&format!("a{n}"), &hash, NOW) };
        store.put_assessment(&assessment, &audit("assess")).unwrap();
        assert_eq!(store.assessment(&assessment.id).unwrap().as_ref(), Some(&assessment));
        assert_eq!(store.recent_assessments(&ods("RXA"), 1).unwrap(), [assessment]);
        previous = Some(hash);
    }
}

/// A small evidence document of RXA.
pub fn an_evidence(hash: &str, previous: Option<String>, at: OffsetDateTime) -> EvidenceRecord {
    let document = Packed::of(format!(r#"{{"hash":"{hash}"}}"#).as_bytes()).unwrap();
    EvidenceRecord { member: ods("RXA"), hash: hash.into(), previous, collected_at: at, document }
}

/// A small assessment of RXA.
pub fn an_assessment(id: &str, evidence: &str, at: OffsetDateTime) -> AssessmentRecord {
    AssessmentRecord {
        id: id.into(),
        member: ods("RXA"),
        assessed_at: at,
        policy_hash: "p".into(),
        evidence_hash: evidence.into(),
        document: format!(r#"{{"id":"{id}"}}"#).into_bytes(),
    }
}

/// A pass over RXA: evidence `e<n>` and its assessment `a<n>`.
pub fn pass(store: &dyn Store, n: u32, at: OffsetDateTime) {
    let (hash, previous) = (format!("e{n}"), store.latest_evidence(&ods("RXA")).unwrap().map(|e| e.hash));
    store.put_evidence(&an_evidence(&hash, previous, at)).unwrap();
    store.put_assessment(&an_assessment(&format!("a{n}"), &hash, at), &audit("assess")).unwrap();
}

/// A change of RXA's lookup gate because of an assessment.
pub fn gate_by(assessment: &str) -> GateRecord {
    GateRecord {
        member: ods("RXA"),
        grant: Grant::Lookup,
        at: NOW,
        state: "open".into(),
        until: None,
        reasons: vec!["why".into()],
        assessment: Some(assessment.into()),
    }
}

/// Which of the passes 0 to `count` still have their evidence, and which their assessment.
pub fn kept(store: &dyn Store, count: u32) -> (Vec<u32>, Vec<u32>) {
    let evidence = (0..count).filter(|n| store.evidence(&format!("e{n}")).unwrap().is_some());
    let assessments = (0..count).filter(|n| store.assessment(&format!("a{n}")).unwrap().is_some());
    (evidence.collect(), assessments.collect())
}

fn thinning(store: &dyn Store) {
    let keep = Retention { keep_latest: 2, keep_days: 3 };
    let rxa = ods("RXA");
    assert_eq!(store.thin(&rxa, &keep, &[], NOW).unwrap(), Thinned::default(), "nothing is there");
    // three passes a day, at 0, 8 and 16 o'clock, for five days: 0-2, 3-5, 6-8, 9-11, and 12-14 today
    let day = NOW.date().midnight().assume_utc();
    for n in 0..15 {
        pass(store, n, day - Duration::from_secs(4 * 86_400) + Duration::from_secs(8 * 3_600) * n);
    }
    // another judgement of old evidence today, so that the newest assessments and the newest evidence differ
    store.put_assessment(&an_assessment("again", "e4", NOW), &audit("assess")).unwrap();
    store.record_gate(&gate_by("a1"), &audit("gate.open")).unwrap();
    // a record that names what is not there, and one that names nothing
    store.record_gate(&gate_by("gone"), &audit("gate.open")).unwrap();
    store.record_gate(&GateRecord { assessment: None, ..gate_by("") }, &audit("gate.open")).unwrap();
    let (records, generation) = (store.audit_end().unwrap(), store.generation().unwrap());
    let thinned = store.thin(&rxa, &keep, &["a7".to_owned()], NOW).unwrap();
    // the first of the last three days (6, 9, 12), those that are named (1, 7, and 4 by a judgement), and the newest (14 and
    // `again`, and 13 and 14)
    let left = (vec![1, 4, 6, 7, 9, 12, 13, 14], vec![1, 6, 7, 9, 12, 14]);
    assert_eq!(kept(store, 15), left);
    assert!(store.assessment("again").unwrap().is_some());
    assert_eq!(thinned, Thinned { assessments: 9, evidence: 7, more: false });
    assert_eq!(
        store.thin(&rxa, &keep, &["a7".to_owned()], NOW).unwrap(),
        Thinned::default(),
        "once is enough"
    );
    assert_eq!((store.audit_end().unwrap(), store.generation().unwrap()), (records, generation));
    // what was only waiting to be named, and what fell out of the last days, goes later
    store.thin(&rxa, &keep, &[], NOW + Duration::from_secs(86_400)).unwrap();
    assert_eq!(kept(store, 15), (vec![1, 4, 9, 12, 13, 14], vec![1, 9, 12, 14]));
    assert_eq!(store.thin(&ods("RXB"), &keep, &[], NOW).unwrap(), Thinned::default(), "another has nothing");
}

fn chain_after_thinning(store: &dyn Store) {
    let (keep, rxa) = (Retention { keep_latest: 1, keep_days: 0 }, ods("RXA"));
    for n in 0..5 {
        pass(store, n, NOW);
        store.thin(&rxa, &keep, &[], NOW).unwrap();
        assert_eq!(kept(store, 5), (vec![n], vec![n]));
    }
    // its predecessor is gone, its name is not
    assert_eq!(store.latest_evidence(&rxa).unwrap().unwrap().previous.as_deref(), Some("e3"));
    let gap = store.put_evidence(&an_evidence("e6", Some("e3".into()), NOW));
    assert!(matches!(gap, Err(StoreError::Conflict(_))), "{gap:?}");
    assert!(matches!(store.put_evidence(&an_evidence("e6", None, NOW)), Err(StoreError::Conflict(_))));
    store.put_evidence(&an_evidence("e6", Some("e4".into()), NOW)).unwrap();
    // even who asks to keep nothing keeps the end of the chain
    store.thin(&rxa, &Retention { keep_latest: 0, keep_days: 0 }, &[], NOW).unwrap();
    assert_eq!(store.latest_evidence(&rxa).unwrap().unwrap().hash, "e6");
}

fn steps(store: &dyn Store) {
    let (keep, rxa) = (Retention { keep_latest: 10, keep_days: 1 }, ods("RXA"));
    for n in 0..300 {
        pass(store, n, NOW);
    }
    let (mut rounds, mut all) = (0, Thinned { more: true, ..Thinned::default() });
    while all.more {
        let thinned = store.thin(&rxa, &keep, &[], NOW).unwrap();
        let removed = thinned.assessments + thinned.evidence;
        assert!(removed > 0 && removed < 150, "{thinned:?}");
        all.assessments += thinned.assessments;
        all.evidence += thinned.evidence;
        all.more = thinned.more;
        rounds += 1;
    }
    assert_eq!(all, Thinned { assessments: 289, evidence: 289, more: false });
    assert!(rounds > 4, "{rounds}");
    let left: Vec<u32> = std::iter::once(0).chain(290..300).collect();
    assert_eq!(kept(store, 300), (left.clone(), left));
}

/// For RXA and `tls-versions`, asked for and approved by two persons.
pub fn exception(id: &str, from: OffsetDateTime, until: OffsetDateTime) -> ExceptionRecord {
    ExceptionRecord {
        id: id.into(),
        member: ods("RXA"),
        control: "tls-versions".into(),
        objects: Vec::new(),
        owner: "o".into(),
        reason: "r".into(),
        compensating_control: "c".into(),
        requested_by: Some("asker".into()),
        requested_at: Some(from),
        approver: "approver".into(),
        approval_reason: None,
        granted_at: from,
        ends_at: until,
        withdrawn_at: None,
        withdrawn_by: None,
        withdrawal_reason: None,
    }
}

/// One that was kept before two persons were needed is read as it is.
#[test]
fn exceptions_of_earlier_versions_are_read() {
    let old = r#"{"id":"x1","member":"RXA","control":"tls-versions","owner":"o","reason":"r","compensating_control":"c",
        "approver":"a","granted_at":"2026-11-01T00:00:00Z","ends_at":"2027-01-01T00:00:00Z","withdrawn_at":null}"#;
    let read: ExceptionRecord = serde_json::from_str(old).unwrap();
    assert!(read.is_approved() && !read.is_request() && read.objects.is_empty());
}

fn exceptions_and_gates(store: &dyn Store) {
    let request = ExceptionRecord {
        objects: vec!["mabel.okoro".into()],
        requested_by: Some("asker".into()),
        requested_at: Some(NOW),
        approver: String::new(),
        ..exception("x1", NOW, NOW + Duration::from_secs(60))
    };
    store.put_exception(&request, None, &audit("exception.request")).unwrap();
    let conflict = |before| {
        let put = store.put_exception(&request, before, &audit("exception.approve"));
        assert!(matches!(put, Err(StoreError::Conflict(_))), "{put:?}");
    };
    // the id is taken
    conflict(None);
    let approved = ExceptionRecord {
        approver: "approver".into(),
        approval_reason: Some("why".into()),
        ..request.clone()
    };
    store.put_exception(&approved, Some(&request), &audit("exception.approve")).unwrap();
    // another officer read it before
    conflict(Some(&request));
    assert_eq!(store.exceptions(None).unwrap(), std::slice::from_ref(&approved));
    let withdrawn = ExceptionRecord {
        withdrawn_at: Some(NOW),
        withdrawn_by: Some("other".into()),
        withdrawal_reason: Some("mended".into()),
        ..approved.clone()
    };
    store.put_exception(&withdrawn, Some(&approved), &audit("exception.expire")).unwrap();
    assert_eq!(store.exceptions(None).unwrap(), [withdrawn]);
    assert_eq!(store.exceptions(Some(&ods("RXB"))).unwrap(), []);
    let actions: Vec<_> = store.audit(0, 10).unwrap().into_iter().map(|record| record.audit.action).collect();
    assert_eq!(
        actions,
        ["exception.request", "exception.approve", "exception.expire"],
        "a conflict leaves no record"
    );
    let gate = |grant, state: &str| GateRecord {
        member: ods("RXA"),
        grant,
        at: NOW,
        state: state.into(),
        until: None,
        reasons: vec!["why".into()],
        assessment: None,
    };
    store.record_gate(&gate(Grant::Lookup, "open"), &audit("gate.open")).unwrap();
    store.record_gate(&gate(Grant::Sync, "open"), &audit("gate.open")).unwrap();
    store.record_gate(&gate(Grant::Lookup, "closed"), &audit("gate.close")).unwrap();
    assert_eq!(store.gates().unwrap(), [gate(Grant::Lookup, "closed"), gate(Grant::Sync, "open")]);
    let history = store.gate_history(&ods("RXA"), Some(Grant::Lookup), 10).unwrap();
    assert_eq!(history, [gate(Grant::Lookup, "closed"), gate(Grant::Lookup, "open")]);
    assert_eq!(store.gate_history(&ods("RXA"), None, 2).unwrap().len(), 2);
}

fn object(n: u16) -> StagedObject {
    let mut guid = [7; 16];
    guid[..2].copy_from_slice(&n.to_le_bytes());
    StagedObject { guid, parent: Some([1; 16]), pass: 3, document: n.to_string().into_bytes() }
}

fn lease(store: &dyn Store) -> Lease {
    store.acquire_lease("sync/RXA", "one", NOW, Duration::from_secs(60)).unwrap().unwrap()
}

fn pages(store: &dyn Store) {
    let (rxa, held) = (ods("RXA"), lease(store));
    let page = StagedPage {
        put: (0..2_500).map(object).collect(),
        forget: vec![],
        values: vec![("cookie".into(), Some(b"one".to_vec())), ("cookie.usn".into(), Some(b"9".to_vec()))],
    };
    store.apply_page(&rxa, &held, NOW, &page).unwrap();
    let mut seen = Vec::new();
    store
        .visit_staged(&rxa, &mut |staged| {
            // the visitor may use the store itself
            assert_eq!(store.staged(&rxa, &staged.guid)?.as_ref(), Some(&staged));
            seen.push(staged.guid);
            Ok(())
        })
        .unwrap();
    assert_eq!(seen.len(), 2_500);
    assert!(seen.is_sorted());
    let page = StagedPage {
        put: vec![StagedObject { document: b"new".to_vec(), ..object(5) }],
        forget: vec![object(6).guid],
        values: vec![("cookie".into(), Some(b"two".to_vec())), ("cookie.usn".into(), None)],
    };
    store.apply_page(&rxa, &held, NOW, &page).unwrap();
    assert_eq!(store.staged(&rxa, &object(5).guid).unwrap().unwrap().document, b"new");
    assert_eq!(store.staged(&rxa, &object(6).guid).unwrap(), None);
    assert_eq!(store.sync_values(&rxa, "cookie").unwrap(), [("cookie".to_owned(), b"two".to_vec())]);
    assert_eq!(store.sync_value(&ods("RXB"), "cookie").unwrap(), None);
    // an old holder changes nothing
    let late = NOW + Duration::from_secs(61);
    let page = StagedPage { values: vec![("cookie".into(), None)], ..StagedPage::default() };
    assert!(matches!(store.apply_page(&rxa, &held, late, &page), Err(StoreError::Fenced { .. })));
    assert_eq!(store.sync_value(&rxa, "cookie").unwrap().as_deref(), Some(&b"two"[..]));
    let stop = store.visit_staged(&rxa, &mut |_| Err(StoreError::Value("enough".into())));
    assert!(matches!(stop, Err(StoreError::Value(_))));
}

fn by_hand(store: &dyn Store) {
    let (rxa, rxb) = (ods("RXA"), ods("RXB"));
    let set = |value: &str| vec![("k".to_owned(), Some(value.as_bytes().to_vec()))];
    let before = store.audit_end().unwrap().0;
    store.change_sync(Some(&rxb), &set("b"), &audit("sync.pause")).unwrap();
    store.change_sync(None, &set("all"), &audit("sync.pause")).unwrap();
    store.change_sync(Some(&rxa), &set("a"), &audit("sync.pause")).unwrap();
    assert_eq!(store.audit_end().unwrap().0, before + 3, "each with its record");
    let everywhere =
        [(None, b"all".to_vec()), (Some(rxa.clone()), b"a".to_vec()), (Some(rxb.clone()), b"b".to_vec())];
    assert_eq!(store.sync_everywhere("k").unwrap(), everywhere);
    assert_eq!(store.sync_value(&rxa, "k").unwrap().as_deref(), Some(&b"a"[..]));
    store.change_sync(None, &[("k".to_owned(), None)], &audit("sync.resume")).unwrap();
    store.change_sync(Some(&rxa), &[("k".to_owned(), None)], &audit("sync.resume")).unwrap();
    assert_eq!(store.sync_everywhere("k").unwrap(), [(Some(rxb), b"b".to_vec())]);
    let held = lease(store);
    let line = |plan: &str, step| NewJournalEntry {
        plan: plan.into(),
        step,
        phase: "done".into(),
        at: NOW,
        document: b"{}".to_vec(),
    };
    store.append_journal(&rxa, &held, NOW, &[line("p", 0), line("q", 0), line("p", 1)]).unwrap();
    let lines = store.journal_of(&rxa, "p").unwrap();
    assert_eq!(lines.iter().map(|line| line.entry.step).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(store.journal_of(&ods("RXC"), "p").unwrap(), []);
}

fn plans(store: &dyn Store) {
    let plan = |hash: &str, state: &str| PlanRecord {
        hash: hash.into(),
        member: ods("RXA"),
        made_at: NOW,
        state: state.into(),
        document: hash.as_bytes().to_vec(),
    };
    store.put_plan(&plan("h1", "planned")).unwrap();
    store.put_plan(&plan("h2", "planned")).unwrap();
    store.put_plan(&plan("h1", "done")).unwrap();
    assert_eq!(store.plans(&ods("RXA"), 9).unwrap(), [plan("h2", "planned"), plan("h1", "done")]);
    store.set_plan_state("h2", "held").unwrap();
    store.set_plan_state("nobody", "held").unwrap();
    store.put_plan(&plan("h3", "held")).unwrap();
    store.put_plan(&PlanRecord { member: ods("RXB"), ..plan("h4", "held") }).unwrap();
    store.move_plans(&ods("RXA"), "held", "superseded", Some("h3")).unwrap();
    let states =
        |code| store.plans(&ods(code), 9).unwrap().into_iter().map(|plan| plan.state).collect::<Vec<_>>();
    assert_eq!(
        (states("RXA"), states("RXB")),
        (vec!["held".to_owned(), "superseded".into(), "done".into()], vec!["held".into()])
    );
    store.move_plans(&ods("RXA"), "held", "superseded", None).unwrap();
    assert_eq!(states("RXA"), ["superseded", "superseded", "done"]);
    let approval = Approval {
        plan: "h1".into(),
        member: ods("RXA"),
        officer: "o".into(),
        reason: "r".into(),
        at: NOW,
        ends_at: NOW,
    };
    store.put_approval(&approval, &audit("sync.approve")).unwrap();
    assert_eq!(store.approvals("h1").unwrap(), [approval]);
    assert_eq!(store.approvals("h2").unwrap(), []);
    let (rxa, held) = (ods("RXA"), lease(store));
    let entry = |step, phase: &str| NewJournalEntry {
        plan: "h1".into(),
        step,
        phase: phase.into(),
        at: NOW,
        document: b"{}".to_vec(),
    };
    let entries = [entry(0, "intended"), entry(0, "done"), entry(1, "intended")];
    let last = store.append_journal(&rxa, &held, NOW, &entries).unwrap();
    let journal = store.journal(&rxa, 0, 10).unwrap();
    assert_eq!(journal.iter().map(|j| j.entry.clone()).collect::<Vec<_>>(), entries);
    assert_eq!(store.journal(&rxa, journal[1].seq, 10).unwrap()[0].seq, last);
    store.release_lease(&held).unwrap();
    assert!(matches!(store.append_journal(&rxa, &held, NOW, &entries), Err(StoreError::Fenced { .. })));
    assert_eq!(store.journal(&rxa, 0, 10).unwrap().len(), 3);
}

fn leases(store: &dyn Store) {
    let minute = Duration::from_secs(60);
    let first = lease(store);
    assert_eq!(store.acquire_lease("sync/RXA", "two", NOW, minute).unwrap(), None);
    let again = lease(store);
    assert_eq!(again.epoch, first.epoch, "the same holder goes on");
    let half = NOW + minute / 2;
    let renewed = store.renew_lease(&again, half, minute).unwrap();
    assert_eq!(renewed.ends_at, half + minute);
    let over = half + minute;
    let second = store.acquire_lease("sync/RXA", "two", over, minute).unwrap().unwrap();
    assert_eq!(second.epoch, first.epoch + 1);
    assert!(matches!(store.renew_lease(&renewed, over, minute), Err(StoreError::Fenced { .. })));
    store.release_lease(&renewed).unwrap();
    assert_eq!(store.acquire_lease("sync/RXA", "three", over, minute).unwrap(), None, "two still holds it");
    store.release_lease(&second).unwrap();
    let third = store.acquire_lease("sync/RXA", "three", over, minute).unwrap().unwrap();
    assert_eq!(third.epoch, second.epoch + 1, "an epoch never comes again");
    assert!(store.acquire_lease("sync/RXB", "two", over, minute).unwrap().is_some());
}

fn chain(store: &dyn Store) {
    assert_eq!(store.append_audit(&[audit("a"), audit("b")]).unwrap(), 2);
    store.save_member(&member("RXA"), None, &audit("c")).unwrap();
    let records = store.audit(1, 10).unwrap();
    assert_eq!(
        records.iter().map(|r| (r.seq, r.audit.action.as_str())).collect::<Vec<_>>(),
        [(2, "b"), (3, "c")]
    );
    assert_eq!(records[1].previous, records[0].hash);
    assert_eq!(records[0].audit, audit("b"));
    let report = store.verify_audit().unwrap();
    assert!(report.is_whole());
    assert_eq!((report.records, report.head.as_str()), (3, records[1].hash.as_str()));
}

fn generation(store: &dyn Store) {
    let before = store.generation().unwrap();
    assert_eq!(store.generation().unwrap(), before);
    store.apply_page(&ods("RXA"), &lease(store), NOW, &StagedPage::default()).unwrap();
    store.append_audit(&[audit("a")]).unwrap();
    store.probe_writable().unwrap();
    assert_eq!(store.generation().unwrap(), before, "gates do not depend on these");
    store.save_member(&member("RXA"), None, &audit("c")).unwrap();
    assert!(store.generation().unwrap() > before);
}

fn notes(store: &dyn Store) {
    assert_eq!(store.note(&ods("RXA"), "n").unwrap(), None);
    store.set_note(&ods("RXA"), "n", b"1").unwrap();
    store.set_note(&ods("RXA"), "n", b"2").unwrap();
    assert_eq!(store.note(&ods("RXA"), "n").unwrap().as_deref(), Some(&b"2"[..]));
}
