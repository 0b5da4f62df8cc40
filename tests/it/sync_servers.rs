//! The same on every kind of national directory: OpenLDAP's slapd and 389 Directory Server, both real. The member directory is
//! scripted; the program is real.

use std::sync::{Arc, Mutex};

use portcullis::directory::request::{Scope, Search};
use portcullis::ldap::filter::Filter;
use portcullis::sync::terms::step::{Action, Change, Step};
use portcullis::sync::terms::target::Anchor;
use portcullis::sync::writing::national::{ASSERTION_FAILED, Condition, National};
use serde_json::Value;

use crate::sync_crash::{HEAD, SCOPE, age, connect, expected, guid, person, published, stage, trust};
use crate::sync_national::{Pki, Slapd};
use crate::sync_stage::Stage;

const UNIT: &str = "ou=RXS,ou=people,dc=national,dc=test";

/// Those that are installed; the others were said to be missing.
pub fn servers(test: &str, pki: &Pki) -> Vec<(&'static str, Slapd)> {
    let all = [("OpenLDAP", Slapd::start(test, pki)), ("389-DS", Slapd::start_389(test, pki))];
    all.into_iter().filter_map(|(name, slapd)| Some((name, slapd?))).collect()
}

fn run(stage: &Stage, what: &str) -> Value {
    let report = stage.report(&["run", "RXS"]);
    assert_eq!(report["outcome"], "done", "{what}: {report:#}");
    report
}

/// Creation, change, names and mails that change places, a leaver, a joiner, a join, what others did, and the end of a leaver.
#[test]
fn the_same_story_on_every_server() {
    let pki = Pki::new();
    for (name, slapd) in servers("the_same_story_on_every_server", &pki) {
        let world = Arc::new(Mutex::new(trust(40)));
        let stage = stage(&world, &slapd, &pki, SCOPE, "");
        let same = |what: &str| {
            assert_eq!(published(&slapd), expected(&world.lock().unwrap()), "{name}: {what}");
        };
        let report = run(&stage, name);
        assert_eq!(report["executed"]["done"]["create"], 40, "{name}: {report:#}");
        same("created");
        days(&world, &stage, &slapd, name);
        same("changed");
        others(&world, &stage, &slapd, name);
        same("mended");
        over(&stage, &slapd, name);
        let quiet = run(&stage, name);
        assert_eq!(quiet["planned"], serde_json::json!({}), "{name}: {quiet:#}");
    }
}

fn days(world: &Mutex<crate::sync_source::World>, stage: &Stage, slapd: &Slapd, name: &str) {
    // there before the person was
    slapd.ldif(
        "ldapadd",
        &format!(
            "dn: uid=early,{UNIT}\nobjectClass: inetOrgPerson\nuid: early\ncn: Early\nsn: Bird\n\
             mail: m41@rxs.nhs.test\nuserPassword: kept\n"
        ),
    );
    {
        let mut world = world.lock().unwrap();
        let value = |world: &crate::sync_source::World, number, name: &str| {
            world.objects[&guid(number)].attributes[name].clone()
        };
        for attribute in ["samaccountname", "mail"] {
            let (one, two) = (value(&world, 1, attribute), value(&world, 2, attribute));
            world.change(guid(1), |object| drop(object.attributes.insert(attribute.into(), two)));
            world.change(guid(2), |object| drop(object.attributes.insert(attribute.into(), one)));
        }
        world.change(guid(3), |object| {
            drop(object.attributes.insert("title".into(), vec!["Bleep holder".into()]))
        });
        world.change(guid(4), |object| drop(object.attributes.remove("title")));
        world.change(guid(5), |object| object.deleted = true);
        world.change(guid(6), |object| {
            drop(object.attributes.insert("samaccountname".into(), vec!["renamed".into()]))
        });
        world.put(guid(40), person(40));
        world.put(guid(41), person(41));
        assert!(world.objects.contains_key(&HEAD));
    }
    let report = run(stage, name);
    let done = &report["executed"]["done"];
    for (action, count) in [("create", 1), ("join", 1), ("mark", 1)] {
        assert_eq!(done[action], count, "{name}: {action} {report:#}");
    }
    // two that change places, one over a name between; one that is renamed; and the early one
    assert_eq!(done["rename"], 5, "{name}: {report:#}");
}

