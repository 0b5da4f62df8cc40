//! Settings with which we call a directory.

use std::sync::Arc;

use rustls::ClientConfig;

use crate::tls::error::TlsError;
use crate::tls::material::{Anchors, Identity};

/// TLS 1.2 and 1.3, the server verified against `anchors` and its name, our own certificate shown when there is one.
///
/// Sessions are never resumed: each connection proves the server's certificate again.
pub fn client_config(anchors: &Anchors, identity: Option<&Identity>) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| TlsError::Settings(e.to_string()))?
        .with_root_certificates(anchors.root_store()?);
    let mut config = match identity {
        Some(identity) => builder
            .with_client_auth_cert(identity.chain().to_vec(), identity.key())
            .map_err(|e| TlsError::Key(e.to_string()))?,
        None => builder.with_no_client_auth(),
    };
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}
