//! Certificate policies (RFC 5280 sections 4.2.1.4 and 6.1), which webpki does not know.
//!
//! National cards mark `certificatePolicies` critical, and webpki refuses every critical extension that it does not
//! know. The signature covers the mark, so it cannot simply be removed. What is done instead is small: webpki is shown
//! the certificate with that one octet turned from TRUE to FALSE ([`Shown`]), and whenever it checks the signature
//! over the bytes it was shown, the bytes that were really signed are put in their place ([`Genuine`]). So path
//! building, validity, names, usages, revocation and every other critical extension remain webpki's, signatures are
//! checked over what the issuer signed, and the policies themselves are checked here.
//!
//! Not done: policy mappings (a path with the extension proves no policy), `policyConstraints` and `inhibitAnyPolicy`
//! when they are critical, as RFC 5280 demands of them (webpki refuses the path). A path that needs them is refused,
//! never taken by mistake.

use std::collections::BTreeSet;
use std::ops::Range;

use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm,
};
use webpki::VerifiedPath;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

/// RFC 5280 section 4.2.1.4.
const ANY_POLICY: &str = "2.5.29.32.0";
const CERTIFICATE_POLICIES: &str = "2.5.29.32";
const POLICY_MAPPINGS: &str = "2.5.29.33";
const INHIBIT_ANY_POLICY: &str = "2.5.29.54";
/// Qualifiers that RFC 5280 defines; both only say something to people.
const QUALIFIERS: &[&str] = &["1.3.6.1.5.5.7.2.1", "1.3.6.1.5.5.7.2.2"];

const SEQUENCE: u8 = 0x30;
const BOOLEAN: u8 = 0x01;
const EXTENSIONS: u8 = 0xa3;
/// The object identifier `certificatePolicies` as an element.
const POLICIES_DER: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x20];

/// Why a certificate or its path fails over policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicyFault {
    /// The extension cannot be read, stands there twice, or is not DER.
    Malformed,
    /// The extension is critical and has a qualifier of an unknown kind.
    Qualifier,
    /// None of the accepted policies holds along the whole path.
    None,
}

/// A certificate as webpki is shown it.
pub(crate) struct Shown<'a> {
    pub(crate) der: CertificateDer<'a>,
    /// When the mark was turned: the signed part as it was before, and where it stands.
    turned: Option<(Vec<u8>, Range<usize>)>,
}

impl<'a> Shown<'a> {
    /// The certificate itself, or, when `certificatePolicies` is critical in it, with that mark turned.
    pub(crate) fn new(certificate: &'a CertificateDer<'_>) -> Result<Self, PolicyFault> {
        let plain = || Shown { der: CertificateDer::from(certificate.as_ref()), turned: None };
        // What cannot be walked through here webpki will refuse by a better name.
        let Some((signed, extensions)) = places(certificate) else { return Ok(plain()) };
        let mut mark = None;
        let mut at = extensions.start;
        while at < extensions.end {
            let Some(extension) = element(certificate, at, extensions.end) else { return Ok(plain()) };
            at = extension.contents.end;
            if let Some(found) = criticality(certificate, &extension)? {
                // two of them would be one too many (RFC 5280 section 4.2)
                if mark.replace(found).is_some() {
                    return Err(PolicyFault::Malformed);
                }
            }
        }
        let Some(mark) = mark else { return Ok(plain()) };
        let genuine = certificate.get(signed.clone()).ok_or(PolicyFault::Malformed)?.to_vec();
        let mut der = certificate.to_vec();
        *der.get_mut(mark).ok_or(PolicyFault::Malformed)? = 0;
        Ok(Shown { der: CertificateDer::from(der), turned: Some((genuine, signed)) })
    }

    /// Whether the mark was turned, so that [`Genuine`] is needed.
    pub(crate) fn is_turned(&self) -> bool {
        self.turned.is_some()
    }
}

/// A signature algorithm that checks what was signed where webpki was shown something else.
pub(crate) struct Genuine<'a> {
    algorithm: &'a dyn SignatureVerificationAlgorithm,
    /// Signed parts: as shown, and as they are.
    pairs: &'a [(&'a [u8], &'a [u8])],
}

impl<'a> Genuine<'a> {
    /// The pairs of a chain.
    pub(crate) fn pairs(chain: &'a [Shown<'_>]) -> Vec<(&'a [u8], &'a [u8])> {
        chain
            .iter()
            .filter_map(|shown| {
                let (genuine, place) = shown.turned.as_ref()?;
                Some((shown.der.get(place.clone())?, genuine.as_slice()))
            })
            .collect()
    }

    /// Wraps each of `algorithms`.
    pub(crate) fn all(
        algorithms: &[&'a dyn SignatureVerificationAlgorithm],
        pairs: &'a [(&'a [u8], &'a [u8])],
    ) -> Vec<Genuine<'a>> {
        algorithms.iter().map(|algorithm| Genuine { algorithm: *algorithm, pairs }).collect()
    }
}

impl std::fmt::Debug for Genuine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.algorithm.fmt(f)
    }
}

