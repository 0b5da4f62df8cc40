//! Who is behind a connection, over real sockets: cards that are revoked or end while they are connected, accounts that
//! are looked up at home, and passwords that are proven there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis::ambient::clock::Clock;
use portcullis::gate::decide::GateState;
use portcullis::gate::table::GateTable;
use portcullis::ldap::codec;
use portcullis::ldap::entry::{Attribute, Entry};
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{
    Authentication, BindOutcome, Message, Operation, Outcome, ResultCode, Scope,
};
use portcullis::namespace::mapping::Mapping;
use portcullis::namespace::routes::{Mount, Routes};
use portcullis::policy::people::{Passwords, People};
use portcullis::policy::terms::Target;
use portcullis::proxy::metrics::Metrics;
use portcullis::proxy::requesters::Requesters;
use portcullis::proxy::settings::Settings;
use portcullis::proxy::shard::handle::{Handle, Start, start};
use portcullis::proxy::snapshot::{Endpoint, Mounted, Preference, Server, Snapshot};
use portcullis::secret::text::Secret;
use portcullis::tls::material::{Anchors, Identity};
use portcullis::tls::revocation::{Revocation, Unlisted};
use portcullis::tls::server::{FrontTls, server_config};
use portcullis::tls::smartcard::Verifier;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, OtherNameValue, RevokedCertParams,
    SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::front_stage::{Client, agreements, gate, rxa};

const BASE: &str = "ou=RXA,o=federation";
const LOCAL: &str = "DC=rxa,DC=test";
const GATEWAY: &str = "gateway@rxa.test";
/// What must never be seen anywhere.
const CANARY: &str = "canary-4711-password";

const AGREEMENTS: &str = "\
kind: Release
id: cards
title: People
purpose: To test.
audience: { category: person, members: all, authenticated_by: [smartcard, password] }
targets: { members: all, national: true }
attributes: [uid, cn]
limits: { size: 500, time: 60s, rate: 100000/s, in_flight: 1000 }
until: 2099-12-31
";

/// An Active Directory of sorts: binds by the book, entries by principal name, and a record of who asked on which
/// connection.
struct Home {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// `userAccountControl` by principal name.
    accounts: BTreeMap<String, i32>,
    /// The answer to a bind that is not the gateway's own with a good password.
    wrong: u32,
    /// Does not answer at all.
    silent: bool,
    connections: usize,
    /// Connection, the name it is bound as, what was asked: `bind` or the filter.
    heard: Vec<(usize, String, String)>,
}

