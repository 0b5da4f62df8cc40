//! The engine without a socket and without a clock: bytes in, bytes out, time as told.

use std::collections::BTreeMap;

use super::*;
use crate::gate::decide::{GateDecision, GateState};
use crate::gate::table::GateTable;
use crate::ldap::ber;
use crate::ldap::codec;
use crate::ldap::control::Control;
use crate::ldap::entry::{Attribute, Entry};
use crate::ldap::filter::Filter;
use crate::ldap::message::{
    Authentication, Bind, BindOutcome, Dereference, Message, Operation as Wire, Outcome, ResultCode, Scope,
    Search,
};
use crate::namespace::mapping::Mapping;
use crate::namespace::routes::{Mount as RoutedMount, Routes};
use crate::policy::set::PolicySet;
use crate::policy::source::Source;
use crate::policy::terms::{Grant, OdsCode};
use crate::proxy::engine::key::PROBE_ID;
use crate::proxy::engine::launch::{BIND_ID, PAGED};
use crate::proxy::requesters::Requesters;
use crate::proxy::snapshot::{Endpoint, Mounted, Preference, Server};
use crate::release::agreement::Agreements;
use crate::secret::text::Secret;
use crate::tls::identity::ClientIdentity;

mod controls;
mod cookies;
mod counts;
mod directories;
mod own_gate;
mod ranges;
mod sharing;
mod sorts;
mod walks;

pub const START: OffsetDateTime = time::macros::datetime!(2026-11-24 12:00 UTC);
pub const LOCAL: &str = "DC=rxa,DC=test";
pub const BASE: &str = "ou=Staff,ou=RXA,o=federation";

pub const AGREEMENT: &str = "\
kind: Release
id: test
title: The agreement of these tests
purpose: To test.
audience: { category: application, members: all }
targets: { members: all, national: false }
attributes: [uid, cn, mail]
limits: { size: 100, time: 30s, rate: 50/s, in_flight: 10 }
until: 2099-12-31
";

pub struct Rig {
    pub engine: Engine,
    pub snapshot: Arc<Snapshot>,
    pub gates: GateTable,
    pub now: u64,
    /// Upstream connections that were asked for and not closed.
    pub dialled: Vec<usize>,
    /// Questions to home, with client and serial number.
    pub homes: Vec<(usize, u64, crate::proxy::home::question::Question)>,
    /// Where each of them leads.
    pub servers: HashMap<usize, String>,
    /// The servers of all connections that were ever asked for, by connection.
    pub dials: Vec<(usize, usize)>,
    /// How often reading of an upstream connection was to go on.
    pub resumed: usize,
}

fn snapshot(members: &[&str], page_size: Option<u32>, agreement: &str) -> Arc<Snapshot> {
    let (set, faults) = PolicySet::from_sources(&[Source::inline("test", agreement)]);
    assert!(faults.is_empty(), "{faults:?}");
    let mut requesters = Requesters::new(b"key");
    requesters.add_application("aa", "test", None);
    requesters.add_application("bb", "other", None);
    requesters.add_application("cc", "ours", Some(&rxa()));
    let target = |member: &str| Target::Member(member.parse().unwrap());
    let mounted = |member: &str| {
        let (unit, local) = (format!("ou={member},o=federation"), local(member));
        let endpoint = Endpoint {
            servers: vec![Server {
                address: member.to_owned(),
                tls: None,
                preference: Preference::default(),
            }],
            bind_name: "gateway@rxa.test".to_owned(),
            password: Secret::new("test-only".to_owned()),
            page_size,
        };
        let mapping = Arc::new(Mapping::active_directory(&unit, &local).unwrap());
        Mounted { mapping, endpoint: Arc::new(endpoint) }
    };
    let mounts = members.iter().map(|member| (target(member), mounted(member))).collect();
    let routed = members.iter().map(|member| RoutedMount::new(target(member)));
    Arc::new(Snapshot {
        agreements: Arc::new(Agreements::compile(set.releases.values()).unwrap()),
        routes: Arc::new(Routes::new(routed)),
        mounts,
        requesters: Arc::new(requesters),
    })
}

