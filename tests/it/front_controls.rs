//! Controls, and what the gateway says of itself, over real sockets and TLS.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis::ldap::codec;
use portcullis::ldap::control::Control;
use portcullis::ldap::entry::Entry;
use portcullis::ldap::message::{Message, Operation, ResultCode, Scope, Search};
use portcullis::ldap::typed_control::{PagedResults, Sort, SortAnswer, SortKey};
use portcullis::proxy::settings::Settings;

use crate::front_stage::{Answer, Client, Script, Stage, done, person, persons, say, search};

const PEOPLE: &str = "ou=people,ou=national,o=federation";

fn asking(base: &str, attributes: &[&str]) -> Operation<'static> {
    let attributes = attributes.iter().map(|name| (*name).to_owned().into()).collect();
    Operation::SearchRequest(Search { attributes, ..search(base, Scope::Base, "(objectClass=*)") })
}

fn names(entry: &Entry) -> BTreeSet<&str> {
    entry.attributes.iter().map(|attribute| attribute.description.as_str()).collect()
}

/// RFC 4512 section 5.1 and RFC 3673: operational attributes are shown to those who ask for them.
#[test]
fn t17_the_root_shows_what_was_asked_for() {
    let stage = Stage::new(persons(1));
    let mut client = stage.anonymous();
    let mut root = |attributes: &[&str]| client.ask(asking("", attributes)).entries.remove(0);
    assert_eq!(names(&root(&[])), ["objectClass"].into());
    assert_eq!(names(&root(&["*"])), ["objectClass"].into());
    assert_eq!(names(&root(&["1.1"])), [].into());
    let operational = root(&["+"]);
    assert!(!operational.has("objectClass") && operational.has("namingContexts"));
    let all = root(&["*", "+"]);
    assert_eq!(all.attributes.len(), operational.attributes.len() + 1);
    let contexts = ["namingContexts"].into();
    assert_eq!(names(&root(&["NAMINGcontexts"])), contexts);
    assert_eq!(names(&root(&["1.3.6.1.4.1.1466.101.120.5", "nonsense", "@top"])), contexts);
    assert_eq!(names(&root(&["namingContexts;lang-en"])), [].into());
    let features: Vec<&str> = all.texts("supportedFeatures").collect();
    assert_eq!(features, ["1.3.6.1.4.1.4203.1.5.1", "1.3.6.1.4.1.4203.1.5.3"]);
}

/// The absolute filters of RFC 4526 that the root announces.
#[test]
fn true_and_false_filters_are_honoured() {
    let stage = Stage::new(persons(2));
    let mut client = stage.client();
    for (base, scope, everything) in
        [("", Scope::Base, 1), ("ou=RXA,o=federation", Scope::Base, 1), (PEOPLE, Scope::Subtree, 2)]
    {
        assert_eq!(client.search(base, scope, "(&)").entries.len(), everything, "{base}");
        assert_eq!(client.search(base, scope, "(|)").entries.len(), 0, "{base}");
    }
    assert!(stage.directory.heard().iter().all(|heard| !heard.contains("And([])")));
}

#[test]
fn t01_the_subschema_names_what_is_released() {
    let stage = Stage::new(persons(1));
    let subschema = asking("cn=subschema", &["*", "attributeTypes", "2.5.21.6"]);
    assert_eq!(stage.anonymous().ask(subschema.clone()).code, ResultCode::STRONGER_AUTH_REQUIRED);
    let mut client = stage.client();
    let entry = client.ask(subschema).entries.remove(0);
    assert_eq!(names(&entry), ["attributeTypes", "cn", "objectClass", "objectClasses"].into());
    let text: String = entry.texts("attributeTypes").chain(entry.texts("objectClasses")).collect();
    for (name, is_there) in
        [("'mail'", true), ("'sn'", true), ("'name'", true), ("employeeNumber", false), ("manager", false)]
    {
        assert_eq!(text.contains(name), is_there, "{name}");
    }
    let plain = client.ask(asking("cn=subschema", &[])).entries.remove(0);
    assert_eq!(names(&plain), ["cn", "objectClass"].into());
}

/// A directory that pages `count` persons, and what its clients gave up.
fn paging(count: usize, given_up: Arc<Mutex<usize>>) -> Arc<Script> {
    let live: Mutex<HashMap<Vec<u8>, usize>> = Mutex::default();
    Arc::new(move |message, stream| {
        let Operation::SearchRequest(_) = message.operation else { return true };
        let Some(control) = message.controls.first() else {
            (1..=count).for_each(|n| say(stream, message.id, Operation::SearchEntry(person(n).as_wire())));
            say(stream, message.id, done(ResultCode::SUCCESS));
            return true;
        };
        let page = PagedResults::read(control.value.as_deref().unwrap()).unwrap();
        let mut live = live.lock().unwrap();
        let from = match page.cookie.is_empty() {
            true => 0,
            false => live.remove(&page.cookie).expect("a cookie that was not given"),
        };
        if page.size == 0 {
            *given_up.lock().unwrap() += 1;
        }
        let end = (from + page.size as usize).min(count);
        for n in from..end {
            say(stream, message.id, Operation::SearchEntry(person(n + 1).as_wire()));
        }
        let mut cookie = Vec::new();
        if end < count && page.size > 0 {
            cookie = format!("{end} of {} on {}", count, stream.peer_addr().unwrap()).into_bytes();
            live.insert(cookie.clone(), end);
        }
        let controls = vec![PagedResults { size: 77, cookie }.control(false)];
        let last = Message { id: message.id, operation: done(ResultCode::SUCCESS), controls };
        stream.write_all(&codec::to_bytes(&last)).is_ok()
    })
}

