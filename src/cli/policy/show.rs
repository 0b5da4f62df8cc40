//! `portcullis policy list` and `show`: controls as they are written.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::ambient::text::printable;
use crate::app::in_force::Taken;
use crate::assess::judge::baseline_id;
use crate::baseline::compile::{Compiled, CompiledControl};
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::policy::{control, indent, sound};
use crate::cli::table::day;
use crate::policy::documents::{Control, Exceptions, Profile, Requirement, Tailoring};
use crate::policy::set::PolicySet;
use crate::policy::source::{Content, Node};
use crate::policy::terms::{Severity, Stage};
use crate::policy::written::{self, entry, flow};

/// What a control is made of, in the order in which it is judged.
const PARTS: [&str; 8] = ["when", "for_each", "where", "require", "count", "distinct", "tolerate", "grade"];

/// How far a control is rolled out in a baseline without profile.
#[derive(Debug, Clone, Copy, Serialize)]
struct Rollout {
    stage: Stage,
    /// The day from which it decides; none: no day is set, or it is over.
    #[serde(with = "time::serde::rfc3339::option")]
    enforce_from: Option<OffsetDateTime>,
    /// What could not be told is only told to the member until then.
    #[serde(with = "time::serde::rfc3339::option")]
    enforce_unknown_from: Option<OffsetDateTime>,
}

impl Rollout {
    fn of(baseline: &Compiled, control: &CompiledControl, now: OffsetDateTime) -> Rollout {
        let ahead = |from: &OffsetDateTime| now < *from;
        let is_over = control.enforce_from.is_some_and(|from| !ahead(&from));
        Rollout {
            // announced, and its day has come
            stage: if control.stage == Stage::Warn && is_over { baseline.stage } else { control.stage },
            enforce_from: control.enforce_from.filter(ahead),
            enforce_unknown_from: control.enforce_unknown_from.filter(ahead),
        }
    }
}

/// What a profile changes of a control.
#[derive(Debug, Clone, Copy, Serialize)]
struct Tailored {
    severity: Option<Severity>,
    stage: Option<Stage>,
    #[serde(with = "time::serde::rfc3339::option")]
    enforce_from: Option<OffsetDateTime>,
}

/// By profile.
fn tailored<'s>(set: &'s PolicySet, control: &str) -> BTreeMap<&'s str, Tailored> {
    let of = |profile: &'s Profile| {
        let Tailoring { severity, stage, enforce_from, .. } = *profile.controls.get(control)?;
        Some((profile.id.as_str(), Tailored { severity, stage, enforce_from }))
    };
    set.profiles.values().filter_map(of).collect()
}

/// Every baseline, the one that decides first.
fn baselines(set: &PolicySet) -> Vec<Compiled> {
    let decides = baseline_id(set);
    let mut ids: Vec<&String> = set.baselines.keys().collect();
    ids.sort_by_key(|id| Some(id.as_str()) != decides);
    ids.into_iter().filter_map(|id| Compiled::compile(set, id, None).ok()).collect()
}

#[derive(Serialize)]
struct Line<'a> {
    control: &'a str,
    theme: &'a str,
    severity: &'a str,
    level: u8,
    /// None: no baseline judges it.
    #[serde(flatten)]
    rollout: Option<Rollout>,
    title: &'a str,
    place: String,
}

/// Lists the controls.
pub fn list(taken: Taken, context: &Context) -> Result<Answer, Failure> {
    let set = match sound(taken, context)? {
        Ok(taken) => taken.set,
        Err(answer) => return Ok(answer),
    };
    let (baselines, now) = (baselines(&set), context.clock.now());
    let mut rollouts: BTreeMap<&str, Rollout> = BTreeMap::new();
    for baseline in &baselines {
        for control in &baseline.controls {
            rollouts.entry(&control.id).or_insert_with(|| Rollout::of(baseline, control, now));
        }
    }
    let mut controls: Vec<&Control> = set.controls.values().collect();
    controls.sort_by(|a, b| a.at.cmp(&b.at));
    let lines: Vec<Line<'_>> =
        controls.into_iter().map(|one| line(one, rollouts.get(one.id.as_str()).copied())).collect();
    context.print(&lines, |lines| lines_text(lines))?;
    Ok(Answer::Yes)
}

