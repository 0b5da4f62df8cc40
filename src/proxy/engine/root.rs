//! What the gateway says of itself: the root entry (RFC 4512 section 5.1) and a small subschema (section 4.2).

use crate::ldap::entry::{Attribute, Entry};
use crate::ldap::message::{CANCEL, START_TLS, WHO_AM_I};
use crate::proxy::engine::controls;

/// Where the subschema is read.
pub const SUBSCHEMA: &str = "cn=subschema";
/// The one naming context.
pub const FEDERATION: &str = "o=federation";

/// The root entry: what is really offered on a connection, and nothing else. `plain`: it waits for StartTLS.
pub fn root(plain: bool) -> Entry {
    let extensions: &[&str] = if plain { &[START_TLS] } else { &[WHO_AM_I, CANCEL] };
    let supported: Vec<&str> = controls::supported().collect();
    entry(
        "",
        &[
            ("objectClass", &["top"]),
            ("namingContexts", &[FEDERATION]),
            ("subschemaSubentry", &[SUBSCHEMA]),
            ("supportedLDAPVersion", &["3"]),
            ("supportedSASLMechanisms", &["EXTERNAL"]),
            ("supportedExtension", extensions),
            ("supportedControl", &supported),
            ("vendorName", &["Portcullis"]),
            ("vendorVersion", &[env!("CARGO_PKG_VERSION")]),
        ],
    )
}

/// The subschema: names and syntaxes of what agreements commonly release, for clients that insist on reading one.
pub fn subschema() -> Entry {
    let mut entry =
        entry(SUBSCHEMA, &[("objectClass", &["top", "subentry", "subschema"]), ("cn", &["subschema"])]);
    let values = |list: &[&str]| list.iter().map(|text| text.as_bytes().to_vec()).collect();
    entry.attributes.push(Attribute { description: "attributeTypes".to_owned(), values: values(ATTRIBUTES) });
    entry.attributes.push(Attribute { description: "objectClasses".to_owned(), values: values(CLASSES) });
    entry
}

fn entry(dn: &str, attributes: &[(&str, &[&str])]) -> Entry {
    let attributes = attributes
        .iter()
        .map(|(name, values)| Attribute {
            description: (*name).to_owned(),
            values: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
        })
        .collect();
    Entry { dn: dn.to_owned(), attributes }
}

/// RFC 4519 and RFC 2798, as far as directories behind commonly have them.
const ATTRIBUTES: &[&str] = &[
    "( 2.5.4.0 NAME 'objectClass' EQUALITY objectIdentifierMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.38 )",
    "( 2.5.4.41 NAME 'name' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )",
    "( 2.5.4.3 NAME ( 'cn' 'commonName' ) SUP name )",
    "( 2.5.4.4 NAME ( 'sn' 'surname' ) SUP name )",
    "( 2.5.4.42 NAME 'givenName' SUP name )",
    "( 2.16.840.1.113730.3.1.241 NAME 'displayName' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )",
    "( 2.5.4.10 NAME ( 'o' 'organizationName' ) SUP name )",
    "( 2.5.4.11 NAME ( 'ou' 'organizationalUnitName' ) SUP name )",
    "( 2.5.4.12 NAME 'title' SUP name )",
    "( 2.5.4.20 NAME 'telephoneNumber' EQUALITY telephoneNumberMatch SUBSTR telephoneNumberSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.50 )",
    "( 0.9.2342.19200300.100.1.41 NAME ( 'mobile' 'mobileTelephoneNumber' ) EQUALITY telephoneNumberMatch SUBSTR telephoneNumberSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.50 )",
    "( 0.9.2342.19200300.100.1.1 NAME ( 'uid' 'userid' ) EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )",
    "( 0.9.2342.19200300.100.1.3 NAME ( 'mail' 'rfc822Mailbox' ) EQUALITY caseIgnoreIA5Match SUBSTR caseIgnoreIA5SubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )",
    "( 2.16.840.1.113730.3.1.2 NAME 'departmentNumber' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )",
    "( 2.5.4.31 NAME 'member' EQUALITY distinguishedNameMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 )",
    "( 1.3.6.1.1.16.4 NAME 'entryUUID' EQUALITY UUIDMatch ORDERING UUIDOrderingMatch SYNTAX 1.3.6.1.1.16.1 SINGLE-VALUE NO-USER-MODIFICATION )",
];

const CLASSES: &[&str] = &[
    "( 2.5.6.0 NAME 'top' ABSTRACT MUST objectClass )",
    "( 2.5.6.4 NAME 'organization' SUP top STRUCTURAL MUST o )",
    "( 2.5.6.5 NAME 'organizationalUnit' SUP top STRUCTURAL MUST ou )",
    "( 2.5.6.6 NAME 'person' SUP top STRUCTURAL MUST ( sn $ cn ) MAY telephoneNumber )",
    "( 2.5.6.7 NAME 'organizationalPerson' SUP person STRUCTURAL MAY ( title $ ou ) )",
    "( 2.16.840.1.113730.3.2.2 NAME 'inetOrgPerson' SUP organizationalPerson STRUCTURAL MAY ( departmentNumber $ displayName $ givenName $ mail $ mobile $ o $ uid ) )",
    "( 2.5.6.9 NAME 'groupOfNames' SUP top STRUCTURAL MUST cn MAY ( member $ o $ ou ) )",
];