fn page(client: &mut Client, size: u32, cookie: &[u8]) -> (Answer, Vec<u8>) {
    let control = PagedResults { size, cookie: cookie.to_vec() }.control(true);
    let request = Operation::SearchRequest(search(PEOPLE, Scope::Subtree, "(uid=*)"));
    let answer = client.ask_with(request, vec![control]);
    let control = client.controls.iter().find(|control| control.oid == PagedResults::OID);
    let paged = control.map(|control| PagedResults::read(control.value.as_deref().unwrap()).unwrap());
    assert!(paged.as_ref().is_none_or(|paged| paged.size == 0), "T07: an estimate came through");
    (answer, paged.unwrap_or_default().cookie)
}

#[test]
fn t31_pages_over_sockets() {
    let given_up = Arc::new(Mutex::new(0));
    let stage = Stage::new(paging(25, given_up.clone()));
    let mut client = stage.client();
    let (mut cookie, mut lengths, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut old = Vec::new();
    loop {
        let (answer, next) = page(&mut client, 10, &cookie);
        assert_eq!(answer.code, ResultCode::SUCCESS);
        lengths.push(answer.entries.len());
        seen.extend(answer.entries.into_iter().map(|entry| entry.dn));
        old = std::mem::replace(&mut cookie, next).into_iter().chain(old).collect();
        if cookie.is_empty() {
            break;
        }
    }
    assert_eq!((lengths, seen.len()), (vec![10, 10, 5], 25));
    // Another connection of the same requester cannot go on where this one is.
    let (_, cookie) = page(&mut client, 10, b"");
    let mut other = stage.client();
    assert_eq!(page(&mut other, 10, &cookie).0.code, ResultCode::UNWILLING_TO_PERFORM);
    assert_eq!(page(&mut other, 10, &old).0.code, ResultCode::UNWILLING_TO_PERFORM);
    assert_eq!(page(&mut client, 10, &cookie).0.entries.len(), 10);
    // The client goes away: the directory is told that nobody goes on.
    assert_eq!(*given_up.lock().unwrap(), 0);
    drop(client);
    let end = Instant::now() + Duration::from_secs(5);
    while *given_up.lock().unwrap() == 0 {
        assert!(Instant::now() < end, "the directory was not told");
        std::thread::yield_now();
    }
}

/// New agreements end what was begun under the old ones.
#[test]
fn t31_a_reload_voids_cookies() {
    let stage = Stage::new(paging(25, Arc::default()));
    let mut client = stage.client();
    let (_, cookie) = page(&mut client, 10, b"");
    stage.reload(&crate::front_stage::AGREEMENTS.replace(", mail", ""));
    let answer = page(&mut client, 10, &cookie).0;
    assert_eq!((answer.code, answer.entries.len()), (ResultCode::UNWILLING_TO_PERFORM, 0));
    assert_eq!(answer.text, "the paging cookie is not valid here; begin again");
}

#[test]
fn sorted_over_two_directories() {
    let stage = Stage::with(persons(3), Settings { shards: 1, ..Settings::default() });
    let mut client = stage.client();
    let key = SortKey { attribute: "uid".to_owned(), rule: None, reverse: true };
    let request =
        Search { attributes: vec!["cn".into()], ..search("o=federation", Scope::Subtree, "(uid=*)") };
    let answer = client.ask_with(Operation::SearchRequest(request), vec![Sort(vec![key]).control(true)]);
    let order: Vec<&str> = answer.entries.iter().filter_map(|entry| entry.text("cn")).collect();
    assert_eq!(order, ["Person 3", "Person 3", "Person 2", "Person 2", "Person 1", "Person 1"]);
    assert!(answer.entries.iter().all(|entry| !entry.has("uid")), "the key was not asked for");
    let sorted = client.controls.iter().find(|control| control.oid == SortAnswer::OID).unwrap();
    assert_eq!(sorted.value.as_deref(), Some(&b"\x30\x03\x0a\x01\x00"[..]));
}

/// A control that is not obeyed leaves no trace in what the directory is asked (T51, T63).
#[test]
fn t63_dirsync_is_never_passed_on() {
    let stage = Stage::new(persons(1));
    let mut client = stage.client();
    let request = || Operation::SearchRequest(search(PEOPLE, Scope::Subtree, "(uid=n1)"));
    let dirsync = |critical| Control {
        oid: "1.2.840.113556.1.4.841".into(),
        critical,
        value: Some(b"\x30\x08\x02\x01\x00\x02\x01\x00\x04\x00"[..].into()),
    };
    let answer = client.ask_with(request(), vec![dirsync(true)]);
    assert_eq!(answer.code, ResultCode::UNAVAILABLE_CRITICAL_EXTENSION);
    assert!(stage.directory.heard().is_empty());
    let with = client.ask_with(request(), vec![dirsync(false)]);
    assert!(client.controls.is_empty());
    assert_eq!(with, client.ask(request()));
    let heard = stage.directory.heard();
    assert_eq!(heard.first(), heard.last());
}
