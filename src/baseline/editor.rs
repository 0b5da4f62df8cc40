//! What can be asked of each fact, as JSON Schema for editors: operators that fit its type, values that it can have, and what it is.

use serde_json::{Map, Value, json};

use crate::baseline::catalogue::{Catalogue, Known};
use crate::baseline::typing::fits;
use crate::baseline::value::{Element, Type};
use crate::policy::documents::Operator;
use crate::policy::fault::{Place, Placed};

/// Every fact by each name that a condition may use: `users.enabled` is `enabled` in a control over `users`, too.
pub fn facts(catalogue: &Catalogue) -> Map<String, Value> {
    let mut all: Map<String, Value> = Map::new();
    for (name, known) in &catalogue.records {
        add(&mut all, name.clone(), known);
    }
    for (collection, facts) in &catalogue.collections {
        for (short, known) in facts {
            add(&mut all, short.clone(), known);
            add(&mut all, format!("{collection}.{short}"), known);
        }
    }
    all
}

/// Facts of several collections may have one short name and different types.
fn add(all: &mut Map<String, Value>, name: String, known: &Known) {
    let schema = asked(known);
    match all.get_mut(&name).and_then(|one| one.get_mut("anyOf")).and_then(Value::as_array_mut) {
        Some(ways) => {
            let more = schema.get("anyOf").and_then(Value::as_array).cloned().unwrap_or_default();
            more.into_iter().for_each(|way| {
                if !ways.contains(&way) {
                    ways.push(way);
                }
            });
        }
        None => {
            all.insert(name, schema);
        }
    }
}

fn asked(known: &Known) -> Value {
    let value = value(&known.kind);
    let of = |operator: Operator| match operator {
        Operator::Present | Operator::Absent => json!({ "type": "boolean" }),
        Operator::Is | Operator::IsNot if is_set(&known.kind) => json!({ "anyOf": [value, list(&value)] }),
        Operator::Is | Operator::IsNot | Operator::AtLeast | Operator::AtMost => value.clone(),
        Operator::Between => json!({ "type": "array", "items": value, "minItems": 2, "maxItems": 2 }),
        Operator::Matches => json!({ "type": "string", "minLength": 1 }),
        Operator::Before | Operator::After => json!({ "type": "string" }),
        Operator::Within => json!({ "$ref": "#/$defs/duration" }),
        _ => json!({ "anyOf": [value, list(&value)] }),
    };
    let nowhere = Place::nowhere();
    let operators: Map<String, Value> = Operator::ALL
        .into_iter()
        .filter(|(operator, _)| fits(&Placed::new(*operator, nowhere.clone()), &known.kind).is_ok())
        .map(|(operator, word)| (word.to_owned(), of(operator)))
        .collect();
    let map = json!({ "type": "object", "properties": operators, "additionalProperties": false, "minProperties": 1 });
    json!({
        "anyOf": [map, value, list(&value)],
        "description": format!("{} ({})", known.title, known.kind.name()),
    })
}

fn is_set(kind: &Type) -> bool {
    matches!(kind, Type::Set(_) | Type::Flags(_))
}

fn list(value: &Value) -> Value {
    json!({ "type": "array", "items": value })
}

/// One value of the type, or a parameter.
fn value(kind: &Type) -> Value {
    const PARAMETER: &str = "^\\$[a-z]";
    let or_parameter = |value: Value| json!({ "anyOf": [value, { "type": "string", "pattern": PARAMETER }] });
    let words = |words: &[String]| or_parameter(json!({ "enum": words }));
    match kind {
        Type::Boolean => or_parameter(json!({ "type": "boolean" })),
        Type::Integer => or_parameter(json!({ "type": "integer" })),
        Type::Duration => json!({ "$ref": "#/$defs/duration" }),
        Type::Percent => json!({ "$ref": "#/$defs/share" }),
        Type::Version(ladder) | Type::Set(Element::Version(ladder)) => {
            or_parameter(json!({ "enum": ladder.names() }))
        }
        Type::Word(names) | Type::Flags(names) | Type::Set(Element::Word(names)) => words(names),
        // digits alone are a text, too
        _ => json!({ "type": ["string", "integer", "number"] }),
    }
}
