//! What is wrong with a certificate that a directory publishes as one to be trusted.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use crate::baseline::facts::hex;

/// Everything that can be wrong, by name.
pub const FAULTS: &[&str] = &["unreadable", "expired", "not-yet-valid", "weak-key", "weak-signature"];

/// What is wrong with a certificate (DER) at a time.
pub fn faults(der: &[u8], at: OffsetDateTime) -> BTreeSet<&'static str> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return BTreeSet::from(["unreadable"]);
    };
    let mut out = BTreeSet::new();
    if at > certificate.validity().not_after.to_datetime() {
        out.insert("expired");
    }
    if at < certificate.validity().not_before.to_datetime() {
        out.insert("not-yet-valid");
    }
    let (algorithm, bits) = key(&certificate);
    let strong = match algorithm {
        "rsa" => bits >= 2048,
        "ec" => bits >= 256,
        other => other == "ed25519",
    };
    if !strong {
        out.insert("weak-key");
    }
    let signature = signature_name(&certificate.signature_algorithm.algorithm.to_id_string());
    // nobody relies on the signature that a root made over itself
    let root = certificate.issuer() == certificate.subject();
    if !root && matches!(signature, "md5-rsa" | "sha1-rsa" | "sha1-ecdsa" | "other") {
        out.insert("weak-signature");
    }
    out
}

/// SHA-256 of a certificate's (DER) subject public key info, lower-case hex: an authority is told by its key. None when it
/// cannot be read.
pub fn key_sha256(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(hex(&Sha256::digest(certificate.public_key().raw)))
}

/// The kind of a certificate's key, and its size in bits.
pub fn key(certificate: &X509Certificate<'_>) -> (&'static str, i64) {
    let bits = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => ("rsa", bits(key.key_size())),
        Ok(PublicKey::EC(point)) => ("ec", bits(point.key_size())),
        _ => match certificate.public_key().algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => ("ed25519", 256),
            _ => ("other", 0),
        },
    }
}

/// RFC 8017 appendix C, RFC 5758, RFC 8410.
pub fn signature_name(oid: &str) -> &'static str {
    match oid {
        "1.2.840.113549.1.1.4" => "md5-rsa",
        "1.2.840.113549.1.1.5" => "sha1-rsa",
        "1.2.840.113549.1.1.10" => "rsa-pss",
        "1.2.840.113549.1.1.11" => "sha256-rsa",
        "1.2.840.113549.1.1.12" => "sha384-rsa",
        "1.2.840.113549.1.1.13" => "sha512-rsa",
        "1.2.840.10045.4.1" => "sha1-ecdsa",
        "1.2.840.10045.4.3.2" => "sha256-ecdsa",
        "1.2.840.10045.4.3.3" => "sha384-ecdsa",
        "1.2.840.10045.4.3.4" => "sha512-ecdsa",
        "1.3.101.112" => "ed25519",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_certificate_is_judged_at_its_time() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["ca.test".into()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2026, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let certificate = parameters.self_signed(&key).unwrap();
        let at = |when| faults(certificate.der(), when).into_iter().collect::<Vec<_>>();
        assert!(at(datetime!(2026-06-01 00:00 UTC)).is_empty());
        assert_eq!(at(datetime!(2028-06-01 00:00 UTC)), ["expired"]);
        assert_eq!(at(datetime!(2025-06-01 00:00 UTC)), ["not-yet-valid"]);
        assert_eq!(
            faults(b"\x30\x00", datetime!(2026-06-01 00:00 UTC)).into_iter().next(),
            Some("unreadable")
        );
    }
}
