//! What is wrong with a policy document, and where.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Where something stands in a policy file. Line and column count from 1, in characters; a line of 0 means that the
/// value came from no file (an exception granted by command, a test).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The path below the policy folder.
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
    /// How many characters to underline; at least 1.
    #[serde(skip, default = "one")]
    pub length: u32,
}

fn one() -> u32 {
    1
}

impl Place {
    /// No file.
    pub fn nowhere() -> Place {
        Place { file: Arc::from(""), line: 0, column: 0, length: 1 }
    }

    /// The start of a file.
    pub fn start_of(file: &str) -> Place {
        Place { file: Arc::from(file), line: 1, column: 1, length: 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            f.write_str("-")
        } else {
            write!(f, "{}:{}:{}", self.file, self.line, self.column)
        }
    }
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed<T> {
    pub value: T,
    pub at: Place,
}

impl<T> Placed<T> {
    /// `value` as it stands at `at`.
    pub fn new(value: T, at: Place) -> Placed<T> {
        Placed { value, at }
    }
}

/// One thing that is wrong with a policy set. A set with a fault is never loaded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Fault {
    #[serde(flatten)]
    pub place: Place,
    /// One sentence, lower case.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The line of the file that `place` names, without its end; empty when there is none.
    pub source_line: String,
    /// It says that something is not there: what could not be read may define it.
    #[serde(skip)]
    absent: bool,
}

impl Fault {
    /// A fault at `place`. The source line is filled in when the faults of a set are gathered.
    pub fn new(place: &Place, message: impl Into<String>) -> Fault {
        Fault {
            place: place.clone(),
            message: message.into(),
            hint: None,
            source_line: String::new(),
            absent: false,
        }
    }

    /// A fault that says that something is not there.
    pub fn absent(place: &Place, message: impl Into<String>) -> Fault {
        Fault { absent: true, ..Fault::new(place, message) }
    }

    /// When it says that something is not there: that `file`, which could not be read, may define it.
    pub fn may_be_in(&mut self, file: &str) {
        if std::mem::take(&mut self.absent) {
            let other = format!("mend {file} first, it may define this");
            self.hint = Some(match self.hint.take() {
                Some(hint) => format!("{hint}; or {other}"),
                None => other,
            });
        }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }

    /// With a hint that names the candidate nearest to `wrong`, or lists them when none is near and they are few.
    #[must_use]
    pub fn nearest<'a>(self, wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Fault {
        let candidates: Vec<&str> = candidates.into_iter().collect();
        let near = candidates
            .iter()
            .map(|c| (distance(wrong, c), *c))
            .filter(|(d, c)| *d <= c.chars().count().max(wrong.chars().count()).div_ceil(3).min(4))
            .filter(|(_, c)| c.chars().count() > 2)
            .min();
        match near {
            Some((_, name)) => self.hint(format!("did you mean `{name}`?")),
            None if !candidates.is_empty() && candidates.len() <= 24 => {
                self.hint(format!("it is one of: {}", candidates.join(", ")))
            }
            None => self,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// How many insertions, removals, replacements and swaps of neighbours lie between two names, without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).take(64).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).take(64).collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], k: usize| row.get(k).copied().unwrap_or(usize::MAX / 2);
            let mut best =
                (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before_last, j - 1) + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered() {
        let fault = Fault::new(&Place::start_of("a.yaml"), "unknown key `requrie`");
        let fault = fault.nearest("requrie", ["id", "require", "where"]);
        assert_eq!(fault.hint.as_deref(), Some("did you mean `require`?"));
        assert_eq!(distance("requrie", "require"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
