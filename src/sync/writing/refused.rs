//! Values that the national directory did not take: a telephone number of another syntax, two values that it takes for one. One such value
//! would keep everything else of its person from being written, in every run. The attribute is held back instead, until it has another value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::ldap::message::ResultCode;
use crate::sync::keeping::shelf::Shelf;
use crate::sync::people::desired::{Desired, NAMING, SURNAME, stamp};
use crate::sync::terms::error::SyncError;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::settings::{Origin, Scope};
use crate::sync::terms::step::{Change, Plan};
use crate::sync::terms::target::{ANCHOR, LEFT_AT, MEMBER, STAMP, TargetEntry};
use crate::sync::writing::execute::{Executed, Undone};

/// Why an attribute is held back.
pub const CODE: &str = "refused";
/// Key in a member's sync state, JSON.
pub const KEY: &str = "refused";
/// After that it is tried again: what the national directory takes may have changed, or who had the value first.
const TRIED_AGAIN: Duration = Duration::DAY;
/// Attributes of all people of a member that are remembered: more is a fault of the schema or the mapping, not of values.
const MOST: usize = 100_000;
/// Answers that are about values (RFC 4511 appendix A.2).
const ABOUT_VALUES: [ResultCode; 6] = [
    ResultCode::UNDEFINED_ATTRIBUTE_TYPE,
    ResultCode::CONSTRAINT_VIOLATION,
    ResultCode::ATTRIBUTE_OR_VALUE_EXISTS,
    ResultCode::INVALID_ATTRIBUTE_SYNTAX,
    ResultCode::OBJECT_CLASS_VIOLATION,
    ResultCode::OTHER,
];
/// Those that are about a value even when no attribute is named.
const SURELY: [ResultCode; 3] = [
    ResultCode::CONSTRAINT_VIOLATION,
    ResultCode::ATTRIBUTE_OR_VALUE_EXISTS,
    ResultCode::INVALID_ATTRIBUTE_SYNTAX,
];
/// Without these there is no entry.
const NEEDED: [&str; 3] = [NAMING, SURNAME, "cn"];
/// Our own, and what nothing is without.
const NEVER: [&str; 6] = [ANCHOR, MEMBER, STAMP, LEFT_AT, NAMING, "objectclass"];

/// What was refused of a member's people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused(BTreeMap<Guid, BTreeMap<String, Refusal>>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Refusal {
    /// SHA-256 of the values.
    values: String,
    code: u32,
    /// Seconds since 1970.
    at: i64,
}

/// An attribute that is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// None: no entry can be made without it and there is none, or it says how the person is listed.
    pub attribute: Option<String>,
    /// One sentence, says what to do.
    pub text: String,
}

fn hash(name: &str, values: &[String]) -> String {
    let mut values = values.to_vec();
    values.sort();
    stamp(&BTreeMap::from([(name.to_owned(), values)]))
}

/// The attribute that a refusal is about: the one that the server names, or the only one there is.
fn culprit<'a>(changes: &'a [Change], code: ResultCode, text: &str) -> Option<&'a Change> {
    // only of several values can two be one
    let least = if code == ResultCode::ATTRIBUTE_OR_VALUE_EXISTS { 2 } else { 1 };
    let mut gives = changes
        .iter()
        .filter(|change| change.after.len() >= least && !NEVER.contains(&change.attribute.as_str()));
    let text = text.to_lowercase();
    let named = |change: &&Change| {
        let name = &change.attribute;
        [format!("'{name}'"), format!("\"{name}\"")].iter().any(|quoted| text.contains(quoted))
            || text.split_whitespace().any(|word| word.strip_suffix(':') == Some(name))
            || text.ends_with(&format!(" on {name}"))
    };
    let mut told = gives.clone().filter(named);
    match (told.next(), told.next()) {
        (Some(one), None) => Some(one),
        // a server's own trouble is nobody's value
        (None, _) if !SURELY.contains(&code) => None,
        (None, _) => gives.next().filter(|_| gives.next().is_none()),
        _ => None,
    }
}

