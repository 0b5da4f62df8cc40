//! The observer on real national directories: what it tells of our writes and of what others do, over interruptions and restarts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::ambient::clock::Clock;
use portcullis::directory::guard::Piece;
use portcullis::directory::request::{RawControl, Scope, Search};
use portcullis::ldap::content_sync::{SYNC_INFO, SyncDone, SyncInfo, SyncMode, SyncState};
use portcullis::ldap::filter::Filter;
use portcullis::ldap::limits::Limits;
use portcullis::policy::set::PolicySet;
use portcullis::secret::reference::SecretReference;
use portcullis::store::port::Store;
use portcullis::store::settings::Settings as StoreSettings;
use portcullis::store::sqlite::store::SqliteStore;
use portcullis::sync::keeping::job::{Hands, Mode};
use portcullis::sync::running::member::{National, Syncer};
use portcullis::sync::running::metrics::OfObserver;
use portcullis::sync::watching::content::Content;
use portcullis::sync::watching::observer::Observer;
use portcullis::sync::watching::observing::Settings;
use prometheus::Registry;
use tokio::sync::watch;

use crate::app_serve::Gateway;
use crate::sync_crash::{SCOPE, connect, expected, published, stage, trust};
use crate::sync_national::{NAME, PASSWORD, Pki, Slapd};
use crate::sync_servers::servers;
use crate::sync_stage::Stage;

const UNIT: &str = "ou=RXS,ou=people,dc=national,dc=test";

pub fn syncer(stage: &Stage, slapd: &Slapd) -> Syncer {
    syncer_to(
        stage,
        National {
            host: "127.0.0.1".into(),
            port: slapd.port,
            tls_name: NAME.into(),
            anchors: slapd.folder.path().join("ca.crt"),
            bind_dn: slapd.admin.into(),
            password: SecretReference::File(stage.path("national-password")),
            people_base: "ou=people,dc=national,dc=test".into(),
        },
    )
}

pub fn syncer_to(stage: &Stage, national: National) -> Syncer {
    let set = Arc::new(PolicySet::load(&stage.path("policies")).unwrap());
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::open(&stage.path("data"), &StoreSettings::default()).unwrap());
    Syncer {
        hands: Hands {
            store,
            clock: Clock::system(),
            settings: Default::default(),
            holder: format!("test/{}", stage.folder.path().display()),
            interruption: Default::default(),
        },
        policies: Arc::new(move || Some(Arc::clone(&set))),
        gates: Arc::new(|_| true),
        national,
        metrics: None,
    }
}

struct Watching {
    registry: Registry,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
    demanded: Arc<Mutex<Vec<String>>>,
}

impl Watching {
    fn start(syncer: &Syncer) -> Watching {
        let registry = Registry::new();
        let metrics = OfObserver::register(&registry).unwrap();
        let (stop, stopped) = watch::channel(false);
        let demanded: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = Arc::clone(&demanded);
        let settings = Settings {
            settle_seconds: 1,
            look_seconds: 1,
            keep_seconds: 1,
            retry_seconds: 1,
            ..Settings::default()
        };
        let demand = Arc::new(move |member: portcullis::policy::terms::OdsCode| {
            told.lock().unwrap().push(member.to_string());
        });
        let observer = Observer::new(syncer.clone(), settings, metrics, demand);
        Watching { registry, stop, task: tokio::spawn(observer.run(stopped)), demanded }
    }

    fn value(&self, name: &str) -> f64 {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        crate::app_stage::metric(&text, name).unwrap_or(-1.0)
    }

