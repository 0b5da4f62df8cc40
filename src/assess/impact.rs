//! What another policy set would change: both sets are held against the same evidence of every member.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use time::OffsetDateTime;

use crate::assess::error::AssessError;
use crate::assess::judge::{Alike, Baselines};
use crate::assess::report::trend::Pair;
use crate::baseline::assessment::{Assessment, Finding, Verdict};
use crate::baseline::facts::{Evidence, Fact};
use crate::policy::terms::{Grant, OdsCode, Severity, Stage};
use crate::store::member::Member;
use crate::store::record::ExceptionRecord;

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
    pub grants: Vec<GrantImpact>,
    /// Controls that say something else at some member; those that newly fail at most members first.
    pub controls: Vec<ControlImpact>,
    /// Members for whom something changes; those that lose a grant first, then by people.
    pub members: Vec<MemberImpact>,
    /// By the set that is tried: controls that alone deny a grant, those that deny it at most members first.
    pub fixes: Vec<Fix>,
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
    fn add(&mut self, people: u64) {
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

/// What becomes of one grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrantImpact {
    pub grant: Grant,
    /// Members that nothing denies it.
    pub open: Pair<u64>,
    pub lost: Touched,
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
    pub loses: Vec<Grant>,
    pub gains: Vec<Grant>,
    pub newly_failing: Vec<String>,
    pub newly_unknown: Vec<String>,
    pub no_longer: Vec<String>,
    /// 0 to 1000.
    pub score: Pair<u16>,
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

/// A member to be judged.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub member: Member,
    pub granted: Vec<ExceptionRecord>,
}

/// Where evidence comes from: none when the member has none.
pub type Recorded<'a> = &'a (dyn Fn(&OdsCode) -> Result<Option<Evidence>, String> + Sync);

/// Both sets and when each is judged.
#[derive(Debug)]
pub struct Trial<'a> {
    pub before: Baselines<'a>,
    pub after: Baselines<'a>,
    pub at: Pair<OffsetDateTime>,
}

impl Trial<'_> {
    /// Judges everybody, on as many threads as there are processors. `tell` hears how many are done.
    pub fn run(
        &self,
        candidates: &[Candidate],
        recorded: Recorded<'_>,
        tell: &(dyn Fn(usize) + Sync),
    ) -> Impact {
        let alike = match self.at.before == self.at.now {
            true => self.after.alike(&self.before),
            // exceptions end and controls are enforced from a day
            false => Alike::default(),
        };
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let outcomes: Mutex<Vec<(usize, Outcome)>> = Mutex::new(Vec::new());
        let threads =
            std::thread::available_parallelism().map_or(1, usize::from).min(candidates.len().max(1));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(candidate) = candidates.get(at) else { break };
                        mine.push((at, self.judge(candidate, &alike, recorded)));
                        tell(done.fetch_add(1, Ordering::Relaxed) + 1);
                    }
                    outcomes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).append(&mut mine);
                });
            }
        });
        let mut outcomes = outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        outcomes.sort_by_key(|(at, _)| *at);
        let mut tally = Tally::default();
        for (candidate, (_, outcome)) in candidates.iter().zip(outcomes) {
            tally.add(&candidate.member.ods, outcome);
        }
        tally.impact(
            Pair { before: name(&self.before), now: name(&self.after) },
            Pair { before: Moment(self.at.before), now: Moment(self.at.now) },
        )
    }

    fn judge(&self, candidate: &Candidate, alike: &Alike, recorded: Recorded<'_>) -> Outcome {
        let evidence = match recorded(&candidate.member.ods) {
            Ok(Some(evidence)) => evidence,
            Ok(None) => return Outcome::NotRecorded,
            Err(reason) => return Outcome::NotJudged(reason),
        };
        match self.both(candidate, alike, &evidence) {
            Ok((before, after)) => Outcome::Judged(difference(&before, &after, people(&evidence))),
            Err(error) => Outcome::NotJudged(error.to_string()),
        }
    }

    /// Nobody is named: only counts leave.
    fn both(
        &self,
        candidate: &Candidate,
        alike: &Alike,
        evidence: &Evidence,
    ) -> Result<(Assessment, Assessment), AssessError> {
        let (profile, granted) = (candidate.member.profile.as_deref(), candidate.granted.as_slice());
        let before = self.before.judge(profile, evidence, granted, self.at.before, 0)?;
        let after = match self.at.before == self.at.now {
            true => self.after.judge_after(alike, &before, profile, evidence, granted)?,
            false => self.after.judge(profile, evidence, granted, self.at.now, 0)?,
        };
        Ok((before, after))
    }
}

