//! Which controls are obeyed on which request, and their values, read strictly (RFC 4511 section 4.1.11).
//!
//! A critical control that is not obeyed on the request refuses it, without effect: `unavailableCriticalExtension`. One
//! that is not critical is ignored, as the RFC demands, whatever it would have done elsewhere (DirSync, ASQ, deleted
//! objects, statistics and their like among them): the request is answered exactly as without it. One exception, by its
//! own RFC: proxied authorization that is not critical is a `protocolError`, because ignoring it would answer the wrong
//! person (RFC 4370 section 3). A value that is malformed, and a control that comes twice, are a `protocolError`.

use crate::ldap::control::Control;
use crate::ldap::error::DecodeError;
use crate::ldap::filter::Filter;
use crate::ldap::filter_wire;
use crate::ldap::limits::Limits;
use crate::ldap::message::ResultCode;
use crate::ldap::typed_control::{
    MANAGE_DSA_IT, MATCHED_VALUES, PROXIED_AUTHORIZATION, PROXIED_AUTHORIZATION_DRAFT, PagedResults, Sort,
    read_matched_values,
};
use crate::proxy::engine::answer::{Answer, Asked};
use crate::proxy::engine::completeness;

/// A control that is obeyed, and the requests that it is obeyed on.
struct Supported {
    oid: &'static str,
    on: &'static [Asked],
}

/// All of them. The root entry lists exactly these.
const SUPPORTED: &[Supported] = &[
    // RFC 3296 section 3. There are no referrals here, so it is obeyed by doing nothing.
    Supported {
        oid: MANAGE_DSA_IT,
        on: &[Asked::Search, Asked::Compare, Asked::Add, Asked::Delete, Asked::Modify, Asked::ModifyDn],
    },
    Supported { oid: PagedResults::OID, on: &[Asked::Search] },
    Supported { oid: Sort::OID, on: &[Asked::Search] },
    Supported { oid: MATCHED_VALUES, on: &[Asked::Search] },
    Supported { oid: completeness::REQUEST, on: &[Asked::Search] },
];

const UNSUPPORTED: &str = "a critical control is not supported; see supportedControl of the root entry";

/// The object identifiers of what is obeyed at all, for the root entry.
pub fn supported() -> impl Iterator<Item = &'static str> {
    SUPPORTED.iter().map(|supported| supported.oid)
}

/// The controls of one request that change how it is answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Controls<'a> {
    /// The page that is asked for.
    pub paging: Option<PagedResults>,
    pub sort: Option<Sort>,
    pub sort_is_critical: bool,
    /// Matched values: the items, or none.
    pub values: Vec<Filter<'a>>,
    /// A list of who answered is asked for.
    pub completeness: bool,
}

impl Controls<'_> {
    /// Whether any of them is there.
    pub fn any(&self) -> bool {
        self.paging.is_some() || self.sort.is_some() || !self.values.is_empty() || self.completeness
    }

    /// Appends what has to be the same on every page of one search.
    pub fn write_lasting(&self, out: &mut Vec<u8>) {
        if let Some(sort) = &self.sort {
            let control = sort.control(self.sort_is_critical);
            Control::write_list(std::slice::from_ref(&control), out);
        }
        self.values.iter().for_each(|item| filter_wire::write(item, out));
        out.push(u8::from(self.completeness));
    }
}

/// Reads the controls of a request.
///
/// # Errors
///
/// The answer that the request gets instead of being done.
pub fn read<'a>(controls: &'a [Control<'_>], asked: Asked, limits: &Limits) -> Result<Controls<'a>, Answer> {
    let mut read = Controls::default();
    if controls.is_empty() {
        return Ok(read);
    }
    let obeyed = |control: &Control<'_>| {
        SUPPORTED.iter().any(|supported| supported.oid == control.oid && supported.on.contains(&asked))
    };
    if controls.iter().any(|control| control.critical && !obeyed(control)) {
        return Err(Answer::new(ResultCode::UNAVAILABLE_CRITICAL_EXTENSION, UNSUPPORTED));
    }
    for (at, control) in controls.iter().enumerate() {
        if !obeyed(control) {
            if is_proxied_authorization(control) && asked != Asked::Bind {
                return Err(protocol_error("proxied authorization must be critical, and is not supported"));
            }
            continue;
        }
        if controls.iter().take(at).any(|before| before.oid == control.oid) {
            return Err(protocol_error("a control came twice"));
        }
        read.take(control, limits).map_err(|_| protocol_error("the value of a control is malformed"))?;
    }
    Ok(read)
}

impl<'a> Controls<'a> {
    fn take(&mut self, control: &'a Control<'_>, limits: &Limits) -> Result<(), DecodeError> {
        match (control.oid.as_ref(), control.value.as_deref()) {
            (MANAGE_DSA_IT, None) => {}
            (completeness::REQUEST, None) => self.completeness = true,
            (PagedResults::OID, Some(value)) => self.paging = Some(PagedResults::read(value)?),
            (Sort::OID, Some(value)) => {
                self.sort = Some(Sort::read(value, limits)?);
                self.sort_is_critical = control.critical;
            }
            (MATCHED_VALUES, Some(value)) => self.values = read_matched_values(value, limits)?,
            (_, Some(_)) => return Err(DecodeError::Trailing),
            (_, None) => return Err(DecodeError::Truncated),
        }
        Ok(())
    }
}

fn protocol_error(text: &'static str) -> Answer {
    Answer::new(ResultCode::PROTOCOL_ERROR, text)
}

fn is_proxied_authorization(control: &Control<'_>) -> bool {
    control.oid == PROXIED_AUTHORIZATION || control.oid == PROXIED_AUTHORIZATION_DRAFT
}
