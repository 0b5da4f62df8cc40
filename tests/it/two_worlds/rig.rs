//! The real engine of a shard with directories behind it: bytes in, bytes out, no socket and no clock. Two of them with
//! equal secrets and equal chance differ in nothing but the world behind.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::gate::decide::{GateDecision, GateState};
use portcullis::gate::table;
use portcullis::ldap::codec;
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{Authentication, Bind, Operation};
use portcullis::namespace::mapping::Mapping;
use portcullis::namespace::routes::{Mount, Routes};
use portcullis::policy::set::PolicySet;
use portcullis::policy::source::Source;
use portcullis::policy::terms::{Grant, Target};
use portcullis::proxy::engine::client::Phase;
use portcullis::proxy::engine::core::{Engine, Moment, Parts};
use portcullis::proxy::engine::proof::Proof;
use portcullis::proxy::engine::wish::Wish;
use portcullis::proxy::metrics::Metrics;
use portcullis::proxy::requesters::Requesters;
use portcullis::proxy::settings::Settings;
use portcullis::proxy::snapshot::{Endpoint, Mounted, Preference, Server, Snapshot};
use portcullis::release::agreement::Agreements;
use portcullis::secret::text::Secret;
use portcullis::tls::identity::ClientIdentity;
use time::OffsetDateTime;

use super::directory::Directory;
use super::requests::message;
use super::worlds::HOMES;

const START: OffsetDateTime = time::macros::datetime!(2026-11-24 12:00 UTC);
/// A member that is mounted and whose gate is closed: nothing may ask it.
const CLOSED: &str = "RXC";

/// What all rigs share: the policy, the mounts, the gates.
pub struct Stage {
    snapshot: Arc<Snapshot>,
    gates: Arc<table::Snapshot>,
    metrics: Metrics,
}

fn target(unit: &str) -> Target {
    if unit == "national" { Target::National } else { Target::Member(unit.parse().unwrap()) }
}

fn mounted(unit: &str, federated: &str, local: &str, standard: bool, page_size: Option<u32>) -> Mounted {
    let mapping = match standard {
        true => Mapping::standard(federated, local),
        false => Mapping::active_directory(federated, local),
    };
    let endpoint = Endpoint {
        servers: vec![Server { address: unit.to_owned(), tls: None, preference: Preference::default() }],
        bind_name: "gateway@trust.test".to_owned(),
        password: Secret::new("test-only".to_owned()),
        page_size,
    };
    Mounted { mapping: Arc::new(mapping.unwrap()), endpoint: Arc::new(endpoint) }
}

impl Stage {
    /// Every directory is mounted; all but one may be asked.
    pub fn new(agreement: &str) -> Stage {
        let (set, faults) = PolicySet::from_sources(&[Source::inline("two-worlds", agreement)]);
        assert!(faults.is_empty(), "{faults:?}");
        let mut requesters = Requesters::new(b"key");
        requesters.add_application("aa", "test", None);
        let mut mounts: HashMap<Target, Mounted> = HOMES
            .iter()
            .map(|home| {
                let mounted = mounted(home.unit, home.federated, home.local, home.standard, home.page_size);
                (target(home.unit), mounted)
            })
            .collect();
        let closed = mounted(CLOSED, "ou=RXC,o=federation", "DC=rxc,DC=trust,DC=test", false, None);
        mounts.insert(target(CLOSED), closed);
        let decision = GateDecision {
            state: GateState::Open,
            reasons: Vec::new(),
            assessment: None,
            valid_until: Some(START + time::Duration::days(1)),
        };
        let open = HOMES
            .iter()
            .filter(|home| home.unit != "national")
            .map(|home| (home.unit.parse().unwrap(), BTreeMap::from([(Grant::Lookup, decision.clone())])));
        Stage {
            gates: Arc::new(table::Snapshot::of(open)),
            snapshot: Arc::new(Snapshot {
                agreements: Arc::new(
                    Agreements::compile_where_nobody_is_named(set.releases.values()).unwrap(),
                ),
                routes: Arc::new(Routes::new(mounts.keys().map(|target| Mount::new(target.clone())))),
                mounts,
                requesters: Arc::new(requesters),
            }),
            metrics: Metrics::register(&prometheus::Registry::new()).unwrap(),
        }
    }

