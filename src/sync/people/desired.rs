//! What each person's national entry should be: scope on the tree, mapping, quarantine.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::ldap::prepare::is_ignorable;
use crate::policy::scope::spelled;
use crate::policy::signature::hex;
use crate::policy::terms::OdsCode;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::settings::{Origin, Scope};
use crate::sync::terms::staged::{Object, Staged};
use crate::sync::terms::step::Quarantine;
use crate::sync::terms::target::{ANCHOR, Anchor, MEMBER};

/// The attribute that names entries.
pub const NAMING: &str = "uid";
/// The attribute without which there is no entry of a person (RFC 4519 section 3.12), beside `cn`, which is made of something else if need be.
pub const SURNAME: &str = "sn";
/// Why somebody without one gets no entry.
pub const NO_SURNAME: &str = "no_surname";

/// An entry as it should be. Names are lower case; objectClass, stamp and time of leaving are added by the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The value of the naming attribute, lower case.
    pub name: String,
    pub attributes: BTreeMap<String, Vec<String>>,
    /// Nobody else's entry names this person.
    pub unnamed: bool,
}

/// What is to become of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    Publish(Desired),
    /// Left as it is, published or not.
    Hold,
    /// Not (or no longer) to be published, and why.
    Leave(&'static str),
}

/// The fates of all staged people, and what is held back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub fates: BTreeMap<Guid, Fate>,
    pub quarantine: BTreeSet<Quarantine>,
}

/// Decides for every staged object that is a person. `bases` are the scope's bases by GUID; none: the whole tree.
pub fn desired(member: &OdsCode, staged: &Staged, scope: &Scope, bases: Option<&BTreeSet<Guid>>) -> Wanted {
    let mut wanted = Wanted::default();
    for object in staged.objects().filter(|object| is_person(object)) {
        let inside = bases.is_none_or(|bases| staged.is_below(&object.guid, bases));
        let fate = fate(member, object, inside, scope, &mut wanted.quarantine);
        wanted.fates.insert(object.guid, fate);
    }
    wanted
}

/// Whether an object is, or may have been, a person.
pub fn is_person(object: &Object) -> bool {
    object.is_a("user") || object.deleted || object.partial
}

/// Why somebody's entry is deleted at once.
pub const NOT_PUBLISHED: &str = "not_published";

/// Why somebody leaves whom a complete pass did not bring, although the directory tells of deletions and told of none.
pub const UNSEEN: &str = "unseen";

/// Whether somebody must not leave the member directory.
pub fn is_not_published(object: &Object, scope: &Scope) -> bool {
    scope.levels.as_ref().is_some_and(|levels| has_level(object, &levels.attribute, &levels.not_published))
}

fn has_level(object: &Object, attribute: &str, words: &BTreeSet<String>) -> bool {
    let mut own = object.attributes.get(attribute).into_iter().flatten().map(|value| spelled(value));
    own.any(|own| !own.is_empty() && words.iter().any(|word| spelled(word) == own))
}

/// Whether the person is published without the attributes that tell how they are reached.
pub fn is_without_contact(object: &Object, scope: &Scope) -> bool {
    scope.levels.as_ref().is_some_and(|levels| has_level(object, &levels.attribute, &levels.without_contact))
}

/// Whether the person asks not to be listed as others are, and if so, whether for not being named by others' entries.
pub fn asks(object: &Object, scope: &Scope) -> Option<bool> {
    let levels = scope.levels.as_ref()?;
    let has = |words: &BTreeSet<String>| has_level(object, &levels.attribute, words);
    let unnamed = has(&levels.not_published) || has(&levels.not_findable);
    (unnamed || has(&levels.without_contact)).then_some(unnamed)
}

/// Values of the attribute that tells the level are published as the policies spell them, for release agreements go by those words.
fn canonical(local: &str, values: &mut [String], scope: &Scope) {
    let Some(levels) = scope.levels.as_ref().filter(|levels| levels.attribute == local) else { return };
    for value in values {
        let own = spelled(value);
        if let Some(word) = levels.words().flatten().find(|word| !own.is_empty() && spelled(word) == own) {
            value.clone_from(word);
        }
    }
}

