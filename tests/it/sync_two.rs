//! Two members and one national directory (a real slapd): people who move, who work in both, whose mail is another's, and an
//! organisation that takes over another's people. The member directories are scripted; the program is real.

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::{Arc, Mutex, MutexGuard};

use portcullis::directory::client::Directory;
use portcullis::directory::error::DirectoryError;
use portcullis::directory::request::{Change, Outcome, Scope, Search};
use portcullis::ldap::filter::Filter;
use portcullis::policy::terms::OdsCode;
use portcullis::store::port::Store;
use serde_json::{Value, json};

use crate::sync_crash::{HEAD, STAFF, connect, unit};
use crate::sync_national::{NAME, PASSWORD, Pki, Slapd};
use crate::sync_source::{BASE, Object, World, serve};
use crate::sync_stage::{National, Source, Stage};

const SCOPE: &str = "kind: SyncScope
id: everybody
members: all
publish: { bases: [OU=Staff], filter: '(&(objectClass=user)(sn=*))' }
attributes: { sn: sn, cn: displayName, mail: mail, title: title, employeeNumber: employeeID }
mail_domains: [nhs.test]
person: employeeNumber
leavers: { keep: 30d }
";

/// Bytes of an account's GUID: whose directory, and which number there.
fn guid(member: u8, number: u8) -> [u8; 16] {
    let mut guid = [member; 16];
    guid[15] = number;
    guid
}

/// An account of the person with this number, whose name and mail begin with `name`.
fn account(name: &str, person: &str) -> Object {
    let mut object = unit(Some(STAFF), &format!("CN={name}"), "user");
    for (attribute, value) in [
        ("samaccountname", name.to_owned()),
        ("sn", "Mover".to_owned()),
        ("displayname", name.to_owned()),
        ("mail", format!("{name}@nhs.test")),
        ("title", "Nurse".to_owned()),
        ("employeeid", person.to_owned()),
        ("useraccountcontrol", "512".to_owned()),
    ] {
        object.attributes.insert(attribute.to_owned(), vec![value]);
    }
    object
}

/// One entry: its name, whose it is, its identity for ever, and what a test looks at.
type Entry = BTreeMap<String, String>;

struct Two {
    slapd: Slapd,
    stage: Stage,
    a: Arc<Mutex<World>>,
    b: Arc<Mutex<World>>,
}

impl Two {
    fn new(test: &str) -> Option<Two> {
        let pki = Pki::new();
        let slapd = Slapd::start(test, &pki)?;
        let trust = || {
            let mut world = World::default();
            world.put(HEAD, unit(None, "DC=rxs", "domainDNS"));
            world.put(STAFF, unit(Some(HEAD), "OU=Staff", "organizationalUnit"));
            Arc::new(Mutex::new(world))
        };
        let (a, b) = (trust(), trust());
        let source = |world: &Arc<Mutex<World>>| Source {
            host: "127.0.0.1".into(),
            port: serve(Arc::clone(world), pki.server()),
            tls_name: NAME.into(),
            base: BASE.into(),
            bind: "svc@rxs.test".into(),
            password: "secret".into(),
            anchors: pki.ca.clone(),
            canary: None,
            mail_domain: "nhs.test".into(),
        };
        let national = National {
            host: "127.0.0.1".into(),
            port: slapd.port,
            tls_name: NAME.into(),
            anchors: slapd.folder.path().join("ca.crt"),
            bind: slapd.admin.into(),
            password: PASSWORD.into(),
        };
        let stage = Stage::new("RXA", &source(&a), &national, SCOPE, "");
        stage.join("RXB", &source(&b));
        Some(Two { slapd, stage, a, b })
    }

