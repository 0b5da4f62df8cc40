//! A store that is full, read-only, damaged, tampered with or shared: nothing is lost and nothing is hidden.

use std::path::Path;

use portcullis::store::audit::AuditFault;
use portcullis::store::error::StoreError;
use portcullis::store::lock::GatewayLock;
use portcullis::store::port::Store;
use portcullis::store::record::{Lease, StagedObject, StagedPage};
use portcullis::store::settings::Settings;
use portcullis::store::sqlite::store::SqliteStore;
use rusqlite::Connection;

use crate::store_conformance::{NOW, audit, member, ods};

fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(directory, &Settings::default()).unwrap()
}

/// A store with ten audit records, then changed behind its back.
fn tampered(sql: &str) -> Vec<AuditFault> {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.append_audit(&vec![audit("a"); 10]).unwrap();
    let raw = Connection::open(directory.path().join("portcullis.sqlite")).unwrap();
    let guarded = raw.execute_batch(sql);
    assert!(guarded.unwrap_err().to_string().contains("append-only"), "the table itself refuses first");
    raw.execute_batch("DROP TRIGGER audit_keeps; DROP TRIGGER audit_stays").unwrap();
    raw.execute_batch(sql).unwrap();
    store.verify_audit().unwrap().faults
}

#[test]
fn a_changed_record_is_found() {
    for column in
        ["at = '2026-11-24T12:00:01Z'", "actor = 'x'", "action = 'x'", "member = NULL", "detail = '{}'"]
    {
        let faults = tampered(&format!("UPDATE audit SET {column} WHERE seq = 4"));
        assert_eq!(faults, [AuditFault::Changed { seq: 4 }], "{column}");
    }
    let faults = tampered("UPDATE audit SET previous = 'x' WHERE seq = 4");
    assert_eq!(faults, [AuditFault::Unchained { seq: 4 }, AuditFault::Changed { seq: 4 }]);
    let faults = tampered("UPDATE audit SET member = 'no code' WHERE seq = 4");
    assert!(matches!(faults.as_slice(), [AuditFault::Unreadable { seq: 4, .. }]), "{faults:?}");
}

#[test]
fn a_missing_record_is_found() {
    assert_eq!(tampered("DELETE FROM audit WHERE seq IN (4, 5)"), [AuditFault::Gap { from: 4, to: 5 }]);
}

#[test]
fn a_cut_off_end_is_found() {
    assert_eq!(
        tampered("DELETE FROM audit WHERE seq > 8"),
        [AuditFault::Truncated { found: 8, expected: 10 }]
    );
    assert_eq!(tampered("DELETE FROM audit"), [AuditFault::Truncated { found: 0, expected: 10 }]);
}

#[test]
fn a_rewritten_record_breaks_the_one_after_it() {
    // the hash was made to match: the next record still points to the old one
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.append_audit(&[audit("a"), audit("b")]).unwrap();
    let first = store.audit(0, 1).unwrap().remove(0);
    let raw = Connection::open(directory.path().join("portcullis.sqlite")).unwrap();
    let mut forged = first.audit.clone();
    forged.actor = "nobody".into();
    let hash = portcullis::store::audit::record_hash(
        &first.previous,
        1,
        &forged,
        "2026-11-24T12:00:00Z",
        &forged.detail.to_string(),
    );
    raw.execute_batch("DROP TRIGGER audit_keeps").unwrap();
    raw.execute("UPDATE audit SET actor = 'nobody', hash = ?1 WHERE seq = 1", [hash]).unwrap();
    assert_eq!(store.verify_audit().unwrap().faults, [AuditFault::Unchained { seq: 2 }]);
}

fn big_page(n: u8) -> StagedPage {
    let object = StagedObject { guid: [n; 16], parent: None, pass: 1, document: vec![n; 200_000] };
    StagedPage { put: vec![object], values: vec![("cookie".into(), Some(vec![n]))], ..StagedPage::default() }
}

