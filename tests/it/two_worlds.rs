//! Two worlds that differ only in what a requester must not see are the same world to it: entries, order, bytes, counts
//! and result codes of random searches and compares.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use portcullis::ldap::attribute;
use portcullis::ldap::codec;
use portcullis::ldap::dn::Dn;
use portcullis::ldap::entry::{Attribute, Entry, EntryReader};
use portcullis::ldap::filter::{Assertion, Extensible, Filter, Substrings};
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{Message, Operation, ResultCode, Scope};
use portcullis::ldap::truth::{self, Lookup, Truth};
use portcullis::namespace::entries::{admits, entries_to_local, needs};
use portcullis::namespace::mapping::Mapping;
use portcullis::namespace::merge::settle;
use portcullis::namespace::projection::{Projection, Scratch};
use portcullis::namespace::questions::{attributes_of, filter_to_local, with_entry_filter};
use portcullis::namespace::recheck::still_matches;
use portcullis::policy::set::PolicySet;
use portcullis::policy::source::Source;
use portcullis::release::agreement::{Agreement, Agreements};
use portcullis::release::hide::{comparable, conceal, spelled};
use portcullis::release::spelling::KNOWN;
use portcullis::release::view::Wanted;

/// Requests of the default run; `PORTCULLIS_TWO_WORLDS` says another number, `tests/run --all` a million.
const REQUESTS: usize = 100_000;

fn requests() -> usize {
    let asked = std::env::var("PORTCULLIS_TWO_WORLDS").ok();
    asked.map_or(REQUESTS, |text| text.parse().expect("PORTCULLIS_TWO_WORLDS is a number"))
}

/// Hides some attributes from everybody and people from some; a directory need not know `notListed`.
const AGREEMENT: &str = "\
kind: Release
id: two-worlds
title: The agreement of two worlds
purpose: To be indistinguishable.
audience: { category: person, members: all }
targets: { members: all, national: false }
attributes: [cn, sn, givenName, displayName, mail, uid, telephoneNumber, description, manager, directReports, memberOf,
  member, entryUUID, userAccountControl, thumbnailPhoto]
entries: '(!(notListed=TRUE))'
listing:
  attribute: employeeType
  not_findable: [not-listed]
  by_address_only: [by-address]
  without_contact: [no-contact]
  contact: [telephoneNumber, mobile]
until: 2099-12-31
";

const LOCAL: &str = "DC=rxa,DC=trust,DC=test";
const FEDERATED: &str = "ou=RXA,o=federation";
const OUTSIDE: &str = "CN=Secret,CN=Users,DC=other,DC=test";
/// The mail of somebody who is found by whoever knows it; no random request does.
const KNOWN_TO_FEW: &str = "known.to.few@rxa.test";
/// The person who is listed without contact details.
const RESERVED: usize = 1;

/// splitmix64: the same searches at every run.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

const WORDS: &[&str] = &["a", "ab", "abc", "b", "1", "10", "TRUE", "Jo Smith", "Smith", "a b"];
const PEOPLE: usize = 5;

fn person(n: usize) -> String {
    format!("CN=P{n},OU=Staff,{LOCAL}")
}

fn guid(n: usize) -> Vec<u8> {
    (0..16).map(|i| (i * 7 + n) as u8).collect()
}

fn add(entry: &mut Entry, name: &str, values: Vec<Vec<u8>>) {
    if !values.is_empty() {
        entry.attributes.push(Attribute { description: name.to_owned(), values });
    }
}

fn texts(values: &[&str]) -> Vec<Vec<u8>> {
    values.iter().map(|v| v.as_bytes().to_vec()).collect()
}

