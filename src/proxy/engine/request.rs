//! What each kind of request leads to.

use std::borrow::Cow;

use crate::ldap::control::Control;
use crate::ldap::message::{CANCEL, Extended, Message, Operation, ResultCode, START_TLS, WHO_AM_I};
use crate::proxy::engine::answer::{self, Answer, Asked};
use crate::proxy::engine::audit;
use crate::proxy::engine::client::Phase;
use crate::proxy::engine::controls;
use crate::proxy::engine::core::Engine;

const READ_ONLY: &str = "nobody writes through this gateway; write to the directory that owns the entry";

impl Engine {
    /// One decoded request.
    pub(super) fn request(&mut self, key: usize, message: &Message<'_>) {
        let Some(client) = self.clients.get(key) else { return };
        let id = message.id;
        // RFC 4511 section 4.1.1.1: 0 is the server's, and an id that is still in use says that the peer is confused.
        let in_use = client
            .in_flight
            .iter()
            .any(|at| self.operations.get(*at).is_some_and(|operation| operation.message_id == id));
        if id <= 0 || in_use {
            let why = Answer::new(ResultCode::PROTOCOL_ERROR, "the message id is 0 or still in use");
            self.disconnect(key, &why, "message_id");
            return;
        }
        let plain = client.phase == Phase::Plain;
        let Some(asked) = asked(&message.operation) else {
            return match &message.operation {
                // Controls on these are ignored, critical or not: nothing can be answered (RFC 4511 section 4.1.11).
                Operation::UnbindRequest => self.close_client(key, None),
                Operation::AbandonRequest(target) => self.abandon_request(key, *target),
                _ => {
                    let why = Answer::new(ResultCode::PROTOCOL_ERROR, "a client sends requests, not answers");
                    self.disconnect(key, &why, "not_a_request");
                }
            };
        };
        let limits = if client.bound.is_some() { self.bound } else { self.before_bind };
        let controls = match controls::read(&message.controls, asked, &limits) {
            Ok(controls) => controls,
            Err(answer) => return self.refuse_unread(key, id, asked, &answer),
        };
        if plain {
            return self.unprotected(key, message, asked, &controls);
        }
        match &message.operation {
            Operation::BindRequest(bind) => self.bind(key, id, bind),
            Operation::ExtendedRequest(extended) => self.extended(key, id, extended),
            Operation::SearchRequest(search) => self.search(key, id, search, &controls),
            Operation::CompareRequest(compare) => self.compare(key, id, compare),
            _ => self.refuse_write(key, id, asked),
        }
    }

    /// Answers a request that is not even looked at.
    pub(super) fn refuse_unread(&mut self, key: usize, id: i32, asked: Asked, answer: &Answer) {
        if asked == Asked::Bind {
            // Even a bind that fails leaves nobody bound (RFC 4513 section 4), and nothing of before in flight.
            self.abandon_all(key);
            self.forget_identity(key);
        }
        self.respond(key, id, asked, answer);
    }

    fn refuse_write(&mut self, key: usize, id: i32, asked: Asked) {
        self.respond(key, id, asked, &Answer::new(ResultCode::UNWILLING_TO_PERFORM, READ_ONLY));
    }

    fn extended(&mut self, key: usize, id: i32, extended: &Extended<'_>) {
        match extended.name.as_ref() {
            WHO_AM_I if extended.value.is_none() => {
                let who = self.clients.get(key).and_then(|client| client.bound.as_ref());
                let who = who.map(|bound| bound.authorization.to_string()).unwrap_or_default();
                self.pool_out(key, |out| answer::put_who_am_i(out, id, &who));
                self.note(key, "who_am_i", ResultCode::SUCCESS);
            }
            // RFC 4511 section 4.14.2: TLS is in place already.
            START_TLS => self.respond(
                key,
                id,
                Asked::Extended,
                &Answer::new(ResultCode::OPERATIONS_ERROR, "this connection is protected by TLS already"),
            ),
            CANCEL => self.cancel(key, id, extended.value.as_ref()),
            _ => self.respond(
                key,
                id,
                Asked::Extended,
                &Answer::new(ResultCode::PROTOCOL_ERROR, "unknown extended operation"),
            ),
        }
    }

