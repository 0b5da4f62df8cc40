//! Everything that a report shows of one assessment: text, HTML and JSON say the same.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

use crate::assess::report::closings::{Closing, Gates, Rules, closings};
use crate::assess::report::first::{Step, first};
use crate::assess::report::history::since;
use crate::assess::report::trend::{Trend, trend};
use crate::baseline::assessment::Assessment;

/// What is known of who made the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "signature", rename_all = "snake_case")]
pub enum Source {
    /// It was collected for this very report.
    Measured,
    /// Its signature was made with the private half of this key, lower-case hex.
    Verified { key: String },
    /// Nobody looked at its signature.
    Unchecked,
}

/// One assessment with what follows from it. As JSON it is the assessment with seven more fields.
#[derive(Debug, Clone, Serialize)]
pub struct Page<'a> {
    #[serde(flatten)]
    pub assessment: &'a Assessment,
    pub source: Source,
    /// Why the directory could not be read at all, and what to do; none when it could.
    pub obstacle: Option<String>,
    /// What a registration would tell and nobody told, as options of `check`.
    pub unregistered: Vec<&'static str>,
    /// What to do first, so that the gates open.
    pub first: Vec<Step>,
    /// When a finding closes a gate.
    pub closings: Vec<Closing>,
    /// What became different since the assessment before; none when there is no such.
    pub trend: Option<Trend>,
    /// For each control that fails or is unknown: since when, as far as assessments are kept.
    #[serde(serialize_with = "moments")]
    pub since: BTreeMap<String, OffsetDateTime>,
}

impl<'a> Page<'a> {
    /// `obstacle` is what the evidence says of it; `before` are the assessments before it, newest first; `gates` is none where nothing is known of the member's gates.
    pub fn new(
        assessment: &'a Assessment,
        source: Source,
        obstacle: Option<String>,
        before: &[Assessment],
        rules: &Rules,
        gates: Option<&Gates>,
    ) -> Page<'a> {
        Page {
            assessment,
            source,
            obstacle,
            unregistered: Vec::new(),
            first: first(assessment),
            closings: closings(assessment, rules, gates),
            trend: before.first().map(|before| trend(before, assessment)),
            since: since(assessment, before),
        }
    }

    /// The closings of one control that have a date.
    pub fn dated(&self, control: &str) -> impl Iterator<Item = (&Closing, OffsetDateTime)> {
        let control = control.to_owned();
        let mine = self.closings.iter().filter(move |closing| closing.control == control);
        mine.filter_map(|closing| Some((closing, closing.at?)))
    }
}

fn moments<S: Serializer>(since: &BTreeMap<String, OffsetDateTime>, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Moment(#[serde(with = "time::serde::rfc3339")] OffsetDateTime);
    to.collect_map(since.iter().map(|(control, at)| (control, Moment(*at))))
}

#[cfg(test)]
pub mod fixture;
