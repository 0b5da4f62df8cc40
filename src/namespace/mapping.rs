//! One mounted tree: its two suffixes, and the names that attributes have on either side.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::ldap::attribute;
use crate::ldap::compound::Compound;
use crate::ldap::schema::Syntax;
use crate::namespace::error::MappingError;
use crate::namespace::names::{self, Suffix};
use crate::namespace::values::Translation;

/// An attribute on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// As answers write it.
    pub federated: String,
    /// As the directory behind is asked for it.
    pub local: String,
    pub translation: Translation,
}

/// How one directory is mounted into the federated tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    pub(in crate::namespace) federated: Suffix,
    pub(in crate::namespace) local: Suffix,
    /// By lower-case federated name.
    pairs: HashMap<String, Pair>,
    /// Classes are translated; false where the directory has the standard ones itself.
    pub(in crate::namespace) active_directory: bool,
}

/// Federated name, name in Active Directory.
const RENAMED: &[(&str, &str)] = &[
    ("uid", "sAMAccountName"),
    ("o", "company"),
    ("ou", "department"),
    ("street", "streetAddress"),
    ("owner", "managedBy"),
    ("createTimestamp", "whenCreated"),
    ("modifyTimestamp", "whenChanged"),
];

/// Text attributes that are short and structured enough never to hold an internal distinguished name.
const PLAIN: &[&str] = &[
    "cn",
    "sn",
    "givenName",
    "displayName",
    "initials",
    "title",
    "personalTitle",
    "o",
    "ou",
    "departmentNumber",
    "l",
    "st",
    "street",
    "postalCode",
    "postOfficeBox",
    "c",
    "co",
    "physicalDeliveryOfficeName",
    "roomNumber",
    "mail",
    "proxyAddresses",
    "telephoneNumber",
    "mobile",
    "facsimileTelephoneNumber",
    "pager",
    "homePhone",
    "ipPhone",
    "uid",
    "userPrincipalName",
    "employeeNumber",
    "employeeType",
    "employeeID",
    "preferredLanguage",
    "createTimestamp",
    "modifyTimestamp",
    "userAccountControl",
    "groupType",
    "jpegPhoto",
    "thumbnailPhoto",
    "userCertificate",
    "userSMIMECertificate",
];

impl Mapping {
    /// A member's Active Directory: `local_suffix` (`DC=rxa,DC=test`) seen as `federated_suffix`
    /// (`ou=RXA,o=federation`).
    ///
    /// # Errors
    ///
    /// When a suffix is no distinguished name.
    pub fn active_directory(federated_suffix: &str, local_suffix: &str) -> Result<Mapping, MappingError> {
        let mut mapping = Mapping::standard(federated_suffix, local_suffix)?;
        mapping.active_directory = true;
        for (federated, local) in RENAMED {
            let translation = mapping.pair(federated).translation;
            mapping = mapping.with(federated, local, translation);
        }
        Ok(mapping.with("entryUUID", "objectGUID", Translation::Guid).with(
            "objectClass",
            "objectClass",
            Translation::Class,
        ))
    }

    /// A standards directory: only the suffix differs.
    ///
    /// # Errors
    ///
    /// When a suffix is no distinguished name.
    pub fn standard(federated_suffix: &str, local_suffix: &str) -> Result<Mapping, MappingError> {
        let mut pairs = HashMap::new();
        for name in PLAIN.iter().chain(&["entryUUID", "objectClass"]) {
            let (federated, local) = ((*name).to_owned(), (*name).to_owned());
            pairs
                .insert(name.to_ascii_lowercase(), Pair { federated, local, translation: Translation::Copy });
        }
        Ok(Mapping {
            federated: Suffix::parse(federated_suffix)?,
            local: Suffix::parse(local_suffix)?,
            pairs,
            active_directory: false,
        })
    }

    /// With another attribute, or another name for one.
    #[must_use]
    pub fn with(mut self, federated: &str, local: &str, translation: Translation) -> Mapping {
        let pair = Pair { federated: federated.to_owned(), local: local.to_owned(), translation };
        self.pairs.insert(federated.to_ascii_lowercase(), pair);
        self
    }

