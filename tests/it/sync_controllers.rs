//! What domain controllers do to whoever reads them: deletions in every form, restores, refusals, copies that are behind or were set back,
//! answers that break off. The controllers are scripted (`sync_dc`); the program and the national directory (slapd) are real.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use portcullis::ldap::message::ResultCode;
use portcullis::store::audit::NewAudit;
use portcullis::store::member::Controller;
use portcullis::store::port::Store;
use serde_json::{Value, json};

use crate::sync_crash::{HEAD, OTHER, SCOPE, STAFF, WARD, guid, person, published, unit};
use crate::sync_dc::{BASE, CANARY, Dc, Deletions, Fault, serve};
use crate::sync_national::{NAME, PASSWORD, Pki, Slapd};
use crate::sync_stage::{National, Source, Stage};

pub struct Bench {
    pub slapd: Slapd,
    pub stage: Stage,
    pki: Pki,
    dcs: Vec<Arc<Mutex<Dc>>>,
}

impl Bench {
    /// One controller with so many people. None where slapd is not installed.
    pub fn new(test: &str, people: u64, scope: &str, extra: &str) -> Option<Bench> {
        let pki = Pki::new();
        let slapd = Slapd::start(test, &pki)?;
        let mut dc = Dc::new("dc1.rxs.test", 0xd1);
        dc.put(HEAD, unit(None, "DC=rxs", "domainDNS"));
        dc.put(STAFF, unit(Some(HEAD), "OU=Staff", "organizationalUnit"));
        dc.put(WARD, unit(Some(STAFF), "OU=Ward", "organizationalUnit"));
        dc.put(OTHER, unit(Some(HEAD), "OU=Other", "organizationalUnit"));
        (0..people).for_each(|number| dc.put(guid(number), person(number)));
        let dc = Arc::new(Mutex::new(dc));
        let source = Source {
            host: "127.0.0.1".into(),
            port: serve(Arc::clone(&dc), pki.server()),
            tls_name: NAME.into(),
            base: BASE.into(),
            bind: "svc@rxs.test".into(),
            password: "secret".into(),
            anchors: pki.ca.clone(),
            canary: Some(CANARY.into()),
            mail_domain: "rxs.nhs.test".into(),
        };
        let national = National {
            host: "127.0.0.1".into(),
            port: slapd.port,
            tls_name: NAME.into(),
            anchors: slapd.folder.path().join("ca.crt"),
            bind: slapd.admin.into(),
            password: PASSWORD.into(),
        };
        let stage = Stage::new("RXS", &source, &national, scope, extra);
        Some(Bench { slapd, stage, pki, dcs: vec![dc] })
    }

