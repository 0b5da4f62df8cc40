//! What is published, how, and how patient a run is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ambient::bounds::{Bounds, Checked};
use crate::ldap::filter::Filter;
use crate::policy::scope::{AttributeMapping, Guards, Ownership, SyncScope, is_told};
use crate::sync::terms::error::SyncError;

/// No lease is shorter: it is prolonged after each page and before each batch, and a directory has this long for one answer (the
/// default of `directory::settings`).
const LEASE_SECONDS_MIN: u32 = 30;

/// How a run goes about it; the same for all members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Members synchronised at the same time.
    pub parallel: usize,
    /// Connections that write at the same time, 1 to 16.
    pub connections: usize,
    /// Writes under way on each connection at the same time, 1 to 64.
    pub in_flight: usize,
    /// Steps between two looks at the gate.
    pub batch: usize,
    /// People created or changed by one plan, at most; a run makes as many plans as it takes.
    pub plan_people: usize,
    /// Seconds that a lease lasts without being prolonged.
    pub lease_seconds: u32,
    /// Seconds between complete passes when deletions are told to us.
    pub complete_seconds: u32,
    /// Seconds between complete passes when deletions are not told to us.
    pub complete_blind_seconds: u32,
    /// Seconds after the last reading during which no other domain controller is read that does not say that it has all the one before had.
    /// 0: any is read at once.
    pub failover_seconds: u32,
    /// ODS codes of members that are read by uSNChanged; others only while their controllers refuse DirSync.
    pub polled_members: BTreeSet<String>,
    /// How many numbers before the last one reading by uSNChanged asks for again. 0: none.
    pub usn_overlap: u32,
    /// Seconds between two wake-ups of a member, at least: its controller is asked to tell of changes, and each leads to a run before its
    /// turn. 0: nobody is asked, and changes are found in turn.
    pub wake_seconds: u32,
    /// Members whose controllers are asked to tell of changes at the same time, each over a connection of its own. Further ones are
    /// synchronised in turn, and so are those for whom a quarter of the files that the gateway may have open has no room (3 each).
    pub wake_members: usize,
    /// Seconds between two runs of an organisation whose people are registered by table: leavers whose time is over are deleted, what was
    /// approved is done, what others changed is mended. 0: the gateway makes none, and `portcullis register --all --apply` does it.
    pub registered_seconds: u32,
    /// Bytes that a DirSync answer should not pass; Active Directory takes no less than 1 MiB.
    pub page_bytes: u32,
    /// Seconds that an approval is good for.
    pub approval_seconds: u32,
    /// A guard passed by this many times its limit needs two officers.
    pub second_officer_at: u64,
    /// Entries marked as left or deleted in a day (UTC), of all members together; more need two officers.
    pub national_removals_per_day: u64,
    /// Lower-case attributes of national entries that are never touched.
    pub national_attributes: BTreeSet<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            parallel: 4,
            connections: 4,
            in_flight: 4,
            batch: 500,
            plan_people: 20_000,
            lease_seconds: 60,
            complete_seconds: 86_400,
            complete_blind_seconds: 3_600,
            failover_seconds: 3_600,
            polled_members: BTreeSet::new(),
            usn_overlap: 500,
            wake_seconds: 5,
            wake_members: 2_000,
            registered_seconds: 86_400,
            page_bytes: 1 << 20,
            approval_seconds: 86_400,
            second_officer_at: 5,
            national_removals_per_day: 2_000,
            national_attributes: BTreeSet::new(),
        }
    }
}

/// Between the end of another's lease and the end of the wait for it.
const LEASE_MARGIN: Duration = Duration::from_secs(60);
/// A run that goes on prolongs its lease: it is waited for as long as this in any case.
const WAIT_MIN: Duration = Duration::from_secs(180);

impl Settings {
    /// How long a lease lasts.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(u64::from(self.lease_seconds.max(1)))
    }

    /// How long a command waits for another run: longer than a lease that nobody prolongs any more, of a process that was killed.
    pub fn wait_for_other_run(&self) -> Duration {
        (self.lease() + LEASE_MARGIN).max(WAIT_MIN)
    }
}

impl Checked for Settings {
    fn bounds(&self) -> Bounds {
        Bounds::default()
            .within("parallel", self.parallel, 1..=1_000)
            .within("connections", self.connections, 1..=16)
            .within("in_flight", self.in_flight, 1..=64)
            .within("batch", self.batch, 1..=100_000)
            .within("plan_people", self.plan_people, 100..=10_000_000)
            .within("lease_seconds", self.lease_seconds, LEASE_SECONDS_MIN..=3_600)
            .within("complete_seconds", self.complete_seconds, 60..=31_536_000)
            .within("complete_blind_seconds", self.complete_blind_seconds, 60..=31_536_000)
            .within("failover_seconds", self.failover_seconds, 0..=604_800)
            .within("usn_overlap", self.usn_overlap, 0..=1_000_000)
            .within("wake_seconds", self.wake_seconds, 0..=3_600)
            .within("wake_members", self.wake_members, 1..=10_000)
            .within("registered_seconds", self.registered_seconds, 0..=604_800)
            .within("page_bytes", self.page_bytes, 1 << 20..=1 << 28)
            .within("approval_seconds", self.approval_seconds, 60..=31_536_000)
            .within("national_removals_per_day", self.national_removals_per_day, 1..=10_000_000)
            .within("second_officer_at", self.second_officer_at, 1..=1_000_000)
    }
}

