//! Any text: no panic, and what is accepted prints to a text that means the same and prints alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::ldap::dn::Dn;

fuzz_target!(|text: &str| {
    if let Ok(dn) = Dn::parse(text) {
        let printed = dn.to_string();
        let again = Dn::parse(&printed).expect("our own text is read again");
        assert_eq!(again, dn);
        assert_eq!(again.to_string(), printed);
        assert!(dn.is_at_or_below(&Dn::ROOT));
    }
});
