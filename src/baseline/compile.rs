//! From documents to a baseline that can be evaluated: facts looked up, operands typed, parameters filled in.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use crate::baseline::catalogue::{Catalogue, Known, Origin};
use crate::baseline::contradiction;
use crate::baseline::distinct::Distinct;
use crate::baseline::filters;
use crate::baseline::literal::{self, Parameters};
use crate::baseline::predicate::{Predicate, Test};
use crate::baseline::typing::Typing;
use crate::baseline::value::{Type, Value};
use crate::policy::documents::{
    self, AttributeFact, Baseline, Clause, Control, Exceptions, Grade, GrantRule, Profile, Requirement,
    SearchScope, Shape, Statement, Tolerance,
};
use crate::policy::fault::{Fault, Placed};
use crate::policy::fields::integer;
use crate::policy::set::PolicySet;
use crate::policy::source::Content;
use crate::policy::terms::{Grant, Severity, Stage};

/// A checked baseline for one kind of member, ready to evaluate and immutable.
#[derive(Debug, Clone)]
pub struct Compiled {
    pub id: String,
    pub title: String,
    pub revision: String,
    pub profile: Option<String>,
    /// The hash of the set that it came from.
    pub policy_hash: String,
    pub stage: Stage,
    pub controls: Vec<CompiledControl>,
    pub grants: BTreeMap<Grant, GrantRule>,
    pub reopen_after: u32,
    /// Seconds.
    pub evidence_valid_for: i64,
    requirements: Requirements,
}

/// One control with its types checked.
#[derive(Debug, Clone)]
pub struct CompiledControl {
    pub id: String,
    pub title: String,
    pub theme: String,
    pub severity: Severity,
    pub stage: Stage,
    pub enforce_from: Option<OffsetDateTime>,
    /// Until then what could not be told is at most at the stage `warn`.
    pub enforce_unknown_from: Option<OffsetDateTime>,
    pub level: u8,
    pub when: Option<Predicate>,
    pub for_each: Option<String>,
    pub filter: Option<Predicate>,
    pub require: CompiledRequirement,
    pub tolerate: Tolerance,
    pub grade: Option<CompiledGrade>,
    pub exceptions: Exceptions,
    pub why: String,
    pub fix: String,
    pub references: BTreeMap<String, Vec<String>>,
    /// Subjects of the attestations that it rests on.
    pub stated: BTreeSet<String>,
}

/// What must hold.
#[derive(Debug, Clone)]
pub enum CompiledRequirement {
    Holds(Predicate),
    /// Tests on the number of records; their fact is `<collection>.count`.
    Count(Vec<Test>),
    /// Values that stand on one record only.
    Distinct(Distinct),
}

/// A severity that depends on a value.
#[derive(Debug, Clone)]
pub struct CompiledGrade {
    /// Full name, and the short one when it is looked up in the record at hand.
    pub fact: String,
    pub in_record: Option<String>,
    /// Bound and severity, rising.
    pub steps: Vec<(Value, Severity)>,
}

/// What must be collected so that every control can be judged.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Requirements {
    /// Declared directory reads that some control uses, by name.
    pub reads: Vec<Read>,
    /// Full names of the probe facts that some control uses (`tls.versions`, `smartcard.card_logon_works`).
    pub probes: BTreeSet<String>,
    /// What the member is to state, by the full name of its fact.
    pub statements: BTreeMap<String, Statement>,
}

/// One declared read and what is needed of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// `domain`, `users`.
    pub name: String,
    pub shape: Shape,
    /// May use `{domain}`, `{domain_sid}`, `{configuration}`, `{schema}`, `{root}`, or be `{rootdse}`.
    pub base: String,
    pub scope: SearchScope,
    /// RFC 4515 text.
    pub filter: Option<String>,
    /// Complete only when our account is shown to be able to read what is below the base.
    pub may_hide: bool,
    /// Short fact name to attribute: only those that some control uses (decode them with `baseline::decode`).
    pub attributes: BTreeMap<String, AttributeFact>,
    /// Short names of facts that the collector works out itself (`users.privileged`).
    pub computed: BTreeSet<String>,
}

