//! The access audit: one line of JSON per operation at the front door, in append-only files that form one chain.
//!
//! Lines come in chunks. After each chunk a line `{"chain":{...}}` is written with the chunk's SHA-256, that of everything
//! before it, and their hash: any change, loss or reordering of lines in between is found by [`verify`]. Files are
//! `<folder>/access-<number>.jsonl`; a new one begins when one is large enough, and goes on with the chain.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::store::audit::{BEFORE_FIRST, hex};
use crate::store::error::StoreError;

/// A file is followed by a new one when it is larger than this.
const FILE_BYTES: u64 = 256 << 20;

/// The line after each chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seal {
    chain: Link,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Link {
    /// The number of the chunk, from 1, without a gap.
    seq: u64,
    /// The hash of the link before.
    previous: String,
    /// SHA-256 of the chunk's bytes.
    content: String,
    /// SHA-256 over the three above.
    hash: String,
}

impl Link {
    fn after(seq: u64, previous: &str, content: &str) -> Self {
        let hash = hex(&Sha256::digest(format!("{seq}:{previous}:{content}")));
        Link { seq, previous: previous.to_owned(), content: content.to_owned(), hash }
    }
}

/// Writes the access audit. There is one per gateway.
#[derive(Debug)]
pub struct AccessAudit {
    folder: PathBuf,
    number: u64,
    file: File,
    bytes: u64,
    seq: u64,
    head: String,
}

/// What a verification of the access audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessReport {
    pub files: u64,
    pub chunks: u64,
    pub records: u64,
    /// Each break as one sentence; none means that the chain is whole.
    pub faults: Vec<String>,
}

impl AccessAudit {
    /// Opens the chain in `folder` at its end, making the folder when it is not there. What a crash left behind the last
    /// seal is sealed first, so that it is kept and what follows is whole.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let failed = |error: std::io::Error| failure(folder, &error);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let mut walk = Walk::default();
        let numbers = numbers(folder).map_err(failed)?;
        for number in &numbers {
            walk.file(&path(folder, *number)).map_err(failed)?;
        }
        let number = numbers.last().copied().unwrap_or(1);
        let file = append(&path(folder, number)).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let mut audit =
            AccessAudit { folder: folder.to_owned(), number, file, bytes, seq: walk.seq, head: walk.head };
        if !walk.pending.is_empty() {
            let torn = if walk.pending.ends_with(b"\n") { &b""[..] } else { &b"\n"[..] };
            walk.pending.extend_from_slice(torn);
            let pending = walk.pending;
            audit.put(torn, &pending)?;
        }
        Ok(audit)
    }

    /// Appends a chunk of whole lines and its seal. An error means that the chunk may be lost: gates must close.
    pub fn append(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        if chunk.is_empty() {
            return Ok(());
        }
        if self.bytes > FILE_BYTES {
            let next = self.number.saturating_add(1);
            self.file = append(&path(&self.folder, next)).map_err(|error| failure(&self.folder, &error))?;
            self.number = next;
            self.bytes = 0;
        }
        self.put(chunk, chunk)
    }

    /// Waits until everything is on the disk.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|error| failure(&self.folder, &error))
    }

    /// Writes `bytes`, then the seal over `content` (which ends with `bytes`).
    fn put(&mut self, bytes: &[u8], content: &[u8]) -> Result<(), StoreError> {
        let seq = self.seq.saturating_add(1);
        let link = Link::after(seq, &self.head, &hex(&Sha256::digest(content)));
        let head = link.hash.clone();
        let seal =
            serde_json::to_string(&Seal { chain: link }).map_err(|e| StoreError::Value(e.to_string()))?;
        let mut all = Vec::with_capacity(bytes.len() + seal.len() + 1);
        all.extend_from_slice(bytes);
        all.extend_from_slice(seal.as_bytes());
        all.push(b'\n');
        self.file.write_all(&all).map_err(|error| failure(&self.folder, &error))?;
        self.bytes = self.bytes.saturating_add(u64::try_from(all.len()).unwrap_or(u64::MAX));
        self.seq = seq;
        self.head = head;
        Ok(())
    }
}

/// Reads the whole chain in `folder`. A folder that is not there is an empty chain.
pub fn verify(folder: &Path) -> Result<AccessReport, StoreError> {
    let mut walk = Walk::default();
    let numbers = match numbers(folder) {
        Ok(numbers) => numbers,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failure(folder, &error)),
    };
    for (expected, number) in (1..).zip(&numbers) {
        if expected != *number {
            walk.faults.push(format!("file {expected} is missing"));
            break;
        }
    }
    for number in &numbers {
        walk.file(&path(folder, *number)).map_err(|error| failure(folder, &error))?;
    }
    Ok(AccessReport {
        files: u64::try_from(numbers.len()).unwrap_or(u64::MAX),
        chunks: walk.seq,
        records: walk.records,
        faults: walk.faults,
    })
}

