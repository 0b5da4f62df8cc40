//! Requests of every kind: attributes in every spelling, every kind of filter item nested to depth 6, bases, limits,
//! controls.

use std::borrow::Cow;

use portcullis::ldap::ber;
use portcullis::ldap::codec;
use portcullis::ldap::control::Control;
use portcullis::ldap::filter::{Assertion, Extensible, Filter, Substrings};
use portcullis::ldap::filter_wire;
use portcullis::ldap::message::{Compare, Dereference, Message, Operation, Scope, Search};
use portcullis::ldap::typed_control::{MATCHED_VALUES, PagedResults, Sort, SortKey};
use portcullis::proxy::engine::completeness;
use portcullis::release::spelling::KNOWN;

use super::chance::Rng;
use super::worlds::{EVERYBODY, HOMES, Home, OUTSIDE, PEOPLE, WORDS, federated, guid, guid_text, person};

const NAMES: &[&str] = &[
    "cn",
    "CN",
    "2.5.4.3",
    "sn",
    "surname",
    "givenName",
    "displayName",
    "mail",
    "OID.0.9.2342.19200300.100.1.3",
    "uid",
    "sAMAccountName",
    "telephoneNumber",
    "description",
    "2.5.4.13",
    "manager",
    "memberOf",
    "member",
    "entryUUID",
    "objectGUID",
    "objectClass",
    "userAccountControl",
    "objectCategory",
    "anr",
    "thumbnailPhoto",
    "directReports",
    // hidden, unknown, or masked by options
    "employeeNumber",
    "EMPLOYEENUMBER",
    "2.16.840.1.113730.3.1.3",
    "1.2.840.113556.1.2.610",
    "info",
    "title",
    "name",
    "mobile",
    "unicodePwd",
    "notListed",
    "distinguishedName",
    "noSuchThing",
    "cn;lang-en",
    "employeeNumber;x-secret",
    "description;binary",
    "1.2.840.113556.1.4.1208",
];

/// An attribute in one of its spellings: name, alias, OID with or without prefix, any case, options now and then.
pub fn spelling(rng: &mut Rng) -> String {
    let mut name = if rng.one_in(3) {
        let known = &KNOWN[rng.below(KNOWN.len())];
        let at = rng.below(known.others.len() + 1);
        known.others.get(at).copied().unwrap_or(known.name).to_owned()
    } else {
        rng.pick(NAMES).to_owned()
    };
    if rng.one_in(4) {
        let flip =
            |c: char| if c.is_ascii_uppercase() { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() };
        name = name.chars().map(|c| if rng.one_in(2) { flip(c) } else { c }).collect();
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) && rng.one_in(2) {
        name.insert_str(0, rng.pick(&["OID.", "oid."]));
    }
    if !name.contains(';') && rng.one_in(12) {
        name.push_str(rng.pick(&[";binary", ";lang-en", ";x-secret", ";BINARY"]));
    }
    name
}

pub fn assertion_value(rng: &mut Rng) -> Vec<u8> {
    match rng.below(14) {
        10 => {
            let names = [
                "<GUID=070e151c-232a-3138-3f46-4d545b626970>",
                "<SID=S-1-5-21-1-2-3-1104>",
                "<WKGUID=a9d1ca15768811d1aded00c04fd8d5cd,DC=rxa,DC=trust,DC=test>",
                "B:8:0a0b0c0d:CN=P1,OU=Staff,DC=rxa,DC=trust,DC=test",
                "S:5:stuff:CN=P1,OU=Staff,ou=RXA,o=federation",
                "CN=P1,OU=Staff,ou=RXA,o=federation#'0101'B",
            ];
            rng.pick(&names).into()
        }
        11 => rng
            .pick(&["Sm\u{ad}ith", "Ｓmith", "a\u{a0}b", "  a   b ", "SMITH", "\u{200b}a", "not-listed"])
            .into(),
        0 => federated(home(rng), rng.below(EVERYBODY)).into_bytes(),
        1 => person(home(rng), rng.below(PEOPLE)).into_bytes(),
        2 => OUTSIDE.as_bytes().to_vec(),
        3 => guid(rng.below(EVERYBODY)),
        4 => guid_text(rng.below(PEOPLE)).into_bytes(),
        5 => {
            rng.pick(&["person", "user", "computer", "top", "group", "inetOrgPerson", "msSecretClass"]).into()
        }
        6 => rng.pick(&["512", "2", "66048", "-1"]).into(),
        7 => rng
            .pick(&["CN=Person,CN=Schema,CN=Configuration,DC=trust,DC=test", "", "=a", "TRUE", "FALSE"])
            .into(),
        8 => format!("moved from ou=x, {}", home(rng).local).into_bytes(),
        9 => vec![0xff, 0x00],
        _ => rng.pick(WORDS).into(),
    }
}

