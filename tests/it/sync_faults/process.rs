//! A gateway process of a schedule: what goes wrong around it, and its end at any moment.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::sync_faults::chance::{Chance, at};

/// What happened in a schedule, in its order, and what must not have happened.
#[derive(Debug, Default)]
pub struct Trace {
    lines: Mutex<Vec<String>>,
    wrong: Mutex<Vec<String>>,
    tick: AtomicU64,
}

impl Trace {
    pub fn say(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    /// Something that must never happen did.
    pub fn wrong(&self, line: String) {
        self.say(format!("WRONG: {line}"));
        self.wrong.lock().unwrap().push(line);
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    pub fn wrongs(&self) -> Vec<String> {
        self.wrong.lock().unwrap().clone()
    }

    /// Rises with every call: what happened before what.
    pub fn tick(&self) -> u64 {
        self.tick.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The process ends: before something of the store or a directory is done, or after it.
    Crash,
    /// The process ends after so many looks at the store or a directory.
    CrashTurn,
    /// The process stands still for longer than its lease, while another one runs.
    Suspend,
    /// The store refuses, and keeps nothing.
    Store,
    /// A connection ends before a request is looked at.
    CutBefore,
    /// A request is done, and the connection ends instead of an answer.
    CutAfter,
    /// A request stays on its way, the connection ends, and the request is done when somebody else writes already.
    Late,
    /// No answer comes, and the connection stays.
    Silence,
    /// An answer comes late, after others.
    Delay,
    /// An answer comes twice.
    Twice,
    /// A request is refused, for now.
    Refuse,
    /// A search brings a part and a limit.
    Limit,
    /// A search brings a part and ends with the connection.
    Broken,
    /// All connections end, and for a time there are no new ones.
    Restart,
    /// A cookie is refused.
    Cookie,
    /// More happens in the member directory while it is read.
    Meanwhile,
    /// Rights in the member directory go, or come back, while it is read.
    Rights,
    /// The gate closes.
    Gate,
}

pub const ALL: [Fault; 18] = [
    Fault::Crash,
    Fault::CrashTurn,
    Fault::Suspend,
    Fault::Store,
    Fault::CutBefore,
    Fault::CutAfter,
    Fault::Late,
    Fault::Silence,
    Fault::Delay,
    Fault::Twice,
    Fault::Refuse,
    Fault::Limit,
    Fault::Broken,
    Fault::Restart,
    Fault::Cookie,
    Fault::Meanwhile,
    Fault::Rights,
    Fault::Gate,
];

/// One process.
#[derive(Debug)]
pub struct Process {
    pub name: String,
    pub member: String,
    /// When it began.
    pub since: u64,
    seed: u64,
    /// One in so many.
    rates: BTreeMap<Fault, u64>,
    dead: AtomicBool,
    gate_shut: AtomicBool,
    gate_asked: AtomicU64,
    gate_closes: Option<u64>,
    turns: AtomicU64,
    crash_turn: Option<u64>,
    suspend_turn: Option<u64>,
    stands: AtomicBool,
    counts: Mutex<BTreeMap<String, u64>>,
    waker: Mutex<Option<Waker>>,
    /// Calls of the store under way.
    pub calls: AtomicU64,
    pub trace: Arc<Trace>,
}

/// How a process came out of its run.
pub enum Came<T> {
    Ended(T),
    Crashed,
    Suspended,
}

pub type Run<T> = Pin<Box<dyn Future<Output = T>>>;

impl Process {
    pub fn new(
        name: String,
        member: &str,
        seed: u64,
        rates: BTreeMap<Fault, u64>,
        trace: Arc<Trace>,
    ) -> Arc<Self> {
        let turn =
            |fault: Fault| rates.get(&fault).map(|most| 1 + at(seed, &format!("{fault:?}"), 0).below(*most));
        let since = trace.tick();
        Arc::new(Process {
            name,
            member: member.to_owned(),
            since,
            seed,
            dead: AtomicBool::new(false),
            gate_shut: AtomicBool::new(false),
            gate_asked: AtomicU64::new(0),
            gate_closes: turn(Fault::Gate),
            turns: AtomicU64::new(0),
            crash_turn: turn(Fault::CrashTurn),
            suspend_turn: turn(Fault::Suspend),
            stands: AtomicBool::new(false),
            rates,
            counts: Mutex::default(),
            waker: Mutex::default(),
            calls: AtomicU64::new(0),
            trace,
        })
    }

    /// The chance of the next one of a kind of place.
    pub fn chance(&self, place: &str) -> Chance {
        let mut counts = self.counts.lock().unwrap();
        let count = counts.entry(place.to_owned()).or_default();
        *count += 1;
        let chance = at(self.seed, place, *count);
        drop(counts);
        let turn = self.turns.fetch_add(1, Ordering::SeqCst) + 1;
        if self.crash_turn == Some(turn) {
            self.crash(&format!("at turn {turn}, {place}"));
        }
        if self.suspend_turn == Some(turn) {
            self.say(&format!("stands still at turn {turn}, {place}"));
            self.stands.store(true, Ordering::SeqCst);
            self.wake();
        }
        chance
    }

    /// Which of these faults strikes here, if any.
    pub fn strikes(&self, chance: &mut Chance, faults: &[Fault]) -> Option<Fault> {
        faults.iter().copied().find(|fault| self.rates.get(fault).is_some_and(|rate| chance.one_in(*rate)))
    }

    pub fn say(&self, line: &str) {
        self.trace.say(format!("  {} {line}", self.name));
    }

    pub fn crash(&self, wher: &str) {
        if !self.dead.swap(true, Ordering::SeqCst) {
            self.say(&format!("crashes {wher}"));
        }
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.lock().unwrap().take() {
            waker.wake();
        }
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    pub fn has_shut_gate(&self) -> bool {
        self.gate_shut.load(Ordering::SeqCst)
    }

    /// Whether the gate is open, as it is told to the run.
    pub fn gate(&self) -> bool {
        let asked = self.gate_asked.fetch_add(1, Ordering::SeqCst);
        // the first question is before anything is read
        let shut = self.gate_closes.is_some_and(|closes| asked >= closes);
        if shut && !self.gate_shut.swap(true, Ordering::SeqCst) {
            self.say(&format!("finds the gate closed at question {asked}"));
        }
        !shut
    }

    /// Lets the run go on until it ends or the process does.
    pub async fn live<T>(&self, run: &mut Run<T>) -> Came<T> {
        poll_fn(|context| {
            *self.waker.lock().unwrap() = Some(context.waker().clone());
            if self.is_dead() {
                return Poll::Ready(Came::Crashed);
            }
            if self.stands.swap(false, Ordering::SeqCst) {
                return Poll::Ready(Came::Suspended);
            }
            match run.as_mut().poll(context) {
                Poll::Ready(_) if self.is_dead() => Poll::Ready(Came::Crashed),
                Poll::Ready(ended) => Poll::Ready(Came::Ended(ended)),
                Poll::Pending if self.is_dead() => Poll::Ready(Came::Crashed),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// What a process that was killed had begun in its store is over.
    pub async fn settle(&self) {
        while self.calls.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
}
