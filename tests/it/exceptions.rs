//! Exceptions as officers type them: asked for by one, approved by another, always with an end.

use std::process::{Child, Command, Output, Stdio};

use portcullis::ambient::clock::Clock;
use portcullis::store::port::Store;
use portcullis::store::record::ExceptionRecord;
use portcullis::store::sqlite::store::SqliteStore;
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use crate::app_stage::{Stage, argument};
use crate::assess_report::{WEAK, evidence, keep, stage, text};
use crate::store_conformance::{audit, exception};

fn command(stage: &Stage, actor: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(["exception"]).args(arguments);
    command.args(["--config", argument(&stage.path("portcullis.yaml")), "--actor", actor]);
    command.env_remove("PORTCULLIS_CONFIG").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(stage: &Stage, actor: &str, arguments: &[&str]) -> Output {
    command(stage, actor, arguments).output().unwrap()
}

fn said(done: &Output) -> String {
    format!("{}{}", text(&done.stdout), text(&done.stderr))
}

/// The command ends with this exit code, and says this.
#[track_caller]
fn ends(done: &Output, code: i32, what: &str) {
    let said = said(done);
    assert_eq!(done.status.code(), Some(code), "{said}");
    assert!(said.contains(what), "{said}");
}

fn now() -> OffsetDateTime {
    Clock::system().now()
}

/// RXA, measured and weak.
fn weak(more: &str) -> Stage {
    let stage = stage(more);
    keep(&stage, evidence("RXA", now(), &WEAK));
    stage
}

fn store(stage: &Stage) -> SqliteStore {
    let config = stage.config();
    SqliteStore::open(&config.data_dir, &config.store).unwrap()
}

fn day(days: i64) -> String {
    (now() + Duration::days(days)).date().to_string()
}

fn request(stage: &Stage, control: &str, until: &str, more: &[&str]) -> Output {
    let mut arguments = vec!["request", "RXA", control, "--owner", "Head of IT", "--reason", "late"];
    arguments.extend(["--compensating-control", "looked at daily", "--until", until]);
    arguments.extend(more);
    run(stage, "jo", &arguments)
}

/// The id of what was asked for.
fn requested(stage: &Stage, control: &str, more: &[&str]) -> String {
    let done = request(stage, control, &day(90), &[more, &["--json"]].concat());
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let one: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(one["standing"], "requested");
    one["id"].as_str().unwrap().to_owned()
}

fn approve(stage: &Stage, actor: &str, id: &str) -> Output {
    run(stage, actor, &["approve", id, "--reason", "looked at"])
}

fn listed(stage: &Stage, more: &[&str]) -> Vec<Value> {
    let done = run(stage, "jo", &[&["list", "--json"], more].concat());
    serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&done)))
}

fn verdict(stage: &Stage, control: &str) -> Value {
    let done = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["policy", "explain", "--member", "RXA", control, "--json", "--actor", "jo"])
        .args(["--config", argument(&stage.path("portcullis.yaml"))])
        .output()
        .unwrap();
    let explained: Value = serde_json::from_slice(&done.stdout).unwrap();
    explained["verdict"].clone()
}

