//! How operations end: answered, abandoned, out of time, or closed by a gate.

use crate::ldap::codec;
use crate::ldap::message::{Message, Operation as Wire, ResultCode};
use crate::namespace::merge;
use crate::policy::terms::Target;
use crate::proxy::engine::answer::{self, Answer, Asked};
use crate::proxy::engine::audit;
use crate::proxy::engine::beyond::end_controls;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::extras::Walk;
use crate::proxy::engine::operation::{At, Leg, Operation, Part, Question};
use crate::proxy::engine::upstream::{Stage, Upstream};
use crate::release::decide;
use crate::release::requester::{Operation as Kind, Requester};

impl Engine {
    /// One directory has answered to the end.
    pub(super) fn leg_done(&mut self, target: &Target, mut leg: Leg, raw: ResultCode) {
        let elapsed = self.now.saturating_sub(leg.sent);
        let shared = leg.shared.take();
        let code = match leg.broken {
            true => ResultCode::UNAVAILABLE,
            false => merge::settle(leg.shape.scope, leg.shape.at_mount, raw, u64::from(leg.released)),
        };
        self.pool.give(leg.request);
        if let Some(mount) = self.mounts.get(target) {
            mount.metrics.seconds.observe(elapsed as f64 / 1e6);
        }
        let at = if code == ResultCode::UNAVAILABLE { At::Failed } else { At::Done };
        self.settle(leg.operation, leg.serial, leg.part, at, code);
        if let Some(shared) = shared {
            self.share(target, *shared, raw, at == At::Done);
        }
    }

    /// One directory will not answer.
    pub(super) fn part_failed(&mut self, key: usize, serial: u64, part: usize) {
        self.settle(key, serial, part, At::Failed, ResultCode::UNAVAILABLE);
    }

    pub(super) fn settle(&mut self, key: usize, serial: u64, part: usize, at: At, code: ResultCode) {
        let Some(operation) = self.operations.get_mut(key) else { return };
        if operation.serial != serial {
            return;
        }
        let of = operation.parts.get(part).filter(|part| !matches!(part.at, At::Done | At::Failed));
        if let Some(mount) = of.and_then(|part| self.mounts.get(part.permit.target())) {
            mount.metrics.answered(outcome(operation, code));
        }
        let last = operation.settle(part, at, code);
        if operation.extras.is_some() {
            self.settled_beyond(key, last);
        } else if last {
            let answer = operation.result();
            self.end_operation(key, &answer);
        }
    }

    /// A page of a directory ended, and there are more: a question of its own for whoever counts.
    pub(super) fn count_page(&self, leg: &Leg) {
        let Some(operation) = self.operations.get(leg.operation) else { return };
        let part = operation.parts.get(leg.part);
        if let Some(mount) = part.and_then(|part| self.mounts.get(part.permit.target())) {
            mount.metrics.seconds.observe(self.now.saturating_sub(leg.sent) as f64 / 1e6);
            mount.metrics.answered(outcome(operation, ResultCode::SUCCESS));
        }
    }

    /// A waiting part was sent.
    pub(super) fn move_part(&mut self, key: usize, part: usize, at: At) {
        if let Some(part) = self.operations.get_mut(key).and_then(|o| o.parts.get_mut(part)) {
            part.at = at;
        }
    }

    /// Ends an operation with `answer`, whatever its legs do; questions still open behind are abandoned.
    pub(super) fn end_operation(&mut self, key: usize, answer: &Answer) {
        let Some(mut operation) = self.take_out(key) else { return };
        let controls = end_controls(&operation, answer.code);
        let asked = asked(&operation);
        let client_key = operation.client;
        let id = operation.message_id;
        self.pool_out(client_key, |out| answer::put_with(out, id, asked, answer, controls));
        if let Some(pin) = operation.extras.as_deref_mut().and_then(|e| e.walk.as_mut()?.pin.take()) {
            self.release_pin(pin);
        }
        self.conclude(operation, answer.code);
        self.drain_client(client_key);
    }

