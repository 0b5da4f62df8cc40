//! One stream of requests, spoken to two engines. After every exchange all that the client got is compared, byte for byte.

use std::fmt::Write as _;
use std::time::Duration;

use portcullis::ldap::codec;
use portcullis::ldap::control::Control;
use portcullis::ldap::entry::SEARCH_ENTRY;
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{CANCEL, Extended, MODIFY_PASSWORD, Operation, START_TLS, Search, WHO_AM_I};
use portcullis::ldap::typed_control::PagedResults;
use portcullis::ldap::{ber, message};

use super::chance::Rng;
use super::requests::{self, list, matched, message, odd_control, page, sort, wide};
use super::rig::{Heard, Rig, bind, messages};
use super::worlds::EVERYBODY;

/// What an exchange is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Search,
    Limit,
    Sort,
    Page,
    SortedPage,
    Matched,
    Compare,
    Abandon,
    Cancel,
    Pipeline,
    Control,
    Fate,
}

pub const KINDS: [Kind; 12] = [
    Kind::Search,
    Kind::Limit,
    Kind::Sort,
    Kind::Page,
    Kind::SortedPage,
    Kind::Matched,
    Kind::Compare,
    Kind::Abandon,
    Kind::Cancel,
    Kind::Pipeline,
    Kind::Control,
    Kind::Fate,
];

/// Requests, those that gave an entry or were true, and exchanges that told the worlds apart, by kind.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub requests: [usize; KINDS.len()],
    pub fruitful: [usize; KINDS.len()],
    pub apart: [usize; KINDS.len()],
    /// Of the first exchange that told the worlds apart.
    pub first: Option<String>,
    /// Questions to directories of one world, and of the other.
    pub asked: [usize; 2],
    /// The engine's own time for each.
    pub spent: [Duration; 2],
}

impl Counts {
    pub fn all(&self) -> usize {
        self.requests.iter().sum()
    }

    pub fn apart_in_all(&self) -> usize {
        self.apart.iter().sum()
    }

    pub fn summary(&self) -> String {
        let mut text = String::new();
        for kind in KINDS {
            let (requests, fruitful) = (self.requests[kind as usize], self.fruitful[kind as usize]);
            write!(text, "; {kind:?} {requests} ({fruitful} fruitful)").unwrap();
            if self.apart[kind as usize] > 0 {
                write!(text, ", {} told apart", self.apart[kind as usize]).unwrap();
            }
        }
        text.split_off(2)
    }
}

/// The worlds were told apart; they go separate ways from here.
pub struct Apart;

/// A client that speaks to both worlds.
pub struct Two<'a> {
    rigs: [Rig; 2],
    client: usize,
    id: i32,
    counts: &'a mut Counts,
}

type Told<T> = Result<T, Apart>;

impl<'a> Two<'a> {
    pub fn new(rigs: [Rig; 2], counts: &'a mut Counts) -> Two<'a> {
        let mut two = Two { rigs, client: 0, id: 1, counts };
        two.connect();
        two
    }

    fn connect(&mut self) {
        let [one, other] = &mut self.rigs;
        self.client = one.connect();
        assert_eq!(self.client, other.connect());
        self.id = 1;
    }

    fn next_id(&mut self) -> i32 {
        self.id += 1;
        self.id
    }

    /// The end of what these worlds were asked: notes what it cost.
    pub fn end(mut self) {
        for (which, rig) in self.rigs.iter_mut().enumerate() {
            self.counts.asked[which] += rig.asked();
            self.counts.spent[which] += rig.take_spent();
        }
    }

    /// Sends the same bytes to both.
    fn say(&mut self, kind: Kind, bytes: &[u8], stop: Option<usize>) -> Told<Heard> {
        let client = self.client;
        let [one, other] = self.rigs.each_mut().map(|rig| rig.say(client, bytes, stop));
        self.counts.requests[kind as usize] += messages_in(bytes);
        self.counts.fruitful[kind as usize] += usize::from(is_fruitful(&one));
        self.compared(kind, bytes, one, &other)
    }

    fn compared(&mut self, kind: Kind, bytes: &[u8], one: Heard, other: &Heard) -> Told<Heard> {
        if one == *other {
            return Ok(one);
        }
        self.counts.apart[kind as usize] += 1;
        self.counts.first.get_or_insert_with(|| {
            format!("{kind:?}\n{}\nheard {}\nand {}", told(bytes), described(&one), described(other))
        });
        Err(Apart)
    }

    fn search(&mut self, kind: Kind, search: &Search<'static>, controls: &[Control<'static>]) -> Told<Heard> {
        let id = self.next_id();
        self.say(kind, &message(id, Operation::SearchRequest(search.clone()), controls), None)
    }

