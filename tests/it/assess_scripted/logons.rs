//! What the controls over the monitoring card make of its logons: a program that stands in for `kinit` says what MIT's says.

use std::process::Command;

use portcullis::baseline::assessment::{Finding, Verdict};

use super::baseline;
use super::domain::account;
use super::world::World;

const NEVER: &str = "9223372036854775807";
const HINT: &str = "Processing preauth types: PA-PK-AS-REQ (16), PA-ENC-TIMESTAMP (2)";
const SENT: &str = "Produced preauth for next request: PA-PK-AS-REQ (16)";
const WRONG: &str = "Received error from KDC: -1765328360/Preauthentication failed";

/// The findings over card and password, when the card's logon fails with the events (or works, without any) and that with the
/// password with its own; `controls` is the account's userAccountControl.
async fn found(card: &[&str], password: &[&str], controls: u32) -> [Finding; 2] {
    let folder = tempfile::tempdir().unwrap();
    let (kinit, secret) = (folder.path().join("kinit"), folder.path().join("password"));
    let said = |events: &[&str]| match events {
        [] => "exit 0".to_owned(),
        events => {
            let lines: Vec<String> =
                events.iter().map(|event| format!("echo '[7] 1.2: {event}' >&2")).collect();
            format!(
                "{}; echo 'kinit: It failed while getting initial credentials' >&2; exit 1",
                lines.join("; ")
            )
        }
    };
    let script =
        format!("#!/bin/sh\ncat > /dev/null\ncase $1 in -X) {};; esac\n{}\n", said(card), said(password));
    let text = folder.path().join("text");
    std::fs::write(&text, script).unwrap();
    // by another process: a program that some process still has open for writing cannot be run
    let installed = Command::new("install").args(["-m", "700"]).args([&text, &kinit]).status();
    assert!(installed.unwrap().success());
    crate::app_stage::secret(&secret, "it was this one");
    let mut world = World::hardened();
    world.directory.put(account("CN=monitor,OU=Services", 1_700, controls).with("accountExpires", NEVER));
    world.logons = Some((kinit, secret));
    let assessment = world.assess(&baseline()).await;
    ["smartcard-logon-works", "smartcard-password-refused"].map(|id| assessment.finding(id).unwrap().clone())
}

fn told(finding: &Finding) -> (Verdict, String) {
    (finding.verdict, finding.explanation.iter().map(|reason| format!("{}; ", reason.found)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_proved_by_an_account_that_needs_a_card() {
    let [card, password] = found(&[], &[HINT, WRONG], 0x4_0200).await;
    assert_eq!((card.verdict, told(&password)), (Verdict::Pass, (Verdict::Pass, String::new())));
    // it needs none: what was refused was a wrong password
    let [_, password] = found(&[], &[HINT, WRONG], 0x200).await;
    let (verdict, text) = told(&password);
    assert!(verdict == Verdict::Fail && text.contains("false"), "{text}");
    // it is disabled
    let [_, password] = found(&[], &[HINT, WRONG], 0x4_0202).await;
    assert_eq!(password.verdict, Verdict::Fail);
    // it is locked: nothing was refused
    let revoked = "Received error from KDC: -1765328366/Client credentials have been revoked";
    let [_, password] = found(&[], &[revoked], 0x4_0200).await;
    let (verdict, text) = told(&password);
    assert!(verdict == Verdict::Unknown && text.contains("locked, disabled"), "{text}");
    // a ticket
    let [_, password] = found(&[], &[], 0x4_0200).await;
    assert_eq!(password.verdict, Verdict::Fail);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_says_why_there_was_no_ticket() {
    let revoked = "Received error from KDC: -1765328312/Revoked certificate";
    let [card, _] = found(&[HINT, SENT, revoked], &[WRONG], 0x4_0200).await;
    let (verdict, text) = told(&card);
    assert!(
        verdict == Verdict::Fail && text.contains("the KDC refuses the card") && text.contains("72"),
        "{text}"
    );
    let pin = "PKINIT PKCS11 C_Login failed: pin incorrect";
    let [card, _] = found(&[HINT, pin], &[WRONG], 0x4_0200).await;
    let (verdict, text) = told(&card);
    assert!(verdict == Verdict::Unknown && text.contains("pin incorrect"), "{text}");
}
