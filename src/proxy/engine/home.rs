//! Binds that wait for a word from home, and persons that are bound held against it again.

use std::sync::Arc;

use crate::ldap::dn::Dn;
use crate::ldap::message::ResultCode;
use crate::policy::terms::{OdsCode, Target};
use crate::proxy::engine::answer::{Answer, Asked};
use crate::proxy::engine::client::{Binding, Bound, Recheck};
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::wish::Wish;
use crate::proxy::home::question::{Ask, Password, Question, Verdict};
use crate::proxy::requesters::{Account, Home, Identified};
use crate::release::requester::Authentication;
use crate::secret::text::Secret;

/// Persons that one scan looks up again.
const RECHECKS_PER_SCAN: usize = 32;
/// Between two questions to a directory that does not answer.
const RETRY_MICROSECONDS: u64 = 5_000_000;
/// Beyond the service's own limit, for the way there and back.
const MARGIN_MICROSECONDS: u64 = 1_000_000;

/// The one answer to every password that is not taken.
pub(super) fn wrong_password() -> Answer {
    Answer::plain(ResultCode::INVALID_CREDENTIALS)
}

pub(super) fn nobody() -> Answer {
    Answer::new(
        ResultCode::INVALID_CREDENTIALS,
        "the certificate is good, but stands for nobody who may ask here",
    )
}

fn home_is_silent() -> Answer {
    Answer::new(
        ResultCode::UNAVAILABLE,
        "the directory that knows your account does not answer; try again later",
    )
}

impl Engine {
    /// Asks home about `who`; the bind is answered when the verdict comes. An answer at once when it cannot be asked.
    pub(super) fn ask_home(&mut self, key: usize, id: i32, who: Identified) -> Option<Answer> {
        let Some(home) = who.home.clone() else { return Some(nobody()) };
        let Some(question) = self.question(&home.member, Ask::Account(Arc::clone(&home))) else {
            return Some(home_is_silent());
        };
        let serial = self.begin_binding(key, id, "external", Some(who));
        self.wishes.push(Wish::AskHome { client: key, serial, question: Box::new(question) });
        None
    }

    /// A name with a password, where any member lets passwords be proven. Whatever is wrong looks the same and takes the
    /// same time, up to what the directory itself takes.
    pub(super) fn bind_password(&mut self, key: usize, id: i32, name: &str, password: &[u8]) {
        // The request lies in a buffer that others will use.
        self.wipe = true;
        let address = self.clients.get(key).map(|client| client.address);
        let secret = std::str::from_utf8(password).ok().map(|text| Secret::new(text.to_owned()));
        let found = self.named(name).filter(|named| self.takes_passwords(&named.home.member));
        let asked = found.zip(secret).zip(address).and_then(|((named, password), address)| {
            let Named { home, local, spelling, authorization } = named;
            let member = home.member.clone();
            let not_after = self.wall
                + time::Duration::seconds(i64::try_from(self.settings.password_bound_seconds).unwrap_or(0));
            let who = self.snapshot.requesters.by_password(home, authorization, not_after);
            let ask = Ask::Password(Password { name: local, key: spelling, password, address });
            Some((who, self.question(&member, ask)?))
        });
        match asked {
            Some((who, question)) => {
                let serial = self.begin_binding(key, id, "simple", Some(who));
                self.wishes.push(Wish::AskHome { client: key, serial, question: Box::new(question) });
            }
            None => {
                self.begin_binding(key, id, "simple", None);
                self.refuse_later(key);
            }
        }
    }

    fn begin_binding(
        &mut self,
        key: usize,
        id: i32,
        mechanism: &'static str,
        who: Option<Identified>,
    ) -> u64 {
        let (serial, since) = (self.next_serial(), self.now);
        if let Some(client) = self.clients.get_mut(key) {
            client.binding = Some(Box::new(Binding { id, serial, since, mechanism, who, refused: false }));
        }
        self.scan_soon();
        serial
    }

    fn question(&self, member: &OdsCode, ask: Ask) -> Option<Question> {
        let mounted = self.snapshot.mounts.get(&Target::Member(member.clone()))?;
        Some(Question {
            member: member.clone(),
            endpoint: Arc::clone(&mounted.endpoint),
            mapping: Arc::clone(&mounted.mapping),
            ask,
        })
    }

    /// Whether a password of the member's people may be proven now.
    fn takes_passwords(&self, member: &OdsCode) -> bool {
        self.snapshot.requesters.forwards_passwords(member)
            && self.snapshot.agreements.takes_passwords(member, self.wall)
    }

