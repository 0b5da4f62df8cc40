//! 1,800 people of a real Active Directory (Samba) into a real national directory (slapd), and what changes after.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use portcullis::ambient::chance;
use portcullis::directory::request::{Scope, Search};
use portcullis::ldap::entry::Entry;
use portcullis::ldap::filter::Filter;
use portcullis::secret::reference::SecretReference;
use serde_json::Value;

use crate::app_stage::soon;
use crate::lab::Lab;
use crate::sync_crash::connect;
use crate::sync_listening::Running;
use crate::sync_national::{Pki, SERVICE, Slapd};
use crate::sync_observer::syncer_to;
use crate::sync_stage::{National, Source, Stage};

mod restore;

const PASSWORD: &str = "Gateway-Svc-Acc0unt-2026!";

fn stage(lab: &Lab, member: &str, canary: &str, extra: &str) -> Stage {
    let address = lab.address("national");
    let national = National {
        tls_name: address.clone(),
        host: address,
        port: 636,
        anchors: lab.pki("good/ca.crt"),
        bind: SERVICE.into(),
        password: PASSWORD.into(),
    };
    stage_to(lab, member, canary, extra, &national)
}

fn stage_to(lab: &Lab, member: &str, canary: &str, extra: &str, national: &National) -> Stage {
    let name = member.to_lowercase();
    let source = Source {
        host: lab.address(member),
        port: 636,
        tls_name: format!("dc1.{name}.trust.test"),
        base: format!("DC={name},DC=trust,DC=test"),
        bind: format!("svc-portcullis@{name}.trust.test"),
        password: PASSWORD.into(),
        anchors: std::fs::read_to_string(lab.pki("good/ca.crt")).unwrap(),
        canary: Some(format!("CN={canary},OU=Portcullis,DC={name},DC=trust,DC=test")),
        mail_domain: format!("{name}.nhs.test"),
    };
    let scope = include_str!("../../policies/national/sync/staff.yaml");
    Stage::new(member, &source, national, scope, extra)
}

/// What the member directory itself says should be published: account name in lower case to (mail, title).
fn expected(lab: &Lab, member: &str) -> BTreeMap<String, (String, String)> {
    let filter = "(&(objectClass=user)(!(objectClass=computer))(mail=*)(!(employeeType=not-listed))\
                  (!(userAccountControl:1.2.840.113556.1.4.803:=2)))";
    let found = ldapsearch(
        &format!("ldaps://{}", lab.address(member)),
        lab,
        &format!("svc-portcullis@{}.trust.test", member.to_lowercase()),
        &format!("DC={},DC=trust,DC=test", member.to_lowercase()),
        filter,
        &["sAMAccountName", "mail", "title"],
    );
    found
        .into_iter()
        .filter(|(dn, _)| {
            dn.to_lowercase().contains("ou=staff,") || dn.to_lowercase().contains("ou=colleagues,")
        })
        .map(|(_, entry)| {
            (entry["samaccountname"].to_lowercase(), (entry["mail"].clone(), entry["title"].clone()))
        })
        .collect()
}

fn published(lab: &Lab, member: &str) -> BTreeMap<String, (String, String)> {
    let found = national(lab, &format!("(&(portcullisMember={member})(!(portcullisLeftAt=*)))"));
    let anchors: BTreeSet<&String> = found.values().map(|entry| &entry["portcullisanchor"]).collect();
    assert_eq!(anchors.len(), found.len(), "two entries with one anchor");
    found
        .into_values()
        .map(|entry| (entry["uid"].clone(), (entry["mail"].clone(), entry["title"].clone())))
        .collect()
}

fn national(lab: &Lab, filter: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    ldapsearch(
        &format!("ldaps://{}", lab.address("national")),
        lab,
        SERVICE,
        "ou=people,dc=national,dc=test",
        filter,
        &["uid", "mail", "title", "portcullisAnchor", "portcullisLeftAt"],
    )
}

