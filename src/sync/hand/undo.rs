//! The inverse of what a plan wrote: pure, from the journal and what is in the national directory now.
//!
//! Steps are taken back in reverse. An entry that is not as the plan left it is somebody's later work: nothing of it is
//! taken back, nor what would need that.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::policy::terms::OdsCode;
use crate::store::record::JournalEntry;
use crate::sync::hand::standing::Standing;
use crate::sync::people::desired::NAMING;
use crate::sync::people::naming;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::step::{Action, Change, Plan, Step};
use crate::sync::terms::target::{ANCHOR, LEFT_AT, MEMBER, TargetEntry, TargetView};
use crate::sync::writing::record::Record;

/// What the rule of a step that undoes is called.
pub const RULE: &str = "undo";

/// A step that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its number in its plan.
    pub number: usize,
    /// As it was written, the time filled in.
    pub step: Step,
    pub record: Record,
}

/// A step that is not undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its number in the plan that is undone.
    pub step: usize,
    pub action: Action,
    pub guid: Option<Guid>,
    pub dn: String,
    /// One sentence.
    pub text: String,
    /// Whether something of the plan stands on for it; not when it was undone before.
    pub stands: bool,
}

/// Why an account's steps are not undone.
#[derive(Debug, Clone)]
struct Why {
    text: String,
    stands: bool,
}

impl Why {
    fn stands(text: impl Into<String>) -> Why {
        Why { text: text.into(), stands: true }
    }

    fn undone() -> Why {
        Why { text: "it is undone already".to_owned(), stands: false }
    }
}

/// What undoing comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inverse {
    pub plan: Plan,
    pub kept: Vec<Kept>,
    /// What does not come back although its step is undone, one sentence each.
    pub losses: Vec<String>,
}

/// The steps of a plan that were done, by number. A plan that ran more than once counts as it ran last.
pub fn written(lines: Vec<JournalEntry>) -> Vec<Written> {
    let mut begun: BTreeMap<u64, Step> = BTreeMap::new();
    let mut done: BTreeMap<u64, Written> = BTreeMap::new();
    for JournalEntry { entry, .. } in lines {
        match entry.phase.as_str() {
            "intended" => {
                done.remove(&entry.step);
                if let Ok(step) = serde_json::from_slice(&entry.document) {
                    begun.insert(entry.step, step);
                }
            }
            "done" | "found_done" => {
                if let Some(step) = begun.remove(&entry.step) {
                    let record = serde_json::from_slice(&entry.document).unwrap_or_default();
                    let number = usize::try_from(entry.step).unwrap_or(usize::MAX);
                    done.insert(entry.step, Written { number, step, record });
                }
            }
            _ => {
                begun.remove(&entry.step);
            }
        }
    }
    done.into_values().collect()
}

/// The plan that takes `written` back, as far as `view` is as it was left and nobody is listed by it who is not published now. `plan` is
/// the hash of what is undone.
pub fn inverse(
    member: &OdsCode,
    plan: &str,
    written: &[Written],
    view: &TargetView,
    standing: &Standing,
) -> Inverse {
    let now = Now::of(view);
    let mut chains: BTreeMap<Guid, Vec<&Written>> = BTreeMap::new();
    let mut kept = Vec::new();
    for one in written {
        match &one.step.anchor {
            Some(anchor) => chains.entry(anchor.guid).or_default().push(one),
            None => {
                let text = "the organisational unit stays: by itself it lists nobody".to_owned();
                kept.push(keep(one, &Why { text, stands: false }));
            }
        }
    }
    let mut refused: BTreeMap<Guid, Why> = BTreeMap::new();
    let mut back: BTreeMap<usize, Step> = BTreeMap::new();
    let mut losses = Vec::new();
    for (guid, chain) in &chains {
        let steps = now.as_left(chain).and_then(|entry| {
            let steps = reversed(chain, entry, plan);
            let against = steps.values().find_map(|step| standing.against(step));
            against.map_or(Ok(steps), |text| Err(Why::stands(text)))
        });
        match steps {
            Ok(steps) => {
                let nothing = chain.iter().filter(|one| !steps.contains_key(&one.number));
                let text =
                    "it put right what somebody else had made of the entry, and that stays right".to_owned();
                kept.extend(nothing.map(|one| keep(one, &Why { text: text.clone(), stands: false })));
                back.extend(steps);
                losses.extend(chain.iter().filter_map(|one| loss(one)));
            }
            Err(why) => {
                refused.insert(*guid, why);
            }
        }
    }
    // what is refused keeps its names and mails, which may refuse the next
    while refuse(&now, written, &back, &mut refused) {
        back.retain(|_, step| !step.anchor.as_ref().is_some_and(|anchor| refused.contains_key(&anchor.guid)));
    }
    for (guid, why) in &refused {
        kept.extend(chains.get(guid).into_iter().flatten().map(|one| keep(one, why)));
    }
    kept.sort_by_key(|one| one.step);
    let people = view.published();
    Inverse { plan: Plan::new(member.clone(), numbered(back, written), Vec::new(), people), kept, losses }
}

