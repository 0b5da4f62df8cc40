//! From bytes of a client to requests: framing, strict decoding, and what happens to those who send anything else.

use zeroize::Zeroize;

use crate::ldap::codec;
use crate::ldap::error::{DecodeError, FrameError};
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
                    self.unframed(key, error);
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
            Err(error) => {
                tracing::debug!(%error, "a client sent a malformed request");
                // A bind that cannot be read may hold a password all the same.
                self.wipe = true;
                if !self.answer_malformed(key, bytes, error) {
                    self.disconnect_malformed(key);
                }
            }
        }
    }

    /// A request that is well encoded and says what LDAP does not have, as `(mail=**)` or a scope 7: RFC 4511 section 4.1.1
    /// has it answered and the session go on. False when that cannot be, or must not.
    fn answer_malformed(&mut self, key: usize, bytes: &[u8], error: DecodeError) -> bool {
        if error.is_structural() {
            return false;
        }
        let Ok((id, tag)) = codec::envelope(bytes) else { return false };
        let Some(asked) = asked(tag).filter(|_| id > 0 && self.operation_of(key, id).is_none()) else {
            return false;
        };
        self.refuse_unread(key, id, asked, &wrong(asked, error));
        true
    }

    /// RFC 4511 section 4.1.1: a message whose structure cannot be understood ends the session.
    fn disconnect_malformed(&mut self, key: usize) {
        let text = "malformed message: its encoding cannot be read, or it is no request";
        self.disconnect(key, &Answer::new(ResultCode::PROTOCOL_ERROR, text), "malformed");
    }

    /// What comes cannot be cut into messages.
    fn unframed(&mut self, key: usize, error: FrameError) {
        tracing::debug!(%error, "a client sent something that is no LDAP message");
        self.wipe = true;
        let FrameError::TooLong { limit, .. } = error else { return self.disconnect_malformed(key) };
        let text = format!("oversized message: a request may have {limit} bytes now");
        self.disconnect(key, &Answer::new(ResultCode::PROTOCOL_ERROR, text), "oversized");
    }
}

/// Which kind of answer a request of this tag gets; None for what gets no answer, and for what is no request.
fn asked(tag: u8) -> Option<Asked> {
    match tag {
        tag::BIND_REQUEST => Some(Asked::Bind),
        tag::SEARCH_REQUEST => Some(Asked::Search),
        tag::COMPARE_REQUEST => Some(Asked::Compare),
        tag::ADD_REQUEST => Some(Asked::Add),
        tag::DELETE_REQUEST => Some(Asked::Delete),
        tag::MODIFY_REQUEST => Some(Asked::Modify),
        tag::MODIFY_DN_REQUEST => Some(Asked::ModifyDn),
        tag::EXTENDED_REQUEST => Some(Asked::Extended),
        _ => None,
    }
}

