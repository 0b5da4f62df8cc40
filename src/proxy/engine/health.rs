//! Whether servers live: our own short questions, connections that hang, and how long a server is left alone.

use crate::ldap::codec;
use crate::ldap::filter::Filter;
use crate::ldap::message::{Dereference, Message, Operation, ResultCode, Scope, Search};
use crate::policy::terms::Target;
use crate::proxy::engine::breaker::longest_pause;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::key::PROBE_ID;
use crate::proxy::engine::upstream::{Stage, Upstream};

/// So many questions in a row answered with `busy` or `unavailable`, and a server is left alone while others answer.
const STRIKES: u32 = 3;

/// Between two turns there is less time than this while there are connections. When there was more, the machine stood
/// still or a turn was long, and bytes may wait that nobody has read.
const STOOD_STILL_MICROSECONDS: u64 = 500_000;

/// What a look at a connection finds.
enum Finding {
    /// A closer look is due: questions are open and nothing comes.
    Silent,
    /// Nothing was asked for a while.
    Idle,
    /// Our own question has no answer and nothing else came either.
    Hung,
}

impl Engine {
    /// Before a turn: time in which we did not look is not held against the directories.
    pub(super) fn excuse_upstreams(&mut self, gap: u64) {
        if gap > STOOD_STILL_MICROSECONDS {
            self.upstreams.iter_mut().for_each(|(_, upstream)| upstream.excuse(gap));
        }
    }

    /// Probes connections that are silent or idle, and closes those that hang.
    pub(super) fn scan_health(&mut self) {
        let found: Vec<(usize, Finding)> = self
            .upstreams
            .iter()
            .filter_map(|(key, upstream)| self.finding(key, upstream).map(|finding| (key, finding)))
            .collect();
        for (key, finding) in found {
            match finding {
                Finding::Hung => {
                    if let Some(upstream) = self.upstreams.get(key)
                        && let Some(mount) = self.mounts.get(&upstream.mount)
                    {
                        mount.metrics.probes_missed.inc();
                    }
                    self.give_up_dials(key);
                    self.lose_upstream(key, "hung");
                }
                Finding::Idle => self.probe(key),
                Finding::Silent => {
                    if let Some(upstream) = self.upstreams.get_mut(key) {
                        upstream.suspect = true;
                        // From now on the answer is awaited as that to any other probe.
                        if std::mem::take(&mut upstream.sounding) {
                            upstream.probed = Some(self.now);
                        }
                    }
                    self.probe(key);
                    self.ask_beside(key);
                }
            }
        }
        self.try_again();
    }

    fn finding(&self, key: usize, upstream: &Upstream) -> Option<Finding> {
        // A connection that we do not read is not silent of its own accord.
        if upstream.stage != Stage::Ready || upstream.paused.is_some() {
            return None;
        }
        let settings = &self.settings;
        let over = |since: u64, milliseconds: u64| self.now.saturating_sub(since) >= milliseconds * 1_000;
        if let Some(probed) = upstream.probed.filter(|_| upstream.sounding) {
            let silent = over(probed.max(upstream.heard), settings.silence_milliseconds);
            return silent.then_some(Finding::Silent);
        }
        if let Some(probed) = upstream.probed {
            // There are servers that answer what comes on one connection one after the other, probes as well: while others
            // are answered, this one is at work. But no question lives for longer than an operation.
            let lives = self.beside(key).any(|other| other.answered > probed);
            let most = if lives { settings.operation_milliseconds } else { settings.probe_milliseconds };
            return over(probed.max(upstream.heard), most).then_some(Finding::Hung);
        }
        if upstream.silent_since.is_some_and(|since| over(since, settings.silence_milliseconds)) {
            return Some(Finding::Silent);
        }
        let quiet = upstream.heard.max(upstream.active);
        let idle = upstream.live() == 0 && !upstream.retired && over(quiet, settings.probe_idle_milliseconds);
        idle.then_some(Finding::Idle)
    }

    /// Makes another connection to the server of a silent one, if it has none: whether it lives or hangs shows there.
    fn ask_beside(&mut self, key: usize) {
        let Some(upstream) = self.upstreams.get(key).filter(|upstream| !upstream.retired) else { return };
        let (target, place) = (upstream.mount.clone(), upstream.place);
        let server = self.mounts.get(&target).and_then(|mount| mount.servers.get(place));
        let may = server.is_some_and(|server| server.breaker().may_dial(self.now));
        if may && self.beside(key).next().is_none() {
            self.dial(&target, place);
        }
    }