    /// One step of the script.
    pub fn step(&mut self, rng: &mut Rng) -> Told<()> {
        let kind = match rng.below(100) {
            0..=29 => Kind::Search,
            30..=37 => Kind::Limit,
            38..=47 => Kind::Sort,
            48..=61 => Kind::Page,
            62..=69 => Kind::Matched,
            70..=82 => Kind::Compare,
            83..=90 => Kind::Abandon,
            91..=94 => Kind::Pipeline,
            95..=97 => Kind::Control,
            _ => Kind::Fate,
        };
        self.step_about(kind, rng)
    }

    /// A step of which exchanges of this kind are a part.
    pub fn step_about(&mut self, kind: Kind, rng: &mut Rng) -> Told<()> {
        match kind {
            Kind::Search => self.plain(rng)?,
            Kind::Limit => self.limits(rng)?,
            Kind::Sort => self.sorted(rng)?,
            Kind::Page | Kind::SortedPage => self.pages(rng)?,
            Kind::Matched => self.matched(rng)?,
            Kind::Compare => self.compare(rng)?,
            Kind::Abandon | Kind::Cancel => self.given_up(rng)?,
            Kind::Pipeline => self.pipeline(rng)?,
            Kind::Control => self.controls(rng)?,
            Kind::Fate => self.fate(rng)?,
        }
        for rig in &self.rigs {
            assert_eq!(rig.in_flight(), 0, "an operation was left");
        }
        Ok(())
    }

    fn plain(&mut self, rng: &mut Rng) -> Told<()> {
        let search = requests::search(rng);
        let controls = if rng.one_in(5) { vec![list()] } else { Vec::new() };
        let heard = self.search(Kind::Search, &search, &controls)?;
        clean(&heard, &search);
        Ok(())
    }

    /// Limits and pages around the number of entries that there are to see (T07).
    fn limits(&mut self, rng: &mut Rng) -> Told<()> {
        let search = Search { size_limit: 0, ..wide(rng) };
        let there = entries(&self.search(Kind::Limit, &search, &[])?) as u32;
        for limit in there.saturating_sub(1)..=there + 1 {
            let limited = Search { size_limit: limit, ..search.clone() };
            self.search(Kind::Limit, &limited, &[list()][..rng.below(2)])?;
            if limit > 0 && rng.one_in(2) {
                self.walk(rng, Kind::Page, &search, &[], limit)?;
            }
        }
        Ok(())
    }

    fn sorted(&mut self, rng: &mut Rng) -> Told<()> {
        let mut controls = vec![sort(rng)];
        controls.extend(rng.one_in(8).then(|| matched(rng)));
        controls.extend(rng.one_in(4).then(list));
        self.search(Kind::Sort, &wide(rng), &controls)?;
        Ok(())
    }

    fn pages(&mut self, rng: &mut Rng) -> Told<()> {
        let search = wide(rng);
        let size = 1 + rng.below(EVERYBODY) as u32;
        let mut controls = Vec::new();
        let mut kind = Kind::Page;
        if rng.one_in(4) {
            controls.push(sort(rng));
            kind = Kind::SortedPage;
        }
        controls.extend(rng.one_in(8).then(|| matched(rng)));
        controls.extend(rng.one_in(3).then(list));
        self.walk(rng, kind, &search, &controls, size)
    }

