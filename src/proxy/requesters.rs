//! Which requester a client certificate or a proven name stands for.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use ring::hmac;
use time::OffsetDateTime;

use crate::ldap::dn::{Dn, Rdn, Value};
use crate::policy::people::{CardMapping, Passwords, People};
use crate::policy::terms::OdsCode;
use crate::release::requester::{Authentication, Category, Requester};
use crate::tls::identity::{ClientIdentity, SMARTCARD_LOGON, is_principal_name};

/// Hex digits of the pseudonym in audit records: 64 bits.
const PSEUDONYM_BYTES: usize = 8;
/// The longest account name that a subject may give. Active Directory's own limit for `sAMAccountName` is 256.
const ACCOUNT_NAME_CHARACTERS: usize = 256;

/// The requester directory: persons by their member's rules for cards, connectors and applications by the fingerprint of
/// their certificate. Whoever is not in it is nobody.
///
/// Several fingerprints may stand for one connector or application, so that certificates can be exchanged: list the new
/// one beside the old, and take the old away later.
#[derive(Debug, Clone)]
pub struct Requesters {
    key: hmac::Key,
    /// None: two members claim the domain.
    domains: HashMap<String, Option<OdsCode>>,
    people: HashMap<OdsCode, Rules>,
    /// Members by the keys of the authorities that issue their cards.
    by_issuer: HashMap<String, Vec<OdsCode>>,
    known: HashMap<String, Known>,
}

#[derive(Debug, Clone)]
struct Known {
    category: Category,
    member: Option<OdsCode>,
    name: Option<String>,
    /// An extended key usage that the certificate must have besides.
    usage: Option<String>,
    /// The key of an authority that must be on the certificate's path.
    issuer: Option<String>,
}

/// A member's rules for its people.
#[derive(Debug, Clone)]
struct Rules {
    mapping: Vec<Mapping>,
    /// Keys of authorities; empty: any.
    issuers: BTreeSet<String>,
    passwords: Passwords,
}

#[derive(Debug, Clone)]
enum Mapping {
    Upn,
    Sid,
    Subject(SubjectPattern),
}

/// A certificate that is in the directory, with what "Who am I?" answers its holder.
#[derive(Debug, Clone)]
pub struct Identified {
    pub requester: Arc<Requester>,
    /// An authorization identity of RFC 4513 section 5.2.1.8: `u:` and a name, or `dn:` and the certificate's subject.
    pub authorization: String,
    /// The account of a person at home; None for connectors and applications.
    pub home: Option<Arc<Home>>,
}

/// Where a person's account is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Home {
    pub member: OdsCode,
    pub account: Account,
    /// The security identifier that the account must have besides (KB5014754): the one of the certificate.
    pub sid: Option<String>,
}

/// How an account is found in its directory. `Debug` shows no name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Account {
    /// By `userPrincipalName`, lower case.
    Principal(String),
    /// By `objectSid`, as `S-1-5-21-...`.
    Sid(String),
    /// By `sAMAccountName`.
    Name(String),
    /// By its distinguished name there.
    Dn(String),
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Account::Principal(_) => "Principal(..)",
            Account::Sid(_) => "Sid(..)",
            Account::Name(_) => "Name(..)",
            Account::Dn(_) => "Dn(..)",
        })
    }
}

/// A subject in which one value is `*`: what stands there is the account's name.
#[derive(Debug, Clone)]
pub struct SubjectPattern {
    name: Dn,
    /// Which relative name has the `*`.
    place: usize,
}

