//! A gateway's directory on disk: certificates, policy, configuration. National and member directories are named but not there.

use std::path::{Path, PathBuf};

use portcullis::ambient::clock::Clock;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use tempfile::TempDir;

/// One control on one probe fact; one clean assessment opens.
pub const BASELINE: &str = "\
kind: Baseline
id: national
title: A baseline with one control
owner: tests@national.example
revision: 1.0.0
stage: enforce
parameters: {}
include: [controls.yaml]
grants:
  lookup: { deny_on: critical, unknown: deny }
  sync: { deny_on: [critical, high], unknown: deny }
reopen_after: 1
evidence_valid_for: 1h
";

const CONTROLS: &str = "\
kind: Controls
controls:
  - id: tls-versions
    title: TLS 1.2 and later only
    severity: critical
    level: 1
    require: { tls.versions: { at_least: tls1.2 } }
    why: Older ones can be broken.
    fix: Switch them off.
    references: { attack: [T1600] }
";

/// The directory; it goes when this goes.
pub struct Stage {
    pub directory: TempDir,
}

impl Stage {
    /// Everything that a gateway needs, with `extra` lines in its configuration. It listens on free ports of 127.0.0.1 that
    /// the configuration names.
    pub fn new(extra: &str) -> Stage {
        let stage = Stage { directory: tempfile::tempdir().unwrap() };
        std::fs::create_dir(stage.path("policies")).unwrap();
        stage.write("policies/baseline.yaml", BASELINE);
        stage.write("policies/controls.yaml", CONTROLS);
        secret(&stage.path("national.password"), "not a secret\n");
        stage.certificates();
        let ports = free_ports();
        let config = format!(
            "\
version: 1
data_dir: data
policies: policies
listen: {{ ldaps: '127.0.0.1:{}', metrics: '127.0.0.1:{}' }}
tls: {{ certificate: gateway.pem, key: gateway.key, client_anchors: ca.pem, crls: [ca.crl] }}
national:
  address: 127.0.0.1:9
  anchors: ca.pem
  bind_dn: cn=gateway,dc=national,dc=test
  password: {{ file: national.password }}
  suffix: dc=national,dc=test
  people_base: ou=people,dc=national,dc=test
intervals: {{ assess_seconds: 3600, sync_seconds: 3600, drain_seconds: 1 }}
log: {{ format: human, filter: info }}
{extra}",
            ports[0], ports[1]
        );
        stage.write("portcullis.yaml", &config);
        stage
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub fn config(&self) -> portcullis::config::settings::Config {
        portcullis::config::file::check(&self.path("portcullis.yaml"), Clock::system().now()).unwrap().0
    }

    fn certificates(&self) {
        let mut root = CertificateParams::new(vec![]).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let mut leaf = CertificateParams::new(vec![]).unwrap();
        leaf.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let now = Clock::system().now();
        let list = CertificateRevocationListParams {
            this_update: now,
            next_update: now + std::time::Duration::from_secs(86_400),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        self.write("ca.pem", &root.pem());
        self.write("ca.crl", &list.signed_by(&root).unwrap().pem().unwrap());
        self.write("gateway.pem", &leaf.signed_by(&key, &root).unwrap().pem());
        secret(&self.path("gateway.key"), &key.serialize_pem());
    }
}

/// Writes a file that only its owner can read.
pub fn secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// Two ports that were free a moment ago, both at once: asked for one after the other they may be the same.
fn free_ports() -> [u16; 2] {
    let held = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// The status line and body of a GET.
pub fn get(address: std::net::SocketAddr, path: &str) -> Option<(String, String)> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.lines().next()?.to_owned(), body.to_owned()))
}

/// What a gateway that is ready answers.
pub const READY: &str = "HTTP/1.1 200 OK\r\n\r\nready\n";

/// Answers everything with `answer`, until the tests end.
pub fn answering(listener: std::net::TcpListener, answer: &'static str) {
    use std::io::{Read, Write};
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
}

/// Waits for something to become true.
pub fn soon(what: &str, seconds: u64, mut is: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    while !is() {
        assert!(std::time::Instant::now() < end, "{what}: not within {seconds} s");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// The value of a metric line that begins with `name`.
pub fn metric(body: &str, name: &str) -> Option<f64> {
    body.lines().find(|line| line.starts_with(name))?.rsplit_once(' ')?.1.parse().ok()
}

/// A path as an argument.
pub fn argument(path: &Path) -> &str {
    path.to_str().unwrap()
}
