//! `SyncScope`.

use std::collections::BTreeMap;

use time::Duration;

use crate::policy::documents::{AttributeMapping, Guard, Guards, Leavers, Members, SyncScope};
use crate::policy::fault::{Fault, Placed};
use crate::policy::fields::{Fields, Reader};
use crate::policy::read::agreement::members;
use crate::policy::source::{Content, Node};

/// The keys of a `SyncScope`.
pub const SCOPE_KEYS: &[&str] =
    &["kind", "id", "members", "publish", "attributes", "mail_domains", "leavers", "guards"];
/// The keys of its `publish`.
pub const PUBLISH_KEYS: &[&str] = &["bases", "filter", "pilot_group"];
/// The keys of its `guards`.
pub const GUARD_KEYS: &[&str] = &["deletes", "renames", "changes", "shrink"];

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
                let inner = reader.fields(value, "the source of an attribute", &["from", "constant"]);
                match (inner.get("from"), inner.get("constant")) {
                    (Some(from), None) => reader.placed(from).map(AttributeMapping::From),
                    (None, Some(constant)) => reader.text(constant).map(AttributeMapping::Constant),
                    _ => {
                        let fault =
                            Fault::new(&value.at, "an attribute comes either `from` one or is a `constant`");
                        reader.fault(fault);
                        None
                    }
                }
            }
            _ => reader.placed(value).map(AttributeMapping::From),
        };
        out.extend(mapping.map(|mapping| (key.value.clone(), mapping)));
    }
    out
}

fn guards(reader: &mut Reader, node: &Node) -> Guards {
    let fields = reader.fields(node, "`guards`", GUARD_KEYS);
    let usual = Guards::default();
    let mut one = |key: &str, default: Guard| fields.get(key).map_or(default, |n| guard(reader, n, default));
    Guards {
        deletes: one("deletes", usual.deletes),
        renames: one("renames", usual.renames),
        changes: one("changes", usual.changes),
        shrink: one("shrink", usual.shrink),
    }
}

fn guard(reader: &mut Reader, node: &Node, default: Guard) -> Guard {
    let fields = reader.fields(node, "a guard", &["count", "share"]);
    let count = reader.count(&fields, "count", 1, u32::MAX, u32::try_from(default.count).unwrap_or(u32::MAX));
    let share = fields.get("share").and_then(|n| reader.share(n, "share", 10_000));
    Guard { count: u64::from(count), share: share.unwrap_or(default.share) }
}
