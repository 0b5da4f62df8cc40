//! Turns a tree into a module's own settings, and says in plain words what could not be read.
//!
//! serde speaks of the types of the program (`expected usize`); an operator is told what to write instead.

use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};

use crate::config::source::{Key, Node, Placed, Position};

/// Something that could not be read.
#[derive(Debug)]
pub struct Wrong {
    /// The keys that lead to it.
    path: Vec<String>,
    /// Where in the list at the end of the path, as in `[2]`.
    index: String,
    at: Option<Position>,
    pub what: What,
}

/// See [`Wrong`].
#[derive(Debug)]
pub enum What {
    /// Not a number, or one that the program cannot hold; what it is instead.
    NoNumber(String),
    /// Another value that is none; the end of a sentence that begins with the key, and what to do when that is known.
    NoValue(String, Option<&'static str>),
    /// A key that is not known, beside those that are.
    Unknown(&'static [&'static str]),
}

impl Wrong {
    fn new(what: What) -> Self {
        Wrong { path: Vec::new(), index: String::new(), at: None, what }
    }

    fn must_be(wanted: &str, value: &Node, hint: &'static str) -> Self {
        let message = format!("must be {wanted}, not {}", value.shown());
        Wrong::new(What::NoValue(message, Some(hint)))
    }

    fn below(mut self, key: &Key, at: Position) -> Self {
        self.path.insert(0, key.text.clone());
        self.at.get_or_insert(at);
        self
    }

    fn item(mut self, number: usize, at: Position) -> Self {
        let below: String = self.path.drain(..).map(|key| format!(".{key}")).collect();
        self.index = format!("[{number}]{below}{}", self.index);
        self.at.get_or_insert(at);
        self
    }

    /// Where it stands; `whole` when it is all of it.
    pub fn at(&self, whole: Position) -> Position {
        self.at.unwrap_or(whole)
    }

    /// The key, as in `directory.page_size`.
    pub fn key(&self) -> String {
        self.path.join(".") + &self.index
    }

    /// Takes the entry out of the tree that it was found in, in constant time; false when there is none. The others change
    /// places.
    pub fn take_out(&self, tree: &mut Placed) -> bool {
        let Some((last, above)) = self.path.split_last() else { return false };
        let mut here = tree;
        for part in above {
            let Node::Map(entries) = &mut here.node else { return false };
            let Some((_, below)) = entries.iter_mut().find(|(key, _)| key.text == *part) else {
                return false;
            };
            here = below;
        }
        let Node::Map(entries) = &mut here.node else { return false };
        let Some(place) = entries.iter().position(|(key, _)| key.text == *last) else { return false };
        entries.swap_remove(place);
        true
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.key(), self.what)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Wrong::new(What::NoValue(format!("cannot be read: {message}"), None))
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn de::Expected) -> Self {
        Wrong::new(What::NoValue(format!("must be {wanted}, not {found}"), None))
    }

    fn invalid_value(found: Unexpected<'_>, wanted: &dyn de::Expected) -> Self {
        Wrong::invalid_type(found, wanted)
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Wrong::new(What::Unknown(known))
    }
}

/// Reads settings out of a tree.
#[derive(Debug, Clone, Copy)]
pub struct Typed<'a>(pub &'a Placed);

/// Numbers are read by their type, so that none of them is told by its name in the program.
macro_rules! numbers {
    ($($read:ident, $visit:ident, $type:ty;)*) => { $(
        fn $read<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            match self.0.node {
                Node::Integer(number) if <$type>::try_from(number).is_ok() => {
                    visitor.$visit(<$type>::try_from(number).unwrap_or_default())
                }
                ref other => Err(Wrong::new(What::NoNumber(other.shown()))),
            }
        }
    )* };
}

impl<'de> Deserializer<'de> for Typed<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.0.node {
            Node::Null => visitor.visit_unit(),
            Node::Boolean(value) => visitor.visit_bool(*value),
            Node::Integer(value) => visitor.visit_i128(*value),
            Node::Number(value) => visitor.visit_f64(*value),
            Node::Text(value) => visitor.visit_borrowed_str(value),
            Node::List(items) => visitor.visit_seq(Items(items.iter().enumerate())),
            Node::Map(entries) => visitor.visit_map(Entries { entries: entries.iter(), next: None }),
        }
    }

    numbers! {
        deserialize_u8, visit_u8, u8;
        deserialize_u16, visit_u16, u16;
        deserialize_u32, visit_u32, u32;
        deserialize_u64, visit_u64, u64;
        deserialize_i8, visit_i8, i8;
        deserialize_i16, visit_i16, i16;
        deserialize_i32, visit_i32, i32;
        deserialize_i64, visit_i64, i64;
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.0.node {
            Node::Boolean(value) => visitor.visit_bool(*value),
            other => {
                Err(Wrong::must_be("`true` or `false`", other, "write `true` or `false` without quotes"))
            }
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.0.node {
            Node::Text(value) => visitor.visit_borrowed_str(value),
            other => {
                let hint = "write a text, in quotes when it looks like a number";
                Err(Wrong::must_be("a text", other, hint))
            }
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0.node {
            Node::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.0.node {
            Node::List(_) => self.deserialize_any(visitor),
            other => Err(Wrong::must_be("a list", other, "write it in square brackets, as in `[one, two]`")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match &self.0.node {
            Node::Map(_) => self.deserialize_any(visitor),
            other => {
                let hint = "write `key: value` lines, indented below it";
                Err(Wrong::must_be("a section of keys and values", other, hint))
            }
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match &self.0.node {
            Node::Text(word) if words.contains(&word.as_str()) => {
                visitor.visit_enum(word.as_str().into_deserializer())
            }
            other => {
                let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                Err(Wrong::must_be(&words.join(" or "), other, "write one of these words"))
            }
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 f32 f64 char bytes byte_buf unit unit_struct newtype_struct tuple tuple_struct map identifier ignored_any
    }
}

struct Entries<'a> {
    entries: std::slice::Iter<'a, (Key, Placed)>,
    next: Option<&'a (Key, Placed)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        self.next = self.entries.next();
        let Some((key, _)) = self.next else { return Ok(None) };
        let name: de::value::StrDeserializer<'de, Wrong> = key.text.as_str().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|wrong| wrong.below(key, key.at))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let Some((key, value)) = self.next.take() else {
            return Err(de::Error::custom("a value without a key"));
        };
        seed.deserialize(Typed(value)).map_err(|wrong| wrong.below(key, value.at))
    }
}

struct Items<'a>(std::iter::Enumerate<std::slice::Iter<'a, Placed>>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        let Some((number, item)) = self.0.next() else { return Ok(None) };
        seed.deserialize(Typed(item)).map(Some).map_err(|wrong| wrong.item(number, item.at))
    }
}
