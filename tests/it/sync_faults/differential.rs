//! The scripted national directory does and refuses what a real one does: the same random writes on it and on slapd, result by result, and
//! the same entries at the end.

use std::collections::{BTreeMap, BTreeSet};

use portcullis::directory::client::Directory;
use portcullis::directory::request::{Change, RawControl, Scope, Search};
use portcullis::ldap::entry::Attribute;
use portcullis::ldap::filter::Filter;
use portcullis::ldap::typed_control;

use crate::sync_crash::connect;
use crate::sync_faults::chance::Chance;
use crate::sync_faults::national::PEOPLE;
use crate::sync_faults::tree::{Kind, Tree, Write, key};
use crate::sync_national::{Pki, Slapd};

const WRITES: u32 = 3_000;
const CLASSES: [&str; 5] = ["top", "person", "organizationalPerson", "inetOrgPerson", "portcullisEntry"];

fn bytes(values: &[String]) -> Vec<Vec<u8>> {
    values.iter().map(|value| value.clone().into_bytes()).collect()
}

fn name(chance: &mut Chance) -> String {
    let rdn =
        ["uid=a", "uid=B", "uid=c", "uid=left:1", "UID=a", "ou=x", "uid=b,uid=a"][chance.below(7) as usize];
    let up = [PEOPLE, "ou=RXS,ou=people,dc=national,dc=test", "ou=nowhere,dc=national,dc=test"];
    let at = if chance.one_in(8) { 2 } else { chance.below(2) as usize };
    format!("{rdn},{}", up[at])
}

fn values(chance: &mut Chance, attribute: &str) -> Vec<String> {
    let all: Vec<String> = match attribute {
        "objectClass" => CLASSES.iter().map(|class| (*class).to_owned()).collect(),
        "portcullisLeftAt" => vec!["20261129000000Z".to_owned()],
        "manager" => vec![format!("uid=a,{PEOPLE}")],
        _ => ["one", "two", "One", "RXS/1"].iter().map(|value| (*value).to_owned()).collect(),
    };
    if matches!(attribute, "objectClass" | "portcullisLeftAt" | "manager") && !chance.one_in(8) {
        return all;
    }
    (0..chance.below(3)).map(|_| chance.pick(&all).unwrap().clone()).collect()
}

const ATTRIBUTES: [&str; 12] = [
    "cn",
    "sn",
    "uid",
    "mail",
    "title",
    "portcullisAnchor",
    "portcullisMember",
    "portcullisStamp",
    "portcullisLeftAt",
    "manager",
    "objectClass",
    "employeeNumber",
];

fn write(chance: &mut Chance) -> Write {
    let dn = name(chance);
    match chance.below(8) {
        0 | 1 => {
            let rdn = dn.split_once(',').unwrap().0.split_once('=').unwrap();
            let unit = rdn.0 == "ou";
            let mut all: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            if unit {
                all.insert("objectClass", vec!["organizationalUnit".to_owned()]);
                all.insert("ou", vec![rdn.1.to_owned()]);
            } else {
                for one in ["objectClass", "cn", "sn", "portcullisAnchor", "portcullisMember", "mail"] {
                    let some = if one == "objectClass" {
                        CLASSES.map(str::to_owned).to_vec()
                    } else {
                        vec!["one".to_owned()]
                    };
                    all.insert(one, some);
                }
                all.insert("uid", vec![rdn.1.to_owned()]);
            }
            if chance.one_in(3) {
                all.remove(*chance.pick(&["cn", "sn", "portcullisAnchor", "mail", "objectClass"]).unwrap());
            }
            let attributes = all.into_iter().map(|(name, values)| (name.to_owned(), values)).collect();
            Write::Add { dn, attributes }
        }
        2 => Write::Delete { dn },
        3 => {
            let to = name(chance);
            let (rdn, superior) = to.split_once(',').unwrap();
            let superior = (!chance.one_in(3)).then(|| superior.to_owned());
            Write::Rename { dn, rdn: rdn.to_owned(), delete_old: !chance.one_in(4), superior }
        }
        _ => {
            let changes = (0..1 + chance.below(3)).map(|_| {
                let attribute = *chance.pick(&ATTRIBUTES).unwrap();
                let kind = *chance.pick(&[Kind::Replace, Kind::Replace, Kind::Add, Kind::Delete]).unwrap();
                let mut values = values(chance, attribute);
                if kind == Kind::Add && values.is_empty() {
                    values.push("one".to_owned());
                }
                // the client sends a set
                let values: BTreeSet<String> = values.into_iter().collect();
                (kind, attribute.to_owned(), values.into_iter().collect())
            });
            Write::Modify { dn, changes: changes.collect() }
        }
    }
}

fn condition(chance: &mut Chance) -> Option<Filter<'static>> {
    let filters = [
        "(mail=one)",
        "(!(portcullisAnchor=*))",
        "(&(title=TWO)(cn=*))",
        "(portcullisAnchor=rxs/1)",
        "(entryUUID=*)",
    ];
    let text = *chance.pick(&filters).unwrap();
    chance.one_in(3).then(|| Filter::parse(text).unwrap().into_owned())
}

