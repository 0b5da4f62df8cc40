//! What is kept of the descriptors as they stream by: enough to report, and no more.

use std::collections::BTreeSet;

use crate::assess::probes::access::area::{Area, is_a, sid_of};
use crate::assess::probes::access::principal::{is_everybody, is_master};
use crate::assess::probes::access::right::{Holding, holdings};
use crate::assess::probes::descriptor::Descriptor;
use crate::assess::probes::unseen::{Reach, Unseen};
use crate::ldap::entry::Entry;

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
    /// Group policy objects, as DNs in lower case, that controllers apply.
    pub linked: BTreeSet<String>,
    /// Why something may be missing; empty when everything was read.
    pub missing: Vec<String>,
    /// What our account is not shown of objects that matter.
    pub unseen: Vec<Unseen>,
    /// The SIDs of our own account.
    pub who: BTreeSet<String>,
    /// Objects of which our account may not read every property, as DNs in lower case.
    pub narrow: BTreeSet<String>,
    /// Sweeps that ended, so that one that was given up is known to be missing.
    pub ended: u32,
}

impl Sightings {
    /// Takes note of one entry.
    pub fn take(&mut self, entry: &Entry, area: Area, descriptor: &Result<Option<Descriptor>, String>) {
        if let Ok(Some(descriptor)) = descriptor
            && !descriptor.shows_all(&self.who)
        {
            self.narrow.insert(entry.dn.to_lowercase());
        }
        let seen = match descriptor {
            Ok(Some(descriptor)) => match kept(descriptor, area) {
                Some(seen) => seen,
                None => return,
            },
            Ok(None) => Seen::Hidden,
            Err(reason) => Seen::Failed(reason.clone()),
        };
        if matches!(area, Area::Domain | Area::ControllersUnit | Area::Sites)
            && let Some(links) = entry.text("gPLink")
        {
            self.linked.extend(linked(links));
        }
        let name = entry.text("displayName").unwrap_or_else(|| first_name(&entry.dn)).to_owned();
        let (dn, sid, group) = (entry.dn.clone(), sid_of(entry), is_a(entry, "group"));
        self.objects.push(Sight { dn, sid, name, area, group, seen });
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
    let mut escaped = false;
    let end = value.char_indices().find(|(_, c)| {
        let ends = *c == ',' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    value.split_at_checked(end.map_or(value.len(), |(at, _)| at)).map_or(value, |(name, _)| name)
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
