//! What an entry of a member directory says of an object.

use std::collections::BTreeSet;

use crate::ldap::dn::Dn;
use crate::ldap::entry::{Attribute, Entry};
use crate::sync::terms::guid::Guid;
use crate::sync::terms::staged::Delta;

/// Constructed: where an object lies. Not told without `name`, in DirSync (MS-ADTS 3.1.1.3.4.1.3).
pub const PARENT: &str = "parentGUID";
/// Where a deleted object lay.
pub const LAST_PARENT: &str = "lastKnownParent";
/// Attributes that say what became of an object and are no part of it, lower case.
const OF_THE_OBJECT: [&str; 6] =
    ["objectguid", "parentguid", "isdeleted", "instancetype", "usnchanged", "lastknownparent"];

/// Attributes of a person that name other objects, lower case (syntax Object(DS-DN), MS-ADTS 3.1.1.2.2.2.1). In any other attribute whoever
/// runs the directory may write what looks like a name with a GUID.
const NAMES_OF_OTHERS: [&str; 15] = [
    "altrecipient",
    "assistant",
    "directreports",
    "distinguishedname",
    "managedby",
    "managedobjects",
    "manager",
    "member",
    "memberof",
    "objectcategory",
    "owner",
    "publicdelegates",
    "roleoccupant",
    "secretary",
    "seealso",
];

/// A part of an attribute's values (MS-ADTS 3.1.1.3.1.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub low: u64,
    /// None: the last part.
    pub high: Option<u64>,
}

/// Takes `member;range=0-1499` apart. Without DirSync's flag for incremental values, which is never set, it means the same everywhere.
pub fn ranged(description: &str) -> Option<(&str, Range)> {
    let (name, range) = description.split_once(";range=")?;
    let (low, high) = range.split_once('-')?;
    let high = if high == "*" { None } else { Some(high.parse().ok()?) };
    Some((name, Range { low: low.parse().ok()?, high }))
}

/// An entry as a delta. An entry without GUID is none of ours.
pub fn delta(entry: Entry) -> Option<Delta> {
    let guid = Guid::from_wire(entry.first("objectGUID")?)?;
    let (_, dn) = extended(&entry.dn);
    // a deleted object that we may not read comes without a name
    let deleted = dn.is_empty()
        || dn.contains("\\0ADEL:")
        || entry.text("isDeleted").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let mut delta = Delta {
        guid: Some(guid),
        parent: entry.first(PARENT).and_then(Guid::from_wire),
        last_parent: entry.text(LAST_PARENT).and_then(|value| extended(value).0),
        rdn: Dn::parse(dn).ok().and_then(|dn| dn.rdn().map(ToString::to_string)),
        deleted: Some(deleted),
        ..Delta::default()
    };
    for attribute in entry.attributes {
        add(&mut delta, attribute);
    }
    Some(delta)
}

/// Adds an attribute to a delta; one of which more is to be had makes it partial.
pub fn add(delta: &mut Delta, attribute: Attribute) {
    let mut name = attribute.description.to_ascii_lowercase();
    if OF_THE_OBJECT.contains(&name.as_str()) {
        return;
    }
    if let Some((plain, range)) = ranged(&name) {
        if range.low > 0 || range.high.is_some() {
            delta.ranged.insert(plain.to_owned());
            return;
        }
        name = plain.to_owned();
    } else if attribute.values.is_empty() && delta.attributes.contains_key(&name) {
        // beside its first part an attribute comes without values
        return;
    }
    let mut references = Vec::new();
    let mut values = Vec::new();
    let names_others = NAMES_OF_OTHERS.contains(&name.as_str());
    for value in attribute.values {
        let Ok(value) = String::from_utf8(value) else { continue };
        if !names_others {
            values.push(value);
            continue;
        }
        let (guid, plain) = extended(&value);
        references.extend(guid);
        values.push(plain.to_owned());
    }
    if !references.is_empty() {
        delta.references.insert(name.clone(), references);
    }
    delta.attributes.insert(name, values);
}

/// Makes a delta of an object that was read whole: what was asked for and did not come is not there.
pub fn whole(delta: &mut Delta, asked: &[String]) {
    let ranged: &BTreeSet<String> = &delta.ranged;
    for name in asked.iter().filter(|name| !OF_THE_OBJECT.contains(&name.as_str()) && !ranged.contains(*name))
    {
        delta.attributes.entry(name.clone()).or_default();
    }
}

