//! How patient and how trusting we are with a directory.

use std::time::Duration;

use serde::Deserialize;

/// Deadlines and limits of our own questions. The defaults are safe for an Active Directory of 100,000 accounts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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
