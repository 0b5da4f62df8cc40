//! Asks members' directories about their people, for all shards, in a thread of its own.
//!
//! Bounded everywhere: questions that wait, questions at once to one member (one slow directory takes nobody else's),
//! verdicts that are kept. Several connections of one person ask once. A password is never kept, and its connection is
//! opened for it and closed after it, so that no identity can be met by another's question.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::ambient::clock::Clock;
use crate::directory::client::Directory;
use crate::directory::endpoint::{Endpoint, Transport};
use crate::directory::error::DirectoryError;
use crate::directory::request::Credential;
use crate::directory::settings::Settings as DirectorySettings;
use crate::ldap::message::ResultCode;
use crate::policy::terms::OdsCode;
use crate::proxy::home::account;
use crate::proxy::home::question::{Answered, Ask, Password, Question, Verdict};
use crate::proxy::home::tries::Tries;
use crate::proxy::requesters::Home;
use crate::proxy::settings::Settings;
use crate::proxy::snapshot::{self, Server};

/// Verdicts kept at once; when there are more, old ones go first, then all.
const KEPT_MAX: usize = 65_536;

/// Takes a verdict back to the shard that asked.
pub type Reply = Arc<dyn Fn(Answered) + Send + Sync>;

/// A question with where its answer goes.
pub struct Asked {
    pub client: usize,
    pub serial: u64,
    pub question: Question,
    pub reply: Reply,
}

/// A hand to ask with. The thread ends when the last one is gone.
#[derive(Clone)]
pub struct Service(mpsc::Sender<Asked>);

impl Service {
    /// False when too many questions wait already.
    pub fn ask(&self, asked: Asked) -> bool {
        self.0.try_send(asked).is_ok()
    }
}

