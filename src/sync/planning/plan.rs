//! The plan: a pure function of what is staged, what is published, the scope and the time.
//!
//! Steps come in the order of their kinds: values are released before they are claimed, entries are renamed out of the
//! way before a name is taken, deletions come last. The same input in any order gives the same plan.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::terms::OdsCode;
use crate::sync::people::desired::{self, Desired, Fate, NAMING};
use crate::sync::people::difference::{self, CLASSES, classes, difference};
use crate::sync::people::drift;
use crate::sync::people::guards::RELEASE;
use crate::sync::people::naming::{self, Wish};
use crate::sync::people::survey::Others;
use crate::sync::planning::input::Input;
use crate::sync::planning::state::{Known, NAME_TAKEN, settle};
use crate::sync::terms::guid::Guid;
use crate::sync::terms::step::{Action, Change, NOW, Plan, Step};
use crate::sync::terms::target::{ANCHOR, Anchor, LEFT_AT, MEMBER, STAMP, TargetEntry};

/// What is told of an attribute that is left alone.
const REWRITTEN: &str =
    "somebody else gives this attribute another value again and again: find out who, then resync";
/// What is told of somebody who gets no new entry.
const CLOSED: &str = "the organisation is closed: its successor publishes its people";
/// What is told of a leaver's entry that cannot be deleted.
const BELOW: &str = "other entries lie below the national entry of somebody who leaves (sync drift names them): it is marked, and deleted when they are gone";
/// Why an entry is renamed before anything else.
const NAMED: &str =
    "somebody has named the entry by other attributes: it is renamed before anything else is done";
/// What is told where names and mails wait for one another.
const ROUND: &str = "what is to be done to the entry waits for another's name or mail, and that one for it: give one of them another name in the national directory";
/// What stays on a leaver's entry.
const KEPT: &[&str] = &["cn", "sn", "employeenumber", ANCHOR, MEMBER];

/// Makes the plan.
pub fn plan(input: &Input<'_>) -> Plan {
    let wanted = desired::desired(input.member, input.staged, input.scope, input.bases);
    let mut known = settle(input, wanted);
    refer(input, &mut known);
    let mut drafts = Drafts::default();
    prepare(input, &known, &mut drafts);
    for (guid, fate) in &known.fates {
        match (known.entries.get(guid), fate) {
            (Some(entry), Fate::Publish(wish)) => change(input, &known, guid, entry, wish, &mut drafts),
            (Some(entry), Fate::Leave(why)) => leave(input, &known, guid, entry, why, &mut drafts),
            _ => {}
        }
        if let Fate::Leave(desired::NOT_PUBLISHED) = fate {
            let more =
                known.twins(guid).filter(|twin| !known.is_parent(twin)).enumerate().map(|(number, twin)| {
                    let step = erasure(input, guid, twin, desired::NOT_PUBLISHED, false);
                    (number + 1, step)
                });
            more.for_each(|(number, step)| _ = drafts.add(number, step, Vec::new()));
        }
    }
    rename(input, &known, &mut drafts);
    let mut new = BTreeSet::new();
    for (guid, fate) in &known.fates {
        if let (None, Fate::Publish(wish)) = (known.entries.get(guid), fate) {
            if input.beside.closed {
                new.insert(*guid);
            } else {
                create(input, &known, guid, wish, &mut drafts);
            }
        }
    }
    for guid in new {
        known.hold(guid, None, "closed", CLOSED);
    }
    let stuck = known.fates.iter().filter(|(guid, fate)| {
        matches!(fate, Fate::Leave(_)) && known.entries.get(guid).is_some_and(|entry| known.is_parent(entry))
    });
    for guid in stuck.map(|(guid, _)| *guid).collect::<Vec<_>>() {
        known.hold(guid, None, "has_below", BELOW);
    }
    for (guid, attribute) in &input.beside.rewritten {
        let is_there = known.entries.get(guid).is_some_and(|entry| match known.fates.get(guid) {
            Some(Fate::Publish(_)) => true,
            Some(Fate::Leave(why)) => *why != desired::NOT_PUBLISHED && entry.has_left(),
            _ => false,
        });
        if is_there {
            known.hold(*guid, Some(attribute), "rewritten", REWRITTEN);
        }
    }
    drafts.into_plan(input.member, known, &input.beside.others)
}