/// Follows the chain through its files.
struct Walk {
    seq: u64,
    head: String,
    records: u64,
    /// Lines after the last seal.
    pending: Vec<u8>,
    faults: Vec<String>,
}

impl Default for Walk {
    fn default() -> Self {
        Walk { seq: 0, head: BEFORE_FIRST.to_owned(), records: 0, pending: Vec::new(), faults: Vec::new() }
    }
}

impl Walk {
    fn file(&mut self, path: &Path) -> std::io::Result<()> {
        let mut reader = BufReader::new(File::open(path)?);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            match seal(&line) {
                Some(link) => self.link(&link),
                None => {
                    self.records = self.records.saturating_add(1);
                    self.pending.extend_from_slice(&line);
                }
            }
            line.clear();
        }
        Ok(())
    }

    fn link(&mut self, link: &Link) {
        let content = hex(&Sha256::digest(&self.pending));
        if *link != Link::after(link.seq, &link.previous, &link.content) || content != link.content {
            self.faults.push(format!("chunk {} was changed", link.seq));
        }
        if link.seq != self.seq.saturating_add(1) || link.previous != self.head {
            self.faults.push(format!("chunk {} does not follow chunk {}", link.seq, self.seq));
        }
        self.seq = link.seq;
        self.head.clone_from(&link.hash);
        self.pending.clear();
    }
}

fn seal(line: &[u8]) -> Option<Link> {
    if !line.starts_with(b"{\"chain\":") {
        return None;
    }
    serde_json::from_slice::<Seal>(line).ok().map(|seal| seal.chain)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("access-{number:06}.jsonl"))
}

/// The numbers of the files, rising.
fn numbers(folder: &Path) -> std::io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("access-")?.strip_suffix(".jsonl"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn failure(folder: &Path, error: &std::io::Error) -> StoreError {
    let text = format!("{}: {error}", folder.display());
    match error.kind() {
        std::io::ErrorKind::StorageFull
        | std::io::ErrorKind::QuotaExceeded
        | std::io::ErrorKind::FileTooLarge => StoreError::Full(format!("{text}; free space on its disk")),
        _ => StoreError::ReadOnly(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path) -> PathBuf {
        let mut audit = AccessAudit::open(folder).unwrap();
        for n in 0..3 {
            audit.append(format!("{{\"n\":{n}}}\n{{\"m\":{n}}}\n").as_bytes()).unwrap();
        }
        audit.sync().unwrap();
        path(folder, 1)
    }

    #[test]
    fn a_chain_is_followed_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path());
        written(folder.path());
        let report = verify(folder.path()).unwrap();
        assert_eq!((report.files, report.chunks, report.records), (1, 6, 12));
        assert!(report.faults.is_empty(), "{report:?}");
        assert!(verify(&folder.path().join("nowhere")).unwrap().faults.is_empty());
    }

    #[test]
    fn every_tampering_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let file = written(folder.path());
        let good = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = good.split_inclusive('\n').collect();
        let mut without_chunk = lines.clone();
        without_chunk.drain(3..6);
        let mut without_line = lines.clone();
        without_line.remove(4);
        let mut swapped = lines.clone();
        swapped.swap(3, 4);
        for bad in [
            without_chunk.concat(),
            without_line.concat(),
            swapped.concat(),
            good.replace("\"m\":1", "\"m\":7"),
        ] {
            std::fs::write(&file, &bad).unwrap();
            assert!(!verify(folder.path()).unwrap().faults.is_empty(), "{bad}");
        }
    }

    #[test]
    fn a_torn_end_is_kept_and_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let file = written(folder.path());
        let mut torn = OpenOptions::new().append(true).open(&file).unwrap();
        torn.write_all(b"{\"n\":9}\n{\"half").unwrap();
        written(folder.path());
        let report = verify(folder.path()).unwrap();
        assert!(report.faults.is_empty(), "{report:?}");
        assert_eq!((report.chunks, report.records), (7, 14));
    }

    #[test]
    fn a_disk_that_is_full_is_reported() {
        let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert!(failure(Path::new("x"), &error).closes_gates());
        assert!(AccessAudit::open(Path::new("/proc/access")).is_err());
    }
}
