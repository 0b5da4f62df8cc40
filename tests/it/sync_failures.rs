//! What went wrong in the field with engines like this one, each as a flow from outside. `tests/FIELD_FAILURES.md` says which row is held by
//! which test.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis::store::port::Store;
use portcullis::sync::terms::step::Step;
use serde_json::{Value, json};

use crate::app_stage::soon;
use crate::sync_controllers::Bench;
use crate::sync_crash::{HEAD, OTHER, SCOPE, STAFF, WARD, connect, guid, person, published, unit};
use crate::sync_listening::Running;
use crate::sync_observer::syncer;

const PEOPLE: u64 = 5_000;

/// An organisational unit with 5,000 people below it is renamed, and one is moved within it: no entry changes, and nobody is read again.
#[test]
fn renaming_a_unit_with_5000_people_causes_no_delete() {
    let test = "renaming_a_unit_with_5000_people_causes_no_delete";
    let Some(bench) = Bench::new(test, 0, SCOPE, "") else { return };
    {
        let mut dc = bench.dc();
        dc.page = 1_000;
        (0..PEOPLE).for_each(|number| dc.put(guid(number), person(number)));
    }
    let report = bench.run(&[]);
    assert_eq!(report["executed"]["done"]["create"], PEOPLE, "{report:#}");
    let before = published(&bench.slapd);
    assert_eq!(before.len() as u64, PEOPLE);
    let between: [u8; 16] = [5; 16];
    let changes: [&dyn Fn(&mut crate::sync_dc::Dc); 3] = [
        &|dc| dc.change(STAFF, |object| object.rdn = "OU=Colleagues".into()),
        &|dc| {
            dc.put(between, unit(Some(STAFF), "OU=Between", "organizationalUnit"));
            dc.change(WARD, |object| object.parent = Some(between));
        },
        // out of where its base was named, with everybody
        &|dc| dc.change(STAFF, |object| object.parent = Some(OTHER)),
    ];
    for change in changes {
        change(&mut bench.dc());
        bench.dc().asked.clear();
        let report = bench.run(&[]);
        assert_eq!(
            (&report["planned"], &report["pass"]["complete"]),
            (&json!({}), &json!(false)),
            "{report:#}"
        );
        // what it costs does not depend on how many people lie below
        assert!(report["pass"]["objects"].as_u64().unwrap() <= 2, "{report:#}");
        assert!(bench.dc().asked.len() < 12, "{:?}", bench.dc().asked);
    }
    assert_eq!(published(&bench.slapd), before);
    // and with everything read anew as well
    assert_eq!(bench.run(&["--complete"])["planned"], json!({}));
}

/// A first reading that takes its time: whoever looks sees more each time, in the metrics and by `status`, and nothing of it stays.
#[test]
fn a_long_first_reading_is_seen_to_move() {
    let test = "a_long_first_reading_is_seen_to_move";
    let Some(bench) = Bench::new(test, 400, SCOPE, "") else { return };
    bench.dc().page = 10;
    bench.dc().delay = Duration::from_millis(120);
    let running = Running::start(syncer(&bench.stage, &bench.slapd), Duration::from_secs(3_600), 1);
    let (mut shown, mut told) = (BTreeSet::new(), BTreeSet::new());
    let gauge = |name: &str| running.value(&format!("portcullis_sync_{name}{{member=\"RXS\"}}"));
    soon("the first run is over", 120, || {
        if let (Some(objects), Some(pages)) = (gauge("reading_objects"), gauge("reading_pages")) {
            shown.insert((objects as u64, pages as u64));
        }
        let now = &bench.stage.report(&["status", "RXS"])["under_way"];
        told.extend(now["objects"].as_u64().zip(now["pages"].as_u64()));
        running.value("portcullis_sync_runs_total{").is_some()
    });
    for seen in [&shown, &told] {
        let past = || bench.stage.report(&["history", "RXS"]);
        assert!(seen.len() >= 2 && seen.first().unwrap().0 < 400, "{shown:?} {told:?} {:#}", past());
        // each time more pages, and no fewer objects
        assert!(seen.iter().zip(seen.iter().skip(1)).all(|(a, b)| a.0 <= b.0 && a.1 < b.1), "{seen:?}");
    }
    soon("it is over", 30, || gauge("reading_objects").is_none());
    assert_eq!(bench.stage.report(&["status", "RXS"])["under_way"], Value::Null);
    assert_eq!(bench.names().len(), 400);
    running.end();
}

