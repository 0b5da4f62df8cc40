//! What is wrong with a configuration file.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

/// How much a fault weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// The gateway does not start with it.
    Fault,
    /// The gateway starts with it, and refuses somebody because of it.
    Warning,
}

/// One fault, with where it is and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// From 1; 0 when the fault is of the whole file.
    pub line: u64,
    /// From 1, in characters.
    pub column: u64,
    pub weight: Weight,
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Every fault of a file and of the files that it names, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    pub file: PathBuf,
    pub faults: Vec<Fault>,
}

impl Faults {
    /// The whole file cannot be read.
    pub fn unreadable(file: &Path, reason: &dyn fmt::Display) -> Self {
        let fault = Fault {
            line: 0,
            column: 0,
            weight: Weight::Fault,
            message: format!("cannot be read: {reason}"),
            hint: "name the configuration file with --config or PORTCULLIS_CONFIG".to_owned(),
        };
        Faults { file: file.to_owned(), faults: vec![fault] }
    }

    /// Whether the gateway does not start with the file.
    pub fn refuse(&self) -> bool {
        self.faults.iter().any(|fault| fault.weight == Weight::Fault)
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
            let warning = if fault.weight == Weight::Warning { "warning: " } else { "" };
            write!(f, ": {warning}{}; {}", fault.message, fault.hint)?;
        }
        Ok(())
    }
}

impl Serialize for Faults {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// A fault that says for itself where it is.
        #[derive(Serialize)]
        struct Whole<'a> {
            file: &'a Path,
            #[serde(flatten)]
            fault: &'a Fault,
        }
        let faults: Vec<Whole<'_>> =
            self.faults.iter().map(|fault| Whole { file: &self.file, fault }).collect();
        let mut out = serializer.serialize_struct("Faults", 2)?;
        out.serialize_field("file", &self.file)?;
        out.serialize_field("faults", &faults)?;
        out.end()
    }
}

impl std::error::Error for Faults {}
