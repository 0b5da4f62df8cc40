//! One spelling per attribute: every name, OID and Active Directory name that a client may write, brought to the one
//! federated name before anything is decided.

use crate::ldap::attribute;
use crate::ldap::schema;

/// How values of an attribute are compared; decides which filter items mean anything on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Syntax {
    /// Text without case (caseIgnoreMatch, with ordering and substrings).
    Text,
    /// Distinguished names: equality and presence only (RFC 4517 4.2.15).
    Name,
    /// `entryUUID`: equality and presence only (RFC 4530).
    Uuid,
    /// Whole numbers: equality, ordering, presence, bitwise rules.
    Integer,
    /// GeneralizedTime: equality, ordering, presence.
    Time,
    /// `TRUE` and `FALSE`: equality, presence.
    Boolean,
    /// Octets: presence only.
    Octets,
    /// `objectClass`: equality and presence.
    Class,
}

/// One attribute of the federated schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The federated name, as it is written in answers.
    pub name: &'static str,
    /// Every other spelling, lower case: alternative names, OIDs, the names of Active Directory.
    pub others: &'static [&'static str],
    pub syntax: Syntax,
    /// Whether `(anr=...)` looks at it (MS-ADTS 3.1.1.3.1.3.4).
    pub anr: bool,
}