/// Entries by name, first value of each attribute, by lower-case names.
fn ldapsearch(
    url: &str,
    lab: &Lab,
    who: &str,
    base: &str,
    filter: &str,
    attributes: &[&str],
) -> BTreeMap<String, BTreeMap<String, String>> {
    let output = Command::new("ldapsearch")
        .args(["-LLL", "-x", "-o", "ldif-wrap=no", "-H", url, "-D", who, "-w", PASSWORD, "-b", base, filter])
        .args(attributes)
        .env("LDAPTLS_CACERT", lab.pki("good/ca.crt"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut entries = BTreeMap::new();
    for block in text.split("\n\n") {
        let mut entry = BTreeMap::new();
        for line in block.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = match value.strip_prefix(':') {
                Some(coded) => decode(coded.trim()),
                None => value.trim().to_owned(),
            };
            entry.entry(name.to_lowercase()).or_insert(value);
        }
        if let Some(dn) = entry.remove("dn") {
            for name in attributes {
                entry.entry(name.to_lowercase()).or_default();
            }
            entries.insert(dn, entry);
        }
    }
    entries
}

fn decode(text: &str) -> String {
    use base64::Engine;
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap()
}

/// Applies LDIF to a member as its administrators would.
fn ldif(lab: &Lab, member: &str, text: &str) {
    ldif_with(lab, member, &[], text);
}

fn ldif_with(lab: &Lab, member: &str, options: &[&str], text: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/lab/lab");
    let mut child = Command::new(script)
        .args(["ldif", member])
        .args(options)
        .env("PORTCULLIS_LAB", &lab.directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn names(lab: &Lab, member: &str, filter: &str) -> Vec<String> {
    let url = format!("ldaps://{}", lab.address(member));
    let name = member.to_lowercase();
    let (base, who) =
        (format!("OU=Staff,DC={name},DC=trust,DC=test"), format!("svc-portcullis@{name}.trust.test"));
    ldapsearch(&url, lab, &who, &base, filter, &["sAMAccountName"]).into_keys().collect()
}

fn run(stage: &Stage, what: &str, arguments: &[&str]) -> Value {
    let began = Instant::now();
    let report = stage.report(arguments);
    eprintln!(
        "{what}: {} in {} ms (read {} plan {} write {}), {} objects, done {}",
        report["outcome"],
        began.elapsed().as_millis(),
        report["read_ms"],
        report["plan_ms"],
        report["write_ms"],
        report["pass"]["objects"],
        report["executed"]["done"]
    );
    report
}

#[test]
fn everybody_of_a_real_directory_is_published_and_followed() {
    let Some(lab) = Lab::of("everybody_of_a_real_directory_is_published_and_followed") else { return };
    let _held = RXA.lock().unwrap_or_else(PoisonError::into_inner);
    let stage = stage(&lab, "RXA", "Canary", "");

    stage.gate("closed");
    let refused = stage.sync(&["run", "RXA"]);
    assert_eq!(refused.status.code(), Some(1), "{}", String::from_utf8_lossy(&refused.stderr));
    stage.gate("open");

    let planned = run(&stage, "dry run", &["run", "RXA", "--dry-run"]);
    assert_eq!(planned["outcome"], "planned");
    let report = run(&stage, "first", &["run", "RXA"]);
    assert_eq!(report["outcome"], "done", "{report:#}");
    assert_eq!(report["pass"]["deletions_told"], true);
    let everybody = expected(&lab, "RXA");
    assert!(everybody.len() > 100, "only {} people", everybody.len());
    assert_eq!(published(&lab, "RXA"), everybody);

    let report = run(&stage, "nothing changed", &["run", "RXA"]);
    assert_eq!((&report["outcome"], &report["planned"]), (&"done".into(), &serde_json::json!({})));

    changes(&lab, &stage, &everybody);
    guarded(&lab, &stage);
}

/// A change in a real directory reaches the national one long before the member's turn, over the notifications of Samba.
#[test]
fn a_change_in_a_real_directory_is_published_long_before_its_turn() {
    let Some(lab) = Lab::of("a_change_in_a_real_directory_is_published_long_before_its_turn") else { return };
    let _held = RXA.lock().unwrap_or_else(PoisonError::into_inner);
    let stage = stage(&lab, "RXA", "Canary", "");
    let address = lab.address("national");
    let syncer = syncer_to(
        &stage,
        portcullis::sync::running::member::National {
            host: address.clone(),
            port: 636,
            tls_name: address,
            anchors: lab.pki("good/ca.crt"),
            bind_dn: SERVICE.into(),
            password: SecretReference::File(stage.path("national-password")),
            people_base: "ou=people,dc=national,dc=test".into(),
        },
    );
    let running = Running::start(syncer, Duration::from_secs(3_600), 1);
    running.settled("RXA");
    let who = names(&lab, "RXA", "(&(mail=*)(title=*)(!(employeeType=not-listed)))").swap_remove(0);
    for round in 0..3 {
        let title = format!("Told {round} {}", chance::below(1_000_000).unwrap());
        let began = Instant::now();
        ldif(&lab, "RXA", &format!("dn: {who}\nchangetype: modify\nreplace: title\ntitle: {title}\n\n"));
        soon("the change is published", 60, || {
            national(&lab, &format!("(&(portcullisMember=RXA)(title={title}))")).len() == 1
        });
        eprintln!("published {} ms after the change", began.elapsed().as_millis());
    }
    let listens = || running.value("portcullis_sync_listening{member=\"RXA\"}");
    running.gate.store(false, std::sync::atomic::Ordering::Relaxed);
    soon("nobody listens while the gate is closed", 20, || listens() == Some(0.0));
    running.end();
}

/// Held by whoever changes or compares the people of `RXA`.
static RXA: Mutex<()> = Mutex::new(());
static RXB: Mutex<()> = Mutex::new(());

/// The same people in 389 Directory Server, by an account that has only what it needs there; a change within one run, an entry that
/// stays the same while its person is away, and nothing that passes for drift.
#[test]
fn everybody_of_a_real_directory_is_published_in_389() {
    let test = "everybody_of_a_real_directory_is_published_in_389";
    let Some(lab) = Lab::of(test) else { return };
    let pki = Pki::new();
    let Some(mut slapd) = Slapd::start_389(test, &pki) else { return };
    let _held = RXA.lock().unwrap_or_else(PoisonError::into_inner);
    slapd.by_ordinary_account();
    let national = National {
        tls_name: crate::sync_national::NAME.into(),
        host: "127.0.0.1".into(),
        port: slapd.port,
        anchors: slapd.folder.path().join("ca.crt"),
        bind: SERVICE.into(),
        password: crate::sync_national::PASSWORD.into(),
    };
    let stage = stage_to(&lab, "RXA", "Canary", "", &national);
    let report = run(&stage, "389-DS, first", &["run", "RXA"]);
    assert_eq!(report["outcome"], "done", "{report:#}");
    let everybody = expected(&lab, "RXA");
    let people = |entries: &[Entry]| -> BTreeMap<String, (String, String)> {
        let text = |entry: &Entry, name: &str| entry.text(name).unwrap_or_default().to_owned();
        entries.iter().map(|one| (text(one, "uid"), (text(one, "mail"), text(one, "title")))).collect()
    };
    assert!(everybody.len() > 1_000, "only {} people", everybody.len());
    assert_eq!(people(&in_389(&slapd)), everybody);
    let drift = stage.report(&["drift", "RXA"]);
    assert_eq!(drift[0]["drift"], serde_json::json!([]), "{drift:#}");
    assert_eq!(drift[0]["entries"], everybody.len());

    let who = names(&lab, "RXA", "(&(mail=*)(title=*)(!(employeeType=not-listed)))").swap_remove(0);
    let change = |attribute: &str, value: &str| {
        let text = format!("dn: {who}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n\n");
        ldif(&lab, "RXA", &text);
    };
    let identities = |slapd: &Slapd| -> BTreeSet<String> {
        in_389(slapd).iter().map(|entry| entry.text("nsUniqueId").unwrap().to_owned()).collect()
    };
    let before = identities(&slapd);
    change("userAccountControl", "514");
    assert_eq!(run(&stage, "389-DS, away", &["run", "RXA"])["executed"]["done"]["mark"], 1);
    change("userAccountControl", "512");
    change("title", "Back again");
    assert_eq!(run(&stage, "389-DS, back", &["run", "RXA"])["outcome"], "done");
    assert_eq!(people(&in_389(&slapd)), expected(&lab, "RXA"));
    assert_eq!(identities(&slapd), before);
}

fn in_389(slapd: &Slapd) -> Vec<Entry> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let filter = Filter::parse("(&(portcullisMember=RXA)(!(portcullisLeftAt=*)))").unwrap();
        let names = ["uid", "mail", "title", "nsUniqueId"];
        let search = Search::new("ou=people,dc=national,dc=test", Scope::Subtree, filter, &names).paged(500);
        let (entries, done) = connect(slapd).await.read(&search).await.unwrap();
        assert!(done.is_complete(), "{done:?}");
        entries
    })
}

