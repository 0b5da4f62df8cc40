//! `SyncScope`.

use std::collections::{BTreeMap, BTreeSet};

use time::Duration;

use crate::policy::documents::Members;
use crate::policy::fault::{Fault, Placed};
use crate::policy::fields::{Fields, Reader};
use crate::policy::read::agreement::members;
use crate::policy::scope::{
    AttributeMapping, Guard, Guards, Leavers, LocalListing, Ownership, SyncScope, spelled,
};
use crate::policy::source::{Content, Node};

/// The keys of a `SyncScope`.
pub const SCOPE_KEYS: &[&str] = &[
    "kind",
    "id",
    "members",
    "publish",
    "attributes",
    "mail_domains",
    "person",
    "listing",
    "leavers",
    "guards",
];
/// The keys of its `publish`.
pub const PUBLISH_KEYS: &[&str] = &["bases", "filter", "pilot_group"];
/// The keys of its `guards`.
pub const GUARD_KEYS: &[&str] = &[
    "deletes", "disables", "hides", "unit", "renames", "joins", "mails", "changes", "shrink", "day", "wishes",
];
/// The keys of its `listing`.
pub const LOCAL_LISTING_KEYS: &[&str] =
    &["attribute", "not_published", "not_findable", "without_contact", "contact"];
/// The keys of an attribute's source that is more than a name.
pub const SOURCE_KEYS: &[&str] = &["from", "constant", "owner", "when_absent"];
/// Whose a value is.
pub const OWNERS: [(&str, bool); 2] = [("member", false), ("national", true)];
/// What becomes of the national value when there is no local one.
pub const WHEN_ABSENT: [(&str, bool); 2] = [("remove", false), ("keep", true)];

/// How long a leaver may stay: at least until somebody can notice.
const KEEP: (&str, &str) = ("1h", "10y");

/// A `SyncScope`.
pub fn scope(reader: &mut Reader, node: &Node) -> SyncScope {
    let fields = reader.fields(node, "a sync scope", SCOPE_KEYS);
    let id = reader.identifier(&fields, "id");
    let members = reader.required(&fields, "members").map_or(Members::All, |n| members(reader, n));
    let (mut bases, mut filter, mut pilot_group) = (Vec::new(), None, None);
    if let Some(publish) = reader.required(&fields, "publish") {
        let publish = reader.fields(publish, "`publish`", PUBLISH_KEYS);
        bases = reader.texts(&publish, "bases");
        filter = reader.required(&publish, "filter").and_then(|n| reader.placed(n));
        pilot_group = reader.optional_text(&publish, "pilot_group");
        // known, so that it is told for what it is; a run would refuse it
        if let Some(group) = publish.get("pilot_group") {
            let fault = Fault::new(&group.at, "a pilot group is not supported");
            reader.fault(fault.hint("name the pilots by `bases` or `filter`"));
        }
    }
    let keep = fields.get("leavers").and_then(|n| {
        let leavers = reader.fields(n, "`leavers`", &["keep"]);
        reader.required(&leavers, "keep").and_then(|n| reader.duration_within(n, "keep", KEEP.0, KEEP.1))
    });
    let mail_domains = reader.texts(&fields, "mail_domains");
    SyncScope {
        at: node.at.clone(),
        id,
        members,
        bases,
        filter: filter.unwrap_or_else(|| Placed::new(String::new(), node.at.clone())),
        pilot_group,
        attributes: attributes(reader, &fields),
        mail_domains: mail_domains.into_iter().map(|d| d.value.to_ascii_lowercase()).collect(),
        person: reader.optional_text(&fields, "person"),
        listing: fields.get("listing").and_then(|n| listing(reader, n)),
        leavers: Leavers { keep: keep.unwrap_or(Duration::days(30)) },
        guards: fields.get("guards").map_or_else(Guards::default, |n| guards(reader, n)),
    }
}

fn attributes(reader: &mut Reader, fields: &Fields<'_>) -> BTreeMap<String, AttributeMapping> {
    let mut out = BTreeMap::new();
    let Some(node) = reader.required(fields, "attributes") else { return out };
    for (key, value) in reader.map(node, "`attributes`") {
        let mapping = match &value.content {
            Content::Map(_) => {
                let inner = reader.fields(value, "the source of an attribute", SOURCE_KEYS);
                source(reader, value, &inner)
            }
            _ => reader.placed(value).map(|name| AttributeMapping::From(name, Ownership::Member)),
        };
        out.extend(mapping.map(|mapping| (key.value.clone(), mapping)));
    }
    out
}

