//! Certificate revocation lists, held ready for checking.
//!
//! Complete lists only: a delta list (RFC 5280 section 5.2.4) is refused when it is read, because to use it means to
//! join it with the one list it belongs to.

use std::path::Path;

use serde::Deserialize;
use time::{Duration, OffsetDateTime};
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};

use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::tls::error::TlsError;
use crate::tls::material::revocation_lists;

/// The extension that makes a list a delta list, RFC 5280 section 5.2.4.
const DELTA: &str = "2.5.29.27";

/// What to do with a certificate whose issuer has no list here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unlisted {
    /// Refuse it: unknown is not "not revoked".
    #[default]
    Refuse,
    /// Take it; lists that are here still count, and an expired one still refuses.
    Accept,
}

/// The lists in force. A list past its `nextUpdate` refuses every certificate of its issuer. One that is older than the
/// maximum age refuses those of its holders, not of authorities below: the lists of an offline root are old and good.
#[derive(Debug)]
pub struct Revocation {
    lists: Vec<List>,
    unlisted: Unlisted,
    max_age: Option<Duration>,
}

#[derive(Debug)]
struct List {
    list: CertRevocationList<'static>,
    this_update: OffsetDateTime,
    next_update: OffsetDateTime,
}

impl Revocation {
    /// Reads every list of every file.
    pub fn load<P: AsRef<Path>>(files: &[P], unlisted: Unlisted) -> Result<Self, TlsError> {
        let mut lists = Vec::new();
        for path in files {
            let path = path.as_ref();
            for der in revocation_lists(path)? {
                let list =
                    read(&der).map_err(|cause| TlsError::Malformed { path: path.to_owned(), cause })?;
                lists.push(list);
            }
        }
        Ok(Revocation { lists, unlisted, max_age: None })
    }

    /// The same lists, which no longer count for holders' certificates once they are older than `age`, whatever their
    /// `nextUpdate` says.
    #[must_use]
    pub fn with_max_age(self, age: Duration) -> Self {
        Revocation { max_age: Some(age), ..self }
    }

    /// Whether no certificate at all could pass, because no list is here and unlisted issuers are refused.
    pub fn refuses_everything(&self) -> bool {
        self.lists.is_empty() && self.unlisted == Unlisted::Refuse
    }

    /// Whether any list has an entry for this serial number, of whatever issuer.
    pub(crate) fn mentions(&self, serial: &[u8]) -> bool {
        self.lists.iter().any(|list| !matches!(list.list.find_serial(serial), Ok(None)))
    }

    /// Whether a list of `issuer` (raw, without the outer sequence) is older than the maximum age.
    pub(crate) fn is_too_old(&self, issuer: &[u8], now: OffsetDateTime) -> bool {
        self.of(issuer).any(|list| self.max_age.is_some_and(|age| now - list.this_update >= age))
    }

    /// When the first of the lists of `issuer` that still count ends; none when there is no list.
    pub(crate) fn ends(&self, issuer: &[u8], now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.of(issuer).map(|list| list.next_update).filter(|end| *end > now).min()
    }

    /// When the first of the lists of `issuer` reaches the maximum age; none when there is no list or no such age.
    pub(crate) fn ages(&self, issuer: &[u8], now: OffsetDateTime) -> Option<OffsetDateTime> {
        let age = self.max_age?;
        self.of(issuer).filter_map(|list| list.this_update.checked_add(age)).filter(|end| *end > now).min()
    }

    fn of<'a>(&'a self, issuer: &'a [u8]) -> impl Iterator<Item = &'a List> {
        self.lists.iter().filter(move |list| list.list.issuer() == issuer)
    }

    /// Runs `check` with the options that webpki wants; they borrow the lists.
    pub(crate) fn with_options<R>(&self, check: impl FnOnce(Option<RevocationOptions<'_>>) -> R) -> R {
        let lists: Vec<&CertRevocationList<'_>> = self.lists.iter().map(|list| &list.list).collect();
        let status = match self.unlisted {
            Unlisted::Refuse => UnknownStatusPolicy::Deny,
            Unlisted::Accept => UnknownStatusPolicy::Allow,
        };
        let options = RevocationOptionsBuilder::new(&lists).ok().map(|builder| {
            builder
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(status)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        check(options)
    }
}

fn read(der: &[u8]) -> Result<List, String> {
    let (_, parsed) = CertificateRevocationList::from_der(der).map_err(|e| e.to_string())?;
    if parsed.extensions().iter().any(|extension| extension.oid.to_id_string() == DELTA) {
        return Err("this is a delta list; give complete revocation lists".to_owned());
    }
    let next_update = parsed.next_update().ok_or("the list does not say when the next one comes")?;
    let list = OwnedCertRevocationList::from_der(der).map_err(|e| e.to_string())?;
    Ok(List {
        list: CertRevocationList::from(list),
        this_update: parsed.last_update().to_datetime(),
        next_update: next_update.to_datetime(),
    })
}
