//! Revocation lists of a controller's certificate, from web servers that serve them, lie, stall or are not to be asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use portcullis::ambient::clock::Clock;
use portcullis::assess::probes::revocation::probe;
use portcullis::assess::settings::{Lists, Settings};
use portcullis::assess::target::Target;
use portcullis::baseline::facts::{Collection, Fact, Record};
use portcullis::baseline::value::Value;
use portcullis::directory::endpoint::Endpoint;
use portcullis::secret::reference::SecretReference;
use portcullis::store::member::Card;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint, DnType, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const SERIAL: u64 = 5;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "Root");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).unwrap();
    Authority { issuer: Issuer::new(params, key), certificate }
}

/// A list that is good for so many hours.
fn list(authority: &Authority, revoked: &[u64], hours: i64) -> Vec<u8> {
    let now = Clock::system().now();
    let revoked = revoked.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: now,
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: now - time::Duration::hours(48),
        next_update: now + time::Duration::hours(hours),
        crl_number: SerialNumber::from(7_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&authority.issuer).unwrap().der().to_vec()
}

/// A controller that shows a certificate which names these places.
async fn controller(authority: &Authority, places: &[String]) -> Endpoint {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["dc1.x.test".to_owned()]).unwrap();
    params.serial_number = Some(SerialNumber::from(SERIAL));
    params.distinguished_name.push(DnType::CommonName, "dc1");
    params.crl_distribution_points =
        places.iter().map(|uri| CrlDistributionPoint { uris: vec![uri.clone()] }).collect();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap().der().clone();
    controller_with(certificate, &key).await
}

async fn controller_with(certificate: CertificateDer<'static>, key: &KeyPair) -> Endpoint {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move { acceptor.accept(stream).await });
        }
    });
    Endpoint::ldaps("127.0.0.1", port, Some("dc1.x.test"))
}

/// A web server that gives this answer and counts its visitors.
async fn web(answer: Vec<u8>) -> (String, u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&visits);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 1_024]).await;
                let _ = stream.write_all(&answer).await;
                // one that says nothing keeps us waiting
                let pause = if answer.is_empty() { 30_000 } else { 0 };
                tokio::time::sleep(Duration::from_millis(pause)).await;
            });
        }
    });
    (format!("http://127.0.0.1:{port}/ca.crl"), port, visits)
}

fn ok(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes(), body.to_vec()]
        .concat()
}

fn settings(ports: &[u16]) -> Settings {
    let lists = Lists {
        seconds: 1,
        bytes: 50_000,
        ports: ports.iter().copied().collect(),
        networks: ["127.0.0.0/8".to_owned()].into(),
        ..Lists::default()
    };
    Settings { probe_seconds: 2, lists, ..Settings::default() }
}

fn target(authority: &Authority, controllers: &[Endpoint]) -> Target {
    Target::new(
        "RXA".parse().unwrap(),
        controllers.to_vec(),
        "DC=x,DC=test",
        "svc@x.test",
        SecretReference::File("/nowhere".into()),
        &authority.certificate.pem(),
    )
    .unwrap()
}

async fn look(authority: &Authority, controllers: &[Endpoint], settings: &Settings) -> Collection {
    let target = target(authority, controllers);
    let gathered = probe::controllers(&target, controllers, settings, &Clock::system()).await;
    gathered.facts.collections[probe::CONTROLLERS].clone()
}

/// The record of a controller whose certificate names a place that gives this answer.
async fn answered(authority: &Authority, answer: Vec<u8>) -> Record {
    let (url, port, _) = web(answer).await;
    let controller = controller(authority, &[url]).await;
    let collection = look(authority, &[controller], &settings(&[port])).await;
    assert_eq!(collection.complete, Fact::boolean(true));
    collection.records.get(0).unwrap().to_record()
}

