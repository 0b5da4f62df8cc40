//! What is asked of a directory, and what comes back.

use crate::directory::error::DirectoryError;
use crate::ldap::filter::Filter;
use crate::secret::attributes::is_secret;
use crate::secret::text::Secret;

/// Who we say we are.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A DN or a user principal name, with its password.
    Simple { name: String, password: Secret },
    /// The TLS client certificate (SASL EXTERNAL, RFC 4422 appendix A).
    External,
    /// Nobody.
    Anonymous,
}

/// A control as it travels, in either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawControl {
    pub oid: String,
    pub critical: bool,
    pub value: Option<Vec<u8>>,
}

impl RawControl {
    /// A critical control without a value.
    pub fn critical(oid: &str) -> Self {
        RawControl { oid: oid.to_owned(), critical: true, value: None }
    }

    /// The same control with a value.
    pub fn with_value(mut self, value: Vec<u8>) -> Self {
        self.value = Some(value);
        self
    }
}

/// How far below the base a search looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Base,
    One,
    Subtree,
}

/// One search.
#[derive(Debug, Clone)]
pub struct Search {
    /// The base DN; empty means the root DSE.
    pub base: String,
    pub scope: Scope,
    pub filter: Filter<'static>,
    /// The attributes asked for; must name them (no `*`), and none that holds a secret. `1.1` asks for none. Empty is
    /// allowed only for the root DSE.
    pub attributes: Vec<String>,
    pub controls: Vec<RawControl>,
    /// Entries per page, or none for a search without the paged results control (DirSync, root DSE).
    pub page_size: Option<u32>,
    /// Stop after this many entries and say so.
    pub entries: Option<u64>,
}

impl Search {
    /// A search without controls and without paging.
    pub fn new(base: &str, scope: Scope, filter: Filter<'static>, attributes: &[&str]) -> Self {
        Search {
            base: base.to_owned(),
            scope,
            filter,
            attributes: attributes.iter().map(|name| (*name).to_owned()).collect(),
            controls: Vec::new(),
            page_size: None,
            entries: None,
        }
    }

    /// The same search in pages of this many entries.
    pub fn paged(mut self, page_size: u32) -> Self {
        self.page_size = Some(page_size);
        self
    }

    /// The same search with one more control.
    pub fn control(mut self, control: RawControl) -> Self {
        self.controls.push(control);
        self
    }

    /// Refuses a search that could bring a secret.
    pub fn check(&self) -> Result<(), DirectoryError> {
        if self.attributes.is_empty() && !self.base.is_empty() {
            return Err(DirectoryError::EveryAttribute);
        }
        for name in &self.attributes {
            if name == "*" && !self.base.is_empty() {
                return Err(DirectoryError::EveryAttribute);
            }
            if is_secret(name) {
                return Err(DirectoryError::SecretAttribute(name.clone()));
            }
        }
        // what a value is held against finds it out, question by question
        match self.filter.compares(&is_secret) {
            Some(name) => Err(DirectoryError::SecretAttribute(name.to_owned())),
            None => Ok(()),
        }
    }
}

/// How a search ended. Entries were given to the caller as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchDone {
    /// The last page's result code: 0 is success (RFC 4511 section 4.1.9).
    pub code: u32,
    /// The directory's own text.
    pub text: String,
    /// The last page's response controls.
    pub controls: Vec<RawControl>,
    pub pages: u32,
    pub entries: u64,
    /// Continuation references that came with it; none is followed.
    pub referrals: Vec<String>,
    /// Whether it was stopped by a limit of ours, so that entries may be missing.
    pub stopped: bool,
}

impl SearchDone {
    /// Whether every entry that matches and that we may see has come.
    pub fn is_complete(&self) -> bool {
        self.code == 0 && !self.stopped
    }

    /// The response control with this OID.
    pub fn control(&self, oid: &str) -> Option<&RawControl> {
        self.controls.iter().find(|control| control.oid == oid)
    }
}

/// One change of an attribute in a modify request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Add {
        attribute: String,
        values: Vec<Vec<u8>>,
    },
    /// Without values: the whole attribute.
    Delete {
        attribute: String,
        values: Vec<Vec<u8>>,
    },
    Replace {
        attribute: String,
        values: Vec<Vec<u8>>,
    },
}

/// What a write came to. A code other than 0 is no error of this module: the caller decides what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Result code, 0 is success (RFC 4511 section 4.1.9).
    pub code: u32,
    /// The directory's own text.
    pub text: String,
    /// Response controls, for example post-read.
    pub controls: Vec<RawControl>,
}

impl Outcome {
    pub fn is_success(&self) -> bool {
        self.code == 0
    }

    /// The response control with this OID.
    pub fn control(&self, oid: &str) -> Option<&RawControl> {
        self.controls.iter().find(|control| control.oid == oid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_never_asked_for() {
        let any = || Filter::Present("objectClass".into());
        let search = |names: &[&str]| Search::new("DC=rxa", Scope::Base, any(), names).check();
        assert_eq!(search(&["cn"]), Ok(()));
        for name in ["unicodePwd", "ms-Mcs-AdmPwd", "msLAPS-EncryptedPassword", "UNICODEPWD;range=0-1"] {
            assert_eq!(search(&["cn", name]), Err(DirectoryError::SecretAttribute(name.to_owned())));
        }
        assert_eq!(search(&[]), Err(DirectoryError::EveryAttribute));
        assert_eq!(search(&["cn", "*"]), Err(DirectoryError::EveryAttribute));
        assert_eq!(search(&["msLAPS-PasswordExpirationTime"]), Ok(()));
        let held = |filter: &str| {
            let filter = Filter::parse(filter).unwrap().into_owned();
            Search::new("DC=rxa", Scope::Subtree, filter, &["cn"]).check()
        };
        assert_eq!(held("(&(cn=a)(userPassword=*))"), Ok(()));
        let refused = Err(DirectoryError::SecretAttribute("unicodePwd".to_owned()));
        assert_eq!(held("(|(cn=a)(!(unicodePwd=a*)))"), refused);
    }
}
