//! Every control on every request, critical and not (T51, T53, T19, T26, T63).

use super::*;
use crate::ldap::entry::WireEntry;
use crate::ldap::filter::Assertion;
use crate::ldap::message::{Compare, Extended, Modify, ModifyDn, ResultCode, WHO_AM_I};
use crate::proxy::engine::controls::supported;

/// Controls that clients of Active Directory and of others send, and that change what a search shows, whose rights it
/// uses or what an operation does. None of them may have any effect here.
const REFUSED: &[&str] = &[
    "1.2.840.113556.1.4.841",     // DirSync
    "1.2.840.113556.1.4.1504",    // attribute scoped query
    "1.2.840.113556.1.4.529",     // extended DN
    "1.2.840.113556.1.4.417",     // show deleted
    "1.2.840.113556.1.4.2064",    // show recycled
    "1.2.840.113556.1.4.2065",    // show deactivated links
    "1.2.840.113556.1.4.528",     // notification
    "1.2.840.113556.1.4.801",     // security descriptor flags
    "1.2.840.113556.1.4.970",     // statistics
    "1.2.840.113556.1.4.2211",    // expected entry count
    "1.2.840.113556.1.4.1339",    // domain scope
    "1.2.840.113556.1.4.1340",    // search options: phantom root
    "1.2.840.113556.1.4.1338",    // verify name
    "1.2.840.113556.1.4.1341",    // RODC promotion
    "1.2.840.113556.1.4.1413",    // permissive modify
    "1.2.840.113556.1.4.1852",    // quota
    "1.2.840.113556.1.4.1907",    // shutdown notify
    "1.2.840.113556.1.4.1948",    // range retrieval without error
    "1.2.840.113556.1.4.1974",    // force update
    "1.2.840.113556.1.4.2026",    // input DN
    "1.2.840.113556.1.4.2066",    // policy hints, deprecated
    "1.2.840.113556.1.4.2239",    // policy hints
    "1.2.840.113556.1.4.2090",    // DirSync extension
    "1.2.840.113556.1.4.2204",    // tree delete extension
    "1.2.840.113556.1.4.2205",    // update statistics
    "1.2.840.113556.1.4.2206",    // search hints
    "1.2.840.113556.1.4.2255",    // set owner
    "1.2.840.113556.1.4.2256",    // bypass quota
    "1.2.840.113556.1.4.2309",    // link ttl
    "1.2.840.113556.1.4.2330",    // set corrupt link
    "1.2.840.113556.1.4.2354",    // archive
    "1.2.840.113556.1.4.805",     // tree delete
    "1.2.840.113556.1.4.619",     // lazy commit
    "1.2.840.113556.1.4.521",     // cross-domain move
    "1.3.6.1.1.12",               // assertion
    "1.3.6.1.1.13.1",             // pre-read
    "1.3.6.1.1.13.2",             // post-read
    "1.3.6.1.1.22",               // don't use copy
    "1.3.6.1.1.21.2",             // transaction
    "1.3.6.1.4.1.4203.1.9.1.1",   // content synchronisation
    "1.3.6.1.4.1.4203.1.10.1",    // subentries
    "1.3.6.1.4.1.4203.1.10.2",    // no operation
    "1.3.6.1.4.1.4203.666.5.16",  // dereference
    "1.3.6.1.4.1.4203.666.5.12",  // relax
    "1.3.6.1.4.1.42.2.27.8.5.1",  // password policy
    "1.3.6.1.4.1.42.2.27.9.5.2",  // effective rights
    "1.3.6.1.4.1.21008.108.63.1", // session tracking
    "1.3.6.1.1.7.1",              // cancel as a control: nobody's
    "2.16.840.1.113730.3.4.3",    // persistent search
    "2.16.840.1.113730.3.4.9",    // virtual list view
    "2.16.840.1.113730.3.4.15",   // authorization identity answer
    "2.16.840.1.113730.3.4.16",   // authorization identity
    "2.16.840.1.113730.3.4.17",   // real attributes only
    "2.16.840.1.113730.3.4.19",   // virtual attributes only
    "1.2.3.4.5",                  // nobody's
];
const PROXIED: &[&str] = &["2.16.840.1.113730.3.4.18", "2.16.840.1.113730.3.4.12"];
const MANAGE_DSA_IT: &str = "2.16.840.1.113730.3.4.2";

