//! The files of a policy folder: each is read once, whatever links lead to it, and none from outside of the folder. A set that was packed
//! into one file (`bundle`) is read as the folder that it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirEntry, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::policy::bundle::{self, BYTES_MAX, Bundle};
use crate::policy::fault::{Fault, Place};
use crate::policy::signature::Signature;
use crate::policy::source::{FILE_BYTES_MAX, Source, is_policy};

/// No folder below a policy folder lies deeper.
const FOLDERS_MAX: usize = 16;

/// Where officers' signatures lie in a folder. They are no part of what they sign.
pub const SIGNATURES: &str = "signatures.json";

/// What lies at a path.
#[derive(Debug)]
pub struct Found {
    pub sources: Vec<Source>,
    /// Of a folder those in [`SIGNATURES`]; a single YAML file has none. A fault counts only where signatures are asked for.
    pub signatures: Result<Vec<Signature>, Fault>,
    /// One for each file, folder or link that was not read.
    pub faults: Vec<Fault>,
}

/// Reads a folder, a file, or a bundle (`*.json`), with the signatures that lie there.
pub fn read(root: &Path) -> Found {
    if is_bundle(root) {
        return match read_bundle(root) {
            Ok(bundle) => {
                Found { sources: bundle.files, signatures: Ok(bundle.signatures), faults: Vec::new() }
            }
            Err(fault) => Found { sources: Vec::new(), signatures: Ok(Vec::new()), faults: vec![fault] },
        };
    }
    let (sources, faults) = walk(root);
    Found { sources, signatures: signatures(root), faults }
}

/// Whether a path is that of a bundle rather than of a folder or a policy file.
pub fn is_bundle(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) && !path.is_dir()
}

/// The sources of [`read`] alone.
pub fn read_folder(root: &Path) -> (Vec<Source>, Vec<Fault>) {
    let found = read(root);
    (found.sources, found.faults)
}

fn read_bundle(path: &Path) -> Result<Bundle, Fault> {
    let place = Place::start_of(&path.to_string_lossy());
    let bytes = bounded(path, BYTES_MAX)
        .map_err(|error| Fault::new(&place, format!("the bundle cannot be read: {error}")))?;
    Bundle::decode(&bytes).map_err(|problem| {
        Fault::new(&place, problem)
            .hint("give what `portcullis policy bundle` wrote, or bundle the folder anew")
    })
}

fn signatures(root: &Path) -> Result<Vec<Signature>, Fault> {
    let path = root.join(SIGNATURES);
    if !root.is_dir() || fs::symlink_metadata(&path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        return Ok(Vec::new());
    }
    let place = Place::start_of(SIGNATURES);
    let bytes = bounded(&path, bundle::SIGNATURES_BYTES_MAX)
        .map_err(|error| Fault::new(&place, format!("the signatures cannot be read: {error}")))?;
    bundle::decode_signatures(&bytes)
        .map_err(|problem| Fault::new(&place, problem).hint("remove the file, and have the set signed anew"))
}

/// The whole of a regular file of so many bytes at most; a device is not even opened.
fn bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    let length = File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

/// Reads every `*.yaml` and `*.yml`, in whatever case, below `root` (or `root` itself when it is a file), sorted by name. What
/// begins with a dot is not looked at by itself, but a link may lead there: so are folders mounted by Kubernetes made.
///
/// With it comes one fault for each file, folder or link that was not read.
fn walk(root: &Path) -> (Vec<Source>, Vec<Fault>) {
    let mut walk = Walk::default();
    match root.canonicalize() {
        Ok(real) if real.is_file() => {
            walk.files.insert(real, name_below(root, root));
        }
        Ok(real) => {
            walk.root = real.clone();
            walk.folder(&real, "", FOLDERS_MAX);
            walk.links();
        }
        Err(error) => {
            let place = Place::start_of(&root.to_string_lossy());
            let fault = Fault::new(&place, format!("the folder cannot be read: {error}"));
            walk.faults.push(fault.hint("name the policy folder"));
        }
    }
    let Walk { files, mut faults, .. } = walk;
    let mut files: Vec<(String, PathBuf)> = files.into_iter().map(|(real, name)| (name, real)).collect();
    files.sort();
    let mut sources = Vec::new();
    for (name, real) in files {
        match read_file(&real, &name) {
            Ok(source) => sources.push(source),
            Err(fault) => faults.push(fault),
        }
    }
    if sources.is_empty() && faults.is_empty() {
        let place = Place::start_of(&root.to_string_lossy());
        faults
            .push(Fault::new(&place, "there is no policy file (*.yaml) here").hint("name the policy folder"));
    }
    (sources, faults)
}

/// What was found below a folder.
#[derive(Debug, Default)]
struct Walk {
    /// Without any link in its path, as every path here.
    root: PathBuf,
    folders: BTreeSet<PathBuf>,
    /// File to its name below the root.
    files: BTreeMap<PathBuf, String>,
    /// Links that were not followed yet, with how deep they lie: what is there by itself goes first, and keeps its own name.
    links: Vec<(String, PathBuf, usize)>,
    faults: Vec<Fault>,
}

