//! Deadlines, by a coarse scan: precise to its interval, which is far below every limit.

use crate::ldap::message::ResultCode;
use crate::proxy::engine::answer::Answer;
use crate::proxy::engine::client::{Client, Phase};
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::upstream::{Stage, Upstream};
use crate::proxy::settings::Settings;

/// While operations are in flight or connections are being made.
const BUSY_MICROSECONDS: u64 = 20_000;
const QUIET_MICROSECONDS: u64 = 250_000;

impl Engine {
    /// Ends everything whose time is over.
    pub(super) fn scan(&mut self) {
        self.scan_operations();
        self.scan_clients();
        self.scan_proofs();
        let binding = self.scan_homes();
        self.scan_upstreams();
        self.scan_walks();
        self.scan_health();
        self.tend_all_waiting();
        self.note_late();
        self.serve_lines();
        self.tidy_lines();
        self.release_held_up();
        self.count_held();
        let pending = |u: &Upstream| u.stage != Stage::Ready || u.probed.is_some();
        let busy = !self.operations.is_empty() || self.upstreams.iter().any(|(_, u)| pending(u));
        let busy = busy || binding;
        self.next_scan = self.now + if busy { BUSY_MICROSECONDS } else { QUIET_MICROSECONDS };
    }

    /// Something with a short deadline began: do not sleep through it.
    pub(super) fn scan_soon(&mut self) {
        self.next_scan = self.next_scan.min(self.now + BUSY_MICROSECONDS);
    }

    fn scan_operations(&mut self) {
        let now = self.now;
        let over: Vec<usize> =
            self.operations.iter().filter(|(_, o)| o.deadline <= now).map(|(key, _)| key).collect();
        for key in over {
            let Some(operation) = self.operations.get_mut(key) else { continue };
            // A limit that the client or the agreement set is reported as such; ours means that a directory hangs.
            let answer = if operation.deadline_is_theirs {
                Answer::plain(ResultCode::TIME_LIMIT_EXCEEDED)
            } else {
                let answer = operation.overdue();
                self.count_hung(key);
                answer
            };
            self.end_operation(key, &answer);
        }
    }

    fn scan_clients(&mut self) {
        let now = self.now;
        let settings = self.settings.clone();
        let over: Vec<(usize, &'static str)> = self
            .clients
            .iter()
            .filter_map(|(key, client)| overdue(client, &settings, now).map(|reason| (key, reason)))
            .collect();
        for (key, reason) in over {
            let why = match reason {
                "idle" => Answer::new(ResultCode::UNAVAILABLE, "the connection was idle for too long"),
                _ => {
                    Answer::new(ResultCode::UNAVAILABLE, "the connection waited for the client for too long")
                }
            };
            if reason == "handshake" || reason == "write_stall" {
                self.close_client(key, Some(reason));
            } else {
                self.disconnect(key, &why, reason);
            }
        }
    }

    fn scan_upstreams(&mut self) {
        let now = self.now;
        let dial = self.settings.dial_milliseconds * 1_000;
        let idle = self.settings.upstream_idle_milliseconds * 1_000;
        // No question lives for longer, so a message that takes longer than that is of use to nobody, and others wait
        // behind it.
        let message = self.settings.operation_milliseconds * 1_000;
        let mut over = Vec::new();
        for (key, upstream) in &self.upstreams {
            let quiet = now.saturating_sub(upstream.active);
            let unfinished = !upstream.inbound.is_empty() && upstream.paused.is_none();
            match upstream.stage {
                Stage::Dialling | Stage::Binding if quiet >= dial => over.push((key, Some("dial_time"))),
                Stage::Ready if unfinished && now.saturating_sub(upstream.tail_since) >= message => {
                    over.push((key, Some("slow_message")));
                }
                Stage::Ready if upstream.live() == 0 && (quiet >= idle || upstream.retired) => {
                    over.push((key, None));
                }
                _ => {}
            }
        }
        for (key, fault) in over {
            match fault {
                Some(reason) => self.lose_upstream(key, reason),
                None => self.close_upstream(key),
            }
        }
    }
}

/// Which limit of time a client has passed.
fn overdue(client: &Client, settings: &Settings, now: u64) -> Option<&'static str> {
    let longer = |since: u64, milliseconds: u64| now.saturating_sub(since) >= milliseconds * 1_000;
    match client.phase {
        Phase::Closing => None,
        Phase::Plain => longer(client.opened, settings.message_milliseconds).then_some("no_tls"),
        Phase::Handshake => longer(client.opened, settings.handshake_milliseconds).then_some("handshake"),
        Phase::Open => {
            if client.blocked && longer(client.last_written, settings.write_stall_milliseconds) {
                return Some("write_stall");
            }
            if !client.inbound.is_empty() && longer(client.tail_since, settings.message_milliseconds) {
                return Some("message");
            }
            if !client.spoke && longer(client.last_active, settings.message_milliseconds) {
                return Some("first_message");
            }
            let idle = client.in_flight.is_empty() && client.out.is_empty();
            (idle && longer(client.last_active, settings.idle_milliseconds)).then_some("idle")
        }
    }
}
