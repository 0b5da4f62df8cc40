//! The lists of the controllers' certificates and of the cards, as the gateway gets them: what it cannot fetch from where it is
//! is told apart from a list that is wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::probes::certificate::chain_of;
use crate::assess::probes::logon::Session;
use crate::assess::probes::revocation::chain::{Link, Places, links, places};
use crate::assess::probes::revocation::fetch::fetch;
use crate::assess::probes::revocation::verdict::{Verdict, judge};
use crate::assess::settings::{Lists, Settings};
use crate::assess::target::Target;
use crate::baseline::certificate::key_sha256;
use crate::baseline::facts::{Collection, Fact, Record};
use crate::baseline::value::Value;
use crate::directory::endpoint::Endpoint;
use crate::directory::request::{Scope, Search};
use crate::ldap::filter::Filter;
use crate::tls::material;

/// What it finds.
pub const CONTROLLERS: &str = "controller_revocation";
pub const CARDS: &str = "card_revocation";

const NO_CERTIFICATE: &str = "it cannot be read as a certificate";
const BY: &str = "revocation lists over http";
const PLACES: &str = "the places that certificates name";

/// Certificates of authorities that a directory may show us.
const AUTHORITIES_MAX: u64 = 1_000;

/// Whether a fact of this full name is found here for `collection`.
pub fn finds(name: &str, collection: &str) -> bool {
    name.split('.').next() == Some(collection)
}

/// Whether a fact of this full name is found here.
pub fn is_one(name: &str) -> bool {
    finds(name, CONTROLLERS) || finds(name, CARDS)
}

/// What there is when it was not looked at.
pub fn failed(collection: &str, reason: &str) -> Gathered {
    gathered(collection, Vec::new(), Fact::Failed(reason.to_owned()))
}

/// A fact that counts records, and which.
type Count = (&'static str, fn(&Record) -> bool);

/// How many records there are to judge: without any, a control over them is about nothing.
fn counts(collection: &str) -> &'static [Count] {
    match collection {
        CONTROLLERS => &[("revocation.controller_lists", |record| !is_from(record, &["none"]))],
        _ => &[
            ("revocation.card_lists", |record| is_from(record, &["web", "elsewhere"])),
            ("revocation.card_issuer_lists", |record| {
                !is_from(record, &["none"]) && record.get("kind") == Some(&word("issuer"))
            }),
        ],
    }
}

fn is_from(record: &Record, sources: &[&str]) -> bool {
    sources.iter().any(|source| record.get("source") == Some(&word(source)))
}

fn word(word: &str) -> Fact {
    Fact::Known(Value::Word(word.to_owned()))
}

fn gathered(collection: &str, records: Vec<Record>, complete: Fact) -> Gathered {
    let mut out = Gathered::default();
    for (name, is_counted) in counts(collection) {
        let count = records.iter().filter(|record| is_counted(record)).count();
        // none among those that were seen is not none
        let known = count > 0 || complete == Fact::boolean(true);
        let count = Fact::integer(i64::try_from(count).unwrap_or(i64::MAX));
        out.set(name, if known { count } else { complete.clone() });
    }
    out.facts.collections.insert(collection.to_owned(), Collection { records: records.into(), complete });
    out
}

/// A certificate whose list is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Certificate {
        kind: &'static str,
        link: Link,
    },
    /// A leaf that is trusted by itself: whatever list it names, nobody can revoke it.
    Irrevocable {
        kind: &'static str,
        name: String,
    },
    /// One that we do not have.
    Unread {
        kind: &'static str,
        name: String,
        reason: String,
    },
}

