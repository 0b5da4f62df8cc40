//! Why a person is there, missing or different in the national directory: pure, over what is known of the member and what the
//! national directory holds. It decides nothing itself: it asks the same functions that plan.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use time::OffsetDateTime;

use crate::ldap::dn::Dn;
use crate::ldap::filter::Filter;
use crate::ldap::truth::{Truth, evaluate};
use crate::policy::scope;
use crate::policy::terms::OdsCode;
use crate::sync::hand::look::{Look, Seen, local_dn};
use crate::sync::people::desired::{self, Desired, Fate, NAMING, NOT_PUBLISHED};
use crate::sync::people::difference::{Ownership, PUBLISHABLE};
use crate::sync::people::naming;
use crate::sync::planning::input::{Beside, Input};
use crate::sync::planning::plan::plan;
use crate::sync::running::ledger::{Aged, age};
use crate::sync::terms::guid::Guid;
use crate::sync::terms::settings::{Origin, Scope};
use crate::sync::terms::staged::Object;
use crate::sync::terms::step::{Change, Plan};
use crate::sync::terms::target::{ANCHOR, Anchor, LEFT_AT, MEMBER, STAMP, TargetEntry, TargetView};

/// Who is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    Anchor(Anchor),
    Guid(Guid),
    /// A local or a national name.
    Dn(String),
    Mail(String),
    Account(String),
}

impl Who {
    /// What the text is by its form.
    pub fn of(text: &str) -> Who {
        let text = text.trim();
        if let Some(anchor) = Anchor::parse(text) {
            return Who::Anchor(anchor);
        }
        match (text.parse(), text.contains('='), text.contains('@')) {
            (Ok(guid), ..) => Who::Guid(guid),
            (_, true, _) => Who::Dn(naming::key(text)),
            (_, _, true) => Who::Mail(text.to_lowercase()),
            _ => Who::Account(text.to_lowercase()),
        }
    }

    /// What it is taken for.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Who::Anchor(_) => "anchor",
            Who::Guid(_) => "GUID",
            Who::Dn(_) => "name (DN)",
            Who::Mail(_) => "mail",
            Who::Account(_) => "account name",
        }
    }
}

/// Which national entries may be who is meant; none when the name says where.
pub fn filter(who: &Who, members: &[OdsCode]) -> Option<Filter<'static>> {
    let equal = |name: &'static str, value: String| Filter::equal(name, value.into_bytes());
    let anchor =
        |member: &OdsCode, guid: Guid| equal(ANCHOR, Anchor { member: member.clone(), guid }.to_string());
    match who {
        Who::Anchor(one) => Some(anchor(&one.member, one.guid)),
        Who::Guid(guid) => Some(Filter::Or(members.iter().map(|member| anchor(member, *guid)).collect())),
        Who::Mail(mail) => Some(equal("mail", mail.clone())),
        Who::Account(name) => Some(equal(NAMING, name.clone())),
        Who::Dn(_) => None,
    }
}

/// One condition of being published, in the order in which they are asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub rule: &'static str,
    pub passed: bool,
    /// One sentence.
    pub text: String,
}

/// Somebody else with the same name or mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    pub attribute: String,
    pub value: String,
    /// Who else: an anchor, or the name of a national entry that is nobody's.
    pub holder: String,
    /// Whether that is how the member directory has it, or the national one.
    pub place: &'static str,
}

/// Whose an attribute is, and what it is and should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owned {
    pub attribute: String,
    pub owner: String,
    pub wanted: Vec<String>,
    pub is: Vec<String>,
}

/// One person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Person {
    pub anchor: Anchor,
    pub local_dn: Option<String>,
    /// `published`, `to_publish`, `held`, `leaves`, `left`, `not_published`, or `unknown` when the national directory was not seen.
    pub verdict: &'static str,
    /// One sentence.
    pub because: String,
    /// Whether the member directory has the person, as it was read last.
    pub staged: bool,
    pub deleted: bool,
    pub disabled: bool,
    /// The local attributes that count.
    pub source: BTreeMap<String, Vec<String>>,
    pub scope: Option<String>,
    pub path: Vec<Check>,
    pub quarantine: Vec<Aged>,
    pub conflicts: Vec<Conflict>,
    /// Its national entry as it is now; none when there is none, or when none could be looked for.
    pub entry: Option<TargetEntry>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub left_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub deleted_at: Option<OffsetDateTime>,
    pub attributes: Vec<Owned>,
    /// What the next run would change, if nothing holds it.
    pub steps: Vec<Pending>,
}

