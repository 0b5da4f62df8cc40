//! The documents of a policy set as values. Reading them is in `policy::read`; what they mean to a member is in
//! `baseline`, `release` and `sync`.

use std::collections::{BTreeMap, BTreeSet};

use time::{Duration, OffsetDateTime};

use crate::policy::fault::{Place, Placed};
use crate::policy::source::Node;
use crate::policy::terms::{Grant, OdsCode, Severity, Stage, Target};

/// The requirements on a member directory, and what each grant needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    pub at: Place,
    pub id: String,
    pub title: String,
    pub owner: String,
    /// As the officers number it, for example `2026.11.0`.
    pub revision: String,
    pub stage: Stage,
    /// Named values that controls use as `$name`.
    pub parameters: BTreeMap<String, Node>,
    /// File patterns, relative to the baseline's own folder.
    pub include: Vec<Placed<String>>,
    /// Ids of the controls in the included files, in order.
    pub controls: Vec<String>,
    pub grants: BTreeMap<Grant, GrantRule>,
    /// How many clean assessments in a row open a closed gate; at least 1.
    pub reopen_after: u32,
    /// Older evidence closes the gate.
    pub evidence_valid_for: Duration,
}

/// What closes a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRule {
    pub at: Place,
    /// A control of one of these severities that fails (or is unknown, see `unknown`) denies the grant.
    pub deny_on: BTreeSet<Severity>,
    pub unknown: OnUnknown,
    /// How long a failing control of a severity is borne before it denies. Absent: not at all.
    pub grace: BTreeMap<Severity, Duration>,
}

/// What an unknown verdict of a severity in `deny_on` does. There is no way to let it pass as met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnknown {
    /// Denies at once.
    Deny,
    /// Is treated as a failure: the grace of its severity applies.
    Fail,
}

/// One requirement.
#[derive(Debug, Clone, PartialEq)]
pub struct Control {
    pub at: Place,
    pub id: String,
    pub title: String,
    /// The theme in reports: the name of its file without the ending.
    pub theme: String,
    pub severity: Severity,
    /// Overrides the baseline's stage when it is lower.
    pub stage: Option<Stage>,
    /// When it will be enforced, told to members while the stage is `warn`.
    pub enforce_from: Option<OffsetDateTime>,
    /// Until then a verdict that could not be told is at the stage `warn`, while a failure is enforced.
    pub enforce_unknown_from: Option<OffsetDateTime>,
    /// Maturity rung (1 to 5) that this control belongs to.
    pub level: u8,
    /// Not applicable unless this holds.
    pub when: Option<Clause>,
    /// The collection that it ranges over.
    pub for_each: Option<Placed<String>>,
    /// Which records of the collection are judged.
    pub filter: Option<Clause>,
    pub require: Requirement,
    pub tolerate: Option<Tolerance>,
    pub grade: Option<Grade>,
    /// Whether it may be set aside for a member at all.
    pub exceptions: Exceptions,
    pub why: String,
    pub fix: String,
    /// Framework to identifiers, for example `attack: [T1078.002]`.
    pub references: BTreeMap<String, Vec<String>>,
}

/// Whether a control may be set aside for a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exceptions {
    #[default]
    Allowed,
    /// Never: without it nothing else that is measured can be trusted, or we ourselves would be the danger.
    Forbidden,
}

impl Exceptions {
    /// As it is written.
    pub const WORDS: [(&str, Exceptions); 2] =
        [("allowed", Exceptions::Allowed), ("forbidden", Exceptions::Forbidden)];
}

/// What must hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Requirement {
    /// Of the member, or of each record of the collection.
    Holds(Clause),
    /// Of the number of records that `where` picks.
    Count(Vec<Test>),
    /// No value of this fact may be on two of the records that `where` picks.
    Distinct(Placed<String>),
}

/// Conditions on facts, nested.
#[derive(Debug, Clone, PartialEq)]
pub enum Clause {
    All(Vec<Clause>),
    Any(Vec<Clause>),
    Not(Box<Clause>),
    /// All tests on one fact.
    Fact {
        name: Placed<String>,
        tests: Vec<Test>,
    },
}

