//! The plan: a pure function of what is staged, what is published, the scope and the time.
//!
//! Steps come in the order of their kinds: values are released before they are claimed, entries are renamed out of the
//! way before a name is taken, deletions come last. The same input in any order gives the same plan.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::terms::OdsCode;
use crate::sync::desired::{self, Desired, Fate, NAMING};
use crate::sync::guid::Guid;
use crate::sync::input::Input;
use crate::sync::naming::{self, Wish};
use crate::sync::settings::Origin;
use crate::sync::state::{Known, settle};
use crate::sync::step::{Action, Change, NOW, Plan, Step};
use crate::sync::target::{ANCHOR, Anchor, CLASS, LEFT_AT, MEMBER, STAMP, TargetEntry};

/// The classes of a published entry. The superiors are written out: whoever filters by `person` on what it has read, the
/// front door included, does not know a server's schema.
const CLASSES: [&str; 5] = ["top", "person", "organizationalPerson", "inetOrgPerson", CLASS];

/// Attributes of a person's entry that are published or nothing: what the scope does not map is taken away.
pub const PUBLISHABLE: &[&str] = &[
    "businesscategory",
    "cn",
    "departmentnumber",
    "description",
    "displayname",
    "employeenumber",
    "employeetype",
    "facsimiletelephonenumber",
    "givenname",
    "homephone",
    "homepostaladdress",
    "initials",
    "l",
    "mail",
    "manager",
    "mobile",
    "o",
    "ou",
    "pager",
    "physicaldeliveryofficename",
    "postaladdress",
    "postalcode",
    "preferredlanguage",
    "roomnumber",
    "secretary",
    "sn",
    "st",
    "street",
    "telephonenumber",
    "title",
];
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
            (Some(entry), Fate::Leave(why)) => leave(input, guid, entry, why, &mut drafts),
            _ => {}
        }
    }
    rename(input, &known, &mut drafts);
    for (guid, fate) in &known.fates {
        if let (None, Fate::Publish(wish)) = (known.entries.get(guid), fate) {
            create(input, &known, guid, wish, &mut drafts);
        }
    }
    drafts.into_plan(input.member, known)
}

/// Steps by kind and GUID, with the keys of what they need.
#[derive(Default)]
struct Drafts {
    steps: BTreeMap<Key, (Step, Vec<Key>)>,
    /// Which step frees a name, by the name's key.
    names: BTreeMap<String, Key>,
}

/// Kind, number among the renames (else 0), GUID.
type Key = (Action, usize, Option<Guid>);

impl Drafts {
    fn add(&mut self, order: usize, step: Step, needs: Vec<Key>) -> Key {
        let key = (step.action, order, step.anchor.as_ref().map(|anchor| anchor.guid));
        self.steps.insert(key, (step, needs));
        key
    }

    fn into_plan(self, member: &OdsCode, known: Known<'_>) -> Plan {
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
        Plan::new(member.clone(), steps, known.quarantine.into_iter().collect(), people)
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
    let places: BTreeMap<Guid, String> = known
        .fates
        .iter()
        .filter_map(|(guid, fate)| match fate {
            Fate::Publish(wish) => Some((*guid, naming::dn(&wish.name, input.base))),
            _ => None,
        })
        .collect();
    for (guid, fate) in &mut known.fates {
        let (Fate::Publish(wish), Some(object)) = (fate, input.staged.get(guid)) else { continue };
        for (name, origin) in &input.scope.attributes {
            let Origin::Local(local) = origin else { continue };
            let Some(references) = object.references.get(local) else { continue };
            let mut values: Vec<String> =
                references.iter().filter_map(|one| places.get(one).cloned()).collect();
            values.sort();
            if !values.is_empty() {
                wish.attributes.insert(name.clone(), values);
            }
        }
    }
}

/// The attributes of an entry that a plan decides about.
fn owned<'a>(input: &'a Input<'_>, entry: &'a TargetEntry) -> BTreeSet<&'a str> {
    let mut names: BTreeSet<&str> = PUBLISHABLE.iter().copied().collect();
    names.extend(input.scope.attributes.keys().map(String::as_str));
    names.extend([ANCHOR, MEMBER]);
    names.retain(|name| *name != NAMING && !input.national.contains(*name));
    names.retain(|name| entry.attributes.contains_key(*name));
    names
}

fn sorted(values: &[String]) -> Vec<String> {
    let mut values = values.to_vec();
    values.sort();
    values
}

fn difference(entry: &TargetEntry, name: &str, after: &[String]) -> Option<Change> {
    let before = sorted(entry.values(name));
    let after = sorted(after);
    let same = if name == "manager" || name == "secretary" {
        before.iter().map(|dn| naming::key(dn)).eq(after.iter().map(|dn| naming::key(dn)))
    } else {
        before == after
    };
    (!same).then(|| Change { attribute: name.to_owned(), before, after })
}

/// Changes of attributes that make `entry` what `wish` says, without stamp and classes.
fn content(input: &Input<'_>, entry: &TargetEntry, wish: &Desired) -> Vec<Change> {
    let mut names = owned(input, entry);
    names.extend(wish.attributes.keys().map(String::as_str).filter(|name| !input.national.contains(*name)));
    names
        .into_iter()
        .filter_map(|name| difference(entry, name, wish.attributes.get(name).map_or(&[], Vec::as_slice)))
        .collect()
}

