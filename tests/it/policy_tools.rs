//! What officers do with a policy set before it is in force: compare it, see what it would change, take a verdict apart.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use portcullis::ambient::clock::Clock;
use portcullis::baseline::facts::Fact;
use portcullis::enrol::lifecycle::Step;
use portcullis::enrol::run::{self, By};
use portcullis::policy::terms::Grant;
use portcullis::store::port::Store;
use portcullis::store::record::GateRecord;
use portcullis::store::sqlite::store::SqliteStore;
use serde_json::Value;
use time::Duration;
use time::macros::datetime;

use crate::app_stage::{Stage, argument};
use crate::assess_report::{Found, WEAK, evidence, federate, keep, portcullis, stage, text};
use crate::store_conformance::{audit, gate_by, ods};

const AT: time::OffsetDateTime = datetime!(2026-11-20 08:00 UTC);

const fn strong<'a>(without: &'a [&'a str]) -> Found<'a> {
    const YES: Fact = Fact::Known(portcullis::baseline::value::Value::Boolean(true));
    Found { versions: &["tls1.2", "tls1.3"], name: YES, without }
}

/// RXA is weak, RXB has one person without a card, RXC meets everything, and all three federate; RXD has never been measured.
fn three() -> Stage {
    let stage = stage("");
    let at = Clock::system().now() - Duration::minutes(5);
    keep(&stage, evidence("RXA", at, &WEAK));
    keep(&stage, evidence("RXB", at, &strong(&["mabel.okoro"])));
    keep(&stage, evidence("RXC", at, &strong(&[])));
    let store = store(&stage);
    ["RXA", "RXB", "RXC"].iter().for_each(|code| federate(&store, code));
    crate::assess_report::enrol(&stage, &store, "RXD");
    stage
}

fn store(stage: &Stage) -> SqliteStore {
    let config = stage.config();
    SqliteStore::open(&config.data_dir, &config.store).unwrap()
}

/// A copy of the policies with `from` written as `to` in its controls.
fn changed(stage: &Stage, from: &str, to: &str) -> PathBuf {
    let folder = stage.path("new");
    fs::create_dir_all(&folder).unwrap();
    for name in ["baseline.yaml", "controls.yaml"] {
        let old = fs::read_to_string(stage.path("policies").join(name)).unwrap();
        fs::write(folder.join(name), old.replace(from, to)).unwrap();
    }
    folder
}

fn json(done: &Output) -> Value {
    serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&done.stderr)))
}

#[test]
fn impact_counts_who_would_lose_what() {
    let stage = three();
    let new = changed(&stage, "tls.versions: { at_least: tls1.2 }", "tls.versions: { at_least: tls1.3 }");
    let done = portcullis(&stage, &["policy", "impact", argument(&new), "--json"]);
    assert_eq!(done.status.code(), Some(1), "{}", text(&done.stderr));
    let impact = json(&done);
    // one of each member's accounts has a card, the others were counted above; none says whether it is enabled
    assert_eq!(impact["judged"], serde_json::json!({ "members": 3, "people": 6 }));
    assert_eq!(impact["not_recorded"], serde_json::json!(["RXD"]));
    assert_eq!(impact["grants"][0]["open"], serde_json::json!({ "before": 2, "now": 0 }));
    assert_eq!(impact["grants"][0]["lost"], serde_json::json!({ "members": 2, "people": 3 }));
    assert_eq!(impact["grants"][1]["lost"], serde_json::json!({ "members": 1, "people": 1 }));
    let control = &impact["controls"][0];
    assert_eq!(
        (control["control"].as_str(), control["newly_failing"]["members"].as_u64()),
        (Some("tls-versions"), Some(2))
    );
    let members: Vec<&str> =
        impact["members"].as_array().unwrap().iter().map(|m| m["member"].as_str().unwrap()).collect();
    assert_eq!(members, ["RXB", "RXC"]);
    // nobody is named
    assert!(!text(&done.stdout).contains("mabel"), "{}", text(&done.stdout));
    let told = text(&portcullis(&stage, &["policy", "impact", argument(&new)]).stdout);
    assert!(told.contains("lookup  2     0     2 (3)"), "{told}");
    assert!(told.contains("no evidence yet: RXD"), "{told}");
}

