//! Time as a counter: whether the time that the front door itself takes tells two worlds apart that differ only in what a
//! requester must not see. See `tests/bench/README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    dead_code,
    reason = "a program for whoever measures, with parts of a test suite"
)]

#[path = "../it/two_worlds/chance.rs"]
mod chance;
#[path = "../it/two_worlds/directory.rs"]
mod directory;
#[path = "../it/two_worlds/requests.rs"]
mod requests;
#[path = "../it/two_worlds/rig.rs"]
mod rig;
#[path = "../it/two_worlds/worlds.rs"]
mod worlds;

use portcullis::ldap::entry::Entry;
use portcullis::ldap::filter::{Assertion, Filter};
use portcullis::ldap::message::{Compare, Dereference, Operation, Scope, Search};
use portcullis::ldap::typed_control::{Sort, SortKey};

use chance::Rng;
use directory::{Directory, Manner};
use rig::{Rig, Stage};
use worlds::{AGREEMENT, HOMES, Kept, PEOPLE, RXA, federated, people, tree};

const USAGE: &str = "cargo bench --bench times [-- --samples N]   N of each world, 10000 when not said";

/// What is asked, and whether the two worlds are one and the same: that shows how much the machine's noise tells.
struct Case {
    name: &'static str,
    request: Vec<u8>,
    same: bool,
}

