//! The directory behind and the proxies in front of it, each a process of its own on loopback, ended when dropped.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::gateway;

/// Below this lies the directory behind.
pub const SUFFIX: &str = "dc=bench,dc=test";

/// Entries that one department number finds.
pub const PER_DEPARTMENT: usize = 100;

/// How the load binds.
#[derive(Debug, Clone, Copy)]
pub enum Bind {
    Simple,
    External,
}

/// A proxy under measurement.
pub struct Peer {
    pub name: &'static str,
    pub address: SocketAddr,
    pub base: String,
    pub bind: Bind,
    /// The load shows a certificate.
    pub certificate: bool,
    pub pid: u32,
}

/// Everything that runs; dropping it ends the processes and removes the folder.
pub struct Lab {
    pub peers: Vec<Peer>,
    pub client: Arc<ClientConfig>,
    pub client_with_certificate: Arc<ClientConfig>,
    pub bind_dn: String,
    pub password: String,
    children: Vec<Child>,
    folder: tempfile::TempDir,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Lab {
    pub fn up(entries: usize) -> Result<Lab, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let (client, client_with_certificate) = certificates(folder.path())?;
        let mut lab = Lab {
            peers: Vec::new(),
            client,
            client_with_certificate,
            bind_dn: format!("cn=bench,{SUFFIX}"),
            password: "bench-only".to_owned(),
            children: Vec::new(),
            folder,
        };
        let backend = lab.backend(entries)?;
        lab.gateway(backend)?;
        lab.haproxy("haproxy-tcp", backend, false)?;
        lab.haproxy("haproxy-tls", backend, true)?;
        lab.relay("back-ldap", backend, "ldap")?;
        lab.relay("back-meta", backend, "meta")?;
        Ok(lab)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn backend(&mut self, entries: usize) -> Result<SocketAddr, String> {
        let data = self.path("data");
        fs::create_dir_all(&data).map_err(|e| e.to_string())?;
        let config = format!(
            "{}database mdb\nsuffix {SUFFIX}\nrootdn cn=bench,{SUFFIX}\nrootpw {}\ndirectory {}\nmaxsize 1073741824\n\
             index objectClass eq\nindex uid eq\nindex departmentNumber eq\n",
            self.slapd_head(),
            self.password,
            data.display()
        );
        let file = self.path("backend.conf");
        fs::write(&file, config).map_err(|e| e.to_string())?;
        fs::write(self.path("data.ldif"), people(entries)).map_err(|e| e.to_string())?;
        let added = Command::new("slapadd")
            .args(["-q", "-f"])
            .arg(&file)
            .arg("-l")
            .arg(self.path("data.ldif"))
            .output()
            .map_err(|e| format!("slapadd: {e} (is the package slapd installed?)"))?;
        if !added.status.success() {
            return Err(format!("slapadd: {}", String::from_utf8_lossy(&added.stderr)));
        }
        let (address, _) = self.slapd("backend", &file)?;
        self.peers.push(Peer {
            name: "direct",
            address,
            base: format!("ou=people,{SUFFIX}"),
            bind: Bind::Simple,
            certificate: false,
            pid: self.children.last().map_or(0, Child::id),
        });
        Ok(address)
    }

    fn gateway(&mut self, backend: SocketAddr) -> Result<(), String> {
        let (address, metrics) = (free_address()?, free_address()?);
        let (folder, backend) = (self.folder.path(), backend.to_string());
        let command =
            gateway::command(folder, &address.to_string(), &metrics.to_string(), &backend, &self.password)?;
        let pid = self.start("portcullis", command, address)?;
        let base = "ou=people,ou=national,o=federation".to_owned();
        let bind = Bind::External;
        self.peers.push(Peer { name: "portcullis", address, base, bind, certificate: true, pid });
        Ok(())
    }

    fn slapd_head(&self) -> String {
        let schema = ["core", "cosine", "inetorgperson"];
        let mut head = String::new();
        for name in schema {
            let _ = writeln!(head, "include /etc/ldap/schema/{name}.schema");
        }
        for module in ["back_mdb", "back_ldap", "back_meta"] {
            let _ = writeln!(head, "moduleload {module}");
        }
        let dir = self.folder.path().display();
        let _ = writeln!(
            head,
            "TLSCACertificateFile {dir}/ca.pem\nTLSCertificateFile {dir}/server.pem\nTLSCertificateKeyFile {dir}/server.key\n\
             TLSVerifyClient never\nthreads 16\nloglevel 0\nsizelimit unlimited"
        );
        head
    }

    fn relay(&mut self, name: &'static str, backend: SocketAddr, kind: &str) -> Result<(), String> {
        let target = match kind {
            "meta" => format!("uri ldaps://{backend}/{SUFFIX}"),
            _ => format!("uri ldaps://{backend}"),
        };
        let ca = self.path("ca.pem");
        let config = format!(
            "{}database {kind}\nsuffix {SUFFIX}\n{target}\ntls ldaps tls_cacert={} tls_reqcert=demand\nrebind-as-user yes\n",
            self.slapd_head(),
            ca.display()
        );
        let file = self.path(&format!("{kind}.conf"));
        fs::write(&file, config).map_err(|e| e.to_string())?;
        let (address, pid) = self.slapd(kind, &file)?;
        let base = format!("ou=people,{SUFFIX}");
        self.peers.push(Peer { name, address, base, bind: Bind::Simple, certificate: false, pid });
        Ok(())
    }

    fn slapd(&mut self, name: &str, config: &Path) -> Result<(SocketAddr, u32), String> {
        let address = free_address()?;
        // `-d 0` keeps it in the foreground, so that the child is the server.
        let mut command = Command::new("slapd");
        command.args(["-d", "0", "-f"]).arg(config).arg("-h").arg(format!("ldaps://{address}/"));
        Ok((address, self.start(name, command, address)?))
    }

    fn haproxy(&mut self, name: &'static str, backend: SocketAddr, terminate: bool) -> Result<(), String> {
        let address = free_address()?;
        let dir = self.folder.path().display();
        let (front, back) = match terminate {
            true => {
                let front = " ssl crt DIR/both.pem verify required ca-file DIR/ca.pem crl-file DIR/ca.crl";
                let back = " ssl verify required ca-file DIR/ca.pem";
                let at = |text: &str| text.replace("DIR", &dir.to_string());
                (at(front), at(back))
            }
            false => (String::new(), String::new()),
        };
        let config = format!(
            "global\n  nbthread 2\n  maxconn 2000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  \
             timeout server 60s\nlisten l\n  bind {address}{front}\n  server s {backend}{back}\n"
        );
        let file = self.path(&format!("{name}.cfg"));
        fs::write(&file, config).map_err(|e| e.to_string())?;
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&file);
        let pid = self.start(name, command, address)?;
        let base = format!("ou=people,{SUFFIX}");
        self.peers.push(Peer { name, address, base, bind: Bind::Simple, certificate: terminate, pid });
        Ok(())
    }

