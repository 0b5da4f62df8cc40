//! Certificate revocation lists, held ready for checking.

use std::path::Path;

use serde::Deserialize;
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};

use crate::tls::error::TlsError;
use crate::tls::material::revocation_lists;

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

/// The lists in force. A list past its `nextUpdate` refuses every certificate of its issuer.
#[derive(Debug)]
pub struct Revocation {
    lists: Vec<CertRevocationList<'static>>,
    unlisted: Unlisted,
}

impl Revocation {
    /// Reads every list of every file.
    pub fn load<P: AsRef<Path>>(files: &[P], unlisted: Unlisted) -> Result<Self, TlsError> {
        let mut lists = Vec::new();
        for path in files {
            let path = path.as_ref();
            for der in revocation_lists(path)? {
                let list = OwnedCertRevocationList::from_der(&der)
                    .map_err(|e| TlsError::Malformed { path: path.to_owned(), cause: e.to_string() })?;
                lists.push(CertRevocationList::from(list));
            }
        }
        Ok(Revocation { lists, unlisted })
    }

    /// Whether no certificate at all could pass, because no list is here and unlisted issuers are refused.
    pub fn refuses_everything(&self) -> bool {
        self.lists.is_empty() && self.unlisted == Unlisted::Refuse
    }

    /// Runs `check` with the options that webpki wants; they borrow the lists.
    pub(crate) fn with_options<R>(&self, check: impl FnOnce(Option<RevocationOptions<'_>>) -> R) -> R {
        let lists: Vec<&CertRevocationList<'_>> = self.lists.iter().collect();
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