/// The suffix of a member's directory.
fn local(member: &str) -> String {
    format!("DC={},DC=test", member.to_lowercase())
}

pub fn rxa() -> OdsCode {
    "RXA".parse().unwrap()
}

pub fn gate(state: GateState) -> BTreeMap<Grant, GateDecision> {
    let valid_until = Some(START + time::Duration::hours(1));
    let decision = GateDecision { state, reasons: Vec::new(), assessment: None, valid_until };
    BTreeMap::from([(Grant::Lookup, decision)])
}

/// The agreement with limits that are in nobody's way.
pub fn wide() -> String {
    let limits = "limits: { size: 100000, time: 30s, rate: 100000/s, in_flight: 1000 }";
    AGREEMENT.replace("limits: { size: 100, time: 30s, rate: 50/s, in_flight: 10 }", limits)
}

pub fn endpoint(page_size: Option<u32>, ranks: &[u16]) -> Arc<Endpoint> {
    let server = |(place, rank): (usize, &u16)| Server {
        address: format!("127.0.0.1:{}", place + 1),
        tls: None,
        preference: Preference { rank: *rank, weight: 1 },
    };
    Arc::new(Endpoint {
        servers: ranks.iter().enumerate().map(server).collect(),
        bind_name: "gateway@rxa.test".to_owned(),
        password: Secret::new("test-only".to_owned()),
        page_size,
    })
}

impl Rig {
    pub fn new(page_size: Option<u32>) -> Rig {
        Rig::with(&["RXA"], page_size, AGREEMENT, Settings::default())
    }

    /// With these members, of which each has its Active Directory at a server of its name.
    pub fn with(members: &[&str], page_size: Option<u32>, agreement: &str, settings: Settings) -> Rig {
        let snapshot = snapshot(members, page_size, agreement);
        let gates = GateTable::new();
        for member in members {
            gates.set(&member.parse().unwrap(), gate(GateState::Open));
        }
        Rig::made(snapshot, gates, settings)
    }

    /// A rig whose `members` have a server of each of the `ranks`, with an agreement that is in nobody's way.
    pub fn with_servers(settings: Settings, ranks: &[u16], members: &[&str]) -> Rig {
        // Their tests ask the same question many times, and count.
        Rig::build(&wide(), None, Settings { shared_questions: 0, ..settings }, ranks, members)
    }

    pub fn build(
        agreement: &str,
        page_size: Option<u32>,
        settings: Settings,
        ranks: &[u16],
        members: &[&str],
    ) -> Rig {
        let (set, faults) = PolicySet::from_sources(&[Source::inline("test", agreement)]);
        assert!(faults.is_empty(), "{faults:?}");
        let mut requesters = Requesters::new(b"key");
        requesters.add_application("aa", "test", None);
        let gates = GateTable::new();
        let mut mounts = HashMap::new();
        for member in members {
            let code: OdsCode = member.parse().unwrap();
            gates.set(&code, gate(GateState::Open));
            let mapping = Mapping::active_directory(&format!("ou={member},o=federation"), LOCAL).unwrap();
            let mounted = Mounted { mapping: Arc::new(mapping), endpoint: endpoint(page_size, ranks) };
            mounts.insert(Target::Member(code), mounted);
        }
        let routed = |target: &Target| RoutedMount::new(target.clone());
        let snapshot = Arc::new(Snapshot {
            agreements: Arc::new(Agreements::compile(set.releases.values()).unwrap()),
            routes: Arc::new(Routes::new(mounts.keys().map(routed))),
            mounts,
            requesters: Arc::new(requesters),
        });
        Rig::made(snapshot, gates, settings)
    }