/// Steps by kind and GUID, with the keys of what they need.
#[derive(Default)]
struct Drafts {
    steps: BTreeMap<Key, (Step, Vec<Key>)>,
    /// Which step frees a name, by the name's key.
    names: BTreeMap<String, Key>,
    /// What waits for the next plan, and whose entries are renamed before: somebody has named them by what would change.
    later: BTreeSet<Key>,
    first: BTreeSet<Guid>,
}

/// Kind, number among the renames (else 0), GUID.
type Key = (Action, usize, Option<Guid>);

impl Drafts {
    fn add(&mut self, order: usize, mut step: Step, needs: Vec<Key>) -> Key {
        let guid = step.anchor.as_ref().map(|anchor| anchor.guid);
        let key = (step.action, order, guid);
        let names = |change: &Change| naming::is_named_by(&step.dn, &change.attribute, &change.after);
        let in_the_way = step.changes.iter().any(names);
        match step.action {
            Action::Release | Action::Mark | Action::Modify if in_the_way => {
                self.first.extend(guid);
                self.later.insert(key);
                return key;
            }
            // it is renamed after it was joined, and then the rest follows
            Action::Join | Action::Claim => {
                let dn = step.dn.clone();
                step.changes.retain(|change| !naming::is_named_by(&dn, &change.attribute, &change.after));
            }
            _ => {}
        }
        self.steps.insert(key, (step, needs));
        key
    }

    /// What needs something that waits waits, too; and so does the rename of an entry of which something waits, but for those that are renamed
    /// before: what waits may be what makes it the person's.
    fn put_off(&mut self) {
        loop {
            let ties = self.later.iter().filter(|(action, ..)| *action != Action::Release);
            let guids: BTreeSet<Guid> = ties.filter_map(|(_, _, guid)| *guid).collect();
            let follows = |(action, _, guid): &Key| {
                *action == Action::Rename
                    && guid.is_some_and(|guid| guids.contains(&guid) && !self.first.contains(&guid))
            };
            let waits = |needs: &[Key]| needs.iter().any(|need| self.later.contains(need));
            let all = self.steps.iter().filter(|(key, (_, needs))| waits(needs) || follows(key));
            let more: Vec<Key> = all.map(|(key, _)| *key).collect();
            if more.is_empty() {
                return;
            }
            self.steps.retain(|key, _| !more.contains(key));
            self.later.extend(more);
        }
    }

    fn into_plan(mut self, member: &OdsCode, mut known: Known<'_>, others: &Others) -> Plan {
        self.put_off();
        // what waits for a plan that does nothing would wait for ever
        if self.steps.is_empty() {
            let waits = self.later.iter().filter_map(|(_, _, guid)| *guid);
            waits.for_each(|guid| known.hold(guid, None, NAME_TAKEN, ROUND));
        }
        let numbers: BTreeMap<Key, usize> = self.steps.keys().enumerate().map(|(n, key)| (*key, n)).collect();
        let mut last: BTreeMap<Guid, usize> = BTreeMap::new();
        let mut steps = Vec::with_capacity(self.steps.len());
        for (number, (step, needs)) in self.steps.into_values().enumerate() {
            let mut needs: BTreeSet<usize> =
                needs.iter().filter_map(|key| numbers.get(key).copied()).collect();
            // one entry's steps follow one another: each asserts the version that the one before left
            needs.extend(step.anchor.as_ref().and_then(|anchor| last.insert(anchor.guid, number)));
            steps.push(Step { needs: needs.into_iter().collect(), ..step });
        }
        let people = known.fates.values().filter(|fate| !matches!(fate, Fate::Leave(_))).count() as u64;
        let later = self.later.into_iter().filter_map(|(_, _, guid)| guid).collect();
        let held = known.quarantine.into_iter().collect();
        Plan { later, ..Plan::new(member.clone(), steps, held, people + others.people) }
    }
}

fn blank(input: &Input<'_>, action: Action, guid: &Guid, entry: Option<&TargetEntry>) -> Step {
    Step {
        action,
        anchor: Some(Anchor { member: input.member.clone(), guid: *guid }),
        dn: entry.map(|entry| entry.dn.clone()).unwrap_or_default(),
        to: None,
        entry_uuid: entry.map(|entry| entry.entry_uuid.clone()),
        entry_csn: entry.map(|entry| entry.entry_csn.clone()),
        changes: Vec::new(),
        reason: String::new(),
        rule: String::new(),
        needs: Vec::new(),
    }
}

