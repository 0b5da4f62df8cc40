//! How hard and how long we look.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ambient::bounds::{Bounds, Checked};
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
    /// Records that one collection may hold.
    pub records: usize,
    /// Assessments that run at the same time.
    pub parallel: usize,
    /// The port of unencrypted LDAP and StartTLS.
    pub plain_port: u16,
    /// MIT Kerberos' `kinit`.
    pub kinit: String,
    /// MIT Kerberos' `kvno`.
    pub kvno: String,
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
