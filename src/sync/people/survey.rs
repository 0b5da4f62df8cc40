//! Who a plan must look at, found without holding everybody in memory.
//!
//! Of each person only what others may collide with is kept: the name, fingerprints of mails, and whom the person refers to. National entries
//! are compared as they come; one that is as it should be is forgotten again, unless somebody who needs something wants its name or
//! its mail, or refers to it. The plan of those who are left is the plan of everybody.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use time::OffsetDateTime;

use crate::ldap::dn::Dn;
use crate::policy::terms::OdsCode;
use crate::sync::people::desired::{self, Desired, Fate};
use crate::sync::people::difference::{self, Ownership};
use crate::sync::people::drift;
use crate::sync::people::naming;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::settings::Scope;
use crate::sync::terms::staged::{DEPTH_MAX, Object, Staged};
use crate::sync::terms::target::{Anchor, TargetEntry, TargetView};

/// What a survey goes by.
#[derive(Debug, Clone)]
pub struct Frame {
    pub member: OdsCode,
    /// The member's organisational unit in the national directory.
    pub base: Dn,
    pub scope: Scope,
    /// Lower-case attributes that are never touched.
    pub national: BTreeSet<String>,
    pub now: OffsetDateTime,
    /// How many people who are to be created or changed are looked at, at most; the others are left for the next time.
    pub most: usize,
    /// Who asked, as far as it was known, not to be listed as others are, and whether for not being named by others' entries.
    pub asked: BTreeMap<Guid, bool>,
}

/// People who need nothing, or not now: what a plan must still know of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    /// How many of them are in scope.
    pub people: u64,
    /// How many of them are published.
    pub published: u64,
    /// How many were left for the next time, though they need something.
    pub deferred: u64,
    /// How many of everybody are in scope, by the unit they are in.
    pub units: BTreeMap<Guid, u64>,
    /// Who asks not to be listed as others are, or asked and is not to be published now.
    pub asking: BTreeMap<Guid, bool>,
    /// Who asked, and of whom no wish was read any more.
    pub withdrawn: BTreeSet<Guid>,
    /// Those of them whom nobody else's entry is to name until it is clear.
    pub unnamed: BTreeSet<Guid>,
    /// Names of those who are to be published, by GUID.
    names: Vec<(Guid, Box<str>)>,
}

impl Others {
    /// The value of the naming attribute of somebody who is to be published.
    pub fn name(&self, guid: &Guid) -> Option<&str> {
        let at = self.names.binary_search_by_key(guid, |(guid, _)| *guid).ok()?;
        self.names.get(at).map(|(_, name)| name.as_ref())
    }
}

/// What becomes of a person, as far as it is known before anybody else is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Publish,
    Hold,
    Leave,
    /// Leaves, and takes the entry along.
    Erase,
}

impl Kind {
    fn leaves(self) -> bool {
        matches!(self, Kind::Leave | Kind::Erase)
    }
}

/// Whether a person's entry was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    No,
    /// It is as it should be, and was forgotten.
    Settled,
    /// It needs something, and has to wait.
    Deferred,
    /// It is kept, with its person.
    Kept,
}

#[derive(Debug)]
struct Person {
    guid: Guid,
    parent: Option<Guid>,
    kind: Kind,
    seen: Seen,
    /// It could not be read in full, and is held wherever it is.
    partial: bool,
    name: Box<str>,
    /// Nobody else's entry names this person.
    unnamed: bool,
    mails: Box<[u64]>,
}

/// An entry that is not where its person's name says: a leaver's, or one that has to wait.
#[derive(Debug)]
struct Left {
    guid: Guid,
    dn: Box<str>,
}

/// What is left to plan with.
#[derive(Debug)]
pub struct Sight {
    pub staged: Staged,
    pub view: TargetView,
    pub others: Others,
}

/// Somebody who must be looked at after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recall {
    pub guid: Guid,
    /// Where the entry is; none when there is none or it is kept already.
    pub dn: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub struct Survey {
    frame: Frame,
    /// Attributes that stamps are made over.
    stamped: BTreeSet<String>,
    /// Everything that is no person, with nothing but its place and class.
    tree: Vec<Object>,
    people: Vec<Person>,
    /// Who refers to whom: the one referred to, the number of the one who refers.
    refers: Vec<(Guid, Guid)>,
    /// Fingerprints of names and mails with the numbers of those who are to have them, in order.
    names: Vec<(u64, u32)>,
    mails: Vec<(u64, u32)>,
    left: HashMap<u64, Left>,
    /// Fingerprints of mails that entries have which have to wait.
    holding: HashMap<u64, Guid>,
    units: BTreeMap<Guid, u64>,
    staged: BTreeMap<Guid, Object>,
    view: TargetView,
    changing: usize,
    /// Entries that are looked at beyond the most, because they do not say plainly whose they are.
    beyond: usize,
    asking: BTreeMap<Guid, bool>,
    wanted: HashSet<Want>,
    looked: HashSet<Want>,
}

