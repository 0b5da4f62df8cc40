//! The JSON Schema for editors takes every shipped policy file, and of the broken ones all that is wrong by itself: what only shows when
//! documents, types and references are known is for `policy check`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jsonschema::Validator;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// As `policy schema` prints it for the shipped policies.
fn schema() -> Value {
    let done = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["policy", "schema"])
        .arg(root().join("policies"))
        .env_remove("PORTCULLIS_CONFIG")
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

/// The documents of a file as an editor's language server has them; none where it is no YAML.
fn documents(path: &Path) -> Option<Vec<Value>> {
    let text = String::from_utf8(fs::read(path).unwrap()).ok()?;
    serde_yaml::from_multiple(&text).ok()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false if path.extension().is_some_and(|e| e == "yaml") => found.push(path),
            false => {}
        }
    }
}

#[test]
fn every_shipped_file_is_taken() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut shipped = Vec::new();
    files(&root().join("policies"), &mut shipped);
    assert!(shipped.len() > 40, "{}", shipped.len());
    for path in shipped {
        for document in documents(&path).unwrap() {
            let errors: Vec<String> =
                validator.iter_errors(&document).map(|e| format!("{}: {e}", e.instance_path())).collect();
            assert_eq!(errors, Vec::<String>::new(), "{}", path.display());
        }
    }
}

#[test]
fn broken_files_are_refused_where_a_schema_can_tell() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut broken = Vec::new();
    files(&root().join("tests/corpus/policy"), &mut broken);
    let is_taken = |validator: &Validator, path: &Path| {
        documents(path).is_some_and(|all| all.iter().all(|document| validator.is_valid(document)))
    };
    let taken: BTreeSet<String> = broken
        .iter()
        .filter(|path| is_taken(&validator, path))
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    // a mistake that moves from one list to the other is seen here
    let expected = root().join("tests/corpus/policy/beyond-schema.txt");
    let text: String = taken.iter().map(|name| format!("{name}\n")).collect();
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&expected, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&expected).unwrap_or_default());
    eprintln!("{} of {} broken files are refused by the schema", broken.len() - taken.len(), broken.len());
}

#[test]
fn facts_and_operators_are_completed_with_what_they_mean() {
    let schema = schema();
    let fact = &schema["$defs"]["clause"]["properties"]["tls.versions"];
    assert!(fact["description"].as_str().unwrap().contains("(set of versions)"), "{fact:#}");
    let operators = &fact["anyOf"][0]["properties"];
    assert!(operators.get("at_least").is_some() && operators.get("before").is_none(), "{operators:#}");
    let suggested = &operators["at_least"]["anyOf"][0]["enum"];
    assert!(suggested.as_array().unwrap().contains(&Value::from("tls1.2")), "{suggested}");
    // declared by a policy file
    assert!(schema["$defs"]["clause"]["properties"]["users.smartcard_required"].is_object());
    let stage = &schema["$defs"]["stage"]["description"];
    assert!(stage.as_str().unwrap().contains("enforce: decides"), "{stage}");
}
