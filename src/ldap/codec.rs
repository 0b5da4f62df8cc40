//! Whole messages: cutting them out of a stream, reading and writing them (RFC 4511 sections 4 and 5).

use std::borrow::Cow;

use crate::ldap::attribute;
use crate::ldap::ber::{self, Reader};
use crate::ldap::control::{CONTROLS, Control};
use crate::ldap::entry::{WireAttribute, WireEntry, checked_dn};
use crate::ldap::error::{DecodeError, FrameError, Limit};
use crate::ldap::filter_wire;
use crate::ldap::limits::Limits;
use crate::ldap::message::{
    Authentication, Bind, BindOutcome, Change, ChangeKind, Compare, Dereference, Extended, ExtendedOutcome,
    Intermediate, Message, Modify, ModifyDn, NOTICE_OF_DISCONNECTION, Operation, Outcome, ResultCode, Scope,
    Search,
};
use crate::ldap::tag;

/// Length of the first message of `bytes`, its own tag and length included; none when more bytes are needed to know, or
/// to have it whole. Nothing is reserved for what a message claims: an oversized claim fails at its header.
#[inline]
pub fn frame(bytes: &[u8], limits: &Limits) -> Result<Option<usize>, FrameError> {
    let Some((tag, rest)) = bytes.split_first() else { return Ok(None) };
    if *tag != ber::SEQUENCE {
        return Err(FrameError::NotAMessage(*tag));
    }
    let Some((first, rest)) = rest.split_first() else { return Ok(None) };
    let (claimed, header) = if *first < 0x80 {
        (usize::from(*first), 2)
    } else {
        let count = usize::from(*first & 0x7f);
        match count {
            0 => return Err(FrameError::Indefinite),
            1..=4 => {}
            _ => return Err(FrameError::LengthOfLength),
        }
        let Some(length) = rest.get(..count) else { return Ok(None) };
        (length.iter().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte)), 2 + count)
    };
    if claimed > limits.message_bytes {
        return Err(FrameError::TooLong { claimed, limit: limits.message_bytes });
    }
    let whole = claimed + header;
    Ok((bytes.len() >= whole).then_some(whole))
}

/// The id and the operation's tag of a framed message, without reading the rest: enough to refuse it by name.
pub fn peek(message: &[u8]) -> Result<(i32, u8), DecodeError> {
    let mut body = Reader::new(message).nested(ber::SEQUENCE)?;
    let id = read_id(body.expect(ber::INTEGER)?)?;
    Ok((id, body.peek().ok_or(DecodeError::Truncated)?))
}

/// The id and the operation's tag of a framed message whose outermost elements are whole: the id, the operation, and controls or
/// nothing. What is inside them is not read: enough to answer a request that says something wrong.
pub fn envelope(message: &[u8]) -> Result<(i32, u8), DecodeError> {
    let mut outer = Reader::new(message);
    let mut body = outer.nested(ber::SEQUENCE)?;
    outer.end()?;
    let id = read_id(body.expect(ber::INTEGER)?)?;
    let tag = body.element()?.tag;
    body.optional(CONTROLS)?;
    body.end()?;
    Ok((id, tag))
}

/// Reads one whole message. Bytes after it are refused; cut the stream with [`frame`] first.
pub fn decode<'a>(message: &'a [u8], limits: &Limits) -> Result<Message<'a>, DecodeError> {
    let mut outer = Reader::new(message);
    let mut body = outer.nested(ber::SEQUENCE)?;
    outer.end()?;
    if body.rest().len() > limits.message_bytes {
        return Err(DecodeError::Limit(Limit::MessageBytes));
    }
    let id = read_id(body.expect(ber::INTEGER)?)?;
    let element = body.element()?;
    let mut operation = read_operation(element.tag, element.contents, limits)?;
    if id == 0 {
        misplaced_name(&mut body, &mut operation)?;
    }
    let controls = match body.optional(CONTROLS)? {
        Some(contents) => Control::read_list(contents, limits)?,
        None => Vec::new(),
    };
    body.end()?;
    Ok(Message { id, operation, controls })
}

