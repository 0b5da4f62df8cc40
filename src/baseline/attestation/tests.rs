use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use time::macros::datetime;

use super::*;
use crate::policy::fault::Place;

const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

fn key() -> Ed25519KeyPair {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap()
}

fn statement() -> Statement {
    Statement { at: Place::nowhere(), text: "The spooler is off.".into(), at_most: Duration::days(366) }
}

fn attestation(key: &Ed25519KeyPair) -> Attestation {
    let unsigned = Attestation {
        member: "RXA".parse().unwrap(),
        subject: "attested.spooler_off".into(),
        statement: statement().text,
        by: "Jo Bloggs, Head of IT".into(),
        note: None,
        signed_at: NOW,
        until: datetime!(2027-11-01 00:00 UTC),
        key: hex(key.public_key().as_ref()),
        signature: String::new(),
        unregistered: false,
    };
    let signature = key.sign(&unsigned.signed_bytes());
    unsigned.signed(signature.as_ref())
}

fn registered(key: &Ed25519KeyPair) -> Registered {
    Registered::Key(hex(key.public_key().as_ref()))
}

#[test]
fn the_signature_covers_every_word() {
    let (mine, other) = (key(), key());
    let (good, rxa) = (attestation(&mine), "RXA".parse().unwrap());
    assert_eq!(good.is_of(&rxa, &registered(&mine)), Ok(()));
    assert_eq!(good.is_of(&rxa, &Registered::Unchecked), Ok(()));
    assert_eq!(good.is_of(&rxa, &Registered::Nothing), Err(Problem::NoKey));
    assert_eq!(good.is_of(&rxa, &registered(&other)), Err(Problem::Key));
    let rxb: OdsCode = "RXB".parse().unwrap();
    assert!(matches!(good.is_of(&rxb, &registered(&mine)), Err(Problem::Member { .. })));
    let changes: [fn(&mut Attestation); 7] = [
        |a| a.subject = "attested.other".into(),
        |a| a.statement.push('!'),
        |a| a.by = "Somebody else".into(),
        |a| a.note = Some("x".into()),
        |a| a.signed_at += Duration::SECOND,
        |a| a.until += Duration::DAY,
        |a| a.signature = a.signature.to_uppercase().replace('A', "B"),
    ];
    for change in changes {
        let mut touched = good.clone();
        change(&mut touched);
        assert_eq!(touched.is_of(&rxa, &registered(&mine)), Err(Problem::Signature), "{touched:?}");
    }
    let moved = Attestation { member: rxb.clone(), ..good.clone() };
    assert_eq!(moved.is_of(&rxb, &registered(&mine)), Err(Problem::Signature));
    // a document signed by somebody else that bears the registered key
    let forged = Attestation { key: hex(mine.public_key().as_ref()), ..attestation(&other) };
    assert_eq!(forged.is_of(&rxa, &registered(&mine)), Err(Problem::Signature));
}

#[test]
fn it_answers_for_one_wording_and_its_time() {
    let good = attestation(&key());
    assert_eq!(good.answers(&statement(), NOW), Ok(()));
    let anew = Statement { text: "The spooler is disabled.".into(), ..statement() };
    assert_eq!(good.answers(&anew, NOW), Err(Problem::Statement));
    let before = NOW - Duration::minutes(6);
    assert_eq!(good.answers(&statement(), before), Err(Problem::Future("2026-11-24".into())));
    assert_eq!(good.answers(&statement(), NOW - Duration::minutes(5)), Ok(()));
    let short = Statement { at_most: Duration::days(90), ..statement() };
    assert_eq!(good.answers(&short, NOW), Err(Problem::TooLong(90)));
    let last = datetime!(2027-10-31 23:59:59 UTC);
    assert_eq!(good.answers(&statement(), last), Ok(()));
    assert!(good.ends_soon(last) && !good.ends_soon(NOW));
    assert_eq!(good.answers(&statement(), good.until), Err(Problem::Ended("2027-10-31".into())));
}

#[test]
fn a_document_is_read_again_as_it_was_and_nothing_else_is() {
    let good = attestation(&key());
    let text = serde_json::to_string(&good).unwrap();
    assert_eq!(Attestation::from_json(text.as_bytes()), Ok(good.clone()));
    let claims = text.replace("\"key\"", "\"unregistered\":true,\"key\"");
    assert_eq!(Attestation::from_json(claims.as_bytes()), Ok(good), "a file does not say who collected it");
    for (from, to) in [
        ("Jo Bloggs, Head of IT", " "),
        ("Jo Bloggs, Head of IT", "Jo\\u001b[2J"),
        ("\"by\"", "\"from\""),
        ("2027-11-01T00:00:00Z", "soon"),
    ] {
        let touched = text.replace(from, to);
        assert!(
            matches!(Attestation::from_json(touched.as_bytes()), Err(Problem::Unreadable(_))),
            "{touched}"
        );
    }
    assert!(public_key("00").is_none() && public_key(&"AB".repeat(32)).is_none());
    assert!(public_key(&"ab".repeat(32)).is_some());
}