/// A joiner, a change, two account names that change places, a mover, leavers, and a renamed unit above them all.
fn changes(lab: &Lab, stage: &Stage, before: &BTreeMap<String, (String, String)>) {
    let some: Vec<String> =
        names(lab, "RXA", "(&(sAMAccountName=rxa0011*)(mail=*)(!(employeeType=not-listed)))");
    let account = |dn: &str| dn.to_owned();
    let (a, b, c, d, e) =
        (account(&some[0]), account(&some[1]), account(&some[2]), account(&some[3]), account(&some[4]));
    let base = "DC=rxa,DC=trust,DC=test";
    let of = |dn: &str| {
        let url = format!("ldaps://{}", lab.address("RXA"));
        let found = ldapsearch(
            &url,
            lab,
            "svc-portcullis@rxa.trust.test",
            dn,
            "(objectClass=user)",
            &["sAMAccountName"],
        );
        found.into_values().next().unwrap()["samaccountname"].clone()
    };
    let (name_a, name_b) = (of(&a), of(&b));
    let change = |dn: &str, attribute: &str, value: &str| {
        format!("dn: {dn}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n\n")
    };
    let mut text = String::new();
    text += &format!(
        "dn: CN=New Joiner,OU=Medicine,OU=Staff,{base}\nchangetype: add\nobjectClass: user\nsAMAccountName: joiner\n\
         sn: Joiner\ngivenName: New\ndisplayName: JOINER, New\nmail: new.joiner@rxa.nhs.test\ntitle: Porter\n\
         userAccountControl: 544\n\n"
    );
    text += &change(&a, "sAMAccountName", "exchange");
    text += &change(&b, "sAMAccountName", &name_a);
    text += &change(&a, "sAMAccountName", &name_b);
    text += &change(&c, "title", "Consultant in Everything");
    text += &format!("dn: {d}\nchangetype: delete\n\n");
    text += &change(&e, "userAccountControl", "514");
    text += &format!("dn: OU=Staff,{base}\nchangetype: modrdn\nnewrdn: OU=Colleagues\ndeleteoldrdn: 1\n\n");
    ldif(lab, "RXA", &text);
    let report = run(stage, "changes", &["run", "RXA"]);
    assert_eq!(report["outcome"], "done", "{report:#}");
    assert_eq!(report["pass"]["complete"], false);
    let now = expected(lab, "RXA");
    assert_eq!(now.len() + 1, before.len());
    assert_eq!(published(lab, "RXA"), now);
    assert_eq!(report["planned"]["mark"], 2, "{report:#}");
    assert_eq!(national(lab, "(&(portcullisMember=RXA)(portcullisLeftAt=*))").len(), 2);
    // back again, for whoever uses the lab next
    ldif(
        lab,
        "RXA",
        &format!("dn: OU=Colleagues,{base}\nchangetype: modrdn\nnewrdn: OU=Staff\ndeleteoldrdn: 1\n\n"),
    );
    let report = run(stage, "unit named back", &["run", "RXA"]);
    assert_eq!(report["planned"], serde_json::json!({}), "{report:#}");
}

