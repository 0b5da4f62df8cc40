//! The subschema (RFC 4512 section 4.2): what a requester can meet here and nothing else. Attribute types are those that
//! its permits release and those of the entries that are made here, with what they derive from; classes name these only.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::ldap::attribute;
use crate::ldap::entry::Entry;
use crate::ldap::schema::{self, Syntax};
use crate::proxy::engine::root::{OPERATIONAL, SUBSCHEMA, entry};
use crate::release::view::View;

/// Syntaxes that are used below (RFC 4517 section 3.3, RFC 4523, RFC 4530): the end of the object identifier when it
/// stands below 1.3.6.1.4.1.1466.115.121.1, and a description.
const SYNTAXES: &[(&str, &str)] = &[
    ("3", "Attribute Type Description"),
    ("7", "Boolean"),
    ("8", "X.509 Certificate"),
    ("11", "Country String"),
    ("12", "DN"),
    ("15", "Directory String"),
    ("22", "Facsimile Telephone Number"),
    ("24", "Generalized Time"),
    ("26", "IA5 String"),
    ("27", "INTEGER"),
    ("28", "JPEG"),
    ("30", "Matching Rule Description"),
    ("37", "Object Class Description"),
    ("38", "OID"),
    ("40", "Octet String"),
    ("50", "Telephone Number"),
    ("54", "LDAP Syntax Description"),
    ("58", "Substring Assertion"),
    ("1.3.6.1.1.16.1", "UUID"),
];

/// Matching rules: name, object identifier, syntax of the assertion as above.
const RULES: &[(&str, &str, &str)] = &[
    ("objectIdentifierMatch", "2.5.13.0", "38"),
    ("distinguishedNameMatch", "2.5.13.1", "12"),
    ("caseIgnoreMatch", "2.5.13.2", "15"),
    ("caseIgnoreOrderingMatch", "2.5.13.3", "15"),
    ("caseIgnoreSubstringsMatch", "2.5.13.4", "58"),
    ("caseExactMatch", "2.5.13.5", "15"),
    ("caseExactOrderingMatch", "2.5.13.6", "15"),
    ("caseExactSubstringsMatch", "2.5.13.7", "58"),
    ("booleanMatch", "2.5.13.13", "7"),
    ("integerMatch", "2.5.13.14", "27"),
    ("integerOrderingMatch", "2.5.13.15", "27"),
    ("telephoneNumberMatch", "2.5.13.20", "50"),
    ("telephoneNumberSubstringsMatch", "2.5.13.21", "58"),
    ("generalizedTimeMatch", "2.5.13.27", "24"),
    ("generalizedTimeOrderingMatch", "2.5.13.28", "24"),
    ("objectIdentifierFirstComponentMatch", "2.5.13.30", "38"),
    ("caseIgnoreIA5Match", "1.3.6.1.4.1.1466.109.114.2", "26"),
    ("caseIgnoreIA5SubstringsMatch", "1.3.6.1.4.1.1466.109.114.3", "58"),
    ("UUIDMatch", "1.3.6.1.1.16.2", "1.3.6.1.1.16.1"),
    ("UUIDOrderingMatch", "1.3.6.1.1.16.3", "1.3.6.1.1.16.1"),
];

/// Classes that entries have here: object identifier, name, superior and kind, mandatory, optional attributes (RFC 4512,
/// 4519, 2798). What the requester cannot see is left out of both.
const CLASSES: &[(&str, &str, &str, &str, &str)] = &[
    ("2.5.6.0", "top", "ABSTRACT", "objectClass", ""),
    ("2.5.6.4", "organization", "SUP top STRUCTURAL", "o", "description l st telephoneNumber"),
    ("2.5.6.5", "organizationalUnit", "SUP top STRUCTURAL", "ou", "description l st telephoneNumber"),
    ("2.5.6.6", "person", "SUP top STRUCTURAL", "sn cn", "telephoneNumber seeAlso description"),
    (
        "2.5.6.7",
        "organizationalPerson",
        "SUP person STRUCTURAL",
        "",
        "title facsimileTelephoneNumber street postOfficeBox postalCode physicalDeliveryOfficeName ou st l",
    ),
    (
        "2.16.840.1.113730.3.2.2",
        "inetOrgPerson",
        "SUP organizationalPerson STRUCTURAL",
        "",
        "businessCategory departmentNumber displayName employeeNumber employeeType givenName homePhone initials \
         jpegPhoto labeledURI mail manager mobile o pager preferredLanguage roomNumber secretary uid userCertificate \
         userSMIMECertificate",
    ),
    (
        "2.5.6.9",
        "groupOfNames",
        "SUP top STRUCTURAL",
        "cn",
        "member owner o ou description seeAlso businessCategory",
    ),
    ("2.5.6.14", "device", "SUP top STRUCTURAL", "cn", "seeAlso owner ou o l description"),
    ("2.5.17.0", "subentry", "SUP top STRUCTURAL", "cn", ""),
    (
        "2.5.20.1",
        "subschema",
        "SUP top AUXILIARY",
        "",
        "attributeTypes objectClasses matchingRules ldapSyntaxes",
    ),
];

