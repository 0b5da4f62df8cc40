//! Every fact that policies may use: those that probes find, those that collectors work out, and those declared in
//! `kind: Facts`.

use std::collections::{BTreeMap, BTreeSet};

use crate::baseline::certificate;
use crate::baseline::collections::{Described, KEYS, RULING_GROUPS, SIGNATURES, probe_collections};
use crate::baseline::value::{Element, Ladder, Type};
use crate::policy::documents::{AttributeFact, Decode, FactsDeclaration, Shape};
use crate::policy::read::attest::UNTIL;
use crate::policy::set::PolicySet;

/// Kerberos encryption types by name (IANA "Kerberos Encryption Type Numbers").
pub const ETYPES: &[&str] = &[
    "des-cbc-crc",
    "des-cbc-md5",
    "des3-cbc-sha1",
    "rc4-hmac",
    "aes128-cts-hmac-sha1-96",
    "aes256-cts-hmac-sha1-96",
    "aes128-cts-hmac-sha256-128",
    "aes256-cts-hmac-sha384-192",
];

/// What a controller makes of a SASL bind over TLS that says nothing of the channel, or something wrong: it refuses the first,
/// it refuses all SASL over TLS, it refuses the second only, it does not look. From the best to the worst.
pub const BINDING: &[&str] = &["enforced", "sasl-refused", "when-supported", "not-enforced"];

/// Who may write into a DNS zone.
pub const ZONE_UPDATES: &[&str] = &["none", "unsecured", "secure"];

/// Where a fact comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// A probe.
    Probe,
    /// The collector, from what it read.
    Computed,
    /// An attribute, as declared.
    Attribute(AttributeFact),
    /// An attestation of the member about this subject (`attested.strong_binding`).
    Attestation(String),
}

/// One fact.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    pub kind: Type,
    pub origin: Origin,
    /// One line.
    pub title: String,
}

/// All facts of a policy set.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    /// Facts of single records, by full name.
    pub records: BTreeMap<String, Known>,
    /// Facts of the records of collections, by collection and short name.
    pub collections: BTreeMap<String, BTreeMap<String, Known>>,
}

/// Groups of cipher suites that `tls.weak_suites` may name.
pub const WEAK_SUITES: &[&str] = &["null", "anonymous", "export", "rc4", "des", "3des", "static-rsa"];

