//! What hostile domain controllers do to the connection itself: handshakes, binds, silence and breaks.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use portcullis::ldap::message::{BindOutcome, Operation, Outcome, ResultCode};
use rcgen::ExtendedKeyUsagePurpose;

use crate::front_controller::{
    Play, Wire, bytes, converse, done, element, entry, good, message, named, probe, tls, with_attribute,
};
use crate::front_gateway::{AUTHORITY, Authority, Leaf, Names};
use crate::front_hostile_cases::{Case, Counted, case, script};

/// Handshakes, binds and connections.
pub fn transport() -> Vec<Case> {
    let dial = |name, play: Arc<Play>| case(name, Counted::Fault("dial"), play);
    let mut cases = vec![
        dial("LDAP before TLS", {
            Arc::new(|mut tcp| {
                let _ = tcp.write_all(&done(1, ResultCode::SUCCESS));
                Wire::accept(tcp, good());
            })
        }),
        dial("LDAP instead of TLS", {
            Arc::new(|mut tcp| {
                let _ = tcp.write_all(&bytes(1, Operation::BindResponse(BindOutcome::default())));
                let _ = std::io::copy(&mut tcp, &mut std::io::sink());
            })
        }),
        dial("a record too long for TLS", {
            Arc::new(|mut tcp| {
                let _ = tcp.write_all(&[vec![0x16, 3, 3, 0xff, 0xff], vec![0; 70_000]].concat());
                let _ = std::io::copy(&mut tcp, &mut std::io::sink());
            })
        }),
        dial("closes at once", Arc::new(drop)),
        dial("resets at once", Arc::new(reset)),
    ];
    cases.extend(certificates());
    cases.extend(silences());
    cases.extend(binds());
    cases.extend(breaks());
    cases
}

fn reset(tcp: TcpStream) {
    let _ = socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO));
}

/// Certificates that prove nothing.
fn certificates() -> Vec<Case> {
    let shown = |name, leaf: Leaf| {
        let config = tls(&leaf);
        let play = move |tcp| {
            if let Some(mut wire) = Wire::accept(tcp, &config) {
                converse(&mut wire, &|wire, request| {
                    wire.send(&[entry(request.id, 1), done(request.id, ResultCode::SUCCESS)].concat())
                });
            }
        };
        case(name, Counted::Fault("dial"), Arc::new(play))
    };
    let usage = ExtendedKeyUsagePurpose::ClientAuth;
    vec![
        shown("another name", AUTHORITY.leaf(Names { address: [127, 0, 0, 9], ..Names::default() })),
        shown("an expired certificate", AUTHORITY.leaf(Names { expired: true, ..Names::default() })),
        shown("another authority", Authority::new().leaf(Names::default())),
        shown("a client's certificate", AUTHORITY.leaf(Names { usage, ..Names::default() })),
    ]
}

/// Nothing, at every step.
fn silences() -> Vec<Case> {
    let still = |mut tcp: TcpStream| drop(std::io::copy(&mut tcp, &mut std::io::sink()));
    let deaf = |wire: &mut Wire| while wire.request().is_some() {};
    let probed = |name, counted, answer: fn(&mut Wire, i32) -> bool| {
        case(name, Counted::Fault(counted), probe(answer))
    };
    vec![
        case("silent after accept", Counted::Fault("dial_time"), Arc::new(still)),
        case("a handshake byte by byte", Counted::Fault("dial_time"), {
            Arc::new(|mut tcp| {
                let hello = [vec![0x16, 3, 3, 0x10, 0, 2, 0, 0x0f, 0xfc], vec![0; 4_000]].concat();
                for byte in hello {
                    std::thread::sleep(Duration::from_millis(50));
                    if tcp.write_all(&[byte]).is_err() {
                        return;
                    }
                }
            })
        }),
        case("silent after the handshake", Counted::Fault("dial_time"), {
            Arc::new(move |tcp| {
                if let Some(mut wire) = Wire::accept(tcp, good()) {
                    deaf(&mut wire);
                }
            })
        }),
        case("silent after the bind", Counted::Fault("hung"), probe(|_, _| true)),
        probed("only the root entry answers", "no_answer", |wire, id| {
            wire.send(&done(id, ResultCode::SUCCESS))
        }),
        probed("a root entry that lies", "no_answer", |wire, id| {
            let lies = [
                named(id, "dc=elsewhere,dc=test"),
                named(id, ""),
                with_attribute(id, "supportedControl", Vec::new()),
            ];
            wire.send(&lies.concat()) && wire.send(&done(id, ResultCode::SUCCESS))
        }),
        probed("busy with the root entry", "no_answer", |wire, id| wire.send(&done(id, ResultCode::BUSY))),
        probed("a bind response for a root entry", "unexpected_operation", |wire, id| {
            wire.say(id, Operation::BindResponse(BindOutcome::default()))
        }),
        probed("a root entry that is malformed", "malformed", |wire, id| {
            wire.send(&message(id, &[0x64, 1, 0]))
        }),
    ]
}

