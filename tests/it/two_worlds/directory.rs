//! A directory behind, without a socket: answers the gateway's questions from one world, in pages when asked so, within the
//! size limit that it is told, with a domain controller's matching. Around that it says whatever a directory says beside
//! its entries, and that differs from world to world: diagnostic texts, matched names, continuation references, controls,
//! how full its pages are, values that nobody asked for.

use std::collections::{HashMap, VecDeque};

use portcullis::ldap::codec;
use portcullis::ldap::control::Control;
use portcullis::ldap::dn::Dn;
use portcullis::ldap::entry::{WireAttribute, WireEntry};
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{BindOutcome, Message, Operation, Outcome, ResultCode, Scope, Search};
use portcullis::ldap::typed_control::PagedResults;
use portcullis::ldap::{attribute, message};

use super::chance::Rng;
use super::worlds::{Controller, Kept};

/// How a directory understands filters. It is the same in both worlds: it is no secret.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    pub strict: bool,
    pub two_valued: bool,
}

/// A result that goes on.
struct Live {
    upstream: usize,
    request: Vec<u8>,
    left: VecDeque<usize>,
    /// The directory's own limit was reached.
    cut: bool,
}

pub struct Directory {
    entries: Vec<Kept>,
    manner: Manner,
    /// Its own chance: nothing that comes of it may be seen.
    rng: Rng,
    live: HashMap<Vec<u8>, Live>,
    given: usize,
    /// Searches that it answered; probes are none.
    pub asked: usize,
}

impl Directory {
    pub fn new(entries: Vec<Kept>, manner: Manner, rng: Rng) -> Directory {
        Directory { entries, manner, rng, live: HashMap::new(), given: 0, asked: 0 }
    }

    /// The messages that answer one request.
    pub fn answer(&mut self, upstream: usize, question: &[u8]) -> Vec<Vec<u8>> {
        let message = codec::decode(question, &Limits::from_directory()).unwrap();
        match &message.operation {
            Operation::BindRequest(_) => {
                vec![codec::to_bytes(&Message::new(
                    message.id,
                    Operation::BindResponse(BindOutcome::default()),
                ))]
            }
            Operation::SearchRequest(search) => self.search(upstream, &message, search),
            Operation::AbandonRequest(_) => Vec::new(),
            other => panic!("the gateway asks for no such thing: {other:?}"),
        }
    }

    fn search(&mut self, upstream: usize, message: &Message<'_>, search: &Search<'_>) -> Vec<Vec<u8>> {
        if search.base.is_empty() {
            return vec![self.done(message.id, ResultCode::SUCCESS, None)];
        }
        self.asked += 1;
        let control = message.controls.iter().find(|control| control.oid == PagedResults::OID);
        let page = control.map(|control| PagedResults::read(control.value.as_deref().unwrap()).unwrap());
        let request = codec::to_bytes(&Message::new(1, message.operation.clone()));
        let cookie = page.as_ref().map(|page| page.cookie.clone()).unwrap_or_default();
        let mut live = match self.live.remove(&cookie) {
            Some(live) => {
                assert_eq!(live.upstream, upstream, "a cookie is good on its own connection");
                assert!(live.request == request, "a cookie is good for the same request");
                live
            }
            None => {
                assert!(cookie.is_empty(), "a cookie that was not given");
                match self.find(search) {
                    Ok((left, cut)) => Live { upstream, request, left, cut },
                    Err(code) => return vec![self.done(message.id, code, page.map(|_| Vec::new()))],
                }
            }
        };
        let Some(page) = page else {
            let mut out = self.entries(message.id, search, live.left.drain(..).collect());
            let code = if live.cut { ResultCode::SIZE_LIMIT_EXCEEDED } else { ResultCode::SUCCESS };
            out.push(self.done(message.id, code, None));
            return out;
        };
        if page.size == 0 {
            return vec![self.done(message.id, ResultCode::SUCCESS, Some(Vec::new()))];
        }
        let room = page.size as usize;
        let fill = if self.rng.one_in(3) { self.rng.below(room + 1) } else { room };
        let these = live.left.drain(..fill.min(live.left.len())).collect();
        let mut out = self.entries(message.id, search, these);
        // some directories only find out with the next page that there is none
        let goes_on = !live.left.is_empty() || self.rng.one_in(6);
        let code = if live.cut && !goes_on { ResultCode::SIZE_LIMIT_EXCEEDED } else { ResultCode::SUCCESS };
        let mut next = Vec::new();
        if goes_on {
            self.given += 1;
            let padding = self.rng.below(40);
            next = format!("{} {}", self.given, "x".repeat(padding)).into_bytes();
            self.live.insert(next.clone(), live);
        }
        out.push(self.done(message.id, code, Some(next)));
        out
    }

