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
mod identity;
mod operations;
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