/// A step that would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pending {
    pub action: &'static str,
    pub reason: String,
    pub rule: String,
    pub to: Option<String>,
    pub changes: Vec<Change>,
}

/// A national entry of the member's that fits and is nobody's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unowned {
    pub dn: String,
    pub text: &'static str,
}

/// What one member has to say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Findings {
    pub people: Vec<Person>,
    pub unowned: Vec<Unowned>,
}

/// Whether the object is who is meant.
pub fn fits(who: &Who, look: &Look, object: &Object) -> bool {
    let any = |name: &str, wanted: &str| {
        object.attributes.get(name).is_some_and(|values| values.iter().any(|v| v.to_lowercase() == wanted))
    };
    let mapped = |national: &str| match look.scope.as_ref().ok()?.1.attributes.get(national)? {
        Origin::Local(local) => Some(local.clone()),
        Origin::Constant(_) => None,
    };
    match who {
        Who::Anchor(anchor) => anchor.member == look.member && anchor.guid == object.guid,
        Who::Guid(guid) => *guid == object.guid,
        Who::Mail(mail) => any("mail", mail) || mapped("mail").is_some_and(|name| any(&name, mail)),
        Who::Account(name) => {
            any("samaccountname", name) || mapped(NAMING).is_some_and(|local| any(&local, name))
        }
        Who::Dn(dn) => {
            let mut find = |guid: &Guid| look.staged.get(guid).cloned();
            // the own name first: the tree is climbed for those alone that can be it
            let own = Dn::parse(&object.rdn).ok().and_then(|own| own.rdn().map(|r| r.normal().to_owned()));
            let first = Dn::parse(dn).ok().and_then(|dn| dn.rdn().map(|rdn| rdn.normal().to_owned()));
            own.is_some()
                && own == first
                && local_dn(&mut find, &object.guid, &look.source_base)
                    .is_some_and(|local| naming::key(&local) == *dn)
        }
    }
}

fn is_entry(who: &Who, entry: &TargetEntry) -> bool {
    match who {
        Who::Anchor(anchor) => entry.anchor().as_ref() == Some(anchor),
        Who::Guid(guid) => entry.anchor().is_some_and(|anchor| anchor.guid == *guid),
        Who::Dn(dn) => naming::key(&entry.dn) == *dn,
        Who::Mail(mail) => entry.values("mail").iter().any(|one| one.to_lowercase() == *mail),
        Who::Account(name) => entry.values(NAMING).iter().any(|one| one.to_lowercase() == *name),
    }
}

/// Everything that fits in one member. `seen` is none when the national directory could not be seen.
pub fn explain(
    who: &Who,
    look: &Look,
    seen: Option<Seen>,
    beside: Beside,
    national: &BTreeSet<String>,
    now: OffsetDateTime,
) -> Findings {
    let is_person = |object: &Object| object.is_a("user") || object.partial;
    let mut guids: BTreeSet<Guid> = look
        .staged
        .objects()
        .filter(|object| is_person(object) && fits(who, look, object))
        .map(|object| object.guid)
        .collect();
    let mut found = Findings::default();
    let (view, elsewhere) = match seen {
        Some(Seen { view, elsewhere }) => (Some(view), elsewhere),
        None => (None, Vec::new()),
    };
    let beside = Beside { elsewhere, ..beside };
    for entry in view.iter().flat_map(|view| &view.entries).filter(|entry| is_entry(who, entry)) {
        match entry.person(&look.member) {
            Some(guid) => {
                guids.insert(guid);
            }
            _ => found.unowned.push(Unowned {
                dn: entry.dn.clone(),
                text: "has no anchor of this member: it was there before, or is somebody else's",
            }),
        }
    }
    if guids.is_empty() {
        return found;
    }
    let planned = view.as_ref().zip(look.scope.as_ref().ok()).map(|(view, (_, scope))| {
        plan(&Input {
            member: &look.member,
            base: &look.base,
            staged: &look.staged,
            whole: look.whole,
            told: look.told,
            scope,
            bases: look.bases.as_ref(),
            target: view,
            national,
            beside: &beside,
            now,
        })
    });
    let elsewhere = &beside.elsewhere;
    let ground = Ground { look, view: view.as_ref(), elsewhere, planned: planned.as_ref(), national, now };
    found.people = guids.iter().map(|guid| ground.person(guid)).collect();
    found
}

