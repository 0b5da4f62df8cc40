//! The stage for tests of the front door: the real shard over real sockets and TLS, a scripted directory behind it, and
//! a client that speaks through our own codec.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis::ambient::clock::Clock;
use portcullis::gate::decide::{GateDecision, GateState};
use portcullis::gate::table::GateTable;
use portcullis::ldap::codec;
use portcullis::ldap::control::Control;
use portcullis::ldap::entry::Entry;
use portcullis::ldap::filter::Filter;
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{
    Authentication, Bind, BindOutcome, Dereference, Message, Operation, Outcome, ResultCode, Scope, Search,
};
use portcullis::namespace::mapping::Mapping;
use portcullis::namespace::routes::{Mount, Routes};
use portcullis::policy::set::PolicySet;
use portcullis::policy::source::Source;
use portcullis::policy::terms::{Grant, OdsCode, Target};
use portcullis::proxy::metrics::Metrics;
use portcullis::proxy::requesters::Requesters;
use portcullis::proxy::settings::Settings;
use portcullis::proxy::shard::handle::{Handle, Start, start};
use portcullis::proxy::snapshot::{Endpoint, Mounted, Preference, Server, Snapshot};
use portcullis::release::agreement::Agreements;
use portcullis::secret::text::Secret;
use portcullis::tls::material::{Anchors, Identity};
use portcullis::tls::revocation::{Revocation, Unlisted};
use portcullis::tls::server::server_config;
use portcullis::tls::smartcard::Verifier;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

pub const LOCAL: &str = "dc=national,dc=test";
pub const NATIONAL: &str = "ou=national,o=federation";
const PATIENCE: Duration = Duration::from_secs(5);

/// What the directory does with a request; it returns false to close the connection.
pub type Script = dyn Fn(&Message<'_>, &mut TcpStream) -> bool + Send + Sync;

/// A directory that plays a script. Binds succeed by themselves.
pub struct Directory {
    pub address: SocketAddr,
    /// Every request operation but binds, as `Debug` shows it.
    pub heard: Arc<Mutex<Vec<String>>>,
    script: Arc<Mutex<Arc<Script>>>,
    pub connections: Arc<Mutex<usize>>,
}

impl Directory {
    pub fn new(script: Arc<Script>) -> Directory {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let directory = Directory {
            address: listener.local_addr().unwrap(),
            heard: Arc::default(),
            script: Arc::new(Mutex::new(script)),
            connections: Arc::default(),
        };
        let (heard, script) = (directory.heard.clone(), directory.script.clone());
        let connections = directory.connections.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                *connections.lock().unwrap() += 1;
                let (heard, script) = (heard.clone(), script.clone());
                std::thread::spawn(move || serve(stream, &heard, &script));
            }
        });
        directory
    }

    pub fn play(&self, script: Arc<Script>) {
        *self.script.lock().unwrap() = script;
    }

    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, heard: &Mutex<Vec<String>>, script: &Mutex<Arc<Script>>) {
    stream.set_nodelay(true).unwrap();
    let limits = Limits::default();
    let mut buffer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        while let Ok(Some(length)) = codec::frame(&buffer, &limits) {
            let bytes: Vec<u8> = buffer.drain(..length).collect();
            let message = codec::decode(&bytes, &limits).expect("the gateway sends only good LDAP");
            if let Operation::BindRequest(_) = message.operation {
                say(&mut stream, message.id, Operation::BindResponse(BindOutcome::default()));
                continue;
            }
            heard.lock().unwrap().push(format!("{:?}", message.operation));
            let script = script.lock().unwrap().clone();
            if !script(&message, &mut stream) {
                return;
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(count) => buffer.extend_from_slice(&piece[..count]),
        }
    }
}

/// Sends one message; a peer that went away is no fault of a test.
pub fn say(stream: &mut TcpStream, id: i32, operation: Operation<'_>) {
    let _ = stream.write_all(&codec::to_bytes(&Message::new(id, operation)));
}

