//! Who has which entry, and who gets a name or a mail that more than one would have: settled before steps are made.

use std::collections::{BTreeMap, BTreeSet};

use crate::ldap::dn::Dn;
use crate::sync::people::desired::{
    Desired, Fate, NAMING, NO_SURNAME, NOT_PUBLISHED, SURNAME, UNSEEN, Wanted, is_owned,
};
use crate::sync::people::drift;
use crate::sync::people::naming;
use crate::sync::planning::input::Input;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::step::Quarantine;
use crate::sync::terms::target::{ANCHOR, LEFT_AT, TargetEntry};
use crate::sync::writing::refused;

/// Why somebody is held whose anchor two entries carry.
const TWICE: &str = "anchor_twice";
/// Why somebody is held whose name is another entry's, or whose entry has one that is in the way.
pub const NAME_TAKEN: &str = "name_taken";

/// What is settled.
#[derive(Debug, Default)]
pub struct Known<'a> {
    /// By GUID; people whose entries are there though they are not staged included.
    pub fates: BTreeMap<Guid, Fate>,
    /// Entries that are, or are to be, somebody's.
    pub entries: BTreeMap<Guid, &'a TargetEntry>,
    pub quarantine: BTreeSet<Quarantine>,
    /// Attributes that stamps are made over.
    stamped: BTreeSet<String>,
    /// Further entries with the anchor of somebody who has one.
    twins: BTreeMap<Guid, Vec<&'a TargetEntry>>,
    /// Names that something lies below.
    parents: BTreeSet<String>,
    claims: BTreeMap<Guid, BTreeSet<Guid>>,
    released: BTreeMap<Guid, BTreeSet<String>>,
    names_wanted: BTreeSet<Guid>,
}

impl<'a> Known<'a> {
    /// Attributes that stamps are made over.
    pub fn stamped(&self) -> &BTreeSet<String> {
        &self.stamped
    }

    /// Whether an entry is as we wrote it for somebody who is published, apart from the time of leaving.
    pub fn is_published_but_for_leaving(&self, entry: &TargetEntry) -> bool {
        let mut published = entry.clone();
        published.attributes.remove(LEFT_AT);
        drift::is_as_written(&published, &self.stamped)
    }

    /// Whether something lies below this entry: then it cannot be deleted.
    pub fn is_parent(&self, entry: &TargetEntry) -> bool {
        self.parents.contains(&naming::key(&entry.dn))
    }

    /// Further entries with the anchor of somebody who has one.
    pub fn twins(&self, guid: &Guid) -> impl Iterator<Item = &'a TargetEntry> {
        self.twins.get(guid).into_iter().flatten().copied()
    }

    /// Who must let go of a mail before `guid` can have it.
    pub fn claims(&self, guid: &Guid) -> impl Iterator<Item = Guid> {
        self.claims.get(guid).into_iter().flatten().copied()
    }

    /// Whether it has a mail that somebody else is to have.
    pub fn releases(&self, guid: &Guid) -> bool {
        self.released.contains_key(guid)
    }

    /// Whether somebody else is to have this mail of it.
    pub fn is_claimed(&self, guid: &Guid, mail: &str) -> bool {
        self.released.get(guid).is_some_and(|mails| mails.contains(&mail.to_lowercase()))
    }

    /// Whether it is a leaver whose name somebody else is to have.
    pub fn name_is_wanted(&self, guid: &Guid) -> bool {
        self.names_wanted.contains(guid)
    }

    /// Holds an attribute back, or the whole person.
    pub fn hold(&mut self, guid: Guid, attribute: Option<&str>, code: &str, text: &str) {
        let attribute = attribute.map(str::to_owned);
        self.quarantine.insert(Quarantine { guid, attribute, code: code.to_owned(), text: text.to_owned() });
    }

    fn tie(&mut self, guid: Guid, entry: &'a TargetEntry) {
        if let Some(first) = self.entries.insert(guid, entry) {
            self.twins.entry(guid).or_default().push(first);
        }
    }

    fn hold_person(&mut self, guid: Guid, code: &str, text: &str) {
        self.fates.insert(guid, Fate::Hold);
        self.hold(guid, None, code, text);
    }

    /// Who is to be published, and how.
    pub fn wishes(&self) -> impl Iterator<Item = (Guid, &Desired)> {
        self.fates.iter().filter_map(|(guid, fate)| match fate {
            Fate::Publish(wish) => Some((*guid, wish)),
            _ => None,
        })
    }
}