fn text(record: &Record, fact: &str) -> String {
    match &record[fact] {
        Fact::Known(Value::Text(text) | Value::Word(text)) => text.clone(),
        other => panic!("{fact}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_served_is_judged() {
    let root = authority();
    let good = answered(&root, ok(&list(&root, &[4], 24))).await;
    for (fact, value) in [("reachable", true), ("signed", true), ("revoked", false)] {
        assert_eq!(good[fact], Fact::boolean(value), "{fact}");
    }
    assert!(matches!(good["remaining"], Fact::Known(Value::Duration(86_000..=86_400))), "{good:?}");
    assert!(matches!(good["age"], Fact::Known(Value::Duration(172_800..=173_000))), "{good:?}");
    assert_eq!((text(&good, "source").as_str(), &good["problem"]), ("web", &Fact::Absent));
    assert_eq!(good["fetch_problem"], Fact::Absent);
    let revoked = answered(&root, ok(&list(&root, &[4, SERIAL], 24))).await;
    assert_eq!(revoked["revoked"], Fact::boolean(true));
    let old = answered(&root, ok(&list(&root, &[], -1))).await;
    assert!(matches!(old["remaining"], Fact::Known(Value::Duration(-3_700..=-3_600))), "{old:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_lies_tells_nothing() {
    let (root, other) = (authority(), authority());
    // nobody is revoked, says somebody else of the same name
    let clears = list(&other, &[], 24);
    let mut broken = list(&root, &[SERIAL], 24);
    *broken.last_mut().unwrap() ^= 1;
    for body in
        [clears, broken, b"<html>welcome</html>".to_vec(), vec![0x30, 0x84, 255, 255, 255, 255], Vec::new()]
    {
        let record = answered(&root, ok(&body)).await;
        assert_eq!((&record["reachable"], &record["signed"]), (&Fact::boolean(true), &Fact::boolean(false)));
        assert_eq!(record["fetch_problem"], Fact::Absent);
        assert!(
            matches!(record["revoked"], Fact::Failed(_)) && matches!(record["remaining"], Fact::Failed(_))
        );
        assert!(!text(&record, "problem").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_does_not_come_is_told_apart() {
    let root = authority();
    let good = list(&root, &[], 24);
    let redirect = b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1/ca.crl\r\nContent-Length: 0\r\n\r\n";
    for (answer, expected) in [
        (ok(&[&good[..], &vec![0; 60_000]].concat()), "larger than 50000 bytes"),
        (redirect.to_vec(), "redirects are not followed"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec(), "answers 500"),
        (b"\x16\x03\x01".to_vec(), "127.0.0.1"),
        (Vec::new(), "within 1 seconds"),
    ] {
        let began = Instant::now();
        let record = answered(&root, answer).await;
        assert_eq!(record["reachable"], Fact::boolean(false));
        let problem = text(&record, "problem");
        assert!(
            problem.starts_with("could not be fetched from here") && problem.contains(expected),
            "{problem}"
        );
        assert!(matches!(&record["revoked"], Fact::Failed(reason) if *reason == problem));
        // the place and why, for whoever is to open the way
        assert_eq!(text(&record, "fetch_problem"), problem);
        assert!(problem.contains("http://127.0.0.1:"), "{problem}");
        assert!(began.elapsed() < Duration::from_secs(4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_asked_is_told() {
    let root = authority();
    let (url, port, visits) = web(ok(&list(&root, &[], 24))).await;
    // by default nobody asks an address of our own
    let strict = Settings {
        lists: Lists { networks: Default::default(), ..settings(&[port]).lists },
        ..settings(&[port])
    };
    let ours = controller(&root, std::slice::from_ref(&url)).await;
    let record = look(&root, std::slice::from_ref(&ours), &strict).await.records.get(0).unwrap().to_record();
    assert!(text(&record, "problem").contains("127.0.0.1 is not asked"), "{record:?}");
    let record = look(&root, &[ours], &settings(&[80])).await.records.get(0).unwrap().to_record();
    assert!(text(&record, "problem").contains(&format!("port {port} is not asked")), "{record:?}");
    let elsewhere =
        controller(&root, &["ldap:///CN=ca,CN=CDP".to_owned(), "file:///etc/shadow".to_owned()]).await;
    let record = look(&root, &[elsewhere], &settings(&[port])).await.records.get(0).unwrap().to_record();
    assert_eq!(text(&record, "source"), "elsewhere");
    for fact in ["reachable", "fetch_problem", "signed", "revoked", "remaining", "age"] {
        assert!(matches!(&record[fact], Fact::NotCollected(reason) if reason.contains("ldap:///")), "{fact}");
    }
    let none = controller(&root, &[]).await;
    let record = look(&root, &[none], &settings(&[port])).await.records.get(0).unwrap().to_record();
    assert_eq!((text(&record, "source").as_str(), &record["revoked"]), ("none", &Fact::Absent));
    assert_eq!(visits.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_fails_does_not_hide_the_next_and_none_is_asked_twice() {
    let root = authority();
    let (good, good_port, visits) = web(ok(&list(&root, &[], 24))).await;
    let (bad, bad_port, failures) = web(ok(b"<html>please log on</html>")).await;
    let places = [bad, good.clone()];
    let controllers = [controller(&root, &places).await, controller(&root, &[good]).await];
    let collection = look(&root, &controllers, &settings(&[good_port, bad_port])).await;
    assert_eq!(collection.records.len(), 2);
    assert!(
        collection.records.iter().all(|record| *record.fact("signed") == Fact::boolean(true)),
        "{collection:?}"
    );
    assert_eq!(failures.load(Ordering::SeqCst), 1);
    // a server that is gone leaves the collection open, and what was seen in it
    let gone = Endpoint::ldaps("127.0.0.1", 1, None);
    let [first, _] = controllers;
    let collection = look(&root, &[first, gone], &settings(&[good_port, bad_port])).await;
    assert!(matches!(collection.complete, Fact::Failed(_)) && collection.records.len() == 1);
    // no more than were allowed
    let before = visits.load(Ordering::SeqCst);
    let few = settings(&[good_port, bad_port]);
    let few = Settings { lists: Lists { per_pass: 1, ..few.lists }, ..few };
    let (two, three) = (format!("http://127.0.0.1:{good_port}/2"), format!("http://127.0.0.1:{good_port}/3"));
    let controllers = [controller(&root, &[two]).await, controller(&root, &[three]).await];
    let collection = look(&root, &controllers, &few).await;
    assert_eq!(visits.load(Ordering::SeqCst), before + 1);
    assert!(
        text(&collection.records.get(1).unwrap().to_record(), "problem")
            .contains("no more lists are fetched")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_to_judge_is_counted() {
    let root = authority();
    let settings = settings(&[80]);
    let counted = async |controllers: &[Endpoint]| {
        let target = target(&root, controllers);
        let gathered = probe::controllers(&target, controllers, &settings, &Clock::system()).await;
        gathered.facts.get("revocation.controller_lists")
    };
    let none = controller(&root, &[]).await;
    let elsewhere = controller(&root, &["ldap:///CN=ca,CN=CDP".to_owned()]).await;
    assert_eq!(counted(std::slice::from_ref(&none)).await, Fact::integer(0));
    assert_eq!(counted(&[none.clone(), elsewhere.clone()]).await, Fact::integer(1));
    // one that does not answer could have shown one
    let gone = Endpoint::ldaps("127.0.0.1", 1, None);
    assert!(matches!(counted(&[none, gone.clone()]).await, Fact::Failed(_)));
    assert_eq!(counted(&[elsewhere, gone]).await, Fact::integer(1));
    assert!(matches!(counted(&[]).await, Fact::Failed(_)));
    let failed = probe::failed(probe::CARDS, "denied").facts;
    for fact in ["revocation.card_lists", "revocation.card_issuer_lists"] {
        assert_eq!(failed.get(fact), Fact::Failed("denied".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_trusted_by_itself_is_not_left_out() {
    let root = authority();
    let pinned = authority();
    let shown = controller_with(pinned.certificate.der().clone(), pinned.issuer.key()).await;
    let collection = look(&root, &[shown], &settings(&[80])).await;
    assert_eq!((collection.records.len(), &collection.complete), (1, &Fact::boolean(true)));
    let record = collection.records.get(0).unwrap().to_record();
    assert_eq!((text(&record, "source").as_str(), &record["url"]), ("none", &Fact::Absent));
    assert!(text(&record, "problem").contains("trusted by itself"));
}

fn card(identity: String) -> Card {
    Card { principal: "monitor@X.TEST".to_owned(), identity, anchors: None, pin: None, password: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_and_their_issuers_are_looked_at() {
    let root = authority();
    let (url, port, _) = web(ok(&list(&root, &[77], 24))).await;
    // an issuer that the root has revoked since, and a card of it that names no list
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "Cards");
    params.serial_number = Some(SerialNumber::from(77_u64));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![url] }];
    let cards = params.signed_by(&key, &root.issuer).unwrap().der().clone();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "monitor");
    let made = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("card.pem");
    std::fs::write(&file, made.pem()).unwrap();
    let mut target = target(&root, &[]);
    target.card = Some(card(format!("FILE:{},{}", file.display(), file.display())));
    let registered = portcullis::baseline::certificate::key_sha256(&cards).unwrap();
    target.card_issuers = [registered, "00".repeat(32)].into();
    let settings = settings(&[port]);
    let looked = async |target: &Target, pool: Result<Vec<CertificateDer<'static>>, String>| {
        let gathered = probe::cards(target, pool, &settings, &Clock::system()).await;
        gathered.facts.collections[probe::CARDS].clone()
    };
    let found = looked(&target, Ok(vec![cards.clone()])).await;
    assert_eq!((found.records.len(), &found.complete), (3, &Fact::boolean(true)), "{found:?}");
    let records: Vec<Record> = found.records.iter().map(|record| record.to_record()).collect();
    let of = |name: &str| records.iter().find(|record| text(record, "name").contains(name)).unwrap();
    assert_eq!((text(of("monitor"), "kind"), text(of("monitor"), "source")), ("card".into(), "none".into()));
    assert_eq!((text(of("Cards"), "kind"), &of("Cards")["revoked"]), ("issuer".into(), &Fact::boolean(true)));
    assert_eq!(text(of("key 0000"), "source"), "unread");
    for fact in ["url", "fetch_problem", "revoked"] {
        assert!(matches!(&of("key 0000")[fact], Fact::NotCollected(_)), "{fact}");
    }
    // a card that is no file, in a directory whose authorities cannot be read
    target.card = Some(card("PKCS11:module_name=x.so".to_owned()));
    let found = looked(&target, Err("denied".to_owned())).await;
    assert_eq!(found.complete, Fact::Failed("denied".to_owned()));
    assert!(found.records.iter().all(|record| text(&record.to_record(), "source") == "unread"), "{found:?}");
    assert!(
        matches!(&found.records.get(0).unwrap().to_record()["reachable"], Fact::NotCollected(reason) if reason.contains("no file"))
    );
}
