//! `portcullis policy`: what officers write, checked, tested, explained, signed and put in force.

mod activate;
mod bundle;
mod diff;
mod explain;
mod impact;
mod show;
mod test;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use crate::ambient::text::{harmless_json, printable};
use crate::app::in_force::{self, Taken};
use crate::baseline::catalogue::{Catalogue, Known, Origin};
use crate::baseline::editor;
use crate::baseline::trial;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::output::replace;
use crate::policy::documents::Control;
use crate::policy::fault::Fault;
use crate::policy::folder::{is_bundle, read_folder};
use crate::policy::format::tidy;
use crate::policy::render::render;
use crate::policy::schema::schema;
use crate::policy::set::PolicySet;

/// What `portcullis policy --help` teaches.
pub const WAY: &str = "\
Policies: check, test, sign and activate them, and look at them. PATH is a folder, a file, or a bundle (*.json).

When PATH is left out, `check`, `test`, `schema` and `fmt` take the folder of the configuration, all others the set that counts for the
gateway: the activated one, else that folder. The way of a change, from folder to gateway:

    portcullis policy check policies
    portcullis policy test policies
    portcullis policy impact policies
    portcullis policy bundle policies --out change.json

Officers look at what they sign, and sign it, each with a key of their own (portcullis policy key FILE, once):

    portcullis policy impact change.json
    portcullis policy sign change.json --key ada.key --officer \"Ada Obi\"
    portcullis policy verify change.json

A running gateway takes it within seconds; what was in force before can be put back:

    portcullis policy activate change.json --reason \"TLS 1.3 from today\"
    portcullis policy rollback --reason \"two trusts lost their gates\"";

/// What exit codes mean, command by command: scripts go by them.
mod codes {
    pub const CHECK: &str = "Exit code 0: no fault; 1: faults; 2: it could not be read, or wrong usage.";
    pub const TEST: &str = "Exit code 0: every test holds; 1: one does not, or the set has faults; 2: it could not be read, or wrong usage.";
    pub const IMPACT: &str = "\
Exit code 0: no member would lose a grant; 1: one would, at once or when a grace ends, or the new set has faults; 2: it cannot be told: a
member could not be judged, or there is no evidence that counts; or wrong usage.";
    pub const DIFF: &str = "Exit code 0: nothing differs; 1: something does; 2: a set has faults or could not be read, or wrong usage.";
    pub const EXPLAIN: &str = "\
Exit code 0: it passes, does not apply or is set aside; 1: it fails, or there is no such member, control or record; 2: it could not be told,
or there is no evidence, or wrong usage.";
    pub const ACTIVATE: &str = "\
Exit code 0: it is activated; 1: refused, because it has faults, a test does not hold or too few have signed; 2: it could not be done, or
wrong usage.";
    pub const VERIFY: &str = "\
Exit code 0: enough signatures hold; 1: too few, or the set has faults; 2: the configuration asks for none, or it could not be read, or wrong
usage.";
}

/// Policies.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Report every fault of every file, with file, line, column and what to do.
    #[command(after_help = codes::CHECK)]
    Check {
        path: Option<PathBuf>,
    },
    #[command(after_help = codes::TEST)]
    Test(test::Arguments),
    /// List the controls, with the stage at which each is and the day from which it decides.
    List {
        path: Option<PathBuf>,
    },
    /// Show one control: what it requires as it is written, its parameters, from when it decides, why, and how to fix it.
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
    #[command(after_help = codes::DIFF)]
    Diff(diff::Arguments),
    #[command(after_help = codes::EXPLAIN)]
    Explain(explain::Arguments),
    #[command(after_help = codes::IMPACT)]
    Impact(impact::Arguments),
    Bundle(bundle::Arguments),
    Key(bundle::Key),
    Sign(bundle::Sign),
    #[command(after_help = codes::VERIFY)]
    Verify(bundle::Verify),
    #[command(after_help = codes::ACTIVATE)]
    Activate(activate::Activate),
    Rollback(activate::Rollback),
    Deactivate(activate::Deactivate),
    /// Say which set counts for the gateway, where it comes from, who put it in force and why, and whether its signatures are enough. The
    /// answer is no when something keeps it from being in force: a gateway that runs keeps the last good set then.
    Active,
    /// List every set that was activated, newest first.
    History,
    /// Bring policy files into shape: two spaces, one blank line, double quotes, white space at line ends gone, long lists on lines of their
    /// own. Comments and order stay; a file that would not say the same any more is left as it is, and told.
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
        Command::Check { path } => check(in_force::at(written(path, context)?, None), context),
        Command::Test(arguments) => test::run(arguments, context),
        Command::List { path } => show::list(look(path, context)?, context),
        Command::Show { control, path } => show::show(&control, look(path, context)?, context),
        // what probes find out is known without any policy
        Command::Facts { path: None } if !context.config_path().exists() => {
            let path = context.config_path().display();
            context.note(format!("there is no {path}: facts that policies declare are not among these"));
            facts(&PolicySet::default(), context)
        }
        Command::Facts { path } => match sound(look(path, context)?, context)? {
            Ok(taken) => facts(&taken.set, context),
            Err(answer) => Ok(answer),
        },
        Command::Schema { path } => print_schema(path, context),
        Command::Diff(arguments) => diff::run(arguments, context),
        Command::Explain(arguments) => explain::run(arguments, context),
        Command::Impact(arguments) => impact::run(&arguments, context),
        Command::Bundle(arguments) => bundle::run(arguments, context),
        Command::Key(arguments) => bundle::key(&arguments, context),
        Command::Sign(arguments) => bundle::sign(arguments, context),
        Command::Verify(arguments) => bundle::verify(arguments, context),
        Command::Activate(arguments) => activate::activate(&arguments, context),
        Command::Rollback(arguments) => activate::rollback(&arguments, context),
        Command::Deactivate(arguments) => activate::deactivate(&arguments, context),
        Command::Active => activate::active(context),
        Command::History => activate::history(context),
        Command::Fmt { path, check } => format(&folder(path, context)?, check, context),
    }
}