/// A whole unit is emptied, by deletion or by moving everybody away: its leavers wait, one rule says so, everything else goes on.
#[test]
fn emptying_a_unit_stops_at_the_guard() {
    // the guard of units as it is when nobody says anything about it
    let scope: String =
        SCOPE.lines().filter(|line| !line.contains("unit:")).map(|line| format!("{line}\n")).collect();
    let Some(bench) = Bench::new("emptying_a_unit_stops_at_the_guard", 90, &scope, "") else { return };
    bench.run(&[]);
    let before = bench.names();
    {
        let mut dc = bench.dc();
        for number in (0..90).step_by(3) {
            match number % 2 {
                0 => dc.change(guid(number), |object| object.deleted = true),
                _ => dc.change(guid(number), |object| object.parent = Some(OTHER)),
            }
        }
        // one of another unit leaves, and one is changed: neither waits
        dc.change(guid(1), |object| object.deleted = true);
        dc.change(guid(2), |object| drop(object.attributes.insert("title".into(), vec!["Matron".into()])));
    }
    let report = bench.stage.report(&["run", "RXS"]);
    assert_eq!((&report["outcome"], &report["held_steps"]), (&json!("held"), &json!(30)), "{report:#}");
    let trips = report["trips"].as_array().unwrap();
    assert_eq!((trips.len(), &trips[0]["guard"]), (1, &json!("unit")), "one guard, one message: {report:#}");
    let text = trips[0]["text"].as_str().unwrap();
    assert!(text.contains("30 of 30 leave OU=Ward") && !text.contains("OU=Other"), "{report:#}");
    assert_eq!(report["executed"]["done"], json!({"mark": 1, "modify": 1}), "{report:#}");
    assert_eq!(bench.names().len(), before.len() - 1);
    assert_eq!(report["pending"], json!({"mark": 30}), "{report:#}");

    // the administrator undoes it: the plan that waited can no longer be approved
    let hash = report["held"].as_str().unwrap().to_owned();
    for number in (0..90).step_by(3) {
        bench.dc().change(guid(number), |object| (object.deleted, object.parent) = (false, Some(WARD)));
    }
    assert_eq!(bench.run(&[])["planned"], json!({}));
    let late = bench.stage.sync(&["approve", &hash, "--reason", "late"]);
    assert!(!late.status.success(), "{late:?}");
}

/// A directory may say anything: what no account may be called and what is no value of a person is held back by name, and nobody else waits.
#[test]
fn what_a_directory_makes_up_stops_nobody_else() {
    let Some(bench) = Bench::new("what_a_directory_makes_up_stops_nobody_else", 16, SCOPE, "") else {
        return;
    };
    {
        let mut dc = bench.dc();
        let mut say = |number: u64, name: &str, values: Vec<String>| {
            dc.change(guid(number), |object| drop(object.attributes.insert(name.into(), values)));
        };
        say(0, "mail", (0..20_000).map(|n| format!("m0{n}@rxs.nhs.test")).collect());
        for (number, account) in
            ["a,ou=rxs", "a\0b", ".", "moving:x", "\u{200b}", " ", &"x".repeat(300), "a+uid=b"]
                .iter()
                .enumerate()
        {
            say(number as u64 + 1, "samaccountname", vec![(*account).to_owned()]);
        }
        say(9, "title", vec!["\u{1b}[2JSister".into()]);
        say(10, "title", vec!["x".repeat(3_000_000)]);
        say(11, "mail", vec!["x@evil.test@rxs.nhs.test".into()]);
        say(12, "displayname", vec!["Sister \u{202e}Ward".into()]);
    }
    let report = bench.run(&[]);
    assert_eq!(report["executed"]["done"]["create"], 8, "{report:#}");
    let held = report["quarantine"].as_array().unwrap();
    let of = |code: &str| held.iter().filter(|one| one["code"] == code).count();
    assert_eq!((of("no_name"), of("unfit")), (8, 5), "{report:#}");
    let people = published(&bench.slapd);
    let of = |number: u64| &people[&format!("RXS/{}", uuid::Uuid::from_bytes_le(guid(number)))];
    assert_eq!((of(9).get("title"), of(11).get("mail")), (None, None));
    assert!(of(10).get("title").is_none() && !of(12)["cn"].contains('\u{202e}'));
    assert_eq!(bench.run(&[])["planned"], json!({}));
}

