//! ClientHellos made by hand, for versions and suites that no living library speaks: RFC 5246 section 7.4.1.2, RFC 8446
//! section 4.1.2, RFC 6101 section 5.6. No handshake is ever finished.

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::ambient::chance;

/// Protocol versions with their wire numbers, from old to new, as facts name them.
pub const VERSIONS: [(&str, u16); 5] =
    [("sslv3", 0x0300), ("tls1.0", 0x0301), ("tls1.1", 0x0302), ("tls1.2", 0x0303), ("tls1.3", 0x0304)];

/// Suites of TLS 1.3.
const MODERN: &[u16] = &[0x1301, 0x1302, 0x1303];
/// Suites that any server up to TLS 1.2 knows some of.
const CLASSIC: &[u16] = &[
    0xc02f, 0xc030, 0xc02b, 0xc02c, 0xcca8, 0xcca9, 0x009e, 0x009f, 0x009c, 0x009d, 0xc027, 0xc028, 0xc014,
    0xc013, 0xc00a, 0xc009, 0x0039, 0x0033, 0x003c, 0x003d, 0x0035, 0x002f, 0xc012, 0x000a, 0x0005, 0x0004,
];

/// Groups of suites that a baseline may forbid, as facts name them, each with its IANA numbers.
pub const WEAK: [(&str, &[u16]); 7] = [
    ("null", &[0x0001, 0x0002, 0x003b, 0xc001, 0xc006, 0xc00b, 0xc010]),
    (
        "anonymous",
        &[0x0018, 0x001b, 0x0034, 0x003a, 0x006c, 0x006d, 0x00a6, 0x00a7, 0xc016, 0xc017, 0xc018, 0xc019],
    ),
    ("export", &[0x0003, 0x0006, 0x0008, 0x000b, 0x000e, 0x0011, 0x0014, 0x0017, 0x0019, 0x0062, 0x0064]),
    ("rc4", &[0x0004, 0x0005, 0xc002, 0xc007, 0xc00c, 0xc011]),
    ("des", &[0x0009, 0x000c, 0x000f, 0x0012, 0x0015]),
    ("3des", &[0x000a, 0x000d, 0x0010, 0x0013, 0x0016, 0xc003, 0xc008, 0xc00d, 0xc012]),
    ("static-rsa", &[0x002f, 0x0035, 0x003c, 0x003d, 0x0041, 0x0084, 0x009c, 0x009d, 0x0096, 0xc09c, 0xc09d]),
];

/// What a server answered to one ClientHello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It chose this version and suite (wire numbers).
    Chose { version: u16, suite: u16 },
    /// It sent an alert, or closed the connection.
    Refused,
    /// Something that is no TLS.
    NotTls,
}

/// A ClientHello record that offers one version only, with the suites fit for it.
pub fn for_version(version: u16, name: &str) -> Result<Vec<u8>, chance::NoChance> {
    client_hello(version, if version >= 0x0304 { MODERN } else { CLASSIC }, name)
}

/// A ClientHello record that offers at most TLS 1.2 with these suites only.
pub fn for_suites(suites: &[u16], name: &str) -> Result<Vec<u8>, chance::NoChance> {
    client_hello(0x0303, suites, name)
}

fn client_hello(version: u16, suites: &[u16], name: &str) -> Result<Vec<u8>, chance::NoChance> {
    let mut hello = version.min(0x0303).to_be_bytes().to_vec();
    hello.extend(chance::bytes::<32>()?);
    // no session
    hello.push(0);
    let mut list: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    if version < 0x0304 {
        // TLS_EMPTY_RENEGOTIATION_INFO_SCSV, RFC 5746: some servers insist
        list.extend([0x00, 0xff]);
    }
    put16(&mut hello, &list);
    // null compression only
    hello.extend([1, 0]);
    if version >= 0x0301 {
        let extensions = extensions(version, name)?;
        put16(&mut hello, &extensions);
    }
    let mut message = vec![1, 0];
    put16(&mut message, &hello);
    let mut record = vec![22];
    record.extend(if version == 0x0300 { [3, 0] } else { [3, 1] });
    put16(&mut record, &message);
    Ok(record)
}

