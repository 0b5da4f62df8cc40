//! The store's settings.

use serde::Deserialize;

/// How the embedded store behaves. Its file is `<data_dir>/portcullis.sqlite`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How long a write waits for another process's write, in milliseconds.
    pub busy_timeout_ms: u32,
    /// Largest size of the database file in MiB; 0 means as much as the disk holds.
    pub max_size_mib: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { busy_timeout_ms: 5_000, max_size_mib: 0 }
    }
}
