//! What the front door counts. Labels are members and fixed words only; never a name, an address or a value.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::ldap::message::ResultCode;

/// All counters; `app` registers them once, shards share them. Clones share the same counters.
#[derive(Clone)]
pub struct Metrics {
    /// Client connections now open.
    pub connections: IntGauge,
    /// Client connections ever accepted.
    pub accepted: IntCounter,
    /// Client connections closed by us, by reason.
    pub closed: IntCounterVec,
    /// Binds, by mechanism and outcome.
    pub binds: IntCounterVec,
    /// Operations answered without asking a directory, by outcome.
    pub answered_here: IntCounterVec,
    /// Requests answered `busy`, by reason.
    pub busy: IntCounterVec,
    /// Paged searches that wait for their client to ask for the next page.
    pub walks_waiting: IntGauge,
    /// Sorted results that are gathered or wait for their next page.
    pub sorts_held: IntGauge,
    /// Seconds from request to result of operations that asked a directory.
    pub seconds: Histogram,
    per_member: PerMember,
}

#[derive(Clone)]
struct PerMember {
    operations: IntCounterVec,
    seconds: HistogramVec,
    entries: IntCounterVec,
    dropped: IntCounterVec,
    connections: IntGaugeVec,
    dials: IntCounterVec,
    faults: IntCounterVec,
    retries: IntCounterVec,
    shared: IntCounterVec,
    probes: IntCounterVec,
    left_alone: IntGaugeVec,
}

/// The counters of one member (or of the national directory), looked up once and kept with its connections.
#[derive(Clone)]
pub struct MemberMetrics {
    pub done: IntCounter,
    pub refused: IntCounter,
    pub unavailable: IntCounter,
    pub limited: IntCounter,
    pub busy: IntCounter,
    pub abandoned: IntCounter,
    pub seconds: Histogram,
    pub entries: IntCounter,
    pub dropped: IntCounter,
    pub connections: IntGauge,
    pub dials_done: IntCounter,
    pub dials_failed: IntCounter,
    pub retries: IntCounter,
    pub shared: IntCounter,
    pub probes_answered: IntCounter,
    pub probes_missed: IntCounter,
    left_alone: IntGaugeVec,
    faults: IntCounterVec,
    label: String,
}

impl MemberMetrics {
    /// Counts a question that came to its end with this result: the directory's, or ours for a directory that could not be
    /// asked.
    pub fn answered(&self, code: ResultCode) {
        match code {
            ResultCode::UNAVAILABLE => self.unavailable.inc(),
            ResultCode::BUSY => self.busy.inc(),
            ResultCode::SIZE_LIMIT_EXCEEDED
            | ResultCode::TIME_LIMIT_EXCEEDED
            | ResultCode::ADMIN_LIMIT_EXCEEDED => self.limited.inc(),
            _ => self.done.inc(),
        }
    }

    /// Counts a question that was open when its operation ended with this result.
    pub fn cut(&self, code: ResultCode) {
        match code {
            ResultCode::SIZE_LIMIT_EXCEEDED
            | ResultCode::TIME_LIMIT_EXCEEDED
            | ResultCode::ADMIN_LIMIT_EXCEEDED
            // More came than can be sorted, and nothing else was wanted.
            | ResultCode::UNAVAILABLE_CRITICAL_EXTENSION => self.limited.inc(),
            ResultCode::BUSY => self.busy.inc(),
            ResultCode::CANCELED => self.abandoned.inc(),
            // A gate closed, or an agreement ended.
            ResultCode::NO_SUCH_OBJECT | ResultCode::INSUFFICIENT_ACCESS_RIGHTS => self.refused.inc(),
            _ => self.unavailable.inc(),
        }
    }

    /// Counts a fault of the directory's side, by a fixed word.
    pub fn fault(&self, reason: &'static str) {
        self.faults.with_label_values(&[self.label.as_str(), reason]).inc();
    }

    /// How many shards leave the server with this place in the list alone. Places are numbers, not names.
    pub fn left_alone(&self, place: usize) -> IntGauge {
        self.left_alone.with_label_values(&[self.label.as_str(), place.to_string().as_str()])
    }
}

/// One shard's part of a gauge that all shards share.
pub struct Share {
    gauge: IntGauge,
    part: i64,
}

impl Share {
    /// Nothing yet.
    pub fn of(gauge: &IntGauge) -> Share {
        Share { gauge: gauge.clone(), part: 0 }
    }

    /// What the shard has now.
    pub fn set(&mut self, part: usize) {
        let part = i64::try_from(part).unwrap_or(i64::MAX);
        self.gauge.add(part - self.part);
        self.part = part;
    }

    pub fn is_nothing(&self) -> bool {
        self.part == 0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.gauge.sub(self.part);
    }
}

const SECONDS: &[f64] =
    &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

