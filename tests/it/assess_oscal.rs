//! OSCAL documents as commands write them, held against NIST's schema.

use std::path::Path;

use jsonschema::Validator;
use portcullis::baseline::facts::Fact;
use portcullis::store::sqlite::store::SqliteStore;
use serde_json::{Value, json};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::app_stage::{Stage, argument, secret};
use crate::assess_report::{Found, WEAK, enrol, evidence, file, keep, portcullis, stage, text};

const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

const EXCEPTION: &str = "\
---
kind: Exception
control: cards
member: RXA
owner: head.of.it@rxa.example
reason: The card office is closed.
compensating_control: Looked at daily.
approver: officer@national.example
from: 2026-11-01
until: 2027-01-31
";

fn schema() -> Validator {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/oscal/oscal_assessment-results_schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(schema["$id"], "http://csrc.nist.gov/ns/oscal/1.1.3/oscal-ar-schema.json");
    jsonschema::draft7::options().should_validate_formats(true).build(&schema).unwrap()
}

fn faults(schema: &Validator, document: &Value) -> Vec<String> {
    schema.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).take(5).collect()
}

fn document(stage: &Stage, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(stage.path(name)).unwrap()).unwrap()
}

/// The document of some evidence under some policies.
fn judged(stage: &Stage, policies: &Path, found: &Found<'_>) -> Value {
    let file = file(stage, "evidence.json", &evidence("RXA", NOW, found));
    let to = stage.path("oscal.json");
    let arguments = ["assess", "--evidence", argument(&file), "--policy", argument(policies)];
    let done = portcullis(stage, &[&arguments[..], &["--oscal", argument(&to)]].concat());
    assert_ne!(done.stdout, b"", "{}", text(&done.stderr));
    document(stage, "oscal.json")
}

fn states(document: &Value) -> Vec<(&str, &str, &str)> {
    let findings = document["assessment-results"]["results"][0]["findings"].as_array().unwrap();
    findings.iter().map(|f| state(&f["target"])).collect()
}

fn state(target: &Value) -> (&str, &str, &str) {
    let status = &target["status"];
    (
        target["target-id"].as_str().unwrap(),
        status["state"].as_str().unwrap(),
        status["reason"].as_str().unwrap(),
    )
}

#[test]
fn documents_of_members_follow_the_schema() {
    let (schema, stage) = (schema(), stage(EXCEPTION));
    let policies = stage.path("policies");
    let good = Found { versions: &["tls1.3"], name: Fact::boolean(true), without: &[] };
    let hostile = Found { without: &["<script>\u{1b}[2J*x*\n", "`${{ insert: param, a }}` \\ \""], ..WEAK };
    for found in [&WEAK, &good, &hostile] {
        let document = judged(&stage, &policies, found);
        assert_eq!(faults(&schema, &document), Vec::<String>::new());
        assert_eq!(document, judged(&stage, &policies, found), "the same again");
    }
    let weak = judged(&stage, &policies, &WEAK);
    assert_eq!(
        states(&weak),
        [
            ("tls-versions_obj", "not-satisfied", "fail"),
            ("cards_obj", "not-satisfied", "other"),
            ("names_obj", "not-satisfied", "other"),
            ("later_obj", "not-satisfied", "fail"),
            ("_2nd-chance_obj", "not-satisfied", "other"),
        ]
    );
    assert!(weak.to_string().contains("mabel.okoro"), "the member is told who");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/national");
    let whole = judged(&stage, &shipped, &WEAK);
    assert_eq!(faults(&schema, &whole), Vec::<String>::new());
    assert!(states(&whole).len() > 150);
}

#[test]
fn a_check_writes_one_too() {
    let stage = stage("");
    secret(&stage.path("password"), "secret");
    let (password, to) = (stage.path("password"), stage.path("oscal.json"));
    let (policies, anchors) = (stage.path("policies"), stage.path("ca.pem"));
    let mut arguments = vec!["check", "127.0.0.1:9", "--bind-dn", "svc@rxa.test", "--oscal", argument(&to)];
    arguments.extend(["--password-file", argument(&password), "--policy", argument(&policies)]);
    arguments.extend(["--anchors", argument(&anchors)]);
    let done = portcullis(&stage, &arguments);
    assert_eq!(done.status.code(), Some(2), "{}", text(&done.stderr));
    let document = document(&stage, "oscal.json");
    assert_eq!(faults(&schema(), &document), Vec::<String>::new());
    let told = states(&document);
    assert!(told.iter().all(|(_, state, _)| *state == "not-satisfied"), "nothing could be told: {told:?}");
}

