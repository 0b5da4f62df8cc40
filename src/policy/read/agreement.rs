//! `Release`.

use std::collections::BTreeSet;

use crate::policy::documents::{
    Audience, AudienceCategory, AuthenticatedBy, FilterRules, Listing, Members, Release, ReleaseLimits,
    Targets,
};
use crate::policy::fault::{Fault, Placed};
use crate::policy::fields::{Fields, Reader};
use crate::policy::scalar;
use crate::policy::source::Node;

/// The keys of a `Release`.
pub const RELEASE_KEYS: &[&str] = &[
    "kind",
    "id",
    "title",
    "purpose",
    "audience",
    "targets",
    "attributes",
    "entries",
    "listing",
    "filters",
    "limits",
    "from",
    "until",
];
/// The keys of its `audience`.
pub const AUDIENCE_KEYS: &[&str] = &["category", "authenticated_by", "members", "names"];
/// The keys of its `limits`.
pub const LIMIT_KEYS: &[&str] = &["size", "time", "rate", "in_flight"];

/// More operations per second than any gateway answers.
const RATE_MAX: u32 = 1_000_000;
/// The keys of its `listing`.
pub const LISTING_KEYS: &[&str] =
    &["attribute", "not_findable", "by_address_only", "without_contact", "contact"];
/// The keys of its `filters`.
pub const FILTER_KEYS: &[&str] = &["shortest", "leading_wildcard", "inequality"];
/// Longest `filters.shortest`: longer would refuse names that people have.
const SHORTEST_MAX: u32 = 10;

/// A `Release`.
pub fn release(reader: &mut Reader, node: &Node) -> Option<Release> {
    let fields = reader.fields(node, "a release agreement", RELEASE_KEYS);
    let id = reader.identifier(&fields, "id");
    let purpose = reader.required_text(&fields, "purpose");
    let audience = reader.required(&fields, "audience").and_then(|n| audience(reader, n));
    let targets = reader.required(&fields, "targets").map(|n| targets(reader, n));
    let attributes = reader.texts(&fields, "attributes");
    if attributes.is_empty() {
        reader.fault(
            Fault::new(&node.at, "an agreement needs the key `attributes`")
                .hint("name every attribute that may be seen; there is no wildcard"),
        );
    }
    check_attributes(reader, &attributes);
    let listing = fields.get("listing").and_then(|n| listing(reader, n)).map(Box::new);
    let filters = fields.get("filters").map_or_else(FilterRules::default, |n| filters(reader, n));
    let limits = fields.get("limits").map_or_else(ReleaseLimits::default, |n| limits(reader, n));
    let from = fields.get("from").and_then(|n| reader.date(n));
    let until_node = reader.required(&fields, "until");
    let until = until_node.and_then(|n| reader.end_of_day(n));
    if let (Some(from), Some(until), Some(node)) = (from, until, until_node)
        && until <= from
    {
        reader.fault(Fault::new(&node.at, "the agreement ends before it begins"));
    }
    let title = reader.optional_text(&fields, "title").unwrap_or_else(|| purpose.clone());
    let entries = fields.get("entries").and_then(|n| reader.placed(n));
    Some(Release {
        at: node.at.clone(),
        id,
        title,
        purpose,
        audience: audience?,
        targets: targets?,
        attributes,
        entries,
        listing,
        filters,
        limits,
        from,
        until: until?,
    })
}

fn check_attributes(reader: &mut Reader, attributes: &[Placed<String>]) {
    let mut seen = BTreeSet::new();
    for attribute in attributes {
        let name = attribute.value.to_ascii_lowercase();
        let good =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
        if !good {
            let fault =
                Fault::new(&attribute.at, format!("`{}` is not the name of an attribute", attribute.value));
            reader.fault(fault.hint("name each attribute without options; there is no wildcard"));
        }
        if !seen.insert(name) {
            reader.fault(Fault::new(
                &attribute.at,
                format!("`{}` stands twice in `attributes`", attribute.value),
            ));
        }
    }
}

fn audience(reader: &mut Reader, node: &Node) -> Option<Audience> {
    let fields = reader.fields(node, "an audience", AUDIENCE_KEYS);
    let categories = [
        ("person", AudienceCategory::Person),
        ("connector", AudienceCategory::Connector),
        ("application", AudienceCategory::Application),
    ];
    let ways = [
        ("smartcard", AuthenticatedBy::Smartcard),
        ("certificate", AuthenticatedBy::Certificate),
        ("password", AuthenticatedBy::Password),
    ];
    let category = reader.required(&fields, "category");
    let category = category.and_then(|n| reader.word(n, &categories, "category of requester"));
    let authenticated_by = fields
        .get("authenticated_by")
        .map(|n| reader.words(n, &ways, "way to authenticate"))
        .unwrap_or_default();
    let members = fields.get("members").map_or(Members::All, |n| members(reader, n));
    let names = reader.texts(&fields, "names");
    if let (Some(found), Some(AudienceCategory::Person | AudienceCategory::Connector)) =
        (fields.get("names"), category)
    {
        reader.fault(Fault::new(&found.at, "`names` belongs to `category: application`"));
    }
    Some(Audience { at: node.at.clone(), category: category?, authenticated_by, members, names })
}

