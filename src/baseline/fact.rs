//! One fact, and the facts of one object.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::baseline::value::Value;

/// One fact. Everything but `Known` and `Absent` makes what depends on it unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    Known(Value),
    /// Asked, readable, not set.
    Absent,
    /// We may not read it.
    Hidden,
    /// Asked, and something went wrong.
    Failed(String),
    /// Never asked.
    NotCollected(String),
}

impl Fact {
    /// The value, when it is known.
    pub fn known(&self) -> Option<&Value> {
        match self {
            Fact::Known(value) => Some(value),
            _ => None,
        }
    }

    /// A known truth value.
    pub fn boolean(value: bool) -> Fact {
        Fact::Known(Value::Boolean(value))
    }

    /// A known integer.
    pub fn integer(value: i64) -> Fact {
        Fact::Known(Value::Integer(value))
    }

    /// A known text.
    pub fn text(value: impl Into<String>) -> Fact {
        Fact::Known(Value::Text(value.into()))
    }

    /// A known duration of so many seconds.
    pub fn duration(seconds: i64) -> Fact {
        Fact::Known(Value::Duration(seconds))
    }

    /// A known set of names.
    pub fn set<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Fact {
        Fact::Known(Value::Set(names.into_iter().map(Into::into).collect()))
    }
}

/// Facts by short name (`machine_account_quota`, not `domain.machine_account_quota`).
pub type Record = BTreeMap<String, Fact>;
