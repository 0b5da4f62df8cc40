//! The verifier of client certificates.
//!
//! Domain controllers can be lax about cards (a revoked card, one without the right usage, a weak key), so this
//! checks for itself: path to an anchor, validity, usage and policies along the path, revocation of every certificate
//! in it, the age of the lists that say so, and the strength of the holder's key.
//!
//! What a check came to is kept with the time until which it holds, so that a certificate that comes again is not
//! checked again: nothing but time changes the outcome, because a [`Verifier`] never changes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use webpki::{
    Cert, EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext, VerifiedPath, spki_for_anchor,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use crate::tls::error::TlsError;
use crate::tls::identity::{SMARTCARD_LOGON, hex};
use crate::tls::material::Anchors;
use crate::tls::policies::{AcceptedPolicies, Genuine, PolicyFault, Shown};
use crate::tls::revocation::Revocation;

/// The shortest RSA key that a client may hold, in bits (NIST SP 800-57 part 1: 112 bits of security).
pub const RSA_BITS_MIN: usize = 2048;
/// The shortest elliptic-curve key that a client may hold, in bits.
pub const EC_BITS_MIN: usize = 256;
/// Intermediate certificates that a client may send. A national card has two or three above it.
pub const INTERMEDIATES_MAX: usize = 8;
/// Good chains that are remembered; when there are more, all are forgotten.
const REMEMBERED_MAX: usize = 4096;

/// The contents of the object identifier 1.3.6.1.5.5.7.3.2.
const CLIENT_AUTH_DER: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
/// The contents of the object identifier 1.3.6.1.4.1.311.20.2.2.
const SMARTCARD_LOGON_DER: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 20, 2, 2];

/// Decides whether a client certificate is good. Immutable: new anchors or lists make a new verifier.
pub struct Verifier {
    anchors: Vec<TrustAnchor<'static>>,
    hints: Vec<DistinguishedName>,
    revocation: Revocation,
    policies: AcceptedPolicies,
    algorithms: WebPkiSupportedAlgorithms,
    /// By SHA-256 of the chain.
    remembered: Mutex<HashMap<[u8; 32], Arc<Accepted>>>,
}

/// What the check of a good chain came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// From then on it must be checked again: a certificate of the path ends, or a list does.
    pub until: OffsetDateTime,
    /// SHA-256 of the subject public key info of each authority on the path, lower-case hexadecimal: the leaf's issuer
    /// first, the anchor last. A name proves nothing here, because any authority can give it to one below it.
    pub authorities: Vec<String>,
}

/// Why a certificate was refused; the text is for the log and holds no name of a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the certificate cannot be read")]
    Malformed,
    #[error("more than {INTERMEDIATES_MAX} intermediate certificates came with it")]
    TooMany,
    #[error(
        "its key is shorter than {RSA_BITS_MIN} bits (RSA) or {EC_BITS_MIN} bits (elliptic curve), or of another kind"
    )]
    WeakKey,
    #[error("it may be used neither for client authentication nor for smartcard logon")]
    Purpose,
    #[error("it was not issued under a policy that tls.card_policies accepts")]
    Policy,
    #[error("its critical policies have a qualifier that is not understood")]
    PolicyQualifier,
    #[error("a revocation list of its issuer is older than tls.crl_max_age_hours; fetch a new one")]
    OldList,
    #[error("{0}")]
    Path(webpki::Error),
}

impl From<PolicyFault> for Refused {
    fn from(fault: PolicyFault) -> Self {
        match fault {
            PolicyFault::Malformed => Refused::Malformed,
            PolicyFault::Qualifier => Refused::PolicyQualifier,
            PolicyFault::None => Refused::Policy,
        }
    }
}

impl Verifier {
    /// A verifier for certificates that lead to `anchors`, of any policy.
    pub fn new(anchors: &Anchors, revocation: Revocation) -> Result<Arc<Self>, TlsError> {
        Self::with_policies(anchors, revocation, AcceptedPolicies::default())
    }

    /// A verifier that takes cards only when they were issued under one of `policies`, and any other certificate whose
    /// policies are critical likewise.
    pub fn with_policies(
        anchors: &Anchors,
        revocation: Revocation,
        policies: AcceptedPolicies,
    ) -> Result<Arc<Self>, TlsError> {
        let trusted = anchors.trust_anchors()?;
        let hints =
            trusted.iter().map(|a| DistinguishedName::in_sequence(a.subject.as_ref())).collect::<Vec<_>>();
        Ok(Arc::new(Verifier {
            anchors: trusted,
            hints,
            revocation,
            policies,
            algorithms: rustls::crypto::ring::default_provider().signature_verification_algorithms,
            remembered: Mutex::default(),
        }))
    }