/// Settles entries, names and mails.
pub fn settle<'a>(input: &Input<'a>, wanted: Wanted) -> Known<'a> {
    let stamped = drift::stamped(input.scope, input.national);
    let mut known = Known { fates: wanted.fates, quarantine: wanted.quarantine, stamped, ..Known::default() };
    anchors(input, &mut known);
    joins(input, &mut known);
    claims(input, &mut known);
    misnamed(input, &mut known);
    surnames(&mut known);
    withhold(input, &mut known);
    // holding one person back keeps a name in use, which may hold the next
    while names(input, &mut known) {}
    mails(input, &mut known);
    known
}

/// Ties entries to their people: by the journal where an entry does not say plainly whose it is, else by anchor. Entries that somebody has moved
/// out of the member's unit are still the person's.
fn anchors<'a>(input: &Input<'a>, known: &mut Known<'a>) {
    for entry in &input.target.entries {
        let Some(guid) = entry.person(input.member) else { continue };
        known.tie(guid, entry);
        let gone = match (input.whole, input.told) {
            (true, true) => Fate::Leave(UNSEEN),
            (true, false) => Fate::Leave("absent"),
            _ => Fate::Hold,
        };
        known.fates.entry(guid).or_insert(gone);
    }
    for entry in &input.beside.elsewhere {
        // of whom nothing is known here needs nothing, and has the entry where it belongs
        if let Some(guid) = entry.person(input.member).filter(|guid| known.fates.contains_key(guid)) {
            known.tie(guid, entry);
        }
    }
    twins(known);
    let all = input.target.entries.iter();
    known.parents = all.filter_map(|entry| naming::parent_key(&entry.dn)).collect();
}

/// Holds those whose anchor more than one entry carries. Whoever leaves does not wait: one entry after the other is marked, and a wish not to
/// be listed takes all of them.
fn twins(known: &mut Known<'_>) {
    let text = "two national entries carry this anchor: see which is the person's (sync explain), and have the other deleted in the national directory";
    for (guid, twins) in std::mem::take(&mut known.twins) {
        if !matches!(known.fates.get(&guid), Some(Fate::Leave(_))) {
            known.hold_person(guid, TWICE, text);
            continue;
        }
        known.hold(guid, None, TWICE, text);
        let mut all: Vec<&TargetEntry> = twins;
        all.extend(known.entries.get(&guid).copied());
        all.sort_by_key(|entry| (entry.has_left(), entry.dn.as_str()));
        if let Some(first) = all.first() {
            known.entries.insert(guid, first);
            known.twins.insert(guid, all.split_off(1));
        }
    }
}

fn joins<'a>(input: &Input<'a>, known: &mut Known<'a>) {
    let mut free: Vec<&TargetEntry> = input.target.entries.iter().filter(|entry| is_free(entry)).collect();
    decided(input, known, &mut free);
    if free.is_empty() {
        return;
    }
    let mut by_number: BTreeMap<&str, Vec<&TargetEntry>> = BTreeMap::new();
    let mut by_mail: BTreeMap<String, Vec<&TargetEntry>> = BTreeMap::new();
    for entry in free {
        entry.values("employeenumber").iter().for_each(|one| by_number.entry(one).or_default().push(entry));
        entry
            .values("mail")
            .iter()
            .for_each(|one| by_mail.entry(one.to_lowercase()).or_default().push(entry));
    }
    let mut chosen: BTreeMap<&str, Vec<(Guid, &TargetEntry)>> = BTreeMap::new();
    let mut unclear = BTreeSet::new();
    for (guid, wish) in known.wishes().filter(|(guid, _)| !known.entries.contains_key(guid)) {
        let values = |name: &str| wish.attributes.get(name).cloned().unwrap_or_default();
        let mut found: Vec<&TargetEntry> = values("employeenumber")
            .iter()
            .filter_map(|one| by_number.get(one.as_str()))
            .flatten()
            .copied()
            .collect();
        if found.is_empty() {
            let owned = values("mail").into_iter().filter(|mail| is_owned(mail, &input.scope.mail_domains));
            found = owned.filter_map(|mail| by_mail.get(&mail.to_lowercase())).flatten().copied().collect();
        }
        found.dedup_by_key(|entry| entry.dn.as_str());
        match found.as_slice() {
            [] => {}
            [one] => chosen.entry(&one.dn).or_default().push((guid, one)),
            _ => {
                unclear.insert(guid);
            }
        }
    }
    choose(known, chosen, unclear);
}

