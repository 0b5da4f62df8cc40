//! From folder to gateway: bundles, officers' keys and signatures, what counts for the gateway, and the way back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use portcullis::policy::signature::hex;
use portcullis::secret::signing::Signer;
use serde_json::Value;

use crate::app_serve::Gateway;
use crate::app_stage::{BASELINE, Stage, argument, soon};
use crate::assess_report::{portcullis, text};

const TEST: &str = "\
kind: PolicyTest
name: modern
given: { tls.versions: [tls1.2, tls1.3] }
expect: { tls-versions: pass }
";

/// A stage whose configuration asks for `required` signatures of Ada, Ben and Cyd, whose keys lie in it.
fn officers(required: u32) -> Stage {
    let stage = Stage::new("");
    stage.write("policies/tests.yaml", TEST);
    let mut section = format!("policy_signatures:\n  required: {required}\n  officers:\n");
    for name in ["Ada", "Ben", "Cyd"] {
        let key = stage.path(&format!("{name}.key"));
        let made = portcullis(&stage, &["policy", "key", argument(&key)]);
        assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
        section += &format!("    - {{ name: {name}, key: '{}' }}\n", text(&made.stdout).trim());
    }
    let config = fs::read_to_string(stage.path("portcullis.yaml")).unwrap();
    stage.write("portcullis.yaml", &(config + &section));
    stage
}

fn run(stage: &Stage, arguments: &[&str]) -> (i32, String) {
    let done = portcullis(stage, arguments);
    (done.status.code().unwrap(), format!("{}{}", text(&done.stdout), text(&done.stderr)))
}

fn json(done: &Output) -> Value {
    serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&done.stderr)))
}

/// Packs the stage's policies, with this revision of the baseline.
fn bundle(stage: &Stage, revision: &str) -> String {
    let written = BASELINE.replace("revision: 1.0.0", &format!("revision: {revision}"));
    stage.write("policies/baseline.yaml", &written);
    let file = stage.path(&format!("{revision}.json"));
    let (folder, out) = (stage.path("policies"), argument(&file).to_owned());
    let (code, told) = run(stage, &["policy", "bundle", argument(&folder), "--out", &out]);
    assert_eq!(code, 0, "{told}");
    out
}

fn sign(stage: &Stage, path: &str, key: &str, officer: &str) -> (i32, String) {
    let key = stage.path(&format!("{key}.key"));
    run(stage, &["policy", "sign", path, "--key", argument(&key), "--officer", officer])
}

fn activate(stage: &Stage, path: &str) -> (i32, String) {
    run(stage, &["policy", "activate", path, "--reason", "to test"])
}

/// The hash that the gateway judges by, and where it comes from.
fn active(stage: &Stage) -> (String, String) {
    let done = json(&portcullis(stage, &["policy", "active", "--json"]));
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    (word(&done["set"]["hash"]), word(&done["origin"]["from"]))
}

fn hash_of(file: &str) -> String {
    let bundle: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    bundle["hash"].as_str().unwrap().to_owned()
}

