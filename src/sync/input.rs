//! Everything that planning looks at.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use crate::ldap::dn::Dn;
use crate::policy::terms::OdsCode;
use crate::sync::guid::Guid;
use crate::sync::settings::Scope;
use crate::sync::staged::Staged;
use crate::sync::target::TargetView;

/// The input of a plan. Nothing else decides.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    pub member: &'a OdsCode,
    /// The member's organisational unit in the national directory.
    pub base: &'a Dn,
    pub staged: &'a Staged,
    /// Everything there is has been seen at least once: only then does absence mean that somebody has gone.
    pub whole: bool,
    pub scope: &'a Scope,
    /// The scope's bases by GUID; none: the whole tree.
    pub bases: Option<&'a BTreeSet<Guid>>,
    pub target: &'a TargetView,
    /// Lower-case attributes that are never touched.
    pub national: &'a BTreeSet<String>,
    /// Decided by hand: the name of the entry that is an account's, while that entry is nobody's.
    pub decided: &'a BTreeMap<Guid, String>,
    pub now: OffsetDateTime,
}