/// One test as written; its operand gets its type from the fact (`baseline::compile`).
#[derive(Debug, Clone, PartialEq)]
pub struct Test {
    pub operator: Placed<Operator>,
    pub operand: Node,
}

/// The words for conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operator {
    Is,
    IsNot,
    OneOf,
    NoneOf,
    AtLeast,
    AtMost,
    Between,
    Contains,
    ContainsAny,
    ContainsNone,
    SubsetOf,
    Matches,
    Present,
    Absent,
    Before,
    After,
    Within,
}

impl Operator {
    /// Every operator with its word.
    pub const ALL: [(Operator, &'static str); 17] = [
        (Operator::Is, "is"),
        (Operator::IsNot, "is_not"),
        (Operator::OneOf, "one_of"),
        (Operator::NoneOf, "none_of"),
        (Operator::AtLeast, "at_least"),
        (Operator::AtMost, "at_most"),
        (Operator::Between, "between"),
        (Operator::Contains, "contains"),
        (Operator::ContainsAny, "contains_any"),
        (Operator::ContainsNone, "contains_none"),
        (Operator::SubsetOf, "subset_of"),
        (Operator::Matches, "matches"),
        (Operator::Present, "present"),
        (Operator::Absent, "absent"),
        (Operator::Before, "before"),
        (Operator::After, "after"),
        (Operator::Within, "within"),
    ];

    /// The word in documents.
    pub fn as_str(self) -> &'static str {
        Operator::ALL.iter().find(|(operator, _)| *operator == self).map_or("", |(_, word)| word)
    }
}

/// How many failing records are borne.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tolerance {
    Count(u64),
    /// In hundredths of a percent of the records that `where` picks.
    Share(u32),
}

/// A severity that depends on how far a fact is from what is required.
#[derive(Debug, Clone, PartialEq)]
pub struct Grade {
    pub at: Place,
    /// The fact that grades; by default the only fact of `require`.
    pub fact: Option<Placed<String>>,
    /// From light to heavy; the last step whose bound the value is over decides.
    pub steps: Vec<GradeStep>,
}

/// One step of a grade.
#[derive(Debug, Clone, PartialEq)]
pub struct GradeStep {
    /// Holds when the value is greater than this.
    pub over: Node,
    pub severity: Severity,
}

/// Facts read from a directory, declared.
#[derive(Debug, Clone, PartialEq)]
pub struct FactsDeclaration {
    pub at: Place,
    /// The record or collection: `domain`, `users`.
    pub name: String,
    /// A record has one entry at most (its facts are `domain.x`); a collection is what `for_each` ranges over.
    pub shape: Shape,
    /// Where to search: a DN that may use `{domain}`, `{configuration}`, `{schema}`, `{root}` (the root domain),
    /// `{rootdse}` alone, or `<SID={domain_sid}-502>` for the account with that RID, whatever it is called.
    pub base: String,
    pub scope: SearchScope,
    /// RFC 4515 text; every object when absent.
    pub filter: Option<Placed<String>>,
    /// Objects of this kind are commonly hidden from ordinary accounts: the collection counts as complete only when the list of
    /// access of its base shows that ours may read what is below.
    pub may_hide: bool,
    pub attributes: BTreeMap<String, AttributeFact>,
    /// What the member states, by short name, where nothing of it is read: then there is no search and there are no attributes.
    pub statements: BTreeMap<String, Statement>,
}

/// Something that nobody can read from afar: the member states it, signed, until a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub at: Place,
    /// The sentence that is signed, with single blanks between its words.
    pub text: String,
    /// How long after it was signed an attestation may end.
    pub at_most: Duration,
}

/// Record or collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Record,
    Collection,
}

/// The scope of a declared search (RFC 4511 section 4.5.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SearchScope {
    Base,
    OneLevel,
    Subtree,
}

/// One fact from one attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct AttributeFact {
    pub at: Place,
    /// The attribute's name in the directory.
    pub from: String,
    pub decode: Decode,
    /// The fact when the attribute is not set.
    pub default: Option<Node>,
    /// The schema says that it is always set: when it does not come, we may not read it, and the fact is hidden.
    pub mandatory: bool,
    /// One line for `policy facts`.
    pub title: Option<String>,
}