    pub fn dc(&self) -> MutexGuard<'_, Dc> {
        self.dcs[0].lock().unwrap()
    }

    pub fn second(&self) -> MutexGuard<'_, Dc> {
        self.dcs[1].lock().unwrap()
    }

    /// The member has one more controller, with a copy of the first one.
    pub fn with_second(&mut self) {
        let mut dc = Dc::new("dc2.rxs.test", 0xd2);
        dc.replicate(&self.dc());
        self.dcs.push(Arc::new(Mutex::new(dc)));
        let port = serve(Arc::clone(&self.dcs[1]), self.pki.server());
        let second = Controller { host: "127.0.0.1".into(), port, tls_name: Some(NAME.into()) };
        self.controllers(|controllers| controllers.push(second));
    }

    pub fn controllers(&self, change: impl FnOnce(&mut Vec<Controller>)) {
        let mut member = self.stage.store.member(&self.stage.ods).unwrap().unwrap();
        change(&mut member.connection.controllers);
        let audit = NewAudit {
            at: portcullis::ambient::clock::Clock::system().now(),
            actor: "test".into(),
            action: "test.controllers".into(),
            member: Some(self.stage.ods.clone()),
            detail: Value::Null,
        };
        self.stage.store.save_member(&member, None, &audit).unwrap();
    }

    /// A value of the member's sync state.
    fn value(&self, key: &str) -> Option<String> {
        self.stage.store.sync_value(&self.stage.ods, key).unwrap().map(|v| String::from_utf8(v).unwrap())
    }

    fn set(&self, key: &str, value: &str) {
        let store = rusqlite::Connection::open(self.stage.path("data/portcullis.sqlite")).unwrap();
        store.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        let done = store.execute(
            "UPDATE sync_values SET value = ?1 WHERE ods = 'RXS' AND key = ?2",
            rusqlite::params![value.as_bytes(), key],
        );
        assert_eq!(done.unwrap(), 1, "{key}");
    }

    /// A complete run that does not find so many people, of whom no deletion was told: an officer looks, and approves.
    pub fn unseen(&self, arguments: &[&str], count: u64) -> Value {
        let before = self.names();
        let report = self.stage.report(&[&["run", "RXS"], arguments].concat());
        let trip = &report["trips"][0];
        assert_eq!((&trip["guard"], &trip["found"]), (&json!("unseen"), &json!(count)), "{report:#}");
        assert_eq!((&report["pass"]["unseen"], self.names()), (&json!(count), before), "{report:#}");
        let held = report["held"].as_str().unwrap();
        let approved = self.stage.sync(&["approve", held, "--reason", "they have gone"]);
        assert!(approved.status.success(), "{approved:?}");
        let done = self.run(&[]);
        assert_eq!(done["executed"]["done"], json!({"mark": count}), "{done:#}");
        report
    }

    /// A run that ends as it should.
    pub fn run(&self, arguments: &[&str]) -> Value {
        let report = self.stage.report(&[&["run", "RXS"], arguments].concat());
        assert_eq!(report["outcome"], "done", "{report:#}");
        report
    }

    /// A run that cannot be; what it said.
    pub fn fails(&self) -> String {
        let output = self.stage.sync(&["run", "RXS"]);
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
    }

    pub fn names(&self) -> BTreeSet<String> {
        published(&self.slapd).into_values().map(|entry| entry["uid"].clone()).collect()
    }
}

fn gone(bench: &Bench, numbers: &[u64]) -> BTreeSet<String> {
    let mut names = bench.names();
    for number in numbers {
        names.remove(&format!("n{number:04}"));
    }
    names
}

/// Deletions reach us whatever the scope's filter is: as a tombstone, which has lost what the filter asks for, and from the recycle bin.
#[test]
fn deletions_are_told_in_every_form_under_every_shipped_scope() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/national/sync");
    let mut scopes = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let scope = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let test = "deletions_are_told_in_every_form_under_every_shipped_scope";
        let Some(bench) = Bench::new(test, 12, &scope, "") else { return };
        scopes += 1;
        bench.run(&[]);
        assert_eq!(bench.names().len(), 12);
        for (number, recycle_bin, deletions) in
            [(1, true, Deletions::Told), (2, false, Deletions::Told), (3, true, Deletions::Nameless)]
        {
            let expected = gone(&bench, &[number]);
            {
                let mut dc = bench.dc();
                (dc.recycle_bin, dc.deletions) = (recycle_bin, deletions);
                dc.change(guid(number), |object| object.deleted = true);
            }
            let report = bench.run(&[]);
            assert_eq!(report["pass"]["complete"], false, "{report:#}");
            assert_eq!(report["executed"]["done"], json!({"mark": 1}), "{number}: {report:#}");
            assert_eq!(bench.names(), expected);
        }
        // long after, what was deleted is recycled: told once more, and nothing
        bench.dc().change(guid(1), |object| object.attributes.clear());
        let report = bench.run(&[]);
        assert_eq!((&report["planned"], &report["pass"]["deleted"]), (&json!({}), &json!(0)), "{report:#}");
    }
    assert!(scopes > 0, "no scope is shipped");
}

/// The first thing told of a person may be that it is deleted, and the last thing known of it where it lay.
#[test]
fn a_restored_person_is_the_same_person() {
    let Some(bench) = Bench::new("a_restored_person_is_the_same_person", 6, SCOPE, "") else { return };
    bench.run(&[]);
    let before = published(&bench.slapd);
    for recycle_bin in [true, false] {
        {
            let mut dc = bench.dc();
            dc.recycle_bin = recycle_bin;
            dc.change(guid(1), |object| object.deleted = true);
        }
        assert_eq!(bench.run(&[])["executed"]["done"], json!({"mark": 1}));
        // an administrator restores it, as whole as it was
        bench.dc().change(guid(1), |object| object.deleted = false);
        let report = bench.run(&[]);
        assert_eq!(report["executed"]["done"], json!({"modify": 1}), "{report:#}");
        assert_eq!(published(&bench.slapd), before, "the same entry with everything");
    }
    // reanimated from a tombstone it is a person of whom much is missing: held, not published half
    bench.dc().change(guid(2), |object| object.deleted = true);
    bench.run(&[]);
    bench.dc().change(guid(2), |object| {
        object.deleted = false;
        object.attributes.remove("sn");
    });
    let report = bench.run(&[]);
    assert_eq!(report["quarantine"][0]["code"], "no_surname", "{report:#}");
    assert!(report["quarantine"][0]["text"].as_str().unwrap().contains("sn"), "{report:#}");
}

