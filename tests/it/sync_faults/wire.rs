//! An LDAP server's sockets: requests in, answers out, and everything that can go wrong on the way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::ldap::codec;
use portcullis::ldap::limits::Limits;
use portcullis::ldap::message::{BindOutcome, Message, Operation, Outcome, ResultCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::sync_faults::process::{Fault, Process};

/// What becomes of a request.
#[derive(Debug, Default)]
pub struct Answer {
    /// Messages, in their order.
    pub messages: Vec<Vec<u8>>,
    pub delay: Duration,
    /// The connection ends after it.
    pub end: bool,
}

impl Answer {
    pub fn end() -> Answer {
        Answer { end: true, ..Answer::default() }
    }

    pub fn silence() -> Answer {
        Answer::default()
    }

    pub fn add(
        &mut self,
        id: i32,
        operation: Operation<'_>,
        controls: Vec<portcullis::ldap::control::Control<'_>>,
    ) {
        self.messages.push(codec::to_bytes(&Message { id, operation, controls }));
    }
}

/// One side of a server: what it answers to whom.
pub trait Server: Send + Sync + 'static {
    fn answer(&self, process: &Arc<Process>, message: &Message<'_>) -> Answer;
}

/// Who runs, and for how many dials a server is away.
#[derive(Debug, Default)]
pub struct Doors {
    processes: Mutex<Vec<Arc<Process>>>,
}

impl Doors {
    pub fn let_in(&self, process: &Arc<Process>) {
        self.processes.lock().unwrap().push(Arc::clone(process));
    }

    fn find(&self, name: &str) -> Option<Arc<Process>> {
        self.processes.lock().unwrap().iter().rev().find(|process| process.name == name).cloned()
    }
}

/// A server that can be away.
#[derive(Debug, Default)]
pub struct Power {
    /// Rises with every restart: connections from before are over.
    state: Mutex<(u64, u64)>,
}

impl Power {
    /// Ends every connection, and refuses so many new ones.
    pub fn restart(&self, refused: u64) {
        let mut state = self.state.lock().unwrap();
        *state = (state.0 + 1, refused);
    }

    fn life(&self) -> u64 {
        self.state.lock().unwrap().0
    }

    fn lets_in(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.1 = match state.1 {
            0 => return true,
            left => left - 1,
        };
        false
    }
}

/// Serves on a port of its own until the runtime ends.
pub async fn serve(server: Arc<dyn Server>, doors: Arc<Doors>, power: Arc<Power>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if power.lets_in() {
                let (server, doors, power) = (Arc::clone(&server), Arc::clone(&doors), Arc::clone(&power));
                tokio::spawn(async move {
                    // a connection that ends ends nothing else
                    let _ = Box::pin(session(stream, server.as_ref(), &doors, &power)).await;
                });
            }
        }
    });
    port
}

async fn session(
    stream: TcpStream,
    server: &dyn Server,
    doors: &Doors,
    power: &Power,
) -> std::io::Result<()> {
    let _ = stream.set_nodelay(true);
    let (limits, mut bytes, mut part) = (Limits::default(), Vec::new(), [0; 16 * 1024]);
    let (mut requests, answers) = stream.into_split();
    let answers = Arc::new(tokio::sync::Mutex::new(answers));
    let (life, mut who): (u64, Option<Arc<Process>>) = (power.life(), None);
    loop {
        while let Some(length) = codec::frame(&bytes, &limits).unwrap() {
            let rest = bytes.split_off(length);
            let message = codec::decode(&bytes, &limits).unwrap();
            if power.life() != life {
                return Ok(());
            }
            let answer = match (&message.operation, &who) {
                (Operation::UnbindRequest, _) => return Ok(()),
                (Operation::AbandonRequest(_), _) => Answer::silence(),
                (Operation::BindRequest(bind), _) => {
                    let Some(process) = doors.find(&bind.name) else { return Ok(()) };
                    let answer = bound(&process, message.id);
                    who = Some(process);
                    answer
                }
                (_, Some(process)) if process.is_dead() => return Ok(()),
                (_, Some(process)) => server.answer(process, &message),
                (other, None) => panic!("before the bind: {other:?}"),
            };
            let all: Vec<u8> = answer.messages.concat();
            if answer.delay.is_zero() {
                answers.lock().await.write_all(&all).await?;
            } else {
                // the answers to later requests overtake it
                let answers = Arc::clone(&answers);
                tokio::spawn(async move {
                    tokio::time::sleep(answer.delay).await;
                    // a connection that is over takes no answers
                    let _ = answers.lock().await.write_all(&all).await;
                });
            }
            if answer.end {
                return Ok(());
            }
            bytes = rest;
        }
        match requests.read(&mut part).await? {
            0 => return Ok(()),
            read => bytes.extend_from_slice(&part[..read]),
        }
    }
}

fn bound(process: &Process, id: i32) -> Answer {
    let mut chance = process.chance("bind");
    let mut answer = Answer::default();
    let code = match process.strikes(&mut chance, &[Fault::CutBefore, Fault::Refuse]) {
        Some(Fault::CutBefore) => {
            process.say("is cut off at a bind");
            return Answer::end();
        }
        Some(_) => {
            process.say("is refused at a bind");
            ResultCode(52)
        }
        None => ResultCode::SUCCESS,
    };
    let outcome = Outcome::new(code, "");
    answer.add(id, Operation::BindResponse(BindOutcome { outcome, credentials: None }), Vec::new());
    answer
}

/// The faults of an answer that is there: it comes late, twice, in part, or not.
pub fn bend(
    process: &Process,
    what: &str,
    mut chance: crate::sync_faults::chance::Chance,
    mut answer: Answer,
) -> Answer {
    let faults = [Fault::Crash, Fault::CutAfter, Fault::Silence, Fault::Delay, Fault::Twice, Fault::Broken];
    match process.strikes(&mut chance, &faults) {
        Some(Fault::Crash) => {
            process.crash(&format!("before the answer to {what}"));
            Answer::end()
        }
        Some(Fault::CutAfter) => {
            process.say(&format!("loses the answer to {what}"));
            Answer::end()
        }
        Some(Fault::Silence) => {
            process.say(&format!("waits in vain for {what}"));
            Answer::silence()
        }
        Some(Fault::Delay) => {
            answer.delay = Duration::from_millis(1 + chance.below(12));
            process.say(&format!("gets the answer to {what} late"));
            answer
        }
        Some(Fault::Twice) => {
            process.say(&format!("gets the answer to {what} twice"));
            let again = answer.messages.clone();
            answer.messages.extend(again);
            answer
        }
        Some(Fault::Broken) if answer.messages.len() > 1 => {
            let keep = chance.below(answer.messages.len() as u64);
            answer.messages.truncate(usize::try_from(keep).unwrap());
            answer.end = true;
            process.say(&format!("is cut off inside the answer to {what}"));
            answer
        }
        _ => answer,
    }
}
