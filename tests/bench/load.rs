//! The load: connections with one request in flight each, over TLS, every answer checked.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::lab::{Bind, Lab, Peer};

pub struct Shape {
    pub connections: usize,
    pub duration: Duration,
    pub entries: usize,
}

pub struct Outcome {
    pub operations: usize,
    latencies_us: Vec<u32>,
}

impl Outcome {
    pub fn percentile_us(&self, percent: usize) -> f64 {
        let at = self.latencies_us.len() * percent / 100;
        self.latencies_us.get(at).copied().map_or(f64::NAN, f64::from)
    }
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Connects and binds everything first, then begins on all connections at once.
pub fn run(lab: &Lab, peer: &Peer, shape: &Shape) -> Result<Outcome, String> {
    let mut streams = Vec::new();
    for _ in 0..shape.connections {
        streams.push(connect(lab, peer).map_err(|e| format!("connecting: {e}"))?);
    }
    let end = Instant::now() + shape.duration;
    let base = peer.base.clone();
    let workers: Vec<_> = streams
        .into_iter()
        .enumerate()
        .map(|(i, stream)| {
            let (base, entries) = (base.clone(), shape.entries);
            std::thread::spawn(move || worker(stream, &base, i * 7919, entries, end))
        })
        .collect();
    let mut latencies_us = Vec::new();
    for worker in workers {
        latencies_us.extend(worker.join().map_err(|_| "a worker died".to_owned())??);
    }
    latencies_us.sort_unstable();
    Ok(Outcome { operations: latencies_us.len(), latencies_us })
}

fn connect(lab: &Lab, peer: &Peer) -> io::Result<Stream> {
    let tcp = TcpStream::connect(peer.address)?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
    let config = match peer.bind {
        Bind::External => Arc::clone(&lab.client_with_certificate),
        Bind::Simple => Arc::clone(&lab.client),
    };
    let name = ServerName::IpAddress(peer.address.ip().into());
    let mut stream = StreamOwned::new(ClientConnection::new(config, name).map_err(io::Error::other)?, tcp);
    let authentication = match peer.bind {
        Bind::Simple => element(0x80, lab.password.as_bytes()),
        Bind::External => element(0xa3, &element(4, b"EXTERNAL")),
    };
    let dn = if matches!(peer.bind, Bind::Simple) { lab.bind_dn.as_str() } else { "" };
    let request = element(0x60, &[element(2, &[3]), element(4, dn.as_bytes()), authentication].concat());
    stream.write_all(&message(1, &request))?;
    let mut buffer = Vec::new();
    let (_, code) = answer(&mut stream, &mut buffer, 0x61)?;
    if code != 0 {
        return Err(io::Error::other(format!("bind answered {code}")));
    }
    Ok(stream)
}

fn worker(
    mut stream: Stream,
    base: &str,
    seed: usize,
    entries: usize,
    end: Instant,
) -> Result<Vec<u32>, String> {
    let mut latencies = Vec::with_capacity(100_000);
    let mut buffer = Vec::with_capacity(1 << 16);
    let mut n = seed;
    let mut id = 1;
    while Instant::now() < end {
        n = (n * 25_173 + 13_849) % entries;
        id += 1;
        let begin = Instant::now();
        stream.write_all(&search(id, base, n)).map_err(|e| e.to_string())?;
        let (found, code) = answer(&mut stream, &mut buffer, 0x65).map_err(|e| e.to_string())?;
        if code != 0 || found != 1 {
            return Err(format!("a search answered code {code} with {found} entries instead of 0 with 1"));
        }
        latencies.push(u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    Ok(latencies)
}

/// Reads messages until the one with `last` as operation tag; returns how many entries came and the result code.
fn answer(stream: &mut Stream, buffer: &mut Vec<u8>, last: u8) -> io::Result<(usize, u8)> {
    let mut found = 0;
    loop {
        while let Some((length, tag, code)) = parse(buffer) {
            buffer.drain(..length);
            if tag == 0x64 {
                found += 1;
            }
            if tag == last {
                return Ok((found, code));
            }
        }
        let mut piece = [0; 16 * 1024];
        let n = stream.read(&mut piece)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.extend_from_slice(&piece[..n]);
    }
}

/// Length of the first whole message, the tag of its operation, and the result code (if it is a result).
fn parse(bytes: &[u8]) -> Option<(usize, u8, u8)> {
    let (header, length) = header(bytes)?;
    let whole = header + length;
    let body = bytes.get(header..whole)?;
    let (id_header, id_length) = self::header(body)?;
    let operation = body.get(id_header + id_length..)?;
    let (operation_header, _) = self::header(operation)?;
    let code = operation.get(operation_header + 2).copied().unwrap_or(255);
    Some((whole, *operation.first()?, code))
}

/// Size of the tag and length octets, and the length.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = *bytes.get(1)?;
    if first < 0x80 {
        return Some((2, usize::from(first)));
    }
    let n = usize::from(first & 0x7f);
    let length = bytes.get(2..2 + n)?.iter().fold(0, |sum, b| sum << 8 | usize::from(*b));
    Some((2 + n, length))
}

fn search(id: u32, base: &str, n: usize) -> Vec<u8> {
    let filter = element(0xa3, &[element(4, b"uid"), element(4, format!("n{n:07}").as_bytes())].concat());
    let attributes = element(0x30, &[]);
    let parts = [
        element(4, base.as_bytes()),
        element(10, &[2]),
        element(10, &[0]),
        element(2, &[0]),
        element(2, &[0]),
        element(1, &[0]),
        filter,
        attributes,
    ];
    message(id, &element(0x63, &parts.concat()))
}

fn message(id: u32, operation: &[u8]) -> Vec<u8> {
    let bytes = id.to_be_bytes();
    let skip = bytes.iter().take(3).take_while(|b| **b == 0).count();
    let mut number = bytes[skip..].to_vec();
    if number.first().is_some_and(|b| *b >= 0x80) {
        number.insert(0, 0);
    }
    element(0x30, &[element(2, &number), operation.to_vec()].concat())
}

fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match contents.len() {
        n @ 0..=0x7f => out.push(n as u8),
        n => {
            out.push(0x82);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(contents);
    out
}
