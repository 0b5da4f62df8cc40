//! The verifier of client certificates.
//!
//! Domain controllers can be lax about cards (a revoked card, one without the right usage, a weak key), so this
//! checks for itself: path to an anchor, validity, usage along the path, revocation of every certificate in it, and
//! the strength of the holder's key.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use crate::tls::error::TlsError;
use crate::tls::identity::SMARTCARD_LOGON;
use crate::tls::material::Anchors;
use crate::tls::revocation::Revocation;

/// The shortest RSA key that a client may hold, in bits (NIST SP 800-57 part 1: 112 bits of security).
pub const RSA_BITS_MIN: usize = 2048;
/// The shortest elliptic-curve key that a client may hold, in bits.
pub const EC_BITS_MIN: usize = 256;

/// The contents of the object identifier 1.3.6.1.5.5.7.3.2.
const CLIENT_AUTH_DER: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
/// The contents of the object identifier 1.3.6.1.4.1.311.20.2.2.
const SMARTCARD_LOGON_DER: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 20, 2, 2];

/// Decides whether a client certificate is good. Immutable: new anchors or lists make a new verifier.
pub struct Verifier {
    anchors: Vec<TrustAnchor<'static>>,
    hints: Vec<DistinguishedName>,
    revocation: Revocation,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Why a certificate was refused; the text is for the log and holds no name of a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the certificate cannot be read")]
    Malformed,
    #[error(
        "its key is shorter than {RSA_BITS_MIN} bits (RSA) or {EC_BITS_MIN} bits (elliptic curve), or of another kind"
    )]
    WeakKey,
    #[error("it may be used neither for client authentication nor for smartcard logon")]
    Purpose,
    #[error("{0}")]
    Path(webpki::Error),
}

impl Verifier {
    /// A verifier for certificates that lead to `anchors`.
    pub fn new(anchors: &Anchors, revocation: Revocation) -> Result<Arc<Self>, TlsError> {
        let trusted = anchors.trust_anchors()?;
        let hints =
            trusted.iter().map(|a| DistinguishedName::in_sequence(a.subject.as_ref())).collect::<Vec<_>>();
        Ok(Arc::new(Verifier {
            anchors: trusted,
            hints,
            revocation,
            algorithms: rustls::crypto::ring::default_provider().signature_verification_algorithms,
        }))
    }

    /// Checks a chain, leaf first, as of `now`.
    pub fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Refused> {
        fit_leaf(leaf)?;
        let certificate = EndEntityCert::try_from(leaf).map_err(Refused::Path)?;
        self.revocation.with_options(|revocation| {
            if revocation.is_none() && self.revocation.refuses_everything() {
                return Err(Refused::Path(webpki::Error::UnknownRevocationStatus));
            }
            certificate
                .verify_for_usage(
                    self.algorithms.all,
                    &self.anchors,
                    intermediates,
                    now,
                    ClientOrCard,
                    revocation,
                    None,
                )
                .map(|_| ())
                .map_err(Refused::Path)
        })
    }
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

/// The strength of the holder's key, and that the leaf itself says what it may be used for.
fn fit_leaf(leaf: &CertificateDer<'_>) -> Result<(), Refused> {
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
    if usage.value.client_auth || card { Ok(()) } else { Err(Refused::Purpose) }
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
        self.check(leaf, intermediates, now).map(|()| ClientCertVerified::assertion()).map_err(|refused| {
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
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The TLS alert that tells the client which part is at fault (RFC 8446 section 6.2).
fn alert_for(refused: &Refused) -> CertificateError {
    match refused {
        Refused::Malformed => CertificateError::BadEncoding,
        Refused::Purpose => CertificateError::InvalidPurpose,
        Refused::WeakKey => CertificateError::ApplicationVerificationFailure,
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
mod tests;
