//! From conditions as written to typed predicates.

use std::collections::BTreeSet;

use regex::RegexBuilder;

use crate::baseline::catalogue::{Catalogue, Known, Origin};
use crate::baseline::literal::{self, Parameters};
use crate::baseline::predicate::{Check, Predicate, Test};
use crate::baseline::value::{Element, Type, Value};
use crate::policy::documents::{self, Clause, Operator};
use crate::policy::fault::{Fault, Placed};
use crate::policy::source::{Content, Node};

/// No compiled pattern takes more bytes.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// Gathers faults and what was used while one baseline is compiled.
#[derive(Debug)]
pub struct Typing<'a> {
    pub catalogue: &'a Catalogue,
    pub parameters: &'a Parameters,
    pub used_parameters: BTreeSet<String>,
    /// Full names of the facts that some condition uses.
    pub used_facts: BTreeSet<String>,
    pub faults: Vec<Fault>,
}

impl<'a> Typing<'a> {
    /// Nothing used yet.
    pub fn new(catalogue: &'a Catalogue, parameters: &'a Parameters) -> Typing<'a> {
        Typing {
            catalogue,
            parameters,
            used_parameters: BTreeSet::new(),
            used_facts: BTreeSet::new(),
            faults: Vec::new(),
        }
    }

    /// A typed predicate; parts with faults are left out (the baseline is refused anyway).
    pub fn predicate(&mut self, clause: &Clause, collection: Option<&str>) -> Predicate {
        match clause {
            Clause::All(parts) => {
                Predicate::All(parts.iter().map(|p| self.predicate(p, collection)).collect())
            }
            Clause::Any(parts) => {
                Predicate::Any(parts.iter().map(|p| self.predicate(p, collection)).collect())
            }
            Clause::Not(inner) => Predicate::Not(Box::new(self.predicate(inner, collection))),
            Clause::Fact { name, tests } => {
                let Some((full, short, known)) = self.fact(name, collection) else {
                    return Predicate::All(Vec::new());
                };
                let tests = self.tests(tests, &full, short.as_deref(), &known);
                let mut tests: Vec<Predicate> = tests.into_iter().map(Predicate::Test).collect();
                match (tests.len(), tests.pop()) {
                    (1, Some(only)) => only,
                    (_, last) => {
                        tests.extend(last);
                        Predicate::All(tests)
                    }
                }
            }
        }
    }

    /// Looks a fact up: full name, short name in the record at hand (when there is one), what is known of it.
    pub fn fact(
        &mut self,
        name: &Placed<String>,
        collection: Option<&str>,
    ) -> Option<(String, Option<String>, Known)> {
        let records = collection.and_then(|c| self.catalogue.collections.get(c).map(|facts| (c, facts)));
        if let Some((collection, facts)) = records {
            let short = name.value.strip_prefix(&format!("{collection}.")).unwrap_or(&name.value);
            if let Some(known) = facts.get(short) {
                let full = format!("{collection}.{short}");
                self.used_facts.insert(full.clone());
                return Some((full, Some(short.to_owned()), known.clone()));
            }
        }
        if collection.is_some() && records.is_none() {
            // that there is no such collection is told where it is named
            return None;
        }
        if let Some(known) = self.catalogue.records.get(&name.value) {
            self.used_facts.insert(name.value.clone());
            return Some((name.value.clone(), None, known.clone()));
        }
        let fault = Fault::absent(&name.at, format!("there is no fact `{}`", name.value));
        let ranged = name.value.split_once('.').filter(|(c, _)| self.catalogue.collections.contains_key(*c));
        let fault = match (ranged, records) {
            (Some((other, _)), None) => fault
                .hint(format!("`{other}` is a collection: use `for_each: {other}` to look at its records")),
            (_, Some((_, facts))) => {
                let all = facts.keys().chain(self.catalogue.records.keys()).map(String::as_str);
                fault.nearest(&name.value, all)
            }
            _ => fault.nearest(&name.value, self.catalogue.records.keys().map(String::as_str)),
        };
        let fault = match fault.hint {
            None => {
                fault.hint("`portcullis policy facts` lists every fact with its type and where it comes from")
            }
            Some(_) => fault,
        };
        self.faults.push(fault);
        None
    }

    /// Typed tests on one fact.
    pub fn tests(
        &mut self,
        tests: &[documents::Test],
        fact: &str,
        in_record: Option<&str>,
        known: &Known,
    ) -> Vec<Test> {
        let mut out = Vec::new();
        for test in tests {
            match self.check(test, &known.kind).and_then(|check| counts(check, known, &test.operand)) {
                Ok(check) => out.push(Test {
                    fact: fact.to_owned(),
                    in_record: in_record.map(str::to_owned),
                    kind: known.kind.clone(),
                    check,
                    at: test.operator.at.clone(),
                }),
                Err(fault) => {
                    let fault = self.at_parameter(&test.operand, fault.named(fact));
                    self.faults.push(fault);
                }
            }
        }
        out
    }

    /// What is wrong with the value of a parameter is told where that value stands: in the baseline, or in the profile that has another.
    fn at_parameter(&self, operand: &Node, mut fault: Fault) -> Fault {
        let named = match &operand.content {
            Content::Scalar { text, plain: true } => text.strip_prefix('$'),
            _ => None,
        };
        if let Some((name, value)) = named.and_then(|name| Some((name, self.parameters.get(name)?)))
            && fault.place == operand.at
        {
            fault.place = value.at.clone();
            fault.message = format!("{}, which `${name}` asks for at {}", fault.message, operand.at);
        }
        fault
    }

    /// The node that an operand stands for.
    ///
    /// # Errors
    /// A parameter that does not exist.
    pub fn resolve(&mut self, node: &Node) -> Result<Node, Fault> {
        literal::resolve(node, self.parameters, &mut self.used_parameters)
    }

    fn check(&mut self, test: &documents::Test, kind: &Type) -> Result<Check, Fault> {
        let operator = test.operator.value;
        let node = self.resolve(&test.operand)?;
        fits(&test.operator, kind)?;
        Ok(match operator {
            Operator::Is => Check::Is(literal::value(&node, kind)?),
            Operator::IsNot => Check::IsNot(literal::value(&node, kind)?),
            Operator::OneOf => Check::OneOf(self.values(&node, kind)?),
            Operator::NoneOf => Check::NoneOf(self.values(&node, kind)?),
            Operator::AtLeast => Check::AtLeast(literal::value(&node, &ordered(kind))?),
            Operator::AtMost => Check::AtMost(literal::value(&node, &ordered(kind))?),
            Operator::Between => {
                let Content::List(items) = &node.content else { return Err(two_bounds(&node)) };
                let [low, high] = items.as_slice() else { return Err(two_bounds(&node)) };
                let (low, high) = (self.resolve(low)?, self.resolve(high)?);
                let (low_value, high_value) =
                    (literal::value(&low, &ordered(kind))?, literal::value(&high, &ordered(kind))?);
                if !matches!(kind, Type::Version(_) | Type::Set(_)) && low_value > high_value {
                    return Err(Fault::new(
                        &node.at,
                        "nothing lies between these bounds: the first is greater",
                    ));
                }
                Check::Between(low_value, high_value)
            }
            Operator::Contains => Check::Contains(literal::members(&node, kind)?),
            Operator::ContainsAny => Check::ContainsAny(literal::members(&node, kind)?),
            Operator::ContainsNone => Check::ContainsNone(literal::members(&node, kind)?),
            Operator::SubsetOf => Check::SubsetOf(literal::members(&node, kind)?),
            Operator::Matches => Check::Matches(pattern(&node)?),
            Operator::Present => presence(&node, Check::Present, Check::Absent)?,
            Operator::Absent => presence(&node, Check::Absent, Check::Present)?,
            Operator::Before => Check::Before(literal::moment(&node)?),
            Operator::After => Check::After(literal::moment(&node)?),
            Operator::Within => match literal::value(&node, &Type::Duration)? {
                crate::baseline::value::Value::Duration(seconds) => Check::Within(seconds),
                _ => return Err(Fault::new(&node.at, "a duration is expected here")),
            },
        })
    }

    fn values(&mut self, node: &Node, kind: &Type) -> Result<Vec<crate::baseline::value::Value>, Fault> {
        match &node.content {
            Content::List(items) if items.is_empty() => {
                Err(Fault::new(&node.at, "an empty list says nothing").hint("name at least one value"))
            }
            Content::List(items) => items
                .iter()
                .map(|item| {
                    let item = self.resolve(item)?;
                    literal::value(&item, kind)
                })
                .collect(),
            _ => Ok(vec![literal::value(node, kind)?]),
        }
    }
}

