//! Every fact that policies may use: those that probes find, those that collectors work out, and those declared in
//! `kind: Facts`.

use std::collections::{BTreeMap, BTreeSet};

use crate::baseline::value::{Element, Ladder, Type};
use crate::policy::documents::{AttributeFact, Decode, FactsDeclaration, Shape};
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

/// Signature algorithms of certificates.
pub const SIGNATURES: &[&str] = &[
    "md5-rsa",
    "sha1-rsa",
    "sha1-ecdsa",
    "rsa-pss",
    "sha256-rsa",
    "sha384-rsa",
    "sha512-rsa",
    "sha256-ecdsa",
    "sha384-ecdsa",
    "sha512-ecdsa",
    "ed25519",
    "other",
];

/// Kinds of key of certificates.
pub const KEYS: &[&str] = &["rsa", "ec", "ed25519", "ed448", "dsa", "gost", "other"];

/// Where the directory keeps certificates of authorities.
pub const CERTIFICATE_STORES: &[&str] = &["logon", "root", "intermediate", "enrolment", "other"];

/// Rights that an entry of an access control list can give, by name.
pub const RIGHTS: &[&str] = &[
    "add-self",
    "all-extended-rights",
    "all-validated-writes",
    "autoenrol",
    "change-permissions",
    "create-child",
    "delete",
    "delete-child",
    "delete-tree",
    "enrol",
    "full-control",
    "install-replica",
    "migrate-sid-history",
    "replicate-changes",
    "replicate-changes-all",
    "replicate-filtered-set",
    "reset-password",
    "take-ownership",
    "write-account-control",
    "write-all-properties",
    "write-allowed-to-act",
    "write-allowed-to-delegate",
    "write-alternative-identities",
    "write-key-credentials",
    "write-managed-password-readers",
    "write-member",
    "write-policy-link",
    "write-property",
    "write-script-path",
    "write-service-names",
];

/// Kinds of object whose access control list is looked at.
pub const AREAS: &[&str] = &[
    "admin-sd-holder",
    "configuration",
    "controller",
    "controller-policy",
    "controllers-unit",
    "dns",
    "domain",
    "enrolment-service",
    "krbtgt",
    "pki",
    "place",
    "policy",
    "privileged-account",
    "privileged-group",
    "root-keys",
    "schema",
    "sites",
    "template",
];

/// What a holder of rights is to the domain.
pub const PRINCIPALS: &[&str] = &[
    "administrators",
    "everybody",
    "foreign",
    "operators",
    "ordinary",
    "privileged",
    "system",
    "unresolved",
];

/// Groups that rule the domain.
pub const RULING_GROUPS: &[&str] = &[
    "account-operators",
    "administrators",
    "backup-operators",
    "cert-publishers",
    "dns-admins",
    "domain-admins",
    "domain-controllers",
    "enterprise-admins",
    "enterprise-key-admins",
    "group-policy-creators",
    "key-admins",
    "print-operators",
    "read-only-controllers",
    "replicators",
    "schema-admins",
    "server-operators",
];

/// Where a fact comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// A probe.
    Probe,
    /// The collector, from what it read.
    Computed,
    /// An attribute, as declared.
    Attribute(AttributeFact),
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