impl Requirements {
    /// Adds what another compiled baseline needs, so that one pass serves both.
    pub fn merge(&mut self, other: &Requirements) {
        self.probes.extend(other.probes.iter().cloned());
        self.statements.extend(other.statements.iter().map(|(k, v)| (k.clone(), v.clone())));
        for read in &other.reads {
            match self.reads.iter_mut().find(|r| r.name == read.name) {
                Some(mine) => {
                    mine.attributes.extend(read.attributes.iter().map(|(k, v)| (k.clone(), v.clone())));
                    mine.computed.extend(read.computed.iter().cloned());
                }
                None => self.reads.push(read.clone()),
            }
        }
        self.reads.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

impl Compiled {
    /// Checks and compiles a baseline of a set, with a profile's tailoring.
    ///
    /// # Errors
    /// All faults: unknown facts, operands of the wrong type, missing units, parameters that do not exist.
    pub fn compile(set: &PolicySet, baseline: &str, profile: Option<&str>) -> Result<Compiled, Vec<Fault>> {
        let nowhere = crate::policy::fault::Place::nowhere();
        let Some(document) = set.baselines.get(baseline) else {
            let fault = Fault::new(&nowhere, format!("the policy set has no baseline `{baseline}`"));
            return Err(vec![fault.nearest(baseline, set.baselines.keys().map(String::as_str))]);
        };
        let tailoring = match profile {
            Some(id) => match set.profiles.get(id) {
                Some(profile) if profile.extends.value == baseline => Some(profile),
                Some(_) => {
                    let message = format!("the profile `{id}` is not for the baseline `{baseline}`");
                    return Err(vec![Fault::new(&nowhere, message)]);
                }
                None => {
                    let fault = Fault::new(&nowhere, format!("the policy set has no profile `{id}`"));
                    return Err(vec![fault.nearest(id, set.profiles.keys().map(String::as_str))]);
                }
            },
            None => None,
        };
        let (compiled, faults) = compile(set, document, tailoring);
        if faults.is_empty() { Ok(compiled) } else { Err(set.illustrated(faults)) }
    }

    /// What must be collected.
    pub fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    /// The profile of a set that is for a member with this role (an exact member wins over a role).
    pub fn profile_for<'s>(
        set: &'s PolicySet,
        baseline: &str,
        member: &crate::policy::terms::OdsCode,
        role: Option<&str>,
    ) -> Option<&'s str> {
        let fitting = || set.profiles.values().filter(|p| p.extends.value == baseline);
        fitting()
            .find(|p| p.members.contains(member))
            .or_else(|| fitting().find(|p| p.role.is_some() && p.role.as_deref() == role))
            .map(|p| p.id.as_str())
    }
}

/// All faults of a set that only show when facts and types are known: of every baseline with every profile.
pub fn check(set: &PolicySet) -> Vec<Fault> {
    let mut faults = Vec::new();
    let taken = Catalogue::probe_records();
    for declaration in set.facts.values() {
        if taken.contains(declaration.name.as_str()) {
            let message = format!("`{}` holds facts of the program's own probes", declaration.name);
            faults.push(Fault::new(&declaration.at, message).hint("choose another name"));
        }
        if let Some(filter) = &declaration.filter {
            faults.extend(filters::fault(filter));
        }
        for attribute in declaration.attributes.values() {
            if let Some(node) = &attribute.default {
                let kind = crate::baseline::catalogue::decoded_type(&attribute.decode);
                faults.extend(literal::value(node, &kind).err());
            }
        }
    }
    faults.extend(set.scopes.values().flat_map(filters::of_scope));
    for baseline in set.baselines.values() {
        faults.extend(compile(set, baseline, None).1);
        for profile in set.profiles.values().filter(|p| p.extends.value == baseline.id) {
            faults.extend(compile(set, baseline, Some(profile)).1);
        }
    }
    set.illustrated(faults)
}

