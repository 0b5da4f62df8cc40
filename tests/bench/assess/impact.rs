//! What `policy impact` costs over a whole nation's recorded evidence: 1,565 members, half a million people.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use portcullis::ambient::clock::Clock;
use portcullis::assess::collect::collect;
use portcullis::assess::judge::compile;
use portcullis::assess::run::sign;
use portcullis::assess::settings::Settings;
use portcullis::assess::target::Target;
use portcullis::baseline::compile::check;
use portcullis::baseline::facts::Evidence;
use portcullis::enrol::run::{self, By};
use portcullis::policy::set::PolicySet;
use portcullis::secret::signing::Signer;
use portcullis::store::packed::Packed;
use portcullis::store::port::Store;
use portcullis::store::record::EvidenceRecord;
use portcullis::store::sqlite::store::SqliteStore;

use crate::measure::{self, Place};
use crate::{meter, start};

/// Organisations and the people of each: trusts of three sizes, and practices. 6 computers for 10 people, 15 groups for 100.
const MEMBERS: [(usize, usize); 4] = [(200, 1_600), (265, 500), (100, 220), (1_000, 25)];
const SECONDS: f64 = 5.0;
const MILLISECONDS: f64 = 100.0;
const ROUNDS: usize = 9;
const MEBIBYTES: f64 = 500.0;
const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");

/// Records the members in a store of their own and prints what the command takes, `rounds` times.
pub fn run(folder: &Path, rounds: usize) {
    let set = load();
    let store = SqliteStore::open(&folder.join("data"), &Default::default()).unwrap();
    let signer = Signer::ephemeral().unwrap();
    let mut number = 0;
    for (count, people) in MEMBERS {
        let evidence = recorded(people, folder, &set);
        for _ in 0..count {
            keep(&store, &format!("T{number:04}"), evidence.clone(), &signer, folder);
            number += 1;
        }
        println!("{count} members of {people} people recorded");
    }
    drop(store);
    configure(folder);
    for _ in 0..rounds {
        measure(folder);
    }
}

/// Loads the national baseline as a gateway does, several times, and prints what it took.
fn load() -> PolicySet {
    let mut taken = Vec::new();
    let mut last = None;
    for _ in 0..ROUNDS {
        let (began, cpu) = (Instant::now(), meter::own_cpu_seconds());
        let set = PolicySet::load(Path::new(POLICIES)).expect("the national baseline loads");
        assert!(check(&set).is_empty());
        taken.push((began.elapsed().as_secs_f64() * 1e3, (meter::own_cpu_seconds() - cpu) * 1e3));
        last = Some(set);
    }
    taken.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (wall, cpu) = taken[ROUNDS / 2];
    println!(
        "loading the national baseline: {wall:.0} ms (below {MILLISECONDS:.0}), {cpu:.0} ms of CPU, the middle of {ROUNDS}"
    );
    last.unwrap()
}

fn recorded(people: usize, folder: &Path, set: &PolicySet) -> Evidence {
    let running = start(people, folder);
    let clock = Clock::system();
    let member = measure::member("RXA".parse().unwrap(), &Place::generated(running.port), folder, &clock);
    let compiled = compile(set, None, &member.ods).unwrap();
    let settings = Settings { plain_port: 1, probe_seconds: 1, ..Settings::default() };
    let target = Target::of(&member).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let work = collect(&target, compiled.requirements(), &settings, &clock, Duration::from_secs(600));
    runtime.block_on(work)
}

fn keep(store: &dyn Store, code: &str, evidence: Evidence, signer: &Signer, folder: &Path) {
    let clock = Clock::system();
    let by = By { actor: "bench", reason: "measured", now: clock.now() };
    let mut member = measure::member(code.parse().unwrap(), &Place::generated(1), folder, &clock);
    // no two members have the same
    let domain = format!("{}.bench.test", code.to_lowercase());
    member.mail_domains = [domain.clone()].into();
    member.upn_suffixes = [domain].into();
    let evidence = sign(Evidence { member: member.ods.clone(), ..evidence }, signer);
    run::request(store, member, &by).unwrap();
    let record = EvidenceRecord {
        member: evidence.member.clone(),
        hash: evidence.hash.clone(),
        previous: None,
        collected_at: evidence.collected_at,
        document: Packed::by(|out| evidence.write(out)).unwrap(),
    };
    store.put_evidence(&record).unwrap();
}

/// A configuration for the command, and a set that asks for longer passwords and younger keys.
fn configure(folder: &Path) {
    let here = folder.display();
    let config = format!(
        "version: 1
data_dir: {here}/data
policies: {POLICIES}
listen: {{ ldaps: '127.0.0.1:1636', metrics: '127.0.0.1:1639' }}
tls: {{ certificate: {here}/leaf.pem, key: {here}/leaf.key, client_anchors: {here}/ca.pem, crls: [] }}
national:
  address: 127.0.0.1:9
  anchors: {here}/ca.pem
  bind_dn: cn=gateway,dc=national,dc=test
  password: {{ file: {here}/password }}
  suffix: dc=national,dc=test
  people_base: ou=people,dc=national,dc=test
"
    );
    fs::write(folder.join("portcullis.yaml"), config).unwrap();
    copy(Path::new(POLICIES), &folder.join("new"));
    let baseline = folder.join("new/national/baseline.yaml");
    let text = fs::read_to_string(&baseline).unwrap();
    let text = text.replace("password_length_min: 14", "password_length_min: 20");
    fs::write(&baseline, text.replace("krbtgt_max_age: 180d", "krbtgt_max_age: 90d")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

fn measure(folder: &Path) {
    let (began, before) = (Instant::now(), meter::children_cpu_seconds());
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["policy", "impact"])
        .arg(folder.join("new"))
        .arg("--json")
        .arg("--config")
        .arg(folder.join("portcullis.yaml"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak: f64 = 0.0;
    let status = loop {
        peak = peak.max(meter::peak_of_kib(child.id()));
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let (wall, cpu) = (began.elapsed().as_secs_f64(), meter::children_cpu_seconds() - before);
    println!(
        "policy impact: {wall:.2} s (below {SECONDS}), {cpu:.2} CPU seconds, {:.0} MiB resident at the most (below {MEBIBYTES}); {status}",
        peak / 1024.0
    );
}