    fn made(snapshot: Arc<Snapshot>, gates: GateTable, settings: Settings) -> Rig {
        let engine = Engine::new(Parts {
            settings: Arc::new(settings),
            shard: 0,
            metrics: Metrics::register(&prometheus::Registry::new()).unwrap(),
            snapshot: snapshot.clone(),
            gates: gates.snapshot(),
            chance: 7,
            cookie_secret: [7; 32],
            wall: START,
        });
        let mut rig = Rig {
            engine,
            snapshot,
            gates,
            now: 0,
            dialled: Vec::new(),
            homes: Vec::new(),
            servers: HashMap::new(),
            dials: Vec::new(),
            resumed: 0,
        };
        rig.turn(0);
        rig
    }

    /// A new turn, so much later.
    pub fn turn(&mut self, microseconds: u64) {
        self.now += microseconds;
        let elapsed = time::Duration::microseconds(i64::try_from(self.now).unwrap());
        let moment = Moment { microseconds: self.now, wall: START + elapsed };
        self.engine.begin(moment, &self.snapshot, &self.gates.snapshot());
        self.wishes();
    }

    pub fn wishes(&mut self) {
        for wish in self.engine.take_wishes() {
            self.resumed += usize::from(matches!(wish, Wish::ReadUpstream { .. }));
            match wish {
                Wish::Dial { upstream, endpoint, server } => {
                    self.dialled.push(upstream);
                    self.dials.push((upstream, server));
                    self.servers.insert(upstream, endpoint.servers[server].address.clone());
                }
                Wish::CloseUpstream { upstream } => {
                    self.dialled.retain(|at| *at != upstream);
                    self.engine.forget_upstream(upstream);
                }
                Wish::CloseClient { client } => self.engine.forget_client(client),
                Wish::AskHome { client, serial, question } => self.homes.push((client, serial, *question)),
                Wish::ReadClient { .. } | Wish::ReadUpstream { .. } | Wish::Secure { .. } => {}
            }
        }
    }

    /// A client that is bound as the application.
    pub fn client(&mut self) -> usize {
        self.client_as("aa")
    }

    /// A client that is bound with the certificate of this fingerprint.
    pub fn client_as(&mut self, fingerprint: &str) -> usize {
        let key = self.engine.client_opened([127, 0, 0, 1].into(), Phase::Handshake).unwrap();
        let certificate = ClientIdentity {
            subject: "cn=test".to_owned(),
            upn: None,
            sid: None,
            extended_key_usage: Vec::new(),
            fingerprint: fingerprint.to_owned(),
            not_after: START + time::Duration::days(1),
            authorities: Vec::new(),
        };
        let until = certificate.not_after;
        self.engine.client_secured(key, Some(Proof { identity: certificate, chain: Vec::new(), until }));
        let authentication = Authentication::Sasl { mechanism: "EXTERNAL".into(), credentials: None };
        self.say(key, 1, Wire::BindRequest(Bind { version: 3, name: "".into(), authentication }));
        assert_eq!(self.heard(key), ["1 bind success (0)"]);
        key
    }

    pub fn say(&mut self, client: usize, id: i32, operation: Wire<'_>) {
        self.engine.client_bytes(client, &codec::to_bytes(&Message::new(id, operation)));
        self.wishes();
    }

    pub fn request(&mut self, client: usize, id: i32, operation: Wire<'_>, controls: Vec<Control<'_>>) {
        let message = Message { id, operation, controls };
        self.engine.client_bytes(client, &codec::to_bytes(&message));
        self.wishes();
    }

    pub fn search(&mut self, client: usize, id: i32, filter: &str) {
        self.say(client, id, Wire::SearchRequest(search(filter)));
    }

    /// Asks the directory of `member` for everybody.
    pub fn ask(&mut self, client: usize, id: i32, member: &str) {
        let base = format!("ou=Staff,ou={member},o=federation").into();
        self.say(client, id, Wire::SearchRequest(Search { base, ..search("(cn=*)") }));
    }

    /// What was written to a client, in short; takes it.
    pub fn heard(&mut self, client: usize) -> Vec<String> {
        let bytes = self.engine.client_output(client).map(std::mem::take).unwrap_or_default();
        let taken = bytes.len();
        self.engine.client_written(client, taken, false);
        messages(&bytes).iter().map(|bytes| short(bytes)).collect()
    }

