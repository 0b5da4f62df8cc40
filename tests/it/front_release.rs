//! Who exists at all, and what of them: entry filters, levels of not being listed and shapes of filter, over real sockets.

use std::sync::Arc;

use portcullis::ldap::entry::{Attribute, Entry};
use portcullis::ldap::filter::Assertion;
use portcullis::ldap::message::{Compare, Operation, ResultCode, Scope, Search};

use crate::front_stage::{AGREEMENTS, NATIONAL, Script, Stage, done, person, say, search};

/// Answers every search with these people, whatever was asked.
fn people(people: Vec<Entry>) -> Arc<Script> {
    Arc::new(move |message, stream| {
        if let Operation::SearchRequest(_) = message.operation {
            for entry in &people {
                say(stream, message.id, Operation::SearchEntry(entry.as_wire()));
            }
            say(stream, message.id, done(ResultCode::SUCCESS));
        }
        true
    })
}

fn with(n: usize, name: &str, value: &str) -> Entry {
    let mut entry = person(n);
    let values = vec![value.as_bytes().to_vec()];
    entry.attributes.push(Attribute { description: name.to_owned(), values });
    entry
}

fn uids(entries: &[Entry]) -> Vec<String> {
    let uid = |entry: &Entry| String::from_utf8(entry.values("uid").next().unwrap().to_vec()).unwrap();
    entries.iter().map(uid).collect()
}

/// A directory that does not know an attribute of the entry filter makes its negation Undefined: it is not asked for it,
/// and what comes is held against the whole filter here.
#[test]
fn an_entry_filter_that_the_directory_does_not_know_hides_nobody_else() {
    let stage =
        Stage::new(people(vec![person(1), with(2, "notListed", "TRUE"), with(3, "notListed", "FALSE")]));
    stage.reload(&AGREEMENTS.replace("limits:", "entries: '(&(mail=*)(!(notListed=TRUE)))'\nlimits:"));
    let mut client = stage.client();
    let answer = client.search(NATIONAL, Scope::Subtree, "(sn=Person)");
    assert_eq!(
        (answer.code, uids(&answer.entries)),
        (ResultCode::SUCCESS, vec!["n1".to_owned(), "n3".into()])
    );
    assert!(answer.entries.iter().all(|entry| !entry.has("notListed")), "it was looked at, not shown");
    let heard = stage.directory.heard().pop().unwrap();
    assert!(heard.contains("Present(\"mail\")") && heard.contains("notListed"), "{heard}");
    assert!(!heard.contains("Assertion { attribute: \"notListed\""), "{heard}");
    // counting is ours: the directory's own limit would count who is not shown
    assert!(heard.contains("size_limit: 0"), "{heard}");
    let limited = Search { size_limit: 2, ..search(NATIONAL, Scope::Subtree, "(sn=Person)") };
    assert_eq!(client.ask(Operation::SearchRequest(limited)).code, ResultCode::SUCCESS);
}

#[test]
fn who_is_hidden_is_hidden_from_compares_too() {
    let stage = Stage::new(people(vec![with(2, "notListed", "TRUE")]));
    let compare = |stage: &Stage| {
        let assertion = Assertion::new("cn", &b"Person 2"[..]);
        let dn = format!("uid=n2,ou=people,{NATIONAL}").into();
        stage.client().ask(Operation::CompareRequest(Compare { dn, assertion })).code
    };
    assert_eq!(compare(&stage), ResultCode::COMPARE_TRUE);
    stage.reload(&AGREEMENTS.replace("limits:", "entries: '(!(notListed=TRUE))'\nlimits:"));
    assert_eq!(compare(&stage), ResultCode::NO_SUCH_OBJECT);
}

const LISTING: &str = "\
listing:
  attribute: employeeType
  not_findable: [not-listed]
  by_address_only: [by-address]
  without_contact: [no-contact]
  contact: [mail]
limits:";

#[test]
fn levels_of_not_being_listed() {
    let stage = Stage::new(people(vec![person(1), with(2, "employeeType", "No-Contact")]));
    stage.reload(&AGREEMENTS.replace("limits:", LISTING));
    let mut client = stage.client();
    let answer = client.search(NATIONAL, Scope::Subtree, "(sn=Person)");
    assert_eq!(uids(&answer.entries), ["n1", "n2"]);
    assert!(answer.entries[0].has("mail") && !answer.entries[1].has("mail"));
    assert!(answer.entries.iter().all(|entry| !entry.has("employeeType")));
    // without contact details: not found by them, and found where they are not there
    assert_eq!(uids(&client.search(NATIONAL, Scope::Subtree, "(mail=n2@national.test)").entries).len(), 0);
    assert_eq!(uids(&client.search(NATIONAL, Scope::Subtree, "(&(sn=Person)(!(mail=*)))").entries), ["n2"]);
    let asked = |client: &mut crate::front_stage::Client, filter: &str| {
        client.search(NATIONAL, Scope::Subtree, filter);
        stage.directory.heard().pop().unwrap()
    };
    let broad = asked(&mut client, "(sn=Person)");
    assert!(broad.contains("Not") && broad.matches("employeeType").count() == 3, "{broad}");
    let known = asked(&mut client, "(&(objectClass=person)(mail=n3@national.test))");
    assert_eq!(known.matches("employeeType").count(), 2, "who is found by address is not left out: {known}");
}

#[test]
fn shapes_of_filter_that_are_not_taken() {
    let stage = Stage::new(people(vec![person(1)]));
    let filters = "filters: { shortest: 3, leading_wildcard: false, inequality: false }\nlimits:";
    stage.reload(&AGREEMENTS.replace("limits:", filters));
    let mut client = stage.client();
    for filter in ["(cn=Pe*)", "(cn=*son 1)", "(|(cn=Person 1)(sn>=P))", "(!(uid<=z))"] {
        let answer = client.search(NATIONAL, Scope::Subtree, filter);
        assert_eq!((answer.code, answer.entries.len()), (ResultCode::UNWILLING_TO_PERFORM, 0), "{filter}");
        assert!(answer.text.contains("*") || answer.text.contains(">="), "{}", answer.text);
    }
    assert!(stage.directory.heard().is_empty(), "nothing was asked");
    // what is hidden has no shape
    for filter in ["(cn=Per*)", "(cn=Person 1)", "(|(cn=Person 1)(employeeNumber=4*))"] {
        let answer = client.search(NATIONAL, Scope::Subtree, filter);
        assert_eq!((answer.code, answer.entries.len()), (ResultCode::SUCCESS, 1), "{filter}");
    }
}

/// T39: bases that only a directory could resolve are no names here, for everybody alike.
#[test]
fn alternative_bases_are_refused_alike() {
    let stage = Stage::new(people(vec![person(1)]));
    let mut client = stage.client();
    for base in [
        "<GUID=4db40800-7fc2-47a1-b529-829b96a124c2>",
        "<SID=S-1-5-21-1-2-3-500>",
        "<SID=0105000000000005150000>",
        "<WKGUID=a9d1ca15768811d1aded00c04fd8d5cd,ou=RXA,o=federation>",
        "<GUID=4db40800-7fc2-47a1-b529-829b96a124c2>;uid=n1,ou=people,ou=national,o=federation",
    ] {
        for scope in [Scope::Base, Scope::One, Scope::Subtree] {
            let answer = client.search(base, scope, "(objectClass=*)");
            assert_eq!((answer.code, answer.entries.len()), (ResultCode::INVALID_DN_SYNTAX, 0), "{base}");
        }
    }
    assert!(stage.directory.heard().is_empty());
}