/// Takes `<GUID=...>;<SID=...>;CN=...` apart.
pub fn extended(value: &str) -> (Option<Guid>, &str) {
    let Some(rest) = value.strip_prefix("<GUID=") else { return (None, value) };
    let guid = rest.split_once('>').and_then(|(guid, _)| guid.parse().ok());
    let mut plain = value;
    while let Some((_, rest)) = plain.strip_prefix('<').and_then(|part| part.split_once('>')) {
        plain = rest.strip_prefix(';').unwrap_or(rest);
    }
    (guid, plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(dn: &str, attributes: &[(&str, &[&str])]) -> Entry {
        let mut all = vec![Attribute { description: "objectGUID".into(), values: vec![vec![7; 16]] }];
        all.extend(attributes.iter().map(|(name, values)| Attribute {
            description: (*name).to_owned(),
            values: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
        }));
        Entry { dn: dn.to_owned(), attributes: all }
    }

    #[test]
    fn names_with_guids_are_taken_apart() {
        let (guid, plain) =
            extended("<GUID=4db40800-7fc2-47a1-b529-829b96a124c2>;<SID=S-1-5-21-1>;CN=A <b>,OU=Staff");
        assert_eq!(guid.map(|g| g.to_string()).as_deref(), Some("4db40800-7fc2-47a1-b529-829b96a124c2"));
        assert_eq!(plain, "CN=A <b>,OU=Staff");
        assert_eq!(extended("CN=A"), (None, "CN=A"));
    }

    #[test]
    fn only_what_names_others_is_taken_apart() {
        let text = "<GUID=4db40800-7fc2-47a1-b529-829b96a124c2>;hello";
        let both = delta(entry("CN=A", &[("title", &[text]), ("manager", &[text])])).unwrap();
        assert_eq!(
            (&both.attributes["title"][..], &both.attributes["manager"][..]),
            (&[text.to_owned()][..], &["hello".to_owned()][..])
        );
        assert_eq!(both.references.keys().collect::<Vec<_>>(), ["manager"]);
    }

    #[test]
    fn a_deleted_object_shows_itself_in_three_ways() {
        let is = |entry| delta(entry).unwrap().deleted;
        assert_eq!(is(entry("CN=A,OU=Staff", &[])), Some(false));
        assert_eq!(is(entry("", &[])), Some(true), "one that we may not read has no name");
        assert_eq!(
            is(entry("CN=A\\0ADEL:4db40800-7fc2-47a1-b529-829b96a124c2,CN=Deleted Objects", &[])),
            Some(true)
        );
        assert_eq!(is(entry("CN=A,OU=Staff", &[("isDeleted", &["TRUE"])])), Some(true));
        assert_eq!(is(entry("CN=A,OU=Staff", &[("isDeleted", &[])])), Some(false), "restored");
        assert_eq!(delta(Entry { dn: "CN=A".into(), attributes: Vec::new() }), None);
    }

    #[test]
    fn a_part_of_the_values_is_not_the_values() {
        let first = delta(entry("CN=A", &[("mail", &[]), ("mail;range=0-1", &["a", "b"])])).unwrap();
        assert_eq!(first.ranged, BTreeSet::from(["mail".to_owned()]));
        let all = delta(entry("CN=A", &[("mail;range=0-*", &["a", "b"]), ("mail", &[])])).unwrap();
        assert!(all.ranged.is_empty());
        assert_eq!(all.attributes["mail"], ["a", "b"]);
        assert_eq!(ranged("member;range=1500-*"), Some(("member", Range { low: 1500, high: None })));
        assert_eq!(ranged("member;range=x-*"), None);
        assert_eq!(ranged("userCertificate;binary"), None);
    }

    #[test]
    fn what_a_whole_object_does_not_have_was_removed() {
        let mut read =
            delta(entry("CN=A", &[("title", &["Nurse"]), ("mail;range=0-1", &["a", "b"])])).unwrap();
        let asked = ["title", "mail", "mobile", "objectguid"].map(str::to_owned);
        whole(&mut read, &asked);
        assert_eq!(read.attributes["mobile"], [] as [&str; 0]);
        assert_eq!(read.attributes["title"], ["Nurse"]);
        assert!(!read.attributes.contains_key("mail") && !read.attributes.contains_key("objectguid"));
    }
}
