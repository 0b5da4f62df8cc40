//! Controllers that DNS names: a small DNS server by hand, our look-ups, and what the gateway keeps of them.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis::app::discover::{self, Discovered, Hands, Question};
use portcullis::directory::discovery::{Controller, Finder, Settings};
use portcullis::store::member::Member;
use time::OffsetDateTime;

const DOMAIN: &str = "_ldap._tcp.dc._msdcs.rxa.test";
const SITE: &str = "_ldap._tcp.leeds._sites.dc._msdcs.rxa.test";

/// Priority, weight, target.
type Records = Vec<(u16, u16, &'static str)>;

/// Answers SRV questions over UDP (RFC 1035 section 4.1, RFC 2782); names that it does not know do not exist.
struct Dns {
    address: SocketAddr,
    zone: Arc<Mutex<Option<HashMap<&'static str, Records>>>>,
}

impl Dns {
    fn new() -> Dns {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let dns =
            Dns { address: socket.local_addr().unwrap(), zone: Arc::new(Mutex::new(Some(HashMap::new()))) };
        let zone = dns.zone.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if let Some(zone) = zone.lock().unwrap().as_ref() {
                    let _ = socket.send_to(&answer(&buffer[..length], zone), from);
                }
            }
        });
        dns
    }

    fn set(&self, name: &'static str, records: Records) {
        self.zone.lock().unwrap().get_or_insert_default().insert(name, records);
    }

    /// From now on nothing is answered.
    fn fall_silent(&self) {
        *self.zone.lock().unwrap() = None;
    }

    fn settings(&self) -> Settings {
        Settings {
            resolver: Some(self.address),
            answer_seconds: 1,
            refresh_min_seconds: 1,
            ..Settings::default()
        }
    }
}

fn labels(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

fn answer(question: &[u8], zone: &HashMap<&'static str, Records>) -> Vec<u8> {
    let mut name = Vec::new();
    let mut at = 12;
    while question[at] != 0 {
        let end = at + 1 + usize::from(question[at]);
        name.push(String::from_utf8_lossy(&question[at + 1..end]).to_lowercase());
        at = end;
    }
    let question_end = at + 5;
    let records = zone.get(name.join(".").as_str());
    let count = records.map_or(0, Vec::len) as u16;
    let mut out = question[..2].to_vec();
    // A response, authoritative, recursion available; NXDOMAIN when the name is unknown.
    out.extend_from_slice(&[0x85, if records.is_some() { 0x80 } else { 0x83 }]);
    for number in [1, count, 0, 0] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&question[12..question_end]);
    for (priority, weight, target) in records.into_iter().flatten() {
        // The name by pointer, SRV, IN, ten seconds.
        out.extend_from_slice(&[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 10]);
        let target = labels(target);
        out.extend_from_slice(&(6 + target.len() as u16).to_be_bytes());
        for number in [*priority, *weight, 389] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&target);
    }
    out
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn shown(controllers: &[Controller]) -> Vec<(&str, u16, u16, u16)> {
    controllers.iter().map(|c| (c.host.as_str(), c.port, c.rank, c.weight)).collect()
}

