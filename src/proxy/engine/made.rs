//! Entries that are made here: the root, the subschema, the points where directories are mounted.

use std::sync::Arc;

use crate::ldap::attribute;
use crate::ldap::codec;
use crate::ldap::control::Control;
use crate::ldap::entry::Entry;
use crate::ldap::message::{Message, Operation as Wire, ResultCode, Search};
use crate::ldap::truth::{Truth, evaluate};
use crate::ldap::typed_control::{PagedResults, SortAnswer};
use crate::namespace::routes;
use crate::proxy::engine::answer::Answer;
use crate::proxy::engine::completeness;
use crate::proxy::engine::controls::Controls;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::root::OPERATIONAL;
use crate::proxy::engine::values;
use crate::release::hide;
use crate::release::permit::Permit;
use crate::release::view::View;

/// A search with its controls.
#[derive(Clone, Copy)]
pub(super) struct Requested<'a> {
    pub(super) search: &'a Search<'a>,
    pub(super) controls: &'a Controls<'a>,
}

/// An entry that is made here, with what exists for whoever sees it.
pub(super) struct Made {
    pub(super) entry: Entry,
    pub(super) view: Arc<View>,
}

impl Engine {
    /// Answers a search from one entry that is made here.
    pub(super) fn answer_entry(&mut self, client: usize, id: i32, asked: &Requested<'_>, mut entry: Entry) {
        let Requested { search, controls } = *asked;
        let found = matches(search, &entry);
        if !controls.values.is_empty() {
            values::keep(&mut entry, &controls.values);
        }
        self.pool_out(client, |out| {
            if found {
                out.extend_from_slice(&message(id, search, &entry));
            }
        });
        let controls = alone(controls);
        self.respond_with(client, id, &Answer::plain(ResultCode::SUCCESS), controls);
    }

    /// Writes the entries that are made here; false when they are more than the limit.
    pub(super) fn show_made(&mut self, key: usize, search: &Search<'_>, entries: &[Made]) -> bool {
        let Some(operation) = self.operations.get_mut(key) else { return true };
        let Some(client) = self.clients.get_mut(operation.client) else { return true };
        self.pool.equip(&mut client.out);
        for made in entries {
            if operation.entries >= operation.size_limit {
                return false;
            }
            operation.entries += 1;
            client.out.extend_from_slice(&message(operation.message_id, search, &made.entry));
        }
        true
    }
}

/// An entry of the tree's own, as far as it exists for the requester, when the filter selects it.
pub(super) fn made(entry: &routes::Synthetic, search: &Search<'_>, permits: &[Arc<Permit>]) -> Option<Made> {
    // The root is seen through any of the requester's views; they agree on what its entry has.
    let permit = match &entry.target {
        // They come in the order of the directories.
        Some(target) => {
            let found = permits.binary_search_by(|permit| permit.target().cmp(target));
            found.ok().and_then(|at| permits.get(at))
        }
        None => permits.first(),
    };
    let view = permit.map(|permit| Arc::clone(permit.view())).unwrap_or_else(|| Arc::new(View::new([])));
    let entry = entry.released(|name| view.visible(name));
    let selected = evaluate(&hide::conceal(&search.filter, &view), &entry) == Truth::True;
    selected.then_some(Made { entry, view })
}

/// What the controls say of a result of at most one entry: it is one page, and in every order.
fn alone(controls: &Controls<'_>) -> Vec<Control<'static>> {
    let mut answers = Vec::new();
    if controls.paging.is_some() {
        answers.push(PagedResults::default().control(false));
    }
    if controls.sort.is_some() {
        answers.push(SortAnswer { code: ResultCode::SUCCESS, attribute: None }.control());
    }
    if controls.completeness {
        answers.push(completeness::answer(&[], None, ResultCode::SUCCESS, false));
    }
    answers
}

fn matches(search: &Search<'_>, entry: &Entry) -> bool {
    evaluate(&search.filter, entry) == Truth::True
}

/// The message of an entry that is made here, with what of it was asked for (RFC 4511 section 4.5.1.8, RFC 3673).
pub(super) fn message(id: i32, search: &Search<'_>, entry: &Entry) -> Vec<u8> {
    let mut wire = entry.as_wire();
    wire.attributes.retain(|attribute| is_asked(search, &attribute.description));
    if search.types_only {
        wire.attributes.iter_mut().for_each(|attribute| attribute.values.clear());
    }
    codec::to_bytes(&Message::new(id, Wire::SearchEntry(wire)))
}

/// Operational attributes come only when they are named or all of them are asked for with `+`.
fn is_asked(search: &Search<'_>, name: &str) -> bool {
    let operational = OPERATIONAL.iter().find(|(operational, _)| *operational == name);
    if search.attributes.is_empty() {
        return operational.is_none();
    }
    let canonical = attribute::canonical_name(name);
    search.attributes.iter().any(|asked| match asked.as_ref() {
        "*" => operational.is_none(),
        "+" => operational.is_some(),
        // Nothing made here has options.
        asked if asked.contains(';') => false,
        asked => {
            attribute::canonical_name(asked) == canonical || operational.is_some_and(|(_, oid)| *oid == asked)
        }
    })
}
