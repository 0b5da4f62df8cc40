//! Who is privileged: every direct and nested member of the groups that own the domain, and those who have one of them as
//! primary group.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::probes::descriptor::sid;
use crate::assess::probes::logon::Session;
use crate::assess::settings::Settings;
use crate::assess::target::realm_of;
use crate::baseline::facts::Provenance;
use crate::directory::request::{Scope, Search};
use crate::ldap::entry::{Attribute, Entry};
use crate::ldap::filter::Filter;

/// Groups that rule the domain, by RID relative to it ([MS-DTYP] section 2.4.2.4), with their word in policies.
const RELATIVE: [(u32, &str); 9] = [
    (512, "domain-admins"),
    (516, "domain-controllers"),
    (517, "cert-publishers"),
    (518, "schema-admins"),
    (519, "enterprise-admins"),
    (520, "group-policy-creators"),
    (521, "read-only-controllers"),
    (526, "key-admins"),
    (527, "enterprise-key-admins"),
];
/// The same of every computer.
const BUILTIN: [(&str, &str); 6] = [
    ("S-1-5-32-544", "administrators"),
    ("S-1-5-32-548", "account-operators"),
    ("S-1-5-32-549", "server-operators"),
    ("S-1-5-32-550", "print-operators"),
    ("S-1-5-32-551", "backup-operators"),
    ("S-1-5-32-552", "replicators"),
];
/// The group that may load code into the domain name service of a controller; it has no RID of its own.
const DNS_ADMINS: (&str, &str) = ("DnsAdmins", "dns-admins");
const PROTECTED_USERS: u32 = 525;
/// Groups whose members are read; a forest has some tens of privileged ones.
const GROUPS_MAX: usize = 10_000;
const GAP: &str = "the members of a privileged group came with a gap";

/// A group of the domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub sid: String,
    /// `sAMAccountName`.
    pub name: String,
}

/// How somebody is privileged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// Words of the groups that rule the domain, however deep in them.
    pub groups: BTreeSet<&'static str>,
    /// Whether it is a member of one of them without another group between.
    pub direct: bool,
}

/// Privileged accounts and groups, by DN in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Privileged {
    members: BTreeMap<String, Membership>,
    /// The groups that are privileged by what they are.
    roots: BTreeSet<String>,
    /// Every group that we see.
    pub groups: BTreeMap<String, Group>,
    /// The DN of the group Protected Users ([MS-DTYP] section 2.4.2.4), in lower case, where the domain has it.
    pub protected_users: Option<String>,
    /// The domain's SID.
    pub domain: String,
    /// The SID of the forest's root, where that is another domain and a trust tells it.
    pub root: Option<String>,
}

impl Privileged {
    /// Whether the entry of this DN is one of them.
    pub fn contains(&self, dn: &str) -> bool {
        let dn = dn.to_lowercase();
        self.members.contains_key(&dn) || self.roots.contains(&dn)
    }

    /// Who is a member of a group that rules the domain, and how.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Membership)> {
        self.members.iter().map(|(dn, membership)| (dn.as_str(), membership))
    }

    /// Forgets the groups' names and SIDs, of which a domain has tens of thousands, once nobody asks for them any more.
    pub fn forget_groups(&mut self) {
        self.groups = BTreeMap::new();
    }

    /// All of them, groups that rule the domain included.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.members
            .keys()
            .chain(self.roots.iter().filter(|dn| !self.members.contains_key(*dn)))
            .map(String::as_str)
    }
}

/// Works the closure out, asking the directory: every group once, then the members of those that are privileged, group by
/// group. The rule that has the directory walk the chain itself costs it a look at every account for each group.
pub async fn closure(
    session: &mut Session,
    settings: &Settings,
    clock: &Clock,
    gathered: &mut Gathered,
) -> Result<Privileged, String> {
    let watch = Stopwatch::start(clock);
    let domain = domain_sid(session).await?;
    let root = root_sid(session).await?;
    let groups = groups(session, settings).await?;
    let roots = roots(&domain, root.as_deref(), &groups)?;
    let mut graph = graph(session, &groups, roots.keys()).await?;
    primary(session, settings, &groups, &mut graph).await?;
    let members = memberships(&roots, &graph);
    if members.is_empty() {
        // Administrators always has members: what we do not see cannot be judged
        return Err("no member of any privileged group can be read".to_owned());
    }
    gathered.provenance.push(Provenance {
        entries: u64::try_from(members.len()).unwrap_or(u64::MAX),
        ..watch.provenance(
            "users",
            "members of the privileged groups, nested and primary",
            &session.controller,
        )
    });
    let sid = format!("{domain}-{PROTECTED_USERS}");
    let protected_users = groups.iter().find(|(_, group)| group.sid == sid).map(|(dn, _)| dn.clone());
    Ok(Privileged { members, roots: roots.into_keys().collect(), groups, protected_users, domain, root })
}

