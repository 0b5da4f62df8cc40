//! `Baseline`, `Controls`, `Profile` and `Exception`.

use std::collections::{BTreeMap, BTreeSet};

use time::{Duration, OffsetDateTime};

use crate::policy::documents::{
    Baseline, Control, Exception, Exceptions, Grade, GradeStep, GrantRule, OnUnknown, Profile, Requirement,
    Tailoring, Tolerance,
};
use crate::policy::fault::{Fault, Place, Placed};
use crate::policy::fields::{Fields, Reader};
use crate::policy::read::clause::{clause, tests};
use crate::policy::source::{Content, Node};
use crate::policy::terms::{Grant, OdsCode, Severity, Stage};

/// Younger evidence than this an assessment could not keep up with; older evidence says nothing about today.
const EVIDENCE_VALID_FOR: (&str, &str) = ("1m", "31d");
/// A grace ends within a year.
const GRACE: (&str, &str) = ("1m", "366d");
/// A share of records that is tolerated leaves some that are not, in hundredths of a percent.
const TOLERATED_MAX: u32 = 9_999;
/// No exception lasts longer.
const EXCEPTION_DAYS_MAX: i64 = 366;

/// The keys of a `Baseline`.
pub const BASELINE_KEYS: &[&str] = &[
    "kind",
    "id",
    "title",
    "owner",
    "revision",
    "stage",
    "parameters",
    "include",
    "grants",
    "reopen_after",
    "evidence_valid_for",
];
/// The keys of a grant in a baseline.
pub const GRANT_KEYS: &[&str] = &["deny_on", "unknown", "grace"];
/// The keys of one control.
pub const CONTROL_KEYS: &[&str] = &[
    "id",
    "title",
    "severity",
    "stage",
    "enforce_from",
    "enforce_unknown_from",
    "level",
    "when",
    "for_each",
    "where",
    "require",
    "count",
    "distinct",
    "tolerate",
    "grade",
    "exceptions",
    "why",
    "fix",
    "references",
];
/// The keys of a `Profile`.
pub const PROFILE_KEYS: &[&str] = &["kind", "id", "extends", "for", "parameters", "controls"];
/// The keys of an `Exception`.
pub const EXCEPTION_KEYS: &[&str] = &[
    "kind",
    "control",
    "member",
    "objects",
    "owner",
    "reason",
    "compensating_control",
    "approver",
    "from",
    "until",
];

/// A `Baseline`. Its controls are filled in by the set.
pub fn baseline(reader: &mut Reader, node: &Node) -> Baseline {
    let fields = reader.fields(node, "a baseline", BASELINE_KEYS);
    let id = reader.identifier(&fields, "id");
    let stage = reader.required(&fields, "stage").and_then(|n| reader.stage(n));
    if fields.get("include").is_none() {
        reader.fault(
            Fault::new(&node.at, "a baseline needs the key `include`")
                .hint("name the files of its controls, for example `include: [controls/*.yaml]`"),
        );
    }
    let include = reader.texts(&fields, "include");
    if let Some(node) =
        fields.get("include").filter(|n| matches!(&n.content, Content::List(l) if l.is_empty()))
    {
        let fault = Fault::new(&node.at, "`include` names no file");
        reader.fault(fault.hint("name the files of its controls, for example `include: [controls/*.yaml]`"));
    }
    let evidence_valid_for = reader.required(&fields, "evidence_valid_for").and_then(|n| {
        reader.duration_within(n, "evidence_valid_for", EVIDENCE_VALID_FOR.0, EVIDENCE_VALID_FOR.1)
    });
    Baseline {
        at: node.at.clone(),
        id,
        title: reader.required_text(&fields, "title"),
        owner: reader.required_text(&fields, "owner"),
        revision: reader.required_text(&fields, "revision"),
        stage: stage.unwrap_or(Stage::Draft),
        parameters: reader.parameters(&fields, "parameters"),
        include,
        controls: Vec::new(),
        grants: grants(reader, &fields),
        reopen_after: reader.count(&fields, "reopen_after", 1, 100, 2),
        evidence_valid_for: evidence_valid_for.unwrap_or(Duration::HOUR),
    }
}

