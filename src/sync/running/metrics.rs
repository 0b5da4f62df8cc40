//! What operators see of sync. No label holds a name of a person.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::policy::terms::OdsCode;
use crate::sync::people::drift;
use crate::sync::people::guards::Kind;
use crate::sync::running::report::Report;
use crate::sync::running::source_metrics::OfSource;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::progress::Progress;

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
    source: OfSource,
    paused: IntGaugeVec,
    reading_objects: IntGaugeVec,
    reading_pages: IntGaugeVec,
    writing_steps: IntGaugeVec,
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
            source: OfSource::register(registry)?,
            paused: gauge(
                "portcullis_sync_paused",
                "1 while sync is paused by hand, for the member or for all.",
                &["member"],
            )?,
            reading_objects: gauge(
                "portcullis_sync_reading_objects",
                "Objects that the run under way has read so far; not there when none takes its time.",
                &["member"],
            )?,
            reading_pages: gauge(
                "portcullis_sync_reading_pages",
                "Pages that the run under way has read so far; not there when none takes its time.",
                &["member"],
            )?,
            writing_steps: gauge(
                "portcullis_sync_writing_steps",
                "Steps that the run under way is through with; not there when none takes its time.",
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
        self.source.report(report);
    }

    /// Says whether a member is paused.
    pub fn paused(&self, member: &OdsCode, paused: bool) {
        self.paused.with_label_values(&[member.as_str()]).set(i64::from(paused));
    }

    /// Says how far the run of a member is that takes its time; none: there is no such run.
    pub fn progress(&self, member: &OdsCode, progress: Option<&Progress>) {
        let labels = &[member.as_str()];
        let Some(progress) = progress else {
            for gauge in [&self.reading_objects, &self.reading_pages, &self.writing_steps] {
                // mostly it was not there
                let _ = gauge.remove_label_values(labels);
            }
            return;
        };
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.reading_objects.with_label_values(labels).set(whole(progress.objects));
        self.reading_pages.with_label_values(labels).set(whole(progress.pages));
        self.writing_steps.with_label_values(labels).set(whole(progress.written));
    }

    /// Counts a run that ended early.
    pub fn failure(&self, member: &OdsCode, error: &SyncError) {
        self.runs.with_label_values(&[member.as_str(), error.code()]).inc();
    }
}

/// Of the observer of the national directory.
#[derive(Debug, Clone)]
pub struct OfObserver {
    pub drift: IntGaugeVec,
    pub connected: IntGauge,
    pub confirmed: IntCounterVec,
    pub confirmation: Histogram,
    pub resets: IntCounter,
    pub refreshes: IntCounterVec,
}

impl OfObserver {
    /// Makes and registers them.
    pub fn register(registry: &Registry) -> Result<OfObserver, prometheus::Error> {
        let confirmation = HistogramOpts::new(
            "portcullis_sync_confirmation_seconds",
            "From the intention of a write until the national directory told of it.",
        );
        let buckets = vec![0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];
        let metrics = OfObserver {
            drift: IntGaugeVec::new(
                Opts::new(
                    "portcullis_sync_drift_entries",
                    "National entries that are not as published, by what others did to them.",
                ),
                &["member", "kind"],
            )?,
            connected: IntGauge::new(
                "portcullis_sync_observer_connected",
                "Whether changes of the national directory are told to the gateway.",
            )?,
            confirmed: IntCounterVec::new(
                Opts::new(
                    "portcullis_sync_confirmed_total",
                    "Writes that the national directory was seen to hold.",
                ),
                &["member"],
            )?,
            confirmation: Histogram::with_opts(confirmation.buckets(buckets))?,
            resets: IntCounter::new(
                "portcullis_sync_observer_resets_total",
                "How often the observation began anew because its place was lost.",
            )?,
            refreshes: IntCounterVec::new(
                Opts::new(
                    "portcullis_sync_observer_refreshes_total",
                    "How often the observation began: with a complete reading, or where it had been.",
                ),
                &["from"],
            )?,
        };
        let all: [Box<dyn Collector>; 6] = [
            Box::new(metrics.drift.clone()),
            Box::new(metrics.connected.clone()),
            Box::new(metrics.confirmed.clone()),
            Box::new(metrics.confirmation.clone()),
            Box::new(metrics.resets.clone()),
            Box::new(metrics.refreshes.clone()),
        ];
        for collector in all {
            registry.register(collector)?;
        }
        Ok(metrics)
    }

    /// A member that is no longer watched.
    pub fn forget(&self, member: &OdsCode) {
        for kind in drift::Kind::ALL {
            // one that was never set is not there
            let _ = self.drift.remove_label_values(&[member.as_str(), kind.as_str()]);
        }
    }
}

/// Of whoever listens to members' controllers.
#[derive(Debug, Clone)]
pub struct OfListening {
    pub listening: IntGaugeVec,
    pub wakes: IntCounterVec,
}

impl OfListening {
    /// Makes and registers them.
    pub fn register(registry: &Registry) -> Result<OfListening, prometheus::Error> {
        let metrics = OfListening {
            listening: IntGaugeVec::new(
                Opts::new(
                    "portcullis_sync_listening",
                    "1 while a controller of the member tells us of changes; 0: they are found in turn.",
                ),
                &["member"],
            )?,
            wakes: IntCounterVec::new(
                Opts::new(
                    "portcullis_sync_wakes_total",
                    "Runs that were asked for because a controller told of changes.",
                ),
                &["member"],
            )?,
        };
        registry.register(Box::new(metrics.listening.clone()))?;
        registry.register(Box::new(metrics.wakes.clone()))?;
        Ok(metrics)
    }

    /// Says whether a member's controller is listened to.
    pub fn listens(&self, member: &OdsCode, listens: bool) {
        self.listening.with_label_values(&[member.as_str()]).set(i64::from(listens));
    }

    /// A member that is no longer federated.
    pub fn forget(&self, member: &OdsCode) {
        // one that was never set is not there
        let _ = self.listening.remove_label_values(&[member.as_str()]);
    }
}