#[test]
fn a_key_is_its_officers_alone_and_is_never_overwritten() {
    let stage = officers(1);
    let key = stage.path("Ada.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o7777, 0o600);
    let (code, told) = run(&stage, &["policy", "key", argument(&key)]);
    assert!(code == 2 && told.contains("no key is ever overwritten"), "{told}");
    let shown = json(&portcullis(&stage, &["policy", "key", argument(&key), "--show", "--json"]));
    assert_eq!(shown["public_key"], hex(Signer::load(&key).unwrap().public_key()));
    // one that others can read is no key
    fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let (code, told) = sign(&stage, argument(&stage.path("policies")), "Ada", "Ada");
    assert!(code == 2 && told.contains("chmod 600"), "{told}");
}

#[test]
fn only_a_set_that_checks_and_whose_tests_hold_is_packed() {
    let stage = Stage::new("");
    let (folder, out) = (stage.path("policies"), stage.path("set.json"));
    let pack = || run(&stage, &["policy", "bundle", argument(&folder), "--out", argument(&out)]);
    stage.write("policies/tests.yaml", &TEST.replace("pass", "fail"));
    let (code, told) = pack();
    assert!(code == 1 && told.contains("`modern` does not hold") && !out.exists(), "{told}");
    stage.write("policies/tests.yaml", &TEST.replace("tls-versions", "tls-version"));
    let (code, told) = pack();
    assert!(code == 1 && told.contains("did you mean") && !out.exists(), "{told}");
    stage.write("policies/tests.yaml", TEST);
    assert_eq!(pack().0, 0);
    let (code, told) = pack();
    assert!(code == 2 && told.contains("is there already"), "{told}");
    let (code, told) =
        run(&stage, &["policy", "bundle", argument(&folder), "--out", argument(&stage.path("set"))]);
    assert!(code == 1 && told.contains("must end in .json"), "{told}");
    // a bundle is a set like another
    let out = argument(&out);
    for arguments in [&["check", out][..], &["test", out], &["list", out], &["diff", argument(&folder), out]]
    {
        let (code, told) = run(&stage, &[&["policy"], arguments].concat());
        assert_eq!(code, 0, "{told}");
    }
    let (code, told) = run(&stage, &["policy", "fmt", out]);
    assert!(code == 1 && told.contains("stays as it was made"), "{told}");
    let mut changed = fs::read_to_string(out).unwrap();
    changed = changed.replace("at_least: tls1.2", "at_least: tls1.1");
    fs::write(out, changed).unwrap();
    for command in ["check", "activate"] {
        let mut arguments = vec!["policy", command, out];
        arguments.extend(if command == "activate" { &["--reason", "r"][..] } else { &[] });
        let (code, told) = run(&stage, &arguments);
        assert!(code == 1 && told.contains("something of it was changed"), "{told}");
    }
}

#[test]
fn signatures_are_held_against_the_officers_of_the_configuration() {
    let stage = officers(2);
    let set = bundle(&stage, "1.0.0");
    let verify = |path: &str| run(&stage, &["policy", "verify", path]);
    let (code, told) = verify(&set);
    assert!(code == 1 && told.contains("too few: 0 of 2 required signatures hold"), "{told}");
    let (code, told) = sign(&stage, &set, "Ada", "Ada");
    assert!(code == 0 && told.contains(&hash_of(&set)) && told.contains("policy impact"), "{told}");
    sign(&stage, &set, "Ada", "Ada");
    let (code, told) = verify(&set);
    assert!(code == 1 && told.contains("too few: 1 of 2") && told.contains(&hash_of(&set)), "{told}");
    // nobody signs for another, and a stranger signs in vain
    for (key, officer, why) in [
        ("Ada", "Ben", "this is the key of Ada, not of Ben"),
        ("Cyd", "Dee", "Dee is no officer of this configuration"),
    ] {
        let (code, told) = sign(&stage, &set, key, officer);
        assert!(code == 1 && told.contains(why), "{told}");
    }
    // where no configuration says who is who
    let elsewhere = Stage::new("");
    for (key, officer) in [("Ada", "Ben"), ("Cyd", "Dee")] {
        let key = stage.path(&format!("{key}.key"));
        let signed = ["policy", "sign", &set, "--key", argument(&key), "--officer", officer];
        assert_eq!(run(&elsewhere, &signed).0, 0);
    }
    let (code, told) = verify(&set);
    assert!(code == 1 && told.contains("Ben is not who signed it: that is the key of Ada"), "{told}");
    assert!(told.contains("Dee is no officer of this configuration"), "{told}");
    let (code, told) = activate(&stage, &set);
    assert!(code == 1 && told.contains("1 of 2 required signatures hold"), "{told}");
    let (code, told) = sign(&stage, &set, "Ben", "Ben");
    assert!(code == 1 && told.contains("Ben signed with another key than this one"), "{told}");
    let key = stage.path("Ben.key");
    let again = ["policy", "sign", &set, "--key", argument(&key), "--officer", "Ben", "--replace"];
    assert_eq!(run(&stage, &again).0, 0);
    let (code, told) = verify(&set);
    assert!(code == 0 && told.contains("enough: 2 of 2"), "{told}");
    let all = json(&portcullis(&stage, &["policy", "verify", &set, "--json"]));
    let held: Vec<bool> =
        all["signatures"].as_array().unwrap().iter().map(|s| s["holds"].as_bool().unwrap()).collect();
    assert_eq!((held, &all["enough"]), (vec![true, true, false], &Value::Bool(true)));
    // signatures of another set are worth nothing here
    let other = bundle(&stage, "1.0.1");
    let signatures: Value = serde_json::from_slice(&fs::read(&set).unwrap()).unwrap();
    let mut stolen: Value = serde_json::from_slice(&fs::read(&other).unwrap()).unwrap();
    stolen["signatures"] = signatures["signatures"].clone();
    fs::write(&other, stolen.to_string()).unwrap();
    let (code, told) = verify(&other);
    assert!(code == 1 && told.contains("Ada signed another set than this one"), "{told}");
    // in a folder they lie in a file of their own, and end with the next change
    let folder = stage.path("policies");
    for name in ["Ada", "Cyd"] {
        assert_eq!(sign(&stage, argument(&folder), name, name).0, 0);
    }
    assert_eq!(verify(argument(&folder)).0, 0);
    stage.write("policies/baseline.yaml", BASELINE);
    assert_eq!(verify(argument(&folder)).0, 1);
    fs::write(folder.join("signatures.json"), "{}").unwrap();
    let (code, told) = verify(argument(&folder));
    assert!(code == 1 && told.contains("these are no signatures"), "{told}");
    let (code, told) = sign(&stage, argument(&folder), "Ada", "Ada");
    assert!(code == 2 && told.contains("remove the file"), "what cannot be read is not lost: {told}");
    let without = Stage::new("");
    let (code, told) = run(&without, &["policy", "verify", argument(&without.path("policies"))]);
    assert!(code == 2 && told.contains("asks for no signatures"), "{told}");
}

#[test]
fn an_activated_set_counts_until_it_is_rolled_back_or_deactivated() {
    let stage = Stage::new("");
    let (first, second) = (bundle(&stage, "1.0.1"), bundle(&stage, "1.0.2"));
    let gateway = Gateway::start(&stage);
    let loads = |n: f64| {
        soon("the gateway takes it", 8, || {
            gateway.value("portcullis_policy_loads_total{outcome=\"done\"}") == Some(n)
        });
    };
    loads(1.0);
    assert_eq!(
        (active(&stage).1.as_str(), gateway.value("portcullis_policy_activated")),
        ("path", Some(0.0))
    );
    let (code, told) = run(&stage, &["policy", "rollback", "--reason", "r"]);
    assert!(code == 1 && told.contains("no set was activated before"), "{told}");
    let (code, told) = run(&stage, &["policy", "activate", &first, "--reason", " "]);
    assert!(code == 1 && told.contains("say why"), "{told}");
    assert_eq!(activate(&stage, &first).0, 0);
    loads(2.0);
    assert_eq!(gateway.value("portcullis_policy_activated"), Some(1.0));
    assert_eq!(active(&stage), (hash_of(&first), "activated".to_owned()));
    assert!(run(&stage, &["policy", "active"]).1.starts_with("AN ACTIVATED SET COUNTS: "));

    // the folder is not read: not by the gateway, and not by what judges
    stage.write("policies/controls.yaml", "kind: Nonsense\n");
    let (code, told) = run(&stage, &["policy", "list"]);
    assert!(code == 0 && told.contains("tls-versions"), "{told}");
    let (code, told) = run(&stage, &["policy", "check"]);
    assert!(code == 1 && told.contains("this is about the folder"), "{told}");
    assert_eq!(run(&stage, &["report", "national"]).0, 0);
    let (code, told) = run(&stage, &["policy", "deactivate", "--reason", "r"]);
    assert!(code == 1 && told.contains("Nonsense"), "nobody goes back to what has faults: {told}");

    assert_eq!(activate(&stage, &second).0, 0);
    loads(3.0);
    let (code, told) = run(&stage, &["policy", "rollback", "--reason", "too early"]);
    assert!(code == 0 && told.contains(&hash_of(&first)), "{told}");
    loads(4.0);
    assert_eq!(active(&stage).0, hash_of(&first));
    let start = hash_of(&second)[..8].to_owned();
    assert_eq!(run(&stage, &["policy", "rollback", &start, "--reason", "now it is time"]).0, 0);
    loads(5.0);
    assert_eq!(gateway.value("portcullis_policy_good"), Some(1.0));
    let history = json(&portcullis(&stage, &["policy", "history", "--json"]));
    let steps: Vec<&str> = history.as_array().unwrap().iter().map(|c| c["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["rollback", "rollback", "activate", "activate"]);
    assert_eq!((&history[0]["counts"], &history[1]["reason"]), (&Value::Bool(true), &"too early".into()));

    // what is in force can be taken out again, byte for byte
    let out = stage.path("again.json");
    assert_eq!(run(&stage, &["policy", "bundle", "--out", argument(&out)]).0, 0);
    assert_eq!(fs::read(&out).unwrap(), fs::read(&second).unwrap());

    stage.write("policies/controls.yaml", "kind: Controls\ncontrols: []\n");
    fs::remove_file(stage.path("policies/controls.yaml")).unwrap();
    let controls: Value = serde_json::from_slice(&fs::read(&second).unwrap()).unwrap();
    stage.write("policies/controls.yaml", controls["files"][1]["text"].as_str().unwrap());
    assert_eq!(run(&stage, &["policy", "deactivate", "--reason", "back to the folder"]).0, 0);
    soon("the folder counts again", 8, || gateway.value("portcullis_policy_activated") == Some(0.0));
    assert_eq!(active(&stage).1, "path");
    let audit = text(&portcullis(&stage, &["audit", "list", "--json"]).stdout);
    for action in ["policy.activate", "policy.rollback", "policy.deactivate"] {
        assert!(audit.contains(action) && audit.contains("too early"), "{action}: {audit}");
    }
    assert_eq!(run(&stage, &["store", "check"]).0, 0);
}

#[test]
fn a_gateway_that_requires_signatures_keeps_the_last_good_set() {
    let stage = officers(2);
    let folder = stage.path("policies");
    let folder = argument(&folder);
    let gateway = Gateway::start(&stage);
    assert_eq!(gateway.value("portcullis_policy_good"), Some(0.0));
    assert!(gateway.ready().0.contains("503"), "without a signed set every gate is closed");
    assert!(gateway.log().contains("0 of 2 required signatures hold"), "{}", gateway.log());
    let (code, told) = run(&stage, &["policy", "list"]);
    assert!(code == 1 && told.contains("0 of 2 required signatures hold"), "{told}");
    sign(&stage, folder, "Ada", "Ada");
    sign(&stage, folder, "Ben", "Ben");
    soon("the signed set is in force", 5, || gateway.value("portcullis_policy_good") == Some(1.0));
    assert!(gateway.ready().0.contains("200"));

    // a change that nobody signed: refused like one with a fault
    let changed = BASELINE.replace("revision: 1.0.0", "revision: 1.0.1");
    stage.write("policies/baseline.yaml", &changed);
    soon("it is refused", 5, || gateway.value("portcullis_policy_good") == Some(0.0));
    assert!(gateway.ready().0.contains("200"));
    soon("it is told", 5, || gateway.log().contains("the last good set stays in force"));
    // a file that is being written may be seen half
    assert!(gateway.value("portcullis_policy_loads_total{outcome=\"refused\"}") >= Some(2.0));
    assert!(gateway.log().contains("Ada signed another set than this one"), "{}", gateway.log());
    let (code, told) = run(&stage, &["report", "national"]);
    assert!(code == 2 && told.contains("required signatures hold"), "{told}");
    let set = bundle(&stage, "1.0.1");
    assert_eq!(activate(&stage, &set).0, 1);
    sign(&stage, &set, "Ben", "Ben");
    sign(&stage, &set, "Cyd", "Cyd");
    assert_eq!(activate(&stage, &set).0, 0);
    soon("the activated set is in force", 8, || gateway.value("portcullis_policy_activated") == Some(1.0));
    assert_eq!(gateway.value("portcullis_policy_good"), Some(1.0));

    // somebody with the database changes what was signed: the set that was read before stays, until a restart
    let raw = rusqlite::Connection::open(stage.path("data/portcullis.sqlite")).unwrap();
    let forged = fs::read_to_string(&set).unwrap().replace("tls1.2 }", "tls1.0 }");
    assert_eq!(raw.execute("UPDATE policy_sets SET document = ?1", [forged.as_bytes()]).unwrap(), 1);
    soon("it is refused", 15, || gateway.value("portcullis_policy_good") == Some(0.0));
    assert!(gateway.ready().0.contains("200"));
    assert!(gateway.log().contains("something of it was changed"), "{}", gateway.log());
    let (code, told) = run(&stage, &["policy", "active"]);
    assert!(code == 1 && told.contains("IT CANNOT BE IN FORCE") && told.contains("was changed"), "{told}");
    assert_eq!(gateway.stop().0, Some(0));
    let again = Gateway::start(&stage);
    assert!(again.ready().0.contains("503"));
    assert_eq!(activate(&stage, &set).0, 0);
    soon("it is activated anew", 8, || again.ready().0.contains("200"));
    assert_eq!(again.stop().0, Some(0));

    // more signatures are asked for than it has: it no longer counts, and cannot be rolled back to
    let config = fs::read_to_string(stage.path("portcullis.yaml")).unwrap();
    stage.write("portcullis.yaml", &config.replace("required: 2", "required: 3"));
    let strict = Gateway::start(&stage);
    assert!(strict.ready().0.contains("503") && strict.log().contains("2 of 3 required"), "{}", strict.log());
    let (code, told) = run(&stage, &["policy", "rollback", &hash_of(&set)[..12], "--reason", "r"]);
    assert!(code == 1 && told.contains("2 of 3 required signatures hold"), "{told}");
}

#[test]
fn who_signed_is_kept() {
    let stage = officers(2);
    let set = bundle(&stage, "1.0.0");
    sign(&stage, &set, "Ada", "Ada");
    sign(&stage, &set, "Ben", "Ben");
    assert_eq!(activate(&stage, &set).0, 0);
    // the same set, signed by others
    let again = stage.path("again.json");
    let folder = stage.path("policies");
    run(&stage, &["policy", "bundle", argument(&folder), "--out", argument(&again)]);
    sign(&stage, argument(&again), "Ben", "Ben");
    sign(&stage, argument(&again), "Cyd", "Cyd");
    assert_eq!(activate(&stage, argument(&again)).0, 0);
    let active = json(&portcullis(&stage, &["policy", "active", "--json"]));
    assert_eq!(active["signatures"]["hold"], 3, "{active}");
    let history = json(&portcullis(&stage, &["policy", "history", "--json"]));
    let signed: Vec<String> =
        history.as_array().unwrap().iter().map(|change| change["signed_by"].to_string()).collect();
    assert_eq!(signed, ["[\"Ben\",\"Cyd\"]", "[\"Ada\",\"Ben\"]"]);
    let audit = text(&portcullis(&stage, &["audit", "list", "--json"]).stdout);
    assert!(audit.contains("signed_by"), "{audit}");
    // one that was left behind comes back with a word
    let newer = bundle(&stage, "1.0.1");
    sign(&stage, &newer, "Ada", "Ada");
    sign(&stage, &newer, "Ben", "Ben");
    assert_eq!(activate(&stage, &newer).0, 0);
    let (code, told) = activate(&stage, &set);
    assert!(code == 0 && told.contains("was put in force before"), "{told}");
}

#[test]
fn what_holds_nobody_against_anything_is_not_put_in_force() {
    let stage = Stage::new("");
    let gateway = Gateway::start(&stage);
    soon("the set is in force", 5, || gateway.value("portcullis_policy_good") == Some(1.0));
    let draft = BASELINE.replace("stage: enforce", "stage: draft");
    assert_ne!(draft, BASELINE);
    stage.write("policies/baseline.yaml", &draft);
    let (code, told) = activate(&stage, argument(&stage.path("policies")));
    assert!(code == 1 && told.contains("no baseline is past its draft"), "{told}");
    soon("it is refused", 5, || gateway.value("portcullis_policy_good") == Some(0.0));
    assert!(gateway.ready().0.contains("200"), "the last good set stays");
}
