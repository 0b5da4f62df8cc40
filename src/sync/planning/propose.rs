//! From what is staged and what is published to a plan and what its guards say: the same for a run, a dry run and a preview.

use std::collections::{BTreeMap, BTreeSet};

use crate::directory::client::Directory;
use crate::sync::keeping::bases::{self, Base};
use crate::sync::keeping::job::{Hands, Job, member_base};
use crate::sync::keeping::removals;
use crate::sync::keeping::shelf::{self, Shelf};
use crate::sync::keeping::wishes::{self, Wishes};
use crate::sync::people::guards::{Circumstances, Unit, Verdict, judge};
use crate::sync::people::survey::{Frame, Others, Sight};
use crate::sync::planning::input::{Beside, Input};
use crate::sync::planning::plan::plan;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::pass::Pass;
use crate::sync::terms::staged::{Object, Staged};
use crate::sync::terms::step::{Action, Plan};
use crate::sync::writing::sight::{Look, Stock, look};

/// What planning came to.
#[derive(Debug)]
pub struct Planned {
    pub plan: Plan,
    pub verdict: Verdict,
    /// Entries published.
    pub published: u64,
    /// People who need something, and whom the plan leaves for the next one.
    pub deferred: u64,
    /// What somebody should know of it, one sentence each.
    pub notes: Vec<String>,
    /// Who asks not to be listed as others are, to be remembered; and whose wish is over.
    pub asking: Wishes,
    pub over: BTreeSet<Guid>,
    /// What the guards looked at.
    pub around: Circumstances,
}

/// Among so many people somebody asks not to be listed: where nobody seems to, the wish may not be readable.
const SOMEBODY_ASKS: u64 = 500;

/// Of bases that follow another unit than who reads the scope would think, and of wishes that nobody seems to have.
fn notes(job: &Job, bases: &Option<Vec<Base>>, asking: &Wishes, people: u64) -> Vec<String> {
    let (member, other) = (&job.member, bases.iter().flatten().filter(|base| base.other));
    let mut notes: Vec<String> = other
        .map(|base| {
            format!(
                "the scope follows the unit that was called {} when it was first read, and another one is called so now: if that is meant, portcullis sync resync {member} --bases --reason TEXT",
                base.name
            )
        })
        .collect();
    let levels = job.scope.levels.as_ref().filter(|_| asking.is_empty() && people >= SOMEBODY_ASKS);
    notes.extend(levels.map(|levels| {
        format!(
            "of {people} people nobody asks not to be listed: see that our account may read `{}` (searchFlags, rights)",
            levels.attribute
        )
    }));
    notes
}

/// Why what was read does not tell who has gone.
fn blind(pass: &Pass, whole: bool, lost: bool) -> Option<&'static str> {
    match () {
        () if !pass.canary_seen => {
            Some("the canary cannot be read: mend the account's rights in the member directory")
        }
        () if pass.suspect => Some(
            "the domain controller was set back to an earlier state: see what happened there, then `portcullis sync resync`",
        ),
        () if !whole => Some("not everything was read yet: a complete pass is needed"),
        () if lost => Some("a base of the scope does not exist: correct the scope or the member directory"),
        () => None,
    }
}

/// What the guards say, and who has approved.
pub async fn weigh(
    job: &Job,
    hands: &Hands,
    shelf: &Shelf,
    plan: Plan,
    around: Circumstances,
) -> Result<(Plan, Verdict, Circumstances), SyncError> {
    let (guards, second, now) = (job.scope.guards, hands.settings.second_officer_at, hands.clock.now());
    shelf
        .store(move |store, _| {
            let mut failed = None;
            let verdict = judge(&plan, &around, &guards, second, now, |hash| {
                store.approvals(hash).unwrap_or_else(|error| {
                    failed = Some(error);
                    Vec::new()
                })
            });
            failed.map_or(Ok((plan, verdict, around)), Err)
        })
        .await
}

