//! Who is behind a connection: binds, and identities held against each new snapshot.

use crate::ldap::message::{Authentication, Bind, ResultCode};
use crate::proxy::engine::answer::Answer;
use crate::proxy::engine::client::Recheck;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::home::nobody;
use crate::release::requester::Authentication as Way;

impl Engine {
    /// RFC 4511 section 4.2.1 and RFC 4513 section 4: whatever comes of it, the earlier identity is gone and what was
    /// asked under it is abandoned.
    pub(super) fn bind(&mut self, key: usize, id: i32, bind: &Bind<'_>) {
        self.abandon_all(key);
        self.forget_identity(key);
        let (mechanism, answer) = match &bind.authentication {
            _ if bind.version != 3 => {
                ("other", Answer::new(ResultCode::PROTOCOL_ERROR, "only LDAP version 3 is spoken here"))
            }
            Authentication::Simple(password) if password.is_empty() && bind.name.is_empty() => {
                ("anonymous", Answer::plain(ResultCode::SUCCESS))
            }
            // RFC 4513 section 5.1.2: a name without a password proves nothing.
            Authentication::Simple(password) if password.is_empty() => (
                "simple",
                Answer::new(ResultCode::UNWILLING_TO_PERFORM, "a bind with a name needs a proof of it"),
            ),
            Authentication::Simple(password) if self.snapshot.requesters.forwards_any_passwords() => {
                return self.bind_password(key, id, &bind.name, password);
            }
            Authentication::Simple(_) => {
                // It was sent all the same.
                self.wipe = true;
                let text = "passwords are not taken; show a client certificate and bind with SASL EXTERNAL";
                ("simple", Answer::new(ResultCode::AUTH_METHOD_NOT_SUPPORTED, text))
            }
            Authentication::Sasl { mechanism, credentials } if mechanism == "EXTERNAL" => {
                match self.bind_external(key, id, credentials.as_deref()) {
                    Some(answer) => ("external", answer),
                    None => return,
                }
            }
            Authentication::Sasl { .. } => (
                "other",
                Answer::new(ResultCode::AUTH_METHOD_NOT_SUPPORTED, "the only SASL mechanism is EXTERNAL"),
            ),
            Authentication::Other { .. } => {
                ("other", Answer::new(ResultCode::AUTH_METHOD_NOT_SUPPORTED, "bind with SASL EXTERNAL"))
            }
        };
        self.answer_bind(key, id, mechanism, &answer);
    }

    /// None when the answer waits for a word from home.
    fn bind_external(&mut self, key: usize, id: i32, credentials: Option<&[u8]>) -> Option<Answer> {
        let Some(proof) = self.clients.get(key).and_then(|client| client.proof.as_deref()) else {
            return Some(Answer::new(
                ResultCode::INAPPROPRIATE_AUTHENTICATION,
                "no client certificate was shown; connect again with one",
            ));
        };
        let Some(mut who) = self.snapshot.requesters.identify(&proof.identity, self.wall) else {
            return Some(nobody());
        };
        // An authorization identity may be named (RFC 4513 section 5.2.3), but only one's own.
        if credentials.is_some_and(|name| !name.is_empty() && name != who.authorization.as_bytes()) {
            return Some(Answer::plain(ResultCode::INVALID_CREDENTIALS));
        }
        if who.home.is_some() && self.settings.account_check {
            return self.ask_home(key, id, who);
        }
        who.home = None;
        self.bind_as(key, who, Recheck::default());
        Some(Answer::plain(ResultCode::SUCCESS))
    }

    /// After a new snapshot: whoever is bound as somebody that its certificate no longer stands for is disconnected.
    pub(super) fn identify_again(&mut self) {
        let all = self.clients.iter().map(|(key, _)| key);
        let gone: Vec<usize> = all.filter(|key| !self.is_still_who_it_was(*key)).collect();
        for key in gone {
            self.disconnect_stranger(key);
        }
    }

    /// Whether a client's certificate stands for whom it is bound as; true when it is not bound.
    pub(super) fn is_still_who_it_was(&self, key: usize) -> bool {
        let Some(client) = self.clients.get(key) else { return true };
        let Some(bound) = &client.bound else { return true };
        if bound.requester.authentication == Way::Password {
            return self.password_still_counts(bound);
        }
        let Some(proof) = &client.proof else { return false };
        let now = self.snapshot.requesters.identify(&proof.identity, self.wall);
        now.is_some_and(|now| {
            now.requester == bound.requester && (bound.home.is_none() || now.home == bound.home)
        })
    }

    pub(super) fn disconnect_stranger(&mut self, key: usize) {
        let why = Answer::new(
            ResultCode::STRONGER_AUTH_REQUIRED,
            "your certificate no longer stands for whom you bound as",
        );
        self.disconnect(key, &why, "identity");
    }

    pub(super) fn forget_identity(&mut self, key: usize) {
        if let Some(client) = self.clients.get_mut(key) {
            client.bound = None;
            client.binding = None;
        }
    }
}
