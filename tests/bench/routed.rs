//! What a search from the root costs the shard engine that routing leads to one member, with 10 to 1,565 members mounted:
//! microseconds of CPU from the request's bytes to those of the result, the answers of the directories included.
//!
//! `cargo bench --bench routed`

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a program for developers that talks to a terminal"
)]

#[allow(dead_code, reason = "shared with another benchmark, which measures memory too")]
mod meter;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use portcullis::gate::decide::{GateDecision, GateState};
use portcullis::gate::table::GateTable;
use portcullis::ldap::codec;
use portcullis::ldap::filter::Filter;
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{
    Authentication, Bind, BindOutcome, Dereference, Message, Operation, Outcome, Scope, Search,
};
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

const MEMBERS: [usize; 4] = [10, 100, 565, 1_565];
const ROUNDS: usize = 7;
const SEARCHES: usize = 20_000;
const START: OffsetDateTime = time::macros::datetime!(2026-11-24 12:00 UTC);

const AGREEMENT: &str = "\
kind: Release
id: bench
title: The benchmark's own agreement
purpose: To measure.
audience: { category: application, members: all }
targets: { members: all, national: true }
attributes: [uid, cn, sn, mail]
limits: { size: 100, time: 30s, rate: 1000000/s, in_flight: 1000 }
until: 2099-12-31
";

