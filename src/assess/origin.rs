//! Which domain evidence is of, and what stood in the way of reading it at all. Both are facts of the evidence, so that it tells them
//! whenever it is judged; no policy asks for them.

use crate::assess::gathered::Gathered;
use crate::assess::target::Target;
use crate::baseline::facts::{Evidence, Fact};
use crate::baseline::value::Value;
use crate::ldap::dn::Dn;

const DOMAIN: &str = "connection.domain";
const DOMAIN_SID: &str = "connection.domain_sid";
const OBSTACLE: &str = "connection.obstacle";

/// Notes which domain was asked.
pub fn note(gathered: &mut Gathered, target: &Target) {
    gathered.set(DOMAIN, Fact::Known(Value::Dn(target.base_dn.clone())));
}

/// Notes which domain answered.
pub fn note_sid(gathered: &mut Gathered, sid: Option<&str>) {
    if let Some(sid) = sid {
        gathered.set(DOMAIN_SID, Fact::Known(Value::Sid(sid.to_owned())));
    }
}

/// Notes why our own account could read nothing.
pub fn note_obstacle(gathered: &mut Gathered, reason: &str) {
    gathered.set(OBSTACLE, Fact::text(reason));
}

/// Why our own account could read nothing, and what to do; none when it could read.
pub fn obstacle(evidence: &Evidence) -> Option<String> {
    match evidence.facts.get(OBSTACLE) {
        Fact::Known(value) => Some(value.to_string()),
        _ => None,
    }
}

/// Whether two documents are of the same domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Same {
    Yes,
    /// What each of them is of.
    No(String, String),
    /// One of them does not say: it was collected before evidence did.
    NotTold,
}

/// Compares by SID where both were told, and by name otherwise.
pub fn same_domain(one: &Evidence, other: &Evidence) -> Same {
    let told = |name: &str| match (one.facts.get(name), other.facts.get(name)) {
        (Fact::Known(one), Fact::Known(other)) => Some((one.to_string(), other.to_string())),
        _ => None,
    };
    let names = told(DOMAIN);
    if let Some((a, b)) = told(DOMAIN_SID) {
        let named = |sid: &str, name: Option<&String>| match name {
            Some(name) => format!("{name} ({sid})"),
            None => sid.to_owned(),
        };
        return match a == b {
            true => Same::Yes,
            false => {
                Same::No(named(&a, names.as_ref().map(|n| &n.0)), named(&b, names.as_ref().map(|n| &n.1)))
            }
        };
    }
    match names {
        Some((a, b)) if is_same_name(&a, &b) => Same::Yes,
        Some((a, b)) => Same::No(a, b),
        None => Same::NotTold,
    }
}

fn is_same_name(one: &str, other: &str) -> bool {
    match (Dn::parse(one), Dn::parse(other)) {
        (Ok(one), Ok(other)) => one.is_at_or_below(&other) && other.is_at_or_below(&one),
        _ => one.eq_ignore_ascii_case(other),
    }
}
