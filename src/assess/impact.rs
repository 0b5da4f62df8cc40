//! What another policy set would change, for people and programs to read.

use serde::Serialize;
use time::OffsetDateTime;

use crate::assess::report::trend::Pair;
use crate::assess::standing::Idle;
use crate::policy::terms::{Grant, OdsCode, Severity, Stage};

/// What changes, counted and by name. It names members and controls, never who offends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Impact {
    /// The set in force, and the one that is tried.
    pub sets: Pair<Name>,
    /// When each is judged: the time decides which controls are enforced and which exceptions hold.
    pub at: Pair<Moment>,
    /// Members whose evidence was judged by both, and their people.
    pub judged: Touched,
    /// Members without evidence.
    pub not_recorded: Vec<OdsCode>,
    /// Members that could not be judged, and why.
    pub not_judged: Vec<NotJudged>,
    /// Members that were judged and none of whose gates is open, whatever their controls say, by either set: what changes for their controls
    /// is told, and they count for no grant.
    pub idle: Vec<IdleMember>,
    pub grants: Vec<GrantImpact>,
    /// Controls that say something else at some member; those that newly fail at most members first.
    pub controls: Vec<ControlImpact>,
    /// Members for whom something changes; those that lose a grant first, then by people.
    pub members: Vec<MemberImpact>,
    /// By the set that is tried: controls that alone deny a grant, those that deny it at most members first.
    pub fixes: Vec<Fix>,
    /// By the set that is tried: controls that decide from a day that lies ahead, soonest first.
    pub announced: Vec<Announced>,
}

/// A moment as documents write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Moment(#[serde(with = "time::serde::rfc3339")] pub OffsetDateTime);

/// A policy set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Name {
    pub hash: String,
    pub baseline: String,
    pub revision: String,
}

/// How many members, and how many enabled accounts of people they have together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Touched {
    pub members: u64,
    pub people: u64,
}

impl Touched {
    /// One member more.
    pub fn add(&mut self, people: u64) {
        self.members += 1;
        self.people += people;
    }
}

/// A member that could not be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotJudged {
    pub member: OdsCode,
    pub reason: String,
}

/// A member none of whose gates is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IdleMember {
    pub member: OdsCode,
    /// By the set in force.
    pub before: Option<Idle>,
    /// By the one that is tried.
    pub now: Option<Idle>,
}

/// A control that does not decide yet, held against the evidence of today.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Announced {
    pub control: String,
    pub title: String,
    /// The heaviest at any member.
    pub severity: Severity,
    #[serde(with = "time::serde::rfc3339")]
    pub enforce_from: OffsetDateTime,
    pub failing: Touched,
    /// It could not be told.
    pub unknown: Touched,
}

/// What becomes of one grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrantImpact {
    pub grant: Grant,
    /// Members that nothing denies it, or for whom a grace still bears what does.
    pub open: Pair<u64>,
    /// At once.
    pub lost: Touched,
    /// When a grace ends that begins now.
    pub lost_later: Touched,
    pub gained: Touched,
}

/// What one control newly says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ControlImpact {
    pub control: String,
    pub title: String,
    /// None: the set does not ask it. The heaviest at any member.
    pub severity: Pair<Option<Severity>>,
    pub stage: Pair<Option<Stage>>,
    pub newly_failing: Touched,
    pub newly_unknown: Touched,
    /// It denies a grant and did not: it newly fails, or it failed before and did not decide.
    pub newly_denying: Touched,
    /// It denied a grant and does not any more.
    pub denies_no_longer: Touched,
    /// Failed or was unknown, and does not any more; set aside, not applicable and not asked any more included.
    pub no_longer: Touched,
    /// Of the newly unknown: members whose evidence was collected before anybody asked for the fact. Only asking them tells.
    pub not_collected: u64,
}

/// What changes for one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberImpact {
    pub member: OdsCode,
    /// Enabled accounts of people.
    pub people: u64,
    /// At once.
    pub loses: Vec<Grant>,
    /// When a grace ends.
    pub loses_later: Vec<Later>,
    pub gains: Vec<Grant>,
    pub newly_failing: Vec<String>,
    pub newly_unknown: Vec<String>,
    /// Controls that deny a grant and did not.
    pub newly_denying: Vec<String>,
    /// Controls that denied a grant and do not any more.
    pub denies_no_longer: Vec<String>,
    pub no_longer: Vec<String>,
    /// 0 to 1000.
    pub score: Pair<u16>,
}

/// A grant that a grace keeps for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Later {
    pub grant: Grant,
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
    /// How long that is from when the set is judged.
    pub seconds: i64,
}

/// A control that is all that denies a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fix {
    pub control: String,
    pub title: String,
    pub grant: Grant,
    /// Members for whom it alone denies it.
    pub opens: Touched,
}
