//! The searches that bring descriptors: the domain's, those of the configuration, and those of who is privileged and was not
//! among them. Owner, group and list of access are asked for, never the audit list: it needs a privilege that we must not have.

use std::collections::{BTreeMap, BTreeSet};

use crate::assess::probes::access::area::{
    ATTRIBUTES, Area, DOMAIN_FILTER, KRBTGT, in_domain, in_pki, in_sites, sid_of,
};
use crate::assess::probes::access::sight::{Seen, Sight, Sightings, above, first_name};
use crate::assess::probes::descriptor::{Descriptor, sid_bytes};
use crate::assess::probes::logon::{Contexts, Session};
use crate::assess::probes::member::Named;
use crate::assess::probes::privileged::Privileged;
use crate::assess::probes::unseen::{Reach, Unseen};
use crate::assess::settings::Settings;
use crate::directory::request::{RawControl, Scope, Search, SearchDone};
use crate::ldap::entry::Entry;
use crate::ldap::filter::Filter;

/// LDAP_SERVER_SD_FLAGS ([MS-ADTS] section 3.1.1.3.4.1.11) asking for owner, group and DACL: 7.
const SD_FLAGS: &str = "1.2.840.113556.1.4.801";
const SD_FLAGS_OWNER_GROUP_DACL: &[u8] = b"\x30\x03\x02\x01\x07";
/// Privileged objects that are asked for one by one.
const SINGLES_MAX: usize = 2_000;
/// Sweeps that must have ended for the whole to be complete.
const SWEEPS: u32 = 3;

/// Certificates of authorities as they are stored: DN and DER.
pub type Stored = Vec<(String, Vec<u8>)>;

/// The search over everything in the domain whose list of access matters.
pub fn domain_search(session: &Session, settings: &Settings) -> Result<Search, String> {
    let mut filter = Filter::parse(DOMAIN_FILTER).map_err(|error| error.to_string())?;
    let krbtgt = session.domain_sid.as_deref().and_then(|sid| sid_bytes(&format!("{sid}{KRBTGT}")));
    if let (Filter::Or(any), Some(sid)) = (&mut filter, krbtgt) {
        any.push(Filter::equal("objectSid", sid).into_owned());
    }
    Ok(descriptors(&session.contexts.domain, Scope::Subtree, filter, settings))
}

/// The search for one object's descriptor.
pub fn single(dn: &str, settings: &Settings) -> Search {
    descriptors(dn, Scope::Base, Filter::present("objectClass"), settings)
}

fn descriptors(base: &str, scope: Scope, filter: Filter<'static>, settings: &Settings) -> Search {
    let mut search = Search::new(base, scope, filter, &ATTRIBUTES)
        .control(RawControl::critical(SD_FLAGS).with_value(SD_FLAGS_OWNER_GROUP_DACL.to_vec()));
    if scope != Scope::Base {
        search = search.paged(settings.directory.page_size);
    }
    search.entries = Some(u64::try_from(settings.records).unwrap_or(u64::MAX));
    search
}

/// The descriptor of an entry: none when our account may not read it.
pub fn descriptor(entry: &Entry) -> Result<Option<Descriptor>, String> {
    let bytes = entry.first("nTSecurityDescriptor");
    bytes.map(Descriptor::parse).transpose().map_err(|error| error.to_string())
}

/// Takes note of an entry of [`domain_search`].
pub fn take(
    sightings: &mut Sightings,
    contexts: &Contexts,
    entry: &Entry,
    found: &Result<Option<Descriptor>, String>,
) {
    sightings.take(entry, in_domain(entry, contexts), found);
}

/// Ends the domain's sweep: says what is missing of it.
pub fn close_domain(sightings: &mut Sightings, session: &Session, done: &SearchDone) {
    let domain = session.contexts.domain.clone();
    for (place, area) in [
        ("", Area::Domain),
        ("CN=AdminSDHolder,CN=System,", Area::AdminSdHolder),
        ("OU=Domain Controllers,", Area::ControllersUnit),
        ("CN=krbtgt,CN=Users,", Area::Krbtgt),
        ("OU=Domain Controllers,", Area::Controller),
    ] {
        if !sightings.has(area) {
            sightings.miss(&format!("{place}{domain}"), area);
        }
    }
    for place in ["CN=System,", "CN=Policies,CN=System,"] {
        let dn = format!("{place}{domain}");
        if !sightings.objects.iter().any(|sight| sight.dn.eq_ignore_ascii_case(&dn)) {
            sightings.miss(&dn, Area::System);
        }
    }
    ended(sightings, "the domain", done);
}

fn ended(sightings: &mut Sightings, what: &str, done: &SearchDone) {
    sightings.ended += 1;
    if done.stopped {
        sightings
            .missing
            .push(format!("the search for descriptors of {what} was stopped at our own limit of records"));
    } else if done.code != 0 {
        let code = done.code;
        sightings.missing.push(format!("the search for descriptors of {what} ended with result code {code}"));
    }
}