    fn a(&self) -> MutexGuard<'_, World> {
        self.a.lock().unwrap()
    }

    fn b(&self) -> MutexGuard<'_, World> {
        self.b.lock().unwrap()
    }

    /// A run that ends as it should.
    fn run(&self, member: &str) -> Value {
        let report = self.stage.report(&["run", member]);
        assert_eq!(report["outcome"], "done", "{report:#}");
        report
    }

    /// Nothing is left to do, and nothing passes for somebody else's work.
    fn quiet(&self) {
        for member in ["RXA", "RXB"] {
            assert_eq!(self.run(member)["planned"], json!({}), "{member}");
            let drift = self.stage.report(&["drift", member]);
            assert_eq!(drift[0]["drift"], json!([]), "{member}: {drift:#}");
        }
    }

    /// What somebody does in the national directory.
    fn by_hand(&self, act: impl AsyncFnOnce(Directory) -> Result<Outcome, DirectoryError>) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { act(connect(&self.slapd).await).await.unwrap() })
    }

    /// Somebody writes another anchor into an entry of RXA.
    fn set_anchor(&self, name: &str, anchor: &str) {
        let dn = format!("uid={name},ou=RXA,ou=people,dc=national,dc=test");
        let change = Change::Replace { attribute: "portcullisAnchor".into(), values: vec![anchor.into()] };
        let done = self.by_hand(async |directory| directory.modify(&dn, &[change], Vec::new()).await);
        assert!(done.is_success(), "{done:?}");
    }

    /// Published entries by lower-case name.
    fn entries(&self) -> BTreeMap<String, Entry> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let names = [
                "uid",
                "mail",
                "title",
                "employeeNumber",
                "portcullisAnchor",
                "portcullisMember",
                "portcullisLeftAt",
                "entryUUID",
            ];
            let filter = Filter::parse("(objectClass=inetOrgPerson)").unwrap();
            let search = Search::new("ou=people,dc=national,dc=test", Scope::Subtree, filter, &names);
            let (entries, done) = connect(&self.slapd).await.read(&search).await.unwrap();
            assert!(done.is_complete());
            let texts = |entry: &portcullis::ldap::entry::Entry| -> Entry {
                names
                    .iter()
                    .filter_map(|name| Some(((*name).to_owned(), entry.text(name)?.to_owned())))
                    .collect()
            };
            entries.iter().map(|entry| (entry.dn.to_lowercase(), texts(entry))).collect()
        })
    }

    fn entry(&self, name: &str, member: &str) -> Option<Entry> {
        self.entries()
            .remove(&format!("uid={name},ou={},ou=people,dc=national,dc=test", member.to_lowercase()))
    }
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Leaves one organisation, and later joins another: the same national entry from then on, under the new organisation's names.
#[test]
fn a_mover_keeps_the_entry_and_its_identity() {
    let Some(two) = Two::new("a_mover_keeps_the_entry_and_its_identity") else { return };
    two.a().put(guid(0xa, 1), account("mover", "555001"));
    two.a().put(guid(0xa, 2), account("stayer", "555002"));
    two.run("RXA");
    let before = two.entry("mover", "RXA").unwrap();

    two.a().change(guid(0xa, 1), |object| object.deleted = true);
    assert_eq!(two.run("RXA")["executed"]["done"], json!({"mark": 1}));
    let left = two.entry("mover", "RXA").unwrap();
    assert!(left.contains_key("portcullisLeftAt") && !left.contains_key("mail"), "{left:?}");
    assert_eq!(left["employeeNumber"], "555001", "by what the person is found again");

    // the new organisation has no unit yet: it is made first
    two.b().put(guid(0xb, 1), account("newcomer", "555001"));
    // what belongs to an organisation that is paused stays where it is
    assert!(two.stage.sync(&["pause", "RXA", "--reason", "a look"]).status.success());
    let report = two.run("RXB");
    assert_eq!(
        (&report["executed"]["done"], &report["quarantine"][0]["code"]),
        (&json!({}), &json!("owner_paused")),
        "{report:#}"
    );
    assert_eq!(two.entry("mover", "RXA").as_ref(), Some(&left));
    assert!(two.stage.sync(&["resume", "RXA", "--reason", "looked"]).status.success());
    let report = two.run("RXB");
    assert_eq!(report["executed"]["done"], json!({"prepare": 1, "claim": 1, "rename": 1}), "{report:#}");
    let after = two.entry("newcomer", "RXB").unwrap();
    assert_eq!(after["entryUUID"], before["entryUUID"]);
    assert_eq!((&*after["portcullisMember"], &*after["mail"]), ("RXB", "newcomer@nhs.test"));
    assert!(!after.contains_key("portcullisLeftAt"), "{after:?}");
    assert_eq!(two.entries().len(), 2, "nobody is there twice");
    two.quiet();

    // she comes back to where she was: the way is the same
    two.b().change(guid(0xb, 1), |object| object.deleted = true);
    two.run("RXB");
    two.a().change(guid(0xa, 1), |object| object.deleted = false);
    assert_eq!(two.run("RXA")["executed"]["done"], json!({"claim": 1, "rename": 1}));
    assert_eq!(two.entry("mover", "RXA").unwrap()["entryUUID"], before["entryUUID"]);
    two.quiet();

    // both had the entry by now: it is theirs who wrote it last, whatever somebody makes of its anchor
    two.set_anchor("mover", &after["portcullisAnchor"]);
    two.a().change(guid(0xa, 1), |object| object.deleted = true);
    assert_eq!(two.run("RXB")["planned"], json!({}));
    assert_eq!(two.run("RXA")["executed"]["done"], json!({"mark": 1}));
    let left = two.entry("mover", "RXA").unwrap();
    assert!(
        left.contains_key("portcullisLeftAt") && left["portcullisAnchor"].starts_with("RXA/"),
        "{left:?}"
    );
    two.quiet();
}

