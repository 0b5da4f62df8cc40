//! Who is privileged: every direct and nested member of the groups that own the domain, and those who have one of them as
//! primary group.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::probes::descriptor::sid;
use crate::assess::probes::logon::Session;
use crate::assess::settings::Settings;
use crate::baseline::facts::Provenance;
use crate::directory::request::{Scope, Search};
use crate::ldap::entry::{Attribute, Entry};
use crate::ldap::filter::Filter;

/// Domain Admins, Schema Admins, Enterprise Admins, Group Policy Creator Owners, Key Admins, Enterprise Key Admins
/// ([MS-DTYP] section 2.4.2.4), relative to their domain.
const RELATIVE: [u32; 6] = [512, 518, 519, 520, 526, 527];
/// Administrators, Account, Server, Print and Backup Operators, Replicator.
const BUILTIN: [&str; 6] =
    ["S-1-5-32-544", "S-1-5-32-548", "S-1-5-32-549", "S-1-5-32-550", "S-1-5-32-551", "S-1-5-32-552"];
/// Groups whose members are read; a forest has some tens of privileged ones.
const GROUPS_MAX: usize = 10_000;

/// DNs of privileged accounts and groups, in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Privileged(BTreeSet<String>);

impl Privileged {
    /// Whether the entry of this DN is one of them.
    pub fn contains(&self, dn: &str) -> bool {
        self.0.contains(&dn.to_lowercase())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
    let groups = groups(session, settings).await?;
    let mut next: VecDeque<String> = roots(session, &groups).await?.into();
    let (mut all, mut rids) = (BTreeSet::new(), BTreeSet::new());
    let mut seen: BTreeSet<String> = next.iter().cloned().collect();
    while let Some(dn) = next.pop_front() {
        if seen.len() > GROUPS_MAX {
            return Err(format!("more than {GROUPS_MAX} groups are privileged by nesting"));
        }
        rids.extend(groups.get(&dn).and_then(|sid| rid(sid)));
        for member in members(session, &dn).await? {
            if groups.contains_key(&member) && seen.insert(member.clone()) {
                next.push_back(member.clone());
            }
            all.insert(member);
        }
    }
    if all.is_empty() {
        // Administrators always has members: what we do not see cannot be judged
        return Err("no member of any privileged group can be read".to_owned());
    }
    if !rids.is_empty() {
        let primary = |rid: &u32| Filter::equal("primaryGroupID", rid.to_string().into_bytes()).into_owned();
        let any = Filter::Or(rids.iter().map(primary).collect()).into_owned();
        all.extend(read(session, any, &["name"], settings).await?.into_iter().map(|e| e.dn.to_lowercase()));
    }
    all.extend(seen);
    gathered.provenance.push(Provenance {
        entries: u64::try_from(all.len()).unwrap_or(u64::MAX),
        ..watch.provenance(
            "users",
            "members of the privileged groups, nested and primary",
            &session.controller,
        )
    });
    Ok(Privileged(all))
}

/// Every group that we see, by DN in lower case, with its SID.
async fn groups(session: &mut Session, settings: &Settings) -> Result<BTreeMap<String, String>, String> {
    let filter = Filter::equal("objectClass", b"group".to_vec()).into_owned();
    let found = read(session, filter, &["objectSid"], settings).await?;
    let with_sid = |entry: Entry| {
        let (sid, _) = entry.first("objectSid").and_then(sid)?;
        Some((entry.dn.to_lowercase(), sid))
    };
    Ok(found.into_iter().filter_map(with_sid).collect())
}

/// The groups that are privileged by what they are, as DNs in lower case.
async fn roots(session: &mut Session, groups: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
    let domain = domain_sid(session).await?;
    let wanted: BTreeSet<String> = RELATIVE
        .iter()
        .map(|rid| format!("{domain}-{rid}"))
        .chain(BUILTIN.iter().map(|sid| (*sid).to_owned()))
        .collect();
    let administrators = groups.values().any(|sid| sid == "S-1-5-32-544");
    let domain_admins = groups.values().any(|sid| *sid == format!("{domain}-512"));
    if !administrators || !domain_admins {
        // every domain has both: what we do not see cannot be judged
        return Err("the groups Administrators and Domain Admins cannot both be read".to_owned());
    }
    Ok(groups.iter().filter(|(_, sid)| wanted.contains(*sid)).map(|(dn, _)| dn.clone()).collect())
}

async fn domain_sid(session: &mut Session) -> Result<String, String> {
    let base = session.contexts.domain.clone();
    let search = Search::new(&base, Scope::Base, Filter::present("objectClass"), &["objectSid"]);
    let (entries, _) = session.directory.read(&search).await.map_err(|error| error.to_string())?;
    let bytes = entries.first().and_then(|entry| entry.first("objectSid")).and_then(sid);
    bytes.map(|(text, _)| text).ok_or_else(|| "the domain's SID cannot be read".to_owned())
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
        found.extend(values.values.iter().map(|dn| String::from_utf8_lossy(dn).to_lowercase()));
        match last_of_range(&values.description) {
            None => return Ok(found),
            // each answer must go on where the one before ended, or something is missing
            Some(last) if last.checked_add(1) == Some(found.len()) => {}
            Some(_) => return Err("the members of a privileged group came with a gap".to_owned()),
        }
    }
}

fn is_member(attribute: &Attribute) -> bool {
    let name = attribute.description.split(';').next().unwrap_or_default();
    name.eq_ignore_ascii_case("member") && !attribute.values.is_empty()
}

/// The place of the last value of a range that is not the end: 1499 of `member;range=0-1499`.
fn last_of_range(description: &str) -> Option<usize> {
    let lower = description.to_ascii_lowercase();
    let range = lower.split(';').find_map(|option| option.strip_prefix("range="))?;
    range.split_once('-')?.1.parse().ok()
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
    fn ranges_end_where_they_say() {
        assert_eq!(last_of_range("member"), None);
        assert_eq!(last_of_range("member;range=0-1499"), Some(1499));
        assert_eq!(last_of_range("member;Range=1500-*"), None);
    }
}
