//! `portcullis sync plan --out`, `show`, `diff`, `status`, `history` and `resync` through the real program, against a real slapd.

use std::os::unix::fs::PermissionsExt;

use portcullis::store::port::Store;
use serde_json::{Value, json};

use crate::sync_verbs_stage::{Trust, guid, scope, text};

#[test]
fn plans_are_kept_in_files_shown_and_compared() {
    let test = "plans_are_kept_in_files_shown_and_compared";
    let Some(trust) = Trust::new(test, 4, &scope("30d", 1000, 1000), "") else { return };
    trust.json(0, &["run", "RXS"]);
    let file = |name: &str| trust.stage.path(name).display().to_string();
    let (empty, first, second) = (file("empty"), file("first"), file("second"));
    trust.json(0, &["plan", "RXS", "--out", &empty]);
    trust.set(0, "title", Some("Consultant"));
    trust.set(1, "samaccountname", Some("other"));
    let planned = trust.json(0, &["plan", "RXS", "--out", &first]);
    assert_eq!(std::fs::metadata(&first).unwrap().permissions().mode() & 0o777, 0o600);
    let hash = planned["plan"].as_str().unwrap();
    // a file is the plan that is kept
    trust.json(0, &["diff", hash, &first]);
    let shown = trust.json(0, &["show", &first]);
    assert_eq!((&shown["hash"], &shown["counts"]), (&json!(hash), &json!({"modify": 1, "rename": 1})));
    let told = trust.text(0, &["show", hash]);
    for word in ["1 modify, 1 rename", "title: Nurse -> Consultant", "uid=n0001", "-> uid=other"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let part = trust.json(0, &["show", hash, "--action", "rename"]);
    assert_eq!(part["steps"].as_array().unwrap().len(), 1);
    assert_eq!(trust.json(0, &["show", hash, "--entry", &text(0)])["steps"][0]["action"], "modify");

    trust.set(0, "title", Some("Matron"));
    trust.set(1, "samaccountname", Some("n0001"));
    trust.world().change(guid(2), |object| object.deleted = true);
    trust.json(0, &["plan", "RXS", "--out", &second]);
    let compared = trust.json(1, &["diff", &first, &second]);
    assert_eq!(
        (&compared["added"], &compared["dropped"], &compared["changed"]),
        (&json!(1), &json!(1), &json!(1)),
        "{compared:#}"
    );
    let told = trust.text(1, &["diff", &first, &second]);
    assert!(told.contains("+ mark") && told.contains("- rename") && told.contains("~ modify"), "{told}");
    assert!(told.contains("before: ") && !told.contains('\u{1b}'), "{told}");
    assert_eq!(trust.json(1, &["diff", &empty, &first])["added"], 2);
    // a file that was changed is no plan
    let altered = std::fs::read_to_string(&first).unwrap().replace("Consultant", "Director");
    std::fs::write(&first, altered).unwrap();
    let told = trust.refused(2, &["show", &first]);
    assert!(told.contains("hash"), "{told}");
    trust.refused(1, &["show", &"0".repeat(64)]);
    trust.refused(2, &["show", &file("nowhere")]);
}

#[test]
fn everybody_at_a_glance_and_past_runs() {
    let test = "everybody_at_a_glance_and_past_runs";
    let Some(trust) = Trust::new(test, 4, &scope("30d", 1, 1000), "") else { return };
    let before = trust.json(0, &["status"]);
    assert_eq!(
        (&before["members"][0]["last"], &before["members"][0]["read_seconds"]),
        (&Value::Null, &Value::Null)
    );
    trust.json(0, &["run", "RXS"]);
    trust.set(0, "sn", None);
    (1..4).for_each(|number| trust.set(number, "useraccountcontrol", Some("514")));
    trust.json(1, &["run", "RXS"]);
    trust.json(0, &["pause", "RXS", "--reason", "a look"]);
    let status = trust.json(0, &["status"]);
    let one = &status["members"][0];
    assert_eq!(
        (&one["member"], &one["gate"], &one["paused"]["by"]),
        (&json!("RXS"), &json!("open"), &json!("officer"))
    );
    assert_eq!(
        (&one["last"]["outcome"], &one["held"], &one["quarantine"]),
        (&json!("held"), &json!(3), &json!(1)),
        "{status:#}"
    );
    assert_eq!(one["controller"], "dc1.rxs.test");
    assert!(one["read_seconds"].as_i64().unwrap() < 60 && one["complete_at"].is_string());
    let told = trust.text(0, &["status"]);
    assert!(told.contains("by officer") && told.contains("held"), "{told}");
    trust.json(0, &["resume", "RXS", "--reason", "seen"]);
    trust.slapd.signal("KILL");
    std::thread::sleep(std::time::Duration::from_millis(300));
    trust.refused(2, &["run", "RXS"]);
    let history = trust.json(0, &["history", "RXS"]);
    let outcomes: Vec<&Value> = history.as_array().unwrap().iter().map(|ran| &ran["outcome"]).collect();
    assert_eq!(outcomes, [&json!("target"), &json!("held"), &json!("done")]);
    assert_eq!(history[0]["party"], "national");
    assert!(trust.text(0, &["history", "RXS"]).contains("target (national)"));
}

#[test]
fn a_resync_reads_everything_once_and_loses_nothing() {
    let test = "a_resync_reads_everything_once_and_loses_nothing";
    let Some(trust) = Trust::new(test, 100, &scope("30d", 1000, 1000), "") else { return };
    trust.json(0, &["run", "RXS"]);
    let entries = trust.entries();
    let quiet = trust.json(0, &["run", "RXS"]);
    assert_eq!(quiet["pass"]["complete"], false);
    // without a reason it is a look
    let seen = trust.json(0, &["resync", "RXS"]);
    assert_eq!(
        (&seen["outcome"], &seen["pass"]["complete"], &seen["planned"]),
        (&json!("planned"), &json!(true), &json!({}))
    );
    assert_eq!(trust.json(0, &["run", "RXS"])["pass"]["complete"], false);
    let told = trust.refused(1, &["resync", "RXS", "--reason", ""]);
    assert!(told.contains("reason"), "{told}");
    trust.json(0, &["resync", "RXS", "--reason", "a restored backup"]);
    assert!(trust.audited().contains(&"sync.resync".to_owned()));
    let staged = || {
        let mut count = 0;
        trust
            .stage
            .store
            .visit_staged(&trust.stage.ods, &mut |_| {
                count += 1;
                Ok(())
            })
            .unwrap();
        count
    };
    assert_eq!(staged(), 103, "nothing staged is lost");
    let report = trust.json(0, &["run", "RXS"]);
    assert_eq!(
        (&report["pass"]["complete"], &report["pass"]["objects"], &report["planned"]),
        (&json!(true), &json!(103), &json!({}))
    );
    assert_eq!(trust.entries(), entries);
    assert_eq!(trust.json(0, &["run", "RXS"])["pass"]["complete"], false, "once");
}

/// A run whose people do not go into one plan makes several; each is named, ends as done, and is undone by its own name.
#[test]
fn a_run_of_several_plans_names_each() {
    let test = "a_run_of_several_plans_names_each";
    let Some(trust) = Trust::new(test, 230, &scope("30d", 1000, 1000), "sync: { plan_people: 100 }\n") else {
        return;
    };
    let report = trust.json(0, &["run", "RXS"]);
    assert_eq!((&report["outcome"], &report["executed"]["done"]["create"]), (&json!("done"), &json!(230)));
    let later = report["later"].as_array().unwrap();
    assert_eq!(later.len(), 2, "{report:#}");
    let plans = trust.json(0, &["status", "RXS"])["plans"].clone();
    let state = |plan: &Value| (plan["plan"].clone(), plan["state"].clone());
    let states: Vec<_> = plans.as_array().unwrap().iter().map(state).collect();
    let written = later.iter().rev().chain([&report["written"]]);
    assert_eq!(states, written.map(|plan| (plan.clone(), json!("done"))).collect::<Vec<_>>());
    assert_eq!(trust.json(0, &["history", "RXS"])[0]["later"], report["later"]);
    let told = trust.text(0, &["status", "RXS"]);
    assert!(told.contains(&format!("and then as plan {}", later[1].as_str().unwrap())), "{told}");
    let undone = trust.json(0, &["undo", later[1].as_str().unwrap(), "--reason", "a trial"]);
    assert_eq!(undone["executed"]["done"]["delete"], 30, "{undone:#}");
}

/// The account may not read the attribute any more in which people asked not to be listed: what looks like nobody's wish lists nobody.
#[test]
fn wishes_that_cannot_be_read_any_more_list_nobody() {
    let test = "wishes_that_cannot_be_read_any_more_list_nobody";
    let scope = scope("30d", 1000, 1000)
        .replace("title: title,", "title: title, employeeType: employeeType,")
        + "  wishes: { count: 5, share: 10% }\nlisting: { attribute: employeeType, not_published: [not-listed], not_findable: [by-address], without_contact: [no-contact], contact: [title] }\n";
    let Some(trust) = Trust::new(test, 20, &scope, "") else { return };
    for (number, word) in [(0, "not-listed"), (1, "Not Listed"), (2, "by-address"), (3, "no-contact")] {
        trust.set(number, "employeetype", Some(word));
    }
    let report = trust.json(0, &["run", "RXS"]);
    assert_eq!(report["executed"]["done"]["create"], 18, "{report:#}");
    let before = trust.entries();
    for number in 0..4 {
        trust.set(number, "employeetype", None);
    }
    let report = trust.json(1, &["run", "RXS"]);
    assert_eq!(
        (&report["trips"][0]["guard"], &report["held_steps"]),
        (&json!("wishes"), &json!(4)),
        "{report:#}"
    );
    assert_eq!(trust.entries(), before, "nobody is listed, and no level is taken away");
    // however often it comes; and a complete pass does not forget it
    trust.json(0, &["resync", "RXS", "--reason", "to see"]);
    assert_eq!(trust.json(1, &["run", "RXS"])["held_steps"], 4);
    // it can be read again
    for (number, word) in [(0, "not-listed"), (1, "not-listed"), (2, "by-address"), (3, "no-contact")] {
        trust.set(number, "employeetype", Some(word));
    }
    let report = trust.json(0, &["run", "RXS"]);
    assert_eq!((&report["planned"], &report["trips"]), (&json!({}), &json!([])), "{report:#}");
    // withdrawn indeed: an officer says so
    trust.set(0, "employeetype", Some("staff"));
    let held = trust.json(1, &["run", "RXS"])["held"].as_str().unwrap().to_owned();
    trust.json(0, &["approve", &held, "--reason", "asked the person"]);
    assert_eq!(trust.json(0, &["run", "RXS"])["executed"]["done"], json!({"create": 1}));
    assert_eq!(trust.json(0, &["run", "RXS"])["planned"], json!({}));
}
