//! Operands as written, made into values of the type that the fact has.

use std::collections::{BTreeMap, BTreeSet};

use time::{Duration, OffsetDateTime};

use crate::baseline::value::{Element, Type, Value};
use crate::policy::fault::{Fault, Place};
use crate::policy::fields::integer;
use crate::policy::scalar;
use crate::policy::source::{Content, Node};

/// Everything, in hundredths of a percent.
const PERCENT_MAX: u32 = 10_000;
/// The largest number that a policy may compare with.
const INTEGER_MAX: u64 = 1_000_000_000_000_000;
/// SIDs and object identifiers that have names.
const SIDS: &[(&str, &str)] = &[
    ("everyone", "S-1-1-0"),
    ("anonymous", "S-1-5-7"),
    ("authenticated-users", "S-1-5-11"),
    ("administrators", "S-1-5-32-544"),
    ("users", "S-1-5-32-545"),
    ("guests", "S-1-5-32-546"),
    ("account-operators", "S-1-5-32-548"),
    ("server-operators", "S-1-5-32-549"),
    ("print-operators", "S-1-5-32-550"),
    ("backup-operators", "S-1-5-32-551"),
];
const OIDS: &[(&str, &str)] = &[
    ("client-authentication", "1.3.6.1.5.5.7.3.2"),
    ("server-authentication", "1.3.6.1.5.5.7.3.1"),
    ("smartcard-logon", "1.3.6.1.4.1.311.20.2.2"),
    ("pkinit-client", "1.3.6.1.5.2.3.4"),
    ("pkinit-kdc", "1.3.6.1.5.2.3.5"),
    ("any-purpose", "2.5.29.37.0"),
    ("certificate-request-agent", "1.3.6.1.4.1.311.20.2.1"),
];

/// Named values of a baseline, and what was made of them.
pub type Parameters = BTreeMap<String, Node>;

/// A point in time, fixed or from the time of evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Fixed(OffsetDateTime),
    /// So long after (before, when negative) the time of evaluation.
    FromNow(Duration),
}

impl Moment {
    /// The instant, when evaluated at `now`.
    pub fn at(self, now: OffsetDateTime) -> OffsetDateTime {
        match self {
            Moment::Fixed(at) => at,
            Moment::FromNow(offset) => now.checked_add(offset).unwrap_or(now),
        }
    }
}

/// The node that a node stands for: `$name` stands for a parameter. The place stays where the operand is written.
///
/// # Errors
/// A parameter that does not exist.
pub fn resolve(node: &Node, parameters: &Parameters, used: &mut BTreeSet<String>) -> Result<Node, Fault> {
    let Content::Scalar { text, plain } = &node.content else { return Ok(node.clone()) };
    let Some(name) = text.strip_prefix('$') else { return Ok(node.clone()) };
    if !plain {
        return match parameters.contains_key(name) {
            true => Err(Fault::new(&node.at, format!("`{text}` in quotes is a text and no parameter"))
                .hint("write it without quotes")),
            false => Ok(node.clone()),
        };
    }
    match parameters.get(name) {
        Some(value) => {
            used.insert(name.to_owned());
            Ok(Node { at: node.at.clone(), content: value.content.clone() })
        }
        None => {
            let fault = Fault::new(&node.at, format!("the baseline has no parameter `{name}`"));
            Err(fault.nearest(name, parameters.keys().map(String::as_str)))
        }
    }
}

fn scalar_text<'n>(node: &'n Node, wanted: &str) -> Result<&'n str, Fault> {
    node.scalar()
        .ok_or_else(|| Fault::new(&node.at, format!("{wanted} is expected here, not {}", node.kind())))
}

fn spelled(at: &Place, text: &str, names: &[String], what: &str) -> Result<String, Fault> {
    names.iter().find(|n| n.eq_ignore_ascii_case(text)).cloned().ok_or_else(|| {
        Fault::new(at, format!("`{text}` is no {what}")).nearest(text, names.iter().map(String::as_str))
    })
}

