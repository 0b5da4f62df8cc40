//! What our own account may do in the member directory, worked out from security descriptors. It should be able to read
//! and nothing else: a member that gave us more is failed for it.

use std::collections::BTreeSet;

use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::probes::access::area::is_a;
use crate::assess::probes::access::sight::{Seen as Sighted, Sightings, WRITES_SHOWN};
use crate::assess::probes::access::sweep;
use crate::assess::probes::descriptor::{
    Descriptor, GET_CHANGES, GET_CHANGES_ALL, GET_CHANGES_FILTERED, Guid,
};
use crate::assess::probes::logon::{Contexts, Session};
use crate::assess::probes::unseen::{Reach, Unseen};
use crate::assess::settings::Settings;
use crate::baseline::facts::{Fact, Provenance};
use crate::baseline::value::Value;
use crate::directory::request::{Scope, Search};
use crate::ldap::entry::Entry;
use crate::ldap::filter::Filter;

/// What it finds.
pub const NAMES: [&str; 6] = [
    "rights.write",
    "rights.write_places",
    "rights.get_changes",
    "rights.get_changes_all",
    "rights.filtered_set",
    "rights.laps_read",
];
/// Attributes that hold local administrators' passwords. Only the schema's own entries about them are read.
const LAPS: [&str; 3] = ["ms-Mcs-AdmPwd", "msLAPS-Password", "msLAPS-EncryptedPassword"];

/// Places that are kept of those that our account may not look into.
const UNSEEN_MAX: usize = 20_000;

/// What was found in all descriptors.
#[derive(Debug, Default)]
struct Found {
    writes: BTreeSet<String>,
    laps: bool,
    /// Descriptors that did not come.
    hidden: u64,
    unseen: Vec<Unseen>,
    domain: Option<Descriptor>,
}

impl Found {
    /// Takes note of what our account may not look at; of more than can be kept, that anything may be missing.
    fn miss(&mut self, dn: &str, reach: Reach, reason: String, contexts: &Contexts) {
        match self.unseen.len() {
            ..UNSEEN_MAX => self.unseen.push(Unseen::new(dn, reach, reason)),
            UNSEEN_MAX => self.unseen.push(Unseen::new(&contexts.domain, Reach::Both, reason)),
            _ => {}
        }
    }
}

/// The facts `rights.*`. The same descriptors tell who else may do what: `sightings` takes note of them.
pub async fn probe(
    session: &mut Session,
    settings: &Settings,
    clock: &Clock,
    sightings: Option<&mut Sightings>,
) -> Gathered {
    let mut gathered = Gathered::default();
    let watch = Stopwatch::start(clock);
    match look(session, settings, sightings).await {
        Ok((mut found, entries)) => {
            gathered.unseen.append(&mut found.unseen);
            record(&mut gathered, found, &session.account.sids);
            gathered.provenance.push(Provenance {
                entries,
                ..watch.provenance(
                    "rights",
                    "security descriptors of the places that matter",
                    &session.controller,
                )
            });
        }
        Err(reason) => gathered.set_all(&NAMES, &Fact::Failed(reason)),
    }
    gathered
}

/// The facts when there is no connection.
pub fn without_connection(reason: &str) -> Gathered {
    let mut gathered = Gathered::default();
    gathered.set_all(&NAMES, &Fact::Failed(reason.to_owned()));
    gathered
}

/// Adds what the sweeps of the configuration, and of who is privileged, say of our own account. `failed` is why they did not end.
pub fn widen(gathered: &mut Gathered, sightings: &Sightings, failed: Option<&String>) {
    let hidden =
        sightings.objects.iter().any(|sight| matches!(sight.seen, Sighted::Hidden | Sighted::Failed(_)));
    let failed = failed.cloned().or_else(|| sweep::incomplete(sightings));
    let write = match (sightings.writes.is_empty(), failed) {
        (false, _) => Fact::boolean(true),
        (true, Some(reason)) => Fact::Failed(reason),
        (true, None) if hidden => Fact::Hidden,
        (true, None) => return,
    };
    let shown = sightings.writes.iter().take(WRITES_SHOWN).cloned().collect();
    gathered.set("rights.write", write);
    gathered.set("rights.write_places", Fact::Known(Value::Set(shown)));
}

/// Takes out of `later` what says less of our own account than is known already.
pub fn keep(known: &Gathered, later: &mut Gathered) {
    let certain = |gathered: &Gathered| gathered.facts.get("rights.write") == Fact::boolean(true);
    if (certain(known) && !certain(later))
        && let Some(record) = later.facts.records.get_mut("rights")
    {
        record.clear();
    }
}

