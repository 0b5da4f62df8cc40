//! The one tree: which directory a name belongs to, which directories a search concerns.
//!
//! Nothing here costs more when more directories are mounted, but for a search that itself names nothing: names and
//! domains are found by hash, and permits are asked for only where something can match.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::ldap::dn::Dn;
use crate::ldap::entry::{Attribute, Entry};
use crate::ldap::filter::Filter;
use crate::ldap::message::Scope;
use crate::ldap::truth::{Truth, evaluate};
use crate::namespace::demand::{self, Need, Units};
use crate::namespace::error::RouteError;
use crate::namespace::index::Index;
use crate::namespace::names::Suffix;
use crate::policy::documents::{Members, Targets};
use crate::policy::terms::Target;

/// The name of the tree.
pub const ROOT: &str = "o=federation";

/// One directory that is mounted into the tree.
#[derive(Debug, Clone)]
pub struct Mount {
    pub target: Target,
    /// Mail domains that the member owns, lower case.
    pub mail_domains: BTreeSet<String>,
    /// Suffixes of user principal names that the member owns, lower case.
    pub upn_suffixes: BTreeSet<String>,
    /// Which values it possibly holds, for the requesters of a population (`Agreement::population`); where none is: any.
    pub indexes: Indexes,
}

/// Indexes of one directory by population. An index may hold nothing of people who do not exist for its population: how many
/// directories a search asks would tell of them.
pub type Indexes = Vec<(Arc<str>, Arc<Index>)>;

impl Mount {
    /// A directory that owns nothing and of which nothing is known.
    pub fn new(target: Target) -> Mount {
        Mount { target, mail_domains: BTreeSet::new(), upn_suffixes: BTreeSet::new(), indexes: Vec::new() }
    }
}

/// Every mount, and who owns what.
#[derive(Debug, Clone)]
pub struct Routes {
    root: Suffix,
    /// By target, in order: national first, then members by code.
    mounts: Vec<Place>,
    /// By the own relative name of the mount point, as it compares.
    units: HashMap<String, usize>,
    targets: HashMap<Target, usize>,
    mail_domains: HashMap<String, Vec<usize>>,
    upn_suffixes: HashMap<String, Vec<usize>>,
}

#[derive(Debug, Clone)]
struct Place {
    target: Target,
    suffix: Suffix,
    indexes: Indexes,
}

impl Place {
    fn index(&self, population: &str, since: i64) -> Option<&Index> {
        let of = self.indexes.iter().find(|(of, _)| **of == *population);
        of.map(|(_, index)| index.as_ref()).filter(|index| index.read_at() >= since)
    }
}

/// Where a search goes. Entries that we answer for ourselves still have to pass the filter and the view
/// ([`Synthetic`]); each leg still needs its permit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route {
    pub synthesised: Vec<Synthetic>,
    pub legs: Vec<Leg>,
    /// The search began at the root: a directory without an answer is missing from the result.
    pub from_root: bool,
}

/// One directory that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    pub target: Target,
    /// Federated name to search from.
    pub base: String,
    pub scope: Scope,
    /// The base is the mount point itself: the directory's own top entry is not passed on, and a missing base is a
    /// failure of the directory.
    pub at_mount: bool,
}

/// What a requester looks for under one agreement that is with it.
#[derive(Debug)]
pub struct Sought<'a> {
    targets: &'a Targets,
    filter: &'a Filter<'a>,
    need: Need,
    population: Option<&'a str>,
}

impl<'a> Sought<'a> {
    /// `filter`: concealed by the agreement's view; `entries`: the agreement's entry filter. No index is asked until
    /// [`Sought::among`] says which.
    pub fn new(targets: &'a Targets, filter: &'a Filter<'a>, entries: Option<&Filter<'_>>) -> Sought<'a> {
        Sought { targets, filter, need: Need::of(filter, entries), population: None }
    }

    /// Only people of this population exist.
    #[must_use]
    pub fn among(self, population: Option<&'a str>) -> Sought<'a> {
        Sought { population, ..self }
    }
}

/// A search from the root.
#[derive(Debug)]
pub struct FromRoot<'a> {
    pub scope: Scope,
    /// In the order of the agreements: the first whose targets cover a directory counts for it.
    pub sought: &'a [Sought<'a>],
    /// How many directories one search may ask.
    pub limit: usize,
    /// How many of the tree's own entries are wanted at most; one more is looked for.
    pub entries: usize,
    /// Indexes read before this are not asked; seconds since 1970.
    pub indexes_since: i64,
}

/// An entry of the tree's own: `o=federation`, `ou=RXA,o=federation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synthetic {
    /// `None` for the root.
    pub target: Option<Target>,
    entry: Entry,
}

impl Synthetic {
    /// The entry of the root.
    pub fn root() -> Synthetic {
        Synthetic { target: None, entry: entry(ROOT.to_owned(), "organization", "o", "federation") }
    }