/// One of each kind of request that is answered, with how it is called.
fn requests() -> Vec<(&'static str, Wire<'static>)> {
    let name = "cn=a,ou=Staff,ou=RXA,o=federation";
    let compare = Compare { dn: name.into(), assertion: Assertion::new("cn", b"a".as_slice()) };
    let rename =
        ModifyDn { dn: name.into(), new_rdn: "cn=b".into(), delete_old_rdn: true, new_superior: None };
    let authentication = Authentication::Sasl { mechanism: "EXTERNAL".into(), credentials: None };
    vec![
        ("bind", Wire::BindRequest(Bind { version: 3, name: "".into(), authentication })),
        ("search", Wire::SearchRequest(search("(uid=ann)"))),
        ("compare", Wire::CompareRequest(compare)),
        ("add", Wire::AddRequest(WireEntry { dn: name.into(), attributes: Vec::new() })),
        ("delete", Wire::DeleteRequest(name.into())),
        ("modify", Wire::ModifyRequest(Modify { dn: name.into(), changes: Vec::new() })),
        ("rename", Wire::ModifyDnRequest(rename)),
        ("extended", Wire::ExtendedRequest(Extended { name: WHO_AM_I.into(), value: None })),
    ]
}

/// What the client hears and the directory is asked, when `controls` are on the request.
fn outcome(operation: &Wire<'static>, controls: &[Control<'static>]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut rig = Rig::new(None);
    let client = rig.client();
    // A connection is there, so that whatever is asked is asked at once.
    rig.search(client, 2, "(uid=first)");
    let upstream = rig.connect();
    let first = id_of(&rig.asked(upstream)[0]);
    rig.tell(upstream, first, done());
    rig.heard(client);
    let message = Message { id: 3, operation: operation.clone(), controls: controls.to_vec() };
    rig.engine.client_bytes(client, &codec::to_bytes(&message));
    rig.wishes();
    let asked = rig.asked(upstream);
    for question in &asked {
        let id = id_of(question);
        rig.tell(upstream, id, Wire::SearchEntry(person("ann").as_wire()));
        rig.tell(upstream, id, done());
    }
    (rig.engine.client_output(client).unwrap().clone(), asked)
}

fn control(oid: &'static str, critical: bool, value: Option<&'static [u8]>) -> Control<'static> {
    Control { oid: oid.into(), critical, value: value.map(Into::into) }
}