#[test]
fn it_takes_two() {
    let stage = weak("");
    let id = requested(&stage, "tls-versions", &[]);
    assert_eq!(verdict(&stage, "tls-versions"), "fail", "a request sets nothing aside");
    for one in ["jo", " JO "] {
        ends(&approve(&stage, one, &id), 1, "another officer approves it");
    }
    for nobody in ["", " ", "unknown"] {
        ends(&approve(&stage, nobody, &id), 1, "say who you are");
    }
    ends(&approve(&stage, "sam", "0123"), 1, "there is no exception 0123");
    ends(&run(&stage, "sam", &["approve", &id, "--reason", " "]), 1, "--reason must say something");
    assert_eq!(verdict(&stage, "tls-versions"), "fail");
    let last_day = day(90);
    ends(&approve(&stage, "sam", &id), 0, &format!("is in force until {last_day}"));
    assert_eq!(verdict(&stage, "tls-versions"), "excepted");
    ends(&approve(&stage, "kim", &id), 1, "was approved already, by sam; it is in force");

    let all = listed(&stage, &[]);
    let words = ["standing", "requested_by", "approver", "reason", "approval_reason", "owner", "last_day"];
    let told: Vec<&str> = words.iter().map(|word| all[0][word].as_str().unwrap()).collect();
    assert_eq!(told, ["in force", "jo", "sam", "late", "looked at", "Head of IT", &last_day]);
    let table = said(&run(&stage, "jo", &["list", "RXA"]));
    for cell in [&*id, "tls-versions", "all", "in force", &last_day, "jo", "sam", "late"] {
        assert!(table.contains(cell), "{cell}: {table}");
    }

    ends(&run(&stage, "kim", &["refuse", &id, "--reason", "no"]), 1, "is no request any more");
    ends(&run(&stage, "kim", &["expire", &id, "--reason", "mended"]), 0, "is ended");
    assert_eq!(verdict(&stage, "tls-versions"), "fail");
    ends(&run(&stage, "kim", &["withdraw", &id, "--reason", "mended"]), 1, "was withdrawn already on ");
    ends(&approve(&stage, "sam", &id), 1, "it is withdrawn");
    assert_eq!(listed(&stage, &[]).len(), 0);
    let over = listed(&stage, &["--all"]);
    let told = ["standing", "withdrawn_by", "withdrawal_reason"].map(|word| over[0][word].as_str().unwrap());
    assert_eq!(told, ["withdrawn", "kim", "mended"]);
    let audited = store(&stage).audit(0, 100).unwrap();
    let actions: Vec<(&str, &str)> = audited
        .iter()
        .filter(|record| record.audit.action.starts_with("exception."))
        .map(|record| (record.audit.action.as_str(), record.audit.actor.as_str()))
        .collect();
    assert_eq!(
        actions,
        [("exception.request", "jo"), ("exception.approve", "sam"), ("exception.expire", "kim")]
    );
}

#[test]
fn what_may_not_be_asked_for_is_refused() {
    let stage = weak("");
    ends(&request(&stage, "tls-version", &day(30), &[]), 1, "did you mean `tls-versions`?");
    ends(&request(&stage, "tls-versions", &day(0), &[]), 1, &format!("--until is a day from {} to ", day(1)));
    ends(&request(&stage, "tls-versions", &day(-3), &[]), 1, "an exception always ends");
    ends(&request(&stage, "tls-versions", &day(367), &[]), 1, &format!(" to {}", day(365)));
    ends(&request(&stage, "tls-versions", "never", &[]), 2, "`never` is not a day");
    ends(
        &request(&stage, "tls-versions", &day(1), &["--object", "x"]),
        1,
        "does not judge records one by one",
    );
    ends(&request(&stage, "cards", &day(1), &["--object", " "]), 1, "--object is a name or DN of 1 to");
    let without_end = run(
        &stage,
        "jo",
        &["request", "RXA", "tls-versions", "--owner", "o", "--reason", "r", "--compensating-control", "c"],
    );
    ends(&without_end, 2, "--until");
    let nothing =
        ["request", "RXA", "tls-versions", "--owner", " ", "--reason", "r", "--compensating-control", "c"];
    ends(
        &run(&stage, "jo", &[&nothing[..], &["--until", &day(3)]].concat()),
        1,
        "--owner must say something",
    );
    let nobody =
        ["request", "RXZ", "tls-versions", "--owner", "o", "--reason", "r", "--compensating-control", "c"];
    ends(&run(&stage, "jo", &[&nobody[..], &["--until", &day(3)]].concat()), 1, "there is no member RXZ");
    ends(&run(&stage, "gateway", &["list"]), 1, "is the gateway itself");
    let add = ["add", "RXA", "tls-versions", "--owner", "o", "--approver", "jo", "--until", "2027-01-01"];
    ends(&run(&stage, "jo", &add), 1, "ask with `portcullis exception request MEMBER CONTROL ...`");
    assert_eq!(listed(&stage, &["--all"]).len(), 0);
    ends(&request(&stage, "tls-versions", &day(365), &[]), 0, "sets nothing aside yet");
}

