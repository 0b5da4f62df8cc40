//! How hard and how long we look.

use std::collections::BTreeSet;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ambient::bounds::{Bounds, Checked};
use crate::assess::address::Network;
use crate::directory;

/// The defaults suit a domain of 100,000 accounts that is measured every few minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Connections for reading.
    pub directory: directory::settings::Settings,
    /// Seconds for one question of the TLS, Kerberos and LDAP probes.
    pub probe_seconds: u32,
    /// Seconds for a whole pass; what was not found out by then is not known. A pass of the schedule has at most half of
    /// `intervals.assess_seconds`.
    pub pass_seconds: u32,
    /// Controllers that the TLS and LDAP probes look at, from the first.
    pub controllers: usize,
    /// Records that one collection may hold, and objects whose rights one search may bring.
    pub records: usize,
    /// Assessments that run at the same time.
    pub parallel: usize,
    /// The port of unencrypted LDAP and StartTLS.
    pub plain_port: u16,
    /// MIT Kerberos' `kinit`.
    pub kinit: String,
    /// MIT Kerberos' `kvno`.
    pub kvno: String,
    /// Revocation lists that members' certificates name.
    pub lists: Lists,
}

/// Which revocation lists are fetched. Their places are written in certificates of members: whoever issues one must not
/// thereby reach what only the gateway can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Lists {
    /// Seconds for one list.
    pub seconds: u32,
    /// The most bytes of one list.
    pub bytes: usize,
    /// Lists of the controllers, and again of the cards, that one pass may fetch.
    pub per_pass: usize,
    /// Ports that may be asked, over http; without any no list is fetched.
    pub ports: BTreeSet<u16>,
    /// Networks that may be asked beside public addresses, as in `10.20.0.0/16`: private, loopback and link-local addresses
    /// are not, unless one of these holds them.
    pub networks: BTreeSet<String>,
}

impl Default for Lists {
    fn default() -> Self {
        Lists {
            seconds: 5,
            bytes: 16 << 20,
            per_pass: 16,
            ports: BTreeSet::from([80]),
            networks: BTreeSet::new(),
        }
    }
}

impl Lists {
    /// The time for one list.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.seconds.max(1)))
    }
}

impl Checked for Lists {
    fn bounds(&self) -> Bounds {
        let wrong = self.networks.iter().find_map(|text| text.parse::<Network>().err());
        Bounds::default()
            .within("seconds", self.seconds, 1..=600)
            .within("bytes", self.bytes, 1..=1 << 30)
            .within("per_pass", self.per_pass, 1..=1_000)
            .holds("ports", !self.ports.contains(&0), "must not hold 0", "write `[80]`")
            .holds(
                "networks",
                wrong.is_none(),
                &format!("must be networks: {}", wrong.unwrap_or_default()),
                "leave the key out when members' lists are on public addresses",
            )
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            directory: directory::settings::Settings::default(),
            probe_seconds: 5,
            pass_seconds: 300,
            controllers: 16,
            records: 2_000_000,
            parallel: 8,
            plain_port: 389,
            kinit: "kinit".to_owned(),
            kvno: "kvno".to_owned(),
            lists: Lists::default(),
        }
    }
}

impl Settings {
    /// The time for one question of a probe.
    pub fn probe_timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.probe_seconds.max(1)))
    }

    /// A child process, a card and a KDC take their time: six questions' worth.
    pub fn child_timeout(&self) -> Duration {
        self.probe_timeout() * 6
    }

    /// Connection settings with the patience of a probe.
    pub fn for_probes(&self) -> directory::settings::Settings {
        directory::settings::Settings {
            connect_seconds: self.probe_seconds,
            answer_seconds: self.probe_seconds,
            ..self.directory.clone()
        }
    }

    /// The time for a whole pass.
    pub fn pass_timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.pass_seconds.max(1)))
    }
}

impl Checked for Settings {
    fn bounds(&self) -> Bounds {
        Bounds::default()
            .inside("directory", &self.directory)
            .inside("lists", &self.lists)
            .within("probe_seconds", self.probe_seconds, 1..=600)
            .within("pass_seconds", self.pass_seconds, 1..=86_400)
            .not_below("pass_seconds", self.pass_seconds, "probe_seconds", self.probe_seconds)
            .within("controllers", self.controllers, 1..=1_000)
            .within("records", self.records, 1..=1_000_000_000)
            .within("parallel", self.parallel, 1..=1_000)
            .within("plain_port", self.plain_port, 1..=u16::MAX)
            .holds(
                "kinit",
                !self.kinit.trim().is_empty(),
                "must be the name or path of MIT Kerberos' kinit",
                "write `kinit`",
            )
            .holds(
                "kvno",
                !self.kvno.trim().is_empty(),
                "must be the name or path of MIT Kerberos' kvno",
                "write `kvno`",
            )
    }
}
