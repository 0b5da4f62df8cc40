//! One client connection as the engine sees it: identity, unfinished bytes, output, operations in flight.

use std::net::IpAddr;
use std::sync::Arc;

use crate::proxy::engine::proof::Proof;
use crate::release::requester::Requester;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not protected yet: StartTLS and the root entry, nothing else.
    Plain,
    /// The TLS handshake runs.
    Handshake,
    /// Requests are taken.
    Open,
    /// No request is taken any more; what is in `out` still goes out.
    Closing,
}

/// Who is behind a connection after a successful SASL EXTERNAL bind.
#[derive(Debug, Clone)]
pub struct Bound {
    pub requester: Arc<Requester>,
    /// What "Who am I?" answers (RFC 4532): the identity that the client itself showed.
    pub authorization: Box<str>,
}

/// A client connection. Idle, it owns no buffer: `inbound`, `out` and `in_flight` are empty then.
#[derive(Debug)]
pub struct Client {
    /// Different for every connection that this shard ever had.
    pub serial: u64,
    pub address: IpAddr,
    pub phase: Phase,
    /// What its certificate proves, if it showed one.
    pub proof: Option<Box<Proof>>,
    pub bound: Option<Bound>,
    /// The beginning of a message that has not arrived whole.
    pub inbound: Vec<u8>,
    pub out: Vec<u8>,
    /// Keys of the operations in flight.
    pub in_flight: Vec<usize>,
    /// In the list of connections to flush.
    pub dirty: bool,
    /// Something complete is in `out`: it goes out with this turn.
    pub complete: bool,
    /// The socket takes nothing now.
    pub blocked: bool,
    /// Reading was paused because `out` is too long.
    pub paused: bool,
    /// Microseconds; 0 means no entries are held back.
    pub held_since: u64,
    /// When the connection began, or its handshake after StartTLS.
    pub opened: u64,
    /// The last whole message, or the handshake's end.
    pub last_message: u64,
    /// When `inbound` began to wait for the rest.
    pub tail_since: u64,
    /// When the socket last took output while some was waiting.
    pub last_written: u64,
    pub spoke: bool,
}

impl Client {
    pub fn new(serial: u64, address: IpAddr, phase: Phase, now: u64) -> Self {
        Client {
            serial,
            address,
            phase,
            proof: None,
            bound: None,
            inbound: Vec::new(),
            out: Vec::new(),
            in_flight: Vec::new(),
            dirty: false,
            complete: false,
            blocked: false,
            paused: false,
            held_since: 0,
            opened: now,
            last_message: now,
            tail_since: now,
            last_written: now,
            spoke: false,
        }
    }

    /// Whether requests are still taken.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Plain | Phase::Open)
    }
}