const UNSEEN_TOLD: &str = "a complete pass did not bring it any more, though no deletion of it was told: may our account still read it?";
const GONE_TOLD: &str = "was deleted in the member directory, or a complete pass did not bring it any more";

/// What one person is explained by.
struct Ground<'a> {
    look: &'a Look,
    view: Option<&'a TargetView>,
    elsewhere: &'a [TargetEntry],
    planned: Option<&'a Plan>,
    national: &'a BTreeSet<String>,
    now: OffsetDateTime,
}

impl<'a> Ground<'a> {
    /// Here first, then elsewhere.
    fn entries(&self) -> impl Iterator<Item = &'a TargetEntry> {
        self.view.into_iter().flat_map(|view| &view.entries).chain(self.elsewhere)
    }

    fn person(&self, guid: &Guid) -> Person {
        let look = self.look;
        let object = look.staged.get(guid);
        let entry = self.entries().find(|entry| entry.person(&look.member) == Some(*guid));
        let scope = look.scope.as_ref().ok().map(|(_, scope)| scope);
        let fate = object.zip(scope).map(|(object, scope)| {
            let alone = crate::sync::terms::staged::Staged::of(self.line(object));
            let mut wanted = desired::desired(&look.member, &alone, scope, look.bases.as_ref());
            (wanted.fates.remove(guid), wanted.quarantine)
        });
        let (fate, alone) = fate.unwrap_or_default();
        let held: Vec<_> = match self.planned {
            Some(plan) => plan.quarantine.iter().filter(|one| one.guid == *guid).cloned().collect(),
            None => alone.into_iter().filter(|one| one.guid == *guid).collect(),
        };
        let quarantine = age(&look.quarantine, &held, self.now);
        let steps = self.steps(guid);
        let wish = match &fate {
            Some(Fate::Publish(wish)) => Some(wish),
            _ => None,
        };
        let whole_held = quarantine.iter().find(|one| one.held.attribute.is_none());
        let (verdict, because) =
            verdict(object, fate.as_ref(), whole_held, entry, self.view.is_some(), look.whole);
        let mut find = |guid: &Guid| look.staged.get(guid).cloned();
        let left_at = entry.and_then(TargetEntry::left_at);
        Person {
            anchor: Anchor { member: look.member.clone(), guid: *guid },
            local_dn: object.and_then(|_| local_dn(&mut find, guid, &look.source_base)),
            verdict,
            because,
            staged: object.is_some(),
            deleted: object.is_some_and(|object| object.deleted),
            disabled: object.is_some_and(Object::is_disabled),
            source: object.zip(scope).map(|(object, scope)| source(object, scope)).unwrap_or_default(),
            scope: look.scope.as_ref().ok().map(|(id, _)| id.clone()),
            path: object.map(|object| self.path(object)).unwrap_or_default(),
            quarantine,
            conflicts: wish.map(|wish| self.conflicts(guid, wish)).unwrap_or_default(),
            left_at,
            deleted_at: left_at.zip(scope).map(|(at, scope)| at + scope.keep),
            attributes: scope.map(|scope| self.owned(scope, wish, entry)).unwrap_or_default(),
            entry: entry.cloned(),
            steps,
        }
    }

    /// The object and what is above it: all that deciding about it needs.
    fn line(&self, object: &Object) -> Vec<Object> {
        let mut line = vec![object.clone()];
        while let Some(above) =
            line.last().and_then(|last| last.parent).and_then(|at| self.look.staged.get(&at))
        {
            if line.iter().any(|one| one.guid == above.guid) {
                break;
            }
            line.push(above.clone());
        }
        line
    }

    fn steps(&self, guid: &Guid) -> Vec<Pending> {
        let mine = |plan: &&Plan| plan.steps.clone();
        self.planned
            .as_ref()
            .map(mine)
            .unwrap_or_default()
            .into_iter()
            .filter(|step| step.anchor.as_ref().is_some_and(|anchor| anchor.guid == *guid))
            .map(|step| Pending {
                action: step.action.as_str(),
                reason: step.reason,
                rule: step.rule,
                to: step.to,
                changes: step.changes,
            })
            .collect()
    }

    /// The conditions in the order of planning; the first that does not hold ends it.
    fn path(&self, object: &Object) -> Vec<Check> {
        let look = self.look;
        let mut path = Vec::new();
        let mut check = |rule, passed: bool, yes: &str, no: String| {
            let text = if passed { yes.to_owned() } else { no };
            path.push(Check { rule, passed, text });
            passed
        };
        let scope = match &look.scope {
            Ok((_, scope)) => scope,
            Err(why) => {
                check("scope", false, "", why.clone());
                return path;
            }
        };
        let below = || {
            let names = look.base_names.join(" | ");
            let is = look.bases.as_ref().is_none_or(|bases| look.staged.is_below(&object.guid, bases));
            (is, names)
        };
        let gone = if object.unseen { UNSEEN_TOLD } else { GONE_TOLD };
        let _ = check("there", !object.deleted, "is in the member directory", gone.to_owned())
            && {
                let level = scope.levels.as_ref().map(|levels| levels.attribute.as_str()).unwrap_or_default();
                check(
                    "listing",
                    !desired::is_not_published(object, scope),
                    "nothing says that the person is not to be published",
                    format!("is not to be published, as `{level}` says"),
                )
            }
            && check(
                "readable",
                !object.partial,
                "was read in full",
                "could not be read in full: check the account's rights on it".to_owned(),
            )
            && {
                let (is, names) = below();
                let yes = if names.is_empty() {
                    "no base limits the scope".to_owned()
                } else {
                    format!("lies below {names}")
                };
                check("base", is, &yes, format!("lies below none of the scope's bases: {names}"))
            }
            && check(
                "enabled",
                object.is_enabled() == Some(true),
                "the account is enabled",
                match object.is_disabled() {
                    true => "the account is disabled (userAccountControl)".to_owned(),
                    false => {
                        "whether the account is enabled (userAccountControl) could not be read".to_owned()
                    }
                },
            )
            && {
                let parts = failing(&scope.filter, object);
                check(
                    "filter",
                    object.matches(&scope.filter),
                    &format!("matches {}", scope.filter),
                    format!("does not match {}: {}", scope.filter, parts.join("; ")),
                )
            };
        path
    }

    fn conflicts(&self, guid: &Guid, wish: &Desired) -> Vec<Conflict> {
        let look = self.look;
        let mails: BTreeSet<String> =
            wish.attributes.get("mail").into_iter().flatten().map(|mail| mail.to_lowercase()).collect();
        let mut found = Vec::new();
        let mut add = |attribute: &str, value: &str, holder: String, place| {
            found.push(Conflict { attribute: attribute.into(), value: value.into(), holder, place });
        };
        for other in look.staged.objects().filter(|one| one.guid != *guid && one.is_a("user") && !one.deleted)
        {
            let anchor = || Anchor { member: look.member.clone(), guid: other.guid }.to_string();
            if other.first("samaccountname").is_some_and(|name| name.to_lowercase() == wish.name) {
                add(NAMING, &wish.name, anchor(), "member");
            }
            for mail in other.attributes.get("mail").into_iter().flatten() {
                if mails.contains(&mail.to_lowercase()) {
                    add("mail", mail, anchor(), "member");
                }
            }
        }
        let dn = naming::key(&naming::dn(&wish.name, &look.base));
        for entry in self.entries() {
            if entry.person(&look.member) == Some(*guid) {
                continue;
            }
            let holder = || entry.anchor().map_or_else(|| entry.dn.clone(), |anchor| anchor.to_string());
            if naming::key(&entry.dn) == dn {
                add(NAMING, &wish.name, holder(), "national");
            }
            let numbers = wish.attributes.get("employeenumber").map(Vec::as_slice).unwrap_or_default();
            for number in entry.values("employeenumber").iter().filter(|one| numbers.contains(one)) {
                add("employeenumber", number, holder(), "national");
            }
            for mail in entry.values("mail").iter().filter(|mail| mails.contains(&mail.to_lowercase())) {
                add("mail", mail, holder(), "national");
            }
        }
        found
    }

    fn owned(&self, scope: &Scope, wish: Option<&Desired>, entry: Option<&TargetEntry>) -> Vec<Owned> {
        let mut names: BTreeSet<&str> = scope.attributes.keys().map(String::as_str).collect();
        names.extend(wish.iter().flat_map(|wish| wish.attributes.keys()).map(String::as_str));
        names.extend(entry.iter().flat_map(|entry| entry.attributes.keys()).map(String::as_str));
        let ownership = Ownership { scope, national: self.national };
        let stamp = wish.map(|wish| ownership.stamp(&wish.attributes));
        names
            .into_iter()
            .map(|name| {
                let mut wanted = wish.and_then(|wish| wish.attributes.get(name)).cloned().unwrap_or_default();
                if let (NAMING, Some(wish)) = (name, wish) {
                    wanted = vec![wish.name.clone()];
                }
                if let (STAMP, Some(stamp)) = (name, &stamp) {
                    wanted = vec![stamp.clone()];
                }
                Owned {
                    attribute: name.to_owned(),
                    owner: self.owner(scope, name),
                    wanted,
                    is: entry.map(|entry| entry.values(name).to_vec()).unwrap_or_default(),
                }
            })
            .collect()
    }

    fn owner(&self, scope: &Scope, name: &str) -> String {
        match (self.national.contains(name), scope.attributes.get(name)) {
            (true, _) => "the national directory: never touched".to_owned(),
            (_, Some(Origin::Local(local))) => match scope.shared.get(name) {
                Some(scope::Ownership::MemberWhenThere) => {
                    format!("the member directory: {local}; without a value what is there stays")
                }
                Some(scope::Ownership::National) => {
                    format!("the national directory; an entry that has none is given {local}")
                }
                _ => format!("the member directory: {local}"),
            },
            (_, Some(Origin::Constant(_))) => "the scope: the same for everybody".to_owned(),
            _ if name == NAMING => "the member directory: samaccountname".to_owned(),
            _ if name == "cn" => "the member directory: displayname, else name".to_owned(),
            _ if [ANCHOR, MEMBER, STAMP, LEFT_AT, "objectclass"].contains(&name) => "sync itself".to_owned(),
            _ if PUBLISHABLE.contains(&name) => "nobody: not published, and taken away".to_owned(),
            _ => "the national directory: never touched".to_owned(),
        }
    }
}

