//! `portcullis sync pause` and `resume` through the real program, against a real slapd.

use std::time::{Duration, Instant};

use portcullis::store::port::Store;
use serde_json::{Value, json};

use crate::sync_verbs_stage::{Trust, scope};

#[test]
fn a_pause_stops_runs_says_who_and_why_and_outlives_the_process() {
    let test = "a_pause_stops_runs_says_who_and_why_and_outlives_the_process";
    let Some(trust) = Trust::new(test, 5, &scope("30d", 1000, 1000), "") else { return };
    let told = trust.refused(1, &["pause", "RXS", "--reason", " "]);
    assert!(told.contains("reason"), "{told}");
    trust.refused(1, &["pause", "RXX", "--reason", "no such member"]);
    trust.json(0, &["pause", "RXS", "--reason", "a move of the data centre"]);
    let told = trust.refused(1, &["run", "RXS"]);
    for word in ["RXS", "officer", "a move of the data centre", "portcullis sync resume RXS --reason"] {
        assert!(told.contains(word), "{told}");
    }
    assert!(trust.entries().len() == 1, "nothing was written");
    let planned = trust.json(0, &["plan", "RXS"]);
    assert_eq!(planned["planned"]["create"], 5, "planning stays allowed");
    let status = trust.json(0, &["status", "RXS"]);
    assert_eq!((&status["paused"]["by"], &status["paused"]["everybody"]), (&json!("officer"), &json!(false)));
    let text = trust.text(0, &["status", "RXS"]);
    assert!(text.contains("PAUSED since") && text.contains("a move of the data centre"), "{text}");
    let told = trust.refused(1, &["pause", "RXS", "--reason", "again"]);
    assert!(told.contains("already") && told.contains("a move of the data centre"), "{told}");

    // one for every member holds beside it
    trust.json(0, &["pause", "--all", "--reason", "national maintenance"]);
    let told = trust.json(3, &["resume", "RXS", "--reason", "moved"]);
    assert_eq!(told["paused"]["reason"], "national maintenance");
    let told = trust.refused(1, &["run", "RXS"]);
    assert!(told.contains("national maintenance") && told.contains("resume --all"), "{told}");
    let told = trust.refused(1, &["resume", "RXS", "--reason", "moved"]);
    assert!(told.contains("--all"), "{told}");
    let everybody = trust.text(0, &["status"]);
    trust.json(0, &["resume", "--all", "--reason", "done"]);
    trust.refused(1, &["resume", "--all", "--reason", "done"]);
    assert!(
        everybody.contains("PAUSED for every member since ") && everybody.contains("resume --all"),
        "{everybody}"
    );
    trust.json(0, &["run", "RXS"]);
    assert_eq!(trust.entries().len(), 7);
    let audited: Vec<String> =
        trust.audited().into_iter().filter(|action| action.starts_with("sync.")).collect();
    assert_eq!(audited, ["sync.pause", "sync.pause", "sync.resume", "sync.resume"]);
}

#[test]
fn a_run_under_way_stops_before_its_next_batch() {
    let test = "a_run_under_way_stops_before_its_next_batch";
    let extra = "sync: { batch: 5, connections: 1 }\n";
    let Some(trust) = Trust::new(test, 300, &scope("30d", 1000, 1000), extra) else { return };
    let child = trust.stage.spawn(&["run", "RXS"]);
    let began = Instant::now();
    while trust.stage.store.journal(&trust.stage.ods, 0, 1).unwrap().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(30), "the run writes nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
    trust.slapd.signal("STOP");
    trust.json(0, &["pause", "RXS", "--reason", "wrong people"]);
    trust.slapd.signal("CONT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["outcome"], "paused", "{report:#}");
    assert_eq!(report["paused"]["reason"], "wrong people");
    assert_eq!(report["executed"]["gate_closed"], false);
    let told = trust.text(0, &["status", "RXS"]);
    for word in ["stopped: officer paused it at ", ": wrong people", "PAUSED since "] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let written = trust.entries().len();
    assert!(written < 302, "it wrote everything");
    // what was begun before is known, and the rest goes on where it was
    trust.json(0, &["resume", "RXS", "--reason", "right people"]);
    let report = trust.json(0, &["run", "RXS"]);
    assert_eq!(report["planned"]["create"].as_u64().unwrap() as usize + written, 302);
    assert_eq!(trust.entries().len(), 302);
}