    fn drift(&self) -> BTreeMap<&'static str, i64> {
        ["edited", "deleted", "renamed", "foreign"]
            .into_iter()
            .map(|kind| {
                let name = format!("portcullis_sync_drift_entries{{kind=\"{kind}\",member=\"RXS\"}}");
                (kind, self.value(&name) as i64)
            })
            .filter(|(_, count)| *count != 0)
            .collect()
    }

    async fn until(&self, what: &str, is: impl Fn(&Watching) -> bool) {
        let began = std::time::Instant::now();
        for _ in 0..600 {
            if is(self) {
                eprintln!("{what} after {} ms", began.elapsed().as_millis());
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        panic!("{what}: {text}");
    }

    async fn end(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
    }
}

/// Confirms what we wrote; tells what others did, asks for a run, and sees it mended; goes on from where it was after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_we_wrote_is_confirmed_and_what_others_did_is_told_and_mended() {
    let pki = Pki::new();
    for (name, slapd) in servers("what_we_wrote_is_confirmed_and_what_others_did_is_told_and_mended", &pki) {
        let world = Arc::new(Mutex::new(trust(30)));
        let stage = stage(&world, &slapd, &pki, SCOPE, "");
        let syncer = syncer(&stage, &slapd);
        syncer.sync(&stage.ods, Mode::default()).await.unwrap();
        let watching = Watching::start(&syncer);
        let none = BTreeMap::new();
        watching
            .until(&format!("{name}: quiet"), |w| {
                w.drift() == none && w.value("portcullis_sync_observer_connected") == 1.0
            })
            .await;
        assert!(watching.demanded.lock().unwrap().is_empty(), "{name}");

        // a run of ours, with names that change places, is confirmed and is no drift
        for attribute in ["samaccountname", "mail"] {
            let mut world = world.lock().unwrap();
            let ids = [crate::sync_crash::guid(1), crate::sync_crash::guid(2)];
            let [one, two] = ids.map(|id| world.objects[&id].attributes[attribute].clone());
            world.change(ids[0], |object| drop(object.attributes.insert(attribute.into(), two)));
            world.change(ids[1], |object| drop(object.attributes.insert(attribute.into(), one)));
        }
        let report = syncer.sync(&stage.ods, Mode::default()).await.unwrap();
        let written: u64 = report.executed.done.values().sum();
        let confirmed = "portcullis_sync_confirmed_total{member=\"RXS\"}";
        watching.until(&format!("{name}: confirmed"), |w| w.value(confirmed) >= written as f64).await;
        assert_eq!(watching.value(confirmed), written as f64, "{name}");
        assert!(watching.value("portcullis_sync_confirmation_seconds_count") > 0.0, "{name}");
        assert_eq!(watching.drift(), none, "{name}");
        assert!(watching.demanded.lock().unwrap().is_empty(), "{name}");

        others(&slapd);
        let wrong = BTreeMap::from([("edited", 1), ("deleted", 1), ("renamed", 1), ("foreign", 1)]);
        watching.until(&format!("{name}: told"), |w| w.drift() == wrong).await;
        assert!(watching.demanded.lock().unwrap().iter().any(|member| member == "RXS"), "{name}");
        watching.end().await;

        // what is known outlives the process, and what happens meanwhile is told
        slapd.ldif("ldapdelete", "uid=n0013,ou=RXS,ou=people,dc=national,dc=test\n");
        let watching = Watching::start(&syncer);
        let wrong = BTreeMap::from([("edited", 1), ("deleted", 2), ("renamed", 1), ("foreign", 1)]);
        watching.until(&format!("{name}: told after a restart"), |w| w.drift() == wrong).await;
        assert_eq!(
            watching.value("portcullis_sync_observer_refreshes_total{from=\"resumed\"}"),
            1.0,
            "{name}"
        );

        syncer.sync(&stage.ods, Mode::default()).await.unwrap();
        let left = BTreeMap::from([("foreign", 1)]);
        watching.until(&format!("{name}: mended"), |w| w.drift() == left).await;
        watching.end().await;
        let mut there = tokio::task::block_in_place(|| published(&slapd));
        there.retain(|_, entry| entry["uid"] != "stranger");
        assert_eq!(there, expected(&world.lock().unwrap()), "{name}");
    }
}

fn others(slapd: &Slapd) {
    slapd.ldif(
        "ldapmodify",
        &format!(
            "dn: uid=n0010,{UNIT}\nchangetype: modify\nreplace: title\ntitle: Queen\n\n\
             dn: uid=n0011,{UNIT}\nchangetype: delete\n\n\
             dn: uid=n0012,{UNIT}\nchangetype: modrdn\nnewrdn: uid=elsewhere\ndeleteoldrdn: 1\n\n\
             dn: uid=stranger,{UNIT}\nchangetype: add\nobjectClass: organizationalRole\nobjectClass: uidObject\n\
             uid: stranger\ncn: Stranger\n\n"
        ),
    );
}

