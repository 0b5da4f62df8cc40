//! Why the gateway did not start.

use crate::ambient::chance::NoChance;
use crate::config::fault::Faults;
use crate::proxy::error::ProxyError;
use crate::secret::signing::SigningError;
use crate::store::error::StoreError;
use crate::telemetry::logging::LoggingError;
use crate::tls::error::TlsError;

/// The gateway did not start, or had to end. Always ours.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("{0}")]
    Config(#[from] Faults),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error(transparent)]
    Logging(#[from] LoggingError),
    #[error("a metric could not be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("cannot listen on {address} for metrics: {cause}")]
    Listen { address: std::net::SocketAddr, cause: std::io::Error },
    #[error(transparent)]
    Front(#[from] ProxyError),
    #[error("the front door's certificates: {0}")]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Chance(#[from] NoChance),
    #[error("{what} could not be started: {cause}")]
    Start { what: &'static str, cause: std::io::Error },
}
