//! What the gateway says of itself: the root entry (RFC 4512 section 5.1).

use crate::ldap::entry::{Attribute, Entry};
use crate::ldap::message::{CANCEL, START_TLS, WHO_AM_I};
use crate::proxy::engine::controls;

/// Where the subschema is read.
pub const SUBSCHEMA: &str = "cn=subschema";
/// The one naming context.
pub const FEDERATION: &str = "o=federation";

/// All operational attributes by `+` (RFC 3673), and absolute true and false filters (RFC 4526).
const FEATURES: [&str; 2] = ["1.3.6.1.4.1.4203.1.5.1", "1.3.6.1.4.1.4203.1.5.3"];

/// Attributes of the root and the subschema that are shown only when they are asked for, by name or by `+`, with their
/// object identifiers.
pub const OPERATIONAL: &[(&str, &str)] = &[
    ("namingContexts", "1.3.6.1.4.1.1466.101.120.5"),
    ("supportedExtension", "1.3.6.1.4.1.1466.101.120.7"),
    ("supportedControl", "1.3.6.1.4.1.1466.101.120.13"),
    ("supportedSASLMechanisms", "1.3.6.1.4.1.1466.101.120.14"),
    ("supportedLDAPVersion", "1.3.6.1.4.1.1466.101.120.15"),
    ("supportedFeatures", "1.3.6.1.4.1.4203.1.3.5"),
    ("vendorName", "1.3.6.1.1.4"),
    ("vendorVersion", "1.3.6.1.1.5"),
    ("subschemaSubentry", "2.5.18.10"),
    ("structuralObjectClass", "2.5.21.9"),
    ("hasSubordinates", "2.5.18.9"),
    ("entryDN", "1.3.6.1.1.20"),
    ("attributeTypes", "2.5.21.5"),
    ("objectClasses", "2.5.21.6"),
    ("matchingRules", "2.5.21.4"),
    ("ldapSyntaxes", "1.3.6.1.4.1.1466.101.120.16"),
];

/// The root entry: what is really offered on a connection, and nothing else. `plain`: it waits for StartTLS.
pub fn root(plain: bool) -> Entry {
    let extensions: &[&str] = if plain { &[START_TLS] } else { &[WHO_AM_I, CANCEL] };
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    entry(
        "",
        [
            ("objectClass", texts(&["top"])),
            ("namingContexts", texts(&[FEDERATION])),
            ("subschemaSubentry", texts(&[SUBSCHEMA])),
            ("supportedLDAPVersion", texts(&["3"])),
            ("supportedSASLMechanisms", texts(&["EXTERNAL"])),
            ("supportedExtension", texts(extensions)),
            ("supportedControl", controls::supported().map(str::to_owned).collect()),
            ("supportedFeatures", texts(&FEATURES)),
            ("vendorName", texts(&["Portcullis"])),
            ("vendorVersion", texts(&[env!("CARGO_PKG_VERSION")])),
        ],
    )
}

/// An entry of these attributes.
pub fn entry<const N: usize>(dn: &str, attributes: [(&str, Vec<String>); N]) -> Entry {
    let attributes = attributes
        .into_iter()
        .map(|(name, values)| Attribute {
            description: name.to_owned(),
            values: values.into_iter().map(String::into_bytes).collect(),
        })
        .collect();
    Entry { dn: dn.to_owned(), attributes }
}
