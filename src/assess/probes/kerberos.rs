//! Asks a KDC for a ticket without credentials (RFC 4120 section 5.4.1) and reads what its answer gives away.

use std::time::Duration;

use rasn::types::{BitString, GeneralizedTime};
use rasn_kerberos as krb;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::ambient::chance;
use crate::ambient::clock::Clock;

/// Encryption types (RFC 3961, RFC 3962, RFC 4757, RFC 8009) with the names that facts use.
pub const ENCRYPTION_TYPES: [(&str, i32); 8] = [
    ("des-cbc-crc", 1),
    ("des-cbc-md5", 3),
    ("des3-cbc-sha1", 16),
    ("aes128-cts-hmac-sha1-96", 17),
    ("aes256-cts-hmac-sha1-96", 18),
    ("aes128-cts-hmac-sha256-128", 19),
    ("aes256-cts-hmac-sha384-192", 20),
    ("rc4-hmac", 23),
];

const KDC_ERR_PRINCIPAL_UNKNOWN: i32 = 6;
const KDC_ERR_ETYPE_NOSUPP: i32 = 14;
const KDC_ERR_PREAUTH_REQUIRED: i32 = 25;
const KRB_ERR_RESPONSE_TOO_BIG: i32 = 52;
const ANSWER_MAX: usize = 64 * 1024;

/// What a KDC answered to one encryption type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it would use the encryption type.
    pub offered: bool,
    /// Whether it asked for proof before giving a ticket; none when it did not get that far.
    pub preauth_required: Option<bool>,
    /// Whether it named PKINIT among what it would take.
    pub pkinit_advertised: bool,
    /// Its clock less ours, in seconds, when it told the time.
    pub skew: Option<i64>,
}

/// Whom to ask about and where.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// `host:port`.
    pub kdc: &'a str,
    pub realm: &'a str,
    /// An account that exists, without realm.
    pub account: &'a str,
    /// For each of UDP and TCP.
    pub patience: Duration,
}

/// Asks for one encryption type.
pub async fn ask(question: &Question<'_>, encryption_type: i32, clock: &Clock) -> Result<Answer, String> {
    let request = as_request(question, encryption_type).ok_or("the request cannot be encoded")?;
    let sent = clock.now();
    let over_udp = timeout(question.patience, udp(question.kdc, &request)).await;
    let bytes = match over_udp {
        Ok(Ok(bytes)) if !is_too_big(&bytes) => bytes,
        // no answer, none over UDP, or too big for it
        _ => timeout(question.patience, tcp(question.kdc, &request))
            .await
            .map_err(|_| "the KDC did not answer in time".to_owned())?
            .map_err(|error| format!("the KDC cannot be reached: {error}"))?,
    };
    let received = clock.now();
    read(&bytes, sent + (received - sent) / 2)
}

fn is_too_big(bytes: &[u8]) -> bool {
    rasn::der::decode::<krb::KrbError>(bytes).is_ok_and(|error| error.error_code == KRB_ERR_RESPONSE_TOO_BIG)
}

fn read(bytes: &[u8], asked_at: OffsetDateTime) -> Result<Answer, String> {
    // application 11 is AS-REP, 30 KRB-ERROR (RFC 4120 section 5.10)
    if bytes.first() == Some(&0x6b) {
        return Ok(Answer {
            offered: true,
            preauth_required: Some(false),
            pkinit_advertised: false,
            skew: None,
        });
    }
    let error: krb::KrbError =
        rasn::der::decode(bytes).map_err(|_| "the KDC sent what is no Kerberos answer".to_owned())?;
    let skew = Some(error.stime.0.timestamp() - asked_at.unix_timestamp());
    let hints: krb::MethodData =
        error.e_data.as_ref().and_then(|data| rasn::der::decode(data).ok()).unwrap_or_default();
    // RFC 4556 section 3.2.4: PA-PK-AS-REQ and its forerunners
    let pkinit_advertised = hints.iter().any(|hint| matches!(hint.r#type, 14..=17));
    let answer = |offered, preauth_required| Answer { offered, preauth_required, pkinit_advertised, skew };
    match error.error_code {
        KDC_ERR_PREAUTH_REQUIRED => Ok(answer(true, Some(true))),
        KDC_ERR_ETYPE_NOSUPP => Ok(answer(false, None)),
        KDC_ERR_PRINCIPAL_UNKNOWN => Err("the KDC does not know our own account".to_owned()),
        code => Err(format!("the KDC answered with error {code}")),
    }
}

async fn udp(kdc: &str, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let target = tokio::net::lookup_host(kdc)
        .await?
        .next()
        .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::NotFound, "no address"))?;
    let socket = UdpSocket::bind(if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).await?;
    socket.connect(target).await?;
    socket.send(request).await?;
    let mut bytes = vec![0; ANSWER_MAX];
    let length = socket.recv(&mut bytes).await?;
    bytes.truncate(length);
    Ok(bytes)
}

/// RFC 4120 section 7.2.2: four bytes of length first.
async fn tcp(kdc: &str, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(kdc).await?;
    let too_long = || std::io::Error::new(std::io::ErrorKind::InvalidData, "an answer that is too long");
    let length = u32::try_from(request.len()).map_err(|_| too_long())?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(request).await?;
    let length = usize::try_from(stream.read_u32().await?).map_err(|_| too_long())?;
    if length > ANSWER_MAX {
        return Err(too_long());
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn as_request(question: &Question<'_>, encryption_type: i32) -> Option<Vec<u8>> {
    let realm = text(question.realm)?;
    let mut options = BitString::repeat(false, 32);
    // forwardable and renewable-ok, as clients commonly ask
    for bit in [1, 27] {
        options.set(bit, true);
    }
    let name = |kind, parts| krb::PrincipalName { r#type: kind, string: parts };
    // the latest time that RFC 4120 implementations agree on
    let till: GeneralizedTime = rasn::der::decode(b"\x18\x0f20370913024805Z").ok()?;
    let nonce = u32::from_be_bytes(chance::bytes().ok()?) >> 1;
    let body = krb::KdcReqBody {
        kdc_options: krb::KdcOptions(options),
        cname: Some(name(1, vec![text(question.account)?])),
        realm: realm.clone(),
        sname: Some(name(2, vec![text("krbtgt")?, realm])),
        from: None,
        till: krb::KerberosTime(till),
        rtime: None,
        nonce,
        etype: vec![encryption_type],
        addresses: None,
        enc_authorization_data: None,
        additional_tickets: None,
    };
    let request =
        krb::AsReq(krb::KdcReq { pvno: 5.into(), msg_type: 10.into(), padata: None, req_body: body });
    rasn::der::encode(&request).ok()
}

fn text(value: &str) -> Option<krb::KerberosString> {
    krb::KerberosString::from_bytes(value.as_bytes()).ok()
}