/// The certificates of the controllers, and those between them and the anchors.
pub async fn controllers(
    target: &Target,
    reachable: &[Endpoint],
    settings: &Settings,
    clock: &Clock,
) -> Gathered {
    let watch = Stopwatch::start(clock);
    let mut wanted = Vec::new();
    let mut complete = match reachable.is_empty() {
        true => Fact::Failed("no controller could be reached".to_owned()),
        false => Fact::boolean(true),
    };
    for controller in reachable {
        match chain_of(controller, &settings.for_probes()).await {
            Ok(chain) if chain.is_empty() => {
                complete = Fact::Failed("a controller showed no certificate".to_owned());
            }
            Ok(chain) => want(&mut wanted, "controller", chain.first(), &chain, target),
            Err(reason) => complete = Fact::Failed(reason),
        }
    }
    let records = look(wanted, &settings.lists, clock.now()).await;
    let mut out = gathered(CONTROLLERS, records, complete);
    out.provenance.push(watch.provenance(CONTROLLERS, BY, PLACES));
    out
}

/// Certificates of authorities that the directory keeps: among them are those of the card issuers.
pub async fn authorities(session: &mut Session) -> Result<Vec<CertificateDer<'static>>, String> {
    let base = format!("CN=Public Key Services,CN=Services,{}", session.contexts.configuration);
    let filter = Filter::present("cACertificate");
    let mut search = Search::new(&base, Scope::Subtree, filter, &["cACertificate"]);
    search.entries = Some(AUTHORITIES_MAX);
    let (entries, done) = session.directory.read(&search).await.map_err(|error| error.to_string())?;
    // a domain without certificate services has no such place
    if done.code != 0 && done.code != 32 {
        return Err(format!("the certificates of authorities cannot be read: result code {}", done.code));
    }
    let values = entries.iter().flat_map(|entry| entry.values("cACertificate"));
    Ok(values.map(|der| CertificateDer::from(der.to_vec())).collect())
}

/// The monitoring card, when its certificate is a file, and the registered card issuers.
pub async fn cards(
    target: &Target,
    pool: Result<Vec<CertificateDer<'static>>, String>,
    settings: &Settings,
    clock: &Clock,
) -> Gathered {
    let watch = Stopwatch::start(clock);
    let (pool, complete) = match pool {
        Ok(pool) => (pool, Fact::boolean(true)),
        Err(reason) => (Vec::new(), Fact::Failed(reason)),
    };
    let mut wanted = Vec::new();
    if let Some(card) = &target.card {
        match card_certificate(&card.identity).await {
            Ok(certificate) => want(&mut wanted, "card", Some(&certificate), &pool, target),
            Err(reason) => {
                wanted.push(Wanted::Unread { kind: "card", name: card.principal.clone(), reason });
            }
        }
    }
    for key in &target.card_issuers {
        let known = target.anchors.certificates().iter().chain(&pool);
        let found: Vec<_> = known.filter(|der| key_sha256(der).as_ref() == Some(key)).collect();
        if found.is_empty() {
            let reason = "the directory does not show the certificate of this registered issuer".to_owned();
            wanted.push(Wanted::Unread { kind: "issuer", name: format!("key {key}"), reason });
        }
        for certificate in found {
            want(&mut wanted, "issuer", Some(certificate), &pool, target);
        }
    }
    let records = look(wanted, &settings.lists, clock.now()).await;
    let mut out = gathered(CARDS, records, complete);
    out.provenance.push(watch.provenance(CARDS, BY, PLACES));
    out
}

/// Adds a certificate and those above it; each once.
fn want(
    wanted: &mut Vec<Wanted>,
    kind: &'static str,
    leaf: Option<&CertificateDer<'static>>,
    pool: &[CertificateDer<'static>],
    target: &Target,
) {
    let Some(leaf) = leaf else { return };
    let links = links(leaf, pool, target.anchors.certificates());
    if links.is_empty() && kind != "issuer" {
        wanted.push(match subject(leaf) {
            Some(name) => Wanted::Irrevocable { kind, name },
            None => Wanted::Unread { kind, name: kind.to_owned(), reason: NO_CERTIFICATE.to_owned() },
        });
    }
    for (place, link) in links.into_iter().enumerate() {
        let known = |w: &Wanted| matches!(w, Wanted::Certificate { link: l, .. } if l.certificate == link.certificate);
        if !wanted.iter().any(known) {
            wanted.push(Wanted::Certificate { kind: if place == 0 { kind } else { "issuer" }, link });
        }
    }
}

/// The certificate of a card as MIT Kerberos writes it (`FILE:cert.pem,key.pem`).
async fn card_certificate(identity: &str) -> Result<CertificateDer<'static>, String> {
    let Some(files) = identity.strip_prefix("FILE:") else {
        return Err("the certificate of a card that is no file is not read".to_owned());
    };
    let path = PathBuf::from(files.split(',').next().unwrap_or(files));
    let read = tokio::task::spawn_blocking(move || material::certificates(&path)).await;
    let chain = read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    chain.into_iter().next().ok_or_else(|| "the card's file holds no certificate".to_owned())
}

