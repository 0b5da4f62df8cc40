//! From when until when certificates and revocation lists are good, for whoever looks at files before they are used.

use std::path::Path;

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::tls::error::TlsError;
use crate::tls::material::revocation_lists;

/// The time in which something is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// The certificate's subject, or the list's issuer.
    pub name: String,
    pub from: OffsetDateTime,
    /// Inclusive.
    pub until: OffsetDateTime,
}

impl Validity {
    /// Why it is not good at `now`, as the end of a sentence; `None` when it is.
    pub fn fault(&self, now: OffsetDateTime) -> Option<String> {
        if now > self.until {
            Some(format!("ended on {}", day(self.until)))
        } else if now < self.from {
            Some(format!("begins on {} only", day(self.from)))
        } else {
            None
        }
    }
}

fn day(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!("{} at {:02}:{:02} UTC", at.date(), at.hour(), at.minute())
}

/// The validity of each certificate.
pub fn of_certificates(certificates: &[CertificateDer<'_>]) -> Result<Vec<Validity>, TlsError> {
    let read = |der: &CertificateDer<'_>| {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|e| TlsError::Certificate(e.to_string()))?;
        Ok(Validity {
            name: certificate.subject().to_string(),
            from: certificate.validity().not_before.to_datetime(),
            until: certificate.validity().not_after.to_datetime(),
        })
    };
    certificates.iter().map(read).collect()
}

/// The validity of each revocation list of a file.
pub fn of_revocation_lists(path: &Path) -> Result<Vec<Validity>, TlsError> {
    let malformed = |cause: String| TlsError::Malformed { path: path.to_owned(), cause };
    let read = |der: &CertificateRevocationListDer<'_>| {
        let (_, list) = CertificateRevocationList::from_der(der).map_err(|e| malformed(e.to_string()))?;
        let next = list.next_update();
        let next = next.ok_or_else(|| malformed("it does not say when the next list comes".to_owned()))?;
        Ok(Validity {
            name: list.issuer().to_string(),
            from: list.last_update().to_datetime(),
            until: next.to_datetime(),
        })
    };
    revocation_lists(path)?.iter().map(read).collect()
}
