//! Attributes that somebody else gives another value again and again: a policy of the national directory, or a second engine. Writing ours once
//! more would go on for ever.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::sync::keeping::shelf::Shelf;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::step::Plan;
use crate::sync::terms::target::{ANCHOR, LEFT_AT, MEMBER, STAMP};

/// What says whose an entry is, and since when somebody has left: always put back.
const OURS: [&str; 5] = [ANCHOR, MEMBER, STAMP, LEFT_AT, "objectclass"];
/// So often is a value put back before it is left alone.
const TIMES: u32 = 3;
/// Key in a member's sync state, JSON.
pub const KEY: &str = "rewritten";

/// How often each attribute was put back to one value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewritten(BTreeMap<Guid, BTreeMap<String, Count>>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    /// What we wrote.
    value: Vec<String>,
    times: u32,
}

impl Rewritten {
    /// What is not to be put back once more.
    pub fn left_alone(&self) -> BTreeSet<(Guid, String)> {
        let each = self
            .0
            .iter()
            .flat_map(|(guid, names)| names.iter().map(move |(name, count)| (guid, name, count)));
        each.filter(|(.., count)| count.times >= TIMES).map(|(guid, name, _)| (*guid, name.clone())).collect()
    }

    /// After a plan: what it puts back is counted, what it does not is forgotten unless it is left alone; and a value of the member's own
    /// that changed ends that too.
    pub fn after(&mut self, plan: &Plan) {
        let held: BTreeSet<(Guid, &str)> = plan
            .quarantine
            .iter()
            .filter(|one| one.code == "rewritten")
            .filter_map(|one| Some((one.guid, one.attribute.as_deref()?)))
            .collect();
        let mut next: BTreeMap<Guid, BTreeMap<String, Count>> = BTreeMap::new();
        for (guid, names) in &self.0 {
            for (name, count) in names.iter().filter(|(name, _)| held.contains(&(*guid, name.as_str()))) {
                next.entry(*guid).or_default().insert(name.clone(), count.clone());
            }
        }
        for step in &plan.steps {
            let Some(anchor) = &step.anchor else { continue };
            let back = step.rule == "drift";
            for change in step.changes.iter().filter(|change| !OURS.contains(&change.attribute.as_str())) {
                let before = self.0.get(&anchor.guid).and_then(|names| names.get(&change.attribute));
                let same = before.filter(|count| count.value == change.after).map_or(0, |count| count.times);
                if back {
                    let count = Count { value: change.after.clone(), times: same + 1 };
                    next.entry(anchor.guid).or_default().insert(change.attribute.clone(), count);
                } else {
                    next.entry(anchor.guid).or_default().remove(&change.attribute);
                }
            }
        }
        next.retain(|_, names| !names.is_empty());
        self.0 = next;
    }
}

/// What is known of it.
pub async fn known(shelf: &Shelf) -> Result<Rewritten, SyncError> {
    Ok(shelf.json(KEY).await?.unwrap_or_default())
}

/// Counts what a plan that was executed has put back.
pub async fn note(shelf: &Shelf, plan: &Plan) -> Result<(), SyncError> {
    let before = known(shelf).await?;
    let mut after = before.clone();
    after.after(plan);
    if after == before {
        return Ok(());
    }
    let document = serde_json::to_vec(&after).map_err(|error| SyncError::Internal(error.to_string()))?;
    shelf.set(vec![(KEY.to_owned(), Some(document))]).await
}