fn source(reader: &mut Reader, value: &Node, inner: &Fields<'_>) -> Option<AttributeMapping> {
    let owner = inner.get("owner").and_then(|n| reader.word(n, &OWNERS, "owner"));
    let absent = inner.get("when_absent").and_then(|n| reader.word(n, &WHEN_ABSENT, "when_absent"));
    let ownership = match (owner, absent) {
        (Some(true), None) => Ownership::National,
        (Some(true), Some(_)) => {
            let fault =
                Fault::new(&value.at, "`when_absent` means nothing for a value that is the national side's");
            reader.fault(fault.hint("leave it out: such a value is given once and stays"));
            Ownership::National
        }
        (_, Some(true)) => Ownership::MemberWhenThere,
        _ => Ownership::Member,
    };
    match (inner.get("from"), inner.get("constant")) {
        (Some(from), None) => reader.placed(from).map(|name| AttributeMapping::From(name, ownership)),
        (None, Some(constant)) => {
            if owner.is_some() || absent.is_some() {
                let fault = Fault::new(&value.at, "a `constant` has no owner: it is the same for everybody");
                reader.fault(fault.hint("leave out `owner` and `when_absent`"));
            }
            reader.text(constant).map(AttributeMapping::Constant)
        }
        _ => {
            reader.fault(Fault::new(&value.at, "an attribute comes either `from` one or is a `constant`"));
            None
        }
    }
}

fn listing(reader: &mut Reader, node: &Node) -> Option<LocalListing> {
    let fields = reader.fields(node, "`listing`", LOCAL_LISTING_KEYS);
    let attribute = reader.required(&fields, "attribute").and_then(|n| reader.placed(n));
    let mut seen = BTreeSet::new();
    let mut values = |key: &str| {
        let mut values = Vec::new();
        for value in reader.texts(&fields, key) {
            let word = spelled(&value.value);
            if word.is_empty() {
                let message = format!("`{}` is no word: it has neither a letter nor a digit", value.value);
                reader.fault(Fault::new(&value.at, message).hint("name the words that people write"));
            } else if !seen.insert(word) {
                let message = format!("`{}` means more than one level", value.value);
                reader.fault(Fault::new(&value.at, message).hint("give every value one level"));
            }
            values.push(value.value);
        }
        values
    };
    let (not_published, not_findable) = (values("not_published"), values("not_findable"));
    let without_contact = values("without_contact");
    let contact: Vec<String> = reader.texts(&fields, "contact").into_iter().map(|name| name.value).collect();
    if without_contact.is_empty() != contact.is_empty() {
        let fault = Fault::new(&node.at, "`without_contact` and `contact` need each other");
        reader.fault(fault.hint("say both: whom it is about, and which attributes are left out"));
    }
    Some(LocalListing { attribute: attribute?, not_published, not_findable, without_contact, contact })
}

fn guards(reader: &mut Reader, node: &Node) -> Guards {
    let fields = reader.fields(node, "`guards`", GUARD_KEYS);
    let usual = Guards::default();
    let mut one = |key: &str, default: Guard| fields.get(key).map_or(default, |n| guard(reader, n, default));
    Guards {
        deletes: one("deletes", usual.deletes),
        disables: one("disables", usual.disables),
        hides: one("hides", usual.hides),
        unit: one("unit", usual.unit),
        joins: one("joins", usual.joins),
        mails: one("mails", usual.mails),
        renames: one("renames", usual.renames),
        changes: one("changes", usual.changes),
        shrink: one("shrink", usual.shrink),
        day: one("day", usual.day),
        wishes: one("wishes", usual.wishes),
    }
}

fn guard(reader: &mut Reader, node: &Node, default: Guard) -> Guard {
    let fields = reader.fields(node, "a guard", &["count", "share"]);
    let count = reader.count(&fields, "count", 1, u32::MAX, u32::try_from(default.count).unwrap_or(u32::MAX));
    let share = fields.get("share").and_then(|n| reader.share(n, "share", 10_000));
    Guard { count: u64::from(count), share: share.unwrap_or(default.share) }
}
