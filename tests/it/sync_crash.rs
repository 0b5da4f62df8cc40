//! `kill -9` at fifty random moments of sync runs: after resuming, the national entries are exactly the expected set.
//! The member directory is scripted (see `sync_source`); the program and the national directory (slapd) are real.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis::directory::client::Directory;
use portcullis::directory::endpoint::Endpoint;
use portcullis::directory::request::{Change, Credential, Scope, Search};
use portcullis::ldap::filter::Filter;
use portcullis::secret::text::Secret;
use portcullis::store::port::Store;
use portcullis::sync::terms::target::left_stamp;
use portcullis::tls::client::client_config;
use portcullis::tls::material::Anchors;
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::sync_national::{NAME, PASSWORD, Pki, Slapd};
use crate::sync_source::{BASE, Object, World, serve};
use crate::sync_stage::{National, Source, Stage};

const PEOPLE: u64 = 200;
const KILLS: u32 = 50;
pub const HEAD: [u8; 16] = [1; 16];
pub const STAFF: [u8; 16] = [2; 16];
pub const WARD: [u8; 16] = [3; 16];
pub const OTHER: [u8; 16] = [4; 16];

pub const SCOPE: &str = "kind: SyncScope
id: everybody
members: all
publish: { bases: [OU=Staff], filter: '(&(objectClass=user)(mail=*))' }
attributes: { sn: sn, cn: displayName, mail: mail, title: title }
leavers: { keep: 30d }
guards:
  deletes: { count: 100000, share: 50% }
  disables: { count: 100000, share: 100% }
  unit: { count: 100000, share: 100% }
  mails: { count: 100000, share: 100% }
  renames: { count: 100000, share: 100% }
  changes: { count: 100000, share: 100% }
  shrink: { count: 100000, share: 50% }
  day: { count: 100000, share: 100% }
";

pub fn guid(number: u64) -> [u8; 16] {
    let mut guid = [9; 16];
    guid[..8].copy_from_slice(&number.to_be_bytes());
    guid
}

pub fn unit(parent: Option<[u8; 16]>, rdn: &str, class: &str) -> Object {
    let attributes = BTreeMap::from([("objectclass".to_owned(), vec!["top".to_owned(), class.to_owned()])]);
    Object { parent, rdn: rdn.to_owned(), deleted: false, attributes, version: 0 }
}

pub fn person(number: u64) -> Object {
    let mut object = unit(
        Some(if number.is_multiple_of(3) { WARD } else { STAFF }),
        &format!("CN=Person {number}"),
        "user",
    );
    for (name, value) in [
        ("samaccountname", format!("n{number:04}")),
        ("sn", format!("Surname{number}")),
        ("displayname", format!("Person {number}")),
        ("mail", format!("m{number}@rxs.nhs.test")),
        ("title", "Nurse".to_owned()),
        ("useraccountcontrol", "512".to_owned()),
    ] {
        object.attributes.insert(name.to_owned(), vec![value]);
    }
    object
}

struct Chance(TestRng);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    fn person(&mut self, world: &World) -> [u8; 16] {
        let people: Vec<[u8; 16]> = world
            .objects
            .iter()
            .filter(|(_, o)| !o.deleted && o.rdn.starts_with("CN="))
            .map(|(g, _)| *g)
            .collect();
        people[usize::try_from(self.below(people.len() as u64)).unwrap()]
    }
}

/// What a day in a trust does to its directory.
fn happen(world: &mut World, chance: &mut Chance, next: &mut u64) {
    for _ in 0..10 + chance.below(40) {
        let (one, two) = (chance.person(world), chance.person(world));
        let set = |world: &mut World, guid, name: &str, value: Option<Vec<String>>| {
            world.change(guid, |object| {
                object.attributes.remove(name);
                object.attributes.extend(value.map(|value| (name.to_owned(), value)));
            });
        };
        let get =
            |world: &World, guid: [u8; 16], name: &str| world.objects[&guid].attributes.get(name).cloned();
        match chance.below(10) {
            0 | 1 => {
                world.put(guid(*next), person(*next));
                *next += 1;
            }
            2 => set(world, one, "title", Some(vec![format!("Grade {}", chance.below(9))])),
            3 => set(world, one, "title", None),
            // names and mails change places
            4 | 5 => {
                for name in ["samaccountname", "mail"] {
                    let (a, b) = (get(world, one, name), get(world, two, name));
                    set(world, one, name, b);
                    set(world, two, name, a);
                }
            }
            6 => world.change(one, |object| {
                object.parent = Some([STAFF, WARD, OTHER][usize::from(object.rdn.len() % 3 == 0)])
            }),
            7 => world.change(one, |object| object.deleted = true),
            8 => set(
                world,
                one,
                "useraccountcontrol",
                Some(vec![["512", "514"][usize::from(chance.below(3) == 0)].to_owned()]),
            ),
            _ => {
                // a whole ward moves out of scope and back; or is renamed
                let there = if chance.below(6) == 0 { OTHER } else { STAFF };
                let named = format!("OU=Ward {}", chance.below(100));
                world.change(WARD, |object| (object.parent, object.rdn) = (Some(there), named));
            }
        }
    }
}