fn keep(one: &Written, why: &Why) -> Kept {
    Kept {
        step: one.number,
        action: one.step.action,
        guid: one.step.anchor.as_ref().map(|anchor| anchor.guid),
        dn: one.step.to.clone().unwrap_or_else(|| one.step.dn.clone()),
        text: why.text.clone(),
        stands: why.stands,
    }
}

/// What does not come back with a deleted entry.
fn loss(one: &Written) -> Option<String> {
    if one.step.action != Action::Delete {
        return None;
    }
    let name = &one.step.dn;
    if one.record.before.is_none() {
        return Some(format!("{name}: only what was published is known of it; what others had added is not"));
    }
    let left = one.record.left_out.join(", ");
    (!left.is_empty()).then(|| format!("{name}: {left} is not kept in the journal and must be set again"))
}

/// Steps in reverse order with the reversed needs, numbered anew.
fn numbered(back: BTreeMap<usize, Step>, written: &[Written]) -> Vec<Step> {
    let new: BTreeMap<usize, usize> = back.keys().rev().enumerate().map(|(new, old)| (*old, new)).collect();
    let mut needs: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for one in written {
        for need in &one.step.needs {
            if let Some(later) = new.get(&one.number) {
                needs.entry(*need).or_default().insert(*later);
            }
        }
    }
    back.into_iter()
        .rev()
        .map(|(old, step)| Step {
            needs: needs.remove(&old).unwrap_or_default().into_iter().collect(),
            ..step
        })
        .collect()
}

/// The national entries, by what they are looked up by.
struct Now<'a> {
    view: &'a TargetView,
    by_anchor: BTreeMap<Guid, Vec<&'a TargetEntry>>,
    by_uuid: BTreeMap<&'a str, &'a TargetEntry>,
}

impl<'a> Now<'a> {
    fn of(view: &'a TargetView) -> Now<'a> {
        let mut by_anchor: BTreeMap<Guid, Vec<&TargetEntry>> = BTreeMap::new();
        for entry in &view.entries {
            if let Some(anchor) = entry.anchor() {
                by_anchor.entry(anchor.guid).or_default().push(entry);
            }
        }
        let by_uuid = view.entries.iter().map(|entry| (entry.entry_uuid.as_str(), entry)).collect();
        Now { view, by_anchor, by_uuid }
    }

    /// The entry as the steps of one account left it, none after a deletion; or why it is not.
    fn as_left(&self, chain: &[&Written]) -> Result<Option<&'a TargetEntry>, Why> {
        let Some(last) = chain.last() else { return Ok(None) };
        let anchored = last
            .step
            .anchor
            .as_ref()
            .and_then(|anchor| self.by_anchor.get(&anchor.guid))
            .map(Vec::as_slice)
            .unwrap_or_default();
        if last.step.action == Action::Delete {
            return match anchored {
                [] => Ok(None),
                [one]
                    if chain
                        .first()
                        .is_some_and(|first| naming::key(&first.step.dn) == naming::key(&one.dn)) =>
                {
                    Err(Why::undone())
                }
                _ => Err(Why::stands("the person has another entry now")),
            };
        }
        let entry = match anchored {
            [one] => *one,
            // a step that untied the entry left it without an anchor
            [] => {
                last.step.entry_uuid.as_deref().and_then(|uuid| self.by_uuid.get(uuid).copied()).ok_or_else(
                    || match last.step.action {
                        Action::Create => Why::undone(),
                        _ => Why::stands("the entry is not there any more"),
                    },
                )?
            }
            _ => return Err(Why::stands("two entries carry this anchor: delete the wrong one")),
        };
        if is_before(chain, entry) {
            return Err(Why::undone());
        }
        let differs = differing(chain, entry);
        let same_version = last.record.csn.as_ref().is_none_or(|csn| *csn == entry.entry_csn);
        match (differs.is_empty(), same_version) {
            (true, true) => Ok(Some(entry)),
            (true, false) => Err(Why::stands("the entry was changed since, in what this plan did not write")),
            (false, _) => Err(Why::stands(format!("the entry was changed since: {}", differs.join(", ")))),
        }
    }
}

fn set(values: &[String]) -> BTreeSet<String> {
    values.iter().map(|value| naming::key(value)).collect()
}