/// What somebody who needs something may take from others, or give them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Want {
    Name(u64),
    Mail(u64),
    /// Those who refer to this person.
    Referrers(Guid),
    Person(Guid),
}

fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn mails(values: &[String]) -> impl Iterator<Item = u64> {
    values.iter().map(|mail| fingerprint(&mail.to_lowercase()))
}

impl Survey {
    /// Nobody is known yet.
    pub fn new(frame: Frame) -> Survey {
        Survey {
            stamped: drift::stamped(&frame.scope, &frame.national),
            frame,
            tree: Vec::new(),
            people: Vec::new(),
            refers: Vec::new(),
            names: Vec::new(),
            mails: Vec::new(),
            left: HashMap::new(),
            holding: HashMap::new(),
            units: BTreeMap::new(),
            staged: BTreeMap::new(),
            view: TargetView::default(),
            changing: 0,
            beyond: 0,
            asking: BTreeMap::new(),
            wanted: HashSet::new(),
            looked: HashSet::new(),
        }
    }

    /// First of all every staged object, in any order.
    pub fn staged(&mut self, mut object: Object) {
        if !desired::is_person(&object) {
            object.attributes.retain(|name, _| name == "objectclass");
            object.references.clear();
            self.tree.push(object);
            return;
        }
        let mut held = BTreeSet::new();
        let fate = desired::fate(&self.frame.member, &object, true, &self.frame.scope, &mut held);
        let (kind, wish) = match fate {
            Fate::Publish(wish) => (Kind::Publish, Some(wish)),
            Fate::Hold => (Kind::Hold, None),
            Fate::Leave(desired::NOT_PUBLISHED) => (Kind::Erase, None),
            Fate::Leave(_) => (Kind::Leave, None),
        };
        if let Some(unnamed) = desired::asks(&object, &self.frame.scope).filter(|_| !object.deleted) {
            self.asking.insert(object.guid, unnamed);
        }
        let mails = wish.iter().flat_map(|wish| wish.attributes.get("mail")).flat_map(|all| mails(all));
        let mut mails: Vec<u64> = mails.collect();
        mails.dedup();
        self.people.push(Person {
            guid: object.guid,
            parent: object.parent,
            kind,
            seen: Seen::No,
            partial: object.partial && !object.deleted,
            mails: mails.into(),
            unnamed: wish.as_ref().is_some_and(|wish| wish.unnamed),
            name: wish.map(|wish| wish.name.into()).unwrap_or_default(),
        });
        if kind == Kind::Publish {
            self.refers.extend(object.references.values().flatten().map(|to| (*to, object.guid)));
        }
    }

    /// The objects that are no people, as a tree.
    pub fn tree(&self) -> Staged {
        Staged::of(self.tree.iter().cloned())
    }

    /// Then, once, the scope's bases; none: the whole tree.
    pub fn place(&mut self, bases: Option<&BTreeSet<Guid>>) {
        self.people.sort_unstable_by_key(|person| person.guid);
        self.refers.sort_unstable();
        self.tree.sort_unstable_by_key(|object| object.guid);
        if let Some(bases) = bases {
            let mut known = HashMap::new();
            let outside = |person: &Person, known: &mut HashMap<Guid, bool>| {
                let below = |parent| self.is_below(parent, bases, known);
                !person.partial && !bases.contains(&person.guid) && !person.parent.is_some_and(below)
            };
            let outside: Vec<bool> = self.people.iter().map(|person| outside(person, &mut known)).collect();
            for (person, outside) in self.people.iter_mut().zip(outside) {
                // a wish not to be listed holds wherever somebody is
                if outside && person.kind != Kind::Erase {
                    person.kind = Kind::Leave;
                }
            }
        }
        self.index();
    }

