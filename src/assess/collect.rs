//! One pass: runs every probe within its time and writes the evidence.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use tokio::time::{Instant, timeout_at};

use crate::ambient::clock::Clock;
use crate::assess::attested::attested;
use crate::assess::gathered::Gathered;
use crate::assess::origin;
use crate::assess::plan::{PlannedSearch, plan};
use crate::assess::probes::access::probe as access;
use crate::assess::probes::access::sight::Sightings;
use crate::assess::probes::derived::Surroundings;
use crate::assess::probes::discovery::Controllers;
use crate::assess::probes::logon::{Session, log_on};
use crate::assess::probes::revocation::probe as revocation;
use crate::assess::probes::sasl::probe as sasl;
use crate::assess::probes::smartcard::probe as smartcard;
use crate::assess::probes::unseen::Unseen;
use crate::assess::probes::{
    canary, confidential, derived, directory, discovery, encryption, ldap, measured, privileged, rights,
    siblings, tls,
};
use crate::assess::settings::Settings;
use crate::assess::target::Target;
use crate::baseline::compile::Requirements;
use crate::baseline::document::SCHEMA;
use crate::baseline::facts::{Evidence, Fact};

const COLLECTOR: &str = concat!("portcullis ", env!("CARGO_PKG_VERSION"));

/// Collects everything that `requirements` need of `target`, in at most `allotted`. Never fails: what cannot be told, or not in
/// that time, is a fact that says so. The document is neither sealed nor signed: what it follows is not known here.
pub async fn collect(
    target: &Target,
    requirements: &Requirements,
    settings: &Settings,
    clock: &Clock,
    allotted: Duration,
) -> Evidence {
    let at = clock.now();
    // one end for all of it: the times of probes that each wait for a hanging controller must not add up
    let bound = Bound { end: Instant::now() + allotted, allotted };
    let searches = plan(requirements);
    let found = bound.of(discovery::probe(target, settings, clock)).await;
    let (found, mut gathered) = found.unwrap_or_else(|| {
        let reason = bound.reason("search for controllers");
        (Controllers::none(&reason), discovery::failed(&reason))
    });
    let controllers = found.reachable.iter().map(|c| format!("{}:{}", c.host, c.port)).collect();
    match crate::tls::client::client_config(&target.anchors, None) {
        Ok(config) => {
            let access = wants_access(requirements);
            let lists = [revocation::CONTROLLERS, revocation::CARDS]
                .map(|collection| requirements.probes.iter().any(|name| revocation::finds(name, collection)));
            let ways = Ways { target, controllers: &found, config: &config, settings, clock, access, lists };
            gathered.absorb(Box::pin(pass(&ways, &searches, bound, at)).await);
        }
        Err(error) => gathered.absorb(unread(&searches, &error.to_string())),
    }
    origin::note(&mut gathered, target);
    let (stated, attestations) = attested(&requirements.statements, &target.stated, &target.member, at);
    gathered.absorb(stated);
    note_what_nothing_found(requirements, &mut gathered);
    Evidence {
        schema: SCHEMA,
        member: target.member.clone(),
        collected_at: at,
        collector: COLLECTOR.to_owned(),
        controllers,
        facts: gathered.facts,
        provenance: gathered.provenance,
        attestations,
        previous: None,
        hash: String::new(),
        signature: String::new(),
    }
}

/// Every fact that some control uses is in the evidence, if only to say that it was not collected.
fn note_what_nothing_found(requirements: &Requirements, gathered: &mut Gathered) {
    for name in &requirements.probes {
        let Fact::NotCollected(_) = gathered.facts.get(name) else { continue };
        let record = record_of(name);
        // records of a collection say it themselves
        if name.ends_with(".complete") || access::finds(name) || revocation::is_one(name) {
            continue;
        }
        let reason = match gathered.facts.records.contains_key(&record) {
            true => "no probe finds it",
            false => "the probe was not run",
        };
        let facts = gathered.facts.records.entry(record).or_default();
        facts.entry(short(name)).or_insert_with(|| Fact::NotCollected(reason.to_owned()));
    }
}

