//! People of organisations without a directory, registered from tables through the real program into a real slapd.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use portcullis::directory::client::Directory;
use portcullis::directory::endpoint::Endpoint;
use portcullis::directory::request::{Credential, Scope, Search};
use portcullis::ldap::entry::Entry;
use portcullis::ldap::filter::Filter;
use portcullis::secret::text::Secret;
use portcullis::store::port::Store;
use portcullis::tls::client::client_config;
use portcullis::tls::material::Anchors;
use serde_json::Value;

use crate::sync_national::{ADMIN, NAME, PASSWORD, Pki, Slapd};
use crate::sync_stage::{National, Source, Stage};

pub const SCOPE: &str = "kind: SyncScope
id: everybody
members: all
publish: { bases: [OU=Staff], filter: '(&(objectClass=user)(mail=*)(!(title=secret)))' }
attributes:
  { uid: sAMAccountName, cn: cn, sn: sn, givenName: givenName, displayName: displayName, mail: mail, title: title, o: company }
leavers: { keep: 30d }
guards:
  deletes: { count: 50, share: 5% }
  renames: { count: 100000, share: 100% }
  changes: { count: 100000, share: 100% }
  shrink: { count: 100000, share: 50% }
  day: { count: 100000, share: 100% }
";
const ORGANISATIONS: &str = "ods,name,kind,wave,planned,mail_domains,status,successor
A81001,First Surgery,practice,1,2020-01-31,one.nhs.test,,
A81002,Second Surgery,practice,1,2999-01-31,two.nhs.test common.nhs.test,,
A81003,Third Surgery,practice,2,,three.nhs.test common.nhs.test,,
A81004,Closed Surgery,practice,2,,four.nhs.test,closed,A81003
A81005,Surgery Without Mail,practice,,,,,
RXS,A trust,large,1,,rxs.nhs.test,,
";
pub const HEADING: &str = "ods,local_id,given_name,sn,mail,account,title,status\n";

pub struct Rig {
    pub slapd: Slapd,
    pub stage: Stage,
}

/// National entry by ODS code and uid: attribute to value.
type People = BTreeMap<String, BTreeMap<String, String>>;

impl Rig {
    pub fn start(test: &str, extra: &str) -> Option<Rig> {
        Rig::with(test, SCOPE, extra)
    }

    /// With another scope.
    pub fn with(test: &str, scope: &str, extra: &str) -> Option<Rig> {
        let pki = Pki::new();
        let slapd = Slapd::start(test, &pki)?;
        let source = Source {
            host: "127.0.0.1".into(),
            port: 1,
            tls_name: NAME.into(),
            base: "DC=rxs,DC=test".into(),
            bind: "svc@rxs.test".into(),
            password: "secret".into(),
            anchors: pki.ca.clone(),
            canary: None,
            mail_domain: "rxs.nhs.test".into(),
        };
        let national = National {
            host: "127.0.0.1".into(),
            port: slapd.port,
            tls_name: NAME.into(),
            anchors: slapd.folder.path().join("ca.crt"),
            bind: ADMIN.into(),
            password: PASSWORD.into(),
        };
        let rig = Rig { stage: Stage::new("RXS", &source, &national, scope, extra), slapd };
        let (code, said) = rig.run(&["programme", "import", &rig.table("organisations.csv", ORGANISATIONS)]);
        assert_eq!((code, &said["new"]), (0, &Value::from(6)), "{said}");
        Some(rig)
    }

    pub fn table(&self, name: &str, text: &str) -> String {
        let path = self.stage.path(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Exit code and JSON.
    pub fn run(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.stage.portcullis(arguments).output().unwrap();
        let said = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
            Value::from(
                String::from_utf8_lossy(&output.stdout).into_owned()
                    + &String::from_utf8_lossy(&output.stderr),
            )
        });
        (output.status.code().unwrap(), said)
    }

    /// `register FILE --apply`.
    pub fn apply(&self, file: &str) -> (i32, Value) {
        self.run(&["register", file, "--apply"])
    }