    fn is_below(&self, guid: Guid, bases: &BTreeSet<Guid>, known: &mut HashMap<Guid, bool>) -> bool {
        let (mut at, mut way) = (Some(guid), Vec::new());
        let mut below = false;
        for _ in 0..DEPTH_MAX {
            let Some(here) = at else { break };
            if let Some(told) = known.get(&here) {
                below = *told;
                break;
            }
            way.push(here);
            if bases.contains(&here) {
                below = true;
                break;
            }
            at = self.parent(&here);
        }
        known.extend(way.into_iter().map(|guid| (guid, below)));
        below
    }

    fn parent(&self, guid: &Guid) -> Option<Guid> {
        match self.find(guid) {
            Some(at) => self.people.get(at)?.parent,
            None => self.tree.get(self.tree.binary_search_by_key(guid, |object| object.guid).ok()?)?.parent,
        }
    }

    fn find(&self, guid: &Guid) -> Option<usize> {
        self.people.binary_search_by_key(guid, |person| person.guid).ok()
    }

    fn index(&mut self) {
        for (at, person) in self.people.iter().enumerate().filter(|(_, person)| !person.kind.leaves()) {
            if let Some(unit) = person.parent {
                *self.units.entry(unit).or_insert(0) += 1;
            }
            if person.kind == Kind::Publish {
                let at = u32::try_from(at).unwrap_or(u32::MAX);
                let key = naming::key(&naming::dn(&person.name, &self.frame.base));
                self.names.push((fingerprint(&key), at));
                self.mails.extend(person.mails.iter().map(|mail| (*mail, at)));
            }
        }
        self.names.sort_unstable();
        self.mails.sort_unstable();
        // what more than one is to have is settled by the plan
        let twice = |all: &[(u64, u32)], want: fn(u64) -> Want| -> Vec<Want> {
            let pairs = all.windows(2).filter_map(|pair| match pair {
                [(one, a), (two, b)] if one == two && a != b => Some(want(*one)),
                _ => None,
            });
            pairs.collect()
        };
        self.wanted.extend(twice(&self.names, Want::Name));
        self.wanted.extend(twice(&self.mails, Want::Mail));
    }

    /// Whose staged object is needed to compare this entry.
    pub fn needs(&self, entry: &TargetEntry) -> Option<Guid> {
        let anchor = entry.anchor().filter(|anchor| anchor.member == self.frame.member)?;
        let person = self.people.get(self.find(&anchor.guid)?)?;
        let leaves = person.kind == Kind::Leave && self.stays_left(entry);
        (!leaves && person.seen == Seen::No).then_some(anchor.guid)
    }

    fn stays_left(&self, entry: &TargetEntry) -> bool {
        let over = entry.left_at().is_some_and(|at| at + self.frame.scope.keep <= self.frame.now);
        entry.has_left()
            && !over
            && naming::is_directly_below(&entry.dn, &self.frame.base)
            && drift::is_as_written(entry, &self.stamped)
    }

    /// Then each national entry of the member, with its staged object when [`Survey::needs`] names one.
    pub fn compare(&mut self, entry: TargetEntry, object: Option<Object>) {
        let ours = entry.anchor().filter(|anchor| anchor.member == self.frame.member);
        let Some((guid, at)) = ours.and_then(|anchor| Some((anchor.guid, self.find(&anchor.guid)?))) else {
            return self.keep(entry);
        };
        let (kind, seen) = match self.people.get(at) {
            Some(person) => (person.kind, person.seen),
            None => return,
        };
        if seen != Seen::No {
            self.wanted.extend([Want::Person(guid), Want::Referrers(guid)]);
            return self.keep(entry);
        }
        let (same, told) = match (kind, &object) {
            (Kind::Leave, _) => (self.stays_left(&entry), false),
            (Kind::Publish, Some(object)) => self.is_settled(&entry, object),
            _ => (false, false),
        };
        // of whom something is held back must be told, and needs nothing
        let settled = same && !told;
        let full = kind == Kind::Publish && self.changing >= self.frame.most;
        // it may be another's than it says, of somebody who cannot wait; as many again
        let unclear = full && self.beyond < self.frame.most && !drift::is_as_written(&entry, &self.stamped);
        self.beyond += usize::from(!same && unclear);
        let waits = !same && full && !unclear;
        let seen = match (settled, waits) {
            (true, _) => Seen::Settled,
            (_, true) => Seen::Deferred,
            _ => Seen::Kept,
        };
        if let Some(person) = self.people.get_mut(at) {
            person.seen = seen;
        }
        if seen == Seen::Kept {
            let moves = self.people.get(at).is_some_and(|person| {
                naming::key(&entry.dn) != naming::key(&naming::dn(&person.name, &self.frame.base))
            });
            self.keep(entry);
            self.keep_person(at, moves);
            self.changing -= usize::from(same && kind == Kind::Publish);
            self.staged.extend(object.map(|object| (object.guid, object)));
        } else if kind == Kind::Leave || seen == Seen::Deferred {
            let key = naming::key(&entry.dn);
            self.holding.extend(mails(entry.values("mail")).map(|mail| (mail, guid)));
            self.left.insert(fingerprint(&key), Left { guid, dn: entry.dn.into() });
        }
    }