fn grants(reader: &mut Reader, fields: &Fields<'_>) -> BTreeMap<Grant, GrantRule> {
    let mut out = BTreeMap::new();
    let Some(node) = reader.required(fields, "grants") else { return out };
    let names: Vec<&str> = Grant::ALL.iter().map(|g| g.as_str()).collect();
    let grants = reader.fields(node, "`grants`", &names);
    for grant in Grant::ALL {
        match grants.get(grant.as_str()) {
            Some(rule) => {
                let rule = grant_rule(reader, rule);
                out.insert(grant, rule);
            }
            None => {
                let message = format!("`grants` does not say what `{grant}` requires");
                reader.fault(
                    Fault::new(&node.at, message)
                        .hint(format!("add `{grant}: {{ deny_on: [critical, high], unknown: deny }}`")),
                );
            }
        }
    }
    out
}

fn grant_rule(reader: &mut Reader, node: &Node) -> GrantRule {
    let fields = reader.fields(node, "a grant", GRANT_KEYS);
    let mut deny_on = BTreeSet::new();
    if let Some(list) = reader.required(&fields, "deny_on") {
        let items = reader.items(list);
        if items.is_empty() {
            let fault = Fault::new(&list.at, "`deny_on` is empty: nothing would ever close this gate");
            reader.fault(fault.hint("name severities, for example `[critical, high]`"));
        }
        for item in items {
            if let Some(severity) = reader.severity(item)
                && !deny_on.insert(severity)
            {
                reader.twice(item, "deny_on");
            }
        }
        let lowest = deny_on.first().copied();
        let above = |severity: &Severity| lowest.is_some_and(|lowest| *severity > lowest);
        for missing in Severity::ALL.into_iter().filter(above).filter(|one| !deny_on.contains(one)) {
            let message = format!("`deny_on` leaves out {missing}, which is graver than what it names");
            reader.fault(Fault::new(&list.at, message).hint(format!("add `{missing}`")));
        }
    }
    let words = [("deny", OnUnknown::Deny), ("fail", OnUnknown::Fail)];
    let unknown = fields.get("unknown").and_then(|n| reader.word(n, &words, "way to treat what is unknown"));
    let mut grace = BTreeMap::new();
    if let Some(node) = fields.get("grace") {
        for (key, value) in reader.map(node, "`grace`") {
            let name = Node {
                at: key.at.clone(),
                content: Content::Scalar { text: key.value.clone(), plain: true },
            };
            if let (Some(severity), Some(time)) =
                (reader.severity(&name), reader.duration_within(value, "grace", GRACE.0, GRACE.1))
            {
                if !deny_on.contains(&severity) {
                    let message = format!("`grace` for {severity} has no effect: it is not in `deny_on`");
                    reader.fault(Fault::new(&key.at, message));
                }
                grace.insert(severity, time);
            }
        }
    }
    GrantRule { at: node.at.clone(), deny_on, unknown: unknown.unwrap_or(OnUnknown::Deny), grace }
}

/// The controls of a `Controls` document.
pub fn controls(reader: &mut Reader, node: &Node) -> Vec<Control> {
    let fields = reader.fields(node, "a `Controls` document", &["kind", "controls"]);
    let Some(list) = reader.required(&fields, "controls") else { return Vec::new() };
    reader.items(list).into_iter().map(|item| control(reader, item)).collect()
}

fn control(reader: &mut Reader, node: &Node) -> Control {
    let fields = reader.fields(node, "a control", CONTROL_KEYS);
    let id = reader.identifier(&fields, "id");
    let severity = reader.required(&fields, "severity").and_then(|n| reader.severity(n));
    let for_each = fields.get("for_each").and_then(|n| reader.placed(n));
    for key in ["where", "tolerate", "count", "distinct"] {
        if let (Some(found), None) = (fields.get(key), &for_each) {
            let message = format!("`{key}` needs `for_each`: there are no records to look at");
            reader.fault(Fault::new(&found.at, message));
        }
    }
    let filter = fields.get("where").map(|n| clause(reader, n));
    let stage = fields.get("stage").and_then(|n| reader.stage(n));
    let (enforce_from, enforce_unknown_from) = days(reader, &fields, stage);
    Control {
        at: fields.get("id").map_or_else(|| node.at.clone(), |n| n.at.clone()),
        id,
        title: reader.required_text(&fields, "title"),
        theme: theme(&node.at),
        severity: severity.unwrap_or(Severity::Critical),
        stage,
        enforce_from,
        enforce_unknown_from,
        level: u8::try_from(reader.count(&fields, "level", 1, 5, 3)).unwrap_or(3),
        when: fields.get("when").map(|n| clause(reader, n)),
        for_each,
        filter,
        require: requirement(reader, &fields),
        tolerate: fields.get("tolerate").and_then(|n| tolerance(reader, n)),
        grade: fields.get("grade").map(|n| grade(reader, n)),
        exceptions: fields
            .get("exceptions")
            .and_then(|n| reader.word(n, &Exceptions::WORDS, "answer to whether it may be set aside"))
            .unwrap_or_default(),
        why: reader.required_text(&fields, "why"),
        fix: reader.required_text(&fields, "fix"),
        references: reader.references(&fields),
    }
}

