//! Entries that are made here: the root, the subschema, the points where directories are mounted.

use std::sync::Arc;

use crate::ldap::attribute;
use crate::ldap::codec;
use crate::ldap::entry::Entry;
use crate::ldap::message::{Message, Operation as Wire, ResultCode, Search};
use crate::ldap::truth::{Truth, evaluate};
use crate::namespace::routes;
use crate::proxy::engine::answer::{Answer, Asked};
use crate::proxy::engine::core::Engine;
use crate::release::hide;
use crate::release::permit::Permit;
use crate::release::view::View;

impl Engine {
    /// Answers a search from entries that are made here.
    pub(super) fn answer_entries(&mut self, client: usize, id: i32, search: &Search<'_>, entries: &[Entry]) {
        let limit = if search.size_limit > 0 { search.size_limit as usize } else { usize::MAX };
        let found: Vec<&Entry> = entries.iter().filter(|entry| matches(search, entry)).collect();
        let code = if found.len() > limit { ResultCode::SIZE_LIMIT_EXCEEDED } else { ResultCode::SUCCESS };
        self.pool_out(client, |out| {
            for entry in found.into_iter().take(limit) {
                put_made(out, id, search, entry);
            }
        });
        self.respond(client, id, Asked::Search, &Answer::plain(code));
    }

    /// Writes the entries that are made here; false when they are more than the limit.
    pub(super) fn show_made(&mut self, key: usize, search: &Search<'_>, entries: &[Entry]) -> bool {
        let Some(operation) = self.operations.get_mut(key) else { return true };
        let Some(client) = self.clients.get_mut(operation.client) else { return true };
        self.pool.equip(&mut client.out);
        for entry in entries {
            if operation.entries >= operation.size_limit {
                return false;
            }
            operation.entries += 1;
            put_made(&mut client.out, operation.message_id, search, entry);
        }
        true
    }
}

/// An entry of the tree's own, as far as it exists for the requester, when the filter selects it.
pub(super) fn made(entry: &routes::Synthetic, search: &Search<'_>, permits: &[Arc<Permit>]) -> Option<Entry> {
    // The root is seen through any of the requester's views; they agree on what its entry has.
    let permit = match &entry.target {
        Some(target) => permits.iter().find(|permit| permit.target() == target),
        None => permits.first(),
    };
    let view = permit.map(|permit| Arc::clone(permit.view())).unwrap_or_else(|| Arc::new(View::new([])));
    let released = entry.released(|name| view.visible(name));
    (evaluate(&hide::conceal(&search.filter, &view), &released) == Truth::True).then_some(released)
}

fn matches(search: &Search<'_>, entry: &Entry) -> bool {
    evaluate(&search.filter, entry) == Truth::True
}

/// Appends an entry that is made here, with what of it was asked for.
fn put_made(out: &mut Vec<u8>, id: i32, search: &Search<'_>, entry: &Entry) {
    let all = search.attributes.is_empty() || search.attributes.iter().any(|name| name == "*" || name == "+");
    let asked = |description: &str| {
        let name = attribute::canonical_name(description);
        all || search.attributes.iter().any(|asked| attribute::canonical_name(asked) == name)
    };
    let mut wire = entry.as_wire();
    wire.attributes.retain(|attribute| asked(&attribute.description));
    if search.types_only {
        wire.attributes.iter_mut().for_each(|attribute| attribute.values.clear());
    }
    codec::encode(&Message::new(id, Wire::SearchEntry(wire)), out);
}
