//! Pairs of worlds: the same directories but for what a requester must not see. What is shared is made once; what is
//! hidden is made anew for each world.

use portcullis::ldap::attribute;
use portcullis::ldap::dn::Dn;
use portcullis::ldap::entry::{Attribute, Entry};
use portcullis::ldap::filter::Filter;
use portcullis::ldap::truth::{self, Lookup, Truth};

use super::chance::Rng;

/// Hides some attributes from everybody and people from some; a directory need not know `notListed`.
pub const AGREEMENT: &str = "\
kind: Release
id: two-worlds
title: The agreement of two worlds
purpose: To be indistinguishable.
audience: { category: application, members: all }
targets: { members: all, national: true }
attributes: [cn, sn, givenName, displayName, mail, uid, telephoneNumber, description, manager, directReports, memberOf,
  member, entryUUID, userAccountControl, thumbnailPhoto]
entries: '(!(notListed=TRUE))'
listing:
  attribute: employeeType
  not_findable: [not-listed]
  by_address_only: [by-address]
  without_contact: [no-contact]
  contact: [telephoneNumber, mobile]
limits: { size: 1000, time: 30s, rate: 100000/s, in_flight: 1000 }
until: 2099-12-31
";

/// A directory that is mounted.
#[derive(Debug, Clone, Copy)]
pub struct Home {
    /// Its unit below the root.
    pub unit: &'static str,
    pub local: &'static str,
    pub federated: &'static str,
    /// It has standard names and classes; the others are Active Directories.
    pub standard: bool,
    /// Pages that the gateway asks it for.
    pub page_size: Option<u32>,
}

/// In the order in which the front door lists them. One Active Directory is read in pages of its own, so that one question
/// is several.
pub const HOMES: [Home; 3] = [
    Home {
        unit: "national",
        local: "dc=nat,dc=trust,dc=test",
        federated: "ou=national,o=federation",
        standard: true,
        page_size: None,
    },
    Home {
        unit: "RXA",
        local: "DC=rxa,DC=trust,DC=test",
        federated: "ou=RXA,o=federation",
        standard: false,
        page_size: Some(3),
    },
    Home {
        unit: "RXB",
        local: "DC=rxb,DC=trust,DC=test",
        federated: "ou=RXB,o=federation",
        standard: false,
        page_size: None,
    },
];
/// The one whose requests are re-assembled by hand.
pub const RXA: &Home = &HOMES[1];

pub const OUTSIDE: &str = "CN=Secret,CN=Users,DC=other,DC=test";
/// The mail of somebody who is found by whoever knows it; no random request does.
pub const KNOWN_TO_FEW: &str = "known.to.few@rxa.test";
/// The person who is listed without contact details.
const RESERVED: usize = 1;
pub const WORDS: &[&str] = &["a", "ab", "abc", "b", "1", "10", "TRUE", "Jo Smith", "Smith", "a b"];
/// Persons that both worlds share.
pub const PEOPLE: usize = 5;
/// Persons that there may be: the last ones, in one world or the other, exist for nobody.
pub const EVERYBODY: usize = PEOPLE + 3;

/// The local name of a person.
pub fn person(home: &Home, n: usize) -> String {
    format!("CN=P{n},OU=Staff,{}", home.local)
}

/// As requesters name the same person.
pub fn federated(home: &Home, n: usize) -> String {
    format!("cn=P{n},ou=Staff,{}", home.federated)
}

pub fn guid(n: usize) -> Vec<u8> {
    (0..16).map(|i| (i * 7 + n) as u8).collect()
}

pub fn guid_text(n: usize) -> String {
    uuid::Uuid::from_bytes_le(guid(n).try_into().unwrap()).to_string()
}

pub fn add(entry: &mut Entry, name: &str, values: Vec<Vec<u8>>) {
    if !values.is_empty() {
        entry.attributes.push(Attribute { description: name.to_owned(), values });
    }
}

pub fn texts(values: &[&str]) -> Vec<Vec<u8>> {
    values.iter().map(|v| v.as_bytes().to_vec()).collect()
}