/// The path that was named, or the configured one.
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

/// The set at a path, or the one that counts for the gateway.
fn look(path: Option<PathBuf>, context: &Context) -> Result<Taken, Failure> {
    match path {
        Some(path) => Ok(in_force::at(folder(Some(path), context)?, None)),
        None => context.taken(),
    }
}

/// What is written at a path or in the configured folder, whatever counts for the gateway.
fn written(path: Option<PathBuf>, context: &Context) -> Result<PathBuf, Failure> {
    if path.is_none()
        && let Ok(taken) = context.taken()
        && matches!(taken.origin, in_force::Origin::Activated { .. })
    {
        let folder = context.config()?.policies.display();
        context.note(format!("{} counts for the gateway; this is about the folder {folder}", taken.origin));
    }
    folder(path, context)
}

/// Every fault that any module finds in the documents.
pub fn all_faults(folder: &Path) -> (PolicySet, Vec<Fault>) {
    let taken = checked(in_force::at(folder.to_owned(), None));
    (taken.set, taken.faults)
}

/// The set with the faults of its tests, which no gateway asks for.
fn checked(mut taken: Taken) -> Taken {
    taken.faults.extend(trial::check(&taken.set));
    taken.faults = taken.set.illustrated(taken.faults);
    taken
}

/// The set, when it has no fault; else its faults are printed and the answer is no.
fn sound(taken: Taken, context: &Context) -> Result<Result<Taken, Answer>, Failure> {
    let taken = checked(taken);
    if taken.faults.is_empty() {
        return Ok(Ok(taken));
    }
    let faults = &taken.faults;
    context.print_coloured(&json!({ "faults": faults }), |_| render(faults, context.is_terminal()))?;
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

fn check(taken: Taken, context: &Context) -> Result<Answer, Failure> {
    let set = match sound(taken, context)? {
        Ok(taken) => taken.set,
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

/// A set without a fault whose tests hold, as it must be before it is given to others; else what is wrong is printed and the answer is no.
fn proven(taken: Taken, context: &Context) -> Result<Result<Taken, Answer>, Failure> {
    let taken = match sound(taken, context)? {
        Ok(taken) => taken,
        Err(answer) => return Ok(Err(answer)),
    };
    match test::tried(&taken) {
        Ok(trial) if trial.holds() => {
            let skipped = trial.outcomes.iter().filter(|outcome| outcome.skipped.is_some()).count();
            if skipped > 0 {
                context.note(format!(
                    "{skipped} tests start from recorded evidence, which is no part of a set: `portcullis policy test` on the folder runs them"
                ));
            }
            Ok(Ok(taken))
        }
        Ok(trial) => {
            context.print(&trial, |trial| test::text(trial, false))?;
            Ok(Err(Answer::No))
        }
        Err(faults) => {
            context
                .print_coloured(&json!({ "faults": faults }), |_| render(&faults, context.is_terminal()))?;
            Ok(Err(Answer::No))
        }
    }
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
    if is_bundle(folder) {
        return Err(Failure::refused("a bundle stays as it was made: tidy the folder, and bundle it anew"));
    }
    let (sources, faults) = read_folder(folder);
    if !faults.is_empty() {
        context.print_coloured(&json!({ "faults": faults }), |_| render(&faults, context.is_terminal()))?;
        return Ok(Answer::No);
    }
    let (mut changed, mut faults) = (Vec::new(), Vec::new());
    for source in sources {
        let tidy = match tidy(&source) {
            Ok(tidy) if tidy == source.text => continue,
            Ok(tidy) => tidy,
            Err(found) => {
                faults.extend(found);
                continue;
            }
        };
        changed.push(source.name.to_string());
        if !only_check {
            let path = if folder.is_file() { folder.to_owned() } else { folder.join(&*source.name) };
            replace(&path, |out| out.write_all(tidy.as_bytes()))?;
        }
    }
    let done = faults.is_empty() && (changed.is_empty() || !only_check);
    let answer = if done { Answer::Yes } else { Answer::No };
    context.print_coloured(&json!({ "changed": changed, "faults": faults }), |_| {
        let files = if changed.is_empty() { "nothing to tidy".to_owned() } else { changed.join("\n") };
        if faults.is_empty() { files } else { format!("{files}\n{}", render(&faults, context.is_terminal())) }
    })?;
    Ok(answer)
}