fn prepare(input: &Input<'_>, known: &Known<'_>, drafts: &mut Drafts) {
    let anybody = known.fates.values().any(|fate| matches!(fate, Fate::Publish(_)));
    if input.target.base_exists || !anybody {
        return;
    }
    let unit = input.base.rdn().and_then(|rdn| rdn.text().map(str::to_owned)).unwrap_or_default();
    let changes = vec![added("objectclass", &["organizationalUnit"]), added("ou", &[&unit])];
    let step = Step {
        action: Action::Prepare,
        anchor: None,
        dn: input.base.to_string(),
        to: None,
        entry_uuid: None,
        entry_csn: None,
        changes,
        reason: "the member has no organisational unit yet".to_owned(),
        rule: "prepare".to_owned(),
        needs: Vec::new(),
    };
    drafts.add(0, step, Vec::new());
}

fn added(name: &str, values: &[&str]) -> Change {
    Change {
        attribute: name.to_owned(),
        before: Vec::new(),
        after: values.iter().map(|value| (*value).to_owned()).collect(),
    }
}

/// Fills in the attributes that name other people: where those people's entries are to be.
fn refer(input: &Input<'_>, known: &mut Known<'_>) {
    let places: BTreeMap<Guid, Option<String>> = known
        .fates
        .iter()
        .map(|(guid, fate)| match fate {
            Fate::Publish(wish) if !wish.unnamed && !input.beside.others.unnamed.contains(guid) => {
                (*guid, Some(naming::dn(&wish.name, input.base)))
            }
            _ => (*guid, None),
        })
        .collect();
    let place = |guid: &Guid| match places.get(guid) {
        Some(place) => place.clone(),
        None => input.beside.others.name(guid).map(|name| naming::dn(name, input.base)),
    };
    for (guid, fate) in &mut known.fates {
        if let (Fate::Publish(wish), Some(object)) = (fate, input.staged.get(guid)) {
            difference::refer(&mut wish.attributes, object, input.scope, place);
        }
    }
}

fn change(
    input: &Input<'_>,
    known: &Known<'_>,
    guid: &Guid,
    entry: &TargetEntry,
    wish: &Desired,
    drafts: &mut Drafts,
) {
    let owner = entry.owner().map(|owner| owner.member);
    let mut changes = input.ownership().content(entry, wish);
    changes.extend(classes(entry));
    let stamp = input.ownership().stamp(&wish.attributes);
    let drifted = entry.is_misled() || entry.first(STAMP) == Some(stamp.as_str());
    if drifted {
        changes.retain(|change| !input.beside.rewritten.contains(&(*guid, change.attribute.clone())));
    }
    changes.extend(difference(entry, STAMP, std::slice::from_ref(&stamp)));
    if entry.has_left() {
        changes.extend(difference(entry, LEFT_AT, &[]));
    }
    if changes.is_empty() {
        return;
    }
    let mut needs = release(input, known, (guid, entry), RELEASE, &mut changes, drafts);
    if changes.is_empty() {
        return;
    }
    needs.extend(known.claims(guid).map(|from| freed_by(known, &from)));
    let (action, rule, reason) = match (owner, entry.has_left(), drifted) {
        (None, ..) => (Action::Join, "join", "an entry that was there before is this person's"),
        (Some(owner), left, _) if owner != *input.member => {
            let rule = if left { "claim" } else { "succession" };
            (Action::Claim, rule, "the organisation before has released the entry of this person")
        }
        (_, true, _) => (Action::Modify, "return", "the person is published again"),
        (.., true) => (Action::Modify, "drift", "the entry was changed by somebody else"),
        _ => (Action::Modify, "change", "the member directory changed"),
    };
    let step =
        Step { changes, reason: reason.into(), rule: rule.into(), ..blank(input, action, guid, Some(entry)) };
    drafts.add(0, step, needs);
}

