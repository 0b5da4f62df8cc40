//! What two plans would do differently. Versions of entries and numbers of steps do not count: a plan that was made again
//! after somebody touched an entry elsewhere writes the same.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::sync::people::naming;
use crate::sync::terms::step::{Action, Plan, Step};

/// How a step differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Only the second plan has it.
    Added,
    /// Only the first plan has it.
    Dropped,
    /// Both have it, with other values.
    Changed,
}

/// One step that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub how: How,
    /// As the second plan has it; as the first has it when it was dropped.
    pub step: Step,
    /// As the first plan has it, when it is changed.
    pub before: Option<Step>,
}

/// Kind, whose entry, and which of several of this kind.
type Key = (Action, String, usize);

fn keyed(plan: &Plan) -> BTreeMap<Key, &Step> {
    let mut several: BTreeMap<(Action, String), usize> = BTreeMap::new();
    plan.steps
        .iter()
        .map(|step| {
            let whose = step.anchor.as_ref().map_or_else(|| naming::key(&step.dn), ToString::to_string);
            let turn = several.entry((step.action, whose.clone())).or_insert(0);
            *turn += 1;
            ((step.action, whose, *turn), step)
        })
        .collect()
}

fn same(one: &Step, other: &Step) -> bool {
    one.dn == other.dn && one.to == other.to && one.changes == other.changes
}

/// The steps that differ, by kind and whose they are.
pub fn compare(first: &Plan, second: &Plan) -> Vec<Difference> {
    let (mut before, after) = (keyed(first), keyed(second));
    let mut found: Vec<(Key, Difference)> = Vec::new();
    for (key, step) in after {
        let was = before.remove(&key);
        if was.is_some_and(|was| same(was, step)) {
            continue;
        }
        let how = if was.is_some() { How::Changed } else { How::Added };
        found.push((key, Difference { how, step: step.clone(), before: was.cloned() }));
    }
    let dropped = before.into_iter();
    found.extend(
        dropped.map(|(key, step)| (key, Difference { how: How::Dropped, step: step.clone(), before: None })),
    );
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found.into_iter().map(|(_, difference)| difference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::terms::guid::Guid;
    use crate::sync::terms::step::Change;
    use crate::sync::terms::target::Anchor;

    fn step(number: u8, title: &str, csn: &str) -> Step {
        Step {
            action: Action::Modify,
            anchor: Some(Anchor { member: "RXA".parse().unwrap(), guid: Guid([number; 16]) }),
            dn: format!("uid={number}"),
            to: None,
            entry_uuid: None,
            entry_csn: Some(csn.to_owned()),
            changes: vec![Change {
                attribute: "title".into(),
                before: Vec::new(),
                after: vec![title.to_owned()],
            }],
            reason: String::new(),
            rule: String::new(),
            needs: Vec::new(),
        }
    }

    #[test]
    fn steps_are_held_against_each_other_by_whose_they_are() {
        let plan = |steps: Vec<Step>| Plan::new("RXA".parse().unwrap(), steps, Vec::new(), 0);
        let first = plan(vec![step(1, "Nurse", "1"), step(2, "Nurse", "1"), step(3, "Nurse", "1")]);
        let second = plan(vec![step(1, "Nurse", "2"), step(3, "Matron", "1"), step(4, "Nurse", "1")]);
        assert_ne!(first.hash, second.hash);
        assert_eq!(
            compare(&first, &plan(vec![step(3, "Nurse", "9"), step(1, "Nurse", "9"), step(2, "Nurse", "9")])),
            []
        );
        let found = compare(&first, &second);
        let told: Vec<(How, &str)> = found.iter().map(|one| (one.how, one.step.dn.as_str())).collect();
        assert_eq!(told, [(How::Dropped, "uid=2"), (How::Changed, "uid=3"), (How::Added, "uid=4")]);
    }
}
