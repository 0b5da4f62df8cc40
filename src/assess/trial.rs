//! Another policy set tried: both sets are held against the same evidence of every member.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use time::OffsetDateTime;

use crate::assess::error::AssessError;
use crate::assess::impact::{
    Announced, ControlImpact, Fix, GrantImpact, IdleMember, Impact, Later, MemberImpact, Moment, Name,
    NotJudged, Touched,
};
use crate::assess::judge::{Alike, Baselines};
use crate::assess::report::trend::Pair;
use crate::assess::standing::{Idle, Known, Standing, standing};
use crate::baseline::assessment::{Assessment, Finding, Verdict};
use crate::baseline::facts::{Evidence, Fact};
use crate::policy::terms::{Grant, OdsCode, Severity, Stage};
use crate::store::member::Member;
use crate::store::record::ExceptionRecord;

/// A member to be judged.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub member: Member,
    pub granted: Vec<ExceptionRecord>,
    /// Where its gates stand.
    pub gates: Known,
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
            Ok((before, after)) => {
                let standings = self.standings(candidate, &before, &after);
                let mut found = difference(&before, &after, &standings, people(&evidence));
                // where the baseline itself decides nothing, no day of a control makes it decide
                if self.after.baseline().stage < Stage::Enforce {
                    found.announced.clear();
                }
                Outcome::Judged(found)
            }
            Err(error) => Outcome::NotJudged(error.to_string()),
        }
    }

    /// Where the gates stand by each: what the new set denies is denied from now on, or from the day of the control.
    fn standings(&self, candidate: &Candidate, was: &Assessment, is: &Assessment) -> Pair<Standing> {
        let (member, asked) = (&candidate.member, self.at.before);
        let counts_for = |set: &Baselines<'_>| set.baseline().evidence_valid_for.whole_seconds();
        let before = standing(member, was, counts_for(&self.before), asked, &candidate.gates);
        let mut known = before.gates.clone();
        for denial in is.grants.values().flat_map(|verdict| &verdict.denials) {
            let day = self.after.enforced_from(member.profile.as_deref(), &member.ods, &denial.control);
            let since = day.filter(|day| asked < *day && *day <= self.at.now).unwrap_or(asked);
            known.denied_since.entry(denial.control.clone()).or_insert(since);
        }
        let now = standing(member, is, counts_for(&self.after), asked, &known);
        Pair { before, now }
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
    idle: Pair<Option<Idle>>,
    open: Pair<BTreeSet<Grant>>,
    /// Grants whose grace begins now.
    later: Vec<Later>,
    controls: Vec<Moved>,
    score: Pair<u16>,
    /// Grants that one control alone denies afterwards.
    alone: Vec<(Grant, String, String)>,
    /// What the new set announces.
    announced: Vec<Ahead>,
}

struct Moved {
    control: String,
    title: String,
    severity: Pair<Option<Severity>>,
    stage: Pair<Option<Stage>>,
    /// None: its verdict is what it was.
    way: Option<Way>,
    /// Whether it denies some grant.
    denies: Pair<bool>,
    not_collected: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Fails,
    Unknown,
    NoLonger,
}

struct Ahead {
    control: String,
    title: String,
    severity: Severity,
    from: OffsetDateTime,
    verdict: Verdict,
}

fn difference(
    before: &Assessment,
    after: &Assessment,
    standings: &Pair<Standing>,
    people: u64,
) -> Difference {
    let was: BTreeMap<&str, &Finding> = before.findings.iter().map(|f| (f.control.as_str(), f)).collect();
    let is: BTreeMap<&str, &Finding> = after.findings.iter().map(|f| (f.control.as_str(), f)).collect();
    let denying = Pair { before: denying(before), now: denying(after) };
    let gone = before.findings.iter().filter(|f| !is.contains_key(f.control.as_str()));
    let pairs = after.findings.iter().map(|f| (was.get(f.control.as_str()).copied(), Some(f)));
    let controls =
        pairs.chain(gone.map(|f| (Some(f), None))).filter_map(|(was, is)| moved(was, is, &denying)).collect();
    let shut = |grant: Grant| standings.now.idle.is_none() && !standings.now.passing().contains(&grant);
    let alone = after.grants.iter().filter(|(grant, _)| shut(**grant)).filter_map(|(grant, verdict)| {
        match verdict.denials.as_slice() {
            [only] => Some((*grant, only.control.clone(), only.title.clone())),
            _ => None,
        }
    });
    Difference {
        people,
        idle: Pair { before: standings.before.idle, now: standings.now.idle },
        open: Pair { before: standings.before.passing(), now: standings.now.passing() },
        later: Grant::ALL
            .into_iter()
            .filter_map(|grant| later(grant, standings, after.assessed_at))
            .collect(),
        controls,
        score: Pair { before: before.score, now: after.score },
        alone: alone.collect(),
        announced: after.findings.iter().filter_map(ahead).collect(),
    }
}

