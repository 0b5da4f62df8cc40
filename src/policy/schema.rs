//! JSON Schema (2020-12) of policy documents, for editors. `policy check` is stricter: it knows types and references.

use serde_json::{Map, Value, json};

use crate::policy::documents::{Exceptions, Operator};
use crate::policy::read::agreement::{AUDIENCE_KEYS, FILTER_KEYS, LIMIT_KEYS, LISTING_KEYS, RELEASE_KEYS};
use crate::policy::read::attest::STATEMENT_KEYS;
use crate::policy::read::baseline::{BASELINE_KEYS, CONTROL_KEYS, EXCEPTION_KEYS, GRANT_KEYS, PROFILE_KEYS};
use crate::policy::read::facts::{ATTRIBUTE_KEYS, FACTS_KEYS, READ_KEYS, TYPES};
use crate::policy::read::scope::{
    GUARD_KEYS, LOCAL_LISTING_KEYS, OWNERS, PUBLISH_KEYS, SCOPE_KEYS, SOURCE_KEYS, WHEN_ABSENT,
};
use crate::policy::read::test::{TEST_KEYS, VERDICTS};
use crate::policy::terms::Grant;

/// The schema of any document. `facts` are those that conditions may use, by every name that they may have there, with the schema of what
/// can be asked of each; `complete` says that there are no others.
pub fn schema(facts: Map<String, Value>, complete: bool) -> Value {
    let documents = [
        ("Baseline", baseline()),
        ("Controls", controls()),
        ("Facts", declarations()),
        ("Profile", profile()),
        ("Exception", exception()),
        ("Release", release()),
        ("SyncScope", scope()),
        ("PolicyTest", test()),
    ];
    let kinds: Vec<&str> = documents.iter().map(|(kind, _)| *kind).collect();
    // by kind and not `oneOf`: an editor then tells what is wrong with this kind, not that it is none of eight
    let chosen = documents.iter().map(|(kind, schema)| {
        json!({ "if": { "properties": { "kind": { "const": kind } }, "required": ["kind"] }, "then": schema })
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Portcullis policy document",
        "type": "object",
        "required": ["kind"],
        "properties": { "kind": { "enum": kinds, "description": "What the document is; it comes first." } },
        "allOf": chosen.collect::<Vec<_>>(),
        "$defs": {
            "severity": { "enum": ["low", "medium", "high", "critical"] },
            "stage": stage(),
            "clause": clause(facts, complete),
            "tests": tests(),
            "text": { "type": "string", "minLength": 1 },
            "identifier": { "type": "string", "pattern": "^[a-z0-9][a-z0-9-]*$", "maxLength": 80 },
            "duration": DURATION.schema(),
            "share": SHARE.schema(),
            "date": DATE.schema(),
            "members": members(),
        },
    })
}

/// A text of a form.
struct Form {
    pattern: &'static str,
    description: &'static str,
}

const DURATION: Form = Form {
    pattern: "^(\\$.+|[0-9]+[smhdwy])$",
    description: "A number with s, m, h, d, w or y (365 days), for example 15m or 180d.",
};
const SHARE: Form =
    Form { pattern: "^(\\$.+|[0-9]+(\\.[0-9]{1,2})?%)$", description: "A share, for example 2%." };
const DATE: Form = Form {
    pattern: "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$",
    description: "A day, for example 2027-03-31.",
};
const RATE: Form = Form { pattern: "^[0-9]+/s$", description: "Operations per second, for example 20/s." };
const ODS: &str = "^[A-Za-z0-9]{3,8}$";

impl Form {
    fn schema(&self) -> Value {
        json!({ "type": "string", "pattern": self.pattern, "description": self.description })
    }
}

fn stage() -> Value {
    json!({
        "enum": ["draft", "audit", "warn", "enforce"],
        "description": "draft: not loaded. audit: recorded. warn: told to the member, with the day of `enforce_from`. enforce: decides.",
    })
}