/// Attributes that derive from `name` (RFC 4519 section 2).
const NAMES: &[&str] =
    &["cn", "sn", "givenName", "initials", "o", "ou", "title", "l", "st", "c", "generationQualifier"];
const SINGLE: &[&str] = &["c", "displayName", "preferredLanguage", "employeeNumber"];

/// The entry for whoever sees these views.
pub fn subschema(views: &[&View]) -> Entry {
    let mut names: BTreeSet<&str> = ["objectClass", "cn", "o", "ou"].into();
    names.extend(views.iter().flat_map(|view| view.names()));
    let known =
        |name: &&str| names.contains(*name) || OPERATIONAL.iter().any(|(operational, _)| operational == name);
    let mut types: Vec<String> = names.iter().map(|name| user_type(name)).collect();
    if names.iter().any(|name| NAMES.contains(name)) {
        types.insert(0, plain("2.5.4.41", "'name'", Syntax::CaseIgnore, ""));
    }
    types.extend(OPERATIONAL.iter().map(|(name, oid)| operational_type(name, oid)));
    let list = |kind: &str, of: &str| match of.split_whitespace().filter(known).collect::<Vec<_>>() {
        of if of.is_empty() => String::new(),
        of => format!(" {kind} ( {} )", of.join(" $ ")),
    };
    let classes = CLASSES.iter().map(|(oid, name, kind, must, may)| {
        format!("( {oid} NAME '{name}' {kind}{}{} )", list("MUST", must), list("MAY", may))
    });
    let rules = RULES
        .iter()
        .map(|(name, oid, syntax)| format!("( {oid} NAME '{name}' SYNTAX {} )", syntax_oid(syntax)));
    let syntaxes = SYNTAXES.iter().map(|(oid, text)| format!("( {} DESC '{text}' )", syntax_oid(oid)));
    entry(
        SUBSCHEMA,
        [
            ("objectClass", texts(["top", "subentry", "subschema"])),
            ("cn", texts(["subschema"])),
            ("structuralObjectClass", texts(["subentry"])),
            ("subschemaSubentry", texts([SUBSCHEMA])),
            ("entryDN", texts([SUBSCHEMA])),
            ("hasSubordinates", texts(["FALSE"])),
            ("attributeTypes", types),
            ("objectClasses", classes.collect()),
            ("matchingRules", rules.collect()),
            ("ldapSyntaxes", syntaxes.collect()),
        ],
    )
}

fn texts<const N: usize>(list: [&str; N]) -> Vec<String> {
    list.map(str::to_owned).into()
}

fn syntax_oid(end: &str) -> String {
    if end.contains('.') { end.to_owned() } else { format!("1.3.6.1.4.1.1466.115.121.1.{end}") }
}

