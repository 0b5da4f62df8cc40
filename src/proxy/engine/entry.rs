//! An entry of a directory on its way to a client: checked to the last byte, held against the filter again where the
//! directory could not be exact, written as the requester may see it.

use slab::Slab;

use crate::ldap::entry::EntryReader;
use crate::ldap::error::DecodeError;
use crate::ldap::filter::Filter;
use crate::ldap::limits::Limits;
use crate::ldap::message::{ResultCode, Scope};
use crate::namespace::entries;
use crate::namespace::error::EntryError;
use crate::namespace::projection;
use crate::namespace::questions;
use crate::namespace::recheck::still_matches;
use crate::policy::terms::Target;
use crate::proxy::engine::answer::Answer;
use crate::proxy::engine::client::Client;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::extras;
use crate::proxy::engine::key::UpstreamId;
use crate::proxy::engine::operation::{Leg, Operation, Question, Shape};
use crate::proxy::engine::pool::Pool;
use crate::proxy::engine::scope::lies_in;
use crate::proxy::engine::sorting;
use crate::proxy::engine::upstream::LONG;
use crate::proxy::engine::values;
use crate::proxy::settings::Settings;

/// A result is long from this many entries on: the driver may pause to read more at once.
pub const STREAMING: u32 = 3;

/// What is to happen after an entry.
pub(super) enum Next {
    Nothing,
    /// It was looked at for a compare.
    Compared,
    /// It was written: look at the limits of the client.
    Written,
    /// It does not check: the directory's answer is not complete then.
    Dropped,
    /// One more than the limit.
    SizeLimit,
    /// The directory cut an attribute of it into ranges: it waits for the rest.
    Cut,
    /// It is kept for later: to be sorted, or for the next page.
    Kept,
    /// It is kept, and more than can be sorted.
    Unsortable,
}

/// What the engine lends for showing an entry, whoever holds the entry's leg.
pub(super) struct Desk<'a> {
    pub(super) operations: &'a mut Slab<Operation>,
    pub(super) clients: &'a mut Slab<Client>,
    pub(super) pool: &'a mut Pool,
    pub(super) scratch: &'a mut projection::Scratch,
    pub(super) whole: &'a mut Vec<u8>,
    pub(super) settings: &'a Settings,
    pub(super) behind: &'a Limits,
}

impl Desk<'_> {
    /// Shows an entry that came for `leg`, with what is to happen then; None when nobody waits for it any more.
    pub(super) fn take(
        &mut self,
        leg: &mut Leg,
        entry: &EntryReader<'_>,
    ) -> Result<Option<Next>, &'static str> {
        let Some(operation) = self.operations.get_mut(leg.operation) else { return Ok(None) };
        if operation.serial != leg.serial {
            return Ok(None);
        }
        let Some(client) = self.clients.get_mut(operation.client) else { return Ok(None) };
        let (base, scope) = (leg.shape.base.as_str(), leg.shape.scope);
        let next = if scope == Scope::Children && lies_in(entry.dn, base, Scope::Base) {
            // The directory was asked for the subtree: not every one knows this scope.
            Next::Nothing
        } else if !lies_in(entry.dn, base, scope) {
            Next::Dropped
        } else {
            self.pool.equip(&mut client.out);
            let mut work = Work {
                shape: &leg.shape,
                scratch: self.scratch,
                whole: self.whole,
                out: &mut client.out,
                sortable: (self.settings.sort_entries, self.settings.sort_bytes),
                may_wait: leg.ranges.has_room(self.settings),
            };
            match work.take(operation, entry, self.behind) {
                Ok(next) => next,
                Err(EntryError::Malformed(_)) => return Err("malformed"),
                Err(error) => {
                    tracing::debug!(%error, "an entry of a directory behind was dropped");
                    Next::Dropped
                }
            }
        };
        match next {
            Next::Written | Next::Compared | Next::Kept | Next::Unsortable => leg.released += 1,
            Next::Dropped => leg.broken = true,
            Next::Cut => leg.ranges.keep(entry).map_err(|_| "malformed")?,
            Next::Nothing | Next::SizeLimit => {}
        }
        Ok(Some(next))
    }
}