pub type People = BTreeMap<String, BTreeMap<String, String>>;

/// What is to be published, said without the program's help: by anchor.
pub fn expected(world: &World) -> People {
    let below = |mut at: [u8; 16]| loop {
        if at == STAFF {
            return true;
        }
        match world.objects[&at].parent {
            Some(parent) => at = parent,
            None => return false,
        }
    };
    let mut people = People::new();
    for (guid, object) in world.objects.iter().filter(|(_, object)| object.rdn.starts_with("CN=")) {
        let first = |name: &str| object.attributes.get(name).map(|values| values[0].clone());
        if object.deleted || !below(*guid) || first("useraccountcontrol").as_deref() == Some("514") {
            continue;
        }
        let mut entry = BTreeMap::from([
            ("uid".to_owned(), first("samaccountname").unwrap()),
            ("cn".to_owned(), first("displayname").unwrap()),
            ("sn".to_owned(), first("sn").unwrap()),
            ("mail".to_owned(), first("mail").unwrap()),
        ]);
        entry.extend(first("title").map(|title| ("title".to_owned(), title)));
        people.insert(format!("RXS/{}", uuid::Uuid::from_bytes_le(*guid)), entry);
    }
    people
}

/// The national directory, as its administrator.
pub async fn connect(slapd: &Slapd) -> Directory {
    let anchors = Anchors::load(&slapd.folder.path().join("ca.crt")).unwrap();
    let credential = Credential::Simple { name: slapd.admin.into(), password: Secret::new(PASSWORD.into()) };
    let endpoint = Endpoint::ldaps("127.0.0.1", slapd.port, Some(NAME));
    let tls = client_config(&anchors, None).unwrap();
    Directory::connect(&endpoint, tls, &credential, &Default::default()).await.unwrap()
}

/// Makes a leaver one who left years ago, as if we had written it then.
pub fn age(slapd: &Slapd, dn: &str) {
    const LEFT_AT: &str = "20200101000000Z";
    let kept = ["cn", "sn", "employeeNumber", "portcullisAnchor", "portcullisMember"];
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut directory = connect(slapd).await;
        let search = Search::new(dn, Scope::Base, Filter::present("objectClass"), &kept);
        let (entries, _) = directory.read(&search).await.unwrap();
        let text = |value: &Vec<u8>| String::from_utf8(value.clone()).unwrap();
        let content = entries[0].attributes.iter();
        let content =
            content.map(|one| (one.description.to_lowercase(), one.values.iter().map(text).collect()));
        let stamp = left_stamp(&portcullis::sync::people::desired::stamp(&content.collect()), LEFT_AT);
        let changes =
            [("portcullisLeftAt", LEFT_AT), ("portcullisStamp", &stamp)].map(|(attribute, value)| {
                Change::Replace { attribute: attribute.to_owned(), values: vec![value.as_bytes().to_vec()] }
            });
        let done = directory.modify(dn, &changes, Vec::new()).await.unwrap();
        assert!(done.is_success(), "{done:?}");
    });
}

/// What is published.
pub fn published(slapd: &Slapd) -> People {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut directory = connect(slapd).await;
        let filter = Filter::parse("(&(objectClass=inetOrgPerson)(!(portcullisLeftAt=*)))").unwrap();
        let names = ["uid", "cn", "sn", "mail", "title", "portcullisAnchor"];
        let search = Search::new("dc=national,dc=test", Scope::Subtree, filter, &names);
        let (entries, done) = directory.read(&search).await.unwrap();
        assert!(done.is_complete());
        let mut people = People::new();
        for entry in entries {
            let anchor = entry.text("portcullisAnchor").unwrap().to_owned();
            let values = names[..5].iter().filter_map(|name| {
                let values: Vec<&str> = entry.texts(name).collect();
                assert!(values.len() < 2, "{name} of {anchor} has several values");
                values.first().map(|value| ((*name).to_owned(), (*value).to_owned()))
            });
            let before = people.insert(anchor.clone(), values.collect());
            assert!(before.is_none(), "{anchor} is there twice");
        }
        people
    })
}

