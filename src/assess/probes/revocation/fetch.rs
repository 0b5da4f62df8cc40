//! Fetches one revocation list over http, and nothing else: one request, to an address that may be asked, without redirects,
//! bounded in bytes and time.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_ENCODING, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::assess::address::{Network, is_allowed};
use crate::assess::settings::Lists;

const AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));
/// Longer places are not asked.
const URL_BYTES_MAX: usize = 2_048;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 3;
/// Head of an answer, and its fields.
const HEAD_BYTES_MAX: usize = 16 << 10;
const FIELDS_MAX: usize = 64;

/// Where a list is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
    /// As in a Host field.
    authority: String,
    path: String,
}

/// The bytes at `url`, or why there are none.
pub async fn fetch(url: &str, settings: &Lists) -> Result<Vec<u8>, String> {
    let place = place(url, settings)?;
    timeout(settings.timeout(), get(&place, settings))
        .await
        .map_err(|_| format!("no whole answer within {} seconds", settings.timeout().as_secs()))?
}

fn place(url: &str, settings: &Lists) -> Result<Place, String> {
    if url.len() > URL_BYTES_MAX {
        return Err("its address is too long".to_owned());
    }
    let uri: Uri = url.parse().map_err(|_| "its address is none".to_owned())?;
    let authority = uri.authority().ok_or("its address names no host")?;
    if uri.scheme_str() != Some("http") || authority.as_str().contains('@') {
        return Err("its address is not plain http".to_owned());
    }
    let port = uri.port_u16().unwrap_or(80);
    if !settings.ports.contains(&port) {
        return Err(format!("port {port} is not asked (assess.lists.ports)"));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err("its address names no host".to_owned());
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Ok(Place { host, port, authority: authority.as_str().to_owned(), path })
}

async fn get(place: &Place, settings: &Lists) -> Result<Vec<u8>, String> {
    let stream = connect(place, settings).await?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(FIELDS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // ends with this function
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::get(&place.path)
        .header(HOST, &place.authority)
        .header(USER_AGENT, AGENT)
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    body(answer, settings.bytes).await
}

/// A connection to an address that may be asked. The name is resolved once: what was looked at is what is asked.
async fn connect(place: &Place, settings: &Lists) -> Result<TcpStream, String> {
    let networks: Vec<Network> = settings.networks.iter().filter_map(|text| text.parse().ok()).collect();
    let found: Vec<SocketAddr> = tokio::net::lookup_host((place.host.as_str(), place.port))
        .await
        .map_err(|error| format!("{} has no address: {error}", place.host))?
        .collect();
    let Some(first) = found.first().copied() else {
        return Err(format!("{} has no address", place.host));
    };
    let allowed: Vec<SocketAddr> = found.into_iter().filter(|a| is_allowed(a.ip(), &networks)).collect();
    if allowed.is_empty() {
        return Err(format!("{} is not asked for lists (assess.lists.networks)", first.ip()));
    }
    let mut reason = String::new();
    for address in allowed.into_iter().take(ADDRESSES_MAX) {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => reason = format!("{address} cannot be reached: {error}"),
        }
    }
    Err(reason)
}

async fn body(answer: Response<hyper::body::Incoming>, most: usize) -> Result<Vec<u8>, String> {
    match answer.status() {
        StatusCode::OK => {}
        status if status.is_redirection() => {
            return Err(format!("it answers {}: redirects are not followed", status.as_u16()));
        }
        status => return Err(format!("it answers {}", status.as_u16())),
    }
    if answer.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err("it answers in an encoding that was not asked for".to_owned());
    }
    let mut body = answer.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| error.to_string())?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > most {
            return Err(format!("it is larger than {most} bytes (assess.lists.bytes)"));
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn settings(port: u16) -> Lists {
        Lists {
            seconds: 1,
            bytes: 100_000,
            ports: [port].into(),
            networks: ["127.0.0.0/8".to_owned()].into(),
            ..Lists::default()
        }
    }

    /// Answers every connection with the pieces, a moment between each, and ends it.
    async fn server(pieces: Vec<Vec<u8>>, pause: Duration) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let pieces = pieces.clone();
                tokio::spawn(async move {
                    let mut request = [0; 1_024];
                    let _ = stream.read(&mut request).await;
                    for piece in pieces {
                        if stream.write_all(&piece).await.is_err() {
                            return;
                        }
                        tokio::time::sleep(pause).await;
                    }
                });
            }
        });
        port
    }

    async fn answered(pieces: &[&[u8]], pause: Duration) -> Result<Vec<u8>, String> {
        let port = server(pieces.iter().map(|p| p.to_vec()).collect(), pause).await;
        fetch(&format!("http://127.0.0.1:{port}/a%20list.crl?x=1"), &settings(port)).await
    }

    #[tokio::test]
    async fn a_list_is_fetched() {
        let told = answered(&[b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"], Duration::ZERO).await;
        assert_eq!(told.unwrap(), b"abc");
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        assert_eq!(answered(&[chunked], Duration::ZERO).await.unwrap(), b"abc");
        assert_eq!(answered(&[b"HTTP/1.0 200 OK\r\n\r\nabc"], Duration::ZERO).await.unwrap(), b"abc");
    }

    #[tokio::test]
    async fn what_is_no_answer_is_none() {
        let many = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".repeat(100)].concat();
        let long = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'y'; 40_000], b"\r\n\r\n".to_vec()].concat();
        for (answer, expected) in [
            (
                &b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n"[..],
                "redirects are not followed",
            ),
            (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answers 404"),
            (b"HTTP/1.1 206 Partial\r\nContent-Length: 3\r\n\r\nabc", "answers 206"),
            (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", "encoding"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", ""),
            (b"SSH-2.0-OpenSSH_9.2\r\n", ""),
            (b"", ""),
            (&many, ""),
            (&long, ""),
        ] {
            let reason = answered(&[answer], Duration::ZERO).await.unwrap_err();
            assert!(reason.contains(expected), "{reason} for {expected}");
        }
    }

    #[tokio::test]
    async fn a_body_without_end_ends() {
        let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        let port = server([vec![head], vec![vec![b'x'; 10_000]; 1_000]].concat(), Duration::ZERO).await;
        let reason = fetch(&format!("http://127.0.0.1:{port}/"), &settings(port)).await.unwrap_err();
        assert!(reason.contains("larger than 100000 bytes"), "{reason}");
        let claimed =
            answered(&[b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"], Duration::ZERO).await;
        assert!(claimed.is_err());
    }

    #[tokio::test]
    async fn a_slow_server_does_not_hold_us() {
        let began = Instant::now();
        let head: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
        let drops = [vec![head], vec![&b"x"[..]; 100]].concat();
        let reason = answered(&drops, Duration::from_millis(100)).await.unwrap_err();
        assert!(reason.contains("within 1 seconds"), "{reason}");
        assert!(began.elapsed() < Duration::from_secs(3));
    }

    #[tokio::test]
    async fn only_what_may_be_asked_is_asked() {
        let port =
            server(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc".to_vec()], Duration::ZERO).await;
        let strict = Lists { networks: Default::default(), ..settings(port) };
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"] {
            let reason = fetch(&format!("http://{host}:{port}/"), &strict).await.unwrap_err();
            assert!(
                reason.contains("is not asked for lists") || reason.contains("no address"),
                "{host}: {reason}"
            );
        }
        for (url, expected) in [
            (format!("https://127.0.0.1:{port}/"), "not plain http"),
            (format!("ftp://127.0.0.1:{port}/"), "not plain http"),
            (format!("http://user:word@127.0.0.1:{port}/"), "not plain http"),
            ("http://127.0.0.1/".to_owned(), "port 80 is not asked"),
            ("http://127.0.0.1:22/".to_owned(), "port 22 is not asked"),
            ("file:///etc/passwd".to_owned(), ""),
            ("ldap:///CN=x".to_owned(), ""),
            (format!("http://127.0.0.1:{port}/\r\nX: y"), "is none"),
            (format!("http://127.0.0.1:{port}/{}", "a".repeat(3_000)), "too long"),
        ] {
            let reason = fetch(&url, &settings(port)).await.unwrap_err();
            assert!(reason.contains(expected), "{url}: {reason}");
        }
    }
}