impl Walk {
    /// Everything in the folder `real`, which is called `name` below the root.
    fn folder(&mut self, real: &Path, name: &str, depth: usize) {
        if !self.folders.insert(real.to_owned()) {
            return;
        }
        if depth == 0 {
            return self.fault(name, "folders nest too deep", "move its files up");
        }
        let entries = fs::read_dir(real).and_then(|entries| entries.collect::<Result<Vec<DirEntry>, _>>());
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                let message = format!("the folder cannot be read: {error}");
                return self.fault(name, &message, "let the gateway's user read it");
            }
        };
        entries.sort_by_key(DirEntry::file_name);
        for entry in entries {
            let last = entry.file_name().to_string_lossy().into_owned();
            if last.starts_with('.') {
                continue;
            }
            let below = if name.is_empty() { last } else { format!("{name}/{last}") };
            match entry.metadata() {
                Ok(found) if found.is_symlink() => self.links.push((below, entry.path(), depth)),
                Ok(found) => self.entry(entry.path(), &below, &found, depth),
                Err(error) => self.unreadable(&below, &error),
            }
        }
    }

    /// Follows every link that was found, and those that it leads to.
    fn links(&mut self) {
        while !self.links.is_empty() {
            let mut links = std::mem::take(&mut self.links);
            links.sort();
            for (name, path, depth) in links {
                self.link(&name, &path, depth);
            }
        }
    }

    fn link(&mut self, name: &str, path: &Path, depth: usize) {
        let found = path.canonicalize().and_then(|real| fs::metadata(&real).map(|found| (real, found)));
        match found {
            Ok((real, found)) if real.starts_with(&self.root) => self.entry(real, name, &found, depth),
            // a link to a file that would not be read is nobody's concern
            Ok((_, found)) if !found.is_dir() && !is_policy(name) => {}
            Ok((real, _)) => {
                let message = format!("the link leads out of the policy folder, to {}", real.display());
                self.fault(
                    name,
                    &message,
                    "put the file itself into the folder: who may change it must be clear",
                );
            }
            Err(error) => {
                let message = format!("the link leads nowhere: {error}");
                self.fault(name, &message, "remove the link, or put the file where it leads");
            }
        }
    }

    fn entry(&mut self, real: PathBuf, name: &str, found: &Metadata, depth: usize) {
        match (found.is_dir(), is_policy(name)) {
            (true, true) => self.fault(
                name,
                "this is a folder, but its name is that of a policy file",
                "rename it without `.yaml`; what lies in it was not read",
            ),
            (true, false) => self.folder(&real, name, depth.saturating_sub(1)),
            (false, true) if !found.is_file() => {
                self.fault(name, "this is neither a file nor a folder", "remove it");
            }
            (false, true) => {
                self.files.entry(real).or_insert_with(|| name.to_owned());
            }
            (false, false) => {}
        }
    }

    fn unreadable(&mut self, name: &str, error: &std::io::Error) {
        self.fault(name, &format!("this cannot be read: {error}"), "let the gateway's user read it");
    }

    fn fault(&mut self, name: &str, message: &str, hint: &str) {
        let root = self.root.to_string_lossy();
        let place = Place::start_of(if name.is_empty() { &root } else { name });
        self.faults.push(Fault::new(&place, message).hint(hint));
    }
}

fn name_below(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).ok().filter(|p| !p.as_os_str().is_empty());
    below.unwrap_or(path).to_string_lossy().replace('\\', "/")
}

fn read_file(path: &Path, name: &str) -> Result<Source, Fault> {
    let place = Place::start_of(name);
    let cannot = |error: std::io::Error| {
        Fault::new(&place, format!("the file cannot be read: {error}")).hint("let the gateway's user read it")
    };
    let length = fs::metadata(path).map_err(cannot)?.len();
    if length > FILE_BYTES_MAX {
        let message = format!("the file has {length} bytes; a policy file has at most {FILE_BYTES_MAX}");
        return Err(Fault::new(&place, message).hint("split it by theme"));
    }
    let bytes = fs::read(path).map_err(cannot)?;
    let text = String::from_utf8(bytes).map_err(|error| not_text(name, &error))?;
    Ok(Source { name: Arc::from(name), text })
}

/// The fault of a file that is not UTF-8, at the first byte that is not.
fn not_text(name: &str, error: &std::string::FromUtf8Error) -> Fault {
    let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
    let good = String::from_utf8_lossy(good);
    let number = good.matches('\n').count();
    let column = good.rsplit('\n').next().unwrap_or_default().chars().count();
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1);
    let place = Place { file: Arc::from(name), line: narrow(number), column: narrow(column), length: 1 };
    let mut fault = Fault::new(&place, "the file is not UTF-8").hint("save it as UTF-8");
    let whole = String::from_utf8_lossy(error.as_bytes());
    fault.source_line = whole.lines().nth(number).unwrap_or_default().to_owned();
    fault
}
