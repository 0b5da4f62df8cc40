//! A member directory as it truly is, its domain controllers that learn of it one after the other, and what is to be published.

use std::collections::{BTreeMap, BTreeSet};

use crate::sync_faults::chance::Chance;

pub type Id = [u8; 16];
pub type Values = BTreeMap<String, Vec<String>>;

pub const HEAD: Id = [1; 16];
pub const STAFF: Id = [2; 16];
pub const WARD: Id = [3; 16];
pub const OTHER: Id = [4; 16];

/// Values of [`LEVEL`].
pub const LEVEL: &str = "extensionattribute1";
const LEVELS: [&str; 4] = ["secret", "unfindable", "nocontact", "open"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub parent: Option<Id>,
    pub rdn: String,
    pub deleted: bool,
    pub values: Values,
}

impl Object {
    fn first(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(|values| values.first()).map(String::as_str)
    }

    pub fn is_person(&self) -> bool {
        self.rdn.starts_with("CN=Person")
    }
}

pub type Objects = BTreeMap<Id, Object>;

/// Whether this person, as these objects are, is to be published.
pub fn is_published(objects: &Objects, id: &Id) -> bool {
    let Some(object) = objects.get(id).filter(|object| object.is_person() && !object.deleted) else {
        return false;
    };
    let mut at = object.parent;
    let below = loop {
        match at {
            Some(STAFF) => break true,
            Some(up) => at = objects.get(&up).and_then(|object| object.parent),
            None => break false,
        }
    };
    below
        && object.first("useraccountcontrol") != Some("514")
        && object.first("mail").is_some()
        && object.first(LEVEL) != Some("secret")
}

/// What changed when, and the newest of all.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    pub code: String,
    pub objects: Objects,
    pub log: Vec<(Id, Object)>,
    next: u64,
    /// Deleted objects keep what they have.
    pub recycle_bin: bool,
}

/// A person who goes to another organisation, by the number that stays the same everywhere.
#[derive(Debug, Clone)]
pub struct Mover(pub u64);

fn unit(parent: Option<Id>, rdn: &str, class: &str) -> Object {
    let values = BTreeMap::from([("objectclass".to_owned(), vec!["top".to_owned(), class.to_owned()])]);
    Object { parent, rdn: rdn.to_owned(), deleted: false, values }
}

impl Truth {
    pub fn new(code: &str, people: u64, recycle_bin: bool) -> Truth {
        let mut truth = Truth { code: code.to_owned(), recycle_bin, ..Truth::default() };
        truth.put(HEAD, unit(None, &format!("DC={}", code.to_lowercase()), "domainDNS"));
        truth.put(STAFF, unit(Some(HEAD), "OU=Staff", "organizationalUnit"));
        truth.put(WARD, unit(Some(STAFF), "OU=Ward", "organizationalUnit"));
        truth.put(OTHER, unit(Some(HEAD), "OU=Other", "organizationalUnit"));
        for _ in 0..people {
            truth.join(None);
        }
        truth
    }

    pub fn base(&self) -> String {
        format!("DC={},DC=test", self.code.to_lowercase())
    }

    fn put(&mut self, id: Id, object: Object) {
        self.log.push((id, object.clone()));
        self.objects.insert(id, object);
    }

    fn change(&mut self, id: Id, change: impl FnOnce(&mut Object)) {
        let mut object = self.objects[&id].clone();
        change(&mut object);
        if object != self.objects[&id] {
            self.put(id, object);
        }
    }

