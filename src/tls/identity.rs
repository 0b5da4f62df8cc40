//! Who a certificate says its holder is.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use crate::tls::error::TlsError;

/// Smart Card Logon, [MS-WCCE] `szOID_KP_SMARTCARD_LOGON`.
pub const SMARTCARD_LOGON: &str = "1.3.6.1.4.1.311.20.2.2";
/// TLS client authentication, RFC 5280 section 4.2.1.12.
pub const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
/// User principal name in `subjectAltName`, [MS-WCCE] `szOID_NT_PRINCIPAL_NAME`.
const PRINCIPAL_NAME: &str = "1.3.6.1.4.1.311.20.2.3";
/// The security identifier extension of KB5014754, [MS-WCCE] `szOID_NTDS_CA_SECURITY_EXT`.
const SECURITY_EXTENSION: &str = "1.3.6.1.4.1.311.25.2";

/// What a verified certificate says about its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The subject as an RFC 4514 string, most specific part first, attribute types in lower case.
    pub subject: String,
    /// The user principal name, lower case, when the certificate carries one.
    pub upn: Option<String>,
    /// The security identifier (`S-1-5-21-...`), when the certificate carries one.
    pub sid: Option<String>,
    /// Extended key usages as dotted numbers.
    pub extended_key_usage: Vec<String>,
    /// SHA-256 of the certificate, lower-case hexadecimal.
    pub fingerprint: String,
    /// After this the certificate is no longer valid.
    pub not_after: OffsetDateTime,
    /// The authorities on the path that was verified, as [`crate::tls::smartcard::Accepted`] names them; empty when none
    /// was.
    pub authorities: Vec<String>,
}

impl ClientIdentity {
    /// Reads a leaf certificate (DER). The caller has verified it.
    pub fn read(leaf: &CertificateDer<'_>) -> Result<Self, TlsError> {
        let malformed = |cause: String| TlsError::Certificate(cause);
        let (rest, certificate) = X509Certificate::from_der(leaf).map_err(|e| malformed(e.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed("bytes follow the certificate".to_owned()));
        }
        Ok(ClientIdentity {
            subject: name_text(certificate.subject()),
            upn: principal_name(&certificate),
            sid: security_identifier(&certificate),
            extended_key_usage: key_usages(&certificate),
            fingerprint: hex(digest(&SHA256, leaf).as_ref()),
            not_after: certificate.validity().not_after.to_datetime(),
            authorities: Vec::new(),
        })
    }

    /// Reads a leaf certificate whose path was verified.
    pub fn verified(leaf: &CertificateDer<'_>, authorities: &[String]) -> Result<Self, TlsError> {
        Ok(ClientIdentity { authorities: authorities.to_vec(), ..ClientIdentity::read(leaf)? })
    }

    /// Whether this is a smartcard certificate: Smart Card Logon, and a person's principal name.
    pub fn is_smartcard(&self) -> bool {
        self.upn.is_some() && self.extended_key_usage.iter().any(|usage| usage == SMARTCARD_LOGON)
    }
}

fn key_usages(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.extended_key_usage() else { return Vec::new() };
    let usage = extension.value;
    let mut all: Vec<String> = usage.other.iter().map(|oid| oid.to_id_string()).collect();
    if usage.client_auth {
        all.push(CLIENT_AUTH.to_owned());
    }
    if usage.server_auth {
        all.push("1.3.6.1.5.5.7.3.1".to_owned());
    }
    if usage.any {
        all.push("2.5.29.37.0".to_owned());
    }
    all
}

fn principal_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()??;
    let mut found = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::OtherName(oid, value) if oid.to_id_string() == PRINCIPAL_NAME => Some(*value),
        _ => None,
    });
    let value = found.next()?;
    // Two principal names would let the holder choose: nobody is meant then.
    if found.next().is_some() {
        return None;
    }
    let text = value_of(value_of(value, 0xa0)?, 0x0c)?;
    let text = std::str::from_utf8(text).ok()?;
    is_principal_name(text).then(|| text.to_lowercase())
}

/// Whether `text` is `account@domain` without a character that a directory might not see: controls, spaces, joiners and
/// marks of direction make two names that people and some directories take for one.
pub fn is_principal_name(text: &str) -> bool {
    let Some((account, domain)) = text.split_once('@') else { return false };
    let plain = |c: char| c.is_alphanumeric() || (c.is_ascii_punctuation() && c != '@');
    let host = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-' || c == '_';
    !account.is_empty() && !domain.is_empty() && account.chars().all(plain) && domain.chars().all(host)
}

/// The value is SEQUENCE { [0] { OID 1.3.6.1.4.1.311.25.2.1, [0] { OCTET STRING text } } }.
fn security_identifier(certificate: &X509Certificate<'_>) -> Option<String> {
    let extension = certificate.extensions().iter().find(|e| e.oid.to_id_string() == SECURITY_EXTENSION)?;
    if !matches!(extension.parsed_extension(), ParsedExtension::UnsupportedExtension { .. }) {
        return None;
    }
    let other_name = value_of(value_of(extension.value, 0x30)?, 0xa0)?;
    let (_, after_oid) = split(other_name, 0x06)?;
    let text = std::str::from_utf8(value_of(value_of(after_oid, 0xa0)?, 0x04)?).ok()?;
    let well_formed =
        text.starts_with("S-1-") && text.bytes().all(|b| b.is_ascii_digit() || b"S-".contains(&b));
    well_formed.then(|| text.to_owned())
}

/// The contents of the one element with `tag` that `der` consists of.
fn value_of(der: &[u8], tag: u8) -> Option<&[u8]> {
    let (value, rest) = split(der, tag)?;
    rest.is_empty().then_some(value)
}

/// The contents of the element with `tag` that `der` begins with, and what follows it.
fn split(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => rest.split_first().map(|(&l, r)| (usize::from(l), r))?,
        0x82 => rest.split_first_chunk::<2>().map(|(l, r)| (usize::from(u16::from_be_bytes(*l)), r))?,
        _ => return None,
    };
    (found == tag).then_some(())?;
    rest.split_at_checked(length)
}

/// RFC 4514 section 2.1: the last relative name first. Types without a short name stand as dotted numbers.
fn name_text(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|rdn| {
            let pairs: Vec<String> = rdn
                .iter()
                .map(|pair| {
                    let oid = pair.attr_type().to_id_string();
                    let value = pair.as_str().map_or_else(|_| format!("#{}", hex(pair.as_slice())), escaped);
                    format!("{}={value}", short_name(&oid))
                })
                .collect();
            pairs.join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

/// RFC 4514 section 3, table of short names, and `emailAddress` as RFC 2985 calls it.
fn short_name(oid: &str) -> &str {
    match oid {
        "2.5.4.3" => "cn",
        "2.5.4.4" => "sn",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "c",
        "2.5.4.7" => "l",
        "2.5.4.8" => "st",
        "2.5.4.9" => "street",
        "2.5.4.10" => "o",
        "2.5.4.11" => "ou",
        "0.9.2342.19200300.100.1.1" => "uid",
        "0.9.2342.19200300.100.1.25" => "dc",
        "1.2.840.113549.1.9.1" => "emailAddress",
        other => other,
    }
}

/// RFC 4514 section 2.4.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', c]),
            '#' if i == 0 => out.push_str("\\#"),
            ' ' if i == 0 || i == last => out.push_str("\\ "),
            '\0' => out.push_str("\\00"),
            _ => out.push(c),
        }
    }
    out
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
