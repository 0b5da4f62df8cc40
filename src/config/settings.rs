//! The configuration as values.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ambient;
use crate::ambient::bounds::{Bounds, Checked};
use crate::assess;
use crate::config::read::{Field, Reader};
use crate::config::source::{Node, Placed};
use crate::directory;
use crate::policy::signature::Required;
use crate::policy::terms::OdsCode;
use crate::proxy;
use crate::secret::reference::SecretReference;
use crate::store;
use crate::sync;
use crate::telemetry::logging;

/// The name of the signing key's file in the data folder.
pub const SIGNING_KEY: &str = "signing.key";
/// Seconds between two assessments of a member. A shorter interval would begin the next before the last could end; a longer
/// one would leave a member that drifted open for more than a day.
pub const ASSESS_SECONDS: RangeInclusive<u32> = 5..=86_400;
/// Seconds between two sync runs of a member.
pub const SYNC_SECONDS: RangeInclusive<u32> = 1..=86_400;
/// Seconds for operations in flight after SIGTERM; 0 cuts them off.
pub const DRAIN_SECONDS: RangeInclusive<u32> = 0..=3_600;
/// Hours that a revocation list may count for: none at all would refuse everybody, and ten years are as good as no limit.
pub const CRL_MAX_AGE_HOURS: RangeInclusive<u32> = 1..=87_600;

/// The whole file. Relative paths in it are relative to the file's directory, and absolute once loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where everything that is kept lies: store, lock, signing key, access audit.
    pub data_dir: PathBuf,
    /// The directory of policy documents.
    pub policies: PathBuf,
    /// Whose signatures a policy set must have before it counts; none: it needs no signature.
    pub policy_signatures: Option<Required>,
    pub listen: Listen,
    pub tls: Tls,
    pub national: National,
    pub store: store::settings::Settings,
    pub intervals: Intervals,
    /// The front door's limits and times.
    pub front: proxy::settings::Settings,
    /// How member directories are measured.
    pub assess: assess::settings::Settings,
    pub sync: sync::terms::settings::Settings,
    /// How the national directory is watched for changes by others.
    pub observer: sync::watching::observing::Settings,
    /// How controllers are looked up that no member's list names.
    pub discovery: directory::discovery::Settings,
    /// How large the tables may be that people send.
    pub tables: ambient::sheet::Settings,
    pub log: Log,
    /// National applications that may come to the front door, by certificate.
    pub applications: Vec<Application>,
}

/// Where the gateway listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The front door: LDAP over TLS.
    pub ldaps: SocketAddr,
    /// LDAP on which StartTLS must come first; absent: not offered.
    pub ldap: Option<SocketAddr>,
    /// Metrics and health, plain HTTP; a loopback or management address.
    pub metrics: SocketAddr,
}

/// The front door's certificates. Reloaded when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM chain, leaf first.
    pub certificate: PathBuf,
    /// PEM key.
    pub key: PathBuf,
    /// PEM anchors that client certificates must chain to.
    pub client_anchors: PathBuf,
    /// CRL files (PEM or DER) of the issuers of client certificates.
    pub crls: Vec<PathBuf>,
    /// What happens to a client certificate whose issuer no CRL speaks for.
    pub unlisted: Unlisted,
    /// A CRL that is older than this no longer counts for the certificates of people and applications, however late its
    /// `nextUpdate` is; none means that `nextUpdate` alone says.
    pub crl_max_age_hours: Option<u32>,
    /// Policies (object identifiers as dotted numbers) of which a card must be issued under one; empty means any.
    pub card_policies: Vec<String>,
}

/// See [`Tls::unlisted`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unlisted {
    #[default]
    Refuse,
    Allow,
}

/// The national directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct National {
    /// Host or address to dial.
    pub host: String,
    /// The port, LDAPS.
    pub port: u16,
    /// The name that its certificate must have; the host unless the file says otherwise.
    pub tls_name: String,
    /// PEM anchors that its certificate must chain to.
    pub anchors: PathBuf,
    /// The account that looks up and publishes.
    pub bind_dn: String,
    pub password: SecretReference,
    /// Its suffix, for example `dc=national,dc=test`.
    pub suffix: String,
    /// Where people are published, for example `ou=people,dc=national,dc=test`.
    pub people_base: String,
}

impl National {
    /// As `sync` wants it.
    pub fn for_sync(&self) -> sync::running::member::National {
        sync::running::member::National {
            host: self.host.clone(),
            port: self.port,
            tls_name: self.tls_name.clone(),
            anchors: self.anchors.clone(),
            bind_dn: self.bind_dn.clone(),
            password: self.password.clone(),
            people_base: self.people_base.clone(),
        }
    }
}

/// How often things happen, in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Intervals {
    /// Between two assessments of a member.
    pub assess_seconds: u32,
    /// Between two sync runs of a member.
    pub sync_seconds: u32,
    /// How long operations may finish after SIGTERM. 0: they are cut off.
    pub drain_seconds: u32,
}

impl Default for Intervals {
    fn default() -> Self {
        Intervals { assess_seconds: 300, sync_seconds: 60, drain_seconds: 20 }
    }
}

impl Checked for Intervals {
    fn bounds(&self) -> Bounds {
        Bounds::default()
            .within("assess_seconds", self.assess_seconds, ASSESS_SECONDS)
            .within("sync_seconds", self.sync_seconds, SYNC_SECONDS)
            .within("drain_seconds", self.drain_seconds, DRAIN_SECONDS)
    }
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `json` for machines, `human` for people.
    pub format: LogFormat,
    /// As in `info,portcullis::sync=debug`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Log { format: LogFormat::Json, filter: "info".to_owned() }
    }
}

impl Checked for Log {
    fn bounds(&self) -> Bounds {
        let filter = logging::check(&self.filter);
        Bounds::default().holds(
            "filter",
            filter.is_ok(),
            "is no log filter",
            "write for example `info` or `info,portcullis::sync=debug`",
        )
    }
}

/// See [`Log::format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Human,
    Json,
}

/// A national application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its name in agreements and audit records.
    pub name: String,
    /// SHA-256 of its DER certificate, hex.
    pub sha256: String,
    /// The organisation that it belongs to, when it is one member's.
    pub member: Option<OdsCode>,
    /// An extended key usage (object identifier) that its certificate must have besides.
    pub usage: Option<String>,
    /// SHA-256 of the public key of an authority that must be on its certificate's path, hex.
    pub issuer: Option<String>,
}

impl Field for Unlisted {
    const HINT: &'static str = "write `refuse` or `allow`";

    fn read(_: &Reader, value: &Placed) -> Result<Self, String> {
        match &value.node {
            Node::Text(text) if text == "refuse" => Ok(Unlisted::Refuse),
            Node::Text(text) if text == "allow" => Ok(Unlisted::Allow),
            other => Err(format!("must be `refuse` or `allow`, not {}", other.kind())),
        }
    }
}

impl Config {
    /// The gateway's signing key (Ed25519, PKCS#8), made when first needed.
    pub fn signing_key(&self) -> PathBuf {
        self.data_dir.join(SIGNING_KEY)
    }

    /// The file of the audit chain's signed checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.data_dir.join("audit.checkpoints")
    }

    /// The folder of the access audit.
    pub fn access_audit(&self) -> PathBuf {
        self.data_dir.join("access")
    }
}