/// A map with these keys and no others; those that are not described may hold anything.
fn object(keys: &[&str], required: &[&str], described: &[(&str, Value)]) -> Value {
    let mut properties: Map<String, Value> =
        keys.iter().map(|key| ((*key).to_owned(), json!(true))).collect();
    properties.extend(described.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn list_of(item: &Value) -> Value {
    json!({ "type": "array", "items": item })
}

fn some_of(item: &Value) -> Value {
    json!({ "type": "array", "items": item, "minItems": 1 })
}

fn one_of(words: &[&str]) -> Value {
    json!({ "enum": words })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// One of these keys each.
fn needs(keys: &[&str]) -> Value {
    keys.iter().map(|key| json!({ "required": [key] })).collect()
}

/// Adds what must hold beside.
fn demand(schema: &mut Value, more: &[(&str, Value)]) {
    if let Some(map) = schema.as_object_mut() {
        map.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    }
}

/// The same with words for whoever hovers over it.
fn told(mut schema: Value, description: &str) -> Value {
    demand(&mut schema, &[("description", json!(description))]);
    schema
}

fn text() -> Value {
    reference("text")
}

fn identifier() -> Value {
    reference("identifier")
}

fn members() -> Value {
    json!({
        "anyOf": [
            { "enum": ["all", "none"] },
            { "type": "array", "items": { "type": "string", "pattern": ODS }, "minItems": 1 },
            { "type": "string", "pattern": "^[A-Z0-9]{3,8}$" },
        ],
        "description": "all, none, or codes of organisations such as [RXA, RXB].",
    })
}

fn grants() -> Vec<&'static str> {
    Grant::ALL.iter().map(|grant| grant.as_str()).collect()
}

fn baseline() -> Value {
    let severity = reference("severity");
    let deny_on = json!({ "anyOf": [severity, some_of(&severity)] });
    let grace = json!({
        "type": "object",
        "propertyNames": reference("severity"),
        "additionalProperties": reference("duration"),
        "description": "How long a failure is borne before it denies.",
    });
    let rule = object(
        GRANT_KEYS,
        &["deny_on"],
        &[
            ("deny_on", told(deny_on, "Severities whose failure denies the grant.")),
            (
                "unknown",
                told(
                    one_of(&["deny", "fail"]),
                    "deny: what could not be told denies at once. fail: after the grace.",
                ),
            ),
            ("grace", grace),
        ],
    );
    let rules: Vec<(&str, Value)> = grants().into_iter().map(|grant| (grant, rule.clone())).collect();
    object(
        BASELINE_KEYS,
        &["kind", "id", "title", "owner", "revision", "stage", "include", "grants", "evidence_valid_for"],
        &[
            ("id", identifier()),
            ("title", text()),
            ("owner", told(text(), "Who answers for it.")),
            ("revision", json!({ "type": ["string", "number"] })),
            ("stage", reference("stage")),
            ("parameters", told(json!({ "type": "object" }), "Values that conditions use as $name.")),
            (
                "include",
                told(some_of(&text()), "Files of controls, relative to this one: [controls/*.yaml]."),
            ),
            ("grants", object(&grants(), &grants(), &rules)),
            (
                "reopen_after",
                told(json!({ "type": "integer", "minimum": 1 }), "Consecutive clean assessments."),
            ),
            ("evidence_valid_for", told(reference("duration"), "Older evidence closes the gate.")),
        ],
    )
}

fn controls() -> Value {
    let steps = some_of(&object(
        &["over", "severity"],
        &["over", "severity"],
        &[("severity", reference("severity"))],
    ));
    let grade = json!({
        "anyOf": [steps, object(&["fact", "steps"], &["steps"], &[("fact", text()), ("steps", steps)])],
        "description": "Severity by how far the fact is from what is required; the bounds rise.",
    });
    let bound = json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, reference("share")] });
    let references = json!({ "type": "object", "additionalProperties": some_of(&text()) });
    let mut control = object(
        CONTROL_KEYS,
        &["id", "title", "severity", "why", "fix"],
        &[
            ("id", identifier()),
            ("title", told(text(), "What holds where the control passes, in one sentence.")),
            ("severity", reference("severity")),
            ("stage", reference("stage")),
            ("enforce_from", told(reference("date"), "Members are told; from this day it decides.")),
            ("level", told(json!({ "type": "integer", "minimum": 1, "maximum": 5 }), "Rung of maturity.")),
            ("when", told(reference("clause"), "Not applicable unless this holds.")),
            ("for_each", told(text(), "The collection whose records are judged.")),
            ("where", told(reference("clause"), "Which records are judged.")),
            ("require", told(reference("clause"), "What must hold.")),
            (
                "count",
                told(reference("tests"), "What must hold of the number of records that `where` picks."),
            ),
            ("distinct", told(text(), "A fact whose values stand on one record each.")),
            (
                "tolerate",
                told(
                    object(&["at_most"], &["at_most"], &[("at_most", bound)]),
                    "How many failing records are borne.",
                ),
            ),
            ("grade", grade),
            ("exceptions", one_of(&Exceptions::WORDS.map(|(word, _)| word))),
            ("why", told(text(), "Why it matters, for whoever has to do the work.")),
            ("fix", told(text(), "How it is mended: commands first.")),
            ("references", references),
        ],
    );
    demand(
        &mut control,
        &[
            ("oneOf", needs(&["require", "count", "distinct"])),
            // there are no records to look at without it
            (
                "dependentRequired",
                json!({ "where": ["for_each"], "count": ["for_each"], "distinct": ["for_each"], "tolerate": ["for_each"] }),
            ),
        ],
    );
    object(&["kind", "controls"], &["kind", "controls"], &[("controls", list_of(&control))])
}

