use proptest::prelude::*;

use super::*;
use crate::ldap::codec;
use crate::ldap::entry::{Attribute, Entry};
use crate::ldap::limits::Limits;
use crate::ldap::message::{Message, Operation};

fn projection() -> Projection {
    let mapping = Mapping::active_directory("ou=RXA,o=federation", "DC=rxa,DC=test").unwrap();
    Projection::new(
        &mapping,
        ["objectClass", "cn", "uid", "mail", "manager", "entryUUID", "description", "userCertificate"],
    )
}

fn local(dn: &str, attributes: &[(&str, &[&[u8]])]) -> Entry {
    let attributes = attributes.iter().map(|(name, values)| Attribute {
        description: (*name).to_owned(),
        values: values.iter().map(|v| v.to_vec()).collect(),
    });
    Entry { dn: dn.to_owned(), attributes: attributes.collect() }
}

fn message(entry: &Entry) -> Vec<u8> {
    codec::to_bytes(&Message::new(99, Operation::SearchEntry(entry.as_wire())))
}

fn through(bytes: &[u8], selection: &Selection) -> Result<(Option<Entry>, Written), EntryError> {
    let limits = Limits::default();
    let (mut scratch, mut out) = (Scratch::default(), b"before".to_vec());
    let reader = EntryReader::read(bytes, &limits)?;
    let written = projection().entry_to_federated(&reader, 300, selection, &mut scratch, &mut out);
    assert!(out.starts_with(b"before"));
    let out = out.split_off(6);
    assert!(written.is_ok() || out.is_empty(), "something of a refused entry was written");
    let written = written?;
    if out.is_empty() {
        return Ok((None, written));
    }
    let back = EntryReader::read(&out, &limits).unwrap();
    assert_eq!(back.id, 300);
    let entry = back.to_entry().unwrap();
    // what was written is what our encoder writes: every length the shortest
    assert_eq!(codec::to_bytes(&Message::new(300, Operation::SearchEntry(entry.as_wire()))), out);
    Ok((Some(entry), written))
}

#[test]
fn an_entry_is_renamed_translated_and_stripped() {
    let guid: &[u8] =
        &[0x40, 0xfc, 0x29, 0x6b, 0x47, 0xca, 0x67, 0x10, 0xb3, 0x1d, 0, 0xdd, 1, 6, 0x62, 0xda];
    let entry = local(
        "CN=Jo,OU=Staff,DC=rxa,DC=test",
        &[
            ("objectClass", &[b"top", b"person", b"user"]),
            ("cn", &[b"Jo"]),
            ("mail", &[b"jo@rxa.test", b"j@rxa.test"]),
            ("employeeNumber", &[b"7"]),
            ("SAMACCOUNTNAME", &[b"jo"]),
            ("objectGUID", &[guid]),
            ("manager", &[b"CN=X,DC=other"]),
            ("description", &[b"fine", b"in OU=x,dc=RXA, dc=test"]),
            ("cn;lang-fr", &[b"Jo"]),
            ("userCertificate;binary", &[&[0, 255]]),
        ],
    );
    let (written, counts) = through(&message(&entry), &projection().all(false)).unwrap();
    let expected = local(
        "CN=Jo,OU=Staff,ou=RXA,o=federation",
        &[
            ("objectClass", &[b"top", b"person", b"inetOrgPerson"]),
            ("cn", &[b"Jo"]),
            ("mail", &[b"jo@rxa.test", b"j@rxa.test"]),
            ("uid", &[b"jo"]),
            ("entryUUID", &[b"6b29fc40-ca47-1067-b31d-00dd010662da"]),
            ("description", &[b"fine"]),
            ("cn;lang-fr", &[b"Jo"]),
            ("userCertificate;binary", &[&[0, 255]]),
        ],
    );
    assert_eq!(written, Some(expected));
    assert_eq!(counts, Written { withheld: 2, ranged: false, mount_point: false });
}

#[test]
fn selections() {
    let p = projection();
    let entry = message(&local(
        "CN=Jo,DC=rxa,DC=test",
        &[("cn", &[b"Jo"]), ("mail", &[b"m"]), ("manager", &[b"CN=X,DC=other"])],
    ));
    let names = |selection: &Selection| -> Vec<String> {
        through(&entry, selection)
            .unwrap()
            .0
            .unwrap()
            .attributes
            .into_iter()
            .map(|a| format!("{}={}", a.description, a.values.len()))
            .collect()
    };
    assert_eq!(names(&p.all(false)), ["cn=1", "mail=1"]);
    assert_eq!(names(&p.all(true)), ["cn=0", "mail=0"]);
    assert_eq!(names(&p.only(["MAIL", "manager"], false)), ["mail=1"]);
    assert!(names(&p.only([], false)).is_empty());
    assert_eq!(p.attributes_to_local(&p.only([], false), []), ["1.1"]);
    assert_eq!(
        p.attributes_to_local(&p.only(["uid"], true), ["manager", "uid", "hidden"]),
        ["sAMAccountName", "manager"]
    );
    assert!(p.attributes_to_local(&p.all(false), []).contains(&"objectGUID"));
}

