//! Rows that are right by themselves and would harm somebody, and what `register` says of them: through the real program into a real slapd.

use std::time::Duration;

use portcullis::ambient::clock::Clock;
use portcullis::store::port::Store;
use serde_json::{Value, json};

use crate::sync_register::{HEADING, Rig, SCOPE, row};

fn table(rig: &Rig, name: &str, rows: &str) -> String {
    rig.table(name, &format!("{HEADING}{rows}"))
}

/// Line, column and text of each fault.
fn faults(said: &Value) -> Vec<(u64, String, String)> {
    let text = |fault: &Value, name: &str| fault[name].as_str().unwrap_or_default().to_owned();
    let all = said["faults"].as_array().unwrap_or_else(|| panic!("{said}")).iter();
    all.map(|fault| (fault["line"].as_u64().unwrap(), text(fault, "column"), text(fault, "text"))).collect()
}

/// The table is refused, and these are its faults: line, column and a part of the text.
fn refused(rig: &Rig, file: &str, wanted: &[(u64, &str, &str)]) {
    for arguments in [vec!["register", file], vec!["register", file, "--apply"]] {
        let (code, said) = rig.run(&arguments);
        let found = faults(&said);
        assert_eq!((code, found.len()), (1, wanted.len()), "{arguments:?}: {said:#}");
        for ((line, column, text), (l, c, part)) in found.iter().zip(wanted) {
            assert!(line == l && column == c && text.contains(part), "{part}: {found:?}");
        }
    }
}

#[test]
fn nobody_becomes_two_by_another_local_id() {
    let Some(rig) = Rig::start("nobody_becomes_two_by_another_local_id", "") else { return };
    let first = "A81001,0001,Amina,Holt,amina@one.nhs.test,,,\n\
                 A81001,0002,Ben,Ruiz,ben@one.nhs.test,,,\n\
                 A81001,0003,Cleo,Park,cleo@one.nhs.test,,,\n\
                 A81001,0004,Dan,Moss,,,,\n";
    assert_eq!(rig.apply(&table(&rig, "first.csv", first)).0, 0);
    let before = rig.people();
    let wrong = "A81001,1,Amina,Holt,Amina@one.nhs.test,,,\n\
                 A81001,2,,,,,,leaver\n\
                 A81001,X9,Cleo,Park,cleo@one.nhs.test,,,\n\
                 A81001,04,Dan,Moss,,,,\n\
                 A81001,0005,Eve,New,eve@one.nhs.test,,,\n";
    let file = table(&rig, "wrong.csv", wrong);
    let wanted = [
        (2, "mail", "local id `0001`: were leading zeros lost?"),
        (3, "local_id", "is not registered, and `0002` is: were leading zeros lost?"),
        (4, "mail", "local id `0003`: if it is the same person, write that local id"),
        (5, "local_id", "`0004` is: were leading zeros lost?"),
    ];
    refused(&rig, &file, &wanted);
    assert_eq!(rig.people(), before);
    let (code, said) = rig.run(&["register", &file, "--apply", "--skip-faulty"]);
    assert_eq!((code, &said["results"]), (1, &json!({"create": 1, "refused": 4})), "{said}");
    // whose mail goes on to somebody else: the one before has another, or leaves, in the same table
    let moved = "A81001,N1,Cleo,Park,cleo@one.nhs.test,,,\n\
                 A81001,0003,,,,,,leaver\n\
                 A81001,N2,Ann,Holt,amina@one.nhs.test,,,\n\
                 A81001,0001,Amina,Holt,amina.holt@one.nhs.test,,,\n";
    let file = table(&rig, "moved.csv", moved);
    let (code, said) = rig.apply(&file);
    assert_eq!((code, &said["results"]), (0, &json!({"change": 1, "create": 2, "leave": 1})), "{said}");
    let (code, said) = rig.apply(&file);
    assert_eq!((code, &said["results"]), (0, &json!({"nothing": 4})), "{said}");
    // not when that row is wrong itself, and not for one who returns
    let back = "A81001,N3,Ben,Other,ben@one.nhs.test,,,\n\
                A81001,0002,Ben,Ruiz,ben@wrong.test,,,\n\
                A81001,0003,Cleo,Park,cleo@one.nhs.test,,,\n";
    let wanted = [(2, "mail", "`0002`"), (3, "mail", "not in a domain"), (4, "mail", "`n1`")];
    refused(&rig, &table(&rig, "back.csv", back), &wanted);
}

