//! One client connection as the engine sees it: identity, unfinished bytes, output, operations in flight.

use std::net::IpAddr;
use std::sync::Arc;

use crate::proxy::engine::proof::Proof;
use crate::proxy::requesters::{Home, Identified};
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

/// Who is behind a connection after a successful bind.
#[derive(Debug, Clone)]
pub struct Bound {
    pub requester: Arc<Requester>,
    /// What "Who am I?" answers (RFC 4532): the identity that the client itself showed.
    pub authorization: Box<str>,
    /// The account of a person that home is asked about; None for others, and when accounts are not checked.
    pub home: Option<Arc<Home>>,
    pub recheck: Recheck,
}

/// A bind whose answer waits for a word from home. Nothing that comes after it is read until then.
#[derive(Debug)]
pub struct Binding {
    /// The message id of its request.
    pub id: i32,
    pub serial: u64,
    /// Microseconds.
    pub since: u64,
    pub mechanism: &'static str,
    /// Whom the client is to be bound as; None when it is refused already.
    pub who: Option<Identified>,
    /// The answer is no; it only waits for its time.
    pub refused: bool,
}

/// When a person's account is looked up again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recheck {
    /// Microseconds; then it is due, or the answer to the last question is overdue.
    pub at: u64,
    /// When it was last found good, microseconds.
    pub since: u64,
    /// Of the question that was asked, until it is answered.
    pub serial: Option<u64>,
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
    pub binding: Option<Box<Binding>>,
    /// The beginning of a message that has not arrived whole.
    pub inbound: Vec<u8>,
    pub out: Vec<u8>,
    /// Where the last result in `out` begins. It gets a TLS record of its own: there are clients that take one message
    /// whenever the socket can be read (curl), and would wait for ever for a result that came in one record with entries.
    pub result_at: usize,
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
    /// The last whole message, the end of the last operation, or the handshake's end.
    pub last_active: u64,
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
            binding: None,
            inbound: Vec::new(),
            out: Vec::new(),
            result_at: 0,
            in_flight: Vec::new(),
            dirty: false,
            complete: false,
            blocked: false,
            paused: false,
            held_since: 0,
            opened: now,
            last_active: now,
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
