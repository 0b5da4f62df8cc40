//! Whose entries are, by the journal: what the national directory calls an entry never changes, whatever somebody does to its anchor, its name
//! or its content. Asked only for entries that do not say plainly whose they are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::ldap::dn::Dn;
use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::port::Store;
use crate::store::record::JournalEntry;
use crate::sync::keeping::shelf::Shelf;
use crate::sync::people::books::{DONE, INTENDED};
use crate::sync::people::naming;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::step::{Action, Change};
use crate::sync::terms::target::{ANCHOR, Anchor, MEMBER, TargetEntry};
use crate::sync::writing::record::Record;

/// Lines of the journal that are read at a time.
const PAGE: u32 = 1_000;

/// Of a step what matters here.
#[derive(Debug, Deserialize)]
struct Slim {
    action: Action,
    anchor: Option<Anchor>,
    entry_uuid: Option<String>,
    #[serde(default)]
    changes: Vec<Change>,
}

/// Whom a step leaves an entry to.
enum Left {
    /// As it was: the step did not decide it.
    Alone,
    To(Option<Guid>),
}

impl Slim {
    fn leaves(&self, member: &OdsCode) -> Left {
        let own = self.anchor.as_ref().map(|anchor| anchor.guid);
        let change = self.changes.iter().find(|change| change.attribute == ANCHOR);
        match change.filter(|_| self.action != Action::Delete) {
            _ if self.action == Action::Delete => Left::To(None),
            None => Left::To(own),
            Some(change) if change.before == change.after => Left::Alone,
            // the step was the person's, whatever else of this member it names
            Some(change) => {
                let anchor = change.after.first().and_then(|text| Anchor::parse(text));
                Left::To(own.filter(|_| anchor.is_some_and(|anchor| anchor.member == *member)))
            }
        }
    }
}

/// Whom an entry was written for last, and the journal's line that says so: lines are numbered over all members, and no clock jumps among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    guid: Guid,
    seq: u64,
}

/// What was found of entries up to a line of the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Owners {
    seq: u64,
    /// By what the directory calls them; none: nobody's.
    of: BTreeMap<String, Option<Held>>,
}

/// A fold over the journal.
struct Fold {
    member: OdsCode,
    owners: Owners,
    open: HashMap<(String, u64), (u64, Slim)>,
}

impl Fold {
    fn line(&mut self, JournalEntry { seq, entry }: JournalEntry) {
        self.owners.seq = seq;
        let key = (entry.plan, entry.step);
        if entry.phase == INTENDED {
            let slim = serde_json::from_slice::<Slim>(&entry.document).ok();
            self.open.extend(slim.map(|slim| (key, (seq, slim))));
            return;
        }
        let Some((_, slim)) = self.open.remove(&key).filter(|_| DONE.contains(&entry.phase.as_str())) else {
            return;
        };
        let Left::To(owner) = slim.leaves(&self.member) else { return };
        let told = || serde_json::from_slice::<Record>(&entry.document).ok()?.identity;
        let of = slim.entry_uuid.or_else(told).and_then(|identity| self.owners.of.get_mut(&identity));
        if let Some(of) = of {
            *of = owner.map(|guid| Held { guid, seq });
        }
    }
}

/// Looks up `asked` entries, each by what the directory calls it. `known` is what was found before.
fn look(
    store: &dyn Store,
    member: &OdsCode,
    asked: &BTreeSet<String>,
    known: Owners,
) -> Result<Owners, StoreError> {
    // the line that tells of one that was not asked for before may be any
    let all = asked.iter().all(|identity| known.of.contains_key(identity));
    let known = if all { known } else { Owners::default() };
    let of = asked.iter().map(|identity| (identity.clone(), known.of.get(identity).copied().flatten()));
    let mut fold = Fold {
        member: member.clone(),
        owners: Owners { seq: known.seq, of: of.collect() },
        open: HashMap::new(),
    };
    loop {
        let page = store.journal(member, fold.owners.seq, PAGE)?;
        if page.is_empty() {
            // what may still be done is read once more; lines that are read twice, in their order, change nothing
            let begun = fold.open.values().map(|(seq, _)| seq.saturating_sub(1)).min();
            let seq = begun.unwrap_or(fold.owners.seq);
            return Ok(Owners { seq, ..fold.owners });
        }
        page.into_iter().for_each(|line| fold.line(line));
    }
}

