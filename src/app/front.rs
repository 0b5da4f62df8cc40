//! The front door, started and kept up to date.

use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::app::core::Core;
use crate::app::error::AppError;
use crate::app::gates::Decisions;
use crate::app::mounts::Builder;
use crate::config::settings::{Tls, Unlisted};
use crate::policy::terms::OdsCode;
use crate::proxy::metrics::Metrics;
use crate::proxy::shard::handle::{self, Handle, Start};
use crate::proxy::snapshot::Snapshot;
use crate::release::agreement::Agreements;
use crate::store::error::StoreError;
use crate::tls::error::TlsError;
use crate::tls::material::{Anchors, Identity};
use crate::tls::policies::AcceptedPolicies;
use crate::tls::revocation::{self, Revocation};
use crate::tls::server::{FrontTls, server_config};
use crate::tls::smartcard::Verifier;

/// The running front door.
pub struct Front {
    handle: Handle,
    changing: Mutex<Changing>,
}

/// What reloading compares with.
struct Changing {
    builder: Builder,
    /// Of the certificate files.
    digest: Option<Vec<u8>>,
}

impl Front {
    /// Opens the front door.
    pub fn start(core: &Core, audit: SyncSender<Vec<u8>>) -> Result<Self, AppError> {
        let mut builder = Builder::default();
        let digest = digest(&core.config.tls);
        let handle = handle::start(Start {
            settings: core.config.front.clone(),
            address: core.config.listen.ldaps,
            plain: core.config.listen.ldap,
            tls: server_tls(&core.config.tls)?,
            snapshot: builder.snapshot(core, agreements(core))?,
            gates: Arc::clone(&core.gates),
            clock: core.clock.clone(),
            metrics: Metrics::register(&core.registry)?,
            audit,
        })?;
        let ldap = handle.local_plain_address().map(|address| address.to_string());
        tracing::info!(ldaps = %handle.local_address(), ldap, "front door is open");
        Ok(Front { handle, changing: Mutex::new(Changing { builder, digest }) })
    }

    /// Members or agreements changed: the next turn of each shard sees it.
    pub fn reload(&self, core: &Core) {
        match self.changing().builder.snapshot(core, agreements(core)) {
            Ok(snapshot) => self.handle.reload(snapshot),
            Err(error) => {
                tracing::error!(%error, "the front door keeps what it knew: members could not be read")
            }
        }
    }

    /// What the front door would see with these agreements.
    pub fn prepare(&self, core: &Core, agreements: Arc<Agreements>) -> Result<Arc<Snapshot>, StoreError> {
        self.changing().builder.snapshot(core, agreements)
    }

    /// Puts what was prepared and these gates in force at once: no request sees one of them without the other.
    pub fn switch(&self, prepared: Arc<Snapshot>, decisions: Vec<(OdsCode, Decisions)>) {
        self.handle.reload_with(prepared, decisions);
    }

    /// Reads certificates and revocation lists again when their files changed; those that cannot be used are told and the
    /// old ones kept.
    pub fn reload_tls(&self, core: &Core) {
        let mut changing = self.changing();
        let digest = digest(&core.config.tls);
        if changing.digest == digest {
            return;
        }
        match server_tls(&core.config.tls) {
            Ok(tls) => {
                self.handle.reload_tls(tls);
                tracing::info!("certificates of the front door read again");
            }
            Err(error) => tracing::error!(%error, "the front door keeps its old certificates"),
        }
        changing.digest = digest;
    }

    /// Whether every shard runs.
    pub fn is_running(&self) -> bool {
        self.handle.is_running()
    }

    /// Takes nothing new, lets operations in flight end for at most `limit`, and ends. Blocks.
    pub fn drain(&self, limit: Duration) {
        if !self.handle.drain(limit) {
            tracing::warn!("operations in flight were cut off");
        }
        self.handle.stop();
    }

    fn changing(&self) -> std::sync::MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those of the set in force.
fn agreements(core: &Core) -> Arc<Agreements> {
    core.policy.load_full().map(|policy| Arc::clone(&policy.agreements)).unwrap_or_default()
}

fn server_tls(tls: &Tls) -> Result<Arc<FrontTls>, TlsError> {
    let identity = Identity::load(&tls.certificate, &tls.key)?;
    let anchors = Anchors::load(&tls.client_anchors)?;
    let unlisted = match tls.unlisted {
        Unlisted::Refuse => revocation::Unlisted::Refuse,
        Unlisted::Allow => revocation::Unlisted::Accept,
    };
    let mut revocation = Revocation::load(&tls.crls, unlisted)?;
    if let Some(hours) = tls.crl_max_age_hours {
        revocation = revocation.with_max_age(time::Duration::hours(i64::from(hours)));
    }
    if revocation.refuses_everything() {
        tracing::warn!(
            "no revocation list is configured: every client certificate is refused; give tls.crls"
        );
    }
    let policies = AcceptedPolicies::new(tls.card_policies.iter().cloned());
    server_config(&identity, Verifier::with_policies(&anchors, revocation, policies)?)
}

/// Over the content of the certificate files; none when one cannot be read.
fn digest(tls: &Tls) -> Option<Vec<u8>> {
    let mut hasher = Sha256::new();
    let fixed: [&PathBuf; 3] = [&tls.certificate, &tls.key, &tls.client_anchors];
    for path in fixed.into_iter().chain(&tls.crls) {
        hasher.update(std::fs::read(path).ok()?);
    }
    Some(hasher.finalize().to_vec())
}
