//! Server-side sort (RFC 2891) over what was released: a hidden attribute is absent from every entry, so it orders
//! nothing.

use std::cmp::Ordering;

use crate::ldap::entry::EntryReader;
use crate::ldap::error::DecodeError;
use crate::ldap::limits::Limits;
use crate::ldap::matching::Key;
use crate::ldap::message::ResultCode;
use crate::ldap::schema;
use crate::ldap::typed_control::{Sort, SortAnswer, SortKey};
use crate::release::spelling::Syntax;
use crate::release::view::{View, Visible};

/// Bytes that an entry costs beside its own.
const OVERHEAD: usize = 96;

/// One key as one view knows it: the attribute's federated name, and the form in which its values order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    attribute: String,
    syntax: schema::Syntax,
}

impl Order {
    /// The key by this view; None when its attribute does not exist there or has no such order.
    pub fn of(key: &SortKey, view: &View) -> Option<Order> {
        let visible = view.resolve(&key.attribute)?;
        let syntax = order(visible, key.rule.as_deref())?;
        Some(Order { attribute: visible.name.clone(), syntax })
    }

    /// The attribute that is looked at.
    pub fn attribute(&self) -> &str {
        &self.attribute
    }
}

/// How values order by a rule, or by the attribute's own (RFC 4517 section 4.2); None: not at all.
fn order(attribute: &Visible, rule: Option<&str>) -> Option<schema::Syntax> {
    let (own, syntax): (&[&str], _) = match attribute.syntax {
        Syntax::Text => (&["caseIgnoreOrderingMatch", "2.5.13.3"], schema::Syntax::CaseIgnore),
        Syntax::Integer => (&["integerOrderingMatch", "2.5.13.15"], schema::Syntax::Integer),
        Syntax::Time => (&["generalizedTimeOrderingMatch", "2.5.13.28"], schema::Syntax::Time),
        // Lower-case text of one length orders as its bytes do (RFC 4530 section 2.3).
        Syntax::Uuid => (&["UUIDOrderingMatch", "1.3.6.1.1.16.3"], schema::Syntax::CaseIgnore),
        Syntax::Name | Syntax::Boolean | Syntax::Octets | Syntax::Class => return None,
    };
    let is = |rule: &str, names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(rule));
    match rule {
        None => Some(syntax),
        Some(rule) if is(rule, own) => Some(syntax),
        Some(rule)
            if attribute.syntax == Syntax::Text && is(rule, &["caseExactOrderingMatch", "2.5.13.6"]) =>
        {
            Some(schema::Syntax::CaseExact)
        }
        Some(_) => None,
    }
}

/// Why entries cannot be sorted by these keys, whatever they are. One constant for attributes that are hidden and that
/// nobody has. An attribute that exists in one of several directories is a key: the others' entries do not have it.
pub fn impossible(sort: &Sort, views: &[&View], most: usize) -> Option<SortAnswer> {
    let no = |code, key: Option<&SortKey>| {
        Some(SortAnswer { code, attribute: key.map(|key| key.attribute.clone()) })
    };
    if sort.0.len() > most {
        return no(ResultCode::UNWILLING_TO_PERFORM, None);
    }
    let mut names: Vec<&str> = Vec::new();
    for key in &sort.0 {
        let Some(visible) = views.iter().find_map(|view| view.resolve(&key.attribute)) else {
            return no(ResultCode::NO_SUCH_ATTRIBUTE, Some(key));
        };
        if order(visible, key.rule.as_deref()).is_none() {
            return no(ResultCode::INAPPROPRIATE_MATCHING, Some(key));
        }
        // RFC 2891 section 1.1: an attribute stands in the list once.
        if names.contains(&visible.name.as_str()) {
            return no(ResultCode::UNWILLING_TO_PERFORM, Some(key));
        }
        names.push(&visible.name);
    }
    None
}

