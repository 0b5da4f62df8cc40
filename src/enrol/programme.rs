//! The programme: which organisations there are, and where each stands on its way to federation.
//!
//! Everything here is pure: a table and what is kept in, organisations or every fault out; what is known of an organisation in, its
//! place out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use time::{Date, OffsetDateTime};

use crate::ambient::sheet::{Columns, Fault, Row, Settings, Sheet, formula};
use crate::baseline::assessment::{Assessment, Verdict};
use crate::policy::terms::{Grant, Membership, OdsCode, Severity, Target};
use crate::store::member::Member;
use crate::store::organisation::{Kind, Organisation, Status};
use crate::store::record::GateRecord;

/// The columns of the programme's table.
pub const COLUMNS: Columns = Columns {
    known: &["ods", "name", "kind", "wave", "planned", "mail_domains", "status", "successor"],
    required: &["ods", "name", "kind"],
    ours: &[],
};

/// What a table comes to beside what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Those that are new or not as they were, by code.
    pub changed: Vec<Organisation>,
    pub new: u64,
    pub same: u64,
}

/// Reads the programme's table. A column that is not there leaves what is kept; an empty cell empties it.
///
/// # Errors
/// Every fault of every row: a table with faults changes nothing.
pub fn read(
    bytes: &[u8],
    limits: &Settings,
    kept: &BTreeMap<OdsCode, Organisation>,
    members: &[Member],
    now: OffsetDateTime,
) -> Result<Import, Vec<Fault>> {
    let sheet = Sheet::open(bytes, COLUMNS, limits)?;
    let mut faults = Vec::new();
    let mut found: BTreeMap<OdsCode, (u64, Organisation)> = BTreeMap::new();
    for mut row in sheet.rows() {
        let broken = !row.faults.is_empty();
        faults.append(&mut row.faults);
        if broken {
            continue;
        }
        match organisation(&row, kept, now) {
            Err(more) => faults.extend(more),
            Ok(one) => match found.get(&one.ods) {
                Some((line, _)) => {
                    let text = format!("is in line {line} already: leave one");
                    faults.push(Fault::cell(row.line, "ods", text));
                }
                None => _ = found.insert(one.ods.clone(), (row.line, one)),
            },
        }
    }
    for (line, one) in found.values() {
        faults.extend(beside_others(*line, one, &found, kept, members));
    }
    if !faults.is_empty() {
        faults.sort_by_key(|fault| fault.line);
        return Err(faults);
    }
    let all = found.len() as u64;
    let new = found.keys().filter(|ods| !kept.contains_key(ods)).count() as u64;
    let changed: Vec<Organisation> =
        found.into_values().map(|(_, one)| one).filter(|one| kept.get(&one.ods) != Some(one)).collect();
    Ok(Import { new, same: all - changed.len() as u64, changed })
}

fn organisation(
    row: &Row,
    kept: &BTreeMap<OdsCode, Organisation>,
    now: OffsetDateTime,
) -> Result<Organisation, Vec<Fault>> {
    let mut faults = Vec::new();
    for column in COLUMNS.required {
        if row.value(column).is_none() {
            faults.push(Fault::cell(row.line, column, "is empty: fill it in"));
        }
    }
    if let Some(sign) = row.value("name").and_then(formula) {
        let text = format!("begins with `{sign}`: a spreadsheet would take it for a formula");
        faults.push(Fault::cell(row.line, "name", text));
    }
    let ods: Option<OdsCode> = parsed(row, "ods", &mut faults);
    let before = ods.as_ref().and_then(|ods| kept.get(ods));
    let kind: Option<Kind> = parsed(row, "kind", &mut faults);
    let wave = given(row, "wave", before.and_then(|one| one.wave), &mut faults, |text| {
        text.parse::<u32>().ok().filter(|wave| *wave > 0).ok_or("is no number of a wave: write 1, 2, ...")
    });
    let planned = given(row, "planned", before.and_then(|one| one.planned), &mut faults, |text| {
        Date::parse(text, time::macros::format_description!("[year]-[month]-[day]"))
            .map_err(|_| "is not a day: write YYYY-MM-DD")
    });
    let status = given(row, "status", before.map(|one| one.status), &mut faults, |text| {
        text.parse::<Status>().map_err(|_| "must be `open` or `closed`")
    });
    let successor =
        given(row, "successor", before.and_then(|one| one.successor.clone()), &mut faults, |text| {
            text.parse::<OdsCode>().map_err(|_| "is not an ODS code")
        });
    let domains = before.map(|one| one.mail_domains.clone()).unwrap_or_default();
    let mail_domains = domains_of(row, domains, &mut faults);
    match (ods, kind) {
        (Some(ods), Some(kind)) if faults.is_empty() => Ok(Organisation {
            since: before.map_or(now, |one| one.since),
            ods,
            name: row.value("name").unwrap_or_default().to_owned(),
            kind,
            wave,
            planned,
            mail_domains,
            status: status.unwrap_or(Status::Open),
            successor,
        }),
        _ => Err(faults),
    }
}