fn words(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Facts that probes find. What is "accepted" or "works" is true when one controller asked does it; what must hold
/// everywhere (`tls.chain_valid`) is true when it holds on every controller asked.
fn probes() -> Vec<Described> {
    let mut all = of_cards();
    all.extend(of_controllers());
    all
}

/// The monitoring card and its account; how many certificates there are whose revocation can be judged.
fn of_cards() -> Vec<Described> {
    vec![
        ("smartcard.card_logon_works", Type::Boolean, "the monitoring card gets a ticket"),
        (
            "smartcard.card_logon_problem",
            Type::Text,
            "why the KDC refused the monitoring card; unknown when it did not come to that",
        ),
        ("smartcard.password_logon_works", Type::Boolean, "the monitoring account's password gets a ticket"),
        ("smartcard.simple_bind_works", Type::Boolean, "the monitoring account's password binds"),
        (
            "smartcard.account_requires_card",
            Type::Boolean,
            "the monitoring account has the flag SMARTCARD_REQUIRED, as our own account reads it",
        ),
        (
            "smartcard.account_enabled",
            Type::Boolean,
            "the monitoring account is neither disabled nor past its end",
        ),
        (
            "revocation.controller_lists",
            Type::Integer,
            "certificates of controllers, and above them, that name a revocation list or could not be read",
        ),
        (
            "revocation.card_lists",
            Type::Integer,
            "certificates of cards and their issuers that were read and name a revocation list",
        ),
        (
            "revocation.card_issuer_lists",
            Type::Integer,
            "certificates of card issuers that name a revocation list or could not be read",
        ),
    ]
}

fn of_controllers() -> Vec<Described> {
    let tls = || Type::Set(Element::Version(Ladder::Tls));
    vec![
        ("tls.versions", tls(), "TLS versions that some controller accepts on its LDAPS port"),
        ("tls.starttls_versions", tls(), "TLS versions that some controller accepts after StartTLS"),
        (
            "tls.weak_suites",
            Type::Set(Element::Word(words(WEAK_SUITES))),
            "weak cipher suites that some controller accepts",
        ),
        ("tls.chain_valid", Type::Boolean, "every controller's certificate chains to a trusted anchor"),
        ("tls.name_matches", Type::Boolean, "every controller's certificate names the controller"),
        ("tls.self_signed", Type::Boolean, "some controller's certificate is signed by itself"),
        ("tls.key_bits", Type::Integer, "the smallest key of a controller's certificate, in bits"),
        ("tls.chain_problem", Type::Text, "why a chain is not trusted"),
        ("tls.key_algorithm", Type::Word(words(KEYS)), "kind of that key"),
        (
            "tls.signature_algorithm",
            Type::Word(words(SIGNATURES)),
            "weakest signature of a controller's certificate",
        ),
        (
            "tls.usages",
            Type::Set(Element::Oid),
            "extended key usages that every controller's certificate has",
        ),
        ("tls.remaining", Type::Duration, "how long the first controller's certificate still lasts"),
        ("tls.not_after", Type::Instant, "when the first controller's certificate ends"),
        ("ldap.cleartext_simple_bind", Type::Boolean, "a simple bind without TLS is accepted for checking"),
        ("ldap.anonymous_search", Type::Boolean, "a search without a bind is answered with entries"),
        ("ldap.unauthenticated_bind", Type::Boolean, "a bind with a name and an empty password succeeds"),
        ("ldap.unsigned_sasl", Type::Boolean, "a SASL bind without signing or sealing is accepted"),
        (
            "ldap.channel_binding",
            Type::Word(words(BINDING)),
            "what some controller makes of SASL over TLS that is not bound to the channel, at worst",
        ),
        ("kerberos.etypes", Type::Set(Element::Word(words(ETYPES))), "encryption types that the KDC offers"),
        ("kerberos.preauth_required", Type::Boolean, "the KDC demands pre-authentication of our account"),
        ("kerberos.pkinit_advertised", Type::Boolean, "the KDC says that it knows PKINIT (proves nothing)"),
        ("kerberos.clock_skew", Type::Duration, "how far the KDC's clock is from ours"),
        ("rights.write", Type::Boolean, "our account could write to an object that was looked at"),
        ("rights.write_places", Type::Set(Element::Dn), "objects that our account could write to"),
        ("rights.get_changes", Type::Boolean, "our account may read directory changes"),
        ("rights.get_changes_all", Type::Boolean, "our account could replicate password hashes"),
        ("rights.filtered_set", Type::Boolean, "our account could replicate the filtered attribute set"),
        ("rights.laps_read", Type::Boolean, "our account could read LAPS passwords"),
        ("canary.readable", Type::Boolean, "the object that must be readable every time was read"),
        ("controllers.count", Type::Integer, "controllers that should answer"),
        ("controllers.reachable", Type::Integer, "controllers that answered"),
        (
            "controllers.unreachable",
            Type::Integer,
            "controllers that should answer and did not, or were not asked",
        ),
        ("controllers.agree", Type::Boolean, "all that answer say the same of what rules the domain"),
        (
            "controllers.differences",
            Type::Set(Element::Text),
            "what some controller says otherwise than the first, and which",
        ),
    ]
}

/// A fact that the collector works out, from attributes of the entry and from what else it knows.
struct Computed {
    short: &'static str,
    kind: Type,
    title: &'static str,
    /// The attributes that it needs.
    needs: &'static [&'static str],
}

fn history() -> Computed {
    Computed {
        short: "history_of_own_domain",
        kind: Type::Boolean,
        title: "the SID history holds an identifier of the account's own domain",
        needs: &["sIDHistory", "objectSid"],
    }
}

