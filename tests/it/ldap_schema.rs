//! The table of known attributes and classes says what the schemas of OpenLDAP (package `slapd`) and Active Directory
//! (package `samba-ad-provision`) say. Without those packages the comparison is left out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use portcullis::ldap::schema::{ATTRIBUTES, CLASSES, Syntax};

const OPENLDAP: &str = "/etc/ldap/schema";
const ACTIVE_DIRECTORY: &str = "/usr/share/samba/setup/ad-schema";

/// Name with an OID that is left out of its row, or OID with a name that is.
const APART: &[(&str, &str)] = &[
    // RFC 2307's is Active Directory's `unixHomeDirectory`; its own `homeDirectory` is another attribute.
    ("homedirectory", "1.3.6.1.1.1.1.3"),
    // RFC 1274's has structured values, and no directory has it.
    ("othermailbox", "0.9.2342.19200300.100.1.22"),
];

/// Not in the files of either package: RFC 3045, 3112, 4512, 4530, 5020, OpenLDAP's own, OpenDJ's, Exchange's, MS-ADA2.
const ELSEWHERE: &[&str] = &[
    "creatorsName",
    "modifiersName",
    "hasSubordinates",
    "namingContexts",
    "altServer",
    "supportedExtension",
    "supportedControl",
    "supportedSASLMechanisms",
    "supportedLDAPVersion",
    "supportedFeatures",
    "vendorName",
    "vendorVersion",
    "entryUUID",
    "entryDN",
    "entryCSN",
    "contextCSN",
    "authPassword",
    "numSubordinates",
    "isMemberOf",
    "personalPager",
    "ms-Mcs-AdmPwd",
    "msLAPS-Password",
    "msLAPS-EncryptedPassword",
    "msLAPS-EncryptedPasswordHistory",
    "msLAPS-EncryptedDSRMPassword",
    "msLAPS-EncryptedDSRMPasswordHistory",
];

/// Syntaxes that are ours on purpose.
const OUR_SYNTAX: &[&str] = &[
    // Two attributes of one name: the wider comparison.
    "homeDirectory",
    // No matching rule in RFC 4519, and Active Directory stores something else.
    "facsimileTelephoneNumber",
    "preferredDeliveryMethod",
    // DN-with-binary: compared by the name in it.
    "wellKnownObjects",
    "otherWellKnownObjects",
    "msDS-HasInstantiatedNCs",
    "msDS-RevealedUsers",
];

#[derive(Default)]
struct Reference {
    by_name: HashMap<String, BTreeSet<String>>,
    by_oid: HashMap<String, BTreeSet<String>>,
    syntax: HashMap<String, Syntax>,
}

impl Reference {
    fn add(&mut self, oid: &str, names: &[String], syntax: Option<Syntax>) {
        for name in names {
            self.by_name.entry(name.clone()).or_default().insert(oid.to_owned());
            self.by_oid.entry(oid.to_owned()).or_default().insert(name.clone());
            if let Some(syntax) = syntax {
                self.syntax.entry(name.clone()).or_insert(syntax);
            }
        }
    }

    /// What is wrong with a row of ours.
    fn faults(&self, names: &str, oids: &str) -> Vec<String> {
        let names: Vec<String> = names.split(' ').map(str::to_ascii_lowercase).collect();
        let oids: Vec<&str> = oids.split(' ').collect();
        let apart = |name: &str, oid: &str| APART.contains(&(name, oid));
        let mut faults = Vec::new();
        for name in &names {
            match self.by_name.get(name) {
                None => faults.push(format!("{name} is unknown")),
                Some(theirs) => {
                    let missing = theirs.iter().filter(|o| !oids.contains(&o.as_str()) && !apart(name, o));
                    faults.extend(missing.map(|oid| format!("{name} is {oid}")));
                }
            }
        }
        for oid in oids {
            match self.by_oid.get(oid) {
                None => faults.push(format!("{oid} is unknown")),
                Some(theirs) => {
                    let missing = theirs.iter().filter(|name| !names.contains(name) && !apart(name, oid));
                    faults.extend(missing.map(|name| format!("{oid} is {name}")));
                }
            }
        }
        faults
    }
}

/// Attributes, then classes. OpenLDAP is read first: the RFCs' matching rules count before Active Directory's.
fn references() -> Option<(Reference, Reference)> {
    if !Path::new(OPENLDAP).is_dir() || !Path::new(ACTIVE_DIRECTORY).is_dir() {
        println!("left out: the packages slapd and samba-ad-provision are not installed");
        return None;
    }
    let (mut attributes, mut classes) = (Reference::default(), Reference::default());
    for text in texts(OPENLDAP, &["schema"]) {
        read_openldap(&text, &mut attributes, &mut classes);
    }
    for text in texts(ACTIVE_DIRECTORY, &["ldf", "txt"]) {
        read_active_directory(&text, &mut attributes, &mut classes);
    }
    assert!(attributes.by_name.len() > 1500 && classes.by_name.len() > 250, "the schemas are not read");
    Some((attributes, classes))
}

fn texts(folder: &str, extensions: &[&str]) -> Vec<String> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| path.extension().is_some_and(|ext| extensions.iter().any(|wanted| ext == *wanted)));
    paths.iter().map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()).collect()
}

