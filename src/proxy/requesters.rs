//! Which requester a client certificate stands for.

use std::collections::HashMap;
use std::sync::Arc;

use ring::hmac;
use time::OffsetDateTime;

use crate::policy::terms::OdsCode;
use crate::release::requester::{Authentication, Category, Requester};
use crate::tls::identity::ClientIdentity;

/// Hex digits of the pseudonym in audit records: 64 bits.
const PSEUDONYM_BYTES: usize = 8;

/// The requester directory: persons by the domain of their user principal name, connectors and applications by the
/// fingerprint of their certificate. Whoever is not in it is nobody.
#[derive(Debug, Clone)]
pub struct Requesters {
    key: hmac::Key,
    /// None: two members claim the domain.
    domains: HashMap<String, Option<OdsCode>>,
    known: HashMap<String, Known>,
}

#[derive(Debug, Clone)]
struct Known {
    category: Category,
    member: Option<OdsCode>,
    name: Option<String>,
}

/// A certificate that is in the directory, with what "Who am I?" answers its holder.
#[derive(Debug, Clone)]
pub struct Identified {
    pub requester: Arc<Requester>,
    /// An authorization identity of RFC 4513 section 5.2.1.8: `u:` and a name, or `dn:` and the certificate's subject.
    pub authorization: String,
}

impl Requesters {
    /// An empty directory. `key` makes the pseudonyms of the audit record: keep it, or records of one person before
    /// and after cannot be told to be the same person's.
    pub fn new(key: &[u8]) -> Self {
        Requesters {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            domains: HashMap::new(),
            known: HashMap::new(),
        }
    }

    /// Persons whose user principal name ends in `@domain` belong to `member`. Of two members that claim one domain
    /// neither gets it.
    pub fn add_domain(&mut self, domain: &str, member: &OdsCode) -> bool {
        let domain = domain.trim_start_matches('@').to_lowercase();
        match self.domains.get_mut(&domain) {
            Some(owner) if owner.as_ref() == Some(member) => true,
            Some(owner) => {
                *owner = None;
                false
            }
            None => {
                self.domains.insert(domain, Some(member.clone()));
                true
            }
        }
    }

    /// The certificate with this SHA-256 (hex, colons allowed) is the connector of `member`.
    pub fn add_connector(&mut self, sha256: &str, member: &OdsCode) {
        let known = Known { category: Category::Connector, member: Some(member.clone()), name: None };
        self.known.insert(fingerprint(sha256), known);
    }

    /// The certificate with this SHA-256 (hex, colons allowed) is the application `name`.
    pub fn add_application(&mut self, sha256: &str, name: &str, member: Option<&OdsCode>) {
        let known =
            Known { category: Category::Application, member: member.cloned(), name: Some(name.to_owned()) };
        self.known.insert(fingerprint(sha256), known);
    }

    /// Who `certificate` stands for. A smartcard is a person even when its fingerprint were listed.
    pub fn identify(&self, certificate: &ClientIdentity, now: OffsetDateTime) -> Option<Identified> {
        if now >= certificate.not_after {
            return None;
        }
        if let Some(upn) = certificate.upn.as_deref()
            && certificate.is_smartcard()
        {
            let (_, domain) = upn.rsplit_once('@')?;
            let member = self.domains.get(domain)?.clone()?;
            let id = self.pseudonym("person", upn);
            return Some(Identified {
                requester: Arc::new(Requester {
                    category: Category::Person,
                    member: Some(member),
                    name: None,
                    id,
                    authentication: Authentication::Smartcard,
                    not_after: certificate.not_after,
                }),
                authorization: format!("u:{upn}"),
            });
        }
        let known = self.known.get(&certificate.fingerprint)?;
        let id = match (&known.name, &known.member) {
            (Some(name), _) => format!("application:{name}"),
            (None, Some(member)) => format!("connector:{member}"),
            (None, None) => return None,
        };
        Some(Identified {
            requester: Arc::new(Requester {
                category: known.category,
                member: known.member.clone(),
                name: known.name.clone(),
                id,
                authentication: Authentication::Certificate,
                not_after: certificate.not_after,
            }),
            authorization: format!("dn:{}", certificate.subject),
        })
    }

    fn pseudonym(&self, kind: &str, name: &str) -> String {
        use std::fmt::Write as _;
        let tag = hmac::sign(&self.key, format!("{kind}\0{name}").as_bytes());
        let mut text = format!("{kind}:");
        for byte in tag.as_ref().iter().take(PSEUDONYM_BYTES) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

fn fingerprint(text: &str) -> String {
    text.chars().filter(char::is_ascii_hexdigit).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(upn: Option<&str>, usages: &[&str], fingerprint: &str) -> ClientIdentity {
        ClientIdentity {
            subject: "cn=Somebody,o=Trust".to_owned(),
            upn: upn.map(str::to_owned),
            sid: None,
            extended_key_usage: usages.iter().map(|s| (*s).to_owned()).collect(),
            fingerprint: fingerprint.to_owned(),
            not_after: OffsetDateTime::UNIX_EPOCH + time::Duration::days(30_000),
            authorities: Vec::new(),
        }
    }

    fn directory() -> Requesters {
        let rxa: OdsCode = "RXA".parse().unwrap();
        let mut requesters = Requesters::new(b"key");
        assert!(requesters.add_domain("RXA.Trust.Test", &rxa));
        requesters.add_connector("AA:BB", &rxa);
        requesters.add_application("ccdd", "pager", None);
        requesters
    }

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const CARD: &str = crate::tls::identity::SMARTCARD_LOGON;

    #[test]
    fn cards_connectors_and_applications() {
        let requesters = directory();
        let card = requesters.identify(&certificate(Some("ann@rxa.trust.test"), &[CARD], "00"), NOW).unwrap();
        assert_eq!(card.requester.category, Category::Person);
        assert_eq!(card.requester.member.as_ref().unwrap().as_str(), "RXA");
        assert!(!card.requester.id.contains("ann"), "{}", card.requester.id);
        assert_eq!(card.authorization, "u:ann@rxa.trust.test");
        let connector = requesters.identify(&certificate(None, &[], "aabb"), NOW).unwrap();
        assert_eq!(connector.requester.category, Category::Connector);
        let application = requesters.identify(&certificate(None, &[], "ccdd"), NOW).unwrap();
        assert_eq!(application.requester.name.as_deref(), Some("pager"));
        assert_eq!(application.requester.member, None);
    }

    #[test]
    fn strangers_are_nobody() {
        let requesters = directory();
        for stranger in [
            certificate(None, &[], "ee"),
            certificate(Some("ann@elsewhere.test"), &[CARD], "00"),
            // A principal name without the card's usage is no card.
            certificate(Some("ann@rxa.trust.test"), &[], "00"),
            // A suffix is not a domain.
            certificate(Some("ann@evilrxa.trust.test"), &[CARD], "00"),
        ] {
            assert!(requesters.identify(&stranger, NOW).is_none());
        }
        let expired = certificate(None, &[], "aabb");
        assert!(requesters.identify(&expired, expired.not_after).is_none());
    }

    #[test]
    fn a_domain_that_two_claim_is_nobodys() {
        let mut requesters = directory();
        assert!(!requesters.add_domain("rxa.trust.test", &"RXB".parse().unwrap()));
        assert!(!requesters.add_domain("rxa.trust.test", &"RXC".parse().unwrap()));
        assert!(requesters.identify(&certificate(Some("a@rxa.trust.test"), &[CARD], "0"), NOW).is_none());
    }
}
