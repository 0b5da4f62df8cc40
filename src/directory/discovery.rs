//! Which controllers an Active Directory domain has, as its DNS says ([MS-ADTS] section 6.3.2.3, RFC 2782).
//!
//! Only LDAPS is spoken to what is found, on its own port, and the name of the certificate must be the name that DNS gave.
//! Names outside the domain are left out: whoever could forge an answer must not choose whom our account's password is
//! shown to. A domain whose controllers have names elsewhere is enrolled with a list of them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ambient::bounds::{Bounds, Checked};

/// LDAP over TLS; the port in DNS is that of plain LDAP.
const LDAPS: u16 = 636;
/// More controllers than this are cut off, the least preferred first.
pub const CONTROLLERS: usize = 32;

/// Where controllers are looked up and how long an answer is believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The DNS server that is asked, as `address:port`; none means those of the system.
    pub resolver: Option<SocketAddr>,
    /// Seconds for one look-up.
    pub answer_seconds: u32,
    /// An answer is looked up again after its own time to live, but not sooner than this.
    pub refresh_min_seconds: u32,
    /// An answer is looked up again not later than this, whatever its time to live says. Must not be less than
    /// `refresh_min_seconds`.
    pub refresh_max_seconds: u32,
    /// While DNS does not answer, the last answer is believed for this long.
    pub age_max_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            resolver: None,
            answer_seconds: 10,
            refresh_min_seconds: 30,
            refresh_max_seconds: 3_600,
            age_max_seconds: 86_400,
        }
    }
}

impl Checked for Settings {
    fn bounds(&self) -> Bounds {
        let (least, most) = (self.refresh_min_seconds, self.refresh_max_seconds);
        Bounds::default()
            .within("answer_seconds", self.answer_seconds, 1..=600)
            .within("refresh_min_seconds", least, 1..=86_400)
            .within("refresh_max_seconds", most, 1..=604_800)
            .not_below("refresh_max_seconds", most, "refresh_min_seconds", least)
            .within("age_max_seconds", self.age_max_seconds, 1..=2_592_000)
    }
}

/// One controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// Its name, which its certificate must have.
    pub host: String,
    pub port: u16,
    /// Controllers of a higher rank are asked only while none of a lower one answers: 0 is the best priority of the
    /// nearest site.
    pub rank: u16,
    /// Its share among those of its rank.
    pub weight: u16,
}

/// An answer of DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// By rank, then by name; never empty.
    pub controllers: Vec<Controller>,
    /// How long it holds, as DNS says.
    pub lives: Duration,
}

/// One SRV record that names a controller of the domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    /// Not of the site that was asked for.
    far: bool,
    priority: u16,
    host: String,
    weight: u16,
}

/// Asks DNS.
#[derive(Clone)]
pub struct Finder {
    resolver: TokioResolver,
    patience: Duration,
}