/// The keys of one entry, as it was written for the requester with everything that is visible: of several values the
/// least (RFC 2891 section 2). A value that does not fit the syntax is as if it were not there.
pub fn keys_of(
    orders: &[Option<Order>],
    message: &[u8],
    limits: &Limits,
) -> Result<Box<[Option<Key>]>, DecodeError> {
    let mut keys: Vec<Option<Key>> = vec![None; orders.len()];
    let entry = EntryReader::read(message, limits)?;
    for attribute in entry.attributes() {
        let attribute = attribute?;
        let name = attribute.name.split(';').next().unwrap_or_default();
        for (order, key) in orders.iter().zip(&mut keys) {
            let Some(order) = order.as_ref().filter(|o| o.attribute.eq_ignore_ascii_case(name)) else {
                continue;
            };
            let least = attribute.values().filter_map(|value| Key::of(order.syntax, value)).min();
            *key = [key.take(), least].into_iter().flatten().min();
        }
    }
    Ok(keys.into_boxed_slice())
}

/// An entry with its keys: the operation part of its message.
#[derive(Debug)]
struct Gathered {
    keys: Box<[Option<Key>]>,
    body: Vec<u8>,
}

/// Entries gathered until all of them are there.
#[derive(Debug)]
pub struct Sorting {
    keys: Vec<SortKey>,
    /// Unsorted entries are of no use to the requester.
    pub critical: bool,
    gathered: Vec<Gathered>,
    bytes: usize,
}

impl Sorting {
    /// Nothing gathered yet.
    pub fn new(sort: &Sort, critical: bool) -> Sorting {
        Sorting { keys: sort.0.clone(), critical, gathered: Vec::new(), bytes: 0 }
    }

    /// The keys as `view` knows them, in order.
    pub fn orders(&self, view: &View) -> Vec<Option<Order>> {
        self.keys.iter().map(|key| Order::of(key, view)).collect()
    }

    /// Takes an entry in; false when that is more than `entries` or `bytes`. It is kept even then, so that none is lost.
    pub fn gather(
        &mut self,
        keys: Box<[Option<Key>]>,
        body: Vec<u8>,
        (entries, bytes): (usize, usize),
    ) -> bool {
        let held = keys.iter().flatten().map(size_of_key).sum::<usize>();
        self.bytes += OVERHEAD + body.len() + held;
        self.gathered.push(Gathered { keys, body });
        self.gathered.len() <= entries && self.bytes <= bytes
    }

    /// Everything in order; what orders alike stays as it came.
    pub fn sorted(mut self) -> Vec<Vec<u8>> {
        let keys = &self.keys;
        self.gathered.sort_by(|a, b| compare(keys, &a.keys, &b.keys));
        self.gathered.into_iter().map(|gathered| gathered.body).collect()
    }

    /// Everything as it came.
    pub fn unsorted(self) -> Vec<Vec<u8>> {
        self.gathered.into_iter().map(|gathered| gathered.body).collect()
    }
}

fn size_of_key(key: &Key) -> usize {
    match key {
        Key::Text(text) => text.len(),
        Key::Bytes(bytes) => bytes.len(),
        Key::Number(_) | Key::Time(..) => 0,
    }
}

