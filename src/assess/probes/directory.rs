//! Everything that policies declare to be read over LDAP: the planned searches, decoded entry by entry as they stream.

use std::borrow::Cow;
use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::plan::PlannedSearch;
use crate::assess::probes::access::sweep;
use crate::assess::probes::derived::Surroundings;
use crate::assess::probes::logon::Session;
use crate::assess::probes::overlooked;
use crate::assess::probes::seen::Seen;
use crate::assess::settings::Settings;
use crate::baseline::catalogue::needs;
use crate::baseline::compile::Read;
use crate::baseline::decode::decode;
use crate::baseline::facts::{Collection, Fact, Provenance};
use crate::baseline::records::Records;
use crate::baseline::value::Value;
use crate::directory::request::{Scope, Search, SearchDone};
use crate::ldap::attribute::canonical_name;
use crate::ldap::entry::Entry;
use crate::ldap::filter::Filter;
use crate::policy::documents::{AttributeFact, SearchScope, Shape};

/// Stands for the domain's SID in a base: what is named by its SID cannot be given another name to hide it.
const DOMAIN_SID: &str = "{domain_sid}";

/// Runs the planned searches one after the other and fills their records and collections.
pub async fn probe(
    session: &mut Session,
    searches: &[PlannedSearch],
    surroundings: &Surroundings,
    settings: &Settings,
    clock: &Clock,
    at: OffsetDateTime,
) -> Gathered {
    let mut taken = Taken::default();
    for search in searches {
        run(session, search, surroundings, settings, clock, at, &mut taken).await;
    }
    let Taken { mut gathered, met } = taken;
    for search in searches.iter().filter(|search| overlooked::judges(search)) {
        let Ok(privileged) = &surroundings.privileged else { continue };
        let Ok(asked) = request(search, session, settings) else { continue };
        let Some(reason) = overlooked::overlooked(session, &asked, privileged, &met).await else { continue };
        for read in &search.reads {
            if let Some(collection) = gathered.facts.collections.get_mut(&read.name)
                && collection.complete == Fact::boolean(true)
            {
                collection.complete = Fact::Failed(reason.clone());
            }
        }
    }
    gathered
}

/// What the searches bring.
#[derive(Debug, Default)]
struct Taken {
    gathered: Gathered,
    /// The privileged accounts among it, by what tells them apart.
    met: BTreeSet<String>,
}

/// What the planned searches give when there is no connection to ask on.
pub fn without_connection(searches: &[PlannedSearch], reason: &str) -> Gathered {
    let mut gathered = Gathered::default();
    for search in searches {
        fail(search, reason, &mut gathered);
    }
    gathered
}

async fn run(
    session: &mut Session,
    planned: &PlannedSearch,
    surroundings: &Surroundings,
    settings: &Settings,
    clock: &Clock,
    at: OffsetDateTime,
    taken: &mut Taken,
) {
    let Taken { gathered, met } = taken;
    let watch = Stopwatch::start(clock);
    let search = match request(planned, session, settings) {
        Ok(search) => search,
        Err(reason) => return fail(planned, &reason, gathered),
    };
    let mut found: Vec<Records> = planned.reads.iter().map(|_| Records::default()).collect();
    let wanted: Vec<Wanted<'_>> = planned.reads.iter().map(Wanted::of).collect();
    let mut overflow = false;
    let judged = surroundings.privileged.as_ref().ok().filter(|_| overlooked::judges(planned));
    let outcome = session
        .directory
        .search(&search, |entry| {
            met.extend(judged.and_then(|privileged| overlooked::account(privileged, &entry)));
            for (read, records) in wanted.iter().zip(&mut found) {
                if records.len() >= settings.records {
                    overflow = true;
                } else {
                    records.push_facts(facts(read, &entry, surroundings, at));
                }
            }
        })
        .await;
    let done = match outcome {
        Ok(done) => done,
        Err(error) => return fail(planned, &error.to_string(), gathered),
    };
    let complete = match planned.reads.iter().any(|read| read.may_hide) {
        true => proven(session, &search.base, completeness(&done, overflow), settings).await,
        false => completeness(&done, overflow),
    };
    let complete = match complete == Fact::boolean(true) {
        true => surroundings.missing(&search.base, search.scope).map_or(complete, Fact::Failed),
        false => complete,
    };
    for (read, mut records) in planned.reads.iter().zip(found) {
        gathered.provenance.push(Provenance {
            pages: u64::from(done.pages),
            entries: done.entries,
            result: Some(done.code),
            truncated: complete != Fact::boolean(true),
            ..watch.provenance(&read.name, &by(planned, &search), &session.controller)
        });
        match read.shape {
            Shape::Collection => {
                records.shrink();
                let collection = Collection { records, complete: complete.clone() };
                gathered.facts.collections.insert(read.name.clone(), collection);
            }
            Shape::Record => single(read, records, &done, &complete, gathered),
        }
    }
}

