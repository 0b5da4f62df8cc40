//! What a client's certificate proves, and for how long.

use rustls::pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;

use crate::tls::identity::ClientIdentity;
use crate::tls::smartcard::{Refused, Verifier};

/// A certificate that was found good.
#[derive(Debug, Clone)]
pub struct Proof {
    pub identity: ClientIdentity,
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// From then on it must be checked again.
    pub until: OffsetDateTime,
}

impl Proof {
    /// Checks a chain, leaf first and never empty, and reads its leaf.
    ///
    /// # Errors
    ///
    /// Why it is not good at `now`.
    pub fn check(
        chain: Vec<CertificateDer<'static>>,
        verifier: &Verifier,
        now: OffsetDateTime,
    ) -> Result<Self, Refused> {
        let (leaf, intermediates) = chain.split_first().ok_or(Refused::Malformed)?;
        let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let accepted = verifier.check(leaf, intermediates, at)?;
        let identity =
            ClientIdentity::verified(leaf, &accepted.authorities).map_err(|_| Refused::Malformed)?;
        Ok(Proof { until: accepted.until, identity, chain })
    }
}