impl SubjectPattern {
    /// Reads a pattern such as `cn=*,ou=Staff,o=RXA`.
    ///
    /// # Errors
    ///
    /// When it is no distinguished name, or not exactly one relative name is a `*`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = Dn::parse(text).map_err(|error| format!("`{text}` is no distinguished name: {error}"))?;
        let is_star = |rdn: &Rdn| rdn.parts().len() == 1 && rdn.text() == Some("*");
        let mut stars = name.rdns().iter().enumerate().filter(|(_, rdn)| is_star(rdn)).map(|(at, _)| at);
        match (stars.next(), stars.next()) {
            (Some(place), None) => Ok(SubjectPattern { place, name }),
            _ => Err(format!("`{text}` must have exactly one `*`, as the whole value of one relative name")),
        }
    }

    /// What stands in the place of the `*`, when the subject (RFC 4514) is like the pattern everywhere else.
    pub fn capture(&self, subject: &str) -> Option<String> {
        let subject = Dn::parse(subject).ok()?;
        if subject.depth() != self.name.depth() {
            return None;
        }
        let mut found = None;
        for (at, (theirs, ours)) in subject.rdns().iter().zip(self.name.rdns()).enumerate() {
            if at != self.place {
                if theirs != ours {
                    return None;
                }
                continue;
            }
            let ([their], [our]) = (theirs.parts(), ours.parts()) else { return None };
            let Value::Text(text) = &their.value else { return None };
            // The same relative name with the star's value is the pattern's own if the types are one.
            let alike = Dn::ROOT.child(&their.attribute, "*").ok()?;
            if alike.rdn() != Some(ours) || our.attribute.is_empty() || !is_account_name(text) {
                return None;
            }
            found = Some(text.to_lowercase());
        }
        found
    }
}

/// Names that `sAMAccountName` can have, and that nobody can take for another.
fn is_account_name(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "-_.'!#$%^&~ ".contains(c);
    !text.is_empty()
        && text.trim() == text
        && text.chars().count() <= ACCOUNT_NAME_CHARACTERS
        && text.chars().all(plain)
}

impl Requesters {
    /// An empty directory. `key` makes the pseudonyms of the audit record: keep it, or records of one person before
    /// and after cannot be told to be the same person's.
    pub fn new(key: &[u8]) -> Self {
        Requesters {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            domains: HashMap::new(),
            people: HashMap::new(),
            by_issuer: HashMap::new(),
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

    /// The member's rules for its people; a member without rules has those of `People::default`. False when a mapping
    /// cannot be read or names an account without saying who may: no card is the member's then.
    pub fn add_people(&mut self, member: &OdsCode, people: &People) -> bool {
        let mut good = true;
        let mut mapping = Vec::new();
        for rule in &people.card_mapping {
            match rule {
                CardMapping::Upn => mapping.push(Mapping::Upn),
                _ if people.card_issuers.is_empty() => good = false,
                CardMapping::Sid => mapping.push(Mapping::Sid),
                CardMapping::Subject(pattern) => match SubjectPattern::parse(pattern) {
                    Ok(pattern) => mapping.push(Mapping::Subject(pattern)),
                    Err(_) => good = false,
                },
            }
        }
        if people.card_mapping.is_empty() {
            mapping.push(Mapping::Upn);
        }
        if !good {
            mapping.clear();
        }
        let issuers: BTreeSet<String> =
            people.card_issuers.iter().map(|issuer| fingerprint(&issuer.key_sha256)).collect();
        for issuer in &issuers {
            self.by_issuer.entry(issuer.clone()).or_default().push(member.clone());
        }
        self.people.insert(member.clone(), Rules { mapping, issuers, passwords: people.passwords });
        good
    }

    /// The certificate with this SHA-256 (hex, colons allowed) is the connector of `member`.
    pub fn add_connector(&mut self, sha256: &str, member: &OdsCode) {
        self.add_known(sha256, Category::Connector, Some(member), None);
    }

    /// The certificate with this SHA-256 (hex, colons allowed) is the application `name`.
    pub fn add_application(&mut self, sha256: &str, name: &str, member: Option<&OdsCode>) {
        self.add_known(sha256, Category::Application, member, Some(name));
    }

    /// The connector or application with this certificate must have an extended key usage (dotted numbers) or an authority
    /// (SHA-256 of its public key) on its path besides.
    pub fn require(&mut self, sha256: &str, usage: Option<String>, issuer: Option<String>) {
        if let Some(known) = self.known.get_mut(&fingerprint(sha256)) {
            known.usage = usage;
            known.issuer = issuer.as_deref().map(fingerprint);
        }
    }

    fn add_known(&mut self, sha256: &str, category: Category, member: Option<&OdsCode>, name: Option<&str>) {
        let known = Known {
            category,
            member: member.cloned(),
            name: name.map(str::to_owned),
            usage: None,
            issuer: None,
        };
        self.known.insert(fingerprint(sha256), known);
    }

    /// Who `certificate` stands for. A smartcard is a person even when its fingerprint were listed.
    pub fn identify(&self, certificate: &ClientIdentity, now: OffsetDateTime) -> Option<Identified> {
        if now >= certificate.not_after {
            return None;
        }
        let card = certificate.extended_key_usage.iter().any(|usage| usage == SMARTCARD_LOGON);
        if card && let Some(home) = self.home(certificate) {
            let person = self.person(home, Authentication::Smartcard, certificate.not_after);
            return Some(person);
        }
        if certificate.is_smartcard() {
            return None;
        }
        let known = self.known.get(&certificate.fingerprint)?;
        let lacks_usage = known.usage.as_ref().is_some_and(|u| !certificate.extended_key_usage.contains(u));
        let lacks_issuer = known.issuer.as_ref().is_some_and(|i| !certificate.authorities.contains(i));
        if lacks_usage || lacks_issuer {
            return None;
        }
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
            home: None,
        })
    }