/// How raw attribute values become a typed fact (`baseline::decode`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decode {
    /// One decimal integer.
    Integer,
    /// One text value, UTF-8.
    String,
    /// `TRUE` or `FALSE`.
    Boolean,
    /// Whether all bits of the mask are set in an integer.
    Flag(u32),
    /// Whether no bit of the mask is set in an integer.
    NoFlag(u32),
    /// The names of the bits set in an integer.
    Flags(BTreeMap<String, u32>),
    /// An integer with names: `0: none`.
    Enum(BTreeMap<i64, String>),
    /// A FILETIME (100 ns since 1601) as an instant; both "never" sentinels (0 and 2^63-1) are absent.
    Filetime,
    /// A FILETIME or GeneralizedTime as the time that passed since then, at the time of collection.
    Age,
    /// A negative count of 100 ns as a duration; both "never" sentinels (0 for ages, -2^63) are absent.
    Interval,
    /// GeneralizedTime (RFC 4517 section 3.3.13) as an instant.
    GeneralizedTime,
    Sid,
    Guid,
    Dn,
    /// How many values the attribute has.
    Count,
    /// Whether the attribute has a value.
    Present,
    /// All values as texts.
    Strings,
    /// All values as object identifiers.
    Oids,
    /// All values as DNs.
    Dns,
    /// All values as SIDs.
    Sids,
    /// SHA-256 of the subject public key info of each value as a certificate (DER), lower-case hex.
    KeyFingerprints,
    /// What is wrong with any of the values as certificates.
    CertificateFaults,
    /// Who may write into a DNS zone (dnsProperty, [MS-DNSP] 2.3.2.1).
    ZoneUpdate,
    /// Eight bytes with a negative count of 100 ns ([MS-CRTD] section 2.22) as a duration.
    BinaryInterval,
    /// The time since the attribute with this identifier last changed, from `replPropertyMetaData`.
    ChangeAge(u32),
    /// How often the attribute with this identifier was changed, from `replPropertyMetaData`.
    ChangeCount(u32),
    /// One character of a text, counted from 1, as text; `0` when the text is shorter (dSHeuristics).
    Character(u32),
    /// Windows functional level (msDS-Behavior-Version) as a version.
    FunctionalLevel,
}

/// A baseline made to fit a kind of member.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pub at: Place,
    pub id: String,
    pub extends: Placed<String>,
    /// The organisation role it is for, for example `RO76`.
    pub role: Option<String>,
    /// The members it is for, beside those of the role.
    pub members: Vec<OdsCode>,
    pub parameters: BTreeMap<String, Node>,
    pub controls: BTreeMap<String, Tailoring>,
}

/// What a profile changes in a control.
#[derive(Debug, Clone, PartialEq)]
pub struct Tailoring {
    pub at: Place,
    pub stage: Option<Stage>,
    pub enforce_from: Option<OffsetDateTime>,
    /// Only upwards.
    pub severity: Option<Severity>,
}

/// A control set aside for one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    pub at: Place,
    pub control: String,
    pub member: OdsCode,
    /// DNs or names of the records it covers; empty: the whole control.
    pub objects: Vec<String>,
    pub owner: String,
    pub reason: String,
    pub compensating_control: String,
    pub approver: String,
    pub from: OffsetDateTime,
    /// Exclusive: the start of the day after the last day written.
    pub until: OffsetDateTime,
}

/// A release agreement.
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    pub at: Place,
    pub id: String,
    pub title: String,
    pub purpose: String,
    pub audience: Audience,
    pub targets: Targets,
    /// Federated attribute names, as written.
    pub attributes: Vec<Placed<String>>,
    /// RFC 4515 text over federated names that an entry must match; every entry when absent.
    pub entries: Option<Placed<String>>,
    /// What becomes of people who asked not to be listed.
    pub listing: Option<Box<Listing>>,
    /// Which shapes of filter are taken.
    pub filters: FilterRules,
    pub limits: ReleaseLimits,
    /// Inclusive; `None` is from the beginning.
    pub from: Option<OffsetDateTime>,
    /// Exclusive: the start of the day after the last day written.
    pub until: OffsetDateTime,
}

