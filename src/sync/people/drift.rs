//! What others did to entries of ours: held against what the journal says is published, and against the stamp that each entry
//! carries of its own content.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::policy::terms::OdsCode;
use crate::sync::people::books::Books;
use crate::sync::people::desired::{self, NAMING};
use crate::sync::people::difference::PUBLISHABLE;
use crate::sync::people::naming;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::settings::Scope;
use crate::sync::terms::target::{ANCHOR, Anchor, LEFT_AT, MEMBER, STAMP, TargetEntry, left_stamp};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What is published of it is not what we wrote.
    Edited,
    /// It is gone, and not by us.
    Deleted,
    /// It has another name than we gave it.
    Renamed,
    /// It lies in the member's unit and is none of the member's.
    Foreign,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Edited, Kind::Deleted, Kind::Renamed, Kind::Foreign];

    /// The word for labels and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Edited => "edited",
            Kind::Deleted => "deleted",
            Kind::Renamed => "renamed",
            Kind::Foreign => "foreign",
        }
    }

    /// Whether the next plan mends it.
    pub const fn is_mended(self) -> bool {
        !matches!(self, Kind::Foreign)
    }
}

/// One entry that is not as it should be. An entry may be edited and renamed: then there are two of these.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Drift {
    pub kind: Kind,
    /// The account; none for a foreign entry.
    pub guid: Option<Guid>,
    /// Where the entry is, or was.
    pub dn: String,
    /// The name that we gave it, when it has another.
    pub named: Option<String>,
}

/// An entry of a member's unit, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen<'a> {
    pub dn: &'a str,
    /// None: it carries none, or one of another member.
    pub guid: Option<Guid>,
    pub stamp: Option<&'a str>,
    /// Whether the stamp is that of its content.
    pub fits: bool,
}

/// The attributes that a member's stamps are made over, lower case.
pub fn stamped(scope: &Scope, national: &BTreeSet<String>) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = PUBLISHABLE.iter().map(|name| (*name).to_owned()).collect();
    names.extend(scope.attributes.keys().cloned());
    names.extend([ANCHOR.to_owned(), MEMBER.to_owned()]);
    names.retain(|name| name != NAMING && !national.contains(name) && !scope.shared.contains_key(name));
    names
}

/// The stamp that an entry should carry. Names are lower case.
pub fn stamp_of<'a>(
    attributes: impl Iterator<Item = (&'a str, Vec<String>)>,
    stamped: &BTreeSet<String>,
) -> String {
    let mut left_at = None;
    let content: BTreeMap<String, Vec<String>> = attributes
        .inspect(|(name, values)| {
            if *name == LEFT_AT {
                left_at = values.first().cloned();
            }
        })
        .filter(|(name, values)| stamped.contains(*name) && !values.is_empty())
        .map(|(name, mut values)| {
            values.sort();
            values.dedup();
            (name.to_owned(), values)
        })
        .collect();
    let content = desired::stamp(&content);
    left_at.map_or_else(|| content.clone(), |at| left_stamp(&content, &at))
}

/// Whether an entry carries the stamp of what it says.
pub fn is_as_written(entry: &TargetEntry, stamped: &BTreeSet<String>) -> bool {
    let content = entry.attributes.iter().map(|(name, values)| (name.as_str(), values.clone()));
    entry.first(STAMP) == Some(stamp_of(content, stamped).as_str())
}

/// Whether an entry does not say plainly whose it is: by an anchor of somebody known, under the stamp that covers it.
pub fn is_unclear(
    entry: &TargetEntry,
    member: &OdsCode,
    stamped: &BTreeSet<String>,
    is_known: impl Fn(&Guid) -> bool,
) -> bool {
    !entry.person(member).is_some_and(|guid| is_known(&guid)) || !is_as_written(entry, stamped)
}

/// The account behind an entry of `member`'s unit.
pub fn account(member: &OdsCode, anchor: Option<&str>) -> Option<Guid> {
    Anchor::parse(anchor?).filter(|anchor| anchor.member == *member).map(|anchor| anchor.guid)
}

