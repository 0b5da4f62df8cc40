//! What is wrong with a configuration file.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// One fault, with where it is and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// From 1; 0 when the fault is of the whole file.
    pub line: u64,
    /// From 1, in characters.
    pub column: u64,
    pub message: String,
    /// What to do, when there is more to say.
    pub hint: Option<String>,
}

/// Every fault of a file, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Faults {
    pub file: PathBuf,
    pub faults: Vec<Fault>,
}

impl Faults {
    /// The whole file cannot be read.
    pub fn unreadable(file: &Path, reason: &dyn fmt::Display) -> Self {
        let fault = Fault { line: 0, column: 0, message: format!("cannot be read: {reason}"), hint: None };
        Faults { file: file.to_owned(), faults: vec![fault] }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}", self.file.display())?;
            if fault.line > 0 {
                write!(f, ":{}:{}", fault.line, fault.column)?;
            }
            write!(f, ": {}", fault.message)?;
            if let Some(hint) = &fault.hint {
                write!(f, "; {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