/// Why what was sighted is not everything; none when it is.
pub fn incomplete(sightings: &Sightings) -> Option<String> {
    match sightings.missing.first() {
        Some(reason) => Some(reason.clone()),
        None if sightings.ended < SWEEPS => Some("the descriptors were not all looked at in time".to_owned()),
        None => None,
    }
}

/// Where the forest keeps its public key infrastructure.
pub fn pki_base(contexts: &Contexts) -> String {
    format!("CN=Public Key Services,CN=Services,{}", contexts.configuration)
}

/// The public key infrastructure of the forest.
pub async fn pki(
    session: &mut Session,
    settings: &Settings,
    sightings: &mut Sightings,
) -> Result<Stored, String> {
    let base = pki_base(&session.contexts);
    let search = descriptors(&base, Scope::Subtree, Filter::present("objectClass"), settings);
    let mut stored = Stored::new();
    let mut taken = Sightings { who: sightings.who.clone(), ..Sightings::default() };
    let outcome = session
        .directory
        .search(&search, |entry| {
            let area = in_pki(&entry);
            taken.take(&entry, area, &descriptor(&entry));
            stored.extend(entry.values("cACertificate").map(|der| (entry.dn.clone(), der.to_vec())));
        })
        .await;
    let done = outcome.map_err(|error| error.to_string())?;
    sightings.objects.append(&mut taken.objects);
    sightings.writes.append(&mut taken.writes);
    // a template or an authority that shows a part of itself looks harmless
    taken.narrow.iter().for_each(|dn| sightings.veil("the public key infrastructure's", dn));
    if !sightings.has(Area::Pki) {
        sightings.miss(&base, Area::Pki);
    }
    ended(sightings, "the public key infrastructure", &done);
    match done.is_complete() {
        true => Ok(stored),
        false => Err(incomplete(sightings).unwrap_or_else(|| "the search did not end".to_owned())),
    }
}

/// What stands in the sites, and the sites themselves.
const SITES: &str = "(|(objectClass=sitesContainer)(objectClass=site)(objectClass=serversContainer)(objectClass=server)\
    (objectClass=nTDSDSA)(objectClass=nTDSSiteSettings)(objectClass=subnetContainer)\
    (objectClass=interSiteTransportContainer)(objectClass=interSiteTransport)(objectClass=siteLink))";

/// The heads of the forest's other parts, its settings, sites and menus, and the keys of managed passwords.
pub async fn forest(
    session: &mut Session,
    settings: &Settings,
    sightings: &mut Sightings,
) -> Result<(), String> {
    let configuration = session.contexts.configuration.clone();
    let below = |place: &str| format!("{place},{configuration}");
    let any = || Filter::present("objectClass");
    let sites = Filter::parse(SITES).map_err(|error| error.to_string())?;
    let service = below("CN=Directory Service,CN=Windows NT,CN=Services");
    let keys = below("CN=Group Key Distribution Service,CN=Services");
    let places = [
        (configuration.clone(), Scope::Base, any(), Area::Configuration),
        (session.contexts.schema.clone(), Scope::Base, any(), Area::Schema),
        (service.clone(), Scope::Base, any(), Area::Configuration),
        (below("CN=Partitions"), Scope::Base, any(), Area::Configuration),
        (below("CN=DisplaySpecifiers"), Scope::Subtree, any(), Area::Configuration),
        (below("CN=Sites"), Scope::Subtree, sites, Area::Sites),
        (keys, Scope::Subtree, any(), Area::RootKeys),
    ];
    for (base, scope, filter, area) in places {
        let search = descriptors(&base, scope, filter, settings);
        let alike = area == Area::Configuration && scope == Scope::Subtree;
        let outcome = session
            .directory
            .search(&search, |entry| match area {
                Area::Sites => sightings.take(&entry, in_sites(&entry), &descriptor(&entry)),
                _ if alike => sightings.take_distinct(&entry, area, &descriptor(&entry)),
                _ => sightings.take(&entry, area, &descriptor(&entry)),
            })
            .await;
        let done = outcome.map_err(|error| error.to_string())?;
        match (done.code, area) {
            // a forest may never have used managed service accounts
            (0 | 32, Area::RootKeys) => {}
            (0, _) if done.entries > 0 => {}
            _ => sightings.miss(&base, area),
        }
        if done.stopped {
            sightings.missing.push("the search for descriptors of the forest was stopped".to_owned());
        }
    }
    // its dSHeuristics stands for what is usual where it has none
    let is_read =
        |sight: &Sight| sight.dn.eq_ignore_ascii_case(&service) && matches!(sight.seen, Seen::Read { .. });
    if !sightings.objects.iter().any(is_read) || sightings.narrow.contains(&service.to_lowercase()) {
        sightings.veil("the forest's", &service);
    }
    sightings.ended += 1;
    Ok(())
}