    /// What was written to an upstream connection, as whole messages; takes it.
    pub fn asked(&mut self, upstream: usize) -> Vec<Vec<u8>> {
        let bytes = self.engine.upstream_output(upstream).map(std::mem::take).unwrap_or_default();
        messages(&bytes)
    }

    /// The ids of the questions that were written to an upstream connection; takes them. Probes are none.
    pub fn questions(&mut self, upstream: usize) -> Vec<i32> {
        let asked = self.asked(upstream);
        let mut ids: Vec<i32> =
            asked.iter().filter(|m| short(m).contains(" search ")).map(|m| id_of(m)).collect();
        ids.retain(|id| *id != PROBE_ID);
        ids
    }

    /// Answers every question on an upstream connection, without entries; how many there were.
    pub fn answer(&mut self, upstream: usize) -> usize {
        let questions = self.questions(upstream);
        for id in &questions {
            self.tell(upstream, *id, done());
        }
        questions.len()
    }

    /// Lets time pass in turns of `step` microseconds.
    pub fn pass(&mut self, microseconds: u64, step: u64) {
        for _ in 0..microseconds / step {
            self.turn(step);
        }
    }

    pub fn end(&mut self, upstream: usize) {
        self.engine.upstream_ended(upstream);
        self.wishes();
    }

    pub fn tell(&mut self, upstream: usize, id: i32, operation: Wire<'_>) {
        self.engine.upstream_bytes(upstream, &codec::to_bytes(&Message::new(id, operation)));
        self.wishes();
    }

    /// Brings the one connection that was asked for to life.
    pub fn connect(&mut self) -> usize {
        let upstream = *self.dialled.last().expect("no connection was asked for");
        self.bind(upstream);
        upstream
    }

    /// Brings a connection that was asked for to life.
    pub fn bind(&mut self, upstream: usize) {
        self.engine.upstream_opened(upstream);
        let bind = self.asked(upstream);
        assert!(short(&bind[0]).contains("gateway@rxa.test"), "{bind:?}");
        self.tell(upstream, BIND_ID, Wire::BindResponse(BindOutcome::default()));
    }

    /// The servers of all connections that are there or asked for.
    pub fn server_names(&self) -> Vec<&str> {
        self.dialled.iter().map(|upstream| self.servers[upstream].as_str()).collect()
    }

    /// The server that a connection was last asked for to.
    pub fn server_of(&self, upstream: usize) -> usize {
        self.dials.iter().rev().find(|(key, _)| *key == upstream).unwrap().1
    }
}

pub fn search(filter: &str) -> Search<'static> {
    Search {
        base: BASE.into(),
        scope: Scope::Subtree,
        dereference: Dereference::Never,
        size_limit: 0,
        time_limit: 0,
        types_only: false,
        filter: Filter::parse(filter).unwrap().into_owned(),
        attributes: Vec::new(),
    }
}

pub fn messages(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(length) = codec::frame(bytes, &Limits::from_directory()).unwrap() {
        all.push(bytes[..length].to_vec());
        bytes = &bytes[length..];
    }
    assert!(bytes.is_empty(), "half a message was written");
    all
}

pub fn id_of(bytes: &[u8]) -> i32 {
    codec::peek(bytes).unwrap().0
}

pub fn short(bytes: &[u8]) -> String {
    let message = codec::decode(bytes, &Limits::from_directory()).unwrap();
    let id = message.id;
    match message.operation {
        Wire::BindRequest(bind) => format!("{id} bind as {}", bind.name),
        Wire::BindResponse(bound) => format!("{id} bind {}", bound.outcome.code),
        Wire::SearchEntry(entry) => format!("{id} entry {}", entry.dn),
        Wire::SearchDone(outcome) => format!("{id} done {}", outcome.code),
        Wire::SearchRequest(search) => format!("{id} search {} {}", search.base, search.filter),
        Wire::AbandonRequest(target) => format!("{id} abandon {target}"),
        Wire::ExtendedResponse(extended) => format!("{id} extended {}", extended.outcome.code),
        other => format!("{id} {other:?}"),
    }
}