/// Active Directory puts the name of its Notice of Disconnection beside the response instead of inside.
fn misplaced_name(body: &mut Reader<'_>, operation: &mut Operation<'_>) -> Result<(), DecodeError> {
    if let Operation::ExtendedResponse(response) = operation
        && response.name.is_none()
        && let Some(name) = body.optional(tag::RESPONSE_NAME)?
    {
        if name != NOTICE_OF_DISCONNECTION.as_bytes() {
            return Err(DecodeError::Name);
        }
        response.name = Some(Cow::Borrowed(NOTICE_OF_DISCONNECTION));
    }
    Ok(())
}

fn read_id(contents: &[u8]) -> Result<i32, DecodeError> {
    let id = ber::integer(contents)?;
    if id < 0 { Err(DecodeError::Integer) } else { Ok(id) }
}

fn read_operation<'a>(tag: u8, contents: &'a [u8], limits: &Limits) -> Result<Operation<'a>, DecodeError> {
    let body = Reader::new(contents);
    Ok(match tag {
        tag::BIND_REQUEST => Operation::BindRequest(read_bind(body, limits)?),
        tag::BIND_RESPONSE => Operation::BindResponse(read_bind_outcome(body, limits)?),
        tag::UNBIND_REQUEST => {
            body.end()?;
            Operation::UnbindRequest
        }
        tag::SEARCH_REQUEST => Operation::SearchRequest(read_search(body, limits)?),
        tag::SEARCH_ENTRY => Operation::SearchEntry(read_entry(body, limits, false)?),
        tag::SEARCH_DONE => Operation::SearchDone(read_result(body, limits)?),
        tag::SEARCH_REFERENCE => Operation::SearchReference(read_addresses(body, limits)?),
        tag::MODIFY_REQUEST => Operation::ModifyRequest(read_modify(body, limits)?),
        tag::MODIFY_RESPONSE => Operation::ModifyResponse(read_result(body, limits)?),
        tag::ADD_REQUEST => Operation::AddRequest(read_entry(body, limits, true)?),
        tag::ADD_RESPONSE => Operation::AddResponse(read_result(body, limits)?),
        tag::DELETE_REQUEST => Operation::DeleteRequest(Cow::Borrowed(checked_dn(contents, limits)?)),
        tag::DELETE_RESPONSE => Operation::DeleteResponse(read_result(body, limits)?),
        tag::MODIFY_DN_REQUEST => Operation::ModifyDnRequest(read_modify_dn(body, limits)?),
        tag::MODIFY_DN_RESPONSE => Operation::ModifyDnResponse(read_result(body, limits)?),
        tag::COMPARE_REQUEST => Operation::CompareRequest(read_compare(body, limits)?),
        tag::COMPARE_RESPONSE => Operation::CompareResponse(read_result(body, limits)?),
        tag::ABANDON_REQUEST => Operation::AbandonRequest(read_id(contents)?),
        tag::EXTENDED_REQUEST => Operation::ExtendedRequest(read_extended(body, limits)?),
        tag::EXTENDED_RESPONSE => Operation::ExtendedResponse(read_extended_outcome(body, limits)?),
        tag::INTERMEDIATE_RESPONSE => Operation::IntermediateResponse(read_intermediate(body, limits)?),
        other => return Err(DecodeError::Operation(other)),
    })
}

fn read_bind<'a>(mut body: Reader<'a>, limits: &Limits) -> Result<Bind<'a>, DecodeError> {
    let version =
        u8::try_from(body.integer(ber::INTEGER)?).ok().filter(|version| (1..=127).contains(version));
    let version = version.ok_or(DecodeError::Unknown("version of LDAP"))?;
    let name = Cow::Borrowed(checked_dn(body.octets()?, limits)?);
    let choice = body.element()?;
    body.end()?;
    let authentication = match choice.tag {
        tag::SIMPLE => Authentication::Simple(Cow::Borrowed(choice.contents)),
        tag::SASL => {
            let mut sasl = Reader::new(choice.contents);
            let mechanism = Cow::Borrowed(sasl.text()?);
            let credentials = sasl.optional(ber::OCTET_STRING)?.map(Cow::Borrowed);
            sasl.end()?;
            Authentication::Sasl { mechanism, credentials }
        }
        tag if tag & 0xc0 == 0x80 => Authentication::Other { tag, contents: Cow::Borrowed(choice.contents) },
        other => return Err(DecodeError::Tag(other)),
    };
    Ok(Bind { version, name, authentication })
}