    /// Whose a name is: a principal name of a domain that one member owns, or a name below one member's place in the tree.
    fn named(&self, name: &str) -> Option<Named> {
        if name.contains('@') && !name.contains('=') {
            let (member, account) = self.snapshot.requesters.principal(name)?;
            let Account::Principal(principal) = &account else { return None };
            let (local, authorization) = (principal.clone(), format!("u:{principal}"));
            let home = Home { member, account, sid: None };
            return Some(Named { spelling: local.clone(), local, authorization, home });
        }
        let dn = Dn::parse(name).ok()?;
        let unit = dn.rdns().iter().rev().nth(1)?.text()?;
        let member: OdsCode = unit.to_uppercase().parse().ok()?;
        let mounted = self.snapshot.mounts.get(&Target::Member(member.clone()))?;
        let local = mounted.mapping.dn_to_local(&dn.to_string())?;
        let spelling = Dn::parse(&local).ok()?.normal();
        let home = Home { member, account: Account::Dn(local.clone()), sid: None };
        Some(Named { home, local, spelling, authorization: format!("dn:{dn}") })
    }

    /// A verdict came; one that nobody waits for any more is passed over.
    pub fn home_answered(&mut self, key: usize, serial: u64, verdict: Verdict) {
        let Some(client) = self.clients.get(key).filter(|client| client.is_open()) else { return };
        let waits = client.binding.as_ref().filter(|binding| binding.serial == serial && !binding.refused);
        if let Some(binding) = waits {
            return match (binding.mechanism, verdict) {
                ("simple", Verdict::Refused | Verdict::Unavailable) => self.refuse_later(key),
                _ => self.settle_binding(key, verdict),
            };
        }
        if client.bound.as_ref().is_some_and(|bound| bound.recheck.serial == Some(serial)) {
            self.rechecked(key, verdict);
        }
    }

    /// The refusal of a password waits for its time, so that time tells nothing.
    fn refuse_later(&mut self, key: usize) {
        if let Some(binding) = self.clients.get_mut(key).and_then(|client| client.binding.as_mut()) {
            binding.refused = true;
        }
        self.scan_soon();
    }

    /// Ends an outstanding bind, and takes up what came after it.
    fn settle_binding(&mut self, key: usize, verdict: Verdict) {
        let Some(binding) = self.clients.get_mut(key).and_then(|client| client.binding.take()) else {
            return;
        };
        let Binding { id, mechanism, who, .. } = *binding;
        let answer = match (verdict, who) {
            (Verdict::Good, Some(who)) => match self.is_still_meant(key, &who) {
                true => {
                    let at = self.now + self.settings.account_kept_seconds * 1_000_000;
                    let recheck = Recheck { at, since: self.now, serial: None };
                    self.bind_as(key, who, recheck);
                    Answer::plain(ResultCode::SUCCESS)
                }
                false => nobody(),
            },
            _ if mechanism == "simple" => wrong_password(),
            (Verdict::Unavailable, _) => home_is_silent(),
            _ => nobody(),
        };
        self.answer_bind(key, id, mechanism, &answer);
        // Requests that came meanwhile are those of whoever is bound now (RFC 4511 section 4.2.1).
        self.resume(key);
        self.wishes.push(Wish::ReadClient { client: key });
        self.drain_client(key);
    }

    /// Whether `who` is whom the client would be found to be now: members and agreements may have changed while home was
    /// asked.
    fn is_still_meant(&self, key: usize, who: &Identified) -> bool {
        let Some(client) = self.clients.get(key) else { return false };
        match (&who.home, who.requester.authentication) {
            (Some(home), Authentication::Password) => self.takes_passwords(&home.member),
            _ => client.proof.as_deref().is_some_and(|proof| {
                let now = self.snapshot.requesters.identify(&proof.identity, self.wall);
                now.is_some_and(|now| now.requester == who.requester && now.home == who.home)
            }),
        }
    }

    pub(super) fn bind_as(&mut self, key: usize, who: Identified, recheck: Recheck) {
        if let Some(client) = self.clients.get_mut(key) {
            client.bound = Some(Bound {
                requester: who.requester,
                authorization: who.authorization.into_boxed_str(),
                home: who.home,
                recheck,
            });
        }
    }

