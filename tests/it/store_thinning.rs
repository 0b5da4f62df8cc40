//! Packed documents and thinning in the SQLite file: the right rows go, old rows stay readable, broken ones are refused, and the
//! file stops growing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use portcullis::store::error::StoreError;
use portcullis::store::packed::{DOCUMENT_MAX, Packed};
use portcullis::store::port::Store;
use portcullis::store::record::{AssessmentRecord, EvidenceRecord};
use portcullis::store::settings::{Retention, Settings};
use portcullis::store::sqlite::store::SqliteStore;
use proptest::prelude::*;
use rusqlite::{Connection, params};
use time::OffsetDateTime;

use crate::store_conformance::{NOW, an_assessment, an_evidence, audit, gate_by, kept, ods, pass};

const FILE: &str = "portcullis.sqlite";

fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(directory, &Settings::default()).unwrap()
}

fn raw(directory: &Path) -> Connection {
    Connection::open(directory.join(FILE)).unwrap()
}

/// What happens to a member, some time after what happened before.
#[derive(Debug, Clone)]
enum Event {
    /// It is measured, and what was measured is judged this many times.
    Measured {
        judged: u8,
    },
    /// Its latest evidence is judged again.
    JudgedAgain,
    /// A gate moves because of one of its assessments.
    Moved(prop::sample::Index),
    Thinned,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..=2u8).prop_map(|judged| Event::Measured { judged }),
        2 => Just(Event::JudgedAgain),
        1 => any::<prop::sample::Index>().prop_map(Event::Moved),
        1 => Just(Event::Thinned),
    ]
}

/// What ought to be kept, said once more and in the simplest way.
#[derive(Debug, Default, Clone, PartialEq)]
struct Model {
    /// Hash and instant, in the order in which they were kept.
    evidence: Vec<(String, OffsetDateTime)>,
    /// Id, instant and the evidence judged.
    assessments: Vec<(String, OffsetDateTime, String)>,
    named: BTreeSet<String>,
}

impl Model {
    fn thin(&mut self, keep: &Retention, now: OffsetDateTime) {
        let recent = |at: OffsetDateTime| (now.date() - at.date()).whole_days() < i64::from(keep.keep_days);
        let newest = |length: usize| length.saturating_sub(keep.keep_latest as usize);
        let mut firsts = BTreeMap::new();
        for (id, at, _) in &self.assessments {
            firsts.entry(at.date()).or_insert_with(|| id.clone());
        }
        let from = newest(self.assessments.len());
        let mut place = 0..;
        self.assessments.retain(|(id, at, _)| {
            place.next().unwrap() >= from
                || (recent(*at) && firsts[&at.date()] == *id)
                || self.named.contains(id)
        });
        let judged: BTreeSet<&String> = self.assessments.iter().map(|(_, _, hash)| hash).collect();
        let mut firsts = BTreeMap::new();
        for (hash, at) in &self.evidence {
            firsts.entry(at.date()).or_insert_with(|| hash.clone());
        }
        let from = newest(self.evidence.len());
        let mut place = 0..;
        self.evidence.retain(|(hash, at)| {
            place.next().unwrap() >= from
                || (recent(*at) && firsts[&at.date()] == *hash)
                || judged.contains(hash)
        });
    }
}

