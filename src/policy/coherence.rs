//! What is right by itself and does nothing, or too much, in its set: a control that no baseline includes, a second baseline that
//! decides nothing, profiles that take something back, exceptions that go on for ever.

use std::collections::BTreeMap;

use time::{Duration, OffsetDateTime};

use crate::policy::documents::{Baseline, Control, Exception, Profile, Tailoring};
use crate::policy::fault::Fault;
use crate::policy::fields::Reader;
use crate::policy::terms::Stage;

/// Exceptions that follow one another last no longer than one may.
const TOGETHER: Duration = Duration::days(366);

/// Looks at everything of a set. Baselines have their controls by now.
pub fn check(
    reader: &mut Reader,
    baselines: &BTreeMap<String, Baseline>,
    controls: &BTreeMap<String, Control>,
    profiles: &BTreeMap<String, Profile>,
    exceptions: &[Exception],
) {
    // what else is wrong may be why something does nothing
    if reader.faults.is_empty() {
        deciding(reader, baselines);
        included(reader, baselines, controls);
    }
    for profile in profiles.values() {
        let Some(baseline) = baselines.get(&profile.extends.value) else { continue };
        for (id, change) in &profile.controls {
            if let Some(control) = controls.get(id) {
                tailored(reader, baseline, control, change);
            }
        }
    }
    audiences(reader, profiles);
    exceptions.iter().for_each(|one| lasting(reader, one, exceptions));
}

/// One baseline decides.
fn deciding(reader: &mut Reader, baselines: &BTreeMap<String, Baseline>) {
    let mut past: Vec<&Baseline> = baselines.values().filter(|one| one.stage > Stage::Draft).collect();
    past.sort_by(|a, b| a.at.cmp(&b.at));
    if let [first, others @ ..] = past.as_slice() {
        for other in others {
            let message = format!(
                "`{}` and `{}` are both past their draft, and one baseline decides",
                first.id, other.id
            );
            let hint = "put all controls into one of them, or leave the other at `stage: draft`";
            reader.fault(Fault::new(&other.at, message).hint(hint));
        }
    }
}

fn included(
    reader: &mut Reader,
    baselines: &BTreeMap<String, Baseline>,
    controls: &BTreeMap<String, Control>,
) {
    if baselines.is_empty() {
        return;
    }
    let asked = |id: &String| baselines.values().any(|baseline| baseline.controls.contains(id));
    for control in controls.values().filter(|one| one.stage != Some(Stage::Draft) && !asked(&one.id)) {
        let message = format!("no baseline includes `{}`: nobody is held against it", control.id);
        let file = control.at.file.rsplit('/').next().unwrap_or_default();
        let hint = format!("name `{file}` under `include` of a baseline, or write `stage: draft`");
        reader.fault(Fault::absent(&control.at, message).hint(hint));
    }
}

/// A profile defers what the baseline asks for to a day; it does not take it back.
fn tailored(reader: &mut Reader, baseline: &Baseline, control: &Control, change: &Tailoring) {
    let stage = control.stage.unwrap_or(Stage::Enforce).min(baseline.stage);
    let (id, announced) = (&control.id, change.enforce_from.or(control.enforce_from).is_some());
    let becomes = change.stage.unwrap_or(stage);
    // draft is told where profiles are read
    if becomes < stage && becomes > Stage::Draft && !(becomes == Stage::Warn && announced) {
        let message = format!("a profile may not take `{id}` back to `{becomes}`");
        reader.fault(
            Fault::new(&change.at, message)
                .hint("use `stage: warn` with `enforce_from`, or grant exceptions"),
        );
    } else if change.enforce_from.is_some() && change.stage.or(control.stage) != Some(Stage::Warn) {
        let message = format!("`enforce_from` does nothing here: `{id}` is not at `stage: warn`");
        reader.fault(Fault::new(&change.at, message).hint("add `stage: warn`"));
    }
}

/// No member has two profiles.
fn audiences(reader: &mut Reader, profiles: &BTreeMap<String, Profile>) {
    let all: Vec<&Profile> = profiles.values().collect();
    for (at, one) in all.iter().enumerate() {
        let earlier = all.iter().take(at).filter(|other| other.extends.value == one.extends.value);
        for other in earlier {
            let role = one.role.as_ref().filter(|role| other.role.as_ref() == Some(*role));
            let member = one.members.iter().find(|member| other.members.contains(member));
            let Some(who) = role.cloned().or_else(|| member.map(ToString::to_string)) else { continue };
            let message = format!("`{}` and `{}` are both for {who}", other.id, one.id);
            reader.fault(
                Fault::new(&one.at, message)
                    .hint("a member has one profile: join them, or say whom each is for"),
            );
        }
    }
}

/// Whoever may write the file could go on for ever with exceptions that follow one another.
fn lasting(reader: &mut Reader, one: &Exception, all: &[Exception]) {
    let same = |other: &&Exception| {
        other.member == one.member && other.control == one.control && other.objects == one.objects
    };
    let mut begins: OffsetDateTime = one.from;
    // each step goes back in time
    while let Some(before) =
        all.iter().filter(same).find(|other| other.from < begins && begins <= other.until + Duration::DAY)
    {
        begins = before.from;
    }
    if begins < one.from && one.until - begins > TOGETHER {
        let message = format!(
            "with those before it, this exception for `{}` and {} lasts longer than 12 months",
            one.control, one.member
        );
        reader.fault(
            Fault::new(&one.at, message)
                .hint("remove those that are over, and decide about this one when its time comes"),
        );
    }
    if one.owner.trim().to_lowercase() == one.approver.trim().to_lowercase() {
        let message = format!("{} answers for this exception and approves it", one.owner.trim());
        reader.fault(Fault::new(&one.at, message).hint("another person approves it"));
    }
}
