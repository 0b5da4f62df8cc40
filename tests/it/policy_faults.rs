//! Broken policies: every fault is found in one run, with file, line, column, the line itself and what to do. The corpus
//! is one file per mistake, named for it; what is said of each stands in `expected.txt` beside them
//! (`UPDATE_EXPECTED=1` writes it anew).

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis::cli::policy::all_faults;
use portcullis::policy::folder::read_folder;
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
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
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

const GOOD: &str = "\
kind: Controls
controls:
  - id: a
    title: A
    severity: high
    require: { tls.chain_valid: true }
    why: because
    fix: mend it
";

/// A folder with one good file, and one with a fault of its own.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("good.yaml"), GOOD).unwrap();
    fs::write(folder.path().join("misspelt.yaml"), "kind: Contrls\n").unwrap();
    folder
}

/// `file: message (hint)` of each fault.
fn told(folder: &Path) -> Vec<String> {
    all_faults(folder).1.iter().map(ToString::to_string).collect()
}

#[test]
fn what_cannot_be_read_is_one_fault_each_beside_all_others() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("theirs.yaml"), GOOD.replace("id: a", "id: theirs")).unwrap();
    fs::write(path("binary.yaml"), b"kind: Controls\ncontrols: \xff\xfe\n").unwrap();
    fs::write(path("empty.yaml"), "").unwrap();
    fs::create_dir(path("folder.yaml")).unwrap();
    fs::write(path("folder.yaml/inside.yaml"), "kind: Nothing\n").unwrap();
    symlink(outside.path().join("theirs.yaml"), path("link.yaml")).unwrap();
    symlink(outside.path(), path("shared")).unwrap();
    symlink("nowhere.yaml", path("lost.yaml")).unwrap();
    assert!(Command::new("mkfifo").arg(path("pipe.yaml")).status().unwrap().success());
    fs::write(path("huge.yaml"), "#".repeat(5 * 1024 * 1024)).unwrap();
    // these are nobody's concern
    fs::write(path("README.md"), b"\xff").unwrap();
    fs::write(path(".hidden.yaml"), "kind: Nothing\n").unwrap();
    symlink("/etc/hostname", path("NOTES.md")).unwrap();

    let told = told(folder.path());
    let expected = [
        "binary.yaml:2:11: the file is not UTF-8 (save it as UTF-8)",
        "empty.yaml:1:1: the file is empty: it holds no policy document (write one, or remove the file)",
        "folder.yaml:1:1: this is a folder, but its name is that of a policy file (rename it",
        "huge.yaml:1:1: the file has 5242880 bytes",
        "link.yaml:1:1: the link leads out of the policy folder, to ",
        "lost.yaml:1:1: the link leads nowhere: ",
        "misspelt.yaml:1:7: `Contrls` is no kind of document",
        "pipe.yaml:1:1: this is neither a file nor a folder",
        "shared:1:1: the link leads out of the policy folder, to ",
    ];
    for (said, wanted) in told.iter().zip(expected) {
        assert!(said.starts_with(wanted), "{said}\n{wanted}");
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    let (set, _) = PolicySet::read(folder.path());
    assert!(!set.controls.contains_key("theirs"), "nothing came from outside");
    assert!(set.controls.contains_key("a"), "what could be read was read");

    // as a user sees it
    let done = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["policy", "check", "--json"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1));
    let answer: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(answer["faults"].as_array().unwrap().len(), expected.len());
    assert_eq!(answer["faults"][0]["source_line"], "controls: \u{fffd}\u{fffd}");
}

