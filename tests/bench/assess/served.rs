//! What a directory is to the server that serves it: objects by number, and how it takes those who ask.

use std::borrow::Cow;

use portcullis::assess::probes::descriptor::sid_bytes;
use portcullis::ldap::filter::{Assertion, Filter, Substrings};
use portcullis::ldap::message::{ResultCode, Search};

/// The values of an attribute.
pub type Values = Vec<Cow<'static, [u8]>>;

/// The bitwise AND of [MS-ADTS] section 3.1.1.3.4.4.1.
const BIT_AND: &str = "1.2.840.113556.1.4.803";

/// A directory that can be asked.
pub trait Served: Send + Sync + 'static {
    /// How many objects there are; each has a number below.
    fn len(&self) -> usize;

    fn dn(&self, at: usize) -> String;

    /// The values of an attribute, by its name in lower case.
    fn values(&self, at: usize, name: &str) -> Values;

    /// The naming contexts, in lower case: a search ends where another begins.
    fn contexts(&self) -> Vec<String>;

    /// What the root DSE says.
    fn root(&self) -> Vec<(String, Values)>;

    /// How a simple bind ends.
    fn bind(&self, name: &str, password: &[u8]) -> ResultCode;

    /// Whether somebody who did not bind is answered below the root DSE.
    fn answers_anybody(&self) -> bool;

    /// An attribute as the answer names it, asked for as `wanted` (`name` in lower case), and its values.
    fn attribute<'w>(&self, at: usize, wanted: &'w str, name: &str) -> (Cow<'w, str>, Values) {
        (wanted.into(), self.values(at, name))
    }

    /// Values that are DNs, with the SID before each where the object has one ([MS-ADTS] section 3.1.1.3.4.1.5).
    fn extended(&self, values: Values) -> Values {
        values
    }

    /// What goes wrong with a page of a search from this entry on: how many entries still come, and how it ends then.
    fn trouble(&self, _search: &Search<'_>, _from: usize) -> Option<(usize, ResultCode)> {
        None
    }

    /// Whether the object matches a filter.
    fn matches(&self, at: usize, filter: &Filter<'_>) -> bool {
        match filter {
            Filter::And(parts) => parts.iter().all(|part| self.matches(at, part)),
            Filter::Or(parts) => parts.iter().any(|part| self.matches(at, part)),
            Filter::Not(part) => !self.matches(at, part),
            Filter::Present(name) if name.eq_ignore_ascii_case("objectClass") => true,
            Filter::Present(name) => !self.values(at, &name.to_lowercase()).is_empty(),
            Filter::Equality(Assertion { attribute, value }) => {
                let name = attribute.to_lowercase();
                let named = |found: &[u8]| match name.as_str() {
                    // a class may stand for the DN of its category
                    "objectcategory" => {
                        found.get(3..3 + value.len()).is_some_and(|c| c.eq_ignore_ascii_case(value))
                    }
                    _ => found.eq_ignore_ascii_case(value),
                };
                self.values(at, &name).iter().any(|found| named(found))
            }
            Filter::Substrings(wanted) => {
                let name = wanted.attribute.to_lowercase();
                self.values(at, &name).iter().any(|found| holds(found, wanted))
            }
            Filter::Extensible(rule) if rule.rule.as_deref() == Some(BIT_AND) => {
                let name = rule.attribute.as_deref().unwrap_or_default().to_lowercase();
                let number = |bytes: &[u8]| String::from_utf8_lossy(bytes).parse::<i64>().unwrap_or(0);
                let mask = number(&rule.value);
                self.values(at, &name).iter().any(|found| number(found) & mask == mask)
            }
            _ => false,
        }
    }

    /// The DN that a base stands for, in lower case: `<SID=...>` is the object with that SID ([MS-ADTS] section 3.1.1.3.1.2.4).
    fn place(&self, base: &str) -> String {
        let base = base.to_lowercase();
        let sid = base.strip_prefix("<sid=").and_then(|rest| rest.strip_suffix('>'));
        let Some(sid) = sid.and_then(|sid| sid_bytes(&sid.to_uppercase())) else { return base };
        let is_it = |at: &usize| self.values(*at, "objectsid").iter().any(|found| **found == *sid);
        (0..self.len()).find(is_it).map_or(base, |at| self.dn(at).to_lowercase())
    }

    /// Whether the object is in the scope of a search from `base`, which is in lower case: 0 base, 1 one, 2 subtree.
    fn is_within(&self, at: usize, base: &str, scope: i32) -> bool {
        let dn = self.dn(at).to_lowercase();
        let Some(above) = dn.strip_suffix(base) else { return false };
        let deep = match scope {
            0 => above.is_empty(),
            1 => above.matches(',').count() == 1 && above.ends_with(','),
            _ => above.is_empty() || above.ends_with(','),
        };
        let contexts = self.contexts();
        let context = |dn: &str| contexts.iter().filter(|one| dn.ends_with(*one)).map(String::len).max();
        deep && context(&dn) == context(base)
    }
}

/// Whether the parts follow each other in the value.
fn holds(found: &[u8], wanted: &Substrings<'_>) -> bool {
    let found = found.to_ascii_lowercase();
    let mut rest = found.as_slice();
    if let Some(initial) = &wanted.initial {
        let Some(after) = rest.strip_prefix(initial.to_ascii_lowercase().as_slice()) else { return false };
        rest = after;
    }
    for part in &wanted.any {
        let part = part.to_ascii_lowercase();
        let Some(at) = rest.windows(part.len()).position(|window| window == part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    wanted.last.as_ref().is_none_or(|last| rest.ends_with(&last.to_ascii_lowercase()))
}
