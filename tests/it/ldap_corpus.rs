//! Malformed messages, one to a file named for what is broken: every one is refused, by the builder and by the walker.
//! Files named `accepted_` hold what real directories and clients send, and must be read.

use std::path::Path;

use portcullis::ldap::codec;
use portcullis::ldap::entry::EntryReader;
use portcullis::ldap::limits::Limits;

#[test]
fn every_malformed_message_is_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/ldap");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let _ = codec::frame(&bytes, &Limits::default());
        let read = codec::decode(&bytes, &Limits::default());
        // Neighbours of the malformed ones: they show that each is refused for what its name says.
        if path.file_name().unwrap().to_str().unwrap().starts_with("accepted_") {
            let message = read.unwrap_or_else(|fault| panic!("refused: {}: {fault}", path.display()));
            assert!(codec::decode(&codec::to_bytes(&message), &Limits::default()).unwrap() == message);
            continue;
        }
        println!("{:60} {:?}", path.file_stem().unwrap().display(), read.as_ref().err());
        assert!(read.is_err(), "accepted: {}", path.display());
        if let Ok(reader) = EntryReader::read(&bytes, &Limits::default()) {
            assert!(reader.to_entry().is_err(), "walked: {}", path.display());
        }
        count += 1;
    }
    assert!(count > 80, "the corpus is gone: {count} files");
}

#[test]
fn nesting_of_any_depth_costs_no_stack() {
    for depth in [33, 10_000, 1_000_000] {
        let mut filter = vec![0x87, 2, b'c', b'n'];
        // From the inside out; written backwards so that a million levels take a moment only.
        filter.reverse();
        for _ in 0..depth {
            let length = u32::try_from(filter.len()).unwrap().to_be_bytes();
            filter.extend(length.iter().rev());
            filter.extend([0x84, 0xa2]);
        }
        filter.reverse();
        let read = std::thread::Builder::new().stack_size(128 << 10).spawn(move || {
            let limits = Limits { depth: 32, ..Limits::from_directory() };
            portcullis::ldap::typed_control::read_assertion(&filter, &limits).is_err()
        });
        assert!(read.unwrap().join().unwrap());
    }
}

#[test]
fn a_claimed_length_reserves_nothing() {
    use portcullis::ldap::error::FrameError;
    let limits = Limits::before_bind();
    let claim = [0x30, 0x84, 0x7f, 0xff, 0xff, 0xff];
    assert_eq!(
        codec::frame(&claim, &limits),
        Err(FrameError::TooLong { claimed: 0x7fff_ffff, limit: limits.message_bytes })
    );
}