/// Too many leavers wait for an approval of exactly their plan; a joiner does not.
fn guarded(lab: &Lab, stage: &Stage) {
    let some: Vec<String> =
        names(lab, "RXA", "(&(sAMAccountName=rxa00*)(mail=*)(title=*))").into_iter().take(120).collect();
    let mut text: String = some
        .iter()
        .map(|dn| {
            format!("dn: {dn}\nchangetype: modify\nreplace: employeeType\nemployeeType: not-listed\n\n")
        })
        .collect();
    text += "dn: CN=Second Joiner,OU=Medicine,OU=Staff,DC=rxa,DC=trust,DC=test\nchangetype: add\nobjectClass: user\n\
             sAMAccountName: joiner2\nsn: Joiner\nmail: second.joiner@rxa.nhs.test\ntitle: Porter\nuserAccountControl: 544\n\n";
    ldif(lab, "RXA", &text);
    let before = published(lab, "RXA");
    let report = run(stage, "too many leavers", &["run", "RXA"]);
    assert_eq!(report["outcome"], "held", "{report:#}");
    assert_eq!(published(lab, "RXA").len(), before.len() + 1);
    let hash = report["held"].as_str().unwrap().to_owned();
    let again = run(stage, "still held", &["run", "RXA"]);
    assert_eq!(again["held"].as_str(), Some(hash.as_str()), "the same steps have the same hash");
    assert_eq!(
        stage.sync(&["approve", &hash, "--reason", "they asked not to be listed"]).status.code(),
        Some(0)
    );
    let report = run(stage, "approved", &["run", "RXA"]);
    assert_eq!((&report["outcome"], &report["approved"]), (&"done".into(), &true.into()), "{report:#}");
    assert_eq!(published(lab, "RXA"), expected(lab, "RXA"));
}