#[test]
fn a_second_exception_for_the_same_is_refused() {
    let stage = weak("");
    let id = requested(&stage, "cards", &["--object", "mabel.okoro", "--object", "Mabel.Okoro "]);
    ends(&request(&stage, "cards", &day(3), &[]), 1, "is requested already: approve it, or refuse it first");
    ends(&request(&stage, "cards", &day(3), &["--object", "MABEL.OKORO"]), 1, "is requested already");
    // another object stands beside it
    let other = requested(&stage, "cards", &["--object", "CN=ines.duarte,OU=Staff,DC=rxa"]);
    ends(&approve(&stage, "sam", &id), 0, "1 of its records");
    assert_eq!(verdict(&stage, "cards"), "fail");
    ends(&approve(&stage, "sam", &other), 0, "is in force");
    assert_eq!(verdict(&stage, "cards"), "excepted");
    ends(&request(&stage, "cards", &day(3), &[]), 1, "first (portcullis exception expire");
    let done = request(&stage, "cards", &day(3), &["--object", "mabel.okoko"]);
    ends(&done, 3, "no record of the latest evidence has the name or DN `mabel.okoko`");
    let all = listed(&stage, &["RXA"]);
    assert_eq!(all.iter().filter(|one| one["objects"][0] == "mabel.okoro").count(), 1);
    assert_eq!(all[0]["objects"].as_array().unwrap().len(), 1, "each once");
}

#[test]
fn no_spelling_makes_two_of_one() {
    let stage = weak("");
    let id = requested(&stage, "cards", &[]);
    // another alphabet's letter, full width, a sign, blanks
    for actor in ["j\u{43e}", "\u{ff4a}\u{ff4f}", "Jo.", " j o ", "JO"] {
        ends(&approve(&stage, actor, &id), 1, "another officer approves it");
    }
    for actor in ["j\u{200b}o", "jo\u{ad}", "\u{202e}jo", "j\no", "jo\u{1b}[2J"] {
        ends(&approve(&stage, actor, &id), 2, "signs that can be seen");
    }
    ends(&approve(&stage, "Zo\u{eb} O'Brien-Smith", &id), 0, "is in force");
}

#[test]
fn one_may_follow_another() {
    let stage = weak("");
    ends(&request(&stage, "cards", &day(30), &[]), 0, "sets nothing aside yet");
    let first = listed(&stage, &["RXA"])[0]["id"].as_str().unwrap().to_owned();
    ends(&approve(&stage, "sam", &first), 0, "is in force");
    let ends_on = listed(&stage, &["RXA"])[0]["last_day"].as_str().unwrap().to_owned();
    ends(
        &request(&stage, "cards", &day(60), &["--from", &ends_on]),
        1,
        "ask for one that follows it with --from",
    );
    ends(&request(&stage, "cards", &day(60), &["--from", &day(91)]), 1, "--from is a day from");
    ends(&request(&stage, "cards", &day(60), &["--from", &day(-1)]), 1, "--from is a day from");
    ends(
        &request(&stage, "cards", &day(30), &["--from", &day(31)]),
        1,
        &format!("--until is a day from {}", day(31)),
    );
    ends(&request(&stage, "cards", &day(400), &["--from", &day(31)]), 1, &format!(" to {}", day(31 + 365)));
    ends(&request(&stage, "cards", &day(60), &["--from", &day(31)]), 0, "sets nothing aside yet");
    let of = |standing: &str| {
        let all = listed(&stage, &["RXA"]);
        let mine: Vec<&Value> = all.iter().filter(|one| one["standing"] == standing).collect();
        assert_eq!(mine.len(), 1, "{all:?}");
        mine[0].clone()
    };
    let next = of("requested")["id"].as_str().unwrap().to_owned();
    ends(&approve(&stage, "sam", &next), 0, &format!("it holds from {} until {}", day(31), day(60)));
    assert!(of("later")["from"].as_str().unwrap().starts_with(&day(31)));
    assert_eq!(verdict(&stage, "cards"), "excepted");
    // the one that follows sets nothing aside before its day
    let done = run(&stage, "sam", &["expire", &first, "--reason", "mended"]);
    ends(&done, 0, "is ended");
    assert_eq!(verdict(&stage, "cards"), "fail");
}

/// An exception as policy files write it.
fn written(control: &str, from: i64, until: i64) -> String {
    format!(
        "kind: Exception\ncontrol: {control}\nmember: RXA\nowner: o\nreason: written\ncompensating_control: c\napprover: board\n\
         from: {}\nuntil: {}\n",
        day(from),
        day(until)
    )
}

