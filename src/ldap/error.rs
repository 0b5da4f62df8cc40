//! What can be wrong with bytes or text that claim to be LDAP.
//!
//! All of these are the sender's fault, and the same bytes will fail again.

/// The bytes cannot even be cut into messages: nothing that follows on the connection can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first byte is not the tag of a SEQUENCE.
    #[error("expected a message (tag 0x30), found tag 0x{0:02x}")]
    NotAMessage(u8),
    /// Indefinite length, refused by RFC 4511 section 5.1.
    #[error("the message has an indefinite length, which LDAP does not allow")]
    Indefinite,
    /// More than four length bytes.
    #[error("the message states its length in more than 4 bytes")]
    LengthOfLength,
    /// Longer than `Limits::message_bytes`.
    #[error("the message claims {claimed} bytes, the limit is {limit}")]
    TooLong {
        /// Bytes that the message says it has.
        claimed: usize,
        /// The limit it was held against.
        limit: usize,
    },
}

/// Why a framed message, or a part of one, was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// An element reaches beyond what holds it, or a component is missing.
    #[error("an element is cut short")]
    Truncated,
    /// Indefinite length.
    #[error("an element has an indefinite length, which LDAP does not allow")]
    Indefinite,
    /// More than four length bytes.
    #[error("an element states its length in more than 4 bytes")]
    LengthOfLength,
    /// A tag of several bytes; LDAP has none.
    #[error("an element has a tag of more than one byte")]
    LongTag,
    /// Another element was due here.
    #[error("unexpected tag 0x{0:02x}")]
    Tag(u8),
    /// Bytes follow the last component.
    #[error("bytes follow where the element should end")]
    Trailing,
    /// An INTEGER or ENUMERATED that is empty, not minimal, too large, or out of its range.
    #[error("an integer is not minimal or out of range")]
    Integer,
    /// A BOOLEAN whose contents are not one byte 00 or FF.
    #[error("a boolean is neither 00 nor ff")]
    Boolean,
    /// A text that is not UTF-8.
    #[error("a text is not UTF-8")]
    Utf8,
    /// An attribute description or object identifier with a character that has no place in it, or none at all.
    #[error("an attribute name or object identifier is malformed")]
    Name,
    /// A list that must not be empty is.
    #[error("a list that needs at least one element is empty")]
    Empty,
    /// Parts of a substring filter are repeated, out of order or empty.
    #[error("the parts of a substring filter are out of order, repeated or empty")]
    Substrings,
    /// A filter of a kind that LDAP does not have.
    #[error("unknown kind of filter (tag 0x{0:02x})")]
    Filter(u8),
    /// A value of an enumeration, or a version, that LDAP does not have.
    #[error("unknown {0}")]
    Unknown(&'static str),
    /// A limit was passed.
    #[error("the message passes the limit on {0}")]
    Limit(Limit),
    /// The operation of the message is not one of RFC 4511.
    #[error("unknown operation (tag 0x{0:02x})")]
    Operation(u8),
}

impl DecodeError {
    /// The bytes are no elements that lie inside each other, so that nothing after the fault can be trusted (RFC 4511 section
    /// 4.1.1: the session ends). Any other fault is one of what a well-formed request says.
    pub fn is_structural(self) -> bool {
        use DecodeError::{Indefinite, LengthOfLength, LongTag, Operation, Trailing, Truncated};
        matches!(self, Truncated | Indefinite | LengthOfLength | LongTag | Trailing | Operation(_))
    }

    /// The limit that was passed, if that is the reason.
    pub fn limit(self) -> Option<Limit> {
        if let DecodeError::Limit(limit) = self { Some(limit) } else { None }
    }
}

/// The limit that a message passed; the names are those of [`crate::ldap::limits::Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the limits, documented there")]
pub enum Limit {
    MessageBytes,
    Depth,
    FilterItems,
    Controls,
    Attributes,
    Values,
    DnBytes,
    NameBytes,
    Referrals,
}

impl Limit {
    /// The limit's name as the configuration spells it.
    pub fn name(self) -> &'static str {
        match self {
            Limit::MessageBytes => "message_bytes",
            Limit::Depth => "depth",
            Limit::FilterItems => "filter_items",
            Limit::Controls => "controls",
            Limit::Attributes => "attributes",
            Limit::Values => "values",
            Limit::DnBytes => "dn_bytes",
            Limit::NameBytes => "name_bytes",
            Limit::Referrals => "referrals",
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a text is not a filter (RFC 4515).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a filter at byte {at}: {problem}")]
pub struct FilterError {
    /// Byte of the text at which reading stopped, from 0.
    pub at: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

/// Why a text is not a distinguished name (RFC 4514).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a distinguished name at byte {at}: {problem}")]
pub struct DnError {
    /// Byte of the text at which reading stopped, from 0.
    pub at: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

/// Why a text is not an attribute description (RFC 4512 section 2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an attribute description: write a name or an object identifier, then options after `;`")]
pub struct DescriptionError;

/// Why a text is not an LDAP URL (RFC 4516).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not `ldap://` or `ldaps://`.
    #[error("the address must start with `ldap://` or `ldaps://`")]
    Scheme,
    /// The part between the slashes is no host and port.
    #[error("the address has no usable host and port")]
    Host,
    /// A `%` without two hexadecimal digits, or escaped bytes that are not UTF-8.
    #[error("the address has a malformed `%` escape")]
    Escape,
    /// The name is malformed.
    #[error(transparent)]
    Dn(#[from] DnError),
    /// The scope is not `base`, `one` or `sub`.
    #[error("the scope must be `base`, `one` or `sub`")]
    Scope,
    /// The filter is malformed.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// An extension marked critical, which nobody here knows.
    #[error("the address has a critical extension, and none is known")]
    Extension,
}