/// Definitions that are commented out count too: slapd has those built in.
fn read_openldap(text: &str, attributes: &mut Reference, classes: &mut Reference) {
    let text: String = text.lines().map(|line| format!("{}\n", line.trim_start_matches('#'))).collect();
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    for (at, word) in words.iter().enumerate() {
        let into = match word.to_ascii_lowercase().as_str() {
            "attributetype" => &mut *attributes,
            "objectclass" => &mut *classes,
            _ => continue,
        };
        let rest = &words[at + 1..];
        let ["(", oid, "NAME", names @ ..] = rest else { continue };
        if !oid.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let names: Vec<String> = names
            .iter()
            .skip_while(|word| **word == "(")
            .take_while(|word| word.starts_with('\''))
            .map(|word| word.trim_matches('\'').to_ascii_lowercase())
            .collect();
        let own =
            rest.split(|word| matches!(word.to_ascii_lowercase().as_str(), "attributetype" | "objectclass"));
        let own: Vec<&str> = own.into_iter().next().unwrap_or_default().to_vec();
        let rule = own.iter().position(|word| *word == "EQUALITY").and_then(|at| own.get(at + 1));
        into.add(oid, &names, rule.and_then(|rule| by_rule(rule)));
    }
}

fn read_active_directory(text: &str, attributes: &mut Reference, classes: &mut Reference) {
    for record in text.replace("\r\n", "\n").split("\n\n") {
        let fields: BTreeMap<String, &str> = record
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
            .collect();
        let Some(name) = fields.get("ldapdisplayname") else { continue };
        let names = [name.to_ascii_lowercase()];
        if let Some(oid) = fields.get("attributeid") {
            let syntax = fields.get("attributesyntax").and_then(|syntax| by_attribute_syntax(syntax));
            attributes.add(oid, &names, syntax);
        }
        if let Some(oid) = fields.get("governsid") {
            classes.add(oid, &names, None);
        }
    }
}

fn by_rule(rule: &str) -> Option<Syntax> {
    Some(match rule {
        "caseIgnoreMatch" | "caseIgnoreIA5Match" | "caseIgnoreListMatch" => Syntax::CaseIgnore,
        "caseExactMatch" | "caseExactIA5Match" => Syntax::CaseExact,
        "distinguishedNameMatch" | "uniqueMemberMatch" => Syntax::Dn,
        "integerMatch" => Syntax::Integer,
        "octetStringMatch" | "certificateExactMatch" | "bitStringMatch" => Syntax::Octets,
        "telephoneNumberMatch" => Syntax::Telephone,
        "booleanMatch" => Syntax::Boolean,
        "generalizedTimeMatch" => Syntax::Time,
        "objectIdentifierMatch" => Syntax::Oid,
        _ => return None,
    })
}

/// MS-ADTS 3.1.1.2.2.2.
fn by_attribute_syntax(syntax: &str) -> Option<Syntax> {
    Some(match syntax {
        "2.5.5.1" => Syntax::Dn,
        "2.5.5.2" => Syntax::Oid,
        "2.5.5.3" | "2.5.5.5" => Syntax::CaseExact,
        "2.5.5.4" | "2.5.5.12" => Syntax::CaseIgnore,
        "2.5.5.8" => Syntax::Boolean,
        "2.5.5.9" | "2.5.5.16" => Syntax::Integer,
        // A DN with binary compares by its bytes here.
        "2.5.5.7" | "2.5.5.10" | "2.5.5.15" | "2.5.5.17" => Syntax::Octets,
        "2.5.5.11" => Syntax::Time,
        _ => return None,
    })
}

fn is_elsewhere(names: &str) -> bool {
    ELSEWHERE.contains(&names) || names.starts_with("extensionAttribute")
}

#[test]
fn attributes_have_the_names_and_oids_of_the_schemas() {
    let Some((attributes, _)) = references() else { return };
    let mut faults = Vec::new();
    for (names, oids, _) in ATTRIBUTES {
        let own = attributes.faults(names, oids);
        if is_elsewhere(names) {
            assert_eq!(own.len(), 2, "{names} is known after all: {own:?}");
        } else {
            faults.extend(own);
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn classes_have_the_names_and_oids_of_the_schemas() {
    let Some((_, classes)) = references() else { return };
    let faults: Vec<String> = CLASSES.iter().flat_map(|(names, oids)| classes.faults(names, oids)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn attributes_compare_as_the_schemas_say() {
    let Some((attributes, _)) = references() else { return };
    let mut faults = Vec::new();
    for (names, _, ours) in ATTRIBUTES {
        let name = names.split(' ').next().unwrap();
        match attributes.syntax.get(&name.to_ascii_lowercase()) {
            Some(theirs) if theirs != ours && !OUR_SYNTAX.contains(&name) => {
                faults.push(format!("{name}: {ours:?} is {theirs:?}"));
            }
            _ => {}
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn no_name_or_oid_stands_in_two_rows() {
    let attributes = ATTRIBUTES.iter().map(|(names, oids, _)| (*names, *oids));
    for rows in [attributes.collect(), CLASSES.to_vec()] {
        let mut seen = BTreeSet::new();
        for (names, oids) in rows {
            for key in names.split(' ').chain(oids.split(' ')) {
                assert!(seen.insert(key.to_ascii_lowercase()), "{key} stands in two rows");
            }
        }
    }
}