fn code(bytes: &[u8]) -> ResultCode {
    let all = messages(bytes);
    let message = codec::decode(all.last().unwrap(), &Limits::from_directory()).unwrap();
    match message.operation {
        Wire::BindResponse(bound) => bound.outcome.code,
        Wire::ExtendedResponse(extended) => extended.outcome.code,
        Wire::SearchDone(o)
        | Wire::CompareResponse(o)
        | Wire::AddResponse(o)
        | Wire::DeleteResponse(o)
        | Wire::ModifyResponse(o)
        | Wire::ModifyDnResponse(o) => o.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn t51_t53_t19_t63_a_control_that_is_not_obeyed_refuses_or_does_nothing() {
    let supported: Vec<&str> = supported().collect();
    for (kind, operation) in &requests() {
        let bare = outcome(operation, &[]);
        let values = [None, Some(&b"\x30\x00"[..]), Some(&b"rubbish"[..])];
        for (oid, value) in REFUSED.iter().zip(values.into_iter().cycle()) {
            assert!(!supported.contains(oid), "{oid}");
            let (heard, asked) = outcome(operation, &[control(oid, true, value)]);
            assert_eq!(messages(&heard).len(), 1, "{kind} {oid}");
            assert_eq!(code(&heard), ResultCode::UNAVAILABLE_CRITICAL_EXTENSION, "{kind} {oid}");
            assert!(asked.is_empty(), "{kind} {oid}");
            assert_eq!(outcome(operation, &[control(oid, false, value)]), bare, "{kind} {oid}");
        }
    }
}

#[test]
fn t26_proxied_authorization_is_never_ignored() {
    for (kind, operation) in &requests() {
        let bare = outcome(operation, &[]);
        for oid in PROXIED {
            let refused = |critical| outcome(operation, &[control(oid, critical, Some(b"dn:cn=somebody"))]);
            let (heard, asked) = refused(true);
            assert_eq!(code(&heard), ResultCode::UNAVAILABLE_CRITICAL_EXTENSION, "{kind}");
            assert!(asked.is_empty(), "{kind}");
            let (heard, asked) = refused(false);
            if *kind == "bind" {
                // A bind acts for nobody yet: RFC 4370 does not reach it.
                assert_eq!((heard, asked), bare);
                continue;
            }
            assert_eq!(code(&heard), ResultCode::PROTOCOL_ERROR, "{kind}");
            assert!(asked.is_empty() && messages(&heard).len() == 1, "{kind}");
        }
    }
}

#[test]
fn t51_manage_dsa_it_is_obeyed_by_doing_nothing_where_it_has_a_meaning() {
    for (kind, operation) in &requests() {
        let bare = outcome(operation, &[]);
        let means_something = !matches!(*kind, "bind" | "extended");
        for critical in [true, false] {
            let (heard, asked) = outcome(operation, &[control(MANAGE_DSA_IT, critical, None)]);
            if critical && !means_something {
                assert_eq!(code(&heard), ResultCode::UNAVAILABLE_CRITICAL_EXTENSION, "{kind}");
                assert!(asked.is_empty());
            } else {
                assert_eq!((heard, asked), bare, "{kind}");
            }
            if means_something {
                for bad in [
                    vec![control(MANAGE_DSA_IT, critical, Some(b""))],
                    vec![control(MANAGE_DSA_IT, critical, None), control(MANAGE_DSA_IT, false, None)],
                ] {
                    let (heard, asked) = outcome(operation, &bad);
                    assert_eq!(code(&heard), ResultCode::PROTOCOL_ERROR, "{kind}");
                    assert!(asked.is_empty(), "{kind}");
                }
            }
        }
    }
}

/// Abandon and unbind get no answer, so no control can refuse them.
#[test]
fn t51_controls_on_abandon_and_unbind_are_ignored() {
    for oid in REFUSED.iter().chain(PROXIED) {
        let mut rig = Rig::new(None);
        let client = rig.client();
        rig.search(client, 2, "(uid=ann)");
        let upstream = rig.connect();
        let question = id_of(&rig.asked(upstream)[0]);
        let with = |id, operation| {
            codec::to_bytes(&Message { id, operation, controls: vec![control(oid, true, None)] })
        };
        rig.engine.client_bytes(client, &with(3, Wire::AbandonRequest(2)));
        assert!(short(&rig.asked(upstream)[0]).ends_with(&format!("abandon {question}")), "{oid}");
        assert_eq!(rig.heard(client), Vec::<String>::new(), "{oid}");
        rig.engine.client_bytes(client, &with(4, Wire::UnbindRequest));
        rig.wishes();
        assert_eq!(rig.engine.counts().0, 0, "{oid}");
    }
}

/// A bind that is refused for its control leaves nobody bound and nothing in flight (T24, T25).
#[test]
fn t51_a_refused_bind_forgets_who_was_bound() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    rig.search(client, 2, "(uid=ann)");
    let authentication = Authentication::Sasl { mechanism: "EXTERNAL".into(), credentials: None };
    let bind = Wire::BindRequest(Bind { version: 3, name: "".into(), authentication });
    let message = Message { id: 3, operation: bind, controls: vec![control("1.2.3.4.5", true, None)] };
    rig.engine.client_bytes(client, &codec::to_bytes(&message));
    assert_eq!(rig.engine.counts().1, 0);
    rig.search(client, 4, "(uid=ann)");
    let heard = rig.heard(client);
    assert_eq!(heard, ["3 bind unavailableCriticalExtension (12)", "4 done strongerAuthRequired (8)"]);
}

/// What the root entry offers is what is obeyed.
#[test]
fn t51_the_root_lists_what_is_obeyed() {
    let mut rig = Rig::new(None);
    let client = rig.client();
    let root = Search { base: "".into(), scope: Scope::Base, ..search("(objectClass=*)") };
    let root = Search { attributes: vec!["supportedControl".into()], ..root };
    rig.say(client, 2, Wire::SearchRequest(root));
    let heard = rig.engine.client_output(client).unwrap().clone();
    let all = messages(&heard);
    let Wire::SearchEntry(entry) = codec::decode(&all[0], &Limits::from_directory()).unwrap().operation
    else {
        panic!("no root entry");
    };
    let entry = entry.to_entry();
    let listed: Vec<&str> = entry.texts("supportedControl").collect();
    assert_eq!(listed, supported().collect::<Vec<_>>());
    assert!(listed.contains(&MANAGE_DSA_IT));
    assert!(!REFUSED.iter().chain(PROXIED).any(|oid| listed.contains(oid)));
}

/// Operations inside operations, and those that change a session's or an entry's life.
#[test]
fn t53_extended_operations_that_carry_others_are_refused() {
    for oid in [
        "1.2.840.113556.1.4.2212",    // batch request
        "1.2.840.113556.1.4.1781",    // fast bind
        "1.3.6.1.4.1.1466.101.119.1", // refresh of dynamic entries
        "1.3.6.1.1.21.1",             // start of a transaction
        "1.3.6.1.1.21.3",             // end of a transaction
        "1.3.6.1.1.19",               // turn
        "1.3.6.1.4.1.4203.1.11.1",    // change of a password
        "1.2.3.4.5",                  // nobody's
    ] {
        let request = Wire::ExtendedRequest(Extended { name: oid.into(), value: Some(b"0"[..].into()) });
        let (heard, asked) = outcome(&request, &[]);
        assert_eq!(code(&heard), ResultCode::PROTOCOL_ERROR, "{oid}");
        assert!(asked.is_empty(), "{oid}");
    }
}
