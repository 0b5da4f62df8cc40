//! Evidence that is given as a file: how much of it is read, who signed it, when and of which domain it is; and what a report of it may do to
//! a terminal.

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};

use portcullis::ambient::clock::Clock;
use portcullis::assess::run::sign;
use portcullis::baseline::facts::{Evidence, Fact};
use portcullis::baseline::value::Value;
use portcullis::policy::signature::hex;
use portcullis::secret::signing::Signer;
use portcullis::store::port::Store;
use portcullis::store::sqlite::store::SqliteStore;
use serde_json::Value as Json;
use time::Duration;

use crate::app_stage::{Stage, argument, secret};
use crate::assess_report::{Found, NOW, WEAK, enrol, evidence, file, portcullis, stage, text};

/// What steers a terminal: escape, C1, delete, a bidi override and mark, what takes no room.
const HOSTILE: &str = "jo\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\u{61c}\u{200b}x";

fn steers(c: char) -> bool {
    (c.is_control() && c != '\n')
        || HOSTILE.chars().filter(|c| !c.is_ascii_graphic()).any(|hostile| hostile == c)
}

fn against(stage: &Stage, evidence: &str, more: &[&str]) -> Output {
    let policy = stage.path("policies");
    let mut arguments = vec!["assess", "--evidence", evidence, "--policy", argument(&policy)];
    arguments.extend(more);
    portcullis(stage, &arguments)
}

fn refused(done: &Output, said: &str) {
    let told = text(&done.stderr);
    assert!(done.status.code() == Some(2) && done.stdout.is_empty() && told.contains(said), "{said}: {told}");
}

#[test]
fn so_much_of_a_file_is_read_and_nothing_that_never_ends() {
    let stage = stage("");
    for device in ["/dev/zero", "/dev", "/dev/null"] {
        refused(&against(&stage, device, &[]), "is neither a file nor a pipe: name a file");
    }
    symlink("/dev/zero", stage.path("link.json")).unwrap();
    refused(&against(&stage, argument(&stage.path("link.json")), &[]), "is neither a file nor a pipe");
    // white space is JSON, too, and a sparse file costs nothing
    let large = std::fs::File::create(stage.path("large.json")).unwrap();
    (&large).write_all(&vec![b' '; 3 << 20]).unwrap();
    let done = against(&stage, argument(&stage.path("large.json")), &["--evidence-mib-max", "2"]);
    refused(&done, "has more than 2 MiB: if it is evidence all the same, read more with --evidence-mib-max");
    refused(&against(&stage, argument(&stage.path("large.json")), &[]), "EOF");
    let none = against(&stage, "/nonexistent", &[]);
    refused(&none, "cannot read /nonexistent: ");
    let good = file(&stage, "good.json", &evidence("RXA", NOW, &WEAK));
    let piped = |path: &str| {
        let policy = stage.path("policies");
        let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["assess", "--evidence", path, "--policy", argument(&policy)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&std::fs::read(&good).unwrap()).unwrap();
        child.wait_with_output().unwrap()
    };
    for path in ["-", "/dev/stdin"] {
        assert_eq!(piped(path).status.code(), Some(1), "{path}");
    }
}

#[test]
fn a_report_says_whether_the_signature_was_verified_and_by_which_key() {
    let stage = stage("");
    let (signer, other) = (Signer::make(&stage.path("a-gateway.key")).unwrap(), Signer::ephemeral().unwrap());
    let key = hex(signer.public_key());
    let signed = sign(evidence("RXA", NOW, &WEAK), &signer);
    std::fs::write(stage.path("good.json"), signed.to_json()).unwrap();
    std::fs::write(stage.path("key.txt"), format!("{key}\n")).unwrap();
    let good = argument(&stage.path("good.json")).to_owned();
    let html = stage.path("report.html");
    for given in [key.as_str(), argument(&stage.path("key.txt")), argument(&stage.path("a-gateway.key"))] {
        let done = against(&stage, &good, &["--verify", given, "--html", argument(&html)]);
        let (said, page) = (text(&done.stdout), std::fs::read_to_string(&html).unwrap());
        let line = format!("signature verified by key {key}");
        assert!(
            done.status.code() == Some(1) && said.contains(&line) && page.contains(&line),
            "{said}{page}"
        );
        assert!(!text(&done.stderr).contains("not checked"), "{}", text(&done.stderr));
    }
    let json: Json =
        serde_json::from_slice(&against(&stage, &good, &["--verify", &key, "--json"]).stdout).unwrap();
    assert_eq!(json["source"], serde_json::json!({ "signature": "verified", "key": key }));
    let json: Json = serde_json::from_slice(&against(&stage, &good, &["--json"]).stdout).unwrap();
    assert_eq!(json["source"], serde_json::json!({ "signature": "unchecked" }));
    let unchecked = against(&stage, &good, &["--html", argument(&html)]);
    for said in [text(&unchecked.stdout), text(&unchecked.stderr), std::fs::read_to_string(&html).unwrap()] {
        assert!(said.contains("signature not checked: "), "{said}");
    }
    let wrong = against(&stage, &good, &["--verify", &hex(other.public_key())]);
    refused(&wrong, &format!("was not signed with the key {}: do not rely on it", hex(other.public_key())));
    let unsigned = evidence("RXA", NOW, &WEAK).sealed();
    std::fs::write(stage.path("unsigned.json"), unsigned.to_json()).unwrap();
    refused(
        &against(&stage, argument(&stage.path("unsigned.json")), &["--verify", &key]),
        "was not signed with",
    );
    let identity = format!("01{}", "00".repeat(31));
    refused(&against(&stage, &good, &["--verify", &identity]), "is no public key that can be relied on");
    // what it is compared with is held against the key, too
    let then = file(&stage, "then.json", &evidence("RXA", NOW - Duration::days(4), &WEAK));
    let done = against(&stage, &good, &["--verify", &key, "--before", argument(&then)]);
    refused(&done, "then.json was not signed with the key");
}

