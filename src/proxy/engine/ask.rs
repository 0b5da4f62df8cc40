//! What each directory of a route is asked, within the permits.

use std::borrow::Cow;
use std::sync::Arc;

use crate::ldap::filter::Filter;
use crate::ldap::message::{Compare, Dereference, ResultCode, Scope, Search};
use crate::namespace::entries::{self, entries_to_local};
use crate::namespace::mapping::Mapping;
use crate::namespace::projection::{Projection, Selection};
use crate::namespace::questions;
use crate::namespace::routes::{self, Route};
use crate::policy::terms::Target;
use crate::proxy::engine::answer::Answer;
use crate::proxy::engine::audit;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::extras::{Extras, Walk, encode_search};
use crate::proxy::engine::made::{Made, made};
use crate::proxy::engine::operation::{At, Leg, Operation, Part, Question, Shape};
use crate::proxy::engine::search::{Asking, Refused};
use crate::proxy::engine::upstream::Compiled;
use crate::release::hide;
use crate::release::permit::Permit;
use crate::release::view::{View, Wanted};

const TOO_MANY: &str = "more operations at once or per second than the release agreement allows";

impl Engine {
    /// Asks the directories of a route, after the entries that are made here.
    pub(super) fn ask(&mut self, asking: &Asking<'_>, permits: Vec<Arc<Permit>>, route: Route) {
        let made: Vec<Made> =
            route.synthesised.iter().filter_map(|entry| made(entry, asking.search, &permits)).collect();
        let extras = match self.extras(asking, &route.legs, &permits) {
            Ok(extras) => extras,
            Err((answer, controls)) => {
                return self.respond_with(asking.client, asking.id, &answer, controls);
            }
        };
        let mut parts: Vec<Part> = Vec::new();
        for leg in &route.legs {
            let Some(permit) = permits.iter().find(|permit| *permit.target() == leg.target) else { continue };
            if let Some(text) = permit.filter_fault(&asking.search.filter) {
                let answer = Answer::new(ResultCode::UNWILLING_TO_PERFORM, text);
                return self.refuse(asking, Some(&leg.target), &Refused { answer, why: "filter" });
            }
            parts.push(Part::new(permit));
        }
        if !self.charge(asking, &mut parts) {
            return;
        }
        let single = match permits.as_slice() {
            [permit] => Some(permit.target().clone()),
            _ => None,
        };
        let whole_tree = route.from_root;
        let key = self.enter(asking, parts, single.as_ref(), whole_tree, extras);
        let Some((serial, open, beyond)) =
            self.operations.get(key).map(|o| (o.serial, o.open, o.extras.is_some()))
        else {
            return;
        };
        if beyond {
            return self.begin_beyond(key, asking, &made, &route.legs);
        }
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

    /// Counts an operation against the agreements of its parts that have not ended, or of the first when all have; when
    /// that is too much, the request is refused, and nothing was counted.
    pub(super) fn charge(&mut self, asking: &Asking<'_>, parts: &mut [Part]) -> bool {
        let mut over = None;
        let ended = parts.iter().all(|part| matches!(part.at, At::Done | At::Failed));
        for (at, part) in parts.iter_mut().enumerate() {
            if matches!(part.at, At::Done | At::Failed) && !(ended && at == 0) {
                continue;
            }
            part.charged = self.usage.take(&asking.requester.id, &part.permit, self.now);
            if !part.charged {
                over = Some(part.permit.target().clone());
                break;
            }
        }
        let Some(target) = over else { return true };
        for part in parts.iter_mut().filter(|part| part.charged) {
            part.charged = false;
            self.usage.give_back(&asking.requester.id, &part.permit);
        }
        self.metrics.busy.with_label_values(&["agreement"]).inc();
        let answer = Answer::new(ResultCode::BUSY, TOO_MANY);
        self.refuse(asking, Some(&target), &Refused { answer, why: "rate" });
        false
    }

    /// Enters an operation into the table.
    pub(super) fn enter(
        &mut self,
        asking: &Asking<'_>,
        parts: Vec<Part>,
        single: Option<&Target>,
        whole_tree: bool,
        extras: Option<Box<Extras>>,
    ) -> usize {
        let serial = self.next_serial();
        let mut audit = Vec::new();
        self.pool.equip(&mut audit);
        self.head(&mut audit, asking, serial, single);
        match parts.as_slice() {
            [part] => audit::decision(&mut audit, "permit", Some(part.permit.agreement())),
            _ => audit::decision(&mut audit, "permit", None),
        }
        let (deadline, deadline_is_theirs) = self.deadline(asking.search, &parts);
        let size_limit = match (&asking.controls.paging, extras.as_deref().and_then(|e| e.walk.as_ref())) {
            (Some(paging), Some(walk)) => self.page_limit(paging.size, walk, &parts),
            _ => self.size_limit(asking.search, &parts),
        };
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
            open: parts.iter().filter(|part| !matches!(part.at, At::Done | At::Failed)).count(),
            parts,
            missing: 0,
            entries: 0,
            dropped: 0,
            code: ResultCode::SUCCESS,
            audit,
            extras,
        };
        let key = self.operations.insert(operation);
        if let Some(client) = self.clients.get_mut(asking.client) {
            client.in_flight.push(key);
        }
        self.scan_soon();
        key
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

    /// Entries of this page: as many as the client, every agreement and what is left of the whole walk allow.
    fn page_limit(&self, page: u32, walk: &Walk, parts: &[Part]) -> u32 {
        let agreed = parts.iter().map(|part| part.permit.size_limit());
        let left = walk.limit.saturating_sub(walk.before);
        agreed.chain([page, left]).min().unwrap_or(self.settings.size_limit)
    }

    fn size_limit(&self, search: &Search<'_>, parts: &[Part]) -> u32 {
        let agreed = parts.iter().map(|part| part.permit.size_limit());
        let asked = (search.size_limit > 0).then_some(search.size_limit);
        agreed.chain(asked).min().unwrap_or(self.settings.size_limit)
    }

    /// Sends one directory's question, or settles its part at once.
    pub(super) fn ask_one(
        &mut self,
        asking: &Asking<'_>,
        key: usize,
        serial: u64,
        part: usize,
        to: &routes::Leg,
    ) {
        let at = match self.prepare(asking.search, asking.compare, key, part, to) {
            Prepared::Ask(leg) => {
                let request = std::mem::take(&mut self.scratch);
                let at = match self.operations.get(key).is_some_and(|operation| operation.extras.is_none()) {
                    true => self.launch_shared(&to.target, *leg, &request),
                    false => self.launch(&to.target, *leg, &request, None),
                };
                self.scratch = request;
                at
            }
            Prepared::Nothing => {
                self.settle(key, serial, part, At::Done, ResultCode::SUCCESS);
                return;
            }
            Prepared::Elsewhere => Err(ResultCode::UNAVAILABLE),
        };
        match at {
            Ok(at) => self.move_part(key, part, at),
            Err(code) => self.settle(key, serial, part, At::Failed, code),
        }
    }

    /// Shapes the question to one directory; its encoded request operation is left in `scratch`.
    pub(super) fn prepare(
        &mut self,
        search: &Search<'_>,
        compare: Option<&Compare<'_>>,
        key: usize,
        part: usize,
        to: &routes::Leg,
    ) -> Prepared {
        let Some(operation) = self.operations.get(key) else { return Prepared::Elsewhere };
        let Some(permit) = operation.parts.get(part).map(|part| Arc::clone(&part.permit)) else {
            return Prepared::Elsewhere;
        };
        let serial = operation.serial;
        let (size, seconds) = self.limits_behind(operation);
        let beyond = operation.extras.as_deref().and_then(|extras| extras.beyond(permit.view()));
        let Some(mapping) = self.snapshot.mounts.get(&to.target).map(|m| Arc::clone(&m.mapping)) else {
            return Prepared::Elsewhere;
        };
        let Some(projection) = self.projection(&to.target, &permit) else { return Prepared::Elsewhere };
        let Some(base) = local_base(to, &mapping) else { return Prepared::Elsewhere };
        let scope = to.scope;
        let view = permit.view();
        let concealed = hide::conceal(&search.filter, view);
        let contact = permit.reserve().map_or(&[][..], |reserve| &reserve.contact);
        let question = questions::filter_to_local(&concealed, &mapping, contact);
        let entries = permit.entry_filter_for(&concealed);
        let existing = entries.map(|filter| entries_to_local(filter, &mapping));
        let check_entries = entries.filter(|_| existing.as_ref().is_some_and(|existing| existing.check));
        let Some(filter) = questions::with_entry_filter(question.filter, existing.and_then(|e| e.filter))
        else {
            return Prepared::Nothing;
        };
        let types_only = search.types_only && beyond.as_ref().is_none_or(|beyond| beyond.values.is_empty());
        let selection = selection(search, view, &projection, types_only);
        let attributes = match compare {
            None => {
                let mut also = Vec::new();
                if question.needs_recheck {
                    also = questions::attributes_of(&concealed);
                }
                also.extend(beyond.iter().flat_map(|beyond| beyond.attributes()));
                projection.attributes_to_local(&selection, also)
            }
            Some(compare) => compared(compare, view, &projection),
        };
        let more = check_entries.map(|filter| entries::needs(filter, &mapping)).unwrap_or_default();
        let asked_widely = question.needs_recheck || compare.is_some() || check_entries.is_some();
        let wire = Search {
            base: base.as_str().into(),
            scope: if scope == Scope::Children { Scope::Subtree } else { scope },
            dereference: Dereference::Never,
            size_limit: if asked_widely { 0 } else { size },
            time_limit: seconds,
            types_only: false,
            filter,
            attributes: with_more(attributes, &more),
        };
        encode_search(wire, &mut self.scratch);
        let recheck = (question.needs_recheck && compare.is_none()).then(|| concealed.into_owned());
        let shape = Shape {
            projection: Arc::clone(&projection),
            selection,
            recheck,
            check_entries: check_entries.cloned(),
            base,
            scope,
            at_mount: to.at_mount,
            beyond,
        };
        Prepared::Ask(Box::new(Leg::new(key, serial, part, shape)))
    }

    /// Entries and seconds that a directory is asked for at most. Counting is ours: one more for the mount point, one more
    /// to know that there was more.
    fn limits_behind(&self, operation: &Operation) -> (u32, u32) {
        let mut size = operation.size_limit.saturating_add(2);
        let mut time = operation.deadline.saturating_sub(self.now);
        if let Some(extras) = operation.extras.as_deref() {
            if extras.sorting.is_some() {
                let most = u32::try_from(self.settings.sort_entries).unwrap_or(u32::MAX);
                size = size.max(most.saturating_add(2));
            } else if extras.walk.is_some() {
                // RFC 2696 section 3: the same request for every page, whatever is left of this one.
                (size, time) = (0, operation.deadline.saturating_sub(operation.started));
            }
        }
        (size, u32::try_from(time.div_ceil(1_000_000).max(1)).unwrap_or(u32::MAX))
    }

    /// The mount's mapping seen through the permit's view, compiled at the first need.
    fn projection(&mut self, target: &Target, permit: &Permit) -> Option<Arc<Projection>> {
        let view = permit.view();
        let mapping = Arc::clone(&self.snapshot.mounts.get(target)?.mapping);
        let mount = self.mount(target)?;
        let known = mount
            .projections
            .iter()
            .find(|compiled| Arc::ptr_eq(&compiled.view, view) && Arc::ptr_eq(&compiled.mapping, &mapping));
        if let Some(compiled) = known {
            return Some(Arc::clone(&compiled.projection));
        }
        let mut projection = Projection::new(&mapping, view.names());
        if let Some(reserve) = permit.reserve() {
            projection = projection.reserving(&reserve.attribute, &reserve.values, &reserve.contact);
        }
        let projection = Arc::new(projection);
        mount.projections.push(Compiled {
            mapping,
            view: Arc::clone(view),
            projection: Arc::clone(&projection),
        });
        Some(projection)
    }
}

/// What came of shaping a question.
pub(super) enum Prepared {
    Ask(Box<Leg>),
    /// Nothing can match: success without asking.
    Nothing,
    /// The directory cannot be asked.
    Elsewhere,
}

/// Where the directory is searched.
fn local_base(to: &routes::Leg, mapping: &Mapping) -> Option<String> {
    match to.at_mount {
        true => Some(mapping.local_suffix().to_owned()),
        false => mapping.dn_to_local(&to.base),
    }
}

fn selection(search: &Search<'_>, view: &View, projection: &Projection, types_only: bool) -> Selection {
    match view.wanted(search.attributes.iter().map(|name| name.as_ref())) {
        Wanted::All => projection.all(types_only),
        Wanted::These(these) => projection.only(these, types_only),
    }
}

/// With what is looked at here and not shown for it.
fn with_more<'a>(mut list: Vec<&'a str>, more: &'a [String]) -> Vec<Cow<'a, str>> {
    if !more.is_empty() {
        // `1.1` asks for none, and means nothing beside others
        list.retain(|name| *name != "1.1");
    }
    for name in more {
        if !list.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            list.push(name);
        }
    }
    list.into_iter().map(Cow::Borrowed).collect()
}

/// The one attribute that is compared, if it exists for the requester.
fn compared<'p>(compare: &Compare<'_>, view: &View, projection: &'p Projection) -> Vec<&'p str> {
    let none = projection.only([], false);
    let asked = view.resolve(&compare.assertion.attribute).map(|visible| visible.name.as_str());
    projection.attributes_to_local(&none, asked)
}

fn comparable(compare: &Compare<'_>, parts: &[Part]) -> Option<Filter<'static>> {
    let view = parts.first()?.permit.view();
    hide::comparable(&compare.assertion, view).map(Filter::into_owned)
}