#[test]
fn a_full_store_refuses_whole_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings { max_size_mib: 1, ..Settings::default() };
    let store = SqliteStore::open(directory.path(), &settings).unwrap();
    let rxa = ods("RXA");
    let lease: Lease =
        store.acquire_lease("sync/RXA", "one", NOW, std::time::Duration::from_secs(60)).unwrap().unwrap();
    let mut kept = 0;
    let error = loop {
        match store.apply_page(&rxa, &lease, NOW, &big_page(kept)) {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 20, "a store of 1 MiB took {kept} pages of 200 kB");
    };
    assert!(matches!(error, StoreError::Full(_)), "{error}");
    assert!(error.to_string().contains(" of the 1 MiB that `store.max_size_mib` allows"), "{error}");
    assert!(error.closes_gates() && error.may_retry());
    // the refused page left neither its object nor its cookie
    assert_eq!(store.staged(&rxa, &[kept; 16]).unwrap(), None);
    assert_eq!(store.sync_value(&rxa, "cookie").unwrap(), Some(vec![kept - 1]));
    // fill the rest: then nothing that matters is accepted, and the probe says so
    while store.append_audit(&vec![audit("filler"); 50]).is_ok() {}
    while store.append_audit(&[audit("filler")]).is_ok() {}
    assert!(matches!(store.probe_writable(), Err(StoreError::Full(_))));
    let records = store.verify_audit().unwrap();
    assert!(records.is_whole(), "{records:?}");
    // space again: all goes on, nothing is missing
    let page = StagedPage { forget: (0..kept).map(|n| [n; 16]).collect(), ..StagedPage::default() };
    store.apply_page(&rxa, &lease, NOW, &page).unwrap();
    store.probe_writable().unwrap();
    assert_eq!(store.append_audit(&[audit("after")]).unwrap(), records.records + 1);
    assert!(store.check().unwrap().faults.is_empty());
}

#[test]
fn a_store_that_cannot_be_written_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.append_audit(&[audit("a")]).unwrap();
    // what a remount as read-only does to a running process, without needing to be somebody else than root
    let blocker = Connection::open(directory.path().join("portcullis.sqlite")).unwrap();
    blocker.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let impatient =
        SqliteStore::open(directory.path(), &Settings { busy_timeout_ms: 10, ..Settings::default() });
    let error = match impatient {
        Ok(store) => store.append_audit(&[audit("b")]).unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, StoreError::Busy(_)), "{error}");
    assert!(error.may_retry() && !error.closes_gates());
}

#[test]
fn a_directory_that_cannot_be_made_is_reported() {
    let error = SqliteStore::open(Path::new("/proc/portcullis"), &Settings::default()).unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}

#[test]
fn a_damaged_file_and_a_newer_file_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("portcullis.sqlite");
    std::fs::write(&path, "this is no database, however long it may be ".repeat(100)).unwrap();
    let error = SqliteStore::open(directory.path(), &Settings::default()).unwrap_err();
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    std::fs::remove_file(&path).unwrap();
    drop(open(directory.path()));
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteStore::open(directory.path(), &Settings::default()).unwrap_err();
    assert!(matches!(error, StoreError::TooNew { found: 99, known: 5 }), "{error}");
}

#[test]
fn another_process_is_noticed_and_a_second_gateway_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (gateway, command) = (open(directory.path()), open(directory.path()));
    let before = gateway.generation().unwrap();
    command.save_member(&member("RXA"), None, &audit("member.request")).unwrap();
    assert!(gateway.generation().unwrap() > before);
    assert_eq!(gateway.members().unwrap().len(), 1);
    let _held = GatewayLock::acquire(directory.path()).unwrap();
    assert!(matches!(GatewayLock::acquire(directory.path()), Err(StoreError::Locked(_))));
}

#[test]
fn only_its_owner_can_read_the_store() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    drop(open(&data));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("portcullis.sqlite")), 0o600);
}

#[test]
fn a_chain_that_was_written_anew_does_not_agree_with_its_checkpoints() {
    use portcullis::secret::signing::Signer;
    use portcullis::store::checkpoint::{verify, write};
    let directory = tempfile::tempdir().unwrap();
    let (file, signer) = (directory.path().join("checkpoints"), Signer::ephemeral().unwrap());
    let store = open(&directory.path().join("store"));
    assert_eq!(write(&file, &store, &signer, NOW, 0).unwrap(), 0, "nothing to sign yet");
    store.append_audit(&vec![audit("a"); 5]).unwrap();
    assert_eq!(write(&file, &store, &signer, NOW, 0).unwrap(), 5);
    assert_eq!(write(&file, &store, &signer, NOW, 5).unwrap(), 5);
    store.append_audit(&vec![audit("b"); 5]).unwrap();
    assert_eq!(write(&file, &store, &signer, NOW, 5).unwrap(), 10);
    assert_eq!(verify(&file, &store, signer.public_key()).unwrap(), []);
    // a perfect chain with another history, and one that is shorter
    let other = open(&directory.path().join("other"));
    other.append_audit(&vec![audit("c"); 7]).unwrap();
    assert!(other.verify_audit().unwrap().is_whole());
    let faults = [AuditFault::Checkpoint { seq: 5 }, AuditFault::Checkpoint { seq: 10 }];
    assert_eq!(verify(&file, &other, signer.public_key()).unwrap(), faults);
    // somebody else's key
    let stranger = Signer::ephemeral().unwrap();
    assert_eq!(verify(&file, &store, stranger.public_key()).unwrap(), faults);
    assert_eq!(verify(&directory.path().join("nowhere"), &store, signer.public_key()).unwrap(), []);
}