/// The direct members of every group that is privileged, itself or by nesting.
async fn graph<'g>(
    session: &mut Session,
    groups: &BTreeMap<String, Group>,
    roots: impl Iterator<Item = &'g String>,
) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut graph: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut next: VecDeque<String> = roots.cloned().collect();
    while let Some(dn) = next.pop_front() {
        if graph.len() > GROUPS_MAX {
            return Err(format!("more than {GROUPS_MAX} groups are privileged by nesting"));
        }
        if graph.contains_key(&dn) {
            continue;
        }
        let mut found = members(session, &dn).await?;
        // who was deleted does not log on, and a link to one says nothing
        found.retain(|member| !member.contains(",cn=deleted objects,"));
        next.extend(found.iter().filter(|member| groups.contains_key(*member)).cloned());
        graph.insert(dn, found);
    }
    Ok(graph)
}

/// Adds those who are members by their primary group, which no group lists.
async fn primary(
    session: &mut Session,
    settings: &Settings,
    groups: &BTreeMap<String, Group>,
    graph: &mut BTreeMap<String, Vec<String>>,
) -> Result<(), String> {
    let by_rid: BTreeMap<String, String> =
        graph.keys().filter_map(|dn| Some((rid(&groups.get(dn)?.sid)?.to_string(), dn.clone()))).collect();
    if by_rid.is_empty() {
        return Ok(());
    }
    let filters =
        by_rid.keys().map(|rid| Filter::equal("primaryGroupID", rid.as_bytes().to_vec()).into_owned());
    let any = Filter::Or(filters.collect()).into_owned();
    for entry in read(session, any, &["primaryGroupID"], settings).await? {
        let group = entry.text("primaryGroupID").and_then(|rid| by_rid.get(rid));
        // asked for by this very attribute: what does not show it is hidden from us
        let group = group.ok_or("the primary group of a privileged account cannot be read")?;
        graph.entry(group.clone()).or_default().push(entry.dn.to_lowercase());
    }
    Ok(())
}

/// Everybody below each root. Rings of groups are walked once.
fn memberships(
    roots: &BTreeMap<String, &'static str>,
    graph: &BTreeMap<String, Vec<String>>,
) -> BTreeMap<String, Membership> {
    let mut all: BTreeMap<String, Membership> = BTreeMap::new();
    for (root, word) in roots {
        let mut seen = BTreeSet::from([root.as_str()]);
        let mut next = VecDeque::from([root.as_str()]);
        while let Some(group) = next.pop_front() {
            for member in graph.get(group).into_iter().flatten() {
                let membership = all.entry(member.clone()).or_default();
                membership.groups.insert(word);
                membership.direct |= group == root;
                if graph.contains_key(member) && seen.insert(member) {
                    next.push_back(member);
                }
            }
        }
    }
    all
}

/// Every group that we see, by DN in lower case.
async fn groups(session: &mut Session, settings: &Settings) -> Result<BTreeMap<String, Group>, String> {
    let filter = Filter::equal("objectClass", b"group".to_vec()).into_owned();
    let found = read(session, filter, &["objectSid", "sAMAccountName"], settings).await?;
    let with_sid = |entry: Entry| {
        let (sid, _) = entry.first("objectSid").and_then(sid)?;
        let name = entry.text("sAMAccountName").unwrap_or(&sid).to_owned();
        Some((entry.dn.to_lowercase(), Group { sid, name }))
    };
    Ok(found.into_iter().filter_map(with_sid).collect())
}