    /// RFC 4511 section 4.11: no answer.
    pub(super) fn abandon_request(&mut self, client: usize, message_id: i32) {
        if let Some(key) = self.operation_of(client, message_id)
            && let Some(operation) = self.take_out(key)
        {
            self.conclude(operation, ResultCode::CANCELED);
        }
    }

    /// A rebind, or the connection ended: nobody waits for the answers any more, nor for further pages.
    pub(super) fn abandon_all(&mut self, client: usize) {
        self.forget_walks_of(client);
        let keys = self.clients.get_mut(client).map(|c| std::mem::take(&mut c.in_flight)).unwrap_or_default();
        for key in keys {
            if let Some(operation) = self.take_out(key) {
                self.conclude(operation, ResultCode::CANCELED);
            }
        }
    }

    /// The operation that a client sent under `message_id`, if it is still in flight.
    pub(super) fn operation_of(&self, client: usize, message_id: i32) -> Option<usize> {
        let mut keys = self.clients.get(client)?.in_flight.iter().copied();
        keys.find(|key| self.operations.get(*key).is_some_and(|o| o.message_id == message_id))
    }

    /// Operations of `client` with a question on this upstream connection.
    pub(super) fn operations_on(&self, upstream: usize, client: usize) -> Vec<usize> {
        let on = |part: &Part| matches!(part.at, At::Sent { upstream: at, .. } if at == upstream);
        let of = |operation: &Operation| operation.client == client && operation.parts.iter().any(on);
        self.operations.iter().filter(|(_, o)| of(o)).map(|(key, _)| key).collect()
    }

    /// Takes an operation out of the table and abandons its questions behind.
    pub(super) fn take_out(&mut self, key: usize) -> Option<Operation> {
        let operation = self.operations.try_remove(key)?;
        for part in &operation.parts {
            if let At::Sent { upstream, slot } = part.at {
                self.abandon_question(upstream, slot, operation.serial);
            }
        }
        if let Some(client) = self.clients.get_mut(operation.client) {
            client.in_flight.retain(|at| *at != key);
            client.last_active = self.now;
        }
        Some(operation)
    }

    pub(super) fn abandon_question(&mut self, upstream_key: usize, slot: u16, serial: u64) {
        let holds = |upstream: &Upstream| upstream.stage == Stage::Ready && upstream.holds(slot, serial);
        if self.upstreams.get(upstream_key).is_some_and(holds)
            && let Some(leg) = self.abandon_slot(upstream_key, slot)
        {
            self.pool.give(leg.request);
        }
    }

    /// Abandons the question in a slot of an upstream connection and gives it back.
    pub(super) fn abandon_slot(&mut self, upstream_key: usize, slot: u16) -> Option<Leg> {
        let upstream = self.upstreams.get_mut(upstream_key)?;
        let (id, mut leg) = upstream.release(slot)?;
        let target = upstream.mount.clone();
        let shared = leg.shared.take();
        upstream.unasked = 0;
        if leg.entries == 0 {
            upstream.latency.given_up(self.now.saturating_sub(leg.sent), self.now);
        }
        if let Some(turn) = leg.turn.take()
            && let Some(mount) = self.mounts.get_mut(&target)
        {
            mount.turns.keep(turn, upstream_key, id, leg.sent, self.now);
        }
        let number = id.next().message_id();
        // An abandon needs an id of its own, and gets no answer: the slot's next one, which is skipped by its next user.
        upstream.skip(slot);
        self.pool.equip(&mut upstream.out);
        codec::encode(&Message::new(number, Wire::AbandonRequest(id.message_id())), &mut upstream.out);
        self.mark_upstream(upstream_key);
        self.sound(upstream_key);
        if let Some(shared) = shared {
            self.share(&target, *shared, ResultCode::UNAVAILABLE, false);
        }
        Some(leg)
    }

    /// The record and the counters of an ended operation.
    pub(super) fn conclude(&mut self, operation: Operation, code: ResultCode) {
        let microseconds = self.now.saturating_sub(operation.started);
        self.count_end(&operation, code, microseconds);
        for part in operation.parts.iter().filter(|part| part.charged) {
            self.usage.give_back(&operation.requester.id, &part.permit);
        }
        let end = audit::End {
            code: code.0,
            entries: operation.entries,
            dropped: operation.dropped,
            missing: operation.missing,
            microseconds,
        };
        self.record(&operation.audit, &end);
        self.pool.give(operation.audit);
    }