    /// The entry of the point where a directory is mounted.
    pub fn mount(target: &Target) -> Synthetic {
        let entry = entry(federated_suffix(target), "organizationalUnit", "ou", target.unit());
        Synthetic { target: Some(target.clone()), entry }
    }

    /// What there is to see when only `visible` attributes exist: hold the concealed filter against this, and send it.
    pub fn released(&self, visible: impl Fn(&str) -> bool) -> Entry {
        let attributes = self.entry.attributes.iter().filter(|a| visible(&a.description)).cloned().collect();
        Entry { dn: self.entry.dn.clone(), attributes }
    }
}

fn entry(dn: String, class: &str, kind: &str, name: &str) -> Entry {
    let attribute = |description: &str, values: &[&str]| Attribute {
        description: description.to_owned(),
        values: values.iter().map(|v| v.as_bytes().to_vec()).collect(),
    };
    Entry { dn, attributes: vec![attribute("objectClass", &["top", class]), attribute(kind, &[name])] }
}

impl Routes {
    /// The tree with these mounts, each at `ou=<unit>,o=federation`.
    pub fn new(mounts: impl IntoIterator<Item = Mount>) -> Routes {
        let mut mounts: Vec<Mount> = mounts.into_iter().collect();
        mounts.sort_by(|a, b| a.target.cmp(&b.target));
        let mut routes = Routes {
            root: suffix(ROOT),
            mounts: Vec::with_capacity(mounts.len()),
            units: HashMap::new(),
            targets: HashMap::new(),
            mail_domains: HashMap::new(),
            upn_suffixes: HashMap::new(),
        };
        for (at, mount) in mounts.into_iter().enumerate() {
            let own = |domains: &BTreeSet<String>, all: &mut HashMap<String, Vec<usize>>| {
                for domain in domains {
                    let domain = domain.trim_start_matches('@').to_ascii_lowercase();
                    all.entry(domain).or_default().push(at);
                }
            };
            own(&mount.mail_domains, &mut routes.mail_domains);
            own(&mount.upn_suffixes, &mut routes.upn_suffixes);
            let suffix = suffix(&federated_suffix(&mount.target));
            routes.units.extend(suffix.dn.rdn().map(|rdn| (rdn.normal().to_owned(), at)));
            routes.targets.insert(mount.target.clone(), at);
            routes.mounts.push(Place { target: mount.target, suffix, indexes: mount.indexes });
        }
        routes
    }

