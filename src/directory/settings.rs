//! How patient and how trusting we are with a directory.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ambient::bounds::{Bounds, Checked};

/// Deadlines and limits of our own questions. The defaults are safe for an Active Directory of 100,000 accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Seconds for TCP and, again, for TLS.
    pub connect_seconds: u32,
    /// Seconds for one answer: a bind, a write, or one page of a search.
    pub answer_seconds: u32,
    /// Entries per page. Active Directory itself allows 1,000.
    pub page_size: u32,
    /// The most entries that one search may bring, all pages together.
    pub entries: u64,
    /// The most bytes of one message.
    pub message_bytes: usize,
    /// The most bytes that may arrive during one operation (one page of a search).
    pub operation_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            connect_seconds: 10,
            answer_seconds: 30,
            page_size: 500,
            entries: 2_000_000,
            message_bytes: 16 * 1024 * 1024,
            operation_bytes: 256 * 1024 * 1024,
        }
    }
}

impl Settings {
    /// The time for TCP or for TLS.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.connect_seconds.max(1)))
    }

    /// The time for one answer.
    pub fn answer_timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.answer_seconds.max(1)))
    }
}

impl Checked for Settings {
    fn bounds(&self) -> Bounds {
        // a size in memory is never more than 64 bits
        let message_bytes = u64::try_from(self.message_bytes).unwrap_or(u64::MAX);
        Bounds::default()
            .within("connect_seconds", self.connect_seconds, 1..=600)
            .within("answer_seconds", self.answer_seconds, 1..=3_600)
            .within("page_size", self.page_size, 1..=100_000)
            .within("entries", self.entries, 1..=1_000_000_000)
            .within("message_bytes", self.message_bytes, 64 * 1024..=1 << 30)
            .within("operation_bytes", self.operation_bytes, 64 * 1024..=1 << 40)
            .not_below("operation_bytes", self.operation_bytes, "message_bytes", message_bytes)
    }
}