fn classes(entry: &TargetEntry) -> Option<Change> {
    let before = entry.values("objectclass");
    let has = |class: &str| before.iter().any(|one| one.eq_ignore_ascii_case(class));
    if has("inetOrgPerson") && has(CLASS) {
        return None;
    }
    let missing: Vec<&str> = CLASSES.into_iter().filter(|class| !has(class)).collect();
    let after = before.iter().cloned().chain(missing.iter().map(|class| (*class).to_owned())).collect();
    Some(Change { attribute: "objectclass".to_owned(), before: before.to_vec(), after })
}

fn change(
    input: &Input<'_>,
    known: &Known<'_>,
    guid: &Guid,
    entry: &TargetEntry,
    wish: &Desired,
    drafts: &mut Drafts,
) {
    let join = entry.anchor().is_none();
    let mut changes = content(input, entry, wish);
    changes.extend(classes(entry));
    let stamp = desired::stamp(&wish.attributes);
    let drifted = entry.first(STAMP) == Some(stamp.as_str());
    changes.extend(difference(entry, STAMP, std::slice::from_ref(&stamp)));
    if entry.has_left() {
        changes.extend(difference(entry, LEFT_AT, &[]));
    }
    if changes.is_empty() {
        return;
    }
    let mut needs = release(input, known, guid, entry, &mut changes, drafts);
    if changes.is_empty() {
        return;
    }
    needs.extend(known.claims(guid).map(|from| freed_by(known, &from)));
    let (action, rule, reason) = match (join, entry.has_left(), drifted) {
        (true, ..) => (Action::Join, "join", "an entry that was there before is this person's"),
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
        Some(Fate::Leave(_)) => (Action::Mark, 0, Some(*from)),
        _ => (Action::Release, 0, Some(*from)),
    }
}

/// Splits off the release of a mail that somebody else is to have.
fn release(
    input: &Input<'_>,
    known: &Known<'_>,
    guid: &Guid,
    entry: &TargetEntry,
    changes: &mut Vec<Change>,
    drafts: &mut Drafts,
) -> Vec<Key> {
    if !known.releases(guid) {
        return Vec::new();
    }
    let Some(mail) = changes.iter_mut().find(|change| change.attribute == "mail") else { return Vec::new() };
    let kept: Vec<String> =
        mail.before.iter().filter(|value| !known.is_claimed(guid, value)).cloned().collect();
    let off = Change { attribute: "mail".to_owned(), before: mail.before.clone(), after: kept.clone() };
    mail.before = kept;
    if mail.before == mail.after {
        changes.retain(|change| change.attribute != "mail");
    }
    let step = Step {
        changes: vec![off],
        reason: "somebody else is to have this mail".into(),
        rule: "release".into(),
        ..blank(input, Action::Release, guid, Some(entry))
    };
    vec![drafts.add(0, step, Vec::new())]
}

fn leave(input: &Input<'_>, guid: &Guid, entry: &TargetEntry, why: &str, drafts: &mut Drafts) {
    if entry.has_left() {
        let over = entry.left_at().is_some_and(|at| at + input.scope.keep <= input.now);
        if over {
            let changes = entry
                .attributes
                .iter()
                .map(|(name, values)| Change {
                    attribute: name.clone(),
                    before: values.clone(),
                    after: Vec::new(),
                })
                .collect();
            let step = Step {
                changes,
                reason: format!(
                    "left {} and the time to keep is over",
                    entry.first(LEFT_AT).unwrap_or_default()
                ),
                rule: "leaver_over".into(),
                ..blank(input, Action::Delete, guid, Some(entry))
            };
            drafts.add(0, step, Vec::new());
        }
        return;
    }
    let mut changes: Vec<Change> = owned(input, entry)
        .into_iter()
        .filter(|name| !KEPT.contains(name))
        .filter_map(|name| difference(entry, name, &[]))
        .collect();
    let stays: BTreeMap<String, Vec<String>> = KEPT
        .iter()
        .filter_map(|name| entry.attributes.get(*name).map(|values| ((*name).to_owned(), sorted(values))))
        .collect();
    changes.extend(difference(entry, STAMP, &[desired::stamp(&stays)]));
    changes.push(added(LEFT_AT, &[NOW]));
    let step = Step {
        changes,
        reason: why.to_owned(),
        rule: "leaver".into(),
        ..blank(input, Action::Mark, guid, Some(entry))
    };
    drafts.add(0, step, Vec::new());
}

fn rename(input: &Input<'_>, known: &Known<'_>, drafts: &mut Drafts) {
    let mut wishes = BTreeMap::new();
    for (guid, entry) in &known.entries {
        let name = match known.fates.get(guid) {
            Some(Fate::Publish(wish)) => wish.name.clone(),
            Some(Fate::Leave(_)) if known.name_is_wanted(guid) => naming::leaver(guid),
            _ => continue,
        };
        let (from, to) = (naming::key(&entry.dn), naming::key(&naming::dn(&name, input.base)));
        if from != to {
            wishes.insert(*guid, (Wish { from, to }, name));
        }
    }
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
        let mut step = Step {
            to: Some(to.clone()),
            reason: if turn.aside { "two names change places" } else { "the name changed" }.to_owned(),
            rule: if turn.aside { "rename_aside" } else { "rename" }.to_owned(),
            ..blank(input, Action::Rename, &turn.guid, Some(entry))
        };
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
    changes.push(added(STAMP, &[&desired::stamp(&wish.attributes)]));
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
