//! What hostile domain controllers do, and what their requesters are told.

use std::io::Write;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use portcullis::ldap::ber;
use portcullis::ldap::control::Control;
use portcullis::ldap::message::{
    BindOutcome, ExtendedOutcome, Intermediate, NOTICE_OF_DISCONNECTION, Operation, Outcome, ResultCode,
    Scope,
};
use portcullis::ldap::typed_control::{PagedResults, Sort, SortAnswer, SortKey};

use crate::front_controller::{
    Play, Request, Wire, bytes, done, element, entry, ldap, message, named, nested, people, probe, result,
    with_attribute, with_controls,
};
use crate::front_stage::{Answer, Client, LOCAL, person};

/// Where a fault is counted, with the member.
pub enum Counted {
    Fault(&'static str),
    /// An entry that was not released.
    Dropped,
    /// A question without an answer.
    Unavailable,
    /// It is no fault, or none that can be told from an honest answer.
    Nothing,
}

/// One behaviour.
pub struct Case {
    pub name: &'static str,
    pub play: Arc<Play>,
    /// What is asked.
    pub scope: Scope,
    pub controls: Vec<Control<'static>>,
    /// The gateway pages by itself at this member.
    pub pages: Option<u32>,
    /// What the requester is told: one of these.
    pub told: &'static [ResultCode],
    pub entries: RangeInclusive<usize>,
    pub counted: Counted,
    pub look: Option<fn(&Answer, &Client)>,
}

/// Told `unavailable`, with no entry.
pub fn case(name: &'static str, counted: Counted, play: Arc<Play>) -> Case {
    Case {
        name,
        play,
        scope: Scope::Subtree,
        controls: Vec::new(),
        pages: None,
        told: &[ResultCode::UNAVAILABLE],
        entries: 0..=0,
        counted,
        look: None,
    }
}

impl Case {
    fn with(self, entries: usize) -> Case {
        Case { entries: entries..=entries, ..self }
    }

    fn success(self, entries: usize) -> Case {
        Case { told: &[ResultCode::SUCCESS], ..self.with(entries) }
    }
}

pub fn script(script: impl Fn(&mut Wire, &Request) -> bool + Send + Sync + 'static) -> Arc<Play> {
    ldap(Arc::new(script))
}

/// Answers a search with these bytes for its message id, and listens on.
fn sends(answer: impl Fn(i32) -> Vec<u8> + Send + Sync + 'static) -> Arc<Play> {
    script(move |wire, request| wire.send(&answer(request.id)))
}

fn fault(
    name: &'static str,
    reason: &'static str,
    answer: impl Fn(i32) -> Vec<u8> + Send + Sync + 'static,
) -> Case {
    case(name, Counted::Fault(reason), sends(answer))
}

/// Sends `bytes` one by one with a pause between them.
fn drip(wire: &mut Wire, bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| {
        std::thread::sleep(Duration::from_millis(50));
        wire.send(std::slice::from_ref(byte))
    })
}

const ENTRY: u8 = 0x64;
const DONE: u8 = 0x65;

fn entry_of(contents: &[u8]) -> Vec<u8> {
    let name = element(ber::OCTET_STRING, format!("uid=n1,{}", people()).as_bytes());
    element(ENTRY, &[&name, contents].concat())
}

/// An attribute list with one attribute of these values, elements included.
fn list_of(description: &[u8], values: &[u8]) -> Vec<u8> {
    let attribute = [element(ber::OCTET_STRING, description), element(ber::SET, values)].concat();
    element(ber::SEQUENCE, &element(ber::SEQUENCE, &attribute))
}