pub fn person(name: &str) -> Entry {
    let attribute = |description: &str, value: &str| Attribute {
        description: description.to_owned(),
        values: vec![value.as_bytes().to_vec()],
    };
    Entry {
        dn: format!("CN={name},OU=Staff,{LOCAL}"),
        attributes: vec![
            attribute("objectClass", "user"),
            attribute("cn", name),
            attribute("sAMAccountName", name),
            attribute("mobile", "hidden"),
        ],
    }
}

pub fn done() -> Wire<'static> {
    Wire::SearchDone(Outcome::default())
}

#[test]
fn a_search_waits_for_the_connection_and_comes_back_as_released() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    rig.search(client, 2, "(uid=ann)");
    assert_eq!(rig.heard(client), Vec::<String>::new());
    let upstream = rig.connect();
    let asked = rig.asked(upstream);
    assert_eq!(asked.len(), 1);
    let id = id_of(&asked[0]);
    assert_eq!(short(&asked[0]), format!("{id} search ou=Staff,{LOCAL} (sAMAccountName=ann)"));
    let entry = codec::to_bytes(&Message::new(id, Wire::SearchEntry(person("ann").as_wire())));
    rig.engine.upstream_bytes(upstream, &entry);
    rig.tell(upstream, id, done());
    let out = rig.engine.client_output(client).unwrap().clone();
    let text = String::from_utf8_lossy(&out).into_owned();
    assert!(
        !text.contains("hidden") && !text.contains("DC=rxa") && !text.contains("sAMAccountName"),
        "{text}"
    );
    assert_eq!(
        rig.heard(client),
        ["2 entry CN=ann,OU=Staff,ou=RXA,o=federation".to_owned(), "2 done success (0)".into()]
    );
    let audit = String::from_utf8(rig.engine.take_audit(true).unwrap()).unwrap();
    assert!(audit.contains("\"filter\":\"(uid=?)\"") && !audit.contains("ann"), "{audit}");
}

/// However the bytes of either side are cut, the outcome is the same.
#[test]
fn every_split_of_the_bytes_is_the_same() {
    let request = codec::to_bytes(&Message::new(2, Wire::SearchRequest(search("(cn=ann)"))));
    for cut in 1..request.len() {
        let mut rig = Rig::new(None);
        let client = rig.client();
        rig.engine.client_bytes(client, &request[..cut]);
        rig.engine.client_bytes(client, &request[cut..]);
        rig.wishes();
        let upstream = rig.connect();
        let id = id_of(&rig.asked(upstream)[0]);
        let mut answer = codec::to_bytes(&Message::new(id, Wire::SearchEntry(person("ann").as_wire())));
        answer.extend(codec::to_bytes(&Message::new(id, done())));
        let cut = cut % answer.len();
        for piece in [&answer[..cut], &answer[cut..]] {
            rig.engine.upstream_bytes(upstream, piece);
        }
        assert_eq!(rig.heard(client).len(), 2, "cut at {cut}");
    }
}

#[test]
fn an_abandoned_question_is_abandoned_behind_and_its_late_answer_is_nobodys() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    rig.search(client, 2, "(uid=ann)");
    let upstream = rig.connect();
    let old = id_of(&rig.asked(upstream)[0]);
    rig.say(client, 3, Wire::AbandonRequest(2));
    let abandoned = rig.asked(upstream);
    assert!(short(&abandoned[0]).ends_with(&format!("abandon {old}")));
    rig.search(client, 4, "(uid=bob)");
    let new = id_of(&rig.asked(upstream)[0]);
    assert!(new != old && new != id_of(&abandoned[0]), "no id is used twice");
    rig.tell(upstream, old, Wire::SearchEntry(person("ann").as_wire()));
    rig.tell(upstream, old, done());
    assert_eq!(rig.heard(client), Vec::<String>::new());
    rig.tell(upstream, new, done());
    assert_eq!(rig.heard(client), ["4 done success (0)"]);
    assert_eq!(rig.engine.counts(), (1, 0, 1));
}

