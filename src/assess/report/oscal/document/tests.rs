use serde_json::{Value, json};

use super::*;
use crate::assess::report::closings::{Rules, closings};
use crate::assess::report::page::fixture::{POLICY, assess, compiled, evidence, exception, no, people, yes};
use crate::baseline::facts::Fact;

fn written(assessment: &Assessment) -> Value {
    let closings = closings(assessment, &Rules::of(&compiled(POLICY)), None);
    serde_json::to_value(member(assessment, &closings)).unwrap()
}

fn result(document: &Value) -> &Value {
    &document["assessment-results"]["results"][0]
}

/// What a list says of one control.
fn of<'a>(document: &'a Value, list: &str, control: &str) -> Option<&'a Value> {
    let title = assess(&people(&[]), &[]).finding(control).unwrap().title.clone();
    result(document)[list].as_array()?.iter().find(|entry| entry["title"] == title)
}

fn state(document: &Value, control: &str) -> (Value, Value) {
    let status = &of(document, "findings", control).unwrap()["target"]["status"];
    (status["state"].clone(), status["reason"].clone())
}

#[test]
fn only_a_pass_is_satisfied() {
    let document = written(&assess(&evidence(no(), yes(), &[], Fact::Hidden), &[]));
    assert_eq!(state(&document, "names"), (json!("satisfied"), json!("pass")));
    assert_eq!(state(&document, "chain"), (json!("not-satisfied"), json!("fail")));
    assert_eq!(state(&document, "cards"), (json!("not-satisfied"), json!("other")));
    let cards = of(&document, "findings", "cards").unwrap();
    assert!(
        cards["target"]["status"]["remarks"].as_str().unwrap().contains("could not be told"),
        "{cards:#}"
    );
    assert_eq!(of(&document, "risks", "cards").unwrap()["status"], "open");
    assert!(of(&document, "risks", "names").is_none(), "what passes is no risk");
}

#[test]
fn what_does_not_apply_has_no_finding_and_is_said_to_be_excluded() {
    let document = written(&assess(&people(&[]), &[]));
    assert!(of(&document, "findings", "rarely").is_none());
    let seen = of(&document, "observations", "rarely").unwrap();
    assert!(seen["description"].as_str().unwrap().contains("Does not apply"), "{seen:#}");
    let selection = &result(&document)["reviewed-controls"]["control-selections"][0];
    assert_eq!(selection["exclude-controls"], json!([{ "control-id": "rarely" }]));
}

#[test]
fn an_exception_is_an_approved_deviation_and_not_satisfied() {
    let document = written(&assess(&people(&[("a", false)]), &[exception("cards")]));
    assert_eq!(state(&document, "cards"), (json!("not-satisfied"), json!("other")));
    let risk = of(&document, "risks", "cards").unwrap();
    assert_eq!(
        (&risk["status"], &risk["deadline"]),
        (&json!("deviation-approved"), &json!("2026-12-24T00:00:00Z"))
    );
    assert_eq!(risk["mitigating-factors"][0]["description"], "Looked at daily.");
}

#[test]
fn a_risk_has_the_day_on_which_it_closes_a_gate_and_the_fix() {
    let document = written(&assess(&people(&[("a", false)]), &[]));
    let risk = of(&document, "risks", "cards").unwrap();
    assert_eq!(risk["deadline"], "2026-12-08T12:00:00Z");
    assert_eq!(risk["remediations"][0]["description"], "```\nf\n```");
    assert!(risk["statement"].as_str().unwrap().starts_with("Denies sync"), "{risk:#}");
}

#[test]
fn the_same_assessment_gives_the_same_bytes_and_every_reference_leads_somewhere() {
    let assessment = assess(&people(&[("a", false)]), &[]);
    assert_eq!(written(&assessment).to_string(), written(&assessment).to_string());
    let document = written(&assessment);
    let whole = &document["assessment-results"];
    let resources: Vec<String> = whole["back-matter"]["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|resource| format!("#{}", resource["uuid"].as_str().unwrap()))
        .collect();
    assert!(resources.contains(&whole["import-ap"]["href"].as_str().unwrap().to_owned()));
    let objectives = &whole["local-definitions"]["objectives-and-methods"];
    for finding in result(&document)["findings"].as_array().unwrap() {
        let target = &finding["target"]["target-id"];
        assert!(objectives.as_array().unwrap().iter().any(|o| o["parts"][0]["id"] == *target), "{target}");
        let seen = &finding["related-observations"][0]["observation-uuid"];
        let mut observations = result(&document)["observations"].as_array().unwrap().iter();
        assert!(observations.any(|o| o["uuid"] == *seen));
    }
    for seen in result(&document)["observations"].as_array().unwrap() {
        assert!(resources.contains(&seen["relevant-evidence"][0]["href"].as_str().unwrap().to_owned()));
    }
}

#[test]
fn the_nation_sees_counts_and_keyed_hashes_only() {
    let assessment = assess(&people(&[("mabel.okoro", false), ("b", true)]), &[]);
    let excepted = assess(&people(&[("mabel.okoro", false)]), &[exception("cards")]);
    let all = [assessment, excepted];
    let mut national = National::default();
    all.iter().for_each(|assessment| national.add(assessment));
    let find = |id: &str| all.iter().find(|a| a.id == id).cloned().ok_or_else(|| format!("no {id}"));
    let keyed = Pseudonyms::new(b"a key");
    let text = serde_json::to_string(&national.document(&find, &keyed)).unwrap();
    for secret in ["mabel", "CN=", "head.of.it", "officer@", "build service", "found"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let document: Value = serde_json::from_str(&text).unwrap();
    let props = of(&document, "observations", "cards").unwrap()["props"].as_array().unwrap();
    let value = |name: &str| props.iter().find(|p| p["name"] == name).map(|p| p["value"].as_str().unwrap());
    assert_eq!((value("offenders"), value("judged")), (Some("1"), Some("2")));
    let member = "RXA".parse().unwrap();
    let hash = keyed.of(&member, &all[0].finding("cards").unwrap().offenders[0]);
    assert_eq!(value("offender-hash"), Some(hash.as_str()));
    let lost = |id: &str| Err(format!("{id} is gone"));
    assert!(
        serde_json::to_string(&national.document(&lost, &keyed)).is_err(),
        "a result is never left out silently"
    );
}
