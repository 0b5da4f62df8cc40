//! Who is privileged: every direct and nested member of the groups that own the domain, and those who have one of them as
//! primary group.

use std::collections::{BTreeMap, BTreeSet};

use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::probes::descriptor::sid;
use crate::assess::probes::logon::Session;
use crate::assess::settings::Settings;
use crate::baseline::facts::Provenance;
use crate::directory::request::{Scope, Search};
use crate::ldap::filter::{Extensible, Filter};

/// Domain Admins, Schema Admins, Enterprise Admins, Group Policy Creator Owners, Key Admins, Enterprise Key Admins
/// ([MS-DTYP] section 2.4.2.4), relative to their domain.
const RELATIVE: [u32; 6] = [512, 518, 519, 520, 526, 527];
/// Administrators, Account, Server, Print and Backup Operators, Replicator.
const BUILTIN: [&str; 6] =
    ["S-1-5-32-544", "S-1-5-32-548", "S-1-5-32-549", "S-1-5-32-550", "S-1-5-32-551", "S-1-5-32-552"];
/// [MS-ADTS] section 3.1.1.3.4.4.3.
const IN_CHAIN: &str = "1.2.840.113556.1.4.1941";

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

/// Works the closure out, asking the directory.
pub async fn closure(
    session: &mut Session,
    settings: &Settings,
    clock: &Clock,
    gathered: &mut Gathered,
) -> Result<Privileged, String> {
    let watch = Stopwatch::start(clock);
    let roots = roots(session, settings).await?;
    let mut all = BTreeSet::new();
    // groups by DN with their RID, whose primary members are looked for
    let mut groups: BTreeMap<String, Option<u32>> = BTreeMap::new();
    for (dn, sid) in &roots {
        groups.insert(dn.clone(), rid(sid));
        for (dn, group_sid) in members(session, dn, settings).await? {
            if let Some(group_sid) = group_sid {
                groups.insert(dn.clone(), rid(&group_sid));
            }
            all.insert(dn.to_lowercase());
        }
    }
    for rid in groups.values().flatten().collect::<BTreeSet<_>>() {
        let primary = Filter::equal("primaryGroupID", rid.to_string().into_bytes()).into_owned();
        let found = read(session, primary, &["name"], settings).await?;
        all.extend(found.into_iter().map(|entry| entry.dn.to_lowercase()));
    }
    all.extend(groups.into_keys().map(|dn| dn.to_lowercase()));
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

/// The privileged groups that exist, by DN with their SIDs.
async fn roots(session: &mut Session, settings: &Settings) -> Result<Vec<(String, String)>, String> {
    let groups =
        read(session, Filter::equal("adminCount", b"1".to_vec()).into_owned(), &["objectSid"], settings);
    // adminCount is only a hint: the built-in groups are found by SID too
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for entry in groups.await? {
        if let Some((sid, _)) = entry.first("objectSid").and_then(sid) {
            found.insert(sid, entry.dn);
        }
    }
    let domain = domain_sid(session).await?;
    let wanted = RELATIVE
        .iter()
        .map(|rid| format!("{domain}-{rid}"))
        .chain(BUILTIN.iter().map(|sid| (*sid).to_owned()));
    let mut roots = Vec::new();
    for sid in wanted {
        if let Some(dn) = found.get(&sid) {
            roots.push((dn.clone(), sid));
            continue;
        }
        let by_sid = Filter::equal("objectSid", sid.clone().into_bytes()).into_owned();
        let entries = read(session, by_sid, &["name"], settings).await?;
        roots.extend(entries.into_iter().map(|entry| (entry.dn, sid.clone())));
    }
    let administrators = roots.iter().any(|(_, sid)| sid == "S-1-5-32-544");
    let domain_admins = roots.iter().any(|(_, sid)| *sid == format!("{domain}-512"));
    if !administrators || !domain_admins {
        // every domain has both: what we do not see cannot be judged
        return Err("the groups Administrators and Domain Admins cannot both be read".to_owned());
    }
    Ok(roots)
}

async fn domain_sid(session: &mut Session) -> Result<String, String> {
    let base = session.contexts.domain.clone();
    let search = Search::new(&base, Scope::Base, Filter::present("objectClass"), &["objectSid"]);
    let (entries, _) = session.directory.read(&search).await.map_err(|error| error.to_string())?;
    let bytes = entries.first().and_then(|entry| entry.first("objectSid")).and_then(sid);
    bytes.map(|(text, _)| text).ok_or_else(|| "the domain's SID cannot be read".to_owned())
}

/// Everything that is in the group, nested: DN, and the SID when it is a group itself.
async fn members(
    session: &mut Session,
    group: &str,
    settings: &Settings,
) -> Result<Vec<(String, Option<String>)>, String> {
    let nested = Filter::Extensible(Extensible {
        rule: Some(IN_CHAIN.into()),
        attribute: Some("memberOf".into()),
        value: group.as_bytes().to_vec().into(),
        dn_attributes: false,
    })
    .into_owned();
    let entries = read(session, nested, &["objectSid", "objectClass"], settings).await?;
    let group_sid = |entry: &crate::ldap::entry::Entry| {
        let is_group = entry.texts("objectClass").any(|class| class.eq_ignore_ascii_case("group"));
        is_group.then(|| entry.first("objectSid").and_then(sid).map(|(text, _)| text)).flatten()
    };
    Ok(entries
        .into_iter()
        .map(|entry| {
            let sid = group_sid(&entry);
            (entry.dn, sid)
        })
        .collect())
}

async fn read(
    session: &mut Session,
    filter: Filter<'static>,
    attributes: &[&str],
    settings: &Settings,
) -> Result<Vec<crate::ldap::entry::Entry>, String> {
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
