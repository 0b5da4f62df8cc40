//! What a card and a password prove on the lab's key distribution centres, and what they do not.

use std::path::Path;

use portcullis::ambient::clock::Clock;
use portcullis::assess::collect::collect;
use portcullis::assess::settings::Settings;
use portcullis::assess::target::Target;
use portcullis::baseline::compile::Requirements;
use portcullis::baseline::facts::{Fact, Facts};
use portcullis::secret::reference::SecretReference;
use portcullis::store::member::Card;

use crate::assess_lab::target;
use crate::lab::Lab;

const MONITOR: &str = "card-monitor@RXA.TRUST.TEST";

fn files(lab: &Lab, certificate: &str, key: &str) -> String {
    let pki = |file: String| lab.pki(&file).display().to_string();
    format!("FILE:{},{}", pki(format!("{certificate}.crt")), pki(format!("{key}.key")))
}

fn card(principal: &str, identity: String) -> Card {
    Card { principal: principal.to_owned(), identity, anchors: None, pin: None, password: None }
}

async fn facts(mut target: Target, card: Card) -> Facts {
    target.card = Some(card);
    let settings = Settings::default();
    let none = Requirements::default();
    collect(&target, &none, &settings, &Clock::system(), settings.pass_timeout()).await.facts
}

fn reason(facts: &Facts, name: &str) -> String {
    match facts.get(name) {
        Fact::Failed(reason) => reason,
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_is_refused_is_told_from_one_that_was_not_tried() {
    let Some(lab) = Lab::of("a_card_that_is_refused_is_told_from_one_that_was_not_tried") else { return };
    let folder = tempfile::tempdir().unwrap();
    let rxa = |identity| facts(target(&lab, "RXA", folder.path()), card(MONITOR, identity));
    let alice = rxa(files(&lab, "good/sc-rxa-alice", "good/sc-rxa-alice")).await;
    assert_eq!(alice.get("smartcard.card_logon_works"), Fact::boolean(false));
    let problem = alice.get("smartcard.card_logon_problem");
    assert_eq!(problem, Fact::text("the KDC refuses the card: Client name mismatch (error 75)"));
    // a KDC where logon with certificates is off
    let weak = card("card-monitor@RXB.TRUST.TEST", files(&lab, "good/sc-rxb-monitor", "good/sc-rxb-monitor"));
    let weak = facts(target(&lab, "RXB", folder.path()), weak).await;
    assert_eq!(weak.get("smartcard.card_logon_works"), Fact::boolean(false));
    // what is our own fault
    for (identity, expected) in [
        (files(&lab, "good/sc-rxa-expired", "good/sc-rxa-expired"), "certificate has expired"),
        (files(&lab, "rogue/sc-rxa-rogue", "rogue/sc-rxa-rogue"), "unable to get local issuer certificate"),
        (files(&lab, "good/none", "good/none"), "Cannot read certificate file"),
        (files(&lab, "good/sc-rxa-monitor", "good/sc-rxa-alice"), "key is not that of its certificate"),
        ("PKCS11:module_name=/nowhere/module.so".to_owned(), "module open failed"),
        ("NOTHING:x".to_owned(), "Invalid argument"),
    ] {
        let facts = rxa(identity).await;
        for fact in ["smartcard.card_logon_works", "smartcard.card_logon_problem"] {
            let reason = reason(&facts, fact);
            assert!(reason.contains(expected), "{reason}");
        }
    }
    let nobody = card("nobody@RXA.TRUST.TEST", files(&lab, "good/sc-rxa-monitor", "good/sc-rxa-monitor"));
    let nobody = facts(target(&lab, "RXA", folder.path()), nobody).await;
    assert!(reason(&nobody, "smartcard.card_logon_works").contains("not found in Kerberos database"));
    assert!(reason(&nobody, "smartcard.account_requires_card").contains("shows our account none"));
}

fn with_password(lab: &Lab, folder: &Path, principal: &str, password: &str) -> Card {
    let file = folder.join("tried");
    let _ = std::fs::remove_file(&file);
    crate::app_stage::secret(&file, password);
    let identity = files(lab, "good/sc-rxa-alice", "good/sc-rxa-alice");
    Card { password: Some(SecretReference::File(file)), ..card(principal, identity) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_only_wrong_proves_nothing_by_itself() {
    let Some(lab) = Lab::of("a_password_that_is_only_wrong_proves_nothing_by_itself") else { return };
    let folder = tempfile::tempdir().unwrap();
    let tried = ["smartcard.password_logon_works", "smartcard.simple_bind_works"];
    let tries = async |member: &str, principal: &str, password: &str| {
        let card = with_password(&lab, folder.path(), principal, password);
        facts(target(&lab, member, folder.path()), card).await
    };
    // an account that needs a card has a password that nobody knows
    let needs = tries("RXA", "adm-1@RXA.TRUST.TEST", "Ordinary-Us3r-2026!").await;
    assert!(tried.iter().all(|fact| needs.get(fact) == Fact::boolean(false)), "{needs:?}");
    assert_eq!(needs.get("smartcard.account_requires_card"), Fact::boolean(true));
    // one that does not
    let carol = "carol@RXA.TRUST.TEST";
    let right = tries("RXA", carol, "Ordinary-Us3r-2026!").await;
    assert!(tried.iter().all(|fact| right.get(fact) == Fact::boolean(true)), "{right:?}");
    assert_eq!(right.get("smartcard.account_requires_card"), Fact::boolean(false));
    let wrong = tries("RXA", carol, "not this one").await;
    for fact in tried {
        assert!(reason(&wrong, fact).contains("proves nothing"), "{fact}");
    }
    // one that is disabled
    let off = tries("RXA", "Guest@RXA.TRUST.TEST", "not this one").await;
    assert_eq!(off.get("smartcard.account_enabled"), Fact::boolean(false));
    assert!(tried.iter().all(|fact| matches!(off.get(fact), Fact::Failed(_))), "{off:?}");
}
