//! The real engine between a client and directories of two worlds.

use portcullis::ldap::entry::Entry;

use super::chance::Rng;
use super::directory::{Directory, Manner};
use super::rig::Stage;
use super::script::{Counts, KINDS, Kind, Two};
use super::worlds::{AGREEMENT, HOMES, Kept, people, tree};

/// Steps on one pair of worlds.
const STEPS: usize = 50;

/// What is done wrong on purpose, to show that it would be noticed. The gateway is as it is; what it is told to release, or
/// what the worlds differ in, is not what the comparison takes for hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Careless {
    Not,
    /// A hidden attribute is released.
    Attribute,
    /// Hidden people exist.
    EntryFilter,
    /// Nobody's wish not to be listed counts.
    Listing,
    /// Of contact details only some are left out.
    Contact,
    /// One world has another value of a released attribute, somewhere.
    Value,
    /// In one world two entries come in another order.
    Order,
    /// One world has an entry more.
    Person,
}

impl Careless {
    fn agreement(self) -> String {
        let listing = AGREEMENT.find("listing:").unwrap()..AGREEMENT.find("limits:").unwrap();
        match self {
            Careless::Attribute => AGREEMENT.replace("attributes: [", "attributes: [employeeNumber, "),
            Careless::EntryFilter => AGREEMENT.replace("entries: '(!(notListed=TRUE))'\n", ""),
            Careless::Listing => AGREEMENT.replace(&AGREEMENT[listing], ""),
            Careless::Contact => AGREEMENT.replace("contact: [telephoneNumber, mobile]", "contact: [mobile]"),
            _ => AGREEMENT.to_owned(),
        }
    }

    /// Worsens one of two worlds.
    fn worsen(self, rng: &mut Rng, entries: &mut Vec<Entry>) {
        let at = |entries: &[Entry], n: usize| {
            let name = format!("CN=P{n},OU=Staff");
            entries.iter().position(|entry| entry.dn.starts_with(&name)).unwrap()
        };
        match self {
            Careless::Value => {
                let at = at(entries, rng.below(3));
                entries[at].attributes.retain(|attribute| attribute.description != "sn");
                super::worlds::add(&mut entries[at], "sn", vec![b"Other".to_vec()]);
            }
            Careless::Order => {
                let (one, other) = (at(entries, 0), at(entries, 2));
                entries.swap(one, other);
            }
            Careless::Person => {
                let mut entry = entries[at(entries, 0)].clone();
                entry.dn = entry.dn.replace("CN=P0", "CN=P99");
                entries.push(entry);
            }
            _ => {}
        }
    }
}

/// Two rigs before a new pair of worlds.
fn pair<'a>(stage: &Stage, rng: &mut Rng, careless: Careless, counts: &'a mut Counts) -> Two<'a> {
    let shared = HOMES.each_ref().map(|home| people(rng, home));
    let manners = HOMES.map(|_| Manner { strict: rng.one_in(2), two_valued: rng.one_in(2) });
    let rigs = [0, 1].map(|which| {
        let directories = HOMES.iter().zip(&shared).zip(manners).map(|((home, shared), manner)| {
            let mut entries = tree(rng, home, shared);
            if which == 1 {
                careless.worsen(rng, &mut entries);
            }
            let own = Rng(rng.next());
            Directory::new(entries.into_iter().map(Kept::new).collect(), manner, own)
        });
        stage.rig(directories.collect())
    });
    Two::new(rigs, counts)
}

/// Speaks `count` requests or a few more to pairs of worlds.
fn run(count: usize, seed: u64, careless: Careless) -> Counts {
    let stage = Stage::new(&careless.agreement());
    let (mut rng, mut counts) = (Rng(seed), Counts::default());
    while counts.all() < count {
        let mut two = pair(&stage, &mut rng, careless, &mut counts);
        for _ in 0..STEPS {
            if two.step(&mut rng).is_err() {
                break;
            }
        }
        two.end();
    }
    counts
}

/// Entries, order, attribute sets, counts, result codes, matchedDN, diagnostic texts, referral lists, response controls, the
/// number of messages and what becomes of the connection: all of it is in the bytes that are compared. TLS records are cut
/// by the loop around the engine, from these bytes alone; time is `tests/bench/times.rs`.
#[test]
fn two_worlds_are_one_through_the_engine() {
    let count = super::requests_of(4_000);
    let counts = run(count, 0x70_6f72_7463, Careless::Not);
    println!("two worlds through the engine: {} requests: {}", counts.all(), counts.summary());
    println!("questions to directories {:?}, time of the engine {:?}", counts.asked, counts.spent);
    assert_eq!(counts.apart_in_all(), 0, "{}", counts.first.unwrap_or_default());
    for kind in KINDS {
        let (requests, fruitful) = (counts.requests[kind as usize], counts.fruitful[kind as usize]);
        assert!(requests > count / 200, "only {requests} requests are about {kind:?}");
        assert!(fruitful * 30 > requests, "only {fruitful} of {requests} about {kind:?} gave anything");
    }
    assert_ne!(counts.asked[0], counts.asked[1], "the worlds hardly differ");
}

/// Whatever is wrong is noticed, and by every kind of request that could tell: so the test above can fail.
#[test]
fn careless_agreements_and_worlds_are_caught() {
    use Kind::{Abandon, Compare, Limit, Matched, Page, Pipeline, Search, Sort, SortedPage};
    let expected: [(Careless, &[Kind]); 7] = [
        (Careless::Attribute, &[Search, Limit, Sort, Page, SortedPage, Matched, Compare, Pipeline, Abandon]),
        (Careless::EntryFilter, &[Search, Limit, Sort, Page, Compare]),
        (Careless::Listing, &[Search, Limit, Sort, Page, Compare]),
        (Careless::Contact, &[Search, Limit, Sort, Page]),
        (Careless::Value, &[Search, Limit, Sort, Page]),
        (Careless::Order, &[Search, Limit, Page]),
        (Careless::Person, &[Search, Limit, Sort, Page]),
    ];
    for (careless, kinds) in expected {
        let stage = Stage::new(&careless.agreement());
        for kind in kinds {
            let needed = needed(&stage, careless, *kind);
            println!("careless ({careless:?}): noticed by {kind:?} after {needed} requests");
        }
    }
}

/// How many requests it takes until one of this kind tells the worlds apart.
fn needed(stage: &Stage, careless: Careless, kind: Kind) -> usize {
    let (mut rng, mut counts) = (Rng(0x6361_7265), Counts::default());
    while counts.all() < 5_000 {
        let mut two = pair(stage, &mut rng, careless, &mut counts);
        for _ in 0..STEPS {
            if two.step_about(kind, &mut rng).is_err() {
                break;
            }
        }
        if counts.apart[kind as usize] > 0 {
            return counts.all();
        }
    }
    panic!("{careless:?} was not noticed by {kind:?}: {}", counts.summary());
}
