//! How far the approval of steps that wait is: who runs, undoes or approves learns that another officer is missing.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::policy::terms::OdsCode;
use crate::store::record::person;
use crate::sync::hand::undoing::{WAITING, Waits};
use crate::sync::keeping::shelf::json;
use crate::sync::people::guards::Trip;
use crate::sync::running::report::Report;
use crate::sync::running::run::LAST_REPORT;

/// Officers who approved, and how many must.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Officers {
    /// Those whose approvals still count, each once.
    pub approved: usize,
    /// None: no approval helps.
    pub needed: Option<u32>,
}

impl Officers {
    /// Of the steps that wait under this hash because of these trips.
    pub fn of(context: &Context, held: &str, trips: &[Trip]) -> Result<Officers, Failure> {
        let now = context.clock.now();
        let approvals = context.store()?.approvals(held).map_err(Failure::could_not)?;
        let good = approvals.iter().filter(|one| one.at <= now && now < one.ends_at);
        let approved = good.map(|one| person(&one.officer)).collect::<BTreeSet<_>>().len();
        let needed = trips.iter().map(|trip| trip.officers).try_fold(0, |most, one| Some(most.max(one?)));
        Ok(Officers { approved, needed })
    }

    /// As [`Officers::of`], when steps wait.
    pub fn waiting(
        context: &Context,
        held: Option<&String>,
        trips: &[Trip],
    ) -> Result<Option<Officers>, Failure> {
        held.map(|held| Officers::of(context, held, trips)).transpose()
    }

    /// How many are missing.
    pub fn missing(&self) -> usize {
        let needed = self.needed.and_then(|needed| usize::try_from(needed).ok()).unwrap_or(0);
        needed.saturating_sub(self.approved)
    }

    /// `1 of 2 officers approved`, or that nobody's approval helps.
    pub fn told(&self) -> String {
        match self.needed {
            Some(1) => format!("{} of 1 officer approved", self.approved.min(1)),
            Some(needed) => format!("{} of {needed} officers approved", self.approved),
            None => "no approval helps, see what the guard says".to_owned(),
        }
    }
}

/// The trips that made a plan wait; none when that is not kept.
pub fn trips(context: &Context, member: &OdsCode, held: &str) -> Result<Option<Vec<Trip>>, Failure> {
    let store = context.store()?;
    let last: Option<Report> = json(store.as_ref(), member, LAST_REPORT).map_err(Failure::could_not)?;
    if let Some(report) = last.filter(|report| report.held.as_deref() == Some(held)) {
        return Ok(Some(report.trips));
    }
    let waits: Option<Waits> = json(store.as_ref(), member, WAITING).map_err(Failure::could_not)?;
    Ok(waits.filter(|waits| waits.plan == held).map(|waits| waits.trips))
}
