//! Conditions.

use crate::policy::documents::{Clause, Operator, Test};
use crate::policy::fault::{Fault, Placed};
use crate::policy::fields::Reader;
use crate::policy::source::{Content, Node};

/// What other languages write, and what is written here.
const SYMBOLS: [(&str, &str); 8] = [
    (">=", "at_least"),
    ("<=", "at_most"),
    ("=", "is"),
    ("==", "is"),
    ("!=", "is_not"),
    ("in", "one_of"),
    ("not_in", "none_of"),
    ("regex", "matches"),
];
const JOINERS: [(&str, &str); 4] = [("or", "any"), ("and", "all"), ("none", "not"), ("one_of", "any")];

/// A map of facts to conditions, in which `all`, `any` and `not` nest.
pub fn clause(reader: &mut Reader, node: &Node) -> Clause {
    let mut parts = Vec::new();
    for (key, value) in reader.map(node, "a condition") {
        parts.push(match key.value.as_str() {
            "all" => Clause::All(several(reader, value)),
            "any" => Clause::Any(several(reader, value)),
            "not" => Clause::Not(Box::new(clause(reader, value))),
            word => {
                if let Some((_, ours)) = JOINERS.iter().find(|(theirs, _)| *theirs == word) {
                    let fault = Fault::new(&key.at, format!("`{word}` joins no conditions"));
                    reader.fault(fault.hint(format!("write `{ours}:` and a list of conditions")));
                    continue;
                }
                Clause::Fact { name: key.clone(), tests: tests(reader, value) }
            }
        });
    }
    if parts.is_empty() && matches!(&node.content, Content::Map(entries) if entries.is_empty()) {
        reader.fault(Fault::new(&node.at, "an empty condition says nothing").hint("name at least one fact"));
    }
    match <[Clause; 1]>::try_from(parts) {
        Ok([only]) => only,
        Err(parts) => Clause::All(parts),
    }
}

fn several(reader: &mut Reader, node: &Node) -> Vec<Clause> {
    match &node.content {
        Content::List(items) if !items.is_empty() => items.iter().map(|item| clause(reader, item)).collect(),
        Content::Map(_) => match clause(reader, node) {
            Clause::All(parts) => parts,
            one => vec![one],
        },
        _ => {
            reader.fault(Fault::new(&node.at, "a list of conditions is expected here"));
            Vec::new()
        }
    }
}

/// What is asked of one fact: a map of operators, or a bare value that means `is` (a bare list: `one_of` its items).
pub fn tests(reader: &mut Reader, node: &Node) -> Vec<Test> {
    let operand =
        |operator| vec![Test { operator: Placed::new(operator, node.at.clone()), operand: node.clone() }];
    match &node.content {
        Content::Map(entries) => {
            if entries.is_empty() {
                reader.fault(Fault::new(&node.at, "an empty condition says nothing"));
            }
            entries.iter().filter_map(|(key, value)| test(reader, key, value)).collect()
        }
        Content::Null => {
            reader.fault(
                Fault::new(&node.at, "a fact needs a condition").hint("for example `{ is: true }` or `true`"),
            );
            Vec::new()
        }
        Content::List(_) => operand(Operator::OneOf),
        Content::Scalar { .. } => operand(Operator::Is),
    }
}

fn test(reader: &mut Reader, key: &Placed<String>, value: &Node) -> Option<Test> {
    let found = Operator::ALL.iter().find(|(_, word)| *word == key.value);
    match found {
        Some((operator, _)) => {
            Some(Test { operator: Placed::new(*operator, key.at.clone()), operand: value.clone() })
        }
        None => {
            let fault = Fault::new(&key.at, format!("`{}` is no condition", key.value));
            let symbol = SYMBOLS.iter().find(|(symbol, _)| *symbol == key.value);
            reader.fault(match symbol {
                Some((_, word)) => fault.hint(format!("write `{word}`")),
                None => fault.nearest(&key.value, Operator::ALL.iter().map(|(_, word)| *word)),
            });
            None
        }
    }
}
