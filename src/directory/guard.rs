//! Stands between the network and `ldap3`: bytes from a directory reach it only as whole, well-formed LDAP messages.
//!
//! `ldap3` has no limit of size or depth: a few kilobytes of nested sequences overflow its stack and end the process, and a
//! message that is no LDAP message panics its driver. So a relay task frames and strictly decodes each inbound message
//! first; at the first fault it closes both sides and keeps the reason.
//!
//! Entries of a search do not go through `ldap3` at all while somebody takes them from the [`Watch::tap`]: they are decoded here anyway, and
//! its tree of a page of entries costs several times the page in time and memory.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::directory::dial::Stream;
use crate::directory::request::RawControl;
use crate::directory::settings::Settings;
use crate::ldap::codec;
use crate::ldap::entry::{Entry, EntryReader, SEARCH_ENTRY};
use crate::ldap::limits::Limits;
use crate::ldap::message::Operation;
use crate::ldap::tag::INTERMEDIATE_RESPONSE;

const CHUNK: usize = 32 * 1024;
/// Batches of entries that wait for whoever takes them; then the directory waits, too.
const BATCHES: usize = 4;

/// What arrived together, in its order, each with its message's id.
pub type Batch = Vec<(i32, Piece)>;

/// A part of a search's answer that does not go through `ldap3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Entry(Entry),
    /// With the controls that came with it.
    Controlled(Entry, Vec<RawControl>),
    /// An intermediate response (RFC 4511 section 4.13).
    Between {
        name: Option<String>,
        value: Vec<u8>,
    },
}

/// Which parts are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taking {
    Entries,
    /// Intermediate responses, too, and controls of entries, since their order and theirs alone says what an entry means.
    Everything,
}

/// Why a relay ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Whether what arrived breaks the protocol or a limit; otherwise the connection just ended.
    pub is_protocol: bool,
    pub text: String,
}

impl Fault {
    fn ended(text: impl ToString) -> Self {
        Fault { is_protocol: false, text: text.to_string() }
    }

    fn protocol(text: impl ToString) -> Self {
        Fault { is_protocol: true, text: text.to_string() }
    }
}

/// What the relay tells the client, and the other way round.
#[derive(Debug)]
pub struct Watch {
    fault: Mutex<Option<Fault>>,
    bytes: AtomicU64,
    bytes_max: u64,
    tap: Mutex<Option<(Taking, mpsc::Sender<Batch>)>>,
}

impl Watch {
    /// Takes entries from now on, until the receiver is dropped. Every entry is there before the end of its search reaches `ldap3`.
    pub fn tap(&self) -> mpsc::Receiver<Batch> {
        self.open(Taking::Entries)
    }

    /// The same, with the entries' controls, and with the intermediate responses between them.
    pub fn tap_everything(&self) -> mpsc::Receiver<Batch> {
        self.open(Taking::Everything)
    }

    fn open(&self, taking: Taking) -> mpsc::Receiver<Batch> {
        let (sender, receiver) = mpsc::channel(BATCHES);
        *self.tap.lock().unwrap_or_else(PoisonError::into_inner) = Some((taking, sender));
        receiver
    }

    fn tapped(&self) -> Option<(Taking, mpsc::Sender<Batch>)> {
        let mut tap = self.tap.lock().unwrap_or_else(PoisonError::into_inner);
        tap.take_if(|(_, sender)| sender.is_closed());
        tap.clone()
    }

    /// Why the relay ended, when it did and knows.
    pub fn fault(&self) -> Option<Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins a new operation's count of bytes.
    pub fn begin_operation(&self) {
        self.bytes.store(0, Ordering::Relaxed);
    }

    fn set_fault(&self, fault: Fault) {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
    }

    /// Counts what arrived; false when it is too much for one operation.
    fn count(&self, bytes: usize) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= self.bytes_max
    }
}

