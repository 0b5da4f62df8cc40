//! National directories of a test's own, with TLS, in a temporary folder: OpenLDAP's slapd, and 389 Directory Server.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;

/// The name that the certificates of a test have.
pub const NAME: &str = "directory.test";
pub const ADMIN: &str = "cn=admin,dc=national,dc=test";
pub const PASSWORD: &str = "national";

/// A CA with one certificate for [`NAME`].
pub struct Pki {
    pub ca: String,
    pub certificate: String,
    pub key: String,
}

impl Pki {
    pub fn new() -> Pki {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        // NSS files certificates by their subject, which must not be the CA's own
        parameters.distinguished_name.push(DnType::CommonName, NAME);
        let leaf = parameters.signed_by(&key, &ca).unwrap();
        Pki { ca: ca.pem(), certificate: leaf.pem(), key: key.serialize_pem() }
    }

    /// For a server written in the test.
    pub fn server(&self) -> Arc<ServerConfig> {
        use rustls_pki_types::pem::PemObject;
        use rustls_pki_types::{CertificateDer, PrivateKeyDer};
        let chain = vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap())
    }
}

/// The administrator of 389 Directory Server; the password is the same.
const MANAGER: &str = "cn=Directory Manager";
pub const SERVICE: &str = "cn=portcullis,ou=services,dc=national,dc=test";
const BASE_LDIF: &str = "dn: dc=national,dc=test\nobjectClass: dcObject\nobjectClass: organization\ndc: national\no: N\n\n\
                         dn: ou=people,dc=national,dc=test\nobjectClass: organizationalUnit\nou: people\n";

/// A running national directory.
pub struct Slapd {
    child: Child,
    pub port: u16,
    pub folder: tempfile::TempDir,
    /// Who may do everything.
    pub admin: &'static str,
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/lib/openldap", "/usr/libexec"]
        .iter()
        .map(|folder| PathBuf::from(folder).join(name))
        .find(|path| path.exists())
}

/// Files of the PKI in the folder: `ca.crt`, `crt`, `key`.
fn folder(pki: &Pki) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("ca.crt", &pki.ca), ("crt", &pki.certificate), ("key", &pki.key)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Slapd {
    /// 389 Directory Server; none, and a word about it, where it is not installed.
    pub fn start_389(test: &str, pki: &Pki) -> Option<Slapd> {
        if program("ns-slapd").is_none() {
            eprintln!("SKIPPED {test}: needs 389 Directory Server (Debian: 389-ds-base)");
            return None;
        }
        let folder = folder(pki);
        let path = |name: &str| folder.path().join(name).display().to_string();
        let port = free_port();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/lab/national/ns-slapd");
        let instance = path("instance");
        let (port_text, ca, crt, key) = (port.to_string(), path("ca.crt"), path("crt"), path("key"));
        let log = std::fs::File::create(path("log")).unwrap();
        let child = Command::new(script)
            .args([&instance, "127.0.0.1", &port_text, &ca, &crt, &key])
            .env("NATIONAL_PW", PASSWORD)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut slapd = Slapd { child, port, folder, admin: MANAGER };
        slapd.wait();
        slapd.ldif("ldapadd", BASE_LDIF);
        Some(slapd)
    }

    /// From now on it is used by an account of 389 Directory Server that has only what it needs.
    pub fn by_ordinary_account(&mut self) {
        let account = include_str!("../../deploy/lab/national/389-account.ldif");
        self.ldif("ldapmodify", &account.replace("%PASSWORD%", PASSWORD));
        self.admin = SERVICE;
    }

    fn wait(&mut self) {
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let told = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(60), "the server does not answer: {}", told());
            assert!(self.child.try_wait().unwrap().is_none(), "the server ended: {}", told());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs `ldapmodify` or `ldapadd` as the administrator, as somebody else than the gateway would.
    pub fn ldif(&self, program: &str, text: &str) {
        let mut child = Command::new(program)
            .args(["-x", "-H", &format!("ldaps://127.0.0.1:{}", self.port), "-D", self.admin, "-w", PASSWORD])
            .env("LDAPTLS_CACERT", self.folder.path().join("ca.crt"))
            // the certificate names the directory, not the address
            .env("LDAPTLS_REQCERT", "never")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Sends it a signal, `STOP` for example.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// None, and a word about it, where slapd is not installed.
    pub fn start(test: &str, pki: &Pki) -> Option<Slapd> {
        let (Some(slapd), Some(slapadd)) = (program("slapd"), program("slapadd")) else {
            eprintln!("SKIPPED {test}: needs slapd (Debian: slapd)");
            return None;
        };
        let folder = folder(pki);
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::create_dir(path("db")).unwrap();
        let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/lab/national/portcullis.schema");
        let config = format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\ninclude {schema}\n\
             modulepath /usr/lib/ldap\nmoduleload back_mdb\nmoduleload syncprov\n\
             TLSCACertificateFile {}\nTLSCertificateFile {}\nTLSCertificateKeyFile {}\n\
             database mdb\nsuffix dc=national,dc=test\nrootdn {ADMIN}\nrootpw {PASSWORD}\ndirectory {}\n\
             maxsize 2147483648\ndbnosync\nindex objectClass,entryUUID,entryCSN,uid,mail,portcullisAnchor eq\n\
             overlay syncprov\nsyncprov-sessionlog 10000\n",
            path("ca.crt"),
            path("crt"),
            path("key"),
            path("db")
        );
        std::fs::write(path("slapd.conf"), config).unwrap();
        std::fs::write(path("base.ldif"), BASE_LDIF).unwrap();
        let added =
            Command::new(slapadd).args(["-q", "-f", &path("slapd.conf"), "-l", &path("base.ldif")]).output();
        let added = added.unwrap();
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let port = free_port();
        let url = format!("ldaps://127.0.0.1:{port}/");
        let child = Command::new(slapd)
            .args(["-d", "0", "-f", &path("slapd.conf"), "-h", &url])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut slapd = Slapd { child, port, folder, admin: ADMIN };
        slapd.wait();
        Some(slapd)
    }
}