impl Metrics {
    /// Makes the counters and registers them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Metrics {
            connections: IntGauge::new("portcullis_front_connections", "Client connections now open.")?,
            accepted: IntCounter::new(
                "portcullis_front_connections_accepted_total",
                "Client connections accepted.",
            )?,
            closed: counters(
                "portcullis_front_connections_closed_total",
                "Client connections that the gateway closed, by reason.",
                &["reason"],
            )?,
            binds: counters(
                "portcullis_front_binds_total",
                "Binds, by mechanism and outcome.",
                &["mechanism", "outcome"],
            )?,
            answered_here: counters(
                "portcullis_front_answered_here_total",
                "Operations answered without asking a directory, by operation and outcome.",
                &["operation", "outcome"],
            )?,
            busy: counters(
                "portcullis_front_busy_total",
                "Requests answered busy, by reason: too many operations on the connection, more than the agreement allows, more \
                 paged searches than a shard keeps, more questions than a directory gets; and sorts left undone, as there are \
                 too many.",
                &["reason"],
            )?,
            walks_waiting: IntGauge::new(
                "portcullis_front_paged_searches_waiting",
                "Paged searches that wait for their client to ask for the next page.",
            )?,
            sorts_held: IntGauge::new(
                "portcullis_front_sorted_results_held",
                "Sorted results that are gathered or wait for their next page.",
            )?,
            seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "portcullis_front_operation_seconds",
                    "From request to result of operations that asked a directory.",
                )
                .buckets(SECONDS.to_vec()),
            )?,
            per_member: PerMember::new()?,
        };
        for collector in metrics.all() {
            registry.register(collector)?;
        }
        Ok(metrics)
    }

    fn all(&self) -> [Box<dyn Collector>; 20] {
        let m = self.per_member.clone();
        [
            Box::new(self.connections.clone()),
            Box::new(self.accepted.clone()),
            Box::new(self.closed.clone()),
            Box::new(self.binds.clone()),
            Box::new(self.answered_here.clone()),
            Box::new(self.busy.clone()),
            Box::new(self.walks_waiting.clone()),
            Box::new(self.sorts_held.clone()),
            Box::new(self.seconds.clone()),
            Box::new(m.operations),
            Box::new(m.seconds),
            Box::new(m.entries),
            Box::new(m.dropped),
            Box::new(m.connections),
            Box::new(m.dials),
            Box::new(m.faults),
            Box::new(m.retries),
            Box::new(m.shared),
            Box::new(m.probes),
            Box::new(m.left_alone),
        ]
    }

    /// The counters of the directory that `label` names: an ODS code, or `national`.
    pub fn member(&self, label: &str) -> MemberMetrics {
        let m = &self.per_member;
        let operations = |outcome| m.operations.with_label_values(&[label, outcome]);
        MemberMetrics {
            done: operations("done"),
            refused: operations("refused"),
            unavailable: operations("unavailable"),
            limited: operations("limited"),
            busy: operations("busy"),
            abandoned: operations("abandoned"),
            seconds: m.seconds.with_label_values(&[label]),
            entries: m.entries.with_label_values(&[label]),
            dropped: m.dropped.with_label_values(&[label]),
            connections: m.connections.with_label_values(&[label]),
            dials_done: m.dials.with_label_values(&[label, "done"]),
            dials_failed: m.dials.with_label_values(&[label, "failed"]),
            retries: m.retries.with_label_values(&[label]),
            shared: m.shared.with_label_values(&[label]),
            probes_answered: m.probes.with_label_values(&[label, "answered"]),
            probes_missed: m.probes.with_label_values(&[label, "missed"]),
            left_alone: m.left_alone.clone(),
            faults: m.faults.clone(),
            label: label.to_owned(),
        }
    }
}

impl PerMember {
    fn new() -> Result<Self, prometheus::Error> {
        Ok(PerMember {
            operations: counters(
                "portcullis_front_operations_total",
                "Questions for a directory behind, by member and outcome: done; limited (a limit of size, time or what is held \
                 here, of anybody, cut the answer); unavailable; busy (there are too many); refused (a gate, an agreement); \
                 abandoned (nobody wants the answer any more). Each counts once, and each page of a paged search is one.",
                &["member", "outcome"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new(
                    "portcullis_front_upstream_seconds",
                    "From question to final answer of a directory behind, by member.",
                )
                .buckets(SECONDS.to_vec()),
                &["member"],
            )?,
            entries: counters("portcullis_front_entries_total", "Entries released, by member.", &["member"])?,
            dropped: counters(
                "portcullis_front_entries_dropped_total",
                "Entries of a directory behind that were not released, by member.",
                &["member"],
            )?,
            connections: IntGaugeVec::new(
                Opts::new("portcullis_front_upstream_connections", "Connections to a directory behind."),
                &["member"],
            )?,
            dials: counters(
                "portcullis_front_upstream_dials_total",
                "Attempts to connect to a directory behind, by member and outcome.",
                &["member", "outcome"],
            )?,
            faults: counters(
                "portcullis_front_upstream_faults_total",
                "Faults of a directory behind (the member's side), by member and reason.",
                &["member", "reason"],
            )?,
            retries: counters(
                "portcullis_front_upstream_retries_total",
                "Questions asked again of another server of the same directory, by member.",
                &["member"],
            )?,
            shared: counters(
                "portcullis_front_shared_questions_total",
                "Questions that were not asked because the same one was on its way, by member.",
                &["member"],
            )?,
            probes: counters(
                "portcullis_front_upstream_probes_total",
                "Our own questions whether a server lives, by member and outcome.",
                &["member", "outcome"],
            )?,
            left_alone: IntGaugeVec::new(
                Opts::new(
                    "portcullis_front_server_left_alone",
                    "Shards that ask this server nothing after a fault, by member and place of the server in the list.",
                ),
                &["member", "server"],
            )?,
        })
    }
}

fn counters(name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name, help), labels)
}
