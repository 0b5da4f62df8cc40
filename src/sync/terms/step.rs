//! A plan and its steps, as values: what the journal, the approval and the person reading see.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::policy::signature::hex;
use crate::policy::terms::OdsCode;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::target::{ANCHOR, Anchor, LEFT_AT, STAMP, left_stamp};

/// Stands for the time of execution in a planned value, so that a plan made again is the same plan.
pub const NOW: &str = "{now}";

/// What a step does, in the order in which kinds follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Creates the member's organisational unit.
    Prepare,
    /// Takes a value that must be unique from its holder, because somebody else is to have it.
    Release,
    /// Marks a leaver and takes everything off the entry that would list the person.
    Mark,
    /// Changes attributes of an entry.
    Modify,
    /// Ties an entry that was there before to an account.
    Join,
    /// Takes over an entry that another organisation has released.
    Claim,
    /// Gives an entry another name.
    Rename,
    /// Creates an entry.
    Create,
    /// Deletes the entry of somebody whose time has run out.
    Delete,
}

impl Action {
    pub const ALL: [Action; 9] = [
        Action::Prepare,
        Action::Release,
        Action::Mark,
        Action::Modify,
        Action::Join,
        Action::Claim,
        Action::Rename,
        Action::Create,
        Action::Delete,
    ];

    /// The word for labels and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Prepare => "prepare",
            Action::Release => "release",
            Action::Modify => "modify",
            Action::Join => "join",
            Action::Claim => "claim",
            Action::Mark => "mark",
            Action::Rename => "rename",
            Action::Create => "create",
            Action::Delete => "delete",
        }
    }

    /// Whether it takes somebody out of sight.
    pub const fn removes(self) -> bool {
        matches!(self, Action::Mark | Action::Delete)
    }
}

/// One attribute before and after. No values: absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub attribute: String,
    pub before: Vec<String>,
    pub after: Vec<String>,
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub action: Action,
    /// The account behind the entry; none for the organisational unit.
    pub anchor: Option<Anchor>,
    /// The entry's name when the step begins.
    pub dn: String,
    /// Its name afterwards, when it changes.
    pub to: Option<String>,
    /// The entry that was planned against: its identity and its version, which the write holds against it. They are called by
    /// their names on OpenLDAP; elsewhere they are others ([`crate::sync::writing::national`]).
    pub entry_uuid: Option<String>,
    pub entry_csn: Option<String>,
    pub changes: Vec<Change>,
    /// Why, one sentence without personal data.
    pub reason: String,
    /// Which rule of planning asks for it.
    pub rule: String,
    /// Steps of the same plan that must have been done before, by number.
    pub needs: Vec<usize>,
}

impl Step {
    /// The anchor that the entry carries when the step begins; none: it carries none.
    pub fn anchor_before(&self) -> Option<String> {
        match self.changes.iter().find(|change| change.attribute == ANCHOR) {
            Some(change) => change.before.first().cloned(),
            None => self.anchor.as_ref().map(ToString::to_string),
        }
    }

    /// The step with what is only known when it is done: the time, and the stamp that covers it.
    #[must_use]
    pub fn at(mut self, now: &str) -> Step {
        let marks = self
            .changes
            .iter()
            .any(|change| change.attribute == LEFT_AT && change.after.iter().any(|value| value == NOW));
        for change in &mut self.changes {
            for value in &mut change.after {
                if value == NOW {
                    now.clone_into(value);
                } else if marks && change.attribute == STAMP {
                    *value = left_stamp(value, now);
                }
            }
        }
        self
    }

    /// The attributes after the step that were named by it.
    pub fn after(&self) -> BTreeMap<&str, &[String]> {
        self.changes.iter().map(|change| (change.attribute.as_str(), change.after.as_slice())).collect()
    }
}

/// A person or an attribute that is held back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Quarantine {
    pub guid: Guid,
    /// The attribute; none when the whole person is held back.
    pub attribute: Option<String>,
    /// A fixed word: `no_name`, `no_surname`, `mail_domain`, `duplicate`, `mail_elsewhere`, `mail_of_nobody`, `has_below`, `ambiguous`, `name_taken`, `anchor_twice`,
    /// `owner_paused`, `closed`, `conflict`, `not_text`, `unfit`, `refused`, `partial`, `rewritten`.
    pub code: String,
    /// One sentence, says what to do.
    pub text: String,
}

/// The exact, ordered, hashed list of writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub member: OdsCode,
    /// SHA-256 over member and steps, lower-case hex. Two plans with the same hash do the same writes.
    pub hash: String,
    pub steps: Vec<Step>,
    pub quarantine: Vec<Quarantine>,
    /// How many people are in scope, held ones included.
    pub people: u64,
    /// Of whom something is left for the next plan, because a name is in the way.
    #[serde(skip)]
    pub later: BTreeSet<Guid>,
}

impl Plan {
    /// A plan of these steps, whose `needs` point into them.
    pub fn new(member: OdsCode, steps: Vec<Step>, quarantine: Vec<Quarantine>, people: u64) -> Plan {
        let hash = hash_of(&member, &steps);
        Plan { member, hash, steps, quarantine, people, later: BTreeSet::new() }
    }

    /// Whether the content still is what the hash says.
    pub fn is_sound(&self) -> bool {
        hash_of(&self.member, &self.steps) == self.hash
    }

    /// How many steps of each kind there are.
    pub fn counts(&self) -> BTreeMap<Action, u64> {
        let mut counts = BTreeMap::new();
        for step in &self.steps {
            *counts.entry(step.action).or_insert(0) += 1;
        }
        counts
    }

    /// The plan of only those steps for which `keep` holds and all of whose needs are kept, numbered anew.
    pub fn only(&self, keep: impl Fn(usize, &Step) -> bool) -> Plan {
        let mut kept: BTreeMap<usize, usize> = BTreeMap::new();
        let mut steps = Vec::new();
        for (number, step) in self.steps.iter().enumerate() {
            // needs always point backwards
            let needs: Option<Vec<usize>> = step.needs.iter().map(|need| kept.get(need).copied()).collect();
            if let (true, Some(needs)) = (keep(number, step), needs) {
                kept.insert(number, steps.len());
                steps.push(Step { needs, ..step.clone() });
            }
        }
        Plan::new(self.member.clone(), steps, self.quarantine.clone(), self.people)
    }

    /// The plan of exactly the steps at `numbers`; needs outside of them are left out.
    pub fn rest(&self, numbers: &[usize]) -> Plan {
        let new: BTreeMap<usize, usize> = numbers.iter().enumerate().map(|(new, old)| (*old, new)).collect();
        let steps = numbers
            .iter()
            .filter_map(|number| self.steps.get(*number))
            .map(|step| Step {
                needs: step.needs.iter().filter_map(|need| new.get(need).copied()).collect(),
                ..step.clone()
            })
            .collect();
        Plan::new(self.member.clone(), steps, self.quarantine.clone(), self.people)
    }
}

fn hash_of(member: &OdsCode, steps: &[Step]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(member.as_str().as_bytes());
    for step in steps {
        // the values hold no floats and no maps with other keys than text: this cannot fail
        let bytes = serde_json::to_vec(step).unwrap_or_default();
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(&bytes);
    }
    hex(&hasher.finalize())
}