/// What a probe counts is never below zero: such a bound always holds, or never.
fn counts(check: Check, known: &Known, operand: &Node) -> Result<Check, Fault> {
    let below = |value: &Value| matches!(value, Value::Integer(number) if *number < 0);
    let negative = match &check {
        Check::AtLeast(value) | Check::AtMost(value) | Check::Is(value) | Check::IsNot(value) => below(value),
        Check::Between(low, high) => below(low) || below(high),
        _ => false,
    };
    if negative && matches!(known.origin, Origin::Probe) {
        return Err(Fault::new(&operand.at, "this number is never below 0").hint("write 0 or more"));
    }
    Ok(check)
}

fn two_bounds(node: &Node) -> Fault {
    Fault::new(&node.at, "`between` needs a list of two values").hint("write `between: [5, 10]`")
}

/// The type of a bound: for a set of versions, each of them is held against it.
fn ordered(kind: &Type) -> Type {
    match kind {
        Type::Set(Element::Version(ladder)) => Type::Version(*ladder),
        other => other.clone(),
    }
}

fn presence(node: &Node, yes: Check, no: Check) -> Result<Check, Fault> {
    match node.scalar() {
        Some("true") => Ok(yes),
        Some("false") => Ok(no),
        _ => Err(Fault::new(&node.at, "`true` or `false` is expected here")),
    }
}

