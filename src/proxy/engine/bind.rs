//! Who is behind a connection: binds, and identities held against each new snapshot.

use crate::ldap::message::{Authentication, Bind, ResultCode};
use crate::proxy::engine::answer::{Answer, Asked};
use crate::proxy::engine::client::Bound;
use crate::proxy::engine::core::Engine;

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
            Authentication::Simple(_) => (
                "simple",
                Answer::new(
                    ResultCode::AUTH_METHOD_NOT_SUPPORTED,
                    "passwords are not taken; show a client certificate and bind with SASL EXTERNAL",
                ),
            ),
            Authentication::Sasl { mechanism, credentials } if mechanism == "EXTERNAL" => {
                ("external", self.bind_external(key, credentials.as_deref()))
            }
            Authentication::Sasl { .. } => (
                "other",
                Answer::new(ResultCode::AUTH_METHOD_NOT_SUPPORTED, "the only SASL mechanism is EXTERNAL"),
            ),
            Authentication::Other { .. } => {
                ("other", Answer::new(ResultCode::AUTH_METHOD_NOT_SUPPORTED, "bind with SASL EXTERNAL"))
            }
        };
        let outcome = if answer.code == ResultCode::SUCCESS { "done" } else { "refused" };
        self.metrics.binds.with_label_values(&[mechanism, outcome]).inc();
        self.respond(key, id, Asked::Bind, &answer);
    }

    fn bind_external(&mut self, key: usize, credentials: Option<&[u8]>) -> Answer {
        let (snapshot, wall) = (&self.snapshot, self.wall);
        let Some(client) = self.clients.get_mut(key) else { return Answer::plain(ResultCode::OTHER) };
        let Some(proof) = client.proof.as_deref() else {
            return Answer::new(
                ResultCode::INAPPROPRIATE_AUTHENTICATION,
                "no client certificate was shown; connect again with one",
            );
        };
        let Some(identified) = snapshot.requesters.identify(&proof.identity, wall) else {
            return Answer::new(
                ResultCode::INVALID_CREDENTIALS,
                "the certificate is good, but stands for nobody who may ask here",
            );
        };
        // An authorization identity may be named (RFC 4513 section 5.2.3), but only one's own.
        if credentials.is_some_and(|name| !name.is_empty() && name != identified.authorization.as_bytes()) {
            return Answer::plain(ResultCode::INVALID_CREDENTIALS);
        }
        client.bound = Some(Bound {
            requester: identified.requester,
            authorization: identified.authorization.into_boxed_str(),
        });
        Answer::plain(ResultCode::SUCCESS)
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
        let (Some(bound), Some(proof)) = (&client.bound, &client.proof) else { return true };
        let now = self.snapshot.requesters.identify(&proof.identity, self.wall);
        now.is_some_and(|now| now.requester == bound.requester)
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
        }
    }
}
