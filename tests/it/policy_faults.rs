//! Broken policies: every fault is found in one run, with file, line, column, the line itself and what to do. The corpus
//! is one file per mistake, named for it; what is said of each stands in `expected.txt` beside them
//! (`UPDATE_EXPECTED=1` writes it anew).

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use portcullis::cli::policy::all_faults;
use portcullis::policy::render::render;
use portcullis::policy::set::PolicySet;
use portcullis::policy::source::Source;
use proptest::prelude::*;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/policy")
}

fn broken() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(corpus()).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    files
}

/// Each file alone in a folder, under its own name.
fn faults_of(path: &Path) -> Vec<portcullis::policy::fault::Fault> {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(path, folder.path().join(path.file_name().unwrap())).unwrap();
    all_faults(folder.path()).1
}

#[test]
fn every_broken_file_is_refused_with_place_and_hint() {
    let mut said = String::new();
    for path in broken() {
        let faults = faults_of(&path);
        assert!(!faults.is_empty(), "{} has no fault", path.display());
        for fault in &faults {
            assert!(fault.place.line >= 1 && fault.place.column >= 1, "{fault}");
            let text = fs::read_to_string(&path).unwrap();
            let line = text.lines().nth(fault.place.line as usize - 1).unwrap_or_default();
            assert_eq!(fault.source_line, line, "{fault}");
            writeln!(said, "{fault}").unwrap();
        }
        said.push('\n');
    }
    let expected = corpus().join("expected.txt");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&expected, &said).unwrap();
    }
    let wanted = fs::read_to_string(&expected).unwrap_or_default();
    for (said, wanted) in said.lines().zip(wanted.lines()) {
        assert_eq!(said, wanted);
    }
    assert_eq!(said.lines().count(), wanted.lines().count());
}

#[test]
fn all_files_are_reported_in_one_run() {
    let (_, faults) = all_faults(&corpus());
    let files: std::collections::BTreeSet<&str> = faults.iter().map(|f| &*f.place.file).collect();
    // alone, some files are only wrong for what they lack; together they lend it to each other
    assert!(files.len() >= broken().len() - 4, "{} of {}", files.len(), broken().len());
    let text = render(&faults, false);
    assert!(text.contains("--> unknown-key.yaml:5:5"), "{text}");
    assert!(!text.contains('\u{1b}'));
}

fn shipped() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/national");
    [
        "baseline.yaml",
        "controls/kerberos.yaml",
        "facts/domain.yaml",
        "releases/clinical-directory.yaml",
        "sync/staff.yaml",
    ]
    .iter()
    .map(|name| fs::read_to_string(folder.join(name)).unwrap())
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is cut out, doubled or put in: faults or a set, never a panic.
    #[test]
    fn mutated_policies_never_panic(
        index in 0..5usize,
        cuts in prop::collection::vec((0.0..1.0f64, 0..40usize, "[ \\n:{}\\[\\]$&*!|>'\"%@`#,a-z0-9-]{0,6}"), 1..6),
    ) {
        let mut text = shipped().swap_remove(index);
        for (at, length, put) in cuts {
            let characters: Vec<char> = text.chars().collect();
            let from = ((characters.len() as f64) * at) as usize;
            let to = (from + length).min(characters.len());
            text = characters[..from].iter().chain(&put.chars().collect::<Vec<_>>()).chain(&characters[to..]).collect();
        }
        let (set, mut faults) = PolicySet::from_sources(&[Source::inline("mutated.yaml", &text)]);
        faults.extend(portcullis::baseline::compile::check(&set));
        let faults = set.illustrated(faults);
        let _ = render(&faults, true);
    }
}