/// A declared record: the one entry there should be.
fn single(read: &Read, records: Records, done: &SearchDone, complete: &Fact, gathered: &mut Gathered) {
    let missing = match (records.len(), done.code) {
        (1, _) => {
            if let Some(record) = records.get(0) {
                let facts = gathered.facts.records.entry(read.name.clone()).or_default();
                facts.extend(record.to_record());
            }
            return;
        }
        // no such object, and nothing found: there is none, where nothing is kept from us
        (0, 0 | 32) if *complete == Fact::boolean(true) => Fact::Absent,
        (0, 0 | 32) => complete.clone(),
        (0, 50) => Fact::Hidden,
        (0, code) => Fact::Failed(format!("the search ended with result code {code}")),
        (more, _) => Fact::Failed(format!("{more} entries where one was meant")),
    };
    let record = gathered.facts.records.entry(read.name.clone()).or_default();
    for name in read.attributes.keys().chain(&read.computed) {
        record.insert(name.clone(), missing.clone());
    }
}

/// A read, with the names of its attributes as [`Seen`] knows them: they are looked up for every entry.
struct Wanted<'a> {
    read: &'a Read,
    attributes: Vec<(&'a str, Cow<'a, str>, &'a AttributeFact)>,
}

impl<'a> Wanted<'a> {
    fn of(read: &'a Read) -> Self {
        let named = |(name, attribute): (&'a String, &'a AttributeFact)| {
            (name.as_str(), canonical_name(&attribute.from), attribute)
        };
        Wanted { read, attributes: read.attributes.iter().map(named).collect() }
    }
}

/// The facts of an entry. A name that the policy declares goes before one that is worked out.
fn facts<'a>(
    wanted: &'a Wanted<'_>,
    entry: &Entry,
    surroundings: &Surroundings,
    at: OffsetDateTime,
) -> Vec<(&'a str, Fact)> {
    let seen = Seen::of(entry);
    // where values may be hidden, none is not "none" (nor what is usual where there is none)
    let veil = surroundings.veil(&entry.dn);
    let declared = wanted.attributes.iter().map(|(name, canonical, attribute)| {
        let values: Vec<_> = seen.values(canonical).collect();
        let fact = match veil {
            _ if seen.is_cut(canonical) => too_many(&attribute.from),
            Some(veil) if values.is_empty() => Fact::Failed(veil.clone()),
            _ => decode(attribute, &values, at),
        };
        (*name, fact)
    });
    let mut facts: Vec<(&str, Fact)> = Vec::with_capacity(wanted.attributes.len() + 12);
    facts.extend(declared);
    if wanted.read.shape == Shape::Collection {
        facts.push(("dn", Fact::Known(Value::Dn(entry.dn.clone()))));
        let name = ["sAMAccountName", "name", "cn"].iter().find_map(|name| seen.text(name));
        facts.push(("name", Fact::text(name.unwrap_or(&entry.dn))));
    }
    for name in wanted.read.computed.iter().filter(|name| !matches!(name.as_str(), "dn" | "name")) {
        let needed = || needs(&wanted.read.name, name).iter();
        let cut = needed().find(|attribute| seen.has_ranges && seen.is_cut(&canonical_name(attribute)));
        let absent = |attribute: &&str| seen.values(&canonical_name(attribute)).next().is_none();
        let fact = match (cut, veil) {
            (Some(attribute), _) => too_many(attribute),
            (None, Some(veil)) if needed().any(absent) => Fact::Failed(veil.clone()),
            (None, _) => surroundings.derive(name, &seen),
        };
        facts.push((name, fact));
    }
    facts
}