/// The description of an attribute type that a view names (RFC 4512 section 4.1.2).
fn user_type(name: &str) -> String {
    let known = attribute::known(name);
    let oid = known.map_or_else(|| own_oid(name), |known| known.oid.to_owned());
    let quoted = quoted_names(name);
    let single = if SINGLE.contains(&name) { " SINGLE-VALUE" } else { "" };
    let special = |description: &str| format!("( {oid} NAME {quoted} {description} )");
    match name {
        "c" => special("SUP name SYNTAX 1.3.6.1.4.1.1466.115.121.1.11 SINGLE-VALUE"),
        name if NAMES.contains(&name) => special("SUP name"),
        "mail" => special(
            "EQUALITY caseIgnoreIA5Match SUBSTR caseIgnoreIA5SubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.26",
        ),
        "facsimileTelephoneNumber" => special("SYNTAX 1.3.6.1.4.1.1466.115.121.1.22"),
        "jpegPhoto" => special("SYNTAX 1.3.6.1.4.1.1466.115.121.1.28"),
        "userCertificate" => special("SYNTAX 1.3.6.1.4.1.1466.115.121.1.8"),
        "entryUUID" => special(
            "EQUALITY UUIDMatch ORDERING UUIDOrderingMatch SYNTAX 1.3.6.1.1.16.1 SINGLE-VALUE \
             NO-USER-MODIFICATION USAGE directoryOperation",
        ),
        "createTimestamp" | "modifyTimestamp" => {
            plain(&oid, &quoted, Syntax::Time, " SINGLE-VALUE NO-USER-MODIFICATION USAGE directoryOperation")
        }
        name => plain(&oid, &quoted, attribute::syntax(name), single),
    }
}

fn operational_type(name: &str, oid: &str) -> String {
    let quoted = format!("'{name}'");
    let description = |syntax: &str| {
        format!(
            "( {oid} NAME {quoted} EQUALITY objectIdentifierFirstComponentMatch SYNTAX {} USAGE directoryOperation )",
            syntax_oid(syntax)
        )
    };
    let once = " SINGLE-VALUE NO-USER-MODIFICATION USAGE directoryOperation";
    match name {
        "attributeTypes" => description("3"),
        "objectClasses" => description("37"),
        "matchingRules" => description("30"),
        "ldapSyntaxes" => description("54"),
        "structuralObjectClass" | "subschemaSubentry" | "entryDN" | "hasSubordinates" => {
            plain(oid, &quoted, attribute::syntax(name), once)
        }
        _ => plain(oid, &quoted, attribute::syntax(name), " USAGE dSAOperation"),
    }
}

/// A description that follows from the syntax alone.
fn plain(oid: &str, quoted: &str, syntax: Syntax, end: &str) -> String {
    let (rules, syntax) = match syntax {
        Syntax::CaseIgnore => (
            "EQUALITY caseIgnoreMatch ORDERING caseIgnoreOrderingMatch SUBSTR caseIgnoreSubstringsMatch ",
            "15",
        ),
        Syntax::CaseExact => {
            ("EQUALITY caseExactMatch ORDERING caseExactOrderingMatch SUBSTR caseExactSubstringsMatch ", "15")
        }
        Syntax::Integer => ("EQUALITY integerMatch ORDERING integerOrderingMatch ", "27"),
        // Nothing but presence can be asked of them here.
        Syntax::Octets => ("", "40"),
        Syntax::Dn => ("EQUALITY distinguishedNameMatch ", "12"),
        Syntax::Boolean => ("EQUALITY booleanMatch ", "7"),
        Syntax::Time => ("EQUALITY generalizedTimeMatch ORDERING generalizedTimeOrderingMatch ", "24"),
        Syntax::Telephone => ("EQUALITY telephoneNumberMatch SUBSTR telephoneNumberSubstringsMatch ", "50"),
        Syntax::Oid => ("EQUALITY objectIdentifierMatch ", "38"),
    };
    format!("( {oid} NAME {quoted} {rules}SYNTAX {}{end} )", syntax_oid(syntax))
}

/// All names of an attribute, the federated one first.
fn quoted_names(name: &str) -> String {
    let row = schema::ATTRIBUTES.iter().find(|(names, _, _)| names.split(' ').next() == Some(name));
    match row {
        Some((names, _, _)) if names.contains(' ') => {
            let quoted: Vec<String> = names.split(' ').map(|name| format!("'{name}'")).collect();
            format!("( {} )", quoted.join(" "))
        }
        _ => format!("'{name}'"),
    }
}

