//! Files that are written: whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::cli::failure::Failure;

/// Writes a file under another name first: half a document is none, and what was there stays until it is replaced.
pub fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = File::create(&part).and_then(|file| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.flush()?;
        std::fs::rename(&part, path)
    });
    written.map_err(|error| {
        // what is left of it is of no use to anybody
        let _ = std::fs::remove_file(&part);
        Failure::could_not(format!("cannot write {}: {error}", path.display()))
    })
}
