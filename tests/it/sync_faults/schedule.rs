//! One schedule: days of two organisations, runs with faults, and then the calm after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration as Wait;

use portcullis::ambient::clock::Clock;
use portcullis::directory::endpoint::{Endpoint, Transport};
use portcullis::directory::request::Credential;
use portcullis::directory::settings::Settings as Patience;
use portcullis::ldap::filter::Filter;
use portcullis::policy::scope::{Guard, Guards};
use portcullis::policy::terms::OdsCode;
use portcullis::secret::text::Secret;
use portcullis::store::audit::NewAudit;
use portcullis::store::port::Store;
use portcullis::store::sqlite::store::SqliteStore;
use portcullis::sync::keeping::job::{Hands, Job, Mode, Reach};
use portcullis::sync::keeping::shelf::{COMPLETING, COOKIE, SUSPECT};
use portcullis::sync::running::report::{Outcome, Report};
use portcullis::sync::running::run::run_member;
use portcullis::sync::terms::error::SyncError;
use portcullis::sync::terms::settings::{Levels, Origin, Scope, Settings};
use portcullis::sync::writing::execute::Gate;
use time::{Duration, OffsetDateTime};

use crate::sync_faults::chance::Chance;
use crate::sync_faults::check;
use crate::sync_faults::member::{self, Member};
use crate::sync_faults::national::{self, National, PEOPLE};
use crate::sync_faults::process::{ALL, Came, Fault, Process, Run, Trace};
use crate::sync_faults::store::Faulty;
use crate::sync_faults::wire::{Doors, Power, serve};
use crate::sync_faults::world::{Mover, Truth};

const START: i64 = 1_795_000_000;
/// Runs after which everything must be quiet.
const CALM_RUNS: u32 = 12;

/// What came of a schedule.
#[derive(Debug, Default, Clone)]
pub struct Told {
    pub seed: u64,
    pub wrong: Vec<String>,
    pub trace: Vec<String>,
    pub writes: u64,
    pub runs: u64,
    pub crashed: u64,
    pub failed: u64,
    pub people: u64,
}

type Ended = Result<Report, SyncError>;

/// Everything of one schedule.
pub struct Schedule {
    pub chance: Chance,
    pub trace: Arc<Trace>,
    pub members: BTreeMap<String, Arc<Mutex<Member>>>,
    pub national: Arc<Mutex<National>>,
    pub store: Arc<SqliteStore>,
    clock: Clock,
    now: OffsetDateTime,
    /// The latest time that any clock has shown.
    latest: OffsetDateTime,
    ports: BTreeMap<String, Vec<u16>>,
    national_port: u16,
    doors: Arc<Doors>,
    power: Arc<Power>,
    settings: Settings,
    standing: Vec<(Arc<Process>, Run<Ended>)>,
    told: Told,
    number: u64,
    /// Complete passes of a directory that tells no deletions are due after an hour.
    _folder: tempfile::TempDir,
}