pub fn leaf(rng: &mut Rng) -> Filter<'static> {
    let name = spelling(rng);
    let assertion = |rng: &mut Rng| Assertion::new(name.clone(), assertion_value(rng));
    match rng.below(8) {
        0 | 1 => Filter::Present(Cow::Owned(name)),
        2 => Filter::GreaterOrEqual(assertion(rng)),
        3 => Filter::LessOrEqual(assertion(rng)),
        4 => Filter::Approximate(assertion(rng)),
        5 => {
            let part = |rng: &mut Rng| -> Option<Cow<'static, [u8]>> {
                rng.one_in(2).then(|| Cow::Owned(rng.pick(WORDS).as_bytes().to_vec()))
            };
            let (initial, last) = (part(rng), part(rng));
            let mut any: Vec<_> = part(rng).into_iter().collect();
            if initial.is_none() && last.is_none() && any.is_empty() {
                any.push(Cow::Borrowed(&b"a"[..]));
            }
            Filter::Substrings(Substrings { attribute: Cow::Owned(name), initial, any, last })
        }
        6 => {
            let rules = [
                "caseIgnoreMatch",
                "2.5.13.2",
                "1.2.840.113556.1.4.803",
                "1.2.840.113556.1.4.804",
                "1.2.840.113556.1.4.1941",
                "caseExactMatch",
                "distinguishedNameMatch",
                "nonsense",
            ];
            let attribute = (!rng.one_in(5)).then_some(Cow::Owned(name));
            let rule = (attribute.is_none() || !rng.one_in(3)).then(|| Cow::Borrowed(rng.pick(&rules)));
            let dn_attributes = rng.one_in(5);
            Filter::Extensible(Extensible {
                rule,
                attribute,
                value: assertion_value(rng).into(),
                dn_attributes,
            })
        }
        _ => Filter::Equality(assertion(rng)),
    }
}

pub fn filter(rng: &mut Rng, depth: usize) -> Filter<'static> {
    if depth == 0 || rng.one_in(3) {
        return leaf(rng);
    }
    match rng.below(3) {
        0 => filter(rng, depth - 1).negate(),
        sign => {
            let parts = (0..rng.below(4)).map(|_| filter(rng, depth - 1)).collect();
            if sign == 1 { Filter::And(parts) } else { Filter::Or(parts) }
        }
    }
}

pub fn home(rng: &mut Rng) -> &'static Home {
    &HOMES[rng.below(HOMES.len())]
}

/// A filter that many entries match, alone or with a random one.
fn broad(rng: &mut Rng) -> Filter<'static> {
    let plain =
        ["objectClass", "cn", "description", "sn", "mail", "manager", "member", "uid", "telephoneNumber"];
    let many = Filter::present(rng.pick(&plain));
    match rng.below(6) {
        0 => Filter::Or(vec![many, filter(rng, 5)]),
        1 => Filter::And(vec![many, filter(rng, 5)]),
        2 => Filter::And(vec![many, filter(rng, 5).negate()]),
        _ => many,
    }
}

