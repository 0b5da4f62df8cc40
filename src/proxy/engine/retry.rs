//! Asking again: of another server when one did not answer, over another connection when one is held up, and of
//! whoever comes for what waits.

use crate::ldap::message::ResultCode;
use crate::policy::terms::Target;
use crate::proxy::engine::balance::Places;
use crate::proxy::engine::choose::Choice;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::operation::Leg;
use crate::proxy::engine::ranges::Ranges;
use crate::proxy::engine::turns::Paces;

impl Engine {
    /// Asks another server than the one at `place` what that one did not answer. Only while nothing of its answer went
    /// out to the client and its time is not over; searches and compares change nothing, so asking twice is safe. Gives
    /// the leg back when nobody else is to be asked.
    pub(super) fn ask_elsewhere(&mut self, target: &Target, leg: Leg, place: Option<usize>) -> Option<Leg> {
        let others = self.mounts.get(target).map_or(0, |mount| mount.servers.len().saturating_sub(1));
        let most = self.settings.retries.min(u32::try_from(others).unwrap_or(u32::MAX));
        if leg.attempts >= most || !self.can_be_asked_again(&leg) {
            return Some(leg);
        }
        if let Some(mount) = self.mounts.get(target) {
            mount.metrics.retries.inc();
        }
        let attempts = leg.attempts + 1;
        self.ask_again(target, leg, attempts, place);
        None
    }

    /// Whether a question can be asked as if it had never been.
    pub(super) fn can_be_asked_again(&self, leg: &Leg) -> bool {
        let operation = self.operations.get(leg.operation);
        let wanted = operation.is_some_and(|o| o.serial == leg.serial && self.now < o.deadline);
        // a walk goes on where it was, on its own connection, or not at all
        wanted && leg.released == 0 && leg.page.is_none() && !leg.request.is_empty()
    }

    /// Asks as if for the first time; when that cannot be, the leg's part of its operation has failed.
    pub(super) fn ask_again(&mut self, target: &Target, mut leg: Leg, attempts: u32, avoid: Option<usize>) {
        let (operation, part, serial) = (leg.operation, leg.part, leg.serial);
        let request = std::mem::take(&mut leg.request);
        if let Some(shared) = leg.shared.take() {
            self.share(target, *shared, ResultCode::UNAVAILABLE, false);
        }
        let fresh = Leg { entries: 0, broken: false, attempts, ranges: Ranges::default(), ..leg };
        match self.launch(target, fresh, &request, avoid) {
            Ok(at) => self.move_part(operation, part, at),
            Err(_) => self.part_failed(operation, serial, part),
        }
        self.pool.give(request);
    }

    /// Sees to those that wait for a connection: they are sent, wait on, or hear that nobody can be asked.
    pub(super) fn tend_waiting(&mut self, target: &Target) {
        self.drop_stale_waiting(target);
        if self.mounts.get(target).is_none_or(|mount| mount.waiting.is_empty()) {
            return;
        }
        let first = self.mounts.get(target).and_then(|mount| mount.waiting.front());
        let paces = first.map_or(Paces::QUICK, |waiting| waiting.leg.paces);
        match self.choose(target, Places::NONE, paces) {
            Choice::Send(key) => self.send_waiting(target, key),
            Choice::Wait | Choice::Full => {}
            Choice::Nowhere => {
                let Some(mount) = self.mounts.get_mut(target) else { return };
                for waiting in std::mem::take(&mut mount.waiting) {
                    self.part_failed(waiting.leg.operation, waiting.leg.serial, waiting.leg.part);
                    self.pool.give(waiting.request);
                }
            }
        }
    }

    /// Forgets waiting legs whose operation has ended meanwhile.
    fn drop_stale_waiting(&mut self, target: &Target) {
        let Some(mount) = self.mounts.get_mut(target) else { return };
        let operations = &self.operations;
        mount.waiting.retain(|w| operations.get(w.leg.operation).is_some_and(|o| o.serial == w.leg.serial));
    }

    /// The same for every mount.
    pub(super) fn tend_all_waiting(&mut self) {
        let waiting = self.mounts.iter().filter(|(_, mount)| !mount.waiting.is_empty());
        let targets: Vec<Target> = waiting.map(|(target, _)| target.clone()).collect();
        for target in targets {
            self.tend_waiting(&target);
        }
    }
}