/// What is to become of one person, as far as it does not depend on others. `inside`: below a base of the scope.
pub fn fate(
    member: &OdsCode,
    object: &Object,
    inside: bool,
    scope: &Scope,
    quarantine: &mut BTreeSet<Quarantine>,
) -> Fate {
    if object.deleted {
        return Fate::Leave(if object.unseen { UNSEEN } else { "deleted" });
    }
    // before everything else: nobody's wish waits for what is wrong with the account, or is forgotten where it was moved to
    if is_not_published(object, scope) {
        return Fate::Leave(NOT_PUBLISHED);
    }
    if object.partial {
        hold(
            quarantine,
            object,
            None,
            "partial",
            "could not be read in full: check the account's rights on it",
        );
        return Fate::Hold;
    }
    if is_conflict(object) {
        hold(
            quarantine,
            object,
            None,
            "conflict",
            "is one of two objects with one name after a replication conflict (`CNF:`): remove the wrong one",
        );
        return Fate::Hold;
    }
    if !inside {
        return Fate::Leave("outside_scope");
    }
    match object.is_enabled() {
        Some(true) => {}
        Some(false) => return Fate::Leave("disabled"),
        None => {
            let text = "whether the account is enabled (`userAccountControl`) could not be read: check the account's rights on it";
            hold(quarantine, object, None, "partial", text);
            return Fate::Hold;
        }
    }
    if !object.matches(&scope.filter) {
        return Fate::Leave("outside_filter");
    }
    publish(member, object, scope, quarantine)
}

/// Whether the object lost its name to another one that was made at the same time elsewhere (MS-ADTS 3.1.1.1.9.2): LF, then `CNF:`.
fn is_conflict(object: &Object) -> bool {
    object.rdn.to_ascii_uppercase().contains("\\0ACNF:")
        || object.first("name").is_some_and(|name| name.contains("\nCNF:"))
}

fn hold(
    quarantine: &mut BTreeSet<Quarantine>,
    object: &Object,
    attribute: Option<&str>,
    code: &str,
    text: &str,
) {
    quarantine.insert(Quarantine {
        guid: object.guid,
        attribute: attribute.map(str::to_owned),
        code: code.to_owned(),
        text: text.to_owned(),
    });
}

/// What the scope maps, as the member directory has it.
fn mapped(
    object: &Object,
    scope: &Scope,
    quarantine: &mut BTreeSet<Quarantine>,
) -> BTreeMap<String, Vec<String>> {
    let mut attributes = BTreeMap::new();
    for (name, origin) in &scope.attributes {
        let mut values: Vec<String> = match origin {
            Origin::Constant(value) => vec![value.clone()],
            Origin::Local(local) => {
                let found = object.attributes.get(local);
                // Samba's DirSync leaves out the attribute that names an object; `name` always is the same
                let found =
                    found.or_else(|| (local == "cn").then(|| object.attributes.get("name")).flatten());
                found.cloned().unwrap_or_default()
            }
        };
        if matches!(origin, Origin::Local(local) if object.references.contains_key(local)) {
            // names of other people: the plan fills in where their entries are
            values.clear();
        }
        values.retain(|value| !value.trim().is_empty());
        if let Origin::Local(local) = origin {
            canonical(local, &mut values, scope);
        }
        values.sort();
        values.dedup();
        if matches!(origin, Origin::Local(_)) {
            fit(name, &mut values, object, quarantine);
        }
        if name == "mail" && !values.iter().all(|value| value.is_ascii()) {
            hold(
                quarantine,
                object,
                Some(name),
                "not_text",
                "the mail is not ASCII: correct it in the member directory",
            );
            values.retain(|value| value.is_ascii());
        }
        if !values.is_empty() {
            attributes.insert(name.clone(), values);
        }
    }
    attributes
}

/// Bytes of a value, and values of an attribute, at most: more is no property of a person.
const VALUE_BYTES_MAX: usize = 4_096;
const VALUES_MAX: usize = 64;
/// Attributes whose values may have several lines.
const LINES: [&str; 7] = [
    "street",
    "streetaddress",
    "postaladdress",
    "homepostaladdress",
    "registeredaddress",
    "description",
    "info",
];

/// Names of people: what has no letter is none.
const NAMES: [&str; 4] = ["sn", "cn", "givenname", "displayname"];

/// Leaves out what nobody would publish by hand: whoever runs a member directory may write anything into it.
fn fit(name: &str, values: &mut Vec<String>, object: &Object, quarantine: &mut BTreeSet<Quarantine>) {
    let mut whys = BTreeSet::new();
    if values.len() > VALUES_MAX {
        whys.insert(format!("there are more than {VALUES_MAX} values"));
        values.clear();
    }
    values.retain(|value| {
        let why = unfit(name, value);
        whys.extend(why.clone());
        why.is_none()
    });
    if !whys.is_empty() {
        let whys: Vec<String> = whys.into_iter().collect();
        let text = format!("{}: correct it in the member directory", whys.join(", and "));
        hold(quarantine, object, Some(name), "unfit", &text);
    }
}