fn name(set: &Baselines<'_>) -> Name {
    let baseline = set.baseline();
    Name { hash: set.hash().to_owned(), baseline: baseline.id.clone(), revision: baseline.revision.clone() }
}

/// Enabled accounts of people; every account where the evidence does not say.
fn people(evidence: &Evidence) -> u64 {
    let Some(users) = evidence.facts.collections.get("users") else { return 0 };
    let disabled = Fact::boolean(false);
    let enabled = users.records.blocks().flat_map(|block| block.each("enabled", |fact| *fact != disabled));
    let count = enabled.filter(|enabled| *enabled).count();
    u64::try_from(count).unwrap_or(u64::MAX)
}

enum Outcome {
    NotRecorded,
    NotJudged(String),
    Judged(Difference),
}

/// Of one member.
struct Difference {
    people: u64,
    open: Pair<Vec<Grant>>,
    controls: Vec<Moved>,
    score: Pair<u16>,
    /// Grants that one control alone denies afterwards.
    alone: Vec<(Grant, String, String)>,
}

struct Moved {
    control: String,
    title: String,
    severity: Pair<Option<Severity>>,
    stage: Pair<Option<Stage>>,
    way: Way,
    not_collected: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Fails,
    Unknown,
    NoLonger,
}

fn difference(before: &Assessment, after: &Assessment, people: u64) -> Difference {
    let was: BTreeMap<&str, &Finding> = before.findings.iter().map(|f| (f.control.as_str(), f)).collect();
    let is: BTreeMap<&str, &Finding> = after.findings.iter().map(|f| (f.control.as_str(), f)).collect();
    let gone = before.findings.iter().filter(|f| !is.contains_key(f.control.as_str()));
    let pairs = after.findings.iter().map(|f| (was.get(f.control.as_str()).copied(), Some(f)));
    let controls =
        pairs.chain(gone.map(|f| (Some(f), None))).filter_map(|(was, is)| moved(was, is)).collect();
    let open = |assessment: &Assessment| {
        assessment.grants.iter().filter(|(_, v)| v.would_open).map(|(grant, _)| *grant).collect()
    };
    let alone = after.grants.iter().filter_map(|(grant, verdict)| match verdict.denials.as_slice() {
        [only] => Some((*grant, only.control.clone(), only.title.clone())),
        _ => None,
    });
    Difference {
        people,
        open: Pair { before: open(before), now: open(after) },
        controls,
        score: Pair { before: before.score, now: after.score },
        alone: alone.collect(),
    }
}

fn moved(was: Option<&Finding>, is: Option<&Finding>) -> Option<Moved> {
    let bad =
        |f: Option<&Finding>| f.map(|f| f.verdict).filter(|v| matches!(v, Verdict::Fail | Verdict::Unknown));
    let way = match (bad(was), bad(is)) {
        (before, now) if before == now => return None,
        (_, Some(Verdict::Fail)) => Way::Fails,
        (_, Some(_)) => Way::Unknown,
        (_, None) => Way::NoLonger,
    };
    let some = is.or(was)?;
    let pair = Pair { before: was, now: is };
    Some(Moved {
        control: some.control.clone(),
        title: some.title.clone(),
        severity: Pair { before: pair.before.map(|f| f.severity), now: pair.now.map(|f| f.severity) },
        stage: Pair { before: pair.before.map(|f| f.stage), now: pair.now.map(|f| f.stage) },
        way,
        not_collected: way == Way::Unknown
            && some.explanation.iter().any(|reason| reason.found.starts_with(NOT_COLLECTED)),
    })
}

/// How an explanation says that a fact was never asked for ([`Test::found`](crate::baseline::predicate::Test::found)).
const NOT_COLLECTED: &str = "was not collected";

#[derive(Default)]
struct Tally {
    judged: Touched,
    not_recorded: Vec<OdsCode>,
    not_judged: Vec<NotJudged>,
    grants: BTreeMap<Grant, (Pair<u64>, Touched, Touched)>,
    controls: BTreeMap<String, ControlImpact>,
    members: Vec<MemberImpact>,
    fixes: BTreeMap<(Grant, String), (String, Touched)>,
}