    pub fn rig(&self, directories: Vec<Directory>) -> Rig {
        let engine = Engine::new(Parts {
            settings: Arc::new(Settings::default()),
            shard: 0,
            metrics: self.metrics.clone(),
            snapshot: Arc::clone(&self.snapshot),
            gates: Arc::clone(&self.gates),
            chance: 7,
            cookie_secret: [7; 32],
            wall: START,
        });
        let mut rig = Rig {
            engine,
            snapshot: Arc::clone(&self.snapshot),
            gates: Arc::clone(&self.gates),
            now: 0,
            directories,
            links: BTreeMap::new(),
            dialled: Vec::new(),
            questions: vec![VecDeque::new(); HOMES.len()],
            late: Vec::new(),
            due: Vec::new(),
            heard: Heard::default(),
            spent: Duration::ZERO,
        };
        rig.turn();
        rig
    }
}

/// What a client gets to see of one exchange.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    pub bytes: Vec<u8>,
    /// The gateway closed the connection.
    pub closed: bool,
    /// What else the engine wants of the loop around it, for this client.
    pub wishes: Vec<String>,
}

/// One engine, its directories, and at most one client at a time.
pub struct Rig {
    engine: Engine,
    snapshot: Arc<Snapshot>,
    gates: Arc<table::Snapshot>,
    now: u64,
    directories: Vec<Directory>,
    /// Connections behind, and whose they are.
    links: BTreeMap<usize, usize>,
    dialled: Vec<usize>,
    /// By directory, with the connection that each came on.
    questions: Vec<VecDeque<(usize, Vec<u8>)>>,
    /// Answers that were on their way when the client lost interest.
    late: Vec<(usize, Vec<u8>)>,
    due: Vec<usize>,
    heard: Heard,
    spent: Duration,
}

impl Rig {
    /// A new turn, a little later.
    fn turn(&mut self) {
        self.now += 2_000;
        let elapsed = time::Duration::microseconds(i64::try_from(self.now).unwrap());
        let moment = Moment { microseconds: self.now, wall: START + elapsed };
        self.engine.begin(moment, &self.snapshot, &self.gates);
        self.wishes();
        self.engine.take_audit(false);
    }

    fn wishes(&mut self) {
        for wish in self.engine.take_wishes() {
            match wish {
                Wish::Dial { upstream, endpoint, server } => {
                    let unit = &endpoint.servers[server].address;
                    let home = HOMES.iter().position(|home| home.unit == unit);
                    self.links.insert(upstream, home.expect("a directory that may not be asked was dialled"));
                    self.dialled.push(upstream);
                }
                Wish::CloseUpstream { upstream } => {
                    self.links.remove(&upstream);
                    self.dialled.retain(|at| *at != upstream);
                    self.engine.forget_upstream(upstream);
                }
                Wish::CloseClient { client } => {
                    self.listen(client);
                    self.heard.closed = true;
                    self.engine.forget_client(client);
                }
                Wish::ReadUpstream { .. } => {}
                other => self.heard.wishes.push(format!("{other:?}")),
            }
        }
    }

    /// Takes what was written to the client.
    fn listen(&mut self, client: usize) {
        let Some(out) = self.engine.client_output(client) else { return };
        let taken = out.len();
        self.heard.bytes.append(out);
        self.engine.client_written(client, taken, false);
    }

    /// A client that is bound as the application; what it heard of that is no news.
    pub fn connect(&mut self) -> usize {
        let key = self.engine.client_opened([127, 0, 0, 1].into(), Phase::Handshake).unwrap();
        let identity = ClientIdentity {
            subject: "cn=test".to_owned(),
            upn: None,
            sid: None,
            extended_key_usage: Vec::new(),
            fingerprint: "aa".to_owned(),
            not_after: START + time::Duration::days(1),
            authorities: Vec::new(),
        };
        let until = identity.not_after;
        self.engine.client_secured(key, Some(Proof { identity, chain: Vec::new(), until }));
        self.say(key, &message(1, bind(), &[]), None);
        key
    }

