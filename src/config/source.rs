//! A YAML document as a tree in which every value knows where it stands.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use crate::config::fault::{Fault, Weight};
use crate::policy::yaml;

/// Characters of a text that are repeated in a message.
const SHOWN: usize = 40;

/// Where a value or key begins: line and column from 1, in characters; 0 when unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    pub line: u64,
    pub column: u64,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Null,
    Boolean(bool),
    Integer(i128),
    Number(f64),
    Text(String),
    List(Vec<Placed>),
    /// In the order of the file; no key twice.
    Map(Vec<(Key, Placed)>),
}

impl Node {
    /// What kind of value it is, for a message.
    pub fn kind(&self) -> &'static str {
        match self {
            Node::Null => "nothing",
            Node::Boolean(_) => "a boolean",
            Node::Integer(_) => "an integer",
            Node::Number(_) => "a number",
            Node::Text(_) => "a text",
            Node::List(_) => "a list",
            Node::Map(_) => "a section",
        }
    }

    /// The value as it is repeated in a message: on one line, and not all of a long text.
    pub fn shown(&self) -> String {
        match self {
            Node::Boolean(value) => format!("`{value}`"),
            Node::Integer(value) => value.to_string(),
            Node::Number(value) => value.to_string(),
            Node::Text(text) => {
                let mut start: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
                if text.chars().count() > SHOWN {
                    start.push_str("...");
                }
                format!("`{start}`")
            }
            Node::Null | Node::List(_) | Node::Map(_) => self.kind().to_owned(),
        }
    }
}

/// A key and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub text: String,
    pub at: Position,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    pub at: Position,
    pub node: Node,
}

/// Reads a document. One syntax fault ends it, because nothing after it can be trusted.
pub fn parse(text: &str) -> Result<Placed, Fault> {
    serde_yaml::from_str::<Placed>(text).map_err(|error| {
        let at = error.location().map(position).unwrap_or_default();
        let (message, hint) = yaml::plain(&error).unwrap_or_else(|| {
            let hint = "look at the indentation, the colons and the quotes on this line and the one before";
            (first_line(&error.without_snippet().render()), hint.to_owned())
        });
        Fault { line: at.line, column: at.column, weight: Weight::Fault, message, hint }
    })
}

fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("not YAML");
    line.trim_start_matches("error: ").to_owned()
}

fn position(location: serde_yaml::Location) -> Position {
    Position { line: location.line(), column: location.column() }
}

impl<'de> Deserialize<'de> for Placed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Node>::deserialize(deserializer)?;
        Ok(Placed { at: position(spanned.referenced), node: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Integer(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let key = Key { at: position(key.referenced), text: key.value };
            entries.push((key, map.next_value()?));
        }
        Ok(Node::Map(entries))
    }
}
