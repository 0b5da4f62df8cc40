//! A policy set: every document of a folder, checked together.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use crate::policy::coherence;
use crate::policy::documents::{
    Baseline, Control, Exception, Exceptions, FactsDeclaration, PolicyTest, Profile, Release, Statement,
};
use crate::policy::fault::{Fault, Place, Placed};
use crate::policy::fields::Reader;
use crate::policy::folder::read_folder;
use crate::policy::read::document::{Document, document};
use crate::policy::scope::SyncScope;
use crate::policy::source::{Source, content_hash};
use crate::policy::terms::Stage;

/// Every document of a folder, checked together. Types of operands are checked by `baseline::compile`, attributes and
/// filters of agreements by `release::agreement`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PolicySet {
    /// By id.
    pub baselines: BTreeMap<String, Baseline>,
    /// By id.
    pub controls: BTreeMap<String, Control>,
    /// By name of the record or collection.
    pub facts: BTreeMap<String, FactsDeclaration>,
    /// By id.
    pub profiles: BTreeMap<String, Profile>,
    pub exceptions: Vec<Exception>,
    /// By id.
    pub releases: BTreeMap<String, Release>,
    /// By id.
    pub scopes: BTreeMap<String, SyncScope>,
    pub tests: Vec<PolicyTest>,
    hash: String,
    sources: BTreeMap<String, Vec<String>>,
    /// A file that could not be read, the first of them.
    unread: Option<String>,
}

impl PolicySet {
    /// Reads every `*.yaml` and `*.yml` below `folder` (a file: that file alone).
    ///
    /// # Errors
    /// All faults of all files, sorted by file and line; never an empty list.
    pub fn load(folder: &Path) -> Result<PolicySet, Vec<Fault>> {
        let (set, faults) = PolicySet::read(folder);
        if faults.is_empty() { Ok(set) } else { Err(faults) }
    }

    /// Like [`PolicySet::load`], with what could be read beside the faults, so that the checks of other modules can
    /// find theirs in the same run. A set that came with faults must not be used for anything else.
    pub fn read(folder: &Path) -> (PolicySet, Vec<Fault>) {
        let (sources, faults) = read_folder(folder);
        PolicySet::of(&sources, faults)
    }

    /// A set from texts.
    pub fn from_sources(sources: &[Source]) -> (PolicySet, Vec<Fault>) {
        PolicySet::of(sources, Vec::new())
    }

    /// A set from texts, when reading them brought faults already.
    pub fn of(sources: &[Source], faults: Vec<Fault>) -> (PolicySet, Vec<Fault>) {
        let unread = faults.first().map(|fault| fault.place.file.to_string());
        let mut set = PolicySet { hash: content_hash(sources), unread, ..PolicySet::default() };
        let mut reader = Reader { faults };
        for source in sources {
            let lines = source.text.lines().map(str::to_owned).collect();
            set.sources.insert(source.name.to_string(), lines);
            let (nodes, faults) = source.documents();
            if !faults.is_empty() {
                set.unread.get_or_insert_with(|| source.name.to_string());
            } else if nodes.is_empty() {
                let place = Place::start_of(&source.name);
                let fault = Fault::new(&place, "the file is empty: it holds no policy document");
                reader.fault(fault.hint("write one, or remove the file"));
            }
            faults.into_iter().for_each(|fault| reader.fault(fault));
            for node in &nodes {
                if let Some(document) = document(&mut reader, node) {
                    set.add(document, &mut reader);
                }
            }
        }
        set.resolve_includes(&mut reader);
        set.check_references(&mut reader);
        let PolicySet { baselines, controls, profiles, exceptions, .. } = &set;
        coherence::check(&mut reader, baselines, controls, profiles, exceptions);
        let faults = set.illustrated(reader.faults);
        (set, faults)
    }

    /// SHA-256 over the names and bytes of all files, lower-case hex. Assessments name it.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What members may attest, by the full name of its fact (`attested.strong_binding`).
    pub fn statements(&self) -> BTreeMap<String, &Statement> {
        let of = |declaration: &FactsDeclaration, short: &str| format!("{}.{short}", declaration.name);
        self.facts
            .values()
            .flat_map(|d| d.statements.iter().map(move |(short, statement)| (of(d, short), statement)))
            .collect()
    }

    /// The faults with their source lines, sorted by place, each once. What is not there may be in a file that could not be
    /// read: that is told, and the fault all the same.
    pub fn illustrated(&self, mut faults: Vec<Fault>) -> Vec<Fault> {
        for fault in &mut faults {
            if let Some(file) = &self.unread {
                fault.may_be_in(file);
            }
            let line = usize::try_from(fault.place.line).unwrap_or(0).checked_sub(1);
            let lines = self.sources.get(&*fault.place.file);
            if let Some(line) = lines.zip(line).and_then(|(lines, n)| lines.get(n)) {
                fault.source_line.clone_from(line);
            }
        }
        faults.sort();
        faults.dedup();
        faults
    }

