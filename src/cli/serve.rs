//! `portcullis serve`: the gateway itself.

use std::sync::Arc;

use crate::app::run;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::config::file;
use crate::config::settings::LogFormat;
use crate::telemetry::logging;

/// Runs until a signal ends it: SIGTERM drains, SIGHUP reads policy documents, members, passwords and certificates again, but
/// not the configuration file.
pub fn run(context: &Context) -> Result<Answer, Failure> {
    let now = context.clock.now();
    let (config, warnings) = file::check(context.config_path(), now).map_err(Failure::could_not)?;
    logging::start(config.log.format == LogFormat::Json, &config.log.filter).map_err(Failure::could_not)?;
    for warning in &warnings.faults {
        let place = format!("{}:{}:{}", warnings.file.display(), warning.line, warning.column);
        tracing::warn!(place, hint = warning.hint, "configuration: {}", warning.message);
    }
    run::serve(Arc::new(config), context.clock.clone()).map_err(Failure::could_not)?;
    Ok(Answer::Yes)
}