#[test]
fn broken_documents_are_refused() {
    let (schema, stage) = (schema(), stage(EXCEPTION));
    let whole = judged(&stage, &stage.path("policies"), &WEAK);
    let result = "/assessment-results/results/0";
    let set = |path: &str, value: Value| {
        let mut broken = whole.clone();
        *broken.pointer_mut(path).unwrap() = value;
        broken
    };
    let without = |path: &str, key: &str| {
        let mut broken = whole.clone();
        let removed = broken.pointer_mut(path).unwrap().as_object_mut().unwrap().remove(key);
        assert!(removed.is_some(), "{path} has no {key}");
        broken
    };
    let with = |path: &str, key: &str| {
        let mut broken = whole.clone();
        broken.pointer_mut(path).unwrap()[key] = json!("x");
        broken
    };
    let finding = format!("{result}/findings/0");
    let selected = format!("{result}/reviewed-controls/control-selections/0/include-controls/0/control-id");
    let broken = [
        without("/assessment-results", "import-ap"),
        without("/assessment-results/metadata", "last-modified"),
        without(result, "reviewed-controls"),
        without(&format!("{result}/observations/0"), "methods"),
        without(&format!("{result}/risks/0"), "statement"),
        without(&format!("{finding}/target"), "status"),
        with("/assessment-results", "offenders"),
        with(&finding, "severity"),
        set("/assessment-results/uuid", json!("2b1f0a6e-0000-1000-8000-000000000000")),
        set("/assessment-results/results", json!([])),
        set("/assessment-results/metadata/last-modified", json!("2026-11-24 12:00")),
        set(&selected, json!("2nd-chance")),
        set(&format!("{result}/props/0/value"), json!("two\nlines")),
        set(&format!("{result}/props/0/ns"), json!("no namespace")),
        set(&format!("{finding}/target/status/state"), json!("unknown")),
        set(&format!("{finding}/target/type"), json!("control-id")),
        set(&format!("{finding}/related-observations"), json!([])),
    ];
    for (number, document) in broken.iter().enumerate() {
        assert!(!faults(&schema, document).is_empty(), "broken document {number} was taken");
    }
}

#[test]
fn the_national_document_has_a_result_for_each_member_and_names_nobody() {
    let (schema, stage) = (schema(), stage(""));
    let now = portcullis::ambient::clock::Clock::system().now();
    let good = Found { versions: &["tls1.3"], name: Fact::boolean(true), without: &[] };
    keep(&stage, evidence("RXA", now - Duration::hours(2), &good));
    let latest = keep(&stage, evidence("RXA", now - Duration::hours(1), &WEAK));
    keep(&stage, evidence("RXB", now, &good));
    let config = stage.config();
    let store = SqliteStore::open(&config.data_dir, &config.store).unwrap();
    enrol(&stage, &store, "RXC");
    let to = stage.path("national.json");
    let done = portcullis(&stage, &["report", "national", "--oscal", argument(&to), "--json"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let summary: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&summary["members"], &summary["would_open"]["lookup"]), (&json!(2), &json!(1)));
    assert_eq!(summary["not_assessed"], json!(["RXC"]));
    let document = document(&stage, "national.json");
    assert_eq!(faults(&schema, &document), Vec::<String>::new());
    let results = document["assessment-results"]["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    let ids = |result: &Value| {
        let props = result["props"].as_array().unwrap();
        props.iter().find(|p| p["name"] == "assessment-id").unwrap()["value"].clone()
    };
    assert_eq!(ids(&results[0]), latest, "the latest of each");
    let bytes = std::fs::read(&to).unwrap();
    let written = text(&bytes);
    for name in ["mabel", "ines.duarte", "OU=Staff", "CN="] {
        assert!(!written.contains(name) && !text(&done.stdout).contains(name), "{name}");
    }
    assert_eq!(written.matches("\"offender-hash\"").count(), 2, "each of the two is a keyed hash");
    portcullis(&stage, &["report", "national", "--oscal", argument(&to)]);
    assert_eq!(std::fs::read(&to).unwrap(), bytes, "the same assessments give the same bytes");
    assert!(!stage.path("national.json.part").exists());

    let said = text(&portcullis(&stage, &["report", "national"]).stdout);
    assert!(said.starts_with("national: 2 members assessed\n  lookup: nothing denies it at 1\n"), "{said}");
    assert!(
        said.contains("never assessed: RXC") && said.contains("tls-versions  1     0        0"),
        "{said}"
    );
    let none = portcullis(&stage, &["report", "national", "--baseline", "other", "--oscal", argument(&to)]);
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("no member has an assessment by the baseline `other`"));
}
