//! Two worlds that differ only in what a requester must not see are the same world to it: entries, order, bytes, counts
//! and result codes of random searches and compares.

use std::cell::Cell;
use std::sync::Arc;

use portcullis::ldap::attribute;
use portcullis::ldap::codec;
use portcullis::ldap::dn::Dn;
use portcullis::ldap::entry::{Entry, EntryReader};
use portcullis::ldap::filter::{Assertion, Filter};
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{Message, Operation, ResultCode, Scope};
use portcullis::ldap::truth::{self, Truth};
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
use portcullis::release::view::Wanted;

use super::chance::Rng;
use super::requests::{assertion_value, attributes, filter, spelling};
use super::worlds::{AGREEMENT, Controller, EVERYBODY, PEOPLE, RXA, add, people, texts, world};

fn person(n: usize) -> String {
    super::worlds::person(RXA, n)
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

/// What is asked.
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
        let agreements = Agreements::compile_where_nobody_is_named(set.releases.values()).unwrap();
        let agreement = Arc::clone(agreements.iter().next().unwrap());
        let mapping = Mapping::active_directory(RXA.federated, RXA.local).unwrap();
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
            if !controller.finds(&sent, request.two_valued) {
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
    Request {
        filter: filter(rng, 6),
        attributes: attributes(rng),
        types_only: rng.one_in(4),
        size_limit: rng.below(PEOPLE + 2),
        base: rng.one_in(4).then(|| rng.below(EVERYBODY)),
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
            let shared = people(&mut rng, RXA);
            worlds = (world(&mut rng, RXA, &shared), world(&mut rng, RXA, &shared));
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
            let (of, strict) = (rng.below(EVERYBODY), rng.one_in(2));
            let one = gateway.compare(&assertion, of, &worlds.0, strict);
            assert_eq!(one, gateway.compare(&assertion, of, &worlds.1, strict), "compare {assertion:?}");
        }
    }
    assert!(pipeline != Pipeline::Whole || gateway.rechecks.get() > 1_000, "the re-check was hardly used");
    (apart, fruitful, first)
}

#[test]
fn two_worlds_are_one_step_by_step() {
    let count = super::requests_of(10_000).min(100_000);
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
        let (apart, _, _) = told_apart(4_000, 0x6361_7265, pipeline);
        println!("careless pipeline ({name}): {apart} of 4000 told apart");
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
    let mapping = Mapping::active_directory(RXA.federated, RXA.local).unwrap();
    let out = mapping.dn_to_federated(&person(1)).unwrap();
    assert!(Dn::parse(&out).unwrap().is_at_or_below(&Dn::parse(RXA.federated).unwrap()));
    assert_eq!(mapping.dn_to_local(&out).unwrap(), person(1));
}
