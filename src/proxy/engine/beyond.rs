//! Searches whose controls ask for more than entries as they come: gathered and sorted, in pages, with the values that
//! match, with a list of who answered.

use std::sync::Arc;

use crate::ldap::codec;
use crate::ldap::control::Control;
use crate::ldap::message::{Message, Operation as Wire, ResultCode};
use crate::ldap::typed_control::{PagedResults, SortAnswer};
use crate::namespace::routes;
use crate::proxy::engine::answer::Answer;
use crate::proxy::engine::completeness;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::extras::{self, Extras};
use crate::proxy::engine::made::{self, Made};
use crate::proxy::engine::operation::{At, Operation, Part};
use crate::proxy::engine::search::Asking;
use crate::proxy::engine::sorting::{self, Sorting};
use crate::proxy::engine::values;
use crate::release::permit::Permit;
use crate::release::view::View;

const CANNOT_SORT: &str = "the result cannot be sorted as asked; see the sort result";
const NOT_READ: &str = "the answer was not read in time; ask for less at once or read faster";

/// A search that is refused before anything was asked: its answer, with controls.
pub(super) type Unable = (Answer, Vec<Control<'static>>);

/// What came of showing an entry that was held.
enum Held {
    Shown,
    /// The page or the answer is full.
    Full,
    /// The client does not read what it got already.
    NotRead,
}

impl Engine {
    /// What the controls of a search add to it; nothing when it has none of these.
    pub(super) fn extras(
        &mut self,
        asking: &Asking<'_>,
        legs: &[routes::Leg],
        permits: &[Arc<Permit>],
    ) -> Result<Option<Box<Extras>>, Unable> {
        let controls = asking.controls;
        if !controls.any() {
            return Ok(None);
        }
        let (sorting, sort_answer) = self.sorting(asking, permits)?;
        let walk = match controls.paging {
            Some(_) => Some(self.new_walk(asking).map_err(|answer| (answer, Vec::new()))?),
            None => None,
        };
        Ok(Some(Box::new(Extras {
            search: Some(Arc::new(extras::owned(asking.search))),
            types_only: asking.search.types_only,
            legs: legs.to_vec(),
            values: controls.values.iter().map(|item| item.clone().into_owned()).collect(),
            sorting,
            sort_answer,
            made: Vec::new(),
            walk,
            completeness: controls.completeness,
        })))
    }

    /// RFC 2891 section 2: what cannot be sorted is refused when the sort is critical, else comes unsorted.
    fn sorting(
        &mut self,
        asking: &Asking<'_>,
        permits: &[Arc<Permit>],
    ) -> Result<(Option<Sorting>, Option<SortAnswer>), Unable> {
        let controls = asking.controls;
        let Some(sort) = &controls.sort else { return Ok((None, None)) };
        let views: Vec<&View> = permits.iter().map(|permit| permit.view().as_ref()).collect();
        let no = sorting::impossible(sort, &views, self.settings.sort_keys).or_else(|| {
            (!self.admit_sort(&asking.requester)).then(|| {
                self.metrics.busy.with_label_values(&["sorts"]).inc();
                SortAnswer { code: ResultCode::BUSY, attribute: None }
            })
        });
        match no {
            None => Ok((Some(Sorting::new(sort, controls.sort_is_critical)), None)),
            Some(no) if controls.sort_is_critical => Err((unsorted(), vec![no.control()])),
            Some(no) => Ok((None, Some(no))),
        }
    }

    /// Begins a search that has extras: the entries that are made here, then the directories.
    pub(super) fn begin_beyond(
        &mut self,
        key: usize,
        asking: &Asking<'_>,
        made: &[Made],
        legs: &[routes::Leg],
    ) {
        let Some(operation) = self.operations.get_mut(key) else { return };
        let (serial, open) = (operation.serial, operation.open);
        let Some(extras) = operation.extras.as_deref_mut() else { return };
        let bodies: Vec<Vec<u8>> = made.iter().map(|made| made_body(made, asking, extras)).collect();
        if let Some(sorting) = &mut extras.sorting {
            let most = (self.settings.sort_entries, self.settings.sort_bytes);
            let mut fits = true;
            for (made, body) in made.iter().zip(&bodies) {
                let whole = codec::to_bytes(&Message::new(1, Wire::SearchEntry(made.entry.as_wire())));
                let keys = sorting::keys_of(&sorting.orders(&made.view), &whole, &self.behind);
                fits = sorting.gather(keys.unwrap_or_default(), body.clone(), most);
            }
            extras.made = bodies;
            if !fits {
                self.unsortable(key);
                // It ended, or began again as a walk; otherwise it goes on unsorted.
                if self.operations.get(key).is_none_or(|operation| operation.serial != serial) {
                    return;
                }
            }
        } else if let Some(walk) = &mut extras.walk {
            walk.ready = bodies.into();
            operation.parts.iter_mut().for_each(|part| part.at = At::Later);
            return self.walk_go_on(key);
        } else if !self.show_all(key, bodies) {
            return;
        }
        if open == 0 {
            return self.settled_beyond(key, true);
        }
        for (part, leg) in legs.iter().enumerate() {
            self.ask_one(asking, key, serial, part, leg);
        }
    }

    /// One part of an operation with extras has ended; `last`: all have.
    pub(super) fn settled_beyond(&mut self, key: usize, last: bool) {
        let Some(operation) = self.operations.get(key) else { return };
        let Some(extras) = operation.extras.as_deref() else { return };
        if extras.sorting.is_some() {
            if last {
                self.sort_now(key);
            }
        } else if extras.walk.is_some() {
            self.walk_go_on(key);
        } else if last {
            let answer = operation.result();
            self.end_operation(key, &answer);
        }
    }

    /// Everything was gathered.
    fn sort_now(&mut self, key: usize) {
        let Some(operation) = self.operations.get_mut(key) else { return };
        let Some(extras) = operation.extras.as_deref_mut() else { return };
        let Some(sorting) = extras.sorting.take() else { return };
        extras.sort_answer = Some(SortAnswer { code: ResultCode::SUCCESS, attribute: None });
        extras.made = Vec::new();
        let bodies = sorting.sorted();
        if let Some(walk) = &mut extras.walk {
            walk.ready = bodies.into();
            return self.walk_go_on(key);
        }
        let answer = operation.result();
        if self.show_all(key, bodies) {
            self.end_operation(key, &answer);
        }
    }

    /// There is more than can be sorted at once.
    pub(super) fn unsortable(&mut self, key: usize) {
        let Some(operation) = self.operations.get_mut(key) else { return };
        let Some(extras) = operation.extras.as_deref_mut() else { return };
        let Some(sorting) = extras.sorting.take() else { return };
        extras.sort_answer = Some(SortAnswer { code: ResultCode::ADMIN_LIMIT_EXCEEDED, attribute: None });
        if sorting.critical {
            return self.end_operation(key, &unsorted());
        }
        if extras.walk.is_some() {
            return self.walk_from_start(key);
        }
        self.show_all(key, sorting.unsorted());
    }

    /// Nothing went out yet: the search begins again, as pages in the order in which entries come.
    fn walk_from_start(&mut self, key: usize) {
        let serial = self.next_serial();
        let Some(operation) = self.operations.get_mut(key) else { return };
        // Questions that still wait for a connection carry the old number, and are forgotten.
        let old = std::mem::replace(&mut operation.serial, serial);
        let mut asked = Vec::new();
        for part in &mut operation.parts {
            if let Some(mount) = self.mounts.get(part.permit.target()).filter(|_| part.is_open()) {
                mount.metrics.cut(ResultCode::ADMIN_LIMIT_EXCEEDED);
            }
            if let At::Sent { upstream, slot } = part.at {
                asked.push((upstream, slot));
            }
            (part.at, part.code) = (At::Later, ResultCode::SUCCESS);
        }
        operation.open = operation.parts.len();
        (operation.missing, operation.code) = (0, ResultCode::SUCCESS);
        if let Some(extras) = operation.extras.as_deref_mut() {
            let made = std::mem::take(&mut extras.made);
            extras.walk.iter_mut().for_each(|walk| walk.ready = made.clone().into());
        }
        for (upstream, slot) in asked {
            self.abandon_question(upstream, slot, old);
        }
        self.walk_go_on(key);
    }

    /// Shows entries that were held; false when they were too many, which ended the search.
    fn show_all(&mut self, key: usize, bodies: Vec<Vec<u8>>) -> bool {
        for body in &bodies {
            match self.show_held(key, body) {
                Held::Shown => {}
                Held::Full => {
                    self.end_operation(key, &Answer::plain(ResultCode::SIZE_LIMIT_EXCEEDED));
                    return false;
                }
                Held::NotRead => {
                    self.end_operation(key, &Answer::new(ResultCode::ADMIN_LIMIT_EXCEEDED, NOT_READ));
                    return false;
                }
            }
        }
        true
    }

    /// Shows what comes next in a walk, as far as the page has room; false when that ended the search.
    pub(super) fn show_ready(&mut self, key: usize) -> bool {
        loop {
            let walk = self.operations.get_mut(key).and_then(|o| o.extras.as_deref_mut()?.walk.as_mut());
            let Some(body) = walk.and_then(|walk| walk.ready.pop_front()) else { return true };
            match self.show_held(key, &body) {
                Held::Shown => {}
                Held::Full => {
                    let walk =
                        self.operations.get_mut(key).and_then(|o| o.extras.as_deref_mut()?.walk.as_mut());
                    walk.into_iter().for_each(|walk| walk.ready.push_front(body.clone()));
                    return true;
                }
                Held::NotRead => {
                    self.end_operation(key, &Answer::new(ResultCode::ADMIN_LIMIT_EXCEEDED, NOT_READ));
                    return false;
                }
            }
        }
    }

    fn show_held(&mut self, key: usize, body: &[u8]) -> Held {
        let Some(operation) = self.operations.get_mut(key) else { return Held::NotRead };
        let Some(client) = self.clients.get_mut(operation.client) else { return Held::NotRead };
        if operation.entries >= operation.size_limit {
            return Held::Full;
        }
        if client.out.len() > self.settings.output_bytes {
            return Held::NotRead;
        }
        self.pool.equip(&mut client.out);
        extras::put(&mut client.out, operation.message_id, body);
        operation.entries += 1;
        let client = operation.client;
        self.mark_client(client, false);
        Held::Shown
    }
}

fn made_body(made: &Made, asking: &Asking<'_>, extras: &Extras) -> Vec<u8> {
    let mut entry = made.entry.clone();
    if !extras.values.is_empty() {
        values::keep(&mut entry, &values::concealed(&extras.values, &made.view));
    }
    extras::body(&made::message(1, asking.search, &entry)).to_vec()
}

fn unsorted() -> Answer {
    Answer::new(ResultCode::UNAVAILABLE_CRITICAL_EXTENSION, CANNOT_SORT)
}

/// The controls of a final answer after which nothing follows.
pub(super) fn end_controls(operation: &Operation, code: ResultCode) -> Vec<Control<'static>> {
    match operation.extras.as_deref() {
        Some(extras) => controls_of(extras, &operation.parts, code, Vec::new()),
        None => Vec::new(),
    }
}

