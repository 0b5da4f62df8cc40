//! The store's settings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ambient::bounds::{Bounds, Checked};

/// The least that `keep_latest` may say: as many assessments as a gate's decision ever reads.
pub const KEEP_LATEST_MIN: u32 = 64;
/// The least that `keep_days` may say: a month, so that who comes back to a matter still finds what was measured.
pub const KEEP_DAYS_MIN: u32 = 31;

/// How the embedded store behaves. Its file is `<data_dir>/portcullis.sqlite`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How long a write waits for another process's write, in milliseconds.
    pub busy_timeout_ms: u32,
    /// Largest size of the database file in MiB. 0: as much as the disk holds.
    pub max_size_mib: u32,
    /// How many of a member's newest evidence documents, and of its newest assessments, are kept whatever their age. At
    /// least 64.
    pub keep_latest: u32,
    /// For how many UTC days, today included, the first evidence document and the first assessment of each day are kept. At
    /// least 31. What a gate's history names is kept without end.
    pub keep_days: u32,
}

impl Default for Settings {
    fn default() -> Self {
        // 400 days: a year, and time to look back at it
        Settings { busy_timeout_ms: 5_000, max_size_mib: 0, keep_latest: KEEP_LATEST_MIN, keep_days: 400 }
    }
}

/// How much of a member's evidence and assessments stays when they are thinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The newest evidence documents and the newest assessments, this many of each; at least 1.
    pub keep_latest: u32,
    /// The first of each UTC day, for this many days, today included.
    pub keep_days: u32,
}

impl Settings {
    /// What stays when evidence is thinned; never less than can be used.
    pub fn retention(&self) -> Retention {
        Retention {
            keep_latest: self.keep_latest.max(KEEP_LATEST_MIN),
            keep_days: self.keep_days.max(KEEP_DAYS_MIN),
        }
    }
}

impl Checked for Settings {
    fn bounds(&self) -> Bounds {
        Bounds::default()
            .within("busy_timeout_ms", self.busy_timeout_ms, 1..=600_000)
            // 8 TiB: half of what SQLite takes with pages of 4 KiB
            .within("max_size_mib", self.max_size_mib, 0..=1 << 23)
            .within("keep_latest", self.keep_latest, KEEP_LATEST_MIN..=100_000)
            .within("keep_days", self.keep_days, KEEP_DAYS_MIN..=36_500)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_is_told_and_not_used() {
        assert_eq!(Settings::default().faults(), []);
        assert_eq!(Settings::default().retention(), Retention { keep_latest: 64, keep_days: 400 });
        let little = Settings { keep_latest: 63, keep_days: 0, ..Settings::default() };
        let keys: Vec<_> = little.faults().into_iter().map(|fault| fault.key).collect();
        assert_eq!(keys, ["keep_latest", "keep_days"]);
        assert_eq!(little.retention(), Retention { keep_latest: KEEP_LATEST_MIN, keep_days: KEEP_DAYS_MIN });
    }
}
