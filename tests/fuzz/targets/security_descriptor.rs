//! Any bytes: a descriptor is read or refused, and whoever it names is a SID that can be asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::assess::probes::access::right::holdings;
use portcullis::assess::probes::descriptor::{Descriptor, sid_bytes};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(descriptor) = Descriptor::parse(bytes) {
        for holding in holdings(&descriptor) {
            assert!(!holding.rights.is_empty());
            assert!(sid_bytes(&holding.sid).is_some());
        }
    }
});
