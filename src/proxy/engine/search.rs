//! Search and compare: who may, where it leads, what each directory is asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ldap::attribute;
use crate::ldap::ber::{self, Reader};
use crate::ldap::codec;
use crate::ldap::dn::Dn;
use crate::ldap::entry::Entry;
use crate::ldap::filter::Filter;
use crate::ldap::message::{Compare, Dereference, Message, Operation as Wire, ResultCode, Scope, Search};
use crate::ldap::truth::{Truth, evaluate};
use crate::namespace::error::RouteError;
use crate::namespace::projection::Projection;
use crate::namespace::questions;
use crate::namespace::routes::{self, Route, Routes};
use crate::policy::terms::Target;
use crate::proxy::engine::answer::{self, Answer, Asked};
use crate::proxy::engine::audit;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::operation::{At, Leg, Operation, Part, Question, Shape};
use crate::proxy::engine::root::{self, SUBSCHEMA};
use crate::proxy::engine::tree::{self, Place};
use crate::proxy::engine::upstream::Compiled;
use crate::release::decide::decide;
use crate::release::hide;
use crate::release::permit::Permit;
use crate::release::requester::{Operation as Kind, Requester};
use crate::release::view::{View, Wanted};

/// A request that passed the checks which every search and compare must pass.
struct Asking<'a> {
    client: usize,
    id: i32,
    asked: Asked,
    requester: Arc<Requester>,
    search: &'a Search<'a>,
    /// Of a compare: what is compared.
    compare: Option<&'a Compare<'a>>,
}

impl Asking<'_> {
    fn kind(&self) -> Kind {
        if self.compare.is_some() { Kind::Compare } else { Kind::Search }
    }
}

/// No, with what the requester is told and why for the record.
struct Refused {
    answer: Answer,
    why: &'static str,
}

/// Where a request leads.
struct Led {
    permits: Vec<Arc<Permit>>,
    route: Route,
}

impl Engine {
    pub(super) fn search(&mut self, client: usize, id: i32, search: &Search<'_>) {
        if search.scope == Scope::Base && search.base.is_empty() {
            return self.answer_entries(client, id, search, &[root::root()]);
        }
        let Some(requester) = self.admitted(client, id, Asked::Search) else { return };
        let asking = Asking { client, id, asked: Asked::Search, requester, search, compare: None };
        if search.scope == Scope::Base && search.base.eq_ignore_ascii_case(SUBSCHEMA) {
            return self.answer_entries(client, id, search, &[root::subschema()]);
        }
        match self.lead(&asking) {
            Ok(Led { permits, route }) => self.ask(&asking, permits, route),
            Err(Some(answer)) => self.respond(client, id, Asked::Search, &answer),
            Err(None) => {}
        }
    }

    /// A compare is a read of the entry, compared here.
    pub(super) fn compare(&mut self, client: usize, id: i32, compare: &Compare<'_>) {
        let Some(requester) = self.admitted(client, id, Asked::Compare) else { return };
        let search = Search {
            base: compare.dn.clone(),
            scope: Scope::Base,
            dereference: Dereference::Never,
            size_limit: 0,
            time_limit: 0,
            types_only: false,
            filter: Filter::present("objectClass"),
            attributes: Vec::new(),
        };
        let asked = Asked::Compare;
        let asking = Asking { client, id, asked, requester, search: &search, compare: Some(compare) };
        match self.lead(&asking) {
            // The entries that are made here have nothing that anybody compares.
            Ok(Led { route, .. }) if route.legs.is_empty() => {
                self.respond(client, id, asked, &Answer::plain(ResultCode::NO_SUCH_OBJECT));
            }
            Ok(Led { permits, route }) => self.ask(&asking, permits, route),
            Err(Some(answer)) => self.respond(client, id, asked, &answer),
            Err(None) => {}
        }
    }

    /// Who asks, when anything but the root entry may be asked for now; otherwise the answer went out.
    fn admitted(&mut self, client: usize, id: i32, asked: Asked) -> Option<Arc<Requester>> {
        let asking = self.clients.get(client)?;
        let in_flight = asking.in_flight.len();
        let answer = match &asking.bound {
            None => Answer::new(
                ResultCode::STRONGER_AUTH_REQUIRED,
                "bind first: show a client certificate and use SASL EXTERNAL",
            ),
            Some(_) if in_flight >= self.settings.in_flight as usize => {
                Answer::new(ResultCode::BUSY, "too many operations in flight on this connection")
            }
            Some(_) if self.draining => Answer::new(ResultCode::UNAVAILABLE, "the gateway is going down"),
            Some(bound) => return Some(Arc::clone(&bound.requester)),
        };
        self.respond(client, id, asked, &answer);
        None
    }

    fn permit(&self, requester: &Requester, kind: Kind, target: &Target) -> Result<Permit, Refused> {
        match decide(requester, kind, target, &self.gates, &self.snapshot.agreements, self.wall) {
            Ok(permit) if self.snapshot.mounts.contains_key(target) => Ok(permit),
            Ok(_) => Err(Refused { answer: Answer::plain(ResultCode::NO_SUCH_OBJECT), why: "not_mounted" }),
            Err(refusal) => Err(Refused {
                answer: Answer::new(ResultCode(refusal.code), refusal.text),
                why: refusal.kind.as_str(),
            }),
        }
    }

