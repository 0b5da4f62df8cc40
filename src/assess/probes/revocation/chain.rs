//! From a certificate to an anchor, and where each on the way has its list.

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{DistributionPointName, ParsedExtension};
use x509_parser::prelude::FromDer;

use crate::assess::probes::revocation::list::uris;

/// Longer paths are cut; two or three are usual.
const LENGTH_MAX: usize = 8;
/// Places of one certificate that are tried.
const PLACES_MAX: usize = 3;

/// A certificate below an anchor, and who issued it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub certificate: CertificateDer<'static>,
    /// None when nobody showed it.
    pub issuer: Option<CertificateDer<'static>>,
}

/// The way from `leaf` up to an anchor or a root, which have no list. `pool` are certificates that may be on it.
pub fn links(
    leaf: &CertificateDer<'static>,
    pool: &[CertificateDer<'static>],
    anchors: &[CertificateDer<'static>],
) -> Vec<Link> {
    let mut out = Vec::new();
    let mut at = Some(leaf.clone());
    while let Some(certificate) = at.take().filter(|_| out.len() < LENGTH_MAX) {
        let Ok((_, parsed)) = X509Certificate::from_der(&certificate) else { break };
        if anchors.contains(&certificate) || parsed.issuer() == parsed.subject() {
            break;
        }
        let issuer = anchors.iter().chain(pool).find(|candidate| issued(candidate, &parsed)).cloned();
        at.clone_from(&issuer);
        out.push(Link { certificate, issuer });
    }
    out
}

fn issued(candidate: &CertificateDer<'_>, certificate: &X509Certificate<'_>) -> bool {
    X509Certificate::from_der(candidate).is_ok_and(|(_, candidate)| {
        candidate.subject() == certificate.issuer()
            && certificate.verify_signature(Some(candidate.public_key())).is_ok()
    })
}

/// Where a certificate says that its list is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// Every URI.
    pub named: Vec<String>,
    /// Those over http, in order.
    pub web: Vec<String>,
}

/// RFC 5280 section 4.2.1.13. Points for some reasons only, and those with lists of somebody else, are left out.
pub fn places(certificate: &X509Certificate<'_>) -> Result<Places, String> {
    let mut out = Places::default();
    let Some(extension) = certificate.extensions().iter().find(|e| e.oid.to_id_string() == "2.5.29.31")
    else {
        return Ok(out);
    };
    let ParsedExtension::CRLDistributionPoints(points) = extension.parsed_extension() else {
        return Err("where its list is cannot be read".to_owned());
    };
    for point in points.iter().filter(|point| point.reasons.is_none() && point.crl_issuer.is_none()) {
        if let Some(DistributionPointName::FullName(names)) = &point.distribution_point {
            out.named.extend(uris(names).map(str::to_owned));
        }
    }
    let is_web = |uri: &&String| {
        let mut letters = uri.chars();
        "http://".chars().all(|c| letters.next().is_some_and(|l| l.eq_ignore_ascii_case(&c)))
    };
    out.web = out.named.iter().filter(is_web).take(PLACES_MAX).cloned().collect();
    Ok(out)
}
