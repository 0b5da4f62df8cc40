//! Names of entries, and the order of renames: a name is freed before it is taken, and a circle is opened by giving one
//! entry a name for the time being.

use std::collections::BTreeMap;

use crate::ldap::attribute::canonical_name;
use crate::ldap::dn::{Dn, Part, Rdn, Value};
use crate::sync::people::desired::NAMING;
use crate::sync::terms::guid::Guid;

/// `uid=NAME,BASE`.
pub fn dn(name: &str, base: &Dn) -> String {
    // the naming attribute is a type and no name is empty
    base.child(NAMING, name).map(|dn| dn.to_string()).unwrap_or_default()
}

/// The name that a person's entry has here; none when it lies elsewhere, or has one that we gave it for the time being.
pub fn own(dn: &str, base: &Dn) -> Option<String> {
    let own = Dn::parse(dn).ok()?.rdn()?.text()?.to_owned();
    (!own.contains(':') && key(&self::dn(&own, base)) == key(dn)).then_some(own)
}

/// Whether the entry's own name is its account name and nothing else, as we give it: then writing any other attribute leaves the name alone.
pub fn is_plain(dn: &str) -> bool {
    let dn = Dn::parse(dn).ok();
    let parts = dn.as_ref().and_then(Dn::rdn).map(Rdn::parts);
    matches!(parts, Some([part]) if canonical_name(&part.attribute) == NAMING)
}

/// The rule of a rename that taking somebody out of sight waits for until the next plan.
pub const RENAME_FIRST: &str = "rename_first";

/// Whether an entry is named by what these values of an attribute, lower case, would take away: a directory refuses that.
pub fn is_named_by(dn: &str, attribute: &str, after: &[String]) -> bool {
    let dn = Dn::parse(dn).ok();
    let parts = dn.as_ref().and_then(Dn::rdn).map(Rdn::parts).unwrap_or_default();
    let stays = |part: &Part| match &part.value {
        Value::Text(text) => after.iter().any(|one| one.to_lowercase() == text.to_lowercase()),
        Value::Bytes(_) | Value::Ber(_) => false,
    };
    let attribute = canonical_name(attribute);
    parts.iter().any(|part| canonical_name(&part.attribute) == attribute && !stays(part))
}

/// Whether a name lies directly below this base.
pub fn is_directly_below(dn: &str, base: &Dn) -> bool {
    Dn::parse(dn).ok().and_then(|dn| dn.parent()).is_some_and(|parent| parent.normal() == base.normal())
}

/// The name of the entry that this one lies below, in the form that names are compared by.
pub fn parent_key(dn: &str) -> Option<String> {
    Some(Dn::parse(dn).ok()?.parent()?.normal())
}

/// The organisational unit below `everywhere` that a name lies in, lower case.
pub fn unit(dn: &str, everywhere: &Dn) -> Option<String> {
    let below = Dn::parse(dn).ok()?.strip_suffix(everywhere)?;
    below.rdns().last()?.text().map(str::to_lowercase)
}

/// The form that two names are compared by.
pub fn key(dn: &str) -> String {
    Dn::parse(dn).map(|dn| dn.normal()).unwrap_or_else(|_| dn.to_lowercase())
}

/// The name of a leaver whose own name is wanted by somebody else. No account name may hold a colon.
pub fn leaver(guid: &Guid) -> String {
    format!("left:{guid}")
}

/// The name of an entry between two names, or of one whose own name is not free.
pub fn between(guid: &Guid) -> String {
    format!("moving:{guid}")
}

/// One entry that is to have another name, by its GUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Key of the name that it has.
    pub from: String,
    /// Key of the name that it is to have.
    pub to: String,
}

/// One rename to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub guid: Guid,
    /// To the name between two names, not yet to the one wished for.
    pub aside: bool,
    /// The turn that frees the name taken by this one, by number.
    pub after: Option<usize>,
}

/// Orders `wishes` so that no turn takes a name that is still in use. Names wished for are unique and either free or held
/// by an entry that has a wish itself. At most one turn per entry, and one more per circle.
pub fn order(wishes: &BTreeMap<Guid, Wish>) -> Vec<Turn> {
    let holder: BTreeMap<&str, Guid> =
        wishes.iter().map(|(guid, wish)| (wish.from.as_str(), *guid)).collect();
    let wanter: BTreeMap<&str, Guid> = wishes.iter().map(|(guid, wish)| (wish.to.as_str(), *guid)).collect();
    let mut turns: Vec<Turn> = Vec::new();
    let mut done: BTreeMap<Guid, usize> = BTreeMap::new();
    // from every free name backwards along whoever waits for the name that just became free
    for (guid, wish) in wishes {
        if !holder.contains_key(wish.to.as_str()) {
            follow(*guid, None, wishes, &wanter, &mut turns, &mut done);
        }
    }
    for (guid, wish) in wishes {
        if done.contains_key(guid) {
            continue;
        }
        let aside = turns.len();
        turns.push(Turn { guid: *guid, aside: true, after: None });
        if let Some(next) = wanter.get(wish.from.as_str()) {
            follow(*next, Some(aside), wishes, &wanter, &mut turns, &mut done);
        }
    }
    turns
}

fn follow(
    first: Guid,
    after: Option<usize>,
    wishes: &BTreeMap<Guid, Wish>,
    wanter: &BTreeMap<&str, Guid>,
    turns: &mut Vec<Turn>,
    done: &mut BTreeMap<Guid, usize>,
) {
    let (mut at, mut after) = (first, after);
    loop {
        if done.contains_key(&at) {
            return;
        }
        let number = turns.len();
        turns.push(Turn { guid: at, aside: false, after });
        done.insert(at, number);
        let Some(next) = wishes.get(&at).and_then(|wish| wanter.get(wish.from.as_str())) else { return };
        (at, after) = (*next, Some(number));
    }
}
