//! The loop of one shard: sockets and time on one side, the engine on the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::{ClientConnection, Connection, ServerConnection};
use zeroize::Zeroize;

use crate::proxy::engine::client::Phase as FirstPhase;
use crate::proxy::engine::core::{Engine, Moment};
use crate::proxy::engine::proof::Proof;
use crate::proxy::engine::wish::Wish;
use crate::proxy::home::question::{Answered, Verdict};
use crate::proxy::home::service as home;
use crate::proxy::shard::resolve::{Resolved, Resolver};
use crate::proxy::shard::shared::{Phase, Shared};
use crate::proxy::shard::stream::{Progress, Stream};
use crate::proxy::snapshot::Endpoint;

/// One read buffer serves all connections of a shard.
const READ_BYTES: usize = 64 * 1024;
const EVENTS: usize = 512;
/// Reads of one connection before others have their turn.
const READS_PER_TURN: usize = 16;
/// Clients accepted before others have their turn.
const ACCEPTS_PER_TURN: usize = 64;

pub const WAKE: Token = Token(0);
const LISTEN_LDAPS: Token = Token(1);
const LISTEN_PLAIN: Token = Token(2);
const UPSTREAM: usize = 3;
const CLIENT: usize = 1 << 32;

/// An upstream connection that is being made or stands.
struct Upstream {
    stream: Stream,
    /// TCP is connected; with TLS the handshake may still run.
    connected: bool,
    opened: bool,
}

/// Where clients come in.
struct Door {
    listener: TcpListener,
    /// How its connections begin.
    first: FirstPhase,
    /// More of them may wait without a new edge.
    more: bool,
}

/// One shard with its sockets.
pub struct Driver {
    poll: Poll,
    engine: Engine,
    shared: Arc<Shared>,
    /// Empty when nothing new is taken any more.
    doors: Vec<Door>,
    clients: Vec<Option<Stream>>,
    upstreams: Vec<Option<Upstream>>,
    resolver: Resolver,
    resolved: Receiver<Resolved>,
    home: home::Service,
    reply: home::Reply,
    answered: Receiver<Answered>,
    audit: SyncSender<Vec<u8>>,
    started: Instant,
    scratch: Vec<u8>,
    plain: Vec<u8>,
    due: Vec<usize>,
    again: Vec<Again>,
}

/// A connection whose reading stopped before its socket was empty: no new edge will come.
#[derive(Clone, Copy)]
enum Again {
    Client(usize),
    Upstream(usize),
}

/// What a driver is made of.
pub struct Parts {
    pub poll: Poll,
    pub engine: Engine,
    pub shared: Arc<Shared>,
    /// LDAPS.
    pub listener: TcpListener,
    /// LDAP with StartTLS, where it is offered.
    pub plain: Option<TcpListener>,
    pub resolver: Resolver,
    pub resolved: Receiver<Resolved>,
    /// Where persons' accounts are asked about, and the way back.
    pub home: home::Service,
    pub reply: home::Reply,
    pub answered: Receiver<Answered>,
    pub audit: SyncSender<Vec<u8>>,
}

impl Driver {
    pub fn new(parts: Parts) -> std::io::Result<Self> {
        let mut doors = Vec::new();
        let ldaps = (Some(parts.listener), LISTEN_LDAPS, FirstPhase::Handshake);
        for (listener, token, first) in [ldaps, (parts.plain, LISTEN_PLAIN, FirstPhase::Plain)] {
            if let Some(mut listener) = listener {
                parts.poll.registry().register(&mut listener, token, Interest::READABLE)?;
                doors.push(Door { listener, first, more: false });
            }
        }
        Ok(Driver {
            poll: parts.poll,
            engine: parts.engine,
            shared: parts.shared,
            doors,
            clients: Vec::new(),
            upstreams: Vec::new(),
            resolver: parts.resolver,
            resolved: parts.resolved,
            home: parts.home,
            reply: parts.reply,
            answered: parts.answered,
            audit: parts.audit,
            started: Instant::now(),
            scratch: vec![0; READ_BYTES],
            plain: Vec::with_capacity(READ_BYTES),
            due: Vec::new(),
            again: Vec::new(),
        })
    }

