//! Any bytes as a policy bundle: no panic, and what is read is written, and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::policy::bundle::{Bundle, decode_signatures, encode_signatures};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(bundle) = Bundle::decode(bytes)
        && let Ok(written) = bundle.encode()
    {
        assert_eq!(Bundle::decode(&written).as_ref(), Ok(&bundle));
    }
    if let Ok(signatures) = decode_signatures(bytes) {
        let written = encode_signatures(&signatures).expect("what was read can be written");
        assert_eq!(decode_signatures(&written), Ok(signatures));
    }
});
