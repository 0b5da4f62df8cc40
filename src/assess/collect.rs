//! One pass: runs every probe within its time and writes the evidence.

use std::future::Future;
use std::sync::Arc;

use rustls::ClientConfig;
use time::OffsetDateTime;
use tokio::time::timeout;

use crate::ambient::clock::Clock;
use crate::assess::gathered::Gathered;
use crate::assess::plan::{PlannedSearch, plan};
use crate::assess::probes::logon::{Session, log_on};
use crate::assess::probes::{
    canary, directory, discovery, encryption, ldap, privileged, rights, smartcard, tls,
};
use crate::assess::settings::Settings;
use crate::assess::target::Target;
use crate::baseline::compile::Requirements;
use crate::baseline::facts::{Evidence, Fact, SCHEMA};
use crate::directory::endpoint::Endpoint;

const COLLECTOR: &str = concat!("portcullis ", env!("CARGO_PKG_VERSION"));

/// Collects everything that `requirements` need of `target`. Never fails: what cannot be told is a fact that says so.
/// The document is sealed (its hash is filled in), not signed.
pub async fn collect(
    target: &Target,
    requirements: &Requirements,
    settings: &Settings,
    clock: &Clock,
    previous: Option<String>,
) -> Evidence {
    let at = clock.now();
    let searches = plan(requirements);
    let (reachable, mut gathered) = discovery::probe(target, settings, clock).await;
    let controllers = reachable.iter().map(|c| format!("{}:{}", c.host, c.port)).collect();
    match crate::tls::client::client_config(&target.anchors, None) {
        Ok(config) => {
            gathered.absorb(pass(target, &reachable, &config, &searches, settings, clock, at).await);
        }
        Err(error) => gathered.absorb(unread(&searches, &error.to_string())),
    }
    for name in &requirements.probes {
        if let Fact::NotCollected(_) = gathered.facts.get(name) {
            let known = gathered.facts.records.get(name.split('.').next().unwrap_or(name));
            let reason = match known {
                Some(_) => "no probe finds it",
                None => "the probe was not run",
            };
            if !name.ends_with(".complete") {
                gathered
                    .facts
                    .records
                    .entry(record_of(name))
                    .or_default()
                    .entry(short(name))
                    .or_insert_with(|| Fact::NotCollected(reason.to_owned()));
            }
        }
    }
    Evidence {
        schema: SCHEMA,
        member: target.member.clone(),
        collected_at: at,
        collector: COLLECTOR.to_owned(),
        controllers,
        facts: gathered.facts,
        provenance: gathered.provenance,
        attestations: Vec::new(),
        previous,
        hash: String::new(),
        signature: String::new(),
    }
    .sealed()
}

fn record_of(name: &str) -> String {
    name.split_once('.').map_or(name, |(record, _)| record).to_owned()
}

fn short(name: &str) -> String {
    name.split_once('.').map_or(name, |(_, short)| short).to_owned()
}

async fn pass(
    target: &Target,
    reachable: &[Endpoint],
    config: &Arc<ClientConfig>,
    searches: &[PlannedSearch],
    settings: &Settings,
    clock: &Clock,
    at: OffsetDateTime,
) -> Gathered {
    let bound = settings.pass_timeout();
    let tls_names: Vec<&str> = tls::NAMES.into_iter().chain(tls::CERTIFICATE_FACTS).collect();
    // the probes without a logon wait on the network, not on each other
    let (tls_facts, ldap_facts, card_facts, reading) = tokio::join!(
        bounded(bound, "tls", &tls_names, tls::probe(target, reachable, settings, clock)),
        bounded(bound, "ldap", &ldap::NAMES, ldap::probe(target, reachable, config, settings, clock)),
        bounded(
            bound,
            "smartcard",
            &smartcard::NAMES,
            smartcard::probe(target, reachable, config, settings, clock)
        ),
        read(target, reachable, config, searches, settings, clock, at),
    );
    let mut gathered = reading;
    for facts in [tls_facts, ldap_facts, card_facts] {
        gathered.absorb(facts);
    }
    gathered
}

/// Everything that needs our own account.
async fn read(
    target: &Target,
    reachable: &[Endpoint],
    config: &Arc<ClientConfig>,
    searches: &[PlannedSearch],
    settings: &Settings,
    clock: &Clock,
    at: OffsetDateTime,
) -> Gathered {
    let bound = settings.pass_timeout();
    let mut session = match timeout(bound, log_on(target, reachable, config, settings)).await {
        Ok(Ok(session)) => session,
        Ok(Err(reason)) => return without_session(target, searches, settings, clock, &reason).await,
        Err(_) => return without_session(target, searches, settings, clock, "the logon took too long").await,
    };
    let account = session.account.name.clone();
    let mut gathered = bounded(
        bound,
        "kerberos",
        &encryption::NAMES,
        encryption::probe(target, Some(&account), settings, clock),
    )
    .await;
    gathered.absorb(
        bounded(bound, "canary", &["canary.readable"], canary::probe(&mut session, target, clock)).await,
    );
    gathered
        .absorb(bounded(bound, "rights", &rights::NAMES, rights::probe(&mut session, settings, clock)).await);
    gathered.absorb(searched(&mut session, searches, settings, clock, at).await);
    session.directory.unbind().await;
    gathered
}

async fn searched(
    session: &mut Session,
    searches: &[PlannedSearch],
    settings: &Settings,
    clock: &Clock,
    at: OffsetDateTime,
) -> Gathered {
    let mut gathered = Gathered::default();
    let wanted = searches.iter().flat_map(|s| &s.reads).any(|read| read.computed.contains("privileged"));
    let privileged = match wanted {
        false => Err("nothing asks who is privileged".to_owned()),
        true => {
            timeout(settings.pass_timeout(), privileged::closure(session, settings, clock, &mut gathered))
                .await
                .unwrap_or_else(|_| Err("the privileged accounts were not found in time".to_owned()))
        }
    };
    let probe = directory::probe(session, searches, &privileged, settings, clock, at);
    match timeout(settings.pass_timeout(), probe).await {
        Ok(found) => gathered.absorb(found),
        Err(_) => gathered.absorb(directory::without_connection(searches, "the reading took too long")),
    }
    gathered
}

async fn without_session(
    target: &Target,
    searches: &[PlannedSearch],
    settings: &Settings,
    clock: &Clock,
    reason: &str,
) -> Gathered {
    let reason = format!("no logon with our own account: {reason}");
    let mut gathered = unread(searches, &reason);
    // a principal name tells the account without reading anything
    let account = target.bind_dn.split_once('@').map(|(name, _)| name);
    gathered.absorb(encryption::probe(target, account, settings, clock).await);
    gathered
}

fn unread(searches: &[PlannedSearch], reason: &str) -> Gathered {
    let mut gathered = directory::without_connection(searches, reason);
    gathered.absorb(rights::without_connection(reason));
    gathered.set("canary.readable", Fact::Failed(reason.to_owned()));
    gathered
}

/// Gives a probe its time; when it is over, what it was to find has failed.
async fn bounded(
    bound: std::time::Duration,
    record: &str,
    names: &[&str],
    probe: impl Future<Output = Gathered>,
) -> Gathered {
    timeout(bound, probe).await.unwrap_or_else(|_| {
        let mut gathered = Gathered::default();
        let fact = Fact::Failed(format!("the {record} probe took longer than {} seconds", bound.as_secs()));
        gathered.set_all(names, &fact);
        gathered
    })
}
