//! The structure that the doc of `src/lib.rs` promises, held against the code: imports go down, no two files import
//! each other, pure modules touch nothing, functions and files stay short.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
/// Modules that may touch no socket, file, clock or task, wherever they stand.
const PURE: &[&str] = &["ldap", "baseline", "gate", "release", "namespace"];
const IMPURE: &[&str] = &[
    "tokio::",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::fs",
    "SystemTime",
    "Instant::now",
    "ambient::clock",
    "now_utc",
];

struct File {
    /// As in `ldap/ber.rs`.
    name: String,
    module: String,
    /// Without test modules and comments.
    code: String,
    lines: usize,
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs")
            && path.file_name().is_some_and(|n| n != "tests.rs")
        {
            out.push(path);
        }
    }
}

fn files() -> Vec<File> {
    let mut paths = Vec::new();
    walk(&source(), &mut paths);
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(source()).unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let cut = text.find("\n#[cfg(test)]\nmod ").unwrap_or(text.len());
            let text = &text[..cut];
            let code: Vec<&str> = text.lines().map(|l| l.split("//").next().unwrap_or("")).collect();
            let module = name.split(['/', '.']).next().unwrap().to_owned();
            File { module, lines: text.lines().count(), code: code.join("\n"), name }
        })
        .filter(|file| file.name != "lib.rs")
        .collect()
}

/// Module to floor, from the table in the doc of this file.
fn floors(table: &str) -> BTreeMap<String, usize> {
    let text = fs::read_to_string(source().join(table)).unwrap();
    let mut floors = BTreeMap::new();
    for line in text.lines() {
        let Some(line) = line.strip_prefix("//! ") else { continue };
        let mut words = line.split_whitespace();
        let Some(floor) = words.next().and_then(|w| w.parse::<usize>().ok()) else { continue };
        let names = line[3..]
            .split("  ")
            .map(str::trim)
            .filter(|w| !w.is_empty() && !w.contains(' ') && !w.contains(','));
        floors.extend(names.map(|name| (name.to_owned(), floor)));
    }
    assert!(floors.len() >= 9, "the floor table in src/{table} was not found: {floors:?}");
    floors
}

/// Every `crate::a::b::...` path in the code, groups expanded: `crate::a::{b::C, d}` gives `a::b::C` and `a::d`.
fn crate_paths(file: &File) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    // The binary names the library by its name; elsewhere that word only stands in texts.
    let marker = if file.name == "main.rs" { "portcullis::" } else { "crate::" };
    for (at, _) in file.code.match_indices(marker) {
        expand("", &file.code[at + marker.len()..], &mut out);
    }
    out
}

/// Reads one path (and its groups) from the start of `rest`; returns how many bytes it took.
fn expand(prefix: &str, rest: &str, out: &mut BTreeSet<String>) -> usize {
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
    let path = format!("{prefix}{}", &rest[..end]);
    if !rest[end..].starts_with('{') || !path.ends_with("::") {
        out.insert(path.trim_end_matches(':').to_owned());
        return end;
    }
    let mut at = end + 1;
    loop {
        at += rest[at..].len() - rest[at..].trim_start_matches([' ', '\n', ',']).len();
        if at >= rest.len() || rest[at..].starts_with('}') {
            return (at + 1).min(rest.len());
        }
        let taken = expand(&path, &rest[at..], out);
        if taken == 0 {
            return at;
        }
        at += taken;
        if rest[at..].starts_with(" as ") {
            at += 4;
            at += rest[at..].find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(0);
        }
    }
}

/// The file that defines `path`: the longest prefix that is one.
fn defining_file(path: &str, names: &BTreeSet<&str>) -> Option<String> {
    let parts: Vec<&str> = path.split("::").filter(|p| !p.is_empty()).collect();
    (1..=parts.len()).rev().find_map(|n| {
        let stem = parts[..n].join("/");
        [format!("{stem}.rs"), format!("{stem}/mod.rs")].into_iter().find(|f| names.contains(f.as_str()))
    })
}