    /// Starts a server and waits until it listens.
    fn start(&mut self, name: &str, mut command: Command, address: SocketAddr) -> Result<u32, String> {
        let log = fs::File::create(self.path(&format!("{name}.log"))).map_err(|e| e.to_string())?;
        let errors = log.try_clone().map_err(|e| e.to_string())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|e| format!("{name}: cannot start {:?}: {e}", command.get_program()))?;
        let pid = child.id();
        self.children.push(child);
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            let died = self.children.last_mut().is_some_and(|c| c.try_wait().ok().flatten().is_some());
            if died || Instant::now() > end {
                let said = fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
                return Err(format!("{name} does not listen on {address}: {said}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(pid)
    }
}

fn free_address() -> Result<SocketAddr, String> {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(|e| e.to_string())
}

/// About 900 bytes an entry, as a real staff entry has.
fn people(entries: usize) -> String {
    let mut ldif = format!(
        "dn: {SUFFIX}\nobjectClass: domain\ndc: bench\n\ndn: ou=people,{SUFFIX}\nobjectClass: organizationalUnit\nou: people\n\n"
    );
    for n in 0..entries {
        let _ = write!(
            ldif,
            "dn: uid=n{n:07},ou=people,{SUFFIX}\nobjectClass: inetOrgPerson\nuid: n{n:07}\ncn: Person Number {n}\nsn: Number {n}\n\
             givenName: Person\ndisplayName: Person Number {n}\nmail: person.{n}@staff.bench.test\ntitle: Staff nurse, grade {}\n\
             departmentNumber: {}\nemployeeNumber: {n:010}\ntelephoneNumber: +44 20 7946 {:04}\nmobile: +44 7700 9{:05}\n\
             roomNumber: {}\no: Bench NHS Foundation Trust\nou: Ward {}\nl: Exampletown\nst: Exampleshire\npostalCode: EX1 1EX\n\
             street: 1 Hospital Road\ndescription: {}\nmanager: uid=n{:07},ou=people,{SUFFIX}\n\n",
            n % 7,
            n / PER_DEPARTMENT,
            n % 10_000,
            n % 100_000,
            n % 400,
            n % 60,
            "works in a team of many and is on call on every second weekend of the month ".repeat(2).trim(),
            n / 50
        );
    }
    ldif
}

/// Writes `ca.pem`, `server.{pem,key}`, `both.pem`, `client.{pem,key}` and `ca.crl`; returns the load's TLS settings.
fn certificates(folder: &Path) -> Result<(Arc<ClientConfig>, Arc<ClientConfig>), String> {
    let issue = || -> Result<_, rcgen::Error> {
        let mut root = CertificateParams::new(vec![])?;
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        root.distinguished_name.push(rcgen::DnType::CommonName, "Bench Root");
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate()?)?;
        let leaf = |name: &str, usage| -> Result<(String, String), rcgen::Error> {
            let mut params = CertificateParams::new(vec![])?;
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate()?;
            Ok((params.signed_by(&key, &root)?.pem(), key.serialize_pem()))
        };
        let server = leaf("bench", ExtendedKeyUsagePurpose::ServerAuth)?;
        let client = leaf("bench-application", ExtendedKeyUsagePurpose::ClientAuth)?;
        let now = time::OffsetDateTime::UNIX_EPOCH + time::Duration::days(18_262);
        let list = CertificateRevocationListParams {
            this_update: now,
            next_update: now + time::Duration::days(36_500),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok((root.pem(), server, client, list.signed_by(&root)?.pem()?))
    };
    let (ca, server, client, list) = issue().map_err(|e| e.to_string())?;
    let both = format!("{}{}", server.0, server.1);
    for (name, text) in [
        ("ca.pem", &ca),
        ("server.pem", &server.0),
        ("server.key", &server.1),
        ("both.pem", &both),
        ("client.pem", &client.0),
        ("client.key", &client.1),
        ("ca.crl", &list),
    ] {
        let path = folder.join(name);
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
            .map_err(|e| e.to_string())?;
    }
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.as_bytes()).map_err(|e| e.to_string())?)
        .map_err(|e| e.to_string())?;
    let builder = || {
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map(|b| b.with_root_certificates(roots.clone()))
            .map_err(|e| e.to_string())
    };
    let certificate = CertificateDer::from_pem_slice(client.0.as_bytes()).map_err(|e| e.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(client.1.as_bytes()).map_err(|e| e.to_string())?;
    let mut with = builder()?.with_client_auth_cert(vec![certificate], key).map_err(|e| e.to_string())?;
    let mut without = builder()?.with_no_client_auth();
    // Every session is a whole handshake, with whoever it is.
    with.resumption = Resumption::disabled();
    without.resumption = Resumption::disabled();
    Ok((Arc::new(without), Arc::new(with)))
}
