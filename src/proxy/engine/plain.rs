//! Before TLS: the root entry and StartTLS (RFC 4511 section 4.14), nothing else.

use crate::ldap::message::{
    Authentication, Bind, Extended, Message, Operation, ResultCode, START_TLS, Scope,
};
use crate::proxy::engine::answer::{self, Answer, Asked};
use crate::proxy::engine::client::Phase;
use crate::proxy::engine::controls::Controls;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::wish::Wish;

impl Engine {
    /// A request before TLS. Nothing that names anybody is asked, answered or recorded.
    pub(super) fn unprotected(
        &mut self,
        key: usize,
        message: &Message<'_>,
        asked: Asked,
        controls: &Controls<'_>,
    ) {
        let id = message.id;
        match &message.operation {
            Operation::ExtendedRequest(extended) if extended.name == START_TLS => {
                self.start_tls(key, id, extended);
            }
            Operation::SearchRequest(search) if search.scope == Scope::Base && search.base.is_empty() => {
                self.search(key, id, search, controls);
            }
            // tools bind as nobody before they read the root entry; nobody is who is there anyway
            Operation::BindRequest(bind) if is_nobody(bind) => self.bind(key, id, bind),
            _ => {
                let text = "this connection is not protected: begin with StartTLS, or connect with LDAPS";
                self.respond(key, id, asked, &Answer::new(ResultCode::CONFIDENTIALITY_REQUIRED, text));
            }
        }
    }

    /// The handshake begins when the answer went out; bytes that come before that were not sent to be protected, and end the
    /// connection (see `input`).
    fn start_tls(&mut self, key: usize, id: i32, extended: &Extended<'_>) {
        if extended.value.is_some() {
            let answer = Answer::new(ResultCode::PROTOCOL_ERROR, "StartTLS has no value");
            return self.respond(key, id, Asked::Extended, &answer);
        }
        self.pool_out(key, |out| answer::put_start_tls(out, id));
        self.note(key, "start_tls", ResultCode::SUCCESS);
        let now = self.now;
        if let Some(client) = self.clients.get_mut(key) {
            client.phase = Phase::Handshake;
            client.opened = now;
            client.spoke = false;
            self.wishes.push(Wish::Secure { client: key });
        }
    }
}

/// Whether a bind names nobody and proves nothing (RFC 4513 section 5.1.1).
fn is_nobody(bind: &Bind<'_>) -> bool {
    matches!(&bind.authentication, Authentication::Simple(password) if password.is_empty())
        && bind.name.is_empty()
}