/// An object identifier for an attribute that nobody registered: below 2.25 (X.667), made of its name, so that it is the
/// same in every gateway.
fn own_oid(name: &str) -> String {
    let digest = Sha256::digest(format!("portcullis attribute {}", name.to_ascii_lowercase()));
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    format!("2.25.{}", uuid::Builder::from_custom_bytes(bytes).into_uuid().as_u128())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of a description, after its shape was checked: balanced, single blanks, a numeric identifier first.
    fn words(description: &str) -> Vec<&str> {
        let words: Vec<&str> = description.split(' ').collect();
        assert!(words.iter().all(|word| !word.is_empty()), "{description}");
        assert_eq!((words.first(), words.last()), (Some(&"("), Some(&")")), "{description}");
        let depth = words.iter().fold(0, |depth, word| match *word {
            "(" => depth + 1,
            ")" => depth - 1,
            _ => depth,
        });
        assert_eq!(depth, 0, "{description}");
        assert!(words[1].split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit())));
        words
    }

    /// What follows a keyword: one word, or the words of a list.
    fn after<'a>(words: &[&'a str], keyword: &str) -> Vec<&'a str> {
        let Some(at) = words.iter().position(|word| *word == keyword) else { return Vec::new() };
        if words[at + 1] != "(" {
            return vec![words[at + 1]];
        }
        words[at + 2..]
            .iter()
            .take_while(|word| **word != ")")
            .filter(|word| **word != "$")
            .copied()
            .collect()
    }

    #[test]
    fn everything_that_is_named_is_there_and_nothing_that_is_hidden() {
        let all: Vec<&str> = crate::release::spelling::KNOWN.iter().map(|known| known.name).collect();
        for visible in [&["cn", "mail"][..], &["cn", "sn", "extensionAttribute3", "rxaOwnThing"], &all] {
            let view = View::new(visible.iter().copied());
            let entry = subschema(&[&view]);
            let lines = |name: &str| entry.texts(name).map(str::to_owned).collect::<Vec<_>>();
            let name_of = |line: &String| after(&words(line), "NAME")[0].trim_matches('\'').to_owned();
            let types: BTreeSet<String> = lines("attributeTypes").iter().map(name_of).collect();
            let rules: BTreeSet<String> = lines("matchingRules").iter().map(name_of).collect();
            let classes: BTreeSet<String> = lines("objectClasses").iter().map(name_of).collect();
            let syntaxes: BTreeSet<String> =
                lines("ldapSyntaxes").iter().map(|line| words(line)[1].to_owned()).collect();
            let oids: Vec<String> = lines("attributeTypes").iter().map(|l| words(l)[1].to_owned()).collect();
            assert_eq!(oids.iter().collect::<BTreeSet<_>>().len(), oids.len(), "an identifier stands twice");
            for line in lines("attributeTypes") {
                let words = words(&line);
                for kind in ["EQUALITY", "ORDERING", "SUBSTR"] {
                    assert!(after(&words, kind).iter().all(|rule| rules.contains(*rule)), "{line}");
                }
                assert!(after(&words, "SYNTAX").iter().all(|oid| syntaxes.contains(*oid)), "{line}");
                assert!(after(&words, "SUP").iter().all(|name| types.contains(*name)), "{line}");
                assert!(words.contains(&"SYNTAX") || words.contains(&"SUP"), "{line}");
            }
            for line in lines("objectClasses") {
                let words = words(&line);
                assert!(after(&words, "SUP").iter().all(|class| classes.contains(*class)), "{line}");
                for kind in ["MUST", "MAY"] {
                    assert!(after(&words, kind).iter().all(|name| types.contains(*name)), "{line}");
                }
            }
            for line in lines("matchingRules") {
                assert!(after(&words(&line), "SYNTAX").iter().all(|oid| syntaxes.contains(*oid)), "{line}");
            }
            for name in view.names() {
                assert!(types.contains(name), "{name}");
            }
            let made = ["objectClass", "cn", "o", "ou", "name"];
            for name in types {
                let operational = OPERATIONAL.iter().any(|(operational, _)| *operational == name);
                assert!(view.visible(&name) || operational || made.contains(&name.as_str()), "{name}");
            }
        }
    }

    #[test]
    fn descriptions_are_those_of_the_standards() {
        assert_eq!(user_type("cn"), "( 2.5.4.3 NAME ( 'cn' 'commonName' ) SUP name )");
        assert_eq!(
            user_type("telephoneNumber"),
            "( 2.5.4.20 NAME 'telephoneNumber' EQUALITY telephoneNumberMatch SUBSTR telephoneNumberSubstringsMatch \
             SYNTAX 1.3.6.1.4.1.1466.115.121.1.50 )"
        );
        assert!(user_type("rxaOwnThing").starts_with("( 2.25."));
        assert_eq!(own_oid("rxaOwnThing"), own_oid("RXAOWNTHING"));
        assert_ne!(own_oid("rxaOwnThing"), own_oid("rxaOtherThing"));
    }
}
