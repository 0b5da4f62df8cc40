//! What the engine asks of the loop that drives it.

use std::sync::Arc;

use crate::proxy::home::question::Question;
use crate::proxy::snapshot::Endpoint;

/// A wish of the engine. Keys are those the engine gave out; one is used again only after the turn in which the
/// driver was told to close it.
#[derive(Debug)]
pub enum Wish {
    /// Connect to the server of `endpoint` with this place in its list, with TLS when it says so; answer with `upstream_opened` or `upstream_ended`.
    Dial { upstream: usize, endpoint: Arc<Endpoint>, server: usize },
    /// The answer to StartTLS is in the client's output: send it, then begin the handshake on the same connection.
    Secure { client: usize },
    /// Close a client's connection after its output went out as far as the socket takes it.
    CloseClient { client: usize },
    /// Close an upstream connection at once, after its output was offered to the socket once.
    CloseUpstream { upstream: usize },
    /// Ask home about a person; answer with `home_answered` and this serial number.
    AskHome { client: usize, serial: u64, question: Box<Question> },
    /// Reading of a client was paused and may go on: bytes may wait in the socket without a new edge.
    ReadClient { client: usize },
    /// The same for an upstream connection.
    ReadUpstream { upstream: usize },
}
