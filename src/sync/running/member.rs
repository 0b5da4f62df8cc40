//! From a member as the store knows it to a run: who it is, how its directory is reached, which scope is its.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::directory;
use crate::directory::endpoint::Endpoint;
use crate::directory::request::Credential;
use crate::policy::documents::Members;
use crate::policy::scope::SyncScope;
use crate::policy::set::PolicySet;
use crate::policy::terms::OdsCode;
use crate::secret::reference::SecretReference;
use crate::store::member::Member;
use crate::sync::keeping::job::{Hands, Job, Mode, Reach};
use crate::sync::running::metrics::Metrics;
use crate::sync::running::report::Report;
use crate::sync::running::run::run_member;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::settings::Scope;
use crate::sync::writing::execute::Gate;
use crate::tls::client::client_config;
use crate::tls::material::Anchors;

/// Gives the policy set that is in force now, when one is.
pub type Policies = Arc<dyn Fn() -> Option<Arc<PolicySet>> + Send + Sync>;
/// Whether a member's sync gate is open now.
pub type Gates = Arc<dyn Fn(&OdsCode) -> bool + Send + Sync>;

/// The national directory, as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct National {
    pub host: String,
    pub port: u16,
    pub tls_name: String,
    /// PEM file.
    pub anchors: PathBuf,
    pub bind_dn: String,
    pub password: SecretReference,
    /// Where people are published.
    pub people_base: String,
}

impl National {
    /// How it is reached; reads its anchors and our password.
    pub fn reach(&self) -> Result<Reach, SyncError> {
        let fail = |cause: String| SyncError::Unusable(cause);
        let anchors = Anchors::load(&self.anchors).map_err(|error| fail(error.to_string()))?;
        let password = self.password.read().map_err(|error| fail(error.to_string()))?;
        Ok(Reach {
            endpoints: vec![Endpoint::ldaps(&self.host, self.port, Some(&self.tls_name))],
            tls: client_config(&anchors, None).map_err(|error| fail(error.to_string()))?,
            credential: Credential::Simple { name: self.bind_dn.clone(), password },
            settings: directory::settings::Settings::default(),
        })
    }
}

fn source(member: &Member) -> Result<Reach, SyncError> {
    let fail = |cause: String| SyncError::Unreadable(cause);
    let connection = &member.connection;
    let certificates = CertificateDer::pem_slice_iter(connection.anchors.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fail(format!("its trust anchors are no PEM certificates: {error}")))?;
    let anchors = Anchors::from_der(certificates).map_err(|error| fail(error.to_string()))?;
    let password = connection.password.read().map_err(|error| fail(error.to_string()))?;
    Ok(Reach {
        endpoints: connection
            .controllers
            .iter()
            .map(|one| Endpoint::ldaps(&one.host, one.port, one.tls_name.as_deref()))
            .collect(),
        tls: client_config(&anchors, None).map_err(|error| fail(error.to_string()))?,
        credential: Credential::Simple { name: connection.bind_dn.clone(), password },
        settings: directory::settings::Settings::default(),
    })
}

/// The scope of a member: the one that names it, else the one for everybody.
pub fn scope_of<'a>(set: &'a PolicySet, member: &OdsCode) -> Result<&'a SyncScope, SyncError> {
    let named =
        |scope: &&SyncScope| matches!(&scope.members, Members::These(these) if these.contains(member));
    let common = |scope: &&SyncScope| scope.members == Members::All;
    let mut fitting: Vec<&SyncScope> = set.scopes.values().filter(named).collect();
    if fitting.is_empty() {
        fitting = set.scopes.values().filter(common).collect();
    }
    match fitting.as_slice() {
        [one] => Ok(one),
        [] => Err(SyncError::Scope(format!("no sync scope is for {member}: write one"))),
        several => {
            let names: Vec<&str> = several.iter().map(|scope| scope.id.as_str()).collect();
            Err(SyncError::Scope(format!("{} are all for {member}: leave one", names.join(" and "))))
        }
    }
}

/// Synchronises members by their code. Cheap to clone.
#[derive(Clone)]
pub struct Syncer {
    pub hands: Hands,
    pub policies: Policies,
    pub gates: Gates,
    pub national: National,
    pub metrics: Option<Metrics>,
}

impl fmt::Debug for Syncer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Syncer").field("holder", &self.hands.holder).finish_non_exhaustive()
    }
}

impl Syncer {
    /// Runs once for this member; logs and counts how it went.
    pub async fn sync(&self, ods: &OdsCode, mode: Mode) -> Result<Report, SyncError> {
        let result = self.run(ods, mode).await;
        match &result {
            Ok(report) => {
                if let Some(metrics) = self.metrics.as_ref().filter(|_| !mode.dry_run) {
                    metrics.report(report);
                }
                let done: u64 = report.executed.done.values().sum();
                tracing::info!(
                    member = %ods, outcome = report.outcome.as_str(), objects = report.pass.objects, done,
                    held = report.held_steps, "member synchronised"
                );
            }
            Err(SyncError::Stopping | SyncError::Interrupted) => {
                tracing::info!(member = %ods, "a sync run was ended early, as asked")
            }
            Err(SyncError::Paused(_)) => tracing::info!(member = %ods, "sync is paused by hand"),
            Err(error) => {
                if let Some(metrics) = &self.metrics {
                    metrics.failure(ods, error);
                }
                tracing::error!(member = %ods, party = %error.party(), %error, "member not synchronised");
            }
        }
        result
    }

    async fn run(&self, ods: &OdsCode, mode: Mode) -> Result<Report, SyncError> {
        let job = self.job(ods).await?;
        let (gates, member) = (self.gates.clone(), ods.clone());
        let gate: Gate = Arc::new(move || gates(&member));
        run_member(&job, &self.hands, mode, &gate).await
    }

    /// What there is to do for this member. What it maps to attributes that the national directory keeps is left out.
    pub async fn job(&self, ods: &OdsCode) -> Result<Job, SyncError> {
        let (this, ods) = (self.clone(), ods.clone());
        let made = tokio::task::spawn_blocking(move || {
            let member = this.hands.store.member(&ods)?;
            let member = member.ok_or(crate::store::error::StoreError::NoMember(ods))?;
            let set =
                (this.policies)().ok_or_else(|| SyncError::Scope("no policy set is loaded".to_owned()))?;
            job(&member, &set, &this.national)
        });
        let mut job = made.await??;
        job.scope.attributes.retain(|name, _| !self.hands.settings.national_attributes.contains(name));
        Ok(job)
    }
}

/// The job of a member; reads secrets and anchors.
pub fn job(member: &Member, set: &PolicySet, national: &National) -> Result<Job, SyncError> {
    let domains: BTreeSet<String> = member.mail_domains.clone();
    Ok(Job {
        member: member.ods.clone(),
        source: Some(source(member)?),
        source_base: member.connection.base_dn.clone(),
        canary: member.connection.canary.clone(),
        target: national.reach()?,
        people_base: national.people_base.clone(),
        scope: Scope::of(scope_of(set, &member.ods)?, &domains)?,
    })
}
