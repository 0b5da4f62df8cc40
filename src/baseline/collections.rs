//! Collections that the program's own probes make: who holds which rights, who owns what, who rules, authorities.

use crate::baseline::value::{Element, Type};

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

/// Where a certificate says that its revocation list is: at an http address, only at others (a directory, https), nowhere;
/// `unread` when we do not have the certificate.
pub const LIST_SOURCES: &[&str] = &["web", "elsewhere", "none", "unread"];

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
    "password-settings",
    "pki",
    "place",
    "policy",
    "privileged-account",
    "privileged-group",
    "privileged-place",
    "root-keys",
    "schema",
    "server",
    "sites",
    "system",
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

/// What a member of a ruling group is: an account or group of the domain, one of those who rule the forest from its root, one of
/// another domain, one that nearly everybody is, another that is the same everywhere, none that logs on.
pub const MEMBERS: &[&str] =
    &["account", "everybody", "foreign", "forest-root", "group", "other", "well-known"];

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

fn words(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Short name, type and title of a fact.
pub type Described = (&'static str, Type, &'static str);

/// Facts of the records of collections that the program's own probes make.
pub fn probe_collections() -> Vec<(&'static str, Vec<Described>)> {
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
        (
            "principal_privileged",
            Type::Boolean,
            "it rules the domain or a part of it by what it is or by membership",
        ),
        ("principal_rules", Type::Boolean, "it rules the whole domain by what it is or by membership"),
        (
            "principal_replicates",
            Type::Boolean,
            "it is or is in a group of controllers or administrators, whose it is to replicate",
        ),
        ("rights", Type::Set(Element::Word(words(RIGHTS))), "what it may do"),
        ("applies_to", word(&["object", "below"]), "the object itself, or only what lies below it"),
    ]);
    let mut owners = object();
    owners.extend([
        ("owner", Type::Sid, "who owns the object and may change its rights"),
        ("owner_name", Type::Text, "its name"),
        ("owner_kind", word(PRINCIPALS), "what it is to the domain"),
        (
            "owner_privileged",
            Type::Boolean,
            "it rules the domain or a part of it by what it is or by membership",
        ),
        ("owner_rules", Type::Boolean, "it rules the whole domain by what it is or by membership"),
    ]);
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
        ("privileged_principals", of_members()),
        ("ca_certificates", certificates),
        ("controller_revocation", of_lists("a domain controller's certificate, or one above it")),
        (
            "card_revocation",
            of_lists("the monitoring card's certificate, a card issuer's, or one above them"),
        ),
    ]
}

/// Facts of a member of a group that rules the domain.
fn of_members() -> Vec<Described> {
    let word = |names: &[&str]| Type::Word(words(names));
    vec![
        ("dn", Type::Dn, "the member, in lower case"),
        ("name", Type::Text, "the name that reports show"),
        ("kind", word(MEMBERS), "what the member is"),
        (
            "groups",
            Type::Set(Element::Word(words(RULING_GROUPS))),
            "ruling groups that it is in, however nested",
        ),
        ("direct", Type::Boolean, "it is in one of them without a group between"),
    ]
}

/// Facts of a certificate and the revocation list that it names, as the gateway gets it.
fn of_lists(certificate: &'static str) -> Vec<Described> {
    let word = |names: &[&str]| Type::Word(words(names));
    vec![
        ("dn", Type::Dn, certificate),
        ("name", Type::Text, "the certificate's subject"),
        ("kind", word(&["controller", "card", "issuer"]), "whose it is"),
        ("source", word(LIST_SOURCES), "where it says that its list is"),
        ("url", Type::Text, "the place of the list"),
        ("reachable", Type::Boolean, "the gateway could fetch the list from where it is"),
        (
            "fetch_problem",
            Type::Text,
            "why the list could not be fetched, and from where; absent when it was",
        ),
        ("signed", Type::Boolean, "what was fetched is a list that the certificate's issuer signed"),
        ("remaining", Type::Duration, "how long it is until the list's next update is due"),
        ("age", Type::Duration, "how long ago the list was issued"),
        ("revoked", Type::Boolean, "the list names the certificate"),
        ("problem", Type::Text, "why the list could not be fetched, or what is wrong with it"),
    ]
}