/// A search that ends: every entry once, with the state and the end that the state machine wants.
#[tokio::test]
async fn a_refresh_that_ends_brings_the_content() {
    let pki = Pki::new();
    for (name, slapd) in servers("a_refresh_that_ends_brings_the_content", &pki) {
        slapd.ldif("ldapadd", &format!("dn: {UNIT}\nobjectClass: organizationalUnit\nou: RXS\n"));
        let mut directory = connect(&slapd).await;
        let mut content: Content<String> = Content::kept(Default::default(), None);
        for round in 0..2 {
            let control = content.begin(SyncMode::RefreshOnly).control(true);
            let control = RawControl {
                oid: control.oid.into_owned(),
                critical: true,
                value: control.value.map(std::borrow::Cow::into_owned),
            };
            let base = "ou=people,dc=national,dc=test";
            let search =
                Search::new(base, Scope::Subtree, Filter::present("objectClass"), &["ou"]).control(control);
            let (to, mut pieces) = tokio::sync::mpsc::channel(64);
            let done = directory.follow(&search, &to, Duration::from_secs(5)).await.unwrap();
            assert_eq!(done.code, 0, "{name}: {done:?}");
            while let Ok(piece) = pieces.try_recv() {
                match piece {
                    Piece::Controlled(entry, controls) => {
                        let state = controls.iter().find(|one| one.oid == SyncState::OID).unwrap();
                        let state = SyncState::read(state.value.as_deref().unwrap()).unwrap();
                        content.entry(state, entry.dn, &mut |_, _| ()).unwrap();
                    }
                    Piece::Between { name, value } => {
                        assert_eq!(name.as_deref(), Some(SYNC_INFO));
                        let info = SyncInfo::read(&value, &Limits::from_directory()).unwrap();
                        content.info(info, &mut |_, _| ()).unwrap();
                    }
                    Piece::Entry(entry) => panic!("{name}: {entry:?} without its controls"),
                }
            }
            let end =
                done.control(SyncDone::OID).map(|one| SyncDone::read(one.value.as_deref().unwrap()).unwrap());
            content.done(end, &mut |_, _| ()).unwrap();
            assert!(content.is_refreshed() && content.cookie().is_some(), "{name}");
            assert_eq!(content.iter().count(), 2 - round, "{name}: {content:?}");
            if round == 0 {
                slapd.ldif("ldapdelete", &format!("{UNIT}\n"));
            }
        }
    }
}

/// The gateway itself watches, says when it does not, and why.
#[test]
fn a_gateway_watches_its_national_directory() {
    let pki = Pki::new();
    for (name, mut slapd) in servers("a_gateway_watches_its_national_directory", &pki) {
        if name == "389-DS" {
            slapd.by_ordinary_account();
        }
        let stage = crate::app_stage::Stage::new("observer: { beat_seconds: 1, retry_seconds: 1 }\n");
        let config = std::fs::read_to_string(stage.path("portcullis.yaml")).unwrap();
        let ca = slapd.folder.path().join("ca.crt");
        let config = config
            .replace(
                "address: 127.0.0.1:9",
                &format!("address: 127.0.0.1:{}\n  tls_name: {NAME}", slapd.port),
            )
            .replace("  anchors: ca.pem", &format!("  anchors: {}", ca.display()))
            .replace("cn=gateway,dc=national,dc=test", slapd.admin);
        stage.write("portcullis.yaml", &config);
        crate::app_stage::secret(&stage.path("national.password"), PASSWORD);
        let gateway = Gateway::start(&stage);
        let connected = || gateway.value("portcullis_sync_observer_connected");
        crate::app_stage::soon(&format!("{name} is watched"), 20, || connected() == Some(1.0));
        if name != "OpenLDAP" {
            // what follows is about us, and takes its time
            assert_eq!(gateway.stop().0, Some(0), "{name}");
            continue;
        }
        // it does not answer any more, and nothing breaks the connection
        slapd.signal("STOP");
        crate::app_stage::soon(&format!("{name} is silent"), 60, || connected() == Some(0.0));
        slapd.signal("CONT");
        crate::app_stage::soon(&format!("{name} is watched again"), 60, || connected() == Some(1.0));
        assert!(gateway.log().contains("not observed"), "{name}: {}", gateway.log());
        let (code, _) = gateway.stop();
        assert_eq!(code, Some(0), "{name}");
    }
}