/// A real Samba read by uSNChanged: the same people as its own filter finds, a joiner, a change, a deletion, and a delta that is one.
#[test]
fn a_real_directory_is_read_by_its_numbers() {
    let test = "a_real_directory_is_read_by_its_numbers";
    let Some(lab) = Lab::of(test) else { return };
    let _held = RXB.lock().unwrap_or_else(PoisonError::into_inner);
    let pki = Pki::new();
    let Some(slapd) = Slapd::start(test, &pki) else { return };
    let national = National {
        tls_name: crate::sync_national::NAME.into(),
        host: "127.0.0.1".into(),
        port: slapd.port,
        anchors: slapd.folder.path().join("ca.crt"),
        bind: slapd.admin.into(),
        password: crate::sync_national::PASSWORD.into(),
    };
    let stage = stage_to(&lab, "RXB", "Canary", "sync: { polled_members: [RXB] }\n", &national);
    let people = || -> BTreeMap<String, (String, String)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let filter = Filter::parse("(&(portcullisMember=RXB)(!(portcullisLeftAt=*)))").unwrap();
            let names = ["uid", "mail", "title"];
            let search = Search::new("dc=national,dc=test", Scope::Subtree, filter, &names).paged(500);
            let (entries, _) = connect(&slapd).await.read(&search).await.unwrap();
            let text = |entry: &Entry, name: &str| entry.text(name).unwrap_or_default().to_owned();
            entries.iter().map(|one| (text(one, "uid"), (text(one, "mail"), text(one, "title")))).collect()
        })
    };
    let report = run(&stage, "by numbers, first", &["run", "RXB"]);
    assert_eq!(
        (&report["outcome"], &report["pass"]["method"]),
        (&"done".into(), &"usn_changed".into()),
        "{report:#}"
    );
    let before = expected(&lab, "RXB");
    assert!(before.len() > 100, "only {} people", before.len());
    assert_eq!(people(), before);

    let dn = "CN=By Numbers,OU=Staff,DC=rxb,DC=trust,DC=test";
    ldif(
        &lab,
        "RXB",
        &format!(
            "dn: {dn}\nchangetype: add\nobjectClass: user\nsAMAccountName: numbers\nsn: Numbers\ngivenName: By\n\
             mail: by.numbers@rxb.nhs.test\ntitle: Porter\nuserAccountControl: 544\n\n"
        ),
    );
    let report = run(&stage, "by numbers, a joiner", &["run", "RXB"]);
    assert_eq!(
        (&report["pass"]["complete"], &report["executed"]["done"]),
        (&false.into(), &serde_json::json!({"create": 1}))
    );
    ldif(&lab, "RXB", &format!("dn: {dn}\nchangetype: modify\nreplace: title\ntitle: Matron\n\n"));
    assert_eq!(
        run(&stage, "by numbers, a change", &["run", "RXB"])["executed"]["done"],
        serde_json::json!({"modify": 1})
    );
    assert_eq!(people(), expected(&lab, "RXB"));
    ldif(&lab, "RXB", &format!("dn: {dn}\nchangetype: delete\n\n"));
    // told where the account may see deletions, found by a complete pass where it may not
    let report = run(&stage, "by numbers, a deletion", &["run", "RXB"]);
    if report["pass"]["deletions_told"] == false {
        run(&stage, "by numbers, a complete pass", &["run", "RXB", "--complete"]);
    }
    assert_eq!(people(), before);
}

