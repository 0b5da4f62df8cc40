//! What operators see of assessments.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

/// Registered by `app`.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Assessments by outcome: `done` or `error`.
    pub assessments: IntCounterVec,
    /// Seconds of one pass, probes and judgement.
    pub seconds: HistogramVec,
    /// Assessments that run now.
    pub running: IntGauge,
    /// Facts that failed or were not collected in the last passes, by record or collection.
    pub missing: IntCounterVec,
}

impl Metrics {
    /// The metrics, registered with `registry`.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Metrics {
            assessments: IntCounterVec::new(
                Opts::new("portcullis_assessments_total", "assessments by outcome"),
                &["outcome"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new("portcullis_assessment_duration_seconds", "time of one assessment")
                    .buckets(vec![0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0]),
                &["outcome"],
            )?,
            running: IntGauge::new("portcullis_assessments_running", "assessments that run now")?,
            missing: IntCounterVec::new(
                Opts::new(
                    "portcullis_assessment_facts_missing_total",
                    "facts that failed, by what produced them",
                ),
                &["facts"],
            )?,
        };
        registry.register(Box::new(metrics.assessments.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.running.clone()))?;
        registry.register(Box::new(metrics.missing.clone()))?;
        Ok(metrics)
    }
}
