//! A domain controller that does whatever a test scripts, over TLS or beside it, byte by byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use portcullis::ldap::ber;
use portcullis::ldap::codec;
use portcullis::ldap::control::Control;
use portcullis::ldap::entry::{Attribute, Entry};
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{BindOutcome, Message, Operation, Outcome, ResultCode};
use portcullis::ldap::typed_control::{PagedResults, value_of};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::front_gateway::{AUTHORITY, Leaf, Names};
use crate::front_stage::{LOCAL, person};

/// What a controller does with a connection, from its first byte on.
pub type Play = dyn Fn(TcpStream) + Send + Sync;
/// What it does with a search, when it is well-behaved otherwise; false closes the connection.
pub type Script = dyn Fn(&mut Wire, &Request) -> bool + Send + Sync;

/// A controller; it listens until the tests end.
pub struct Controller {
    pub address: SocketAddr,
    /// Connections that it ever took.
    pub accepted: Arc<AtomicUsize>,
}

impl Controller {
    pub fn new(play: Arc<Play>) -> Controller {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let controller = Controller { address: listener.local_addr().unwrap(), accepted: Arc::default() };
        let accepted = Arc::clone(&controller.accepted);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                accepted.fetch_add(1, Ordering::Relaxed);
                let play = Arc::clone(&play);
                std::thread::spawn(move || play(stream));
            }
        });
        controller
    }
}

/// TLS as a server with this certificate.
pub fn tls(leaf: &Leaf) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.certificate.clone()], leaf.key())
        .unwrap();
    Arc::new(config)
}

static GOOD: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| tls(&AUTHORITY.leaf(Names::default())));

/// A request of the gateway.
#[derive(Debug, Clone)]
pub struct Request {
    pub id: i32,
    pub asked: Asked,
}

#[derive(Debug, Clone)]
pub enum Asked {
    Bind,
    /// The root entry: whether we live.
    Probe,
    Search {
        filter: String,
        page: Option<PagedResults>,
    },
    Other,
}

impl Request {
    pub fn cookie(&self) -> &[u8] {
        match &self.asked {
            Asked::Search { page: Some(page), .. } => &page.cookie,
            _ => &[],
        }
    }

    /// Whether the filter has this word.
    pub fn asks_for(&self, word: &str) -> bool {
        matches!(&self.asked, Asked::Search { filter, .. } if filter.contains(word))
    }
}

/// A connection of the gateway, decrypted.
pub struct Wire {
    pub stream: StreamOwned<ServerConnection, TcpStream>,
    buffer: Vec<u8>,
}

impl Wire {
    /// Shakes hands; None when the other side does not want to.
    pub fn accept(mut tcp: TcpStream, config: &Arc<ServerConfig>) -> Option<Wire> {
        tcp.set_nodelay(true).ok()?;
        let mut connection = ServerConnection::new(Arc::clone(config)).ok()?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp).ok()?;
        }
        Some(Wire { stream: StreamOwned::new(connection, tcp), buffer: Vec::new() })
    }

    /// Sends bytes as they are; false when nobody takes them any more.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).is_ok()
    }

    pub fn say(&mut self, id: i32, operation: Operation<'_>) -> bool {
        self.send(&bytes(id, operation))
    }

    /// The next request; None when the connection ended.
    pub fn request(&mut self) -> Option<Request> {
        let limits = Limits { message_bytes: 4 << 20, ..Limits::default() };
        let mut piece = [0; 16 * 1024];
        loop {
            if let Some(length) = codec::frame(&self.buffer, &limits).expect("the gateway frames well") {
                let bytes: Vec<u8> = self.buffer.drain(..length).collect();
                let message = codec::decode(&bytes, &limits).expect("the gateway sends only good LDAP");
                return Some(read(&message));
            }
            match self.stream.read(&mut piece) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.buffer.extend_from_slice(&piece[..count]),
            }
        }
    }
}

fn read(message: &Message<'_>) -> Request {
    let asked = match &message.operation {
        Operation::BindRequest(_) => Asked::Bind,
        Operation::SearchRequest(search) if search.base.is_empty() => Asked::Probe,
        Operation::SearchRequest(search) => Asked::Search {
            filter: search.filter.to_string(),
            page: value_of(&message.controls, PagedResults::OID)
                .map(|value| PagedResults::read(value.unwrap()).unwrap()),
        },
        _ => Asked::Other,
    };
    Request { id: message.id, asked }
}