/// What other members' journals may know of an entry: those of the member whose anchor it carries, whose it says that it is, and in whose unit it lies.
fn others(entry: &TargetEntry, member: &OdsCode, everywhere: Option<&Dn>) -> BTreeSet<OdsCode> {
    let unit = everywhere.and_then(|everywhere| naming::unit(&entry.dn, everywhere));
    let lies_in = unit.and_then(|unit| unit.to_uppercase().parse().ok());
    let says = entry.first(MEMBER).and_then(|member| member.parse().ok());
    let all = entry.anchor().map(|anchor| anchor.member).into_iter().chain(says).chain(lies_in);
    all.filter(|other| other != member).collect()
}

/// Of all whose journals know an entry, it is theirs who wrote it last.
fn last(
    store: &dyn Store,
    member: &OdsCode,
    own: &BTreeMap<String, Option<Held>>,
    may: BTreeMap<OdsCode, BTreeSet<String>>,
) -> Result<BTreeMap<String, Anchor>, StoreError> {
    let own = own.iter().filter_map(|(identity, held)| Some((identity.clone(), (member.clone(), (*held)?))));
    let mut last: BTreeMap<String, (OdsCode, Held)> = own.collect();
    for (other, asked) in may {
        for (identity, held) in look(store, &other, &asked, Owners::default())?.of {
            let Some(held) = held else { continue };
            if last.get(&identity).is_none_or(|(_, before)| before.seq < held.seq) {
                last.insert(identity, (other.clone(), held));
            }
        }
    }
    let anchor = |(member, Held { guid, .. })| Anchor { member, guid };
    Ok(last.into_iter().map(|(identity, held)| (identity, anchor(held))).collect())
}

/// Of which member's journal must be asked for which entries beside our own.
fn asked_of<'a>(
    entries: impl Iterator<Item = &'a TargetEntry>,
    member: &OdsCode,
    everywhere: Option<&Dn>,
) -> BTreeMap<OdsCode, BTreeSet<String>> {
    let mut may: BTreeMap<OdsCode, BTreeSet<String>> = BTreeMap::new();
    for entry in entries {
        for other in others(entry, member, everywhere) {
            may.entry(other).or_default().insert(entry.entry_uuid.clone());
        }
    }
    may
}

/// Says of these entries whose they are. `everywhere`: what all members' units lie below.
pub fn tell<'a>(
    store: &dyn Store,
    member: &OdsCode,
    everywhere: Option<&Dn>,
    entries: impl Iterator<Item = &'a mut TargetEntry>,
) -> Result<(), StoreError> {
    let entries: Vec<&mut TargetEntry> = entries.collect();
    if entries.is_empty() {
        return Ok(());
    }
    let asked: BTreeSet<String> = entries.iter().map(|entry| entry.entry_uuid.clone()).collect();
    let own = look(store, member, &asked, Owners::default())?.of;
    let may = asked_of(entries.iter().map(|entry| &**entry), member, everywhere);
    let mut last = last(store, member, &own, may)?;
    entries.into_iter().for_each(|entry| entry.written_for = last.remove(&entry.entry_uuid));
    Ok(())
}

/// Where what was found is kept for the next time: keys in a member's sync state, JSON.
#[derive(Debug, Clone, Copy)]
pub enum Kept {
    /// Of entries in the member's unit.
    Here,
    /// Of entries outside of it.
    Elsewhere,
}

impl Kept {
    const fn key(self) -> &'static str {
        match self {
            Kept::Here => "owners",
            Kept::Elsewhere => "owners_elsewhere",
        }
    }
}