fn read_addresses<'a>(mut list: Reader<'a>, limits: &Limits) -> Result<Vec<Cow<'a, str>>, DecodeError> {
    let mut addresses = Vec::new();
    while !list.is_empty() {
        if addresses.len() >= limits.referrals {
            return Err(DecodeError::Limit(Limit::Referrals));
        }
        addresses.push(Cow::Borrowed(list.text()?));
    }
    if addresses.is_empty() { Err(DecodeError::Empty) } else { Ok(addresses) }
}

/// LDAPResult; what follows it stays in the reader.
fn read_outcome<'a>(body: &mut Reader<'a>, limits: &Limits) -> Result<Outcome<'a>, DecodeError> {
    let code = ResultCode(body.unsigned(ber::ENUMERATED)?);
    let matched = Cow::Borrowed(checked_dn(body.octets()?, limits)?);
    let diagnostic = Cow::Borrowed(body.text()?);
    let referral = match body.optional(tag::REFERRAL)? {
        Some(contents) => read_addresses(Reader::new(contents), limits)?,
        None => Vec::new(),
    };
    Ok(Outcome { code, matched, diagnostic, referral })
}

fn read_result<'a>(mut body: Reader<'a>, limits: &Limits) -> Result<Outcome<'a>, DecodeError> {
    let outcome = read_outcome(&mut body, limits)?;
    body.end()?;
    Ok(outcome)
}

fn read_bind_outcome<'a>(mut body: Reader<'a>, limits: &Limits) -> Result<BindOutcome<'a>, DecodeError> {
    let outcome = read_outcome(&mut body, limits)?;
    let credentials = body.optional(tag::SASL_CREDENTIALS)?.map(Cow::Borrowed);
    body.end()?;
    Ok(BindOutcome { outcome, credentials })
}

fn read_search<'a>(mut body: Reader<'a>, limits: &Limits) -> Result<Search<'a>, DecodeError> {
    let base = Cow::Borrowed(checked_dn(body.octets()?, limits)?);
    let scope = match body.integer(ber::ENUMERATED)? {
        0 => Scope::Base,
        1 => Scope::One,
        2 => Scope::Subtree,
        3 => Scope::Children,
        _ => return Err(DecodeError::Unknown("scope")),
    };
    let dereference = match body.integer(ber::ENUMERATED)? {
        0 => Dereference::Never,
        1 => Dereference::InSearching,
        2 => Dereference::FindingBase,
        3 => Dereference::Always,
        _ => return Err(DecodeError::Unknown("way of dereferencing aliases")),
    };
    let size_limit = body.unsigned(ber::INTEGER)?;
    let time_limit = body.unsigned(ber::INTEGER)?;
    let types_only = body.boolean(ber::BOOLEAN)?;
    let filter = filter_wire::read(&mut body, limits)?;
    let mut list = body.nested(ber::SEQUENCE)?;
    body.end()?;
    let mut attributes = Vec::new();
    while !list.is_empty() {
        if attributes.len() >= limits.attributes {
            return Err(DecodeError::Limit(Limit::Attributes));
        }
        attributes.push(Cow::Borrowed(attribute::checked_selector(list.octets()?, limits)?));
    }
    Ok(Search { base, scope, dereference, size_limit, time_limit, types_only, filter, attributes })
}

/// Counts values over a whole message.
struct Values<'l> {
    limits: &'l Limits,
    count: usize,
}

impl Values<'_> {
    fn attribute<'a>(&mut self, mut body: Reader<'a>) -> Result<WireAttribute<'a>, DecodeError> {
        let description = attribute::checked_description(body.octets()?, self.limits)?;
        let mut set = body.nested(ber::SET)?;
        body.end()?;
        let mut values = Vec::new();
        while !set.is_empty() {
            self.count += 1;
            if self.count > self.limits.values {
                return Err(DecodeError::Limit(Limit::Values));
            }
            values.push(Cow::Borrowed(set.octets()?));
        }
        Ok(WireAttribute { description: Cow::Borrowed(description), values })
    }
}

