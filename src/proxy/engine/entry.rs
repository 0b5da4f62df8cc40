//! An entry of a directory on its way to a client: checked to the last byte, held against the filter again where the
//! directory could not be exact, written as the requester may see it.

use crate::ldap::dn::Dn;
use crate::ldap::entry::EntryReader;
use crate::ldap::error::DecodeError;
use crate::ldap::filter::Filter;
use crate::ldap::limits::Limits;
use crate::ldap::message::{ResultCode, Scope};
use crate::namespace::entries;
use crate::namespace::error::EntryError;
use crate::namespace::questions;
use crate::namespace::recheck::still_matches;
use crate::policy::terms::Target;
use crate::proxy::engine::answer::Answer;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::extras;
use crate::proxy::engine::key::UpstreamId;
use crate::proxy::engine::operation::{Operation, Question, Shape};
use crate::proxy::engine::sorting;
use crate::proxy::engine::upstream::LONG;
use crate::proxy::engine::values;

/// A result is long from this many entries on: the driver may pause to read more at once.
pub const STREAMING: u32 = 3;

/// What is to happen after an entry.
enum Next {
    Nothing,
    /// It was looked at for a compare.
    Compared,
    /// It was written: look at the limits of the client.
    Written,
    /// It does not check: the directory's answer is not complete then.
    Dropped,
    /// One more than the limit.
    SizeLimit,
    /// It is kept for later: to be sorted, or for the next page.
    Kept,
    /// It is kept, and more than can be sorted.
    Unsortable,
}

impl Engine {
    /// One entry of a search. What cannot be proved clean is not passed on, and counted.
    pub(super) fn entry(&mut self, key: usize, id: UpstreamId, bytes: &[u8]) -> Result<(), &'static str> {
        let Some(upstream) = self.upstreams.get_mut(key) else { return Ok(()) };
        let Some(leg) = upstream.leg(id) else { return Ok(()) };
        leg.entries += 1;
        let (operation_key, entries) = (leg.operation, leg.entries);
        self.streaming |= entries > STREAMING;
        let reader = EntryReader::read(bytes, &self.behind).map_err(|_| "malformed")?;
        let Some(operation) = self.operations.get_mut(operation_key) else { return Ok(()) };
        if operation.serial != leg.serial {
            return Ok(());
        }
        let client_key = operation.client;
        let Some(client) = self.clients.get_mut(client_key) else { return Ok(()) };
        let (base, scope) = (leg.shape.base.as_str(), leg.shape.scope);
        let next = if scope == Scope::Children && lies_in(reader.dn, base, Scope::Base) {
            // The directory was asked for the subtree: not every one knows this scope.
            Next::Nothing
        } else if !lies_in(reader.dn, base, scope) {
            Next::Dropped
        } else {
            self.pool.equip(&mut client.out);
            let mut work = Work {
                shape: &leg.shape,
                scratch: &mut self.entry_scratch,
                whole: &mut self.whole_entry,
                out: &mut client.out,
                sortable: (self.settings.sort_entries, self.settings.sort_bytes),
            };
            match work.take(operation, &reader, &self.behind) {
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
            Next::Nothing | Next::SizeLimit => {}
        }
        if entries == LONG {
            upstream.note_long();
        }
        let target = upstream.mount.clone();
        self.after_entry(&target, key, operation_key, client_key, next);
        Ok(())
    }

    fn after_entry(&mut self, target: &Target, upstream: usize, operation: usize, client: usize, next: Next) {
        match next {
            Next::Nothing | Next::Compared => {}
            Next::Written => {
                if let Some(mount) = self.mounts.get(target) {
                    mount.metrics.entries.inc();
                }
                self.mark_client(client, false);
                self.restrain(client, upstream, operation);
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
    scratch: &'a mut crate::namespace::projection::Scratch,
    whole: &'a mut Vec<u8>,
    out: &'a mut Vec<u8>,
    /// Entries and bytes that can be sorted at once.
    sortable: (usize, usize),
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
            self.write_whole(entry)?;
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

    /// The entry with everything that is visible, for looking at.
    fn write_whole(&mut self, entry: &EntryReader<'_>) -> Result<(), EntryError> {
        self.whole.clear();
        let all = self.shape.projection.all(false);
        self.shape.projection.entry_to_federated(entry, 1, &all, self.scratch, self.whole)?;
        Ok(())
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

/// Whether an entry lies where was asked. Fast for the spelling that directories use, exact for every other.
fn lies_in(name: &str, base: &str, scope: Scope) -> bool {
    let ends = name.len().checked_sub(base.len()).and_then(|at| name.split_at_checked(at));
    if let Some((prefix, end)) = ends
        && end.eq_ignore_ascii_case(base)
    {
        match scope {
            Scope::Base if prefix.is_empty() => return true,
            Scope::Subtree if prefix.is_empty() => return true,
            // A comma that an escape does not precede ends a relative name.
            Scope::Subtree | Scope::Children if prefix.ends_with(',') && !prefix.ends_with("\\,") => {
                return true;
            }
            _ => {}
        }
    }
    let (Ok(name), Ok(base)) = (Dn::parse(name), Dn::parse(base)) else { return false };
    let below = name.is_at_or_below(&base);
    match scope {
        Scope::Base => below && name.depth() == base.depth(),
        Scope::One => below && name.depth() == base.depth() + 1,
        Scope::Subtree => below,
        Scope::Children => below && name.depth() > base.depth(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_elsewhere_are_seen() {
        let base = "ou=Staff,dc=rxa,dc=test";
        for (name, scope, lies) in [
            ("ou=staff,DC=rxa,DC=test", Scope::Base, true),
            ("OU=Staff, DC=rxa, DC=test", Scope::Base, true),
            ("cn=a,ou=Staff,dc=rxa,dc=test", Scope::Base, false),
            ("cn=a,ou=Staff,dc=rxa,dc=test", Scope::One, true),
            ("cn=a,ou=x,ou=Staff,dc=rxa,dc=test", Scope::One, false),
            ("cn=a\\,b,ou=Staff,dc=rxa,dc=test", Scope::One, true),
            ("cn=a,ou=x,ou=Staff,dc=rxa,dc=test", Scope::Subtree, true),
            ("cn=x,ou=NotStaff,dc=rxa,dc=test", Scope::Subtree, false),
            ("cn=a\\,ou=Staff,dc=rxa,dc=test", Scope::Subtree, false),
            ("cn=a\\\\,ou=Staff,dc=rxa,dc=test", Scope::Subtree, true),
            ("ou=Staff,dc=rxa,dc=test", Scope::Children, false),
            ("dc=test", Scope::Subtree, false),
            ("nonsense", Scope::Subtree, false),
        ] {
            assert_eq!(lies_in(name, base, scope), lies, "{name} {scope:?}");
        }
    }
}