/// Whether the entry is as it was before the chain, in all that the chain wrote.
fn is_before(chain: &[&Written], entry: &TargetEntry) -> bool {
    let mut was: BTreeMap<&str, &[String]> = BTreeMap::new();
    for one in chain {
        for change in one.step.changes.iter().filter(|change| comes_back(&one.step, change)) {
            was.entry(&change.attribute).or_insert(&change.before);
        }
    }
    let first = chain.first().map(|one| &one.step);
    first.is_some_and(|step| step.action != Action::Create && naming::key(&step.dn) == naming::key(&entry.dn))
        && was.into_iter().all(|(attribute, before)| set(before) == set(entry.values(attribute)))
}

/// Names of what is not as the chain left it.
fn differing(chain: &[&Written], entry: &TargetEntry) -> Vec<String> {
    let mut left: BTreeMap<&str, &[String]> = BTreeMap::new();
    let mut name = None;
    for one in chain {
        left.extend(one.step.after());
        name = one.step.to.as_deref().or(name);
        if one.step.action == Action::Create {
            name = Some(&one.step.dn);
        }
    }
    let mut differs: Vec<String> = left
        .into_iter()
        // a server may add superior classes to those that were written
        .filter(|(attribute, after)| match *attribute {
            // goes with the name, which is held against it below
            NAMING => false,
            "objectclass" => !set(after).is_subset(&set(entry.values(attribute))),
            _ => set(after) != set(entry.values(attribute)),
        })
        .map(|(attribute, _)| attribute.to_owned())
        .collect();
    if name.is_some_and(|name| naming::key(name) != naming::key(&entry.dn)) {
        differs.push("its name".to_owned());
    }
    differs
}

/// The steps of one account in reverse, by the number of what each undoes.
fn reversed(chain: &[&Written], entry: Option<&TargetEntry>, plan: &str) -> BTreeMap<usize, Step> {
    let short: String = plan.chars().take(12).collect();
    let mut dn = entry.map(|entry| entry.dn.clone()).unwrap_or_default();
    let mut back = BTreeMap::new();
    for one in chain.iter().rev() {
        let was = &one.step;
        let mut step = Step {
            action: Action::Modify,
            anchor: was.anchor.clone(),
            dn: dn.clone(),
            to: None,
            entry_uuid: entry.map(|entry| entry.entry_uuid.clone()),
            entry_csn: entry.map(|entry| entry.entry_csn.clone()),
            changes: Vec::new(),
            reason: format!("undoes {} {} of plan {short}", was.action.as_str(), one.number),
            rule: RULE.to_owned(),
            needs: Vec::new(),
        };
        match was.action {
            // has no anchor and is told apart before
            Action::Prepare => continue,
            Action::Create => {
                step.action = Action::Delete;
                step.changes = whole(entry);
            }
            Action::Delete => {
                step.action = Action::Create;
                // what else is taken back of it has the new entry before it, and knows it by its anchor alone
                step.dn.clone_from(&was.dn);
                dn.clone_from(&was.dn);
                step.changes = image(one);
            }
            Action::Rename => {
                step.action = Action::Rename;
                step.to = Some(was.dn.clone());
                dn.clone_from(&was.dn);
            }
            Action::Modify | Action::Join | Action::Claim | Action::Mark | Action::Release => {
                let back = was.changes.iter().filter(|change| comes_back(was, change));
                step.changes = back.map(swapped).collect();
                if step.changes.is_empty() {
                    continue;
                }
                step.action = kind(&step.changes);
            }
        }
        back.insert(one.number, step);
    }
    back
}

/// Whether a change is taken back. Whose an entry is stays as it is, but for an entry that was joined or taken over: what somebody else had made
/// of an anchor, and we put right, no plan of ours writes.
fn comes_back(step: &Step, change: &Change) -> bool {
    let own = match (change.attribute.as_str(), &step.anchor) {
        (ANCHOR, Some(anchor)) => anchor.to_string(),
        (MEMBER, Some(anchor)) => anchor.member.to_string(),
        // the class that an anchor which stays needs
        ("objectclass", Some(_)) => {
            let anchor = step.changes.iter().find(|change| change.attribute == ANCHOR);
            return anchor.is_none_or(|anchor| comes_back(step, anchor));
        }
        _ => return true,
    };
    matches!(step.action, Action::Join | Action::Claim) || step.rule == RULE || change.before == [own]
}

fn swapped(change: &Change) -> Change {
    Change { attribute: change.attribute.clone(), before: change.after.clone(), after: change.before.clone() }
}

/// What guards are to see in a change: one that lists a leaver again is a change, one that marks again takes out of sight.
fn kind(changes: &[Change]) -> Action {
    let sets = |name: &str| {
        changes
            .iter()
            .any(|change| change.attribute == name && change.before.is_empty() && !change.after.is_empty())
    };
    match () {
        () if sets(LEFT_AT) => Action::Mark,
        () if sets(ANCHOR) => Action::Join,
        () => Action::Modify,
    }
}

