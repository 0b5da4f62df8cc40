//! However a name, an attribute, a class or a value is spelled, it means one thing, and nothing internal comes out.

use portcullis::ldap::codec;
use portcullis::ldap::dn::Dn;
use portcullis::ldap::entry::{Attribute, Entry, EntryReader};
use portcullis::ldap::filter::{Assertion, Filter};
use portcullis::ldap::limits::Limits;
use portcullis::ldap::matching::Key;
use portcullis::ldap::message::{Message, Operation};
use portcullis::ldap::schema::{ATTRIBUTES, Syntax};
use portcullis::ldap::truth::{Truth, evaluate};
use portcullis::namespace::mapping::Mapping;
use portcullis::namespace::projection::{Projection, Scratch};
use portcullis::namespace::questions::filter_to_local;
use portcullis::namespace::values::Translation;
use portcullis::release::hide::{comparable, conceal};
use portcullis::release::spelling::{self, KNOWN};
use portcullis::release::view::{View, Wanted};
use proptest::prelude::*;

const LOCAL: &str = "DC=rxa,DC=trust,DC=test";

/// One type with its value.
type Part = (usize, String);

const TYPES: &[&[&str]] = &[
    &["cn", "commonName", "2.5.4.3", "OID.2.5.4.3"],
    &["ou", "organizationalUnitName", "2.5.4.11", "oid.2.5.4.11"],
    &["dc", "domainComponent", "0.9.2342.19200300.100.1.25"],
    &["uid", "userid", "0.9.2342.19200300.100.1.1"],
];

fn any_name() -> impl Strategy<Value = Vec<Vec<Part>>> {
    let c = prop::sample::select("abcxyzABC019 ,+=\"\\<>;#é李-.".chars().collect::<Vec<_>>());
    let value = prop::collection::vec(c, 1..8).prop_map(|c| c.into_iter().collect::<String>());
    let value = value.prop_filter("a value has something in it", |v| !v.trim().is_empty());
    let part = (0..TYPES.len(), value);
    prop::collection::vec(prop::collection::vec(part, 1..3), 1..5)
}

/// A source of choices.
struct Choice(u64);

impl Choice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

fn spell_value(value: &str, choice: &mut Choice) -> String {
    let value: String = value
        .chars()
        .map(|c| if c.is_ascii_alphabetic() && choice.below(2) == 0 { flipped(c) } else { c })
        .collect();
    if choice.below(6) == 0 {
        let tag = ["04", "0c"][choice.below(2)];
        let hex: String = value.bytes().map(|b| format!("{b:02x}")).collect();
        return format!("#{tag}{:02X}{hex}", value.len());
    }
    let mut out = String::new();
    let (last, length) = (value.chars().count() - 1, value.chars().count());
    for (at, c) in value.chars().enumerate() {
        let edge = at == 0 || at == last;
        let must = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (c == '#' && at == 0)
            || (c == ' ' && edge);
        let may = must || matches!(c, ' ' | '#' | '=');
        match choice.below(3) {
            0 => c.encode_utf8(&mut [0; 4]).bytes().for_each(|b| out.push_str(&format!("\\{b:02x}"))),
            1 if may => out.extend(['\\', c]),
            _ if must => out.extend(['\\', c]),
            _ => out.push(c),
        }
        if c == ' ' && !edge && length > 2 && choice.below(2) == 0 {
            out.push_str("\\20");
        }
    }
    out
}

fn flipped(c: char) -> char {
    if c.is_ascii_uppercase() { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() }
}

