//! The shipped policies check, and their own tests hold.

use std::collections::BTreeSet;
use std::path::Path;

use portcullis::baseline::compile::{self, Compiled};
use portcullis::baseline::trial;
use portcullis::policy::set::PolicySet;

fn national() -> PolicySet {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    PolicySet::load(&folder).unwrap_or_else(|faults| {
        panic!("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

#[test]
fn the_national_baseline_has_no_fault() {
    let set = national();
    let faults: Vec<String> =
        compile::check(&set).into_iter().chain(trial::check(&set)).map(|f| f.to_string()).collect();
    assert_eq!(faults, Vec::<String>::new());
    assert!(set.controls.len() >= 25, "{} controls", set.controls.len());
    let compiled = Compiled::compile(&set, "national", Some("practice")).unwrap();
    assert!(compiled.requirements().probes.contains("smartcard.card_logon_works"));
    let users = compiled.requirements().reads.iter().find(|read| read.name == "users").unwrap();
    assert!(users.computed.contains("privileged") && users.attributes.contains_key("smartcard_required"));
}

#[test]
fn every_control_has_a_passing_a_failing_and_an_unknown_case_and_all_hold() {
    let trial = trial::run(&national()).unwrap();
    let failures: Vec<String> = trial
        .outcomes
        .iter()
        .flat_map(|o| o.failures.iter().map(move |f| format!("{}: {f}", o.name)))
        .collect();
    assert_eq!(failures, Vec::<String>::new());
    assert_eq!((trial.without_pass, trial.without_fail), (Vec::new(), Vec::new()));
    let blind = trial.coverage.iter().filter(|cases| cases.unknown == 0);
    assert_eq!(blind.map(|cases| cases.control.as_str()).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn every_control_says_why_and_how_to_fix_it() {
    for control in national().controls.values() {
        assert!(control.why.trim().len() > 20, "{}", control.id);
        assert!(control.fix.trim().len() > 20, "{}", control.id);
    }
}

#[test]
fn the_table_of_coverage_has_every_control_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/national/COVERAGE.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.matches('|').count() == 6);
    let listed: BTreeSet<&str> =
        rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let set = national();
    let controls: BTreeSet<&str> = set.controls.keys().map(String::as_str).collect();
    assert_eq!(listed, controls);
}