/// The groups that are privileged by what they are, with their words.
fn roots(
    domain: &str,
    root: Option<&str>,
    groups: &BTreeMap<String, Group>,
) -> Result<BTreeMap<String, &'static str>, String> {
    let word = |group: &Group| {
        let relative = |(rid, _): &&(u32, &str)| {
            [Some(domain), root].into_iter().flatten().any(|of| group.sid == format!("{of}-{rid}"))
        };
        let dns = group.name.eq_ignore_ascii_case(DNS_ADMINS.0).then_some(DNS_ADMINS.1);
        let builtin = || BUILTIN.iter().find(|(sid, _)| *sid == group.sid).map(|(_, word)| *word);
        RELATIVE.iter().find(relative).map(|(_, word)| *word).or_else(builtin).or(dns)
    };
    let found: BTreeMap<String, &'static str> =
        groups.iter().filter_map(|(dn, group)| Some((dn.clone(), word(group)?))).collect();
    let has = |wanted: &str| found.values().any(|word| *word == wanted);
    if !has("administrators") || !has("domain-admins") {
        // every domain has both: what we do not see cannot be judged
        return Err("the groups Administrators and Domain Admins cannot both be read".to_owned());
    }
    Ok(found)
}

/// The words of all groups that rule the domain, for the catalogue of facts to agree with.
pub fn words() -> impl Iterator<Item = &'static str> {
    let relative = RELATIVE.iter().map(|(_, word)| *word);
    relative.chain(BUILTIN.iter().map(|(_, word)| *word)).chain([DNS_ADMINS.1])
}

async fn domain_sid(session: &mut Session) -> Result<String, String> {
    let base = session.contexts.domain.clone();
    let search = Search::new(&base, Scope::Base, Filter::present("objectClass"), &["objectSid"]);
    let (entries, _) = session.directory.read(&search).await.map_err(|error| error.to_string())?;
    let bytes = entries.first().and_then(|entry| entry.first("objectSid")).and_then(sid);
    bytes.map(|(text, _)| text).ok_or_else(|| "the domain's SID cannot be read".to_owned())
}

/// The SID of the forest's root, as the trust with it tells; none in the root itself.
async fn root_sid(session: &mut Session) -> Result<Option<String>, String> {
    if session.contexts.root.eq_ignore_ascii_case(&session.contexts.domain) {
        return Ok(None);
    }
    let Some(name) = realm_of(&session.contexts.root) else { return Ok(None) };
    let parts = vec![
        Filter::equal("objectClass", b"trustedDomain".to_vec()).into_owned(),
        Filter::equal("trustPartner", name.to_lowercase().into_bytes()).into_owned(),
    ];
    let base = format!("CN=System,{}", session.contexts.domain);
    let search = Search::new(&base, Scope::One, Filter::And(parts), &["securityIdentifier"]);
    let (entries, _) = session.directory.read(&search).await.map_err(|error| error.to_string())?;
    let found = entries.first().and_then(|entry| entry.first("securityIdentifier")).and_then(sid);
    Ok(found.map(|(text, _)| text))
}

/// The DNs of a group's direct members, in lower case. A directory gives so many at once and is asked for the rest ([MS-ADTS]
/// section 3.1.1.3.1.3.3).
async fn members(session: &mut Session, group: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    loop {
        let wanted = match found.len() {
            0 => "member".to_owned(),
            from => format!("member;range={from}-*"),
        };
        let search = Search::new(group, Scope::Base, Filter::present("objectClass"), &[&wanted]);
        let (entries, done) = session.directory.read(&search).await.map_err(|error| error.to_string())?;
        let [entry] = entries.as_slice() else {
            let code = done.code;
            return Err(format!("a privileged group went away while it was read (result code {code})"));
        };
        let Some(values) = entry.attributes.iter().find(|a| is_member(a)) else {
            return match found.is_empty() {
                true => Ok(found),
                false => Err("the members of a privileged group changed while they were read".to_owned()),
            };
        };
        let before = found.len();
        found.extend(values.values.iter().map(|dn| String::from_utf8_lossy(dn).to_lowercase()));
        // each answer must go on where the one before ended, the last one too, or something is missing
        match range(&values.description) {
            None => return Ok(found),
            Some((first, last)) if first == Some(before) => match last {
                None => return Ok(found),
                Some(last) if last.checked_add(1) == Some(found.len()) => {}
                Some(_) => return Err(GAP.to_owned()),
            },
            Some(_) => return Err(GAP.to_owned()),
        }
    }
}