/// What both worlds share.
fn shown(rng: &mut Rng, n: usize) -> Entry {
    let mut entry = Entry { dn: person(n), attributes: Vec::new() };
    let class: &[&str] = match n {
        3 => &["top", "group"],
        4 => &["top", "person", "organizationalPerson", "user", "computer"],
        _ => &["top", "person", "organizationalPerson", "user"],
    };
    add(&mut entry, "objectClass", texts(class));
    add(&mut entry, "cn", texts(&[&format!("P{n}")]));
    add(&mut entry, "objectGUID", vec![guid(n)]);
    for name in ["sn", "givenName", "displayName", "mail", "sAMAccountName", "telephoneNumber", "description"]
    {
        let values: Vec<&str> = (0..rng.below(3)).map(|_| rng.pick(WORDS)).collect();
        if n != RESERVED || name != "telephoneNumber" {
            add(&mut entry, name, texts(&values));
        }
    }
    if n == RESERVED {
        add(&mut entry, "employeeType", texts(&["No-Contact"]));
    }
    for name in ["manager", "memberOf", "directReports", "member"] {
        let values = (0..rng.below(3)).map(|_| person(rng.below(PEOPLE)).into_bytes()).collect();
        add(&mut entry, name, values);
    }
    if rng.one_in(2) {
        add(&mut entry, "userAccountControl", texts(&[rng.pick(&["512", "514", "66048"])]));
    }
    entry
}

fn value_of(rng: &mut Rng, name: &str) -> Vec<u8> {
    match name {
        "manager" | "memberOf" | "member" => OUTSIDE.as_bytes().to_vec(),
        "description" => format!("moved from ou=x, {LOCAL}").into_bytes(),
        "objectClass" => b"msSecretClass".to_vec(),
        _ => rng.pick(WORDS).as_bytes().to_vec(),
    }
}

/// The same entry with what must not be seen, different at every call.
fn with_hidden(rng: &mut Rng, shown: &Entry) -> Entry {
    let mut entry = shown.clone();
    if shown.dn == person(RESERVED) {
        let values = (0..rng.below(3)).map(|_| rng.pick(WORDS).as_bytes().to_vec()).collect();
        add(&mut entry, "telephoneNumber", values);
    }
    for name in ["employeeNumber", "info", "title", "employeeNumber;x-secret", "unicodePwd", "name", "mobile"]
    {
        let values = (0..rng.below(3)).map(|_| rng.pick(WORDS).as_bytes().to_vec()).collect();
        add(&mut entry, name, values);
    }
    // values that are masked: names outside the mount, free text that mentions the suffix, classes of no concern
    for name in ["manager", "memberOf", "member", "description", "objectClass"] {
        let value = value_of(rng, name);
        if rng.one_in(2) {
            match entry.attributes.iter_mut().find(|a| a.description == name) {
                Some(attribute) => attribute.values.push(value),
                None => add(&mut entry, name, vec![value]),
            }
        }
    }
    entry
}

/// One world: the shared entries with hidden data, and entries that are there for nobody.
fn world(rng: &mut Rng, shared: &[Entry]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = shared.iter().map(|e| with_hidden(rng, e)).collect();
    for n in PEOPLE..PEOPLE + 3 {
        if rng.one_in(2) {
            let mut entry = shown(rng, n);
            entry = with_hidden(rng, &entry);
            match rng.below(4) {
                0 => add(&mut entry, "employeeType", texts(&["Not-Listed"])),
                1 => {
                    add(&mut entry, "employeeType", texts(&["by-address"]));
                    entry.attributes.retain(|a| a.description != "mail");
                    add(&mut entry, "mail", texts(&[KNOWN_TO_FEW]));
                }
                _ => add(&mut entry, "notListed", texts(&["TRUE"])),
            }
            let at = rng.below(entries.len() + 1);
            entries.insert(at, entry);
        }
    }
    entries
}

/// A domain controller: knows every attribute, its own matching rules, and answers from everything that it holds.
struct Controller<'a> {
    entry: &'a Entry,
    /// Attributes outside its schema are Undefined, not absent.
    strict: bool,
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