    pub fn people(&self) -> People {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let anchors = Anchors::load(&self.slapd.folder.path().join("ca.crt")).unwrap();
            let credential =
                Credential::Simple { name: ADMIN.into(), password: Secret::new(PASSWORD.into()) };
            let endpoint = Endpoint::ldaps("127.0.0.1", self.slapd.port, Some(NAME));
            let tls = client_config(&anchors, None).unwrap();
            let mut directory =
                Directory::connect(&endpoint, tls, &credential, &Default::default()).await.unwrap();
            let names = [
                "uid",
                "cn",
                "sn",
                "mail",
                "title",
                "o",
                "portcullisMember",
                "portcullisLeftAt",
                "entryUUID",
                "entryCSN",
            ];
            let filter = Filter::parse("(objectClass=inetOrgPerson)").unwrap();
            let search = Search::new("dc=national,dc=test", Scope::Subtree, filter, &names).paged(1000);
            let mut people = People::new();
            let look = |entry: Entry| {
                let values = names.iter().filter_map(|name| {
                    let values: Vec<&str> = entry.texts(name).collect();
                    assert!(values.len() < 2);
                    values.first().map(|value| ((*name).to_owned(), (*value).to_owned()))
                });
                let values: BTreeMap<String, String> = values.collect();
                let key = format!("{}/{}", values.get("portcullisMember").map_or("-", |v| v), values["uid"]);
                assert!(people.insert(key.clone(), values).is_none(), "{key} is there twice");
            };
            let done = directory.search(&search, look).await.unwrap();
            assert!(done.is_complete(), "{done:?}");
            people
        })
    }

    pub fn results(&self, file: &str) -> Vec<(String, String, String)> {
        let path = PathBuf::from(file).with_extension("results.csv");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path).unwrap();
        let wide = reader.headers().unwrap().len();
        assert_eq!(reader.headers().unwrap().iter().skip(wide - 2).collect::<Vec<_>>(), ["result", "detail"]);
        let rows = reader.records().map(|row| {
            let row = row.unwrap();
            (row[1].to_owned(), row[wide - 2].to_owned(), row[wide - 1].to_owned())
        });
        rows.collect()
    }

    /// What became of the row with this local id.
    pub fn result(&self, file: &str, id: &str) -> (String, String) {
        let rows = self.results(file);
        let row = rows.iter().find(|row| row.0 == id).unwrap_or_else(|| panic!("no row {id}: {rows:?}"));
        (row.1.clone(), row.2.clone())
    }
}

/// A row of the organisation whose mail domain begins with `domain`.
pub fn row(ods: &str, domain: &str, number: usize) -> String {
    format!("{ods},N{number},Jo{number},Bloggs{number},m{number}@{domain}.nhs.test,,Nurse,\n")
}

fn wave(many: usize) -> String {
    let organisations = [("A81001", "one"), ("A81002", "two"), ("A81003", "three")];
    let rows = (0..many).map(|number| {
        let (ods, domain) = organisations[number % 3];
        row(ods, domain, number)
    });
    HEADING.to_owned() + &rows.collect::<String>()
}

#[test]
fn a_wave_of_1800_registers_and_again_changes_nothing() {
    let Some(rig) = Rig::start("a_wave_of_1800_registers_and_again_changes_nothing", "") else { return };
    let file = rig.table("wave.csv", &wave(1800));
    let (code, preview) = rig.run(&["register", &file]);
    assert_eq!((code, &preview["results"]), (0, &serde_json::json!({"create": 1800})), "{preview}");
    assert!(rig.people().is_empty());
    assert_eq!(rig.results(&file).len(), 1800);
    let (code, applied) = rig.apply(&file);
    assert_eq!((code, &applied["results"]), (0, &serde_json::json!({"create": 1800})), "{applied}");
    let people = rig.people();
    assert_eq!(people.len(), 1800);
    let one = &people["A81002/n4"];
    for (name, value) in [
        ("cn", "Jo4 Bloggs4"),
        ("sn", "Bloggs4"),
        ("mail", "m4@two.nhs.test"),
        ("title", "Nurse"),
        ("o", "Second Surgery"),
    ] {
        assert_eq!(one[name], value);
    }
    // again, from a file of results: nothing changes, not even a version
    let results = rig.stage.path("wave.results.csv");
    let again = rig.table("again.csv", &std::fs::read_to_string(results).unwrap());
    let (code, applied) = rig.apply(&again);
    assert_eq!((code, &applied["results"]), (0, &serde_json::json!({"nothing": 1800})), "{applied}");
    assert_eq!(rig.people(), people);
    let (_, places) = rig.run(&["programme", "--wave", "1"]);
    let first = &places["organisations"][0];
    assert_eq!(
        (&first["ods"], &first["standing"], &first["registered"], &first["published"], &first["late"]),
        (&"A81001".into(), &"registered".into(), &600.into(), &600.into(), &false.into()),
        "{places}"
    );
    let actions: Vec<String> =
        rig.stage.store.audit(0, 1000).unwrap().into_iter().map(|record| record.audit.action).collect();
    let count = |action: &str| actions.iter().filter(|one| *one == action).count();
    assert_eq!((count("register.apply"), count("register.done"), count("programme.import")), (3, 3, 1));
}