fn parsed<T: std::str::FromStr<Err: ToString>>(
    row: &Row,
    column: &str,
    faults: &mut Vec<Fault>,
) -> Option<T> {
    let value = row.value(column)?;
    match value.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            faults.push(Fault::cell(row.line, column, error.to_string()));
            None
        }
    }
}

fn given<T>(
    row: &Row,
    column: &str,
    before: Option<T>,
    faults: &mut Vec<Fault>,
    read: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Option<T> {
    if !row.cells.contains_key(column) {
        return before;
    }
    match read(row.value(column)?) {
        Ok(value) => Some(value),
        Err(text) => {
            faults.push(Fault::cell(row.line, column, text));
            None
        }
    }
}

fn domains_of(row: &Row, before: BTreeSet<String>, faults: &mut Vec<Fault>) -> BTreeSet<String> {
    let Some(cell) = row.cells.get("mail_domains") else { return before };
    let domains: BTreeSet<String> =
        cell.split([' ', ';']).filter(|part| !part.is_empty()).map(str::to_ascii_lowercase).collect();
    if let Some(wrong) = domains.iter().find(|domain| !is_domain(domain)) {
        let text = format!(
            "`{wrong}` is no mail domain: write for example `surgery.nhs.uk`, several with blanks between"
        );
        faults.push(Fault::cell(row.line, "mail_domains", text));
    }
    domains
}

/// Whether it is a mail domain: labels of letters, digits and hyphens (RFC 5321 section 4.1.2), two or more.
pub fn is_domain(text: &str) -> bool {
    let good = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(good)
}

fn beside_others(
    line: u64,
    one: &Organisation,
    found: &BTreeMap<OdsCode, (u64, Organisation)>,
    kept: &BTreeMap<OdsCode, Organisation>,
    members: &[Member],
) -> Vec<Fault> {
    let mut faults = Vec::new();
    if one.ods.as_str().eq_ignore_ascii_case(Target::National.unit()) {
        faults.push(Fault::cell(line, "ods", "is the name of the national directory"));
    }
    if let Some(successor) = &one.successor {
        let known = found.contains_key(successor) || kept.contains_key(successor);
        let text = match () {
            () if one.status == Status::Open => Some("only a closed organisation has a successor"),
            () if *successor == one.ods => Some("an organisation does not follow itself"),
            () if !known => Some("is neither in this file nor in the programme: add it"),
            () => None,
        };
        let text = text.map(str::to_owned).or_else(|| circle(one, found, kept));
        faults.extend(text.map(|text| Fault::cell(line, "successor", text)));
    }
    for domain in &one.mail_domains {
        let owner = members.iter().find(|member| {
            member.ods != one.ods && member.state != Membership::Left && member.mail_domains.contains(domain)
        });
        if let Some(owner) = owner {
            let text = format!("{domain} belongs to the member {}: take it out", owner.ods);
            faults.push(Fault::cell(line, "mail_domains", text));
        }
    }
    faults
}

/// A circle of closed organisations: nobody takes over, and every one sends people on to the next.
fn circle(
    one: &Organisation,
    found: &BTreeMap<OdsCode, (u64, Organisation)>,
    kept: &BTreeMap<OdsCode, Organisation>,
) -> Option<String> {
    let mut way = vec![&one.ods];
    let mut next = one.successor.as_ref()?;
    while *next != one.ods {
        // another circle further on is told at its own rows
        if way.contains(&next) {
            return None;
        }
        way.push(next);
        let follows = found.get(next).map(|(_, one)| one).or_else(|| kept.get(next));
        next = follows.filter(|one| one.status == Status::Closed)?.successor.as_ref()?;
    }
    let way: Vec<&str> = way.into_iter().chain([next]).map(OdsCode::as_str).collect();
    Some(format!(
        "{} is a circle of closed organisations: name one that is open, or none",
        way.join(" is followed by ")
    ))
}

/// Where an organisation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    NotBegun,
    Requested,
    Checked,
    Approved,
    Piloting,
    Federated,
    /// Its people are registered by file.
    Registered,
    Suspended,
    Leaving,
    Left,
}

impl Standing {
    /// As files and messages write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Standing::NotBegun => "not begun",
            Standing::Requested => "requested",
            Standing::Checked => "checked",
            Standing::Approved => "approved",
            Standing::Piloting => "piloting",
            Standing::Federated => "federated",
            Standing::Registered => "registered",
            Standing::Suspended => "suspended",
            Standing::Leaving => "leaving",
            Standing::Left => "left",
        }
    }

    /// Whether its people are in the national directory as planned.
    pub const fn is_there(self) -> bool {
        matches!(self, Standing::Federated | Standing::Registered)
    }

    fn of(state: Membership) -> Standing {
        match state {
            Membership::Requested => Standing::Requested,
            Membership::Checked => Standing::Checked,
            Membership::Approved => Standing::Approved,
            Membership::Piloting => Standing::Piloting,
            Membership::Federated => Standing::Federated,
            Membership::Suspended => Standing::Suspended,
            Membership::Leaving => Standing::Leaving,
            Membership::Left => Standing::Left,
        }
    }
}

