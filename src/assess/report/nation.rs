//! Every member's latest assessment by one baseline, counted. It names members and controls, never who offends.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::baseline::assessment::{Assessment, Verdict};
use crate::policy::terms::{Grant, OdsCode};

/// The counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The baseline's id.
    pub baseline: String,
    /// Members whose latest assessment is counted.
    pub members: u64,
    /// How many of them each policy set judged, by its hash: more than one while a change of policy is on its way.
    pub policy_sets: BTreeMap<String, u64>,
    /// For each grant: how many members nothing denies it. Whether a gate is open is for `gate list` to say.
    pub would_open: BTreeMap<Grant, u64>,
    /// Controls that do not hold everywhere, or hold somewhere by a statement alone; those that fail at most members first.
    pub controls: Vec<Control>,
    /// Members of which no assessment is kept.
    pub not_assessed: Vec<OdsCode>,
    /// Members whose latest assessment is by another baseline.
    pub other_baseline: Vec<OdsCode>,
}

/// How many members one control does not hold at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Control {
    pub control: String,
    pub title: String,
    /// Members at which it fails, could not be told, or is set aside by an exception.
    pub fail: u64,
    pub unknown: u64,
    pub excepted: u64,
    /// Members at which it passes because they state it: nothing was measured.
    pub stated: u64,
}

impl Summary {
    /// Of no member yet.
    pub fn of(baseline: &str) -> Summary {
        Summary {
            baseline: baseline.to_owned(),
            members: 0,
            policy_sets: BTreeMap::new(),
            would_open: Grant::ALL.map(|grant| (grant, 0)).into(),
            controls: Vec::new(),
            not_assessed: Vec::new(),
            other_baseline: Vec::new(),
        }
    }

    /// Counts one member's latest assessment.
    pub fn add(&mut self, assessment: &Assessment) {
        self.members += 1;
        *self.policy_sets.entry(assessment.policy_hash.clone()).or_default() += 1;
        for (grant, _) in assessment.grants.iter().filter(|(_, verdict)| verdict.would_open) {
            *self.would_open.entry(*grant).or_default() += 1;
        }
        let mut known: BTreeMap<String, Control> =
            std::mem::take(&mut self.controls).into_iter().map(|c| (c.control.clone(), c)).collect();
        for finding in &assessment.findings {
            let (fail, unknown, excepted, stated) = match finding.verdict {
                Verdict::Pass if !finding.stated.is_empty() => (0, 0, 0, 1),
                Verdict::Pass | Verdict::NotApplicable => continue,
                Verdict::Fail => (1, 0, 0, 0),
                Verdict::Unknown => (0, 1, 0, 0),
                Verdict::Excepted => (0, 0, 1, 0),
            };
            let control = known.entry(finding.control.clone()).or_insert_with(|| Control {
                control: finding.control.clone(),
                title: finding.title.clone(),
                fail: 0,
                unknown: 0,
                excepted: 0,
                stated: 0,
            });
            control.fail += fail;
            control.unknown += unknown;
            control.excepted += excepted;
            control.stated += stated;
        }
        self.controls = known.into_values().collect();
        self.controls.sort_by_key(|control| std::cmp::Reverse((control.fail, control.unknown)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assess::report::page::fixture::{assess, evidence, no, people, yes};
    use crate::baseline::facts::Fact;

    #[test]
    fn members_are_counted_and_what_fails_most_comes_first() {
        let mut summary = Summary::of("x");
        summary.add(&assess(&people(&[("a", false)]), &[]));
        summary.add(&assess(&evidence(no(), yes(), &[("a", false)], yes()), &[]));
        summary.add(&assess(&evidence(yes(), yes(), &[], Fact::Hidden), &[]));
        assert_eq!(summary.members, 3);
        assert_eq!(summary.would_open, BTreeMap::from([(Grant::Lookup, 2), (Grant::Sync, 0)]));
        let cards = &summary.controls[0];
        assert_eq!((cards.control.as_str(), cards.fail, cards.unknown), ("cards", 2, 1));
        assert!(summary.controls.iter().any(|c| c.control == "chain" && c.fail == 1));
        assert!(!serde_json::to_string(&summary).unwrap().contains("CN="));
    }
}
