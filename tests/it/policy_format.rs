//! `policy fmt`: files come into shape, say what they said, and keep their comments.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis::policy::folder::read_folder;
use portcullis::policy::format::tidy;

fn fmt(folder: &Path, more: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    let done = command.args(["policy", "fmt"]).args(more).arg(folder).output().unwrap();
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    (done.status.code().unwrap(), said)
}

fn root(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

#[test]
fn the_shipped_policies_are_in_shape() {
    assert_eq!(fmt(&root("policies"), &["--check"]), (0, "nothing to tidy\n".to_owned()));
}

#[test]
fn files_come_into_shape_and_what_cannot_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (messy, broken) = (folder.path().join("messy.yaml"), folder.path().join("broken.yaml"));
    fs::write(&messy, "# first\nkind:  Control\nid:   a   # its name\nfor:\n    - 'x'").unwrap();
    let (code, said) = fmt(folder.path(), &["--check"]);
    assert_eq!((code, said.as_str()), (1, "messy.yaml\n"));
    assert!(
        fs::read_to_string(&messy).unwrap().starts_with("# first\nkind:  Control"),
        "nothing was changed"
    );
    assert_eq!(fmt(folder.path(), &[]), (0, "messy.yaml\n".to_owned()));
    let shaped = "# first\nkind: Control\nid: a # its name\nfor:\n  - \"x\"\n";
    assert_eq!(fs::read_to_string(&messy).unwrap(), shaped);
    assert_eq!(fmt(folder.path(), &["--check"]), (0, "nothing to tidy\n".to_owned()));

    fs::write(&broken, "kind: [Control\n").unwrap();
    let (code, said) = fmt(folder.path(), &[]);
    assert!(code == 1 && said.contains("broken.yaml:"), "{said}");
    assert_eq!(fs::read_to_string(&broken).unwrap(), "kind: [Control\n");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left behind");
}

/// Broken policies that are YAML, and one file of each kind of mistake: whatever fmt makes of them says what they said.
#[test]
fn every_file_that_is_yaml_is_brought_into_shape_or_stays() {
    let (mut shaped, mut stayed) = (0, 0);
    for source in read_folder(&root("tests/corpus/policy")).0 {
        match tidy(&source) {
            Ok(text) => {
                let again = portcullis::policy::source::Source { name: source.name.clone(), text };
                assert_eq!(tidy(&again).as_ref(), Ok(&again.text), "{}", source.name);
                shaped += 1;
            }
            Err(faults) => {
                assert!(!faults.is_empty(), "{}", source.name);
                stayed += 1;
            }
        }
    }
    println!("{shaped} brought into shape, {stayed} left as they are");
    assert!(shaped > 200, "{shaped}");
}