#[test]
fn evidence_from_a_time_that_lies_ahead_is_refused() {
    let stage = stage("");
    let now = Clock::system().now();
    let at = |ahead: Duration| {
        let path = file(&stage, "ahead.json", &evidence("RXA", now + ahead, &WEAK));
        against(&stage, argument(&path), &[])
    };
    assert_eq!(at(Duration::minutes(4)).status.code(), Some(1));
    refused(&at(Duration::minutes(7)), "evidence from a time that lies ahead is not relied on");
}

fn of_domain(at: time::OffsetDateTime, name: &str, sid: Option<&str>) -> Evidence {
    let mut evidence = evidence("CHECK", at, &WEAK);
    evidence.facts.set("connection.domain", Fact::Known(Value::Dn(name.to_owned())));
    if let Some(sid) = sid {
        evidence.facts.set("connection.domain_sid", Fact::Known(Value::Sid(sid.to_owned())));
    }
    evidence
}

#[test]
fn checks_of_different_domains_are_not_compared() {
    let stage = stage("");
    let then = NOW - Duration::days(4);
    let old = file(&stage, "old.json", &of_domain(then, "DC=rxa,DC=test", Some("S-1-5-21-1-2-3")));
    let old = argument(&old);
    for (name, sid, said) in [
        (
            "DC=rxb,DC=test",
            Some("S-1-5-21-7-8-9"),
            "of the domain DC=rxa,DC=test (S-1-5-21-1-2-3), not of DC=rxb",
        ),
        (
            "DC=rxb,DC=test",
            None,
            "of the domain DC=rxa,DC=test, not of DC=rxb,DC=test: compare evidence of one domain",
        ),
        ("DC=rxa,DC=test", None, ""),
        ("DC=renamed,DC=test", Some("S-1-5-21-1-2-3"), ""),
    ] {
        let new = file(&stage, "new.json", &of_domain(NOW, name, sid));
        let done = against(&stage, argument(&new), &["--before", old]);
        let told = text(&done.stderr);
        match said {
            "" => assert!(
                text(&done.stdout).contains("since assessment ") && !told.contains("domain"),
                "{told}"
            ),
            said => assert!(done.stdout.is_empty() && told.contains(said), "{told}"),
        }
    }
    let new = file(&stage, "new.json", &evidence("CHECK", NOW, &WEAK));
    let done = against(&stage, argument(&new), &["--before", old]);
    assert!(text(&done.stderr).contains("does not say which domain it is of"), "{}", text(&done.stderr));
}

#[test]
fn nothing_that_a_directory_says_steers_a_terminal() {
    let stage = stage("");
    let found = Found { versions: &["tls1.3"], name: Fact::boolean(true), without: &[HOSTILE] };
    let path = file(&stage, "evidence.json", &evidence("RXA", NOW, &found));
    let (html, oscal) = (stage.path("report.html"), stage.path("oscal.json"));
    let more = ["--html", argument(&html), "--oscal", argument(&oscal)];
    let plain = against(&stage, argument(&path), &more);
    let json = against(&stage, argument(&path), &["--json"]);
    let csv = text(&against(&stage, argument(&path), &["--csv"]).stdout).replace("\r\n", "\n");
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    for said in [text(&plain.stdout), text(&json.stdout), csv, read(&html), read(&oscal)] {
        assert!(said.contains("[2J") && !said.chars().any(steers), "{said:?}");
    }
    let json: Json = serde_json::from_slice(&json.stdout).unwrap();
    let cards = json["findings"].as_array().unwrap().iter().find(|f| f["control"] == "cards").unwrap();
    assert_eq!(cards["offenders"][0]["name"], HOSTILE, "JSON has the value as it is");
    // the gate's reason goes to logs and the audit: it names nobody
    let denial = json["grants"]["sync"]["denials"][0]["reason"].as_str().unwrap();
    assert_eq!(denial, "cards (high) 1 of 2 fail: users.card, required is true");
}