#[test]
fn impact_names_the_single_control_that_keeps_most_gates_shut() {
    let stage = three();
    let policies = stage.path("policies");
    let done = portcullis(&stage, &["policy", "impact", argument(&policies), "--json"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let impact = json(&done);
    assert_eq!(
        (&impact["controls"], &impact["members"]),
        (&Value::from(Vec::<Value>::new()), &Value::from(Vec::<Value>::new()))
    );
    let fixes: Vec<(&str, &str, u64)> = impact["fixes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fix| {
            (
                fix["control"].as_str().unwrap(),
                fix["grant"].as_str().unwrap(),
                fix["opens"]["members"].as_u64().unwrap(),
            )
        })
        .collect();
    // RXA lacks only the version for lookups; RXB only the card for sync
    assert_eq!(fixes, [("tls-versions", "lookup", 1), ("cards", "sync", 1)]);
}

#[test]
fn impact_names_the_controls_that_deny_only_now() {
    let stage = three();
    let new = stage.path("policies");
    let old = changed(&stage, "severity: high, ", "severity: high, stage: warn, ");
    let arguments = ["policy", "impact", argument(&new), "--old", argument(&old)];
    let told = text(&portcullis(&stage, &arguments).stdout);
    // RXB lacks a card, and its gate bears that for a while; RXA was shut for lookups already, and fails both
    assert!(told.contains("sync    2     2     -              1 (2)                        -"), "{told}");
    let control = "cards    high, warn -> enforce  -                    -              2 (5)       -";
    assert!(told.contains(control), "{told}");
    assert!(told.contains("RXB     2       sync after 14d  -      -            cards "), "{told}");
    let done = portcullis(&stage, &[&arguments[..], &["--json"]].concat());
    assert_eq!(done.status.code(), Some(1));
    let impact = json(&done);
    let member = impact["members"].as_array().unwrap().iter().find(|m| m["member"] == "RXB").unwrap();
    assert_eq!(
        (&member["newly_failing"], &member["newly_denying"], &member["loses"]),
        (&serde_json::json!([]), &serde_json::json!(["cards"]), &serde_json::json!([]))
    );
    assert_eq!(member["loses_later"][0]["seconds"], 14 * 86_400);
    // and back: what denied it is named as well
    let done = portcullis(&stage, &["policy", "impact", argument(&old), "--old", argument(&new), "--json"]);
    let impact = json(&done);
    let cards = impact["controls"].as_array().unwrap().iter().find(|c| c["control"] == "cards").unwrap();
    assert_eq!(cards["denies_no_longer"]["members"], 2, "{impact:#}");
}

#[test]
fn a_grace_is_counted_from_when_the_control_first_denied() {
    let stage = three();
    let store = store(&stage);
    let open = |member: &str| GateRecord { member: ods(member), grant: Grant::Sync, ..gate_by("") };
    for member in ["RXA", "RXB"] {
        store.record_gate(&open(member), &audit("gate.open")).unwrap();
    }
    let days = |days: i64| (Clock::system().now() - Duration::days(days)).unix_timestamp();
    let since = |days_ago: i64| serde_json::json!({ "cards": days(days_ago) }).to_string();
    store.set_note(&ods("RXB"), "gate.denied_since", since(10).as_bytes()).unwrap();
    let explain = |member: &str| {
        let done = portcullis(&stage, &["policy", "explain", "--member", member, "cards"]);
        text(&done.stdout)
    };
    let until = (Clock::system().now() + Duration::days(4)).date();
    let wanted = format!("it denies sync from {until}, when its grace of 14d ends");
    assert!(explain("RXB").contains(&wanted), "{wanted}: {}", explain("RXB"));
    // the gate is held: it passes now, and is not lost by what changes nothing
    let policies = stage.path("policies");
    let impact = json(&portcullis(&stage, &["policy", "impact", argument(&policies), "--json"]));
    assert_eq!(impact["grants"][1]["open"], serde_json::json!({ "before": 2, "now": 2 }));
    assert_eq!(impact["members"], serde_json::json!([]));
    // nor by a shorter grace that still runs; one that is over ends it at once
    for (grace, lost, later) in [("13d", 0, 1), ("9d", 1, 0)] {
        let new = changed(&stage, "grace: { high: 14d }", &format!("grace: {{ high: {grace} }}"));
        let impact = json(&portcullis(&stage, &["policy", "impact", argument(&new), "--json"]));
        let sync = &impact["grants"][1];
        let members = |what: &str| sync[what]["members"].as_u64().unwrap();
        assert_eq!((members("lost"), members("lost_later")), (lost, later), "{grace}: {impact:#}");
    }
    // looked at from the day on which it is over
    let day = (Clock::system().now() + Duration::days(6)).date().to_string();
    let ahead = json(&portcullis(&stage, &["policy", "impact", argument(&policies), "--at", &day, "--json"]));
    assert_eq!(ahead["grants"][1]["lost"]["members"], 1, "{ahead:#}");
}

#[test]
fn impact_counts_no_gate_that_is_shut_anyway() {
    let stage = three();
    let store = store(&stage);
    // RXC's evidence is of last week, RXE is suspended, RXF waits to be approved
    let at = Clock::system().now() - Duration::minutes(5);
    ["RXE", "RXF"].iter().for_each(|code| drop(keep(&stage, evidence(code, at, &strong(&[])))));
    let by = By { actor: "officer", reason: "because", now: Clock::system().now() };
    federate(&store, "RXE");
    run::take(&store, &ods("RXE"), Step::Suspend, &by).unwrap();
    keep(&stage, evidence("RXG", AT, &strong(&[])));
    federate(&store, "RXG");
    let new = changed(&stage, "tls.versions: { at_least: tls1.2 }", "tls.versions: { at_least: tls1.3 }");
    let arguments = ["policy", "impact", argument(&new)];
    let told = text(&portcullis(&stage, &arguments).stdout);
    assert!(told.contains("6 members with 9 people judged by both sets"), "{told}");
    assert!(told.contains("their state opens no gate (2): RXE (suspended), RXF (checked)\n"), "{told}");
    assert!(told.contains("their evidence is too old: assess them first (1): RXG (evidence "), "{told}");
    assert!(told.contains("lookup  2     0     2 (3)          -"), "{told}");
    assert!(told.contains("RXG     1       -             -      tls-versions  tls-versions"), "{told}");
    let impact = json(&portcullis(&stage, &[&arguments[..], &["--json"]].concat()));
    let idle: Vec<&str> =
        impact["idle"].as_array().unwrap().iter().map(|one| one["member"].as_str().unwrap()).collect();
    assert_eq!(idle, ["RXE", "RXF", "RXG"]);
    assert_eq!(impact["idle"][2]["now"]["stale"]["counts_for"], 3600);
    // old evidence alone tells nothing of any gate; that a state opens none is certain
    let only = |member: &str| {
        let policies = stage.path("policies");
        portcullis(&stage, &["policy", "impact", argument(&policies), "--member", member]).status.code()
    };
    assert_eq!((only("RXG"), only("RXE"), only("RXC")), (Some(2), Some(0), Some(0)));
}

#[test]
fn impact_says_what_is_announced() {
    let stage = three();
    let policies = stage.path("policies");
    let done = portcullis(&stage, &["policy", "impact", argument(&policies)]);
    let told = text(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{told}");
    assert!(told.contains("later    critical  2027-04-01  3 (6)          -"), "{told}");
    let done = portcullis(&stage, &["policy", "impact", argument(&policies), "--at", "2027-04-01", "--json"]);
    assert_eq!(json(&done)["announced"], serde_json::json!([]));
}

#[test]
fn impact_looks_ahead_to_the_day_of_enforcement() {
    let stage = three();
    let policies = stage.path("policies");
    let done = portcullis(&stage, &["policy", "impact", argument(&policies), "--at", "2027-04-01", "--json"]);
    assert_eq!(done.status.code(), Some(1), "{}", text(&done.stderr));
    let impact = json(&done);
    // the control over the chain decides from that day on; its verdict is what it was
    assert_eq!(impact["grants"][0]["lost"]["members"], 2);
    assert_eq!(impact["sets"]["before"], impact["sets"]["now"]);
    let over = portcullis(&stage, &["policy", "impact", argument(&policies), "--at", "2020-01-01"]);
    assert_eq!(over.status.code(), Some(1));
    assert!(text(&over.stderr).contains("--at looks ahead"), "{}", text(&over.stderr));
}

#[test]
fn a_fact_that_nobody_collected_is_told_as_that() {
    let stage = three();
    let new = changed(
        &stage,
        "require: { tls.name_matches: true }",
        "require: { tls.name_matches: true, kerberos.preauth_required: true }",
    );
    let done = portcullis(&stage, &["policy", "impact", argument(&new), "--member", "RXC"]);
    let told = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "{told}");
    assert!(told.contains("`--against live` asks the members now"), "{told}");
    // its directory does not answer: everything is unknown by both sets then, and nothing is kept
    let live = portcullis(
        &stage,
        &["policy", "impact", argument(&new), "--member", "RXC", "--against", "live", "--json"],
    );
    assert_eq!(live.status.code(), Some(0), "{}", text(&live.stderr));
    let impact = json(&live);
    assert!(impact["controls"].as_array().unwrap().iter().all(|c| c["not_collected"] == 0), "{impact:#}");
    let unknown = portcullis(&stage, &["policy", "impact", argument(&new), "--member", "RXZ"]);
    assert!(text(&unknown.stderr).contains("there is no member RXZ"), "{}", text(&unknown.stderr));
}

#[test]
fn a_set_with_faults_is_not_tried() {
    let stage = three();
    let new = changed(&stage, "severity: critical", "severity: criticle");
    let done = portcullis(&stage, &["policy", "impact", argument(&new)]);
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stdout).contains("did you mean `critical`?"), "{}", text(&done.stdout));
    let done = portcullis(&stage, &["policy", "diff", argument(&new), argument(&stage.path("policies"))]);
    assert_eq!(done.status.code(), Some(2));
}