/// Answers to our bind.
fn binds() -> Vec<Case> {
    let bound = |name, reason, answer: fn(i32) -> Vec<u8>| {
        let play = move |tcp| {
            let Some(mut wire) = Wire::accept(tcp, good()) else { return };
            while let Some(request) = wire.request() {
                wire.send(&answer(request.id));
            }
        };
        case(name, Counted::Fault(reason), Arc::new(play))
    };
    vec![
        bound("a bind refused", "bind_refused", |id| {
            let outcome = Outcome::new(ResultCode::INVALID_CREDENTIALS, "DSID-1234 secret.internal.test");
            bytes(id, Operation::BindResponse(BindOutcome { outcome, credentials: None }))
        }),
        bound("a bind that goes on for ever", "bind_refused", |id| {
            let outcome = Outcome::new(ResultCode(14), "");
            bytes(
                id,
                Operation::BindResponse(BindOutcome { outcome, credentials: Some(vec![0; 9_000].into()) }),
            )
        }),
        bound("a bind answered under another id", "no_bind_answer", |id| {
            bytes(id + 1, Operation::BindResponse(BindOutcome::default()))
        }),
        bound("a bind answered with a search result", "no_bind_answer", |id| done(id, ResultCode::SUCCESS)),
        bound("a bind answered with noise", "framing", |_| vec![0xff; 64]),
        bound("a bind answered with half", "malformed", |id| message(id, &element(0x61, &[0x0a, 1, 0]))),
        case("closes instead of answering the bind", Counted::Fault("closed_in_bind"), {
            Arc::new(|tcp| {
                if let Some(mut wire) = Wire::accept(tcp, good()) {
                    wire.request();
                }
            })
        }),
    ]
}

/// Connections that break in the middle of an entry.
fn breaks() -> Vec<Case> {
    let broken = |name, end: fn(&mut Wire)| {
        let play = script(move |wire, request| {
            let second = entry(request.id, 2);
            wire.send(&[entry(request.id, 1), second[..second.len() - 3].to_vec()].concat());
            end(wire);
            // Whatever else it has to say comes too late.
            std::thread::sleep(Duration::from_millis(200));
            false
        });
        // What came with a record that TLS refuses may be lost with it.
        Case { entries: 0..=1, ..case(name, Counted::Fault("closed"), play) }
    };
    vec![
        broken("closed in an entry", |wire| drop(wire.stream.sock.shutdown(std::net::Shutdown::Both))),
        broken("half closed in an entry", |wire| drop(wire.stream.sock.shutdown(std::net::Shutdown::Write))),
        broken("reset in an entry", |wire| {
            let _ = socket2::SockRef::from(&wire.stream.sock).set_linger(Some(Duration::ZERO));
        }),
        broken("goodbye of TLS in an entry", |wire| {
            wire.stream.conn.send_close_notify();
            let _ = wire.stream.flush();
        }),
        broken("an alert of TLS in an entry", |wire| {
            let _ = wire.stream.sock.write_all(&[0x15, 3, 3, 0, 2, 2, 80]);
        }),
        broken("a record that does not decrypt", |wire| {
            let _ = wire.stream.sock.write_all(&[vec![0x17, 3, 3, 0, 64], vec![7; 64]].concat());
        }),
        broken("plain LDAP in the middle of TLS", |wire| {
            let _ = wire.stream.sock.write_all(&done(1, ResultCode::SUCCESS));
        }),
    ]
}