    /// Counts a bind and answers it.
    pub(super) fn answer_bind(&mut self, key: usize, id: i32, mechanism: &'static str, answer: &Answer) {
        let outcome = if answer.code == ResultCode::SUCCESS { "done" } else { "refused" };
        self.metrics.binds.with_label_values(&[mechanism, outcome]).inc();
        self.respond(key, id, Asked::Bind, answer);
    }

    /// Whether a client is bound as somebody that it may still be, as far as members and agreements say.
    pub(super) fn password_still_counts(&self, bound: &Bound) -> bool {
        let member = bound.requester.member.as_ref();
        member.is_some_and(|member| self.takes_passwords(member))
    }

    /// Time passed for binds and for persons that are bound; true while a bind is outstanding.
    pub(super) fn scan_homes(&mut self) -> bool {
        let (now, wall) = (self.now, self.wall);
        let floor = self.settings.password_refusal_milliseconds * 1_000;
        let limit = self.settings.account_check_milliseconds * 1_000 + MARGIN_MICROSECONDS;
        let (mut settled, mut due, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        let mut outstanding = false;
        for (key, client) in self.clients.iter().filter(|(_, client)| client.is_open()) {
            if let Some(binding) = &client.binding {
                outstanding = true;
                let waited = now.saturating_sub(binding.since);
                match binding.refused {
                    true if waited >= floor => settled.push((key, Verdict::Refused)),
                    false if waited >= limit => settled.push((key, Verdict::Unavailable)),
                    _ => {}
                }
            }
            let Some(bound) = client.bound.as_ref().filter(|bound| bound.home.is_some()) else { continue };
            if bound.requester.authentication == Authentication::Password && bound.requester.not_after <= wall
            {
                ended.push(key);
            } else if bound.recheck.at <= now {
                due.push(key);
            }
        }
        for (key, verdict) in settled {
            self.settle_binding(key, verdict);
        }
        let why = Answer::new(ResultCode::STRONGER_AUTH_REQUIRED, "your bind has ended; bind again");
        for key in ended {
            self.disconnect(key, &why, "password_time");
        }
        for key in due.into_iter().take(RECHECKS_PER_SCAN) {
            self.recheck(key);
        }
        outstanding
    }

    /// Asks home about a person that is bound.
    fn recheck(&mut self, key: usize) {
        let limit = self.settings.account_check_milliseconds * 1_000 + MARGIN_MICROSECONDS;
        let Some(bound) = self.clients.get(key).and_then(|client| client.bound.as_ref()) else { return };
        if bound.recheck.serial.is_some() {
            // It was asked, and no answer came within the limit.
            return self.rechecked(key, Verdict::Unavailable);
        }
        let Some(home) = bound.home.clone() else { return };
        let Some(question) = self.question(&home.member, Ask::Account(Arc::clone(&home))) else {
            return self.rechecked(key, Verdict::Unavailable);
        };
        let (serial, now) = (self.next_serial(), self.now);
        if let Some(bound) = self.clients.get_mut(key).and_then(|client| client.bound.as_mut()) {
            bound.recheck.serial = Some(serial);
            bound.recheck.at = now + limit;
        }
        self.wishes.push(Wish::AskHome { client: key, serial, question: Box::new(question) });
    }

    fn rechecked(&mut self, key: usize, verdict: Verdict) {
        let kept = self.settings.account_kept_seconds * 1_000_000;
        let patience = kept + self.settings.account_unreachable_seconds * 1_000_000;
        let now = self.now;
        let Some(bound) = self.clients.get_mut(key).and_then(|client| client.bound.as_mut()) else { return };
        let (text, code, reason) = match verdict {
            Verdict::Good => {
                bound.recheck = Recheck { at: now + kept, since: now, serial: None };
                return;
            }
            Verdict::Unavailable if now.saturating_sub(bound.recheck.since) < patience => {
                bound.recheck.at = now + RETRY_MICROSECONDS;
                bound.recheck.serial = None;
                return;
            }
            Verdict::Unavailable => {
                let text = "the directory that knows your account does not answer; connect again later";
                (text, ResultCode::UNAVAILABLE, "account_unknown")
            }
            Verdict::Refused => {
                ("your account may not log on any more", ResultCode::STRONGER_AUTH_REQUIRED, "account")
            }
        };
        self.disconnect(key, &Answer::new(code, text), reason);
    }
}

/// A name that a client sent, understood.
struct Named {
    home: Home,
    /// As the member's directory knows it.
    local: String,
    /// One for all spellings of the name.
    spelling: String,
    authorization: String,
}