fn record_of(name: &str) -> String {
    name.split_once('.').map_or(name, |(record, _)| record).to_owned()
}

fn short(name: &str) -> String {
    name.split_once('.').map_or(name, |(_, short)| short).to_owned()
}

/// What every probe of a pass is given.
#[derive(Clone, Copy)]
struct Ways<'a> {
    target: &'a Target,
    controllers: &'a Controllers,
    config: &'a Arc<ClientConfig>,
    settings: &'a Settings,
    clock: &'a Clock,
    /// Whether something asks who else holds which rights.
    access: bool,
    /// Whether something asks for the revocation lists of the controllers, and for those of the cards.
    lists: [bool; 2],
}

/// Whether a fact is used that only the descriptors of others tell.
fn wants_access(requirements: &Requirements) -> bool {
    let worked_out = |name: &String| matches!(name.as_str(), "open_enrolment" | "enrolled_by");
    requirements.probes.iter().any(|name| access::finds(name))
        || requirements.reads.iter().flat_map(|read| &read.computed).any(worked_out)
}

/// When a pass ends, and how long that is from its start.
#[derive(Debug, Clone, Copy)]
struct Bound {
    end: Instant,
    allotted: Duration,
}

impl Bound {
    /// What `work` comes to, or none when the pass is over first.
    async fn of<T>(self, work: impl Future<Output = T>) -> Option<T> {
        // on the heap: all probes of a pass inside one another are more than a thread's stack holds
        timeout_at(self.end, Box::pin(work)).await.ok()
    }

    fn reason(self, what: &str) -> String {
        format!("the {what} did not end within the {} s of the pass", self.allotted.as_secs_f32())
    }

    /// Gives a probe its time; when it is over, what it was to find has failed.
    async fn probe(self, record: &str, names: &[&str], probe: impl Future<Output = Gathered>) -> Gathered {
        self.of(probe).await.unwrap_or_else(|| {
            let mut gathered = Gathered::default();
            gathered.set_all(names, &Fact::Failed(self.reason(&format!("{record} probe"))));
            gathered
        })
    }
}

async fn pass(ways: &Ways<'_>, searches: &[PlannedSearch], bound: Bound, at: OffsetDateTime) -> Gathered {
    let Ways { target, controllers: Controllers { reachable, .. }, config, settings, clock, .. } = *ways;
    let tls_names: Vec<&str> = tls::NAMES.into_iter().chain(tls::CERTIFICATE_FACTS).collect();
    // the probes without a logon wait on the network, not on each other
    let (tls_facts, ldap_facts, card_facts, agreement, lists, reading) = tokio::join!(
        bound.probe("tls", &tls_names, tls::probe(target, reachable, settings, clock)),
        bound.probe("ldap", &ldap::NAMES, ldap::probe(target, reachable, config, settings, clock)),
        bound.probe(
            "smartcard",
            &smartcard::NAMES,
            smartcard::probe(target, ways.controllers, config, settings, clock)
        ),
        bound.probe(
            "controllers",
            &siblings::NAMES,
            siblings::probe(target, reachable, config, settings, clock)
        ),
        controllers_lists(ways, bound),
        read(ways, searches, bound, at),
    );
    let mut gathered = reading;
    for facts in [tls_facts, ldap_facts, card_facts, agreement, lists] {
        gathered.absorb(facts);
    }
    gathered
}

/// The revocation lists of the controllers' certificates.
async fn controllers_lists(ways: &Ways<'_>, bound: Bound) -> Gathered {
    let Ways {
        target, controllers: Controllers { reachable, .. }, settings, clock, lists: [wanted, _], ..
    } = *ways;
    if !wanted {
        return Gathered::default();
    }
    let found = bound.of(revocation::controllers(target, reachable, settings, clock)).await;
    found.unwrap_or_else(|| {
        revocation::failed(revocation::CONTROLLERS, &bound.reason("search for revocation lists"))
    })
}