impl Home {
    fn new() -> Home {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { wrong: 49, ..State::default() }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Home { address, state }
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    /// Look-ups of accounts that were asked so far.
    fn lookups(&self) -> usize {
        let state = self.state.lock().unwrap();
        state.heard.iter().filter(|(_, _, asked)| asked.contains("userPrincipalName")).count()
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let number = {
        let mut state = state.lock().unwrap();
        state.connections += 1;
        state.connections
    };
    let (limits, mut buffer, mut piece) = (Limits::default(), Vec::new(), [0; 4096]);
    let mut bound = String::new();
    loop {
        while let Ok(Some(length)) = codec::frame(&buffer, &limits) {
            let bytes: Vec<u8> = buffer.drain(..length).collect();
            let message = codec::decode(&bytes, &limits).unwrap();
            for answer in replies(&message, number, &mut bound, state) {
                let _ = stream.write_all(&answer);
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(count) => buffer.extend_from_slice(&piece[..count]),
        }
    }
}

fn replies(message: &Message<'_>, number: usize, bound: &mut String, state: &Mutex<State>) -> Vec<Vec<u8>> {
    let encoded = |operation: Operation<'_>| codec::to_bytes(&Message::new(message.id, operation));
    let mut state = state.lock().unwrap();
    if state.silent {
        return Vec::new();
    }
    match &message.operation {
        Operation::BindRequest(bind) => {
            let Authentication::Simple(password) = &bind.authentication else { panic!("{bind:?}") };
            let good = match bind.name.as_ref() {
                GATEWAY => password.as_ref() == b"test-only",
                _ => password.as_ref() == CANARY.as_bytes(),
            };
            let code = if good { 0 } else { state.wrong };
            *bound = if good { bind.name.to_string() } else { String::new() };
            state.heard.push((number, bind.name.to_string(), "bind".to_owned()));
            let text =
                "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 52e, v4563";
            let outcome = Outcome::new(ResultCode(code), text);
            vec![encoded(Operation::BindResponse(BindOutcome { outcome, credentials: None }))]
        }
        Operation::SearchRequest(search) => {
            let filter = search.filter.to_string();
            state.heard.push((number, bound.clone(), filter.clone()));
            let mut all = Vec::new();
            for (n, (name, control)) in state.accounts.iter().enumerate() {
                if filter.contains(&format!("={name})")) || filter.contains("(cn=*)") {
                    all.push(encoded(Operation::SearchEntry(entry(n, name, *control).as_wire())));
                }
            }
            all.push(encoded(Operation::SearchDone(Outcome::default())));
            all
        }
        _ => Vec::new(),
    }
}

fn entry(n: usize, name: &str, control: i32) -> Entry {
    let attribute = |description: &str, value: &str| Attribute {
        description: description.to_owned(),
        values: vec![value.as_bytes().to_vec()],
    };
    let account = name.split('@').next().unwrap();
    Entry {
        dn: format!("CN=Person {n},OU=Staff,{LOCAL}"),
        attributes: vec![
            attribute("objectClass", "user"),
            attribute("cn", &format!("Person {n}")),
            attribute("sAMAccountName", account),
            attribute("userPrincipalName", name),
            attribute("userAccountControl", &control.to_string()),
            attribute("accountExpires", "0"),
        ],
    }
}

type Card = (CertificateDer<'static>, Vec<u8>);

/// The front door before member RXA, whose people come with cards or passwords.
struct Door {
    handle: Handle,
    home: Home,
    root: CertifiedIssuer<'static, KeyPair>,
    identity: Identity,
    audit: Mutex<Receiver<Vec<u8>>>,
    registry: prometheus::Registry,
}

fn settings() -> Settings {
    Settings { shards: 1, password_refusal_milliseconds: 50, ..Settings::default() }
}

impl Door {
    fn new(settings: Settings) -> Door {
        let mut root = CertificateParams::new(vec![]).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let mut server = CertificateParams::new(vec![]).unwrap();
        server.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        let key = KeyPair::generate().unwrap();
        let leaf = server.signed_by(&key, &root).unwrap().der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let identity = Identity::from_der(vec![leaf], key).unwrap();
        let home = Home::new();
        let gates = Arc::new(GateTable::new());
        gates.set(&rxa(), gate(GateState::Open));
        let registry = prometheus::Registry::new();
        let (audit, records) = sync_channel(10_000);
        let handle = start(Start {
            settings,
            address: "127.0.0.1:0".parse().unwrap(),
            plain: None,
            tls: front_tls(&root, &identity, &[]),
            snapshot: snapshot(home.address),
            gates,
            clock: Clock::system(),
            metrics: Metrics::register(&registry).unwrap(),
            audit,
        })
        .unwrap();
        Door { handle, home, root, identity, audit: Mutex::new(records), registry }
    }

    /// A new list comes into force.
    fn revoke(&self, serials: &[u64]) {
        self.handle.reload_tls(front_tls(&self.root, &self.identity, serials));
    }

    fn card(&self, serial: u64, name: &str, seconds: i64) -> Card {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Somebody");
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_after = Clock::system().now() + time::Duration::seconds(seconds);
        let logon = vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 2];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(logon)];
        let upn = OtherNameValue::Utf8String(name.to_owned());
        params.subject_alt_names = vec![SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], upn))];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.root).unwrap().der().clone(), key.serialize_der())
    }

    fn connect(&self, card: Option<&Card>) -> Client {
        let anchors = Anchors::from_der(vec![self.root.der().clone()]).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(anchors.root_store().unwrap());
        let config = match card {
            Some((leaf, key)) => {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone()));
                builder.with_client_auth_cert(vec![leaf.clone()], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        let tcp = TcpStream::connect(self.handle.local_address()).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let name = ServerName::IpAddress(self.handle.local_address().ip().into());
        Client::over(StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), tcp))
    }

    fn bound(&self, card: &Card) -> Client {
        let mut client = self.connect(Some(card));
        assert_eq!(client.bind_external().code, ResultCode::SUCCESS);
        client
    }
}

