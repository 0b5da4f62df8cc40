//! Reads a certificate revocation list (RFC 5280 section 5). Its entries are walked one by one, since there can be a million.

use time::OffsetDateTime;
use x509_parser::asn1_rs::{Any, BitString, Class, FromDer, Tag};
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::{
    DistributionPointName, GeneralName, IssuingDistributionPoint, ParsedExtension, X509Extension,
};
use x509_parser::revocation_list::RevokedCertificate;
use x509_parser::time::ASN1Time;
use x509_parser::verify::verify_signature;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Name};

/// A list has three or four.
const EXTENSIONS_MAX: usize = 64;
/// What may be critical in a list that we read: authority key, number, issuing distribution point.
const UNDERSTOOD: [&str; 3] = ["2.5.29.35", "2.5.29.20", "2.5.29.28"];

/// A list, its entries unread.
#[derive(Debug)]
pub struct RevocationList<'a> {
    issuer: X509Name<'a>,
    pub this_update: OffsetDateTime,
    pub next_update: Option<OffsetDateTime>,
    entries: &'a [u8],
    extensions: Vec<X509Extension<'a>>,
    signed: &'a [u8],
    algorithm: AlgorithmIdentifier<'a>,
    signature: BitString<'a>,
}

impl<'a> RevocationList<'a> {
    /// Reads all but the entries; what breaks the form is told.
    pub fn read(der: &'a [u8]) -> Result<Self, String> {
        if der.starts_with(b"-----BEGIN") {
            return Err("it is PEM where DER must be (RFC 5280 section 4.2.1.13)".to_owned());
        }
        Self::parse(der).ok_or_else(|| "what was fetched is no revocation list".to_owned())
    }

    fn parse(der: &'a [u8]) -> Option<Self> {
        let (rest, whole) = sequence(der)?;
        let (outside, inside) = sequence(whole)?;
        let signed = whole.get(..whole.len().checked_sub(outside.len())?)?;
        let (outside, algorithm) = AlgorithmIdentifier::from_der(outside).ok()?;
        let (outside, signature) = BitString::from_der(outside).ok()?;
        let inside = match next(inside)? {
            (inside, version) if version.tag() == Tag::Integer => (version.data == [1]).then_some(inside)?,
            _ => inside,
        };
        let (inside, inner) = AlgorithmIdentifier::from_der(inside).ok()?;
        let (inside, issuer) = X509Name::from_der(inside).ok()?;
        let (inside, this_update) = ASN1Time::from_der(inside).ok()?;
        let is_time = |any: &Any<'_>| matches!(any.tag(), Tag::UtcTime | Tag::GeneralizedTime);
        let (inside, next_update) = match next(inside) {
            Some((_, any)) if is_time(&any) => {
                let (inside, time) = ASN1Time::from_der(inside).ok()?;
                (inside, Some(time.to_datetime()))
            }
            _ => (inside, None),
        };
        let (inside, entries) = sequence(inside).unwrap_or((inside, &[]));
        let (inside, extensions) = extensions(inside)?;
        let nothing_left = rest.is_empty() && outside.is_empty() && inside.is_empty();
        (nothing_left && inner == algorithm).then_some(RevocationList {
            issuer,
            this_update: this_update.to_datetime(),
            next_update,
            entries,
            extensions,
            signed,
            algorithm,
            signature,
        })
    }

    /// Whether this key signed it; an error when the algorithm is not one that we know.
    pub fn is_signed_by(&self, key: &SubjectPublicKeyInfo<'_>) -> Result<bool, String> {
        match verify_signature(key, &self.algorithm, &self.signature, self.signed) {
            Ok(()) => Ok(true),
            Err(X509Error::SignatureUnsupportedAlgorithm) => {
                Err(format!("it is signed with {}, which is not known here", self.algorithm.algorithm))
            }
            Err(_) => Ok(false),
        }
    }

    /// Whether it speaks for this certificate, for all reasons (RFC 5280 section 6.3.3 b); why not.
    pub fn covers(&self, certificate: &X509Certificate<'_>, names: &[String]) -> Result<(), String> {
        if self.issuer.as_raw() != certificate.issuer().as_raw() {
            return Err("it is another issuer's list".to_owned());
        }
        for extension in &self.extensions {
            let oid = extension.oid.to_id_string();
            if oid == "2.5.29.27" {
                return Err("it holds changes to another list only".to_owned());
            }
            if extension.critical && !UNDERSTOOD.contains(&oid.as_str()) {
                return Err(format!("it has a critical extension that is not known here: {oid}"));
            }
            match extension.parsed_extension() {
                ParsedExtension::IssuingDistributionPoint(point) => {
                    covers(point, certificate.is_ca(), names)?
                }
                _ if oid == "2.5.29.28" => {
                    return Err("what it is for cannot be read".to_owned());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the certificate is on it.
    pub fn revokes(&self, certificate: &X509Certificate<'_>) -> Result<bool, String> {
        let broken = || "an entry of it cannot be read".to_owned();
        let mut rest = self.entries;
        let mut revoked = false;
        while !rest.is_empty() {
            let (after, entry) = RevokedCertificate::from_der(rest).map_err(|_| broken())?;
            // the issuer of an entry in a list for several
            if entry.extensions().iter().any(|extension| extension.critical) {
                return Err("an entry of it has a critical extension that is not known here".to_owned());
            }
            revoked |= *entry.serial() == certificate.tbs_certificate.serial;
            rest = after;
        }
        Ok(revoked)
    }
}

fn covers(point: &IssuingDistributionPoint<'_>, authority: bool, names: &[String]) -> Result<(), String> {
    let said = |text: &str| Err(text.to_owned());
    if point.indirect_crl {
        return said("it is a list for several issuers, which is not read here");
    }
    if point.only_some_reasons.is_some() || point.only_contains_attribute_certs {
        return said("it is for some reasons or kinds of certificate only");
    }
    if point.only_contains_user_certs && authority || point.only_contains_ca_certs && !authority {
        return said("it is for other certificates of the issuer");
    }
    match &point.distribution_point {
        None => Ok(()),
        Some(DistributionPointName::FullName(full))
            if uris(full).any(|uri| names.iter().any(|n| n == uri)) =>
        {
            Ok(())
        }
        Some(_) => said("it is for another distribution point"),
    }
}

/// The URIs among general names.
pub fn uris<'n>(names: &'n [GeneralName<'_>]) -> impl Iterator<Item = &'n str> {
    names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    })
}

/// The next element and what follows it.
fn next(bytes: &[u8]) -> Option<(&[u8], Any<'_>)> {
    Any::from_der(bytes).ok()
}

/// What is in a sequence, and what follows it.
fn sequence(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, any) = next(bytes)?;
    (any.tag() == Tag::Sequence && any.class() == Class::Universal).then_some((rest, any.data))
}

/// `[0] EXPLICIT Extensions OPTIONAL`, and what follows.
fn extensions(bytes: &[u8]) -> Option<(&[u8], Vec<X509Extension<'_>>)> {
    if bytes.is_empty() {
        return Some((bytes, Vec::new()));
    }
    let (rest, outer) = next(bytes)?;
    let tagged = outer.class() == Class::ContextSpecific && outer.tag() == Tag(0);
    let (after, mut inner) = sequence(tagged.then_some(outer.data)?)?;
    let mut out = Vec::new();
    while !inner.is_empty() && out.len() < EXTENSIONS_MAX {
        let (after, extension) = X509Extension::from_der(inner).ok()?;
        out.push(extension);
        inner = after;
    }
    (after.is_empty() && inner.is_empty()).then_some((rest, out))
}
