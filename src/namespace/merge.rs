//! How several answers become one. An incomplete answer is never success.

use crate::ldap::message::{ResultCode, Scope};

/// What became of one leg of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegEnd {
    /// The directory answered to the end.
    Complete,
    /// The directory stopped at a limit of its own, or an attribute came in pieces: entries are missing.
    Cut,
    /// The directory could not be asked, broke off, answered with an error, or sent an entry that was refused.
    Missing,
    /// Our own deadline for the operation passed.
    TimedOut,
}

/// Gathers the ends of all legs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merge {
    asked: usize,
    cut: usize,
    missing: usize,
    timed_out: usize,
    size_limit: bool,
}

/// The one result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    pub code: ResultCode,
    /// For the diagnosticMessage; counts only, no names.
    pub text: String,
    /// Legs that did not answer to the end.
    pub missing: usize,
}

impl Merge {
    /// No leg yet.
    pub fn new() -> Merge {
        Merge::default()
    }

    /// One leg has ended.
    pub fn add(&mut self, end: LegEnd) {
        self.asked += 1;
        match end {
            LegEnd::Complete => {}
            LegEnd::Cut => self.cut += 1,
            LegEnd::Missing => self.missing += 1,
            LegEnd::TimedOut => self.timed_out += 1,
        }
    }

    /// The requester got as many entries as it may, and there was at least one more that it could have seen.
    pub fn size_limit_hit(&mut self) {
        self.size_limit = true;
    }

    /// The result. A size limit comes first: the requester has all that it may have. Then whoever is missing.
    pub fn finish(&self) -> Merged {
        let missing = self.missing + self.timed_out + self.cut;
        let of = |n: usize, what: &str| format!("{n} of {} directories {what}", self.asked);
        let (code, text) = if self.size_limit {
            (ResultCode::SIZE_LIMIT_EXCEEDED, String::new())
        } else if self.missing > 0 {
            (ResultCode::UNAVAILABLE, of(self.missing + self.timed_out, "did not answer"))
        } else if self.timed_out > 0 {
            (ResultCode::TIME_LIMIT_EXCEEDED, of(self.timed_out, "did not answer in time"))
        } else if self.cut > 0 {
            (ResultCode::ADMIN_LIMIT_EXCEEDED, of(self.cut, "cut their answer short"))
        } else {
            (ResultCode::SUCCESS, String::new())
        };
        Merged { code, text, missing }
    }
}

/// The result code of one completed leg, from what was released alone: whether the base exists behind must not show,
/// because it may be an entry that does not exist for this requester. `code` is what the directory answered: success or
/// noSuchObject; `released` is how many entries went out.
///
/// Below the mount point a base search without an entry is always noSuchObject, and any other search is success, with or
/// without entries. At the mount point the base always exists: noSuchObject there is the directory's failure.
pub fn settle(scope: Scope, at_mount: bool, code: ResultCode, released: u64) -> ResultCode {
    let known = code == ResultCode::SUCCESS || code == ResultCode::NO_SUCH_OBJECT;
    match (known, at_mount, scope) {
        (false, _, _) => code,
        (true, true, _) if code == ResultCode::NO_SUCH_OBJECT => ResultCode::UNAVAILABLE,
        (true, false, Scope::Base) if released == 0 => ResultCode::NO_SUCH_OBJECT,
        _ => ResultCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_directory_is_never_success() {
        let mut merge = Merge::new();
        merge.add(LegEnd::Complete);
        assert_eq!(merge.finish().code, ResultCode::SUCCESS);
        merge.add(LegEnd::TimedOut);
        assert_eq!(merge.finish().code, ResultCode::TIME_LIMIT_EXCEEDED);
        merge.add(LegEnd::Missing);
        assert_eq!(merge.finish().code, ResultCode::UNAVAILABLE);
        assert_eq!(merge.finish().text, "2 of 3 directories did not answer");
        assert_eq!(merge.finish().missing, 2);
        merge.size_limit_hit();
        assert_eq!(merge.finish().code, ResultCode::SIZE_LIMIT_EXCEEDED);
    }

    #[test]
    fn what_the_directory_says_of_a_base_below_the_mount_does_not_show() {
        for scope in [Scope::Base, Scope::One, Scope::Subtree] {
            let told = |code, released| settle(scope, false, code, released);
            assert_eq!(told(ResultCode::SUCCESS, 0), told(ResultCode::NO_SUCH_OBJECT, 0));
            assert_eq!(told(ResultCode::SUCCESS, 1), ResultCode::SUCCESS);
            assert_eq!(settle(scope, true, ResultCode::NO_SUCH_OBJECT, 0), ResultCode::UNAVAILABLE);
            assert_eq!(settle(scope, true, ResultCode::SUCCESS, 0), ResultCode::SUCCESS);
        }
    }
}
