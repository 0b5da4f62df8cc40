//! Listens to one member's controller (MS-ADTS 3.1.1.3.4.1.9): whatever it tells of makes the member's next run come early.
//!
//! What arrives is not looked at. It says that something changed, not what: a connection may break unseen, and nothing is told of what lies
//! below a unit that moved. The run reads for itself.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, sleep_until};

use crate::directory::client::Directory;
use crate::directory::error::DirectoryError;
use crate::directory::request::{RawControl, Scope, Search, SearchDone};
use crate::ldap::filter::Filter;
use crate::ldap::typed_control::NOTIFICATION;
use crate::policy::terms::OdsCode;
use crate::sync::keeping::job::Reach;
use crate::sync::keeping::shelf;
use crate::sync::reading::source::{address, order};
use crate::sync::running::member::Syncer;
use crate::sync::running::metrics::OfListening;
use crate::sync::running::schedule::Handle;
use crate::sync::running::wake::Wake;
use crate::sync::terms::error::SyncError;

/// Parts of an answer that wait.
const PIECES: usize = 64;
/// After so much silence the controller is asked for a sign of life; it would end a connection on which nothing is asked after 15 minutes.
const BEAT: Duration = Duration::from_secs(60);
/// One that said nothing for so long will tell of changes: that it does is answered by nothing but the first of them.
const ACCEPTED: Duration = Duration::from_secs(2);
/// A search that ends within this time was refused.
const REFUSED_WITHIN: Duration = Duration::from_secs(30);
/// The first and the longest wait before it is connected anew.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// How often it is looked which controller is read.
const LOOK: Duration = Duration::from_secs(30);
/// Another controller than the one that is read is listened to for so long; then the right one is tried again.
const ELSEWHERE: Duration = Duration::from_secs(600);
/// Result codes of a directory that has no time (RFC 4511 section 4.1.9): busy, unavailable.
const LATER: [u32; 2] = [51, 52];

/// How one connection ended without an error.
#[derive(Debug)]
enum End {
    /// The directory will not tell, with this result code and text.
    Refused(u32, String),
    Closed,
    /// Another controller is read by now.
    Moved,
}

/// Listens for one member.
pub struct Listener {
    pub member: OdsCode,
    pub syncer: Syncer,
    pub handle: Handle,
    pub metrics: OfListening,
    /// Room to connect: many members at once would be as many handshakes.
    pub connecting: Arc<Semaphore>,
    /// True while the controller tells.
    pub listens: Arc<AtomicBool>,
}

impl Listener {
    /// Runs until it is dropped or the directory refuses.
    pub async fn run(self) {
        let least = Duration::from_secs(u64::from(self.syncer.hands.settings.wake_seconds.max(1)));
        let (mut wake, mut wait, mut told) = (Wake::new(least), RETRY, String::new());
        loop {
            let began = Instant::now();
            let ended = self.session(&mut wake).await;
            let good = self.listens.swap(false, Ordering::Relaxed);
            wait = if good && began.elapsed() > wait { RETRY } else { (wait * 2).min(RETRY_MAX) };
            match ended {
                Ok(End::Refused(code, text)) => {
                    tracing::info!(
                        member = %self.member, code, text,
                        "the directory does not tell of changes: they are found in turn"
                    );
                    return;
                }
                Ok(End::Moved) => continue,
                Ok(End::Closed) => {}
                Err(error) => {
                    if matches!(error, SyncError::Source(DirectoryError::BindRefused { .. })) {
                        // a directory may lock an account whose password is wrong too often
                        wait = RETRY_MAX;
                    }
                    // the same trouble again and again is told once
                    let text = error.to_string();
                    if text != told {
                        tracing::warn!(
                            member = %self.member, party = %error.party(), %error,
                            "the directory is not listened to: changes are found in turn"
                        );
                        told = text;
                    }
                }
            }
            sleep(wait).await;
        }
    }

    /// One connection.
    async fn session(&self, wake: &mut Wake) -> Result<End, SyncError> {
        let room = self.connecting.acquire().await.map_err(|_| SyncError::Stopping)?;
        let job = self.syncer.job(&self.member).await?;
        let source = job.source.ok_or_else(|| SyncError::NoDirectory(self.member.clone()))?;
        let kept = self.kept().await?;
        let (mut directory, here) = connect(&source, kept.as_deref()).await?;
        drop(room);
        drop(source);
        // the name of an entry comes unasked; nothing else of a person is to come
        let any = Filter::present("objectClass");
        let search = Search::new(&job.source_base, Scope::Subtree, any, &["objectGUID"])
            .control(RawControl::critical(NOTIFICATION));
        let (to, mut pieces) = mpsc::channel(PIECES);
        let began = Instant::now();
        let mut follow = pin!(directory.follow(&search, &to, BEAT));
        let mut accepted = pin!(sleep(ACCEPTED));
        let mut look = tokio::time::interval(LOOK);
        // what changed while nobody listened is in nothing that arrives
        let (mut told, mut anew) = (false, true);
        loop {
            let due = wake.due();
            tokio::select! {
                done = &mut follow => return Ok(ended(done.map_err(SyncError::Source)?, began)),
                Some(_) = pieces.recv() => {
                    while pieces.try_recv().is_ok() {}
                    wake.arrived(Instant::now());
                }
                () = &mut accepted, if !told => {
                    told = true;
                    self.listens.store(true, Ordering::Relaxed);
                    tracing::debug!(member = %self.member, controller = here, "the directory tells of changes");
                    wake.arrived(Instant::now());
                }
                () = sleep_until(due.unwrap_or(began).into()), if due.is_some() => {
                    wake.asked(Instant::now());
                    self.ask(std::mem::take(&mut anew));
                }
                _ = look.tick() => {
                    let now = self.kept().await?;
                    let elsewhere = now.as_ref().is_some_and(|now| *now != here);
                    if elsewhere && (now != kept || began.elapsed() > ELSEWHERE) {
                        return Ok(End::Moved);
                    }
                }
            }
        }
    }

    fn ask(&self, anew: bool) {
        // one that answers again is worth a try; what merely goes on changing must not repeat what fails
        let asked = match anew {
            true => self.handle.now(self.member.clone()),
            false => self.handle.hint(self.member.clone()),
        };
        if asked {
            self.metrics.wakes.with_label_values(&[self.member.as_str()]).inc();
        }
    }

    /// The address of the controller that was read last.
    async fn kept(&self) -> Result<Option<String>, SyncError> {
        let (store, ods) = (Arc::clone(&self.syncer.hands.store), self.member.clone());
        let value = tokio::task::spawn_blocking(move || store.sync_value(&ods, shelf::ENDPOINT)).await??;
        Ok(value.and_then(|bytes| String::from_utf8(bytes).ok()))
    }
}

/// The controller that is read when it answers, else another one; and its address.
async fn connect(source: &Reach, kept: Option<&str>) -> Result<(Directory, String), SyncError> {
    let mut last = SyncError::Internal("no endpoint to connect to".to_owned());
    for endpoint in order(&source.endpoints, kept) {
        let connected =
            Directory::connect(&endpoint, source.tls.clone(), &source.credential, &source.settings).await;
        match connected {
            Ok(directory) => return Ok((directory, address(&endpoint))),
            Err(error) => last = SyncError::Source(error),
        }
    }
    Err(last)
}

fn ended(done: SearchDone, began: Instant) -> End {
    if LATER.contains(&done.code) || began.elapsed() > REFUSED_WITHIN {
        return End::Closed;
    }
    End::Refused(done.code, done.text)
}
