//! What a shard asks, and what it hears.

use std::net::IpAddr;
use std::sync::Arc;

use crate::namespace::mapping::Mapping;
use crate::policy::terms::OdsCode;
use crate::proxy::requesters::Home;
use crate::proxy::snapshot::Endpoint;
use crate::secret::text::Secret;

/// A question about a person.
#[derive(Debug)]
pub struct Question {
    pub member: OdsCode,
    /// How the member's directory is reached and where it begins.
    pub endpoint: Arc<Endpoint>,
    pub mapping: Arc<Mapping>,
    pub ask: Ask,
}

/// What is to be found out.
#[derive(Debug)]
pub enum Ask {
    /// Whether the account is there, once, and may log on.
    Account(Arc<Home>),
    /// Whether this name binds with this password.
    Password(Password),
}

/// A name and a password as a client sent them, and where it sits. `Debug` shows none of them.
pub struct Password {
    /// As the member's directory knows it: a distinguished name or a principal name.
    pub name: String,
    /// The same name in the one spelling that tries are counted by.
    pub key: String,
    pub password: Secret,
    pub address: IpAddr,
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// No such account, several, one that may not log on, a wrong password, or too many tries.
    Refused,
    /// The directory did not answer, or not so that it could be told.
    Unavailable,
}

/// A verdict on its way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    pub client: usize,
    /// As it was asked with: a number that is never used twice.
    pub serial: u64,
    pub verdict: Verdict,
}
