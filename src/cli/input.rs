//! Files that people name on the command line, read up to a bound: a device or a socket never ends, and a large file fills the memory.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::cli::failure::Failure;

/// Standard input, where a file may be it.
const STDIN: &str = "-";

/// The start of what is read, and whether there was more.
pub struct Bounded<R> {
    inner: R,
    left: u64,
    /// More than the bound was there.
    pub over: bool,
}

impl<R: Read> Bounded<R> {
    /// So many bytes of it at most.
    pub fn new(inner: R, bytes: u64) -> Self {
        Bounded { inner, left: bytes, over: false }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(u64::try_from(read).unwrap_or(u64::MAX)) {
            Some(left) => self.left = left,
            None => {
                self.over = true;
                return Err(io::Error::other("more bytes than are read"));
            }
        }
        Ok(read)
    }
}

/// Opens a file or a pipe; `-` is standard input.
pub fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path == Path::new(STDIN) {
        return Ok(Box::new(io::stdin()));
    }
    let fail = |error: io::Error| Failure::could_not(format!("cannot read {}: {error}", path.display()));
    // a device is not even opened: some do something then
    let kind = std::fs::metadata(path).map_err(fail)?.file_type();
    if !kind.is_file() && !kind.is_fifo() {
        let path = path.display();
        return Err(Failure::could_not(format!("{path} is neither a file nor a pipe: name a file")));
    }
    Ok(Box::new(File::open(path).map_err(fail)?))
}

/// A table that a person sends.
pub fn table(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    whole(path, most, "; `tables.bytes` says how large a table may be")
}

/// The whole of a file or a pipe, of so many bytes at most.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    whole(path, most, "")
}

/// `hint`: what is said of a larger one.
fn whole(path: &Path, most: u64, hint: &str) -> Result<Vec<u8>, Failure> {
    let mut bounded = Bounded::new(open(path)?, most);
    let mut bytes = Vec::new();
    let done = bounded.read_to_end(&mut bytes);
    if bounded.over {
        return Err(Failure::could_not(format!("{} has more than {most} bytes{hint}", path.display())));
    }
    done.map_err(|error| Failure::could_not(format!("cannot read {}: {error}", path.display())))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_not_read() {
        for device in ["/dev/zero", "/dev", "/dev/null"] {
            let refused = read(Path::new(device), 10).unwrap_err().message;
            assert!(refused.contains("neither a file nor a pipe"), "{refused}");
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, &[0; 11]).unwrap();
        assert_eq!(read(file.path(), 11).unwrap().len(), 11);
        assert!(read(file.path(), 10).unwrap_err().message.ends_with("more than 10 bytes"));
        // only what is too large is told how large it may be
        assert!(table(file.path(), 10).unwrap_err().message.contains("tables.bytes"));
        assert!(!table(Path::new("/nonexistent"), 10).unwrap_err().message.contains("tables.bytes"));
    }
}