/// Ties each entry that fits one person alone. Whoever more than one fits, or who is one of several that fit the same, waits.
fn choose<'a>(
    known: &mut Known<'a>,
    chosen: BTreeMap<&str, Vec<(Guid, &'a TargetEntry)>>,
    mut unclear: BTreeSet<Guid>,
) {
    for candidates in chosen.into_values() {
        match candidates.as_slice() {
            [(guid, entry)] => {
                known.entries.insert(*guid, entry);
            }
            several => unclear.extend(several.iter().map(|(guid, _)| *guid)),
        }
    }
    for guid in unclear {
        let text = "more than one entry or person fits: decide by hand which it is";
        known.hold_person(guid, "ambiguous", text);
    }
}

/// Whether an entry is nobody's.
fn is_free(entry: &TargetEntry) -> bool {
    entry.first(ANCHOR).is_none() && entry.written_for.is_none()
}

/// Entries of other organisations that people here take over: released ones of the same person, and those of organisations that
/// the member succeeds.
fn claims<'a>(input: &Input<'a>, known: &mut Known<'a>) {
    let Some(key) = input.scope.person.as_deref() else { return };
    let mut by_person: BTreeMap<&str, Vec<&TargetEntry>> = BTreeMap::new();
    for entry in &input.beside.elsewhere {
        let owner = entry.owner().map(|owner| owner.member);
        let others = owner.filter(|owner| owner != input.member);
        let free = others.is_some_and(|owner| entry.has_left() || input.beside.succeeds.contains(&owner));
        for person in entry.values(key).iter().filter(|_| free) {
            by_person.entry(person).or_default().push(entry);
        }
    }
    if by_person.is_empty() {
        return;
    }
    let mut chosen: BTreeMap<&str, Vec<(Guid, &TargetEntry)>> = BTreeMap::new();
    let (mut unclear, mut paused) = (BTreeSet::new(), BTreeSet::new());
    for (guid, wish) in known.wishes().filter(|(guid, _)| !known.entries.contains_key(guid)) {
        let persons = wish.attributes.get(key).into_iter().flatten();
        let mut found: Vec<&TargetEntry> =
            persons.filter_map(|person| by_person.get(person.as_str())).flatten().copied().collect();
        found.dedup_by_key(|entry| entry.dn.as_str());
        let of_paused = |entry: &&TargetEntry| {
            entry.owner().is_some_and(|owner| input.beside.paused.contains(&owner.member))
        };
        match found.as_slice() {
            [] => {}
            several if several.iter().any(of_paused) => {
                paused.insert(guid);
            }
            [one] => chosen.entry(&one.dn).or_default().push((guid, one)),
            _ => {
                unclear.insert(guid);
            }
        }
    }
    choose(known, chosen, unclear);
    for guid in paused {
        let text = "the entry is of an organisation that is paused: it is taken over when that is resumed";
        known.hold_person(guid, "owner_paused", text);
    }
}

/// Ties what was decided by hand, so that nobody else can have these entries.
fn decided<'a>(input: &Input<'a>, known: &mut Known<'a>, free: &mut Vec<&'a TargetEntry>) {
    for (guid, dn) in &input.beside.decided {
        let wants =
            matches!(known.fates.get(guid), Some(Fate::Publish(_))) && !known.entries.contains_key(guid);
        let at = free.iter().position(|entry| wants && naming::key(&entry.dn) == naming::key(dn));
        if let Some(at) = at {
            known.entries.insert(*guid, free.swap_remove(at));
        }
    }
}

/// Holds whoever is to get an entry that is named by its anchor: no directory takes that away, and nobody's entry is renamed before it is somebody's.
fn misnamed(input: &Input<'_>, known: &mut Known<'_>) {
    let others = known.entries.iter().filter(|(_, entry)| entry.person(input.member).is_none());
    let named = others.filter(|(_, entry)| naming::is_named_by(&entry.dn, ANCHOR, &[]));
    let text = "the person's entry is named by its anchor (portcullisAnchor) in the national directory: give it another name there";
    for guid in named.map(|(guid, _)| *guid).collect::<Vec<_>>() {
        if matches!(known.fates.get(&guid), Some(Fate::Publish(_))) {
            known.hold_person(guid, NAME_TAKEN, text);
        }
    }
}