const fn row(name: &'static str, others: &'static [&'static str], syntax: Syntax) -> Known {
    Known { name, others, syntax, anr: false }
}

const fn anr(name: &'static str, others: &'static [&'static str]) -> Known {
    Known { name, others, syntax: Syntax::Text, anr: true }
}

/// The federated schema.
pub const KNOWN: &[Known] = &[
    row("objectClass", &["2.5.4.0"], Syntax::Class),
    row("cn", &["commonname", "2.5.4.3"], Syntax::Text),
    anr("sn", &["surname", "2.5.4.4"]),
    anr("givenName", &["gn", "2.5.4.42"]),
    anr("displayName", &["2.16.840.1.113730.3.1.241", "1.2.840.113556.1.2.13"]),
    row("initials", &["2.5.4.43"], Syntax::Text),
    row("title", &["2.5.4.12"], Syntax::Text),
    row("personalTitle", &["0.9.2342.19200300.100.1.40", "1.2.840.113556.1.2.615"], Syntax::Text),
    row("o", &["organizationname", "2.5.4.10", "company", "1.2.840.113556.1.2.146"], Syntax::Text),
    row("ou", &["organizationalunitname", "2.5.4.11", "department", "1.2.840.113556.1.2.141"], Syntax::Text),
    row("departmentNumber", &["2.16.840.1.113730.3.1.2"], Syntax::Text),
    row("description", &["2.5.4.13"], Syntax::Text),
    row("l", &["localityname", "2.5.4.7"], Syntax::Text),
    row("st", &["stateorprovincename", "2.5.4.8"], Syntax::Text),
    row("street", &["streetaddress", "2.5.4.9", "1.2.840.113556.1.2.256"], Syntax::Text),
    row("postalCode", &["2.5.4.17"], Syntax::Text),
    row("postOfficeBox", &["2.5.4.18"], Syntax::Text),
    row("c", &["countryname", "2.5.4.6"], Syntax::Text),
    row("co", &["friendlycountryname", "0.9.2342.19200300.100.1.43", "1.2.840.113556.1.2.131"], Syntax::Text),
    anr("physicalDeliveryOfficeName", &["2.5.4.19"]),
    row("roomNumber", &["0.9.2342.19200300.100.1.6"], Syntax::Text),
    row("mail", &["rfc822mailbox", "0.9.2342.19200300.100.1.3"], Syntax::Text),
    anr("proxyAddresses", &["1.2.840.113556.1.2.210"]),
    row("telephoneNumber", &["2.5.4.20"], Syntax::Text),
    row("mobile", &["mobiletelephonenumber", "0.9.2342.19200300.100.1.41"], Syntax::Text),
    row("facsimileTelephoneNumber", &["fax", "2.5.4.23"], Syntax::Text),
    row("pager", &["pagertelephonenumber", "0.9.2342.19200300.100.1.42"], Syntax::Text),
    row("homePhone", &["hometelephonenumber", "0.9.2342.19200300.100.1.20"], Syntax::Text),
    row("ipPhone", &["1.2.840.113556.1.4.721"], Syntax::Text),
    anr("uid", &["userid", "0.9.2342.19200300.100.1.1", "samaccountname", "1.2.840.113556.1.4.221"]),
    row("userPrincipalName", &["1.2.840.113556.1.4.656"], Syntax::Text),
    row("employeeNumber", &["2.16.840.1.113730.3.1.3", "1.2.840.113556.1.2.610"], Syntax::Text),
    row("employeeType", &["2.16.840.1.113730.3.1.4", "1.2.840.113556.1.2.613"], Syntax::Text),
    row("employeeID", &["1.2.840.113556.1.4.35"], Syntax::Text),
    row("info", &["0.9.2342.19200300.100.1.4", "1.2.840.113556.1.2.81"], Syntax::Text),
    row("wWWHomePage", &["1.2.840.113556.1.2.464"], Syntax::Text),
    row("labeledURI", &["1.3.6.1.4.1.250.1.57"], Syntax::Text),
    row("preferredLanguage", &["2.16.840.1.113730.3.1.39"], Syntax::Text),
    row("businessCategory", &["2.5.4.15"], Syntax::Text),
    row("manager", &["0.9.2342.19200300.100.1.10"], Syntax::Name),
    row("secretary", &["0.9.2342.19200300.100.1.21"], Syntax::Name),
    row("directReports", &["1.2.840.113556.1.2.436"], Syntax::Name),
    row("seeAlso", &["2.5.4.34"], Syntax::Name),
    row("owner", &["2.5.4.32", "managedby", "1.2.840.113556.1.4.653"], Syntax::Name),
    row("member", &["2.5.4.31"], Syntax::Name),
    row("uniqueMember", &["2.5.4.50"], Syntax::Name),
    row("memberOf", &["1.2.840.113556.1.2.102"], Syntax::Name),
    row("roleOccupant", &["2.5.4.33"], Syntax::Name),
    row("entryUUID", &["1.3.6.1.1.16.4", "objectguid", "1.2.840.113556.1.4.2"], Syntax::Uuid),
    row("createTimestamp", &["2.5.18.1", "whencreated", "1.2.840.113556.1.2.2"], Syntax::Time),
    row("modifyTimestamp", &["2.5.18.2", "whenchanged", "1.2.840.113556.1.2.3"], Syntax::Time),
    row("userAccountControl", &["1.2.840.113556.1.4.8"], Syntax::Integer),
    row("groupType", &["1.2.840.113556.1.4.750"], Syntax::Integer),
    row("jpegPhoto", &["0.9.2342.19200300.100.1.60"], Syntax::Octets),
    row("thumbnailPhoto", &["2.16.840.1.113730.3.1.35", "photo"], Syntax::Octets),
    row("userCertificate", &["2.5.4.36"], Syntax::Octets),
    row("userSMIMECertificate", &["2.16.840.1.113730.3.1.40"], Syntax::Octets),
];

/// Never released, whatever an agreement says, with the reason that its author is told. Lower case.
const NEVER: &[(&str, &str)] = &[
    ("userpassword", "it holds a password"),
    ("2.5.4.35", "it holds a password"),
    ("unicodepwd", "it holds a password hash"),
    ("dbcspwd", "it holds a password hash"),
    ("ntpwdhistory", "it holds password hashes"),
    ("lmpwdhistory", "it holds password hashes"),
    ("supplementalcredentials", "it holds password hashes"),
    ("ms-mcs-admpwd", "it holds an administrator's password"),
    ("mslaps-password", "it holds an administrator's password"),
    ("mslaps-encryptedpassword", "it holds an administrator's password"),
    ("mslaps-encryptedpasswordhistory", "it holds an administrator's passwords"),
    ("mslaps-encrypteddsrmpassword", "it holds an administrator's password"),
    ("mslaps-encrypteddsrmpasswordhistory", "it holds an administrator's passwords"),
    ("authpassword", "it holds a password"),
    ("userpkcs12", "it holds private keys"),
    ("msds-managedpassword", "it holds a password"),
    ("msds-keycredentiallink", "it holds key material"),
    ("peklist", "it holds key material"),
    ("ntsecuritydescriptor", "it tells who may do what inside the member"),
    ("tokengroups", "it is built from groups that may be hidden"),
    ("tokengroupsglobalanduniversal", "it is built from groups that may be hidden"),
    ("tokengroupsnogcacceptable", "it is built from groups that may be hidden"),
    ("replpropertymetadata", "it names hidden attributes"),
    ("msds-replattributemetadata", "it names hidden attributes"),
    ("msds-replvaluemetadata", "it shows values of hidden attributes"),
    ("allowedattributes", "it names hidden attributes"),
    ("allowedattributeseffective", "it names hidden attributes"),
    ("canonicalname", "it carries the member's internal names"),
    ("entrydn", "it carries the directory's internal names; every answer has the translated name"),
    ("creatorsname", "it names an account inside the directory"),
    ("modifiersname", "it names an account inside the directory"),
    ("msds-principalname", "it carries the member's internal names"),
    ("legacyexchangedn", "it carries the member's internal names"),
    ("homemdb", "it carries the member's internal names"),
    ("parentguid", "it tells where an entry lies inside the member"),
    ("tokengroupsandmembership", "it is built from groups that may be hidden"),
    ("msds-tokengroupnames", "it is built from groups that may be hidden"),
    ("msds-tokengroupnamesglobalanduniversal", "it is built from groups that may be hidden"),
    ("msds-tokengroupnamesnogcacceptable", "it is built from groups that may be hidden"),
    ("allowedchildclasses", "it tells who may do what inside the member"),
    ("allowedchildclasseseffective", "it tells who may do what inside the member"),
    ("sdrightseffective", "it tells who may do what inside the member"),
    ("distinguishedname", "it carries the member's internal names; every answer has the translated name"),
    ("2.5.4.49", "it stands for every attribute that holds a name"),
    ("name", "it stands for every attribute that is a name"),
    ("2.5.4.41", "it stands for every attribute that is a name"),
    ("objectcategory", "it carries the member's internal names; use objectClass"),
    ("anr", "it stands for several attributes; list them"),
];

/// Attributes that tell another one: whoever sees the first knows of the second, and why. Linked attributes and their back
/// links (MS-ADTS 3.1.1.1.6) tell each other; so do the attributes that directories construct from them.
pub const TELLS: &[(&str, &str, &str)] = &[
    ("member", "memberOf", SAME),
    ("memberOf", "member", SAME),
    ("uniqueMember", "memberOf", SAME),
    ("isMemberOf", "memberOf", SAME),
    ("isMemberOf", "member", SAME),
    ("primaryGroupID", "memberOf", "tells of groups as well"),
    ("primaryGroupToken", "member", "tells of members as well"),
    ("msds-memberOfTransitive", "memberOf", "it is built from"),
    ("msds-memberTransitive", "member", "it is built from"),
    ("manager", "directReports", SAME),
    ("directReports", "manager", SAME),
    // a group that names its owner is not the owner's entry naming its groups, but the other way round it is
    ("managedObjects", "owner", SAME),
];
const SAME: &str = "tells the same";

/// The attribute that `name` spells, without options, whatever its case.
pub fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|k| {
        k.name.eq_ignore_ascii_case(name) || k.others.iter().any(|other| other.eq_ignore_ascii_case(name))
    })
}