/// The revocation lists of the cards; `pool` are certificates of authorities that the directory showed.
async fn cards_lists(ways: &Ways<'_>, pool: Option<Pool>, bound: Bound) -> Gathered {
    let Ways { target, settings, clock, .. } = *ways;
    let Some(pool) = pool else { return Gathered::default() };
    let found = bound.of(revocation::cards(target, pool, settings, clock)).await;
    let reason = || bound.reason("search for the cards' revocation lists");
    found.unwrap_or_else(|| revocation::failed(revocation::CARDS, &reason()))
}

/// Certificates of authorities, or why they could not be read.
type Pool = Result<Vec<CertificateDer<'static>>, String>;

/// None when nothing asks for what they are needed for.
async fn authorities(session: &mut Session, ways: &Ways<'_>, bound: Bound) -> Option<Pool> {
    let [_, wanted] = ways.lists;
    if !wanted {
        return None;
    }
    let found = bound.of(revocation::authorities(session)).await;
    Some(found.unwrap_or_else(|| Err(bound.reason("search for authorities"))))
}

/// Everything that needs our own account.
async fn read(ways: &Ways<'_>, searches: &[PlannedSearch], bound: Bound, at: OffsetDateTime) -> Gathered {
    let Ways { target, controllers, config, settings, clock, .. } = *ways;
    let reachable = &controllers.reachable;
    let mut session = match bound.of(log_on(target, controllers, config, settings)).await {
        Some(Ok(session)) => session,
        Some(Err(reason)) => return without_session(ways, searches, bound, &reason).await,
        None => return without_session(ways, searches, bound, &bound.reason("logon")).await,
    };
    let (account, sid) = (session.account.name.clone(), session.domain_sid.clone());
    let pool = authorities(&mut session, ways, bound).await;
    // the reading does not wait for those that ask on connections of their own
    let (mut gathered, kerberos, sasl, lists) = tokio::join!(
        Box::pin(with_session(&mut session, ways, searches, bound, at)),
        bound.probe(
            "kerberos",
            &encryption::NAMES,
            encryption::probe(target, Some(&account), settings, clock)
        ),
        bound.probe("ldap", &sasl::NAMES, sasl::probe(target, &account, reachable, config, settings, clock)),
        cards_lists(ways, pool, bound),
    );
    for facts in [kerberos, sasl, lists] {
        gathered.absorb(facts);
    }
    origin::note_sid(&mut gathered, sid.as_deref());
    // a controller that hangs by now is left without a word
    let _ = bound.of(session.directory.unbind()).await;
    gathered
}

async fn with_session(
    session: &mut Session,
    ways: &Ways<'_>,
    searches: &[PlannedSearch],
    bound: Bound,
    at: OffsetDateTime,
) -> Gathered {
    let Ways { target, settings, clock, .. } = *ways;
    let mut gathered =
        bound.probe("canary", &["canary.readable"], canary::probe(session, target, clock)).await;
    let mut sightings = Sightings {
        who: session.account.sids.clone(),
        own: session.account.dn.clone(),
        ..Sightings::default()
    };
    let rights = rights::probe(session, settings, clock, ways.access.then_some(&mut sightings));
    gathered.absorb(bound.probe("rights", &rights::NAMES, rights).await);
    let unseen = std::mem::take(&mut gathered.unseen);
    let mut found = searched(session, ways, searches, bound, at, sightings, unseen).await;
    rights::keep(&gathered, &mut found);
    gathered.absorb(found);
    gathered
}

