//! `portcullis programme`: which organisations there are, and where each stands on its way to federation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use crate::ambient::sheet::{Fault, harmless};
use crate::baseline::assessment::Assessment;
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::input;
use crate::cli::table::{day, moment, table};
use crate::enrol::programme::{self, Facts, Place, Wave};
use crate::policy::terms::{Grant, OdsCode};
use crate::store::member::Member;
use crate::store::organisation::Organisation;
use crate::store::port::Store;
use crate::store::record::GateRecord;
use crate::sync::hand::register::run::{REGISTERED, Registered};
use crate::sync::running::report::Report;
use crate::sync::running::run::LAST_REPORT;

/// The options, and the commands of the group.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Programme {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

/// What is listed.
#[derive(Debug, Args)]
pub struct List {
    /// Only organisations of this wave.
    #[arg(long)]
    wave: Option<u32>,
    /// Only organisations that should be there by now and are not.
    #[arg(long)]
    late: bool,
    /// As CSV, a line per organisation.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take organisations from a table (CSV, UTF-8, commas) into the programme.
    ///
    /// Columns: ods, name, kind (`large` or `practice`); and wave (a number), planned (YYYY-MM-DD), mail_domains (with blanks between),
    /// status (`open` or `closed`), successor (the code of who takes over from a closed one; not in a circle). A column that is not there
    /// leaves what is kept; an empty cell empties it; an organisation that is not in the table stays as it is.
    ///
    /// A table with a fault changes nothing, and every fault is told with its line. The same table again changes nothing.
    Import { file: PathBuf },
    /// Show where one organisation stands.
    Show { organisation: OdsCode },
}

/// Runs the command.
pub fn run(command: &Programme, context: &Context) -> Result<Answer, Failure> {
    match &command.command {
        Some(Command::Import { file }) => import(file, context),
        Some(Command::Show { organisation }) => show(organisation, context),
        None => list(&command.list, context),
    }
}

/// What an import came to.
#[derive(Debug, Serialize)]
struct Imported {
    new: u64,
    changed: u64,
    same: u64,
    /// Any: then nothing was changed.
    faults: Vec<Fault>,
    /// What the changes bring that whoever sent the table may not have meant.
    notes: Vec<String>,
}

fn import(file: &Path, context: &Context) -> Result<Answer, Failure> {
    let limits = &context.config()?.tables;
    let bytes = input::table(file, limits.bytes)?;
    let store = context.store()?;
    let kept = store.organisations().map_err(Failure::could_not)?;
    let kept: BTreeMap<OdsCode, Organisation> = kept.into_iter().map(|one| (one.ods.clone(), one)).collect();
    let members = store.members().map_err(Failure::could_not)?;
    let imported = match programme::read(&bytes, limits, &kept, &members, context.clock.now()) {
        Err(faults) => Imported { new: 0, changed: 0, same: 0, faults, notes: Vec::new() },
        Ok(import) => {
            let changed = import.changed.len() as u64 - import.new;
            let detail = json!({"new": import.new, "changed": changed, "same": import.same});
            if !import.changed.is_empty() {
                let audit = context.audit("programme.import", None, detail);
                store.put_organisations(&import.changed, &audit).map_err(Failure::could_not)?;
            }
            let notes = without_domains(store.as_ref(), &kept, &import.changed)?;
            Imported { new: import.new, changed, same: import.same, faults: Vec::new(), notes }
        }
    };
    context.print(&imported, |imported| {
        if imported.faults.is_empty() {
            let Imported { new, changed, same, .. } = imported;
            let notes: String = imported.notes.iter().map(|note| format!("\nnote: {note}")).collect();
            return format!("{new} new, {changed} changed, {same} as they were{notes}");
        }
        let mut out = String::new();
        for fault in &imported.faults {
            let column = fault.column.as_deref().map(|column| format!(" {column}")).unwrap_or_default();
            out.push_str(&format!("line {}{column}: {}\n", fault.line, fault.text));
        }
        out + "nothing was changed: mend the table and give it again"
    })?;
    Ok(if imported.faults.is_empty() { Answer::Yes } else { Answer::No })
}