    /// Whether an entry is as it should be, and whether anything of its person is held back.
    fn is_settled(&self, entry: &TargetEntry, object: &Object) -> (bool, bool) {
        let mut held = BTreeSet::new();
        let fate = desired::fate(&self.frame.member, object, true, &self.frame.scope, &mut held);
        let Fate::Publish(mut wish) = fate else { return (false, false) };
        let place = |guid: &Guid| {
            let person = self.people.get(self.find(guid)?)?;
            if person.kind != Kind::Publish || person.unnamed || self.was_unnamed(guid) {
                return None;
            }
            Some(naming::dn(&person.name, &self.frame.base))
        };
        difference::refer(&mut wish.attributes, object, &self.frame.scope, place);
        let ownership = Ownership { scope: &self.frame.scope, national: &self.frame.national };
        (ownership.is_settled(entry, &wish, &self.key(&wish)), !held.is_empty())
    }

    /// Whether the person asked for not being named, and no wish is read any more.
    fn was_unnamed(&self, guid: &Guid) -> bool {
        self.frame.asked.get(guid) == Some(&true) && !self.asking.contains_key(guid)
    }

    fn key(&self, wish: &Desired) -> String {
        naming::key(&naming::dn(&wish.name, &self.frame.base))
    }

    fn keep(&mut self, entry: TargetEntry) {
        let key = naming::key(&entry.dn);
        self.wanted.insert(Want::Name(fingerprint(&key)));
        self.wanted.extend(mails(entry.values("mail")).map(Want::Mail));
        self.view.entries.push(entry);
    }

    /// `moves`: its entry is to have another name than it has.
    fn keep_person(&mut self, at: usize, moves: bool) {
        let Some(person) = self.people.get_mut(at) else { return };
        person.seen = Seen::Kept;
        let (guid, parent) = (person.guid, person.parent);
        if person.kind == Kind::Publish {
            self.changing += 1;
            let key = naming::key(&naming::dn(&person.name, &self.frame.base));
            self.wanted.insert(Want::Name(fingerprint(&key)));
            self.wanted.extend(person.mails.iter().copied().map(Want::Mail));
        }
        if moves {
            self.wanted.insert(Want::Referrers(guid));
        }
        // a person may be the container of another: then its place is needed
        self.wanted.extend(parent.filter(|parent| self.find(parent).is_some()).map(Want::Person));
    }

    /// Whether the member's organisational unit is there.
    pub fn base_exists(&mut self) {
        self.view.base_exists = true;
    }

    /// Then: entries that do not say plainly whose they are.
    pub fn unclear(&self) -> impl Iterator<Item = &TargetEntry> + Clone {
        let is_known = |guid: &Guid| self.find(guid).is_some();
        let all = self.view.entries.iter();
        all.filter(move |entry| drift::is_unclear(entry, &self.frame.member, &self.stamped, is_known))
    }

    /// Whose entries are, by what the directory calls them.
    pub fn written_for(&mut self, owners: &BTreeMap<String, Anchor>) {
        for entry in &mut self.view.entries {
            if let Some(owner) = owners.get(&entry.entry_uuid) {
                entry.written_for = Some(owner.clone());
                self.wanted.extend((owner.member == self.frame.member).then_some(Want::Person(owner.guid)));
            }
        }
    }

    /// Then: who leaves and has no entry here. Somebody may have moved it out of the unit.
    pub fn leavers(&self) -> Vec<Guid> {
        let all = self.people.iter().filter(|person| person.kind == Kind::Leave && person.seen == Seen::No);
        all.map(|person| person.guid).collect()
    }

    /// These are to be looked at.
    pub fn look_for(&mut self, guids: impl Iterator<Item = Guid>) {
        self.wanted.extend(guids.map(Want::Person));
    }