fn too_many(attribute: &str) -> Fact {
    Fact::Failed(format!("`{attribute}` has more values than the directory gives at once"))
}

fn completeness(done: &SearchDone, overflow: bool) -> Fact {
    match (done.code, done.stopped || overflow) {
        (0, false) => Fact::boolean(true),
        (_, true) => Fact::Failed("the search was stopped at our own limit of entries".to_owned()),
        // nothing of that kind can exist where its container does not
        (32, _) => Fact::boolean(true),
        (code, _) => {
            Fact::Failed(format!("the search ended with result code {code}, so entries may be missing"))
        }
    }
}

/// Of objects that are commonly hidden, none seen is none there only where what is below the base is readable for us: an ordinary
/// account finds no password settings, and a domain has them all the same.
async fn proven(session: &mut Session, base: &str, complete: Fact, settings: &Settings) -> Fact {
    if complete != Fact::boolean(true) {
        return complete;
    }
    let found = match session.directory.read(&sweep::single(base, settings)).await {
        Ok((entries, _)) => entries.first().map_or(Ok(None), sweep::descriptor),
        Err(error) => Err(error.to_string()),
    };
    match found {
        Ok(Some(descriptor)) if descriptor.lets_read_below(&session.account.sids) => complete,
        Ok(_) => Fact::Hidden,
        Err(reason) => Fact::Failed(reason),
    }
}

fn fail(planned: &PlannedSearch, reason: &str, gathered: &mut Gathered) {
    let fact = Fact::Failed(reason.to_owned());
    for read in &planned.reads {
        match read.shape {
            Shape::Collection => {
                gathered.facts.collections.insert(read.name.clone(), Collection::failed(reason));
            }
            Shape::Record => {
                for name in read.attributes.keys().chain(&read.computed) {
                    gathered.set(&format!("{}.{name}", read.name), fact.clone());
                }
            }
        }
    }
}

fn request(planned: &PlannedSearch, session: &Session, settings: &Settings) -> Result<Search, String> {
    let filter = Filter::parse(&planned.filter).map_err(|error| error.to_string())?;
    let base = if planned.base == "{rootdse}" { String::new() } else { fill(&planned.base, session)? };
    if base.contains('{') {
        return Err(format!("`{}` is no place to search", planned.base));
    }
    let scope = match planned.scope {
        SearchScope::Base => Scope::Base,
        SearchScope::OneLevel => Scope::One,
        SearchScope::Subtree => Scope::Subtree,
    };
    let attributes: BTreeSet<&str> =
        planned.attributes.iter().map(String::as_str).chain(["sAMAccountName"]).collect();
    let attributes: Vec<&str> = attributes.into_iter().collect();
    let search = Search::new(&base, scope, filter, &attributes);
    // the root DSE knows no pages
    Ok(if scope == Scope::Base { search } else { search.paged(settings.directory.page_size) })
}

fn fill(base: &str, session: &Session) -> Result<String, String> {
    let contexts = &session.contexts;
    let mut filled = base
        .replace("{domain}", &contexts.domain)
        .replace("{configuration}", &contexts.configuration)
        .replace("{schema}", &contexts.schema)
        .replace("{root}", &contexts.root);
    if filled.contains(DOMAIN_SID) {
        filled = filled
            .replace(DOMAIN_SID, session.domain_sid.as_deref().ok_or("the domain's SID cannot be read")?);
    }
    Ok(filled)
}

fn by(planned: &PlannedSearch, search: &Search) -> String {
    let scope = match search.scope {
        Scope::Base => "base",
        Scope::One => "one",
        Scope::Subtree => "subtree",
    };
    format!("search {scope} of `{}` for {}", search.base, planned.filter)
}
