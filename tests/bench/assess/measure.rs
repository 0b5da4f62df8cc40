//! One assessment in a process of its own, as a running gateway makes it: evidence signed and kept, judged, the assessment kept.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use portcullis::ambient::clock::Clock;
use portcullis::assess::judge::compile;
use portcullis::assess::run::Assessor;
use portcullis::assess::settings::Settings;
use portcullis::baseline::assessment::Verdict;
use portcullis::enrol::run::{self, By};
use portcullis::policy::set::PolicySet;
use portcullis::policy::terms::{Membership, OdsCode};
use portcullis::secret::reference::SecretReference;
use portcullis::secret::signing::Signer;
use portcullis::store::member::{Connection, Controller, Member};
use portcullis::store::port::Store;
use portcullis::store::sqlite::store::SqliteStore;

use crate::domain::BASE;
use crate::meter;

/// What an assessment came to.
pub struct Measured {
    /// The most that was resident, beyond what was before.
    pub mebibytes: f64,
    pub wall: f64,
    pub cpu: f64,
    /// What was found and kept, for people.
    pub parts: String,
}

impl Measured {
    pub fn parse(text: &str) -> Option<Measured> {
        let mut fields = text.trim().splitn(4, '\t');
        Some(Measured {
            mebibytes: fields.next()?.parse().ok()?,
            wall: fields.next()?.parse().ok()?,
            cpu: fields.next()?.parse().ok()?,
            parts: fields.next()?.to_owned(),
        })
    }
}

/// A directory under measurement; its password and anchors are in the folder.
#[derive(Debug, Clone)]
pub struct Place {
    pub host: String,
    pub port: u16,
    pub base: String,
    pub bind_dn: String,
}

impl Place {
    /// The generated domain.
    pub fn generated(port: u16) -> Place {
        Place {
            host: "127.0.0.1".to_owned(),
            port,
            base: BASE.to_owned(),
            bind_dn: "svc-portcullis@bench.test".to_owned(),
        }
    }
}

/// Assesses a directory and prints what it came to.
pub fn run(place: &Place, folder: &Path) {
    let policies = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/policies/national"));
    let set = Arc::new(PolicySet::load(&policies).expect("the national baseline loads"));
    let ods: OdsCode = "RXA".parse().unwrap();
    let compiled = compile(&set, None, &ods).unwrap();
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::open(&folder.join("data"), &Default::default()).unwrap());
    let clock = Clock::system();
    let by = By { actor: "bench", reason: "measured", now: clock.now() };
    run::request(store.as_ref(), member(ods.clone(), place, folder, &clock), &by).unwrap();
    let assessor = Assessor {
        store: Arc::clone(&store),
        policies: Arc::new(move || Some(Arc::clone(&set))),
        signer: Arc::new(Signer::ephemeral().unwrap()),
        settings: Settings { plain_port: 1, probe_seconds: 1, ..Settings::default() },
        clock,
        actor: "bench".to_owned(),
        metrics: None,
        on_assessed: None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let before = meter::resident_kib(std::process::id());
    meter::forget_peak();
    let (began, cpu) = (Instant::now(), meter::own_cpu_seconds());
    let assessed = runtime.block_on(assessor.assess(&ods)).unwrap();
    let (wall, cpu) = (began.elapsed().as_secs_f64(), meter::own_cpu_seconds() - cpu);
    let peak = meter::peak_kib();
    let record = store.latest_evidence(&ods).unwrap().unwrap();
    let collections = &assessed.evidence.facts.collections;
    let records: usize = collections.values().map(|collection| collection.records.len()).sum();
    let count = |verdict| assessed.assessment.count(verdict);
    // people, computers, groups: the searches that ldapsearch asks again
    let large = assessed.evidence.provenance.iter().filter(|p| p.entries >= 1_000);
    let read: Vec<String> = large.map(|p| format!("{} {} ms", p.facts, p.took_ms)).collect();
    println!(
        "{}\t{wall}\t{cpu}\t{records} records of {} collections, {} controls ({} pass, {} fail, {} unknown), {} KiB resident before, document {} KiB packed; read: {}",
        (peak - before) / 1024.0,
        collections.len(),
        compiled.controls.len(),
        count(Verdict::Pass),
        count(Verdict::Fail),
        count(Verdict::Unknown),
        before,
        record.document.bytes().len() / 1024,
        read.join(", "),
    );
}

/// The member whose directory is there.
pub fn member(ods: OdsCode, place: &Place, folder: &Path, clock: &Clock) -> Member {
    Member {
        ods,
        name: "Bench".to_owned(),
        state: Membership::Requested,
        profile: None,
        connection: Connection {
            controllers: vec![Controller { host: place.host.clone(), port: place.port, tls_name: None }],
            base_dn: place.base.clone(),
            bind_dn: place.bind_dn.clone(),
            password: SecretReference::File(folder.join("password")),
            anchors: std::fs::read_to_string(folder.join("ca.pem")).unwrap(),
            kdcs: vec!["127.0.0.1:1".to_owned()],
            site: None,
            realm: None,
            card: None,
            canary: None,
        },
        connectors: Vec::new(),
        mail_domains: BTreeSet::from(["bench.test".to_owned()]),
        upn_suffixes: BTreeSet::from(["bench.test".to_owned()]),
        people: Default::default(),
        attested: Default::default(),
        requested_at: clock.now(),
        state_since: clock.now(),
        state_reason: "asked".to_owned(),
        revision: 0,
    }
}
