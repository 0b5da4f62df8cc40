//! Who is privileged: every direct and nested member of the groups that own the domain, and those who have one of them as
//! primary group.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::probes::descriptor::sid;
use crate::assess::probes::logon::Session;
use crate::assess::probes::member::{Domain, Named, What, with_sids};
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
/// Those of [`RELATIVE`] that every domain has, and those that only the forest's root has.
const EVERYWHERE: [u32; 5] = [512, 516, 517, 520, 521];
const IN_ROOT: [u32; 2] = [518, 519];
/// Groups whose members are read; a forest has some tens of privileged ones.
const GROUPS_MAX: usize = 10_000;
const GAP: &str = "the members of a privileged group came with a gap";

/// A group of the domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// As the directory writes it.
    pub dn: String,
    pub sid: String,
    /// `sAMAccountName`.
    pub name: String,
}

/// How somebody is privileged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    pub who: Named,
    pub what: What,
    /// Words of the groups that rule the domain, however deep in them.
    pub groups: BTreeSet<&'static str>,
    /// Whether it is a member of one of them without another group between.
    pub direct: bool,
}

/// Privileged accounts and groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Privileged {
    /// By what tells them apart.
    members: BTreeMap<String, Membership>,
    /// The same by DN in lower case, where a name that is used again is another's too.
    names: BTreeMap<String, String>,
    /// The groups that are privileged by what they are, by DN in lower case, with their words.
    roots: BTreeMap<String, (Named, &'static str)>,
    /// Every group that we see, by DN in lower case.
    pub groups: BTreeMap<String, Group>,
    /// The DN of the group Protected Users ([MS-DTYP] section 2.4.2.4), in lower case, where the domain has it.
    pub protected_users: Option<String>,
    /// The domain's SID.
    pub domain: String,
    /// The SID of the forest's root, where that is another domain and a trust tells it.
    pub root: Option<String>,
}

impl Privileged {
    /// Whether the entry of this DN or SID is one of them: one of the two stays when the other is changed.
    pub fn contains(&self, dn: &str, sid: Option<&str>) -> bool {
        let dn = dn.to_lowercase();
        self.roots.contains_key(&dn) || self.found(&dn, sid).next().is_some()
    }

    /// Words of the groups that rule the domain and that the entry of this DN or SID is or is in.
    pub fn words(&self, dn: &str, sid: Option<&str>) -> BTreeSet<&'static str> {
        let dn = dn.to_lowercase();
        let own = self.roots.get(&dn).map(|(_, word)| *word);
        self.found(&dn, sid).flat_map(|membership| membership.groups.iter().copied()).chain(own).collect()
    }

    fn found(&self, dn: &str, sid: Option<&str>) -> impl Iterator<Item = &Membership> {
        let by_sid = sid.and_then(|sid| self.members.get(sid));
        let by_name = self.names.get(dn).and_then(|identity| self.members.get(identity));
        by_sid.into_iter().chain(by_name)
    }

    /// Which account of the domain an entry is for certain: another may have taken its name meanwhile, and none its SID.
    pub fn account(&self, dn: &str, sid: Option<&str>) -> Option<&str> {
        let by_sid = || self.members.get_key_value(sid?);
        let by_name = || self.members.get_key_value(&dn.to_lowercase());
        let (identity, membership) = by_sid().or_else(by_name)?;
        (membership.what == What::Account).then_some(identity)
    }

    /// The accounts of the domain among them, by what tells them apart.
    pub fn accounts(&self) -> impl Iterator<Item = (&str, &Named)> {
        let accounts = self.members.iter().filter(|(_, membership)| membership.what == What::Account);
        accounts.map(|(identity, membership)| (identity.as_str(), &membership.who))
    }

    /// Who is a member of a group that rules the domain, and how.
    pub fn members(&self) -> impl Iterator<Item = &Membership> {
        self.members.values()
    }

    /// Forgets the groups' names and SIDs, of which a domain has tens of thousands, once nobody asks for them any more.
    pub fn forget_groups(&mut self) {
        self.groups = BTreeMap::new();
    }

    /// All that stand in the domain, groups that rule it included.
    pub fn all(&self) -> impl Iterator<Item = &Named> {
        let here =
            |membership: &&Membership| matches!(membership.what, What::Account | What::Group | What::Other);
        let roots =
            self.roots.iter().filter(|(dn, _)| !self.names.contains_key(*dn)).map(|(_, (root, _))| root);
        self.members.values().filter(here).map(|membership| &membership.who).chain(roots)
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
    let contexts = session.contexts.clone();
    let is_root = contexts.root.eq_ignore_ascii_case(&contexts.domain);
    let roots = roots(&domain, root.as_deref(), is_root, &groups)?;
    let mut graph = graph(session, &groups, roots.keys()).await?;
    primary(session, settings, &groups, &mut graph).await?;
    let about = Domain { sid: &domain, root: root.as_deref(), contexts: &contexts };
    let members = memberships(&roots, &graph, |who| about.what(who, groups.contains_key(&who.lower())));
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
    let names = members.iter().map(|(identity, found)| (found.who.lower(), identity.clone())).collect();
    let named = |(dn, word): (String, &'static str)| {
        let group = groups.get(&dn)?;
        let named = Named { dn: group.dn.clone(), sid: Some(group.sid.clone()), told: true };
        Some((dn, (named, word)))
    };
    let roots = roots.into_iter().filter_map(named).collect();
    Ok(Privileged { members, names, roots, groups, protected_users, domain, root })
}