/// The controls of an answer; `cookie` is empty when no further page follows. The size estimate is always 0: any other
/// would count what is hidden.
pub(super) fn controls_of(
    extras: &Extras,
    parts: &[Part],
    code: ResultCode,
    cookie: Vec<u8>,
) -> Vec<Control<'static>> {
    let goes_on = !cookie.is_empty();
    let mut controls = Vec::new();
    if extras.walk.is_some() {
        controls.push(PagedResults { size: 0, cookie }.control(false));
    }
    if let Some(answer) = &extras.sort_answer {
        controls.push(answer.control());
    } else if extras.sorting.is_some() {
        controls.push(SortAnswer { code: unfinished(code), attribute: None }.control());
    }
    if extras.completeness {
        controls.push(completeness::answer(parts, held(extras, parts), code, goes_on));
    }
    controls
}

/// The directory that has answered to the end while an entry of it waits for the next page.
fn held(extras: &Extras, parts: &[Part]) -> Option<usize> {
    extras.walk.as_ref().filter(|walk| !walk.ready.is_empty() && walk.pin.is_none())?;
    // what was sorted is of all directories, and all of them have answered
    if extras.is_sorted() { None } else { parts.iter().rposition(|part| part.at == At::Done) }
}

/// What a sort came to whose search ended before everything was gathered (RFC 2891 section 1.2 has a list of codes).
fn unfinished(code: ResultCode) -> ResultCode {
    match code {
        ResultCode::TIME_LIMIT_EXCEEDED | ResultCode::ADMIN_LIMIT_EXCEEDED | ResultCode::BUSY => code,
        _ => ResultCode::OTHER,
    }
}
