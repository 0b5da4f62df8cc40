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

/// Settings that know what they may be.
pub trait Checked {
    /// Everything in them that makes no sense.
    fn faults(&self) -> Vec<Nonsense>;
}

/// Gathers what makes no sense.
#[derive(Debug, Default)]
pub struct Bounds(Vec<Nonsense>);

impl Bounds {
    /// The value must lie in the range, its ends included.
    #[must_use]
    pub fn within<N: Copy + PartialOrd + Display>(
        mut self,
        key: &str,
        value: N,
        range: RangeInclusive<N>,
    ) -> Self {
        if !range.contains(&value) {
            let (low, high) = range.into_inner();
            self.note(
                key,
                format!("must be from {low} to {high}, not {value}"),
                "leave the key out for its default",
            );
        }
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

    /// Something else that must be so.
    #[must_use]
    pub fn holds(mut self, key: &str, good: bool, message: &str, hint: &str) -> Self {
        if !good {
            self.note(key, message.to_owned(), hint);
        }
        self
    }

    /// Takes in what makes no sense in the settings below `key`.
    #[must_use]
    pub fn inside(mut self, key: &str, inner: &impl Checked) -> Self {
        self.0.extend(
            inner.faults().into_iter().map(|fault| Nonsense { key: format!("{key}.{}", fault.key), ..fault }),
        );
        self
    }

    /// All of it.
    pub fn faults(self) -> Vec<Nonsense> {
        self.0
    }

    fn note(&mut self, key: &str, message: String, hint: &str) {
        self.0.push(Nonsense { key: key.to_owned(), message, hint: hint.to_owned() });
    }
}