/// An organisation has taken an entry over and could not move it yet, or somebody has moved it back: it lies where it was, and whoever had it
/// before leaves it alone.
#[test]
fn what_another_has_taken_over_is_not_taken_back_where_it_lies() {
    let Some(two) = Two::new("what_another_has_taken_over_is_not_taken_back_where_it_lies") else { return };
    two.a().put(guid(0xa, 1), account("mover", "555001"));
    two.a().put(guid(0xa, 2), account("stayer", "555002"));
    two.run("RXA");
    two.a().change(guid(0xa, 1), |object| object.deleted = true);
    two.run("RXA");
    two.b().put(guid(0xb, 1), account("newcomer", "555001"));
    two.run("RXB");
    let taken = two.entry("newcomer", "RXB").unwrap();
    let units = "ou=people,dc=national,dc=test";
    let done = two.by_hand(async |directory| {
        let (dn, superior) = (format!("uid=newcomer,ou=RXB,{units}"), format!("ou=RXA,{units}"));
        directory.rename(&dn, "uid=mover", true, Some(&superior), Vec::new()).await
    });
    assert!(done.is_success(), "{done:?}");
    assert_eq!(two.run("RXA")["planned"], json!({}), "it is the other's by the other's journal");
    assert_eq!(two.entry("mover", "RXA").unwrap()["portcullisMember"], "RXB");
    let told = two.stage.report(&["explain", "newcomer", "--member", "RXB"]);
    let steps = told["people"][0]["steps"].as_array().unwrap();
    assert_eq!(steps.iter().map(|step| &step["action"]).collect::<Vec<_>>(), ["rename"], "{told:#}");
    let report = two.run("RXB");
    assert_eq!(report["executed"]["done"], json!({"rename": 1}), "{report:#}");
    assert_eq!(two.entry("newcomer", "RXB").as_ref(), Some(&taken));
    two.quiet();

    // whoever says so without having taken it over is not believed
    two.set_anchor("stayer", &taken["portcullisAnchor"]);
    let report = two.run("RXA");
    assert_eq!(report["executed"]["done"], json!({"modify": 1}), "{report:#}");
    let stayer = two.entry("stayer", "RXA").unwrap();
    assert!(stayer["portcullisAnchor"].starts_with("RXA/"), "{stayer:?}");
    two.quiet();

    // nor does the one whose anchor it is take it for its own
    let newcomer = two.entry("newcomer", "RXB").unwrap();
    two.set_anchor("stayer", &newcomer["portcullisAnchor"]);
    let dn = format!("uid=newcomer,ou=RXB,{units}");
    let done = two.by_hand(async |directory| directory.delete(&dn, Vec::new()).await);
    assert!(done.is_success(), "{done:?}");
    let report = two.run("RXB");
    assert_eq!(report["executed"]["done"], json!({"create": 1}), "{report:#}");
    assert_eq!(two.entry("stayer", "RXA").unwrap()["entryUUID"], stayer["entryUUID"]);
    assert_eq!(two.run("RXA")["executed"]["done"], json!({"modify": 1}));
    two.quiet();
}

/// The account at the new organisation is there before the one at the old is gone: two employments, two entries.
#[test]
fn two_employments_at_once_are_two_entries() {
    let Some(two) = Two::new("two_employments_at_once_are_two_entries") else { return };
    two.a().put(guid(0xa, 1), account("bank", "555001"));
    two.b().put(guid(0xb, 1), account("joint", "555001"));
    two.run("RXA");
    assert_eq!(two.run("RXB")["executed"]["done"], json!({"prepare": 1, "create": 1}));
    let (one, other) = (two.entry("bank", "RXA").unwrap(), two.entry("joint", "RXB").unwrap());
    assert_ne!(one["entryUUID"], other["entryUUID"]);
    assert_eq!(one["employeeNumber"], other["employeeNumber"], "one person");
    two.quiet();
    // the end of one employment leaves the other alone
    two.a().change(guid(0xa, 1), |object| object.deleted = true);
    two.run("RXA");
    assert!(two.entry("bank", "RXA").unwrap().contains_key("portcullisLeftAt"));
    assert_eq!(two.entry("joint", "RXB").unwrap(), other);
    two.quiet();
}