/// Whose entries are, by what the directory calls them; what our journal tells is kept for the next time.
pub async fn of<'a>(
    shelf: &Shelf,
    kept: Kept,
    everywhere: Option<&Dn>,
    entries: impl Iterator<Item = &'a TargetEntry> + Clone,
) -> Result<BTreeMap<String, Anchor>, SyncError> {
    let asked: BTreeSet<String> = entries.clone().map(|entry| entry.entry_uuid.clone()).collect();
    let before: Option<Owners> = shelf.json(kept.key()).await?;
    if asked.is_empty() {
        if before.is_some() {
            shelf.set(vec![(kept.key().to_owned(), None)]).await?;
        }
        return Ok(BTreeMap::new());
    }
    let known = before.clone().unwrap_or_default();
    let found = shelf.store(move |store, ods| look(store, ods, &asked, known)).await?;
    if before.as_ref() != Some(&found) {
        shelf.set(vec![(kept.key().to_owned(), serde_json::to_vec(&found).ok())]).await?;
    }
    let may = asked_of(entries, &shelf.ods, everywhere);
    shelf.store(move |store, ods| last(store, ods, &found.of, may)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::NewJournalEntry;
    use time::OffsetDateTime;

    fn fold(asked: &[&str]) -> Fold {
        Fold {
            member: "RXA".parse().unwrap(),
            owners: Owners { seq: 0, of: asked.iter().map(|uuid| ((*uuid).to_owned(), None)).collect() },
            open: HashMap::new(),
        }
    }

    fn step(fold: &mut Fold, action: &str, guid: u8, uuid: Option<&str>, told: Option<&str>, phase: &str) {
        let anchor = format!("RXA/{}", Guid([guid; 16]));
        let step = serde_json::json!({"action": action, "anchor": anchor, "entry_uuid": uuid});
        let record = serde_json::json!({"identity": told});
        for (phase, document) in [(INTENDED, step), (phase, record)] {
            fold.line(JournalEntry {
                seq: fold.owners.seq + 1,
                entry: NewJournalEntry {
                    plan: "p".to_owned(),
                    step: u64::from(guid),
                    phase: phase.to_owned(),
                    at: OffsetDateTime::UNIX_EPOCH,
                    document: serde_json::to_vec(&document).unwrap(),
                },
            });
        }
    }

    #[test]
    fn a_step_that_gives_an_entry_up_or_leaves_its_anchor_alone_takes_none() {
        let of = |action: &str, before: &[&str], after: &[&str]| {
            let change = serde_json::json!({"attribute": ANCHOR, "before": before, "after": after});
            let anchor = format!("RXA/{}", Guid([1; 16]));
            let step = serde_json::json!({
                "action": action, "anchor": anchor, "entry_uuid": "u", "changes": [change]
            });
            match serde_json::from_value::<Slim>(step).unwrap().leaves(&"RXA".parse().unwrap()) {
                Left::Alone => None,
                Left::To(owner) => Some(owner.map(|guid| guid.0[0])),
            }
        };
        let (own, theirs) = (format!("RXA/{}", Guid([1; 16])), format!("RXB/{}", Guid([2; 16])));
        assert_eq!(of("join", &[], &[&own]), Some(Some(1)));
        assert_eq!(of("claim", &[&theirs], &[&own]), Some(Some(1)));
        assert_eq!(of("modify", &[&own], &[]), Some(None), "an undoing");
        assert_eq!(of("modify", &[&own], &[&theirs]), Some(None), "an undoing of a claim");
        let another = format!("RXA/{}", Guid([3; 16]));
        assert_eq!(of("modify", &[&another], &[&own]), Some(Some(1)), "put back");
        assert_eq!(of("modify", &[&own], &[&another]), Some(Some(1)), "no step gives it to anybody else");
        assert_eq!(of("release", &[], &[]), None);
        assert_eq!(of("release", &[&theirs], &[&theirs]), None);
        assert_eq!(of("delete", &[&own], &[]), Some(None));
    }

    #[test]
    fn whoever_may_know_an_entry_is_asked() {
        let ours: OdsCode = "RXA".parse().unwrap();
        let of = |name: &str, value: &str| (name.to_owned(), vec![value.to_owned()]);
        let entry = |dn: &str, anchored: &str, says: &str| TargetEntry {
            dn: dn.to_owned(),
            entry_uuid: "u".to_owned(),
            entry_csn: "c".to_owned(),
            attributes: [of(ANCHOR, &format!("{anchored}/{}", Guid([1; 16]))), of(MEMBER, says)].into(),
            written_for: None,
        };
        let everywhere = Dn::parse("ou=people,dc=n").unwrap();
        let asked = |dn: &str, anchored: &str, says: &str| {
            let all = others(&entry(dn, anchored, says), &ours, Some(&everywhere));
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(asked("uid=a,ou=rxb,ou=people,dc=n", "RXC", "RXD"), ["RXB", "RXC", "RXD"]);
        // moved into our unit with an anchor of ours: it still says whose it was
        assert_eq!(asked("uid=a,ou=rxa,ou=people,dc=n", "RXA", "RXB"), ["RXB"]);
        assert_eq!(asked("uid=a,ou=rxa,ou=people,dc=n", "RXA", "RXA"), [] as [&str; 0]);
    }

    #[test]
    fn an_entry_is_the_persons_for_whom_it_was_written_last() {
        let mut fold = fold(&["u1", "u2", "u3", "u4", "u5"]);
        step(&mut fold, "create", 1, None, Some("u1"), "done");
        step(&mut fold, "create", 2, None, Some("u2"), "failed");
        // a crash: it was found done
        step(&mut fold, "create", 3, None, Some("u3"), "found_done");
        step(&mut fold, "modify", 4, Some("another"), None, "done");
        step(&mut fold, "claim", 5, Some("u5"), None, "done");
        step(&mut fold, "delete", 5, Some("u5"), None, "done");
        let owner = |uuid: &str| fold.owners.of[uuid].map(|held| held.guid.0[0]);
        assert_eq!(["u1", "u2", "u3", "u4", "u5"].map(owner), [Some(1), None, Some(3), None, None]);
    }
}