impl SignatureVerificationAlgorithm for Genuine<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let genuine = self.pairs.iter().find(|(shown, _)| *shown == message);
        let message = genuine.map_or(message, |(_, genuine)| genuine);
        self.algorithm.verify_signature(public_key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

/// The policies for which certificates are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AcceptedPolicies(BTreeSet<String>);

impl AcceptedPolicies {
    /// Object identifiers as dotted numbers; none means that any policy will do.
    pub fn new(policies: impl IntoIterator<Item = String>) -> Self {
        AcceptedPolicies(policies.into_iter().collect())
    }

    /// Holds the policies of a path against what is accepted. `required`: the leaf must have an accepted one even if it
    /// does not mark the extension critical. `chain`: what the path was built from.
    pub(crate) fn check(
        &self,
        path: &VerifiedPath<'_>,
        chain: &[Shown<'_>],
        required: bool,
    ) -> Result<(), PolicyFault> {
        let critical = |der: &[u8]| chain.iter().any(|shown| shown.is_turned() && *shown.der == *der);
        let mut valid = Valid::Any;
        let mut any_counts = true;
        for authority in path.intermediate_certificates().rev() {
            let der = authority.der();
            let said = Said::read(&der, critical(&der))?;
            valid = valid.narrowed(&said, any_counts);
            any_counts &= !said.inhibits_any;
            if said.maps {
                valid = Valid::These(BTreeSet::new());
            }
        }
        let der = path.end_entity().der();
        let demanded = required || critical(&der);
        valid = valid.narrowed(&Said::read(&der, critical(&der))?, any_counts);
        let accepted = match &valid {
            Valid::Any => true,
            Valid::These(these) => !these.is_disjoint(&self.0),
        };
        if self.0.is_empty() || !demanded || accepted { Ok(()) } else { Err(PolicyFault::None) }
    }
}

/// The policies for which a path is valid so far.
enum Valid {
    Any,
    These(BTreeSet<String>),
}

impl Valid {
    /// One certificate further down. One that says nothing is valid for no policy.
    fn narrowed(self, said: &Said, any_counts: bool) -> Valid {
        if any_counts && said.policies.contains(ANY_POLICY) {
            return self;
        }
        let named = said.policies.iter().filter(|policy| *policy != ANY_POLICY);
        Valid::These(match self {
            Valid::Any => named.cloned().collect(),
            Valid::These(these) => named.filter(|policy| these.contains(*policy)).cloned().collect(),
        })
    }
}

/// What one certificate says about policies.
struct Said {
    policies: BTreeSet<String>,
    maps: bool,
    inhibits_any: bool,
}

impl Said {
    fn read(der: &[u8], critical: bool) -> Result<Self, PolicyFault> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| PolicyFault::Malformed)?;
        let mut said = Said { policies: BTreeSet::new(), maps: false, inhibits_any: false };
        let mut seen = false;
        for extension in certificate.extensions() {
            match extension.oid.to_id_string().as_str() {
                CERTIFICATE_POLICIES => {
                    let ParsedExtension::CertificatePolicies(policies) = extension.parsed_extension() else {
                        return Err(PolicyFault::Malformed);
                    };
                    if std::mem::replace(&mut seen, true) || policies.is_empty() {
                        return Err(PolicyFault::Malformed);
                    }
                    for policy in policies {
                        let known = |id: &String| QUALIFIERS.contains(&id.as_str());
                        let mut kinds = policy
                            .policy_qualifiers
                            .iter()
                            .flatten()
                            .map(|qualifier| qualifier.policy_qualifier_id.to_id_string());
                        if critical && !kinds.all(|kind| known(&kind)) {
                            return Err(PolicyFault::Qualifier);
                        }
                        said.policies.insert(policy.policy_id.to_id_string());
                    }
                }
                POLICY_MAPPINGS => said.maps = true,
                INHIBIT_ANY_POLICY => said.inhibits_any = true,
                _ => {}
            }
        }
        Ok(said)
    }
}

/// One DER element inside a larger text.
struct Element {
    tag: u8,
    contents: Range<usize>,
}

/// The element at `at`, when it ends at `end` at the latest.
fn element(der: &[u8], at: usize, end: usize) -> Option<Element> {
    let octet = |at: usize| der.get(at).copied().map(usize::from);
    let tag = *der.get(at)?;
    let (start, length) = match octet(at + 1)? {
        length @ 0..=0x7f => (at + 2, length),
        0x81 => (at + 3, octet(at + 2)?),
        0x82 => (at + 4, octet(at + 2)? << 8 | octet(at + 3)?),
        // webpki takes no certificate that is longer
        _ => return None,
    };
    let contents = start..start.checked_add(length)?;
    (contents.end <= end && end <= der.len()).then_some(Element { tag, contents })
}

/// Where the signed part of a certificate stands, and in it the extensions; None when there are none.
fn places(der: &[u8]) -> Option<(Range<usize>, Range<usize>)> {
    let whole = element(der, 0, der.len()).filter(|whole| whole.tag == SEQUENCE)?;
    let signed = element(der, whole.contents.start, whole.contents.end).filter(|e| e.tag == SEQUENCE)?;
    let mut at = signed.contents.start;
    while at < signed.contents.end {
        let field = element(der, at, signed.contents.end)?;
        if field.tag == EXTENSIONS {
            let list = element(der, field.contents.start, field.contents.end)?;
            return (list.tag == SEQUENCE)
                .then_some((whole.contents.start..signed.contents.end, list.contents));
        }
        at = field.contents.end;
    }
    None
}

/// Where an extension says that it is critical, when it is `certificatePolicies` and says so.
fn criticality(der: &[u8], extension: &Element) -> Result<Option<usize>, PolicyFault> {
    let inside = der.get(extension.contents.clone()).unwrap_or_default();
    let Some(rest) = inside.strip_prefix(POLICIES_DER) else { return Ok(None) };
    match rest {
        [BOOLEAN, 1, 0xff, ..] => Ok(Some(extension.contents.start + POLICIES_DER.len() + 2)),
        // FALSE is the default, which DER never writes: a certificate that was shown to webpki could look like this
        [BOOLEAN, ..] => Err(PolicyFault::Malformed),
        _ => Ok(None),
    }
}