/// A mail is one entry's: the second organisation's person is published without it and told of; it comes when the first lets go.
#[test]
fn a_mail_that_another_organisation_has_is_held_back_and_heals() {
    let Some(two) = Two::new("a_mail_that_another_organisation_has_is_held_back_and_heals") else { return };
    two.a().put(guid(0xa, 1), account("first", "555001"));
    two.run("RXA");
    let mut second = account("second", "555002");
    second.attributes.insert("mail".into(), vec!["First@NHS.test".into()]);
    two.b().put(guid(0xb, 1), second);
    let report = two.run("RXB");
    assert_eq!(report["quarantine"][0]["code"], "mail_elsewhere", "{report:#}");
    assert_eq!(report["quarantine"][0]["attribute"], "mail");
    assert_eq!(two.entry("first", "RXA").unwrap()["mail"], "first@nhs.test");
    assert!(!two.entry("second", "RXB").unwrap().contains_key("mail"));
    let listed = two.stage.sync(&["quarantine", "RXB"]);
    assert!(words(&listed).contains("mail_elsewhere"), "{}", words(&listed));
    let told = two.stage.report(&["explain", "second"]);
    let person = &told["people"][0];
    assert_eq!(person["quarantine"][0]["code"], "mail_elsewhere", "{told:#}");
    let holder = two.entry("first", "RXA").unwrap()["portcullisAnchor"].clone();
    assert_eq!(
        (&person["conflicts"][0]["holder"], &person["steps"]),
        (&json!(holder), &json!([])),
        "{told:#}"
    );

    two.a().change(guid(0xa, 1), |object| drop(object.attributes.remove("mail")));
    two.run("RXA");
    let report = two.run("RXB");
    assert_eq!(report["quarantine"], json!([]), "{report:#}");
    assert_eq!(two.entry("second", "RXB").unwrap()["mail"], "First@NHS.test");
    two.quiet();
}

/// A closed organisation's entries become its successor's by one plan that two officers approve, and not before.
#[test]
fn a_successor_takes_over_after_two_officers_approved() {
    let Some(two) = Two::new("a_successor_takes_over_after_two_officers_approved") else { return };
    for number in 1..=5 {
        two.a().put(guid(0xa, number), account(&format!("p{number}"), &format!("55500{number}")));
        two.b().put(guid(0xb, number), account(&format!("q{number}"), &format!("55500{number}")));
    }
    two.run("RXA");
    let before = two.entries();
    let table = two.stage.path("programme.csv");
    std::fs::write(
        &table,
        "ods,name,kind,status,successor\nRXA,Old Trust,large,closed,RXB\nRXB,New Trust,large,open,\n",
    )
    .unwrap();
    let imported = two.stage.portcullis(&["programme", "import"]).arg(&table).output().unwrap();
    assert!(imported.status.success(), "{}", words(&imported));

    let held = two.stage.report(&["run", "RXB"]);
    assert_eq!(held["outcome"], "held", "{held:#}");
    assert_eq!(two.entries(), before, "nothing is taken over before it is approved");
    let guards: Vec<&str> =
        held["trips"].as_array().unwrap().iter().map(|trip| trip["guard"].as_str().unwrap()).collect();
    assert!(guards.contains(&"succession"), "{held:#}");
    let hash = held["held"].as_str().unwrap();
    let approve = |officer: &str| {
        let mut command = two.stage.portcullis(&["sync", "approve", hash, "--reason", "the merger of April"]);
        // the first officer is the one that the stage names
        if officer != "officer" {
            command.args(["--actor", officer]);
        }
        command.output().unwrap()
    };
    let first = approve("officer");
    assert!(first.status.success(), "{}", words(&first));
    assert_eq!(two.stage.report(&["run", "RXB"])["outcome"], "held", "one officer is not enough");
    assert_eq!(two.entries(), before);

    let ods: OdsCode = "RXB".parse().unwrap();
    let second = approve("another");
    assert!(second.status.success(), "{}", words(&second));
    assert_eq!(two.stage.store.approvals(hash).unwrap().len(), 2, "{ods}");
    let report = two.run("RXB");
    assert_eq!(report["executed"]["done"]["claim"], 5, "{report:#}");
    let after = two.entries();
    let identities = |entries: &BTreeMap<String, Entry>| -> BTreeMap<String, String> {
        entries.values().map(|e| (e["employeeNumber"].clone(), e["entryUUID"].clone())).collect()
    };
    assert_eq!(identities(&after), identities(&before), "the same entries under their new owner");
    assert!(after.values().all(|entry| entry["portcullisMember"] == "RXB"), "{after:?}");

    // by an undoing nobody is listed again who has left where they were
    two.a().change(guid(0xa, 1), |object| object.deleted = true);
    two.run("RXA");
    let undone = two.stage.report(&["undo", hash, "--reason", "too early", "--dry-run"]);
    let kept = undone["kept"].as_array().unwrap();
    let claims: Vec<&Value> = kept.iter().filter(|one| one["action"] == "claim").collect();
    assert!(
        claims.len() == 1 && claims[0]["text"].as_str().unwrap().contains("is deleted now"),
        "{undone:#}"
    );
    assert!(after.keys().all(|dn| dn.contains(",ou=rxb,")), "{after:?}");
    // the old directory is still there: it neither misses its entries nor makes new ones
    let old = two.run("RXA");
    assert_eq!(old["quarantine"][0]["code"], "closed", "{old:#}");
    two.quiet();
    assert_eq!(two.entries(), after);
}