#[test]
fn controllers_are_found_in_dns() {
    let dns = Dns::new();
    dns.set(
        DOMAIN,
        vec![
            (10, 5, "dc3.rxa.test"),
            (0, 100, "DC1.rxa.test"),
            (0, 50, "dc2.rxa.test"),
            (0, 1, "dc1.evil.test"),
        ],
    );
    let runtime = runtime();
    runtime.block_on(async {
        let finder = Finder::new(&dns.settings()).unwrap();
        let found = finder.controllers("RXA.TEST", None).await.unwrap();
        let all = [("dc1.rxa.test", 636, 0, 100), ("dc2.rxa.test", 636, 0, 50), ("dc3.rxa.test", 636, 1, 5)];
        assert_eq!(
            shown(&found.controllers),
            all,
            "by priority and weight, over LDAPS, inside the domain only"
        );
        assert_eq!(found.lives, Duration::from_secs(10));
        // A site of which DNS does not know is no reason to find nobody.
        assert_eq!(finder.controllers("RXA.TEST", Some("Leeds")).await.unwrap().controllers.len(), 3);
        dns.set(SITE, vec![(0, 100, "dc2.rxa.test")]);
        let found = finder.controllers("RXA.TEST", Some("Leeds")).await.unwrap();
        let near =
            [("dc2.rxa.test", 636, 0, 100), ("dc1.rxa.test", 636, 1, 100), ("dc3.rxa.test", 636, 2, 5)];
        assert_eq!(shown(&found.controllers), near, "the site first");
        assert!(finder.controllers("RXB.TEST", None).await.is_err());
        dns.set("_ldap._tcp.dc._msdcs.rxc.test", vec![(0, 0, "")]);
        assert!(finder.controllers("RXC.TEST", None).await.is_err(), "a service that is not there");
        dns.fall_silent();
        let began = Instant::now();
        assert!(finder.controllers("RXA.TEST", None).await.is_err());
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    });
}

fn member() -> Member {
    let json = serde_json::json!({
        "ods": "RXA", "name": "Test", "state": "federated",
        "connection": {
            "controllers": [], "base_dn": "DC=rxa,DC=test", "bind_dn": "gateway@rxa.test",
            "password": { "environment": "NONE" }, "anchors": "",
        },
        "requested_at": "2026-01-01T00:00:00Z", "state_since": "2026-01-01T00:00:00Z", "revision": 1,
    });
    serde_json::from_value(json).unwrap()
}

/// Changes are told once each, an answer that does not come changes nothing, and old answers end.
#[test]
fn what_dns_says_is_followed_and_remembered() {
    let dns = Dns::new();
    dns.set(DOMAIN, vec![(0, 1, "dc1.rxa.test")]);
    let settings = Settings { refresh_max_seconds: 1, age_max_seconds: 3_600, ..dns.settings() };
    let changes = Arc::new(AtomicUsize::new(0));
    // Seconds since the beginning of time, as the gateway's clock says.
    let clock = Arc::new(AtomicUsize::new(0));
    let now = |clock: &AtomicUsize| {
        OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(clock.load(Ordering::SeqCst) as i64)
    };
    let (count, ticking) = (changes.clone(), clock.clone());
    let hands = Hands {
        settings: settings.clone(),
        members: Arc::new(|| Some(vec![member()])),
        now: Arc::new(move || now(&ticking)),
        changed: Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        }),
    };
    let known = Arc::new(Discovered::default());
    let question = Question::of(&member().connection).unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let runtime = runtime();
    let task = runtime.spawn(discover::run(known.clone(), hands, stopped));
    let until = |changed: usize| {
        let end = Instant::now() + Duration::from_secs(20);
        while changes.load(Ordering::SeqCst) < changed {
            assert!(Instant::now() < end, "change {changed} never came");
            std::thread::sleep(Duration::from_millis(10));
        }
        known.controllers(&question, &settings, now(&clock))
    };
    assert_eq!(shown(&until(1).unwrap()), [("dc1.rxa.test", 636, 0, 1)]);
    dns.set(DOMAIN, vec![(0, 1, "dc1.rxa.test"), (0, 1, "dc2.rxa.test")]);
    assert_eq!(until(2).unwrap().len(), 2);
    dns.fall_silent();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(until(2).unwrap().len(), 2, "the last known ones");
    clock.store(4_000, Ordering::SeqCst);
    assert_eq!(until(3), None, "but not for ever");
    dns.set(DOMAIN, vec![(0, 1, "dc1.rxa.test"), (0, 1, "dc2.rxa.test")]);
    assert_eq!(until(4).unwrap().len(), 2);
    assert_eq!(changes.load(Ordering::SeqCst), 4, "what did not change is not told");
    stop.send(true).unwrap();
    runtime.block_on(task).unwrap();
}
