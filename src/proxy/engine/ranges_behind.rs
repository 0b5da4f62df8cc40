//! Reading the rest of entries whose directory cut an attribute into ranges. They are asked for one after the other,
//! of the server and on the connection that cut them, between the directory's answer and what follows it.

use crate::ldap::codec;
use crate::ldap::entry::{Entry, EntryReader};
use crate::ldap::filter::Filter;
use crate::ldap::message::{Dereference, Message, Operation as Wire, ResultCode, Scope, Search};
use crate::policy::terms::Target;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::extras::encode_search;
use crate::proxy::engine::operation::Leg;
use crate::proxy::engine::ranges::{Step, Then};

impl Engine {
    /// The directory's answer has ended, and entries of it are not whole.
    pub(super) fn read_ranges(&mut self, target: &Target, key: usize, mut leg: Leg, then: Then) {
        if let Some(shared) = leg.shared.take() {
            // Who waits reads the rest by itself: it may see other attributes of the entries.
            self.share(target, *shared, ResultCode::UNAVAILABLE, false);
        }
        leg.ranges.begin(then);
        self.read_on(target, key, leg);
    }

    /// A question for the rest of an entry has ended.
    pub(super) fn range_done(&mut self, target: &Target, key: usize, mut leg: Leg, code: ResultCode) {
        if !leg.ranges.ended(code) {
            tracing::debug!(directory = %target, code = code.0, "a directory does not tell the rest of a cut attribute");
            if let Some(mount) = self.mounts.get(target) {
                mount.metrics.fault("range");
            }
            leg.ranges.give_up();
            leg.broken = true;
            return self.leg_done(target, leg, ResultCode::UNAVAILABLE);
        }
        self.read_on(target, key, leg);
    }

    fn read_on(&mut self, target: &Target, key: usize, mut leg: Leg) {
        loop {
            match leg.ranges.step() {
                Step::Over(then) => return self.go_on(target, key, leg, then),
                Step::Show(entry, whole) => self.show_whole(target, key, &mut leg, &entry, whole),
                Step::Ask(name, attributes) => return self.ask_range(key, leg, &name, &attributes),
            }
        }
    }

    fn show_whole(&mut self, target: &Target, key: usize, leg: &mut Leg, entry: &Entry, whole: bool) {
        let operation = self.operations.get_mut(leg.operation).filter(|o| o.serial == leg.serial);
        let Some(operation) = operation else { return };
        if !whole && operation.code == ResultCode::SUCCESS {
            operation.code = ResultCode::ADMIN_LIMIT_EXCEEDED;
        }
        let message = codec::to_bytes(&Message::new(1, Wire::SearchEntry(entry.as_wire())));
        let limits = self.behind;
        let next = match EntryReader::read(&message, &limits) {
            Ok(reader) => self.desk().take(leg, &reader),
            Err(_) => Err("malformed"),
        };
        match next {
            Ok(Some(next)) => self.after_entry(target, Some(key), leg.operation, next),
            Ok(None) => {}
            Err(_) => leg.broken = true,
        }
    }

    fn ask_range(&mut self, key: usize, leg: Leg, name: &str, attributes: &[String]) {
        let (operation, serial, part) = (leg.operation, leg.serial, leg.part);
        let Some(deadline) =
            self.operations.get(operation).filter(|o| o.serial == serial).map(|o| o.deadline)
        else {
            return self.pool.give(leg.request);
        };
        let seconds = deadline.saturating_sub(self.now).div_ceil(1_000_000).max(1);
        let search = Search {
            base: name.into(),
            scope: Scope::Base,
            dereference: Dereference::Never,
            size_limit: 0,
            time_limit: u32::try_from(seconds).unwrap_or(u32::MAX),
            types_only: false,
            filter: Filter::present("objectClass"),
            attributes: attributes.iter().map(|name| name.as_str().into()).collect(),
        };
        let mut request = std::mem::take(&mut self.scratch);
        encode_search(search, &mut request);
        let sent = self.send(key, leg, &request, &[]);
        self.scratch = request;
        match sent {
            Some(at) => self.move_part(operation, part, at),
            None => self.part_failed(operation, serial, part),
        }
    }
}
