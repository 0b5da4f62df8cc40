//! Everything that planning looks at.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::ldap::dn::Dn;
use crate::policy::terms::OdsCode;
use crate::sync::difference::Ownership;
use crate::sync::guid::Guid;
use crate::sync::settings::Scope;
use crate::sync::staged::Staged;
use crate::sync::survey::Others;
use crate::sync::target::{TargetEntry, TargetView};

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
    /// National entries outside the member's unit that have a mail or are of a person whom somebody here needs.
    pub elsewhere: &'a [TargetEntry],
    /// Organisations that this member succeeds: their entries may be taken over although they are published.
    pub succeeds: &'a BTreeSet<OdsCode>,
    /// Attributes that somebody else gave another value again and again: left alone.
    pub rewritten: &'a BTreeSet<(Guid, String)>,
    /// Lower-case attributes that are never touched.
    pub national: &'a BTreeSet<String>,
    /// People who need nothing and touch nobody who does: they are in neither `staged` nor `target`.
    pub others: &'a Others,
    pub now: OffsetDateTime,
}

impl<'a> Input<'a> {
    /// Whose attributes are whose.
    pub fn ownership(&self) -> Ownership<'a> {
        Ownership { scope: self.scope, national: self.national }
    }
}