fn words(rng: &mut Rng) -> Vec<Vec<u8>> {
    (0..rng.below(3)).map(|_| rng.pick(WORDS).as_bytes().to_vec()).collect()
}

/// What both worlds share of one person.
fn shown(rng: &mut Rng, home: &Home, n: usize) -> Entry {
    let mut entry = Entry { dn: person(home, n), attributes: Vec::new() };
    let class: &[&str] = match (n, home.standard) {
        (3, false) => &["top", "group"],
        (4, false) => &["top", "person", "organizationalPerson", "user", "computer"],
        (_, false) => &["top", "person", "organizationalPerson", "user"],
        (3, true) => &["top", "groupOfNames"],
        (_, true) => &["top", "person", "organizationalPerson", "inetOrgPerson"],
    };
    add(&mut entry, "objectClass", texts(class));
    add(&mut entry, "cn", texts(&[&format!("P{n}")]));
    match home.standard {
        true => add(&mut entry, "entryUUID", texts(&[&guid_text(n)])),
        false => add(&mut entry, "objectGUID", vec![guid(n)]),
    }
    let account = if home.standard { "uid" } else { "sAMAccountName" };
    for name in ["sn", "givenName", "displayName", "mail", account, "telephoneNumber", "description"] {
        let values = words(rng);
        if n != RESERVED || name != "telephoneNumber" {
            add(&mut entry, name, values);
        }
    }
    if n == RESERVED {
        add(&mut entry, "employeeType", texts(&["No-Contact"]));
    }
    for name in ["manager", "memberOf", "directReports", "member"] {
        let values = (0..rng.below(3)).map(|_| person(home, rng.below(PEOPLE)).into_bytes()).collect();
        add(&mut entry, name, values);
    }
    if rng.one_in(2) {
        add(&mut entry, "userAccountControl", texts(&[rng.pick(&["512", "514", "66048"])]));
    }
    entry
}

/// The people that both worlds of a pair share.
pub fn people(rng: &mut Rng, home: &Home) -> Vec<Entry> {
    (0..PEOPLE).map(|n| shown(rng, home, n)).collect()
}

/// A value that is masked: names outside the mount, free text that mentions the suffix, classes of no concern.
fn masked(rng: &mut Rng, home: &Home, name: &str) -> Vec<u8> {
    match name {
        "description" => format!("moved from ou=x, {}", home.local).into_bytes(),
        "objectClass" => b"msSecretClass".to_vec(),
        _ => [OUTSIDE, "CN=Secret,CN=Users,DC=trust,DC=test"][rng.below(2)].as_bytes().to_vec(),
    }
}

/// The same entry with what must not be seen, different at every call.
fn with_hidden(rng: &mut Rng, home: &Home, shown: &Entry) -> Entry {
    let mut entry = shown.clone();
    if shown.dn == person(home, RESERVED) {
        let values = words(rng);
        add(&mut entry, "telephoneNumber", values);
    }
    for name in ["employeeNumber", "info", "title", "employeeNumber;x-secret", "unicodePwd", "name", "mobile"]
    {
        let values = words(rng);
        add(&mut entry, name, values);
    }
    for name in ["manager", "memberOf", "member", "description", "objectClass"] {
        let classes = home.standard && name == "objectClass"; // a standard directory's classes are those of everybody
        if classes || rng.one_in(2) {
            continue;
        }
        let value = masked(rng, home, name);
        match entry.attributes.iter_mut().find(|a| a.description == name) {
            Some(attribute) => {
                let at = rng.below(attribute.values.len() + 1);
                attribute.values.insert(at, value);
            }
            None => add(&mut entry, name, vec![value]),
        }
    }
    entry
}

/// An entry that is there for nobody.
fn nobody(rng: &mut Rng, home: &Home, n: usize) -> Entry {
    let entry = shown(rng, home, n);
    let mut entry = with_hidden(rng, home, &entry);
    match rng.below(4) {
        0 => add(&mut entry, "employeeType", texts(&["Not-Listed"])),
        1 => {
            add(&mut entry, "employeeType", texts(&["by-address"]));
            entry.attributes.retain(|a| a.description != "mail");
            add(&mut entry, "mail", texts(&[KNOWN_TO_FEW]));
        }
        _ => add(&mut entry, "notListed", texts(&["TRUE"])),
    }
    entry
}