/// What somebody else changed and deleted is made good through a plan.
fn others(world: &Mutex<crate::sync_source::World>, stage: &Stage, slapd: &Slapd, name: &str) {
    assert!(world.lock().unwrap().objects.len() > 40);
    slapd.ldif(
        "ldapmodify",
        &format!(
            "dn: uid=n0010,{UNIT}\nchangetype: modify\nreplace: title\ntitle: Queen\n\n\
             dn: uid=n0011,{UNIT}\nchangetype: delete\n\n\
             dn: uid=n0012,{UNIT}\nchangetype: modrdn\nnewrdn: uid=elsewhere\ndeleteoldrdn: 1\n\n"
        ),
    );
    told(stage, slapd, name);
    let report = run(stage, name);
    let done = &report["executed"]["done"];
    for (action, count) in [("modify", 1), ("create", 1), ("rename", 1)] {
        assert_eq!(done[action], count, "{name}: {action} {report:#}");
    }
    let steps = stage.report(&["approve", report["plan"].as_str().unwrap()]);
    let rules: Vec<&str> =
        steps["steps"].as_array().unwrap().iter().map(|s| s["rule"].as_str().unwrap()).collect();
    assert!(rules.contains(&"drift"), "{name}: {rules:?}");
}

/// The same is told beforehand, by whom, and without anybody's data.
fn told(stage: &Stage, slapd: &Slapd, name: &str) {
    let output = stage.sync(&["drift", "RXS"]);
    assert_eq!(output.status.code(), Some(1), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("Queen"), "{name}: {text}");
    let found: Value = serde_json::from_str(&text).unwrap();
    let drift = found[0]["drift"].as_array().unwrap();
    let kinds: Vec<&str> = drift.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["edited", "deleted", "renamed"], "{name}: {found:#}");
    let edited = &drift[0];
    assert_eq!(edited["attributes"], serde_json::json!([{"attribute": "title"}]), "{name}: {found:#}");
    assert!(edited["by"].as_str().unwrap().eq_ignore_ascii_case(slapd.admin), "{name}: {found:#}");
    assert!(edited["at"].as_str().unwrap().starts_with("20"), "{name}: {found:#}");
    assert!(drift[2]["named"].as_str().unwrap().starts_with("uid=n0012,"), "{name}: {found:#}");
    let values = stage.report(&["drift", "--values"]);
    let title = &values[0]["drift"][0]["attributes"][0];
    assert_eq!((&title["found"][0], &title["published"][0]), (&"Queen".into(), &"Nurse".into()), "{name}");
}

