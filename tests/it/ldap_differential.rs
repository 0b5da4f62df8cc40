//! Our codec against `rasn-ldap`, an independent one made from the RFC's schema.
//!
//! Known laxities and habits of the other one, allowed for here: it sorts the members of And, Or and value sets when it
//! writes, refuses result codes and scopes that it does not know, takes indefinite lengths, and ignores bytes at the end.

use portcullis::ldap::codec;
use portcullis::ldap::entry::WireAttribute;
use portcullis::ldap::filter::Filter;
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{Authentication, Message, Operation, Scope};
use proptest::prelude::*;
use rasn_ldap::LdapMessage;

use crate::ldap_strategies::{message, mutate, mutations};

fn sort_filter(filter: &mut Filter<'_>) {
    match filter {
        Filter::And(set) | Filter::Or(set) => {
            set.iter_mut().for_each(sort_filter);
            set.sort_by_cached_key(Filter::to_string);
        }
        Filter::Not(inner) => sort_filter(inner),
        _ => {}
    }
}

fn sort_values(attribute: &mut WireAttribute<'_>) {
    attribute.values.sort();
}

/// What does not depend on the order in sets.
fn sorted(mut message: Message<'_>) -> Message<'_> {
    match &mut message.operation {
        Operation::SearchRequest(search) => sort_filter(&mut search.filter),
        Operation::SearchEntry(entry) | Operation::AddRequest(entry) => {
            entry.attributes.iter_mut().for_each(sort_values);
        }
        Operation::ModifyRequest(modify) => {
            modify.changes.iter_mut().for_each(|change| sort_values(&mut change.attribute));
        }
        _ => {}
    }
    message
}

/// The other one cannot know these.
fn beyond_the_other(message: &Message<'_>) -> bool {
    match &message.operation {
        Operation::SearchRequest(search) => search.scope == Scope::Children,
        Operation::BindRequest(bind) => matches!(bind.authentication, Authentication::Other { .. }),
        Operation::BindResponse(answer) => answer.outcome.code.name() == "unknown",
        Operation::ExtendedResponse(answer) => answer.outcome.code.name() == "unknown",
        Operation::SearchDone(outcome)
        | Operation::ModifyResponse(outcome)
        | Operation::AddResponse(outcome)
        | Operation::DeleteResponse(outcome)
        | Operation::ModifyDnResponse(outcome)
        | Operation::CompareResponse(outcome) => outcome.code.0 > 80 || outcome.code.name() == "unknown",
        Operation::ModifyRequest(modify) => modify.changes.iter().any(|change| change.kind.number() == 3),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_other_reads_what_we_write(message in message()) {
        let bytes = codec::to_bytes(&message);
        let other: LdapMessage = rasn::ber::decode(&bytes).unwrap();
        let again = rasn::ber::encode(&other).unwrap();
        let read = codec::decode(&again, &Limits::default());
        prop_assert!(read.is_ok(), "{:?}", read);
        let (read, message) = (sorted(read.unwrap()), sorted(message));
        prop_assert!(read == message, "{:?}\n{:?}", read, message);
    }

    #[test]
    fn what_we_accept_the_other_accepts(message in message(), mutations in mutations()) {
        let mut bytes = codec::to_bytes(&message);
        mutate(&mut bytes, &mutations);
        if let Ok(read) = codec::decode(&bytes, &Limits::default()) && !beyond_the_other(&read) {
            let other = rasn::ber::decode::<LdapMessage>(&bytes);
            prop_assert!(other.is_ok(), "{:?} but {:?}", read, other);
        }
    }
}