/// The step that takes a unique value from `from`: its marking as a leaver, or its release. A key without a step is none.
fn freed_by(known: &Known<'_>, from: &Guid) -> Key {
    match known.fates.get(from) {
        Some(Fate::Leave(why))
            if *why != desired::NOT_PUBLISHED
                || known.entries.get(from).is_some_and(|one| known.is_parent(one)) =>
        {
            (Action::Mark, 0, Some(*from))
        }
        _ => (Action::Release, 0, Some(*from)),
    }
}

/// Splits off the release of a mail that somebody else is to have.
fn release(
    input: &Input<'_>,
    known: &Known<'_>,
    (guid, entry): (&Guid, &TargetEntry),
    rule: &str,
    changes: &mut Vec<Change>,
    drafts: &mut Drafts,
) -> Vec<Key> {
    if !known.releases(guid) {
        return Vec::new();
    }
    let Some(mail) = changes.iter_mut().find(|change| change.attribute == "mail") else { return Vec::new() };
    let kept: Vec<String> =
        mail.before.iter().filter(|value| !known.is_claimed(guid, value)).cloned().collect();
    let ours = entry.owner().is_some_and(|owner| owner.member == *input.member);
    if !ours && naming::is_named_by(&entry.dn, "mail", &kept) {
        // nobody's entry is renamed before it is somebody's: it is joined as it is, and lets go of the mail when it has another name
        drafts.later.insert((Action::Release, 0, Some(*guid)));
        return Vec::new();
    }
    let mut off =
        vec![Change { attribute: "mail".to_owned(), before: mail.before.clone(), after: kept.clone() }];
    mail.before = kept;
    if mail.before == mail.after {
        changes.retain(|change| change.attribute != "mail");
    }
    if entry.anchor().is_none_or(|anchor| anchor.guid != *guid || anchor.member != *input.member) {
        // it does not carry the person's anchor yet, or no longer: the condition is the one that it carries
        off.push(carried(entry));
    }
    let step = Step {
        changes: off,
        reason: "somebody else is to have this mail".into(),
        rule: rule.into(),
        ..blank(input, Action::Release, guid, Some(entry))
    };
    vec![drafts.add(0, step, Vec::new())]
}

/// That the entry carries the anchor that it carries, whoever it should be: a condition of a step that leaves it alone.
fn carried(entry: &TargetEntry) -> Change {
    let (before, after) = (entry.values(ANCHOR).to_vec(), entry.values(ANCHOR).to_vec());
    Change { attribute: ANCHOR.to_owned(), before, after }
}

/// Whether an attribute stays on a leaver's entry: by what it is found again when the person comes back, or goes elsewhere.
fn stays(input: &Input<'_>, name: &str) -> bool {
    KEPT.contains(&name) || input.scope.person.as_deref() == Some(name)
}

/// Deletes an entry, with all that it was.
fn erasure(input: &Input<'_>, guid: &Guid, entry: &TargetEntry, why: &str, over: bool) -> Step {
    let all = entry.attributes.iter();
    let gone = |(name, values): (&String, &Vec<String>)| Change {
        attribute: name.clone(),
        before: values.clone(),
        after: Vec::new(),
    };
    // an anchor that somebody has taken away is not there when it is deleted
    let stripped = entry.first(ANCHOR).is_none().then(|| added(ANCHOR, &[]));
    Step {
        changes: all.map(gone).chain(stripped).collect(),
        reason: match entry.first(LEFT_AT) {
            Some(at) if over => format!("left {at} and the time to keep is over"),
            _ => why.to_owned(),
        },
        rule: if over { "leaver_over" } else { why }.into(),
        ..blank(input, Action::Delete, guid, Some(entry))
    }
}

/// Whether a leaver's entry is as we wrote it, but for what somebody else insists on.
fn is_as_written(input: &Input<'_>, known: &Known<'_>, guid: &Guid, entry: &TargetEntry) -> bool {
    let mut entry = entry.clone();
    let insisted = |name: &String| input.beside.rewritten.contains(&(*guid, name.clone()));
    entry.attributes.retain(|name, _| stays(input, name) || !insisted(name));
    drift::is_as_written(&entry, known.stamped())
}