    /// Every mounted directory, national first.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.mounts.iter().map(|place| &place.target)
    }

    /// The directory that `name` belongs to, the mount point included; `None` for the root and everything else.
    pub fn owner(&self, name: &Dn) -> Option<&Target> {
        // mounts lie one below the root and never inside each other: the name one below the root says which it is
        let below = name.rdns().strip_suffix(self.root.dn.rdns())?;
        let at = self.units.get(below.last()?.normal())?;
        self.mounts.get(*at).map(|place| &place.target)
    }

    /// Where a search from the root goes, with the permits for it in the order of the directories. `permit` makes one, or
    /// none when the requester may not ask: then the directory is as if it were not mounted. It is called for
    /// directories in which something can match, and at most once for each.
    ///
    /// # Errors
    ///
    /// [`RouteError::TooBroad`]: `adminLimitExceeded`.
    pub fn from_root<P>(
        &self,
        search: &FromRoot<'_>,
        permit: &mut dyn FnMut(&Target) -> Option<P>,
    ) -> Result<(Route, Vec<P>), RouteError> {
        let mut permits = Permits { made: BTreeMap::new(), make: permit };
        let mut route = Route { from_root: true, ..Route::default() };
        if matches!(search.scope, Scope::Subtree | Scope::Children) {
            for at in self.candidates(search.sought) {
                let Some(place) = self.mounts.get(at) else { continue };
                let admitted = covering(search.sought, &place.target).is_some_and(|sought| {
                    let index = sought.population.and_then(|of| place.index(of, search.indexes_since));
                    sought.need.admits(&|need| self.owns(at, need), index)
                });
                if !admitted || !permits.has(at, &place.target) {
                    continue;
                }
                if route.legs.len() == search.limit {
                    return Err(RouteError::TooBroad { limit: search.limit });
                }
                route.legs.push(Leg {
                    target: place.target.clone(),
                    base: place.suffix.text.clone(),
                    scope: search.scope,
                    at_mount: true,
                });
            }
        }
        self.own_entries(search, &mut route, &mut permits);
        Ok((route, permits.made.into_values().flatten().collect()))
    }

    /// The entries of the tree's own that match. They are sent only as far as a view lets them be seen.
    fn own_entries<P>(&self, search: &FromRoot<'_>, route: &mut Route, permits: &mut Permits<'_, P>) {
        let sought = search.sought;
        let root = sought.is_empty() || sought.iter().any(|sought| demand::root(sought.filter));
        if matches!(search.scope, Scope::Base | Scope::Subtree) && root {
            route.synthesised.push(Synthetic::root());
            // the root is seen as the first directory that may be asked
            if permits.made.values().flatten().next().is_none() {
                let _ = self.mounts.iter().enumerate().any(|(at, place)| permits.has(at, &place.target));
            }
        }
        if search.scope == Scope::Base {
            return;
        }
        for at in self.units(sought) {
            let Some(place) = self.mounts.get(at) else { continue };
            let Some(sought) = covering(sought, &place.target) else { continue };
            let own = Synthetic::mount(&place.target);
            if evaluate(sought.filter, &own.entry) != Truth::True || !permits.has(at, &place.target) {
                continue;
            }
            route.synthesised.push(own);
            if route.synthesised.len() > search.entries {
                return;
            }
        }
    }

    /// Places of the directories in which something can match, in order; more than that at most.
    fn candidates(&self, sought: &[Sought<'_>]) -> Vec<usize> {
        self.gather(sought, |sought| self.places(&sought.need))
    }

    /// Places of the mount points that can match themselves.
    fn units(&self, sought: &[Sought<'_>]) -> Vec<usize> {
        self.gather(sought, |sought| match demand::units(sought.filter) {
            Units::Every => None,
            Units::None => Some(Vec::new()),
            Units::Named(names) => {
                let key = |name: &str| Some(Dn::ROOT.child("ou", name).ok()?.rdn()?.normal().to_owned());
                Some(names.iter().filter_map(|name| self.units.get(&key(name)?).copied()).collect())
            }
        })
    }

    fn gather(
        &self,
        sought: &[Sought<'_>],
        places: impl Fn(&Sought<'_>) -> Option<Vec<usize>>,
    ) -> Vec<usize> {
        let mut all = BTreeSet::new();
        for sought in sought {
            match places(sought).or_else(|| self.covered(sought.targets)) {
                Some(some) => all.extend(some),
                None => return (0..self.mounts.len()).collect(),
            }
        }
        all.into_iter().collect()
    }

    /// The directories that an agreement covers; `None`: too many to be listed.
    fn covered(&self, targets: &Targets) -> Option<Vec<usize>> {
        let Members::These(members) = &targets.members else { return None };
        let national = targets.national.then_some(Target::National);
        let members = members.iter().cloned().map(Target::Member);
        Some(national.into_iter().chain(members).filter_map(|t| self.targets.get(&t).copied()).collect())
    }

    /// The directories to which names and domains lead; `None`: any.
    fn places(&self, need: &Need) -> Option<Vec<usize>> {
        match need {
            Need::Anywhere | Need::Held(_) => None,
            Need::Nowhere => Some(Vec::new()),
            Need::All(parts) => {
                parts.iter().filter_map(|part| self.places(part)).min_by_key(|places| places.len())
            }
            Need::Any(parts) => {
                let parts: Option<Vec<_>> = parts.iter().map(|part| self.places(part)).collect();
                parts.map(|parts| parts.concat())
            }
            Need::Mail(domain) => self.with_national(self.mail_domains.get(domain)?),
            Need::Principal(suffix) => self.with_national(self.upn_suffixes.get(suffix)?),
            Need::Code(code) => {
                let member = code.clone().and_then(|code| self.targets.get(&Target::Member(code)));
                self.with_national(member.map(std::slice::from_ref).unwrap_or_default())
            }
        }
    }

    /// Of everybody something can be published nationally.
    fn with_national(&self, owners: &[usize]) -> Option<Vec<usize>> {
        Some(self.targets.get(&Target::National).into_iter().chain(owners).copied().collect())
    }

    fn owns(&self, at: usize, need: &Need) -> bool {
        // a domain that nobody registered may be anybody's
        self.places(need).is_none_or(|places| places.contains(&at))
    }
}

/// What is sought of a directory: as the first agreement that covers it says.
fn covering<'s, 'a>(sought: &'s [Sought<'a>], target: &Target) -> Option<&'s Sought<'a>> {
    sought.iter().find(|sought| sought.targets.cover(target))
}

/// Permits, each asked for once.
struct Permits<'f, P> {
    made: BTreeMap<usize, Option<P>>,
    make: &'f mut dyn FnMut(&Target) -> Option<P>,
}

impl<P> Permits<'_, P> {
    fn has(&mut self, at: usize, target: &Target) -> bool {
        self.made.entry(at).or_insert_with(|| (self.make)(target)).is_some()
    }
}

/// Where a directory stands in the tree: `ou=RXA,o=federation`.
pub fn federated_suffix(target: &Target) -> String {
    format!("ou={},{ROOT}", target.unit())
}

/// A suffix of our own making, which always parses.
fn suffix(text: &str) -> Suffix {
    Suffix::parse(text).unwrap_or_else(|_| Suffix { text: text.to_owned(), dn: Dn::default() })
}

#[cfg(test)]
mod tests;