/// Starts the thread.
pub fn start(settings: Arc<Settings>, clock: Clock) -> std::io::Result<Service> {
    let (sender, receiver) = mpsc::channel(settings.account_checks.max(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name("front-accounts".to_owned())
        .spawn(move || runtime.block_on(serve(receiver, Desk::new(settings, clock))))?;
    Ok(Service(sender))
}

async fn serve(mut questions: mpsc::Receiver<Asked>, mut desk: Desk) {
    loop {
        tokio::select! {
            asked = questions.recv() => match asked {
                Some(asked) => desk.take(asked),
                None => return,
            },
            Some(done) = desk.running.join_next() => match done {
                Ok(done) => desk.finish(done),
                // Whoever waits for it hears nothing, which the shard takes for a directory that does not answer.
                Err(error) => tracing::error!(%error, "a question about an account ended without an answer"),
            },
        }
    }
}

/// A question in the one form in which it is the same question.
type Key = Arc<Home>;

struct Waiter {
    client: usize,
    serial: u64,
    reply: Reply,
}

impl Waiter {
    fn tell(&self, verdict: Verdict) {
        (self.reply)(Answered { client: self.client, serial: self.serial, verdict });
    }
}

enum Done {
    Account(Key, Verdict),
    Password { waiter: Waiter, key: String, address: std::net::IpAddr, verdict: Option<Verdict> },
}

struct Desk {
    settings: Arc<Settings>,
    clock: Clock,
    kept: HashMap<Key, (Verdict, Instant)>,
    waiting: HashMap<Key, (Instant, Vec<Waiter>)>,
    members: HashMap<OdsCode, Arc<Semaphore>>,
    tries: Tries,
    running: JoinSet<Done>,
}

impl Desk {
    fn new(settings: Arc<Settings>, clock: Clock) -> Self {
        let tries = Tries::new(
            settings.password_tries_per_name,
            settings.password_tries_per_address,
            Duration::from_secs(settings.password_tries_seconds),
        );
        Desk {
            settings,
            clock,
            kept: HashMap::new(),
            waiting: HashMap::new(),
            members: HashMap::new(),
            tries,
            running: JoinSet::new(),
        }
    }

    fn limit(&self) -> Duration {
        Duration::from_millis(self.settings.account_check_milliseconds.max(1))
    }

    fn take(&mut self, asked: Asked) {
        let waiter = Waiter { client: asked.client, serial: asked.serial, reply: asked.reply };
        let Question { member, endpoint, mapping, ask } = asked.question;
        match ask {
            Ask::Account(home) => {
                let base = mapping.local_suffix().to_owned();
                self.take_account(home, endpoint, base, waiter);
            }
            Ask::Password(password) => self.take_password(&member, endpoint, password, waiter),
        }
    }

    fn take_account(&mut self, key: Key, endpoint: Arc<snapshot::Endpoint>, base: String, waiter: Waiter) {
        let now = Instant::now();
        if let Some((verdict, _)) = self.kept.get(&key).filter(|(_, until)| now < *until) {
            return waiter.tell(*verdict);
        }
        let limit = self.limit();
        if let Some((since, waiters)) = self.waiting.get_mut(&key)
            && now.saturating_duration_since(*since) < limit * 2
        {
            return waiters.push(waiter);
        }
        if self.running.len() >= self.settings.account_checks {
            return waiter.tell(Verdict::Unavailable);
        }
        self.waiting.insert(key.clone(), (now, vec![waiter]));
        let (turns, lockout, clock) =
            (self.turns(&key.member), self.settings.account_lockout_counts, self.clock.clone());
        self.running.spawn(async move {
            let checked = timeout(limit, async {
                let _turn = turns.acquire().await;
                look_up(&key, &endpoint, &base, lockout, &clock).await
            });
            let verdict = checked.await.unwrap_or(Verdict::Unavailable);
            Done::Account(key, verdict)
        });
    }

    fn take_password(
        &mut self,
        member: &OdsCode,
        endpoint: Arc<snapshot::Endpoint>,
        password: Password,
        waiter: Waiter,
    ) {
        if self.running.len() >= self.settings.account_checks {
            return waiter.tell(Verdict::Unavailable);
        }
        let Password { name, key, password, address } = password;
        let key = format!("{member}\0{key}");
        if !self.tries.begin(&key, address, Instant::now()) {
            tracing::info!(%member, "a password is not tried: too many tries failed before");
            return waiter.tell(Verdict::Refused);
        }
        let (limit, turns) = (self.limit(), self.turns(member));
        self.running.spawn(async move {
            let proven = timeout(limit, async {
                let _turn = turns.acquire().await;
                prove(&endpoint, &name, password.expose()).await
            });
            // Out of time: it may have got there.
            let verdict = proven.await.unwrap_or(Some(Verdict::Unavailable));
            Done::Password { waiter, key, address, verdict }
        });
    }

    /// At most so many questions to one member at once.
    fn turns(&mut self, member: &OdsCode) -> Arc<Semaphore> {
        let most = self.settings.account_checks_per_member.max(1);
        let turns = self.members.entry(member.clone()).or_insert_with(|| Arc::new(Semaphore::new(most)));
        Arc::clone(turns)
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Account(key, verdict) => {
                let (_, waiters) = self.waiting.remove(&key).unwrap_or((Instant::now(), Vec::new()));
                self.keep(key, verdict);
                waiters.iter().for_each(|waiter| waiter.tell(verdict));
            }
            Done::Password { waiter, key, address, verdict } => {
                match verdict {
                    Some(Verdict::Good) => self.tries.succeeded(&key, address),
                    // A try that cannot be told from a failed one counts as one.
                    Some(Verdict::Refused | Verdict::Unavailable) => {}
                    None => self.tries.unmade(&key, address),
                }
                waiter.tell(verdict.unwrap_or(Verdict::Unavailable));
            }
        }
    }

    fn keep(&mut self, key: Key, verdict: Verdict) {
        let seconds = match verdict {
            Verdict::Good => self.settings.account_kept_seconds,
            Verdict::Refused => self.settings.account_refused_kept_seconds,
            // The next one asks again.
            Verdict::Unavailable => return,
        };
        let now = Instant::now();
        if self.kept.len() >= KEPT_MAX {
            self.kept.retain(|_, (_, until)| now < *until);
            if self.kept.len() >= KEPT_MAX {
                self.kept.clear();
            }
        }
        self.kept.insert(key, (verdict, now + Duration::from_secs(seconds)));
    }
}

/// Looks the account up with the gateway's own, at the first server that can be reached.
async fn look_up(
    home: &Home,
    endpoint: &snapshot::Endpoint,
    base: &str,
    lockout: bool,
    clock: &Clock,
) -> Verdict {
    let Some(search) = account::search(home, base) else { return Verdict::Refused };
    let credential = if endpoint.bind_name.is_empty() {
        Credential::Anonymous
    } else {
        Credential::Simple { name: endpoint.bind_name.clone(), password: endpoint.password.clone() }
    };
    for server in &endpoint.servers {
        let asked = async {
            let (at, tls) = reach(server)?;
            let settings = DirectorySettings::default();
            let mut directory = Directory::connect(&at, tls, &credential, &settings).await?;
            directory.read(&search).await
        };
        match asked.await {
            Ok((entries, done)) if done.code == 0 => {
                return account::judge(home, &entries, lockout, clock.now());
            }
            Ok((_, done)) if done.code == ResultCode::NO_SUCH_OBJECT.0 => return Verdict::Refused,
            Ok((_, done)) => {
                tracing::warn!(member = %home.member, code = done.code, "an account could not be looked up");
            }
            Err(error) => {
                tracing::warn!(member = %home.member, %error, "an account could not be looked up");
            }
        }
    }
    Verdict::Unavailable
}

/// Binds as the person, on a connection for this alone. Only success is success (result code 0); whatever else a directory
/// says is no. The next server is tried only when nothing was sent: a wrong password must count once. None when nobody was
/// reached.
async fn prove(endpoint: &snapshot::Endpoint, name: &str, password: &str) -> Option<Verdict> {
    if password.is_empty() || name.is_empty() {
        return Some(Verdict::Refused);
    }
    for server in &endpoint.servers {
        let opened = async {
            let (at, tls) = reach(server)?;
            Directory::open(&at, tls, &DirectorySettings::default()).await
        };
        let mut directory = match opened.await {
            Ok(directory) => directory,
            Err(error) => {
                tracing::warn!(%error, "a directory that should prove a password cannot be reached");
                continue;
            }
        };
        return Some(match directory.try_bind(name, password).await {
            Ok(outcome) if outcome.code == 0 => Verdict::Good,
            Ok(_) => Verdict::Refused,
            Err(error) => {
                tracing::warn!(%error, "a directory did not answer whether a password is right");
                Verdict::Unavailable
            }
        });
    }
    None
}

/// Where a server is and how it is spoken to.
fn reach(server: &Server) -> Result<(Endpoint, Arc<ClientConfig>), DirectoryError> {
    let name = server.tls.as_ref().map(|tls| tls.name.to_str());
    let endpoint = Endpoint::parse(&server.address, name.as_deref())
        .ok_or_else(|| DirectoryError::Request("the server's address cannot be read".to_owned()))?;
    Ok(match &server.tls {
        Some(tls) => (endpoint, Arc::clone(&tls.config)),
        None => (endpoint.with(endpoint.port, Transport::Plain), nothing_trusted()?),
    })
}

/// For servers without TLS, which only tests have: settings with which no handshake could succeed.
fn nothing_trusted() -> Result<Arc<ClientConfig>, DirectoryError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| DirectoryError::Request(error.to_string()))?;
    Ok(Arc::new(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()))
}
