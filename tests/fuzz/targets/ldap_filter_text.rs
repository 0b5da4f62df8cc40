//! Any text: no panic, and what is accepted prints to a text that means the same, and survives the wire.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::ldap::filter::Filter;
use portcullis::ldap::limits::Limits;
use portcullis::ldap::typed_control;

fuzz_target!(|text: &str| {
    if let Ok(filter) = Filter::parse(text) {
        assert_eq!(Filter::parse(&filter.to_string()).as_ref(), Ok(&filter));
        let control = typed_control::assertion(&filter, true);
        let value = control.value.expect("the control has a value");
        let limits = Limits { filter_items: usize::MAX, name_bytes: usize::MAX, ..Limits::default() };
        assert_eq!(typed_control::read_assertion(&value, &limits).as_ref(), Ok(&filter));
    }
});