pub fn done(code: ResultCode) -> Operation<'static> {
    Operation::SearchDone(Outcome::new(code, "DSID-1234 secret.internal.test"))
}

/// Person number `n` of the directory behind.
pub fn person(n: usize) -> Entry {
    let attribute = |description: &str, values: &[&str]| portcullis::ldap::entry::Attribute {
        description: description.to_owned(),
        values: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
    };
    Entry {
        dn: format!("uid=n{n},ou=people,{LOCAL}"),
        attributes: vec![
            attribute("objectClass", &["inetOrgPerson", "person", "top"]),
            attribute("uid", &[&format!("n{n}")]),
            attribute("cn", &[&format!("Person {n}")]),
            attribute("sn", &["Person"]),
            attribute("mail", &[&format!("n{n}@national.test")]),
            attribute("employeeNumber", &["hidden-4711"]),
            attribute("manager", &[&format!("uid=n1,ou=people,{LOCAL}")]),
        ],
    }
}

/// Answers every search with `count` persons.
pub fn persons(count: usize) -> Arc<Script> {
    Arc::new(move |message, stream| {
        if let Operation::SearchRequest(_) = message.operation {
            for n in 1..=count {
                say(stream, message.id, Operation::SearchEntry(person(n).as_wire()));
            }
            say(stream, message.id, done(ResultCode::SUCCESS));
        }
        true
    })
}

/// Never answers.
pub fn silence() -> Arc<Script> {
    Arc::new(|_, _| true)
}

struct Pki {
    server: Identity,
    anchors: Anchors,
    client: (CertificateDer<'static>, Vec<u8>),
    stranger: (CertificateDer<'static>, Vec<u8>),
}

fn pki() -> Pki {
    let mut root = CertificateParams::new(vec![]).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let leaf = |name: &str, usage| {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &root).unwrap().der().clone(), key.serialize_der())
    };
    let server = leaf("gateway", ExtendedKeyUsagePurpose::ServerAuth);
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server.1));
    Pki {
        server: Identity::from_der(vec![server.0], key).unwrap(),
        anchors: Anchors::from_der(vec![root.der().clone()]).unwrap(),
        client: leaf("application", ExtendedKeyUsagePurpose::ClientAuth),
        stranger: leaf("stranger", ExtendedKeyUsagePurpose::ClientAuth),
    }
}

pub const AGREEMENTS: &str = "\
kind: Release
id: test
title: The agreement of these tests
purpose: To test.
audience: { category: application, members: all }
targets: { members: all, national: true }
attributes: [uid, cn, sn, mail]
limits: { size: 500, time: 60s, rate: 100000/s, in_flight: 1000 }
until: 2099-12-31
";

pub fn agreements(text: &str) -> Arc<Agreements> {
    let (set, faults) = PolicySet::from_sources(&[Source::inline("agreements", text)]);
    assert!(faults.is_empty(), "{faults:?}");
    Arc::new(Agreements::compile(set.releases.values()).unwrap())
}

/// The front door over a scripted national directory and, when asked for, member RXA on the same script.
pub struct Stage {
    pub handle: Handle,
    pub gates: Arc<GateTable>,
    pub directory: Directory,
    pub audit: Receiver<Vec<u8>>,
    pub registry: prometheus::Registry,
    pki: Pki,
    sha256: String,
}

pub fn rxa() -> OdsCode {
    "RXA".parse().unwrap()
}

pub fn gate(state: GateState) -> BTreeMap<Grant, GateDecision> {
    let decision = GateDecision {
        state,
        reasons: Vec::new(),
        assessment: Some("A-1".to_owned()),
        valid_until: Some(Clock::system().now() + time::Duration::hours(1)),
    };
    Grant::ALL.iter().map(|grant| (*grant, decision.clone())).collect()
}

