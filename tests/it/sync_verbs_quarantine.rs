//! `portcullis sync quarantine` and `join` through the real program, against a real slapd.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::sync_verbs_stage::{Trust, dn, guid, person, scope, text};

fn codes(answer: &Value) -> BTreeMap<String, String> {
    let held = answer["held"].as_array().unwrap().iter();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    held.map(|one| (word(&one["guid"]), word(&one["code"]))).collect()
}

#[test]
fn what_is_held_back_is_listed_with_its_age_and_heals_by_itself() {
    let test = "what_is_held_back_is_listed_with_its_age_and_heals_by_itself";
    let Some(trust) = Trust::new(test, 6, &scope("30d", 1000, 1000), "") else { return };
    assert_eq!(trust.json(0, &["quarantine"])["held"], json!([]));
    trust.set(0, "sn", None);
    trust.set(1, "mail", Some("m1@elsewhere.test"));
    trust.json(0, &["run", "RXS"]);
    let first = trust.json(1, &["quarantine", "RXS"]);
    assert_eq!(
        codes(&first),
        BTreeMap::from([(text(0), "no_surname".into()), (text(1), "mail_domain".into())]),
        "{first:#}"
    );
    let since = |answer: &Value, number: u64| {
        let mut held = answer["held"].as_array().unwrap().iter();
        held.find(|one| one["guid"] == json!(text(number))).unwrap()["since"].clone()
    };
    assert_eq!(first["held"][0]["mends"], "member");
    assert!(first["held"].to_string().contains("CN=Person 0,OU=Staff,DC=rxs,DC=test"), "{first:#}");
    trust.set(2, "sn", None);
    trust.set(1, "mail", Some("m1@rxs.nhs.test"));
    trust.json(0, &["run", "RXS"]);
    let second = trust.json(1, &["quarantine"]);
    assert_eq!(
        codes(&second),
        BTreeMap::from([(text(0), "no_surname".into()), (text(2), "no_surname".into())])
    );
    assert_eq!(since(&second, 0), since(&first, 0), "it was held before");
    assert_ne!(since(&second, 2), since(&first, 0));
    assert_eq!(second["counts"]["RXS"]["no_surname"], 2);
    assert_eq!(trust.json(0, &["quarantine", "--reason", "duplicate"])["held"], json!([]));
    let csv = trust.text(1, &["quarantine", "RXS", "--csv"]);
    assert_eq!(csv.lines().count(), 3, "{csv}");
    assert!(csv.starts_with("member,reason,what,since,days,mends,guid,dn,what_to_do"), "{csv}");
    let told = trust.text(1, &["quarantine"]);
    assert!(told.contains("RXS: 2 held back (2 no_surname)"), "{told}");
    trust.set(0, "sn", Some("Jones"));
    trust.set(2, "sn", Some("Smith"));
    trust.json(0, &["run", "RXS"]);
    assert_eq!(trust.json(0, &["quarantine"])["held"], json!([]));
}

#[test]
fn an_ambiguous_person_is_joined_as_an_officer_decides() {
    let test = "an_ambiguous_person_is_joined_as_an_officer_decides";
    let Some(trust) = Trust::new(test, 2, &scope("30d", 1000, 1000), "") else { return };
    trust.json(0, &["run", "RXS"]);
    for name in ["old.jones", "jones2"] {
        let attributes: [(&str, &[&str]); 5] = [
            ("objectClass", &["inetOrgPerson"]),
            ("uid", &[name]),
            ("cn", &["B Jones"]),
            ("sn", &["Jones"]),
            ("mail", &["m7@rxs.nhs.test"]),
        ];
        trust.add(&dn(name), &attributes);
    }
    trust.world().put(guid(7), person(7));
    let report = trust.json(0, &["run", "RXS"]);
    assert_eq!(report["planned"], json!({}), "nobody is created while an entry fits");
    let held = trust.json(1, &["quarantine", "--reason", "ambiguous"]);
    assert_eq!((&held["held"][0]["guid"], &held["held"][0]["mends"]), (&json!(text(7)), &json!("national")));
    // the candidates are told
    let explained = trust.json(0, &["explain", &text(7)]);
    let told = explained["people"][0]["conflicts"].to_string();
    assert!(told.contains("uid=old.jones") && told.contains("uid=jones2"), "{told}");

    let join = |dn: &str| {
        ["join".to_owned(), "RXS".into(), text(7), dn.into(), "--reason".into(), "seen the card".into()]
    };
    let run = |code: i32, arguments: [String; 6]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if code == 0 { trust.json(0, &arguments).to_string() } else { trust.refused(code, &arguments) }
    };
    let told = run(1, join(&dn("nobody")));
    assert!(told.contains("no entry"), "{told}");
    let told = run(1, join(&dn("n0001")));
    assert!(told.contains("already"), "{told}");
    run(0, join(&dn("OLD.jones")));
    assert!(trust.audited().contains(&"sync.join".to_owned()));
    let report = trust.json(0, &["run", "RXS"]);
    assert_eq!(report["planned"]["join"], 1, "{report:#}");
    assert_eq!(
        report["quarantine"].as_array().unwrap().iter().filter(|one| one["code"] == "ambiguous").count(),
        0
    );
    let entry = trust.entries().into_values().find(|entry| {
        entry.get("portcullisanchor").is_some_and(|anchors| anchors.contains(&format!("RXS/{}", text(7))))
    });
    assert_eq!(entry.unwrap()["cn"].first().unwrap(), "Person 7");
    // the other one stays what it was
    assert!(!trust.entry("jones2").unwrap().contains_key("portcullisanchor"));
    trust.json(0, &["join", "RXS", &text(7), "--forget", "--reason", "done"]);
    let told = trust.refused(1, &["join", "RXS", &text(7), "--forget", "--reason", "done"]);
    assert!(told.contains("nothing was decided"), "{told}");
}