/// The direct members of every group that is privileged, itself or by nesting.
async fn graph<'g>(
    session: &mut Session,
    groups: &BTreeMap<String, Group>,
    roots: impl Iterator<Item = &'g String>,
) -> Result<BTreeMap<String, Vec<Named>>, String> {
    let by_sid: BTreeMap<&str, &String> = groups.iter().map(|(dn, group)| (group.sid.as_str(), dn)).collect();
    let domain = session.contexts.domain.clone();
    let mut graph: BTreeMap<String, Vec<Named>> = BTreeMap::new();
    let mut next: VecDeque<String> = roots.cloned().collect();
    while let Some(dn) = next.pop_front() {
        if graph.len() > GROUPS_MAX {
            return Err(format!("more than {GROUPS_MAX} groups are privileged by nesting"));
        }
        let (false, Some(group)) = (graph.contains_key(&dn), groups.get(&dn)) else { continue };
        let mut found = members(session, &group.dn).await?;
        // who was deleted does not log on, and a link to one says nothing
        found.retain(|member| !member.is_deleted(&domain));
        for member in &found {
            let named = groups.get(&member.lower());
            let same = |sid: &String| named.map(|group| &group.sid) == Some(sid);
            if member
                .sid
                .as_ref()
                .is_some_and(|sid| !same(sid) && (named.is_some() || by_sid.contains_key(sid.as_str())))
            {
                return Err("a privileged group was moved or renamed while it was read".to_owned());
            }
            next.extend(named.map(|_| member.lower()));
        }
        graph.insert(dn, found);
    }
    Ok(graph)
}

/// Adds those who are members by their primary group, which no group lists.
async fn primary(
    session: &mut Session,
    settings: &Settings,
    groups: &BTreeMap<String, Group>,
    graph: &mut BTreeMap<String, Vec<Named>>,
) -> Result<(), String> {
    let by_rid: BTreeMap<String, String> =
        graph.keys().filter_map(|dn| Some((rid(&groups.get(dn)?.sid)?.to_string(), dn.clone()))).collect();
    if by_rid.is_empty() {
        return Ok(());
    }
    let filters =
        by_rid.keys().map(|rid| Filter::equal("primaryGroupID", rid.as_bytes().to_vec()).into_owned());
    let any = Filter::Or(filters.collect()).into_owned();
    for entry in read(session, any, &["primaryGroupID", "objectSid"], settings).await? {
        let group = entry.text("primaryGroupID").and_then(|rid| by_rid.get(rid));
        // asked for by this very attribute: what does not show it is hidden from us
        let group = group.ok_or("the primary group of a privileged account cannot be read")?;
        let sid = entry.first("objectSid").and_then(sid).map(|(sid, _)| sid);
        let told = sid.is_some();
        graph.entry(group.clone()).or_default().push(Named { dn: entry.dn, sid, told });
    }
    Ok(())
}