impl Stage {
    pub fn new(script: Arc<Script>) -> Stage {
        Stage::with(script, Settings { shards: 1, ..Settings::default() })
    }

    pub fn with(script: Arc<Script>, settings: Settings) -> Stage {
        let pki = pki();
        let directory = Directory::new(script);
        let gates = Arc::new(GateTable::new());
        gates.set(&rxa(), gate(GateState::Open));
        let registry = prometheus::Registry::new();
        let sha256 = portcullis::tls::identity::ClientIdentity::read(&pki.client.0).unwrap().fingerprint;
        let (audit, records) = sync_channel(10_000);
        let revocation = Revocation::load::<&str>(&[], Unlisted::Accept).unwrap();
        let verifier = Verifier::new(&pki.anchors, revocation).unwrap();
        let handle = start(Start {
            settings,
            address: "127.0.0.1:0".parse().unwrap(),
            plain: Some("127.0.0.1:0".parse().unwrap()),
            tls: server_config(&pki.server, verifier).unwrap(),
            snapshot: snapshot(&directory, &sha256, AGREEMENTS),
            gates: gates.clone(),
            clock: Clock::system(),
            metrics: Metrics::register(&registry).unwrap(),
            audit,
        })
        .unwrap();
        Stage { handle, gates, directory, audit: records, registry, pki, sha256 }
    }

    /// Swaps the agreements for `text`.
    pub fn reload(&self, text: &str) {
        self.handle.reload(snapshot(&self.directory, &self.sha256, text));
    }

    /// Mounts the national directory on the first servers and member RXA on the others.
    pub fn mount(&self, national: &[&Directory], rxa: &[&Directory]) {
        self.handle.reload(snapshot_of(national, rxa, &self.sha256, AGREEMENTS));
    }

    /// Mounts the national directory at `endpoint`, and member RXA as before.
    pub fn mount_national(&self, endpoint: Endpoint) {
        let rxa = endpoint_of(&[&self.directory]);
        self.handle.reload(snapshot_at(Arc::new(endpoint), rxa, &self.sha256, AGREEMENTS));
    }

