//! `portcullis policy`: what officers write, checked, tested and explained.

mod diff;
mod explain;
mod impact;
mod test;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use crate::ambient::text::{harmless_json, printable};
use crate::baseline::catalogue::{Catalogue, Known, Origin};
use crate::baseline::compile::{self, Compiled};
use crate::baseline::editor;
use crate::baseline::trial;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::policy::documents::{Control, Exceptions, Requirement};
use crate::policy::fault::Fault;
use crate::policy::folder::read_folder;
use crate::policy::render::render;
use crate::policy::schema::schema;
use crate::policy::set::PolicySet;
use crate::release::agreement::Agreements;

/// Policies: check, test and look at them. PATH is a folder or a file; the configured policies when it is left out.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Report every fault of every file, with file, line, column and what to do.
    Check {
        path: Option<PathBuf>,
    },
    Test(test::Arguments),
    /// List the controls.
    List {
        path: Option<PathBuf>,
    },
    /// Show one control: what it requires, why, and how to fix it.
    Show {
        control: String,
        path: Option<PathBuf>,
    },
    /// List the facts that policies can use, with type and source.
    Facts {
        path: Option<PathBuf>,
    },
    /// Print the JSON Schema of policy documents, for editors.
    Schema {
        path: Option<PathBuf>,
    },
    Diff(diff::Arguments),
    Explain(explain::Arguments),
    Impact(impact::Arguments),
    /// Take white space at line ends away and end files with one line end.
    Fmt {
        path: Option<PathBuf>,
        /// Change nothing; answer no when a file would change.
        #[arg(long)]
        check: bool,
    },
}

/// Runs the command.
pub fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Check { path } => check(&folder(path, context)?, context),
        Command::Test(arguments) => test::run(arguments, context),
        Command::List { path } => list(&folder(path, context)?, context),
        Command::Show { control, path } => show(&control, &folder(path, context)?, context),
        // what probes find out is known without any policy
        Command::Facts { path: None } if !context.config_path().exists() => {
            let path = context.config_path().display();
            context.note(format!("there is no {path}: facts that policies declare are not among these"));
            facts(&PolicySet::default(), context)
        }
        Command::Facts { path } => match sound(&folder(path, context)?, context)? {
            Ok(set) => facts(&set, context),
            Err(answer) => Ok(answer),
        },
        Command::Schema { path } => print_schema(path, context),
        Command::Diff(arguments) => diff::run(arguments, context),
        Command::Explain(arguments) => explain::run(arguments, context),
        Command::Impact(arguments) => impact::run(&arguments, context),
        Command::Fmt { path, check } => format(&folder(path, context)?, check, context),
    }
}

fn folder(path: Option<PathBuf>, context: &Context) -> Result<PathBuf, Failure> {
    let path = match path {
        Some(path) => path,
        None => context.config()?.policies.clone(),
    };
    if path.exists() {
        Ok(path)
    } else {
        Err(Failure::could_not(format!("{} does not exist", path.display())))
    }
}

/// Every fault that any module finds in the documents.
pub fn all_faults(folder: &Path) -> (PolicySet, Vec<Fault>) {
    let (set, mut faults) = PolicySet::read(folder);
    faults.extend(compile::check(&set));
    faults.extend(trial::check(&set));
    faults.extend(Agreements::compile(set.releases.values()).err().unwrap_or_default());
    let faults = set.illustrated(faults);
    (set, faults)
}

/// The set, when it has no fault; else its faults are printed and the answer is no.
fn sound(folder: &Path, context: &Context) -> Result<Result<PolicySet, Answer>, Failure> {
    let (set, faults) = all_faults(folder);
    if faults.is_empty() {
        return Ok(Ok(set));
    }
    context.print_coloured(&json!({ "faults": faults }), |_| render(&faults, context.is_terminal()))?;
    Ok(Err(Answer::No))
}

