//! How a command ends.

use std::fmt;
use std::process::ExitCode;

/// The answer of a command that could run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Exit code 0: yes, or done.
    Yes,
    /// Exit code 1: no, or refused; the reasons were printed.
    No,
    /// Exit code 2: could not tell; the reasons were printed.
    Unknown,
    /// Exit code 3: done, but it does not have the effect that was probably wanted; the reasons were printed.
    DoneInVain,
    /// This exit code: a signal ended it early, between two writes.
    Interrupted(u8),
}

impl From<Answer> for ExitCode {
    fn from(answer: Answer) -> ExitCode {
        ExitCode::from(match answer {
            Answer::Yes => 0,
            Answer::No => 1,
            Answer::Unknown => 2,
            Answer::DoneInVain => 3,
            Answer::Interrupted(code) => code,
        })
    }
}

/// A command that did not do what was asked, with one message for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub answer: Answer,
    pub message: String,
}

impl Failure {
    /// It was understood and refused: exit code 1.
    pub fn refused(message: impl fmt::Display) -> Self {
        Failure { answer: Answer::No, message: message.to_string() }
    }

    /// It could not run: exit code 2.
    pub fn could_not(message: impl fmt::Display) -> Self {
        Failure { answer: Answer::Unknown, message: message.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