#[test]
fn a_gate_that_closes_ends_the_operation_in_that_turn() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    rig.search(client, 2, "(uid=ann)");
    let upstream = rig.connect();
    rig.asked(upstream);
    rig.gates.set(&rxa(), gate(GateState::Closed));
    rig.turn(10);
    assert_eq!(rig.heard(client), ["2 done noSuchObject (32)"]);
    assert!(short(&rig.asked(upstream)[0]).contains("abandon"));
    // A decision whose time is over is a closed gate as well.
    rig.gates.set(&rxa(), gate(GateState::Open));
    rig.search(client, 3, "(uid=ann)");
    rig.turn(3_600_000_000);
    assert_eq!(rig.heard(client), ["3 done noSuchObject (32)"]);
}

#[test]
fn large_results_are_read_page_by_page() {
    let mut rig = Rig::new(Some(2));
    let client = rig.client();
    rig.search(client, 2, "(cn=*)");
    let upstream = rig.connect();
    let first = rig.asked(upstream);
    let page = |cookie: &[u8]| {
        let mut value = Vec::new();
        let start = ber::open(&mut value, ber::SEQUENCE);
        ber::put_int(&mut value, ber::INTEGER, 0);
        ber::put_octets(&mut value, ber::OCTET_STRING, cookie);
        ber::close(&mut value, start);
        vec![Control { oid: PAGED.into(), critical: false, value: Some(value.into()) }]
    };
    let id = id_of(&first[0]);
    rig.tell(upstream, id, Wire::SearchEntry(person("ann").as_wire()));
    let more = Message { id, operation: done(), controls: page(b"cookie") };
    rig.engine.upstream_bytes(upstream, &codec::to_bytes(&more));
    assert_eq!(rig.heard(client).len(), 1, "the search goes on");
    let second = rig.asked(upstream);
    assert!(second[0].windows(6).any(|bytes| bytes == b"cookie"));
    let id = id_of(&second[0]);
    rig.tell(upstream, id, Wire::SearchEntry(person("bob").as_wire()));
    let last = Message { id, operation: done(), controls: page(b"") };
    rig.engine.upstream_bytes(upstream, &codec::to_bytes(&last));
    assert_eq!(rig.heard(client).last().unwrap(), "2 done success (0)");
}

/// Whoever cannot say whether there is more has not answered, and its question ends with its connection.
#[test]
fn a_page_control_that_is_none_ends_the_question_at_once() {
    let mut rig = Rig::new(Some(1));
    let client = rig.client();
    rig.search(client, 2, "(cn=*)");
    let upstream = rig.connect();
    let id = rig.questions(upstream)[0];
    let control = Control { oid: PAGED.into(), critical: false, value: Some(vec![0x30, 0x80, 1].into()) };
    let end = Message { id, operation: done(), controls: vec![control] };
    rig.engine.upstream_bytes(upstream, &codec::to_bytes(&end));
    rig.wishes();
    assert_eq!(rig.heard(client), ["2 done unavailable (52)"]);
    assert!(!rig.dialled.contains(&upstream));
}

#[test]
fn a_lost_directory_is_left_alone_for_a_while() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    rig.search(client, 2, "(uid=ann)");
    let upstream = rig.dialled[0];
    rig.engine.upstream_ended(upstream);
    rig.wishes();
    assert_eq!(rig.heard(client), ["2 done unavailable (52)"]);
    rig.search(client, 3, "(uid=ann)");
    assert_eq!((rig.heard(client), rig.dialled.len()), (vec!["3 done unavailable (52)".to_owned()], 0));
    rig.turn(400_000);
    rig.search(client, 4, "(uid=ann)");
    assert_eq!(rig.dialled.len(), 1, "tried again");
}

