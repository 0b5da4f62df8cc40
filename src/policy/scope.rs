//! What a member publishes, as a policy document says it.

use std::collections::BTreeMap;

use time::Duration;

use crate::policy::documents::Members;
use crate::policy::fault::{Place, Placed};

/// Local attributes, lower case, that no change tells of: back links and values that are made up or not replicated. Adding somebody to a
/// group changes the group alone (MS-ADTS 3.1.1.3.4.1.3).
const NOT_TOLD: [&str; 14] = [
    "memberof",
    "directreports",
    "managedobjects",
    "canonicalname",
    "tokengroups",
    "lastlogon",
    "lastlogoff",
    "logoncount",
    "badpwdcount",
    "badpasswordtime",
    "whenchanged",
    "usnchanged",
    "usncreated",
    "modifytimestamp",
];

/// Whether a change of this local attribute of a person is told to whoever follows changes.
pub fn is_told(attribute: &str) -> bool {
    let name = attribute.split(';').next().unwrap_or_default();
    !NOT_TOLD.iter().any(|one| name.eq_ignore_ascii_case(one))
}

/// What members publish into the national directory, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncScope {
    pub at: Place,
    pub id: String,
    pub members: Members,
    /// Below which the people are, relative to the member's own suffix (`OU=Staff`); empty: the whole tree.
    pub bases: Vec<Placed<String>>,
    /// RFC 4515 text over local names that a person must match.
    pub filter: Placed<String>,
    /// Membership of this group (DN relative to the member's suffix) limits a pilot; `None`: no pilot group.
    pub pilot_group: Option<String>,
    /// Federated attribute name (as written) to where its value comes from.
    pub attributes: BTreeMap<String, AttributeMapping>,
    /// Mail domains are checked for joins; a person whose mail lies outside the member's domains is held.
    pub mail_domains: Vec<String>,
    /// Federated name of the attribute whose value is one person's in every organisation, for example the identifier on the smartcard:
    /// by it a joiner takes over the entry that the organisation before has released. None: entries never change hands.
    pub person: Option<String>,
    pub listing: Option<LocalListing>,
    pub leavers: Leavers,
    pub guards: Guards,
}

impl SyncScope {
    /// The local attributes that it names outside of its filter, as written.
    pub fn local_attributes(&self) -> impl Iterator<Item = &Placed<String>> {
        let mapped = self.attributes.values().filter_map(|mapping| match mapping {
            AttributeMapping::From(local, _) => Some(local),
            AttributeMapping::Constant(_) => None,
        });
        mapped.chain(self.listing.iter().map(|listing| &listing.attribute))
    }
}

/// Where a published value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeMapping {
    /// A local attribute, by name.
    From(Placed<String>, Ownership),
    /// The same for everybody.
    Constant(String),
}

/// Whose a published value is, and what it means that the local attribute has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ownership {
    /// The member's: the national value follows, and goes when there is none.
    #[default]
    Member,
    /// The member's while it has one: no local value is no opinion, and what is there nationally stays.
    MemberWhenThere,
    /// The national side's: the local value is given to an entry that has none, and never again.
    National,
}

/// People who do not want to be listed as others are, by the values of a local attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalListing {
    /// The local attribute, as written.
    pub attribute: Placed<String>,
    /// Values of people who do not leave the member directory; what was published of them is deleted at once.
    pub not_published: Vec<String>,
    /// Values of people whom nobody finds by browsing: published for those who may (release agreements say who), and named by
    /// nobody else's entry.
    pub not_findable: Vec<String>,
    /// Values of people who are published without the attributes of `contact`.
    pub without_contact: Vec<String>,
    /// Federated names, as written.
    pub contact: Vec<String>,
}

/// A word of a level as it is compared: people write `Not Listed`, `not_listed`, and hyphens that are none.
pub fn spelled(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// What becomes of people who are no longer in scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leavers {
    /// How long a marked leaver stays before it is deleted.
    pub keep: Duration,
}

/// Limits that stop a plan before the first harmful write. They cannot be switched off: `at_most` is capped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guards {
    /// Deletes and marks as leaver, per run.
    pub deletes: Guard,
    /// Marks because the account was disabled, per run.
    pub disables: Guard,
    /// People who are no longer to be listed, per run.
    pub hides: Guard,
    /// People who leave one organisational unit, per run: trips when both count and share (of that unit) are passed.
    pub unit: Guard,
    /// Entries of somebody else, or of nobody, that are taken over, per run.
    pub joins: Guard,
    /// Entries whose mail changes, per run.
    pub mails: Guard,
    /// Renames and moves, per run.
    pub renames: Guard,
    /// Changes of entries, per run.
    pub changes: Guard,
    /// How far the number of people read may fall from the last complete pass, or from an approved plan.
    pub shrink: Guard,
    /// Removals of 24 hours that nobody approved, and likewise people no longer to be listed.
    pub day: Guard,
    /// People whose wish not to be listed as others are is no longer there, of those who had one.
    pub wishes: Guard,
}

/// What guards are unless a document narrows or widens them.
impl Default for Guards {
    fn default() -> Guards {
        Guards {
            deletes: Guard { count: 50, share: 500 },
            disables: Guard { count: 50, share: 500 },
            hides: Guard { count: 50, share: 500 },
            unit: Guard { count: 10, share: 5_000 },
            joins: Guard { count: 5_000, share: 10_000 },
            mails: Guard { count: 200, share: 1_000 },
            renames: Guard { count: 100, share: 1_000 },
            changes: Guard { count: 5_000, share: 10_000 },
            shrink: Guard { count: 100, share: 1_000 },
            day: Guard { count: 200, share: 1_000 },
            wishes: Guard { count: 5, share: 1_000 },
        }
    }
}

/// The smaller of the two trips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    pub count: u64,
    /// In hundredths of a percent of the entries that the member has published.
    pub share: u32,
}
