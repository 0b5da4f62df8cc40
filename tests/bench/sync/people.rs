//! The people of a made-up trust, by number: what its directory says of them, and what the national entry of each is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use base64::Engine;
use portcullis::ldap::dn::Dn;
use portcullis::ldap::filter::Filter;
use portcullis::policy::scope::{Guard, Guards};
use portcullis::policy::terms::OdsCode;
use portcullis::sync::people::desired::{Fate, fate};
use portcullis::sync::people::difference::{CLASSES, Ownership, refer};
use portcullis::sync::people::naming;
use portcullis::sync::terms::guid::Guid;
use portcullis::sync::terms::settings::{Origin, Scope};
use portcullis::sync::terms::staged::Object;

pub const PEOPLE_BASE: &str = "ou=people,dc=national,dc=test";
/// People of one organisational unit.
const UNIT: usize = 50;

/// A trust whose directory's name says how many people it has: `DC=t7-1000,DC=test`.
#[derive(Debug, Clone)]
pub struct Trust {
    pub base: String,
    name: String,
    pub people: usize,
}

/// An attribute and its values, as the directory sends them.
pub type Attributes = Vec<(&'static str, Vec<Vec<u8>>)>;

impl Trust {
    pub fn new(number: usize, people: usize) -> Trust {
        Trust::named(&format!("DC=t{number}-{people},DC=test")).unwrap()
    }

    /// From a naming context.
    pub fn named(base: &str) -> Option<Trust> {
        let name = base.strip_prefix("DC=")?.strip_suffix(",DC=test")?;
        let people = name.split_once('-')?.1.parse().ok()?;
        Some(Trust { base: base.to_owned(), name: name.to_owned(), people })
    }

    pub fn ods(&self) -> OdsCode {
        let number: u64 = self.name.trim_start_matches('t').split_once('-').unwrap().0.parse().unwrap();
        format!("B{number:05}").parse().unwrap()
    }

    fn units(&self) -> usize {
        self.people.div_ceil(UNIT)
    }

    /// The head, the unit of the staff, its units, and the people.
    pub fn objects(&self) -> usize {
        2 + self.units() + self.people
    }

    pub fn guid(&self, at: usize) -> [u8; 16] {
        let mut guid = [0; 16];
        guid[..8].copy_from_slice(&(at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        guid[8..].copy_from_slice(&(at as u64).to_be_bytes());
        guid
    }

    fn person(&self, at: usize) -> Option<usize> {
        at.checked_sub(2 + self.units())
    }

    fn parent(&self, at: usize) -> Option<usize> {
        match (at, self.person(at)) {
            (0, _) => None,
            (1, _) => Some(0),
            (_, None) => Some(1),
            (_, Some(person)) => Some(2 + person / UNIT),
        }
    }

    pub fn rdn(&self, at: usize) -> String {
        match (at, self.person(at)) {
            (0, _) => format!("DC={}", self.name),
            (1, _) => "OU=Staff".to_owned(),
            (_, None) => format!("OU=Ward {}", at - 2),
            (_, Some(person)) => format!("CN=Person {person:07}"),
        }
    }

    pub fn dn(&self, at: usize) -> String {
        match self.parent(at) {
            None => self.base.clone(),
            Some(0) => format!("{},{}", self.rdn(at), self.base),
            Some(parent) => format!("{},{}", self.rdn(at), self.dn(parent)),
        }
    }

    /// What the directory says of an object, in the order in which it is asked for.
    pub fn attributes(&self, at: usize) -> Attributes {
        let text = |text: String| vec![text.into_bytes()];
        let classes = |all: &[&str]| all.iter().map(|class| class.as_bytes().to_vec()).collect::<Vec<_>>();
        let mut all: Attributes = vec![
            ("objectguid", vec![self.guid(at).to_vec()]),
            ("parentguid", self.parent(at).map(|parent| self.guid(parent).to_vec()).into_iter().collect()),
            ("name", text(self.rdn(at).split_once('=').unwrap().1.to_owned())),
        ];
        let Some(person) = self.person(at) else {
            let class = if at == 0 { "domainDNS" } else { "organizationalUnit" };
            all.push(("objectclass", classes(&["top", class])));
            return all;
        };
        all.push(("objectclass", classes(&["top", "person", "organizationalPerson", "user"])));
        all.push(("objectcategory", text(format!("CN=Person,CN=Schema,CN=Configuration,{}", self.base))));
        let mut one = |name: &'static str, value: String| all.push((name, text(value)));
        one("samaccountname", format!("u{person:07}"));
        one("useraccountcontrol", "512".to_owned());
        one("sn", format!("Surname{}", person % 9_973));
        one("givenname", format!("Given{}", person % 997));
        one("displayname", format!("Surname{}, Given{} ({person})", person % 9_973, person % 997));
        one("mail", format!("u{person:07}@{}.nhs.test", self.name));
        one("title", format!("Grade {}", person % 9));
        one("telephonenumber", format!("+44 20 7946 {:04}", person % 10_000));
        one("department", format!("Department {}", person / UNIT));
        one("company", "A made-up trust".to_owned());
        if !person.is_multiple_of(10) {
            let boss = at - person % 10;
            let guid = uuid::Uuid::from_bytes_le(self.guid(boss));
            one("manager", format!("<GUID={guid}>;{}", self.dn(boss)));
        }
        all
    }

    /// The scope that publishes them; `o` is the same for everybody.
    pub fn scope(&self, o: &str) -> Scope {
        let local = |(national, local): (&str, &str)| (national.to_owned(), Origin::Local(local.to_owned()));
        let mut attributes: BTreeMap<String, Origin> = [
            ("sn", "sn"),
            ("givenname", "givenname"),
            ("displayname", "displayname"),
            ("mail", "mail"),
            ("title", "title"),
            ("telephonenumber", "telephonenumber"),
            ("ou", "department"),
            ("manager", "manager"),
        ]
        .into_iter()
        .map(local)
        .collect();
        attributes.insert("o".to_owned(), Origin::Constant(o.to_owned()));
        let guard = Guard { count: u64::MAX, share: 10_000 };
        Scope {
            bases: vec!["OU=Staff".to_owned()],
            filter: Filter::parse("(&(objectClass=user)(!(objectClass=computer))(mail=*))")
                .unwrap()
                .into_owned(),
            attributes,
            shared: BTreeMap::new(),
            person: None,
            levels: None,
            mail_domains: BTreeSet::from([format!("{}.nhs.test", self.name)]),
            keep: time::Duration::DAY * 30,
            guards: Guards { mails: guard, changes: guard, renames: guard, ..Guards::default() },
        }
    }

    /// The member's unit in the national directory.
    pub fn national(&self) -> Dn {
        Dn::parse(PEOPLE_BASE).unwrap().child("ou", self.ods().as_str()).unwrap()
    }

    /// LDIF of the member's unit and of one part of its people, as they should be published.
    pub fn ldif(&self, scope: &Scope, part: usize, parts: usize) -> String {
        let base = self.national();
        let mut out = String::new();
        if part == 0 {
            writeln!(out, "dn: {base}\nobjectClass: organizationalUnit\nou: {}\n", self.ods()).unwrap();
        }
        let first = 2 + self.units();
        for at in (first..self.objects()).filter(|at| at % parts == part) {
            self.entry(scope, &base, at, &mut out);
        }
        out
    }

    fn entry(&self, scope: &Scope, base: &Dn, at: usize, out: &mut String) {
        let mut object = Object {
            guid: Guid(self.guid(at)),
            parent: None,
            moved_from: None,
            rdn: self.rdn(at),
            deleted: false,
            unseen: false,
            partial: false,
            attributes: BTreeMap::new(),
            references: BTreeMap::new(),
        };
        let mut boss = None;
        for (name, values) in self.attributes(at).into_iter().skip(2) {
            if name == "manager" {
                boss = Some(at - self.person(at).unwrap() % 10);
                object.references.insert(name.to_owned(), vec![Guid(self.guid(boss.unwrap()))]);
            }
            let values = values.into_iter().map(|value| String::from_utf8(value).unwrap()).collect();
            object.attributes.insert(name.to_owned(), values);
        }
        let fate = fate(&self.ods(), &object, true, scope, &mut BTreeSet::new());
        let Fate::Publish(mut wish) = fate else { panic!("everybody is published") };
        let place =
            |_: &Guid| boss.map(|boss| naming::dn(&format!("u{:07}", self.person(boss).unwrap()), base));
        refer(&mut wish.attributes, &object, scope, place);
        let national = BTreeSet::new();
        let stamp = Ownership { scope, national: &national }.stamp(&wish.attributes);
        writeln!(out, "dn: {}", naming::dn(&wish.name, base)).unwrap();
        CLASSES.iter().for_each(|class| writeln!(out, "objectClass: {class}").unwrap());
        writeln!(out, "uid: {}\nportcullisStamp: {stamp}", wish.name).unwrap();
        for (name, values) in &wish.attributes {
            for value in values {
                let coded = base64::engine::general_purpose::STANDARD.encode(value);
                writeln!(out, "{name}:: {coded}").unwrap();
            }
        }
        out.push('\n');
    }
}
