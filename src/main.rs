//! Arguments in, exit code out.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use portcullis::cli::arguments::{Arguments, run};

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(answer) => answer.into(),
        Err(failure) => {
            // nowhere to report that standard error is closed
            let _ = writeln!(std::io::stderr().lock(), "portcullis: {failure}");
            failure.answer.into()
        }
    }
}
