//! A whole table: every fault of every row, and which rows belong to which organisation.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use csv::Position;

use crate::ambient::sheet::{Fault, Row, Settings, Sheet};
use crate::policy::scope::spelled;
use crate::policy::terms::OdsCode;
use crate::sync::hand::register::organisation::Organisations;
use crate::sync::hand::register::person::{COLUMNS, LISTING, Person, REQUIRED_OF_ACTIVE, is_leaver};
use crate::sync::people::desired::is_owned;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::settings::Scope;

/// A row, by its number from 0.
pub type Number = usize;

/// Where a row is, to be read again.
#[derive(Debug, Clone)]
struct Place {
    at: Position,
    line: u64,
}

/// Whose a mail of the table is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub row: Number,
    pub ods: OdsCode,
    pub guid: Guid,
}

/// A table that was read through.
#[derive(Debug)]
pub struct Checked<'a> {
    sheet: Sheet<'a>,
    rows: Vec<Place>,
    /// By row.
    faults: BTreeMap<Number, Vec<Fault>>,
    /// Rows by organisation.
    members: BTreeMap<OdsCode, Vec<Number>>,
    /// Lower-case mail to who is to have it.
    mails: HashMap<String, Claim>,
}

impl<'a> Checked<'a> {
    /// Reads the table through. `seen` is told how many rows were read.
    ///
    /// # Errors
    /// What is wrong with its heading.
    pub fn of(
        bytes: &'a [u8],
        limits: &Settings,
        organisations: &Organisations,
        seen: &mut dyn FnMut(u64),
    ) -> Result<Checked<'a>, Vec<Fault>> {
        let sheet = Sheet::open(bytes, COLUMNS, limits)?;
        let mut checked = Checked {
            sheet,
            rows: Vec::new(),
            faults: BTreeMap::new(),
            members: BTreeMap::new(),
            mails: HashMap::new(),
        };
        let (scopes, ids, accounts) = Default::default();
        let mut reading = Reading { organisations, scopes, ids, accounts, has_active: false };
        let mut found = Vec::new();
        for row in checked.sheet.rows() {
            found.push((Place { at: row.at.clone(), line: row.line }, reading.row(&row)));
            seen(found.len() as u64);
        }
        if reading.has_active {
            let there = checked.sheet.columns();
            let missing = REQUIRED_OF_ACTIVE.iter().filter(|column| !there.contains(&Some(**column)));
            let text = "is missing: add the column; only a table of leavers alone needs none";
            let faults: Vec<Fault> = missing.map(|column| Fault::cell(1, column, text)).collect();
            if !faults.is_empty() {
                return Err(faults);
            }
        }
        for (number, (place, person)) in found.into_iter().enumerate() {
            checked.rows.push(place);
            match person {
                Err(faults) => checked.fault(number, faults),
                Ok(person) => checked.take(number, person, &mut reading),
            }
        }
        Ok(checked)
    }

    /// Puts a row that is good by itself beside the others.
    fn take(&mut self, number: Number, found: Found, reading: &mut Reading<'_>) {
        let Found { ods, guid, mail, account } = found;
        let lines = |first: Number, this: &Self| (this.line(first), this.line(number));
        let same = reading.ids.insert(guid, number);
        if let Some(first) = same {
            let (a, b) = lines(first, self);
            let text = format!("lines {a} and {b} are the same person of {ods}: leave one");
            self.fault(first, vec![Fault::cell(a, "local_id", text.clone())]);
            self.fault(number, vec![Fault::cell(b, "local_id", text)]);
        }
        if let Some(account) = account
            && let Some(first) = reading.accounts.insert((ods.clone(), account), number)
            && same.is_none()
        {
            let (a, b) = lines(first, self);
            let text = format!("lines {a} and {b} have the same account name at {ods}: give each its own");
            self.fault(first, vec![Fault::cell(a, "account", text.clone())]);
            self.fault(number, vec![Fault::cell(b, "account", text)]);
        }
        if let Some(mail) = mail {
            let claim = Claim { row: number, ods: ods.clone(), guid };
            if let Some(first) = self.mails.insert(mail, claim) {
                let (a, b) = lines(first.row, self);
                let text = format!("lines {a} and {b} have the same mail: give each their own");
                self.fault(first.row, vec![Fault::cell(a, "mail", text.clone())]);
                self.fault(number, vec![Fault::cell(b, "mail", text)]);
            }
        }
        self.members.entry(ods).or_default().push(number);
    }

    /// Notes more faults of a row.
    pub fn fault(&mut self, number: Number, faults: Vec<Fault>) {
        self.faults.entry(number).or_default().extend(faults);
    }

    /// The line on which a row begins.
    pub fn line(&self, number: Number) -> u64 {
        self.rows.get(number).map_or(0, |place| place.line)
    }

    /// The table itself, to write it again.
    pub fn sheet(&self) -> &Sheet<'a> {
        &self.sheet
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The faults, by row.
    pub fn faults(&self) -> &BTreeMap<Number, Vec<Fault>> {
        &self.faults
    }

    /// The mails of the table, lower case, and whose each is to be.
    pub fn mails(&self) -> &HashMap<String, Claim> {
        &self.mails
    }

    /// The organisations that have a row without a fault.
    pub fn organisations(&self) -> Vec<OdsCode> {
        let good = |rows: &&Vec<Number>| rows.iter().any(|number| !self.faults.contains_key(number));
        self.members.iter().filter(|(_, rows)| good(rows)).map(|(ods, _)| ods.clone()).collect()
    }

    /// The people of an organisation whose rows have no fault.
    pub fn people(&self, ods: &OdsCode) -> Vec<(Number, Person)> {
        let numbers = self.members.get(ods).into_iter().flatten();
        let mut again = self.sheet.again();
        numbers
            .filter(|number| !self.faults.contains_key(number))
            .filter_map(|number| {
                let row = again.row(&self.rows.get(*number)?.at)?;
                Some((*number, Person::read(&row).ok()?))
            })
            .collect()
    }
}