/// Holds the table in the doc of a file against the modules that stand at `depth` of paths below `folder`.
fn goes_down(table: &str, folder: &str, depth: usize) {
    let floors = floors(table);
    let mut wrong = Vec::new();
    let inside = |file: &&File| file.name.starts_with(folder) && file.name != table;
    for file in files().iter().filter(inside) {
        let own = file.name.split(['/', '.']).nth(depth).unwrap_or_default();
        let from = *floors.get(own).unwrap_or_else(|| panic!("`{own}` has no floor in src/{table}"));
        for path in crate_paths(file) {
            let Some(to) = path.replace("::", "/").strip_prefix(folder).map(str::to_owned) else { continue };
            let to = to.split('/').next().unwrap_or_default();
            let Some(&floor) = floors.get(to) else { continue };
            if to != own && floor >= from {
                wrong.push(format!("{} (floor {from}) imports {path} (floor {floor})", file.name));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that do not go down:\n{}", wrong.join("\n"));
}

#[test]
fn imports_go_down() {
    goes_down("lib.rs", "", 0);
}

#[test]
fn imports_within_sync_go_down() {
    goes_down("sync/mod.rs", "sync/", 1);
}

#[test]
fn no_circle_between_files() {
    let files = files();
    let names: BTreeSet<&str> = files.iter().map(|f| f.name.as_str()).collect();
    let mut edges: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for file in &files {
        let targets = crate_paths(file)
            .iter()
            .filter_map(|p| defining_file(p, &names))
            .filter(|t| t != &file.name)
            .collect();
        edges.insert(&file.name, targets);
    }
    // Take away files that import nothing that is left, until none is; what remains lies on or above a circle.
    let mut left: BTreeSet<&str> = names.clone();
    loop {
        let free: Vec<&str> =
            left.iter().copied().filter(|f| edges[f].iter().all(|t| !left.contains(t.as_str()))).collect();
        if free.is_empty() {
            break;
        }
        for file in free {
            left.remove(file);
        }
    }
    let show: Vec<String> = left
        .iter()
        .map(|f| {
            format!("{f} -> {:?}", edges[f].iter().filter(|t| left.contains(t.as_str())).collect::<Vec<_>>())
        })
        .collect();
    assert!(left.is_empty(), "files in (or above) a circle of imports:\n{}", show.join("\n"));
}

#[test]
fn pure_modules_touch_nothing() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|f| PURE.contains(&f.module.as_str())) {
        for word in IMPURE.iter().filter(|word| file.code.contains(**word)) {
            wrong.push(format!("{} mentions {word}", file.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn module_files_hold_only_declarations() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|f| f.name.ends_with("/mod.rs")) {
        for line in file.code.lines().map(str::trim).filter(|l| !l.is_empty()) {
            if !(line.starts_with("pub mod ") || line.starts_with("mod ") || line.starts_with("#!")) {
                wrong.push(format!("{}: {line}", file.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_and_functions_are_short() {
    let mut wrong = Vec::new();
    for file in files() {
        if file.lines > FILE_LINES_MAX {
            wrong.push(format!("{} has {} lines", file.name, file.lines));
        }
        for (name, lines) in long_functions(&file.code) {
            wrong.push(format!("{}: fn {name} has {lines} lines", file.name));
        }
    }
    assert!(wrong.is_empty(), "too long:\n{}", wrong.join("\n"));
}

/// Relies on rustfmt: a function ends at the first `}` that is indented as its `fn` line.
fn long_functions(code: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut long = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let text = line.trim_start();
        let is_fn = [
            "fn ",
            "pub fn ",
            "pub(crate) fn ",
            "async fn ",
            "pub async fn ",
            "pub(crate) async fn ",
            "const fn ",
            "pub const fn ",
        ]
        .iter()
        .any(|p| text.starts_with(p));
        if !is_fn {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - text.len()]);
        let Some(length) = lines[i..].iter().position(|l| **l == end) else { continue };
        if length + 1 > FUNCTION_LINES_MAX {
            let name = text.split("fn ").nth(1).unwrap_or("").split(['(', '<']).next().unwrap_or("");
            long.push((name.to_owned(), length + 1));
        }
    }
    long
}