fn front_tls(
    root: &CertifiedIssuer<'static, KeyPair>,
    identity: &Identity,
    revoked: &[u64],
) -> Arc<FrontTls> {
    let now = Clock::system().now();
    let params = CertificateRevocationListParams {
        this_update: now - time::Duration::hours(1),
        next_update: now + time::Duration::days(1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked
            .iter()
            .map(|serial| RevokedCertParams {
                serial_number: SerialNumber::from(*serial),
                revocation_time: now - time::Duration::hours(1),
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.crl");
    std::fs::write(&path, params.signed_by(root).unwrap().der().as_ref()).unwrap();
    let revocation = Revocation::load(&[path], Unlisted::Refuse).unwrap();
    let anchors = Anchors::from_der(vec![root.der().clone()]).unwrap();
    server_config(identity, Verifier::new(&anchors, revocation).unwrap()).unwrap()
}

fn snapshot(home: SocketAddr) -> Arc<Snapshot> {
    let mut requesters = Requesters::new(b"test");
    assert!(requesters.add_domain("rxa.test", &rxa()));
    let people = People { passwords: Passwords::Forward, ..People::default() };
    assert!(requesters.add_people(&rxa(), &people));
    let endpoint = Endpoint {
        servers: vec![Server { address: home.to_string(), tls: None, preference: Preference::default() }],
        bind_name: GATEWAY.to_owned(),
        password: Secret::new("test-only".to_owned()),
        page_size: None,
    };
    let target = Target::Member(rxa());
    let mapping = Arc::new(Mapping::active_directory(BASE, LOCAL).unwrap());
    let routes = Routes::new([Mount::new(target.clone())]);
    Arc::new(Snapshot {
        agreements: agreements(AGREEMENTS),
        routes: Arc::new(routes),
        mounts: HashMap::from([(target, Mounted { mapping, endpoint: Arc::new(endpoint) })]),
        requesters: Arc::new(requesters),
    })
}

/// T36: a list that comes while a card is connected ends that connection within a second, bound or not, and no other.
#[test]
fn t36_a_card_that_is_revoked_is_disconnected_within_a_second() {
    let door = Door::new(settings());
    door.home.set(|home| {
        home.accounts = [("ann@rxa.test".to_owned(), 512), ("bob@rxa.test".to_owned(), 512)].into()
    });
    let (ann, bob) = (door.card(7, "ann@rxa.test", 600), door.card(8, "bob@rxa.test", 600));
    let (mut one, mut other) = (door.bound(&ann), door.bound(&bob));
    let mut unbound = door.connect(Some(&ann));
    assert_eq!(unbound.search("", Scope::Base, "(objectClass=*)").code, ResultCode::SUCCESS);
    let start = Instant::now();
    door.revoke(&[7]);
    assert_eq!(one.notice(), Some(ResultCode::STRONGER_AUTH_REQUIRED));
    assert_eq!(unbound.notice(), Some(ResultCode::STRONGER_AUTH_REQUIRED));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(other.search(BASE, Scope::Subtree, "(cn=*)").code, ResultCode::SUCCESS);
    // It does not come in again, and nothing remembers that it was good once.
    let mut again = door.connect(Some(&ann));
    let _ = again.stream.write_all(b"\x30");
    assert!(again.receive().is_none());
    assert_eq!(door.bound(&bob).search(BASE, Scope::Subtree, "(cn=*)").code, ResultCode::SUCCESS);
}

#[test]
fn t36_a_card_that_ends_is_disconnected_within_a_second() {
    let door = Door::new(settings());
    door.home.set(|home| home.accounts = [("ann@rxa.test".to_owned(), 512)].into());
    let card = door.card(7, "ann@rxa.test", 3);
    let start = Instant::now();
    let mut client = door.bound(&card);
    assert_eq!(client.notice(), Some(ResultCode::STRONGER_AUTH_REQUIRED));
    assert!((1..=4).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[test]
fn a_card_counts_only_while_its_account_does() {
    let door = Door::new(Settings {
        account_kept_seconds: 1,
        account_refused_kept_seconds: 0,
        account_check_milliseconds: 500,
        ..settings()
    });
    let card = door.card(7, "ann@rxa.test", 600);
    let mut client = door.connect(Some(&card));
    assert_eq!(client.bind_external().code, ResultCode::INVALID_CREDENTIALS, "deleted");
    door.home.set(|home| home.accounts = [("ann@rxa.test".to_owned(), 514)].into());
    assert_eq!(client.bind_external().code, ResultCode::INVALID_CREDENTIALS, "disabled");
    door.home.set(|home| home.silent = true);
    assert_eq!(client.bind_external().code, ResultCode::UNAVAILABLE, "nobody answers");
    door.home.set(|home| {
        home.silent = false;
        home.accounts = [("ann@rxa.test".to_owned(), 512)].into();
    });
    assert_eq!(client.bind_external().code, ResultCode::SUCCESS);
    assert_eq!(client.search(BASE, Scope::Subtree, "(cn=*)").entries.len(), 1);
    // It is looked up again, with the gateway's own account, and disconnected once it is disabled.
    door.home.set(|home| home.accounts = [("ann@rxa.test".to_owned(), 514)].into());
    assert_eq!(client.notice(), Some(ResultCode::STRONGER_AUTH_REQUIRED));
    let state = door.home.state.lock().unwrap();
    assert!(state.heard.iter().all(|(_, bound, _)| bound == GATEWAY), "{:?}", state.heard);
}

#[test]
fn one_person_is_looked_up_once_for_all_connections() {
    let door = Door::new(settings());
    door.home.set(|home| home.accounts = [("ann@rxa.test".to_owned(), 512)].into());
    let card = door.card(7, "ann@rxa.test", 600);
    let clients: Vec<Client> = (0..20).map(|_| door.bound(&card)).collect();
    assert_eq!((clients.len(), door.home.lookups()), (20, 1));
}

/// T20: a connection that carried a person's bind serves nobody else, however identities are mixed.
#[test]
fn t20_a_password_is_proven_on_a_connection_of_its_own() {
    let door = Arc::new(Door::new(Settings {
        password_tries_per_name: 1_000,
        password_tries_per_address: 1_000,
        ..settings()
    }));
    door.home.set(|home| {
        home.accounts = (0..4).map(|n| (format!("n{n}@rxa.test"), 512)).collect();
    });
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let door = door.clone();
            std::thread::spawn(move || {
                let card = door.card(n, &format!("n{n}@rxa.test"), 600);
                let mut client = door.connect(Some(&card));
                for round in 0..25 {
                    let bound = match (round + n) % 3 {
                        0 => client.bind_simple(&format!("n{n}@rxa.test"), CANARY),
                        1 => client.bind_simple(&format!("CN=Person {n},OU=Staff,{BASE}"), "wrong"),
                        _ => client.bind_external(),
                    };
                    let found = client.search(BASE, Scope::Subtree, "(cn=*)");
                    match (round + n) % 3 {
                        1 => {
                            assert_eq!(bound.code, ResultCode::INVALID_CREDENTIALS);
                            assert_eq!(found.code, ResultCode::STRONGER_AUTH_REQUIRED);
                        }
                        _ => {
                            assert_eq!(bound.code, ResultCode::SUCCESS, "{}", bound.text);
                            assert_eq!((found.code, found.entries.len()), (ResultCode::SUCCESS, 4));
                        }
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let state = door.home.state.lock().unwrap();
    let persons: BTreeSet<usize> = state
        .heard
        .iter()
        .filter(|(_, name, asked)| asked == "bind" && name != GATEWAY)
        .map(|(connection, _, _)| *connection)
        .collect();
    assert!(persons.len() >= 60, "{}", persons.len());
    for (connection, bound, asked) in state.heard.iter().filter(|(c, _, _)| persons.contains(c)) {
        assert_eq!(asked, "bind", "connection {connection}, bound as {bound}");
    }
    let count = |c: usize| state.heard.iter().filter(|(connection, _, _)| *connection == c).count();
    assert!(persons.iter().all(|c| count(*c) == 1), "one bind each");
    assert!(state.heard.iter().all(|(_, bound, asked)| asked == "bind" || bound == GATEWAY));
}

/// T22: only success is success. T11: what a directory says about it reaches nobody.
#[test]
fn t22_no_other_result_of_a_bind_authenticates() {
    let door = Door::new(Settings {
        password_tries_per_name: 1_000,
        password_tries_per_address: 1_000,
        password_refusal_milliseconds: 1,
        ..settings()
    });
    let mut client = door.connect(None);
    for code in (1..=90).chain([113, 118, 123, 4096]) {
        door.home.set(|home| home.wrong = code);
        let answer = client.bind_simple("ann@rxa.test", "whatever");
        assert_eq!((answer.code, answer.text.as_str()), (ResultCode::INVALID_CREDENTIALS, ""), "{code}");
        let after = client.search(BASE, Scope::Subtree, "(cn=*)");
        assert_eq!(after.code, ResultCode::STRONGER_AUTH_REQUIRED, "{code}");
    }
    assert_eq!(client.bind_simple("ann@rxa.test", CANARY).code, ResultCode::SUCCESS);
}

/// An account at home cannot be locked out from here: after a few failed tries nothing is sent any more.
#[test]
fn a_password_is_not_tried_without_end() {
    let door = Door::new(Settings { password_tries_per_address: 6, ..settings() });
    let mut client = door.connect(None);
    let tried = |door: &Door| {
        let state = door.home.state.lock().unwrap();
        state.heard.iter().filter(|(_, name, _)| name != GATEWAY).count()
    };
    for round in 1..=6 {
        let name = if round % 2 == 0 { "ann@RXA.test" } else { "Ann@rxa.test" };
        assert_eq!(client.bind_simple(name, "wrong").code, ResultCode::INVALID_CREDENTIALS);
        assert_eq!(tried(&door), round.min(3));
    }
    assert_eq!(
        client.bind_simple("ann@rxa.test", CANARY).code,
        ResultCode::INVALID_CREDENTIALS,
        "nor a good one"
    );
    let mut elsewhere = door.connect(None);
    for (n, expected) in [(1, 4), (2, 5), (3, 6), (4, 6)] {
        elsewhere.bind_simple(&format!("n{n}@rxa.test"), "wrong");
        assert_eq!(tried(&door), expected, "by address");
    }
}

/// T44: a password that goes every way there is, at the loudest level, is in no log, record or metric. The test runs
/// itself in a process of its own, so that nothing else logs.
#[test]
fn t44_a_password_is_seen_nowhere() {
    const MARK: &str = "PORTCULLIS_TEST_CANARY";
    if std::env::var_os(MARK).is_none() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "front_identity::t44_a_password_is_seen_nowhere", "--nocapture"])
            .env(MARK, "1")
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success(), "{}\n{}", said[0], said[1]);
        assert!(said[1].contains("\"level\":\"TRACE\""), "nothing was logged: {}", said[1]);
        assert!(said[1].contains("marker-of-this-test"));
        for text in &said {
            assert!(!text.contains("canary") && !text.contains("63616e617279"), "{text}");
            assert!(!text.contains("99, 97, 110, 97, 114, 121"), "{text}");
        }
        return;
    }
    portcullis::telemetry::logging::start(true, "trace").unwrap();
    tracing::trace!("marker-of-this-test");
    let door = Door::new(Settings { account_check_milliseconds: 300, ..settings() });
    let mut client = door.connect(None);
    let name = format!("CN=Ann,OU=Staff,{BASE}");
    assert_eq!(client.bind_simple(&name, CANARY).code, ResultCode::SUCCESS);
    let wrong = format!("{CANARY}-wrong");
    for (name, password) in [
        (name.as_str(), wrong.as_str()),
        ("ann@rxa.test", &wrong),
        ("ann@elsewhere.test", CANARY),
        ("nonsense", CANARY),
    ] {
        assert_eq!(client.bind_simple(name, password).code, ResultCode::INVALID_CREDENTIALS);
    }
    door.home.set(|home| home.silent = true);
    assert_eq!(client.bind_simple("bob@rxa.test", CANARY).code, ResultCode::INVALID_CREDENTIALS);
    // A bind that is cut off, and one that is no LDAP any more.
    let bind = codec::to_bytes(&Message::new(
        77,
        Operation::BindRequest(portcullis::ldap::message::Bind {
            version: 3,
            name: name.into(),
            authentication: Authentication::Simple(CANARY.as_bytes().into()),
        }),
    ));
    client.raw(&bind[..bind.len() - 2]);
    drop(client);
    let mut broken = door.connect(None);
    let mut bytes = bind;
    bytes[5] = 0x7f;
    broken.raw(&bytes);
    broken.notice();
    door.handle.stop();
    let records: Vec<u8> = door.audit.lock().unwrap().try_iter().flatten().collect();
    let metrics = prometheus::TextEncoder::new().encode_to_string(&door.registry.gather()).unwrap();
    let records = String::from_utf8(records).unwrap();
    assert!(records.contains("\"bind\"") && metrics.contains("portcullis_front_binds_total"));
    for text in [records, metrics] {
        assert!(!text.contains("canary") && !text.to_lowercase().contains("ann"), "{text}");
    }
}