fn compile(set: &PolicySet, baseline: &Baseline, profile: Option<&Profile>) -> (Compiled, Vec<Fault>) {
    let catalogue = Catalogue::of(set);
    let mut parameters: Parameters = baseline.parameters.clone();
    if let Some(profile) = profile {
        parameters.extend(profile.parameters.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
    let mut typing = Typing::new(&catalogue, &parameters);
    let controls = baseline
        .controls
        .iter()
        .filter_map(|id| set.controls.get(id))
        .map(|control| compiled_control(&mut typing, baseline, profile, control))
        .collect();
    for (name, node) in &baseline.parameters {
        if !typing.used_parameters.contains(name) {
            let message = format!("no control uses the parameter `{name}`");
            typing.faults.push(Fault::absent(&node.at, message).hint(
                "use it as `$name` in a test of `require`, `where`, `when`, `count` or `grade`, or remove it",
            ));
        }
    }
    let (used, faults) = (typing.used_facts, typing.faults);
    let compiled = Compiled {
        id: baseline.id.clone(),
        title: baseline.title.clone(),
        revision: baseline.revision.clone(),
        profile: profile.map(|p| p.id.clone()),
        policy_hash: set.hash().to_owned(),
        stage: baseline.stage,
        controls,
        grants: baseline.grants.clone(),
        reopen_after: baseline.reopen_after,
        evidence_valid_for: baseline.evidence_valid_for.whole_seconds(),
        requirements: requirements(set, &catalogue, &used),
    };
    (compiled, faults)
}

fn compiled_control(
    typing: &mut Typing<'_>,
    baseline: &Baseline,
    profile: Option<&Profile>,
    control: &Control,
) -> CompiledControl {
    let change = profile.and_then(|p| p.controls.get(&control.id));
    let own_stage = change.and_then(|c| c.stage).or(control.stage).unwrap_or(Stage::Enforce);
    let collection = control.for_each.as_ref().map(|c| c.value.as_str());
    if let Some(name) = &control.for_each
        && !typing.catalogue.collections.contains_key(&name.value)
    {
        let fault = Fault::absent(&name.at, format!("there is no collection `{}`", name.value));
        let names = typing.catalogue.collections.keys().map(String::as_str);
        typing.faults.push(fault.nearest(&name.value, names));
    }
    if let Some(name) = collection {
        typing.used_facts.insert(format!("{name}.complete"));
        for short in ["dn", "name"] {
            typing.used_facts.insert(format!("{name}.{short}"));
        }
    }
    let require = match &control.require {
        Requirement::Holds(clause) => CompiledRequirement::Holds(typing.predicate(clause, collection)),
        Requirement::Count(tests) => {
            CompiledRequirement::Count(counted(typing, tests, collection.unwrap_or_default()))
        }
        Requirement::Distinct(name) => distinct(typing, name, collection),
    };
    let (when, filter) = (control.when.as_ref(), control.filter.as_ref());
    let when = when.map(|c| typing.predicate(c, None));
    let filter = filter.map(|c| typing.predicate(c, collection));
    let held = match &require {
        CompiledRequirement::Holds(predicate) => Some(predicate),
        _ => None,
    };
    typing.faults.extend(contradiction::faults(when.as_ref(), filter.as_ref(), held));
    let mut stated = BTreeSet::new();
    let predicates = when.iter().chain(&filter).chain(held);
    for predicate in predicates {
        predicate.each_test(&mut |test| stated.extend(typing.catalogue.subject(&test.fact)));
    }
    CompiledControl {
        id: control.id.clone(),
        title: control.title.clone(),
        theme: control.theme.clone(),
        severity: change.and_then(|c| c.severity).unwrap_or(control.severity),
        stage: own_stage.min(baseline.stage),
        enforce_from: change.and_then(|c| c.enforce_from).or(control.enforce_from),
        enforce_unknown_from: control.enforce_unknown_from,
        level: control.level,
        when,
        for_each: collection.map(str::to_owned),
        filter,
        require,
        tolerate: control.tolerate.clone().unwrap_or(Tolerance::Count(0)),
        grade: control.grade.as_ref().and_then(|g| grade(typing, control, g, collection)),
        exceptions: control.exceptions,
        why: control.why.clone(),
        fix: control.fix.clone(),
        references: control.references.clone(),
        stated,
    }
}

/// A fact of the records that must differ from record to record.
fn distinct(typing: &mut Typing<'_>, name: &Placed<String>, collection: Option<&str>) -> CompiledRequirement {
    match typing.fact(name, collection) {
        Some((fact, Some(short), known)) => {
            CompiledRequirement::Distinct(Distinct { fact, short, kind: known.kind, at: name.at.clone() })
        }
        found => {
            if found.is_some() {
                let message = format!("`{}` is no fact of the records", name.value);
                typing.faults.push(Fault::new(&name.at, message).hint("name a fact of the collection"));
            }
            CompiledRequirement::Holds(Predicate::All(Vec::new()))
        }
    }
}

/// Tests on the number of records of a collection.
fn counted(typing: &mut Typing<'_>, tests: &[documents::Test], collection: &str) -> Vec<Test> {
    let known = Known { kind: Type::Integer, origin: Origin::Computed, title: "number of records".into() };
    no_negative_count(typing, tests);
    let tests = typing.tests(tests, &format!("{collection}.count"), None, &known);
    typing.faults.extend(contradiction::of_count(&tests));
    tests
}

/// A count below zero is never met, or always.
fn no_negative_count(typing: &mut Typing<'_>, tests: &[documents::Test]) {
    for test in tests {
        let Ok(operand) = literal::resolve(&test.operand, typing.parameters, &mut typing.used_parameters)
        else {
            continue;
        };
        let items = match &operand.content {
            Content::List(items) => items.as_slice(),
            _ => std::slice::from_ref(&operand),
        };
        for item in items {
            if item.scalar().and_then(integer).is_some_and(|number| number < 0) {
                let message = "a number of records is never below 0";
                typing.faults.push(Fault::new(&item.at, message).hint("write 0 or more"));
            }
        }
    }
}

fn grade(
    typing: &mut Typing<'_>,
    control: &Control,
    grade: &Grade,
    collection: Option<&str>,
) -> Option<CompiledGrade> {
    let name = match (&grade.fact, &control.require) {
        (Some(name), _) => name.clone(),
        (None, Requirement::Holds(Clause::Fact { name, .. })) => name.clone(),
        _ => {
            let fault = Fault::new(&grade.at, "`grade` must name its fact: `require` has several");
            typing.faults.push(fault.hint("write `grade: { fact: ..., steps: [...] }`"));
            return None;
        }
    };
    let (fact, in_record, known) = typing.fact(&name, collection)?;
    if !matches!(known.kind, Type::Integer | Type::Duration | Type::Percent) {
        let message =
            format!("`grade` needs a number or a duration, `{fact}` is of type {}", known.kind.name());
        typing.faults.push(Fault::new(&grade.at, message));
        return None;
    }
    let mut steps: Vec<(Value, Severity)> = Vec::new();
    for step in &grade.steps {
        match typing.resolve(&step.over).and_then(|node| literal::value(&node, &known.kind)) {
            Ok(value) => {
                if steps.last().is_some_and(|(last, _)| *last >= value) {
                    let message = "the bounds of `grade` must rise: this step can never decide rightly";
                    typing.faults.push(Fault::new(&step.over.at, message));
                }
                steps.push((value, step.severity));
            }
            Err(fault) => typing.faults.push(fault),
        }
    }
    Some(CompiledGrade { fact, in_record, steps })
}

fn requirements(set: &PolicySet, catalogue: &Catalogue, used: &BTreeSet<String>) -> Requirements {
    let mut probes = BTreeSet::new();
    let mut reads: BTreeMap<&str, Read> = BTreeMap::new();
    let (all, mut statements) = (set.statements(), BTreeMap::new());
    for name in used {
        let Some((record, short)) = name.split_once('.') else { continue };
        let known = catalogue
            .records
            .get(name)
            .or_else(|| catalogue.collections.get(record).and_then(|facts| facts.get(short)));
        let Some(known) = known else { continue };
        if let Origin::Attestation(subject) = &known.origin {
            let statement = all.get(subject).map(|statement| (subject.clone(), (*statement).clone()));
            statements.extend(statement);
            continue;
        }
        let Some(declaration) = set.facts.get(record) else {
            probes.insert(name.clone());
            continue;
        };
        let read = reads.entry(record).or_insert_with(|| Read {
            name: record.to_owned(),
            shape: declaration.shape,
            base: declaration.base.clone(),
            scope: declaration.scope,
            filter: declaration.filter.as_ref().map(|f| f.value.clone()),
            may_hide: declaration.may_hide,
            attributes: BTreeMap::new(),
            computed: BTreeSet::new(),
        });
        match &known.origin {
            Origin::Attribute(attribute) => {
                read.attributes.insert(short.to_owned(), attribute.clone());
            }
            Origin::Computed => {
                read.computed.insert(short.to_owned());
            }
            Origin::Probe | Origin::Attestation(_) => {
                probes.insert(name.clone());
            }
        }
    }
    Requirements { reads: reads.into_values().collect(), probes, statements }
}
