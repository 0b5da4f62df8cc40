//! A table held against who is registered already: a row can be right by itself and still make one person two, or two one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::policy::terms::OdsCode;
use crate::store::error::StoreError;
use crate::store::port::Store;
use crate::sync::hand::register::check::Number;
use crate::sync::hand::register::person::{Person, local_id};
use crate::sync::people::desired::fate;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::settings::Scope;
use crate::sync::terms::staged::Object;

/// Why a plan gives somebody no entry: the account has a name that none may have.
const NO_NAME: &str = "no_name";

/// Something wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub row: Number,
    pub column: &'static str,
    pub text: String,
}

/// Somebody who is registered and no leaver.
struct Living {
    local_id: String,
    mail: Option<String>,
    /// Given name and surname, lower case.
    names: [Option<String>; 2],
}

/// Living people by a name of theirs.
type Named<'a> = HashMap<&'a str, Vec<Guid>>;

/// The organisation whose rows these are.
struct Comparing<'a> {
    ods: &'a OdsCode,
    name: &'a str,
    scope: &'a Scope,
    rows: HashMap<Guid, (Number, &'a Person)>,
    living: HashMap<Guid, Living>,
    leavers: HashSet<Guid>,
    /// By row: one fault of a row is enough to keep it from being applied.
    found: BTreeMap<Number, Found>,
}

/// Compares rows of one organisation, each good by itself, with everybody who is registered there. `name` is the organisation's.
pub fn compare(
    store: &dyn Store,
    ods: &OdsCode,
    name: &str,
    scope: &Scope,
    rows: &[(Number, Person)],
) -> Result<Vec<Found>, StoreError> {
    let rows = rows.iter().map(|(number, person)| (person.guid, (*number, person))).collect();
    let (living, leavers, found) = (HashMap::new(), HashSet::new(), BTreeMap::new());
    let mut comparing = Comparing { ods, name, scope, rows, living, leavers, found };
    store.visit_staged(ods, &mut |object| {
        let object = serde_json::from_slice(&object.document)
            .map_err(|error| StoreError::Value(format!("a staged object: {error}")))?;
        comparing.see(object);
        Ok(())
    })?;
    Ok(comparing.end())
}

impl Comparing<'_> {
    /// Somebody who is registered.
    fn see(&mut self, object: Object) {
        let Some(id) = local_id(&object).filter(|_| !object.deleted).map(str::to_owned) else { return };
        let guid = object.guid;
        if object.is_disabled() {
            self.leavers.insert(guid);
        } else {
            let lower = |name: &str| object.first(name).map(str::to_lowercase);
            let names = [lower("givenname"), lower("sn")];
            self.living.insert(guid, Living { local_id: id, mail: lower("mail"), names });
        }
        if let Some((number, person)) = self.rows.get(&guid).copied() {
            if person.is_another(&object) {
                let text = "given name, surname and mail all change, so this is another person: mark the one who had this local id as \
                            `leaver`, and register the other with a new local id; if it is the same person, change the mail in one table \
                            and the name in the next";
                self.tell(number, "local_id", text.to_owned());
            }
            self.check_name(number, person, Some(object));
        }
    }

    fn tell(&mut self, row: Number, column: &'static str, text: String) {
        self.found.entry(row).or_insert(Found { row, column, text });
    }

    /// Whether the plan could name an entry after the row: asked as the plan itself asks.
    fn check_name(&mut self, number: Number, person: &Person, before: Option<Object>) {
        let Some(object) = person.object(before, self.name).filter(|_| !person.is_leaver) else { return };
        let mut held = BTreeSet::new();
        fate(self.ods, &object, true, self.scope, &mut held);
        if held.iter().any(|one| one.code == NO_NAME) {
            let column = if person.has_account() { "account" } else { "local_id" };
            let text = format!(
                "`{}` cannot be the name of an entry, which the local id is where there is no account name: give the row an `account` \
                 of letters, digits, `.`, `_` and `-`",
                object.first("samaccountname").unwrap_or_default()
            );
            self.tell(number, column, text);
        }
    }

    /// Everybody was seen.
    fn end(mut self) -> Vec<Found> {
        let is_new = |guid: &Guid| !self.living.contains_key(guid) && !self.leavers.contains(guid);
        let new: Vec<(Number, &Person)> =
            self.rows.iter().filter(|(guid, _)| is_new(guid)).map(|(_, row)| *row).collect();
        for (number, person) in new {
            self.check_name(number, person, None);
        }
        let (mut mails, mut ids) = (Named::new(), Named::new());
        for (guid, one) in &self.living {
            ids.entry(bare(&one.local_id)).or_default().push(*guid);
            if let Some(mail) = &one.mail {
                mails.entry(mail).or_default().push(*guid);
            }
        }
        // whoever returns is held against the others like somebody new
        let rows: Vec<(Number, &Person)> = self
            .rows
            .values()
            .filter(|(_, person)| !self.living.contains_key(&person.guid))
            .copied()
            .collect();
        // a row that turns out wrong frees no mail for the others
        let mut found = self.found.clone();
        loop {
            let before = found.len();
            for (number, person) in &rows {
                if !found.contains_key(number)
                    && let Some((column, text)) = self.doubled(person, &mails, &ids, &found)
                {
                    found.insert(*number, Found { row: *number, column, text });
                }
            }
            if found.len() == before {
                return found.into_values().collect();
            }
        }
    }

    /// Whom a row would make two of.
    fn doubled(
        &self,
        person: &Person,
        mails: &Named<'_>,
        ids: &Named<'_>,
        found: &BTreeMap<Number, Found>,
    ) -> Option<(&'static str, String)> {
        let id = person.local_id().to_ascii_lowercase();
        let said = |guid: &Guid| self.rows.get(guid).filter(|(number, _)| !found.contains_key(number));
        if let Some(mail) = person.mail() {
            let keeps = |guid: &&Guid| {
                said(guid).is_none_or(|(_, other)| {
                    !other.is_leaver && other.mail_said().is_none_or(|own| own.as_ref() == Some(&mail))
                })
            };
            let other = mails.get(mail.as_str()).into_iter().flatten().find(keeps);
            if let Some(other) = other.and_then(|guid| self.living.get(guid)) {
                return Some(("mail", mail_taken(&other.local_id, bare(&other.local_id) == bare(&id))));
            }
        }
        let zeros_lost = |guid: &&Guid| {
            let Some(other) = self.living.get(guid) else { return false };
            // a leaver has no name in the table
            let same = person.is_leaver || person.names() == other.names;
            same && said(guid).is_none()
        };
        let alike = ids.get(bare(&id)).into_iter().flatten().find(zeros_lost);
        let other =
            alike.filter(|_| !self.leavers.contains(&person.guid)).and_then(|guid| self.living.get(guid));
        let other = &other?.local_id;
        Some((
            "local_id",
            format!(
                "is not registered, and `{other}` is: were leading zeros lost? A spreadsheet takes them away; write `{other}`, or give \
                 the new person a local id that differs in more than zeros"
            ),
        ))
    }
}

/// What a spreadsheet leaves of a local id that it takes for a number.
fn bare(id: &str) -> &str {
    id.trim_start_matches('0')
}

fn mail_taken(id: &str, are_zeros_lost: bool) -> String {
    if are_zeros_lost {
        return format!(
            "belongs to the person with local id `{id}`: were leading zeros lost? A spreadsheet takes them away; write `{id}`"
        );
    }
    format!(
        "belongs to the person with local id `{id}`: if it is the same person, write that local id; if not, give each their own mail, \
         or mark `{id}` as `leaver` in this table"
    )
}