    fn count_end(&self, operation: &Operation, code: ResultCode, microseconds: u64) {
        if operation.parts.is_empty() {
            let outcome = if code == ResultCode::SUCCESS { "done" } else { "refused" };
            self.metrics.answered_here.with_label_values(&[asked(operation).as_str(), outcome]).inc();
            return;
        }
        self.metrics.seconds.observe(microseconds as f64 / 1e6);
        if code == ResultCode::BUSY {
            self.metrics.busy.with_label_values(&["directory"]).inc();
        }
        for part in operation.parts.iter().filter(|part| part.is_open()) {
            if let Some(mount) = self.mounts.get(part.permit.target()) {
                mount.metrics.cut(code);
            }
        }
    }

    /// Holds every operation in flight against gates, agreements and time as they are now.
    pub(super) fn review(&mut self) {
        const EVERY_MICROSECONDS: u64 = 50_000;
        self.next_review = self.now + EVERY_MICROSECONDS;
        let mut over: Vec<(usize, Answer)> = Vec::new();
        for (key, operation) in &self.operations {
            for part in &operation.parts {
                let answer = self.reviewed(&operation.requester, operation.kind, operation.whole_tree, part);
                over.extend(answer.map(|answer| (key, answer)));
                if over.last().is_some_and(|(last, _)| *last == key) {
                    break;
                }
            }
        }
        for (key, answer) in over {
            self.end_operation(key, &answer);
        }
        self.review_walks();
    }

    /// Why one part of an operation may not go on; None when it may. Of several directories one that closes is missing
    /// from the answer, and the answer must say so; what lies with the requester itself it is told.
    pub(super) fn reviewed(
        &self,
        requester: &Requester,
        kind: Kind,
        whole_tree: bool,
        part: &Part,
    ) -> Option<Answer> {
        let target = part.permit.target();
        match decide::decide(requester, kind, target, &self.gates, &self.snapshot.agreements, self.wall) {
            Err(refusal) if !whole_tree || refusal.kind.is_own() => {
                Some(Answer::new(ResultCode(refusal.code), refusal.text))
            }
            Err(_) => Some(Answer::new(ResultCode::UNAVAILABLE, "a directory went away during the search")),
            // What is released changed: what was sent already and what would follow do not belong together.
            Ok(permit)
                if permit.view() != part.permit.view()
                    || permit.entry_filter() != part.permit.entry_filter()
                    || permit.reserve() != part.permit.reserve() =>
            {
                Some(Answer::new(ResultCode::UNAVAILABLE, "the release agreement changed; ask again"))
            }
            Ok(_) if self.snapshot.mounts.contains_key(target) => None,
            Ok(_) => Some(Answer::new(ResultCode::UNAVAILABLE, "the directory is not mounted any more")),
        }
    }

    /// Counts a hung directory with every open question of an operation that ran out of our own time.
    pub(super) fn count_hung(&mut self, key: usize) {
        let Some(operation) = self.operations.get(key) else { return };
        for part in operation.parts.iter().filter(|part| part.is_open() && part.at != At::Queued) {
            if let Some(mount) = self.mounts.get(part.permit.target()) {
                mount.metrics.fault("no_answer");
            }
        }
    }
}

fn asked(operation: &Operation) -> Asked {
    match operation.question {
        Question::Search => Asked::Search,
        Question::Compare { .. } => Asked::Compare,
    }
}

/// How a question of this operation ended for whoever counts: a paged search that reached its limit was cut there, however much
/// its directory sent.
fn outcome(operation: &Operation, code: ResultCode) -> ResultCode {
    let walk = operation.extras.as_deref().and_then(|extras| extras.walk.as_ref());
    let over =
        |walk: &&Walk| !walk.ready.is_empty() && walk.before.saturating_add(operation.entries) >= walk.limit;
    match walk.filter(over) {
        Some(walk) if code == ResultCode::SUCCESS => walk.over_limit,
        _ => code,
    }
}