fn read_entry<'a>(
    mut body: Reader<'a>,
    limits: &Limits,
    needs_values: bool,
) -> Result<WireEntry<'a>, DecodeError> {
    let dn = Cow::Borrowed(checked_dn(body.octets()?, limits)?);
    let mut list = body.nested(ber::SEQUENCE)?;
    body.end()?;
    let mut values = Values { limits, count: 0 };
    let mut attributes = Vec::new();
    while !list.is_empty() {
        if attributes.len() >= limits.attributes {
            return Err(DecodeError::Limit(Limit::Attributes));
        }
        let attribute = values.attribute(list.nested(ber::SEQUENCE)?)?;
        if needs_values && attribute.values.is_empty() {
            return Err(DecodeError::Empty);
        }
        attributes.push(attribute);
    }
    Ok(WireEntry { dn, attributes })
}

fn read_modify<'a>(mut body: Reader<'a>, limits: &Limits) -> Result<Modify<'a>, DecodeError> {
    let dn = Cow::Borrowed(checked_dn(body.octets()?, limits)?);
    let mut list = body.nested(ber::SEQUENCE)?;
    body.end()?;
    let mut values = Values { limits, count: 0 };
    let mut changes = Vec::new();
    while !list.is_empty() {
        if changes.len() >= limits.attributes {
            return Err(DecodeError::Limit(Limit::Attributes));
        }
        let mut change = list.nested(ber::SEQUENCE)?;
        let kind = match change.integer(ber::ENUMERATED)? {
            0 => ChangeKind::Add,
            1 => ChangeKind::Delete,
            2 => ChangeKind::Replace,
            3 => ChangeKind::Increment,
            _ => return Err(DecodeError::Unknown("kind of change")),
        };
        let attribute = values.attribute(change.nested(ber::SEQUENCE)?)?;
        change.end()?;
        changes.push(Change { kind, attribute });
    }
    Ok(Modify { dn, changes })
}

fn read_modify_dn<'a>(mut body: Reader<'a>, limits: &Limits) -> Result<ModifyDn<'a>, DecodeError> {
    let dn = Cow::Borrowed(checked_dn(body.octets()?, limits)?);
    let new_rdn = Cow::Borrowed(checked_dn(body.octets()?, limits)?);
    let delete_old_rdn = body.boolean(ber::BOOLEAN)?;
    let new_superior = match body.optional(tag::NEW_SUPERIOR)? {
        Some(contents) => Some(Cow::Borrowed(checked_dn(contents, limits)?)),
        None => None,
    };
    body.end()?;
    Ok(ModifyDn { dn, new_rdn, delete_old_rdn, new_superior })
}

fn read_compare<'a>(mut body: Reader<'a>, limits: &Limits) -> Result<Compare<'a>, DecodeError> {
    let dn = Cow::Borrowed(checked_dn(body.octets()?, limits)?);
    let assertion = filter_wire::read_assertion(body.nested(ber::SEQUENCE)?, limits)?;
    body.end()?;
    Ok(Compare { dn, assertion })
}

fn read_extended<'a>(mut body: Reader<'a>, limits: &Limits) -> Result<Extended<'a>, DecodeError> {
    let name = Cow::Borrowed(attribute::checked_oid(body.expect(tag::REQUEST_NAME)?, limits)?);
    let value = body.optional(tag::REQUEST_VALUE)?.map(Cow::Borrowed);
    body.end()?;
    Ok(Extended { name, value })
}

fn read_name<'a>(
    body: &mut Reader<'a>,
    tag: u8,
    limits: &Limits,
) -> Result<Option<Cow<'a, str>>, DecodeError> {
    let Some(contents) = body.optional(tag)? else { return Ok(None) };
    Ok(Some(Cow::Borrowed(attribute::checked_oid(contents, limits)?)))
}

fn read_extended_outcome<'a>(
    mut body: Reader<'a>,
    limits: &Limits,
) -> Result<ExtendedOutcome<'a>, DecodeError> {
    let outcome = read_outcome(&mut body, limits)?;
    let name = read_name(&mut body, tag::RESPONSE_NAME, limits)?;
    let value = body.optional(tag::RESPONSE_VALUE)?.map(Cow::Borrowed);
    body.end()?;
    Ok(ExtendedOutcome { outcome, name, value })
}

