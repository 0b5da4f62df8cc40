//! A change of the policy set under load: every answer is all of one set or all of the other. The core and the front door are those of a
//! running gateway, the directories behind speak LDAP over TLS, and the sets change in the store, as another process changes them.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use portcullis::ambient::clock::Clock;
use portcullis::app::core::Core;
use portcullis::app::front::Front;
use portcullis::app::watch::Watch;
use portcullis::app::{gates, policies};
use portcullis::assess::run::sign;
use portcullis::baseline::document::SCHEMA;
use portcullis::baseline::facts::{Evidence, Fact, Facts};
use portcullis::enrol::run::{self, By};
use portcullis::ldap::codec;
use portcullis::ldap::entry::{Attribute, Entry};
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{BindOutcome, Message, Operation, ResultCode, Scope};
use portcullis::policy::bundle::Bundle;
use portcullis::policy::source::Source;
use portcullis::policy::terms::{Grant, Membership};
use portcullis::secret::reference::SecretReference;
use portcullis::store::member::Member;
use portcullis::store::packed::Packed;
use portcullis::store::port::Store;
use portcullis::store::record::{EvidenceRecord, PolicyChange, PolicyStep};
use portcullis::store::sqlite::store::SqliteStore;
use portcullis::tls::identity::ClientIdentity;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::app_stage::{BASELINE, Stage, secret, soon};
use crate::front_stage::{Answer, Client, done, person};
use crate::store_conformance::{audit, member, ods};

const SWITCHES: usize = 60;
const CLIENTS: usize = 4;
/// What RXA's controllers accept: enough for the first set, not for the second.
const VERSIONS: [&str; 2] = ["tls1.2", "tls1.3"];

struct Pki {
    root: String,
    client: (CertificateDer<'static>, Vec<u8>),
}

/// An authority for everybody, in place of the stage's own.
fn pki(stage: &Stage) -> Pki {
    let mut root = CertificateParams::new(vec![]).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let leaf = |usage| {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &root).unwrap(), key)
    };
    let now = Clock::system().now();
    let list = CertificateRevocationListParams {
        this_update: now,
        next_update: now + Duration::from_secs(86_400),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let (gateway, key) = leaf(ExtendedKeyUsagePurpose::ServerAuth);
    stage.write("ca.pem", &root.pem());
    stage.write("ca.crl", &list.signed_by(&root).unwrap().pem().unwrap());
    stage.write("gateway.pem", &gateway.pem());
    secret(&stage.path("gateway.key"), &key.serialize_pem());
    let (client, key) = leaf(ExtendedKeyUsagePurpose::ClientAuth);
    Pki { root: root.pem(), client: (client.der().clone(), key.serialize_der()) }
}

/// The national directory and RXA's in one, over TLS, with the gateway's own certificate.
fn directory(stage: &Stage) -> u16 {
    let chain = vec![CertificateDer::from_pem_file(stage.path("gateway.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(stage.path("gateway.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let connection = ServerConnection::new(config.clone()).unwrap();
            std::thread::spawn(move || serve(StreamOwned::new(connection, stream)));
        }
    });
    port
}