/// The relay's task; it ends with the connection, and with this value.
#[derive(Debug)]
pub struct Guard {
    pub watch: Arc<Watch>,
    task: JoinHandle<()>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Relays between `network` and `inside` until either ends.
pub fn relay(network: Box<dyn Stream>, inside: UnixStream, settings: &Settings) -> Guard {
    let watch = Arc::new(Watch {
        fault: Mutex::new(None),
        bytes: AtomicU64::new(0),
        bytes_max: settings.operation_bytes,
        tap: Mutex::new(None),
    });
    let limits = Limits { message_bytes: settings.message_bytes, ..Limits::from_directory() };
    let (from_network, to_network) = tokio::io::split(network);
    let (from_inside, to_inside) = tokio::io::split(inside);
    let ours = Arc::clone(&watch);
    let task = tokio::spawn(async move {
        // whichever ends first ends the other: half a connection is of no use
        let fault = tokio::select! {
            fault = inbound(from_network, to_inside, &limits, &ours) => fault,
            fault = outbound(from_inside, to_network) => fault,
        };
        ours.set_fault(fault);
    });
    Guard { watch, task }
}

async fn inbound(
    mut network: ReadHalf<Box<dyn Stream>>,
    mut inside: WriteHalf<UnixStream>,
    limits: &Limits,
    watch: &Watch,
) -> Fault {
    let mut buffer: Vec<u8> = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = match network.read(&mut chunk).await {
            Ok(0) if buffer.is_empty() => return Fault::ended("the directory closed the connection"),
            Ok(0) => return Fault::protocol("the directory closed the connection inside a message"),
            Ok(read) => read,
            Err(error) => return Fault::ended(error),
        };
        buffer.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if !watch.count(read) {
            return Fault::protocol(format!("more than {} bytes in one operation", watch.bytes_max));
        }
        let tap = watch.tapped();
        let taken = match take(&buffer, limits, tap.as_ref().map(|(taking, _)| *taking)) {
            Ok(taken) => taken,
            Err(fault) => return Fault::protocol(fault),
        };
        if let Some((_, tap)) = tap.filter(|_| !taken.pieces.is_empty()) {
            // whoever gave a search up has no use for the rest of it
            let _ = tap.send(taken.pieces).await;
        }
        if !taken.others.is_empty() && inside.write_all(&taken.others).await.is_err() {
            return Fault::ended("the connection was given up");
        }
        buffer.drain(..taken.whole);
    }
}

/// Whole messages, each checked.
#[derive(Default)]
struct Taken {
    /// Bytes of all of them.
    whole: usize,
    pieces: Batch,
    /// The bytes of those that are for `ldap3`.
    others: Vec<u8>,
}

/// Takes the whole messages at the beginning of `buffer` apart; what nobody taps is for `ldap3`.
fn take(buffer: &[u8], limits: &Limits, tapped: Option<Taking>) -> Result<Taken, String> {
    let mut taken = Taken::default();
    loop {
        let rest = buffer.get(taken.whole..).unwrap_or_default();
        let Some(length) = codec::frame(rest, limits).map_err(|e| e.to_string())? else { return Ok(taken) };
        let message = rest.get(..length).unwrap_or_default();
        let tag = codec::peek(message).map(|(_, tag)| tag).ok();
        match (tapped, tag) {
            (Some(taking), Some(SEARCH_ENTRY)) => taken.pieces.push(entry(message, limits, taking)?),
            (Some(Taking::Everything), Some(INTERMEDIATE_RESPONSE)) => {
                taken.pieces.push(between(message, limits)?);
            }
            _ => {
                check(message, limits)?;
                taken.others.extend_from_slice(message);
            }
        }
        taken.whole += length;
    }
}

fn entry(message: &[u8], limits: &Limits, taking: Taking) -> Result<(i32, Piece), String> {
    let reader = EntryReader::read(message, limits).map_err(|e| e.to_string())?;
    let entry = reader.to_entry().map_err(|e| e.to_string())?;
    Ok(match taking {
        Taking::Entries => (reader.id, Piece::Entry(entry)),
        Taking::Everything => {
            let controls = reader.controls.into_iter().map(|control| RawControl {
                oid: control.oid.into_owned(),
                critical: control.critical,
                value: control.value.map(Cow::into_owned),
            });
            (reader.id, Piece::Controlled(entry, controls.collect()))
        }
    })
}

fn between(message: &[u8], limits: &Limits) -> Result<(i32, Piece), String> {
    let message = codec::decode(message, limits).map_err(|e| e.to_string())?;
    let Operation::IntermediateResponse(answer) = message.operation else {
        return Err("another operation than its tag says".to_owned());
    };
    let value = answer.value.map(Cow::into_owned).unwrap_or_default();
    Ok((message.id, Piece::Between { name: answer.name.map(Cow::into_owned), value }))
}

fn check(message: &[u8], limits: &Limits) -> Result<(), String> {
    let message = codec::decode(message, limits).map_err(|e| e.to_string())?;
    match message.operation {
        Operation::BindResponse(_)
        | Operation::SearchEntry(_)
        | Operation::SearchDone(_)
        | Operation::SearchReference(_)
        | Operation::ModifyResponse(_)
        | Operation::AddResponse(_)
        | Operation::DeleteResponse(_)
        | Operation::ModifyDnResponse(_)
        | Operation::CompareResponse(_)
        | Operation::ExtendedResponse(_)
        | Operation::IntermediateResponse(_) => Ok(()),
        _ => Err("a request where only answers may come".to_owned()),
    }
}

async fn outbound(mut inside: ReadHalf<UnixStream>, mut network: WriteHalf<Box<dyn Stream>>) -> Fault {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = match inside.read(&mut chunk).await {
            Ok(0) | Err(_) => {
                // a polite end: nothing more can be done if it fails
                let _ = network.shutdown().await;
                return Fault::ended("the connection was closed by us");
            }
            Ok(read) => read,
        };
        let sent = network.write_all(chunk.get(..read).unwrap_or_default()).await;
        if let Err(error) = match sent {
            Ok(()) => network.flush().await,
            Err(error) => Err(error),
        } {
            return Fault::ended(error);
        }
    }
}