fn read_intermediate<'a>(mut body: Reader<'a>, limits: &Limits) -> Result<Intermediate<'a>, DecodeError> {
    let name = read_name(&mut body, tag::REQUEST_NAME, limits)?;
    let value = body.optional(tag::REQUEST_VALUE)?.map(Cow::Borrowed);
    body.end()?;
    Ok(Intermediate { name, value })
}

/// Writes one message behind what `out` holds already: shortest lengths, defaults left out.
pub fn encode(message: &Message<'_>, out: &mut Vec<u8>) {
    let start = ber::open(out, ber::SEQUENCE);
    ber::put_int(out, ber::INTEGER, message.id);
    write_operation(&message.operation, out);
    Control::write_list(&message.controls, out);
    ber::close(out, start);
}

/// The message as bytes of its own.
pub fn to_bytes(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    encode(message, &mut out);
    out
}

fn write_operation(operation: &Operation<'_>, out: &mut Vec<u8>) {
    match operation {
        Operation::BindRequest(bind) => write_bind(bind, out),
        Operation::BindResponse(answer) => within(out, tag::BIND_RESPONSE, |out| {
            write_outcome(&answer.outcome, out);
            put_optional(out, tag::SASL_CREDENTIALS, answer.credentials.as_deref());
        }),
        Operation::UnbindRequest => ber::put_header(out, tag::UNBIND_REQUEST, 0),
        Operation::SearchRequest(search) => write_search(search, out),
        Operation::SearchEntry(entry) => write_entry(entry, tag::SEARCH_ENTRY, out),
        Operation::SearchReference(addresses) => {
            within(out, tag::SEARCH_REFERENCE, |out| addresses.iter().for_each(|text| put_text(out, text)));
        }
        Operation::SearchDone(outcome) => write_result(outcome, tag::SEARCH_DONE, out),
        Operation::ModifyRequest(modify) => write_modify(modify, out),
        Operation::ModifyResponse(outcome) => write_result(outcome, tag::MODIFY_RESPONSE, out),
        Operation::AddRequest(entry) => write_entry(entry, tag::ADD_REQUEST, out),
        Operation::AddResponse(outcome) => write_result(outcome, tag::ADD_RESPONSE, out),
        Operation::DeleteRequest(dn) => ber::put_octets(out, tag::DELETE_REQUEST, dn.as_bytes()),
        Operation::DeleteResponse(outcome) => write_result(outcome, tag::DELETE_RESPONSE, out),
        Operation::ModifyDnRequest(modify) => write_modify_dn(modify, out),
        Operation::ModifyDnResponse(outcome) => write_result(outcome, tag::MODIFY_DN_RESPONSE, out),
        Operation::CompareRequest(compare) => within(out, tag::COMPARE_REQUEST, |out| {
            put_text(out, &compare.dn);
            filter_wire::write_assertion(&compare.assertion, ber::SEQUENCE, out);
        }),
        Operation::CompareResponse(outcome) => write_result(outcome, tag::COMPARE_RESPONSE, out),
        Operation::AbandonRequest(id) => ber::put_int(out, tag::ABANDON_REQUEST, *id),
        Operation::ExtendedRequest(request) => within(out, tag::EXTENDED_REQUEST, |out| {
            ber::put_octets(out, tag::REQUEST_NAME, request.name.as_bytes());
            put_optional(out, tag::REQUEST_VALUE, request.value.as_deref());
        }),
        Operation::ExtendedResponse(answer) => within(out, tag::EXTENDED_RESPONSE, |out| {
            write_outcome(&answer.outcome, out);
            put_optional(out, tag::RESPONSE_NAME, answer.name.as_deref().map(str::as_bytes));
            put_optional(out, tag::RESPONSE_VALUE, answer.value.as_deref());
        }),
        Operation::IntermediateResponse(answer) => within(out, tag::INTERMEDIATE_RESPONSE, |out| {
            put_optional(out, tag::REQUEST_NAME, answer.name.as_deref().map(str::as_bytes));
            put_optional(out, tag::REQUEST_VALUE, answer.value.as_deref());
        }),
    }
}