    /// The other connections to the server of a connection.
    fn beside(&self, key: usize) -> impl Iterator<Item = &Upstream> {
        let of = self.upstreams.get(key);
        let mount = of.and_then(|upstream| self.mounts.get(&upstream.mount));
        let keys = mount.into_iter().flat_map(|mount| &mount.upstreams).filter(move |other| **other != key);
        let others = keys.filter_map(|other| self.upstreams.get(*other));
        others.filter(move |other| !other.retired && of.is_some_and(|of| of.place == other.place))
    }

    /// Whether another connection to the same server is suspect, so that this one has to tell.
    pub(super) fn is_witness(&self, key: usize) -> bool {
        self.beside(key).any(|other| other.suspect)
    }

    /// A server hangs: nobody waits any more for connections to it that have not come for as long as a probe takes.
    fn give_up_dials(&mut self, key: usize) {
        let Some(hung) = self.upstreams.get(key) else { return };
        let most = self.settings.probe_milliseconds * 1_000;
        let vain = |upstream: &Upstream| {
            matches!(upstream.stage, Stage::Dialling | Stage::Binding)
                && (&upstream.mount, upstream.place) == (&hung.mount, hung.place)
                && self.now.saturating_sub(upstream.active) >= most
        };
        let vain: Vec<usize> =
            self.upstreams.iter().filter(|(_, upstream)| vain(upstream)).map(|(key, _)| key).collect();
        vain.into_iter().for_each(|key| self.close_upstream(key));
    }

    /// Servers that were left alone for long enough are tried once each, before a question has to do it, and only while the
    /// mount is in use.
    fn try_again(&mut self) {
        let in_use = self.settings.upstream_idle_milliseconds * 1_000;
        let mut due: Vec<(Target, usize)> = Vec::new();
        for (target, mount) in &self.mounts {
            if self.now.saturating_sub(mount.asked) >= in_use {
                continue;
            }
            let servers = mount.servers.iter().enumerate();
            let places = servers.filter(|(_, server)| server.breaker().is_due(self.now) && !server.refused);
            due.extend(places.map(|(place, _)| (target.clone(), place)));
        }
        for (target, place) in due {
            let of = |upstream: &&Upstream| upstream.place == place && !upstream.retired;
            let ready = self.mounts.get(&target).and_then(|mount| {
                mount.upstreams.iter().copied().find(|key| {
                    let upstream = self.upstreams.get(*key).filter(of);
                    upstream.is_some_and(|u| u.stage == Stage::Ready && u.paused.is_none())
                })
            });
            match ready {
                Some(key) => self.probe(key),
                None => self.dial(&target, place),
            }
        }
    }

    /// Asks for the root entry, without any attribute: every server answers that at once (RFC 4512 section 5.1).
    pub(super) fn probe(&mut self, key: usize) {
        let (now, seconds) = (self.now, self.settings.probe_milliseconds.div_ceil(1_000).max(1));
        let over = now + self.settings.probe_milliseconds * 1_000;
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        if upstream.stage != Stage::Ready || upstream.probed.is_some() {
            return;
        }
        upstream.probed = Some(now);
        let search = Search {
            base: "".into(),
            scope: Scope::Base,
            dereference: Dereference::Never,
            size_limit: 1,
            time_limit: u32::try_from(seconds).unwrap_or(u32::MAX),
            types_only: false,
            filter: Filter::present("objectClass"),
            attributes: vec!["1.1".into()],
        };
        self.pool.equip(&mut upstream.out);
        codec::encode(&Message::new(PROBE_ID, Operation::SearchRequest(search)), &mut upstream.out);
        if !upstream.retired
            && let Some(mount) = self.mounts.get_mut(&upstream.mount)
            && let Some(server) = mount.servers.get_mut(upstream.place)
        {
            server.begin(over);
        }
        self.scan_soon();
        self.mark_upstream(key);
    }

    /// A question was given up, and not every server stops to work on it then. Where others are answered one after the other,
    /// the answer to a short question that is sent behind it tells when it is done.
    pub(super) fn sound(&mut self, key: usize) {
        let now = self.now;
        let Some(upstream) = self.upstreams.get_mut(key).filter(|u| u.stage == Stage::Ready) else { return };
        if !self.mounts.get(&upstream.mount).is_some_and(|mount| mount.turns.goes_on()) {
            return;
        }
        upstream.given_up = Some(now);
        if upstream.probed.is_none() {
            upstream.sounding = true;
            self.probe(key);
        }
    }