    fn add(&mut self, document: Document, reader: &mut Reader) {
        match document {
            Document::Baseline(one) => {
                let (id, at) = (one.id.clone(), one.at.clone());
                unique(reader, &mut self.baselines, "baseline", id, &at, one);
            }
            Document::Controls(several) => {
                for one in several {
                    let (id, at) = (one.id.clone(), one.at.clone());
                    unique(reader, &mut self.controls, "control", id, &at, one);
                }
            }
            Document::Facts(several) => {
                for one in several {
                    let (id, at) = (one.name.clone(), one.at.clone());
                    unique(reader, &mut self.facts, "record or collection", id, &at, one);
                }
            }
            Document::Profile(one) => {
                let (id, at) = (one.id.clone(), one.at.clone());
                unique(reader, &mut self.profiles, "profile", id, &at, one);
            }
            Document::Exception(one) => self.add_exception(one, reader),
            Document::Release(one) => {
                let (id, at) = (one.id.clone(), one.at.clone());
                unique(reader, &mut self.releases, "release agreement", id, &at, one);
            }
            Document::SyncScope(one) => {
                let (id, at) = (one.id.clone(), one.at.clone());
                unique(reader, &mut self.scopes, "sync scope", id, &at, one);
            }
            Document::PolicyTest(one) => {
                if let Some(first) = self.tests.iter().find(|t| t.name == one.name) {
                    let message = format!("a test named `{}` exists already, at {}", one.name, first.at);
                    reader.fault(Fault::new(&one.at, message));
                }
                self.tests.push(one);
            }
        }
    }

    fn add_exception(&mut self, one: Exception, reader: &mut Reader) {
        let overlapping = self.exceptions.iter().find(|e| {
            e.control == one.control
                && e.member == one.member
                && e.from < one.until
                && one.from < e.until
                && (e.objects.is_empty() || one.objects.is_empty() || e.objects == one.objects)
        });
        if let Some(other) = overlapping {
            let message = format!(
                "this exception for `{}` and {} overlaps the one at {}",
                one.control, one.member, other.at
            );
            reader.fault(Fault::new(&one.at, message).hint("let one end before the other begins"));
        }
        self.exceptions.push(one);
    }

    fn resolve_includes(&mut self, reader: &mut Reader) {
        for baseline in self.baselines.values_mut() {
            let folder = baseline.at.file.rsplit_once('/').map_or("", |(folder, _)| folder);
            for pattern in &baseline.include {
                let whole = if folder.is_empty() {
                    pattern.value.clone()
                } else {
                    format!("{folder}/{}", pattern.value)
                };
                let mut found: Vec<&Control> =
                    self.controls.values().filter(|c| glob(&whole, &c.at.file)).collect();
                if found.is_empty() && !self.sources.keys().any(|file| glob(&whole, file)) {
                    let message = format!("`{}` includes no file", pattern.value);
                    reader.fault(
                        Fault::absent(&pattern.at, message).hint("patterns are relative to this file"),
                    );
                }
                found.sort_by(|a, b| a.at.cmp(&b.at));
                for control in found {
                    if !baseline.controls.contains(&control.id) {
                        baseline.controls.push(control.id.clone());
                    }
                }
            }
            let nothing = baseline.controls.is_empty() && !baseline.include.is_empty();
            if nothing && baseline.stage > Stage::Draft && reader.faults.is_empty() {
                let message =
                    format!("the baseline `{}` has no control: it would open every gate", baseline.id);
                let fault = Fault::absent(&baseline.at, message);
                reader.fault(
                    fault.hint(
                        "write controls into the files that it includes, or leave it at `stage: draft`",
                    ),
                );
            }
        }
    }