/// A source that loses people in many small runs is stopped like one that loses them at once, and so is one that hides them: the window of a
/// day counts what nobody approved.
#[test]
fn a_slow_mass_removal_stops_at_the_guard_of_the_day() {
    let scope: String = SCOPE
        .lines()
        .filter(|line| !line.contains("day:"))
        .map(|line| format!("{line}\n"))
        .collect::<String>()
        .replace("unit: {", "day: { count: 20, share: 100% }\n  unit: {");
    let test = "a_slow_mass_removal_stops_at_the_guard_of_the_day";
    let Some(bench) = Bench::new(test, 120, &scope, "") else { return };
    bench.run(&[]);
    let mut gone = 0..;
    let mut runs = Vec::new();
    for _ in 0..4 {
        gone.by_ref()
            .take(8)
            .for_each(|number| bench.dc().change(guid(number), |object| object.deleted = true));
        runs.push(bench.stage.report(&["run", "RXS"]));
    }
    let outcomes: Vec<&Value> = runs.iter().map(|report| &report["outcome"]).collect();
    assert_eq!(outcomes, ["done", "done", "held", "held"], "{:#}", runs[2]);
    let trip = &runs[2]["trips"][0];
    assert_eq!((&trip["guard"], &trip["found"], &trip["limit"]), (&json!("day"), &json!(24), &json!(20)));
    assert_eq!(bench.names().len(), 120 - 16);
    // what an officer approves is no surprise, and does not count
    let held = runs[3]["held"].as_str().unwrap();
    assert!(bench.stage.sync(&["approve", held, "--reason", "a site closes"]).status.success());
    assert_eq!(bench.run(&[])["executed"]["done"], json!({"mark": 16}));
    bench.dc().change(guid(100), |object| object.deleted = true);
    assert_eq!(bench.run(&[])["executed"]["done"], json!({"mark": 1}));
}

/// One leaves and another, with the same mail and the same account name, comes: in one batch, in the right order, nobody is blocked.
#[test]
fn a_leaver_and_a_joiner_with_one_mail_in_one_batch() {
    let Some(bench) = Bench::new("a_leaver_and_a_joiner_with_one_mail_in_one_batch", 6, SCOPE, "") else {
        return;
    };
    bench.run(&[]);
    {
        let mut dc = bench.dc();
        dc.change(guid(1), |object| object.deleted = true);
        // the account is made anew, as after an administrator deleted it by mistake
        dc.put(guid(101), person(1));
        // and two live people change mails
        let mail = |number: u64| vec![format!("m{number}@rxs.nhs.test")];
        dc.change(guid(2), |object| drop(object.attributes.insert("mail".into(), mail(3))));
        dc.change(guid(3), |object| drop(object.attributes.insert("mail".into(), mail(2))));
    }
    let report = bench.run(&[]);
    assert_eq!(
        (&report["quarantine"], &report["executed"]["undone"]),
        (&json!([]), &json!([])),
        "{report:#}"
    );
    let people = published(&bench.slapd);
    let of = |number: u64| &people[&format!("RXS/{}", uuid::Uuid::from_bytes_le(guid(number)))];
    assert_eq!((&*of(101)["uid"], &*of(101)["mail"]), ("n0001", "m1@rxs.nhs.test"));
    assert_eq!((&*of(2)["mail"], &*of(3)["mail"]), ("m3@rxs.nhs.test", "m2@rxs.nhs.test"));
    assert_eq!(bench.run(&[])["planned"], json!({}));
}