/// Who an agreement is with.
#[derive(Debug, Clone, PartialEq)]
pub struct Audience {
    pub at: Place,
    pub category: AudienceCategory,
    /// How the requester must have proved who it is; empty: any way but a password, which must be named.
    pub authenticated_by: BTreeSet<AuthenticatedBy>,
    /// The requester's own member.
    pub members: Members,
    /// For applications: their names as the configuration gives them; empty: every application.
    pub names: Vec<Placed<String>>,
}

/// The kinds of requester.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AudienceCategory {
    Person,
    Connector,
    Application,
}

/// How a requester proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AuthenticatedBy {
    Smartcard,
    Certificate,
    Password,
}

/// Which members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Members {
    All,
    These(BTreeSet<OdsCode>),
}

impl Members {
    /// Whether `member` is one of them.
    pub fn contains(&self, member: &OdsCode) -> bool {
        match self {
            Members::All => true,
            Members::These(members) => members.contains(member),
        }
    }
}

/// Where an agreement lets its audience look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    pub members: Members,
    /// The national directory; true unless the document says otherwise.
    pub national: bool,
}

impl Targets {
    /// Whether a directory is one of them.
    pub fn cover(&self, target: &Target) -> bool {
        match target {
            Target::National => self.national,
            Target::Member(member) => self.members.contains(member),
        }
    }
}

/// Limits per requester.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseLimits {
    /// Entries per search.
    pub size: u32,
    /// Time per operation.
    pub time: Duration,
    /// Operations per second.
    pub rate: u32,
    pub in_flight: u32,
}

impl Default for ReleaseLimits {
    fn default() -> Self {
        ReleaseLimits { size: 500, time: Duration::seconds(10), rate: 20, in_flight: 8 }
    }
}

/// Levels of not being listed, told by the values of one attribute. Who has another value, or none, is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub at: Place,
    /// Federated name of the attribute that holds the wish, as written.
    pub attribute: Placed<String>,
    /// Values of people who are not found at all.
    pub not_findable: Vec<String>,
    /// Values of people who are found by whoever names their exact mail address, and not otherwise.
    pub by_address_only: Vec<String>,
    /// Values of people who are listed without the attributes of `contact`.
    pub without_contact: Vec<String>,
    /// Federated names, as written.
    pub contact: Vec<Placed<String>>,
}

/// Shapes of filter that an agreement takes. By default all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilterRules {
    /// Characters that the longest part of an item with `*` has at least (the beginning, when it must have one).
    pub shortest: u32,
    /// Whether an item may begin with `*`.
    pub leading_wildcard: bool,
    /// Whether `>=` and `<=` are taken.
    pub inequality: bool,
}

impl Default for FilterRules {
    fn default() -> Self {
        FilterRules { shortest: 0, leading_wildcard: true, inequality: true }
    }
}

/// Facts, and the verdicts and grants that they must give.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyTest {
    pub at: Place,
    pub name: String,
    /// The baseline to use; the only one of the set when absent.
    pub baseline: Option<Placed<String>>,
    pub profile: Option<Placed<String>>,
    /// The name of another test whose `given` this one starts from.
    pub like: Option<Placed<String>>,
    /// A recorded evidence document beside the test's file, whose facts this one starts from.
    pub recorded: Option<Placed<String>>,
    /// Fact to value; a collection's value is a list of maps. Types come from the facts.
    pub given: Vec<(Placed<String>, Node)>,
    /// Control id to expected verdict.
    pub verdicts: Vec<(Placed<String>, ExpectedVerdict)>,
    pub grants: BTreeMap<Grant, Placed<bool>>,
    /// The time of evaluation; the time of collection when absent (2026-11-01T00:00:00Z in a test with inline facts).
    pub now: Option<OffsetDateTime>,
    /// Exceptions by control that are in force during the test.
    pub excepted: Vec<Placed<String>>,
}

/// What a test expects of a control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedVerdict {
    pub at: Place,
    /// `pass`, `fail`, `unknown`, `not-applicable` or `excepted`.
    pub verdict: String,
    pub severity: Option<Severity>,
    /// Names or DNs of the offenders, in any order; not looked at when absent.
    pub offenders: Option<Vec<String>>,
}