/// Where those are, or were, who are to be marked; and what is left of these units.
fn units(plan: &Plan, staged: &Staged, others: &Others) -> (BTreeMap<Guid, Vec<Guid>>, BTreeMap<Guid, Unit>) {
    let (mut units_of, mut units) = (BTreeMap::new(), BTreeMap::new());
    for step in plan.steps.iter().filter(|step| step.action == Action::Mark) {
        let guid = step.anchor.as_ref().map(|anchor| anchor.guid);
        let Some(object) = guid.and_then(|guid| staged.get(&guid)) else { continue };
        let of: Vec<Guid> = match object.moved_from {
            // where somebody was moved to, out of the scope, nobody is missed
            Some(from) if step.reason == "outside_scope" => vec![from],
            from => object.parent.into_iter().chain(from).collect(),
        };
        for unit in &of {
            units.entry(*unit).or_insert_with(|| Unit {
                name: staged.get(unit).map_or_else(|| unit.to_string(), |unit| unit.rdn.clone()),
                staying: others.units.get(unit).copied().unwrap_or(0),
            });
        }
        units_of.insert(object.guid, of);
    }
    (units_of, units)
}

/// Plans. Where everybody who was looked at is held, others who are left for the next plan would never have their turn: then more are
/// looked at.
pub async fn make(
    job: &Job,
    hands: &Hands,
    pass: &Pass,
    shelf: &Shelf,
    target: &mut Directory,
) -> Result<Planned, SyncError> {
    let mut most = hands.settings.plan_people;
    loop {
        let planned = make_of(job, hands, pass, shelf, target, most, BTreeMap::new()).await?;
        if planned.deferred == 0 || !planned.verdict.go.steps.is_empty() {
            return Ok(planned);
        }
        most = most.saturating_mul(4);
    }
}

/// Plans for at most so many people, as if these objects were staged as well.
pub async fn make_of(
    job: &Job,
    hands: &Hands,
    pass: &Pass,
    shelf: &Shelf,
    target: &mut Directory,
    most: usize,
    instead: BTreeMap<Guid, Object>,
) -> Result<Planned, SyncError> {
    let (base, now) = (member_base(job)?, hands.clock.now());
    // a file never says who has gone: whoever is not in it stays, and a leaver is named
    let by_file = job.source.is_none();
    let whole = !by_file && shelf.value(shelf::COMPLETE_AT).await?.is_some();
    let told = shelf.value(shelf::TOLD_ALWAYS).await?.as_deref() == Some(b"yes");
    let frame = Frame {
        member: job.member.clone(),
        base: base.clone(),
        scope: job.scope.clone(),
        national: hands.settings.national_attributes.clone(),
        now,
        most,
        asked: wishes::known(shelf).await?,
    };
    let asked = frame.asked.len() as u64;
    let Look { sight: Sight { staged, view, others }, bases, elsewhere } =
        look(frame, &Stock { shelf, instead }, target).await?;
    let known = shelf.store(move |store, ods| Beside::of(store, ods, now)).await?;
    let beside = Beside { others, elsewhere, ..known };
    let plan = shelf::at_length(|| {
        plan(&Input {
            member: &job.member,
            base: &base,
            staged: &staged,
            whole,
            told,
            scope: &job.scope,
            bases: bases::guids(&bases).as_ref(),
            target: &view,
            national: &hands.settings.national_attributes,
            beside: &beside,
            now,
        })
    });
    let lost = bases.iter().flatten().any(|base| base.guid.is_none());
    let blind = if by_file { None } else { blind(pass, whole, lost) };
    let published = view.published() + beside.others.published;
    let (units_of, units) = units(&plan, &staged, &beside.others);
    let (today, most_today) = (removals::today(shelf).await?, hands.settings.national_removals_per_day);
    let around = Circumstances {
        published,
        people: plan.people,
        people_before: shelf.number(shelf::PEOPLE).await?,
        deferred: beside.others.deferred,
        units_of,
        units,
        recent: removals::recent(shelf).await?,
        withdrawn: beside.others.withdrawn.clone(),
        wishes: asked,
        national: Some((today, most_today)),
        blind: blind.map(str::to_owned),
    };
    let (plan, verdict, around) = weigh(job, hands, shelf, plan, around).await?;
    let over = wishes::over(&beside.others, &plan);
    let Others { asking, deferred, .. } = beside.others;
    let notes = notes(job, &bases, &asking, plan.people);
    Ok(Planned { plan, verdict, published, deferred, notes, asking, over, around })
}