/// Why a value is not published.
fn unfit(name: &str, value: &str) -> Option<String> {
    let steers = |c: char| {
        let line = matches!(c, '\r' | '\n' | '\t') && LINES.contains(&name);
        (c.is_control() && !line) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let bad = |c: char| c.is_whitespace() || "()<>[]:;\\,\"".contains(c);
    let is_mail = || value.matches('@').count() == 1 && !value.contains(bad);
    match () {
        () if value.len() > VALUE_BYTES_MAX => Some(format!("a value has more than {VALUE_BYTES_MAX} bytes")),
        () if value.chars().any(steers) => {
            Some("a value has control characters, or some that turn the direction of text".to_owned())
        }
        () if !value.chars().any(|c| !c.is_whitespace() && !is_ignorable(c)) => {
            Some("of a value nothing can be seen".to_owned())
        }
        () if NAMES.contains(&name) && !value.chars().any(char::is_alphanumeric) => {
            Some("a name has neither letter nor digit".to_owned())
        }
        () if name == "mail" && !is_mail() => {
            Some("a mail is no address (one `@`, no space, and none of ()<>[]:;\\,\")".to_owned())
        }
        () => None,
    }
}

/// Bytes of an account name at most (`rangeUpper` of sAMAccountName).
const NAME_BYTES_MAX: usize = 256;

/// Whether an account may be called so (MS-SAMR 3.1.1.6). Names with a colon are our own, for the time being.
fn is_name(name: &str) -> bool {
    let bad = |c: char| c.is_control() || is_ignorable(c) || "\"/\\[]:;|=,+*?<>".contains(c);
    let shown = name.chars().any(|c| !c.is_whitespace() && c != '.');
    shown && name.len() <= NAME_BYTES_MAX && !name.chars().any(bad)
}

fn publish(member: &OdsCode, object: &Object, scope: &Scope, quarantine: &mut BTreeSet<Quarantine>) -> Fate {
    let mut attributes = mapped(object, scope, quarantine);
    let name = attributes.remove(NAMING).and_then(|values| values.into_iter().next());
    let Some(name) = name.or_else(|| object.first("samaccountname").map(str::to_owned)) else {
        hold(quarantine, object, None, "no_name", "has no account name: correct it in the member directory");
        return Fate::Hold;
    };
    if !is_name(&name) {
        let text = "has an account name that no account may have: correct it in the member directory";
        hold(quarantine, object, None, "no_name", text);
        return Fate::Hold;
    }
    own_mails(&mut attributes, object, scope, quarantine);
    if !attributes.contains_key(SURNAME) {
        let text = "has no surname (`sn`): fill it in in the member directory; an entry keeps the one it has";
        hold(quarantine, object, Some(SURNAME), NO_SURNAME, text);
    }
    if !attributes.contains_key("cn") {
        let mut local = [object.first("displayname"), object.first("name")]
            .map(|one| one.map(str::to_owned).into_iter().collect::<Vec<_>>());
        local.iter_mut().for_each(|values| fit("cn", values, object, quarantine));
        let [display, own] = local;
        let called = display.into_iter().chain(own).next().unwrap_or_else(|| name.clone());
        attributes.insert("cn".to_owned(), vec![called]);
    }
    let mut unnamed = false;
    if let Some(levels) = &scope.levels {
        if is_without_contact(object, scope) {
            attributes.retain(|name, _| !levels.contact.contains(name));
        }
        unnamed = has_level(object, &levels.attribute, &levels.not_findable);
    }
    let anchor = Anchor { member: member.clone(), guid: object.guid };
    attributes.insert(ANCHOR.to_owned(), vec![anchor.to_string()]);
    attributes.insert(MEMBER.to_owned(), vec![member.to_string()]);
    Fate::Publish(Desired { name: name.to_lowercase(), attributes, unnamed })
}

/// Leaves out mails outside of the member's domains.
fn own_mails(
    attributes: &mut BTreeMap<String, Vec<String>>,
    object: &Object,
    scope: &Scope,
    quarantine: &mut BTreeSet<Quarantine>,
) {
    let Some(mails) = attributes.get_mut("mail").filter(|_| !scope.mail_domains.is_empty()) else { return };
    let before = mails.len();
    mails.retain(|mail| is_owned(mail, &scope.mail_domains));
    if mails.len() == before {
        return;
    }
    if mails.is_empty() {
        attributes.remove("mail");
    }
    let text = "a mail lies outside the member's domains: correct it, or register the domain for the member";
    hold(quarantine, object, Some("mail"), "mail_domain", text);
}

/// Whether a mail lies in one of the domains.
pub fn is_owned(mail: &str, domains: &BTreeSet<String>) -> bool {
    mail.rsplit_once('@').is_some_and(|(_, domain)| domains.contains(&domain.to_ascii_lowercase()))
}

/// SHA-256 of an entry's published content.
pub fn stamp(attributes: &BTreeMap<String, Vec<String>>) -> String {
    let mut hasher = Sha256::new();
    for (name, values) in attributes {
        for part in std::iter::once(name).chain(values) {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update([0xff]);
    }
    hex(&hasher.finalize())
}