fn whole(entry: Option<&TargetEntry>) -> Vec<Change> {
    entry
        .into_iter()
        .flat_map(|entry| &entry.attributes)
        .map(|(name, values)| Change { attribute: name.clone(), before: values.clone(), after: Vec::new() })
        .collect()
}

/// The deleted entry: as it was read when it was deleted, else as it was planned.
fn image(one: &Written) -> Vec<Change> {
    let planned = || one.step.changes.iter().map(|c| (c.attribute.clone(), c.before.clone())).collect();
    let image: BTreeMap<String, Vec<String>> = one.record.before.clone().unwrap_or_else(planned);
    let own = one.step.anchor.as_ref();
    let ours = |(attribute, after): (String, Vec<String>)| {
        // somebody may have changed whose it was
        let after = match (attribute.as_str(), own) {
            (ANCHOR, Some(own)) => vec![own.to_string()],
            (MEMBER, Some(own)) => vec![own.member.to_string()],
            _ => after,
        };
        Change { attribute, before: Vec::new(), after }
    };
    // an anchor that was not there when it was deleted has no values
    image.into_iter().filter(|(_, values)| !values.is_empty()).map(ours).collect()
}

/// Looks for steps that cannot be: those that need what is refused, and those that would take a name or a mail of an entry
/// that keeps it. Returns whether there were any.
fn refuse(
    now: &Now<'_>,
    written: &[Written],
    back: &BTreeMap<usize, Step>,
    refused: &mut BTreeMap<Guid, Why>,
) -> bool {
    let guid = |step: &Step| step.anchor.as_ref().map(|anchor| anchor.guid);
    let mut found: BTreeMap<Guid, Why> = BTreeMap::new();
    for later in written {
        let stays = guid(&later.step).filter(|guid| refused.get(guid).is_some_and(|why| why.stands));
        for need in later.step.needs.iter().filter(|_| stays.is_some()) {
            if let Some(mine) = back.get(need).and_then(guid) {
                found.insert(mine, Why::stands("what came after it in the plan is not undone"));
            }
        }
    }
    for (step, what) in taken(now, back) {
        found.extend(guid(step).map(|guid| (guid, Why::stands(format!("{what} is somebody else's now")))));
    }
    // also those that were found in this round only
    let new = found.into_iter().filter(|(guid, _)| !refused.contains_key(guid)).collect::<Vec<_>>();
    let any = !new.is_empty();
    refused.extend(new);
    any
}

/// Steps that take a name or a mail which another entry has and keeps.
fn taken<'s>(now: &Now<'_>, back: &'s BTreeMap<usize, Step>) -> Vec<(&'s Step, &'static str)> {
    // first everybody lets go, then everybody takes
    let (mut leaving, mut moving) = (BTreeSet::new(), BTreeSet::new());
    for step in back.values() {
        let Some(uuid) = step.entry_uuid.as_deref() else { continue };
        match step.action {
            Action::Delete => leaving.insert(uuid),
            Action::Rename => moving.insert(uuid),
            _ => false,
        };
    }
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    let mut mails: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for entry in now.view.entries.iter().filter(|entry| !leaving.contains(entry.entry_uuid.as_str())) {
        let uuid = entry.entry_uuid.as_str();
        if !moving.contains(uuid) {
            names.insert(naming::key(&entry.dn), uuid);
        }
        for mail in entry.values("mail") {
            mails.entry(mail.to_lowercase()).or_default().insert(uuid);
        }
    }
    for step in back.values().filter(|step| step.action != Action::Delete) {
        let Some(uuid) = step.entry_uuid.as_deref() else { continue };
        for change in step.changes.iter().filter(|change| change.attribute == "mail") {
            for mail in change.before.iter().filter(|mail| !change.after.contains(mail)) {
                if let Some(holders) = mails.get_mut(&mail.to_lowercase()) {
                    holders.remove(uuid);
                }
            }
        }
    }
    let mut found = Vec::new();
    for step in back.values().filter(|step| step.action != Action::Delete) {
        let own = step.entry_uuid.as_deref();
        let name = step.to.as_deref().or((step.action == Action::Create).then_some(step.dn.as_str()));
        if name.and_then(|name| names.get(&naming::key(name))).is_some_and(|holder| Some(*holder) != own) {
            found.push((step, "its name"));
        }
        let mut claims = step.changes.iter().filter(|change| change.attribute == "mail");
        if claims.any(|change| {
            let new = change.after.iter().filter(|mail| !change.before.contains(mail));
            let mut holders = new.filter_map(|mail| mails.get(&mail.to_lowercase())).flatten();
            holders.any(|holder| Some(*holder) != own)
        }) {
            found.push((step, "its mail"));
        }
    }
    found
}

#[cfg(test)]
mod tests;
