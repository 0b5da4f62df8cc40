//! How patient the observer of the national directory is.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ambient::bounds::{Bounds, Checked};

/// The observer's times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether the national directory is watched (RFC 4533). Without it drift is found by each sync run alone.
    pub enabled: bool,
    /// Seconds of silence after which the directory is asked for a sign of life.
    pub beat_seconds: u32,
    /// Seconds that a member's entries must be quiet before they are judged: its own run may be under way.
    pub settle_seconds: u32,
    /// Seconds between two looks at the journal and at which attributes are published.
    pub look_seconds: u32,
    /// Seconds between two savings of what is known, so that a restart goes on from there.
    pub keep_seconds: u32,
    /// The most seconds between two attempts to connect.
    pub retry_seconds: u32,
    /// Seconds that what was saved is good for. Later everything is read anew: a directory may have forgotten what changed since,
    /// and not every one says so.
    pub resume_seconds: u32,
    /// Seconds between two complete readings: a directory may lose a message when very much is written.
    pub refresh_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            enabled: true,
            beat_seconds: 30,
            settle_seconds: 5,
            look_seconds: 30,
            keep_seconds: 60,
            retry_seconds: 60,
            resume_seconds: 3_600,
            refresh_seconds: 21_600,
        }
    }
}

/// A number of seconds.
pub fn seconds(number: u32) -> Duration {
    Duration::from_secs(u64::from(number.max(1)))
}

impl Checked for Settings {
    fn bounds(&self) -> Bounds {
        Bounds::default()
            .within("beat_seconds", self.beat_seconds, 1..=3_600)
            .within("settle_seconds", self.settle_seconds, 1..=3_600)
            .within("look_seconds", self.look_seconds, 1..=3_600)
            .within("keep_seconds", self.keep_seconds, 1..=86_400)
            .within("retry_seconds", self.retry_seconds, 1..=3_600)
            .within("resume_seconds", self.resume_seconds, 1..=604_800)
            .within("refresh_seconds", self.refresh_seconds, 60..=604_800)
    }
}