/// Two tables at once: the second was checked before the first was applied.
#[test]
fn what_another_table_registered_meanwhile_counts() {
    let Some(rig) = Rig::start("what_another_table_registered_meanwhile_counts", "") else { return };
    assert_eq!(rig.apply(&table(&rig, "first.csv", &row("A81001", "one", 1))).0, 0);
    let (ods, now) = ("sync/A81001", Clock::system().now());
    let lease =
        rig.stage.store.acquire_lease(ods, "another", now, Duration::from_secs(600)).unwrap().unwrap();
    let tables = [
        table(&rig, "a.csv", "A81001,0002,Ben,Ruiz,ben@one.nhs.test,,,\n"),
        table(&rig, "b.csv", "A81001,2,Ben,Ruiz,ben@one.nhs.test,,,\n"),
    ];
    let children: Vec<_> = tables
        .iter()
        .map(|file| {
            let mut command = rig.stage.portcullis(&["register", file, "--apply"]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    // both wait, and say so
    std::thread::sleep(Duration::from_secs(3));
    rig.stage.store.release_lease(&lease).unwrap();
    let mut words = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let noted = String::from_utf8(output.stderr).unwrap();
        assert!(noted.contains("another run of A81001 is under way: waiting for it to end"), "{noted}");
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        words.extend(said["results"].as_object().unwrap().keys().cloned());
    }
    words.sort();
    assert_eq!(words, ["create", "refused"]);
    assert_eq!(rig.people().len(), 2);
    let details: Vec<String> = tables.iter().map(|file| rig.results(file).remove(0).2).collect();
    assert!(details.iter().any(|text| text.contains("were leading zeros lost?")), "{details:?}");
}

#[test]
fn a_local_id_is_not_given_to_another_person() {
    let Some(rig) = Rig::start("a_local_id_is_not_given_to_another_person", "") else { return };
    let first = table(&rig, "first.csv", &(row("A81001", "one", 1) + &row("A81001", "one", 2)));
    assert_eq!(rig.apply(&first).0, 0);
    let before = rig.people();
    let other = "A81001,N1,Zoe,Quill,zoe@one.nhs.test,,Nurse,\n";
    let wrong = table(&rig, "wrong.csv", other);
    refused(
        &rig,
        &wrong,
        &[(2, "local_id", "given name, surname and mail all change, so this is another person")],
    );
    let (word, detail) = rig.result(&wrong, "N1");
    assert!(word == "refused" && detail.contains("register the other with a new local id"), "{detail}");
    assert_eq!(rig.people(), before);
    // a mail that goes is none that stays
    refused(&rig, &table(&rig, "none.csv", "A81001,N1,Zoe,Quill,,,,\n"), &[(2, "local_id", "all change")]);
    // married, with another mail: somebody is known by the given name
    let married = table(&rig, "married.csv", "A81001,N2,JO2,Quill,jo.quill@one.nhs.test,,Nurse,\n");
    for word in ["change", "nothing"] {
        assert_eq!(rig.apply(&married).1["results"], json!({word: 1}));
    }
    // what the text says is possible
    for (name, rows) in [
        ("mail.csv", "A81001,N1,Jo1,Bloggs1,zoe@one.nhs.test,,Nurse,\n"),
        ("name.csv", other),
        ("again.csv", other),
    ] {
        assert_eq!(rig.apply(&table(&rig, name, rows)).0, 0, "{name}");
    }
    assert_eq!(rig.people()["A81001/n1"]["cn"], "Zoe Quill");
    // one who left keeps the local id, too
    assert_eq!(rig.apply(&table(&rig, "left.csv", "A81001,N1,,,,,,leaver\n")).0, 0);
    refused(
        &rig,
        &table(&rig, "given.csv", "A81001,N1,Ann,Vale,ann@one.nhs.test,,,\n"),
        &[(2, "local_id", "all change")],
    );
}

#[test]
fn what_cannot_name_an_entry_or_would_be_a_formula_is_refused() {
    let test = "what_cannot_name_an_entry_or_would_be_a_formula_is_refused";
    let Some(rig) = Rig::start(test, "") else { return };
    let heading = "ods,local_id,given_name,sn,mail,account,title,telephone,department,site,employee_number\n";
    let rows = "A81001,a/1,Jo,Able,a1@one.nhs.test,,,,,,\n\
                A81001,a/2,Jo,Baker,a2@one.nhs.test,jo.baker,,+44 113 496 0000,,,\n\
                A81001,a3,Jo,Cole,a3@one.nhs.test,jo/cole,,,,,\n\
                A81001,a4,=cmd|' /C calc'!A0,Dean,a4@one.nhs.test,,@SUM(1),,+Wards,-,\"\t=1+1\"\n\
                A81001,a5,Jo,Ever,-a5@one.nhs.test,,\u{ff1d}1+1,,,,'=1\n";
    let file = rig.table("wrong.csv", &format!("{heading}{rows}"));
    let takes = "a spreadsheet would take it for a formula";
    let wanted = [
        (2, "local_id", "`a/1` cannot be the name of an entry"),
        (4, "account", "has a `/`, which no name of an account may have"),
        (5, "given_name", takes),
        (5, "title", "begins with `@`"),
        (5, "department", "begins with `+`"),
        (5, "employee_number", takes),
        (6, "mail", takes),
        (6, "title", takes),
        (6, "employee_number", takes),
    ];
    refused(&rig, &file, &wanted);
    // who opens the file of results in a spreadsheet runs nothing, and it is refused again when it is given again
    let results = std::fs::read_to_string(rig.stage.path("wrong.results.csv")).unwrap();
    for cell in [",'=cmd|' /C calc'!A0,", ",'@SUM(1),", ",'+Wards,-,'=1+1,", ",+44 113 496 0000,", ",'-a5@"] {
        assert!(results.contains(cell), "{cell}: {results}");
    }
    let again = rig.table("again.csv", &results);
    let (code, said) = rig.run(&["register", &again]);
    assert_eq!((code, faults(&said).len()), (1, 9), "{said:#}");
    let (code, said) = rig.run(&["register", &file, "--apply", "--skip-faulty"]);
    assert_eq!((code, &said["results"]), (1, &json!({"create": 1, "refused": 4})), "{said}");
    assert!(rig.people().contains_key("A81001/jo.baker"));
    // the account name that somebody has stays where the table says nothing of it
    let same = "ods,local_id,given_name,sn,mail\nA81001,A/2,Jo,Baker,a2@one.nhs.test\n";
    let (code, said) = rig.apply(&rig.table("same.csv", same));
    assert_eq!((code, &said["results"]), (0, &json!({"nothing": 1})), "{said}");
}

#[test]
fn who_asked_not_to_be_listed_is_not_published_and_the_row_says_so() {
    let test = "who_asked_not_to_be_listed_is_not_published_and_the_row_says_so";
    let scope = format!("{SCOPE}listing: {{ attribute: employeeType, not_published: [not-listed] }}\n");
    let Some(rig) = Rig::with(test, &scope, "") else { return };
    let file = |name: &str, first: &str| {
        let rows = format!(
            "A81001,1,Jo,Able,a1@one.nhs.test,{first}\nA81001,2,Jo,Baker,a2@one.nhs.test,Not-Listed\n"
        );
        rig.table(name, &format!("ods,local_id,given_name,sn,mail,listing\n{rows}"))
    };
    let first = file("first.csv", "");
    for arguments in [vec!["register", &first], vec!["register", &first, "--apply"]] {
        let (code, said) = rig.run(&arguments);
        assert_eq!((code, &said["results"]), (0, &json!({"create": 1, "not_published": 1})), "{said}");
        let (word, detail) = rig.result(&first, "2");
        assert!(word == "not_published" && detail.contains("`listing`"), "{word} {detail}");
    }
    assert_eq!(rig.people().len(), 1);
    // a closed organisation takes nobody new, and whoever asks not to be listed
    let close = |status: &str| {
        let table = format!("ods,name,kind,status,successor\nA81001,First Surgery,practice,{status}\n");
        let (code, said) = rig.run(&["programme", "import", &rig.table("close.csv", &table)]);
        assert_eq!(code, 0, "{said}");
    };
    close("closed,A81003");
    let (code, said) = rig.run(&["register", &first]);
    assert!(code == 1 && faults(&said)[0].2.contains("asks not to be listed"), "{said}");
    let asks = "ods,local_id,given_name,sn,mail,listing\nA81001,1,Jo,Able,a1@one.nhs.test,Not Listed\n";
    let (code, said) = rig.run(&["register", &rig.table("asks.csv", asks), "--apply"]);
    assert_eq!((code, &said["results"]), (0, &json!({"not_published": 1})), "{said}");
    assert!(rig.people().is_empty());
    close("open,");
    // whoever asks later is taken out, and is no leaver whose time is over
    let later = file("later.csv", "not-listed");
    for arguments in [vec!["register", &later], vec!["register", &later, "--apply"], vec!["register", &later]]
    {
        let (code, said) = rig.run(&arguments);
        assert_eq!((code, &said["results"]), (0, &json!({"not_published": 2})), "{said}");
    }
    assert!(rig.people().is_empty());
    let (code, said) = rig.run(&["register", &file("wrong.csv", "ex-directory")]);
    assert!(code == 1 && faults(&said)[0].2.contains("listed, not-listed"), "{said}");
}

/// `register ...` for a person: exit code, and what was said on both outputs.
fn told(rig: &Rig, arguments: &[&str]) -> (i32, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command
        .arg("--config")
        .arg(rig.stage.path("portcullis.yaml"))
        .args(["--actor", "officer"])
        .args(arguments);
    let output = command.env_remove("PORTCULLIS_CONFIG").output().unwrap();
    let both = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.code().unwrap(), both)
}

#[test]
fn what_register_says_is_so() {
    let Some(rig) = Rig::start("what_register_says_is_so", "") else { return };
    let rows: String = (0..5).map(|number| row("A81001", "one", number)).collect();
    assert_eq!(rig.apply(&table(&rig, "people.csv", &rows)).0, 0);
    // a column that is missing: no row was read, and --apply would do nothing
    let short = rig.table("short.csv", "ods,local_id,given_name\nA81001,N1,Jo\nA81001,N2,,\n");
    let (code, text) = told(&rig, &["register", &short]);
    assert_eq!(code, 1, "{text}");
    for word in ["line 1 sn: is missing: add the column", "the heading is wrong: no row was read"] {
        assert!(text.contains(word), "{text}");
    }
    assert!(!text.contains("--apply") && !text.contains("0 rows"), "{text}");
    // leavers alone need no names; one more row, and the table does
    let leavers = "ods,local_id,status\nA81001,N1,leaver\nA81001,n2,Leaver\n";
    let (code, said) = rig.run(&["register", &rig.table("leavers.csv", leavers)]);
    assert_eq!(said["rows"], 2, "{said}");
    assert!(code == 0 || said["results"]["waits"] == 2, "{said}");
    let (code, said) = rig.run(&["register", &rig.table("more.csv", &format!("{leavers}A81001,N3,\n"))]);
    let columns: Vec<String> = faults(&said).into_iter().map(|fault| fault.1).collect();
    assert_eq!((code, columns), (1, vec!["given_name".to_owned(), "sn".to_owned()]), "{said}");
    // what else is wrong with a row in which a cell cannot be read
    let mixed = table(&rig, "mixed.csv", "A81001,a b,Jo\u{200b},,jo,,,gone\n");
    refused(
        &rig,
        &mixed,
        &[
            (2, "given_name", "invisible"),
            (2, "local_id", "must be letters"),
            (2, "status", "active"),
            (2, "sn", "fill it in"),
            (2, "mail", "no mail address"),
        ],
    );
    // who is right alone is not sent to --apply while others are wrong
    assert!(told(&rig, &["register", &mixed]).1.contains("mend the rows that are wrong"));
    let (code, text) = told(&rig, &["register", "/nonexistent.csv"]);
    assert!(code == 2 && text.contains("No such file") && !text.contains("tables.bytes"), "{text}");
    let (code, text) = told(&rig, &["register"]);
    assert!(code == 2 && text.contains("Usage: portcullis register [OPTIONS] <FILE>"), "{text}");
    assert!(!text.contains("--actor <"), "{text}");
    for arguments in
        [&["register", "--organisation", "A81004"][..], &["register", "--organisation", "A81004", "--apply"]]
    {
        let (code, text) = told(&rig, arguments);
        assert!(code == 0 && text.contains("A81004 is closed: register its people for A81003"), "{text}");
    }
}

#[test]
fn the_programme_takes_no_circle_and_tells_of_domains_that_go() {
    let test = "the_programme_takes_no_circle_and_tells_of_domains_that_go";
    let Some(rig) = Rig::start(test, "") else { return };
    let heading = "ods,name,kind,status,successor\n";
    let import = |name: &str, rows: &str| {
        rig.run(&["programme", "import", &rig.table(name, &format!("{heading}{rows}"))])
    };
    // A81004 is closed already, and A81003 follows it
    let (code, said) =
        import("a.csv", "A81003,Third Surgery,practice,closed,A81005\nA81005,Fifth,practice,closed,A81004\n");
    let found = faults(&said);
    assert_eq!((code, found.len()), (1, 2), "{said}");
    let way = "A81003 is followed by A81005 is followed by A81004 is followed by A81003 is a circle";
    assert!(found[0].1 == "successor" && found[0].2.contains(way), "{found:?}");
    assert_eq!(import("b.csv", "A81003,Third Surgery,practice,closed,A81005\n").0, 0);
    let (code, said) = import("c.csv", "A81005,Fifth,practice,closed,A81003\nA81009,=1+1,practice,,\n");
    let found = faults(&said);
    assert!(code == 1 && found.len() == 2 && found.iter().any(|one| one.2.contains("formula")), "{said}");
    // domains that go while people are published
    assert_eq!(rig.apply(&table(&rig, "people.csv", &row("A81001", "one", 1))).0, 0);
    let empty =
        "ods,name,kind,mail_domains\nA81001,First Surgery,practice,\nA81002,Second Surgery,practice,\n";
    let file = rig.table("empty.csv", empty);
    let (code, text) = told(&rig, &["programme", "import", &file]);
    assert_eq!(code, 0, "{text}");
    let note = "note: A81001 has no mail domain any more, and entries of it are published (1)";
    assert!(text.contains(note) && !text.contains("note: A81002"), "{text}");
    assert_eq!(rig.run(&["register", "--organisation", "A81001", "--apply"]).0, 0);
    assert_eq!(rig.people()["A81001/n1"]["mail"], "m1@one.nhs.test");
    let (_, said) = rig.run(&["programme", "import", &file]);
    assert_eq!((&said["same"], &said["notes"]), (&json!(2), &json!([])));
}