#[test]
fn difference_is_by_control_and_value() {
    let stage = stage("");
    let policies = stage.path("policies");
    let new = changed(&stage, "severity: critical", "severity: high");
    let done = portcullis(&stage, &["policy", "diff", argument(&policies), argument(&new)]);
    let told = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "{told}");
    assert!(
        told.contains("changed Control tls-versions: TLS 1.2 and later only (controls.yaml:3:"),
        "{told}"
    );
    assert!(told.contains("  severity: critical -> high\n"), "{told}");
    let same = portcullis(&stage, &["policy", "diff", argument(&policies), argument(&policies)]);
    assert_eq!((same.status.code(), text(&same.stdout).trim()), (Some(0), "nothing differs"));
}

#[test]
fn difference_shows_what_can_hardly_be_seen_and_what_a_baseline_judges_no_more() {
    let stage = stage("");
    let policies = stage.path("policies");
    let blank = changed(&stage, "why: Older ones can be broken.", "why: \"Older  ones can be broken.\"");
    let done = portcullis(&stage, &["policy", "diff", argument(&policies), argument(&blank)]);
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stdout).contains("\"Older  ones can be broken.\""), "{}", text(&done.stdout));

    // the same control, in a file that only a draft includes
    let moved = changed(&stage, "include: [controls.yaml]", "include: [controls.yaml, more/*.yaml]");
    fs::create_dir(moved.join("more")).unwrap();
    let extra = "kind: Controls\ncontrols:\n  - { id: extra, title: E, severity: low, require: { tls.chain_valid: true }, why: w, fix: f }\n";
    fs::write(moved.join("more/extra.yaml"), extra).unwrap();
    let gone = stage.path("gone");
    fs::create_dir_all(gone.join("more/elsewhere")).unwrap();
    for name in ["baseline.yaml", "controls.yaml"] {
        fs::copy(moved.join(name), gone.join(name)).unwrap();
    }
    fs::write(gone.join("more/elsewhere/extra.yaml"), extra).unwrap();
    let baseline = fs::read_to_string(gone.join("baseline.yaml")).unwrap();
    let draft = baseline
        .split("---")
        .next()
        .unwrap()
        .replace("id: national", "id: tomorrow")
        .replace("stage: enforce", "stage: draft")
        .replace("include: [controls.yaml, more/*.yaml]", "include: [more/elsewhere/*.yaml]");
    fs::write(gone.join("tomorrow.yaml"), draft).unwrap();
    fs::write(gone.join("more/other.yaml"), extra.replace("extra", "other")).unwrap();
    let done = portcullis(&stage, &["policy", "diff", argument(&moved), argument(&gone)]);
    let told = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "{told}");
    assert!(told.contains("  now judges other\n  does not judge extra any more\n"), "{told}");
    assert!(!told.contains("Control extra"), "{told}");
}