fn pattern(node: &Node) -> Result<regex::Regex, Fault> {
    let text = node.scalar().ok_or_else(|| Fault::new(&node.at, "a pattern is expected here"))?;
    RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build().map_err(|error| {
        let last = error.to_string().lines().last().unwrap_or("").trim().to_owned();
        let last = last.strip_prefix("error: ").unwrap_or(&last).to_owned();
        Fault::new(&node.at, format!("`{text}` is not a pattern: {last}")).hint(
            "escape `.`, `(`, `[`, `\\` and the like with a backslash, and put the pattern in single quotes",
        )
    })
}

/// Whether an operator can ask anything of a type.
pub fn fits(operator: &Placed<Operator>, kind: &Type) -> Result<(), Fault> {
    let set = matches!(kind, Type::Set(_) | Type::Flags(_));
    let numeric = matches!(
        kind,
        Type::Integer | Type::Duration | Type::Percent | Type::Version(_) | Type::Set(Element::Version(_))
    );
    let text =
        matches!(kind, Type::Text | Type::Dn | Type::Sid | Type::Guid | Type::Word(_) | Type::Version(_));
    let instant = matches!(kind, Type::Instant);
    let (good, hint) = match operator.value {
        Operator::AtLeast | Operator::AtMost | Operator::Between => {
            (numeric, if instant { "use `before`, `after` or `within`" } else { "use `is` or `one_of`" })
        }
        Operator::Contains | Operator::ContainsAny | Operator::ContainsNone | Operator::SubsetOf => {
            (set, "use `is`, `one_of` or `none_of`")
        }
        Operator::OneOf | Operator::NoneOf => (!set, "use `contains_any`, `contains_none` or `subset_of`"),
        Operator::Matches => (text || set, "`matches` is for texts and sets of texts"),
        Operator::Before | Operator::After | Operator::Within => (instant, "use `at_least` or `at_most`"),
        Operator::Is | Operator::IsNot | Operator::Present | Operator::Absent => (true, ""),
    };
    if good {
        return Ok(());
    }
    let message = format!("`{}` asks nothing of a fact of type {}", operator.value.as_str(), kind.name());
    Err(Fault::new(&operator.at, message).hint(hint))
}

/// Faults of operands name the fact.
trait Named {
    fn named(self, fact: &str) -> Self;
}

impl Named for Fault {
    fn named(mut self, fact: &str) -> Fault {
        self.message = format!("{} (fact `{fact}`)", self.message);
        self
    }
}