    fn id(&self, number: u64) -> Id {
        let mut id = [9; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        id[8..11].copy_from_slice(&self.code.as_bytes()[..3]);
        id
    }

    /// Somebody begins here: a new person, or one who was elsewhere. Whoever was here before comes back by being restored: two accounts of
    /// one person at one place are for somebody to decide.
    pub fn join(&mut self, mover: Option<Mover>) {
        let text = mover.as_ref().map(|mover| format!("{:08}", mover.0));
        let was_here = |object: &Object| text.is_some() && object.first("employeenumber") == text.as_deref();
        if self.log.iter().any(|(_, object)| was_here(object)) {
            return;
        }
        let number = self.next;
        self.next += 1;
        let code = self.code.to_lowercase();
        let parent = if number.is_multiple_of(3) { WARD } else { STAFF };
        let mut object = unit(Some(parent), &format!("CN=Person {number}"), "user");
        let person = mover.map_or_else(|| format!("{code}{number}"), |mover| format!("{:08}", mover.0));
        for (name, value) in [
            ("samaccountname", format!("n{number:03}")),
            ("sn", format!("Surname{number}")),
            ("displayname", format!("Person {number}")),
            ("mail", format!("m{number}@{code}.nhs.test")),
            ("title", "Nurse".to_owned()),
            ("telephonenumber", format!("0{number}")),
            ("employeenumber", person),
            ("useraccountcontrol", "512".to_owned()),
        ] {
            object.values.insert(name.to_owned(), vec![value]);
        }
        let id = self.id(number);
        self.put(id, object);
    }

    fn people(&self, deleted: bool) -> Vec<Id> {
        let people =
            self.objects.iter().filter(|(_, object)| object.is_person() && object.deleted == deleted);
        people.map(|(id, _)| *id).collect()
    }

    fn set(&mut self, id: Id, name: &str, value: Option<Vec<String>>) {
        self.change(id, |object| {
            object.values.remove(name);
            object.values.extend(value.map(|value| (name.to_owned(), value)));
        });
    }

    fn delete(&mut self, id: Id) {
        let keeps = self.recycle_bin;
        self.change(id, |object| {
            object.deleted = true;
            if !keeps {
                object.values.retain(|name, _| name == "objectclass" || name == "samaccountname");
            }
        });
    }

    /// Somebody comes back whose account was deleted; what a deletion took is filled in again.
    fn restore(&mut self, id: Id, chance: &mut Chance) {
        let number = u64::from_be_bytes(id[..8].try_into().unwrap());
        let code = self.code.to_lowercase();
        // somebody else may have the name or the mail by now
        let name = format!("r{number:03}x{}", chance.below(1_000_000));
        self.change(id, |object| {
            object.deleted = false;
            object.parent = Some(STAFF);
        });
        self.change(id, |object| {
            for (key, value) in [
                ("sn", "Back".to_owned()),
                ("displayname", format!("Back {number}")),
                ("mail", format!("{name}@{code}.nhs.test")),
                ("samaccountname", name.clone()),
                ("useraccountcontrol", "512".to_owned()),
            ] {
                object.values.insert(key.to_owned(), vec![value]);
            }
        });
    }

    /// Something of what happens in a directory in a day. Returns somebody who goes elsewhere.
    pub fn happen(&mut self, chance: &mut Chance) -> Option<Mover> {
        let people = self.people(false);
        let (Some(&one), Some(&two)) = (chance.pick(&people), chance.pick(&people)) else {
            self.join(None);
            return None;
        };
        match chance.below(16) {
            0 => self.join(None),
            1 => self.set(one, "title", Some(vec![format!("Grade {}", chance.below(9))])),
            2 => self.set(one, "title", None),
            // names and mails change places
            3 | 4 => {
                for name in ["samaccountname", "mail"] {
                    let value = |truth: &Truth, id: Id| truth.objects[&id].values.get(name).cloned();
                    let (a, b) = (value(self, one), value(self, two));
                    self.set(one, name, b);
                    self.set(two, name, a);
                }
            }
            5 | 6 => {
                let to = *chance.pick(&[STAFF, WARD, OTHER]).unwrap();
                self.change(one, |object| object.parent = Some(to));
            }
            7 => self.delete(one),
            8 => {
                let deleted = self.people(true);
                if let Some(&id) = chance.pick(&deleted) {
                    self.restore(id, chance);
                }
            }
            9 => {
                let flags = if chance.one_in(3) { "514" } else { "512" };
                self.set(one, "useraccountcontrol", Some(vec![flags.to_owned()]));
            }
            10 => {
                let there = if chance.one_in(5) { OTHER } else { STAFF };
                let named = format!("OU=Ward {}", chance.below(50));
                self.change(WARD, |object| (object.parent, object.rdn) = (Some(there), named));
            }
            11 => self.set(one, LEVEL, Some(vec![(*chance.pick(&LEVELS).unwrap()).to_owned()])),
            12 => {
                let to = uuid::Uuid::from_bytes_le(two).to_string();
                self.set(one, "manager", (!chance.one_in(4)).then(|| vec![to]));
            }
            13 => {
                let other = self.objects[&two].values.get("mail").cloned();
                // a mail is given up by one and taken by another
                if one != two && other.is_some() {
                    self.set(two, "mail", None);
                    self.set(one, "mail", other);
                }
            }
            _ => {
                let number =
                    self.objects[&one].first("employeenumber").and_then(|text| text.parse::<u64>().ok());
                let mover = number.unwrap_or_else(|| chance.below(100_000_000));
                self.set(one, "employeenumber", Some(vec![format!("{mover:08}")]));
                if chance.one_in(2) {
                    self.delete(one)
                } else {
                    self.change(one, |o| o.parent = Some(OTHER))
                }
                return Some(Mover(mover));
            }
        }
        None
    }
}

pub type People = BTreeMap<String, BTreeMap<String, String>>;

/// What is to be published, said without the program's help: by anchor.
pub fn expected(truth: &Truth, people_base: &str) -> People {
    let name = |object: &Object| {
        format!("uid={},ou={},{people_base}", object.first("samaccountname").unwrap(), truth.code)
    };
    let mut people = People::new();
    for (id, object) in truth.objects.iter().filter(|(id, _)| is_published(&truth.objects, id)) {
        let mut entry = BTreeMap::new();
        for (to, from) in [
            ("uid", "samaccountname"),
            ("cn", "displayname"),
            ("sn", "sn"),
            ("mail", "mail"),
            ("title", "title"),
            ("telephonenumber", "telephonenumber"),
            ("employeenumber", "employeenumber"),
        ] {
            let hidden = to == "telephonenumber" && object.first(LEVEL) == Some("nocontact");
            let value = object.first(from).filter(|_| !hidden);
            entry.extend(value.map(|value| (to.to_owned(), value.to_owned())));
        }
        let manager = object.first("manager").and_then(|text| {
            let manager = uuid::Uuid::parse_str(text).unwrap().to_bytes_le();
            let other = truth.objects.get(&manager).filter(|_| is_published(&truth.objects, &manager))?;
            (other.first(LEVEL) != Some("unfindable")).then(|| name(other))
        });
        entry.extend(manager.map(|manager| ("manager".to_owned(), manager)));
        people.insert(format!("{}/{}", truth.code, uuid::Uuid::from_bytes_le(*id)), entry);
    }
    people
}

/// An object as a controller has it.
#[derive(Debug, Clone)]
pub struct Copy {
    /// The USN of each attribute's last change; `name` and `parentguid` are among them.
    pub usns: BTreeMap<String, u64>,
    pub usn: u64,
}

/// One domain controller.
#[derive(Debug, Clone)]
pub struct Controller {
    pub host: String,
    pub invocation: Id,
    /// How much of the truth it has heard of.
    heard: usize,
    pub usn: u64,
    pub objects: Objects,
    pub copies: BTreeMap<Id, Copy>,
    pub synchronized: bool,
    pub read_only: bool,
    saved: Option<Box<Controller>>,
}

impl Controller {
    pub fn new(host: &str, number: u8) -> Controller {
        Controller {
            host: host.to_owned(),
            invocation: [number; 16],
            heard: 0,
            // two controllers never count alike
            usn: u64::from(number) * 1_000,
            objects: Objects::new(),
            copies: BTreeMap::new(),
            synchronized: true,
            read_only: false,
            saved: None,
        }
    }

