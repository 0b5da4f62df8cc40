//! The same question of the same directory, asked again while it is on its way: it is asked once, and everybody gets the
//! answer, each as it may see it.

use crate::ldap::codec;
use crate::ldap::entry::EntryReader;
use crate::ldap::message::ResultCode;
use crate::policy::terms::Target;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::operation::{At, Leg, Shared};
use crate::proxy::engine::recent::digest;

impl Engine {
    /// Sends a question, or has it wait for the answer to the same one; see [`Engine::launch`].
    pub(super) fn launch_shared(
        &mut self,
        target: &Target,
        mut leg: Leg,
        request: &[u8],
    ) -> Result<At, ResultCode> {
        if self.settings.shared_questions == 0 {
            return self.launch(target, leg, request, None);
        }
        let digest = digest(request);
        if leg.request.is_empty() {
            self.pool.equip(&mut leg.request);
            leg.request.extend_from_slice(request);
        }
        let leg = match self.join(target, digest, leg, request) {
            None => return Ok(At::Waiting),
            Some(leg) => leg,
        };
        let at = self.launch(target, leg, request, None)?;
        if let At::Sent { upstream, slot } = at
            && let Some(id) = self.upstreams.get(upstream).and_then(|upstream| upstream.id_of(slot))
            && let Some(mount) = self.mounts.get_mut(target)
        {
            mount.recent.note(digest, upstream, id);
        }
        Ok(at)
    }

    /// Has a question wait for the answer to the same one. Gives it back when there is none, or its answer has begun.
    fn join(&mut self, target: &Target, digest: u64, mut leg: Leg, request: &[u8]) -> Option<Leg> {
        let Some(mount) = self.mounts.get(target) else { return Some(leg) };
        let Some((upstream, id)) = mount.recent.find(digest) else { return Some(leg) };
        let upstream = self.upstreams.get_mut(upstream).filter(|upstream| upstream.mount == *target);
        let Some(asked) = upstream.and_then(|upstream| upstream.leg(id)) else { return Some(leg) };
        let followers = asked.shared.as_ref().map_or(0, |shared| shared.followers.len());
        let fits = asked.entries == 0
            && !asked.broken
            && asked.page.is_none()
            && asked.request == request
            && followers < self.settings.shared_questions;
        if !fits {
            return Some(leg);
        }
        mount.metrics.shared.inc();
        leg.sent = self.now;
        asked.shared.get_or_insert_default().followers.push(leg);
        None
    }

    /// The answer to a question that others wait for has ended. Where it can be theirs, they get it; otherwise each asks
    /// for itself.
    pub(super) fn share(&mut self, target: &Target, shared: Shared, code: ResultCode, good: bool) {
        for mut follower in shared.followers {
            if !good || shared.overflowed {
                self.orphans.push((target.clone(), follower));
                continue;
            }
            self.replay(target, &mut follower, &shared.replay);
            match follower.ranges.is_empty() {
                true => self.leg_done(target, follower, code),
                false => {
                    follower.ranges.give_up();
                    follower.broken = true;
                    self.leg_done(target, follower, ResultCode::UNAVAILABLE);
                }
            }
        }
    }

    fn replay(&mut self, target: &Target, follower: &mut Leg, messages: &[u8]) {
        let mut rest = messages;
        while let Ok(Some(length)) = codec::frame(rest, &self.behind) {
            let Some((message, after)) = rest.split_at_checked(length) else { return };
            rest = after;
            follower.entries += 1;
            let limits = self.behind;
            let next = match EntryReader::read(message, &limits) {
                Ok(reader) => self.desk().take(follower, &reader),
                Err(_) => Err("malformed"),
            };
            match next {
                Ok(Some(next)) => self.after_entry(target, None, follower.operation, next),
                Ok(None) => return,
                Err(_) => follower.broken = true,
            }
        }
    }

    /// Questions that waited for an answer which is not coming are asked by themselves.
    pub(super) fn ask_orphans(&mut self) {
        while let Some((target, mut leg)) = self.orphans.pop() {
            let request = std::mem::take(&mut leg.request);
            match self.operations.get(leg.operation).is_some_and(|o| o.serial == leg.serial) {
                true => self.look_again(&target, leg, request),
                false => self.pool.give(request),
            }
        }
    }
}
