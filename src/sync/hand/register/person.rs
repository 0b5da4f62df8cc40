//! One row: a person of an organisation without a directory.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::ambient::sheet::{Columns, Fault, Row, formula};
use crate::policy::terms::OdsCode;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::staged::Object;

/// The columns of a table of people.
pub const COLUMNS: Columns = Columns {
    known: &[
        "ods",
        "local_id",
        "given_name",
        "sn",
        "mail",
        "account",
        "title",
        "telephone",
        "mobile",
        "department",
        "site",
        "employee_number",
        "listing",
        "status",
    ],
    required: &["ods", "local_id"],
    ours: &["result", "detail"],
};

/// Columns that must be there, too, as soon as a row is no leaver's.
pub const REQUIRED_OF_ACTIVE: [&str; 2] = ["given_name", "sn"];

/// Which attribute of an account a column stands for, and how many characters Active Directory would take there (rangeUpper).
const ATTRIBUTES: &[(&str, &str, usize)] = &[
    ("given_name", "givenname", 64),
    ("sn", "sn", 64),
    ("mail", "mail", 254),
    ("title", "title", 128),
    ("telephone", "telephonenumber", 64),
    ("mobile", "mobile", 64),
    ("department", "department", 64),
    ("site", "physicaldeliveryofficename", 128),
    ("employee_number", "employeenumber", 64),
    ("listing", LISTING, 64),
];

/// The attribute that says how somebody is listed.
pub const LISTING: &str = "employeetype";
/// The longest local id, and the longest account name.
const ID_CHARS_MAX: usize = 64;
/// What a derivation of GUIDs begins with; another derivation needs another.
const DERIVATION: &[u8] = b"portcullis registered person 1";
/// What stands before the local id in the name that a registered person is staged under.
const RDN: &str = "CN=";
/// userAccountControl of a normal account, and of one that is disabled (MS-ADTS 2.2.16).
const NORMAL: &str = "512";
const DISABLED: &str = "514";

/// The GUID of a registered person: the first 16 bytes of SHA-256 over the derivation's name, the ODS code and the local id in lower
/// case, each followed by a zero byte; version and variant as UUID version 8 demands (RFC 9562 section 5.8). No account of a
/// directory has a GUID of that version.
pub fn guid(ods: &OdsCode, local_id: &str) -> Guid {
    let mut hasher = Sha256::new();
    for part in [DERIVATION, ods.as_str().as_bytes(), local_id.to_ascii_lowercase().as_bytes()] {
        hasher.update(part);
        hasher.update([0]);
    }
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hasher.finalize()).for_each(|(to, from)| *to = from);
    Guid(uuid::Builder::from_custom_bytes(bytes).into_uuid().to_bytes_le())
}

/// Whether a GUID was derived by [`guid`].
pub fn is_registered(guid: &Guid) -> bool {
    uuid::Uuid::from_bytes_le(guid.0).get_version() == Some(uuid::Version::Custom)
}

/// The local id of somebody who is staged, as it is kept.
pub fn local_id(object: &Object) -> Option<&str> {
    object.rdn.strip_prefix(RDN).filter(|_| is_registered(&object.guid))
}

/// A row that can be understood by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub ods: OdsCode,
    pub guid: Guid,
    pub is_leaver: bool,
    /// Attribute to value for the columns that the table has; none empties it.
    values: BTreeMap<&'static str, Option<String>>,
    /// The name of the account: the local id unless a column says another.
    account: Option<String>,
    local_id: String,
}