/// Lets it happen to the store and to the model.
fn play(
    store: &dyn Store,
    model: &mut Model,
    n: usize,
    event: &Event,
    now: OffsetDateTime,
    keep: &Retention,
) {
    match event {
        Event::Measured { judged } => {
            let (hash, previous) = (format!("e{n}"), model.evidence.last().map(|(hash, _)| hash.clone()));
            store.put_evidence(&an_evidence(&hash, previous, now)).unwrap();
            model.evidence.push((hash.clone(), now));
            for time in 0..*judged {
                let id = format!("a{n}.{time}");
                store.put_assessment(&an_assessment(&id, &hash, now), &audit("assess")).unwrap();
                model.assessments.push((id, now, hash.clone()));
            }
        }
        Event::JudgedAgain => {
            let Some((hash, _)) = model.evidence.last().cloned() else { return };
            let id = format!("again{n}");
            store.put_assessment(&an_assessment(&id, &hash, now), &audit("assess")).unwrap();
            model.assessments.push((id, now, hash));
        }
        Event::Moved(which) => {
            if model.assessments.is_empty() {
                return;
            }
            let (id, _, _) = which.get(&model.assessments);
            store.record_gate(&gate_by(id), &audit("gate.open")).unwrap();
            model.named.insert(id.clone());
        }
        Event::Thinned => {
            while store.thin(&ods("RXA"), keep, &[], now).unwrap().more {}
            model.thin(keep, now);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_what_should_stay_stays(
        keep_latest in 1..6u32,
        keep_days in 0..6u32,
        // minutes between two events; sometimes the clock is set back
        events in prop::collection::vec((event(), prop_oneof![9 => 0..900i64, 1 => -2_000..0i64]), 1..50),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        let keep = Retention { keep_latest, keep_days };
        let (mut model, mut all, mut now) = (Model::default(), Model::default(), NOW);
        for (n, (event, minutes)) in events.iter().chain([&(Event::Thinned, 0)]).enumerate() {
            now += time::Duration::minutes(*minutes);
            let before = model.clone();
            play(&store, &mut model, n, event, now, &keep);
            all.evidence.extend(model.evidence.iter().skip(before.evidence.len()).cloned());
            all.assessments.extend(model.assessments.iter().skip(before.assessments.len()).cloned());
        }
        for (hash, _) in &all.evidence {
            let is_kept = store.evidence(hash).unwrap().is_some();
            prop_assert_eq!(is_kept, model.evidence.iter().any(|(other, _)| other == hash), "{}", hash);
        }
        let recent = store.recent_assessments(&ods("RXA"), 1_000).unwrap();
        let ids: Vec<&str> = recent.iter().rev().map(|record| record.id.as_str()).collect();
        let expected: Vec<&str> = model.assessments.iter().map(|(id, _, _)| id.as_str()).collect();
        prop_assert_eq!(ids, expected);
        for record in &recent {
            prop_assert!(store.evidence(&record.evidence_hash).unwrap().is_some(), "{} lost its evidence", record.id);
        }
        let report = store.check().unwrap();
        prop_assert!(report.faults.is_empty() && report.audit.is_whole(), "{report:?}");
    }
}

/// Turns a file into one of schema 1, as if this program had never opened it.
fn back_to_schema_1(directory: &Path) {
    raw(directory)
        .execute_batch(
            "DROP INDEX gates_assessment; DROP INDEX assessments_evidence;
             ALTER TABLE gates DROP COLUMN assessment; DROP TABLE policy_sets; DROP TABLE policy_changes;
             DROP TABLE organisations; DROP INDEX sync_values_key;
             PRAGMA user_version = 1",
        )
        .unwrap();
}

#[test]
fn an_old_file_is_read_and_thinned() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for n in 0..10 {
        pass(&store, n, NOW);
    }
    store.record_gate(&gate_by("a3"), &audit("gate.open")).unwrap();
    drop(store);
    back_to_schema_1(directory.path());
    let old = raw(directory.path());
    for n in 0..10 {
        let document = an_evidence(&format!("e{n}"), None, NOW).document.unpack("it").unwrap();
        old.execute("UPDATE evidence SET document = ?1 WHERE hash = ?2", params![document, format!("e{n}")])
            .unwrap();
        let document = an_assessment(&format!("a{n}"), "", NOW).document;
        old.execute("UPDATE assessments SET document = ?1 WHERE id = ?2", params![document, format!("a{n}")])
            .unwrap();
    }
    let plain: i64 = old
        .query_row("SELECT count(*) FROM evidence WHERE substr(document, 1, 1) = x'7b'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(plain, 10);
    drop(old);
    let store = open(directory.path());
    let found = store.latest_evidence(&ods("RXA")).unwrap().unwrap();
    let expected = an_evidence("e9", Some("e8".into()), NOW);
    assert_eq!(found.document.unpack("e9").unwrap(), expected.document.unpack("e9").unwrap());
    assert_eq!((found.hash, found.previous), (expected.hash, expected.previous));
    assert_eq!(store.recent_assessments(&ods("RXA"), 1).unwrap(), [an_assessment("a9", "e9", NOW)]);
    pass(&store, 10, NOW);
    // the gate record of before is heeded
    store.thin(&ods("RXA"), &Retention { keep_latest: 2, keep_days: 0 }, &[], NOW).unwrap();
    assert_eq!(kept(&store, 11), (vec![3, 9, 10], vec![3, 9, 10]));
    let report = store.check().unwrap();
    assert!(report.schema == 5 && report.faults.is_empty() && report.audit.is_whole(), "{report:?}");
}

fn zlib(length: usize) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    let block = vec![b' '; 1 << 20];
    for _ in 0..length >> 20 {
        encoder.write_all(&block).unwrap();
    }
    encoder.write_all(&block[..length % (1 << 20)]).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_row_that_cannot_be_read_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    pass(&store, 0, NOW);
    let raw = raw(directory.path());
    let refused = |row: &[u8]| {
        raw.execute("UPDATE evidence SET document = ?1", [row]).unwrap();
        raw.execute("UPDATE assessments SET document = ?1", [row]).unwrap();
        let errors = [
            store.evidence("e0").unwrap_err(),
            store.latest_evidence(&ods("RXA")).unwrap_err(),
            store.assessment("a0").unwrap_err(),
            store.recent_assessments(&ods("RXA"), 5).unwrap_err(),
        ];
        for (error, row) in
            errors.iter().zip(["evidence e0", "evidence e0", "assessment a0", "assessment a0"])
        {
            assert!(matches!(error, StoreError::Damaged(text) if text.starts_with(row)), "{error}");
            assert!(error.closes_gates());
        }
        errors[0].to_string()
    };
    for row in [&b""[..], b"[1]", b"x\x9c", &zlib(1_000)[..12]] {
        refused(row);
    }
    let mut flipped = zlib(1_000);
    let at = flipped.len() - 1;
    flipped[at] ^= 1;
    refused(&flipped);
    // what inflates to more than may be: its row is small
    let bomb = zlib(DOCUMENT_MAX + 1);
    assert!(bomb.len() < 4 << 20, "{}", bomb.len());
    assert!(refused(&bomb).contains("larger than"));
    // it goes like any other
    pass_after(&store, "e0");
    store.thin(&ods("RXA"), &Retention { keep_latest: 1, keep_days: 0 }, &[], NOW).unwrap();
    assert_eq!(kept(&store, 2), (vec![1], vec![1]));
}

/// Another pass after evidence that cannot be read.
fn pass_after(store: &dyn Store, previous: &str) {
    store.put_evidence(&an_evidence("e1", Some(previous.into()), NOW)).unwrap();
    store.put_assessment(&an_assessment("a1", "e1", NOW), &audit("assess")).unwrap();
}

/// Evidence of so many people as a probe writes it: much the same for everybody, and a few things that are not.
fn people(count: u32, pass: u32) -> Vec<u8> {
    let person = |n: u32| {
        let (sid, age) = (n.wrapping_mul(2_654_435_761), n.wrapping_mul(40_503) % 90 + pass / 8);
        format!(
            r#"{{"dn":{{"known":{{"dn":"CN=Jack Hughes {n:05},OU=Surgery,OU=Staff,DC=rxa,DC=trust,DC=test"}}}},"enabled":{{"known":{{"boolean":true}}}},"last_logon_age":"absent","password_never_expires":{{"known":{{"boolean":false}}}},"password_age":{{"known":{{"duration":{age}}}}},"preauth_not_required":{{"known":{{"boolean":false}}}},"sid":{{"known":{{"text":"S-1-5-21-{sid}"}}}}}}"#
        )
    };
    let people: Vec<String> = (0..count).map(person).collect();
    format!(r#"{{"pass":{pass},"users":[{}]}}"#, people.join(",")).into_bytes()
}

#[test]
fn a_long_run_stops_growing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let keep = Retention { keep_latest: 10, keep_days: 5 };
    let (mut sizes, mut plain) = (Vec::new(), 0);
    // six passes a day
    for n in 0..600u32 {
        let now = NOW + Duration::from_secs(4 * 3_600) * n;
        let previous = store.latest_evidence(&ods("RXA")).unwrap().map(|evidence| evidence.hash);
        let hash = format!("e{n}");
        let document = people(300, n);
        plain += document.len();
        let document = Packed::of(&document).unwrap();
        store.put_evidence(&EvidenceRecord { document, ..an_evidence(&hash, previous, now) }).unwrap();
        let assessment =
            AssessmentRecord { document: people(30, n), ..an_assessment(&format!("a{n}"), &hash, now) };
        store.put_assessment(&assessment, &audit("assess")).unwrap();
        plain += assessment.document.len();
        if n % 3 == 0 {
            assert!(!store.thin(&ods("RXA"), &keep, &[], now).unwrap().more);
        }
        if n % 200 == 199 {
            sizes.push(std::fs::metadata(directory.path().join(FILE)).unwrap().len());
        }
    }
    let rows = store.check().unwrap().rows;
    let count = |table: &str| rows.iter().find(|(name, _)| name == table).unwrap().1;
    // the newest ten and those since the last thinning, the first of five days
    assert!(count("evidence") <= 10 + 3 + 5 && count("assessments") <= 10 + 3 + 5, "{rows:?}");
    eprintln!("{plain} bytes of documents in 600 passes; the file after 200, 400 and 600 passes: {sizes:?}");
    // what stays of a pass is its audit record, and a few pages at most
    let growth = (sizes[2].saturating_sub(sizes[1])) / 200;
    assert!(growth < 1_500, "{growth} bytes a pass: {sizes:?}");
    assert!(sizes[2] < plain as u64 / 50, "{sizes:?} of {plain}");
}

#[test]
fn a_file_that_is_mostly_free_becomes_smaller() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let size = || std::fs::metadata(directory.path().join(FILE)).unwrap().len();
    let mode: i64 = raw(directory.path()).pragma_query_value(None, "auto_vacuum", |row| row.get(0)).unwrap();
    assert_eq!(mode, 2, "a new file can become smaller");
    // nothing that compresses
    let mut state = 7_u64;
    let mut noise = |length: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        };
        (0..length).map(|_| next()).collect()
    };
    let mut previous = None;
    for n in 0..40 {
        let hash = format!("e{n}");
        let document = Packed::of(&noise(400_000)).unwrap();
        let evidence = EvidenceRecord { document, ..an_evidence(&hash, previous, NOW) };
        store.put_evidence(&evidence).unwrap();
        previous = Some(hash);
    }
    let pages = || raw(directory.path()).pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0));
    let full = (size(), pages().unwrap());
    assert!(full.0 > 14_000_000, "{full:?}");
    let (mut looks, keep) = (0, Retention { keep_latest: 1, keep_days: 0 });
    while pages().unwrap() > full.1 / 2 && looks < 40 {
        store.thin(&ods("RXA"), &keep, &[], NOW).unwrap();
        looks += 1;
    }
    assert!(looks > 3 && looks < 40, "in steps: {looks}");
    // the file follows when the log is written back, which many writes or the last one who closes it do
    drop(store);
    assert!(size() <= full.0 / 2, "{} of {}", size(), full.0);
    let store = open(directory.path());
    assert_eq!(store.latest_evidence(&ods("RXA")).unwrap().unwrap().hash, "e39");
    assert!(store.check().unwrap().faults.is_empty());
}