#[test]
fn nothing_that_a_member_is_called_steers_a_terminal() {
    let stage = stage("");
    let config = stage.config();
    let store = SqliteStore::open(&config.data_dir, &config.store).unwrap();
    enrol(&stage, &store, "RXA");
    let mut member = store.member(&"RXA".parse().unwrap()).unwrap().unwrap();
    member.name = format!("{HOSTILE}\nRXB is open");
    store.save_member(&member, None, &crate::store_conformance::audit("member.request")).unwrap();
    for arguments in [
        &["member", "list"][..],
        &["member", "show", "RXA"],
        &["member", "list", "--json"],
        &["audit", "list"],
    ] {
        let said = text(&portcullis(&stage, arguments).stdout);
        assert!(!said.is_empty() && !said.chars().any(steers), "{said:?}");
        assert!(!said.contains("\nRXB"), "{said:?}");
    }
    stage.write(
        "policies/controls.yaml",
        &crate::assess_report::CONTROLS.replace("Everybody has a card", "\"Every\\e[2Jbody \\u202e\""),
    );
    let policies = stage.path("policies");
    for arguments in [&["policy", "list"][..], &["policy", "show", "cards"]] {
        let said = text(&portcullis(&stage, &[arguments, &[argument(&policies)]].concat()).stdout);
        assert!(said.contains("Every\u{fffd}[2Jbody") && !said.chars().any(steers), "{said:?}");
    }
}

#[test]
fn a_check_that_cannot_read_begins_with_why_and_ends_with_2() {
    let stage = stage("");
    secret(&stage.path("password"), "secret");
    let path = |name: &str| argument(&stage.path(name)).to_owned();
    let (policies, ca) = (path("policies"), path("ca.pem"));
    let check = |host: &str, password: &str, anchors: &str, more: &[&str]| {
        let password = path(password);
        let mut arguments = vec!["check", host, "--bind-dn", "svc@rxa.test", "--policy", &policies];
        arguments.extend(["--password-file", &password, "--anchors", anchors]);
        arguments.extend(more);
        portcullis(&stage, &arguments)
    };
    let kept = path("kept.json");
    let html = path("report.html");
    let done = check("no-such-host.invalid", "password", &ca, &["--html", &html, "--evidence", &kept]);
    let said = text(&done.stdout);
    assert_eq!(done.status.code(), Some(2), "{said}");
    let head = "THE DIRECTORY COULD NOT BE READ: no logon with our own account: ";
    assert!(
        said.starts_with(head) && said.contains("does not resolve") && said.contains("do first:"),
        "{said}"
    );
    assert!(std::fs::read_to_string(&html).unwrap().contains(head));
    // the evidence tells it again, whenever it is judged
    let done = against(&stage, &kept, &["--json"]);
    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done.stderr).contains(head), "{}", text(&done.stderr));
    let json: Json = serde_json::from_slice(&done.stdout).unwrap();
    assert!(json["obstacle"].as_str().unwrap().contains("does not resolve") && json["findings"].is_array());
    let done = check("127.0.0.1:9", "password", &ca, &["--csv"]);
    assert!(done.status.code() == Some(2) && text(&done.stderr).contains("check host and port"));

    for (name, bytes) in
        [("der.cer", &b"\x30\x82\x01\x0a\xff"[..]), ("text.pem", b"hello"), ("empty.pem", b"")]
    {
        std::fs::write(stage.path(name), bytes).unwrap();
        let done = check("127.0.0.1:9", "password", &path(name), &[]);
        refused(&done, "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)");
        assert!(text(&done.stderr).contains("openssl x509 -inform der"));
    }
    refused(&check("127.0.0.1:9", "password", "/dev/zero", &[]), "is neither a file nor a pipe");
    refused(
        &check("127.0.0.1:9", "password", &ca, &["--csv", "--json"]),
        "--csv and --json cannot be used together",
    );
    let mut before = vec!["--json", "check", "127.0.0.1:9", "--csv", "--bind-dn", "svc@rxa.test"];
    let password = path("password");
    before.extend(["--password-file", &password, "--policy", &policies, "--anchors", &ca]);
    refused(&portcullis(&stage, &before), "--csv and --json cannot be used together");
}