/// What of a good row is held against the others.
struct Found {
    ods: OdsCode,
    guid: Guid,
    mail: Option<String>,
    account: Option<String>,
}

struct Reading<'o> {
    organisations: &'o Organisations,
    scopes: BTreeMap<OdsCode, Result<Scope, String>>,
    ids: HashMap<Guid, Number>,
    accounts: HashMap<(OdsCode, String), Number>,
    /// A row is no leaver's, as far as it can be told.
    has_active: bool,
}

impl Reading<'_> {
    fn row(&mut self, row: &Row) -> Result<Found, Vec<Fault>> {
        self.has_active |= !row.cells.is_empty() && !is_leaver(row);
        let person = Person::read(row)?;
        let mut faults = Vec::new();
        let organisations = self.organisations;
        if let Some(text) = organisations.refusal(&person.ods, || organisations.hides(&person)) {
            return Err(vec![Fault::cell(row.line, "ods", text)]);
        }
        let scope = self
            .scopes
            .entry(person.ods.clone())
            .or_insert_with(|| organisations.scope(&person.ods).map_err(|error| error.to_string()));
        match scope {
            Err(error) => faults.push(Fault::cell(row.line, "ods", error.clone())),
            Ok(scope) => {
                faults.extend(mail_fault(&person, scope, row.line));
                faults.extend(listing_fault(&person, scope, organisations.listings(), row.line));
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let account = (!person.is_leaver).then(|| person.account());
        Ok(Found { mail: person.mail(), account, guid: person.guid, ods: person.ods })
    }
}

/// How somebody is listed is said in words that a release agreement or the scope knows.
fn listing_fault(person: &Person, scope: &Scope, agreed: &BTreeSet<String>, line: u64) -> Option<Fault> {
    let listing = person.listing()?;
    let levels = scope.levels.iter().filter(|levels| levels.attribute == LISTING);
    let own = levels.flat_map(|one| [&one.not_published, &one.not_findable, &one.without_contact]).flatten();
    let known: BTreeSet<&str> = agreed.iter().chain(own).map(String::as_str).collect();
    // a wish counts however it is spelled, as it does in a directory
    if known.iter().any(|word| spelled(word) == spelled(listing)) {
        return None;
    }
    let known: Vec<&str> = known.into_iter().collect();
    let text = format!("`{listing}` is no way of being listed: write {}", known.join(", "));
    Some(Fault::cell(line, "listing", text))
}

/// A mail must lie in the organisation's domains; without any it may have none.
fn mail_fault(person: &Person, scope: &Scope, line: u64) -> Option<Fault> {
    let mail = person.mail()?;
    if is_owned(&mail, &scope.mail_domains) {
        return None;
    }
    let text = if scope.mail_domains.is_empty() {
        format!("{} has no mail domains: add them with `portcullis programme import`", person.ods)
    } else {
        let domains: Vec<&str> = scope.mail_domains.iter().map(String::as_str).collect();
        format!("is not in a domain of {}: it has {}", person.ods, domains.join(", "))
    };
    Some(Fault::cell(line, "mail", text))
}
