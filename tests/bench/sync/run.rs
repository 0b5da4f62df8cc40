//! The process that is measured: runs of sync, by the library that the program is.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use portcullis::ambient::clock::Clock;
use portcullis::directory::endpoint::Endpoint;
use portcullis::directory::request::Credential;
use portcullis::secret::text::Secret;
use portcullis::store::sqlite::store::SqliteStore;
use portcullis::sync::keeping::job::{Hands, Job, Mode, Reach};
use portcullis::sync::running::run::run_member;
use portcullis::sync::terms::settings::Settings;
use portcullis::sync::writing::execute::Gate;
use portcullis::tls::client::client_config;
use portcullis::tls::material::Anchors;

use crate::meter;
use crate::national::{ADMIN, PASSWORD};
use crate::people::{PEOPLE_BASE, Trust};

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Place {
    pub folder: String,
    pub source: u16,
    pub national: u16,
    pub connections: usize,
    pub in_flight: usize,
}

fn hands(place: &Place) -> Hands {
    let store = SqliteStore::open(&Path::new(&place.folder).join("data"), &Default::default()).unwrap();
    Hands {
        store: Arc::new(store),
        clock: Clock::system(),
        settings: Settings {
            connections: place.connections,
            in_flight: place.in_flight,
            lease_seconds: 600,
            ..Settings::default()
        },
        holder: "bench".to_owned(),
        interruption: Default::default(),
    }
}

fn job(place: &Place, trust: &Trust, o: &str) -> Job {
    let anchors = Anchors::load(&Path::new(&place.folder).join("ca.crt")).unwrap();
    let reach = |port, name: &str, password: &str| Reach {
        endpoints: vec![Endpoint::ldaps("127.0.0.1", port, Some("localhost"))],
        tls: client_config(&anchors, None).unwrap(),
        credential: Credential::Simple { name: name.to_owned(), password: Secret::new(password.to_owned()) },
        settings: Default::default(),
    };
    Job {
        member: trust.ods(),
        source: Some(reach(place.source, "svc@trust.test", "secret")),
        source_base: trust.base.clone(),
        canary: None,
        target: reach(place.national, ADMIN, PASSWORD),
        people_base: PEOPLE_BASE.to_owned(),
        scope: trust.scope(o),
    }
}

/// Runs one trust; prints seconds of reading, planning and writing, steps done, CPU seconds, and the most memory in KiB.
pub fn one(place: &Place, trust: &Trust, o: &str, mode: Mode) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (job, hands) = (job(place, trust, o), hands(place));
    let gate: Gate = Arc::new(|| true);
    let cpu = meter::own_cpu_seconds();
    let report = runtime.block_on(run_member(&job, &hands, mode, &gate)).unwrap();
    assert!(report.trips.is_empty() && report.executed.undone.is_empty(), "{report:?}");
    let steps: u64 = report.executed.done.values().sum();
    let planned: u64 = report.planned.values().sum();
    println!(
        "{} {} {} {steps} {planned} {} {} {}",
        report.read_ms as f64 / 1e3,
        report.plan_ms as f64 / 1e3,
        report.write_ms as f64 / 1e3,
        meter::own_cpu_seconds() - cpu,
        meter::peak_kib(),
        report.published
    );
}

/// Runs every trust once, as many at a time as the settings say; prints seconds and CPU seconds.
pub fn cycle(place: &Place, members: usize, people: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let hands = hands(place);
    let (began, cpu) = (Instant::now(), meter::own_cpu_seconds());
    let steps: u64 = runtime.block_on(async {
        let room = Arc::new(tokio::sync::Semaphore::new(hands.settings.parallel));
        let mut runs = tokio::task::JoinSet::new();
        for number in 0..members {
            let (job, hands) = (job(place, &Trust::new(number, people), "N"), hands.clone());
            let room = Arc::clone(&room);
            runs.spawn(async move {
                let _permit = room.acquire_owned().await.unwrap();
                let gate: Gate = Arc::new(|| true);
                let report = Box::pin(run_member(&job, &hands, Mode::default(), &gate)).await.unwrap();
                assert!(report.executed.undone.is_empty(), "{report:?}");
                report.executed.done.values().sum::<u64>()
            });
        }
        let mut steps = 0;
        while let Some(done) = runs.join_next().await {
            steps += done.unwrap();
        }
        steps
    });
    println!(
        "{} {} {steps} {}",
        began.elapsed().as_secs_f64(),
        meter::own_cpu_seconds() - cpu,
        meter::peak_kib()
    );
}