fn serve(mut stream: StreamOwned<ServerConnection, TcpStream>) {
    let (limits, mut buffer, mut piece) = (Limits::default(), Vec::new(), [0; 4096]);
    loop {
        while let Ok(Some(length)) = codec::frame(&buffer, &limits) {
            let bytes: Vec<u8> = buffer.drain(..length).collect();
            let message = codec::decode(&bytes, &limits).expect("the gateway sends only good LDAP");
            let mut out = Vec::new();
            let mut say = |operation| out.extend(codec::to_bytes(&Message::new(message.id, operation)));
            match &message.operation {
                Operation::BindRequest(_) => say(Operation::BindResponse(BindOutcome::default())),
                Operation::SearchRequest(search) => {
                    let is_national = search.base.to_lowercase().ends_with("dc=national,dc=test");
                    let people: Vec<Entry> = match is_national {
                        true => (1..=3).map(person).collect(),
                        false => (1..=2).map(nurse).collect(),
                    };
                    people.iter().for_each(|one| say(Operation::SearchEntry(one.as_wire())));
                    say(done(ResultCode::SUCCESS));
                }
                _ => continue,
            }
            if stream.write_all(&out).and_then(|()| stream.flush()).is_err() {
                return;
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(count) => buffer.extend_from_slice(&piece[..count]),
        }
    }
}

/// Somebody in RXA's Active Directory.
fn nurse(n: usize) -> Entry {
    let attribute = |name: &str, values: &[&str]| Attribute {
        description: name.to_owned(),
        values: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
    };
    Entry {
        dn: format!("CN=Nurse {n},OU=Staff,DC=a,DC=test"),
        attributes: vec![
            attribute("objectClass", &["top", "person", "organizationalPerson", "user"]),
            attribute("sAMAccountName", &[&format!("nurse{n}")]),
            attribute("cn", &[&format!("Nurse {n}")]),
            attribute("sn", &["Person"]),
            attribute("mail", &[&format!("nurse{n}@a.test")]),
        ],
    }
}

/// The first set opens RXA's gates and releases surnames; the second closes them and releases mail addresses.
fn sets() -> [Bundle; 2] {
    [("tls1.2", "sn"), ("tls1.3", "mail")].map(|(least, shown)| {
        let control = format!(
            "kind: Controls\ncontrols:\n  - {{ id: tls-versions, title: t, severity: critical, why: w, fix: f,\n      \
             require: {{ tls.versions: {{ at_least: {least} }} }} }}\n"
        );
        let release = format!(
            "kind: Release\nid: test\ntitle: t\npurpose: To test.\n\
             audience: {{ category: application, members: all }}\ntargets: {{ members: all, national: true }}\n\
             attributes: [uid, cn, {shown}]\nlimits: {{ size: 500, time: 60s, rate: 100000/s, in_flight: 1000 }}\n\
             until: 2099-12-31\n"
        );
        let files = [("baseline.yaml", BASELINE), ("controls.yaml", &control), ("release.yaml", &release)];
        Bundle::of(files.map(|(name, text)| Source::inline(name, text)).to_vec(), Vec::new()).unwrap()
    })
}

struct House {
    stage: Stage,
    core: Arc<Core>,
    front: Front,
    pki: Pki,
}

impl House {
    fn new() -> House {
        // a disk that others keep busy is not what is tested
        let stage = Stage::new("store: { busy_timeout_ms: 60000 }\n");
        let pki = pki(&stage);
        let port = directory(&stage);
        let sha256 = ClientIdentity::read(&pki.client.0).unwrap().fingerprint;
        let config = std::fs::read_to_string(stage.path("portcullis.yaml")).unwrap();
        let config = config.replace("address: 127.0.0.1:9\n", &format!("address: 127.0.0.1:{port}\n"));
        let more = format!("front: {{ shards: 2 }}\napplications: [{{ name: test, sha256: '{sha256}' }}]\n");
        stage.write("portcullis.yaml", &format!("{config}{more}"));
        let core = Arc::new(Core::build(Arc::new(stage.config()), Clock::system()).unwrap());
        enrol(&stage, &core, port, &pki.root);
        policies::reload(&core);
        gates::decide_all(&core).unwrap();
        let (audit, records) = sync_channel(1_000);
        std::thread::spawn(move || while records.recv().is_ok() {});
        let front = Front::start(&core, audit).unwrap();
        House { stage, core, front, pki }
    }

    fn client(&self) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pki.root.as_bytes()).unwrap()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pki.client.1.clone()));
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![self.pki.client.0.clone()], key)
            .unwrap();
        let address = self.core.config.listen.ldaps;
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let name = ServerName::IpAddress(address.ip().into());
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut client = Client::over(StreamOwned::new(tls, tcp));
        assert_eq!(client.bind_external().code, ResultCode::SUCCESS);
        client
    }
}

/// RXA, federated, with evidence of a moment ago.
fn enrol(stage: &Stage, core: &Core, port: u16, anchors: &str) {
    let now = Clock::system().now();
    secret(&stage.path("member.password"), "secret");
    let mut rxa = Member { profile: None, ..member("RXA") };
    rxa.connection.password = SecretReference::File(stage.path("member.password"));
    rxa.connection.anchors = anchors.to_owned();
    rxa.connection.controllers[0].port = port;
    let by = By { actor: "officer", reason: "because", now };
    run::request(core.store.as_ref(), rxa, &by).unwrap();
    run::measured(core.store.as_ref(), &ods("RXA"), &by).unwrap();
    run::advance(core.store.as_ref(), &ods("RXA"), Membership::Federated, &by).unwrap();
    let mut facts = Facts::default();
    facts.set("tls.versions", Fact::set(VERSIONS));
    let evidence = Evidence {
        schema: SCHEMA,
        member: ods("RXA"),
        collected_at: now,
        collector: "test".into(),
        controllers: Vec::new(),
        facts,
        provenance: Vec::new(),
        attestations: Vec::new(),
        previous: None,
        hash: String::new(),
        signature: String::new(),
    };
    let evidence = sign(evidence, &core.signer);
    let record = EvidenceRecord {
        member: ods("RXA"),
        hash: evidence.hash.clone(),
        previous: None,
        collected_at: now,
        document: Packed::by(|out| evidence.write(out)).unwrap(),
    };
    core.store.put_evidence(&record).unwrap();
}

/// Which set an answer is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    First,
    Second,
    /// It was ended because the set changed while it ran, and says so; what came until then was of one set.
    Cut,
}