    /// Which directories a request leads to, and the permits for them; or the answer, unless it was sent already.
    fn lead(&mut self, asking: &Asking<'_>) -> Result<Led, Option<Answer>> {
        let base =
            Dn::parse(&asking.search.base).map_err(|_| Some(Answer::plain(ResultCode::INVALID_DN_SYNTAX)))?;
        let scope = asking.search.scope;
        let (target, at_mount) = match tree::place(&base) {
            Place::Nowhere => return Err(Some(Answer::plain(ResultCode::NO_SUCH_OBJECT))),
            Place::Root => return self.lead_from_root(asking, &base).map_err(Some),
            Place::Mount(target) => (target, true),
            Place::Below(target) => (target, false),
        };
        let permits = match self.permit(&asking.requester, asking.kind(), &target) {
            Ok(permit) => vec![Arc::new(permit)],
            Err(refused) => {
                self.refuse(asking, &target, &refused);
                return Err(None);
            }
        };
        let mut legs = Vec::new();
        let mut made = Vec::new();
        if at_mount && matches!(scope, Scope::Base | Scope::Subtree) {
            // Routes makes the entry of a mount point; asked for that one alone, it has nothing else to walk.
            made = Routes::new([routes::Mount { target: target.clone(), mail_domains: BTreeSet::new() }])
                .route(&base, Scope::Base, &asking.search.filter, &|_| true, 1)
                .map_or_else(|_| Vec::new(), |route| route.synthesised);
        }
        if !(at_mount && scope == Scope::Base) {
            legs.push(routes::Leg { target, base: asking.search.base.to_string(), scope, at_mount });
        }
        Ok(Led { permits, route: Route { synthesised: made, legs } })
    }

    /// Who may not ask a directory does not learn that it is there.
    fn lead_from_root(&mut self, asking: &Asking<'_>, base: &Dn) -> Result<Led, Answer> {
        let snapshot = Arc::clone(&self.snapshot);
        let permits: Vec<Arc<Permit>> = snapshot
            .routes
            .targets()
            .filter_map(|target| self.permit(&asking.requester, asking.kind(), target).ok().map(Arc::new))
            .collect();
        let reachable = |target: &Target| permits.iter().any(|permit| permit.target() == target);
        let (scope, filter) = (asking.search.scope, &asking.search.filter);
        let route = snapshot.routes.route(base, scope, filter, &reachable, self.settings.fan_out);
        match route {
            Ok(route) => Ok(Led { permits, route }),
            Err(RouteError::NoSuchObject) => Err(Answer::plain(ResultCode::NO_SUCH_OBJECT)),
            Err(error @ RouteError::TooBroad { .. }) => {
                Err(Answer::new(ResultCode::ADMIN_LIMIT_EXCEEDED, error.to_string()))
            }
        }
    }

    /// Asks the directories of a route, after the entries that are made here.
    fn ask(&mut self, asking: &Asking<'_>, permits: Vec<Arc<Permit>>, route: Route) {
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

    fn head(&self, out: &mut Vec<u8>, asking: &Asking<'_>, serial: u64, target: Option<&Target>) {
        let connection = self.clients.get(asking.client).map_or(0, |client| client.serial);
        audit::head(
            out,
            &audit::Head {
                shard: self.shard,
                serial,
                connection,
                at: self.wall,
                requester: Some(&asking.requester),
                operation: asking.asked.as_str(),
                target,
            },
        );
        match asking.compare {
            None => audit::shape(out, &asking.search.filter),
            Some(compare) => audit::shape(out, &Filter::Equality(compare.assertion.clone())),
        }
    }

    /// Counts and records a refusal; the answer is the caller's to send.
    fn refuse(&mut self, asking: &Asking<'_>, target: &Target, refused: &Refused) {
        if let Some(mount) = self.mount(target) {
            mount.metrics.refused.inc();
        }
        let serial = self.next_serial();
        let mut head = Vec::new();
        self.pool.equip(&mut head);
        self.head(&mut head, asking, serial, Some(target));
        audit::decision(&mut head, refused.why, None);
        let code = refused.answer.code.0;
        self.record(&head, &audit::End { code, entries: 0, dropped: 0, missing: 0, microseconds: 0 });
        self.pool.give(head);
        self.pool_out(asking.client, |out| answer::put(out, asking.id, asking.asked, &refused.answer));
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

    /// Answers a search from entries that are made here.
    fn answer_entries(&mut self, client: usize, id: i32, search: &Search<'_>, entries: &[Entry]) {
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
    fn show_made(&mut self, key: usize, search: &Search<'_>, entries: &[Entry]) -> bool {
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

/// An entry of the tree's own, as far as it exists for the requester, when the filter selects it.
fn made(entry: &routes::Synthetic, search: &Search<'_>, permits: &[Arc<Permit>]) -> Option<Entry> {
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