/// Controls that deny some grant.
fn denying(assessment: &Assessment) -> BTreeSet<&str> {
    let denials = assessment.grants.values().flat_map(|verdict| &verdict.denials);
    denials.map(|denial| denial.control.as_str()).collect()
}

/// A grant that was open, or held for longer, and is held now.
fn later(grant: Grant, standings: &Pair<Standing>, at: OffsetDateTime) -> Option<Later> {
    let until = standings.now.held(grant)?;
    let sooner = standings.before.held(grant).is_none_or(|before| until < before);
    let passed = standings.before.passing().contains(&grant);
    (passed && sooner).then(|| Later { grant, until, seconds: (until - at).whole_seconds() })
}

fn ahead(finding: &Finding) -> Option<Ahead> {
    let from = finding.enforce_from.filter(|_| finding.stage == Stage::Warn)?;
    let (control, title) = (finding.control.clone(), finding.title.clone());
    Some(Ahead { control, title, severity: finding.severity, from, verdict: finding.verdict })
}

fn moved(was: Option<&Finding>, is: Option<&Finding>, denying: &Pair<BTreeSet<&str>>) -> Option<Moved> {
    let bad =
        |f: Option<&Finding>| f.map(|f| f.verdict).filter(|v| matches!(v, Verdict::Fail | Verdict::Unknown));
    let way = match (bad(was), bad(is)) {
        (before, now) if before == now => None,
        (_, Some(Verdict::Fail)) => Some(Way::Fails),
        (_, Some(_)) => Some(Way::Unknown),
        (_, None) => Some(Way::NoLonger),
    };
    let some = is.or(was)?;
    let control = some.control.as_str();
    let denies = Pair { before: denying.before.contains(control), now: denying.now.contains(control) };
    if way.is_none() && denies.before == denies.now {
        return None;
    }
    let pair = Pair { before: was, now: is };
    Some(Moved {
        control: some.control.clone(),
        title: some.title.clone(),
        severity: Pair { before: pair.before.map(|f| f.severity), now: pair.now.map(|f| f.severity) },
        stage: Pair { before: pair.before.map(|f| f.stage), now: pair.now.map(|f| f.stage) },
        way,
        denies,
        not_collected: way == Some(Way::Unknown)
            && some.explanation.iter().any(|reason| reason.found.starts_with(NOT_COLLECTED)),
    })
}

/// How an explanation says that a fact was never asked for ([`Test::found`](crate::baseline::predicate::Test::found)).
const NOT_COLLECTED: &str = "was not collected";

/// Of one grant.
#[derive(Default)]
struct Grants {
    before: u64,
    now: u64,
    lost: Touched,
    later: Touched,
    gained: Touched,
}