/// Some directories take Undefined for false before they negate: these leaks must not matter either.
fn two_valued(filter: &Filter<'_>, entry: &Controller<'_>) -> bool {
    match filter {
        Filter::And(all) => all.iter().all(|f| two_valued(f, entry)),
        Filter::Or(any) => any.iter().any(|f| two_valued(f, entry)),
        Filter::Not(inner) => !two_valued(inner, entry),
        leaf => truth::evaluate(leaf, entry) == Truth::True,
    }
}

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
fn spelling(rng: &mut Rng) -> String {
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

fn assertion_value(rng: &mut Rng) -> Vec<u8> {
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
        0 => format!("cn=P{},ou=Staff,{FEDERATED}", rng.below(PEOPLE + 3)).into_bytes(),
        1 => person(rng.below(PEOPLE)).into_bytes(),
        2 => OUTSIDE.as_bytes().to_vec(),
        3 => guid(rng.below(PEOPLE + 3)),
        4 => {
            let bytes = <[u8; 16]>::try_from(guid(rng.below(PEOPLE)).as_slice()).unwrap();
            uuid::Uuid::from_bytes_le(bytes).to_string().into_bytes()
        }
        5 => {
            rng.pick(&["person", "user", "computer", "top", "group", "inetOrgPerson", "msSecretClass"]).into()
        }
        6 => rng.pick(&["512", "2", "66048", "-1"]).into(),
        7 => rng
            .pick(&["CN=Person,CN=Schema,CN=Configuration,DC=trust,DC=test", "", "=a", "TRUE", "FALSE"])
            .into(),
        8 => format!("moved from ou=x, {LOCAL}").into_bytes(),
        9 => vec![0xff, 0x00],
        _ => rng.pick(WORDS).into(),
    }
}

fn leaf(rng: &mut Rng) -> Filter<'static> {
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

fn filter(rng: &mut Rng, depth: usize) -> Filter<'static> {
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

/// What goes wrong on purpose, to show that the test can fail.
#[derive(Clone, Copy, PartialEq)]
enum Pipeline {
    Whole,
    NoConceal,
    NoWidening,
    NoSettling,
    LimitBeforeRecheck,
    /// The directory's word on who exists is taken.
    NoEntryCheck,
    /// Contact details are left out of what is sent, and the directory's word on the filter is taken.
    NoReserve,
}

struct Gateway {
    agreement: Arc<Agreement>,
    mapping: Mapping,
    projection: Projection,
    limits: Limits,
    rechecks: Cell<usize>,
}

/// What is asked. Sort keys and pages belong here too: their order, fill and cookies must be the same in both worlds.
struct Request {
    filter: Filter<'static>,
    attributes: Vec<String>,
    types_only: bool,
    size_limit: usize,
    /// `None`: the mount point.
    base: Option<usize>,
    scope: Scope,
    strict: bool,
    two_valued: bool,
}

impl Gateway {
    fn new() -> Gateway {
        let (set, faults) = PolicySet::from_sources(&[Source::inline("two-worlds", AGREEMENT)]);
        assert!(faults.is_empty(), "{faults:?}");
        let agreements = Agreements::compile(set.releases.values()).unwrap();
        let agreement = Arc::clone(agreements.iter().next().unwrap());
        let mapping = Mapping::active_directory(FEDERATED, LOCAL).unwrap();
        let reserve = agreement.reserve().unwrap();
        let projection = Projection::new(&mapping, agreement.view().names()).reserving(
            &reserve.attribute,
            &reserve.values,
            &reserve.contact,
        );
        Gateway { agreement, mapping, projection, limits: Limits::default(), rechecks: Cell::new(0) }
    }

