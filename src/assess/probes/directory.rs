//! Everything that policies declare to be read over LDAP: the planned searches, decoded entry by entry as they stream.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::plan::PlannedSearch;
use crate::assess::probes::access::sweep;
use crate::assess::probes::derived::Surroundings;
use crate::assess::probes::logon::{Contexts, Session};
use crate::assess::settings::Settings;
use crate::baseline::catalogue::needs;
use crate::baseline::compile::Read;
use crate::baseline::decode::decode;
use crate::baseline::facts::{Collection, Fact, Provenance, Record};
use crate::baseline::records::Records;
use crate::baseline::value::Value;
use crate::directory::request::{Scope, Search, SearchDone};
use crate::ldap::entry::Entry;
use crate::ldap::filter::Filter;
use crate::policy::documents::{SearchScope, Shape};

/// Runs the planned searches one after the other and fills their records and collections.
pub async fn probe(
    session: &mut Session,
    searches: &[PlannedSearch],
    surroundings: &Surroundings,
    settings: &Settings,
    clock: &Clock,
    at: OffsetDateTime,
) -> Gathered {
    let mut gathered = Gathered::default();
    for search in searches {
        run(session, search, surroundings, settings, clock, at, &mut gathered).await;
    }
    gathered
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
    gathered: &mut Gathered,
) {
    let watch = Stopwatch::start(clock);
    let search = match request(planned, &session.contexts, settings) {
        Ok(search) => search,
        Err(reason) => return fail(planned, &reason, gathered),
    };
    let mut found: Vec<Records> = planned.reads.iter().map(|_| Records::default()).collect();
    let mut overflow = false;
    let outcome = session
        .directory
        .search(&search, |entry| {
            for (read, records) in planned.reads.iter().zip(&mut found) {
                if records.len() >= settings.records {
                    overflow = true;
                } else {
                    records.push(record(read, &entry, surroundings, at));
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
            Shape::Record => single(read, records, &done, gathered),
        }
    }
}

/// A declared record: the one entry there should be.
fn single(read: &Read, records: Records, done: &SearchDone, gathered: &mut Gathered) {
    let missing = match (records.len(), done.code) {
        (1, _) => {
            if let Some(record) = records.get(0) {
                let facts = gathered.facts.records.entry(read.name.clone()).or_default();
                facts.extend(record.to_record());
            }
            return;
        }
        // no such object, and nothing found: there is none
        (0, 0 | 32) => Fact::Absent,
        (0, 50) => Fact::Hidden,
        (0, code) => Fact::Failed(format!("the search ended with result code {code}")),
        (more, _) => Fact::Failed(format!("{more} entries where one was meant")),
    };
    let record = gathered.facts.records.entry(read.name.clone()).or_default();
    for name in read.attributes.keys().chain(&read.computed) {
        record.insert(name.clone(), missing.clone());
    }
}

fn record(read: &Read, entry: &Entry, surroundings: &Surroundings, at: OffsetDateTime) -> Record {
    let mut record: Record = read
        .attributes
        .iter()
        .map(|(name, attribute)| {
            if is_cut(entry, &attribute.from) {
                return (name.clone(), too_many(&attribute.from));
            }
            let values: Vec<Vec<u8>> = entry.values(&attribute.from).map(<[u8]>::to_vec).collect();
            (name.clone(), decode(attribute, &values, at))
        })
        .collect();
    if read.shape == Shape::Collection {
        record.insert("dn".to_owned(), Fact::Known(Value::Dn(entry.dn.clone())));
        let name = entry.text("sAMAccountName").or_else(|| entry.text("name")).or_else(|| entry.text("cn"));
        record.entry("name".to_owned()).or_insert_with(|| Fact::text(name.unwrap_or(&entry.dn)));
    }
    for name in &read.computed {
        if matches!(name.as_str(), "dn" | "name") {
            continue;
        }
        let cut = needs(&read.name, name).iter().find(|attribute| is_cut(entry, attribute));
        let fact = cut.map_or_else(|| surroundings.derive(name, entry), |attribute| too_many(attribute));
        record.insert(name.clone(), fact);
    }
    record
}

fn too_many(attribute: &str) -> Fact {
    Fact::Failed(format!("`{attribute}` has more values than the directory gives at once"))
}

/// Whether only a range of the values came ([MS-ADTS] section 3.1.1.3.1.3.3). A part is never taken for the whole.
fn is_cut(entry: &Entry, attribute: &str) -> bool {
    entry.attributes.iter().any(|found| {
        let mut parts = found.description.split(';');
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case(attribute))
            && parts.any(|option| option.to_ascii_lowercase().starts_with("range=") && !option.ends_with('*'))
    })
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

fn request(planned: &PlannedSearch, contexts: &Contexts, settings: &Settings) -> Result<Search, String> {
    let filter = Filter::parse(&planned.filter).map_err(|error| error.to_string())?;
    let base = if planned.base == "{rootdse}" { String::new() } else { fill(&planned.base, contexts) };
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

fn fill(base: &str, contexts: &Contexts) -> String {
    base.replace("{domain}", &contexts.domain)
        .replace("{configuration}", &contexts.configuration)
        .replace("{schema}", &contexts.schema)
        .replace("{root}", &contexts.root)
}

fn by(planned: &PlannedSearch, search: &Search) -> String {
    let scope = match search.scope {
        Scope::Base => "base",
        Scope::One => "one",
        Scope::Subtree => "subtree",
    };
    format!("search {scope} of `{}` for {}", search.base, planned.filter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ldap::entry::Attribute;

    #[test]
    fn a_range_is_not_the_whole() {
        let entry = |description: &str| Entry {
            dn: "CN=g".to_owned(),
            attributes: vec![Attribute { description: description.to_owned(), values: Vec::new() }],
        };
        assert!(is_cut(&entry("member;range=0-1499"), "member"));
        assert!(is_cut(&entry("Member;Range=0-1499"), "member"));
        assert!(!is_cut(&entry("member;range=0-*"), "member"));
        assert!(!is_cut(&entry("member"), "member"));
        assert!(!is_cut(&entry("memberOf;range=0-1"), "member"));
    }
}