    /// Runs until it is told to stop. Whatever ends it, audit records that were made are handed over first.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let _ended = Ended(Arc::clone(&self.shared));
        loop {
            let pause = self.shared.settings.bulk_pause_microseconds;
            if self.engine.take_streaming() && pause > 0 {
                std::thread::sleep(Duration::from_micros(pause));
            }
            let timeout = self.timeout();
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "polling failed; the shard ends");
                break;
            }
            let phase = Phase::from_number(self.shared.phase.load(Ordering::Acquire));
            self.turn(&events, phase);
            if !self.hand_over_audit(phase == Phase::Stopping) {
                tracing::error!(
                    "nobody takes the audit records; the shard ends rather than serve without a record"
                );
                break;
            }
            if phase == Phase::Stopping || (phase == Phase::Draining && self.engine.is_drained()) {
                break;
            }
        }
        self.hand_over_audit(true);
    }

    fn timeout(&self) -> Option<Duration> {
        if self.doors.iter().any(|door| door.more) || !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        self.engine.next_wake().map(Duration::from_micros)
    }

    fn moment(&self) -> Moment {
        let microseconds = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        Moment { microseconds, wall: self.shared.clock.now() }
    }

    fn turn(&mut self, events: &Events, phase: Phase) {
        let world = self.shared.world.load_full();
        self.engine.begin(self.moment(), &world.snapshot, &world.gates);
        self.engine.trust(&self.shared.tls.load().verifier);
        if phase != Phase::Serving && !self.doors.is_empty() {
            // Closing the listeners first: another instance may take the addresses over.
            self.doors.clear();
            self.engine.drain();
        }
        let idle = events.is_empty() && self.again.is_empty();
        for again in std::mem::take(&mut self.again) {
            match again {
                Again::Client(key) => self.read_client(key, true),
                Again::Upstream(key) => self.read_upstream(key, true),
            }
        }
        for event in events {
            match event.token() {
                WAKE => {}
                LISTEN_LDAPS => self.knocked(FirstPhase::Handshake),
                LISTEN_PLAIN => self.knocked(FirstPhase::Plain),
                Token(at) if at >= CLIENT => self.client_event(at - CLIENT, event),
                Token(at) => self.upstream_event(at - UPSTREAM, event),
            }
        }
        self.accept();
        while let Ok(resolved) = self.resolved.try_recv() {
            self.connect(resolved.upstream, &resolved.endpoint, resolved.server, resolved.address);
        }
        while let Ok(Answered { client, serial, verdict }) = self.answered.try_recv() {
            self.engine.home_answered(client, serial, verdict);
        }
        self.flush(idle);
        // A wish that cannot be fulfilled makes answers, and those may make wishes.
        while self.fulfil() {
            self.flush(false);
        }
    }

    /// Blocks while the channel is full: no operation without a record. False when nobody listens any more.
    fn hand_over_audit(&mut self, force: bool) -> bool {
        match self.engine.take_audit(force) {
            Some(chunk) => self.audit.send(chunk).is_ok(),
            None => true,
        }
    }

    fn knocked(&mut self, first: FirstPhase) {
        self.doors.iter_mut().filter(|door| door.first == first).for_each(|door| door.more = true);
    }

    fn accept(&mut self) {
        let mut came = Vec::new();
        for door in self.doors.iter_mut().filter(|door| door.more) {
            for _ in 0..ACCEPTS_PER_TURN {
                match door.listener.accept() {
                    Ok((socket, address)) => came.push((socket, address, door.first)),
                    // One that was gone before its turn says nothing about those behind it.
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        if error.kind() != std::io::ErrorKind::WouldBlock {
                            tracing::error!(%error, "clients cannot be accepted");
                        }
                        door.more = false;
                        break;
                    }
                }
            }
        }
        for (socket, address, first) in came {
            let Some(key) = self.engine.client_opened(address.ip(), first) else { continue };
            match self.take_in(socket, key, first) {
                Ok(stream) => put(&mut self.clients, key, stream),
                Err(error) => {
                    tracing::info!(%error, "a client could not be taken in");
                    self.engine.client_refused(key, "not_taken_in");
                }
            }
        }
    }

    fn take_in(&self, mut socket: TcpStream, key: usize, first: FirstPhase) -> std::io::Result<Stream> {
        socket.set_nodelay(true)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(CLIENT + key), both)?;
        let tls = match first {
            FirstPhase::Plain => None,
            _ => Some(self.server_side()?),
        };
        Ok(Stream::new(socket, tls))
    }

    fn server_side(&self) -> std::io::Result<Connection> {
        let tls = ServerConnection::new(Arc::clone(&self.shared.tls.load().config))
            .map_err(std::io::Error::other)?;
        Ok(Connection::Server(tls))
    }

    /// The answer to StartTLS went out: whatever comes now is the handshake.
    fn secure(&mut self, key: usize) {
        if !self.engine.is_securing(key) {
            return;
        }
        let tls = self.server_side();
        match (slot(&mut self.clients, key), tls) {
            (Some(stream), Ok(tls)) => {
                stream.protect(tls);
                self.again.push(Again::Client(key));
            }
            _ => self.engine.client_refused(key, "not_taken_in"),
        }
    }

    fn client_event(&mut self, key: usize, event: &Event) {
        if event.is_writable() && slot(&mut self.clients, key).is_some_and(|stream| stream.blocked) {
            self.write_client(key);
        }
        if event.is_readable() {
            self.read_client(key, event.is_read_closed());
        }
    }

    /// `to_the_end`: the event also said that the peer has ended, so a short read does not mean that nothing follows.
    fn read_client(&mut self, key: usize, to_the_end: bool) {
        for _ in 0..READS_PER_TURN {
            if self.engine.client_paused(key) && !self.handshaking(key) {
                return;
            }
            let Some(stream) = slot(&mut self.clients, key) else { return };
            let was_handshaking = stream.is_handshaking();
            let progress = stream.read(&mut self.scratch, &mut self.plain);
            let secured = was_handshaking && !stream.is_handshaking();
            let proof = if secured { proof(stream, &self.shared) } else { Ok(None) };
            let wants_write = stream.wants_write();
            if secured {
                match proof {
                    Ok(proof) => self.engine.client_secured(key, proof),
                    Err(()) => return self.engine.client_refused(key, "certificate"),
                }
            }
            if !self.plain.is_empty() {
                self.engine.client_bytes(key, &self.plain);
                if self.engine.take_wipe() {
                    self.plain.zeroize();
                }
            }
            if wants_write {
                self.write_client(key);
            }
            match progress {
                Ok(Progress::More) => {}
                Ok(Progress::Short) if to_the_end => {}
                Ok(Progress::Short | Progress::Drained) => return,
                Ok(Progress::Ended) => return self.engine.client_ended(key),
                Err(error) => return self.client_failed(key, &error),
            }
        }
        self.again.push(Again::Client(key));
    }

    /// A connection that cannot go on leaves a trace; what TLS does not take is refused by us and counted so.
    fn client_failed(&mut self, key: usize, error: &std::io::Error) {
        tracing::debug!(%error, "a client's connection failed");
        match error.raw_os_error() {
            None => self.engine.client_refused(key, "tls"),
            Some(_) => self.engine.client_ended(key),
        }
    }

    fn handshaking(&mut self, key: usize) -> bool {
        slot(&mut self.clients, key).is_some_and(|stream| stream.is_handshaking())
    }

    fn write_client(&mut self, key: usize) {
        let result_at = self.engine.client_result_at(key);
        let (Some(stream), Some(out)) = (slot(&mut self.clients, key), self.engine.client_output(key)) else {
            return;
        };
        match stream.write(out, result_at) {
            Ok(taken) => {
                let blocked = stream.blocked;
                self.engine.client_written(key, taken, blocked);
            }
            Err(error) => self.client_failed(key, &error),
        }
    }

    fn upstream_event(&mut self, key: usize, event: &Event) {
        let Some(upstream) = slot(&mut self.upstreams, key) else { return };
        if !upstream.connected {
            if !event.is_writable() && !event.is_error() {
                return;
            }
            let failed = event.is_error() || !matches!(upstream.stream.socket.take_error(), Ok(None));
            if failed || upstream.stream.socket.peer_addr().is_err() {
                return self.engine.upstream_ended(key);
            }
            upstream.connected = true;
            self.advance_upstream(key);
            // Whoever speaks first, or ends at once, may have done so already: no new edge will tell.
        } else if event.is_writable() && upstream.stream.blocked {
            self.write_upstream(key);
        }
        if event.is_readable() {
            self.read_upstream(key, event.is_read_closed());
        }
    }

    /// After progress on a new connection: tells the engine once it is usable, and sends what TLS wants to send.
    fn advance_upstream(&mut self, key: usize) {
        let Some(upstream) = slot(&mut self.upstreams, key) else { return };
        if !upstream.opened && !upstream.stream.is_handshaking() {
            upstream.opened = true;
            self.engine.upstream_opened(key);
        }
        self.write_upstream(key);
    }

    fn read_upstream(&mut self, key: usize, to_the_end: bool) {
        for _ in 0..READS_PER_TURN {
            if self.engine.upstream_paused(key) {
                return;
            }
            let Some(upstream) = slot(&mut self.upstreams, key) else { return };
            let progress = upstream.stream.read(&mut self.scratch, &mut self.plain);
            if !upstream.opened || upstream.stream.wants_write() {
                self.advance_upstream(key);
            }
            if !self.plain.is_empty() {
                self.engine.upstream_bytes(key, &self.plain);
            }
            match progress {
                Ok(Progress::More) => {}
                Ok(Progress::Short) if to_the_end => {}
                Ok(Progress::Short | Progress::Drained) => return,
                Ok(Progress::Ended) => return self.engine.upstream_ended(key),
                Err(error) => {
                    tracing::info!(%error, "reading from a directory behind failed");
                    return self.engine.upstream_ended(key);
                }
            }
        }
        self.again.push(Again::Upstream(key));
    }

    fn write_upstream(&mut self, key: usize) {
        let (Some(upstream), Some(out)) = (slot(&mut self.upstreams, key), self.engine.upstream_output(key))
        else {
            return;
        };
        if !upstream.connected {
            return;
        }
        match upstream.stream.write(out, 0) {
            Ok(_) => {
                let blocked = upstream.stream.blocked;
                self.engine.upstream_written(key, blocked);
            }
            Err(_) => self.engine.upstream_ended(key),
        }
    }

    /// One write per connection and turn; directories first, so that they begin to work.
    fn flush(&mut self, idle: bool) {
        let mut due = std::mem::take(&mut self.due);
        self.engine.due_upstreams(&mut due);
        for key in &due {
            if slot(&mut self.upstreams, *key).is_some_and(|upstream| !upstream.stream.blocked) {
                self.write_upstream(*key);
            }
        }
        self.engine.due_clients(idle, &mut due);
        for key in &due {
            if slot(&mut self.clients, *key).is_some_and(|stream| !stream.blocked) {
                self.write_client(*key);
            }
        }
        self.due = due;
    }

    fn fulfil(&mut self) -> bool {
        let wishes = self.engine.take_wishes();
        let any = !wishes.is_empty();
        for wish in wishes {
            match wish {
                Wish::Dial { upstream, endpoint, server } => self.dial(upstream, endpoint, server),
                Wish::Secure { client } => self.secure(client),
                Wish::CloseClient { client } => {
                    // What was said goes out before the goodbye.
                    self.write_client(client);
                    if let Some(stream) = slot(&mut self.clients, client) {
                        stream.close_notify();
                    }
                    self.write_client(client);
                    self.close_client(client);
                }
                Wish::CloseUpstream { upstream } => {
                    if let Some(Some(mut open)) = self.upstreams.get_mut(upstream).map(Option::take) {
                        let _ = self.poll.registry().deregister(&mut open.stream.socket);
                    }
                    self.engine.forget_upstream(upstream);
                }
                Wish::AskHome { client, serial, question } => {
                    let asked =
                        home::Asked { client, serial, question: *question, reply: self.reply.clone() };
                    if !self.home.ask(asked) {
                        self.engine.home_answered(client, serial, Verdict::Unavailable);
                    }
                }
                Wish::ReadClient { client } => self.again.push(Again::Client(client)),
                Wish::ReadUpstream { upstream } => self.again.push(Again::Upstream(upstream)),
            }
        }
        any
    }

    fn close_client(&mut self, key: usize) {
        if let Some(Some(mut stream)) = self.clients.get_mut(key).map(Option::take) {
            let _ = self.poll.registry().deregister(&mut stream.socket);
        }
        self.engine.forget_client(key);
    }

    fn dial(&mut self, upstream: usize, endpoint: Arc<Endpoint>, server: usize) {
        let Some(at) = endpoint.servers.get(server) else { return self.engine.upstream_ended(upstream) };
        match at.address.parse::<SocketAddr>() {
            Ok(address) => self.connect(upstream, &endpoint, server, Some(address)),
            Err(_) => {
                if !self.resolver.ask(upstream, endpoint, server) {
                    self.engine.upstream_ended(upstream);
                }
            }
        }
    }

    fn connect(&mut self, key: usize, endpoint: &Arc<Endpoint>, server: usize, address: Option<SocketAddr>) {
        // A name that took long to resolve: the engine may have given up meanwhile, and the key be another's.
        if !self.engine.is_dialling(key, endpoint) || slot(&mut self.upstreams, key).is_some() {
            return;
        }
        let tls = endpoint.servers.get(server).and_then(|server| server.tls.clone());
        let made =
            address.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound)).and_then(|address| {
                let mut socket = TcpStream::connect(address)?;
                socket.set_nodelay(true)?;
                let both = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut socket, Token(UPSTREAM + key), both)?;
                let tls = match tls {
                    Some(tls) => {
                        let tls =
                            ClientConnection::new(tls.config, tls.name).map_err(std::io::Error::other)?;
                        Some(Connection::Client(tls))
                    }
                    None => None,
                };
                Ok(Stream::new(socket, tls))
            });
        match made {
            Ok(stream) => put(&mut self.upstreams, key, Upstream { stream, connected: false, opened: false }),
            Err(error) => {
                tracing::info!(%error, "a directory behind cannot be dialled");
                self.engine.upstream_ended(key);
            }
        }
    }
}

/// Counts the shard out, however it ends.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

fn slot<T>(list: &mut [Option<T>], key: usize) -> Option<&mut T> {
    list.get_mut(key).and_then(Option::as_mut)
}

fn put<T>(list: &mut Vec<Option<T>>, key: usize, value: T) {
    if list.len() <= key {
        list.resize_with(key + 1, || None);
    }
    if let Some(place) = list.get_mut(key) {
        *place = Some(value);
    }
}

/// What the client's certificate proves, by the newest lists; an error when there is one that proves nothing.
fn proof(stream: &Stream, shared: &Shared) -> Result<Option<Proof>, ()> {
    let Some(chain) = stream.tls.as_ref().and_then(|tls| tls.peer_certificates()) else { return Ok(None) };
    if chain.is_empty() {
        return Ok(None);
    }
    let owned = chain.iter().map(|der| der.clone().into_owned()).collect();
    Proof::check(owned, &shared.tls.load().verifier, shared.clock.now()).map(Some).map_err(
        |error| tracing::info!(%error, "a client certificate was taken in the handshake and is refused now"),
    )
}