impl Refused {
    /// Takes out of a wish what would be refused once more. What the entry has instead stays.
    pub fn withhold(
        &self,
        guid: &Guid,
        wish: &mut Desired,
        entry: Option<&TargetEntry>,
        scope: &Scope,
    ) -> Vec<Withheld> {
        let mut withheld = Vec::new();
        let level = scope.levels.as_ref().map(|levels| Origin::Local(levels.attribute.clone()));
        for (name, refusal) in self.0.get(guid).into_iter().flatten() {
            let wanted = wish.attributes.get(name);
            if wanted.is_none_or(|wanted| hash(name, wanted) != refusal.values) {
                continue;
            }
            let kept = entry.map(|entry| entry.values(name)).unwrap_or_default();
            if kept.is_empty() {
                wish.attributes.remove(name);
            } else {
                wish.attributes.insert(name.clone(), kept.to_vec());
            }
            // without the word that says how somebody is listed an entry lists them like everybody
            let tells = level.is_some() && scope.attributes.get(name) == level.as_ref();
            let needed = tells || (kept.is_empty() && NEEDED.contains(&name.as_str()));
            withheld.push(Withheld {
                attribute: (!needed).then(|| name.clone()),
                text: format!(
                    "the national directory does not take what `{name}` is to be, {}: correct it in the member directory, or have the national schema changed; it is tried again when it changes, and once a day",
                    ResultCode(refusal.code)
                ),
            });
        }
        withheld
    }

    fn add(&mut self, guid: Guid, change: &Change, code: u32, now: OffsetDateTime) -> bool {
        let values = hash(&change.attribute, &change.after);
        let refusal = Refusal { values, code, at: now.unix_timestamp() };
        let before = self.0.entry(guid).or_default().insert(change.attribute.clone(), refusal.clone());
        before.is_none_or(|before| before.values != refusal.values)
    }

    /// Without what is to be tried again.
    #[must_use]
    pub fn still(mut self, now: OffsetDateTime) -> Refused {
        let oldest = (now - TRIED_AGAIN).unix_timestamp();
        for names in self.0.values_mut() {
            // a clock that was set back forgets as well
            names.retain(|_, refusal| (oldest + 1..=now.unix_timestamp()).contains(&refusal.at));
        }
        self.0.retain(|_, names| !names.is_empty());
        self
    }

    fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Takes in what a plan was refused. What is held back from now on is no longer told as not done; tells whether there is any.
    pub fn take_in(&mut self, plan: &Plan, executed: &mut Executed, now: OffsetDateTime) -> bool {
        let mut found = Vec::new();
        let mut room = MOST.saturating_sub(self.len());
        let mut is_about = |undone: &Undone| {
            let Some(code) = undone.code.filter(|code| ABOUT_VALUES.contains(&ResultCode(*code))) else {
                return false;
            };
            let Some(step) = plan.steps.get(undone.step) else { return false };
            let (Some(anchor), Some(change)) =
                (&step.anchor, culprit(&step.changes, ResultCode(code), &undone.text))
            else {
                return false;
            };
            if room == 0 {
                return false;
            }
            room -= 1;
            found.push((anchor.guid, change.clone(), code));
            true
        };
        let (about, mut others): (Vec<Undone>, Vec<Undone>) =
            std::mem::take(&mut executed.undone).into_iter().partition(|undone| is_about(undone));
        let mut new = false;
        for (guid, change, code) in found {
            new |= self.add(guid, &change, code, now);
        }
        if new && others.iter().all(|undone| undone.code.is_none()) {
            // they waited for those alone
            others.clear();
        }
        if !new {
            others.extend(about);
        }
        executed.undone = others;
        new
    }
}

/// What is known of it.
pub async fn known(shelf: &Shelf) -> Result<Refused, SyncError> {
    Ok(shelf.json::<Refused>(KEY).await?.unwrap_or_default().still(shelf.now()))
}

/// Remembers what a plan was refused; tells whether the next plan holds anything more back for it.
pub async fn note(shelf: &Shelf, plan: &Plan, executed: &mut Executed) -> Result<bool, SyncError> {
    if executed.undone.is_empty() {
        return Ok(false);
    }
    let mut known = known(shelf).await?;
    if !known.take_in(plan, executed, shelf.now()) {
        return Ok(false);
    }
    let document = serde_json::to_vec(&known).map_err(|error| SyncError::Internal(error.to_string()))?;
    shelf.set(vec![(KEY.to_owned(), Some(document))]).await?;
    Ok(true)
}