/// Everybody below each root, by what tells them apart. Rings of groups are walked once.
fn memberships(
    roots: &BTreeMap<String, &'static str>,
    graph: &BTreeMap<String, Vec<Named>>,
    what: impl Fn(&Named) -> What,
) -> BTreeMap<String, Membership> {
    let mut all: BTreeMap<String, Membership> = BTreeMap::new();
    for (root, word) in roots {
        let mut seen = BTreeSet::from([root.clone()]);
        let mut next = VecDeque::from([root.clone()]);
        while let Some(group) = next.pop_front() {
            for member in graph.get(&group).into_iter().flatten() {
                let membership = all.entry(member.identity()).or_insert_with(|| Membership {
                    what: what(member),
                    who: member.clone(),
                    groups: BTreeSet::new(),
                    direct: false,
                });
                membership.groups.insert(word);
                membership.direct |= group == *root;
                let dn = member.lower();
                if graph.contains_key(&dn) && seen.insert(dn.clone()) {
                    next.push_back(dn);
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
        Some((entry.dn.to_lowercase(), Group { dn: entry.dn, sid, name }))
    };
    Ok(found.into_iter().filter_map(with_sid).collect())
}

/// The groups that are privileged by what they are, with their words.
fn roots(
    domain: &str,
    root: Option<&str>,
    is_root: bool,
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
    // what every domain has and we do not see cannot be judged: anybody may be in it
    let in_root: &[u32] = if is_root { &IN_ROOT } else { &[] };
    let wanted = EVERYWHERE.iter().chain(in_root).map(|rid| format!("{domain}-{rid}"));
    let wanted = wanted.chain(BUILTIN.iter().map(|(sid, _)| (*sid).to_owned()));
    let seen: BTreeSet<&str> = groups.values().map(|group| group.sid.as_str()).collect();
    let missing: Vec<String> =
        wanted.filter(|sid| !seen.contains(sid.as_str())).map(|sid| name(domain, &sid)).collect();
    match missing.is_empty() {
        true => Ok(found),
        false => Err(format!("groups that this domain must have cannot be read: {}", missing.join(", "))),
    }
}

/// The word of a group that rules the domain, by its SID.
fn name(domain: &str, sid: &str) -> String {
    let relative = RELATIVE.iter().find(|(rid, _)| sid == format!("{domain}-{rid}")).map(|(_, word)| *word);
    let builtin = || BUILTIN.iter().find(|(known, _)| *known == sid).map(|(_, word)| *word);
    relative.or_else(builtin).unwrap_or(sid).to_owned()
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

/// A group's direct members. A directory gives so many at once and is asked for the rest ([MS-ADTS]
/// section 3.1.1.3.1.3.3).
async fn members(session: &mut Session, group: &str) -> Result<Vec<Named>, String> {
    let mut found = Vec::new();
    loop {
        let wanted = match found.len() {
            0 => "member".to_owned(),
            from => format!("member;range={from}-*"),
        };
        let search =
            Search::new(group, Scope::Base, Filter::present("objectClass"), &[&wanted]).control(with_sids());
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
        found.extend(values.values.iter().map(|value| Named::of(value)));
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
        let named = |name: &str| Named::of(name.as_bytes());
        let graph: BTreeMap<String, Vec<Named>> = [
            ("admins", vec!["help", "ann"]),
            ("help", vec!["bob", "ring"]),
            ("ring", vec!["help", "admins", "cy"]),
            ("ops", vec!["bob"]),
        ]
        .into_iter()
        .map(|(group, members)| (group.to_owned(), members.into_iter().map(named).collect()))
        .collect();
        let roots =
            BTreeMap::from([("admins".to_owned(), "domain-admins"), ("ops".to_owned(), "print-operators")]);
        let all = memberships(&roots, &graph, |_| What::Account);
        let of = |name: &str| (all[name].groups.iter().copied().collect::<Vec<_>>(), all[name].direct);
        assert_eq!(of("ann"), (vec!["domain-admins"], true));
        assert_eq!(of("bob"), (vec!["domain-admins", "print-operators"], true));
        assert_eq!(of("cy"), (vec!["domain-admins"], false));
        assert_eq!(of("help"), (vec!["domain-admins"], true));
    }

    #[test]
    fn who_is_renamed_or_takes_a_name_is_told_by_the_sid() {
        let who = Named::of(b"<GUID=1>;<SID=S-1-5-21-1-2-3-1201>;CN=adm,DC=x");
        let (identity, name) = (who.identity(), who.lower());
        let groups = BTreeSet::from(["domain-admins"]);
        let membership = Membership { who, what: What::Account, groups, direct: true };
        let privileged = Privileged {
            members: BTreeMap::from([(identity.clone(), membership)]),
            names: BTreeMap::from([(name, identity)]),
            ..Privileged::default()
        };
        let (his, other) = (Some("S-1-5-21-1-2-3-1201"), Some("S-1-5-21-1-2-3-1777"));
        assert!(privileged.contains("CN=moved,DC=x", his) && privileged.contains("CN=ADM,DC=x", other));
        assert!(!privileged.contains("CN=moved,DC=x", other));
        assert_eq!(privileged.words("CN=moved,DC=x", his), BTreeSet::from(["domain-admins"]));
        assert_eq!(privileged.account("CN=moved,DC=x", his), his);
        assert_eq!(privileged.account("CN=adm,DC=x", other), None);
    }

    const DOMAIN: &str = "S-1-5-21-1-2-3";

    fn whole() -> BTreeMap<String, Group> {
        let relative = EVERYWHERE.iter().chain(&IN_ROOT).map(|rid| format!("{DOMAIN}-{rid}"));
        let builtin = BUILTIN.iter().map(|(sid, _)| (*sid).to_owned());
        let named = |sid: String| (sid.clone(), Group { dn: sid.clone(), name: sid.clone(), sid });
        relative.chain(builtin).map(named).collect()
    }

    #[test]
    fn roots_are_known_by_sid_and_the_one_without_by_name() {
        let group =
            |sid: &str, name: &str| Group { dn: name.to_owned(), sid: sid.to_owned(), name: name.to_owned() };
        let mut groups = whole();
        groups.insert("e".to_owned(), group("S-1-5-21-9-9-9-519", "y"));
        groups.insert("n".to_owned(), group("S-1-5-21-1-2-3-1101", "dnsadmins"));
        groups.insert("o".to_owned(), group("S-1-5-21-1-2-3-1102", "ordinary"));
        let found = roots(DOMAIN, Some("S-1-5-21-9-9-9"), true, &groups).unwrap();
        assert_eq!((found["e"], found["n"], found.get("o")), ("enterprise-admins", "dns-admins", None));
        assert_eq!(found["S-1-5-32-544"], "administrators");
    }

    #[test]
    fn a_group_that_must_be_there_and_is_not_seen() {
        let without = |sid: &str, is_root| {
            let mut groups = whole();
            groups.remove(sid);
            roots(DOMAIN, None, is_root, &groups)
        };
        for sid in whole().keys() {
            assert!(without(sid, true).is_err(), "{sid}");
        }
        // only the forest's root has it
        assert!(
            without("S-1-5-21-1-2-3-518", false).is_ok() && without("S-1-5-21-1-2-3-512", false).is_err()
        );
        assert!(
            without("S-1-5-21-1-2-3-519", true).unwrap_err().ends_with("cannot be read: enterprise-admins")
        );
    }

    #[test]
    fn the_catalogue_knows_every_group() {
        let known: BTreeSet<&str> = crate::baseline::collections::RULING_GROUPS.iter().copied().collect();
        assert_eq!(words().collect::<BTreeSet<_>>(), known);
    }
}