fn main() {
    let mut stages: Vec<Stage> = MEMBERS.iter().map(|count| Stage::new(*count)).collect();
    let mut taken: Vec<Vec<f64>> = vec![Vec::new(); stages.len()];
    for round in 0..=ROUNDS {
        for (stage, taken) in stages.iter_mut().zip(&mut taken) {
            let before = meter::cpu_seconds(std::process::id());
            (0..SEARCHES).for_each(|n| stage.search(n));
            let micros = (meter::cpu_seconds(std::process::id()) - before) * 1e6 / SEARCHES as f64;
            // the first round dials and compiles
            if round > 0 {
                taken.push(micros);
            }
        }
    }
    println!("{:>8} {:>14} {:>9}", "members", "us per search", "x fewest");
    let medians: Vec<f64> = taken.iter_mut().map(|values| median(values)).collect();
    for (count, median) in MEMBERS.iter().zip(&medians) {
        println!("{count:>8} {median:>14.2} {:>9.2}", median / medians[0]);
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// An engine with one bound client, and directories that answer at once that they hold nothing.
struct Stage {
    engine: Engine,
    snapshot: Arc<Snapshot>,
    gates: GateTable,
    client: usize,
    members: usize,
    now: u64,
    due: Vec<usize>,
    upstreams: BTreeSet<usize>,
}

fn code(n: usize) -> String {
    format!("R{n:04}")
}

impl Stage {
    fn new(members: usize) -> Stage {
        let gates = GateTable::new();
        let decision = GateDecision {
            state: GateState::Open,
            reasons: Vec::new(),
            assessment: None,
            valid_until: Some(START + time::Duration::days(1)),
        };
        for n in 0..members {
            gates.set(&code(n).parse().unwrap(), BTreeMap::from([(Grant::Lookup, decision.clone())]));
        }
        let snapshot = snapshot(members);
        let engine = Engine::new(Parts {
            settings: Arc::new(Settings::default()),
            shard: 0,
            metrics: Metrics::register(&prometheus::Registry::new()).unwrap(),
            snapshot: Arc::clone(&snapshot),
            gates: gates.snapshot(),
            chance: 7,
            cookie_secret: [7; 32],
            wall: START,
        });
        let (due, upstreams) = (Vec::new(), BTreeSet::new());
        let mut stage = Stage { engine, snapshot, gates, client: 0, members, now: 0, due, upstreams };
        stage.turn();
        stage.bind();
        stage
    }

    fn turn(&mut self) {
        self.now += 100;
        let elapsed = time::Duration::microseconds(i64::try_from(self.now).unwrap());
        let moment = Moment { microseconds: self.now, wall: START + elapsed };
        self.engine.begin(moment, &self.snapshot, &self.gates.snapshot());
    }

    fn bind(&mut self) {
        self.client = self.engine.client_opened([127, 0, 0, 1].into(), Phase::Handshake).unwrap();
        let identity = ClientIdentity {
            subject: "cn=bench".to_owned(),
            upn: None,
            sid: None,
            extended_key_usage: Vec::new(),
            fingerprint: "aa".to_owned(),
            not_after: START + time::Duration::days(1),
            authorities: Vec::new(),
        };
        let until = identity.not_after;
        self.engine.client_secured(self.client, Some(Proof { identity, chain: Vec::new(), until }));
        let authentication = Authentication::Sasl { mechanism: "EXTERNAL".into(), credentials: None };
        let bind = Operation::BindRequest(Bind { version: 3, name: "".into(), authentication });
        self.engine.client_bytes(self.client, &codec::to_bytes(&Message::new(1, bind)));
        self.heard();
    }

    fn search(&mut self, n: usize) {
        self.turn();
        let member = n % self.members.min(10) * (self.members / 10).max(1);
        let search = Search {
            base: "o=federation".into(),
            scope: Scope::Subtree,
            dereference: Dereference::Never,
            size_limit: 0,
            time_limit: 0,
            types_only: false,
            filter: Filter::equal("mail", format!("person.{n}@m{member}.test").into_bytes()),
            attributes: Vec::new(),
        };
        let id = i32::try_from(n).unwrap() + 2;
        let request = codec::to_bytes(&Message::new(id, Operation::SearchRequest(search)));
        self.engine.client_bytes(self.client, &request);
        self.serve();
        assert!(self.heard() > 0, "a search was not answered");
    }

    /// Dials and answers until nothing is asked any more.
    fn serve(&mut self) {
        loop {
            for wish in self.engine.take_wishes() {
                if let Wish::Dial { upstream, .. } = wish {
                    self.engine.upstream_opened(upstream);
                    self.upstreams.insert(upstream);
                }
            }
            let mut due = std::mem::take(&mut self.due);
            self.engine.due_upstreams(&mut due);
            let idle = due.is_empty();
            for upstream in &due {
                let asked = self.engine.upstream_output(*upstream).map(std::mem::take).unwrap_or_default();
                self.engine.upstream_written(*upstream, false);
                self.answer(*upstream, &asked);
            }
            self.due = due;
            if idle {
                return;
            }
        }
    }

    fn answer(&mut self, upstream: usize, mut asked: &[u8]) {
        let limits = Limits::from_directory();
        while let Some(length) = codec::frame(asked, &limits).unwrap() {
            let (message, rest) = asked.split_at(length);
            asked = rest;
            let id = codec::peek(message).unwrap().0;
            let answer = match codec::decode(message, &limits).unwrap().operation {
                Operation::BindRequest(_) => Operation::BindResponse(BindOutcome::default()),
                Operation::SearchRequest(_) => Operation::SearchDone(Outcome::default()),
                _ => continue,
            };
            self.engine.upstream_bytes(upstream, &codec::to_bytes(&Message::new(id, answer)));
        }
    }

    /// Takes what was written to the client.
    fn heard(&mut self) -> usize {
        let mut due = std::mem::take(&mut self.due);
        self.engine.due_clients(true, &mut due);
        self.due = due;
        let out = self.engine.client_output(self.client).unwrap();
        let taken = out.len();
        out.clear();
        self.engine.client_written(self.client, taken, false);
        self.engine.take_audit(true);
        taken
    }
}

fn snapshot(members: usize) -> Arc<Snapshot> {
    let (set, faults) = PolicySet::from_sources(&[Source::inline("bench", AGREEMENT)]);
    assert!(faults.is_empty(), "{faults:?}");
    let mut requesters = Requesters::new(b"key");
    requesters.add_application("aa", "bench", None);
    let endpoint = |name: &str| {
        let server = Server { address: name.to_owned(), tls: None, preference: Preference::default() };
        Arc::new(Endpoint {
            servers: vec![server],
            bind_name: "gateway@bench.test".to_owned(),
            password: Secret::new("bench-only".to_owned()),
            page_size: None,
        })
    };
    let mut mounts = HashMap::new();
    let mut routed = Vec::new();
    for n in 0..members {
        let target = Target::Member(code(n).parse().unwrap());
        let (unit, local) = (format!("ou={},o=federation", code(n)), format!("DC=r{n},DC=test"));
        let mapping = Arc::new(Mapping::active_directory(&unit, &local).unwrap());
        mounts.insert(target.clone(), Mounted { mapping, endpoint: endpoint(&code(n)) });
        let mut mount = Mount::new(target);
        mount.mail_domains = BTreeSet::from([format!("m{n}.test")]);
        routed.push(mount);
    }
    let mapping = Arc::new(Mapping::active_directory("ou=national,o=federation", "dc=nat,dc=test").unwrap());
    mounts.insert(Target::National, Mounted { mapping, endpoint: endpoint("national") });
    routed.push(Mount::new(Target::National));
    Arc::new(Snapshot {
        agreements: Arc::new(Agreements::compile(set.releases.values()).unwrap()),
        routes: Arc::new(Routes::new(routed)),
        mounts,
        requesters: Arc::new(requesters),
    })
}
