//! Reads the configuration file.

use std::path::Path;

use crate::config::fault::Faults;
use crate::config::settings::Config;

/// Reads and checks the file at `path`, or reports all its faults.
pub fn load(path: &Path) -> Result<Config, Faults> {
    let text = std::fs::read_to_string(path).map_err(|error| Faults::unreadable(path, &error))?;
    let _ = text;
    Err(Faults::unreadable(path, &"not read yet"))
}
