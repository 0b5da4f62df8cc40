//! Search and compare: who may, where it leads, what each directory is asked.

use std::sync::Arc;

use crate::ldap::entry::Entry;
use crate::ldap::filter::Filter;
use crate::ldap::message::{Compare, Dereference, ResultCode, Scope, Search};
use crate::namespace::routes::{self, FromRoot, Route, Sought};
use crate::policy::terms::Target;
use crate::proxy::engine::answer::{self, Answer, Asked};
use crate::proxy::engine::audit;
use crate::proxy::engine::client::Phase;
use crate::proxy::engine::controls::Controls;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::made;
use crate::proxy::engine::root::{self, SUBSCHEMA};
use crate::proxy::engine::subschema;
use crate::proxy::engine::tree::Place;
use crate::release::decide::{barred, decide, permitted};
use crate::release::hide;
use crate::release::permit::Permit;
use crate::release::refusal::Refusal;
use crate::release::requester::{Operation as Kind, Requester};
use crate::release::view::View;

/// A request that passed the checks which every search and compare must pass.
pub(super) struct Asking<'a> {
    pub(super) client: usize,
    pub(super) id: i32,
    pub(super) asked: Asked,
    pub(super) requester: Arc<Requester>,
    pub(super) search: &'a Search<'a>,
    pub(super) controls: &'a Controls<'a>,
    /// Of a compare: what is compared.
    pub(super) compare: Option<&'a Compare<'a>>,
}

impl Asking<'_> {
    pub(super) fn kind(&self) -> Kind {
        if self.compare.is_some() { Kind::Compare } else { Kind::Search }
    }
}

/// No, with what the requester is told and why for the record.
pub(super) struct Refused {
    pub(super) answer: Answer,
    pub(super) why: &'static str,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        let answer = Answer::new(ResultCode(refusal.code), refusal.text);
        Refused { answer, why: refusal.kind.as_str() }
    }
}

/// Where a request leads.
struct Led {
    permits: Vec<Arc<Permit>>,
    route: Route,
}

impl Engine {
    pub(super) fn search(&mut self, client: usize, id: i32, search: &Search<'_>, controls: &Controls<'_>) {
        let asked = made::Requested { search, controls };
        if let Some(paging) = &controls.paging {
            if !paging.cookie.is_empty() {
                let Some(requester) = self.admitted(client, id, Asked::Search) else { return };
                return self.resume_walk(client, id, requester, &asked, paging.size);
            }
            if paging.size == 0 {
                let answer = Answer::new(ResultCode::PROTOCOL_ERROR, "a page must have room for an entry");
                return self.respond(client, id, Asked::Search, &answer);
            }
        }
        if search.scope == Scope::Base && search.base.is_empty() {
            let plain = self.clients.get(client).is_some_and(|client| client.phase == Phase::Plain);
            return self.answer_entry(client, id, &asked, root::root(plain));
        }
        let Some(requester) = self.admitted(client, id, Asked::Search) else { return };
        let asking = Asking { client, id, asked: Asked::Search, requester, search, controls, compare: None };
        if search.scope == Scope::Base && search.base.eq_ignore_ascii_case(SUBSCHEMA) {
            let entry = self.subschema(&asking);
            return self.answer_entry(client, id, &asked, entry);
        }
        match self.lead(&asking) {
            Ok(Led { permits, route }) => self.ask(&asking, permits, route),
            Err(Some(answer)) => self.respond(client, id, Asked::Search, &answer),
            Err(None) => {}
        }
    }

    /// The subschema of whatever the requester may see somewhere.
    fn subschema(&self, asking: &Asking<'_>) -> Entry {
        let permits = self.permits(asking);
        let mut views: Vec<&View> = permits.iter().map(|permit| permit.view().as_ref()).collect();
        // One agreement, one view: most directories share a few.
        views.sort_unstable_by_key(|view| std::ptr::from_ref(*view));
        views.dedup_by_key(|view| std::ptr::from_ref(*view));
        subschema::subschema(&views)
    }

