//! Settings that make no sense. Each module says of its own settings what they may be, beside them; whoever reads them
//! from a file says where they stand.

use std::fmt::Display;
use std::ops::RangeInclusive;

/// A setting that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonsense {
    /// The key below the module's own settings, as in `directory.page_size`.
    pub key: String,
    /// The end of a sentence that begins with the key.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// What a number may be, its ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// As [`Nonsense::key`].
    pub key: String,
    pub least: u64,
    pub most: u64,
}

/// Settings that know what they may be.
pub trait Checked {
    /// What they may be, and what in them is not so.
    fn bounds(&self) -> Bounds;

    /// Everything in them that makes no sense.
    fn faults(&self) -> Vec<Nonsense> {
        self.bounds().nonsense
    }
}

/// Gathers what settings may be, and what makes no sense.
#[derive(Debug, Default)]
pub struct Bounds {
    nonsense: Vec<Nonsense>,
    limits: Vec<Limit>,
}

impl Bounds {
    /// The value must lie in the range, its ends included.
    #[must_use]
    pub fn within<N: Copy + PartialOrd + Display + TryInto<u64>>(
        mut self,
        key: &str,
        value: N,
        range: RangeInclusive<N>,
    ) -> Self {
        let within = range.contains(&value);
        let (low, high) = range.into_inner();
        if !within {
            self.note(
                key,
                format!("must be from {low} to {high}, not {value}"),
                "leave the key out for its default",
            );
        }
        // no number of a setting has more than 64 bits, nor is it below zero
        let plain = |end: N| end.try_into().unwrap_or(u64::MAX);
        self.limits.push(Limit { key: key.to_owned(), least: plain(low), most: plain(high) });
        self
    }

    /// The value must not be less than that of another key.
    #[must_use]
    pub fn not_below<N: Copy + PartialOrd + Display>(
        mut self,
        key: &str,
        value: N,
        other: &str,
        least: N,
    ) -> Self {
        if value < least {
            let hint = format!("raise it, or lower `{other}`");
            self.note(key, format!("must not be less than `{other}` ({least}), but is {value}"), &hint);
        }
        self
    }

    /// The value must be less than that of another key.
    #[must_use]
    pub fn below<N: Copy + PartialOrd + Display>(
        mut self,
        key: &str,
        value: N,
        other: &str,
        above: N,
    ) -> Self {
        if value >= above {
            let hint = format!("lower it, or raise `{other}`");
            self.note(key, format!("must be below `{other}` ({above}), but is {value}"), &hint);
        }
        self
    }

    /// The value must not be more than that of another key.
    #[must_use]
    pub fn not_above<N: Copy + PartialOrd + Display>(
        mut self,
        key: &str,
        value: N,
        other: &str,
        most: N,
    ) -> Self {
        if value > most {
            let hint = format!("lower it, or raise `{other}`");
            self.note(key, format!("must not be more than `{other}` ({most}), but is {value}"), &hint);
        }
        self
    }

    /// Something else that must be so.
    #[must_use]
    pub fn holds(mut self, key: &str, good: bool, message: &str, hint: &str) -> Self {
        if !good {
            self.note(key, message.to_owned(), hint);
        }
        self
    }

    /// Takes in what the settings below `key` may be, and what makes no sense in them.
    #[must_use]
    pub fn inside(mut self, key: &str, inner: &impl Checked) -> Self {
        let inner = inner.bounds();
        let below = |name: String| format!("{key}.{name}");
        let nonsense = inner.nonsense.into_iter();
        self.nonsense.extend(nonsense.map(|fault| Nonsense { key: below(fault.key), ..fault }));
        let limits = inner.limits.into_iter();
        self.limits.extend(limits.map(|limit| Limit { key: below(limit.key), ..limit }));
        self
    }

    /// What each number may be.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    fn note(&mut self, key: &str, message: String, hint: &str) {
        self.nonsense.push(Nonsense { key: key.to_owned(), message, hint: hint.to_owned() });
    }
}
