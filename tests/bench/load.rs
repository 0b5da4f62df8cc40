//! The load: TLS connections that keep so many requests in flight, or a connection for each search; every answer is
//! checked.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::lab::{Bind, Lab, PER_DEPARTMENT, Peer};
use crate::wire::{self, BIND_DONE, Inbox, SEARCH_DONE, SEARCH_ENTRY};

/// What is asked, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A search below the people that finds one.
    Single,
    /// A read of one entry by its name.
    Base,
    /// A search that finds a hundred.
    List,
    /// Connect, TLS, bind, a search that finds one, unbind.
    Session,
}

#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub work: Work,
    pub connections: usize,
    /// Requests in flight on each connection.
    pub depth: usize,
    pub duration: Duration,
    pub entries: usize,
}

#[derive(Default)]
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

pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Connects and binds everything first, then begins on all connections at once.
pub fn run(lab: &Lab, peer: &Peer, shape: &Shape) -> Result<Outcome, String> {
    let mut streams = Vec::new();
    for _ in 0..shape.connections {
        let stream = match shape.work {
            Work::Session => None,
            _ => Some(connect(lab, peer).map_err(|e| format!("connecting: {e}"))?),
        };
        streams.push(stream);
    }
    let end = Instant::now() + shape.duration;
    let latencies: Result<Vec<Vec<u32>>, String> = std::thread::scope(|scope| {
        let worker = |(at, stream): (usize, Option<Stream>)| {
            let mut questions = Questions { peer, shape: *shape, n: at * 7919, id: 1 };
            scope.spawn(move || match stream {
                Some(stream) => keep_asking(stream, &mut questions, end),
                None => sessions(lab, peer, &mut questions, end),
            })
        };
        let workers: Vec<_> = streams.into_iter().enumerate().map(worker).collect();
        let ended = |worker: ScopedJoinHandle<'_, io::Result<Vec<u32>>>| match worker.join() {
            Ok(result) => result.map_err(|e| e.to_string()),
            Err(_) => Err("a worker died".to_owned()),
        };
        workers.into_iter().map(ended).collect()
    });
    let mut latencies_us = latencies?.concat();
    latencies_us.sort_unstable();
    Ok(Outcome { operations: latencies_us.len(), latencies_us })
}

/// Connects with TLS and binds.
pub fn connect(lab: &Lab, peer: &Peer) -> io::Result<Stream> {
    let tcp = TcpStream::connect(peer.address)?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
    let config = match peer.certificate {
        true => Arc::clone(&lab.client_with_certificate),
        false => Arc::clone(&lab.client),
    };
    let name = ServerName::IpAddress(peer.address.ip().into());
    let mut stream = StreamOwned::new(ClientConnection::new(config, name).map_err(io::Error::other)?, tcp);
    let simple = matches!(peer.bind, Bind::Simple).then_some((lab.bind_dn.as_str(), lab.password.as_str()));
    stream.write_all(&wire::bind(1, simple))?;
    let mut inbox = Inbox::default();
    loop {
        match inbox.next()? {
            Some(heard) if heard.tag == BIND_DONE && heard.code == 0 => return Ok(stream),
            Some(heard) => return Err(io::Error::other(format!("the bind was answered with {heard:?}"))),
            None => receive(&mut stream, &mut inbox)?,
        }
    }
}

fn receive(stream: &mut Stream, inbox: &mut Inbox) -> io::Result<()> {
    let mut piece = [0; 16 * 1024];
    match stream.read(&mut piece)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => {
            inbox.add(&piece[..n]);
            Ok(())
        }
    }
}

/// What one connection asks, one after the other.
struct Questions<'a> {
    peer: &'a Peer,
    shape: Shape,
    n: usize,
    id: u32,
}