    /// Sends bytes of the client, has the directories answer, and returns what the client got. With `stop` the directories
    /// fall silent once the client has so many messages; what they had on their way comes with the next exchange.
    pub fn say(&mut self, client: usize, bytes: &[u8], stop: Option<usize>) -> Heard {
        self.turn();
        let began = Instant::now();
        self.engine.client_bytes(client, bytes);
        self.spent += began.elapsed();
        self.wishes();
        for (upstream, bytes) in std::mem::take(&mut self.late) {
            self.told(upstream, &bytes);
        }
        self.serve(client, stop);
        self.listen(client);
        std::mem::take(&mut self.heard)
    }

    /// Makes connections and answers questions until there are none. The first directory answers everything before the next
    /// one does: in which order directories answer is a matter of time, and not of this.
    fn serve(&mut self, client: usize, stop: Option<usize>) {
        loop {
            for upstream in std::mem::take(&mut self.dialled) {
                self.engine.upstream_opened(upstream);
            }
            self.collect();
            self.listen(client);
            if stop.is_some_and(|stop| count(&self.heard.bytes) >= stop) {
                return;
            }
            let Some(home) = self.questions.iter().position(|questions| !questions.is_empty()) else {
                return;
            };
            let Some((upstream, question)) = self.questions[home].pop_front() else { return };
            let mut messages: VecDeque<Vec<u8>> = self.directories[home].answer(upstream, &question).into();
            if stop.is_none() {
                let all: Vec<u8> = messages.into_iter().flatten().collect();
                self.told(upstream, &all);
                continue;
            }
            while let Some(message) = messages.pop_front() {
                self.told(upstream, &message);
                self.listen(client);
                if stop.is_some_and(|stop| count(&self.heard.bytes) >= stop) {
                    self.late.extend(messages.into_iter().map(|message| (upstream, message)));
                    return;
                }
            }
        }
    }

    fn told(&mut self, upstream: usize, bytes: &[u8]) {
        let began = Instant::now();
        self.engine.upstream_bytes(upstream, bytes);
        self.spent += began.elapsed();
        self.wishes();
    }

    /// The time that the engine itself took since this was asked last.
    pub fn take_spent(&mut self) -> Duration {
        std::mem::take(&mut self.spent)
    }

    /// Takes what was written to the directories.
    fn collect(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.engine.due_upstreams(&mut due);
        for upstream in &due {
            let Some(home) = self.links.get(upstream) else { continue };
            let Some(out) = self.engine.upstream_output(*upstream) else { continue };
            let bytes = std::mem::take(out);
            self.questions[*home].extend(messages(&bytes).map(|message| (*upstream, message.to_vec())));
            self.engine.upstream_written(*upstream, false);
        }
        self.due = due;
        self.engine.due_clients(true, &mut Vec::new());
    }

    /// Operations in flight: none may be left when everything was answered.
    pub fn in_flight(&self) -> usize {
        self.engine.counts().1
    }

    /// Questions that directories answered.
    pub fn asked(&self) -> usize {
        self.directories.iter().map(|directory| directory.asked).sum()
    }
}

pub fn bind() -> Operation<'static> {
    let authentication = Authentication::Sasl { mechanism: "EXTERNAL".into(), credentials: None };
    Operation::BindRequest(Bind { version: 3, name: "".into(), authentication })
}

/// The whole messages in `bytes`; half a message is a fault.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let length =
            codec::frame(bytes, &Limits::from_directory()).unwrap().expect("half a message was written");
        let (message, rest) = bytes.split_at(length);
        bytes = rest;
        Some(message)
    })
}

fn count(bytes: &[u8]) -> usize {
    messages(bytes).count()
}