/// Nothing is told of what is as published, national attributes and leavers included; a leaver's time is the one that we wrote, and runs out.
fn over(stage: &Stage, slapd: &Slapd, name: &str) {
    let output = stage.sync(&["drift", "RXS"]);
    assert_eq!(output.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    slapd.ldif(
        "ldapmodify",
        &format!(
            "dn: uid=n0005,{UNIT}\nchangetype: modify\nreplace: portcullisLeftAt\nportcullisLeftAt: 20200101000000Z\n\n\
             dn: uid=n0013,{UNIT}\nchangetype: modify\nadd: userPassword\nuserPassword: theirs\n\n"
        ),
    );
    let output = stage.sync(&["drift", "RXS"]);
    assert_eq!(output.status.code(), Some(1), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    let report = run(stage, name);
    assert_eq!(report["executed"]["done"], serde_json::json!({"modify": 1}), "{name}: {report:#}");
    let output = stage.sync(&["drift", "RXS"]);
    assert_eq!(output.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    age(slapd, &format!("uid=n0005,{UNIT}"));
    let report = run(stage, name);
    assert_eq!(report["executed"]["done"], serde_json::json!({"delete": 1}), "{name}: {report:#}");
    let output = stage.sync(&["drift", "RXS"]);
    assert_eq!(output.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&output.stdout));
}

/// Entries that somebody moved to another unit come back as they are, those whose anchors were exchanged get their own back, and an entry of
/// nobody with somebody's mail takes nothing away.
#[test]
fn what_others_move_exchange_and_copy() {
    let pki = Pki::new();
    for (name, slapd) in servers("what_others_move_exchange_and_copy", &pki) {
        let world = Arc::new(Mutex::new(trust(12)));
        let stage = stage(&world, &slapd, &pki, SCOPE, "");
        run(&stage, name);
        let before = published(&slapd);
        let anchor = |number: u64| format!("RXS/{}", uuid::Uuid::from_bytes_le(guid(number)));
        let exchange = |anchors: [(u64, u64); 2]| {
            let changes = anchors.map(|(at, to)| {
                format!(
                    "dn: uid=n{at:04},{UNIT}\nchangetype: modify\nreplace: portcullisAnchor\nportcullisAnchor: {}\n\n",
                    anchor(to)
                )
            });
            slapd.ldif("ldapmodify", &changes.concat());
        };
        slapd.ldif(
            "ldapmodify",
            &format!(
                "dn: ou=RXB,ou=people,dc=national,dc=test\nchangetype: add\nobjectClass: organizationalUnit\nou: RXB\n\n\
                 dn: uid=n0003,{UNIT}\nchangetype: modrdn\nnewrdn: uid=n0003\ndeleteoldrdn: 0\n\
                 newsuperior: ou=RXB,ou=people,dc=national,dc=test\n\n\
                 dn: uid=stray,{UNIT}\nchangetype: add\nobjectClass: inetOrgPerson\nuid: stray\ncn: S\nsn: S\n\
                 mail: {}\n\n",
                before[&anchor(4)]["mail"]
            ),
        );
        exchange([(1, 2), (2, 1)]);
        // one who leaves meanwhile carries another organisation's anchor, and another name
        slapd.ldif(
            "ldapmodify",
            &format!(
                "dn: uid=n0005,{UNIT}\nchangetype: modify\nreplace: portcullisAnchor\nportcullisAnchor: {}\n\n\
                 dn: uid=n0005,{UNIT}\nchangetype: modrdn\nnewrdn: uid=other\ndeleteoldrdn: 1\n\n",
                anchor(5).replace("RXS", "RXB")
            ),
        );
        // and one who leaves lies in another organisation's unit
        slapd.ldif(
            "ldapmodify",
            &format!(
                "dn: uid=n0006,{UNIT}\nchangetype: modrdn\nnewrdn: uid=n0006\ndeleteoldrdn: 0\n\
                 newsuperior: ou=RXB,ou=people,dc=national,dc=test\n\n"
            ),
        );
        for leaver in [5, 6] {
            world.lock().unwrap().change(guid(leaver), |object| {
                drop(object.attributes.insert("useraccountcontrol".into(), vec!["514".into()]))
            });
        }
        world
            .lock()
            .unwrap()
            .change(guid(4), |object| drop(object.attributes.insert("title".into(), vec!["Sister".into()])));
        let report = run(&stage, name);
        let done = serde_json::json!({"mark": 2, "modify": 3, "rename": 2});
        assert_eq!(report["executed"]["done"], done, "{name}: {report:#}");
        assert_eq!(report["quarantine"], serde_json::json!([]), "{name}: {report:#}");
        slapd.ldif("ldapmodify", &format!("dn: uid=stray,{UNIT}\nchangetype: delete\n\n"));
        let report = run(&stage, name);
        assert_eq!(
            (&report["planned"], &report["quarantine"]),
            (&serde_json::json!({}), &serde_json::json!([])),
            "{name}: {report:#}"
        );
        assert_eq!(published(&slapd), expected(&world.lock().unwrap()), "{name}");
    }
}

/// Somebody names entries by other attributes: what a directory does not take before they are renamed is done all the same, in one run.
#[test]
fn what_others_name_by_something_else() {
    let pki = Pki::new();
    for (name, slapd) in servers("what_others_name_by_something_else", &pki) {
        let world = Arc::new(Mutex::new(trust(8)));
        let stage = stage(&world, &slapd, &pki, SCOPE, "");
        run(&stage, name);
        let cn = published(&slapd)[&format!("RXS/{}", uuid::Uuid::from_bytes_le(guid(2)))]["cn"].clone();
        let renamed = [
            (1, "uid=n0001+telephoneNumber=999".to_owned()),
            (2, format!("cn={cn}")),
            (3, "sn=Other".into()),
            // by what is nobody's of ours: it stays on the entry
            (4, "carLicense=ABC1".into()),
            (5, "uid=n0005+carLicense=ABC2".into()),
        ];
        for (number, to) in renamed {
            let old = u8::from(number == 2);
            slapd.ldif(
                "ldapmodify",
                &format!(
                    "dn: uid=n{number:04},{UNIT}\nchangetype: modrdn\nnewrdn: {to}\ndeleteoldrdn: {old}\n\n"
                ),
            );
        }
        for leaver in [1, 2] {
            world.lock().unwrap().change(guid(leaver), |object| {
                drop(object.attributes.insert("useraccountcontrol".into(), vec!["514".into()]))
            });
        }
        // and one that was there before is named by what we publish otherwise
        let new = person(9);
        slapd.ldif(
            "ldapadd",
            &format!(
                "dn: cn=Some Other Name,{UNIT}\nobjectClass: inetOrgPerson\ncn: Some Other Name\nsn: S\nmail: {}\n",
                new.attributes["mail"][0]
            ),
        );
        world.lock().unwrap().put(guid(9), new);
        let report = run(&stage, name);
        let done = serde_json::json!({"join": 1, "mark": 2, "modify": 2, "rename": 5});
        assert_eq!(report["executed"]["done"], done, "{name}: {report:#}");
        assert_eq!(run(&stage, name)["planned"], serde_json::json!({}), "{name}");
        assert_eq!(published(&slapd), expected(&world.lock().unwrap()), "{name}");
        // refused where the value is not there
        for (number, kept) in [(4, "ABC1"), (5, "ABC2")] {
            slapd.ldif(
                "ldapmodify",
                &format!("dn: uid=n{number:04},{UNIT}\nchangetype: modify\ndelete: carLicense\ncarLicense: {kept}\n\n"),
            );
        }
    }
}

fn change(attribute: &str, before: &[&str], after: &[&str]) -> Change {
    let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    Change { attribute: attribute.to_owned(), before: texts(before), after: texts(after) }
}

/// A write hits the entry that was planned against, as it was then, or none: on the server itself, step by step.
#[tokio::test]
async fn a_write_hits_only_what_was_planned() {
    let pki = Pki::new();
    for (name, slapd) in servers("a_write_hits_only_what_was_planned", &pki) {
        slapd.ldif(
            "ldapadd",
            &format!(
                "dn: {UNIT}\nobjectClass: organizationalUnit\nou: RXS\n\n\
                 dn: uid=a,{UNIT}\nobjectClass: inetOrgPerson\nobjectClass: portcullisEntry\nuid: a\ncn: A\nsn: A\n\
                 title: one\nportcullisMember: RXS\nportcullisAnchor: RXS/00000000-0000-0000-0000-000000000001\n\
                 portcullisStamp: s1\n"
            ),
        );
        let mut directory = connect(&slapd).await;
        let national = National::of(&mut directory).await.unwrap();
        let is_389 = national.condition == Condition::Values;
        assert_eq!(is_389, name == "389-DS", "{name}: {national:?}");
        let anchor = Anchor::parse("RXS/00000000-0000-0000-0000-000000000001").unwrap();
        let mut look = async |dn: &str| {
            let names = [national.identity, national.version, "title", "portcullisStamp"];
            let search = Search::new(dn, Scope::Base, Filter::present("objectClass"), &names);
            let (mut entries, _) = directory.read(&search).await.unwrap();
            entries.pop()
        };
        let dn = format!("uid=a,{UNIT}");
        let entry = look(&dn).await.unwrap();
        let (identity, version) = national.known(&entry).unwrap();
        let step = |action, changes: Vec<Change>, version: &str| Step {
            action,
            anchor: Some(anchor.clone()),
            dn: dn.clone(),
            to: (action == Action::Rename).then(|| format!("uid=b,{UNIT}")),
            entry_uuid: Some(identity.clone()),
            entry_csn: Some(version.to_owned()),
            changes,
            reason: String::new(),
            rule: String::new(),
            needs: Vec::new(),
        };
        let directory = connect(&slapd).await;
        let modify = |version: &str, before: &str, after: &str| {
            let changes =
                vec![change("title", &[before], &[after]), change("portcullisstamp", &["s1"], &["s1"])];
            step(Action::Modify, changes, version)
        };
        let done = national.write(&directory, &modify(&version, "one", "two")).await.unwrap();
        assert_eq!(done.code, 0, "{name}: {done:?}");
        let now = national.version_after(&done).unwrap();
        assert_ne!(now, version, "{name}");

        // what was planned before somebody else came
        let stale = [
            modify(&version, "two", "three"),
            step(Action::Rename, Vec::new(), &version),
            step(Action::Delete, Vec::new(), &version),
            Step {
                entry_uuid: Some("00000000-0000-0000-0000-00000000000f".into()),
                ..modify(&now, "two", "three")
            },
            Step {
                anchor: Anchor::parse("RXS/00000000-0000-0000-0000-000000000002"),
                ..modify(&now, "two", "three")
            },
            step(
                Action::Join,
                vec![change("portcullisanchor", &[], &["RXS/00000000-0000-0000-0000-000000000003"])],
                &now,
            ),
        ];
        for step in stale {
            let refused = national.write(&directory, &step).await.unwrap();
            assert_eq!(refused.code, ASSERTION_FAILED, "{name}: {step:?} {refused:?}");
        }
        if is_389 {
            // the look before saw nothing, the write itself does
            let refused = national.write(&directory, &modify(&now, "not this", "three")).await.unwrap();
            assert_eq!(refused.code, ASSERTION_FAILED, "{name}: {refused:?}");
        }
        assert_eq!(look(&dn).await.unwrap().text("title"), Some("two"), "{name}");

        let done = national.write(&directory, &step(Action::Rename, Vec::new(), &now)).await.unwrap();
        assert_eq!(done.code, 0, "{name}: {done:?}");
        let after = national.version_after(&done).unwrap();
        let away = Step { dn: format!("uid=b,{UNIT}"), ..step(Action::Delete, Vec::new(), &after) };
        let gone = national.write(&directory, &step(Action::Delete, Vec::new(), &after)).await.unwrap();
        assert_eq!(gone.code, 32, "{name}: under the old name there is nobody: {gone:?}");
        // somebody gives it another's anchor: only a step that knows of it hits
        let theirs = "RXS/00000000-0000-0000-0000-000000000002";
        slapd.ldif(
            "ldapmodify",
            &format!(
                "dn: {}\nchangetype: modify\nreplace: portcullisAnchor\nportcullisAnchor: {theirs}\n\n",
                away.dn
            ),
        );
        let version = look(&away.dn).await.unwrap().text(national.version).unwrap().to_owned();
        let away = Step { entry_csn: Some(version), ..away };
        let refused = national.write(&directory, &away).await.unwrap();
        assert_eq!(refused.code, ASSERTION_FAILED, "{name}: {refused:?}");
        let away = Step { changes: vec![change("portcullisanchor", &[theirs], &[])], ..away };
        let done = national.write(&directory, &away).await.unwrap();
        assert_eq!(done.code, 0, "{name}: {done:?}");
        assert!(look(&away.dn).await.is_none(), "{name}");
    }
}

/// Values that a server does not take hold back themselves alone, at once and in every later run, and the rest of their people goes on.
#[test]
fn a_value_that_the_directory_refuses_is_held_back_alone() {
    let pki = Pki::new();
    for (name, slapd) in servers("a_value_that_the_directory_refuses_is_held_back_alone", &pki) {
        let world = Arc::new(Mutex::new(trust(6)));
        let mapped = SCOPE.replace("title: title }", "title: title, telephoneNumber: telephonenumber }");
        let stage = stage(&world, &slapd, &pki, &mapped, "");
        let set = |number, attribute: &str, values: &[&str]| {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            world.lock().unwrap().change(guid(number), |object| {
                object.attributes.insert(attribute.into(), values);
            });
        };
        // of another syntax, and twice the same for the matching rule
        set(1, "telephonenumber", &["020 7946 0001 \u{2013} ward"]);
        set(2, "title", &["Nurse", "NURSE"]);
        set(3, "telephonenumber", &["020 7946 0003"]);
        let report = run(&stage, name);
        assert_eq!(report["executed"]["done"]["create"], 6, "{name}: {report:#}");
        assert_eq!(report["executed"]["undone"], serde_json::json!([]), "{name}: {report:#}");
        let held = |report: &Value| {
            let mut held: Vec<(String, String)> = report["quarantine"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| {
                    (one["attribute"].as_str().unwrap().to_owned(), one["code"].as_str().unwrap().to_owned())
                })
                .collect();
            held.sort();
            held
        };
        let refused = |names: &[&str]| -> Vec<(String, String)> {
            names.iter().map(|name| ((*name).to_owned(), "refused".to_owned())).collect()
        };
        assert_eq!(held(&report), refused(&["telephonenumber", "title"]), "{name}: {report:#}");
        // what the entry has stays, and everything else is written
        set(3, "telephonenumber", &["\u{260e} 0003"]);
        set(3, "title", &["Ward sister"]);
        let report = run(&stage, name);
        assert_eq!(report["executed"]["done"]["modify"], 1, "{name}: {report:#}");
        let found = |number, attribute: &str| read(&slapd, number, attribute);
        assert_eq!(found(3, "title"), ["Ward sister"]);
        assert_eq!(found(3, "telephoneNumber"), ["020 7946 0003"], "{name}");
        let report = run(&stage, name);
        assert_eq!(report["planned"], serde_json::json!({}), "{name}: {report:#}");
        assert_eq!(held(&report).len(), 3, "{name}: {report:#}");
        // mended where it came from
        set(1, "telephonenumber", &["020 7946 0001"]);
        set(2, "title", &["Nurse"]);
        set(3, "telephonenumber", &["020 7946 0033"]);
        let report = run(&stage, name);
        assert_eq!(held(&report), [], "{name}: {report:#}");
        assert_eq!(found(1, "telephoneNumber"), ["020 7946 0001"], "{name}");
        assert_eq!(found(2, "title"), ["Nurse"], "{name}");
        assert_eq!(found(3, "telephoneNumber"), ["020 7946 0033"], "{name}");
    }
}

fn read(slapd: &Slapd, number: u64, attribute: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut directory = connect(slapd).await;
        let anchor = format!("RXS/{}", uuid::Uuid::from_bytes_le(guid(number)));
        let filter = Filter::equal("portcullisAnchor", anchor.into_bytes());
        let search = Search::new(UNIT, Scope::Subtree, filter, &[attribute]);
        let (entries, _) = directory.read(&search).await.unwrap();
        entries[0].texts(attribute).map(str::to_owned).collect()
    })
}
