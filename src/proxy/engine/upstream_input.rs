//! From bytes of a directory behind to entries and results. A directory that breaks the protocol loses this
//! connection, and only questions on it suffer.

use crate::ldap::ber::{self, Reader};
use crate::ldap::codec;
use crate::ldap::control::Control;
use crate::ldap::message::{Message, Operation, ResultCode};
use crate::ldap::tag::{SEARCH_DONE, SEARCH_ENTRY};
use crate::policy::terms::Target;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::entry::STREAMING;
use crate::proxy::engine::health::declines;
use crate::proxy::engine::key::UpstreamId;
use crate::proxy::engine::launch::{BIND_ID, BIND_REFUSED, PAGED};
use crate::proxy::engine::operation::Leg;
use crate::proxy::engine::ranges::Then;
use crate::proxy::engine::upstream::Stage;

/// So many of the longest messages may come to questions that are over.
const UNASKED_MESSAGES: usize = 2;

impl Engine {
    /// Bytes came from a directory behind, decrypted.
    pub fn upstream_bytes(&mut self, key: usize, data: &[u8]) {
        let now = self.now;
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        if matches!(upstream.stage, Stage::Lost | Stage::Dialling) {
            return;
        }
        upstream.heard = now;
        upstream.silent_since = None;
        if upstream.live() > 0 {
            upstream.active = now;
        }
        let mut own = std::mem::take(&mut upstream.inbound);
        let had_tail = !own.is_empty();
        if had_tail {
            own.extend_from_slice(data);
        }
        let whole: &[u8] = if had_tail { &own } else { data };
        let taken = match self.answers(key, whole) {
            Ok(taken) => taken,
            Err(reason) => {
                self.pool.give(own);
                self.lose_upstream(key, reason);
                return;
            }
        };
        if had_tail {
            own.drain(..taken.min(own.len()));
        } else if taken < data.len() {
            self.pool.equip(&mut own);
            own.extend_from_slice(data.get(taken..).unwrap_or_default());
        }
        match self.upstreams.get_mut(key) {
            Some(upstream) if !own.is_empty() && upstream.stage != Stage::Lost => {
                if !had_tail || taken > 0 {
                    upstream.tail_since = now;
                }
                upstream.inbound = own;
            }
            _ => self.pool.give(own),
        }
    }

