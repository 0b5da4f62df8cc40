//! Attestations from outside: a key is made, a statement signed, added and assessed; and everything that must not count does not.

use std::os::unix::fs::PermissionsExt;

use portcullis::ambient::clock::Clock;
use portcullis::assess::judge::judge;
use portcullis::baseline::assessment::Verdict;
use portcullis::baseline::attestation::Attestation;
use portcullis::baseline::facts::{Evidence, Fact};
use portcullis::enrol::run::{self as enrolment, By};
use portcullis::policy::set::PolicySet;
use portcullis::secret::signing::Signer;
use portcullis::store::audit::hex;
use portcullis::store::member::{Attested, Member};
use portcullis::store::port::Store;
use portcullis::store::sqlite::store::SqliteStore;
use time::{Duration, OffsetDateTime};

use crate::app_stage::{Stage, argument, secret};
use crate::assess_report::{enrol, portcullis, text};
use crate::store_conformance::{audit, ods};

const CONTROLS: &str = "\
kind: Facts
facts:
  - name: attested
    attest:
      spooler_off: { statement: The print spooler is off., at_most: 366d }
      other: { statement: Something else holds., at_most: 30d }
---
kind: Controls
controls:
  - id: spooler
    title: No domain controller spools print jobs
    severity: critical
    require: { attested.spooler_off: true }
    why: It makes a controller log on elsewhere.
    fix: Stop-Service Spooler
  - id: renewed
    title: Attestations are renewed before they end
    severity: low
    require: { any: [ { attested.spooler_off_until: { absent: true } }, { attested.spooler_off_until: { after: now+30d } } ] }
    why: w
    fix: f
";
const SUBJECT: &str = "attested.spooler_off";
const STATED: &str = "stated by the member, not measured";

/// A stage with RXA and RXB enrolled, whose directories do not answer.
fn stage() -> Stage {
    let stage = Stage::new("");
    stage.write("policies/controls.yaml", CONTROLS);
    let store = store(&stage);
    enrol(&stage, store.as_ref(), "RXA");
    enrol(&stage, store.as_ref(), "RXB");
    stage
}

fn store(stage: &Stage) -> Box<dyn Store> {
    let config = stage.config();
    Box::new(SqliteStore::open(&config.data_dir, &config.store).unwrap())
}

fn now() -> OffsetDateTime {
    Clock::system().now()
}

fn days(days: i64) -> String {
    (now() + Duration::days(days)).date().to_string()
}

/// What a command said, and how it ended.
fn run(stage: &Stage, arguments: &[&str]) -> (Option<i32>, String) {
    let done = portcullis(stage, arguments);
    (done.status.code(), text(&done.stdout) + &text(&done.stderr))
}