    /// The attribute on both sides. One that is not in the table keeps its name; what becomes of its values follows
    /// from its syntax, and text is screened for internal names.
    pub fn pair(&self, federated: &str) -> Cow<'_, Pair> {
        let key = if federated.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(federated.to_ascii_lowercase())
        } else {
            Cow::Borrowed(federated)
        };
        if let Some(pair) = self.pairs.get(key.as_ref()) {
            return Cow::Borrowed(pair);
        }
        let translation = match attribute::syntax(federated) {
            Syntax::Dn => Translation::Name,
            Syntax::Integer | Syntax::Boolean | Syntax::Time => Translation::Copy,
            _ => Translation::Screen,
        };
        Cow::Owned(Pair { federated: federated.to_owned(), local: federated.to_owned(), translation })
    }

    /// Whether the directory behind is an Active Directory.
    pub fn is_active_directory(&self) -> bool {
        self.active_directory
    }

    /// The suffix that requesters see.
    pub fn federated_suffix(&self) -> &str {
        &self.federated.text
    }

    /// The suffix behind; never to be shown.
    pub fn local_suffix(&self) -> &str {
        &self.local.text
    }

    /// A federated name as the directory behind knows it; `None` when it is no name or lies outside this mount.
    pub fn dn_to_local(&self, name: &str) -> Option<String> {
        joined(name, &self.federated, &self.local)
    }

    /// A federated name, alone or with something beside it, as the directory behind knows it; `None` like
    /// [`Mapping::dn_to_local`].
    pub fn name_to_local(&self, value: &str) -> Option<String> {
        let value = Compound::split(value);
        let clean = value.is_plain() || !names::mentions(value.head.as_bytes(), &self.local.text);
        self.dn_to_local(value.dn).filter(|_| clean).map(|dn| format!("{}{dn}{}", value.head, value.tail))
    }

    /// A local name as requesters see it; `None` when it is no name or lies outside the mounted suffix.
    pub fn dn_to_federated(&self, name: &str) -> Option<String> {
        joined(name, &self.local, &self.federated)
    }
}

fn joined(name: &str, from: &Suffix, to: &Suffix) -> Option<String> {
    let (prefix, suffix) = names::carry(name, from, to).ok().flatten()?;
    Some(format!("{prefix}{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_there_and_back() {
        let mapping = Mapping::active_directory("ou=RXA,o=federation", "DC=rxa,DC=test").unwrap();
        let local = mapping.dn_to_local("cn=Jo,OU=Staff,ou=rxa, o=Federation").unwrap();
        assert_eq!(local, "cn=Jo,OU=Staff,DC=rxa,DC=test");
        assert_eq!(mapping.dn_to_federated(&local).unwrap(), "cn=Jo,OU=Staff,ou=RXA,o=federation");
        assert_eq!(mapping.dn_to_local("cn=Jo,ou=RXB,o=federation"), None);
        assert_eq!(mapping.dn_to_local("<GUID=1>"), None);
    }

    #[test]
    fn attributes_on_both_sides() {
        let ad = Mapping::active_directory("ou=RXA,o=federation", "DC=rxa,DC=test").unwrap();
        assert_eq!(ad.pair("UID").local, "sAMAccountName");
        assert_eq!(ad.pair("owner").translation, Translation::Name);
        assert_eq!(ad.pair("manager").translation, Translation::Name);
        assert_eq!(ad.pair("description").translation, Translation::Screen);
        assert_eq!(ad.pair("entryUUID").local, "objectGUID");
        let national = Mapping::standard("ou=national,o=federation", "dc=national,dc=test").unwrap();
        assert_eq!(national.pair("uid").local, "uid");
        assert_eq!(national.pair("member").translation, Translation::Name);
    }

    #[test]
    fn bad_suffixes() {
        assert!(Mapping::standard("ou=x", "nonsense").is_err());
        assert_eq!(Mapping::standard("ou=x", "").err(), Some(MappingError::EmptySuffix));
    }
}
