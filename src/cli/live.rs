//! What the running gateway says of itself: the store holds what it recorded last, and it cannot record that it closed every
//! gate when recording is what fails.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde::Serialize;

use crate::store::record::GateRecord;

/// For connecting, and for each read and write. It is on this machine or beside it, and its answer needs no work.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// How the gateway stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "gateway", rename_all = "lowercase")]
pub enum Live {
    /// It records: what is recorded is what it does.
    Ready { address: SocketAddr },
    /// It runs, and lets nothing through.
    Closed { address: SocketAddr, reasons: Vec<String> },
    /// No gateway answers: nothing passes.
    Absent { address: SocketAddr, reasons: Vec<String> },
}

impl Live {
    /// Asks the gateway that listens on `address` (its `listen.metrics`).
    pub fn ask(address: SocketAddr) -> Live {
        let absent = |reason: String| Live::Absent { address, reasons: vec![reason] };
        match get(address) {
            Err(error) => absent(error.to_string()),
            Ok(answer) => match read(&answer) {
                Some(reasons) if reasons.is_empty() => Live::Ready { address },
                Some(reasons) => Live::Closed { address, reasons },
                None => absent("what answers there is no gateway".to_owned()),
            },
        }
    }

    /// Whether what is recorded holds.
    pub fn is_ready(&self) -> bool {
        matches!(self, Live::Ready { .. })
    }

    /// Why nothing passes now, and what to do; none when the gateway is ready.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Live::Ready { .. } => None,
            Live::Closed { address, reasons } => Some(format!(
                "EVERY GATE IS CLOSED NOW: the gateway on {address} is not ready: {}",
                reasons.join("; ")
            )),
            Live::Absent { address, reasons } => Some(format!(
                "NOTHING PASSES NOW: no gateway answers on {address} (`listen.metrics`): {}; start the gateway: \
                 portcullis serve",
                reasons.join("; ")
            )),
        }
    }
}

/// Recorded gates under how the gateway stands now.
#[derive(Debug, Serialize)]
pub struct Gates {
    pub live: Live,
    /// As recorded last.
    pub gates: Vec<GateRecord>,
}

impl Gates {
    /// `text` of the gates, below what makes them void, if anything does.
    pub fn text(&self, text: impl FnOnce(&[GateRecord]) -> String) -> String {
        let below = text(&self.gates);
        match self.live.trouble() {
            None => below,
            Some(trouble) => format!("{trouble}\nwhat follows was recorded last:\n{below}"),
        }
    }
}

/// An address that listens on every interface is asked on the loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn get(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&reachable(address), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // in one write, or an answer that comes early ends the connection below the rest
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The reasons of a gateway that is not ready, none when it is; nothing for an answer that no gateway gives.
fn read(answer: &str) -> Option<Vec<String>> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let lines = || body.lines().map(str::trim).filter(|line| !line.is_empty());
    match head.split_whitespace().nth(1)? {
        "200" if body.trim() == "ready" => Some(Vec::new()),
        "503" if lines().next().is_some() => Some(lines().map(str::to_owned).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_of_a_gateway_counts() {
        assert_eq!(read("HTTP/1.1 200 OK\r\na: b\r\n\r\nready\n"), Some(vec![]));
        assert_eq!(read("HTTP/1.1 503 No\r\n\r\nstore: full\naudit: gone\n").map(|r| r.len()), Some(2));
        for text in
            ["HTTP/1.1 200 OK\r\n\r\nwelcome", "HTTP/1.1 503 No\r\n\r\n", "HTTP/1.1 404 No\r\n\r\nx", ""]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