/// What of `seen` is not as the books say; accounts in `busy` are left out, their entries are being written. Sorted. `closed`: the
/// organisation is, and its successor takes its entries away.
pub fn find<'a>(
    books: &Books,
    seen: impl Iterator<Item = Seen<'a>>,
    busy: &BTreeSet<Guid>,
    closed: bool,
) -> Vec<Drift> {
    let mut found = Vec::new();
    let mut here: BTreeSet<Guid> = BTreeSet::new();
    let mut seen: Vec<Seen<'a>> = seen.collect();
    // of two with one anchor the one that is where we put it and as we wrote it is the person's
    seen.sort_by_cached_key(|entry| {
        entry
            .guid
            .and_then(|guid| books.entries().get(&guid))
            .is_none_or(|one| !entry.fits || naming::key(&one.dn) != naming::key(entry.dn))
    });
    for entry in seen {
        let drift = |kind, named: Option<&String>| Drift {
            kind,
            guid: entry.guid,
            dn: entry.dn.to_owned(),
            named: named.cloned(),
        };
        let Some(guid) = entry.guid else {
            found.push(drift(Kind::Foreign, None));
            continue;
        };
        let first = here.insert(guid);
        if busy.contains(&guid) {
            continue;
        }
        let Some(published) = books.entries().get(&guid) else {
            // written by a gateway whose journal is not here: its stamp still says whether it was changed
            if !entry.fits {
                found.push(drift(Kind::Edited, None));
            }
            continue;
        };
        if !first {
            // a copy; which of the two is ours their names may say
            found.push(Drift { guid: None, ..drift(Kind::Foreign, None) });
            continue;
        }
        let ours = published.stamp.as_deref().is_none_or(|stamp| entry.stamp == Some(stamp));
        if !entry.fits || !ours {
            found.push(drift(Kind::Edited, None));
        }
        if naming::key(&published.dn) != naming::key(entry.dn) {
            found.push(drift(Kind::Renamed, Some(&published.dn)));
        }
    }
    let gone = books.entries().iter().filter(|(guid, published)| {
        !here.contains(*guid) && !busy.contains(*guid) && !published.left && !closed
    });
    found.extend(gone.map(|(guid, published)| Drift {
        kind: Kind::Deleted,
        guid: Some(*guid),
        dn: published.dn.clone(),
        named: None,
    }));
    found.sort();
    found
}

