//! The authorities of the scripted domain, what its controllers show, its cards, and the revocation lists of all of them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use portcullis::ambient::clock::Clock;
use portcullis::baseline::certificate::key_sha256;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

/// Made once by hand, since no library here makes keys that short or signatures that old; nobody has their keys:
/// `openssl req -x509`, then `openssl x509 -req` for a key of `rsa:1024`, and with `-sha1`.
const OLD_ANCHOR: &str = include_str!("certificates/anchor.pem");
const SHORT_KEY: &str = include_str!("certificates/short-key.pem");
const OLD_SIGNATURE: &str = include_str!("certificates/old-signature.pem");
/// The usage of a key distribution centre (RFC 4556 section 3.2.4).
const KDC: &[u64] = &[1, 3, 6, 1, 5, 2, 3, 5];
const CARD_ISSUER_SERIAL: u64 = 77;

/// What a controller shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// A certificate with its name, fit for card logon.
    Good,
    /// One of another server.
    WrongName,
    /// One that is fit for a web server only.
    ServerOnly,
    ShortKey,
    OldSignature,
    /// It refuses every handshake.
    NoTls,
    /// It takes the connection and says nothing.
    Silent,
    /// It is switched off.
    Nothing,
}

/// Everything that is made once.
pub struct Material {
    folder: tempfile::TempDir,
    /// PEM.
    pub anchors: String,
    /// The SHA-256 of the card issuer's key.
    pub card_issuer_key: String,
    /// DER.
    pub root: Vec<u8>,
    pub card_issuer: Vec<u8>,
    pub revoked_card_issuer: Vec<u8>,
    pub issuing: Vec<u8>,
    pub expired_issuing: Vec<u8>,
    /// The port of the web server with the lists.
    pub lists: u16,
    issuer: Issuer<'static, KeyPair>,
}

/// The one material of all tests here.
pub fn material() -> &'static Material {
    static MADE: OnceLock<Material> = OnceLock::new();
    MADE.get_or_init(Material::new)
}

impl Material {
    fn new() -> Material {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let lists = listener.local_addr().unwrap().port();
        let root_key = KeyPair::generate().unwrap();
        let params = authority("Scripted Root");
        let root = params.self_signed(&root_key).unwrap();
        let issuer = Issuer::new(params, root_key);
        let signed = |params: &CertificateParams, key: &KeyPair| {
            params.signed_by(key, &issuer).unwrap().der().to_vec()
        };
        let card_key = KeyPair::generate().unwrap();
        let mut params = authority("Card Issuer");
        params.serial_number = Some(SerialNumber::from(CARD_ISSUER_SERIAL));
        params.crl_distribution_points = listed(lists, "root.crl");
        let card_issuer = signed(&params, &card_key);
        params.crl_distribution_points = listed(lists, "revoked.crl");
        let revoked_card_issuer = signed(&params, &card_key);
        let cards = Issuer::new(params, card_key);
        let other = KeyPair::generate().unwrap();
        let mut params = authority("Issuing");
        let issuing = signed(&params, &other);
        params.not_after = Clock::system().now() - time::Duration::days(3);
        let expired_issuing = signed(&params, &other);
        let folder = tempfile::tempdir().unwrap();
        for name in ["cards.crl", "old.crl", "missing.crl", ""] {
            card(&cards, lists, name, &card_file(folder.path(), name));
        }
        let served = BTreeMap::from([
            ("/root.crl", list(&issuer, &[4], 24)),
            ("/revoked.crl", list(&issuer, &[CARD_ISSUER_SERIAL], 24)),
            ("/cards.crl", list(&cards, &[], 24)),
            ("/old.crl", list(&cards, &[], -1)),
        ]);
        std::thread::spawn(move || serve_lists(&listener, &served));
        crate::app_stage::secret(&folder.path().join("password"), super::directory::PASSWORD);
        Material {
            folder,
            anchors: format!("{}{OLD_ANCHOR}", root.pem()),
            card_issuer_key: key_sha256(&card_issuer).unwrap(),
            root: root.der().to_vec(),
            card_issuer,
            revoked_card_issuer,
            issuing,
            expired_issuing,
            lists,
            issuer,
        }
    }

    /// The file with our own account's password.
    pub fn password(&self) -> PathBuf {
        self.folder.path().join("password")
    }

    /// The file of a card whose list has this name; it names no list without one.
    pub fn card(&self, list: &str) -> PathBuf {
        card_file(self.folder.path(), list)
    }

    /// How a controller of this name serves TLS; none when it does not.
    pub fn tls(&self, shown: Shown, name: &str) -> Option<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth();
        let (name, usages): (&str, &[ExtendedKeyUsagePurpose]) = match shown {
            Shown::Good => (name, &[ExtendedKeyUsagePurpose::Other(KDC.to_vec())]),
            Shown::WrongName => ("other.scripted.test", &[ExtendedKeyUsagePurpose::Other(KDC.to_vec())]),
            Shown::ServerOnly => (name, &[]),
            Shown::ShortKey => return Some(config.with_cert_resolver(Arc::new(pretended(SHORT_KEY)))),
            Shown::OldSignature => {
                return Some(config.with_cert_resolver(Arc::new(pretended(OLD_SIGNATURE))));
            }
            Shown::NoTls | Shown::Silent | Shown::Nothing => return None,
        };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = [&[ExtendedKeyUsagePurpose::ServerAuth], usages].concat();
        params.crl_distribution_points = listed(self.lists, "root.crl");
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Some(config.with_single_cert(vec![certificate], key).unwrap())
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn listed(port: u16, name: &str) -> Vec<CrlDistributionPoint> {
    vec![CrlDistributionPoint { uris: vec![format!("http://127.0.0.1:{port}/{name}")] }]
}

fn card_file(folder: &Path, list: &str) -> PathBuf {
    folder.join(format!("card-{list}.pem"))
}

fn card(issuer: &Issuer<'static, KeyPair>, port: u16, name: &str, file: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "monitor");
    if !name.is_empty() {
        params.crl_distribution_points = listed(port, name);
    }
    let made = params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap();
    std::fs::write(file, made.pem()).unwrap();
}

/// A revocation list that is good for so many hours.
fn list(issuer: &Issuer<'static, KeyPair>, revoked: &[u64], hours: i64) -> Vec<u8> {
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
    params.signed_by(issuer).unwrap().der().to_vec()
}

fn serve_lists(listener: &TcpListener, served: &BTreeMap<&'static str, Vec<u8>>) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let mut asked = [0; 1_024];
        let length = stream.read(&mut asked).unwrap_or(0);
        let text = String::from_utf8_lossy(&asked[..length]).into_owned();
        let body = text.split(' ').nth(1).and_then(|path| served.get(path));
        let (code, body) = body.map_or((404, &[][..]), |body| (200, body.as_slice()));
        let head =
            format!("HTTP/1.1 {code} Answer\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
    }
}

/// Shows a certificate without having its key: enough for whoever only looks at it, and for nobody else.
fn pretended(pem: &str) -> SingleCertAndKey {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    CertifiedKey::new(vec![certificate], Arc::new(Pretended)).into()
}

#[derive(Debug)]
struct Pretended;

impl SigningKey for Pretended {
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Pretended))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

impl Signer for Pretended {
    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(vec![0; 256])
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::RSA_PSS_SHA256
    }
}
