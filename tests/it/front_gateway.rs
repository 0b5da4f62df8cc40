//! The front door in a process of its own, over as many scripted members as a test likes, TLS on both sides: what it has
//! resident is its own, and a thread that dies is seen.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use portcullis::ambient::clock::Clock;
use portcullis::gate::decide::GateState;
use portcullis::gate::table::GateTable;
use portcullis::ldap::message::ResultCode;
use portcullis::namespace::mapping::Mapping;
use portcullis::namespace::routes::{Mount, Routes};
use portcullis::policy::terms::{OdsCode, Target};
use portcullis::proxy::metrics::Metrics;
use portcullis::proxy::requesters::Requesters;
use portcullis::proxy::settings::Settings;
use portcullis::proxy::shard::handle::{Start, start};
use portcullis::proxy::snapshot::{Endpoint, Mounted, Preference, Server, ServerTls, Snapshot};
use portcullis::secret::text::Secret;
use portcullis::tls::client::client_config;
use portcullis::tls::identity::ClientIdentity;
use portcullis::tls::material::{Anchors, Identity};
use portcullis::tls::revocation::{Revocation, Unlisted};
use portcullis::tls::server::server_config;
use portcullis::tls::smartcard::Verifier;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde::{Deserialize, Serialize};

use crate::app_stage::soon;
use crate::front_stage::{Client, LOCAL, agreements, gate};

/// Names the folder of the gateway to the process that is to be it.
const FOLDER: &str = "PORTCULLIS_TEST_FRONT_DOOR";
const PATIENCE: Duration = Duration::from_secs(10);

const AGREEMENTS: &str = "\
kind: Release
id: test
title: The agreement of these tests
purpose: To test.
audience: { category: application, members: all }
targets: { members: all, national: false }
attributes: [uid, cn, sn, mail, manager, directReports]
limits: { size: 300, time: 60s, rate: 100000/s, in_flight: 1000 }
until: 2099-12-31
";

/// A certificate and its key.
pub struct Leaf {
    pub certificate: CertificateDer<'static>,
    pub key: Vec<u8>,
}

impl Leaf {
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()))
    }
}

/// What a leaf is for.
pub struct Names {
    pub common: &'static str,
    pub address: [u8; 4],
    pub usage: ExtendedKeyUsagePurpose,
    pub expired: bool,
}

impl Default for Names {
    fn default() -> Self {
        let usage = ExtendedKeyUsagePurpose::ServerAuth;
        Names { common: "controller", address: [127, 0, 0, 1], usage, expired: false }
    }
}

/// A certification authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Authority {
        let mut root = CertificateParams::new(vec![]).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Authority(CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn leaf(&self, names: Names) -> Leaf {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, names.common);
        params.subject_alt_names = vec![SanType::IpAddress(names.address.into())];
        params.extended_key_usages = vec![names.usage];
        if names.expired {
            params.not_after = Clock::system().now() - time::Duration::days(1);
            params.not_before = params.not_after - time::Duration::days(1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().der().clone();
        Leaf { certificate, key: key.serialize_der() }
    }
}

/// The authority that the gateway believes, on either side.
pub static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);

/// A member as the gateway is to reach it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Member {
    pub code: String,
    pub servers: Vec<SocketAddr>,
    pub page_size: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct Plan {
    settings: serde_json::Value,
    members: Vec<Member>,
}

/// A gateway that runs; it ends when this goes.
pub struct Gateway {
    child: Child,
    folder: tempfile::TempDir,
    front: SocketAddr,
    counters: SocketAddr,
    client: Arc<ClientConfig>,
}