    /// The account that a card names: that of exactly one member, by the first of that member's rules that finds one.
    fn home(&self, card: &ClientIdentity) -> Option<Home> {
        let by_name = card.upn.as_deref().and_then(|upn| self.member_of(upn));
        let by_issuer = card.authorities.iter().filter_map(|key| self.by_issuer.get(key)).flatten();
        let candidates: BTreeSet<&OdsCode> = by_name.into_iter().chain(by_issuer).collect();
        let mut found = None;
        for member in candidates {
            let own_name = card.upn.as_ref().filter(|_| by_name == Some(member));
            let account = match self.people.get(member) {
                Some(rules) => rules.account(card, own_name),
                None => own_name.cloned().map(Account::Principal),
            };
            let Some(account) = account else { continue };
            let home = Home { member: member.clone(), account, sid: card.sid.clone() };
            // Two members that claim one card: it is nobody's.
            if found.replace(home).is_some() {
                return None;
            }
        }
        found
    }

    fn member_of(&self, principal: &str) -> Option<&OdsCode> {
        let (_, domain) = principal.rsplit_once('@')?;
        self.domains.get(domain)?.as_ref()
    }

    fn person(&self, home: Home, authentication: Authentication, not_after: OffsetDateTime) -> Identified {
        let (id, authorization) = match &home.account {
            Account::Principal(name) => (self.pseudonym("person", name), format!("u:{name}")),
            Account::Sid(sid) => (self.pseudonym("person", sid), format!("u:{sid}")),
            Account::Name(name) => {
                let name = format!("{}\\{name}", home.member);
                (self.pseudonym("person", &name), format!("u:{name}"))
            }
            // Every spelling of a name is one person.
            Account::Dn(dn) => {
                let normal = Dn::parse(dn).map_or_else(|_| dn.clone(), |dn| dn.normal());
                (self.pseudonym("person", &normal), String::new())
            }
        };
        Identified {
            requester: Arc::new(Requester {
                category: Category::Person,
                member: Some(home.member.clone()),
                name: None,
                id,
                authentication,
                not_after,
            }),
            authorization,
            home: Some(Arc::new(home)),
        }
    }

    /// Whether passwords of the member's people may be proven at its directory.
    pub fn forwards_passwords(&self, member: &OdsCode) -> bool {
        self.people.get(member).is_some_and(|rules| rules.passwords == Passwords::Forward)
    }

    /// Whether that is so for any member.
    pub fn forwards_any_passwords(&self) -> bool {
        self.people.values().any(|rules| rules.passwords == Passwords::Forward)
    }

    /// The member that owns the domain of a principal name, and the name as it is looked up.
    pub fn principal(&self, name: &str) -> Option<(OdsCode, Account)> {
        let name = name.to_lowercase();
        let member = self.member_of(&name).filter(|_| is_principal_name(&name))?;
        Some((member.clone(), Account::Principal(name.clone())))
    }