/// Privileged accounts and groups that no sweep brought: nothing protects them, and they count all the same.
pub async fn privileged(
    session: &mut Session,
    settings: &Settings,
    privileged: &Privileged,
    sightings: &mut Sightings,
) -> Result<(), String> {
    let known: BTreeMap<String, Option<String>> =
        sightings.objects.iter().map(|sight| (sight.dn.to_lowercase(), sight.sid.clone())).collect();
    // who has the name and not the SID is somebody else
    let is_known =
        |named: &Named| known.get(&named.lower()).is_some_and(|sid| named.sid.is_none() || *sid == named.sid);
    let left: Vec<&Named> = privileged.all().filter(|named| !is_known(named)).collect();
    if left.len() > SINGLES_MAX {
        let reason =
            format!("more than {SINGLES_MAX} privileged accounts are not protected by AdminSDHolder");
        sightings.missing.push(reason);
        return Ok(());
    }
    for named in left {
        let dn = &named.dn;
        let (entries, done) =
            session.directory.read(&single(dn, settings)).await.map_err(|error| error.to_string())?;
        let same = |entry: &&Entry| named.sid.is_none() || sid_of(entry) == named.sid;
        match entries.first().filter(same) {
            Some(entry) => sightings.take(entry, Area::Protected, &descriptor(entry)),
            None => {
                let reason = "our account does not see a member of a group that rules the domain";
                sightings.unseen.push(Unseen::new(dn, Reach::Itself, reason.to_owned()));
                sightings.objects.push(Sight {
                    dn: dn.clone(),
                    sid: named.sid.clone(),
                    name: first_name(dn).to_owned(),
                    area: Area::Protected,
                    group: false,
                    seen: match done.code {
                        0 => Seen::Hidden,
                        code => Seen::Failed(format!("its search ended with result code {code}")),
                    },
                });
            }
        }
    }
    Ok(())
}

/// The units above privileged accounts: what is linked there runs with an administrator's rights.
pub async fn places(
    session: &mut Session,
    settings: &Settings,
    privileged: &Privileged,
    sightings: &mut Sightings,
) -> Result<(), String> {
    let domain = format!(",{}", session.contexts.domain.to_lowercase());
    // policies do nothing to a group; each unit once, as the directory writes it
    let units: BTreeMap<String, &str> = privileged
        .accounts()
        .flat_map(|(_, named)| above(&named.dn))
        .map(|dn| (dn.to_lowercase(), dn))
        .filter(|(lower, _)| lower.starts_with("ou=") && lower.ends_with(&domain))
        .collect();
    let is_looked_at = |dn: &str, sightings: &Sightings| {
        let is_it = |sight: &&Sight| sight.dn.eq_ignore_ascii_case(dn);
        sightings.objects.iter().find(is_it).is_some_and(|sight| sight.area != Area::Place)
    };
    if units.len() > SINGLES_MAX {
        sightings.missing.push(format!("privileged accounts lie in more than {SINGLES_MAX} units"));
        return Ok(());
    }
    for dn in units.into_values() {
        if is_looked_at(dn, sightings) {
            continue;
        }
        // as a plain place it was looked at for everybody's rights only
        sightings.objects.retain(|sight| sight.area != Area::Place || !sight.dn.eq_ignore_ascii_case(dn));
        let (entries, _) =
            session.directory.read(&single(dn, settings)).await.map_err(|error| error.to_string())?;
        match entries.first() {
            Some(entry) => sightings.take(entry, Area::PrivilegedPlace, &descriptor(entry)),
            None => sightings.miss(dn, Area::PrivilegedPlace),
        }
    }
    Ok(())
}

/// Ends the sweeps: what is hidden of the objects that were sighted.
pub fn close(privileged: &Privileged, sightings: &mut Sightings) {
    // a policy that controllers apply and that we do not see is not one that nobody may edit
    let seen: BTreeSet<String> = sightings.objects.iter().map(|sight| sight.dn.to_lowercase()).collect();
    let lost: Vec<String> = sightings.linked.iter().filter(|dn| !seen.contains(*dn)).cloned().collect();
    lost.iter().for_each(|dn| sightings.miss(dn, Area::ControllerPolicy));
    // and where `gPLink` may be hidden, none is no proof that nothing is linked
    let linking = |sight: &&Sight| sight.area.is_linked();
    let dark = |sight: &&Sight| sightings.narrow.contains(&sight.dn.to_lowercase());
    let dark: Vec<String> =
        sightings.objects.iter().filter(linking).filter(dark).map(|sight| sight.dn.clone()).collect();
    for dn in &dark {
        sightings.veil("the place of policies", dn);
        sightings.miss(dn, Area::ControllerPolicy);
    }
    // whoever shows a part of itself may be a member of more, or log on by more, than is seen
    let narrow: Vec<&Named> =
        privileged.all().filter(|named| sightings.narrow.contains(&named.lower())).collect();
    narrow.into_iter().for_each(|named| sightings.veil("privileged", &named.dn));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_records_is_the_limit_of_a_sweep() {
        let settings = Settings { records: 7, ..Settings::default() };
        let search = descriptors("DC=x", Scope::Subtree, Filter::present("objectClass"), &settings);
        assert_eq!(search.entries, Some(7));
    }
}
