//! A national directory for the benchmark: slapd with TLS, in a folder of its own, filled by slapadd.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const ADMIN: &str = "cn=admin,dc=national,dc=test";
pub const PASSWORD: &str = "national";

pub struct Slapd {
    child: Child,
    pub port: u16,
    folder: PathBuf,
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Slapd {
    /// With these parts of LDIF in it. `pki` holds ca.crt, crt and key.
    pub fn start(folder: PathBuf, pki: &Path, ldif: impl Iterator<Item = String>) -> Slapd {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("db")).unwrap();
        let here = folder.display();
        let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/lab/national/portcullis.schema");
        let pki = pki.display();
        let config = format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\ninclude {schema}\n\
             modulepath /usr/lib/ldap\nmoduleload back_mdb\n\
             TLSCACertificateFile {pki}/ca.crt\nTLSCertificateFile {pki}/crt\nTLSCertificateKeyFile {pki}/key\n\
             loglevel 0\ndatabase mdb\nsuffix dc=national,dc=test\nrootdn {ADMIN}\nrootpw {PASSWORD}\ndirectory {here}/db\n\
             maxsize 8589934592\ndbnosync\nindex objectClass,entryUUID,entryCSN,uid,mail,portcullisAnchor eq\n"
        );
        fs::write(folder.join("slapd.conf"), config).unwrap();
        let mut filled = Command::new("/usr/sbin/slapadd")
            .args(["-q", "-f"])
            .arg(folder.join("slapd.conf"))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = filled.stdin.take().unwrap();
        let base = "dn: dc=national,dc=test\nobjectClass: dcObject\nobjectClass: organization\ndc: national\no: N\n\n\
                    dn: ou=people,dc=national,dc=test\nobjectClass: organizationalUnit\nou: people\n\n";
        stdin.write_all(base.as_bytes()).unwrap();
        ldif.for_each(|part| stdin.write_all(part.as_bytes()).unwrap());
        drop(stdin);
        assert!(filled.wait().unwrap().success(), "slapadd refused an entry");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("/usr/sbin/slapd")
            .args(["-d", "0", "-f"])
            .arg(folder.join("slapd.conf"))
            .args(["-h", &format!("ldaps://127.0.0.1:{port}/")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let slapd = Slapd { child, port, folder };
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "slapd does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        slapd
    }

    /// What it has used so far.
    pub fn cpu_seconds(&self) -> f64 {
        crate::meter::cpu_seconds(self.child.id())
    }

    /// OpenLDAP's own client with these parts of LDIF, one process each, all at once; returns the seconds it took.
    pub fn client(&self, program: &str, pki: &Path, controls: &[&str], parts: &[String]) -> f64 {
        let began = Instant::now();
        let mut all = Vec::new();
        for part in parts {
            let mut child = Command::new(program)
                .args(["-x", "-H", &format!("ldaps://localhost:{}", self.port), "-D", ADMIN, "-w", PASSWORD])
                .args(controls)
                .env("LDAPTLS_CACERT", pki.join("ca.crt"))
                // libldap holds the certificate of whoever is at a loopback address against this machine's own name
                .env("LDAPTLS_REQCERT", "allow")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let part = part.clone();
            all.push((child, std::thread::spawn(move || stdin.write_all(part.as_bytes()))));
        }
        for (mut child, writer) in all {
            writer.join().unwrap().unwrap();
            assert!(child.wait().unwrap().success(), "{program} failed");
        }
        began.elapsed().as_secs_f64()
    }
}