/// Why `name` can never be released; `None` when it can.
pub fn never(name: &str) -> Option<&'static str> {
    let canonical = attribute::canonical_name(name);
    NEVER
        .iter()
        .find(|(n, _)| n.eq_ignore_ascii_case(name) || n.eq_ignore_ascii_case(&canonical))
        .map(|(_, why)| *why)
}

/// The syntax of an attribute that is not in [`KNOWN`]: by the table of all attributes, else text.
pub fn syntax(name: &str) -> Syntax {
    match attribute::syntax(name) {
        schema::Syntax::Integer => Syntax::Integer,
        schema::Syntax::Octets => Syntax::Octets,
        schema::Syntax::Dn => Syntax::Name,
        schema::Syntax::Boolean => Syntax::Boolean,
        schema::Syntax::Time => Syntax::Time,
        _ => Syntax::Text,
    }
}

/// The name without an `OID.` prefix (RFC 2251 wrote it so, AD still takes it) and the options after it, split off.
pub fn split(description: &str) -> (&str, Option<&str>) {
    let (name, options) = match description.split_once(';') {
        Some((name, options)) => (name, Some(options)),
        None => (description, None),
    };
    let dotted = name.get(..4).filter(|p| p.eq_ignore_ascii_case("oid.")).and_then(|_| name.get(4..));
    (dotted.unwrap_or(name), options)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_spelling_stands_for_two_attributes() {
        let mut seen = HashSet::new();
        for k in KNOWN {
            assert!(seen.insert(k.name.to_ascii_lowercase()), "{}", k.name);
            for other in k.others {
                assert_eq!(*other, other.to_ascii_lowercase());
                assert!(seen.insert((*other).to_owned()), "{other}");
            }
            assert!(never(k.name).is_none());
        }
    }

    #[test]
    fn spellings_of_one_attribute_meet() {
        for name in ["uid", "UserID", "sAMAccountName", "0.9.2342.19200300.100.1.1", "1.2.840.113556.1.4.221"]
        {
            assert_eq!(known(name).map(|k| k.name), Some("uid"), "{name}");
        }
        assert_eq!(split("OID.2.5.4.3;lang-en;x"), ("2.5.4.3", Some("lang-en;x")));
        assert_eq!(split("cn"), ("cn", None));
    }
}
