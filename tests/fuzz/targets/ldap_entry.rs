//! Any bytes: the walker and the builder agree on which entries are well formed, and on what they hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::ldap::codec;
use portcullis::ldap::entry::EntryReader;
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::Operation;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::from_directory();
    let walked = EntryReader::read(bytes, &limits).and_then(|reader| reader.to_entry());
    match codec::decode(bytes, &limits).map(|message| message.operation) {
        Ok(Operation::SearchEntry(built)) => assert_eq!(walked, Ok(built.to_entry())),
        _ => assert!(walked.is_err()),
    }
});