fn targets(reader: &mut Reader, node: &Node) -> Targets {
    let fields = reader.fields(node, "`targets`", &["members", "national"]);
    Targets {
        members: reader.required(&fields, "members").map_or(Members::All, |n| members(reader, n)),
        national: fields.get("national").and_then(|n| reader.boolean(n)).unwrap_or(true),
    }
}

/// `all`, `none`, or a list of ODS codes.
pub fn members(reader: &mut Reader, node: &Node) -> Members {
    match node.scalar() {
        Some("all") => Members::All,
        Some("none") => Members::These(BTreeSet::new()),
        // eight letters may be a code as well as a word
        Some(word) if word.chars().any(char::is_lowercase) => {
            let fault = Fault::new(&node.at, format!("`{word}` is no list of members"));
            reader.fault(fault.hint("write `all`, `none`, or codes such as `[RXA, RXB]`"));
            Members::These(BTreeSet::new())
        }
        _ => {
            let items = reader.items(node);
            if items.is_empty() {
                let fault = Fault::new(&node.at, "the list names no member");
                reader.fault(
                    fault.hint("write `none` where nobody is meant, or name codes such as `[RXA, RXB]`"),
                );
            }
            let mut found = BTreeSet::new();
            for item in items {
                if let Some(member) = reader.member(item)
                    && !found.insert(member)
                {
                    reader.twice(item, "members");
                }
            }
            Members::These(found)
        }
    }
}

fn listing(reader: &mut Reader, node: &Node) -> Option<Listing> {
    let fields = reader.fields(node, "`listing`", LISTING_KEYS);
    let attribute = reader.required(&fields, "attribute").and_then(|n| reader.placed(n));
    let mut seen = BTreeSet::new();
    let mut values = |key: &str| {
        let mut values = Vec::new();
        for value in reader.texts(&fields, key) {
            if value.value.trim().is_empty() {
                reader.fault(Fault::new(&value.at, format!("a value of `{key}` is empty")));
            }
            if !seen.insert(value.value.to_lowercase()) {
                let message = format!("`{}` means more than one level", value.value);
                reader.fault(Fault::new(&value.at, message).hint("give every value one level"));
            }
            values.push(value.value);
        }
        values
    };
    let (not_findable, by_address_only, without_contact) =
        (values("not_findable"), values("by_address_only"), values("without_contact"));
    let contact = reader.texts(&fields, "contact");
    check_attributes(reader, &contact);
    if without_contact.is_empty() != contact.is_empty() {
        let fault = Fault::new(&node.at, "`without_contact` and `contact` belong together");
        reader.fault(fault.hint("say which values mean it, and which attributes are not shown then"));
    }
    if not_findable.is_empty() && by_address_only.is_empty() && without_contact.is_empty() {
        reader.fault(Fault::new(&node.at, "`listing` names no value of any level"));
    }
    let attribute = attribute?;
    Some(Listing { at: node.at.clone(), attribute, not_findable, by_address_only, without_contact, contact })
}

fn filters(reader: &mut Reader, node: &Node) -> FilterRules {
    let fields = reader.fields(node, "`filters`", FILTER_KEYS);
    let defaults = FilterRules::default();
    let flag = |reader: &mut Reader, key: &str| fields.get(key).and_then(|n| reader.boolean(n));
    FilterRules {
        leading_wildcard: flag(reader, "leading_wildcard").unwrap_or(defaults.leading_wildcard),
        inequality: flag(reader, "inequality").unwrap_or(defaults.inequality),
        shortest: reader.count(&fields, "shortest", 0, SHORTEST_MAX, defaults.shortest),
    }
}

fn limits(reader: &mut Reader, node: &Node) -> ReleaseLimits {
    let fields: Fields<'_> = reader.fields(node, "`limits`", LIMIT_KEYS);
    let defaults = ReleaseLimits::default();
    let time = fields.get("time").and_then(|n| reader.duration_within(n, "time", "1s", "1h"));
    let rate = fields.get("rate").and_then(|n| {
        let text = reader.text(n)?;
        let rate = reader.keep(&n.at, scalar::rate(&text), "write operations per second, as in `20/s`")?;
        if !(1..=RATE_MAX).contains(&rate) {
            reader.fault(Fault::new(&n.at, format!("`rate` is from 1/s to {RATE_MAX}/s, not {text}")));
        }
        Some(rate)
    });
    ReleaseLimits {
        size: reader.count(&fields, "size", 1, 100_000, defaults.size),
        time: time.unwrap_or(defaults.time),
        rate: rate.unwrap_or(defaults.rate),
        in_flight: reader.count(&fields, "in_flight", 1, 10_000, defaults.in_flight),
    }
}
