//! How people of a member come to the front door, as its record says it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What of a card names the account: one rule of a member's ordered list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CardMapping {
    /// The user principal name in `subjectAltName`; its domain must be one of the member's UPN suffixes.
    Upn,
    /// The security identifier of KB5014754.
    Sid,
    /// The subject, as a pattern: a distinguished name in which one value is `*`, for example `cn=*,ou=Staff,o=RXA`. What
    /// stands there is the account's name (`sAMAccountName`).
    Subject(String),
}

impl FromStr for CardMapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "upn" => Ok(CardMapping::Upn),
            "sid" => Ok(CardMapping::Sid),
            _ => match text.strip_prefix("subject:") {
                Some(pattern) if !pattern.trim().is_empty() => Ok(CardMapping::Subject(pattern.to_owned())),
                _ => Err(format!("`{text}` is no mapping; write upn, sid or subject:PATTERN")),
            },
        }
    }
}

impl fmt::Display for CardMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CardMapping::Upn => f.write_str("upn"),
            CardMapping::Sid => f.write_str("sid"),
            CardMapping::Subject(pattern) => write!(f, "subject:{pattern}"),
        }
    }
}

impl TryFrom<String> for CardMapping {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<CardMapping> for String {
    fn from(mapping: CardMapping) -> String {
        mapping.to_string()
    }
}

/// What becomes of passwords of a member's people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Passwords {
    /// None is taken.
    #[default]
    Refuse,
    /// A password is proven by a bind at the member's directory, where a release agreement names passwords.
    Forward,
}

/// An authority that may issue cards of a member's people, told by its key: a name proves nothing, because every trusted
/// authority can give it to one below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardIssuer {
    /// SHA-256 of its subject public key info (DER), lower-case hexadecimal.
    pub key_sha256: String,
    /// Its subject, for people to read.
    pub subject: String,
}

/// How people of a member come to the front door.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct People {
    /// In order of preference; empty means [`CardMapping::Upn`] alone.
    pub card_mapping: Vec<CardMapping>,
    /// Authorities of which one must be on a card's path; empty means any that the front door trusts, and then only the
    /// principal name can map.
    pub card_issuers: Vec<CardIssuer>,
    pub passwords: Passwords,
}