impl Person {
    /// Reads a row.
    ///
    /// # Errors
    /// Everything that is wrong with it by itself.
    pub fn read(row: &Row) -> Result<Person, Vec<Fault>> {
        let mut faults = row.faults.clone();
        if row.cells.is_empty() {
            // its cells could not be told
            return Err(faults);
        }
        // of a cell that cannot be read nothing more is said
        let is_empty = |column| row.cells.contains_key(column) && row.value(column).is_none();
        let mut wrong = |column: &str, text: String| faults.push(Fault::cell(row.line, column, text));
        let ods: Option<OdsCode> = match row.value("ods").map(str::parse) {
            None => {
                if is_empty("ods") {
                    wrong("ods", "is empty: write the organisation's code".to_owned());
                }
                None
            }
            Some(Err(error)) => {
                wrong("ods", format!("{error}"));
                None
            }
            Some(Ok(ods)) => Some(ods),
        };
        let local_id = row.value("local_id");
        match local_id {
            None if is_empty("local_id") => {
                wrong("local_id", "is empty: it is the person's key at the organisation".to_owned());
            }
            None => {}
            Some(id) => id_fault(id).into_iter().for_each(|text| wrong("local_id", text)),
        }
        let is_leaver = is_leaver(row);
        if row.value("status").is_some_and(|word| !is_leaver && !word.eq_ignore_ascii_case("active")) {
            wrong("status", "must be `active` or `leaver`, or empty for active".to_owned());
        }
        // of somebody who leaves nothing else counts
        let values = if is_leaver { BTreeMap::new() } else { values(row, &mut wrong) };
        let account = row.value("account").filter(|_| !is_leaver).map(str::to_owned);
        if let Some(text) = account.as_deref().and_then(account_fault) {
            wrong("account", text);
        }
        match (ods, local_id) {
            (Some(ods), Some(id)) if faults.is_empty() => {
                Ok(Person { guid: guid(&ods, id), ods, is_leaver, values, account, local_id: id.to_owned() })
            }
            _ => Err(faults),
        }
    }

    /// The mail, lower case.
    pub fn mail(&self) -> Option<String> {
        self.values.get("mail")?.as_ref().map(|mail| mail.to_lowercase())
    }

    /// What the row says of the mail, lower case; none when the table has no such column.
    pub fn mail_said(&self) -> Option<Option<String>> {
        self.values.get("mail").map(|mail| mail.as_ref().map(|mail| mail.to_lowercase()))
    }

    /// Given name and surname, lower case.
    pub fn names(&self) -> [Option<String>; 2] {
        ["givenname", "sn"].map(|name| self.values.get(name)?.as_ref().map(|value| value.to_lowercase()))
    }

    /// The key at the organisation, as written.
    pub fn local_id(&self) -> &str {
        &self.local_id
    }

    /// Whether the row gives an account name.
    pub fn has_account(&self) -> bool {
        self.account.is_some()
    }

    /// Whether nothing of what a person is known by is as it was registered: given name, surname and mail. No mail is nobody's.
    pub fn is_another(&self, before: &Object) -> bool {
        let stays = |name: &str| match self.values.get(name) {
            None => true,
            Some(value) => {
                let (new, old) =
                    (value.as_deref().map(str::to_lowercase), before.first(name).map(str::to_lowercase));
                new.is_some() && new == old
            }
        };
        !self.is_leaver && !["givenname", "sn", "mail"].into_iter().any(stays)
    }

    /// The listing wish.
    pub fn listing(&self) -> Option<&str> {
        self.values.get(LISTING)?.as_deref()
    }

    /// The account's name, lower case.
    pub fn account(&self) -> String {
        self.account.as_ref().unwrap_or(&self.local_id).to_ascii_lowercase()
    }

    /// The person as an account: what the table says over what was registered before. None for a leaver who was never registered.
    /// `organisation` is its name.
    pub fn object(&self, before: Option<Object>, organisation: &str) -> Option<Object> {
        let one = |text: &str| vec![text.to_owned()];
        if self.is_leaver {
            let mut object = before?;
            object.attributes.insert("useraccountcontrol".to_owned(), one(DISABLED));
            return Some(object);
        }
        let mut attributes = before.map(|object| object.attributes).unwrap_or_default();
        for (name, value) in &self.values {
            match value {
                Some(value) => _ = attributes.insert((*name).to_owned(), one(value)),
                None => _ = attributes.remove(*name),
            }
        }
        let first = |name: &str| attributes.get(name).and_then(|values| values.first()).cloned();
        let parts = [first("givenname"), first("sn")];
        let name = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let kept = first("samaccountname").filter(|_| self.account.is_none());
        let account = kept.unwrap_or_else(|| self.account.as_ref().unwrap_or(&self.local_id).clone());
        let classes = ["top", "person", "organizationalPerson", "user"].map(str::to_owned).to_vec();
        for (key, values) in [
            ("objectclass", classes),
            ("objectcategory", one("CN=Person")),
            ("useraccountcontrol", one(NORMAL)),
            ("samaccountname", one(&account)),
            ("cn", one(&name)),
            ("name", one(&name)),
            ("displayname", one(&name)),
            ("company", one(organisation)),
        ] {
            attributes.insert(key.to_owned(), values);
        }
        Some(Object {
            guid: self.guid,
            parent: None,
            moved_from: None,
            rdn: format!("{RDN}{}", self.local_id.to_ascii_lowercase()),
            deleted: false,
            unseen: false,
            partial: false,
            attributes,
            references: BTreeMap::new(),
        })
    }
}

