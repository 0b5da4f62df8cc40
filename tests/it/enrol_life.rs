//! The life of a membership in the store: every step with its record, none skipped, none half taken.

use portcullis::enrol::error::EnrolError;
use portcullis::enrol::lifecycle::Step;
use portcullis::enrol::run::{self, By};
use portcullis::policy::terms::Membership;
use portcullis::store::member::{ConnectorCertificate, Member};
use portcullis::store::port::Store;
use portcullis::store::settings::Settings;
use portcullis::store::sqlite::store::SqliteStore;

use crate::store_conformance::{NOW, member, ods};

const BY: By<'static> = By { actor: "officer", reason: "because", now: NOW };

#[test]
fn a_whole_life_is_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path(), &Settings::default()).unwrap();
    let rxa = ods("RXA");
    run::request(&store, member("RXA"), &BY).unwrap();
    assert!(matches!(run::request(&store, member("RXA"), &BY), Err(EnrolError::AlreadyThere(_))));
    let early = run::advance(&store, &rxa, Membership::Federated, &BY).unwrap_err();
    assert!(early.to_string().contains("measure it first"), "{early}");
    run::measured(&store, &rxa, &BY).unwrap();
    run::measured(&store, &rxa, &BY).unwrap();
    assert_eq!(run::advance(&store, &rxa, Membership::Piloting, &BY).unwrap().state, Membership::Piloting);
    assert_eq!(run::advance(&store, &rxa, Membership::Federated, &BY).unwrap().state, Membership::Federated);
    run::take(&store, &rxa, Step::Suspend, &BY).unwrap();
    assert_eq!(run::take(&store, &rxa, Step::Resume, &BY).unwrap().state, Membership::Federated);
    run::take(&store, &rxa, Step::Leave, &BY).unwrap();
    run::take(&store, &rxa, Step::Finish, &BY).unwrap();
    // it may ask again, and starts over
    assert_eq!(run::request(&store, member("RXA"), &BY).unwrap().state, Membership::Requested);
    let states: Vec<_> = store.transitions(&rxa).unwrap().iter().map(|t| t.to.as_str()).collect();
    assert_eq!(
        states,
        [
            "requested",
            "checked",
            "approved",
            "piloting",
            "federated",
            "suspended",
            "federated",
            "leaving",
            "left",
            "requested"
        ]
    );
    let actions: Vec<_> = store.audit(0, 100).unwrap().into_iter().map(|r| r.audit.action).collect();
    assert_eq!(actions.len(), states.len(), "every transition has its record: {actions:?}");
    assert_eq!(actions[5], "member.suspend");
    assert!(store.verify_audit().unwrap().is_whole());
}

#[test]
fn no_reason_no_step() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path(), &Settings::default()).unwrap();
    let mute = By { reason: "  ", ..BY };
    assert!(matches!(run::request(&store, member("RXA"), &mute), Err(EnrolError::NoReason)));
    assert!(store.members().unwrap().is_empty());
    let mut nowhere = member("RXA");
    nowhere.connection.controllers.clear();
    nowhere.connection.base_dn = "o=nowhere".to_owned();
    let refused = run::request(&store, nowhere, &BY).unwrap_err();
    assert!(refused.to_string().contains("--controller"), "{refused}");
}

#[test]
fn what_one_member_holds_no_other_can_ask_for() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path(), &Settings::default()).unwrap();
    let connector = |sha256: &str| ConnectorCertificate {
        sha256: sha256.to_owned(),
        subject: "cn=connector".to_owned(),
        not_after: NOW,
    };
    let asking = |code: &str, sha256: &str, suffix: &str, domain: &str| Member {
        connectors: vec![connector(sha256)],
        upn_suffixes: [suffix.to_owned()].into(),
        people: Default::default(),
        attested: Default::default(),
        mail_domains: [domain.to_owned()].into(),
        ..member(code)
    };
    run::request(&store, asking("RXA", "aa", "rxa.test", "a.test"), &BY).unwrap();
    for (other, what) in [
        (asking("RXB", "aa", "rxb.test", "b.test"), "connector certificate"),
        (asking("RXB", "bb", "rxa.test", "b.test"), "UPN suffix `rxa.test`"),
        (asking("RXB", "bb", "rxb.test", "a.test"), "mail domain `a.test`"),
    ] {
        let refused = run::request(&store, other, &BY).unwrap_err();
        assert!(refused.to_string().contains(what) && refused.to_string().contains("RXA"), "{refused}");
    }
    run::request(&store, asking("RXB", "bb", "rxb.test", "b.test"), &BY).unwrap();
}
