//! The one tree: which directory a name belongs to, which directories a search concerns.

use std::collections::{BTreeSet, HashMap};

use crate::ldap::dn::Dn;
use crate::ldap::entry::{Attribute, Entry};
use crate::ldap::filter::Filter;
use crate::ldap::message::Scope;
use crate::namespace::error::RouteError;
use crate::namespace::names::Suffix;
use crate::policy::terms::{OdsCode, Target};

/// The name of the tree.
pub const ROOT: &str = "o=federation";

/// One directory that is mounted into the tree.
#[derive(Debug, Clone)]
pub struct Mount {
    pub target: Target,
    /// Mail domains that the member owns, lower case.
    pub mail_domains: BTreeSet<String>,
}

/// Every mount, and who owns what.
#[derive(Debug, Clone)]
pub struct Routes {
    root: Suffix,
    /// By target, in order: national first, then members by code.
    mounts: Vec<(Target, Suffix)>,
    domains: HashMap<String, BTreeSet<Target>>,
}

/// Where a search goes. Entries that we answer for ourselves still have to pass the filter and the view
/// ([`Synthetic`]); each leg still needs its permit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route {
    pub synthesised: Vec<Synthetic>,
    pub legs: Vec<Leg>,
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

/// An entry of the tree's own: `o=federation`, `ou=RXA,o=federation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synthetic {
    /// `None` for the root.
    pub target: Option<Target>,
    entry: Entry,
}

impl Synthetic {
    fn root() -> Synthetic {
        Synthetic { target: None, entry: entry(ROOT.to_owned(), "organization", "o", "federation") }
    }

    fn mount(target: &Target, suffix: &Suffix) -> Synthetic {
        let entry = entry(suffix.text.clone(), "organizationalUnit", "ou", target.unit());
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
        let mut routes = Routes { root: suffix(ROOT), mounts: Vec::new(), domains: HashMap::new() };
        for mount in mounts {
            for domain in &mount.mail_domains {
                routes.domains.entry(domain.to_ascii_lowercase()).or_default().insert(mount.target.clone());
            }
            let text = federated_suffix(&mount.target);
            routes.mounts.push((mount.target, suffix(&text)));
        }
        routes.mounts.sort_by(|a, b| a.0.cmp(&b.0));
        routes
    }

    /// Every mounted directory, national first.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.mounts.iter().map(|(target, _)| target)
    }

    /// The directory that `name` belongs to, the mount point included; `None` for the root and everything else.
    pub fn owner(&self, name: &Dn) -> Option<&Target> {
        self.mount_of(name).map(|(target, _)| target)
    }

    fn mount_of(&self, name: &Dn) -> Option<&(Target, Suffix)> {
        // mounts lie one below the root and never inside each other, so the longest match is the only one
        self.mounts.iter().find(|(_, suffix)| name.is_at_or_below(&suffix.dn))
    }

    /// Where a search goes. `filter` is the concealed one. `reachable` says whether the requester has a permit for a
    /// directory: the others are as if they were not mounted. `limit` is how many directories one search may ask.
    ///
    /// # Errors
    ///
    /// [`RouteError::NoSuchObject`]: nothing is mounted there. [`RouteError::TooBroad`]: `adminLimitExceeded`.
    pub fn route(
        &self,
        base: &Dn,
        scope: Scope,
        filter: &Filter<'_>,
        reachable: &dyn Fn(&Target) -> bool,
        limit: usize,
    ) -> Result<Route, RouteError> {
        if let Some((target, mount)) = self.mount_of(base) {
            // a closed mount is refused by its permit, which knows what may be said
            return Ok(inside(base, scope, target, mount));
        }
        if *base != self.root.dn {
            return Err(RouteError::NoSuchObject);
        }
        let mut route = Route::default();
        if matches!(scope, Scope::Base | Scope::Subtree) {
            route.synthesised.push(Synthetic::root());
        }
        if scope == Scope::Base {
            return Ok(route);
        }
        let mounts: Vec<_> = self.mounts.iter().filter(|(target, _)| reachable(target)).collect();
        route.synthesised.extend(mounts.iter().map(|(target, suffix)| Synthetic::mount(target, suffix)));
        if scope == Scope::One || *filter == Filter::FALSE {
            return Ok(route);
        }
        let candidates = self.candidates(filter);
        let asked = mounts.into_iter().filter(|(t, _)| candidates.as_ref().is_none_or(|c| c.contains(t)));
        route.legs.extend(asked.map(|(target, suffix)| Leg {
            target: target.clone(),
            base: suffix.text.clone(),
            scope,
            at_mount: true,
        }));
        match route.legs.len() {
            asked if asked > limit => Err(RouteError::TooBroad { asked, limit }),
            _ => Ok(route),
        }
    }

    /// The directories in which something can match: an equality on an address goes to the member that owns its domain,
    /// and to the national directory. `None`: all of them.
    fn candidates(&self, filter: &Filter<'_>) -> Option<BTreeSet<Target>> {
        match filter {
            Filter::And(parts) => parts
                .iter()
                .filter_map(|part| self.candidates(part))
                .reduce(|a, b| a.intersection(&b).cloned().collect()),
            Filter::Or(parts) => {
                parts.iter().map(|part| self.candidates(part)).try_fold(BTreeSet::new(), |mut all, part| {
                    all.extend(part?);
                    Some(all)
                })
            }
            Filter::Equality(a) => {
                let value = std::str::from_utf8(&a.value).ok()?;
                match a.attribute.to_ascii_lowercase().as_str() {
                    "mail" | "userprincipalname" => {
                        let (_, domain) = value.rsplit_once('@')?;
                        // a domain that nobody registered may be anybody's
                        let mut owners = self.domains.get(&domain.trim().to_ascii_lowercase())?.clone();
                        owners.insert(Target::National);
                        Some(owners)
                    }
                    "odscode" => {
                        let member = value.trim().parse::<OdsCode>().ok().map(Target::Member);
                        Some(member.into_iter().chain([Target::National]).collect())
                    }
                    _ => None,
                }
            }
            _ => None,
        }
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

fn inside(base: &Dn, scope: Scope, target: &Target, mount: &Suffix) -> Route {
    let at_mount = *base == mount.dn;
    let mut route = Route::default();
    if at_mount && matches!(scope, Scope::Base | Scope::Subtree) {
        route.synthesised.push(Synthetic::mount(target, mount));
    }
    if !(at_mount && scope == Scope::Base) {
        route.legs.push(Leg { target: target.clone(), base: base.to_string(), scope, at_mount });
    }
    route
}

#[cfg(test)]
mod tests;