impl Tally {
    fn add(&mut self, member: &OdsCode, outcome: Outcome) {
        match outcome {
            Outcome::NotRecorded => self.not_recorded.push(member.clone()),
            Outcome::NotJudged(reason) => self.not_judged.push(NotJudged { member: member.clone(), reason }),
            Outcome::Judged(difference) => self.add_judged(member, difference),
        }
    }

    fn add_judged(&mut self, member: &OdsCode, difference: Difference) {
        let people = difference.people;
        self.judged.add(people);
        let (mut loses, mut gains) = (Vec::new(), Vec::new());
        for grant in Grant::ALL {
            let none = (Pair { before: 0, now: 0 }, Touched::default(), Touched::default());
            let (open, lost, gained) = self.grants.entry(grant).or_insert(none);
            let was = difference.open.before.contains(&grant);
            let is = difference.open.now.contains(&grant);
            open.before += u64::from(was);
            open.now += u64::from(is);
            if was && !is {
                lost.add(people);
                loses.push(grant);
            }
            if is && !was {
                gained.add(people);
                gains.push(grant);
            }
        }
        for (grant, control, title) in difference.alone {
            self.fixes.entry((grant, control)).or_insert((title, Touched::default())).1.add(people);
        }
        let named = |way: Way| -> Vec<String> {
            difference.controls.iter().filter(|c| c.way == way).map(|c| c.control.clone()).collect()
        };
        let one = MemberImpact {
            member: member.clone(),
            people,
            loses,
            gains,
            newly_failing: named(Way::Fails),
            newly_unknown: named(Way::Unknown),
            no_longer: named(Way::NoLonger),
            score: difference.score,
        };
        if !difference.controls.is_empty() || !one.loses.is_empty() || !one.gains.is_empty() {
            self.members.push(one);
        }
        difference.controls.into_iter().for_each(|moved| self.add_moved(moved, people));
    }

    fn add_moved(&mut self, moved: Moved, people: u64) {
        let control = self.controls.entry(moved.control.clone()).or_insert_with(|| ControlImpact {
            control: moved.control,
            title: moved.title,
            severity: Pair { before: None, now: None },
            stage: Pair { before: None, now: None },
            newly_failing: Touched::default(),
            newly_unknown: Touched::default(),
            no_longer: Touched::default(),
            not_collected: 0,
        });
        let heavier = |known: &mut Option<Severity>, one: Option<Severity>| *known = (*known).max(one);
        heavier(&mut control.severity.before, moved.severity.before);
        heavier(&mut control.severity.now, moved.severity.now);
        control.stage.before = control.stage.before.max(moved.stage.before);
        control.stage.now = control.stage.now.max(moved.stage.now);
        control.not_collected += u64::from(moved.not_collected);
        match moved.way {
            Way::Fails => control.newly_failing.add(people),
            Way::Unknown => control.newly_unknown.add(people),
            Way::NoLonger => control.no_longer.add(people),
        }
    }

    fn impact(mut self, sets: Pair<Name>, at: Pair<Moment>) -> Impact {
        let reverse = std::cmp::Reverse::<Touched>;
        let mut controls: Vec<ControlImpact> = self.controls.into_values().collect();
        controls.sort_by_key(|c| (reverse(c.newly_failing), reverse(c.newly_unknown), reverse(c.no_longer)));
        self.members.sort_by_key(|m| {
            (m.loses.is_empty(), m.gains.is_empty(), std::cmp::Reverse(m.people), m.member.clone())
        });
        let fixes = self.fixes.into_iter();
        let mut fixes: Vec<Fix> =
            fixes.map(|((grant, control), (title, opens))| Fix { control, title, grant, opens }).collect();
        fixes.sort_by_key(|fix| reverse(fix.opens));
        let grants = Grant::ALL.into_iter().map(|grant| {
            let (open, lost, gained) = self.grants.get(&grant).copied().unwrap_or((
                Pair { before: 0, now: 0 },
                Touched::default(),
                Touched::default(),
            ));
            GrantImpact { grant, open, lost, gained }
        });
        Impact {
            sets,
            at,
            judged: self.judged,
            not_recorded: self.not_recorded,
            not_judged: self.not_judged,
            grants: grants.collect(),
            controls,
            members: self.members,
            fixes,
        }
    }
}
