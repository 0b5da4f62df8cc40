//! Which controllers there are, and which of them answer.

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::probes::advice::advised;
use crate::assess::probes::hello;
use crate::assess::settings::Settings;
use crate::assess::target::Target;
use crate::baseline::facts::Fact;
use crate::directory::dial;
use crate::directory::discovery::{self, Finder};
use crate::directory::endpoint::{Endpoint, Transport};

/// The version that every controller of this century knows.
const TLS_1_2: u16 = 0x0303;

/// Which controllers there are.
#[derive(Debug, Default)]
pub struct Controllers {
    /// Those that take connections, in order of preference.
    pub reachable: Vec<Endpoint>,
    /// Why the others do not, or why none was found.
    pub silent: Vec<String>,
}

impl Controllers {
    /// None, because of this.
    pub fn none(reason: &str) -> Controllers {
        Controllers { reachable: Vec::new(), silent: vec![reason.to_owned()] }
    }
}

/// The controllers, and the facts `controllers.*`.
pub async fn probe(target: &Target, settings: &Settings, clock: &Clock) -> (Controllers, Gathered) {
    let mut gathered = Gathered::default();
    let watch = Stopwatch::start(clock);
    let (mut known, by) = match target.controllers.is_empty() {
        false => (target.controllers.clone(), "the configured list"),
        true => match timeout(settings.probe_timeout(), by_dns(&target.realm)).await {
            Ok(Ok(found)) => (found, "SRV _ldap._tcp.dc._msdcs"),
            Ok(Err(reason)) => return (Controllers::none(&reason), failed(&reason)),
            Err(_) => {
                let reason = "DNS did not answer in time";
                return (Controllers::none(reason), failed(reason));
            }
        },
    };
    let count = known.len();
    gathered.set("controllers.count", integer(count));
    known.truncate(settings.controllers);
    let (connected, silent) = connecting(known, settings).await;
    let answering = connected.iter().filter(|(_, answers)| *answers).count();
    gathered.set("controllers.reachable", integer(answering));
    gathered.set("controllers.unreachable", integer(count.saturating_sub(answering)));
    gathered.provenance.push(watch.provenance("controllers", by, "dns, tcp and tls"));
    // one that is silent stays among those that are asked: what it does not say makes what is measured unknown
    let reachable = connected.into_iter().map(|(controller, _)| controller).collect();
    (Controllers { reachable, silent }, gathered)
}

/// Those that take a connection, and whether they answer a word on it; first those that do, otherwise in the order given. And why the
/// others take none. All are tried at the same time.
async fn connecting(known: Vec<Endpoint>, settings: &Settings) -> (Vec<(Endpoint, bool)>, Vec<String>) {
    let mut tries = JoinSet::new();
    for (place, controller) in known.into_iter().enumerate() {
        let settings = settings.clone();
        tries.spawn(async move {
            let tried = match dial::connect(&controller, &settings.for_probes()).await {
                Ok(stream) => Ok(answers(stream, &controller, &settings).await),
                Err(error) => Err(format!("{}:{}: {}", controller.host, controller.port, advised(&error))),
            };
            (place, controller, tried)
        });
    }
    let mut tried = tries.join_all().await;
    tried.sort_by_key(|(place, _, answers)| (*answers != Ok(true), *place));
    let (mut connected, mut silent) = (Vec::new(), Vec::new());
    for (_, controller, tried) in tried {
        match tried {
            Ok(answers) => connected.push((controller, answers)),
            Err(reason) => silent.push(reason),
        }
    }
    (connected, silent)
}

/// Whether anything comes back for the first word of a TLS handshake. What it is, the TLS probe tells; silence is no controller.
async fn answers(mut stream: TcpStream, controller: &Endpoint, settings: &Settings) -> bool {
    // a port that begins in clear is asked by the probes that speak its language
    if controller.transport != Transport::Ldaps {
        return true;
    }
    let Ok(hello) = hello::for_version(TLS_1_2, controller.certificate_name()) else { return true };
    timeout(settings.probe_timeout(), hello::ask(&mut stream, &hello)).await.is_ok()
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