/// `enforce_from` and `enforce_unknown_from`: a day that says nothing was meant to say something.
fn days(
    reader: &mut Reader,
    fields: &Fields<'_>,
    stage: Option<Stage>,
) -> (Option<OffsetDateTime>, Option<OffsetDateTime>) {
    let (from_node, unknown_node) = (fields.get("enforce_from"), fields.get("enforce_unknown_from"));
    let from = from_node.and_then(|n| reader.date(n));
    let unknown_from = unknown_node.and_then(|n| reader.date(n));
    if let Some(node) = from_node.filter(|_| stage != Some(Stage::Warn)) {
        let message = "`enforce_from` does nothing without `stage: warn`, which tells members until that day";
        reader.fault(Fault::new(&node.at, message).hint("add `stage: warn`, or remove the day"));
    }
    if let (Some(from), Some(unknown), Some(node)) = (from, unknown_from, unknown_node)
        && unknown <= from
    {
        let message =
            "`enforce_unknown_from` is not after `enforce_from`: before that day nothing is enforced";
        reader.fault(Fault::new(&node.at, message).hint("choose a later day, or remove it"));
    }
    (from, unknown_from)
}

/// The name of the file without folder and ending.
fn theme(at: &Place) -> String {
    let name = at.file.rsplit('/').next().unwrap_or("");
    name.split('.').next().unwrap_or(name).to_owned()
}

fn requirement(reader: &mut Reader, fields: &Fields<'_>) -> Requirement {
    let words = ["require", "count", "distinct"];
    let given: Vec<(&str, &Node)> =
        words.into_iter().filter_map(|word| fields.get(word).map(|node| (word, node))).collect();
    if let [(first, _), (second, node), ..] = given.as_slice() {
        let message = format!("a control has either `{first}` or `{second}`, not both");
        reader.fault(Fault::new(&node.at, message));
    }
    match given.first() {
        Some(("count", node)) => Requirement::Count(tests(reader, node)),
        Some(("distinct", node)) => {
            let nowhere = || Placed::new(String::new(), node.at.clone());
            Requirement::Distinct(reader.placed(node).unwrap_or_else(nowhere))
        }
        Some((_, node)) => Requirement::Holds(clause(reader, node)),
        None => {
            reader.required(fields, "require");
            Requirement::Holds(clause_that_is_missing())
        }
    }
}

fn clause_that_is_missing() -> crate::policy::documents::Clause {
    crate::policy::documents::Clause::Any(Vec::new())
}

fn tolerance(reader: &mut Reader, node: &Node) -> Option<Tolerance> {
    let fields = reader.fields(node, "`tolerate`", &["at_most"]);
    let bound = reader.required(&fields, "at_most")?;
    let text = reader.text(bound)?;
    if text.ends_with('%') {
        return reader.share(bound, "at_most", TOLERATED_MAX).map(Tolerance::Share);
    }
    if text.starts_with('$') {
        let fault = Fault::new(&bound.at, "`tolerate` takes no parameter");
        reader.fault(fault.hint("write the count or the percentage itself; a profile cannot have another"));
        return None;
    }
    let count = text.parse().map_err(|_| format!("`{text}` is neither a count nor a percentage"));
    reader.keep(&bound.at, count, "write a count such as `3` or a share such as `2%`").map(Tolerance::Count)
}

fn grade(reader: &mut Reader, node: &Node) -> Grade {
    let (fact, list) = match &node.content {
        Content::Map(_) => {
            let fields = reader.fields(node, "`grade`", &["fact", "steps"]);
            let fact = fields.get("fact").and_then(|n| reader.placed(n));
            (fact, reader.required(&fields, "steps"))
        }
        _ => (None, Some(node)),
    };
    let mut steps: Vec<GradeStep> = Vec::new();
    for item in list.map(|n| reader.items(n)).unwrap_or_default() {
        let fields = reader.fields(item, "a step of `grade`", &["over", "severity"]);
        let over = reader.required(&fields, "over");
        let severity = reader.required(&fields, "severity").and_then(|n| reader.severity(n));
        if let (Some(over), Some(severity)) = (over, severity) {
            if steps.last().is_some_and(|last| last.severity >= severity) {
                let message = "the steps of `grade` must rise in severity: this one can never decide";
                reader.fault(Fault::new(&item.at, message));
            }
            steps.push(GradeStep { over: over.clone(), severity });
        }
    }
    Grade { at: node.at.clone(), fact, steps }
}

