//! From bytes of a client to requests: framing, strict decoding, and what happens to those who send anything else.

use zeroize::Zeroize;

use crate::ldap::codec;
use crate::ldap::error::DecodeError;
use crate::ldap::limits::Limits;
use crate::ldap::message::ResultCode;
use crate::ldap::tag;
use crate::proxy::engine::answer::{Answer, Asked};
use crate::proxy::engine::client::Phase;
use crate::proxy::engine::core::Engine;

impl Engine {
    /// Bytes came from a client, decrypted. Requests are read straight from `data`; only an unfinished one is kept, and
    /// what came behind a bind that is not answered yet.
    pub fn client_bytes(&mut self, key: usize, data: &[u8]) {
        if !data.is_empty() {
            self.feed(key, data);
        }
    }

    /// A bind was answered: what came behind it is read now.
    pub(super) fn resume(&mut self, key: usize) {
        self.feed(key, &[]);
    }

    fn feed(&mut self, key: usize, data: &[u8]) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if client.phase == Phase::Handshake && !data.is_empty() {
            // plain bytes behind StartTLS: whoever put them there counted on their being taken for protected ones
            return self.close_client(key, Some("bytes_before_tls"));
        }
        if !client.is_open() {
            return;
        }
        let mut own = std::mem::take(&mut client.inbound);
        let had_tail = !own.is_empty();
        if had_tail {
            own.extend_from_slice(data);
        }
        let whole: &[u8] = if had_tail { &own } else { data };
        let taken = self.requests(key, whole);
        let rest = taken < whole.len();
        if rest && self.clients.get(key).is_some_and(|client| client.phase == Phase::Handshake) {
            self.close_client(key, Some("bytes_before_tls"));
        }
        let keep = rest && self.clients.get(key).is_some_and(|client| client.is_open());
        if had_tail && self.wipe {
            // The request with the password lies here; whatever moved leaves nothing behind.
            let rest = zeroize::Zeroizing::new(own.get(taken..).unwrap_or_default().to_vec());
            own.zeroize();
            own.extend_from_slice(&rest);
        } else if had_tail {
            own.drain(..taken.min(own.len()));
        } else if keep {
            self.pool.equip(&mut own);
            own.extend_from_slice(data.get(taken..).unwrap_or_default());
        }
        if !keep {
            self.pool.give(own);
            return;
        }
        let now = self.now;
        if let Some(client) = self.clients.get_mut(key) {
            if !had_tail || taken > 0 {
                client.tail_since = now;
            }
            client.inbound = own;
        }
    }

    /// Handles every whole request in `data`; returns how many bytes they took.
    fn requests(&mut self, key: usize, data: &[u8]) -> usize {
        let mut taken = 0;
        loop {
            let Some(client) = self.clients.get(key).filter(|client| client.is_open()) else { return taken };
            if client.binding.is_some() {
                return taken;
            }
            let limits = if client.bound.is_some() { self.bound } else { self.before_bind };
            let rest = data.get(taken..).unwrap_or_default();
            match codec::frame(rest, &limits) {
                Ok(Some(length)) => {
                    self.one(key, rest.get(..length).unwrap_or_default(), &limits);
                    taken += length;
                }
                Ok(None) => return taken,
                Err(error) => {
                    tracing::debug!(%error, "a client sent something that is no LDAP message");
                    self.malformed(key);
                    return taken;
                }
            }
        }
    }

    fn one(&mut self, key: usize, bytes: &[u8], limits: &Limits) {
        let now = self.now;
        if let Some(client) = self.clients.get_mut(key) {
            client.last_active = now;
            client.spoke = true;
        }
        match codec::decode(bytes, limits) {
            Ok(message) => self.request(key, &message),
            Err(DecodeError::Empty | DecodeError::Substrings) if self.refuse_search(key, bytes) => {}
            Err(error) => {
                tracing::debug!(%error, "a client sent a malformed request");
                self.malformed(key);
            }
        }
    }

    /// A search whose filter is well encoded and means nothing, as `(mail=**)` is written by some: RFC 4511 section 4.1.1 has
    /// the request answered and the session go on. False for anything else.
    fn refuse_search(&mut self, key: usize, bytes: &[u8]) -> bool {
        let id = match codec::peek(bytes) {
            Ok((id, tag::SEARCH_REQUEST)) if id > 0 && self.operation_of(key, id).is_none() => id,
            _ => return false,
        };
        let text = "an item of the filter is empty; for an attribute with any value write (attribute=*)";
        self.respond(key, id, Asked::Search, &Answer::new(ResultCode::PROTOCOL_ERROR, text));
        true
    }

    /// RFC 4511 section 4.1.1: a message that cannot be understood ends the session.
    fn malformed(&mut self, key: usize) {
        let why = Answer::new(ResultCode::PROTOCOL_ERROR, "malformed or oversized message");
        self.disconnect(key, &why, "malformed");
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use crate::ldap::codec;
    use crate::ldap::filter::{Filter, Substrings};
    use crate::ldap::message::{Message, Operation, Search};
    use crate::proxy::engine::core::tests::{Rig, search};
    use crate::proxy::settings::Settings;

    #[test]
    fn a_search_for_an_empty_substring_is_answered_and_the_session_goes_on() {
        let mut rig = Rig::with_servers(Settings::default(), &[0], &["RXA"]);
        let client = rig.client();
        for (any, id) in [(vec![], 2), (vec![Cow::Borrowed(b"".as_slice())], 3)] {
            let filter =
                Filter::Substrings(Substrings { attribute: "mail".into(), initial: None, any, last: None });
            let asked = Operation::SearchRequest(Search { filter, ..search("(cn=*)") });
            rig.engine.client_bytes(client, &codec::to_bytes(&Message::new(id, asked)));
            let heard = rig.heard(client);
            assert_eq!(heard.len(), 1);
            assert!(heard[0].starts_with(&format!("{id} done protocolError")), "{heard:?}");
        }
        rig.ask(client, 4, "RXA");
        let upstream = rig.connect();
        assert_eq!(rig.answer(upstream), 1);
        assert!(rig.heard(client)[0].starts_with("4 done success"));
    }
}
