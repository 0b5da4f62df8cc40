//! What each kind of request leads to.

use std::borrow::Cow;

use crate::ldap::control::Control;
use crate::ldap::message::{
    Authentication, Bind, CANCEL, Extended, Message, Operation, ResultCode, START_TLS, Scope, WHO_AM_I,
};
use crate::proxy::engine::answer::{self, Answer, Asked};
use crate::proxy::engine::audit;
use crate::proxy::engine::client::Phase;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::wish::Wish;

/// ManageDsaIT (RFC 3296): there are no referrals here, so it is obeyed by doing nothing.
pub const MANAGE_DSA_IT: &str = "2.16.840.1.113730.3.4.2";

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
        if client.phase == Phase::Plain {
            return self.unprotected(key, message);
        }
        let unknown = unknown_critical(&message.controls);
        match &message.operation {
            // Controls on these are ignored, critical or not: nothing can be answered (RFC 4511 section 4.1.11).
            Operation::UnbindRequest => self.close_client(key, None),
            Operation::AbandonRequest(target) => self.abandon_request(key, *target),
            Operation::BindRequest(_) if unknown => self.refuse_control(key, id, Asked::Bind),
            Operation::BindRequest(bind) => self.bind(key, id, bind),
            Operation::ExtendedRequest(_) if unknown => self.refuse_control(key, id, Asked::Extended),
            Operation::ExtendedRequest(extended) => self.extended(key, id, extended),
            Operation::SearchRequest(_) if unknown => self.refuse_control(key, id, Asked::Search),
            Operation::SearchRequest(search) => self.search(key, id, search),
            Operation::CompareRequest(_) if unknown => self.refuse_control(key, id, Asked::Compare),
            Operation::CompareRequest(compare) => self.compare(key, id, compare),
            Operation::AddRequest(_) => self.refuse_write(key, id, Asked::Add),
            Operation::DeleteRequest(_) => self.refuse_write(key, id, Asked::Delete),
            Operation::ModifyRequest(_) => self.refuse_write(key, id, Asked::Modify),
            Operation::ModifyDnRequest(_) => self.refuse_write(key, id, Asked::ModifyDn),
            _ => {
                let why = Answer::new(ResultCode::PROTOCOL_ERROR, "a client sends requests, not answers");
                self.disconnect(key, &why, "not_a_request");
            }
        }
    }

    /// A request before TLS. Nothing that names anybody is asked, answered or recorded.
    fn unprotected(&mut self, key: usize, message: &Message<'_>) {
        let id = message.id;
        let asked = match &message.operation {
            Operation::UnbindRequest => return self.close_client(key, None),
            Operation::AbandonRequest(_) => return,
            Operation::ExtendedRequest(extended) if extended.name == START_TLS => {
                return self.start_tls(key, id, extended, &message.controls);
            }
            Operation::SearchRequest(search) if search.scope == Scope::Base && search.base.is_empty() => {
                return match unknown_critical(&message.controls) {
                    true => self.refuse_control(key, id, Asked::Search),
                    false => self.search(key, id, search),
                };
            }
            Operation::SearchRequest(_) => Asked::Search,
            // tools bind as nobody before they read the root entry; nobody is who is there anyway
            Operation::BindRequest(bind) if is_nobody(bind) => {
                return match unknown_critical(&message.controls) {
                    true => self.refuse_control(key, id, Asked::Bind),
                    false => self.bind(key, id, bind),
                };
            }
            Operation::BindRequest(_) => Asked::Bind,
            Operation::CompareRequest(_) => Asked::Compare,
            Operation::AddRequest(_) => Asked::Add,
            Operation::DeleteRequest(_) => Asked::Delete,
            Operation::ModifyRequest(_) => Asked::Modify,
            Operation::ModifyDnRequest(_) => Asked::ModifyDn,
            Operation::ExtendedRequest(_) => Asked::Extended,
            _ => {
                let why = Answer::new(ResultCode::PROTOCOL_ERROR, "a client sends requests, not answers");
                return self.disconnect(key, &why, "not_a_request");
            }
        };
        let text = "this connection is not protected: begin with StartTLS, or connect with LDAPS";
        self.respond(key, id, asked, &Answer::new(ResultCode::CONFIDENTIALITY_REQUIRED, text));
    }

    /// RFC 4511 section 4.14. The handshake begins when the answer went out; bytes that come before that were not sent to be
    /// protected, and end the connection (see `input`).
    fn start_tls(&mut self, key: usize, id: i32, extended: &Extended<'_>, controls: &[Control<'_>]) {
        if unknown_critical(controls) {
            return self.refuse_control(key, id, Asked::Extended);
        }
        if extended.value.is_some() {
            let answer = Answer::new(ResultCode::PROTOCOL_ERROR, "StartTLS has no value");
            return self.respond(key, id, Asked::Extended, &answer);
        }
        self.pool_out(key, |out| answer::put_start_tls(out, id));
        self.note(key, "start_tls", ResultCode::SUCCESS);
        let now = self.now;
        if let Some(client) = self.clients.get_mut(key) {
            client.phase = Phase::Handshake;
            client.opened = now;
            client.spoke = false;
            self.wishes.push(Wish::Secure { client: key });
        }
    }

    fn refuse_control(&mut self, key: usize, id: i32, asked: Asked) {
        if asked == Asked::Bind {
            // Even a bind that fails leaves nobody bound (RFC 4513 section 4).
            self.forget_identity(key);
        }
        let text = "a critical control is not supported; see supportedControl of the root entry";
        self.respond(key, id, asked, &Answer::new(ResultCode::UNAVAILABLE_CRITICAL_EXTENSION, text));
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

    /// Lets `write` append to a client's output and has it sent with this turn.
    pub(super) fn pool_out(&mut self, key: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(client) = self.clients.get_mut(key) else { return };
        self.pool.equip(&mut client.out);
        write(&mut client.out);
        self.mark_client(key, true);
    }

    fn note(&mut self, key: usize, operation: &'static str, code: ResultCode) {
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

/// Whether a bind names nobody and proves nothing (RFC 4513 section 5.1.1).
fn is_nobody(bind: &Bind<'_>) -> bool {
    matches!(&bind.authentication, Authentication::Simple(password) if password.is_empty())
        && bind.name.is_empty()
}

/// Whether a control is there that must be obeyed and cannot be.
fn unknown_critical(controls: &[Control<'_>]) -> bool {
    controls.iter().any(|control| control.critical && control.oid != MANAGE_DSA_IT)
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
