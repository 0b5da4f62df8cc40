//! `portcullis sync explain` through the real program, against a real slapd.

use portcullis::store::port::Store;
use serde_json::{Value, json};

use crate::sync_source::Object;
use crate::sync_verbs_stage::{HEAD, OTHER, STAFF, Trust, dn, guid, person, scope, text, unit};

fn one(trust: &Trust, who: &str) -> Value {
    let answer = trust.json(0, &["explain", who]);
    let people = answer["people"].as_array().unwrap();
    assert_eq!(people.len(), 1, "{who}: {answer:#}");
    people[0].clone()
}

fn failed(person: &Value) -> Vec<String> {
    let path = person["path"].as_array().unwrap().iter();
    path.filter(|check| check["passed"] == json!(false))
        .map(|check| check["rule"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_published_person_is_found_by_every_name_and_has_an_owner_for_every_attribute() {
    let test = "a_published_person_is_found_by_every_name_and_has_an_owner_for_every_attribute";
    let Some(trust) = Trust::new(test, 3, &scope("30d", 1000, 1000), "") else { return };
    trust.json(0, &["run", "RXS"]);
    trust.set(1, "title", Some("Consultant"));
    trust.json(0, &["plan", "RXS"]);
    let journal = trust.stage.store.journal(&trust.stage.ods, 0, 10_000).unwrap();
    let names = [
        "m1@rxs.nhs.test".to_owned(),
        "N0001".to_owned(),
        format!("RXS/{}", text(1)),
        text(1),
        "CN=Person 1,OU=Staff,DC=rxs,DC=test".to_owned(),
        dn("n0001"),
    ];
    for name in &names {
        let person = one(&trust, name);
        assert_eq!(person["verdict"], "published", "{name}: {person:#}");
        assert_eq!(person["anchor"], json!(format!("RXS/{}", text(1))));
    }
    let person = one(&trust, &names[0]);
    assert_eq!(person["local_dn"], "CN=Person 1,OU=Staff,DC=rxs,DC=test");
    let attribute = |name: &str| {
        let mut all = person["attributes"].as_array().unwrap().iter();
        all.find(|one| one["attribute"] == json!(name)).unwrap().clone()
    };
    let title = attribute("title");
    assert_eq!(
        (&title["owner"], &title["is"], &title["wanted"]),
        (&json!("the member directory: title"), &json!(["Nurse"]), &json!(["Consultant"]))
    );
    assert!(attribute("o")["owner"].as_str().unwrap().contains("the same for everybody"));
    assert_eq!(person["steps"][0]["action"], "modify", "{person:#}");
    assert_eq!(
        (&person["writes"][0]["action"], &person["writes"][0]["phase"]),
        (&json!("create"), &json!("done"))
    );
    assert_eq!(person["gate"], "open");
    assert!(person["last_run"].as_str().unwrap().starts_with("planned"));
    assert!(failed(&person).is_empty());
    // it only looks
    assert_eq!(trust.stage.store.journal(&trust.stage.ods, 0, 10_000).unwrap(), journal);
    let told = trust.text(0, &["explain", "m1@rxs.nhs.test"]);
    for word in [
        "published",
        "is Nurse, to be Consultant",
        "the member directory: title",
        "looked in RXS",
        "create done",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
}

#[test]
fn who_is_missing_is_told_why() {
    let test = "who_is_missing_is_told_why";
    let Some(trust) = Trust::new(test, 9, &scope("30d", 1000, 1000), "") else { return };
    trust.json(0, &["run", "RXS"]);
    trust.set(0, "useraccountcontrol", Some("514"));
    trust.set(1, "employeetype", Some("test"));
    trust.world().change(guid(2), |object| object.parent = Some(OTHER));
    trust.world().change(guid(3), |object| object.deleted = true);
    trust.set(4, "sn", None);
    trust.set(5, "mail", Some("m5@elsewhere.test"));
    trust.set(6, "mail", Some("m7@rxs.nhs.test"));
    // before the next run, what is staged is old: and that is told
    let person = one(&trust, "n0000");
    assert_eq!(person["verdict"], "published");
    trust.json(0, &["run", "RXS"]);
    let person = one(&trust, "n0000");
    assert_eq!(
        (&person["verdict"], failed(&person)),
        (&json!("left"), vec!["enabled".to_owned()]),
        "{person:#}"
    );
    assert!(person["left_at"].is_string() && person["deleted_at"].is_string());
    let person = one(&trust, "n0001");
    assert_eq!(failed(&person), ["filter"]);
    let told = person["path"].as_array().unwrap().last().unwrap()["text"].as_str().unwrap().to_owned();
    assert!(told.ends_with("(!(employeeType=test)) is not so"), "{told}");
    assert_eq!(failed(&one(&trust, "n0002")), ["base"]);
    let person = one(&trust, &text(3));
    assert_eq!((failed(&person), &person["deleted"]), (vec!["there".to_owned()], &json!(true)));
    let person = one(&trust, "n0004");
    assert_eq!(
        (&person["verdict"], &person["quarantine"][0]["code"]),
        (&json!("published"), &json!("no_surname")),
        "{person:#}"
    );
    assert!(person["entry"]["attributes"]["sn"].is_array(), "an entry keeps the surname that it has");
    let person = one(&trust, "n0005");
    assert_eq!(person["quarantine"][0]["code"], "mail_domain");
    assert!(
        person["entry"]["attributes"]["mail"].is_null(),
        "a mail of somebody else's domain is not published: {person:#}"
    );
    let person = one(&trust, "n0006");
    assert_eq!(person["quarantine"][0]["attribute"], "mail");
    let holders: Vec<&Value> =
        person["conflicts"].as_array().unwrap().iter().map(|one| &one["holder"]).collect();
    assert!(holders.contains(&&json!(format!("RXS/{}", text(7)))), "{person:#}");
    // two people have this one
    assert_eq!(trust.json(0, &["explain", "m7@rxs.nhs.test"])["people"].as_array().unwrap().len(), 2);

    let nobody = trust.json(1, &["explain", "nobody@rxs.nhs.test"]);
    assert_eq!(nobody["people"], json!([]));
    let looked = &nobody["looked"][0];
    assert!(
        looked["read_at"].is_string() && looked["complete_at"].is_string() && looked["national"].is_null(),
        "{nobody:#}"
    );
    assert_eq!(looked["objects"], 12);
    let told = trust.text(1, &["explain", "nobody@rxs.nhs.test"]);
    assert!(told.contains("nobody fits this mail") && told.contains("looked in RXS: 12 objects"), "{told}");

    // the national directory does not answer: what is known is told, and that it was not seen
    let Trust { slapd, stage, .. } = trust;
    drop(slapd);
    let output = stage.sync(&["explain", "n0000"]);
    assert_eq!(output.status.code(), Some(0));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(answer["looked"][0]["national"].as_str().unwrap().contains("national directory"), "{answer:#}");
    assert_eq!(answer["people"][0]["verdict"], "unknown");
    assert_eq!(failed(&answer["people"][0]), ["enabled"]);
    assert!(String::from_utf8_lossy(&stage.plain(&["explain", "n0000"]).stdout).contains("NOT SEEN"));
}

/// The unit of the scope gets another name, and another unit gets its: nobody is removed, nobody new is published, and it is said.
#[test]
fn a_base_whose_name_another_unit_has_now_is_told() {
    let test = "a_base_whose_name_another_unit_has_now_is_told";
    let Some(trust) = Trust::new(test, 4, &scope("30d", 1000, 1000), "") else { return };
    trust.json(0, &["run", "RXS"]);
    let new = [7; 16];
    {
        let mut world = trust.world();
        world.change(STAFF, |unit| "OU=Staff of old".clone_into(&mut unit.rdn));
        world.put(new, unit(Some(HEAD), "OU=Staff", "organizationalUnit"));
        world.put(guid(8), Object { parent: Some(new), ..person(8) });
    }
    let report = trust.json(0, &["run", "RXS"]);
    assert_eq!((&report["planned"], &report["published"]), (&json!({}), &json!(4)), "{report:#}");
    let note = report["notes"][0].as_str().unwrap();
    assert!(note.contains("OU=Staff") && note.contains("--bases"), "{note}");
    assert!(trust.text(0, &["run", "RXS"]).contains("note: the scope follows"), "people read it too");
    let person = one(&trust, "n0008");
    assert_eq!(failed(&person), ["base"]);
    let told = person["path"].as_array().unwrap().last().unwrap()["text"].as_str().unwrap().to_owned();
    assert!(told.contains("OU=Staff (the unit that is OU=Staff of old,DC=rxs,DC=test now)"), "{told}");
    // the new one is what was meant: said once, and then it is as any other change
    let refused = trust.stage.sync(&["resync", "RXS", "--bases"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    trust.json(0, &["resync", "RXS", "--bases", "--reason", "the new unit is meant"]);
    let report = trust.json(0, &["run", "RXS"]);
    assert_eq!(report["executed"]["done"], json!({"mark": 4, "create": 1}), "{report:#}");
    assert_eq!(report["notes"], Value::Null);
}