/// Holds whoever would get an entry that no directory takes.
fn surnames(known: &mut Known<'_>) {
    let lacks = |guid: &Guid, wish: &Desired| {
        !known.entries.contains_key(guid) && !wish.attributes.contains_key(SURNAME)
    };
    let new: BTreeSet<Guid> =
        known.wishes().filter(|(guid, wish)| lacks(guid, wish)).map(|(guid, _)| guid).collect();
    known.quarantine.retain(|one| one.code != NO_SURNAME || !new.contains(&one.guid));
    for guid in new {
        let text = "has no surname (`sn`) and gets no entry without: fill it in in the member directory";
        known.hold_person(guid, NO_SURNAME, text);
    }
}

/// Holds back what the national directory would refuse once more; before mails are settled, so that nobody is given one that is kept.
fn withhold(input: &Input<'_>, known: &mut Known<'_>) {
    let mut held = Vec::new();
    for (guid, fate) in &mut known.fates {
        let Fate::Publish(wish) = fate else { continue };
        let all = input.beside.refused.withhold(guid, wish, known.entries.get(guid).copied(), input.scope);
        if all.iter().any(|one| one.attribute.is_none()) {
            *fate = Fate::Hold;
        }
        held.extend(all.into_iter().map(|one| (*guid, one)));
    }
    for (guid, one) in held {
        known.hold(guid, one.attribute.as_deref(), refused::CODE, &one.text);
    }
}

/// Holds the name back: an entry that is there keeps its own, or gets one for the time being where somebody has named it by other attributes;
/// only whoever has none waits for it.
fn hold_name(input: &Input<'_>, known: &mut Known<'_>, guid: Guid, code: &str, text: &str) {
    let key = |name: &str| naming::key(&naming::dn(name, input.base));
    let between = naming::between(&guid);
    let is_misnamed = |entry: &TargetEntry| {
        let is_ours = entry.person(input.member).is_some() && is_below(entry, input.base);
        is_ours && (!naming::is_plain(&entry.dn) || naming::key(&entry.dn) == key(&between))
    };
    let own = known.entries.get(&guid).and_then(|entry| {
        naming::own(&entry.dn, input.base).or_else(|| is_misnamed(entry).then(|| between.clone()))
    });
    match (own, known.fates.get_mut(&guid)) {
        // one that would keep the very name that it cannot have waits as a whole
        (Some(own), Some(Fate::Publish(wish))) if key(&wish.name) != key(&own) => {
            wish.name = own;
            known.hold(guid, Some(NAMING), code, text);
        }
        _ => known.hold_person(guid, code, text),
    }
}

/// Looks for names that cannot be had; returns whether somebody was held for it.
fn names(input: &Input<'_>, known: &mut Known<'_>) -> bool {
    let owner: BTreeMap<String, Guid> =
        known.entries.iter().map(|(guid, entry)| (naming::key(&entry.dn), *guid)).collect();
    let taken: BTreeSet<String> = input.target.entries.iter().map(|entry| naming::key(&entry.dn)).collect();
    let mut wanters: BTreeMap<String, Vec<Guid>> = BTreeMap::new();
    for (guid, wish) in known.wishes() {
        wanters.entry(naming::key(&naming::dn(&wish.name, input.base))).or_default().push(guid);
    }
    let mut held = false;
    known.names_wanted.clear();
    for (key, guids) in wanters {
        let holder = owner.get(&key).copied();
        let mut winner = if let [one] = guids.as_slice() { Some(*one) } else { None };
        if guids.len() > 1 {
            winner = holder.filter(|holder| guids.contains(holder));
            for guid in guids.into_iter().filter(|guid| Some(*guid) != winner) {
                let text = "several people have this account name: give each its own";
                hold_name(input, known, guid, "duplicate", text);
                held = true;
            }
        }
        let Some(winner) = winner.filter(|winner| taken.contains(&key) && holder != Some(*winner)) else {
            continue;
        };
        match holder.and_then(|holder| known.fates.get(&holder).map(|fate| (holder, fate))) {
            Some((_, Fate::Publish(_))) => {}
            Some((holder, Fate::Leave(_))) => {
                known.names_wanted.insert(holder);
            }
            Some((_, Fate::Hold)) | None => {
                let text = "the name belongs to an entry that stays: free it first";
                hold_name(input, known, winner, NAME_TAKEN, text);
                held = true;
            }
        }
    }
    held
}