pub fn bytes(id: i32, operation: Operation<'_>) -> Vec<u8> {
    codec::to_bytes(&Message::new(id, operation))
}

pub fn with_controls(id: i32, operation: Operation<'_>, controls: Vec<Control<'static>>) -> Vec<u8> {
    codec::to_bytes(&Message { id, operation, controls })
}

pub fn entry(id: i32, n: usize) -> Vec<u8> {
    bytes(id, Operation::SearchEntry(person(n).as_wire()))
}

/// Person number `n` as an entry that has this name.
pub fn named(id: i32, dn: &str) -> Vec<u8> {
    bytes(id, Operation::SearchEntry(Entry { dn: dn.to_owned(), ..person(1) }.as_wire()))
}

/// An entry with one attribute more.
pub fn with_attribute(id: i32, description: &str, values: Vec<Vec<u8>>) -> Vec<u8> {
    let mut person = person(1);
    person.attributes.retain(|attribute| !attribute.description.eq_ignore_ascii_case(description));
    person.attributes.push(Attribute { description: description.to_owned(), values });
    bytes(id, Operation::SearchEntry(person.as_wire()))
}

pub fn done(id: i32, code: ResultCode) -> Vec<u8> {
    bytes(id, result(code))
}

pub fn result(code: ResultCode) -> Operation<'static> {
    Operation::SearchDone(Outcome::new(code, "DSID-1234 secret.internal.test"))
}

/// A whole message of the element `operation`.
pub fn message(id: i32, operation: &[u8]) -> Vec<u8> {
    let mut contents = Vec::new();
    ber::put_int(&mut contents, ber::INTEGER, id);
    contents.extend_from_slice(operation);
    element(ber::SEQUENCE, &contents)
}

pub fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ber::put_octets(&mut out, tag, contents);
    out
}

/// Elements inside one another.
pub fn nested(tag: u8, levels: usize) -> Vec<u8> {
    // From the inside out every header is longer than the last one, so it is written backwards.
    let mut reversed: Vec<u8> = Vec::new();
    for _ in 0..levels {
        let length = u32::try_from(reversed.len()).unwrap().to_be_bytes();
        reversed.extend(length.iter().rev());
        reversed.extend([0x84, tag]);
    }
    reversed.reverse();
    reversed
}

/// Plays LDAP as it should be, but for what `script` does with searches.
pub fn ldap(script: Arc<Script>) -> Arc<Play> {
    Arc::new(move |tcp| {
        if let Some(mut wire) = Wire::accept(tcp, &GOOD) {
            converse(&mut wire, script.as_ref());
        }
    })
}

/// The same for one connection that is secured already.
pub fn converse(wire: &mut Wire, script: &Script) {
    while let Some(request) = wire.request() {
        let goes_on = match &request.asked {
            Asked::Bind => wire.say(request.id, Operation::BindResponse(BindOutcome::default())),
            Asked::Probe => wire.send(&done(request.id, ResultCode::SUCCESS)),
            Asked::Search { .. } => script(wire, &request),
            Asked::Other => true,
        };
        if !goes_on {
            return;
        }
    }
}

/// Binds everybody, says nothing to searches, and answers probes like this.
pub fn probe(answer: fn(&mut Wire, i32) -> bool) -> Arc<Play> {
    Arc::new(move |tcp| {
        let Some(mut wire) = Wire::accept(tcp, &GOOD) else { return };
        while let Some(request) = wire.request() {
            let goes_on = match request.asked {
                Asked::Bind => wire.say(request.id, Operation::BindResponse(BindOutcome::default())),
                Asked::Probe => answer(&mut wire, request.id),
                _ => true,
            };
            if !goes_on {
                return;
            }
        }
    })
}

/// The usual certificate.
pub fn good() -> &'static Arc<ServerConfig> {
    &GOOD
}

/// Answers every search with `count` persons.
pub fn persons(count: usize) -> Arc<Play> {
    ldap(Arc::new(move |wire, request| {
        let mut all: Vec<u8> = (1..=count).flat_map(|n| entry(request.id, n)).collect();
        all.extend(done(request.id, ResultCode::SUCCESS));
        wire.send(&all)
    }))
}

/// Where all persons are.
pub fn people() -> String {
    format!("ou=people,{LOCAL}")
}