    /// Everything that the requester gets to see: the messages, then the result code.
    fn search(&self, request: &Request, world: &[Entry], pipeline: Pipeline) -> (Vec<u8>, usize, u32) {
        let concealed = match pipeline {
            Pipeline::NoConceal => spelled(request.filter.clone()),
            _ => conceal(&request.filter, self.agreement.view()),
        };
        let reserve = self.agreement.reserve().unwrap();
        let contact: &[String] = if pipeline == Pipeline::NoReserve { &[] } else { &reserve.contact };
        let question = filter_to_local(&concealed, &self.mapping, contact);
        let recheck = question.needs_recheck && pipeline != Pipeline::NoWidening;
        let entries = self.agreement.entry_filter_for(&concealed).unwrap();
        let existing = entries_to_local(entries, &self.mapping);
        let check = existing.check && pipeline != Pipeline::NoEntryCheck;
        let Some(sent) = with_entry_filter(question.filter, existing.filter) else {
            let code = settle(request.scope, request.base.is_none(), ResultCode::SUCCESS, 0);
            return (Vec::new(), 0, code.0);
        };
        let selection = match self.agreement.view().wanted(request.attributes.iter().map(String::as_str)) {
            Wanted::All => self.projection.all(request.types_only),
            Wanted::These(names) => self.projection.only(names, request.types_only),
        };
        let also = if recheck { attributes_of(&concealed) } else { Vec::new() };
        let mut asked: Vec<String> =
            self.projection.attributes_to_local(&selection, also).into_iter().map(str::to_owned).collect();
        asked.extend(needs(entries, &self.mapping));
        let (mut out, mut whole, mut scratch) = (Vec::new(), Vec::new(), Scratch::default());
        let (mut count, mut answered, mut code) = (0, 0, ResultCode::SUCCESS);
        let base = request.base.map(person);
        if base.as_ref().is_some_and(|base| !world.iter().any(|e| e.dn == *base)) {
            code = ResultCode::NO_SUCH_OBJECT;
        }
        for entry in world.iter().filter(|e| self.in_scope(e, base.as_deref(), request.scope)) {
            let controller = Controller { entry, strict: request.strict };
            let matches = if request.two_valued {
                two_valued(&sent, &controller)
            } else {
                truth::evaluate(&sent, &controller) == Truth::True
            };
            if !matches {
                continue;
            }
            answered += 1;
            if pipeline == Pipeline::LimitBeforeRecheck && answered > request.size_limit {
                code = ResultCode::SIZE_LIMIT_EXCEEDED;
                break;
            }
            let message = answer(entry, &asked);
            let reader = EntryReader::read(&message, &self.limits).unwrap();
            let before = out.len();
            if check && !admits(entries, &reader, &self.mapping) {
                continue;
            }
            if recheck {
                let checked = self.projection.all(false);
                self.rechecks.set(self.rechecks.get() + 1);
                whole.clear();
                self.projection.entry_to_federated(&reader, 7, &checked, &mut scratch, &mut whole).unwrap();
                if !still_matches(&concealed, &whole, &self.limits).unwrap() {
                    continue;
                }
            }
            self.projection.entry_to_federated(&reader, 7, &selection, &mut scratch, &mut out).unwrap();
            if count == request.size_limit {
                out.truncate(before);
                code = ResultCode::SIZE_LIMIT_EXCEEDED;
                break;
            }
            count += 1;
        }
        if pipeline != Pipeline::NoSettling {
            code = settle(request.scope, request.base.is_none(), code, count as u64);
        }
        (out, count, code.0)
    }

    fn in_scope(&self, entry: &Entry, base: Option<&str>, scope: Scope) -> bool {
        match base {
            None => true,
            Some(base) => entry.dn == base && scope != Scope::One,
        }
    }

    /// 5, 6, 16 or 32, as the engine derives them.
    fn compare(&self, assertion: &Assertion<'_>, of: usize, world: &[Entry], strict: bool) -> u32 {
        let Some(entry) = world.iter().find(|e| e.dn == person(of)) else { return 32 };
        let entries = self.agreement.entry_filter().unwrap();
        let sent = entries_to_local(entries, &self.mapping).filter;
        let controller = Controller { entry, strict };
        if sent.is_some_and(|sent| truth::evaluate(&sent, &controller) != Truth::True) {
            return 32;
        }
        let filter = comparable(assertion, self.agreement.view());
        let none = self.projection.only([], false);
        let also = filter.as_ref().map(attributes_of).unwrap_or_default();
        let mut asked: Vec<String> =
            self.projection.attributes_to_local(&none, also).into_iter().map(str::to_owned).collect();
        asked.extend(needs(entries, &self.mapping));
        let message = answer(entry, &asked);
        let reader = EntryReader::read(&message, &self.limits).unwrap();
        if !admits(entries, &reader, &self.mapping) {
            return 32;
        }
        let Some(filter) = filter else { return 16 };
        let (mut out, mut scratch) = (Vec::new(), Scratch::default());
        let all = self.projection.all(false);
        self.projection.entry_to_federated(&reader, 7, &all, &mut scratch, &mut out).unwrap();
        let present = Filter::present(attributes_of(&filter)[0].to_owned());
        match (
            still_matches(&present, &out, &self.limits).unwrap(),
            still_matches(&filter, &out, &self.limits).unwrap(),
        ) {
            (false, _) => 16,
            (true, false) => 5,
            (true, true) => 6,
        }
    }
}