/// The attributes that are asked for.
pub fn attributes(rng: &mut Rng) -> Vec<String> {
    let lists: [&[&str]; 8] =
        [&[], &["*"], &["1.1"], &["+"], &["@person"], &["*", "+"], &["1.1", "cn"], &["cn", "CN", "2.5.4.3"]];
    match rng.below(3) {
        0 => lists[rng.below(lists.len())].iter().map(|name| (*name).to_owned()).collect(),
        _ => (0..rng.below(5)).map(|_| spelling(rng)).collect(),
    }
}

/// A name in one of its spellings.
fn respelt(rng: &mut Rng, name: &str) -> String {
    match rng.below(6) {
        0 => name.to_uppercase(),
        1 => name.replace(',', ", "),
        2 => name.replace("ou=", "2.5.4.11="),
        3 => name.replace("ou=", "OID.2.5.4.11=").replace("cn=P", "cn=\\50"),
        _ => name.to_owned(),
    }
}

/// Where a search begins. One in four begins at the root of the tree and so asks several directories.
fn base(rng: &mut Rng) -> String {
    let home = home(rng);
    let name = match rng.below(16) {
        0..=3 => "o=federation".to_owned(),
        4..=7 => home.federated.to_owned(),
        8 | 9 => format!("ou=Staff,{}", home.federated),
        10 => federated(home, rng.below(PEOPLE)),
        11 => federated(home, PEOPLE + rng.below(EVERYBODY - PEOPLE)),
        12 => format!("ou=Hidden,{}", home.federated),
        13 => format!("cn=P{EVERYBODY},ou=Hidden,{}", home.federated),
        14 => format!("cn=Nobody,ou=Nowhere,{}", home.federated),
        _ => {
            let odd = [
                "",
                "cn=subschema",
                "ou=RXZ,o=federation",
                "ou=closed,o=federation",
                "ou=RXC,o=federation",
                "cn=P1,ou=Staff,ou=RXC,o=federation",
                "dc=elsewhere,dc=test",
                "DC=rxa,DC=trust,DC=test",
                "<GUID=070e151c-232a-3138-3f46-4d545b626970>",
                "<SID=S-1-5-21-1-2-3-1104>",
                "<WKGUID=a9d1ca15768811d1aded00c04fd8d5cd,ou=RXA,o=federation>",
                "no name",
            ];
            return rng.pick(&odd).to_owned();
        }
    };
    respelt(rng, &name)
}

fn scope(rng: &mut Rng) -> Scope {
    [Scope::Base, Scope::One, Scope::Subtree, Scope::Subtree, Scope::Children][rng.below(5)]
}

/// Any search.
pub fn search(rng: &mut Rng) -> Search<'static> {
    let dereference = [Dereference::Never, Dereference::Always][rng.below(2)];
    Search {
        base: base(rng).into(),
        scope: scope(rng),
        dereference,
        size_limit: if rng.one_in(2) { 0 } else { rng.below(EVERYBODY + 2) as u32 },
        time_limit: [0, 20][rng.below(2)],
        types_only: rng.one_in(4),
        filter: if rng.one_in(3) { broad(rng) } else { filter(rng, 6) },
        attributes: attributes(rng).into_iter().map(Cow::Owned).collect(),
    }
}

/// A search that is likely to find many: pages, orders and limits mean something then.
pub fn wide(rng: &mut Rng) -> Search<'static> {
    let home = home(rng);
    let base = match rng.below(4) {
        0 | 1 => "o=federation".to_owned(),
        2 => home.federated.to_owned(),
        _ => format!("ou=Staff,{}", home.federated),
    };
    Search {
        base: respelt(rng, &base).into(),
        scope: [Scope::Subtree, Scope::Subtree, Scope::Children, Scope::One][rng.below(4)],
        size_limit: if rng.one_in(4) { rng.below(3 * EVERYBODY) as u32 } else { 0 },
        filter: if rng.one_in(6) { filter(rng, 6) } else { broad(rng) },
        ..search(rng)
    }
}

