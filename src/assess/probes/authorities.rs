//! Certificates of authorities that the directory keeps: those that log people on, roots, intermediates, enrolment services.

use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::assess::probes::access::sight::first_name;
use crate::baseline::certificate::{key, signature_name};
use crate::baseline::facts::{Collection, Fact, Record};
use crate::baseline::value::Value;

/// The collection that is made here.
pub const COLLECTION: &str = "ca_certificates";
/// A DER certificate is longer; a store that was never filled holds one zero byte.
const SHORTEST: usize = 2;

/// The collection of what the directory keeps: DN and DER of each.
pub fn certificates(kept: &Result<Vec<(String, Vec<u8>)>, String>, now: OffsetDateTime) -> Collection {
    match kept {
        Err(reason) => Collection::failed(reason),
        Ok(kept) => Collection {
            records: kept
                .iter()
                .filter(|(_, der)| der.len() >= SHORTEST)
                .map(|(dn, der)| record(dn, der, now))
                .collect(),
            complete: Fact::boolean(true),
        },
    }
}

fn record(dn: &str, der: &[u8], now: OffsetDateTime) -> Record {
    let mut record = Record::from([
        ("dn".to_owned(), Fact::Known(Value::Dn(dn.to_owned()))),
        ("store".to_owned(), Fact::Known(Value::Word(store(dn).to_owned()))),
    ]);
    let found = match X509Certificate::from_der(der) {
        Ok(([], parsed)) => facts(&parsed, now),
        Ok(_) => failed(dn, "bytes after the certificate"),
        Err(error) => failed(dn, &error.to_string()),
    };
    record.extend(found.into_iter().map(|(name, fact)| (name.to_owned(), fact)));
    record
}

fn facts(parsed: &X509Certificate<'_>, now: OffsetDateTime) -> [(&'static str, Fact); 8] {
    let (algorithm, bits) = key(parsed);
    let signature = signature_name(&parsed.signature_algorithm.algorithm.to_id_string());
    let self_signed = parsed.issuer() == parsed.subject() && parsed.verify_signature(None).is_ok();
    let not_after = parsed.validity().not_after.to_datetime();
    [
        ("name", Fact::text(parsed.subject().to_string())),
        ("key_algorithm", Fact::Known(Value::Word(algorithm.to_owned()))),
        ("key_bits", Fact::integer(bits)),
        ("signature_algorithm", Fact::Known(Value::Word(signature.to_owned()))),
        ("self_signed", Fact::boolean(self_signed)),
        ("authority", Fact::boolean(parsed.is_ca())),
        ("not_after", Fact::Known(Value::Instant(not_after))),
        ("remaining", Fact::duration((not_after - now).whole_seconds())),
    ]
}

fn failed(dn: &str, reason: &str) -> [(&'static str, Fact); 8] {
    let fact = || Fact::Failed(format!("no certificate that can be read: {reason}"));
    [
        ("name", Fact::text(first_name(dn))),
        ("key_algorithm", fact()),
        ("key_bits", fact()),
        ("signature_algorithm", fact()),
        ("self_signed", fact()),
        ("authority", fact()),
        ("not_after", fact()),
        ("remaining", fact()),
    ]
}

/// What a certificate is trusted for, by where it is kept ([MS-WCCE] section 2.2.2.11).
fn store(dn: &str) -> &'static str {
    let dn = dn.to_lowercase();
    match () {
        () if dn.starts_with("cn=ntauthcertificates,") => "logon",
        () if dn.contains(",cn=certification authorities,") => "root",
        () if dn.contains(",cn=aia,") => "intermediate",
        () if dn.contains(",cn=enrollment services,") => "enrolment",
        () => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::collections::CERTIFICATE_STORES;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-11-24 12:00 UTC);

    fn one(dn: &str, der: Vec<u8>) -> Record {
        certificates(&Ok(vec![(dn.to_owned(), der)]), NOW).records.get(0).unwrap().to_record()
    }

    #[test]
    fn stores_by_place() {
        for (dn, expected) in [
            ("CN=NTAuthCertificates,CN=Public Key Services,DC=x", "logon"),
            ("CN=R,CN=Certification Authorities,CN=Public Key Services,DC=x", "root"),
            ("CN=I,CN=AIA,CN=Public Key Services,DC=x", "intermediate"),
            ("CN=E,CN=Enrollment Services,CN=Public Key Services,DC=x", "enrolment"),
            ("CN=C,CN=CDP,DC=x", "other"),
        ] {
            assert_eq!(store(dn), expected);
            assert!(CERTIFICATE_STORES.contains(&expected));
        }
    }

    #[test]
    fn a_certificate_is_read_and_what_is_none_says_so() {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let made = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let record = one("CN=NTAuthCertificates,DC=x", made.der().to_vec());
        assert_eq!(record["key_bits"], Fact::integer(256));
        assert_eq!(record["self_signed"], Fact::boolean(true));
        assert_eq!(record["authority"], Fact::boolean(true));
        let mut longer = made.der().to_vec();
        longer.push(0);
        assert!(matches!(one("CN=x", longer)["key_bits"], Fact::Failed(_)));
        assert!(matches!(one("CN=x", vec![0x30, 0x82, 1])["remaining"], Fact::Failed(_)));
        // a store that was made and never filled
        assert!(certificates(&Ok(vec![("CN=x".to_owned(), vec![0])]), NOW).records.is_empty());
    }

    #[test]
    fn what_was_not_read_is_not_complete() {
        let collection = certificates(&Err("denied".to_owned()), NOW);
        assert_eq!(collection.complete, Fact::Failed("denied".to_owned()));
    }
}