impl Finder {
    /// Needs a tokio runtime to be asked in.
    ///
    /// # Errors
    ///
    /// When the system's DNS settings cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let mut builder = match settings.resolver {
            None => TokioResolver::builder_tokio().map_err(|error| error.to_string())?,
            Some(address) => {
                let mut server = NameServerConfig::udp_and_tcp(address.ip());
                server.connections.iter_mut().for_each(|connection| connection.port = address.port());
                let config = ResolverConfig::from_name_servers(vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        // Whoever asks again wants to know what is so now.
        builder.options_mut().cache_size = 0;
        let resolver = builder.build().map_err(|error| error.to_string())?;
        Ok(Finder { resolver, patience: Duration::from_secs(u64::from(settings.answer_seconds.max(1))) })
    }

    /// The controllers of the domain `realm`, those of `site` before all others.
    ///
    /// # Errors
    ///
    /// A sentence, when DNS does not answer or names no controller of the domain.
    pub async fn controllers(&self, realm: &str, site: Option<&str>) -> Result<Found, String> {
        let domain = realm.trim_end_matches('.').to_lowercase();
        let mut records = Vec::new();
        let mut lives = Duration::MAX;
        if let Some(site) = site {
            let name = format!("_ldap._tcp.{}._sites.dc._msdcs.{domain}.", site.to_lowercase());
            match self.ask(&name).await {
                Ok((answer, life)) => {
                    records.extend(answer);
                    lives = life;
                }
                // A site without controllers of its own has no such name: the domain's are asked.
                Err(reason) => tracing::debug!(name, reason, "no controllers of this site are known"),
            }
        }
        match self.ask(&format!("_ldap._tcp.dc._msdcs.{domain}.")).await {
            Ok((answer, life)) => {
                let near: BTreeSet<String> = records.iter().map(|record| record.host.clone()).collect();
                let far = answer.into_iter().filter(|record| !near.contains(&record.host));
                records.extend(far.map(|record| Record { far: site.is_some(), ..record }));
                lives = lives.min(life);
            }
            Err(reason) if records.is_empty() => return Err(reason),
            Err(reason) => tracing::debug!(domain, reason, "only the controllers of the site are known"),
        }
        let controllers = ranked(records, &domain);
        if controllers.is_empty() {
            return Err(format!("DNS names no controller inside {domain}; list them when enrolling"));
        }
        Ok(Found { controllers, lives })
    }

    async fn ask(&self, name: &str) -> Result<(Vec<Record>, Duration), String> {
        let answer = tokio::time::timeout(self.patience, self.resolver.srv_lookup(name))
            .await
            .map_err(|_| "DNS did not answer in time".to_owned())?
            .map_err(|error| error.to_string())?;
        let mut lives = u32::MAX;
        let mut records = Vec::new();
        for record in answer.answers() {
            let RData::SRV(srv) = &record.data else { continue };
            lives = lives.min(record.ttl);
            let host = srv.target.to_utf8().trim_end_matches('.').to_lowercase();
            records.push(Record { far: false, priority: srv.priority, host, weight: srv.weight });
        }
        Ok((records, Duration::from_secs(u64::from(lives))))
    }
}

/// Near before far, then by priority: what is equal in both has one rank. Each host once, as it is preferred most.
fn ranked(mut records: Vec<Record>, domain: &str) -> Vec<Controller> {
    // The target `.` says that there is no such service (RFC 2782).
    let within =
        |host: &str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1);
    records.retain(|record| {
        let inside = within(&record.host);
        if !inside && !record.host.is_empty() {
            tracing::warn!(domain, "DNS names a controller outside its domain; it is left out");
        }
        inside
    });
    records.sort();
    let mut seen = BTreeSet::new();
    records.retain(|record| seen.insert(record.host.clone()));
    records.truncate(CONTROLLERS);
    let mut rank = 0;
    let mut before: Option<(bool, u16)> = None;
    let mut controllers = Vec::new();
    for record in records {
        let level = (record.far, record.priority);
        if before.is_some_and(|before| before != level) {
            rank += 1;
        }
        before = Some(level);
        controllers.push(Controller { host: record.host, port: LDAPS, rank, weight: record.weight });
    }
    controllers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_before_far_and_each_once() {
        let record = |far, priority, host: &str| Record { far, priority, host: host.to_owned(), weight: 100 };
        let ranked = ranked(
            vec![
                record(true, 0, "dc3.rxa.test"),
                record(false, 10, "dc2.rxa.test"),
                record(true, 0, "dc1.rxa.test"),
                record(false, 0, "dc1.rxa.test"),
                record(false, 0, "dc4.rxa.test"),
                record(false, 0, "dc1.evil.test"),
                record(false, 0, "evilrxa.test"),
                record(false, 0, "rxa.test"),
                record(false, 0, ""),
            ],
            "rxa.test",
        );
        let shown: Vec<(&str, u16)> = ranked.iter().map(|c| (c.host.as_str(), c.rank)).collect();
        let expected = [("dc1.rxa.test", 0), ("dc4.rxa.test", 0), ("dc2.rxa.test", 1), ("dc3.rxa.test", 2)];
        assert_eq!(shown, expected);
        assert!(ranked.iter().all(|c| c.port == 636 && c.weight == 100));
    }
}