#[derive(Serialize)]
struct Summary<'a> {
    hash: &'a str,
    baselines: usize,
    controls: usize,
    facts: usize,
    profiles: usize,
    exceptions: usize,
    releases: usize,
    sync_scopes: usize,
    tests: usize,
    faults: [Fault; 0],
}

fn check(folder: &Path, context: &Context) -> Result<Answer, Failure> {
    let set = match sound(folder, context)? {
        Ok(set) => set,
        Err(answer) => return Ok(answer),
    };
    let summary = Summary {
        hash: set.hash(),
        baselines: set.baselines.len(),
        controls: set.controls.len(),
        facts: set.facts.len(),
        profiles: set.profiles.len(),
        exceptions: set.exceptions.len(),
        releases: set.releases.len(),
        sync_scopes: set.scopes.len(),
        tests: set.tests.len(),
        faults: [],
    };
    context.print(&summary, |s| {
        format!(
            "no fault: {} controls in {} baseline(s), {} release agreements, {} sync scope(s), {} tests\nhash {}",
            s.controls, s.baselines, s.releases, s.sync_scopes, s.tests, s.hash
        )
    })?;
    Ok(Answer::Yes)
}

#[derive(Serialize)]
struct Line<'a> {
    control: &'a str,
    theme: &'a str,
    severity: &'a str,
    level: u8,
    title: &'a str,
    place: String,
}

fn line(control: &Control) -> Line<'_> {
    Line {
        control: &control.id,
        theme: &control.theme,
        severity: control.severity.as_str(),
        level: control.level,
        title: &control.title,
        place: control.at.to_string(),
    }
}

fn list(folder: &Path, context: &Context) -> Result<Answer, Failure> {
    let set = match sound(folder, context)? {
        Ok(set) => set,
        Err(answer) => return Ok(answer),
    };
    let mut controls: Vec<&Control> = set.controls.values().collect();
    controls.sort_by(|a, b| a.at.cmp(&b.at));
    let lines: Vec<Line<'_>> = controls.into_iter().map(line).collect();
    context.print(&lines, |lines| {
        let mut out = String::new();
        let mut theme = "";
        for line in lines {
            if line.theme != theme {
                theme = line.theme;
                out.push_str(&format!("{theme}\n"));
            }
            out.push_str(&format!("  {:<38} {:<8} {}\n", line.control, line.severity, printable(line.title)));
        }
        out
    })?;
    Ok(Answer::Yes)
}

/// The control, or a refusal that names the nearest.
pub fn control<'s>(set: &'s PolicySet, id: &str) -> Result<&'s Control, Failure> {
    set.controls.get(id).ok_or_else(|| {
        let fault =
            Fault::new(&crate::policy::fault::Place::nowhere(), format!("there is no control `{id}`"));
        let fault = fault.nearest(id, set.controls.keys().map(String::as_str));
        let hint = fault.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        Failure::refused(format!("{}{hint}", fault.message))
    })
}

fn show(id: &str, folder: &Path, context: &Context) -> Result<Answer, Failure> {
    let set = match sound(folder, context)? {
        Ok(set) => set,
        Err(answer) => return Ok(answer),
    };
    let control = control(&set, id)?;
    let ranges = control.for_each.as_ref().map(|c| c.value.as_str());
    let stated = stated(&set, &control.id);
    let exceptions = Exceptions::WORDS.iter().find(|(_, e)| *e == control.exceptions).map(|(word, _)| *word);
    let answer = json!({
        "control": control.id, "title": control.title, "theme": control.theme,
        "severity": control.severity, "level": control.level, "for_each": ranges,
        "counts": matches!(control.require, Requirement::Count(_)),
        "exceptions": exceptions, "why": control.why, "fix": control.fix, "references": control.references,
        "place": control.at.to_string(), "stated": stated,
    });
    context.print(&answer, |_| {
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
        let ranges = ranges.map(|r| format!(", for each of {r}")).unwrap_or_default();
        format!(
            "{} ({}{ranges})\n{}\n{rests}{never}\nWhy: {}\n\nFix:\n{}\nReferences: {}\nWritten at {}",
            control.id,
            control.severity,
            printable(&control.title),
            control.why,
            indent(&control.fix),
            references.join("; "),
            control.at
        )
    })?;
    Ok(Answer::Yes)
}