/// What makes an entry a leaver's. An anchor that somebody has changed is put back with it.
fn marking(input: &Input<'_>, known: &Known<'_>, guid: &Guid, entry: &TargetEntry) -> Vec<Change> {
    let ownership = input.ownership();
    let mut changes: Vec<Change> = ownership
        .owned(entry)
        .into_iter()
        .filter(|name| !stays(input, name))
        .filter_map(|name| difference(entry, name, &[]))
        .collect();
    let anchor = Anchor { member: input.member.clone(), guid: *guid }.to_string();
    let ours = [(ANCHOR, vec![anchor]), (MEMBER, vec![input.member.to_string()])];
    changes.extend(ours.iter().filter_map(|(name, values)| difference(entry, name, values)));
    changes.extend(classes(entry));
    let kept = entry.attributes.iter().filter(|(name, _)| stays(input, name));
    let kept = kept.filter(|(name, _)| ![ANCHOR, MEMBER].contains(&name.as_str()));
    let kept = kept.map(|(name, values)| (name.as_str(), values.clone())).chain(ours);
    let stamp = drift::stamp_of(kept, known.stamped());
    // it becomes another one when the time is written
    changes.push(Change {
        attribute: STAMP.to_owned(),
        before: entry.values(STAMP).to_vec(),
        after: vec![stamp],
    });
    changes.extend(difference(entry, LEFT_AT, &[NOW.to_owned()]));
    changes
}

fn leave(
    input: &Input<'_>,
    known: &Known<'_>,
    guid: &Guid,
    entry: &TargetEntry,
    why: &str,
    drafts: &mut Drafts,
) {
    // what lies below keeps an entry from being deleted: until that is gone it is marked, which lists nobody either
    let below = known.is_parent(entry);
    let erased = why == desired::NOT_PUBLISHED && !below;
    if erased && let Some(mut mail) = difference(entry, "mail", &[]).map(|change| vec![change]) {
        release(input, known, (guid, entry), why, &mut mail, drafts);
    }
    let kept = entry.has_left() && is_as_written(input, known, guid, entry);
    if kept || erased {
        let over = kept && entry.left_at().is_some_and(|at| at + input.scope.keep <= input.now);
        if (over && !below) || erased {
            drafts.add(0, erasure(input, guid, entry, why, over), Vec::new());
        }
        return;
    }
    let mut changes = marking(input, known, guid, entry);
    // as it was written but for the time of leaving: it is still published, and its person leaves now
    let published = entry.has_left() && known.is_published_but_for_leaving(entry);
    if entry.has_left() && !published && why != desired::NOT_PUBLISHED {
        changes.retain(|change| !input.beside.rewritten.contains(&(*guid, change.attribute.clone())));
        let reason =
            "the entry of a leaver was changed by somebody else: it is kept for its time anew".into();
        let again = blank(input, Action::Modify, guid, Some(entry));
        drafts.add(0, Step { changes, reason, rule: "drift".into(), ..again }, Vec::new());
        return;
    }
    let step = Step {
        changes,
        reason: why.to_owned(),
        rule: match why {
            "disabled" => "disabled",
            "outside_filter" => "hidden",
            desired::UNSEEN => desired::UNSEEN,
            desired::NOT_PUBLISHED => desired::NOT_PUBLISHED,
            _ => "leaver",
        }
        .into(),
        ..blank(input, Action::Mark, guid, Some(entry))
    };
    drafts.add(0, step, Vec::new());
}

/// Whether somebody is to be taken out of sight, or asks for it in part: that waits for no guard of names.
fn hides(input: &Input<'_>, known: &Known<'_>, guid: &Guid) -> bool {
    let leaves = matches!(known.fates.get(guid), Some(Fate::Leave(_)));
    leaves || input.staged.get(guid).is_some_and(|object| desired::asks(object, input.scope).is_some())
}

