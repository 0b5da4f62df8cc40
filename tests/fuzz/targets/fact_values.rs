//! Any values of an attribute, as any type: no panic, and what becomes known is of the declared type.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::baseline::catalogue::decoded_type;
use portcullis::baseline::decode::decode;
use portcullis::baseline::facts::Fact;
use portcullis::policy::documents::{AttributeFact, Decode};
use portcullis::policy::fault::Place;

fuzz_target!(|input: (i64, Vec<Vec<u8>>)| {
    let (seconds, values) = input;
    let at = portcullis::baseline::trial::COLLECTED + time::Duration::seconds(seconds % 3_000_000_000);
    let kinds = [
        Decode::Integer,
        Decode::String,
        Decode::Boolean,
        Decode::Flag(0x2),
        Decode::NoFlag(0x2),
        Decode::Filetime,
        Decode::Age,
        Decode::Interval,
        Decode::GeneralizedTime,
        Decode::Sid,
        Decode::Guid,
        Decode::Dn,
        Decode::Count,
        Decode::Present,
        Decode::Strings,
        Decode::Sids,
        Decode::KeyFingerprints,
        Decode::CertificateFaults,
        Decode::ZoneUpdate,
        Decode::BinaryInterval,
        // unicodePwd
        Decode::ChangeAge(0x9005a),
        Decode::ChangeCount(0x9005a),
        Decode::Character(7),
        Decode::FunctionalLevel,
    ];
    let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
    for kind in kinds {
        let attribute = AttributeFact {
            at: Place::nowhere(),
            from: "x".into(),
            decode: kind,
            default: None,
            mandatory: false,
            title: None,
        };
        if let Fact::Known(value) = decode(&attribute, &values, at) {
            assert!(decoded_type(&attribute.decode).holds(&value));
        }
    }
});
