//! A control of our own: which directories a search asked, and which of them answered. See `src/proxy/README.md`.
//!
//! ```asn1
//! -- controlValue of the request: absent
//! Completeness ::= SEQUENCE OF SEQUENCE {
//!     mount   LDAPDN,                      -- ou=RXA,o=federation
//!     state   ENUMERATED { answered (0), missing (1), pending (2) },
//!     reason  [0] LDAPString OPTIONAL }    -- of a missing one: "unavailable", "limit" or "time"
//! ```

use std::borrow::Cow;

use crate::ldap::ber;
use crate::ldap::control::Control;
use crate::ldap::message::ResultCode;
use crate::namespace::routes::federated_suffix;
use crate::proxy::engine::operation::{At, Part};

/// Asks for the list, on a search. It has no value. The arc is the UUID 97c3f136-28cd-41f5-a5c6-599482a4ed2e (X.667).
pub const REQUEST: &str = "2.25.201730817602599385689978534097076940078.1";
/// Carries the list, on the result of a search.
pub const ANSWER: &str = "2.25.201730817602599385689978534097076940078.2";

const REASON: u8 = 0x80;

/// What became of one directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Answered,
    Missing(&'static str),
    /// Its turn comes with a later page.
    Pending,
}

/// The list for these parts. `code` is the result of the search; `goes_on` says that another page follows. Of the part
/// `held` an entry waits for the next page: whether its directory has said already that this was the last counts what
/// is withheld, so its turn is not over.
pub fn answer(parts: &[Part], held: Option<usize>, code: ResultCode, goes_on: bool) -> Control<'static> {
    let mut value = Vec::new();
    let list = ber::open(&mut value, ber::SEQUENCE);
    for (place, part) in parts.iter().enumerate() {
        let at = if held == Some(place) { At::Later } else { part.at };
        let (state, reason) = match state(at, part.code, code, goes_on) {
            State::Answered => (0, None),
            State::Missing(reason) => (1, Some(reason)),
            State::Pending => (2, None),
        };
        let one = ber::open(&mut value, ber::SEQUENCE);
        let mount = federated_suffix(part.permit.target());
        ber::put_octets(&mut value, ber::OCTET_STRING, mount.as_bytes());
        ber::put_int(&mut value, ber::ENUMERATED, state);
        if let Some(reason) = reason {
            ber::put_octets(&mut value, REASON, reason.as_bytes());
        }
        ber::close(&mut value, one);
    }
    ber::close(&mut value, list);
    Control { oid: Cow::Borrowed(ANSWER), critical: false, value: Some(value.into()) }
}

fn state(at: At, ended: ResultCode, code: ResultCode, goes_on: bool) -> State {
    match at {
        At::Done => match ended {
            ResultCode::SUCCESS | ResultCode::NO_SUCH_OBJECT => State::Answered,
            code => State::Missing(reason(code)),
        },
        At::Failed => State::Missing(reason(ended)),
        At::Later | At::Queued | At::Waiting | At::Sent { .. } if goes_on => State::Pending,
        // The search ended before the directory did.
        At::Later | At::Queued | At::Waiting | At::Sent { .. } => State::Missing(reason(code)),
    }
}

fn reason(code: ResultCode) -> &'static str {
    match code {
        ResultCode::SIZE_LIMIT_EXCEEDED | ResultCode::ADMIN_LIMIT_EXCEEDED => "limit",
        ResultCode::TIME_LIMIT_EXCEEDED => "time",
        _ => "unavailable",
    }
}