/// How many there are of each kind.
pub fn counts(found: &[Drift]) -> BTreeMap<Kind, u64> {
    let mut counts: BTreeMap<Kind, u64> = Kind::ALL.into_iter().map(|kind| (kind, 0)).collect();
    for one in found {
        *counts.entry(one.kind).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::store::record::{JournalEntry, NewJournalEntry};
    use crate::sync::terms::step::{Action, Change, Step};

    fn guid(number: u8) -> Guid {
        Guid([number; 16])
    }

    fn line(seq: u64, step: u64, phase: &str, document: Option<&Step>) -> JournalEntry {
        let document = document.map_or(b"{}".to_vec(), |step| serde_json::to_vec(step).unwrap());
        let (plan, at) = ("p".to_owned(), OffsetDateTime::UNIX_EPOCH);
        JournalEntry { seq, entry: NewJournalEntry { plan, step, phase: phase.to_owned(), at, document } }
    }

    fn step(action: Action, number: u8, dn: &str, to: Option<&str>, stamp: Option<&str>) -> Step {
        let after = stamp.map(|stamp| Change {
            attribute: STAMP.to_owned(),
            before: Vec::new(),
            after: vec![stamp.to_owned()],
        });
        Step {
            action,
            anchor: Some(Anchor { member: "RXA".parse().unwrap(), guid: guid(number) }),
            dn: dn.to_owned(),
            to: to.map(str::to_owned),
            entry_uuid: None,
            entry_csn: None,
            changes: after.into_iter().collect(),
            reason: String::new(),
            rule: String::new(),
            needs: Vec::new(),
        }
    }

    fn books(steps: &[(Step, &str)]) -> Books {
        let mut books = Books::default();
        for (number, (step, phase)) in steps.iter().enumerate() {
            let number = number as u64;
            books.read(&line(number * 2 + 1, number, "intended", Some(step)));
            books.read(&line(number * 2 + 2, number, phase, None));
        }
        books
    }

    fn seen(
        dn: &str,
        number: u8,
        stamp: &'static str,
        fits: bool,
    ) -> (String, Option<Guid>, &'static str, bool) {
        (dn.to_owned(), (number > 0).then(|| guid(number)), stamp, fits)
    }

    fn found(
        books: &Books,
        all: &[(String, Option<Guid>, &'static str, bool)],
        busy: &[u8],
    ) -> Vec<(Kind, String)> {
        let all = all.iter().map(|(dn, guid, stamp, fits)| Seen {
            dn,
            guid: *guid,
            stamp: Some(stamp),
            fits: *fits,
        });
        let busy = busy.iter().map(|number| guid(*number)).collect();
        find(books, all, &busy, false).into_iter().map(|one| (one.kind, one.dn)).collect()
    }

    #[test]
    fn each_kind_is_told_apart() {
        let books = books(&[
            (step(Action::Create, 1, "uid=a,ou=R", None, Some("s1")), "done"),
            (step(Action::Create, 2, "uid=b,ou=R", None, Some("s2")), "found_done"),
            (step(Action::Create, 3, "uid=c,ou=R", None, Some("s3")), "done"),
            (step(Action::Rename, 3, "uid=c,ou=R", Some("uid=d,ou=R"), None), "done"),
            (step(Action::Create, 4, "uid=e,ou=R", None, Some("s4")), "failed"),
            (step(Action::Create, 5, "uid=f,ou=R", None, Some("s5")), "done"),
            (step(Action::Delete, 5, "uid=f,ou=R", None, None), "done"),
            (step(Action::Create, 6, "uid=g,ou=R", None, Some("s6")), "done"),
        ]);
        let fine = [
            seen("uid=a,ou=R", 1, "s1", true),
            seen("UID=b, ou=r", 2, "s2", true),
            seen("uid=d,ou=R", 3, "s3", true),
            seen("uid=g,ou=R", 6, "s6", true),
        ];
        assert_eq!(found(&books, &fine, &[]), []);
        let bad = [
            seen("uid=a,ou=R", 1, "s1", false),
            seen("uid=b,ou=R", 2, "forged", true),
            seen("uid=c,ou=R", 3, "s3", true),
            seen("uid=x,ou=R", 0, "", false),
        ];
        let name = |text: &str| text.to_owned();
        let expected = [
            (Kind::Edited, name("uid=a,ou=R")),
            (Kind::Edited, name("uid=b,ou=R")),
            (Kind::Deleted, name("uid=g,ou=R")),
            (Kind::Renamed, name("uid=c,ou=R")),
            (Kind::Foreign, name("uid=x,ou=R")),
        ];
        let mut all = found(&books, &bad, &[]);
        assert_eq!(all, expected);
        all.retain(|(_, dn)| dn == "uid=x,ou=R");
        assert_eq!(found(&books, &bad, &[1, 2, 3, 6]), all, "what is being written is not judged");
    }

    #[test]
    fn a_copy_is_foreign_and_what_no_journal_knows_is_judged_by_its_stamp() {
        let books = books(&[(step(Action::Create, 1, "uid=a,ou=R", None, Some("s1")), "done")]);
        let all = [
            seen("uid=a,ou=R", 1, "s1", true),
            seen("uid=copy,ou=R", 1, "s1", true),
            seen("uid=old,ou=R", 9, "s", true),
            seen("uid=older,ou=R", 8, "s", false),
        ];
        let expected =
            [(Kind::Edited, "uid=older,ou=R".to_owned()), (Kind::Foreign, "uid=copy,ou=R".to_owned())];
        assert_eq!(found(&books, &all, &[]), expected);
    }

    #[test]
    fn only_what_is_published_is_stamped() {
        let scope = Scope {
            bases: Vec::new(),
            filter: crate::ldap::filter::Filter::present("cn"),
            attributes: BTreeMap::from([(
                "nhsrole".to_owned(),
                crate::sync::terms::settings::Origin::Constant("x".to_owned()),
            )]),
            mail_domains: BTreeSet::new(),
            keep: time::Duration::days(30),
            shared: Default::default(),
            person: None,
            levels: None,
            guards: Default::default(),
        };
        let stamped = stamped(&scope, &BTreeSet::from(["description".to_owned()]));
        let stamp = |values: &[(&'static str, &[&str])]| {
            let texts = |values: &&[&str]| values.iter().map(|value| (*value).to_owned()).collect();
            stamp_of(values.iter().map(|(name, values)| (*name, texts(values))), &stamped)
        };
        let plain = stamp(&[("cn", &["a"]), ("nhsrole", &["x"])]);
        let national = [
            ("cn", &["a"][..]),
            ("nhsrole", &["x"]),
            ("uid", &["u"]),
            ("userpassword", &["p"]),
            ("description", &["d"]),
        ];
        assert_eq!(stamp(&national), plain);
        assert_ne!(stamp(&[("cn", &["a"]), ("nhsrole", &["x"]), ("title", &["t"])]), plain);
        assert_ne!(stamp(&[("cn", &["a"])]), plain);
    }
}