fn tls() -> Arc<rustls::ClientConfig> {
    static TLS: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    let make = || {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        // nothing here is spoken to over TLS
        Arc::new(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
    };
    TLS.get_or_init(make).clone()
}

fn scope() -> Scope {
    let local = |name: &str| Origin::Local(name.to_owned());
    let wide = Guard { count: 1_000_000, share: 100_000_000 };
    let set = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<BTreeSet<_>>();
    Scope {
        bases: vec!["OU=Staff".to_owned()],
        filter: Filter::parse("(&(objectClass=user)(mail=*))").unwrap().into_owned(),
        attributes: [
            ("sn", "sn"),
            ("cn", "displayname"),
            ("mail", "mail"),
            ("title", "title"),
            ("telephonenumber", "telephonenumber"),
            ("employeenumber", "employeenumber"),
            ("manager", "manager"),
        ]
        .into_iter()
        .map(|(to, from)| (to.to_owned(), local(from)))
        .collect(),
        shared: BTreeMap::new(),
        person: Some("employeenumber".to_owned()),
        levels: Some(Levels {
            attribute: crate::sync_faults::world::LEVEL.to_owned(),
            not_published: set(&["secret"]),
            not_findable: set(&["unfindable"]),
            without_contact: set(&["nocontact"]),
            contact: set(&["telephonenumber"]),
        }),
        mail_domains: BTreeSet::new(),
        keep: Duration::days(30),
        guards: Guards {
            deletes: wide,
            disables: wide,
            hides: wide,
            unit: wide,
            joins: wide,
            mails: wide,
            renames: wide,
            changes: wide,
            shrink: wide,
            day: wide,
            wishes: wide,
        },
    }
}

/// The store of a schedule, made once and copied.
fn store(folder: &std::path::Path) -> SqliteStore {
    static EMPTY: OnceLock<Vec<u8>> = OnceLock::new();
    let file = "portcullis.sqlite";
    let empty = EMPTY.get_or_init(|| {
        let folder = shm();
        drop(SqliteStore::open(folder.path(), &Default::default()).unwrap());
        std::fs::read(folder.path().join(file)).unwrap()
    });
    std::fs::write(folder.join(file), empty).unwrap();
    SqliteStore::open(folder, &Default::default()).unwrap()
}

/// In memory where there is such a place: nothing is proved here about a disk.
fn shm() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// Runs one schedule.
pub fn run(seed: u64) -> Told {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build().unwrap();
    runtime.block_on(async {
        let mut schedule = Schedule::new(seed).await;
        schedule.storm().await;
        schedule.calm().await;
        schedule.told.wrong = schedule.trace.wrongs();
        schedule.told.trace = schedule.trace.lines();
        schedule.told.seed = seed;
        schedule.told.writes = schedule.national.lock().unwrap().writes;
        schedule.told.clone()
    })
}

impl Schedule {
    async fn new(seed: u64) -> Schedule {
        let mut chance = Chance::new(seed);
        let trace = Arc::new(Trace::default());
        let mut members = BTreeMap::new();
        let second = chance.one_in(2);
        for (code, people) in [("RXS", 8 + chance.below(14)), ("RYS", 4 + chance.below(6))] {
            if code == "RXS" || second {
                let truth = Truth::new(code, people, chance.one_in(2));
                let mut member =
                    Member::new(truth, 4 + chance.below(20) as usize, Chance::new(chance.next()));
                member.tells_deletions = !chance.one_in(3);
                member.nameless = chance.one_in(3);
                members.insert(code.to_owned(), Arc::new(Mutex::new(member)));
            }
        }
        let national = Arc::new(Mutex::new(National::new(members.clone(), Arc::clone(&trace))));
        let (doors, power) = (Arc::new(Doors::default()), Arc::new(Power::default()));
        let mut ports = BTreeMap::new();
        for (code, member) in &members {
            let mut two = Vec::new();
            for at in 0..2 {
                let port = Arc::new(member::Port { member: Arc::clone(member), at });
                two.push(serve(port, Arc::clone(&doors), Arc::default()).await);
            }
            ports.insert(code.clone(), two);
        }
        let port = Arc::new(national::Port { national: Arc::clone(&national), power: Arc::clone(&power) });
        let national_port = serve(port, Arc::clone(&doors), Arc::clone(&power)).await;
        let folder = shm();
        let now = OffsetDateTime::from_unix_timestamp(START).unwrap();
        let settings = Settings {
            batch: 1 + chance.below(8) as usize,
            connections: 1 + chance.below(3) as usize,
            in_flight: 1 + (seed % 4) as usize,
            plan_people: if chance.one_in(3) { 3 + chance.below(6) as usize } else { 1_000 },
            ..Settings::default()
        };
        Schedule {
            store: Arc::new(store(folder.path())),
            chance,
            trace,
            members,
            national,
            clock: Clock::fixed(now),
            now,
            latest: now,
            ports,
            national_port,
            doors,
            power,
            settings,
            standing: Vec::new(),
            told: Told::default(),
            number: 0,
            _folder: folder,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.latest = self.latest.max(self.now);
        self.clock.set(self.now);
    }

    fn happen(&mut self) {
        let codes: Vec<String> = self.members.keys().cloned().collect();
        for _ in 0..self.chance.below(8) {
            let code = self.chance.pick(&codes).unwrap().clone();
            let mut member = self.members[&code].lock().unwrap();
            let mover = member.truth.happen(&mut self.chance);
            member.movers.extend(mover);
        }
        // whoever went elsewhere begins there, sooner or later
        let mut movers: Vec<(String, Mover)> = Vec::new();
        for (code, member) in &self.members {
            movers.extend(member.lock().unwrap().movers.drain(..).map(|mover| (code.clone(), mover)));
        }
        for (from, mover) in movers {
            let others: Vec<&String> = codes.iter().filter(|code| **code != from).collect();
            if let Some(to) = self.chance.pick(&others) {
                self.members[*to].lock().unwrap().truth.join(Some(mover));
            }
        }
    }

    /// What becomes of the domain controllers.
    fn controllers(&mut self) {
        for member in self.members.values() {
            let (chance, mut member) = (&mut self.chance, member.lock().unwrap());
            let truth = member.truth.clone();
            for one in &mut member.controllers {
                let most = if chance.one_in(4) { chance.below(4) as usize } else { usize::MAX };
                one.hear(&truth, most);
                if chance.one_in(6) {
                    one.save();
                }
                one.synchronized = !chance.one_in(20);
                one.read_only = chance.one_in(30);
            }
            if chance.one_in(12) {
                let at = chance.below(2) as usize;
                let known = chance.one_in(2).then(|| 100 + chance.below(100) as u8);
                if member.controllers[at].go_back(known) {
                    let code = truth.code.clone();
                    self.trace.say(format!("{code}: dc{} goes back, {known:?}", at + 1));
                    // one that goes back and does not say so may have gone on before anybody looks
                    member.muddied |= known.is_none();
                }
            }
            if chance.one_in(15) {
                member.tells_deletions ^= true;
                self.trace.say(format!("{}: deletions are told: {}", truth.code, member.tells_deletions));
            }
            member.hidden = chance.one_in(12);
            if member.hidden {
                self.trace.say(format!("{}: rights are gone", truth.code));
            }
        }
    }

    fn rates(&mut self) -> BTreeMap<Fault, u64> {
        let mut rates = BTreeMap::new();
        for _ in 0..self.chance.below(4) {
            let fault = *self.chance.pick(&ALL).unwrap();
            let rate = match fault {
                Fault::CrashTurn | Fault::Suspend => 20 + self.chance.below(400),
                Fault::Gate => 1 + self.chance.below(8),
                // a deadline takes its time
                Fault::Silence if !self.chance.one_in(4) => continue,
                Fault::Meanwhile | Fault::Cookie | Fault::Limit | Fault::Rights => 2 + self.chance.below(6),
                _ => 4 + self.chance.below(60),
            };
            rates.insert(fault, rate);
        }
        rates
    }

    fn begin(&mut self, code: &str, rates: BTreeMap<Fault, u64>, mode: Mode) -> (Arc<Process>, Run<Ended>) {
        self.number += 1;
        let name = format!("run{}-{code}", self.number);
        self.trace.say(format!(
            "{name} at {} with {rates:?}",
            self.now - OffsetDateTime::from_unix_timestamp(START).unwrap()
        ));
        // where a deadline is waited for it is short; elsewhere a machine that has much to do must not pass it
        let patience = if rates.contains_key(&Fault::Silence) { 1 } else { 30 };
        let process = Process::new(name.clone(), code, self.chance.next(), rates, Arc::clone(&self.trace));
        self.doors.let_in(&process);
        let mut ports = self.ports[code].clone();
        if self.chance.one_in(5) {
            ports.reverse();
        }
        let reach = |ports: &[u16]| Reach {
            endpoints: ports
                .iter()
                .map(|port| Endpoint::ldaps("127.0.0.1", *port, None).with(*port, Transport::Plain))
                .collect(),
            tls: tls(),
            credential: Credential::Simple { name: name.clone(), password: Secret::new("secret".into()) },
            settings: Patience {
                connect_seconds: 5,
                answer_seconds: patience,
                page_size: 50,
                ..Patience::default()
            },
        };
        let base = self.members[code].lock().unwrap().truth.base();
        let job = Job {
            member: code.parse::<OdsCode>().unwrap(),
            source: Some(reach(&ports)),
            source_base: base,
            canary: None,
            target: reach(&[self.national_port]),
            people_base: PEOPLE.to_owned(),
            scope: scope(),
        };
        let store = Faulty {
            inner: Arc::clone(&self.store),
            process: Arc::clone(&process),
            national: Arc::clone(&self.national),
        };
        let hands = Hands {
            store: Arc::new(store) as Arc<dyn Store>,
            clock: self.clock.clone(),
            settings: self.settings.clone(),
            holder: name,
            interruption: Default::default(),
        };
        let asked = Arc::clone(&process);
        let gate: Gate = Arc::new(move || asked.gate());
        let run = Box::pin(async move { run_member(&job, &hands, mode, &gate).await });
        (process, run)
    }

    /// One run with its faults, to its end whatever it is.
    async fn once(&mut self, code: &str, rates: BTreeMap<Fault, u64>, mode: Mode) -> Option<Ended> {
        let (process, mut run) = self.begin(code, rates, mode);
        let came = process.live(&mut run).await;
        self.came(process, run, came).await
    }

    async fn came(&mut self, process: Arc<Process>, run: Run<Ended>, came: Came<Ended>) -> Option<Ended> {
        self.told.runs += 1;
        match came {
            Came::Ended(ended) => {
                let word = match &ended {
                    Ok(report) => {
                        format!(
                            "{:?}, planned {:?}, done {:?}",
                            report.outcome, report.planned, report.executed.done
                        )
                    }
                    Err(error) => {
                        self.told.failed += 1;
                        error.to_string()
                    }
                };
                process.say(&word);
                Some(ended)
            }
            Came::Crashed => {
                self.told.crashed += 1;
                drop(run);
                process.settle().await;
                None
            }
            Came::Suspended => {
                self.standing.push((process, run));
                None
            }
        }
    }

    /// Two runs at the same time, of one member or of two.
    async fn both(&mut self, codes: [&str; 2]) {
        let [one, two] = codes.map(|code| {
            let rates = self.rates();
            self.begin(code, rates, Mode::default())
        });
        let ((one, mut first), (two, mut second)) = (one, two);
        let (came, also) = tokio::join!(one.live(&mut first), two.live(&mut second));
        self.came(one, first, came).await;
        self.came(two, second, also).await;
    }

    async fn storm(&mut self) {
        let rounds = 3 + self.chance.below(5);
        let codes: Vec<String> = self.members.keys().cloned().collect();
        for round in 0..rounds {
            if round > 0 {
                self.happen();
            }
            self.controllers();
            for _ in 0..1 + self.chance.below(2) {
                let code = self.chance.pick(&codes).unwrap().clone();
                if self.chance.one_in(6) {
                    let other = self.chance.pick(&codes).unwrap().clone();
                    self.both([&code, &other]).await;
                    self.time();
                    continue;
                }
                let rates = self.rates();
                let mode = Mode { complete: self.chance.one_in(12), dry_run: self.chance.one_in(15) };
                self.once(&code, rates, mode).await;
                self.time();
                self.wake().await;
            }
        }
        self.wake_all().await;
    }

    fn time(&mut self) {
        let jump = match self.chance.below(12) {
            0 => -Duration::hours(2),
            1 => Duration::hours(3),
            2 => Duration::days(2),
            3 if self.chance.one_in(3) => Duration::days(40),
            4 | 5 => Duration::ZERO,
            _ => Duration::seconds(70),
        };
        self.pass(jump);
    }

    /// Somebody who stood still goes on, after another has taken over or not.
    async fn wake(&mut self) {
        if self.standing.is_empty() || self.chance.one_in(2) {
            return;
        }
        let (process, run) = self.standing.remove(0);
        self.go_on(process, run).await;
    }

    async fn wake_all(&mut self) {
        for (process, run) in std::mem::take(&mut self.standing) {
            self.go_on(process, run).await;
        }
    }

    async fn go_on(&mut self, process: Arc<Process>, mut run: Run<Ended>) {
        process.say("goes on");
        if let Came::Ended(ended) = process.live(&mut run).await {
            process
                .say(&ended.map_or_else(|error| error.to_string(), |report| format!("{:?}", report.outcome)));
        }
        drop(run);
        process.settle().await;
    }

    /// No faults any more: runs until there is nothing to do, and then everything is as it should be.
    /// A person has looked at a controller that was set back, and asks for everything anew: nothing else ends the suspicion.
    fn looked_into(&self, code: &str) {
        let audit = NewAudit {
            at: self.now,
            actor: "officer".to_owned(),
            action: "sync.resync".to_owned(),
            member: Some(code.parse().unwrap()),
            detail: serde_json::Value::Null,
        };
        let values = [SUSPECT, COOKIE, COMPLETING].map(|key| (key.to_owned(), None));
        let member = code.parse().unwrap();
        if self.store.sync_value(&member, SUSPECT).unwrap().is_some() {
            self.store.change_sync(Some(&member), &values, &audit).unwrap();
        }
    }

    async fn calm(&mut self) {
        self.trace.say("calm".to_owned());
        self.power.restart(0);
        let (mut muddied, mut blind) = (false, false);
        for member in self.members.values() {
            let mut member = member.lock().unwrap();
            let truth = member.truth.clone();
            for one in &mut member.controllers {
                one.hear(&truth, usize::MAX);
                (one.synchronized, one.read_only) = (true, false);
            }
            member.hidden = false;
            muddied |= member.muddied;
            blind |= !member.tells_deletions;
        }
        self.now = self.latest;
        // when deletions are not told, or nothing shows what a controller has lost, a complete pass is waited for
        self.pass(if muddied { Duration::days(2) } else { Duration::hours(2) });
        let codes: Vec<String> = self.members.keys().cloned().collect();
        codes.iter().for_each(|code| self.looked_into(code));
        let (mut quiet, mut again) = (0, blind);
        for _ in 0..CALM_RUNS {
            for code in &codes {
                let ended = self.once(code, BTreeMap::new(), Mode::default()).await;
                match ended {
                    Some(Ok(report)) if report.outcome == Outcome::Done && report.planned.is_empty() => {
                        quiet += 1
                    }
                    Some(Ok(_)) => quiet = 0,
                    Some(Err(error)) => {
                        self.trace.wrong(format!("a run without faults fails: {error}"));
                        return;
                    }
                    None => unreachable!("nothing ends a run without faults"),
                }
                self.pass(Duration::seconds(1));
            }
            if quiet >= codes.len() && again {
                // who left between two parts of a complete pass is found by the next one
                (quiet, again) = (0, false);
                self.pass(Duration::hours(2));
            } else if quiet >= codes.len() {
                check::everything(self);
                self.told.people = check::people(self);
                return;
            }
        }
        self.trace.wrong(format!("{CALM_RUNS} runs without faults do not end with nothing to do"));
        check::everything(self);
    }
}

/// So that a schedule that hangs fails, too.
pub const LONGEST: Wait = Wait::from_secs(120);