/// A record for each, lists of the same place one after the other, so that one list at a time is held.
async fn look(wanted: Vec<Wanted>, settings: &Lists, now: OffsetDateTime) -> Vec<Record> {
    let mut sorted: Vec<(Places, Wanted)> = Vec::new();
    let mut records = Vec::new();
    for one in wanted {
        let Wanted::Certificate { link, kind } = &one else {
            records.extend(unfetched(&one));
            continue;
        };
        let parsed = X509Certificate::from_der(&link.certificate);
        match parsed.map_err(|_| NO_CERTIFICATE.to_owned()).and_then(|(_, parsed)| places(&parsed)) {
            Ok(found) => sorted.push((found, one)),
            Err(reason) => {
                let name = subject(&link.certificate).unwrap_or_else(|| (*kind).to_owned());
                records.extend(unfetched(&Wanted::Unread { kind, name, reason }));
            }
        }
    }
    sorted.sort_by(|a, b| a.0.web.cmp(&b.0.web));
    let mut lists = Fetched { settings, held: None, failures: BTreeMap::new(), left: settings.per_pass };
    for (places, one) in sorted {
        if let Wanted::Certificate { kind, link } = one {
            records.push(record(kind, link, places, &mut lists, now).await);
        }
    }
    records
}

/// Lists of a pass.
struct Fetched<'a> {
    settings: &'a Lists,
    /// The last one.
    held: Option<(String, Arc<[u8]>)>,
    failures: BTreeMap<String, String>,
    /// How many may still be fetched.
    left: usize,
}

impl Fetched<'_> {
    async fn get(&mut self, url: &str) -> Result<Arc<[u8]>, String> {
        if let Some(reason) = self.failures.get(url) {
            return Err(reason.clone());
        }
        if self.held.as_ref().is_none_or(|(held, _)| held != url) {
            self.left =
                self.left.checked_sub(1).ok_or("no more lists are fetched (assess.lists.per_pass)")?;
            match fetch(url, self.settings).await {
                Ok(bytes) => self.held = Some((url.to_owned(), bytes.into())),
                Err(reason) => {
                    self.failures.insert(url.to_owned(), reason.clone());
                    return Err(reason);
                }
            }
        }
        Ok(self.held.as_ref().map(|(_, bytes)| Arc::clone(bytes)).unwrap_or_default())
    }
}

async fn record(
    kind: &'static str,
    link: Link,
    places: Places,
    lists: &mut Fetched<'_>,
    now: OffsetDateTime,
) -> Record {
    let subject = subject(&link.certificate).unwrap_or_default();
    let mut reasons = Vec::new();
    let mut best: Option<(&String, Verdict)> = None;
    for url in &places.web {
        match lists.get(url).await {
            Ok(bytes) => {
                let verdict = judged(&link, &places, bytes, now).await;
                let good = verdict.signed == Fact::boolean(true);
                // as Windows does: a place that gives something else does not hide the next
                if best.is_none() || good {
                    best = Some((url, verdict));
                }
                if good {
                    break;
                }
            }
            Err(reason) => reasons.push(format!("{}: {reason}", shown(url))),
        }
    }
    let (source, reachable, url, verdict) = match best {
        Some((url, verdict)) => ("web", Fact::boolean(true), Fact::text(shown(url)), verdict),
        None => without_list(&places, &reasons),
    };
    facts(kind, &subject, source, reachable, url, verdict)
}

