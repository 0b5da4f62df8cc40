//! Logging to standard error, for machines (JSON) or for people.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::telemetry::colour;

/// Logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error(
        "the log filter `{filter}` is not one: {reason}; write for example `info,portcullis::sync=debug`"
    )]
    Filter { filter: String, reason: String },
    #[error("logging was started already")]
    Twice,
}

/// Whether logging can be started with the filter.
pub fn check(filter: &str) -> Result<(), LoggingError> {
    read(filter).map(|_| ())
}

fn read(filter: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::try_new(filter)
        .map_err(|error| LoggingError::Filter { filter: filter.to_owned(), reason: error.to_string() })
}

/// Starts logging for the whole process. `filter` is as in `info,portcullis::sync=debug`.
pub fn start(json: bool, filter: &str) -> Result<(), LoggingError> {
    let wanted = read(filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(wanted).with_writer(std::io::stderr);
    let started = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        let coloured = std::io::stderr().is_terminal() && colour::is_wanted();
        builder.with_ansi(coloured).with_target(false).try_init()
    };
    started.map_err(|_| LoggingError::Twice)
}