async fn look(
    session: &mut Session,
    settings: &Settings,
    mut sightings: Option<&mut Sightings>,
) -> Result<(Found, u64), String> {
    let laps = laps_attributes(session).await?;
    let who = session.account.sids.clone();
    let contexts = session.contexts.clone();
    let mut found = Found::default();
    let mut fault = None;
    let own = session.account.dn.clone();
    let search = sweep::domain_search(session, settings)?;
    let done = session
        .directory
        .search(&search, |entry| {
            let descriptor = sweep::descriptor(&entry);
            if let Some(sightings) = sightings.as_deref_mut() {
                sweep::take(sightings, &contexts, &entry, &descriptor);
            }
            let descriptor = match descriptor {
                Ok(Some(descriptor)) => descriptor,
                Ok(None) => {
                    found.hidden += 1;
                    return;
                }
                Err(reason) => {
                    fault = Some(reason);
                    return;
                }
            };
            if found.writes.len() < WRITES_SHOWN
                && descriptor.lets_write(&who)
                && !entry.dn.eq_ignore_ascii_case(&own)
            {
                found.writes.insert(entry.dn.clone());
            }
            if is_place(&entry) && !descriptor.lets_list(&who) {
                let reason = format!("our account may not list what is below `{}`", entry.dn);
                found.miss(&entry.dn, Reach::Below, reason, &contexts);
            }
            if descriptor.denies_sight(&who) {
                let reason = format!("our account is denied reading something at `{}`", entry.dn);
                // an entry of a list may be for what is below, too
                found.miss(&entry.dn, Reach::Both, reason, &contexts);
            }
            found.laps |= laps.iter().any(|attribute| descriptor.lets_control(&who, attribute));
            if entry.dn.eq_ignore_ascii_case(&contexts.domain) {
                found.domain = Some(descriptor);
            }
        })
        .await
        .map_err(|error| error.to_string())?;
    if let Some(sightings) = sightings {
        sweep::close_domain(sightings, session, &done);
    }
    match fault {
        Some(fault) => Err(fault),
        None if !done.is_complete() => {
            Err(format!("the search for security descriptors ended with result code {}", done.code))
        }
        None => Ok((found, done.entries)),
    }
}

/// Whether accounts can be kept below ([MS-ADSC], possible superiors of the class user).
fn is_place(entry: &Entry) -> bool {
    ["organizationalUnit", "container", "builtinDomain", "domainDNS"].iter().any(|class| is_a(entry, class))
}

fn record(gathered: &mut Gathered, found: Found, who: &BTreeSet<String>) {
    // a right that is found is found, whatever else was hidden
    let told = |holds: bool| match (holds, found.hidden) {
        (true, _) => Fact::boolean(true),
        (false, 0) => Fact::boolean(false),
        (false, _) => Fact::Hidden,
    };
    gathered.set("rights.write", told(!found.writes.is_empty()));
    gathered.set("rights.laps_read", told(found.laps));
    gathered.set(
        "rights.write_places",
        Fact::Known(Value::Set(found.writes.iter().take(100).cloned().collect())),
    );
    let control = |right: &Guid| match &found.domain {
        Some(descriptor) => Fact::boolean(descriptor.lets_control(who, right)),
        None => Fact::Hidden,
    };
    gathered.set("rights.get_changes", control(&GET_CHANGES));
    gathered.set("rights.get_changes_all", control(&GET_CHANGES_ALL));
    gathered.set("rights.filtered_set", control(&GET_CHANGES_FILTERED));
}

/// The schema's GUIDs of the LAPS attributes that this forest has.
async fn laps_attributes(session: &mut Session) -> Result<Vec<Guid>, String> {
    let names = LAPS
        .iter()
        .map(|name| Filter::equal("lDAPDisplayName", name.as_bytes().to_vec()).into_owned())
        .collect();
    let schema = session.contexts.schema.clone();
    let search = Search::new(&schema, Scope::One, Filter::Or(names), &["schemaIDGUID"]);
    let (entries, done) = session.directory.read(&search).await.map_err(|error| error.to_string())?;
    if !done.is_complete() {
        return Err(format!("the search of the schema ended with result code {}", done.code));
    }
    Ok(entries
        .iter()
        .filter_map(|entry| entry.first("schemaIDGUID").and_then(|value| Guid::try_from(value).ok()))
        .collect())
}