    /// Whoever proved a password for `home` until `not_after`. `authorization` names the identity that it bound as.
    pub fn by_password(&self, home: Home, authorization: String, not_after: OffsetDateTime) -> Identified {
        Identified { authorization, ..self.person(home, Authentication::Password, not_after) }
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

impl Rules {
    /// The account that `card` names; `own_name` is its principal name when that is of the member's.
    fn account(&self, card: &ClientIdentity, own_name: Option<&String>) -> Option<Account> {
        let trusted = self.issuers.is_empty() || card.authorities.iter().any(|a| self.issuers.contains(a));
        if !trusted {
            return None;
        }
        self.mapping.iter().find_map(|rule| match rule {
            Mapping::Upn => own_name.cloned().map(Account::Principal),
            Mapping::Sid => card.sid.clone().map(Account::Sid),
            Mapping::Subject(pattern) => pattern.capture(&card.subject).map(Account::Name),
        })
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

    fn issued(by: &str, change: impl FnOnce(&mut ClientIdentity)) -> ClientIdentity {
        let mut card = certificate(Some("ann@rxa.trust.test"), &[CARD], "00");
        card.authorities = vec![by.to_owned(), "cc33".to_owned()];
        change(&mut card);
        card
    }

    fn people(mapping: &[&str], issuers: &[&str]) -> People {
        let issuer = |key: &&str| crate::policy::people::CardIssuer {
            key_sha256: (*key).to_owned(),
            subject: String::new(),
        };
        People {
            card_mapping: mapping.iter().map(|text| text.parse().unwrap()).collect(),
            card_issuers: issuers.iter().map(issuer).collect(),
            passwords: Passwords::Refuse,
        }
    }

    fn account(requesters: &Requesters, card: &ClientIdentity) -> Option<(String, Account)> {
        let home = requesters.identify(card, NOW)?.home?;
        Some((home.member.to_string(), home.account.clone()))
    }

    /// T36: a trusted authority that is not the member's own cannot name the member's people.
    #[test]
    fn t36_only_the_members_own_authority_names_its_people() {
        let rxa: OdsCode = "RXA".parse().unwrap();
        let mut requesters = directory();
        assert!(requesters.add_people(&rxa, &people(&[], &["aa11"])));
        let found = account(&requesters, &issued("aa11", |_| {})).unwrap();
        assert_eq!(found, ("RXA".to_owned(), Account::Principal("ann@rxa.trust.test".to_owned())));
        assert_eq!(account(&requesters, &issued("bb22", |_| {})), None);
        let unverified = issued("aa11", |card| card.authorities.clear());
        assert_eq!(account(&requesters, &unverified), None);
        // A card of RXA's authority is never a person of another member.
        assert!(requesters.add_domain("rxb.test", &"RXB".parse().unwrap()));
        assert!(requesters.add_people(&"RXB".parse().unwrap(), &people(&[], &["bb22"])));
        let across = issued("aa11", |card| card.upn = Some("bob@rxb.test".to_owned()));
        assert_eq!(account(&requesters, &across), None);
    }

    #[test]
    fn cards_map_by_the_members_rules_in_their_order() {
        let rxa: OdsCode = "RXA".parse().unwrap();
        let mut requesters = directory();
        let rules = people(&["sid", "subject:cn=*,ou=Staff,o=RXA", "upn"], &["aa11"]);
        assert!(requesters.add_people(&rxa, &rules));
        let found = |card: &ClientIdentity| account(&requesters, card).map(|(_, account)| account);
        let sid = "S-1-5-21-1-2-3-1104";
        let all = issued("aa11", |card| {
            card.sid = Some(sid.to_owned());
            card.subject = "CN=Ann.Smith,OU=staff,O=rxa".to_owned();
        });
        assert_eq!(found(&all), Some(Account::Sid(sid.to_owned())));
        let by_subject = ClientIdentity { sid: None, ..all.clone() };
        assert_eq!(found(&by_subject), Some(Account::Name("ann.smith".to_owned())));
        let by_name = ClientIdentity { subject: "cn=Ann,ou=Other,o=RXA".to_owned(), ..by_subject.clone() };
        assert_eq!(found(&by_name), Some(Account::Principal("ann@rxa.trust.test".to_owned())));
        let nobody = ClientIdentity { upn: None, ..by_name };
        assert_eq!(found(&nobody), None);
        let subject_only = ClientIdentity { upn: None, ..by_subject };
        let who = requesters.identify(&subject_only, NOW).unwrap();
        assert_eq!(who.authorization, "u:RXA\\ann.smith");
        assert!(!who.requester.id.contains("ann"));
        // Two members that would both take a card: it is nobody's.
        let mut both = requesters.clone();
        assert!(both.add_people(&"RXB".parse().unwrap(), &people(&["sid"], &["cc33"])));
        assert_eq!(account(&both, &all), None);
        // Without an authority to trust, whoever issues cards could name any account.
        assert!(!both.add_people(&rxa, &people(&["sid"], &[])));
        assert!(both.identify(&issued("aa11", |_| {}), NOW).is_none());
    }

    #[test]
    fn subject_patterns_are_compared_as_names() {
        let pattern = SubjectPattern::parse("cn=*,ou=Staff,o=RXA").unwrap();
        assert_eq!(pattern.capture("2.5.4.3=Jo,ou=staff, o=rxa").as_deref(), Some("jo"));
        for other in [
            "cn=Jo,ou=Staff\\,o=RXA",
            "cn=Jo\\,ou=Staff\\,o=RXA,ou=Staff,o=RXA",
            "cn=Jo,ou=Staff,o=RXA,c=GB",
            "cn=Jo+sn=Jo,ou=Staff,o=RXA",
            "sn=Jo,ou=Staff,o=RXA",
            "cn=#0c024a6f,ou=Staff,o=RXA",
            "cn=\\ ,ou=Staff,o=RXA",
            "cn=J\\00o,ou=Staff,o=RXA",
            "cn=J*,ou=Staff,o=RXA",
            "ou=Staff,cn=Jo,o=RXA",
        ] {
            assert_eq!(pattern.capture(other), None, "{other}");
        }
        for bad in ["cn=Jo,o=RXA", "cn=*,ou=*,o=RXA", "cn=J*,o=RXA", "cn=*+sn=*,o=RXA", "nonsense", ""] {
            assert!(SubjectPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn certificates_are_exchanged_and_may_need_more_than_a_fingerprint() {
        let mut requesters = directory();
        requesters.add_application("eeff", "pager", None);
        let old = requesters.identify(&certificate(None, &[], "ccdd"), NOW).unwrap();
        let new = requesters.identify(&certificate(None, &[], "eeff"), NOW).unwrap();
        assert_eq!(old.requester, new.requester, "two certificates, one application");
        requesters.require("ee:ff", Some("1.3.6.1.5.5.7.3.2".to_owned()), Some("AA11".to_owned()));
        let with = |usages: &[&str], authority: &str| {
            let mut certificate = certificate(None, usages, "eeff");
            certificate.authorities = vec![authority.to_owned()];
            requesters.identify(&certificate, NOW).is_some()
        };
        assert!(with(&["1.3.6.1.5.5.7.3.2"], "aa11"));
        assert!(!with(&["1.3.6.1.5.5.7.3.1"], "aa11"));
        assert!(!with(&["1.3.6.1.5.5.7.3.2"], "bb22"));
        assert!(
            requesters.identify(&certificate(None, &[], "ccdd"), NOW).is_some(),
            "the other needs nothing"
        );
    }

    #[test]
    fn a_domain_that_two_claim_is_nobodys() {
        let mut requesters = directory();
        assert!(!requesters.add_domain("rxa.trust.test", &"RXB".parse().unwrap()));
        assert!(!requesters.add_domain("rxa.trust.test", &"RXC".parse().unwrap()));
        assert!(requesters.identify(&certificate(Some("a@rxa.trust.test"), &[CARD], "0"), NOW).is_none());
    }
}
