//! Any bytes: a revocation list is read or refused. The first two give the length of the list; what follows it is a certificate.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::assess::probes::revocation::chain::places;
use portcullis::assess::probes::revocation::list::RevocationList;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
    let (list, certificate) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        let _ = RevocationList::read(list);
        return;
    };
    let named = places(&certificate).unwrap_or_default().named;
    if let Ok(list) = RevocationList::read(list) {
        let _ = list.is_signed_by(certificate.public_key());
        let _ = list.covers(&certificate, &named);
        let _ = list.revokes(&certificate);
    }
});
