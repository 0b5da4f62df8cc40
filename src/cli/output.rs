//! Files that are written: whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::cli::failure::Failure;

/// Writes a file under another name first: half a document is none, and what was there stays until it is replaced.
pub fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    put(path, |part| File::create(part), write)
}

/// As [`replace`], a file that nobody but its owner may read.
pub fn replace_private(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    let create = |part: &Path| {
        // one that is left over may be open to others
        match std::fs::remove_file(part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(part)
    };
    put(path, create, write)
}

fn put(
    path: &Path,
    create: impl FnOnce(&Path) -> io::Result<File>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = create(&part).and_then(|file| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.flush()?;
        std::fs::rename(&part, path)
    });
    written.map_err(|error| {
        // what is left of it is of no use to anybody
        let _ = std::fs::remove_file(part);
        Failure::could_not(format!("cannot write {}: {error}", path.display()))
    })
}