/// Whether a row is somebody's who leaves.
pub fn is_leaver(row: &Row) -> bool {
    row.value("status").is_some_and(|word| word.eq_ignore_ascii_case("leaver"))
}

fn values(row: &Row, wrong: &mut impl FnMut(&str, String)) -> BTreeMap<&'static str, Option<String>> {
    let mut values = BTreeMap::new();
    for (column, attribute, most) in ATTRIBUTES {
        if !row.cells.contains_key(column) {
            continue;
        }
        let value = row.value(column);
        let text = match (*column, value) {
            ("given_name" | "sn", None) => Some("is empty: fill it in".to_owned()),
            (_, Some(value)) if value.chars().count() > *most => {
                Some(format!("has more than {most} characters: shorten it"))
            }
            ("mail", Some(mail)) => mail_fault(mail).or_else(|| formula_fault(mail)),
            (_, Some(value)) if is_number(column) => number_fault(value),
            (_, Some(value)) => formula_fault(value),
            _ => None,
        };
        match text {
            Some(text) => wrong(column, text),
            // who is listed like everybody carries no word
            None if *column == "listing" => {
                let word = value.map(str::to_lowercase).filter(|word| word != "listed");
                values.insert(*attribute, word);
            }
            None => _ = values.insert(*attribute, value.map(str::to_owned)),
        }
    }
    values
}

fn id_fault(id: &str) -> Option<String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
    let starts = id.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    match () {
        () if id.len() > ID_CHARS_MAX => Some(format!("has more than {ID_CHARS_MAX} characters: shorten it")),
        () if !starts || !id.bytes().all(good) => {
            Some("must be letters, digits, `.`, `_`, `-` and `/`, a letter or digit first".to_owned())
        }
        () => None,
    }
}

/// No account may have a name with a `/` (MS-SAMR 3.1.1.6), as a local id may.
fn account_fault(name: &str) -> Option<String> {
    let slash =
        name.contains('/').then(|| "has a `/`, which no name of an account may have: take it out".to_owned());
    slash.or_else(|| id_fault(name).map(|text| text.replace("`-` and `/`", "`-`")))
}

fn mail_fault(mail: &str) -> Option<String> {
    let atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    let good = mail.split_once('@').is_some_and(|(local, domain)| {
        (1..=64).contains(&local.len())
            && local.bytes().all(atom)
            && !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..")
            && domain.contains('.')
            && domain.split('.').all(|label| {
                !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            })
    });
    (!good).then(|| "is no mail address: write for example jo.bloggs@surgery.nhs.uk".to_owned())
}

/// Whether a column has telephone numbers, which may begin with a sign.
pub fn is_number(column: &str) -> bool {
    matches!(column, "telephone" | "mobile")
}

/// Officers open the file of results, and others what is published, in a spreadsheet. A value that was made harmless there comes back
/// with an apostrophe.
fn formula_fault(value: &str) -> Option<String> {
    let sign = formula(value.strip_prefix('\'').unwrap_or(value))?;
    Some(format!(
        "begins with `{sign}`: a spreadsheet would take it for a formula; begin with a letter or a digit"
    ))
}

fn number_fault(number: &str) -> Option<String> {
    let good = number.chars().any(|c| c.is_ascii_digit())
        && number.chars().all(|c| c.is_ascii_digit() || " +()-.x#".contains(c));
    (!good).then(|| "is no telephone number: write digits, for example +44 113 496 0000".to_owned())
}

#[cfg(test)]
mod tests;