/// Without the right to see deletions nobody is taken for deleted but by a complete pass; without the canary nobody at all.
#[test]
fn who_is_not_seen_is_not_gone() {
    let Some(lab) = Lab::of("who_is_not_seen_is_not_gone") else { return };
    let stage = stage(&lab, "RXC", "Canary", "");
    lab.command(&["worsen", "RXC", "no-deleted-objects"]);
    let report = run(&stage, "first", &["run", "RXC"]);
    assert_eq!(
        (&report["outcome"], &report["pass"]["deletions_told"]),
        (&"done".into(), &false.into()),
        "{report:#}"
    );
    let before = published(&lab, "RXC");
    let people = "(&(sAMAccountName=rxc*)(mail=*)(title=*)(!(employeeType=not-listed))(!(userAccountControl:1.2.840.113556.1.4.803:=2)))";
    let leavers: Vec<String> = names(&lab, "RXC", people).into_iter().take(2).collect();
    let text: String = leavers.iter().map(|dn| format!("dn: {dn}\nchangetype: delete\n\n")).collect();
    ldif(&lab, "RXC", &text);
    let report = run(&stage, "deletions not told", &["run", "RXC"]);
    assert_eq!(report["planned"], serde_json::json!({}), "{report:#}");
    assert_eq!(published(&lab, "RXC"), before);

    let blind = self::stage(&lab, "RXC", "No such canary", "");
    let report = run(&blind, "no canary", &["run", "RXC"]);
    assert_eq!(published(&lab, "RXC"), before, "{report:#}");

    let report = run(&stage, "complete pass", &["run", "RXC", "--complete"]);
    assert_eq!(report["pass"]["deleted"], 2, "{report:#}");
    assert_eq!(
        (&report["outcome"], &report["executed"]["done"]["mark"]),
        (&"done".into(), &2.into()),
        "{report:#}"
    );
    assert_eq!(published(&lab, "RXC"), expected(&lab, "RXC"));
    lab.command(&["mend", "RXC", "no-deleted-objects"]);
    let report = run(&stage, "told again", &["run", "RXC"]);
    assert_eq!(
        (&report["pass"]["deletions_told"], &report["pass"]["complete"]),
        (&true.into(), &true.into()),
        "{report:#}"
    );
}

/// `kill -9` at random moments (`PORTCULLIS_KILLS`, 10) of runs from a real Samba: afterwards exactly the expected people.
#[test]
fn killed_at_random_moments_with_a_real_samba() {
    let Some(lab) = Lab::of("killed_at_random_moments_with_a_real_samba") else { return };
    let _held = RXB.lock().unwrap_or_else(PoisonError::into_inner);
    let member = std::env::var("PORTCULLIS_KILL_MEMBER").unwrap_or_else(|_| "RXB".to_owned());
    let member = member.as_str();
    let kills: u32 = std::env::var("PORTCULLIS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let stage = stage(&lab, member, "Canary", "sync: { batch: 20, connections: 2 }\n");
    let (mut killed, mut lasts, mut found_out) = (0, Duration::from_millis(2000), 0);
    while killed < kills {
        let began = Instant::now();
        let mut child = stage.start(&["run", member]);
        std::thread::sleep(
            lasts.mul_f64(f64::from(u32::try_from(chance::below(1000).unwrap()).unwrap()) / 1000.0),
        );
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
            lasts += lasts / 20;
        } else {
            lasts = lasts.min(began.elapsed()) * 4 / 5;
        }
        child.wait().unwrap();
        stage.end_lease();
        loop {
            let output = stage.sync(&["run", member]);
            if output.status.success() {
                let report: Value = serde_json::from_slice(&output.stdout).unwrap();
                found_out += report["found_out"].as_u64().unwrap();
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(90), "{}", String::from_utf8_lossy(&output.stderr));
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(published(&lab, member), expected(&lab, member), "after {killed} kills");
        let digit = chance::below(10).unwrap();
        let text: String = names(&lab, member, &format!("(&(mail=*)(sAMAccountName=*{digit}))"))
            .iter()
            .map(|dn| {
                format!("dn: {dn}\nchangetype: modify\nreplace: title\ntitle: After {killed} kills\n\n")
            })
            .collect();
        ldif(&lab, member, &text);
    }
    eprintln!(
        "{killed} kills, {} people, {found_out} outcomes found by looking",
        expected(&lab, member).len()
    );
}