    /// Hears of up to `most` more changes.
    pub fn hear(&mut self, truth: &Truth, most: usize) {
        let until = truth.log.len().min(self.heard.saturating_add(most));
        for (id, object) in &truth.log[self.heard..until] {
            self.usn += 1;
            let before = self.objects.insert(*id, object.clone());
            let copy = self.copies.entry(*id).or_insert_with(|| Copy { usns: BTreeMap::new(), usn: 0 });
            copy.usn = self.usn;
            let was = |name: &str| before.as_ref().and_then(|before| before.values.get(name));
            let names: BTreeSet<&String> =
                object.values.keys().chain(before.iter().flat_map(|before| before.values.keys())).collect();
            for name in names.into_iter().filter(|name| was(name) != object.values.get(*name)) {
                copy.usns.insert(name.clone(), self.usn);
            }
            if before.as_ref().is_none_or(|before| before.rdn != object.rdn) {
                copy.usns.insert("name".to_owned(), self.usn);
            }
            if before.as_ref().is_none_or(|before| before.parent != object.parent) {
                copy.usns.insert("parentguid".to_owned(), self.usn);
            }
            if before.as_ref().is_some_and(|before| before.deleted) != object.deleted {
                copy.usns.insert("isdeleted".to_owned(), self.usn);
            }
        }
        self.heard = until;
    }

    pub fn save(&mut self) {
        self.saved = None;
        self.saved = Some(Box::new(self.clone()));
    }

    /// Goes back to what was saved. `known`: it says so, by another identity of its database. Returns whether anything was saved.
    pub fn go_back(&mut self, known: Option<u8>) -> bool {
        let Some(saved) = self.saved.take() else { return false };
        let invocation = known.map_or(self.invocation, |number| [number; 16]);
        *self = Controller { invocation, ..*saved };
        true
    }
}
