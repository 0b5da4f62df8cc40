//! Arguments in, exit code out.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use portcullis::ambient::text::printable_lines;
use portcullis::cli::arguments::{Arguments, run};

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(answer) => answer.into(),
        Err(failure) => {
            // nowhere to report that standard error is closed
            let _ =
                writeln!(std::io::stderr().lock(), "portcullis: {}", printable_lines(&failure.to_string()));
            failure.answer.into()
        }
    }
}
