//! Everything that planning looks at.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use crate::ldap::dn::Dn;
use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::port::Store;
use crate::sync::keeping::rewritten::{self, Rewritten};
use crate::sync::keeping::shelf::json;
use crate::sync::people::difference::Ownership;
use crate::sync::people::survey::Others;
use crate::sync::terms::decision::{decisions, names};
use crate::sync::terms::guid::Guid;
use crate::sync::terms::settings::Scope;
use crate::sync::terms::staged::Staged;
use crate::sync::terms::succession::{closed, succeeds};
use crate::sync::terms::target::{TargetEntry, TargetView};
use crate::sync::writing::pause::Pauses;
use crate::sync::writing::refused::{self, Refused};

/// What a plan goes by beside the member's own two sides. By default nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// People who need nothing and touch nobody who does: neither staged nor published ones are shown to the plan.
    pub others: Others,
    /// National entries outside the member's unit that have a mail or are of a person whom somebody here needs.
    pub elsewhere: Vec<TargetEntry>,
    /// Organisations that this member succeeds: their entries may be taken over although they are published.
    pub succeeds: BTreeSet<OdsCode>,
    /// The member is closed and another succeeds it: nobody gets a new entry here.
    pub closed: bool,
    /// Members for whom nothing is to be written: what is theirs stays where it is.
    pub paused: BTreeSet<OdsCode>,
    /// Attributes that somebody else gave another value again and again: left alone.
    pub rewritten: BTreeSet<(Guid, String)>,
    /// Values that the national directory did not take: not written once more.
    pub refused: Refused,
    /// Decided by hand: the name of the entry that is an account's, while that entry is nobody's.
    pub decided: BTreeMap<Guid, String>,
}

impl Beside {
    /// What the store knows of it.
    pub fn of(store: &dyn Store, ods: &OdsCode, now: OffsetDateTime) -> Result<Beside, StoreError> {
        Ok(Beside {
            succeeds: succeeds(store, ods)?,
            closed: closed(store, ods)?,
            paused: Pauses::read(store)?.members.into_keys().collect(),
            rewritten: json::<Rewritten>(store, ods, rewritten::KEY)?.unwrap_or_default().left_alone(),
            refused: json::<Refused>(store, ods, refused::KEY)?.unwrap_or_default().still(now),
            decided: names(&decisions(store, ods)?),
            ..Beside::default()
        })
    }
}

/// The input of a plan. Nothing else decides.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    pub member: &'a OdsCode,
    /// The member's organisational unit in the national directory.
    pub base: &'a Dn,
    pub staged: &'a Staged,
    /// Everything there is has been seen at least once: only then does absence mean that somebody has gone.
    pub whole: bool,
    /// The directory told of deletions all the time since: then absence alone is no sign of one.
    pub told: bool,
    pub scope: &'a Scope,
    /// The scope's bases by GUID; none: the whole tree.
    pub bases: Option<&'a BTreeSet<Guid>>,
    pub target: &'a TargetView,
    /// Lower-case attributes that are never touched.
    pub national: &'a BTreeSet<String>,
    pub beside: &'a Beside,
    pub now: OffsetDateTime,
}

impl<'a> Input<'a> {
    /// Whose attributes are whose.
    pub fn ownership(&self) -> Ownership<'a> {
        Ownership { scope: self.scope, national: self.national }
    }
}