impl Questions<'_> {
    fn next(&mut self) -> Vec<u8> {
        self.n = (self.n * 25_173 + 13_849) % self.shape.entries;
        self.id += 1;
        let (base, n) = (&self.peer.base, self.n);
        match self.shape.work {
            Work::Single | Work::Session => {
                wire::search(self.id, base, 2, Some(("uid", &format!("n{n:07}"))))
            }
            Work::Base => wire::search(self.id, &format!("uid=n{n:07},{base}"), 0, None),
            Work::List => {
                let department = (n / PER_DEPARTMENT).to_string();
                wire::search(self.id, base, 2, Some(("departmentNumber", &department)))
            }
        }
    }

    const fn found(&self) -> usize {
        match self.shape.work {
            Work::List => PER_DEPARTMENT,
            _ => 1,
        }
    }
}

/// A request on its way.
struct Open {
    id: u32,
    since: Instant,
    found: usize,
}

fn keep_asking(mut stream: Stream, questions: &mut Questions<'_>, end: Instant) -> io::Result<Vec<u32>> {
    let mut latencies = Vec::with_capacity(100_000);
    let mut inbox = Inbox::default();
    let mut open: Vec<Open> = Vec::new();
    loop {
        let now = Instant::now();
        let mut out = Vec::new();
        while now < end && open.len() < questions.shape.depth {
            out.extend_from_slice(&questions.next());
            open.push(Open { id: questions.id, since: now, found: 0 });
        }
        if open.is_empty() {
            return Ok(latencies);
        }
        if !out.is_empty() {
            stream.write_all(&out)?;
        }
        let before = open.len();
        while open.len() == before {
            while let Some(heard) = inbox.next()? {
                settle(heard, &mut open, questions, &mut latencies)?;
            }
            if open.len() == before {
                receive(&mut stream, &mut inbox)?;
            }
        }
    }
}

fn settle(
    heard: wire::Heard,
    open: &mut Vec<Open>,
    questions: &Questions<'_>,
    latencies: &mut Vec<u32>,
) -> io::Result<()> {
    let Some(at) = open.iter().position(|open| open.id == heard.id) else {
        return Err(io::Error::other(format!("nobody asked for {heard:?}")));
    };
    match heard.tag {
        SEARCH_ENTRY => open[at].found += 1,
        SEARCH_DONE => {
            let done = open.swap_remove(at);
            if heard.code != 0 || done.found != questions.found() {
                let (code, found) = (heard.code, done.found);
                return Err(io::Error::other(format!("a search ended with code {code} and {found} entries")));
            }
            latencies.push(u32::try_from(done.since.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
        _ => return Err(io::Error::other(format!("no answer to a search: {heard:?}"))),
    }
    Ok(())
}

fn sessions(lab: &Lab, peer: &Peer, questions: &mut Questions<'_>, end: Instant) -> io::Result<Vec<u32>> {
    let mut latencies = Vec::new();
    while Instant::now() < end {
        let since = Instant::now();
        let mut stream = connect(lab, peer)?;
        stream.write_all(&questions.next())?;
        let (mut inbox, mut open) = (Inbox::default(), vec![Open { id: questions.id, since, found: 0 }]);
        while !open.is_empty() {
            receive(&mut stream, &mut inbox)?;
            while let Some(heard) = inbox.next()? {
                settle(heard, &mut open, questions, &mut latencies)?;
            }
        }
        stream.write_all(&wire::unbind(questions.id + 1))?;
    }
    Ok(latencies)
}

/// Clients that ask for every entry and read nothing of the answer, until told to stop.
pub fn ask_and_never_read(lab: &Lab, peer: &Peer, clients: usize, stop: &AtomicBool) -> Result<(), String> {
    let mut streams = Vec::new();
    for _ in 0..clients {
        let mut stream = connect(lab, peer).map_err(|e| format!("connecting: {e}"))?;
        let everything = wire::search(2, &peer.base, 2, None);
        stream.write_all(&everything).map_err(|e| e.to_string())?;
        streams.push(stream);
    }
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