impl Gateway {
    /// Starts it with `settings`, which are those of the front door by name.
    pub fn start(settings: serde_json::Value, members: &[Member]) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        let server = AUTHORITY.leaf(Names { common: "gateway", ..Names::default() });
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        let client = AUTHORITY.leaf(Names { common: "application", usage, ..Names::default() });
        let plan = Plan { settings, members: members.to_vec() };
        for (name, bytes) in [
            ("plan", serde_json::to_vec(&plan).unwrap()),
            ("authority", AUTHORITY.0.der().to_vec()),
            ("server", server.certificate.to_vec()),
            ("server.key", server.key.clone()),
            ("client", client.certificate.to_vec()),
        ] {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["front_gateway::a_process_of_its_own_serves_and_ends", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let ready = folder.path().join("ready");
        soon("the gateway's process serves", 30, || {
            assert!(child.try_wait().unwrap().is_none(), "it ended: {}", read(&folder.path().join("log")));
            ready.exists()
        });
        let text = read(&ready);
        let (front, counters) = text.split_once(' ').unwrap();
        Gateway {
            child,
            front: front.parse().unwrap(),
            counters: counters.parse().unwrap(),
            client: application(&client),
            folder,
        }
    }

    /// The application, bound.
    pub fn client(&self) -> Client {
        let tcp = TcpStream::connect(self.front).unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::IpAddress(self.front.ip().into());
        let tls = ClientConnection::new(Arc::clone(&self.client), name).unwrap();
        let mut client = Client::over(StreamOwned::new(tls, tcp));
        assert_eq!(client.bind_external().code, ResultCode::SUCCESS);
        client
    }

    /// Everything that it counts, as operators read it.
    pub fn counts(&self) -> Counts {
        let mut text = String::new();
        TcpStream::connect(self.counters).unwrap().read_to_string(&mut text).unwrap();
        Counts(text)
    }

    /// Bytes that its process had resident at most.
    pub fn resident_peak(&self) -> u64 {
        let status = read(&PathBuf::from(format!("/proc/{}/status", self.child.id())));
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Its threads that serve clients.
    pub fn shards(&self) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        // One that ends meanwhile has no name any more.
        let name = |task: std::io::Result<std::fs::DirEntry>| read(&task.unwrap().path().join("comm"));
        let serves = |name: &String| {
            let number = name.trim_end().strip_prefix("front-");
            number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        tasks.map(name).filter(serves).count()
    }

    /// What a panic would have said.
    pub fn log(&self) -> String {
        read(&self.folder.path().join("log"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // The end of its input is its end.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What a gateway counts.
pub struct Counts(String);

impl Counts {
    /// The sum of a counter over the lines that have all of `labels`.
    pub fn of(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |line: &&str| labels.iter().all(|(l, value)| line.contains(&format!("{l}=\"{value}\"")));
        let named = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let lines = self.0.lines().filter(named).filter(has);
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    }

    /// Faults of a member by reason, for a test that failed.
    pub fn about(&self, member: &str) -> Vec<&str> {
        let label = format!("member=\"{member}\"");
        let told = |line: &&str| line.contains(&label) && !line.contains("seconds") && !line.ends_with(" 0");
        self.0.lines().filter(told).collect()
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn application(leaf: &Leaf) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(AUTHORITY.0.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![leaf.certificate.clone()], leaf.key())
        .unwrap();
    Arc::new(config)
}

/// In a process that is to be a gateway this does not return.
pub fn serve_if_asked() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        serve(Path::new(&folder));
    }
}

/// The other half: the process that is the gateway.
fn serve(folder: &Path) -> ! {
    let bytes = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let plan: Plan = serde_json::from_slice(&bytes("plan")).unwrap();
    let settings: Settings = serde_json::from_value(plan.settings).unwrap();
    let anchors = Anchors::from_der(vec![CertificateDer::from(bytes("authority"))]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(bytes("server.key")));
    let server = Identity::from_der(vec![CertificateDer::from(bytes("server"))], key).unwrap();
    let client = ClientIdentity::read(&CertificateDer::from(bytes("client"))).unwrap();
    let registry = prometheus::Registry::new();
    let gates = Arc::new(GateTable::new());
    let snapshot = snapshot(&plan.members, &anchors, &client.fingerprint, &gates);
    let (audit, records) = sync_channel(1_000);
    std::thread::spawn(move || while records.recv().is_ok() {});
    let revocation = Revocation::load::<&str>(&[], Unlisted::Accept).unwrap();
    let handle = start(Start {
        settings,
        address: "127.0.0.1:0".parse().unwrap(),
        plain: None,
        tls: server_config(&server, Verifier::new(&anchors, revocation).unwrap()).unwrap(),
        snapshot,
        gates,
        clock: Clock::system(),
        metrics: Metrics::register(&registry).unwrap(),
        audit,
    })
    .unwrap();
    let counters = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = format!("{} {}", handle.local_address(), counters.local_addr().unwrap());
    std::fs::write(folder.join("beginning"), addresses).unwrap();
    std::fs::rename(folder.join("beginning"), folder.join("ready")).unwrap();
    std::thread::spawn(move || {
        for stream in counters.incoming() {
            let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
            let _ = stream.unwrap().write_all(text.as_bytes());
        }
    });
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(0);
}

fn snapshot(members: &[Member], anchors: &Anchors, sha256: &str, gates: &GateTable) -> Arc<Snapshot> {
    let mut requesters = Requesters::new(b"test");
    requesters.add_application(sha256, "test", None);
    let config = client_config(anchors, None).unwrap();
    let mut mounts = HashMap::new();
    for member in members {
        let code: OdsCode = member.code.parse().unwrap();
        gates.set(&code, gate(GateState::Open));
        let server = |address: &SocketAddr| Server {
            address: address.to_string(),
            tls: Some(ServerTls { name: ServerName::IpAddress(address.ip().into()), config: config.clone() }),
            preference: Preference::default(),
        };
        let endpoint = Endpoint {
            servers: member.servers.iter().map(server).collect(),
            bind_name: "cn=gateway".to_owned(),
            password: Secret::new("test-only".to_owned()),
            page_size: member.page_size,
        };
        let mapping = Mapping::standard(&format!("ou={code},o=federation"), LOCAL).unwrap();
        let mounted = Mounted { mapping: Arc::new(mapping), endpoint: Arc::new(endpoint) };
        mounts.insert(Target::Member(code), mounted);
    }
    let routes = Arc::new(Routes::new(mounts.keys().cloned().map(Mount::new)));
    Arc::new(Snapshot {
        agreements: agreements(AGREEMENTS),
        routes,
        mounts,
        requesters: Arc::new(requesters),
    })
}

/// In the process of a gateway this is the gateway; in that of the tests it looks at one.
#[test]
fn a_process_of_its_own_serves_and_ends() {
    serve_if_asked();
    let gateway = Gateway::start(serde_json::json!({ "shards": 2 }), &[]);
    let client = gateway.client();
    soon("both threads have their names", 5, || gateway.shards() == 2);
    assert_eq!(gateway.counts().of("portcullis_front_connections", &[]), 1.0);
    assert!(gateway.resident_peak() > 1 << 20);
    drop(client);
    let folder = gateway.folder.path().to_owned();
    drop(gateway);
    assert!(!folder.exists());
}
