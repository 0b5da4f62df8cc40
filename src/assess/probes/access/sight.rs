//! What is kept of the descriptors as they stream by: enough to report, and no more.

use std::collections::BTreeSet;

use crate::assess::probes::access::area::{Area, is_a, sid_of};
use crate::assess::probes::access::principal::{is_everybody, is_master};
use crate::assess::probes::access::right::{Holding, holdings};
use crate::assess::probes::descriptor::Descriptor;
use crate::assess::probes::unseen::{Reach, Unseen};
use crate::ldap::entry::Entry;

/// Objects that are kept: a domain has some hundreds, however many plain places lie in it.
const KEPT_MAX: usize = 200_000;
/// Objects that our own account could write to, as far as reports show them.
pub const WRITES_SHOWN: usize = 100;

/// One object whose list of access matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    pub dn: String,
    /// None where it has none, or where it is not shown.
    pub sid: Option<String>,
    /// What reports call it.
    pub name: String,
    pub area: Area,
    pub group: bool,
    pub seen: Seen,
}

/// What its descriptor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Read {
        owner: Option<String>,
        holdings: Vec<Holding>,
    },
    /// It did not come: our account may not read it.
    Hidden,
    /// It came and cannot be read, or asking for it failed.
    Failed(String),
}

/// Everything that was sighted in a pass.
#[derive(Debug, Clone, Default)]
pub struct Sightings {
    pub objects: Vec<Sight>,
    /// Group policy objects, as DNs in lower case, that controllers or privileged accounts apply.
    pub linked: BTreeSet<String>,
    /// Why something may be missing; empty when everything was read.
    pub missing: Vec<String>,
    /// What our account is not shown of objects that matter.
    pub unseen: Vec<Unseen>,
    /// The SIDs of our own account.
    pub who: BTreeSet<String>,
    /// The DN of our own account, which may write some of its own attributes.
    pub own: String,
    /// Objects that our own account could write to: as many as a report shows, and one more.
    pub writes: BTreeSet<String>,
    /// Objects of which our account may not read every property, as DNs in lower case.
    pub narrow: BTreeSet<String>,
    /// Sweeps that ended, so that one that was given up is known to be missing.
    pub ended: u32,
}

impl Sightings {
    /// Takes note of one entry.
    pub fn take(&mut self, entry: &Entry, area: Area, descriptor: &Result<Option<Descriptor>, String>) {
        if let Ok(Some(descriptor)) = descriptor {
            self.heed(entry, descriptor);
        }
        let seen = match descriptor {
            Ok(Some(descriptor)) => match kept(descriptor, area) {
                Some(seen) => seen,
                None => return,
            },
            Ok(None) => Seen::Hidden,
            Err(reason) => Seen::Failed(reason.clone()),
        };
        if area.is_linked()
            && let Some(links) = entry.text("gPLink")
        {
            self.linked.extend(linked(links));
        }
        if self.objects.len() >= KEPT_MAX {
            return self.overflow();
        }
        let name = entry.text("displayName").unwrap_or_else(|| first_name(&entry.dn)).to_owned();
        let (dn, sid, group) = (entry.dn.clone(), sid_of(entry), is_a(entry, "group"));
        self.objects.push(Sight { dn, sid, name, area, group, seen });
    }

    /// Takes note of one of many objects that are all alike in most forests: of those with the same rights the first stands for all.
    pub fn take_distinct(
        &mut self,
        entry: &Entry,
        area: Area,
        descriptor: &Result<Option<Descriptor>, String>,
    ) {
        let before = self.objects.len();
        self.take(entry, area, descriptor);
        let Some((last, others)) = self.objects.split_last() else { return };
        let same = |sight: &Sight| sight.area == area && sight.seen == last.seen && sight.dn != last.dn;
        if self.objects.len() > before && others.iter().any(same) {
            self.objects.pop();
        }
    }

    /// Takes note of what our own account may do with an object.
    fn heed(&mut self, entry: &Entry, descriptor: &Descriptor) {
        if !descriptor.shows_all(&self.who) {
            if self.narrow.len() == KEPT_MAX && self.missing.is_empty() {
                let reason = "our account may not read every property of more objects than are kept";
                // which they are is not known any more
                self.unseen.push(Unseen::new("any object", Reach::Both, reason.to_owned()));
                self.overflow();
            }
            if self.narrow.len() < KEPT_MAX {
                self.narrow.insert(entry.dn.to_lowercase());
            }
        }
        let own = entry.dn.eq_ignore_ascii_case(&self.own);
        if self.writes.len() <= WRITES_SHOWN && !own && descriptor.lets_write(&self.who) {
            self.writes.insert(entry.dn.clone());
        }
    }

    /// What is not kept any more is missing.
    fn overflow(&mut self) {
        let reason = || format!("more than {KEPT_MAX} objects have rights or owners that must be looked at");
        if self.missing.is_empty() {
            self.missing.push(reason());
        }
    }