#[derive(Default)]
struct Tally {
    judged: Touched,
    not_recorded: Vec<OdsCode>,
    not_judged: Vec<NotJudged>,
    idle: Vec<IdleMember>,
    grants: BTreeMap<Grant, Grants>,
    controls: BTreeMap<String, ControlImpact>,
    members: Vec<MemberImpact>,
    fixes: BTreeMap<(Grant, String), (String, Touched)>,
    announced: BTreeMap<(OffsetDateTime, String), Announced>,
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
        if difference.idle.before.or(difference.idle.now).is_some() {
            let Pair { before, now } = difference.idle;
            self.idle.push(IdleMember { member: member.clone(), before, now });
        }
        let (loses, gains) = self.add_grants(&difference);
        for (grant, control, title) in difference.alone {
            self.fixes.entry((grant, control)).or_insert((title, Touched::default())).1.add(people);
        }
        let named = |is: fn(&Moved) -> bool| -> Vec<String> {
            difference.controls.iter().filter(|moved| is(moved)).map(|moved| moved.control.clone()).collect()
        };
        let one = MemberImpact {
            member: member.clone(),
            people,
            loses,
            loses_later: difference.later,
            gains,
            newly_failing: named(|moved| moved.way == Some(Way::Fails)),
            newly_unknown: named(|moved| moved.way == Some(Way::Unknown)),
            newly_denying: named(|moved| moved.denies.now && !moved.denies.before),
            denies_no_longer: named(|moved| moved.denies.before && !moved.denies.now),
            no_longer: named(|moved| moved.way == Some(Way::NoLonger)),
            score: difference.score,
        };
        let same = one.loses.is_empty() && one.loses_later.is_empty() && one.gains.is_empty();
        if !difference.controls.is_empty() || !same {
            self.members.push(one);
        }
        difference.controls.into_iter().for_each(|moved| self.add_moved(moved, people));
        difference.announced.into_iter().for_each(|ahead| self.add_ahead(ahead, people));
    }

    /// What is lost at once, and what is gained.
    fn add_grants(&mut self, difference: &Difference) -> (Vec<Grant>, Vec<Grant>) {
        let people = difference.people;
        let (mut loses, mut gains) = (Vec::new(), Vec::new());
        for grant in Grant::ALL {
            let tally = self.grants.entry(grant).or_default();
            let was = difference.open.before.contains(&grant);
            let is = difference.open.now.contains(&grant);
            tally.before += u64::from(was);
            tally.now += u64::from(is);
            if was && !is {
                tally.lost.add(people);
                loses.push(grant);
            }
            if is && !was {
                tally.gained.add(people);
                gains.push(grant);
            }
            if difference.later.iter().any(|later| later.grant == grant) {
                tally.later.add(people);
            }
        }
        (loses, gains)
    }

    fn add_moved(&mut self, moved: Moved, people: u64) {
        let control = self.controls.entry(moved.control.clone()).or_insert_with(|| ControlImpact {
            control: moved.control,
            title: moved.title,
            severity: Pair { before: None, now: None },
            stage: Pair { before: None, now: None },
            newly_failing: Touched::default(),
            newly_unknown: Touched::default(),
            newly_denying: Touched::default(),
            denies_no_longer: Touched::default(),
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
            Some(Way::Fails) => control.newly_failing.add(people),
            Some(Way::Unknown) => control.newly_unknown.add(people),
            Some(Way::NoLonger) => control.no_longer.add(people),
            None => {}
        }
        match (moved.denies.before, moved.denies.now) {
            (false, true) => control.newly_denying.add(people),
            (true, false) => control.denies_no_longer.add(people),
            _ => {}
        }
    }

    fn add_ahead(&mut self, ahead: Ahead, people: u64) {
        let Ahead { control, title, severity, from, verdict } = ahead;
        let one = self.announced.entry((from, control.clone())).or_insert(Announced {
            control,
            title,
            severity,
            enforce_from: from,
            failing: Touched::default(),
            unknown: Touched::default(),
        });
        one.severity = one.severity.max(severity);
        match verdict {
            Verdict::Fail => one.failing.add(people),
            Verdict::Unknown => one.unknown.add(people),
            Verdict::Pass | Verdict::NotApplicable | Verdict::Excepted => {}
        }
    }

    fn impact(mut self, sets: Pair<Name>, at: Pair<Moment>) -> Impact {
        let reverse = std::cmp::Reverse::<Touched>;
        let mut controls: Vec<ControlImpact> = self.controls.into_values().collect();
        controls.sort_by_key(|c| {
            let denying = (reverse(c.newly_denying), reverse(c.denies_no_longer));
            (reverse(c.newly_failing), reverse(c.newly_unknown), denying, reverse(c.no_longer))
        });
        self.members.sort_by_key(|m| {
            let loses = (m.loses.is_empty(), m.loses_later.is_empty(), m.gains.is_empty());
            (loses, std::cmp::Reverse(m.people), m.member.clone())
        });
        let fixes = self.fixes.into_iter();
        let mut fixes: Vec<Fix> =
            fixes.map(|((grant, control), (title, opens))| Fix { control, title, grant, opens }).collect();
        fixes.sort_by_key(|fix| reverse(fix.opens));
        let grants = Grant::ALL.into_iter().map(|grant| {
            let Grants { before, now, lost, later, gained } = self.grants.remove(&grant).unwrap_or_default();
            GrantImpact { grant, open: Pair { before, now }, lost, lost_later: later, gained }
        });
        Impact {
            sets,
            at,
            judged: self.judged,
            not_recorded: self.not_recorded,
            not_judged: self.not_judged,
            idle: self.idle,
            grants: grants.collect(),
            controls,
            members: self.members,
            fixes,
            announced: self.announced.into_values().collect(),
        }
    }
}