/// What a run says it did is what its journal says, line by line, and what the national directory holds.
#[test]
fn counters_are_what_the_journal_says() {
    let Some(bench) = Bench::new("counters_are_what_the_journal_says", 25, SCOPE, "") else { return };
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..4 {
        match round {
            1 => bench.dc().change(guid(1), |object| object.deleted = true),
            2 => bench.dc().change(guid(2), |object| {
                drop(object.attributes.insert("samaccountname".into(), vec!["renamed".into()]))
            }),
            3 => bench.dc().put(guid(30), person(30)),
            _ => {}
        }
        let report = bench.run(&[]);
        for (action, count) in report["executed"]["done"].as_object().unwrap() {
            *told.entry(action.clone()).or_insert(0) += count.as_u64().unwrap();
        }
    }
    let (mut open, mut counted) = (BTreeMap::new(), BTreeMap::new());
    for line in bench.stage.store.journal(&bench.stage.ods, 0, 100_000).unwrap() {
        let key = (line.entry.plan.clone(), line.entry.step);
        if line.entry.phase == "intended" {
            let step: Step = serde_json::from_slice(&line.entry.document).unwrap();
            assert!(open.insert(key, step.action).is_none(), "one intention, one outcome");
        } else {
            let action = open.remove(&key).unwrap();
            assert_eq!(line.entry.phase, "done");
            *counted.entry(action.as_str().to_owned()).or_insert(0) += 1;
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert_eq!(told, counted);
    assert_eq!(told["create"] - told["mark"], bench.names().len() as u64);
}

/// The place up to which a directory was read only goes forward, whatever happens to a run; everything is read when there is a reason.
#[test]
fn the_watermark_only_goes_forward() {
    let Some(bench) = Bench::new("the_watermark_only_goes_forward", 10, SCOPE, "") else { return };
    let number = |key: &str| -> u64 {
        let value = bench.stage.store.sync_value(&bench.stage.ods, key).unwrap().unwrap();
        String::from_utf8(value).unwrap().parse().unwrap()
    };
    let cookie = || {
        let cookie = bench.stage.store.sync_value(&bench.stage.ods, "cookie").unwrap().unwrap();
        u64::from_be_bytes(cookie[16..].try_into().unwrap())
    };
    let (mut at, mut seen, mut complete) = (0, 0, 0);
    for round in 0..8 {
        bench.dc().put(guid(100 + round), person(100 + round));
        if round % 3 == 2 {
            bench.dc().fault = Some(crate::sync_dc::Fault::Break(0));
            bench.fails();
            assert_eq!((number("read_at"), cookie()), (at, seen), "a reading that broke off is no reading");
        }
        let report = bench.run(&[]);
        complete += u64::from(report["pass"]["complete"] == true);
        assert!(number("read_at") >= at && cookie() > seen, "{report:#}");
        (at, seen) = (number("read_at"), cookie());
    }
    assert_eq!(complete, 1, "only the first time");
}

/// Two national entries claim to be of one account: neither is touched, and it is told which account.
#[test]
fn two_entries_with_one_anchor_are_left_alone() {
    let Some(bench) = Bench::new("two_entries_with_one_anchor_are_left_alone", 3, SCOPE, "") else { return };
    bench.run(&[]);
    let anchor = format!("RXS/{}", uuid::Uuid::from_bytes_le(guid(1)));
    bench.slapd.ldif(
        "ldapadd",
        &format!(
            "dn: uid=copy,ou=RXS,ou=people,dc=national,dc=test\nobjectClass: inetOrgPerson\nobjectClass: portcullisEntry\n\
             uid: copy\ncn: Copy\nsn: Copy\nportcullisAnchor: {anchor}\nportcullisMember: RXS\n"
        ),
    );
    bench
        .dc()
        .change(guid(1), |object| drop(object.attributes.insert("title".into(), vec!["Matron".into()])));
    bench.dc().change(guid(2), |object| object.deleted = true);
    let report = bench.run(&[]);
    assert_eq!(report["quarantine"][0]["code"], "anchor_twice", "{report:#}");
    assert_eq!(report["executed"]["done"], json!({"mark": 1}), "everybody else goes on: {report:#}");
    bench.slapd.ldif("ldapmodify", "dn: uid=copy,ou=RXS,ou=people,dc=national,dc=test\nchangetype: delete\n");
    assert_eq!(bench.run(&[])["executed"]["done"], json!({"modify": 1}), "it heals");
}

/// The member's unit is made before anybody is put into it, and everybody's creation waits for it.
#[test]
fn parents_come_first() {
    let Some(bench) = Bench::new("parents_come_first", 5, SCOPE, "") else { return };
    let planned = bench.stage.report(&["run", "RXS", "--dry-run"]);
    let shown = bench.stage.report(&["approve", planned["plan"].as_str().unwrap()]);
    let steps: Vec<&Value> = shown["steps"].as_array().unwrap().iter().collect();
    assert_eq!((steps.len(), &steps[0]["action"]), (6, &json!("prepare")), "{shown:#}");
    for step in &steps[1..] {
        assert_eq!((&step["action"], &step["needs"]), (&json!("create"), &json!([0])));
    }
    bench.run(&[]);
}

/// Who belongs to a group is told of the group and never of the person: a scope that asks for it is refused, not half followed.
#[test]
fn a_scope_by_group_membership_is_refused() {
    let by_group = SCOPE.replace("(mail=*)", "(memberOf=CN=Pilots,DC=rxs,DC=test)");
    let mapped = SCOPE.replace("title: title", "title: memberOf");
    for scope in [by_group, mapped] {
        let Some(bench) = Bench::new("a_scope_by_group_membership_is_refused", 1, &scope, "") else { return };
        let told = bench.fails();
        assert!(told.contains("nobody is told when `memberOf` of a person changes"), "{told}");
    }
}

/// A group of 50,000 changes by one member: nothing is read, nothing is evaluated.
#[test]
fn a_large_group_costs_nothing() {
    let Some(bench) = Bench::new("a_large_group_costs_nothing", 3, SCOPE, "") else { return };
    let mut group = unit(Some(HEAD), "CN=Everybody", "group");
    let members: Vec<String> =
        (0..50_000).map(|number| format!("CN=Person {number},DC=rxs,DC=test")).collect();
    group.attributes.insert("member".into(), members);
    bench.dc().put([6; 16], group);
    bench.run(&[]);
    bench.dc().change([6; 16], |object| drop(object.attributes.get_mut("member").unwrap().pop()));
    let report = bench.run(&[]);
    assert_eq!((&report["pass"]["objects"], &report["planned"]), (&json!(0), &json!({})), "{report:#}");
}

/// Somebody's entry was made by hand before the person was published: it is taken over with all that it has, not doubled, also when
/// only the mail tells who it is.
#[test]
fn who_is_there_already_is_joined_and_not_doubled() {
    let Some(bench) = Bench::new("who_is_there_already_is_joined_and_not_doubled", 3, SCOPE, "") else {
        return;
    };
    bench.slapd.ldif(
        "ldapadd",
        "dn: ou=RXS,ou=people,dc=national,dc=test\nobjectClass: organizationalUnit\nou: RXS\n\n\
         dn: uid=by.hand,ou=RXS,ou=people,dc=national,dc=test\nobjectClass: inetOrgPerson\nuid: by.hand\ncn: P\nsn: P\n\
         mail: M1@rxs.nhs.test\ncarLicense: AB12 CDE\n",
    );
    let report = bench.run(&[]);
    assert_eq!(report["executed"]["done"], json!({"create": 2, "join": 1, "rename": 1}), "{report:#}");
    assert_eq!(published(&bench.slapd).len(), 3);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use portcullis::directory::request::{Scope, Search};
        let filter = portcullis::ldap::filter::Filter::parse("(carLicense=AB12 CDE)").unwrap();
        let search = Search::new("dc=national,dc=test", Scope::Subtree, filter, &["uid"]);
        let (entries, _) = connect(&bench.slapd).await.read(&search).await.unwrap();
        assert_eq!(entries[0].text("uid"), Some("n0001"));
    });
}

