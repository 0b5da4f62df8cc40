use proptest::prelude::*;

use super::*;
use crate::ambient::sheet::{Settings, Sheet};

const HEADING: &str = "ods,local_id,given_name,sn,mail,telephone,listing,status\n";

fn read(row: &str) -> Result<Person, Vec<Fault>> {
    let text = format!("{HEADING}{row}\n");
    let sheet = Sheet::open(text.as_bytes(), COLUMNS, &Settings::default()).unwrap();
    let row = sheet.rows().next().unwrap();
    Person::read(&row)
}

fn faults(row: &str) -> Vec<String> {
    let faults = read(row).unwrap_err();
    assert!(faults.iter().all(|fault| fault.line == 2));
    faults.into_iter().map(|fault| fault.column.unwrap_or_default()).collect()
}

#[test]
fn the_guid_is_what_the_derivation_says() {
    let ods: OdsCode = "A81001".parse().unwrap();
    // by hand: sha256(b"portcullis registered person 1\0A81001\0n1\0"), version 8, variant 2
    assert_eq!(guid(&ods, "N1").to_string(), "5556d69e-6f13-84db-a630-c0224fddedf3");
    assert_eq!(guid(&ods, "n1"), guid(&ods, "N1"));
    assert!(is_registered(&guid(&ods, "n1")));
    assert_ne!(guid(&ods, "n2"), guid(&ods, "n1"));
    assert_ne!(guid(&"A81002".parse().unwrap(), "n1"), guid(&ods, "n1"));
    assert!(!is_registered(&"12345678-1234-4234-8234-123456789abc".parse().unwrap()));
}

#[test]
fn every_fault_of_a_row_is_told_at_once() {
    assert_eq!(
        faults("x,,,,jo,ring me,,gone"),
        ["ods", "local_id", "status", "given_name", "sn", "mail", "telephone"]
    );
    assert_eq!(faults("A81001,a b,Jo,Bloggs,,,,"), ["local_id"]);
    assert_eq!(faults(&format!("A81001,1,Jo,{},,,,", "x".repeat(65))), ["sn"]);
    for mail in
        ["jo@", "@a.test", "jo@a", "j o@a.test", "jo@@a.test", "jo.@a.test", "jo@a..test", "jö@a.test"]
    {
        assert_eq!(faults(&format!("A81001,1,Jo,Bloggs,{mail},,,")), ["mail"], "{mail}");
    }
    // of a leaver nothing but the key counts
    assert!(read("A81001,1,,,,,,leaver").unwrap().is_leaver);
}

#[test]
fn what_is_not_said_stays_and_what_is_emptied_goes() {
    let first = read("A81001,N1,Jo,Bloggs,Jo@a.test,0113 496 0000,Listed,").unwrap();
    let object = first.object(None, "Surgery").unwrap();
    assert_eq!(object.first("samaccountname"), Some("N1"));
    assert_eq!((object.first("displayname"), object.first("employeetype")), (Some("Jo Bloggs"), None));
    assert_eq!((object.first("company"), object.is_disabled()), (Some("Surgery"), false));
    let mut before = object.clone();
    before.attributes.insert("title".to_owned(), vec!["Nurse".to_owned()]);
    before.attributes.insert("samaccountname".to_owned(), vec!["jo".to_owned()]);
    let again = read("A81001,n1,Jo,Smith,,,Not-Listed,").unwrap().object(Some(before), "Surgery").unwrap();
    assert_eq!((again.first("title"), again.first("mail")), (Some("Nurse"), None));
    assert_eq!(
        (again.first("samaccountname"), again.first("employeetype")),
        (Some("jo"), Some("not-listed"))
    );
    let left = read("A81001,n1,,,,,,Leaver").unwrap();
    assert_eq!(left.object(None, "Surgery"), None);
    let left = left.object(Some(again.clone()), "Surgery").unwrap();
    assert!(left.is_disabled() && left.first("sn") == Some("Smith"));
    // and back
    let back = read("A81001,n1,Jo,Smith,,,not-listed,active").unwrap().object(Some(left), "Surgery").unwrap();
    assert_eq!(back, again);
}

proptest! {
    /// Registering the same row twice is registering it once.
    #[test]
    fn the_same_row_again_changes_nothing(id in "[A-Za-z0-9][A-Za-z0-9._/-]{0,20}", sn in "[A-Za-zé' -]{1,20}", tel in "[0-9 ]{0,10}") {
        if let Ok(person) = read(&format!("A81001,{id},Jo,{sn},,{tel},,")) {
            let once = person.object(None, "Surgery").unwrap();
            prop_assert_eq!(person.object(Some(once.clone()), "Surgery").unwrap(), once.clone());
            let other = read(&format!("a81001,{},Jo,{sn},,{tel},,", id.to_uppercase())).unwrap();
            prop_assert_eq!(other.guid, person.guid);
        }
    }
}