/// Facts that the collector works out for a declared collection or record.
fn computed(declaration: &str) -> Vec<Computed> {
    let fact = |short, kind, title, needs| Computed { short, kind, title, needs };
    let registered = |title| fact("registered", Type::Boolean, title, &["cACertificate"]);
    match declaration {
        "users" => of_users(),
        "computers" => {
            let mut all = of_accounts();
            all.push(history());
            all
        }
        "groups_with_history" => vec![history()],
        "domain_controllers" => vec![fact(
            "measured",
            Type::Boolean,
            "one of the controllers that are measured, as each says which it is (serverName of its root DSE)",
            &["serverReferenceBL"],
        )],
        "templates" => of_templates(),
        "ntauth" => vec![
            registered("every certificate is of a card issuer that is registered for the member"),
            fact(
                "registered_missing",
                Type::Set(Element::Text),
                "card issuers that are registered for the member and are not in it",
                &["cACertificate"],
            ),
        ],
        "root_authorities" => {
            vec![registered(
                "the certificate is a trust anchor or card issuer that is registered for the member",
            )]
        }
        _ => Vec::new(),
    }
}

/// Facts of users and computers alike.
fn of_accounts() -> Vec<Computed> {
    let fact = |short, kind, title, needs| Computed { short, kind, title, needs };
    let ruling = Type::Set(Element::Word(words(RULING_GROUPS)));
    let privileged = "a member, however nested, of a group that rules the domain";
    let groups = "groups that rule the domain and that it is in, however nested";
    let delegates = "may delegate to a service of a domain controller";
    vec![
        fact("privileged", Type::Boolean, privileged, &["objectSid"]),
        fact("ruling_groups", ruling, groups, &["objectSid"]),
        fact("delegates_to_controller", Type::Boolean, delegates, &["msDS-AllowedToDelegateTo"]),
    ]
}

fn of_users() -> Vec<Computed> {
    let fact = |short, kind, title, needs| Computed { short, kind, title, needs };
    let mut all = of_accounts();
    all.extend([
        fact(
            "protected_user",
            Type::Boolean,
            "a member of Protected Users, which is told by its SID",
            &["memberOf"],
        ),
        history(),
        fact(
            "logon_names",
            Type::Set(Element::Text),
            "principal names that log it on: userPrincipalName, and sAMAccountName at the domain",
            &["userPrincipalName", "sAMAccountName"],
        ),
        fact(
            "addresses",
            Type::Set(Element::Text),
            "mail addresses: mail, and proxyAddresses of SMTP",
            &["mail", "proxyAddresses"],
        ),
        fact(
            "upn_registered",
            Type::Boolean,
            "the suffix of userPrincipalName is registered for the member",
            &["userPrincipalName"],
        ),
        fact(
            "mail_registered",
            Type::Boolean,
            "the mail address lies in a domain that is registered for the member",
            &["mail"],
        ),
    ]);
    all
}

fn of_templates() -> Vec<Computed> {
    let fact = |short, kind, title, needs| Computed { short, kind, title, needs };
    vec![
        fact("published", Type::Boolean, "some enterprise CA issues by it", &["cn"]),
        fact("open_enrolment", Type::Boolean, "somebody who is not privileged may enrol", &[]),
        fact("enrolled_by", Type::Set(Element::Text), "who may enrol and is not privileged, by name", &[]),
    ]
}

/// The attributes that a fact worked out by the collector needs.
pub fn needs(declaration: &str, short: &str) -> &'static [&'static str] {
    computed(declaration).into_iter().find(|fact| fact.short == short).map_or(&[], |fact| fact.needs)
}

impl Catalogue {
    /// The facts of a set.
    pub fn of(set: &PolicySet) -> Catalogue {
        let mut out = Catalogue::default();
        for (name, kind, title) in probes() {
            let known = Known { kind, origin: Origin::Probe, title: title.to_owned() };
            out.records.insert(name.to_owned(), known);
        }
        for (name, facts) in probe_collections() {
            let of = |(short, kind, title): Described| {
                (short.to_owned(), Known { kind, origin: Origin::Probe, title: title.to_owned() })
            };
            out.collect(name, facts.into_iter().map(of).collect());
        }
        for declaration in set.facts.values() {
            out.declare(declaration);
        }
        out
    }

    fn collect(&mut self, name: &str, facts: BTreeMap<String, Known>) {
        let complete = Known {
            kind: Type::Boolean,
            origin: Origin::Computed,
            title: format!("every record of `{name}` was read"),
        };
        self.records.insert(format!("{name}.complete"), complete);
        self.collections.insert(name.to_owned(), facts);
    }