#[test]
fn a_file_that_may_not_be_read_is_one_fault() {
    let folder = folder();
    let path = folder.path().join("secret.yaml");
    fs::write(&path, GOOD.replace("id: a", "id: b")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    fs::create_dir(folder.path().join("closed")).unwrap();
    fs::set_permissions(folder.path().join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let said = if fs::read(&path).is_err() {
        told(folder.path()).join("\n")
    } else {
        // root may read anything: asked as somebody else
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let binary = folder.path().join("portcullis");
        fs::copy(env!("CARGO_BIN_EXE_portcullis"), &binary).unwrap();
        let mut command = Command::new(&binary);
        command.args(["policy", "check"]).arg(folder.path()).uid(65_534).gid(65_534).current_dir("/");
        text(&command.output().unwrap().stdout)
    };
    assert!(said.contains("secret.yaml") && said.contains("the file cannot be read: Permission"), "{said}");
    assert!(said.contains("closed") && said.contains("the folder cannot be read: Permission"), "{said}");
    assert!(said.contains("`Contrls` is no kind of document"), "{said}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn links_inside_the_folder_work_and_nothing_is_read_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let names = || -> Vec<String> {
        let (sources, faults) = read_folder(folder.path());
        assert_eq!(faults, Vec::new());
        sources.iter().map(|source| source.name.to_string()).collect()
    };
    // as Kubernetes mounts a ConfigMap
    fs::create_dir_all(path("..2026_11_25/controls")).unwrap();
    fs::write(path("..2026_11_25/a.yaml"), GOOD).unwrap();
    fs::write(path("..2026_11_25/controls/b.yaml"), GOOD.replace("id: a", "id: b")).unwrap();
    symlink("..2026_11_25", path("..data")).unwrap();
    symlink("..data/a.yaml", path("a.yaml")).unwrap();
    symlink("..data/controls", path("controls")).unwrap();
    assert_eq!(names(), ["a.yaml", "controls/b.yaml"]);
    assert_eq!(told(folder.path()), Vec::<String>::new());

    // a link to what is there by itself, to the folder itself, and to another link
    symlink("a.yaml", path("0-again.yaml")).unwrap();
    fs::write(path("z.yaml"), GOOD.replace("id: a", "id: z")).unwrap();
    symlink("z.yaml", path("1-alias.yaml")).unwrap();
    symlink(".", path("round")).unwrap();
    symlink("controls", path("also")).unwrap();
    assert_eq!(names(), ["0-again.yaml", "also/b.yaml", "z.yaml"]);
    assert_eq!(told(folder.path()), Vec::<String>::new());

    // the folder itself may be behind a link
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(folder.path(), elsewhere.path().join("policies")).unwrap();
    let (sources, faults) = read_folder(&elsewhere.path().join("policies"));
    assert_eq!((sources.len(), faults), (3, Vec::new()));
}

#[test]
fn what_an_unreadable_file_may_define_is_told_with_the_fault() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("facts.yaml"), b"kind: Facts # \xff").unwrap();
    let control =
        GOOD.replace("require: { tls.chain_valid: true }", "require: { domain.age: { at_most: 3 } }");
    fs::write(folder.path().join("controls.yaml"), control).unwrap();
    let baseline = "\
kind: Baseline
id: x
title: X
owner: o
revision: 1
stage: enforce
include: [controls.yaml]
grants: { lookup: { deny_on: critical }, sync: { deny_on: critical } }
evidence_valid_for: 24h
";
    fs::write(folder.path().join("baseline.yaml"), baseline).unwrap();
    let told = told(folder.path());
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].contains("there is no fact `domain.age`"), "{told:#?}");
    assert!(told[0].contains("mend facts.yaml first, it may define this"), "{told:#?}");
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

#[test]
fn a_policy_file_is_one_in_whatever_case() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.YAML", "b.Yml", "c.yaml", "d.txt"] {
        fs::write(folder.path().join(name), "kind: Nothing\n").unwrap();
    }
    let (sources, faults) = read_folder(folder.path());
    let names: Vec<&str> = sources.iter().map(|source| &*source.name).collect();
    assert_eq!(names, ["a.YAML", "b.Yml", "c.yaml"]);
    assert!(faults.is_empty(), "{faults:?}");
}

#[test]
fn a_control_that_no_baseline_includes_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let control = |id: &str, more: &str| {
        format!(
            "kind: Controls\ncontrols:\n  - id: {id}\n    title: T\n    severity: high\n{more}    require: {{ tls.chain_valid: true }}\n    \
             why: because\n    fix: mend it\n"
        )
    };
    write(
        "baseline.yaml",
        "kind: Baseline\nid: b\ntitle: T\nowner: o\nrevision: 1.0.0\nstage: enforce\ninclude: [controls*.yaml]\ngrants:\n  \
         lookup: { deny_on: critical }\n  sync: { deny_on: critical }\nevidence_valid_for: 24h\n",
    );
    write("controls.yaml", &control("a", ""));
    assert_eq!(all_faults(folder.path()).1, []);
    write("other.yaml", &control("c", "    stage: draft\n"));
    assert_eq!(all_faults(folder.path()).1, [], "a draft is nobody's");
    for name in ["other.yaml", "controls.yml", "CONTROLS.YAML"] {
        write("other.yaml", &control("c", "    stage: draft\n"));
        write(name, &control("left", ""));
        let faults: Vec<String> = all_faults(folder.path()).1.iter().map(ToString::to_string).collect();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with(&format!("{name}:3:9: no baseline includes `left`")), "{faults:?}");
        fs::remove_file(folder.path().join(name)).unwrap();
    }
}