async fn really(directory: &mut Directory, write: &Write, condition: Option<&Filter<'_>>) -> u32 {
    let controls: Vec<RawControl> = condition
        .map(|filter| typed_control::assertion(filter, true))
        .map(|control| RawControl {
            oid: control.oid.into_owned(),
            critical: true,
            value: control.value.map(std::borrow::Cow::into_owned),
        })
        .into_iter()
        .collect();
    let outcome = match write {
        Write::Add { dn, attributes } => {
            let all: Vec<Attribute> = attributes
                .iter()
                .map(|(name, values)| Attribute { description: name.clone(), values: bytes(values) })
                .collect();
            directory.add(dn, &all, Vec::new()).await
        }
        Write::Modify { dn, changes } => {
            let changes: Vec<Change> = changes
                .iter()
                .map(|(kind, attribute, values)| {
                    let (attribute, values) = (attribute.clone(), bytes(values));
                    match kind {
                        Kind::Add => Change::Add { attribute, values },
                        Kind::Delete => Change::Delete { attribute, values },
                        Kind::Replace => Change::Replace { attribute, values },
                    }
                })
                .collect();
            directory.modify(dn, &changes, controls).await
        }
        Write::Rename { dn, rdn, delete_old, superior } => {
            directory.rename(dn, rdn, *delete_old, superior.as_deref(), controls).await
        }
        Write::Delete { dn } => directory.delete(dn, controls).await,
    };
    outcome.unwrap().code
}

type Content = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

async fn content(directory: &mut Directory) -> Content {
    let mut names: Vec<&str> = ATTRIBUTES.to_vec();
    names.push("ou");
    let search = Search::new(PEOPLE, Scope::Subtree, Filter::present("objectClass"), &names);
    let (entries, done) = directory.read(&search).await.unwrap();
    assert!(done.is_complete());
    entries
        .into_iter()
        .map(|entry| {
            let all = entry.attributes.iter().map(|attribute| {
                let values = attribute.values.iter().map(|value| String::from_utf8(value.clone()).unwrap());
                (attribute.description.to_lowercase(), values.collect())
            });
            (key(&entry.dn).unwrap(), all.collect())
        })
        .collect()
}

fn scripted(tree: &Tree) -> Content {
    let below = tree.entries.iter().filter(|(key, _)| key.ends_with(&key_of_people()));
    below
        .map(|(key, entry)| {
            let all = entry
                .attributes
                .iter()
                .map(|(name, values)| (name.clone(), values.iter().cloned().collect()));
            (key.clone(), all.collect())
        })
        .collect()
}

fn key_of_people() -> String {
    key(PEOPLE).unwrap()
}

/// Which of two reasons a server names first is its own affair; that it refuses is not.
#[tokio::test]
async fn the_scripted_national_directory_is_as_a_real_one() {
    let pki = Pki::new();
    let Some(slapd) = Slapd::start("the_scripted_national_directory_is_as_a_real_one", &pki) else { return };
    let mut directory = connect(&slapd).await;
    let mut tree = Tree::with(&[
        ("dc=national,dc=test", &[("objectclass", "organizationalUnit"), ("ou", "national")]),
        (PEOPLE, &[("objectclass", "organizationalUnit"), ("ou", "people")]),
    ]);
    let mut chance = Chance::new(20_261_129);
    let (mut codes, mut other) = (BTreeMap::new(), Vec::new());
    let unit = Write::Add {
        dn: format!("ou=RXS,{PEOPLE}"),
        attributes: vec![
            ("objectClass".to_owned(), vec!["organizationalUnit".to_owned()]),
            ("ou".to_owned(), vec!["RXS".to_owned()]),
        ],
    };
    assert_eq!((tree.write(&unit, None).code, really(&mut directory, &unit, None).await), (0, 0));
    for number in 0..WRITES {
        let (write, condition) = (write(&mut chance), condition(&mut chance));
        let condition = condition.filter(|_| !matches!(write, Write::Add { .. }));
        let before = tree.clone();
        let said = tree.write(&write, condition.as_ref()).code;
        let found = really(&mut directory, &write, condition.as_ref()).await;
        *codes.entry(found).or_insert(0) += 1;
        if (said == 0) != (found == 0) {
            let dn = match &write {
                Write::Add { dn, .. }
                | Write::Modify { dn, .. }
                | Write::Rename { dn, .. }
                | Write::Delete { dn } => dn,
            };
            let entry = before.entries.get(&key(dn).unwrap());
            panic!("write {number}: scripted {said}, real {found}: {write:?} {condition:?} of {entry:?}");
        }
        if said != found {
            other.push((said, found));
        }
        if number % 100 == 0 {
            assert_eq!(scripted(&tree), content(&mut directory).await, "after write {number}: {write:?}");
        }
    }
    assert_eq!(scripted(&tree), content(&mut directory).await);
    let kinds: BTreeSet<&u32> = codes.keys().collect();
    eprintln!("{WRITES} writes, real result codes {codes:?}, refused for another reason: {}", other.len());
    for code in [0, 16, 20, 32, 64, 65, 66, 68, 122] {
        assert!(kinds.contains(&code), "no write came to {code}: {codes:?}");
    }
    // what sync goes by is the same code, not only a refusal
    let wrong: BTreeSet<_> = other.iter().filter(|(_, found)| matches!(found, 32 | 68 | 122)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
