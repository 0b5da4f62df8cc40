//! Everything about access, in order: the descriptors of the configuration and of who is privileged, names, facts.

use time::OffsetDateTime;

use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::probes::access::principal::Principals;
use crate::assess::probes::access::report::{self, Templates};
use crate::assess::probes::access::sight::Sightings;
use crate::assess::probes::access::sweep;
use crate::assess::probes::logon::Session;
use crate::assess::probes::privileged::Privileged;
use crate::assess::probes::unseen::missing;
use crate::assess::probes::{authorities, rights};
use crate::assess::settings::Settings;
use crate::baseline::facts::{Collection, Fact, Provenance};
use crate::directory::request::Scope;

/// What access comes to: facts, and what is worked out for certificate templates or why it could not be.
pub type Found = (Gathered, Result<Templates, String>);

/// The facts of access. `sightings` are those of the domain's own sweep, which looked at our own rights too.
pub async fn probe(
    session: &mut Session,
    settings: &Settings,
    clock: &Clock,
    privileged: &Result<Privileged, String>,
    mut sightings: Sightings,
    at: OffsetDateTime,
) -> Found {
    let watch = Stopwatch::start(clock);
    let stored = sweep::pki(session, settings, &mut sightings).await;
    let mut certificates = authorities::certificates(&stored, at);
    let outcome = match (privileged, stored) {
        (Err(reason), _) => Err(reason.clone()),
        (_, Err(reason)) => Err(reason),
        (Ok(privileged), Ok(_)) => look(session, settings, privileged, &mut sightings)
            .await
            .map(|principals| report::report(&sightings, &principals, privileged)),
    };
    let (mut gathered, templates) = match outcome {
        Ok((gathered, templates)) => (gathered, Ok(templates)),
        Err(reason) => (report::failed(&reason), Err(reason)),
    };
    let configuration = &session.contexts.configuration;
    if let Some(reason) =
        missing(&sightings.unseen, configuration, &sweep::pki_base(&session.contexts), Scope::Subtree)
    {
        certificates.complete = Fact::Failed(reason);
    }
    gathered.facts.collections.insert(authorities::COLLECTION.to_owned(), certificates);
    rights::widen(&mut gathered, &sightings, templates.as_ref().err());
    gathered.unseen.append(&mut sightings.unseen);
    for name in report::COLLECTIONS.into_iter().chain([authorities::COLLECTION]) {
        let collection = gathered.facts.collections.get(name);
        let entries = collection.map_or(0, |collection| collection.records.len());
        gathered.provenance.push(Provenance {
            entries: u64::try_from(entries).unwrap_or(u64::MAX),
            truncated: collection.is_none_or(|collection| collection.complete != Fact::boolean(true)),
            ..watch.provenance(name, "security descriptors and members", &session.controller)
        });
    }
    (gathered, templates)
}

/// What access comes to when it was not looked at.
pub fn failed(reason: &str) -> Found {
    let mut gathered = report::failed(reason);
    rights::widen(&mut gathered, &Sightings::default(), Some(&reason.to_owned()));
    gathered.facts.collections.insert(authorities::COLLECTION.to_owned(), Collection::failed(reason));
    (gathered, Err(reason.to_owned()))
}

/// Whether a fact of this full name is found here.
pub fn finds(name: &str) -> bool {
    let collection = name.split('.').next().unwrap_or(name);
    report::COLLECTIONS.contains(&collection) || collection == authorities::COLLECTION
}

async fn look(
    session: &mut Session,
    settings: &Settings,
    privileged: &Privileged,
    sightings: &mut Sightings,
) -> Result<Principals, String> {
    sweep::forest(session, settings, sightings).await?;
    sweep::privileged(session, settings, privileged, sightings).await?;
    sweep::places(session, settings, privileged, sightings).await?;
    sweep::close(privileged, sightings);
    report::resolve(session, settings, privileged, sightings).await
}
