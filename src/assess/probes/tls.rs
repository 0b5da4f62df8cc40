//! Which TLS a controller speaks on LDAPS and after StartTLS, and what its certificate is worth.

use std::collections::BTreeSet;

use time::OffsetDateTime;
use tokio::time::timeout;

use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::probes::certificate::{Appraisal, appraise, chain_of};
use crate::assess::probes::hello::{self, Reply, VERSIONS, WEAK};
use crate::assess::settings::Settings;
use crate::assess::target::Target;
use crate::baseline::facts::Fact;
use crate::baseline::value::Value;
use crate::directory::dial;
use crate::directory::endpoint::{Endpoint, Transport};

/// What it finds, beside the certificate's facts.
pub const NAMES: [&str; 3] = ["tls.versions", "tls.starttls_versions", "tls.weak_suites"];
/// What it finds of certificates.
pub const CERTIFICATE_FACTS: [&str; 10] = [
    "tls.chain_valid",
    "tls.chain_problem",
    "tls.name_matches",
    "tls.key_algorithm",
    "tls.key_bits",
    "tls.signature_algorithm",
    "tls.not_after",
    "tls.remaining",
    "tls.self_signed",
    "tls.usages",
];

/// What one question found, or why it could not be told.
type Told<T> = Result<T, String>;

/// What was found at one controller.
#[derive(Debug)]
struct Seen {
    versions: Told<BTreeSet<String>>,
    starttls: Told<BTreeSet<String>>,
    weak: Told<BTreeSet<String>>,
    certificate: Told<Appraisal>,
}

/// Facts `tls.*` over all reachable controllers: the worst of what any of them shows.
pub async fn probe(target: &Target, reachable: &[Endpoint], settings: &Settings, clock: &Clock) -> Gathered {
    let mut gathered = Gathered::default();
    let mut seen = Vec::new();
    for controller in reachable {
        let watch = Stopwatch::start(clock);
        seen.push(look(target, controller, settings, clock.now()).await);
        let place = format!("{}:{}", controller.host, controller.port);
        gathered.provenance.push(watch.provenance(
            "tls",
            "TLS handshakes by hand, LDAPS and StartTLS",
            &place,
        ));
    }
    if seen.is_empty() {
        let fact = Fact::Failed("no controller could be reached".to_owned());
        gathered.set_all(&NAMES, &fact);
        gathered.set_all(&CERTIFICATE_FACTS, &fact);
        return gathered;
    }
    gathered.set("tls.versions", union(seen.iter().map(|s| &s.versions)));
    gathered.set("tls.starttls_versions", union(seen.iter().map(|s| &s.starttls)));
    gathered.set("tls.weak_suites", union(seen.iter().map(|s| &s.weak)));
    certificates(&mut gathered, &seen, clock.now());
    gathered
}

async fn look(target: &Target, controller: &Endpoint, settings: &Settings, now: OffsetDateTime) -> Seen {
    let plain = controller.with(settings.plain_port, Transport::StartTls);
    let versions_seen = versions(controller, settings).await;
    let weak = match &versions_seen {
        // who refuses everything has shown nothing about what it would choose
        Ok(none) if none.is_empty() => Err(format!("{controller} accepted no version of TLS")),
        Ok(_) => weak_suites(controller, settings).await,
        Err(reason) => Err(reason.clone()),
    };
    Seen {
        versions: versions_seen,
        starttls: versions(&plain, settings).await,
        weak,
        certificate: certificate(target, controller, settings, now).await,
    }
}

async fn versions(endpoint: &Endpoint, settings: &Settings) -> Told<BTreeSet<String>> {
    let mut accepted = BTreeSet::new();
    for (name, number) in VERSIONS {
        let hello = hello::for_version(number, endpoint.certificate_name()).map_err(|e| e.to_string())?;
        match question(endpoint, &hello, settings).await? {
            // a server that answers with a lower version than asked for is asked for that one by itself
            Reply::Chose { version, .. } if version == number => {
                accepted.insert(name.to_owned());
            }
            Reply::Chose { .. } | Reply::Refused => {}
            Reply::NotTls => return Err(format!("{endpoint} does not speak TLS")),
        }
    }
    Ok(accepted)
}

async fn weak_suites(endpoint: &Endpoint, settings: &Settings) -> Told<BTreeSet<String>> {
    let mut accepted = BTreeSet::new();
    for (name, suites) in WEAK {
        let hello = hello::for_suites(suites, endpoint.certificate_name()).map_err(|e| e.to_string())?;
        match question(endpoint, &hello, settings).await? {
            Reply::Chose { suite, .. } if suites.contains(&suite) => {
                accepted.insert(name.to_owned());
            }
            Reply::Chose { .. } | Reply::Refused => {}
            Reply::NotTls => return Err(format!("{endpoint} does not speak TLS")),
        }
    }
    Ok(accepted)
}