/// Lengths, nesting and structure.
pub fn messages() -> Vec<Case> {
    const LEVELS: usize = 1_000_000;
    let plain_done = |id| done(id, ResultCode::SUCCESS);
    let mut cases = vec![
        fault("noise", "framing", |_| b"\xff\xfe noise".to_vec()),
        fault("http", "framing", |_| b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
        fault("2 GiB to come", "framing", |_| vec![0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]),
        fault("2^63 bytes to come", "framing", |_| vec![0x30, 0x88, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        fault("just too long", "framing", |_| vec![0x30, 0x83, 0x80, 0, 1]),
        fault("indefinite length", "framing", |_| vec![0x30, 0x80, 2, 1, 1, 0x65, 0x80, 0, 0, 0, 0]),
        fault("nothing inside", "malformed", |_| vec![0x30, 0]),
        fault("a negative id", "malformed", |_| vec![0x30, 5, 2, 1, 0xff, 0x65, 0]),
        fault("an id of nine bytes", "malformed", |_| {
            vec![0x30, 13, 2, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x65, 0]
        }),
        fault("bytes behind the result, inside", "malformed", move |id| {
            message(id, &[element(DONE, &[0x0a, 1, 0, 4, 0, 4, 0]), vec![5, 0]].concat())
        }),
        fault("bytes behind the result, outside", "framing", move |id| {
            [entry(id, 1), plain_done(id), vec![0xde, 0xad]].concat()
        })
        .success(1),
        fault("an operation nobody knows", "malformed", |id| message(id, &element(0x7e, &[]))),
        fault("deep: operations", "malformed", |id| message(id, &nested(0x30, LEVELS))),
        fault("deep: attributes", "malformed", |id| message(id, &entry_of(&nested(0x30, LEVELS)))),
        fault("deep: values", "malformed", |id| {
            message(id, &entry_of(&list_of(b"mail", &nested(0x31, LEVELS))))
        }),
        fault("deep: a referral", "malformed", |id| {
            let outcome = [vec![0x0a, 1, 10, 4, 0, 4, 0], nested(0xa3, LEVELS)].concat();
            message(id, &element(DONE, &outcome))
        }),
        fault("deep: controls", "malformed", move |id| {
            message(id, &[element(DONE, &[0x0a, 1, 0, 4, 0, 4, 0]), nested(0xa0, LEVELS)].concat())
        }),
        fault("two million values", "malformed", |id| {
            message(id, &entry_of(&list_of(b"mail", &[4, 0].repeat(2_000_000))))
        }),
        fault("five thousand attributes", "malformed", |id| {
            let one = element(ber::SEQUENCE, &[element(4, b"mail"), element(ber::SET, &[])].concat());
            message(id, &entry_of(&element(ber::SEQUENCE, &one.repeat(5_000))))
        }),
        fault("an attribute without a name", "malformed", |id| {
            message(id, &entry_of(&list_of(b"bad name\0", &[4, 1, b'x'])))
        }),
        fault("a name that is not UTF-8", "malformed", |id| {
            let name = element(4, b"uid=\xff\xfe,ou=people,dc=national,dc=test");
            message(id, &element(ENTRY, &[name, vec![0x30, 0]].concat()))
        }),
        fault("a name of 9,000 bytes", "malformed", |id| named(id, &"x".repeat(9_000))),
    ];
    cases.extend(tolerated());
    cases.extend([
        case(
            "the longest message, byte by byte",
            Counted::Fault("slow_message"),
            script(|wire, _| {
                wire.send(&[0x30, 0x83, 0x7f, 0xff, 0xff]) && drip(wire, &[0x02].repeat(10_000))
            }),
        ),
        case(
            "an answer, byte by byte",
            Counted::Fault("slow_message"),
            script(|wire, request| drip(wire, &entry(request.id, 1))),
        ),
    ]);
    cases
}

/// What BER and LDAP allow, however odd.
fn tolerated() -> Vec<Case> {
    vec![
        case(
            "lengths that are longer than they must be",
            Counted::Nothing,
            sends(|id| {
                let mut number = Vec::new();
                ber::put_int(&mut number, ber::INTEGER, id);
                let mut contents = vec![0x02, 0x84, 0, 0, 0];
                contents.extend_from_slice(&number[1..]);
                contents.extend([DONE, 0x84, 0, 0, 0, 7, 0x0a, 1, 0, 4, 0, 4, 0]);
                [vec![0x30, 0x84, 0, 0, 0, contents.len() as u8], contents].concat()
            }),
        )
        .success(0),
        Case {
            look: Some(|answer, _| assert_eq!(answer.entries[0].values("mail").count(), 100_000)),
            ..case(
                "an entry with 100,000 values",
                Counted::Nothing,
                sends(|id| {
                    let values = (0..100_000).map(|n| format!("n{n}@x").into_bytes()).collect();
                    [with_attribute(id, "mail", values), done(id, ResultCode::SUCCESS)].concat()
                }),
            )
            .success(1)
        },
        Case {
            look: Some(|answer, _| assert_eq!(answer.entries[0].first("cn"), Some(&b"\xff\xfe"[..]))),
            ..case(
                "a value that is not UTF-8",
                Counted::Nothing,
                sends(|id| {
                    let entry = with_attribute(id, "cn", vec![vec![0xff, 0xfe]]);
                    [entry, done(id, ResultCode::SUCCESS)].concat()
                }),
            )
            .success(1)
        },
    ]
}

/// Message ids, operations, names and results.
pub fn identities() -> Vec<Case> {
    let outcome = || Outcome::new(ResultCode::SUCCESS, "");
    let notice = |id| {
        let name = Some(NOTICE_OF_DISCONNECTION.into());
        let outcome = Outcome::new(ResultCode::UNAVAILABLE, "");
        let notice = Operation::ExtendedResponse(ExtendedOutcome { outcome, name, value: None });
        [entry(id, 1), bytes(0, notice)].concat()
    };
    let mut cases = vec![
        fault("an id never asked", "unknown_id", |id| done(id + 77, ResultCode::SUCCESS)),
        fault("an entry to an id never asked", "unknown_id", |id| entry(id + (1 << 20), 1)),
        fault("the greatest id", "unknown_id", |_| done(i32::MAX, ResultCode::SUCCESS)),
        fault("a probe that was never sent", "unknown_id", |_| done((1 << 30) + 1, ResultCode::SUCCESS)),
        fault("id 0 without a notice", "disconnected", |_| done(0, ResultCode::SUCCESS)),
        fault("a notice of disconnection", "disconnected", notice).with(1),
        fault("the notice as Active Directory writes it", "disconnected", |id| {
            let response = element(0x78, &[0x0a, 1, 52, 4, 0, 4, 0]);
            let name = element(0x8a, NOTICE_OF_DISCONNECTION.as_bytes());
            [entry(id, 1), message(0, &[response, name].concat())].concat()
        })
        .with(1),
        fault("a bind response", "unexpected_operation", |id| {
            bytes(id, Operation::BindResponse(BindOutcome::default()))
        }),
        fault("a delete response", "unexpected_operation", move |id| {
            bytes(id, Operation::DeleteResponse(outcome()))
        }),
        fault("a compare response", "unexpected_operation", |id| {
            bytes(id, Operation::CompareResponse(Outcome::new(ResultCode::COMPARE_TRUE, "")))
        }),
        fault("an extended response", "unexpected_operation", |id| {
            bytes(id, Operation::ExtendedResponse(ExtendedOutcome::default()))
        }),
        fault("a request", "unexpected_operation", |id| {
            bytes(id, Operation::DeleteRequest("dc=national,dc=test".into()))
        }),
        fault("an unbind", "unexpected_operation", |id| bytes(id, Operation::UnbindRequest)),
        fault("an intermediate response", "unexpected_operation", |id| {
            bytes(id, Operation::IntermediateResponse(Intermediate::default()))
        }),
        case("the same entry twice", Counted::Nothing, {
            sends(|id| [entry(id, 1), entry(id, 1), done(id, ResultCode::SUCCESS)].concat())
        })
        .success(2),
        case("the result, and then entries", Counted::Nothing, {
            sends(|id| [done(id, ResultCode::SUCCESS), entry(id, 1), entry(id, 2)].concat())
        })
        .success(0),
        case("two results", Counted::Nothing, {
            sends(|id| [entry(id, 1), done(id, ResultCode::SUCCESS), done(id, ResultCode::BUSY)].concat())
        })
        .success(1),
        case("no result", Counted::Fault("no_answer"), sends(|id| entry(id, 1))).with(1),
    ];
    cases.extend(elsewhere());
    cases.extend(codes());
    cases
}

/// Entries that do not lie where was asked.
fn elsewhere() -> Vec<Case> {
    let sent = |name: &'static str, dn: String| {
        let answer = move |id| [entry(id, 1), named(id, &dn), done(id, ResultCode::SUCCESS)].concat();
        case(name, Counted::Dropped, sends(answer)).with(1)
    };
    let one = |case: Case| Case { scope: Scope::One, ..case };
    vec![
        sent("an entry elsewhere", "cn=evil,dc=elsewhere,dc=test".to_owned()),
        sent("an entry above the base", LOCAL.to_owned()),
        sent("an entry of a sibling", format!("uid=n1,ou=people2,{LOCAL}")),
        sent("an entry whose name only ends like it", format!("uid=n1\\,{}", people())),
        sent("an entry of another member", "uid=n1,ou=people,ou=GOOD,o=federation".to_owned()),
        sent("no name", String::new()),
        sent("a name that is none", "nonsense".to_owned()),
        one(sent("an entry below the scope", format!("uid=n1,ou=deep,{}", people()))),
        one(sent("the base where its children were asked for", people())),
        case(
            "a name in an attribute that is none",
            Counted::Dropped,
            sends(|id| {
                let odd = with_attribute(id, "manager", vec![b"no name at all".to_vec()]);
                [entry(id, 1), odd, done(id, ResultCode::SUCCESS)].concat()
            }),
        )
        .with(1),
    ]
}

/// Result codes and what comes with them.
fn codes() -> Vec<Case> {
    let coded = |name, code| {
        let answer = move |id| [entry(id, 1), done(id, code)].concat();
        case(name, Counted::Unavailable, sends(answer)).with(1)
    };
    vec![
        coded("a code nobody knows", ResultCode(4_097)),
        coded("the greatest code", ResultCode(i32::MAX as u32)),
        coded("a step of a bind", ResultCode(14)),
        coded("compareTrue", ResultCode::COMPARE_TRUE),
        coded("busy", ResultCode::BUSY),
        case(
            "a referral",
            Counted::Unavailable,
            sends(|id| {
                let referral = vec!["ldap://dc1.internal.test/".into()];
                let outcome = Outcome { code: ResultCode::REFERRAL, referral, ..Outcome::default() };
                bytes(id, Operation::SearchDone(outcome))
            }),
        ),
        fault("a referral to nowhere", "malformed", |id| {
            message(id, &element(DONE, &[0x0a, 1, 10, 4, 0, 4, 0, 0xa3, 0]))
        }),
        fault("a negative code", "malformed", |id| message(id, &element(DONE, &[0x0a, 1, 0xff, 4, 0, 4, 0]))),
    ]
}

/// Answers that do not end by themselves.
pub fn endless() -> Vec<Case> {
    let on = |wire: &mut Wire, chunk: &[u8]| while wire.send(chunk) {};
    let forever = |one: fn(i32) -> Vec<u8>| {
        script(move |wire, request| {
            let chunk = one(request.id);
            on(wire, &chunk.repeat(1 + 32_768 / chunk.len()));
            false
        })
    };
    let limit = |case: Case| Case {
        told: &[ResultCode::SIZE_LIMIT_EXCEEDED, ResultCode::UNAVAILABLE, ResultCode::ADMIN_LIMIT_EXCEEDED],
        entries: 0..=300,
        ..case
    };
    let unasked = || Counted::Fault("unasked");
    vec![
        limit(case("entries", unasked(), forever(|id| entry(id, 1)))),
        limit(case("entries of 60 kB", unasked(), {
            forever(|id| with_attribute(id, "mail", vec![vec![b'x'; 60_000]]))
        })),
        limit(case("entries of 7 MB", unasked(), {
            forever(|id| with_attribute(id, "mail", vec![vec![b'x'; 7_000_000]]))
        })),
        case("entries elsewhere", Counted::Dropped, forever(|id| named(id, "cn=evil,dc=elsewhere"))),
        case("continuations", unasked(), {
            forever(|id| bytes(id, Operation::SearchReference(vec!["ldap://dc1.internal.test/".into()])))
        }),
        case("intermediate responses", Counted::Fault("unexpected_operation"), {
            forever(|id| bytes(id, Operation::IntermediateResponse(Intermediate::default())))
        }),
        case("results", unasked(), forever(|id| done(id, ResultCode::SUCCESS))).success(0),
        case(
            "the root entry",
            unasked(),
            probe(|wire, id| {
                let chunk = entry(id, 1).repeat(100);
                while wire.send(&chunk) {}
                false
            }),
        ),
        case(
            "new keys for TLS",
            Counted::Fault("closed"),
            script(|wire, _| {
                let end = std::time::Instant::now() + Duration::from_secs(3);
                while std::time::Instant::now() < end && wire.stream.conn.refresh_traffic_keys().is_ok() {
                    if wire.stream.flush().is_err() {
                        break;
                    }
                }
                false
            }),
        ),
    ]
}

/// Paged results, sorting, and controls nobody asked for.
pub fn pages() -> Vec<Case> {
    const MEGABYTE: usize = 1 << 20;
    let paged = |id, cookie: Vec<u8>| {
        with_controls(id, result(ResultCode::SUCCESS), vec![PagedResults { size: 0, cookie }.control(false)])
    };
    let behind = |case: Case| Case { pages: Some(1), ..case };
    let asked = |case: Case| Case {
        pages: Some(10),
        controls: vec![PagedResults { size: 10, cookie: Vec::new() }.control(true)],
        ..case
    };
    let limit = |case: Case| Case {
        told: &[ResultCode::SIZE_LIMIT_EXCEEDED, ResultCode::UNAVAILABLE],
        entries: 0..=300,
        ..case
    };
    let mut cases = vec![
        behind(case("a cookie of 1 MB", Counted::Nothing, {
            script(move |wire, request| match request.cookie().len() {
                0 => wire.send(&[entry(request.id, 1), paged(request.id, vec![7; MEGABYTE])].concat()),
                MEGABYTE => wire.send(&[entry(request.id, 2), paged(request.id, Vec::new())].concat()),
                other => panic!("a cookie came back with {other} bytes"),
            })
        }))
        .success(2),
        limit(behind(case("cookies of 1 MB for ever", Counted::Nothing, {
            sends(move |id| [entry(id, 1), paged(id, vec![7; MEGABYTE])].concat())
        }))),
        behind(case("the same cookie for ever, and nothing else", Counted::Fault("no_answer"), {
            sends(move |id| paged(id, b"again".to_vec()))
        })),
        limit(behind(case("the same cookie and entry for ever", Counted::Nothing, {
            sends(move |id| [entry(id, 1), paged(id, b"again".to_vec())].concat())
        }))),
        asked(case("nothing but cookies for a client that pages", Counted::Fault("no_answer"), {
            sends(move |id| paged(id, b"again".to_vec()))
        })),
        // It is not kept: the page is whole, and the last one says that the directory did not answer to the end.
        Case {
            told: &[ResultCode::SUCCESS],
            ..asked(case("a cookie of 1 MB that would have to be kept", Counted::Nothing, {
                sends(move |id| {
                    let entries = (1..=11).flat_map(|n| entry(id, n));
                    entries.chain(paged(id, vec![7; MEGABYTE])).collect()
                })
            }))
            .with(10)
        },
        behind(case("no paging at all", Counted::Nothing, {
            sends(|id| [entry(id, 1), done(id, ResultCode::SUCCESS)].concat())
        }))
        .success(1),
        behind(case("a cookie that is none", Counted::Fault("page_control"), {
            sends(|id| {
                let value = Some(vec![0x30, 0x80, 1, 2, 3].into());
                let control = Control { oid: PagedResults::OID.into(), critical: false, value };
                with_controls(id, result(ResultCode::SUCCESS), vec![control])
            })
        })),
    ];
    cases.extend(controls());
    cases
}

fn controls() -> Vec<Case> {
    let unknown = || Control { oid: "1.2.3.4.5".into(), critical: true, value: Some(vec![0xff; 64].into()) };
    let lie = || SortAnswer { code: ResultCode::SUCCESS, attribute: None }.control();
    let key = SortKey { attribute: "uid".to_owned(), rule: None, reverse: false };
    vec![
        Case {
            look: Some(|_, client| assert!(client.controls.is_empty(), "{:?}", client.controls)),
            ..case("controls unknown and critical", Counted::Nothing, {
                sends(move |id| {
                    let person = person(1);
                    let person = Operation::SearchEntry(person.as_wire());
                    let entry = with_controls(id, person, vec![unknown()]);
                    let end = with_controls(id, result(ResultCode::SUCCESS), vec![unknown(), lie()]);
                    [entry, end].concat()
                })
            })
            .success(1)
        },
        fault("a hundred controls", "malformed", move |id| {
            with_controls(id, result(ResultCode::SUCCESS), (0..100).map(|_| unknown()).collect())
        }),
        Case {
            controls: vec![Sort(vec![key]).control(true)],
            look: Some(|answer, _| {
                let uids: Vec<&str> = answer.entries.iter().filter_map(|entry| entry.text("uid")).collect();
                assert_eq!(uids, ["n1", "n2", "n3"]);
            }),
            ..case("sorted, it says", Counted::Nothing, {
                sends(move |id| {
                    let end = with_controls(id, result(ResultCode::SUCCESS), vec![lie()]);
                    [entry(id, 3), entry(id, 1), entry(id, 2), end].concat()
                })
            })
            .success(3)
        },
    ]
}
