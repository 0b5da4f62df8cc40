//! Files that are written: whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::cli::failure::Failure;

/// Writes a file under another name first: half a document is none, and what was there stays until it is replaced.
pub fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let part = beside(path);
    finish(path, &part, File::create(&part), write)
}

/// As [`replace`], and only its owner can read it: it holds personal data.
pub fn replace_private(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    let part = beside(path);
    // one that was left there may be readable by others
    let _ = std::fs::remove_file(&part);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
    finish(path, &part, file, write)
}

fn beside(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    PathBuf::from(part)
}

fn finish(
    path: &Path,
    part: &Path,
    file: io::Result<File>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    let written = file.and_then(|file| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.flush()?;
        std::fs::rename(part, path)
    });
    written.map_err(|error| {
        // what is left of it is of no use to anybody
        let _ = std::fs::remove_file(part);
        Failure::could_not(format!("cannot write {}: {error}", path.display()))
    })
}
