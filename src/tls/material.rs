//! Certificates, private keys and trust anchors, read from PEM files.

use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, TrustAnchor};

use crate::secret::file;
use crate::tls::error::TlsError;

/// The most certificates that one file may hold. A system-wide bundle has about 150.
pub const CERTIFICATES_MAX: usize = 4096;

/// The largest key file that is read. A chain may stand before the key.
const KEY_BYTES_MAX: u64 = 1 << 20;

/// A certificate chain, leaf first, and its private key. `Debug` shows no key.
#[derive(Clone)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
}

impl Identity {
    /// Reads a PEM chain and a PEM key (see [`private_key`]). Both may be the same file.
    pub fn load(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Identity { chain: certificates(chain)?, key: Arc::new(private_key(key)?) })
    }

    /// From parts in memory.
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        if chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        Ok(Identity { chain, key: Arc::new(key) })
    }

    /// Whether the key can be used and is the leaf's: what a server's or a client's settings ask, too.
    pub fn check(&self) -> Result<(), TlsError> {
        let provider = rustls::crypto::ring::default_provider();
        rustls::sign::CertifiedKey::from_der(self.chain.clone(), self.key(), &provider)
            .map(|_| ())
            .map_err(|e| TlsError::Key(e.to_string()))
    }

    /// The chain, leaf first; never empty.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// A copy of the key for a settings builder.
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({} certificates)", self.chain.len())
    }
}

/// Certificates that are trusted to issue; never empty.
#[derive(Debug, Clone)]
pub struct Anchors(Arc<[CertificateDer<'static>]>);

impl Anchors {
    /// Reads every certificate of a PEM file.
    pub fn load(path: &Path) -> Result<Self, TlsError> {
        Self::from_der(certificates(path)?)
    }

    /// From certificates in memory; each must be readable as a trust anchor.
    pub fn from_der(certificates: Vec<CertificateDer<'static>>) -> Result<Self, TlsError> {
        if certificates.is_empty() {
            return Err(TlsError::NoAnchor);
        }
        for certificate in &certificates {
            webpki::anchor_from_trusted_cert(certificate)
                .map_err(|e| TlsError::Certificate(e.to_string()))?;
        }
        Ok(Anchors(certificates.into()))
    }

    /// The certificates themselves.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    /// As a rustls root store.
    pub fn root_store(&self) -> Result<rustls::RootCertStore, TlsError> {
        let mut store = rustls::RootCertStore::empty();
        for certificate in self.0.iter() {
            store.add(certificate.clone()).map_err(|e| TlsError::Certificate(e.to_string()))?;
        }
        Ok(store)
    }

    /// As webpki trust anchors that own their bytes.
    pub fn trust_anchors(&self) -> Result<Vec<TrustAnchor<'static>>, TlsError> {
        let read = |c| webpki::anchor_from_trusted_cert(c).map(|a| a.to_owned());
        self.0.iter().map(read).collect::<Result<_, _>>().map_err(|e| TlsError::Certificate(e.to_string()))
    }
}

/// Reads the revocation lists of one file: any number in PEM, or a single one in DER.
pub fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|e| TlsError::Malformed { path: path.to_owned(), cause: e.to_string() })?;
    match (lists.is_empty(), bytes.first()) {
        (false, _) => Ok(lists),
        (true, Some(0x30)) => Ok(vec![CertificateRevocationListDer::from(bytes)]),
        (true, _) => Err(TlsError::Missing { path: path.to_owned(), what: "certificate revocation list" }),
    }
}

/// Reads a PEM key (PKCS#1, SEC1 or PKCS#8). A file that others can read is refused.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = file::read(path, KEY_BYTES_MAX)?;
    PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|_| TlsError::Missing { path: path.to_owned(), what: "private key" })
}

/// Reads the certificates of a PEM file; never none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .take(CERTIFICATES_MAX)
        .collect::<Result<_, _>>()
        .map_err(|e| TlsError::Malformed { path: path.to_owned(), cause: e.to_string() })?;
    if certificates.is_empty() {
        return Err(TlsError::Missing { path: path.to_owned(), what: "certificate" });
    }
    Ok(certificates)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|e| TlsError::Unreadable { path: path.to_owned(), cause: e.to_string() })
}