#[test]
fn a_control_is_shown_with_what_it_requires_and_from_when_it_decides() {
    let more = "\
---
kind: Controls
controls:
  - id: carriers
    title: Some have a card
    severity: low
    stage: warn
    enforce_from: 2099-04-01
    for_each: users
    where: { any: [{ card: true }, { name: { one_of: [\"a, b\"] } }] }
    count: { at_least: $carriers_min }
    why: w
    fix: f
---
kind: Profile
id: practice
extends: national
for: { role: RO76 }
parameters: { carriers_min: 1 }
controls: { cards: { severity: critical } }
";
    let stage = stage("");
    let written = fs::read_to_string(stage.path("policies/baseline.yaml")).unwrap();
    stage.write(
        "policies/baseline.yaml",
        &written.replace("parameters: {}", "parameters: { carriers_min: 3 }"),
    );
    let controls = fs::read_to_string(stage.path("policies/controls.yaml")).unwrap();
    stage.write("policies/controls.yaml", &format!("{controls}{more}"));
    let policies = stage.path("policies");
    let said = |arguments: &[&str]| {
        let done = portcullis(&stage, &[&["policy"], arguments, &[argument(&policies)]].concat());
        assert_eq!(done.status.code(), Some(0), "{}{}", text(&done.stdout), text(&done.stderr));
        text(&done.stdout)
    };
    let told = said(&["show", "carriers"]);
    for line in [
        "stage     warn, enforced from 2099-04-01 (national)\n",
        "for_each  users\n",
        "where     { any: [{ card: true }, { name: { one_of: [\"a, b\"] } }] }\n",
        "count     { at_least: $carriers_min }\n",
        "$carriers_min is 3 (national), 1 (profile practice)\n",
    ] {
        assert!(told.contains(line), "{line}{told}");
    }
    let told = said(&["show", "cards"]);
    assert!(told.contains("profile   critical (profile practice)\n"), "{told}");
    assert!(told.contains("require   { card: true }\n"), "{told}");
    let shown: Value = serde_json::from_str(&said(&["show", "carriers", "--json"])).unwrap();
    assert_eq!(shown["written"]["count"], serde_json::json!({ "at_least": "$carriers_min" }));
    assert_eq!(shown["written"]["where"]["any"][0], serde_json::json!({ "card": true }));
    assert_eq!(shown["parameters"]["carriers_min"]["profile practice"], "1");
    assert_eq!(shown["baselines"]["national"]["enforce_from"], "2099-04-01T00:00:00Z");
    let told = said(&["list"]);
    assert!(
        told.contains(
            "carriers                               low      warn     2099-04-01 Some have a card\n"
        ),
        "{told}"
    );
    assert!(
        told.contains(
            "cards                                  high     enforce  -          Everybody has a card\n"
        ),
        "{told}"
    );
    let listed: Value = serde_json::from_str(&said(&["list", "--json"])).unwrap();
    let later = listed.as_array().unwrap().iter().find(|line| line["control"] == "carriers").unwrap();
    assert_eq!((&later["stage"], &later["enforce_from"]), (&"warn".into(), &"2099-04-01T00:00:00Z".into()));
}

#[test]
fn the_help_says_what_exit_codes_mean() {
    let stage = stage("");
    for command in ["check", "test", "impact", "diff", "explain", "activate", "verify"] {
        let done = portcullis(&stage, &["policy", command, "--help"]);
        let told = text(&done.stdout);
        assert!(told.contains("Exit code 0: ") && told.contains("; 2: "), "{command}: {told}");
    }
}

#[test]
fn a_count_and_a_verdict_that_could_not_be_told_are_explained() {
    let stage = three();
    let more = "  - { id: carriers, title: T, severity: high, for_each: users, where: { card: true }, count: { at_least: 2 }, why: w, fix: f }\n  \
                - { id: people, title: T, severity: high, for_each: users, where: { card: true }, count: { at_least: 1 }, why: w, fix: f }\n";
    let controls = fs::read_to_string(stage.path("policies/controls.yaml")).unwrap();
    stage.write("policies/controls.yaml", &format!("{controls}{more}"));
    let explain = |control: &str| {
        let done = portcullis(&stage, &["policy", "explain", "--member", "RXA", control]);
        (done.status.code(), text(&done.stdout))
    };
    let (code, told) = explain("carriers");
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("records  1 of users counted\n"), "{told}");
    assert!(told.contains("no  users.count: 1; asked: at least 2  [controls.yaml:"), "{told}");
    assert!(!told.contains("what fails"), "{told}");
    let (code, told) = explain("people");
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("yes users.count: 1; asked: at least 1  [controls.yaml:"), "{told}");

    let mut hidden =
        evidence("RXE", AT, &Found { versions: &["tls1.2"], name: Fact::boolean(true), without: &[] });
    let users = hidden.facts.collections.get_mut("users").unwrap();
    let record = users.records.iter().next().unwrap().to_record();
    let unseen = record.clone().into_iter().chain([("card".to_owned(), Fact::Hidden)]).collect();
    users.records = [record, unseen].into_iter().collect();
    keep(&stage, hidden);
    let done = portcullis(&stage, &["policy", "explain", "--member", "RXE", "cards"]);
    let told = text(&done.stdout);
    assert_eq!(done.status.code(), Some(2), "{told}");
    assert!(told.contains("records  2 of users judged, 0 fail, 1 could not be told, 0 borne"), "{told}");
}

#[test]
fn a_verdict_is_taken_apart() {
    let stage = three();
    let explain = |arguments: &[&str]| {
        let done = portcullis(&stage, &[&["policy", "explain", "--member", "RXA"], arguments].concat());
        (done.status.code(), format!("{}{}", text(&done.stdout), text(&done.stderr)))
    };
    let (code, told) = explain(&["tls-versions"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("it denies lookup and sync"), "{told}");
    assert!(told.contains("no  tls.versions: [tls1.0]; asked: at least tls1.2  [controls.yaml:"), "{told}");
    let (code, told) = explain(&["names"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("?   tls.name_matches: our account may not read it; asked: true"), "{told}");
    let (code, told) = explain(&["cards"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("records  3 of users judged, 2 fail, 0 borne"), "{told}");
    assert!(
        told.contains("it denies sync after a grace of 14d where the gate is open, else at once"),
        "{told}"
    );
    assert!(told.contains("the record mabel.okoro"), "{told}");
    let (code, told) = explain(&["cards", "--object", "WITH.CARD"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("yes users.card: true; asked: true"), "{told}");
    let (code, told) = explain(&["cards", "--object", "nobody"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("no record of `users` has the name or DN `nobody`"), "{told}");
    let (code, told) = explain(&["card"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("did you mean `cards`?"), "{told}");
    let never = portcullis(&stage, &["policy", "explain", "--member", "RXD", "cards"]);
    assert_eq!(never.status.code(), Some(2));
    assert!(text(&never.stderr).contains("run `portcullis assess RXD`"), "{}", text(&never.stderr));
}

const RECORDED: &str = "\
kind: PolicyTest
name: RXA as it was recorded
evidence: recorded/rxa.json
expect:
  tls-versions: fail
  names: unknown
  cards: { verdict: fail, offenders: [mabel.okoro, ines.duarte] }
  grants: { lookup: closed, sync: closed }
---
kind: PolicyTest
name: RXA with the versions of today
evidence: recorded/rxa.json
given: { tls.versions: [tls1.2, tls1.3], tls.name_matches: true }
expect: { tls-versions: pass, names: pass, cards: fail }
";

#[test]
fn tests_start_from_recorded_evidence() {
    let stage = stage("");
    fs::create_dir(stage.path("policies/recorded")).unwrap();
    crate::assess_report::file(&stage, "policies/recorded/rxa.json", &evidence("RXA", AT, &WEAK));
    stage.write("policies/tests.yaml", RECORDED);
    let policies = stage.path("policies");
    let test = |more: &[&str]| portcullis(&stage, &[&["policy", "test", argument(&policies)], more].concat());
    let done = test(&["--coverage"]);
    let told = text(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{told}");
    assert!(told.contains("2 tests, 0 do not hold"), "{told}");
    assert!(told.contains("control       passes  fails  unknown\n2nd-chance    -       -      -\ncards         -       2      -\n"), "{told}");
    assert!(told.contains("without a passing case: 2nd-chance, cards, later"), "{told}");
    assert!(told.contains("without an unknown case: 4 of 5 controls"), "{told}");
    let json = json(&test(&["--json"]));
    assert_eq!(
        json["coverage"][3],
        serde_json::json!({ "control": "names", "pass": 1, "fail": 0, "unknown": 1 })
    );

    // changed evidence is none, and a file elsewhere is no fixture
    let kept = fs::read_to_string(stage.path("policies/recorded/rxa.json")).unwrap();
    fs::write(stage.path("policies/recorded/rxa.json"), kept.replace("mabel", "mabal")).unwrap();
    let told = text(&test(&[]).stdout);
    assert!(
        told.contains("`recorded/rxa.json` cannot be used: the evidence does not match its own hash"),
        "{told}"
    );
    fs::write(stage.path("elsewhere.json"), &kept).unwrap();
    fs::remove_file(stage.path("policies/recorded/rxa.json")).unwrap();
    std::os::unix::fs::symlink(stage.path("elsewhere.json"), stage.path("policies/recorded/rxa.json"))
        .unwrap();
    let told = text(&test(&[]).stdout);
    assert!(told.contains("the link leads out of the policy folder"), "{told}");
    stage.write("policies/tests.yaml", &RECORDED.replace("recorded/rxa.json", "../elsewhere.json"));
    let told = text(&test(&[]).stdout);
    assert!(told.contains("`../elsewhere.json` is no file beside the test or below it"), "{told}");
}

#[test]
fn tests_run_again_when_a_file_changes() {
    use std::io::{BufRead, BufReader};
    let stage = stage("");
    stage.write(
        "policies/tests.yaml",
        "kind: PolicyTest\nname: t\ngiven: { tls.name_matches: true }\nexpect: { names: pass }\n",
    );
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["policy", "test", "--watch", argument(&stage.path("policies"))])
        .env_remove("PORTCULLIS_CONFIG")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut until = |wanted: &str| lines.by_ref().find(|line| line.contains(wanted)).is_some();
    assert!(until("1 tests, 0 do not hold"));
    stage.write(
        "policies/tests.yaml",
        "kind: PolicyTest\nname: t\ngiven: { tls.name_matches: true }\nexpect: { names: fail }\n",
    );
    assert!(until("1 tests, 1 do not hold"));
    stage.write("policies/tests.yaml", "kind: PolicyTst\n");
    assert!(until("did you mean `PolicyTest`?"));
    child.kill().unwrap();
    child.wait().unwrap();
}