/// The attestations that a control rests on.
fn stated(set: &PolicySet, control: &str) -> Vec<String> {
    let compiled = set.baselines.keys().filter_map(|id| Compiled::compile(set, id, None).ok());
    let mut controls = compiled.flat_map(|baseline| baseline.controls);
    controls.find(|c| c.id == control).map(|c| c.stated.into_iter().collect()).unwrap_or_default()
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

#[derive(Serialize)]
struct FactLine {
    fact: String,
    kind: String,
    source: String,
    title: String,
}

fn fact_line(name: String, known: &Known) -> FactLine {
    let source = match &known.origin {
        Origin::Probe => "probe".to_owned(),
        Origin::Computed => "worked out".to_owned(),
        Origin::Attribute(attribute) => attribute.from.clone(),
        Origin::Attestation(_) => "attestation".to_owned(),
    };
    FactLine { fact: name, kind: known.kind.name(), source, title: known.title.clone() }
}

fn facts(set: &PolicySet, context: &Context) -> Result<Answer, Failure> {
    let catalogue = Catalogue::of(set);
    let records = catalogue.records.iter().map(|(name, known)| fact_line(name.clone(), known));
    let collections = catalogue.collections.iter().flat_map(|(name, facts)| {
        facts.iter().map(move |(short, known)| fact_line(format!("{name}[].{short}"), known))
    });
    let lines: Vec<FactLine> = records.chain(collections).collect();
    context.print(&lines, |lines| {
        lines
            .iter()
            .map(|l| {
                format!(
                    "{:<40} {:<24} {:<30} {}\n",
                    l.fact,
                    l.kind,
                    printable(&l.source),
                    printable(&l.title)
                )
            })
            .collect()
    })?;
    Ok(Answer::Yes)
}

fn print_schema(path: Option<PathBuf>, context: &Context) -> Result<Answer, Failure> {
    // without policies only the probes' facts are known, and others may be written
    let folder = match path {
        None if !context.config_path().exists() => None,
        path => Some(folder(path, context)?),
    };
    let set = folder.as_deref().map(|folder| PolicySet::read(folder).0);
    let complete = set.is_some();
    let facts = editor::facts(&Catalogue::of(&set.unwrap_or_default()));
    let text = serde_json::to_string_pretty(&schema(facts, complete)).map_err(Failure::could_not)?;
    context.line(harmless_json(&text))?;
    Ok(Answer::Yes)
}

fn format(folder: &Path, only_check: bool, context: &Context) -> Result<Answer, Failure> {
    let (sources, faults) = read_folder(folder);
    if !faults.is_empty() {
        context.print_coloured(&json!({ "faults": faults }), |_| render(&faults, context.is_terminal()))?;
        return Ok(Answer::No);
    }
    let mut changed = Vec::new();
    for source in sources {
        let lines: Vec<&str> = source.text.lines().map(str::trim_end).collect();
        let tidy = format!("{}\n", lines.join("\n").trim_end());
        if tidy == source.text {
            continue;
        }
        changed.push(source.name.to_string());
        if !only_check {
            let path = if folder.is_file() { folder.to_owned() } else { folder.join(&*source.name) };
            std::fs::write(&path, tidy).map_err(|error| {
                Failure::could_not(format!("{} cannot be written: {error}", path.display()))
            })?;
        }
    }
    let answer = if only_check && !changed.is_empty() { Answer::No } else { Answer::Yes };
    context.print(&json!({ "changed": changed }), |_| match changed.as_slice() {
        [] => "nothing to tidy".to_owned(),
        names => names.join("\n"),
    })?;
    Ok(answer)
}