    /// Then, until there is nobody left: who must be looked at after all. What is known of each is told by [`Survey::look_at`].
    pub fn recall(&mut self) -> Vec<Recall> {
        let mut found = BTreeSet::new();
        for at in 0..self.people.len() {
            let Some(person) = self.people.get(at).filter(|person| person.seen == Seen::No) else { continue };
            // held people are told of whether they have an entry or not; whoever leaves and has none needs nothing
            let create = person.kind == Kind::Publish && self.changing < self.frame.most;
            // nor does whoever asks not to be listed, unless the entry was moved to somewhere else
            if create || matches!(person.kind, Kind::Hold | Kind::Erase) {
                found.insert(at);
                self.keep_person(at, true);
            }
        }
        let wanted: Vec<Want> = self.wanted.drain().filter(|want| self.looked.insert(*want)).collect();
        let mut leavers = BTreeSet::new();
        for want in wanted {
            match want {
                Want::Name(name) => {
                    found.extend(having(&self.names, name));
                    leavers.extend(self.left.get(&name).map(|left| left.guid));
                }
                Want::Mail(mail) => {
                    found.extend(having(&self.mails, mail));
                    leavers.extend(self.holding.get(&mail));
                }
                Want::Referrers(to) => {
                    let from = self.refers.partition_point(|(guid, _)| *guid < to);
                    let all = self.refers.get(from..).unwrap_or_default();
                    let who = all.iter().take_while(|(guid, _)| *guid == to).map(|(_, who)| *who);
                    found.extend(who.filter_map(|who| self.find(&who)));
                }
                Want::Person(guid) => found.extend(self.find(&guid)),
            }
        }
        found.extend(leavers.iter().filter_map(|guid| self.find(guid)));
        let elsewhere: HashMap<Guid, &Left> = self.left.values().map(|left| (left.guid, left)).collect();
        let mut recalls = Vec::new();
        for at in found {
            let Some(person) = self.people.get(at) else { continue };
            if person.seen == Seen::Kept && self.staged.contains_key(&person.guid) {
                continue;
            }
            let dn =
                match person.seen {
                    Seen::Settled | Seen::Deferred => Some(elsewhere.get(&person.guid).map_or_else(
                        || naming::dn(&person.name, &self.frame.base),
                        |left| left.dn.to_string(),
                    )),
                    Seen::No | Seen::Kept => None,
                };
            recalls.push(Recall { guid: person.guid, dn });
        }
        for recall in &recalls {
            if let Some(at) = self.find(&recall.guid) {
                let settled = self.people.get(at).is_some_and(|person| person.seen == Seen::Settled);
                self.keep_person(at, !settled);
            }
        }
        recalls
    }

    /// Takes in somebody who was recalled.
    pub fn look_at(&mut self, object: Object, entry: Option<TargetEntry>) {
        if let Some(entry) = entry {
            self.keep(entry);
        }
        self.staged.insert(object.guid, object);
    }

    /// What is left to plan with.
    pub fn finish(self) -> Sight {
        let (mut asking, mut withdrawn) = (self.asking.clone(), BTreeSet::new());
        for (guid, unnamed) in self.frame.asked.iter().filter(|(guid, _)| !self.asking.contains_key(*guid)) {
            match self.find(guid).and_then(|at| self.people.get(at)).map(|person| person.kind) {
                Some(Kind::Publish) => _ = withdrawn.insert(*guid),
                // who is held or has left may come back: then it is asked again
                Some(_) => _ = asking.insert(*guid, *unnamed),
                None => {}
            }
        }
        let unnamed: BTreeSet<Guid> =
            withdrawn.iter().filter(|guid| self.was_unnamed(guid)).copied().collect();
        let mut others = Others { units: self.units, asking, withdrawn, unnamed, ..Others::default() };
        for person in self.people {
            match person.seen {
                _ if person.kind != Kind::Publish => continue,
                Seen::Kept => continue,
                Seen::Settled => others.published += 1,
                Seen::Deferred => {
                    others.published += 1;
                    others.deferred += 1;
                }
                Seen::No => others.deferred += 1,
            }
            others.people += 1;
            if !person.unnamed && !others.unnamed.contains(&person.guid) {
                others.names.push((person.guid, person.name));
            }
        }
        let staged = Staged::of(self.tree.into_iter().chain(self.staged.into_values()));
        Sight { staged, view: self.view, others }
    }
}

fn having(index: &[(u64, u32)], wanted: u64) -> impl Iterator<Item = usize> {
    let from = index.partition_point(|(one, _)| *one < wanted);
    let all = index.get(from..).unwrap_or_default();
    all.iter().take_while(move |(one, _)| *one == wanted).map(|(_, at)| *at as usize)
}
