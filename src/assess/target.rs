//! What is measured: one member directory, how it is reached, and as whom.

use std::collections::BTreeSet;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::assess::error::AssessError;
use crate::baseline::attestation::Held;
use crate::directory::endpoint::Endpoint;
use crate::policy::terms::OdsCode;
use crate::secret::reference::SecretReference;
use crate::store::member::{Card, Member};
use crate::tls::material::Anchors;

/// One member directory.
#[derive(Debug, Clone)]
pub struct Target {
    pub member: OdsCode,
    /// Its controllers, LDAPS, in order of preference; empty means that they are to be discovered.
    pub controllers: Vec<Endpoint>,
    /// The domain's DN.
    pub base_dn: String,
    /// A DN or a user principal name.
    pub bind_dn: String,
    pub password: SecretReference,
    pub anchors: Anchors,
    /// The same anchors as PEM text.
    pub anchors_pem: String,
    /// `host:port`, in order of preference.
    pub kdcs: Vec<String>,
    /// Upper case.
    pub realm: String,
    pub card: Option<Card>,
    /// A DN that must be readable in every pass.
    pub canary: String,
    /// What the member registered, lower case; empty when it registered none.
    pub mail_domains: BTreeSet<String>,
    pub upn_suffixes: BTreeSet<String>,
    /// SHA-256 of the keys of the authorities that issue its people's cards.
    pub card_issuers: BTreeSet<String>,
    /// What the member stated.
    pub stated: Held,
}

impl Target {
    /// The directory of a member.
    pub fn of(member: &Member) -> Result<Self, AssessError> {
        let connection = &member.connection;
        let controllers: Vec<Endpoint> = connection
            .controllers
            .iter()
            .map(|c| Endpoint::ldaps(&c.host, c.port, c.tls_name.as_deref()))
            .collect();
        let mut target = Target::new(
            member.ods.clone(),
            controllers,
            &connection.base_dn,
            &connection.bind_dn,
            connection.password.clone(),
            &connection.anchors,
        )?;
        if !connection.kdcs.is_empty() {
            target.kdcs = connection.kdcs.iter().map(|kdc| with_port(kdc, 88)).collect();
        }
        if let Some(realm) = &connection.realm {
            target.realm = realm.to_uppercase();
        }
        target.card = connection.card.clone();
        target.canary = connection.canary.clone().unwrap_or_else(|| connection.base_dn.clone());
        target.mail_domains.clone_from(&member.mail_domains);
        target.upn_suffixes.clone_from(&member.upn_suffixes);
        target.card_issuers = member.people.card_issuers.iter().map(|i| i.key_sha256.clone()).collect();
        target.stated = member.attested.held();
        Ok(target)
    }

    /// A directory with everything else derived: realm from the base DN, KDCs from the controllers, canary the base.
    pub fn new(
        member: OdsCode,
        controllers: Vec<Endpoint>,
        base_dn: &str,
        bind_dn: &str,
        password: SecretReference,
        anchors_pem: &str,
    ) -> Result<Self, AssessError> {
        let fail = |cause: String| AssessError::Target { member: member.to_string(), cause };
        let certificates = CertificateDer::pem_slice_iter(anchors_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| fail(format!("its trust anchors are no PEM certificates: {error}")))?;
        let anchors = Anchors::from_der(certificates).map_err(|error| fail(error.to_string()))?;
        let realm = realm_of(base_dn).ok_or_else(|| {
            fail(format!("`{base_dn}` has no domain components, so it is no Active Directory domain"))
        })?;
        let kdcs = controllers.iter().map(|c| with_port(&c.host, 88)).collect();
        Ok(Target {
            member,
            controllers,
            base_dn: base_dn.to_owned(),
            bind_dn: bind_dn.to_owned(),
            password,
            anchors,
            anchors_pem: anchors_pem.to_owned(),
            kdcs,
            realm,
            card: None,
            canary: base_dn.to_owned(),
            mail_domains: BTreeSet::new(),
            upn_suffixes: BTreeSet::new(),
            card_issuers: BTreeSet::new(),
            stated: Held::default(),
        })
    }
}

/// `DC=rxa,DC=trust,DC=test` to `RXA.TRUST.TEST`.
pub fn realm_of(base_dn: &str) -> Option<String> {
    let labels = base_dn
        .split(',')
        .map(|part| part.trim().split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("dc")))
        .map(|part| part.map(|(_, value)| value.trim().to_uppercase()))
        .collect::<Option<Vec<_>>>()?;
    (!labels.iter().any(String::is_empty)).then(|| labels.join("."))
}

fn with_port(host: &str, port: u16) -> String {
    match host.rsplit_once(':') {
        Some((before, after)) if !before.contains(':') && after.parse::<u16>().is_ok() => host.to_owned(),
        Some((before, _)) if before.starts_with('[') && !host.ends_with(']') => host.to_owned(),
        Some(_) if !host.starts_with('[') => format!("[{host}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms_and_ports() {
        assert_eq!(realm_of("DC=rxa,DC=trust,DC=test").as_deref(), Some("RXA.TRUST.TEST"));
        assert_eq!(realm_of("o=nhs"), None);
        assert_eq!(with_port("dc1.rxa.test", 88), "dc1.rxa.test:88");
        assert_eq!(with_port("127.0.10.1:750", 88), "127.0.10.1:750");
        assert_eq!(with_port("fe80::1", 88), "[fe80::1]:88");
        assert_eq!(with_port("[fe80::1]:750", 88), "[fe80::1]:750");
    }
}