fn source(object: &Object, scope: &Scope) -> BTreeMap<String, Vec<String>> {
    let counts = scope.local_attributes();
    object
        .attributes
        .iter()
        .filter(|(name, _)| counts.contains(*name))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect()
}

/// The parts of a filter for which it does not select the object, each with what is said of it.
pub fn failing(filter: &Filter<'_>, object: &Object) -> Vec<String> {
    let word = match evaluate(filter, object) {
        Truth::True => return Vec::new(),
        Truth::False => "is not so",
        Truth::Undefined => "cannot be told",
    };
    match filter {
        Filter::And(parts) => parts.iter().flat_map(|part| failing(part, object)).collect(),
        Filter::Or(parts) if !parts.is_empty() => {
            let each: Vec<String> = parts.iter().flat_map(|part| failing(part, object)).collect();
            vec![format!("none of {filter}: {}", each.join(", "))]
        }
        _ => vec![format!("{filter} {word}")],
    }
}

fn verdict(
    object: Option<&Object>,
    fate: Option<&Fate>,
    held: Option<&Aged>,
    entry: Option<&TargetEntry>,
    seen: bool,
    whole: bool,
) -> (&'static str, String) {
    let left = entry.is_some_and(TargetEntry::has_left);
    if let Some(held) = held {
        return ("held", format!("held back ({}): {}", held.held.code, held.held.text));
    }
    match (object, fate) {
        (None, _) if whole => {
            let word = if left { "left" } else { "leaves" };
            (
                word,
                "a complete pass of the member directory did not bring the account of this anchor".to_owned(),
            )
        }
        (None, _) => ("held", "the member directory was not read completely yet: the entry stays".to_owned()),
        (_, None) => ("unknown", "the member has no scope that can be used".to_owned()),
        (_, Some(Fate::Hold)) => ("held", "held back".to_owned()),
        (_, Some(Fate::Leave(NOT_PUBLISHED))) => match entry {
            Some(_) => ("leaves", "is not to be published: the entry is deleted".to_owned()),
            None => ("not_published", "is not to be published".to_owned()),
        },
        (_, Some(Fate::Leave(why))) => match (entry, left) {
            (Some(_), true) => ("left", format!("marked as a leaver: {why}")),
            (Some(_), false) => ("leaves", format!("is published and will be marked as a leaver: {why}")),
            (None, _) if seen => ("not_published", format!("is not to be published: {why}")),
            (None, _) => ("unknown", format!("is not to be published: {why}")),
        },
        (_, Some(Fate::Publish(_))) => match (entry, left) {
            (Some(_), false) => ("published", "is in scope and has its entry".to_owned()),
            (Some(_), true) => {
                ("to_publish", "is in scope again; its entry is still marked as a leaver's".to_owned())
            }
            (None, _) if seen => ("to_publish", "is in scope and has no entry yet".to_owned()),
            (None, _) => ("unknown", "is in scope; whether it has an entry could not be seen".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests;