/// More values than come at once, in DirSync and in a base read.
#[test]
fn values_that_come_in_parts_are_all_read() {
    let scope = SCOPE.replace("title: title", "title: title, telephoneNumber: otherTelephone");
    let Some(bench) = Bench::new("values_that_come_in_parts_are_all_read", 3, &scope, "") else { return };
    let numbers: Vec<String> = (0..25).map(|number| format!("0113 {number:04}")).collect();
    {
        let mut dc = bench.dc();
        dc.values = 10;
        dc.change(guid(1), |object| {
            drop(object.attributes.insert("othertelephone".into(), numbers.clone()));
        });
    }
    bench.run(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found: BTreeSet<String> = runtime.block_on(async {
        use portcullis::directory::request::{Scope, Search};
        let filter = portcullis::ldap::filter::Filter::parse("(uid=n0001)").unwrap();
        let search = Search::new("dc=national,dc=test", Scope::Subtree, filter, &["telephoneNumber"]);
        let (entries, _) = crate::sync_crash::connect(&bench.slapd).await.read(&search).await.unwrap();
        entries[0].texts("telephoneNumber").map(str::to_owned).collect()
    });
    assert_eq!(found, numbers.into_iter().collect());
    let ranges = bench.dc().asked.len();
    let report = bench.run(&[]);
    assert_eq!(report["planned"], json!({}), "{report:#}");
    assert!(bench.dc().asked.len() - ranges < 12, "what did not change is not read again");
}

/// Two objects that were made with one name at two controllers: the loser is held and told, whatever was published stays.
#[test]
fn an_object_of_a_replication_conflict_is_held_and_told() {
    let test = "an_object_of_a_replication_conflict_is_held_and_told";
    let Some(bench) = Bench::new(test, 4, SCOPE, "") else { return };
    bench.run(&[]);
    let before = published(&bench.slapd);
    let named = format!("CN=Person 1\\0ACNF:{}", uuid::Uuid::from_bytes_le(guid(1)));
    bench.dc().change(guid(1), |object| {
        object.rdn = named.clone();
        drop(object.attributes.insert("title".into(), vec!["Made twice".into()]));
    });
    let mut stranger = person(50);
    stranger.rdn = named.replace("Person 1", "Person 50");
    bench.dc().put(guid(50), stranger);
    let report = bench.run(&[]);
    let held: Vec<&str> =
        report["quarantine"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert_eq!(held, ["conflict", "conflict"], "{report:#}");
    assert_eq!(published(&bench.slapd), before);
}

/// After an upgrade of the controller its own cookie is refused: everything is read, and nobody is removed by that.
#[test]
fn a_cookie_that_is_refused_leads_to_a_complete_pass() {
    let test = "a_cookie_that_is_refused_leads_to_a_complete_pass";
    let Some(bench) = Bench::new(test, 60, SCOPE, "") else { return };
    bench.run(&[]);
    let before = bench.names();
    {
        let mut dc = bench.dc();
        dc.refuse_cookie = true;
        // deleted while nobody could be told
        dc.objects.remove(&guid(3));
    }
    // the first page of everything comes, and the cookie for the second is refused as well: that has an end
    let told = bench.fails();
    assert!(told.contains("it refuses the cookie that it gave just before"), "{told}");
    assert_eq!(bench.names(), before);
    bench.dc().refuse_cookie = false;
    let report = bench.unseen(&[], 1);
    assert_eq!(report["pass"]["complete"], true, "{report:#}");
    assert_eq!(bench.names(), gone(&bench, &[3]));
    let report = bench.run(&[]);
    assert_eq!(report["pass"]["complete"], false, "{report:#}");
}

/// A snapshot of the machine was put back: everybody who came since is missing, and numbers are given twice. Nobody is removed until an
/// officer has looked.
#[test]
fn a_controller_that_was_set_back_removes_nobody_until_an_officer_looked() {
    let test = "a_controller_that_was_set_back_removes_nobody_until_an_officer_looked";
    let Some(bench) = Bench::new(test, 20, SCOPE, "") else { return };
    let objects = bench.dc().objects.clone();
    let usn = bench.dc().usn;
    for number in 20..25 {
        bench.dc().put(guid(number), person(number));
    }
    bench.run(&[]);
    let everybody = bench.names();
    assert_eq!(everybody.len(), 25);
    bench.dc().objects = objects;
    bench.dc().usn = usn;
    let report = bench.run(&[]);
    assert_eq!(report["pass"]["because"], "rolled_back", "{report:#}");
    assert_eq!(report["pass"]["suspect"], true);
    // real deletions are told as well, and wait
    bench.dc().change(guid(1), |object| object.deleted = true);
    for arguments in [&[][..], &["--complete"]] {
        let report = bench.stage.report(&[&["run", "RXS"], arguments].concat());
        assert_eq!(
            (&report["outcome"], &report["trips"][0]["guard"]),
            (&json!("held"), &json!("blind")),
            "{report:#}"
        );
        assert!(report["trips"][0]["text"].as_str().unwrap().contains("sync resync"), "{report:#}");
        assert_eq!(bench.names(), everybody);
    }
    let resync = bench.stage.sync(&["resync", "RXS", "--reason", "it was restored from its backup"]);
    assert!(resync.status.success(), "{resync:?}");
    let report = bench.run(&[]);
    assert_eq!((&report["pass"]["suspect"], &report["executed"]["done"]["mark"]), (&json!(false), &json!(6)));
    assert_eq!(bench.names(), gone(&bench, &[1, 20, 21, 22, 23, 24]));
}

/// The same name, another database: restored by its own tools, or made anew.
#[test]
fn a_controller_with_another_database_is_read_as_a_whole() {
    let test = "a_controller_with_another_database_is_read_as_a_whole";
    let Some(bench) = Bench::new(test, 5, SCOPE, "") else { return };
    bench.run(&[]);
    {
        let mut dc = bench.dc();
        dc.invocation = [0xee; 16];
        dc.usn = 100;
    }
    let report = bench.run(&[]);
    assert_eq!(
        (&report["pass"]["because"], &report["planned"]),
        (&json!("restored"), &json!({})),
        "{report:#}"
    );
}

/// Another controller that is behind lacks a joiner and has a former title: it is not read before it has everything.
#[test]
fn another_controller_is_read_only_when_it_has_everything() {
    let test = "another_controller_is_read_only_when_it_has_everything";
    let Some(mut bench) = Bench::new(test, 8, SCOPE, "") else { return };
    bench.with_second();
    bench.dc().put(guid(8), person(8));
    bench
        .dc()
        .change(guid(1), |object| drop(object.attributes.insert("title".into(), vec!["Matron".into()])));
    let report = bench.run(&[]);
    assert_eq!(report["pass"]["controller"], "dc1.rxs.test");
    let before = published(&bench.slapd);
    assert_eq!(before.len(), 9);

    // the first one is away; its port is one where nobody listens
    let mut first = None;
    bench.controllers(|all| {
        first = Some(all[0].port);
        all[0].port = 1;
    });
    let told = bench.fails();
    assert!(told.contains("dc2.rxs.test may not have everything yet that dc1.rxs.test had"), "{told}");
    assert!(!bench.second().asked.iter().any(|one| one.starts_with("dirsync")), "nothing is taken from it");
    assert_eq!(published(&bench.slapd), before);

    // it has everything now, and something new
    let copied = std::mem::replace(&mut *bench.dc(), Dc::new("dc1.rxs.test", 0xd1));
    bench.second().replicate(&copied);
    *bench.dc() = copied;
    bench.second().change(guid(2), |object| object.deleted = true);
    let report = bench.run(&[]);
    assert_eq!(
        (&report["pass"]["controller"], &report["pass"]["failover"]),
        (&json!("dc2.rxs.test"), &json!(true))
    );
    assert_eq!(report["executed"]["done"], json!({"mark": 1}), "{report:#}");

    // the first is back and behind: the one that was read last stays the one
    bench.controllers(|all| all[0].port = first.unwrap());
    let report = bench.run(&[]);
    assert_eq!(
        (&report["pass"]["controller"], &report["planned"]),
        (&json!("dc2.rxs.test"), &json!({})),
        "{report:#}"
    );
    assert_eq!((&report["pass"]["failover"], &report["pass"]["complete"]), (&json!(false), &json!(false)));
}

/// One that does not tell what it has is read after a time in which everything must have come to it.
#[test]
fn another_controller_that_tells_nothing_is_read_after_a_time() {
    let test = "another_controller_that_tells_nothing_is_read_after_a_time";
    let Some(mut bench) = Bench::new(test, 4, SCOPE, "sync: { failover_seconds: 600 }\n") else { return };
    bench.with_second();
    bench.second().vector.clear();
    bench.run(&[]);
    bench.controllers(|all| all[0].port = 1);
    bench.fails();
    let long_ago = portcullis::ambient::clock::Clock::system().now().unix_timestamp() - 601;
    bench.set("read_at", &long_ago.to_string());
    let report = bench.run(&[]);
    assert_eq!(
        (&report["pass"]["because"], &report["planned"]),
        (&json!("other_controller"), &json!({})),
        "{report:#}"
    );
}

/// A half-filled copy looks like a mass deletion, and a read-only one may lack what it was not to have: the next controller is read.
#[test]
fn a_copy_that_is_being_built_or_is_read_only_is_passed_over() {
    let test = "a_copy_that_is_being_built_or_is_read_only_is_passed_over";
    let Some(mut bench) = Bench::new(test, 4, SCOPE, "") else { return };
    bench.with_second();
    bench.dc().synchronized = false;
    let report = bench.run(&[]);
    assert_eq!(report["pass"]["controller"], "dc2.rxs.test", "{report:#}");
    bench.second().read_only = true;
    let told = bench.fails();
    assert!(told.contains("domain controller"), "{told}");
    assert_eq!(bench.names().len(), 4);
}

/// Answers that end early, in every way, while everything is read: nobody goes, and the next run finds out who really left.
#[test]
fn a_truncated_source_removes_nobody() {
    let Some(bench) = Bench::new("a_truncated_source_removes_nobody", 120, SCOPE, "") else { return };
    bench.run(&[]);
    let before = bench.names();
    // all but a few are hidden: only a complete pass may conclude anything from that
    let faults = [
        Fault::Code(5, ResultCode(4)),
        Fault::Code(5, ResultCode(3)),
        Fault::Code(0, ResultCode(11)),
        Fault::Code(7, ResultCode(51)),
        Fault::Break(5),
        Fault::Break(0),
    ];
    for polled in [false, true] {
        bench.dc().refuse_dirsync = polled.then_some(ResultCode(50));
        for fault in faults {
            bench.dc().fault = Some(fault);
            let output = bench.stage.sync(&["run", "RXS", "--complete"]);
            assert!(!output.status.success(), "{fault:?}: {output:?}");
            assert_eq!(bench.dc().fault, None, "it was met: {fault:?}");
            assert_eq!(bench.names(), before, "{fault:?}");
            // a run after it plans from what is staged: still nobody goes
            let planned = bench.stage.report(&["run", "RXS", "--dry-run"]);
            assert_eq!(planned["planned"], json!({}), "{fault:?}: {planned:#}");
        }
    }
    bench.dc().objects.remove(&guid(5));
    // neither does anybody of whom no deletion was told, until somebody looked
    bench.unseen(&["--complete"], 1);
    assert_eq!(bench.names(), gone(&bench, &[5]));
}

/// Nobody was told of what was deleted while the member was away for longer than deletions are shown.
#[test]
fn deletions_that_may_have_been_forgotten_lead_to_a_complete_pass() {
    let test = "deletions_that_may_have_been_forgotten_lead_to_a_complete_pass";
    let Some(bench) = Bench::new(test, 4, SCOPE, "sync: { complete_seconds: 31536000 }\n") else { return };
    bench.run(&[]);
    bench.dc().objects.remove(&guid(1));
    let ago = |days: i64| {
        let now = portcullis::ambient::clock::Clock::system().now().unix_timestamp();
        bench.set("read_at", &(now - days * 86_400).to_string());
    };
    bench.dc().tombstone_days = 60;
    ago(47);
    let report = bench.run(&[]);
    assert_eq!((&report["pass"]["complete"], &report["planned"]), (&json!(false), &json!({})), "{report:#}");
    ago(49);
    let report = bench.run(&[]);
    assert_eq!(report["pass"]["because"], "deletions_forgotten", "{report:#}");
    assert_eq!(report["executed"]["done"], json!({"mark": 1}), "{report:#}");
}

/// The same days, read by uSNChanged because DirSync is refused, and by the settings: the same national directory.
#[test]
fn a_controller_that_refuses_dirsync_is_read_by_its_numbers() {
    let test = "a_controller_that_refuses_dirsync_is_read_by_its_numbers";
    for (refuse, extra) in
        [(Some(ResultCode(50)), ""), (None, "sync: { polled_members: [RXS], usn_overlap: 2 }\n")]
    {
        let Some(bench) = Bench::new(test, 30, SCOPE, extra) else { return };
        bench.dc().refuse_dirsync = refuse;
        let report = bench.run(&[]);
        assert_eq!(report["pass"]["method"], "usn_changed", "{report:#}");
        assert_eq!(bench.names().len(), 30);

        {
            let mut dc = bench.dc();
            dc.change(guid(1), |object| object.deleted = true);
            dc.change(guid(2), |object| drop(object.attributes.remove("title")));
            dc.change(guid(3), |object| object.parent = Some(OTHER));
            dc.put(guid(30), person(30));
            // everybody in it goes with it, and keeps being published
            dc.change(WARD, |object| object.rdn = "OU=Renamed".into());
            dc.asked.clear();
        }
        let report = bench.run(&[]);
        assert_eq!(report["executed"]["done"], json!({"create": 1, "mark": 2, "modify": 1}), "{report:#}");
        assert_eq!(
            (&report["pass"]["complete"], &report["pass"]["method"]),
            (&json!(false), &json!("usn_changed"))
        );
        let searches: Vec<String> =
            bench.dc().asked.iter().filter(|one| one.starts_with("search")).cloned().collect();
        assert!(searches.iter().all(|one| one.contains("uSNChanged>=")), "{searches:?}");
        assert!(
            !bench.dc().asked.iter().any(|one| one.starts_with("dirsync")),
            "it is not asked at every run"
        );

        bench.dc().change(guid(1), |object| object.deleted = false);
        let report = bench.run(&[]);
        assert_eq!(report["executed"]["done"], json!({"modify": 1}), "{report:#}");
        assert_eq!(bench.run(&[])["planned"], json!({}));

        // without the right to see deletions they come from complete passes alone
        bench.dc().deletions = Deletions::Hidden;
        bench.dc().change(guid(4), |object| object.deleted = true);
        assert_eq!(bench.run(&[])["planned"], json!({}));
        assert_eq!(bench.run(&["--complete"])["executed"]["done"], json!({"mark": 1}));

        // numbers of one controller mean nothing at a restored one
        bench.dc().invocation = [0xee; 16];
        let report = bench.run(&[]);
        assert_eq!(report["pass"]["because"], "restored", "{report:#}");
    }
}

/// When DirSync is allowed at last, the next complete pass uses it.
#[test]
fn dirsync_is_tried_again_with_every_complete_pass() {
    let test = "dirsync_is_tried_again_with_every_complete_pass";
    let Some(bench) = Bench::new(test, 5, SCOPE, "") else { return };
    bench.dc().refuse_dirsync = Some(ResultCode(53));
    assert_eq!(bench.run(&[])["pass"]["method"], "usn_changed");
    bench.dc().refuse_dirsync = None;
    assert_eq!(bench.run(&[])["pass"]["method"], "usn_changed");
    assert_eq!(bench.run(&["--complete"])["pass"]["method"], "dir_sync");
    let report = bench.run(&[]);
    assert_eq!((&report["pass"]["method"], &report["pass"]["complete"]), (&json!("dir_sync"), &json!(false)));
    // and what the other way has kept is no cookie here
    bench.dc().refuse_dirsync = Some(ResultCode(53));
    let report = bench.run(&[]);
    assert_eq!(
        (&report["pass"]["method"], &report["pass"]["complete"]),
        (&json!("usn_changed"), &json!(true))
    );
    assert_eq!(report["planned"], json!({}));
    assert_eq!(bench.value("method").as_deref(), Some("\"usn_changed\""));
}