/// What a controller sends of an entry: the attributes asked for, and, as a careless one would, a hidden one on top.
fn answer(entry: &Entry, asked: &[String]) -> Vec<u8> {
    let wanted: Vec<_> = asked.iter().map(|a| attribute::canonical_name(a)).collect();
    let mut sent = entry.clone();
    sent.attributes.retain(|a| {
        wanted.contains(&attribute::canonical_name(&a.description)) || a.description == "employeeNumber"
    });
    codec::to_bytes(&Message::new(9, Operation::SearchEntry(sent.as_wire())))
}

fn request(rng: &mut Rng) -> Request {
    let lists: [&[&str]; 7] = [&[], &["*"], &["1.1"], &["+"], &["@person"], &["*", "+"], &["1.1", "cn"]];
    let attributes: Vec<String> = match rng.below(3) {
        0 => lists[rng.below(lists.len())].iter().map(|name| (*name).to_owned()).collect(),
        _ => (0..rng.below(5)).map(|_| spelling(rng)).collect(),
    };
    Request {
        filter: filter(rng, 6),
        attributes,
        types_only: rng.one_in(4),
        size_limit: rng.below(PEOPLE + 2),
        base: rng.one_in(4).then(|| rng.below(PEOPLE + 3)),
        scope: [Scope::Base, Scope::One, Scope::Subtree][rng.below(3)],
        strict: rng.one_in(2),
        two_valued: rng.one_in(2),
    }
}

/// Runs `count` random searches against pairs of worlds; returns how many told the worlds apart, and how many gave an
/// entry.
fn told_apart(count: usize, seed: u64, pipeline: Pipeline) -> (usize, usize, Option<String>) {
    let gateway = Gateway::new();
    let mut rng = Rng(seed);
    let (mut apart, mut fruitful, mut first) = (0, 0, None);
    let mut worlds = (Vec::new(), Vec::new());
    for n in 0..count {
        if n % 50 == 0 {
            let shared: Vec<Entry> = (0..PEOPLE).map(|n| shown(&mut rng, n)).collect();
            worlds = (world(&mut rng, &shared), world(&mut rng, &shared));
        }
        let mut request = request(&mut rng);
        if request.base.is_none() && request.scope == Scope::Base {
            request.scope = Scope::Subtree; // the mount point is our own entry
        }
        let one = gateway.search(&request, &worlds.0, pipeline);
        let other = gateway.search(&request, &worlds.1, pipeline);
        fruitful += usize::from(one.1 > 0);
        if one != other {
            apart += 1;
            first.get_or_insert_with(|| format!("{} ({:?} against {:?})", request.filter, one, other));
        }
        let text = |out: &[u8]| String::from_utf8_lossy(out).to_lowercase();
        if pipeline == Pipeline::Whole {
            assert!(!text(&one.0).contains("dc=trust"), "the internal suffix came out: {}", request.filter);
            for hidden in ["employeenumber", "employeetype", "no-contact", "notlisted", "by-address"] {
                assert!(!text(&one.0).contains(hidden), "`{hidden}` came out: {}", request.filter);
            }
        }
        if n % 4 == 0 {
            let assertion = Assertion::new(spelling(&mut rng), assertion_value(&mut rng));
            let (of, strict) = (rng.below(PEOPLE + 3), rng.one_in(2));
            let one = gateway.compare(&assertion, of, &worlds.0, strict);
            assert_eq!(one, gateway.compare(&assertion, of, &worlds.1, strict), "compare {assertion:?}");
        }
    }
    assert!(pipeline != Pipeline::Whole || gateway.rechecks.get() > 1_000, "the re-check was hardly used");
    (apart, fruitful, first)
}

#[test]
fn two_worlds_are_one() {
    let count = requests();
    let (apart, fruitful, first) = told_apart(count, 0x70_6f72_7463, Pipeline::Whole);
    println!(
        "two worlds: {count} random searches, {fruitful} with entries, {} compares, {apart} told apart",
        count / 4
    );
    assert_eq!(apart, 0, "{first:?}");
    assert!(fruitful > count / 20, "only {fruitful} searches gave an entry: the filters are too narrow");
}