fn line(control: &Control, rollout: Option<Rollout>) -> Line<'_> {
    Line {
        control: &control.id,
        theme: &control.theme,
        severity: control.severity.as_str(),
        level: control.level,
        rollout,
        title: &control.title,
        place: control.at.to_string(),
    }
}

fn lines_text(lines: &[Line<'_>]) -> String {
    let mut out = format!("  {:<38} {:<8} {:<8} {:<10} title\n", "control", "severity", "stage", "from");
    let mut theme = "";
    for line in lines {
        if line.theme != theme {
            theme = line.theme;
            out.push_str(&format!("{theme}\n"));
        }
        let stage = line.rollout.map_or_else(|| "-".to_owned(), |rollout| rollout.stage.to_string());
        let from = line.rollout.and_then(|rollout| rollout.enforce_from).map_or("-".to_owned(), day);
        let title = printable(line.title);
        out.push_str(&format!("  {:<38} {:<8} {stage:<8} {from:<10} {title}\n", line.control, line.severity));
    }
    out
}

/// Shows one control.
pub fn show(id: &str, taken: Taken, context: &Context) -> Result<Answer, Failure> {
    let taken = match sound(taken, context)? {
        Ok(taken) => taken,
        Err(answer) => return Ok(answer),
    };
    let (set, now) = (&taken.set, context.clock.now());
    let control = control(set, id)?;
    let node = written::control(&taken.sources, id)
        .ok_or_else(|| Failure::could_not(format!("`{id}` is not found in the files again")))?;
    let parts: Vec<(&str, &Node)> =
        PARTS.into_iter().filter_map(|part| Some((part, entry(&node, part)?))).collect();
    let baselines = baselines(set);
    let judging = || {
        let of = |b: &'_ Compiled| b.controls.iter().position(|c| c.id == control.id);
        baselines.iter().filter_map(move |b| Some((b, b.controls.get(of(b)?)?)))
    };
    let rollouts: BTreeMap<&str, Rollout> =
        judging().map(|(b, c)| (b.id.as_str(), Rollout::of(b, c, now))).collect();
    let stated: Vec<&String> = judging().next().map(|(_, c)| c.stated.iter().collect()).unwrap_or_default();
    let (parameters, tailored) = (parameters(set, control, &parts), tailored(set, &control.id));
    let exceptions = Exceptions::WORDS.iter().find(|(_, e)| *e == control.exceptions).map(|(word, _)| *word);
    let requires: Map<String, Value> =
        parts.iter().map(|(part, node)| ((*part).to_owned(), value(node))).collect();
    let answer = json!({
        "control": control.id, "title": control.title, "theme": control.theme,
        "severity": control.severity, "level": control.level,
        "for_each": control.for_each.as_ref().map(|c| c.value.as_str()),
        "counts": matches!(control.require, Requirement::Count(_)),
        "written": requires, "parameters": parameters, "baselines": rollouts,
        "profiles": tailored,
        "exceptions": exceptions, "why": control.why, "fix": control.fix, "references": control.references,
        "place": control.at.to_string(), "stated": stated,
    });
    context.print(&answer, |_| {
        let mut out = format!("{} ({})\n{}\n", control.id, control.severity, printable(&control.title));
        out.push_str(&rollout_text(&rollouts));
        tailored.iter().for_each(|(profile, change)| out.push_str(&tailored_text(profile, *change)));
        for (part, node) in &parts {
            out.push_str(&format!("{part:<9} {}\n", printable(&flow(node))));
        }
        for (name, values) in &parameters {
            let each: Vec<String> = values.iter().map(|(of, value)| format!("{value} ({of})")).collect();
            out.push_str(&printable(&format!("${name} is {}", each.join(", "))));
            out.push('\n');
        }
        out + &rest_text(control, &stated)
    })?;
    Ok(Answer::Yes)
}

/// A line for each baseline that judges the control.
fn rollout_text(rollouts: &BTreeMap<&str, Rollout>) -> String {
    if rollouts.is_empty() {
        return "\nno baseline judges it\n\n".to_owned();
    }
    let line = |(baseline, rollout): (&&str, &Rollout)| {
        let from = rollout.enforce_from.map(|from| format!(", enforced from {}", day(from)));
        let unknown = rollout.enforce_unknown_from;
        let unknown = unknown.map(|from| format!(", what could not be told only from {}", day(from)));
        let (from, unknown) = (from.unwrap_or_default(), unknown.unwrap_or_default());
        format!("stage     {}{from}{unknown} ({baseline})\n", rollout.stage)
    };
    format!("\n{}", rollouts.iter().map(line).collect::<String>())
}

fn tailored_text(profile: &str, change: Tailored) -> String {
    let severity = change.severity.map(|severity| severity.to_string());
    let stage = change.stage.map(|stage| format!("stage {stage}"));
    let from = change.enforce_from.map(|from| format!("enforced from {}", day(from)));
    let changes: Vec<String> = [severity, stage, from].into_iter().flatten().collect();
    format!("profile   {} (profile {profile})\n", changes.join(", "))
}

fn rest_text(control: &Control, stated: &[&String]) -> String {
    let stated: Vec<&str> = stated.iter().map(|one| one.as_str()).collect();
    let rests = match stated.is_empty() {
        true => String::new(),
        false => format!("\nStated by the member, not measured: {}\n", stated.join(", ")),
    };
    let never = match control.exceptions {
        Exceptions::Allowed => "",
        Exceptions::Forbidden => "\nIt may not be set aside for any member.\n",
    };
    let references: Vec<String> =
        control.references.iter().map(|(name, ids)| format!("{name} {}", ids.join(", "))).collect();
    format!(
        "{rests}{never}\nWhy: {}\n\nFix:\n{}\nReferences: {}\nWritten at {}",
        control.why,
        indent(&control.fix),
        references.join("; "),
        control.at
    )
}

/// What each parameter of the control is, by baseline and by profile that says otherwise.
fn parameters(
    set: &PolicySet,
    control: &Control,
    parts: &[(&str, &Node)],
) -> BTreeMap<String, BTreeMap<String, String>> {
    let used = parts.iter().flat_map(|(_, node)| written::parameters(node));
    let of = |name: &str| {
        let judging = set.baselines.values().filter(|b| b.controls.contains(&control.id));
        let own = judging.clone().filter_map(|b| Some((b.id.clone(), flow(b.parameters.get(name)?))));
        let profiles = set.profiles.values().filter(|p| judging.clone().any(|b| b.id == p.extends.value));
        let others =
            profiles.filter_map(|p| Some((format!("profile {}", p.id), flow(p.parameters.get(name)?))));
        own.chain(others).collect::<BTreeMap<_, _>>()
    };
    used.map(|name| (name.to_owned(), of(name))).filter(|(_, values)| !values.is_empty()).collect()
}

/// A part as JSON: what is a number or a truth value in YAML is one here.
fn value(node: &Node) -> Value {
    match &node.content {
        Content::Null => Value::Null,
        Content::Scalar { text, plain } => match (plain, text.as_str(), text.parse::<i64>()) {
            (true, "true" | "false", _) => Value::Bool(text == "true"),
            (true, _, Ok(number)) => Value::from(number),
            _ => Value::from(text.as_str()),
        },
        Content::List(items) => items.iter().map(value).collect(),
        Content::Map(entries) => {
            Value::Object(entries.iter().map(|(key, part)| (key.value.clone(), value(part))).collect())
        }
    }
}
