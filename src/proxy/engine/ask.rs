//! What each directory of a route is asked, within the permits.

use std::sync::Arc;

use crate::ldap::ber::{self, Reader};
use crate::ldap::codec;
use crate::ldap::entry::Entry;
use crate::ldap::filter::Filter;
use crate::ldap::message::{Compare, Dereference, Message, Operation as Wire, ResultCode, Scope, Search};
use crate::namespace::projection::Projection;
use crate::namespace::questions;
use crate::namespace::routes::{self, Route};
use crate::policy::terms::Target;
use crate::proxy::engine::answer::Answer;
use crate::proxy::engine::audit;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::made::made;
use crate::proxy::engine::operation::{At, Leg, Operation, Part, Question, Shape};
use crate::proxy::engine::search::{Asking, Refused};
use crate::proxy::engine::upstream::Compiled;
use crate::release::hide;
use crate::release::permit::Permit;
use crate::release::view::{View, Wanted};

impl Engine {
    /// Asks the directories of a route, after the entries that are made here.
    pub(super) fn ask(&mut self, asking: &Asking<'_>, permits: Vec<Arc<Permit>>, route: Route) {
        let serial = self.next_serial();
        let mut audit = Vec::new();
        self.pool.equip(&mut audit);
        let single = match permits.as_slice() {
            [permit] => Some(permit.target().clone()),
            _ => None,
        };
        self.head(&mut audit, asking, serial, single.as_ref());
        let made: Vec<Entry> =
            route.synthesised.iter().filter_map(|entry| made(entry, asking.search, &permits)).collect();
        let mut parts: Vec<Part> = Vec::new();
        for leg in &route.legs {
            let Some(permit) = permits.iter().find(|permit| *permit.target() == leg.target) else { continue };
            if !self.usage.take(&asking.requester.id, permit, self.now) {
                for part in &parts {
                    self.usage.give_back(&asking.requester.id, part.permit.agreement());
                }
                let text = "more operations at once or per second than the release agreement allows";
                let answer = Answer::new(ResultCode::BUSY, text);
                return self.refuse(asking, &leg.target, &Refused { answer, why: "rate" });
            }
            parts.push(Part { permit: Arc::clone(permit), at: At::Waiting });
        }
        match parts.as_slice() {
            [part] => audit::decision(&mut audit, "permit", Some(part.permit.agreement())),
            _ => audit::decision(&mut audit, "permit", None),
        }
        let whole_tree = single.is_none() || route.legs.len() > 1;
        let (deadline, deadline_is_theirs) = self.deadline(asking.search, &parts);
        let size_limit = self.size_limit(asking.search, &parts);
        let open = parts.len();
        let operation = Operation {
            serial,
            client: asking.client,
            message_id: asking.id,
            requester: Arc::clone(&asking.requester),
            kind: asking.kind(),
            question: match asking.compare {
                None => Question::Search,
                Some(compare) => Question::Compare { filter: comparable(compare, &parts), outcome: None },
            },
            started: self.now,
            deadline,
            deadline_is_theirs,
            size_limit,
            whole_tree,
            parts,
            open,
            missing: 0,
            entries: 0,
            dropped: 0,
            code: ResultCode::SUCCESS,
            audit,
        };
        let key = self.operations.insert(operation);
        if let Some(client) = self.clients.get_mut(asking.client) {
            client.in_flight.push(key);
        }
        self.scan_soon();
        if !self.show_made(key, asking.search, &made) {
            return self.end_operation(key, &Answer::plain(ResultCode::SIZE_LIMIT_EXCEEDED));
        }
        if open == 0 {
            return self.end_operation(key, &Answer::plain(ResultCode::SUCCESS));
        }
        for (part, leg) in route.legs.iter().enumerate() {
            self.ask_one(asking, key, serial, part, leg);
        }
    }

    /// Microseconds, and whether the client or an agreement set it rather than we.
    fn deadline(&self, search: &Search<'_>, parts: &[Part]) -> (u64, bool) {
        let ours = self.settings.operation_milliseconds * 1_000;
        let asked = (search.time_limit > 0).then(|| u64::from(search.time_limit) * 1_000_000);
        let agreed = parts
            .iter()
            .map(|part| u64::try_from(part.permit.time_limit().whole_microseconds()).unwrap_or(0).max(1_000));
        match agreed.chain(asked).min() {
            Some(theirs) if theirs <= ours => (self.now + theirs, true),
            _ => (self.now + ours, false),
        }
    }

    fn size_limit(&self, search: &Search<'_>, parts: &[Part]) -> u32 {
        let agreed = parts.iter().map(|part| part.permit.size_limit());
        let asked = (search.size_limit > 0).then_some(search.size_limit);
        agreed.chain(asked).min().unwrap_or(self.settings.size_limit)
    }

    /// Sends one directory's question, or settles its part at once.
    fn ask_one(&mut self, asking: &Asking<'_>, key: usize, serial: u64, part: usize, to: &routes::Leg) {
        let at = match self.prepare(asking, key, serial, part, to) {
            Prepared::Ask(leg) => {
                let request = std::mem::take(&mut self.scratch);
                let at = self.launch(&to.target, *leg, &request);
                self.scratch = request;
                at
            }
            Prepared::Nothing => {
                self.settle(key, serial, part, At::Done, ResultCode::SUCCESS);
                return;
            }
            Prepared::Elsewhere => None,
        };
        match at {
            Some(at) => self.move_part(key, part, at),
            None => self.part_failed(key, serial, part),
        }
    }

