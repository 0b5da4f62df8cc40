//! `portcullis sync undo` through the real program, against a real slapd.

use portcullis::store::port::Store;
use serde_json::{Value, json};

use crate::sync_verbs_stage::{OTHER, STAFF, Trust, dn, guid, person, scope};

fn hash(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Everything that a plan can hold: people come, go, change, and names and mails change places.
fn turmoil(trust: &Trust) {
    trust.world().put(guid(100), person(100));
    trust.set(0, "title", Some("Consultant"));
    trust.set(1, "title", None);
    for (number, name) in [(2, "n0003"), (3, "n0004"), (4, "n0002"), (5, "renamed")] {
        trust.set(number, "samaccountname", Some(name));
    }
    trust.set(6, "mail", Some("m7@rxs.nhs.test"));
    trust.set(7, "mail", Some("m6@rxs.nhs.test"));
    trust.set(8, "useraccountcontrol", Some("514"));
    // somebody new has the name and the mail of the one who left
    let mut heir = person(101);
    heir.attributes.insert("samaccountname".to_owned(), vec!["n0008".to_owned()]);
    heir.attributes.insert("mail".to_owned(), vec!["m8@rxs.nhs.test".to_owned()]);
    trust.world().put(guid(101), heir);
}

/// The account that was disabled is not any more, and that was read: only then does an undoing list the person again.
fn mended(trust: &Trust) {
    trust.set(8, "useraccountcontrol", Some("512"));
    trust.json(0, &["plan", "RXS"]);
}

#[test]
fn undoing_brings_back_what_was_pauses_the_member_and_can_be_undone() {
    let test = "undoing_brings_back_what_was_pauses_the_member_and_can_be_undone";
    let Some(trust) = Trust::new(test, 20, &scope("30d", 1000, 1000), "sync: { batch: 3, connections: 2 }\n")
    else {
        return;
    };
    trust.json(0, &["run", "RXS"]);
    let before = trust.entries();
    turmoil(&trust);
    let report = trust.json(0, &["run", "RXS"]);
    let after = trust.entries();
    assert_ne!(before, after);
    let plan = hash(&report["written"]);
    mended(&trust);

    let seen = trust.json(0, &["undo", &plan, "--reason", "look", "--dry-run"]);
    assert_eq!(
        (&seen["outcome"], &seen["kept"], &seen["paused"]),
        (&json!("planned"), &json!([]), &Value::Null)
    );
    assert_eq!(trust.entries(), after, "a dry run writes nothing");

    let done = trust.json(0, &["undo", &plan, "--reason", "wrong file of the HR system"]);
    assert_eq!(done["outcome"], "undone", "{done:#}");
    assert_eq!(done["plan"], seen["plan"], "what was shown is what was done");
    assert_eq!(trust.entries(), before);

    // the member is paused with it, so that nothing does it again
    assert_eq!(done["paused"]["by"], "officer");
    let told = trust.refused(1, &["run", "RXS"]);
    assert!(
        told.contains("officer")
            && told.contains("wrong file of the HR system")
            && told.contains("sync resume RXS"),
        "{told}"
    );
    assert!(trust.audited().contains(&"sync.undo".to_owned()));

    // undoing is a plan like any other
    let back = trust.json(0, &["undo", &hash(&done["goes"]), "--reason", "it was right"]);
    assert_eq!(back["outcome"], "undone", "{back:#}");
    assert_eq!(trust.entries(), after);
    trust.set(8, "useraccountcontrol", Some("514"));
    trust.json(0, &["resume", "RXS", "--reason", "it was right"]);
    let quiet = trust.json(0, &["run", "RXS"]);
    assert_eq!(quiet["planned"], json!({}), "the directory is as the member says");
    assert!(trust.stage.store.verify_audit().unwrap().is_whole());
}

#[test]
fn a_deleted_entry_comes_back_with_what_others_had_added() {
    let test = "a_deleted_entry_comes_back_with_what_others_had_added";
    let Some(trust) = Trust::new(test, 4, &scope("30d", 1000, 1000), "") else { return };
    trust.json(0, &["run", "RXS"]);
    trust.set(1, "useraccountcontrol", Some("514"));
    trust.json(0, &["run", "RXS"]);
    // sync neither publishes nor reads this one
    trust.modify(&dn("n0001"), "carLicense", &["AB12 CDE"]);
    trust.modify(&dn("n0001"), "userPassword", &["a secret of theirs"]);
    crate::sync_crash::age(&trust.slapd, &dn("n0001"));
    let before = trust.entries();
    let report = trust.json(0, &["run", "RXS"]);
    assert_eq!(report["planned"], json!({"delete": 1}), "{report:#}");
    assert_eq!(trust.entry("n0001"), None);
    trust.set(1, "useraccountcontrol", Some("512"));
    trust.json(0, &["plan", "RXS"]);
    let done = trust.json(0, &["undo", &hash(&report["written"]), "--reason", "she comes back"]);
    assert_eq!(trust.entries(), before);
    let losses = done["losses"].to_string();
    assert!(losses.contains("userpassword"), "{losses}");
    let journal =
        String::from_utf8_lossy(&std::fs::read(trust.stage.path("data/portcullis.sqlite")).unwrap())
            .into_owned()
            + &String::from_utf8_lossy(
                &std::fs::read(trust.stage.path("data/portcullis.sqlite-wal")).unwrap_or_default(),
            );
    assert!(!journal.contains("a secret of theirs"), "a secret is kept");
    // the person is the same one: nothing is there twice, and she leaves again when sync goes on
    trust.set(1, "useraccountcontrol", Some("514"));
    trust.json(0, &["resume", "RXS", "--reason", "go on"]);
    let report = trust.json(0, &["run", "RXS"]);
    assert_eq!(report["planned"], json!({"delete": 1}));
}

#[test]
fn what_somebody_changed_since_is_left_alone_and_told() {
    let test = "what_somebody_changed_since_is_left_alone_and_told";
    let Some(trust) = Trust::new(test, 12, &scope("30d", 1000, 1000), "") else { return };
    trust.json(0, &["run", "RXS"]);
    let before = trust.entries();
    turmoil(&trust);
    let report = trust.json(0, &["run", "RXS"]);
    let plan = hash(&report["written"]);
    // one in what was written, one in what was not; and the heir of a name and a mail, so that these are not free
    trust.modify(&dn("n0000"), "title", &["Professor"]);
    trust.modify(&dn("n0001"), "carLicense", &["AB12 CDE"]);
    trust.modify(&dn("n0008"), "carLicense", &["XY34 ZZZ"]);
    let changed = trust.entries();
    mended(&trust);
    let done = trust.json(1, &["undo", &plan, "--reason", "mend"]);
    assert_eq!(done["outcome"], "partial", "{done:#}");
    let why = |number: u64| {
        let guid = crate::sync_verbs_stage::text(number);
        let kept = done["kept"].as_array().unwrap().iter();
        kept.filter(|one| one["guid"] == json!(guid)).map(|one| hash(&one["text"])).collect::<Vec<_>>()
    };
    assert!(
        why(0).iter().all(|text| text.contains("changed since: title")) && !why(0).is_empty(),
        "{:?}",
        why(0)
    );
    assert!(why(1).iter().all(|text| text.contains("changed since")) && !why(1).is_empty(), "{:?}", why(1));
    assert!(
        why(101).iter().all(|text| text.contains("changed since")) && !why(101).is_empty(),
        "{:?}",
        why(101)
    );
    // the leaver's name and mail are the heir's
    assert!(why(8).iter().all(|text| text.contains("somebody else's")) && !why(8).is_empty(), "{:?}", why(8));
    let now = trust.entries();
    for name in ["n0000", "n0001", "n0008"] {
        assert_eq!(now[&dn(name)], changed[&dn(name)], "{name}");
    }
    for name in ["n0002", "n0003", "n0004", "n0005", "n0006", "n0007", "n0009"] {
        assert_eq!(now[&dn(name)], before[&dn(name)], "{name}");
    }
    assert_eq!(now.get(&dn("n0100")), None, "nobody touched the new one");
}

#[test]
fn a_guard_holds_an_undoing_until_exactly_that_is_approved() {
    let test = "a_guard_holds_an_undoing_until_exactly_that_is_approved";
    let Some(trust) = Trust::new(test, 2, &scope("30d", 3, 1000), "") else { return };
    trust.json(0, &["run", "RXS"]);
    let before = trust.entries();
    (50..56).for_each(|number| trust.world().put(guid(number), person(number)));
    trust.set(0, "title", Some("Consultant"));
    let report = trust.json(0, &["run", "RXS"]);
    let plan = hash(&report["written"]);
    let held = trust.json(1, &["undo", &plan, "--reason", "wrong OU"]);
    assert_eq!((&held["outcome"], &held["held_steps"]), (&json!("held"), &json!(6)), "{held:#}");
    assert_eq!(trust.entries().len(), before.len() + 6, "nobody is deleted without approval");
    assert_eq!(trust.entry("n0000").unwrap()["title"].first().unwrap(), "Nurse", "harmless steps go on");
    // a look at what a run would do does not take the waiting plan away
    trust.json(0, &["plan", "RXS"]);
    let waiting = hash(&held["held"]);
    trust.json(0, &["approve", &waiting, "--reason", "seen"]);
    let done = trust.json(0, &["undo", &plan, "--reason", "wrong OU"]);
    assert_eq!(done["approved"], true, "{done:#}");
    assert_eq!(trust.entries(), before);
    let again = trust.json(0, &["undo", &plan, "--reason", "once more"]);
    assert_eq!((&again["outcome"], &again["planned"]), (&json!("undone"), &json!({})), "{again:#}");
    // what is not there cannot be undone, and says so
    let told = trust.refused(1, &["undo", &"0".repeat(64), "--reason", "x"]);
    assert!(told.contains("no plan"), "{told}");
}

#[test]
fn nothing_is_undone_while_the_gate_is_closed() {
    let test = "nothing_is_undone_while_the_gate_is_closed";
    let Some(trust) = Trust::new(test, 3, &scope("30d", 1000, 1000), "") else { return };
    let report = trust.json(0, &["run", "RXS"]);
    let before = trust.entries();
    trust.stage.gate("closed");
    let told = trust.refused(1, &["undo", &hash(&report["written"]), "--reason", "x"]);
    assert!(told.contains("gate"), "{told}");
    assert_eq!(trust.entries(), before);
    trust.json(0, &["undo", &hash(&report["written"]), "--reason", "x", "--dry-run"]);
    assert_eq!(trust.stage.sync(&["run", "RXS", "--dry-run"]).status.code(), Some(0));
}

const LISTING: &str = "listing: { attribute: employeeType, not_published: [secret], not_findable: [hidden], without_contact: [quiet], contact: [mail] }\n";

/// What an undoing says of a person whose steps it leaves out.
fn why(done: &Value, number: u64) -> String {
    let guid = crate::sync_verbs_stage::text(number);
    let kept = done["kept"].as_array().unwrap().iter();
    kept.filter(|one| one["guid"] == json!(guid)).map(|one| hash(&one["text"])).collect::<Vec<_>>().join("\n")
}

#[test]
fn undoing_lists_nobody_who_is_not_published_now() {
    let test = "undoing_lists_nobody_who_is_not_published_now";
    let hides = "guards:\n  hides: { count: 1000, share: 100% }\n";
    let scope = scope("30d", 1000, 1000).replace("guards:\n", hides) + LISTING;
    let Some(trust) = Trust::new(test, 12, &scope, "") else { return };
    trust.json(0, &["run", "RXS"]);
    let before = trust.entries();
    trust.set(0, "useraccountcontrol", Some("514"));
    trust.set(1, "employeetype", Some("secret"));
    trust.set(2, "employeetype", Some("quiet"));
    trust.world().change(guid(3), |object| object.deleted = true);
    trust.world().change(guid(4), |object| object.parent = Some(OTHER));
    trust.set(5, "employeetype", Some("test"));
    for number in 6..=8 {
        trust.set(number, "title", Some("Consultant"));
    }
    let report = trust.json(0, &["run", "RXS"]);
    let plan = hash(&report["written"]);
    assert_eq!(trust.entry("n0001"), None);
    assert!(!trust.entry("n0002").unwrap().contains_key("mail"));
    // asked since, and read, but not written yet
    trust.set(7, "employeetype", Some("secret"));
    trust.json(0, &["plan", "RXS"]);
    let after = trust.entries();

    let seen = trust.json(0, &["undo", &plan, "--reason", "look", "--dry-run"]);
    let done = trust.json(1, &["undo", &plan, "--reason", "wrong titles"]);
    assert_eq!((&done["outcome"], &done["kept"]), (&json!("partial"), &seen["kept"]), "{done:#}");
    for (number, words) in [
        (0, "account is disabled now"),
        (1, "not to be listed now"),
        (2, "without contact details now, and this would give back mail"),
        (3, "account is deleted now"),
        (4, "outside the bases of the scope now"),
        (5, "filter of the scope does not select the account now"),
        (7, "not to be listed now"),
    ] {
        let told = why(&done, number);
        assert!(told.contains(words), "{number}: {told}");
        let name = dn(&format!("n{number:04}"));
        assert_eq!(trust.entries().get(&name), after.get(&name), "{number}");
    }
    assert!(why(&done, 0).contains("portcullis sync plan RXS"), "{}", why(&done, 0));
    for name in ["n0006", "n0008", "n0009"] {
        assert_eq!(trust.entry(name).as_ref(), before.get(&dn(name)), "{name}");
    }

    // what was mended and read is undone; nobody else comes with it
    trust.set(0, "useraccountcontrol", Some("512"));
    trust.json(0, &["plan", "RXS"]);
    let done = trust.json(1, &["undo", &plan, "--reason", "mended"]);
    assert_eq!(trust.entry("n0000").as_ref(), before.get(&dn("n0000")), "{done:#}");
    assert_eq!(trust.entry("n0001"), None);
}

/// `portcullis sync ...` as this officer.
fn officer(trust: &Trust, name: &str, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.arg("--config").arg(trust.stage.path("portcullis.yaml")).args(["--actor", name, "sync"]);
    let output = command.args(arguments).env_remove("PORTCULLIS_CONFIG").output().unwrap();
    crate::sync_verbs_stage::words(&output)
}

#[test]
fn undoing_counts_for_the_day_and_needs_two_officers_beyond_it() {
    let test = "undoing_counts_for_the_day_and_needs_two_officers_beyond_it";
    let extra = "sync: { national_removals_per_day: 3 }\n";
    let Some(trust) = Trust::new(test, 2, &scope("30d", 1000, 1000), extra) else { return };
    trust.json(0, &["run", "RXS"]);
    let before = trust.entries();
    let mut plans = Vec::new();
    for numbers in [50..52, 52..54] {
        numbers.for_each(|number| trust.world().put(guid(number), person(number)));
        plans.push(hash(&trust.json(0, &["run", "RXS"])["written"]));
    }
    // what this takes away counts, and the next one sees it
    trust.json(0, &["undo", &plans[1], "--reason", "wrong OU"]);
    let held = trust.json(1, &["undo", &plans[0], "--reason", "wrong OU"]);
    let trip = &held["trips"][0];
    assert_eq!((&trip["guard"], &trip["found"]), (&json!("national"), &json!(4)), "{held:#}");
    assert_eq!(trust.entries().len(), before.len() + 2, "nobody was deleted");

    // both officers, and whoever waits learns that one is missing
    assert_eq!(held["officers"], json!({"approved": 0, "needed": 2}), "{held:#}");
    let waiting = hash(&held["held"]);
    let approve = |name: &str| officer(&trust, name, &["approve", &waiting, "--reason", "seen"]);
    let told = approve("first.officer");
    assert!(told.contains("1 of 2 officers approved: another officer must"), "{told}");
    let told = approve("First.Officer");
    assert!(told.contains("counts once") && told.contains("1 of 2 officers approved: another"), "{told}");
    let told = trust.text(1, &["undo", &plans[0], "--reason", "wrong OU"]);
    assert!(told.contains(&format!("2 steps wait in plan {waiting}: 1 of 2 officers approved")), "{told}");
    let told = approve("second");
    assert!(told.contains("2 of 2 officers approved: that is enough"), "{told}");
    trust.json(0, &["undo", &plans[0], "--reason", "wrong OU"]);
    assert_eq!(trust.entries(), before);
}

#[test]
fn a_run_tells_how_many_officers_are_missing_and_when_no_approval_helps() {
    let test = "a_run_tells_how_many_officers_are_missing_and_when_no_approval_helps";
    let extra = "sync: { national_removals_per_day: 1 }\n";
    let Some(trust) = Trust::new(test, 4, &scope("30d", 1000, 1000), extra) else { return };
    trust.json(0, &["run", "RXS"]);
    (0..2).for_each(|number| trust.set(number, "useraccountcontrol", Some("514")));
    let held = trust.json(1, &["run", "RXS"]);
    assert_eq!(held["officers"], json!({"approved": 0, "needed": 2}), "{held:#}");
    let waiting = hash(&held["held"]);
    officer(&trust, "first", &["approve", &waiting, "--reason", "seen"]);
    let line = format!("2 steps wait in plan {waiting}: 1 of 2 officers approved");
    for told in [trust.text(1, &["run", "RXS"]), trust.text(0, &["status", "RXS"])] {
        assert!(told.contains(&line), "{told}");
    }
    // the base is gone: nothing tells who has
    trust.world().change(STAFF, |object| object.deleted = true);
    let held = trust.json(1, &["run", "RXS"]);
    assert_eq!(held["officers"]["needed"], Value::Null, "{held:#}");
    let told = trust.refused(1, &["approve", &hash(&held["held"]), "--reason", "seen"]);
    assert!(told.contains("no approval helps") && told.contains("base of the scope"), "{told}");
    assert_eq!(trust.entries().values().filter(|entry| entry.contains_key("portcullisleftat")).count(), 0);
}

#[test]
fn a_pause_for_everybody_stops_an_undoing() {
    let test = "a_pause_for_everybody_stops_an_undoing";
    let Some(trust) = Trust::new(test, 3, &scope("30d", 1000, 1000), "") else { return };
    let plan = hash(&trust.json(0, &["run", "RXS"])["written"]);
    let before = trust.entries();
    trust.json(0, &["pause", "--all", "--reason", "national maintenance"]);
    let told = trust.refused(1, &["undo", &plan, "--reason", "x"]);
    assert!(told.contains("national maintenance") && told.contains("resume --all"), "{told}");
    assert_eq!(trust.entries(), before);
    trust.json(0, &["undo", &plan, "--reason", "x", "--dry-run"]);
    // the member's own does not: undoing pauses the member itself
    trust.json(0, &["resume", "--all", "--reason", "done"]);
    trust.json(0, &["pause", "RXS", "--reason", "wrong people"]);
    let done = trust.json(0, &["undo", &plan, "--reason", "x"]);
    assert_eq!(done["outcome"], "undone", "{done:#}");
    assert!(trust.entries().len() < before.len());
}

#[test]
fn a_pause_for_everybody_stops_an_undoing_under_way() {
    let test = "a_pause_for_everybody_stops_an_undoing_under_way";
    let extra = "sync: { batch: 5, connections: 1 }\n";
    let Some(trust) = Trust::new(test, 300, &scope("30d", 1000, 1000), extra) else { return };
    let plan = hash(&trust.json(0, &["run", "RXS"])["written"]);
    let journal = || trust.stage.store.journal(&trust.stage.ods, 0, 10_000).unwrap().len();
    let before = journal();
    let child = trust.stage.spawn(&["undo", &plan, "--reason", "wrong people"]);
    let began = std::time::Instant::now();
    while journal() == before {
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "the undoing writes nothing");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    trust.slapd.signal("STOP");
    trust.json(0, &["pause", "--all", "--reason", "national maintenance"]);
    trust.slapd.signal("CONT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let account: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(account["outcome"], "gate_closed", "{account:#}");
    assert_eq!(account["stopped"]["reason"], "national maintenance");
    assert!(trust.entries().len() > 100, "it took everything back");
}