fn clause(facts: Map<String, Value>, complete: bool) -> Value {
    let mut properties = facts;
    let several = json!({ "anyOf": [some_of(&reference("clause")), reference("clause")] });
    properties.insert("all".into(), several.clone());
    properties.insert("any".into(), several);
    properties.insert("not".into(), reference("clause"));
    let others = if complete { json!(false) } else { reference("tests") };
    json!({ "type": "object", "properties": properties, "additionalProperties": others, "minProperties": 1 })
}

/// What can be asked of a fact whose type is not known.
fn tests() -> Value {
    let operators: Vec<&str> = Operator::ALL.iter().map(|(_, word)| *word).collect();
    let asked = told(object(&operators, &[], &[]), "What must hold of it; all of these.");
    json!({ "anyOf": [asked, { "type": ["string", "number", "boolean", "array"] }] })
}

fn declarations() -> Value {
    let read = object(
        READ_KEYS,
        &["base", "scope"],
        &[
            (
                "base",
                told(
                    text(),
                    "Where: {domain}, {configuration}, {schema}, {root}, {rootdse}, or below one of them; <SID={domain_sid}-502> is the \
                     account with that RID, whatever it is called.",
                ),
            ),
            ("scope", one_of(&["base", "one", "subtree"])),
            (
                "filter",
                told(text(), "RFC 4515, for example (objectClass=user). It holds no value against a secret."),
            ),
        ],
    );
    let attribute = object(
        ATTRIBUTE_KEYS,
        &["from", "type"],
        &[
            ("from", told(text(), "lDAPDisplayName; attributes that hold secrets are never read.")),
            ("type", one_of(TYPES)),
            ("mandatory", json!({ "type": "boolean" })),
        ],
    );
    let attributes = json!({ "type": "object", "additionalProperties": attribute });
    let statement =
        object(STATEMENT_KEYS, STATEMENT_KEYS, &[("statement", text()), ("at_most", reference("duration"))]);
    let attest = json!({ "type": "object", "additionalProperties": statement, "minProperties": 1 });
    let name = json!({ "type": "string", "pattern": "^[a-z][a-z0-9_]*$" });
    let described = [("name", name), ("read", read), ("attributes", attributes), ("attest", attest)];
    let mut declaration = object(FACTS_KEYS, &["name"], &described);
    // what is attested is not read
    let read = json!({ "anyOf": needs(&["read", "attributes"]) });
    let either = json!([{ "required": ["read", "attributes"] }, { "required": ["attest"], "not": read }]);
    demand(&mut declaration, &[("oneOf", either)]);
    object(&["kind", "facts"], &["kind", "facts"], &[("facts", list_of(&declaration))])
}

fn profile() -> Value {
    let tailored = object(
        &["stage", "enforce_from", "severity"],
        &[],
        &[
            ("stage", reference("stage")),
            ("enforce_from", reference("date")),
            ("severity", reference("severity")),
        ],
    );
    let whom = object(&["role", "members"], &[], &[("role", text()), ("members", list_of(&text()))]);
    object(
        PROFILE_KEYS,
        &["kind", "id", "extends", "for"],
        &[
            ("id", identifier()),
            ("extends", told(text(), "The baseline's id.")),
            ("for", whom),
            ("parameters", json!({ "type": "object" })),
            ("controls", json!({ "type": "object", "additionalProperties": tailored })),
        ],
    )
}

fn exception() -> Value {
    let required: Vec<&str> = EXCEPTION_KEYS.iter().copied().filter(|key| *key != "objects").collect();
    let mut described: Vec<(&str, Value)> =
        ["control", "owner", "reason", "compensating_control", "approver"]
            .into_iter()
            .map(|key| (key, text()))
            .collect();
    described.extend([
        ("member", json!({ "type": "string", "pattern": ODS })),
        (
            "objects",
            told(list_of(&text()), "Names or DNs of the records that it covers; empty: the whole control."),
        ),
        ("from", reference("date")),
        ("until", told(reference("date"), "The last day; at most 12 months after the first.")),
    ]);
    object(EXCEPTION_KEYS, &required, &described)
}