    /// An answer to a question that is over is no fault: the question may have been given up while the answer was on its
    /// way. But only so much can be on its way; whoever goes on is not to have our time for ever.
    pub(super) fn unasked(&mut self, key: usize, bytes: usize) -> Result<(), &'static str> {
        let Some(upstream) = self.upstreams.get_mut(key) else { return Ok(()) };
        upstream.unasked = upstream.unasked.saturating_add(bytes);
        match upstream.unasked > self.settings.upstream_message_bytes.saturating_mul(UNASKED_MESSAGES) {
            true => Err("unasked"),
            false => Ok(()),
        }
    }

    /// Handles every whole message; how many bytes they took, or the fault.
    fn answers(&mut self, key: usize, data: &[u8]) -> Result<usize, &'static str> {
        let mut taken = 0;
        loop {
            let stage = self.upstreams.get(key).map_or(Stage::Lost, |upstream| upstream.stage);
            if stage == Stage::Lost {
                return Ok(taken);
            }
            let rest = data.get(taken..).unwrap_or_default();
            let Some(length) = codec::frame(rest, &self.behind).map_err(|_| "framing")? else {
                return Ok(taken);
            };
            let message = rest.get(..length).unwrap_or_default();
            taken += length;
            match stage {
                Stage::Binding => self.bind_answer(key, message)?,
                _ => self.answer(key, message)?,
            }
        }
    }

    /// Only resultCode 0 binds (RFC 4511 section 4.2.2).
    fn bind_answer(&mut self, key: usize, message: &[u8]) -> Result<(), &'static str> {
        let message = codec::decode(message, &self.behind).map_err(|_| "malformed")?;
        let Operation::BindResponse(bound) = message.operation else { return Err("no_bind_answer") };
        match bound.outcome.code {
            _ if message.id != BIND_ID => Err("no_bind_answer"),
            ResultCode::SUCCESS => {
                self.upstream_ready(key);
                Ok(())
            }
            // This server cannot bind anybody now; that says nothing about the account.
            code if declines(code) => Err("bind_declined"),
            _ => Err(BIND_REFUSED),
        }
    }

    fn answer(&mut self, key: usize, bytes: &[u8]) -> Result<(), &'static str> {
        let (number, tag) = codec::peek(bytes).map_err(|_| "malformed")?;
        if number == 0 {
            return Err("disconnected");
        }
        let Some(id) = UpstreamId::from_message_id(number) else { return self.probed(key, number, bytes) };
        let Some(upstream) = self.upstreams.get_mut(key) else { return Ok(()) };
        if upstream.leg(id).is_none() {
            return self.late(key, id, tag == SEARCH_DONE, bytes.len());
        }
        if tag == SEARCH_ENTRY {
            return self.entry(key, id, bytes);
        }
        let message = codec::decode(bytes, &self.behind).map_err(|_| "malformed")?;
        match &message.operation {
            // Continuations name servers of the member's network: never followed, never shown.
            Operation::SearchReference(_) => Ok(()),
            Operation::SearchDone(outcome) => self.done(key, id, outcome.code, &message),
            _ => Err("unexpected_operation"),
        }
    }

    /// Something about a question that was abandoned; an id that was never given out is a fault.
    fn late(&mut self, key: usize, id: UpstreamId, is_done: bool, bytes: usize) -> Result<(), &'static str> {
        let (bounds, now) = (self.turn_bounds(), self.now);
        let Some(upstream) = self.upstreams.get(key) else { return Ok(()) };
        if !upstream.gave_out(id) {
            return Err("unknown_id");
        }
        if is_done && let Some(mount) = self.mounts.get_mut(&upstream.mount) {
            mount.turns.came_late(key, id, &bounds, now);
        }
        self.unasked(key, bytes)
    }

    fn done(
        &mut self,
        key: usize,
        id: UpstreamId,
        code: ResultCode,
        message: &Message<'_>,
    ) -> Result<(), &'static str> {
        let Some(upstream) = self.upstreams.get_mut(key) else { return Ok(()) };
        let Some((_, leg)) = upstream.release(id.slot) else { return Ok(()) };
        let target = upstream.mount.clone();
        self.note_answer(&target, key, &leg);
        let Some(upstream) = self.upstreams.get_mut(key) else { return Ok(()) };
        upstream.answered = self.now;
        let paged = leg.page.is_some() || upstream.endpoint.page_size.is_some();
        if leg.entries <= STREAMING {
            upstream.latency.answered(self.now.saturating_sub(leg.sent), self.now);
        }
        let (first, place) = (!upstream.proven, (!upstream.retired).then_some(upstream.place));
        self.streaming = false;
        if leg.ranges.are_read() {
            upstream.strikes = 0;
            self.range_done(&target, key, leg, code);
            return Ok(());
        }
        if declines(code) {
            self.strike(key);
            if let Some(leg) = self.ask_elsewhere(&target, leg, place) {
                self.leg_done(&target, leg, translated(code));
            }
            return Ok(());
        }
        upstream.strikes = 0;
        if first {
            self.prove(key);
        }
        if leg.page.is_some() {
            self.seat_walk(key, &leg);
        }
        let cookie = match next_page(&message.controls) {
            Ok(cookie) => cookie.filter(|_| code == ResultCode::SUCCESS && paged),
            Err(_) if code != ResultCode::SUCCESS || !paged => None,
            // The question is not on the connection any more: losing that would not answer it.
            Err(reason) => {
                self.leg_done(&target, leg, ResultCode::UNAVAILABLE);
                return Err(reason);
            }
        };
        let then = Then { code: translated(code), cookie };
        match leg.ranges.is_empty() {
            true => self.go_on(&target, key, leg, then),
            false => self.read_ranges(&target, key, leg, then),
        }
        Ok(())
    }

    /// How long it took tells how many questions of its requester the directory gets at once.
    fn note_answer(&mut self, target: &Target, key: usize, leg: &Leg) {
        let (bounds, now) = (self.turn_bounds(), self.now);
        if let Some(turn) = &leg.turn
            && let Some(mount) = self.mounts.get_mut(target)
        {
            mount.turns.answered(turn, now.saturating_sub(leg.sent), &bounds, now);
        }
        self.is_done_since(key, leg.sent);
    }

    /// The directory's next page, or the end of its answer.
    pub(super) fn go_on(&mut self, target: &Target, key: usize, leg: Leg, then: Then) {
        match then.cookie {
            Some(cookie) => self.next_page(key, leg, &cookie),
            None => self.leg_done(target, leg, then.code),
        }
    }

    fn next_page(&mut self, key: usize, mut leg: Leg, cookie: &[u8]) {
        if leg.page.is_some() {
            return self.walk_on(key, leg, cookie);
        }
        let (operation, serial, part) = (leg.operation, leg.serial, leg.part);
        let request = std::mem::take(&mut leg.request);
        let sent = self.send(key, leg, &request, cookie);
        self.pool.give(request);
        match sent {
            Some(at) => self.move_part(operation, part, at),
            None => self.part_failed(operation, serial, part),
        }
    }
}

/// What a client is told for a result code of a directory. Codes that speak of the directory's own trouble, of its
/// referrals or of our account's rights there are one and the same to a client.
fn translated(code: ResultCode) -> ResultCode {
    match code {
        ResultCode::SUCCESS
        | ResultCode::TIME_LIMIT_EXCEEDED
        | ResultCode::SIZE_LIMIT_EXCEEDED
        | ResultCode::ADMIN_LIMIT_EXCEEDED
        | ResultCode::NO_SUCH_OBJECT => code,
        // What our account may not read is not there for anybody here; at a mount point both mean that something is wrong.
        ResultCode::INSUFFICIENT_ACCESS_RIGHTS => ResultCode::NO_SUCH_OBJECT,
        _ => ResultCode::UNAVAILABLE,
    }
}

/// The cookie of a paged result that goes on.
fn next_page(controls: &[Control<'_>]) -> Result<Option<Vec<u8>>, &'static str> {
    let Some(control) = controls.iter().find(|control| control.oid == PAGED) else { return Ok(None) };
    let read = |value: &[u8]| {
        let mut outer = Reader::new(value);
        let mut inner = outer.nested(ber::SEQUENCE)?;
        outer.end()?;
        inner.integer(ber::INTEGER)?;
        let cookie = inner.octets()?.to_vec();
        inner.end()?;
        Ok::<_, crate::ldap::error::DecodeError>(cookie)
    };
    let cookie = read(control.value.as_deref().unwrap_or_default()).map_err(|_| "page_control")?;
    Ok((!cookie.is_empty()).then_some(cookie))
}