    /// Something that was sent at that time is answered: what was given up before is done with, as far as can be seen.
    pub(super) fn is_done_since(&mut self, key: usize, sent: u64) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        if let Some(mount) = self.mounts.get_mut(&upstream.mount) {
            mount.turns.overtook(key, sent);
        }
        let Some(given_up) = upstream.given_up else { return };
        if given_up <= sent {
            upstream.given_up = None;
        } else if upstream.probed.is_none() {
            upstream.sounding = true;
            self.probe(key);
        }
    }

    /// An answer to a message id that no question has.
    pub(super) fn probed(&mut self, key: usize, id: i32, bytes: &[u8]) -> Result<(), &'static str> {
        let Some(upstream) = self.upstreams.get_mut(key) else { return Ok(()) };
        if id != PROBE_ID || upstream.probed.is_none() {
            return Err("unknown_id");
        }
        let message = codec::decode(bytes, &self.behind).map_err(|_| "malformed")?;
        let code = match message.operation {
            // One entry is enough; whoever sends on and on has not answered.
            Operation::SearchEntry(_) | Operation::SearchReference(_) => {
                return self.unasked(key, bytes.len());
            }
            Operation::SearchDone(outcome) => outcome.code,
            _ => return Err("unexpected_operation"),
        };
        let sent = upstream.probed.take().unwrap_or(self.now);
        upstream.sounding = false;
        upstream.suspect = false;
        upstream.answered = self.now;
        self.is_done_since(key, sent);
        let Some(upstream) = self.upstreams.get(key) else { return Ok(()) };
        let (target, place, retired) = (upstream.mount.clone(), upstream.place, upstream.retired);
        let Some(mount) = self.mounts.get_mut(&target) else { return Ok(()) };
        if declines(code) {
            mount.metrics.probes_missed.inc();
            if !retired {
                self.leave_alone(&target, place);
            }
            return Ok(());
        }
        mount.metrics.probes_answered.inc();
        if !retired && let Some(server) = mount.servers.get_mut(place) {
            server.close();
            server.prove();
        }
        Ok(())
    }

    /// The connection answered a question for the first time: its server does more than take connections.
    pub(super) fn prove(&mut self, key: usize) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        upstream.proven = true;
        if !upstream.retired
            && let Some(mount) = self.mounts.get_mut(&upstream.mount)
            && let Some(server) = mount.servers.get_mut(upstream.place)
        {
            server.prove();
        }
    }

    /// A server answered that it does not answer. Once it has done so too often it is left alone, where there are others.
    pub(super) fn strike(&mut self, key: usize) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        upstream.strikes = upstream.strikes.saturating_add(1);
        let (target, place) = (upstream.mount.clone(), upstream.place);
        if upstream.strikes < STRIKES || upstream.retired {
            return;
        }
        upstream.strikes = 0;
        if self.mounts.get(&target).is_some_and(|mount| mount.servers.len() > 1) {
            self.leave_alone(&target, place);
        }
    }

    /// After a fault: no new connection to the server for a while, which doubles with every fault in a row, with jitter
    /// over its upper half.
    pub(super) fn leave_alone(&mut self, target: &Target, place: usize) {
        let server = self.mounts.get(target).and_then(|mount| mount.servers.get(place));
        let failures = server.map_or(0, |server| server.breaker().failures());
        let first = self.settings.back_off_milliseconds;
        let most = match self.is_last(target, place) {
            true => self.settings.back_off_alone_milliseconds.min(self.settings.back_off_max_milliseconds),
            false => self.settings.back_off_max_milliseconds,
        };
        let longest = longest_pause(failures, first * 1_000, most * 1_000);
        let pause = longest / 2 + self.jitter(longest / 2 + 1);
        let now = self.now;
        if let Some(server) = self.mounts.get_mut(target).and_then(|mount| mount.servers.get_mut(place)) {
            server.open(now, pause);
        }
    }

    /// Whether no other server of the mount works, so that the directory is away for as long as this one is left alone.
    fn is_last(&self, target: &Target, place: usize) -> bool {
        let Some(mount) = self.mounts.get(target) else { return false };
        let mut others = mount.servers.iter().enumerate().filter(|(at, _)| *at != place);
        mount.servers.get(place).is_some_and(|server| !server.refused)
            && others.all(|(_, server)| !server.breaker().is_closed())
    }
}

/// Whether a server says that it cannot answer, so that another one may.
pub(super) fn declines(code: ResultCode) -> bool {
    matches!(code, ResultCode::BUSY | ResultCode::UNAVAILABLE)
}

#[cfg(test)]
mod tests;
