//! Results as clients get them: our own codes and texts only, never a directory's.

use std::borrow::Cow;

use crate::ldap::codec;
use crate::ldap::control::Control;
use crate::ldap::message::{
    BindOutcome, ExtendedOutcome, Message, NOTICE_OF_DISCONNECTION, Operation, Outcome, ResultCode, START_TLS,
};

/// A result code and a text of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: ResultCode,
    pub text: Cow<'static, str>,
}

impl Answer {
    /// A code and a text for a person: one sentence, what to do.
    pub fn new(code: ResultCode, text: impl Into<Cow<'static, str>>) -> Self {
        Answer { code, text: text.into() }
    }

    /// A code that says enough.
    pub fn plain(code: ResultCode) -> Self {
        Answer::new(code, "")
    }
}

/// The kinds of request that are answered with one result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Bind,
    Search,
    Compare,
    Add,
    Delete,
    Modify,
    ModifyDn,
    Extended,
}

impl Asked {
    /// The operation as records and metrics write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Asked::Bind => "bind",
            Asked::Search => "search",
            Asked::Compare => "compare",
            Asked::Add => "add",
            Asked::Delete => "delete",
            Asked::Modify => "modify",
            Asked::ModifyDn => "modify_dn",
            Asked::Extended => "extended",
        }
    }
}

/// Appends the final answer to request `id`.
pub fn put(out: &mut Vec<u8>, id: i32, asked: Asked, answer: &Answer) {
    put_with(out, id, asked, answer, Vec::new());
}

/// Appends the final answer to request `id`, with controls.
pub fn put_with(out: &mut Vec<u8>, id: i32, asked: Asked, answer: &Answer, controls: Vec<Control<'static>>) {
    let outcome = Outcome::new(answer.code, answer.text.as_ref());
    let operation = match asked {
        Asked::Bind => Operation::BindResponse(BindOutcome { outcome, credentials: None }),
        Asked::Search => Operation::SearchDone(outcome),
        Asked::Compare => Operation::CompareResponse(outcome),
        Asked::Add => Operation::AddResponse(outcome),
        Asked::Delete => Operation::DeleteResponse(outcome),
        Asked::Modify => Operation::ModifyResponse(outcome),
        Asked::ModifyDn => Operation::ModifyDnResponse(outcome),
        Asked::Extended => {
            Operation::ExtendedResponse(ExtendedOutcome { outcome, ..ExtendedOutcome::default() })
        }
    };
    codec::encode(&Message { id, operation, controls }, out);
}

/// Appends the answer to "Who am I?" (RFC 4532): no name, the authorization identity as value.
pub fn put_who_am_i(out: &mut Vec<u8>, id: i32, authorization: &str) {
    let outcome = ExtendedOutcome {
        outcome: Outcome::new(ResultCode::SUCCESS, ""),
        name: None,
        value: Some(Cow::Borrowed(authorization.as_bytes())),
    };
    codec::encode(&Message::new(id, Operation::ExtendedResponse(outcome)), out);
}

/// Appends the answer that lets the TLS handshake begin (RFC 4511 section 4.14.2).
pub fn put_start_tls(out: &mut Vec<u8>, id: i32) {
    let outcome = ExtendedOutcome {
        outcome: Outcome::new(ResultCode::SUCCESS, ""),
        name: Some(Cow::Borrowed(START_TLS)),
        value: None,
    };
    codec::encode(&Message::new(id, Operation::ExtendedResponse(outcome)), out);
}

/// Appends a Notice of Disconnection (RFC 4511 section 4.4.1).
pub fn put_notice(out: &mut Vec<u8>, answer: &Answer) {
    let outcome = ExtendedOutcome {
        outcome: Outcome::new(answer.code, answer.text.as_ref()),
        name: Some(Cow::Borrowed(NOTICE_OF_DISCONNECTION)),
        value: None,
    };
    codec::encode(&Message::new(0, Operation::ExtendedResponse(outcome)), out);
}
