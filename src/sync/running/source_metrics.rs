//! What operators see of reading members' directories, and of what waits to be written. No label holds a name of a person.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::sync::running::report::Report;
use crate::sync::terms::pass::Method;
use crate::sync::terms::step::Action;

/// Seconds; a delta takes part of one, a first load of a large member many minutes.
const SECONDS: [f64; 11] = [0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0];

/// By member.
#[derive(Debug, Clone)]
pub struct OfSource {
    read_at: IntGaugeVec,
    passes: IntCounterVec,
    failovers: IntCounterVec,
    resets: IntCounterVec,
    controller: IntGaugeVec,
    suspect: IntGaugeVec,
    blind: IntGaugeVec,
    pending: IntGaugeVec,
    quarantine: IntGaugeVec,
    seconds: HistogramVec,
    /// The controller and the quarantine's reasons that each member's series stand for now.
    shown: Arc<Mutex<BTreeMap<String, Shown>>>,
}

#[derive(Debug, Default)]
struct Shown {
    controller: String,
    reasons: BTreeSet<String>,
}

fn gauge(name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    IntGaugeVec::new(Opts::new(name, help), labels)
}

fn counter(name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

impl OfSource {
    /// Makes and registers them.
    pub fn register(registry: &Registry) -> Result<OfSource, prometheus::Error> {
        let of_member = &["member"][..];
        let seconds = HistogramOpts::new(
            "portcullis_sync_phase_seconds",
            "How long a run read the member, planned, and wrote to the national directory.",
        );
        let metrics = OfSource {
            seconds: HistogramVec::new(seconds.buckets(SECONDS.to_vec()), &["phase"])?,
            read_at: gauge(
                "portcullis_sync_read_timestamp_seconds",
                "When the last reading of the member's directory was begun that came to its end with the canary seen.",
                of_member,
            )?,
            passes: counter(
                "portcullis_sync_passes_total",
                "Readings, by whether everything was read and why, and by how.",
                &["member", "kind", "because", "method"],
            )?,
            failovers: counter(
                "portcullis_sync_failovers_total",
                "Readings from another domain controller than before.",
                of_member,
            )?,
            resets: counter(
                "portcullis_sync_cookie_resets_total",
                "Readings of everything because the controller refused our cookie.",
                of_member,
            )?,
            controller: gauge(
                "portcullis_sync_controller",
                "1 for the domain controller that was read last.",
                &["member", "controller"],
            )?,
            suspect: gauge(
                "portcullis_sync_controller_set_back",
                "1 while a domain controller is known to have been set back to an earlier state and nobody has looked at it.",
                of_member,
            )?,
            blind: gauge(
                "portcullis_sync_blind",
                "1 while the object that must be readable is not.",
                of_member,
            )?,
            pending: gauge(
                "portcullis_sync_pending_steps",
                "Steps that the last run left to do, held or not, by kind.",
                &["member", "action"],
            )?,
            quarantine: gauge(
                "portcullis_sync_quarantine",
                "People and attributes held back, by reason.",
                &["member", "reason"],
            )?,
            shown: Arc::default(),
        };
        metrics.collect_in(registry)?;
        Ok(metrics)
    }

    fn collect_in(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        let metrics = self;
        let all: [Box<dyn Collector>; 10] = [
            Box::new(metrics.read_at.clone()),
            Box::new(metrics.passes.clone()),
            Box::new(metrics.failovers.clone()),
            Box::new(metrics.resets.clone()),
            Box::new(metrics.controller.clone()),
            Box::new(metrics.suspect.clone()),
            Box::new(metrics.blind.clone()),
            Box::new(metrics.pending.clone()),
            Box::new(metrics.quarantine.clone()),
            Box::new(metrics.seconds.clone()),
        ];
        all.into_iter().try_for_each(|collector| registry.register(collector))
    }

    /// Counts a run that reported.
    pub fn report(&self, report: &Report) {
        let (member, pass) = (report.member.as_str(), &report.pass);
        let kind = if pass.complete { "complete" } else { "delta" };
        let because = pass.because.as_deref().unwrap_or("");
        let method = match pass.method {
            Method::DirSync => "dirsync",
            Method::UsnChanged => "usn_changed",
        };
        self.passes.with_label_values(&[member, kind, because, method]).inc();
        self.failovers.with_label_values(&[member]).inc_by(u64::from(pass.failover));
        self.resets.with_label_values(&[member]).inc_by(u64::from(because == "cookie_refused"));
        if pass.canary_seen {
            self.read_at.with_label_values(&[member]).set(report.started_at.unix_timestamp());
        }
        self.suspect.with_label_values(&[member]).set(i64::from(pass.suspect));
        self.blind.with_label_values(&[member]).set(i64::from(!pass.canary_seen));
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for action in Action::ALL {
            let left = report.pending.get(&action).copied().unwrap_or(0);
            self.pending.with_label_values(&[member, action.as_str()]).set(whole(left));
        }
        self.changing(report);
        let phases = [("read", report.read_ms), ("plan", report.plan_ms), ("write", report.write_ms)];
        for (phase, milliseconds) in phases {
            let seconds = std::time::Duration::from_millis(milliseconds).as_secs_f64();
            self.seconds.with_label_values(&[phase]).observe(seconds);
        }
    }

    /// Series whose labels change: one that stands for nothing any more must not stay.
    fn changing(&self, report: &Report) {
        let member = report.member.as_str();
        // nothing is done under the lock that could panic half way
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = shown.entry(member.to_owned()).or_default();
        if shown.controller != report.pass.controller {
            // the first time there is none
            let _ = self.controller.remove_label_values(&[member, &shown.controller]);
            shown.controller.clone_from(&report.pass.controller);
        }
        self.controller.with_label_values(&[member, &shown.controller]).set(1);
        let counts = report.quarantine_counts();
        shown.reasons.extend(counts.keys().map(|reason| (*reason).to_owned()));
        for reason in &shown.reasons {
            let count = counts.get(reason.as_str()).copied().unwrap_or(0);
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.quarantine.with_label_values(&[member, reason]).set(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::sync::running::report::Outcome;
    use crate::sync::terms::guid::Guid;
    use crate::sync::terms::pass::Pass;
    use crate::sync::terms::step::Quarantine;
    use crate::sync::writing::execute::Executed;

    fn report(pass: Pass, codes: &[&str], pending: &[(Action, u64)]) -> Report {
        let held = |code: &&str| Quarantine {
            guid: Guid([1; 16]),
            attribute: None,
            code: (*code).to_owned(),
            text: String::new(),
        };
        Report {
            member: "RXA".parse().unwrap(),
            started_at: OffsetDateTime::UNIX_EPOCH + time::Duration::DAY,
            ended_at: OffsetDateTime::UNIX_EPOCH + time::Duration::DAY,
            outcome: Outcome::Done,
            pass,
            plan: String::new(),
            planned: BTreeMap::new(),
            written: None,
            paused: None,
            later: Vec::new(),
            held: None,
            held_steps: 0,
            pending: pending.iter().copied().collect(),
            trips: Vec::new(),
            notes: Vec::new(),
            approved: false,
            executed: Executed::default(),
            quarantine: codes.iter().map(held).collect(),
            found_out: 0,
            remaining: 0,
            published: 0,
            read_ms: 20,
            plan_ms: 0,
            write_ms: 0,
        }
    }

    fn pass(because: Option<&str>, controller: &str) -> Pass {
        Pass {
            complete: because.is_some(),
            because: because.map(str::to_owned),
            controller: controller.to_owned(),
            canary_seen: true,
            ..Pass::default()
        }
    }

    fn text(registry: &Registry) -> String {
        prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    #[test]
    fn passes_are_counted_by_what_was_read_and_why() {
        let registry = Registry::new();
        let metrics = OfSource::register(&registry).unwrap();
        for because in [Some("first"), None, None, Some("cookie_refused")] {
            metrics.report(&report(pass(because, "dc1"), &[], &[]));
        }
        let moved =
            Pass { failover: true, suspect: true, canary_seen: false, ..pass(Some("rolled_back"), "dc2") };
        metrics.report(&report(moved, &[], &[]));
        let text = text(&registry);
        for line in [
            "portcullis_sync_passes_total{because=\"\",kind=\"delta\",member=\"RXA\",method=\"dirsync\"} 2",
            "portcullis_sync_passes_total{because=\"first\",kind=\"complete\",member=\"RXA\",method=\"dirsync\"} 1",
            "portcullis_sync_cookie_resets_total{member=\"RXA\"} 1",
            "portcullis_sync_failovers_total{member=\"RXA\"} 1",
            "portcullis_sync_controller_set_back{member=\"RXA\"} 1",
            "portcullis_sync_blind{member=\"RXA\"} 1",
            "portcullis_sync_controller{controller=\"dc2\",member=\"RXA\"} 1",
            "portcullis_sync_read_timestamp_seconds{member=\"RXA\"} 86400",
            "portcullis_sync_phase_seconds_count{phase=\"read\"} 5",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} is not in {text}");
        }
        assert!(!text.contains("controller=\"dc1\""), "{text}");
    }

    #[test]
    fn what_is_mended_is_shown_as_none() {
        let registry = Registry::new();
        let metrics = OfSource::register(&registry).unwrap();
        let value = |label: &str| {
            let text = text(&registry);
            text.lines().find(|line| line.contains(label)).unwrap().rsplit_once(' ').unwrap().1.to_owned()
        };
        metrics.report(&report(pass(None, "dc1"), &["duplicate", "duplicate"], &[(Action::Mark, 30)]));
        assert_eq!((value("reason=\"duplicate\""), value("action=\"mark\"")), ("2".into(), "30".into()));
        metrics.report(&report(pass(None, "dc1"), &["no_surname"], &[]));
        assert_eq!((value("reason=\"duplicate\""), value("action=\"mark\"")), ("0".into(), "0".into()));
        assert_eq!(value("reason=\"no_surname\""), "1");
    }
}
