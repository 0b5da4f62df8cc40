use super::*;
use crate::assess::report::page::fixture::{NOW, POLICY, assess, compiled, evidence, no, people, yes};
use crate::baseline::evaluate::evaluate;
use crate::baseline::facts::Fact;

fn controls(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.controls[0].as_str()).collect()
}

#[test]
fn what_opens_a_gate_soonest_comes_first() {
    let steps = first(&assess(&evidence(no(), no(), &[("a", false), ("b", false)], yes()), &[]));
    // `rarely` and `chain` deny both grants; of what denies only sync, one setting is less than two people
    assert_eq!(controls(&steps), ["chain", "rarely", "names", "cards"]);
    assert_eq!(steps[0].denies, [Grant::Lookup, Grant::Sync]);
    assert!(steps[0].opens.is_empty());
    assert_eq!(steps[1].opens, [Opens { grant: Grant::Lookup, certain: true }]);
    assert_eq!(steps[3].opens, [Opens { grant: Grant::Sync, certain: true }]);
    assert_eq!((steps[2].objects, steps[3].objects), (Some(1), Some(2)));
}

#[test]
fn the_gate_with_less_to_do_comes_first() {
    let policy = POLICY.replace("title: Nobody is old, severity: low", "title: T, severity: critical");
    let mut evidence = evidence(yes(), no(), &[("a", true)], yes());
    evidence.facts.collections.remove("users");
    let steps = first(&evaluate(&compiled(&policy), &evidence, &[], NOW));
    assert_eq!(
        controls(&steps)[0],
        "cards",
        "what leaves `young` unknown is all that lookup needs: {steps:#?}"
    );
    assert_eq!(steps[0].opens, [Opens { grant: Grant::Lookup, certain: false }]);
}

#[test]
fn what_one_cause_leaves_unknown_is_one_step_and_no_promise() {
    let policy = POLICY.replace("title: Nobody is old, severity: low", "title: T, severity: critical");
    let evidence = evidence(yes(), yes(), &[], Fact::Failed("no answer in 5 s".into()));
    let steps = first(&evaluate(&compiled(&policy), &evidence, &[], NOW));
    assert_eq!(steps.len(), 1, "{steps:#?}");
    let step = &steps[0];
    assert_eq!((step.todo, step.what.as_str(), step.objects), (Todo::MakeReadable, "users.complete", None));
    assert_eq!(step.controls, ["cards", "young"]);
    assert_eq!((step.severity, step.cause.as_str()), (Severity::Critical, "no answer in 5 s"));
    assert!(step.opens.iter().all(|opens| !opens.certain) && step.opens.len() == 2);
}

#[test]
fn nothing_is_to_be_done_where_every_grant_would_open() {
    assert_eq!(first(&assess(&people(&[("a", true)]), &[])), []);
}
