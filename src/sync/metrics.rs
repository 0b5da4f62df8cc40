//! What operators see of sync. No label holds a name of a person.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::policy::terms::OdsCode;
use crate::sync::error::SyncError;
use crate::sync::guards::Kind;
use crate::sync::report::Report;

/// Counters and gauges, by member.
#[derive(Debug, Clone)]
pub struct Metrics {
    runs: IntCounterVec,
    steps: IntCounterVec,
    last_success: IntGaugeVec,
    last_complete: IntGaugeVec,
    published: IntGaugeVec,
    held: IntGaugeVec,
    guard: IntGaugeVec,
    quarantine: IntGaugeVec,
    paused: IntGaugeVec,
}

impl Metrics {
    /// Makes and registers them.
    pub fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let made = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let made = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        Ok(Metrics {
            runs: counter(
                "portcullis_sync_runs_total",
                "Sync runs, by how they ended.",
                &["member", "outcome"],
            )?,
            steps: counter(
                "portcullis_sync_steps_total",
                "Steps of plans, by kind and whether done.",
                &["member", "action", "outcome"],
            )?,
            last_success: gauge(
                "portcullis_sync_last_success_timestamp_seconds",
                "When the last run ended that did all it may.",
                &["member"],
            )?,
            last_complete: gauge(
                "portcullis_sync_last_complete_pass_timestamp_seconds",
                "When everything was last read.",
                &["member"],
            )?,
            published: gauge(
                "portcullis_sync_published_entries",
                "National entries published for the member.",
                &["member"],
            )?,
            held: gauge(
                "portcullis_sync_held_steps",
                "Steps that wait for an approval or for sight.",
                &["member"],
            )?,
            guard: gauge(
                "portcullis_sync_guard_tripped",
                "1 while a guard holds steps.",
                &["member", "guard"],
            )?,
            quarantine: gauge(
                "portcullis_sync_quarantine",
                "People and attributes held back, by reason.",
                &["member", "reason"],
            )?,
            paused: gauge(
                "portcullis_sync_paused",
                "1 while sync is paused by hand, for the member or for all.",
                &["member"],
            )?,
        })
    }

    /// Counts a run that reported.
    pub fn report(&self, report: &Report) {
        let member = report.member.as_str();
        self.runs.with_label_values(&[member, report.outcome.as_str()]).inc();
        for (action, count) in &report.executed.done {
            self.steps.with_label_values(&[member, action.as_str(), "done"]).inc_by(*count);
        }
        for undone in &report.executed.undone {
            self.steps.with_label_values(&[member, undone.action.as_str(), "undone"]).inc();
        }
        let ended = report.ended_at.unix_timestamp();
        if report.outcome.is_success() {
            self.last_success.with_label_values(&[member]).set(ended);
        }
        if report.pass.complete && report.pass.canary_seen {
            self.last_complete.with_label_values(&[member]).set(ended);
        }
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.published.with_label_values(&[member]).set(whole(report.published));
        self.held.with_label_values(&[member]).set(whole(report.held_steps));
        for kind in Kind::ALL {
            let tripped = report.trips.iter().any(|trip| trip.guard == kind);
            self.guard.with_label_values(&[member, kind.as_str()]).set(i64::from(tripped));
        }
        for (reason, count) in report.quarantine_counts() {
            self.quarantine.with_label_values(&[member, reason]).set(whole(count));
        }
    }

    /// Says whether a member is paused.
    pub fn paused(&self, member: &OdsCode, paused: bool) {
        self.paused.with_label_values(&[member.as_str()]).set(i64::from(paused));
    }

    /// Counts a run that ended early.
    pub fn failure(&self, member: &OdsCode, error: &SyncError) {
        self.runs.with_label_values(&[member.as_str(), error.code()]).inc();
    }
}