    /// What matches, up to the limit that was asked for.
    fn find(&mut self, search: &Search<'_>) -> Result<(VecDeque<usize>, bool), ResultCode> {
        let base = Dn::parse(&search.base).unwrap().normal();
        if !self.entries.iter().any(|kept| kept.name == base) {
            return Err(ResultCode::NO_SUCH_OBJECT);
        }
        let below = format!(",{base}");
        let lies = |kept: &Kept| match search.scope {
            Scope::Base => kept.name == base,
            Scope::One => kept.above == base,
            Scope::Subtree => kept.name == base || kept.name.ends_with(&below),
            Scope::Children => panic!("not every directory knows this scope"),
        };
        let mut found = VecDeque::new();
        for (at, kept) in self.entries.iter().enumerate() {
            let controller = Controller { entry: &kept.entry, strict: self.manner.strict };
            if !lies(kept) || !controller.finds(&search.filter, self.manner.two_valued) {
                continue;
            }
            if search.size_limit > 0 && found.len() >= search.size_limit as usize {
                return Ok((found, true));
            }
            found.push_back(at);
        }
        Ok((found, false))
    }

    fn entries(&mut self, id: i32, search: &Search<'_>, these: Vec<usize>) -> Vec<Vec<u8>> {
        let asked: Vec<_> = search.attributes.iter().map(|name| attribute::canonical_name(name)).collect();
        let mut out = Vec::with_capacity(these.len() + 2);
        for at in these {
            if self.rng.one_in(8) {
                let to = vec!["ldap://dc1.child.trust.test/DC=child,DC=trust,DC=test".into()];
                out.push(codec::to_bytes(&Message::new(id, Operation::SearchReference(to))));
            }
            let kept = &self.entries[at];
            // as a careless one would, with a hidden attribute on top
            let sent = kept.entry.attributes.iter().zip(&kept.names).filter(|(_, name)| {
                asked.is_empty() || asked.iter().any(|a| a == *name) || *name == "employeeNumber"
            });
            let attributes = sent.map(|(attribute, _)| WireAttribute {
                description: attribute.description.as_str().into(),
                values: attribute.values.iter().map(|value| value.as_slice().into()).collect(),
            });
            let entry = WireEntry { dn: kept.entry.dn.as_str().into(), attributes: attributes.collect() };
            let controls = if self.rng.one_in(8) { vec![extra()] } else { Vec::new() };
            let operation = message::Operation::SearchEntry(entry);
            out.push(codec::to_bytes(&Message { id, operation, controls }));
        }
        out
    }

    /// A result; with the control of a page when there is a cookie for it.
    fn done(&mut self, id: i32, code: ResultCode, cookie: Option<Vec<u8>>) -> Vec<u8> {
        let mut outcome = Outcome::new(code, "");
        if code != ResultCode::SUCCESS || self.rng.one_in(4) {
            let texts = [
                "0000208D: NameErr: DSID-03100238, problem 2001 (NO_OBJECT), data 0, best match of:",
                "DSID-1",
            ];
            outcome.diagnostic = self.rng.pick(&texts).into();
            let names = ["OU=Hidden,DC=rxa,DC=trust,DC=test", "DC=rxa,DC=trust,DC=test", ""];
            outcome.matched = self.rng.pick(&names).into();
        }
        let mut controls = Vec::new();
        if let Some(cookie) = cookie {
            controls.push(PagedResults { size: self.rng.below(100) as u32, cookie }.control(false));
        }
        if self.rng.one_in(4) {
            controls.push(extra());
        }
        codec::to_bytes(&Message { id, operation: Operation::SearchDone(outcome), controls })
    }
}

/// Statistics, as one that nobody asked for them.
fn extra() -> Control<'static> {
    Control {
        oid: "1.2.840.113556.1.4.970".into(),
        critical: false,
        value: Some(b"0\x03\x02\x01\x07"[..].into()),
    }
}
