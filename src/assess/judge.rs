//! Which baseline a member is held against, and the one call that holds evidence against it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use crate::assess::error::AssessError;
use crate::baseline::assessment::Assessment;
use crate::baseline::compile::{Compiled, CompiledControl};
use crate::baseline::evaluate::{NAMED, evaluate_knowing, evaluate_naming};
use crate::baseline::facts::Evidence;
use crate::policy::documents::{Baseline, Exception};
use crate::policy::fault::{Fault, Place};
use crate::policy::set::PolicySet;
use crate::policy::terms::{OdsCode, Stage};
use crate::store::record::ExceptionRecord;

/// The baseline that decides: the one that is rolled out furthest; of several, the first by id. Drafts never count.
pub fn baseline_id(set: &PolicySet) -> Option<&str> {
    set.baselines
        .values()
        .filter(|baseline| baseline.stage > Stage::Draft)
        .min_by_key(|baseline| (Reverse(baseline.stage), baseline.id.as_str()))
        .map(|baseline| baseline.id.as_str())
}

/// The baseline for a member, with the tailoring of `profile`, or of the profile that names the member.
pub fn compile(set: &PolicySet, profile: Option<&str>, member: &OdsCode) -> Result<Compiled, AssessError> {
    let fail = |cause: String| AssessError::NoBaseline { member: member.to_string(), cause };
    let id = baseline_id(set).ok_or_else(|| fail("no baseline is past its draft".to_owned()))?;
    let profile = profile.or_else(|| Compiled::profile_for(set, id, member, None));
    Compiled::compile(set, id, profile).map_err(|faults| {
        let shown: Vec<String> = faults.iter().take(3).map(ToString::to_string).collect();
        fail(shown.join("; "))
    })
}

/// Holds `evidence` against the set's baseline: the same evidence, set, exceptions and time give the same bytes. Where many records
/// offend against one control, the first [`NAMED`] are named.
pub fn judge(
    set: &PolicySet,
    profile: Option<&str>,
    evidence: &Evidence,
    granted: &[ExceptionRecord],
    now: OffsetDateTime,
) -> Result<Assessment, AssessError> {
    judge_naming(set, profile, evidence, granted, now, NAMED)
}

/// As [`judge`], naming every offender.
pub fn judge_in_full(
    set: &PolicySet,
    profile: Option<&str>,
    evidence: &Evidence,
    granted: &[ExceptionRecord],
    now: OffsetDateTime,
) -> Result<Assessment, AssessError> {
    judge_naming(set, profile, evidence, granted, now, usize::MAX)
}

fn judge_naming(
    set: &PolicySet,
    profile: Option<&str>,
    evidence: &Evidence,
    granted: &[ExceptionRecord],
    now: OffsetDateTime,
    most: usize,
) -> Result<Assessment, AssessError> {
    let compiled = compile(set, profile, &evidence.member)?;
    Ok(judge_by(&compiled, set, evidence, granted, now, most))
}

fn judge_by(
    compiled: &Compiled,
    set: &PolicySet,
    evidence: &Evidence,
    granted: &[ExceptionRecord],
    now: OffsetDateTime,
    most: usize,
) -> Assessment {
    evaluate_naming(compiled, evidence, &exceptions(set, granted, now), now, most)
}

fn exceptions(set: &PolicySet, granted: &[ExceptionRecord], now: OffsetDateTime) -> Vec<Exception> {
    set.exceptions.iter().cloned().chain(granted.iter().filter_map(|g| exception(g, now))).collect()
}

/// Controls that two sets ask alike, by profile.
#[derive(Debug, Default)]
pub struct Alike(BTreeMap<Option<String>, BTreeSet<String>>);

/// The baseline of a set that decides, with each of its profiles, compiled once for many members.
#[derive(Debug)]
pub struct Baselines<'a> {
    set: &'a PolicySet,
    baseline: &'a Baseline,
    /// By profile; the baseline itself under none.
    compiled: BTreeMap<Option<String>, Compiled>,
}

impl<'a> Baselines<'a> {
    /// Of a set that checks.
    ///
    /// # Errors
    /// No baseline decides.
    pub fn of(set: &'a PolicySet) -> Result<Self, AssessError> {
        let fail = |cause: String| AssessError::NoBaseline { member: "any member".to_owned(), cause };
        let baseline = baseline_id(set).and_then(|id| set.baselines.get(id));
        let baseline = baseline.ok_or_else(|| fail("no baseline is past its draft".to_owned()))?;
        let profiles = set.profiles.values().filter(|p| p.extends.value == baseline.id);
        let profiles = profiles.map(|profile| Some(profile.id.as_str())).chain([None]);
        let compiled = profiles.map(|profile| {
            let compiled = Compiled::compile(set, &baseline.id, profile);
            let first = |faults: Vec<Fault>| faults.first().map(ToString::to_string).unwrap_or_default();
            compiled
                .map(|compiled| (profile.map(str::to_owned), compiled))
                .map_err(|faults| fail(first(faults)))
        });
        Ok(Baselines { set, baseline, compiled: compiled.collect::<Result<_, _>>()? })
    }