#[test]
fn reserved_entries_do_not_have_their_contact_details() {
    let reserving = projection().reserving("employeeType", &["no-contact".to_owned()], &["Mail".to_owned()]);
    let shown = |level: &[(&str, &[&[u8]])], selection: &Selection| -> Vec<String> {
        let attributes: &[(&str, &[&[u8]])] = &[("cn", &[b"Jo"]), ("mail", &[b"jo@rxa.test"])];
        let bytes = message(&local("CN=Jo,DC=rxa,DC=test", &[attributes, level].concat()));
        let (limits, mut out) = (Limits::default(), Vec::new());
        let reader = EntryReader::read(&bytes, &limits).unwrap();
        reserving.entry_to_federated(&reader, 1, selection, &mut Scratch::default(), &mut out).unwrap();
        let entry = EntryReader::read(&out, &limits).unwrap().to_entry().unwrap();
        entry.attributes.into_iter().map(|a| a.description).collect()
    };
    let all = reserving.all(false);
    assert_eq!(shown(&[], &all), ["cn", "mail"]);
    assert_eq!(shown(&[("employeeType", &[b"staff"])], &all), ["cn", "mail"]);
    for level in ["no-contact", "NO-Contact", " no-contact ", "no-con\u{ad}tact"] {
        assert_eq!(shown(&[("EmployeeType", &[b"x", level.as_bytes()])], &all), ["cn"], "{level}");
    }
    assert_eq!(shown(&[("2.16.840.1.113730.3.1.4;x-a", &[b"no-contact"])], &all), ["cn"]);
    let none = reserving.only([], false);
    assert_eq!(
        reserving.attributes_to_local(&none, []),
        ["employeeType"],
        "it is asked for, and never shown"
    );
    assert!(shown(&[("employeeType", &[b"no-contact"])], &reserving.only(["mail"], false)).is_empty());
}

#[test]
fn what_does_not_check_is_refused_as_a_whole() {
    let all = projection().all(false);
    let refused = |dn: &str, attributes: &[(&str, &[&[u8]])]| {
        through(&message(&local(dn, attributes)), &all).unwrap_err()
    };
    assert_eq!(refused("CN=Jo,DC=rxb,DC=test", &[]), EntryError::Outside);
    assert_eq!(refused("nonsense", &[]), EntryError::Name);
    let at = "CN=Jo,DC=rxa,DC=test";
    assert!(matches!(refused(at, &[("cn", &[b"x"]), ("objectGUID", &[b"short"])]), EntryError::Value(_)));
    assert!(matches!(refused(at, &[("cn", &[b"x"]), ("manager", &[b"nonsense"])]), EntryError::Value(_)));
}

#[test]
fn ranges_and_the_mount_point() {
    let all = projection().all(false);
    let (_, written) =
        through(&message(&local("CN=Jo,DC=rxa,DC=test", &[("manager;range=0-1499", &[b"x"])])), &all)
            .unwrap();
    assert!(written.ranged);
    let (nothing, written) = through(&message(&local("dc=RXA,dc=test", &[("cn", &[b"x"])])), &all).unwrap();
    assert!(nothing.is_none() && written.mount_point);
}

#[test]
fn lengths_that_are_not_the_shortest_come_out_shortest() {
    // 84 forms everywhere, as Active Directory writes
    let value = [&[4, 0x84, 0, 0, 0, 2][..], b"Jo"].concat();
    let set = [&[0x31, 0x84, 0, 0, 0, value.len() as u8][..], &value].concat();
    let attribute = [&[4, 2][..], b"cn", &set].concat();
    let attribute = [&[0x30, 0x84, 0, 0, 0, attribute.len() as u8][..], &attribute].concat();
    let dn = b"CN=Jo,DC=rxa,DC=test";
    let body =
        [&[4, dn.len() as u8][..], dn, &[0x30, 0x84, 0, 0, 0, attribute.len() as u8], &attribute].concat();
    let entry = [&[0x64, 0x84, 0, 0, 0, body.len() as u8][..], &body].concat();
    let bytes = [&[0x30, 0x84, 0, 0, 0, entry.len() as u8 + 3, 2, 1, 9][..], &entry].concat();
    let (entry, _) = through(&bytes, &projection().all(false)).unwrap();
    assert_eq!(entry.unwrap().values("cn").next(), Some(&b"Jo"[..]));
}

proptest! {
    #[test]
    fn broken_bytes_never_write_and_never_panic(at in 0usize..200, byte: u8, cut in 0usize..300) {
        let entry = local("CN=Jo,OU=Staff,DC=rxa,DC=test", &[
            ("cn", &[b"Jo"]), ("sAMAccountName", &[b"jo"]), ("manager", &[b"CN=A,DC=rxa,DC=test", b"CN=B,DC=x"]), ("title", &[b"t"]),
        ]);
        let mut bytes = message(&entry);
        if let Some(b) = bytes.get_mut(at) { *b = byte; }
        bytes.truncate(cut);
        if let Ok((Some(entry), _)) = through(&bytes, &projection().all(false)) {
            prop_assert!(entry.dn.ends_with("ou=RXA,o=federation"));
            prop_assert!(!entry.has("title") && !entry.has("sAMAccountName"));
        }
    }
}