    /// A yes for every mounted directory that the requester may ask.
    fn permits(&self, asking: &Asking<'_>) -> Vec<Arc<Permit>> {
        let permit = |target| self.permit(&asking.requester, asking.kind(), target).ok().map(Arc::new);
        self.snapshot.routes.targets().filter_map(permit).collect()
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
        let controls = &Controls::default();
        let asking =
            Asking { client, id, asked, requester, search: &search, controls, compare: Some(compare) };
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
                self.metrics.busy.with_label_values(&["connection"]).inc();
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
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Which directories a request leads to, and the permits for them; or the answer, unless it was sent already.
    fn lead(&mut self, asking: &Asking<'_>) -> Result<Led, Option<Answer>> {
        let place = self.places.of(&asking.search.base);
        let place = place.map_err(|_| Some(Answer::plain(ResultCode::INVALID_DN_SYNTAX)))?;
        let scope = asking.search.scope;
        let (target, at_mount) = match place {
            Place::Nowhere => return Err(Some(Answer::plain(ResultCode::NO_SUCH_OBJECT))),
            Place::Root => match barred(&asking.requester, &self.gates, self.wall) {
                // Nobody may be asked, and that is no secret: without a word it would look like an empty tree.
                Some(refusal) => {
                    self.refuse(asking, None, &refusal.into());
                    return Err(None);
                }
                None => return self.lead_from_root(asking).map_err(Some),
            },
            Place::Mount(target) => (target, true),
            Place::Below(target) => (target, false),
        };
        let permits = match self.permit(&asking.requester, asking.kind(), &target) {
            Ok(permit) => vec![Arc::new(permit)],
            Err(refused) => {
                self.refuse(asking, Some(&target), &refused);
                return Err(None);
            }
        };
        let mut legs = Vec::new();
        let mut made = Vec::new();
        if at_mount && matches!(scope, Scope::Base | Scope::Subtree) {
            made.push(routes::Synthetic::mount(&target));
        }
        if !(at_mount && scope == Scope::Base) {
            legs.push(routes::Leg { target, base: asking.search.base.to_string(), scope, at_mount });
        }
        Ok(Led { permits, route: Route { synthesised: made, legs, from_root: false } })
    }

    /// Who may not ask a directory does not learn that it is there. What can match is worked out first, and permits are
    /// made for that alone.
    fn lead_from_root(&mut self, asking: &Asking<'_>) -> Result<Led, Answer> {
        let snapshot = Arc::clone(&self.snapshot);
        let (requester, kind) = (&asking.requester, asking.kind());
        let agreements: Vec<_> = snapshot.agreements.with(requester, kind, self.wall).collect();
        let filters: Vec<Filter<'_>> =
            agreements.iter().map(|a| hide::conceal(&asking.search.filter, a.view())).collect();
        let sought: Vec<Sought<'_>> = agreements
            .iter()
            .zip(&filters)
            .map(|(agreement, filter)| {
                // who knows an exact address may find people beside the population
                let common = agreement.entry_filter_for(filter) == agreement.entry_filter();
                let population = common.then(|| agreement.population().as_ref());
                Sought::new(agreement.targets(), filter, agreement.entry_filter()).among(population)
            })
            .collect();
        let entries = match asking.search.size_limit {
            0 => self.settings.size_limit,
            asked => asked,
        };
        let search = FromRoot {
            scope: asking.search.scope,
            sought: &sought,
            limit: self.settings.fan_out,
            entries: entries as usize,
            indexes_since: self.wall.unix_timestamp().saturating_sub(i64::from(self.settings.index_seconds)),
        };
        let mut permit = |target: &Target| {
            let permit = permitted(requester, kind, target, &self.gates, &snapshot.agreements, self.wall)?;
            snapshot.mounts.contains_key(target).then(|| Arc::new(permit))
        };
        match snapshot.routes.from_root(&search, &mut permit) {
            Ok((route, permits)) => Ok(Led { permits, route }),
            Err(error) => Err(Answer::new(ResultCode::ADMIN_LIMIT_EXCEEDED, error.to_string())),
        }
    }

    pub(super) fn head(&self, out: &mut Vec<u8>, asking: &Asking<'_>, serial: u64, target: Option<&Target>) {
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

    /// Answers, counts and records a refusal: with the directory that was asked about, when it is one of ours.
    pub(super) fn refuse(&mut self, asking: &Asking<'_>, target: Option<&Target>, refused: &Refused) {
        match target.filter(|target| self.snapshot.mounts.contains_key(*target)) {
            Some(target) => self.mount(target).into_iter().for_each(|mount| mount.metrics.refused.inc()),
            None => {
                self.metrics.answered_here.with_label_values(&[asking.asked.as_str(), "refused"]).inc();
            }
        }
        let serial = self.next_serial();
        let mut head = Vec::new();
        self.pool.equip(&mut head);
        self.head(&mut head, asking, serial, target);
        audit::decision(&mut head, refused.why, None);
        let code = refused.answer.code.0;
        self.record(&head, &audit::End { code, entries: 0, dropped: 0, missing: 0, microseconds: 0 });
        self.pool.give(head);
        self.pool_out(asking.client, |out| answer::put(out, asking.id, asking.asked, &refused.answer));
    }
}