/// Panics unless the answer is all of one set.
fn judged(answer: &Answer, whole_tree: bool) -> Of {
    let has = |name: &str| answer.entries.iter().filter(|entry| entry.has(name)).count();
    let (names, mails, all) = (has("sn"), has("mail"), answer.entries.len());
    assert!((names, mails) == (all, 0) || (names, mails) == (0, all), "half of each: {answer:?}");
    let nurses = answer.entries.iter().filter(|entry| entry.dn.contains("ou=RXA")).count();
    assert!(nurses == 0 || mails == 0, "the gates of the first set, the agreement of the second: {answer:?}");
    match (answer.code, whole_tree) {
        (ResultCode::SUCCESS, true) => match (names, mails, nurses) {
            (5, 0, 2) => Of::First,
            (0, 3, 0) => Of::Second,
            _ => panic!("the gates of the second set, the agreement of the first: {answer:?}"),
        },
        (ResultCode::SUCCESS, false) if (names, nurses) == (2, 2) => Of::First,
        (ResultCode::UNAVAILABLE, _)
            if ["the release agreement changed; ask again", "a directory went away during the search"]
                .contains(&answer.text.as_str()) =>
        {
            Of::Cut
        }
        (ResultCode::NO_SUCH_OBJECT, false) => Of::Second,
        _ => panic!("it failed: {answer:?}"),
    }
}

/// Tells everybody to stop when it goes, so that a failure of one ends all.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks until told to stop; says what it saw, and how often.
fn ask(house: &House, whole_tree: bool, stop: &AtomicBool) -> (BTreeSet<Of>, u32) {
    let _stopping = Stopping(stop);
    let (mut client, mut seen, mut count) = (house.client(), BTreeSet::new(), 0);
    let base = if whole_tree { "o=federation" } else { "ou=RXA,o=federation" };
    while !stop.load(Ordering::Relaxed) {
        seen.insert(judged(&client.search(base, Scope::Subtree, "(uid=*)"), whole_tree));
        count += 1;
    }
    (seen, count)
}

/// Puts a set in force as another process does, and waits until the gateway took it.
fn activate(house: &House, store: &SqliteStore, n: u64, bundle: &Bundle) {
    let change = PolicyChange {
        signed_by: Vec::new(),
        step: PolicyStep::Activate,
        hash: Some(bundle.hash().to_owned()),
        at: Clock::system().now(),
        actor: "officer".into(),
        reason: "to test".into(),
    };
    let kept = Packed::of(&bundle.encode().unwrap()).unwrap();
    let record = portcullis::store::audit::NewAudit { member: None, ..audit("policy.activate") };
    store.change_policy(n, &change, Some(&kept), &record).unwrap();
    soon("the gateway takes the set", 60, || {
        house.core.policy.load().as_ref().is_some_and(|policy| policy.set.hash() == bundle.hash())
    });
}

#[test]
fn no_request_is_judged_by_half_of_one_set_and_half_of_another() {
    let house = House::new();
    let elsewhere = SqliteStore::open(&house.core.config.data_dir, &house.core.config.store).unwrap();
    let (sets, stop) = (sets(), AtomicBool::new(false));
    let (mut watch, began) = (Watch::new(&house.core).unwrap(), Instant::now());
    std::thread::scope(|scope| {
        let stopping = Stopping(&stop);
        scope.spawn(|| {
            let _stopping = Stopping(&stop);
            while !stop.load(Ordering::Relaxed) {
                if watch.look(&house.core).policies {
                    let done = policies::reload_with(&house.core, Some(&house.front));
                    let why = || (house.core.refused.lock().unwrap().clone(), house.core.health.reasons());
                    assert_eq!(done, policies::Reload::Changed, "{:?}", why());
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        activate(&house, &elsewhere, 0, &sets[0]);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                (
                    n,
                    scope.spawn({
                        let (house, stop) = (&house, &stop);
                        move || ask(house, n % 2 == 0, stop)
                    }),
                )
            })
            .collect();
        for n in 1..=SWITCHES {
            activate(&house, &elsewhere, u64::try_from(n).unwrap(), &sets[n % 2]);
            // and a while in which one set holds
            std::thread::sleep(Duration::from_millis(u64::try_from(n % 4).unwrap() * 10));
        }
        drop(stopping);
        let mut asked = 0;
        for (n, client) in clients {
            let (seen, count) = client.join().unwrap();
            assert!(
                seen.contains(&Of::First) && seen.contains(&Of::Second),
                "client {n} saw {seen:?} in {count}"
            );
            asked += count;
        }
        println!("{SWITCHES} changes, {asked} answers in {:?}", began.elapsed());
    });
    // the last set is the first one again, whole
    let open = house.core.gates.snapshot().is_open(&ods("RXA"), Grant::Lookup, Clock::system().now());
    assert_eq!(judged(&house.client().search("o=federation", Scope::Subtree, "(uid=*)"), true), Of::First);
    assert!(open && house.core.health.reasons().is_empty());
    assert!(house.core.store.verify_audit().unwrap().is_whole());
    house.front.drain(Duration::from_secs(1));
    drop(house.stage);
}
