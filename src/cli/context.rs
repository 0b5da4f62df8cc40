//! What every command is given: where the configuration is, the store, the clock, and how to print.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::Serialize;

use crate::ambient::clock::Clock;
use crate::ambient::text::{harmless_json, printable_lines};
use crate::app::in_force::{self, Taken};
use crate::cli::failure::Failure;
use crate::config::file;
use crate::config::settings::Config;
use crate::policy::set::PolicySet;
use crate::store::audit::NewAudit;
use crate::store::port::Store;
use crate::store::sqlite::store::SqliteStore;
use crate::telemetry::colour;

/// The surroundings of one command. Configuration and store are opened when first asked for, so that a command that needs
/// neither works without them.
#[derive(Debug)]
pub struct Context {
    config_path: PathBuf,
    /// Whether the answer is to be JSON.
    pub json: bool,
    /// Who is asking, for the audit: `--actor`, or the name of the account that runs the command.
    pub actor: String,
    pub clock: Clock,
    config: OnceLock<Arc<Config>>,
    store: OnceLock<Arc<dyn Store>>,
}

impl Context {
    /// A context over the configuration file at `config_path`, which is not read yet.
    pub fn new(config_path: PathBuf, json: bool, actor: String, clock: Clock) -> Self {
        Context { config_path, json, actor, clock, config: OnceLock::new(), store: OnceLock::new() }
    }

    /// Where the configuration file is.
    pub fn config_path(&self) -> &Path {
        &self.config_path
    }

    /// The configuration; all its faults in one message when it has any.
    pub fn config(&self) -> Result<&Arc<Config>, Failure> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config = file::load(&self.config_path).map_err(Failure::could_not)?;
        Ok(self.config.get_or_init(|| Arc::new(config)))
    }

    /// The store of the configuration's `data_dir`, opened for this process. A running gateway notices what is written.
    pub fn store(&self) -> Result<&Arc<dyn Store>, Failure> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let config = self.config()?;
        let store = SqliteStore::open(&config.data_dir, &config.store).map_err(Failure::could_not)?;
        Ok(self.store.get_or_init(|| Arc::new(store)))
    }

    /// The policy set that counts for the gateway, with its faults if it has any: the activated one, else the configured folder's. A store
    /// that is not there yet is not made for that.
    pub fn taken(&self) -> Result<Taken, Failure> {
        let config = self.config()?;
        let is_there = SqliteStore::is_there(&config.data_dir).map_err(|error| {
            Failure::could_not(format!(
                "it cannot be told whether a policy set is activated: {}: {error}; run this as the gateway's user, or name a policy folder",
                config.data_dir.display()
            ))
        })?;
        let store = if is_there { Some(self.store()?.as_ref()) } else { None };
        Ok(in_force::take(config, store))
    }

    /// The policy set that counts for the gateway, when nothing keeps it from being in force.
    pub fn policies(&self) -> Result<PolicySet, Failure> {
        let taken = self.taken()?;
        if taken.faults.is_empty() {
            return Ok(taken.set);
        }
        const TOLD: usize = 10;
        let told: Vec<String> = taken.faults.iter().take(TOLD).map(ToString::to_string).collect();
        Err(Failure::could_not(format!(
            "the policies have {} faults, so that nothing is judged by them ({}):\n{}\nrun `portcullis policy active`",
            taken.faults.len(),
            taken.origin,
            told.join("\n")
        )))
    }

    /// An audit record by this actor, now.
    pub fn audit(
        &self,
        action: &str,
        member: Option<&crate::policy::terms::OdsCode>,
        detail: serde_json::Value,
    ) -> NewAudit {
        NewAudit {
            at: self.clock.now(),
            actor: self.actor.clone(),
            action: action.to_owned(),
            member: member.cloned(),
            detail,
        }
    }

    /// Prints `value` as JSON when asked for, else the text that `text` makes of it.
    pub fn print<T: Serialize + ?Sized>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            let json = serde_json::to_string_pretty(value).map_err(Failure::could_not)?;
            self.line(harmless_json(&json))
        } else {
            self.line(text(value).trim_end_matches('\n'))
        }
    }

    /// As [`Context::print`], with a text as [`Context::coloured`] takes it.
    pub fn print_coloured<T: Serialize + ?Sized>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if self.json { self.print(value, text) } else { self.coloured(text(value).trim_end_matches('\n')) }
    }

    /// Prints one text and a line end to standard output. What of it steers a terminal is shown as what it is not.
    pub fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.coloured(printable_lines(text.as_ref()))
    }

    /// As [`Context::line`], for a text that is coloured, or whose lines end as their format demands: whoever made it made every part of
    /// it harmless.
    pub fn coloured(&self, text: impl Display) -> Result<(), Failure> {
        match writeln!(std::io::stdout().lock(), "{text}") {
            // whoever reads has seen enough
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(Failure::could_not),
        }
    }

    /// Prints one of many values that come one after the other: a line of JSON when asked for, else the text. False: nobody reads it any more.
    pub fn goes_on<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<bool, Failure> {
        let line = if self.json {
            harmless_json(&serde_json::to_string(value).map_err(Failure::could_not)?).to_string()
        } else {
            text(value)
        };
        match writeln!(std::io::stdout().lock(), "{}", printable_lines(&line)) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
            other => other.map(|()| true).map_err(Failure::could_not),
        }
    }

    /// Prints a note for the person to standard error; it is no part of the answer.
    pub fn note(&self, text: impl Display) {
        tell(text);
    }

    /// Whether standard error is a terminal, so that a person sees notes as they come.
    pub fn is_watched(&self) -> bool {
        std::io::stderr().is_terminal()
    }

    /// Whether standard output is a terminal that is to be given colour.
    pub fn is_terminal(&self) -> bool {
        std::io::stdout().is_terminal() && colour::is_wanted()
    }
}

/// A note for the person on standard error, from where there is no context.
pub fn tell(text: impl Display) {
    // nowhere to report that standard error is closed
    let _ = writeln!(std::io::stderr().lock(), "{}", printable_lines(&text.to_string()));
}