    fn check_references(&self, reader: &mut Reader) {
        for profile in self.profiles.values() {
            self.check_profile(profile, reader);
        }
        for exception in &self.exceptions {
            if !self.controls.contains_key(&exception.control) {
                let fault =
                    Fault::absent(&exception.at, format!("there is no control `{}`", exception.control));
                reader.fault(fault.nearest(&exception.control, self.controls.keys().map(String::as_str)));
            }
            let control = self.controls.get(&exception.control);
            if control.is_some_and(|c| c.exceptions == Exceptions::Forbidden) {
                let message = format!("`{}` may not be set aside for any member", exception.control);
                let fault = Fault::new(&exception.at, message);
                reader.fault(fault.hint("the control says `exceptions: forbidden`"));
            }
        }
        for test in &self.tests {
            for name in test.verdicts.iter().map(|(name, _)| name).chain(&test.excepted) {
                known(reader, name, "control", &self.controls);
            }
            test.baseline.iter().for_each(|name| known(reader, name, "baseline", &self.baselines));
            test.profile.iter().for_each(|name| known(reader, name, "profile", &self.profiles));
            let tests = self.tests.iter().map(|t| t.name.as_str());
            if let Some(like) = test.like.as_ref().filter(|like| !tests.clone().any(|t| t == like.value)) {
                let fault = Fault::absent(&like.at, format!("there is no test named `{}`", like.value));
                reader.fault(fault.nearest(&like.value, tests));
            }
            if test.baseline.is_none() && test.profile.is_none() && self.baselines.len() > 1 {
                let fault = Fault::new(&test.at, "the test must say its `baseline`: the set has several");
                reader.fault(fault.hint("add `baseline:`"));
            }
        }
    }

    fn check_profile(&self, profile: &Profile, reader: &mut Reader) {
        known(reader, &profile.extends, "baseline", &self.baselines);
        let Some(baseline) = self.baselines.get(&profile.extends.value) else { return };
        for (name, node) in &profile.parameters {
            if !baseline.parameters.contains_key(name) {
                let message = format!("the baseline `{}` has no parameter `{name}`", baseline.id);
                let fault = Fault::new(&node.at, message);
                reader.fault(fault.nearest(name, baseline.parameters.keys().map(String::as_str)));
            }
        }
        for (id, change) in &profile.controls {
            let Some(control) = self.controls.get(id).filter(|_| baseline.controls.contains(id)) else {
                let fault = Fault::absent(
                    &change.at,
                    format!("the baseline `{}` has no control `{id}`", baseline.id),
                );
                reader.fault(fault.nearest(id, baseline.controls.iter().map(String::as_str)));
                continue;
            };
            if change.severity.is_some_and(|severity| severity < control.severity) {
                let message = format!("a profile may only raise a severity; `{id}` is {}", control.severity);
                reader.fault(Fault::new(&change.at, message).hint("grant an exception instead"));
            }
            if change.stage == Some(Stage::Draft) {
                let message = format!("a profile cannot take `{id}` out of the baseline");
                reader.fault(Fault::new(&change.at, message).hint("use `stage: warn` with `enforce_from`"));
            }
        }
    }
}

fn known<T>(reader: &mut Reader, name: &Placed<String>, what: &str, map: &BTreeMap<String, T>) {
    if !map.contains_key(&name.value) {
        let fault = Fault::absent(&name.at, format!("there is no {what} `{}`", name.value));
        reader.fault(fault.nearest(&name.value, map.keys().map(String::as_str)));
    }
}

fn unique<T: HasPlace>(
    reader: &mut Reader,
    map: &mut BTreeMap<String, T>,
    what: &str,
    id: String,
    at: &Place,
    value: T,
) {
    // that it has none was told already
    if id.is_empty() {
        return;
    }
    match map.entry(id) {
        Entry::Occupied(first) => {
            let message = format!("a {what} `{}` exists already, at {}", first.key(), first.get().place());
            reader.fault(Fault::new(at, message).hint("rename or remove one of them"));
        }
        Entry::Vacant(slot) => {
            slot.insert(value);
        }
    }
}

trait HasPlace {
    fn place(&self) -> &Place;
}

macro_rules! has_place {
    ($($kind:ty),*) => { $(impl HasPlace for $kind { fn place(&self) -> &Place { &self.at } })* };
}
has_place!(Baseline, Control, FactsDeclaration, Profile, Release, SyncScope);

/// Whether a path fits a pattern in which `*` stands for any part of one name and `**` for any path.
fn glob(pattern: &str, path: &str) -> bool {
    match (pattern.split_once('/'), path.split_once('/')) {
        (Some(("**", rest)), _) if glob(rest, path) => true,
        (Some(("**", _)), Some((_, below))) => glob(pattern, below),
        (Some((first, rest)), Some((folder, below))) => star(first, folder) && glob(rest, below),
        (None, None) => star(pattern, path),
        _ => false,
    }
}

fn star(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    name.strip_prefix(head).is_some_and(|rest| {
        rest.char_indices()
            .map(|(i, _)| i)
            .chain([rest.len()])
            .any(|i| rest.get(i..).is_some_and(|after| star(tail, after)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(glob("controls/*.yaml", "controls/tls.yaml"));
        assert!(!glob("controls/*.yaml", "controls/a/tls.yaml"));
        assert!(glob("controls/**/*.yaml", "controls/a/b/tls.yaml"));
        assert!(glob("controls/**/*.yaml", "controls/tls.yaml"));
        assert!(!glob("*.yaml", "tls.yml"));
    }
}