fn words(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Facts that probes find. What is "accepted" or "works" is true when one controller asked does it; what must hold
/// everywhere (`tls.chain_valid`) is true when it holds on every controller asked.
fn probes() -> Vec<(&'static str, Type, &'static str)> {
    let tls = || Type::Set(Element::Version(Ladder::Tls));
    vec![
        ("tls.versions", tls(), "TLS versions that some controller accepts on its LDAPS port"),
        ("tls.starttls_versions", tls(), "TLS versions that some controller accepts after StartTLS"),
        ("tls.weak_suites", Type::Set(Element::Text), "weak cipher suites that some controller accepts"),
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
        ("tls.remaining", Type::Duration, "how long the first controller's certificate still lasts"),
        ("tls.not_after", Type::Instant, "when the first controller's certificate ends"),
        ("ldap.cleartext_simple_bind", Type::Boolean, "a simple bind without TLS is accepted for checking"),
        ("ldap.anonymous_search", Type::Boolean, "a search without a bind is answered with entries"),
        ("ldap.unauthenticated_bind", Type::Boolean, "a bind with a name and an empty password succeeds"),
        ("ldap.unsigned_sasl", Type::Boolean, "a SASL bind without signing or sealing is accepted"),
        (
            "ldap.channel_binding",
            Type::Word(words(&["enforced", "not-enforced"])),
            "whether SASL over TLS must be bound to the channel",
        ),
        ("kerberos.etypes", Type::Set(Element::Word(words(ETYPES))), "encryption types that the KDC offers"),
        ("kerberos.preauth_required", Type::Boolean, "the KDC demands pre-authentication of our account"),
        ("kerberos.pkinit_advertised", Type::Boolean, "the KDC says that it knows PKINIT (proves nothing)"),
        ("kerberos.clock_skew", Type::Duration, "how far the KDC's clock is from ours"),
        ("smartcard.card_logon_works", Type::Boolean, "the monitoring card gets a ticket"),
        ("smartcard.card_logon_problem", Type::Text, "why the monitoring card got no ticket"),
        ("smartcard.password_logon_works", Type::Boolean, "the monitoring account's password gets a ticket"),
        ("smartcard.simple_bind_works", Type::Boolean, "the monitoring account's password binds"),
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
    ]
}

/// Short name, type and title of a fact.
type Described = (&'static str, Type, &'static str);

/// Facts of the records of collections that the program's own probes make.
fn probe_collections() -> Vec<(&'static str, Vec<Described>)> {
    let word = |names: &[&str]| Type::Word(words(names));
    let object = || {
        vec![
            ("dn", Type::Dn, "the object"),
            ("name", Type::Text, "the name that reports show"),
            ("object", Type::Text, "the object's own name"),
            ("area", word(AREAS), "what the object is to the domain"),
        ]
    };
    let mut rights = object();
    rights.extend([
        ("principal", Type::Sid, "who holds the rights"),
        ("principal_name", Type::Text, "its name"),
        ("principal_kind", word(PRINCIPALS), "what it is to the domain"),
        ("principal_privileged", Type::Boolean, "it rules the domain by what it is or by membership"),
        ("rights", Type::Set(Element::Word(words(RIGHTS))), "what it may do"),
        ("applies_to", word(&["object", "below"]), "the object itself, or only what lies below it"),
    ]);
    let mut owners = object();
    owners.extend([
        ("owner", Type::Sid, "who owns the object and may change its rights"),
        ("owner_name", Type::Text, "its name"),
        ("owner_kind", word(PRINCIPALS), "what it is to the domain"),
        ("owner_privileged", Type::Boolean, "it rules the domain by what it is or by membership"),
    ]);
    let members = vec![
        ("dn", Type::Dn, "the member, in lower case"),
        ("name", Type::Text, "the name that reports show"),
        ("kind", word(&["account", "foreign", "group"]), "what the member is"),
        (
            "groups",
            Type::Set(Element::Word(words(RULING_GROUPS))),
            "ruling groups that it is in, however nested",
        ),
        ("direct", Type::Boolean, "it is in one of them without a group between"),
    ];
    let certificates = vec![
        ("dn", Type::Dn, "the object that holds the certificate"),
        ("name", Type::Text, "the certificate's subject"),
        ("store", word(CERTIFICATE_STORES), "what the directory trusts it for"),
        ("key_algorithm", word(KEYS), "kind of its key"),
        ("key_bits", Type::Integer, "size of its key"),
        ("signature_algorithm", word(SIGNATURES), "how it is signed"),
        ("self_signed", Type::Boolean, "it is signed by itself"),
        ("authority", Type::Boolean, "it may sign other certificates"),
        ("not_after", Type::Instant, "when it ends"),
        ("remaining", Type::Duration, "how long it still lasts"),
    ];
    vec![
        ("access_rights", rights),
        ("owners", owners),
        ("privileged_principals", members),
        ("ca_certificates", certificates),
    ]
}

/// Facts that the collector works out for the records of a declared collection.
fn computed(collection: &str) -> Vec<(&'static str, Type, &'static str)> {
    let mut out = vec![
        ("dn", Type::Text, "the distinguished name"),
        ("name", Type::Text, "the name that reports show"),
    ];
    match collection {
        "users" | "computers" | "groups" | "service_accounts" => {
            out.push((
                "privileged",
                Type::Boolean,
                "a member, however nested, of a group that rules the domain",
            ));
        }
        "templates" => out.extend([
            ("published", Type::Boolean, "some enrolment service offers it"),
            ("open_enrolment", Type::Boolean, "somebody who is not privileged may enrol"),
            ("enrolled_by", Type::Set(Element::Text), "who may enrol and is not privileged"),
        ]),
        _ => {}
    }
    out
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
        let declared = declaration.attributes.iter().map(|(short, attribute)| {
            let title = attribute.title.clone().unwrap_or_else(|| format!("attribute {}", attribute.from));
            let known = Known {
                kind: decoded_type(&attribute.decode),
                origin: Origin::Attribute(attribute.clone()),
                title,
            };
            (short.clone(), known)
        });
        match declaration.shape {
            Shape::Record => {
                for (short, known) in declared {
                    self.records.insert(format!("{}.{short}", declaration.name), known);
                }
            }
            Shape::Collection => {
                let mut facts: BTreeMap<String, Known> = declared.collect();
                for (short, kind, title) in computed(&declaration.name) {
                    let known = Known { kind, origin: Origin::Computed, title: title.to_owned() };
                    facts.entry(short.to_owned()).or_insert(known);
                }
                self.collect(&declaration.name, facts);
            }
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
        Decode::Integer | Decode::Count => Type::Integer,
        Decode::String | Decode::Character(_) => Type::Text,
        Decode::Boolean | Decode::Flag(_) | Decode::NoFlag(_) | Decode::Present => Type::Boolean,
        Decode::Flags(names) => Type::Flags(names.keys().cloned().collect()),
        Decode::Enum(names) => Type::Word(names.values().cloned().collect()),
        Decode::Filetime | Decode::GeneralizedTime => Type::Instant,
        Decode::Age | Decode::Interval => Type::Duration,
        Decode::Sid => Type::Sid,
        Decode::Guid => Type::Guid,
        Decode::Dn => Type::Dn,
        Decode::Strings => Type::Set(Element::Text),
        Decode::Oids => Type::Set(Element::Oid),
        Decode::Dns => Type::Set(Element::Dn),
        Decode::FunctionalLevel => Type::Version(Ladder::FunctionalLevel),
    }
}