#[test]
fn time_runs_out() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    rig.search(client, 2, "(uid=ann)");
    let upstream = rig.connect();
    rig.asked(upstream);
    rig.turn(14_900_000);
    assert_eq!(rig.heard(client), Vec::<String>::new());
    rig.turn(200_000);
    assert_eq!(rig.heard(client), ["2 done unavailable (52)"]);
}

#[test]
fn the_agreements_rate_holds() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    rig.search(client, 2, "(uid=ann)");
    let upstream = rig.connect();
    for id in 3..60 {
        for asked in rig.asked(upstream) {
            rig.tell(upstream, id_of(&asked), done());
        }
        rig.search(client, id, "(uid=ann)");
    }
    let busy = rig.heard(client).iter().filter(|line| line.contains("busy")).count();
    assert_eq!(busy, 58 - 50);
}

#[test]
fn a_rebind_abandons_what_was_asked_before() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    rig.search(client, 2, "(uid=ann)");
    let upstream = rig.connect();
    let id = id_of(&rig.asked(upstream)[0]);
    let anonymous = Authentication::Simple(b""[..].into());
    rig.say(client, 3, Wire::BindRequest(Bind { version: 3, name: "".into(), authentication: anonymous }));
    rig.tell(upstream, id, Wire::SearchEntry(person("ann").as_wire()));
    rig.tell(upstream, id, done());
    assert_eq!(rig.heard(client), ["3 bind success (0)"]);
    rig.search(client, 4, "(uid=ann)");
    assert_eq!(rig.heard(client), ["4 done strongerAuthRequired (8)"]);
}

/// Random bytes from either side: no panic, nothing kept that grows.
#[test]
fn rubbish_from_either_side() {
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        chance
    };
    let seeds = [
        codec::to_bytes(&Message::new(2, Wire::SearchRequest(search("(&(cn=ann)(!(mail=*a*b)))")))),
        codec::to_bytes(&Message::new(4097, Wire::SearchEntry(person("ann").as_wire()))),
        codec::to_bytes(&Message::new(4097, done())),
    ];
    for _ in 0..2_000 {
        let mut rig = Rig::new(None);
        let client = rig.client();
        rig.search(client, 2, "(cn=*)");
        let upstream = rig.connect();
        let mut bytes = seeds[(next() % 3) as usize].clone();
        for _ in 0..next() % 4 {
            let at = (next() as usize) % bytes.len();
            bytes[at] = next() as u8;
        }
        rig.engine.client_bytes(client, &bytes);
        rig.engine.upstream_bytes(upstream, &bytes);
        rig.turn(1_000);
    }
}

#[test]
fn who_is_taken_out_of_the_directory_is_disconnected() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    rig.search(client, 2, "(uid=ann)");
    let before = &rig.snapshot;
    rig.snapshot = Arc::new(Snapshot {
        agreements: before.agreements.clone(),
        routes: before.routes.clone(),
        mounts: before.mounts.clone(),
        requesters: Arc::new(Requesters::new(b"key")),
    });
    let elapsed = time::Duration::microseconds(i64::try_from(rig.now).unwrap());
    let moment = Moment { microseconds: rig.now, wall: START + elapsed };
    rig.engine.begin(moment, &rig.snapshot, &rig.gates.snapshot());
    assert_eq!(rig.heard(client), ["0 extended strongerAuthRequired (8)"]);
    rig.wishes();
    assert_eq!(rig.engine.counts().0, 0);
}

/// The scope below the base without it: the directory is asked for the subtree, and its base entry is passed over.
#[test]
fn children_come_without_their_parent() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    let request = Search { scope: Scope::Children, ..search("(cn=*)") };
    rig.say(client, 2, Wire::SearchRequest(request));
    let upstream = rig.connect();
    let id = id_of(&rig.asked(upstream)[0]);
    let mut parent = person("Staff");
    parent.dn = format!("OU=Staff,{LOCAL}");
    rig.tell(upstream, id, Wire::SearchEntry(parent.as_wire()));
    rig.tell(upstream, id, Wire::SearchEntry(person("ann").as_wire()));
    rig.tell(upstream, id, done());
    assert_eq!(rig.heard(client), ["2 entry CN=ann,OU=Staff,ou=RXA,o=federation", "2 done success (0)"]);
}