    /// Checks a chain, leaf first, as of `now`.
    ///
    /// # Errors
    ///
    /// The first reason not to take it; of several possible paths, that of the last.
    pub fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Arc<Accepted>, Refused> {
        let key = digest(leaf, intermediates);
        let at = moment(now);
        if let Some(known) = self.remembered().get(&key)
            && at < known.until
        {
            return Ok(Arc::clone(known));
        }
        let accepted = Arc::new(self.examine(leaf, intermediates, now)?);
        // Lists that end in the past cannot have been used; a time of nothing is not worth remembering.
        if at < accepted.until {
            let mut remembered = self.remembered();
            if remembered.len() >= REMEMBERED_MAX {
                remembered.clear();
            }
            remembered.insert(key, Arc::clone(&accepted));
        }
        Ok(accepted)
    }

    /// Whether any list names the serial number of one of these certificates: those are worth checking first when
    /// lists change.
    pub fn mentions(&self, certificates: &[CertificateDer<'_>]) -> bool {
        certificates.iter().any(|der| match X509Certificate::from_der(der) {
            Ok((_, certificate)) => self.revocation.mentions(certificate.raw_serial()),
            Err(_) => true,
        })
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Arc<Accepted>>> {
        // What a panicked thread left behind is at worst missing.
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn examine(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Accepted, Refused> {
        if intermediates.len() > INTERMEDIATES_MAX {
            return Err(Refused::TooMany);
        }
        let is_card = fit_leaf(leaf)?;
        let chain = std::iter::once(leaf)
            .chain(intermediates)
            .map(Shown::new)
            .collect::<Result<Vec<_>, PolicyFault>>()?;
        let (shown_leaf, above) = chain.split_first().ok_or(Refused::Malformed)?;
        let above: Vec<CertificateDer<'_>> =
            above.iter().map(|shown| CertificateDer::from(shown.der.as_ref())).collect();
        let pairs = Genuine::pairs(&chain);
        let genuine = Genuine::all(self.algorithms.all, &pairs);
        let algorithms: Vec<&dyn SignatureVerificationAlgorithm> = match pairs.is_empty() {
            true => self.algorithms.all.to_vec(),
            false => genuine.iter().map(|g| g as &dyn SignatureVerificationAlgorithm).collect(),
        };
        let certificate = EndEntityCert::try_from(&shown_leaf.der).map_err(Refused::Path)?;
        // What webpki cannot say for us, of the last path that it would have taken.
        let ours: RefCell<Option<Refused>> = RefCell::new(None);
        let verify = |path: &VerifiedPath<'_>| -> Result<(), webpki::Error> {
            let fault = match self.policies.check(path, &chain, is_card) {
                Err(fault) => Some(Refused::from(fault)),
                Ok(()) => self
                    .revocation
                    .is_too_old(path.end_entity().issuer(), moment(now))
                    .then_some(Refused::OldList),
            };
            match fault {
                None => Ok(()),
                Some(fault) => {
                    *ours.borrow_mut() = Some(fault);
                    Err(webpki::Error::UnsupportedCriticalExtension)
                }
            }
        };
        self.revocation.with_options(|revocation| {
            if revocation.is_none() && self.revocation.refuses_everything() {
                return Err(Refused::Path(webpki::Error::UnknownRevocationStatus));
            }
            let path = certificate
                .verify_for_usage(
                    &algorithms,
                    &self.anchors,
                    &above,
                    now,
                    ClientOrCard,
                    revocation,
                    Some(&verify),
                )
                .map_err(|error| ours.take().unwrap_or(Refused::Path(error)))?;
            self.accepted(&path, now)
        })
    }

    fn accepted(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<Accepted, Refused> {
        let mut authorities = Vec::new();
        let mut until = ends(path.end_entity())?;
        for authority in path.intermediate_certificates() {
            until = until.min(ends(authority)?);
            authorities.push(key_digest(authority.subject_public_key_info().as_ref()));
        }
        authorities.push(key_digest(spki_for_anchor(path.anchor()).as_ref()));
        for issuer in issuers(path) {
            until = self.revocation.ends(issuer, moment(now)).map_or(until, |end| until.min(end));
        }
        let ages = self.revocation.ages(path.end_entity().issuer(), moment(now));
        until = ages.map_or(until, |end| until.min(end));
        Ok(Accepted { until, authorities })
    }
}

/// SHA-256 of a subject public key info (DER), lower-case hexadecimal: how an authority is told from one of its name.
pub fn key_digest(spki: &[u8]) -> String {
    hex(&Sha256::digest(spki))
}

/// The issuer of each certificate of a path but the anchor, raw.
fn issuers<'p>(path: &'p VerifiedPath<'p>) -> impl Iterator<Item = &'p [u8]> {
    let above = path.intermediate_certificates().map(|authority| authority.issuer());
    std::iter::once(path.end_entity().issuer()).chain(above)
}

fn ends(certificate: &Cert<'_>) -> Result<OffsetDateTime, Refused> {
    let der = certificate.der();
    let (_, read) = X509Certificate::from_der(&der).map_err(|_| Refused::Malformed)?;
    Ok(read.validity().not_after.to_datetime())
}

fn moment(now: UnixTime) -> OffsetDateTime {
    i64::try_from(now.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn digest(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for der in std::iter::once(leaf).chain(intermediates) {
        hasher.update((der.len() as u64).to_be_bytes());
        hasher.update(der);
    }
    hasher.finalize().into()
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verifier({} anchors)", self.anchors.len())
    }
}

/// Client authentication or Smart Card Logon: a card need not say both. Issuing CAs along the path may leave the
/// extension out; the leaf may not (see [`fit_leaf`]).
struct ClientOrCard;

impl ExtendedKeyUsageValidator for ClientOrCard {
    fn validate(&self, usages: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut present = Vec::new();
        for usage in usages {
            let usage = usage?;
            // Compared as encoded: the decoded form is wrong for arcs above 127 in this version of webpki.
            if usage == KeyPurposeId::new(CLIENT_AUTH_DER) || usage == KeyPurposeId::new(SMARTCARD_LOGON_DER)
            {
                return Ok(());
            }
            present.push(usage.to_decoded_oid());
        }
        if present.is_empty() {
            return Ok(());
        }
        let required = KeyUsage::client_auth();
        Err(webpki::Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext { required, present }))
    }
}

/// The strength of the holder's key, and that the leaf itself says what it may be used for; whether it is a card.
fn fit_leaf(leaf: &CertificateDer<'_>) -> Result<bool, Refused> {
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| Refused::Malformed)?;
    let key = certificate.public_key().parsed().map_err(|_| Refused::WeakKey)?;
    let strong = match &key {
        PublicKey::RSA(rsa) => rsa.key_size() >= RSA_BITS_MIN,
        PublicKey::EC(point) => point.key_size() >= EC_BITS_MIN,
        // An Ed25519 key has no parsed form of its own here; its raw key is 32 bytes.
        PublicKey::Unknown(bytes) => bytes.len() == 32,
        _ => false,
    };
    if !strong {
        return Err(Refused::WeakKey);
    }
    let usage = certificate.extended_key_usage().map_err(|_| Refused::Malformed)?.ok_or(Refused::Purpose)?;
    let card = usage.value.other.iter().any(|oid| oid.to_id_string() == SMARTCARD_LOGON);
    if usage.value.client_auth || card { Ok(card) } else { Err(Refused::Purpose) }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(leaf, intermediates, now).map(|_| ClientCertVerified::assertion()).map_err(|refused| {
            tracing::info!(reason = %refused, "client certificate refused");
            Error::InvalidCertificate(alert_for(&refused))
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let shown = shown(certificate)?;
        verify_tls12_signature(message, &shown.der, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let shown = shown(certificate)?;
        verify_tls13_signature(message, &shown.der, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// For rustls, which only takes the key out of it.
fn shown<'a>(certificate: &'a CertificateDer<'_>) -> Result<Shown<'a>, Error> {
    Shown::new(certificate).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
}

/// The TLS alert that tells the client which part is at fault (RFC 8446 section 6.2).
fn alert_for(refused: &Refused) -> CertificateError {
    match refused {
        Refused::Malformed => CertificateError::BadEncoding,
        Refused::Purpose => CertificateError::InvalidPurpose,
        Refused::WeakKey | Refused::TooMany | Refused::Policy | Refused::PolicyQualifier => {
            CertificateError::ApplicationVerificationFailure
        }
        Refused::OldList => CertificateError::UnknownRevocationStatus,
        Refused::Path(error) => match error {
            webpki::Error::CertExpired { .. } => CertificateError::Expired,
            webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
            webpki::Error::CertRevoked => CertificateError::Revoked,
            webpki::Error::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
            webpki::Error::CrlExpired { .. } => CertificateError::ExpiredRevocationList,
            webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
            webpki::Error::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
            _ => CertificateError::ApplicationVerificationFailure,
        },
    }
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