/// Whatever is done to a member directory in these tests, we only ever bind to it and search it (`sync_dc` ends at anything else).
#[test]
fn a_member_directory_is_only_read() {
    let Some(bench) = Bench::new("a_member_directory_is_only_read", 5, SCOPE, "") else { return };
    bench.run(&[]);
    bench.dc().change(guid(1), |object| object.deleted = true);
    bench.run(&["--complete"]);
    let kinds = ["dirsync", "search ", "base "];
    let asked = bench.dc().asked.clone();
    assert!(
        asked.len() > 5 && asked.iter().all(|one| kinds.iter().any(|kind| one.starts_with(kind))),
        "{asked:?}"
    );
}

/// Every row of the table names tests that are there.
#[test]
fn every_field_failure_names_tests_that_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("tests/FIELD_FAILURES.md")).unwrap();
    let mut rows = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #")) {
        rows += 1;
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!((cells.len(), cells[0]), (3, rows.to_string().as_str()), "{row}");
        let tests: Vec<&str> =
            cells[2].split('`').skip(1).step_by(2).filter(|text| text.contains("::")).collect();
        assert!(!tests.is_empty(), "row {rows} names no test");
        for test in tests {
            let (file, function) = test.split_once("::").unwrap();
            let folder = if file.starts_with("src/") || file.starts_with("deploy/") {
                root.into()
            } else {
                root.join("tests")
            };
            let text =
                std::fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(
                text.contains(&format!("fn {function}(")) || text.contains(&format!("- name: {function}")),
                "{test}"
            );
        }
    }
    assert_eq!(rows, 28);
}