/// Organisations that lose all of their mail domains while people of theirs are published.
fn without_domains(
    store: &dyn Store,
    kept: &BTreeMap<OdsCode, Organisation>,
    changed: &[Organisation],
) -> Result<Vec<String>, Failure> {
    let mut notes = Vec::new();
    for one in changed.iter().filter(|one| one.mail_domains.is_empty()) {
        let had = kept.get(&one.ods).is_some_and(|before| !before.mail_domains.is_empty());
        let report = store.sync_value(&one.ods, LAST_REPORT).map_err(Failure::could_not)?.filter(|_| had);
        let report = report.and_then(|bytes| serde_json::from_slice::<Report>(&bytes).ok());
        if let Some(published) = report.map(|report| report.published).filter(|people| *people > 0) {
            notes.push(format!(
                "{} has no mail domain any more, and entries of it are published ({published}): their mails stay as they are, and rows \
                 with a mail are refused",
                one.ods
            ));
        }
    }
    Ok(notes)
}

/// What of an organisation lies in the store.
struct Kept<'a> {
    store: &'a dyn Store,
    members: BTreeMap<OdsCode, Member>,
    organisations: BTreeMap<OdsCode, Organisation>,
    gates: Vec<GateRecord>,
}

impl<'a> Kept<'a> {
    fn read(store: &'a dyn Store) -> Result<Kept<'a>, Failure> {
        let members = store.members().map_err(Failure::could_not)?;
        let organisations = store.organisations().map_err(Failure::could_not)?;
        Ok(Kept {
            store,
            members: members.into_iter().map(|one| (one.ods.clone(), one)).collect(),
            organisations: organisations.into_iter().map(|one| (one.ods.clone(), one)).collect(),
            gates: store.gates().map_err(Failure::could_not)?,
        })
    }

    fn codes(&self) -> BTreeSet<&OdsCode> {
        self.members.keys().chain(self.organisations.keys()).collect()
    }

    fn place(&self, ods: &OdsCode, context: &Context) -> Result<Option<Place>, Failure> {
        let latest = self.store.recent_assessments(ods, 1).map_err(Failure::could_not)?;
        let assessment: Option<Assessment> = match latest.first() {
            Some(record) => Some(serde_json::from_slice(&record.document).map_err(|error| {
                Failure::could_not(format!("assessment {} of {ods} cannot be read: {error}", record.id))
            })?),
            None => None,
        };
        let value = |key| self.store.sync_value(ods, key).map_err(Failure::could_not);
        let registered =
            value(REGISTERED)?.and_then(|bytes| serde_json::from_slice::<Registered>(&bytes).ok());
        let report = value(LAST_REPORT)?.and_then(|bytes| serde_json::from_slice::<Report>(&bytes).ok());
        let facts = Facts {
            organisation: self.organisations.get(ods),
            member: self.members.get(ods),
            gates: &self.gates,
            assessment: assessment.as_ref(),
            registered: registered.map(|one| (one.people, one.since)),
            published: report.map(|report| report.published),
        };
        Ok(programme::place(&facts, context.clock.now().date()))
    }
}

/// What the list answers.
#[derive(Debug, Serialize)]
struct Page {
    waves: Vec<Wave>,
    organisations: Vec<Place>,
}

fn list(list: &List, context: &Context) -> Result<Answer, Failure> {
    let kept = Kept::read(context.store()?.as_ref())?;
    let mut organisations = Vec::new();
    for ods in kept.codes() {
        organisations.extend(kept.place(ods, context)?);
    }
    organisations.retain(|place| list.wave.is_none() || place.wave == list.wave);
    organisations.retain(|place| !list.late || place.late);
    organisations.sort_by(|a, b| (a.wave.is_none(), a.wave, &a.ods).cmp(&(b.wave.is_none(), b.wave, &b.ods)));
    if list.csv {
        context.coloured(csv(&organisations)?.trim_end())?;
        return Ok(Answer::Yes);
    }
    let page = Page { waves: programme::waves(&organisations), organisations };
    context.print(&page, text)?;
    Ok(Answer::Yes)
}

fn show(ods: &OdsCode, context: &Context) -> Result<Answer, Failure> {
    let kept = Kept::read(context.store()?.as_ref())?;
    let place = kept.place(ods, context)?.ok_or_else(|| {
        Failure::refused(format!(
            "{ods} is neither in the programme nor a member: `portcullis programme` lists all"
        ))
    })?;
    context.print(&place, one)?;
    Ok(Answer::Yes)
}

fn text(page: &Page) -> String {
    if page.organisations.is_empty() {
        return "no organisations; `portcullis programme import FILE` brings them".to_owned();
    }
    let rows: Vec<[String; 9]> = page.organisations.iter().map(row).collect();
    let waves: Vec<[String; 7]> = page.waves.iter().map(wave).collect();
    let below = table(["wave", "organisations", "there", "late", "closed", "published", "standing"], &waves);
    let heading =
        ["wave", "organisation", "name", "standing", "since", "open", "gates", "published", "planned"];
    format!("{}\n{below}", table(heading, &rows))
}

fn number<T: ToString>(number: Option<T>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn planned(place: &Place) -> String {
    number(place.planned) + if place.late { " LATE" } else { "" }
}

fn standing(place: &Place) -> String {
    let closed = place.status == Some(crate::store::organisation::Status::Closed);
    let word = match place.registered.filter(|people| *people > 0) {
        Some(people) => format!("{}, {people} people by file", place.standing.as_str()),
        None => place.standing.as_str().to_owned(),
    };
    if closed { format!("{word}, closed") } else { word }
}

fn gates(place: &Place) -> String {
    let open: Vec<&str> =
        place.gates.iter().filter(|(_, state)| *state != "closed").map(|(grant, _)| grant.as_str()).collect();
    match () {
        () if place.gates.is_empty() => "-".to_owned(),
        () if open.is_empty() => "closed".to_owned(),
        () => open.join(" "),
    }
}

fn row(place: &Place) -> [String; 9] {
    let open = match (place.open_critical, place.open_high) {
        (Some(critical), Some(high)) => format!("{critical} critical {high} high"),
        _ => "-".to_owned(),
    };
    [
        number(place.wave),
        place.ods.to_string(),
        place.name.clone(),
        standing(place),
        number(place.since.map(day)),
        open,
        gates(place),
        number(place.published),
        planned(place),
    ]
}

fn wave(wave: &Wave) -> [String; 7] {
    let standings: Vec<String> =
        wave.standings.iter().map(|(standing, count)| format!("{count} {}", standing.as_str())).collect();
    [
        number(wave.wave),
        wave.organisations.to_string(),
        wave.there.to_string(),
        wave.late.to_string(),
        wave.closed.to_string(),
        wave.published.to_string(),
        standings.join(", "),
    ]
}

fn one(place: &Place) -> String {
    let mut lines = vec![
        format!("{}  {}", place.ods, place.name),
        format!("standing   {} since {}", standing(place), number(place.since.map(moment))),
        format!("kind       {}", number(place.kind)),
        format!("status     {}", number(place.status)),
        format!("wave       {}", number(place.wave)),
        format!("planned    {}", planned(place)),
    ];
    if let Some(successor) = &place.successor {
        lines.push(format!("successor  {successor}"));
    }
    lines.push(match (place.assessed_at, place.open_critical, place.open_high) {
        (Some(at), Some(critical), Some(high)) => {
            format!("assessed   {}: {critical} critical and {high} high controls open", moment(at))
        }
        _ => "assessed   never".to_owned(),
    });
    for (grant, state) in &place.gates {
        lines.push(format!("gate       {grant} {state}"));
    }
    lines.push(format!("published  {}", number(place.published)));
    lines.join("\n")
}

fn csv(places: &[Place]) -> Result<String, Failure> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer
        .write_record([
            "wave",
            "ods",
            "name",
            "kind",
            "status",
            "standing",
            "since",
            "planned",
            "late",
            "registered",
            "published",
            "open_critical",
            "open_high",
            "lookup",
            "sync",
        ])
        .map_err(Failure::could_not)?;
    let told = |value: Option<String>| value.unwrap_or_default();
    for place in places {
        let gate = |grant: Grant| told(place.gates.get(&grant).cloned());
        let cells = [
            told(place.wave.map(|wave| wave.to_string())),
            place.ods.to_string(),
            harmless(&place.name),
            told(place.kind.map(|kind| kind.to_string())),
            told(place.status.map(|status| status.to_string())),
            place.standing.as_str().to_owned(),
            told(place.since.map(day)),
            told(place.planned.map(|day| day.to_string())),
            if place.late { "yes" } else { "no" }.to_owned(),
            told(place.registered.map(|people| people.to_string())),
            told(place.published.map(|entries| entries.to_string())),
            told(place.open_critical.map(|count| count.to_string())),
            told(place.open_high.map(|count| count.to_string())),
            gate(Grant::Lookup),
            gate(Grant::Sync),
        ];
        writer.write_record(&cells).map_err(Failure::could_not)?;
    }
    let bytes = writer.into_inner().map_err(Failure::could_not)?;
    String::from_utf8(bytes).map_err(Failure::could_not)
}
