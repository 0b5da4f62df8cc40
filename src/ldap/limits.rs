//! What a message may hold before it is refused: every number has a name, and all of them are checked before the work.

use serde::{Deserialize, Serialize};

/// Limits of one direction of one connection. Counts are per message unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of the message's contents, without its own tag and length.
    pub message_bytes: usize,
    /// Filters inside one another: `(a=b)` is 1, `(!(a=b))` is 2.
    pub depth: u8,
    /// Filter items of all kinds together, sets included, and the parts of a substring filter.
    pub filter_items: usize,
    /// Controls on one message.
    pub controls: usize,
    /// Attributes asked for, or held by one entry; changes of one modify request.
    pub attributes: usize,
    /// Values of all attributes of one entry or request together.
    pub values: usize,
    /// Bytes of one distinguished name.
    pub dn_bytes: usize,
    /// Bytes of one attribute description, options included, or of one object identifier.
    pub name_bytes: usize,
    /// Continuation or referral addresses.
    pub referrals: usize,
}

impl Default for Limits {
    /// What a client may send once it is bound.
    fn default() -> Self {
        Limits {
            message_bytes: 1 << 20,
            depth: 32,
            filter_items: 1_024,
            controls: 16,
            attributes: 1_024,
            values: 4_096,
            dn_bytes: 8_192,
            name_bytes: 256,
            referrals: 16,
        }
    }
}

impl Limits {
    /// What anybody may send before a bind: enough for a bind, StartTLS and a question about the root.
    pub const fn before_bind() -> Self {
        Limits {
            message_bytes: 16 << 10,
            depth: 8,
            filter_items: 16,
            controls: 4,
            attributes: 64,
            values: 64,
            dn_bytes: 2_048,
            name_bytes: 256,
            referrals: 4,
        }
    }

    /// What a directory may answer: one entry can hold a photograph, a certificate list or 1,500 members.
    pub const fn from_directory() -> Self {
        Limits {
            message_bytes: 32 << 20,
            depth: 32,
            filter_items: 1_024,
            controls: 16,
            attributes: 4_096,
            values: 1_000_000,
            dn_bytes: 8_192,
            name_bytes: 256,
            referrals: 256,
        }
    }
}