async fn searched(
    session: &mut Session,
    ways: &Ways<'_>,
    searches: &[PlannedSearch],
    bound: Bound,
    at: OffsetDateTime,
    sightings: Sightings,
    unseen: Vec<Unseen>,
) -> Gathered {
    let Ways { settings, clock, .. } = *ways;
    let mut gathered = Gathered { unseen, ..Gathered::default() };
    let mut known = surroundings(session, ways, searches, bound, &mut gathered).await;
    if ways.access {
        let looked =
            bound.of(access::probe(session, settings, clock, &known.privileged, sightings, at)).await;
        let (facts, templates) =
            looked.unwrap_or_else(|| access::failed(&bound.reason("search for the rights of others")));
        gathered.absorb(facts);
        known.templates = templates;
    }
    if let Ok(privileged) = &mut known.privileged {
        privileged.forget_groups();
    }
    // when the time is over here, the reading below does not end in time either
    let hidden = bound.of(confidential::probe(session, searches, settings)).await;
    gathered.unseen.extend(hidden.unwrap_or_default());
    known.heed(std::mem::take(&mut gathered.unseen), &session.contexts);
    match bound.of(directory::probe(session, searches, &known, settings, clock, at)).await {
        Some(found) => gathered.absorb(found),
        None => gathered.absorb(directory::without_connection(searches, &bound.reason("reading"))),
    }
    gathered
}

/// What facts that are worked out rest on; only what some control needs is asked for.
async fn surroundings(
    session: &mut Session,
    ways: &Ways<'_>,
    searches: &[PlannedSearch],
    bound: Bound,
    gathered: &mut Gathered,
) -> Surroundings {
    let Ways { target, settings, clock, .. } = *ways;
    let wanted =
        |short: &str| searches.iter().flat_map(|s| &s.reads).any(|read| read.computed.contains(short));
    let privileged = match wanted("privileged") || ways.access {
        false => Err("nothing asks who is privileged".to_owned()),
        true => bound
            .of(privileged::closure(session, settings, clock, gathered))
            .await
            .unwrap_or_else(|| Err(bound.reason("search for privileged accounts"))),
    };
    let mut known = Surroundings::of(target, &session.contexts, privileged);
    if wanted("delegates_to_controller") {
        let found = bound.of(derived::controllers(session, settings)).await;
        known.controllers = found.unwrap_or_else(|| Err(bound.reason("search for controllers' names")));
    }
    if wanted("measured") {
        let asked = measured::servers(target, &ways.controllers.reachable, ways.config, settings);
        known.measured = bound
            .of(asked)
            .await
            .unwrap_or_else(|| Err(bound.reason("question which controllers these are")));
    }
    if wanted("published") {
        let found = bound.of(derived::published(session, settings)).await;
        known.published = found.unwrap_or_else(|| Err(bound.reason("search for published templates")));
    }
    known
}

async fn without_session(
    ways: &Ways<'_>,
    searches: &[PlannedSearch],
    bound: Bound,
    reason: &str,
) -> Gathered {
    let reason = format!("no logon with our own account: {reason}");
    let mut gathered = unread(searches, &reason);
    // a principal name tells the account without reading anything
    let account = ways.target.bind_dn.split_once('@').map(|(name, _)| name);
    let kerberos = encryption::probe(ways.target, account, ways.settings, ways.clock);
    gathered.absorb(bound.probe("kerberos", &encryption::NAMES, kerberos).await);
    gathered
}

fn unread(searches: &[PlannedSearch], reason: &str) -> Gathered {
    let mut gathered = directory::without_connection(searches, reason);
    origin::note_obstacle(&mut gathered, reason);
    gathered.absorb(rights::without_connection(reason));
    gathered.absorb(access::failed(reason).0);
    gathered.set("canary.readable", Fact::Failed(reason.to_owned()));
    gathered.absorb(revocation::failed(revocation::CARDS, reason));
    gathered.set_all(&sasl::NAMES, &Fact::Failed(reason.to_owned()));
    gathered
}