    /// All pages, or some: now and then a cookie is altered, another request brings it, or the walk is given up.
    fn walk(
        &mut self,
        rng: &mut Rng,
        kind: Kind,
        search: &Search<'static>,
        controls: &[Control<'static>],
        size: u32,
    ) -> Told<()> {
        let critical = rng.one_in(2);
        let with = |size: u32, cookie: &[u8]| [controls, &[page(size, cookie, critical)]].concat();
        let mut cookie = Vec::new();
        loop {
            let heard = self.search(kind, search, &with(size, &cookie))?;
            cookie = cookie_of(&heard);
            if cookie.is_empty() {
                return Ok(());
            }
            match rng.below(24) {
                0 => {
                    let mut altered = cookie.clone();
                    let bit = rng.below(altered.len() * 8);
                    altered[bit / 8] ^= 1 << (bit % 8);
                    self.search(kind, search, &with(size, &altered))?;
                }
                1 => {
                    self.search(kind, &wide(rng), &with(size, &cookie))?;
                }
                2 => {
                    // an ordinary search between two pages
                    self.search(Kind::Search, &requests::search(rng), &[])?;
                }
                3 => {
                    self.search(kind, search, &with(0, &cookie))?;
                    self.search(kind, search, &with(size, &cookie))?;
                    return Ok(());
                }
                // the walk stays where it is until the gateway forgets it
                4 => return Ok(()),
                _ => {}
            }
        }
    }

    fn matched(&mut self, rng: &mut Rng) -> Told<()> {
        let control = matched(rng);
        self.search(Kind::Matched, &wide(rng), &[control])?;
        Ok(())
    }

    fn compare(&mut self, rng: &mut Rng) -> Told<()> {
        let id = self.next_id();
        let compare = Operation::CompareRequest(requests::compare(rng));
        self.say(Kind::Compare, &message(id, compare, &[]), None)?;
        Ok(())
    }

    /// Abandoned or cancelled when some of it came: before anything did, in the middle, after the end.
    fn given_up(&mut self, rng: &mut Rng) -> Told<()> {
        let kind = [Kind::Abandon, Kind::Cancel][rng.below(2)];
        let controls = match rng.below(4) {
            0 => vec![sort(rng)],
            1 => vec![page(1 + rng.below(EVERYBODY) as u32, b"", true)],
            _ => Vec::new(),
        };
        let search = wide(rng);
        let (id, over) = (self.next_id(), self.next_id());
        let stop = rng.below(EVERYBODY);
        self.say(kind, &message(id, Operation::SearchRequest(search), &controls), Some(stop))?;
        let end = match kind {
            Kind::Abandon => Operation::AbandonRequest(id),
            _ => Operation::ExtendedRequest(Extended { name: CANCEL.into(), value: Some(cancel(id).into()) }),
        };
        self.say(kind, &message(over, end, &[]), None)?;
        Ok(())
    }

    /// Several requests in one segment. In which order their answers are woven is a matter of time; each is compared for
    /// itself.
    fn pipeline(&mut self, rng: &mut Rng) -> Told<()> {
        let mut bytes = Vec::new();
        let first = self.id + 1;
        for _ in 0..2 + rng.below(4) {
            let controls = match rng.below(4) {
                0 => vec![sort(rng)],
                1 => vec![page(1 + rng.below(EVERYBODY) as u32, b"", true)],
                _ => Vec::new(),
            };
            let search = if rng.one_in(2) { wide(rng) } else { requests::search(rng) };
            let id = self.next_id();
            bytes.extend(message(id, Operation::SearchRequest(search), &controls));
        }
        if rng.one_in(3) {
            let id = self.next_id();
            bytes.extend(message(id, Operation::AbandonRequest(first), &[]));
        }
        let client = self.client;
        let last = self.id;
        self.counts.requests[Kind::Pipeline as usize] += messages_in(&bytes);
        let [one, other] = self.rigs.each_mut().map(|rig| rig.say(client, &bytes, None));
        self.counts.fruitful[Kind::Pipeline as usize] += usize::from(is_fruitful(&one));
        for id in first..=last {
            self.compared(Kind::Pipeline, &bytes, unwoven(&one, id), &unwoven(&other, id))?;
        }
        self.compared(Kind::Pipeline, &bytes, unwoven(&one, 0), &unwoven(&other, 0))?;
        Ok(())
    }

    fn controls(&mut self, rng: &mut Rng) -> Told<()> {
        let controls: Vec<_> = (0..1 + rng.below(2)).map(|_| odd_control(rng)).collect();
        self.search(Kind::Control, &wide(rng), &controls)?;
        Ok(())
    }

    /// What decides over the connection: it ends here and a new one begins.
    fn fate(&mut self, rng: &mut Rng) -> Told<()> {
        let (id, again) = (self.next_id(), self.next_id());
        let search = wide(rng);
        let open = message(id, Operation::SearchRequest(search), &[]);
        // something is in flight when it happens
        self.say(Kind::Fate, &open, Some(rng.below(EVERYBODY)))?;
        let extended =
            |name: &'static str| Operation::ExtendedRequest(Extended { name: name.into(), value: None });
        let what = rng.below(8);
        let bytes = match what {
            0 => message(again, bind(), &[]),
            1 => message(again, Operation::UnbindRequest, &[]),
            2 => b"\x30\x84\xff\xff\xff\xff".to_vec(),
            3 => message(again, Operation::SearchDone(message::Outcome::default()), &[]),
            4 => message(0, Operation::SearchRequest(wide(rng)), &[]),
            5 => message(again, extended(WHO_AM_I), &[]),
            6 => message(again, extended([START_TLS, MODIFY_PASSWORD][rng.below(2)]), &[]),
            _ => open[..open.len() / 2].to_vec(),
        };
        let heard = self.say(Kind::Fate, &bytes, None)?;
        let closes = matches!(what, 1..=4);
        assert_eq!(heard.closed, closes, "{}", told(&bytes));
        if !closes && what != 7 {
            return Ok(());
        }
        if !closes {
            let rubbish = vec![0xff; open.len()];
            let end = self.say(Kind::Fate, &rubbish, None)?;
            assert!(end.closed, "the second half of a request was no such thing");
        }
        self.connect();
        Ok(())
    }
}

fn messages_in(bytes: &[u8]) -> usize {
    let whole = codec::frame(bytes, &Limits::default()).is_ok_and(|length| length.is_some());
    if whole { messages(bytes).count() } else { 1 }
}

fn cancel(id: i32) -> Vec<u8> {
    let mut value = Vec::new();
    let start = ber::open(&mut value, ber::SEQUENCE);
    ber::put_int(&mut value, ber::INTEGER, id);
    ber::close(&mut value, start);
    value
}

fn entries(heard: &Heard) -> usize {
    messages(&heard.bytes).filter(|message| codec::peek(message).unwrap().1 == SEARCH_ENTRY).count()
}

/// An entry came, or a compare was true.
fn is_fruitful(heard: &Heard) -> bool {
    messages(&heard.bytes).any(|message| match codec::peek(message).unwrap().1 {
        SEARCH_ENTRY => true,
        portcullis::ldap::tag::COMPARE_RESPONSE => message.ends_with(b"\x0a\x01\x06\x04\x00\x04\x00"),
        _ => false,
    })
}

/// The cookie of the page that was just heard; empty when there is none.
fn cookie_of(heard: &Heard) -> Vec<u8> {
    let Some(last) = messages(&heard.bytes).last() else { return Vec::new() };
    let last = codec::decode(last, &Limits::from_directory()).unwrap();
    let control = last.controls.iter().find(|control| control.oid == PagedResults::OID);
    control.map_or_else(Vec::new, |control| {
        let page = PagedResults::read(control.value.as_deref().unwrap()).unwrap();
        assert_eq!(page.size, 0, "an estimate counts what is hidden");
        page.cookie
    })
}

/// What belongs to one request; with the id 0, what belongs to none. Of a cookie its length: cookies are sealed in the order
/// in which pages end, so with several at once their bytes are a matter of time as well.
fn unwoven(heard: &Heard, id: i32) -> Heard {
    let mut bytes = Vec::new();
    for whole in messages(&heard.bytes).filter(|message| codec::peek(message).unwrap().0 == id) {
        let mut message = codec::decode(whole, &Limits::from_directory()).unwrap();
        for control in message.controls.iter_mut().filter(|control| control.oid == PagedResults::OID) {
            let page = PagedResults::read(control.value.as_deref().unwrap()).unwrap();
            *control = requests::page(page.size, &vec![0; page.cookie.len()], control.critical);
        }
        codec::encode(&message, &mut bytes);
    }
    Heard { bytes, closed: heard.closed, wishes: heard.wishes.clone() }
}

/// Nothing of the inside came out: no suffix, no server, no diagnostic text, no hidden attribute.
fn clean(heard: &Heard, search: &Search<'_>) {
    let text = String::from_utf8_lossy(&heard.bytes).to_lowercase();
    let inside = [
        "dc=trust",
        "dsid",
        "ldap://",
        "employeenumber",
        "employeetype",
        "no-contact",
        "notlisted",
        "by-address",
    ];
    for inside in inside {
        assert!(!text.contains(inside), "`{inside}` came out of {search:?}");
    }
}

fn told(bytes: &[u8]) -> String {
    if !codec::frame(bytes, &Limits::default()).is_ok_and(|length| length.is_some()) {
        return format!("{bytes:02x?}");
    }
    let one = |message| format!("{:?}", codec::decode(message, &Limits::default()));
    messages(bytes).map(one).collect::<Vec<_>>().join("\n")
}

fn described(heard: &Heard) -> String {
    format!("closed {}, wishes {:?}\n{}", heard.closed, heard.wishes, told(&heard.bytes))
}