/// Any compare; half of them are about values that somebody has.
pub fn compare(rng: &mut Rng) -> Compare<'static> {
    let (home, n) = (home(rng), rng.below(EVERYBODY));
    let dn = if rng.one_in(10) { base(rng) } else { federated(home, n) };
    let assertion = match rng.below(6) {
        0..=2 => {
            let names = ["cn", "objectClass", "entryUUID", "commonName", "2.5.4.3;lang-en"];
            let values = [format!("p{n}"), "person".to_owned(), guid_text(n)];
            Assertion::new(rng.pick(&names).to_owned(), values[rng.below(3)].clone().into_bytes())
        }
        3 | 4 => {
            let names = [
                "sn",
                "givenName",
                "mail",
                "description",
                "telephoneNumber",
                "employeeNumber",
                "info",
                "mobile",
            ];
            Assertion::new(rng.pick(&names).to_owned(), rng.pick(WORDS).as_bytes().to_vec())
        }
        _ => Assertion::new(spelling(rng), assertion_value(rng)),
    };
    Compare { dn: dn.into(), assertion }
}

pub fn message(id: i32, operation: Operation<'_>, controls: &[Control<'static>]) -> Vec<u8> {
    codec::to_bytes(&Message { id, operation, controls: controls.to_vec() })
}

pub fn page(size: u32, cookie: &[u8], critical: bool) -> Control<'static> {
    PagedResults { size, cookie: cookie.to_vec() }.control(critical)
}

/// A sort by one key or several, released, hidden and unknown ones.
pub fn sort(rng: &mut Rng) -> Control<'static> {
    let good = [
        "cn",
        "sn",
        "mail",
        "uid",
        "displayName",
        "2.5.4.42",
        "description",
        "userAccountControl",
        "entryUUID",
    ];
    let rules = ["caseIgnoreOrderingMatch", "2.5.13.15", "caseExactOrderingMatch", "1.2.840.113556.1.4.1499"];
    let hidden = ["employeeNumber", "info", "title", "mobile", "unicodePwd", "employeeNumber;x-secret"];
    let keys = (0..1 + rng.below(3)).map(|_| SortKey {
        attribute: match rng.below(8) {
            0 => spelling(rng),
            1 => rng.pick(&hidden).to_owned(),
            _ => rng.pick(&good).to_owned(),
        },
        rule: rng.one_in(6).then(|| rng.pick(&rules).to_owned()),
        reverse: rng.one_in(3),
    });
    let keys = keys.collect();
    Sort(keys).control(rng.one_in(3))
}

/// Matched values: items of every kind.
pub fn matched(rng: &mut Rng) -> Control<'static> {
    let mut value = Vec::new();
    let list = ber::open(&mut value, ber::SEQUENCE);
    for _ in 0..1 + rng.below(3) {
        filter_wire::write(&leaf(rng), &mut value);
    }
    ber::close(&mut value, list);
    Control { oid: MATCHED_VALUES.into(), critical: rng.one_in(2), value: Some(value.into()) }
}

/// The list of who answered.
pub fn list() -> Control<'static> {
    Control { oid: completeness::REQUEST.into(), critical: false, value: None }
}

/// Controls that are not obeyed, here or at all, and some that are malformed.
pub fn odd_control(rng: &mut Rng) -> Control<'static> {
    let oids = [
        "1.2.840.113556.1.4.841",
        "1.2.840.113556.1.4.417",
        "1.2.840.113556.1.4.970",
        "1.2.840.113556.1.4.2211",
        "1.2.840.113556.1.4.1504",
        "1.2.840.113556.1.4.529",
        "2.16.840.1.113730.3.4.2",
        "2.16.840.1.113730.3.4.18",
        "2.16.840.1.113730.3.4.9",
        "1.3.6.1.1.12",
        PagedResults::OID,
        Sort::OID,
        MATCHED_VALUES,
    ];
    let value = [None, Some(&b"\x30\x00"[..]), Some(&b"rubbish"[..])][rng.below(3)];
    Control { oid: rng.pick(&oids).into(), critical: rng.one_in(2), value: value.map(Into::into) }
}