    /// The set's hash.
    pub fn hash(&self) -> &str {
        self.set.hash()
    }

    /// The baseline as written.
    pub fn baseline(&self) -> &Baseline {
        self.baseline
    }

    /// The day from which a control that is announced decides, for a member with this profile.
    pub fn enforced_from(
        &self,
        profile: Option<&str>,
        member: &OdsCode,
        control: &str,
    ) -> Option<OffsetDateTime> {
        let (_, compiled) = self.for_profile(profile, member).ok()?;
        compiled.controls.iter().find(|c| c.id == control)?.enforce_from
    }

    /// As [`judge`], naming the first `most` offenders.
    ///
    /// # Errors
    /// No such profile.
    pub fn judge(
        &self,
        profile: Option<&str>,
        evidence: &Evidence,
        granted: &[ExceptionRecord],
        now: OffsetDateTime,
        most: usize,
    ) -> Result<Assessment, AssessError> {
        let (_, compiled) = self.for_profile(profile, &evidence.member)?;
        Ok(judge_by(compiled, self.set, evidence, granted, now, most))
    }

    /// As [`Baselines::judge`] at the time of `before`, which another set found of the same evidence: what both ask alike is taken over.
    ///
    /// # Errors
    /// No such profile.
    pub fn judge_after(
        &self,
        alike: &Alike,
        before: &Assessment,
        profile: Option<&str>,
        evidence: &Evidence,
        granted: &[ExceptionRecord],
    ) -> Result<Assessment, AssessError> {
        let (profile, compiled) = self.for_profile(profile, &evidence.member)?;
        let alike = alike.0.get(&profile);
        let known = |control: &CompiledControl| {
            let same = alike.is_some_and(|alike| alike.contains(&control.id));
            same.then(|| before.finding(&control.id).cloned()).flatten()
        };
        let now = before.assessed_at;
        let exceptions = exceptions(self.set, granted, now);
        Ok(evaluate_knowing(compiled, evidence, &exceptions, now, 0, &known))
    }

    /// The controls that both sets ask alike, by profile; none where their exceptions or stages differ.
    pub fn alike(&self, other: &Baselines<'_>) -> Alike {
        let told = |set: &PolicySet| -> Vec<Exception> {
            let nowhere = |e: &Exception| Exception { at: Place::nowhere(), ..e.clone() };
            set.exceptions.iter().map(nowhere).collect()
        };
        if self.baseline.stage != other.baseline.stage || told(self.set) != told(other.set) {
            return Alike::default();
        }
        let by_profile = self.compiled.iter().filter_map(|(profile, mine)| {
            let theirs = other.compiled.get(profile)?;
            // a control that stands elsewhere is judged again: what it explains names the place
            let texts: BTreeMap<&str, String> =
                theirs.controls.iter().map(|c| (c.id.as_str(), format!("{c:?}"))).collect();
            let same = mine.controls.iter().filter(|c| texts.get(c.id.as_str()) == Some(&format!("{c:?}")));
            Some((profile.clone(), same.map(|c| c.id.clone()).collect()))
        });
        Alike(by_profile.collect())
    }

    fn for_profile(
        &self,
        profile: Option<&str>,
        member: &OdsCode,
    ) -> Result<(Option<String>, &Compiled), AssessError> {
        let profile = profile.or_else(|| Compiled::profile_for(self.set, &self.baseline.id, member, None));
        let profile = profile.map(str::to_owned);
        let compiled = self.compiled.get(&profile).ok_or_else(|| AssessError::NoBaseline {
            member: member.to_string(),
            cause: format!("the set has no profile `{}`", profile.as_deref().unwrap_or_default()),
        })?;
        Ok((profile, compiled))
    }
}

/// An exception granted by command, as policy files write them; none when it was withdrawn, and none without two persons.
fn exception(record: &ExceptionRecord, now: OffsetDateTime) -> Option<Exception> {
    if record.withdrawn_at.is_some_and(|at| at <= now) || !record.is_approved() {
        return None;
    }
    Some(Exception {
        at: Place::nowhere(),
        control: record.control.clone(),
        member: record.member.clone(),
        objects: record.objects.clone(),
        owner: record.owner.clone(),
        reason: record.reason.clone(),
        compensating_control: record.compensating_control.clone(),
        approver: record.approver.clone(),
        from: record.granted_at,
        until: record.ends(),
    })
}

#[cfg(test)]
mod tests;