/// One world of people: the shared entries with hidden data, and entries that are there for nobody.
pub fn world(rng: &mut Rng, home: &Home, shared: &[Entry]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = shared.iter().map(|e| with_hidden(rng, home, e)).collect();
    for n in PEOPLE..EVERYBODY {
        if rng.one_in(2) {
            let entry = nobody(rng, home, n);
            let at = rng.below(entries.len() + 1);
            entries.insert(at, entry);
        }
    }
    entries
}

/// The same with a directory's own entries around it: its top, of which nothing is shown, the unit of the people, and in
/// some worlds a unit that is there for nobody, with people in it.
pub fn tree(rng: &mut Rng, home: &Home, shared: &[Entry]) -> Vec<Entry> {
    let mut entries = world(rng, home, shared);
    if rng.one_in(2) {
        let mut unit = Entry { dn: format!("OU=Hidden,{}", home.local), attributes: Vec::new() };
        add(&mut unit, "objectClass", texts(&["top", "organizationalUnit"]));
        add(&mut unit, "notListed", texts(&["TRUE"]));
        let mut entry = nobody(rng, home, EVERYBODY);
        entry.dn = format!("CN=P{EVERYBODY},OU=Hidden,{}", home.local);
        for entry in [entry, unit] {
            let at = rng.below(entries.len() + 1);
            entries.insert(at, entry);
        }
    }
    let mut unit = Entry { dn: format!("OU=Staff,{}", home.local), attributes: Vec::new() };
    add(&mut unit, "objectClass", texts(&["top", "organizationalUnit"]));
    entries.insert(0, unit);
    let mut top = Entry { dn: home.local.to_owned(), attributes: Vec::new() };
    add(&mut top, "objectClass", texts(&["top", "domainDNS"]));
    let values = words(rng);
    add(&mut top, "description", values);
    entries.insert(rng.below(2), top);
    entries
}

/// An entry as a directory keeps it.
pub struct Kept {
    pub entry: Entry,
    /// Of each attribute, its one name.
    pub names: Vec<String>,
    pub name: String,
    /// The name of what it lies in.
    pub above: String,
}

impl Kept {
    pub fn new(entry: Entry) -> Kept {
        let dn = Dn::parse(&entry.dn).unwrap();
        let above = dn.parent().map(|dn| dn.normal()).unwrap_or_default();
        let names =
            entry.attributes.iter().map(|a| attribute::canonical_name(&a.description).into_owned()).collect();
        Kept { entry, names, name: dn.normal(), above }
    }
}

/// A domain controller: knows every attribute, its own matching rules, and answers from everything that it holds.
pub struct Controller<'a> {
    pub entry: &'a Entry,
    /// Attributes outside its schema are Undefined, not absent.
    pub strict: bool,
}

impl Lookup for Controller<'_> {
    fn is_known(&self, name: &str) -> bool {
        !self.strict || attribute::known(name).is_some()
    }

    fn visit(&self, name: &str, visit: &mut dyn FnMut(&str, &[u8]) -> bool) -> bool {
        self.entry.visit(name, visit)
    }

    fn visit_all(&self, visit: &mut dyn FnMut(&str, &[u8]) -> bool) {
        self.entry.visit_all(visit);
    }

    fn dn(&self) -> &str {
        &self.entry.dn
    }
}

impl Controller<'_> {
    /// Whether it answers with the entry. Some directories take Undefined for false before they negate (`two_valued`):
    /// these leaks must not matter either.
    pub fn finds(&self, filter: &Filter<'_>, two_valued: bool) -> bool {
        if !two_valued {
            return truth::evaluate(filter, self) == Truth::True;
        }
        match filter {
            Filter::And(all) => all.iter().all(|f| self.finds(f, true)),
            Filter::Or(any) => any.iter().any(|f| self.finds(f, true)),
            Filter::Not(inner) => !self.finds(inner, true),
            leaf => truth::evaluate(leaf, self) == Truth::True,
        }
    }
}
