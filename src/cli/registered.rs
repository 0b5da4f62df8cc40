//! What a member registers, given to a check that has no registration: controls over it judge nothing without.

use std::path::PathBuf;

use clap::Args;

use crate::assess::target::Target;
use crate::cli::failure::Failure;
use crate::cli::member::request::card_issuer;
use crate::cli::member::spelling;

/// What the national side will have registered of the organisation.
#[derive(Debug, Args)]
pub struct RegisteredOptions {
    /// PEM certificate of an authority that issues the cards of the organisation's people. Can be given several times.
    #[arg(long = "card-issuer", value_name = "FILE")]
    card_issuers: Vec<PathBuf>,
    /// A mail domain that the organisation owns. Can be given several times.
    #[arg(long = "mail-domain", value_name = "DOMAIN", value_parser = spelling::mail_domain)]
    mail_domains: Vec<String>,
    /// A suffix of principal names that the organisation owns. Can be given several times.
    #[arg(long = "upn-suffix", value_name = "SUFFIX", value_parser = spelling::upn_suffix)]
    upn_suffixes: Vec<String>,
    /// A DN below the base DN that must be readable in every pass; the base DN when absent.
    #[arg(long, value_name = "DN", value_parser = spelling::name)]
    canary: Option<String>,
}

impl RegisteredOptions {
    /// Tells `target` of it.
    pub fn apply(&self, target: &mut Target) -> Result<(), Failure> {
        if let Some(canary) = &self.canary {
            if !spelling::lies_in(canary, &target.base_dn) {
                let base = &target.base_dn;
                return Err(Failure::refused(format_args!(
                    "the canary `{canary}` does not lie below the base DN `{base}`"
                )));
            }
            target.canary.clone_from(canary);
        }
        for path in &self.card_issuers {
            target.card_issuers.insert(card_issuer(path)?.key_sha256);
        }
        target.mail_domains.extend(self.mail_domains.iter().cloned());
        target.upn_suffixes.extend(self.upn_suffixes.iter().cloned());
        Ok(())
    }

    /// What was not given, as options: controls over it judge nothing.
    pub fn not_given(&self) -> Vec<&'static str> {
        let given = [
            ("--card-issuer", !self.card_issuers.is_empty()),
            ("--mail-domain", !self.mail_domains.is_empty()),
            ("--upn-suffix", !self.upn_suffixes.is_empty()),
            ("--canary", self.canary.is_some()),
        ];
        given.into_iter().filter(|(_, given)| !given).map(|(option, _)| option).collect()
    }
}
