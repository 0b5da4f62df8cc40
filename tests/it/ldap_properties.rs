//! What must hold of every LDAP value and of all bytes: round trips, one canonical form, no panic.

use portcullis::ldap::dn::Dn;
use portcullis::ldap::entry::EntryReader;
use portcullis::ldap::filter::Filter;
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{Message, Operation};
use portcullis::ldap::truth::{self, Truth};
use portcullis::ldap::{ber, codec};
use proptest::prelude::*;

use crate::ldap_strategies::{entry, filter, message, mutate, mutations};

/// The same message with every length written in four bytes, as Active Directory does.
fn widen(bytes: &[u8], out: &mut Vec<u8>) {
    let mut reader = ber::Reader::new(bytes);
    while let Ok(element) = reader.element() {
        let mut contents = Vec::new();
        if element.tag & 0x20 != 0 {
            widen(element.contents, &mut contents);
        } else {
            contents.extend_from_slice(element.contents);
        }
        out.extend_from_slice(&[element.tag, 0x84]);
        out.extend_from_slice(&u32::try_from(contents.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&contents);
    }
}

/// Accepted bytes come down to one form, and that form to itself.
fn canonical_is_stable(bytes: &[u8]) {
    let Ok(read) = codec::decode(bytes, &Limits::default()) else { return };
    let once = codec::to_bytes(&read);
    let again = codec::decode(&once, &Limits::default()).unwrap();
    assert!(again == read);
    assert_eq!(codec::to_bytes(&again), once);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_come_back(message in message()) {
        let bytes = codec::to_bytes(&message);
        prop_assert_eq!(codec::frame(&bytes, &Limits::default()), Ok(Some(bytes.len())));
        let read = codec::decode(&bytes, &Limits::default());
        prop_assert!(read.as_ref() == Ok(&message), "{:?}", read);
        let mut wide = Vec::new();
        widen(&bytes, &mut wide);
        let read = codec::decode(&wide, &Limits::default()).unwrap();
        prop_assert_eq!(codec::to_bytes(&read), bytes);
    }

    #[test]
    fn every_cut_waits_or_fails(message in message()) {
        let bytes = codec::to_bytes(&message);
        for length in 0..bytes.len() {
            prop_assert_eq!(codec::frame(&bytes[..length], &Limits::default()), Ok(None));
            prop_assert!(codec::decode(&bytes[..length], &Limits::default()).is_err());
        }
    }

    #[test]
    fn mutated_messages_never_panic(message in message(), mutations in mutations()) {
        let mut bytes = codec::to_bytes(&message);
        mutate(&mut bytes, &mutations);
        let _ = codec::frame(&bytes, &Limits::default());
        let _ = codec::peek(&bytes);
        canonical_is_stable(&bytes);
        if let Ok(reader) = EntryReader::read(&bytes, &Limits::default()) {
            let whole = codec::decode(&bytes, &Limits::default());
            // The reader that walks and the reader that builds agree on what is well formed.
            prop_assert_eq!(reader.to_entry().is_ok(), whole.is_ok());
        }
    }

    #[test]
    fn filters_come_back_as_text(filter in filter()) {
        let text = filter.to_string();
        let read = Filter::parse(&text);
        prop_assert!(read.as_ref() == Ok(&filter), "{} {:?}", text, read);
    }

    #[test]
    fn texts_never_panic(text in "\\PC{0,40}", syntax in "[(&|!:=*\\\\a-f0-9,+#;<> )~]{0,40}") {
        for text in [text, syntax] {
            if let Ok(filter) = Filter::parse(&text) {
                prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
            }
            if let Ok(dn) = Dn::parse(&text) {
                let printed = dn.to_string();
                let again = Dn::parse(&printed);
                prop_assert!(again.as_ref() == Ok(&dn), "{} then {}", text, printed);
                prop_assert_eq!(again.unwrap().to_string(), printed);
            }
        }
    }

    #[test]
    fn values_of_names_come_back(value in "\\PC{1,20}", other in "\\PC{1,20}") {
        let parent = Dn::parse("dc=x").unwrap();
        let (dn, second) = (parent.child("cn", &value).unwrap(), parent.child("cn", &other).unwrap());
        let again = Dn::parse(&dn.to_string()).unwrap();
        prop_assert_eq!(again.rdn().unwrap().text(), Some(value.as_str()));
        prop_assert_eq!(again.depth(), 2);
        prop_assert_eq!(dn == second, dn.normal() == second.normal());
    }

    #[test]
    fn entries_are_walked_as_they_are(entry in entry(0), wide in any::<bool>()) {
        let mut bytes = codec::to_bytes(&Message::new(7, Operation::SearchEntry(entry.clone())));
        if wide {
            let short = std::mem::take(&mut bytes);
            widen(&short, &mut bytes);
        }
        let reader = EntryReader::read(&bytes, &Limits::default()).unwrap();
        prop_assert_eq!(reader.to_entry().unwrap(), entry.to_entry());
        let mut end = 0;
        for attribute in reader.attributes() {
            let attribute = attribute.unwrap();
            prop_assert_eq!(attribute.range.start, end);
            end = attribute.range.end;
            prop_assert_eq!(attribute.canonical, !wide);
            prop_assert_eq!(attribute.count, attribute.values().count());
            if attribute.canonical {
                prop_assert_eq!(
                    attribute.size_as(attribute.name.len(), attribute.values_size),
                    attribute.range.len()
                );
            }
        }
        prop_assert_eq!(end, reader.list().len());
    }

    #[test]
    fn double_negation_changes_nothing(filter in filter(), entry in entry(0)) {
        let entry = entry.to_entry();
        let plain = truth::evaluate(&filter, &entry);
        let negated = truth::evaluate(&filter.clone().negate(), &entry);
        prop_assert_eq!(negated, !plain);
        prop_assert_eq!(plain == Truth::Undefined, negated == Truth::Undefined);
        prop_assert_eq!(truth::evaluate(&filter.negate().negate(), &entry), plain);
    }
}