#[test]
fn policies_are_asked_when_it_is_requested_and_when_it_is_approved() {
    let stage = weak("");
    stage.write("policies/written.yaml", &written("names", -1, 20));
    let place = "written.yaml:2:10";
    ends(&request(&stage, "names", &day(3), &[]), 1, place);
    let all = listed(&stage, &[]);
    assert_eq!((&all[0]["id"], &all[0]["standing"]), (&place.into(), &"ends soon".into()));
    let table = said(&run(&stage, "jo", &["list"]));
    assert!(
        table.contains("ends in 20 days") && table.contains("policy file") && table.contains("board"),
        "{table}"
    );
    ends(&approve(&stage, "sam", place), 1, "there is no exception");

    let id = requested(&stage, "tls-versions", &[]);
    // one that begins before this one ends is in the way, too
    stage.write("policies/written.yaml", &written("tls-versions", 30, 60));
    ends(&approve(&stage, "sam", &id), 1, "the policies set `tls-versions` aside for RXA until");
    assert_eq!(listed(&stage, &["RXA"])[0]["standing"], "later");
    std::fs::remove_file(stage.path("policies/written.yaml")).unwrap();

    let file = stage.path("policies/controls.yaml");
    let policy = std::fs::read_to_string(&file).unwrap();
    stage.write(
        "policies/controls.yaml",
        &policy.replace("{ id: tls-versions,", "{ id: tls-versions, exceptions: forbidden,"),
    );
    ends(&approve(&stage, "sam", &id), 1, "the policy forbids exceptions for `tls-versions`");
    ends(&request(&stage, "tls-versions", &day(3), &[]), 1, "the policy forbids exceptions");
    stage.write("policies/controls.yaml", &policy.replace("id: tls-versions", "id: tls-version"));
    ends(&approve(&stage, "sam", &id), 1, "there is no control `tls-versions`");
    stage.write("policies/controls.yaml", &policy.replace("severity: critical", "severity: criticle"));
    ends(&approve(&stage, "sam", &id), 2, "run `portcullis policy active`");
    let broken = run(&stage, "jo", &["list"]);
    ends(&broken, 0, "the policies have faults");
    assert!(said(&broken).contains(&id));

    stage.write("policies/controls.yaml", &policy);
    ends(&approve(&stage, "sam", &id), 0, "is in force");
    stage.write(
        "policies/controls.yaml",
        &policy.replace("{ id: tls-versions,", "{ id: tls-versions, exceptions: forbidden,"),
    );
    let told = said(&run(&stage, "jo", &["list"]));
    assert!(told.contains("without effect: the policies forbid it"), "{told}");
}

#[test]
fn a_request_ends_refused_or_by_itself() {
    let stage = weak("");
    let id = requested(&stage, "tls-versions", &[]);
    ends(
        &run(&stage, "kim", &["expire", &id, "--reason", "no"]),
        1,
        "is only requested; portcullis exception refuse",
    );
    ends(&run(&stage, "kim", &["refuse", &id, "--reason", "mend it"]), 0, "is refused");
    ends(&run(&stage, "kim", &["refuse", &id, "--reason", "mend it"]), 1, "was refused already on ");
    ends(&approve(&stage, "sam", &id), 1, "by kim: ask anew");
    assert_eq!(listed(&stage, &["--all"])[0]["standing"], "refused");
    // it is not in the way of another
    requested(&stage, "tls-versions", &[]);
    let late = ExceptionRecord {
        approver: String::new(),
        control: "cards".into(),
        ..exception("late", now() - Duration::days(9), now() - Duration::SECOND)
    };
    store(&stage).put_exception(&late, None, &audit("exception.request")).unwrap();
    ends(&approve(&stage, "sam", "late"), 1, "the last day of request late was");
    ends(&run(&stage, "kim", &["refuse", "late", "--reason", "no"]), 1, "ended by itself");
}