    /// Shapes the question to one directory; its encoded request operation is left in `scratch`.
    fn prepare(
        &mut self,
        asking: &Asking<'_>,
        key: usize,
        serial: u64,
        part: usize,
        to: &routes::Leg,
    ) -> Prepared {
        let Some(operation) = self.operations.get(key) else { return Prepared::Elsewhere };
        let Some(permit) = operation.parts.get(part).map(|part| Arc::clone(&part.permit)) else {
            return Prepared::Elsewhere;
        };
        let (size, seconds) =
            (operation.size_limit, (operation.deadline.saturating_sub(self.now)).div_ceil(1_000_000));
        let Some(mapping) = self.snapshot.mounts.get(&to.target).map(|m| Arc::clone(&m.mapping)) else {
            return Prepared::Elsewhere;
        };
        let Some(projection) = self.projection(&to.target, permit.view()) else { return Prepared::Elsewhere };
        let base = match to.at_mount {
            true => mapping.local_suffix().to_owned(),
            false => match mapping.dn_to_local(&to.base) {
                Some(base) => base,
                None => return Prepared::Elsewhere,
            },
        };
        let scope = to.scope;
        let view = permit.view();
        let concealed = hide::conceal(&asking.search.filter, view);
        let question = questions::filter_to_local(&concealed, &mapping);
        let entries = permit.entry_filter().map(|f| questions::entry_filter_to_local(f, &mapping));
        let Some(filter) = questions::with_entry_filter(question.filter, entries) else {
            return Prepared::Nothing;
        };
        let compare = asking.compare.is_some();
        let names = asking.search.attributes.iter().map(|name| name.as_ref());
        let selection = match view.wanted(names) {
            Wanted::All => projection.all(asking.search.types_only),
            Wanted::These(these) => projection.only(these, asking.search.types_only),
        };
        let also = if question.needs_recheck { questions::attributes_of(&concealed) } else { Vec::new() };
        let attributes = match asking.compare {
            None => projection.attributes_to_local(&selection, also),
            Some(compare) => {
                let none = projection.only([], false);
                let asked = view.resolve(&compare.assertion.attribute).map(|visible| visible.name.as_str());
                projection.attributes_to_local(&none, asked)
            }
        };
        let wire = Search {
            base: base.as_str().into(),
            scope: if scope == Scope::Children { Scope::Subtree } else { scope },
            dereference: Dereference::Never,
            // Counting is ours: one more for the mount point, one more to know that there was more.
            size_limit: if question.needs_recheck || compare { 0 } else { size.saturating_add(2) },
            time_limit: u32::try_from(seconds.max(1)).unwrap_or(u32::MAX),
            types_only: false,
            filter,
            attributes: attributes.into_iter().map(Into::into).collect(),
        };
        encode_operation(&wire, &mut self.scratch);
        let recheck = (question.needs_recheck && !compare).then(|| concealed.into_owned());
        let at_mount = to.at_mount;
        let shape = Shape { projection: Arc::clone(&projection), selection, recheck, base, scope, at_mount };
        Prepared::Ask(Box::new(Leg::new(key, serial, part, shape)))
    }

    /// The mount's mapping seen through `view`, compiled at the first need.
    fn projection(&mut self, target: &Target, view: &Arc<View>) -> Option<Arc<Projection>> {
        let mapping = Arc::clone(&self.snapshot.mounts.get(target)?.mapping);
        let mount = self.mount(target)?;
        let known = mount
            .projections
            .iter()
            .find(|compiled| Arc::ptr_eq(&compiled.view, view) && Arc::ptr_eq(&compiled.mapping, &mapping));
        if let Some(compiled) = known {
            return Some(Arc::clone(&compiled.projection));
        }
        let projection = Arc::new(Projection::new(&mapping, view.names()));
        mount.projections.push(Compiled {
            mapping,
            view: Arc::clone(view),
            projection: Arc::clone(&projection),
        });
        Some(projection)
    }
}

enum Prepared {
    Ask(Box<Leg>),
    /// Nothing can match: success without asking.
    Nothing,
    /// The directory cannot be asked.
    Elsewhere,
}

fn comparable(compare: &Compare<'_>, parts: &[Part]) -> Option<Filter<'static>> {
    let view = parts.first()?.permit.view();
    hide::comparable(&compare.assertion, view).map(Filter::into_owned)
}

/// The request operation alone, without the message around it.
fn encode_operation(search: &Search<'_>, out: &mut Vec<u8>) {
    let mut message = Vec::with_capacity(256);
    codec::encode(&Message::new(1, Wire::SearchRequest(search.clone())), &mut message);
    out.clear();
    let mut reader = Reader::new(&message);
    if let Ok(mut body) = reader.nested(ber::SEQUENCE)
        && body.expect(ber::INTEGER).is_ok()
    {
        out.extend_from_slice(body.rest());
    }
}