fn key(stage: &Stage, name: &str) -> String {
    let (code, said) = run(stage, &["attestation", "key", argument(&stage.path(name)), "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let start = said.find('{').unwrap();
    let end = said.rfind('}').unwrap();
    let answer: serde_json::Value = serde_json::from_str(&said[start..=end]).unwrap();
    answer["public_key"].as_str().unwrap().to_owned()
}

fn sign(stage: &Stage, out: &str, more: &[&str]) -> (Option<i32>, String) {
    let (key, policy, out) = (stage.path("a.key"), stage.path("policies"), stage.path(out));
    let mut arguments = vec!["attestation", "sign", "--key", argument(&key), "--policy", argument(&policy)];
    arguments.extend(["--out", argument(&out), "--by", "Jo Bloggs, Head of IT"]);
    for (name, value) in [("--member", "RXA"), ("--subject", SUBJECT)] {
        if !more.contains(&name) {
            arguments.extend([name, value]);
        }
    }
    arguments.extend(more);
    run(stage, &arguments)
}

fn add(stage: &Stage, file: &str) -> (Option<i32>, String) {
    run(stage, &["attestation", "add", argument(&stage.path(file))])
}

/// A stage where RXA has a key and an attestation in `good.json`, which was not added yet.
fn signed() -> Stage {
    let stage = stage();
    let key = key(&stage, "a.key");
    let (code, said) =
        run(&stage, &["member", "attestation-key", "RXA", &key, "--reason", "read out by phone"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = sign(&stage, "good.json", &["--until", &days(200), "--note", "seen on dc1 and dc2"]);
    assert_eq!(code, Some(0), "{said}");
    stage
}

fn good(stage: &Stage) -> Attestation {
    Attestation::from_json(&std::fs::read(stage.path("good.json")).unwrap()).unwrap()
}

/// Writes an attestation that `change` made of the good one, signed again with the key in `key`.
fn forge(stage: &Stage, file: &str, key: &str, change: impl FnOnce(&mut Attestation)) {
    let signer = Signer::load_or_create(&stage.path(key)).unwrap();
    let mut attestation = good(stage);
    attestation.key = hex(signer.public_key());
    change(&mut attestation);
    let attestation =
        Attestation { signature: hex(&signer.sign(&attestation.signed_bytes())), ..attestation };
    stage.write(file, &serde_json::to_string(&attestation).unwrap());
}

/// RXA's latest evidence, after it was assessed.
fn assessed(stage: &Stage) -> Evidence {
    let (_, said) = run(stage, &["assess", "RXA"]);
    let record = store(stage).latest_evidence(&ods("RXA")).unwrap().expect(&said);
    Evidence::read(record.document.open()).unwrap()
}

#[test]
fn from_a_key_to_a_report() {
    let stage = stage();
    let key = key(&stage, "a.key");
    let mode = std::fs::metadata(stage.path("a.key")).unwrap().permissions().mode();
    assert_eq!((mode & 0o7777, key.len()), (0o600, 64));
    let (code, said) = run(&stage, &["attestation", "key", argument(&stage.path("a.key"))]);
    assert!(code == Some(2) && said.contains("no key is ever overwritten"), "{said}");
    let (code, said) = run(&stage, &["attestation", "key", argument(&stage.path("a.key")), "--show"]);
    assert!(code == Some(0) && said.starts_with(&format!("{key}\nfingerprint ")), "{said}");
    let fingerprint =
        said.split("fingerprint ").nth(1).and_then(|rest| rest.split(':').next()).unwrap().to_owned();
    assert_eq!(fingerprint.len(), 39, "{said}");

    let (code, said) = sign(&stage, "good.json", &["--until", &days(200), "--note", "seen on dc1"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("The print spooler is off.") && said.contains("give it to an officer"), "{said}");
    let (code, said) = sign(&stage, "good.json", &["--until", &days(200)]);
    assert!(code == Some(2) && said.contains("there already"), "{said}");

    let (code, said) = add(&stage, "good.json");
    assert!(code == Some(1) && said.contains("portcullis member attestation-key"), "{said}");
    let (code, said) = run(&stage, &["member", "attestation-key", "RXA", "abc"]);
    assert!(code == Some(2) && said.contains("64 hex digits"), "{said}");
    // anybody can sign for the identity
    let (code, said) = run(&stage, &["member", "attestation-key", "RXA", &format!("01{}", "00".repeat(31))]);
    assert!(code == Some(2) && said.contains("anybody can sign for this key"), "{said}");
    let (code, said) = run(&stage, &["member", "attestation-key", "RXA", &key]);
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "registered for RXA ",
        &key,
        &fingerprint,
        "the first key of this member",
        "portcullis attestation add FILE",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (code, said) = add(&stage, "good.json");
    assert_eq!(code, Some(0), "{said}");
    let (_, said) = run(&stage, &["attestation", "list", "RXA"]);
    assert!(
        said.contains("in force") && said.contains("not stated") && said.contains("Something else"),
        "{said}"
    );
    let (_, said) = run(&stage, &["attestation", "list", "--json"]);
    let lines: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((lines.as_array().unwrap().len(), &lines[0]["standing"]), (1, &"in force".into()));
    assert_eq!(lines[0]["kept"]["attestation"]["key"], key);
    let (_, said) = run(&stage, &["member", "show", "RXA"]);
    assert!(said.contains(&key), "{said}");

    let html = stage.path("report.html");
    let (_, said) = run(&stage, &["assess", "RXA", "--html", argument(&html)]);
    let html = std::fs::read_to_string(html).unwrap();
    let until = format!("until {}, by Jo Bloggs, Head of IT", days(200));
    for report in [&said, &html] {
        assert!(report.contains(STATED) && report.contains(&until), "{report}");
        assert!(report.contains("seen on dc1") && !report.contains("NOT CHECKED"), "{report}");
    }
    assert!(said.contains("pass by it: spooler, renewed"), "{said}");
    let (_, said) = run(&stage, &["assess", "RXA", "--json"]);
    let page: serde_json::Value = serde_json::from_str(&said[..=said.rfind('}').unwrap()]).unwrap();
    assert_eq!(page["attestations"][0]["subject"], SUBJECT);
    assert_eq!(page["findings"][0]["stated"], serde_json::json!([SUBJECT]));

    let oscal = stage.path("oscal.json");
    run(&stage, &["assess", "RXA", "--oscal", argument(&oscal)]);
    let oscal: serde_json::Value = serde_json::from_slice(&std::fs::read(oscal).unwrap()).unwrap();
    let observation = &oscal["assessment-results"]["results"][0]["observations"][0];
    assert_eq!(observation["methods"], serde_json::json!(["EXAMINE"]));
    assert_eq!(observation["description"], "Holds. Stated by the member, not measured.");
    let (_, said) = run(&stage, &["report", "national", "--json"]);
    let nation: serde_json::Value = serde_json::from_str(&said).unwrap();
    let spooler = nation["controls"].as_array().unwrap().iter().find(|c| c["control"] == "spooler").unwrap();
    assert_eq!((&spooler["stated"], &spooler["fail"]), (&1.into(), &0.into()));
    let (_, said) = run(&stage, &["policy", "show", "spooler"]);
    assert!(said.contains("Stated by the member, not measured: attested.spooler_off"), "{said}");

    let evidence = assessed(&stage);
    assert_eq!(evidence.facts.get(SUBJECT), Fact::boolean(true));
    assert_eq!(
        evidence.facts.get("attested.other"),
        Fact::NotCollected("the evidence does not hold it".into())
    );
    assert_eq!(evidence.attestations, [good(&stage)]);
    let from = evidence.provenance.iter().find(|p| p.facts == SUBJECT).unwrap();
    assert!(
        from.by.contains("attested by Jo Bloggs, Head of IT until ") && from.by.contains(&key[..16]),
        "{from:?}"
    );

    let actions: Vec<String> =
        store(&stage).audit(0, 100).unwrap().into_iter().map(|record| record.audit.action).collect();
    for action in ["member.attestation_key", "attestation.add"] {
        assert!(actions.iter().any(|known| known == action), "{actions:?}");
    }
}

#[test]
fn a_key_that_two_members_have_is_told() {
    let stage = signed();
    let key = good(&stage).key;
    let (_, said) = run(&stage, &["member", "attestation-key", "RXA", &key]);
    assert!(said.contains("it was registered already") && !said.contains("WARNING"), "{said}");
    assert_eq!(add(&stage, "good.json").0, Some(0));
    let (code, said) = run(&stage, &["member", "attestation-key", "RXB", &key]);
    assert!(code == Some(0) && said.contains("WARNING: the same key is registered for RXA: "), "{said}");
    let other = self::key(&stage, "b.key");
    let (_, said) = run(&stage, &["member", "attestation-key", "RXA", &other]);
    assert!(
        said.contains(&format!("in place of {key}")) && said.contains("do not hold: attested.spooler_off"),
        "{said}"
    );
}

#[test]
fn what_the_policies_do_not_ask_is_not_signed() {
    let stage = stage();
    key(&stage, "a.key");
    for (arguments, said) in [
        (["--until", &days(400)].as_slice(), "(366 days at most)"),
        (&["--until", &days(-2)], "ended on"),
        (&["--until", "2027-13-01"], "write YYYY-MM-DD"),
        (&["--until", &days(31), "--subject", "attested.other"], "(30 days at most)"),
        (&["--until", &days(31), "--subject", "attested.spooler_of"], "did you mean `attested.spooler_off`?"),
        (&["--until", &days(31), "--note", "a\nb"], "write one line"),
    ] {
        let (code, answer) = sign(&stage, "bad.json", arguments);
        assert!(code != Some(0) && answer.contains(said), "{arguments:?}: {answer}");
        assert!(!stage.path("bad.json").exists());
    }
    std::fs::set_permissions(stage.path("a.key"), PermissionsExt::from_mode(0o644)).unwrap();
    let (code, said) = sign(&stage, "bad.json", &["--until", &days(31)]);
    assert!(code == Some(2) && said.contains("chmod 600"), "{said}");
}

#[test]
fn what_does_not_hold_is_not_added() {
    let stage = signed();
    forge(&stage, "other-key.json", "b.key", |_| {});
    forge(&stage, "claims.json", "b.key", |a| a.key = good(&stage).key);
    forge(&stage, "statement.json", "a.key", |a| a.statement = "The print spooler is on.".into());
    forge(&stage, "ended.json", "a.key", |a| {
        a.signed_at = now() - Duration::days(100);
        a.until = now() - Duration::days(1);
    });
    forge(&stage, "long.json", "a.key", |a| a.until = a.signed_at + Duration::days(367));
    forge(&stage, "future.json", "a.key", |a| a.signed_at = now() + Duration::hours(1));
    forge(&stage, "subject.json", "a.key", |a| a.subject = "attested.nothing".into());
    forge(&stage, "nobody.json", "a.key", |a| a.member = ods("RXZ"));
    let good_text = std::fs::read_to_string(stage.path("good.json")).unwrap();
    for (file, from, to) in [
        ("member.json", "\"RXA\"", "\"RXB\""),
        ("by.json", "Jo Bloggs", "Al Capone"),
        ("until.json", "\"until\": \"20", "\"until\": \"19"),
        ("shape.json", "\"by\"", "\"from\""),
    ] {
        stage.write(file, &good_text.replace(from, to));
    }
    for (file, said) in [
        ("other-key.json", "signed with another key than the registered one"),
        ("claims.json", "the signature does not fit"),
        ("statement.json", "worded anew since it was signed"),
        ("ended.json", "ended on"),
        ("long.json", "more than 366 days after"),
        ("future.json", "in the future: set the clock"),
        ("subject.json", "ask nobody to state `attested.nothing`"),
        ("nobody.json", "there is no member RXZ"),
        ("member.json", "the member has no key for attestations"),
        ("by.json", "the signature does not fit"),
        ("until.json", "the signature does not fit"),
        ("shape.json", "this is no attestation"),
    ] {
        let (code, answer) = add(&stage, file);
        assert!(code == Some(1) && answer.contains(said), "{file}: {answer}");
    }
    // RXB registered the same key, as members with one IT service may: what RXA stated is still RXA's
    let key = good(&stage).key;
    assert_eq!(run(&stage, &["member", "attestation-key", "RXB", &key]).0, Some(0));
    let (code, answer) = add(&stage, "member.json");
    assert!(code == Some(1) && answer.contains("the signature does not fit"), "{answer}");
    assert!(store(&stage).members().unwrap().iter().all(|m| m.attested.kept.is_empty()));
    assert_eq!(assessed(&stage).facts.get(SUBJECT), Fact::Absent);
}

#[test]
fn what_was_withdrawn_or_replaced_does_not_come_again() {
    let stage = signed();
    assert_eq!(add(&stage, "good.json").0, Some(0));
    let (code, said) = add(&stage, "good.json");
    assert!(code == Some(1) && said.contains("is kept already"), "{said}");
    let (code, said) = run(&stage, &["attestation", "withdraw", "RXA", SUBJECT, "--reason", "dc3 prints"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(assessed(&stage).facts.get(SUBJECT), Fact::Absent);
    let (_, said) = run(&stage, &["attestation", "list", "RXA"]);
    assert!(said.contains("withdrawn") && said.contains("dc3 prints"), "{said}");
    let (code, said) = add(&stage, "good.json");
    assert!(code == Some(1) && said.contains("this was signed before: sign a new one"), "{said}");
    let (code, _) = run(&stage, &["attestation", "withdraw", "RXA", SUBJECT, "--reason", "again"]);
    assert_eq!(code, Some(1));

    assert_eq!(sign(&stage, "new.json", &["--until", &days(20)]).0, Some(0));
    assert_eq!(add(&stage, "new.json").0, Some(0));
    let (_, said) = run(&stage, &["attestation", "list"]);
    assert!(said.contains("ends soon"), "{said}");
    let (code, said) = add(&stage, "good.json");
    assert!(
        code == Some(1) && said.contains("is kept already, as signed at the same time or later"),
        "{said}"
    );
    let (_, said) = run(&stage, &["assess", "RXA"]);
    assert!(said.contains("which is in 20 days") && said.contains("FAIL renewed"), "{said}");
}

#[test]
fn a_member_that_comes_back_states_everything_anew() {
    let stage = signed();
    assert_eq!(add(&stage, "good.json").0, Some(0));
    for more in [["--reason", "it merges"].as_slice(), &["--reason", "it merged", "--finish"]] {
        assert_eq!(run(&stage, &[&["member", "leave", "RXA"], more].concat()).0, Some(0));
    }
    let (code, said) = add(&stage, "good.json");
    assert!(code == Some(1) && said.contains("it states nothing any more"), "{said}");
    let store = store(&stage);
    let member = store.member(&ods("RXA")).unwrap().unwrap();
    let attested = Attested { key: member.attested.key.clone(), ..Attested::default() };
    let by = By { actor: "officer", reason: "it comes back", now: now() };
    let back = enrolment::request(store.as_ref(), Member { attested, ..member }, &by).unwrap();
    assert!(back.attested.held().attestations.is_empty());
    let (code, said) = add(&stage, "good.json");
    assert!(code == Some(1) && said.contains("this was signed before: sign a new one"), "{said}");
}

#[test]
fn a_signature_is_checked_in_every_pass() {
    let stage = signed();
    assert_eq!(add(&stage, "good.json").0, Some(0));
    assert_eq!(assessed(&stage).facts.get(SUBJECT), Fact::boolean(true));
    // somebody who can write the store makes it last longer
    let store = store(&stage);
    let mut member = store.member(&ods("RXA")).unwrap().unwrap();
    member.attested.kept.get_mut(SUBJECT).unwrap().attestation.until += Duration::days(90);
    store.save_member(&member, None, &audit("x")).unwrap();
    let evidence = assessed(&stage);
    let Fact::Failed(reason) = evidence.facts.get(SUBJECT) else { panic!("{evidence:?}") };
    assert!(reason.contains("it was changed after it was signed"), "{reason}");
    assert!(matches!(evidence.facts.get("attested.spooler_off_until"), Fact::Failed(_)));
    let (_, said) = run(&stage, &["assess", "RXA"]);
    assert!(said.contains("DOES NOT HOLD: the signature does not fit"), "{said}");
    assert!(said.contains(&format!("attest {SUBJECT} anew (critical)")), "{said}");
    assert!(said.contains(&format!("  {STATED}: {SUBJECT}\n")), "{said}");
    let (_, said) = run(&stage, &["attestation", "list"]);
    assert!(said.contains("does not hold"), "{said}");

    // nor does it hold under a key that replaced its own
    let stage = signed();
    assert_eq!(add(&stage, "good.json").0, Some(0));
    let other = key(&stage, "b.key");
    assert_eq!(run(&stage, &["member", "attestation-key", "RXA", &other]).0, Some(0));
    let Fact::Failed(reason) = assessed(&stage).facts.get(SUBJECT) else { panic!() };
    assert!(reason.contains("another key than the registered one"), "{reason}");
}

#[test]
fn evidence_that_is_judged_again_counts_what_still_holds() {
    let stage = signed();
    assert_eq!(add(&stage, "good.json").0, Some(0));
    let evidence = assessed(&stage);
    let policies = stage.path("policies");
    let verdict = |at| {
        let set = PolicySet::load(&policies).unwrap();
        let assessment = judge(&set, None, &evidence, &[], at).unwrap();
        let finding = assessment.finding("spooler").unwrap();
        let found = finding.explanation.first().map(|r| (r.found.clone(), r.provenance.clone()));
        (finding.verdict, found.unwrap_or_default())
    };
    assert_eq!(verdict(now()).0, Verdict::Pass);
    let (ended, (found, from)) = verdict(good(&stage).until);
    assert_eq!(ended, Verdict::Unknown);
    assert!(found.starts_with("the attestation ended on ") && from.starts_with(STATED), "{found} {from}");
    // white space is no other wording
    stage.write(
        "policies/controls.yaml",
        &CONTROLS.replace("print spooler is off.", "print  spooler\n        is off."),
    );
    assert_eq!(verdict(now()).0, Verdict::Pass);
    stage.write("policies/controls.yaml", &CONTROLS.replace("spooler is off", "spooler is disabled"));
    let (anew, (found, _)) = verdict(now());
    assert!(anew == Verdict::Unknown && found.contains("worded anew"), "{found}");
    stage.write("policies/controls.yaml", &CONTROLS.replace("366d", "90d"));
    assert_eq!(verdict(now()).0, Verdict::Unknown);
}

#[test]
fn a_check_takes_an_attestation_and_says_that_its_key_is_nobodys() {
    let stage = signed();
    secret(&stage.path("password"), "secret");
    let path = |name: &str| argument(&stage.path(name)).to_owned();
    let (password, policies, anchors, good) =
        (path("password"), path("policies"), path("ca.pem"), path("good.json"));
    let check = |more: &[&str]| {
        let mut arguments = vec!["check", "127.0.0.1:9", "--bind-dn", "svc@rxa.test"];
        arguments.extend(["--password-file", &password, "--policy", &policies, "--anchors", &anchors]);
        arguments.extend(more);
        run(&stage, &arguments)
    };
    let (_, said) = check(&["--member", "RXA", "--attestation", &good]);
    assert!(said.contains("WHICH WAS NOT CHECKED AGAINST A REGISTRATION"), "{said}");
    assert!(said.contains("pass by it: spooler, renewed"), "{said}");
    let (_, said) = check(&["--member", "RXA"]);
    assert!(said.contains("attested.spooler_off: found not attested, required true"), "{said}");
    assert!(said.contains("for the member to attest, cannot be measured: attested.spooler_off"), "{said}");
    assert!(!said.contains(STATED), "{said}");
    for (arguments, wanted) in [
        (["--member", "RXB", "--attestation", &good].as_slice(), "is of RXA, not of RXB"),
        (&["--attestation", &good], "--member"),
        (&["--member", "RXA", "--attestation", &good, "--attestation", &good], "a second time"),
    ] {
        let (code, said) = check(arguments);
        assert!(code != Some(0) && said.contains(wanted), "{said}");
    }
}

#[test]
fn members_evidence_and_assessments_of_before_are_read() {
    let stage = stage();
    let store = store(&stage);
    let member = store.member(&ods("RXA")).unwrap().unwrap();
    let mut old = serde_json::to_value(&member).unwrap();
    old.as_object_mut().unwrap().remove("attested");
    assert_eq!(serde_json::from_value::<Member>(old).unwrap(), member);
    let evidence = assessed(&stage);
    assert!(String::from_utf8(evidence.to_json()).unwrap().contains(r#""attestations":[],"#));
    let document = store.recent_assessments(&ods("RXA"), 1).unwrap().remove(0).document;
    assert!(!text(&document).contains(r#""attestations""#), "nothing was attested");
}