    fn connect(&self, certificate: Option<&(CertificateDer<'static>, Vec<u8>)>) -> Client {
        let tcp = TcpStream::connect(self.handle.local_address()).unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        self.secured(tcp, certificate)
    }

    /// A connection to the port without TLS.
    pub fn plain(&self) -> TcpStream {
        let tcp = TcpStream::connect(self.handle.local_plain_address().unwrap()).unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp
    }

    /// The application over `tcp`, which the other side takes for TLS from now on.
    pub fn over(&self, tcp: TcpStream) -> Client {
        self.secured(tcp, Some(&self.pki.client))
    }

    fn secured(&self, tcp: TcpStream, certificate: Option<&(CertificateDer<'static>, Vec<u8>)>) -> Client {
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.pki.anchors.root_store().unwrap());
        let config = match certificate {
            Some((leaf, key)) => {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone()));
                builder.with_client_auth_cert(vec![leaf.clone()], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        let name = ServerName::IpAddress(self.handle.local_address().ip().into());
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = StreamOwned::new(tls, tcp);
        Client { stream, buffer: Vec::new(), id: 0, controls: Vec::new() }
    }

    pub fn anonymous(&self) -> Client {
        self.connect(None)
    }

    pub fn stranger(&self) -> Client {
        self.connect(Some(&self.pki.stranger))
    }

    /// A client with the application's certificate, not bound.
    pub fn unbound(&self) -> Client {
        self.connect(Some(&self.pki.client))
    }

    /// The application, bound.
    pub fn client(&self) -> Client {
        let mut client = self.unbound();
        assert_eq!(client.bind_external().code, ResultCode::SUCCESS);
        client
    }

    /// Audit records that came within `wait`.
    pub fn records(&self, wait: Duration) -> Vec<serde_json::Value> {
        let end = Instant::now() + wait;
        let mut all = Vec::new();
        while let Ok(chunk) = self.audit.recv_timeout(end.saturating_duration_since(Instant::now())) {
            let text = String::from_utf8(chunk).unwrap();
            all.extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
        }
        all
    }

    /// The sum of a counter over the labels that contain `label`.
    pub fn counter(&self, name: &str, label: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        family.map_or(0.0, |family| {
            let has = |m: &&prometheus::proto::Metric| m.get_label().iter().any(|l| l.value() == label);
            family.get_metric().iter().filter(has).map(|m| m.get_counter().get_value()).sum()
        })
    }
}

fn snapshot(directory: &Directory, sha256: &str, text: &str) -> Arc<Snapshot> {
    snapshot_of(&[directory], &[directory], sha256, text)
}

fn snapshot_of(national: &[&Directory], rxa_on: &[&Directory], sha256: &str, text: &str) -> Arc<Snapshot> {
    snapshot_at(endpoint_of(national), endpoint_of(rxa_on), sha256, text)
}

fn endpoint_of(directories: &[&Directory]) -> Arc<Endpoint> {
    let server = |directory: &&Directory| Server {
        address: directory.address.to_string(),
        tls: None,
        preference: Preference::default(),
    };
    Arc::new(Endpoint {
        servers: directories.iter().map(server).collect(),
        bind_name: "cn=gateway".to_owned(),
        password: Secret::new("test-only".to_owned()),
        page_size: None,
    })
}

fn snapshot_at(national: Arc<Endpoint>, rxa_at: Arc<Endpoint>, sha256: &str, text: &str) -> Arc<Snapshot> {
    let mut requesters = Requesters::new(b"test");
    requesters.add_application(sha256, "test", None);
    let mapping = |ou: &str| Arc::new(Mapping::standard(&format!("ou={ou},o=federation"), LOCAL).unwrap());
    let mounts = HashMap::from([
        (Target::National, Mounted { mapping: mapping("national"), endpoint: national }),
        (Target::Member(rxa()), Mounted { mapping: mapping("RXA"), endpoint: rxa_at }),
    ]);
    let routes = Arc::new(Routes::new(mounts.keys().cloned().map(Mount::new)));
    Arc::new(Snapshot { agreements: agreements(text), routes, mounts, requesters: Arc::new(requesters) })
}

/// What a client hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Entry(Entry),
    Result { code: ResultCode, matched: String, text: String },
    Extended { code: ResultCode, name: Option<String>, value: Option<Vec<u8>> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: ResultCode,
    pub text: String,
    pub entries: Vec<Entry>,
}

pub struct Client {
    pub stream: StreamOwned<ClientConnection, TcpStream>,
    buffer: Vec<u8>,
    id: i32,
    /// Those of the last message that was received.
    pub controls: Vec<Control<'static>>,
}

pub fn search(base: &str, scope: Scope, filter: &str) -> Search<'static> {
    Search {
        base: base.to_owned().into(),
        scope,
        dereference: Dereference::Never,
        size_limit: 0,
        time_limit: 0,
        types_only: false,
        filter: Filter::parse(filter).unwrap().into_owned(),
        attributes: Vec::new(),
    }
}

impl Client {
    /// A client over a connection that a test made itself.
    pub fn over(stream: StreamOwned<ClientConnection, TcpStream>) -> Client {
        Client { stream, buffer: Vec::new(), id: 0, controls: Vec::new() }
    }

    /// Sends a request; returns its message id.
    pub fn send(&mut self, operation: Operation<'_>) -> i32 {
        self.id += 1;
        self.send_message(&Message::new(self.id, operation));
        self.id
    }

    /// The same with controls.
    pub fn ask_with(&mut self, operation: Operation<'_>, controls: Vec<Control<'static>>) -> Answer {
        self.id += 1;
        self.send_message(&Message { id: self.id, operation, controls });
        self.answer(self.id)
    }