impl Engine {
    /// One entry of a search. What cannot be proved clean is not passed on, and counted.
    pub(super) fn entry(&mut self, key: usize, id: UpstreamId, bytes: &[u8]) -> Result<(), &'static str> {
        let Some(upstream) = self.upstreams.get_mut(key) else { return Ok(()) };
        let Some(leg) = upstream.leg(id) else { return Ok(()) };
        let reader = EntryReader::read(bytes, &self.behind).map_err(|_| "malformed")?;
        if leg.ranges.are_read() {
            return leg.ranges.take(&reader, self.settings.ranged_bytes).map_err(|_| "malformed");
        }
        leg.entries += 1;
        let (operation, entries) = (leg.operation, leg.entries);
        self.streaming |= entries > STREAMING;
        if let Some(shared) = &mut leg.shared {
            shared.keep(bytes, self.settings.shared_bytes);
        }
        let mut desk = Desk {
            operations: &mut self.operations,
            clients: &mut self.clients,
            pool: &mut self.pool,
            scratch: &mut self.entry_scratch,
            whole: &mut self.whole_entry,
            settings: &self.settings,
            behind: &self.behind,
        };
        let Some(next) = desk.take(leg, &reader)? else { return Ok(()) };
        if entries == LONG {
            upstream.note_long();
        }
        let target = upstream.mount.clone();
        self.after_entry(&target, Some(key), operation, next);
        Ok(())
    }

    pub(super) fn desk(&mut self) -> Desk<'_> {
        Desk {
            operations: &mut self.operations,
            clients: &mut self.clients,
            pool: &mut self.pool,
            scratch: &mut self.entry_scratch,
            whole: &mut self.whole_entry,
            settings: &self.settings,
            behind: &self.behind,
        }
    }

    /// `feeding`: the upstream connection that more may come from.
    pub(super) fn after_entry(
        &mut self,
        target: &Target,
        feeding: Option<usize>,
        operation: usize,
        next: Next,
    ) {
        match next {
            Next::Nothing | Next::Compared | Next::Cut => {}
            Next::Written => {
                if let Some(mount) = self.mounts.get(target) {
                    mount.metrics.entries.inc();
                }
                let Some(client) = self.operations.get(operation).map(|operation| operation.client) else {
                    return;
                };
                self.mark_client(client, false);
                if let Some(upstream) = feeding {
                    self.restrain(client, upstream, operation);
                }
            }
            Next::Kept | Next::Unsortable => {
                if let Some(mount) = self.mounts.get(target) {
                    mount.metrics.entries.inc();
                }
                if matches!(next, Next::Unsortable) {
                    self.unsortable(operation);
                }
            }
            Next::Dropped => {
                if let Some(mount) = self.mounts.get(target) {
                    mount.metrics.dropped.inc();
                }
                if let Some(operation) = self.operations.get_mut(operation) {
                    operation.dropped += 1;
                }
            }
            Next::SizeLimit => {
                self.end_operation(operation, &Answer::plain(ResultCode::SIZE_LIMIT_EXCEEDED));
            }
        }
    }
}

/// What showing one entry needs.
struct Work<'a> {
    shape: &'a Shape,
    scratch: &'a mut projection::Scratch,
    whole: &'a mut Vec<u8>,
    out: &'a mut Vec<u8>,
    /// Entries and bytes that can be sorted at once.
    sortable: (usize, usize),
    /// The entry may wait for the rest of a cut attribute; otherwise it goes on without that attribute, and the result
    /// says that it is not complete.
    may_wait: bool,
}