/// An entry without the key is larger than all that have it, and so comes last, or first in reverse (RFC 2891 section 2).
fn compare(keys: &[SortKey], a: &[Option<Key>], b: &[Option<Key>]) -> Ordering {
    for (key, (a, b)) in keys.iter().zip(a.iter().zip(b)) {
        let order = match (a, b) {
            (Some(a), Some(b)) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        let order = if key.reverse { order.reverse() } else { order };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ldap::codec;
    use crate::ldap::entry::{Attribute, Entry};
    use crate::ldap::message::{Message, Operation};

    fn key(attribute: &str, rule: Option<&str>, reverse: bool) -> SortKey {
        SortKey { attribute: attribute.to_owned(), rule: rule.map(str::to_owned), reverse }
    }

    fn message(dn: &str, attributes: &[(&str, &[&str])]) -> Vec<u8> {
        let attributes = attributes
            .iter()
            .map(|(name, values)| Attribute {
                description: (*name).to_owned(),
                values: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
            })
            .collect();
        let entry = Entry { dn: dn.to_owned(), attributes };
        codec::to_bytes(&Message::new(1, Operation::SearchEntry(entry.as_wire())))
    }

    /// The names of `entries` in the order of `keys`.
    fn order_of(keys: Vec<SortKey>, entries: &[Vec<u8>]) -> Vec<String> {
        let view = View::new(["cn", "sn", "mail", "userAccountControl", "createTimestamp", "entryUUID"]);
        let mut sorting = Sorting::new(&Sort(keys), false);
        let orders = sorting.orders(&view);
        for entry in entries {
            let keys = keys_of(&orders, entry, &Limits::from_directory()).unwrap();
            assert!(sorting.gather(keys, entry.clone(), (100, 1 << 20)));
        }
        let name =
            |message: &Vec<u8>| EntryReader::read(message, &Limits::from_directory()).unwrap().dn.to_owned();
        sorting.sorted().iter().map(name).collect()
    }

    #[test]
    fn order_is_by_prepared_values_then_as_it_came() {
        let entries = [
            message("cn=1", &[("sn", &["Smith"]), ("userAccountControl", &["9"])]),
            message("cn=2", &[("sn", &["adams"]), ("userAccountControl", &["10"])]),
            message("cn=3", &[("userAccountControl", &["-1"])]),
            message("cn=4", &[("sn", &["  SMITH "]), ("userAccountControl", &["512"])]),
            message("cn=5", &[("sn", &["Zeta", "Baker"]), ("userAccountControl", &["nonsense"])]),
        ];
        assert_eq!(
            order_of(vec![key("sn", None, false)], &entries),
            ["cn=2", "cn=5", "cn=1", "cn=4", "cn=3"]
        );
        assert_eq!(
            order_of(vec![key("surname", None, true)], &entries),
            ["cn=3", "cn=1", "cn=4", "cn=5", "cn=2"]
        );
        assert_eq!(
            order_of(vec![key("userAccountControl", None, false)], &entries),
            ["cn=3", "cn=1", "cn=2", "cn=4", "cn=5"]
        );
        assert_eq!(
            order_of(vec![key("sn", None, false), key("userAccountControl", None, true)], &entries),
            ["cn=2", "cn=5", "cn=4", "cn=1", "cn=3"]
        );
        assert_eq!(
            order_of(vec![key("sn", Some("caseExactOrderingMatch"), false)], &entries),
            ["cn=5", "cn=4", "cn=1", "cn=2", "cn=3"]
        );
    }

    #[test]
    fn t06_hidden_and_unknown_keys_are_one_constant() {
        let view = View::new(["cn", "sn", "manager", "jpegPhoto"]);
        let code = |keys: Vec<SortKey>| impossible(&Sort(keys), &[&view], 4).map(|answer| answer.code);
        let hidden = code(vec![key("employeeNumber", None, false)]);
        assert_eq!(hidden, Some(ResultCode::NO_SUCH_ATTRIBUTE));
        assert_eq!(code(vec![key("nonsense", None, false)]), hidden);
        assert_eq!(code(vec![key("sn", Some("2.5.13.3"), false)]), None);
        for rule in ["2.5.13.15", "caseIgnoreMatch", "1.2.840.113556.1.4.1499"] {
            let wrong = code(vec![key("sn", Some(rule), false)]);
            assert_eq!(wrong, Some(ResultCode::INAPPROPRIATE_MATCHING), "{rule}");
            let wrong = code(vec![key("employeeNumber", Some(rule), false)]);
            assert_eq!(wrong, hidden, "a rule tells nothing of a hidden attribute");
        }
        assert_eq!(code(vec![key("manager", None, false)]), Some(ResultCode::INAPPROPRIATE_MATCHING));
        assert_eq!(code(vec![key("jpegPhoto", None, false)]), Some(ResultCode::INAPPROPRIATE_MATCHING));
        let twice = vec![key("sn", None, false), key("2.5.4.4", None, true)];
        assert_eq!(code(twice), Some(ResultCode::UNWILLING_TO_PERFORM));
        let many = (0..5).map(|_| key("sn", None, false)).collect();
        assert_eq!(code(many), Some(ResultCode::UNWILLING_TO_PERFORM));
    }

    #[test]
    fn what_is_gathered_is_bounded() {
        let mut sorting = Sorting::new(&Sort(vec![key("sn", None, false)]), true);
        let none = || vec![None].into_boxed_slice();
        assert!(sorting.gather(none(), vec![0; 10], (2, 1_000)));
        assert!(sorting.gather(none(), vec![0; 10], (2, 1_000)));
        assert!(!sorting.gather(none(), vec![0; 10], (2, 1_000)), "one entry too many");
        let mut sorting = Sorting::new(&Sort(vec![key("sn", None, false)]), true);
        assert!(!sorting.gather(none(), vec![0; 1_000], (2, 1_000)), "too many bytes");
        assert_eq!(sorting.unsorted().len(), 1);
    }
}