    /// Takes note that what is not shown of the object may be what matters.
    pub fn veil(&mut self, what: &str, dn: &str) {
        let reason = format!("our account may not read every property of {what} `{dn}`");
        self.unseen.push(Unseen::new(dn, Reach::Itself, reason));
    }

    /// Takes note that an object that every domain has was not to be seen.
    pub fn miss(&mut self, dn: &str, area: Area) {
        let name = first_name(dn).to_owned();
        let (dn, sid) = (dn.to_owned(), None);
        self.objects.push(Sight { dn, sid, name, area, group: false, seen: Seen::Hidden });
    }

    /// Whether some object of the area was sighted.
    pub fn has(&self, area: Area) -> bool {
        self.objects.iter().any(|sight| sight.area == area)
    }
}

/// None when nothing is worth keeping.
fn kept(descriptor: &Descriptor, area: Area) -> Option<Seen> {
    let plain = area.is_plain();
    let keep = |sid: &str| if plain { is_everybody(sid) } else { !is_master(sid) };
    let mut holdings = holdings(descriptor);
    holdings.retain(|holding| keep(&holding.sid));
    let owner = descriptor.owner.clone();
    if plain && holdings.is_empty() && !owner.as_deref().is_some_and(is_everybody) {
        return None;
    }
    Some(Seen::Read { owner, holdings })
}

/// The DNs of a `gPLink`, in lower case: `[LDAP://cn={...},cn=policies,...;0]...` ([MS-GPOL] section 2.2.2). Links that are
/// switched off are taken too: who may edit the object may wait for the switch.
fn linked(links: &str) -> impl Iterator<Item = String> {
    links.split('[').filter_map(|link| {
        let lower = link.to_lowercase();
        let path = lower.strip_prefix("ldap://")?;
        Some(path.split([';', ']']).next()?.trim().to_owned())
    })
}

/// The value of a DN's first part, as written.
pub fn first_name(dn: &str) -> &str {
    let value = dn.split_once('=').map_or(dn, |(_, value)| value);
    cut(value).map_or(value, |(name, _)| name)
}

/// The DNs above this one, from the nearest.
pub fn above(dn: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(cut(dn).map(|(_, rest)| rest), |dn| cut(dn).map(|(_, rest)| rest))
}

/// What is before and after the first comma that is not escaped.
fn cut(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    let (at, _) = text.char_indices().find(|(_, c)| {
        let ends = *c == ',' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    })?;
    let (before, after) = text.split_at_checked(at)?;
    Some((before, after.strip_prefix(',')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_names() {
        let links =
            "[LDAP://CN={31B2},CN=Policies,CN=System,DC=x;0][LDAP://cn={6AC1},cn=policies,cn=system,DC=x;2]";
        let found: Vec<String> = linked(links).collect();
        assert_eq!(found, ["cn={31b2},cn=policies,cn=system,dc=x", "cn={6ac1},cn=policies,cn=system,dc=x"]);
        assert_eq!(linked(" ").count(), 0);
        assert_eq!(first_name("CN=Smith\\, Jo,OU=x"), "Smith\\, Jo");
        assert_eq!(first_name("DC=x"), "x");
        assert_eq!(first_name(""), "");
        assert_eq!(above("CN=a\\,b,OU=c,DC=x").collect::<Vec<_>>(), ["OU=c,DC=x", "DC=x"]);
        assert_eq!(above("").count(), 0);
    }

    #[test]
    fn of_those_that_are_alike_the_first_is_kept() {
        let quiet = Descriptor { owner: Some("S-1-5-32-544".to_owned()), entries: Some(Vec::new()) };
        let open = Descriptor { owner: None, entries: None };
        let mut sightings = Sightings::default();
        for (dn, descriptor) in [("CN=a", &quiet), ("CN=b", &quiet), ("CN=c", &open), ("CN=d", &quiet)] {
            let entry = Entry { dn: dn.to_owned(), attributes: Vec::new() };
            sightings.take_distinct(&entry, Area::Configuration, &Ok(Some(descriptor.clone())));
        }
        assert_eq!(
            sightings.objects.iter().map(|sight| sight.dn.as_str()).collect::<Vec<_>>(),
            ["CN=a", "CN=c"]
        );
        // no list lets everybody write, but for our own account itself
        assert_eq!(sightings.writes, BTreeSet::from(["CN=c".to_owned()]));
        sightings.own = "cn=e".to_owned();
        let own = Entry { dn: "CN=E".to_owned(), attributes: Vec::new() };
        sightings.take(&own, Area::Protected, &Ok(Some(open)));
        assert_eq!(sightings.writes.len(), 1);
    }

    #[test]
    fn of_a_plain_place_only_everybodys_rights_are_kept() {
        let quiet = Descriptor { owner: Some("S-1-5-32-544".to_owned()), entries: Some(Vec::new()) };
        assert_eq!(kept(&quiet, Area::Place), None);
        assert!(kept(&quiet, Area::Domain).is_some());
        let open = Descriptor { owner: None, entries: None };
        assert!(kept(&open, Area::Place).is_some());
    }
}
