//! Any bytes: no panic, and what is accepted has one stable form. Run with `-max_len=65536`, so that deep nesting fits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::ldap::codec;
use portcullis::ldap::limits::Limits;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    let _ = codec::frame(bytes, &limits);
    let _ = codec::peek(bytes);
    if let Ok(message) = codec::decode(bytes, &limits) {
        let once = codec::to_bytes(&message);
        let again = codec::decode(&once, &limits).expect("our own bytes are read again");
        assert!(again == message);
        assert_eq!(codec::to_bytes(&again), once);
    }
});