fn search(
    base: &str,
    scope: Scope,
    filter: &str,
    controls: &[portcullis::ldap::control::Control<'static>],
) -> Vec<u8> {
    let search = Search {
        base: base.into(),
        scope,
        dereference: Dereference::Never,
        size_limit: 0,
        time_limit: 0,
        types_only: false,
        filter: Filter::parse(filter).unwrap(),
        attributes: vec!["cn".into()],
    };
    requests::message(2, Operation::SearchRequest(search), controls)
}

fn cases() -> Vec<Case> {
    let case = |name, request| Case { name, request, same: false };
    let of_rxa = |filter| search(RXA.federated, Scope::Subtree, filter, &[]);
    let hidden = federated(RXA, PEOPLE);
    let sort = |attribute: &str| {
        let key = SortKey { attribute: attribute.to_owned(), rule: None, reverse: false };
        search(RXA.federated, Scope::Subtree, "(cn=*)", &[Sort(vec![key]).control(false)])
    };
    let compare = Compare {
        dn: federated(RXA, 0).into(),
        assertion: Assertion::new("employeeNumber", b"10".as_slice()),
    };
    vec![
        Case { name: "one world twice, for comparison", request: of_rxa("(cn=*)"), same: true },
        case("hidden attribute, folded: nobody is asked", of_rxa("(employeeNumber=10)")),
        case("hidden attribute beside another item", of_rxa("(&(cn=P0)(!(employeeNumber=10)))")),
        case("one person of several, by name", of_rxa("(cn=P0)")),
        case("a value that may be masked: withheld entries", of_rxa("(description=*)")),
        case("everybody, hidden people among them", of_rxa("(cn=*)")),
        case("everybody, sorted by a hidden key", sort("employeeNumber")),
        case("everybody, sorted by a released key", sort("sn")),
        case(
            "name of somebody who is hidden, or not there",
            search(&hidden, Scope::Base, "(objectClass=*)", &[]),
        ),
        case(
            "compare with a hidden attribute",
            requests::message(2, Operation::CompareRequest(compare), &[]),
        ),
    ]
}

/// A rig before a world: with hidden data and people, or with nothing but what is shown.
fn rig(stage: &Stage, hidden: bool) -> Rig {
    let mut rng = Rng(0x0074_696d_6573);
    let directories = HOMES.iter().map(|home| {
        let shared = people(&mut rng, home);
        let entries = if hidden { most(&mut rng, home, &shared) } else { tree_of(home, shared) };
        let manner = Manner { strict: true, two_valued: false };
        Directory::new(entries.into_iter().map(Kept::new).collect(), manner, Rng(7))
    });
    stage.rig(directories.collect())
}

/// Of several worlds that share these people the one with most entries that nobody sees.
fn most(rng: &mut Rng, home: &worlds::Home, shared: &[Entry]) -> Vec<Entry> {
    let mut rng = rng.clone();
    (0..100).map(|_| tree(&mut rng, home, shared)).max_by_key(Vec::len).unwrap()
}

/// The same people and nothing else, but for the directory's own entries.
fn tree_of(home: &worlds::Home, shared: Vec<Entry>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for name in [home.local.to_owned(), format!("OU=Staff,{}", home.local)] {
        let mut entry = Entry { dn: name, attributes: Vec::new() };
        worlds::add(&mut entry, "objectClass", worlds::texts(&["top"]));
        entries.push(entry);
    }
    entries.extend(shared);
    entries
}

/// Nanoseconds of each world, and questions to directories of each.
struct Measured {
    times: [Vec<u64>; 2],
    asked: [usize; 2],
}

fn measure(stage: &Stage, case: &Case, samples: usize) -> Measured {
    let mut rigs = [rig(stage, true), rig(stage, case.same)];
    let clients = rigs.each_mut().map(Rig::connect);
    let mut rng = Rng(1);
    let mut measured =
        Measured { times: [Vec::with_capacity(samples), Vec::with_capacity(samples)], asked: [0, 0] };
    let warm = samples / 10 + 10;
    for n in 0..samples + warm {
        let first = rng.below(2);
        for which in [first, 1 - first] {
            let rig = &mut rigs[which];
            let before = rig.asked();
            rig.take_spent();
            rig.say(clients[which], &case.request, None);
            let spent = u64::try_from(rig.take_spent().as_nanos()).unwrap();
            if n >= warm {
                measured.times[which].push(spent);
                measured.asked[which] += rig.asked() - before;
            }
        }
    }
    measured
}

/// Mann-Whitney: z, and the probability that a sample of the first world is larger than one of the second (ties count half).
fn mann_whitney(one: &[u64], other: &[u64]) -> (f64, f64) {
    let mut all: Vec<(u64, bool)> =
        one.iter().map(|t| (*t, true)).chain(other.iter().map(|t| (*t, false))).collect();
    all.sort_unstable();
    let (mut ranks, mut ties, mut at) = (0.0, 0.0, 0);
    while at < all.len() {
        let end = at + all[at..].iter().take_while(|(time, _)| *time == all[at].0).count();
        let rank = (at + 1 + end) as f64 / 2.0;
        ranks += rank * all[at..end].iter().filter(|(_, of_one)| *of_one).count() as f64;
        let tied = (end - at) as f64;
        ties += tied * tied * tied - tied;
        at = end;
    }
    let (m, n) = (one.len() as f64, other.len() as f64);
    let u = ranks - m * (m + 1.0) / 2.0;
    let variance = m * n / 12.0 * (m + n + 1.0 - ties / ((m + n) * (m + n - 1.0)));
    ((u - m * n / 2.0) / variance.sqrt(), u / (m * n))
}

fn median(times: &[u64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2] as f64 / 1_000.0
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let samples = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Ok(10_000),
        ["--samples", count] => count.parse::<usize>(),
        _ => {
            println!("{USAGE}");
            return;
        }
    };
    let Some(samples) = samples.ok().filter(|samples| *samples > 0) else {
        println!("{USAGE}");
        return;
    };
    let stage = Stage::new(AGREEMENT);
    println!(
        "| {samples} samples of each world | hidden data, us | none, us | difference, us | z | P(slower) | questions |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for case in cases() {
        let measured = measure(&stage, &case, samples);
        let [one, other] = &measured.times;
        let (z, probability) = mann_whitney(one, other);
        let [a, b] = measured.asked.map(|asked| asked as f64 / samples as f64);
        let (with, without) = (median(one), median(other));
        let difference = with - without;
        println!(
            "| {} | {with:.1} | {without:.1} | {difference:+.1} | {z:+.1} | {probability:.2} | {a:.2} and {b:.2} |",
            case.name
        );
    }
}
