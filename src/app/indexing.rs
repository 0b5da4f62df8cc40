//! Brings indexes up to date while the gateway runs, and has the front door hear of it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::app::core::Core;
use crate::app::error::AppError;
use crate::app::indexes::{Indexable, Population};
use crate::app::reload::Teller;
use crate::app::stop::Stop;
use crate::namespace::mapping::Mapping;
use crate::namespace::routes::federated_suffix;
use crate::policy::terms::Target;

/// How often it is looked whether members were read.
const EVERY: Duration = Duration::from_secs(30);
/// How often it is looked whether to end.
const TURN: Duration = Duration::from_millis(100);

/// Keeps the indexes up to date, in a thread of its own.
pub fn start(core: &Arc<Core>, tell: Teller, stop: &Stop) -> Result<JoinHandle<()>, AppError> {
    let (core, stop) = (Arc::clone(core), stop.clone());
    std::thread::Builder::new()
        .name("indexes".to_owned())
        .spawn(move || {
            let mut looked: Option<Instant> = None;
            while !stop.is_set() {
                if looked.is_none_or(|at| at.elapsed() >= EVERY) {
                    looked = Some(Instant::now());
                    look(&core, &tell, &stop);
                }
                std::thread::sleep(TURN);
            }
        })
        .map_err(|cause| AppError::Start { what: "the indexes", cause })
}

fn look(core: &Core, tell: &Teller, stop: &Stop) {
    let members = match core.store.members() {
        Ok(members) => members,
        Err(error) => {
            tracing::warn!(%error, "members could not be read; their indexes grow old");
            return;
        }
    };
    let members: Vec<Indexable> = members
        .into_iter()
        .filter(|member| member.state.may_federate())
        .filter_map(|member| {
            let suffix = federated_suffix(&Target::Member(member.ods.clone()));
            // one whose suffix is no name is not mounted either, and was told then
            let mapping = Mapping::active_directory(&suffix, &member.connection.base_dn).ok()?;
            Some(Indexable { member: member.ods, mapping })
        })
        .collect();
    let populations = populations(core);
    if core.indexes.refresh(core.store.as_ref(), &members, &populations, &|| stop.is_set()) {
        tell.members();
    }
}

/// The populations of the agreements in force, each once.
fn populations(core: &Core) -> Vec<Population> {
    let policy = core.policy.load();
    let mut all: Vec<Population> = Vec::new();
    for agreement in policy.iter().flat_map(|policy| policy.agreements.iter()) {
        if !all.iter().any(|known| known.key == *agreement.population()) {
            all.push(Population {
                key: Arc::clone(agreement.population()),
                entries: agreement.entry_filter().cloned(),
                reserve: agreement.reserve().cloned(),
            });
        }
    }
    all
}
