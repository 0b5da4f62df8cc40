//! An account that is deleted and restored in a real Active Directory keeps its national entry.

use std::sync::PoisonError;

use super::{RXB, expected, ldif, ldif_with, run, stage_to};
use crate::lab::Lab;
use crate::sync_crash::connect;
use crate::sync_national::{NAME, PASSWORD, Pki, Slapd};
use crate::sync_stage::National;
use portcullis::directory::request::{Scope, Search};
use portcullis::ldap::filter::Filter;

const DN: &str = "CN=To Restore,OU=Staff,DC=rxb,DC=trust,DC=test";

/// What is known of the entry that says who it is, and what says that its person has left.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    uuid: String,
    anchor: String,
    left: bool,
    mail: String,
}

fn entry(slapd: &Slapd) -> Option<Identity> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let filter = Filter::parse("(uid=restored)").unwrap();
        let names = ["entryUUID", "portcullisAnchor", "portcullisLeftAt", "mail"];
        let search = Search::new("dc=national,dc=test", Scope::Subtree, filter, &names);
        let (entries, _) = connect(slapd).await.read(&search).await.unwrap();
        assert!(entries.len() < 2, "{entries:?}");
        entries.first().map(|entry| {
            let text = |name: &str| entry.text(name).unwrap_or_default().to_owned();
            Identity {
                uuid: text("entryUUID"),
                anchor: text("portcullisAnchor"),
                left: entry.text("portcullisLeftAt").is_some(),
                mail: text("mail"),
            }
        })
    })
}

/// RXB has no recycle bin: what is deleted there is a tombstone, and whoever restores it gives back what a tombstone loses.
#[test]
fn a_restored_account_keeps_its_entry() {
    let test = "a_restored_account_keeps_its_entry";
    let Some(lab) = Lab::of(test) else { return };
    let _held = RXB.lock().unwrap_or_else(PoisonError::into_inner);
    let pki = Pki::new();
    let Some(slapd) = Slapd::start(test, &pki) else { return };
    let national = National {
        tls_name: NAME.into(),
        host: "127.0.0.1".into(),
        port: slapd.port,
        anchors: slapd.folder.path().join("ca.crt"),
        bind: slapd.admin.into(),
        password: PASSWORD.into(),
    };
    let stage = stage_to(&lab, "RXB", "Canary", "", &national);
    let account = "objectClass: user\nsAMAccountName: restored\nsn: Restore\ngivenName: To\n\
                   mail: to.restore@rxb.nhs.test\ntitle: Porter\nuserAccountControl: 544\n";
    ldif(&lab, "RXB", &format!("dn: {DN}\nchangetype: add\n{account}\n"));
    run(&stage, "restore, first", &["run", "RXB"]);
    let before = entry(&slapd).expect("published");
    assert!(!before.left && before.anchor.starts_with("RXB/"), "{before:?}");

    ldif(&lab, "RXB", &format!("dn: {DN}\nchangetype: delete\n\n"));
    // a complete pass finds it whether or not our account may see deletions there
    let report = run(&stage, "restore, deleted", &["run", "RXB", "--complete"]);
    assert_eq!(report["executed"]["done"], serde_json::json!({"mark": 1}), "{report:#}");
    let gone = entry(&slapd).expect("marked, and kept for its hold");
    assert_eq!((gone.left, gone.mail.as_str()), (true, ""));

    let guid = before.anchor.trim_start_matches("RXB/");
    let restored = format!(
        "dn: <GUID={guid}>\nchangetype: modify\ndelete: isDeleted\n-\nreplace: distinguishedName\n\
         distinguishedName: {DN}\n-\nreplace: mail\nmail: to.restore@rxb.nhs.test\n-\nreplace: sn\nsn: Restore\n-\n\
         replace: givenName\ngivenName: To\n-\nreplace: title\ntitle: Porter\n-\n"
    );
    ldif_with(&lab, "RXB", &["--show-deleted"], &restored);
    let report = run(&stage, "restore, restored", &["run", "RXB"]);
    assert_eq!(report["outcome"], "done", "{report:#}");
    assert_eq!(report["planned"].get("create"), None, "{report:#}");
    assert_eq!(entry(&slapd), Some(before), "{report:#}");
    assert!(expected(&lab, "RXB").contains_key("restored"));
    ldif(&lab, "RXB", &format!("dn: {DN}\nchangetype: delete\n\n"));
}
