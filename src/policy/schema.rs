//! JSON Schema (2020-12) of policy documents, for editors. `policy check` is stricter: it knows types and references.

use serde_json::{Map, Value, json};

use crate::policy::documents::{Exceptions, Operator};
use crate::policy::read::agreement::{AUDIENCE_KEYS, FILTER_KEYS, LIMIT_KEYS, LISTING_KEYS, RELEASE_KEYS};
use crate::policy::read::attest::STATEMENT_KEYS;
use crate::policy::read::baseline::{BASELINE_KEYS, CONTROL_KEYS, EXCEPTION_KEYS, GRANT_KEYS, PROFILE_KEYS};
use crate::policy::read::facts::{ATTRIBUTE_KEYS, FACTS_KEYS, READ_KEYS, TYPES};
use crate::policy::read::scope::{GUARD_KEYS, PUBLISH_KEYS, SCOPE_KEYS};
use crate::policy::read::test::{TEST_KEYS, VERDICTS};
use crate::policy::terms::{Grant, Severity, Stage};

/// The schema of any document; `facts` are the names that conditions may use.
pub fn schema(facts: &[String]) -> Value {
    let documents: Vec<Value> = [
        ("Baseline", baseline()),
        ("Controls", controls()),
        ("Facts", declarations()),
        ("Profile", object(PROFILE_KEYS, &[])),
        ("Exception", object(EXCEPTION_KEYS, &[])),
        ("Release", release()),
        ("SyncScope", scope()),
        ("PolicyTest", test()),
    ]
    .into_iter()
    .map(|(kind, schema)| of_kind(kind, schema))
    .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Portcullis policy document",
        "oneOf": documents,
        "$defs": {
            "severity": schemars::schema_for!(Severity).to_value(),
            "stage": schemars::schema_for!(Stage).to_value(),
            "clause": clause(facts),
            "tests": tests(),
        },
    })
}

fn of_kind(kind: &str, mut schema: Value) -> Value {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("kind".into(), json!({ "const": kind }));
    }
    if let Some(map) = schema.as_object_mut() {
        map.insert("required".into(), json!(["kind"]));
    }
    schema
}

/// A map with these keys and no others; those that are not described may hold anything.
fn object(keys: &[&str], described: &[(&str, Value)]) -> Value {
    let mut properties: Map<String, Value> =
        keys.iter().map(|key| ((*key).to_owned(), json!(true))).collect();
    properties.extend(described.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn list_of(item: &Value) -> Value {
    json!({ "type": "array", "items": item })
}

fn one_of(words: &[&str]) -> Value {
    json!({ "enum": words })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn grants() -> Vec<&'static str> {
    Grant::ALL.iter().map(|grant| grant.as_str()).collect()
}

fn baseline() -> Value {
    let severities = json!({ "anyOf": [reference("severity"), list_of(&reference("severity"))] });
    let rule = object(GRANT_KEYS, &[("deny_on", severities), ("unknown", one_of(&["deny", "fail"]))]);
    let rules: Vec<(&str, Value)> = grants().into_iter().map(|grant| (grant, rule.clone())).collect();
    object(BASELINE_KEYS, &[("stage", reference("stage")), ("grants", object(&grants(), &rules))])
}

fn controls() -> Value {
    let control = object(
        CONTROL_KEYS,
        &[
            ("severity", reference("severity")),
            ("stage", reference("stage")),
            ("when", reference("clause")),
            ("where", reference("clause")),
            ("require", reference("clause")),
            ("count", reference("tests")),
            ("distinct", json!({ "type": "string" })),
            ("exceptions", one_of(&Exceptions::WORDS.map(|(word, _)| word))),
            ("why", json!({ "type": "string" })),
            ("fix", json!({ "type": "string" })),
        ],
    );
    object(&["kind", "controls"], &[("controls", list_of(&control))])
}

fn clause(facts: &[String]) -> Value {
    let mut properties: Map<String, Value> =
        facts.iter().map(|fact| (fact.clone(), reference("tests"))).collect();
    let several = json!({ "anyOf": [list_of(&reference("clause")), reference("clause")] });
    properties.insert("all".into(), several.clone());
    properties.insert("any".into(), several);
    properties.insert("not".into(), reference("clause"));
    json!({ "type": "object", "properties": properties })
}

fn tests() -> Value {
    let operators: Vec<&str> = Operator::ALL.iter().map(|(_, word)| *word).collect();
    json!({ "anyOf": [object(&operators, &[]), { "type": ["string", "number", "boolean", "array"] }] })
}

fn declarations() -> Value {
    let read = object(READ_KEYS, &[("scope", one_of(&["base", "one", "subtree"]))]);
    let attribute = object(ATTRIBUTE_KEYS, &[("type", one_of(TYPES))]);
    let attributes = json!({ "type": "object", "additionalProperties": attribute });
    let text = json!({ "type": "string" });
    let mut statement = object(STATEMENT_KEYS, &[("statement", text.clone()), ("at_most", text)]);
    if let Some(map) = statement.as_object_mut() {
        map.insert("required".into(), json!(STATEMENT_KEYS));
    }
    let attest = json!({ "type": "object", "additionalProperties": statement, "minProperties": 1 });
    let described = [("read", read), ("attributes", attributes), ("attest", attest)];
    let mut declaration = object(FACTS_KEYS, &described);
    if let Some(map) = declaration.as_object_mut() {
        // what is attested is not read
        let read = json!({ "anyOf": [{ "required": ["read"] }, { "required": ["attributes"] }] });
        let either = json!([{ "required": ["read", "attributes"] }, { "required": ["attest"], "not": read }]);
        map.insert("oneOf".into(), either);
    }
    object(&["kind", "facts"], &[("facts", list_of(&declaration))])
}

fn release() -> Value {
    let categories = one_of(&["person", "connector", "application"]);
    object(
        RELEASE_KEYS,
        &[
            ("audience", object(AUDIENCE_KEYS, &[("category", categories)])),
            ("listing", object(LISTING_KEYS, &[("attribute", json!({ "type": "string" }))])),
            ("filters", object(FILTER_KEYS, &[("shortest", json!({ "type": "integer", "minimum": 0 }))])),
            ("limits", object(LIMIT_KEYS, &[])),
        ],
    )
}

fn scope() -> Value {
    object(SCOPE_KEYS, &[("publish", object(PUBLISH_KEYS, &[])), ("guards", object(GUARD_KEYS, &[]))])
}

fn test() -> Value {
    let verdict = json!({ "anyOf": [one_of(VERDICTS), { "type": "object" }] });
    let expect = json!({
        "type": "object",
        "properties": { "grants": { "type": "object" } },
        "additionalProperties": verdict,
    });
    object(TEST_KEYS, &[("given", json!({ "type": "object" })), ("expect", expect)])
}
