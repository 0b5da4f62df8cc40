//! What the controls of a search add to its operation. An operation whose request has none of them has none of this.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::ldap::ber::{self, Reader};
use crate::ldap::codec;
use crate::ldap::filter::Filter;
use crate::ldap::message::{Message, Operation as Wire, ResultCode, Search};
use crate::ldap::typed_control::SortAnswer;
use crate::namespace::routes;
use crate::proxy::engine::sorting::{Order, Sorting};
use crate::proxy::engine::values;
use crate::proxy::snapshot::Snapshot;
use crate::release::view::View;

/// See the module.
pub struct Extras {
    /// The request, for questions that are asked later than it came. None between two pages.
    pub search: Option<Arc<Search<'static>>>,
    /// Names without values.
    pub types_only: bool,
    /// Where each part of the operation leads.
    pub legs: Vec<routes::Leg>,
    /// Matched values: the items as they were asked, or none.
    pub values: Vec<Filter<'static>>,
    /// Entries are gathered to be sorted.
    pub sorting: Option<Sorting>,
    /// What became of a sort that was asked for, as far as it is settled.
    pub sort_answer: Option<SortAnswer>,
    /// Entries that were made here, until it is known how they are shown.
    pub made: Vec<Vec<u8>>,
    /// The result goes out in pages.
    pub walk: Option<Walk>,
    /// The result says who answered.
    pub completeness: bool,
}

impl Extras {
    /// How entries of a directory whose entries are seen through `view` are to be treated beyond being shown.
    pub fn beyond(&self, view: &View) -> Option<Box<Beyond>> {
        let orders = self.sorting.as_ref().map(|sorting| sorting.orders(view)).unwrap_or_default();
        let values = values::concealed(&self.values, view);
        (!orders.is_empty() || !values.is_empty())
            .then(|| Box::new(Beyond { orders, values, types_only: self.types_only }))
    }
}

impl Extras {
    /// Whether entries are gathered to be sorted, or were.
    pub fn is_sorted(&self) -> bool {
        self.sorting.is_some() || self.sort_answer.as_ref().is_some_and(|a| a.code == ResultCode::SUCCESS)
    }

    /// Bytes that are held while a walk waits for its client.
    pub fn held_bytes(&self) -> usize {
        let legs = self.legs.iter().map(|leg| leg.base.len()).sum::<usize>();
        legs + self.walk.as_ref().map_or(0, Walk::bytes)
    }
}

/// See [`Extras::beyond`].
#[derive(Debug)]
pub struct Beyond {
    /// The sort keys; None where the key does not exist.
    pub orders: Vec<Option<Order>>,
    /// Matched values: the concealed items, or none.
    pub values: Vec<Filter<'static>>,
    /// Values go out of what has values left; they are needed until then.
    pub types_only: bool,
}

impl Beyond {
    /// The attributes that have to be asked for so that the keys can be read.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.orders.iter().flatten().map(Order::attribute)
    }
}

/// A search whose result goes out in pages.
pub struct Walk {
    /// The world as it was at its last page; one in which its directories are others ends it.
    pub snapshot: Arc<Snapshot>,
    /// What its cookies are bound to.
    pub binding: [u8; 32],
    /// Entries of earlier pages.
    pub before: u32,
    /// Entries of the whole walk, and what the requester is told when there are more.
    pub limit: u32,
    pub over_limit: ResultCode,
    /// Entries that come next, as the operation parts of their messages. A directory is read until one entry is known
    /// beyond the page, so that whether there is another page depends on released entries alone.
    pub ready: VecDeque<Vec<u8>>,
    /// The paged result of the directory whose turn it is, when its last page ended and it has more.
    pub pin: Option<Pin>,
    /// The connection that the waiting entries came on. The walk has its place there, and ends with it, whether its directory
    /// has more or not: otherwise both would count what is withheld.
    pub seat: Option<usize>,
    /// Bytes of the longest question so far, for the same reason.
    pub asked: usize,
}

impl Walk {
    fn bytes(&self) -> usize {
        self.asked + self.ready.iter().map(Vec::len).sum::<usize>()
    }
}

/// A paged result of a directory behind. It lives on one connection.
pub struct Pin {
    pub upstream: usize,
    /// The directory's cookie.
    pub cookie: Vec<u8>,
    /// The request operation: every page is asked for with the same.
    pub request: Vec<u8>,
    /// Entries passed on already.
    pub released: u32,
}

/// The operation part of one whole message: what follows its id.
pub fn body(message: &[u8]) -> &[u8] {
    let Ok(mut body) = Reader::new(message).nested(ber::SEQUENCE) else { return &[] };
    if body.expect(ber::INTEGER).is_ok() { body.rest() } else { &[] }
}

/// Appends a message with the id `id` and this operation part.
pub fn put(out: &mut Vec<u8>, id: i32, body: &[u8]) {
    ber::put_header(out, ber::SEQUENCE, ber::int_size(id) + body.len());
    ber::put_int(out, ber::INTEGER, id);
    out.extend_from_slice(body);
}

/// Writes the request operation alone, without the message around it.
pub fn encode_search(search: Search<'_>, out: &mut Vec<u8>) {
    out.clear();
    codec::encode(&Message::new(1, Wire::SearchRequest(search)), out);
    let before = out.len() - body(out).len();
    out.drain(..before);
}

/// The same request, owned.
pub fn owned(search: &Search<'_>) -> Search<'static> {
    Search {
        base: search.base.clone().into_owned().into(),
        scope: search.scope,
        dereference: search.dereference,
        size_limit: search.size_limit,
        time_limit: search.time_limit,
        types_only: search.types_only,
        filter: search.filter.clone().into_owned(),
        attributes: search.attributes.iter().map(|name| name.clone().into_owned().into()).collect(),
    }
}