/// Whoever is missing when time is over is counted as whoever could not be asked is.
#[test]
fn a_search_over_the_whole_tree_that_runs_out_of_time_says_how_many_are_missing() {
    let mut rig = Rig::with(&["RXA", "RXB", "RXC"], None, &wide(), Settings::default());
    let client = rig.client();
    rig.say(client, 2, Wire::SearchRequest(Search { base: "o=federation".into(), ..search("(cn=*)") }));
    for upstream in rig.dialled.clone() {
        rig.bind(upstream);
        let id = rig.questions(upstream)[0];
        if rig.servers[&upstream] == "RXB" {
            rig.tell(upstream, id, done());
        }
    }
    // Their servers live: the root entry answers.
    for _ in 0..800 {
        rig.turn(20_000);
        for upstream in rig.dialled.clone() {
            for message in rig.asked(upstream) {
                if id_of(&message) == PROBE_ID {
                    rig.tell(upstream, PROBE_ID, done());
                }
            }
        }
    }
    let bytes = rig.engine.client_output(client).map(std::mem::take).unwrap();
    let last = messages(&bytes).pop().unwrap();
    let message = codec::decode(&last, &Limits::default()).unwrap();
    let Wire::SearchDone(outcome) = message.operation else { panic!("{message:?}") };
    assert_eq!(outcome.code, crate::ldap::message::ResultCode::UNAVAILABLE);
    assert!(outcome.diagnostic.starts_with("2 of 3 directories did not answer"), "{}", outcome.diagnostic);
}

/// T61: the limit for idle connections neither ends a search that takes longer nor counts its time.
#[test]
fn a_long_search_is_not_idle_time() {
    let settings = Settings { idle_milliseconds: 1_000, ..Settings::default() };
    let mut rig = Rig::with_servers(settings, &[0], &["RXA"]);
    let client = rig.client();
    rig.ask(client, 2, "RXA");
    let upstream = rig.connect();
    let question = rig.questions(upstream)[0];
    rig.pass(1_500_000, 20_000);
    rig.tell(upstream, question, done());
    assert_eq!(rig.heard(client), ["2 done success (0)"]);
    rig.pass(900_000, 20_000);
    assert_eq!(rig.heard(client), [""; 0]);
    rig.pass(400_000, 20_000);
    assert_eq!(rig.engine.counts().0, 0);
}

mod identity;

/// T10: a name that our own account may not read and one that is not there are the same.
#[test]
fn what_our_account_may_not_read_is_not_there() {
    let mut answers = Vec::new();
    for code in [ResultCode::NO_SUCH_OBJECT, ResultCode::INSUFFICIENT_ACCESS_RIGHTS] {
        let mut rig = Rig::new(None);
        let client = rig.client();
        for (id, scope) in [(2, Scope::Base), (3, Scope::Subtree)] {
            let base = "cn=ann,ou=Staff,ou=RXA,o=federation".into();
            rig.say(client, id, Wire::SearchRequest(Search { base, scope, ..search("(cn=*)") }));
        }
        let mount = Search { base: "ou=RXA,o=federation".into(), ..search("(cn=*)") };
        rig.say(client, 4, Wire::SearchRequest(mount));
        rig.connect();
        rig.pass(400_000, 20_000);
        for upstream in rig.dialled.clone() {
            for id in rig.questions(upstream) {
                rig.tell(upstream, id, Wire::SearchDone(Outcome::new(code, "no access")));
            }
        }
        answers.push(rig.heard(client));
    }
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].iter().any(|line| line == "2 done noSuchObject (32)"), "{answers:?}");
    assert!(answers[0].iter().any(|line| line == "4 done unavailable (52)"), "{answers:?}");
}