/// Where a published value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This local attribute, lower case.
    Local(String),
    /// The same for everybody.
    Constant(String),
}

/// How people are published who do not want to be listed as others are. Values are lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Levels {
    /// The local attribute, lower case.
    pub attribute: String,
    pub not_published: BTreeSet<String>,
    pub not_findable: BTreeSet<String>,
    pub without_contact: BTreeSet<String>,
    /// Lower-case national attributes.
    pub contact: BTreeSet<String>,
}

impl Levels {
    /// The words of each level.
    pub fn words(&self) -> impl Iterator<Item = &BTreeSet<String>> {
        [&self.not_published, &self.not_findable, &self.without_contact].into_iter()
    }
}

/// What a member publishes.
#[derive(Debug, Clone, PartialEq)]
pub struct Scope {
    /// Names relative to the member's naming context; empty: everything.
    pub bases: Vec<String>,
    /// Over local names; must be true of a person.
    pub filter: Filter<'static>,
    /// Lower-case national attribute to where its values come from.
    pub attributes: BTreeMap<String, Origin>,
    /// Lower-case national attributes that are not the member's alone.
    pub shared: BTreeMap<String, Ownership>,
    /// The lower-case national attribute that is one person's in every organisation; none: entries never change hands.
    pub person: Option<String>,
    pub levels: Option<Levels>,
    /// Lower case. When there are any, a person with a mail outside of them is held.
    pub mail_domains: BTreeSet<String>,
    /// How long a marked leaver stays.
    pub keep: time::Duration,
    pub guards: Guards,
}

impl Scope {
    /// The scope of a policy document, for a member that owns these mail domains.
    ///
    /// # Errors
    /// A filter that cannot be read, or a pilot group, which is not known yet.
    pub fn of(document: &SyncScope, mail_domains: &BTreeSet<String>) -> Result<Scope, SyncError> {
        let filter = Filter::parse(&document.filter.value)
            .map_err(|error| SyncError::Scope(format!("{}: the filter: {error}", document.id)))?;
        if document.pilot_group.is_some() {
            return Err(SyncError::Scope(format!(
                "{}: a pilot group is not supported: name the pilots by `bases` or `filter`",
                document.id
            )));
        }
        let attributes = document
            .attributes
            .iter()
            .map(|(name, mapping)| {
                let origin = match mapping {
                    AttributeMapping::From(local, _) => Origin::Local(local.value.to_ascii_lowercase()),
                    AttributeMapping::Constant(value) => Origin::Constant(value.clone()),
                };
                (name.to_ascii_lowercase(), origin)
            })
            .collect();
        let shared = document.attributes.iter().filter_map(|(name, mapping)| match mapping {
            AttributeMapping::From(_, Ownership::Member) | AttributeMapping::Constant(_) => None,
            AttributeMapping::From(_, ownership) => Some((name.to_ascii_lowercase(), *ownership)),
        });
        let mut asked: BTreeSet<String> = BTreeSet::new();
        filter_attributes(&filter, &mut asked);
        asked.extend(document.local_attributes().map(|name| name.value.to_ascii_lowercase()));
        if let Some(name) = asked.iter().find(|name| !is_told(name)) {
            return Err(SyncError::Scope(format!(
                "{}: nobody is told when `{name}` of a person changes: use an attribute of the person's own",
                document.id
            )));
        }
        let lower = |values: &[String]| values.iter().map(|value| value.to_lowercase()).collect();
        let levels = document.listing.as_ref().map(|listing| Levels {
            attribute: listing.attribute.value.to_ascii_lowercase(),
            not_published: lower(&listing.not_published),
            not_findable: lower(&listing.not_findable),
            without_contact: lower(&listing.without_contact),
            contact: lower(&listing.contact),
        });
        let domains =
            document.mail_domains.iter().chain(mail_domains).map(|domain| domain.to_ascii_lowercase());
        Ok(Scope {
            bases: document.bases.iter().map(|base| base.value.clone()).collect(),
            filter: filter.into_owned(),
            attributes,
            shared: shared.collect(),
            person: document.person.as_ref().map(|name| name.to_ascii_lowercase()),
            levels,
            mail_domains: domains.collect(),
            keep: document.leavers.keep,
            guards: document.guards,
        })
    }

    /// The local attributes that planning needs, lower case.
    pub fn local_attributes(&self) -> BTreeSet<String> {
        let mut names: BTreeSet<String> =
            ["objectclass", "objectcategory", "useraccountcontrol", "samaccountname", "mail"]
                .into_iter()
                .map(str::to_owned)
                .collect();
        names.extend(self.attributes.values().filter_map(|origin| match origin {
            Origin::Local(name) => Some(name.clone()),
            Origin::Constant(_) => None,
        }));
        names.extend(self.levels.iter().map(|levels| levels.attribute.clone()));
        filter_attributes(&self.filter, &mut names);
        names
    }
}

fn filter_attributes(filter: &Filter<'_>, names: &mut BTreeSet<String>) {
    filter.each_attribute(&mut |name| {
        names.insert(name.to_ascii_lowercase());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_outlasts_every_lease() {
        let seconds =
            |lease_seconds| Settings { lease_seconds, ..Settings::default() }.wait_for_other_run().as_secs();
        assert_eq!([60, 120, 121, 3_600].map(seconds), [180, 180, 181, 3_660]);
    }
}