/// A large list takes a while: not on the runtime's own threads.
async fn judged(link: &Link, places: &Places, list: Arc<[u8]>, now: OffsetDateTime) -> Verdict {
    let (link, names) = (link.clone(), places.named.clone());
    let judged = tokio::task::spawn_blocking(move || judge(&link, &names, &list, now)).await;
    judged.unwrap_or_else(|error| {
        let reason = error.to_string();
        Verdict::nothing(Fact::Failed(reason.clone()), &reason)
    })
}

/// What is known of a certificate whose list was not fetched.
fn without_list(places: &Places, reasons: &[String]) -> (&'static str, Fact, Fact, Verdict) {
    match (places.web.first(), places.named.first()) {
        (Some(url), _) => {
            let reason = format!("could not be fetched from here: {}", reasons.join("; "));
            let verdict = Verdict::nothing(Fact::Failed(reason.clone()), &reason);
            ("web", Fact::boolean(false), Fact::text(shown(url)), verdict)
        }
        (None, Some(url)) => {
            let reason = format!("it is named at {} only, and lists are fetched over http", shown(url));
            let verdict = nothing_asked(&reason);
            ("elsewhere", Fact::NotCollected(reason), Fact::text(shown(url)), verdict)
        }
        (None, None) => {
            let verdict = irrevocable("the certificate names no list: it cannot be revoked");
            ("none", Fact::Absent, Fact::Absent, verdict)
        }
    }
}

fn nothing_asked(reason: &str) -> Verdict {
    let fact = Fact::NotCollected(reason.to_owned());
    Verdict {
        problem: Some(reason.to_owned()),
        signed: fact.clone(),
        remaining: fact.clone(),
        age: fact.clone(),
        revoked: fact,
    }
}

/// The record of what has no list that could be fetched.
fn unfetched(wanted: &Wanted) -> Option<Record> {
    Some(match wanted {
        Wanted::Certificate { .. } => return None,
        Wanted::Irrevocable { kind, name } => {
            let verdict = irrevocable("the certificate is trusted by itself: it cannot be revoked");
            facts(kind, name, "none", Fact::Absent, Fact::Absent, verdict)
        }
        Wanted::Unread { kind, name, reason } => {
            let reachable = Fact::NotCollected(reason.clone());
            facts(kind, name, "unread", reachable.clone(), reachable, nothing_asked(reason))
        }
    })
}

fn irrevocable(reason: &str) -> Verdict {
    Verdict {
        problem: Some(reason.to_owned()),
        signed: Fact::Absent,
        remaining: Fact::Absent,
        age: Fact::Absent,
        revoked: Fact::Absent,
    }
}

/// None when it is no certificate.
fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    X509Certificate::from_der(certificate).ok().map(|(_, parsed)| shown(&parsed.subject().to_string()))
}

fn facts(kind: &str, name: &str, source: &str, reachable: Fact, url: Fact, verdict: Verdict) -> Record {
    let fetch_problem = match (&reachable, &verdict.problem) {
        (Fact::Known(Value::Boolean(true)) | Fact::Absent, _) => Fact::Absent,
        (Fact::Known(_), Some(problem)) => Fact::text(problem.clone()),
        (Fact::Known(_), None) => Fact::text("it could not be fetched"),
        (unknown, _) => unknown.clone(),
    };
    let facts = [
        ("dn", Fact::Known(Value::Dn(name.to_owned()))),
        ("name", Fact::text(name)),
        ("kind", word(kind)),
        ("source", word(source)),
        ("url", url),
        ("reachable", reachable),
        ("fetch_problem", fetch_problem),
        ("signed", verdict.signed),
        ("remaining", verdict.remaining),
        ("age", verdict.age),
        ("revoked", verdict.revoked),
        ("problem", verdict.problem.map_or(Fact::Absent, Fact::text)),
    ];
    facts.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect()
}

/// What somebody else wrote, for people to read.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