    pub fn send_message(&mut self, message: &Message<'_>) {
        self.raw(&codec::to_bytes(message));
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    /// The next message, None when the connection ended.
    pub fn receive(&mut self) -> Option<(i32, Reply)> {
        let limits = Limits::from_directory();
        let mut piece = [0; 16 * 1024];
        loop {
            if let Some(length) = codec::frame(&self.buffer, &limits).unwrap() {
                let bytes: Vec<u8> = self.buffer.drain(..length).collect();
                let message = codec::decode(&bytes, &limits).unwrap();
                self.controls = message.controls.into_iter().map(Control::into_owned).collect();
                return Some((message.id, reply(message.operation)));
            }
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&piece[..count]),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("nothing came in time"),
                Err(_) => return None,
            }
        }
    }

    /// Everything up to the result of request `id`; answers to others must not come in between.
    pub fn answer(&mut self, id: i32) -> Answer {
        let mut entries = Vec::new();
        loop {
            let (of, reply) = self.receive().expect("the connection ended before the answer");
            assert_eq!(of, id, "{reply:?}");
            match reply {
                Reply::Entry(entry) => entries.push(entry),
                Reply::Result { code, matched, text } => {
                    assert_eq!(matched, "");
                    return Answer { code, text, entries };
                }
                Reply::Extended { code, .. } => return Answer { code, text: String::new(), entries },
            }
        }
    }

    pub fn ask(&mut self, operation: Operation<'_>) -> Answer {
        let id = self.send(operation);
        self.answer(id)
    }

    pub fn search(&mut self, base: &str, scope: Scope, filter: &str) -> Answer {
        self.ask(Operation::SearchRequest(search(base, scope, filter)))
    }

    pub fn bind_external(&mut self) -> Answer {
        self.ask(Operation::BindRequest(Bind {
            version: 3,
            name: "".into(),
            authentication: Authentication::Sasl { mechanism: "EXTERNAL".into(), credentials: None },
        }))
    }

    pub fn bind_simple(&mut self, name: &str, password: &str) -> Answer {
        self.ask(Operation::BindRequest(Bind {
            version: 3,
            name: name.to_owned().into(),
            authentication: Authentication::Simple(password.as_bytes().to_vec().into()),
        }))
    }

    /// A Notice of Disconnection and the end, with the notice's code; None when the connection just ended.
    pub fn notice(&mut self) -> Option<ResultCode> {
        let mut noticed = None;
        while let Some((id, reply)) = self.receive() {
            if let (0, Reply::Extended { code, name, .. }) = (id, &reply) {
                assert_eq!(name.as_deref(), Some("1.3.6.1.4.1.1466.20036"));
                noticed = Some(*code);
            }
        }
        noticed
    }
}

fn reply(operation: Operation<'_>) -> Reply {
    let result = |outcome: Outcome<'_>| {
        assert!(outcome.referral.is_empty(), "a referral leaked: {outcome:?}");
        Reply::Result {
            code: outcome.code,
            matched: outcome.matched.into_owned(),
            text: outcome.diagnostic.into_owned(),
        }
    };
    match operation {
        Operation::SearchEntry(entry) => Reply::Entry(entry.to_entry()),
        Operation::BindResponse(bound) => result(bound.outcome),
        Operation::SearchDone(outcome)
        | Operation::CompareResponse(outcome)
        | Operation::AddResponse(outcome)
        | Operation::DeleteResponse(outcome)
        | Operation::ModifyResponse(outcome)
        | Operation::ModifyDnResponse(outcome) => result(outcome),
        Operation::ExtendedResponse(extended) => Reply::Extended {
            code: extended.outcome.code,
            name: extended.name.map(|name| name.into_owned()),
            value: extended.value.map(|value| value.into_owned()),
        },
        other => panic!("not an answer: {other:?}"),
    }
}
