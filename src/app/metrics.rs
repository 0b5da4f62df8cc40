//! What operators see of the gateway as a whole. Labels are ODS codes, ids of controls and fixed words.

use prometheus::core::Collector;
use prometheus::{GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

const POLICY_GOOD: &str =
    "Whether the policy set that counts (the activated one, else the folder's) is the one in force.";
const POLICY_ACTIVATED: &str =
    "Whether the policy set in force was activated by an officer; the folder is not read then.";

/// Registered once. Clones share the same metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// 1 when requests may pass.
    pub gate_open: IntGaugeVec,
    /// Changes of gates, by the state that they changed to.
    pub gate_transitions: IntCounterVec,
    /// Seconds since the evidence of the latest assessment was collected.
    pub assessment_age: GaugeVec,
    /// Findings of the latest assessment, by verdict.
    pub findings: IntGaugeVec,
    /// Attestations that the latest assessment rests on, by standing: `in_force`, `ending` (within 30 days), `not_holding`.
    pub attestations: IntGaugeVec,
    /// What is set aside.
    pub exceptions: OfExceptions,
    /// 1 for the state that the membership is in.
    pub membership: IntGaugeVec,
    /// Loads of the policy documents, by outcome.
    pub policy_loads: IntCounterVec,
    /// 1 when the set that counts is the one in force: the activated one, else the folder's.
    pub policy_good: IntGauge,
    /// 1 when the set in force was activated by an officer, so that the folder is not read.
    pub policy_activated: IntGauge,
    /// 1 when everything can be recorded.
    pub recording: IntGaugeVec,
}

impl Metrics {
    /// Makes the metrics and registers them with `registry`.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Metrics {
            gate_open: gauges(
                "portcullis_gate_open",
                "Whether requests may pass the gate.",
                &["member", "grant"],
            )?,
            gate_transitions: IntCounterVec::new(
                Opts::new("portcullis_gate_transitions_total", "Changes of gates, by new state."),
                &["member", "grant", "state"],
            )?,
            assessment_age: GaugeVec::new(
                Opts::new(
                    "portcullis_assessment_age_seconds",
                    "Seconds since the evidence of the latest assessment was collected.",
                ),
                &["member"],
            )?,
            findings: gauges(
                "portcullis_assessment_findings",
                "Findings of the latest assessment, by verdict.",
                &["member", "verdict"],
            )?,
            attestations: gauges(
                "portcullis_attestations",
                "What members state, by standing; ending is within 30 days.",
                &["member", "standing"],
            )?,
            exceptions: OfExceptions::register(registry)?,
            membership: gauges(
                "portcullis_membership",
                "The state of the membership.",
                &["member", "state"],
            )?,
            policy_loads: IntCounterVec::new(
                Opts::new("portcullis_policy_loads_total", "Loads of the policy documents, by outcome."),
                &["outcome"],
            )?,
            policy_good: IntGauge::new("portcullis_policy_good", POLICY_GOOD)?,
            policy_activated: IntGauge::new("portcullis_policy_activated", POLICY_ACTIVATED)?,
            recording: gauges(
                "portcullis_recording",
                "Whether what happens can be recorded; when not, every gate is closed.",
                &["part"],
            )?,
        };
        let build = gauges("portcullis_build_info", "The version that runs.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        for outcome in ["done", "refused"] {
            metrics.policy_loads.with_label_values(&[outcome]).inc_by(0);
        }
        let all: [Box<dyn Collector>; 11] = [
            Box::new(build),
            Box::new(metrics.gate_open.clone()),
            Box::new(metrics.gate_transitions.clone()),
            Box::new(metrics.assessment_age.clone()),
            Box::new(metrics.findings.clone()),
            Box::new(metrics.attestations.clone()),
            Box::new(metrics.membership.clone()),
            Box::new(metrics.policy_loads.clone()),
            Box::new(metrics.policy_good.clone()),
            Box::new(metrics.policy_activated.clone()),
            Box::new(metrics.recording.clone()),
        ];
        for collector in all {
            registry.register(collector)?;
        }
        Ok(metrics)
    }
}

/// What is set aside, and for how long. Labels are ODS codes and ids of controls.
#[derive(Debug, Clone)]
pub struct OfExceptions {
    /// Exceptions that hold.
    pub in_force: IntGaugeVec,
    /// Those of them that end within 30 days.
    pub ending: IntGaugeVec,
    /// Exceptions that wait for a second person.
    pub requested: IntGaugeVec,
    /// Seconds until the next exception of a control ends.
    pub ends: GaugeVec,
}

impl OfExceptions {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let of_member = |name: &str, help: &str| gauges(name, help, &["member"]);
        let metrics = OfExceptions {
            in_force: of_member("portcullis_exceptions_in_force", "Exceptions that set something aside.")?,
            ending: of_member(
                "portcullis_exceptions_ending",
                "Exceptions in force that end within 30 days.",
            )?,
            requested: of_member(
                "portcullis_exceptions_requested",
                "Exceptions that were requested and wait for a second person.",
            )?,
            ends: GaugeVec::new(
                Opts::new(
                    "portcullis_exception_ends_seconds",
                    "Seconds until the next exception in force of the control ends.",
                ),
                &["member", "control"],
            )?,
        };
        for counted in [&metrics.in_force, &metrics.ending, &metrics.requested] {
            registry.register(Box::new(counted.clone()))?;
        }
        registry.register(Box::new(metrics.ends.clone()))?;
        Ok(metrics)
    }
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    IntGaugeVec::new(Opts::new(name, help), labels)
}