#[test]
fn whatever_wrote_a_record_one_person_sets_nothing_aside() {
    let stage = weak("");
    let until = now() + Duration::days(40);
    let forged =
        ExceptionRecord { approver: "ASKER".into(), ..exception("forged", now() - Duration::MINUTE, until) };
    store(&stage).put_exception(&forged, None, &audit("exception.approve")).unwrap();
    assert_eq!(verdict(&stage, "tls-versions"), "fail");
    let told = said(&run(&stage, "jo", &["list"]));
    assert!(told.contains("without effect: one person asked for it and approved it"), "{told}");
    // it is in nobody's way, and can be ended
    let id = requested(&stage, "tls-versions", &[]);
    ends(&run(&stage, "jo", &["expire", "forged", "--reason", "not so"]), 0, "is ended");
    // of the time before two persons were needed: it stays in force until its end
    let old = ExceptionRecord {
        requested_by: None,
        requested_at: None,
        control: "cards".into(),
        ..exception("old", now() - Duration::MINUTE, until)
    };
    store(&stage).put_exception(&old, None, &audit("exception.add")).unwrap();
    assert_eq!(verdict(&stage, "cards"), "excepted");
    ends(&approve(&stage, "sam", "old"), 1, "was approved already, by approver");
    ends(&run(&stage, "jo", &["expire", "old", "--reason", "mended"]), 0, "is ended");
    assert_eq!(listed(&stage, &[]).len(), 1, "{id}");
}

#[test]
fn of_two_officers_at_once_one_is_told() {
    let stage = weak("");
    let id = requested(&stage, "tls-versions", &[]);
    let start =
        |actor: &str, what: &str| command(&stage, actor, &[what, &id, "--reason", "r"]).spawn().unwrap();
    let all: Vec<Child> = ["sam", "kim", "lee"]
        .map(|actor| start(actor, "approve"))
        .into_iter()
        .chain([start("kit", "refuse")])
        .collect();
    let codes: Vec<Option<i32>> =
        all.into_iter().map(|child| child.wait_with_output().unwrap().status.code()).collect();
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == Some(1)).count(), 3, "{codes:?}");
}

#[test]
fn an_approval_that_is_interrupted_happened_or_did_not() {
    let stage = weak("");
    for wait in [0, 2, 5, 10, 20, 40, 80] {
        let id = requested(&stage, "tls-versions", &[]);
        let mut child = command(&stage, "sam", &["approve", &id, "--reason", "r"]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        let _ = child.kill();
        child.wait().unwrap();
        let audited = store(&stage).audit(0, 1_000).unwrap();
        let approved = audited
            .iter()
            .any(|record| record.audit.action == "exception.approve" && record.audit.detail["id"] == *id);
        let standing = listed(&stage, &[])[0]["standing"].clone();
        assert_eq!(standing, if approved { "in force" } else { "requested" }, "after {wait} ms");
        assert_eq!(approve(&stage, "sam", &id).status.code(), Some(i32::from(approved)));
        ends(&run(&stage, "sam", &["expire", &id, "--reason", "next"]), 0, "is ended");
    }
    assert!(store(&stage).verify_audit().unwrap().is_whole());
    // somebody holds the store
    let id = requested(&stage, "tls-versions", &[]);
    let config = std::fs::read_to_string(stage.path("portcullis.yaml")).unwrap();
    stage.write("portcullis.yaml", &format!("{config}store: {{ busy_timeout_ms: 10 }}\n"));
    let blocker = rusqlite::Connection::open(stage.path("data").join("portcullis.sqlite")).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    ends(&approve(&stage, "sam", &id), 2, "try again");
    blocker.execute_batch("ROLLBACK").unwrap();
    ends(&approve(&stage, "sam", &id), 0, "is in force");
}

#[test]
fn a_report_says_that_an_exception_ends_soon() {
    let stage = weak("");
    let soon = exception("soon", now() - Duration::MINUTE, now() + Duration::days(12) + Duration::HOUR);
    store(&stage).put_exception(&soon, None, &audit("exception.approve")).unwrap();
    let html = stage.path("report.html");
    let done = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["assess", "RXA", "--html", argument(&html), "--actor", "jo"])
        .args(["--config", argument(&stage.path("portcullis.yaml"))])
        .output()
        .unwrap();
    let words = ", which is in 12 days, by approver: r";
    assert!(said(&done).contains("  set aside until ") && said(&done).contains(words), "{}", said(&done));
    assert!(std::fs::read_to_string(html).unwrap().contains(words));
}