#[test]
fn what_a_file_says_happens_and_what_it_does_not_say_stays() {
    let Some(rig) = Rig::start("what_a_file_says_happens_and_what_it_does_not_say_stays", "") else { return };
    let rows: String = (0..30).map(|number| row("A81001", "one", number)).collect();
    assert_eq!(rig.apply(&rig.table("first.csv", &(HEADING.to_owned() + &rows))).0, 0);
    let before = rig.people();
    let text = HEADING.to_owned()
        // another surname, another account name, mails that change places, a leaver, one whom the scope does not select, one as before
        + "A81001,n1,Jo1,Married,m1@one.nhs.test,,Nurse,active\n"
        + "a81001,N2,Jo2,Bloggs2,m2@one.nhs.test,jo.two,Nurse,\n"
        + "A81001,N3,Jo3,Bloggs3,m4@one.nhs.test,,Nurse,\n"
        + "A81001,N4,Jo4,Bloggs4,m3@one.nhs.test,,,\n"
        + "A81001,N5,,,,,,leaver\n"
        + "A81001,N8,,,,,,leaver\n"
        + "A81001,N6,Jo6,Bloggs6,,,Nurse,\n"
        + "A81001,N7,Jo7,Bloggs7,m7@one.nhs.test,,Nurse,\n"
        + "A81001,N99,,,,,,leaver\n";
    let file = rig.table("second.csv", &text);
    // one and the same command, with a guard of one leaver (5% of 30)
    let (code, said) = rig.apply(&file);
    assert_eq!(code, 1, "{said}");
    assert_eq!(rig.result(&file, "N5").0, "waits");
    let hash = said["organisations"][0]["held"].as_str().unwrap().to_owned();
    assert_eq!(rig.people()["A81001/n1"]["sn"], "Married");
    let (code, said) = rig.run(&["sync", "approve", &hash, "--reason", "they left"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = rig.apply(&file);
    assert_eq!(code, 0, "{said}");
    for (id, word) in [("n1", "nothing"), ("N5", "leave"), ("N6", "not_published"), ("N99", "nothing")] {
        assert_eq!(rig.result(&file, id).0, word, "{id}");
    }
    let after = rig.people();
    assert_eq!(after["A81001/n1"]["entryUUID"], before["A81001/n1"]["entryUUID"]);
    assert_eq!(after["A81001/jo.two"]["entryUUID"], before["A81001/n2"]["entryUUID"]);
    assert_eq!(
        (&*after["A81001/n3"]["mail"], &*after["A81001/n4"]["mail"]),
        ("m4@one.nhs.test", "m3@one.nhs.test")
    );
    assert!(!after["A81001/n4"].contains_key("title"));
    let leaver = &after["A81001/n5"];
    assert!(leaver.contains_key("portcullisLeftAt") && !leaver.contains_key("mail"), "{leaver:?}");
    assert_eq!((&after["A81001/n7"], &after["A81001/n20"]), (&before["A81001/n7"], &before["A81001/n20"]));
    assert_eq!(after.len(), 30);
    // whoever comes back within the time is the same entry
    let both = row("A81001", "one", 5) + &row("A81001", "one", 8);
    let back = rig.table("back.csv", &(HEADING.to_owned() + &both));
    assert_eq!(rig.apply(&back).0, 0);
    let people = rig.people();
    let one = &people["A81001/n5"];
    assert!(one["entryUUID"] == before["A81001/n5"]["entryUUID"] && !one.contains_key("portcullisLeftAt"));
    // without a file: what somebody else changed is mended
    assert_eq!(rig.run(&["register", "--all", "--apply"]).0, 0);
    let (_, place) = rig.run(&["programme", "show", "A81001"]);
    assert_eq!(place["registered"], 30, "{place}");
}

#[test]
fn wrong_rows_are_all_told_and_nothing_is_applied_until_they_are_skipped() {
    let test = "wrong_rows_are_all_told_and_nothing_is_applied_until_they_are_skipped";
    let Some(rig) = Rig::start(test, "") else { return };
    let common = "A81003,C1,Ann,Other,ann@common.nhs.test,,Nurse,\n";
    assert_eq!(rig.apply(&rig.table("other.csv", &(HEADING.to_owned() + common))).0, 0);
    let text = HEADING.to_owned()
        + &row("A81001", "one", 1)
        + "A81001,N2,Jo,Bloggs,jo@two.nhs.test,,,\n" // 3: another's domain
        + "A99999,N3,Jo,Bloggs,,,,\n" // 4: unknown
        + "RXS,N4,Jo,Bloggs,jo@rxs.nhs.test,,,\n" // 5: has a directory
        + "A81004,N5,Jo,Bloggs,jo@four.nhs.test,,,\n" // 6: closed
        + "A81005,N6,Jo,Bloggs,jo@five.nhs.test,,,\n" // 7: no domains
        + "A81002,N7,Jo,Bloggs,ann@common.nhs.test,,,\n" // 8: somebody else's mail
        + "A81002,N8,Jo,,same@two.nhs.test,,,gone\n" // 9: no surname, no such status
        + "A81002,N9,Jo,Bloggs,same9@two.nhs.test,,,\n" // 10, 11: the same person
        + "A81002,n9,Jo,Bloggs,same10@two.nhs.test,,,\n"
        + "A81002,N11,Jo,Bloggs,same@two.nhs.test,,,\n" // 12, 13: the same mail
        + "A81002,N12,Jo,Bloggs,Same@two.nhs.test,,,\n"
        + "A81002,N13,Jo,Bloggs,a@two.nhs.test,same,,\n" // 14, 15: the same account name
        + "A81002,N14,Jo,Bloggs,b@two.nhs.test,SAME,,\n"
        + "A81002,N15,Jo\n" // 16: ragged
        + "A81002,N16,Jo\u{200b},Bloggs,,,,\n" // 17: invisible
        + "A81002,N17,\"Jo\nAnn\",Bloggs,,,,\n" // 18, 19: a line break
        + "A81004,N18,,,,,,leaver\n"; // 20: a leaver of a closed one is right
    let file = rig.table("wrong.csv", &text);
    for arguments in [vec!["register", file.as_str()], vec!["register", file.as_str(), "--apply"]] {
        let (code, said) = rig.run(&arguments);
        assert_eq!(code, 1, "{said}");
        let faults: Vec<(u64, String, String)> = said["faults"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| {
                let text = |name: &str| fault[name].as_str().unwrap_or_default().to_owned();
                (fault["line"].as_u64().unwrap(), text("column"), text("text"))
            })
            .collect();
        for (line, column, part) in [
            (3, "mail", "not in a domain of A81001: it has one.nhs.test"),
            (4, "ods", "programme import"),
            (5, "ods", "directory of its own"),
            (6, "ods", "for A81003"),
            (7, "mail", "no mail domains"),
            (8, "mail", "somebody of A81003"),
            (9, "sn", "fill it in"),
            (9, "status", "active"),
            (10, "local_id", "lines 10 and 11"),
            (11, "local_id", "lines 10 and 11"),
            (12, "mail", "lines 12 and 13"),
            (13, "mail", "lines 12 and 13"),
            (14, "account", "lines 14 and 15"),
            (15, "account", "lines 14 and 15"),
            (16, "", "3 cells"),
            (17, "given_name", "invisible"),
            (18, "given_name", "line break"),
        ] {
            let there = faults.iter().any(|(l, c, text)| *l == line && c == column && text.contains(part));
            assert!(there, "{line} {column} {part}: {faults:?}");
        }
        assert_eq!(faults.len(), 17, "{faults:?}");
        assert_eq!(rig.people().len(), 1);
    }
    assert_eq!(rig.result(&file, "N1").0, "not_applied");
    let (code, said) = rig.run(&["register", &file, "--apply", "--skip-faulty"]);
    assert_eq!(code, 1, "{said}");
    assert_eq!(rig.result(&file, "N1").0, "create");
    let (word, detail) = rig.result(&file, "N7");
    assert!(word == "refused" && detail.contains("A81003"), "{detail}");
    assert_eq!(rig.people().keys().collect::<Vec<_>>(), ["A81001/n1", "A81003/c1"]);
    // a table that is none
    for (text, part) in [("ods;local_id\n", "commas"), ("ods,local_id,colour\n", "colour"), ("", "empty")] {
        let (code, said) = rig.run(&["register", &rig.table("none.csv", text)]);
        assert!(code == 1 && said.to_string().contains(part), "{said}");
    }
    let (code, said) = rig.run(&["register", &file, "--results", &file]);
    assert!(code == 1 && said.to_string().contains("would replace the table"), "{said}");
}

#[test]
fn a_guard_holds_leavers_and_lets_the_others_through() {
    let Some(rig) = Rig::start("a_guard_holds_leavers_and_lets_the_others_through", "") else { return };
    let rows: String = (0..200).map(|number| row("A81001", "one", number)).collect();
    assert_eq!(rig.apply(&rig.table("first.csv", &(HEADING.to_owned() + &rows))).0, 0);
    let leavers: String = (0..20).map(|number| format!("A81001,N{number},,,,,,leaver\n")).collect();
    let file = rig.table("leavers.csv", &(HEADING.to_owned() + &leavers + &row("A81001", "one", 500)));
    let (code, preview) = rig.run(&["register", &file]);
    assert_eq!((code, &preview["results"]), (1, &serde_json::json!({"create": 1, "waits": 20})), "{preview}");
    let (code, said) = rig.apply(&file);
    assert_eq!((code, &said["results"]), (1, &serde_json::json!({"create": 1, "waits": 20})), "{said}");
    let left = |rig: &Rig| rig.people().values().filter(|one| one.contains_key("portcullisLeftAt")).count();
    assert_eq!((rig.people().len(), left(&rig)), (201, 0));
    let hash = said["organisations"][0]["held"].as_str().unwrap();
    assert_eq!(said["organisations"][0]["officers"], serde_json::json!({"approved": 0, "needed": 1}));
    let told = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.arg("--config").arg(rig.stage.path("portcullis.yaml")).args(["register", &file, "--apply"]);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let text = told();
    let waits = format!("A81001: 20 steps wait in plan {hash}: 0 of 1 officer approved");
    assert!(text.contains(&waits), "{text}");
    assert!(rig.result(&file, "N3").1.contains(hash));
    assert_eq!(rig.run(&["sync", "approve", hash, "--reason", "the surgery halves"]).0, 0);
    // without the file, too
    assert_eq!(rig.run(&["register", "--organisation", "A81001", "--apply"]).0, 0);
    assert_eq!((rig.people().len(), left(&rig)), (201, 20));
    let (_, place) = rig.run(&["programme", "show", "A81001"]);
    assert_eq!((&place["registered"], &place["published"]), (&181.into(), &181.into()), "{place}");
}

#[test]
fn killed_anywhere_the_same_command_goes_on() {
    let extra = "sync: { batch: 10, connections: 2 }\n";
    let Some(rig) = Rig::start("killed_anywhere_the_same_command_goes_on", extra) else { return };
    let text = wave(900);
    let file = rig.table("wave.csv", &text);
    let mut kills = 0;
    for milliseconds in [150, 300, 500, 700, 900, 1100, 1300] {
        let mut child = rig
            .stage
            .portcullis(&["register", &file, "--apply"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
        }
        child.wait().unwrap();
        rig.stage.end_lease();
        let some = rig.people();
        assert!(some.len() <= 900);
        eprintln!("killed after {milliseconds} ms: {} entries", some.len());
    }
    assert!(kills > 2, "only {kills} kills");
    let (code, said) = rig.apply(&file);
    assert_eq!(code, 0, "{said}");
    let people = rig.people();
    assert_eq!(people.len(), 900);
    for (number, ods) in (0..900).map(|number| (number, ["A81001", "A81002", "A81003"][number % 3])) {
        assert_eq!(people[&format!("{ods}/n{number}")]["cn"], format!("Jo{number} Bloggs{number}"));
    }
    let (code, said) = rig.apply(&file);
    assert_eq!((code, &said["results"]), (0, &serde_json::json!({"nothing": 900})), "{said}");
    let (_, places) = rig.run(&["programme"]);
    assert_eq!(places["waves"][0]["registered"], 600, "{places}");
}

#[test]
fn two_at_once_do_not_interleave() {
    let Some(rig) = Rig::start("two_at_once_do_not_interleave", "") else { return };
    let table = |title: &str| {
        let rows: String =
            (0..300).map(|number| row("A81001", "one", number).replace("Nurse", title)).collect();
        rig.table(&format!("{title}.csv"), &(HEADING.to_owned() + &rows))
    };
    let files = [table("Nurse"), table("Doctor")];
    let children: Vec<_> = files
        .iter()
        .map(|file| {
            let mut command = rig.stage.portcullis(&["register", file, "--apply"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let people = rig.people();
    assert_eq!(people.len(), 300);
    let titles: std::collections::BTreeSet<&String> = people.values().map(|one| &one["title"]).collect();
    assert_eq!(titles.len(), 1, "{titles:?}");
}

#[test]
fn the_programme_tells_where_everybody_stands() {
    let Some(rig) = Rig::start("the_programme_tells_where_everybody_stands", "") else { return };
    let file = rig.table("again.csv", ORGANISATIONS);
    let (code, said) = rig.run(&["programme", "import", &file]);
    assert_eq!((code, &said["same"], &said["changed"]), (0, &6.into(), &0.into()), "{said}");
    let (code, said) = rig.run(&[
        "programme",
        "import",
        &rig.table("bad.csv", "ods,name,kind\nA81009,New,practice\nA81001,,gp\n"),
    ]);
    assert_eq!((code, said["faults"].as_array().unwrap().len()), (1, 2), "{said}");
    let (_, said) = rig.run(&["programme"]);
    let standing: Vec<(&str, &str, bool)> = said["organisations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (one["ods"].as_str().unwrap(), one["standing"].as_str().unwrap(), one["late"].as_bool().unwrap())
        })
        .collect();
    assert_eq!(
        standing,
        [
            ("A81001", "not_begun", true),
            ("A81002", "not_begun", false),
            ("RXS", "federated", false),
            ("A81003", "not_begun", false),
            ("A81004", "not_begun", false),
            ("A81005", "not_begun", false),
        ]
    );
    let waves = said["waves"].as_array().unwrap();
    assert_eq!((waves.len(), &waves[0]["there"], &waves[0]["late"]), (3, &1.into(), &1.into()), "{said}");
    assert_eq!(said["organisations"][2]["gates"]["sync"], "open");
    let (_, late) = rig.run(&["programme", "--late"]);
    assert_eq!(late["organisations"].as_array().unwrap().len(), 1);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.arg("--config").arg(rig.stage.path("portcullis.yaml")).args(["programme", "--csv"]);
    let output = command.output().unwrap();
    let mut reader = csv::Reader::from_reader(output.stdout.as_slice());
    assert_eq!(reader.records().map(Result::unwrap).count(), 6);
    assert_eq!(rig.run(&["programme", "show", "A99999"]).0, 1);
    let (code, said) = rig.run(&["register", "--organisation", "RXS", "--apply"]);
    assert!(code == 1 && said.to_string().contains("directory of its own"), "{said}");
}

#[test]
fn the_examples_are_good() {
    let Some(rig) = Rig::start("the_examples_are_good", "") else { return };
    let example = |name: &str| format!("{}/deploy/example/{name}", env!("CARGO_MANIFEST_DIR"));
    // of a code that the lab has already the example says more
    let (code, said) = rig.run(&["programme", "import", &example("organisations.csv")]);
    assert_eq!((code, said["faults"].as_array().unwrap().len()), (0, 0), "{said}");
    let results = rig.stage.path("results.csv");
    let (code, said) =
        rig.run(&["register", &example("people.csv"), "--apply", "--results", results.to_str().unwrap()]);
    assert_eq!((code, &said["results"]), (0, &serde_json::json!({"create": 3, "nothing": 1})), "{said}");
    assert_eq!(rig.people()["A81002/17"]["sn"], "Owen, Price");
    // the template is a table without rows
    let template = rig.stage.portcullis(&["register", "--template"]).output().unwrap();
    let file = rig.table("template.csv", &String::from_utf8(template.stdout).unwrap());
    assert!(String::from_utf8(template.stderr).unwrap().contains("local_id"));
    let (code, said) = rig.run(&["register", &file]);
    assert_eq!((code, &said["rows"]), (0, &0.into()), "{said}");
    // nobody is registered by it
    let (code, said) = rig.apply(&file);
    let fault = &said["faults"][0];
    assert_eq!((code, &fault["line"], &said["applied"]), (1, &1.into(), &false.into()), "{said}");
    assert!(fault["text"].as_str().unwrap().contains("no row stands beneath the heading"), "{said}");
    let (code, said) = rig.apply(&rig.table("nul.csv", &format!("{HEADING}A81001,N1,Jo,B\0ad,,,,\n")));
    let fault = &said["faults"][0];
    assert_eq!((code, &fault["line"]), (1, &2.into()), "{said}");
    assert!(fault["text"].as_str().unwrap().contains("NUL byte"), "{said}");
}

/// What is kept of an organisation that registers by table is shown by the same commands; those that read a directory say what to do instead.
#[test]
fn sync_verbs_answer_for_an_organisation_without_a_directory() {
    let Some(rig) = Rig::start("sync_verbs_answer_for_an_organisation_without_a_directory", "") else {
        return;
    };
    let people = |many: usize| -> String {
        let rows: String = (1..=many).map(|number| row("A81001", "one", number)).collect();
        rig.table("people.csv", &format!("{HEADING}{rows}"))
    };
    assert_eq!(rig.apply(&people(1)).0, 0);
    let stage = &rig.stage;
    assert_eq!(stage.report(&["status", "A81001"])["last"]["published"], 1);
    assert_eq!(stage.report(&["history", "A81001"])[0]["outcome"], "done");
    let written = stage.report(&["journal", "A81001"]);
    assert!(written.as_array().unwrap().iter().any(|line| line["phase"] == "done"), "{written:#}");
    for verb in [&["plan", "A81001"][..], &["run", "A81001"], &["resync", "A81001", "--reason", "why"]] {
        let output = stage.sync(verb);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{verb:?} {told}");
        assert!(told.contains("A81001 has no directory of its own"), "{verb:?} {told}");
        assert!(told.contains("portcullis register --organisation A81001"), "{verb:?} {told}");
    }
    let output = stage.sync(&["status", "A99999"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no member A99999"), "{output:?}");

    // the journal as it is written, until nobody reads it any more
    let mut child = stage.spawn(&["journal", "A81001", "--follow"]);
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    for line in written.as_array().unwrap() {
        assert_eq!(&next(), line);
    }
    assert_eq!(rig.apply(&people(2)).0, 0);
    let line = next();
    assert_eq!(
        (&line["phase"], &line["detail"]["action"]),
        (&"intended".into(), &"create".into()),
        "{line:#}"
    );
    drop(lines);
    assert_eq!(rig.apply(&people(3)).0, 0);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
