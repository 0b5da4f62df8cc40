//! Whose people are published: a member, from its directory, or an organisation without one, from tables.

use std::sync::Arc;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::live::Live;
use crate::cli::member::answer::standing;
use crate::policy::terms::OdsCode;
use crate::store::member::Member;
use crate::store::organisation::Organisation;
use crate::store::port::Store;
use crate::sync::hand::look::{self, Subject};
use crate::sync::hand::register::organisation::{Organisations, may_write};
use crate::sync::hand::register::person;
use crate::sync::hand::register::run::REGISTERED;
use crate::sync::keeping::job::Job;
use crate::sync::running::member::Syncer;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::guid::Guid;
use crate::sync::writing::execute::Gate;

/// One of them.
#[derive(Debug)]
pub enum Publisher {
    Member(Box<Member>),
    /// Its people come from tables.
    Organisation(Box<Organisation>),
}

impl Publisher {
    /// The one with this code; a refusal that says how to see those that are there.
    pub fn of(context: &Context, ods: &OdsCode) -> Result<Publisher, Failure> {
        let store = context.store()?.as_ref();
        if may_write(store, ods)
            && let Some(organisation) = store.organisation(ods).map_err(Failure::could_not)?
        {
            return Ok(Publisher::Organisation(Box::new(organisation)));
        }
        Ok(Publisher::Member(Box::new(standing(context, ods)?)))
    }

    /// Every member, and every organisation that has registered somebody.
    pub fn all(context: &Context) -> Result<Vec<Publisher>, Failure> {
        let store = context.store()?.as_ref();
        let members = store.members().map_err(Failure::could_not)?;
        let mut all: Vec<Publisher> =
            members.into_iter().map(|member| Publisher::Member(Box::new(member))).collect();
        for (ods, _) in store.sync_everywhere(REGISTERED).map_err(Failure::could_not)? {
            let Some(ods) = ods.filter(|ods| may_write(store, ods)) else { continue };
            all.retain(|one| *one.ods() != ods);
            let organisation = store.organisation(&ods).map_err(Failure::could_not)?;
            all.extend(organisation.map(|one| Publisher::Organisation(Box::new(one))));
        }
        Ok(all)
    }

    /// Its code.
    pub fn ods(&self) -> &OdsCode {
        match self {
            Publisher::Member(member) => &member.ods,
            Publisher::Organisation(organisation) => &organisation.ods,
        }
    }

    /// Whether its people come from tables.
    pub fn registers(&self) -> bool {
        matches!(self, Publisher::Organisation(_))
    }

    /// As it is looked up.
    pub fn subject(&self) -> Subject<'_> {
        match self {
            Publisher::Member(member) => Subject::from(member.as_ref()),
            Publisher::Organisation(organisation) => Subject::from(organisation.as_ref()),
        }
    }

    /// The name in the member's directory of who has this GUID, as far as it is known.
    pub fn dn(&self, store: &Arc<dyn Store>, guid: &Guid) -> Option<String> {
        match self {
            Publisher::Member(member) => look::stored_dn(store, member, guid),
            Publisher::Organisation(_) => None,
        }
    }

    /// The key in the organisation's tables of who has this GUID.
    pub fn local_id(&self, store: &Arc<dyn Store>, guid: &Guid) -> Option<String> {
        let kept = self.registers().then(|| store.staged(self.ods(), &guid.0).ok().flatten()).flatten()?;
        person::local_id(&look::object(&kept.document).ok()?).map(str::to_owned)
    }
}

/// What there is to do for it, with our own reach to the national directory.
pub async fn job(syncer: &Syncer, ods: &OdsCode) -> Result<Job, SyncError> {
    let (this, code) = (syncer.clone(), ods.clone());
    let by_table = tokio::task::spawn_blocking(move || {
        let store = this.hands.store.as_ref();
        if !may_write(store, &code) {
            return Ok(None);
        }
        let set = (this.policies)().ok_or_else(|| SyncError::Scope("no policy set is loaded".to_owned()))?;
        let organisations = Organisations::read(store, set)?;
        let mut job = organisations.job(&code, &this.national, this.national.reach()?)?;
        job.scope.attributes.retain(|name, _| !this.hands.settings.national_attributes.contains(name));
        Ok::<_, SyncError>(Some(job))
    });
    match by_table.await?? {
        Some(job) => Ok(job),
        None => syncer.job(ods).await,
    }
}

/// Asked before each batch: whether anything may be written of it. One without a directory has no gate of its own.
pub fn gate(context: &Context, publisher: &Publisher, syncer: &Syncer) -> Result<Gate, Failure> {
    let ods = publisher.ods().clone();
    if !publisher.registers() {
        let gates = syncer.gates.clone();
        return Ok(Arc::new(move || gates(&ods)));
    }
    let (store, gateway) = (Arc::clone(&syncer.hands.store), context.config()?.listen.metrics);
    Ok(Arc::new(move || may_write(store.as_ref(), &ods) && Live::ask(gateway).is_ready()))
}