/// Runs until a run ends well; a killed one's lease has to end first.
pub fn resume(stage: &Stage) -> serde_json::Value {
    let began = Instant::now();
    loop {
        let output = stage.sync(&["run", "RXS"]);
        if output.status.success() {
            return serde_json::from_slice(&output.stdout).unwrap();
        }
        let told =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(began.elapsed() < Duration::from_secs(60), "no run ends well: {told}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn killed_at_fifty_random_moments_with_a_scripted_source_and_a_real_slapd() {
    let pki = Pki::new();
    let test = "killed_at_fifty_random_moments_with_a_scripted_source_and_a_real_slapd";
    let Some(slapd) = Slapd::start(test, &pki) else { return };
    killed(&slapd, &pki, KILLS);
}

/// Fewer kills: what is asked here is whether its writes are told done or not as they are.
#[test]
fn killed_at_random_moments_with_a_real_389() {
    let pki = Pki::new();
    let Some(slapd) = Slapd::start_389("killed_at_random_moments_with_a_real_389", &pki) else { return };
    killed(&slapd, &pki, KILLS / 5);
}

/// A directory with this many people.
pub fn trust(people: u64) -> World {
    let mut world = World::default();
    world.put(HEAD, unit(None, "DC=rxs", "domainDNS"));
    world.put(STAFF, unit(Some(HEAD), "OU=Staff", "organizationalUnit"));
    world.put(WARD, unit(Some(STAFF), "OU=Ward", "organizationalUnit"));
    world.put(OTHER, unit(Some(HEAD), "OU=Other", "organizationalUnit"));
    (0..people).for_each(|number| world.put(guid(number), person(number)));
    world
}

/// The member `RXS` with this directory, and the national directory.
pub fn stage(world: &Arc<Mutex<World>>, slapd: &Slapd, pki: &Pki, scope: &str, extra: &str) -> Stage {
    let source = Source {
        host: "127.0.0.1".into(),
        port: serve(Arc::clone(world), pki.server()),
        tls_name: NAME.into(),
        base: BASE.into(),
        bind: "svc@rxs.test".into(),
        password: "secret".into(),
        anchors: pki.ca.clone(),
        canary: None,
        mail_domain: "rxs.nhs.test".into(),
    };
    let national = National {
        host: "127.0.0.1".into(),
        port: slapd.port,
        tls_name: NAME.into(),
        anchors: slapd.folder.path().join("ca.crt"),
        bind: slapd.admin.into(),
        password: PASSWORD.into(),
    };
    Stage::new("RXS", &source, &national, scope, extra)
}

fn killed(slapd: &Slapd, pki: &Pki, wanted: u32) {
    let world = Arc::new(Mutex::new(trust(PEOPLE)));
    // small batches: more moments at which to be killed
    let stage = stage(&world, slapd, pki, SCOPE, "sync: { batch: 10, connections: 2 }\n");
    let seed =
        std::env::var("PORTCULLIS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_124_u64);
    eprintln!("seed {seed} (PORTCULLIS_SEED)");
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let mut chance = Chance(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));

    let mut next = PEOPLE;
    let (mut kills, mut lasts) = (0, Duration::from_millis(1500));
    let (mut compared, mut found_out) = (0_u32, 0);
    while kills < wanted {
        let began = Instant::now();
        let mut child = stage.start(&["run", "RXS"]);
        std::thread::sleep(lasts.mul_f64(chance.below(1000) as f64 / 1000.0));
        // so that the moments are spread over the whole of a run, however fast the machine is
        if child.try_wait().unwrap().is_none() {
            // SIGKILL on Unix
            child.kill().unwrap();
            kills += 1;
            lasts += lasts / 20;
        } else {
            lasts = lasts.min(began.elapsed()) * 4 / 5;
        }
        child.wait().unwrap();
        stage.end_lease();
        // sometimes more happens before anybody resumes
        if chance.below(3) > 0 {
            let report = resume(&stage);
            found_out += report["found_out"].as_u64().unwrap();
            assert_eq!(published(slapd), expected(&world.lock().unwrap()), "after {kills} kills");
            compared += 1;
        }
        happen(&mut world.lock().unwrap(), &mut chance, &mut next);
    }
    resume(&stage);
    let everybody = expected(&world.lock().unwrap());
    assert_eq!(published(slapd), everybody);
    let quiet = stage.report(&["run", "RXS"]);
    assert_eq!(quiet["planned"], serde_json::json!({}));
    let journal = stage.store.journal(&stage.ods, 0, 1_000_000).unwrap();
    let open: BTreeSet<(String, u64)> = journal.iter().fold(BTreeSet::new(), |mut open, line| {
        let key = (line.entry.plan.clone(), line.entry.step);
        if line.entry.phase == "intended" {
            open.insert(key)
        } else {
            open.remove(&key)
        };
        open
    });
    assert!(open.is_empty(), "steps whose outcome nobody knows: {open:?}");
    eprintln!(
        "{kills} kills, {compared} comparisons, {} people at the end, {} journal lines, {found_out} outcomes found by looking",
        everybody.len(),
        journal.len()
    );
}