/// A `Profile`.
pub fn profile(reader: &mut Reader, node: &Node) -> Profile {
    let fields = reader.fields(node, "a profile", PROFILE_KEYS);
    let id = reader.identifier(&fields, "id");
    let extends = reader.required(&fields, "extends").and_then(|n| reader.placed(n));
    let (mut role, mut members) = (None, Vec::new());
    if let Some(node) = reader.required(&fields, "for") {
        let audience = reader.fields(node, "`for`", &["role", "members"]);
        role = reader.optional_text(&audience, "role");
        if let Some(list) = audience.get("members") {
            members = reader.items(list).into_iter().filter_map(|item| reader.member(item)).collect();
        }
    }
    let mut controls = BTreeMap::new();
    if let Some(node) = fields.get("controls") {
        for (key, value) in reader.map(node, "`controls`") {
            let change = tailoring(reader, &key.at, value);
            controls.insert(key.value.clone(), change);
        }
    }
    let parameters = reader.parameters(&fields, "parameters");
    let extends = extends.unwrap_or_else(|| Placed::new(String::new(), node.at.clone()));
    Profile { at: node.at.clone(), id, extends, role, members, parameters, controls }
}

fn tailoring(reader: &mut Reader, at: &Place, node: &Node) -> Tailoring {
    let fields = reader.fields(node, "a tailored control", &["stage", "enforce_from", "severity"]);
    Tailoring {
        at: at.clone(),
        stage: fields.get("stage").and_then(|n| reader.stage(n)),
        enforce_from: fields.get("enforce_from").and_then(|n| reader.date(n)),
        severity: fields.get("severity").and_then(|n| reader.severity(n)),
    }
}

/// An `Exception`.
pub fn exception(reader: &mut Reader, node: &Node) -> Option<Exception> {
    let fields = reader.fields(node, "an exception", EXCEPTION_KEYS);
    let control = reader.required_text(&fields, "control");
    let member: Option<OdsCode> = reader.required(&fields, "member").and_then(|n| reader.member(n));
    let from = reader.required(&fields, "from").and_then(|n| reader.date(n));
    let until_node = reader.required(&fields, "until");
    let until = until_node.and_then(|n| reader.end_of_day(n));
    let objects = objects(reader, &fields);
    let owner = reader.required_text(&fields, "owner");
    let reason = reader.required_text(&fields, "reason");
    let compensating_control = reader.required_text(&fields, "compensating_control");
    let approver = reader.required_text(&fields, "approver");
    let (from, until, until_node) = (from?, until?, until_node?);
    if until <= from {
        reader.fault(Fault::new(&until_node.at, "the exception ends before it begins"));
    } else if (until - from).whole_days() > EXCEPTION_DAYS_MAX {
        let fault = Fault::new(&until_node.at, "an exception lasts 12 months at most");
        reader.fault(fault.hint("choose an earlier `until`; it can be granted again"));
    }
    let at = fields.get("control").map_or_else(|| node.at.clone(), |n| n.at.clone());
    let member = member?;
    Some(Exception {
        at,
        control,
        member,
        objects,
        owner,
        reason,
        compensating_control,
        approver,
        from,
        until,
    })
}

/// What an exception is limited to. A key without a name would set the whole control aside.
fn objects(reader: &mut Reader, fields: &Fields<'_>) -> Vec<String> {
    let objects = reader.texts(fields, "objects");
    if let Some(node) =
        fields.get("objects").filter(|n| matches!(&n.content, Content::List(l) if l.is_empty()))
    {
        let fault = Fault::new(&node.at, "`objects` names nothing");
        reader.fault(
            fault.hint("name records by name or DN, or leave `objects` out to set the whole control aside"),
        );
    }
    for object in objects.iter().filter(|one| matches!(one.value.trim(), "" | "*")) {
        let fault = Fault::new(&object.at, format!("`{}` is the name of no record", object.value));
        reader.fault(fault.hint("name each record by its name or DN: no pattern is understood here"));
    }
    objects.into_iter().map(|object| object.value).collect()
}