    /// RFC 3909: like abandon, but both requests are answered.
    fn cancel(&mut self, key: usize, id: i32, value: Option<&Cow<'_, [u8]>>) {
        let Some(target) = value.and_then(|value| cancel_id(value)) else {
            let answer = Answer::new(ResultCode::PROTOCOL_ERROR, "malformed cancel request");
            return self.respond(key, id, Asked::Extended, &answer);
        };
        let code = match self.operation_of(key, target) {
            Some(operation) => {
                self.end_operation(operation, &Answer::plain(ResultCode::CANCELED));
                ResultCode::SUCCESS
            }
            None => ResultCode::NO_SUCH_OPERATION,
        };
        self.respond(key, id, Asked::Extended, &Answer::plain(code));
    }

    /// Answers a request that asked no directory, and records it.
    pub(super) fn respond(&mut self, key: usize, id: i32, asked: Asked, answer: &Answer) {
        self.pool_out(key, |out| answer::put(out, id, asked, answer));
        self.note(key, asked.as_str(), answer.code);
    }

    /// The same for a search, with controls.
    pub(super) fn respond_with(
        &mut self,
        key: usize,
        id: i32,
        answer: &Answer,
        controls: Vec<Control<'static>>,
    ) {
        self.pool_out(key, |out| answer::put_with(out, id, Asked::Search, answer, controls));
        self.note(key, Asked::Search.as_str(), answer.code);
    }

    /// Lets `write` append to a client's output and has it sent with this turn.
    pub(super) fn pool_out(&mut self, key: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(client) = self.clients.get_mut(key) else { return };
        self.pool.equip(&mut client.out);
        client.result_at = client.out.len();
        write(&mut client.out);
        self.mark_client(key, true);
    }

    pub(super) fn note(&mut self, key: usize, operation: &'static str, code: ResultCode) {
        let outcome = if code == ResultCode::SUCCESS { "done" } else { "refused" };
        self.metrics.answered_here.with_label_values(&[operation, outcome]).inc();
        let serial = self.next_serial();
        let mut head = std::mem::take(&mut self.scratch);
        head.clear();
        if let Some(client) = self.clients.get(key) {
            audit::head(
                &mut head,
                &audit::Head {
                    shard: self.shard,
                    serial,
                    connection: client.serial,
                    at: self.wall,
                    requester: client.bound.as_ref().map(|bound| bound.requester.as_ref()),
                    operation,
                    target: None,
                },
            );
            self.record(
                &head,
                &audit::End { code: code.0, entries: 0, dropped: 0, missing: 0, microseconds: 0 },
            );
        }
        self.scratch = head;
    }
}

/// Which kind of answer a request gets; None for what gets no answer, and for what is no request.
fn asked(operation: &Operation<'_>) -> Option<Asked> {
    match operation {
        Operation::BindRequest(_) => Some(Asked::Bind),
        Operation::SearchRequest(_) => Some(Asked::Search),
        Operation::CompareRequest(_) => Some(Asked::Compare),
        Operation::AddRequest(_) => Some(Asked::Add),
        Operation::DeleteRequest(_) => Some(Asked::Delete),
        Operation::ModifyRequest(_) => Some(Asked::Modify),
        Operation::ModifyDnRequest(_) => Some(Asked::ModifyDn),
        Operation::ExtendedRequest(_) => Some(Asked::Extended),
        _ => None,
    }
}

/// `cancelRequestValue ::= SEQUENCE { cancelID MessageID }` (RFC 3909 section 2.1).
fn cancel_id(value: &[u8]) -> Option<i32> {
    use crate::ldap::ber::{INTEGER, Reader, SEQUENCE};
    let mut outer = Reader::new(value);
    let mut inner = outer.nested(SEQUENCE).ok()?;
    outer.end().ok()?;
    let id = inner.integer(INTEGER).ok()?;
    inner.end().ok()?;
    Some(id)
}