fn mails(input: &Input<'_>, known: &mut Known<'_>) {
    let owner: BTreeMap<&str, Guid> =
        known.entries.iter().map(|(guid, entry)| (entry.dn.as_str(), *guid)).collect();
    let mut holders: BTreeMap<String, Vec<(Option<Guid>, bool)>> = BTreeMap::new();
    // with those of people here that lie elsewhere
    let away = known.entries.values().copied().filter(|entry| !is_below(entry, input.base));
    for entry in input.target.entries.iter().chain(away) {
        for mail in entry.values("mail") {
            let holder = (owner.get(entry.dn.as_str()).copied(), entry.has_left());
            holders.entry(mail.to_lowercase()).or_default().push(holder);
        }
    }
    let claimed: BTreeSet<&str> = known.entries.values().map(|entry| entry.dn.as_str()).collect();
    let elsewhere: BTreeSet<String> = input
        .beside
        .elsewhere
        .iter()
        .filter(|entry| !claimed.contains(entry.dn.as_str()))
        .flat_map(|entry| entry.values("mail"))
        .map(|mail| mail.to_lowercase())
        .collect();
    let mut wanters: BTreeMap<String, BTreeSet<Guid>> = BTreeMap::new();
    for (guid, wish) in known.wishes() {
        for mail in wish.attributes.get("mail").into_iter().flatten() {
            wanters.entry(mail.to_lowercase()).or_default().insert(guid);
        }
    }
    for (mail, guids) in wanters {
        if elsewhere.contains(&mail) {
            for guid in guids {
                lose(
                    known,
                    guid,
                    &mail,
                    "mail_elsewhere",
                    "an entry of another organisation has this mail: agree whose it is",
                );
            }
            continue;
        }
        let holding = holders.get(&mail).map(Vec::as_slice).unwrap_or_default();
        let winner = match guids.len() {
            1 => guids.first().copied(),
            _ => {
                let mut having =
                    holding.iter().filter_map(|(holder, _)| holder.filter(|h| guids.contains(h)));
                having.next().filter(|_| having.next().is_none())
            }
        };
        let of_nobody = guids.len() == 1 && holding.iter().any(|(holder, _)| holder.is_none());
        let winner = winner.filter(|winner| claim(known, *winner, &mail, holding));
        let (code, text) = match of_nobody {
            true => (
                "mail_of_nobody",
                "an entry here that is nobody's has this mail (sync drift names it): remove it, or sync join",
            ),
            false => ("duplicate", "somebody else has this mail: give each person their own"),
        };
        for guid in guids.into_iter().filter(|guid| Some(*guid) != winner) {
            lose(known, guid, &mail, code, text);
        }
    }
}

fn is_below(entry: &TargetEntry, base: &Dn) -> bool {
    Dn::parse(&entry.dn).is_ok_and(|dn| dn.is_at_or_below(base))
}

/// Notes who must let go of the mail; false when somebody who stays has it.
fn claim(known: &mut Known<'_>, winner: Guid, mail: &str, holding: &[(Option<Guid>, bool)]) -> bool {
    let others = || holding.iter().filter(|(holder, _)| *holder != Some(winner));
    let keeps = holding.iter().any(|(holder, _)| *holder == Some(winner));
    let free = others().all(|(holder, has_left)| {
        match holder.and_then(|holder| known.fates.get(&holder)) {
            Some(Fate::Publish(_)) => true,
            // marking takes it away; one that was marked before and still has it is not touched again
            Some(Fate::Leave(_)) => !has_left,
            Some(Fate::Hold) => false,
            // an entry of nobody does not take a mail away from whoever has it
            None => keeps,
        }
    });
    if free {
        for holder in others().filter_map(|(holder, _)| *holder) {
            known.claims.entry(winner).or_default().insert(holder);
            // whose entry is deleted at once is not marked before, and deletions come last
            if matches!(known.fates.get(&holder), Some(Fate::Publish(_) | Fate::Leave(NOT_PUBLISHED))) {
                known.released.entry(holder).or_default().insert(mail.to_owned());
            }
        }
    }
    free
}

fn lose(known: &mut Known<'_>, guid: Guid, mail: &str, code: &str, text: &str) {
    if let Some(Fate::Publish(wish)) = known.fates.get_mut(&guid)
        && let Some(mails) = wish.attributes.get_mut("mail")
    {
        mails.retain(|one| one.to_lowercase() != mail);
        if mails.is_empty() {
            wish.attributes.remove("mail");
        }
    }
    known.hold(guid, Some("mail"), code, text);
}