impl Work<'_> {
    fn take(
        &mut self,
        operation: &mut Operation,
        entry: &EntryReader<'_>,
        limits: &Limits,
    ) -> Result<Next, EntryError> {
        let mapping = self.shape.projection.mapping();
        if self.shape.check_entries.as_ref().is_some_and(|filter| !entries::admits(filter, entry, mapping)) {
            return Ok(Next::Nothing);
        }
        let recheck = match &operation.question {
            Question::Search => self.shape.recheck.as_ref(),
            Question::Compare { .. } => None,
        };
        let keys = self.shape.beyond.as_ref().is_some_and(|beyond| !beyond.orders.is_empty());
        if matches!(operation.question, Question::Compare { .. }) || recheck.is_some() || keys {
            if self.write_whole(entry)? && self.may_wait {
                return Ok(Next::Cut);
            }
            if let Question::Compare { filter, outcome } = &mut operation.question {
                *outcome = Some(compared(filter.as_ref(), self.whole, limits)?);
                return Ok(Next::Compared);
            }
            if let Some(filter) = recheck
                && (self.whole.is_empty() || !still_matches(filter, self.whole, limits)?)
            {
                return Ok(Next::Nothing);
            }
        }
        if operation.extras.is_some() {
            return self.take_beyond(operation, entry, limits);
        }
        let selection = &self.shape.selection;
        let projection = &self.shape.projection;
        let start = self.out.len();
        let written =
            projection.entry_to_federated(entry, operation.message_id, selection, self.scratch, self.out);
        let written = written.inspect_err(|_| self.out.truncate(start))?;
        if written.mount_point {
            return Ok(Next::Nothing);
        }
        if written.ranged && self.may_wait {
            self.out.truncate(start);
            return Ok(Next::Cut);
        }
        if operation.entries >= operation.size_limit {
            self.out.truncate(start);
            return Ok(Next::SizeLimit);
        }
        operation.entries += 1;
        if written.ranged && operation.code == ResultCode::SUCCESS {
            operation.code = ResultCode::ADMIN_LIMIT_EXCEEDED;
        }
        Ok(Next::Written)
    }

    /// The same for an operation with extras: the entry is written apart, for it may be kept or lose values.
    fn take_beyond(
        &mut self,
        operation: &mut Operation,
        entry: &EntryReader<'_>,
        limits: &Limits,
    ) -> Result<Next, EntryError> {
        let mut message = Vec::new();
        let (projection, selection) = (&self.shape.projection, &self.shape.selection);
        let written = projection.entry_to_federated(entry, 1, selection, self.scratch, &mut message)?;
        if written.mount_point {
            return Ok(Next::Nothing);
        }
        if written.ranged && self.may_wait {
            return Ok(Next::Cut);
        }
        let beyond = self.shape.beyond.as_deref();
        if let Some(beyond) = beyond.filter(|beyond| !beyond.values.is_empty()) {
            message = values::keep_in(&message, &beyond.values, beyond.types_only, limits)?;
        }
        if written.ranged && operation.code == ResultCode::SUCCESS {
            operation.code = ResultCode::ADMIN_LIMIT_EXCEEDED;
        }
        let body = extras::body(&message);
        let Some(extras) = operation.extras.as_deref_mut() else { return Ok(Next::Nothing) };
        if let (Some(sorting), Some(beyond)) = (&mut extras.sorting, beyond) {
            let keys = sorting::keys_of(&beyond.orders, self.whole, limits)?;
            let fits = sorting.gather(keys, body.to_vec(), self.sortable);
            return Ok(if fits { Next::Kept } else { Next::Unsortable });
        }
        if operation.entries >= operation.size_limit {
            return Ok(match &mut extras.walk {
                None => Next::SizeLimit,
                Some(walk) if walk.ready.is_empty() => {
                    walk.ready.push_back(body.to_vec());
                    Next::Kept
                }
                // It was asked for one beyond the page and sends more.
                Some(_) => Next::Dropped,
            });
        }
        operation.entries += 1;
        extras::put(self.out, operation.message_id, body);
        Ok(Next::Written)
    }

    /// The entry with everything that is visible, for looking at; whether an attribute was cut into ranges.
    fn write_whole(&mut self, entry: &EntryReader<'_>) -> Result<bool, EntryError> {
        self.whole.clear();
        let all = self.shape.projection.all(false);
        let written = self.shape.projection.entry_to_federated(entry, 1, &all, self.scratch, self.whole)?;
        Ok(written.ranged)
    }
}

/// One constant for hidden and for absent. `entry` is the whole message as released.
fn compared(
    filter: Option<&Filter<'static>>,
    entry: &[u8],
    limits: &Limits,
) -> Result<ResultCode, DecodeError> {
    let Some(filter) = filter else { return Ok(ResultCode::NO_SUCH_ATTRIBUTE) };
    if still_matches(filter, entry, limits)? {
        return Ok(ResultCode::COMPARE_TRUE);
    }
    for name in questions::attributes_of(filter) {
        if still_matches(&Filter::present(name), entry, limits)? {
            return Ok(ResultCode::COMPARE_FALSE);
        }
    }
    Ok(ResultCode::NO_SUCH_ATTRIBUTE)
}
