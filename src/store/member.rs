//! A member as the store keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::baseline::attestation::{Attestation, Held, Registered};
use crate::policy::people::People;
use crate::policy::terms::{Membership, OdsCode};
use crate::secret::reference::SecretReference;

/// An organisation that asked to federate, with everything needed to reach its directory. Secrets are references.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its key.
    pub ods: OdsCode,
    /// Its name, for people to read; never a key.
    pub name: String,
    /// Where it stands. Only `enrol` changes it.
    pub state: Membership,
    /// The profile of the baseline that it is measured by (for example `trust`, `practice`); none means the baseline's own default.
    #[serde(default)]
    pub profile: Option<String>,
    /// How its directory is reached.
    pub connection: Connection,
    /// The certificates with which its connectors and people come to the front door, by fingerprint.
    #[serde(default)]
    pub connectors: Vec<ConnectorCertificate>,
    /// Mail domains that it owns, lower case: joins by mail and routing happen only inside them.
    #[serde(default)]
    pub mail_domains: BTreeSet<String>,
    /// UPN suffixes that it owns, lower case.
    #[serde(default)]
    pub upn_suffixes: BTreeSet<String>,
    /// How its people come to the front door.
    #[serde(default)]
    pub people: People,
    /// What it states because nobody can read it from afar.
    #[serde(default)]
    pub attested: Attested,
    /// When it asked, in UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub requested_at: OffsetDateTime,
    /// When its state last changed, in UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub state_since: OffsetDateTime,
    /// Why its state is what it is, as the actor said.
    #[serde(default)]
    pub state_reason: String,
    /// How often it was saved: 0 for one that never was. A save with an old number is refused as a conflict.
    pub revision: u64,
}

/// What a member states, and the key that it signs with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attested {
    /// Its public key for attestations (Ed25519), lower-case hex.
    #[serde(default)]
    pub key: Option<String>,
    /// The newest attestation of each subject, withdrawn ones too, so that none older can take its place again.
    #[serde(default)]
    pub kept: BTreeMap<String, KeptAttestation>,
}

impl Attested {
    /// What a pass is to look at: what was not withdrawn.
    pub fn held(&self) -> Held {
        let kept = self.kept.values().filter(|kept| kept.withdrawn.is_none());
        let registered = self.key.clone().map_or(Registered::Nothing, Registered::Key);
        Held { attestations: kept.map(|kept| kept.attestation.clone()).collect(), registered }
    }
}

/// An attestation, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAttestation {
    pub attestation: Attestation,
    /// When it was added, in UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub added_at: OffsetDateTime,
    /// Who added it.
    pub added_by: String,
    #[serde(default)]
    pub withdrawn: Option<Withdrawn>,
}

/// That an attestation was withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    /// When, in UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who did it.
    pub by: String,
    pub reason: String,
}

/// How a member directory is reached and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Its domain controllers; empty means those that DNS names for its realm.
    pub controllers: Vec<Controller>,
    /// The naming context that is federated, for example `DC=rxa,DC=trust,DC=test`.
    pub base_dn: String,
    /// The account that we bind as: a DN or a user principal name.
    pub bind_dn: String,
    /// Where that account's password is kept.
    pub password: SecretReference,
    /// The member's trust anchors as PEM text, as they were when it asked: what its controllers' certificates must chain to.
    pub anchors: String,
    /// Its KDCs as `host` or `host:port` (88 when absent); empty means its controllers.
    #[serde(default)]
    pub kdcs: Vec<String>,
    /// Its Kerberos realm, upper case; none means the base DN's domain components.
    #[serde(default)]
    pub realm: Option<String>,
    /// The site in whose controllers are asked before all others, when DNS names them; none means that all are equal.
    #[serde(default)]
    pub site: Option<String>,
    /// A card of the member's monitoring account, for the smartcard logon probe; none means that probe is not run.
    #[serde(default)]
    pub card: Option<Card>,
    /// A DN that must be readable in every pass; none means the base itself.
    #[serde(default)]
    pub canary: Option<String>,
}

/// One domain controller over LDAPS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// Host name or address to dial.
    pub host: String,
    /// Port, 636 when absent on the command line.
    pub port: u16,
    /// The name that its certificate must have; none means `host`.
    #[serde(default)]
    pub tls_name: Option<String>,
}

impl Controller {
    /// The name that the certificate must have.
    pub fn certificate_name(&self) -> &str {
        self.tls_name.as_deref().unwrap_or(&self.host)
    }
}

/// The monitoring account's smartcard and how to use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The account as a Kerberos principal, for example `monitor@RXA.TRUST.TEST`.
    pub principal: String,
    /// Where the card is, as MIT Kerberos writes it: `FILE:cert.pem,key.pem` or `PKCS11:module.so:...`.
    pub identity: String,
    /// The anchors of the KDC's certificate, as PEM file; none means the connection's anchors.
    #[serde(default)]
    pub anchors: Option<PathBuf>,
    /// The card's PIN.
    #[serde(default)]
    pub pin: Option<SecretReference>,
    /// The account's password, which must be refused: without it that fact is not collected.
    #[serde(default)]
    pub password: Option<SecretReference>,
}

/// A certificate that identifies a connector of the member at the front door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorCertificate {
    /// SHA-256 of the DER certificate, lower-case hex.
    pub sha256: String,
    /// Its subject, for people to read.
    pub subject: String,
    /// When it ends, in UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
}

/// One step in the life of a membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    pub member: OdsCode,
    /// The state before; none for the first request.
    pub from: Option<Membership>,
    pub to: Membership,
    /// When, in UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who did it: an officer's name or the gateway itself.
    pub actor: String,
    /// Why, in the actor's words; never empty.
    pub reason: String,
}