/// Every protection, taken away, is missed: so the test above can fail.
#[test]
fn careless_pipelines_are_caught() {
    for (pipeline, name) in [
        (Pipeline::NoConceal, "no concealing"),
        (Pipeline::NoWidening, "no widening and re-check"),
        (Pipeline::NoSettling, "base results passed on"),
        (Pipeline::LimitBeforeRecheck, "size limit before the re-check"),
        (Pipeline::NoEntryCheck, "no look at who exists"),
        (Pipeline::NoReserve, "contact details only left out"),
    ] {
        let (apart, _, _) = told_apart(20_000, 0x6361_7265, pipeline);
        println!("careless pipeline ({name}): {apart} of 20000 told apart");
        assert!(apart > 0, "{name} was not noticed");
    }
}

/// The four levels of not being listed, each on a person of its own.
#[test]
fn four_levels_of_not_being_listed() {
    let gateway = Gateway::new();
    let somebody = |level: Option<&str>, n: usize| {
        let mut entry = Entry { dn: person(n), attributes: Vec::new() };
        add(&mut entry, "objectClass", texts(&["top", "person", "user"]));
        add(&mut entry, "cn", texts(&[&format!("P{n}")]));
        add(&mut entry, "mail", texts(&[&format!("p{n}@rxa.test")]));
        add(&mut entry, "telephoneNumber", texts(&["+44 1"]));
        add(&mut entry, "employeeType", level.into_iter().map(|l| l.as_bytes().to_vec()).collect());
        entry
    };
    let world = [
        somebody(None, 0),
        somebody(Some("NO-contact"), 1),
        somebody(Some("by-address"), 2),
        somebody(Some("not-listed"), 3),
    ];
    let found = |text: &str, base: Option<usize>| {
        let request = Request {
            filter: Filter::parse(text).unwrap(),
            attributes: Vec::new(),
            types_only: false,
            size_limit: 10,
            base,
            scope: if base.is_some() { Scope::Base } else { Scope::Subtree },
            strict: true,
            two_valued: false,
        };
        let (out, count, _) = gateway.search(&request, &world, Pipeline::Whole);
        let text = String::from_utf8_lossy(&out).into_owned();
        let seen: Vec<usize> = (0..4).filter(|n| text.contains(&format!("CN=P{n},"))).collect();
        assert_eq!(seen.len(), count);
        (seen, text.matches("+44 1").count())
    };
    assert_eq!(found("(objectClass=*)", None), (vec![0, 1], 1), "listed, and listed without contact details");
    assert_eq!(found("(mail=*@rxa.test)", None), (vec![0, 1], 1));
    assert_eq!(found("(mail=p2@RXA.test)", None), (vec![2], 1), "found by the exact address");
    assert_eq!(
        found("(|(mail=p2@rxa.test)(mail=p3@rxa.test))", None).0,
        [2],
        "and never who is not findable"
    );
    assert!(found("(&(mail=p3@rxa.test)(cn=P3))", None).0.is_empty());
    for base in [2, 3] {
        assert!(found("(objectClass=*)", Some(base)).0.is_empty(), "a name is no address");
        let compare = Assertion::new("cn", format!("P{base}").into_bytes());
        assert_eq!(gateway.compare(&compare, base, &world, false), 32);
    }
    // who has no contact details here is found by none
    assert_eq!(found("(telephoneNumber=+44 1)", None).0, [0]);
    assert_eq!(found("(!(telephoneNumber=*))", None).0, [1]);
    let phone =
        |of: usize| gateway.compare(&Assertion::new("telephoneNumber", &b"+441"[..]), of, &world, true);
    assert_eq!((phone(0), phone(1)), (6, 16));
}

#[test]
fn the_base_of_a_search_parses_as_the_name_that_comes_out() {
    let mapping = Mapping::active_directory(FEDERATED, LOCAL).unwrap();
    let out = mapping.dn_to_federated(&person(1)).unwrap();
    assert!(Dn::parse(&out).unwrap().is_at_or_below(&Dn::parse(FEDERATED).unwrap()));
    assert_eq!(mapping.dn_to_local(&out).unwrap(), person(1));
}
