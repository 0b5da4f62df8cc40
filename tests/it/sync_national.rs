//! A national directory of a test's own: OpenLDAP's slapd with TLS, in a temporary folder.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
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
        let leaf = CertificateParams::new(vec![NAME.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
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

pub struct Slapd {
    child: Child,
    pub port: u16,
    pub folder: tempfile::TempDir,
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

impl Slapd {
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
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::create_dir(path("db")).unwrap();
        for (name, text) in [("ca.crt", &pki.ca), ("crt", &pki.certificate), ("key", &pki.key)] {
            std::fs::write(path(name), text).unwrap();
        }
        let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/lab/national/portcullis.schema");
        let config = format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\ninclude {schema}\n\
             modulepath /usr/lib/ldap\nmoduleload back_mdb\n\
             TLSCACertificateFile {}\nTLSCertificateFile {}\nTLSCertificateKeyFile {}\n\
             database mdb\nsuffix dc=national,dc=test\nrootdn {ADMIN}\nrootpw {PASSWORD}\ndirectory {}\n\
             maxsize 2147483648\ndbnosync\nindex objectClass,entryUUID,entryCSN,uid,mail eq\n",
            path("ca.crt"),
            path("crt"),
            path("key"),
            path("db")
        );
        std::fs::write(path("slapd.conf"), config).unwrap();
        let ldif = "dn: dc=national,dc=test\nobjectClass: dcObject\nobjectClass: organization\ndc: national\no: N\n\n\
                    dn: ou=people,dc=national,dc=test\nobjectClass: organizationalUnit\nou: people\n";
        std::fs::write(path("base.ldif"), ldif).unwrap();
        let added =
            Command::new(slapadd).args(["-q", "-f", &path("slapd.conf"), "-l", &path("base.ldif")]).output();
        let added = added.unwrap();
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("ldaps://127.0.0.1:{port}/");
        let child = Command::new(slapd)
            .args(["-d", "0", "-f", &path("slapd.conf"), "-h", &url])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let slapd = Slapd { child, port, folder };
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "slapd does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(slapd)
    }
}
