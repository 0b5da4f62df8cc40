//! How many records offend.

use crate::baseline::assessment::Finding;

/// Records that fail, those that an exception covers included. Assessments kept before the count was kept name every one.
pub fn failing(finding: &Finding) -> u64 {
    finding.failing.max(count(finding.offenders.len()))
}

/// Those of them that nothing covers.
pub fn open(finding: &Finding) -> u64 {
    let named = count(finding.offenders.iter().filter(|offender| offender.excepted).count());
    failing(finding).saturating_sub(finding.excepted.max(named))
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
