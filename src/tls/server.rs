//! Settings with which we answer clients at the front door.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;

use crate::tls::error::TlsError;
use crate::tls::material::Identity;
use crate::tls::smartcard::Verifier;

/// What new connections are answered with, and what certificates of open ones are held against.
#[derive(Debug)]
pub struct FrontTls {
    pub config: Arc<ServerConfig>,
    /// The one inside `config`.
    pub verifier: Arc<Verifier>,
}

/// TLS 1.2 and 1.3 with our certificate; a client certificate is asked for and, when one comes, must satisfy
/// `verifier`. A client without one stays anonymous.
///
/// There is no session resumption, by ticket or by store: a resumed session would skip the verifier, and so outlive
/// a revocation.
pub fn server_config(identity: &Identity, verifier: Arc<Verifier>) -> Result<Arc<FrontTls>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| TlsError::Settings(e.to_string()))?
        .with_client_cert_verifier(Arc::clone(&verifier) as Arc<dyn ClientCertVerifier>)
        .with_single_cert(identity.chain().to_vec(), identity.key())
        .map_err(|e| TlsError::Key(e.to_string()))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(FrontTls { config: Arc::new(config), verifier }))
}