/// Everything known of one organisation; it is in the programme, a member, or both.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    pub organisation: Option<&'a Organisation>,
    pub member: Option<&'a Member>,
    /// Of any members.
    pub gates: &'a [GateRecord],
    /// The latest.
    pub assessment: Option<&'a Assessment>,
    /// How many people are registered by file, and since when there are any.
    pub registered: Option<(u64, OffsetDateTime)>,
    /// Entries published at the last run.
    pub published: Option<u64>,
}

/// An organisation on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    pub ods: OdsCode,
    pub name: String,
    pub kind: Option<Kind>,
    pub wave: Option<u32>,
    #[serde(serialize_with = "crate::store::organisation::day::serialize")]
    pub planned: Option<Date>,
    /// It should be there by now, and is not.
    pub late: bool,
    pub status: Option<Status>,
    pub successor: Option<OdsCode>,
    pub standing: Standing,
    /// Since when, in UTC.
    #[serde(with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
    /// People registered by file.
    pub registered: Option<u64>,
    /// Entries published at the last run; none: there was no run.
    pub published: Option<u64>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub assessed_at: Option<OffsetDateTime>,
    /// Controls of this severity that fail or could not be told; none: never assessed.
    pub open_critical: Option<u64>,
    pub open_high: Option<u64>,
    /// As recorded; a gate that was never decided is closed.
    pub gates: BTreeMap<Grant, String>,
}

/// Where it stands on `today`; none when nothing is known of it.
pub fn place(facts: &Facts<'_>, today: Date) -> Option<Place> {
    let (organisation, member) = (facts.organisation, facts.member);
    let ods = organisation.map(|one| &one.ods).or_else(|| member.map(|one| &one.ods))?.clone();
    let registered = facts.registered.filter(|(people, _)| *people > 0);
    let (standing, since) = match (member, registered) {
        // whose directory has gone may register by file
        (Some(member), Some((_, since))) if member.state == Membership::Left => {
            (Standing::Registered, Some(since))
        }
        (Some(member), _) => (Standing::of(member.state), Some(member.state_since)),
        (None, Some((_, since))) => (Standing::Registered, Some(since)),
        (None, None) => (Standing::NotBegun, organisation.map(|one| one.since)),
    };
    let open = |severity: Severity| {
        let is_open = |verdict: Verdict| matches!(verdict, Verdict::Fail | Verdict::Unknown);
        facts.assessment.map(|assessment| {
            let findings = assessment.findings.iter();
            findings.filter(|one| one.severity == severity && is_open(one.verdict)).count() as u64
        })
    };
    let gate = |grant: Grant| {
        let mine = facts.gates.iter().find(|gate| gate.member == ods && gate.grant == grant);
        mine.map_or("closed", |gate| gate.state.as_str()).to_owned()
    };
    let planned = organisation.and_then(|one| one.planned);
    let is_open = organisation.is_some_and(|one| one.status == Status::Open);
    Some(Place {
        name: organisation.map(|one| &one.name).or_else(|| member.map(|one| &one.name))?.clone(),
        kind: organisation.map(|one| one.kind),
        wave: organisation.and_then(|one| one.wave),
        planned,
        late: is_open && !standing.is_there() && planned.is_some_and(|day| day < today),
        status: organisation.map(|one| one.status),
        successor: organisation.and_then(|one| one.successor.clone()),
        standing,
        since,
        registered: facts.registered.map(|(people, _)| people),
        published: facts.published,
        assessed_at: facts.assessment.map(|assessment| assessment.assessed_at),
        open_critical: open(Severity::Critical),
        open_high: open(Severity::High),
        gates: member.map(|_| Grant::ALL.map(|grant| (grant, gate(grant))).into()).unwrap_or_default(),
        ods,
    })
}

/// The organisations of one wave, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Wave {
    /// None: in no wave yet.
    pub wave: Option<u32>,
    pub organisations: u64,
    /// Federated, or registered by file.
    pub there: u64,
    pub late: u64,
    /// Closed organisations, of whom nothing is awaited.
    pub closed: u64,
    pub standings: BTreeMap<Standing, u64>,
    /// People registered by file, and entries published at the last runs.
    pub registered: u64,
    pub published: u64,
}

/// Counts by wave; those without one come last.
pub fn waves(places: &[Place]) -> Vec<Wave> {
    let mut waves: BTreeMap<(bool, Option<u32>), Wave> = BTreeMap::new();
    for place in places {
        let wave = waves.entry((place.wave.is_none(), place.wave)).or_default();
        wave.wave = place.wave;
        wave.organisations += 1;
        wave.there += u64::from(place.standing.is_there());
        wave.late += u64::from(place.late);
        wave.closed += u64::from(place.status == Some(Status::Closed));
        *wave.standings.entry(place.standing).or_default() += 1;
        wave.registered += place.registered.unwrap_or(0);
        wave.published += place.published.unwrap_or(0);
    }
    waves.into_values().collect()
}

#[cfg(test)]
mod tests;
