//! The searches that bring descriptors: the domain's, those of the configuration, and those of who is privileged and was not
//! among them. Owner, group and list of access are asked for, never the audit list: it needs a privilege that we must not have.

use std::collections::{BTreeMap, BTreeSet};

use crate::assess::probes::access::area::{ATTRIBUTES, Area, DOMAIN_FILTER, in_domain, in_pki, sid_of};
use crate::assess::probes::access::sight::{Seen, Sight, Sightings, first_name};
use crate::assess::probes::descriptor::Descriptor;
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
/// Objects looked at in one search; a domain has a few hundred.
const OBJECTS_MAX: u64 = 20_000;
/// Privileged objects that are asked for one by one.
const SINGLES_MAX: usize = 2_000;
/// Sweeps that must have ended for the whole to be complete.
const SWEEPS: u32 = 3;

/// Certificates of authorities as they are stored: DN and DER.
pub type Stored = Vec<(String, Vec<u8>)>;

/// The search over everything in the domain whose list of access matters.
pub fn domain_search(session: &Session, settings: &Settings) -> Result<Search, String> {
    let filter = Filter::parse(DOMAIN_FILTER).map_err(|error| error.to_string())?;
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
    search.entries = Some(OBJECTS_MAX);
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
    ended(sightings, "the domain", done);
}

fn ended(sightings: &mut Sightings, what: &str, done: &SearchDone) {
    sightings.ended += 1;
    if done.stopped {
        sightings.missing.push(format!("the search for descriptors of {what} was stopped at our own limit"));
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

/// The heads of the forest's other parts, its sites, and the keys of managed passwords.
pub async fn forest(
    session: &mut Session,
    settings: &Settings,
    sightings: &mut Sightings,
) -> Result<(), String> {
    let configuration = session.contexts.configuration.clone();
    let schema = session.contexts.schema.clone();
    let keys = format!("CN=Group Key Distribution Service,CN=Services,{configuration}");
    let any = || Filter::present("objectClass");
    let sites =
        Filter::parse("(|(objectClass=sitesContainer)(objectClass=site))").map_err(|e| e.to_string())?;
    let places = [
        (configuration.clone(), Scope::Base, any(), Area::Configuration),
        (schema, Scope::Base, any(), Area::Schema),
        (format!("CN=Sites,{configuration}"), Scope::Subtree, sites, Area::Sites),
        (keys, Scope::Subtree, any(), Area::RootKeys),
    ];
    for (base, scope, filter, area) in places {
        let search = descriptors(&base, scope, filter, settings);
        let mut entries = Vec::new();
        let outcome = session.directory.search(&search, |entry| entries.push(entry)).await;
        let done = outcome.map_err(|error| error.to_string())?;
        for entry in &entries {
            sightings.take(entry, area, &descriptor(entry));
        }
        match (done.code, area) {
            // a forest may never have used managed service accounts
            (0 | 32, Area::RootKeys) => {}
            (0, _) if !entries.is_empty() => {}
            _ => sightings.miss(&base, area),
        }
        if done.stopped {
            sightings.missing.push("the search for descriptors of the forest was stopped".to_owned());
        }
    }
    service(session, settings, sightings).await?;
    sightings.ended += 1;
    Ok(())
}

/// The object whose `dSHeuristics` stands for what is usual where it has none.
async fn service(
    session: &mut Session,
    settings: &Settings,
    sightings: &mut Sightings,
) -> Result<(), String> {
    let base = format!("CN=Directory Service,CN=Windows NT,CN=Services,{}", session.contexts.configuration);
    let found = session.directory.read(&single(&base, settings)).await.map_err(|error| error.to_string())?;
    let seen = found.0.first().map(descriptor).transpose()?.flatten();
    if !seen.is_some_and(|descriptor| descriptor.shows_all(&sightings.who)) {
        sightings.veil("the forest's", &base);
    }
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
    // a policy that controllers apply and that we do not see is not one that nobody may edit
    let seen: BTreeSet<String> = sightings.objects.iter().map(|sight| sight.dn.to_lowercase()).collect();
    let lost: Vec<String> = sightings.linked.iter().filter(|dn| !seen.contains(*dn)).cloned().collect();
    lost.iter().for_each(|dn| sightings.miss(dn, Area::ControllerPolicy));
    // and where `gPLink` may be hidden, none is no proof that nothing is linked
    let linking = |sight: &&Sight| matches!(sight.area, Area::Domain | Area::ControllersUnit | Area::Sites);
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
    Ok(())
}