    fn declare(&mut self, declaration: &FactsDeclaration) {
        if !declaration.statements.is_empty() {
            return self.state(declaration);
        }
        let declared = declaration.attributes.iter().map(|(short, attribute)| {
            let title = attribute.title.clone().unwrap_or_else(|| format!("attribute {}", attribute.from));
            let known = Known {
                kind: decoded_type(&attribute.decode),
                origin: Origin::Attribute(attribute.clone()),
                title,
            };
            (short.clone(), known)
        });
        let computed = computed(&declaration.name).into_iter().map(|fact| {
            let known = Known { kind: fact.kind, origin: Origin::Computed, title: fact.title.to_owned() };
            (fact.short.to_owned(), known)
        });
        let declared = declared.chain(computed);
        match declaration.shape {
            Shape::Record => {
                for (short, known) in declared {
                    self.records.insert(format!("{}.{short}", declaration.name), known);
                }
            }
            Shape::Collection => {
                let mut facts: BTreeMap<String, Known> = declared.collect();
                for (short, kind, title) in [
                    ("dn", Type::Dn, "the distinguished name"),
                    ("name", Type::Text, "the name that reports show"),
                ] {
                    let known = Known { kind, origin: Origin::Computed, title: title.into() };
                    facts.entry(short.to_owned()).or_insert(known);
                }
                self.collect(&declaration.name, facts);
            }
        }
    }

    /// Each statement is two facts: whether it holds, and until when.
    fn state(&mut self, declaration: &FactsDeclaration) {
        for (short, statement) in &declaration.statements {
            let subject = format!("{}.{short}", declaration.name);
            let until = format!("{subject}{UNTIL}");
            for (name, kind, title) in [
                (subject.clone(), Type::Boolean, format!("stated by the member: {}", statement.text)),
                (until, Type::Instant, format!("when the attestation of `{subject}` ends")),
            ] {
                self.records
                    .insert(name, Known { kind, origin: Origin::Attestation(subject.clone()), title });
            }
        }
    }

    /// The attestation that a fact of the member comes from.
    pub fn subject(&self, fact: &str) -> Option<String> {
        match &self.records.get(fact)?.origin {
            Origin::Attestation(subject) => Some(subject.clone()),
            _ => None,
        }
    }

    /// First parts of names that the program's own probes use; a declaration may not take them.
    pub fn probe_records() -> BTreeSet<&'static str> {
        let records = probes();
        let records =
            records.iter().filter_map(|(name, _, _)| name.split_once('.').map(|(record, _)| record));
        records.chain(probe_collections().iter().map(|(name, _)| *name)).collect()
    }
}

/// The type of what a decoder gives.
pub fn decoded_type(decode: &Decode) -> Type {
    match decode {
        Decode::Integer | Decode::Count | Decode::ChangeCount(_) => Type::Integer,
        Decode::String | Decode::Character(_) => Type::Text,
        Decode::Boolean | Decode::Flag(_) | Decode::NoFlag(_) | Decode::Present => Type::Boolean,
        Decode::Flags(names) => Type::Flags(names.keys().cloned().collect()),
        Decode::Enum(names) => Type::Word(names.values().cloned().collect()),
        Decode::Filetime | Decode::GeneralizedTime => Type::Instant,
        Decode::Age | Decode::Interval | Decode::BinaryInterval | Decode::ChangeAge(_) => Type::Duration,
        Decode::Sid => Type::Sid,
        Decode::Guid => Type::Guid,
        Decode::Dn => Type::Dn,
        Decode::Strings => Type::Set(Element::Text),
        Decode::Oids => Type::Set(Element::Oid),
        Decode::Dns => Type::Set(Element::Dn),
        Decode::Sids => Type::Set(Element::Sid),
        Decode::KeyFingerprints => Type::Set(Element::Text),
        Decode::CertificateFaults => Type::Set(Element::Word(words(certificate::FAULTS))),
        Decode::ZoneUpdate => Type::Word(words(ZONE_UPDATES)),
        Decode::FunctionalLevel => Type::Version(Ladder::FunctionalLevel),
    }
}