/// A value of the type. A set may be written as a list or as a single member.
///
/// # Errors
/// Anything that is no value of this type, with what to write instead.
pub fn value(node: &Node, kind: &Type) -> Result<Value, Fault> {
    if let Type::Set(_) | Type::Flags(_) = kind {
        let names = members(node, kind)?;
        return Ok(if matches!(kind, Type::Flags(_)) { Value::Flags(names) } else { Value::Set(names) });
    }
    let text = scalar_text(node, &kind.name())?;
    let wrong = |message: String, hint: &str| Fault::new(&node.at, message).hint(hint);
    match kind {
        Type::Boolean => match text {
            "true" => Ok(Value::Boolean(true)),
            "false" => Ok(Value::Boolean(false)),
            _ => Err(wrong(format!("`{text}` is neither true nor false"), "write `true` or `false`")),
        },
        Type::Integer => match integer(text) {
            Some(number) if number.unsigned_abs() <= INTEGER_MAX => Ok(Value::Integer(number)),
            Some(_) => Err(wrong(
                format!("`{text}` is further than anything here is counted: it would bound nothing"),
                "write 1000000000000000 at most",
            )),
            None => Err(wrong(format!("`{text}` is not an integer"), "write digits without a unit")),
        },
        Type::Duration => {
            scalar::duration(text).map(Value::Duration).map_err(|m| wrong(m, scalar::DURATION_HINT))
        }
        Type::Percent => scalar::percent(text)
            .and_then(|p| match p > PERCENT_MAX {
                true => Err(format!("`{text}` is more than all")),
                false => Ok(Value::Percent(i64::from(p))),
            })
            .map_err(|m| wrong(m, "write for example `2%`, and 100% at most")),
        Type::Instant => scalar::instant(text)
            .map(Value::Instant)
            .map_err(|m| wrong(m, "write a date such as `2027-03-31`")),
        Type::Version(ladder) => {
            let names: Vec<String> = ladder.names().iter().map(|n| (*n).to_owned()).collect();
            spelled(&node.at, text, &names, &kind.name()).map(Value::Version)
        }
        Type::Word(words) => spelled(&node.at, text, words, "value of this fact").map(Value::Word),
        Type::Text => Ok(Value::Text(text.to_owned())),
        Type::Sid => sid(node, text).map(Value::Sid),
        Type::Guid => Ok(Value::Guid(text.to_ascii_lowercase())),
        Type::Dn => Ok(Value::Dn(text.to_owned())),
        Type::Set(_) | Type::Flags(_) => Err(Fault::new(&node.at, "a list is expected here")),
    }
}

/// Members of a set or names of flags, from a list or a single one.
///
/// # Errors
/// A member that the type does not know.
pub fn members(node: &Node, kind: &Type) -> Result<BTreeSet<String>, Fault> {
    let items: Vec<&Node> = match &node.content {
        Content::List(items) => items.iter().collect(),
        _ => vec![node],
    };
    items.into_iter().map(|item| member(item, kind)).collect()
}

fn member(node: &Node, kind: &Type) -> Result<String, Fault> {
    let text = scalar_text(node, "a single value")?;
    match kind {
        Type::Flags(names) => spelled(&node.at, text, names, "flag of this fact"),
        Type::Set(Element::Version(ladder)) => {
            let names: Vec<String> = ladder.names().iter().map(|n| (*n).to_owned()).collect();
            spelled(&node.at, text, &names, "version")
        }
        Type::Set(Element::Word(words)) => spelled(&node.at, text, words, "value of this fact"),
        Type::Set(Element::Oid) => oid(node, text),
        Type::Set(Element::Sid) => sid(node, text),
        _ => Ok(text.to_owned()),
    }
}

fn sid(node: &Node, text: &str) -> Result<String, Fault> {
    if let Some((_, sid)) = SIDS.iter().find(|(name, _)| *name == text) {
        return Ok((*sid).to_owned());
    }
    let upper = text.to_ascii_uppercase();
    let good = upper
        .strip_prefix("S-1-")
        .is_some_and(|rest| !rest.is_empty() && rest.split('-').all(|part| part.parse::<u64>().is_ok()));
    if good {
        return Ok(upper);
    }
    let fault = Fault::new(&node.at, format!("`{text}` is not a SID"));
    Err(fault.nearest(text, SIDS.iter().map(|(name, _)| *name)))
}

fn oid(node: &Node, text: &str) -> Result<String, Fault> {
    if let Some((_, oid)) = OIDS.iter().find(|(name, _)| *name == text) {
        return Ok((*oid).to_owned());
    }
    if text.contains('.') && text.split('.').all(|part| part.parse::<u64>().is_ok()) {
        return Ok(text.to_owned());
    }
    let fault = Fault::new(&node.at, format!("`{text}` is not an object identifier"));
    Err(fault.nearest(text, OIDS.iter().map(|(name, _)| *name)))
}

/// A moment: a date, an instant, `now`, `now+30d` or `now-30d`.
///
/// # Errors
/// Anything else.
pub fn moment(node: &Node) -> Result<Moment, Fault> {
    let text = scalar_text(node, "an instant")?;
    let hint = "write a date such as `2027-03-31`, `now`, or `now+30d`";
    let wrong = |message: String| Fault::new(&node.at, message).hint(hint);
    match text.strip_prefix("now") {
        Some("") => Ok(Moment::FromNow(Duration::ZERO)),
        Some(rest) => {
            let (sign, length) = match (rest.strip_prefix('+'), rest.strip_prefix('-')) {
                (Some(length), _) => (1, length),
                (_, Some(length)) => (-1, length),
                _ => return Err(wrong(format!("`{text}` is not an instant"))),
            };
            let seconds = scalar::duration(length).map_err(wrong)?;
            Ok(Moment::FromNow(Duration::seconds(sign * seconds)))
        }
        None => scalar::instant(text).map(Moment::Fixed).map_err(wrong),
    }
}