fn release() -> Value {
    let categories = one_of(&["person", "connector", "application"]);
    let way = one_of(&["smartcard", "certificate", "password"]);
    let ways = json!({ "anyOf": [way, some_of(&way)] });
    let count = json!({ "type": "integer", "minimum": 1 });
    let attribute = json!({ "type": "string", "pattern": "^[A-Za-z0-9.-]+$" });
    object(
        RELEASE_KEYS,
        &["kind", "id", "purpose", "audience", "targets", "attributes", "until"],
        &[
            ("id", identifier()),
            ("purpose", told(text(), "What for, in the words of the agreement.")),
            (
                "audience",
                object(
                    AUDIENCE_KEYS,
                    &["category"],
                    &[
                        ("category", categories),
                        ("authenticated_by", ways),
                        ("members", reference("members")),
                    ],
                ),
            ),
            ("targets", object(&["members", "national"], &["members"], &[("members", reference("members"))])),
            (
                "attributes",
                told(some_of(&attribute), "Every attribute that may be seen; there is no wildcard."),
            ),
            ("entries", told(text(), "A filter that every entry meets.")),
            ("listing", object(LISTING_KEYS, &["attribute"], &[("attribute", json!({ "type": "string" }))])),
            (
                "filters",
                object(
                    FILTER_KEYS,
                    &[],
                    &[("shortest", json!({ "type": "integer", "minimum": 0, "maximum": 10 }))],
                ),
            ),
            (
                "limits",
                object(
                    LIMIT_KEYS,
                    &[],
                    &[
                        ("size", count.clone()),
                        ("time", reference("duration")),
                        ("rate", RATE.schema()),
                        ("in_flight", count),
                    ],
                ),
            ),
            ("from", reference("date")),
            ("until", reference("date")),
        ],
    )
}

fn scope() -> Value {
    let count = json!({ "type": "integer", "minimum": 1 });
    let guard = object(&["count", "share"], &[], &[("count", count), ("share", reference("share"))]);
    let guards: Vec<(&str, Value)> = GUARD_KEYS.iter().map(|key| (*key, guard.clone())).collect();
    let source = object(
        SOURCE_KEYS,
        &[],
        &[
            ("from", text()),
            ("constant", text()),
            ("owner", one_of(&OWNERS.map(|(word, _)| word))),
            ("when_absent", one_of(&WHEN_ABSENT.map(|(word, _)| word))),
        ],
    );
    let listing = object(LOCAL_LISTING_KEYS, &["attribute"], &[("attribute", json!({ "type": "string" }))]);
    let publish = object(PUBLISH_KEYS, &["filter"], &[("bases", list_of(&text())), ("filter", text())]);
    object(
        SCOPE_KEYS,
        &["kind", "id", "members", "publish", "attributes"],
        &[
            ("id", identifier()),
            ("members", reference("members")),
            ("publish", publish),
            (
                "attributes",
                json!({ "type": "object", "additionalProperties": { "anyOf": [text(), source] } }),
            ),
            ("mail_domains", list_of(&text())),
            ("person", text()),
            ("listing", listing),
            ("leavers", object(&["keep"], &["keep"], &[("keep", reference("duration"))])),
            ("guards", object(GUARD_KEYS, &[], &guards)),
        ],
    )
}

fn test() -> Value {
    let verdict = object(
        &["verdict", "severity", "offenders"],
        &["verdict"],
        &[
            ("verdict", one_of(VERDICTS)),
            ("severity", reference("severity")),
            ("offenders", list_of(&text())),
        ],
    );
    let gate = one_of(&["open", "closed"]);
    let gates: Vec<(&str, Value)> = grants().into_iter().map(|grant| (grant, gate.clone())).collect();
    let expect = json!({
        "type": "object",
        "properties": { "grants": object(&grants(), &[], &gates) },
        "additionalProperties": { "anyOf": [one_of(VERDICTS), verdict] },
        "minProperties": 1,
    });
    let mut test = object(
        TEST_KEYS,
        &["kind", "name", "expect"],
        &[
            ("name", text()),
            ("like", told(text(), "Another test whose facts this one starts from.")),
            ("evidence", told(text(), "A recorded evidence document beside this file.")),
            ("given", told(json!({ "type": "object" }), "Facts, and records of collections.")),
            ("expect", expect),
        ],
    );
    demand(&mut test, &[("anyOf", needs(&["given", "like", "evidence"]))]);
    test
}