fn is_member(attribute: &Attribute) -> bool {
    let name = attribute.description.split(';').next().unwrap_or_default();
    name.eq_ignore_ascii_case("member") && !attribute.values.is_empty()
}

/// The places of the first and the last value of a range: 0 and 1499 of `member;range=0-1499`. One that goes to the end has no
/// last.
fn range(description: &str) -> Option<(Option<usize>, Option<usize>)> {
    let lower = description.to_ascii_lowercase();
    let range = lower.split(';').find_map(|option| option.strip_prefix("range="))?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok(), last.parse().ok()))
}

async fn read(
    session: &mut Session,
    filter: Filter<'static>,
    attributes: &[&str],
    settings: &Settings,
) -> Result<Vec<Entry>, String> {
    let base = session.contexts.domain.clone();
    let search = Search::new(&base, Scope::Subtree, filter, attributes).paged(settings.directory.page_size);
    let (entries, done) = session.directory.read(&search).await.map_err(|error| error.to_string())?;
    match done.is_complete() {
        true => Ok(entries),
        false => Err(format!("a search for privileged accounts ended with result code {}", done.code)),
    }
}

fn rid(sid: &str) -> Option<u32> {
    // BUILTIN groups are nobody's primary group
    (!sid.starts_with("S-1-5-32-")).then(|| sid.rsplit('-').next()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_begin_and_end_where_they_say() {
        assert_eq!(range("member"), None);
        assert_eq!(range("member;range=0-1499"), Some((Some(0), Some(1499))));
        assert_eq!(range("member;Range=1500-*"), Some((Some(1500), None)));
    }

    #[test]
    fn memberships_name_every_way_and_end_in_rings() {
        let graph: BTreeMap<String, Vec<String>> = [
            ("admins", vec!["help", "ann"]),
            ("help", vec!["bob", "ring"]),
            ("ring", vec!["help", "admins", "cy"]),
            ("ops", vec!["bob"]),
        ]
        .into_iter()
        .map(|(group, members)| (group.to_owned(), members.into_iter().map(str::to_owned).collect()))
        .collect();
        let roots =
            BTreeMap::from([("admins".to_owned(), "domain-admins"), ("ops".to_owned(), "print-operators")]);
        let all = memberships(&roots, &graph);
        let of = |name: &str| (all[name].groups.iter().copied().collect::<Vec<_>>(), all[name].direct);
        assert_eq!(of("ann"), (vec!["domain-admins"], true));
        assert_eq!(of("bob"), (vec!["domain-admins", "print-operators"], true));
        assert_eq!(of("cy"), (vec!["domain-admins"], false));
        assert_eq!(of("help"), (vec!["domain-admins"], true));
    }

    #[test]
    fn roots_are_known_by_sid_and_the_one_without_by_name() {
        let group = |sid: &str, name: &str| Group { sid: sid.to_owned(), name: name.to_owned() };
        let mut groups = BTreeMap::from([
            ("a".to_owned(), group("S-1-5-32-544", "Administratoren")),
            ("d".to_owned(), group("S-1-5-21-1-2-3-512", "x")),
            ("e".to_owned(), group("S-1-5-21-9-9-9-519", "y")),
            ("n".to_owned(), group("S-1-5-21-1-2-3-1101", "dnsadmins")),
            ("o".to_owned(), group("S-1-5-21-1-2-3-1102", "ordinary")),
        ]);
        let found = roots("S-1-5-21-1-2-3", Some("S-1-5-21-9-9-9"), &groups).unwrap();
        assert_eq!(
            found.values().copied().collect::<Vec<_>>(),
            ["administrators", "domain-admins", "enterprise-admins", "dns-admins"]
        );
        groups.remove("d");
        assert!(roots("S-1-5-21-1-2-3", None, &groups).is_err());
    }

    #[test]
    fn the_catalogue_knows_every_group() {
        let known: BTreeSet<&str> = crate::baseline::collections::RULING_GROUPS.iter().copied().collect();
        assert_eq!(words().collect::<BTreeSet<_>>(), known);
    }
}