/// Whose entries are to have other names than they have, and which.
fn names(input: &Input<'_>, known: &Known<'_>, drafts: &Drafts) -> BTreeMap<Guid, (Wish, String)> {
    let mut wishes = BTreeMap::new();
    // a rename that comes first waits for no other one: what waits for it would wait for ever where they wait for one another
    let entries = input.target.entries.iter().filter(|_| !drafts.first.is_empty());
    let used: BTreeSet<String> = entries.map(|entry| naming::key(&entry.dn)).collect();
    let is_used = |name: &str| used.contains(&naming::key(&naming::dn(name, input.base)));
    for (guid, entry) in &known.entries {
        let name = match known.fates.get(guid) {
            Some(Fate::Publish(wish)) if drafts.first.contains(guid) && is_used(&wish.name) => {
                naming::between(guid)
            }
            Some(Fate::Publish(wish)) => wish.name.clone(),
            Some(Fate::Leave(_)) if drafts.first.contains(guid) => Some(naming::leaver(guid))
                .filter(|name| !is_used(name))
                .unwrap_or_else(|| naming::between(guid)),
            Some(Fate::Leave(_)) if known.name_is_wanted(guid) => naming::leaver(guid),
            // nobody else's entry is kept from being deleted by a leaver below it
            Some(Fate::Leave(why))
                if *why != desired::NOT_PUBLISHED && !naming::is_directly_below(&entry.dn, input.base) =>
            {
                naming::leaver(guid)
            }
            _ => continue,
        };
        let (from, to) = (naming::key(&entry.dn), naming::key(&naming::dn(&name, input.base)));
        if from != to {
            wishes.insert(*guid, (Wish { from, to }, name));
        }
    }
    wishes
}

fn rename(input: &Input<'_>, known: &Known<'_>, drafts: &mut Drafts) {
    let wishes = names(input, known, drafts);
    let only: BTreeMap<Guid, Wish> = wishes.iter().map(|(guid, (wish, _))| (*guid, wish.clone())).collect();
    let mut keys: Vec<Key> = Vec::new();
    let mut places: BTreeMap<Guid, String> = BTreeMap::new();
    for (number, turn) in naming::order(&only).into_iter().enumerate() {
        let (Some(entry), Some((wish, name))) = (known.entries.get(&turn.guid), wishes.get(&turn.guid))
        else {
            continue;
        };
        let between = naming::between(&turn.guid);
        let to = naming::dn(if turn.aside { &between } else { name }, input.base);
        let needs: Vec<Key> = turn.after.and_then(|after| keys.get(after).copied()).into_iter().collect();
        let first = drafts.first.contains(&turn.guid);
        let (rule, reason) = match turn.aside {
            true => ("rename_aside", "two names change places"),
            false if first && hides(input, known, &turn.guid) => (naming::RENAME_FIRST, NAMED),
            false if first => ("rename", NAMED),
            false => ("rename", "the name changed"),
        };
        let mut step = Step {
            to: Some(to.clone()),
            reason: reason.to_owned(),
            rule: rule.to_owned(),
            ..blank(input, Action::Rename, &turn.guid, Some(entry))
        };
        if first && entry.is_misled() {
            step.changes = vec![carried(entry)];
        }
        if let Some(place) = places.get(&turn.guid) {
            step.dn.clone_from(place);
        } else {
            // what was called by the old name
            drafts.names.insert(wish.from.clone(), (Action::Rename, number, Some(turn.guid)));
        }
        keys.push(drafts.add(number, step, needs));
        places.insert(turn.guid, to);
    }
    // a leaver that makes room for a name is deleted where it is by then
    for (guid, place) in places {
        if let Some((step, _)) = drafts.steps.get_mut(&(Action::Delete, 0, Some(guid))) {
            step.dn = place;
        }
    }
}

fn create(input: &Input<'_>, known: &Known<'_>, guid: &Guid, wish: &Desired, drafts: &mut Drafts) {
    let dn = naming::dn(&wish.name, input.base);
    let mut changes = vec![added("objectclass", &CLASSES), added(NAMING, &[&wish.name])];
    changes.extend(
        wish.attributes.iter().filter(|(name, _)| !input.national.contains(*name)).map(|(name, values)| {
            Change { attribute: name.clone(), before: Vec::new(), after: values.clone() }
        }),
    );
    changes.push(added(STAMP, &[&input.ownership().stamp(&wish.attributes)]));
    let mut needs: Vec<Key> = vec![(Action::Prepare, 0, None)];
    needs.extend(drafts.names.get(&naming::key(&dn)).copied());
    needs.extend(known.claims(guid).map(|from| freed_by(known, &from)));
    let step = Step {
        dn,
        changes,
        reason: "a person in scope has no entry".into(),
        rule: "create".into(),
        ..blank(input, Action::Create, guid, None)
    };
    drafts.add(0, step, needs);
}

#[cfg(test)]
mod tests;