/// One ClientHello. Silence is no refusal: a server that does not answer may be slow.
async fn question(endpoint: &Endpoint, hello: &[u8], settings: &Settings) -> Told<Reply> {
    let patience = &settings.for_probes();
    let mut stream = dial::connect(endpoint, patience).await.map_err(|error| error.to_string())?;
    if endpoint.transport == Transport::StartTls {
        dial::start_tls(&mut stream, patience).await.map_err(|error| error.to_string())?;
    }
    timeout(settings.probe_timeout(), hello::ask(&mut stream, hello))
        .await
        .map_err(|_| format!("{endpoint} did not answer a TLS handshake in time"))
}

async fn certificate(
    target: &Target,
    controller: &Endpoint,
    settings: &Settings,
    now: OffsetDateTime,
) -> Told<Appraisal> {
    let chain = chain_of(controller, &settings.directory).await?;
    let anchors = target.anchors.trust_anchors().map_err(|error| error.to_string())?;
    appraise(&chain, &anchors, controller.certificate_name(), now)
}

fn union<'a>(all: impl Iterator<Item = &'a Told<BTreeSet<String>>>) -> Fact {
    let mut names = BTreeSet::new();
    for one in all {
        match one {
            Ok(found) => names.extend(found.iter().cloned()),
            Err(reason) => return Fact::Failed(reason.clone()),
        }
    }
    Fact::Known(Value::Set(names))
}

/// The worst certificate of all controllers.
fn certificates(gathered: &mut Gathered, seen: &[Seen], now: OffsetDateTime) {
    let all: Told<Vec<&Appraisal>> =
        seen.iter().map(|s| s.certificate.as_ref().map_err(Clone::clone)).collect();
    let all = match all {
        Ok(all) => all,
        Err(reason) => return gathered.set_all(&CERTIFICATE_FACTS, &Fact::Failed(reason)),
    };
    let problem = all.iter().find(|a| a.chain_valid != Some(true)).map_or("", |a| a.problem.as_str());
    let chain_valid = if all.iter().any(|a| a.chain_valid == Some(false)) {
        Fact::boolean(false)
    } else if all.iter().any(|a| a.chain_valid.is_none()) {
        Fact::Failed(format!("the chain cannot be judged: {problem}"))
    } else {
        Fact::boolean(true)
    };
    gathered.set("tls.chain_valid", chain_valid);
    gathered.set("tls.chain_problem", if problem.is_empty() { Fact::Absent } else { Fact::text(problem) });
    gathered.set("tls.name_matches", Fact::boolean(all.iter().all(|a| a.name_matches)));
    gathered.set("tls.self_signed", Fact::boolean(all.iter().any(|a| a.self_signed)));
    let usages = all.iter().map(|a| a.usages.clone()).reduce(|a, b| a.intersection(&b).cloned().collect());
    gathered.set("tls.usages", Fact::Known(Value::Set(usages.unwrap_or_default())));
    if let Some(weakest) = all.iter().min_by_key(|a| (strength(a), a.key_bits)) {
        gathered.set("tls.key_algorithm", Fact::Known(Value::Word(weakest.key_algorithm.clone())));
        gathered.set("tls.key_bits", Fact::integer(weakest.key_bits));
    }
    if let Some(oldest) = all.iter().min_by_key(|a| signature_rank(&a.signature_algorithm)) {
        gathered.set("tls.signature_algorithm", Fact::Known(Value::Word(oldest.signature_algorithm.clone())));
    }
    if let Some(not_after) = all.iter().map(|a| a.not_after).min() {
        gathered.set("tls.not_after", Fact::Known(Value::Instant(not_after)));
        gathered.set("tls.remaining", Fact::duration((not_after - now).whole_seconds()));
    }
}

/// Keys of different kinds by comparable strength (NIST SP 800-57 part 1, table 2), in bits.
fn strength(appraisal: &Appraisal) -> i64 {
    match (appraisal.key_algorithm.as_str(), appraisal.key_bits) {
        ("ec" | "ed25519", bits) => bits / 2,
        (_, ..2048) => 80,
        (_, 2048..3072) => 112,
        (_, 3072..7680) => 128,
        _ => 192,
    }
}

fn signature_rank(name: &str) -> u8 {
    match name {
        "md5-rsa" => 0,
        "sha1-rsa" | "sha1-ecdsa" => 1,
        "other" => 2,
        _ => 3,
    }
}