fn extensions(version: u16, name: &str) -> Result<Vec<u8>, chance::NoChance> {
    let mut all = Vec::new();
    // an address is no server name (RFC 6066 section 3)
    if name.parse::<IpAddr>().is_err() && !name.is_empty() {
        let mut host = vec![0];
        put16(&mut host, name.as_bytes());
        let mut list = Vec::new();
        put16(&mut list, &host);
        extension(&mut all, 0, &list);
    }
    // x25519, P-256, P-384, P-521, ffdhe2048, ffdhe3072
    extension(&mut all, 10, &[0, 12, 0, 29, 0, 23, 0, 24, 0, 25, 1, 0, 1, 1]);
    extension(&mut all, 11, &[1, 0]);
    if version >= 0x0303 {
        extension(&mut all, 13, &[0, 20, 4, 3, 5, 3, 6, 3, 8, 4, 8, 5, 8, 6, 4, 1, 5, 1, 6, 1, 2, 1]);
    }
    if version == 0x0304 {
        extension(&mut all, 43, &[2, 3, 4]);
        let mut share = vec![0, 29];
        put16(&mut share, &chance::bytes::<32>()?);
        let mut list = Vec::new();
        put16(&mut list, &share);
        extension(&mut all, 51, &list);
    }
    Ok(all)
}

fn extension(out: &mut Vec<u8>, kind: u16, contents: &[u8]) {
    out.extend(kind.to_be_bytes());
    put16(out, contents);
}

/// Contents after their length in two bytes. Everything here is far shorter than 64 KiB.
fn put16(out: &mut Vec<u8>, contents: &[u8]) {
    out.extend(u16::try_from(contents.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(contents);
}

/// Sends a ClientHello and reads the first record of the answer. The caller bounds the time.
pub async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), hello: &[u8]) -> Reply {
    if stream.write_all(hello).await.is_err() || stream.flush().await.is_err() {
        return Reply::Refused;
    }
    let mut header = [0; 5];
    if stream.read_exact(&mut header).await.is_err() {
        return Reply::Refused;
    }
    let [kind, 3, _, high, low] = header else { return Reply::NotTls };
    let length = usize::from(u16::from_be_bytes([high, low]));
    // RFC 5246 section 6.2.3
    if length > (1 << 14) + 2048 {
        return Reply::NotTls;
    }
    let mut body = vec![0; length];
    if stream.read_exact(&mut body).await.is_err() {
        return Reply::Refused;
    }
    match kind {
        21 => Reply::Refused,
        22 => server_hello(&body).map_or(Reply::NotTls, |(version, suite)| Reply::Chose { version, suite }),
        _ => Reply::NotTls,
    }
}

/// Version and suite of a ServerHello, RFC 5246 section 7.4.1.3 and RFC 8446 section 4.1.3.
fn server_hello(body: &[u8]) -> Option<(u16, u16)> {
    let [2, _, _, _, version_high, version_low, rest @ ..] = body else { return None };
    let mut version = u16::from_be_bytes([*version_high, *version_low]);
    let after_random = rest.get(32..)?;
    let (session, after) = after_random.split_first()?;
    let after_session = after.get(usize::from(*session)..)?;
    let [suite_high, suite_low, _compression, extensions @ ..] = after_session else { return None };
    let suite = u16::from_be_bytes([*suite_high, *suite_low]);
    let mut left = extensions.get(2..).unwrap_or_default();
    while let [kind_high, kind_low, length_high, length_low, after @ ..] = left {
        let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
        let Some((contents, next)) = after.split_at_checked(length) else { break };
        if let (43, [high, low]) = (u16::from_be_bytes([*kind_high, *kind_low]), contents) {
            version = u16::from_be_bytes([*high, *low]);
        }
        left = next;
    }
    Some((version, suite))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_know_the_groups_by_name() {
        assert_eq!(WEAK.map(|(name, _)| name).as_slice(), crate::baseline::catalogue::WEAK_SUITES);
    }

    #[test]
    fn a_server_hello_is_read() {
        let mut body = vec![2, 0, 0, 46, 3, 3];
        body.extend([7; 32]);
        body.extend([0, 0x13, 0x02, 0, 0, 6, 0, 43, 0, 2, 3, 4]);
        assert_eq!(server_hello(&body), Some((0x0304, 0x1302)));
        for cut in 0..body.len() {
            // never a panic, whatever is missing
            let _ = server_hello(&body[..cut]);
        }
    }

    #[tokio::test]
    async fn an_alert_and_a_close_are_refusals() {
        let (mut near, mut far) = tokio::io::duplex(4096);
        let hello = for_version(0x0301, "dc1.test").unwrap();
        let answer = tokio::spawn(async move {
            let mut seen = vec![0; 5];
            far.read_exact(&mut seen).await.unwrap();
            far.write_all(&[21, 3, 1, 0, 2, 2, 70]).await.unwrap();
            far
        });
        assert_eq!(ask(&mut near, &hello).await, Reply::Refused);
        drop(answer.await);
        let (mut near, far) = tokio::io::duplex(4096);
        drop(far);
        assert_eq!(ask(&mut near, &hello).await, Reply::Refused);
    }
}