/// What is wrong with a request that says what LDAP does not have. Nothing of it is repeated but a tag.
fn wrong(asked: Asked, error: DecodeError) -> Answer {
    let text = match error {
        DecodeError::Limit(_) => return Answer::new(ResultCode::ADMIN_LIMIT_EXCEEDED, error.to_string()),
        DecodeError::Empty | DecodeError::Substrings if asked == Asked::Search => {
            "an item of the filter is empty; for an attribute with any value write (attribute=*)".into()
        }
        _ => format!("the request cannot be understood: {error}"),
    };
    Answer::new(ResultCode::PROTOCOL_ERROR, text)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use crate::ldap::ber;
    use crate::ldap::codec;
    use crate::ldap::filter::{Filter, Substrings};
    use crate::ldap::limits::Limits;
    use crate::ldap::message::{Authentication, Bind, Message, Operation, Outcome, ResultCode, Search};
    use crate::ldap::tag;
    use crate::proxy::engine::core::tests::{Rig, messages, search};
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

    /// A message around the contents of an operation.
    fn message(id: i32, tag: u8, contents: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let start = ber::open(&mut out, ber::SEQUENCE);
        ber::put_int(&mut out, ber::INTEGER, id);
        ber::put_octets(&mut out, tag, contents);
        ber::close(&mut out, start);
        out
    }

    /// A search whose scope and filter are as they are, whatever that means.
    fn search_for(id: i32, scope: u8, filter: &[u8]) -> Vec<u8> {
        let mut contents = vec![4, 0, 0x0a, 1, scope, 0x0a, 1, 0, 2, 1, 0, 2, 1, 0, 1, 1, 0];
        contents.extend_from_slice(filter);
        contents.extend_from_slice(&[0x30, 0]);
        message(id, tag::SEARCH_REQUEST, &contents)
    }

    /// The one answer to a message: its id, and what it says.
    fn answer(rig: &mut Rig, client: usize, bytes: &[u8]) -> (i32, Outcome<'static>) {
        rig.engine.client_bytes(client, bytes);
        let out = rig.engine.client_output(client).map(std::mem::take).unwrap_or_default();
        rig.wishes();
        let all = messages(&out);
        assert_eq!(all.len(), 1);
        let message = codec::decode(&all[0], &Limits::default()).unwrap();
        let outcome = match message.operation {
            Operation::SearchDone(outcome) | Operation::CompareResponse(outcome) => outcome,
            Operation::ModifyResponse(outcome) => outcome,
            Operation::BindResponse(bound) => bound.outcome,
            Operation::ExtendedResponse(extended) => extended.outcome,
            other => panic!("{other:?}"),
        };
        (message.id, Outcome::new(outcome.code, outcome.diagnostic.into_owned()))
    }

    #[test]
    fn what_is_well_encoded_and_means_nothing_is_answered_and_the_session_goes_on() {
        let mut rig = Rig::with_servers(Settings::default(), &[0], &["RXA"]);
        let client = rig.client();
        let deep = [0xa2, 0x82, 1, 0].repeat(100);
        let deep = [deep, vec![0x87, 0]].concat();
        let mut nested = vec![0x87, 2, b'c', b'n'];
        for _ in 0..60 {
            let mut outer = Vec::new();
            ber::put_octets(&mut outer, 0xa2, &nested);
            nested = outer;
        }
        let name = "the request cannot be understood: an attribute name or object identifier is malformed";
        let cases = [
            (search_for(2, 2, &[0x87, 0]), name),
            (search_for(2, 2, b"\x87\x0acn)(mobile"), name),
            (search_for(2, 2, &[0xaf, 0]), "unknown kind of filter (tag 0xaf)"),
            (search_for(2, 7, b"\x87\x02cn"), "unknown scope"),
            (search_for(2, 2, &[0xa2, 0]), "an item of the filter is empty"),
            (search_for(2, 2, &nested), "the message passes the limit on depth"),
            (message(2, tag::COMPARE_REQUEST, b"\x04\x00\x30\x04\x04\x00\x04\x00"), name),
            (message(2, tag::EXTENDED_REQUEST, b"\x80\x03abc"), name),
            (message(2, tag::BIND_REQUEST, &[2, 1, 0, 4, 0, 0x80, 0]), "unknown version of LDAP"),
            (
                message(
                    2,
                    tag::MODIFY_REQUEST,
                    b"\x04\x00\x30\x0b\x30\x09\x0a\x01\x09\x30\x04\x04\x00\x31\x00",
                ),
                "unknown kind of change",
            ),
        ];
        for (bytes, text) in cases {
            let (id, outcome) = answer(&mut rig, client, &bytes);
            let limit = text.contains("limit");
            let code = if limit { ResultCode::ADMIN_LIMIT_EXCEEDED } else { ResultCode::PROTOCOL_ERROR };
            assert_eq!((id, outcome.code), (2, code), "{text}");
            assert!(outcome.diagnostic.contains(text), "{}", outcome.diagnostic);
        }
        // lengths that do not fit are another matter
        let (id, outcome) = answer(&mut rig, client, &search_for(2, 2, &deep));
        assert_eq!((id, outcome.code), (0, ResultCode::PROTOCOL_ERROR));
        assert!(outcome.diagnostic.starts_with("malformed"), "{}", outcome.diagnostic);
        assert_eq!(rig.engine.counts().0, 0);
    }

    #[test]
    fn malformed_and_oversized_are_told_apart() {
        let mut rig = Rig::with_servers(Settings::default(), &[0], &["RXA"]);
        let closed = |rig: &Rig, reason| rig.engine.metrics.closed.with_label_values(&[reason]).get();
        let client = rig.client();
        let (id, outcome) = answer(&mut rig, client, &[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]);
        assert_eq!((id, outcome.code), (0, ResultCode::PROTOCOL_ERROR));
        assert!(outcome.diagnostic.starts_with("oversized"), "{}", outcome.diagnostic);
        assert_eq!((closed(&rig, "oversized"), closed(&rig, "malformed")), (1, 0));
        for rubbish in
            [b"GET / HTTP/1.1".as_slice(), &[0x30, 5, 2, 1, 0xff, 0x63, 0], &[0x30, 5, 2, 1, 1, 0x5f, 0]]
        {
            let client = rig.client();
            let (id, outcome) = answer(&mut rig, client, rubbish);
            assert_eq!((id, outcome.code), (0, ResultCode::PROTOCOL_ERROR));
            assert!(outcome.diagnostic.starts_with("malformed"), "{}", outcome.diagnostic);
        }
        assert_eq!((closed(&rig, "oversized"), closed(&rig, "malformed")), (1, 3));
    }

    /// RFC 4513 section 4: a bind that fails leaves nobody bound; and its password is wiped.
    #[test]
    fn a_bind_that_cannot_be_understood_leaves_nobody_bound() {
        let mut rig = Rig::with_servers(Settings::default(), &[0], &["RXA"]);
        let client = rig.client();
        let bind = [&[2, 1, 0, 4, 0, 0x80, 6], b"secret".as_slice()].concat();
        let (_, outcome) = answer(&mut rig, client, &message(2, tag::BIND_REQUEST, &bind));
        assert_eq!(outcome.code, ResultCode::PROTOCOL_ERROR);
        assert!(rig.engine.take_wipe());
        rig.ask(client, 3, "RXA");
        assert_eq!(rig.heard(client), ["3 done strongerAuthRequired (8)"]);
        let name =
            Bind { version: 3, name: "cn=x".into(), authentication: Authentication::Simple(b""[..].into()) };
        rig.say(client, 4, Operation::BindRequest(name));
        assert_eq!(rig.heard(client), ["4 bind unwillingToPerform (53)"]);
    }
}
