//! What a controller's certificate is worth: the chain it sends, held against the member's anchors.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use time::OffsetDateTime;
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use crate::baseline::certificate::{key, signature_name};
use crate::directory;
use crate::directory::dial::dial;
use crate::directory::endpoint::Endpoint;

/// A verifier that keeps the chain and refuses it, whatever it is: the handshake ends there, and nothing is ever sent to a
/// server that was not verified.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Vec<CertificateDer<'static>>>);

impl Recorder {
    /// What the server sent, leaf first; empty when it sent nothing.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// TLS settings that record through `recorder`.
    pub fn config(recorder: &Arc<Recorder>) -> Result<Arc<ClientConfig>, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(recorder) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain =
            std::iter::once(end_entity).chain(intermediates).map(|c| c.clone().into_owned()).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::InvalidCertificate(CertificateError::BadSignature))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::InvalidCertificate(CertificateError::BadSignature))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What a server shows in a handshake, leaf first; never empty.
pub async fn chain_of(
    controller: &Endpoint,
    settings: &directory::settings::Settings,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let recorder = Arc::new(Recorder::default());
    let config = Recorder::config(&recorder).map_err(|error| error.to_string())?;
    // always an error: the recorder refuses every chain once it has it
    let refusal = match dial(controller, config, settings).await {
        Ok(_) => "the handshake ended without a certificate".to_owned(),
        Err(error) => error.to_string(),
    };
    let chain = recorder.chain();
    if chain.is_empty() { Err(refusal) } else { Ok(chain) }
}

/// What a chain says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appraisal {
    /// Whether it leads to an anchor, is in date and may serve TLS; none when our verifier cannot judge it.
    pub chain_valid: Option<bool>,
    /// Why not, or why it cannot be judged; empty when valid.
    pub problem: String,
    pub name_matches: bool,
    /// `rsa`, `ec`, `ed25519` or `other`.
    pub key_algorithm: String,
    pub key_bits: i64,
    /// For example `sha256-rsa`.
    pub signature_algorithm: String,
    pub not_after: OffsetDateTime,
    pub self_signed: bool,
    /// Extended key usages; none are named when the certificate does not limit them.
    pub usages: BTreeSet<String>,
}

/// Appraises a chain, leaf first, for a server that must be called `name`.
pub fn appraise(
    chain: &[CertificateDer<'static>],
    anchors: &[TrustAnchor<'_>],
    name: &str,
    now: OffsetDateTime,
) -> Result<Appraisal, String> {
    let (leaf, intermediates) = chain.split_first().ok_or("the server sent no certificate")?;
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
    let (key_algorithm, key_bits) = key(&parsed);
    let self_signed = parsed.issuer() == parsed.subject() && parsed.verify_signature(None).is_ok();
    let (chain_valid, problem) = match verify(leaf, intermediates, anchors, now) {
        Ok(()) => (Some(true), String::new()),
        // a limit of our verifier, no fault of the certificate
        Err(error @ webpki::Error::UnsupportedCriticalExtension) => (None, format!("{error:?}")),
        Err(error) => (Some(false), format!("{error:?}")),
    };
    let name_matches = ServerName::try_from(name.to_owned()).is_ok_and(|name| {
        EndEntityCert::try_from(leaf).is_ok_and(|leaf| leaf.verify_is_valid_for_subject_name(&name).is_ok())
    });
    Ok(Appraisal {
        chain_valid,
        problem,
        name_matches,
        key_algorithm: key_algorithm.to_owned(),
        key_bits,
        signature_algorithm: signature_name(&parsed.signature_algorithm.algorithm.to_id_string()).to_owned(),
        not_after: parsed.validity().not_after.to_datetime(),
        self_signed,
        usages: usages(&parsed),
    })
}

/// RFC 5280 section 4.2.1.12, as object identifiers.
fn usages(certificate: &X509Certificate<'_>) -> BTreeSet<String> {
    let extension = |oid: &str| certificate.extensions().iter().find(|e| e.oid.to_id_string() == oid);
    let Some(ParsedExtension::ExtendedKeyUsage(usage)) = extension("2.5.29.37").map(|e| e.parsed_extension())
    else {
        return BTreeSet::new();
    };
    let named = [
        (usage.any, "2.5.29.37.0"),
        (usage.server_auth, "1.3.6.1.5.5.7.3.1"),
        (usage.client_auth, "1.3.6.1.5.5.7.3.2"),
    ];
    let named = named.into_iter().filter(|(has, _)| *has).map(|(_, oid)| oid.to_owned());
    named.chain(usage.other.iter().map(|oid| oid.to_id_string())).collect()
}

fn verify(
    leaf: &CertificateDer<'static>,
    intermediates: &[CertificateDer<'static>],
    anchors: &[TrustAnchor<'_>],
    now: OffsetDateTime,
) -> Result<(), webpki::Error> {
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    EndEntityCert::try_from(leaf)?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            anchors,
            intermediates,
            time,
            KeyUsage::server_auth(),
            None,
            None,
        )
        .map(|_| ())
}
