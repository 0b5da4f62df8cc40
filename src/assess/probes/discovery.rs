//! Which controllers there are, and which of them answer.

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::settings::Settings;
use crate::assess::target::Target;
use crate::baseline::facts::Fact;
use crate::directory::dial;
use crate::directory::discovery::{self, Finder};
use crate::directory::endpoint::Endpoint;

/// The controllers that answer, in order of preference, and the facts `controllers.*`.
pub async fn probe(target: &Target, settings: &Settings, clock: &Clock) -> (Vec<Endpoint>, Gathered) {
    let mut gathered = Gathered::default();
    let watch = Stopwatch::start(clock);
    let (mut known, by) = match target.controllers.is_empty() {
        false => (target.controllers.clone(), "the configured list"),
        true => match timeout(settings.probe_timeout(), by_dns(&target.realm)).await {
            Ok(Ok(found)) => (found, "SRV _ldap._tcp.dc._msdcs"),
            Ok(Err(reason)) => return (Vec::new(), failed(&reason)),
            Err(_) => return (Vec::new(), failed("DNS did not answer in time")),
        },
    };
    let count = known.len();
    gathered.set("controllers.count", integer(count));
    known.truncate(settings.controllers);
    let reachable = answering(known, settings).await;
    gathered.set("controllers.reachable", integer(reachable.len()));
    gathered.set("controllers.unreachable", integer(count.saturating_sub(reachable.len())));
    gathered.provenance.push(watch.provenance("controllers", by, "dns and tcp"));
    (reachable, gathered)
}

/// Those that take a connection, in the order given; all are tried at the same time.
async fn answering(known: Vec<Endpoint>, settings: &Settings) -> Vec<Endpoint> {
    let mut tries = JoinSet::new();
    for (place, controller) in known.into_iter().enumerate() {
        let patience = settings.for_probes();
        tries.spawn(
            async move { dial::connect(&controller, &patience).await.ok().map(|_| (place, controller)) },
        );
    }
    let mut reachable: Vec<(usize, Endpoint)> = tries.join_all().await.into_iter().flatten().collect();
    reachable.sort_by_key(|(place, _)| *place);
    reachable.into_iter().map(|(_, controller)| controller).collect()
}

/// The facts when the controllers cannot be found out.
pub fn failed(reason: &str) -> Gathered {
    let mut gathered = Gathered::default();
    let fact = Fact::Failed(reason.to_owned());
    let names = ["controllers.count", "controllers.reachable", "controllers.unreachable"];
    gathered.set_all(&names, &fact);
    gathered
}

async fn by_dns(realm: &str) -> Result<Vec<Endpoint>, String> {
    let found = Finder::new(&discovery::Settings::default())?.controllers(realm, None).await?;
    Ok(found.controllers.into_iter().map(|one| Endpoint::ldaps(&one.host, one.port, None)).collect())
}

fn integer(count: usize) -> Fact {
    Fact::integer(i64::try_from(count).unwrap_or(i64::MAX))
}