fn spell(name: &[Vec<Part>], choice: &mut Choice) -> String {
    let blank = |choice: &mut Choice| ["", " ", "  "][choice.below(3)];
    let rdns: Vec<String> = name
        .iter()
        .map(|parts| {
            let mut parts: Vec<String> = parts
                .iter()
                .map(|(kind, value)| {
                    let kinds = TYPES[*kind];
                    let mut kind = kinds[choice.below(kinds.len())].to_owned();
                    if choice.below(2) == 0 {
                        kind = kind.to_uppercase();
                    }
                    let value = spell_value(value, choice);
                    format!("{kind}{}={}{value}", blank(choice), blank(choice))
                })
                .collect();
            if choice.below(2) == 0 {
                parts.reverse();
            }
            parts.join(["+", " + ", "+ "][choice.below(3)])
        })
        .collect();
    rdns.join([",", ", ", " , "][choice.below(3)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// T38: random spellings of one name have one key, and printing it is one more spelling.
    #[test]
    fn spellings_of_one_name_have_one_key(name in any_name(), one: u64, other: u64) {
        let one = spell(&name, &mut Choice(one | 1));
        let other = spell(&name, &mut Choice(other | 1));
        let (a, b) = (Dn::parse(&one), Dn::parse(&other));
        prop_assert!(a.is_ok() && b.is_ok(), "{one} / {other}");
        let (a, b) = (a.unwrap(), b.unwrap());
        prop_assert_eq!(a.normal(), b.normal(), "{} / {}", one, other);
        let printed = Dn::parse(&a.to_string()).unwrap();
        prop_assert_eq!(printed.to_string(), a.to_string());
        prop_assert_eq!(printed.normal(), a.normal());
        let key = |text: &str| Key::of(Syntax::Dn, text.as_bytes());
        prop_assert_eq!(key(&one), key(&other));
    }

    /// T38: a suffix inside a value is no suffix, in any spelling; a name is below what it ends in.
    #[test]
    fn a_suffix_inside_a_value_is_no_suffix(name in any_name(), choice: u64) {
        let mapping = Mapping::active_directory("ou=RXA,o=federation", "dc=nat").unwrap();
        let mut choice = Choice(choice | 1);
        let mut evil = name.clone();
        evil.push(vec![(0, "evil,dc=nat".to_owned())]);
        prop_assert_eq!(mapping.dn_to_federated(&spell(&evil, &mut choice)), None);
        let mut good = name;
        good.push(vec![(2, "nat".to_owned())]);
        let text = spell(&good, &mut choice);
        let carried = mapping.dn_to_federated(&text);
        prop_assert!(carried.is_some(), "{text}");
        let back = mapping.dn_to_local(&carried.unwrap()).unwrap();
        prop_assert_eq!(Dn::parse(&back).unwrap().normal(), Dn::parse(&text).unwrap().normal());
    }
}

fn spellings(known: &spelling::Known) -> Vec<String> {
    let mut all = Vec::new();
    for name in known.others.iter().chain([&known.name]) {
        all.extend([(*name).to_owned(), name.to_uppercase(), name.to_lowercase()]);
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            all.extend([format!("OID.{name}"), format!("oid.{name}")]);
        }
    }
    all
}

/// Every kind of item on an attribute.
fn items(name: &str) -> Vec<String> {
    let number = "1.2.840.113556.1.4.803";
    [
        "=*",
        "=1",
        "=a*",
        "=*a*",
        ">=1",
        "<=1",
        "~=1",
        ":=1",
        ":dn:=1",
        ":caseIgnoreMatch:=1",
        ":dn:2.5.13.2:=1",
        ":1.2.840.113556.1.4.1941:=cn=x",
        ":1.2.840.113556.1.4.2253:=cn=x",
    ]
    .iter()
    .map(|item| format!("({name}{item})"))
    .chain([format!("({name}:{number}:=1)"), format!("({name}:1.2.840.113556.1.4.804:=1)")])
    .collect()
}

/// T16, T40, T41: a hidden attribute is hidden in every spelling and for every kind of item; a visible one is one
/// attribute in all of them.
#[test]
fn every_spelling_of_every_attribute_is_one_attribute() {
    for known in KNOWN.iter().filter(|known| known.name != "objectClass") {
        let others = KNOWN.iter().map(|other| other.name).filter(|name| *name != known.name);
        let (without, with) = (View::new(others), View::new([known.name]));
        for name in spellings(known) {
            for item in items(&name) {
                let filter = Filter::parse(&item).unwrap();
                let opposite = filter.clone().negate();
                assert_eq!(conceal(&filter, &without), Filter::FALSE, "{item}");
                assert_eq!(conceal(&opposite, &without), Filter::FALSE, "(!{item})");
                let walks = item.contains(":dn:") || item.contains(".1941") || item.contains(".2253");
                if walks {
                    assert_eq!(conceal(&filter, &with), Filter::FALSE, "{item}");
                    assert_eq!(conceal(&opposite, &with), Filter::FALSE, "(!{item})");
                }
            }
            assert!(comparable(&Assertion::new(name.as_str(), &b"1"[..]), &without).is_none());
            assert_eq!(without.wanted([name.as_str()]), Wanted::These(vec![]), "{name}");
            assert_eq!(with.wanted([name.as_str()]), Wanted::These(vec![known.name]), "{name}");
            let present = Filter::present(name.as_str());
            assert_eq!(conceal(&present, &with), Filter::present(known.name));
        }
    }
}

/// T15: options are the attribute's own in lists, and in filters mean nothing that could tell more; supertypes are never
/// looked at.
#[test]
fn options_and_supertypes() {
    let view = View::new(["cn", "userCertificate", "member", "memberOf"]);
    let wanted = |list: &[&str]| view.wanted(list.iter().copied());
    assert_eq!(
        wanted(&[
            "cn;lang-en",
            "userCertificate;binary",
            "member;range=0-1",
            "sn;lang-en",
            "name",
            "2.5.4.41"
        ]),
        Wanted::These(vec!["cn", "userCertificate", "member"])
    );
    let concealed = |text: &str| conceal(&Filter::parse(text).unwrap(), &view).to_string();
    for nothing in
        ["(cn;lang-en=x)", "(!(cn;lang-en=x))", "(name=x)", "(!(name=x))", "(distinguishedName=cn=x)"]
    {
        assert_eq!(concealed(nothing), "(|)", "{nothing}");
    }
    assert_eq!(concealed("(userCertificate;binary=*)"), "(userCertificate=*)");
    for supertype in ["name", "2.5.4.41", "distinguishedName", "2.5.4.49", "OID.2.5.4.41"] {
        assert!(spelling::never(spelling::split(supertype).0).is_some(), "{supertype}");
    }
}

/// T17: attribute lists against what RFC 4511 section 4.5.1.8 says of a directory that has the view only.
#[test]
fn attribute_lists() {
    let mapping = Mapping::active_directory("ou=RXA,o=federation", LOCAL).unwrap();
    let view = View::new(["cn", "mail", "manager"]);
    let projection = Projection::new(&mapping, view.names());
    let attribute = |name: &str, value: &str| Attribute {
        description: name.to_owned(),
        values: vec![value.as_bytes().to_vec()],
    };
    let entry = Entry {
        dn: format!("CN=Jo,{LOCAL}"),
        attributes: vec![
            attribute("objectClass", "user"),
            attribute("cn", "Jo"),
            attribute("mail", "jo@rxa.test"),
            attribute("sn", "Hidden"),
            attribute("manager", "CN=X,DC=other"),
        ],
    };
    let bytes = codec::to_bytes(&Message::new(1, Operation::SearchEntry(entry.as_wire())));
    let limits = Limits::default();
    let all: &[&str] = &["objectClass", "cn", "mail"];
    let matrix: &[(&[&str], &[&str])] = &[
        (&[], all),
        (&["*"], all),
        (&["*", "+"], all),
        (&["+"], &[]),
        (&["1.1"], &[]),
        (&["1.1", "cn"], &["cn"]),
        (&["1.1", "*"], all),
        (&["CN", "cn", "2.5.4.3", "oid.2.5.4.3"], &["cn"]),
        (&["sn", "surname", "2.5.4.4"], &[]),
        (&["@person", "@inetOrgPerson"], &[]),
        (&["manager"], &[]),
        (&["noSuchThing", "mail"], &["mail"]),
        (&["rfc822Mailbox;lang-en"], &["mail"]),
    ];
    for types_only in [false, true] {
        for (list, expected) in matrix {
            let selection = match view.wanted(list.iter().copied()) {
                Wanted::All => projection.all(types_only),
                Wanted::These(names) => projection.only(names, types_only),
            };
            let asked = projection.attributes_to_local(&selection, []);
            assert!(!asked.contains(&"*") && !asked.contains(&"sn"), "{list:?} asks for {asked:?}");
            let (mut scratch, mut out) = (Scratch::default(), Vec::new());
            let reader = EntryReader::read(&bytes, &limits).unwrap();
            projection.entry_to_federated(&reader, 1, &selection, &mut scratch, &mut out).unwrap();
            let seen = EntryReader::read(&out, &limits).unwrap().to_entry().unwrap();
            let names: Vec<&str> = seen.attributes.iter().map(|a| a.description.as_str()).collect();
            assert_eq!(names, *expected, "{list:?}");
            // an attribute without values only where types alone were asked for
            assert!(seen.attributes.iter().all(|a| a.values.is_empty() == types_only), "{list:?}");
        }
    }
}

/// T41: categories and classes of Active Directory both ways, in every spelling; bits of a hidden field are out of reach.
#[test]
fn classes_and_categories() {
    let view = View::new(["cn"]);
    let mapping = Mapping::active_directory("ou=RXA,o=federation", LOCAL).unwrap();
    let asked = |text: &str| {
        let filter = Filter::parse(text).unwrap();
        let concealed = conceal(&filter, &view);
        filter_to_local(&concealed, &mapping, &[]).filter.map_or_else(|| "-".to_owned(), |f| f.to_string())
    };
    let person = "(&(objectClass=person)(!(objectClass=computer)))";
    for category in [
        "person",
        "USER",
        "CN=Person,CN=Schema,CN=Configuration,DC=trust,DC=test",
        "cn = Person , CN=Schema",
        "contact",
    ] {
        for name in
            ["objectCategory", "OBJECTCATEGORY", "1.2.840.113556.1.4.782", "oid.1.2.840.113556.1.4.782"]
        {
            assert_eq!(asked(&format!("({name}={category})")), person, "{name}={category}");
        }
    }
    for (class, local) in [
        ("user", "(&(objectClass=user)(!(objectClass=computer)))"),
        ("1.2.840.113556.1.5.9", "(&(objectClass=user)(!(objectClass=computer)))"),
        ("2.16.840.1.113730.3.2.2", "(&(objectClass=user)(!(objectClass=computer)))"),
        ("GROUP", "(objectClass=group)"),
        ("2.5.6.9", "(objectClass=group)"),
        ("computer", "(objectClass=computer)"),
        ("device", "(objectClass=computer)"),
        ("organizationalUnit", "(objectClass=organizationalUnit)"),
        ("msExchSecret", "-"),
    ] {
        for name in ["objectClass", "OBJECTCLASS", "2.5.4.0"] {
            assert_eq!(asked(&format!("({name}={class})")), local, "{name}={class}");
        }
    }
    assert_eq!(asked("(objectCategory=CN=Secret,CN=Schema)"), "-");
    assert_eq!(asked("(!(objectCategory=CN=Secret,CN=Schema))"), "-");
    for bits in
        ["(userAccountControl:1.2.840.113556.1.4.803:=2)", "(1.2.840.113556.1.4.8:1.2.840.113556.1.4.804:=2)"]
    {
        assert_eq!(asked(bits), "-");
        assert_eq!(asked(&format!("(!{bits})")), "-");
    }
}

/// T42: characters that show nothing, and other kinds of space, make no difference anywhere we compare ourselves.
#[test]
fn what_shows_nothing_makes_no_difference() {
    let ignorable = [
        "\u{ad}",
        "\u{34f}",
        "\u{6dd}",
        "\u{70f}",
        "\u{1806}",
        "\u{180b}",
        "\u{180e}",
        "\u{200b}",
        "\u{200f}",
        "\u{202a}",
        "\u{2060}",
        "\u{2063}",
        "\u{206a}",
        "\u{fe00}",
        "\u{feff}",
        "\u{fffc}",
        "\u{1d173}",
        "\u{e0001}",
        "\u{e0041}",
        "\u{1}",
        "\u{7f}",
        "\u{86}",
    ];
    let spaces =
        ["\u{a0}", "\u{1680}", "\u{2000}", "\u{2028}", "\u{3000}", "\t", "\n", "\u{85}", "  ", " \u{a0} "];
    let spelled: Vec<String> = ignorable
        .iter()
        .map(|c| format!("J{c}o S{c}mith{c}"))
        .chain(spaces.iter().map(|c| format!("{c}JO{c}smith{c}")))
        .collect();
    let entry = Entry {
        dn: format!("CN=x,{LOCAL}"),
        attributes: vec![Attribute { description: "cn".to_owned(), values: vec![b"Jo Smith".to_vec()] }],
    };
    for value in &spelled {
        let wanted = Filter::equal("cn", value.clone().into_bytes());
        assert_eq!(evaluate(&wanted, &entry), Truth::True, "{value:?}");
        assert_eq!(Key::of(Syntax::CaseIgnore, value.as_bytes()), Key::of(Syntax::CaseIgnore, b"jo smith"));
        let dn = Dn::parse(LOCAL).unwrap();
        assert_eq!(
            dn.child("cn", value).unwrap().normal(),
            dn.child("cn", "jo smith").unwrap().normal(),
            "{value:?}"
        );
    }
    let hidden = View::new(["cn"]);
    for value in &spelled {
        let filter = Filter::equal("sn", value.clone().into_bytes());
        assert_eq!(conceal(&filter, &hidden), Filter::FALSE);
    }
}

/// T43: an entry with every attribute that can be released, each full of internal names: none comes out.
#[test]
fn no_released_byte_holds_the_internal_suffix() {
    let mapping = Mapping::active_directory("ou=RXA,o=federation", LOCAL).unwrap();
    let releasable = |name: &&str| spelling::never(name).is_none();
    let names: Vec<&str> = ATTRIBUTES
        .iter()
        .filter_map(|(names, ..)| names.split(' ').next())
        .chain(["homePostalAddress2", "msExchSomething", "reportsTo"])
        .filter(releasable)
        .collect();
    let view = View::new(names.iter().copied());
    let projection = Projection::new(&mapping, view.names());
    let mut entry = Entry { dn: format!("CN=Jo,OU=Staff,{LOCAL}"), attributes: Vec::new() };
    let texts = |values: &[&str]| values.iter().map(|v| v.as_bytes().to_vec()).collect::<Vec<_>>();
    let mut kinds = [0; 5];
    for name in view.names() {
        let pair = mapping.pair(name);
        let (kind, values) = match pair.translation {
            Translation::Copy => (0, texts(&["1"])),
            Translation::Screen => (
                1,
                texts(&[
                    "plain",
                    "in OU=x, dc=RXA , DC=trust,\tdc=test",
                    "DC=rxa,DC=trust,DC=test",
                    "ldap://dc1/CN=x,DC=rxa,DC=trust,DC=test??sub",
                ]),
            ),
            Translation::Name => (
                2,
                texts(&[
                    "CN=A,DC=rxa,DC=trust,DC=test",
                    "cn=b\\2c c , dc=RXA,DC=Trust, dc=test",
                    "B:4:0a0b:CN=A,DC=rxa,DC=trust,DC=test",
                    "S:23:DC=rxa,DC=trust,DC=test:CN=A,DC=rxa,DC=trust,DC=test",
                    "CN=A,DC=rxa,DC=trust,DC=test#'01'B",
                    "CN=Schema,CN=Configuration,DC=trust,DC=test",
                    "CN=A,DC=rxb,DC=rxa,DC=trust,DC=test,DC=org",
                ]),
            ),
            Translation::Guid => (3, vec![(0..16).collect()]),
            Translation::Class => (4, texts(&["top", "user"])),
        };
        kinds[kind] += 1;
        entry.attributes.push(Attribute { description: pair.local.clone(), values });
    }
    assert!(kinds.iter().all(|count| *count > 0) && kinds[1] > 20 && kinds[2] > 10, "{kinds:?}");
    let bytes = codec::to_bytes(&Message::new(1, Operation::SearchEntry(entry.as_wire())));
    let limits = Limits::from_directory();
    let (mut scratch, mut out) = (Scratch::default(), Vec::new());
    let reader = EntryReader::read(&bytes, &limits).unwrap();
    projection.entry_to_federated(&reader, 1, &projection.all(false), &mut scratch, &mut out).unwrap();
    let squeezed: Vec<u8> =
        out.iter().filter(|b| !b.is_ascii_whitespace()).map(u8::to_ascii_lowercase).collect();
    let suffix = LOCAL.to_lowercase().into_bytes();
    assert!(!squeezed.windows(suffix.len()).any(|window| window == suffix), "the internal suffix came out");
    let text = String::from_utf8_lossy(&out);
    assert!(text.contains("CN=A,ou=RXA,o=federation") && text.contains("B:4:0a0b:CN=A,ou=RXA,o=federation"));
}
