//! The controllers of members that are enrolled without a list of them, as DNS says, kept up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::assess::target::realm_of;
use crate::directory::discovery::{Controller, Finder, Found, Settings};
use crate::store::member::{Connection, Member};

/// How often it is looked whether anything is due.
const TURN: Duration = Duration::from_secs(1);
/// How often members are read for new questions.
const MEMBERS: Duration = Duration::from_secs(5);
/// Look-ups at one time.
const AT_ONCE: usize = 8;

/// What DNS is asked: a realm in lower case, and a site.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    realm: String,
    site: Option<String>,
}

impl Question {
    /// What is to be asked for a member; none for one with a list of controllers, or without a domain.
    pub fn of(connection: &Connection) -> Option<Self> {
        if !connection.controllers.is_empty() {
            return None;
        }
        let realm = connection.realm.clone().or_else(|| realm_of(&connection.base_dn))?.to_lowercase();
        Some(Question { realm, site: connection.site.as_ref().map(|site| site.to_lowercase()) })
    }
}

#[derive(Debug)]
struct Known {
    controllers: Vec<Controller>,
    /// The last time that DNS said so.
    at: OffsetDateTime,
}

/// The last answers.
#[derive(Debug, Default)]
pub struct Discovered(Mutex<BTreeMap<Question, Known>>);

impl Discovered {
    /// The controllers as DNS said last; none when it never answered, or not for longer than `settings` allow.
    pub fn controllers(
        &self,
        question: &Question,
        settings: &Settings,
        now: OffsetDateTime,
    ) -> Option<Vec<Controller>> {
        let age_max = time::Duration::seconds(i64::from(settings.age_max_seconds));
        let known = self.known();
        let known = known.get(question).filter(|known| now - known.at <= age_max)?;
        Some(known.controllers.clone())
    }

    /// Takes an answer; whether it differs from the last one.
    fn learn(&self, question: &Question, found: Found, now: OffsetDateTime) -> bool {
        let fresh = Known { controllers: found.controllers, at: now };
        let mut known = self.known();
        let differs = known.get(question).is_none_or(|known| known.controllers != fresh.controllers);
        known.insert(question.clone(), fresh);
        differs
    }

    /// Forgets what nobody asks any more.
    fn keep(&self, questions: &BTreeSet<Question>) {
        self.known().retain(|question, _| questions.contains(question));
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<Question, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What looking up needs of the gateway.
pub struct Hands {
    pub settings: Settings,
    /// Those members that are mounted; none when they cannot be read now.
    pub members: Arc<dyn Fn() -> Option<Vec<Member>> + Send + Sync>,
    pub now: Arc<dyn Fn() -> OffsetDateTime + Send + Sync>,
    /// Controllers changed.
    pub changed: Arc<dyn Fn() + Send + Sync>,
}

/// Looks controllers up until told to stop.
pub async fn run(known: Arc<Discovered>, hands: Hands, mut stop: watch::Receiver<bool>) {
    let mut asking = Asking { known, hands, finder: None, due: BTreeMap::new(), aged: BTreeSet::new() };
    let mut read = None;
    loop {
        let now = tokio::time::Instant::now();
        if read.is_none_or(|read| now >= read) {
            asking.follow_members(now).await;
            read = Some(now + MEMBERS);
        }
        asking.turn(now).await;
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(TURN) => {}
        }
    }
}

struct Asking {
    known: Arc<Discovered>,
    hands: Hands,
    finder: Option<Finder>,
    /// When each question is to be asked next.
    due: BTreeMap<Question, tokio::time::Instant>,
    /// Whose last answer is too old to be believed.
    aged: BTreeSet<Question>,
}

impl Asking {
    async fn follow_members(&mut self, now: tokio::time::Instant) {
        let members = Arc::clone(&self.hands.members);
        let Ok(Some(members)) = tokio::task::spawn_blocking(move || members()).await else { return };
        let questions: BTreeSet<Question> =
            members.iter().filter_map(|member| Question::of(&member.connection)).collect();
        self.due.retain(|question, _| questions.contains(question));
        self.aged.retain(|question| questions.contains(question));
        self.known.keep(&questions);
        for question in questions {
            self.due.entry(question).or_insert(now);
        }
    }

    async fn turn(&mut self, now: tokio::time::Instant) {
        let due: Vec<Question> =
            self.due.iter().filter(|(_, at)| **at <= now).map(|(question, _)| question.clone()).collect();
        if due.is_empty() {
            return;
        }
        let Some(finder) = self.finder() else { return };
        let mut changed = false;
        for some in due.chunks(AT_ONCE) {
            let mut asked = JoinSet::new();
            for question in some.iter().cloned() {
                let finder = finder.clone();
                asked.spawn(async move {
                    let found = finder.controllers(&question.realm, question.site.as_deref()).await;
                    (question, found)
                });
            }
            while let Some(answer) = asked.join_next().await {
                // one that panicked is asked again in the next turn
                let Ok((question, found)) = answer else { continue };
                changed |= self.answered(question, found);
            }
        }
        if changed {
            (self.hands.changed)();
        }
    }

    /// Takes an answer in; whether the mounts change by it.
    fn answered(&mut self, question: Question, found: Result<Found, String>) -> bool {
        let settings = &self.hands.settings;
        let least = Duration::from_secs(u64::from(settings.refresh_min_seconds.max(1)));
        let most = Duration::from_secs(u64::from(settings.refresh_max_seconds)).max(least);
        let now = (self.hands.now)();
        let (wait, changed) = match found {
            Ok(found) => {
                let wait = found.lives.clamp(least, most);
                let was_aged = self.aged.remove(&question);
                (wait, self.known.learn(&question, found, now) || was_aged)
            }
            Err(reason) => {
                tracing::warn!(
                    realm = question.realm,
                    reason,
                    "the controllers of a member could not be looked up; the last known ones are asked"
                );
                let aged = self.known.controllers(&question, settings, now).is_none();
                (least, aged && self.aged.insert(question.clone()))
            }
        };
        self.due.insert(question, tokio::time::Instant::now() + wait);
        changed
    }

    /// Made at the first need, and again when the system's settings could not be read.
    fn finder(&mut self) -> Option<Finder> {
        if self.finder.is_none() {
            self.finder = Finder::new(&self.hands.settings)
                .inspect_err(|reason| tracing::warn!(reason, "DNS cannot be asked"))
                .ok();
        }
        self.finder.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_is_believed_for_as_long_as_allowed() {
        let known = Discovered::default();
        let settings = Settings { age_max_seconds: 60, ..Settings::default() };
        let question = Question { realm: "rxa.test".to_owned(), site: None };
        let now = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(known.controllers(&question, &settings, now), None);
        let dc1 = Controller { host: "dc1.rxa.test".to_owned(), port: 636, rank: 0, weight: 100 };
        let found = Found { controllers: vec![dc1], lives: Duration::from_secs(600) };
        assert!(known.learn(&question, found.clone(), now));
        assert!(!known.learn(&question, found.clone(), now), "nothing new");
        let later = |seconds| now + time::Duration::seconds(seconds);
        assert_eq!(known.controllers(&question, &settings, later(60)), Some(found.controllers));
        assert_eq!(known.controllers(&question, &settings, later(61)), None);
    }
}
