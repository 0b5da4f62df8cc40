//! The verbs of `portcullis sync` for organisations whose people are registered by table, through the real program into a real slapd.

use std::time::{Duration, Instant};

use std::sync::Arc;

use portcullis::ambient::clock::Clock;
use portcullis::app::core::Core;
use portcullis::app::policies::Reload;
use portcullis::app::upkeep::Upkeep;
use portcullis::directory::request::Change;
use portcullis::store::port::Store;
use portcullis::sync::keeping::job::Hands;
use serde_json::{Value, json};

use crate::sync_crash::connect;
use crate::sync_register::{HEADING, Rig, row};
use crate::sync_verbs_stage::words;

fn table(rig: &Rig, name: &str, rows: &str) -> String {
    rig.table(name, &format!("{HEADING}{rows}"))
}

fn people(many: usize) -> String {
    (0..many).map(|number| row("A81001", "one", number)).collect()
}

/// `sync ...` for a person, with this exit code.
fn text(rig: &Rig, code: i32, arguments: &[&str]) -> String {
    let output = rig.stage.plain(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", words(&output));
    words(&output)
}

/// `sync ...` with this exit code.
fn sync(rig: &Rig, code: i32, arguments: &[&str]) -> Value {
    let (found, said) = rig.run(&[&["sync"], arguments].concat());
    assert_eq!(found, code, "{arguments:?}: {said:#}");
    said
}

#[test]
fn a_pause_lets_nothing_be_registered_and_says_why() {
    let test = "a_pause_lets_nothing_be_registered_and_says_why";
    let slow = "sync: { batch: 5, connections: 1, in_flight: 1 }\n";
    let Some(rig) = Rig::start(test, slow) else { return };
    let file = table(&rig, "people.csv", &people(200));
    sync(&rig, 1, &["pause", "A99999", "--reason", "nobody"]);
    sync(&rig, 0, &["pause", "A81001", "--reason", "the list of another surgery"]);
    let told = |said: &Value| {
        let one = &said["organisations"][0];
        assert_eq!(one["outcome"], "paused", "{said:#}");
        one["error"].as_str().unwrap().to_owned()
    };
    let (code, said) = rig.apply(&file);
    let why = told(&said);
    assert_eq!((code, &said["results"]), (1, &json!({"not_done": 200})));
    for word in ["officer paused it", "the list of another surgery", "portcullis sync resume A81001 --reason"]
    {
        assert!(why.contains(word), "{why}");
    }
    assert!(rig.people().is_empty());
    // looking stays allowed
    assert_eq!(rig.run(&["register", &file]).0, 0);
    assert!(text(&rig, 0, &["status", "A81001"]).contains("PAUSED since"));
    sync(&rig, 0, &["resume", "A81001", "--reason", "the right list"]);
    sync(&rig, 0, &["pause", "--all", "--reason", "national maintenance"]);
    let why = told(&rig.apply(&file).1);
    assert!(why.contains("national maintenance") && why.contains("resume --all"), "{why}");
    sync(&rig, 0, &["resume", "--all", "--reason", "done"]);

    // one under way stops before its next batch
    let mut command = rig.stage.portcullis(&["register", &file, "--apply"]);
    let child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let (ods, began) = ("A81001".parse().unwrap(), Instant::now());
    while rig.stage.store.journal(&ods, 0, 1).unwrap().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(30), "it writes nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
    rig.slapd.signal("STOP");
    sync(&rig, 0, &["pause", "A81001", "--reason", "wrong people"]);
    rig.slapd.signal("CONT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&serde_json::from_slice(&output.stdout).unwrap()).contains("wrong people"));
    assert!(rig.people().len() < 200);
    sync(&rig, 0, &["resume", "A81001", "--reason", "right people"]);
    assert_eq!(rig.apply(&file).0, 0);
    assert_eq!(rig.people().len(), 200);
}

#[test]
fn a_registration_is_undone() {
    let Some(rig) = Rig::start("a_registration_is_undone", "") else { return };
    assert_eq!(rig.apply(&table(&rig, "first.csv", &people(60))).0, 0);
    let before = rig.people();
    let wrong =
        people(10).replace("Nurse", "Porter") + &row("A81001", "one", 60) + "A81001,N30,,,,,,leaver\n";
    assert_eq!(rig.apply(&table(&rig, "wrong.csv", &wrong)).0, 0);
    assert_eq!(rig.people()["A81001/n3"]["title"], "Porter");
    let status = sync(&rig, 0, &["status", "A81001"]);
    let plan = status["last"]["written"].as_str().unwrap();
    let seen = sync(&rig, 0, &["undo", plan, "--reason", "wrong list", "--dry-run"]);
    assert_eq!(seen["written"], 12, "{seen:#}");
    // the one who left is a leaver still, as the table says
    let told = text(&rig, 1, &["undo", plan, "--reason", "wrong list"]);
    for word in
        ["not undone: mark", "register the row as it should be", "PAUSED since", "have a mended table"]
    {
        assert!(told.contains(word), "{word}: {told}");
    }
    let after = rig.people();
    assert_eq!(after.len(), 60);
    let strip = |mut one: std::collections::BTreeMap<String, String>| {
        one.remove("entryCSN");
        one
    };
    for (key, one) in &before {
        let left = after[key].contains_key("portcullisLeftAt");
        assert_eq!(left, key == "A81001/n30", "{key}");
        assert!(left || strip(after[key].clone()) == strip(one.clone()), "{key}: {:?}", after[key]);
    }
    // nothing does it again before somebody says so
    let (code, said) = rig.run(&["register", "--all", "--apply"]);
    assert!(code == 1 && said.to_string().contains("is undone: wrong list"), "{said}");
    sync(&rig, 0, &["resume", "A81001", "--reason", "mended"]);
    let (code, said) = rig.apply(&table(&rig, "right.csv", &(people(60) + "A81001,N60,,,,,,leaver\n")));
    assert_eq!(code, 0, "{said}");
    assert_eq!(rig.people().len(), 60);
    assert!(!rig.people()["A81001/n30"].contains_key("portcullisLeftAt"));
}

#[test]
fn who_is_registered_is_explained_and_who_is_held_back_is_listed() {
    let test = "who_is_registered_is_explained_and_who_is_held_back_is_listed";
    let Some(rig) = Rig::start(test, "") else { return };
    let rows = people(3) + "A81001,N7,Jo,Two,m7@one.nhs.test,jo.two,Nurse,\n";
    assert_eq!(rig.apply(&table(&rig, "people.csv", &rows)).0, 0);
    let one = |arguments: &[&str]| {
        let said = sync(&rig, 0, arguments);
        let people = said["people"].as_array().unwrap();
        assert_eq!(people.len(), 1, "{arguments:?}: {said:#}");
        people[0].clone()
    };
    let person = one(&["explain", "m1@one.nhs.test"]);
    assert_eq!(
        (&person["verdict"], &person["registered"]["ods"], &person["registered"]["local_id"]),
        (&json!("published"), &json!("A81001"), &json!("n1")),
        "{person:#}"
    );
    assert!(person["registered"]["first_written_at"].is_string() && person["local_dn"].is_null());
    assert!(person["entry"]["dn"].as_str().unwrap().to_lowercase().starts_with("uid=n1,ou=a81001,"));
    assert_eq!(person["writes"][0]["action"], "create");
    let anchor = person["anchor"].as_str().unwrap().to_owned();
    for name in ["N1", &anchor, &anchor[7..], "uid=n1,ou=A81001,ou=people,dc=national,dc=test"] {
        assert_eq!(one(&["explain", name])["anchor"], anchor.as_str(), "{name}");
        assert_eq!(one(&["explain", "--member", "A81001", name])["anchor"], anchor.as_str(), "{name}");
    }
    // the key of the row, where the account has another name
    assert_eq!(one(&["explain", "N7"])["anchor"], one(&["explain", "jo.two"])["anchor"]);
    let told = text(&rig, 0, &["explain", "m1@one.nhs.test"]);
    for word in [
        "registered by table: ods A81001, local_id n1; first written 20",
        "is registered",
        "national entry uid=n1",
        "title: Nurse [the table: title]",
        "looked in A81001: 4 people registered by table",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(!told.contains("gate ") && !told.contains("member directory"), "{told}");
    let nobody = sync(&rig, 1, &["explain", "nobody@one.nhs.test", "--member", "A81001"]);
    assert_eq!(nobody["looked"][0]["objects"], 4);

    // a leaver
    let (code, said) = rig.apply(&table(&rig, "leaver.csv", "A81001,N2,,,,,,leaver\n"));
    assert_eq!((code, &said["results"]), (0, &json!({"leave": 1})), "{said}");
    let told = text(&rig, 0, &["explain", "n2"]);
    assert!(
        told.contains("NO  enabled: the row says `leaver`") && told.contains("marked as a leaver"),
        "{told}"
    );

    // the organisation loses its domain: what was published so is held back, row by row
    assert_eq!(sync(&rig, 0, &["quarantine", "A81001"])["held"], json!([]));
    let programme = "ods,name,kind,mail_domains\nA81001,First Surgery,practice,other.nhs.test\n";
    assert_eq!(rig.run(&["programme", "import", &rig.table("programme.csv", programme)]).0, 0);
    rig.run(&["register", "--organisation", "A81001", "--apply"]);
    for arguments in [&["quarantine", "A81001"][..], &["quarantine"]] {
        let held = sync(&rig, 1, arguments);
        let ids: Vec<(&str, &str)> = held["held"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["local_id"].as_str().unwrap(), one["code"].as_str().unwrap()))
            .collect();
        assert_eq!(ids.len(), 3, "{held:#}");
        assert!(ids.contains(&("n1", "mail_domain")) && ids.contains(&("n7", "mail_domain")), "{held:#}");
    }
    let told = text(&rig, 1, &["quarantine", "A81001"]);
    assert!(told.contains("local_id n7") && told.contains("A81001: 3 held back (3 mail_domain)"), "{told}");
    assert_eq!(one(&["explain", "n1"])["quarantine"][0]["code"], "mail_domain");
}

#[test]
fn what_others_did_to_registered_people_is_found() {
    let Some(rig) = Rig::start("what_others_did_to_registered_people_is_found", "") else { return };
    assert_eq!(rig.apply(&table(&rig, "people.csv", &people(3))).0, 0);
    assert_eq!(sync(&rig, 0, &["drift", "A81001"])[0]["entries"], 3);
    // the member of this stage, too
    assert_eq!(sync(&rig, 0, &["drift"]).as_array().unwrap().len(), 2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let directory = connect(&rig.slapd).await;
        let change = Change::Replace { attribute: "title".to_owned(), values: vec![b"Matron".to_vec()] };
        let dn = "uid=n1,ou=A81001,ou=people,dc=national,dc=test";
        assert!(directory.modify(dn, &[change], Vec::new()).await.unwrap().is_success());
    });
    let found = sync(&rig, 1, &["drift", "A81001", "--values"]);
    let drift = &found[0]["drift"][0];
    assert_eq!(
        (&drift["kind"], &drift["attributes"][0]["attribute"], &drift["attributes"][0]["found"]),
        (&json!("edited"), &json!("title"), &json!(["Matron"])),
        "{found:#}"
    );
    let told = text(&rig, 1, &["drift"]);
    assert!(told.contains("portcullis register --organisation A81001"), "{told}");
    assert_eq!(rig.run(&["register", "--organisation", "A81001", "--apply"]).0, 0);
    assert_eq!(rig.people()["A81001/n1"]["title"], "Nurse");
    sync(&rig, 0, &["drift", "A81001"]);
    // where nobody is registered there is nothing to differ
    assert_eq!(sync(&rig, 0, &["drift", "A81002"])[0]["entries"], 0);
}

#[test]
fn thousands_of_organisations_do_not_fill_the_screen() {
    let Some(rig) = Rig::start("thousands_of_organisations_do_not_fill_the_screen", "") else { return };
    let codes: Vec<String> = (0..12).map(|number| format!("B810{number:02}")).collect();
    let programme: String = codes.iter().map(|code| format!("{code},Surgery {code},practice,\n")).collect();
    let programme = rig.table("programme.csv", &format!("ods,name,kind,mail_domains\n{programme}"));
    assert_eq!(rig.run(&["programme", "import", &programme]).0, 0);
    let rows: String = codes.iter().map(|code| format!("{code},N1,Jo,Bloggs,,,Nurse,\n")).collect();
    assert_eq!(rig.apply(&table(&rig, "people.csv", &rows)).0, 0);
    let told = text(&rig, 0, &["quarantine"]);
    assert!(told.contains("12 organisations that register by table: nothing held back"), "{told}");
    assert!(!told.contains("B81005"), "{told}");
    let told = text(&rig, 1, &["explain", "nobody@one.nhs.test"]);
    assert!(told.contains("looked in 12 organisations: 12 people registered by table"), "{told}");
    assert!(told.contains("looked in RXS") && !told.contains("looked in B81005"), "{told}");
    let said = sync(&rig, 1, &["explain", "nobody@one.nhs.test"]);
    assert_eq!(said["looked"].as_array().unwrap().len(), 13);
}
/// What the gateway does for them by itself: mends what others changed, does what was approved, and stops when it is told to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_looks_after_people_whom_no_table_comes_for() {
    let test = "the_gateway_looks_after_people_whom_no_table_comes_for";
    let settings = "sync: { registered_seconds: 1 }\n";
    let Some(rig) = tokio::task::block_in_place(|| Rig::start(test, settings)) else { return };
    let file = table(&rig, "people.csv", &people(5));
    tokio::task::block_in_place(|| assert_eq!(rig.apply(&file).0, 0));
    let before = tokio::task::block_in_place(|| rig.people());
    let config = portcullis::config::file::load(&rig.stage.path("portcullis.yaml")).unwrap();
    let core = Arc::new(Core::build(Arc::new(config), Clock::system()).unwrap());
    assert_eq!(portcullis::app::policies::reload(&core), Reload::Changed);
    let hands = Hands {
        store: Arc::clone(&core.store),
        clock: core.clock.clone(),
        settings: core.config.sync.clone(),
        holder: "gateway".into(),
        interruption: Default::default(),
    };
    let upkeep = Upkeep::new(&core, hands).unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let directory = connect(&rig.slapd).await;
    let title = |text: &str| [Change::Replace { attribute: "title".into(), values: vec![text.into()] }];
    let dn = "uid=n1,ou=A81001,ou=people,dc=national,dc=test";
    directory.modify(dn, &title("Somebody else's"), Vec::new()).await.unwrap();
    let task = tokio::spawn(upkeep.run(stopped));
    let began = Instant::now();
    while tokio::task::block_in_place(|| rig.people()["A81001/n1"]["title"] != before["A81001/n1"]["title"]) {
        assert!(began.elapsed() < Duration::from_secs(60), "nobody mends it");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let told = || prometheus::TextEncoder::new().encode_to_string(&core.registry.gather()).unwrap();
    let runs = "portcullis_registered_runs_total{member=\"A81001\",outcome=\"done\"}";
    // counted when the run has ended, a moment after its writes
    while !told().contains(runs) {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", told());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // while the gateway is not ready, and during a pause, nothing is written
    core.health.fail("test", "not now");
    directory.modify(dn, &title("Once more"), Vec::new()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    let found = || tokio::task::block_in_place(|| rig.people()["A81001/n1"]["title"].clone());
    assert_eq!(found(), "Once more");
    stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(30), task).await.unwrap().unwrap();
}