fn within(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = ber::open(out, tag);
    write(out);
    ber::close(out, start);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    ber::put_octets(out, ber::OCTET_STRING, text.as_bytes());
}

fn put_optional(out: &mut Vec<u8>, tag: u8, contents: Option<&[u8]>) {
    if let Some(contents) = contents {
        ber::put_octets(out, tag, contents);
    }
}

fn write_bind(bind: &Bind<'_>, out: &mut Vec<u8>) {
    within(out, tag::BIND_REQUEST, |out| {
        ber::put_int(out, ber::INTEGER, i32::from(bind.version));
        put_text(out, &bind.name);
        match &bind.authentication {
            Authentication::Simple(password) => ber::put_octets(out, tag::SIMPLE, password),
            Authentication::Sasl { mechanism, credentials } => within(out, tag::SASL, |out| {
                put_text(out, mechanism);
                put_optional(out, ber::OCTET_STRING, credentials.as_deref());
            }),
            Authentication::Other { tag, contents } => ber::put_octets(out, *tag, contents),
        }
    });
}

/// Writes the components of an LDAPResult, for whoever builds a response by hand.
pub fn write_outcome(outcome: &Outcome<'_>, out: &mut Vec<u8>) {
    ber::put_int(out, ber::ENUMERATED, i32::try_from(outcome.code.0).unwrap_or(i32::MAX));
    put_text(out, &outcome.matched);
    put_text(out, &outcome.diagnostic);
    if !outcome.referral.is_empty() {
        within(out, tag::REFERRAL, |out| outcome.referral.iter().for_each(|text| put_text(out, text)));
    }
}

fn write_result(outcome: &Outcome<'_>, tag: u8, out: &mut Vec<u8>) {
    within(out, tag, |out| write_outcome(outcome, out));
}

fn write_search(search: &Search<'_>, out: &mut Vec<u8>) {
    let limit = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    within(out, tag::SEARCH_REQUEST, |out| {
        put_text(out, &search.base);
        ber::put_int(out, ber::ENUMERATED, search.scope.number());
        ber::put_int(out, ber::ENUMERATED, search.dereference.number());
        ber::put_int(out, ber::INTEGER, limit(search.size_limit));
        ber::put_int(out, ber::INTEGER, limit(search.time_limit));
        ber::put_bool(out, ber::BOOLEAN, search.types_only);
        filter_wire::write(&search.filter, out);
        within(out, ber::SEQUENCE, |out| search.attributes.iter().for_each(|name| put_text(out, name)));
    });
}

fn write_attribute(attribute: &WireAttribute<'_>, out: &mut Vec<u8>) {
    within(out, ber::SEQUENCE, |out| {
        put_text(out, &attribute.description);
        within(out, ber::SET, |out| {
            for value in &attribute.values {
                ber::put_octets(out, ber::OCTET_STRING, value);
            }
        });
    });
}

fn write_entry(entry: &WireEntry<'_>, tag: u8, out: &mut Vec<u8>) {
    within(out, tag, |out| {
        put_text(out, &entry.dn);
        within(out, ber::SEQUENCE, |out| {
            entry.attributes.iter().for_each(|attribute| write_attribute(attribute, out));
        });
    });
}

fn write_modify(modify: &Modify<'_>, out: &mut Vec<u8>) {
    within(out, tag::MODIFY_REQUEST, |out| {
        put_text(out, &modify.dn);
        within(out, ber::SEQUENCE, |out| {
            for change in &modify.changes {
                within(out, ber::SEQUENCE, |out| {
                    ber::put_int(out, ber::ENUMERATED, change.kind.number());
                    write_attribute(&change.attribute, out);
                });
            }
        });
    });
}

fn write_modify_dn(modify: &ModifyDn<'_>, out: &mut Vec<u8>) {
    within(out, tag::MODIFY_DN_REQUEST, |out| {
        put_text(out, &modify.dn);
        put_text(out, &modify.new_rdn);
        ber::put_bool(out, ber::BOOLEAN, modify.delete_old_rdn);
        put_optional(out, tag::NEW_SUPERIOR, modify.new_superior.as_deref().map(str::as_bytes));
    });
}
